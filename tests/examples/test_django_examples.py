# SPDX-License-Identifier: Apache-2.0
"""The Django project of examples/django: its own tests pass, on SQLite and on
PostgreSQL, with manage.py and with pytest; and it is as its README says."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
PROJECT = CHECKOUT / "examples" / "django"
STORIES = sorted(PROJECT.glob("*/tests/test_*.py"))
# Their broken twins are found by an exploration; that of a hierarchy is refused.
REPLAYED = len(STORIES) - 1
# On SQLite, and on PostgreSQL, where each has a proxy to start; $SQLOOM_REPLAYS
# is for both.
REPLAYS = 5, 2
# Only a run that hangs gets there.
TIMEOUT_S = 600

spec = importlib.util.spec_from_file_location(
    "sqloom_examples_python_package",
    HERE / "python_package.py")
python_package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(python_package)


@pytest.fixture
def run(environment, tmp_path):
    """run("manage.py", "test") in the project, whose files stay as they are:
    -B, and a home of its own."""

    def start(*arguments, **more):
        python, path = python_package.interpreter()
        env = environment(PYTHONPATH=path, HOME=str(tmp_path),
                          PATH="/usr/local/bin:/usr/bin:/bin:/usr/sbin",
                          PYTHONDONTWRITEBYTECODE="1", **more)
        return subprocess.run(
            [python, *arguments], cwd=PROJECT, env=env, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=TIMEOUT_S, check=False)

    return start


@pytest.fixture(params=["sqlite", "postgresql"])
def on_each_database(request):
    """The environment that says so."""
    if request.param == "sqlite":
        return {}
    server = request.getfixturevalue("server")
    server.sql("CREATE DATABASE example")
    request.addfinalizer(lambda: server.sql("DROP DATABASE example"))
    return {"DATABASE_URL": server.uri("example")}


def assert_ran_all(result, listed):
    assert result.returncode == 0, result.stdout
    assert not re.search(r"skipped", result.stdout), result.stdout
    count = int(re.search(listed, result.stdout).group(1))
    assert count > 2 * len(STORIES), result.stdout


def started_with(home):
    """The processes that still are of a run, by their environment."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"HOME={home}\0".encode() in path.read_bytes() + b"\0":
                found.append((path.parent / "cmdline").read_text())
        except OSError:
            continue
    return found


def assert_all_stopped(home):
    end = time.monotonic() + TIMEOUT_S
    while started_with(home) and time.monotonic() < end:
        time.sleep(0.01)
    assert started_with(home) == []


def test_manage_py_test(run, on_each_database, tmp_path):
    """And nothing that it started is left."""
    assert_ran_all(run("manage.py", "test", **on_each_database),
                   r"Ran (\d+) tests")
    assert_all_stopped(tmp_path)


def test_pytest(run, tmp_path):
    """In two processes, by pytest-xdist."""
    more = [] if "SQLOOM_EXAMPLES_PYTHON" in os.environ else ["-n", "2"]
    assert_ran_all(run("-m", "pytest", "-q", *more), r"(\d+) passed")
    assert_all_stopped(tmp_path)


def test_every_token_replays(run, on_each_database):
    """What is found in a broken twin is seen again, each time."""
    times = os.environ.get("SQLOOM_REPLAYS") or REPLAYS[bool(on_each_database)]
    result = run(HERE / "django_replays.py", str(times), **on_each_database)
    assert result.returncode == 0, result.stdout
    lines = result.stdout.splitlines()
    assert len(lines) == REPLAYED, result.stdout
    for line in lines:
        assert line.endswith(f" {times}/{times}"), result.stdout


@pytest.mark.parametrize("command", [
    "check --fail-level WARNING", "makemigrations --check --dry-run",
    "migrate --verbosity 0", "collectstatic --dry-run --no-input"])
def test_the_project_is_whole(run, tmp_path, command):
    """Django finds nothing to complain about, nor a migration to make."""
    result = run("manage.py", *command.split(),
                 DATABASE_URL=f"sqlite:///{tmp_path}/db.sqlite3")
    assert result.returncode == 0, result.stdout


def test_every_story_is_told():
    """Each test file is in the table of the README, with the module it tests,
    and tests a broken and a fixed twin."""
    readme = (PROJECT / "README.md").read_text()
    assert len(STORIES) == 11
    for story in STORIES:
        assert f"({story.relative_to(PROJECT)})" in readme, story
        text = story.read_text()
        assert re.search("(?i)class Broken|def test_broken", text), story
        assert "assert_race_free(" in text, story
        assert "report.explored, report.total" in text, story
    for target in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (PROJECT / target).exists(), target


def test_the_database_that_the_environment_names(tmp_path):
    sys.path.insert(0, str(PROJECT))
    try:
        spec = importlib.util.spec_from_file_location(
            "sqloom_example_databases", PROJECT / "project" / "databases.py")
        databases = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(databases)
    finally:
        sys.path.remove(str(PROJECT))
    chosen = databases.from_environment
    assert chosen({}, tmp_path)["NAME"] == str(tmp_path / "db.sqlite3")
    found = chosen({"DATABASE_URL": "postgresql://ann:p%40ss@%2Ftmp%2FX:1/shop"},
                   tmp_path)
    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"],
            found["NAME"]) == ("ann", "p@ss", "/tmp/X", "1", "shop")
    assert chosen({"PGHOST": "db", "PGDATABASE": "shop"},
                  tmp_path)["HOST"] == "db"
    with pytest.raises(ValueError, match="neither"):
        chosen({"DATABASE_URL": "mysql://host/shop"}, tmp_path)
