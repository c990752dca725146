# SPDX-License-Identifier: Apache-2.0
"""Calls in clean processes, seen from the process of the test: starts the
helper (_helper.py) at the first call, keeps it, sends it batches of calls, and
makes values and WrappedErrors of what it answers."""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from sqloom import _child, _prepare
from sqloom._batch import Order, Request
from sqloom._memory import MemoryCopies
from sqloom._naming import GivenCall, Spec, function_for, packed
from sqloom._surroundings import (
    Databases,
    databases_now,
    libraries,
    refuse_open_transactions,
    surroundings,
)
from sqloom._wrapped import (
    CallLost,
    ResultError,
    WrappedError,
    arrived,
    class_name,
    crashed,
    exited,
    shown,
    timed_out,
)
from sqloom.errors import Error, UsageError

__all__ = ["run_in_processes", "stop_helper"]

PREPARE_S = 120.0  # longest silence while modules are imported
END_S = 10.0  # longest silence when all calls should have ended
CANCEL_S = 3.0  # longest time to end calls that nobody wants any more
PACKET_MAX = 256 * 1024


def run_in_processes(
    calls: Sequence[GivenCall],
    timeout: float,
    databases: Collection[str] | None,
) -> list[Any]:
    """The results, in order. UsageError: the calls cannot be made; Error: the
    helper ended in the middle of them."""
    if _prepare.is_preparing:
        raise UsageError(
            "concurrent calls are made while a module is imported for clean"
            " processes: make them in a function; in a program, under"
            ' `if __name__ == "__main__":`'
        )
    refuse_open_transactions(databases)
    specs, orders = _orders(calls)
    around = surroundings(_main_file(specs, orders))
    with MemoryCopies(databases) as copies:
        request = Request(
            pickle.dumps(around, pickle.HIGHEST_PROTOCOL),
            pickle.dumps(dict(os.environ), pickle.HIGHEST_PROTOCOL),
            _with_copies(databases_now(databases), copies.names),
            [],
            around.django.module if around.django is not None else None,
            specs,
            orders,
            timeout,
        )
        return _Batch(request).run()


def _orders(calls: Sequence[GivenCall]) -> tuple[list[Spec], list[Order]]:
    """The functions, each once, and the calls of them."""
    specs: list[Spec] = []
    orders: list[Order] = []
    known: dict[int, tuple[int, tuple[Any, ...], dict[str, Any]]] = {}
    packs: dict[tuple[int, int, int], bytes] = {}
    for call in calls:
        if id(call.function) not in known:
            spec, args, kwargs = function_for(call.function)
            known[id(call.function)] = len(specs), args, kwargs
            specs.append(spec)
        number, args, kwargs = known[id(call.function)]
        label = specs[number].label
        key = number, id(call.args), id(call.kwargs)
        if key not in packs:
            packs[key] = packed(
                label, args + call.args, {**kwargs, **call.kwargs}
            )
        orders.append(Order(number, packs[key], label))
    return specs, orders


def _main_file(specs: list[Spec], orders: list[Order]) -> str | None:
    """The file of the program, if something of it is needed."""
    if not any(
        spec.module == "__main__"
        or spec.path.startswith("__main__")
        or b"__main__" in spec.pickled
        for spec in specs
    ) and not any(b"__main__" in order.arguments for order in orders):
        return None
    file = getattr(sys.modules["__main__"], "__file__", None)
    if not isinstance(file, str) or not os.path.isfile(file):
        raise UsageError(
            "a function or an argument is defined in __main__, which is no"
            " file that a clean process could read; put it into a module, or"
            " make the calls on threads: sqloom.Calls(threads=True)"
        )
    return os.path.abspath(file)


def _with_copies(databases: Databases, names: dict[str, str]) -> Databases:
    """names: of files, by alias."""
    known = dict(databases.settings)
    for alias, path in names.items():
        settings = pickle.loads(known[alias])
        settings["NAME"] = path
        known[alias] = pickle.dumps(settings, pickle.HIGHEST_PROTOCOL)
    return databases._replace(settings=known)


# The innermost of our lines in what faulthandler writes, and all that follow.
_OWN_LINES = re.compile(
    r'  File "[^"\n]*/sqloom/_child\.py", line \d+ in _outcome\n'
    r'(?:  File "[^\n]*\n)+'
)


class _Helper:
    """The helper interpreter, as long as this object lives."""

    def __init__(self, key: object) -> None:
        self.key = key
        self.is_new = True
        self.errors = tempfile.TemporaryFile(prefix="sqloom-")
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control = ours
        lasting = threading.current_thread() is threading.main_thread()
        code = (
            "import sys; sys.path[:] = sys.argv[4:];"
            " from sqloom import _helper; _helper.main(sys.argv[1:4])"
        )
        if not sys.executable:
            raise Error(
                "clean processes need Python's program, and sys.executable"
                " does not say where it is"
            )
        with its:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    *_interpreter_options(),
                    "-c",
                    code,
                    str(its.fileno()),
                    str(os.getpid()),
                    str(int(lasting)),
                    *(entry for entry in sys.path if isinstance(entry, str)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self.errors,
                pass_fds=[its.fileno()],
                start_new_session=True,
            )

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def send(self, link: socket.socket, request: int, output: int) -> None:
        socket.send_fds(
            self.control, [b"batch"], [link.fileno(), request, output]
        )

    def why(self) -> str:
        """How it ended; waits for that."""
        try:
            code = self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.errors.seek(0)
        text = self.errors.read().decode(errors="replace")[-4096:]
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        return f"{how}\n{text}" if text else how

    def stop(self) -> None:
        """Ends it, with all that runs in it."""
        self.control.close()
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()

    def forget(self) -> None:
        """In a fork of the process that has it."""
        self.control.close()
        self.errors.close()
        self.process.returncode = 0


def _interpreter_options() -> list[str]:
    """-W, -X, -O and so on, as this interpreter was started."""
    given: Callable[[], list[str]] | None = getattr(
        subprocess, "_args_from_interpreter_flags", None
    )
    return given() if given is not None else []


_lock = threading.Lock()
_helper: _Helper | None = None


def _helper_for(request: Request) -> _Helper:
    """The one that runs, if it is good for the request; else a new one."""
    global _helper
    module = request.django_module
    with _lock:
        if _helper is not None and (
            not _helper.is_alive()
            or (None not in (_helper.key, module) and _helper.key != module)
        ):
            _helper.stop()
            _helper = None
        if _helper is None:
            _helper = _Helper(module)
        elif module is not None:
            _helper.key = module
        return _helper


def stop_helper() -> None:
    """Ends the helper, if there is one. The next call starts another."""
    global _helper
    with _lock:
        helper, _helper = _helper, None
    if helper is not None:
        helper.stop()


def _forget_helper() -> None:
    global _helper, _lock
    _lock = threading.Lock()
    if _helper is not None:
        _helper.forget()
        _helper = None


atexit.register(stop_helper)
os.register_at_fork(after_in_child=_forget_helper)


class _Batch:
    """The calls that are made at once."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.results: list[Any] = [None] * len(request.orders)
        self.missing = set(range(len(request.orders)))
        self.doing = "starting the helper"
        self.released = False
        self.refusal: str | None = None
        self.processes: list[int] = []

    def run(self) -> list[Any]:
        helper = _helper_for(self.request)
        if helper.is_new:
            helper.is_new = False
            self.request = self.request._replace(libraries=libraries())
        link, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with link:
            with its, _file_of(self.request) as file, _output() as output:
                try:
                    helper.send(its, file, output)
                except OSError:
                    raise Error(self._ended(helper)) from None
            over = False
            try:
                over = self._listen(link, helper)
            finally:
                if not over:
                    self._cancel(link, helper)
        if self.refusal is not None:
            raise UsageError(self.refusal)
        assert not self.missing, self.missing
        return self.results

    def _listen(self, link: socket.socket, helper: _Helper) -> bool:
        """Until the helper says that all is over."""
        while True:
            try:
                packet, descriptors = _receive(link, self._patience())
            except (socket.timeout, TimeoutError):
                helper.process.kill()
                helper.process.wait()
                raise Error(
                    "the helper of clean processes did not answer, and was"
                    f" killed, while it was {self.doing}"
                ) from None
            except ConnectionResetError:
                packet, descriptors = b"", []
            if not packet:
                if self.refusal is not None:
                    return True
                raise Error(self._ended(helper))
            with contextlib.ExitStack() as stack:
                for descriptor in descriptors:
                    stack.callback(os.close, descriptor)
                kind, *rest = pickle.loads(packet)
                getattr(self, f"_on_{kind}")(*rest, *descriptors)
            if kind == "over":
                return True

    def _patience(self) -> float:
        if not self.released:
            return PREPARE_S
        return self.request.timeout + END_S

    def _ended(self, helper: _Helper) -> str:
        """The helper cannot tidy up any more. Its calls end with it; what they
        started is killed here, but for what left their sessions."""
        why = helper.why()
        kill_sessions(set(self.processes))
        return (
            "the helper of clean processes ended in the middle of calls, while"
            f" it was {self.doing}: {why}"
        )

    def _cancel(self, link: socket.socket, helper: _Helper) -> None:
        """Waits until nothing of the calls is left."""
        with contextlib.suppress(OSError):
            link.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + CANCEL_S
        while True:
            patience = max(0.01, deadline - time.monotonic())
            try:
                packet, descriptors = _receive(link, patience)
            except (socket.timeout, TimeoutError):
                # It is busy importing something.
                helper.process.kill()
                helper.process.wait()
                return
            except OSError:
                return
            for descriptor in descriptors:
                os.close(descriptor)
            if not packet:
                return

    # What the helper says

    def _on_doing(self, text: str) -> None:
        self.doing = text

    def _on_warning(self, text: str) -> None:
        warnings.warn(text, RuntimeWarning, stacklevel=2)

    def _on_refused(self, text: str) -> None:
        self.refusal = text

    def _on_started(self, processes: list[int]) -> None:
        self.doing = "waiting until all calls are ready"
        self.processes = processes

    def _on_released(self) -> None:
        self.doing = "running the calls"
        self.released = True

    def _on_over(self) -> None:
        self.doing = "done"

    def _on_lost(self, index: int, why: str) -> None:
        label = self.request.orders[index].label
        self._ending(index, CallLost(f"{label} could not be started: {why}"))

    def _on_ended(
        self, index: int, code: int, late: bool, tail: bytes, result: int
    ) -> None:
        stderr = _tidy(tail.decode(errors="replace"))
        kind, content = _read(result)
        label = self.request.orders[index].label
        if kind == _child.RETURNED:
            try:
                self.results[index] = pickle.loads(content)
            except Exception as error:
                self._ending(index, _bad_value(label, error), stderr)
                return
            self.missing.discard(index)
            print(stderr, end="", file=sys.stderr)
        elif kind == _child.REFUSED:
            self.refusal = pickle.loads(content)
        elif kind == _child.RAISED:
            self._ending(index, arrived(pickle.loads(content)), stderr)
        elif kind == _child.NO_RESULT:
            self._ending(index, ResultError(pickle.loads(content)), stderr)
        elif kind == _child.EXITED:
            code_given = pickle.loads(content)
            self._ending(index, exited(label, code_given), stderr)
        elif late:
            what = "its process was killed"
            late_error = timed_out(label, self.request.timeout, what)
            self._ending(index, late_error, stderr)
        elif code < 0:
            self._ending(index, crashed(label, -code), stderr)
        else:
            self._ending(index, exited(label, code), stderr)

    def _ending(
        self, index: int, error: BaseException, stderr: str = ""
    ) -> None:
        self.results[index] = WrappedError(error, stderr=stderr)
        self.missing.discard(index)


def _receive(link: socket.socket, patience: float) -> tuple[bytes, list[int]]:
    """A message of the helper, and its descriptors, which are the caller's."""
    link.settimeout(patience)
    packet, descriptors, _, _ = socket.recv_fds(link, PACKET_MAX, 1)
    return packet, descriptors


def _tidy(text: str) -> str:
    """What a call wrote, with the tracebacks of faulthandler, from which our
    own lines are cut."""
    return _OWN_LINES.sub("", text)


def kill_sessions(leaders: set[int]) -> None:
    """Kills all processes of these sessions."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError):
            with open(f"/proc/{name}/stat") as file:
                # The name, in parentheses, may hold anything.
                fields = file.read().rpartition(")")[2].split()
            if int(fields[3]) in leaders:
                os.kill(int(name), signal.SIGKILL)


def _bad_value(label: str, error: Exception) -> ResultError:
    return ResultError(
        f"what {label} returned cannot be made from its pickle in this process"
        f" ({class_name(error)}: {shown(error)}); return something plain, as a"
        " primary key or a list of values"
    )


def _read(descriptor: int) -> tuple[bytes, bytes]:
    """The kind of end, and what belongs to it."""
    size = os.fstat(descriptor).st_size
    content = bytearray()
    while len(content) < size:
        content += os.pread(descriptor, size - len(content), len(content))
    return bytes(content[:1]) or _child.NOTHING, bytes(content[1:])


@contextlib.contextmanager
def _file_of(request: Request) -> Iterator[int]:
    """A file in memory with the request: it may be of any size."""
    with os.fdopen(os.memfd_create("sqloom-request"), "wb") as file:
        pickle.dump(request, file, pickle.HIGHEST_PROTOCOL)
        file.flush()
        yield file.fileno()


@contextlib.contextmanager
def _output() -> Iterator[int]:
    """Where standard output goes now."""
    with contextlib.suppress(AttributeError, OSError):
        sys.stdout.flush()
    try:
        descriptor = os.dup(1)
    except OSError:
        descriptor = os.open(os.devnull, os.O_WRONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
