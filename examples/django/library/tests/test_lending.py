# SPDX-License-Identifier: Apache-2.0
"""Two copies of a book are lent at the same time.

SQLite has no SELECT ... FOR UPDATE: Django leaves it out. There the second call
ends with "database is locked", which asks to be tried again and is no wrong
result; the report counts it apart."""

from sqloom import assert_race_free, explore
from sqloom.django import CommittingTestCase

from library.lending import lend, lend_broken
from library.models import Book


class LendingTests(CommittingTestCase):
    def setUp(self):
        self.book = Book.objects.create(title="Emma", copies=2).pk

    def test_broken(self):
        report = explore([(lend_broken, self.book), (lend_broken, self.book)])
        self.assertFalse(report.holds)
        self.assertIn("lost update", report.text)

    def test_fixed(self):
        report = assert_race_free([(lend, self.book), (lend, self.book)])
        self.assertEqual(report.explored, report.total)
