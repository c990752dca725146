# SPDX-License-Identifier: Apache-2.0
"""A receiver makes profiles. Where a test brings its own, it is suspended."""

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.db.models.signals import post_save
from django.test import TestCase, override_settings
from sqloom import assert_race_free, explore
from sqloom.django import CommittingTestCase, suspend_signals

from shop.models import UserProfile
from shop.profiles import make_profile, make_profile_broken

User = get_user_model()


class OwnProfileTests(TestCase):
    def test_broken(self):
        """The receiver was faster."""
        with self.assertRaises(IntegrityError), transaction.atomic():
            UserProfile.objects.create(user=User.objects.create(username="a"))

    @override_settings(SUSPEND_SIGNALS=True)
    def test_fixed_with_the_setting(self):
        UserProfile.objects.create(user=User.objects.create(username="a"))

    def test_fixed_for_one_receiver(self):
        with suspend_signals(receiver=make_profile):
            user = User.objects.create(username="a")
        self.assertFalse(UserProfile.objects.exists())
        user.save()
        self.assertEqual(user.profile.newsletter, True)


class TwoLoginsTests(CommittingTestCase):
    """Each login saves the user. This one is from before there were profiles:
    both make one."""

    def setUp(self):
        with suspend_signals(post_save):
            self.user = User.objects.create(username="ann")

    def login(self):
        self.user.save(update_fields=["last_login"])

    def test_broken(self):
        post_save.connect(make_profile_broken, sender=User)
        self.addCleanup(post_save.disconnect, make_profile_broken, sender=User)
        with suspend_signals(receiver=make_profile):
            report = explore([self.login, self.login])
        self.assertFalse(report.holds)
        self.assertIn("IntegrityError", report.text)

    def test_fixed(self):
        report = assert_race_free([self.login, self.login])
        self.assertEqual(report.explored, report.total)
