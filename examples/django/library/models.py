# SPDX-License-Identifier: Apache-2.0
"""What the library knows."""

from django.db import models


class Member(models.Model):
    name = models.CharField(max_length=50)


class Event(models.Model):
    title = models.CharField(max_length=50)


class Registration(models.Model):
    """A member may come and go, and come again: old registrations are kept
    elsewhere. Nothing says that there is at most one."""

    member = models.ForeignKey(Member, on_delete=models.CASCADE)
    event = models.ForeignKey(Event, on_delete=models.CASCADE)


class Book(models.Model):
    title = models.CharField(max_length=50)
    copies = models.IntegerField(default=1)


class Translation(models.Model):
    text = models.CharField(max_length=50)
    language = models.CharField(max_length=5)
    words = models.CharField(max_length=50)

    class Meta:
        unique_together = [("text", "language")]


class Locator(models.Model):
    """Where a book stands. When one is saved, a worker writes its label."""

    book = models.ForeignKey(Book, on_delete=models.CASCADE)
    shelf = models.CharField(max_length=20)


class Label(models.Model):
    locator = models.ForeignKey(Locator, on_delete=models.CASCADE)
    text = models.CharField(max_length=80)
