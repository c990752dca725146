# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin: the `sqloom` fixture, the `committing` marker, and the
--sqloom-... options.

pytest loads it in every run, also of projects without Django: it imports
nothing of Django before a test asks for it. Works with and without
pytest-django, beside xdist (each worker explores by itself) and flaky (each
attempt starts anew).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

import sqloom as _sqloom
from sqloom._explore import Defaults, defaults, failure_text, quoted
from sqloom._report import Report
from sqloom.errors import RaceFound

TRACES = ".sqloom"
"""Where traces of failures are kept, beside the configuration of pytest."""

GITIGNORE = ".gitignore"

MARKER = (
    "committing(databases=['default'], fixtures=[], processes=False, "
    "leftover_connections='warn', leftover_transactions='fail'): the test uses "
    "Django's databases with real commits, as sqloom.django.CommittingTestCase "
    "does; for functions, methods and classes.")


# ---- Options ----------------------------------------------------------------


def pytest_addoption(parser: Any) -> None:
    group = parser.getgroup("sqloom", "exploring concurrent calls (sqloom)")
    group.addoption(
        "--sqloom-max-runs", type=_number, metavar="N",
        help="schedules that an exploration runs at most, unless the test says "
        "otherwise; 0: all (default: $SQLOOM_MAX_RUNS, the ini option "
        "sqloom_max_runs, or 1000)")
    group.addoption(
        "--sqloom-seed", type=_number, metavar="N",
        help="seed of what is random (default: $SQLOOM_SEED, sqloom_seed, or "
        "0)")
    group.addoption(
        "--sqloom-replay", metavar="TOKEN",
        help="run only the schedule of this token, which a failing test has "
        "printed, in every exploration of the tests that are selected "
        "(default: $SQLOOM_REPLAY)")
    group.addoption(
        "--sqloom-traces", metavar="DIR",
        help="where traces of explorations that fail are kept; empty: nowhere "
        f"(default: $SQLOOM_TRACES, sqloom_traces, or {TRACES} in the root "
        "directory of the tests)")
    parser.addini("sqloom_max_runs", "default of --sqloom-max-runs")
    parser.addini("sqloom_seed", "default of --sqloom-seed")
    parser.addini("sqloom_traces", "default of --sqloom-traces; relative to "
                  "the root directory", default=TRACES)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(text)
    return int(text)


def _ini_number(config: Any, name: str) -> int | None:
    text = config.getini(name)
    if not text:
        return None
    try:
        return _number(text)
    except ValueError:
        raise pytest.UsageError(
            f"{name} is {text!r} in {config.inipath}: give a number") from None


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _environment(name: str) -> str | None:
    return os.environ.get(name) or None


def _traces(config: Any) -> pathlib.Path | None:
    given = config.getoption("sqloom_traces")
    base = pathlib.Path(config.invocation_params.dir)
    if given is None:
        given = _environment("SQLOOM_TRACES")
    if given is None:
        given, base = config.getini("sqloom_traces"), config.rootpath
    return base / given if given else None


def _defaults_of(config: Any) -> Defaults:
    """Of this run of pytest. What the environment says is in them already."""
    of_environment = dataclasses.replace(defaults)
    max_runs = config.getoption("sqloom_max_runs")
    if max_runs is None and not _environment("SQLOOM_MAX_RUNS"):
        max_runs = _ini_number(config, "sqloom_max_runs")
    seed = config.getoption("sqloom_seed")
    if seed is None and not _environment("SQLOOM_SEED"):
        seed = _ini_number(config, "sqloom_seed")
    return dataclasses.replace(
        of_environment,
        max_runs=_first(max_runs, of_environment.max_runs),
        seed=_first(seed, of_environment.seed),
        token=config.getoption("sqloom_replay") or of_environment.token,
        trace_directory=_traces(config), name=None, paste=None, on_report=None)


@contextlib.contextmanager
def _defaults_set(new: Defaults) -> Iterator[None]:
    """Others hold the object, so it is filled."""
    before = dataclasses.replace(defaults)
    names = [field.name for field in dataclasses.fields(Defaults)]
    for name in names:
        setattr(defaults, name, getattr(new, name))
    try:
        yield
    finally:
        for name in names:
            setattr(defaults, name, getattr(before, name))


def pytest_configure(config: Any) -> None:
    config.addinivalue_line("markers", MARKER)
    if any(config.pluginmanager.hasplugin(name)
           for name in ("django", "pytest_django.plugin")):
        config.pluginmanager.register(_BesidePytestDjango(),
                                      "sqloom-beside-django")
    else:
        config.pluginmanager.register(_WithoutPytestDjango(),
                                      "sqloom-without-django")
    config.pluginmanager.register(_Session(config), "sqloom-session")


def pytest_report_header(config: Any) -> str | None:
    session = config.pluginmanager.get_plugin("sqloom-session")
    token = session.defaults.token
    if token is None:
        return None
    return f"sqloom: every exploration is a replay of {token}"


# ---- The tests --------------------------------------------------------------


class _Session:
    """Binds what is explored to the test that explores, and tells failures."""

    def __init__(self, config: Any) -> None:
        self.defaults = _defaults_of(config)
        self.reports: list[Report] = []  # of the test that runs
        self.traces: list[str] = []  # that were kept
        self._config = config
        self._made: set[str] = set()  # directories

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        bound = dataclasses.replace(
            self.defaults, name=item.nodeid,
            paste=f"pytest {quoted(self.path_of(item))} --sqloom-replay",
            on_report=self.reports.append)
        with _defaults_set(bound):
            yield

    def path_of(self, item: Any) -> str:
        """What to say to pytest where it was called, for this test."""
        file, separator, rest = item.nodeid.partition("::")
        path = os.path.relpath(self._config.rootpath / file,
                               self._config.invocation_params.dir)
        return f"{path}{separator}{rest}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        self.reports.clear()  # of an attempt before

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: Any,
                                  call: Any) -> Iterator[None]:
        outcome: Any = yield
        report = outcome.get_result()
        traces = [found.trace for found in self.reports if found.trace]
        for trace in traces:
            self._ignore_in_git(pathlib.Path(trace).parent)
        if call.when == "call":
            report.sqloom_traces = traces
        if report.failed and call.excinfo is not None:
            self._tell(report, call.excinfo.value)

    def _tell(self, report: Any, error: BaseException) -> None:
        """The findings of the test that are not in its message already."""
        told = error.report if isinstance(error, RaceFound) else None
        for found in self.reports:
            if not found.holds and found is not told:
                report.sections.append(("sqloom", failure_text(found)))
        self.reports.clear()

    def _ignore_in_git(self, directory: pathlib.Path) -> None:
        if directory != self.defaults.trace_directory:
            return
        if str(directory) not in self._made:
            self._made.add(str(directory))
            ignore = directory / GITIGNORE
            if not ignore.exists():
                ignore.write_text("# Made by sqloom.\n*\n")

    def pytest_runtest_logreport(self, report: Any) -> None:
        """With xdist, called where the tests do not run."""
        if report.when == "call" and report.failed:
            self.traces += getattr(report, "sqloom_traces", [])

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self.traces:
            return
        terminalreporter.section("sqloom")
        terminalreporter.write_line(
            "Traces of what failed (sqloom show FILE tells them again):")
        for trace in self.traces:
            terminalreporter.write_line(f"  {os.path.relpath(trace)}")

    def pytest_sessionfinish(self) -> None:
        """The directory stays, also if it is empty: another run may be about to
        write into it."""
        directory = self.defaults.trace_directory
        if directory is not None and os.path.isdir(directory):
            with contextlib.suppress(OSError):
                self._ignore_in_git(pathlib.Path(directory))


# ---- The fixture ------------------------------------------------------------


class Bound:
    """What the `sqloom` fixture gives: sqloom's functions, bound to the test:
    reports and traces have its name, --sqloom-... options hold, and the line to
    paste runs this test. Everything else of sqloom can be had from it, too.

    name: of the test, as pytest says it. reports: of what it has explored so
    far. trace_directory: where traces of failures are kept, or None.
    """

    def __init__(self, name: str, reports: list[Report],
                 trace_directory: Any) -> None:
        self.name = name
        self.reports = reports
        self.trace_directory = trace_directory

    def __getattr__(self, name: str) -> Any:
        return getattr(_sqloom, name)


@pytest.fixture
def sqloom(request: Any) -> Bound:
    """sqloom.explore(), assert_race_free(), replay(), call_concurrently() and
    the others, bound to this test."""
    session = request.config.pluginmanager.get_plugin("sqloom-session")
    return Bound(request.node.nodeid, session.reports,
                 session.defaults.trace_directory)


# ---- The marker -------------------------------------------------------------


def _is_django_case(cls: Any) -> bool:
    """Is it a test case of Django? Asked without importing that."""
    return cls is not None and any(
        each.__module__ == "django.test.testcases" for each in cls.__mro__)


def _options_of(node: Any) -> dict[str, Any] | None:
    """The arguments of the closest marker; None if there is none."""
    marker = node.get_closest_marker("committing")
    if marker is None:
        return None
    known = {"databases", "fixtures", "processes", "leftover_connections",
             "leftover_transactions"}
    if marker.args or set(marker.kwargs) - known:
        raise pytest.UsageError(
            f"{node.nodeid}: @pytest.mark.committing has the arguments "
            f"{', '.join(sorted(known))}, by name")
    return dict(marker.kwargs)


def _check_django(what: str) -> None:
    try:
        from django.conf import settings
    except ImportError:
        raise pytest.UsageError(
            f"{what} is marked committing, which is about Django's databases, "
            "and Django is not installed") from None
    if not (settings.configured or os.environ.get("DJANGO_SETTINGS_MODULE")):
        raise pytest.UsageError(
            f"{what} is marked committing, which is about Django's databases, "
            "and Django has no settings: set DJANGO_SETTINGS_MODULE")
    from sqloom.django._testcases import expect

    expect()


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: Any) -> None:
    """Before a database in memory is opened."""
    if "sqloom" in getattr(item, "fixturenames", ()):
        _sqloom.watch_sqlite()


def pytest_pycollect_makeitem(collector: Any, name: str, obj: Any) -> None:
    """A test case of Django that is marked itself, or whose module is, becomes
    a committing one under its name, where pytest then finds it. Methods must be
    known before the class is collected: then it is asked how it is set up."""
    if not (isinstance(obj, type) and _is_django_case(obj)):
        return
    marked = _is_marked(obj)
    methods = [method for method in vars(obj).values() if _is_marked(method)]
    of_module = _options_of(collector) is not None
    if not (marked or methods or of_module):
        return
    _check_django(f"{collector.nodeid}::{name}")
    from django.test import TransactionTestCase

    from sqloom.django import committing

    if marked or (of_module and issubclass(obj, TransactionTestCase)):
        setattr(collector.obj, name, committing(obj))
    for method in methods:
        committing(method)


def _is_marked(thing: Any) -> bool:
    marks = getattr(thing, "pytestmark", [])
    return any(mark.name == "committing"
               for mark in (marks if isinstance(marks, list) else [marks]))


class _BesidePytestDjango:
    """pytest-django makes the databases and lets tests use them; whether there
    is a transaction around the test is decided in one fixture of it."""

    def __init__(self) -> None:
        self._committing: set[str] = set()  # tests that became so

    def pytest_itemcollected(self, item: Any) -> None:
        options = _options_of(item)
        if options is None:
            return
        _check_django(item.nodeid)
        if not _is_django_case(item.cls):
            # It says which databases are to be made, and asks for the fixture.
            item.add_marker(pytest.mark.django_db(databases=_aliases(item)),
                            append=False)

    @pytest.fixture
    def _django_db_helper(self, request: Any) -> Iterator[None]:
        """Instead of pytest-django's, which it asks unless the test is
        committing."""
        options = _options_of(request.node)
        if options is None or _is_django_case(request.cls):
            request.getfixturevalue("_django_db_helper")
            yield
            return
        request.getfixturevalue("django_db_setup")
        blocker = request.getfixturevalue("django_db_blocker")
        options["databases"] = _aliases(request.node)
        self._committing.add(request.node.nodeid)
        with blocker.unblock(), _committing(request.node.nodeid, options):
            yield

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: Any) -> None:
        """Says so if the fixture is not asked for any more."""
        if (_options_of(item) is not None and not _is_django_case(item.cls)
                and item.nodeid not in self._committing):
            pytest.fail("the test is marked committing, and this version of "
                        "pytest-django does not let sqloom do that; use a "
                        "class: sqloom.django.CommittingTestCase",
                        pytrace=False)


class _WithoutPytestDjango:
    """The databases are made here, when the first test wants them."""

    def pytest_itemcollected(self, item: Any) -> None:
        if _options_of(item) is None:
            return
        _check_django(item.nodeid)
        item.fixturenames.insert(
            _first_of_functions(item), "_sqloom_databases" if _is_django_case(
                item.cls) else "_sqloom_committing")

    @pytest.fixture(scope="session")
    def _sqloom_databases(self) -> Iterator[None]:
        """Django's test databases, unless somebody has made them already."""
        import django
        from django.test import utils

        django.setup()
        if hasattr(utils._TestState, "saved_data"):
            yield
            return
        utils.setup_test_environment()
        made = utils.setup_databases(verbosity=0, interactive=False)
        try:
            yield
        finally:
            utils.teardown_databases(made, verbosity=0)
            utils.teardown_test_environment()

    @pytest.fixture
    def _sqloom_committing(self, request: Any,
                           _sqloom_databases: None) -> Iterator[None]:
        options = _options_of(request.node) or {}
        options["databases"] = _aliases(request.node)
        with _committing(request.node.nodeid, options):
            yield


def _first_of_functions(item: Any) -> int:
    """Behind the fixtures of the session, which may make databases."""
    names = item.fixturenames
    known = item._fixtureinfo.name2fixturedefs
    return next((at for at, name in enumerate(names)
                 if known.get(name) and known[name][-1].scope != "session"),
                len(names))


def _aliases(node: Any) -> list[str]:
    """Those of the marker; else those of pytest-django's; else the default."""
    given = (_options_of(node) or {}).get("databases")
    marker = node.get_closest_marker("django_db")
    if given is None and marker is not None:
        given = marker.kwargs.get("databases")
    if given == "__all__":
        from django.db import connections

        return list(connections)
    return [given] if isinstance(given, str) else list(given or ["default"])


def _committing(name: str, options: dict[str, Any]) -> Any:
    from sqloom.django._testcases import committing_test

    return committing_test(name, **options)
