# SPDX-License-Identifier: Apache-2.0
"""The Python package that `make python` made, for programs that the tests
start."""

import json
import os
import pathlib
import sys

import pytest

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]


def site(build):
    """What PYTHONPATH must name. A build without the package (sanitizers) is
    skipped; one that should have it is not."""
    place = build / "site"
    if (place / "sqloom" / "__init__.py").exists():
        return place
    options = json.loads(
        (build / "meson-info/intro-buildoptions.json").read_text())
    if any(option["name"] == "python" and option["value"] == "disabled"
           for option in options):
        pytest.skip(f"{build} is built without the Python package")
    pytest.fail(f"there is no Python package in {place}: run make python",
                pytrace=False)
    return None


def interpreter():
    """(python, PYTHONPATH): $SQLOOM_EXAMPLES_PYTHON, which has the package
    installed; else this one, with that of the build."""
    given = os.environ.get("SQLOOM_EXAMPLES_PYTHON")
    if given:
        return pathlib.Path(given).absolute(), ""
    command = os.environ.get("SQLOOM")
    build = (pathlib.Path(command).resolve().parent.parent if command
             else CHECKOUT / "build")
    return pathlib.Path(sys.executable), str(site(build).absolute())
