# SPDX-License-Identifier: Apache-2.0
"""How many schedules can happen and how many are wrong: numbers that
reference.py found by executing every one of them.

reference.py judges the small ones anew in each run of the tests.
"""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import reference  # noqa: E402
from pg_help import (  # noqa: E402
    BROKEN,
    HERMITAGE,
    HOLDS,
    RC,
    RR,
    SERIALIZABLE,
    SPECS,
    explore,
    of_class,
)

# Spec, level, feasible, wrong, classes that occur.
COUNTS = [
    (SPECS / "read-write.spec", RC, 50, 40, {"contents"}),
    (SPECS / "read-write.spec", RR, 50, 0, {"retry"}),
    (SPECS / "read-write-locked.spec", RC, 24, 0, set()),
    (SPECS / "deadlock.spec", RC, 42, 24, {"error"}),
    (HERMITAGE / "g0.spec", RC, 24, 0, set()),
    (HERMITAGE / "g-single.spec", RC, 70, 10, {"result"}),
    (HERMITAGE / "g2-item.spec", RR, 70, 60, {"contents"}),
    (HERMITAGE / "g2.spec", SERIALIZABLE, 70, 0, {"retry"}),
]
each_count = pytest.mark.parametrize(
    "spec, level, feasible, wrong, classes", COUNTS,
    ids=[f"{row[0].stem}-{row[1].replace(' ', '-')}" for row in COUNTS])


@pytest.mark.parametrize("spec, level, feasible, wrong, classes",
                         [COUNTS[0], COUNTS[3], COUNTS[7]],
                         ids=["lost-update", "deadlock", "serializable"])
def test_reference_counts(database, spec, level, feasible, wrong,
                          classes):
    counter = reference.count(database, spec.read_text(), level)
    assert reference.summary(counter) == (feasible, wrong)


@each_count
def test_sqloom_counts(command, database, spec, level, feasible, wrong,
                       classes):
    report = explore(command, database, spec, "--isolation", level)
    assert report["complete"]
    assert (report["explored"], report["wrong"]) == (feasible, wrong)
    assert of_class(report) == classes
    assert report["exit_code"] == (BROKEN if wrong else HOLDS)


@pytest.mark.parametrize("name, fewest, most", [
    ("split-atomic-3", 30, 36), ("woken-3", 636, 726)])
def test_who_is_woken_first_is_not_promised(command, database, name, fewest,
                                            most):
    """Of two calls that wait for one row either may go first, at PostgreSQL's
    choice. A run that goes another way than the one before is no error, and a
    schedule that comes again is not counted again: it ends. fewest is where
    always the same one goes first, most where both orders are seen."""
    report = explore(command, database, SPECS / f"{name}.spec")
    assert report["complete"]
    assert report["exit_code"] == HOLDS
    assert fewest <= report["explored"] <= most


@pytest.mark.parametrize("jobs", [1, 2])
def test_three_locked_calls(command, database, jobs):
    """reference.py needs 20 seconds for it and agrees."""
    report = explore(command, database, SPECS / "read-write-locked-3.spec",
                     "--jobs", jobs)
    assert report["complete"]
    assert (report["explored"], report["wrong"]) == (2070, 0)
    assert report["exit_code"] == HOLDS


def test_the_report_says_k_of_k(command, database):
    result = command("explore", SPECS / "read-write-locked.spec", "--db",
                     database)
    assert b"24 of 24" in result.stdout


def test_the_victim_closes_the_cycle(command, database):
    """The same call fails each time: two explorations tell the same."""
    stories = {
        command("explore", SPECS / "deadlock.spec", "--db", database,
                "--findings", "all").stdout
        for _ in range(3)
    }
    assert len(stories) == 1
    assert b"deadlock" in stories.pop()
