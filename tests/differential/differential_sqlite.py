# SPDX-License-Identifier: Apache-2.0
"""A thin layer over the system's SQLite library, by ctypes.

Python's own module cannot install a busy handler and tells extended error
codes only in later versions. This one has the few calls that the reference
explorer needs, and nothing of sqloom's.
"""

import ctypes
import ctypes.util

ROW, DONE = 100, 101
OPEN = 0x2 | 0x4 | 0x8000  # READWRITE, CREATE, NOMUTEX
TRANSIENT = ctypes.c_void_p(-1)
BUSY_HANDLER = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)

NAMES = {
    1: "SQLITE_ERROR",
    5: "SQLITE_BUSY",
    6: "SQLITE_LOCKED",
    517: "SQLITE_BUSY_SNAPSHOT",
    275: "SQLITE_CONSTRAINT_CHECK",
    787: "SQLITE_CONSTRAINT_FOREIGNKEY",
    1299: "SQLITE_CONSTRAINT_NOTNULL",
    1555: "SQLITE_CONSTRAINT_PRIMARYKEY",
    1811: "SQLITE_CONSTRAINT_TRIGGER",
    2067: "SQLITE_CONSTRAINT_UNIQUE",
    2579: "SQLITE_CONSTRAINT_ROWID",
}


def _load():
    name = ctypes.util.find_library("sqlite3")
    if not name:
        return None
    lib = ctypes.CDLL(name)
    for function in ("column_text", "column_name", "bind_parameter_name", "errmsg"):
        getattr(lib, "sqlite3_" + function).restype = ctypes.c_char_p
    lib.sqlite3_column_int64.restype = ctypes.c_int64
    lib.sqlite3_column_double.restype = ctypes.c_double
    lib.sqlite3_last_insert_rowid.restype = ctypes.c_int64
    lib.sqlite3_libversion.restype = ctypes.c_char_p
    return lib


LIB = _load()


class Error(Exception):
    """A statement failed; code is the extended one, by its name."""

    def __init__(self, number, message):
        super().__init__(message)
        self.columns, self.first = (), None  # what it returned until then
        self.retry = number & 0xFF in (5, 6)
        self.code = NAMES.get(number, str(number))


class Connection:
    """One connection, in autocommit mode until told otherwise."""

    def __init__(self, path):
        self.db = ctypes.c_void_p()
        self.busy = None
        self.rc(LIB.sqlite3_open_v2(path.encode(), ctypes.byref(self.db), OPEN, None))
        LIB.sqlite3_extended_result_codes(self.db, 1)

    def set_busy(self, handler):
        self.busy = handler  # keeps the callback alive
        LIB.sqlite3_busy_handler(self.db, handler, None)

    def rc(self, rc):
        if rc not in (0, ROW, DONE):
            message = LIB.sqlite3_errmsg(self.db).decode()
            raise Error(LIB.sqlite3_extended_errcode(self.db), message)
        return rc

    def in_transaction(self):
        return not LIB.sqlite3_get_autocommit(self.db)

    def changes(self):
        return LIB.sqlite3_changes(self.db)

    def last_rowid(self):
        return LIB.sqlite3_last_insert_rowid(self.db)

    def close(self):
        self.rc(LIB.sqlite3_close(self.db))

    def execute(self, sql, values=None):
        """Runs one statement: its column names and rows."""
        stmt = ctypes.c_void_p()
        self.rc(
            LIB.sqlite3_prepare_v2(
                self.db, sql.encode(), -1, ctypes.byref(stmt), None
            )
        )
        try:
            self.bind(stmt, values or {})
            count = LIB.sqlite3_column_count(stmt)
            columns = [LIB.sqlite3_column_name(stmt, i).decode() for i in range(count)]
            rows = []
            while self.rc(LIB.sqlite3_step(stmt)) == ROW:
                rows.append(tuple(value(stmt, i) for i in range(count)))
            return columns, rows
        except Error as error:
            error.columns, error.first = columns, rows[0] if rows else None
            raise
        finally:
            LIB.sqlite3_finalize(stmt)

    def bind(self, stmt, values):
        for i in range(1, LIB.sqlite3_bind_parameter_count(stmt) + 1):
            name = LIB.sqlite3_bind_parameter_name(stmt, i).decode()[1:]
            given = values.get(name)
            if isinstance(given, int):
                LIB.sqlite3_bind_int64(stmt, i, ctypes.c_int64(given))
            elif isinstance(given, float):
                LIB.sqlite3_bind_double(stmt, i, ctypes.c_double(given))
            elif isinstance(given, str):
                LIB.sqlite3_bind_text(stmt, i, given.encode(), -1, TRANSIENT)


def value(stmt, i):
    kind = LIB.sqlite3_column_type(stmt, i)
    if kind == 1:
        return LIB.sqlite3_column_int64(stmt, i)
    if kind == 2:
        return LIB.sqlite3_column_double(stmt, i)
    if kind == 3:
        return LIB.sqlite3_column_text(stmt, i).decode()
    assert kind == 5, "the scenarios use no blobs"
    return None
