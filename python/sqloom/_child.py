# SPDX-License-Identifier: Apache-2.0
"""One call, in the process that was forked for it. Never returns."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import inspect
import os
import pickle
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from sqloom import _prepare, _wrapped
from sqloom._naming import Spec, load_function
from sqloom._surroundings import Databases

if TYPE_CHECKING:
    from types import TracebackType

# The first byte of the file with the result; what follows is a pickle.
NOTHING = b"\0"  # the call did not come to an end
RETURNED = b"V"  # the value
RAISED = b"E"  # Told
EXITED = b"X"  # what was given to exit()
NO_RESULT = b"U"  # a text: the value cannot be pickled
REFUSED = b"R"  # a text: the call cannot be made

PATIENCE_S = 0.1  # until a spare does something useful
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Place(NamedTuple):
    """What a child knows from the start."""

    parent: int
    orders: socket.socket
    result: int
    errors: int
    close: list[int]
    signals: Iterable[signal.Signals]


class Work(NamedTuple):
    """What it is told later: the call."""

    function: Spec
    arguments: bytes
    label: str
    number: int  # index of the call
    environment: bytes  # pickle
    databases: Databases


def run(place: Place) -> NoReturn:
    """The life of a child."""
    status = 1
    try:
        _settle(place)
        if not select.select([place.orders], [], [], PATIENCE_S)[0]:
            _prepare.warm_up()
        order = _take_order(place)
        if order is not None:
            _work(place, *order)
        status = 0
    except BaseException:
        with contextlib.suppress(BaseException):
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
    finally:
        os._exit(status)


def _settle(place: Place) -> None:
    """A session of its own, the descriptors of a program, no signal handlers
    of the helper."""
    os.setsid()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, place.signals)
    if os.getppid() != place.parent:
        os._exit(1)
    os.dup2(place.errors, 2)
    for descriptor in (*place.close, place.errors):
        os.close(descriptor)
    faulthandler.enable(2)


def _take_order(place: Place) -> tuple[Work, int, int] | None:
    """The work, where to say that all is ready, and where to wait for the
    others. None: there will be none."""
    packet, descriptors, _, _ = socket.recv_fds(place.orders, 128 * 1024, 4)
    place.orders.close()
    if not packet:
        return None
    output, ready, wait, *file = descriptors
    os.dup2(output, 1)
    os.close(output)
    for descriptor in file:
        with os.fdopen(descriptor, "rb") as content:
            content.seek(0)
            packet = content.read()
    return pickle.loads(packet), ready, wait


def _work(place: Place, work: Work, ready: int, wait: int) -> None:
    what = work.label
    try:
        _prepare.enter_child(work.environment, work.databases)
        function = load_function(work.function)
        what = f"the arguments of {work.label}"
        args, kwargs = pickle.loads(work.arguments)
    except BaseException as error:
        text = f"{_wrapped.class_name(error)}: {_wrapped.shown(error)}"
        refusal = f"{what} cannot be used in a clean process: {text}"
        _commit(place.result, REFUSED, refusal)
        return
    os.write(ready, struct.pack("=i", work.number))
    os.close(ready)
    os.read(wait, 1)  # until the helper closes its end
    os.close(wait)
    kind, value = _outcome(function, work.label, args, kwargs)
    _prepare.leave_child()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    _commit(place.result, kind, value)


def _outcome(
    function: Callable[..., Any],
    label: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[bytes, Any]:
    """The kind of end, and what is told of it: bytes are pickled already."""
    try:
        value = function(*args, **kwargs)
        if inspect.iscoroutine(value):
            from sqloom._calls import finished

            value = finished(value)
    except SystemExit as error:
        return EXITED, error.code
    except BaseException as error:
        return RAISED, _wrapped.tell(error, _inside(error.__traceback__))
    try:
        return RETURNED, pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        return NO_RESULT, (
            f"{label} returned a {type(value).__qualname__} that"
            " cannot be pickled, so it cannot be sent to this process"
            f" ({_wrapped.class_name(error)}: {_wrapped.shown(error)});"
            " return something plain, as a primary key or a list of values"
        )


def _inside(where: TracebackType | None) -> TracebackType | None:
    """The traceback without the line above that made the call."""
    return where.tb_next if where is not None and where.tb_next else where


def _commit(result: int, kind: bytes, value: Any) -> None:
    """Writes the result, and last that it is whole."""
    content = value
    if not isinstance(value, bytes):
        try:
            content = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        except Exception:  # of exit(object())
            content = pickle.dumps(_wrapped.shown(value))
    view = memoryview(content)
    offset = 0
    while offset < len(view):
        offset += os.pwrite(result, view[offset:], 1 + offset)
    os.pwrite(result, kind, 0)
