# SPDX-License-Identifier: Apache-2.0
from django.urls import path

from explored import views

urlpatterns = [
    path("deposit/<int:pk>/<int:amount>", views.deposit),
    path("fail/<int:pk>/<int:amount>", views.deposit_and_fail),
    path("closing/<int:pk>/<int:amount>", views.deposit_closing),
    path("pool/<int:pk>/<str:code>", views.redeem_by_pool),
    path("visit", views.visit),
    path("divide/<int:pk>/<int:by>", views.divide),
    path("template/<int:pk>/<str:name>", views.template),
    path("lasting/<str:code>", views.redeem_by_lasting_pool),
]
