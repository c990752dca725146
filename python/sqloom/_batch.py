# SPDX-License-Identifier: Apache-2.0
"""The calls of one request, in the helper: from their orders to the last word
about them to the test process."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from sqloom import _child
from sqloom._naming import Spec
from sqloom._surroundings import Databases

if TYPE_CHECKING:
    from sqloom._helper import Helper

__all__ = ["Batch", "Call", "Order", "Request", "notify"]

STDERR_MAX = 64 * 1024  # bytes of standard error that are kept
ABORT_S = 0.5  # from the signal that shows the traceback to SIGKILL


class Order(NamedTuple):
    """One call of a request."""

    function: int  # index
    arguments: bytes  # pickle of (args, kwargs)
    label: str


class Request(NamedTuple):
    """What the test process wants."""

    surroundings: bytes  # pickle
    environment: bytes  # pickle of a dict
    databases: Databases
    libraries: list[str]  # for a new helper
    django_module: str | None  # of the settings
    functions: list[Spec]
    orders: list[Order]
    timeout: float  # of each call, in seconds


class Call:
    """One child: first a spare, that waits for an order, then a call."""

    def __init__(
        self, pid: int, orders: socket.socket, result: int, errors: int
    ) -> None:
        self.pid = pid
        self.orders = orders  # where it waits
        self.result = result  # descriptor of the file with the result
        self.errors = errors  # descriptor: end of a pipe
        self.index = -1
        self.tail = bytearray()
        self.late = False

    def descriptors(self) -> list[int]:
        """Ours; one that is closed is negative."""
        return [self.orders.fileno(), self.result, self.errors]

    def close(self) -> None:
        self.orders.close()
        os.close(self.result)
        os.close(self.errors)

    def read_errors(self) -> bool:
        """What it wrote to standard error. False: there is no more."""
        try:
            read = os.read(self.errors, STDERR_MAX)
        except BlockingIOError:
            return True
        self.tail += read
        del self.tail[:-STDERR_MAX]
        return bool(read)

    def kill(self) -> None:
        """With all that is in its session's group. Not yet waited for, so its
        number is still its own."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


class Batch:
    """The calls of one request."""

    def __init__(
        self, helper: Helper, link: socket.socket, request: Request
    ) -> None:
        self.helper = helper
        self.link = link
        self.request = request
        self.calls: dict[int, Call] = {}  # by process
        self.waiting: set[int] = set()  # indexes of calls that are not ready
        self.refused = False
        self.deadline: float | None = None
        self.aborted = False
        self.ready, self.tell_ready = os.pipe()
        self.wait, self.go = os.pipe()
        os.set_blocking(self.ready, False)

    # What the test process is told

    def tell(self, *message: Any, descriptor: int | None = None) -> None:
        """A message. A test process that does not listen has no calls."""
        packet = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        with contextlib.suppress(OSError):
            if descriptor is None:
                self.link.sendall(packet)
            else:
                socket.send_fds(self.link, [packet], [descriptor])

    # Start

    def start(self, output: int) -> None:
        watch = self.helper.watch
        watch(self.link.fileno(), self.cancel)
        watch(self.ready, self.read_ready)
        for index in range(len(self.request.orders)):
            self.waiting.add(index)
            try:
                self.order(index, output)
            except OSError as error:
                self.waiting.discard(index)
                self.tell("lost", index, str(error))
        self.tell("started", list(self.calls))
        os.close(self.tell_ready)
        os.close(self.wait)
        self.release_if_ready()
        self.end_if_over()

    def order(self, index: int, output: int) -> None:
        """Gives one call to a child. OSError: cannot be."""
        order = self.request.orders[index]
        work = _child.Work(
            self.request.functions[order.function],
            order.arguments,
            order.label,
            index,
            self.request.environment,
            self.request.databases,
        )
        call = self.helper.take_child(
            pickle.dumps(work, pickle.HIGHEST_PROTOCOL),
            [output, self.tell_ready, self.wait],
        )
        call.index = index
        self.calls[call.pid] = call
        self.helper.watch(call.errors, lambda: self.read_errors(call))

    def read_errors(self, call: Call) -> None:
        if not call.read_errors():
            self.helper.unwatch(call.errors)

    # The barrier

    def read_ready(self) -> None:
        with contextlib.suppress(BlockingIOError):
            numbers = os.read(self.ready, 4 * len(self.request.orders))
            for (index,) in struct.iter_unpack("=i", numbers):
                self.waiting.discard(index)
            if not numbers:  # all have ended
                self.helper.unwatch(self.ready)
        self.release_if_ready()

    def release_if_ready(self) -> None:
        if not self.waiting and not self.refused and self.go >= 0:
            os.close(self.go)
            self.go = -1
            self.deadline = time.monotonic() + self.request.timeout
            self.tell("released")

    # The end

    def ended(self, pid: int, status: int) -> None:
        """A process of this batch has ended and is waited for."""
        call = self.calls.pop(pid)
        # Its group may have members; else nobody can have got its number yet,
        # since we are the parent of all that could.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        before = -1
        while before != len(call.tail) and call.read_errors():
            before = len(call.tail)
        self.helper.unwatch(call.errors)
        code = os.waitstatus_to_exitcode(status)
        if os.pread(call.result, 1, 0) == _child.REFUSED:
            self.refused = True
            self.kill()
        self.tell(
            "ended",
            call.index,
            code,
            call.late,
            bytes(call.tail),
            descriptor=call.result,
        )
        call.close()
        self.waiting.discard(call.index)
        self.release_if_ready()
        self.end_if_over()

    def end_if_over(self) -> None:
        if self.calls:
            return
        self.helper.batches.remove(self)
        self.helper.kill_orphans()
        for descriptor in (self.link.fileno(), self.ready):
            self.helper.unwatch(descriptor)
        os.close(self.ready)
        if self.go >= 0:
            os.close(self.go)
        self.tell("over")
        self.link.close()

    def cancel(self) -> None:
        """The test process does not want it any more, or is no more."""
        self.helper.unwatch(self.link.fileno())
        self.refused = True
        self.kill()

    def kill(self) -> None:
        for call in self.calls.values():
            call.kill()

    def look_at_clock(self, now: float) -> None:
        """Who is late shows where it is, and is killed a moment later."""
        if self.deadline is None or now < self.deadline:
            return
        if self.aborted:
            self.deadline = None
            self.kill()
            return
        self.aborted = True
        self.deadline = now + ABORT_S
        for call in self.calls.values():
            call.late = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(call.pid, signal.SIGABRT)


def notify(link: socket.socket, *message: Any) -> None:
    with contextlib.suppress(OSError):
        link.sendall(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
