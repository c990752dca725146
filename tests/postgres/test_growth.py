# SPDX-License-Identifier: Apache-2.0
"""Thousands of runs leave no more behind than a few: sessions, locks, prepared
statements, sizes. SQLOOM_GROWTH_RUNS=50000 makes the long run by hand."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from pg_help import HOLDS, dump, query, told  # noqa: E402

RUNS = int(os.environ.get("SQLOOM_GROWTH_RUNS", "3000"))
# 1.7 million orders: more than are ever run.
SPEC = """\
session a
step a1 { BEGIN }
step a2 { UPDATE account SET bal = bal + 1 WHERE id = 1 }
step a3 { INSERT INTO log (what) VALUES ('a') }
step a4 { SELECT bal FROM account WHERE id = 2 }
step a5 { UPDATE account SET bal = bal - 1 WHERE id = 1 }
step a6 { COMMIT }
session b
step b1 { BEGIN }
step b2 { UPDATE account SET bal = bal + 1 WHERE id = 2 }
step b3 { INSERT INTO log (what) VALUES ('b') }
step b4 { SELECT bal FROM account WHERE id = 2 }
step b5 { UPDATE account SET bal = bal - 1 WHERE id = 2 }
step b6 { COMMIT }
session c
step c1 { BEGIN }
step c2 { DELETE FROM account WHERE id = 3 }
step c3 { INSERT INTO account VALUES (3, 100) }
step c4 { COMMIT }
option ignore log
"""
TABLES = """
CREATE TABLE account (id int PRIMARY KEY, bal int NOT NULL);
CREATE TABLE log (id bigserial PRIMARY KEY, what text);
INSERT INTO account SELECT n, 100 FROM generate_series(1, 20) n;
INSERT INTO log (what) VALUES ('first');
"""
SIZE = """
SELECT sum(pg_total_relation_size(oid)) FROM pg_class
WHERE relkind = 'r' AND relnamespace {} 'pg_catalog'::regnamespace
"""


class Sampler:
    """Looks at the server while sqloom runs."""

    def __init__(self, database):
        self.database = database
        self.sessions, self.sizes, self.resident, self.files = [], [], [], []

    def look(self, pid):
        # One statement: nothing of what it counts is its own.
        sessions, = query(self.database, """
            SELECT count(*) FROM pg_stat_activity WHERE datname =
            current_database() AND pid <> pg_backend_pid()
            AND backend_type = 'client backend'""")[0]
        tables, = query(self.database, SIZE.format("<>"))[0]
        try:
            pages = pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]
            files = len(os.listdir(f"/proc/{pid}/fd"))
        except (OSError, IndexError):
            return
        self.sessions.append(sessions)
        self.sizes.append(tables)
        self.resident.append(int(pages) * 4096)
        self.files.append(files)


@pytest.fixture
def sampled(sqloom, environment, database, tmp_path):
    """(Sampler, result) of a long exploration."""
    query(database, TABLES)
    (tmp_path / "growth.spec").write_text(SPEC)
    sampler = Sampler(database)
    process = subprocess.Popen(
        [sqloom, "explore", "growth.spec", "--db", database, "--strategy",
         "uniform", "--seed", "1", "--max-runs", str(RUNS), "--json"],
        cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        while process.poll() is None:
            sampler.look(process.pid)
            time.sleep(0.2)
        output = process.communicate(timeout=60)
    finally:
        process.kill()
    return sampler, subprocess.CompletedProcess(
        process.args, process.returncode, *output)


def test_nothing_grows(sampled, database):
    sampler, result = sampled
    assert result.returncode in (HOLDS, 4), told(result)
    if len(sampler.sessions) >= 6:  # else it was too fast to look at
        half = len(sampler.sessions) // 2
        for values, slack in [(sampler.sessions, 0), (sampler.files, 0),
                              (sampler.sizes, 1 << 20),
                              (sampler.resident, 8 << 20)]:
            early, late = max(values[2:half + 1]), max(values[half:])
            assert late <= early + slack, values
    # Sessions of the server end when they notice; that takes a moment.
    for _ in range(100):
        if not query(database, """
                SELECT 1 FROM pg_stat_activity WHERE datname =
                current_database() AND pid <> pg_backend_pid()
                AND backend_type = 'client backend'"""):
            break
        time.sleep(0.05)
    else:
        pytest.fail("sessions are left")
    assert query(database, "SELECT 1 FROM pg_locks WHERE pid <> "
                 "pg_backend_pid() AND locktype = 'advisory'") == []


def test_the_catalogue_is_as_before(command, database, write):
    query(database, TABLES)
    spec = write("growth.spec", SPEC)
    before = dump(database)
    size = query(database, SIZE.format("="))[0][0]
    for seed in range(3):
        result = command("explore", spec, "--db", database, "--strategy",
                         "random", "--seed", seed, "--max-runs", "100")
        assert result.returncode in (HOLDS, 4), told(result)
    assert dump(database) == before
    grown = query(database, SIZE.format("="))[0][0] - size
    assert grown <= 2 << 20
