# SPDX-License-Identifier: Apache-2.0
"""Where the database of an alias is, in the words of Django, of libpq and of
sqloom: connection strings, settings that lead somewhere else, copies of SQLite
databases that are in memory.

Knows Django's settings and its DatabaseWrapper; swaps nothing.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from sqloom._memory import own_prefix
from sqloom.errors import DatabaseError, UsageError

# What libpq takes of the parameters of a connection that Django makes; the rest
# is the driver's.
_LIBPQ = frozenset(
    "host hostaddr port dbname user password passfile connect_timeout "
    "client_encoding options application_name keepalives keepalives_idle "
    "keepalives_interval keepalives_count tcp_user_timeout sslmode "
    "sslcompression sslcert sslkey sslpassword sslrootcert sslcrl sslcrldir "
    "sslsni ssl_min_protocol_version ssl_max_protocol_version requirepeer "
    "channel_binding gssencmode krbsrvname gsslib service "
    "target_session_attrs".split()
)

# Options that lead to the server, or decide how to speak to it; and a pool of
# connections, which Django keeps for all threads by alias.
_LEADING_OPTIONS = frozenset(
    "host hostaddr port dbname database user password service passfile sslmode "
    "sslcert sslkey sslpassword sslrootcert sslcrl sslcrldir sslsni "
    "requirepeer channel_binding gssencmode target_session_attrs pool".split()
)

# A seed in memory is fast, but the memory is everybody's.
_ROOM = 4


class Place(NamedTuple):
    """What a connection string of the library says."""

    host: str
    port: str
    name: str
    user: str
    password: str
    options: dict[str, str]


def parse(url: str) -> Place:
    """A URI as the library gives it to calls:
    postgresql://user:password@host:port/name?sslmode=..."""
    rest = url.split("://", 1)[1]
    rest, _, query = rest.partition("?")
    authority, _, name = rest.partition("/")
    who, _, where = authority.rpartition("@")
    user, _, password = who.partition(":")
    if where.startswith("["):
        host, _, port = where[1:].partition("]")
        port = port[1:]
    else:
        host, _, port = where.partition(":")
    return Place(unquote(host), port, unquote(name), unquote(user),
                 unquote(password), dict(parse_qsl(query)))


# ---- PostgreSQL -------------------------------------------------------------


def libpq_parameters(wrapper: Any) -> dict[str, str]:
    """How Django connects, as far as it is libpq's business. wrapper: a
    DatabaseWrapper of PostgreSQL; it need not be connected."""
    given = dict(wrapper.get_connection_params())
    if "database" in given:  # psycopg2's word for it
        given["dbname"] = given.pop("database")
    return {
        key: str(value)
        for key, value in given.items()
        if key in _LIBPQ and value is not None and value != ""
    }


def conninfo(parameters: dict[str, str]) -> str:
    """libpq's keywords and values, quoted."""
    def quoted(value: str) -> str:
        return "'" + value.replace("\\", r"\\").replace("'", r"\'") + "'"

    # What begins with this is seen to be a connection string at once.
    first = [key for key in ("dbname", "service") if key in parameters]
    keys = first + [key for key in parameters if key not in first]
    return " ".join(f"{key}={quoted(parameters[key])}" for key in keys)


def led_settings(settings: dict[str, Any], url: str) -> dict[str, Any]:
    """The settings of an alias of PostgreSQL, copied, so that connections go
    where url says; who connects stays as it was."""
    place = parse(url)
    options = {
        key: value
        for key, value in (settings.get("OPTIONS") or {}).items()
        if key not in _LEADING_OPTIONS
    }
    options["sslmode"] = place.options.get("sslmode", "prefer")
    if os.environ.get("PGHOSTADDR"):  # libpq would prefer it to the host
        options["hostaddr"] = place.host
    return {
        **lasting(settings),
        "NAME": place.name,
        "HOST": place.host,
        "PORT": place.port,
        "USER": settings.get("USER") or place.user,
        "PASSWORD": settings.get("PASSWORD") or place.password,
        "OPTIONS": options,
    }


def asking_settings(settings: dict[str, Any], url: str) -> dict[str, Any]:
    """The settings of an alias of PostgreSQL, copied: to the server itself, and
    the database that url says."""
    made: dict[str, Any] = {**lasting(settings), "NAME": parse(url).name}
    if "pool" in (made.get("OPTIONS") or {}):
        made["OPTIONS"] = {key: value for key, value in made["OPTIONS"].items()
                           if key != "pool"}
    return made


def lasting(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of an alias, copied, so that Django does not close or test
    its connections by itself: to connect costs more than a run."""
    return {**settings, "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": False}


# ---- SQLite -----------------------------------------------------------------


def sqlite_file(wrapper: Any) -> str | None:
    """The file of an alias of SQLite; None: it is in memory, or is only named
    by a URI."""
    name = str(wrapper.settings_dict["NAME"])
    if wrapper.is_in_memory_db() or name.startswith("file:"):
        return None
    return os.path.abspath(name)


def new_seed_directory(size: int) -> str:
    """A new directory for a file of size bytes: in memory if there is room."""
    shared = "/dev/shm"
    try:
        there = os.statvfs(shared)
        room = there.f_bavail * there.f_frsize
        fits = os.access(shared, os.W_OK) and room > _ROOM * size
    except OSError:
        fits = False
    return tempfile.mkdtemp(prefix=own_prefix(), dir=shared if fits else None)


def copy_sqlite(wrapper: Any) -> str:
    """Copies the database of an alias of SQLite, as its connections see it now,
    to a new file in a new directory, and returns its path. The directory is the
    caller's. Connects if that is not done yet."""
    wrapper.ensure_connection()
    source = wrapper.connection
    size = 0
    for pragma in ("page_size", "page_count"):
        value = source.execute(f"PRAGMA {pragma}").fetchone()[0]
        size = value if not size else size * value
    directory = new_seed_directory(size)
    path = os.path.join(directory, "seed.sqlite3")
    try:
        target = sqlite3.connect(path)
        try:
            target.execute("PRAGMA synchronous = OFF")
            source.backup(target)
        finally:
            target.close()
    except sqlite3.Error as error:
        shutil.rmtree(directory, ignore_errors=True)
        raise DatabaseError(
            f"cannot copy the database of alias {wrapper.alias!r} to "
            f"{path}: {error}"
        ) from error
    return path


# ---- Which aliases are one database ----------------------------------------


def identity(wrapper: Any) -> tuple[str, ...]:
    """Equal for aliases that lead to one database."""
    if wrapper.vendor == "sqlite":
        name = str(wrapper.settings_dict["NAME"])
        if name == ":memory:":  # each connection has its own
            return ("sqlite", name, wrapper.alias)
        path = sqlite_file(wrapper)
        return ("sqlite", name if path is None else os.path.realpath(path))
    if wrapper.vendor == "postgresql":
        given = libpq_parameters(wrapper)
        return (
            "postgresql",
            *(given.get(key, "") for key in ("service", "host", "hostaddr")),
            given.get("port") or "5432",
            given.get("dbname", ""),
        )
    return (wrapper.vendor, wrapper.alias)


def aliases_of(using: str, connections: Any) -> list[str]:
    """using, and the aliases that lead to the same database."""
    wanted = identity(connections[using])
    found = [using]
    for alias in connections:
        if alias == using:
            continue
        try:
            same = identity(connections[alias]) == wanted
        except Exception:  # its driver is not installed, it is not configured
            continue
        if same:
            found.append(alias)
    return found


def in_words(aliases: Iterable[str]) -> str:
    """'default', 'other' and 'third'."""
    names = [repr(alias) for alias in aliases]
    if len(names) < 2:
        return "".join(names)
    return ", ".join(names[:-1]) + " and " + names[-1]


def check_alias(alias: str) -> None:
    """Raises UsageError: there is no such alias."""
    from django.db import connections

    if alias not in connections:
        raise UsageError(f"there is no alias {alias!r} in DATABASES; it has "
                         f"{in_words(connections)}")


# ---- Is it one for tests? ---------------------------------------------------


def _is_of_test_runner(settings: dict[str, Any]) -> bool:
    """Has Django's test runner, or pytest-django, made this database?"""
    from django.test.utils import _TestState

    if not hasattr(_TestState, "saved_data"):
        return False
    name = str(settings.get("NAME") or "")
    said = (settings.get("TEST") or {}).get("NAME")
    return name.startswith("test_") or bool(said and name.startswith(said))


def check_for_tests(wrapper: Any, any_database: bool) -> bool:
    """Refuses a PostgreSQL database that looks like one in production. True:
    the library need not look at it again; else it looks at the host, too.
    Raises UsageError."""
    settings = wrapper.settings_dict
    if any_database or _is_of_test_runner(settings):
        return True
    name = libpq_parameters(wrapper).get("dbname", "")
    if name and "test" not in name.lower():
        raise UsageError(
            f"alias {wrapper.alias!r} is the database \"{name}\", which does "
            "not look like one for tests (no \"test\" in its name): calls that "
            "are explored write to it and commit, and nobody else may use it "
            "meanwhile. Explore inside of a test, where manage.py test and "
            "pytest-django put a test database in its place, or say "
            "any_database=True"
        )
    return False
