# SPDX-License-Identifier: Apache-2.0
"""What holds from a begin to an end, in the three shapes in which tests want
it: a with-block, a decorated function of any kind, a decorated test class.

Knows nothing of what is held; commit_hooks and suspend_signals are made of it.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

End = Callable[[bool], None]
"""Ends what begin() has begun; told whether an exception is on its way."""


class Scope:
    """A context manager that is a decorator, too. It may be entered again while
    it is entered, and by several threads: each entry is a begin() of its own.
    """

    _name = "a scope"

    def __init__(self) -> None:
        self._ends: list[tuple[int, End]] = []
        self._lock = threading.Lock()

    def begin(self) -> End:
        """Begins once more, and returns what ends just that."""
        raise NotImplementedError

    async def begin_async(self) -> Callable[[bool], Any]:
        """The same for an async function; what it returns may be awaitable."""
        return self.begin()

    def of_class(self, cls: type) -> None:
        """Makes the tests of the class, with their set-up, run in it."""
        raise NotImplementedError

    def __enter__(self) -> None:
        end = self.begin()
        with self._lock:
            self._ends.append((threading.get_ident(), end))

    def __exit__(self, exc_type: type[BaseException] | None,
                 exc: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self._take_end()(exc_type is not None)

    def _take_end(self) -> End:
        """The newest of this thread; of others, if it entered nothing."""
        with self._lock:
            newest = len(self._ends) - 1
            mine = [at for at, (thread, _) in enumerate(self._ends)
                    if thread == threading.get_ident()]
            return self._ends.pop(mine[-1] if mine else newest)[1]

    def __call__(self, decorated: T) -> T:
        made: T = self._decorated(decorated)
        return made

    def _decorated(self, decorated: Any) -> Any:
        if isinstance(decorated, type):
            self.of_class(decorated)
            return decorated
        if isinstance(decorated, (staticmethod, classmethod)):
            return type(decorated)(self._decorated(decorated.__func__))
        if not callable(decorated):
            raise TypeError(f"{self._name} decorates functions and test "
                            f"classes, not {decorated!r}")
        return self._of_function(decorated)

    def _of_function(self, function: Any) -> Any:
        if inspect.iscoroutinefunction(function):
            return self._coroutine(function)
        if inspect.isasyncgenfunction(function):
            return self._async_steps(function)
        if inspect.isgeneratorfunction(function):
            return self._steps(function)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)
        return wrapper

    def _coroutine(self, function: Any) -> Any:
        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            end = await self.begin_async()
            failed = True
            try:
                value = await function(*args, **kwargs)
                failed = False
                return value
            finally:
                await _awaited(end(failed))
        return wrapper

    def _steps(self, function: Any) -> Any:
        """A generator, as fixtures of pytest are."""
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self:
                return (yield from function(*args, **kwargs))
        return wrapper

    def _async_steps(self, function: Any) -> Any:
        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            end = await self.begin_async()
            failed = True
            try:
                async for value in function(*args, **kwargs):
                    yield value
                failed = False
            finally:
                await _awaited(end(failed))
        return wrapper


async def _awaited(value: Any) -> None:
    if inspect.isawaitable(value):
        await value


def wrap_method(cls: type, name: str,
                around: Callable[..., Any]) -> None:
    """Puts a method into the class that calls around(inherited, self or cls,
    *args), where inherited is what the class had: its own, or the next one of
    the classes above, as super() would find it."""
    own = cls.__dict__.get(name)
    is_classmethod = isinstance(inspect.getattr_static(cls, name), classmethod)

    def method(bound: Any, *args: Any, **kwargs: Any) -> Any:
        owner = bound if isinstance(bound, type) else type(bound)
        inherited = (own.__get__(bound, owner) if own is not None
                     else getattr(super(cls, bound), name))
        return around(inherited, bound, *args, **kwargs)

    source = getattr(own, "__func__", own) or getattr(cls, name)
    method = functools.wraps(getattr(source, "__func__", source))(method)
    setattr(cls, name, classmethod(method) if is_classmethod else method)


def wrap_tests(cls: type, scope: Scope) -> bool:
    """A class that pytest alone collects: its tests and its setup methods are
    decorated, one by one. Returns whether there are any tests."""
    found = False
    for name in dir(cls):
        raw = inspect.getattr_static(cls, name)
        if not (inspect.isfunction(raw)
                or isinstance(raw, (staticmethod, classmethod))):
            continue
        if name.startswith("test"):
            setattr(cls, name, scope(raw))
            found = True
        elif name in ("setup_class", "teardown_class"):
            setattr(cls, name, classmethod(_setup_class(raw, scope)))
        elif name in ("setup_method", "teardown_method"):
            setattr(cls, name, _setup_method(raw, scope))
    return found


# pytest counts the arguments of these, and looks past decorators.

def _setup_class(raw: Any, scope: Scope) -> Callable[[Any], Any]:
    function = getattr(raw, "__func__", raw)

    def setup_class(cls: Any) -> Any:
        with scope:
            return function(cls)
    return setup_class


def _setup_method(raw: Any, scope: Scope) -> Callable[[Any, Any], Any]:
    function = getattr(raw, "__func__", raw)
    wants = function.__code__.co_argcount > 1

    def setup_method(bound: Any, method: Any) -> Any:
        with scope:
            return function(bound, method) if wants else function(bound)
    return setup_method
