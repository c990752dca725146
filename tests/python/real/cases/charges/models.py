# SPDX-License-Identifier: Apache-2.0
from django.db import models
from django_fsm import ConcurrentTransitionMixin, FSMField, transition


class Abstract(models.Model):
    state = FSMField(default="new")

    class Meta:
        abstract = True

    @transition(field=state, source="new", target="paid")
    def pay(self):
        pass


class Order(Abstract):
    pass


class SafeOrder(ConcurrentTransitionMixin, Abstract):
    pass


class Charge(models.Model):
    amount = models.IntegerField()
