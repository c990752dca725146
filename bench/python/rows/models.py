# SPDX-License-Identifier: Apache-2.0
"""As many models as BENCH_MODELS says, without migrations."""

import os

from django.db import models

COUNT = int(os.environ["BENCH_MODELS"])

MODELS = [
    type(f"Row{number}", (models.Model,), {
        "__module__": __name__,
        "name": models.CharField(max_length=50, db_index=True),
        "count": models.IntegerField(default=0),
    })
    for number in range(COUNT)
]
