# SPDX-License-Identifier: Apache-2.0
"""sqloom proxy --record: who said what, in which order, with which answer."""

import json
import signal
import struct

import psycopg2
import pytest

from test_relay import descriptors, log_in, message, wait_until


@pytest.fixture
def recording(network, proxy, tmp_path):
    """A proxy that records; recording.read() ends it: header, events, end."""
    relay = proxy(network.address(), "--record", "r.trace")

    def read():
        assert relay.stop() == 0, relay.log
        lines = (tmp_path / "r.trace").read_text().splitlines()
        header, *events, end = map(json.loads, lines)
        assert header["kind"] == "record" and end["type"] == "end"
        return header, events, end

    relay.read = read
    return relay


@pytest.fixture
def connect(network, recording):
    made = []

    def make(**more):
        one = psycopg2.connect(host="127.0.0.1", port=recording.port,
                               user=network.user, dbname="postgres", **more)
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def said(header, events):
    """["a SELECT 1", ...]"""
    steps = {call["letter"]: call["steps"] for call in header["calls"]}
    return [f"{e['call']} {steps[e['call']][e['step']]['sql']}"
            if e["kind"] == "step" else f"{e['call']} {e['kind']}"
            for e in events]


def test_order_and_answers(recording, connect, command):
    one, two = connect(application_name="shop"), connect()
    first, second = one.cursor(), two.cursor()
    first.execute("CREATE TEMP TABLE t (i int PRIMARY KEY)")
    second.execute("SELECT 1 AS one, 'x' AS x, NULL AS n")
    first.execute("INSERT INTO t VALUES (1), (2)")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        first.execute("INSERT INTO t VALUES (1)")
    one.rollback()
    two.commit()
    held = descriptors(recording)
    one.close()
    two.close()
    # The proxy learns of a closing by and by; each had two sockets.
    wait_until(lambda: descriptors(recording) == held - 4)
    header, events, end = recording.read()

    assert [call["name"] for call in header["calls"]] == ["shop", "client 2"]
    assert {call["kind"] for call in header["calls"]} == {"client"}
    assert header["backend"].startswith("PostgreSQL 1")
    told = said(header, events)
    assert told[:8] == [
        "a BEGIN", "a CREATE TEMP TABLE t (i int PRIMARY KEY)",
        "b BEGIN", "b SELECT 1 AS one, 'x' AS x, NULL AS n",
        "a INSERT INTO t VALUES (1), (2)", "a INSERT INTO t VALUES (1)",
        "a ROLLBACK", "b COMMIT"]
    assert sorted(told[8:]) == ["a end", "b end"]
    row, = events[3]["results"]
    assert row["columns"] == ["one", "x", "n"]
    assert row["rows"] == [[1, "x", None]]
    assert events[4]["results"] == [{"changes": 2}]
    assert events[5]["results"][0]["code"] == "23505"
    assert events[5]["results"][0]["error"] == "integrity"
    steps = header["calls"][0]["steps"]
    assert steps[2]["writes"] == "t" and steps[2]["name"] == "INSERT t"
    assert end["notes"] == []
    shown = command("show", "r.trace")
    assert shown.returncode == 0
    assert b"8 statements on 2 connections" in shown.stdout


def test_extended_protocol(recording, command):
    """A text that is used twice is one step; the values are the events'."""
    stream, _ = log_in(recording.port)
    with stream:
        stream.sendall(
            message(b"P", b"s\0SELECT $1::int + $2::int AS sum\0\0\0"))
        for a, b in (b"40", b"2"), (b"1", b"1"):
            stream.sendall(
                message(b"B", b"\0s\0\0\0\0\2" + struct.pack(">I", len(a)) + a
                        + struct.pack(">I", len(b)) + b + b"\0\0")
                + message(b"E", b"\0\0\0\0\0"))
        stream.sendall(message(b"S", b""))
        data = b""
        while not data.endswith(b"Z\0\0\0\5I"):
            data += stream.recv(65536)
    header, events, _ = recording.read()
    step, = header["calls"][0]["steps"]
    assert step["sql"] == "SELECT $1::int + $2::int AS sum"
    assert [e["params"] for e in events[:2]] == ["$1 = 40, $2 = 2",
                                                 "$1 = 1, $2 = 1"]
    assert [e["step"] for e in events[:2]] == [0, 0]
    assert [e["results"][0]["count"] for e in events[:2]] == [1, 1]


def test_more_connections_than_letters(recording):
    held = [log_in(recording.port)[0] for _ in range(18)]
    for stream in held:
        stream.sendall(message(b"Q", b"SELECT 'all are relayed'\0"))
        assert b"all are relayed" in stream.recv(65536)
    header, events, end = recording.read()
    for stream in held:
        stream.close()
    assert len(header["calls"]) == 16
    assert len(events) == 16
    assert any("not recorded" in note and note.endswith(": 2")
               for note in end["notes"])
    assert any("were open" in note and note.endswith(": 16")
               for note in end["notes"])


def test_transactions_have_no_holes_when_texts_are_out(recording, connect):
    """Statements of which the text is known would still be recorded."""
    one = connect()
    one.autocommit = True
    cursor = one.cursor()
    for i in range(20_010):
        cursor.execute(f"SELECT {i}")
    cursor.execute("SELECT 1")
    header, events, end = recording.read()
    assert len(events) == 20_000
    assert said(header, events)[-1] == "a SELECT 19999"
    assert any("was full" in note and note.endswith(": 11")
               for note in end["notes"])


def test_a_closed_terminal_ends_it_as_ctrl_c_does(recording, connect,
                                                  tmp_path):
    connect().cursor().execute("SELECT 1")
    recording.process.send_signal(signal.SIGHUP)
    recording.process.wait(timeout=30)
    last = json.loads((tmp_path / "r.trace").read_text().splitlines()[-1])
    assert last["type"] == "end"


def test_equal_names(recording, connect):
    for name in "x", "x", "y", "x":
        connect(application_name=name).cursor().execute("SELECT 1")
    header, _, _ = recording.read()
    assert [call["name"] for call in header["calls"]] == ["x", "x 2", "y",
                                                          "x 3"]


def test_nobody_comes(recording):
    header, events, end = recording.read()
    assert header["calls"] == [] and events == [] and end["notes"] == []


def test_client_that_is_no_client(recording):
    """A dialog hears it: the client is told, and nobody else notices."""
    other, _ = log_in(recording.port)
    stream, _ = log_in(recording.port)
    with stream, other:
        stream.sendall(b"Q\x7f\xff\xff\xff" + b"x" * 100)
        data = b""
        while chunk := stream.recv(65536):
            data += chunk
        assert b"C08P01\0" in data
        recording.wait_for("client 127.0.0.1:.*Query")
        other.sendall(message(b"Q", b"SELECT 'fine'\0"))
        assert b"fine" in other.recv(65536)


def test_not_over_another_file(command, write, tmp_path, network):
    write("notes.txt", "mine\n")
    done = command("proxy", "--db", network.address(), "--port", 0, "--record",
                   "notes.txt")
    assert done.returncode == 2
    assert b"is not overwritten" in done.stderr
    assert (tmp_path / "notes.txt").read_text() == "mine\n"


def test_cannot_be_written(command, network):
    """Known at the start, not after hours."""
    done = command("proxy", "--db", network.address(), "--port", 0, "--record",
                   "no-such-directory/r.trace")
    assert done.returncode == 3
    assert b"no-such-directory/r.trace" in done.stderr
    assert done.stdout == b""
