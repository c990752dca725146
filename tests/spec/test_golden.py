# SPDX-License-Identifier: Apache-2.0
"""Golden files: what sqloom says about x.spec is in expected/x.out.

`make accept` (SQLOOM_ACCEPT=1) rewrites the expected files; read the
difference before you commit it.
"""

import difflib
import os
import pathlib
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
EXPECTED = HERE / "expected"
SPECS = sorted(path.name for path in HERE.glob("*.spec"))
ARGUMENTS = ["explore", "--color", "never", "--width", "100"]
# Nothing of the caller's surroundings may change what is printed.
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": os.defpath}
KEPT = ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")
# Only a run that hangs gets there.
TIMEOUT_S = 600


def explore(sqloom, spec):
    """All that the command says: stdout, stderr if any, the exit code."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    done = subprocess.run(
        [sqloom, *ARGUMENTS, spec],
        cwd=HERE,
        env={**ENVIRONMENT, **kept},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT_S,
    )
    text = done.stdout.decode("utf-8")
    if text and not text.endswith("\n"):
        text += "\n(no newline at the end)\n"
    for line in done.stderr.decode("utf-8").splitlines():
        text += f"stderr: {line}\n"
    return text + f"exit: {done.returncode}\n"


@pytest.mark.parametrize("spec", SPECS)
def test_golden(sqloom, spec):
    expected_path = EXPECTED / (pathlib.Path(spec).stem + ".out")
    said = explore(sqloom, spec)
    if os.environ.get("SQLOOM_ACCEPT") == "1":
        # A crash is never what was meant.
        assert not said.endswith("exit: 70\n") and "exit: -" not in said, said
        expected_path.parent.mkdir(exist_ok=True)
        expected_path.write_text(said, encoding="utf-8")
    if not expected_path.exists():
        pytest.fail(
            f"there is no expected/{expected_path.name}; look at the output "
            f"and run make accept if it is right:\n{said}",
            pytrace=False,
        )
    expected = expected_path.read_text(encoding="utf-8")
    if said != expected:
        difference = difflib.unified_diff(
            expected.splitlines(keepends=True),
            said.splitlines(keepends=True),
            f"expected/{expected_path.name}",
            f"sqloom {' '.join(ARGUMENTS)} {spec}",
        )
        pytest.fail("".join(difference), pytrace=False)


def test_there_are_specs():
    """An empty folder would pass on nothing."""
    assert SPECS, f"there is no *.spec in {HERE}"


def test_every_expected_file_has_its_spec():
    stems = {pathlib.Path(spec).stem for spec in SPECS}
    left_over = sorted(
        path.name for path in EXPECTED.glob("*") if path.stem not in stems
    )
    assert not left_over, f"expected files without a spec: {left_over}"
