# SPDX-License-Identifier: Apache-2.0
"""Connects the receivers of the shop."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        from . import profiles  # noqa: F401
