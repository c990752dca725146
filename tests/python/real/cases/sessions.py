# SPDX-License-Identifier: Apache-2.0
"""Django's sessions in the database: read whole, written whole; and a session
that was ended meanwhile does not come back (ticket 21608)."""

from real.case import CONTENTS, ERROR, case

PACKAGE = "Django"
APPS = []


def put(key, item):
    from django.contrib.sessions.backends.db import SessionStore

    session = SessionStore(key)
    session["cart"] = session.get("cart", []) + [item]
    session.save()


def log_out(key):
    from django.contrib.sessions.backends.db import SessionStore

    SessionStore(key).flush()


def begin():
    from django.contrib.sessions.backends.db import SessionStore

    session = SessionStore()
    session["cart"] = []
    session.create()
    return session.session_key


@case("two items into a cart", {"3.2": CONTENTS})
def cart():
    """One of the two items is lost."""
    key = begin()
    return (put, key, "book"), (put, key, "pen")


@case("an item while the session ends", {"3.2": ERROR})
def ended():
    """An UpdateError, which the middleware answers with status 400."""
    key = begin()
    return (put, key, "book"), (log_out, key)
