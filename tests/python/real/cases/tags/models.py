# SPDX-License-Identifier: Apache-2.0
from django.db import models


class Tag(models.Model):
    name = models.CharField(max_length=20)
    uses = models.IntegerField(default=0)


class UniqueTag(models.Model):
    name = models.CharField(max_length=20, unique=True)
    uses = models.IntegerField(default=0)
