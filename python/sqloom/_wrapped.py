# SPDX-License-Identifier: Apache-2.0
"""How a concurrent call ended, if not by returning; and the way of an exception
from one process to another.

An exception travels as Told: its pickle, its causes, and the lines of its
traceback. What arrives is an exception of the same class with a traceback that
can be printed, raised and debugged; only the local variables are not there.
"""

from __future__ import annotations

import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType, FunctionType, TracebackType
from typing import Any, NamedTuple, NoReturn, Optional

from sqloom.errors import Error

__all__ = [
    "CallCrashed",
    "CallExited",
    "CallLost",
    "CallTimedOut",
    "RemoteError",
    "ResultError",
    "WrappedError",
]

_CHAIN_MAX = 20  # causes of causes
_FRAMES_MAX = 200  # of one traceback; the innermost are kept


class WrappedError(Exception):
    """The result of a concurrent call that did not return.

    error: what the call raised; or how it ended: CallTimedOut, CallCrashed,
    CallExited, CallLost, ResultError.
    traceback: where, as a traceback object. None if nothing was raised in
    Python.
    stderr: the last 64 KiB that the call wrote to standard error, if it ran in
    a process of its own.
    """

    def __init__(
        self,
        error: BaseException,
        traceback: TracebackType | None = None,
        stderr: str = "",
    ) -> None:
        super().__init__(error)
        self.error = error
        self.traceback = traceback or error.__traceback__
        self.stderr = stderr

    def __repr__(self) -> str:
        return f"WrappedError({self.error!r})"

    def __str__(self) -> str:
        if not self.stderr:
            return repr(self.error)
        return f"{self.error!r}\nstandard error of the call:\n{self.stderr}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_told, (tell(self.error, self.traceback), self.stderr)

    def reraise(self) -> NoReturn:
        """Raises the error, with the traceback of the call."""
        raise self.error.with_traceback(self.traceback)

    def print_tb(self) -> None:
        """Prints the traceback to standard error."""
        traceback.print_tb(self.traceback)

    def debug(self) -> None:
        """Starts a debugger where the error was raised: ipdb if it is
        installed, else pdb. Of a call in a clean process, the lines can be
        looked at, but not the variables."""
        try:
            import ipdb as debugger  # type: ignore[import]
        except ImportError:
            import pdb as debugger
        debugger.post_mortem(self.traceback)


class CallTimedOut(Error):
    """The call had not returned in time. timeout: in seconds."""

    status = "TIMEOUT"

    def __init__(self, message: str, timeout: float = 0) -> None:
        super().__init__(message)
        self.timeout = timeout


class CallCrashed(Error):
    """A signal ended the process of the call. signal: its number."""

    status = "CRASH"

    def __init__(self, message: str, number: int = 0) -> None:
        super().__init__(message)
        self.signal = number


class CallExited(Error):
    """The function ended its process, or wanted to, by exit() or os._exit().

    code: what it gave to exit(); an exit status, a text, or None.
    """

    status = "EXIT"

    def __init__(self, message: str, code: object = None) -> None:
        super().__init__(message)
        self.code = code


class CallLost(Error):
    """The call never ran: its thread or process could not be started."""

    status = "LOST"


class ResultError(Error):
    """The call returned something that cannot be sent to this process."""

    status = "RESULT"


class RemoteError(Error):
    """Stands for an exception that cannot be sent to this process.

    kind: the name of its class.
    """

    status = "CALL"

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


def exited(label: str, code: object) -> CallExited:
    return CallExited(f"{label} ended by exit({code!r})", code)


def crashed(label: str, number: int) -> CallCrashed:
    try:
        name = f"{signal.Signals(number).name}, {signal.strsignal(number)}"
    except ValueError:
        name = f"signal {number}"
    return CallCrashed(f"the process of {label} was killed: {name}", number)


def timed_out(label: str, timeout: float, what: str) -> CallTimedOut:
    return CallTimedOut(
        f"{label} had not returned after {timeout:g} s; {what}", timeout
    )


# From process to process


class _Line(NamedTuple):
    """A line of a traceback."""

    filename: str
    number: int
    function: str
    first: int  # line of the function


class Told(NamedTuple):
    """An exception on its way to another process."""

    pickled: bytes | None
    kind: str  # name of the class
    text: str
    why: str  # it could not be pickled
    lines: list[_Line]
    cause: Optional[Any]  # Told; mypy 1.0 knows no recursive named tuples
    context: Optional[Any]
    suppress: bool


def tell(
    error: BaseException, where: TracebackType | None, depth: int = 0
) -> Told:
    """The exception, with all that it was caused by."""
    pickled, why = _pickled(error)
    return Told(
        pickled,
        class_name(error),
        shown(error),
        why,
        _lines(where),
        _tell_link(error.__cause__, depth),
        _tell_link(error.__context__, depth),
        error.__suppress_context__,
    )


def _tell_link(error: BaseException | None, depth: int) -> Told | None:
    if error is None or depth == _CHAIN_MAX:
        return None
    return tell(error, error.__traceback__, depth + 1)


def arrived(told: Told) -> BaseException:
    """The exception that was told, with its causes and tracebacks."""
    error = _unpickled(told)
    error.__traceback__ = made_traceback(told.lines)
    error.__cause__ = arrived(told.cause) if told.cause else None
    error.__context__ = arrived(told.context) if told.context else None
    error.__suppress_context__ = told.suppress
    return error


def _from_told(told: Told, stderr: str) -> WrappedError:
    return WrappedError(arrived(told), stderr=stderr)


def class_name(error: BaseException) -> str:
    kind = type(error)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def shown(value: object) -> str:
    """str(value), whatever that does."""
    try:
        return str(value)
    except Exception as error:
        return f"<{type(value).__name__}, str() of it raises {error!r}>"


def _pickled(error: BaseException) -> tuple[bytes | None, str]:
    """Many exceptions can be pickled, but not be made from that again."""
    try:
        pickled = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
        if type(pickle.loads(pickled)) is type(error):
            return pickled, ""
        return None, "its pickle gives an object of another class"
    except Exception as refusal:
        return None, f"{class_name(refusal)}: {shown(refusal)}"


def _unpickled(told: Told) -> BaseException:
    why = told.why
    if told.pickled is not None:
        try:
            error = pickle.loads(told.pickled)
            if isinstance(error, BaseException):
                return error
        except Exception as refusal:
            why = f"{class_name(refusal)}: {shown(refusal)}"
    return RemoteError(
        f"{told.kind}: {told.text} (a stand-in: the exception cannot be"
        f" pickled: {why})",
        told.kind,
    )


def _lines(where: TracebackType | None) -> list[_Line]:
    lines = []
    while where is not None:
        code = where.tb_frame.f_code
        lines.append(
            _Line(
                code.co_filename,
                where.tb_lineno,
                code.co_name,
                code.co_firstlineno,
            )
        )
        where = where.tb_next
    return lines[-_FRAMES_MAX:]


def made_traceback(lines: list[_Line]) -> TracebackType | None:
    """A traceback object from lines."""
    made = None
    for line in reversed(lines):
        # An instruction of -1: of which columns it was is not known.
        made = TracebackType(made, _frame(line), -1, line.number)
    return made


def _here() -> FrameType:
    return sys._getframe()


def _frame(line: _Line) -> FrameType:
    """A frame of a function that says it is the one of the line."""
    code = _here.__code__.replace(
        co_filename=line.filename,
        co_name=line.function,
        co_firstlineno=line.first,
    )
    names = {"__name__": "", "__file__": line.filename, "sys": sys}
    make: Callable[[], FrameType] = FunctionType(code, names)
    return make()
