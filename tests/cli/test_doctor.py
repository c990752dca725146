# SPDX-License-Identifier: Apache-2.0
"""sqloom doctor: what it finds on a real server, and what it says to do."""

import contextlib
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time

import pytest

USAGE, PROBLEM = 2, 3


@pytest.fixture
def doctor(command):
    """doctor(...) gives the exit code and the lines: what -> [(health, text)],
    where text has the advice behind " TO DO ". """

    def run(*arguments, **environment):
        result = command("doctor", "--width", "1000", *arguments,
                         **environment)
        assert result.stderr == b"", result.stderr.decode()
        *lines, last = result.stdout.decode().splitlines()
        found = {}
        for line in lines:
            if line.startswith(" "):
                what, (health, text) = latest
                advice = line.strip().removeprefix("to do: ")
                found[what][-1] = (health, f"{text} TO DO {advice}")
                continue
            health, what, text = re.fullmatch(
                r"(ok|note|problem) +(.{14}\S*) +(.*)", line).groups()
            what = what.strip()
            found.setdefault(what, []).append((health, text.strip()))
            latest = what, found[what][-1]
        problems = [line for lines in found.values() for line in lines
                    if line[0] == "problem"]
        assert result.returncode == (PROBLEM if problems else 0)
        assert last == ("no problem found" if not problems else
                        "1 problem" if len(problems) == 1 else
                        f"{len(problems)} problems")
        return found

    return run


@contextlib.contextmanager
def connection(server, *statements, database="sqloom_test"):
    """A psql that stays connected after these statements."""
    psql = subprocess.Popen(
        [server.programs / "psql", "-XqAt", server.conninfo(database)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={"PATH": os.defpath})
    for statement in (*statements, "SELECT 'there'"):
        psql.stdin.write(statement + ";\n")
    psql.stdin.flush()
    while psql.stdout.readline() != "there\n":
        pass
    yield
    psql.stdin.close()
    psql.wait()


# ---- The server --------------------------------------------------------------

def test_all_is_well(doctor, database):
    found = doctor("--db", database)
    assert all(line[0] == "ok" for lines in found.values() for line in lines)
    assert list(found) == ["server", "way", "role", "connections", "others",
                           "prepared", "parser", "database", "proxy"]
    assert re.fullmatch(r'PostgreSQL \d+.* at the socket in .*, port \d+: '
                        r'database "sqloom_test", role ".*"',
                        found["server"][0][1])
    assert found["others"] == [
        ("ok", 'nobody else is connected to database "sqloom_test"')]
    assert found["database"] == [
        ("ok", 'an exploration can begin in "sqloom_test"')]


def test_nothing_is_left_in_the_database(doctor, database, server):
    doctor("--db", database)
    assert server.sql("SELECT count(*) FROM pg_namespace WHERE nspname = "
                      "'sqloom'", "sqloom_test") == "0"
    assert server.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = "
                      "'sqloom_test'") == "0"


def test_pg_variables(doctor, database, server):
    found = doctor(PGHOST=str(server.directory), PGUSER=server.user,
                   PGDATABASE="sqloom_test")
    assert found["server"][0][0] == "ok"


def test_a_private_server(doctor):
    found = doctor("--pg-temp")
    assert list(found)[:2] == ["private server", "server"]


def test_no_server(doctor):
    found = doctor("--db", "host=/nonexistent dbname=test")
    assert list(found) == ["server"]
    assert "cannot connect to PostgreSQL" in found["server"][0][1]
    assert "No such file or directory" in found["server"][0][1]


def test_no_test_database(doctor, server):
    found = doctor("--db", server.conninfo("postgres"))
    (health, text), = found["database"]
    assert health == "problem"
    assert 'database "postgres" does not look like one for tests' in text
    assert "--any-database" in text


def test_any_database(doctor, server):
    found = doctor("--db", server.conninfo("postgres"), "--any-database")
    assert found["database"][0][0] == "ok"


def test_who_else_is_there(doctor, database, server):
    with connection(server):
        found = doctor("--db", database)
    (health, text), = found["others"]
    assert health == "note"
    assert re.fullmatch(r"connected to this database: psql \(process \d+\) TO "
                        r"DO see to it that they do nothing there while sqloom "
                        r"runs", text)


def test_somebody_in_a_transaction(doctor, database, server):
    with connection(server, "BEGIN", "CREATE TABLE t ()"):
        found = doctor("--db", database)
    (health, text), = found["others"]
    assert health == "problem"
    assert re.search(r"idle in a transaction in this database: psql \(process "
                     r"(\d+)\)\. .* TO DO let it end its transaction, or "
                     r"SELECT pg_terminate_backend\(\1\)", text)
    assert "holds uncommitted changes" in found["database"][0][1]


def test_a_prepared_transaction(doctor, database, server):
    server.sql("BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'mine'",
               "sqloom_test")
    try:
        found = doctor("--db", database)
    finally:
        server.sql("ROLLBACK PREPARED 'mine'", "sqloom_test")
    assert found["prepared"] == [
        ("problem", "1 prepared transaction: locks and what they wrote stay "
         "until somebody ends them TO DO COMMIT PREPARED 'mine', or ROLLBACK "
         "PREPARED 'mine'")]


@pytest.fixture
def role(server, database):
    """A role without rights."""
    server.sql('CREATE ROLE "poor one" LOGIN')
    yield "poor one"
    server.sql('DROP OWNED BY "poor one"', "sqloom_test")
    server.sql('DROP OWNED BY "poor one"')
    server.sql('DROP ROLE "poor one"')


def test_a_role_without_rights(doctor, database, role):
    found = doctor("--db", f"{database} user='{role}'")
    assert [line[0] for line in found["role"]] == ["note"] * 3
    said = "\n".join(line[1] for line in found["role"])
    for advice in ("GRANT SET ON PARAMETER session_replication_role TO "
                   '"poor one"',
                   'GRANT SET ON PARAMETER deadlock_timeout TO "poor one"',
                   'ALTER ROLE "poor one" CREATEDB'):
        assert "TO DO " + advice in said
    (health, text), = found["database"]
    assert health == "problem"
    assert 'GRANT CREATE ON DATABASE "sqloom_test" TO "poor one"' in text


def test_a_role_with_the_rights(doctor, database, role, server):
    server.sql('GRANT SET ON PARAMETER session_replication_role TO "poor one"')
    server.sql('GRANT SET ON PARAMETER deadlock_timeout TO "poor one"')
    server.sql('ALTER ROLE "poor one" CREATEDB')
    server.sql('GRANT CREATE ON DATABASE sqloom_test TO "poor one"')
    found = doctor("--db", f"{database} user='{role}'")
    assert found["role"] == [("ok", '"poor one" has all rights that help')]


def test_few_connections(doctor, server, database, role):
    most = int(server.sql("SHOW max_connections"))
    with contextlib.ExitStack() as stack:
        for _ in range(most - 8):
            stack.enter_context(connection(server, database="postgres"))
        found = doctor("--db", database)
    (health, text), = found["connections"]
    assert health == "problem"
    assert re.match(rf"\d of {most} are free", text)


# ---- A pooler ----------------------------------------------------------------

PGBOUNCER = """
[databases]
* = host={socket}
[pgbouncer]
listen_addr =
unix_socket_dir = {directory}
listen_port = 6432
auth_type = any
pool_mode = session
pidfile = {directory}/pid
logfile = {directory}/log
"""


@pytest.fixture
def pooler(server):
    """pgbouncer in front of the server; the directory of its socket."""
    program = shutil.which("pgbouncer", path=os.defpath + ":/usr/sbin:/sbin")
    if not program:
        pytest.fail("pgbouncer is not installed: run dev/setup test",
                    pytrace=False)
    directory = tempfile.mkdtemp(prefix="sqloom-pooler-", dir="/tmp")
    user = pwd.getpwnam(server.user)
    with open(f"{directory}/ini", "w", encoding="utf-8") as ini:
        ini.write(PGBOUNCER.format(socket=f"{server.directory} user="
                                   f"{server.user}", directory=directory))
    if os.geteuid() == 0:
        os.chown(directory, user.pw_uid, user.pw_gid)
    process = subprocess.Popen(
        [program, f"{directory}/ini"], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **server.become)
    try:
        while not os.path.exists(f"{directory}/.s.PGSQL.6432"):
            assert process.poll() is None
            time.sleep(0.01)
        yield directory
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(directory)


def test_a_pooler_in_between(doctor, database, pooler, server):
    found = doctor("--db", f"host={pooler} port=6432 dbname=sqloom_test "
                   f"user={server.user}")
    assert list(found) == ["server", "way"]
    (health, text), = found["way"]
    assert health == "problem"
    assert re.fullmatch(
        r"a pooler \(such as pgbouncer\) stands between: the server process is "
        r"\d+, and the connection was told \d+\. Which process works for whom "
        r"could not be known TO DO give --db the host and port of the server "
        r"itself", text)


# ---- The proxy and the calls -------------------------------------------------

def test_a_port_that_is_taken(doctor, database):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = doctor("--db", database, "--proxy-port", str(port))
    (health, text), = found["proxy"]
    assert health == "problem"
    assert str(port) in text


def test_calls_that_come_to_the_proxy(doctor, database):
    found = doctor("--db", database, "--before", "psql -qc 'CREATE TABLE t ()'",
                   "--call", "psql -qc 'SELECT * FROM t'",
                   "--call", "psql -q \"$DATABASE_URL\" -c 'TABLE t' -c 'TABLE "
                   "t'")
    assert found["call a"] == [("ok", "1 step came through the proxy")]
    assert found["call b"] == [("ok", "2 steps came through the proxy")]


def test_a_call_that_takes_its_time(doctor, database):
    found = doctor("--db", database, "--call",
                   "sleep 0.5; psql -c 'SELECT 1'; sleep 0.5")
    assert found["call a"] == [("ok", "1 step came through the proxy")]


def test_a_call_that_goes_past_the_proxy(doctor, database):
    found = doctor("--db", database, "--call",
                   f"psql -c 'SELECT pg_sleep(0.1)' '{database} port=5432'")
    (health, text), = found["call a"]
    assert health == "problem"
    assert text.startswith('it went to the server directly (as "psql"), not to '
                           "the proxy: nothing of it can be controlled TO DO "
                           "take host and port from PGHOST and PGPORT")


def test_a_call_that_goes_past_it_quickly(doctor, database):
    """Too fast to be seen; the server has counted it."""
    for _ in range(5):
        found = doctor("--db", database, "--call",
                       f"psql -c 'SELECT 1' '{database} port=5432'")
        (health, text), = found["call a"]
        assert health == "problem"
        assert re.search("it went (to the server|there) directly", text)


def test_an_application_with_two_ways(doctor, database):
    found = doctor(
        "--db", database, "--call",
        f"(echo 'SELECT 1;'; sleep 1) | psql '{database} port=5432' & sleep "
        "0.3; psql -c 'SELECT 1'")
    (health, text), = found["call a"]
    assert health == "problem"
    assert text.startswith('1 step came through the proxy, but "psql" is '
                           "connected to the server directly TO DO lead all "
                           "its connections to the proxy")


def test_a_call_that_uses_no_database(doctor, database):
    found = doctor("--db", database, "--call", "echo no database >&2; exit 1")
    (health, text), = found["call a"]
    assert health == "problem"
    assert text.startswith("it ended without a statement to the proxy; it "
                           "said: no database TO DO take host and port")


def test_a_call_that_wants_tls(doctor, database):
    found = doctor("--db", database, "--call",
                   "PGSSLMODE=require psql -c 'SELECT 1'")
    (health, text), = found["call a"]
    assert health == "problem"
    assert text.startswith("it wants TLS, which the proxy has not: ")
    assert " TO DO set its sslmode to disable or prefer" in text


def test_a_call_that_fails(doctor, database):
    found = doctor("--db", database, "--call",
                   "psql -c 'SELECT 1'; echo my fault >&2; exit 7")
    (health, text), = found["call a"]
    assert health == "note"
    assert text.startswith("1 step came through the proxy, and it ended with "
                           "exit 7: my fault TO DO")


def test_a_server_that_does_not_start(doctor, database):
    found = doctor("--db", database, "--server", "echo no such thing; exit 1",
                   "--call", "true")
    (health, text), = found["programs"]
    assert health == "problem"
    assert "no such thing" in text


def test_calls_are_not_tried_while_there_are_problems(doctor, server):
    found = doctor("--db", server.conninfo("postgres"), "--call", "true")
    assert found["calls"] == [
        ("note", "they are not tried before the problems above are solved")]


def test_a_spec(doctor, database, write):
    found = doctor("--db", database, write(
        "x.spec", "call alice { exec psql -c 'SELECT 1' }\n"))
    assert found["call alice"] == [("ok", "1 step came through the proxy")]


def test_a_spec_of_sessions(doctor, database, write):
    found = doctor("--db", database, write(
        "x.spec", "setup { CREATE TABLE t (v nothing) }\n"
        "session a\nstep s { SELECT 1 }\n"))
    (health, text), = found["database"]
    assert health == "problem"
    assert text.startswith("x.spec:1:")


# ---- Usage -------------------------------------------------------------------

def test_sqlite_needs_no_doctor(command):
    result = command("doctor", "--db", "x.sqlite")
    assert result.returncode == USAGE
    assert result.stderr.decode() == (
        'sqloom: "x.sqlite" is no PostgreSQL server, and on SQLite there is '
        "nothing to set up: give --db postgresql://... or --pg-temp\n")


@pytest.mark.parametrize("arguments,message", [
    (["a.spec", "b.spec"], "too many: 'b.spec'"),
    (["a.spec", "--call", "true"], "--call and FILE do not go together"),
    (["--check", "SELECT 1"], "no option --check"),
    (["--seed", "1"], "no option --seed"),
])
def test_usage(command, arguments, message):
    result = command("doctor", *arguments)
    assert result.returncode == USAGE
    assert message in result.stderr.decode()


def test_lines_are_wrapped(command, database):
    result = command("doctor", "--db", database, "--width", "60")
    lines = result.stdout.decode().splitlines()
    assert max(map(len, lines)) <= 60
    assert sum(line.startswith(" " * 25) for line in lines) >= 1
