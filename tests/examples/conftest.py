# SPDX-License-Identifier: Apache-2.0
"""C programs that use the library of the build that is tested: compiled with
pkg-config, as a user would, and run."""

import json
import pathlib
import re
import subprocess

import pytest

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
TIMEOUT_S = 300


class Programs:
    """How to compile and run them."""

    def __init__(self, sqloom, directory, environment):
        # The command is in cli/ of the build directory.
        self.build = pathlib.Path(sqloom).resolve().parent.parent
        self.environment = environment
        self.directory = directory
        self.flags = ["-g", "-O1", "-Wall", "-Wextra", "-Werror"]
        self.flags += self.sanitizers()
        if not (self.build / "src/libsqloom.so").exists():
            pytest.fail(f"there is no libsqloom.so in {self.build}/src; "
                        "run make test", pytrace=False)
        self.write_pc()

    def sanitizers(self):
        """Who uses a library that is built with them needs them, too."""
        options = json.loads(
            (self.build / "meson-info/intro-buildoptions.json").read_text())
        found = next(option["value"] for option in options
                     if option["name"] == "b_sanitize")
        return [] if found == "none" else [f"-fsanitize={found}"]

    def write_pc(self):
        """sqloom.pc as it is installed, but for where things are."""
        text = (self.build / "meson-private/sqloom.pc").read_text()
        for name, path in (("libdir", self.build / "src"),
                           ("includedir", CHECKOUT / "include")):
            text = re.sub(f"^{name}=.*$", f"{name}={path}", text, flags=re.M)
        (self.directory / "sqloom.pc").write_text(text)

    def env(self, **more):
        return self.environment(PKG_CONFIG_PATH=str(self.directory),
                                LD_LIBRARY_PATH=str(self.build / "src"),
                                **more)

    def run(self, *command, **more):
        return subprocess.run(
            [str(word) for word in command], env=self.env(),
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=TIMEOUT_S, **more)

    def make(self, folder, *arguments):
        done = self.run("make", "-s", "-j2", "-C", folder,
                        f"CFLAGS={' '.join(self.flags)}", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr

    def pkg_config(self, *arguments):
        done = self.run("pkg-config", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()


@pytest.fixture(scope="session")
def c_programs(sqloom, environment, tmp_path_factory):
    return Programs(sqloom, tmp_path_factory.mktemp("c"), environment)
