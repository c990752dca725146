# SPDX-License-Identifier: Apache-2.0
"""Concurrent calls on threads of this process, and the exception for all that
they raise."""

from __future__ import annotations

import inspect
import sys
import threading
import time
import traceback
from collections.abc import Collection, Sequence
from typing import Any

from sqloom._naming import GivenCall, function_for, label_of, load_function
from sqloom._surroundings import django_is_ready, refuse_open_transactions
from sqloom._wrapped import CallLost, WrappedError, exited, timed_out

__all__ = ["CallsFailed", "collected", "run_on_threads"]


class _Start:
    """A barrier that can be opened although not all have come."""

    def __init__(self) -> None:
        self._ready = threading.Semaphore(0)
        self._go = threading.Event()

    def stand_ready(self) -> None:
        self._ready.release()
        self._go.wait()

    def wait_for(self, threads: int) -> None:
        for _ in range(threads):
            self._ready.acquire()

    def open(self) -> None:
        self._go.set()


class _Thread(threading.Thread):
    """One call."""

    def __init__(self, call: GivenCall, number: int, start: _Start) -> None:
        name = f"sqloom call {number}"
        super().__init__(name=name, daemon=True)
        self._call = call
        self._barrier = start
        self.result: Any = None

    def run(self) -> None:
        self._barrier.stand_ready()
        try:
            self.result = self._outcome()
        finally:
            close_connections()

    def _outcome(self) -> Any:
        function, args, kwargs = self._call
        try:
            value = _loaded(function)(*args, **kwargs)
            if inspect.iscoroutine(value):
                from sqloom._calls import finished

                value = finished(value)
            return value
        except SystemExit as error:
            where = error.__traceback__
            wrapped = exited(label_of(function), error.code)
            return WrappedError(wrapped, where and where.tb_next)
        except BaseException as error:
            if error.__traceback__ is not None:
                error.__traceback__ = error.__traceback__.tb_next
            return WrappedError(error)


def _loaded(function: Any) -> Any:
    if not isinstance(function, str):
        return function
    return load_function(function_for(function)[0])


def run_on_threads(
    calls: Sequence[GivenCall],
    timeout: float,
    databases: Collection[str] | None,
) -> list[Any]:
    """The results, in order. A call that is late is a WrappedError, and goes
    on: threads cannot be killed."""
    refuse_open_transactions(databases)
    calls = [
        call._replace(function=_loaded(call.function)) for call in calls
    ]
    start = _Start()
    threads = [_Thread(call, i + 1, start) for i, call in enumerate(calls)]
    started = 0
    try:
        for thread in threads:
            try:
                thread.start()
            except RuntimeError as error:
                label = label_of(thread._call.function)
                text = f"{label} could not be started: {error}"
                thread.result = WrappedError(CallLost(text))
                break
            started += 1
        start.wait_for(started)
    finally:
        start.open()
    deadline = time.monotonic() + timeout
    for thread in threads[:started]:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [
        _result(thread, i < started, timeout)
        for i, thread in enumerate(threads)
    ]


def _result(thread: _Thread, started: bool, timeout: float) -> Any:
    label = label_of(thread._call.function)
    if not started:
        return thread.result or WrappedError(
            CallLost(f"{label} was not started, as an earlier call was not")
        )
    if not thread.is_alive():
        return thread.result
    error = timed_out(
        label,
        timeout,
        f"its thread, {thread.name!r}, goes on, as threads cannot be killed",
    )
    frame = sys._current_frames().get(thread.ident or 0)
    where = "".join(traceback.format_stack(frame)) if frame else ""
    return WrappedError(error, stderr=f"it was here:\n{where}")


def close_connections() -> None:
    """Those of the current thread, also to databases in memory."""
    if not django_is_ready():
        return
    from django.db import connections

    for alias in connections:
        # Not all(): it makes those that there are not yet.
        connection = getattr(connections._connections, alias, None)
        if connection is None:
            continue
        raw = connection.connection
        connection.close()
        if raw is not None and connection.connection is not None:
            raw.close()  # Django leaves those to databases in memory open
            connection.connection = None


# All exceptions as one


if sys.version_info >= (3, 11):

    class BaseCallsFailed(BaseExceptionGroup[BaseException]):
        """As CallsFailed, with an exception that is no Exception, as that of
        pytest.fail()."""

        def derive(self, excs: Sequence[BaseException]) -> BaseCallsFailed:
            return _group(self.message, excs)

    class CallsFailed(BaseCallsFailed, ExceptionGroup[Exception]):
        """Calls of a function failed. exceptions: what they raised, each with
        its traceback, in the order of the calls."""

else:

    class BaseCallsFailed(BaseException):
        """Calls of a function failed. exceptions: what they raised, each with
        its traceback, in the order of the calls."""

        def __init__(
            self, message: str, exceptions: Sequence[BaseException]
        ) -> None:
            super().__init__(message, exceptions)
            self.message = message
            self.exceptions = tuple(exceptions)

        def __str__(self) -> str:
            count = len(self.exceptions)
            lines = [f"{self.message} ({count} sub-exceptions)"]
            for i, error in enumerate(self.exceptions):
                shown = traceback.format_exception(
                    type(error), error, error.__traceback__
                )
                lines.append(f"exception {i + 1} of {count}:")
                lines.append("".join(shown).rstrip())
            return "\n".join(lines)

    class CallsFailed(BaseCallsFailed, Exception):
        """As BaseCallsFailed, if all are of class Exception."""


class CallsFailedAssertion(CallsFailed, AssertionError):
    """As CallsFailed, if all exceptions are AssertionErrors: test runners
    count it as a failed test, and not as a broken one."""


def _group(
    message: str, exceptions: Sequence[BaseException]
) -> BaseCallsFailed:
    return _class_for(exceptions)(message, exceptions)


def _class_for(
    exceptions: Sequence[BaseException],
) -> type[BaseCallsFailed]:
    if all(isinstance(error, AssertionError) for error in exceptions):
        return CallsFailedAssertion
    if all(isinstance(error, Exception) for error in exceptions):
        return CallsFailed
    return BaseCallsFailed


def collected(function: Any, results: Sequence[Any]) -> BaseException | None:
    """All failures as one exception; None: there is none."""
    failures = [
        result for result in results if isinstance(result, WrappedError)
    ]
    if not failures:
        return None
    errors = [failure.error for failure in failures]
    for failure, error in zip(failures, errors):
        if failure.stderr and hasattr(error, "add_note"):
            error.add_note(failure.stderr)
    count = f"{len(errors)} of {len(results)} calls"
    return _group(f"{count} of {label_of(function)} failed", errors)
