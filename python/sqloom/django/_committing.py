# SPDX-License-Identifier: Apache-2.0
"""What goes on around committing tests, whoever runs them: Run begins and ends
them; Recorder knows what the set-up of a class wrote, so that each test finds
it.

The rows of a class (fixtures, setUpTestData(), what setUpClass() writes) are
made once. Their SQL is recorded and executed again before each test: sequences
have been put back, too, so ids are the same, and the objects that the class
keeps of these rows are right.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from sqloom.django import _connections, _fixtures, _places
from sqloom.errors import Error, UsageError

__all__ = ["Recorder", "Run", "refuse_hidden_rows"]

POLICIES = ("fail", "warn", "ignore")
# What the C library says of an iterator() that was not used up, and of nothing
# else: no transaction was meant.
_UNREAD = "(a statement is not read to its end)"


def refuse_hidden_rows(aliases: Iterable[str], what: str) -> None:
    """Raises UsageError if the calling thread has a transaction open on one of
    the aliases, whose rows other connections do not see.

    what: who refuses, as the beginning of a sentence: "call_concurrently()"."""
    from django.db import connections

    for alias in aliases:
        wrapper = connections[alias]
        if not (wrapper.in_atomic_block
                or _connections.in_transaction(wrapper)):
            continue
        raise UsageError(
            f"{what} was used while a transaction is open on database alias "
            f"{alias!r}: nothing that was written in it is committed, so other "
            "connections do not see it, and may wait for its locks for ever. "
            "django.test.TestCase and pytest's `db` run a test inside of such "
            "a transaction: derive from sqloom.django.CommittingTestCase, put "
            "CommittingTestMixin in front of the classes, mark the method "
            "@sqloom.django.committing, or the pytest test "
            "@pytest.mark.committing. Elsewhere, end the atomic() block first")


# ---- The rows of a class ----------------------------------------------------


class Recorder:
    """Records what is written by the calling thread's connections of some
    aliases from start() to stop(), and writes it again."""

    def __init__(self, aliases: Sequence[str]) -> None:
        self._aliases = aliases
        self._rows: dict[str, list[tuple[Any, Any, bool]]] = {}
        self._open: dict[str, list[tuple[Any, Any, bool]]] = {}
        self._wrappers: list[Any] = []

    def __bool__(self) -> bool:
        """Was anything written?"""
        return any(self._rows.values())

    def start(self) -> None:
        from django.db import connections

        for alias in self._aliases:
            wrapper = connections[alias]
            self._rows[alias], self._open[alias] = [], []
            _connections.track(wrapper).listener = self._listen
            # A transaction that is rolled back has written nothing. Savepoints
            # are statements as all others.
            self._follow(wrapper, "_commit", True)
            self._follow(wrapper, "_rollback", False)
            self._wrappers.append(wrapper)

    def _follow(self, wrapper: Any, name: str, kept: bool) -> None:
        original = getattr(wrapper, name)

        def followed() -> Any:
            result = original()
            waiting = self._open[wrapper.alias]
            if kept:
                self._rows[wrapper.alias].extend(waiting)
            waiting.clear()
            return result

        setattr(wrapper, name, followed)

    def _listen(self, wrapper: Any, sql: Any, params: Any, many: bool) -> None:
        words = str(sql).lstrip()[:6].upper()
        if words.startswith("BEGIN") or (
            words == "SELECT" and "setval(" not in str(sql).lower()
        ):
            return
        inside = wrapper.in_atomic_block or not wrapper.autocommit
        place = self._open if inside else self._rows
        place[wrapper.alias].append((sql, params, many))

    def stop(self) -> None:
        """What is in a transaction that is still open counts, too. Fine if it
        was never started."""
        for wrapper in self._wrappers:
            _connections.track(wrapper).listener = None
            del wrapper._commit, wrapper._rollback
            self._rows[wrapper.alias].extend(self._open[wrapper.alias])
            self._open[wrapper.alias].clear()
        self._wrappers.clear()

    def replay(self) -> None:
        """Writes it again, on the calling thread's connections, in a
        transaction for each alias."""
        from django.db import connections, transaction

        for alias, rows in self._rows.items():
            if not rows:
                continue
            with transaction.atomic(using=alias), \
                    connections[alias].cursor() as cursor:
                for sql, params, many in rows:
                    if many:
                        cursor.executemany(sql, params)
                    else:
                        cursor.execute(sql, params)


# ---- The tests --------------------------------------------------------------


class Run:
    """Committing tests that follow each other on the same databases: enter(),
    then begin() and end() for each, leave().

    aliases: the databases. processes: SQLite's are files, which other processes
    can open. connections, transactions: "fail", "warn" or "ignore" what a test
    leaves open; it is closed in any case. patience_s: how long threads may take
    to close theirs."""

    def __init__(self, aliases: Sequence[str], *, processes: bool = False,
                 connections: str = "warn", transactions: str = "fail",
                 patience_s: float = 0) -> None:
        for policy in (connections, transactions):
            if policy not in POLICIES:
                raise UsageError(
                    f"{policy!r} says nothing about connections that are left "
                    "over: give one of 'fail', 'warn' and 'ignore'")
        self.aliases = list(aliases)
        self.recorder = Recorder(self.aliases)
        self._processes = processes
        self._connections = connections
        self._transactions = transactions
        self._patience_s = patience_s
        self._led: list[_fixtures.Led] = []
        self._dirty = False

    def enter(self) -> None:
        """The aliases lead to databases as they were after migrations. Raises
        UsageError: a transaction is open on one of them; it is of a kind that
        cannot be kept; it is no test database."""
        from django.db import connections

        _connections.watch()
        for alias in self.aliases:
            _places.check_alias(alias)
        refuse_hidden_rows(self.aliases, "a committing test")
        try:
            for alias in self.aliases:
                led = _fixtures.keep(alias, self._processes)
                if led not in self._led:
                    self._led.append(led)
                led.kept.renew(connections[alias])
                led.lead()
                _connections.track(connections[alias])
        except BaseException:
            self._unlead()
            raise
        self._dirty = False

    def touch(self) -> None:
        """Tests that are not committing ones have used the databases."""
        self._dirty = True

    def record(self) -> None:
        """What is written from now on, each test finds."""
        self.recorder.start()
        self._dirty = True

    def begin(self) -> None:
        """Before a test."""
        self.recorder.stop()
        if self._dirty:
            self._renew()
        self._dirty = True
        if self.recorder:
            self.recorder.replay()

    def end(self, name: str) -> None:
        """After a test, whose name is for messages. Everything is put back and
        closed; then LeftoverTransaction is raised or a warning given, if the
        test left something open. Error: something could not be put back."""
        from django.db import connections

        transactions, known = [], []
        for alias in self.aliases:
            wrapper = connections[alias]
            line = _connections.own_transaction(wrapper)
            if line:
                transactions.append(line)
                known.append(_connections.track(wrapper).name_in_fixture())
            if line or _connections.is_worn(wrapper):
                _connections.close_own(wrapper)
        others = _connections.left_by_others(self._patience_s)
        lines = [other.describe() for other in others]
        busy = [other.is_in_transaction() for other in others]
        known += [other.name_in_fixture() for other in others]
        try:
            ended = self._restore()
            self._dirty = False
        finally:
            _connections.close_others(others)
        transactions += [line for line, is_busy in zip(lines, busy) if is_busy]
        transactions += [
            line for line in ended
            if not (line.startswith(tuple(known)) or _UNREAD in line)]
        idle = [line for line, is_busy in zip(lines, busy) if not is_busy]
        try:
            self._tell_idle(name, idle)
        finally:
            self._tell_open(name, transactions)

    def _tell_idle(self, name: str, lines: list[str]) -> None:
        if not lines or self._connections == "ignore":
            return
        text = (
            f"{name} left connections open:\n  " + "\n  ".join(lines)
            + "\nThey have been closed, but for SQLite's of threads that are "
            "still running. Close them at the end of the thread that opens "
            "them: django.db.connections.close_all()")
        if self._connections == "fail":
            raise AssertionError(text)
        warnings.warn(text, _connections.LeftoverConnectionWarning,
                      stacklevel=2)

    def _tell_open(self, name: str, lines: list[str]) -> None:
        if not lines or self._transactions == "ignore":
            return
        text = (
            f"{name} ended in the middle of transactions, which have been "
            "rolled back:\n  " + "\n  ".join(lines)
            + "\nLet the test wait for its threads and processes (join them), "
            "and end its transactions")
        if self._transactions == "fail":
            raise _connections.LeftoverTransaction(text)
        warnings.warn(text, _connections.LeftoverConnectionWarning,
                      stacklevel=2)

    def _renew(self) -> None:
        from django.db import connections

        for led in self._led:
            led.kept.renew(connections[led.alias])

    def _restore(self) -> list[str]:
        lines: list[str] = []
        failed: Error | None = None
        for kept in {id(led.kept): led.kept for led in self._led}.values():
            try:
                lines += kept.restore()
            except Error as error:
                failed = failed or error
        if failed:
            raise failed
        return lines

    def leave(self, close: bool = True) -> None:
        """The aliases lead to where they did. close: the connections of this
        thread, too."""
        from django.db import connections

        self.recorder.stop()
        try:
            # What a test could not put back was said behind the test.
            if self._dirty and not any(led.kept.is_stale for led in self._led):
                self._dirty = False
                for alias in self.aliases:
                    if _connections.own_transaction(connections[alias]):
                        _connections.close_own(connections[alias])
                self._restore()
        finally:
            for alias in self.aliases if close else ():
                _connections.close_own(connections[alias])
            self._unlead()

    def _unlead(self) -> None:
        for led in self._led:
            led.unlead()
        self._led.clear()
