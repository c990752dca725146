# SPDX-License-Identifier: Apache-2.0
"""What all tests of the Python package share. dev/python-tests runs them, on
SQLite and on PostgreSQL."""

import os
import pathlib

import pytest

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]

# Which database it is makes no difference to these: once is enough.
if os.environ.get("SQLOOM_TEST_DB") == "postgresql":
    collect_ignore = ["test_concurrent.py", "test_concurrent_ends.py",
                      "test_concurrent_threads.py"]


@pytest.fixture(scope="session")
def checkout():
    """The folder that holds the repository."""
    return CHECKOUT


@pytest.fixture(scope="session")
def on_postgresql():
    """Do the tests run on PostgreSQL (else on SQLite)?"""
    return os.environ["SQLOOM_TEST_DB"] == "postgresql"
