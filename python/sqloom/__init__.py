# SPDX-License-Identifier: Apache-2.0
"""sqloom: finds concurrency bugs in programs that use a database.

    def test_only_one_gets_the_coupon():
        sqloom.assert_race_free([(redeem, "alice"), (redeem, "bob")])

runs the two calls in every order of their SQL statements that matters, and
fails with a timeline if one of the orders ends as no serial run does. Nothing of
Django is imported here; what is made for it is in sqloom.django. Each name is
loaded when it is used for the first time: what an application uses of sqloom, a
point, a receiver that can be suspended, loads nothing that is for tests.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqloom._concurrent import (
        CallCrashed,
        CallExited,
        CallLost,
        Calls,
        CallsFailed,
        CallTimedOut,
        RemoteError,
        ResultError,
        WrappedError,
        call_concurrently,
        make_concurrent_calls,
        test_concurrently,
    )
    from sqloom._explore import assert_race_free, call_database, explore, replay
    from sqloom._ext import VERSION as __version__
    from sqloom._ext import is_explored, point
    from sqloom._report import Difference, Event, Finding, Report
    from sqloom.errors import (
        CallError,
        DatabaseError,
        Error,
        Inconclusive,
        InternalError,
        LimitError,
        RaceFound,
        TokenError,
        UnsupportedError,
        UsageError,
    )

__all__ = [
    "CallCrashed",
    "CallError",
    "CallExited",
    "CallLost",
    "CallTimedOut",
    "Calls",
    "CallsFailed",
    "DatabaseError",
    "Difference",
    "Error",
    "Event",
    "Finding",
    "Inconclusive",
    "InternalError",
    "LimitError",
    "RaceFound",
    "RemoteError",
    "Report",
    "ResultError",
    "TokenError",
    "UnsupportedError",
    "UsageError",
    "WrappedError",
    "__version__",
    "assert_race_free",
    "call_concurrently",
    "call_database",
    "explore",
    "is_explored",
    "make_concurrent_calls",
    "point",
    "replay",
    "test_concurrently",
]

# Where each name comes from.
_PLACES = {
    "CallCrashed": "_concurrent",
    "CallError": "errors",
    "CallExited": "_concurrent",
    "CallLost": "_concurrent",
    "CallTimedOut": "_concurrent",
    "Calls": "_concurrent",
    "CallsFailed": "_concurrent",
    "DatabaseError": "errors",
    "Difference": "_report",
    "Error": "errors",
    "Event": "_report",
    "Finding": "_report",
    "Inconclusive": "errors",
    "InternalError": "errors",
    "LimitError": "errors",
    "RaceFound": "errors",
    "RemoteError": "_concurrent",
    "Report": "_report",
    "ResultError": "_concurrent",
    "TokenError": "errors",
    "UnsupportedError": "errors",
    "UsageError": "errors",
    "WrappedError": "_concurrent",
    "assert_race_free": "_explore",
    "call_concurrently": "_concurrent",
    "call_database": "_explore",
    "explore": "_explore",
    "is_explored": "_ext",
    "make_concurrent_calls": "_concurrent",
    "point": "_ext",
    "replay": "_explore",
    "test_concurrently": "_concurrent",
}

# What tests use, and an application does not.
_FOR_TESTS = ("_concurrent", "_explore")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("sqloom._ext").VERSION
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{place}"), name)
    if place in _FOR_TESTS:
        watch_sqlite()
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def watch_sqlite() -> None:
    """From now on SQLite's statements can be seen in this process.

    SQLite shares a database in memory (Django's test databases) among connections
    that were opened with the same VFS: ours must be there before the first one,
    so this is called when tests are imported.
    """
    from sqloom import _ext

    _ext.sqlite_mode()


# Tests are being imported, and what they need of us they may name later.
if "pytest" in sys.modules or "django.test.runner" in sys.modules:
    watch_sqlite()
