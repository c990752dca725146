# SPDX-License-Identifier: Apache-2.0
"""The project. Its Celery application is there as soon as Django is."""

from .celery import app as celery_app

__all__ = ["celery_app"]
