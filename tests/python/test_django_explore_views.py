# SPDX-License-Identifier: Apache-2.0
"""Exploring requests of Django's test client, and what views do to
connections."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections, transaction
from django.db.backends.signals import connection_created
from django.test import Client, RequestFactory
from explored import calls, views

import sqloom
from shop.models import Account, Coupon

pytestmark = [pytest.mark.django_db(transaction=True),
              pytest.mark.urls("explored.urls")]


@pytest.fixture
def ann():
    return Account.objects.create(name="ann", balance=1)


@pytest.fixture
def coupon():
    return Coupon.objects.create(code="SPRING")


def gets(*urls):
    client = Client()
    return [(client.get, url) for url in urls]


def test_view(ann):
    report = sqloom.explore(gets(f"/deposit/{ann.pk}/10",
                                 f"/deposit/{ann.pk}/20"))
    assert report.broken, report.text
    assert "lost update" in report.findings[0].title


def test_view_that_closes_its_connection(ann):
    report = sqloom.explore(gets(f"/closing/{ann.pk}/10",
                                 f"/closing/{ann.pk}/20"))
    assert report.broken, report.text
    assert connection.connection is not None


def test_atomic_requests(ann, on_postgresql, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    report = sqloom.explore(gets(f"/deposit/{ann.pk}/10",
                                 f"/deposit/{ann.pk}/20"))
    assert "BEGIN" in "".join(
        event.sql.upper() for f in report.outcomes for event in f.events)
    # SQLite refuses the second writer.
    assert report.verdict == ("broken" if on_postgresql else "holds")


def test_view_with_a_pool(ann, coupon):
    report = sqloom.explore(gets(*[f"/pool/{ann.pk}/SPRING"] * 2))
    assert report.broken, report.text


def test_a_pool_is_the_same_each_time(ann, coupon):
    """Its threads come one after another, so a schedule can be repeated."""
    pair = gets(*[f"/pool/{ann.pk}/SPRING"] * 2)
    reports = [sqloom.explore(pair) for _ in range(3)]
    assert {(report.wrong, report.explored, report.total)
            for report in reports} == {
                (reports[0].wrong, reports[0].total, reports[0].total)}
    for _ in range(5):
        again = sqloom.replay(reports[0].findings[0].token, pair)
        assert again.broken, again.text


def test_threads_that_wait_for_each_other(ann):
    """A task that needs its call, or the next task, is not waited for."""
    def call():
        met = threading.Barrier(3)

        def task(amount):
            met.wait(30)
            return calls.deposit_in_database(ann.pk, amount)

        with ThreadPoolExecutor(2) as threads:
            said = [threads.submit(task, amount) for amount in (1, 2)]
            met.wait(30)
            return [one.result() for one in said]

    report = sqloom.explore([call, call], max_runs=5)
    assert not report.broken, report.text
    assert report.explored


def test_a_pool_inside_of_a_transaction(ann):
    """Its task would wait for the lock of its call."""
    def call(amount):
        with ThreadPoolExecutor(1) as threads:
            with transaction.atomic():
                Account.objects.filter(pk=ann.pk).update(balance=amount)
                said = threads.submit(calls.redeem, "SPRING")
            return said.result()

    Coupon.objects.create(code="SPRING")
    report = sqloom.explore([(call, 1), (call, 2)], max_runs=5)
    assert report.explored


@pytest.fixture
def lasting_pool():
    """Its threads' connections are closed in the end, as the view's are not."""
    yield
    both = threading.Barrier(2)

    def close():
        both.wait(10)
        connections.close_all()

    for future in [views.pool.submit(close) for _ in range(2)]:
        future.result()


def test_view_with_a_lasting_pool(lasting_pool, coupon):
    """Its threads have had connections before, and have them again."""
    client = Client()
    assert client.get("/lasting/SPRING").status_code == 200
    Coupon.objects.update(used=False)
    report = sqloom.explore(gets(*["/lasting/SPRING"] * 2))
    assert report.broken, report.text
    assert not Coupon.objects.get().used
    assert client.get("/lasting/SPRING").status_code == 200
    assert client.get("/lasting/SPRING").status_code == 403


def test_threads_of_pools_share_connections(ann, coupon):
    """A new thread in each run, and a new connection for none of them."""
    made = []

    def count(**kwargs):
        made.append(kwargs["connection"])

    connection_created.connect(count)
    try:
        report = sqloom.explore(gets(*[f"/pool/{ann.pk}/SPRING"] * 2),
                                max_runs=20)
    finally:
        connection_created.disconnect(count)
    assert report.explored > 5
    assert len(made) <= 8


# ---- The test client --------------------------------------------------------


def test_cookies_are_those_of_the_run(ann):
    """A session that a run has begun is not there in the next one."""
    client = Client()
    report = sqloom.explore([(client.get, "/visit"), (client.get, "/visit")],
                            max_runs=10)
    assert not report.broken, report.text
    assert not client.cookies
    assert "visits 1" in str(report.json)
    assert "visits 2" not in str(report.json)


def test_a_session_of_the_test_is_there_in_all_runs(ann):
    client = Client()
    assert client.get("/visit").content == b"visits 1"
    report = sqloom.explore([(client.get, "/visit"), (client.get, "/visit")])
    # The session that loses a key: both say 2.
    assert report.broken, report.text
    assert client.get("/visit").content == b"visits 2"


def test_exceptions_are_told_to_their_own_client(ann, on_postgresql):
    """Each call has its own error, and nobody else's."""
    def whole(url):
        try:
            return Client().get(url).status_code
        except ZeroDivisionError:
            return "divided by zero"

    report = sqloom.explore([(whole, f"/divide/{ann.pk}/0"),
                             (whole, f"/divide/{ann.pk}/1")])
    assert report.holds, report.text
    assert report.explored > 1


def test_templates_are_told_to_their_own_client(ann):
    client = Client()

    def names(url):
        response = client.get(url)
        return [template.name for template in response.templates]

    report = sqloom.explore([(names, f"/template/{ann.pk}/x"),
                             (names, f"/template/{ann.pk}/y")])
    assert report.holds, report.text
    assert report.explored > 1


def test_clients_are_as_before(ann):
    before = vars(RequestFactory).copy()
    sqloom.explore(gets("/visit", "/visit"), max_runs=1)
    assert vars(RequestFactory) == before
