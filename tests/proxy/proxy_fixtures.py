# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of the proxy: a server that can be reached by TCP, with
every way to log in, and a proxy before it."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse

import pytest

TIMEOUT_S = 120
PASSWORD = "p:a/s s%w@ord"

# Users are named after the way in which they log in.
WAYS = ("trust", "md5", "scram", "tls")
HBA = """\
local   all  all                         trust
host    all  {superuser}   127.0.0.1/32  trust
host    all  trust         127.0.0.1/32  trust
host    all  md5           127.0.0.1/32  md5
host    all  scram         127.0.0.1/32  scram-sha-256
hostssl all  tls           127.0.0.1/32  scram-sha-256
host    replication  trust 127.0.0.1/32  trust
"""
SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
ssl = on
ssl_cert_file = '{directory}/server.crt'
ssl_key_file = '{directory}/server.key'
max_connections = 200
"""
DATABASE = "sqloom_test"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_certificate(directory, user):
    """A certificate that the server shows, and that is its own authority."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
         "-days", "7", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", directory / "server.key", "-out", directory / "server.crt"],
        check=True, capture_output=True)
    for name in "server.key", "server.crt":
        os.chmod(directory / name, 0o600 if name.endswith("key") else 0o644)
        if os.geteuid() == 0:
            shutil.chown(directory / name, user, user)


@pytest.fixture(scope="session")
def network(new_server):
    """A server on 127.0.0.1, with TLS: network.port, .certificate, .address()
    and .way() say how to get there."""
    made = new_server()
    made.port, made.password = free_port(), PASSWORD
    made.certificate = made.directory / "server.crt"
    make_certificate(made.directory, made.user)
    made.start(SETTINGS.format(port=made.port, directory=made.directory),
               HBA.format(superuser=made.user))

    plain_conninfo, plain_uri = made.conninfo, made.uri
    made.conninfo = lambda name: f"{plain_conninfo(name)} port={made.port}"
    made.uri = lambda name: f"{plain_uri(name)}?port={made.port}"

    def address(way=None, database=DATABASE, **more):
        """A URI by TCP, of a user that logs in this way."""
        user = made.user if way is None else f"{way}:" + urllib.parse.quote(
            PASSWORD, safe="")
        query = urllib.parse.urlencode(more)
        return (f"postgresql://{user}@127.0.0.1:{made.port}/{database}"
                + (f"?{query}" if query else ""))

    made.address = address
    for way in WAYS:
        kind = "md5" if way == "md5" else "scram-sha-256"
        made.sql(f"SET password_encryption = '{kind}'; "
                 f"CREATE ROLE {way} LOGIN PASSWORD '{PASSWORD}' "
                 f"SUPERUSER REPLICATION")
    return made


@pytest.fixture
def network_database(network):
    """An empty database of it; its name comes back."""
    network.sql(f"CREATE DATABASE {DATABASE} TEMPLATE template0")
    yield DATABASE
    network.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")


class Proxy:
    """sqloom proxy, as a process: .port, .log (what it said so far)."""

    def __init__(self, process, port, path):
        self.process = process
        self.port = port
        self.path = path

    @property
    def log(self):
        return self.path.read_text(errors="replace")

    def stop(self):
        """Asks it to end; the exit status comes back."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"the proxy does not end:\n{self.log}", pytrace=False)

    def wait_for(self, pattern):
        """Until its log has it; the match comes back."""
        end = time.monotonic() + TIMEOUT_S
        while not (match := re.search(pattern, self.log)):
            if self.process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"the proxy does not say {pattern!r}, "
                            f"exit {self.process.poll()}:\n{self.log}",
                            pytrace=False)
            time.sleep(0.01)
        return match


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def proxy(sqloom, environment, tmp_path):
    """proxy(uri, options...) starts one on a free port and waits until it
    listens; stopped at the end."""
    made = []

    def start(uri, *options, **env):
        port = free_port()
        path = tmp_path / f"proxy-{len(made)}.log"
        with open(path, "wb") as log:
            process = subprocess.Popen(
                [sqloom, "proxy", "--db", uri, "--port", str(port),
                 *map(str, options)],
                cwd=tmp_path, env=environment(**env),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        one = Proxy(process, port, path)
        made.append(one)
        end = time.monotonic() + TIMEOUT_S
        while not accepts(port):
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"the proxy does not listen:\n{one.log}",
                            pytrace=False)
            time.sleep(0.01)
        return one

    yield start
    for one in made:
        one.stop()
