# SPDX-License-Identifier: Apache-2.0
"""django-fsm: a transition checks the state that was read, so two calls both
take it, unless the model has the package's ConcurrentTransitionMixin (#46)."""

from real.case import CONTENTS, HOLDS, LOCKED, case

PACKAGE = "django-fsm"
APPS = ["real.cases.charges"]
REFUSALS = ("django_fsm.ConcurrentTransition",
            "django_fsm.TransitionNotAllowed")


def pay(name):
    from django.db import transaction

    from real.cases.charges import models

    with transaction.atomic():
        order = getattr(models, name).objects.get()
        order.pay()
        models.Charge.objects.create(amount=100)
        order.save()


def prepare(name):
    from real.cases.charges import models

    getattr(models, name).objects.create()
    return (pay, name), (pay, name)


@case("a transition in atomic()", {"2.8.1": (LOCKED, CONTENTS)}, REFUSALS)
def unprotected():
    """The transition takes place twice, and so does the charge."""
    return prepare("Order")


@case("the same with ConcurrentTransitionMixin", {"2.8.1": (LOCKED, HOLDS)},
      REFUSALS)
def protected():
    return prepare("SafeOrder")
