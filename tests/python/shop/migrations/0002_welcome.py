# SPDX-License-Identifier: Apache-2.0
"""Rows that come with the schema: a test that flushes them away breaks the
tests after it."""

from django.db import migrations


def make(apps, schema_editor):
    apps.get_model("shop", "Coupon").objects.using(
        schema_editor.connection.alias).create(code="WELCOME")


def remove(apps, schema_editor):
    apps.get_model("shop", "Coupon").objects.using(
        schema_editor.connection.alias).filter(code="WELCOME").delete()


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [migrations.RunPython(make, remove)]
