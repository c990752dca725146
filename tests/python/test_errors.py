# SPDX-License-Identifier: Apache-2.0
"""What the C library says, in the words of the Python package."""

import pickle
import re
import subprocess

import pytest

from sqloom import errors


@pytest.mark.parametrize("said, told", [
    ("the budget of 3 runs is used up (--max-runs)",
     "the budget of 3 runs is used up (max_runs=)"),
    ("give --db postgresql://... or --pg-temp",
     "give database='postgresql://...' or pg_temp=True"),
    ("explore with --strict, --seed 4", "explore with strict=True, seed= 4"),
    ("a word--db, --dbx and '--db'", "a word--db, --dbx and '--db'"),
    ('sqloom_replay_calls(&calls, "ab~1.2", ...)',
     'sqloom.replay("ab~1.2", ...)'),
])
def test_words(said, told):
    assert errors.in_python(said) == told


def test_each_status_has_its_class(checkout):
    header = (checkout / "include/sqloom/sqloom.h").read_text()
    names = set(re.findall(r"^\s*X\(([A-Z]+), +\d+", header, re.M)) - {"OK"}
    assert len(names) > 5
    for name in names:
        error = errors.from_status(name, "said", "42P01")
        assert isinstance(error, errors.Error)
        assert (error.status, str(error), error.sqlstate) == (
            name, "said", "42P01")
    assert isinstance(errors.from_status("TOKEN", ""), errors.UsageError)
    assert not issubclass(errors.RaceFound, errors.Error)


def test_all_options_that_messages_name_are_known(checkout):
    """A message of the library that can reach Python names no option of the
    command that is not translated."""
    folders = ["explore", "call", "db", "oracle", "strategy", "report"]
    said = subprocess.run(
        ["grep", "-rhoE", r"\"[^\"]*\(?--[a-z-]+[^\"]*\"",
         *(str(checkout / "src" / folder) for folder in folders)],
        text=True, capture_output=True, check=True).stdout
    options = set(re.findall(r"(?<!\w)--[a-z]+(?:-[a-z]+)*", said))
    assert "--max-runs" in options
    # Of the command only: calls that are programs or requests, schedules of a
    # spec, recordings.
    other = {"--all-schedules", "--call", "--before", "--cookie", "--data",
             "--follow", "--from-trace", "--joint", "--json", "--local-begin",
             "--record", "--timeout", "--trace", "--user"}
    assert options - other <= set(errors._OPTIONS)


def test_they_can_be_sent_to_another_process():
    report = object.__new__(type("Unpicklable", (), {}))
    for kind in (errors.RaceFound, errors.Inconclusive):
        got = pickle.loads(pickle.dumps(kind("the timeline", report)))
        assert type(got) is kind and str(got) == "the timeline"
        assert got.report is None
    error = pickle.loads(pickle.dumps(errors.from_status("LIMIT", "x", "5")))
    assert (type(error), error.status, error.sqlstate, str(error)) == (
        errors.LimitError, "LIMIT", "5", "x")
