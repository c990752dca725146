# SPDX-License-Identifier: Apache-2.0
"""docs/c.md, followed to the letter: its C code is written down and compiled,
its commands are run, and what they print is what stands there.

A block of C is a file if it begins with its name in a comment; lines for the
top of a file if it begins with #include; lines for main() if it is indented; and
else functions, which take the place of those with the same names. A console
block is commands, each with what it prints. SQLOOM_ACCEPT=1 writes the output
into the page.
"""

import os
import pathlib
import re

import pytest

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "c.md"
BLOCK = re.compile(r"^```(c|console)\n(.*?)^```$", re.M | re.S)
FUNCTION = re.compile(r"^(?:static )?[a-z][\w ]*[ *](\w+)\([^;{]*?\)\n\{\n"
                      r".*?^\}\n", re.M | re.S)
FILE = re.compile(r"^/\* (?:in )?(\w+\.c) \*/\n")
# What stands in main() before this.
EXPLORES = "\tif (argc > 1)\n"


class Sources:
    """The files that a reader has, as far as the page is read."""

    def __init__(self, directory):
        self.directory = directory

    def text(self, name):
        return (self.directory / name).read_text()

    def change(self, name, text):
        (self.directory / name).write_text(text)

    def add(self, block):
        name = FILE.match(block)
        if name and not block.startswith("/* in"):
            self.change(name.group(1), block)
        elif "#include" in block:
            file = name.group(1) if name else "test.c"
            self.change(file, FILE.sub("", block) + self.text(file))
        elif block.startswith("\t"):
            text = self.text("test.c")
            assert text.count(EXPLORES) == 1
            self.change("test.c", text.replace(EXPLORES, block + EXPLORES))
        else:
            self.add_functions(block)

    def add_functions(self, block):
        rest = FUNCTION.sub("", block)
        assert not rest.strip(), f"not a function: {rest}"
        for function in FUNCTION.finditer(block):
            self.put(function.group(1), function.group())

    def put(self, name, function):
        for file in "shop.c", "test.c":
            text = self.text(file)
            for old in FUNCTION.finditer(text):
                if old.group(1) == name:
                    self.change(file, text[:old.start()] + function +
                                text[old.end():])
                    return
        # A new one, before the first function of the test.
        text = self.text("test.c")
        first = FUNCTION.search(text).start()
        self.change("test.c", text[:first] + function + "\n" + text[first:])


@pytest.fixture
def desk(c_programs, tmp_path):
    """Where the reader sits: cc uses the flags of this build."""
    programs = tmp_path / "bin"
    programs.mkdir()
    compiler = programs / "cc"
    # What a later block does without stays in the file.
    flags = " ".join([*c_programs.flags, "-Wno-unused-function"])
    compiler.write_text(f'#!/bin/sh\nexec /usr/bin/cc -std=gnu17 {flags} "$@"\n')
    compiler.chmod(0o755)
    directory = tmp_path / "desk"
    directory.mkdir()

    def run(command):
        done = c_programs.run("/bin/sh", "-c",
                              f"PATH={programs}:$PATH; {command}",
                              cwd=directory)
        assert not done.stderr, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    return directory, run


def commands_of(block):
    """[(command, what it prints)]"""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.M)
    assert parts[0] == ""
    return list(zip(parts[1::2], parts[2::2]))


def told(block, run):
    """The block with what its commands really print."""
    return "".join(f"$ {command}\n{run(command)}"
                   for command, _ in commands_of(block))


def test_the_page_is_true(desk):
    directory, run = desk
    sources = Sources(directory)
    page = PAGE.read_text()
    blocks = list(BLOCK.finditer(page))
    really = page
    assert len(blocks) > 15
    for block in reversed_pairs(blocks, sources, run):
        start, end, text = block
        really = really[:start] + text + really[end:]
    if os.environ.get("SQLOOM_ACCEPT") == "1":
        PAGE.write_text(really)
    assert on_any_machine(really) == on_any_machine(page)


def on_any_machine(text):
    return re.sub(r"\bSQLite \d+\.\d+\.\d+", "SQLite 3", text)


def reversed_pairs(blocks, sources, run):
    """(start, end, text) of the console blocks as they really are; run in the
    order of the page, given from its end, so that places stay true."""
    done = []
    for block in blocks:
        if block.group(1) == "c":
            sources.add(block.group(2))
        else:
            done.append((*block.span(2), told(block.group(2), run)))
    return reversed(done)


def test_what_it_says_of_files_is_true():
    """Its links lead somewhere."""
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGE.read_text()):
        assert (PAGE.parent / target).exists(), target
