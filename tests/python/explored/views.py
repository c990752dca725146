# SPDX-License-Identifier: Apache-2.0
"""Views that do what views do to connections."""

from concurrent.futures import ThreadPoolExecutor

from django.db import connection, connections, transaction
from django.http import HttpResponse
from django.template import Context, Template

from explored import calls
from shop.models import Account, Coupon

pool = ThreadPoolExecutor(2)  # lives as long as the process


def deposit(request, pk, amount):
    return HttpResponse(calls.deposit(pk, amount))


def deposit_and_fail(request, pk, amount):
    """With ATOMIC_REQUESTS nothing is left of it."""
    calls.deposit(pk, amount)
    return HttpResponse("no", status=400 if amount < 100 else 500)


@transaction.non_atomic_requests
def deposit_closing(request, pk, amount):
    """Closes its connection before and behind its work."""
    connection.close()
    said = calls.deposit(pk, amount)
    connections.close_all()
    return HttpResponse(said)


def _balance(pk):
    return Account.objects.get(pk=pk).balance


def _coupon_is_used(code):
    return Coupon.objects.get(code=code).used


def _use(code):
    return Coupon.objects.filter(code=code).update(used=True)


def redeem_by_pool(request, pk, code):
    """Reads and writes on threads of its own."""
    with ThreadPoolExecutor(2) as threads:
        balance = threads.submit(_balance, pk)
        used = threads.submit(_coupon_is_used, code)
        if used.result() or balance.result() < 0:
            return HttpResponse("too late", status=403)
    with ThreadPoolExecutor(1) as threads:
        threads.submit(_use, code).result()
    return HttpResponse("redeemed")


def redeem_by_lasting_pool(request, code):
    """The same on threads that outlive the request."""
    if pool.submit(_coupon_is_used, code).result():
        return HttpResponse("too late", status=403)
    pool.submit(_use, code).result()
    return HttpResponse("redeemed")


def visit(request):
    """Counts in the session."""
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(f"visits {request.session['visits']}")


def divide(request, pk, by):
    balance = _balance(pk)
    said = balance // by
    return HttpResponse(f"{said} of {_balance(pk)}")


def template(request, pk, name):
    """Rendered between two statements."""
    _balance(pk)
    text = Template("{{ name }} has {{ balance }}", name=name).render(
        Context({"name": name, "balance": lambda: _balance(pk)}))
    return HttpResponse(text)
