# SPDX-License-Identifier: Apache-2.0
"""What cannot be explored: the message names the file, and the exit code says
whose fault it is."""

import random
import sqlite3

import pytest

USER, SURROUNDINGS = 2, 3

TABLE = "setup { CREATE TABLE t (v INTEGER) }\n"


def many_sessions():
    return "".join(
        f"session s{i}\nstep p{i} {{ SELECT 1 }}\n" for i in range(1000)
    )


BAD_SPECS = {
    # The text, where, a part of the message.
    "syntax": (TABLE + "session a\nstep a1 SELECT 1 }\n", ":3:9: ", "{"),
    "no end": (TABLE + "session a\nstep a1 { SELECT 1\n", ":3:9: ", "}"),
    "unknown step": (
        TABLE + "session a\nstep a_read { SELECT 1 }\n"
        "permutation a_raed\n", ":4:13: ", 'did you mean "a_read"'),
    "two sessions": (
        TABLE + "session a\nstep a1 { SELECT 1 }\n"
        "session a\nstep a2 { SELECT 1 }\n", ":4:9: ", "another name"),
    "two steps": (
        TABLE + "session a\nstep a1 { SELECT 1 }\n"
        "step a1 { SELECT 1 }\n", ":4:6: ", "another name"),
    "empty": ("", ":1:1: ", "session NAME"),
    "only a comment": ("# nothing\n", ":", "session"),
    "binary": (random.Random(1).randbytes(4096), ":1:", "text file"),
    "10 MB of {": ("{" * 10_000_000, ": ", "right file?"),
    "1 MB of {": ("{" * 1_000_000, ":1:1: ", "{"),
    "1000 sessions": (many_sessions(), ":33:9: ", "limit is 16"),
    "SQL in setup": (
        "setup {\n    CREATE TABLE t (v INTEGER);\n"
        "    INSERT INTO tt VALUES (1);\n}\n"
        "session a\nstep a1 { SELECT 1 }\n", ":3:5: ", "no such table: tt"),
    "SQL in a step": (
        TABLE + "session a\nstep a1 { SELEC v FROM t }\n", ":3:",
        'step "a1"'),
    "no such column": (
        TABLE + "session a\nstep a1 { SELECT w FROM t }\n", ":3:",
        "no such column: w"),
}


@pytest.mark.parametrize("name", BAD_SPECS)
def test_bad_spec(command, write, name):
    text, place, message = BAD_SPECS[name]
    result = command("explore", write("bad.spec", text))
    said = result.stderr.decode()
    assert result.returncode == USER, said
    assert result.stdout == b""
    assert said.startswith("sqloom: bad.spec" + place), said
    assert message in said
    # A message and an excerpt, not the whole file.
    assert len(said) < 1200


def test_the_excerpt_has_its_caret_below_the_place(command, write):
    text, _, _ = BAD_SPECS["unknown step"]
    lines = command("explore", write("bad.spec", text)).stderr.decode()
    _, line, caret = lines.splitlines()
    assert line == "permutation a_raed"
    assert caret.index("^") == line.index("a_raed")


def test_no_control_characters_of_a_spec_reach_the_terminal(command, write):
    result = command("explore", write("bad.spec", "session a\nstep \x1b[31m"))
    assert result.returncode == USER
    assert b"\x1b" not in result.stderr


def test_missing_spec(command):
    result = command("explore", "nowhere.spec")
    assert result.returncode == SURROUNDINGS
    assert result.stderr.decode().count("nowhere.spec") == 1
    assert b"No such file" in result.stderr


def test_directory_as_spec(command, tmp_path):
    (tmp_path / "folder").mkdir()
    result = command("explore", "folder")
    assert result.returncode == SURROUNDINGS
    assert b"folder is a directory; give the path" in result.stderr


def make_database(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    connection.executemany(
        "INSERT INTO t (v) VALUES (?)", [("x" * 100,)] * 1000
    )
    connection.commit()
    connection.close()


READER = """\
session a
step a1 { SELECT count(*), sum(length(v)) FROM t }
session b
step b1 { UPDATE t SET v = 'y' WHERE id = 1000 }
"""


@pytest.mark.parametrize("what", ["missing", "directory", "random", "cut off",
                                  "damaged"])
def test_unusable_database(command, write, tmp_path, what):
    path = tmp_path / "app.db"
    if what == "directory":
        path.mkdir()
    elif what == "random":
        path.write_bytes(random.Random(1).randbytes(8192))
    elif what != "missing":
        make_database(path)
        whole = path.read_bytes()
        noise = random.Random(1).randbytes(len(whole) - 4096)
        path.write_bytes(
            whole[:20000] if what == "cut off" else whole[:4096] + noise
        )
    result = command("explore", write("a.spec", READER), "--db", "app.db")
    said = result.stderr.decode()
    assert result.returncode == SURROUNDINGS, said
    assert result.stdout == b""
    assert said.startswith("sqloom: ") and "app.db" in said
    assert len(said.splitlines()) == 1


def test_database_of_the_spec_is_missing(command, write):
    spec = write("a.spec", "option database nowhere.db\n" + READER)
    result = command("explore", spec)
    assert result.returncode == SURROUNDINGS
    assert b"nowhere.db" in result.stderr


def test_no_space_for_the_trace(command, broken_spec):
    result = command("explore", broken_spec, "--trace", "/dev/full")
    assert result.returncode == SURROUNDINGS
    assert b"'/dev/full': No space left" in result.stderr


def test_trace_in_a_missing_directory(command, broken_spec):
    result = command("explore", broken_spec, "--trace", "no/such/trace")
    assert result.returncode == SURROUNDINGS
    assert b"'no/such/trace': No such file or directory" in result.stderr


@pytest.mark.parametrize("text", ["", "{", "no JSON\n", "[]\n", "{}\n",
                                  b"\x00\xff" * 100])
def test_show_of_what_is_no_trace(command, write, text):
    result = command("show", write("run.trace", text))
    assert result.returncode == USER
    assert result.stdout == b""
    assert result.stderr.startswith(b"sqloom: run.trace:")


def test_show_of_a_cut_off_trace(command, write, broken_spec, tmp_path):
    command("explore", broken_spec, "--trace", "run.trace")
    whole = (tmp_path / "run.trace").read_bytes()
    write("cut.trace", whole[: len(whole) // 2])
    result = command("show", "cut.trace")
    assert result.returncode == USER
    assert b"cut.trace" in result.stderr


@pytest.mark.parametrize("path,message", [
    ("nowhere.trace", b"No such file"), (".", b"directory")])
def test_show_of_what_cannot_be_read(command, path, message):
    result = command("show", path)
    assert result.returncode == SURROUNDINGS
    assert message in result.stderr


def test_show_of_an_unknown_finding(command, broken_spec):
    command("explore", broken_spec, "--trace", "run.trace")
    result = command("show", "run.trace", "--finding", "ab~0000")
    assert result.returncode == USER
    assert b"no finding" in result.stderr


@pytest.mark.parametrize("token", ["garbage", "~", "ab~", "ab~zzzz", "ab~12345",
                                   "a99999999999b~5f3a", "AB~5f3a", "x" * 9999,
                                   "abab~5f3a.aka2axaq.aka2axaq", "ab\x1b[31m~5f3a"])
def test_replay_of_garbage(command, broken_spec, token):
    result = command("replay", broken_spec, token)
    said = result.stderr.decode()
    assert result.returncode == USER, said
    assert result.stdout == b""
    assert "token" in said
    assert "\x1b" not in said


def test_replay_of_a_token_with_calls_that_are_not_there(command, broken_spec):
    result = command("replay", broken_spec, "abcd~5f3a")
    assert result.returncode in (USER, 4)
