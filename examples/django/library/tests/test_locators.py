# SPDX-License-Identifier: Apache-2.0
"""A receiver queues a job for a worker, who may be faster than the commit."""

import contextlib

from django.db.models.signals import post_save
from sqloom import assert_race_free, explore
from sqloom.django import CommittingTestCase

from library.locators import queue_label, queue_label_broken, shelve
from library.models import Book, Locator

from .services import services


class LocatorTests(CommittingTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        cls.services = stack.enter_context(services())

    def setUp(self):
        self.book = Book.objects.create(title="Emma").pk
        self.services.clear()

    def calls(self):
        return [(shelve, self.book, "A 7"), self.services.work]

    def test_broken(self):
        with receiver(queue_label_broken):
            report = explore(self.calls(), self.services.clear,
                             names=["librarian", "worker"])
        self.assertFalse(report.holds)
        self.assertIn("DoesNotExist", report.text)

    def test_fixed(self):
        # Redis answers late on a busy machine, which is no stall.
        report = assert_race_free(self.calls(), self.services.clear,
                                  names=["librarian", "worker"], stall_after=5)
        self.assertEqual(report.explored, report.total)

    def test_the_worker_works(self):
        shelve(self.book, "A 7")
        self.assertEqual(self.services.work(), "Emma: A 7")
        self.assertEqual(Locator.objects.get().label_set.count(), 1)


@contextlib.contextmanager
def receiver(other):
    """The other receiver in place of the fixed one."""
    post_save.disconnect(queue_label, sender=Locator)
    post_save.connect(other, sender=Locator)
    try:
        yield
    finally:
        post_save.disconnect(other, sender=Locator)
        post_save.connect(queue_label, sender=Locator)
