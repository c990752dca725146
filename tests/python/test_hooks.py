# SPDX-License-Identifier: Apache-2.0
"""commit_hooks: what happens inside of TestCase is what happens in a
TransactionTestCase. Each scenario is run in both, and what it tells must be the
same, word for word."""

import unittest

import django
from django.db import IntegrityError, connections, transaction
from django.http import HttpResponse
from django.test import (
    Client,
    TestCase,
    TransactionTestCase,
    override_settings,
)
from django.test.utils import CaptureQueriesContext
from django.urls import path

from ledger.models import Entry, Line, SpecialEntry
from sqloom.django import commit_hooks

BOTH = {"default", "other"}
TOLD = []


def tell(*words):
    TOLD.append(" ".join(map(str, words)))


def hook(*words, using=None):
    """A hook that tells it, and what is there at that time."""
    def run():
        connection = connections[using or "default"]
        tell("hook", *words, "of", Entry.objects.using(using).count(),
             "atomic" if connection.in_atomic_block else "alone",
             connection.get_autocommit())
    transaction.on_commit(run, using=using)


def failing(error=ZeroDivisionError):
    def run():
        tell("hook fails")
        raise error("from a hook")
    transaction.on_commit(run)


def attempt(function, *args, **kwargs):
    """Tells how it ended; and that the connection is still usable."""
    try:
        function(*args, **kwargs)
    except Exception as error:
        tell("raised", type(error).__name__)
    else:
        tell("went well")
    tell(Entry.objects.count(), "entries")


def entry(name, **kwargs):
    return Entry.objects.create(name=name, **kwargs)


# The scenarios.

def outside_of_blocks():
    tell("before")
    hook("at once")
    tell("behind")


def behind_the_outermost_block():
    with transaction.atomic():
        hook("one")
        with transaction.atomic():
            entry("a")
            hook("two")
        tell("inner block ended")
        hook("three")
        tell("before the end")
    tell("outermost block ended")
    with transaction.atomic():
        hook("four")
    tell("and the next")


def dropped_with_a_savepoint():
    with transaction.atomic():
        hook("kept")
        attempt_block(lambda: hook("dropped"), ZeroDivisionError)
        sid = transaction.savepoint()
        hook("dropped, too")
        transaction.savepoint_rollback(sid)
        sid = transaction.savepoint()
        hook("kept, too")
        transaction.savepoint_commit(sid)
        with transaction.atomic(savepoint=False):
            hook("kept without a savepoint")
    tell("end")


def attempt_block(function, error, **kwargs):
    try:
        with transaction.atomic(**kwargs):
            entry("of the block that fails")
            function()
            raise error
    except error:
        tell("rolled back", Entry.objects.count())


def dropped_with_the_transaction():
    attempt_block(lambda: hook("never"), ZeroDivisionError)
    with transaction.atomic():
        hook("nor this")
        transaction.set_rollback(True)
    with transaction.atomic():
        hook("but this")
    tell("end")


def hooks_of_hooks():
    def outer():
        tell("outer hook")
        hook("at once, from a hook")
        with transaction.atomic():
            entry("made by a hook")
            hook("behind the block of a hook")
        tell("outer hook ends")

    with transaction.atomic():
        transaction.on_commit(outer)
        hook("second")
    tell("end")


def a_hook_fails():
    def block():
        with transaction.atomic():
            entry("stays")
            hook("first")
            failing()
            hook("never")
    attempt(block)
    with transaction.atomic():
        hook("of the next block")


def robust_hooks():
    def block():
        with transaction.atomic():
            transaction.on_commit(fails, robust=True)
            hook("behind a robust one")

    def fails():
        tell("robust hook fails")
        raise ValueError("told to the log only")

    attempt(block)
    transaction.on_commit(fails, robust=True)
    tell("end")


def a_deferred_constraint():
    def block():
        with transaction.atomic():
            hook("never")
            Line.objects.create(entry_id=987)
            tell("inserted")
        tell("not reached")
    attempt(block)
    with transaction.atomic():
        line = Line.objects.create(entry_id=988)
        line.entry = entry("in time")
        line.save()
        hook("repaired")
    tell(Line.objects.count(), "lines")


def a_deferred_constraint_outside_of_blocks():
    attempt(Line.objects.create, entry_id=987)
    tell(Line.objects.count(), "lines")
    attempt(Line.objects.create, entry=entry("there"))
    tell(Line.objects.count(), "lines")


def a_deferred_constraint_in_an_inner_block():
    def block():
        with transaction.atomic():
            with transaction.atomic():
                Line.objects.create(entry_id=987)
            tell("inner block ended well")
    attempt(block)


def constraints_after_a_commit():
    """One that is checked at once stays so behind a commit that checks."""
    with transaction.atomic():
        one = entry("one")
        Line.objects.create(entry=one, place=1)
    with transaction.atomic():
        attempt_inner(Line.objects.create, entry=one, place=1)
    if connections["default"].vendor == "postgresql":
        with transaction.atomic(), connections["default"].cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ledger_place DEFERRED")
            Line.objects.create(entry=one, place=1)
            Line.objects.filter(place=1).delete()
        with transaction.atomic():
            Line.objects.create(entry=one, place=1)
            attempt_inner(Line.objects.create, entry=one, place=1)
    tell(Line.objects.count(), "lines")


def attempt_inner(function, *args, **kwargs):
    def block():
        with transaction.atomic():
            function(*args, **kwargs)
    attempt(block)


def a_statement_fails_outside_of_blocks():
    entry("twice")
    attempt(entry, "twice")
    attempt(SpecialEntry.objects.create, name="twice")
    attempt(Entry.objects.bulk_create, [Entry(name="new"),
                                        Entry(name="twice")])
    with connections["default"].cursor() as cursor:
        attempt(cursor.execute, "SELECT nothing FROM nowhere")
    attempt(entry, "thrice")


def a_statement_fails_in_a_block():
    entry("twice")

    def block():
        with transaction.atomic():
            hook("never")
            try:
                entry("twice")
            except IntegrityError:
                tell("caught")
            entry("not reached on any database")
    attempt(block)

    def better():
        with transaction.atomic():
            attempt_inner(entry, "twice")
            hook("reached")
    attempt(better)


def durable_blocks():
    with transaction.atomic(durable=True):
        hook("of a durable block")

    def inside():
        with transaction.atomic():
            with transaction.atomic(durable=True):
                tell("not reached")
    attempt(inside)


def select_for_update():
    attempt(lambda: list(Entry.objects.select_for_update()))
    with transaction.atomic():
        tell(len(Entry.objects.select_for_update()))


def states():
    connection = connections["default"]
    tell(connection.in_atomic_block, transaction.get_autocommit())
    with transaction.atomic():
        tell(connection.in_atomic_block, transaction.get_autocommit())
        hook("states")
    tell(connection.in_atomic_block, transaction.get_autocommit())
    attempt(transaction.set_rollback, True)
    attempt(transaction.get_rollback)


def autocommit_off():
    transaction.set_autocommit(False)
    entry("one")
    attempt_on_commit()
    transaction.commit()
    entry("two")
    transaction.rollback()
    tell(Entry.objects.count())
    if connections["default"].vendor == "postgresql":
        # The sqlite3 module commits at the end of the block.
        with transaction.atomic():
            entry("three")
            hook("in a block")
        transaction.rollback()
        # A commit that fails has rolled back, and the next one begins.
        entry("of a commit that fails")
        Line.objects.create(entry_id=987)
        attempt(transaction.commit)
        entry("of the next")
        transaction.commit()
    transaction.rollback()
    transaction.set_autocommit(True)
    tell(Entry.objects.count())
    with transaction.atomic():
        hook("as usual")


def attempt_on_commit():
    try:
        hook("refused")
    except transaction.TransactionManagementError:
        tell("no hooks")


def commit_in_a_block():
    def block():
        with transaction.atomic():
            transaction.commit()
    attempt(block)


def the_connection_is_closed():
    connection = connections["default"]
    entry("kept")
    connection.close()
    tell(Entry.objects.count())
    with transaction.atomic():
        hook("after it was closed")


def closed_in_a_block():
    if connections["default"].vendor == "sqlite":
        return  # a database in memory is never closed

    def block():
        with transaction.atomic():
            entry("lost")
            hook("never")
            connections["default"].close()
            entry("not reached")
    attempt(block)
    with transaction.atomic():
        entry("kept")
        hook("in the next block")
    attempt(lambda: None)


def two_databases():
    with transaction.atomic():
        with transaction.atomic(using="other"):
            entry("a")
            Entry.objects.using("other").create(name="b")
            hook("default")
            hook("other", using="other")
        tell("the block on other ended")
        hook("other, at once", using="other")
    tell("the block on default ended")


def a_decorated_function():
    @transaction.atomic
    def function():
        hook("of a function")
        tell("in it")
    function()
    function()


def saved_by_two_statements():
    """A block without a savepoint, which is the outermost one all the same."""
    from django.db.models.signals import post_save

    def receiver(instance, **kwargs):
        hook("saved", instance)
    post_save.connect(receiver, sender=SpecialEntry)
    try:
        special = SpecialEntry.objects.create(name="special")
        tell("saved")
        special.delete()
    finally:
        post_save.disconnect(receiver, sender=SpecialEntry)


def iterated():
    for number in range(5):
        entry(f"entry {number}")
    for each in Entry.objects.order_by("name").iterator(chunk_size=2):
        with transaction.atomic():
            each.name += "!"
            each.save()
            hook(each)
    tell(*Entry.objects.order_by("name"))


def generated():
    """get_or_create() and its kin have blocks of their own."""
    attempt(Entry.objects.get_or_create, name="one")
    attempt(Entry.objects.update_or_create, name="one")
    entry("one more").delete()
    hook("end")


def place_order(request):
    with transaction.atomic():
        entry(request.GET["name"])
        hook("of a view")
        if "fail" in request.GET:
            Line.objects.create(entry_id=987)
    tell("view ends")
    return HttpResponse("placed")


urlpatterns = [path("order", place_order)]


@override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[])
def requests():
    client = Client(raise_request_exception=False)
    tell(client.get("/order", {"name": "one"}).status_code)
    tell(client.get("/order", {"name": "two", "fail": 1}).status_code)
    tell(Entry.objects.count())


def atomic_requests():
    connection = connections["default"]
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        requests()
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False


def wrapped_statements():
    def around(execute, sql, params, many, context):
        if sql != "BEGIN":  # SQLite: it is not really sent
            tell(sql.split()[0])
        return execute(sql, params, many, context)
    with connections["default"].execute_wrapper(around):
        with transaction.atomic():
            entry("one")
            with transaction.atomic():
                entry("two")
        entry("three")


def queries():
    connection = connections["default"]
    with CaptureQueriesContext(connection, ) as captured:
        with transaction.atomic():
            entry("one")
            with transaction.atomic():
                entry("two")
        entry("three")
        attempt_block(lambda: None, ZeroDivisionError)
        attempt(entry, "three")
    for query in captured:
        tell(str(query["sql"]).split()[0])


SCENARIOS = [
    outside_of_blocks, behind_the_outermost_block, dropped_with_a_savepoint,
    dropped_with_the_transaction, hooks_of_hooks, a_hook_fails, robust_hooks,
    a_deferred_constraint, a_deferred_constraint_outside_of_blocks,
    a_deferred_constraint_in_an_inner_block, constraints_after_a_commit,
    a_statement_fails_outside_of_blocks, a_statement_fails_in_a_block,
    durable_blocks, select_for_update, states, autocommit_off,
    commit_in_a_block, the_connection_is_closed, closed_in_a_block,
    two_databases, a_decorated_function, saved_by_two_statements, iterated,
    generated, requests, atomic_requests, wrapped_statements, queries,
]


class CommittedTestCase(TransactionTestCase):
    """What production does. Leaves the other tables alone."""

    databases = BOTH

    def _fixture_teardown(self):
        for alias in BOTH:
            for model in (Line, SpecialEntry, Entry):
                model.objects.using(alias).all().delete()


def run_case(base, body, decorate=lambda case: case, **members):
    """What a test tells that is the only one of its class."""
    del TOLD[:]
    case = decorate(type("Case", (base,), {
        "test": lambda self: body(), "databases": BOTH, **members}))
    result = unittest.TestResult()
    unittest.TestSuite([case("test")]).run(result)
    for _, traceback in result.errors + result.failures:
        raise AssertionError(traceback)
    assert result.testsRun == 1
    return list(TOLD)


class Comparison(CommittedTestCase):
    """Opens no transaction, and runs others."""

    def compare(self, scenario):
        expected = run_case(CommittedTestCase, scenario)
        for base, body, decorate in (
                (TestCase, scenario, commit_hooks),
                (TestCase, commit_hooks(scenario), lambda case: case),
                (CommittedTestCase, scenario, commit_hooks)):
            assert run_case(base, body, decorate) == expected
        assert Entry.objects.count() == 0


def comparison(scenario):
    def test(self):
        if scenario is robust_hooks and django.VERSION < (4, 2):
            self.skipTest("no robust hooks before Django 4.2")
        self.compare(scenario)
    return test


for scenario in SCENARIOS:
    setattr(Comparison, f"test_{scenario.__name__}", comparison(scenario))
del scenario
