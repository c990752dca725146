# SPDX-License-Identifier: Apache-2.0
"""Leads the connections of Django's aliases to the database that is explored.

While an exploration goes on, django.db.connections has other thread-locals and
other settings for the aliases that lead to the explored database. So every
thread that asks for a connection, whoever started it and when, gets a new one
that is led; and every connection that was there before, the caller's above all,
is put aside untouched and comes back at the end.

Kept connections: those of the calls' threads from run to run; those of threads
that have ended (a pool inside of a view) for the next thread that needs one.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from sqloom.django import _clients, _clock, _fixtures, _places, _threads
from sqloom.errors import Error, UsageError

__all__ = ["Leading", "leading"]

_STALL_AFTER_MS = 300
_VENDORS = ("postgresql", "sqlite")
_busy = threading.Lock()


def _stall_after_ms() -> int:
    """When a call is passed over that does nothing: a thread of a pool may be
    connecting meanwhile, or a worker may be at a task."""
    workers = sys.modules.get("sqloom.django.celery")
    if workers is not None and workers.is_used():
        return int(workers.STALL_AFTER_MS)
    return _STALL_AFTER_MS


# ---- Refusals ---------------------------------------------------------------


def _check_vendor(wrapper: Any) -> None:
    if wrapper.vendor in _VENDORS:
        return
    what = getattr(wrapper, "display_name", "") or wrapper.vendor
    raise UsageError(
        f"alias {wrapper.alias!r} is of {what}: sqloom explores PostgreSQL and "
        "SQLite. Give an alias that is one of these (using=...)"
    )


def _check_allowed(wrapper: Any) -> None:
    """Django's test cases put something else in the place of the methods of
    aliases that are not in their `databases`."""
    message = getattr(wrapper.connect, "message", None)
    if message:
        raise UsageError(f"alias {wrapper.alias!r} cannot be explored: "
                         f"{message}")


def _is_in_transaction(wrapper: Any) -> bool:
    if wrapper.in_atomic_block or hasattr(wrapper, "_sqloom_view"):
        return True
    return wrapper.connection is not None and not wrapper.autocommit


def _check_committed(wrapper: Any) -> None:
    if not _is_in_transaction(wrapper):
        return
    raise UsageError(
        f"a transaction is open on alias {wrapper.alias!r}: what it wrote is "
        "not committed, so the calls, which have connections of their own, "
        "would not see it. If this is a django.test.TestCase, derive it from "
        "sqloom.django.CommittingTestCase (or TransactionTestCase); in pytest "
        "mark it @pytest.mark.committing (or django_db(transaction=True)); "
        "elsewhere explore outside of transaction.atomic()"
    )


# ---- Connections that are led -----------------------------------------------


class _Led:
    """A DatabaseWrapper that leads to the explored database, and whose it is.

    thread: None for a call's own, which says itself when it ends.
    """

    def __init__(self, wrapper: Any, thread: threading.Thread | None) -> None:
        self.wrapper = wrapper
        self.thread = thread
        _name_alike(wrapper)

    def is_free(self) -> bool:
        return self.thread is not None and not self.thread.is_alive()

    def is_fit(self) -> bool:
        """Can the next run have it? Sends nothing."""
        wrapper = self.wrapper
        if wrapper.connection is None:
            return not (wrapper.in_atomic_block or wrapper.closed_in_transaction)
        if _is_in_transaction(wrapper) or wrapper.closed_in_transaction:
            return False
        if wrapper.vendor == "sqlite":
            return not wrapper.connection.in_transaction
        if wrapper.connection.closed:
            return False
        # A server that has ended the session has said so already.
        poll = select.poll()
        poll.register(wrapper.connection.fileno(), select.POLLIN)
        return not poll.poll(0)

    def refresh(self) -> None:
        """What a new request finds, and no statement depends on the runs
        before."""
        wrapper = self.wrapper
        wrapper.errors_occurred = False
        wrapper.needs_rollback = False
        wrapper.savepoint_state = 0
        wrapper.run_on_commit = []
        wrapper.queries_log.clear()
        if hasattr(wrapper, "_named_cursor_idx"):
            wrapper._named_cursor_idx = 0

    def adopt(self) -> Any:
        """Makes it the calling thread's."""
        self.thread = threading.current_thread()
        self.wrapper._thread_ident = threading.get_ident()
        self.refresh()
        return self.wrapper

    def close(self) -> None:
        _close(self.wrapper)


def _name_alike(wrapper: Any) -> None:
    """Names of savepoints and of cursors in the server have the thread's number
    in them, which is another one in each process; a schedule that is replayed
    has the same statements."""
    cursor = wrapper._cursor

    def savepoint() -> str | None:
        if not wrapper._savepoint_allowed():
            return None
        wrapper.savepoint_state += 1
        name = f"s_x{wrapper.savepoint_state}"
        wrapper.validate_thread_sharing()
        wrapper._savepoint(name)
        return name

    def named_cursor(name: str | None = None) -> Any:
        if name and name.startswith("_django_curs_"):
            name = "_django_curs_" + name.rpartition("_")[2]
        return cursor(name)

    wrapper.savepoint = savepoint
    wrapper._cursor = named_cursor


def _close(wrapper: Any) -> None:
    """Closes a connection of whatever thread, in whatever state."""
    wrapper.inc_thread_sharing()
    wrapper.in_atomic_block = False
    wrapper.closed_in_transaction = False
    # It may be gone already, and nobody waits for what it says.
    with contextlib.suppress(Exception):
        wrapper.close()
    wrapper.connection = None


# ---- Leading ----------------------------------------------------------------


class Leading:
    """What leading() gives.

    database: for the option of this name of the C binding.
    options: more options of the C binding, which the caller's own go before.
    aliases: those that lead to the explored database.
    """

    def __init__(self, alias: str, any_database: bool) -> None:
        from django.db import connections

        self.aliases = _places.aliases_of(alias, connections)
        self.options: dict[str, Any] = {}
        self._alias = alias
        self._vendor: str = connections[alias].vendor
        self._caller = threading.get_ident()
        self._lock = threading.RLock()
        self._of_call: dict[int, dict[str, _Led]] = {}  # by thread
        self._of_others: list[_Led] = []  # threads that calls have started
        self._foreign: list[Any] = []  # of calls, to other databases
        self._asking: dict[str, _Led] = {}  # of the caller's thread
        self._made: dict[tuple[str, str, bool], dict[str, Any]] = {}
        self._seed: str | None = None  # its directory
        self._refused: str | None = None
        self._separation = _clients.Separation()
        self._inside = _threads.Inside()
        _check_allowed(connections[alias])
        for one in self.aliases:
            _check_committed(connections[one])
        if self._vendor == "postgresql":
            if _places.check_for_tests(connections[alias], any_database):
                self.options["any_database"] = True
            self.options["stall_after_ms"] = _stall_after_ms()
            self.database = _places.conninfo(
                _places.libpq_parameters(connections[alias])
            )
        else:
            self.database = self._sqlite_database(connections[alias])
        self._original = {one: connections.databases[one]
                          for one in self.aliases}

    def _sqlite_database(self, wrapper: Any) -> str:
        path = _places.sqlite_file(wrapper)
        if path is None:
            path = _places.copy_sqlite(wrapper)
            self._seed = os.path.dirname(path)
        return path

    # ---- What E's module calls ----

    def open_call(self, database: str | None) -> None:
        """Called on the thread of a call before each run: the thread's
        connections lead to database. Sends nothing, and connects to nothing:
        that is done when the call asks for it."""
        from django.db import connections

        self._separation.begin_run()
        mine = self._of_call.setdefault(threading.get_ident(), {})
        for alias in self.aliases:
            settings = self._settings(alias, database, False)
            # For the threads that the call starts.
            connections.databases[alias] = settings
            led = mine.get(alias)
            if led and (led.wrapper.settings_dict is not settings
                        or not led.is_fit()):
                led.close()
                led = None
            if not led:
                led = mine[alias] = _Led(self._new(alias), None)
            led.refresh()
            connections[alias] = led.wrapper

    def drop(self) -> None:
        """Called on the thread of a call when it ends."""
        self._separation.end_thread()
        for led in self._of_call.pop(threading.get_ident(), {}).values():
            led.close()

    @contextlib.contextmanager
    def check_thread(self, database: str | None) -> Iterator[None]:
        """For the set-up and the check: inside of the block the ORM of the
        caller's thread sees the explored database."""
        from django.db import connections

        before = {alias: connections.databases[alias] for alias in self.aliases}
        for alias in self.aliases:
            settings = self._settings(alias, database, True)
            connections.databases[alias] = settings
            led = self._asking.get(alias)
            if led and (led.wrapper.settings_dict is not settings
                        or not led.is_fit()):
                led.close()
                led = None
            if not led:
                led = self._asking[alias] = _Led(self._new(alias), None)
            led.refresh()
            connections[alias] = led.wrapper
        try:
            yield
        finally:
            for alias, settings in before.items():
                connections.databases[alias] = settings
                if not self._asking[alias].is_fit():
                    self._asking.pop(alias).close()

    # ---- Settings and wrappers ----

    def _settings(self, alias: str, database: str | None,
                  asking: bool) -> dict[str, Any]:
        """The same dictionary for the same question: wrappers are compared by
        it."""
        key = (alias, database or self.database, asking)
        with self._lock:
            if key not in self._made:
                self._made[key] = self._new_settings(*key)
            return self._made[key]

    def _new_settings(self, alias: str, database: str,
                      asking: bool) -> dict[str, Any]:
        original = self._original[alias]
        if self._vendor == "sqlite":
            return {**_places.lasting(original), "NAME": database}
        if asking:
            return _places.asking_settings(original, database)
        return _places.led_settings(original, database)

    @staticmethod
    def _new(alias: str) -> Any:
        """A wrapper with the settings that the alias has now."""
        from django.db import connections

        return type(connections).create_connection(connections, alias)

    def _create(self, alias: str) -> Any:
        """In the place of connections.create_connection(): a thread asks for
        its connection the first time."""
        if alias in self.aliases:
            return self._create_led(alias)
        made = self._new(alias)
        if threading.get_ident() != self._caller:
            made.execute_wrappers.append(self._refusal(alias))
            with self._lock:
                self._foreign.append(made)
        return made

    def _create_led(self, alias: str) -> Any:
        from django.db import connections

        settings = connections.databases[alias]
        with self._lock:
            for led in list(self._of_others):
                if led.wrapper.alias != alias or not led.is_free():
                    continue
                if led.wrapper.settings_dict is settings and led.is_fit():
                    return led.adopt()
                self._of_others.remove(led)
                led.close()
            made = _Led(self._new(alias), threading.current_thread())
            self._of_others.append(made)
            self._inside.watch(made.wrapper)
            return made.wrapper

    def _waits_for_threads(self) -> bool:
        """Is this the thread of a call, and in no transaction? The threads that
        it starts might wait for its locks."""
        mine = self._of_call.get(threading.get_ident())
        return mine is not None and not any(
            _is_in_transaction(led.wrapper) for led in mine.values())

    def _refusal(self, alias: str) -> Callable[..., Any]:
        """A wrapper of statements on a database that is not explored: there
        they would be seen by nobody, and stay."""
        def refuse(execute: Any, sql: Any, params: Any, many: Any,
                   context: Any) -> Any:
            self._refused = self._refused or (
                f"a call uses alias {alias!r}, which is another database than "
                f"{_places.in_words(self.aliases)}: its statements would not "
                "be seen, and what they write would not be put back. One "
                "database is explored at a time: say which (using=...), or let "
                f"the aliases lead to one database (TEST = {{\"MIRROR\": "
                f"{self._alias!r}}}). The statement: {str(sql)[:200]}"
            )
            raise UsageError(self._refused)

        return refuse

    # ---- Begin and end ----

    @contextlib.contextmanager
    def lead(self) -> Iterator[Leading]:
        """The aliases are led inside of the block."""
        from asgiref.local import Local
        from django.db import connections

        aside = connections._connections
        locals_: Any = Local(connections.thread_critical)
        # The caller may use its other databases in a check.
        for alias in connections:
            if alias not in self.aliases and hasattr(aside, alias):
                setattr(locals_, alias, getattr(aside, alias))
        connections._connections = locals_
        connections.create_connection = self._create
        try:
            with _clients.separated(self._separation), \
                    _threads.one_by_one(self._waits_for_threads, self._inside):
                yield self
        finally:
            del connections.create_connection
            connections._connections = aside
            connections.databases.update(self._original)
            self._close_all()

    def _close_all(self) -> None:
        """But for those of calls that never came back, which may be in the
        middle of a statement."""
        for led in [*self._asking.values(), *self._of_others]:
            led.close()
        for wrapper in self._foreign:
            _close(wrapper)
        self._asking.clear()
        self._of_others.clear()
        self._foreign.clear()

    def remove_seed(self) -> None:
        """Removes the copy of a database in memory."""
        if self._seed:
            shutil.rmtree(self._seed, ignore_errors=True)

    def tell_refusal(self, error: BaseException | None) -> None:
        """Raises what a call was refused: it is the cause of all that came
        behind it."""
        if self._refused and (error is None or isinstance(error, Error)):
            raise UsageError(self._refused) from error


@contextlib.contextmanager
def leading(using: str | None = None, *,
            any_database: bool = False) -> Iterator[Leading]:
    """Leads the alias using (None: "default"), and all that are the same
    database, to the one that is explored inside of the block.

    any_database: also a PostgreSQL database that does not look like one for
    tests. Raises UsageError: there is no such alias; it is neither PostgreSQL
    nor SQLite; a transaction of the caller's is open there; it looks like one
    in production; another exploration leads connections; and, at the end, when
    a call has used a database that is not explored.
    """
    from django.db import DEFAULT_DB_ALIAS, connections

    alias = DEFAULT_DB_ALIAS if using is None else using
    _places.check_alias(alias)
    _check_vendor(connections[alias])
    if not _busy.acquire(blocking=False):
        raise UsageError(
            "an exploration inside of another one, or beside one on another "
            "thread of this process: explore one thing after the other"
        )
    try:
        made = Leading(alias, any_database)
        try:
            with _fixtures.set_aside(alias), _clock.pinned_signatures(), \
                    made.lead():
                yield made
        except BaseException as error:
            made.tell_refusal(error)
            raise
        else:
            made.tell_refusal(None)
        finally:
            made.remove_seed()
    finally:
        _busy.release()
