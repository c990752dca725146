/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locking a table. A failure leaves the block as it was: PostgreSQL's statement
 * is in a savepoint of its own, SQLite's has no effect.
 *
 * SQLite has one lock for writing, which BEGIN IMMEDIATE takes, or the first
 * statement that may write: DELETE FROM table WHERE 0. Once something was
 * read, waiting for it could be waiting for one another (or the data read is
 * old already), so that is refused.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "kit/database.h"

/* Bytes of a name, and of both names of a table in quotes. */
#define NAME_MAX_BYTES 128
#define QUOTED_MAX (2 * (2 * NAME_MAX_BYTES + 3))

#define PAUSE_MS 2

static const char *const modes[] = { "ACCESS SHARE",
				     "ROW SHARE",
				     "ROW EXCLUSIVE",
				     "SHARE UPDATE EXCLUSIVE",
				     "SHARE",
				     "SHARE ROW EXCLUSIVE",
				     "EXCLUSIVE",
				     "ACCESS EXCLUSIVE",
				     NULL };

/* Its canonical name; NULL: there is no such mode. */
static const char *find_mode(const char *mode)
{
	if (!mode)
		return "ACCESS EXCLUSIVE";
	for (size_t i = 0; modes[i]; i++)
		if (strcasecmp(modes[i], mode) == 0)
			return modes[i];
	return NULL;
}

/* ---- Names ------------------------------------------------------------- */

static bool begins_name(unsigned char c)
{
	return isalpha(c) || c == '_' || c >= 0x80;
}

/* The end of the name at p, quoted or bare; NULL: there is none. */
static const char *skip_name(const char *p)
{
	const char *begin = p;

	if (*p == '"') {
		for (p++; *p && (*p != '"' || p[1] == '"'); p++)
			p += *p == '"';
		return *p && p > begin + 1 ? p + 1 : NULL;
	}
	if (!begins_name((unsigned char)*p))
		return NULL;
	while (begins_name((unsigned char)*p) || isdigit((unsigned char)*p) ||
	       *p == '$')
		p++;
	return p;
}

/* Appends the name in quotes, as the database understands it: PostgreSQL takes
 * bare names in lower case. */
static char *put_name(char *out, const char *name, const char *end, bool fold)
{
	if (*name == '"') {
		memcpy(out, name, (size_t)(end - name));
		return out + (end - name);
	}
	*out++ = '"';
	for (; name < end; name++)
		*out++ = fold && *name >= 'A' && *name <= 'Z' ?
				 (char)tolower((unsigned char)*name) :
				 *name;
	*out++ = '"';
	return out;
}

/* table, or schema.table, in quotes. False: it is neither. */
static bool quote_table(const char *table, bool fold, char out[QUOTED_MAX])
{
	for (unsigned parts = 1; parts <= 2; parts++) {
		const char *end = skip_name(table);

		if (!end || end - table > 2 * NAME_MAX_BYTES)
			return false;
		out = put_name(out, table, end, fold);
		*out = '\0';
		if (!*end)
			return true;
		if (*end != '.')
			return false;
		*out++ = '.';
		table = end + 1;
	}
	return false;
}

/* ---- PostgreSQL -------------------------------------------------------- */

static enum sqloom_status lock_in_savepoint(struct sqloom_db *db,
					    const char *table, const char *mode,
					    int timeout_ms)
{
	if (timeout_ms > 0)
		return slm_kit_run(db, NULL,
				   "SET LOCAL lock_timeout = %d; "
				   "LOCK TABLE %s IN %s MODE",
				   timeout_ms, table, mode);
	return slm_kit_run(db, NULL, "LOCK TABLE %s IN %s MODE%s", table, mode,
			   timeout_ms == 0 ? " NOWAIT" : "");
}

static enum sqloom_status lock_pg(struct sqloom_db *db, const char *table,
				  const char *mode, int timeout_ms)
{
	char *before = NULL;
	/* SHOW and SAVEPOINT take no snapshot: what is read behind the lock is
	 * what others had written before it. */
	enum sqloom_status status =
		timeout_ms <= 0 ?
			SQLOOM_OK :
			db->driver->run(db, "SHOW lock_timeout", &before, NULL);

	if (!status)
		status = slm_kit_run(db, NULL, "SAVEPOINT sqloom_lock");
	if (!status) {
		status = lock_in_savepoint(db, table, mode, timeout_ms);
		if (status)
			slm_kit_run(db, NULL,
				    "ROLLBACK TO SAVEPOINT sqloom_lock; "
				    "RELEASE SAVEPOINT sqloom_lock");
		else if (before)
			status = slm_kit_run(db, NULL,
					     "SET LOCAL lock_timeout = '%s'; "
					     "RELEASE SAVEPOINT sqloom_lock",
					     before);
		else
			status = slm_kit_run(db, NULL,
					     "RELEASE SAVEPOINT sqloom_lock");
	}
	slm_free(before);
	return status;
}

/* ---- SQLite ------------------------------------------------------------ */

static enum sqloom_status lock_once(struct sqloom_db *db, const char *table)
{
	return slm_kit_run(db, NULL, "DELETE FROM %s WHERE 0", table);
}

static bool is_busy(const struct sqloom_db *db)
{
	return db->failure.retryable;
}

/* The program has no timeout, or a busy handler of its own, which cannot be
 * read and put back: it stays, and we ask again. */
static enum sqloom_status lock_until(struct sqloom_db *db, const char *table,
				     int timeout_ms)
{
	uint64_t end = slm_clock_ms() + (uint64_t)timeout_ms;
	struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
	enum sqloom_status status;

	while ((status = lock_once(db, table)) && is_busy(db) &&
	       slm_clock_ms() < end)
		nanosleep(&pause, NULL);
	return status;
}

static enum sqloom_status lock_sqlite(struct sqloom_db *db, const char *table,
				      int timeout_ms)
{
	enum sqloom_status status;
	char *before = NULL;
	int before_ms = 0;

	if (timeout_ms < 0)
		return lock_once(db, table);
	status = db->driver->run(db, "PRAGMA busy_timeout", &before, NULL);
	if (status)
		return status;
	if (before)
		sscanf(before, "%d", &before_ms);
	slm_free(before);
	if (before_ms <= 0)
		return lock_until(db, table, timeout_ms);
	sqlite3_busy_timeout(db->sqlite, timeout_ms);
	status = lock_once(db, table);
	sqlite3_busy_timeout(db->sqlite, before_ms);
	return status;
}

/* ---- Both -------------------------------------------------------------- */

static enum sqloom_status refuse(struct sqloom_db *db, const char *table,
				 const char *mode, char quoted[QUOTED_MAX],
				 struct sqloom_error *err)
{
	if (!table || !quote_table(table, db->pg != NULL, quoted))
		return slm_error_set(err, SQLOOM_USAGE,
				     "\"%s\" cannot be the name of a table: "
				     "give table or schema.table, each bare or "
				     "in double quotes",
				     table ? table : "NULL");
	if (!find_mode(mode))
		return slm_error_set(err, SQLOOM_USAGE,
				     "there is no lock mode \"%s\": it is "
				     "ACCESS SHARE, ROW SHARE, ROW EXCLUSIVE, "
				     "SHARE UPDATE EXCLUSIVE, SHARE, SHARE ROW "
				     "EXCLUSIVE, EXCLUSIVE or ACCESS EXCLUSIVE",
				     mode);
	if (!db->depth)
		return slm_error_set(err, SQLOOM_USAGE,
				     "table %s cannot be locked outside of a "
				     "block: the lock would be gone at once; "
				     "call sqloom_atomic_begin() first",
				     table);
	if (db->sqlite &&
	    sqlite3_txn_state(db->sqlite, NULL) == SQLITE_TXN_READ)
		return slm_error_set(err, SQLOOM_USAGE,
				     "table %s cannot be locked any more: "
				     "something was read in this transaction, "
				     "and SQLite's lock must be taken before "
				     "that; begin the outermost block "
				     "immediate, or lock first",
				     table);
	return SQLOOM_OK;
}

static enum sqloom_status lock(struct sqloom_db *db, const char *table,
			       const char *mode, int timeout_ms,
			       struct sqloom_error *err)
{
	char quoted[QUOTED_MAX];
	enum sqloom_status status = slm_kit_ready(db, SQLOOM_DATABASE, err);

	if (!status)
		status = refuse(db, table, mode, quoted, err);
	if (status)
		return status;
	mode = find_mode(mode);
	if (db->pg)
		status = lock_pg(db, quoted, mode, timeout_ms);
	else
		status = lock_sqlite(db, quoted, timeout_ms);
	if (!status)
		return status;
	slm_error_set(err, status,
		      "cannot lock table %s%s%s: %s; the block goes on without "
		      "the lock",
		      table, db->pg ? " in mode " : "", db->pg ? mode : "",
		      db->failure.text);
	if (err)
		memcpy(err->sqlstate, db->failure.code, sizeof(err->sqlstate));
	if (db->driver->state(db) == SLM_KIT_IDLE)
		slm_kit_break(db, "lock of a table");
	return status;
}

enum sqloom_status sqloom_lock_table(struct sqloom_db *db, const char *table,
				     const char *mode, int timeout_ms,
				     struct sqloom_error *err)
{
	enum sqloom_status status = slm_kit_enter(db, err);

	if (status)
		return status;
	status = lock(db, table, mode, timeout_ms, err);
	slm_kit_leave(db);
	return status;
}
