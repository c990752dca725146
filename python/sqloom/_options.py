# SPDX-License-Identifier: Apache-2.0
"""The arguments of explore(): checked, and as the C library has them; and the
database that they name."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import os
import re
import sys
import urllib.parse
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqloom import _ext, _value
from sqloom.errors import UsageError

__all__ = [
    "MAX_RUNS",
    "Options",
    "check_sqlite",
    "checked_function",
    "is_url",
    "place_of",
]

MAX_RUNS = 1000
LEVELS = ("read committed", "repeatable read", "serializable")
STRATEGIES = ("auto", "exhaustive", "random", "uniform", "pct")
TIME_MAX = 10**9  # seconds, of any limit
COUNT_MAX, PREEMPTIONS_MAX = (1 << 64) - 1, (1 << 31) - 1

_URL = re.compile(r"(postgres|postgresql)://|.*\b(host|hostaddr|dbname|service)\s*=")


@dataclasses.dataclass
class Options:
    """The keyword arguments of explore(), as they were given; explore() says
    what they are."""

    names: Sequence[str] | None = None
    setup: Callable[[], Any] | None = None
    database: str | os.PathLike[str] | None = None
    using: str | None = None
    queries: str | Iterable[str] = ()
    ignore: str | Iterable[str] = ()
    refusals: Any = ()
    max_runs: int | None = None
    max_time: float | None = None
    max_preemptions: int | None = None
    strategy: str | None = None
    seed: int | None = None
    strict: bool = False
    isolation: str | None = None
    pg_temp: bool = False
    any_database: bool = False
    call_limit: float | None = None
    stall_after: float | None = None
    statement_limit: float | None = None
    trace: str | os.PathLike[str] | None = None
    name: str | None = None

    def for_library(self) -> dict[str, Any]:
        """The fields of struct sqloom_options that were given, checked; not the
        database, the source and the trace."""
        made = {
            "max_runs": _count("max_runs", self.max_runs),
            "max_time_ms": _milliseconds("max_time", self.max_time),
            "max_preemptions": _count(
                "max_preemptions", self.max_preemptions, PREEMPTIONS_MAX
            ),
            "strategy": _choice("strategy", self.strategy, STRATEGIES),
            "seed": _count("seed", self.seed),
            "strict": bool(self.strict) or None,
            "ignore": _texts("ignore", self.ignore, "names of tables or columns")
            or None,
            "pg_temp": bool(self.pg_temp) or None,
            "any_database": bool(self.any_database) or None,
            "call_limit_ms": _milliseconds("call_limit", self.call_limit),
            "stall_after_ms": _milliseconds("stall_after", self.stall_after),
            "statement_limit_ms": _milliseconds(
                "statement_limit", self.statement_limit
            ),
        }
        return {name: value for name, value in made.items() if value is not None}

    def checked_queries(self) -> list[str]:
        return _texts(
            "queries", self.queries, "texts of SQL that return no row if all is well"
        )


# ---- Checks  --------------------------------------------------------------


def _texts(name: str, given: str | Iterable[str], what: str) -> list[str]:
    made = [given] if isinstance(given, str) else list(given)
    for text in made:
        if not isinstance(text, str) or not text.strip():
            raise UsageError(f"{name}= has {text!r}: give {what}")
    return made


def _milliseconds(name: str, seconds: float | None) -> int | None:
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise UsageError(f"{name}= is {seconds!r}: give a number of seconds")
    if not 0 <= seconds <= TIME_MAX:
        raise UsageError(f"{name}= is {seconds!r}: give seconds from 0 to {TIME_MAX}")
    return max(round(seconds * 1000), 1 if seconds else 0)


def _count(name: str, value: int | None, most: int = COUNT_MAX) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError(f"{name}= is {value!r}: give a number from 0 on")
    if value > most:
        raise UsageError(f"{name}= is {value!r}: the most is {most}")
    return value


def _choice(name: str, value: str | None, choices: Sequence[str]) -> str | None:
    if value is not None and value not in choices:
        raise UsageError(
            f"{name}= is {value!r}: give one of {', '.join(map(repr, choices))}"
        )
    return value


def checked_function(name: str, value: object) -> Any:
    if value is not None and not callable(value):
        raise UsageError(
            f"{name}= is {_value.clean(repr(value))}: give a function without "
            "arguments" + ("; SQL goes into queries=" if name == "check" else "")
        )
    if inspect.isgeneratorfunction(value) or inspect.isasyncgenfunction(value):
        raise UsageError(
            f"{name}= is a generator function: calling it does nothing; give a "
            "function without yield"
        )
    return value


# ---- The database ---------------------------------------------------------


def is_url(database: str) -> bool:
    return _URL.match(database) is not None


def _given_database(database: str | os.PathLike[str] | None) -> str | None:
    """As it was given, if it can be used."""
    if database is None or database == ":memory:":
        return None
    name = os.fspath(database)
    if not isinstance(name, str) or not name:
        raise UsageError(f"database= is {database!r}: give a path, or a URL")
    if is_url(name):
        return name
    scheme = re.match(r"([a-z0-9+]+)://", name)
    if scheme:
        raise UsageError(
            f"database= is of the kind {scheme[1]!r}: sqloom explores SQLite (a "
            "path) and PostgreSQL ('postgresql://...')"
        )
    if name.startswith("file:"):
        raise UsageError(
            f"database= is {name!r}: give the path of the file, not a URI"
        )
    if not os.path.isfile(name):
        what = "a folder" if os.path.isdir(name) else "not there"
        raise UsageError(
            f"database= is {name!r}, which is {what}: give the path of an SQLite "
            "file, or 'postgresql://...', or ':memory:' for an empty database, whose "
            "tables setup= makes"
        )
    return name


def _django() -> Any:
    """sqloom.django._databases, if Django is set up in this process."""
    apps = sys.modules.get("django.apps")
    if apps is None or not apps.apps.ready:
        return None
    return importlib.import_module("sqloom.django._databases")


class _Plain:
    """A database that the calls connect to themselves."""

    closes = False  # calls may leave connections open
    options: dict[str, Any] = {}  # fields of struct sqloom_options

    def __init__(self, database: str | None, isolation: str | None) -> None:
        self.database = database
        self._isolation = isolation

    def address(self, database: str | None) -> str | None:
        """What the calls connect to, for the address that the library gives."""
        if database is None or self._isolation is None:
            return database
        level = urllib.parse.quote(self._isolation.replace(" ", "\\ "))
        option = f"options=-c%20default_transaction_isolation%3D{level}"
        return f"{database}{'&' if '?' in database else '?'}{option}"

    def open_call(self, database: str | None) -> None:
        pass

    def drop(self) -> None:
        pass

    def check_thread(
        self, database: str | None
    ) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def place_of(options: Options) -> contextlib.AbstractContextManager[Any]:
    """Where it runs: a context that gives what _Plain has."""
    database, using = options.database, options.using
    isolation = _choice("isolation", options.isolation, LEVELS)
    named = database is not None or options.pg_temp
    if database is not None and options.pg_temp:
        raise UsageError(
            "pg_temp=True starts a server of its own, and database= names another: "
            "give one of the two"
        )
    django = None if named else _django()
    if django is not None and isolation is not None:
        raise UsageError(
            f"isolation={isolation!r} is for functions that connect to "
            "call_database(); for Django set it in DATABASES, or a copy of the "
            "alias: OPTIONS = {'options': '-c default_transaction_isolation="
            f"{isolation.replace(' ', chr(92) + ' ')}'}}"
        )
    if django is not None:
        leading: contextlib.AbstractContextManager[Any] = django.leading(
            using, any_database=options.any_database
        )
        return leading
    if using is not None:
        raise UsageError(
            f"using={using!r} names a database of Django's settings, and "
            + (
                "database= or pg_temp= names another: give one of them"
                if named
                else "Django is not set up: call django.setup() first"
            )
        )
    given = _given_database(database)
    if isolation and not options.pg_temp and not (given and is_url(given)):
        raise UsageError(
            f"isolation={isolation!r} is for PostgreSQL: transactions of SQLite are "
            "serializable; leave it out"
        )
    return contextlib.nullcontext(_Plain(given, isolation))


def check_sqlite() -> None:
    import sqlite3  # so that it is there to be seen

    if _ext.sqlite_mode() == "absent":
        raise UsageError(
            f"this Python has an SQLite {sqlite3.sqlite_version} of its own inside, "
            "whose statements sqloom cannot see. Use a Python that uses the "
            "system's libsqlite3, such as Debian's; or set LD_PRELOAD to "
            "libsqloom-sqlite.so; or explore on PostgreSQL"
        )
