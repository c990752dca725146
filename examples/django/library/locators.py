# SPDX-License-Identifier: Apache-2.0
"""When a locator is saved, a job is queued: a worker writes its label. The job
may come before the locator."""

from django.db import transaction
from django.db.models.signals import post_save
from django.dispatch import receiver

from .models import Locator
from .tasks import write_label


@receiver(post_save, sender=Locator)
def queue_label(instance, **kwargs):
    """Fixed: queues the job when the locator is committed, and not at all if
    it never is."""
    transaction.on_commit(lambda: write_label.delay(instance.pk))


def queue_label_broken(instance, **kwargs):
    """BROKEN: a fast worker looks for a locator that nobody can see yet."""
    write_label.delay(instance.pk)


@transaction.atomic
def shelve(book, shelf):
    """What a librarian does."""
    Locator.objects.create(book_id=book, shelf=shelf)
    return "shelved"
