# SPDX-License-Identifier: Apache-2.0
"""What all tests of the command share."""

import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

# They have a runner of their own, dev/python-tests.
collect_ignore = ["python"]
CHECKOUT = pathlib.Path(__file__).resolve().parent.parent
# With xdist they come first: begun late, they would be what all wait for.
LONGEST = ("proxy/test_clients.py", "proxy/test_programs.py",
           "examples/test_django_examples.py")
# Only a run that hangs gets there.
TIMEOUT_S = 600
KEPT = ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")


def pytest_configure():
    """A shell's job in the background ignores these, and so would all that the
    tests start and interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: not str(item.path).endswith(LONGEST))


@pytest.fixture(scope="session")
def checkout():
    """The folder that holds the repository."""
    return CHECKOUT


@pytest.fixture(scope="session")
def sqloom():
    """The absolute path of the command: $SQLOOM, else build/sqloom."""
    given = os.environ.get("SQLOOM")
    path = pathlib.Path(given).absolute() if given else CHECKOUT / "build/sqloom"
    if not (path.is_file() and os.access(path, os.X_OK)):
        pytest.fail(
            f"there is no command {path}; run make first, or set SQLOOM",
            pytrace=False,
        )
    return str(path)


@pytest.fixture(scope="session")
def environment():
    """environment(NAME=value): nothing of the caller's surroundings may change
    what is printed."""

    def make(**more):
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        return {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": os.defpath, **kept,
                **more}

    return make


@pytest.fixture
def command(sqloom, environment, tmp_path):
    """command("explore", ...) runs to the end in tmp_path, in pipes."""

    def run(*arguments, stdin=b"", stdout=subprocess.PIPE, **env):
        return subprocess.run(
            [sqloom, *map(str, arguments)],
            cwd=tmp_path,
            env=environment(**env),
            input=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_S,
        )

    return run


@pytest.fixture
def write(tmp_path):
    """write("x.spec", text) makes a file in tmp_path; the name comes back."""

    def make(name, text):
        data = text.encode() if isinstance(text, str) else text
        (tmp_path / name).write_bytes(data)
        return name

    return make


# ---- PostgreSQL ------------------------------------------------------------
#
# One private server for all tests that want one. It owes nothing to sqloom's
# own --pg-temp: a test must not trust what it tests.

POSTGRES_SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{directory}'
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
jit = off
max_prepared_transactions = 64
"""

# Reads until the test session is gone, however that ended; then stops the
# server at once and removes its directory.
POSTGRES_GUARD = """
directory=$1 log=$2
shift 2
"$@" >"$log" 2>&1 </dev/null &
cat >/dev/null
kill -QUIT $!
wait
rm -rf "$directory"
"""


def find_postgres():
    """The directory of version 15's programs, else of the newest."""
    found = [path.parent for path in
             pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    in_path = shutil.which("initdb")
    if not found and in_path:
        found = [pathlib.Path(in_path).resolve().parent]
    if not found:
        pytest.fail("PostgreSQL is not installed, and these tests start a "
                    "server of their own: run dev/setup test, or "
                    "apt-get install postgresql-15", pytrace=False)

    def preference(path):
        version = path.parent.name
        return (version == "15",
                float(version) if version.replace(".", "", 1).isdigit() else 0)

    return max(found, key=preference)


class Server:
    """A private PostgreSQL on a Unix socket. Never runs as root."""

    def __init__(self, programs):
        self.programs = programs
        # The path of a socket must be short.
        self.directory = pathlib.Path(
            tempfile.mkdtemp(prefix="sqloom-test-", dir="/tmp"))
        self.log = self.directory / "log"
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.become = {}
        if os.geteuid() == 0:
            self.user = "postgres"
            self.become = {"user": self.user, "group": self.user,
                           "extra_groups": []}
            shutil.chown(self.directory, self.user, self.user)
        self.guard = None

    def run(self, program, *arguments):
        """Runs a program of the server as the server's user."""
        done = subprocess.run(
            [self.programs / program, *arguments], cwd=self.directory,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace",
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            **self.become)
        if done.returncode:
            pytest.fail(f"{program} fails:\n{done.stdout}", pytrace=False)

    def start(self, settings="", hba=None):
        """More settings, and the lines of pg_hba.conf (None: trust)."""
        data = self.directory / "data"
        self.run("initdb", "-D", data, "--no-sync", "--auth=trust",
                 f"--username={self.user}", "--encoding=UTF8", "--no-locale")
        with open(data / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write(POSTGRES_SETTINGS.format(directory=self.directory))
            conf.write(settings)
        if hba is not None:
            (data / "pg_hba.conf").write_text(hba)
        # A session of its own: Ctrl-C ends the tests, and they the server.
        self.guard = subprocess.Popen(
            ["/bin/sh", "-c", POSTGRES_GUARD, "sh", self.directory, self.log,
             self.programs / "postgres", "-D", data],
            cwd="/", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            **self.become)
        self.wait_until_ready(data / "postmaster.pid")

    def wait_until_ready(self, state):
        """The last line of this file says what the server is at."""
        end = time.monotonic() + TIMEOUT_S
        while not (state.exists() and "ready" in state.read_text()):
            log = self.log.read_text() if self.log.exists() else ""
            if "FATAL" in log or time.monotonic() > end:
                pytest.fail(f"PostgreSQL does not start:\n{log}",
                            pytrace=False)
            time.sleep(0.005)

    def stop(self):
        """Fine if it was never started."""
        if self.guard:
            self.guard.stdin.close()
            self.guard.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def pid(self):
        """Of the postmaster."""
        state = self.directory / "data/postmaster.pid"
        return int(state.read_text().split()[0])

    def conninfo(self, database):
        """As keywords, to which a test may add some."""
        return f"host={self.directory} user={self.user} dbname={database}"

    def uri(self, database):
        host = str(self.directory).replace("/", "%2F")
        return f"postgresql://{self.user}@{host}/{database}"

    def sql(self, statement, database="postgres"):
        """What psql prints for it."""
        done = subprocess.run(
            [self.programs / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1",
             "-c", statement, self.conninfo(database)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_S,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"})
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="session")
def new_server():
    """new_server() is one more server, not started yet."""
    made = []

    def make():
        made.append(Server(find_postgres()))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture(scope="session")
def server():
    """A PostgreSQL of our own; tests make databases in it."""
    made = Server(find_postgres())
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def database(server):
    """The connection string of an empty database; server.uri() tells it as a
    URI."""
    server.sql("CREATE DATABASE sqloom_test TEMPLATE template0")
    yield server.conninfo("sqloom_test")
    server.sql("DROP DATABASE sqloom_test WITH (FORCE)")


@pytest.fixture
def database_uri(server, database):
    """The same database as postgresql://..."""
    return server.uri("sqloom_test")
