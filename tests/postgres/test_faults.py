# SPDX-License-Identifier: Apache-2.0
"""What breaks while an exploration runs ends it with a message and the right
exit code. Nothing hangs, and the next start finds everything in order."""

import contextlib
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from pg_help import (  # noqa: E402
    BROKEN,
    ENVIRONMENT,
    HOLDS,
    INCONCLUSIVE,
    SPECS,
    dump,
    query,
    told,
)

# Only what hangs gets there.
TIMEOUT_S = 60
NEXT = SPECS / "split-atomic.spec"
# Long enough to be hit in the middle: 3.5 million orders.
LONG = """\
session a
step a1 { BEGIN }
step a2 { UPDATE t SET v = v + 1 WHERE id = 1 }
step a3 { SELECT v FROM t WHERE id = 3 }
step a4 { INSERT INTO log VALUES ('a') }
step a5 { COMMIT }
session b
step b1 { BEGIN }
step b2 { UPDATE t SET v = v + 1 WHERE id = 2 }
step b3 { SELECT v FROM t WHERE id = 3 }
step b4 { INSERT INTO log VALUES ('b') }
step b5 { COMMIT }
session c
step c1 { BEGIN }
step c2 { INSERT INTO log VALUES ('c') }
step c3 { INSERT INTO log VALUES ('c') }
step c4 { SELECT v FROM t WHERE id = 3 }
step c5 { COMMIT }
"""
TABLES = """
CREATE TABLE t (id int PRIMARY KEY, v int);
INSERT INTO t VALUES (1, 0), (2, 0), (3, 0);
CREATE TABLE log (who text);
"""
OTHERS = """
SELECT pid, query FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
AND backend_type = 'client backend'
"""


class Running:
    """An exploration that runs beside the test."""

    def __init__(self, process):
        self.process = process

    def wait_for_runs(self, database, seconds=TIMEOUT_S):
        """Until some session has written in a run."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.process.poll() is None, told(self.end())
            if any("INSERT INTO log" in text
                   for _, text in query(database, OTHERS)):
                return
            time.sleep(0.01)
        pytest.fail("nothing runs")

    def end(self):
        out, err = self.process.communicate(timeout=TIMEOUT_S)
        return subprocess.CompletedProcess(
            self.process.args, self.process.returncode, out, err)


@pytest.fixture
def explore_beside(sqloom, environment, tmp_path):
    """explore_beside(database, ...) starts a long one."""
    running = []

    def start(database, *more):
        (tmp_path / "long.spec").write_text(LONG)
        process = subprocess.Popen(
            [sqloom, "explore", "long.spec", "--db", database, "--strategy",
             "uniform", "--max-runs", "0", *map(str, more)],
            cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        running.append(process)
        return Running(process)

    yield start
    for process in running:
        process.kill()
        process.wait()


def temporary():
    """A directory with a path that is short enough for a socket."""
    return tempfile.TemporaryDirectory(prefix="sqloom-test-", dir="/tmp",
                                       ignore_cleanup_errors=True)


@pytest.fixture
def another(server):
    """A server of this test alone, not started yet. It may be dead at the
    end."""
    made = type(server)(server.programs)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def doomed(another):
    """It runs and has a database of tables."""
    another.start()
    another.sql("CREATE DATABASE doomed_test")
    query(another.conninfo("doomed_test"), TABLES)
    return another


def is_environment(result, *words):
    """Ended in words, not with a verdict. A session that is gone can also be
    an inconclusive end."""
    assert result.returncode in (ENVIRONMENT, INCONCLUSIVE), told(result)
    said = (result.stderr + result.stdout).decode().lower()
    assert any(word in said for word in words), told(result)
    assert "assert" not in said
    return said


def next_start_works(command, database, before):
    """And it cleans what the one before left."""
    result = command("explore", NEXT, "--db", database)
    assert result.returncode == HOLDS, told(result)
    assert dump(database) == before


def sessions(database):
    """Pids by what they ran last: sessions of calls, and the others."""
    calls, others = [], []
    for pid, text in query(database, OTHERS):
        of_call = any(word in text for word in
                      ("INSERT INTO log", "UPDATE t SET", "SELECT v FROM t"))
        (calls if of_call else others).append(pid)
    return calls, others


# ---- Sessions that end ------------------------------------------------------


@pytest.mark.parametrize("way", ["terminated", "killed"])
def test_a_session_ends(command, explore_beside, doomed, way):
    """pg_terminate_backend() is a message of the server; after SIGKILL the
    server ends all sessions and recovers."""
    database = doomed.conninfo("doomed_test")
    before = dump(database)
    running = explore_beside(database)
    running.wait_for_runs(database)
    calls = []
    while not calls:
        calls, _ = sessions(database)
    if way == "terminated":
        query(database, "SELECT pg_terminate_backend(%s)", calls[0])
    else:
        os.kill(calls[0], signal.SIGKILL)
    is_environment(running.end(), "terminat", "connection", "closed")
    until_it_answers(database)
    next_start_works(command, database, before)


def test_the_monitor_ends(command, explore_beside, database):
    query(database, TABLES)
    before = dump(database)
    running = explore_beside(database)
    running.wait_for_runs(database)
    others = []
    while not others:
        _, others = sessions(database)
    for pid in others:
        query(database, "SELECT pg_terminate_backend(%s)", pid)
    is_environment(running.end(), "terminat", "connection", "closed")
    next_start_works(command, database, before)


def test_the_server_dies(command, explore_beside, doomed):
    database = doomed.conninfo("doomed_test")
    before = dump(database)
    running = explore_beside(database)
    running.wait_for_runs(database)
    backends = [pid for pid, _ in query(database, OTHERS)]
    os.kill(doomed.pid(), signal.SIGKILL)
    for backend in backends:
        try:
            os.kill(backend, signal.SIGKILL)
        except ProcessLookupError:
            pass
    is_environment(running.end(), "terminat", "connection", "closed")
    result = command("explore", NEXT, "--db", database)
    assert result.returncode == ENVIRONMENT, told(result)

    with started_again(doomed):
        next_start_works(command, database, before)


@contextlib.contextmanager
def started_again(server):
    """A server that died runs once more."""
    where = "-D", server.directory / "data"
    # Processes of the dead one may hold its memory for a moment.
    for _ in range(100):
        try:
            server.run("pg_ctl", "-w", "-s", *where, "-l", server.log, "start")
            break
        except pytest.fail.Exception:
            time.sleep(0.1)
    try:
        yield
    finally:
        server.run("pg_ctl", "-s", "-m", "immediate", *where, "stop")


def until_it_answers(database):
    """A server that recovers refuses connections for a moment."""
    import psycopg2

    for _ in range(600):
        try:
            query(database, "SELECT 1")
            return
        except psycopg2.OperationalError:
            time.sleep(0.05)
    pytest.fail("the server does not come back")


@pytest.mark.parametrize("number, code", [
    (signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, INCONCLUSIVE),
    (signal.SIGTERM, INCONCLUSIVE)])
def test_sqloom_itself_ends(command, explore_beside, database, number, code):
    """After SIGKILL the next start cleans up; after the others it has been
    done."""
    query(database, TABLES)
    before = dump(database)
    running = explore_beside(database)
    running.wait_for_runs(database)
    running.process.send_signal(number)
    result = running.end()
    assert result.returncode == code, told(result)
    if code == INCONCLUSIVE:
        assert dump(database) == before
    next_start_works(command, database, before)


# ---- The network ------------------------------------------------------------


class Relay:
    """Passes bytes between clients and the server's socket, and drops all
    connections when it has passed on `limit` bytes of answers."""

    def __init__(self, directory, target, limit):
        self.target, self.left = target, limit
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(directory / ".s.PGSQL.5432"))
        self.listener.listen(20)
        self.pairs = {}  # socket: its other end
        self.clients = set()
        self.stopped = False
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def drop(self):
        for each in self.pairs:
            each.close()
        self.pairs.clear()

    def work(self):
        while not self.stopped:
            ready, _, _ = select.select([self.listener, *self.pairs], [], [],
                                        0.05)
            for each in ready:
                if each is self.listener:
                    self.accept()
                elif each in self.pairs:
                    self.relay(each)
        self.drop()
        self.listener.close()

    def accept(self):
        client, _ = self.listener.accept()
        if self.left <= 0:
            client.close()
            return
        server = socket.socket(socket.AF_UNIX)
        server.connect(self.target)
        self.pairs[client], self.pairs[server] = server, client
        self.clients.add(client)

    def relay(self, source):
        other = self.pairs[source]
        try:
            data = source.recv(65536)
            if data and source not in self.clients:
                data = data[:self.left]
                self.left -= len(data)
            if data:
                other.sendall(data)
        except OSError:
            data = b""
        if self.left <= 0:
            self.drop()
        elif not data:
            for each in source, other:
                self.pairs.pop(each, None)
                each.close()

    def stop(self):
        self.stopped = True
        self.thread.join()


# From the first connection to the middle of the runs.
@pytest.mark.parametrize("limit", [1, 300, 1000, 5000, 20011, 50021, 200003])
def test_the_connection_is_cut(command, write, server, database, limit):
    """In the middle of an answer, whatever it is to."""
    query(database, TABLES)
    before = dump(database)
    with temporary() as name:
        directory = pathlib.Path(name)
        relay = Relay(directory, str(server.directory / ".s.PGSQL.5432"),
                      limit)
        try:
            result = command("explore", write("long.spec", LONG), "--db",
                             f"host={directory} user={server.user} "
                             "dbname=sqloom_test", "--max-runs", "100k")
        finally:
            relay.stop()
    is_environment(result, "terminat", "connection", "closed")
    next_start_works(command, database, before)


# ---- Limits -----------------------------------------------------------------

SLOW = """\
setup { CREATE TABLE t (id int PRIMARY KEY, v int);
        INSERT INTO t VALUES (1, 0), (2, 0) }
session a
step a1 { BEGIN }
step a2 { UPDATE t SET v = 1 WHERE id = 1 }
step a3 { SELECT pg_sleep(%s), v FROM t WHERE id = 2 }
step a4 { COMMIT }
session b
step b1 { UPDATE t SET v = 2 WHERE id = 1 }
"""


def test_a_slow_statement_is_waited_for(command, write, database):
    """It is neither blocked nor wrong."""
    result = command("explore", write("slow.spec", SLOW % "0.2"), "--db",
                     database)
    assert result.returncode in (HOLDS, BROKEN), told(result)


def test_the_limit_of_a_statement(command, write, database):
    """The statement is cancelled, nothing is said about the calls."""
    before = dump(database)
    result = command("explore", write("slow.spec", SLOW % "1000"), "--db",
                     database, "--statement-limit", "1")
    assert result.returncode == INCONCLUSIVE, told(result)
    assert b"--statement-limit" in result.stdout + result.stderr
    # The server's processes end when they notice; that takes a moment.
    deadline = time.monotonic() + TIMEOUT_S
    while query(database, OTHERS):
        assert time.monotonic() < deadline, query(database, OTHERS)
        time.sleep(0.02)
    next_start_works(command, database, before)


@pytest.mark.parametrize("setting", [
    "statement_timeout = '150ms'", "lock_timeout = '150ms'",
    "idle_in_transaction_session_timeout = '150ms'",
])
def test_timeouts_of_the_server(command, write, database, setting):
    """They are the database's: a finding where a call is told so, an end in
    words where a session is ended. Never a hang and never "holds" by chance:
    with the sleep they strike in each run."""
    before = dump(database)
    query(database, f"ALTER DATABASE sqloom_test SET {setting}")
    result = command("explore", write("slow.spec", SLOW % "0.4"), "--db",
                     database)
    assert result.returncode in (HOLDS, BROKEN, ENVIRONMENT,
                                 INCONCLUSIVE), told(result)
    if result.returncode in (ENVIRONMENT, INCONCLUSIVE):
        assert b"timeout" in result.stdout + result.stderr, told(result)
    query(database, "ALTER DATABASE sqloom_test RESET ALL")
    next_start_works(command, database, before)


def test_too_many_connections(command, server, database):
    query(database, TABLES)
    before = dump(database)
    server.sql("CREATE ROLE narrow LOGIN CONNECTION LIMIT 2")
    server.sql("ALTER DATABASE sqloom_test OWNER TO narrow")
    server.sql("ALTER TABLE t OWNER TO narrow; "
               "ALTER TABLE log OWNER TO narrow", "sqloom_test")
    try:
        result = command(
            "explore", NEXT, "--db",
            database.replace(f"user={server.user}", "user=narrow"))
        assert result.returncode == ENVIRONMENT, told(result)
        assert b"too many connections" in result.stderr
    finally:
        server.sql(f"REASSIGN OWNED BY narrow TO {server.user}; "
                   "DROP OWNED BY narrow", "sqloom_test")
        server.sql(f"ALTER DATABASE sqloom_test OWNER TO {server.user}; ")
        server.sql("DROP ROLE narrow")
    assert dump(database) == before


# ---- The disk ---------------------------------------------------------------


@pytest.fixture
def cramped(another):
    """A server with 100 MB of room."""
    place = str(another.directory)
    owner = another.directory.stat()
    options = f"size=100m,mode=755,uid={owner.st_uid},gid={owner.st_gid}"
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place],
        stderr=subprocess.DEVNULL, check=False).returncode == 0
    if not mounted:
        pytest.skip("a small file system cannot be mounted here")
    try:
        another.start()
        yield another
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_the_disk_is_full(command, write, cramped):
    """The step fails, and soon the server does: it can write no log of its
    changes. Where there is room again, the next start works."""
    cramped.sql("CREATE DATABASE full_test")
    database = cramped.conninfo("full_test")
    query(database, TABLES)
    before = dump(database)
    ballast = cramped.directory / "ballast"
    ballast.write_bytes(bytes(20 << 20))
    result = command("explore", write("full.spec", """\
session a
step a1 { INSERT INTO log SELECT repeat('x', 1000)
          FROM generate_series(1, 200000) }
session b
step b1 { INSERT INTO log VALUES ('b') }
"""), "--db", database)
    is_environment(result, "no space left")
    ballast.unlink()
    for _ in range(100):  # either it recovers or it gives up
        if not (cramped.directory / "data/postmaster.pid").exists():
            with started_again(cramped):
                next_start_works(command, database, before)
            return
        time.sleep(0.02)
    until_it_answers(database)
    next_start_works(command, database, before)
