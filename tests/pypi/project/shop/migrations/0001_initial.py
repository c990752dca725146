# SPDX-License-Identifier: Apache-2.0
import django.db.models.deletion
from django.db import migrations, models


def add_coupon(apps, schema_editor):
    apps.get_model("shop", "Coupon").objects.create(code="X")


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel("Coupon", [
            ("id", models.BigAutoField(primary_key=True, serialize=False,
                                       auto_created=True, verbose_name="ID")),
            ("code", models.CharField(max_length=20, unique=True)),
            ("used", models.BooleanField(default=False)),
        ]),
        migrations.CreateModel("Redemption", [
            ("id", models.BigAutoField(primary_key=True, serialize=False,
                                       auto_created=True, verbose_name="ID")),
            ("details", models.JSONField(default=dict)),
            ("coupon", models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                to="shop.coupon")),
        ]),
        migrations.RunPython(add_coupon, migrations.RunPython.noop),
    ]
