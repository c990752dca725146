# SPDX-License-Identifier: Apache-2.0
"""Races in real packages are found with two calls and no check written; the
versions in which they are fixed hold, and so do the controls.

With Debian's packages (and Django's own cases with the Django there is); or, if
SQLOOM_REAL_PYPI says where dev/pypi-real put them, with those of PyPI. Cases
run in processes of their own, several at a time: a case may need settings, and
a version, that others cannot have.
"""

import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import pytest

from real.case import cases_of, load

HERE = pathlib.Path(__file__).resolve().parent
PYPI = os.environ.get("SQLOOM_REAL_PYPI")
TIMEOUT_S = 600
DEBIAN = ("axes,constance,otp,throttle,tags",
          "cache,charges,chord,ordering,queue,sessions,trees")
ONLY_PYPI = ("mail", "profiles")
# Another one has Django at most.
DEBIAN_PYTHON = sys.prefix == "/usr"


def versions(path):
    """The versions that a list of requirements has, by package."""
    lines = path.read_text().splitlines()
    return dict(line.split("==") for line in lines
                if line and not line.startswith("#"))


def short_name(module):
    return module.__name__.rpartition(".")[2]


def all_cases():
    """(directory of packages or None, modules, case) of each."""
    if not PYPI:
        for names in DEBIAN:
            modules = load(names.split(","))
            if not DEBIAN_PYTHON:
                modules = [each for each in modules
                           if each.PACKAGE == "Django"]
                names = ",".join(short_name(each) for each in modules)
            for module in modules:
                for case in cases_of(module):
                    yield None, names, case
        return
    names = ",".join([*DEBIAN, *ONLY_PYPI]).split(",")
    for path in sorted((HERE / "pypi").glob("*.txt")):
        listed = versions(path)
        modules = [module for module in load(names)
                   if module.PACKAGE in listed]
        wanted = ",".join(short_name(each) for each in modules)
        for module in modules:
            for case in cases_of(module):
                if case.is_known(listed[module.PACKAGE]):
                    yield path.stem, wanted, case


CASES = list(all_cases())


def start(directory, modules):
    """A process, and the file that it prints to: nobody may be reading yet."""
    env = dict(os.environ)
    if directory:
        env["PYTHONPATH"] = os.pathsep.join(
            [str(pathlib.Path(PYPI, directory).resolve()), env["PYTHONPATH"]])
    output = tempfile.TemporaryFile("w+")
    return subprocess.Popen(
        [sys.executable, "-m", "real.run", modules], env=env,
        stdin=subprocess.DEVNULL, stdout=output,
        stderr=subprocess.STDOUT), output


@functools.cache
def processes():
    """All are started when the first one is asked for."""
    return {group: start(*group) for group in {case[:2] for case in CASES}}


@functools.cache
def outcomes(directory, modules):
    """What came out, by the name of the case; and all that was said."""
    process, output = processes()[directory, modules]
    try:
        process.wait(TIMEOUT_S)
    finally:
        process.kill()
    output.seek(0)
    text = output.read()
    told = [json.loads(line) for line in text.splitlines()
            if line.startswith("{")]
    return {each["case"]: each for each in told}, text


def name_of(case):
    return f"{case.module}: {case.name}"


@pytest.fixture(scope="module", autouse=True)
def ended():
    yield
    for process, output in processes().values():
        process.kill()
        process.wait()
        output.close()


@pytest.mark.parametrize(
    "directory, modules, case", CASES,
    ids=[f"{directory or 'debian'}-{name_of(case)}"
         for directory, _, case in CASES])
def test_case(directory, modules, case):
    found, said = outcomes(directory, modules)
    assert name_of(case) in found, said
    told = found[name_of(case)]
    assert told["outcome"] == told.get("expected"), told["text"]
    assert told.get("replayed", told["outcome"]) == told["outcome"]
    if directory:
        wanted = versions(HERE / "pypi" / f"{directory}.txt")
        assert told["version"] == wanted[told["package"]]
