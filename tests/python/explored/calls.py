# SPDX-License-Identifier: Apache-2.0
"""What is explored: functions of a shop, broken and fixed."""

from django.db import transaction
from django.db.models import F

from shop.models import Account, Coupon, Membership


def deposit(pk, amount, using="default"):
    """Loses an update."""
    account = Account.objects.using(using).get(pk=pk)
    account.balance += amount
    account.save(using=using)
    return "done"


def deposit_in_database(pk, amount):
    Account.objects.filter(pk=pk).update(balance=F("balance") + amount)
    return "done"


def deposit_locked(pk, amount):
    with transaction.atomic():
        account = Account.objects.select_for_update().get(pk=pk)
        account.balance += amount
        account.save()
    return "done"


def deposit_atomic(pk, amount):
    """A transaction alone does not help under read committed."""
    with transaction.atomic():
        return deposit(pk, amount)


def redeem(code):
    """Checks, then acts."""
    coupon = Coupon.objects.get(code=code)
    if coupon.used:
        return "too late"
    coupon.used = True
    coupon.uses += 1
    coupon.save()
    return "redeemed"


def join(account, club):
    """Checks, then acts: the constraint stops the second one by an error."""
    if Membership.objects.filter(account_id=account, club=club).exists():
        return "member already"
    Membership.objects.create(account_id=account, club=club)
    return "joined"


def join_safely(account, club):
    """get_or_create() has a savepoint, and looks again."""
    with transaction.atomic():
        member, is_new = Membership.objects.get_or_create(
            account_id=account, club=club)
    return "joined" if is_new else "member already"


def audit(account, club):
    """A savepoint of its own for what may fail."""
    with transaction.atomic():
        Account.objects.filter(pk=account).update(balance=F("balance") - 1)
        try:
            with transaction.atomic():
                Membership.objects.create(account_id=account, club=club)
        except Exception as error:
            return f"paid, {type(error).__name__}"
    return "paid"


def close_account(pk):
    Account.objects.filter(pk=pk).delete()
    return "closed"


def rename(pk, name):
    """DoesNotExist, if somebody closes it in between."""
    if not Account.objects.filter(pk=pk).exists():
        return "no such account"
    account = Account.objects.get(pk=pk)
    Account.objects.filter(pk=account.pk).update(name=name)
    return "renamed"
