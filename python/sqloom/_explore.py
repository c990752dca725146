# SPDX-License-Identifier: Apache-2.0
"""Exploring calls of this process: explore(), assert_race_free(), replay().

Policy over the C binding: what calls are, which database, what an exception of
a call means, what the defaults are. One exploration at a time in a process.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import gc
import os
import pathlib
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sqloom import _calls, _ext, _value
from sqloom._calls import Call, GivenCall
from sqloom._defaults import (
    Defaults,
    Test,
    defaults_of_environment,
    find_test,
    quoted,
    trace_path,
)
from sqloom._options import (
    Options,
    check_sqlite,
    checked_function,
    is_url,
    place_of,
)
from sqloom._report import Event, Report
from sqloom.errors import (
    CallError,
    DatabaseError,
    Error,
    Inconclusive,
    LimitError,
    RaceFound,
    UsageError,
    translated,
)

__all__ = [
    "Defaults",
    "assert_race_free",
    "call_database",
    "defaults",
    "explore",
    "failure_text",
    "quoted",
    "replay",
]

TRACEBACKS_MAX = 8  # different ones of a call
CALL_LIMIT_MS = (10_000, 3_600_000)  # explored; replayed, under a debugger maybe
COLLECT_EVERY = 8  # calls that ended, where connections are closed by us

defaults = defaults_of_environment()


# ---- Where we are ---------------------------------------------------------

_busy = threading.Lock()
_busy_thread: int | None = None
_here = threading.local()  # .database: of the call on this thread
_last: str | None = None  # the same for threads that a call starts


def call_database() -> str:
    """What to connect to inside of a call, a setup or a check: a path for
    sqlite3.connect(), or a connection string for psycopg2.connect() that leads
    through sqloom. UsageError: nothing is explored."""
    found: str | None = getattr(_here, "database", None) or _last
    if found is None:
        raise UsageError(
            "call_database() is for the functions that are being explored, and "
            "nothing is explored now"
        )
    return found


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One exploration at a time, and none inside of another."""
    global _busy_thread, _last
    if _ext.is_explored():
        raise UsageError(
            "an exploration inside of a call that is being explored: move it out "
            "of the function"
        )
    if not _busy.acquire(blocking=False):
        if _busy_thread == threading.get_ident():
            raise UsageError(
                "an exploration inside of the setup or the check of another: move "
                "it out of there"
            )
        raise UsageError(
            "another thread of this process explores calls: wait until it has "
            "ended, or use processes (pytest-xdist, manage.py test --parallel)"
        )
    _busy_thread = threading.get_ident()
    try:
        yield
    finally:
        _busy_thread = _last = None
        _busy.release()


def _enter(database: str | None) -> None:
    """This thread works on that database from now on."""
    global _last
    _here.database = _last = database


@contextlib.contextmanager
def _old_objects_aside() -> Iterator[None]:
    """What there is already is not looked at by the garbage collector, which has
    little to do then."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


# ---- The calls while they are explored ------------------------------------


class _Exploration:
    """What the C library calls back, and what it is to remember."""

    def __init__(
        self,
        calls: Sequence[Call],
        place: Any,
        refusals: _value.Refusals,
        setup: Callable[[], Any] | None,
        check: Callable[[], Any] | None,
    ) -> None:
        self.calls = calls
        self._place = place
        self._address = getattr(place, "address", lambda database: database)
        self._refusals = refusals
        self._setup = setup
        self._check = check
        self._context = contextvars.copy_context()
        self._ended_well: set[int] = set()
        self._failed: set[int] = set()
        self._ended = 0
        closes = getattr(place, "closes", True)
        self._collect_every = COLLECT_EVERY if closes else 1
        self._running: set[int] = set()
        self._threads = set(threading.enumerate())
        self._counted: set[threading.Thread] = set()
        self._left: dict[str, int] = {}  # threads that calls left, and how often
        self._tracebacks: dict[int, dict[str, str]] = {}

    # Each on the thread of its call.

    def call(self, number: int, database: str | None) -> tuple[int, bytes, str]:
        self._running.add(number)
        database = self._address(database)
        try:
            _enter(database)
            self._place.open_call(database)
            # A context variable that the call sets is gone in the next run.
            outcome = self._context.copy().run(self._make, number)
        except BaseException as error:
            outcome = self._refusals.outcome_of_error(error)
            if outcome[0] == _value.FAILED:
                self._keep_traceback(number, outcome[2], error)
        if outcome[0] == _value.FAILED:
            self._failed.add(number)
        else:
            self._ended_well.add(number)
        self._running.discard(number)
        if not self._running:
            self._count_threads()
        self._collect()
        return outcome

    def _count_threads(self) -> None:
        """All calls have returned: so should the threads that they started."""
        for thread in set(self._new_threads()) - self._counted:
            name = _thread_name(thread)
            self._left[name] = self._left.get(name, 0) + 1
            self._counted.add(thread)

    def _new_threads(self) -> list[threading.Thread]:
        return [
            thread
            for thread in threading.enumerate()
            if thread not in self._threads and not _is_expected(thread)
        ]

    def _collect(self) -> None:
        """A connection of sqlite3 that nobody closes is in a cycle with its own
        statements, as Django's are with theirs: it would stay open for a while,
        and so would its locks."""
        self._ended += 1
        if self._ended % self._collect_every == 0:
            gc.collect()

    def _make(self, number: int) -> tuple[int, bytes, str]:
        return _value.outcome_of(self.calls[number]())

    def _keep_traceback(self, number: int, text: str, error: BaseException) -> None:
        kept = self._tracebacks.setdefault(number, {})
        if text in kept or len(kept) >= TRACEBACKS_MAX:
            return
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        kept[text] = _value.clean("".join(lines))

    def drop(self) -> None:
        self._place.drop()

    # On the thread of the caller.

    def setup(self, database: str | None) -> str | None:
        with self._on_main(database):
            if self._setup is not None:
                _calls.finished(self._setup())
        return None

    def check(self, database: str | None) -> str | None:
        with self._on_main(database):
            return _calls.check_text(self._check) if self._check else None

    @contextlib.contextmanager
    def _on_main(self, database: str | None) -> Iterator[None]:
        before = getattr(_here, "database", None)
        database = self._address(database)
        _enter(database)
        try:
            with self._place.check_thread(database):
                yield
        finally:
            _here.database = before

    # Afterwards.

    def explained(self, error: Error) -> Error:
        """With the threads that may be why a run had no end, or why the database
        was locked behind it."""
        return type(error)(f"{error}{self._outlived()}", sqlstate=error.sqlstate)

    def _outlived(self) -> str:
        """A sentence on the threads that outlived their calls, or nothing. They
        may have ended meanwhile, over a database that was taken from them."""
        names = set(self._left) | {_thread_name(t) for t in self._new_threads()}
        if not names:
            return ""
        return (
            ". Threads that the calls had started ran on behind them, which may be "
            f"why ({', '.join(sorted(names))}): end and join them in the call"
        )

    def notes(self) -> tuple[str, ...]:
        """What is to be told beside the report."""
        notes = self.left_threads()
        read_before = [call.name for call in self.calls if call.has_instances]
        if read_before:
            notes += (
                f"an instance of a model was given to {', '.join(read_before)}: it "
                "was read before the calls, so what it holds is as old in every "
                "order, and a race between reading and writing it is not seen. Pass "
                "the key, and read it in the call",
            )
        return notes

    def left_threads(self) -> tuple[str, ...]:
        """What is to be told of threads that outlive their calls."""
        # One that is started once serves them all.
        left = sorted(name for name, count in self._left.items() if count > 1)
        if not left:
            return ()
        return (
            "threads that the calls had started were still running when all calls "
            f"had returned ({', '.join(left)}): what they do then belongs to no "
            "call and to no run. Join them in the call",
        )

    @property
    def asks(self) -> bool:
        return self._check is not None

    @property
    def tracebacks(self) -> dict[str, dict[str, str]]:
        return {
            self.calls[number].name: dict(texts)
            for number, texts in sorted(self._tracebacks.items())
        }

    def check_that_calls_work(self) -> None:
        """A call that fails whatever happens has shown nothing."""
        for number in sorted(self._failed - self._ended_well):
            call = self.calls[number]
            texts = list(self.tracebacks.get(call.name, {}).values())
            shown = texts[0].rstrip() if texts else "it answered with a server error"
            raise CallError(
                f"{call.name} fails in every run, also alone, so there is nothing "
                "to explore. If its callers expect that, name the exception in "
                f"refusals={self._outlived()}\n\n{shown}"
            )


def _is_expected(thread: threading.Thread) -> bool:
    """One of C's that asked for its name; or one of a pool, which waits for
    work."""
    pool = sys.modules.get("concurrent.futures.thread")
    return isinstance(thread, threading._DummyThread) or (
        pool is not None and thread in getattr(pool, "_threads_queues", ())
    )


def _thread_name(thread: threading.Thread) -> str:
    """Without its number, which is another one each time."""
    target = getattr(thread, "_target", None)
    function = getattr(target, "__name__", "")
    if function:
        return f"{function}()"
    return re.sub(r"-\d+", "", thread.name)


def _traceback_of(report: Report, event: Event) -> str:
    """The traceback of the exception with which the call ended in that run."""
    texts = report.tracebacks.get(event.call, {})
    return texts.get(event.error, "").rstrip()


# ---- Running --------------------------------------------------------------


def _run_library(
    exploration: _Exploration,
    options: Options,
    token: str | None,
    recorded: str | os.PathLike[str] | None,
    fields: dict[str, Any],
    test: Test,
) -> _ext.Report:
    with translated():
        return _ext.explore(
            [call.name for call in exploration.calls],
            exploration.call,
            name=test.name,
            setup=exploration.setup if options.setup else None,
            check=exploration.check if exploration.asks else None,
            drop=exploration.drop,
            queries=options.checked_queries(),
            token=token,
            recorded=_ext.read_trace(os.fspath(recorded)) if recorded else None,
            source=test.source,
            **fields,
        )


def _fields(options: Options, replays: bool) -> dict[str, Any]:
    """Fields of struct sqloom_options: what was given, else the defaults."""
    given = options.for_library()
    limit = given.get("call_limit_ms", CALL_LIMIT_MS[replays])
    return {
        "max_runs": defaults.max_runs,
        "seed": defaults.seed,
        "call_limit_ms": limit,
        "statement_limit_ms": limit,
        **given,
    }


def _conclude(
    report: Report, exploration: _Exploration, keep_trace: bool, replays: bool
) -> Report:
    """Tells what there is to be told, and raises what is no result."""
    for note in exploration.left_threads():
        # Of who called the function that called _run().
        warnings.warn(note, RuntimeWarning, stacklevel=4)
    if report.holds and report.trace is not None and not keep_trace:
        pathlib.Path(report.trace).unlink(missing_ok=True)
        report = report.without_trace()
    if not report.broken and report.explored and not replays:
        exploration.check_that_calls_work()
    if defaults.on_report is not None:
        defaults.on_report(report)
    return report


def _run(
    token: str | None,
    given: Iterable[GivenCall],
    check: Callable[[], Any] | None,
    options: Options,
    recorded: str | os.PathLike[str] | None = None,
) -> Report:
    calls = _calls.calls_of(given, options.names)
    refusals = _value.Refusals(options.refusals)
    checked_function("setup", options.setup)
    checked_function("check", check)
    fields = _fields(options, token is not None)
    test = find_test(options.name, defaults)
    with _alone(), place_of(options) as place:
        if not options.pg_temp and not is_url(place.database or ""):
            check_sqlite()
        exploration = _Exploration(calls, place, refusals, options.setup, check)
        path = options.trace or trace_path(test.name, defaults)
        trace = None if path is None else os.fspath(path)
        # A place may know more, such as any_database.
        fields = {**place.options, **fields, "database": place.database}
        with _old_objects_aside():
            try:
                source = _run_library(
                    exploration,
                    options,
                    token,
                    recorded,
                    {**fields, "trace_path": trace},
                    test,
                )
            except (DatabaseError, LimitError) as error:
                raise exploration.explained(error) from None
    report = Report(
        source,
        trace=trace,
        tracebacks=exploration.tracebacks,
        paste=test.paste,
        notes=exploration.notes(),
    )
    return _conclude(
        report, exploration, options.trace is not None, token is not None
    )


def _options(function: str, same: dict[str, Any]) -> Options:
    known = {field.name for field in dataclasses.fields(Options)}
    for name in same:
        if name not in known:
            raise TypeError(f"{function}() has no argument {name!r}")
    return Options(**same)


# ---- The functions --------------------------------------------------------


def explore(
    calls: Iterable[GivenCall],
    check: Callable[[], Any] | None = None,
    *,
    names: Sequence[str] | None = None,
    setup: Callable[[], Any] | None = None,
    database: str | os.PathLike[str] | None = None,
    using: str | None = None,
    queries: str | Iterable[str] = (),
    ignore: str | Iterable[str] = (),
    refusals: Any = (),
    max_runs: int | None = None,
    max_time: float | None = None,
    max_preemptions: int | None = None,
    strategy: str | None = None,
    seed: int | None = None,
    strict: bool = False,
    isolation: str | None = None,
    pg_temp: bool = False,
    any_database: bool = False,
    call_limit: float | None = None,
    stall_after: float | None = None,
    statement_limit: float | None = None,
    trace: str | os.PathLike[str] | None = None,
    name: str | None = None,
) -> Report:
    """Makes the calls in every order of their SQL statements that matters, each
    from the same contents of the database, and judges how each order ends.

    calls: 2 to 16: a callable without arguments, (callable, argument, ...),
    (callable, {keywords}), or (callable, [arguments], {keywords}). Each is called
    on a thread of its own, which is kept from run to run.
    check: asked after every run, alone, on this thread: it fails by an
    assertion, by returning False, or by returning a text.
    names: of the calls; else those of the functions.
    setup: called once, before anything is explored.
    database: the path of an SQLite file, which is never written, ":memory:" (an
    empty one), or "postgresql://..."; else Django's, if it is set up; else an
    empty one.
    using: the alias of Django's database ("default").
    queries: SQL that must return no row after any run.
    ignore: contents that are not compared: "table" or "table.column".
    refusals: exceptions, by class or name, that callers expect to be told; those
    of web frameworks for bad requests are known.
    max_runs: of orders (1,000; 0: no limit). max_time: seconds.
    max_preemptions: voluntary switches between calls in an order.
    strategy: "auto", "exhaustive", "random", "uniform" or "pct". seed: of what
    is random.
    strict: errors that ask to be tried again break, too.
    isolation: PostgreSQL's default level of transactions, where functions connect
    to call_database().
    pg_temp: a private PostgreSQL server. any_database: also one that does not
    look like a test's.
    call_limit: seconds of a call (10; of a replay 3,600). stall_after: seconds
    after which a call that does nothing is passed over (0.1). statement_limit:
    PostgreSQL, seconds of a statement (as call_limit).
    trace: a file to write. name: of the test, for reports.

    Never raises because of a race: the Report tells. UsageError: an argument, or
    the place; CallError: a call that fails in every run; other Errors. Exceptions
    of setup and check, and KeyboardInterrupt, are raised as they are.
    """
    given = dict(locals())
    del given["calls"], given["check"]
    return _run(defaults.token, calls, check, Options(**given))


def replay(
    token: str,
    calls: Iterable[GivenCall],
    check: Callable[[], Any] | None = None,
    *,
    recorded: str | os.PathLike[str] | None = None,
    **same: Any,
) -> Report:
    """Runs the one order of the calls that token names, and judges it. The other
    arguments are those of explore(), and should be the same.

    recorded: the trace of the exploration that found it: if the calls do
    something else by now, the report shows both.
    """
    if not isinstance(token, str) or not token:
        raise UsageError(f"the token is {token!r}: give that of a finding")
    return _run(token, calls, check, _options("replay", same), recorded)


def assert_race_free(
    calls: Iterable[GivenCall],
    check: Callable[[], Any] | None = None,
    *,
    incomplete_ok: bool = False,
    **same: Any,
) -> Report:
    """explore(), and RaceFound if an order ends wrong: its message is the report,
    with the timeline. Inconclusive, which is a RaceFound, if nothing wrong was
    seen, but not all was seen: with incomplete_ok, not if only max_runs or
    max_time is why. The other arguments are those of explore().
    """
    __tracebackhide__ = True  # pytest shows the test, not us
    report = _run(defaults.token, calls, check, _options("assert_race_free", same))
    if report.holds or (incomplete_ok and report.over_budget):
        return report
    kind = RaceFound if report.broken else Inconclusive
    raise kind(failure_text(report), report)


def failure_text(report: Report) -> str:
    """What a failing test is to print."""
    parts = [report.text.rstrip()]
    if report.over_budget:
        parts.append(
            "No order that was run is wrong, but not all were run. Give a larger "
            "max_runs= (0: no limit), or bound what is to be explored by "
            "max_preemptions=2; or pass incomplete_ok=True if that is enough."
        )
    for event in report.findings[0].events if report.findings else ():
        if event.kind == "end" and not event.ok:
            shown = _traceback_of(report, event)
            parts += [f"{event.call} ended with:\n{shown}"] if shown else []
    if report.trace:
        parts.append(f"trace: {report.trace}")
    return "\n\n".join(parts)
