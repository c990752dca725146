# SPDX-License-Identifier: Apache-2.0
"""A middleware makes the stash of a session when it is first asked for it."""

from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client, override_settings
from sqloom import assert_race_free, explore, test_concurrently
from sqloom.django import CommittingTestCase

from shop.models import Stash, StashItem

BROKEN = [name.replace("shop.stash.", "shop.stash.Broken")
          for name in settings.MIDDLEWARE]


class StashTests(CommittingTestCase):
    def setUp(self):
        session = SessionStore()
        session.save()
        self.key = session.session_key

    def put_aside(self, sku):
        client = Client()
        client.cookies["sessionid"] = self.key
        return client.get(f"/stash/{sku}/")

    @override_settings(MIDDLEWARE=BROKEN)
    def test_broken(self):
        report = explore([(self.put_aside, "tea"), (self.put_aside, "mug")])
        self.assertFalse(report.holds)
        self.assertIn("IntegrityError", report.text)

    def test_fixed(self):
        report = assert_race_free([(self.put_aside, "tea"),
                                   (self.put_aside, "mug")])
        self.assertEqual(report.explored, report.total)

    def test_five_at_once(self):
        @test_concurrently(5)
        def put_aside():
            self.assertEqual(self.put_aside("tea").status_code, 200)

        put_aside()
        self.assertEqual(Stash.objects.count(), 1)
        self.assertEqual(StashItem.objects.count(), 5)
