# SPDX-License-Identifier: Apache-2.0
"""What comes from PyPI: these tests run in make test-pypi, which sets
SQLOOM_PYPI to the directory of its virtual environments, and not otherwise."""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "proxy"))

from proxy_fixtures import network, network_database, proxy  # noqa: E402,F401

if "SQLOOM_PYPI" not in os.environ:
    collect_ignore_glob = ["test_*.py"]
