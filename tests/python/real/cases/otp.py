# SPDX-License-Identifier: Apache-2.0
"""django-otp verifies one-time tokens: looked up, then deleted (#85, #86)."""

from real.case import CONTENTS, HOLDS, LOCKED, RESULT, case

PACKAGE = "django-otp"
APPS = ["django_otp", "django_otp.plugins.otp_static"]


def log_in(user):
    from django_otp import match_token

    return match_token(user, "123456") is not None


@case("the same one-time token twice",
      {"1.0.6": (CONTENTS, CONTENTS), "1.1.0": (LOCKED, HOLDS)})
def token():
    """Both are let in, and the failure is not counted."""
    from django.contrib.auth.models import User
    from django_otp.plugins.otp_static.models import StaticDevice

    user = User.objects.create_user("ann")
    device = StaticDevice.objects.create(user=user, name="paper")
    device.token_set.create(token="123456")
    return (log_in, user), (log_in, user)
