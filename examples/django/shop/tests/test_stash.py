# SPDX-License-Identifier: Apache-2.0
"""A middleware makes the stash of a session when it is first asked for it."""

from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client, override_settings
from sqloom import assert_race_free, explore, test_concurrently
from sqloom.django import CommittingTestCase

from shop.models import Stash

BROKEN = [name.replace("shop.stash.", "shop.stash.Broken")
          for name in settings.MIDDLEWARE]


class StashTests(CommittingTestCase):
    def setUp(self):
        session = SessionStore()
        session.save()
        self.key = session.session_key

    def get(self):
        client = Client()
        client.cookies["sessionid"] = self.key
        return client.get("/stash/")

    @override_settings(MIDDLEWARE=BROKEN)
    def test_broken(self):
        report = explore([self.get, self.get], names=["ann", "ann again"])
        self.assertFalse(report.holds)
        self.assertIn("IntegrityError", report.text)

    def test_fixed(self):
        report = assert_race_free([self.get, self.get],
                                  names=["ann", "ann again"])
        self.assertEqual(report.explored, report.total)

    def test_five_at_once(self):
        @test_concurrently(5)
        def get():
            self.assertContains(self.get(), "nothing")

        get()
        self.assertEqual(Stash.objects.count(), 1)
