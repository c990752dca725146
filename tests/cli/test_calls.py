# SPDX-License-Identifier: Apache-2.0
"""Calls that are programs, on the command line: which options go together,
what the spec is that they make, and messages. What programs do is tested
where the proxy is."""

import re
import shlex
import signal
import subprocess

import pytest

BROKEN, USAGE, SURROUNDINGS = 1, 2, 3
CALLS = ["--call", "true", "--call", "true"]
SESSION = "session a\nstep s { SELECT 1 }\n"


def said(result):
    return result.stderr.decode()


WRONG = [
    # Arguments, the message.
    (["explore"],
     "FILE is missing; or give the calls: --call COMMAND or --http REQUEST"),
    (["replay"],
     "FILE is missing; or give the calls: --call COMMAND or --http REQUEST"),
    (["replay", *CALLS], "TOKEN is missing"),
    (["explore", "x.spec", *CALLS],
     '--call and FILE do not go together: write it into FILE, as call "a" '
     "{ exec COMMAND }, or leave FILE out"),
    (["replay", "x.spec", "ab~1", "--http", "http://h/"],
     '--http and FILE do not go together: write it into FILE, as call "a" '
     "{ http REQUEST }, or leave FILE out"),
    (["explore", "x.spec", "--before", "true"],
     "--before and FILE do not go together: write it into FILE, as before "
     "{ COMMAND }, or leave FILE out"),
    (["explore", "x.spec", "--server", "true"], "as server { COMMAND }, or"),
    (["explore", "x.spec", "--check", "SELECT 1"],
     'as check "name" { SQL }, or'),
    (["explore", "x.spec", "--check-cmd", "true"],
     'as check "name" exec { COMMAND }, or'),
    (["replay", "x.spec", "ab~1", "y", *CALLS], "too many: 'y'"),
    (["explore", "--check", "SELECT 1"],
     "--check needs calls: give --call COMMAND or --http REQUEST"),
    (["explore", "--server", "x", "--before", "y"],
     "--server needs calls: give --call COMMAND or --http REQUEST"),
    (["explore", *CALLS, "--ready", "localhost:80", "--server", "x"],
     "--ready says when a server is ready; give it behind --server COMMAND"),
    (["explore", "x.spec", "--write-spec", "y.spec"],
     "--write-spec writes the calls of the command line; give --call COMMAND "
     "or --http REQUEST"),
    (["explore", "x.spec", "--from-trace", "x.trace"],
     "--from-trace and FILE do not go together: take one out"),
    (["explore", "--from-trace", "x.trace", *CALLS],
     "--from-trace and --call do not go together: what was recorded are SQL "
     "sessions; write them to a file by --write-spec to add to them"),
    (["replay", "--from-trace", "x.trace"], "TOKEN is missing"),
    (["explore", *CALLS * 33],
     "--call, --check and the like: given too often; write a spec FILE"),
    (["explore", "x.spec", *["--background", "x"] * 17],
     "--background: given too often; write a spec FILE"),
    (["explore", "x.spec", *["--ignore", "x"] * 65],
     "--ignore: given too often; write a spec FILE"),
]


@pytest.mark.parametrize("arguments,message", WRONG)
def test_what_does_not_go_together(command, arguments, message):
    result = command(*arguments)
    assert result.returncode == USAGE
    assert result.stdout == b""
    assert message in said(result)
    assert said(result).endswith(f"\ntry sqloom {arguments[0]} --help\n")


BAD_VALUES = [
    ("--call", ["", " ", "\n"]),
    ("--http", [""]),
    ("--server", [""]),
    ("--before", [""]),
    ("--check", [""]),
    ("--check-cmd", [""]),
    ("--ready", [""]),
    ("--proxy-port", ["", "0", "65536", "-1", "x"]),
    ("--attribution", ["", "Port", "address"]),
    ("--background", [""]),
    ("--stall-after", ["", "0", "x", "-1", "5x"]),
    ("--call-limit", ["", "0", "-1"]),
    ("--write-spec", [""]),
    ("--from-trace", [""]),
]


@pytest.mark.parametrize(
    "option,value",
    [(option, value) for option, values in BAD_VALUES for value in values],
)
def test_wrong_values(command, option, value):
    result = command("explore", *CALLS, f"{option}={value}")
    assert result.returncode == USAGE
    assert f"{option}: '{value}' is not valid; give " in said(result)


NO_DATABASE = ("sqloom: the calls are programs, and programs need PostgreSQL: "
               "give --db postgresql://... or --pg-temp\n")

REFUSED = [
    # Arguments, the whole message.
    (CALLS, NO_DATABASE),
    (["--http", "http://127.0.0.1/"], NO_DATABASE),
    ([*CALLS, "--db", "x.sqlite"],
     "sqloom: the calls are programs, which sqloom sees as clients of "
     "PostgreSQL, and x.sqlite is an SQLite file: give --db postgresql://... "
     "or --pg-temp\n"),
    ([*CALLS, "--pg-temp", "--jobs", "2"],
     "sqloom: --jobs 2 is asked for, and the calls are programs, which work "
     "on one database: leave --jobs out\n"),
    ([*CALLS, "--pg-temp", "--attribution", "port", "--proxy-port", "65535"],
     "sqloom: each of the 2 calls has a port of its own, and from 65535 on "
     "there are only 1: give a lower port\n"),
    ([*CALLS, "--pg-temp", "--background", "x" * 64],
     f'sqloom: "{"x" * 64}" can be no application_name: one has 1 to 63 '
     "bytes\n"),
    ([*CALLS, "--pg-temp", "--db", "postgresql://h/test"],
     "sqloom: --pg-temp starts a server of its own, and --db names another: "
     "give one of the two\n"),
    ([*CALLS, "--pg-temp", "--journal", "wal"],
     "sqloom: --journal is for SQLite, and the runs are on PostgreSQL: take "
     "it out\n"),
    ([*CALLS, "--pg-temp", "--isolation", "serializable"],
     "sqloom: an isolation level is given for sessions, and the calls are "
     "programs, which choose theirs: take it out, or start sqloom with "
     "PGOPTIONS='-c default_transaction_isolation=...'\n"),
    ([*CALLS, "--pg-temp", "--call-limit", "25h"],
     "sqloom: call_limit is 90000000 ms; the most is a day, 86400000 ms\n"),
    (["--http", "http://h/ a={", "--pg-temp"],
     "sqloom: (command line): a request has a quote or brace that is not "
     "closed, or one too many; close it, or write the brace in quotes\n"),
    ([*CALLS, "--check", "SELECT 1 }"],
     "sqloom: (command line): a check has a } that no spec can hold; write "
     "chr(125) for it\n"),
    ([*CALLS, "--server", "x", "--ready", "8000"],
     'sqloom: (command line):3:20: "8000" is nothing that can be ready; write '
     "a URL (http://127.0.0.1:8000/), HOST:PORT, or the path of a socket "
     '(/run/app.sock)\nserver { x } ready "8000"\n'
     "                   ^\n"),
    (CALLS * 9,
     "sqloom: (command line):17:1: more than 16 calls, which is the limit; "
     'split the spec\ncall "q" { exec true }\n^\n'),
]


@pytest.mark.parametrize("arguments,message", REFUSED)
def test_what_is_refused(command, arguments, message):
    result = command("explore", *arguments)
    assert said(result) == message
    assert result.returncode == USAGE
    assert result.stdout == b""


def test_a_command_that_is_no_text(command):
    result = command("explore", "--call", b"echo \xff".decode(
        errors="surrogateescape"))
    assert result.returncode == USAGE
    assert "is no UTF-8 text" in said(result)


@pytest.mark.parametrize("option", [
    ["--proxy-port", "5433"], ["--attribution", "port"], ["--background", "x"],
    ["--stall-after", "50ms"], ["--call-limit", "100"]])
def test_options_of_programs_with_sessions(command, write, option):
    result = command("explore", write("x.spec", SESSION), *option)
    assert result.returncode == USAGE
    assert said(result) == (
        f"sqloom: {option[0]} is for calls that are programs, and the spec "
        "has sessions: take it out\n")


def test_calls_are_no_isolation_spec(command, write, server):
    result = command("isolation", write("x.spec", "call a { exec true }\n"),
                     "--db", server.conninfo("postgres"))
    assert result.returncode == USAGE
    assert ("x.spec:1:6: this spec has calls, which are programs, and "
            "isolation specs have sessions; run it with sqloom explore"
            in said(result))


# ---- --write-spec ------------------------------------------------------------

ALL_OPTIONS = [
    "--before", "psql -f schema.sql", "--server", "python3 app.py",
    "--ready", "http://127.0.0.1:8000/", "--call", "echo it's }",
    "--http", "POST http://127.0.0.1:8000/x --json '{\"a\": 1}'",
    "--check", "SELECT 1 WHERE false", "--check-cmd", "test -e x",
    "--background", "a worker", "--background", "cron",
    "--proxy-port", "5433", "--attribution", "port", "--stall-after", "50ms",
    "--call-limit", "5s", "--ignore", "job.worker",
]

WRITTEN = """\
# Written by sqloom explore --write-spec.
before { psql -f schema.sql }
server { python3 app.py } ready "http://127.0.0.1:8000/"
call "a" { exec eval 'echo it'\\''s }' }
call "b" { http POST http://127.0.0.1:8000/x --json '{"a": 1}' }
check "check 1" { SELECT 1 WHERE false }
check "check 2" exec { test -e x }
option proxy_port "5433"
option stall_after "50"
option call_limit "5000"
option attribution "port"
option background "a worker"
option background "cron"
option ignore "job.worker"
"""


def test_a_spec_is_written_and_can_be_read(command, tmp_path):
    for _ in range(2):  # its own file may be written again
        result = command("explore", *ALL_OPTIONS, "--write-spec", "w.spec")
        assert said(result) == NO_DATABASE  # it was to be explored, too
        assert result.returncode == USAGE
        assert (tmp_path / "w.spec").read_text() == WRITTEN
    result = command("explore", "w.spec")
    assert said(result) == NO_DATABASE


def test_what_somebody_wrote_is_not_overwritten(command, write, tmp_path):
    name = write("mine.spec", SESSION)
    result = command("explore", *CALLS, "--write-spec", name)
    assert result.returncode == USAGE
    assert said(result) == (
        "sqloom: --write-spec: mine.spec is there, and was written by somebody "
        "else; remove it, or name another file\n")
    assert (tmp_path / name).read_text() == SESSION


def test_a_spec_that_cannot_be_written(command, tmp_path):
    (tmp_path / "d").mkdir()
    for path, why in ("d", "Is a directory"), ("no/w", "No such file"):
        result = command("explore", *CALLS, "--write-spec", path)
        assert result.returncode == SURROUNDINGS
        assert f"--write-spec: cannot write {path}: {why}" in said(result)
    result = command("explore", *CALLS, "--write-spec", "/dev/full")
    assert result.returncode == SURROUNDINGS
    assert "No space left on device" in said(result)


# ---- The line to paste ---------------------------------------------------------

INSERT = ('psql -qc "INSERT INTO t SELECT 1 WHERE NOT EXISTS (SELECT FROM t)"'
          " # it's { a comment")
RACE = ["--before", "psql -qc 'CREATE TABLE t (v int)'", "--call", INSERT,
        "--call", INSERT, "--check", "SELECT v FROM t GROUP BY v HAVING "
        "count(*) > 1", "--check=-- what begins with dashes\nSELECT v FROM t "
        "WHERE v > 1", "--check-cmd", "true", "--stall-after", "5"]


def line_to_paste(text):
    """The first line below "replay it with:"; more, where a text has some."""
    after = text[text.index("replay it with:\n"):].split("\n\n")[0]
    return after.split("\n", 1)[1].strip()


def shell(line, sqloom, environment, tmp_path, **more):
    assert line.startswith("sqloom ")
    return subprocess.run(
        ["sh", "-c", shlex.quote(sqloom) + line.removeprefix("sqloom")],
        cwd=tmp_path, env=environment(**more), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600)


def test_the_line_to_paste_replays(command, sqloom, environment, tmp_path,
                                   database):
    explored = command("explore", *RACE, "--db", database)
    assert explored.returncode == BROKEN, said(explored)
    line = line_to_paste(explored.stdout.decode())
    words = shlex.split(line)
    assert words[:2] == ["sqloom", "replay"]
    assert [words[i + 1] for i, word in enumerate(words)
            if word == "--call"] == [INSERT, INSERT]
    replayed = shell(line, sqloom, environment, tmp_path)
    assert replayed.returncode == BROKEN, said(replayed)
    assert replayed.stdout.startswith(
        b"broken: the replayed schedule ends wrong")


def test_a_written_spec_replays_by_its_name(command, sqloom, environment,
                                            tmp_path, database):
    explored = command("explore", *RACE, "--db", database, "--write-spec",
                       "w.spec")
    assert explored.returncode == BROKEN, said(explored)
    line = line_to_paste(explored.stdout.decode())
    assert line.startswith("sqloom replay w.spec ")
    assert "--call" not in line.split()
    assert shell(line, sqloom, environment, tmp_path).returncode == BROKEN
    again = command("explore", "w.spec", "--db", database)
    assert again.returncode == BROKEN
    assert line_to_paste(again.stdout.decode()).startswith(
        "sqloom replay w.spec ")


def test_the_same_in_a_spec_and_on_the_command_line(command, write, database):
    """The two ways give the same report but for the names."""
    one = command("explore", *RACE, "--db", database).stdout.decode()
    spec = write("x.spec", "before { psql -qc 'CREATE TABLE t (v int)' }\n"
                 + f"call a {{ exec {INSERT} }} }}\n"
                 f"call b {{ exec {INSERT} }} }}\n"
                 "check \"check 1\" { SELECT v FROM t GROUP BY v HAVING "
                 "count(*) > 1 }\n")
    other = command("explore", spec, "--db", database).stdout.decode()
    assert one.splitlines()[0] == other.splitlines()[0]


# ---- --from-trace --------------------------------------------------------------

@pytest.fixture
def recording(start, server, database, tmp_path):
    """The name of a trace: two clients check, then insert, one after the
    other."""
    server.sql("CREATE TABLE t (v int)", "sqloom_test")
    proxy = start("proxy", "--db", database, "--port", "0", "--record",
                  "r.trace")
    port = int(re.search(rb"port (\d+)", proxy.stdout.readline()).group(1))
    for _ in range(2):
        subprocess.run(
            [server.programs / "psql", "-XqAt", "-c", "SELECT count(*) FROM t",
             "-c", "INSERT INTO t VALUES (1)",
             f"host=127.0.0.1 port={port} user={server.user} "
             "dbname=sqloom_test sslmode=disable"],
            check=True, stdout=subprocess.DEVNULL, timeout=60)
    proxy.send_signal(signal.SIGTERM)
    assert proxy.wait(60) == 0
    server.sql("DELETE FROM t", "sqloom_test")
    return "r.trace"


def test_a_recording_is_explored(command, sqloom, environment, tmp_path,
                                 database, recording):
    explored = command("explore", "--from-trace", recording, "--db", database,
                       "--joint")
    assert explored.returncode == BROKEN, said(explored)
    line = line_to_paste(explored.stdout.decode())
    assert re.match(r"sqloom replay \S+ --from-trace r\.trace ", line)
    replayed = shell(line, sqloom, environment, tmp_path)
    assert replayed.returncode == BROKEN, said(replayed)


def test_a_recording_becomes_a_spec(command, sqloom, environment, tmp_path,
                                    database, recording):
    explored = command("explore", "--from-trace", recording, "--db", database,
                       "--joint", "--write-spec", "w.spec")
    assert explored.returncode == BROKEN, said(explored)
    text = (tmp_path / "w.spec").read_text()
    assert text.startswith("# Written by sqloom explore --write-spec.\n")
    assert text.count("INSERT INTO t VALUES (1)") == 2
    line = line_to_paste(explored.stdout.decode())
    assert line.startswith("sqloom replay w.spec ")
    assert shell(line, sqloom, environment, tmp_path).returncode == BROKEN


def test_what_is_no_recording(command, broken_spec, tmp_path):
    command("explore", broken_spec, "--trace", "x.trace")
    result = command("explore", "--from-trace", "x.trace")
    assert result.returncode == USAGE
    assert "the trace is no recording of sqloom proxy" in said(result)
    result = command("explore", "--from-trace", "none.trace")
    assert result.returncode == SURROUNDINGS
    assert "none.trace" in said(result)
