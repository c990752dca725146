# SPDX-License-Identifier: Apache-2.0
"""Explorations inside of Django's own test runner, with --parallel, with
pytest-xdist, and on SQLite test databases that are files."""

import os
import subprocess
import sys

import pytest
from explored import cases

TESTS = 3 * 3 + 2


def run(*command, **variables):
    """The output; all must be well."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "explored.settings",
             **variables},
        cwd=os.path.dirname(os.path.abspath(__file__)),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=240)
    assert done.returncode == 0, done.stdout
    return done.stdout


def workers(log):
    """Which processes used which databases."""
    return {tuple(line.split(" ", 1)) for line in
            log.read_text().splitlines()}


def test_manage_py_test():
    assert f"Ran {TESTS} tests" in run("-m", "django", "test", "explored.cases")


def test_parallel(tmp_path, on_postgresql):
    log = tmp_path / "log"
    said = run("-m", "django", "test", "explored.cases", "--parallel", "2",
               EXPLORED_LOG=str(log))
    assert f"Ran {TESTS} tests" in said
    used = workers(log)
    assert len({pid for pid, name in used}) == 2, used
    if on_postgresql:
        assert {name for pid, name in used} == {"test_explored_1",
                                                "test_explored_2"}


def test_xdist(tmp_path, on_postgresql):
    log = tmp_path / "log"
    said = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2",
               "explored/pytest_cases.py", EXPLORED_LOG=str(log))
    assert "6 passed" in said
    used = workers(log)
    assert len({pid for pid, name in used}) == 2, used
    if on_postgresql:
        assert {name for pid, name in used} == {"test_explored_gw0",
                                                "test_explored_gw1"}


def test_sqlite_in_a_file(tmp_path, on_postgresql):
    if on_postgresql:
        pytest.skip("of SQLite")
    said = run("-m", "django", "test", "explored.cases",
               EXPLORED_FILE=str(tmp_path / "test.sqlite3"))
    assert f"Ran {TESTS} tests" in said


def test_count_of_tests():
    """What this file expects to run."""
    names = [name for name in dir(cases.Explores) if name.startswith("test")]
    assert 3 * len(names) + 2 == TESTS
