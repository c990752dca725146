# SPDX-License-Identifier: Apache-2.0
"""A middleware that gives each request the stash of its session."""

from django.http import HttpResponse
from django.utils.functional import SimpleLazyObject

from .models import Stash


class StashMiddleware:
    """Fixed: get_or_create() is ready for others who create it, too: the
    unique key decides who was first."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        request.stash = SimpleLazyObject(lambda: self.stash(request.session))
        return self.get_response(request)

    def stash(self, session):
        if not session.session_key:
            session.create()
        return self.stash_of(session.session_key)

    def stash_of(self, key):
        return Stash.objects.get_or_create(session_key=key)[0]


class BrokenStashMiddleware(StashMiddleware):
    """BROKEN: the first two requests of a session both find none."""

    def stash_of(self, key):
        stash = Stash.objects.filter(session_key=key).first()
        return stash or Stash.objects.create(session_key=key)


def show(request):
    return HttpResponse(request.stash.skus or "nothing is put aside")
