# SPDX-License-Identifier: Apache-2.0
"""django-celery-results counts down what a chord still waits for, under a row
lock; the last one starts the rest."""

from real.case import HOLDS, LOCKED, case

PACKAGE = "django-celery-results"
APPS = ["django_celery_results"]
GROUP = "00000000-0000-0000-0000-000000000001"


def finish(number):
    from celery import Celery
    from celery.app.task import Context
    from django_celery_results.backends.database import DatabaseBackend

    app = Celery("test", set_as_current=False, broker="memory://")
    request = Context(id=f"task-{number}", group=GROUP, chord=None)
    DatabaseBackend(app).on_chord_part_return(request, "SUCCESS", number)


@case("on_chord_part_return() of two of three", {"2.4.0": (LOCKED, HOLDS)})
def counting_down():
    from django_celery_results.models import ChordCounter

    ChordCounter.objects.create(group_id=GROUP, sub_tasks="[]", count=3)
    return (finish, 1), (finish, 2)
