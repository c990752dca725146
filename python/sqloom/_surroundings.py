# SPDX-License-Identifier: Apache-2.0
"""What the calling test has around it, and a clean process gets: directory,
import path, environment, settings, and the test databases as they are named
now. Django is used if the program has set it up, and never imported otherwise.
"""

from __future__ import annotations

import os
import pickle
import sys
import warnings
from collections.abc import Collection
from typing import Any, NamedTuple

from sqloom._wrapped import class_name, shown
from sqloom.errors import UsageError

__all__ = [
    "Databases",
    "DjangoState",
    "Surroundings",
    "django_is_ready",
    "libraries",
    "refuse_open_transactions",
    "surroundings",
    "databases_now",
]

# What libraries do when they are imported does not depend on the test, so the
# helper imports what the test process has of them, once.
_LIBRARIES = ("django", "psycopg", "psycopg2", "sqlite3", "pytz", "zoneinfo")


class DjangoState(NamedTuple):
    """How Django is set up in the process of the test."""

    module: str | None  # of the settings; None: settings.configure()
    settings: dict[str, bytes]  # pickles; without DATABASES
    kept: list[str]  # settings that cannot be pickled, and were not changed
    ready: bool  # django.setup() ran
    testing: bool  # setup_test_environment() ran


class Surroundings(NamedTuple):
    """What seldom differs from one call to the next."""

    path: list[str]
    directory: str
    argv: list[str]
    main: str | None  # file of __main__, where it is needed
    django: DjangoState | None


class Databases(NamedTuple):
    """The test databases, as they are now."""

    settings: dict[str, bytes]  # pickles of settings_dict, by alias
    connect: list[str]  # aliases that are in use


def surroundings(main: str | None) -> Surroundings:
    """What is around the caller. UsageError: a setting that was overridden
    cannot be pickled."""
    return Surroundings(
        [entry for entry in sys.path if isinstance(entry, str)],
        os.getcwd(),
        list(sys.argv),
        main,
        _django_state() if django_is_ready() else None,
    )


def databases_now(wanted: Collection[str] | None) -> Databases:
    """wanted: the aliases; None for all."""
    if not django_is_ready():
        return Databases({}, [])
    from django.db import connections

    aliases = [
        alias for alias in connections if wanted is None or alias in wanted
    ]
    return Databases(
        {alias: _database(alias) for alias in aliases},
        [
            alias
            for alias in aliases
            if connections[alias].connection is not None
        ],
    )


def libraries() -> list[str]:
    """Those of this process that the helper should import, too."""
    return [
        name
        for name in list(sys.modules)
        if name.partition(".")[0] in _LIBRARIES
    ]


def django_is_ready() -> bool:
    """Does this program use Django, and has it read its settings?"""
    conf = sys.modules.get("django.conf")
    return conf is not None and bool(conf.settings.configured)


def _django_state() -> DjangoState:
    from django.apps import apps
    from django.conf import settings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of settings that are deprecated
        pickled, kept = _settings()
    module = getattr(settings, "SETTINGS_MODULE", None)
    utils = sys.modules.get("django.test.utils")
    return DjangoState(
        module if isinstance(module, str) else None,
        pickled,
        kept,
        bool(apps.ready),
        utils is not None and hasattr(utils._TestState, "saved_data"),
    )


def _settings() -> tuple[dict[str, bytes], list[str]]:
    from django.conf import settings

    pickled: dict[str, bytes] = {}
    kept = []
    overridden = _overridden()
    # The object itself: asking the lazy one has effects for some names.
    values = settings._wrapped
    for name in dir(values):
        if not name.isupper() or name == "DATABASES":
            continue
        value = getattr(values, name)
        try:
            pickled[name] = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            if name in overridden:
                raise UsageError(
                    f"the setting {name} was overridden with a"
                    f" {type(value).__qualname__} that cannot be pickled"
                    f" ({class_name(error)}: {shown(error)}), so clean"
                    " processes cannot have it; make the calls on threads, or"
                    " give something that can be imported"
                ) from None
            kept.append(name)
    return pickled, kept


def _overridden() -> set[str]:
    """Names that override_settings(), or settings.configure(), gave a value."""
    from django.conf import settings

    names: set[str] = set()
    holder = settings._wrapped
    while holder is not None and hasattr(holder, "default_settings"):
        names.update(name for name in vars(holder) if name.isupper())
        holder = holder.default_settings
    return names


def _database(alias: str) -> bytes:
    from django.db import connections

    try:
        return pickle.dumps(
            dict(connections[alias].settings_dict), pickle.HIGHEST_PROTOCOL
        )
    except Exception as error:
        raise UsageError(
            f"DATABASES[{alias!r}] cannot be pickled"
            f" ({class_name(error)}: {shown(error)}), so clean processes"
            " cannot have it; make the calls on threads, or leave it out:"
            " sqloom.Calls(databases=[...])"
        ) from None


def refuse_open_transactions(databases: Collection[str] | None) -> None:
    """UsageError: the caller is in a transaction, so that the calls would not
    see what it wrote."""
    if not django_is_ready():
        return
    from django.db import connections

    for alias in connections:
        if databases is not None and alias not in databases:
            continue
        wrapper = connections[alias]
        # commit_hooks shows the connection without the test's transaction.
        if wrapper.in_atomic_block or hasattr(wrapper, "_sqloom_view"):
            raise UsageError(
                f"this test is inside a transaction on the database {alias!r},"
                " as every test of a TestCase is: the calls have connections"
                " of their own and would not see what it wrote, or would wait"
                " for its locks. Use sqloom.django.CommittingTestCase,"
                " @pytest.mark.committing, or TransactionTestCase; or make the"
                " calls outside of atomic(). If the calls do not use this"
                " database: sqloom.Calls(databases=[...]) with those that they"
                " use"
            )
