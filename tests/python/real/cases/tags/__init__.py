# SPDX-License-Identifier: Apache-2.0
"""Django's get_or_create() and update_or_create() where no constraint keeps a
second row out, and where one does."""

from real.case import CONTENTS, HOLDS, LOCKED, case

PACKAGE = "Django"
APPS = ["real.cases.tags"]


def get_or_create(model):
    from real.cases.tags import models

    row, _ = getattr(models, model).objects.get_or_create(name="new")
    return row.name


def update_or_create(model):
    from real.cases.tags import models

    row, _ = getattr(models, model).objects.update_or_create(
        name="new", defaults={"uses": 1})
    return row.name


@case("get_or_create() without a constraint", {"3.2": CONTENTS})
def getting():
    """Two rows; from then on MultipleObjectsReturned."""
    return (get_or_create, "Tag"), (get_or_create, "Tag")


@case("update_or_create() without a constraint",
      {"3.2": (LOCKED, CONTENTS)})
def updating():
    """Two rows; from then on MultipleObjectsReturned."""
    return (update_or_create, "Tag"), (update_or_create, "Tag")


@case("get_or_create() of a unique name", {"3.2": HOLDS})
def getting_unique():
    return (get_or_create, "UniqueTag"), (get_or_create, "UniqueTag")


@case("update_or_create() of a unique name", {"3.2": (LOCKED, HOLDS)})
def updating_unique():
    return (update_or_create, "UniqueTag"), (update_or_create, "UniqueTag")
