# SPDX-License-Identifier: Apache-2.0
"""What all tests of the command share."""

import os
import pathlib

import pytest

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def checkout():
    """The folder that holds the repository."""
    return CHECKOUT


@pytest.fixture(scope="session")
def sqloom():
    """The absolute path of the command: $SQLOOM, else build/sqloom."""
    given = os.environ.get("SQLOOM")
    path = pathlib.Path(given).absolute() if given else CHECKOUT / "build/sqloom"
    if not (path.is_file() and os.access(path, os.X_OK)):
        pytest.fail(
            f"there is no command {path}; run make first, or set SQLOOM",
            pytrace=False,
        )
    return str(path)
