# SPDX-License-Identifier: Apache-2.0
"""docs/django.md, followed to the letter: its files are written, its commands
are run, and what they print is what stands there.

A block of Python is a file if it begins with its name in a comment. If it begins
with "# add to NAME", its imports go to the others, functions and classes take
the place of those with the same names, and the rest goes to the end. A console
block is commands, each with what it prints; a line of three dots stands for any
lines. Of those between the dots, the first and the last one are looked for in
what is printed. A token in a command stands for the one that was printed last.
SQLOOM_ACCEPT=1 writes what is really printed into the page.

SQLOOM_EXAMPLES_PYTHON names the Python of a virtual environment in which the
commands of the section "Installing" have been run; else it is this Python, with
the package of the build.
"""

import ast
import importlib.util
import os
import pathlib
import re
import subprocess

import pytest

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "django.md"
BLOCK = re.compile(r"^```(python|console|sh)\n(.*?)^```$", re.M | re.S)
FILE = re.compile(r"# (add to )?(\S+\.py)\n")
TOKEN = re.compile(
    r"\b([a-p][a-p0-9]*~[0-9a-f]{4}(?:\.[0-9a-z]+)*)|\bTOKEN\b")
DOTS = "..."
# Only a run that hangs gets there.
TIMEOUT_S = 600
# What the versions of the page are, and whose text is told to the letter.
TOLD_VERSION = "3.2."

spec = importlib.util.spec_from_file_location(
    "sqloom_tutorial_python_package",
    pathlib.Path(__file__).parent / "python_package.py")
python_package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(python_package)


# ---- Typing in Python ------------------------------------------------------


def parts_of(source):
    """[(name or None, is an import, text)] of what stands at the left edge, each
    with the lines before it."""
    lines = source.splitlines(keepends=True)
    parts, begin = [], 0
    for node in ast.parse(source).body:
        text = "".join(lines[begin:node.end_lineno])
        begin = node.end_lineno
        parts.append((getattr(node, "name", None),
                      isinstance(node, (ast.Import, ast.ImportFrom)), text))
    return parts


def added(source, block):
    """source with block put into it."""
    parts = parts_of(source)
    for name, is_import, text in parts_of(block):
        places = [i for i, part in enumerate(parts)
                  if part[1] and is_import or name and part[0] == name]
        if is_import:
            at = places[-1] + 1 if places else 0
            parts.insert(at, (name, True, "\n" + text.lstrip("\n")))
        elif places:
            parts[places[-1]] = (name, False, text)
        else:
            parts.append((name, False, "\n\n" + text.lstrip("\n")))
    return "".join(text if text.endswith("\n") else text + "\n"
                   for _, _, text in parts)


# ---- Following the page ---------------------------------------------------


class Desk:
    """Where the reader sits."""

    def __init__(self, directory, env):
        self.directory = directory
        self.env = env
        self.token = "TOKEN"

    def type_in(self, block):
        add, name = FILE.match(block).groups()
        path = self.directory / name
        text = FILE.sub("", block, count=1)
        path.write_text(added(path.read_text(), text) if add else text)

    def run(self, command):
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=self.directory, env=self.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT_S,
            check=False)
        for match in TOKEN.finditer(done.stdout):
            self.token = match.group(1) or self.token
        return done.stdout

    def console(self, block):
        """The block, with what its commands really print."""
        parts = re.split(r"^\$ (.*)\n", block, flags=re.M)
        assert parts[0] == ""
        told = ""
        for command, said in zip(parts[1::2], parts[2::2]):
            command = TOKEN.sub(self.token, command)
            told += f"$ {command}\n" + really(command, said, self.run(command))
        return told

    def follow(self, block):
        kind, text = block.groups()
        if kind == "console":
            return self.console(text)
        if kind == "python":
            self.type_in(text)
        return text


def really(command, said, printed):
    """What is said, as it is printed: between dots from a line that begins like
    the first to one that begins like the last one."""
    lines = [line.rstrip() for line in printed.splitlines()]
    told, at = [], 0
    stretches = re.split(r"^\.\.\.\n", said, flags=re.M)
    for number, stretch in enumerate(stretches):
        if number:
            told.append(DOTS)
        wanted = stretch.splitlines()
        if not wanted:
            if len(stretches) == 1:
                assert not lines, f"$ {command}\n{printed}"
            continue
        begin = find(lines, wanted[0], at)
        assert begin is not None, f"no {wanted[0]!r}:\n$ {command}\n{printed}"
        end = begin
        if len(wanted) > 1:
            end = find(lines, wanted[-1], begin + 1)
        assert end is not None, f"no {wanted[-1]!r}:\n$ {command}\n{printed}"
        told += lines[begin:end + 1]
        at = end + 1
    return "".join(line + "\n" for line in told)


def find(lines, wanted, begin):
    """Tokens and numbers may be others."""
    for i in range(begin, len(lines)):
        if shape(lines[i]).startswith(shape(wanted)):
            return i
    return None


def shape(line):
    return re.sub(r"\d+", "0", TOKEN.sub("TOKEN", line))


@pytest.fixture
def desk(environment, tmp_path):
    python, path = python_package.interpreter()
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, more in ("python", ""), ("django-admin", " -m django"):
        (programs / name).write_text(
            f'#!/bin/sh\nexec "{python}"{more} "$@"\n')
        (programs / name).chmod(0o755)
    directory = tmp_path / "desk"
    directory.mkdir()
    return Desk(directory, environment(
        PATH=f"{programs}:{os.defpath}", PYTHONPATH=path, HOME=str(tmp_path),
        PYTHONDONTWRITEBYTECODE="1",
        # As on a terminal: lines in the order in which they are written.
        PYTHONUNBUFFERED="1"))


def test_the_page_is_true(desk):
    page = PAGE.read_text()
    blocks = list(BLOCK.finditer(page))
    assert len(blocks) > 20
    told, end = "", 0
    for block in blocks:
        told += page[end:block.start(2)] + desk.follow(block)
        end = block.end(2)
    told += page[end:]
    version = desk.run("django-admin --version")
    if os.environ.get("SQLOOM_ACCEPT") == "1":
        assert version.startswith(TOLD_VERSION)
        PAGE.write_text(told)
    if version.startswith(TOLD_VERSION):
        assert on_any_machine(told) == on_any_machine(page)
    assert verdicts(told) == verdicts(page)


def on_any_machine(text):
    return re.sub(r"\bSQLite \d+\.\d+\.\d+", "SQLite 3", text)


def verdicts(text):
    """What other versions must tell, too, in other numbers perhaps."""
    return re.findall(r"\b(broken: |holds: |^OK$)", text, re.M)


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGE.read_text()):
        assert (PAGE.parent / target).exists(), target


# ---- The tools of this test --------------------------------------------------


def test_added():
    source = "import a\n\n\ndef f():\n    pass\n\n\nB = 1\n"
    block = "import c\n\n\ndef f():\n    return 2\n\n\ndef g():\n    pass\n"
    made = added(source, block)
    ast.parse(made)
    assert made.index("import c") < made.index("def f")
    assert "return 2" in made and made.count("def f") == 1
    assert made.index("B = 1") < made.index("def g")


def test_really():
    printed = "x\nbegin 7\ny\nend\nz\n"
    assert really("c", "...\nbegin 3\nend\n...\n", printed) == (
        "...\nbegin 7\ny\nend\n...\n")
    with pytest.raises(AssertionError, match="no 'gone'"):
        really("c", "...\ngone\n", printed)
    with pytest.raises(AssertionError):
        really("c", "", printed)
