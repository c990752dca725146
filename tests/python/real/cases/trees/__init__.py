# SPDX-License-Identifier: Apache-2.0
"""django-treebeard computes the path of a new node from its last sibling's
(#53)."""

from real.case import CONTENTS, ERROR, HOLDS, LOCKED, case

PACKAGE = "django-treebeard"
APPS = ["treebeard", "real.cases.trees"]


def add_child(name):
    from real.cases.trees.models import Node

    Node.objects.get(name="root").add_child(name=name)


def add_root(name):
    from real.cases.trees.models import Node

    Node.add_root(name=name)


@case("add_child() of a leaf", {"4.6.1": CONTENTS, "5.0.2": ERROR,
                                "5.0.3": (LOCKED, HOLDS)})
def first_child():
    """An IntegrityError, and in 4.6.1 the parent counts a child that is not
    there."""
    add_root("root")
    return (add_child, "x"), (add_child, "y")


@case("add_child() of a parent", {"4.6.1": CONTENTS, "5.0.2": (LOCKED, ERROR),
                                  "5.0.3": (LOCKED, HOLDS)})
def further_child():
    """An IntegrityError, and in 4.6.1 the parent counts a child that is not
    there."""
    add_root("root")
    add_child("w")
    return (add_child, "x"), (add_child, "y")


@case("add_root()", {"4.6.1": ERROR, "5.0.2": (LOCKED, ERROR),
                     "5.0.3": (LOCKED, HOLDS)})
def root():
    """An IntegrityError."""
    add_root("root")
    return (add_root, "x"), (add_root, "y")
