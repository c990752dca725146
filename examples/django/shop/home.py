# SPDX-License-Identifier: Apache-2.0
"""The first page, with a style sheet under its hashed name."""

from django.shortcuts import render


def home(request):
    return render(request, "shop/home.html")
