# SPDX-License-Identifier: Apache-2.0
"""A receiver makes a profile for each user that is saved.

It is a suspending receiver: with the setting SUSPEND_SIGNALS it does nothing,
so that a test, or an import, can bring profiles of its own."""

from django.contrib.auth import get_user_model
from django.db.models.signals import post_save
from sqloom.django import suspendingreceiver

from .models import UserProfile


@suspendingreceiver(post_save, sender=get_user_model())
def make_profile(instance, raw=False, **kwargs):
    """Fixed: two saves at once find or make the same profile."""
    if not raw:
        UserProfile.objects.get_or_create(user=instance)


def make_profile_broken(instance, raw=False, **kwargs):
    """BROKEN: both look before either has made one."""
    if not raw and not UserProfile.objects.filter(user=instance).exists():
        UserProfile.objects.create(user=instance)
