# SPDX-License-Identifier: Apache-2.0
"""Django's own test cases that explore; run by test_django_explore_runners."""

import os

from django.db import connection
from django.test import TestCase, TransactionTestCase
from explored import calls

import sqloom
from shop.models import Account
from sqloom.django import CommittingTestCase


class Explores:
    def setUp(self):
        super().setUp()
        self.ann = Account.objects.create(name="ann", balance=1)
        if os.environ.get("EXPLORED_LOG"):
            with open(os.environ["EXPLORED_LOG"], "a") as log:
                log.write(f"{os.getpid()} "
                          f"{connection.settings_dict['NAME']}\n")

    def pair(self, function):
        return [(function, self.ann.pk, 10), (function, self.ann.pk, 20)]

    def test_lost_update(self):
        report = sqloom.explore(self.pair(calls.deposit), max_runs=3)
        self.assertTrue(report.broken, report.text)
        self.ann.refresh_from_db()
        self.assertEqual(self.ann.balance, 1)

    def test_in_database(self):
        report = sqloom.assert_race_free(self.pair(calls.deposit_in_database))
        self.assertEqual(report.explored, report.total)

    def test_through_the_client(self):
        report = sqloom.explore([
            (self.client.get, f"/deposit/{self.ann.pk}/10"),
            (self.client.get, f"/deposit/{self.ann.pk}/20")], max_runs=3)
        self.assertTrue(report.broken, report.text)


class TransactionCase(Explores, TransactionTestCase):
    pass


class CommittingCase(Explores, CommittingTestCase):
    pass


class SecondCommittingCase(Explores, CommittingTestCase):
    pass


class TwoAliasesCase(TransactionTestCase):
    """Of one database; on SQLite it may be a file, which is never written."""

    databases = {"default", "again"}

    def setUp(self):
        self.ann = Account.objects.create(name="ann", balance=1)

    def test_lost_update(self):
        written = self.written()
        report = sqloom.explore([(calls.deposit, self.ann.pk, 10),
                                 (calls.deposit, self.ann.pk, 20, "again")])
        self.assertTrue(report.broken, report.text)
        self.assertIn("lost update", report.findings[0].title)
        self.assertEqual(self.written(), written)
        self.ann.refresh_from_db()
        self.assertEqual(self.ann.balance, 1)

    @staticmethod
    def written():
        path = os.environ.get("EXPLORED_FILE")
        return os.stat(path).st_mtime_ns if path else None


class RollingBackCase(TestCase):
    def test_refused(self):
        with self.assertRaisesRegex(sqloom.UsageError, "CommittingTestCase"):
            sqloom.explore([(calls.redeem, "SPRING")] * 2)
