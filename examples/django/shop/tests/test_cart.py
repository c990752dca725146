# SPDX-License-Identifier: Apache-2.0
"""Two requests change a session; one change is lost."""

from django.contrib.sessions.backends.db import SessionStore
from django.test import Client
from sqloom import assert_race_free, explore
from sqloom.django import CommittingTestCase

from shop.models import CartItem


class CartTests(CommittingTestCase):
    def setUp(self):
        session = SessionStore()
        session["customer"] = "ann"
        session.save()
        self.key = session.session_key

    def get(self, url):
        client = Client()
        client.cookies["sessionid"] = self.key
        return client.get(url)

    def both_are_kept(self):
        session = SessionStore(self.key)
        assert session.get("language") == "fr", "the language is lost"
        items = CartItem.objects.filter(session_key=self.key)
        assert "cart" in session or items.exists(), "the cart is lost"

    def test_broken(self):
        report = explore([(self.get, "/language/fr/"),
                          (self.get, "/cart-broken/tea/")],
                         self.both_are_kept, names=["language", "cart"])
        self.assertFalse(report.holds)
        self.assertIn("is lost", report.text)

    def test_fixed(self):
        report = assert_race_free([(self.get, "/language/fr/"),
                                   (self.get, "/cart/tea/")],
                                  self.both_are_kept,
                                  names=["language", "cart"])
        self.assertEqual(report.explored, report.total)
