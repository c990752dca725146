# SPDX-License-Identifier: Apache-2.0
"""sqloom proxy as a relay: what clients and the server see of each other, who
goes away in the middle, and what is left over. tests/proxy/test_clients.py
compares whole clients."""

import hashlib
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import threading
import time

import psycopg2
import psycopg2.errors
import pytest

TIMEOUT_S = 120
COPY_ROWS = 1_000_000  # about 54 MB
# That relaying much may add; AddressSanitizer keeps what is freed for a while.
SANITIZED = "ASAN_OPTIONS" in os.environ
MEMORY_KB = 400 * 1024 if SANITIZED else 24 * 1024


@pytest.fixture
def psql(network, environment):
    """psql(port, user, sql, ...) by TCP: the finished process."""

    def run(port, user, sql, *options, database="postgres", **env):
        return subprocess.run(
            ["psql", "-XqAt", "-h", "127.0.0.1", "-p", str(port), "-U", user,
             "-d", database, *options, *(["-c", sql] if sql else [])],
            env=environment(**{"PGPASSWORD": network.password, **env}),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=TIMEOUT_S)

    return run


@pytest.fixture
def connect(network):
    """connect(port) is a psycopg2 connection as the superuser."""
    made = []

    def make(port, **more):
        one = psycopg2.connect(
            host="127.0.0.1", port=port, user=network.user,
            dbname="postgres", connect_timeout=TIMEOUT_S, **more)
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def wait_until(condition):
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end, "it does not come true"
        time.sleep(0.01)


def is_gone(network, pid):
    return network.sql(f"SELECT count(*) FROM pg_stat_activity "
                       f"WHERE pid = {pid}") == "0"


def descriptors(proxy):
    return len(os.listdir(f"/proc/{proxy.process.pid}/fd"))


def peak_kb(proxy):
    status = pathlib.Path(f"/proc/{proxy.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1])


# ---- Bytes ------------------------------------------------------------------

def startup(user, database, protocol=196608):
    body = struct.pack(">I", protocol)
    for text in "user", user, "database", database, "":
        body += text.encode() + b"\0"
    return struct.pack(">I", len(body) + 4) + body


def message(kind, body):
    return kind + struct.pack(">I", len(body) + 4) + body


def dial(port):
    return socket.create_connection(("127.0.0.1", port), TIMEOUT_S)


def read_all(stream):
    data = b""
    while chunk := stream.recv(65536):
        data += chunk
    return data


def messages(data):
    """[(type, body)]"""
    found = []
    while data:
        size = struct.unpack(">I", data[1:5])[0]
        found.append((data[:1], data[5:size + 1]))
        data = data[size + 1:]
    return found


# ---- Logging in --------------------------------------------------------------

@pytest.mark.parametrize("way", ["trust", "md5", "scram"])
@pytest.mark.parametrize("sslmode", ["disable", "prefer", "require"])
def test_ways_to_log_in(network, proxy, psql, way, sslmode):
    """Passwords are between client and server. Over TLS the server offers
    SCRAM with channel binding, which a client without TLS would refuse."""
    relay = proxy(network.address(sslmode=sslmode))
    sql = "SELECT current_user, ssl FROM pg_stat_ssl " \
          "WHERE pid = pg_backend_pid()"
    done = psql(relay.port, way, sql)
    tls = "f" if sslmode == "disable" else "t"
    assert done.stdout.decode() == f"{way}|{tls}\n", done.stderr
    assert relay.stop() == 0


@pytest.mark.parametrize("way", ["md5", "scram"])
def test_wrong_password(network, proxy, psql, way):
    relay = proxy(network.address(sslmode="require"))
    through = psql(relay.port, way, "SELECT 1", PGPASSWORD="wrong")
    direct = psql(network.port, way, "SELECT 1", PGPASSWORD="wrong",
                  PGSSLMODE="disable")
    assert through.returncode == direct.returncode == 2
    assert through.stderr == direct.stderr.replace(
        str(network.port).encode(), str(relay.port).encode())
    assert b"password authentication failed" in through.stderr


def test_only_by_tls(network, proxy, psql):
    """A server that wants TLS gets it from the proxy."""
    relay = proxy(network.address(sslmode="require"))
    assert psql(relay.port, "tls", "SELECT 'in'").stdout == b"in\n"
    plain = proxy(network.address(sslmode="disable"))
    refused = psql(plain.port, "tls", "SELECT 'in'")
    assert refused.returncode == 2
    assert b"no pg_hba.conf entry" in refused.stderr


def test_certificate_is_verified(network, proxy, psql, tmp_path):
    relay = proxy(network.address(sslmode="verify-full",
                                  sslrootcert=network.certificate))
    assert psql(relay.port, "trust", "SELECT 1").stdout == b"1\n"

    other = tmp_path / "other.crt"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
                    "-subj", "/CN=localhost", "-keyout", tmp_path / "key",
                    "-out", other], check=True, capture_output=True)
    relay = proxy(network.address(sslmode="verify-ca", sslrootcert=other))
    refused = psql(relay.port, "trust", "SELECT 1")
    assert refused.returncode == 2
    assert b"certificate" in refused.stderr
    assert "no TLS with the server" in relay.log


def test_name_in_the_certificate(network, proxy, psql):
    """verify-full compares the name that was given, not the address."""
    where = (f"hostaddr=127.0.0.1 port={network.port} sslmode=%s "
             f"sslrootcert={network.certificate} host=%s")
    relay = proxy(where % ("verify-full", "elsewhere.example"))
    refused = psql(relay.port, "trust", "SELECT 1")
    assert b"mismatch" in refused.stderr
    relay = proxy(where % ("verify-ca", "elsewhere.example"))
    assert psql(relay.port, "trust", "SELECT 1").stdout == b"1\n"


def test_root_certificate_that_is_not_there(command, network):
    done = command("proxy", "--port", "0", "--db", network.address(
        sslmode="verify-ca", sslrootcert="/nowhere/root.crt"))
    assert done.returncode == 2
    assert b"there is no root certificate /nowhere/root.crt" in done.stderr


# ---- Where it listens ----------------------------------------------------------

def test_unix_sockets(network, proxy, tmp_path, environment):
    """Of the server, and of the proxy; ours is taken away at the end."""
    relay = proxy(network.conninfo("postgres"), "--socket-dir", tmp_path)
    path = tmp_path / f".s.PGSQL.{relay.port}"
    assert path.is_socket()
    done = subprocess.run(
        ["psql", "-XqAt", "-h", tmp_path, "-p", str(relay.port), "-U", "trust",
         "-d", "postgres", "-c", "SELECT 'unix', inet_client_addr() IS NULL"],
        env=environment(), capture_output=True, timeout=TIMEOUT_S)
    assert done.stdout == b"unix|t\n", done.stderr
    assert relay.stop() == 0
    assert not path.exists()


def test_port_in_use(network, proxy, command):
    relay = proxy(network.address())
    done = command("proxy", "--db", network.address(), "--port", relay.port)
    assert done.returncode == 3
    assert b"is in use" in done.stderr


def test_stale_socket(network, proxy, sqloom, environment, tmp_path):
    """What a killed proxy left behind is no hindrance."""
    relay = proxy(network.address(), "--socket-dir", tmp_path)
    relay.process.kill()
    relay.process.wait()
    assert (tmp_path / f".s.PGSQL.{relay.port}").exists()
    process = subprocess.Popen(
        [sqloom, "proxy", "--db", network.address(), "--port", str(relay.port),
         "--socket-dir", tmp_path], env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "a Unix socket" in process.stdout.readline()
    done = subprocess.run(
        ["psql", "-XqAt", "-h", tmp_path, "-p", str(relay.port), "-U", "trust",
         "-d", "postgres", "-c", "SELECT 'anew'"], env=environment(),
        capture_output=True, timeout=TIMEOUT_S)
    process.terminate()
    process.communicate(timeout=TIMEOUT_S)
    assert done.stdout == b"anew\n", done.stderr
    assert process.returncode == 0


def test_file_in_the_way(network, command, tmp_path):
    """A file that is no socket, or a socket that somebody listens on, stays."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = tmp_path / f".s.PGSQL.{port}"
    path.write_text("mine")
    refused = command("proxy", "--db", network.address(), "--port", port,
                      "--socket-dir", tmp_path)
    assert refused.returncode == 3 and b"in use" in refused.stderr
    assert path.read_text() == "mine"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        refused = command("proxy", "--db", network.address(), "--port", port,
                          "--socket-dir", tmp_path)
        assert refused.returncode == 3 and b"in use" in refused.stderr
    assert path.is_socket()


@pytest.mark.parametrize("conninfo, says", [
    ("postgresql://127.0.0.1:1/x?nonsense=1", b"nonsense"),
    ("sslmode=maybe", b"sslmode"),
    ("service=none-such", b"none-such"),
    ("host=no-such-host.invalid", b"cannot find the server"),
])
def test_bad_connection_string(command, conninfo, says):
    done = command("proxy", "--port", "0", "--db", conninfo)
    assert done.returncode in (2, 3)
    assert says in done.stderr


def test_no_server(proxy, psql):
    relay = proxy("host=127.0.0.1 port=1")
    done = psql(relay.port, "x", "SELECT 1")
    assert done.returncode == 2
    assert b"cannot connect to the server at port 1 of 127.0.0.1" \
        in done.stderr
    assert "client 127.0.0.1:" in relay.log
    assert "Connection refused" in relay.log


def test_private_server(command, sqloom, environment, tmp_path):
    process = subprocess.Popen(
        [sqloom, "proxy", "--pg-temp", "--port", "0"], cwd=tmp_path,
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True)
    process.stdout.readline()
    conninfo = re.search("psql '(.*)'", process.stdout.readline())[1]
    done = subprocess.run(["psql", "-XqAt", conninfo, "-c", "SELECT 7"],
                          env=environment(), capture_output=True,
                          timeout=TIMEOUT_S)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert done.stdout == b"7\n", done.stderr
    assert process.returncode == 0, err
    assert out == "relayed 1 connection\n"


# ---- What is said ----------------------------------------------------------------

def normal(data):
    """Without the process, its key, and what the proxy changes."""
    return [(kind, b"" if kind == b"K" else body)
            for kind, body in messages(data)]


SAYS = [
    message(b"Q", b"SELECT 1; SELECT 'x' || 2; SELEC\0"),
    message(b"P", b"\0SELECT $1::int + 1\0\0\0")
    + message(b"B", b"\0\0\0\0\0\1\0\0\0\2" b"41" b"\0\0")
    + message(b"D", b"P\0") + message(b"E", b"\0\0\0\0\0")
    + message(b"S", b""),
    message(b"Q", b"COPY (SELECT generate_series(1, 5)) TO STDOUT\0"),
    message(b"Q", b"CREATE TEMP TABLE c (i int); COPY c FROM STDIN\0")
    + message(b"d", b"1\n2\n") + message(b"c", b"")
    + message(b"Q", b"SELECT i + 0 FROM c\0"),
    message(b"Q", b"DO $$BEGIN RAISE NOTICE 'x'; END$$\0"),
    message(b"Q", b"LISTEN n; NOTIFY n, 'p'\0"),
    message(b"F", struct.pack(">IHHHI", 1598, 0, 0, 0, 0)[:10] + b"\0\0"),
    message(b"Q", b"\0"),
]


RECORDED = [pytest.param((), id="relayed"),
            pytest.param(("--record", "r.trace"), id="recorded")]


@pytest.mark.parametrize("options", RECORDED)
@pytest.mark.parametrize("said", range(len(SAYS)))
def test_bytes_are_the_same(network, proxy, said, options):
    """Also when the client closes its half first: it is told all."""
    relay = proxy(network.address(), *options)
    heard = []
    for port in network.port, relay.port:
        with dial(port) as stream:
            stream.sendall(startup("trust", "postgres") + SAYS[said])
            stream.shutdown(socket.SHUT_WR)
            heard.append(normal(read_all(stream)))
    strip = [[(kind, re.sub(rb"\0\0..", b"", body) if kind == b"A" else body)
              for kind, body in one] for one in heard]
    assert strip[0] == strip[1]
    assert any(kind == b"Z" for kind, _ in heard[1])


@pytest.mark.parametrize("options", RECORDED)
def test_byte_by_byte(network, proxy, options):
    """However the bytes of a client are cut."""
    relay = proxy(network.address(sslmode="require"), *options)
    with dial(relay.port) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request in struct.pack(">II", 8, 80877103), \
                struct.pack(">II", 8, 80877104):
            for byte in request:
                stream.sendall(bytes([byte]))
            assert stream.recv(1) == b"N"
        for byte in startup("trust", "postgres") \
                + message(b"Q", b"SELECT 'cut'\0"):
            stream.sendall(bytes([byte]))
        stream.shutdown(socket.SHUT_WR)
        data = read_all(stream)
    assert (b"D", b"\0\1\0\0\0\3cut") in messages(data)


def test_cancel(network, proxy, connect):
    relay = proxy(network.address(sslmode="require"))
    one = connect(relay.port)
    cursor = one.cursor()
    cursor.execute("SELECT pg_backend_pid()")
    pid = cursor.fetchone()[0]

    def cancel():
        wait_until(lambda: network.sql(
            f"SELECT wait_event FROM pg_stat_activity WHERE pid = {pid}")
            == "PgSleep")
        one.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(psycopg2.errors.QueryCanceled):
        cursor.execute("SELECT pg_sleep(600)")
    canceller.join()
    one.rollback()
    cursor.execute("SELECT 1")
    assert cursor.fetchone() == (1,)
    one.close()
    assert relay.stop() == 0
    assert "1 cancel request" in relay.log


def test_replication(network, proxy, psql):
    """Bytes, whether it is recorded or not."""
    for options in (), ("--record", "r.trace"):
        relay = proxy(network.address(), *options)
        done = subprocess.run(
            ["psql", "-XAt", f"host=127.0.0.1 port={relay.port} user=trust "
             f"replication=true", "-c", "IDENTIFY_SYSTEM"],
            capture_output=True, timeout=TIMEOUT_S)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(b"|") == 3
        assert relay.stop() == 0


@pytest.mark.parametrize("options", RECORDED)
def test_pgbench(network, network_database, proxy, environment, options):
    relay = proxy(network.address(), *options)
    where = ["-h", "127.0.0.1", "-p", str(relay.port), "-U", network.user]
    for arguments in (["-i", "-q"], ["-c", "4", "-t", "200", "-n"],
                      ["-S", "-M", "prepared", "-c", "8", "-t", "500", "-n"],
                      ["-C", "-S", "-c", "2", "-t", "50", "-n"]):
        done = subprocess.run(
            ["pgbench", *where, *arguments, network_database],
            env=environment(), capture_output=True, timeout=TIMEOUT_S)
        assert done.returncode == 0, done.stderr
        assert b"aborted" not in done.stderr


# ---- Much ------------------------------------------------------------------------

@pytest.mark.parametrize("sslmode, options", [
    ("disable", ()), ("require", ("--record", "r.trace"))])
def test_copy_both_ways(network, network_database, proxy, psql, tmp_path,
                        sslmode, options):
    """50 MB pass through, in both directions, in bounded memory."""
    network.sql(f"CREATE TABLE big AS SELECT i, repeat(md5(i::text), 1) || "
                f"'0123456789' AS t FROM generate_series(1, {COPY_ROWS}) i; "
                f"CREATE TABLE copied (LIKE big)", network_database)
    relay = proxy(network.address(sslmode=sslmode), *options)
    assert psql(relay.port, network.user, "SELECT 1").returncode == 0
    before = peak_kb(relay)
    done = psql(relay.port, network.user, f"\\copy big TO '{tmp_path}/big'",
                database=network_database)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "big").stat().st_size > 48_000_000
    done = psql(relay.port, network.user,
                f"\\copy copied FROM '{tmp_path}/big'",
                database=network_database)
    assert done.returncode == 0, done.stderr
    assert peak_kb(relay) - before < MEMORY_KB

    digest = "SELECT md5(string_agg(i || t, ',' ORDER BY i)) FROM "
    assert network.sql(digest + "big", network_database) == \
        network.sql(digest + "copied", network_database)
    done = psql(network.port, network.user, f"\\copy big TO '{tmp_path}/d'",
                database=network_database)
    assert done.returncode == 0

    def sha(name):
        return hashlib.sha256((tmp_path / name).read_bytes()).digest()

    assert sha("big") == sha("d")


@pytest.mark.parametrize("options", RECORDED)
def test_long_row(network, proxy, connect, options):
    """One value of 100 MB is not held."""
    relay = proxy(network.address(), *options)
    cursor = connect(relay.port).cursor()
    cursor.execute("SELECT 1")
    before = peak_kb(relay)
    cursor.execute("SELECT repeat('x', 100000000)")
    assert len(cursor.fetchone()[0]) == 100_000_000
    assert peak_kb(relay) - before < MEMORY_KB


# ---- Who goes away -----------------------------------------------------------------

def log_in(port, user="trust"):
    """A connection that is ready for a query; and its server process."""
    stream = dial(port)
    stream.sendall(startup(user, "postgres"))
    data = b""
    while not data.endswith(b"Z\0\0\0\5I"):
        chunk = stream.recv(65536)
        assert chunk, data
        data += chunk
    key = next(body for kind, body in messages(data) if kind == b"K")
    return stream, struct.unpack(">I", key[:4])[0]


def test_server_ends_a_session(network, proxy):
    """The client hears the server's last words."""
    relay = proxy(network.address())
    stream, pid = log_in(relay.port)
    network.sql(f"SELECT pg_terminate_backend({pid})")
    with stream:
        (kind, body), = messages(read_all(stream))
    assert kind == b"E" and b"C57P01\0" in body
    assert b"due to administrator command" in body


class Fake:
    """A server that says what it is told to, and closes."""

    def __init__(self, words, resets=False):
        self.words, self.resets = words, resets
        self.door = socket.create_server(("127.0.0.1", 0))
        self.port = self.door.getsockname()[1]
        self.heard = b""
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        with self.door, self.door.accept()[0] as stream:
            self.heard = stream.recv(65536)
            stream.sendall(self.words)
            if self.resets:
                time.sleep(0.2)
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                  struct.pack("ii", 1, 0))


@pytest.mark.parametrize("words", [
    b"", b"R\0", message(b"R", b"\0\0\0\0") + b"S\0\0\1\0half a mess",
    message(b"R", b"\0\0\0\0") + message(b"Z", b"I") + b"D\0\1\0\0rest",
    message(b"?", b"no such message") + b"\xff" * 100_000,
    b"\0\xff\xff\xff\xff" + b"x" * 10,
])
@pytest.mark.parametrize("resets", [False, True])
def test_server_dies_in_the_middle(proxy, words, resets):
    """What it said is passed on, whole messages or not, and then the end."""
    fake = Fake(words, resets)
    relay = proxy(f"host=127.0.0.1 port={fake.port} sslmode=disable")
    with dial(relay.port) as stream:
        stream.sendall(startup("u", "d"))
        assert read_all(stream) == words
    fake.thread.join()
    assert fake.heard == startup("u", "d")
    assert relay.stop() == 0


def start_client(relay, network, sql, **more):
    return subprocess.Popen(
        ["psql", "-XqAt", "-h", "127.0.0.1", "-p", str(relay.port), "-U",
         network.user, "-d", "postgres", "-c", sql],
        stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)


def test_client_is_killed_in_a_transaction(network, proxy):
    """Its locks are gone as soon as its server process notices."""
    relay = proxy(network.address())
    client = start_client(relay, network,
                          "BEGIN; SELECT pg_advisory_xact_lock(77); "
                          "SELECT pg_sleep(0.5)", stdout=subprocess.DEVNULL)
    held = "SELECT count(*) FROM pg_locks WHERE objid = 77"
    wait_until(lambda: network.sql(held) == "1")
    client.kill()
    client.wait()
    wait_until(lambda: network.sql(held) == "0")
    assert relay.stop() == 0


def test_client_is_killed_in_an_endless_answer(network, proxy):
    """Directly, the server fails to write and gives up; here it is
    cancelled."""
    relay = proxy(network.address())
    client = start_client(relay, network,
                          "COPY (SELECT pg_backend_pid(), repeat('x', 100), "
                          "generate_series(1, 1000000000)) TO STDOUT",
                          stdout=subprocess.PIPE)
    pid = int(client.stdout.read(20).split(b"\t")[0])
    client.kill()
    client.wait()
    client.stdout.close()
    wait_until(lambda: is_gone(network, pid))
    assert relay.stop() == 0


@pytest.mark.parametrize("options", RECORDED)
def test_client_that_never_reads(network, proxy, psql, options):
    """Costs bounded memory and holds nobody up."""
    relay = proxy(network.address(), *options)
    assert psql(relay.port, network.user, "SELECT 1").returncode == 0
    before = peak_kb(relay)
    with dial(relay.port) as stream:
        stream.sendall(startup("trust", "postgres") + message(
            b"Q", b"SELECT repeat('x', 1000) FROM "
                  b"generate_series(1, 1000000)\0"))
        wait_until(lambda: network.sql(
            "SELECT wait_event FROM pg_stat_activity "
            "WHERE usename = 'trust'") == "ClientWrite")
        assert psql(relay.port, network.user, "SELECT 2").stdout == b"2\n"
        assert peak_kb(relay) - before < (MEMORY_KB if SANITIZED else 2048)
    assert relay.stop() == 0


def test_nothing_is_left_over(network, proxy, psql):
    """Descriptors of the proxy and sessions of the server."""
    relay = proxy(network.address(sslmode="require"))
    assert psql(relay.port, "scram", "SELECT 1").returncode == 0
    ours = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'scram'"
    wait_until(lambda: network.sql(ours) == "0")
    before = descriptors(relay)
    for way in "scram", "md5", "nobody":
        for _ in range(10):
            psql(relay.port, way, "SELECT 1")
    for i in range(30):
        with dial(relay.port) as stream:
            stream.sendall(startup("trust", "postgres")[:i])
    wait_until(lambda: network.sql(ours) == "0")
    wait_until(lambda: descriptors(relay) == before)


def test_stopped_with_clients(network, proxy):
    """They are told, what they run is cancelled, the exit status is 0."""
    relay = proxy(network.address())
    stream, _ = log_in(relay.port)
    client = start_client(relay, network,
                          "SELECT pg_sleep(600), 'stopped'")
    wait_until(lambda: network.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE "
        "'SELECT pg_sleep(600), %' AND wait_event = 'PgSleep'") == "1")
    assert relay.stop() == 0
    with stream:
        (kind, body), = messages(read_all(stream))
    assert kind == b"E" and b"the proxy is being stopped" in body
    assert client.wait(TIMEOUT_S) == 2
    wait_until(lambda: network.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE "
        "'SELECT pg_sleep(600), %'") == "0")
