# SPDX-License-Identifier: Apache-2.0
"""A view that reads through a pool of threads. The threads have connections of
their own, and are part of the request that started them."""

from django.test import Client
from sqloom import assert_race_free, explore
from sqloom.django import CommittingTestCase

from shop.models import Product


def get(url):
    return Client().get(url)


class OrderTests(CommittingTestCase):
    def setUp(self):
        self.product = Product.objects.create(name="Tea", stock=1).pk

    def test_broken(self):
        order = (get, f"/order-broken/{self.product}/")
        report = explore([order, order], names=["ann", "ben"])
        self.assertFalse(report.holds)
        self.assertIn("results that no serial run gives", report.text)

    def test_fixed(self):
        order = (get, f"/order/{self.product}/")
        report = assert_race_free([order, order], names=["ann", "ben"])
        self.assertEqual(report.explored, report.total)

    def test_the_threads_see_the_rows_of_the_test(self):
        """In Django's TestCase they would not."""
        url = f"/order/{self.product}/"
        self.assertEqual(get(url).status_code, 200)
        self.assertEqual(get(url).status_code, 409)
