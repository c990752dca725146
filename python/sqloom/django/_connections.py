# SPDX-License-Identifier: Apache-2.0
"""Who has a connection to which database, and since where.

Every connection that Django opens while sqloom's test cases are in use is
known: its thread, its alias, the line of the user's code that opened it, its
last SQL. At the end of a test those that are left over are named and closed;
before Django destroys a test database so are all the rest, sessions of other
processes included.

A connection costs a walk up the stack when it is opened, a statement less than
a microsecond. Wrappers of connections are only known weakly: a connection that
nobody uses any more is closed by Python, as always.
"""

from __future__ import annotations

import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = [
    "Connection",
    "LeftoverConnectionWarning",
    "LeftoverTransaction",
    "close_others",
    "close_own",
    "in_transaction",
    "is_worn",
    "left_by_others",
    "own_transaction",
    "track",
    "watch",
]

SQL_SHOWN = 200
SESSIONS_SHOWN = 10
# How long sessions of programs that have ended may take to go.
GRACE_S = 1.0
STEP_S = 0.02

# Frames of these are passed over on the way to the user's code.
_NOT_THE_USERS = frozenset(
    "asgiref asyncio concurrent contextlib django functools pluggy psycopg "
    "psycopg2 pytest _pytest pytest_django queue socketserver sqlite3 sqloom "
    "threading unittest".split()
)
# The first letters of statements that leave nothing behind in a session.
_PLAIN = frozenset("SEL INS UPD DEL SAV REL ROL BEG COM WIT".split())
_STICKY = ("pg_advisory", "set_config")


class LeftoverConnectionWarning(UserWarning):
    """A test, or a whole run, left connections open; they have been closed."""


class LeftoverTransaction(AssertionError):
    """A test ended, and a transaction was still open; it was rolled back."""


class Connection:
    """What is known of a connection. Also the execute wrapper that learns it:
    called by Django around each statement, on the connection's thread."""

    __slots__ = ("wrapper", "alias", "thread_name", "thread", "native_id",
                 "place", "sql", "sticky", "listener", "told", "__weakref__")

    def __init__(self, wrapper: Any) -> None:
        self.wrapper: Callable[[], Any] = weakref.ref(wrapper)
        self.alias: str = wrapper.alias
        self.listener: Callable[[Any, Any, Any, bool], None] | None = None
        self.opened()

    def opened(self) -> None:
        """The calling thread has just connected it."""
        thread = threading.current_thread()
        self.thread_name = thread.name
        self.thread: Callable[[], threading.Thread | None] = weakref.ref(thread)
        self.native_id = threading.get_native_id()
        self.place = _place()
        self.sql: Any = None
        self.sticky = False
        self.told = False

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any,
                 many: bool, context: Any) -> Any:
        self.sql = sql
        if not self.sticky and (
            type(sql) is not str
            or (sql[:3] not in _PLAIN
                and sql.lstrip()[:3].upper() not in _PLAIN)
            or any(word in sql for word in _STICKY)
        ):
            self.sticky = True
        if self.listener is None:
            return execute(sql, params, many, context)
        if many:
            params = list(params)
        result = execute(sql, params, many, context)
        self.listener(self.wrapper(), sql, params, many)
        return result

    def is_open(self) -> bool:
        wrapper = self.wrapper()
        return wrapper is not None and wrapper.connection is not None

    def is_alive(self) -> bool:
        """Is the thread that opened it still running?"""
        thread = self.thread()
        return thread is not None and thread.is_alive()

    def is_in_transaction(self) -> bool:
        wrapper = self.wrapper()
        return wrapper is not None and in_transaction(wrapper)

    def name_in_fixture(self) -> str:
        """How the C library calls it, when it ends it: so does the line about
        it begin."""
        wrapper = self.wrapper()
        if wrapper is None or wrapper.connection is None:
            return "gone"
        if wrapper.vendor == "sqlite":
            return f"connection of thread {self.native_id} "
        try:
            return f"server process {wrapper.connection.info.backend_pid} "
        except Exception:
            return "closed"

    def describe(self) -> str:
        """A line for people."""
        state = "in a transaction" if self.is_in_transaction() else "idle"
        running = "" if self.is_alive() else " (ended)"
        return (f"thread {self.thread_name!r}{running}, database alias "
                f"{self.alias!r}, opened at {self.place}, {state}; last SQL: "
                f"{_shorten(self.sql)}")


_known: weakref.WeakSet[Connection] = weakref.WeakSet()
_known_lock = threading.Lock()
_watching = False


def _shorten(sql: Any) -> str:
    if sql is None:
        return "none"
    text = " ".join(str(sql).split())
    return text if len(text) <= SQL_SHOWN else text[: SQL_SHOWN - 3] + "..."


def _place() -> str:
    """The line of the user's code that is running, as file:line in function."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__") or ""
        if module.partition(".")[0] not in _NOT_THE_USERS:
            code = frame.f_code
            return f"{code.co_filename}:{frame.f_lineno} in {code.co_name}()"
        frame = frame.f_back
    return "a place that is not known"


# ---- Learning ---------------------------------------------------------------


def track(wrapper: Any) -> Connection:
    """What is known of the connection of a DatabaseWrapper; from now on."""
    for known in wrapper.execute_wrappers:
        if isinstance(known, Connection):
            return known
    made = Connection(wrapper)
    # First: connection.execute_wrapper() takes away the last one at its end.
    wrapper.execute_wrappers.insert(0, made)
    with _known_lock:
        _known.add(made)
    return made


def _on_connected(*, connection: Any, **_: Any) -> None:
    track(connection).opened()


def watch() -> None:
    """From now on connections are known, and none is in the way when Django
    destroys a test database. Once for a process."""
    global _watching
    if _watching:
        return
    _watching = True
    from django.db.backends.base.creation import BaseDatabaseCreation
    from django.db.backends.signals import connection_created

    connection_created.connect(_on_connected, dispatch_uid="sqloom")
    destroy = BaseDatabaseCreation._destroy_test_db

    def destroy_alone(self: Any, test_database_name: str,
                      verbosity: int) -> Any:
        _make_way(self, test_database_name)
        return destroy(self, test_database_name, verbosity)

    BaseDatabaseCreation._destroy_test_db = destroy_alone


def _all_open() -> list[Connection]:
    with _known_lock:
        return [known for known in _known if known.is_open()]


# ---- The state of a connection ----------------------------------------------


def in_transaction(wrapper: Any) -> bool:
    """Has its connection an open transaction? From whatever thread; nothing is
    sent."""
    raw = wrapper.connection
    if raw is None:
        return False
    if wrapper.vendor == "sqlite":
        try:
            return bool(raw.in_transaction)
        except wrapper.Database.ProgrammingError:
            return False  # its thread is just closing it
    info = getattr(raw, "info", None)
    # psycopg2 and psycopg 3: 0 is idle, 4 not known.
    status = getattr(info, "transaction_status", 0)
    return int(status) in (1, 2, 3)


def is_worn(wrapper: Any) -> bool:
    """Is its connection one that the next test had better not get: lost, or
    with settings, temporary tables or locks of this test in its session?"""
    if wrapper.connection is None:
        return False
    if wrapper.vendor != "sqlite" and wrapper.connection.closed:
        return True
    return bool(
        track(wrapper).sticky
        or wrapper.errors_occurred
        or wrapper.needs_rollback
        or wrapper.run_on_commit
        or wrapper.autocommit != wrapper.settings_dict["AUTOCOMMIT"]
    )


def own_transaction(wrapper: Any) -> str | None:
    """A line about the transaction that the calling thread has left open."""
    if not (in_transaction(wrapper) or wrapper.in_atomic_block):
        return None
    if wrapper.connection is None:
        return None
    return track(wrapper).describe()


def close_own(wrapper: Any) -> None:
    """Closes a connection of the calling thread, whatever it is in."""
    wrapper.in_atomic_block = False
    wrapper.closed_in_transaction = False
    wrapper.needs_rollback = False
    wrapper.savepoint_ids = []
    if hasattr(wrapper, "atomic_blocks"):
        wrapper.atomic_blocks = []
    wrapper.close()


# ---- What is left over ------------------------------------------------------


def left_by_others(patience_s: float = 0) -> list[Connection]:
    """Open connections that threads other than the calling one have opened and
    that were not told yet. Threads that are running have so many seconds to
    close theirs."""
    here = threading.current_thread()
    end = time.monotonic() + patience_s
    while True:
        left = [known for known in _all_open()
                if known.thread() is not here and not known.told]
        if not any(known.is_alive() for known in left) or \
                time.monotonic() >= end:
            return left
        time.sleep(STEP_S)


def close_others(connections: Iterable[Connection]) -> None:
    """Closes connections of other threads. The thread of one may go on: it
    connects anew when it needs to. SQLite's are left to a thread that is still
    running: it may be inside of a statement."""
    for known in connections:
        wrapper = known.wrapper()
        if wrapper is None or wrapper.connection is None:
            continue
        if wrapper.vendor == "sqlite" and known.is_alive():
            known.told = True
            continue
        wrapper.inc_thread_sharing()
        try:
            close_own(wrapper)
        except Exception:
            # It was lost: the server has ended it.
            wrapper.connection = None
        finally:
            wrapper.dec_thread_sharing()


# ---- Before a database is destroyed -----------------------------------------


def _sessions(cursor: Any, database: str) -> list[tuple[int, str]]:
    cursor.execute(
        "SELECT pid, coalesce(nullif(application_name, ''), 'no name') || ', ' "
        "|| coalesce(state, 'state not known') || '; last SQL: ' || "
        "coalesce(nullif(left(regexp_replace(query, '\\s+', ' ', 'g'), 200), "
        "''), 'none') FROM pg_stat_activity WHERE datname = %s AND pid <> "
        "pg_backend_pid() AND backend_type = 'client backend' ORDER BY pid",
        [database],
    )
    return [(int(pid), str(text)) for pid, text in cursor.fetchall()]


def _end_sessions(creation: Any, database: str) -> Iterator[str]:
    """Ends what other programs have open on the server, a line each. Who is
    just ending may do so."""
    with creation._nodb_cursor() as cursor:
        sessions = _sessions(cursor, database)
        patience = time.monotonic() + GRACE_S
        while sessions and time.monotonic() < patience:
            time.sleep(STEP_S)
            sessions = _sessions(cursor, database)
        for pid, text in sessions:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
            yield f"server process {pid} ({text})"


def _make_way(creation: Any, database: str) -> None:
    from sqloom.django import _fixtures

    _fixtures.close_database(creation.connection.vendor, database)
    if creation.connection.vendor != "postgresql":
        return
    left = [known for known in _all_open()
            if _name_of(known) == database]
    lines = [known.describe() for known in left]
    close_others(left)
    try:
        lines.extend(_end_sessions(creation, database))
    except Exception as error:
        # Not our job to fail: the server then says who is in the way.
        lines.append(f"and the server's sessions cannot be asked for: {error}")
    if lines:
        more = len(lines) - SESSIONS_SHOWN
        if more > 0:
            lines[SESSIONS_SHOWN:] = [f"and {more} more"]
        warnings.warn(
            f"the tests left connections to {database} open, which would have "
            "kept Django from destroying it; they have been closed:\n  "
            + "\n  ".join(lines),
            LeftoverConnectionWarning,
            stacklevel=2,
        )


def _name_of(known: Connection) -> str | None:
    wrapper = known.wrapper()
    return None if wrapper is None else str(wrapper.settings_dict["NAME"])
