# SPDX-License-Identifier: Apache-2.0
"""Help, the version, and arguments that are not right."""

import re

import pytest

COMMANDS = ("explore", "replay", "show", "doctor", "proxy")
USAGE = 2


def said(result):
    return result.stderr.decode()


def test_without_arguments_help_is_short_and_on_stderr(command):
    result = command()
    assert result.returncode == USAGE
    assert result.stdout == b""
    for name in COMMANDS:
        assert f"sqloom {name}" in said(result)


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"]])
def test_help(command, arguments):
    result = command(*arguments)
    assert result.returncode == 0
    assert result.stderr == b""
    for word in (*COMMANDS, "--version", "exit codes"):
        assert word in result.stdout.decode()


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command(command, name):
    text = command(name, "--help").stdout.decode()
    assert text.startswith(f"usage: sqloom {name} ")
    exits = re.search(r"exit codes:\n((?:  .*\n)+)", text)
    assert exits and "70 " in exits.group(1)
    examples = re.search(r"examples:\n((?:  .*\n)+)", text)
    assert examples and examples.group(1).count("sqloom") >= 2
    assert max(map(len, text.splitlines())) <= 80
    assert command(name, "-h").stdout.decode() == text
    assert command("help", name).stdout.decode() == text


def test_help_needs_no_right_arguments(command):
    assert command("explore", "a", "--json", "-q", "--help").returncode == 0


def test_every_option_of_the_help_exists(command):
    """An option in the help is not unknown to its command."""
    for name in COMMANDS:
        text = command(name, "--help").stdout.decode()
        options = re.findall(r"^  (?:-\w, )?--([\w-]+)( \w+)?", text, re.M)
        assert len(options) > 5
        for option, argument in options:
            result = command(name, f"--{option}=")
            assert "unknown option" not in said(result)
            wanted = "is not valid" if argument else "takes no value"
            assert wanted in said(result), (name, option)


def test_version(command):
    for option in "--version", "-V":
        result = command(option)
        assert result.returncode == 0
        assert re.match(rb"sqloom \d+\.\d+\.\d+\n", result.stdout)


WRONG = [
    # Arguments, what the message says, whose help it names.
    (["explroe", "x.spec"], "did you mean 'explore'", ""),
    (["frobnicate"], "there is no command 'frobnicate'", ""),
    (["--seed", "1"], "command comes first", ""),
    (["explore"], "FILE is missing", "explore"),
    (["explore", ""], "FILE is empty", "explore"),
    (["explore", "a.spec", "b.spec"], "too many: 'b.spec'", "explore"),
    (["explore", "a.spec", "--sed", "1"], "did you mean --seed?", "explore"),
    (["explore", "a.spec", "--timeout=1"], "mean --busy-timeout?", "explore"),
    (["explore", "a.spec", "--xyzzy"], "unknown option --xyzzy\n", "explore"),
    (["explore", "a.spec", "-x"], "unknown option -x", "explore"),
    (["explore", "a.spec", "--seed"], "--seed needs a value", "explore"),
    (["explore", "--trace", "--json", "a"], "--trace needs a value", "explore"),
    (["explore", "--json=yes", "a.spec"], "--json takes no value", "explore"),
    (["explore", "--json", "-q", "a.spec"], "do not go together", "explore"),
    (["explore", "--from", "t", "a.spec"], "sqloom replay has", "explore"),
    (["replay", "a.spec"], "TOKEN is missing", "replay"),
    (["replay", "a.spec", "ab~1", "x"], "too many: 'x'", "replay"),
    (["replay", "a.spec", "ab~1", "--max-runs", "1"], "explore has", "replay"),
    (["show"], "TRACE is missing", "show"),
    (["show", "t", "--seed", "1"], "no option --seed", "show"),
    (["show", "t", "--finding", "x", "--json"], "not go together", "show"),
]


@pytest.mark.parametrize("arguments,message,whose", WRONG)
def test_wrong_arguments(command, arguments, message, whose):
    result = command(*arguments)
    assert result.returncode == USAGE
    assert result.stdout == b""
    assert message in said(result)
    assert said(result).startswith("sqloom: ")
    help_line = f"try sqloom {whose} --help" if whose else "try sqloom --help"
    assert said(result).splitlines()[-1] == help_line


def test_a_file_in_place_of_a_command(command, broken_spec):
    result = command(broken_spec)
    assert result.returncode == USAGE
    assert f"did you mean sqloom explore {broken_spec}?" in said(result)


BAD_VALUES = [
    ("--max-runs", ["", "x", "-1", "1.5", "10kk", "1T", "99999999999999999999",
                    "99999999999999999G", " 1", "0x10"]),
    ("--max-time", ["", "-1", ".5", "1.", "1.5x", "inf", "1e3", "1 s",
                    "99999999999999999999", "999999999999h"]),
    ("--seed", ["", "-1", "0x", "0xg", "1k", "18446744073709551616"]),
    ("--busy-timeout", ["", "-1", "5s", "86400001"]),
    ("--preemptions", ["", "-1", "1.5", "9999999999"]),
    ("--pct-depth", ["", "0", "-3", "9999999999"]),
    ("--jobs", ["", "0", "65", "-1", "two"]),
    ("--findings", ["", "-1", "some", "9999999999"]),
    ("--width", ["", "39", "1001", "wide"]),
    ("--store", ["", "disk", "Memory"]),
    ("--journal", ["", "WAL2", "on"]),
    ("--strategy", ["", "best", "auto "]),
    ("--color", ["", "yes", "ALWAYS"]),
    ("--db", [""]),
    ("--trace", [""]),
]


@pytest.mark.parametrize(
    "option,value",
    [(option, value) for option, values in BAD_VALUES for value in values],
)
def test_wrong_values(command, broken_spec, option, value):
    result = command("explore", broken_spec, f"{option}={value}")
    assert result.returncode == USAGE
    assert f"{option}: '{value}' is not valid; give " in said(result)
    assert "try sqloom explore --help" in said(result)


GOOD_VALUES = [
    ("--max-runs", ["0", "1k", "2M", "1G", "100000"]),
    ("--max-time", ["0", "1000", "90.5", "500000ms", "2m", "1h", "100min"]),
    ("--seed", ["0", "18446744073709551615", "0xFFFFFFFFFFFFFFFF", "007"]),
    ("--busy-timeout", ["0", "86400000"]),
    ("--preemptions", ["0", "1", "1000000"]),
    ("--pct-depth", ["1", "5"]),
    ("--jobs", ["1", "2", "64"]),
    ("--findings", ["0", "3", "all"]),
    ("--width", ["40", "1000"]),
    ("--store", ["memory", "file"]),
    ("--journal", ["delete", "truncate", "persist", "memory", "wal", "off"]),
    ("--strategy", ["auto", "exhaustive"]),
    ("--color", ["auto", "always", "never"]),
]


@pytest.mark.parametrize(
    "option,value",
    [(option, value) for option, values in GOOD_VALUES for value in values],
)
def test_right_values(command, holding_spec, option, value):
    """Either way to give a value, on either side of the operand."""
    result = command("explore", f"{option}={value}", holding_spec)
    assert result.returncode == 0, said(result)
    assert said(result) == ""
    again = command("explore", holding_spec, option, value)
    assert again.returncode == 0
    assert again.stdout == result.stdout


def test_the_last_of_equal_options_counts(command, broken_spec):
    once = command("explore", broken_spec, "--max-runs", "1")
    twice = command("explore", "--max-runs=0", broken_spec, "--max-runs=1")
    assert twice.stdout == once.stdout


def test_a_short_time_is_not_no_limit(command, long_holding_spec):
    """Rounded down it would be 0, and the exploration would go on and on."""
    result = command("explore", long_holding_spec, "--max-runs", "0",
                     "--max-time", "0.0001")
    assert result.returncode == 4
    assert b"--max-time" in result.stdout


def test_two_dashes_end_the_options(command, write):
    name = write("--odd.spec", "session a\nstep a1 { SELECT 1 }\n")
    assert command("explore", "--", name).returncode == 0
    assert command("explore", name).returncode == USAGE
