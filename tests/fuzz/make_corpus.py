#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""make_corpus.py [DIRECTORY]: writes the seeds of fuzz_wire and fuzz_dialog.

They are conversations as PostgreSQL's clients and servers have them: what the
client says and what the server says as two files for fuzz_wire, and scripts
for fuzz_dialog (see fuzz_dialog.c for their operations). The other inputs of
the corpus were found by the fuzzers.
"""

import pathlib
import struct
import sys


def i16(n):
    return struct.pack(">H", n & 0xFFFF)


def i32(n):
    return struct.pack(">I", n & 0xFFFFFFFF)


def text(s):
    return s.encode() + b"\0"


def msg(kind, body=b""):
    return kind.encode() + i32(len(body) + 4) + body


def startup(protocol=0x30000, **params):
    body = i32(protocol)
    for name, value in params.items():
        body += text(name) + text(value)
    body += b"\0"
    return i32(len(body) + 4) + body


def request(code, rest=b""):
    return i32(8 + len(rest)) + i32(code) + rest


# The client's


def query(sql):
    return msg("Q", text(sql))


def parse(name, sql, types=()):
    return msg("P", text(name) + text(sql) + i16(len(types))
               + b"".join(map(i32, types)))


def values(items):
    return b"".join(i32(-1) if item is None else i32(len(item)) + item
                    for item in items)


def bind(portal, statement, params=(), formats=(), results=()):
    return msg("B", text(portal) + text(statement)
               + i16(len(formats)) + b"".join(map(i16, formats))
               + i16(len(params)) + values(params)
               + i16(len(results)) + b"".join(map(i16, results)))


def describe(kind, name):
    return msg("D", kind.encode() + text(name))


def close(kind, name):
    return msg("C", kind.encode() + text(name))


def execute(portal, rows=0):
    return msg("E", text(portal) + i32(rows))


SYNC, FLUSH, TERMINATE = msg("S"), msg("H"), msg("X")

# The server's


def auth(code, rest=b""):
    return msg("R", i32(code) + rest)


def columns(*names, types=None, binary=0):
    types = types or [23] * len(names)
    return msg("T", i16(len(names)) + b"".join(
        text(name) + i32(16384) + i16(1) + i32(kind) + i16(4) + i32(-1)
        + i16(binary) for name, kind in zip(names, types)))


def row(*items):
    return msg("D", i16(len(items)) + values(items))


def tag(s):
    return msg("C", text(s))


def ready(status="I"):
    return msg("Z", status.encode())


def report(kind, code, message, **more):
    fields = {"S": "ERROR", "V": "ERROR", "C": code, "M": message, **more}
    return msg(kind, b"".join(k.encode() + text(v)
                              for k, v in fields.items()) + b"\0")


def setting(name, value):
    return msg("S", text(name) + text(value))


GREETING = (auth(0) + setting("server_version", "15.8")
            + setting("client_encoding", "UTF8")
            + setting("standard_conforming_strings", "on")
            + msg("K", i32(4711) + b"\1\2\3\4") + ready())

# Type, and a value of it in binary.
BINARY = [
    (16, b"\1"), (17, b"\0\xff"), (20, bytes(7) + b"\5"), (21, b"\xff\xfe"),
    (23, b"\0\0\0\7"), (25, b"it's"), (26, b"\0\0\x40\0"),
    (114, b'{"a": 1}'), (700, struct.pack(">f", 0.1)),
    (701, struct.pack(">d", -1e300)), (701, struct.pack(">d", float("nan"))),
    (1043, "\u00e4\u20ac".encode()), (1082, b"\xff\xff\xff\0"),
    (1082, b"\x7f\xff\xff\xff"), (1114, bytes(4) + b"\1\2\3\4"),
    (1114, b"\x80" + bytes(6) + b"\1"), (1184, b"\x80" + bytes(7)),
    (1700, i16(2) + i16(0) + i16(0x4000) + i16(3) + i16(12) + i16(3450)),
    (1700, i16(0) + i16(0) + i16(0xC000) + i16(0)),
    (1700, i16(1) + i16(3) + i16(0) + i16(9) + i16(1)),
    (2950, bytes(range(16))), (3802, b'\1{"b": 2}'), (99999, b"\1\2\3"),
    (23, None),
]
TEXTS = [(17, b"\\x00ff"), (17, b"\\001"), (20, b"-5"), (21, b"x"),
         (23, b"99999999999999999999999999"), (25, b"tell me"), (16, b"t"),
         (1700, b"1e5"), (0, b"'"), (25, b"x" * 200)]


def typed(items, binary):
    """All of these as parameters and as a row."""
    kinds = [kind for kind, value in items]
    data = [value for kind, value in items]
    names = [f"c{n}" for n in range(len(items))]
    return (parse("", "SELECT " + ", ".join(
                f"${n + 1}" for n in range(len(items))), kinds)
            + bind("", "", data, (binary,), (binary,)) + describe("P", "")
            + execute("") + SYNC + query("SELECT * FROM t"),
            msg("1") + msg("2") + columns(*names, types=kinds, binary=binary)
            + row(*data) + tag("SELECT 1") + ready()
            + columns(*names, types=kinds, binary=binary)
            + row(*data) + row(*data) + tag("SELECT 2") + ready())


# name: (the client's bytes, the server's bytes)
CONVERSATIONS = {
    "simple": (
        query("SELECT id FROM account WHERE id = 1") + TERMINATE,
        columns("id") + row(b"1") + tag("SELECT 1") + ready()),
    "several": (
        query("BEGIN; UPDATE t SET v = 1; COMMIT"),
        tag("BEGIN") + tag("UPDATE 3") + tag("COMMIT") + ready()),
    "empty": (query(""), msg("I") + ready()),
    "error": (
        query("INSERT INTO t VALUES (1)"),
        report("E", "23505", "duplicate key", D="Key (id)=(1) exists.",
               H="Use another.", t="t", n="t_pkey", F="nbtinsert.c", L="664")
        + ready("E")),
    "notices": (
        query("SELECT pg_notify('c', 'x')"),
        report("N", "00000", "so it is", S="NOTICE", V="NOTICE")
        + columns("pg_notify") + row(b"") + tag("SELECT 1")
        + msg("A", i32(4711) + text("c") + text("x")) + ready()),
    "extended": (
        parse("", "SELECT $1::int4, $2, $3", (23, 0, 25))
        + bind("", "", (b"\0\0\0\5", None, b""), (1, 0, 0), (1,))
        + describe("P", "") + execute("") + SYNC,
        msg("1") + msg("2") + columns("a", "b", "c")
        + row(b"\0\0\0\5", None, b"") + tag("SELECT 1") + ready()),
    "prepared": (
        parse("s1", "SELECT * FROM t WHERE id = $1") + describe("S", "s1")
        + SYNC + bind("p1", "s1", (b"7",)) + execute("p1", 1) + FLUSH
        + execute("p1", 1) + close("P", "p1") + close("S", "s1") + SYNC,
        msg("1") + msg("t", i16(1) + i32(23)) + columns("id", "v") + ready()
        + msg("2") + row(b"7", b"1") + msg("s") + tag("SELECT 0") + msg("3")
        + msg("3") + ready()),
    "pipeline": (
        parse("", "INSERT INTO t VALUES (1)") + bind("", "") + execute("")
        + parse("", "fail") + bind("", "") + execute("") + SYNC
        + parse("", "SELECT 1") + bind("", "") + execute("") + SYNC,
        msg("1") + msg("2") + tag("INSERT 0 1")
        + report("E", "42601", "syntax error", P="1") + ready()
        + msg("1") + msg("2") + row(b"1") + tag("SELECT 1") + ready()),
    "copy-in": (
        query("COPY t FROM STDIN") + msg("d", b"1\t2\n") + msg("d", b"3")
        + msg("d", b"\t4\n") + msg("c"),
        msg("G", b"\0" + i16(2) + i16(0) + i16(0)) + tag("COPY 2") + ready()),
    "copy-fail": (
        query("COPY t FROM STDIN") + msg("f", text("no more")),
        msg("G", b"\1" + i16(1) + i16(1))
        + report("E", "57014", "COPY from stdin failed") + ready()),
    "copy-out": (
        query("COPY t TO STDOUT"),
        msg("H", b"\0" + i16(1) + i16(0)) + msg("d", b"1\n") + msg("d", b"2\n")
        + msg("c") + tag("COPY 2") + ready()),
    "copy-both": (
        query("START_REPLICATION SLOT s LOGICAL 0/0")
        + msg("d", b"r" + bytes(33)) + msg("c"),
        msg("W", b"\0" + i16(0)) + msg("d", b"k" + bytes(17))
        + msg("d", b"w" + bytes(24) + b"B") + msg("c") + tag("COPY 0")
        + ready()),
    "function": (
        msg("F", i32(1598) + i16(1) + i16(1) + i16(1) + values((b"\0",))
            + i16(1)),
        msg("V", i32(4) + b"abcd") + ready()),
    "scram": (
        msg("p", text("SCRAM-SHA-256") + i32(32)
            + b"n,,n=,r=fyko+d2lbbFgONRv9qkxdawL")
        + msg("p", b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1Z,"
                   b"p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="),
        auth(10, text("SCRAM-SHA-256-PLUS") + text("SCRAM-SHA-256") + b"\0")
        + auth(11, b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1Z,"
                   b"s=QSXCR+Q6sek8bf92,i=4096")
        + auth(12, b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=") + GREETING),
    "md5": (
        msg("p", text("md593b1b7d3a1f2c0e1d2c3b4a5968778695a")),
        auth(5, b"salt") + GREETING),
    "protocol-3.2": (
        msg("p", text("secret")),
        msg("v", i32(0x30002) + i32(1) + text("_pq_.command_tag"))
        + auth(3) + auth(0) + msg("K", i32(1) + bytes(range(256))) + ready()),
    "types-binary": typed(BINARY, 1),
    "types-text": typed(TEXTS, 0),
    "bad-lengths": (
        b"Q\x7f\xff\xff\xff", b"D\x80\0\0\0\0\1" + b"Z\0\0\0\6II"),
}

STARTUPS = {
    "startup": startup(user="ann", database="shop_test",
                       application_name="web", client_encoding="UTF8",
                       options="-c geqo=off"),
    "startup-3.2": startup(0x30002, user="ann", **{"_pq_.x": "on"}),
    "startup-replication": startup(user="ann", replication="database"),
    "startup-ssl": request(80877103),
    "startup-gssenc": request(80877104),
    "startup-cancel": request(80877102, i32(4711) + b"\1\2\3\4"),
    "startup-cancel-long": request(80877102, i32(4711) + bytes(range(256))),
    "startup-protocol-2": i32(296) + i32(0x20000) + bytes(288),
    "startup-no-end": request(0x30000, b"user\0ann\0"),
    "startup-http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "startup-tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}

# ---- Scripts of fuzz_dialog ------------------------------------------------

RAW, HELD, RESULTS, GRANT, SPLIT = 1, 2, 4, 8, 16
PARSE, BIND, DESCRIBE, EXECUTE = 1, 2, 4, 8
SAY_SYNC, NAMED, LIMITED, SAY_FLUSH = 16, 32, 64, 128
WHOLE = PARSE | BIND | DESCRIBE | EXECUTE


def q(sql):
    """A Query."""
    return b"q" + bytes([len(sql.encode())]) + sql.encode()


def e(what, sql=""):
    """Messages of the extended protocol."""
    out = b"e" + bytes([what])
    if what & PARSE:
        out += bytes([len(sql.encode())]) + sql.encode()
    return out


def m(kind, body=b""):
    """A message of the client's."""
    return b"m" + kind.encode() + bytes([len(body)]) + body


def raw(side, data):
    return side + i16(len(data)) + data


A = b"A"  # the model answers
D = b"d"  # until nothing moves

SCRIPTS = {
    "select": q("SELECT 1") + A,
    "select-wide": q("SELECT wide") + A,
    "insert": q("INSERT INTO t VALUES (1)") + A + b"G" + A + b"G" + A,
    "insert-fails": q("INSERT INTO t SELECT fail") + b"G" + A + A,
    "deferred": q("INSERT INTO t SELECT defer") + b"G" + A + b"G" + A,
    "notice": q("INSERT INTO t SELECT notice, notify") + D,
    "transaction": q("BEGIN") + D + q("UPDATE t SET v = 1") + D + q("COMMIT"),
    "transaction-fails": q("BEGIN") + D + q("SELECT fail") + D + q("SELECT 1")
    + D + q("ROLLBACK"),
    "savepoint": q("BEGIN; SAVEPOINT a") + D + q("SELECT fail") + D
    + q("ROLLBACK TO a") + D + q("COMMIT"),
    "several": q("INSERT INTO t VALUES (1); SELECT 2; UPDATE t SET v = 3"),
    "several-fail": q("INSERT INTO t VALUES (1); SELECT fail; SELECT 2"),
    "several-deferred": q("INSERT INTO t SELECT defer; SELECT 2"),
    "several-with-begin": q("BEGIN; UPDATE t SET v = 1; COMMIT"),
    "several-fail-in-block": q("BEGIN; SELECT fail; COMMIT") + D
    + q("ROLLBACK"),
    "several-control": q("SELECT 1; BEGIN; SELECT 2; COMMIT; SELECT 3"),
    "several-characters": q("SELECT 'ä€'; LOCK t; SAVEPOINT x"),
    "syntax": q("SELEC 1") + D + q("SELECT 1"),
    "empty": q("") + D + q(" -- nothing") + D + q(";;"),
    "vacuum": q("VACUUM t") + D + q("SELECT 1; VACUUM t"),
    "lock": q("LOCK TABLE t") + D + q("DECLARE c CURSOR FOR SELECT 1"),
    "copy-in": q("COPY t FROM STDIN") + D + m("d", b"1\n") + m("d", b"2\n")
    + m("c") + D,
    "copy-in-at-once": q("COPY t FROM STDIN") + m("d", b"1\n") + m("c")
    + q("SELECT 1"),
    "copy-fail": q("COPY t FROM STDIN") + D + m("d", b"1\n")
    + m("f", b"no\0") + D,
    "copy-in-fails": q("COPY t FROM STDIN") + D + m("d", b"fail\n")
    + raw(b"c", b"d\0\0\0\x08ab") + D + raw(b"c", b"cd") + m("c") + D
    + q("SELECT 1"),
    "copy-in-several": q("SELECT 1; COPY t FROM STDIN; SELECT 2") + D
    + m("d", b"1\n") + m("c") + D,
    "copy-out": q("COPY t TO STDOUT") + D,
    "copy-extended": e(WHOLE | SAY_SYNC, "COPY t FROM STDIN") + D
    + m("d", b"1\n") + m("c") + m("S") + D,
    "extended": e(WHOLE | SAY_SYNC, "SELECT 1") + D,
    "extended-insert": e(WHOLE | SAY_SYNC, "INSERT INTO t VALUES (1)") + D,
    "extended-fails": e(WHOLE | SAY_SYNC, "INSERT INTO t SELECT fail") + D,
    "extended-deferred": e(WHOLE | SAY_SYNC, "INSERT INTO t SELECT defer") + D,
    "extended-returning": e(WHOLE | LIMITED | SAY_FLUSH,
                            "INSERT INTO t VALUES (1) RETURNING v") + D
    + e(EXECUTE | LIMITED | SAY_SYNC) + D,
    "prepared": e(PARSE | NAMED | SAY_SYNC, "SELECT 1") + D
    + e(BIND | EXECUTE | NAMED | SAY_SYNC) + D
    + e(BIND | EXECUTE | NAMED | SAY_SYNC) + D + m("C", b"Ss\0") + m("S") + D,
    "unnamed-kept": e(PARSE | SAY_SYNC, "SELECT 1") + D + b"i" + D
    + e(BIND | EXECUTE | SAY_SYNC) + D,
    "portal-suspended": q("BEGIN") + D
    + e(PARSE | BIND | EXECUTE | LIMITED | NAMED | SAY_SYNC, "SELECT 1") + D
    + e(EXECUTE | LIMITED | NAMED | SAY_SYNC) + D + q("COMMIT"),
    "pipeline": e(WHOLE, "INSERT INTO t VALUES (1)")
    + e(WHOLE, "UPDATE t SET v = 1") + e(WHOLE | SAY_SYNC, "SELECT 1") + D,
    "pipeline-fails": e(WHOLE, "INSERT INTO t VALUES (1)")
    + e(WHOLE, "SELECT fail") + e(WHOLE | SAY_SYNC, "SELECT 1")
    + e(WHOLE | SAY_SYNC, "SELECT 2") + D,
    "pipeline-syntax": e(WHOLE, "INSERT INTO t VALUES (1)")
    + e(WHOLE, "SELEC") + e(WHOLE | SAY_SYNC, "SELECT 1") + D
    + q("SELECT 3") + D,
    "pipeline-block": e(WHOLE, "BEGIN") + e(WHOLE, "UPDATE t SET v = 1")
    + e(WHOLE | SAY_SYNC, "COMMIT") + D,
    "pipeline-flush": e(WHOLE | SAY_FLUSH, "INSERT INTO t VALUES (1)") + D
    + e(WHOLE | SAY_FLUSH, "INSERT INTO t VALUES (2)") + D + m("S") + D,
    "pipeline-query": e(WHOLE, "INSERT INTO t VALUES (1)") + q("SELECT 2")
    + D + m("S") + D,
    "pipeline-empty": e(WHOLE | SAY_SYNC, "") + m("S") + m("S") + D,
    "unknown-names": e(BIND | EXECUTE | SAY_SYNC) + D
    + e(EXECUTE | NAMED | SAY_SYNC) + D + m("D", b"Sx\0") + m("S") + D,
    "function": m("F", bytes(10)) + D + q("BEGIN") + D + m("F", bytes(10)),
    "inject": b"i" + D + q("SELECT 1") + D + b"i" + A + q("SELECT 2") + D,
    "modes": b"h" + q("INSERT INTO t VALUES (1)") + b"t" + D + b"h"
    + e(WHOLE, "SELECT 1") + b"t" + m("S") + D + q("SELECT 2"),
    "before": q("UPDATE t SET v = 1") + b"b" + A + b"G" + A
    + e(WHOLE | SAY_SYNC, "UPDATE t SET v = 1") + A + b"B" + A + b"G" + A,
    "terminate": q("SELECT 1") + D + m("X"),
    "bytes": b"p\1" + q("SELECT 1; SELECT 2")
    + e(WHOLE | SAY_SYNC, "INSERT INTO t VALUES (1)") + D,
    "deallocate": e(PARSE | NAMED | SAY_SYNC, "SELECT 1") + D
    + q("DEALLOCATE s") + D + e(BIND | EXECUTE | NAMED | SAY_SYNC) + D
    + e(PARSE | NAMED | SAY_SYNC, "SELECT 2") + D + q("DEALLOCATE ALL") + D
    + e(PARSE | NAMED | SAY_SYNC, "SELECT 3") + D + q("DISCARD ALL") + D,
    "places": q("SELECT 'ä', 1; SELECT fails; SELECT 2") + D
    + q("SELECT fails") + D + e(WHOLE | SAY_SYNC, " SELECT fails") + D
    + q("BEGIN; SELECT '€'; SELECT notices; UPDATE t SET v = fails"),
    "crash": q("INSERT INTO t SELECT 1") + D + q("SELECT 1; SELECT crash") + D
    + q("SELECT 2"),
    "crash-extended": e(WHOLE, "INSERT INTO t VALUES (1)")
    + e(WHOLE | SAY_SYNC, "SELECT crash") + D,
    "deferred-track": e(WHOLE, "INSERT INTO t SELECT defer") + m("S") + A,
    "memory": b"f\x05" + q("INSERT INTO t VALUES (1)")
    + e(WHOLE | SAY_SYNC, "SELECT 1") + D,
}

# Each script under each of these beginnings.
BEGINNINGS = {
    "track": RESULTS,
    "hold": HELD | RESULTS,
    "split": HELD | RESULTS | GRANT | SPLIT,
}


def seeds(directory):
    """Path and content of every seed."""
    for name, (client, server) in CONVERSATIONS.items():
        yield directory / "wire" / f"{name}.client", client
        yield directory / "wire" / f"{name}.server", server
        yield (directory / "dialog" / f"both-{name}.track",
               bytes([RAW | RESULTS]) + raw(b"C", GREETING)
               + raw(b"c", client) + raw(b"C", server))
    yield directory / "wire" / "greeting.server", GREETING
    for name, packet in STARTUPS.items():
        yield directory / "wire" / name, packet
    for name, script in SCRIPTS.items():
        for begin, how in BEGINNINGS.items():
            # Held: what is granted by hand, or at the end without a split.
            yield (directory / "dialog" / f"{name}.{begin}",
                   bytes([how]) + script)


def main():
    directory = pathlib.Path(__file__).resolve().parent / "corpus"
    if len(sys.argv) > 1:
        directory = pathlib.Path(sys.argv[1])
    count = 0
    for path, content in seeds(directory):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        count += 1
    print(f"{count} seeds in {directory}")


main()
