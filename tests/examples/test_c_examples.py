# SPDX-License-Identifier: Apache-2.0
"""The programs of examples/c: each finds its broken function, replays what it
found, and holds with the fixed one; on SQLite, on PostgreSQL, and with a real
Redis."""

import os
import pathlib
import re
import shlex
import socket
import subprocess
import time

import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples" / "c"
SHARED = {"example", "store"}
STORIES = sorted({path.stem for path in EXAMPLES.glob("*.c")} - SHARED)
TIMEOUT_S = 60

# What the timeline of the broken function must tell: what was read or done too
# early, and what came of it.
TELLS = {
    "book": ["SELECT title FROM book", "INSERT INTO renamed"],
    "coupon": ["SELECT code FROM coupon", "UPDATE coupon SET used = 1"],
    "page_queue": ["before-pop", "there is no page 1"],
    "profile": ["SELECT member FROM profile", "INSERT INTO profile"],
    "session": ["lost update", "'cart=3;lang=fr'"],
    "toggle": ["check-then-insert", "'registered'"],
    "translation": ["the transaction is broken since"],
}

# Ends with its standard input, and the server with it, however the tests end.
REDIS_GUARD = """
"$@" >/dev/null 2>&1 </dev/null &
cat >/dev/null
kill $!
wait
"""


def all_of(result):
    return f"exit {result.returncode}\n{result.stdout}{result.stderr}"


def answers(path):
    """Does a Redis answer at this socket?"""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    """The socket of a redis-server of our own."""
    directory = tmp_path_factory.mktemp("redis")
    path = directory / "socket"
    guard = subprocess.Popen(
        ["/bin/sh", "-c", REDIS_GUARD, "sh", "redis-server", "--port", "0",
         "--unixsocket", path, "--save", "", "--appendonly", "no",
         "--dir", directory],
        stdin=subprocess.PIPE, start_new_session=True,
        env={"PATH": os.defpath + ":/usr/sbin", "LC_ALL": "C"})
    end = time.monotonic() + TIMEOUT_S
    while not answers(path):
        if time.monotonic() > end or guard.poll() is not None:
            pytest.fail("redis-server does not start: run dev/setup test, or "
                        "apt-get install redis-server", pytrace=False)
        time.sleep(0.005)
    yield path
    guard.stdin.close()
    guard.wait()


@pytest.fixture(scope="module")
def built(c_programs, tmp_path_factory):
    out = tmp_path_factory.mktemp("examples")
    c_programs.make(EXAMPLES, f"OUT={out}")
    return out


@pytest.fixture
def run(built, c_programs, redis):
    """run("toggle", ...)"""

    def start(story, *arguments):
        more = ["--redis", redis] if story == "page_queue" else []
        return c_programs.run(built / story, *more, *arguments, cwd=built)

    return start


def reports(text):
    """Each exploration prints one; what else is printed stands behind."""
    return re.split(r"^(?=broken: |holds: |inconclusive: )", text,
                    flags=re.M)[1:]


def assert_tells_its_story(story, result):
    assert result.returncode == 0, all_of(result)
    assert "not the verdict" not in result.stderr, all_of(result)
    broken, fixed = reports(result.stdout)
    assert broken.startswith("broken: "), all_of(result)
    said = " ".join(broken.split())
    for text in TELLS[story]:
        assert text in said, all_of(result)
    assert re.match(r"holds: (\d[\d,]*) of \1 schedules", fixed), all_of(result)
    assert "note:" not in result.stdout, all_of(result)
    assert "FAILED" not in result.stdout, all_of(result)


def assert_replays(c_programs, result, built):
    """Runs the line that the report says to paste."""
    line = re.search(r"^replay it with:\n\s+(.*)$", result.stdout, re.M)
    assert line, all_of(result)
    replayed = c_programs.run(*shlex.split(line.group(1)), cwd=built)
    assert replayed.returncode == 0, all_of(replayed)
    assert replayed.stdout.startswith("broken: the replayed schedule"), all_of(
        replayed)


def test_every_story_is_told():
    """In the README, in the Makefile, and here."""
    readme = (EXAMPLES / "README.md").read_text()
    listed = re.search(r"^EXAMPLES = (.*)$",
                       (EXAMPLES / "Makefile").read_text(), re.M).group(1)
    assert sorted(listed.split()) == STORIES == sorted(TELLS)
    for story in STORIES:
        assert f"({story}.c)" in readme


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.[ch]")),
                         ids=lambda path: path.name)
def test_only_public_headers(path):
    """What a reader copies must compile elsewhere."""
    ours = {f'"{header.name}"' for header in EXAMPLES.glob("*.h")}
    public = {"<sqloom/sqloom.h>", "<sqlite3.h>", "<libpq-fe.h>",
              "<hiredis/hiredis.h>"}
    included = set(re.findall(r"^#include\s+(\S+)", path.read_text(), re.M))
    standard = {name for name in included if re.match(r"<\w+\.h>$", name)}
    assert included <= ours | public | standard


@pytest.mark.parametrize("story", STORIES)
def test_on_sqlite(run, built, c_programs, story):
    result = run(story)
    assert_tells_its_story(story, result)
    assert_replays(c_programs, result, built)


@pytest.mark.parametrize("story", STORIES)
def test_on_postgres(run, built, c_programs, database_uri, story):
    result = run(story, database_uri)
    assert_tells_its_story(story, result)
    assert_replays(c_programs, result, built)


@pytest.mark.parametrize("story", STORIES)
def test_a_second_run_prints_the_same(run, story):
    """What depends on luck is said to: "this time"."""
    first, second = (re.sub(r"(?m)^.*this time$", "", run(story).stdout)
                     for _ in range(2))
    assert first == second


def test_one_of_five_calls_succeeds(run):
    result = run("coupon")
    assert "ok: one of five threads\n" in result.stdout, all_of(result)
    assert "ok: one of five processes\n" in result.stdout, all_of(result)


def test_the_receiver_is_suspended(run):
    result = run("profile")
    for text in ("no profile while the receiver is suspended",
                 "a profile when it is resumed",
                 "no trace of the test afterwards"):
        assert f"ok: {text}\n" in result.stdout, all_of(result)


def test_the_queue_is_left_empty(run, redis):
    assert run("page_queue").returncode == 0
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(redis))
        client.sendall(b"DBSIZE\r\n")
        assert client.recv(64) == b":0\r\n"


def test_without_redis_it_says_so(built, c_programs, tmp_path):
    result = c_programs.run(built / "page_queue", "--redis",
                            tmp_path / "nothing", cwd=built)
    assert result.returncode == 1, all_of(result)
    assert "redis-server at" in result.stderr, all_of(result)


@pytest.mark.parametrize("arguments", [["--replay"], ["--what"], ["a", "b"]])
def test_usage(built, c_programs, arguments):
    result = c_programs.run(built / "toggle", *arguments, cwd=built)
    assert result.returncode == 2, all_of(result)
    assert "usage:" in result.stderr
