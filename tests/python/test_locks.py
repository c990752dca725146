# SPDX-License-Identifier: Apache-2.0
"""require_lock: the lock is there while the function runs, others wait or are
told; and calls that race without it do not with it."""

import contextlib
import threading

import pytest
from django.db import (
    OperationalError,
    connection,
    connections,
    transaction,
)
from django.test import override_settings

import sqloom
from ledger.models import Entry, Line, SpecialEntry
from shop.models import Account
from sqloom.django import LockTimeout, commit_hooks, require_lock
from sqloom.errors import UsageError

MODES = ["ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE",
         "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE",
         "ACCESS EXCLUSIVE"]

only_postgresql = pytest.mark.usefixtures("need_postgresql")
only_sqlite = pytest.mark.usefixtures("need_sqlite")


@pytest.fixture
def need_postgresql(on_postgresql):
    if not on_postgresql:
        pytest.skip("about PostgreSQL")


@pytest.fixture
def need_sqlite(on_postgresql):
    if on_postgresql:
        pytest.skip("about SQLite")


def held_locks():
    """PostgreSQL: the locks of this session on tables of the application."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, l.mode FROM pg_locks l "
            "JOIN pg_class c ON c.oid = l.relation "
            "WHERE l.pid = pg_backend_pid() AND l.granted "
            "AND c.relname LIKE 'ledger%' AND c.relkind = 'r'")
        return {name: mode.replace("Lock", "") for name, mode in cursor}


class Elsewhere:
    """A thread with connections of its own, that does what it is told."""

    def __init__(self):
        self._told, self._done = threading.Event(), threading.Event()
        self._thread = None
        self.error = None

    def start(self, function):
        def run():
            try:
                function(self)
            except BaseException as error:
                self.error = error
            finally:
                self._done.set()
                connections.close_all()
        self._thread = threading.Thread(target=run)
        self._thread.start()
        assert self._done.wait(30)
        if self.error:
            self._thread.join(30)
            raise self.error

    def pause(self):
        """On the thread: there until the block of elsewhere() ends."""
        self._done.set()
        self._told.wait(60)

    def end(self):
        self._told.set()
        if self._thread:
            self._thread.join(30)
            assert not self._thread.is_alive()


@contextlib.contextmanager
def elsewhere(function):
    there = Elsewhere()
    try:
        there.start(function)
        yield there
    finally:
        there.end()


def run_elsewhere(function):
    """What it returns, on another thread."""
    results = []
    with elsewhere(lambda there: results.append(function())):
        return results[0]


# What is locked.

@only_postgresql
@pytest.mark.django_db
@pytest.mark.parametrize("mode", MODES)
def test_modes(mode):
    @require_lock(Entry, mode)
    def locked():
        return held_locks()
    assert locked() == {
        "ledger_entry": "".join(map(str.capitalize, mode.split()))}


@pytest.mark.parametrize("mode", ["access_exclusive", "Access  Exclusive",
                                  "row_share"])
def test_spelling_of_modes(mode):
    require_lock(Entry, mode)


@pytest.mark.parametrize("mode", ["", "SHARED", "EXCLUSIVE; DROP TABLE x"])
def test_unknown_modes(mode):
    with pytest.raises(UsageError, match="they are ACCESS SHARE, ROW SHARE"):
        require_lock(Entry, mode)


@pytest.mark.parametrize("models", [3, [], Entry.objects, [Entry, None]])
def test_what_is_no_model(models):
    with pytest.raises((UsageError, TypeError)):
        require_lock(models)


@pytest.mark.parametrize("name", ["Entry", "nowhere.Entry", "ledger.Nope"])
def test_models_that_are_not_there(name):
    with pytest.raises(UsageError, match=f"no model '{name}'.*app_label"):
        require_lock(name).__enter__()


@pytest.mark.parametrize("timeout", [-1, float("nan"), 1e12])
def test_wrong_timeouts(timeout):
    with pytest.raises(UsageError, match="seconds"):
        require_lock(Entry, timeout=timeout)


@only_postgresql
@pytest.mark.django_db
def test_several_models_in_one_order(django_assert_num_queries):
    statements = []

    def watch(execute, sql, params, many, context):
        statements.append(sql)
        return execute(sql, params, many, context)
    for models in ([Line, Entry, SpecialEntry], [SpecialEntry, Entry, Line],
                   ["ledger.Entry", Line, "ledger.specialentry", Entry]):
        with connection.execute_wrapper(watch), require_lock(models, "share"):
            assert len(held_locks()) == 3
    locks = [sql for sql in statements if sql.startswith("LOCK")]
    assert locks == [
        'LOCK TABLE "ledger_entry", "ledger_line", "ledger_specialentry" '
        "IN SHARE MODE"] * 3


@pytest.mark.committing
def test_shapes():
    """A decorator with arguments and results, a block, one in the other."""
    lock = require_lock(Entry, "EXCLUSIVE")

    @lock
    def add(name, *, loud=False):
        "Documented."
        assert connection.in_atomic_block
        return Entry.objects.create(name=name.upper() if loud else name)

    assert add("a", loud=True).name == "A"
    assert add.__name__ == "add" and add.__doc__ == "Documented."
    with lock:
        with lock:
            add("b")
        assert connection.in_atomic_block
    assert not connection.in_atomic_block
    assert Entry.objects.count() == 2

    class Service:
        @lock
        def run(self, name):
            return add(name)
    assert Service().run("c").pk


@pytest.mark.committing
def test_exceptions_roll_back():
    @require_lock(Entry)
    def add():
        Entry.objects.create(name="never")
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        add()
    assert not Entry.objects.exists()
    assert not connection.in_atomic_block
    with pytest.raises(ZeroDivisionError), require_lock(Entry):
        Entry.objects.create(name="never")
        raise ZeroDivisionError
    assert not Entry.objects.exists()


def test_async_functions_and_generators():
    with pytest.raises(UsageError, match="sync_to_async"):
        @require_lock(Entry)
        async def coroutine():
            pass
    with pytest.raises(UsageError, match="generator"):
        @require_lock(Entry)
        def generator():
            yield


class ToOther:
    def db_for_write(self, model, **hints):
        return "other" if model is Line else None


@pytest.mark.committing(databases=["default", "other"])
@override_settings(DATABASE_ROUTERS=[f"{__name__}.ToOther"])
def test_database():
    with require_lock(Line):
        assert connections["other"].in_atomic_block
        assert not connection.in_atomic_block
    with require_lock(Line, using="default"):
        assert connection.in_atomic_block
    with pytest.raises(UsageError, match="in several databases .default, oth"):
        require_lock([Line, Entry]).__enter__()
    with require_lock([Line, Entry], using="default"):
        pass
    with pytest.raises(UsageError, match="no alias 'otter' .* 'default'"):
        require_lock(Line, using="otter").__enter__()


@pytest.mark.committing
def test_other_kinds_of_databases(monkeypatch):
    monkeypatch.setattr(connection, "vendor", "mysql", raising=False)
    with pytest.raises(UsageError) as refused:
        require_lock(Entry).__enter__()
    assert "'default' is mysql" in str(refused.value)
    assert "select_for_update()" in str(refused.value)


# Others.

def hold(lock):
    def function(there):
        with lock:
            there.pause()
    return function


@pytest.mark.committing
@pytest.mark.parametrize("timeout", [0, 0.05])
def test_timeout(timeout):
    ran = []
    lock = require_lock(Entry, "SHARE ROW EXCLUSIVE", timeout=timeout)
    with elsewhere(hold(lock)):
        with pytest.raises(LockTimeout) as failed:
            lock(lambda: ran.append("never"))()
        message = str(failed.value)
        assert "ledger_entry" in message and "'default'" in message
        assert f"in {timeout} s" in message
        assert failed.value.__cause__ is not None
        assert isinstance(failed.value, OperationalError)
        assert not connection.in_atomic_block
        Entry.objects.exists()
    with lock:
        Entry.objects.create(name="got it")
    assert ran == []


@only_postgresql
@pytest.mark.committing
def test_timeout_inside_of_a_transaction():
    """The transaction is still usable, and what it has set is as it was."""
    lock = require_lock(Entry, "SHARE ROW EXCLUSIVE", timeout=0.05)

    def setting():
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            return cursor.fetchone()[0]

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '7s'")
        with elsewhere(hold(lock)):
            with pytest.raises(LockTimeout):
                lock.__enter__()
            assert setting() == "7s"
            Account.objects.create(name="still usable")
        with lock:
            assert setting() == "7s"
    assert setting() == "0"
    assert Account.objects.filter(name="still usable").exists()


@only_postgresql
@pytest.mark.committing
def test_timeout_of_the_session():
    """Without timeout= that counts, and is told as the same."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '50ms'")
        with elsewhere(hold(require_lock(Entry))):
            with pytest.raises(LockTimeout, match="ACCESS EXCLUSIVE mode: "):
                require_lock(Entry).__enter__()


@only_postgresql
@pytest.mark.committing
def test_modes_that_do_not_conflict():
    with elsewhere(hold(require_lock(Entry, "SHARE"))):
        with require_lock(Entry, "SHARE", timeout=0):
            Entry.objects.exists()
        with pytest.raises(LockTimeout):
            require_lock(Entry, "ROW EXCLUSIVE", timeout=0).__enter__()


@only_sqlite
@pytest.mark.committing
def test_begins_immediately(settings):
    """Nobody else writes from the begin on, and everybody reads."""
    statements = []

    def watch(execute, sql, params, many, context):
        statements.append(sql)
        return execute(sql, params, many, context)
    with connection.execute_wrapper(watch):
        with require_lock(Entry):
            assert run_elsewhere(Entry.objects.count) == 0
            with pytest.raises(LockTimeout):
                run_elsewhere(
                    lambda: require_lock(Account, timeout=0).__enter__())
        with transaction.atomic():
            pass
    assert [sql for sql in statements if sql.startswith("BEGIN")] == [
        "BEGIN IMMEDIATE", "BEGIN"]


@only_sqlite
@pytest.mark.committing
def test_busy_timeout_is_put_back():
    def busy_timeout():
        with connection.cursor() as cursor:
            return cursor.execute("PRAGMA busy_timeout").fetchone()[0]
    before = busy_timeout()
    with require_lock(Entry, timeout=0.25):
        assert busy_timeout() == before
    with elsewhere(hold(require_lock(Entry))):
        with pytest.raises(LockTimeout):
            require_lock(Entry, timeout=0).__enter__()
    assert busy_timeout() == before


@only_sqlite
@pytest.mark.committing
def test_inside_of_a_transaction_on_sqlite():
    """It is taken by a statement that writes nothing, if that is possible."""
    with transaction.atomic():
        with require_lock(Entry, timeout=0):
            with pytest.raises(LockTimeout):
                run_elsewhere(
                    lambda: require_lock(Entry, timeout=0).__enter__())
    with transaction.atomic():
        Entry.objects.count()
        with elsewhere(hold(require_lock(Entry))):
            with pytest.raises(LockTimeout, match="has read what another"):
                require_lock(Entry, timeout=0).__enter__()
        Entry.objects.count()
    with require_lock(Entry, timeout=0):
        pass


# In tests that are rolled back.

@pytest.mark.django_db
def test_inside_of_a_test_that_is_rolled_back(on_postgresql):
    @require_lock(Entry, "EXCLUSIVE", timeout=1)
    def add():
        Entry.objects.create(name="one")
        return held_locks() if on_postgresql else None
    locks = add()
    assert not on_postgresql or locks["ledger_entry"] in ("Exclusive",
                                                          "RowExclusive")
    assert Entry.objects.count() == 1


@pytest.mark.django_db
@commit_hooks
def test_with_commit_hooks():
    ran = []

    @require_lock(Entry, "EXCLUSIVE", timeout=1)
    def add():
        Entry.objects.create(name="one")
        transaction.on_commit(lambda: ran.append(Entry.objects.count()))
    add()
    assert ran == [1]


# What it is for. Each of the two fails when the lock is taken away.

def deposit(amount):
    """Reads, computes, writes."""
    account = Account.objects.get(name="ann")
    account.balance += amount
    account.save()
    return "deposited"


def explore_deposits(function):
    Account.objects.create(name="ann")
    return sqloom.explore([(function, 1), (function, 2)])


@pytest.mark.committing
@pytest.mark.parametrize("mode", ["SHARE ROW EXCLUSIVE", "EXCLUSIVE",
                                  "ACCESS EXCLUSIVE"])
def test_race_is_gone(mode):
    report = explore_deposits(require_lock("shop.Account", mode)(deposit))
    assert report.holds, report.text
    assert report.explored == report.total


@pytest.mark.committing
def test_race_without_the_lock():
    report = explore_deposits(deposit)
    assert report.broken
    assert "lost update" in report.findings[0].title


@only_postgresql
@pytest.mark.committing
def test_race_with_a_lock_that_is_too_weak():
    """SHARE is held by both at once; then they wait for each other."""
    report = explore_deposits(require_lock(Account, "SHARE")(deposit))
    assert report.broken
    assert "deadlock" in report.text.lower()


@pytest.mark.committing
def test_crosswise_models_do_not_deadlock():
    @require_lock([Account, Entry], "EXCLUSIVE")
    def one():
        Entry.objects.create(name="one")

    @require_lock([Entry, Account], "EXCLUSIVE")
    def two():
        Account.objects.create(name="two")
    report = sqloom.explore([one, two])
    assert report.holds, report.text


@pytest.mark.committing
def test_threads():
    """Free running: each of them finds what the one before has left."""
    Account.objects.create(name="ann")
    deposits = require_lock(Account, "EXCLUSIVE", timeout=30)(deposit)
    barrier = threading.Barrier(4)

    def run():
        barrier.wait(30)
        try:
            for _ in range(5):
                deposits(1)
        finally:
            connections.close_all()
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert Account.objects.get(name="ann").balance == 20
