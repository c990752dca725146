# SPDX-License-Identifier: Apache-2.0
"""The tables of the library."""

from django.db import migrations, models
from django.db.models.deletion import CASCADE


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name="Book",
            fields=[
                ("id", models.BigAutoField(
                    auto_created=True, primary_key=True, serialize=False,
                    verbose_name="ID")),
                ("title", models.CharField(max_length=50)),
                ("copies", models.IntegerField(default=1)),
            ],
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                ("id", models.BigAutoField(
                    auto_created=True, primary_key=True, serialize=False,
                    verbose_name="ID")),
                ("title", models.CharField(max_length=50)),
            ],
        ),
        migrations.CreateModel(
            name="Member",
            fields=[
                ("id", models.BigAutoField(
                    auto_created=True, primary_key=True, serialize=False,
                    verbose_name="ID")),
                ("name", models.CharField(max_length=50)),
            ],
        ),
        migrations.CreateModel(
            name="Translation",
            fields=[
                ("id", models.BigAutoField(
                    auto_created=True, primary_key=True, serialize=False,
                    verbose_name="ID")),
                ("text", models.CharField(max_length=50)),
                ("language", models.CharField(max_length=5)),
                ("words", models.CharField(max_length=50)),
            ],
            options={
                "unique_together": {("text", "language")},
            },
        ),
        migrations.CreateModel(
            name="Registration",
            fields=[
                ("id", models.BigAutoField(
                    auto_created=True, primary_key=True, serialize=False,
                    verbose_name="ID")),
                ("event", models.ForeignKey(
                    on_delete=CASCADE, to="library.event")),
                ("member", models.ForeignKey(
                    on_delete=CASCADE, to="library.member")),
            ],
        ),
        migrations.CreateModel(
            name="Locator",
            fields=[
                ("id", models.BigAutoField(
                    auto_created=True, primary_key=True, serialize=False,
                    verbose_name="ID")),
                ("shelf", models.CharField(max_length=20)),
                ("book", models.ForeignKey(
                    on_delete=CASCADE, to="library.book")),
            ],
        ),
        migrations.CreateModel(
            name="Label",
            fields=[
                ("id", models.BigAutoField(
                    auto_created=True, primary_key=True, serialize=False,
                    verbose_name="ID")),
                ("text", models.CharField(max_length=80)),
                ("locator", models.ForeignKey(
                    on_delete=CASCADE, to="library.locator")),
            ],
        ),
    ]
