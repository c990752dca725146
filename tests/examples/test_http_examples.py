# SPDX-License-Identifier: Apache-2.0
"""The web applications of examples/http, explored as they are: what is broken
is found, its token replays, and what is fixed holds.

Those for Node run where node-postgres is: make test-clients says so by
SQLOOM_CLIENTS.
"""

import json
import os
import pathlib
import re
import shlex
import socket
import subprocess

import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples" / "http"
HOLDS, BROKEN, INCONCLUSIVE = 0, 1, 4
TIMEOUT_S = 120
PORT = 8123  # stands in the specs

CLIENTS = dict(line.split("=", 1) for line in
               os.environ.get("SQLOOM_CLIENTS", "").splitlines() if line)
# Where the driver of the client in tests/proxy is, the example finds it, too.
NODE = [pathlib.Path(shlex.split(command)[1]).parent / "node_modules"
        for name, command in CLIENTS.items() if name == "node-postgres"]
PREFIX = "node-" if NODE else ""


@pytest.fixture
def explore(sqloom, environment, database_uri):
    """explore(spec, ...) in examples/http, as a reader would."""

    def run(*arguments, command="explore"):
        more = {"NODE_PATH": str(NODE[0].absolute())} if NODE else {}
        return subprocess.run(
            [sqloom, command, "--db", database_uri, *arguments],
            cwd=EXAMPLES, env=environment(**more), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=TIMEOUT_S)

    return run


def all_of(result):
    return f"exit {result.returncode}\n{result.stdout}{result.stderr}"


def port_is_free():
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", PORT)) != 0


@pytest.fixture(autouse=True)
def nothing_is_left():
    """No server is there before, and none afterwards."""
    assert port_is_free(), f"port {PORT} is taken"
    yield
    assert port_is_free(), "the application outlives the exploration"


def test_the_readme_has_all():
    text = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.glob("*.spec"):
        assert f"({path.name})" in text


def test_broken(explore):
    result = explore(PREFIX + "coupon.spec")
    assert result.returncode == BROKEN, all_of(result)
    # The timeline names the statements, in a column for each request.
    for text in ("alice", "bob", "SELECT used FROM coupon",
                 "UPDATE coupon SET used = true",
                 "INSERT INTO redemption (code)"):
        assert text in result.stdout, all_of(result)


def test_the_printed_line_replays_it(explore):
    result = explore(PREFIX + "coupon.spec")
    line = re.search(r"\bsqloom (replay .*)", result.stdout)
    assert line, all_of(result)
    words = [word for word in shlex.split(line.group(1))[1:]
             if not word.startswith(("--db", "postgresql:"))]
    replayed = explore(*words, command="replay")
    assert replayed.returncode == BROKEN, all_of(replayed)
    assert "SELECT used FROM coupon" in replayed.stdout, all_of(replayed)


def test_fixed(explore):
    result = explore(PREFIX + "coupon-fixed.spec")
    assert result.returncode == HOLDS, all_of(result)
    assert re.search(r"\b(\d[\d,]*) of \1 schedules", result.stdout), all_of(
        result)


def test_the_same_seed_gives_the_same_trace(explore, tmp_path):
    traces = []
    for name in "first", "second":
        result = explore("--seed", "7", "--trace", str(tmp_path / name),
                         PREFIX + "coupon.spec")
        assert result.returncode == BROKEN, all_of(result)
        traces.append((tmp_path / name).read_bytes())
    assert traces[0] == traces[1]


def test_one_line_instead_of_a_spec(explore):
    """The line in the README."""
    if NODE:
        pytest.skip("it is about app.py")
    text = (EXAMPLES / "README.md").read_text()
    line = re.search(r"^sqloom explore (--pg-temp --before (?:.*\\\n)*.*)$",
                     text, re.M).group(1)
    words = shlex.split(line.replace("\\\n", " "))
    words.remove("--pg-temp")
    result = explore(*words)
    assert result.returncode == BROKEN, all_of(result)


def test_a_lock_inside_of_the_program(explore):
    """The second request waits where the database cannot see it: nothing
    hangs, the order is explored, and the verdict says what that means."""
    if NODE:
        pytest.skip("it is about app.py")
    result = explore("--json", "coupon-mutex.spec")
    assert result.returncode == INCONCLUSIVE, all_of(result)
    report = json.loads(result.stdout)
    assert report["wrong"] == 0
    told = explore("coupon-mutex.spec")
    assert told.returncode == INCONCLUSIVE, all_of(told)
    said = " ".join(told.stdout.split())
    assert "waited for something that is not the database" in said, said
    assert "does not protect against a second process" in said, said
