# SPDX-License-Identifier: Apache-2.0
"""A hierarchy of TestCases, as projects have them. What its classes set up is
needed three levels down, by a test that needs real commits."""

from django.test import TestCase
from sqloom import UsageError, assert_race_free, explore
from sqloom.django import CommittingTestMixin

from library.models import Book, Event, Member
from library.registration import toggle


class LibraryTestCase(TestCase):
    """Level one: there is a library."""

    @classmethod
    def setUpTestData(cls):
        cls.book = Book.objects.create(title="Emma")


class MemberTestCase(LibraryTestCase):
    """Level two: it has a member."""

    def setUp(self):
        super().setUp()
        self.member = Member.objects.create(name="Ann")


class BrokenEventTests(MemberTestCase):
    """Level three, broken: each test is inside of a transaction, and nobody
    else sees its rows. That is refused, in words."""

    def test_refused(self):
        event = Event.objects.create(title="Reading")
        click = (toggle, self.member.pk, event.pk)
        with self.assertRaisesMessage(UsageError, "atomic"):
            explore([click, click])


class EventTests(CommittingTestMixin, MemberTestCase):
    """Fixed: this class commits. What the classes above set up is there; what
    tests leave is put back after each of them."""

    def test_explored(self):
        event = Event.objects.create(title="Reading")
        click = (toggle, self.member.pk, event.pk)
        report = assert_race_free([click, click])
        self.assertEqual(report.explored, report.total)

    def test_rows_of_all_levels(self):
        self.assertEqual(self.book.title, "Emma")
        self.assertEqual(list(Book.objects.all()), [self.book])
        self.assertEqual(list(Member.objects.all()), [self.member])
        self.assertEqual(Event.objects.count(), 0)
