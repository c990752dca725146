# SPDX-License-Identifier: Apache-2.0
"""A kept PostgreSQL database, for the time of an exploration, which wants it
for itself: the snapshot goes out of the way, what the test has written so far
stays, and afterwards both are there again.

The rows of the tables that the test has written are set aside in temporary
tables of a session of our own, as the test left them and as they are kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sqloom.django import _sequences

if TYPE_CHECKING:
    from sqloom.django._fixtures import Kept

__all__ = ["moved"]

# What was written, with the partitions and children that statements on their
# parents write; what is gone by now is none of it.
_WRITTEN = """
    WITH RECURSIVE written (relid) AS (
        SELECT DISTINCT relid FROM sqloom.dirty
        UNION
        SELECT i.inhrelid FROM pg_catalog.pg_inherits i
        JOIN written w ON w.relid = i.inhparent)
    SELECT c.oid, c.oid::pg_catalog.regclass::text,
           array(SELECT quote_ident(a.attname)::text
                 FROM pg_catalog.pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0
                 AND NOT a.attisdropped AND a.attgenerated = ''
                 ORDER BY a.attnum)
    FROM written w JOIN pg_catalog.pg_class c ON c.oid = w.relid
    WHERE c.relkind = 'r' AND c.relpersistence <> 't' ORDER BY c.oid"""
_MAY_REPLICATE = "SELECT current_setting('is_superuser') = 'on'"

Table = tuple[int, str, list[str]]


class _Contents:
    """The rows of some tables and the positions of sequences at one moment."""

    def __init__(self, cursor: Any, prefix: str,
                 tables: Sequence[Table]) -> None:
        self._cursor = cursor
        self._tables = tables
        self._prefix = prefix
        self._filled = _filled(cursor, tables)
        for oid, name, _ in tables:
            if oid in self._filled:
                cursor.execute(f"CREATE TEMP TABLE {prefix}{oid} AS "
                               f"SELECT * FROM ONLY {name}")
        self._sequences = _sequences.positions(cursor)

    def put(self, noted: bool) -> None:
        """Makes the tables and the sequences what they were. noted: says so to
        the snapshot."""
        cursor = self._cursor
        now = _filled(cursor, self._tables)
        concerned = [table for table in self._tables
                     if table[0] in now or table[0] in self._filled]
        cursor.execute("BEGIN")
        try:
            with _unchecked(cursor, concerned):
                for oid, name, _ in concerned:
                    if oid in now:
                        cursor.execute(f"DELETE FROM ONLY {name}")
                for oid, name, columns in concerned:
                    if oid in self._filled and columns:
                        of = ", ".join(columns)
                        cursor.execute(
                            f"INSERT INTO {name} ({of}) OVERRIDING SYSTEM "
                            f"VALUE SELECT {of} FROM {self._prefix}{oid}")
            for oid, _, _ in concerned if noted else ():
                cursor.execute("INSERT INTO sqloom.dirty VALUES (%s)", [oid])
            _sequences.put(cursor, self._sequences)
            cursor.execute("COMMIT")
        except BaseException:
            cursor.execute("ROLLBACK")
            raise


def _filled(cursor: Any, tables: Sequence[Table]) -> set[int]:
    """Those of the tables that have rows."""
    if not tables:
        return set()
    cursor.execute(" UNION ALL ".join(
        f"SELECT {oid} WHERE EXISTS (SELECT FROM ONLY {name})"
        for oid, name, _ in tables))
    return {int(row[0]) for row in cursor.fetchall()}


@contextlib.contextmanager
def _unchecked(cursor: Any, tables: Sequence[Table]) -> Iterator[None]:
    """In a transaction: neither foreign keys nor the user's triggers are in the
    way of rows that were there before."""
    cursor.execute(_MAY_REPLICATE)
    if cursor.fetchone()[0]:
        cursor.execute("SET LOCAL session_replication_role = replica")
        yield
        return
    cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    for _, name, _ in tables:
        cursor.execute(f"ALTER TABLE {name} DISABLE TRIGGER USER")
    yield
    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for _, name, _ in tables:
        cursor.execute(f"ALTER TABLE {name} ENABLE TRIGGER USER")


@contextlib.contextmanager
def moved(kept: Kept, wrapper: Any) -> Iterator[None]:
    """Inside of the block nothing of the snapshot is in the database, and the
    block must leave it as it is. wrapper: of an alias that leads there."""
    session = type(wrapper)(wrapper.settings_dict, wrapper.alias)
    try:
        with session.cursor() as cursor:
            cursor.execute(_WRITTEN)
            tables = cursor.fetchall()
            mine = _Contents(cursor, "sqloom_mine_", tables)
            kept.close()
            as_kept = _Contents(cursor, "sqloom_kept_", tables)
            mine.put(noted=False)
            try:
                yield
            finally:
                as_kept.put(noted=False)
                kept.open_again(wrapper)
                mine.put(noted=True)
    finally:
        session.close()
