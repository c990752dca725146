# SPDX-License-Identifier: Apache-2.0
"""Test cases with real commits.

CommittingTestCase is TestCase without its atomic blocks: what a test commits is
committed, other threads and processes see it, and afterwards what was written
is put back. CommittingTestMixin does the same to any class of Django's test
cases, committing() to one method.

All of Django's own order of events is kept: the mixin goes in front of the
classes and takes away the blocks, nothing else.
"""

from __future__ import annotations

import contextlib
import copyreg
import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from django.core.management import call_command
from django.db import connections, transaction
from django.test import LiveServerTestCase, TestCase, TransactionTestCase
from django.test.testcases import TestData

import sqloom
from sqloom.django import _connections, _fixtures, _sequences
from sqloom.django._committing import Run, refuse_hidden_rows
from sqloom.errors import Error, UsageError

sqloom.watch_sqlite()

__all__ = [
    "CommittingLiveServerTestCase",
    "CommittingTestCase",
    "CommittingTestMixin",
    "committing",
    "committing_test",
    "expect",
    "is_committing",
    "refuse_hidden_rows",
]

_MARK = "_sqloom_committing"
_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


def _check_durability(checked: bool) -> None:
    """Django before 4.1 does not check durable blocks in any TestCase."""
    if hasattr(transaction.Atomic, "_ensure_durability"):
        transaction.Atomic._ensure_durability = checked


def _aliases(cls: Any) -> list[str]:
    allowed = cls._validate_databases()
    return [alias for alias in connections if alias in allowed]


def _named(test: Any) -> str:
    """A test, for messages."""
    name = getattr(test, "_testMethodName", None)
    cls = type(test)
    return f"{cls.__module__}.{cls.__qualname__}" + (f".{name}" if name else "")


# ---- Classes ----------------------------------------------------------------


class CommittingTestMixin:
    """Put in front of the test cases of Django that a class derives from, it
    turns off their atomic blocks, for this class and those that derive from it.

    Everything else of the classes above stays: fixtures, setUpTestData(),
    setUpClass(), setUp(), clean-ups, mixins. What the set-up of the class
    writes is there at the beginning of each test, with the same ids.

    processes: True: on SQLite the databases are files that programs which the
    tests start can open, at the price of slower tests; else threads can, and
    the clean processes of sqloom.call_concurrently().
    leftover_connections: "warn", "fail" or "ignore": what to do about
    connections of other threads that a test has left open.
    leftover_transactions: "fail", "warn" or "ignore", about transactions.
    leftover_patience: seconds that threads have to close theirs when a test
    ends.

    Raises UsageError when the class is set up: one of its `databases` is
    neither PostgreSQL nor SQLite, or none for tests.
    """

    processes = False
    leftover_connections = "warn"
    leftover_transactions = "fail"
    leftover_patience = 0.0

    _sqloom_run: Run
    _sqloom_setting_up = False
    _sqloom_fixtures_each_time = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__ != __name__:
            expect()
        order = cls.__mro__
        if (TransactionTestCase in order and order.index(CommittingTestMixin)
                > order.index(TransactionTestCase)):
            raise TypeError(
                f"{cls.__qualname__} names CommittingTestMixin behind the test "
                "cases, whose atomic blocks stay then: name it first, class "
                f"{cls.__name__}(CommittingTestMixin, ...)")

    @classmethod
    def _sqloom_new_run(cls) -> Run:
        return Run(_aliases(cls), processes=cls.processes,
                   connections=cls.leftover_connections,
                   transactions=cls.leftover_transactions,
                   patience_s=cls.leftover_patience)

    @classmethod
    def setUpClass(cls) -> None:
        of_django: Any = super()
        this: Any = cls
        cls._sqloom_run = run = cls._sqloom_new_run()
        this.addClassCleanup(run.leave)
        run.enter()
        run.record()
        cls._sqloom_setting_up = True
        try:
            of_django.setUpClass()
        finally:
            cls._sqloom_setting_up = False
            _check_durability(True)
        if not issubclass(cls, TestCase):
            cls._sqloom_set_up_rows()

    @classmethod
    def _sqloom_set_up_rows(cls) -> None:
        """What TestCase does by itself, for the others."""
        this: Any = cls
        # Django 5.1 has done for the first test in advance what each needs.
        this._pre_setup_ran_eagerly = False
        cls._sqloom_load_fixtures()
        before = dict(cls.__dict__)
        if hasattr(cls, "setUpTestData"):
            cls.setUpTestData()
        for name, value in list(cls.__dict__.items()):
            if value is not before.get(name):
                setattr(cls, name, TestData(name, value))

    @classmethod
    def _sqloom_load_fixtures(cls) -> None:
        this: Any = cls
        if this.fixtures:
            for alias in this._databases_names(include_mirrors=False):
                call_command("loaddata", *this.fixtures, verbosity=0,
                             database=alias)

    # What TestCase and TransactionTestCase call, in all versions of Django.

    @classmethod
    def _enter_atomics(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def _rollback_atomics(cls, atomics: dict[str, Any]) -> None:
        pass

    @classmethod
    def _fixture_setup(cls) -> None:
        if not cls._sqloom_setting_up:
            cls._sqloom_run.begin()
            if cls._sqloom_fixtures_each_time:
                cls._sqloom_load_fixtures()

    def _fixture_teardown(self) -> None:
        self._sqloom_run.end(_named(self))

    def _should_reload_connections(self) -> bool:
        return False


class CommittingTestCase(CommittingTestMixin, TestCase):
    """Django's TestCase with real commits: what a test commits is committed,
    threads and processes see it, on_commit() hooks run; afterwards only what
    was written is put back, so that rows of migrations, content types and the
    positions of sequences are what they were.

    `databases`, `fixtures`, setUpTestData() and `available_apps` are as in
    TestCase. `reset_sequences` and `serialized_rollback` may be set, and change
    nothing: it is always so. See CommittingTestMixin for what else can be said.
    """


class CommittingLiveServerTestCase(CommittingTestMixin, LiveServerTestCase):
    """Django's LiveServerTestCase, put back like CommittingTestCase. The
    server's threads have connections of their own, on SQLite, too.

    A request that is under way when the test ends has a second to end; then it
    is only warned about.
    """

    leftover_transactions = "warn"
    leftover_patience = 1.0


# ---- Methods ----------------------------------------------------------------


def committing(test: _Decorated) -> _Decorated:
    """Decorates one method of a test case of Django, or a class: its atomic
    blocks are turned off. The other tests of the class stay as they are.

    What the set-up of the class has written is there, with the same ids. A
    class becomes one with CommittingTestMixin in front.

    Raises UsageError: a class that is no test case of Django with databases."""
    if isinstance(test, type):
        made: _Decorated = _committing_class(test)
        return made
    setattr(getattr(test, "__func__", test), _MARK, True)
    expect()
    _hook_methods()
    return test


def is_committing(test: Any) -> bool:
    """Was this function decorated with committing()?"""
    return getattr(test, _MARK, False) is True


def _committing_class(cls: Any) -> Any:
    if issubclass(cls, CommittingTestMixin):
        return cls
    if not issubclass(cls, TransactionTestCase):
        raise UsageError(
            f"{cls.__qualname__} is no test case of Django that uses a "
            "database, so it has no transaction that could be turned off: "
            "derive it from django.test.TestCase")
    return type(cls)(cls.__name__, (CommittingTestMixin, cls), {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
    })


class _Methods:
    """The committing methods of a class whose others are not. The class's own
    transaction is rolled back for each, and begun again behind it."""

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self.run = Run(
            _aliases(cls),
            processes=getattr(cls, "processes", False),
            connections=getattr(cls, "leftover_connections", "warn"),
            transactions=getattr(cls, "leftover_transactions", "fail"))
        self._variant = _committing_class(cls)
        self._variant.__reduce_ex__ = self._reduce
        self._variant._sqloom_run = self.run
        self._variant._sqloom_fixtures_each_time = not issubclass(cls, TestCase)

    @staticmethod
    def _reduce(test: Any, protocol: Any) -> Any:
        """`--parallel` pickles a test that has subTest()s."""
        return (copyreg.__newobj__, (type(test).__mro__[2],),  # type: ignore
                test.__dict__)

    def prepare(self) -> None:
        """Before the class is set up. The others use the same databases, so
        that ids are the same."""
        self.run.enter()
        self.run.record()

    @contextlib.contextmanager
    def committing(self, test: Any) -> Iterator[None]:
        """The test is one of a class without atomic blocks, in the block."""
        cls, blocks = self._cls, issubclass(self._cls, TestCase)
        if blocks:
            cls._rollback_atomics(cls.cls_atomics)
            _check_durability(True)
        try:
            self.run.touch()
            test.__class__ = self._variant
            self._variant._pre_setup_ran_eagerly = False
            yield
        finally:
            test.__class__ = cls
            if blocks:
                _check_durability(False)
                cls.cls_atomics = cls._enter_atomics()
                self.run.recorder.replay()
            else:
                cls._pre_setup_ran_eagerly = False


def _has_committing(cls: Any) -> bool:
    return any(
        is_committing(value)
        for of in cls.__mro__ if of not in TestCase.__mro__
        for value in of.__dict__.values())


def _is_skipped(test: Any, method: Any) -> bool:
    return bool(getattr(type(test), "__unittest_skip__", False)
                or getattr(method, "__unittest_skip__", False))


def _methods_of(cls: Any) -> _Methods | None:
    found: _Methods | None = cls.__dict__.get("_sqloom_methods")
    return found


def _late(cls: Any) -> _Methods:
    """Where nothing of the set-up of the class had to be recorded."""
    if issubclass(cls, TestCase):
        raise UsageError(
            f"a test of {cls.__module__}.{cls.__qualname__} was said to be a "
            "committing one when the class was set up already, so what the "
            "set-up wrote is not known: decorate it where it is defined")
    made = cls._sqloom_methods = _Methods(cls)
    cls.addClassCleanup(made.run.leave)
    made.run.enter()
    return made


@functools.lru_cache(maxsize=None)
def _hook_methods() -> None:
    """Methods that are decorated are known when their class is set up and when
    they are called; everything else takes Django's own way."""
    set_up: Any = TestCase.__dict__["setUpClass"].__func__
    call = TransactionTestCase._setup_and_call

    def set_up_class(cls: Any) -> None:
        if not issubclass(cls, CommittingTestMixin) and _has_committing(cls):
            methods = cls._sqloom_methods = _Methods(cls)
            cls.addClassCleanup(methods.run.leave)
            methods.prepare()
        set_up(cls)

    def setup_and_call(self: Any, result: Any, debug: bool = False) -> None:
        cls = type(self)
        method = getattr(cls, self._testMethodName, None)
        methods = _methods_of(cls)
        if methods:
            methods.run.recorder.stop()
        if (not is_committing(method) or issubclass(cls, CommittingTestMixin)
                or _is_skipped(self, method)):
            call(self, result, debug=debug)
            return
        try:
            with (methods or _late(cls)).committing(self):
                call(self, result, debug=debug)
        except Exception:
            if debug:
                raise
            result.addError(self, sys.exc_info())

    TestCase.setUpClass = classmethod(set_up_class)
    TransactionTestCase._setup_and_call = setup_and_call


# ---- Before a database is emptied -------------------------------------------


@functools.lru_cache(maxsize=None)
def expect() -> None:
    """Says, before the first test, that there will be committing ones: then
    connections and positions of sequences are looked at from the beginning, and
    what there was before a TransactionTestCase empties all tables is kept."""
    _connections.watch()
    _sequences.watch()
    original: Any = TransactionTestCase.__dict__["_fixture_setup"]
    function = getattr(original, "__func__", original)

    def kept_first(this: Any) -> None:
        _keep(this)
        function(this)

    TransactionTestCase._fixture_setup = (
        classmethod(kept_first) if isinstance(original, classmethod)
        else kept_first)


def _keep(test: Any) -> None:
    for alias in test._databases_names(include_mirrors=False):
        wrapper = connections[alias]
        if wrapper.in_atomic_block or wrapper.vendor not in _fixtures.VENDORS:
            continue
        # A committing test will say what is wrong.
        with contextlib.suppress(Error):
            _fixtures.keep(alias)


# ---- One test, for runners of functions -------------------------------------


@contextlib.contextmanager
def committing_test(name: str, *, databases: Iterable[str] = ("default",),
                    fixtures: Iterable[str] = (), processes: bool = False,
                    leftover_connections: str = "warn",
                    leftover_transactions: str = "fail") -> Iterator[Run]:
    """Around a test that is a function: in the block the databases are those of
    a committing test; at its end they are put back.

    name: of the test, for messages. The rest is as in CommittingTestMixin.
    Raises UsageError as that, and if a transaction is open on one of the
    databases; LeftoverTransaction and other Errors at the end."""
    run = Run(list(databases), processes=processes,
              connections=leftover_connections,
              transactions=leftover_transactions)
    run.enter()
    try:
        run.begin()
        files = list(fixtures)
        for alias in run.aliases if files else ():
            call_command("loaddata", *files, verbosity=0, database=alias)
        try:
            yield run
        finally:
            run.end(name)
    finally:
        run.leave(close=False)
