# SPDX-License-Identifier: Apache-2.0
"""Committing tests that explore and that call concurrently: these see what the
test has written, leave it as it is, and what the calls write is put back."""

from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.models import F
from django.test import TransactionTestCase

import sqloom
from shop.models import Account, Book, Coupon, Item, Order
from sqloom.django import CommittingTestCase


def deposit(pk):
    account = Account.objects.get(pk=pk)
    account.balance += 10
    account.save()


def add(pk):
    Account.objects.filter(pk=pk).update(balance=F("balance") + 10)


def order(account, item):
    Order.objects.create(account_id=account, item_id=item)


def count():
    return Account.objects.count()


class Explores(CommittingTestCase):
    @classmethod
    def setUpTestData(cls):
        cls.item = Item.objects.create(name="thing", stock=3)

    def setUp(self):
        self.account = Account.objects.create(name="a")
        gone = Item.objects.create(name="gone")
        Order.objects.create(account=self.account, item=self.item)
        gone.delete()
        Coupon.objects.all().delete()
        ContentType.objects.filter(model="coupon").delete()

    def check_rows(self):
        self.account.refresh_from_db()
        self.assertEqual(self.account.balance, 0)
        self.assertEqual(Order.objects.get().item, self.item)
        self.assertFalse(Coupon.objects.exists())
        self.assertFalse(Book.objects.exists())
        self.assertFalse(ContentType.objects.filter(model="coupon").exists())

    def explore(self):
        calls = [(deposit, self.account.pk), (deposit, self.account.pk)]
        self.assertFalse(sqloom.explore(calls).holds)
        self.check_rows()
        self.assertEqual(Item.objects.create(name="new").pk, 3)
        calls = [(add, self.account.pk), (add, self.account.pk)]
        self.assertTrue(sqloom.explore(calls).holds)
        self.check_rows()
        calls = [(order, self.account.pk, self.item.pk)] * 2
        self.assertTrue(sqloom.explore(calls).holds)
        self.check_rows()
        self.assertEqual(Item.objects.create(name="newer").pk, 4)
        self.assertEqual(
            Order.objects.create(account=self.account, item=self.item).pk, 2)
        with transaction.atomic():
            Book.objects.create(title="after the explorations")

    def test_first(self):
        self.explore()

    def test_second(self):
        self.explore()


class ExploresBesides(TransactionTestCase):
    """Django's own test case, in a process with committing ones."""

    def test(self):
        account = Account.objects.create(name="a")
        calls = [(deposit, account.pk), (deposit, account.pk)]
        self.assertFalse(sqloom.explore(calls).holds)
        self.assertEqual(Account.objects.get().pk, account.pk)


class ExploresAgain(CommittingTestCase):
    def test(self):
        self.assertEqual(Coupon.objects.get().code, "WELCOME")
        self.assertTrue(ContentType.objects.filter(model="coupon").exists())
        self.assertFalse(Item.objects.exists())


class CallsConcurrently(CommittingTestCase):
    def setUp(self):
        self.account = Account.objects.create(name="a")

    def call(self):
        self.assertEqual(sqloom.call_concurrently(3, count), [1, 1, 1])
        sqloom.call_concurrently(1, deposit, self.account.pk)
        self.account.refresh_from_db()
        self.assertEqual(self.account.balance, 10)
        self.assertEqual(Account.objects.create(name="b").pk, 2)
        self.assertEqual(sqloom.call_concurrently(2, count), [2, 2])

    def test_first(self):
        self.call()

    def test_second(self):
        self.call()


class CallsConcurrentlyOnFile(CallsConcurrently):
    processes = True

    def test_where_it_is(self):
        name = connection.settings_dict["NAME"]
        if connection.vendor == "sqlite":
            self.assertTrue(name.endswith("/test.db"))
            self.assertFalse(name.startswith("file:"))
