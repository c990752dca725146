# SPDX-License-Identifier: Apache-2.0
"""Django's cache in the database: incr() reads, then writes (ticket 23326);
add() does not."""

from real.case import CONTENTS, HOLDS, case

PACKAGE = "Django"
APPS = []
SETTINGS = {
    "CACHES": {
        "default": {
            "BACKEND": "django.core.cache.backends.db.DatabaseCache",
            "LOCATION": "cache",
        },
    },
}


def count():
    from django.core.cache import cache

    cache.incr("visits")


def add(value):
    from django.core.cache import cache

    return cache.add("first", value)


@case("cache.incr()", {"3.2": CONTENTS})
def counting():
    """One of the two is not counted."""
    from django.core.cache import cache

    cache.set("visits", 1)
    return count, count


@case("cache.add()", {"3.2": HOLDS})
def adding():
    return (add, "a"), (add, "b")
