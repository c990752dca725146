# SPDX-License-Identifier: Apache-2.0
"""django_replays.py TIMES: runs each broken twin of examples/django, in whose
directory it is started, and then what it found again: TIMES replays of its
token, each in a test of its own. A line for each: the test, the token, how many
were the same finding."""

import os
import sys
import unittest

TIMES = int(sys.argv[1])

sys.path.insert(0, os.getcwd())
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"

import django  # noqa: E402

django.setup()

from django.test.runner import DiscoverRunner  # noqa: E402
from sqloom._explore import defaults  # noqa: E402


def each_test(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from each_test(test)
        else:
            yield test


def run(test, times):
    """The reports of a test that is run so many times, in one class."""
    reports = []
    defaults.on_report = reports.append
    load = unittest.defaultTestLoader.loadTestsFromName
    result = unittest.TestResult()
    result.failfast = True
    unittest.TestSuite(load(test) for _ in range(times)).run(result)
    for _, text in result.errors + result.failures:
        print(test, text)
    return reports if result.wasSuccessful() else []


def told(report):
    return [(found.cls, found.schedule) for found in report.findings
            if found.wrong]


def replay(test):
    defaults.token = None
    reports = run(test, 1)
    if not reports:  # it does not explore
        return
    found = reports[0].findings[0]
    defaults.token = found.token
    same = [told(again) == [(found.cls, found.schedule)]
            for again in run(test, TIMES)]
    print(test, found.token, f"{sum(same)}/{TIMES}", flush=True)


def main():
    runner = DiscoverRunner(verbosity=0)
    tests = [test.id() for test in each_test(runner.build_suite([]))
             if test.id().endswith(".test_broken")]
    runner.setup_test_environment()
    databases = runner.setup_databases()
    try:
        for test in tests:
            replay(test)
    finally:
        runner.teardown_databases(databases)
        runner.teardown_test_environment()


main()
