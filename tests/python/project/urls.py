# SPDX-License-Identifier: Apache-2.0
"""The addresses of the test project."""

from django.urls import path

from shop import views

urlpatterns = [
    path("deposit/<int:pk>/<int:amount>", views.deposit),
    path("redeem/<str:code>", views.redeem),
    path("stock/<int:pk>", views.stock),
]
