# SPDX-License-Identifier: Apache-2.0
"""django-annoying makes a profile when it is first read (pull requests 41 and
90)."""

from real.case import ERROR, HOLDS, LOCKED, case

PACKAGE = "django-annoying"
APPS = ["real.cases.profiles"]


def read():
    from real.cases.profiles.models import Person

    return Person.objects.get().profile.level


@case("first read of person.profile",
      {"0.10.4": (LOCKED, ERROR), "0.10.5": (LOCKED, HOLDS)})
def first():
    """RelatedObjectDoesNotExist, though the row is made if it is missing."""
    from real.cases.profiles.models import Person

    Person.objects.create()
    return read, read
