# SPDX-License-Identifier: Apache-2.0
"""What calls of Django give and keep must not look like a race: generated keys,
times, random texts, caches that are filled by the first run."""

import functools
import threading
import uuid

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections, transaction
from django.db.models import F
from django.http import HttpResponse, JsonResponse
from django.test import RequestFactory
from django.utils import timezone

import sqloom
from shop.models import Account, Coupon, Item, Order, Profile

pytestmark = pytest.mark.django_db(transaction=True)


def test_instances_with_generated_keys():
    """Each gets the key that the order gives it."""
    def create(name):
        account = Account.objects.create(name=name)
        item = Item.objects.create(name=name)
        return Order.objects.create(account=account, item=item)

    report = sqloom.explore([(create, "ann"), (create, "bob")],
                            max_preemptions=2, max_runs=0)
    assert report.holds, report.text


def test_keys_alone():
    def create(name):
        return Account.objects.create(name=name).pk

    assert sqloom.explore([(create, "ann"), (create, "bob")]).holds


def test_rows_of_a_query_set():
    Item.objects.create(name="tea", stock=3)

    def take():
        Item.objects.filter(stock__gt=0).update(stock=1)
        return Item.objects.order_by("name")

    report = sqloom.explore([take] * 2)
    assert report.holds, report.text
    assert "Item.stock" in str(report.json["serials"])


def test_times_and_random_texts_are_masked():
    def create(name):
        user = User.objects.create(username=name, date_joined=timezone.now(),
                                   last_name=uuid.uuid4().hex[:20])
        return {"token": uuid.uuid4(), "at": timezone.now(), "user": user}

    report = sqloom.explore([(create, "ann"), (create, "bob")])
    assert report.holds, report.text


def test_caches_that_the_first_run_fills():
    """Content types are read once in a process."""
    ContentType.objects.clear_cache()
    keep = {}

    @functools.lru_cache(maxsize=None)
    def settings():
        return list(Group.objects.values_list("name", flat=True))

    def count(name):
        keep.setdefault("first", name)
        kind = ContentType.objects.get_for_model(Account)
        found = Permission.objects.filter(content_type=kind).count()
        Item.objects.filter(name="tea").update(stock=found)
        return settings()

    Item.objects.create(name="tea")
    report = sqloom.explore([(count, "one"), (count, "two")])
    assert report.holds, report.text
    assert report.explored == report.total


def test_answers_of_views():
    Coupon.objects.create(code="SPRING")
    factory = RequestFactory()

    def view(request):
        coupon = Coupon.objects.get(code=request.GET["code"])
        if coupon.used:
            return JsonResponse({"error": "used"}, status=409)
        coupon.used = True
        coupon.save()
        return JsonResponse({"ok": True, "id": coupon.pk})

    report = sqloom.explore([(view, factory.get("/?code=SPRING"))] * 2,
                            names=["ann", "bob"])
    assert report.broken
    finding = report.findings[0]
    assert finding.cls == "result"
    assert "status" in " ".join(d.where for d in finding.differences)
    serials = {tuple(s["outcome"]["results"]) for s in report.json["serials"]}
    assert all(any("409" in text for text in texts) for texts in serials)


def test_a_server_error_is_found_without_an_exception():
    def view(request):
        if Profile.objects.filter(note="x").exists():
            return HttpResponse("there")
        user = User.objects.first()
        try:
            Profile.objects.create(user=user, note="x")
        except Exception as error:
            return HttpResponse(type(error).__name__, status=500)
        return HttpResponse("there")

    User.objects.create(username="ann")
    request = RequestFactory().get("/")
    report = sqloom.explore([(view, request)] * 2)
    assert report.broken
    assert report.findings[0].cls == "error"
    assert "integrity error" in report.findings[0].title
    [end] = [event for event in report.findings[0].events
             if event.kind == "end" and not event.ok]
    assert end.error == "HTTP 500: IntegrityError"


def test_a_call_that_always_fails_shows_its_traceback():
    def wrong():
        Account.objects.get(nane="ann")

    with pytest.raises(sqloom.CallError) as caught:
        sqloom.explore([wrong, wrong])
    assert "FieldError: Cannot resolve keyword 'nane'" in str(caught.value)
    assert "in wrong\n" in str(caught.value)


def test_coroutines_that_use_the_orm():
    sync = pytest.importorskip("asgiref.sync")
    account = Account.objects.create(name="ann", balance=100)

    @sync.sync_to_async
    def deposit():
        mine = Account.objects.get(pk=account.pk)
        mine.balance += 10
        mine.save()

    async def call():
        await deposit()

    assert sqloom.explore([call] * 2, max_runs=3).broken


def test_a_view_that_closes_its_connection():
    """Also in the middle of a transaction; the next statement opens another."""
    account = Account.objects.create(name="ann", balance=100)

    def withdraw(in_block):
        Account.objects.filter(pk=account.pk).update(balance=F("balance") - 1)
        if in_block:
            with pytest.raises(Exception, match="."), transaction.atomic():
                Account.objects.filter(pk=account.pk).update(balance=0)
                connection.close()
                Account.objects.count()
        connection.close()
        connections.close_all()
        return Account.objects.filter(balance__lt=0).count()

    for in_block in (False, True):
        report = sqloom.explore([(withdraw, in_block)] * 2, max_runs=50)
        assert not report.broken, report.text
        assert report.explored, report.text
    assert Account.objects.get().balance == 100


def test_a_thread_of_a_view_that_is_not_joined():
    Account.objects.create(name="ann", balance=100)
    go_on = threading.Event()
    threads = []

    def late():
        go_on.wait(20)
        connections.close_all()

    def withdraw():
        Account.objects.update(balance=F("balance") - 1)
        threads.append(threading.Thread(target=late))
        threads[-1].start()

    with pytest.warns(RuntimeWarning, match=r"late\(\)"):
        report = sqloom.explore([withdraw] * 2)
    go_on.set()
    for thread in threads:
        thread.join()
    assert report.holds, report.text
    assert "late()" in report.notes[-1]


def test_isolation_is_djangos_own_business():
    with pytest.raises(sqloom.UsageError, match="set it in DATABASES"):
        sqloom.explore([print] * 2, isolation="serializable")
