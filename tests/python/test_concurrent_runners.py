# SPDX-License-Identifier: Apache-2.0
"""Concurrent calls under all that runs tests: manage.py test, one after the
other and in parallel, unittest, pytest with its ways to import, xdist; and
without a settings module."""

import os
import pathlib
import re
import subprocess
import sys
import textwrap

import pytest

PATIENCE_S = 120

TESTS = """
    from django.db import connection
    from django.test import TransactionTestCase

    import sqloom
    from shop.models import Account


    def create(name):
        Account.objects.create(name=name)
        return str(connection.settings_dict["NAME"])


    class First(TransactionTestCase):
        def test_one(self):
            results = sqloom.call_concurrently(3, create, "one")
            names = [name for name in results if isinstance(name, str)]
            self.assertEqual(len(names), 1)
            self.assertEqual(Account.objects.count(), 1)
            print("database", names, connection.settings_dict["NAME"])


    class Second(First):
        pass
    """


@pytest.fixture
def project(tmp_path):
    """A folder with tests; the project itself is that of these tests."""
    package = tmp_path / "checks"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "test_it.py").write_text(textwrap.dedent(TESTS))
    return tmp_path


def run(directory, *command, **environment):
    """Runs Python in the directory. Its databases have names of their own."""
    ended = subprocess.run(
        [sys.executable, *command], cwd=directory, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_S,
        env={**os.environ, "SQLOOM_TEST_DIRECTORY": str(directory),
             **environment})
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


@pytest.fixture
def settings_module(project, on_postgresql):
    """The settings, with test databases that nobody else uses."""
    (project / "own_settings.py").write_text(textwrap.dedent("""
        from project.settings import *
        DATABASES = {"default": dict(DATABASES["default"])}
        if not DATABASES["default"]["ENGINE"].endswith("sqlite3"):
            DATABASES["default"]["TEST"] = {"NAME": "test_concurrent_runners"}
        """))
    return "own_settings"


def names_of_databases(output):
    """Of the call, and of the test."""
    return re.findall(r"database \['(\S+)'\] (\S+)", output)


def test_manage_py_test(project, settings_module):
    output = run(project, "-m", "django", "test", "checks",
                 "--settings", settings_module)
    assert "Ran 2 tests" in output
    assert len(names_of_databases(output)) == 2


def test_manage_py_test_in_parallel(project, settings_module, on_postgresql):
    output = run(project, "-m", "django", "test", "checks", "--parallel", "2",
                 "--settings", settings_module)
    assert "Ran 2 tests" in output
    if on_postgresql:
        names = names_of_databases(output)
        assert len(names) == 2
        for of_call, of_test in names:
            assert of_call == of_test
            assert of_test[-2:] in ("_1", "_2")


@pytest.mark.parametrize("mode", ["prepend", "append", "importlib"])
def test_pytest(project, settings_module, mode):
    pytest.importorskip("pytest_django")
    output = run(project, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider",
                 f"--import-mode={mode}", "--ds", settings_module, "checks")
    assert "2 passed" in output


def test_xdist(project, settings_module):
    pytest.importorskip("xdist")
    output = run(project, "-m", "pytest", "-q", "-n2", "-p",
                 "no:cacheprovider", "--ds", settings_module, "checks")
    assert "2 passed" in output


def test_modules_of_the_same_name(tmp_path):
    """Which of the two conftest.py is it? That of this test."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "conftest.py").write_text(
            f"def who():\n    return {name!r}\n")
        (tmp_path / name / f"test_{name}.py").write_text(textwrap.dedent(f"""
            import pathlib, sys
            import sqloom

            def test_it():
                conftest = sys.modules["conftest"]
                file = pathlib.Path(conftest.__file__)
                assert sqloom.call_concurrently(2, conftest.who) == [
                    file.parent.name] * 2
            """))
    output = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                 "-p", "no:django", ".")
    assert "2 passed" in output


def test_unittest_without_django(tmp_path):
    (tmp_path / "test_plain.py").write_text(textwrap.dedent("""
        import sys, unittest
        import sqloom

        def f(a):
            return a, "django" in sys.modules

        class Plain(unittest.TestCase):
            def test_it(self):
                self.assertEqual(sqloom.call_concurrently(2, f, 1),
                                 [(1, False)] * 2)
                self.assertNotIn("django", sys.modules)
        """))
    output = run(tmp_path, "-W", "error", "-m", "unittest", "test_plain")
    assert "Ran 1 test" in output
    assert "Warning" not in output


def test_settings_without_a_module(tmp_path):
    """settings.configure(), as the tests of many reusable packages do it."""
    (tmp_path / "called_here.py").write_text(textwrap.dedent("""
        from django.conf import settings
        from django.contrib.auth.models import Group

        def f(name):
            Group.objects.create(name=name)
            return settings.SQLOOM_TRIED, Group.objects.count()
        """))
    (tmp_path / "run_tests.py").write_text(textwrap.dedent("""
        import django
        from django.conf import settings
        settings.configure(
            INSTALLED_APPS=["django.contrib.contenttypes",
                            "django.contrib.auth"],
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3",
                                   "NAME": ":memory:"}},
            DEFAULT_AUTO_FIELD="django.db.models.AutoField", SQLOOM_TRIED=5)
        django.setup()
        from django.core.management import call_command
        import sqloom, called_here

        if __name__ == "__main__":
            call_command("migrate", verbosity=0)
            called_here.Group.objects.create(name="a")
            print(sqloom.call_concurrently(1, called_here.f, "b"))
            print(called_here.Group.objects.count())
        """))
    environment = {"DJANGO_SETTINGS_MODULE": ""}
    output = run(tmp_path, "run_tests.py", **environment)
    assert output == "[(5, 2)]\n2\n"


def test_what_django_setup_does_with_a_database(project, on_postgresql):
    """A ready() that asks the database asks the test database, and the
    connection is closed and told of."""
    app = project / "asks"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "apps.py").write_text(textwrap.dedent("""
        import sys
        from django.apps import AppConfig

        asked = []

        class Asks(AppConfig):
            name = "asks"
            default = True

            def ready(self):
                if "pytest" not in sys.modules:
                    from django.db import connection
                    connection.ensure_connection()
                    asked.append(str(connection.settings_dict["NAME"]))

        def result():
            from django.db import connection
            return asked, str(connection.settings_dict["NAME"])
        """))
    (project / "own_settings.py").write_text(textwrap.dedent("""
        from project.settings import *
        INSTALLED_APPS = [*INSTALLED_APPS, "asks"]
        DATABASES = {"default": dict(DATABASES["default"])}
        if not DATABASES["default"]["ENGINE"].endswith("sqlite3"):
            DATABASES["default"]["TEST"] = {"NAME": "test_concurrent_runners"}
        """))
    (project / "test_asks.py").write_text(textwrap.dedent("""
        import pytest, sqloom
        from asks import apps

        @pytest.mark.django_db(transaction=True)
        def test_it():
            with pytest.warns(RuntimeWarning, match="left a connection to the"
                              " database 'default'; clean processes"):
                (asked, now), = sqloom.call_concurrently(1, apps.result)
            assert asked == [now]
            sqloom.call_concurrently(1, apps.result)
        """))
    output = run(project, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                 "-W", "error::RuntimeWarning", "--ds", "own_settings",
                 "test_asks.py")
    assert "1 passed" in output
    assert pathlib.Path(project, "asks").is_dir()
