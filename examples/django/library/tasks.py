# SPDX-License-Identifier: Apache-2.0
"""What the workers do."""

from celery import shared_task

from .models import Label, Locator


@shared_task
def write_label(pk):
    locator = Locator.objects.select_related("book").get(pk=pk)
    text = f"{locator.book.title}: {locator.shelf}"
    Label.objects.create(locator=locator, text=text)
    return text
