# SPDX-License-Identifier: Apache-2.0
"""The project of the tests itself: on the database it says, migrated."""

import subprocess
import sys

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from shop.models import Account


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.parametrize("alias", ["default", "other"])
def test_test_databases(alias, on_postgresql):
    connection = connections[alias]
    connection.ensure_connection()
    name = str(connection.settings_dict["NAME"])
    if on_postgresql:
        assert connection.vendor == "postgresql"
        assert name.startswith("test_")
    else:
        assert connection.vendor == "sqlite"
        assert connection.is_in_memory_db()
    # Not its row: some tests flush the database on purpose.
    assert ("shop", "0002_welcome") in MigrationRecorder(
        connection).applied_migrations()


@pytest.mark.django_db(databases=["default", "other"])
def test_models_are_migrated():
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


@pytest.mark.django_db
def test_view(client):
    account = Account.objects.create(name="ann", balance=1)
    assert client.get(f"/deposit/{account.pk}/10").status_code == 200
    account.refresh_from_db()
    assert account.balance == 11


def test_an_application_loads_nothing_that_is_for_tests():
    """What models and receivers use of sqloom does not touch SQLite."""
    code = ("import sys, sqloom\n"
            "from sqloom.django import require_lock, suspendingreceiver\n"
            "assert 'sqloom._ext' not in sys.modules, sorted(sys.modules)\n"
            "sqloom.point('here')\n"
            "assert 'sqloom._explore' not in sys.modules\n"
            "from sqloom import *\n"
            "assert explore and assert_race_free and RaceFound\n"
            "assert 'sqloom._explore' in sys.modules\n")
    subprocess.run([sys.executable, "-c", code], check=True)
