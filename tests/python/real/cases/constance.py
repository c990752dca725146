# SPDX-License-Identifier: Apache-2.0
"""django-constance keeps settings in the database: get, else create (#383)."""

from real.case import ERROR, HOLDS, case

PACKAGE = "django-constance"
APPS = ["constance", "constance.backends.database"]
SETTINGS = {
    "CONSTANCE_BACKEND": "constance.backends.database.DatabaseBackend",
    "CONSTANCE_CONFIG": {"ANSWER": (0, "of the question")},
}


def assign(value):
    from constance import config

    config.ANSWER = value


@case("first assignment of a key", {"2.6.0": ERROR, "2.7.0": HOLDS})
def first():
    """One of the two requests ends with an IntegrityError."""
    return (assign, 1), (assign, 2)
