# SPDX-License-Identifier: Apache-2.0
"""Connections that tests leave over: named, and closed."""

import inspect
import threading
import unittest
import warnings

import pytest
from django.db import connection, connections, transaction

from shop.models import Account
from sqloom.django import (CommittingTestCase, LeftoverConnectionWarning,
                           LeftoverTransaction)
from sqloom.django import _connections
from sqloom.django._testcases import committing_test

# Runs are in files of their own.
from test_committing_runs import clean, project, query  # noqa: F401


@pytest.fixture(autouse=True)
def database_access(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def parked():
    """parked(function): a thread that has called function, and waits until the
    end."""
    threads = []

    def park(function, name="worker"):
        done, end = threading.Event(), threading.Event()

        def run():
            function()
            done.set()
            end.wait()
            connections.close_all()

        thread = threading.Thread(target=run, name=name)
        thread.start()
        threads.append((thread, end))
        done.wait()
        return thread

    yield park
    for thread, end in threads:
        end.set()
        thread.join()


def count():
    return Account.objects.count()


def line_of(function, text):
    """file:line of a line of a function."""
    lines, first = inspect.getsourcelines(function)
    number = next(first + i for i, line in enumerate(lines) if text in line)
    return (f"{inspect.getsourcefile(function)}:{number} in "
            f"{function.__name__}()")


def test_thread_that_is_running(parked):
    with pytest.warns(LeftoverConnectionWarning) as caught:
        with committing_test("shop.tests.test_it"):
            parked(count, "my pool")
    (message,) = [str(one.message) for one in caught]
    assert message.startswith("shop.tests.test_it left connections open")
    assert "thread 'my pool', database alias 'default'" in message
    assert f"opened at {line_of(count, 'objects.count')}, idle" in message
    assert "last SQL: SELECT COUNT(*) AS " in message
    assert 'FROM "shop_account"' in message
    assert "\nThey have been closed" in message


def test_thread_that_has_ended():
    kept = []

    def run():
        count()
        kept.append(connections["default"])

    with pytest.warns(LeftoverConnectionWarning, match=r"'short' \(ended\), "
                                                       "database alias"):
        with committing_test("it"):
            thread = threading.Thread(target=run, name="short")
            thread.start()
            thread.join()
    assert kept[0].connection is None


def test_running_thread_is_closed_on_a_server(parked, on_postgresql):
    if not on_postgresql:
        pytest.skip("SQLite's are left to a thread that may be using them")
    mine = []

    def work():
        count()
        mine.append(connections["default"])

    with pytest.warns(LeftoverConnectionWarning):
        with committing_test("it"):
            parked(work)
    assert mine[0].connection is None


def test_told_once(parked):
    with pytest.warns(LeftoverConnectionWarning):
        with committing_test("first"):
            parked(count)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with committing_test("second"):
            pass


def test_threads_that_close_are_no_matter():
    def run():
        count()
        connections.close_all()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with committing_test("it"):
            thread = threading.Thread(target=run)
            thread.start()
            thread.join()
            count()


def write_and_stay():
    # Stays open: the thread never leaves the block.
    transaction.atomic().__enter__()
    Account.objects.create(name="uncommitted")


def test_transaction_of_another_thread(parked):
    with pytest.raises(LeftoverTransaction) as caught:
        with committing_test("shop.tests.test_it"):
            parked(write_and_stay, "my pool")
    message = str(caught.value)
    assert message.startswith("shop.tests.test_it ended in the middle of trans")
    assert message.count("INSERT INTO") == 1
    assert "'default', opened at" in message
    assert "in a transaction; last SQL: INSERT INTO" in message
    assert "Let the test wait for its threads" in message
    with committing_test("next"):
        # Nobody holds a lock.
        Account.objects.create(name="uncommitted")


def test_transaction_of_the_test():
    with pytest.raises(LeftoverTransaction,
                       match="thread 'MainThread', .*opened at") as caught:
        with committing_test("it"):
            Account.objects.create(name="a")
            transaction.set_autocommit(False)
            Account.objects.create(name="b")
    assert str(caught.value).count("INSERT INTO") == 1
    with committing_test("next"):
        assert connection.get_autocommit()
        assert not Account.objects.exists()


def test_iterator_that_is_not_used_up():
    with committing_test("it"):
        Account.objects.bulk_create(
            Account(name=str(number)) for number in range(300))
        rows = Account.objects.iterator(chunk_size=10)
        next(rows)
    with committing_test("next"):
        assert not Account.objects.exists()


def test_block_that_was_never_left():
    with pytest.raises(LeftoverTransaction):
        with committing_test("it"):
            write_and_stay()
    with committing_test("next"):
        assert not connection.in_atomic_block
        assert not Account.objects.exists()


@pytest.mark.parametrize("what, kind", [
    ("connections", "AssertionError"), ("transactions", "warn")])
def test_other_policies(parked, what, kind):
    if what == "connections":
        with pytest.raises(AssertionError, match="left connections open"):
            with committing_test("it", leftover_connections="fail"):
                parked(count)
        with committing_test("it", leftover_connections="ignore"):
            parked(count)
    else:
        with pytest.warns(LeftoverConnectionWarning, match="in the middle of"):
            with committing_test("it", leftover_transactions="warn"):
                write_and_stay()
        with committing_test("it", leftover_transactions="ignore"):
            write_and_stay()


def test_both_are_told(parked):
    with pytest.raises(LeftoverTransaction) as caught:
        with committing_test("it", leftover_connections="fail"):
            parked(count, "idle one")
            parked(write_and_stay, "busy one")
    assert "busy one" in str(caught.value)
    assert "idle one" in str(caught.value.__context__)


def test_the_error_of_the_test_comes_first(parked):
    """What the test itself has to say is not lost."""

    class Case(CommittingTestCase):
        def test(self):
            parked(write_and_stay)
            raise KeyError("of the test")

    result = unittest.TestResult()
    unittest.TestSuite([Case("test")]).run(result)
    first, second = [text for _, text in result.errors + result.failures]
    assert "of the test" in first
    assert "LeftoverTransaction" in second


# ---- Sessions that keep something -------------------------------------------


@pytest.mark.parametrize("sql", [
    "SET lock_timeout = '7s'", "CREATE TEMP TABLE left_here (n int)",
    "SELECT pg_advisory_lock(7)", "select set_config('a.b', 'c', false)"])
def test_session_is_not_the_next_ones(sql, on_postgresql):
    if not on_postgresql:
        pytest.skip("about sessions of a server")

    class Case(CommittingTestCase):
        seen = set()

        def test_1(self):
            with connection.cursor() as cursor:
                cursor.execute(sql)
            self.seen.add(connection.connection)

        def test_2(self):
            count()
            assert connection.connection not in self.seen

    run(Case, "test_1", "test_2")


def test_connection_that_was_lost(on_postgresql):
    if not on_postgresql:
        pytest.skip("about sessions of a server")

    class Case(CommittingTestCase):
        def test_1(self):
            count()
            pid = connection.connection.info.backend_pid
            query("postgres", f"SELECT pg_terminate_backend({pid})")
            with self.assertRaises(Exception):
                count()

        def test_2(self):
            assert count() == 0

    run(Case, "test_1", "test_2")


def run(case, *names):
    result = unittest.TestResult()
    unittest.TestSuite(map(case, names)).run(result)
    assert result.wasSuccessful(), result.errors + result.failures
    assert result.testsRun == len(names)


# ---- The end of a run -------------------------------------------------------

POOL = """
    import threading

    from django.db import connections
    from django.test import TransactionTestCase

    from shop.models import Account
    from sqloom.django import CommittingTestCase

    forever = threading.Event()

    def work(done):
        Account.objects.count()
        done.set()
        forever.wait()

    class Pool(TransactionTestCase):
        def test_pool(self):
            done = threading.Event()
            threading.Thread(target=work, args=[done], name="my pool",
                             daemon=True).start()
            done.wait()

    class Committing(CommittingTestCase):
        def test_a(self):
            pass
"""


@pytest.mark.parametrize("runner", ["test", "pytest"])
def test_database_can_be_destroyed(project,  # noqa: F811
                                   on_postgresql, runner):
    """A thread of one of Django's own test cases is still there."""
    if not on_postgresql:
        pytest.skip("a server refuses it, files do not")
    status, out = project(POOL, runner)
    assert status == 0, out
    assert "being accessed" not in out
    assert "left connections to test_" in out
    assert "thread 'my pool', database alias 'default', opened at" in out
    assert query("postgres", "SELECT datname FROM pg_database WHERE datname = "
                 f"'{project.database}'") == []


def test_program_that_was_left_running(project, on_postgresql):  # noqa: F811
    if not on_postgresql:
        pytest.skip("a server refuses it, files do not")
    status, out = project("""
        import subprocess, sys, os

        from django.db import connection
        from sqloom.django import CommittingTestCase

        class Committing(CommittingTestCase):
            def test_a(self):
                name = connection.settings_dict["NAME"]
                self.__class__.program = subprocess.Popen(
                    ["psql", "-XAtq", "-d", name], stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE, text=True,
                    env={**os.environ, "PGAPPNAME": "left running"})
                self.program.stdin.write("SELECT 'connected';\\n")
                self.program.stdin.flush()
                assert self.program.stdout.readline() == "connected\\n"
        """, "test")
    assert status == 0, out
    assert "being accessed" not in out
    assert "(left running, idle; last SQL: SELECT 'connected'" in out


@pytest.mark.django_db
def test_a_connection_that_its_thread_is_closing():
    """Its wrapper still has it, and it answers no question any more."""
    wrapper = connection.copy()
    wrapper.ensure_connection()
    raw = wrapper.connection
    assert not _connections.in_transaction(wrapper)
    raw.close()
    assert wrapper.connection is raw
    assert not _connections.in_transaction(wrapper)
    wrapper.connection = None
