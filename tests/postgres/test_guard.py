# SPDX-License-Identifier: Apache-2.0
"""What does not look like a test database is refused before anything is
written there."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from pg_help import (  # noqa: E402
    BROKEN,
    CHECKOUT,
    ENVIRONMENT,
    HOLDS,
    SPECS,
    USAGE,
    dump,
    told,
)

SPEC = SPECS / "split-atomic.spec"


@pytest.fixture
def production(server):
    """A database whose name does not say that it is for tests."""
    server.sql("CREATE DATABASE shop TEMPLATE template0")
    yield server.conninfo("shop")
    server.sql("DROP DATABASE shop WITH (FORCE)")


def is_refused(result):
    assert result.returncode in (USAGE, ENVIRONMENT), told(result)
    assert result.stdout == b""
    assert b"--any-database" in result.stderr, told(result)
    return result.stderr.decode()


def test_the_name_must_say_test(command, production):
    before = dump(production)
    message = is_refused(command("explore", SPEC, "--db", production))
    assert "shop" in message
    assert "test" in message
    assert dump(production) == before


def test_replay_is_guarded_too(command, database, production):
    lost = CHECKOUT / "examples" / "lost-update.spec"
    explored = command("explore", lost, "--db", database)
    assert explored.returncode == BROKEN, told(explored)
    token = explored.stdout.decode().split("sqloom replay ")[1].split()[1]
    is_refused(command("replay", lost, token, "--db", production))


def test_any_database(command, production):
    result = command("explore", SPEC, "--db", production, "--any-database")
    assert result.returncode == HOLDS, told(result)


@pytest.mark.parametrize("host", ["192.0.2.1", "db.example.org"])
def test_a_remote_host_is_not_even_asked(command, host):
    """These hosts do not exist: a refusal that comes after connecting would
    be another message, and late."""
    message = is_refused(command(
        "explore", SPEC, "--db", f"postgresql://{host}/app_test",
        PGCONNECT_TIMEOUT="2"))
    assert host in message


def test_a_host_of_the_environment_counts(command):
    is_refused(command("explore", SPEC, "--db", "dbname=app_test",
                       PGHOST="192.0.2.1", PGCONNECT_TIMEOUT="2"))


def test_the_keyword_string_and_the_uri(command, database, database_uri):
    for given in database, database_uri:
        result = command("explore", SPEC, "--db", given)
        assert result.returncode == HOLDS, told(result)


def test_variables_of_libpq(command, database, server):
    result = command("explore", SPEC, "--db", "postgresql://",
                     PGHOST=str(server.directory), PGUSER=server.user,
                     PGDATABASE="sqloom_test")
    assert result.returncode == HOLDS, told(result)


def test_a_service_file(command, database, server, tmp_path):
    file = tmp_path / "services"
    file.write_text(f"[mine]\nhost={server.directory}\nuser={server.user}\n"
                    "dbname=sqloom_test\n")
    result = command("explore", SPEC, "--db", "service=mine",
                     PGSERVICEFILE=str(file))
    assert result.returncode == HOLDS, told(result)


def test_a_password_is_not_shown(command, database):
    result = command("explore", SPEC, "--db", f"{database} password=s3cret",
                     "--json", "--trace", "trace")
    assert result.returncode == HOLDS, told(result)
    assert "s3cret" not in told(result)


@pytest.mark.parametrize("given, word", [
    ("postgresql:///nowhere_test?host=/nonexistent", b"/nonexistent"),
    ("postgresql://%zz", b"%zz"),
    ("host=/tmp dbname", b"dbname"),
])
def test_no_connection(command, given, word):
    result = command("explore", SPEC, "--db", given)
    assert result.returncode in (USAGE, ENVIRONMENT), told(result)
    assert word in result.stderr
    assert result.stdout == b""


def test_no_such_database(command, server):
    result = command("explore", SPEC, "--db", server.conninfo("missing_test"))
    assert result.returncode == ENVIRONMENT, told(result)
    assert b"missing_test" in result.stderr


@pytest.mark.parametrize("more", [
    ["--pg-temp"], ["--journal", "wal"], ["--store", "file"],
    ["--busy-timeout", "5"], ["--isolation", "chaos"],
    ["--isolation", "nobody=serializable"],
])
def test_options_that_do_not_fit(command, database, more):
    result = command("explore", SPEC, "--db", database, *more)
    assert result.returncode in (USAGE, ENVIRONMENT), told(result)
    assert result.stdout == b""
    assert result.stderr


def test_rows_of_others_that_are_not_committed(command, database):
    """Somebody has the database open and waits with a lock on a table: the
    exploration ends with words, not by waiting for ever."""
    import psycopg2

    other = psycopg2.connect(database)
    cursor = other.cursor()
    cursor.execute("CREATE TABLE account (id int PRIMARY KEY, bal int)")
    other.commit()
    cursor.execute("LOCK TABLE account")
    try:
        result = command("explore", SPEC, "--db", database,
                         "--statement-limit", "2")
        assert result.returncode in (HOLDS, ENVIRONMENT, 4), told(result)
    finally:
        other.close()


def test_a_snapshot_that_somebody_keeps_open_is_noted(command, database):
    import psycopg2

    connection = psycopg2.connect(database, application_name="report")
    connection.set_session(isolation_level="REPEATABLE READ")
    connection.cursor().execute("SELECT count(*) FROM pg_class")
    result = command("explore", SPEC, "--db", database)
    assert result.returncode == HOLDS, told(result)
    assert b"(report) is idle in a transaction that keeps" in result.stdout
    connection.rollback()
    connection.close()
    result = command("explore", SPEC, "--db", database)
    assert b"snapshot" not in result.stdout
