# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around programs: the application, a call, PostgreSQL or
sqloom ends in the middle. Each ends in a message, nothing stays behind, and the
next exploration works. And what a thousand runs leave: nothing."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

BROKEN, ENVIRONMENT, INCONCLUSIVE = 1, 3, 4
TIMEOUT_S = 120
APP = pathlib.Path(__file__).resolve().parents[2] / "examples/http"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def case(tmp_path):
    """case(*flags) writes a spec of the coupon application into tmp_path."""
    shutil.copy(APP / "schema.sql", tmp_path)
    shutil.copy(APP / "app.py", tmp_path)

    def make(*flags, more=""):
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        (tmp_path / "case.spec").write_text(
            "before { psql -X -q -v ON_ERROR_STOP=1 -f schema.sql }\n"
            f"server {{ PORT={port} exec /usr/bin/python3 app.py "
            f"{' '.join(flags)} }} ready \"{url}/health\"\n"
            f'call "alice" {{ http POST {url}/redeem code=XMAS10 }}\n'
            f'call "bob" {{ http POST {url}/redeem code=XMAS10 }}\n' + more)
        return "case.spec"

    return make


@pytest.fixture
def beside(sqloom, environment, tmp_path):
    """beside(...) explores beside the test."""
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sqloom, "explore", *arguments], cwd=tmp_path,
            env=environment(PATH=os.environ.get("PATH", os.defpath)),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(condition, what):
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def processes(text):
    """The processes whose command line has this text."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if text in line and int(path.parent.name) != os.getpid():
            found.append(int(path.parent.name))
    return found


def app_of(process):
    """The application that this exploration has started."""
    for pid in processes("app.py"):
        try:
            environ = pathlib.Path(f"/proc/{pid}/cwd").resolve()
            line = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if line.startswith(b"/usr/bin/python3") and environ == process:
            return pid
    return None


def told(process):
    out, err = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, (out + err).decode()


def explores(command, database_uri):
    """The next exploration of the database works."""
    result = command("explore", "case.spec", "--db", database_uri, "--json",
                     "--max-runs", "30")
    report = json.loads(result.stdout)
    assert report["verdict"] == "broken", result.stderr
    return report


LONG = ["--strategy", "random", "--max-runs", "100000", "--no-progress"]


def wait_for_runs(server, name="sqloom_test"):
    """Until a transaction of the application is open."""
    until(lambda: server.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE "
        f"'%UPDATE coupon%' AND datname = '{name}'") not in ("", "0"),
        "no run")


def test_the_application_is_killed(command, beside, case, server, database_uri,
                                   tmp_path):
    process = beside(case(), "--db", database_uri, *LONG)
    wait_for_runs(server)
    pid = app_of(tmp_path)
    os.kill(pid, signal.SIGKILL)
    code, text = told(process)
    assert code == ENVIRONMENT, text
    assert "server has ended" in text and "137" in text
    case()
    explores(command, database_uri)


def test_sqloom_is_killed(command, beside, case, server, database_uri,
                          tmp_path):
    """The application ends with it; what it left is cleaned."""
    process = beside(case(), "--db", database_uri, *LONG)
    wait_for_runs(server)
    assert app_of(tmp_path)
    process.kill()
    process.communicate()
    until(lambda: app_of(tmp_path) is None, "the application goes on")
    until(lambda: server.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = 'sqloom_test'"
    ) == "0", "sessions stay")
    case()
    explores(command, database_uri)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_sqloom_is_stopped(command, beside, case, server, database_uri,
                           tmp_path, number):
    process = beside(case(), "--db", database_uri, *LONG)
    wait_for_runs(server)
    process.send_signal(number)
    code, text = told(process)
    # What was found until then is told.
    assert code in (BROKEN, INCONCLUSIVE), text
    assert app_of(tmp_path) is None
    until(lambda: server.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = 'sqloom_test'"
    ) == "0", "sessions stay")
    assert server.sql("SELECT count(*) FROM pg_class WHERE relname = 'coupon'",
                      "sqloom_test") == "0"


def test_postgresql_dies(beside, case, new_server, tmp_path):
    doomed = new_server()
    doomed.start()
    doomed.sql("CREATE DATABASE sqloom_test TEMPLATE template0")
    process = beside(case(), "--db", doomed.uri("sqloom_test"), *LONG)
    wait_for_runs(doomed)
    os.kill(doomed.pid(), signal.SIGQUIT)
    code, text = told(process)
    assert code == ENVIRONMENT, text
    assert "sqloom:" in text
    assert app_of(tmp_path) is None


def test_a_backend_of_the_application_is_ended(command, beside, case, server,
                                               database_uri):
    """The application gets an error; nothing hangs, and it is told."""
    process = beside(case(), "--db", database_uri, "--strategy", "random",
                     "--max-runs", "200", "--no-progress", "--json")
    wait_for_runs(server)
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
               "datname = 'sqloom_test' AND query LIKE '%coupon%' LIMIT 1")
    code, text = told(process)
    assert code in (BROKEN, INCONCLUSIVE, ENVIRONMENT), text
    case()
    explores(command, database_uri)


def test_a_backend_is_ended_while_it_waits_for_a_lock(command, server,
                                                      database_uri, tmp_path):
    """Its last word and its end come together, in the step of another call."""
    server.sql("CREATE TABLE IF NOT EXISTS waited (v int);"
               "DELETE FROM waited; INSERT INTO waited VALUES (0)",
               "sqloom_test")
    end = ("SELECT count(pg_terminate_backend(pid, 60000)) FROM "
           "pg_stat_activity WHERE wait_event_type = 'Lock' AND "
           "datname = current_database()")
    add = "UPDATE waited SET v = v + 1"
    (tmp_path / "case.spec").write_text(
        f'call "alice" {{ exec psql -X -q -c "BEGIN" -c "{add}" -c "{end}" '
        f'-c "COMMIT" }}\n'
        f'call "bob" {{ exec psql -X -q -c "{add}" }}\n')
    result = command("explore", "case.spec", "--db", database_uri)
    server.sql("DROP TABLE waited", "sqloom_test")
    assert result.returncode == BROKEN, result.stderr
    assert b"terminating connection due to administrator" in result.stdout
    assert b"holds" not in result.stdout


def test_the_application_does_not_start(command, case, database_uri, tmp_path):
    case()
    (tmp_path / "app.py").write_text("raise SystemExit('no way')\n")
    result = command("explore", "case.spec", "--db", database_uri)
    assert result.returncode == ENVIRONMENT
    assert b"before it was ready" in result.stderr
    assert b"no way" in result.stderr


@pytest.mark.parametrize("ready", ["http://127.0.0.1:{}/health",
                                   "127.0.0.1:{}", "{}/socket"])
def test_somebody_else_answers(command, case, database_uri, tmp_path, ready):
    """What has the port before the application is not taken for it."""
    spec = tmp_path / case()
    path = ready.startswith("{}")
    with socket.socket(socket.AF_UNIX if path else socket.AF_INET) as taken:
        taken.bind(str(tmp_path / "socket") if path else ("127.0.0.1", 0))
        taken.listen()
        ready = ready.format(tmp_path if path else taken.getsockname()[1])
        text = spec.read_text()
        own = text.split('ready "')[1].split('"')[0]
        spec.write_text(text.replace(f'ready "{own}"', f'ready "{ready}"'))

        def answer():
            with taken.accept()[0] as other:
                other.recv(65536)
                other.sendall(b"HTTP/1.1 204 Me\r\nConnection: close\r\n\r\n")

        if ready.startswith("http"):
            threading.Thread(target=answer, daemon=True).start()
        result = command("explore", "case.spec", "--db", database_uri)
    assert result.returncode == ENVIRONMENT, result.stdout
    assert f"something answers at {ready} before".encode() in result.stderr


def test_nobody_answers(command, case, database_uri, tmp_path):
    """A call that gets no answer is an outcome, the same in all runs."""
    spec = tmp_path / case()
    port = free_port()
    text = spec.read_text()
    lines = [line if not line.startswith("call") else
             line.split("http POST")[0] +
             f"http POST http://127.0.0.1:{port}/ }}"
             for line in text.splitlines()]
    spec.write_text("\n".join(lines) + "\n")
    result = command("explore", "case.spec", "--db", database_uri)
    assert result.returncode == INCONCLUSIVE, result.stdout
    assert b"no call sent a statement" in result.stdout


WITH_WORKER = """\
import http.server, os, sys, threading, psycopg2

def connect(name):
    connection = psycopg2.connect("", application_name=name)
    connection.autocommit = True
    return connection.cursor()

def work():
    while wanted.acquire():
        worker.execute("SELECT count(*) FROM coupon")
        done.release()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        mine.execute("BEGIN")
        mine.execute("SELECT count(*) FROM coupon")
        wanted.release()
        done.acquire()
        mine.execute("COMMIT")
        self.send_response(200)
        self.end_headers()

    log_message = lambda *_: None

wanted, done = threading.Semaphore(0), threading.Semaphore(0)
mine, worker = connect("web"), connect(sys.argv[1])
threading.Thread(target=work, daemon=True).start()
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])),
                       Handler).serve_forever()
"""


@pytest.mark.parametrize("name, known, says", [
    ("work", False, '(application_name "web" and "work"): if one'),
    ("web", False, "give it a name of its own and name it with --background"),
    ("work", True, None),
])
def test_a_worker_in_the_application(command, case, database_uri, tmp_path,
                                     name, known, says):
    """Its statements are taken for those of the call, unless it is named."""
    text = (tmp_path / case(name)).read_text()
    url = text.split('ready "')[1].split("/health")[0]
    (tmp_path / "case.spec").write_text(
        text.replace(f"{url}/health", url.removeprefix("http://")))
    (tmp_path / "app.py").write_text(WITH_WORKER)
    background = ["--background", name] if known else []
    result = command("explore", "case.spec", "--db", database_uri, "--json",
                     *background)
    notes = " ".join(json.loads(result.stdout)["notes"])
    assert (says in notes) if says else ("two connections" not in notes), notes


TWO_CONNECTIONS = """\
import http.server, os, psycopg2

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        lock, other = psycopg2.connect(""), psycopg2.connect("")
        other.autocommit = True
        lock.cursor().execute("UPDATE coupon SET used = true")
        other.cursor().execute("SELECT count(*) FROM redemption")
        lock.commit()
        self.send_response(200)
        self.end_headers()

    log_message = lambda *_: None

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])),
                                Handler).serve_forever()
"""


def test_a_call_that_goes_on_keeps_its_other_connection(
        command, case, database_uri, tmp_path):
    """Its wait ends while the other call runs, and what it sends next goes over
    a connection that is idle."""
    text = (tmp_path / case()).read_text()
    url = text.split('ready "')[1].split("/health")[0]
    (tmp_path / "case.spec").write_text(
        text.replace(f"{url}/health", url.removeprefix("http://")))
    (tmp_path / "app.py").write_text(TWO_CONNECTIONS)
    result = command("explore", "case.spec", "--db", database_uri)
    assert result.stdout.startswith(b"holds"), result.stdout


COUNT = """\
n=$(cat n 2>/dev/null || echo 0)
n=$((n + 1))
echo $n >n
[ $((n % 100)) = 0 ] || exit 0
pid=$(cat sqloom.pid)
echo $(ls /proc/$pid/fd | wc -l) \
    $(awk '/VmRSS/ { print $2 }' /proc/$pid/status) \
    $(cat /proc/$pid/task/*/children | wc -w) \
    $(psql -XqAtc "SELECT count(*) FROM pg_stat_activity WHERE
        datname = current_database() AND pid <> pg_backend_pid()") >>figures
"""


def test_a_thousand_runs_leave_nothing(beside, case, server, database_uri,
                                       tmp_path):
    """Descriptors, memory and children of sqloom, sessions of the server: the
    same in the hundredth run and in the thousandth."""
    (tmp_path / "count").write_text(COUNT)
    spec = case(more='check "counted" exec { sh count }\n')
    process = beside(spec, "--db", database_uri, "--strategy", "random",
                     "--max-runs", "1000", "--json")
    (tmp_path / "sqloom.pid").write_text(str(process.pid))
    out, err = process.communicate(timeout=600)
    report = json.loads(out)
    assert report["explored"] == 1000, err
    # Nothing was counted before the hundredth run, so the file was there.
    figures = [tuple(map(int, line.split())) for line in
               (tmp_path / "figures").read_text().splitlines()]
    assert len(figures) >= 10, figures
    descriptors, memory, children, sessions = zip(*figures)
    assert len(set(descriptors)) == 1, figures
    assert len(set(children)) == 1, figures
    assert len(set(sessions)) == 1, figures
    assert memory[-1] - memory[0] < 1024, figures
