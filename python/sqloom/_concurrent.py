# SPDX-License-Identifier: Apache-2.0
"""Concurrent calls: several calls of functions, all released at once.

    results = sqloom.call_concurrently(5, redeem, code="X")

Each call is in a clean process, or, if that is asked for, on a thread. The
results are values; what did not return is a WrappedError. All of it works
without Django, and knows Django if the program uses it.

Concurrent calls are a load, and may miss a bug. sqloom.explore() tries the
orders that matter, one by one.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar, Union

from sqloom._naming import Function, GivenCall, label_of
from sqloom._threads import CallsFailed, collected, run_on_threads
from sqloom._wrapped import (
    CallCrashed,
    CallExited,
    CallLost,
    CallTimedOut,
    RemoteError,
    ResultError,
    WrappedError,
)
from sqloom.errors import UsageError

__all__ = [
    "CALLS_MAX",
    "CallCrashed",
    "CallExited",
    "CallLost",
    "CallTimedOut",
    "Calls",
    "CallsFailed",
    "RemoteError",
    "ResultError",
    "WrappedError",
    "call_concurrently",
    "make_concurrent_calls",
    "test_concurrently",
]

CALLS_MAX = 256  # calls that can be made at once

_Test = TypeVar("_Test", bound=Callable[..., Any])

OneCall = Union[
    Function,
    "tuple[Function]",
    "tuple[Function, Mapping[str, Any]]",
    "tuple[Function, Sequence[Any], Mapping[str, Any]]",
]
"""A function; or (function, {keyword: argument}); or
(function, (arguments, ...), {keyword: argument}).

A function is the object, a functools.partial of one, or its dotted path,
"package.module.function" or "package.module:function"."""


@dataclasses.dataclass(frozen=True)
class Calls:
    """How concurrent calls are made. The functions call_concurrently() and
    make_concurrent_calls() of the package are those of `Calls()`, and
    test_concurrently() is that of `Calls(threads=True)`.

    threads: on threads of this process, instead of in clean processes.
    timeout: of each call, in seconds, from the common start.
    databases: the aliases that the calls use, None for all. Of the others, the
    calls get the settings that the helper read, no copy is made if they are in
    memory, and no transaction is looked for.
    """

    threads: bool = False
    timeout: float = 60.0
    databases: Collection[str] | None = None

    def __post_init__(self) -> None:
        timeout = self.timeout
        if not isinstance(timeout, (int, float)) or not 0 < timeout < 1e6:
            raise UsageError(
                f"the timeout is {timeout!r}; give seconds, from more than 0"
                " to less than 1,000,000"
            )
        if isinstance(self.databases, str):
            raise UsageError(
                f"databases={self.databases!r} is one string; give a list of"
                " aliases"
            )

    def call_concurrently(
        self, n: int, function: Function, /, *args: Any, **kwargs: Any
    ) -> list[Any]:
        """Calls function(*args, **kwargs) n times at once.

        Gives n results: what a call returned, or a WrappedError. UsageError:
        the calls cannot be made, and none was.
        """
        _check_number(n)
        return self._run([GivenCall(function, args, kwargs)] * n)

    def make_concurrent_calls(self, *calls: OneCall) -> list[Any]:
        """Makes different calls at once; see OneCall for what a call is.

        Gives their results in the order of the calls: what a call returned, or
        a WrappedError. UsageError: the calls cannot be made, and none was.
        """
        given = [_given(call, i + 1) for i, call in enumerate(calls)]
        if not given:
            raise UsageError(
                "no calls; give some: make_concurrent_calls((function,"
                " {'argument': 1}), ...)"
            )
        _check_number(len(given))
        return self._run(given)

    def test_concurrently(self, times: int) -> Callable[[_Test], _Test]:
        """A decorator: the function is called `times` times at once, on
        threads. If calls fail, CallsFailed is raised, an ExceptionGroup of all
        that they raised. The decorated function returns None."""
        _check_number(times)

        def decorate(function: _Test) -> _Test:
            @functools.wraps(function)
            def call(*args: Any, **kwargs: Any) -> None:
                _refuse_generator(function)
                given = [GivenCall(function, args, kwargs)] * times
                results = run_on_threads(given, self.timeout, self.databases)
                failures = collected(function, results)
                if failures is not None:
                    raise failures

            return call  # type: ignore[return-value]

        return decorate

    test_concurrently.__test__ = False  # type: ignore[attr-defined]

    def _run(self, calls: list[GivenCall]) -> list[Any]:
        for call in calls:
            _refuse_generator(call.function)
        if self.threads:
            return run_on_threads(calls, self.timeout, self.databases)
        # Not before it is needed: exploring needs nothing of it.
        from sqloom._processes import run_in_processes

        return run_in_processes(calls, self.timeout, self.databases)


def _refuse_generator(function: Any) -> None:
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(
        function
    ):
        raise UsageError(
            f"{label_of(function)} is a generator function: calling it does"
            " nothing; give a function that goes through it"
        )


def _check_number(n: Any) -> None:
    if not isinstance(n, int) or isinstance(n, bool):
        raise UsageError(
            f"the number of calls is {n!r}; it comes first:"
            " call_concurrently(5, function, argument=1)"
        )
    if not 1 <= n <= CALLS_MAX:
        raise UsageError(f"{n} calls; give a number from 1 to {CALLS_MAX}")


def _given(call: Any, number: int) -> GivenCall:
    if callable(call) or isinstance(call, str):
        return GivenCall(call, (), {})
    if isinstance(call, (tuple, list)):
        if len(call) == 1:
            return GivenCall(call[0], (), {})
        if len(call) == 2 and isinstance(call[1], Mapping):
            return GivenCall(call[0], (), dict(call[1]))
        if len(call) == 3 and isinstance(call[2], Mapping):
            args = call[1]
            if isinstance(args, (tuple, list)):
                return GivenCall(call[0], tuple(args), dict(call[2]))
    raise UsageError(
        f"call {number} is {call!r}; give (function, {{'argument': 1}}), or"
        " (function, (1, 2), {'argument': 3})"
    )


_processes = Calls()
_threads = Calls(threads=True)

call_concurrently = _processes.call_concurrently
make_concurrent_calls = _processes.make_concurrent_calls


def test_concurrently(times: int) -> Callable[[_Test], _Test]:
    """A decorator: the function is called `times` times at once, on threads.

    If calls fail, CallsFailed is raised, an ExceptionGroup of all that they
    raised. The decorated function returns None. It can be a test itself, or a
    function inside of a test, which then calls it:

        def test_registration():
            @test_concurrently(15)
            def register():
                ...

            register()

    With another timeout: `Calls(timeout=5).test_concurrently(15)`.
    """
    return _threads.test_concurrently(times)


# For pytest, which would collect it where it is imported.
test_concurrently.__test__ = False  # type: ignore[attr-defined]
