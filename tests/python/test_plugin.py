# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin, in runs of pytest of its own: the fixture, the options,
what failing tests print, and what lies beside."""

import os
import re

import pytest

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.skipif(
    os.environ["SQLOOM_TEST_DB"] != "sqlite",
    reason="the same on any database")

ACCOUNTS = '''
import sqlite3

import pytest
import sqloom


@pytest.fixture
def database(tmp_path):
    """An account with nothing in it."""
    path = tmp_path / "test.sqlite3"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE account (balance INTEGER)")
    connection.execute("INSERT INTO account VALUES (0)")
    connection.commit()
    connection.close()
    return path


def deposit(amount):
    """Reads, computes, writes."""
    connection = sqlite3.connect(sqloom.call_database())
    try:
        balance, = connection.execute("SELECT balance FROM account").fetchone()
        connection.execute("UPDATE account SET balance = ?", [balance + amount])
        connection.commit()
    finally:
        connection.close()


def add(amount):
    connection = sqlite3.connect(sqloom.call_database())
    try:
        connection.execute("UPDATE account SET balance = balance + ?", [amount])
        connection.commit()
    finally:
        connection.close()
'''

RACE = '''
from accounts import *


def test_race(sqloom, database):
    sqloom.assert_race_free([(deposit, 1), (deposit, 2)], database=database)
'''

SOUND = '''
from accounts import *


def test_sound(sqloom, database):
    sqloom.assert_race_free([(add, 1), (add, 2)], database=database)
'''


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs pytest in a directory of its own; apart: in a process of its own."""
    for name in ("MAX_RUNS", "SEED", "REPLAY", "TRACES"):
        monkeypatch.delenv(f"SQLOOM_{name}", raising=False)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    # There pytest says more in its summary.
    for name in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    # So much has a failing test to say that lines are not to be broken.
    monkeypatch.setenv("COLUMNS", "200")
    pytester.makepyfile(accounts=ACCOUNTS)

    def run_pytest(*arguments, apart=False):
        arguments = "-p", "no:django", "-p", "no:cacheprovider", *arguments
        if apart:
            return pytester.runpytest_subprocess(*arguments, timeout=120)
        return pytester.runpytest_inprocess(*arguments)
    return run_pytest


def told(result):
    return result.stdout.str()


def traces(pytester, directory=".sqloom"):
    return sorted(path.name for path in (pytester.path / directory).glob("*"))


# What a failing test prints.

def test_timeline_and_line_to_paste(pytester, run):
    pytester.makepyfile(test_race=RACE)
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        "E*RaceFound: broken: * schedules end wrong*",
        "E*test_race.py::test_race*",
        "E*lost update*",
        "E*a deposit(1)*b deposit(2)*",
        "E*replay it with:",
        "E*pytest test_race.py::test_race --sqloom-replay *",
        "E*trace: *.sqloom/test_race.py_test_race.trace",
        "*sqloom show FILE*",
        "  .sqloom/test_race.py_test_race.trace",
    ])
    assert "def assert_race_free" not in told(result)
    assert traces(pytester) == [".gitignore", "test_race.py_test_race.trace"]
    from sqloom import _ext
    trace = pytester.path / ".sqloom/test_race.py_test_race.trace"
    assert "lost update" in _ext.read_trace(str(trace)).render()


def pasted(result):
    """The arguments of the line to paste."""
    return re.search(r"pytest (test_\S+ --sqloom-replay \S+)",
                     told(result))[1].split()


def test_line_to_paste_reproduces(pytester, run):
    pytester.makepyfile(test_race=RACE, test_sound=SOUND)
    line = pasted(run(apart=True))
    for _ in range(2):
        result = run(*line, apart=True)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines([
            f"sqloom: every exploration is a replay of {line[-1]}",
            "*lost update*"])


def test_replay_when_it_is_fixed(pytester, run):
    pytester.makepyfile(test_race=RACE)
    line = pasted(run())
    pytester.makepyfile(test_race=RACE.replace("(deposit", "(add"))
    result = run(*line)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*diverge*"])
    run("test_race.py").assert_outcomes(passed=1)


def test_wrong_token(pytester, run):
    pytester.makepyfile(test_race=RACE)
    result = run("--sqloom-replay", "nonsense")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*TokenError*paste it whole*"])


def test_report_that_is_only_asserted(pytester, run):
    pytester.makepyfile(test_race=RACE.replace(
        "sqloom.assert_race_free(", "assert sqloom.explore(").replace(
        "database=database)", "database=database).holds"))
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        "E*assert False",
        "*- sqloom -*",
        "*lost update*",
        "  pytest test_race.py::test_race --sqloom-replay *",
        "trace: *",
    ])


def test_report_of_a_test_that_passes_is_not_told(pytester, run):
    pytester.makepyfile(test_race=RACE.replace(
        "sqloom.assert_race_free(", "assert sqloom.explore(").replace(
        "database=database)", "database=database).broken") + '''

def test_that_fails_behind_it():
    assert 0
''')
    result = run()
    result.assert_outcomes(passed=1, failed=1)
    assert "lost update" not in told(result)
    assert "sqloom show" not in told(result)


def test_names_for_the_shell(pytester, run, monkeypatch):
    """Of a parametrized test, called from a folder that is not the root."""
    pytester.makeini("[pytest]")
    folder = pytester.mkdir("sub")
    (folder / "test_race.py").write_text(RACE.replace(
        "def test", '@pytest.mark.parametrize("x", ["it\'s 1"])\ndef test'
    ).replace("(sqloom,", "(x, sqloom,"))
    (folder / "accounts.py").write_text(ACCOUNTS)
    monkeypatch.chdir(folder)
    result = run("--rootdir", str(pytester.path))
    result.assert_outcomes(failed=1)
    assert (r"pytest 'test_race.py::test_race[it'\''s 1]' --sqloom-replay "
            in told(result))


def test_several_explorations(pytester, run):
    pytester.makepyfile(test_race=RACE + '''
    pytest.fail("not reached")


def test_two(sqloom, database):
    for call in (add, deposit, deposit):
        report = sqloom.explore([(call, 1), (call, 2)], database=database)
        assert sqloom.reports[-1] is report
    assert [report.holds for report in sqloom.reports] == [True, False, False]
    assert 0
''')
    result = run()
    result.assert_outcomes(failed=2)
    assert told(result).count("replay it with:") == 3
    assert traces(pytester) == [
        ".gitignore", "test_race.py_test_race.trace",
        "test_race.py_test_two.2.trace", "test_race.py_test_two.3.trace"]


# Options.

SHOWN = '''
from sqloom._explore import defaults


def test_shown(sqloom):
    print("SHOWN", defaults.max_runs, defaults.seed, defaults.token,
          sqloom.trace_directory, defaults.name)
'''


@pytest.fixture
def shown(pytester, run):
    pytester.makepyfile(test_shown=SHOWN)

    def show(*arguments):
        # The environment is read when sqloom is imported.
        result = run("-s", *arguments, apart=True)
        result.assert_outcomes(passed=1)
        return re.search(r"SHOWN (.*)", told(result))[1].replace(
            str(pytester.path), "HERE")
    return show


def test_options(shown):
    assert shown() == (
        "1000 0 None HERE/.sqloom test_shown.py::test_shown")
    assert shown(
        "--sqloom-max-runs=5", "--sqloom-seed=6", "--sqloom-replay=abab~1",
        "--sqloom-traces=kept") == (
        "5 6 abab~1 HERE/kept test_shown.py::test_shown")
    assert shown("--sqloom-max-runs=0", "--sqloom-traces=").startswith(
        "0 0 None None ")


def test_ini_and_environment(pytester, shown, monkeypatch):
    pytester.makeini("[pytest]\nsqloom_max_runs = 7\nsqloom_seed = 8\n"
                     "sqloom_traces = sub/kept\n")
    assert shown().startswith("7 8 None HERE/sub/kept ")
    for name, value in (("MAX_RUNS", "9"), ("SEED", "10"),
                        ("REPLAY", "abab~2"), ("TRACES", "elsewhere")):
        monkeypatch.setenv(f"SQLOOM_{name}", value)
    assert shown().startswith("9 10 abab~2 HERE/elsewhere ")
    assert shown("--sqloom-max-runs=11", "--sqloom-seed=0").startswith(
        "11 0 abab~2 ")


@pytest.mark.parametrize("option", ["--sqloom-max-runs", "--sqloom-seed"])
@pytest.mark.parametrize("value", ["-1", "many", "1.5"])
def test_what_is_no_number(pytester, run, option, value):
    result = run(f"{option}={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert option in result.stderr.str()


def test_what_is_no_number_in_the_ini(pytester, run):
    pytester.makeini("[pytest]\nsqloom_seed = seven")
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*sqloom_seed is 'seven' in *: give a num*"])


def test_options_hold_for_the_functions_of_the_module(pytester, run):
    """Also where the fixture is not used; what the test says itself wins."""
    pytester.makepyfile(test_race='''
from accounts import *


@pytest.mark.parametrize("own", [{}, {"max_runs": 1000}])
def test_sound(database, own):
    report = sqloom.explore([(add, 1), (add, 2)], database=database, **own)
    assert report.explored == 1 or own
    assert report.inconclusive or own
    assert report.holds or not own
''')
    run("--sqloom-max-runs=1").assert_outcomes(passed=2)


def test_max_runs_that_end_it(pytester, run):
    pytester.makepyfile(test_sound=SOUND)
    result = run("--sqloom-max-runs=1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*Inconclusive: inconclusive*"])


# Traces.

def test_no_trace_is_left(pytester, run):
    """Also not of a failure that is repaired."""
    pytester.makepyfile(test_sound=SOUND)
    run(apart=True).assert_outcomes(passed=1)
    assert traces(pytester) == [".gitignore"]
    pytester.makepyfile(test_sound=SOUND.replace("(add", "(deposit"))
    run(apart=True).assert_outcomes(failed=1)
    assert traces(pytester) == [".gitignore", "test_sound.py_test_sound.trace"]
    pytester.makepyfile(test_sound=SOUND)
    run(apart=True).assert_outcomes(passed=1)
    assert traces(pytester) == [".gitignore"]


def test_directory_of_the_user(pytester, run):
    pytester.makepyfile(test_race=RACE)
    run("--sqloom-traces", "my/traces").assert_outcomes(failed=1)
    assert traces(pytester, "my/traces")[-1] == "test_race.py_test_race.trace"
    result = run("--sqloom-traces=")
    result.assert_outcomes(failed=1)
    assert "race: " not in told(result).replace("test_race: ", "")
    assert not (pytester.path / ".sqloom").exists()


# Beside others.

def test_nothing_of_django_is_imported(pytester, run, monkeypatch):
    """Neither by the plugin nor by an exploration."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(test_race=SOUND + '''

def test_modules():
    import sys
    assert not [name for name in sys.modules if name.startswith("django")]
''')
    run("-p", "sqloom.pytest_plugin", apart=True).assert_outcomes(passed=2)


def test_xdist(pytester, run):
    pytest.importorskip("xdist")
    pytester.makepyfile(test_race=RACE, test_more=RACE, test_sound=SOUND)
    result = run("-n2", "--sqloom-max-runs=100", apart=True)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines([
        "E*lost update*",
        "*sqloom show FILE*",
        "  .sqloom/test_*.py_test_race.trace",
        "  .sqloom/test_*.py_test_race.trace",
    ])
    assert len(traces(pytester)) == 3
    assert pasted(result)


def test_flaky(pytester, run):
    """A race that is found is found in each attempt, and told once."""
    pytest.importorskip("flaky")
    pytester.makepyfile(test_race=RACE.replace(
        "def test_race", "from flaky import flaky\n\n\n@flaky\ndef test_race")
        + '''

attempts = []


@flaky(max_runs=3)
def test_once(sqloom, database):
    attempts.append(1)
    assert not sqloom.reports
    call = deposit if len(attempts) < 3 else add
    sqloom.assert_race_free([(call, 1), (call, 2)], database=database)
''')
    result = run(apart=True)
    result.assert_outcomes(passed=1, failed=1)
    assert told(result).count("- sqloom -") <= 1


def test_two_runs_in_one_process(pytester, monkeypatch):
    """The defaults are put back."""
    from sqloom._explore import defaults
    before = vars(defaults).copy()
    pytester.makepyfile(test_shown=SHOWN)
    pytester.runpytest_inprocess(
        "-p", "no:django", "--sqloom-seed=3").assert_outcomes(passed=1)
    assert vars(defaults) == before


def test_plugin_turned_off(pytester, run):
    pytester.makepyfile("def test_one():\n    pass")
    run("-p", "no:sqloom").assert_outcomes(passed=1)


def test_fixture_has_everything(sqloom, request):
    import sqloom as module
    assert sqloom.name == request.node.nodeid
    assert sqloom.call_concurrently is module.call_concurrently
    assert sqloom.point is module.point
    with pytest.raises(AttributeError):
        sqloom.nothing


def test_unittest(pytester, run):
    pytester.makepyfile(test_race='''
import unittest
from accounts import *


class Accounts(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def with_database(self, database):
        self.database = database

    def test_race(self):
        sqloom.assert_race_free([(deposit, 1), (deposit, 2)],
                                database=self.database)
''')
    result = run()
    result.assert_outcomes(failed=1)
    assert "def assert_race_free" not in told(result)
    line = pasted(result)
    assert line[0] == "test_race.py::Accounts::test_race"
    run(*line).assert_outcomes(failed=1)
