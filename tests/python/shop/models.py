# SPDX-License-Identifier: Apache-2.0
"""What a small shop and library keeps."""

from django.conf import settings
from django.db import models


class Account(models.Model):
    name = models.CharField(max_length=50, unique=True)
    balance = models.IntegerField(default=0)

    def __str__(self):
        return self.name


class Item(models.Model):
    name = models.CharField(max_length=50)
    stock = models.IntegerField(default=0)
    price = models.DecimalField(max_digits=8, decimal_places=2, default=0)

    def __str__(self):
        return self.name


class Order(models.Model):
    item = models.ForeignKey(Item, on_delete=models.CASCADE)
    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    count = models.IntegerField(default=1)


class Book(models.Model):
    title = models.CharField(max_length=100)
    count = models.IntegerField(default=1)
    borrower = models.ForeignKey(Account, null=True, blank=True,
                                 on_delete=models.SET_NULL)

    def __str__(self):
        return self.title


class Coupon(models.Model):
    """Once for everybody, or once for each account; shop/0002 makes one."""

    code = models.CharField(max_length=20, unique=True)
    used = models.BooleanField(default=False)
    uses = models.IntegerField(default=0)

    def __str__(self):
        return self.code


class Membership(models.Model):
    """Two rows that belong together, and one pair at most."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    club = models.CharField(max_length=50)
    active = models.BooleanField(default=True)

    class Meta:
        unique_together = [("account", "club")]


class Profile(models.Model):
    user = models.OneToOneField(settings.AUTH_USER_MODEL,
                                on_delete=models.CASCADE)
    note = models.CharField(max_length=100, default="")
