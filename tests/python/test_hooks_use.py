# SPDX-License-Identifier: Apache-2.0
"""commit_hooks: the shapes in which it is used, and what it refuses."""

import asyncio
import inspect
import unittest

import pytest
from asgiref.sync import sync_to_async
from django.db import IntegrityError, connection, connections, transaction
from django.test import TestCase

from ledger.models import Entry, Line
from sqloom.django import commit_hooks
from sqloom.errors import UsageError

TOLD = []


@pytest.fixture(autouse=True)
def nothing_told():
    del TOLD[:]


def place(name, using=None):
    with transaction.atomic(using=using):
        Entry.objects.using(using).create(name=name)
        transaction.on_commit(lambda: TOLD.append(name), using=using)
        TOLD.append("in the block")


class InTestCase(TestCase):
    """The transactions of Django's own test case."""

    databases = {"default", "other"}

    def test_without(self):
        place("one")
        assert TOLD == ["in the block"]

    def test_with_block(self):
        with commit_hooks():
            place("one")
        assert TOLD == ["in the block", "one"]
        assert connection.in_atomic_block
        assert not connection.get_autocommit()
        place("two")
        assert TOLD[2:] == ["in the block"]

    @commit_hooks
    def test_method(self):
        place("one")
        assert TOLD == ["in the block", "one"]

    @commit_hooks()
    def test_method_with_parentheses(self):
        place("one", using="other")
        assert TOLD == ["in the block", "one"]

    @commit_hooks(using="default")
    def test_one_database(self):
        place("one", using="other")
        assert TOLD == ["in the block"]
        place("two")
        assert TOLD[1:] == ["in the block", "two"]

    @commit_hooks(using=["other"])
    def test_list_of_databases(self):
        place("one")
        place("two", using="other")
        assert TOLD == ["in the block", "in the block", "two"]

    @commit_hooks
    async def test_async(self):
        await sync_to_async(place)("one")
        assert TOLD == ["in the block", "one"]

    @commit_hooks
    def test_nested(self):
        with commit_hooks():
            place("one")
            with transaction.atomic(), commit_hooks():
                place("two")
                assert TOLD[-1] == "in the block"
        assert TOLD == ["in the block", "one", "in the block", "two"]
        place("three")
        assert TOLD[-1] == "three"

    @commit_hooks
    def test_entered_twice(self):
        scope = commit_hooks()
        with scope, scope:
            place("one")
        assert TOLD[-1] == "one"

    def test_exception(self):
        with pytest.raises(ZeroDivisionError):
            with commit_hooks():
                with transaction.atomic():
                    place("never")
                    raise ZeroDivisionError
        assert TOLD == ["in the block"]
        assert Entry.objects.count() == 0
        Entry.objects.create(name="the transaction of the test is well")

    def test_hooks_of_before_and_behind(self):
        """They wait for the commit of the test, which never comes."""
        transaction.on_commit(lambda: TOLD.append("before"))
        with commit_hooks():
            place("one")
        transaction.on_commit(lambda: TOLD.append("behind"))
        assert TOLD == ["in the block", "one"]
        assert len(connection.run_on_commit) == 2

    def test_captured_behind(self):
        with commit_hooks():
            place("one")
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            place("two")
        assert len(callbacks) == 1
        assert TOLD == ["in the block", "one", "in the block", "two"]

    def test_constraints_wait_again(self):
        with commit_hooks():
            place("one")
        line = Line.objects.create(entry_id=987)
        line.delete()

    def test_queries_are_counted_as_in_production(self):
        count = 2 if connection.vendor == "sqlite" else 1
        import django
        if django.VERSION >= (4, 2):
            count = 3  # BEGIN and COMMIT are logged
        with commit_hooks(), self.assertNumQueries(count):
            place("one")

    @commit_hooks
    def test_rows_that_come_back_from_a_write(self):
        """INSERT ... RETURNING, outside of blocks, and then a SELECT by the
        same cursor."""
        if (connection.vendor == "sqlite"
                and connection.Database.sqlite_version_info < (3, 35)):
            self.skipTest("no RETURNING")
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO ledger_entry (name) VALUES (%s), (%s) "
                           "RETURNING name", ["a", "b"])
            assert cursor.fetchone() == ("a",)
            assert cursor.fetchmany(5) == [("b",)]
            cursor.execute("SELECT count(*) FROM ledger_entry")
            assert cursor.fetchall() == [(2,)]
            cursor.execute("UPDATE ledger_entry SET name = name || '!' "
                           "RETURNING name")
            assert list(cursor) == [("a!",), ("b!",)]
            assert cursor.rowcount in (2, -1)

    def test_block_that_is_not_the_tests_own(self):
        with transaction.atomic():
            with pytest.raises(UsageError) as refused:
                commit_hooks().__enter__()
        assert "not the test's own is open on 'default'" in str(refused.value)
        place("well")

    def test_broken_before(self):
        with pytest.raises(ZeroDivisionError):
            with transaction.atomic():
                with transaction.atomic(savepoint=False):
                    raise ZeroDivisionError
        connection.needs_rollback = True
        try:
            with pytest.raises(UsageError, match="has failed before"):
                commit_hooks().__enter__()
        finally:
            connection.needs_rollback = False

    def test_left_open(self):
        block = transaction.atomic()
        with pytest.raises(UsageError) as refused:
            with commit_hooks():
                block.__enter__()
                Entry.objects.create(name="never committed")
        assert "an atomic block on 'default' was still open" in str(
            refused.value)
        assert Entry.objects.count() == 0
        with transaction.atomic(durable=True):
            place("well")

    def test_left_without_autocommit(self):
        with pytest.raises(UsageError, match="autocommit is off"):
            with commit_hooks():
                transaction.set_autocommit(False)
                Entry.objects.create(name="never committed")
        assert Entry.objects.count() == 0

    def test_left_open_behind_an_exception(self):
        """What went wrong first is told."""
        with pytest.raises(ZeroDivisionError):
            with commit_hooks():
                transaction.atomic().__enter__()
                raise ZeroDivisionError
        place("well")

    def test_statements_that_would_end_the_test(self):
        for sql in ("COMMIT", "begin immediate", " ROLLBACK;",
                    "START TRANSACTION", "END"):
            with self.subTest(sql), commit_hooks():
                with connection.cursor() as cursor:
                    with pytest.raises(UsageError, match="the test's own"):
                        cursor.execute(sql)
        with commit_hooks(), transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SAVEPOINT mine")
                cursor.execute("ROLLBACK TO SAVEPOINT mine")


class Told(unittest.TestResult):
    """Runs test classes, and has no patience with failures."""

    def run(self, case):
        suite = unittest.TestLoader().loadTestsFromTestCase(case)
        suite.run(self)
        for _, traceback in self.errors + self.failures:
            raise AssertionError(traceback)
        assert self.testsRun == suite.countTestCases() > 0


class OfClasses(TestCase):
    """What a decorated class does in its setUp methods and cleanups. The inner
    ones run inside of this one's transaction, as if in its setUpTestData()."""

    @commit_hooks
    class Decorated(TestCase):
        @classmethod
        def setUpTestData(cls):
            place("of the class")

        def setUp(self):
            self.addCleanup(place, "cleanup")
            place("setUp")

        def tearDown(self):
            place("tearDown")

        def test(self):
            place("test")

    class Derived(Decorated):
        def setUp(self):
            super().setUp()
            place("derived setUp")

    names = ["of the class", "setUp", "test", "tearDown", "cleanup"]

    def told_names(self, case):
        Told().run(case)
        assert not Entry.objects.exists()
        return [name for name in TOLD if name != "in the block"]

    @classmethod
    def setUpClass(cls):
        """No transaction around the inner ones."""

    @classmethod
    def tearDownClass(cls):
        pass

    def _fixture_setup(self=None):
        pass

    def _fixture_teardown(self):
        pass

    def test_decorated(self):
        assert self.told_names(self.Decorated) == self.names

    def test_derived(self):
        names = list(self.names)
        names.insert(2, "derived setUp")
        assert self.told_names(self.Derived) == names

    def test_decorated_twice(self):
        assert self.told_names(commit_hooks(self.Derived)).count("test") == 1


@pytest.mark.django_db
@commit_hooks
def test_function_of_pytest():
    place("one")
    assert TOLD == ["in the block", "one"]


@pytest.mark.django_db(transaction=False)
@commit_hooks
@pytest.mark.parametrize("name", ["one", "two"])
def test_function_with_arguments(client, name):
    place(name)
    assert TOLD == ["in the block", name]


@pytest.fixture
@commit_hooks
def placed(db):
    """The hooks run in the fixture and in its test."""
    place("fixture")
    yield
    assert TOLD[-1] == "test"


def test_fixture(placed):
    place("test")
    assert TOLD == ["in the block", "fixture", "in the block", "test"]


@pytest.mark.django_db
@commit_hooks
class TestClassOfPytest:
    def setup_method(self):
        self.number = 1

    def test_method(self):
        place("one")
        assert TOLD == ["in the block", "one"]
        assert self.number == 1

    @staticmethod
    def test_static():
        place("one")
        assert TOLD == ["in the block", "one"]


@commit_hooks
def test_without_a_database():
    """Nothing is opened that the test does not open."""


@pytest.mark.django_db
def test_connection_is_as_before():
    Entry.objects.count()
    before = dict(vars(connections["default"]))
    with commit_hooks():
        place("one")
        assert vars(connections["default"]) != before
    after = dict(vars(connections["default"]))
    for changed in ("savepoint_state", "queries_log", "health_check_done"):
        before.pop(changed, None)
        after.pop(changed, None)
    assert after == before


@pytest.mark.django_db
def test_foreign_key_message():
    with commit_hooks(), pytest.raises(IntegrityError) as raised:
        Line.objects.create(entry_id=987)
    assert "foreign key" in str(raised.value).lower()


def test_kept_names():
    @commit_hooks
    def function(argument):
        "Documented."

    assert function.__name__ == "function"
    assert function.__doc__ == "Documented."
    assert list(inspect.signature(function).parameters) == ["argument"]

    @commit_hooks
    async def coroutine():
        return 7
    assert inspect.iscoroutinefunction(coroutine)
    assert asyncio.run(coroutine()) == 7


def test_what_cannot_be_decorated():
    with pytest.raises(TypeError, match="test classes"):
        commit_hooks(3)
    with pytest.raises(UsageError, match="has no tests"):
        commit_hooks(Entry)


@pytest.mark.django_db
@commit_hooks
def test_transaction_is_still_there_for_others():
    """Calls of other connections see nothing of the test, and are refused."""
    import sqloom

    place("one")
    with pytest.raises(UsageError, match="transaction"):
        sqloom.explore([Entry.objects.count, Entry.objects.count])
    with pytest.raises(UsageError, match="transaction"):
        sqloom.call_concurrently(2, Entry.objects.count)
