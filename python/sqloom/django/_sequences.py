# SPDX-License-Identifier: Apache-2.0
"""Positions of PostgreSQL's sequences: read, and put back.

Django's TestCase rolls back rows, but not sequences. So that ids in committing
tests do not depend on the tests before, the positions that a test database has
when Django has made it are remembered.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Position", "positions", "put", "rewind", "watch"]

_POSITIONS = """
    SELECT format('%I.%I', schemaname, sequencename), last_value, start_value
    FROM pg_catalog.pg_sequences WHERE schemaname <> 'sqloom'"""
# The column that has its values from a sequence.
_OWNER = """
    SELECT c.oid::pg_catalog.regclass::text, quote_ident(a.attname)
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_class c ON c.oid = d.refobjid
    JOIN pg_catalog.pg_attribute a
    ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
    AND d.objid = %s::pg_catalog.regclass AND d.deptype IN ('a', 'i')"""


class Position(NamedTuple):
    """last: the value that was given last; None: none was."""

    last: int | None
    start: int


# By alias: the name of the database that Django made, and what was there.
_made: dict[str, tuple[str, dict[str, Position]]] = {}
_watching = False


def positions(cursor: Any) -> dict[str, Position]:
    """Of all sequences that the user may look at, by their quoted names."""
    cursor.execute(_POSITIONS)
    return {name: Position(last, start) for name, last, start in
            cursor.fetchall()}


def put(cursor: Any, wanted: dict[str, Position]) -> None:
    """Makes the positions of those that are there now what is wanted."""
    now = positions(cursor)
    for name, position in wanted.items():
        if now.get(name, position) != position:
            _set(cursor, name, position)


def _set(cursor: Any, name: str, position: Position) -> None:
    value = position.start if position.last is None else position.last
    cursor.execute("SELECT setval(%s, %s, %s)",
                   [name, value, position.last is not None])


def rewind(wrapper: Any) -> None:
    """Puts sequences back to where they were when Django had made the database,
    but never so far that an id is given again that a row has."""
    name, made = _made.get(wrapper.alias, ("", {}))
    present = str(wrapper.settings_dict["NAME"])
    # A worker of `manage.py test --parallel` has a copy, with a number.
    if not name or not (present == name or present.startswith(f"{name}_")):
        return
    with wrapper.cursor() as cursor:
        now = positions(cursor)
        for sequence, position in made.items():
            if now.get(sequence, position) == position:
                continue
            cursor.execute(_OWNER, [sequence])
            owner = cursor.fetchone()
            if owner is None:
                continue
            cursor.execute(f"SELECT max({owner[1]}) FROM {owner[0]}")
            used = cursor.fetchone()[0]
            if used is not None and used > (position.last or 0):
                position = Position(used, position.start)
            _set(cursor, sequence, position)


def watch() -> None:
    """From now on positions are remembered when Django has made a test
    database."""
    global _watching
    if _watching:
        return
    _watching = True
    from django.db.backends.base.creation import BaseDatabaseCreation

    create = BaseDatabaseCreation.create_test_db

    def create_and_look(self: Any, *args: Any, **kwargs: Any) -> Any:
        name = create(self, *args, **kwargs)
        if self.connection.vendor == "postgresql":
            with self.connection.cursor() as cursor:
                _made[self.connection.alias] = (name, positions(cursor))
        return name

    BaseDatabaseCreation.create_test_db = create_and_look
