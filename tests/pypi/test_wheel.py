# SPDX-License-Identifier: Apache-2.0
"""What `python -m build` makes of the checkout (dev/wheel): the wheel holds what
it should and nothing else, and works in an empty environment, without Django."""

import email
import os
import pathlib
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest

DIST = pathlib.Path(os.environ["SQLOOM_PYPI"]).absolute() / "wheel/dist"
TIMEOUT_S = 120

# Two connections of sqlite3, as any program has them.
LOST_UPDATE = """
import sqlite3
import sys

import sqloom

assert not [name for name in sys.modules if name.split(".")[0] == "django"]
path = sys.argv[1]
with sqlite3.connect(path) as made:
    made.execute("CREATE TABLE account (balance INTEGER)")
    made.execute("INSERT INTO account VALUES (100)")
made.close()


def deposit():
    own = sqlite3.connect(path, isolation_level=None)
    balance, = own.execute("SELECT balance FROM account").fetchone()
    own.execute("UPDATE account SET balance = ?", (balance + 10,))
    own.close()


def deposit_at_once():
    own = sqlite3.connect(path, isolation_level=None)
    own.execute("UPDATE account SET balance = balance + 10")
    own.close()


print(sqloom.explore([deposit, deposit], database=path).holds,
      sqloom.explore([deposit_at_once] * 2, database=path).holds)
"""


@pytest.fixture(scope="module")
def wheel():
    (path,) = DIST.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def described(wheel):
    """Reads a file beside the package."""

    def read(name):
        with zipfile.ZipFile(wheel) as archive:
            (path,) = [each for each in archive.namelist()
                       if each.endswith(f".dist-info/{name}")]
            return archive.read(path).decode()

    return read


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """Of an environment that has the wheel and nothing else."""
    place = tmp_path_factory.mktemp("empty")
    venv.create(place, with_pip=True)
    run([place / "bin/pip", "install", "-q", "--no-index", wheel])
    return place / "bin/python"


def run(command):
    done = subprocess.run(
        list(map(str, command)), cwd="/", timeout=TIMEOUT_S, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1",
             "LC_ALL": "C.UTF-8"})
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_wheel_holds_the_package_and_nothing_else(checkout, names):
    extensions = {name for name in names if name.endswith(".so")}
    assert len(extensions) == 1
    assert extensions.pop().startswith("sqloom/_ext.cpython-")
    sources = {
        str(path.relative_to(checkout / "python"))
        for path in (checkout / "python/sqloom").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts}
    assert "sqloom/py.typed" in sources
    inside = {name for name in names
              if ".dist-info/" not in name and not name.endswith(".so")}
    assert inside == sources
    beside = {name.split(".dist-info/")[1] for name in names
              if ".dist-info/" in name}
    assert beside == {"METADATA", "WHEEL", "RECORD", "entry_points.txt",
                      "licenses/LICENSE"}


def test_what_the_wheel_says_of_itself(checkout, described):
    metadata = email.message_from_string(described("METADATA"))
    assert metadata["Name"] == "sqloom"
    version = f"version: '{metadata['Version']}'"
    assert version in (checkout / "meson.build").read_text()
    assert metadata["Requires-Python"] == ">=3.9"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    # Django, pytest and the drivers are the program's own.
    assert metadata.get_all("Requires-Dist") is None
    assert described("entry_points.txt").split() == [
        "[pytest11]", "sqloom", "=", "sqloom.pytest_plugin"]
    (tag,) = [line for line in described("WHEEL").splitlines()
              if line.startswith("Tag:")]
    assert f"cp{sys.version_info[0]}{sys.version_info[1]}" in tag


def test_the_extension_carries_the_library(python, wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith(".so")]
        extension = archive.extract(name, tmp_path)
    listed = run(["ldd", extension])
    assert "not found" not in listed
    assert "libsqloom" not in listed
    symbols = [line.split()[-2:] for line in
               run(["nm", "-D", extension]).splitlines()]
    assert "PyInit__ext" in [name for kind, name in symbols if kind == "T"]
    assert not [name for kind, name in symbols
                if kind in "TDBR" and name.startswith(("sqloom_", "slm_"))]
    # Assertions are on.
    assert [name for _, name in symbols if name.startswith("__assert_fail")]


def test_it_works_in_an_empty_environment(python, tmp_path):
    script = tmp_path / "lost_update.py"
    script.write_text(LOST_UPDATE)
    out = run([python, script, tmp_path / "bank.sqlite3"])
    assert out.split() == ["False", "True"]


def test_the_sdist_holds_all_sources(checkout):
    (path,) = DIST.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached",
         "--others", "--exclude-standard", "--", "src", "include", "python",
         "cli", "bench", "meson.build", "meson_options.txt", "pyproject.toml",
         "LICENSE", "README.md", "dev/man-pages", "dev/packages", "dev/setup"],
        cwd=checkout, check=True, stdout=subprocess.PIPE, text=True)
    wanted = {name for name in listed.stdout.split("\0")
              if name and (checkout / name).exists()}
    assert len(wanted) > 300
    assert wanted <= inside
