# SPDX-License-Identifier: Apache-2.0
"""The project of the cases named in SQLOOM_REAL, on the database that
SQLOOM_TEST_DB says (see dev/python-tests)."""

import os

from real.case import load

SECRET_KEY = "only for tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LOGGING_CONFIG = None

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
]

if os.environ.get("SQLOOM_TEST_DB", "sqlite") == "sqlite":
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": ":memory:",
        },
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": f"real_{os.getpid()}",
            "USER": os.environ["PGUSER"],
            "HOST": os.environ["PGHOST"],
            "PORT": os.environ.get("PGPORT", ""),
        },
    }

for module in load(os.environ["SQLOOM_REAL"].split(",")):
    INSTALLED_APPS += [each for each in module.APPS
                       if each not in INSTALLED_APPS]
    globals().update(getattr(module, "SETTINGS", {}))
