# SPDX-License-Identifier: Apache-2.0
"""What the tests of the proxy share; see proxy_fixtures.py."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from proxy_fixtures import network, network_database, proxy  # noqa: E402,F401
