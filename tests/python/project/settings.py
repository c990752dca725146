# SPDX-License-Identifier: Apache-2.0
"""The Django project of the tests. SQLOOM_TEST_DB says on which database it
runs, "sqlite" (default) or "postgresql", whose address is in PGHOST, PGPORT and
PGUSER; see dev/python-tests."""

import os
import tempfile

SECRET_KEY = "only for tests"
DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "project.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# One application in a line: several people add theirs.
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "ledger",
    "shop",
]

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
    },
]


def database(name):
    """SQLite's test databases are in memory, as Django makes them when nothing
    else is said; nothing may open what is not a test database."""
    if os.environ.get("SQLOOM_TEST_DB", "sqlite") == "sqlite":
        directory = os.environ.get("SQLOOM_TEST_DIRECTORY",
                                   tempfile.gettempdir())
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.path.join(directory, f"{name}.sqlite3"),
        }
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": os.environ["PGUSER"],
        "HOST": os.environ["PGHOST"],
        "PORT": os.environ.get("PGPORT", ""),
    }


DATABASES = {"default": database("shop"), "other": database("archive")}

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}

# Hashing is not what is tested.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
