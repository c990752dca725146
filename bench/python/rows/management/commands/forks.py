# SPDX-License-Identifier: Apache-2.0
"""manage.py forks N: the least that a call in a process of its own can cost, as
the median in ms: this program forked, one query, its end waited for."""

import os
import statistics
import time

from django.core.management.base import BaseCommand

from rows.functions import one_query


class Command(BaseCommand):
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("n", type=int)

    def handle(self, n, **options):
        self.stdout.write(str(statistics.median(fork() for _ in range(n))))


def fork():
    """Milliseconds. Nothing is open, which two processes could not share."""
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            one_query()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert status == 0
    return 1e3 * (time.perf_counter() - began)
