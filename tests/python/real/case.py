# SPDX-License-Identifier: Apache-2.0
"""What a case is: an operation of a package, called twice.

A module of real/cases is about one package. It says PACKAGE (the distribution's
name), APPS (for INSTALLED_APPS) and, if it needs some, SETTINGS; each function
decorated with @case makes the rows that are needed and returns the calls; its
docstring says what goes wrong.
Whatever needs Django's models is imported inside the functions."""

import dataclasses
import importlib
import re
from collections.abc import Callable, Mapping
from typing import Union

# What comes out: the class of the worst finding, or that there is none.
CONTENTS = "contents"
RESULT = "result"
ERROR = "error"
HOLDS = "holds"
# Holds, and some orders end with "database is locked".
LOCKED = "locked"

BROKEN = (CONTENTS, RESULT, ERROR)
DATABASES = ("sqlite", "postgresql")
Outcome = Union[str, tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Case:
    """name: what is called; prepare: makes the rows, returns the calls; since:
    the outcome from this version on, or (on SQLite, on PostgreSQL); refusals:
    exceptions, as dotted names, by which the package says no on purpose."""

    module: str
    name: str
    prepare: Callable[[], tuple]
    since: Mapping[str, Outcome]
    refusals: tuple[str, ...] = ()

    def is_known(self, version: str) -> bool:
        """Is anything said of this version?"""
        return numbers(next(iter(self.since))) <= numbers(version)

    def expected(self, version: str, database: str) -> str:
        """What must come out with a version that is known."""
        found = [outcome for first, outcome in self.since.items()
                 if numbers(first) <= numbers(version)][-1]
        if isinstance(found, str):
            return found
        return found[DATABASES.index(database)]


def numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def case(name: str, since: Mapping[str, Outcome],
         refusals: tuple[str, ...] = ()) -> Callable:
    """See Case; since: oldest version first."""

    def decorate(prepare):
        prepare.case = Case(prepare.__module__.rpartition(".")[2], name,
                            prepare, since, refusals)
        return prepare

    return decorate


def load(names):
    """The modules of real/cases with these names."""
    return [importlib.import_module(f"real.cases.{name}") for name in names]


def cases_of(module) -> list[Case]:
    return [value.case for value in vars(module).values()
            if hasattr(value, "case")]
