#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Print the SQL that Django really sends to SQLite for the stories here.

Each story runs in a running Django with a fresh database file. SQLite itself
reports every statement that reaches it (sqlite3's trace callback, set when
Django has opened a connection), with its parameters filled in; so BEGIN,
COMMIT and ROLLBACK, which Django's own query log leaves out, are seen too.

    capture.py              all stories, for people
    capture.py --json       all stories, for the test

The clock that Django asks for dates stands still, so two captures are equal.
"""

import datetime
import json
import os
import re
import sys
import tempfile
import threading

import django
from django.conf import settings

SESSION_KEY = "0123456789abcdefghijklmnopqrstuv"
NOW = datetime.datetime(2026, 1, 1, 12, 0, 0)

settings.configure(
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "unset"}
    },
    INSTALLED_APPS=["django.contrib.sessions"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="not a secret: these databases live for one second",
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    ALLOWED_HOSTS=["testserver"],
)
django.setup()

# These need configured settings.
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.contrib.sessions.models import Session  # noqa: E402
from django.db import connection, connections, models  # noqa: E402
from django.db.backends.signals import connection_created  # noqa: E402
from django.db.models import F, signals  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import path  # noqa: E402
from django.utils import timezone  # noqa: E402


# ---- The programs that are captured ------------------------------------


class Post(models.Model):
    title = models.CharField(max_length=100)
    likes = models.IntegerField(default=0)

    class Meta:
        app_label = "blog"


class Tag(models.Model):
    slug = models.CharField(max_length=50)

    class Meta:
        app_label = "blog"
        db_table = "blog_tag"


class UniqueTag(models.Model):
    slug = models.CharField(max_length=50, unique=True)

    class Meta:
        app_label = "blog"
        db_table = "blog_tag"


class CartItem(models.Model):
    session_key = models.CharField(max_length=40, db_index=True)
    sku = models.CharField(max_length=40)

    class Meta:
        app_label = "shop"


def add_to_session(request, sku):
    """The cart is a list in the session."""
    cart = request.session.get("cart", [])
    request.session["cart"] = cart + [sku]
    return HttpResponse("added")


def add_item(request, sku):
    """The cart is one row per item; the session only names the cart."""
    if "customer" not in request.session:
        return HttpResponse("log in first", status=403)
    CartItem.objects.create(session_key=request.session.session_key, sku=sku)
    return HttpResponse("added")


def like(request):
    post = Post.objects.get(pk=1)
    post.likes += 1
    post.save()
    return HttpResponse("liked")


def like_with_f(request):
    post = Post.objects.get(pk=1)
    post.likes = F("likes") + 1
    post.save(update_fields=["likes"])
    return HttpResponse("liked")


def tag(request):
    Tag.objects.get_or_create(slug="tea")
    return HttpResponse("tagged")


def tag_unique(request):
    UniqueTag.objects.get_or_create(slug="tea")
    return HttpResponse("tagged")


urlpatterns = [
    path("session/<sku>", add_to_session),
    path("item/<sku>", add_item),
    path("like", like),
    path("like-with-f", like_with_f),
    path("tag", tag),
    path("tag-unique", tag_unique),
]


# ---- Capturing ----------------------------------------------------------


class Recorder:
    """Collects the statements of all connections of the thread that made
    it; other threads' statements are theirs."""

    def __init__(self):
        self.statements = []
        self.thread = threading.get_ident()

    def __enter__(self):
        connection_created.connect(self._connected)
        return self

    def __exit__(self, *exc_info):
        connection_created.disconnect(self._connected)
        connection.close()

    def _connected(self, connection, **kwargs):
        if threading.get_ident() == self.thread:
            connection.connection.set_trace_callback(self.statements.append)


def in_fresh_database(body):
    """Calls body with Django connected to a database file of its own."""
    with tempfile.TemporaryDirectory() as directory:
        connections["default"].settings_dict["NAME"] = os.path.join(
            directory, "db.sqlite3"
        )
        try:
            return body()
        finally:
            connection.close()


def recorded(body):
    with Recorder() as recorder:
        body()
    return [readable(statement) for statement in recorder.statements]


def readable(statement):
    """Signed session data become what they hold. The signature has a time
    stamp in it, so the data would never be the same twice."""

    def decode(match):
        data = SessionStore().decode(match.group(1))
        return "'%s'" % "; ".join(
            "%s: %s" % (key, value if key != "cart" else ", ".join(value))
            for key, value in data.items()
        )

    # BASE64, time stamp and signature, separated by colons.
    return re.sub(r"'([\w.-]+:[\w-]+:[\w-]{20,})'", decode, statement)


def setup_statements(story):
    """CREATE and INSERT of the setup. The rest is the schema editor's
    transactions and checks."""

    def body():
        with connection.schema_editor() as editor:
            for model in story["models"]:
                editor.create_model(model)
        story["fill"]()

    return [s for s in recorded(body) if s.startswith(("CREATE", "INSERT"))]


def request_statements(url):
    client = Client()
    client.cookies["sessionid"] = SESSION_KEY

    def body():
        response = client.get(url)
        assert response.status_code == 200, response.content

    return recorded(body)


def capture(story):
    """Setup, then each request alone, each on a fresh database."""
    result = {"setup": in_fresh_database(lambda: setup_statements(story))}
    result["sessions"] = {}
    for name, url in story["requests"].items():

        def body():
            setup_statements(story)
            return request_statements(url)

        result["sessions"][name] = in_fresh_database(body)
    return result


def capture_late():
    """get_or_create that comes too late: another one commits between its
    look-up and its INSERT, which the unique index then refuses."""

    def rival():
        UniqueTag.objects.get_or_create(slug="tea")
        connection.close()

    def before_insert(**kwargs):
        signals.pre_save.disconnect(before_insert, sender=UniqueTag)
        thread = threading.Thread(target=rival)
        thread.start()
        thread.join()

    def body():
        setup_statements(STORIES["get-or-create-fixed"])
        signals.pre_save.connect(before_insert, sender=UniqueTag)
        return request_statements("/tag-unique")

    return in_fresh_database(body)


# ---- The stories ---------------------------------------------------------


def make_session(**data):
    store = SessionStore()
    Session.objects.create(
        session_key=SESSION_KEY,
        session_data=store.encode(data),
        expire_date=store.get_expiry_date(),
    )


STORIES = {
    "session-cart": {
        "models": [Session],
        "fill": lambda: make_session(cart=["pen"]),
        "requests": {"tab1": "/session/tea", "tab2": "/session/mug"},
    },
    "session-cart-fixed": {
        "models": [Session, CartItem],
        "fill": lambda: (
            make_session(customer="dora"),
            CartItem.objects.create(session_key=SESSION_KEY, sku="pen"),
        ),
        "requests": {"tab1": "/item/tea", "tab2": "/item/mug"},
    },
    "counter": {
        "models": [Post],
        "fill": lambda: Post.objects.create(title="Hello", likes=0),
        "requests": {"ann": "/like", "ben": "/like"},
    },
    "counter-fixed": {
        "models": [Post],
        "fill": lambda: Post.objects.create(title="Hello", likes=0),
        "requests": {"ann": "/like-with-f", "ben": "/like-with-f"},
    },
    "get-or-create": {
        "models": [Tag],
        "fill": lambda: Tag.objects.create(slug="milk"),
        "requests": {"ann": "/tag", "ben": "/tag"},
    },
    "get-or-create-fixed": {
        "models": [UniqueTag],
        "fill": lambda: UniqueTag.objects.create(slug="milk"),
        "requests": {"ann": "/tag-unique", "ben": "/tag-unique"},
    },
}


def main():
    timezone.now = lambda: NOW
    captured = {name: capture(story) for name, story in STORIES.items()}
    late = capture_late()
    if sys.argv[1:] == ["--json"]:
        json.dump({"stories": captured, "late": late}, sys.stdout, indent=1)
        return
    for name, story in captured.items():
        print("==", name)
        for part, statements in [
            ("setup", story["setup"]),
            *story["sessions"].items(),
        ]:
            print("--", part)
            print(*statements, sep="\n")
        print()
    print("== get-or-create-fixed, when another one was faster")
    print(*late, sep="\n")


if __name__ == "__main__":
    main()
