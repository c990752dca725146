# SPDX-License-Identifier: Apache-2.0
"""Terminals, pipes, locales and signals."""

import os
import pathlib
import re
import signal
import subprocess

import pytest

IS_BROKEN, ENVIRONMENT, IS_INCONCLUSIVE, INTERNAL = 1, 3, 4, 70
ESCAPE = b"\x1b"


# ---- Colour, width, characters --------------------------------------------


def test_no_colour_in_a_pipe(command, broken_spec):
    result = command("explore", broken_spec, TERM="xterm-256color")
    assert ESCAPE not in result.stdout + result.stderr


def test_colour_where_it_is_asked_for(command, broken_spec):
    plain = command("explore", broken_spec).stdout
    result = command("explore", broken_spec, "--color", "always", NO_COLOR="1")
    assert ESCAPE in result.stdout
    assert re.sub(rb"\x1b\[[0-9;]*m", b"", result.stdout) == plain


@pytest.mark.parametrize("env,arguments,colored", [
    ({"TERM": "xterm"}, [], True),
    ({"TERM": "xterm", "NO_COLOR": ""}, [], True),
    ({"TERM": "xterm", "NO_COLOR": "1"}, [], False),
    ({"TERM": "dumb"}, [], False),
    ({}, [], False),
    ({"TERM": "xterm"}, ["--color", "never"], False),
    ({"TERM": "dumb", "NO_COLOR": "1"}, ["--color=always"], True),
])
def test_colour_on_a_terminal(start, terminal, broken_spec, env, arguments,
                              colored):
    process = start("explore", broken_spec, *arguments, stdout=terminal.slave,
                    **env)
    seen = terminal.read_all()
    assert process.wait() == IS_BROKEN
    assert b"lost update" in seen
    assert (ESCAPE in seen) == colored


def widest(output):
    """Columns of the text; the line to paste is never folded."""
    return max(len(line) for line in output.decode().splitlines()
               if "sqloom replay" not in line)


def test_width(command, start, terminal, broken_spec):
    assert 80 < widest(command("explore", broken_spec).stdout) <= 100
    narrow = command("explore", broken_spec, "--width", "60").stdout
    assert widest(narrow) <= 60
    by_environment = command("explore", broken_spec, COLUMNS="60").stdout
    assert by_environment == narrow
    # A terminal knows better than the environment.
    terminal.resize(60)
    start("explore", broken_spec, stdout=terminal.slave, COLUMNS="200")
    assert widest(terminal.read_all()) <= 60


@pytest.mark.parametrize("env", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX"}])
def test_ascii_outside_of_utf8(command, broken_spec, env):
    assert not command("explore", broken_spec).stdout.isascii()
    result = command("explore", broken_spec, **env)
    assert result.stdout.isascii()
    assert command("explore", broken_spec, "--ascii").stdout == result.stdout


# ---- Progress --------------------------------------------------------------


def test_progress_on_a_terminal(start, terminal, long_holding_spec):
    process = start("explore", long_holding_spec, "--max-runs", "0",
                    stderr=terminal.slave, TERM="xterm")
    terminal.read_until(b" left")
    assert re.search(rb"[\d,]+ runs  [\d,]+/s  about .* left  0 findings  "
                     rb"\d+\.\d s", terminal.seen)
    process.send_signal(signal.SIGINT)
    seen = terminal.read_all()
    # Erased at the end, and never a line of its own.
    assert seen.endswith(b"\r\x1b[K")
    assert b"\n" not in seen
    report = process.stdout.read()
    assert process.wait() == IS_INCONCLUSIVE
    assert ESCAPE not in report
    assert report.startswith(b"inconclusive")


@pytest.mark.parametrize("env,arguments", [
    ({"TERM": "xterm"}, ["--no-progress"]),
    ({"TERM": "xterm"}, ["--quiet"]),
    ({"TERM": "xterm"}, ["--json"]),
    ({"TERM": "dumb"}, []),
])
def test_no_progress(start, terminal, long_holding_spec, env, arguments):
    """Enough runs to see several lines of it, were there any."""
    process = start("explore", long_holding_spec, "--max-runs", "4k",
                    *arguments, stderr=terminal.slave, **env)
    process.communicate()
    assert process.returncode == IS_INCONCLUSIVE
    assert terminal.read_all() == b""


def test_no_progress_in_a_pipe(command, long_holding_spec):
    result = command("explore", long_holding_spec, "--max-runs", "4k",
                     TERM="xterm")
    assert result.stderr == b""


# ---- Signals ---------------------------------------------------------------


def catches(process, number):
    """Has the process its handler for this signal in place?"""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)", status, re.M)
    return bool(int(caught.group(1), 16) >> (number - 1) & 1)


def directories_of(process):
    """Temporary directories of the process: it keeps them open."""
    found = set()
    for link in pathlib.Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            continue
        match = re.match(r"(/.*/sqloom-[^/ ]+)(?:/|$)", target)
        if match:
            found.add(pathlib.Path(match.group(1)))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("spec,code", [
    ("long_spec", IS_BROKEN), ("long_holding_spec", IS_INCONCLUSIVE)])
def test_a_signal_ends_with_a_report(start, terminal, request, number, spec,
                                     code):
    process = start("explore", request.getfixturevalue(spec), "--max-runs", "0",
                    stderr=terminal.slave, TERM="xterm")
    # From the first line of progress on, there is something to report.
    terminal.read_until(b" left")
    assert catches(process, number)
    process.send_signal(number)
    report = process.stdout.read()
    assert process.wait() == code
    assert b"stopped before every schedule was run" in report


@pytest.mark.parametrize("jobs", ["1", "4"])
def test_a_signal_leaves_no_files(start, terminal, long_holding_spec,
                                  tmp_path, jobs):
    process = start("explore", long_holding_spec, "--max-runs", "0",
                    "--store", "file", "--jobs", jobs, stderr=terminal.slave, TERM="xterm")
    terminal.read_until(b" left")
    process.send_signal(signal.SIGSTOP)
    used = directories_of(process)
    assert used
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == IS_INCONCLUSIVE
    assert not [path for path in used if path.exists()]
    assert [p.name for p in tmp_path.iterdir()] == [long_holding_spec]


def test_an_interrupted_trace_is_whole(start, command, terminal,
                                       long_holding_spec):
    process = start("explore", long_holding_spec, "--max-runs", "0",
                    "--trace", "run.trace", stderr=terminal.slave,
                    TERM="xterm")
    terminal.read_until(b" left")
    process.send_signal(signal.SIGINT)
    report = process.communicate()[0]
    shown = command("show", "run.trace")
    assert shown.returncode == 0
    assert shown.stdout == report


def test_a_failed_assertion_is_an_internal_error(start, terminal,
                                                 long_holding_spec):
    process = start("explore", long_holding_spec, "--max-runs", "0",
                    stderr=terminal.slave, TERM="xterm")
    terminal.read_until(b" left")
    process.send_signal(signal.SIGABRT)
    assert process.wait() == INTERNAL
    assert b"internal error" in terminal.read_all()


# ---- Pipes -----------------------------------------------------------------


def test_a_reader_that_went_away_is_no_error(sqloom, start, broken_spec):
    reader, writer = os.pipe()
    os.close(reader)
    process = start("explore", broken_spec, stdout=writer)
    os.close(writer)
    said = process.communicate()[1]
    assert process.returncode == IS_BROKEN
    assert said == b""


def test_head(sqloom, tmp_path, broken_spec):
    result = subprocess.run(
        ["bash", "-c", '"$0" explore "$1" --findings all | head -1; '
         'echo "${PIPESTATUS[0]}"', sqloom, broken_spec],
        cwd=tmp_path, capture_output=True)
    lines = result.stdout.decode().splitlines()
    assert lines[0].startswith("broken: ")
    assert lines[1:] == [str(IS_BROKEN)]
    assert result.stderr == b""


@pytest.mark.parametrize("arguments", [["explore", "broken.spec"], ["--help"],
                                       ["explore", "--help"], ["--version"],
                                       ["explore", "broken.spec", "--json"]])
def test_no_space_on_standard_output(command, broken_spec, arguments):
    with open("/dev/full", "wb") as full:
        result = command(*arguments, stdout=full)
    assert result.returncode == ENVIRONMENT
    assert b"cannot write to standard output: No space left" in result.stderr


def test_closed_standard_descriptors(sqloom, tmp_path, broken_spec):
    """That the report went nowhere is told by the exit code, and nothing of it
    is in the trace."""
    result = subprocess.run(
        ["bash", "-c", 'exec "$0" explore "$1" --trace run.trace <&- >&- 2>&-',
         sqloom, broken_spec], cwd=tmp_path)
    assert result.returncode == ENVIRONMENT
    for line in (tmp_path / "run.trace").read_text().splitlines():
        assert line.startswith("{")
