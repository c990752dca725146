/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam between libsqloom-sqlite.so, a module of its own, and the libsqloom
 * of the process, wherever that is: the module exports one struct, which
 * libsqloom finds by its name (dlsym) and puts its wrappers into. Also the list
 * of the functions that are wrapped.
 *
 * The two can be of different releases: nothing here may change without a new
 * SLM_SQLITE_MODULE_VERSION.
 */
#ifndef SLM_PROBE_SQLITE_MODULE_H
#define SLM_PROBE_SQLITE_MODULE_H

#include <sqlite3.h>
#include <stdatomic.h>

#define SLM_SQLITE_MODULE_VERSION 2
#define SLM_SQLITE_MODULE_NAME "sqloom_sqlite_hooks"

/* Statements, and what else uses a database: each has a wrapper of its own.
 * X(name, parameters, arguments); all return int, and SQLITE_MISUSE if there is
 * no SQLite. */
#define SLM_SQLITE_STATEMENT(X)                                  \
	X(step, (sqlite3_stmt * stmt), (stmt))                   \
	X(reset, (sqlite3_stmt * stmt), (stmt))                  \
	X(finalize, (sqlite3_stmt * stmt), (stmt))               \
	X(exec,                                                  \
	  (sqlite3 * db, const char *sql,                        \
	   int (*row)(void *, int, char **, char **), void *arg, \
	   char **message),                                      \
	  (db, sql, row, arg, message))                          \
	X(blob_open,                                             \
	  (sqlite3 * db, const char *schema, const char *table,  \
	   const char *column, sqlite3_int64 row, int flags,     \
	   sqlite3_blob **blob),                                 \
	  (db, schema, table, column, row, flags, blob))         \
	X(backup_step, (sqlite3_backup * backup, int pages), (backup, pages))

/* What steps statements of its own, with the connection locked: these are not
 * seen. */
#define SLM_SQLITE_BRACKET(X)                                                  \
	X(prepare,                                                             \
	  (sqlite3 * db, const char *sql, int size, sqlite3_stmt **stmt,       \
	   const char **tail),                                                 \
	  (db, sql, size, stmt, tail))                                         \
	X(prepare_v2,                                                          \
	  (sqlite3 * db, const char *sql, int size, sqlite3_stmt **stmt,       \
	   const char **tail),                                                 \
	  (db, sql, size, stmt, tail))                                         \
	X(prepare_v3,                                                          \
	  (sqlite3 * db, const char *sql, int size, unsigned flags,            \
	   sqlite3_stmt **stmt, const char **tail),                            \
	  (db, sql, size, flags, stmt, tail))                                  \
	X(prepare16,                                                           \
	  (sqlite3 * db, const void *sql, int size, sqlite3_stmt **stmt,       \
	   const void **tail),                                                 \
	  (db, sql, size, stmt, tail))                                         \
	X(prepare16_v2,                                                        \
	  (sqlite3 * db, const void *sql, int size, sqlite3_stmt **stmt,       \
	   const void **tail),                                                 \
	  (db, sql, size, stmt, tail))                                         \
	X(prepare16_v3,                                                        \
	  (sqlite3 * db, const void *sql, int size, unsigned flags,            \
	   sqlite3_stmt **stmt, const void **tail),                            \
	  (db, sql, size, flags, stmt, tail))                                  \
	X(open, (const char *path, sqlite3 **db), (path, db))                  \
	X(open16, (const void *path, sqlite3 **db), (path, db))                \
	X(open_v2,                                                             \
	  (const char *path, sqlite3 **db, int flags, const char *vfs),        \
	  (path, db, flags, vfs))                                              \
	X(blob_reopen, (sqlite3_blob * blob, sqlite3_int64 row), (blob, row))  \
	X(blob_close, (sqlite3_blob * blob), (blob))                           \
	X(load_extension,                                                      \
	  (sqlite3 * db, const char *file, const char *entry, char **message), \
	  (db, file, entry, message))                                          \
	X(table_column_metadata,                                               \
	  (sqlite3 * db, const char *schema, const char *table,                \
	   const char *column, const char **type, const char **collation,      \
	   int *not_null, int *primary_key, int *autoincrement),               \
	  (db, schema, table, column, type, collation, not_null, primary_key,  \
	   autoincrement))                                                     \
	X(deserialize,                                                         \
	  (sqlite3 * db, const char *schema, unsigned char *data,              \
	   sqlite3_int64 size, sqlite3_int64 room, unsigned flags),            \
	  (db, schema, data, size, room, flags))

#define SLM_SQLITE_WRAPPED(X)   \
	SLM_SQLITE_STATEMENT(X) \
	SLM_SQLITE_BRACKET(X)

/* Pointers to all of them. */
struct slm_sqlite_functions {
#define SLM_SQLITE_MEMBER(name, parameters, arguments) int(*name) parameters;
	SLM_SQLITE_WRAPPED(SLM_SQLITE_MEMBER)
#undef SLM_SQLITE_MEMBER
};

/* What libsqloom puts into the module. */
struct slm_sqlite_wrappers {
	/* NULL: this one has no use for it. */
	struct slm_sqlite_functions functions;
	/* SQLITE_TRACE_STMT or SQLITE_TRACE_PROFILE, of a connection that the
	 * extension traces. text: what SQLite gives with STMT. */
	void (*trace)(unsigned event, sqlite3_stmt *stmt, const char *text);
};

/* What the module exports. */
struct slm_sqlite_module {
	unsigned version;
	/* NULL: no libsqloom has come yet. */
	_Atomic(const struct slm_sqlite_wrappers *) wrappers;
	/* SQLite loaded the module as an extension, and is traced. */
	atomic_bool extension;
};

#endif
