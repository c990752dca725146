# SPDX-License-Identifier: Apache-2.0
"""What the shop knows."""

from django.conf import settings
from django.db import models


class Coupon(models.Model):
    """Can be redeemed once; customer is empty until then."""

    code = models.CharField(max_length=20, unique=True)
    customer = models.CharField(max_length=50, blank=True, default="")


class Product(models.Model):
    name = models.CharField(max_length=50)
    stock = models.IntegerField()


class CartItem(models.Model):
    session_key = models.CharField(max_length=40, db_index=True)
    sku = models.CharField(max_length=20)


class Stash(models.Model):
    """What somebody has put aside; one for each session."""

    session_key = models.CharField(max_length=40, unique=True)
    skus = models.TextField(default="")


class UserProfile(models.Model):
    user = models.OneToOneField(settings.AUTH_USER_MODEL,
                                on_delete=models.CASCADE,
                                related_name="profile")
    newsletter = models.BooleanField(default=True)
