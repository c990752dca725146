# SPDX-License-Identifier: Apache-2.0
"""The helper interpreter: each call in a clean process is a fork of it.

It is started by _processes.py, sets up Django as the test process has it,
imports the modules of the functions, and never has a connection open when it
forks. It has one thread, which never waits for anybody but in select().

When it has nothing else to do, it forks children for the next calls: spares,
which go as far as they can without knowing their call.

One batch of calls is one socket to the test process. A batch ends when all its
calls have ended and nothing that they started is left; if the test process
shuts the socket down, or ends in whatever way, the calls are killed.

It is a subreaper: what the calls leave behind becomes its child.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import pickle
import resource
import selectors
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Sequence

from sqloom import _child, _prepare
from sqloom._batch import Batch, Call, Request, notify

__all__ = ["main"]

PACKET_MAX = 64 * 1024  # bytes of work that are sent in a message
SPARES_MAX = 8  # children that wait for an order
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


class Helper:
    """The loop."""

    SIGNALS = frozenset({signal.SIGCHLD, signal.SIGTERM})

    def __init__(self, control: socket.socket, parent: int) -> None:
        self.control = control
        self.pid = os.getpid()
        self.batches: list[Batch] = []
        self.selector = selectors.DefaultSelector()
        self.preparation = _prepare.Preparation()
        self.woken, self.wake = os.pipe()
        for descriptor in (self.woken, self.wake):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self.wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self.end())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.parent = -1
        self.spares: list[Call] = []
        self.wanted = 0  # spares that should be there
        self.generation: object = None
        self.watch(self.woken, self.reap)
        self.watch(control.fileno(), self.take_request)
        self.watch_parent(parent)

    def watch_parent(self, parent: int) -> None:
        """A fork of the test process may hold the other end of the socket."""
        try:
            self.parent = os.pidfd_open(parent)
        except (AttributeError, OSError):
            if os.getppid() != parent:
                self.end()
            return
        self.watch(self.parent, self.end)

    def watch(self, descriptor: int, function: Callable[[], None]) -> None:
        self.selector.register(descriptor, selectors.EVENT_READ, function)

    def unwatch(self, descriptor: int) -> None:
        with contextlib.suppress(KeyError):
            self.selector.unregister(descriptor)

    def descriptors(self) -> list[int]:
        """Ours, which a child closes."""
        kept = [self.control.fileno(), self.woken, self.wake]
        if self.parent >= 0:
            kept.append(self.parent)
        kept.append(self.selector.fileno())  # type: ignore[attr-defined]
        for batch in self.batches:
            kept += [batch.link.fileno(), batch.ready]
            if batch.go >= 0:
                kept.append(batch.go)
            for call in batch.calls.values():
                kept += call.descriptors()
        for call in self.spares:
            kept += call.descriptors()
        return [descriptor for descriptor in kept if descriptor >= 0]

    # Children

    def fork(self, more: Sequence[int] = ()) -> Call:
        """A child that waits for an order. OSError: cannot be.

        more: descriptors that it shall close, too."""
        with contextlib.ExitStack() as undo:
            result = os.memfd_create("sqloom-result")
            undo.callback(os.close, result)
            errors, write_errors = os.pipe()
            undo.callback(os.close, errors)
            ours, its = socket.socketpair(
                socket.AF_UNIX, socket.SOCK_SEQPACKET
            )
            undo.callback(ours.close)
            with its, os.fdopen(write_errors, "wb", 0):
                signal.pthread_sigmask(signal.SIG_BLOCK, self.SIGNALS)
                try:
                    pid = os.fork()
                    if pid == 0:
                        close = [*self.descriptors(), *more]
                        close += [errors, ours.fileno()]
                        _child.run(
                            _child.Place(
                                self.pid,
                                its,
                                result,
                                write_errors,
                                close,
                                self.SIGNALS,
                            )
                        )
                finally:
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, self.SIGNALS)
            undo.pop_all()
        os.set_blocking(errors, False)
        return Call(pid, ours, result, errors)

    def take_child(self, work: bytes, descriptors: list[int]) -> Call:
        """A child that has got the work. OSError: there can be none."""
        with contextlib.ExitStack() as stack:
            if len(work) > PACKET_MAX:
                file = stack.enter_context(
                    os.fdopen(os.memfd_create("sqloom-work"), "wb")
                )
                file.write(work)
                file.flush()
                work, descriptors = b"-", [*descriptors, file.fileno()]
            while True:
                is_new = not self.spares
                call = (
                    self.fork(descriptors) if is_new else self.spares.pop(0)
                )
                try:
                    socket.send_fds(call.orders, [work], descriptors)
                except OSError:  # somebody killed it
                    self.discard(call)
                    if is_new:
                        raise
                    continue
                call.orders.close()
                return call
        raise AssertionError

    def discard(self, call: Call) -> None:
        call.kill()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(call.pid, 0)
        call.close()

    def renew(self, request: Request) -> None:
        """Spares know what was imported, and was around, when they were made.
        Only the environment and databases come with an order."""
        generation = request.surroundings, len(sys.modules)
        if generation != self.generation:
            self.generation = generation
            for call in self.spares:
                self.discard(call)
            self.spares.clear()
            gc.collect()
            gc.freeze()
        # One more: it is there while the next ones are made.
        self.wanted = min(len(request.orders) + 1, SPARES_MAX)

    def lacks_spares(self) -> bool:
        """While calls run, they have the machine for themselves."""
        return not self.batches and len(self.spares) < self.wanted

    def make_spare(self) -> None:
        try:
            self.spares.append(self.fork())
        except OSError:
            self.wanted = 0

    # The loop

    def run(self) -> None:
        while True:
            events = self.selector.select(self.patience())
            if not events and self.lacks_spares():
                self.make_spare()
            for key, _ in events:
                # An earlier one may have ended what this one is about.
                if self.selector.get_map().get(key.fd) == key:
                    key.data()
            now = time.monotonic()
            for batch in list(self.batches):
                batch.look_at_clock(now)

    def patience(self) -> float | None:
        if self.lacks_spares():
            return 0
        deadlines = [
            batch.deadline
            for batch in self.batches
            if batch.deadline is not None
        ]
        if not deadlines:
            return None
        return max(0.0, min(deadlines) - time.monotonic())

    def reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.woken, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for batch in self.batches:
                if pid in batch.calls:
                    batch.ended(pid, status)
                    break
            for call in self.spares:
                if call.pid == pid:
                    self.spares.remove(call)
                    call.close()
                    break

    def kill_orphans(self) -> None:
        """What ended calls left in sessions of their own. While there are
        other calls it cannot be told whose they are; the last batch does it."""
        if self.batches:
            return
        spares = {call.pid for call in self.spares}
        while True:
            orphans = [pid for pid in children() if pid not in spares]
            if not orphans:
                return
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            for pid in orphans:
                # What it leaves is ours before it can be waited for.
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    def take_request(self) -> None:
        message, descriptors, _, _ = socket.recv_fds(self.control, 16, 3)
        if not message:
            self.end()
        link = socket.socket(fileno=descriptors[0])
        with os.fdopen(descriptors[1], "rb") as file:
            file.seek(0)
            content = file.read()
        output = descriptors[2]
        try:
            self.begin(link, content, output)
        finally:
            os.close(output)

    def begin(self, link: socket.socket, content: bytes, output: int) -> None:
        try:
            request, warned = self.preparation.prepare(
                content, lambda text: notify(link, "doing", text)
            )
        except Exception as error:
            notify(link, "refused", _prepare.explain(error))
            link.close()
            return
        for text in warned:
            notify(link, "warning", text)
        self.renew(request)
        batch = Batch(self, link, request)
        self.batches.append(batch)
        batch.start(output)

    def end(self) -> None:
        """Ends this process; nothing is left."""
        for batch in self.batches:
            batch.kill()
        self.batches.clear()
        self.spares.clear()
        self.kill_orphans()
        os._exit(0)


def children() -> list[int]:
    """Of this process, at this moment."""
    own = os.getpid()
    try:
        with open(f"/proc/self/task/{own}/children") as file:
            return [int(number) for number in file.read().split()]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        numbers = (int(name) for name in os.listdir("/proc") if name.isdigit())
        return [number for number in numbers if parent_of(number) == own]


def parent_of(pid: int) -> int:
    """0: there is no such process any more."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            # The name, in parentheses, may hold anything.
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def prctl(option: int, value: int) -> None:
    """Asks the kernel; where it knows nothing of it, nothing happens."""
    with contextlib.suppress(AttributeError, OSError):
        LIBC.prctl(option, value, 0, 0, 0)


LIBC = ctypes.CDLL(None)


def main(arguments: list[str]) -> None:
    """arguments: the descriptor of the control socket, the process of the
    test, and "1" if the thread that started us lives as long as the process."""
    descriptor, parent, lasting = (int(argument) for argument in arguments)
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    # A thread that an import left is told of; the fork needs not do it, too.
    warnings.filterwarnings(
        "ignore", ".*multi-threaded.*fork", DeprecationWarning
    )
    helper = Helper(control, parent)
    if lasting:
        # Also while a module is being imported, which may take for ever.
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            helper.end()
    helper.run()


if __name__ == "__main__":
    # The module under its real name: others import it.
    from sqloom import _helper

    _helper.main(sys.argv[1:])
