# SPDX-License-Identifier: Apache-2.0
"""The calls that are given to explore(): what they are, and their names."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import functools
import inspect
import sys
import types
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Union

from sqloom._value import clean
from sqloom.errors import UsageError

__all__ = ["CALLS_MAX", "Call", "GivenCall", "calls_of", "check_text", "finished"]

CALLS_MAX = 16
NAME_MAX = 40  # characters of a name made of a function and its arguments
NAME_BYTES_MAX = 63  # of a name

GivenCall = Union[Callable[[], Any], "tuple[Any, ...]"]
"""A callable without arguments; or (callable, argument, ...); or
(callable, {keyword: argument}); or (callable, [arguments], {keywords})."""


@dataclasses.dataclass(frozen=True)
class Call:
    """One call, ready to be made."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def __call__(self) -> Any:
        function = self.function
        if isinstance(function, types.MethodType):
            own = _own(function.__self__)
            if own is not function.__self__:
                function = types.MethodType(function.__func__, own)
        args = [_own(value) for value in self.args]
        kwargs = {name: _own(value) for name, value in self.kwargs.items()}
        return finished(function(*args, **kwargs))

    @property
    def has_instances(self) -> bool:
        """Of models, which were read before the call."""
        own = getattr(self.function, "__self__", None)
        return any(map(_is_instance, (own, *self.args, *self.kwargs.values())))


def _is_instance(value: object) -> bool:
    """Of a model."""
    models: Any = sys.modules.get("django.db.models")
    return models is not None and isinstance(value, models.Model)


def _own(value: Any) -> Any:
    """An instance of a model as it was given: each call has its own in every
    run. Else what a run did to it would be there in the next, and two calls
    would share what only the database shares."""
    if not _is_instance(value):
        return value
    try:
        return copy.deepcopy(value)
    except Exception:  # it holds what cannot be copied, an open file, say
        return value


def finished(value: Any) -> Any:
    """What a coroutine comes to, run in this thread; other values as they are."""
    if not inspect.iscoroutine(value):
        return value
    coroutine: Coroutine[Any, Any, Any] = value
    asgiref: Any = sys.modules.get("asgiref.sync")
    if asgiref is None:
        return asyncio.run(coroutine)

    async def run() -> Any:
        return await coroutine

    # So that what Django makes of synchronous code runs on this thread.
    return asgiref.async_to_sync(run)()


# ---- What is given --------------------------------------------------------


def _is_keywords(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _parts(given: object, number: int) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    if callable(given):
        return given, (), {}
    if not isinstance(given, (tuple, list)) or not given or not callable(given[0]):
        raise UsageError(
            f"call {number} is {clean(repr(given))}, which cannot be called: give "
            "a function, or a tuple of a function and its arguments"
        )
    function, *rest = given
    if len(rest) == 1 and _is_keywords(rest[0]):
        return function, (), rest[0]
    if (
        len(rest) == 2
        and isinstance(rest[0], (tuple, list))
        and _is_keywords(rest[1])
    ):
        return function, tuple(rest[0]), rest[1]
    return function, tuple(rest), {}


def _check_arguments(call: Call, number: int) -> None:
    """A call that cannot even begin would fail in every order, and hold."""
    try:
        signature = inspect.signature(call.function)
    except (TypeError, ValueError):  # some of C have none
        return
    try:
        signature.bind(*call.args, **call.kwargs)
    except TypeError as error:
        raise UsageError(
            f"call {number} ({call.name}) cannot be called like that: {error}. "
            "Arguments stand behind the function: (function, argument, ...)"
        ) from None
    if inspect.isgeneratorfunction(call.function) or inspect.isasyncgenfunction(
        call.function
    ):
        raise UsageError(
            f"call {number} ({call.name}) is a generator function: calling it "
            "does nothing; give a function that goes through it"
        )


# ---- Names ----------------------------------------------------------------


def _function_name(function: Any, number: int) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", "") or type(function).__name__
    return f"call {number}" if name == "<lambda>" else str(name)


def _default_name(
    function: Any, args: Iterable[Any], kwargs: Mapping[str, Any], number: int
) -> str:
    """The function, with its arguments if they are short and plain."""
    base = _function_name(function, number)
    if isinstance(function, functools.partial):
        args = (*function.args, *args)
        kwargs = {**function.keywords, **kwargs}
    values = [*args, *kwargs.values()]
    if not values or not all(
        value is None or isinstance(value, (str, int, float)) for value in values
    ):
        return base
    shown = [repr(value) for value in args]
    shown += [f"{name}={value!r}" for name, value in kwargs.items()]
    name = f"{base}({', '.join(shown)})"
    return name if len(name) <= NAME_MAX and name.isprintable() else base


def _checked_names(names: Sequence[str], count: int) -> list[str]:
    names = [names] if isinstance(names, str) else list(names)
    if len(names) != count:
        raise UsageError(
            f"there are {count} calls and {len(names)} names: give each call one"
        )
    for number, name in enumerate(names, 1):
        if (
            not isinstance(name, str)
            or not name.strip()
            or not name.isprintable()
            or len(name.encode("utf-8", "replace")) > NAME_BYTES_MAX
        ):
            raise UsageError(
                f"name {number} is {name!r}: give a line of 1 to "
                f"{NAME_BYTES_MAX} bytes"
            )
        if names.index(name) != number - 1:
            raise UsageError(
                f"calls {names.index(name) + 1} and {number} are both called "
                f"{name!r}: give one of them another name"
            )
    return names


def _short(name: str) -> str:
    """Within the bytes of a name, with room for a number."""
    return name.encode()[: NAME_BYTES_MAX - 4].decode(errors="ignore")


def _distinct(names: Sequence[str]) -> list[str]:
    """Equal names get a number each."""
    made: list[str] = []
    for index, name in enumerate(names):
        base = _short(name)
        if names.count(name) > 1:
            base += f" {list(names[: index + 1]).count(name)}"
        while base in made:
            base = _short(base) + "'"
        made.append(base)
    return made


def calls_of(given: Iterable[GivenCall], names: Sequence[str] | None) -> list[Call]:
    """The calls, checked, with different names."""
    if callable(given) or not isinstance(given, Iterable):
        raise UsageError(
            "give the calls as a list: sqloom.explore([function, function])"
        )
    items = list(given)
    if len(items) < 2:
        raise UsageError(
            f"{len(items)} call{'s' if len(items) != 1 else ''} to explore: give "
            "at least 2; for twice the same, [function] * 2"
        )
    if len(items) > CALLS_MAX:
        raise UsageError(
            f"{len(items)} calls to explore: the most is {CALLS_MAX}, and 2 or 3 "
            "show nearly every race"
        )
    parts = [_parts(item, number) for number, item in enumerate(items, 1)]
    if names is None:
        chosen = _distinct(
            [_default_name(*part, number) for number, part in enumerate(parts, 1)]
        )
    else:
        chosen = _checked_names(names, len(items))
    calls = [Call(name, *part) for name, part in zip(chosen, parts)]
    for number, call in enumerate(calls, 1):
        _check_arguments(call, number)
    return calls


# ---- Checks ---------------------------------------------------------------


def _said(error: BaseException) -> str:
    """What a failed assertion says: its text, or its line."""
    text = clean(str(error)).strip()
    if text:
        return text.splitlines()[0]
    traceback = error.__traceback__
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    if traceback:
        import linecache

        code = traceback.tb_frame.f_code
        line = linecache.getline(code.co_filename, traceback.tb_lineno).strip()
        if line:
            return line
    return type(error).__name__


def _is_failure(error: BaseException) -> bool:
    """An assertion that failed, or pytest.fail()."""
    kind = type(error)
    return isinstance(error, AssertionError) or (
        kind.__module__ == "_pytest.outcomes" and kind.__name__ == "Failed"
    )


def check_text(check: Callable[[], Any]) -> str | None:
    """Asks a check of the user's: None, or in a line why it fails. It fails by an
    assertion, by returning False, or by returning a text."""
    try:
        answer = finished(check())
    except BaseException as error:
        if not _is_failure(error):
            raise
        return _said(error)
    if isinstance(answer, str):
        return " ".join(answer.split()) or None
    if answer is None or answer is True or answer:
        return None
    name = getattr(check, "__name__", "<lambda>")
    who = "it" if name == "<lambda>" else f"{name}()"
    return f"{who} returned {clean(repr(answer))}"
