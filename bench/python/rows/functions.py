# SPDX-License-Identifier: Apache-2.0
"""What is called in a clean process."""

from rows.models import MODELS


def one_query():
    return MODELS[0].objects.count()
