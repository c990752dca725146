# SPDX-License-Identifier: Apache-2.0
"""Every example does what its name says: NAME.spec is broken, its twin
NAME-fixed.spec holds, and both are told the same way each time."""

import pathlib
import re
import shlex
import subprocess

import pytest

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = CHECKOUT / "examples"
# Those for PostgreSQL alone are run in tests/postgres.
FOLDERS = EXAMPLES, EXAMPLES / "django" / "sql"
# Relative to the checkout, as a reader would type them.
SPECS = sorted(
    path.relative_to(CHECKOUT).as_posix()
    for folder in FOLDERS
    for path in folder.glob("*.spec")
)
FIXED = [spec for spec in SPECS if spec.endswith("-fixed.spec")]
BROKEN = [spec for spec in SPECS if spec not in FIXED]

HOLDS, IS_BROKEN = 0, 1


def run(sqloom, *arguments):
    return subprocess.run(
        [sqloom, *map(str, arguments)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def all_of(result):
    return f"exit {result.returncode}\n{result.stdout}{result.stderr}"


def test_there_are_examples():
    assert len(BROKEN) >= 17
    assert "examples/lost-update.spec" in BROKEN
    assert "examples/django/sql/session-cart.spec" in BROKEN


def test_every_broken_example_has_a_fixed_twin_and_vice_versa():
    assert FIXED == sorted(
        spec.removesuffix(".spec") + "-fixed.spec" for spec in BROKEN
    )


@pytest.mark.parametrize("spec", SPECS)
def test_example_tells_its_story(spec):
    """The comment names the other file of the pair, and both READMEs list
    the example."""
    path = CHECKOUT / spec
    story = re.match(r"(?:#.*\n)+", path.read_text()).group()
    stem = path.stem.removesuffix("-fixed")
    twin = stem if path.stem != stem else f"{stem}-fixed"
    assert f"{twin}.spec" in story
    assert f"({stem}.spec)" in (path.parent / "README.md").read_text()


@pytest.mark.parametrize("spec", BROKEN)
def test_broken_example_is_broken(sqloom, spec):
    result = run(sqloom, "explore", spec)
    assert result.returncode == IS_BROKEN, all_of(result)


@pytest.mark.parametrize("spec", FIXED)
def test_fixed_example_holds(sqloom, spec):
    result = run(sqloom, "explore", spec)
    assert result.returncode == HOLDS, all_of(result)
    assert re.search(r"\b(\d[\d,]*) of \1 schedules", result.stdout), all_of(
        result
    )


@pytest.mark.parametrize("spec", SPECS)
def test_two_runs_write_the_same_trace(sqloom, spec, tmp_path):
    traces = []
    for name in "first", "second":
        trace = tmp_path / name
        result = run(sqloom, "explore", "--seed", 7, "--trace", trace, spec)
        assert result.returncode in (HOLDS, IS_BROKEN), all_of(result)
        traces.append(trace.read_bytes())
    assert traces[0]
    assert traces[0] == traces[1]


@pytest.mark.parametrize("spec", BROKEN)
def test_the_printed_line_replays_the_finding(sqloom, spec):
    """Runs the line that the report says to paste."""
    explored = run(sqloom, "explore", spec)
    line = re.search(r"\bsqloom (replay .*~[0-9a-f]{4}.*)", explored.stdout)
    assert line, all_of(explored)
    replayed = run(sqloom, *shlex.split(line.group(1)))
    assert replayed.returncode == IS_BROKEN, all_of(replayed)


def test_the_demo_is_as_the_documents_tell_it(sqloom):
    """Two steps in each of two calls: 6 orders, and only the 2 serial ones
    are right. README and the manual print these numbers."""
    result = run(sqloom, "explore", "examples/lost-update.spec")
    assert re.search(r"\b4 of 6 schedules", result.stdout), all_of(result)
