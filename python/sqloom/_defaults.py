# SPDX-License-Identifier: Apache-2.0
"""What holds where explore() is not told: the defaults; and the test that
explores: its name, the line to paste that replays it, the file of its trace."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import sys
import types
import unittest
from collections.abc import Callable

from sqloom._options import MAX_RUNS
from sqloom._report import Report
from sqloom.errors import UsageError

__all__ = [
    "Defaults",
    "Test",
    "defaults_of_environment",
    "find_test",
    "quoted",
    "trace_path",
]


# ---- Defaults -------------------------------------------------------------


@dataclasses.dataclass
class Defaults:
    """What holds where explore() is not told. The pytest plugin sets these for
    each test; without it they are taken from the environment.

    max_runs (SQLOOM_MAX_RUNS): 0 is no limit. seed (SQLOOM_SEED). token
    (SQLOOM_REPLAY): every exploration becomes a replay of it. trace_directory
    (SQLOOM_TRACES): traces of explorations that do not hold are kept there.
    name: of the test; None: worked out. paste: the line to paste, to which a
    token is to be added; None: worked out. on_report: called with each Report.
    """

    max_runs: int = MAX_RUNS
    seed: int = 0
    token: str | None = None
    trace_directory: str | os.PathLike[str] | None = None
    name: str | None = None
    paste: str | None = None
    on_report: Callable[[Report], None] | None = None


def _number_of(variable: str, otherwise: int) -> int:
    text = os.environ.get(variable, "")
    if not text:
        return otherwise
    if not text.isdecimal():
        raise UsageError(f"{variable} is {text!r} in the environment: give a number")
    return int(text)


def defaults_of_environment() -> Defaults:
    return Defaults(
        max_runs=_number_of("SQLOOM_MAX_RUNS", MAX_RUNS),
        seed=_number_of("SQLOOM_SEED", 0),
        token=os.environ.get("SQLOOM_REPLAY") or None,
        trace_directory=os.environ.get("SQLOOM_TRACES") or None,
    )


# ---- The test -------------------------------------------------------------


def _test_case() -> unittest.TestCase | None:
    """The unittest.TestCase that we are in."""
    frame: types.FrameType | None = sys._getframe()
    while frame is not None:
        found = frame.f_locals.get("self")
        if isinstance(found, unittest.TestCase):
            return found
        frame = frame.f_back
    return None


@dataclasses.dataclass(frozen=True)
class Test:
    """The test that explores: its name, and how it is run with a token."""

    name: str
    source: str | None  # to which the C library adds a token; one word
    template: str | None  # what is shown instead, with {token}

    def paste(self, text: str) -> str:
        if self.template is None or self.source is None:
            return text
        pattern = re.escape(self.source) + r" (\S+)"
        template = self.template
        return re.sub(pattern, lambda m: template.replace("{token}", m[1]), text)


def quoted(word: str) -> str:
    """A word for a shell, as traces allow it: in single quotes if need be."""
    word = "".join(c if c.isprintable() else "?" for c in word)
    if re.fullmatch(r"[\w./:=,+@%-]+", word, re.ASCII):
        return word
    return "'" + word.replace("'", "'\\''") + "'"


def _command(program: str, test: str) -> str:
    """How a test of unittest is run alone."""
    if os.path.basename(program) == "manage.py":
        return f"python {quoted(program)} test {test}"
    if os.path.basename(program).startswith("django-admin"):
        return f"django-admin test {test}"
    return f"python -m unittest {test}"


def find_test(given: str | None, defaults: Defaults) -> Test:
    item = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    case = None if item else _test_case()
    name = given or defaults.name or item or (case.id() if case else "calls")
    if defaults.paste is not None:
        # Without a word that is quoted, it may stand in the trace as it is.
        plain = re.fullmatch(r"[\w ./:=,+@%-]+", defaults.paste, re.ASCII)
        source = defaults.paste if plain else quoted(defaults.paste)
        return Test(name, source, f"{defaults.paste} {{token}}")
    if item:
        command = f"pytest {quoted(item)}"
    elif case is not None:
        command = _command(sys.argv[0], case.id())
    else:
        return Test(name, None, None)
    return Test(
        name,
        quoted(f"{command} with SQLOOM_REPLAY ="),
        f"SQLOOM_REPLAY={{token}} {command}",
    )


_written: dict[pathlib.Path, int] = {}


def trace_path(name: str, defaults: Defaults) -> pathlib.Path | None:
    """Where the trace of this exploration is kept, if it is."""
    if defaults.trace_directory is None:
        return None
    directory = pathlib.Path(defaults.trace_directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"traces cannot be kept in {directory}: {error}") from None
    stem = re.sub(r"[^\w.-]+", "_", name).strip("_")[-120:] or "calls"
    path = directory / f"{stem}.trace"
    _written[path] = _written.get(path, 0) + 1
    if _written[path] > 1:
        path = directory / f"{stem}.{_written[path]}.trace"
    return path
