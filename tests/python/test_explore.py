# SPDX-License-Identifier: Apache-2.0
"""explore(), assert_race_free() and replay() without Django, on SQLite."""

import asyncio
import contextvars
import functools
import os
import re
import sqlite3
import subprocess
import sys
import threading

import pytest

import sqloom

pytestmark = pytest.mark.skipif(
    os.environ.get("SQLOOM_TEST_DB") == "postgresql",
    reason="it is on SQLite anyway, and runs then")

SCHEMA = """
CREATE TABLE account (id INTEGER PRIMARY KEY, name TEXT UNIQUE, balance INT);
INSERT INTO account (name, balance) VALUES ('alice', 100);
"""


@pytest.fixture(autouse=True)
def no_plugin(monkeypatch):
    """The line to paste is the same whether or not the plugin is there."""
    monkeypatch.setattr(sqloom._explore, "defaults",
                        sqloom._explore.Defaults())


def connect():
    return sqlite3.connect(sqloom.call_database(), isolation_level=None)


def set_up():
    db = connect()
    db.executescript(SCHEMA)
    db.close()


def execute(sql, *args):
    db = connect()
    try:
        return db.execute(sql, args).fetchall()
    finally:
        db.close()


def withdraw(amount):
    [(balance,)] = execute("SELECT balance FROM account")
    execute("UPDATE account SET balance = ?", balance - amount)


def withdraw_in_place(amount):
    execute("UPDATE account SET balance = balance - ?", amount)


LOST = [(withdraw, 10), (withdraw, 20)]
FINE = [(withdraw_in_place, 10), (withdraw_in_place, 20)]
EMPTY = {"setup": set_up, "database": ":memory:"}


def test_a_lost_update_is_found_and_its_fix_holds():
    report = sqloom.explore(LOST, **EMPTY)
    assert report.broken and not report.holds and not report
    assert report.explored == report.total == 6
    assert report.wrong == 4
    finding, mirrored = report.findings  # who of the two is overwritten
    assert finding.count + mirrored.count == 4
    assert finding.cls == "contents" and finding.wrong
    assert finding.title == "lost update (P4)"
    assert finding.switches == 1
    assert "stale" in finding.cause or "overwrote" in finding.cause
    assert finding.token in finding.text
    assert [event.sql for event in finding.events if event.call ==
            "withdraw(10)" and event.kind == "step"] == [
                "SELECT balance FROM account",
                "UPDATE account SET balance = $1"]
    [seen] = [event.rows for event in finding.events if event.rows][:1]
    assert seen == ({"balance": 100},)
    fixed = sqloom.explore(FINE, **EMPTY)
    assert fixed.holds and fixed and not fixed.findings
    assert fixed.explored == fixed.total == 2


def test_three_runs_are_enough_for_a_lost_update():
    assert sqloom.explore(LOST, **EMPTY, max_runs=3).broken


def test_assert_race_free_raises_the_timeline():
    with pytest.raises(sqloom.RaceFound) as caught:
        sqloom.assert_race_free(LOST, **EMPTY)
    text = str(caught.value)
    assert text.startswith("broken: 4 of 6 schedules end wrong")
    assert "lost update (P4)" in text
    assert caught.value.report.findings[0].token in text
    assert isinstance(caught.value, AssertionError)
    assert sqloom.assert_race_free(FINE, **EMPTY).holds


def test_a_budget_is_no_proof():
    with pytest.raises(sqloom.Inconclusive, match="larger max_runs="):
        sqloom.assert_race_free(FINE * 2, **EMPTY, max_runs=3)
    report = sqloom.assert_race_free(FINE * 2, **EMPTY, max_runs=3,
                                     incomplete_ok=True)
    assert report.inconclusive and report.over_budget
    assert report.total is None and report.explored == 3
    assert "max_runs=" in report.reason and "--" not in report.reason
    with pytest.raises(sqloom.RaceFound, match="lost update"):
        sqloom.assert_race_free(LOST, **EMPTY, max_runs=3, incomplete_ok=True)


def test_a_token_replays_the_same_each_time():
    finding = sqloom.explore(LOST, **EMPTY).findings[0]
    texts = {sqloom.replay(finding.token, LOST, **EMPTY).text
             for _ in range(20)}
    assert len(texts) == 1
    report = sqloom.replay(finding.token, LOST, **EMPTY)
    assert report.broken
    assert [f.token for f in report.findings] == [finding.token]


def test_a_token_of_other_calls_diverges():
    finding = sqloom.explore(LOST, **EMPTY).findings[0]
    report = sqloom.replay(finding.token, FINE, **EMPTY)
    assert report.inconclusive and report.diverged
    with pytest.raises(sqloom.TokenError, match="token"):
        sqloom.replay("nonsense", LOST, **EMPTY)


def test_a_replay_beside_its_trace_shows_both(tmp_path):
    path = tmp_path / "lost.trace"
    report = sqloom.explore(LOST, **EMPTY, trace=path)
    assert report.trace == str(path)
    finding = report.findings[0]
    replayed = sqloom.replay(finding.token, FINE, **EMPTY, recorded=path)
    assert "SELECT balance" in replayed.text
    assert "balance - " in replayed.text


def test_a_file_is_read_and_never_written(tmp_path):
    path = tmp_path / "app.db"
    db = sqlite3.connect(path)
    db.executescript(SCHEMA)
    db.close()
    before = path.read_bytes()

    def withdraw_from_file(amount):
        own = sqlite3.connect(path)
        [(balance,)] = own.execute("SELECT balance FROM account")
        own.execute("UPDATE account SET balance = ?", [balance - amount])
        own.commit()
        own.close()

    report = sqloom.explore([(withdraw_from_file, 10),
                             (withdraw_from_file, 20)], database=path)
    assert report.broken
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    # Afterwards the name is the file again.
    db = sqlite3.connect(path)
    assert db.execute("SELECT balance FROM account").fetchall() == [(100,)]
    db.close()


def test_results_count():
    """Both are told that they got it, and the contents look like one."""
    def redeem():
        [(balance,)] = execute("SELECT balance FROM account")
        if balance == 0:
            return "too late"
        execute("UPDATE account SET balance = 0")
        return "redeemed"

    finding = sqloom.explore([redeem] * 2, **EMPTY).findings[0]
    assert finding.cls == "result"
    assert [d.where for d in finding.differences]


def test_contents_that_are_ignored():
    def book(text):
        execute("UPDATE account SET balance = balance - 1")
        [(lines,)] = execute("SELECT count(*) FROM log")
        execute("INSERT INTO log VALUES (?, ?)", lines + 1, text)

    def set_up_log():
        set_up()
        execute("CREATE TABLE log (line INT, text)")

    options = {**EMPTY, "setup": set_up_log}
    calls = [(book, "x"), (book, "y")]
    assert sqloom.explore(calls, **options).broken
    assert sqloom.explore(calls, ignore="log.text", **options).broken
    assert sqloom.explore(calls, ignore=["log.line"], **options).holds
    assert sqloom.explore(calls, ignore="log", **options).holds
    with pytest.raises(sqloom.UsageError,
                       match="ignore= lines: there is no such table; there are"):
        sqloom.explore(calls, ignore=["lines"], **options)


def test_checks():
    def check():
        [(balance,)] = execute("SELECT balance FROM account")
        assert balance >= 90, f"only {balance} left"

    report = sqloom.explore(FINE, check, **EMPTY)
    assert report.broken
    assert "only 70 left" in report.text

    def answer():
        return execute("SELECT balance FROM account") != [(70,)]

    assert "answer() returned False" in sqloom.explore(
        FINE, answer, **EMPTY).text
    assert sqloom.explore(FINE, lambda: None, **EMPTY).holds
    assert "it is gone" in sqloom.explore(
        FINE, lambda: "it is\ngone", **EMPTY).text
    assert sqloom.explore(
        FINE, queries="SELECT * FROM account WHERE balance < 90",
        **EMPTY).broken


def test_an_assertion_without_a_text_is_told_by_its_line():
    namespace = {"execute": execute}
    # Not rewritten by pytest.
    exec(compile("def check():\n    assert 1 == 2\n", "no-file", "exec"),
         namespace)
    report = sqloom.explore(FINE, namespace["check"], **EMPTY)
    assert "AssertionError" in report.text


def test_a_refusal_is_no_finding():
    class SoldOut(Exception):
        pass

    def buy():
        [(balance,)] = execute("SELECT balance FROM account")
        db = connect()
        done = db.execute("UPDATE account SET balance = 0 WHERE balance = ? "
                          "AND balance > 0", [balance]).rowcount
        db.close()
        if not done:
            raise SoldOut("sold out" if balance == 0 else "try again")

    assert sqloom.explore([buy] * 2, **EMPTY, refusals=SoldOut).holds


def test_an_error_that_no_serial_run_has_is_told_with_its_traceback():
    def create():
        if not execute("SELECT 1 FROM account WHERE name = 'bob'"):
            execute("INSERT INTO account (name) VALUES ('bob')")

    with pytest.raises(sqloom.RaceFound) as caught:
        sqloom.assert_race_free([create] * 2, **EMPTY)
    finding = caught.value.report.findings[0]
    assert finding.cls == "error"
    assert "IntegrityError: UNIQUE constraint failed" in str(caught.value)
    assert "in create\n" in str(caught.value)


def test_a_call_that_always_fails_is_an_error():
    def wrong():
        raise KeyError("typo")

    with pytest.raises(sqloom.CallError) as caught:
        sqloom.explore([wrong, (withdraw, 1)], **EMPTY)
    assert "wrong fails in every run" in str(caught.value)
    assert "in wrong\n" in str(caught.value)
    assert sqloom.explore([wrong, (withdraw_in_place, 1)], **EMPTY,
                          refusals=KeyError).holds is not None


def test_shapes_of_calls_and_names():
    def move(amount, *, name="alice"):
        execute("UPDATE account SET balance = balance + ? WHERE name = ?",
                amount, name)

    report = sqloom.explore(
        [(move, 1), (move, [2], {"name": "alice"}), (move, {"amount": 3}),
         functools.partial(move, 4), lambda: move(5)], **EMPTY, max_runs=1)
    assert [call["name"] for call in report.json["calls"]] == [
        "move(1)", "move(2, name='alice')", "move(amount=3)", "move(4)",
        "call 5"]
    report = sqloom.explore([(move, 1)] * 2, **EMPTY)
    assert [call["name"] for call in report.json["calls"]] == [
        "move(1) 1", "move(1) 2"]
    report = sqloom.explore([(move, 1)] * 2, **EMPTY, names=["one", "two"])
    assert "a one, b two" in report.text


def test_coroutines():
    async def add():
        await asyncio.sleep(0)
        withdraw(1)

    assert sqloom.explore([add] * 2, **EMPTY).broken


def test_points():
    shared = {}

    def set_up_shared():
        set_up()

    def buy():
        seen = shared.get("n", 0)
        sqloom.point("between")
        shared["n"] = seen + 1
        execute("INSERT INTO account (name) VALUES (?)", f"n{shared['n']}")

    def forget():
        shared.clear()

    report = sqloom.explore([buy] * 2, forget, setup=set_up_shared,
                            database=":memory:")
    assert report.broken
    assert "-- point: between" in report.text
    sqloom.point("nobody explores")


def test_context_variables_begin_as_the_caller_has_them():
    variable = contextvars.ContextVar("variable", default="none")
    variable.set("of the caller")

    def use():
        assert variable.get() == "of the caller"
        variable.set("of the call")
        withdraw_in_place(1)

    assert sqloom.explore([use] * 2, **EMPTY).holds


def test_threads_are_kept_from_run_to_run():
    threads = {}
    local = threading.local()

    def use(name):
        threads.setdefault(name, set()).add(threading.get_ident())
        if not hasattr(local, "db"):
            local.db = connect()
        local.db.execute("UPDATE account SET balance = balance - 1")

    assert sqloom.explore([(use, "a"), (use, "b")], **EMPTY).holds
    assert [len(idents) for idents in threads.values()] == [1, 1]


def test_call_database_on_a_thread_that_a_call_starts():
    def use():
        thread = threading.Thread(target=withdraw_in_place, args=[1])
        thread.start()
        thread.join()

    assert sqloom.explore([use] * 2, **EMPTY).holds


def test_the_report_is_made_of_texts_and_objects():
    report = sqloom.explore(LOST, **EMPTY)
    assert str(report) == report.text == report.render()
    assert repr(report).startswith("<sqloom.Report: broken: 4 of 6 schedules")
    assert report.json["verdict"] == report.verdict == "broken"
    assert "\033[" in report.render(color=True)
    assert report.render(ascii=True).isascii()
    assert report.render(brief=True).count("\n") <= 2
    lines = report.render(width=60).splitlines()
    assert all(len(line) <= 60 for line in lines if "REPLAY" not in line)
    assert report.notes == ()


def test_traces_of_what_does_not_hold_are_kept(tmp_path):
    sqloom._explore.defaults.trace_directory = tmp_path / "traces"
    report = sqloom.explore(LOST, **EMPTY, name="tests/a.py::test[x/y]")
    assert report.trace == str(tmp_path / "traces/tests_a.py_test_x_y.trace")
    again = sqloom.explore(LOST, **EMPTY, name="tests/a.py::test[x/y]")
    assert again.trace == str(tmp_path / "traces/tests_a.py_test_x_y.2.trace")
    assert sqloom.explore(FINE, **EMPTY).trace is None
    assert len(list((tmp_path / "traces").iterdir())) == 2
    with pytest.raises(sqloom.RaceFound, match="trace: .*test_x_y.3.trace"):
        sqloom.assert_race_free(LOST, **EMPTY, name="tests/a.py::test[x/y]")


def test_defaults_are_what_holds_when_nothing_is_said():
    defaults = sqloom._explore.defaults
    defaults.max_runs = 1
    reports = []
    defaults.on_report = reports.append
    report = sqloom.explore(FINE, **EMPTY)
    assert report.over_budget and reports == [report]
    assert sqloom.explore(FINE, **EMPTY, max_runs=0).holds
    defaults.token = sqloom.explore(LOST, **EMPTY, max_runs=9).findings[0].token
    assert sqloom.explore(LOST, **EMPTY).json["kind"] == "replay"
    with pytest.raises(sqloom.RaceFound, match="the replayed schedule"):
        sqloom.assert_race_free(LOST, **EMPTY)


def test_the_environment_sets_defaults(monkeypatch):
    monkeypatch.setenv("SQLOOM_MAX_RUNS", "7")
    monkeypatch.setenv("SQLOOM_SEED", "3")
    monkeypatch.setenv("SQLOOM_REPLAY", "ab~1234")
    monkeypatch.setenv("SQLOOM_TRACES", "traces")
    made = sqloom._explore.defaults_of_environment()
    assert (made.max_runs, made.seed, made.token, made.trace_directory) == (
        7, 3, "ab~1234", "traces")
    monkeypatch.setenv("SQLOOM_SEED", "x")
    with pytest.raises(sqloom.UsageError, match="SQLOOM_SEED is 'x'"):
        sqloom._explore.defaults_of_environment()


def test_the_line_to_paste(monkeypatch):
    node = "tests/test_a.py::test[it's]"
    monkeypatch.setenv("PYTEST_CURRENT_TEST", f"{node} (call)")
    finding = sqloom.explore(LOST, **EMPTY).findings[0]
    assert finding.replay == (f"SQLOOM_REPLAY={finding.token} pytest "
                              "'tests/test_a.py::test[it'\\''s]'")
    assert finding.replay in finding.text
    sqloom._explore.defaults.paste = "pytest test_a.py --sqloom-replay"
    finding = sqloom.explore(LOST, **EMPTY).findings[0]
    assert finding.replay == f"pytest test_a.py --sqloom-replay {finding.token}"
    sqloom._explore.defaults.paste = None
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    finding = sqloom.explore(LOST, **EMPTY).findings[0]
    assert finding.replay == f'sqloom.replay("{finding.token}", ...)'
    assert finding.replay in sqloom.explore(LOST, **EMPTY).text


def test_an_exception_of_setup_or_check_is_raised_as_it_is():
    def wrong():
        raise KeyError("a defect of the test")

    with pytest.raises(KeyError, match="a defect"):
        sqloom.explore(FINE, setup=wrong, database=":memory:")
    with pytest.raises(KeyError, match="a defect"):
        sqloom.explore(FINE, wrong, **EMPTY)
    assert sqloom.explore(FINE, **EMPTY).holds


UNITTEST = """
import sqlite3, unittest
import sqloom

def set_up():
    db = sqlite3.connect(sqloom.call_database())
    db.executescript("CREATE TABLE t (v INT); INSERT INTO t VALUES (1)")
    db.close()

def add():
    db = sqlite3.connect(sqloom.call_database(), isolation_level=None)
    [(v,)] = db.execute("SELECT v FROM t")
    db.execute("UPDATE t SET v = ?", [v + 1])
    db.close()

class CounterTests(unittest.TestCase):
    def test_add(self):
        sqloom.assert_race_free([add] * 2, setup=set_up, database=":memory:")
"""


def test_the_line_to_paste_of_unittest_works(tmp_path):
    (tmp_path / "counters.py").write_text(UNITTEST)
    kept = {name: value for name, value in os.environ.items()
            if name not in ("PYTEST_CURRENT_TEST", "DJANGO_SETTINGS_MODULE")}

    def shell(command):
        return subprocess.run(["sh", "-c", command], cwd=tmp_path, text=True,
                              env=kept, timeout=60, stderr=subprocess.STDOUT,
                              stdout=subprocess.PIPE).stdout

    said = shell(f"{sys.executable} -m unittest counters")
    assert "broken: 4 of 6 schedules" in said
    [line] = re.findall(r"replay it with:\n *(SQLOOM_REPLAY=.*)", said)
    assert line.endswith("python -m unittest counters.CounterTests.test_add")
    again = shell(line.replace(" python ", f" {sys.executable} "))
    assert "broken: the replayed schedule ends wrong" in again, again


def test_a_connection_that_nobody_closes():
    """sqlite3's are in a cycle: with-blocks commit, and do not close."""
    def use():
        with connect() as db:
            db.execute("UPDATE account SET balance = balance - 1").fetchall()
            db.execute("UPDATE account SET balance = balance - 1").fetchall()
            db.execute("UPDATE account SET balance = balance - 1").fetchall()

    report = sqloom.explore([use] * 2, **EMPTY)
    assert report.holds and report.total == 20, report.text
