# SPDX-License-Identifier: Apache-2.0
"""docs/python.md: its files are written, its commands are run, and print what
the page says; and every argument and attribute that there is stands in it."""

import dataclasses
import os
import re
import shlex
import subprocess
import sys

import pytest

import sqloom
from sqloom._options import Options

pytestmark = pytest.mark.skipif(
    os.environ.get("SQLOOM_TEST_DB") == "postgresql",
    reason="it is on SQLite anyway, and runs then")

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


@pytest.fixture(scope="module")
def page(checkout):
    return (checkout / "docs/python.md").read_text()


def environment():
    """That of somebody who tries it: no Django, and the plugin as installed."""
    kept = dict(os.environ)
    for name in ("DJANGO_SETTINGS_MODULE", "PYTEST_CURRENT_TEST",
                 "PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        kept.pop(name, None)
    return kept


def run(command, folder):
    words = shlex.split(command)
    assert words[0] == "python3"
    return subprocess.run([sys.executable, *words[1:]], cwd=folder, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=300, env=environment()).stdout


def expected_as_pattern(text):
    """The output, in which ... stands for anything."""
    parts = [re.escape(part) for part in re.split(r"^\.\.\.\n|\.\.\.$", text,
                                                  flags=re.M)]
    return ".*?".join(parts)


def follow(page, folder):
    """Yields each command with what it prints and should print."""
    for kind, text in BLOCK.findall(page):
        named = re.match(r"# (\w+\.py)\n", text)
        if kind == "python" and named:
            (folder / named[1]).write_text(text)
        if kind == "console":
            for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)",
                                              text, re.M):
                yield command, run(command, folder), output


def test_the_page_followed_to_the_letter(page, tmp_path):
    commands = 0
    for command, said, output in follow(page, tmp_path):
        commands += 1
        pattern = re.compile(r"\A" + expected_as_pattern(output), re.S)
        assert pattern.search(said), f"$ {command}\n{said}"
    assert commands == 4


def test_all_arguments_are_told(page):
    table = page[page.index("## Options"):page.index("## Exceptions")]
    told = set(re.findall(r"`(\w+)`", table))
    for field in dataclasses.fields(Options):
        assert field.name in told, field.name


def test_all_exceptions_and_attributes_are_told(page):
    for name in sqloom.__all__:
        thing = getattr(sqloom, name)
        if isinstance(thing, type) and issubclass(thing, sqloom.Error):
            assert f"`{name}`" in page or f"`sqloom.{name}`" in page or \
                thing.__module__ != "sqloom.errors", name
    for kind in (sqloom.Report, sqloom.Finding):
        names = {field.name for field in dataclasses.fields(kind)} if \
            dataclasses.is_dataclass(kind) else \
            {name for name in vars(kind) if not name.startswith("_")}
        skipped = {"without_trace", "summary", "diverged", "class_text",
                   "wrong", "check"}
        for name in names - skipped:
            assert re.search(rf"`{name}\b", page), name


def test_links(page, checkout):
    anchors = {re.sub(r"[^\w -]", "", line[3:]).lower().replace(" ", "-")
               for line in page.splitlines() if line.startswith("## ")}
    for target in re.findall(r"\]\(([^)]+)\)", page):
        path, _, anchor = target.partition("#")
        if path:
            assert (checkout / "docs" / path).exists(), target
        else:
            assert anchor in anchors, target
