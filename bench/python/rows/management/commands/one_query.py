# SPDX-License-Identifier: Apache-2.0
"""manage.py one_query: the same in a process that is started for it."""

from django.core.management.base import BaseCommand

from rows.functions import one_query


class Command(BaseCommand):
    # The cheapest start there is.
    requires_system_checks = []

    def handle(self, **options):
        self.stdout.write(str(one_query()))
