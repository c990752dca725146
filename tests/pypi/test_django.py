# SPDX-License-Identifier: Apache-2.0
"""Django's own way to use PostgreSQL: migrations and views through the proxy,
and a race in a view, found without touching it."""

import contextlib
import http.client
import os
import pathlib
import shlex
import subprocess
import time

import pytest
from proxy_fixtures import accepts, free_port

PYPI = pathlib.Path(os.environ["SQLOOM_PYPI"]).absolute()
PROJECT = pathlib.Path(__file__).resolve().parent / "project"
TIMEOUT_S = 120
HOLDS, BROKEN = 0, 1


@pytest.fixture(params=["django-4.2", "django-5.2"])
def manage(request):
    """The command that runs manage.py."""
    return [str(PYPI / request.param / "bin/python"), "-B",
            str(PROJECT / "manage.py")]


@pytest.fixture
def surroundings(environment, network):
    def make(port, user="scram"):
        return environment(PGHOST="127.0.0.1", PGPORT=str(port), PGUSER=user,
                           PGPASSWORD=network.password,
                           PGDATABASE="sqloom_test")

    return make


def run(command, env):
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=TIMEOUT_S, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def dump(network):
    """The whole database, as SQL."""
    text = run([network.programs / "pg_dump", "-h", network.directory, "-p",
                str(network.port), "-U", network.user, "--exclude-table-data",
                "django_*", "sqloom_test"], {"PATH": os.defpath})
    # Newer ones begin with a random word.
    return [line for line in text.splitlines() if "restrict " not in line]


@contextlib.contextmanager
def serving(manage, env, log):
    """The port of a running server."""
    port = free_port()
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [*manage, "runserver", "--noreload", f"127.0.0.1:{port}"],
            env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            end = time.monotonic() + TIMEOUT_S
            while not accepts(port):
                assert process.poll() is None and time.monotonic() < end, \
                    log.read_text()
                time.sleep(0.02)
            yield port
        finally:
            process.kill()
            process.wait()


def ask(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port,
                                            timeout=TIMEOUT_S)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_migrations_and_views(manage, network, network_database, proxy,
                              surroundings, tmp_path):
    seen = []
    for relayed in False, True:
        if relayed:
            network.sql("DROP DATABASE sqloom_test WITH (FORCE)")
            network.sql("CREATE DATABASE sqloom_test TEMPLATE template0")
            port = proxy(network.address("scram"), "--record",
                         tmp_path / "record.trace").port
        else:
            port = network.port
        env = surroundings(port)
        migrated = run([*manage, "migrate"], env)
        checked = run([*manage, "migrate", "--check"], env)
        with serving(manage, env, tmp_path / "server.log") as server:
            answers = [ask(server, "/exercise") for _ in range(3)]
        assert answers[0][0] == 200, (tmp_path / "server.log").read_text()
        seen.append((migrated, checked, answers, dump(network)))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("path, code", (("redeem", BROKEN),
                                        ("redeem-locked", HOLDS)))
def test_a_race_in_a_view(path, code, manage, network, network_database,
                          surroundings, sqloom, tmp_path):
    port = free_port()
    command = shlex.join(manage)
    request = f"POST http://127.0.0.1:{port}/{path} code=X"
    done = subprocess.run(
        [sqloom, "explore", "--db", network.address("trust"), "--no-progress",
         "--before", f"{command} migrate >/dev/null",
         "--server", f"{command} runserver --noreload 127.0.0.1:{port}",
         "--ready", f"http://127.0.0.1:{port}/health",
         "--http", request, "--http", request],
        cwd=tmp_path, env=surroundings(network.port, "trust"),
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=TIMEOUT_S)
    assert done.returncode == code, done.stdout + done.stderr
    assert 'UPDATE "shop_coupon"' in done.stdout or code == HOLDS
