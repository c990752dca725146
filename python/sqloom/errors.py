# SPDX-License-Identifier: Apache-2.0
"""The exceptions of sqloom, and the words of the C library for Python users.

Knows nothing of the other modules but the C binding's one exception, which
translated() turns into the classes here.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqloom._report import Report

__all__ = [
    "CallError",
    "DatabaseError",
    "Error",
    "Inconclusive",
    "InternalError",
    "LimitError",
    "RaceFound",
    "TokenError",
    "UnsupportedError",
    "UsageError",
]


class Error(Exception):
    """The job could not be done. A race is never an Error.

    status: the kind of failure in a word: "USAGE", "DATABASE", ...
    sqlstate: the SQLSTATE, or SQLite's code, behind it; "" if there is none.
    """

    status = "INTERNAL"

    def __init__(self, message: str, *, sqlstate: str = "") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class UsageError(Error):
    """What was asked for cannot be: an argument, or the place it stands in."""

    status = "USAGE"


class TokenError(UsageError):
    """The token of a replay is not one."""

    status = "TOKEN"


class UnsupportedError(Error):
    """sqloom cannot do that."""

    status = "UNSUPPORTED"


class LimitError(Error):
    """A limit is exceeded; or calls of an earlier exploration never returned."""

    status = "LIMIT"


class DatabaseError(Error):
    """The database, or a file, cannot be used."""

    status = "DATABASE"


class CallError(Error):
    """A call fails in every run, also alone: there is nothing to explore.

    The traceback of the call is part of the message.
    """

    status = "CALL"


class InternalError(Error):
    """A defect of sqloom."""


class RaceFound(AssertionError):
    """assert_race_free() found calls that go wrong in some order.

    The message is the report, with the timeline. report: the Report.
    """

    def __init__(self, message: str, report: Report | None = None) -> None:
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[type[RaceFound], tuple[Any, ...]]:
        """To another process, as of manage.py test --parallel, goes the text."""
        return type(self), self.args


class Inconclusive(RaceFound):
    """assert_race_free() saw nothing wrong, but not all was seen."""


_CLASSES: dict[str, type[Error]] = {
    "USAGE": UsageError,
    "SPEC": UsageError,
    "TOKEN": TokenError,
    "TRACE": UsageError,
    "LIMIT": LimitError,
    "UNSUPPORTED": UnsupportedError,
    "IO": DatabaseError,
    "DATABASE": DatabaseError,
    "CALL": CallError,
    "NOMEM": Error,
    "INTERNAL": InternalError,
}

# Options of the command, and of the C library, as arguments in Python.
_OPTIONS = {
    "--any-database": "any_database=True",
    "--attribution": "attribution=",
    "--background": "background=",
    "--busy-timeout": "busy_timeout=",
    "--call-limit": "call_limit=",
    "--db": "database=",
    "--ignore": "ignore=",
    "--isolation": "isolation=",
    "--jobs": "jobs=",
    "--journal": "journal=",
    "--max-preemptions": "max_preemptions=",
    "--max-runs": "max_runs=",
    "--max-time": "max_time=",
    "--pg-temp": "pg_temp=True",
    "--proxy-port": "proxy_port=",
    "--seed": "seed=",
    "--stall-after": "stall_after=",
    "--statement-limit": "statement_limit=",
    "--store": "store=",
    "--strategy": "strategy=",
    "--strict": "strict=True",
}
_OPTION = re.compile(
    r"(?<![\w'\"-])(?:%s)(?![\w-])" % "|".join(map(re.escape, _OPTIONS))
)
_PHRASES = (
    ("sqloom_explore_calls()", "sqloom.explore()"),
    (" or by --before", ""),
    ("--db postgresql://...", "database='postgresql://...'"),
    ("give -1 or more, or NULL", "give None or more"),
    ("options.", ""),
    (", or NULL", ", or None"),
)
_FIELD = re.compile(r"\((call_limit|max_time|stall_after|statement_limit)_ms\)")
_C_REPLAY = re.compile(r'sqloom_replay_calls\(&calls, "([^"\s]*)", \.\.\.\)')


def in_python(text: str) -> str:
    """A message of the C library, with the words of the Python package."""
    for phrase, python in _PHRASES:
        text = text.replace(phrase, python)
    return in_python_report(text)


def in_python_report(text: str) -> str:
    """A report of the C library: only options, and the line to paste, since
    SQL and values of the user's are in it, too."""
    text = _C_REPLAY.sub(r'sqloom.replay("\1", ...)', text)
    text = text.replace("sqloom_call_database()", "sqloom.call_database()")
    text = _FIELD.sub(r"(\1=)", text)
    return _OPTION.sub(lambda match: _OPTIONS[match.group()], text)


def from_status(status: str, message: str, sqlstate: str = "") -> Error:
    """The exception for a status of the C library."""
    made = _CLASSES.get(status, Error)(in_python(message), sqlstate=sqlstate)
    made.status = status
    return made


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """What the binding raises inside of the block comes out as an Error."""
    from sqloom import _ext

    try:
        yield
    except _ext.Error as error:
        described: Any = error
        raise from_status(
            described.status, str(error), described.sqlstate
        ) from None
