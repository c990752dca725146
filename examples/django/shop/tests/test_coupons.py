# SPDX-License-Identifier: Apache-2.0
"""Only one of five calls may succeed."""

from sqloom import (WrappedError, assert_race_free, call_concurrently, explore,
                    make_concurrent_calls)
from sqloom.django import CommittingTestCase

from shop.coupons import AlreadyRedeemed, redeem, redeem_broken
from shop.models import Coupon


class CouponTests(CommittingTestCase):
    def setUp(self):
        Coupon.objects.create(code="SPRING")

    def test_broken(self):
        """Five calls at once show it on an unlucky day only. An exploration
        shows it each time."""
        report = explore([(redeem_broken, "SPRING", "ann"),
                          (redeem_broken, "SPRING", "ben")],
                         refusals=[AlreadyRedeemed])
        self.assertFalse(report.holds)
        self.assertIn("results that no serial run gives", report.text)

    def test_fixed(self):
        report = assert_race_free([(redeem, "SPRING", "ann"),
                                   (redeem, "SPRING", "ben")],
                                  refusals=[AlreadyRedeemed])
        self.assertEqual(report.explored, report.total)

    def test_one_of_five(self):
        """Each in a clean process, all at once."""
        results = call_concurrently(5, redeem, code="SPRING", customer="ann")
        errors = [r for r in results if isinstance(r, WrappedError)]
        self.assertEqual(len(errors), 4)
        for error in errors:
            self.assertIsInstance(error.error, AlreadyRedeemed)
        self.assertEqual(Coupon.objects.get().customer, "ann")

    def test_two_functions(self):
        """Different calls; their results are in the order of the calls."""
        calls = [(redeem, {"code": "SPRING", "customer": "ann"}),
                 (redeem_broken, {"code": "NONE", "customer": "ben"})]
        first, second = make_concurrent_calls(*calls)
        self.assertIsNone(first)
        self.assertIsInstance(second.error, Coupon.DoesNotExist)
