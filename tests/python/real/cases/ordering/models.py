# SPDX-License-Identifier: Apache-2.0
from django.db import models
from ordered_model.models import OrderedModel


class Song(OrderedModel):
    name = models.CharField(max_length=20)
