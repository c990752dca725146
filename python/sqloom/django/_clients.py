# SPDX-License-Identifier: Apache-2.0
"""Keeps what Django's test tools share in a process apart, call by call.

Django's test client was made for one request at a time. It hears of exceptions
and of rendered templates by signals that go to every client, whosever request
it was; it keeps the cookies of an answer for the next request, also when the
next request is that of another run, whose database has never heard of that
session. And an error that is logged is made into a mail to the administrators,
with queries of its own, also if there are none.

Inside of separated(), each call finds each client as it was before the
exploration, in every run, and what it does to it is its own.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Separation", "separated"]

_KEPT = ("cookies", "exc_info")
_MISSING = object()


class Separation:
    """Which threads are calls', and what their clients have become."""

    def __init__(self) -> None:
        self._of_call: dict[int, dict[tuple[int, str], Any]] = {}

    def begin_run(self) -> None:
        """On the thread of a call: its clients are as at first."""
        self._of_call[threading.get_ident()] = {}

    def end_thread(self) -> None:
        self._of_call.pop(threading.get_ident(), None)

    def mine(self) -> dict[tuple[int, str], Any] | None:
        """Of the calling thread; None: it is no call's."""
        return self._of_call.get(threading.get_ident())

    def is_other_call(self, thread: int) -> bool:
        """Is the calling thread that of another call than thread?"""
        here = threading.get_ident()
        return here != thread and here in self._of_call


class _PerCall:
    """An attribute of clients that has a value for each call."""

    def __init__(self, name: str, separation: Separation) -> None:
        self._name = name
        self._separation = separation

    def __get__(self, client: Any, owner: Any = None) -> Any:
        if client is None:
            return self
        mine = self._separation.mine()
        if mine is None:
            return self._shared(client)
        key = (id(client), self._name)
        if key not in mine:
            mine[key] = copy.deepcopy(self._shared(client))
        return mine[key]

    def __set__(self, client: Any, value: Any) -> None:
        mine = self._separation.mine()
        if mine is None or self._name not in vars(client):  # it is being made
            vars(client)[self._name] = value
            if mine is None:
                return
        mine[(id(client), self._name)] = value

    def _shared(self, client: Any) -> Any:
        try:
            return vars(client)[self._name]
        except KeyError:
            raise AttributeError(self._name) from None


def _apart(separation: Separation, module: Any) -> Callable[..., Any]:
    """For functools.partial in Django's module: of the templates that are
    rendered, a request hears of those that no other call renders."""
    store = module.store_rendered_templates

    def partial(function: Any, *args: Any, **kwargs: Any) -> Any:
        made = functools.partial(function, *args, **kwargs)
        if function is not store or separation.mine() is None:
            return made
        thread = threading.get_ident()

        def receive(*more: Any, **named: Any) -> Any:
            if not separation.is_other_call(thread):
                made(*more, **named)

        return receive

    return partial


def _to_nobody(handler: Any, record: Any) -> None:
    """A mail to no administrator."""


@contextlib.contextmanager
def _replaced(place: Any, name: str, value: Any) -> Iterator[None]:
    before = vars(place).get(name, _MISSING)
    setattr(place, name, value)
    try:
        yield
    finally:
        if before is _MISSING:
            delattr(place, name)
        else:
            setattr(place, name, before)


@contextlib.contextmanager
def separated(separation: Separation) -> Iterator[None]:
    """See above. separation is told of runs and threads."""
    from django.conf import settings
    from django.test import client
    from django.utils.log import AdminEmailHandler

    with contextlib.ExitStack() as stack:
        for name in _KEPT:
            stack.enter_context(_replaced(
                client.RequestFactory, name, _PerCall(name, separation)))
        stack.enter_context(_replaced(
            client, "partial", _apart(separation, client)))
        if not settings.ADMINS:
            stack.enter_context(_replaced(
                AdminEmailHandler, "emit", _to_nobody))
        yield
