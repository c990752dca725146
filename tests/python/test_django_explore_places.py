# SPDX-License-Identifier: Apache-2.0
"""Which databases can be explored from Django, which are refused and in what
words, several aliases; and connection strings."""

import contextlib
import os
import sqlite3
import threading

import pytest
from django.db import connection, connections, transaction
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLiteWrapper
from explored import calls

import sqloom
from shop.models import Account
from sqloom.django import _places
from sqloom.django._databases import leading

both = pytest.mark.django_db(transaction=True, databases=["default", "other"])
committing = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ann():
    return Account.objects.create(name="ann", balance=1)


@pytest.fixture
def alias(request):
    """A function that adds an alias for the time of the test."""
    added = []

    def add(name, **settings):
        made = {**connections.databases["default"], **settings}
        connections.databases[name] = made
        added.append(name)
        return name

    yield add
    for name in added:
        connections[name].close()
        del connections[name]
        del connections.databases[name]


def pair(pk, using="default"):
    return [(calls.deposit, pk, 10, using), (calls.deposit, pk, 20, using)]


# ---- Refusals ---------------------------------------------------------------


@pytest.mark.django_db
def test_inside_of_a_test_case_that_rolls_back():
    account = Account.objects.create(name="ann")
    with pytest.raises(sqloom.UsageError) as caught:
        sqloom.explore(pair(account.pk))
    for word in ("'default'", "CommittingTestCase", "committing",
                 "django_db(transaction=True)", "atomic()"):
        assert word in str(caught.value)
    assert Account.objects.get().name == "ann"  # it goes on


@committing
def test_inside_of_atomic(ann):
    with transaction.atomic(), pytest.raises(sqloom.UsageError,
                                             match="transaction is open"):
        sqloom.explore(pair(ann.pk))
    assert sqloom.explore(pair(ann.pk), max_runs=3).broken


@committing
def test_without_autocommit(ann):
    transaction.set_autocommit(False)
    try:
        with pytest.raises(sqloom.UsageError, match="transaction is open"):
            sqloom.explore(pair(ann.pk))
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)


@committing
def test_alias_that_is_not_there():
    with pytest.raises(sqloom.UsageError) as caught:
        sqloom.explore(pair(1), using="others")
    assert "'others'" in str(caught.value)
    assert "'default' and 'other'" in str(caught.value)


@committing
def test_alias_that_the_test_may_not_use():
    with pytest.raises(sqloom.UsageError, match="'other'"):
        sqloom.explore(pair(1), using="other")


@committing
@pytest.mark.parametrize("vendor, name", [("mysql", "MySQL"),
                                          ("oracle", "Oracle")])
def test_other_kinds_of_databases(alias, monkeypatch, vendor, name):
    alias("third")
    monkeypatch.setattr(connections["third"], "vendor", vendor, raising=False)
    monkeypatch.setattr(connections["third"], "display_name", name,
                        raising=False)
    with pytest.raises(sqloom.UsageError) as caught:
        sqloom.explore(pair(1), using="third")
    assert f"'third' is of {name}" in str(caught.value)
    assert "PostgreSQL and SQLite" in str(caught.value)


@committing
def test_production(alias, on_postgresql):
    if not on_postgresql:
        pytest.skip("an SQLite file is never written")
    alias("live", NAME="shop")
    with pytest.raises(sqloom.UsageError) as caught:
        sqloom.explore(pair(1), using="live")
    for word in ("'live'", '"shop"', "no \"test\"", "any_database=True"):
        assert word in str(caught.value)
    with leading("live", any_database=True) as led:
        assert led.options["any_database"]
        assert "dbname='shop'" in led.database


@committing
def test_two_at_a_time(ann):
    def inner():
        with leading():
            pass

    with leading(), pytest.raises(sqloom.UsageError, match="one thing after"):
        inner()
    inner()


# ---- Several aliases --------------------------------------------------------


@both
def test_using(ann):
    mine = Account.objects.using("other").create(name="olga", balance=5)
    report = sqloom.explore(
        pair(mine.pk, "other"),
        lambda: Account.objects.using("other").get().name == "olga"
        and Account.objects.get().name == "ann",
        using="other")
    assert report.broken, report.text
    assert report.findings[0].cls == "contents"
    assert Account.objects.using("other").get().balance == 5


@both
def test_another_database_is_refused(ann):
    mine = Account.objects.using("other").create(name="olga", balance=5)
    with pytest.raises(sqloom.UsageError) as caught:
        sqloom.explore(pair(mine.pk, "other"))
    for word in ("'other'", "'default'", "using=", "MIRROR", "shop_account"):
        assert word in str(caught.value)
    assert Account.objects.using("other").get().balance == 5


@both
def test_another_database_beside_the_explored_one(ann):
    """Also where the call itself does not mind."""
    def call():
        with contextlib.suppress(Exception):
            Account.objects.using("other").create(name="never")
        return calls.deposit(ann.pk, 10)

    with pytest.raises(sqloom.UsageError, match="alias 'other'"):
        sqloom.explore([call, call])
    assert not Account.objects.using("other").exists()


@committing
def test_aliases_of_one_database(alias):
    alias("again")
    alias("mine", NAME="test_mine", HOST="127.0.0.1")
    with leading() as led:
        assert led.aliases == ["default", "again"]


@committing
def test_settings_and_connections_come_back(ann):
    before = {name: connections.databases[name] for name in connections}
    copies = {name: dict(settings) for name, settings in before.items()}
    mine = connection.connection
    with leading() as led:
        assert connections.databases["default"] is before["default"]
        with led.check_thread(led_database(led)):
            assert connections["default"].connection is None
            assert Account.objects.get().name == "ann"
            assert connections["default"].connection is not mine
    assert connection.connection is mine
    assert "create_connection" not in vars(connections)
    for name, settings in before.items():
        assert connections.databases[name] is settings
        assert settings == copies[name]


def led_database(led):
    """As the library gives it to a check."""
    if connection.vendor == "sqlite":
        return led.database
    place = _places.libpq_parameters(connections["default"])
    host = place["host"].replace("/", "%2F")
    return (f"postgresql://{place['user']}@{host}:{place.get('port', '5432')}"
            f"/{place['dbname']}?sslmode=disable")


# ---- SQLite in memory and in files -----------------------------------------


def shared(name):
    return f"file:{name}?mode=memory&cache=shared"


@pytest.fixture
def on_sqlite(on_postgresql):
    if on_postgresql:
        pytest.skip("of SQLite")


@committing
def test_copy_of_a_database_in_memory(on_sqlite, ann):
    with leading() as led:
        path = led.database
        assert os.path.isfile(path)
        with contextlib.closing(sqlite3.connect(path)) as copied:
            found = copied.execute("SELECT name FROM shop_account").fetchall()
        assert found == [("ann",)]
    assert not os.path.exists(os.path.dirname(path))


@committing
def test_file(on_sqlite, alias, tmp_path):
    path = tmp_path / "shop.sqlite3"
    alias("file", NAME=path)  # a Path, as in settings that Django makes
    with leading("file") as led:
        assert led.database == str(path)
    assert not path.exists()


@committing
def test_memory_database_is_shared_with_threads_afterwards(on_sqlite, ann):
    """Django's test databases in memory are shared by all connections, whether
    they were opened before an exploration or after it."""
    sqloom.explore(pair(ann.pk), max_runs=1)
    seen = []

    def look():
        seen.append(Account.objects.get().name)
        connections.close_all()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == ["ann"]


def test_wrappers_of_sqlite(tmp_path):
    def wrapper(name, alias="x"):
        made = {**connections.databases["default"], "NAME": name}
        return SQLiteWrapper(made, alias)

    path = tmp_path / "a.sqlite3"
    (tmp_path / "b.sqlite3").symlink_to(path)
    assert _places.sqlite_file(wrapper(":memory:")) is None
    assert _places.sqlite_file(wrapper(shared("x"))) is None
    assert _places.sqlite_file(wrapper(path)) == str(path)
    assert _places.identity(wrapper(path)) == _places.identity(
        wrapper(str(tmp_path / "b.sqlite3"), "y"))
    assert _places.identity(wrapper(shared("x"))) == _places.identity(
        wrapper(shared("x"), "y"))
    assert _places.identity(wrapper(":memory:")) != _places.identity(
        wrapper(":memory:", "y"))


# ---- Connection strings -----------------------------------------------------


@pytest.mark.parametrize("url, place", [
    ("postgresql://ann@127.0.0.1:7001/test_shop?sslmode=disable",
     ("127.0.0.1", "7001", "test_shop", "ann", "", {"sslmode": "disable"})),
    ("postgresql://a%40n:p%3Aw%2F@%2Ftmp%2FSock:5432/my%20test",
     ("/tmp/Sock", "5432", "my test", "a@n", "p:w/", {})),
    ("postgresql://u:p@[::1]:5433/t", ("::1", "5433", "t", "u", "p", {})),
])
def test_parse(url, place):
    assert tuple(_places.parse(url)) == place


def test_conninfo():
    text = _places.conninfo({"host": "/tmp/a b", "password": "it's \\",
                             "dbname": "t"})
    assert text == "dbname='t' host='/tmp/a b' password='it\\'s \\\\'"


def test_led_settings():
    given = {
        "ENGINE": "django.db.backends.postgresql", "NAME": "test_shop",
        "USER": "ann", "PASSWORD": "secret", "HOST": "db", "PORT": "",
        "CONN_MAX_AGE": 0,
        "OPTIONS": {"sslmode": "verify-full", "sslrootcert": "/ca",
                    "pool": True, "service": "x", "isolation_level": 2},
    }
    copy = {**given, "OPTIONS": dict(given["OPTIONS"])}
    made = _places.led_settings(
        given, "postgresql://bob:b@127.0.0.1:7001/test_2?sslmode=disable")
    assert given == copy
    assert (made["HOST"], made["PORT"], made["NAME"]) == (
        "127.0.0.1", "7001", "test_2")
    assert (made["USER"], made["PASSWORD"]) == ("ann", "secret")
    assert made["OPTIONS"] == {"sslmode": "disable", "isolation_level": 2}
    assert made["CONN_MAX_AGE"] is None


def test_asking_settings():
    """The server itself is asked as Django would, TLS and all."""
    given = {"NAME": "test_shop", "HOST": "db", "PORT": "", "CONN_MAX_AGE": 0,
             "OPTIONS": {"sslmode": "require", "pool": True}}
    made = _places.asking_settings(given, "postgresql://u@db:5432/test_copy")
    assert made["NAME"] == "test_copy"
    assert made["HOST"] == "db"
    assert made["OPTIONS"] == {"sslmode": "require"}


def test_in_words():
    assert _places.in_words(["a"]) == "'a'"
    assert _places.in_words(["a", "b", "c"]) == "'a', 'b' and 'c'"
