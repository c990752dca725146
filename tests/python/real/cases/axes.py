# SPDX-License-Identifier: Apache-2.0
"""django-axes counts failed logins and locks out: get, else create, without a
unique constraint (#683, #788; the fixes of 5.20.0 and 5.22.0 do not do)."""

from real.case import CONTENTS, HOLDS, LOCKED, case

PACKAGE = "django-axes"
APPS = ["axes"]
SETTINGS = {
    "AUTHENTICATION_BACKENDS": [
        "axes.backends.AxesBackend",
        "django.contrib.auth.backends.ModelBackend",
    ],
    "AXES_FAILURE_LIMIT": 10,
    "AXES_VERBOSE": False,
    "SILENCED_SYSTEM_CHECKS": ["axes.W001", "axes.W002", "axes.W003"],
}


def fail_to_log_in():
    from django.contrib.auth import authenticate
    from django.http import HttpRequest

    request = HttpRequest()
    request.method = "POST"
    request.path = request.path_info = "/login"
    request.META = {"REMOTE_ADDR": "192.0.2.1", "HTTP_USER_AGENT": "test",
                    "SERVER_NAME": "test", "SERVER_PORT": "80"}
    return authenticate(request, username="ann", password="wrong") is None


@case("first failed login", {"5.18.0": CONTENTS, "5.25.0": (LOCKED, HOLDS)})
def first():
    """Two rows for one user: later logins end with MultipleObjectsReturned."""
    return fail_to_log_in, fail_to_log_in


@case("one more failed login",
      {"5.18.0": CONTENTS, "5.22.0": HOLDS, "5.25.0": (LOCKED, HOLDS)})
def further():
    """One of the two is not counted, so that more can be tried."""
    fail_to_log_in()
    return fail_to_log_in, fail_to_log_in
