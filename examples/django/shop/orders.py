# SPDX-License-Identifier: Apache-2.0
"""A view that reads through a pool of threads, and then takes an order."""

from concurrent.futures import ThreadPoolExecutor

from django.db import connection, transaction
from django.db.models import F
from django.http import HttpResponse

from .models import Order, Product


def read(product, field):
    """Runs on a thread of the pool, with a connection of that thread."""
    try:
        return Product.objects.values_list(field, flat=True).get(pk=product)
    finally:
        connection.close()


def price_and_stock(product):
    with ThreadPoolExecutor(max_workers=2) as pool:
        price = pool.submit(read, product, "price")
        stock = pool.submit(read, product, "stock")
        return price.result(), stock.result()


def order_broken(request, product):
    """BROKEN: between the threads' reads and the update others may order."""
    price, stock = price_and_stock(product)
    if stock == 0:
        return HttpResponse("sold out", status=409)
    Product.objects.filter(pk=product).update(stock=stock - 1)
    Order.objects.create(product_id=product, price=price)
    return HttpResponse("ordered")


@transaction.atomic
def order(request, product):
    """Fixed: the threads' answer is for show. What is taken from the stock is
    decided where it is taken."""
    price, _ = price_and_stock(product)
    there = Product.objects.filter(pk=product, stock__gt=0)
    if not there.update(stock=F("stock") - 1):
        return HttpResponse("sold out", status=409)
    Order.objects.create(product_id=product, price=price)
    return HttpResponse("ordered")
