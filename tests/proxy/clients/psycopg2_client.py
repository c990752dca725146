#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""psycopg2 as a client: what a PostgreSQL server can be asked, and what came
of it, on standard output.

Where to connect comes from PGHOST and the like. Expects schema.sql.
"""

import datetime
import decimal
import io
import os
import select
import sys
import threading
import uuid
import zlib

import psycopg2
import psycopg2.extensions
import psycopg2.extras
import psycopg2.pool


def title(text):
    print("==", text, flush=True)


def brief(value):
    if isinstance(value, tuple):
        value = tuple(bytes(each) if isinstance(each, memoryview) else each
                      for each in value)
    text = ascii(value)
    if len(text) > 200:
        text = f"<{len(text)} characters, {zlib.crc32(text.encode()):08x}>"
    return text


def state(conn):
    names = {0: "idle", 1: "active", 2: "in transaction", 3: "failed",
             4: "unknown"}
    print("  state:", "closed" if conn.closed else
          names[conn.info.transaction_status])


def tell_error(error):
    print("  ", type(error).__name__, error.pgcode, ascii(error.pgerror))
    if error.diag:
        for name in ("severity_nonlocalized", "message_primary",
                     "message_detail", "message_hint", "statement_position",
                     "context", "schema_name", "table_name", "column_name",
                     "datatype_name", "constraint_name", "source_function"):
            value = getattr(error.diag, name)
            if value is not None:
                print(f"    {name}: {value!r}")


def tell_notices(conn):
    for notice in conn.notices:
        print("  notice", ascii(notice))
    conn.notices.clear()


def run(cursor, sql, parameters=None):
    print(">", brief(sql), brief(parameters) if parameters else "")
    try:
        cursor.execute(sql, parameters)
        print("  ", cursor.statusmessage, cursor.rowcount)
        if cursor.description:
            print("  ", [(column.name, column.type_code)
                         for column in cursor.description])
            for row in cursor.fetchall():
                print("    ", brief(row))
    except psycopg2.Error as error:
        tell_error(error)
    tell_notices(cursor.connection)
    state(cursor.connection)


def session():
    title("session")
    conn = psycopg2.connect("", application_name="exercise")
    for name in ("server_version", "client_encoding", "application_name",
                 "TimeZone", "DateStyle", "standard_conforming_strings"):
        print(" ", name, conn.info.parameter_status(name))
    print("  protocol", conn.info.protocol_version)
    cursor = conn.cursor()
    cursor.execute("SELECT pg_backend_pid()")
    print("  own process known:",
          cursor.fetchone()[0] == conn.info.backend_pid)
    conn.set_client_encoding("LATIN1")
    run(cursor, "SELECT 'größe'")
    conn.close()


def autocommit():
    title("autocommit")
    conn = psycopg2.connect("")
    conn.autocommit = True
    cursor = conn.cursor()
    run(cursor, "SELECT * FROM item ORDER BY id")
    run(cursor, "SELECT 1; SELECT 2")
    run(cursor, "SELECT 1; SELECT 1 / 0; SELECT 2")
    run(cursor, "INSERT INTO log (txt) VALUES ('a'); SELECT txt FROM log")
    run(cursor, "SELECT notes(2)")
    run(cursor, "SELECT fails('on purpose')")
    run(cursor, "INSERT INTO line VALUES (1, 2)")
    run(cursor, "CALL commits(2)")
    run(cursor, "VACUUM log")
    run(cursor, "SELECT txt FROM log ORDER BY id")
    run(cursor, "TRUNCATE log")
    run(cursor, "")
    conn.close()


def transactions():
    title("transactions")
    with psycopg2.connect("") as conn, conn.cursor() as cursor:
        run(cursor, "INSERT INTO log (txt) VALUES (%s) RETURNING txt", ("a",))
        run(cursor, "SAVEPOINT s")
        run(cursor, "SELECT 1 / 0")
        run(cursor, "SELECT 'not heard'")
        run(cursor, "ROLLBACK TO s")
    state(conn)
    try:
        with conn, conn.cursor() as cursor:
            run(cursor, "INSERT INTO log (txt) VALUES ('lost')")
            raise ZeroDivisionError
    except ZeroDivisionError:
        state(conn)
    conn.set_session(isolation_level="SERIALIZABLE", readonly=True)
    cursor = conn.cursor()
    run(cursor, "SHOW transaction_isolation")
    run(cursor, "DELETE FROM log")
    conn.rollback()
    conn.set_session(isolation_level="DEFAULT", readonly=False)
    cursor = conn.cursor()
    run(cursor, "INSERT INTO line VALUES (1, 3)")
    try:
        conn.commit()
    except psycopg2.Error as error:
        tell_error(error)
    state(conn)
    run(cursor, "DELETE FROM log")
    conn.commit()

    title("two phases")
    conn.tpc_begin(conn.xid(1, "sqloom", "exercise"))
    run(conn.cursor(), "SELECT 1")
    try:
        conn.tpc_prepare()
        conn.tpc_rollback()
    except psycopg2.Error as error:
        tell_error(error)
    state(conn)
    conn.close()


def values():
    title("values")
    conn = psycopg2.connect("")
    psycopg2.extras.register_uuid(conn_or_curs=conn)
    given = [None, True, 1, 2**40, 1.5, decimal.Decimal("3.25"), "x'\\y☃",
             b"\x00\xff", datetime.date(2026, 1, 1),
             datetime.datetime(2026, 1, 1, 12,
                               tzinfo=datetime.timezone.utc),
             datetime.timedelta(days=1, seconds=2), [1, 2, None],
             psycopg2.extras.Json({"a": [1, None]}),
             uuid.UUID("12345678-1234-5678-1234-567812345678")]
    cursor = conn.cursor()
    for value in given:
        try:
            cursor.execute("SELECT %s", (value,))
            back = cursor.fetchone()[0]
            print("  ", type(back).__name__,
                  ascii(bytes(back) if isinstance(back, memoryview) else back))
        except psycopg2.Error as error:
            tell_error(error)
            conn.rollback()
    run(cursor, "INSERT INTO big VALUES (1, %s)", ("x" * 5 * 1024 * 1024,))
    run(cursor, "SELECT txt, length(txt) FROM big")
    conn.rollback()
    psycopg2.extras.execute_values(
        cursor, "INSERT INTO big VALUES %s", [(i, str(i)) for i in range(250)])
    psycopg2.extras.execute_batch(
        cursor, "UPDATE big SET txt = %s WHERE id = %s",
        [("y", i) for i in range(250)])
    run(cursor, "SELECT txt, count(*) FROM big GROUP BY txt")
    conn.rollback()
    conn.close()


def cursors():
    title("server-side cursors")
    conn = psycopg2.connect("")
    with conn.cursor("named", scrollable=True) as cursor:
        cursor.itersize = 2
        cursor.execute("SELECT id, name FROM item ORDER BY id")
        for row in cursor:
            print("    ", ascii(row))
        cursor.scroll(-2)
        print("    ", ascii(cursor.fetchone()))
    conn.commit()
    with conn.cursor("held", withhold=True) as cursor:
        cursor.execute("SELECT i FROM generate_series(1, 5) AS i")
        conn.commit()
        print("    ", cursor.fetchmany(3))
        print("    ", cursor.fetchall())
    conn.close()


def copy():
    title("COPY")
    conn = psycopg2.connect("")
    cursor = conn.cursor()
    out = io.StringIO()
    cursor.copy_expert("COPY item TO STDOUT", out)
    print(ascii(out.getvalue()), cursor.rowcount)
    cursor.copy_from(io.StringIO("1\tone\n2\t\\N\n"), "big")
    print(cursor.rowcount, cursor.statusmessage)
    run(cursor, "SELECT * FROM big ORDER BY id")
    try:
        cursor.copy_from(io.StringIO("3\tthree\nx\ty\n"), "big")
    except psycopg2.Error as error:
        tell_error(error)
    state(conn)
    conn.rollback()

    class Broken:
        def read(self, size):
            raise RuntimeError("the file is broken")

    try:
        cursor.copy_from(Broken(), "big")
    except (psycopg2.Error, RuntimeError) as error:
        print("  ", type(error).__name__, getattr(error, "pgcode", None))
    state(conn)
    conn.rollback()
    lines = "".join(f"{i}\t{'z' * 100}\n" for i in range(20000))
    cursor.copy_from(io.StringIO(lines), "big")
    run(cursor, "SELECT count(*), sum(length(txt)) FROM big")
    out = io.StringIO()
    cursor.copy_to(out, "big")
    print("  the same back:", out.getvalue() == lines)
    conn.rollback()
    conn.close()


def notifications():
    title("notifications")
    conn, other = psycopg2.connect(""), psycopg2.connect("")
    conn.autocommit = other.autocommit = True
    run(conn.cursor(), "LISTEN news")
    run(other.cursor(), "NOTIFY news, 'told'")
    while not conn.notifies:
        select.select([conn], [], [])
        conn.poll()
    for note in conn.notifies:
        print("  ", note.channel, note.payload,
              note.pid == other.info.backend_pid)
    conn.notifies.clear()
    run(conn.cursor(), "NOTIFY news, 'own'")
    print("  ", [note.payload for note in conn.notifies])
    conn.close()
    other.close()


def cancel():
    title("cancel")
    conn = psycopg2.connect("")
    over = threading.Event()

    def insist():
        # A request that comes before the statement does nothing.
        while not over.wait(0.2):
            conn.cancel()

    thread = threading.Thread(target=insist)
    thread.start()
    run(conn.cursor(), "SELECT pg_sleep(600)")
    over.set()
    thread.join()
    conn.close()


def large_objects():
    title("large objects")
    conn = psycopg2.connect("")
    made = conn.lobject(0, "wb")
    print("  ", made.write(b"0123456789"))
    made.close()
    again = conn.lobject(made.oid, "rwb")
    print("  ", again.seek(4), again.read(3), again.tell())
    again.truncate(5)
    print("  ", again.seek(0, 2))
    again.unlink()
    state(conn)
    conn.commit()
    conn.close()


def pools():
    title("pool")
    pool = psycopg2.pool.ThreadedConnectionPool(1, 3, "")
    results = []

    def work(number):
        conn = pool.getconn()
        with conn, conn.cursor() as cursor:
            cursor.execute("SELECT %s + 1", (number,))
            results.append(cursor.fetchone()[0])
        pool.putconn(conn)

    for number in range(3):
        thread = threading.Thread(target=work, args=(number,))
        thread.start()
        thread.join()
    print("  ", sorted(results))
    pool.closeall()


def lost():
    title("server goes away, reconnect")
    conn = psycopg2.connect("")
    run(conn.cursor(), "SELECT pg_terminate_backend(pg_backend_pid())")
    conn = psycopg2.connect("")
    run(conn.cursor(), "SELECT 'again'")
    conn.close()
    try:
        psycopg2.connect(dbname="sqloom_does_not_exist")
    except psycopg2.OperationalError as error:
        print("  ", str(error).partition("FATAL:")[2])


def race(kind):
    """Without a transaction: "insert". In one: "update"; "locked" asks for the
    row first. The test runs two of them."""
    conn = psycopg2.connect("")
    if kind == "insert":
        conn.autocommit = True
        run(conn.cursor(), "INSERT INTO log (txt) SELECT %s::text WHERE NOT "
            "EXISTS (SELECT FROM log WHERE txt = %s)", ("once", "once"))
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
    transactions()
    values()
    cursors()
    copy()
    notifications()
    cancel()
    # What an exploration cannot undo.
    if "UNDER_CONTROL" not in os.environ:
        large_objects()
    pools()
    lost()
    title("end")


if len(sys.argv) > 1:
    race(sys.argv[1])
else:
    main()
