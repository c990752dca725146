# SPDX-License-Identifier: Apache-2.0
"""The tables of the shop."""

from django.conf import settings
from django.db import migrations, models
from django.db.models.deletion import CASCADE


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="CartItem",
            fields=[
                ("id", models.BigAutoField(
                    auto_created=True, primary_key=True, serialize=False,
                    verbose_name="ID")),
                ("session_key", models.CharField(
                    db_index=True, max_length=40)),
                ("sku", models.CharField(max_length=20)),
            ],
        ),
        migrations.CreateModel(
            name="Coupon",
            fields=[
                ("id", models.BigAutoField(
                    auto_created=True, primary_key=True, serialize=False,
                    verbose_name="ID")),
                ("code", models.CharField(max_length=20, unique=True)),
                ("customer", models.CharField(
                    blank=True, default="", max_length=50)),
            ],
        ),
        migrations.CreateModel(
            name="Product",
            fields=[
                ("id", models.BigAutoField(
                    auto_created=True, primary_key=True, serialize=False,
                    verbose_name="ID")),
                ("name", models.CharField(max_length=50)),
                ("stock", models.IntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="Stash",
            fields=[
                ("id", models.BigAutoField(
                    auto_created=True, primary_key=True, serialize=False,
                    verbose_name="ID")),
                ("session_key", models.CharField(max_length=40, unique=True)),
                ("skus", models.TextField(default="")),
            ],
        ),
        migrations.CreateModel(
            name="UserProfile",
            fields=[
                ("id", models.BigAutoField(
                    auto_created=True, primary_key=True, serialize=False,
                    verbose_name="ID")),
                ("newsletter", models.BooleanField(default=True)),
                ("user", models.OneToOneField(
                    on_delete=CASCADE, related_name="profile",
                    to=settings.AUTH_USER_MODEL)),
            ],
        ),
    ]
