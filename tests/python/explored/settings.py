# SPDX-License-Identifier: Apache-2.0
"""The project, with test databases that are nobody else's: for test runs inside
of a test. EXPLORED_FILE: an SQLite test database in that file."""

import os

from project.settings import *  # noqa: F403
from project.settings import DATABASES

ROOT_URLCONF = "explored.urls"
DATABASES = {
    "default": DATABASES["default"],
    "again": {**DATABASES["default"], "TEST": {"MIRROR": "default"}},
}
if "postgresql" in DATABASES["default"]["ENGINE"]:
    DATABASES["default"]["TEST"] = {"NAME": "test_explored"}
elif os.environ.get("EXPLORED_FILE"):
    DATABASES["default"]["TEST"] = {"NAME": os.environ["EXPLORED_FILE"]}
