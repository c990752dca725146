# SPDX-License-Identifier: Apache-2.0
"""The plugin with Django and without pytest-django; what committing refuses;
the same by Django's own runner and the environment."""

import os
import pathlib
import re
import sys

import pytest

pytest_plugins = ["pytester"]

CASES = '''
import threading

import pytest
from django.db import connection, connections
from django.test import SimpleTestCase, TestCase


def model():
    from ledger.models import Entry
    return Entry


def count_elsewhere():
    counts = []

    def count():
        try:
            counts.append(model().objects.count())
        finally:
            connections.close_all()
    thread = threading.Thread(target=count)
    thread.start()
    thread.join(30)
    return counts[0]


def commit():
    assert model().objects.count() == 0
    model().objects.create(name="committed")
    assert not connection.in_atomic_block
    assert count_elsewhere() == 1
'''

MARKED = '''
from cases import *


@pytest.mark.committing
@pytest.mark.parametrize("time", [1, 2])
def test_function(time):
    commit()


@pytest.mark.committing
class TestClass:
    def test_one(self):
        commit()

    test_two = test_one


@pytest.mark.committing
class Case(TestCase):
    def test_one(self):
        commit()

    test_two = test_one


class OneMethod(TestCase):
    @pytest.mark.committing
    def test_one(self):
        commit()

    def test_two(self):
        assert connection.in_atomic_block
        assert model().objects.count() == 0
'''

RACE = '''
import sqloom
from sqloom.django import CommittingTestCase


def deposit(amount):
    from shop.models import Account
    account = Account.objects.get(name="ann")
    account.balance += amount
    account.save()


class Deposits(CommittingTestCase):
    def test_race(self):
        from shop.models import Account
        Account.objects.create(name="ann")
        sqloom.assert_race_free([(deposit, 1), (deposit, 2)])
'''

MANAGE = '''
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
'''


@pytest.fixture
def run(pytester, monkeypatch):
    """pytest in a process of its own, with the project of the tests, but on
    databases of its own."""
    for name in ("MAX_RUNS", "SEED", "REPLAY", "TRACES"):
        monkeypatch.delenv(f"SQLOOM_{name}", raising=False)
    monkeypatch.setenv("SQLOOM_TEST_DIRECTORY", str(pytester.path))
    monkeypatch.setenv("COLUMNS", "200")
    pytester.makepyfile(cases=CASES, own_settings='''
from project.settings import *

for each in DATABASES.values():
    each["TEST"] = {"NAME": f"own_{os.path.basename(each['NAME'])}_test"}
    if "sqlite" in each["ENGINE"]:
        each["TEST"] = {}
''')
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "own_settings")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(
        [os.environ.get("PYTHONPATH", ""), str(pytester.path)]))

    def run_pytest(*arguments):
        return pytester.runpytest_subprocess(
            "-p", "no:cacheprovider", *arguments, timeout=240)
    return run_pytest


@pytest.mark.parametrize("plugins", [["-p", "no:django"], []])
def test_committing(pytester, run, plugins):
    pytester.makepyfile(test_marked=MARKED)
    run(*plugins).assert_outcomes(passed=8)


@pytest.mark.parametrize("plugins", [["-p", "no:django"], []])
def test_module_that_is_marked(pytester, run, plugins):
    pytester.makepyfile(test_marked=MARKED.replace(
        "from cases import *",
        "from cases import *\n\npytestmark = pytest.mark.committing").replace(
        "    @pytest.mark.committing\n", "").replace(
        "@pytest.mark.committing\n", "").replace(
        "assert connection.in_atomic_block",
        "assert not connection.in_atomic_block") + '''

class WithoutDatabase(SimpleTestCase):
    def test_nothing(self):
        pass
''')
    run(*plugins).assert_outcomes(passed=9)


def test_what_somebody_has_made(pytester, run):
    """Test databases of a conftest.py are used."""
    pytester.makeconftest('''
import pytest


@pytest.fixture(scope="session", autouse=True)
def databases():
    import django
    from django.test import utils
    django.setup()
    utils.setup_test_environment()
    made = utils.setup_databases(verbosity=0, interactive=False)
    from django.db import connection
    made_name = str(connection.settings_dict["NAME"])
    yield made_name
    utils.teardown_databases(made, verbosity=0)
    utils.teardown_test_environment()
''')
    pytester.makepyfile(test_marked=MARKED)
    run("-p", "no:django").assert_outcomes(passed=8)


def test_arguments_of_the_marker(pytester, run):
    pytester.makepyfile(test_marked='''
from cases import *


@pytest.mark.committing(database="default")
def test_function():
    pass
''')
    result = run()
    assert result.ret != 0
    assert ("test_function: @pytest.mark.committing has the arguments "
            "databases, fixtures") in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize("plugins", [["-p", "no:django"], []])
def test_without_settings(pytester, run, monkeypatch, plugins):
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    pytester.makepyfile(test_marked='''
import pytest


@pytest.mark.committing
def test_function():
    pass
''')
    result = run(*plugins)
    assert result.ret != 0
    assert "set DJANGO_SETTINGS_MODULE" in (
        result.stdout.str() + result.stderr.str())


def test_left_open(pytester, run):
    """What the test case says, the marker says, too."""
    pytester.makepyfile(test_marked='''
from cases import *
from django.db import transaction


@pytest.mark.committing
def test_open():
    transaction.atomic().__enter__()
    model().objects.create(name="never committed")


@pytest.mark.committing(leftover_transactions="ignore")
def test_allowed():
    transaction.atomic().__enter__()
    model().objects.create(name="never committed")


@pytest.mark.committing
def test_next():
    commit()
''')
    result = run()
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*test_open*in the middle of transactions*"])


def test_exploring_inside_of_a_transaction(pytester, run):
    """Refused, and the marker is named."""
    pytester.makepyfile(test_race=RACE, test_marked='''
import pytest
from test_race import deposit


@pytest.mark.django_db
def test_in_a_transaction(sqloom):
    sqloom.assert_race_free([(deposit, 1), (deposit, 2)])


@pytest.mark.committing
def test_committing(sqloom):
    from shop.models import Account
    Account.objects.create(name="ann")
    sqloom.assert_race_free([(deposit, 1), (deposit, 2)])
''')
    result = run("test_marked.py")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines([
        "E*UsageError*", "E*lost update*",
        "E*pytest test_marked.py::test_committing --sqloom-replay*"])


def test_managed(pytester, run, monkeypatch):
    """`manage.py test`: limits, traces and replay by the environment."""
    pytester.makepyfile(manage=MANAGE, test_race=RACE)
    arguments = sys.executable, "manage.py", "test", "test_race"
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # of the one around it
    traces = pytester.path / "traces"
    monkeypatch.setenv("SQLOOM_TRACES", str(traces))
    result = pytester.run(*arguments, timeout=240)
    shown = result.stdout.str() + result.stderr.str()
    assert "lost update" in shown and "FAILED (failures=1)" in shown
    assert [path.suffix for path in traces.iterdir()] == [".trace"]
    line = re.search(r"SQLOOM_REPLAY=(\S+) python (manage.py) (test) (\S+)",
                     shown)
    monkeypatch.setenv("SQLOOM_REPLAY", line[1])
    result = pytester.run(sys.executable, *line.groups()[1:], timeout=240)
    assert "the replayed schedule ends wrong" in result.stderr.str()
    monkeypatch.delenv("SQLOOM_REPLAY")
    pathlib.Path("test_race.py").write_text(
        RACE.replace("account.balance += amount", "pass"))
    monkeypatch.setenv("SQLOOM_MAX_RUNS", "1")
    result = pytester.run(*arguments, timeout=240)
    assert "Inconclusive" in result.stderr.str()
    monkeypatch.setenv("SQLOOM_MAX_RUNS", "many")
    result = pytester.run(*arguments, timeout=240)
    assert "SQLOOM_MAX_RUNS is 'many'" in result.stderr.str()
