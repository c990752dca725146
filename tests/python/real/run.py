# SPDX-License-Identifier: Apache-2.0
"""python -m real.run MODULE,... [-k WORD] [--show] [--first]: explores the
cases of these modules of real/cases, and prints a line of JSON for each.

On SQLite, or on the database that SQLOOM_TEST_DB says (see dev/python-tests),
with the versions that Python finds first. --show prints the reports instead.
"""

import argparse
import importlib.metadata
import json
import logging
import os
import sys
import time
import traceback

from real.case import LOCKED, cases_of, load

# Of the real bugs that were looked at, two switches find every one.
MAX_SWITCHES = 2


def put_back(connection):
    """Empties all tables but those that only migrations write."""
    from django.core.management.color import no_style

    kept = {"django_migrations", "django_content_type", "auth_permission"}
    tables = [name for name in connection.introspection.table_names()
              if name not in kept]
    connection.ops.execute_sql_flush(
        connection.ops.sql_flush(no_style(), tables, allow_cascade=True))


def contents(connection):
    """What is in the database, for a comparison."""
    with connection.cursor() as cursor:
        found = {}
        for name in connection.introspection.table_names(cursor):
            cursor.execute(
                f"SELECT * FROM {connection.ops.quote_name(name)}")
            found[name] = sorted(map(repr, cursor.fetchall()))
        return found


def check_that_it_works(case, connection):
    """A call that does nothing would hold, too; some packages swallow their
    errors."""
    calls = case.prepare()
    before = contents(connection)
    function, *arguments = calls[0] if isinstance(calls[0], tuple) \
        else (calls[0],)
    function(*arguments)
    if contents(connection) == before:
        raise AssertionError("the first call leaves the database as it was: "
                             "there is nothing to explore")
    put_back(connection)


def options_of(case):
    from django.utils.module_loading import import_string

    # No call waits for another one outside of the database, however busy the
    # machine is.
    return {"name": case.name, "max_preemptions": MAX_SWITCHES,
            "stall_after": 60,
            "refusals": tuple(import_string(name) for name in case.refusals)}


def explore(case, **options):
    """The report of a case, and how long it took, in seconds; and the report of
    its replay, if it found something."""
    import sqloom

    calls = case.prepare()
    began = time.monotonic()
    report = sqloom.explore(calls, **{**options_of(case), **options})
    seconds = time.monotonic() - began
    again = None
    if report.broken:
        again = sqloom.replay(report.findings[0].token, calls,
                              **options_of(case))
    return report, seconds, again


def runs_needed(case, connection):
    """The number of the first schedule that ends wrong; serial runs are not
    counted."""
    for number in range(1, 100):
        put_back(connection)
        report, *_ = explore(case, strategy="exhaustive", max_runs=number)
        if report.broken:
            return number
    return None


def version_of(package):
    import django

    if package == "Django":
        return django.get_version()
    return importlib.metadata.version(package)


def summary(case, report, seconds):
    """What the test and the table of docs/real-bugs.md want to know."""
    package = sys.modules[case.prepare.__module__].PACKAGE
    version = version_of(package)
    database = os.environ["SQLOOM_TEST_DB"]
    classes = [each.cls for each in report.outcomes]
    outcome = (classes[0] if report.broken else
               LOCKED if report.holds and "retry" in classes else
               report.verdict)
    return {"case": f"{case.module}: {case.name}", "package": package,
            "version": version, "database": database, "outcome": outcome,
            "expected": case.expected(version, database),
            "explored": report.explored, "wrong": report.wrong,
            "retries": report.json["classes"]["retry"],
            "what": " ".join((case.prepare.__doc__ or "").split()),
            "seconds": round(seconds, 2), "text": report.render(timing=True)}


def cases_in(modules, word):
    """Without those of which nothing is said for the version."""
    for module in load(modules):
        for case in cases_of(module):
            if word in case.name and case.is_known(version_of(module.PACKAGE)):
                yield case


def told_of(case, connection, first):
    """See summary(); "failed" if it cannot be explored."""
    try:
        check_that_it_works(case, connection)
        report, seconds, again = explore(case)
        told = summary(case, report, seconds)
        if again is not None:
            told["replayed"] = again.findings[0].cls if again.broken \
                else again.text
        if first and report.broken:
            told["first"] = runs_needed(case, connection)
        return told
    except Exception:
        return {"case": f"{case.module}: {case.name}", "outcome": "failed",
                "text": traceback.format_exc()}
    finally:
        put_back(connection)


def arguments():
    parser = argparse.ArgumentParser(prog="python -m real.run")
    parser.add_argument("modules")
    parser.add_argument("-k", default="", help="only cases with this word")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--first", action="store_true",
                        help="also find which run is the first wrong one")
    return parser.parse_args()


def main():
    options = arguments()
    os.environ["SQLOOM_REAL"] = options.modules
    os.environ.setdefault("SQLOOM_TEST_DB", "sqlite")
    os.environ["DJANGO_SETTINGS_MODULE"] = "real.settings"

    import django
    from django.core.management import call_command
    from django.db import connection
    from django.test.utils import setup_databases, teardown_databases

    django.setup()
    logging.disable()
    made = setup_databases(verbosity=0, interactive=False)
    try:
        call_command("createcachetable", verbosity=0)
        for case in cases_in(options.modules.split(","), options.k):
            told = told_of(case, connection, options.first)
            print(told["text"] if options.show else json.dumps(told),
                  flush=True)
    finally:
        teardown_databases(made, verbosity=0)


if __name__ == "__main__":
    main()
