# SPDX-License-Identifier: Apache-2.0
"""What cannot be explored is refused in words, before anything runs."""

import os
import sqlite3
import subprocess
import sys
import threading

import pytest

import sqloom

pytestmark = pytest.mark.skipif(
    os.environ.get("SQLOOM_TEST_DB") == "postgresql",
    reason="it is on SQLite anyway, and runs then")


def update():
    db = sqlite3.connect(sqloom.call_database(), isolation_level=None)
    db.execute("UPDATE t SET v = v + 1")
    db.close()


def set_up():
    db = sqlite3.connect(sqloom.call_database())
    db.executescript("CREATE TABLE t (v INT); INSERT INTO t VALUES (1)")
    db.close()


EMPTY = {"setup": set_up, "database": ":memory:"}


def generator():
    yield update()


async def async_generator():
    yield update()


@pytest.mark.parametrize("calls, words", [
    ([], "0 calls to explore: give at least 2"),
    ([update], r"1 call to explore: .*\[function\] \* 2"),
    ([update] * 17, "17 calls to explore: the most is 16"),
    (update, "give the calls as a list"),
    (7, "give the calls as a list"),
    ([update, 7], "call 2 is 7, which cannot be called"),
    ([update, ()], r"call 2 is \(\), which cannot be called"),
    ([update, "update"], "call 2 is 'update', which cannot be called"),
    ([update, (update, 1)], r"call 2 \(update\(1\)\) cannot be called like "
                            r"that: too many positional"),
    ([update, generator], r"call 2 \(generator\) is a generator"),
    ([update, async_generator], r"call 2 \(async_generator\) is a generator"),
])
def test_calls(calls, words):
    with pytest.raises(sqloom.UsageError, match=words):
        sqloom.explore(calls, **EMPTY)


@pytest.mark.parametrize("arguments, words", [
    ({"names": ["a"]}, "2 calls and 1 names"),
    ({"names": ["a", "a"]}, "calls 1 and 2 are both called 'a'"),
    ({"names": ["a", ""]}, "name 2 is ''"),
    ({"names": ["a", "b\nc"]}, r"name 2 is 'b\\nc'"),
    ({"names": ["a", "b" * 64]}, "1 to 63 bytes"),
    ({"check": "SELECT 1"}, "check= is 'SELECT 1': .*queries="),
    ({"setup": 5}, "setup= is 5: give a function"),
    ({"check": generator}, "check= is a generator function"),
    ({"queries": [""]}, "queries= has ''"),
    ({"queries": [5]}, "queries= has 5"),
    ({"ignore": [""]}, "ignore= has ''"),
    ({"ignore": "a.b.c"}, '"a.b.c" cannot be ignored: ignore= takes a table'),
    ({"refusals": [5]}, "refusals= names exceptions"),
    ({"strategy": "clever"}, "strategy= is 'clever': give one of 'auto'"),
    ({"max_runs": -1}, "max_runs= is -1"),
    ({"max_runs": 1.5}, "max_runs= is 1.5"),
    ({"max_runs": True}, "max_runs= is True"),
    ({"max_preemptions": -1}, "max_preemptions= is -1"),
    ({"seed": "x"}, "seed= is 'x'"),
    ({"seed": 1 << 64}, "seed= is 1844"),
    ({"max_time": -1}, "max_time= is -1"),
    ({"max_time": "1s"}, "max_time= is '1s': give a number of seconds"),
    ({"max_time": float("nan")}, "max_time= is nan"),
    ({"call_limit": 1e12}, "call_limit= is 1"),
    ({"isolation": ""}, "isolation= is '': give one of 'read committed'"),
    ({"isolation": "serializable"}, "isolation='serializable' is for Postgre"),
    ({"database": "nowhere.db"}, "'nowhere.db', which is not there"),
    ({"database": os.curdir}, "which is a folder"),
    ({"database": ""}, "database= is ''"),
    ({"database": "mysql://shop"}, "of the kind 'mysql'"),
    ({"database": "file:shop.db?mode=ro"}, "not a URI"),
    ({"database": ":memory:", "using": "default"}, "database= or pg_temp="),
    ({"database": "x.db", "pg_temp": True}, "give one of the two"),
    ({"trace": "no/such/folder/x.trace"}, "x.trace"),
])
def test_arguments(arguments, words):
    given = {**EMPTY, **arguments}
    check = given.pop("check", None)
    with pytest.raises(sqloom.Error, match=words):
        sqloom.explore([update] * 2, check, **given)


def test_arguments_that_there_are_not():
    for function in (sqloom.explore, sqloom.assert_race_free):
        with pytest.raises(TypeError, match="max_rums"):
            function([update] * 2, max_rums=3, **EMPTY)
    with pytest.raises(TypeError, match="replay.*max_rums"):
        sqloom.replay("ab~1", [update] * 2, max_rums=3)


@pytest.mark.parametrize("token", [
    "", "nonsense", "ab", "ab~", "ab~zzzz", "a" * 100_000, "ab~0918.j2j2m7m7\n",
    None, 7], ids=lambda token: repr(token)[:20])
def test_tokens(token):
    with pytest.raises(sqloom.Error, match="token"):
        sqloom.replay(token, [update] * 2, **EMPTY)


def test_an_exploration_inside_of_a_call():
    seen = []

    def inner():
        try:
            sqloom.explore([update] * 2, **EMPTY)
        except sqloom.UsageError as error:
            seen.append(str(error))
        update()

    assert sqloom.explore([inner] * 2, **EMPTY).holds
    assert seen and "inside of a call" in seen[0]


@pytest.mark.parametrize("where", ["setup", "check"])
def test_an_exploration_inside_of_setup_or_check(where):
    def inner():
        if where == "setup":
            set_up()
        sqloom.explore([update] * 2, **EMPTY)

    given = {"setup": inner} if where == "setup" else {**EMPTY, "check": inner}
    with pytest.raises(sqloom.UsageError, match="setup or the check"):
        sqloom.explore([update] * 2, given.pop("check", None),
                       **{"database": ":memory:", **given})
    assert sqloom.explore([update] * 2, **EMPTY).holds


def test_an_exploration_beside_another():
    said = []

    def other():
        try:
            sqloom.explore([update] * 2, **EMPTY)
        except sqloom.UsageError as error:
            said.append(str(error))

    def check():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    assert sqloom.explore([update] * 2, check, **EMPTY).holds
    assert "another thread of this process explores" in said[0]


def test_an_exploration_in_a_thread_that_is_not_the_main_one():
    reports = []
    thread = threading.Thread(
        target=lambda: reports.append(sqloom.explore([update] * 2, **EMPTY)))
    thread.start()
    thread.join()
    assert reports[0].holds


def test_call_database_when_nothing_is_explored():
    with pytest.raises(sqloom.UsageError, match="nothing is explored now"):
        sqloom.call_database()
    assert sqloom.explore([update] * 2, **EMPTY).holds
    with pytest.raises(sqloom.UsageError, match="nothing is explored now"):
        sqloom.call_database()


def test_a_connection_that_was_opened_before_is_told(tmp_path):
    path = tmp_path / "app.db"
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    db.executescript("CREATE TABLE t (v INT); INSERT INTO t VALUES (1)")

    def use():
        db.execute("SELECT v FROM t").fetchall()

    report = sqloom.explore([use] * 2, database=path)
    db.close()
    assert report.inconclusive
    assert "before" in report.text


def test_an_sqlite_that_cannot_be_seen(monkeypatch):
    monkeypatch.setattr(sqloom._options._ext, "sqlite_mode", lambda: "absent")
    with pytest.raises(sqloom.UsageError, match="of its own inside"):
        sqloom.explore([update] * 2, **EMPTY)


def test_using_without_django():
    code = ("import sqloom\n"
            "try: sqloom.explore([print, print], using='other')\n"
            "except sqloom.UsageError as error: print(error)\n")
    environment = {**os.environ}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    said = subprocess.run([sys.executable, "-c", code], text=True, timeout=60,
                          capture_output=True, check=True, env=environment)
    assert "Django is not set up: call django.setup() first" in said.stdout
