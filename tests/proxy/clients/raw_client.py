#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""raw_client.py FIRST COUNT: no driver at all, but any messages in any order,
by the seeds FIRST, FIRST + 1 ...; every byte that the server answers is
written to standard output.

Drivers are tidy: none of them sends a Query between Bind and Execute, two
Syncs in a row, or ten queries before it reads the first answer. What it may do
is not what is asked here, but what it gets. Where to connect comes from PGHOST
and the like (the user needs no password). Expects schema.sql.
"""

import os
import random
import socket
import struct
import sys

# What does no harm, comes out the same each time, and leaves the schema alone.
STATEMENTS = """
SELECT 1
SELECT generate_series(1, 5)
SELECT * FROM item ORDER BY id
SELECT 1 / (3 - i) FROM generate_series(1, 5) AS i
SELECT notes(2)
SELECT fails('raw')
SELECT * FROM nowhere
SELECT nothing FROM item
SELEC
SELECT 'ä' AS "größe", NULL, ''
INSERT INTO log (txt) VALUES ('a') RETURNING id
INSERT INTO log (txt) VALUES ('b'), ('c')
INSERT INTO log (txt) SELECT 'd' WHERE NOT EXISTS (SELECT FROM log)
INSERT INTO item VALUES (1, 'again')
INSERT INTO line VALUES (1, 2)
INSERT INTO line VALUES (1, 3) RETURNING id
INSERT INTO line VALUES (7, 99)
DELETE FROM line WHERE id <> 1
UPDATE item SET price = price + 1 WHERE id = 1
UPDATE log SET txt = txt || '!'
DELETE FROM log
SELECT txt, count(*) FROM log GROUP BY txt ORDER BY txt
SELECT id FROM item WHERE id = 1 FOR UPDATE
BEGIN
BEGIN ISOLATION LEVEL SERIALIZABLE
START TRANSACTION READ ONLY
COMMIT
END
ROLLBACK
ABORT
COMMIT AND CHAIN
ROLLBACK AND CHAIN
SAVEPOINT a
SAVEPOINT b
RELEASE a
ROLLBACK TO a
ROLLBACK TO SAVEPOINT b
SET CONSTRAINTS ALL IMMEDIATE
SET application_name = 'raw'
SET LOCAL application_name = 'local'
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ
RESET ALL
SHOW transaction_isolation
PREPARE q AS SELECT name FROM item WHERE id = 2
EXECUTE q
DEALLOCATE q
DECLARE c CURSOR FOR SELECT generate_series(1, 9)
DECLARE h CURSOR WITH HOLD FOR SELECT id FROM item ORDER BY id
FETCH 2 FROM c
FETCH h
MOVE 1 IN c
CLOSE c
CLOSE ALL
LISTEN news
NOTIFY news, 'raw'
UNLISTEN *
LOCK TABLE log IN EXCLUSIVE MODE
EXPLAIN (COSTS off) SELECT * FROM log
VALUES (1), (2)
WITH gone AS (DELETE FROM log RETURNING *) SELECT count(*) FROM gone
DISCARD PLANS
VACUUM log
CALL commits(2)
DO $$ BEGIN PERFORM notes(1); END $$
DO $$ BEGIN COMMIT; END $$
COPY (SELECT id, name FROM item ORDER BY id) TO STDOUT
COPY (SELECT 1 / (2 - i) FROM generate_series(1, 3) AS i) TO STDOUT
-- only a comment
/* and */ SELECT /* within; */ ';' ; -- behind
""".strip().splitlines() + ["", ";", " ; ;"]
WITH_PARAMETERS = """
SELECT $1::int
SELECT name FROM item WHERE id = $1::int
SELECT 1 / $1::int
INSERT INTO log (txt) VALUES ('p' || $1::int)
UPDATE item SET price = $1::int WHERE id = 2
""".strip().splitlines()
COPY_IN = "COPY big FROM STDIN"


def text(value):
    return value.encode() + b"\0"


def without_tables(body):
    """A RowDescription, without the numbers of tables: schema.sql makes them
    anew."""
    out, rest = body[:2], body[2:]
    while rest:
        name, _, rest = rest.partition(b"\0")
        table = b"tab" if any(rest[:4]) else b"no "
        out += name + b"\0" + table + rest[4:18]
        rest = rest[18:]
    return out


class Session:
    """A connection, all of whose answers are written down."""

    def __init__(self):
        self.socket = socket.create_connection(
            (os.environ["PGHOST"], int(os.environ["PGPORT"])))
        self.socket.settimeout(60)
        body = struct.pack("!I", 196608) + b"".join(map(text, (
            "user", os.environ["PGUSER"], "database",
            os.environ["PGDATABASE"]))) + b"\0"
        self.socket.sendall(struct.pack("!I", len(body) + 4) + body)
        self.buffer = b""
        self.out = b""
        self.gone = False
        self.bound = False
        self.known, self.new = {}, {}
        self.wait(b"Z")

    def put(self, kind, body=b""):
        self.out += kind + struct.pack("!I", len(body) + 4) + body

    def flush(self):
        """What was put goes out, in one piece or in several."""
        while self.out and not self.gone:
            try:
                self.socket.sendall(self.out)
            except OSError:
                self.gone = True
            self.out = b""

    def message(self):
        while True:
            if len(self.buffer) >= 5:
                size = 1 + struct.unpack("!I", self.buffer[1:5])[0]
                if len(self.buffer) >= size:
                    kind = self.buffer[:1]
                    body = self.buffer[5:size]
                    self.buffer = self.buffer[size:]
                    return kind, body
            try:
                more = self.socket.recv(65536)
            except ConnectionError:
                more = b""
            if not more:
                self.gone = True
                return b"", b""
            self.buffer += more

    def next(self):
        """Writes the next answer."""
        kind, body = self.message()
        if kind == b"S":
            # The server tells before each ReadyForQuery what has changed. Where
            # a Query was taken apart there are more of these, so only what is
            # said in the end is compared.
            name, value, _ = body.split(b"\0")
            self.new[name] = value
            return kind, body
        if kind == b"Z":
            for name in sorted(self.new):
                if self.new[name] != self.known.get(name):
                    print("  < S", name.decode(), self.new[name].decode())
            self.known.update(self.new)
            self.new.clear()
        if kind == b"K":
            body = b"key"
        elif kind == b"A":
            body = b"pid" + body[4:]
        elif kind == b"T":
            body = without_tables(body)
        print("  <", kind.decode(), ascii(body.decode("latin-1")))
        return kind, body

    def wait(self, kinds):
        """Writes answers up to one of these; its kind comes back."""
        while True:
            kind, _ = self.next()
            if not kind or kind in kinds:
                return kind

    def wait_for_error(self, word):
        while not self.gone:
            kind, body = self.next()
            if kind == b"E" and word.encode() in body:
                self.wait(b"Z")
                break


def describe(what):
    print(">", what)


def some(random, session):
    """One message that asks for no answer yet, of the extended protocol."""
    statement = random.choice(["", "", "s1", "s2"])
    # What a Query leaves behind as the unnamed portal crashes PostgreSQL 15, if
    # it is executed after an error.
    portal = random.choice(["", "", "p1"]) if session.bound else "p1"
    kind = random.choices(
        ["parse", "bind", "execute", "run", "describe", "close", "flush"],
        [3, 3, 4, 6, 2, 1, 1])[0]
    if kind in ("parse", "run"):
        if random.random() < 0.4:
            sql, count = random.choice(WITH_PARAMETERS), 1
        else:
            sql, count = random.choice(STATEMENTS), 0
        describe(f"parse {statement!r} {sql}")
        session.put(b"P", text(statement) + text(sql) + struct.pack("!H", 0))
    else:
        count = random.choice([0, 0, 1])
    if kind in ("bind", "run"):
        portal = random.choice(["", "", "p1"])
        session.bound = session.bound or portal == ""
        value = random.choice([b"0", b"1", b"2", b"x", None])
        values = b"" if not count else (
            struct.pack("!i", -1) if value is None
            else struct.pack("!i", len(value)) + value)
        result = random.choice([0, 0, 1])
        describe(f"bind {portal!r} {statement!r} {value} {result}")
        session.put(b"B", text(portal) + text(statement) + struct.pack("!H", 0)
                    + struct.pack("!H", count) + values
                    + struct.pack("!HH", 1, result))
    if kind == "describe" or kind == "run" and random.random() < 0.5:
        which = random.choice(["S", "P"])
        name = statement if which == "S" else portal
        describe(f"describe {which} {name!r}")
        session.put(b"D", which.encode() + text(name))
    if kind in ("execute", "run"):
        most = random.choice([0, 0, 0, 1, 2])
        describe(f"execute {portal!r} {most}")
        session.put(b"E", text(portal) + struct.pack("!I", most))
    if kind == "close":
        which = random.choice(["S", "P"])
        name = statement if which == "S" else portal
        describe(f"close {which} {name!r}")
        session.put(b"C", which.encode() + text(name))
    if kind == "flush":
        describe("flush")
        session.put(b"H")


def query(random, session):
    count = random.choices([1, 2, 3, 5], [6, 2, 2, 1])[0]
    sql = "; ".join(random.choice(STATEMENTS) for _ in range(count))
    describe(f"query {sql}")
    session.bound = False
    session.put(b"Q", text(sql))


def copy(random, session):
    """COPY waits for data, so this waits for COPY."""
    before, behind = random.choice([("", ""), ("", ""), ("SELECT 1; ", ""), (
        "BEGIN; ", "; COMMIT"), ("", "; SELECT 1 / 0"), ("", "; SELECT 2")])
    describe(f"query {before}{COPY_IN}{behind}")
    session.put(b"Q", text(before + COPY_IN + behind))
    session.flush()
    if session.wait(b"GZ") != b"G":
        return False
    for _ in range(random.randrange(4)):
        line = random.choice([b"1\tone\n", b"2\ttwo\n", b"x\ty\n", b"3\tth",
                              b"ree\n"])
        describe(f"copy data {line}")
        session.put(b"d", line)
    if random.random() < 0.7:
        describe("copy done")
        session.put(b"c")
    else:
        describe("copy fail")
        session.put(b"f", text("thought better of it"))
    return True


def script(seed):
    chance = random.Random(seed)
    print(f"== seed {seed}")
    session = Session()
    for turn in range(chance.randrange(3, 12)):
        expected, passed_over = 0, False
        # Several requests may be under way before the first answer is read.
        for _ in range(chance.choice([1, 1, 1, 2, 4])):
            kind = chance.random()
            if kind < 0.45:
                query(chance, session)
            elif kind < 0.92:
                session.bound = False
                for _ in range(chance.randrange(1, 7)):
                    some(chance, session)
                if chance.random() < 0.05:
                    # In the wake of an error it gets no answer.
                    query(chance, session)
                    passed_over = True
                describe("sync")
                session.put(b"S")
            elif not passed_over:
                # Its answers must be the next ones.
                session.flush()
                for _ in range(expected):
                    session.wait(b"Z")
                expected = 0
                if not copy(chance, session):
                    continue
            else:
                continue
            expected += 1
            if chance.random() < 0.5:
                session.flush()
        if passed_over:
            session.put(b"Q", text(f"turn_{turn}"))
            session.flush()
            session.wait_for_error(f"turn_{turn}")
            continue
        session.flush()
        for _ in range(expected):
            session.wait(b"Z")
        if session.gone:
            break
    describe("terminate")
    session.put(b"X")
    session.flush()
    session.wait(b"")
    sys.stdout.flush()


if __name__ == "__main__":
    first, count = map(int, sys.argv[1:])
    for number in range(first, first + count):
        script(number)
