# SPDX-License-Identifier: Apache-2.0
"""django-post_office sends queued mail: read, sent, marked (#326, #248)."""

from real.case import CONTENTS, case

PACKAGE = "django-post_office"
APPS = ["post_office"]
SETTINGS = {
    "TEMPLATES": [
        {"BACKEND": "django.template.backends.django.DjangoTemplates"},
    ],
    "EMAIL_BACKEND": "post_office.EmailBackend",
    "POST_OFFICE": {
        "BACKENDS": {
            "default": "django.core.mail.backends.locmem.EmailBackend",
        },
        "LOG_LEVEL": 2,
    },
}


def send():
    from post_office.mail import send_queued

    return send_queued()


@case("send_queued() of two workers", {"3.6.0": CONTENTS})
def sending():
    """One message is sent twice."""
    from post_office import mail

    mail.send("ann@example.com", "shop@example.com", subject="Welcome",
              message="Hello")
    return send, send
