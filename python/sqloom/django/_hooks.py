# SPDX-License-Identifier: Apache-2.0
"""commit_hooks: what runs behind a commit runs inside of TestCase, too.

TestCase runs a test inside of atomic blocks that are rolled back, so nothing
is ever committed and no hook of transaction.on_commit() ever runs. While
commit_hooks holds, a connection shows what it shows in production: no block is
open. What would begin, commit or roll back a transaction on the server does
so with a savepoint inside of the test's own transaction; everything above that
(blocks, savepoints, durable, hooks and their order, robust hooks, errors) is
Django's own code, in whatever version it is.

May use: Django's connections. Changes attributes of connection objects, of
those that have the test's own transaction open, and puts all of them back.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

from asgiref.sync import sync_to_async
from django.db import IntegrityError, ProgrammingError, connections
from django.db.transaction import Atomic

from ..errors import UsageError
from ._scope import End, Scope, wrap_method, wrap_tests

try:
    from django.db.backends.utils import debug_transaction
except ImportError:  # before Django 4.2 transactions were not logged
    def debug_transaction(connection: Any, sql: str) -> Any:
        return contextlib.nullcontext()

T = TypeVar("T")

SAVEPOINT = "sqloom_commit"

# What says on a connection that a transaction is open, and what of it is in
# the view of the test only.
STATE = ("in_atomic_block", "savepoint_ids", "atomic_blocks", "needs_rollback",
         "commit_on_exit", "autocommit", "run_on_commit",
         "run_commit_hooks_on_set_autocommit_on", "closed_in_transaction",
         "connection", "close_at", "errors_occurred")

# Words that end or begin a transaction behind Django's back.
TRANSACTION_WORDS = ("BEGIN", "START", "COMMIT", "END", "ABORT", "ROLLBACK")

# Constraints that are checked at once unless they are told to wait.
IMMEDIATE_CONSTRAINTS = """
    SELECT DISTINCT quote_ident(n.nspname) || '.' || quote_ident(c.conname)
    FROM pg_catalog.pg_constraint c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
    WHERE c.condeferrable AND NOT c.condeferred"""


class _View:
    """What one connection shows while commit_hooks holds. Its thread's only,
    as the connection is."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.raw = connection.connection
        self.begun = False  # is there a savepoint that stands for BEGIN?
        self.used = False  # has it seen a statement?
        self.changes = 0  # SQLite: rows written before it
        self.immediate: str | None = None
        self.saved: dict[str, Any] = {}
        self.replaced: list[str] = []

    # Into the view and out of it.

    def show(self) -> None:
        connection = self.connection
        self.saved = {name: getattr(connection, name) for name in STATE
                      if hasattr(connection, name)}
        connection.in_atomic_block = False
        connection.savepoint_ids = []
        if "atomic_blocks" in self.saved:
            connection.atomic_blocks = []
        connection.needs_rollback = False
        connection.commit_on_exit = True
        connection.autocommit = True
        connection.run_on_commit = []
        connection.run_commit_hooks_on_set_autocommit_on = False
        self.replace("_set_autocommit", self.set_autocommit)
        self.replace("_commit", self.commit)
        self.replace("_rollback", self.rollback)
        self.replace("_close", self.close)
        self.replace("get_new_connection", lambda params: self.raw)
        self.replace("create_cursor", self.create_cursor)
        if connection.vendor == "sqlite":
            self.replace("_start_transaction_under_autocommit",
                         self.start_on_sqlite)
        connection.execute_wrappers.append(self.around)
        connection._sqloom_view = self

    def replace(self, name: str, function: Callable[..., Any]) -> None:
        self.connection.__dict__[name] = function
        self.replaced.append(name)

    def hide(self) -> str:
        """Puts all back; returns what was left open, or ""."""
        connection = self.connection
        left = ""
        if connection.in_atomic_block:
            left = "an atomic block"
        elif self.begun and self.used:
            left = "a transaction (autocommit is off)"
        try:
            self.rollback()
        finally:
            for name in self.replaced:
                del connection.__dict__[name]
            connection.execute_wrappers[:] = [
                wrapper for wrapper in connection.execute_wrappers
                if wrapper != self.around]
            del connection._sqloom_view
            for name, value in self.saved.items():
                setattr(connection, name, value)
        return left

    # What Django asks of the backend.

    def set_autocommit(self, autocommit: bool) -> None:
        if not autocommit:
            self.start()
        elif self.begun and self.used and self.is_sqlite():
            self.commit()  # the module commits what is open
        elif self.begun and self.used:
            raise ProgrammingError("autocommit cannot be set inside of a "
                                   "transaction: commit it or roll it back")
        else:
            self.rollback()

    def start_on_sqlite(self) -> None:
        self.log("BEGIN")
        self.start()

    def start(self) -> None:
        if self.begun:
            return
        self.changes = self.count_changes()
        self.execute(f"SAVEPOINT {SAVEPOINT}")
        self.begun = True
        self.used = False

    def commit(self) -> None:
        with debug_transaction(self.connection, "COMMIT"):
            if not self.begun:
                return
            try:
                self.check_constraints()
            except Exception:
                if not self.is_sqlite():
                    self.undo()  # a commit that fails has rolled back there
                raise
            self.release()

    def rollback(self) -> None:
        if not self.begun:
            return
        with debug_transaction(self.connection, "ROLLBACK"):
            self.undo()

    def close(self) -> None:
        """The server would roll back what is open. The connection itself is
        the test's, and stays: connect() gets it again."""
        self.rollback()

    def create_cursor(self, *args: Any, **kwargs: Any) -> Any:
        connection = self.connection
        if connection.closed_in_transaction:
            module = connection.Database
            if module.__name__ == "psycopg":
                raise module.OperationalError("the connection is closed")
            raise module.InterfaceError("connection already closed")
        return type(connection).create_cursor(connection, *args, **kwargs)

    # How it is done on the server.

    def is_sqlite(self) -> bool:
        return bool(self.connection.vendor == "sqlite")

    def execute(self, *statements: str) -> None:
        """Past the logs and wrappers of Django: production has them not."""
        with self.connection.wrap_database_errors:
            if self.is_sqlite():
                for statement in statements:
                    self.raw.execute(statement)
            else:
                with self.raw.cursor() as cursor:
                    cursor.execute("; ".join(statements))

    def query(self, statement: str) -> list[Any]:
        with self.connection.wrap_database_errors:
            cursor = self.raw.cursor()
            try:
                cursor.execute(statement)
                return list(cursor.fetchall())
            finally:
                cursor.close()

    def release(self) -> None:
        self.begun = False
        self.execute(f"RELEASE SAVEPOINT {SAVEPOINT}")

    def undo(self) -> None:
        self.begun = False
        self.execute(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}",
                     f"RELEASE SAVEPOINT {SAVEPOINT}")

    def log(self, sql: str) -> None:
        if self.connection.queries_logged:
            self.connection.queries_log.append({"sql": sql, "time": "0.000"})

    def count_changes(self) -> int:
        return int(self.raw.total_changes) if self.is_sqlite() else 0

    def check_constraints(self) -> None:
        """What a commit checks: the deferred constraints."""
        if self.is_sqlite():
            if self.count_changes() != self.changes:
                self.check_foreign_keys()
            return
        if self.immediate is None:
            self.immediate = ", ".join(
                row[0] for row in self.query(IMMEDIATE_CONSTRAINTS))
        # Which of them wait is the transaction's, and ends with it.
        restore = ["SET CONSTRAINTS ALL DEFERRED"]
        if self.immediate:
            restore.append(f"SET CONSTRAINTS {self.immediate} IMMEDIATE")
        self.execute("SET CONSTRAINTS ALL IMMEDIATE", *restore)

    def check_foreign_keys(self) -> None:
        if not self.query("PRAGMA foreign_keys")[0][0]:
            return
        rows = self.query("PRAGMA foreign_key_check")
        if rows:
            table, rowid, parent, _ = rows[0]
            raise IntegrityError("FOREIGN KEY constraint failed") from (
                IntegrityError(f'{len(rows)} row(s) without the row they point '
                               f'to; the first is row {rowid} of "{table}", '
                               f'which points to "{parent}"'))

    # Statements.

    def around(self, execute: Callable[..., Any], sql: Any, params: Any,
               many: bool, context: dict[str, Any]) -> Any:
        """Called around each statement that goes through Django."""
        _Fetched.take_away(context["cursor"])
        word = _first_word(sql)
        if word in TRANSACTION_WORDS and not _is_to_savepoint(sql):
            raise UsageError(
                f'"{sql}" was sent inside of commit_hooks, where the test\'s '
                f"own transaction on {self.connection.alias!r} is open: it "
                f"would end that. Use transaction.atomic(), or a test case "
                f"that commits (sqloom.django.CommittingTestCase)")
        if not self.begun and self.connection.get_autocommit():
            return self.alone(word, execute, sql, params, many, context)
        self.start()  # autocommit is off, and the last one has ended
        self.used = True
        return execute(sql, params, many, context)

    def alone(self, word: str, execute: Callable[..., Any],
              *args: Any) -> Any:
        """A statement outside of blocks is a transaction: if it fails, it has
        harmed nothing, and what is deferred is checked behind it."""
        reads = word in ("SELECT", "PRAGMA", "EXPLAIN", "SHOW")
        if reads and self.is_sqlite():
            return execute(*args)
        self.start()
        try:
            result = execute(*args)
            if self.is_sqlite():
                _Fetched.put_before(args[-1]["cursor"])
            if not reads:
                self.check_constraints()
        except BaseException:
            if self.begun:
                self.undo()
            raise
        if self.begun:
            self.release()
        return result


class _Fetched:
    """SQLite: a statement that writes and returns rows has not ended until all
    of them are fetched, and so long no savepoint can be released. So they are
    fetched, and this stands before the cursor and gives them."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._rows: Iterator[Any] = iter(cursor.fetchall())

    @classmethod
    def put_before(cls, wrapper: Any) -> None:
        if wrapper.cursor.description is not None:
            wrapper.cursor = cls(wrapper.cursor)

    @classmethod
    def take_away(cls, wrapper: Any) -> None:
        if isinstance(wrapper.cursor, cls):
            wrapper.cursor = wrapper.cursor._cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchmany(self, size: int = 1) -> list[Any]:
        return list(itertools.islice(self._rows, size))

    def fetchall(self) -> list[Any]:
        return list(self._rows)


def _first_word(sql: Any) -> str:
    words = sql.split(None, 1) if isinstance(sql, str) else []
    return words[0].rstrip(";").upper() if words else ""


def _is_to_savepoint(sql: str) -> bool:
    return _first_word(sql) == "ROLLBACK" and " TO " in sql.upper()


def in_test_transaction(connection: Any) -> bool:
    """Is the connection shown without the test's own transaction, which is
    open all the same?"""
    return getattr(connection, "_sqloom_view", None) is not None


def _is_foreign_block(connection: Any) -> bool:
    """Is there an atomic block that is not the test's own?"""
    blocks = getattr(connection, "atomic_blocks", None)
    if blocks is not None:
        return not getattr(blocks[-1], "_from_testcase", True)
    # Django 3.2: TestCase turns a check off, and opens two blocks.
    return (getattr(Atomic, "_ensure_durability", False)
            or len(connection.savepoint_ids) > 1)


def _check(connection: Any) -> None:
    alias = connection.alias
    if connection.vendor not in ("postgresql", "sqlite"):
        raise UsageError(
            f"commit_hooks: the database {alias!r} is {connection.vendor}; "
            f"PostgreSQL and SQLite are known. Name the aliases that it is for "
            f'with using="..."')
    if _is_foreign_block(connection):
        raise UsageError(
            f"commit_hooks: an atomic block that is not the test's own is open "
            f"on {alias!r}, and hooks run behind it only. Enter commit_hooks "
            f"before the block")
    if connection.needs_rollback or connection.closed_in_transaction:
        raise UsageError(
            f"commit_hooks: the test's own transaction on {alias!r} has failed "
            f"before. Enter commit_hooks before what fails")
    if not connection.settings_dict["AUTOCOMMIT"]:
        raise UsageError(
            f"commit_hooks: the database {alias!r} has AUTOCOMMIT off; Django "
            f"runs no hooks there in production")


class CommitHooks(Scope):
    """What commit_hooks() returns."""

    _name = "commit_hooks"

    def __init__(self, using: str | Iterable[str] | None = None) -> None:
        super().__init__()
        self._using = [using] if isinstance(using, str) else using
        if self._using is not None:
            self._using = list(self._using)

    def _connections(self) -> list[Any]:
        """Those of this thread that have the test's own transaction open. Two
        aliases may share one."""
        named = connections if self._using is None else self._using
        found = {id(connection): connection
                 for connection in (connections[alias] for alias in named)}
        return [connection for connection in found.values()
                if connection.in_atomic_block
                and not in_test_transaction(connection)]

    def begin(self) -> End:
        targets = self._connections()
        for connection in targets:
            _check(connection)
        views = [_View(connection) for connection in targets]
        # Django 3.2 turns it off, for all blocks, as long as a TestCase runs.
        durable = getattr(Atomic, "_ensure_durability", None)
        if durable is not None and views:
            Atomic._ensure_durability = True
        for view in views:
            view.show()

        def end(failed: bool) -> None:
            if durable is not None and views:
                Atomic._ensure_durability = durable
            _hide(views, failed)
        return end

    async def begin_async(self) -> Callable[[bool], Any]:
        end = await sync_to_async(self.begin)()
        ending: Callable[[bool], Any] = sync_to_async(end)
        return ending

    def of_class(self, cls: type) -> None:
        import unittest

        if not issubclass(cls, unittest.TestCase):
            if not wrap_tests(cls, self):
                raise UsageError(f"commit_hooks: {cls.__qualname__} has no "
                                 f"tests; decorate test classes and functions")
            return

        def around(inherited: Any, bound: Any, *args: Any) -> Any:
            with self:
                return inherited(*args)
        # From before setUp() until the last cleanup.
        wrap_method(cls, "run", around)
        if hasattr(cls, "setUpTestData"):
            wrap_method(cls, "setUpTestData", around)


def _hide(views: Sequence[_View], failed: bool) -> None:
    with contextlib.ExitStack() as stack:
        left: list[str] = []
        for view in views:
            stack.callback(lambda view=view: left.append(
                (what := view.hide()) and
                f"{what} on {view.connection.alias!r}"))
        stack.close()
    if any(left) and not failed:
        raise UsageError(
            f"commit_hooks: {', '.join(filter(None, left))} was still open at "
            f"its end, and has been rolled back. End it in the test, as in "
            f"production it would not be committed either")


@overload
def commit_hooks(decorated: T, /) -> T: ...


@overload
def commit_hooks(*, using: str | Iterable[str] | None = None
                 ) -> CommitHooks: ...


def commit_hooks(decorated: Any = None, /, *,
                 using: str | Iterable[str] | None = None) -> Any:
    """Makes transaction.on_commit() work inside of TestCase, and inside of
    pytest-django's db fixture: hooks run where they run in production, when
    the outermost atomic block that is not the test's own has ended, or at once
    outside of one.

    A context manager, a decorator of test functions (async ones, too) and of
    test classes, with or without parentheses::

        @commit_hooks
        class OrderTests(TestCase):
            ...

    A class runs its setUpTestData(), setUp(), tests, tearDown() and cleanups in
    it. While it holds, a connection behaves as if the test had no transaction:
    deferred constraints are checked when a block ends, a failed statement
    outside of blocks breaks nothing, durable blocks are the outermost ones,
    select_for_update() wants a block. Everything is rolled back at the end of
    the test as ever. Where no transaction of a test is open (as in
    TransactionTestCase) it does nothing, as there hooks run anyway.

    using: the alias or aliases it is for; all that the test has by default.

    Raises UsageError if an atomic block that is not the test's own is open at
    its begin or still at its end, and on databases other than PostgreSQL and
    SQLite.
    """
    scope = CommitHooks(using)
    return scope if decorated is None else scope(decorated)
