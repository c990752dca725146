# SPDX-License-Identifier: Apache-2.0
"""Connects the receivers of the library."""

from django.apps import AppConfig


class LibraryConfig(AppConfig):
    name = "library"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        from . import locators  # noqa: F401
