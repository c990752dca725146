# SPDX-License-Identifier: Apache-2.0
"""What the project answers to. Views whose names end in _broken have the bug
that their story tells of."""

from django.urls import path

from shop import cart, home, orders, stash

urlpatterns = [
    path("", home.home),
    path("order-broken/<int:product>/", orders.order_broken),
    path("order/<int:product>/", orders.order),
    path("language/<language>/", cart.set_language),
    path("cart-broken/<sku>/", cart.add_broken),
    path("cart/<sku>/", cart.add),
    path("stash/", stash.show),
]
