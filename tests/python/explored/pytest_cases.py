# SPDX-License-Identifier: Apache-2.0
"""Several tests for several processes; run by test_django_explore_runners."""

import os

import pytest
from django.db import connection
from explored import calls

import sqloom
from shop.models import Account


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", range(6))
def test_lost_update(number):
    account = Account.objects.create(name=f"ann {number}", balance=1)
    with open(os.environ["EXPLORED_LOG"], "a") as log:
        log.write(f"{os.getpid()} {connection.settings_dict['NAME']}\n")
    report = sqloom.explore([(calls.deposit, account.pk, 10),
                             (calls.deposit, account.pk, 20)], max_runs=3)
    assert report.broken, report.text
    account.refresh_from_db()
    assert account.balance == 1
