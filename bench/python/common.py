# SPDX-License-Identifier: Apache-2.0
"""What the parts share: the test database, the clock, and how a line looks."""

import contextlib
import os
import statistics
import time

import django

ROUNDS = int(os.environ["BENCH_ROUNDS"])
MODELS = int(os.environ["BENCH_MODELS"])
DATABASE = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[
    os.environ["BENCH_DB"]]


@contextlib.contextmanager
def test_database():
    """Django's, made and destroyed as its test runner does it."""
    from django.test.utils import setup_databases, teardown_databases

    import sqloom  # noqa: F401: before SQLite's databases are made

    django.setup()
    made = setup_databases(verbosity=0, interactive=False)
    try:
        yield
    finally:
        teardown_databases(made, verbosity=0)


def seconds(function, *arguments):
    begin = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - begin


def heading(text, unit):
    print(f"{text + ', ' + DATABASE:52} {'sqloom':>9} {'peer':>9} "
          f"{'ratio':>7}  {unit}")


def line(what, ours, theirs, ratio, target="", met=True):
    """Medians of two lists; the ratio is told as it is given."""
    verdict = f"{target} {'ok' if met else 'MISSED'}" if target else ""
    print(f"  {what:50} {ours:9.3g} {theirs:9.4g} {ratio:7.3g}  {verdict}",
          flush=True)


def median(values):
    return statistics.median(values)
