# SPDX-License-Identifier: Apache-2.0
"""A statement in autocommit is not done when it has run: its COMMIT is a step
of its own."""

import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import reference  # noqa: E402
from pg_help import (  # noqa: E402
    BROKEN,
    HOLDS,
    INCONCLUSIVE,
    SPECS,
    explore,
    of_class,
    told,
)

# Spec, feasible, wrong, classes that occur.
SPLITS = [
    ("split-not-exists", 6, 4, {"contents"}),
    ("split-atomic", 4, 0, set()),
    ("split-unique", 4, 2, {"error"}),
    ("split-on-conflict", 4, 0, set()),
]
each_split = pytest.mark.parametrize("name, feasible, wrong, classes", SPLITS,
                                     ids=[row[0] for row in SPLITS])


@each_split
def test_reference_counts(database, name, feasible, wrong, classes):
    counter = reference.count(database, (SPECS / f"{name}.spec").read_text())
    assert reference.summary(counter) == (feasible, wrong)


@each_split
def test_sqloom_counts(command, database, name, feasible, wrong, classes):
    report = explore(command, database, SPECS / f"{name}.spec")
    assert report["complete"]
    assert (report["explored"], report["wrong"]) == (feasible, wrong)
    assert of_class(report) == classes
    assert report["exit_code"] == (BROKEN if wrong else HOLDS)


def test_the_report_says_just_that(command, database):
    """Contents are right: the error is what is told."""
    result = command("explore", SPECS / "split-unique.spec", "--db", database)
    assert result.returncode == BROKEN, told(result)
    text = result.stdout.decode()
    assert "23505" in text or "duplicate key" in text
    assert "contents" not in text.split("\n\n")[0].lower(), text


def test_a_reading_statement_is_one_step(command, database, write):
    """2 reads: 2 orders. A read that locks is split: 2 and 2 steps, and who
    waits goes on only after the other's COMMIT."""
    spec = """\
setup {{ CREATE TABLE t (v integer); INSERT INTO t VALUES (1); }}
session a
step a1 {{ SELECT v FROM t {lock} }}
session b
step b1 {{ SELECT v FROM t {lock} }}
"""
    plain = write("plain.spec", spec.format(lock=""))
    locked = write("locked.spec", spec.format(lock="FOR UPDATE"))
    assert explore(command, database, plain)["explored"] == 2
    assert explore(command, database, locked)["explored"] == 4


# Refused by PostgreSQL in a transaction block, or of another meaning there.
UNWRAPPED = [
    "VACUUM t",
    "ANALYZE t",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS t_v ON t (v)",
    "REINDEX TABLE CONCURRENTLY t",
    "SET work_mem = '1MB'",
    "SHOW work_mem",
    "DISCARD ALL",
    "CALL commits()",
    "DO $$ BEGIN UPDATE t SET v = 3; COMMIT; END $$",
]


@pytest.mark.parametrize("statement", UNWRAPPED)
def test_statements_that_must_stay_alone(command, database, write, statement):
    """They succeed, as they do for a program in autocommit."""
    spec = write("alone.spec", f"""\
setup {{
  CREATE TABLE t (id integer PRIMARY KEY, v integer);
  INSERT INTO t VALUES (1, 1);
}}
setup {{
  CREATE PROCEDURE commits() LANGUAGE plpgsql AS
  'BEGIN UPDATE t SET v = 2; COMMIT; END';
}}
session a
step a1 {{ {statement} }}
session b
step b1 {{ SELECT count(*) FROM t }}
""")
    result = command("explore", spec, "--db", database, "--json",
                     "--trace", "trace")
    report = json.loads(result.stdout)
    if statement.startswith(("CALL", "DO")):
        # Nobody else gets a turn in their middle: that proves nothing.
        assert report["exit_code"] == INCONCLUSIVE, told(result)
        assert "may commit in its middle" in report["reason"]
    else:
        assert report["exit_code"] in (HOLDS, BROKEN), told(result)
    assert "25001" not in result.stdout.decode()
    assert report["classes"]["error"] == 0
    assert "transaction block" not in told(result)


def test_an_error_at_commit_is_the_statements_error(command, database, write):
    """A deferred constraint speaks up at COMMIT. The caller of the statement
    gets that, and nothing stays."""
    spec = write("deferred.spec", """\
setup {
  CREATE TABLE t (v integer UNIQUE DEFERRABLE INITIALLY DEFERRED);
  INSERT INTO t VALUES (1);
}
session a
step a1 { INSERT INTO t VALUES (2) }
step a2 { SELECT count(*) FROM t }
session b
step b1 { INSERT INTO t SELECT max(v) + 1 FROM t }
""")
    report = explore(command, database, spec)
    assert report["exit_code"] == BROKEN
    assert of_class(report) <= {"error", "contents", "result"}
    assert "error" in of_class(report)
