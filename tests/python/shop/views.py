# SPDX-License-Identifier: Apache-2.0
"""Views with the races that the tests look for."""

from django.http import HttpResponse, HttpResponseForbidden, JsonResponse
from django.shortcuts import get_object_or_404

from shop.models import Account, Coupon, Item


def deposit(request, pk, amount):
    """Loses an update: the balance is computed outside of the database."""
    account = get_object_or_404(Account, pk=pk)
    account.balance += amount
    account.save()
    return HttpResponse("done")


def redeem(request, code):
    """Lets two in: what was checked may not be so any more."""
    coupon = get_object_or_404(Coupon, code=code)
    if coupon.used:
        return HttpResponseForbidden("used already")
    coupon.used = True
    coupon.uses += 1
    coupon.save()
    return HttpResponse("redeemed")


def stock(request, pk):
    item = get_object_or_404(Item, pk=pk)
    return JsonResponse({"name": item.name, "stock": item.stock})
