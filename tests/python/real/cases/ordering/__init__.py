# SPDX-License-Identifier: Apache-2.0
"""django-ordered-model numbers rows: max() + 1; moves (#184, #217, #260)."""

from real.case import CONTENTS, case

PACKAGE = "django-ordered-model"
APPS = ["real.cases.ordering"]


def items():
    from real.cases.ordering.models import Song

    return [Song.objects.create(name=name) for name in "abcd"]


def create(name):
    from real.cases.ordering.models import Song

    Song.objects.create(name=name)


def move(name, place):
    from real.cases.ordering.models import Song

    Song.objects.get(name=name).to(place)


def move_to_top(name):
    from real.cases.ordering.models import Song

    Song.objects.get(name=name).top()


@case("create()", {"3.6": CONTENTS})
def creation():
    """Two rows with the same number."""
    items()
    return (create, "x"), (create, "y")


@case("to(0)", {"3.6": CONTENTS})
def moving():
    """Two rows with the same number."""
    items()
    return (move, "d", 0), (move, "c", 0)


@case("top()", {"3.6": CONTENTS})
def topping():
    """Two rows with the same number."""
    items()
    return (move_to_top, "d"), (move_to_top, "c")
