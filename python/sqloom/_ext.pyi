# SPDX-License-Identifier: Apache-2.0
"""The C binding: what python/ext makes of <sqloom/sqloom.h>. Thin: it converts,
releases the GIL around everything that may block, and maps errors. Policy is in
the Python modules beside it, and nobody but them imports this one."""

from collections.abc import Callable, Sequence
from typing import Any, Final, final

VERSION: Final[str]

class Error(Exception):
    """The job could not be done. A race is never an error.

    status: the name of the C status, "USAGE", "DATABASE", ...
    sqlstate: SQLSTATE, or ""."""

    status: str
    sqlstate: str

OK: Final = 0
FAILED: Final = 1
REFUSED: Final = 2
"""How a call ended: well; with an error; or it refused what was asked for, as
its callers expect it to (which is never a finding by itself)."""

Outcome = tuple[int, bytes, str]
"""(OK, FAILED or REFUSED; the value that is compared; the message)

The value is best JSON: {"returned": value}, with the key first and no blank
before it; reports show it as "returned value", and parts of an object in it are
compared one by one. A call that failed: {"raised": "IntegrityError"}."""

Call = Callable[[int, str | None], Outcome]
"""Called as call(number, database) on the call's own thread, which is kept from
run to run; must not raise."""

HOLDS: Final = 0
BROKEN: Final = 1
INCONCLUSIVE: Final = 2

@final
class Report:
    """What an exploration came to. Immutable; can be used from any thread."""

    @property
    def verdict(self) -> int: ...
    def render(self, *, json: bool = False, width: int = 80, color: bool = False,
               ascii: bool = False, brief: bool = False, timing: bool = False,
               findings: int = 1, finding: str | None = None) -> str: ...

def explore(names: Sequence[str], call: Call, *, name: str = "calls",
            setup: Callable[[str | None], str | None] | None = None,
            check: Callable[[str | None], str | None] | None = None,
            drop: Callable[[], None] | None = None,
            queries: Sequence[str] = (), token: str | None = None,
            recorded: Report | None = None, **options: Any) -> Report:
    """sqloom_explore_calls(), or with a token sqloom_replay_calls().

    names: of the calls, 2 to 16. setup and check: called on the calling thread
    with the database; a text is why it failed. drop: called on each call's
    thread when it ends. options: the fields of struct sqloom_options, by name
    (database, pg_temp, isolation, any_database, strategy: "auto", "exhaustive",
    "random", "uniform", "pct"; seed, max_runs, max_time_ms, ...). An exception
    of setup, check or drop, and Ctrl-C, are raised when everything has ended."""

def read_trace(path: str) -> Report: ...
def point(name: str, /) -> None: ...
def is_explored() -> bool:
    """Is this thread one of a call that is being explored?"""

def sqlite_mode() -> str:
    """How SQLite is seen in this process: "absent", "preloaded", "linked",
    "extension". Connections opened from now on are seen."""

@final
class Fixture:
    """struct sqloom_fixture: a database that is put back after every test."""

    def __init__(self, database: str | None, *, any_database: bool = False,
                 processes: bool = False) -> None: ...
    @property
    def url(self) -> str: ...
    def restore(self) -> str:
        """Puts back; returns who was left in a transaction, a line each."""
    def close(self) -> None: ...
