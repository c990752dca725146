# SPDX-License-Identifier: Apache-2.0
"""explore() without Django, on PostgreSQL: plain functions with psycopg2 and
psycopg 3, which connect to sqloom.call_database()."""

import os
import subprocess
import sys
import threading

import psycopg2
import psycopg2.errors
import psycopg2.extensions
import pytest

import sqloom
from test_freeze import finish, start

pytestmark = pytest.mark.skipif(
    os.environ.get("SQLOOM_TEST_DB") != "postgresql",
    reason="the tests run on SQLite now")

NAME = f"plain_test_{os.getpid()}"
SCHEMA = """
DROP TABLE IF EXISTS account;
CREATE TABLE account (id serial PRIMARY KEY, name text UNIQUE, balance int);
INSERT INTO account (name, balance) VALUES ('alice', 100), ('bob', 100);
"""


def address(name):
    return f"host={os.environ['PGHOST']} user={os.environ['PGUSER']} " \
           f"dbname={name}"


@pytest.fixture(scope="module")
def database():
    """The address of a database of its own."""
    admin = psycopg2.connect(address("postgres"))
    admin.autocommit = True
    admin.cursor().execute(f"CREATE DATABASE {NAME}")
    yield address(NAME)
    # Nobody may be connected any more.
    admin.cursor().execute(f"DROP DATABASE {NAME}")
    admin.close()


def connect():
    return psycopg2.connect(sqloom.call_database())


def set_up():
    db = connect()
    with db, db.cursor() as cursor:
        cursor.execute(SCHEMA)
    db.close()


def transaction(function, *args):
    """Calls function with a cursor, in one transaction."""
    db = connect()
    try:
        with db, db.cursor() as cursor:
            return function(cursor, *args)
    finally:
        db.close()


def balance_of(cursor, more=""):
    cursor.execute(f"SELECT balance FROM account WHERE name = 'alice' {more}")
    return cursor.fetchone()[0]


def set_balance(cursor, balance):
    cursor.execute("UPDATE account SET balance = %s WHERE name = 'alice'",
                   [balance])


def withdraw(amount, more=""):
    def move(cursor):
        balance = balance_of(cursor, more)
        set_balance(cursor, balance - amount)
        return balance - amount

    return transaction(move)


def withdraw_in_place(amount):
    transaction(lambda cursor: cursor.execute(
        "UPDATE account SET balance = balance - %s WHERE name = 'alice'",
        [amount]))


LOST = [(withdraw, 10), (withdraw, 20)]


def explore(database, calls, **more):
    return sqloom.explore(calls, database=database, setup=set_up, **more)


def test_a_lost_update_is_found_in_three_runs_and_its_fixes_hold(database):
    report = explore(database, LOST, max_runs=3)
    assert report.broken
    assert report.findings[0].title == "lost update (P4)"
    assert report.findings[0].cls == "contents"
    locked = explore(database, [(withdraw, 10, "FOR UPDATE"),
                                (withdraw, 20, "FOR UPDATE")])
    assert locked.holds and locked.total == locked.explored
    assert explore(database, [(withdraw_in_place, 10),
                              (withdraw_in_place, 20)]).holds


def test_a_token_replays_the_same_each_time(database):
    token = explore(database, LOST).findings[0].token
    texts = {sqloom.replay(token, LOST, database=database, setup=set_up).text
             for _ in range(5)}
    assert len(texts) == 1 and texts.pop().startswith("broken")


def test_an_isolation_level_turns_it_into_an_error_that_asks_to_be_retried(
        database):
    report = explore(database, LOST, isolation="serializable")
    assert report.holds
    assert any(outcome.cls == "retry" for outcome in report.outcomes)
    assert explore(database, LOST, isolation="repeatable read",
                   strict=True).broken


def test_an_integrity_error_is_told_with_its_traceback(database):
    def create():
        def insert(cursor):
            cursor.execute("SELECT 1 FROM account WHERE name = 'carol'")
            if not cursor.fetchone():
                cursor.execute("INSERT INTO account (name) VALUES ('carol')")
        transaction(insert)

    with pytest.raises(sqloom.RaceFound) as caught:
        sqloom.assert_race_free([create] * 2, database=database, setup=set_up)
    assert "UniqueViolation: duplicate key value" in str(caught.value)
    assert "in insert\n" in str(caught.value)


def test_a_deadlock(database):
    def move(source, target):
        def both(cursor):
            for name, amount in ((source, -1), (target, 1)):
                cursor.execute("UPDATE account SET balance = balance + %s "
                               "WHERE name = %s", [amount, name])
        transaction(both)

    report = explore(database, [(move, "alice", "bob"), (move, "bob", "alice")])
    assert report.broken
    assert "deadlock" in report.findings[0].title


def test_connections_that_are_kept_on_the_threads(database):
    local = threading.local()

    def use():
        if not hasattr(local, "db"):
            local.db = connect()
            local.db.autocommit = True
        with local.db.cursor() as cursor:
            set_balance(cursor, balance_of(cursor) - 1)

    assert explore(database, [use] * 2).broken


def test_a_check_is_led_to_the_same_database(database):
    seen = set()

    def check():
        balance = transaction(balance_of)
        seen.add(balance)
        assert balance >= 70

    report = sqloom.explore(LOST, check, database=database, setup=set_up)
    assert seen == {70, 80, 90}
    assert report.broken and report.findings[0].cls == "contents"


def test_psycopg_3(database):
    psycopg = pytest.importorskip("psycopg")

    def use(amount):
        with psycopg.connect(sqloom.call_database()) as db:
            [(balance,)] = db.execute(
                "SELECT balance FROM account WHERE name = 'alice'")
            db.execute("UPDATE account SET balance = %s WHERE name = 'alice'",
                       [balance - amount])

    assert explore(database, [(use, 10), (use, 20)], max_runs=3).broken


def test_generated_keys_are_compared_by_their_rows(database):
    def create(name):
        def insert(cursor):
            cursor.execute("SELECT count(*) FROM account")
            cursor.execute("INSERT INTO account (name) VALUES (%s) "
                           "RETURNING id", [name])
            return cursor.fetchone()[0]
        return {"id": transaction(insert), "name": name}

    assert explore(database, [(create, "carol"), (create, "dave")]).holds


def test_a_production_looking_database_is_refused(database):
    admin = psycopg2.connect(address("postgres"))
    admin.autocommit = True
    admin.cursor().execute("CREATE DATABASE live_shop")
    try:
        with pytest.raises(sqloom.Error, match="any_database=True") as caught:
            explore(address("live_shop"), LOST)
        assert "--" not in str(caught.value)
        assert explore(address("live_shop"), LOST, any_database=True).broken
    finally:
        admin.cursor().execute("DROP DATABASE live_shop")
        admin.close()


def test_a_server_that_is_not_there():
    with pytest.raises(sqloom.DatabaseError) as caught:
        sqloom.explore(LOST, database="host=/nowhere dbname=shop_test")
    assert "/nowhere" in str(caught.value)
    assert "--" not in str(caught.value)


def test_the_address_is_not_the_servers_outside_of_a_call(database):
    seen = []

    def use():
        seen.append(sqloom.call_database())
        withdraw_in_place(1)

    assert explore(database, [use] * 2).holds
    assert all(os.environ["PGHOST"] not in text for text in seen)


# ---- The interpreter does not freeze ---------------------------------------------

SERVER = """
import psycopg2
ADDRESS = {address!r}

def execute(sql):
    db = psycopg2.connect(sqloom.call_database())
    db.autocommit = True
    with db.cursor() as cursor:
        cursor.execute(sql)
    db.close()

def set_up():
    execute("DROP TABLE IF EXISTS t; CREATE TABLE t AS SELECT 1 AS v")

def add():
    execute("UPDATE t SET v = v + 1")

def explore(calls, check=None, **more):
    try:
        print(sqloom.explore(calls, check, setup=set_up, database=ADDRESS,
                             **more), flush=True)
    except sqloom.Error as error:
        print(type(error).__name__, error, flush=True)

def explore_again():
    assert sqloom.explore([add] * 2, setup=set_up, database=ADDRESS).holds
    print("again: fine")
"""


def start_on_server(database, code):
    import textwrap

    return start(SERVER.format(address=database) + textwrap.dedent(code))


def test_a_call_that_never_returns(database):
    status, out, err = finish(start_on_server(database, """
        def hang():
            add()
            threading.Event().wait()

        explore([hang, add], call_limit=1)
        explore_again()
    """))
    assert status == 0 and err == "", err
    assert "hang" in out and "call_limit=" in out and "again: fine" in out


def test_a_call_that_closes_its_connection_in_a_transaction(database):
    status, out, err = finish(start_on_server(database, """
        def use():
            db = psycopg2.connect(sqloom.call_database())
            db.cursor().execute("UPDATE t SET v = v + 1")
            db.close()

        explore([use] * 2)
        explore_again()
    """))
    assert status == 0 and err == "", err
    assert out.startswith("holds") and "again: fine" in out


def test_connections_that_are_never_closed(database):
    status, out, err = finish(start_on_server(database, """
        kept = []

        def use():
            db = psycopg2.connect(sqloom.call_database())
            kept.append(db)
            db.cursor().execute("UPDATE t SET v = v + 1")

        explore([use] * 2, call_limit=1)
        kept.clear()
        explore_again()
    """))
    assert status == 0 and err == "", err
    assert out.startswith("inconclusive") and "again: fine" in out
    assert "leaves a connection in a transaction" in out


def test_a_connection_shared_by_threads(database):
    status, out, err = finish(start_on_server(database, """
        shared = []

        def use():
            if not shared:
                shared.append(psycopg2.connect(sqloom.call_database()))
                shared[0].autocommit = True
            with shared[0].cursor() as cursor:
                cursor.execute("SELECT v FROM t")
                v = cursor.fetchone()[0]
                cursor.execute("UPDATE t SET v = %s", [v + 1])

        explore([use] * 2, call_limit=5)
        explore_again()
    """))
    assert status == 0 and err == "", err
    assert out.startswith(("broken", "inconclusive")) and "again: fine" in out


@pytest.mark.parametrize("where", ["calls", "check", "hang"])
def test_ctrl_c(database, where):
    import signal

    arguments = {"calls": "[add] * 5",
                 "check": "[add] * 5, lambda: None",
                 "hang": "[add, lambda: (add(), time.sleep(30))]"}[where]
    process = start_on_server(database, f"""
        try:
            print("begins", flush=True)
            explore({arguments}, max_runs=0, stall_after=40)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        explore_again()
    """)
    assert process.stdout.readline() == "begins\n"
    process.send_signal(signal.SIGINT)
    status, out, err = finish(process)
    assert "interrupted" in out and "again: fine" in out, out + err
    assert status == 0 and err == "", err


def test_nobody_is_connected_afterwards(database):
    code = SERVER.format(address=database) + "explore([add] * 2)\n"
    assert finish(start(code))[0] == 0
    admin = psycopg2.connect(address("postgres"))
    with admin, admin.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity "
                       "WHERE datname = %s", [NAME])
        assert cursor.fetchone() == (0,)
    admin.close()
