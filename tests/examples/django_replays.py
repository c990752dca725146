# SPDX-License-Identifier: Apache-2.0
"""Runs each broken twin of examples/django, in whose directory it is started,
and then what it found again: TIMES replays of its token, each in a test of its
own. A line for each: the test, the token, how many were the same finding."""

import os
import sys
import unittest

TIMES = 20

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


def run(runner, test):
    """The reports of one test, run as Django would."""
    reports = []
    defaults.on_report = reports.append
    result = unittest.TestResult()
    runner.build_suite([test]).run(result)
    if not result.wasSuccessful() or result.testsRun != 1:
        print(test, (result.errors + result.failures)[0][1])
        return []
    return reports


def told(report):
    return [(found.cls, found.schedule) for found in report.findings
            if found.wrong]


def replay(runner, test):
    defaults.token = None
    reports = run(runner, test)
    if not reports:  # it does not explore
        return
    [report] = reports
    found = report.findings[0]
    defaults.token = found.token
    same = [told(again) == [(found.cls, found.schedule)]
            for _ in range(TIMES) for again in run(runner, test)]
    print(test, found.token, f"{sum(same)}/{TIMES}", flush=True)


def main():
    runner = DiscoverRunner(verbosity=0)
    tests = [test.id() for test in each_test(runner.build_suite([]))
             if test.id().endswith(".test_broken")]
    runner.setup_test_environment()
    databases = runner.setup_databases()
    try:
        for test in tests:
            replay(runner, test)
    finally:
        runner.teardown_databases(databases)
        runner.teardown_test_environment()


main()
