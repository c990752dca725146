# SPDX-License-Identifier: Apache-2.0
"""The Django specs hold the SQL that Django really sends.

Runs examples/django/sql/capture.py and compares each spec with what it prints.
What the specs change on purpose is documented in examples/django/sql/README.md;
normalised() and written_over() here are that page as code.
"""

import json
import pathlib
import re
import sqlite3
import subprocess
import sys

import pytest

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
DJANGO = CHECKOUT / "examples" / "django" / "sql"
SPECS = sorted(DJANGO.glob("*.spec"))

django = pytest.importorskip("django")
pytestmark = pytest.mark.skipif(
    django.VERSION[:2] != (3, 2), reason="the specs were captured from 3.2"
)


@pytest.fixture(scope="module")
def captured():
    result = subprocess.run(
        [sys.executable, str(DJANGO / "capture.py"), "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def without_comments(path):
    lines = path.read_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


def setup_of(path):
    blocks = re.findall(r"^setup\s*\{([^}]*)\}", without_comments(path), re.M)
    return [s.strip() for s in "".join(blocks).split(";") if s.strip()]


def sessions_of(path):
    """{session: [(step, SQL)]} in the order of the file."""
    sessions = {}
    for session, step, sql in re.findall(
        r"^(?:session\s+(\w+)|"
        r"step\s+(\w+)\s*(?:when\s*\{[^}]*\}\s*)?\{([^}]*)\})",
        without_comments(path),
        re.M,
    ):
        if session:
            steps = sessions[session] = []
        else:
            steps.append((step, sql.strip()))
    return sessions


def written_over(path):
    """[(expression, literal)] of the spec's `expression <- literal` lines."""
    found = re.findall(r"^#\s+(\S.*?)\s+<-\s+(\S.*?)\s*$", path.read_text(), re.M)
    return [(e, literal) for e, literal in found if e.startswith(":")]


def normalised(sql):
    """Without what only the layout added."""
    return re.sub(r"(?<=\() | (?=\))", "", " ".join(sql.split()))


def as_django_sent(path, sql):
    """With literals in place of the expressions. One of them may belong to
    another session: it is then not in this step."""
    for expression, literal in written_over(path):
        sql = sql.replace(expression, literal)
    return normalised(sql)


def test_every_spec_is_captured_and_every_capture_is_a_spec(captured):
    assert sorted(captured["stories"]) == sorted(path.stem for path in SPECS)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_setup_is_what_django_sent(captured, path):
    story = captured["stories"][path.stem]
    assert [normalised(s) for s in setup_of(path)] == [
        normalised(s) for s in story["setup"]
    ]


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_steps_are_what_django_sent(captured, path):
    sessions = captured["stories"][path.stem]["sessions"]
    stored = {
        name: [as_django_sent(path, sql) for _, sql in steps]
        for name, steps in sessions_of(path).items()
    }
    assert stored == {
        name: [normalised(s) for s in statements]
        for name, statements in sessions.items()
    }


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_expressions_give_the_literals(path):
    """An expression stands for the literal it replaced, not for another: on
    what the session's first step reads, it is that literal."""
    used = set()
    for steps in sessions_of(path).values():
        database = sqlite3.connect(":memory:")
        database.row_factory = sqlite3.Row
        database.executescript(";".join(setup_of(path)))
        row = database.execute(steps[0][1]).fetchone()
        for _, sql in steps[1:]:
            for expression, literal in written_over(path):
                if expression not in sql:
                    continue
                used.add(expression)
                ours, theirs = database.execute(
                    f"SELECT {expression}, {literal}", dict(row)
                ).fetchone()
                assert ours == theirs, expression
        database.close()
    assert used == {expression for expression, _ in written_over(path)}


def test_get_or_create_rolls_back_and_looks_again(captured):
    """What get-or-create-fixed.spec leaves out after the allowed error."""
    path = DJANGO / "get-or-create-fixed.spec"
    steps = [sql for _, sql in next(iter(sessions_of(path).values()))]
    look, begin, insert, commit = map(normalised, steps)
    assert commit == "COMMIT"
    assert [normalised(s) for s in captured["late"]] == [
        look, begin, insert, "ROLLBACK", look,
    ]


def test_every_spec_waits_as_long_as_pythons_driver():
    """Django leaves the timeout to sqlite3.connect(): five seconds."""
    database = sqlite3.connect(":memory:")
    (timeout,) = database.execute("PRAGMA busy_timeout").fetchone()
    for path in SPECS:
        assert f"\noption busy_timeout {timeout}\n" in path.read_text(), path
