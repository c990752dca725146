# SPDX-License-Identifier: Apache-2.0
"""Exploring, replaying and showing: exit codes, and equal bytes for equal
questions."""

import json
import re
import shlex
import sqlite3

import pytest

HOLDS, IS_BROKEN, IS_INCONCLUSIVE = 0, 1, 4


def replay_line(explored):
    """The arguments behind sqloom in the line to paste."""
    line = re.search(rb"^ +sqloom (replay .*)$", explored.stdout, re.M)
    assert line, explored.stdout
    return shlex.split(line.group(1).decode())


def test_holds(command, holding_spec):
    result = command("explore", holding_spec)
    assert result.returncode == HOLDS
    assert result.stdout.startswith(b"holds: ")
    assert result.stderr == b""


def test_broken(command, broken_spec):
    result = command("explore", broken_spec)
    assert result.returncode == IS_BROKEN
    assert result.stdout.startswith(b"broken: 4 of 6 schedules")
    assert result.stderr == b""


def test_inconclusive(command, long_holding_spec):
    result = command("explore", long_holding_spec, "--max-runs", "20")
    assert result.returncode == IS_INCONCLUSIVE
    assert result.stdout.startswith(b"inconclusive: ")
    assert b"--max-runs" in result.stdout


def test_max_runs_limits_the_runs(command, long_holding_spec):
    result = command("explore", long_holding_spec, "--max-runs", "40", "--json")
    assert json.loads(result.stdout)["explored"] <= 40


def test_a_bound_on_switches(command, broken_spec):
    """Without a switch all schedules are serial."""
    result = command("explore", broken_spec, "--preemptions", "0")
    assert result.returncode == HOLDS
    assert b"within the bounds" in result.stdout


def test_strict(command, write):
    """A refused lock is told, and wrong only if it is asked for."""
    spec = write("busy.spec", """\
setup { CREATE TABLE t (v INTEGER); INSERT INTO t VALUES (0) }
session a
step a1 { BEGIN IMMEDIATE }
step a2 { UPDATE t SET v = v + 1 }
step a3 { COMMIT }
session b
step b1 { BEGIN IMMEDIATE }
step b2 { UPDATE t SET v = v + 1 }
step b3 { COMMIT }
""")
    assert command("explore", spec).returncode == HOLDS
    strict = command("explore", spec, "--strict")
    assert strict.returncode == IS_BROKEN
    assert "--strict" in replay_line(strict)
    assert command("explore", spec, "--busy-timeout", "100",
                   "--strict").returncode == HOLDS


def test_local_begin_makes_fewer_schedules(command, write):
    spec = write("begin.spec", """\
setup { CREATE TABLE t (v INTEGER); INSERT INTO t VALUES (0) }
session a
step a1 { BEGIN }
step a2 { SELECT v FROM t }
step a3 { COMMIT }
session b
step b1 { BEGIN }
step b2 { SELECT v FROM t }
step b3 { COMMIT }
""")
    counts = [
        json.loads(command("explore", spec, "--json", *more).stdout)["explored"]
        for more in ([], ["--local-begin"])
    ]
    assert counts[0] > counts[1]


@pytest.mark.parametrize("strategy", ["auto", "exhaustive", "random", "uniform",
                                      "pct"])
def test_every_strategy_finds_it(command, broken_spec, strategy):
    result = command("explore", broken_spec, "--strategy", strategy,
                     "--max-runs", "200")
    assert result.returncode == IS_BROKEN


@pytest.mark.parametrize("more", [[], ["--store", "file"],
                                  ["--store", "file", "--journal", "wal"],
                                  ["--journal", "wal"]])
def test_every_store_finds_it(command, broken_spec, more):
    explored = command("explore", broken_spec, *more)
    assert explored.returncode == IS_BROKEN
    assert command(*replay_line(explored)).returncode == IS_BROKEN


@pytest.mark.parametrize("spec,code", [("broken_spec", IS_BROKEN),
                                       ("holding_spec", HOLDS),
                                       ("long_holding_spec", IS_INCONCLUSIVE)])
def test_quiet_is_the_line_of_the_verdict(command, request, spec, code):
    spec = request.getfixturevalue(spec)
    whole = command("explore", spec, "--max-runs", "50", "--width", "1000")
    for option in "-q", "--quiet":
        result = command("explore", spec, "--max-runs", "50", option,
                         "--width", "40")
        assert result.returncode == code
        assert result.stdout == whole.stdout.splitlines(keepends=True)[0]


@pytest.mark.parametrize("spec", ["broken_spec", "holding_spec",
                                  "long_holding_spec"])
def test_json(command, request, spec):
    spec = request.getfixturevalue(spec)
    result = command("explore", spec, "--max-runs", "50", "--json")
    report = json.loads(result.stdout)
    assert report["exit_code"] == result.returncode
    assert result.stdout.endswith(b"\n")
    assert result.stderr == b""


def test_json_of_a_replay(command, broken_spec):
    line = replay_line(command("explore", broken_spec))
    result = command(*line, "--json")
    assert json.loads(result.stdout)["exit_code"] == result.returncode == 1


@pytest.mark.parametrize("more", [
    [], ["--strategy", "random"], ["--strategy", "uniform"],
    ["--strategy", "pct"], ["--store", "file"]])
def test_equal_seeds_give_equal_bytes(command, long_spec, tmp_path, more):
    seen = set()
    for trace in "first", "second":
        result = command("explore", long_spec, "--seed", "0xfeed",
                         "--max-runs", "150", "--findings", "all",
                         "--trace", trace, *more)
        assert result.returncode == IS_BROKEN, result.stderr
        seen.add((result.stdout, (tmp_path / trace).read_bytes()))
    assert len(seen) == 1


@pytest.mark.parametrize("more", [
    [], ["--strategy", "random"], ["--strategy", "pct"], ["--store", "file"]])
def test_any_number_of_jobs_gives_equal_bytes(command, long_spec, tmp_path,
                                              more):
    seen = set()
    for jobs in 1, 2, 3, 8:
        result = command("explore", long_spec, "--seed", "3", "--jobs", jobs,
                         "--max-runs", "1500", "--findings", "all",
                         "--trace", f"trace{jobs}", *more)
        assert result.returncode == IS_BROKEN, result.stderr
        seen.add((result.stdout, (tmp_path / f"trace{jobs}").read_bytes()))
    assert len(seen) == 1


def test_other_seeds_give_other_schedules(command, long_spec, tmp_path):
    seen = set()
    for seed in "1", "2":
        command("explore", long_spec, "--seed", seed, "--max-runs", "50",
                "--strategy", "random", "--trace", f"trace{seed}")
        lines = (tmp_path / f"trace{seed}").read_text().splitlines()
        seen.add("\n".join(lines[1:]))
    assert len(seen) == 2


def test_replay_is_the_same_100_times(command, broken_spec):
    line = replay_line(command("explore", broken_spec))
    first = command(*line)
    assert first.returncode == IS_BROKEN
    assert first.stdout.startswith(b"broken: ")
    for _ in range(99):
        again = command(*line)
        assert again.returncode == IS_BROKEN
        assert again.stdout == first.stdout


def edit(tmp_path, name, old, new):
    path = tmp_path / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_replay_after_a_literal_changed(command, broken_spec, tmp_path):
    """The token is about the shape of the steps."""
    line = replay_line(command("explore", broken_spec))
    edit(tmp_path, broken_spec, ":bal + 10", ":bal + 25")
    assert command(*line).returncode == IS_BROKEN


def test_replay_after_a_step_changed(command, broken_spec, tmp_path):
    line = replay_line(command("explore", broken_spec))
    edit(tmp_path, broken_spec, ":bal + 10", "2 * :bal")
    result = command(*line)
    assert result.returncode == IS_INCONCLUSIVE
    assert result.stdout.startswith(
        b"inconclusive: the replay diverged at step 3; this is not a pass")
    assert b"step a_write" in result.stdout
    assert re.search(rb"now +UPDATE account SET bal = 2 \* :bal",
                     result.stdout)


@pytest.mark.parametrize("new", ["bal + 10", "2 * :bal", ":bal", ":bal - 10"])
def test_replay_with_the_trace_shows_both_texts(command, broken_spec, tmp_path,
                                                new):
    line = replay_line(command("explore", broken_spec, "--trace", "run.trace"))
    edit(tmp_path, broken_spec, ":bal + 10", new)
    assert command(*line).returncode == IS_INCONCLUSIVE
    result = command(*line, "--from", "run.trace", "--width", "200")
    assert result.returncode == IS_INCONCLUSIVE
    text = result.stdout.decode()
    assert "diverged at step 3" in text
    where = "WHERE id = 1\n"
    assert f"recorded  UPDATE account SET bal = :bal + 10 {where}" in text
    assert f"now       UPDATE account SET bal = {new} {where}" in text


def test_replay_of_a_step_that_is_gone(command, broken_spec, tmp_path):
    line = replay_line(command("explore", broken_spec))
    text = (tmp_path / broken_spec).read_text().splitlines(keepends=True)
    (tmp_path / broken_spec).write_text("".join(text[:-1]))
    result = command(*line)
    assert result.returncode == IS_INCONCLUSIVE
    assert b"diverged" in result.stdout


def test_replay_from_a_bad_trace(command, broken_spec):
    line = replay_line(command("explore", broken_spec))
    result = command(*line, "--from", "nowhere.trace")
    assert result.returncode == 3
    assert b"nowhere.trace" in result.stderr


def test_show_is_what_explore_printed(command, long_spec):
    explored = command("explore", long_spec, "--max-runs", "300", "--trace",
                       "run.trace", "--findings", "all")
    assert explored.returncode == IS_BROKEN
    shown = command("show", "run.trace", "--findings", "all")
    assert shown.returncode == 0
    assert shown.stdout == explored.stdout


def test_show_of_standard_input(command, broken_spec, tmp_path):
    explored = command("explore", broken_spec, "--trace", "run.trace")
    trace = (tmp_path / "run.trace").read_bytes()
    shown = command("show", "-", stdin=trace)
    assert (shown.returncode, shown.stdout) == (0, explored.stdout)


def test_a_trace_on_standard_output_stands_alone(command, broken_spec,
                                                 tmp_path):
    command("explore", broken_spec, "--trace", "run.trace")
    for path in "-", "/dev/stdout":
        result = command("explore", broken_spec, "--trace", path)
        assert result.returncode == IS_BROKEN
        assert result.stdout == (tmp_path / "run.trace").read_bytes()


def test_show_of_one_finding(command, broken_spec):
    explored = command("explore", broken_spec, "--trace", "run.trace")
    token = replay_line(explored)[2]
    shown = command("show", "run.trace", "--finding", token)
    assert shown.returncode == 0
    assert token.encode() in shown.stdout
    assert shown.stdout.strip() in explored.stdout


def test_findings_told_at_length(command, long_spec):
    """More of them make a longer report, and 0 tells none."""
    sizes = [
        len(command("explore", long_spec, "--max-runs", "100", "--findings",
                    count).stdout)
        for count in ("0", "1", "2", "all")
    ]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("store", ["memory", "file"])
@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_the_database_of_the_user_is_never_written(command, write, tmp_path,
                                                   store, journal):
    folder = tmp_path / "data"
    folder.mkdir()
    path = folder / "app.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute(
        "CREATE TABLE account (id INTEGER PRIMARY KEY, bal INTEGER)")
    connection.execute("INSERT INTO account VALUES (1, 100)")
    connection.commit()
    connection.close()
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    assert [p.name for p in folder.iterdir()] == ["app.db"]
    spec = write("app.spec", """\
setup { CREATE TABLE more (v INTEGER) }
session alice
step a1 { SELECT bal FROM account WHERE id = 1 }
step a2 { UPDATE account SET bal = :bal + 1 WHERE id = 1 }
session bob
step b1 { SELECT bal FROM account WHERE id = 1 }
step b2 { UPDATE account SET bal = :bal + 1 WHERE id = 1 }
""")
    explored = command("explore", spec, "--db", path, "--store", store)
    assert explored.returncode == IS_BROKEN, explored.stderr
    assert command(*replay_line(explored)).returncode == IS_BROKEN
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [p.name for p in folder.iterdir()] == ["app.db"]


def test_quiet_is_never_cut(command, write):
    spec = write("lines.spec", """\
setup { CREATE TABLE t (v INTEGER); INSERT INTO t VALUES (0); }
session alice
step a_begin { BEGIN IMMEDIATE }
step a_end { COMMIT }
session bob
step b_write { UPDATE t SET v = 1 }
step b_read { SELECT v FROM t }
option busy_timeout 1000
permutation a_begin b_write b_read a_end
""")
    result = command("explore", spec, "-q")
    assert result.returncode == IS_INCONCLUSIVE
    assert result.stdout.count(b"\n") == 1
    assert result.stdout.endswith(b"see the notes\n")


def test_a_trace_does_not_overwrite_what_is_no_trace(command, write, tmp_path):
    spec = write("bank.spec", "session a\nstep s { SELECT 1 }\n")
    database = tmp_path / "app.db"
    sqlite3.connect(database).execute("CREATE TABLE t (v)").connection.close()
    for name in "bank.spec", "app.db":
        before = (tmp_path / name).read_bytes()
        result = command("explore", spec, "--db", "app.db", "--trace", name)
        assert result.returncode == 2
        assert name.encode() in result.stderr
        assert b"another name" in result.stderr
        assert (tmp_path / name).read_bytes() == before
    for _ in range(2):  # a trace may be written again
        assert command("explore", spec, "--trace", "run.trace").returncode == 0


def test_a_budget_of_exactly_all_schedules_is_enough(command, broken_spec):
    result = command("explore", broken_spec, "--max-runs", "6")
    assert b"all 6 explored" in result.stdout


def test_switches_of_a_line_and_of_its_replay_are_the_same(command, write):
    spec = write("line.spec", """\
setup { CREATE TABLE t (v INTEGER); INSERT INTO t VALUES (0); }
session alice
step a_read { SELECT v FROM t }
step a_write { UPDATE t SET v = :v + 1 }
session bob
step b_read { SELECT v FROM t }
step b_write { UPDATE t SET v = :v + 1 }
permutation a_read b_read a_write b_write
""")
    explored = command("explore", spec)
    replayed = command(*replay_line(explored))
    told = re.compile(rb"(\d+) switch(?:es)? between calls")
    assert told.search(explored.stdout).group(1) == \
        told.search(replayed.stdout).group(1)
