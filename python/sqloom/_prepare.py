# SPDX-License-Identifier: Apache-2.0
"""What the helper does before it forks, and each child before its call: makes
things around itself as they are in the test process."""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import os
import pickle
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqloom._naming import Spec, load_function
from sqloom._surroundings import Databases, DjangoState, Surroundings
from sqloom._wrapped import class_name, shown
from sqloom.errors import UsageError

if TYPE_CHECKING:
    from sqloom._batch import Request

__all__ = ["Preparation", "enter_child", "explain", "leave_child"]

MAIN = "__sqloom_main__"

is_preparing = False  # is a module being imported for clean processes?
_overrides: dict[str, Any] = {}
_deleted: list[str] = []
_databases: dict[str, bytes] = {}
_environment = b""


class Preparation:
    """The state of the helper."""

    def __init__(self) -> None:
        self._django_is_set_up = False
        self._around = b""
        self._known: set[Spec] = set()
        self._settings: dict[str, bytes] = {}
        self._main: str | None = None
        self._own = open_sockets()
        self._told: set[str] = set()

    def prepare(
        self, content: bytes, doing: Callable[[str], None]
    ) -> tuple[Request, list[str]]:
        """Reads a request, and imports what it needs.

        doing: is told what is going on. Gives the request, and warnings.
        """
        global is_preparing
        request: Request = pickle.loads(content)
        functions = set(request.functions)
        if request.surroundings == self._around and functions <= self._known:
            return request, []
        is_preparing = True
        if request.surroundings != self._around:
            self._known.clear()
        self._around = b""  # until all has been done
        try:
            self._prepare(request, doing)
        finally:
            is_preparing = False
        self._around = request.surroundings
        self._known |= functions
        return request, self._check()

    def _prepare(
        self, request: Request, doing: Callable[[str], None]
    ) -> None:
        around: Surroundings = pickle.loads(request.surroundings)
        surround(around, request.environment)
        if around.django is not None:
            self._prepare_django(around.django, request.databases, doing)
        import_quietly(request.libraries)
        if around.main is not None and around.main != self._main:
            doing(f"running {around.main}")
            load_main(around.main)
            self._main = around.main
        for spec in request.functions:
            doing(f"importing {spec.label}")
            load_function(spec)

    def _prepare_django(
        self,
        state: DjangoState,
        databases: Databases,
        doing: Callable[[str], None],
    ) -> None:
        from django.conf import settings

        if not settings.configured:
            doing("reading Django's settings")
            self._configure(state, databases)
        set_databases(databases.settings)
        if state.ready and not self._django_is_set_up:
            import django

            doing("django.setup()")
            django.setup()
            self._django_is_set_up = True
            set_databases(databases.settings)
        if state.testing:
            set_up_testing()
        make_wrappers()
        if state.settings != self._settings:
            compare_settings(state)
            self._settings = state.settings

    def _configure(self, state: DjangoState, databases: Databases) -> None:
        from django.conf import settings

        if state.module is not None:
            os.environ["DJANGO_SETTINGS_MODULE"] = state.module
            return
        values = {
            name: pickle.loads(pickled)
            for name, pickled in state.settings.items()
        }
        known = {
            alias: pickle.loads(pickled)
            for alias, pickled in databases.settings.items()
        }
        settings.configure(**values, DATABASES=known)

    def _check(self) -> list[str]:
        """Nothing must be there that two processes cannot share."""
        found = close_connections() if self._django_is_set_up else []
        found += [
            f"a thread, {thread.name!r}"
            for thread in threading.enumerate()
            if thread is not threading.main_thread()
        ]
        found += [
            f"a socket that is connected to {peer}"
            for peer in open_sockets() - self._own
        ]
        new = [what for what in found if what not in self._told]
        self._told.update(new)
        return [
            f"importing the modules of the functions left {what}; clean"
            " processes are forked from that. Open it in a function, not when"
            " a module is imported"
            for what in new
        ]


def explain(error: BaseException) -> str:
    """What the test process is told: a sentence, and where it happened."""
    if isinstance(error, UsageError):
        return str(error)
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return (
        "a clean process cannot be prepared:"
        f" {class_name(error)}: {shown(error)}\n{''.join(lines)}"
    )


def surround(around: Surroundings, environment: bytes) -> None:
    """Directory, import path, environment."""
    os.chdir(around.directory)
    if sys.path != around.path:
        sys.path[:] = around.path
        importlib.invalidate_caches()
    sys.argv[:] = around.argv
    set_environment(environment)


def set_environment(pickled: bytes) -> None:
    """pickled: of the whole environment."""
    global _environment
    if pickled == _environment:
        return
    _environment = pickled
    wanted: dict[str, str] = pickle.loads(pickled)
    zone = os.environ.get("TZ")
    for name in set(os.environ) - set(wanted):
        del os.environ[name]
    for name, value in wanted.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
    if os.environ.get("TZ") != zone:
        time.tzset()


def import_quietly(names: list[str]) -> None:
    """Libraries; if one cannot be imported here, a call will say so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            if name not in sys.modules:
                with contextlib.suppress(Exception):
                    importlib.import_module(name)


def load_main(file: str) -> None:
    """The program of the test process, without its `if __name__ ==
    "__main__":`; its functions and classes are found under that name."""
    loader = importlib.machinery.SourceFileLoader(MAIN, file)
    spec = importlib.util.spec_from_loader(MAIN, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["__main__"] = sys.modules[MAIN] = module
    loader.exec_module(module)
    for value in list(vars(module).values()):
        if getattr(value, "__module__", None) == MAIN:
            with contextlib.suppress(AttributeError, TypeError):
                value.__module__ = "__main__"


def open_sockets() -> set[str]:
    """Who is at the other end of the sockets of this process."""
    peers = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError, ValueError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                copy = socket.socket(fileno=os.dup(int(name)))
                with copy:
                    peer = copy.getpeername()
                    if peer:
                        peers.add(str(peer))
    return peers


# Django


def set_databases(databases: dict[str, bytes]) -> None:
    """Before django.setup(), too: what it does with a database is done with
    the one of the test."""
    from django.db import connections

    for alias, pickled in databases.items():
        if _databases.get(alias) == pickled:
            continue
        _databases[alias] = pickled
        known = connections.databases.setdefault(alias, {})
        known.clear()
        known.update(pickle.loads(pickled))


def make_wrappers() -> None:
    """Imports the backends, and connects to nothing."""
    from django.db import connections

    for alias in connections:
        # If it cannot be, the call finds out itself.
        with contextlib.suppress(Exception):
            connections[alias].introspection  # noqa: B018


def set_up_testing() -> None:
    from django.test import utils

    if not hasattr(utils._TestState, "saved_data"):
        utils.setup_test_environment()


def compare_settings(state: DjangoState) -> None:
    """Which settings does the test have that are not those of the module?"""
    import django.test.signals  # noqa: F401 (they act on changes)
    from django.conf import settings

    settings.INSTALLED_APPS  # noqa: B018 (reads the module)
    own = settings._wrapped
    _overrides.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of settings that are deprecated
        for name, pickled in state.settings.items():
            value = pickle.loads(pickled)
            if not hasattr(own, name) or not same(getattr(own, name), value):
                _overrides[name] = value
        _deleted[:] = [
            name
            for name in dir(own)
            if name.isupper()
            and name != "DATABASES"
            and name not in state.settings
            and name not in state.kept
        ]


def same(one: Any, other: Any) -> bool:
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:
        return False


def close_connections() -> list[str]:
    from django.db import connections

    found = []
    for alias in connections:
        connection = connections[alias]
        if connection.connection is not None:
            found.append(f"a connection to the database {alias!r}")
            connection.close()
            connection.connection = None
    return found


def warm_up() -> None:
    """The first write to each page of memory after a fork takes time. This
    does some of what most calls do, before they are waited for."""
    pickle.loads(pickle.dumps(ValueError("nothing")))
    if "django.db.models" not in sys.modules:
        return
    with contextlib.suppress(Exception):
        from django.apps import apps
        from django.db.models import QuerySet

        model = apps.get_models()[0]
        str(QuerySet(model).filter(pk=1).order_by("pk").query)
    with contextlib.suppress(Exception):
        close_connections()


def enter_child(environment: bytes, databases: Databases) -> None:
    """Settings and connections, before the barrier: they would not take the
    same time in all processes."""
    set_environment(environment)
    if databases.settings:
        set_databases(databases.settings)
    if _overrides or _deleted:
        from django.conf import settings
        from django.test.utils import override_settings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            override_settings(**_overrides).enable()
            for name in _deleted:
                delattr(settings, name)
    if databases.connect:
        from django.db import connections

        for alias in databases.connect:
            # If it cannot be, the call finds out itself.
            with contextlib.suppress(Exception):
                connections[alias].ensure_connection()


def leave_child() -> None:
    """Says goodbye to the databases."""
    db = sys.modules.get("django.db")
    if db is not None and "django.conf" in sys.modules:
        from django.conf import settings

        if settings.configured:
            with contextlib.suppress(Exception):
                db.connections.close_all()
