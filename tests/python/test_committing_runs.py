# SPDX-License-Identifier: Apache-2.0
"""Whole runs of `manage.py test` and of pytest with committing tests and
others, in whatever order: all find what they may expect, and the databases can
be destroyed at the end."""

import itertools
import os
import re
import subprocess
import sys
import textwrap

import pytest

TIMEOUT_S = 300
_numbers = itertools.count()

SETTINGS = """
    from project.settings import *

    for _alias, _settings in DATABASES.items():
        if _settings["ENGINE"].endswith("postgresql"):
            _settings["TEST"] = {{"NAME": "test_{name}_" + _alias}}
    STATIC_URL = "/static/"
"""

MIXED = """
    import threading

    from django.contrib.contenttypes.models import ContentType
    from django.db import connection, connections
    from django.test import TestCase, TransactionTestCase

    from shop.models import Account, Coupon
    from sqloom.django import (CommittingTestCase, CommittingTestMixin,
                               committing)

    def count():
        counted = []
        def run():
            counted.append(Account.objects.count())
            connections.close_all()
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return counted[0]

    class Atomic(TestCase):
        def test_1(self):
            assert not Account.objects.exists()
            Account.objects.create(name="a")
            Coupon.objects.all().delete()
        test_2 = test_1

    class Committing(CommittingTestCase):
        def test_1(self):
            assert Coupon.objects.get().code == "WELCOME"
            assert ContentType.objects.filter(model="coupon").exists()
            assert Account.objects.create(name="a").pk == 1
            assert count() == 1
            Coupon.objects.all().delete()
            ContentType.objects.all().delete()
        test_2 = test_1

    class Emptying(TransactionTestCase):
        def test_1(self):
            assert not Account.objects.exists()
            Account.objects.create(name="a")
        test_2 = test_1

    class CommittingAfter(CommittingTestMixin, Emptying):
        def test_1(self):
            assert Coupon.objects.get().code == "WELCOME"
            super().test_1()
        test_2 = test_1

    class One(Atomic):
        @committing
        def test_3(self):
            assert Account.objects.create(name="a").pk == 1
            assert count() == 1
"""


@pytest.fixture
def project(tmp_path, request):
    """project(module, "test", ...) runs Django's runner, project(module,
    "pytest", ...) pytest, on databases of their own. Gives the exit status and
    what was printed."""
    name = f"runs_{os.getpid()}_{next(_numbers)}"

    def run(source, *arguments, **environment):
        (tmp_path / f"{name}.py").write_text(
            textwrap.dedent(SETTINGS).format(name=name))
        (tmp_path / f"test_{name}.py").write_text(textwrap.dedent(source))
        path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
        kind, *more = arguments
        command = {
            "test": [sys.executable, "-m", "django", "test", f"test_{name}",
                     "--noinput", *more],
            "pytest": [sys.executable, "-m", "pytest", "-p",
                       "no:cacheprovider", f"--ds={name}", "-c", os.devnull,
                       "--rootdir", str(tmp_path), *more,
                       str(tmp_path / f"test_{name}.py")],
        }[kind]
        done = subprocess.run(
            command, cwd=tmp_path, text=True, timeout=TIMEOUT_S,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": path,
                 "DJANGO_SETTINGS_MODULE": name, **environment})
        return done.returncode, done.stdout

    run.database = f"test_{name}_default"
    return run


def clean(result):
    """All went well, and nobody was told anything."""
    status, out = result
    assert status == 0, out
    assert "Warning" not in out, out
    assert "being accessed" not in out, out


@pytest.mark.parametrize("more", [[], ["--reverse"], ["--parallel", "2"]],
                         ids=["forwards", "backwards", "parallel"])
def test_django_runner(project, more):
    result = project(MIXED, "test", *more)
    clean(result)
    assert "Ran 11 tests" in result[1]


def test_pytest(project):
    result = project(MIXED, "pytest")
    clean(result)
    assert "11 passed" in result[1]


def test_pytest_xdist(project):
    pytest.importorskip("xdist")
    result = project(MIXED, "pytest", "-n", "2")
    clean(result)
    assert "11 passed" in result[1]


def query(database, sql):
    """On the server of the tests."""
    done = subprocess.run(
        ["psql", "-XAtq", "-d", database, "-c", sql], text=True, check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C"})
    return done.stdout.split()


MARKS = ("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'sqloom%' "
         "UNION ALL SELECT count(*) FROM pg_namespace WHERE nspname = 'sqloom'")


def test_nothing_stays_in_a_database_that_is_kept(project, on_postgresql):
    if not on_postgresql:
        pytest.skip("SQLite's are copied, and never written")
    try:
        clean(project(MIXED, "test", "--keepdb"))
        assert query(project.database, MARKS) == ["0", "0"]
    finally:
        query("postgres", f"DROP DATABASE {project.database}")


def test_role_that_is_no_superuser(project, on_postgresql):
    if not on_postgresql:
        pytest.skip("about roles")
    role = f"plain_{os.getpid()}"
    query("postgres", f"CREATE ROLE {role} LOGIN CREATEDB")
    source = MIXED + """
    class Exploring(CommittingTestCase):
        def test(self):
            import sqloom
            from shop.models import Item, Order
            account = Account.objects.create(name="a")
            Order.objects.create(account=account,
                                 item=Item.objects.create(name="i"))
            def add():
                mine = Account.objects.get()
                mine.balance += 1
                mine.save()
            assert not sqloom.explore([add, add]).holds
            assert Order.objects.get().account == account
            assert Item.objects.create(name="next").pk == 2
        test_again = test
    """
    try:
        result = project(source, "test", PGUSER=role)
        clean(result)
        assert "Ran 13 tests" in result[1]
    finally:
        query("postgres", f"DROP ROLE {role}")


def test_schema_that_is_left(project, on_postgresql):
    """The test is told, the next ones go on."""
    if not on_postgresql:
        pytest.skip("SQLite's schema is put back")
    status, out = project("""
        from django.db import connection

        from shop.models import Coupon
        from sqloom.django import CommittingTestCase

        class A(CommittingTestCase):
            def test_1(self):
                with connection.cursor() as cursor:
                    cursor.execute("CREATE TABLE made_here (n int)")
                    cursor.execute("DELETE FROM shop_coupon")

        class B(CommittingTestCase):
            def test_2(self):
                assert Coupon.objects.get().code == "WELCOME"
        """, "test")
    assert status == 1
    assert "made_here" in out
    assert re.search(r"ERROR: test_1 ", out)
    assert "FAILED (errors=1)" in out, out


def test_process_that_is_forked(project):
    """It is no business of a child's to put back its parent's database."""
    clean(project("""
        import atexit, gc, os

        from django.db import connections
        from shop.models import Account
        from sqloom.django import CommittingTestCase, _fixtures

        class A(CommittingTestCase):
            def test_1(self):
                Account.objects.create(name="a")
                connections.close_all()
                child = os.fork()
                if not child:
                    # As at the end of the interpreter, but nothing printed.
                    atexit._run_exitfuncs()
                    del A._sqloom_run
                    A._class_cleanups.clear()
                    _fixtures._led.clear()
                    _fixtures._kept.clear()
                    gc.collect()
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
                assert Account.objects.get().name == "a"

            def test_2(self):
                assert not Account.objects.exists()
        """, "test"))
