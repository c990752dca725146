# SPDX-License-Identifier: Apache-2.0
"""What the tests of hooks, signals and locks write: constraints that wait for
the commit, and ones that could."""

from django.db import models


class Entry(models.Model):
    name = models.CharField(max_length=50, unique=True)

    def __str__(self):
        return self.name


class SpecialEntry(Entry):
    """Saved by two statements, in a block of Django's own."""

    note = models.CharField(max_length=50, default="")


class Line(models.Model):
    """The reference is checked at the commit; the place, on PostgreSQL, at
    once, unless the transaction says otherwise."""

    entry = models.ForeignKey(Entry, on_delete=models.CASCADE)
    place = models.IntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["place"], name="ledger_place",
                deferrable=models.Deferrable.IMMEDIATE),
        ]
