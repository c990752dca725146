# SPDX-License-Identifier: Apache-2.0
"""Concurrent calls that use the test databases: in clean processes, and on
threads."""

import os
import pathlib
import shutil
import threading
import time

import pytest
from django.conf import settings
from django.core import mail
from django.db import connection, connections, transaction
from django.test import (
    SimpleTestCase,
    TestCase,
    TransactionTestCase,
    modify_settings,
    override_settings,
)

import sqloom
from sqloom import _memory
from shop.models import Account, Book, Coupon
from sqloom.django import CommittingTestCase

on_both = pytest.mark.parametrize("threads", [False, True])
committing = pytest.mark.django_db(transaction=True)


# What is called


def racey_function(first_arg):
    """Only one may succeed: the database sees to it."""
    Account.objects.create(name=f"account {first_arg}")
    return True


def first_func(first_arg):
    return bool(Coupon.objects.filter(uses=0).update(uses=first_arg))


def second_func(other_arg):
    return bool(
        Coupon.objects.filter(uses=0).update(uses=1, code=other_arg))


def count_accounts(using="default"):
    return Account.objects.using(using).count()


def create_account(name, using="default"):
    return Account.objects.using(using).create(name=name)


def names_of(accounts):
    return [account.name for account in accounts]


def accounts():
    return Account.objects.order_by("name")


def lock_and_add(pk):
    with transaction.atomic():
        book = Book.objects.select_for_update().get(pk=pk)
        book.count += 1
        book.save()


def setting(name):
    return getattr(settings, name, "none")


def database_name(using="default"):
    return str(connections[using].settings_dict["NAME"])


def open_connection(using="default"):
    """Was there one before the function was called?"""
    return connections[using].connection is not None


def look_at_page(path):
    from django.test import Client

    response = Client().get(path)
    return (response.status_code, settings.ALLOWED_HOSTS[-1],
            response.context is not None)


def send_mail():
    mail.send_mail("subject", "text", "a@example.org", ["b@example.org"])
    return len(mail.outbox)


def fail_in_transaction():
    with transaction.atomic():
        Account.objects.create(name="of nobody")
        raise ValueError("rolled back")


# The two examples that everybody knows. The coupon is of a migration.


@pytest.fixture
def coupon(db):
    Coupon.objects.all().delete()
    return Coupon.objects.create(code="once")


def is_success(result):
    return result is True and not isinstance(result, Exception)


@committing
def test_call_concurrently():
    results = sqloom.call_concurrently(5, racey_function, first_arg=1)
    # results contains the return value from each call
    successes = list(filter(is_success, results))
    assert len(successes) == 1
    assert {type(result.error).__name__ for result in results
            if result is not True} <= {"IntegrityError", "OperationalError"}


@committing
def test_make_concurrent_calls(coupon):
    calls = [
        (first_func, {"first_arg": 1}),
        (second_func, {"other_arg": "wtf"}),
    ] * 3
    results = sqloom.make_concurrent_calls(*calls)
    # results contains the return value from each call
    successes = list(filter(is_success, results))
    assert len(successes) == 1


# The databases


@committing
def test_calls_see_what_the_test_wrote_and_the_test_what_they_wrote():
    Account.objects.create(name="of the test")
    assert sqloom.call_concurrently(2, count_accounts) == [1, 1]
    sqloom.call_concurrently(1, create_account, "of the call")
    assert names_of(accounts()) == ["of the call", "of the test"]
    assert sqloom.call_concurrently(2, count_accounts) == [2, 2]


@committing
def test_threads_share_the_database():
    Account.objects.create(name="of the test")
    calls = sqloom.Calls(threads=True)
    assert calls.call_concurrently(2, count_accounts) == [1, 1]
    calls.call_concurrently(1, create_account, "of the call")
    assert names_of(accounts()) == ["of the call", "of the test"]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_several_databases():
    sqloom.make_concurrent_calls(
        (create_account, {"name": "a", "using": "other"}),
        (create_account, {"name": "b", "using": "default"}))
    assert names_of(Account.objects.using("other").all()) == ["a"]
    assert names_of(Account.objects.all()) == ["b"]


@committing
def test_names_of_the_databases_are_those_of_now(on_postgresql):
    result, = sqloom.call_concurrently(1, database_name)
    if on_postgresql:
        assert result == connection.settings_dict["NAME"]
        assert result.startswith("test_")
    else:
        assert connection.is_in_memory_db()
        assert result.endswith(".sqlite3")


@committing
def test_all_locks_are_taken_in_turn(on_postgresql):
    book = Book.objects.create(title="one", count=0)
    results = sqloom.call_concurrently(8, lock_and_add, book.pk)
    book.refresh_from_db()
    assert book.count == results.count(None)
    if on_postgresql:
        assert book.count == 8
    else:  # SQLite has no locks of rows; it refuses instead
        assert book.count >= 1


@committing
def test_models_are_arguments_and_results():
    account = Account(name="new")
    result, = sqloom.call_concurrently(1, account.save)
    assert result is None
    assert names_of(accounts()) == ["new"]
    result, = sqloom.call_concurrently(1, create_account, "newer")
    assert result == Account.objects.get(name="newer")
    result, = sqloom.call_concurrently(1, accounts)
    assert names_of(result) == ["new", "newer"]
    assert sqloom.call_concurrently(1, names_of, accounts()) == [
        ["new", "newer"]]


@committing
def test_a_failed_transaction_leaves_nothing():
    result, = sqloom.call_concurrently(1, fail_in_transaction)
    assert isinstance(result.error, ValueError)
    assert not accounts()


@committing
def test_connections_are_open_before_the_start_if_the_test_has_one():
    connection.ensure_connection()
    assert sqloom.call_concurrently(1, open_connection) == [True]
    connection.close()
    if connection.connection is None:  # one in memory stays open
        assert sqloom.call_concurrently(1, open_connection) == [False]


@committing
@on_both
def test_no_connection_is_left(threads, on_postgresql):
    before = others_on_this_database() if on_postgresql else set()
    sqloom.Calls(threads=threads).call_concurrently(3, count_accounts)
    if not on_postgresql:
        # Nobody else has it locked.
        with connection.cursor() as cursor:
            cursor.execute("BEGIN EXCLUSIVE")
            cursor.execute("COMMIT")
        return
    # A server process takes a moment to end after its connection.
    deadline = time.monotonic() + 60
    while others_on_this_database() - before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def others_on_this_database():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE datname ="
                       " current_database() AND pid <> pg_backend_pid() AND"
                       " backend_type = 'client backend'")
        return set(cursor.fetchall())


@committing
def test_threads_of_the_test_lose_nothing_to_each_other():
    """Copies of a database in memory come back one after the other."""
    def go(number):
        results[number] = sqloom.call_concurrently(
            1, create_account, f"{number}")

    results = {}
    threads = [threading.Thread(target=go, args=(number,))
               for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(6))
    assert names_of(accounts()) == [f"{number}" for number in range(6)]


def test_what_a_killed_process_left_goes():
    """Its copy of a database in memory; not that of one that is there."""
    left = [pathlib.Path(f"/dev/shm/sqloom-{pid}-0123abcd")
            for pid in (2 ** 22 + 1, os.getpid())]  # none is so large
    for place in left:
        place.mkdir()
        (place / "seed.sqlite3").touch()
    try:
        _memory._prefix_of.cache_clear()
        assert _memory.own_prefix() == f"sqloom-{os.getpid()}-"
        assert [place.exists() for place in left] == [False, True]
    finally:
        for place in left:
            shutil.rmtree(place, ignore_errors=True)


@committing
def test_a_query_that_is_open_is_told(on_postgresql):
    """A database in memory cannot be copied back under it."""
    Account.objects.bulk_create(
        Account(name=str(number)) for number in range(5))
    cursor = connection.cursor()
    cursor.execute("SELECT name FROM shop_account")
    cursor.fetchone()
    try:
        if on_postgresql:
            sqloom.call_concurrently(1, create_account, "new")
            assert Account.objects.count() == 6
            return
        with pytest.raises(sqloom.UsageError, match="query or a transaction"):
            sqloom.call_concurrently(1, create_account, "new")
    finally:
        cursor.close()
    assert Account.objects.count() == 5
    sqloom.call_concurrently(1, create_account, "newer")
    assert Account.objects.filter(name="newer").exists()


# What sqloom has for tests that commit; on SQLite, with databases in memory
# that are not Django's.


class InACommittingTestCase(CommittingTestCase):
    def test_is_made(self):
        Account.objects.create(name="of the test")
        self.assertEqual(sqloom.call_concurrently(2, count_accounts), [1, 1])
        for threads, name in ((False, "a"), (True, "b")):
            results = sqloom.Calls(threads=threads).call_concurrently(
                3, create_account, name)
            made = [result for result in results
                    if isinstance(result, Account)]
            self.assertEqual(made, [Account.objects.get(name=name)])

    def test_is_made_again(self):
        self.test_is_made()


@pytest.mark.committing
@on_both
def test_the_marker(threads):
    Account.objects.create(name="of the test")
    assert sqloom.Calls(threads=threads).call_concurrently(
        2, count_accounts) == [1, 1]
    sqloom.Calls(threads=threads).call_concurrently(1, create_account, "new")
    assert names_of(accounts()) == ["new", "of the test"]


# Settings


@override_settings(SQLOOM_TRIED="overridden", USE_TZ=False)
def test_settings_are_carried():
    assert sqloom.make_concurrent_calls(
        (setting, {"name": "SQLOOM_TRIED"}), (setting, {"name": "USE_TZ"}),
    ) == ["overridden", False]


def test_overrides_end():
    with override_settings(SQLOOM_TRIED=1):
        with override_settings(SQLOOM_TRIED=2):
            assert sqloom.call_concurrently(1, setting, "SQLOOM_TRIED") == [2]
        assert sqloom.call_concurrently(1, setting, "SQLOOM_TRIED") == [1]
    assert sqloom.call_concurrently(1, setting, "SQLOOM_TRIED") == ["none"]


def test_a_deleted_setting_is_carried():
    with override_settings():
        del settings.ROOT_URLCONF
        assert sqloom.call_concurrently(1, setting, "ROOT_URLCONF") == ["none"]
    assert sqloom.call_concurrently(1, setting, "ROOT_URLCONF") == [
        "project.urls"]


def test_settings_of_pytest_django_are_carried(settings):
    settings.SQLOOM_TRIED = ["a", "b"]
    assert sqloom.call_concurrently(1, setting, "SQLOOM_TRIED") == [["a", "b"]]


@modify_settings(INSTALLED_APPS={"append": "django.contrib.messages"})
def test_modified_settings_are_carried():
    result, = sqloom.call_concurrently(1, setting, "INSTALLED_APPS")
    assert result[-1] == "django.contrib.messages"


@pytest.mark.parametrize("value, name", [
    (lambda: 1, "the setting SQLOOM_TRIED was overridden with a function")])
def test_a_setting_that_cannot_be_carried_is_named(value, name):
    with override_settings(SQLOOM_TRIED=value):
        with pytest.raises(sqloom.UsageError, match=name):
            sqloom.call_concurrently(1, setting, "SQLOOM_TRIED")


def test_the_test_client_works():
    """Templates are instrumented and hosts allowed as in the test itself."""
    assert sqloom.call_concurrently(2, look_at_page, "/nowhere") == [
        (404, "testserver", True)] * 2


def test_no_mail_is_sent():
    assert sqloom.call_concurrently(1, send_mail) == [1]


# Kinds of tests


class InATestCase(TestCase):
    def test_is_refused(self):
        for calls in (sqloom.Calls(), sqloom.Calls(threads=True)):
            with self.assertRaises(sqloom.UsageError) as refused:
                calls.call_concurrently(2, count_accounts)
            text = str(refused.exception)
            self.assertIn("is inside a transaction on the database 'default'",
                          text)
            self.assertIn("CommittingTestCase", text)
            self.assertIn("@pytest.mark.committing", text)

    def test_the_decorator_is_refused(self):
        with self.assertRaises(sqloom.UsageError):
            sqloom.test_concurrently(2)(count_accounts)()

    def test_calls_without_databases_are_made(self):
        for threads in (False, True):
            calls = sqloom.Calls(threads=threads, databases=())
            self.assertEqual(calls.call_concurrently(2, setting, "USE_TZ"),
                             [True, True])


class InATransactionTestCase(TransactionTestCase):
    def test_is_made(self):
        Account.objects.create(name="one")
        self.assertEqual(sqloom.call_concurrently(2, count_accounts), [1, 1])

    def test_inside_of_atomic_is_refused(self):
        with transaction.atomic(), self.assertRaises(sqloom.UsageError):
            sqloom.call_concurrently(2, count_accounts)

    def test_a_raw_transaction_is_refused_on_sqlite(self):
        if connection.vendor != "sqlite":
            self.skipTest("a database in memory is copied")
        connection.cursor().execute("BEGIN")
        with self.assertRaisesMessage(sqloom.UsageError, "commit it first"):
            sqloom.call_concurrently(2, count_accounts)
        connection.cursor().execute("COMMIT")


class InASimpleTestCase(SimpleTestCase):
    def test_is_made(self):
        self.assertEqual(
            sqloom.call_concurrently(1, setting, "USE_TZ"), [True])
