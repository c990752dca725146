# SPDX-License-Identifier: Apache-2.0
"""Databases that are put back after tests with real commits.

Each test database is kept (its snapshot is taken) when the first committing
test of the process needs it, or, just before it would be too late, when the
first test begins that empties it; and until the process ends or Django destroys
it. Putting back costs what was written, not what there is.

PostgreSQL: the test database itself. SQLite: the alias is led to a copy in
sqloom's store in the memory of this process (all threads may open it, locks are
those of real files) or to a file that other processes may open, too; the
caller's own connection, which a database in memory must not lose, is put aside.

Everything here is for the thread that runs the tests.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import shutil
import sqlite3
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sqloom.django import _places, _sequences
from sqloom.errors import Error, UnsupportedError, UsageError, translated

if TYPE_CHECKING:
    from sqloom._ext import Fixture

__all__ = ["Kept", "Led", "close_all", "close_database", "keep",
           "kept_as_it_is", "set_aside"]

# What makes test databases the same one: its identity, and whether other
# processes can open it.
Key = tuple[tuple[str, ...], bool]

VENDORS = ("postgresql", "sqlite")


class Kept:
    """A test database with its snapshot.

    vendor: "sqlite" or "postgresql". url: what to connect to. name: of the test
    database, as in the settings. is_stale: the last restore() failed."""

    def __init__(self, wrapper: Any, processes: bool) -> None:
        self.vendor: str = wrapper.vendor
        self.name = str(wrapper.settings_dict["NAME"])
        self._processes = processes
        self.is_stale = False
        self._open(wrapper)

    def _open(self, wrapper: Any) -> None:
        from sqloom import _ext

        if self.vendor == "postgresql":
            _sequences.rewind(wrapper)
        with translated():
            if self.vendor == "postgresql":
                self._fixture: Fixture | None = _ext.Fixture(
                    _places.conninfo(_places.libpq_parameters(wrapper)),
                    any_database=_places.check_for_tests(wrapper, False))
            else:
                with _seed(wrapper, self._other()) as path:
                    self._fixture = _ext.Fixture(path,
                                                 processes=self._processes)
            self.url: str = self._fixture.url

    def _other(self) -> Kept | None:
        """The same database of SQLite, kept in the other place: it knows what
        there was before a test emptied it."""
        for kept in _kept.values():
            if kept is not self and kept.vendor == "sqlite" and \
                    kept.name == self.name:
                return kept
        return None

    def restore(self) -> list[str]:
        """Puts back what was written. Returns a line for each session that was
        still in a transaction: it has been ended.

        UnsupportedError: the test changed what is not put back, the schema on
        PostgreSQL. Other Errors: it could not be put back."""
        if self._fixture is None:
            return []
        try:
            with translated():
                return self._fixture.restore().splitlines()
        except Error as error:
            self.is_stale = True
            if isinstance(error, UnsupportedError):
                raise UnsupportedError(_in_tests(str(error))) from None
            raise

    def renew(self, wrapper: Any) -> None:
        """As restore(), before a test: what tests before have made of the
        schema is taken as it is."""
        if self._fixture is not None and not (
                self.is_stale and self.vendor == "postgresql"):
            try:
                self.restore()
                self.is_stale = False
                return
            except UnsupportedError:
                if self.vendor == "sqlite":
                    raise
        with contextlib.suppress(Error):
            self.close()
        self.open_again(wrapper)

    def open_again(self, wrapper: Any) -> None:
        """Behind close(): a new snapshot, of what is there now."""
        self.is_stale = False
        self._open(wrapper)

    def is_open(self) -> bool:
        return self._fixture is not None

    def close(self) -> None:
        """Puts back, and takes away what was made for it."""
        fixture, self._fixture = self._fixture, None
        if fixture is not None:
            with translated():
                fixture.close()

    def forget(self) -> None:
        """In a process that was forked off: it is the parent's."""
        if self._fixture is not None:
            # Never freed: that would put back the parent's database.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._fixture))
        self._fixture = None


def _in_tests(message: str) -> str:
    """The message of the C library, in the words of tests."""
    return message.replace("when the fixture was opened",
                           "when the test began").replace(
        "make it in setup, or undo the change in the test, or open the fixture "
        "anew after it",
        "make tables in migrations, or undo the change at the end of the test. "
        "The tests behind it find the schema as it is now").replace(
        "before the fixture is put back", "before the test ends")


class Led:
    """An alias that leads to a kept database. A connection is kept from one
    time to the next."""

    def __init__(self, alias: str, kept: Kept) -> None:
        self.alias = alias
        self.kept = kept
        self._wrapper: Any = None
        self._aside: Any = None
        self._name: Any = None

    def lead(self) -> None:
        from django.db import connections

        if self.kept.vendor != "sqlite" or self._aside is not None:
            return
        shared = connections.databases[self.alias]
        aside = connections[self.alias]
        # The settings are those of all threads' wrappers; the one that is put
        # aside must still know that its database is in memory.
        aside.settings_dict = dict(shared)
        self._aside, self._name = aside, shared["NAME"]
        shared["NAME"] = self.kept.url
        if self._wrapper is None:
            self._wrapper = connections.create_connection(self.alias)
        connections[self.alias] = self._wrapper

    def unlead(self) -> None:
        from django.db import connections

        if self._aside is None:
            return
        shared = connections.databases[self.alias]
        shared["NAME"] = self._name
        self._aside.settings_dict = shared
        connections[self.alias] = self._aside
        self._aside = None


# ---- The databases of this process ------------------------------------------

_kept: dict[Key, Kept] = {}
_led: dict[tuple[str, Key], Led] = {}
_finishing = False


def _key(wrapper: Any, processes: bool) -> Key:
    return (_places.identity(wrapper),
            bool(processes) and wrapper.vendor == "sqlite")


def keep(alias: str, processes: bool = False) -> Led:
    """The test database that alias leads to, kept from now on.

    processes: on SQLite, a file, which other processes can open; else it is in
    the memory of this one. UsageError: an alias that is neither PostgreSQL nor
    SQLite, or no test database."""
    global _finishing
    from django.db import connections

    wrapper = connections[alias]
    if wrapper.vendor not in VENDORS:
        raise UsageError(
            f"the database of alias {alias!r} is {wrapper.display_name}: "
            "committing tests work on PostgreSQL and SQLite; leave the alias "
            "out of `databases`, or use Django's TransactionTestCase")
    if wrapper.vendor == "postgresql":
        _places.check_for_tests(wrapper, False)
    if not _finishing:
        _finishing = True
        _close_at_end()
    key = _key(wrapper, processes)
    if key not in _kept:
        _kept[key] = Kept(wrapper, processes)
    if (alias, key) not in _led:
        _led[alias, key] = Led(alias, _kept[key])
    return _led[alias, key]


def kept_as_it_is(alias: str) -> Kept | None:
    """The database that alias leads to at this moment, if it is kept."""
    from django.db import connections

    wrapper = connections[alias]
    identity = _places.identity(wrapper)
    for (kept_identity, _), kept in _kept.items():
        if kept.vendor == "sqlite" and kept.vendor == wrapper.vendor:
            if str(wrapper.settings_dict["NAME"]) == kept.url:
                return kept
        elif identity == kept_identity:
            return kept
    return None


@contextlib.contextmanager
def set_aside(alias: str) -> Iterator[None]:
    """For what wants the database that alias leads to for itself, such as an
    exploration: in the block the snapshot is out of the way, and what the test
    has written so far is there. The block leaves the database as it is."""
    from django.db import connections

    kept = kept_as_it_is(alias)
    if kept is None or kept.vendor != "postgresql" or not kept.is_open():
        yield
        return
    from sqloom.django import _aside

    with _aside.moved(kept, connections[alias]):
        yield


def close_database(vendor: str, name: str) -> None:
    """Django is about to destroy this test database."""
    for key, kept in list(_kept.items()):
        if (kept.vendor, kept.name) == (vendor, name):
            _close(key)


def close_all() -> None:
    """At the end of the process."""
    for key in list(_kept):
        _close(key)


def _close(key: Key) -> None:
    for of in [of for of in _led if of[1] == key]:
        _drop(_led.pop(of))
    with contextlib.suppress(Error):
        _kept.pop(key).close()


def _drop(led: Led) -> None:
    led.unlead()
    if led._wrapper is not None:
        led._wrapper.close()


def _forget() -> None:
    for kept in _kept.values():
        kept.forget()
    _kept.clear()
    _led.clear()


def _close_at_end() -> None:
    pid = os.getpid()

    def close() -> None:
        if os.getpid() == pid:
            close_all()

    atexit.register(close)
    os.register_at_fork(after_in_child=_forget)
    # A worker of `manage.py test --parallel` ends without what atexit does.
    from multiprocessing import util

    util.Finalize(None, close, exitpriority=100)


# ---- SQLite -----------------------------------------------------------------


@contextlib.contextmanager
def _seed(wrapper: Any, other: Kept | None) -> Iterator[str]:
    """A file with what an SQLite database has now, or what other has kept of
    it. A file is read as it is: the C library knows journals."""
    path = _places.sqlite_file(wrapper)
    if other is not None:
        other.restore()
        raw = sqlite3.connect(other.url, uri=True)
        with contextlib.closing(raw):
            path = _places.copy_sqlite(types.SimpleNamespace(
                alias=wrapper.alias, connection=raw,
                ensure_connection=lambda: None))
    elif path is not None:
        yield path
        return
    else:
        path = _places.copy_sqlite(wrapper)
    try:
        yield path
    finally:
        shutil.rmtree(os.path.dirname(path), ignore_errors=True)
