# SPDX-License-Identifier: Apache-2.0
"""A session is read at the beginning of a request and written as a whole at its
end. Of two requests that change it at the same time, one is lost."""

from django.http import HttpResponse

from .models import CartItem


def set_language(request, language):
    request.session["language"] = language
    return HttpResponse("ok")


def add_broken(request, sku):
    """BROKEN: the cart is a key of the session."""
    request.session["cart"] = request.session.get("cart", []) + [sku]
    return HttpResponse("added")


def add(request, sku):
    """Fixed: what must not be lost has rows of its own. The session only says
    whose they are."""
    CartItem.objects.create(session_key=request.session.session_key, sku=sku)
    return HttpResponse("added")
