# SPDX-License-Identifier: Apache-2.0
"""What no client should say to the proxy: a clear answer and a clear line in
the log, bounded memory, and nobody else notices."""

import os
import re
import resource
import socket
import struct

import pytest

from test_relay import (descriptors, dial, message, messages, peak_kb,
                        read_all, startup, wait_until)

MANY = 10_000


@pytest.fixture
def listening(network, proxy):
    """A proxy, and one client that must not notice anything."""
    relay = proxy(network.address())
    with dial(relay.port) as stream:
        stream.sendall(startup("trust", "postgres"))
        wait_for_ready(stream)
        yield relay
        stream.sendall(message(b"Q", b"SELECT 'undisturbed'\0"))
        assert b"undisturbed" in wait_for_ready(stream)
    assert relay.process.poll() is None
    assert relay.stop() == 0


def wait_for_ready(stream):
    data = b""
    while not data.endswith(b"Z\0\0\0\5I"):
        chunk = stream.recv(65536)
        assert chunk, data
        data += chunk
    return data


def fatal(data):
    """{field: text} of the one message."""
    found = messages(data)
    assert [kind for kind, _ in found] == [b"E"]
    fields = found[0][1].split(b"\0")
    return {field[:1].decode(): field[1:].decode() for field in fields if field}


BAD = {
    "zeros": (b"\0" * 100, "08P01"),
    "ones": (b"\xff" * 100, "08P01"),
    "an HTTP request": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "08P01"),
    "TLS at once": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 500,
                    "08P01"),
    "2 GB": (b"\x7f\xff\xff\xff" + b"\0\3\0\0", "08P01"),
    "4 GB": (b"\xff\xff\xff\xff" + b"\0\3\0\0", "08P01"),
    "too short": (b"\0\0\0\5\0\3\0\0", "08P01"),
    "no end of parameters": (b"\0\0\0\x0d\0\3\0\0user\0", "08P01"),
    "protocol 2": (startup("u", "d", protocol=0x20000), "0A000"),
    "protocol 4": (startup("u", "d", protocol=0x40000), "0A000"),
    "encryption for ever": (struct.pack(">II", 8, 80877103) * 5, "08P01"),
}


@pytest.mark.parametrize("name", BAD)
def test_startup(listening, name):
    data, sqlstate = BAD[name]
    with dial(listening.port) as stream:
        stream.sendall(data)
        said = read_all(stream)
        port = stream.getsockname()[1]
    told = fatal(said.lstrip(b"N"))
    assert told["S"] == "FATAL"
    assert told["C"] == sqlstate
    line = f"client 127.0.0.1:{port}: {told['M']}\n"
    listening.wait_for(re.escape(line))


@pytest.mark.parametrize("size", [1, 4, 7, 20])
def test_half_a_startup_packet(listening, size):
    """Silence disturbs nobody; who closes is forgotten."""
    before = descriptors(listening)
    quiet = [dial(listening.port) for _ in range(20)]
    for stream in quiet:
        stream.sendall(startup("trust", "postgres")[:size])
    wait_until(lambda: descriptors(listening) == before + 20)
    for stream in quiet:
        stream.close()
    wait_until(lambda: descriptors(listening) == before)


LATER = {
    "zeros": b"\0" * 1000,
    "anything": os.urandom(1000),
    "2 GB": b"Q\x7f\xff\xff\xff" + b"x" * 1000,
    "too short": b"Q\0\0\0\1",
    "4 GB": b"Q\xff\xff\xff\xff",
    "no such message": b"?\0\0\0\4",
}


@pytest.mark.parametrize("name", LATER)
def test_after_the_startup(listening, name):
    """The server itself answers such a client."""
    with dial(listening.port) as stream:
        stream.sendall(startup("trust", "postgres"))
        wait_for_ready(stream)
        stream.sendall(LATER[name])
        stream.shutdown(socket.SHUT_WR)
        read_all(stream)


def test_half_a_message(network, listening):
    """It is never completed by what the proxy says itself."""
    network.sql("CREATE TABLE IF NOT EXISTS half (i int); TRUNCATE half")
    whole = message(b"Q", b"INSERT INTO half VALUES (1);" + b" " * 20 + b"\0")
    for missing in range(1, 12):
        with dial(listening.port) as stream:
            stream.sendall(startup("trust", "postgres"))
            wait_for_ready(stream)
            stream.sendall(whole[:-missing])
    wait_until(lambda: network.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'trust'")
        == "1")
    assert network.sql("SELECT count(*) FROM half") == "0"
    network.sql("DROP TABLE half")


def test_cancel_request_of_nobody(listening):
    with dial(listening.port) as stream:
        stream.sendall(struct.pack(">IIII", 16, 80877102, 1, 2))
        assert read_all(stream) == b""


def test_too_many(network, proxy):
    """The limit is said, once in the log; then there is room again."""
    relay = proxy(network.address(), "--max-connections", 3)
    held = []
    for _ in range(3):
        stream = dial(relay.port)
        stream.sendall(startup("trust", "postgres"))
        wait_for_ready(stream)
        held.append(stream)
    for _ in range(5):
        with dial(relay.port) as stream:
            stream.sendall(startup("trust", "postgres"))
            told = fatal(read_all(stream))
        assert told["C"] == "53300"
        assert "3 connections" in told["M"]
    assert relay.log.count("3 connections") == 1
    held.pop().close()

    def gets_in():
        with dial(relay.port) as stream:
            stream.sendall(startup("trust", "postgres"))
            return stream.recv(1) == b"R"

    wait_until(gets_in)
    for stream in held:
        stream.close()
    assert relay.stop() == 0


def raise_limit(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        count = hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    return soft, hard


def test_ten_thousand(network, listening):
    """More than there may be, and more than it has descriptors for."""
    limits = raise_limit(MANY + 500)
    resource.prlimit(listening.process.pid, resource.RLIMIT_NOFILE,
                     (512, 512))
    memory, before = peak_kb(listening), descriptors(listening)
    held = []
    try:
        for i in range(min(MANY, resource.getrlimit(
                resource.RLIMIT_NOFILE)[0] - 200)):
            stream = dial(listening.port)
            if i % 2:
                stream.send(startup("trust", "postgres")[:i % 30])
            held.append(stream)
        assert descriptors(listening) <= 512
        assert "no more file descriptors" in listening.log
        assert listening.log.count("no more file descriptors") < 100
        assert peak_kb(listening) - memory < 16 * 1024
    finally:
        for stream in held:
            stream.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    wait_until(lambda: descriptors(listening) == before)
    with dial(listening.port) as stream:
        stream.sendall(startup("trust", "postgres"))
        wait_for_ready(stream)
