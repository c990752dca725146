#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""psycopg 3 as a client: what a PostgreSQL server can be asked, and what came
of it, on standard output.

Where to connect comes from PGHOST and the like. Expects schema.sql.
"""

import asyncio
import datetime
import decimal
import select
import sys
import threading
import uuid
import zlib

import psycopg
from psycopg.types.json import Jsonb


def title(text):
    print("==", text, flush=True)


def brief(value):
    text = ascii(value)
    if len(text) > 200:
        text = f"<{len(text)} characters, {zlib.crc32(text.encode()):08x}>"
    return text


def connect(**more):
    conn = psycopg.connect("", **more)
    conn.add_notice_handler(
        lambda notice: print("  notice", notice.severity_nonlocalized,
                             notice.sqlstate, notice.message_primary,
                             notice.message_hint))
    return conn


def state(conn):
    print("  state:", "closed" if conn.closed else
          conn.info.transaction_status.name, conn.info.pipeline_status.name)


def tell_error(error):
    print("  ", type(error).__name__, error.sqlstate,
          brief(str(error)))
    for name in ("severity_nonlocalized", "message_primary",
                 "message_detail", "message_hint", "statement_position",
                 "context", "schema_name", "table_name", "column_name",
                 "datatype_name", "constraint_name", "source_function"):
        value = getattr(error.diag, name)
        if value is not None:
            print(f"    {name}: {value!r}")


def show(cursor):
    while True:
        print("  ", cursor.statusmessage, cursor.rowcount)
        if cursor.description:
            print("  ", [(column.name, column.type_code)
                         for column in cursor.description])
            for row in cursor.fetchall():
                print("    ", brief(row))
        if not cursor.nextset():
            break


def run(conn, sql, parameters=None, **how):
    print(">", brief(sql), brief(parameters) if parameters else "")
    try:
        show(conn.execute(sql, parameters, **how))
    except psycopg.Error as error:
        tell_error(error)
    state(conn)


def session():
    title("session")
    with connect(application_name="exercise") as conn:
        for name in ("server_version", "client_encoding", "application_name",
                     "TimeZone", "DateStyle", "is_superuser"):
            print(" ", name, conn.info.parameter_status(name))
        pid = conn.execute("SELECT pg_backend_pid()").fetchone()[0]
        print("  own process known:", pid == conn.info.backend_pid)
        run(conn, "SET client_encoding = 'LATIN1'")
        run(conn, "SELECT 'größe'")
        run(conn, "SET TimeZone = 'Asia/Tokyo'")
        print("  ", conn.info.timezone)


def autocommit():
    title("autocommit")
    with connect(autocommit=True) as conn:
        run(conn, "SELECT * FROM item ORDER BY id")
        run(conn, "SELECT * FROM item ORDER BY id", binary=True)
        run(conn, "SELECT 1; SELECT 2")
        run(conn, "SELECT 1; SELECT 1 / 0; SELECT 2")
        run(conn, "SELECT name FROM item WHERE id = %s", (2,))
        run(conn, "INSERT INTO log (txt) VALUES (%s)", ("a",))
        run(conn, "SELECT notes(%s)", (2,))
        run(conn, "SELECT fails(%s)", ("on purpose",))
        run(conn, "INSERT INTO line VALUES (1, %s)", (2,))
        run(conn, "INSERT INTO line VALUES (1, 2)")
        run(conn, "CALL commits(%s)", (2,))
        run(conn, "VACUUM log")
        run(conn, "SELECT txt FROM log ORDER BY id")
        run(conn, "DELETE FROM log")
        run(conn, "")
        run(conn, "SELECT %s / 0", (1,))


def prepared():
    title("prepared")
    with connect(autocommit=True) as conn:
        for number in range(8):
            run(conn, "SELECT name, %s::int FROM item WHERE id = %s",
                (number, 1))
        run(conn, "SELECT %s::text", ("x",), prepare=True)
        run(conn, "SELECT %s::text", ("y",), prepare=True, binary=True)
        print("  ", conn.execute(
            "SELECT count(*) FROM pg_prepared_statements").fetchone())
        # Prepared statements go in the wake of an error, too.
        run(conn, "SELECT 1 / %s", (0,), prepare=True)
        run(conn, "SELECT 1 / %s", (1,), prepare=True)
        run(conn, "DEALLOCATE ALL")
        conn.prepare_threshold = None
        run(conn, "SELECT %s::text", ("z",))


def values():
    title("values")
    given = [None, True, 1, 2**40, 1.5, decimal.Decimal("3.25"), "x'\\y☃",
             b"\x00\xff", datetime.date(2026, 1, 1),
             datetime.datetime(2026, 1, 1, 12,
                               tzinfo=datetime.timezone.utc),
             datetime.timedelta(days=1, seconds=2), [1, 2, None],
             Jsonb({"a": [1, None]}),
             uuid.UUID("12345678-1234-5678-1234-567812345678")]
    with connect() as conn:
        for value in given:
            for how in "%s", "%b", "%t":
                for binary in False, True:
                    try:
                        back = conn.execute(f"SELECT {how}", (value,),
                                            binary=binary).fetchone()[0]
                        print("  ", how, type(back).__name__, ascii(back))
                    except psycopg.Error as error:
                        tell_error(error)
                        conn.rollback()
        run(conn, "INSERT INTO big VALUES (1, %s)", ("x" * 5 * 1024 * 1024,))
        run(conn, "SELECT txt, length(txt) FROM big")
        run(conn, "SELECT txt, length(txt) FROM big", binary=True)
        conn.rollback()


def transactions():
    title("transactions")
    with connect() as conn:
        with conn.transaction():
            run(conn, "INSERT INTO log (txt) VALUES ('kept')")
            try:
                with conn.transaction():
                    run(conn, "INSERT INTO log (txt) VALUES ('lost')")
                    run(conn, "SELECT 1 / 0")
                    run(conn, "SELECT 'not heard'")
                    raise ZeroDivisionError
            except ZeroDivisionError:
                state(conn)
            with conn.transaction(force_rollback=True):
                run(conn, "SELECT txt FROM log")
        state(conn)
        conn.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        conn.read_only = True
        run(conn, "SHOW transaction_isolation")
        run(conn, "DELETE FROM log")
        conn.rollback()
        conn.isolation_level = None
        conn.read_only = None
        run(conn, "INSERT INTO line VALUES (1, 3)")
        try:
            conn.commit()
        except psycopg.Error as error:
            tell_error(error)
        state(conn)
        run(conn, "DELETE FROM log")


def pipeline():
    title("pipeline")
    with connect(autocommit=True) as conn:
        with conn.pipeline() as pipe:
            one = conn.execute("SELECT %s::int", (1,))
            two = conn.execute("INSERT INTO log (txt) VALUES ('piped')")
            three = conn.execute("SELECT notes(1)")
            pipe.sync()
            four = conn.execute("SELECT txt FROM log")
        for cursor in one, two, three, four:
            show(cursor)
        state(conn)
        try:
            with conn.pipeline() as pipe:
                conn.execute("INSERT INTO log (txt) VALUES ('lost')")
                bad = conn.execute("SELECT 1 / 0")
                conn.execute("SELECT 'passed over'")
                bad.fetchall()
        except psycopg.Error as error:
            tell_error(error)
        state(conn)
        run(conn, "SELECT txt FROM log")
        with conn.pipeline(), conn.transaction():
            conn.execute("INSERT INTO log (txt) VALUES ('inside')")
            with conn.transaction():
                cursor = conn.execute("SELECT count(*) FROM log")
                print("  ", cursor.fetchone())
        state(conn)
        cursor = conn.cursor()
        cursor.executemany("INSERT INTO log (txt) VALUES (%s) RETURNING txt",
                           [(str(i),) for i in range(5)], returning=True)
        show(cursor)
        try:
            cursor.executemany("SELECT 1 / %s", [(1,), (0,), (2,)],
                               returning=True)
        except psycopg.Error as error:
            tell_error(error)
        state(conn)
        with conn.pipeline():
            cursors = [conn.execute("SELECT %s::int", (i,))
                       for i in range(500)]
            print("  ", sum(cursor.fetchone()[0] for cursor in cursors))
        run(conn, "DELETE FROM log")


def cursors():
    title("server-side cursors")
    with connect() as conn:
        for binary in False, True:
            with conn.cursor("named", scrollable=True,
                             binary=binary) as cursor:
                cursor.itersize = 2
                cursor.execute("SELECT id, name FROM item ORDER BY id")
                for row in cursor:
                    print("    ", ascii(row))
                cursor.scroll(-2)
                print("    ", ascii(cursor.fetchone()))
        with conn.cursor("held", withhold=True) as cursor:
            cursor.execute("SELECT i FROM generate_series(1, 5) AS i")
            conn.commit()
            print("    ", cursor.fetchmany(3))
            print("    ", cursor.fetchall())
        title("row by row")
        try:
            for row in conn.cursor().stream(
                    "SELECT 1 / (3 - i) FROM generate_series(1, 5) AS i"):
                print("    ", row)
        except psycopg.Error as error:
            tell_error(error)
        state(conn)


def copy():
    title("COPY")
    with connect() as conn:
        cursor = conn.cursor()
        for form in "text", "csv", "binary":
            with cursor.copy(f"COPY (SELECT id, name FROM item ORDER BY id) "
                             f"TO STDOUT (FORMAT {form})") as out:
                for data in out:
                    print("    ", bytes(data))
            print("  ", cursor.statusmessage)
        with cursor.copy("COPY big FROM STDIN") as into:
            into.write_row((1, "one"))
            into.write("2\t\\N\n")
        print("  ", cursor.statusmessage, cursor.rowcount)
        with cursor.copy("COPY big FROM STDIN (FORMAT binary)") as into:
            into.set_types(["int4", "text"])
            into.write_row((3, "three"))
        run(conn, "SELECT * FROM big ORDER BY id")
        try:
            with cursor.copy("COPY big FROM STDIN") as into:
                into.write("x\ty\n")
        except psycopg.Error as error:
            tell_error(error)
        state(conn)
        conn.rollback()
        try:
            with cursor.copy("COPY big FROM STDIN") as into:
                into.write("5\tfive\n")
                raise ValueError("thought better of it")
        except (ValueError, psycopg.Error) as error:
            print("  ", type(error).__name__, error)
        state(conn)
        conn.rollback()
        with cursor.copy("COPY big FROM STDIN") as into:
            for number in range(20000):
                into.write_row((number, "z" * 100))
        run(conn, "SELECT count(*), sum(length(txt)) FROM big")
        with cursor.copy("COPY big TO STDOUT") as out:
            print("  ", sum(len(data) for data in out))
        conn.rollback()


def notifications():
    title("notifications")
    told = []
    with connect(autocommit=True) as conn, connect(autocommit=True) as other:
        conn.add_notify_handler(told.append)
        run(conn, "LISTEN news")
        run(other, "NOTIFY news, 'told'")
        run(other, "SELECT pg_notify('news', %s)", ("and again",))
        # They come without being asked for; all are there before the answer
        # to a NOTIFY of one's own.
        select.select([conn], [], [])
        run(conn, "NOTIFY news, 'own'")
        for note in told:
            print("  ", note.channel, note.payload,
                  note.pid == other.info.backend_pid)


def cancel():
    title("cancel")
    with connect() as conn:
        over = threading.Event()

        def insist():
            # A request that comes before the statement does nothing.
            while not over.wait(0.2):
                conn.cancel()

        thread = threading.Thread(target=insist)
        thread.start()
        run(conn, "SELECT pg_sleep(%s)", (600,))
        over.set()
        thread.join()


def lost():
    title("server goes away, reconnect")
    with connect(autocommit=True) as conn:
        run(conn, "SELECT pg_terminate_backend(pg_backend_pid())")
    with connect() as conn:
        run(conn, "SELECT 'again'")
    try:
        psycopg.connect(dbname="sqloom_does_not_exist")
    except psycopg.OperationalError as error:
        print("  ", str(error).partition("FATAL:")[2])


async def asynchronous():
    title("asynchronous")
    conn = await psycopg.AsyncConnection.connect("")
    async with conn:
        async with conn.pipeline():
            cursor = await conn.execute("SELECT %s::int", (1,))
            print("  ", await cursor.fetchone())
        async with conn.cursor("named") as cursor:
            await cursor.execute("SELECT id FROM item ORDER BY id")
            print("  ", await cursor.fetchall())


def race(kind):
    """Without a transaction: "insert". In one: "update"; "locked" asks for the
    row first. The test runs two of them."""
    conn = connect()
    if kind == "insert":
        conn.autocommit = True
        run(conn, "INSERT INTO log (txt) SELECT %s::text WHERE NOT EXISTS "
            "(SELECT FROM log WHERE txt = %s)", ("once", "once"))
        return
    with conn, conn.cursor() as cursor:
        cursor.execute("SELECT price FROM item WHERE id = %s"
                       + (" FOR UPDATE" if kind == "locked" else ""), (1,))
        price = cursor.fetchone()[0]
        cursor.execute("UPDATE item SET price = %s WHERE id = %s",
                       (price + 1, 1))


def main():
    session()
    autocommit()
    prepared()
    values()
    transactions()
    pipeline()
    cursors()
    copy()
    notifications()
    cancel()
    lost()
    asyncio.run(asynchronous())
    title("end")


if len(sys.argv) > 1:
    race(sys.argv[1])
else:
    main()
