# SPDX-License-Identifier: Apache-2.0
"""An application of Celery's: an account that is made is greeted by a task."""

from celery import Celery
from django.db import transaction
from django.db.models import F

from shop.models import Account, Coupon

app = Celery("explored")


@app.task
def greet(pk):
    """Needs the account."""
    account = Account.objects.get(pk=pk)
    Coupon.objects.create(code=f"for {account.name}")
    return account.name


@app.task
def deposit(pk, amount):
    """Loses an update."""
    account = Account.objects.get(pk=pk)
    account.balance += amount
    account.save()


@app.task
def deposit_in_database(pk, amount):
    Account.objects.filter(pk=pk).update(balance=F("balance") + amount)


def sign_up(name):
    """BROKEN: the task may come before the account is there."""
    with transaction.atomic():
        account = Account.objects.create(name=name)
        greet.delay(account.pk)
    return "welcome"


def sign_up_and_commit(name):
    """Fixed."""
    with transaction.atomic():
        account = Account.objects.create(name=name)
        transaction.on_commit(lambda: greet.delay(account.pk))
    return "welcome"
