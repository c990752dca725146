# SPDX-License-Identifier: Apache-2.0
"""django-q's schedule and its queue in the database: read, then marked (#231,
pull requests 213 and 347)."""

import contextlib
import importlib.metadata
import sys

import django.urls

from real.case import CONTENTS, HOLDS, RESULT, case
from real.old_source import read_as

PACKAGE = "django-q"
old = False
with contextlib.suppress(importlib.metadata.PackageNotFoundError):
    old = importlib.metadata.version(PACKAGE).startswith("0.")
if old:
    # async is a keyword since Python 3.7. Newer Djangos import no models before
    # they are ready, and have urlresolvers elsewhere.
    read_as("django_q", {r"\basync\b": "async_task",
                         r"(?m)^if split_version.*": "if False:"})
    sys.modules.setdefault("django.core.urlresolvers", django.urls)
APPS = ["django_q"]
SETTINGS = {
    "Q_CLUSTER": {
        "name": "test",
        "orm": "default",
        "bulk": 1,
        # An empty queue makes a worker sleep for this long.
        "poll": 0,
        "retry": 120,
        "timeout": 60,
    },
}


@case("scheduler() of two clusters",
      {"1.0.2": CONTENTS, "1.1.0": HOLDS})
def schedule():
    """One hourly task is queued twice."""
    from datetime import timedelta

    from django.utils import timezone
    from django_q.cluster import scheduler
    from django_q.models import Schedule

    Schedule.objects.create(func="math.sqrt", args="4", repeats=-1,
                            schedule_type=Schedule.HOURLY,
                            next_run=timezone.now() - timedelta(minutes=1))
    return scheduler, scheduler


def take():
    from django_q.brokers.orm import ORM

    return [payload for _, payload in ORM("test").dequeue() or []]


@case("dequeue() of two workers", {"0.7.18": RESULT, "0.8.0": HOLDS})
def dequeue():
    """One task is handed to both workers."""
    from datetime import timedelta

    from django.utils import timezone
    from django_q.models import OrmQ

    OrmQ.objects.create(key="test", payload="work",
                        lock=timezone.now() - timedelta(hours=1))
    return take, take
