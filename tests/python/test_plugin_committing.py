# SPDX-License-Identifier: Apache-2.0
"""@pytest.mark.committing: real commits, and what is written is put back. The
tests are in this order, and see whether the one before was."""

import threading

import pytest
from django.db import connection, connections, transaction
from django.test import SimpleTestCase, TestCase

from ledger.models import Entry

TOLD = []


def count_elsewhere(using="default"):
    """As another connection sees it."""
    counts = []

    def count():
        try:
            counts.append(Entry.objects.using(using).count())
        finally:
            connections.close_all()
    thread = threading.Thread(target=count)
    thread.start()
    thread.join(30)
    return counts[0]


@pytest.mark.committing
@pytest.mark.parametrize("time", [1, 2])
def test_function(time):
    assert Entry.objects.count() == 0
    Entry.objects.create(name="committed")
    assert not connection.in_atomic_block
    assert count_elsewhere() == 1


@pytest.mark.committing
def test_hooks_run():
    with transaction.atomic():
        transaction.on_commit(lambda: TOLD.append("hook"))
    assert TOLD == ["hook"]


@pytest.mark.committing(databases=["other"])
def test_another_database():
    Entry.objects.using("other").create(name="committed")
    assert count_elsewhere("other") == 1


@pytest.mark.committing
def test_fixtures_of_pytest_django(client, django_user_model):
    django_user_model.objects.create_user("ann", password="secret")
    assert client.login(username="ann", password="secret")


@pytest.mark.django_db
class TestClass:
    """As often: all of a class, or a module, is marked for pytest-django."""

    @pytest.mark.committing
    def test_one(self):
        Entry.objects.create(name="committed")
        assert not connection.in_atomic_block
        assert count_elsewhere() == 1

    def test_another(self):
        assert connection.in_atomic_block
        assert Entry.objects.count() == 0


@pytest.mark.committing
class TestAllOfAClass:
    @pytest.mark.parametrize("time", [1, 2])
    def test_method(self, time):
        assert Entry.objects.count() == 0
        Entry.objects.create(name="committed")
        assert count_elsewhere() == 1

    def test_with_a_fixture_that_wants_a_database(self, db):
        assert not connection.in_atomic_block


@pytest.fixture
def one_entry(db):
    return Entry.objects.create(name="of a fixture")


@pytest.mark.committing
def test_rows_of_fixtures_are_committed(one_entry):
    assert count_elsewhere() == 1


@pytest.mark.committing
class OfUnittest(TestCase):
    @classmethod
    def setUpTestData(cls):
        Entry.objects.create(name="of the class")

    def test_one(self):
        assert not connection.in_atomic_block
        assert count_elsewhere() == 1
        Entry.objects.create(name="committed")

    test_two = test_one


class OneOfUnittest(TestCase):
    @pytest.mark.committing
    def test_committing(self):
        assert not connection.in_atomic_block
        Entry.objects.create(name="committed")
        assert count_elsewhere() == 1

    def test_other(self):
        assert connection.in_atomic_block
        assert Entry.objects.count() == 0


class WithoutDatabase(SimpleTestCase):
    def test_nothing(self):
        pass


@pytest.mark.django_db
def test_nothing_is_left():
    assert Entry.objects.count() == 0
