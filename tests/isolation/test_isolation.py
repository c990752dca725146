# SPDX-License-Identifier: Apache-2.0
"""sqloom isolation: what it prints is what PostgreSQL's isolationtester
prints, byte for byte, on the same server in the same test."""

import os
import pathlib
import signal
import subprocess
import time

import pytest

SPECS = pathlib.Path(__file__).resolve().parent / "specs"
TESTER = pathlib.Path("/usr/lib/postgresql/15/lib/pgxs/src/test/isolation/"
                      "isolationtester")
# Only a run that hangs gets there.
TIMEOUT_S = 60

# Specs that run to their end, and those that isolationtester ends early.
COMPLETE = ["waiting", "every", "marks", "messages", "tables", "endings",
            "locks"]
ENDS_EARLY = {"cyclic": 2, "setup-fails": 3, "session-setup-fails": 3,
              "killed": 3}


def environment(**more):
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith("PG")}
    return {**kept, "PGAPPNAME": "isolation/test", **more}


@pytest.fixture
def isolation(sqloom, tmp_path):
    """isolation(ARGUMENT, ...) runs the command to its end."""

    def run(*arguments, **env):
        return subprocess.run(
            [sqloom, "isolation", *map(str, arguments)], cwd=tmp_path,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=TIMEOUT_S, text=True,
            env=environment(**env))

    return run


@pytest.fixture
def original(server, database):
    """original(SPEC) is what isolationtester does with it."""

    def run(spec, **env):
        with open(spec, encoding="utf-8") as file:
            done = subprocess.run(
                [str(TESTER), database], stdin=file, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, timeout=TIMEOUT_S, text=True,
                env=environment(**env))
        # What it left behind.
        server.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public",
                   "sqloom_test")
        return done

    return run


def without_ours(text):
    """stderr without what sqloom adds at the end."""
    return text.partition("sqloom: ")[0]


def spec_file(folder, text, name="made.spec"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# ---- The same bytes -------------------------------------------------------


@pytest.mark.parametrize("name", COMPLETE)
def test_prints_what_isolationtester_prints(name, isolation, original,
                                            database):
    spec = SPECS / f"{name}.spec"
    wanted = original(spec)
    got = isolation(spec, "--db", database)
    assert got.stdout == wanted.stdout
    assert got.stderr == wanted.stderr
    assert (got.returncode, wanted.returncode) == (0, 0)
    assert "starting permutation:" in got.stdout


@pytest.mark.parametrize("name", ENDS_EARLY)
def test_ends_early_as_isolationtester(name, isolation, original, database):
    spec = SPECS / f"{name}.spec"
    wanted = original(spec)
    got = isolation(spec, "--db", database)
    assert got.stdout == wanted.stdout
    assert without_ours(got.stderr) == wanted.stderr
    assert f"\nsqloom: {spec}:" in got.stderr
    assert (got.returncode, wanted.returncode) == (ENDS_EARLY[name], 1)


def test_blocked_session_is_asked(isolation, original, database):
    spec = SPECS / "invalid.spec"
    wanted = original(spec, PGISOLATIONTIMEOUT="1")
    got = isolation(spec, "--db", database, PGISOLATIONTIMEOUT="1")
    assert got.stdout == wanted.stdout
    assert "isolationtester: canceling step wait after 1 seconds" in got.stdout
    assert got.returncode == wanted.returncode == 0


def test_marks_that_nothing_fulfils(isolation, original, database):
    spec = SPECS / "mutual.spec"
    wanted = original(spec, PGISOLATIONTIMEOUT="1")
    got = isolation(spec, "--db", database, PGISOLATIONTIMEOUT="1")
    assert got.stdout == wanted.stdout
    assert without_ours(got.stderr) == wanted.stderr
    assert "active steps are: a1 b1" in got.stderr
    assert (got.returncode, wanted.returncode) == (2, 1)


# ---- Several specs --------------------------------------------------------


def test_files_follow_each_other(isolation, original, database, server):
    names = ["waiting", "messages", "locks", "waiting"]
    wanted = "".join(original(SPECS / f"{n}.spec").stdout for n in names)
    got = isolation("--db", database, *(SPECS / f"{n}.spec" for n in names))
    assert got.stdout == wanted
    assert got.returncode == 0


def test_kept_connections_are_reset(isolation, database, tmp_path):
    """Nothing of a spec is left for the next one, though it left a
    transaction open, listened, and set what can be set."""
    spec_file(tmp_path, """
        session one
        step leave {
            SET work_mem = '1MB'; SET SESSION AUTHORIZATION pg_monitor;
            PREPARE p AS SELECT 1; LISTEN news; CREATE TEMP TABLE t (i int);
            SELECT pg_advisory_lock(1);
        }
        step open { RESET SESSION AUTHORIZATION; BEGIN; }
        session two
        step tell { NOTIFY news, 'late'; }
        permutation open tell
        """.replace("RESET SESSION AUTHORIZATION; BEGIN", "LISTEN news; BEGIN"),
              "leave.spec")
    spec_file(tmp_path, """
        session first
        step look {
            SELECT current_setting('work_mem') AS mem,
                   (SELECT count(*) FROM pg_prepared_statements) AS prepared,
                   (SELECT count(*) FROM pg_listening_channels()) AS channels,
                   (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')
                   AS locks, to_regclass('pg_temp.t') AS temp,
                   current_setting('application_name') AS name;
        }
        """, "look.spec")
    alone = isolation("--db", database, "look.spec")
    both = isolation("--db", database, "leave.spec", "look.spec")
    assert both.returncode == 0
    assert both.stdout.endswith(alone.stdout)
    assert 'NOTIFY "' not in both.stdout


def test_a_spec_that_fails_does_not_stop_the_others(isolation, database):
    got = isolation("--db", database, SPECS / "setup-fails.spec",
                    SPECS / "tables.spec", SPECS / "cyclic.spec")
    assert got.returncode == 3
    assert got.stdout.count("Parsed test spec") == 3
    assert "step many:" in got.stdout


def test_schedule_and_directory(isolation, original, database, tmp_path):
    (tmp_path / "specs").symlink_to(SPECS)
    spec_file(tmp_path, "# a comment\n\ntest: waiting\nignore: every\n"
              "test: tables every # two\n", "list")
    got = isolation("--db", database, "--schedule", "list", "--output-dir",
                    "out", SPECS / "setup-fails.spec")
    assert got.stdout == ""
    assert got.returncode == 3
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == ["every.out", "setup-fails.out", "tables.out",
                    "waiting.out"]
    # As `isolationtester > FILE 2>&1`.
    failed = (tmp_path / "out/setup-fails.out").read_text()
    assert "setup failed: ERROR:  relation" in failed
    assert "sqloom:" not in failed
    waiting = (tmp_path / "out/waiting.out").read_text()
    assert waiting.startswith("unused step name: also\nunused step name: ")
    server_said = original(SPECS / "waiting.spec")
    assert waiting == server_said.stderr + server_said.stdout


def test_application_name(isolation, database, tmp_path):
    spec_file(tmp_path, """
        session alice
        step show { SELECT current_setting('application_name'); }
        """, "shown.spec")
    path = spec_file(tmp_path, "session s step t { SELECT 1; }", "other.spec")
    got = isolation("--db", database, PGAPPNAME="")
    assert got.returncode == 2
    got = isolation("--db", database, path, "shown.spec", PGAPPNAME="mine")
    assert "mine/alice" in got.stdout
    got = isolation("--db", f"{database} application_name=yours", "shown.spec")
    assert "yours/alice" in got.stdout


# ---- Failures -------------------------------------------------------------


def test_server_not_there(isolation, tmp_path):
    got = isolation(SPECS / "tables.spec", "--db", f"host={tmp_path}")
    assert got.returncode == 3
    assert got.stdout == "Parsed test spec with 1 sessions\n"
    assert "Connection 0 failed: " in got.stderr
    assert "cannot connect to PostgreSQL" in got.stderr
    assert "check --db" in got.stderr


def test_syntax_error(isolation, tmp_path, database):
    spec_file(tmp_path, "session s\nstep one { SELECT 1 }\npermutation two\n")
    got = isolation("made.spec", "--db", database)
    assert got.returncode == 2
    assert "made.spec:3:13: no session has a step \"two\"" in got.stderr


def test_condition_is_refused(isolation, tmp_path, database):
    spec_file(tmp_path, "session s\nstep one when { 1 } { SELECT 1 }\n")
    got = isolation("made.spec", "--db", database)
    assert got.returncode == 2
    assert "made.spec:2:6: step \"one\" has a when condition" in got.stderr


def test_copy_is_refused(isolation, tmp_path, database):
    spec_file(tmp_path, "session s\nstep one { COPY pg_am TO STDOUT }\n"
              "step two { SELECT 1 }\n")
    got = isolation("made.spec", "--db", database)
    assert got.returncode == 2
    assert "unexpected result status: PGRES_COPY_OUT" in got.stdout
    assert "step one copies from or to the client" in got.stderr


@pytest.mark.parametrize("arguments, wanted", [
    ([], "FILE, or --schedule FILE, is missing"),
    (["--schedule", "none"], "cannot read the schedule none"),
    (["--schedule", "wrong"], "wrong:2: 'tests:' begins no line"),
    (["none.spec"], "none.spec"),
    (["--output-dir", "list/x", "list"], "cannot make the directory list/x"),
    (["--json", "x.spec"], "has no option --json"),
])
def test_arguments(isolation, tmp_path, arguments, wanted):
    spec_file(tmp_path, "test: a\ntests: b\n", "wrong")
    spec_file(tmp_path, "", "list")
    got = isolation(*arguments)
    assert got.returncode in (2, 3)
    assert wanted in got.stderr


def test_time_limit_is_a_number(isolation, database):
    got = isolation(SPECS / "tables.spec", "--db", database,
                    PGISOLATIONTIMEOUT="soon")
    assert got.returncode == 2
    assert "PGISOLATIONTIMEOUT: 'soon' is no number of seconds" in got.stderr


def test_interrupt_cancels(sqloom, server, database, tmp_path):
    """What was printed is there before the signal; nothing is left running."""
    path = spec_file(tmp_path, """
        session s
        step before { SELECT 'seen' AS text; }
        step sleep { SELECT pg_sleep(1000); }
        """)
    command = subprocess.Popen(
        [sqloom, "isolation", str(path), "--db", database],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=environment(),
        # A test run in the background of a shell ignores SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    seen = ""
    while "seen" not in seen:
        seen = command.stdout.readline()
    wait_for_sleep(server)
    command.send_signal(signal.SIGINT)
    _, errors = command.communicate(timeout=TIMEOUT_S)
    assert command.returncode == 4
    assert f"sqloom: stopped in {path}; what ran was cancelled" in errors
    for _ in range(1000):
        if not sleeping(server):
            return
        time.sleep(0.01)
    pytest.fail("the statement still runs")


def sleeping(server):
    return int(server.sql("SELECT count(*) FROM pg_stat_activity WHERE "
                          "wait_event = 'PgSleep' AND datname = 'sqloom_test'"))


def wait_for_sleep(server):
    while not sleeping(server):
        time.sleep(0.01)


def test_output_cannot_be_written(sqloom, database):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sqloom, "isolation", str(SPECS / "tables.spec"), "--db", database],
            stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE,
            timeout=TIMEOUT_S, text=True, env=environment())
    assert done.returncode == 3
    assert "cannot write to standard output" in done.stderr
