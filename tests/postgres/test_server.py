# SPDX-License-Identifier: Apache-2.0
"""The server of the tests (tests/conftest.py) is private, and ends with
them."""

import os
import signal
import subprocess
import sys
import time

import pytest

# Starts a server as the fixture does, says where it is, and waits.
HOLDER = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("shared", sys.argv[1])
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)
server = shared.Server(shared.find_postgres())
server.start()
print(server.directory, server.pid(), flush=True)
sys.stdin.read()
"""


def test_it_is_not_roots_and_not_reachable(server, database):
    assert server.user != "root"
    assert (server.directory / "data/postmaster.pid").stat().st_uid != 0
    assert server.sql("SHOW listen_addresses") == ""
    assert server.sql("SHOW data_directory") == f"{server.directory}/data"
    assert server.directory.stat().st_mode & 0o777 == 0o700


def test_a_database_is_empty_and_ones_own(server, database, database_uri):
    assert server.sql("SELECT current_database()", "sqloom_test") \
        == "sqloom_test"
    assert "sqloom_test" in database
    server.sql("CREATE TABLE left_behind ()", "sqloom_test")
    done = subprocess.run(
        [server.programs / "psql", "-XAtc", "SELECT count(*) FROM left_behind",
         database_uri], capture_output=True, text=True)
    assert done.stdout == "0\n", done.stderr


def test_nothing_is_left_of_an_earlier_test(server, database):
    assert server.sql("SELECT count(*) FROM pg_tables"
                      " WHERE schemaname = 'public'", "sqloom_test") == "0"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_the_tests(checkout, number):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, checkout / "tests/conftest.py"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    directory, pid = holder.stdout.readline().split()
    holder.send_signal(number)
    holder.communicate()
    # Nobody tells us when it has ended; a hang ends this test, too.
    while os.path.exists(directory):
        time.sleep(0.005)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
