# SPDX-License-Identifier: Apache-2.0
"""What the tests of explorations on PostgreSQL share."""

import json
import pathlib
import subprocess

import psycopg2

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
SPECS = pathlib.Path(__file__).resolve().parent / "specs"
HERMITAGE = CHECKOUT / "examples" / "hermitage"

HOLDS, BROKEN, USAGE, ENVIRONMENT, INCONCLUSIVE = 0, 1, 2, 3, 4
RC, RR, SERIALIZABLE = "read committed", "repeatable read", "serializable"
ISOLATION_LEVELS = RC, RR, SERIALIZABLE


def told(result):
    """All that a run of the command said, for messages of assertions."""
    return (f"exit {result.returncode}\n{result.stdout.decode()}\n"
            f"{result.stderr.decode()}")


def explore(command, database, spec, *more, **env):
    """The report of a whole exploration, as JSON. It has a verdict."""
    result = command("explore", spec, "--db", database, "--json", *more, **env)
    assert result.returncode in (HOLDS, BROKEN, INCONCLUSIVE), told(result)
    report = json.loads(result.stdout)
    assert report["exit_code"] == result.returncode
    return report


def of_class(report):
    """The classes that occurred, without those of right runs."""
    return {name for name, runs in report["classes"].items()
            if runs and name not in ("serial", "benign")}


def query(database, sql, *arguments):
    """The rows of one statement, on a connection of its own."""
    connection = psycopg2.connect(database)
    connection.autocommit = True
    try:
        cursor = connection.cursor()
        cursor.execute(sql, arguments or None)
        return cursor.fetchall() if cursor.description else None
    finally:
        connection.close()


def dump(database):
    """Lines of the database as pg_dump writes it: schema, rows, sequences,
    rights; whatever the order in which rows are stored."""
    text = subprocess.run(
        ["pg_dump", database], check=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, text=True, timeout=60).stdout
    # Newer versions frame the dump with a random word.
    return sorted(line for line in text.splitlines()
                  if not line.startswith(("\\restrict", "\\unrestrict")))
