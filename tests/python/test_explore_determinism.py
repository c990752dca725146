# SPDX-License-Identifier: Apache-2.0
"""The same seed gives the same report and the same trace, byte for byte, in
every process, whatever the seed of the hashes."""

import os
import subprocess
import sys

import pytest

CODE = r"""
import sqlite3, sys
import sqloom

def set_up():
    db = sqlite3.connect(sqloom.call_database())
    db.executescript("CREATE TABLE t (k TEXT PRIMARY KEY, v INT);"
                     "INSERT INTO t VALUES ('a', 1), ('b', 2), ('c', 3)")
    db.close()

def move(one, two):
    db = sqlite3.connect(sqloom.call_database())
    names = {one, two, "c"}
    found = {name: db.execute("SELECT v FROM t WHERE k = ?",
                              [name]).fetchone()[0] for name in sorted(names)}
    db.execute("UPDATE t SET v = ? WHERE k = ?", [found[one] - 1, one])
    db.commit()
    db.execute("UPDATE t SET v = ? WHERE k = ?", [found[two] + 1, two])
    db.commit()
    db.close()
    return {"names": names, "found": found, "self": object()}

report = sqloom.explore([(move, "a", "b"), (move, "b", "a"), (move, "b", "c")],
                        setup=set_up, database=":memory:", trace=sys.argv[1],
                        max_runs=400, seed=7, strategy=sys.argv[2])
sys.stdout.buffer.write(report.render(findings=9).encode())
sys.stdout.buffer.write(repr(report.json).encode())
"""


@pytest.mark.parametrize("strategy", ["auto", "random", "uniform", "pct"])
def test_three_processes_tell_the_same(tmp_path, strategy, on_postgresql):
    if on_postgresql:
        pytest.skip("it is on SQLite anyway, and runs then")
    seen = set()
    for hash_seed in ("0", "1", "4711"):
        path = tmp_path / f"{hash_seed}.trace"
        done = subprocess.run(
            [sys.executable, "-c", CODE, path, strategy], timeout=120,
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed})
        assert done.returncode == 0, done.stderr.decode()
        seen.add((done.stdout, path.read_bytes()))
    [(text, trace)] = seen
    assert text.startswith(b"broken")
    assert trace


DJANGO = r"""
import sys
import django
django.setup()
from django.db import transaction
from django.conf import settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test.utils import setup_databases, teardown_databases
import datetime
import sqloom

# Beside the test databases of pytest-django.
if connection.vendor == "postgresql":
    for name in settings.DATABASES:
        settings.DATABASES[name].setdefault("TEST", {})["NAME"] = (
            f"test_again_{name}")
old = setup_databases(verbosity=0, interactive=False)
try:
    from django.contrib.auth.models import Group
    from shop.models import Account, Item, Order
    account = Account.objects.create(name="ann", balance=100)
    # The contents are the same each time, too.
    MigrationRecorder(connection).migration_qs.update(
        applied=datetime.datetime(2024, 5, 6, tzinfo=datetime.timezone.utc))

    def order(name, amount):
        with transaction.atomic():
            mine = Account.objects.get(pk=account.pk)
            with transaction.atomic():
                item = Item.objects.create(name=name)
            mine.balance -= amount
            mine.save()
        return {"order": Order.objects.create(account=mine, item=item),
                "groups": Group.objects.all(), "names": {"x", "y", name}}

    report = sqloom.explore([(order, "tea", 10), (order, "milk", 20)],
                            trace=sys.argv[1], max_runs=60)
    sys.stdout.buffer.write(report.render(findings=9).encode())
    sys.stdout.buffer.write(repr(report.json).encode())
finally:
    teardown_databases(old, verbosity=0)
"""


def test_two_processes_with_django_tell_the_same(tmp_path, on_postgresql):
    seen = set()
    for hash_seed in ("0", "4711"):
        path = tmp_path / f"{hash_seed}.trace"
        done = subprocess.run([sys.executable, "-c", DJANGO, path],
            timeout=120, capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed})
        assert done.returncode == 0, done.stderr.decode()
        seen.add((done.stdout, path.read_bytes()))
    [(text, trace)] = seen
    # SQLite refuses the second of two that have read: that breaks nothing.
    assert text.startswith(b"broken" if on_postgresql else b"")
    assert b"schedules" in text and trace
