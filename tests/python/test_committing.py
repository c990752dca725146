# SPDX-License-Identifier: Apache-2.0
"""CommittingTestCase and its kin: what is committed is seen by others, and gone
afterwards. Each class has several tests, in any order: none may see what
another one has done."""

import json
import threading
import unittest

import pytest
from asgiref.sync import sync_to_async
from django.apps.registry import Apps
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, connection, connections, transaction
from django.db import models as fields
from django.test import TestCase, TransactionTestCase, override_settings

from shop.models import Account, Coupon, Item, Order
from sqloom.django import (CommittingLiveServerTestCase, CommittingTestCase,
                           CommittingTestMixin, committing)
from sqloom.django._testcases import committing_test, refuse_hidden_rows
from sqloom.errors import UsageError


def elsewhere(function, *args, **kwargs):
    """What function gives on another thread, whose connections are closed."""
    came = []

    def run():
        try:
            came.append((function(*args, **kwargs), None))
        except Exception as error:
            came.append((None, error))
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    value, error = came[0]
    if error:
        raise error
    return value


class WritesInTests:
    """Tests that leave traces, and look for those of each other."""

    def leave_traces(self):
        self.assertEqual(self.before(), [])
        mine = Account.objects.create(name="mine", balance=1)
        other = elsewhere(Account.objects.create, name="other", balance=2)
        self.assertEqual([mine.pk, other.pk], [1, 2])
        with transaction.atomic():
            Item.objects.create(name="kept")
            if connection.vendor == "postgresql":  # SQLite has one writer
                elsewhere(Coupon.objects.filter(code="WELCOME").delete)
        ContentType.objects.filter(model="coupon").delete()
        self.assertEqual(elsewhere(Account.objects.count), 2)

    def before(self):
        self.assertEqual(list(Coupon.objects.values_list("code", flat=True)),
                         ["WELCOME"])
        self.assertTrue(ContentType.objects.filter(model="coupon").exists())
        return list(Account.objects.all()) + list(Item.objects.all())

    def test_first(self):
        self.leave_traces()

    def test_second(self):
        self.leave_traces()

    def test_third(self):
        self.leave_traces()


class Plain(WritesInTests, CommittingTestCase):
    def test_no_transaction_is_open(self):
        self.assertFalse(connection.in_atomic_block)
        self.assertTrue(connection.get_autocommit())

    def test_hooks_run_at_the_commit(self):
        ran = []
        with transaction.atomic():
            transaction.on_commit(lambda: ran.append(
                elsewhere(Account.objects.count)))
            Account.objects.create(name="a")
            self.assertEqual(ran, [])
        self.assertEqual(ran, [1])

    def test_rolled_back_block(self):
        with self.assertRaises(IntegrityError), transaction.atomic():
            Account.objects.create(name="a")
            Account.objects.create(name="a")
        self.assertEqual(Account.objects.count(), 0)

    def test_durable_blocks_are_checked(self):
        with transaction.atomic(durable=True):
            pass
        with self.assertRaises(RuntimeError), transaction.atomic():
            with transaction.atomic(durable=True):
                pass

    def test_one_connection_for_all_tests_of_a_class(self):
        type(self).seen = getattr(type(self), "seen", set())
        connection.ensure_connection()
        self.seen.add(id(connection.connection))
        self.assertEqual(len(self.seen), 1)

    test_the_same_again = test_one_connection_for_all_tests_of_a_class


class AfterTransactionTestCase(WritesInTests, CommittingTestCase):
    """Another class empties all tables in between; see the next class, too."""

    @classmethod
    def setUpClass(cls):
        empty()
        super().setUpClass()


def empty():
    """What a TransactionTestCase does to the database."""

    class Empties(TransactionTestCase):
        def test(self):
            Account.objects.create(name="left behind")

    result = unittest.TestResult()
    Empties.setUpClass()
    try:
        Empties("test")(result)
    finally:
        Empties.tearDownClass()
        Empties.doClassCleanups()
    assert result.wasSuccessful(), result.errors
    assert not Account.objects.exists()


class Rows(CommittingTestCase):
    """Rows of the class: the same in each test, with the same ids."""

    reset_sequences = True
    serialized_rollback = True

    @classmethod
    def setUpTestData(cls):
        cls.account = Account.objects.create(name="class", balance=5)
        with transaction.atomic():
            cls.item = Item.objects.create(name="thing")
        try:
            with transaction.atomic():
                Account.objects.create(name="not this")
                raise KeyError
        except KeyError:
            pass
        Item.objects.bulk_create([Item(name=str(i)) for i in range(5)])

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.order = Order.objects.create(item=cls.item, account=cls.account)
        with transaction.atomic():
            Account.objects.filter(name="class").update(balance=6)
            with pytest.raises(KeyError), transaction.atomic():
                Item.objects.all().delete()
                raise KeyError

    def setUp(self):
        Coupon.objects.create(code="set up")

    def check(self):
        self.assertEqual(
            list(Account.objects.values_list("pk", "name", "balance")),
            [(self.account.pk, "class", 6)])
        self.assertEqual(Order.objects.get().pk, self.order.pk)
        self.assertEqual(Order.objects.get().item, self.item)
        self.assertEqual(Item.objects.count(), 6)
        self.assertEqual(Coupon.objects.count(), 2)
        self.assertEqual(elsewhere(Coupon.objects.count), 2)
        self.assertEqual(self.account.balance, 5)
        self.account.balance = 100  # a copy for each test
        Account.objects.all().delete()
        Item.objects.all().delete()
        made = Item.objects.create(name="next")
        self.assertEqual(made.pk, 7)

    def test_first(self):
        self.check()

    def test_second(self):
        self.check()

    def test_third(self):
        self.check()


class WithFixtures(CommittingTestCase):
    """Loaded once, there in each test."""

    @classmethod
    def setUpClass(cls):
        import pathlib
        import tempfile

        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory, "rows.json")
            path.write_text(json.dumps([
                {"model": "shop.account", "pk": 7,
                 "fields": {"name": "from a file", "balance": 3}},
                {"model": "shop.order", "pk": 1,
                 "fields": {"item": 1, "account": 7}},
                {"model": "shop.item", "pk": 1, "fields": {"name": "x"}},
            ]))
            cls.fixtures = [str(path)]
            super().setUpClass()

    def check(self):
        self.assertEqual(Account.objects.get().name, "from a file")
        # The sequence goes on behind them.
        self.assertEqual(Account.objects.create(name="y").pk, 8)
        Order.objects.all().delete()

    def test_first(self):
        self.check()

    def test_second(self):
        self.check()


class OnlySomeApplications(CommittingTestCase):
    available_apps = ["django.contrib.auth", "django.contrib.contenttypes",
                      "shop"]

    def test_first(self):
        self.assertTrue(ContentType.objects.filter(model="coupon").exists())
        self.assertEqual(Coupon.objects.get().code, "WELCOME")
        self.assertEqual(Account.objects.create(name="a").pk, 1)
        ContentType.objects.all().delete()
        Coupon.objects.all().delete()

    test_second = test_first


class Asynchronous(CommittingTestCase):
    async def test_first(self):
        create = sync_to_async(Account.objects.create)
        self.assertEqual((await create(name="a")).pk, 1)
        answer = await self.async_client.get("/stock/1")
        self.assertEqual(answer.status_code, 404)

    test_second = test_first


class TwoDatabases(CommittingTestCase):
    databases = {"default", "other"}

    def check(self):
        for alias in sorted(self.databases):
            self.assertFalse(Account.objects.using(alias).exists())
            Account.objects.using(alias).create(name=alias)
            self.assertEqual(elsewhere(Account.objects.using(alias).count), 1)

    def test_first(self):
        self.check()

    def test_second(self):
        self.check()


class AnAliasThatIsNotAllowed(CommittingTestCase):
    def test_is_refused(self):
        with self.assertRaisesRegex(AssertionError, "'other' are not allowed"):
            Account.objects.using("other").count()


class AsFile(WritesInTests, CommittingTestCase):
    """On SQLite a file that other programs can open."""

    processes = True

    def test_another_program_sees_it(self):
        if connection.vendor != "sqlite":
            self.skipTest("a server is there for all programs")
        import subprocess
        import sys

        Account.objects.create(name="seen")
        out = subprocess.run(
            [sys.executable, "-c", "import sqlite3, sys; c = sqlite3.connect("
             "sys.argv[1]); print(*c.execute('select name from shop_account'))"
             "; c.execute('delete from shop_account'); c.commit()",
             connection.settings_dict["NAME"]],
            capture_output=True, text=True, check=True).stdout
        self.assertIn("seen", out)
        self.assertFalse(Account.objects.exists())


@override_settings(STATIC_URL="/static/")
class LiveServer(CommittingLiveServerTestCase):
    """The server's thread has a connection of its own."""

    @classmethod
    def setUpTestData(cls):
        cls.item = Item.objects.create(name="thing", stock=3)

    def check(self):
        from urllib.request import urlopen

        Item.objects.update(stock=4)
        with urlopen(f"{self.live_server_url}/stock/{self.item.pk}") as answer:
            self.assertEqual(json.load(answer), {"name": "thing", "stock": 4})
        account = Account.objects.create(name="a", balance=1)
        with urlopen(f"{self.live_server_url}/deposit/{account.pk}/2"):
            pass
        account.refresh_from_db()
        self.assertEqual(account.balance, 3)
        self.assertEqual(account.pk, 1)

    def test_first(self):
        self.check()

    def test_second(self):
        self.check()


# ---- Hierarchies ------------------------------------------------------------


class Level1(TestCase):
    """A base as projects have them."""

    @classmethod
    def setUpTestData(cls):
        super().setUpTestData()
        cls.account = Account.objects.create(name="level 1")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Uses what setUpTestData() made, as TestCase allows.
        cls.item = Item.objects.create(name=f"of {cls.account.name}")

    def setUp(self):
        super().setUp()
        self.log = ["level 1"]
        self.addCleanup(self.log.append, "clean-up 1")
        Coupon.objects.create(code="level 1")


class Helper:
    def setUp(self):
        super().setUp()
        self.log.append("helper")


@override_settings(SQLOOM_TESTED="yes")
class Level2(Helper, Level1):
    @classmethod
    def setUpTestData(cls):
        super().setUpTestData()
        cls.order = Order.objects.create(
            account=cls.account, item=Item.objects.create(name="level 2"))


class Level3(CommittingTestMixin, Level2):
    def setUp(self):
        super().setUp()
        self.log.append("level 3")

    def check(self):
        from django.conf import settings

        self.assertEqual(self.log, ["level 1", "helper", "level 3"])
        self.assertEqual(settings.SQLOOM_TESTED, "yes")
        self.assertFalse(connection.in_atomic_block)
        self.assertEqual(elsewhere(Order.objects.get).pk, self.order.pk)
        self.assertEqual(elsewhere(Item.objects.count), 2)
        self.assertEqual(Item.objects.get(pk=self.item.pk).name, "of level 1")
        self.assertEqual(elsewhere(Coupon.objects.count), 2)
        Order.objects.all().delete()
        self.assertEqual(Order.objects.create(account=self.account,
                                              item=self.item).pk, 2)

    def test_first(self):
        self.check()

    def test_second(self):
        self.check()


class Level4(Level3):
    """Below the class that says so."""

    @classmethod
    def setUpTestData(cls):
        super().setUpTestData()
        cls.more = Account.objects.create(name="level 4")

    def test_third(self):
        self.assertEqual(elsewhere(Account.objects.count), 2)
        self.assertEqual(elsewhere(Account.objects.get, name="level 4"),
                         self.more)


class OnTransactionTestCase(CommittingTestMixin, TransactionTestCase):
    def check(self):
        self.assertEqual(Coupon.objects.get().code, "WELCOME")
        Coupon.objects.all().delete()
        self.assertEqual(Account.objects.create(name="a").pk, 1)

    def test_first(self):
        self.check()

    def test_second(self):
        self.check()


def test_mixin_behind_the_classes_is_refused():
    with pytest.raises(TypeError, match="name it first"):
        class Wrong(TestCase, CommittingTestMixin):
            pass


@committing
class Decorated(Level2):
    def test(self):
        self.assertFalse(connection.in_atomic_block)
        self.assertEqual(elsewhere(Order.objects.count), 1)
        self.assertEqual(self.log, ["level 1", "helper"])
        self.assertIs(type(self), Decorated)


def test_decorating_what_has_no_database_is_refused():
    from django.test import SimpleTestCase

    with pytest.raises(UsageError, match="no test case of Django"):
        committing(type("Simple", (SimpleTestCase,), {}))


class OneMethod(Level2):
    """One method commits, in the middle of a class whose others do not; the
    names make them run in this order."""

    @classmethod
    def tearDownClass(cls):
        # The rows of the class are there until the end.
        assert Order.objects.get().pk == cls.order.pk
        super().tearDownClass()

    def check_rows(self):
        self.assertEqual(self.log, ["level 1", "helper"])
        self.assertEqual(Order.objects.get(), self.order)
        self.assertEqual(Order.objects.get().account, self.account)
        self.assertEqual(
            sorted(Item.objects.values_list("name", flat=True)),
            ["level 2", "of level 1"])
        self.assertEqual(Item.objects.get(pk=self.item.pk).name, "of level 1")
        self.assertEqual(Coupon.objects.count(), 2)
        self.account.name = "changed"
        Order.objects.all().delete()
        Coupon.objects.create(code="left")

    def test_1_atomic(self):
        self.assertTrue(connection.in_atomic_block)
        self.check_rows()

    @committing
    def test_2_commits(self):
        self.assertFalse(connection.in_atomic_block)
        self.assertEqual(elsewhere(Order.objects.get), self.order)
        self.check_rows()
        self.assertEqual(elsewhere(Order.objects.count), 0)
        with self.assertRaises(RuntimeError), transaction.atomic():
            with transaction.atomic(durable=True):
                pass

    def test_3_atomic(self):
        self.assertTrue(connection.in_atomic_block)
        self.assertEqual(self.account.name, "level 1")
        self.check_rows()

    @override_settings(SQLOOM_TESTED="by another decorator")
    @committing
    def test_4_commits_again(self):
        self.assertFalse(connection.in_atomic_block)
        self.check_rows()

    @committing
    def test_5_with_subtests(self):
        for number in range(2):
            with self.subTest(number=number):
                self.assertFalse(connection.in_atomic_block)

    def test_6_atomic(self):
        self.assertTrue(connection.in_atomic_block)
        self.check_rows()


class OneMethodOfTransactionTestCase(TransactionTestCase):
    @committing
    def test_1_commits(self):
        self.assertEqual(Coupon.objects.get().code, "WELCOME")
        self.assertEqual(Account.objects.create(name="a").pk, 1)

    def test_2_empties(self):
        Account.objects.create(name="a")

    @committing
    def test_3_commits(self):
        self.assertEqual(Coupon.objects.get().code, "WELCOME")
        self.assertFalse(Account.objects.exists())


# ---- Functions --------------------------------------------------------------


@pytest.fixture
def database_access(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        yield


@pytest.mark.parametrize("turn", [1, 2])
def test_function(database_access, turn):
    with committing_test("this one"):
        assert Account.objects.create(name="a").pk == 1
        assert elsewhere(Account.objects.count) == 1
        assert Coupon.objects.get().code == "WELCOME"


def test_function_inside_of_a_transaction(db):
    with pytest.raises(UsageError, match="a committing test was used while a "
                       "transaction is open.*'default'"):
        with committing_test("this one"):
            pass


# ---- Refusals ---------------------------------------------------------------


class HiddenRows(TestCase):
    def test_refused(self):
        with self.assertRaisesRegex(UsageError, r"(?s)^my_call\(\) was used "
                                    "while.*'default'.*CommittingTestCase"):
            refuse_hidden_rows(["default"], "my_call()")


class SeenRows(CommittingTestCase):
    def test_accepted(self):
        Account.objects.create(name="a")
        refuse_hidden_rows(["default"], "my_call()")

    def test_refused_in_a_block_of_the_test(self):
        with transaction.atomic(), self.assertRaises(UsageError):
            refuse_hidden_rows(["default"], "my_call()")


def test_database_that_is_no_test_database(database_access, on_postgresql):
    if not on_postgresql:
        pytest.skip("SQLite's are copied, and never written")
    settings = connections.databases["default"]
    wrapper, name = connections["default"], settings["NAME"]
    fresh = connections.create_connection("default")
    connections["default"] = fresh
    settings["NAME"] = "production"
    try:
        with pytest.raises(UsageError, match='"production".*not look like'):
            with committing_test("this one"):
                pass
    finally:
        settings["NAME"] = name
        connections["default"] = wrapper


def test_database_of_another_kind(database_access, monkeypatch):
    monkeypatch.setattr(connections["default"], "vendor", "oracle")
    with pytest.raises(UsageError, match="'default' is .*PostgreSQL and SQL"):
        with committing_test("this one"):
            pass


def test_database_that_is_not_there(database_access):
    with pytest.raises(UsageError, match="no alias 'otter' in DATABASES"):
        with committing_test("this one", databases=["otter"]):
            pass


# ---- The schema -------------------------------------------------------------


class Schema(CommittingTestCase):
    """SQLite's is put back; PostgreSQL's is told."""

    def make(self):
        class Made(fields.Model):
            class Meta:
                app_label = "shop"
                apps = Apps()
                db_table = "made_in_a_test"

        with connection.schema_editor() as editor:
            editor.create_model(Made)
        return Made

    def test_made_and_dropped(self):
        made = self.make()
        made.objects.create()
        with connection.schema_editor() as editor:
            editor.delete_model(made)

    def test_left(self):
        if connection.vendor != "sqlite":
            self.skipTest("see test_committing_runs.py")
        self.assertNotIn("made_in_a_test",
                         connection.introspection.table_names())
        self.make()

    test_left_again = test_left
