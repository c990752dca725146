#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""asyncpg as a client: what a PostgreSQL server can be asked, and what came of
it, on standard output. It speaks the protocol itself, without libpq.

Where to connect comes from PGHOST and the like. Expects schema.sql.
"""

import asyncio
import datetime
import decimal
import io
import os
import sys
import uuid
import zlib

import asyncpg


def title(text):
    print("==", text, flush=True)


def brief(value):
    text = ascii(value)
    if len(text) > 200:
        text = f"<{len(text)} characters, {zlib.crc32(text.encode()):08x}>"
    return text


async def connect(**more):
    conn = await asyncpg.connect(**more)
    conn.add_log_listener(
        lambda conn, message: print("  notice", message.severity_en,
                                    message.sqlstate, message))
    return conn


def state(conn):
    print("  state:", "closed" if conn.is_closed() else
          "in transaction" if conn.is_in_transaction() else "idle")


def tell_error(error):
    print("  ", type(error).__name__, getattr(error, "sqlstate", None),
          brief(str(error)))
    for name in ("severity_en", "detail", "hint", "position", "context",
                 "schema_name", "table_name", "column_name", "data_type_name",
                 "constraint_name", "server_source_function"):
        value = getattr(error, name, None)
        if value is not None:
            print(f"    {name}: {value!r}")


async def run(conn, how, sql, *parameters):
    """How is a method of the connection: fetch, execute ..."""
    print(">", how, brief(sql), brief(parameters) if parameters else "")
    try:
        answer = await getattr(conn, how)(sql, *parameters)
        if how == "fetch":
            for row in answer:
                print("    ", brief(dict(row)))
        else:
            print("  ", brief(answer))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        tell_error(error)
    # Notices are handed over from the loop.
    await asyncio.sleep(0)
    state(conn)


async def session():
    title("session")
    conn = await connect(server_settings={"application_name": "exercise",
                                          "search_path": "public"})
    settings = conn.get_settings()
    for name in ("server_version", "client_encoding", "application_name",
                 "TimeZone", "is_superuser"):
        print(" ", name, getattr(settings, name))
    print("  own process known:", conn.get_server_pid() ==
          await conn.fetchval("SELECT pg_backend_pid()"))
    await run(conn, "execute", "SET TimeZone = 'Asia/Tokyo'")
    print("  ", settings.TimeZone)
    await conn.reset()
    print("  ", settings.TimeZone == "Asia/Tokyo")
    await conn.close()


async def simple():
    title("simple")
    conn = await connect()
    await run(conn, "execute", "SELECT 1; SELECT 2")
    await run(conn, "execute", "INSERT INTO log (txt) VALUES ('a'), ('b')")
    await run(conn, "execute", "UPDATE log SET txt = 'c'")
    await run(conn, "execute", "SELECT 1; SELECT 1 / 0; SELECT 2")
    await run(conn, "execute",
              "BEGIN; INSERT INTO log (txt) VALUES ('d'); ROLLBACK")
    await run(conn, "execute", "INSERT INTO line VALUES (1, 2)")
    await run(conn, "execute", "SELECT notes(2)")
    await run(conn, "execute", "CALL commits(2)")
    await run(conn, "execute", "VACUUM log")
    await run(conn, "execute", "DELETE FROM log")

    title("extended")
    await run(conn, "fetch", "SELECT * FROM item ORDER BY id")
    await run(conn, "fetch", "SELECT name FROM item WHERE id = $1", 2)
    await run(conn, "fetch", "SELECT name FROM item WHERE id = $1", "two")
    await run(conn, "fetch", "INSERT INTO log (txt) VALUES ($1) "
              "RETURNING txt", "ä")
    await run(conn, "execute", "DELETE FROM log WHERE txt = $1", "ä")
    await run(conn, "fetch", "SELECT notes($1)", 1)
    await run(conn, "fetch", "SELECT fails($1)", "on purpose")
    await run(conn, "fetch", "SELECT 1 / $1", 0)
    await run(conn, "execute", "INSERT INTO line VALUES (1, $1)", 2)
    await run(conn, "execute", "CALL commits($1)", 2)
    await run(conn, "fetch", "SELECT * FROM nowhere")
    await run(conn, "fetch", "SELECT 1; SELECT 2")
    await run(conn, "fetch", "VALUES (1, (2, 'x')), (3, NULL)")
    await run(conn, "execute", "DELETE FROM log")
    await conn.close()


async def values():
    title("values")
    conn = await connect()
    given = {
        "bool": True, "int2": 1, "int4": -1, "int8": 2**40, "float4": 1.5,
        "float8": 2.5, "numeric": decimal.Decimal("3.250"), "text": "x'\\y☃",
        "bytea": b"\x00\xff", "date": datetime.date(2026, 1, 1),
        "timestamptz": datetime.datetime(2026, 1, 1, 12,
                                         tzinfo=datetime.timezone.utc),
        "interval": datetime.timedelta(days=1, seconds=2),
        "int4[]": [1, None, 2], "jsonb": '{"a": [1, null]}',
        "uuid": uuid.UUID("12345678123456781234567812345678"),
        "inet": "10.0.0.1", "int4range": asyncpg.Range(1, 5),
        "text[]": ["a", "b,c", None],
    }
    for name, value in given.items():
        await run(conn, "fetchval", f"SELECT $1::{name}", value)
        await run(conn, "fetchval", f"SELECT $1::{name}", None)
    await run(conn, "execute", "INSERT INTO big VALUES (1, $1)",
              "x" * 5 * 1024 * 1024)
    await run(conn, "fetchrow", "SELECT txt, length(txt) FROM big")
    await run(conn, "execute", "DELETE FROM big")
    await run(conn, "executemany", "INSERT INTO big VALUES ($1, $2)",
              [(i, str(i)) for i in range(2000)])
    await run(conn, "executemany", "INSERT INTO big VALUES ($1, $2)",
              [(i, str(i)) for i in range(3000, 1000, -1)])
    await run(conn, "fetch", "SELECT count(*), max(id) FROM big")
    await run(conn, "execute", "TRUNCATE big")
    await conn.close()


async def prepared():
    title("prepared")
    conn = await connect()
    statement = await conn.prepare("SELECT id, name FROM item WHERE id < $1 "
                                   "ORDER BY id")
    print("  ", [kind.name for kind in statement.get_parameters()],
          [(a.name, a.type.name) for a in statement.get_attributes()])
    print("  ", await statement.fetch(3), statement.get_statusmsg())
    print("  ", await statement.fetchval(2, column=1))
    print("  ", await statement.fetch(1))
    named = await conn.prepare("SELECT 1", name="named")
    print("  ", named.get_name(), await named.fetchval())
    await run(conn, "fetchval", "SELECT count(*) FROM pg_prepared_statements "
              "WHERE name = 'named'")
    await run(conn, "execute", "DEALLOCATE ALL")
    try:
        print("  ", await statement.fetch(3))
    except asyncpg.PostgresError as error:
        tell_error(error)
    if "UNDER_CONTROL" not in os.environ:
        # A cached statement whose table was changed is prepared anew.
        await conn.execute("CREATE TEMP TABLE t (a int)")
        await run(conn, "fetch", "SELECT * FROM t")
        await conn.execute("ALTER TABLE t ADD b int")
        await run(conn, "fetch", "SELECT * FROM t")
    await conn.close()


async def transactions():
    title("transactions")
    conn = await connect()
    async with conn.transaction():
        await run(conn, "execute", "INSERT INTO log (txt) VALUES ('kept')")
        try:
            async with conn.transaction():
                await conn.execute("INSERT INTO log (txt) VALUES ('lost')")
                await conn.fetch("SELECT 1 / 0")
        except asyncpg.PostgresError as error:
            tell_error(error)
        await run(conn, "fetch", "SELECT txt FROM log")
    state(conn)
    try:
        async with conn.transaction(isolation="serializable", readonly=True,
                                    deferrable=True):
            await run(conn, "fetchval", "SHOW transaction_isolation")
            await run(conn, "execute", "DELETE FROM log")
            await run(conn, "execute", "SELECT 'not heard'")
            await run(conn, "fetch", "SELECT 'not heard'")
    except asyncpg.PostgresError as error:
        tell_error(error)
    state(conn)
    try:
        async with conn.transaction():
            await conn.execute("INSERT INTO line VALUES (1, 3)")
    except asyncpg.PostgresError as error:
        tell_error(error)
    state(conn)
    await run(conn, "execute", "DELETE FROM log")

    title("portals")
    async with conn.transaction():
        async for row in conn.cursor("SELECT id, name FROM item ORDER BY id",
                                     prefetch=2):
            print("    ", brief(dict(row)))
        cursor = await conn.cursor("SELECT i FROM generate_series(1, 9) AS i "
                                   "WHERE i > $1", 2)
        print("  ", await cursor.fetchrow(), await cursor.fetch(3),
              await cursor.forward(2), await cursor.fetch(9))
    try:
        await conn.cursor("SELECT 1")
    except asyncpg.PostgresError as error:
        tell_error(error)
    await conn.close()


async def copy():
    title("COPY")
    conn = await connect()
    for form in "text", "csv", "binary":
        out = io.BytesIO()
        print("  ", await conn.copy_from_query(
            "SELECT id, name FROM item WHERE id < $1 ORDER BY id", 3,
            output=out, format=form), out.getvalue())
    print("  ", await conn.copy_records_to_table(
        "big", records=[(i, "z" * 100) for i in range(20000)]))
    out = io.BytesIO()
    print("  ", await conn.copy_from_table("big", output=out),
          len(out.getvalue()))
    try:
        await conn.copy_records_to_table("big", records=[(1, "again")])
    except asyncpg.PostgresError as error:
        tell_error(error)
    state(conn)
    try:
        await conn.copy_to_table("big", source=io.BytesIO(b"x\ty\n"))
    except asyncpg.PostgresError as error:
        tell_error(error)
    state(conn)

    async def broken():
        yield b"90000\tx\n"
        raise RuntimeError("the source is broken")

    try:
        await conn.copy_to_table("big", source=broken())
    except (asyncpg.PostgresError, RuntimeError) as error:
        print("  ", type(error).__name__, error)
    state(conn)
    await run(conn, "fetch", "SELECT count(*) FROM big")
    await run(conn, "execute", "TRUNCATE big")
    await conn.close()


async def notifications():
    title("notifications")
    conn, other = await connect(), await connect()
    heard = asyncio.Queue()
    await conn.add_listener("news", lambda *what: heard.put_nowait(what))
    await other.execute("NOTIFY news, 'told'")
    await other.execute("SELECT pg_notify('news', $1)", "by a function")
    await conn.execute("NOTIFY news, 'own'")
    for number in range(3):
        _, pid, channel, payload = await heard.get()
        print("  ", channel, payload, pid == other.get_server_pid())
    await conn.reset()
    await conn.close()
    await other.close()


async def cancel():
    title("cancel")
    # asyncpg cancels once, when the time is up: long after it was sent.
    conn = await connect()
    for how in "execute", "fetch":
        try:
            await getattr(conn, how)("SELECT pg_sleep(600)", timeout=1)
        except asyncio.TimeoutError:
            print("   time is up")
        await run(conn, "fetch", "SELECT 1 AS one")
    await conn.close()


async def pools():
    title("pool")
    async with asyncpg.create_pool(min_size=1, max_size=2) as pool:
        for number in range(3):
            async with pool.acquire() as conn:
                async with conn.transaction():
                    await run(conn, "fetchval", "SELECT $1::int + 1", number)


async def lost():
    title("server goes away, reconnect")
    conn = await connect()
    await run(conn, "fetch", "SELECT pg_terminate_backend(pg_backend_pid())")
    conn = await connect()
    await run(conn, "fetchval", "SELECT 'again'")
    conn.terminate()
    try:
        await connect(database="sqloom_does_not_exist")
    except asyncpg.PostgresError as error:
        tell_error(error)


async def race(kind):
    """Without a transaction: "insert". In one: "update"; "locked" asks for the
    row first. The test runs two of them."""
    conn = await connect()
    if kind == "insert":
        await run(conn, "execute", "INSERT INTO log (txt) SELECT $1::text "
                  "WHERE NOT EXISTS (SELECT FROM log WHERE txt = $1)", "once")
    else:
        async with conn.transaction():
            price = await conn.fetchval(
                "SELECT price FROM item WHERE id = $1"
                + (" FOR UPDATE" if kind == "locked" else ""), 1)
            await conn.execute("UPDATE item SET price = $1 WHERE id = $2",
                               price + 1, 1)
    await conn.close()


async def main():
    await session()
    await simple()
    await values()
    await prepared()
    await transactions()
    await copy()
    await notifications()
    await cancel()
    await pools()
    await lost()
    title("end")


asyncio.run(race(sys.argv[1]) if len(sys.argv) > 1 else main())
