# SPDX-License-Identifier: Apache-2.0
"""require_lock: a function that runs while its transaction has tables locked.

Made for production: needs Django's transactions and nothing of the C library.
On PostgreSQL it is LOCK TABLE. SQLite has one lock for all tables, which only
BEGIN IMMEDIATE takes before anything is read; Django begins otherwise.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from django.db import DatabaseError, OperationalError, connections, router
from django.db.transaction import atomic

from ..errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

MODES = ("ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE",
         "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE",
         "ACCESS EXCLUSIVE")

LOCK_NOT_AVAILABLE = "55P03"


class LockTimeout(OperationalError):
    """require_lock() did not get the lock in time. Nothing of the function has
    run; a transaction that was open before is still usable."""


class RequireLock:
    """What require_lock() returns."""

    def __init__(self, models: tuple[Any, ...], mode: str, using: str | None,
                 timeout: float | None) -> None:
        self._models = models
        self._mode = mode
        self._using = using
        self._timeout = timeout
        self._entered = threading.local()

    def __call__(self, function: F) -> F:
        if (inspect.iscoroutinefunction(function)
                or inspect.isasyncgenfunction(function)
                or inspect.isgeneratorfunction(function)):
            raise UsageError(
                f"require_lock: {function.__qualname__} is async or a "
                f"generator, and would run when the transaction has ended. "
                f"Decorate the synchronous function that it calls (async: by "
                f"sync_to_async)")

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self._locked():
                return function(*args, **kwargs)
        result: Any = wrapper
        return result  # type: ignore[no-any-return]

    def __enter__(self) -> None:
        block = self._locked()
        block.__enter__()
        if not hasattr(self._entered, "blocks"):
            self._entered.blocks = []
        self._entered.blocks.append(block)

    def __exit__(self, *raised: Any) -> None:
        self._entered.blocks.pop().__exit__(*raised)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        models = [_model(each) for each in self._models]
        alias = self._alias(models)
        if alias not in connections:
            from ._places import check_alias

            check_alias(alias)
        connection = connections[alias]
        # In one order everywhere, so that two of them cannot lock crosswise.
        tables = sorted({model._meta.db_table for model in models})
        if connection.vendor == "postgresql":
            with atomic(using=connection.alias):
                self._lock_on_postgresql(connection, tables)
                yield
        elif connection.vendor == "sqlite":
            with self._locked_on_sqlite(connection, tables):
                yield
        else:
            raise UsageError(
                f"require_lock: the database {connection.alias!r} is "
                f"{connection.vendor}; tables are locked by a transaction on "
                f"PostgreSQL and SQLite only. Use select_for_update() there")

    def _alias(self, models: list[Any]) -> str:
        if self._using is not None:
            return self._using
        aliases = {router.db_for_write(model) for model in models}
        if len(aliases) > 1:
            raise UsageError(
                f"require_lock: the models are in several databases "
                f"({', '.join(sorted(aliases))}); one lock is for one of them. "
                f"Use a require_lock() for each, in the same order everywhere, "
                f'or say using="..."')
        return str(aliases.pop())

    # PostgreSQL.

    def _lock_on_postgresql(self, connection: Any, tables: list[str]) -> None:
        names = ", ".join(map(connection.ops.quote_name, tables))
        statement = f"LOCK TABLE {names} IN {self._mode} MODE"
        if self._timeout == 0:
            statement += " NOWAIT"
        try:
            with (_lock_timeout(connection, self._timeout)
                  if self._timeout else contextlib.nullcontext()):
                with connection.cursor() as cursor:
                    cursor.execute(statement)
        except DatabaseError as error:
            if _sqlstate(error) != LOCK_NOT_AVAILABLE:
                raise
            raise self._timed_out(connection, tables) from error

    # SQLite.

    @contextlib.contextmanager
    def _locked_on_sqlite(self, connection: Any,
                          tables: list[str]) -> Iterator[None]:
        block = atomic(using=connection.alias)
        outermost = (not connection.in_atomic_block
                     and connection.get_autocommit()
                     and not getattr(connection, "_sqloom_view", None))
        with _failing_as(self._timed_out(connection, tables)):
            with _busy_timeout(connection, self._timeout):
                if outermost:
                    with _begin_immediate(connection):
                        block.__enter__()
                else:
                    _enter_and_lock(block, connection, tables[0])
        with _exited(block):
            yield

    def _timed_out(self, connection: Any, tables: list[str]) -> LockTimeout:
        waited = ("" if self._timeout is None
                  else f" in {self._timeout:g} s")
        what = ", ".join(tables)
        if connection.vendor == "sqlite":
            return LockTimeout(
                f"require_lock: the write lock for {what} could not be had"
                f"{waited}: another connection to {connection.alias!r} has it"
                + ("; or this transaction has read what another one has "
                   "changed since, and must be begun again: take the lock "
                   "before anything is read"
                   if connection.in_atomic_block else ""))
        return LockTimeout(
            f"require_lock: {what} could not be locked in {self._mode} mode"
            f"{waited}: another transaction on {connection.alias!r} has a lock "
            f"that conflicts")


def _sqlstate(error: BaseException) -> str:
    cause = error.__cause__ or error
    return str(getattr(cause, "sqlstate", None)
               or getattr(cause, "pgcode", None) or "")


@contextlib.contextmanager
def _lock_timeout(connection: Any, timeout: float) -> Iterator[None]:
    """For this statement: what the session has is put back. A failure rolls
    the block back, and the setting with it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout'), "
                       "set_config('lock_timeout', %s, true)",
                       [f"{max(1, math.ceil(timeout * 1000))}ms"])
        before = cursor.fetchone()[0]
    yield
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [before])


@contextlib.contextmanager
def _busy_timeout(connection: Any, timeout: float | None) -> Iterator[None]:
    if timeout is None:
        yield
        return
    connection.ensure_connection()
    raw = connection.connection
    before = raw.execute("PRAGMA busy_timeout").fetchone()[0]
    raw.execute(f"PRAGMA busy_timeout = {math.ceil(timeout * 1000)}")
    try:
        yield
    finally:
        raw.execute(f"PRAGMA busy_timeout = {before}")


@contextlib.contextmanager
def _begin_immediate(connection: Any) -> Iterator[None]:
    """atomic() begins so, while it holds. The connection is this thread's."""
    name = "_start_transaction_under_autocommit"

    def start() -> None:
        connection.cursor().execute("BEGIN IMMEDIATE")
    before = connection.__dict__.get(name)
    connection.__dict__[name] = start
    try:
        yield
    finally:
        if before is None:
            del connection.__dict__[name]
        else:
            connection.__dict__[name] = before


def _enter_and_lock(block: Any, connection: Any, table: str) -> None:
    """Inside of a transaction: a statement that writes takes the lock, also if
    it finds nothing to write."""
    block.__enter__()
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)} "
                           f"WHERE 0")
    except BaseException as error:
        block.__exit__(type(error), error, error.__traceback__)
        raise


@contextlib.contextmanager
def _exited(block: Any) -> Iterator[None]:
    """The with statement of a block that is entered already."""
    with contextlib.ExitStack() as stack:
        stack.push(block)
        yield


@contextlib.contextmanager
def _failing_as(timed_out: LockTimeout) -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        if "locked" not in str(error):
            raise
        raise timed_out from error


def _model(named: Any) -> Any:
    if isinstance(named, str):
        from django.apps import apps

        try:
            return apps.get_model(named)
        except (LookupError, ValueError) as error:
            raise UsageError(
                f"require_lock: there is no model {named!r}: {error}. Write it "
                f'as "app_label.Model"') from None
    return named


def require_lock(models: Any, mode: str = "ACCESS EXCLUSIVE", *,
                 using: str | None = None,
                 timeout: float | None = None) -> RequireLock:
    """The function, or the with-block, runs in a transaction that has the
    tables of the models locked. The lock is released when the outermost
    transaction ends, so nobody comes between::

        @require_lock(Account, "SHARE ROW EXCLUSIVE", timeout=2)
        def transfer(source, target, amount): ...

    models: a model, its label "app.Model", or a list of them: the lock is
    taken in the order of the tables' names, whatever the order they are told
    in. Of a model with parents it is its own table only.
    mode: one of PostgreSQL's eight ("SHARE", "EXCLUSIVE", ...), in any case,
    with spaces or underscores.
    using: the alias; by default, where the router writes the models.
    timeout: seconds to wait for the lock, 0 is not at all; by default as long
    as the session waits: lock_timeout on PostgreSQL (which is forever, if it is
    not set), the connection's timeout on SQLite (5 s).

    On SQLite the block begins by BEGIN IMMEDIATE, whatever the mode: there is
    one lock for all tables, and readers do not wait for it. Inside of a
    transaction (also that of a TestCase) the lock is had until that ends; if
    the transaction has read before, it may be too late for it.

    Raises LockTimeout (an OperationalError) if it is not had in time, and
    UsageError for an unknown mode, and on other databases.
    """
    if isinstance(models, Iterable) and not isinstance(models, (str, type)):
        listed = tuple(models)
    else:
        listed = (models,)
    for each in listed:
        if not (isinstance(each, str) or hasattr(each, "_meta")):
            raise UsageError(f"require_lock: {each!r} is neither a model nor "
                             f'the label "app.Model" of one')
    if not listed:
        raise UsageError("require_lock: no model is named")
    known = " ".join(mode.upper().replace("_", " ").split())
    if known not in MODES:
        raise UsageError(f"require_lock: {mode!r} is no mode of LOCK TABLE; "
                         f"they are {', '.join(MODES)}")
    if timeout is not None and not 0 <= timeout <= 2_000_000:
        raise UsageError(f"require_lock: timeout={timeout!r}: seconds, 0 or "
                         f"more (0: do not wait), or None")
    return RequireLock(listed, known, using, timeout)
