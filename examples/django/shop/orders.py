# SPDX-License-Identifier: Apache-2.0
"""A view that reads through a pool of threads, and then sells."""

from concurrent.futures import ThreadPoolExecutor

from django.db import connection
from django.db.models import F
from django.http import HttpResponse

from .models import Product


def read_stock(product):
    """Runs on a thread of the pool, with a connection of that thread."""
    try:
        return Product.objects.values_list("stock", flat=True).get(pk=product)
    finally:
        connection.close()


def stock_of(products):
    """Of many products at the same time."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(read_stock, products))


def order_broken(request, product):
    """BROKEN: between the thread's read and the update others may order."""
    [stock] = stock_of([product])
    if stock == 0:
        return HttpResponse("sold out", status=409)
    Product.objects.filter(pk=product).update(stock=stock - 1)
    return HttpResponse("sold")


def order(request, product):
    """Fixed: what the thread has read is for show. What is taken from the
    stock is decided where it is taken."""
    [stock] = stock_of([product])
    there = Product.objects.filter(pk=product, stock__gt=0)
    if not stock or not there.update(stock=F("stock") - 1):
        return HttpResponse("sold out", status=409)
    return HttpResponse("sold")
