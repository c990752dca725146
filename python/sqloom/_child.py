# SPDX-License-Identifier: Apache-2.0
"""One call, in the process that was forked for it. Never returns."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import pickle
import signal
import struct
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from sqloom import _prepare, _wrapped

if TYPE_CHECKING:
    from types import TracebackType

    from sqloom._helper import Order

# The first byte of the file with the result; what follows is a pickle.
NOTHING = b"\0"  # the call did not come to an end
RETURNED = b"V"  # the value
RAISED = b"E"  # Told
EXITED = b"X"  # what was given to exit()
NO_RESULT = b"U"  # a text: the value cannot be pickled
REFUSED = b"R"  # a text: the call cannot be made

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Duty(NamedTuple):
    """All that a child must know."""

    function: Callable[..., Any]
    order: Order
    number: int  # index of the call
    parent: int
    result: int
    errors: int
    output: int
    ready: int
    wait: int
    close: list[int]
    signals: Iterable[signal.Signals]


def run(duty: Duty) -> NoReturn:
    """The life of a child."""
    status = 1
    try:
        _settle(duty)
        _work(duty)
        status = 0
    except BaseException:
        with contextlib.suppress(BaseException):
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
    finally:
        os._exit(status)


def _settle(duty: Duty) -> None:
    """A session of its own, the descriptors of a program, no signal handlers
    of the helper."""
    os.setsid()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, duty.signals)
    if os.getppid() != duty.parent:
        os._exit(1)
    os.dup2(duty.output, 1)
    os.dup2(duty.errors, 2)
    for descriptor in (*duty.close, duty.output, duty.errors):
        os.close(descriptor)
    faulthandler.enable(2)


def _work(duty: Duty) -> None:
    try:
        args, kwargs = _arguments(duty.order)
        _prepare.enter_child()
    except BaseException as error:
        text = f"{_wrapped.class_name(error)}: {_wrapped.shown(error)}"
        message = f"the arguments of {duty.order.label} cannot be used in a"
        _commit(duty, REFUSED, f"{message} clean process: {text}")
        return
    os.write(duty.ready, struct.pack("=i", duty.number))
    os.close(duty.ready)
    os.read(duty.wait, 1)  # until the helper closes its end
    os.close(duty.wait)
    kind, value = _outcome(duty, args, kwargs)
    _prepare.leave_child()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    _commit(duty, kind, value)


def _arguments(order: Order) -> tuple[tuple[Any, ...], dict[str, Any]]:
    args, kwargs = pickle.loads(order.arguments)
    return args, kwargs


def _outcome(
    duty: Duty, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[bytes, Any]:
    """The kind of end, and what is told of it: bytes are pickled already."""
    try:
        value = duty.function(*args, **kwargs)
    except SystemExit as error:
        return EXITED, error.code
    except BaseException as error:
        return RAISED, _wrapped.tell(error, _inside(error.__traceback__))
    try:
        return RETURNED, pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        return NO_RESULT, (
            f"{duty.order.label} returned a {type(value).__qualname__} that"
            " cannot be pickled, so it cannot be sent to this process"
            f" ({_wrapped.class_name(error)}: {_wrapped.shown(error)});"
            " return something plain, as a primary key or a list of values"
        )


def _inside(where: TracebackType | None) -> TracebackType | None:
    """The traceback without the line above that made the call."""
    return where.tb_next if where is not None and where.tb_next else where


def _commit(duty: Duty, kind: bytes, value: Any) -> None:
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
        offset += os.pwrite(duty.result, view[offset:], 1 + offset)
    os.pwrite(duty.result, kind, 0)
