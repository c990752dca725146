# SPDX-License-Identifier: Apache-2.0
"""Exploring functions that use Django's ORM: what is found, what holds, and
what is left behind."""

import functools
import re
import types

import pytest
from django.db import close_old_connections, connection, transaction
from django.db.backends.signals import connection_created
from explored import calls

import sqloom
from shop.models import Account, Coupon, Membership

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ann():
    return Account.objects.create(name="ann", balance=1)


def both(function, *args):
    """Two calls of the same function, with different amounts."""
    return [(function, *args, 10), (function, *args, 20)]


# ---- Found, and held --------------------------------------------------------


def test_lost_update_is_found_at_once(ann):
    report = sqloom.explore(both(calls.deposit, ann.pk), max_runs=3)
    assert report.broken, report.text
    assert report.explored <= 3
    assert "lost update" in report.findings[0].title


@pytest.mark.parametrize("function", [
    calls.deposit, calls.deposit_atomic, calls.deposit_in_database,
    calls.deposit_locked])
def test_deposits_in_all_orders(ann, on_postgresql, function):
    report = sqloom.explore(both(function, ann.pk))
    broken = function is calls.deposit or (
        function is calls.deposit_atomic and on_postgresql)
    assert report.verdict == ("broken" if broken else "holds"), report.text
    assert report.explored == report.total
    # SQLite has no SELECT FOR UPDATE: one of the two is told to try again.
    retries = sum(f.count for f in report.outcomes if f.cls == "retry")
    takes_turns = on_postgresql or function in (calls.deposit,
                                                calls.deposit_in_database)
    assert bool(retries) != takes_turns, report.text


def rise(account):
    change(account, 1)


def change(account, amount):
    account.balance += amount
    account.save()


def test_each_call_has_an_instance_of_its_own(ann):
    """What a run did to one would be there in the next, where it would look like
    a random value. It was read before the calls, so each order loses one."""
    report = sqloom.explore(both(change, ann))
    assert report.holds, report.text
    assert "equal serial runs" not in report.text
    assert "instance" in report.text
    assert ann.balance == 1
    report = sqloom.explore([types.MethodType(rise, ann)] * 2)
    assert report.holds and ann.balance == 1
    assert "equal serial runs" not in report.text


def test_check_then_act_without_a_check():
    Coupon.objects.get_or_create(code="WELCOME")
    report = sqloom.explore([(calls.redeem, "WELCOME")] * 2, max_runs=5)
    assert report.broken, report.text
    assert report.findings[0].cls in ("contents", "result")


def test_unique_violation(ann):
    report = sqloom.explore([(calls.join, ann.pk, "chess")] * 2)
    assert report.broken, report.text
    assert "IntegrityError" in report.text


def test_get_or_create_in_a_savepoint(ann, on_postgresql):
    report = sqloom.explore([(calls.join_safely, ann.pk, "chess")] * 2,
                            max_preemptions=None if on_postgresql else 2)
    assert report.holds, report.text
    assert report.explored == report.total


def test_savepoint_that_is_rolled_back(ann):
    Membership.objects.create(account=ann, club="go")
    report = sqloom.explore([(calls.audit, ann.pk, "chess")] * 2)
    assert report.holds, report.text
    assert report.explored > 1


def test_names_of_savepoints(ann):
    """The same in every run, whatever was run before."""
    report = sqloom.explore([(calls.audit, ann.pk, "chess"), (create, "bob")],
                            lambda: False, max_runs=5)
    names = re.findall(r'SAVEPOINT "?(\w+)', report.text)
    assert set(names) == {"s_x1"}


def test_does_not_exist(ann):
    report = sqloom.explore([(calls.close_account, ann.pk),
                             (calls.rename, ann.pk, "bob")])
    assert report.broken, report.text
    assert "DoesNotExist" in report.text


# ---- What the calls see, and leave ------------------------------------------


def rows():
    return list(Account.objects.order_by("pk").values_list())


def test_the_database_is_as_before(ann):
    before = rows()
    sqloom.explore(both(calls.deposit, ann.pk))
    assert rows() == before
    new = Account.objects.create(name="bob")
    assert new.pk == ann.pk + 1


def create(name):
    return Account.objects.create(name=name).name


def test_generated_keys_go_back(ann):
    report = sqloom.explore([(create, "bob"), (create, "carol")])
    assert report.holds, report.text
    assert [row[1] for row in rows()] == ["ann"]
    assert Account.objects.create(name="dave").pk == ann.pk + 1


def test_check_sees_the_explored_database(ann):
    seen = set()

    def check():
        ann.refresh_from_db()
        seen.add(ann.balance)
        assert ann.balance in (31, 11, 21)

    report = sqloom.explore(both(calls.deposit, ann.pk), check)
    assert report.broken
    assert seen == {31, 11, 21}
    ann.refresh_from_db()
    assert ann.balance == 1


def test_check_that_fails(ann):
    def check():
        assert Account.objects.get(pk=ann.pk).balance > 30, "money is gone"

    report = sqloom.explore(both(calls.deposit, ann.pk), check)
    assert report.findings[0].cls == "check"
    assert "money is gone" in report.text


def test_check_that_leaves_a_transaction_open(ann):
    def check():
        transaction.set_autocommit(False)
        Account.objects.all().delete()

    report = sqloom.explore(both(calls.deposit_in_database, ann.pk), check)
    assert report.holds, report.text
    assert connection.get_autocommit()
    assert len(rows()) == 1


def test_setup_by_orm(ann):
    def setup():
        Account.objects.filter(pk=ann.pk).update(balance=100)
        Coupon.objects.create(code="SPRING")

    def check():
        assert Account.objects.get(pk=ann.pk).balance == 130
        assert Coupon.objects.filter(code="SPRING").exists()

    report = sqloom.explore(both(calls.deposit_in_database, ann.pk), check,
                            setup=setup)
    assert report.holds, report.text


def test_threads_of_the_test_have_their_own(ann):
    """What the test asks behind an exploration is its own connection."""
    mine = connection.connection
    assert mine is not None
    sqloom.explore(both(calls.deposit, ann.pk), max_runs=2)
    assert connection.connection is mine


# ---- Connections ------------------------------------------------------------


def test_connections_are_kept(ann):
    made = []

    def count(**kwargs):
        made.append(kwargs["connection"].alias)

    connection_created.connect(count)
    try:
        report = sqloom.explore(
            both(calls.deposit, ann.pk),
            lambda: Account.objects.get(pk=ann.pk) is not None)
    finally:
        connection_created.disconnect(count)
    assert report.explored > 3
    # Two calls, and the check; a server may end one.
    assert len(made) <= 4


def deposit_and_close_old(pk, amount):
    """As threads do that are not those of requests."""
    close_old_connections()
    said = calls.deposit(pk, amount)
    close_old_connections()
    return said


def test_old_connections_are_young(ann):
    """CONN_MAX_AGE is 0 by default."""
    made = []

    def count(**kwargs):
        made.append(kwargs["connection"].alias)

    connection_created.connect(count)
    try:
        report = sqloom.explore(both(deposit_and_close_old, ann.pk))
    finally:
        connection_created.disconnect(count)
    assert report.broken, report.text
    assert len(made) <= 3


def deposit_and_forget(pk, amount):
    """Nothing of it is committed."""
    transaction.set_autocommit(False)
    calls.deposit_in_database(pk, amount)
    return connection.in_atomic_block


def test_transactions_that_calls_leave_open(ann):
    """The next run begins with a connection that is in none."""
    report = sqloom.explore([(deposit_and_forget, ann.pk, 10),
                             (create, "bob")],
                            lambda: Account.objects.get(pk=ann.pk).balance == 1)
    assert not report.broken, report.text
    assert report.explored > 1


def count_accounts():
    with transaction.atomic():
        with transaction.atomic():
            names = [a.name for a in Account.objects.all().iterator()]
    calls.deposit(1000, 1) if not names else None
    return names


def test_replay_in_every_run(ann):
    """Names of savepoints and cursors are the same each time."""
    pair = [functools.partial(count_accounts), (create, "bob")]
    report = sqloom.explore(pair, lambda: False)
    token = report.findings[0].token
    for _ in range(5):
        again = sqloom.replay(token, pair, lambda: False)
        assert again.broken, again.text


# ---- Caches of the process --------------------------------------------------


known = {}


def redeem_by_cached_key(code):
    """The key is looked up once in the life of the process."""
    if code not in known:
        known[code] = Coupon.objects.get(code=code).pk
    return Coupon.objects.filter(pk=known[code], used=False).update(used=True)


def test_caches_are_warmed_up():
    Coupon.objects.create(code="SPRING")
    known.clear()
    report = sqloom.explore([(redeem_by_cached_key, "SPRING")] * 2)
    assert report.holds, report.text
    assert not any("SELECT" in event.sql for outcome in report.outcomes
                   for event in outcome.events)
    known.clear()
