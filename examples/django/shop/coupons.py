# SPDX-License-Identifier: Apache-2.0
"""Only one of five customers may redeem the one coupon."""

from .models import Coupon


class AlreadyRedeemed(Exception):
    """What a customer is told who comes too late."""


def redeem_broken(code, customer):
    """BROKEN: all who look before the first one saves redeem it."""
    coupon = Coupon.objects.get(code=code)
    if coupon.customer:
        raise AlreadyRedeemed(code)
    coupon.customer = customer
    coupon.save()


def redeem(code, customer):
    """Fixed: one statement looks and writes. The number of rows that it
    changed is the answer."""
    free = Coupon.objects.filter(code=code, customer="")
    if not free.update(customer=customer):
        raise AlreadyRedeemed(code)
