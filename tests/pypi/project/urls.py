# SPDX-License-Identifier: Apache-2.0
from django.urls import path

from shop import views

urlpatterns = [
    path("redeem", views.redeem),
    path("redeem-locked", views.redeem_locked),
    path("exercise", views.exercise),
    path("health", views.health),
]
