# SPDX-License-Identifier: Apache-2.0
"""sqloom: finds concurrency bugs in programs that use a database.

    def test_only_one_gets_the_coupon():
        sqloom.assert_race_free([(redeem, "alice"), (redeem, "bob")])

runs the two calls in every order of their SQL statements that matters, and
fails with a timeline if one of the orders ends as no serial run does. Nothing of
Django is imported here; what is made for it is in sqloom.django.
"""

from __future__ import annotations

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
from sqloom._ext import sqlite_mode as _sqlite_mode
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

# SQLite shares a database in memory (Django's test databases) among connections
# that were opened with the same VFS: ours must be there before the first one.
_sqlite_mode()

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
