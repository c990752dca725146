# SPDX-License-Identifier: Apache-2.0
"""Real clients through the proxy see what they see without it, to the byte.

Each client in clients/ is a program that asks a server for all it can, and
writes down what came of it. It runs on a direct connection and through the
proxy: relayed only, recorded, and under control as the call of an exploration.

With SQLOOM_CLIENTS it is about the clients named there, whose drivers come
from elsewhere than Debian's packages: make test-clients, make test-pypi.
"""

import difflib
import json
import os
import pathlib
import shlex
import subprocess
import sys

import pytest

CLIENTS = pathlib.Path(__file__).resolve().parent / "clients"
TIMEOUT_S = 300
PATIENCE = "10000"  # milliseconds: a busy machine is no stall
HOLDS, BROKEN, INCONCLUSIVE = 0, 1, 4

PYTHON = sys.executable

# How each is started.
DEBIAN = {
    "psql": [str(CLIENTS / "psql.sh")],
    "libpq": [],  # compiled below
    "psycopg2": [PYTHON, str(CLIENTS / "psycopg2_client.py")],
    "psycopg3": [PYTHON, str(CLIENTS / "psycopg3_client.py")],
    "asyncpg": [PYTHON, str(CLIENTS / "asyncpg_client.py")],
    "any messages": [PYTHON, str(CLIENTS / "raw_client.py"), "1", "150"],
}
# Lines of NAME=COMMAND.
OTHERS = {
    name: shlex.split(command)
    for name, _, command in (line.partition("=") for line in
                             os.environ.get("SQLOOM_CLIENTS", "").splitlines())
    if command
}
PROGRAMS = OTHERS or DEBIAN
RACERS = [name for name in PROGRAMS if name != "any messages"]


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """The commands; the one in C is compiled here."""
    made = dict(PROGRAMS)
    if "libpq" in made and not made["libpq"]:
        program = tmp_path_factory.mktemp("clients") / "libpq"
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libpq"],
                               check=True, capture_output=True, text=True)
        sources = [CLIENTS / "libpq.c", CLIENTS / "transcript.c"]
        subprocess.run(
            [os.environ.get("CC", "cc"), "-std=gnu17", "-D_GNU_SOURCE", "-g",
             *sources, "-o", program, *flags.stdout.split()], check=True)
        made["libpq"] = [str(program)]
    return made


@pytest.fixture
def surroundings(environment, network):
    """surroundings(user, port): where a client finds its server."""

    def make(user, port, **more):
        from_network = {"PGHOST": "127.0.0.1", "PGPORT": str(port),
                        "PGUSER": user, "PGPASSWORD": network.password,
                        "PGDATABASE": "sqloom_test", "PGTZ": "UTC",
                        # Some tell an end with TLS in other words.
                        "PGSSLMODE": "disable"}
        return environment(**{**from_network, **more})

    return make


@pytest.fixture
def prepare(network_database, network, surroundings):
    """Makes the database of the clients anew, directly."""

    def make(user):
        subprocess.run(
            ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f",
             CLIENTS / "schema.sql"],
            env=surroundings(user, network.port), check=True,
            stdin=subprocess.DEVNULL, timeout=TIMEOUT_S)

    return make


def exercise(command, env, directory):
    """The transcript: what it writes, and how it ends."""
    done = subprocess.run(command, cwd=directory, env=env,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    return done.stdout


DIRECT = {}


@pytest.fixture
def direct(network, programs, prepare, surroundings, tmp_path):
    """direct(client, user): the transcript without the proxy. Two of them are
    equal, or no comparison would mean anything."""

    def make(client, user, **more):
        key = client, user, *more
        if key not in DIRECT:
            both = []
            for _ in range(2 if client not in {key[0] for key in DIRECT}
                           else 1):
                prepare(user)
                both.append(exercise(programs[client],
                                     surroundings(user, network.port, **more),
                                     tmp_path))
            same(both[0], both[-1])
            DIRECT[key] = both[0]
        return DIRECT[key]

    return make


def same(expected, seen):
    if expected == seen:
        return
    lines = [text.decode(errors="backslashreplace").splitlines()
             for text in (expected, seen)]
    difference = "\n".join(difflib.unified_diff(
        *lines, "direct", "through the proxy", n=8, lineterm=""))
    pytest.fail(f"the transcripts differ:\n{difference[:8000]}",
                pytrace=False)


def user_of(client, way):
    """One does nothing to log in."""
    return "trust" if client == "any messages" else way


# ---- The clients ------------------------------------------------------------


@pytest.mark.parametrize("client", PROGRAMS)
def test_relayed(client, network, programs, direct, prepare, proxy,
                 surroundings, tmp_path):
    user = user_of(client, "md5")
    expected = direct(client, user)
    relay = proxy(network.address(user))
    prepare(user)
    same(expected, exercise(programs[client],
                            surroundings(user, relay.port), tmp_path))
    assert relay.stop() == 0, relay.log


@pytest.mark.parametrize("client", PROGRAMS)
def test_relayed_over_tls(client, network, programs, direct, prepare, proxy,
                          surroundings, tmp_path):
    """To the server: nobody offers it to the client."""
    user = user_of(client, "scram")
    expected = direct(client, user)
    relay = proxy(network.address(user, sslmode="verify-full",
                                  sslrootcert=network.certificate))
    prepare(user)
    same(expected, exercise(programs[client],
                            surroundings(user, relay.port), tmp_path))


@pytest.mark.parametrize("client", PROGRAMS)
def test_recorded(client, network, programs, direct, prepare, proxy,
                  surroundings, tmp_path, command):
    user = user_of(client, "scram")
    expected = direct(client, user)
    record = tmp_path / "record.trace"
    relay = proxy(network.address(user), "--record", record)
    prepare(user)
    same(expected, exercise(programs[client],
                            surroundings(user, relay.port), tmp_path))
    assert relay.stop() == 0, relay.log
    shown = command("show", record)
    assert shown.returncode == 0, shown.stderr.decode()
    assert b"item" in shown.stdout


@pytest.mark.parametrize("client", PROGRAMS)
def test_controlled(client, network, programs, direct, sqloom, surroundings,
                    tmp_path):
    """The client is the only call: each of its statements is held, and
    granted. Every run writes a transcript of its own."""
    more = {"UNDER_CONTROL": "1"}
    expected = direct(client, "trust", **more)
    program = shlex.join(programs[client])
    schema = shlex.quote(str(CLIENTS / "schema.sql"))
    done = subprocess.run(
        [sqloom, "explore", "--db", network.address("trust"), "--no-progress",
         "--stall-after", PATIENCE,
         "--before", f"psql -X -q -v ON_ERROR_STOP=1 -f {schema}",
         "--call", f"{program} >transcript.$$ 2>errors.$$"],
        cwd=tmp_path, env=surroundings("trust", network.port, **more),
        stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S)
    said = (done.stdout + done.stderr).decode()
    transcripts = sorted(tmp_path.glob("transcript.*"))
    assert transcripts, said
    for path in transcripts:
        same(expected, path.read_bytes())
    # CALL and DO in autocommit cannot be split, which the verdict must say.
    assert done.returncode in (HOLDS, INCONCLUSIVE), said


@pytest.mark.parametrize("race, explored, wrong",
                         (("insert", 6, 4), ("update", 14, 12),
                          ("locked", 6, 0)))
@pytest.mark.parametrize("client", RACERS)
def test_a_race(client, race, explored, wrong, network, network_database,
                programs, sqloom, surroundings, tmp_path):
    """Two clients of a kind. It makes no difference by which driver, and so by
    which messages, the statements come."""
    program = f"{shlex.join(programs[client])} {race}"
    schema = shlex.quote(str(CLIENTS / "schema.sql"))
    done = subprocess.run(
        [sqloom, "explore", "--db", network.address("trust"), "--no-progress",
         "--stall-after", PATIENCE, "--json",
         "--before", f"psql -X -q -v ON_ERROR_STOP=1 -f {schema}",
         "--call", program, "--call", program],
        cwd=tmp_path, env=surroundings("trust", network.port),
        stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == (BROKEN if wrong else HOLDS), said
    report = json.loads(done.stdout)
    assert (report["explored"], report["wrong"]) == (explored, wrong), said
    assert report["complete"], said


# ---- Logging in ----


def psql(env, *arguments):
    return subprocess.run(
        ["psql", "-X", "-A", "-t", *arguments], env=env,
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=TIMEOUT_S)


def without_place(text):
    """libpq's messages begin with the host and port."""
    return text.partition("failed: ")[2] or text


@pytest.mark.parametrize("user", ("trust", "md5", "scram"))
def test_a_password_is_between_client_and_server(user, network_database,
                                                 network, proxy,
                                                 surroundings):
    relay = proxy(network.address(user, sslmode="disable"))
    query = "-c", "SELECT current_user, ssl FROM pg_stat_ssl " \
        "WHERE pid = pg_backend_pid()"
    for how in {}, {"PGPASSWORD": "wrong"}:
        direct_psql, relayed = [
            psql(surroundings(user, port, **how), *query)
            for port in (network.port, relay.port)]
        assert relayed.returncode == direct_psql.returncode
        assert relayed.stdout == direct_psql.stdout
        assert without_place(relayed.stderr) == without_place(
            direct_psql.stderr)
        assert (user == "trust" or how == {}) == (relayed.returncode == 0)


@pytest.mark.parametrize("mode", ("prefer", "require", "verify-ca",
                                  "verify-full"))
def test_tls_to_the_server(mode, network_database, network, proxy,
                           surroundings):
    more = {"sslrootcert": network.certificate} if "verify" in mode else {}
    relay = proxy(network.address("tls", sslmode=mode, **more))
    answer = psql(surroundings("tls", relay.port), "-c",
                  "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    assert answer.stdout == "t\n", answer.stderr + relay.log


def test_a_server_that_wants_tls_and_does_not_get_it(
        network_database, network, proxy, surroundings):
    relay = proxy(network.address("tls", sslmode="disable"))
    relayed = psql(surroundings("tls", relay.port), "-c", "SELECT 1")
    refused = psql(surroundings("tls", network.port), "-c", "SELECT 1")
    assert relayed.returncode == refused.returncode == 2
    assert "no encryption" in refused.stderr
    assert without_place(relayed.stderr) == without_place(refused.stderr)


def test_a_client_that_insists_on_tls_is_told(network_database, network,
                                              proxy, surroundings):
    relay = proxy(network.address("scram"))
    preferred, refused = [
        psql(surroundings("scram", relay.port, PGSSLMODE=mode), "-c",
             "SELECT 1") for mode in ("prefer", "require")]
    assert preferred.stdout == "1\n", preferred.stderr
    assert refused.returncode == 2
    assert "does not support SSL" in refused.stderr


# ---- What is passed through, and load ----


def test_replication_passes_through(network_database, network, proxy,
                                    surroundings):
    relay = proxy(network.address("trust"))
    for kind in "database", "true":
        answers = [psql(surroundings("trust", port), "-d",
                        f"dbname=sqloom_test replication={kind}", "-c",
                        "IDENTIFY_SYSTEM").stdout.split("|")
                   for port in (network.port, relay.port)]
        # The third field is a place in the log, which moves.
        assert answers[0][0] and answers[0][:2] == answers[1][:2]


@pytest.mark.parametrize("protocol", ("simple", "extended", "prepared"))
@pytest.mark.parametrize("options", ((), ("--record", "record.trace")),
                         ids=("relayed", "recorded"))
def test_pgbench(protocol, options, network_database, network, proxy,
                 surroundings, tmp_path):
    clients, transactions = 8, 50
    pgbench = str(network.programs / "pgbench")
    subprocess.run([pgbench, "-i", "-q", "-I", "dtgp"],
                   env=surroundings("trust", network.port), check=True,
                   capture_output=True, timeout=TIMEOUT_S)
    relay = proxy(network.address("trust"), *options)
    done = subprocess.run(
        [pgbench, "-n", "-c", str(clients), "-t", str(transactions), "-M",
         protocol], env=surroundings("trust", relay.port),
        capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr + relay.log
    assert network.sql("SELECT count(*) FROM pgbench_history",
                       network_database) == str(clients * transactions)
    assert network.sql(
        "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = "
        "(SELECT sum(delta) FROM pgbench_history)", network_database) == "t"
