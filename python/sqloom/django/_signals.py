# SPDX-License-Identifier: Apache-2.0
"""Signals whose receivers can be silent: suspendingreceiver, by a setting, and
suspend_signals, by a scope.

Receivers are never disconnected: while anything is suspended, the list that a
send is about to call is filtered. So nothing can be lost, whatever is
connected or disconnected meanwhile, or is being sent by another thread.

May use: Django's dispatcher. suspendingreceiver is made for production and
changes nothing of Django; the first suspension puts a filter before
Signal._live_receivers(), which stays and costs nothing when nothing is
suspended.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, TypeVar, overload

from django.conf import settings
from django.dispatch import Signal, receiver

from ..errors import UsageError
from ._scope import End, Scope, wrap_method, wrap_tests

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def suspendingreceiver(signal: Signal | list[Signal] | tuple[Signal, ...],
                       **kwargs: Any) -> Callable[[F], F]:
    """Connects a receiver as django.dispatch.receiver does, with the same
    arguments (a signal or a list of them, sender, weak, dispatch_uid), but it
    is silent while settings.SUSPEND_SIGNALS is true. Without that setting it is
    an ordinary receiver.

    The usual way is SUSPEND_SIGNALS = True in the settings of the tests, and
    @override_settings(SUSPEND_SIGNALS=False) on the few test classes and
    methods that are about receivers.

    Returns what is connected, so that signal.disconnect() knows it; it is
    silent when called directly, too, and __wrapped__ is the function itself.
    """
    def decorate(function: F) -> F:
        connected: Any
        if inspect.iscoroutinefunction(function):
            @functools.wraps(function)
            async def answer(*args: Any, **named: Any) -> Any:
                if _is_suspended_by_setting():
                    return None
                return await function(*args, **named)
            connected = answer
        else:
            @functools.wraps(function)
            def call(*args: Any, **named: Any) -> Any:
                if _is_suspended_by_setting():
                    return None
                return function(*args, **named)
            connected = call
        receiver(signal, **kwargs)(connected)
        result: F = connected
        return result
    return decorate


def _is_suspended_by_setting() -> bool:
    return bool(getattr(settings, "SUSPEND_SIGNALS", False))


class _Suspension:
    """One entry: what is not called. Immutable, but that it ends."""

    def __init__(self, signals: tuple[Signal, ...], senders: tuple[Any, ...],
                 receivers: tuple[Any, ...]) -> None:
        self.signals = signals
        self.senders = senders
        self.receivers = receivers
        self.holds = True

    def fits(self, signal: Signal, sender: Any) -> bool:
        return (self.holds
                and (not self.signals
                     or any(each is signal for each in self.signals))
                and (not self.senders
                     or any(_is_sender(each, sender) for each in self.senders)))

    def silences(self, signal: Signal, called: Any) -> bool:
        return not self.receivers or any(
            _is_receiver(each, signal, called) for each in self.receivers)


def _is_sender(wanted: Any, sender: Any) -> bool:
    """A model may be told by its label, as when connecting to it."""
    if isinstance(wanted, str) and hasattr(sender, "_meta"):
        return bool(sender._meta.label_lower == wanted.lower())
    return wanted is sender


def _check_sender(wanted: Any) -> None:
    """A sender may be any text; but one that begins like the label of a model
    is that of a model."""
    from django.apps import apps

    if not isinstance(wanted, str) or not apps.ready:
        return
    label, dot, name = wanted.partition(".")
    if not (dot and label in apps.app_configs):
        return
    try:
        apps.get_model(label, name)
    except LookupError as error:
        raise UsageError(f"suspend_signals: sender={wanted!r} would silence "
                         f"nothing: {error}") from None


def _is_receiver(wanted: Any, signal: Signal, called: Any) -> bool:
    """The function or method itself; what it wraps; where it is defined; or
    the dispatch_uid under which it is connected."""
    if isinstance(wanted, str):
        return wanted == _path(called) or any(
            key[0] == wanted and _dereferenced(kept) == called
            for key, kept, *_ in list(signal.receivers))
    while called is not None:
        if called == wanted:
            return True
        called = getattr(called, "__wrapped__", None)
    return False


def _path(called: Any) -> str:
    return (f"{getattr(called, '__module__', '')}."
            f"{getattr(called, '__qualname__', '')}")


def _dereferenced(kept: Any) -> Any:
    import weakref

    return kept() if isinstance(kept, weakref.ReferenceType) else kept


# What is suspended: tuples that are replaced, never changed, so that a send
# reads them without a lock.
_lock = threading.Lock()
_everywhere: tuple[_Suspension, ...] = ()
_here: ContextVar[tuple[_Suspension, ...]] = ContextVar(
    "sqloom_suspensions", default=())


def _filter_live_receivers() -> None:
    """Puts the filter into Signal, once. Called with the lock."""
    inherited: Any = Signal._live_receivers
    if hasattr(inherited, "_sqloom_filters"):
        return

    @functools.wraps(inherited)
    def live_receivers(self: Signal, sender: Any) -> Any:
        found = inherited(self, sender)
        suspended = [each for each in (*_everywhere, *_here.get())
                     if each.fits(self, sender)]
        if not suspended:
            return found

        def loud(called: Any) -> bool:
            return not any(each.silences(self, called) for each in suspended)
        if isinstance(found, tuple):  # Django 5: (synchronous, asynchronous)
            return tuple(list(filter(loud, part)) for part in found)
        return list(filter(loud, found))

    live_receivers._sqloom_filters = True  # type: ignore[attr-defined]
    Signal._live_receivers = live_receivers


def _begin(suspension: _Suspension, this_thread: bool) -> None:
    global _everywhere
    with _lock:
        _filter_live_receivers()
        if this_thread:
            _here.set((*_here.get(), suspension))
        else:
            _everywhere = (*_everywhere, suspension)


def _end(suspension: _Suspension) -> None:
    """May be called in another context or thread than _begin() was."""
    global _everywhere
    suspension.holds = False
    with _lock:
        _everywhere = tuple(each for each in _everywhere
                            if each is not suspension)
    if suspension in _here.get():
        _here.set(tuple(each for each in _here.get() if each.holds))


class SuspendSignals(Scope):
    """What suspend_signals() returns."""

    _name = "suspend_signals"

    def __init__(self, signals: tuple[Signal, ...], senders: tuple[Any, ...],
                 receivers: tuple[Any, ...], this_thread: bool) -> None:
        super().__init__()
        self._what = (signals, senders, receivers)
        self._this_thread = this_thread

    def begin(self) -> End:
        for sender in self._what[1]:
            _check_sender(sender)
        suspension = _Suspension(*self._what)
        _begin(suspension, self._this_thread)
        return lambda failed: _end(suspension)

    def of_class(self, cls: type) -> None:
        import unittest

        if not issubclass(cls, unittest.TestCase):
            if not wrap_tests(cls, self):
                raise UsageError(
                    f"suspend_signals: {cls.__qualname__} has no tests; to "
                    f"silence what it sends, write sender={cls.__qualname__}")
            return

        # The last cleanup runs behind tearDownClass(), and also when
        # setUpClass() has failed.
        def around(inherited: Callable[[], Any], bound: Any) -> Any:
            end = self.begin()
            bound.addClassCleanup(end, False)
            return inherited()
        wrap_method(cls, "setUpClass", around)


@overload
def suspend_signals(decorated: T, /) -> T: ...


@overload
def suspend_signals(*signals: Signal, sender: Any = None, receiver: Any = None,
                    this_thread: bool = False) -> SuspendSignals: ...


def suspend_signals(*signals: Any, sender: Any = None, receiver: Any = None,
                    this_thread: bool = False) -> Any:
    """Receivers are not called while it holds; connected they stay. A context
    manager, a decorator of functions (async ones and generators, too) and of
    test classes, whose setUpClass() and setUpTestData() run in it as well::

        with suspend_signals():                       # all receivers
        with suspend_signals(post_save, pre_save):    # of these signals
        with suspend_signals(sender=Book):            # of what Book sends
        with suspend_signals(receiver=update_index):  # this one, everywhere
        @suspend_signals(post_save, sender=Book)      # both must fit
        class ImportTests(TestCase): ...

    signals: of django.dispatch.Signal; none are all.
    sender: one or a list; a model may be told as "app.Model".
    receiver: one or a list: the function, a method, its path
    "package.module.name", or the dispatch_uid it is connected with.
    this_thread: only what this thread sends, and what it runs in others by
    asgiref (sync_to_async, async_to_sync); all threads by default.

    Suspensions can be stacked; a receiver is called when none fits it. A send
    that is under way calls those it has begun with. Signals that are sent in
    other processes are not suspended.
    """
    if (len(signals) == 1 and callable(signals[0])
            and sender is None and receiver is None):
        return SuspendSignals((), (), (), this_thread)(signals[0])
    for each in signals:
        if not isinstance(each, Signal):
            raise UsageError(
                f"suspend_signals: {each!r} is not a signal; senders and "
                f"receivers are named: sender=..., receiver=...")
    receivers = _listed(receiver)
    for each in receivers:
        if not (isinstance(each, str) or callable(each)):
            raise UsageError(f"suspend_signals: {each!r} is no receiver; it is "
                             f"a function, its path, or a dispatch_uid")
    return SuspendSignals(signals, _listed(sender), receivers, this_thread)


def _listed(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    is_many = (isinstance(value, Iterable)
               and isinstance(value, (list, tuple, set, frozenset)))
    return tuple(value) if is_many else (value,)
