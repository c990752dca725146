# SPDX-License-Identifier: Apache-2.0
"""The project that is measured: BENCH_MODELS models on BENCH_DB."""

import os
import pathlib

SECRET_KEY = "only for benches"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# What nearly every project has, and what makes a flush expensive: after it
# Django makes their rows for all models again.
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "rows"]

DIRECTORY = pathlib.Path(os.environ["BENCH_DIRECTORY"])
if os.environ["BENCH_DB"] == "sqlite":
    DATABASES = {"default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(DIRECTORY / "bench.sqlite3"),
    }}
    # Where other processes are to see it: calls.py.
    if "BENCH_FILE" in os.environ:
        DATABASES["default"]["TEST"] = {"NAME": os.environ["BENCH_FILE"]}
else:
    DATABASES = {"default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "bench",
        "HOST": os.environ["PGHOST"],
        "USER": os.environ["PGUSER"],
    }}
# A program that is to use the test database as its own.
if "BENCH_NAME" in os.environ:
    DATABASES["default"]["NAME"] = os.environ["BENCH_NAME"]
