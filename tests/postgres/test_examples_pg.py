# SPDX-License-Identifier: Apache-2.0
"""The examples on PostgreSQL: broken ones are found, fixed ones hold. Those
that cannot be shared with SQLite have a twin in examples/postgresql."""

import pathlib
import re
import shlex
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from pg_help import BROKEN, CHECKOUT, HOLDS, told  # noqa: E402

EXAMPLES = CHECKOUT / "examples"
TWINS = EXAMPLES / "postgresql"
# More orders than fit in the time of a test: the first ones show it.
LONG = {"stock", "double-submit"}


def for_postgres(path):
    """The file to run in place of an example."""
    name = path.name
    if path.parent.name == "sql":
        name = f"django-{name}"
    twin = TWINS / name
    return twin if twin.exists() else path


SHARED = [*EXAMPLES.glob("*.spec"), *EXAMPLES.glob("django/sql/*.spec")]
SPECS = [for_postgres(path) for path in sorted(SHARED)]
FIXED = [path for path in SPECS if path.stem.endswith("-fixed")]
OPEN = [path for path in SPECS if path not in FIXED]
each_open = pytest.mark.parametrize("spec", OPEN, ids=lambda path: path.stem)


def run(command, database, spec):
    more = ["--max-runs", "500"] if spec.stem in LONG else []
    return command("explore", spec, "--db", database, *more)


def test_every_twin_is_run_and_listed():
    assert set(TWINS.iterdir()) == {p for p in SPECS if p.parent == TWINS}
    readme = (EXAMPLES / "README.md").read_text()
    for twin in TWINS.iterdir():
        assert f"(postgresql/{twin.name})" in readme, twin.name


@pytest.mark.parametrize("spec", FIXED, ids=lambda path: path.stem)
def test_fixed_example_holds(command, database, spec):
    result = run(command, database, spec)
    assert result.returncode == HOLDS, told(result)
    assert re.search(rb"\b(\d[\d,]*) of \1 schedules", result.stdout), told(
        result)


@each_open
def test_broken_example_is_broken_and_replays(command, database, spec):
    """The report says how to see it again, and that line is right."""
    result = run(command, database, spec)
    assert result.returncode == BROKEN, told(result)
    line = re.search(rb"\bsqloom (replay .*~[0-9a-f]{4}.*)", result.stdout)
    assert line, told(result)
    arguments = shlex.split(line.group(1).decode())
    if "--db" not in arguments:
        arguments += ["--db", database]
    replayed = command(*arguments)
    assert replayed.returncode == BROKEN, told(replayed)


@pytest.mark.parametrize("name", ["invite-limit-fixed", "list-positions-fixed",
                                  "job-queue-fixed"])
def test_a_fix_for_sqlite_alone_is_broken(command, database, name):
    """What examples/README.md says about them."""
    result = command("explore", EXAMPLES / f"{name}.spec", "--db", database)
    assert result.returncode == BROKEN, told(result)


def test_two_explorations_write_the_same_trace(command, database, tmp_path):
    for name in "first", "second":
        result = command("explore", EXAMPLES / "lost-update.spec", "--db",
                         database, "--seed", "7", "--trace", name)
        assert result.returncode == BROKEN, told(result)
    first, second = ((tmp_path / name).read_bytes()
                     for name in ("first", "second"))
    assert first and first == second
