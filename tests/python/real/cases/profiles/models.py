# SPDX-License-Identifier: Apache-2.0
import sys

import six
from django.db import models

# The package is older than this Django, which has no copy of six any more.
sys.modules.setdefault("django.utils.six", six)

from annoying.fields import AutoOneToOneField  # noqa: E402


class Person(models.Model):
    pass


class Profile(models.Model):
    person = AutoOneToOneField(Person, primary_key=True,
                               on_delete=models.CASCADE)
    level = models.IntegerField(default=1)
