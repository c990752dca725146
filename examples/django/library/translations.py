# SPDX-License-Identifier: Apache-2.0
"""Two translators add the same words. unique_together refuses the second, inside
of a block, and the block cannot be used any more."""

from django.db import IntegrityError, transaction

from .models import Translation


def known(text, language):
    return Translation.objects.filter(text=text, language=language)


def translate_broken(text, language, words):
    """BROKEN: an error of the database breaks the whole block. The update
    behind it fails with TransactionManagementError."""
    if known(text, language).exists():
        known(text, language).update(words=words)
        return
    with transaction.atomic():
        try:
            Translation.objects.create(text=text, language=language,
                                       words=words)
        except IntegrityError:
            known(text, language).update(words=words)


def translate(text, language, words):
    """Fixed: what may fail is in a block inside of the block, a savepoint."""
    if known(text, language).exists():
        known(text, language).update(words=words)
        return
    with transaction.atomic():
        try:
            with transaction.atomic():
                Translation.objects.create(text=text, language=language,
                                           words=words)
        except IntegrityError:
            known(text, language).update(words=words)
