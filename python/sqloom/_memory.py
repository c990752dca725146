# SPDX-License-Identifier: Apache-2.0
"""SQLite databases that live in the memory of the test process, and clean
processes that need them: each is copied to a file before the calls, and back
afterwards."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator
from types import TracebackType
from typing import Any

from sqloom._surroundings import django_is_ready
from sqloom.errors import UsageError

__all__ = ["MemoryCopies", "own_prefix"]

_SHARED_MEMORY = "/dev/shm"
_IN_USE = (5, 6)  # SQLITE_BUSY, SQLITE_LOCKED
# Who has copies of databases in memory; nobody else's are brought back
# meanwhile, or overwritten then.
_turn = threading.Lock()


class MemoryCopies:
    """Context: while it is open, `.names` are the files of the aliases whose
    databases are in memory. What the calls wrote comes back at its end, unless
    that is by an exception. Threads that need such copies take turns."""

    def __init__(self, databases: Collection[str] | None) -> None:
        self.names: dict[str, str] = {}
        self._databases = databases
        self._stack = contextlib.ExitStack()
        self._copies: list[_Copy] = []

    def __enter__(self) -> MemoryCopies:
        with contextlib.ExitStack() as stack:
            by_name: dict[str, _Copy] = {}
            in_memory = list(self._in_memory())
            if in_memory:
                stack.enter_context(_turn)
            for alias, name in in_memory:
                copy = by_name.get(name) if name != ":memory:" else None
                if copy is None:
                    copy = self._copy_out(alias, name, stack)
                if copy is not None:
                    by_name[name] = copy
                    self.names[alias] = copy.path
            self._stack = stack.pop_all()
        return self

    def _in_memory(self) -> Iterator[tuple[str, str]]:
        if not django_is_ready() or "sqlite3" not in sys.modules:
            return
        from django.db import connections

        for alias in connections:
            if self._databases is not None and alias not in self._databases:
                continue
            connection = connections[alias]
            name = str(connection.settings_dict["NAME"])
            if connection.vendor == "sqlite" and is_in_memory(name):
                yield alias, name

    def _copy_out(
        self, alias: str, name: str, stack: contextlib.ExitStack
    ) -> _Copy | None:
        from django.db import connections

        raw = connections[alias].connection
        if raw is None:
            if name == ":memory:":
                return None  # there is none yet
            raw = stack.enter_context(
                contextlib.closing(sqlite3.connect(name, uri=True))
            )
        directory = stack.enter_context(
            tempfile.TemporaryDirectory(prefix=own_prefix(), dir=_directory())
        )
        path = os.path.join(directory, f"{len(self._copies)}.sqlite3")
        copy = _Copy(alias, raw, path)
        stack.callback(copy.close)
        self._copies.append(copy)
        return copy

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._stack:
            if kind is None:
                for copy in self._copies:
                    copy.bring_back()


class _Copy:
    """One database in memory, and the file."""

    def __init__(self, alias: str, raw: Any, path: str) -> None:
        self.path = path
        self._alias = alias
        self._raw = raw
        if raw.in_transaction:
            raise UsageError(
                f"this test has a transaction open on the database {alias!r},"
                " which the calls would not see; commit it first"
            )
        self._file = sqlite3.connect(path, isolation_level=None)
        try:
            self._backup(raw, self._file)
            self._check_way_back()
            self._version = self._data_version()
        except BaseException:
            self._file.close()
            raise

    def _data_version(self) -> int:
        """Changes when somebody else writes to the file."""
        version: int = self._file.execute("PRAGMA data_version").fetchone()[0]
        return version

    def bring_back(self) -> None:
        if self._data_version() != self._version:
            self._backup(self._file, self._raw)

    def _check_way_back(self) -> None:
        """Before anything is called: can it be written? Copies one page, and
        takes that back."""

        def stop(status: int, remaining: int, total: int) -> None:
            self._refuse_in_use(status)
            if remaining:
                raise _Stopped

        with contextlib.suppress(_Stopped):
            self._backup(self._file, self._raw, pages=1, progress=stop)

    def _backup(self, source: Any, target: Any, **options: Any) -> None:
        def progress(status: int, remaining: int, total: int) -> None:
            self._refuse_in_use(status)

        try:
            source.backup(target, **{"progress": progress, **options})
        except sqlite3.OperationalError as error:
            if "in use" not in str(error):
                raise
            self._refuse_in_use(_IN_USE[0])

    def _refuse_in_use(self, status: int) -> None:
        """Else backup() tries until it can, which may be never."""
        if status in _IN_USE:
            raise UsageError(
                f"the database {self._alias!r} is in memory, and cannot be"
                " copied for clean processes, and back, while a query or a"
                " transaction on it is still open; close the cursor, read the"
                " iterator() to its end, or make the calls on threads:"
                " sqloom.Calls(threads=True)"
            )

    def close(self) -> None:
        self._file.close()


class _Stopped(Exception):
    """Ends a copy."""


def is_in_memory(name: str) -> bool:
    """Is this name one that only this process can open?"""
    if name == ":memory:" or not name:
        return True
    return name.startswith("file:") and (
        "mode=memory" in name or "vfs=" in name
        # The memory of CommittingTestCase's databases.
        or name.startswith("file:/sqloom/")
    )


def _renew_turn() -> None:
    """In a fork of the process: whoever had it is not there."""
    global _turn
    _turn = threading.Lock()


os.register_at_fork(after_in_child=_renew_turn)


@functools.lru_cache(maxsize=None)
def _prefix_of(process: int) -> str:
    """Removes, by the way, what processes left that ended by a signal."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(_SHARED_MEMORY):
            match = re.fullmatch(r"sqloom-(\d+)-\w+", entry.name)
            if (
                match is not None
                and not os.path.exists(f"/proc/{match[1]}")
                and entry.is_dir(follow_symlinks=False)
                and entry.stat(follow_symlinks=False).st_uid == os.getuid()
            ):
                shutil.rmtree(entry.path, ignore_errors=True)
    return f"sqloom-{process}-"


def own_prefix() -> str:
    """How the names of this process's directories begin."""
    return _prefix_of(os.getpid())


def _directory() -> str | None:
    if os.access(_SHARED_MEMORY, os.W_OK | os.X_OK):
        return _SHARED_MEMORY
    return None
