# SPDX-License-Identifier: Apache-2.0
"""Two copies of a book are lent at the same time."""

from django.db import transaction

from .models import Book


def lend_broken(pk):
    """BROKEN: save() writes back what get() read; one of two copies is still
    there, says the library."""
    book = Book.objects.get(pk=pk)
    book.copies -= 1
    book.save()


@transaction.atomic
def lend(pk):
    """Fixed: whoever reads the book keeps others from reading it for update,
    until the end of the transaction."""
    book = Book.objects.select_for_update().get(pk=pk)
    book.copies -= 1
    book.save()
