# SPDX-License-Identifier: Apache-2.0
"""Programs under control: commands that talk to PostgreSQL through the proxy,
with psql, Python and the shell as the programs."""

import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

HOLDS, BROKEN, USAGE, ENVIRONMENT, INCONCLUSIVE = 0, 1, 2, 3, 4

TABLE = "CREATE TABLE coupon (code text, who text);"
ACCOUNT = ("CREATE TABLE account (id int PRIMARY KEY, bal int NOT NULL); "
           "INSERT INTO account VALUES (1, 100), (2, 100);")
INSERT_ONCE = ("INSERT INTO coupon SELECT 'X', 'one' WHERE NOT EXISTS "
               "(SELECT FROM coupon WHERE code = 'X')")
INSERT_SAFE = ("INSERT INTO coupon VALUES ('X', 'one') "
               "ON CONFLICT (code) DO NOTHING")


def psql(*statements):
    """A psql that stops at the first error."""
    words = " ".join(f'-c "{sql}"' for sql in statements)
    return f"psql -X -q -A -t -v ON_ERROR_STOP=1 {words}"


def explore(command, uri, *arguments, **more):
    return command("explore", "--db", uri, "--no-progress", *arguments, **more)


def report_of(result, code):
    assert result.returncode == code, (result.stdout + result.stderr).decode()
    return json.loads(result.stdout)


def calls(*texts):
    return [word for text in texts for word in ("--call", text)]


def tables(database):
    return database.query("SELECT count(*) FROM pg_class c JOIN pg_namespace n "
                          "ON n.oid = relnamespace WHERE nspname = 'public' OR "
                          "nspname LIKE 'sqloom%'")


# ---- The first example ------------------------------------------------


def test_the_double_insert_is_found(command, database_uri, write):
    schema = write("schema.sql", TABLE)
    report = report_of(
        explore(command, database_uri, "--json",
                "--before", f"psql -X -q -f {schema}",
                *calls(psql(INSERT_ONCE), psql(INSERT_ONCE))), BROKEN)
    # Two steps each, of which the second is a COMMIT: the 4 of 6 orders in
    # which a COMMIT comes after the other's INSERT.
    assert (report["explored"], report["wrong"]) == (6, 4)
    assert report["complete"]
    assert report["findings"][0]["class"] == "contents"


def test_it_holds_with_a_unique_index(command, database_uri, write):
    schema = write("schema.sql",
                   TABLE + "CREATE UNIQUE INDEX one ON coupon (code);")
    report = report_of(
        explore(command, database_uri, "--json",
                "--before", f"psql -X -q -f {schema}",
                *calls(psql(INSERT_SAFE), psql(INSERT_SAFE))), HOLDS)
    assert (report["explored"], report["wrong"]) == (4, 0)


def test_workers_of_one_queue_split_the_work(command, database_uri):
    """Who did what is compared, unless it is left out."""
    def take(name):
        return ("UPDATE job SET worker = '%s', done = done + 1 WHERE id = "
                "(SELECT id FROM job WHERE done = 0 ORDER BY id LIMIT 1 "
                "FOR UPDATE SKIP LOCKED)" % name)

    def explored(code, *arguments):
        return report_of(
            explore(command, database_uri, "--json", "--before",
                    psql("DROP TABLE IF EXISTS job; CREATE TABLE job (id int, "
                         "done int DEFAULT 0, worker text)",
                         "INSERT INTO job VALUES (1), (2), (3), (4)"),
                    *calls(psql("BEGIN", take("x"), take("x"), "COMMIT"),
                           psql(take("y"))), *arguments), code)

    assert explored(HOLDS, "--ignore", "job.worker")["wrong"] == 0
    report = explored(BROKEN, "--ignore", "job.done")
    assert report["findings"][0]["replay"].endswith("--ignore 'job.done'")


@pytest.mark.parametrize("name,message", [
    ("jobs", "--ignore jobs: there is no such table; there are: job"),
    ("job.who", "--ignore job.who: there is no such column in table job; there "
     "are: id, worker"),
    ("a.b.c", '"a.b.c" cannot be ignored: --ignore takes a table or '
     "table.column")])
def test_what_is_ignored_must_be_there(command, database_uri, name, message):
    refused = explore(command, database_uri, "--before",
                      psql("CREATE TABLE job (id int, worker text)"),
                      *calls("true", "true"), "--ignore", name)
    assert refused.returncode == USAGE
    assert message in refused.stderr.decode()


GET_OR_CREATE = """
import os
import psycopg2
connection = psycopg2.connect("")
cursor = connection.cursor()
cursor.execute("SELECT code FROM coupon")
if not cursor.fetchall():
    cursor.execute('''
        CREATE FUNCTION pg_temp.once(OUT caught text) AS $f_%s$ BEGIN
            INSERT INTO coupon VALUES ('X', 'one');
        EXCEPTION WHEN unique_violation THEN caught := SQLERRM;
        END $f_%s$ LANGUAGE plpgsql;
        SELECT caught FROM pg_temp.once();
        DROP FUNCTION IF EXISTS pg_temp.once()''' % (os.getpid(), os.getpid()))
connection.commit()
"""


@pytest.mark.parametrize("unique", [False, True])
def test_a_function_of_the_sessions_own(command, database_uri, write, unique):
    """As Sequelize's findOrCreate() makes, calls and drops one."""
    more = "CREATE UNIQUE INDEX one ON coupon (code);" if unique else ""
    schema = write("schema.sql", TABLE + more)
    program = f"/usr/bin/python3 {write('program.py', GET_OR_CREATE)}"
    report = report_of(
        explore(command, database_uri, "--json",
                "--before", f"psql -X -q -f {schema}",
                *calls(program, program)), HOLDS if unique else BROKEN)
    assert report["notes"] == []


# What asyncpg sends when a connection is given back to its pool.
RESET = "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;"


@pytest.mark.parametrize("reset", [RESET, "DISCARD ALL", "UNLISTEN *"])
def test_what_a_pool_sends_to_reset_is_no_choice(command, database_uri, write,
                                                 reset):
    schema = write("schema.sql",
                   TABLE + "CREATE UNIQUE INDEX one ON coupon (code);")
    report = report_of(
        explore(command, database_uri, "--json",
                "--before", f"psql -X -q -f {schema}",
                *calls(psql(INSERT_SAFE, reset), psql(INSERT_SAFE, reset))),
        HOLDS)
    # As without it.
    assert (report["explored"], report["wrong"]) == (4, 0)


@pytest.mark.parametrize("take, give", [
    ("SELECT pg_advisory_lock(7)", "SELECT pg_advisory_unlock_all()"),
    ("LISTEN c", "UNLISTEN *"),
])
def test_what_a_session_has_and_gives_back_is_a_choice(command, database_uri,
                                                       take, give):
    report = report_of(
        explore(command, database_uri, "--json", "--max-runs", 9,
                *calls(psql(take, give), psql(take, give))), INCONCLUSIVE)
    assert report["explored"] == 9


def test_the_report_tells_the_statements_and_a_line_that_replays(
        command, database_uri, write, sqloom, tmp_path):
    schema = write("schema.sql", TABLE)
    result = explore(command, database_uri,
                     "--before", f"psql -X -q -f {schema}",
                     *calls(psql(INSERT_ONCE), psql(INSERT_ONCE)))
    text = result.stdout.decode()
    assert result.returncode == BROKEN, text + result.stderr.decode()
    assert "INSERT INTO coupon" in text
    assert "commit  of the statement in autocommit" in text
    assert "check-then-insert" in text
    line = next(line.strip() for line in text.splitlines()
                if line.strip().startswith("sqloom replay"))
    again = subprocess.run(
        ["bash", "-c", line.replace("sqloom", sqloom, 1)],
        cwd=tmp_path, capture_output=True, timeout=300,
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"}, check=False)
    assert again.returncode == BROKEN, (line, again)
    assert b"INSERT INTO coupon" in again.stdout


# ---- Transactions of programs ---------------------------------------------------


def transaction(read, write):
    return psql("BEGIN", read, write, "COMMIT")


def test_a_lost_update_of_two_shells(command, database_uri, write):
    """Each call: read in one connection, write in the next."""
    schema = write("schema.sql", ACCOUNT)
    add = ("v=$(" + psql("SELECT bal FROM account WHERE id = 1") + "); "
           + psql("UPDATE account SET bal = $((v + 10)) WHERE id = 1"))
    report = report_of(
        explore(command, database_uri, "--json",
                "--before", f"psql -X -q -f {schema}", *calls(add, add)),
        BROKEN)
    # Steps: SELECT, UPDATE, COMMIT of it; an UPDATE may wait for a COMMIT.
    assert report["complete"]
    assert report["findings"][0]["class"] == "contents"
    assert "lost update" in json.dumps(report["findings"][0])


def test_rows_that_are_copied(command, database_uri, write):
    """COPY TO changes no row, COPY FROM does, and a statement within does."""
    schema = write("schema.sql", ACCOUNT)
    copies = psql("COPY (SELECT bal FROM account ORDER BY id) TO STDOUT",
                  "COPY (UPDATE account SET bal = 1 RETURNING id) TO STDOUT",
                  r"\copy account FROM PROGRAM 'printf 3\\\\t100'")
    result = explore(command, database_uri, "--before",
                     f"psql -X -q -f {schema}", "--check", "SELECT 1",
                     *calls(copies))
    assert result.returncode == BROKEN, result.stderr
    report = result.stdout.decode()
    assert "2 rows changed" in report
    assert "1 row changed" in report
    assert report.count("changed") == 2, report


def test_row_locks_make_it_hold(command, database_uri, write):
    schema = write("schema.sql", ACCOUNT)
    add = psql("BEGIN", "SELECT bal FROM account WHERE id = 1 FOR UPDATE",
               "UPDATE account SET bal = bal + 10 WHERE id = 1", "COMMIT")
    report = report_of(
        explore(command, database_uri, "--json",
                "--before", f"psql -X -q -f {schema}", *calls(add, add)),
        HOLDS)
    assert report["complete"] and report["explored"] > 1


def test_a_deadlock_is_told(command, database_uri, write):
    schema = write("schema.sql", ACCOUNT)

    def move(first, second):
        return psql("BEGIN",
                    f"UPDATE account SET bal = bal + 1 WHERE id = {first}",
                    f"UPDATE account SET bal = bal + 1 WHERE id = {second}",
                    "COMMIT")

    report = report_of(
        explore(command, database_uri, "--json",
                "--before", f"psql -X -q -f {schema}",
                *calls(move(1, 2), move(2, 1))), BROKEN)
    assert report["complete"]
    assert report["findings"][0]["class"] == "error"
    assert "deadlock" in json.dumps(report["findings"][0])


def test_same_seed_same_trace(command, database_uri, write, tmp_path):
    schema = write("schema.sql", ACCOUNT)
    add = psql("BEGIN", "SELECT bal FROM account WHERE id = 1",
               "UPDATE account SET bal = 7 WHERE id = 1", "COMMIT")
    for name in ("one", "two"):
        result = explore(command, database_uri, "--trace", name,
                         "--before", f"psql -X -q -f {schema}",
                         *calls(add, add))
        assert result.returncode in (HOLDS, BROKEN), result.stderr.decode()
    assert ((tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes())


THREADS = """\
import concurrent.futures
import psycopg2


def add(i):
    connection = psycopg2.connect("")
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT bal FROM account WHERE id = %s", (i,))
        bal = cursor.fetchone()[0]
        cursor.execute("UPDATE account SET bal = %s WHERE id = %s",
                       (bal + 1, i))
    connection.close()


with concurrent.futures.ThreadPoolExecutor(2) as pool:
    list(pool.map(add, (1, 2)))
"""


def test_threads_of_one_call(command, database_uri, write):
    """Two connections of a call at the same time: whichever thread is faster,
    the same schedule takes the same steps."""
    schema = write("schema.sql", ACCOUNT)
    program = write("threads.py", THREADS)
    run = f"/usr/bin/python3 {program}"
    report = report_of(
        explore(command, database_uri, "--json", "--max-runs", "16",
                "--before", f"psql -X -q -f {schema}", *calls(run, run)),
        BROKEN)
    assert report["explored"] == 16, report["reason"]
    assert "other steps" not in report["reason"]
    # One text for all values.
    assert len(report["calls"][0]["steps"]) == 4


SPINS = """\
import threading
import psycopg2


def spin():
    while True:
        pass


one, two = psycopg2.connect(""), psycopg2.connect("")
one.cursor().execute("SELECT bal FROM account WHERE id = 1")
threading.Thread(target=spin, daemon=True).start()
two.cursor().execute("SELECT bal FROM account WHERE id = 2")
"""

PIPELINE = """\
import psycopg

with psycopg.connect("", autocommit=True) as one, \\
        psycopg.connect("", autocommit=True) as two:
    with one.pipeline():
        row = one.execute("SELECT bal FROM account WHERE id = 1").fetchone()
        two.execute("UPDATE account SET bal = %s WHERE id = 2", row)
"""


def test_another_connection_in_the_middle_of_a_pipeline(command, database_uri,
                                                        write):
    """A Flush brought the answers, the Sync comes later: nothing goes on there
    meanwhile, so the other connection's statement is the next step."""
    schema = write("schema.sql", ACCOUNT)
    program = write("pipeline.py", PIPELINE)
    report = report_of(
        explore(command, database_uri, "--json", "--call-limit", 10,
                "--max-runs", 2, "--before", f"psql -X -q -f {schema}",
                *calls(f"/usr/bin/python3 {program}",
                       psql("UPDATE account SET bal = 7 WHERE id = 1"))),
        INCONCLUSIVE)
    assert report["explored"] == 2, report["reason"]


def test_threads_that_are_never_asleep_end_at_the_limit(command, database_uri,
                                                        write):
    """Of a call with several connections it is never known what comes next."""
    schema = write("schema.sql", ACCOUNT)
    program = write("spins.py", SPINS)
    report = report_of(
        explore(command, database_uri, "--json", "--call-limit", "500ms",
                "--before", f"psql -X -q -f {schema}",
                *calls(f"/usr/bin/python3 {program}",
                       psql("UPDATE account SET bal = 7 WHERE id = 1"))),
        INCONCLUSIVE)
    assert "--call-limit" in report["reason"], report["reason"]


def test_names_of_savepoints_are_values(command, database_uri, write):
    """Libraries that nest transactions make names that differ each time."""
    schema = write("schema.sql", ACCOUNT)
    add = ("n=s-$(cat /proc/sys/kernel/random/uuid); " +
           psql("BEGIN", "SAVEPOINT \\\"$n\\\"",
                "UPDATE account SET bal = 7 WHERE id = 1",
                "ROLLBACK TO \\\"$n\\\"", "RELEASE \\\"$n\\\"", "COMMIT"))
    report = report_of(
        explore(command, database_uri, "--json", "--max-runs", 1,
                "--before", f"psql -X -q -f {schema}", *calls(add, add)),
        INCONCLUSIVE)
    assert report["notes"] == []
    texts = [step["sql"] for step in report["calls"][0]["steps"]]
    assert len(texts) == len(set(texts)) == 6, texts
    assert "SAVEPOINT $1" in texts


SUM_DEFAULT = """
import psycopg
with psycopg.connect("", prepare_threshold=0) as connection:
    print(connection.execute("SELECT sum(bal) FROM account WHERE bal > %s",
                             (0,)).fetchone())
"""

SUM_OPTIONS = """
import psycopg
with psycopg.connect(
        "", prepare_threshold=0,
        options="-c default_transaction_isolation=serializable") as connection:
    print(connection.execute("SELECT sum(bal) FROM account WHERE bal > %s",
                             (0,)).fetchone())
"""

SUM_ASYNCPG = """
import asyncio
import asyncpg


async def main():
    connection = await asyncpg.connect()
    async with connection.transaction(isolation="repeatable_read"):
        print(await connection.fetchval(
            "SELECT sum(bal) FROM account WHERE bal > $1", 0))
    await connection.close()


asyncio.run(main())
"""


@pytest.mark.parametrize("text,more", [
    (SUM_DEFAULT, "ALTER DATABASE sqloom_test SET default_transaction_isolation "
                  "TO 'repeatable read'"),
    (SUM_OPTIONS, ""), (SUM_ASYNCPG, "")], ids=["default", "options", "asyncpg"])
def test_preparing_takes_the_snapshot_when_it_is_its_turn(
        command, database_uri, write, text, more):
    """A Parse of its own takes the snapshot that a transaction at REPEATABLE
    READ sees: passed on at once, it would never be between two commits."""
    schema = write("schema.sql", ACCOUNT + more)
    program = write("sum.py", text)
    run = f"/usr/bin/python3 {program}"
    half = "UPDATE account SET bal = bal {} 10 WHERE id = {}"
    broken = report_of(
        explore(command, database_uri, "--json", "--max-runs", 15,
                "--before", f"psql -X -q -f {schema}",
                *calls(psql(half.format("-", 1), half.format("+", 2)), run)),
        BROKEN)
    assert broken["findings"][0]["class"] == "result"
    assert any(step["sql"].startswith("PREPARE")
               for step in broken["calls"][1]["steps"])


def test_behind_its_snapshot_a_transaction_has_steps_of_its_own(
        command, database_uri, write):
    """DEALLOCATE of PHP's PDO is one: its name has a number that counts on."""
    schema = write("schema.sql", TABLE)
    call = psql("BEGIN", INSERT_ONCE, "SELECT 1 AS pdo_stmt_$$",
                "DEALLOCATE ALL", "COMMIT")
    arguments = ["--before", f"psql -X -q -f {schema}", *calls(call, call)]
    report = report_of(explore(command, database_uri, "--json", *arguments),
                       BROKEN)
    # As test_the_double_insert_is_found.
    assert (report["explored"], report["wrong"]) == (6, 4)
    again = command("replay", "--db", database_uri, "-q",
                    report["findings"][0]["token"], *arguments)
    assert again.returncode == BROKEN, (again.stdout + again.stderr).decode()


def test_so_has_a_transaction_that_failed(command, database_uri, write):
    schema = write("schema.sql",
                   TABLE + "CREATE UNIQUE INDEX one ON coupon (code);")
    call = psql("BEGIN", "INSERT INTO coupon VALUES ('X')",
                "SELECT 1 AS pdo_stmt_$$", "ROLLBACK")
    call = call.replace("ON_ERROR_STOP=1", "ON_ERROR_STOP=0")
    report = report_of(
        explore(command, database_uri, "--json",
                "--before", f"psql -X -q -f {schema}; psql -X -q -c "
                "\"INSERT INTO coupon VALUES ('X')\"", *calls(call, call)), HOLDS)
    # INSERT and ROLLBACK of each.
    assert report["explored"] == 6


def test_what_takes_the_snapshot_of_a_transaction_is_a_choice(
        command, database_uri, write):
    """In each transaction anew."""
    schema = write("schema.sql", ACCOUNT)
    one = "UPDATE account SET bal = {} WHERE id = 1"
    report = report_of(
        explore(command, database_uri, "--json",
                "--before", f"psql -X -q -f {schema}",
                *calls(psql("BEGIN", "SELECT 1", "COMMIT",
                            "BEGIN ISOLATION LEVEL REPEATABLE READ",
                            "SELECT 1", one.format("bal + 1"), "COMMIT"),
                       psql(one.format(1)))), HOLDS)
    # The orders of five choices and two, 21, less those that waits rule out.
    assert (report["explored"], report["classes"]["retry"]) == (16, 8)


def test_what_a_program_may_have_written_by_is_told(command, database_uri,
                                                    write):
    """Its statements do not say where a value comes from."""
    schema = write("schema.sql", "CREATE TABLE a AS SELECT 1 AS v; "
                   "CREATE TABLE b AS SELECT 1 AS v; "
                   "CREATE TABLE pair (x int, y int);")
    copy = ("x=$(" + psql("SELECT v FROM a") + "); y=$(" +
            psql("SELECT v FROM b") + "); " +
            psql("INSERT INTO pair VALUES ($x, $y)"))
    change = psql("WITH one AS (UPDATE a SET v = 2) UPDATE b SET v = 2")
    report = report_of(
        explore(command, database_uri, "--json",
                "--before", f"psql -X -q -f {schema}", *calls(copy, change)),
        BROKEN)
    finding = report["findings"][0]
    assert finding["name"] == "stale read"
    assert "wrote in s3, maybe by what s1 had read from a" in finding["cause"]


def test_a_level_may_help_if_a_read_inside_is_stale_too(command, database_uri,
                                                        write):
    """The post was read before the transaction, the comments in it."""
    schema = write("schema.sql", "CREATE TABLE post (id int, n int); "
                   "INSERT INTO post VALUES (1, 0); "
                   "CREATE TABLE comment (post int);")
    comment = (psql("SELECT n FROM post WHERE id = 1") + " >/dev/null; " +
               "psql -X -q < " + write("comment.sql", "BEGIN;\n"
                                       "INSERT INTO comment VALUES (1);\n"
                                       "SELECT count(*) FROM comment \\gset\n"
                                       "UPDATE post SET n = :count "
                                       "WHERE id = 1;\nCOMMIT;\n"))
    report = report_of(
        explore(command, database_uri, "--json", "--max-runs", 20,
                "--before", f"psql -X -q -f {schema}",
                *calls(comment, comment)), BROKEN)
    finding = report["findings"][0]
    assert finding["name"] == "lost update (P4)"
    assert "cannot prevent" not in finding["cause"]


def test_what_always_fails_holds_nothing(command, database_uri, write):
    """A name that is misspelt is no proof of anything."""
    insert, bad = "INSERT INTO coupon VALUES ('X', 'one')", "SELECT FROM coupons"
    spec = ('before { %s }\ncall a { exec %s }\ncall b { exec %s }\n' % (
        psql("DROP TABLE IF EXISTS coupon; " + TABLE), psql(insert, bad),
        psql(insert)))
    report = report_of(explore(command, database_uri, write("x.spec", spec),
                               "--json"), INCONCLUSIVE)
    assert "a call fails in every serial run" in report["reason"]
    assert ('a fails in every serial run: exit 1: ERROR: relation "coupons" '
            "does not exist" in report["notes"]), report["notes"]
    allowed = write("y.spec", spec + 'option allow "does not exist"\n')
    report_of(explore(command, database_uri, allowed, "--json"), HOLDS)
    session = write("z.spec", "session a\nstep s { %s }\nsession b\n"
                    "step t { %s }\n" % (bad, insert))
    report_of(explore(command, database_uri, session, "--json"), INCONCLUSIVE)


# ---- Outcomes ---------------------------------------------------------------------


def test_what_a_call_prints_is_its_outcome(command, database_uri, write):
    """Contents are right in every order; only the answers are not."""
    schema = write("schema.sql", "CREATE TABLE ticket (n int); "
                   "INSERT INTO ticket VALUES (0);")
    # Both orders of serial runs print 1 and 2; a third outcome is a lost one.
    take = ("v=$(" + psql("SELECT n FROM ticket") + "); " +
            psql("UPDATE ticket SET n = n + 1") + "; echo $((v + 1))")
    report = report_of(
        explore(command, database_uri, "--json", "--joint",
                "--before", f"psql -X -q -f {schema}", *calls(take, take)),
        BROKEN)
    assert report["findings"][0]["class"] == "result"


def test_an_exit_status_that_no_serial_run_gives(command, database_uri, write):
    schema = write("schema.sql", "CREATE TABLE lamp (is_on bool); "
                   "INSERT INTO lamp VALUES (false);")
    # Switches on and off again; whoever sees it on in between fails.
    blink = (psql("UPDATE lamp SET is_on = NOT is_on") + " && " +
             psql("UPDATE lamp SET is_on = NOT is_on"))
    look = 'test "$(' + psql("SELECT is_on FROM lamp") + ')" = f'
    report = report_of(
        explore(command, database_uri, "--json",
                "--before", f"psql -X -q -f {schema}", *calls(blink, look)),
        BROKEN)
    assert report["findings"][0]["class"] == "error"


def test_unstable_output_is_masked(command, database_uri, write):
    schema = write("schema.sql", ACCOUNT)
    add = (psql("UPDATE account SET bal = bal + 1 WHERE id = 1") +
           "; date +%N; echo done")
    report = report_of(
        explore(command, database_uri, "--json",
                "--before", f"psql -X -q -f {schema}", *calls(add, add)),
        HOLDS)
    assert "line 1" in json.dumps(report["notes"])


def test_checks_of_both_kinds(command, database_uri, write):
    schema = write("schema.sql", ACCOUNT)
    withdraw = ("v=$(" + psql("SELECT sum(bal) FROM account") + "); "
                'test "$v" -ge 200 && ' +
                psql("UPDATE account SET bal = bal - 150 WHERE id = 1") +
                "; true")
    arguments = ["--before", f"psql -X -q -f {schema}", "--preemptions", "1",
                 *calls(withdraw, withdraw.replace("id = 1", "id = 2"))]
    report = report_of(
        explore(command, database_uri, "--json", *arguments, "--check",
                "SELECT 1 FROM account HAVING sum(bal) < 0"), BROKEN)
    assert report["findings"][0]["class"] == "check"
    report = report_of(
        explore(command, database_uri, "--json", *arguments, "--check-cmd",
                'test "$(' + psql("SELECT sum(bal) >= 0 FROM account") +
                ')" = t'), BROKEN)
    assert report["findings"][0]["class"] == "check"


# ---- A case that is kept ------------------------------------------------------------


def test_a_spec_with_calls(command, database_uri, write):
    write("schema.sql", TABLE)
    spec = write("case.spec", "before { psql -X -q -f schema.sql }\n"
                 'call "alice" { exec ' + psql(INSERT_ONCE) + " }\n"
                 'call "bob" { exec ' + psql(INSERT_ONCE) + " }\n")
    report = report_of(
        command("explore", spec, "--db", database_uri, "--json"), BROKEN)
    assert (report["explored"], report["wrong"]) == (6, 4)
    assert "alice" in json.dumps(report)


def test_a_private_server(command, write):
    schema = write("schema.sql", TABLE)
    report = report_of(
        command("explore", "--pg-temp", "--json", "--no-progress",
                "--before", f"psql -X -q -f {schema}",
                *calls(psql(INSERT_ONCE), psql(INSERT_ONCE)),
                PATH=os.environ.get("PATH", os.defpath)), BROKEN)
    assert (report["explored"], report["wrong"]) == (6, 4)


# ---- What goes wrong ------------------------------------------------------------------


def test_a_setup_command_that_fails(command, database_uri):
    result = explore(command, database_uri, "--before", "echo no good >&2; "
                     "exit 7", *calls("true", "true"))
    assert result.returncode == USAGE
    assert b"status 7" in result.stderr and b"no good" in result.stderr


def test_a_setup_command_that_never_ends(command, database_uri):
    result = explore(command, database_uri, "--before", "echo at work; sleep "
                     "4243", "--call-limit", "300ms", *calls("true", "true"))
    assert result.returncode == ENVIRONMENT, result.stdout
    assert b"--call-limit" in result.stderr and b"at work" in result.stderr
    assert not running("sleep 4243")


def test_commands_that_sleep_first(command, database_uri, write):
    """Stalled, both of them: whose a connection is, its port tells."""
    schema = write("schema.sql", ACCOUNT)
    add = "sleep 0.3; " + psql("UPDATE account SET bal = bal + 1 WHERE id = 1")
    report = report_of(
        explore(command, database_uri, "--json", "--before",
                f"psql -X -q -f {schema}", *calls(add, add)), INCONCLUSIVE)
    assert "not the database" in report["reason"]
    assert [len(call["steps"]) for call in report["calls"]] == [2, 2]


def test_calls_that_send_nothing(command, database_uri):
    result = explore(command, database_uri, *calls("echo a", "echo b"))
    assert result.returncode == INCONCLUSIVE, result.stdout + result.stderr
    assert b"no call sent a statement" in result.stdout


def test_a_call_that_never_ends(command, database_uri):
    began = time.monotonic()
    result = explore(command, database_uri, "--call-limit", "1s",
                     *calls(psql("SELECT 1") + "; sleep 1000", "true"))
    assert result.returncode == INCONCLUSIVE, result.stdout + result.stderr
    assert b"--call-limit" in result.stdout
    assert time.monotonic() - began < 100


def test_a_call_that_is_killed_in_its_transaction(command, database_uri,
                                                  write):
    """Its work is rolled back, and the next run begins as all others."""
    schema = write("schema.sql", ACCOUNT)
    dies = ("(echo 'BEGIN; UPDATE account SET bal = 0 WHERE id = 1;'; sleep 1;"
            " kill -9 $$) | psql -X -q")
    add = psql("UPDATE account SET bal = bal + 1 WHERE id = 1")
    result = explore(command, database_uri, "--json", "--stall-after", "200ms",
                     "--before", f"psql -X -q -f {schema}", *calls(dies, add))
    report = json.loads(result.stdout)
    assert result.returncode in (HOLDS, BROKEN, INCONCLUSIVE), result.stderr
    assert report["explored"] >= 1


def test_sessions_of_a_call_do_not_outlive_the_run(command, database_uri,
                                                   database, write):
    schema = write("schema.sql", ACCOUNT)
    add = psql("UPDATE account SET bal = bal + 1 WHERE id = 1")
    report_of(explore(command, database_uri, "--json", "--before",
                      f"psql -X -q -f {schema}", *calls(add, add)), HOLDS)
    import psycopg2
    with psycopg2.connect(database) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = "
                       "current_database() AND pid <> pg_backend_pid() AND "
                       "backend_type = 'client backend'")
        assert cursor.fetchone() == (0,)
        # The set-up's table is gone, as that of a spec.
        cursor.execute("SELECT to_regclass('account')::text")
        assert cursor.fetchone() == (None,)
    connection.close()


def test_no_database(command):
    result = command("explore", *calls("true", "true"))
    assert result.returncode == USAGE
    assert b"--pg-temp" in result.stderr


def test_interrupted(sqloom, environment, database_uri, tmp_path):
    """A signal in the middle ends all programs, and leaves nothing."""
    process = subprocess.Popen(
        [sqloom, "explore", "--db", database_uri, "--call",
         "sleep 4242", "--call", "true", "--stall-after", "60s",
         "--call-limit", "100s"],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not running("sleep 4242"):
        time.sleep(0.05)
    assert running("sleep 4242")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == INCONCLUSIVE, out
    assert not running("sleep 4242")


def running(text):
    """Is there a process of this command line?"""
    wanted = text.replace(" ", "\0").encode() + b"\0"
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == wanted:
                return True
        except OSError:
            continue
    return False


@pytest.mark.parametrize("how", ["exclusive", "port", "name"])
def test_attribution(command, database_uri, write, how):
    schema = write("schema.sql", TABLE)
    spec = ["--before", f"psql -X -q -f {schema}", "--attribution", how]
    once = psql(INSERT_ONCE)
    report = report_of(
        explore(command, database_uri, "--json", *spec,
                *calls(f"PGAPPNAME=a {once}", f"PGAPPNAME=b {once}")), BROKEN)
    assert (report["explored"], report["wrong"]) == (6, 4)
