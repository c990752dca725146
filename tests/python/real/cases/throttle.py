# SPDX-License-Identifier: Apache-2.0
"""Django REST framework's throttle on Django's cache in the database: looks,
then counts (#5181, #8127)."""

from real.case import RESULT, case
from real.cases.cache import SETTINGS  # noqa: F401

PACKAGE = "djangorestframework"
APPS = ["rest_framework"]


def ask():
    from rest_framework.response import Response
    from rest_framework.test import APIRequestFactory
    from rest_framework.throttling import AnonRateThrottle
    from rest_framework.views import APIView

    class OnceADay(AnonRateThrottle):
        rate = "1/day"

    class View(APIView):
        authentication_classes = ()
        permission_classes = ()
        throttle_classes = (OnceADay,)

        def get(self, request):
            return Response("welcome")

    response = View.as_view()(APIRequestFactory().get("/"))
    return response.render()


@case("a view allowed once a day", {"3.14": RESULT})
def throttled():
    """Both are let in."""
    return ask, ask
