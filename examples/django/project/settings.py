# SPDX-License-Identifier: Apache-2.0
"""Settings of the example project. As usual, but for the database, which the
environment may name: see databases.py."""

import os
from pathlib import Path

import django

from .databases import from_environment

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = "an example has no secrets"
DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "project.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "library",
    "shop",
]

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "shop.stash.StashMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
    },
]

DATABASES = {"default": from_environment(os.environ, BASE_DIR)}

# Where collectstatic puts files, and where it says under which names.
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "collected"
STATIC_MANIFEST = BASE_DIR / "staticfiles.json"
STATIC_STORAGE = "project.storage.ProjectManifestStorage"
if django.VERSION < (4, 2):
    STATICFILES_STORAGE = STATIC_STORAGE
else:
    STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": STATIC_STORAGE},
    }

# The tests start a Redis of their own.
CELERY_BROKER_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

# That a broken twin ends with an error is what its test is about.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"django.request": {"level": "CRITICAL"}},
}
