# SPDX-License-Identifier: Apache-2.0
"""What a test costs that writes two tables: CommittingTestCase against Django's
own test cases. What a class costs once (setUpClass) is left out everywhere."""

import unittest

from common import heading, line, median, MODELS, ROUNDS, seconds, test_database

# Of TransactionTestCase, and of TestCase, with 400 models.
TARGET_FLUSH, TARGET_ROLLBACK = 200, 3
TESTS = {"TransactionTestCase": 3, "TestCase": 30, "CommittingTestCase": 30}


def make_classes():
    from django.test import TestCase, TransactionTestCase

    from rows.models import MODELS as models
    from sqloom.django import CommittingTestCase

    class Writes:
        def test(self):
            assert not models[0].objects.exists()
            models[0].objects.create(name="one")
            models[1].objects.create(name="other")

    def derive(base):
        return type(f"Test{base.__name__}", (Writes, base), {})

    return {base.__name__: derive(base)
            for base in (TransactionTestCase, TestCase, CommittingTestCase)}


def run_one(case):
    result = unittest.TestResult()
    time = seconds(case, result)
    assert result.wasSuccessful() and result.testsRun == 1, \
        (result.errors + result.failures)[0][1]
    return time


def run_class(cls, tests):
    """Seconds of each test."""
    cls.setUpClass()
    try:
        return [run_one(cls("test")) for _ in range(tests)]
    finally:
        cls.tearDownClass()
        cls.doClassCleanups()


def main():
    classes = make_classes()
    times = {name: [] for name in classes}
    for _ in range(ROUNDS):
        for name, cls in classes.items():
            times[name] += run_class(cls, TESTS[name])
    ours = median(times["CommittingTestCase"])
    flush = median(times["TransactionTestCase"])
    rollback = median(times["TestCase"])
    heading("a test that writes 2 tables", "ms")
    wanted = MODELS == 400
    line(f"{MODELS} models : TransactionTestCase", 1e3 * ours, 1e3 * flush,
         flush / ours, f">= {TARGET_FLUSH}" if wanted else "",
         flush / ours >= TARGET_FLUSH)
    line(f"{MODELS} models : TestCase", 1e3 * ours, 1e3 * rollback,
         ours / rollback, f"<= {TARGET_ROLLBACK}" if wanted else "",
         ours / rollback <= TARGET_ROLLBACK)
    print(flush=True)


with test_database():
    main()
