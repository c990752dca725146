# SPDX-License-Identifier: Apache-2.0
from django.db import models


class Coupon(models.Model):
    code = models.CharField(max_length=20, unique=True)
    used = models.BooleanField(default=False)


class Redemption(models.Model):
    coupon = models.ForeignKey(Coupon, on_delete=models.CASCADE)
    details = models.JSONField(default=dict)
