# SPDX-License-Identifier: Apache-2.0
"""Hermitage: what each isolation level allows, found without being told the
order. The table is the published one for PostgreSQL."""

import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from pg_help import (  # noqa: E402
    BROKEN,
    HERMITAGE,
    HOLDS,
    ISOLATION_LEVELS,
    RC,
    RR,
    SERIALIZABLE,
    explore,
)

ALLOWED = {
    RC: {"pmp", "p4", "g-single", "g2-item", "g2"},
    RR: {"g2-item", "g2"},
    SERIALIZABLE: set(),
}
PREVENTED = ["g0", "g1a", "g1b", "g1c", "otv"]
ANOMALIES = PREVENTED + ["pmp", "p4", "g-single", "g2-item", "g2"]
TRANSACTION_STEP = re.compile(r"^step .*\{ (BEGIN|COMMIT|ROLLBACK) \}\n", re.M)


def test_there_are_ten():
    assert sorted(ANOMALIES) == sorted(p.stem for p in HERMITAGE.iterdir())


@pytest.mark.parametrize("anomaly", ANOMALIES)
def test_the_order_is_not_told(anomaly):
    text = (HERMITAGE / f"{anomaly}.spec").read_text()
    assert "permutation" not in text
    for steps in text.split("\nsession ")[1:]:
        assert steps.count("{ BEGIN }") == 1
        assert len(re.findall(r"\{ (?:COMMIT|ROLLBACK) \}", steps)) == 1


@pytest.mark.parametrize("level", ISOLATION_LEVELS)
@pytest.mark.parametrize("anomaly", ANOMALIES)
def test_table(command, database, anomaly, level):
    report = explore(command, database, HERMITAGE / f"{anomaly}.spec",
                     "--isolation", level)
    assert report["complete"]
    expected = BROKEN if anomaly in ALLOWED[level] else HOLDS
    assert report["exit_code"] == expected, report["classes"]


@pytest.mark.parametrize("anomaly", PREVENTED)
def test_prevented_anomalies_would_be_seen(command, database, write, anomaly):
    """No level of PostgreSQL shows them. Without its transactions each spec is
    broken, so that "holds" above means something."""
    text = (HERMITAGE / f"{anomaly}.spec").read_text()
    bare, steps = TRANSACTION_STEP.subn("", text)
    assert steps >= 4
    spec = write(f"{anomaly}.spec", bare)
    report = explore(command, database, spec, "--isolation", RC)
    assert report["exit_code"] == BROKEN
