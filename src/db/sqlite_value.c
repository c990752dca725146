/* SPDX-License-Identifier: Apache-2.0 */
/* SQLite's values and errors in the terms of traces and statuses. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "db/sqlite_internal.h"

void slm_sqlite_value(sqlite3_stmt *stmt, int column, struct slm_arena *arena,
		      struct slm_value *out, bool *failed)
{
	int type = sqlite3_column_type(stmt, column);
	const void *data;

	*out = (struct slm_value){ .kind = SLM_NULL };
	switch (type) {
	case SQLITE_INTEGER:
		out->kind = SLM_INT;
		out->integer = sqlite3_column_int64(stmt, column);
		return;
	case SQLITE_FLOAT:
		out->kind = SLM_REAL;
		out->real = sqlite3_column_double(stmt, column);
		return;
	case SQLITE_NULL:
		return;
	}
	data = type == SQLITE_TEXT ?
		       (const void *)sqlite3_column_text(stmt, column) :
		       sqlite3_column_blob(stmt, column);
	out->kind = type == SQLITE_TEXT ? SLM_TEXT : SLM_BLOB;
	out->size = (uint32_t)sqlite3_column_bytes(stmt, column);
	out->text = slm_arena_strndup(arena, data, out->size);
	if (!out->text)
		*failed = true;
}

uint64_t slm_sqlite_value_digest(uint64_t digest, const struct slm_value *value)
{
	uint64_t bits = 0;

	switch (value->kind) {
	case SLM_INT:
		bits = (uint64_t)value->integer;
		break;
	case SLM_REAL:
		memcpy(&bits, &value->real, sizeof(bits));
		break;
	case SLM_TEXT:
	case SLM_BLOB:
	case SLM_KEY:
		bits = slm_hash(value->text, value->size, value->kind);
		break;
	case SLM_NULL:
	case SLM_MASKED:
		break;
	}
	return slm_hash_mix(digest + value->kind, bits);
}

/* The one list of SQLite's codes that reports name. */
#define CODES(X)                        \
	X(SQLITE_ERROR)                 \
	X(SQLITE_BUSY)                  \
	X(SQLITE_LOCKED)                \
	X(SQLITE_NOMEM)                 \
	X(SQLITE_READONLY)              \
	X(SQLITE_INTERRUPT)             \
	X(SQLITE_IOERR)                 \
	X(SQLITE_CORRUPT)               \
	X(SQLITE_FULL)                  \
	X(SQLITE_CANTOPEN)              \
	X(SQLITE_SCHEMA)                \
	X(SQLITE_TOOBIG)                \
	X(SQLITE_CONSTRAINT)            \
	X(SQLITE_MISMATCH)              \
	X(SQLITE_MISUSE)                \
	X(SQLITE_AUTH)                  \
	X(SQLITE_RANGE)                 \
	X(SQLITE_NOTADB)                \
	X(SQLITE_ABORT)                 \
	X(SQLITE_BUSY_RECOVERY)         \
	X(SQLITE_BUSY_SNAPSHOT)         \
	X(SQLITE_BUSY_TIMEOUT)          \
	X(SQLITE_LOCKED_SHAREDCACHE)    \
	X(SQLITE_ABORT_ROLLBACK)        \
	X(SQLITE_CONSTRAINT_CHECK)      \
	X(SQLITE_CONSTRAINT_FOREIGNKEY) \
	X(SQLITE_CONSTRAINT_NOTNULL)    \
	X(SQLITE_CONSTRAINT_PRIMARYKEY) \
	X(SQLITE_CONSTRAINT_TRIGGER)    \
	X(SQLITE_CONSTRAINT_UNIQUE)     \
	X(SQLITE_CONSTRAINT_ROWID)      \
	X(SQLITE_CONSTRAINT_DATATYPE)

const char *slm_sqlite_code_name(int code)
{
	switch (code) {
#define X(name)    \
	case name: \
		return #name;
		CODES(X)
#undef X
	default:
		return (code & 0xff) != code ?
			       slm_sqlite_code_name(code & 0xff) :
			       "SQLITE_ERROR";
	}
}

enum slm_error_kind slm_sqlite_error_kind(int code)
{
	switch (code & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return SLM_ERROR_RETRY;
	case SQLITE_CONSTRAINT:
		return SLM_ERROR_INTEGRITY;
	default:
		return SLM_ERROR_OTHER;
	}
}

/* status, unless SQLite says that memory is out or the file is no database. */
enum sqloom_status slm_sqlite_error(sqlite3 *db, enum sqloom_status status,
				    const char *what, struct sqloom_error *err)
{
	int code = db ? sqlite3_errcode(db) : SQLITE_NOMEM;

	if ((code & 0xff) == SQLITE_NOMEM)
		return slm_error_nomem(err);
	if ((code & 0xff) == SQLITE_NOTADB || (code & 0xff) == SQLITE_CORRUPT)
		status = SQLOOM_DATABASE;
	slm_error_set(err, status, "%s%s", what, sqlite3_errmsg(db));
	if (err)
		snprintf(err->sqlstate, sizeof(err->sqlstate), "%d", code);
	return status;
}
