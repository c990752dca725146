/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite below the transactions of the test kit.
 *
 * A function is registered on the handle (sqloom_handle(), 1 while a sqloom_db
 * uses it): SQLite calls its destructor when the program closes the handle, and
 * so we know that it is gone.
 */
#include "kit/database.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "sql/sql.h"

#define HANDLE "sqloom_handle"

/* What the function on the handle holds. */
struct slm_kit_watch {
	struct sqloom_db *db; /* NULL: it was closed */
};

static enum slm_kit_state state(const struct sqloom_db *db)
{
	if (!db->sqlite)
		return SLM_KIT_LOST;
	return sqlite3_get_autocommit(db->sqlite) ? SLM_KIT_IDLE : SLM_KIT_OPEN;
}

/* ---- Executing --------------------------------------------------------- */

static enum sqloom_status failed(struct sqloom_db *db, const char *sql,
				 struct sqloom_error *err)
{
	int code = sqlite3_extended_errcode(db->sqlite);
	bool retryable = (code & 0xff) == SQLITE_BUSY ||
			 (code & 0xff) == SQLITE_LOCKED;
	char text[320], number[8];

	snprintf(number, sizeof(number), "%d", code);
	snprintf(text, sizeof(text), "%s", sqlite3_errmsg(db->sqlite));
	return slm_kit_failed(db, sql, number, text, retryable, err);
}

void slm_kit_sqlite_see(struct sqloom_db *db)
{
	int code = sqlite3_errcode(db->sqlite);

	if (code != SQLITE_OK && code != SQLITE_ROW && code != SQLITE_DONE)
		failed(db, "", NULL);
}

/* The first column of the row; NULL for NULL. False: memory is out. */
static bool take_value(sqlite3_stmt *stmt, char **value)
{
	const unsigned char *text;

	if (sqlite3_column_type(stmt, 0) == SQLITE_NULL)
		return true;
	text = sqlite3_column_text(stmt, 0);
	*value = text ? slm_strdup((const char *)text) : NULL;
	return *value != NULL;
}

/* Executes stmt to its end. *nomem: its value did not fit into memory. */
static int step_through(sqlite3_stmt *stmt, char **value, bool *nomem)
{
	bool first = value != NULL;
	int code;

	while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (first && sqlite3_column_count(stmt) > 0)
			*nomem |= !take_value(stmt, value);
		first = false;
	}
	return code;
}

static void clear_value(char **value)
{
	if (!value)
		return;
	slm_free(*value);
	*value = NULL;
}

static enum sqloom_status run(struct sqloom_db *db, const char *sql,
			      char **value, struct sqloom_error *err)
{
	bool nomem = false;

	while (*(sql = slm_sql_skip_blank(sql))) {
		sqlite3_stmt *stmt = NULL;
		const char *rest = NULL;
		int code =
			sqlite3_prepare_v2(db->sqlite, sql, -1, &stmt, &rest);

		if (code == SQLITE_OK && stmt) {
			clear_value(value);
			code = step_through(stmt, value, &nomem);
		}
		if (code != SQLITE_OK && code != SQLITE_DONE) {
			enum sqloom_status status = failed(db, sql, err);

			sqlite3_finalize(stmt);
			clear_value(value);
			return status;
		}
		sqlite3_finalize(stmt);
		sql = rest;
	}
	return nomem ? slm_error_nomem(err) : SQLOOM_OK;
}

static enum sqloom_status find_control(const char *sql, const char **word,
				       struct sqloom_error *err)
{
	static const char *const words[] = { "BEGIN",	 "COMMIT",    "END",
					     "ROLLBACK", "SAVEPOINT", "RELEASE",
					     NULL };

	if (!slm_kit_scan_control(sql, words, true, word))
		return slm_error_nomem(err);
	return SQLOOM_OK;
}

static enum sqloom_status check_deferred(struct sqloom_db *db,
					 struct sqloom_error *err)
{
	int violated = 0, highest = 0;
	char code[8];

	sqlite3_db_status(db->sqlite, SQLITE_DBSTATUS_DEFERRED_FKS, &violated,
			  &highest, 0);
	if (!violated)
		return SQLOOM_OK;
	snprintf(code, sizeof(code), "%d", SQLITE_CONSTRAINT_FOREIGNKEY);
	return slm_kit_failed(db, "COMMIT", code,
			      "FOREIGN KEY constraint failed", false, err);
}

/* ---- Opening and closing ----------------------------------------------- */

static void tell_in_use(sqlite3_context *context, int nargs,
			sqlite3_value **args)
{
	const struct slm_kit_watch *watch = sqlite3_user_data(context);

	(void)nargs;
	(void)args;
	sqlite3_result_int(context, watch->db != NULL);
}

/* The handle is closed, or we let go of it. */
static void drop_watch(void *userdata)
{
	struct slm_kit_watch *watch = userdata;

	if (watch->db) {
		watch->db->sqlite = NULL;
		watch->db->watch = NULL;
	}
	slm_free(watch);
}

static bool has_row(sqlite3 *handle, const char *sql)
{
	sqlite3_stmt *stmt = NULL;
	bool row = sqlite3_prepare_v2(handle, sql, -1, &stmt, NULL) ==
			   SQLITE_OK &&
		   sqlite3_step(stmt) == SQLITE_ROW;

	sqlite3_finalize(stmt);
	return row;
}

/* The function is asked only if it exists: a failed statement would be told to
 * the program's error log. */
static bool in_use(sqlite3 *handle)
{
	return has_row(handle, "SELECT 1 FROM pragma_function_list WHERE "
			       "name = '" HANDLE "'") &&
	       has_row(handle, "SELECT 1 WHERE " HANDLE "()");
}

static enum sqloom_status watch(struct sqloom_db *db, struct sqloom_error *err)
{
	struct slm_kit_watch *made = slm_calloc(1, sizeof(*made));
	int code;

	if (!made)
		return slm_error_nomem(err);
	/* It calls drop_watch, too, when it fails. */
	code = sqlite3_create_function_v2(db->sqlite, HANDLE, 0,
					  SQLITE_UTF8 | SQLITE_DIRECTONLY, made,
					  tell_in_use, NULL, NULL, drop_watch);
	if (code != SQLITE_OK)
		return slm_error_set(err, SQLOOM_DATABASE,
				     "cannot watch the SQLite handle: %s; "
				     "finish the statements that are under "
				     "way on it",
				     sqlite3_errmsg(db->sqlite));
	made->db = db;
	db->watch = made;
	return SQLOOM_OK;
}

enum sqloom_status slm_kit_sqlite_attach(struct sqloom_db *db,
					 struct sqloom_error *err)
{
	if (!sqlite3_get_autocommit(db->sqlite))
		return slm_error_set(err, SQLOOM_USAGE,
				     "the SQLite handle is in a transaction: "
				     "end it first, or take the handle up "
				     "before the transaction begins");
	if (!db->owned && in_use(db->sqlite))
		return slm_error_set(err, SQLOOM_USAGE,
				     "the SQLite handle is in use by another "
				     "sqloom_db: use that one, or close it "
				     "first");
	return watch(db, err);
}

enum sqloom_status slm_kit_sqlite_open(struct sqloom_db *db, const char *path,
				       struct sqloom_error *err)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
		    SQLITE_OPEN_URI;
	int code = sqlite3_open_v2(path, &db->sqlite, flags, NULL);
	enum sqloom_status status;

	if (code == SQLITE_OK)
		status = slm_kit_sqlite_attach(db, err);
	else if (!db->sqlite)
		status = slm_error_nomem(err);
	else
		status = slm_error_set(err, SQLOOM_DATABASE,
				       "cannot open the SQLite database %s: "
				       "%s; check the path, and that its "
				       "directory can be written",
				       path, sqlite3_errmsg(db->sqlite));
	if (status) {
		sqlite3_close(db->sqlite);
		db->sqlite = NULL;
	}
	return status;
}

/* Statements that FTS5 and the like keep end with the connection: only SQLite
 * knows which are the program's. */
static enum sqloom_status close_owned(sqlite3 *handle, struct sqloom_error *err)
{
	const char *sql = NULL;
	char part[SLM_KIT_EXCERPT_MAX + 4];
	sqlite3_stmt *stmt;

	if (sqlite3_close(handle) == SQLITE_OK)
		return SQLOOM_OK;
	stmt = sqlite3_next_stmt(handle, NULL);
	if (stmt)
		sql = sqlite3_sql(stmt);
	slm_kit_excerpt(sql ? sql : "a blob, or a backup", part);
	slm_error_set(err, SQLOOM_USAGE,
		      "the database handle was closed while a statement of "
		      "the program was not finalized (\"%s\"): it stays open "
		      "until sqlite3_finalize() is called for it",
		      part);
	sqlite3_close_v2(handle);
	return SQLOOM_USAGE;
}

static enum sqloom_status close_handle(struct sqloom_db *db,
				       struct sqloom_error *err)
{
	sqlite3 *handle = db->sqlite;

	if (!handle)
		return SQLOOM_OK;
	db->watch->db = NULL;
	db->watch = NULL;
	db->sqlite = NULL;
	/* Refused while a statement is under way; then the function goes with
	 * the handle, and says that nobody uses it. */
	sqlite3_create_function_v2(handle, HANDLE, 0, SQLITE_UTF8, NULL, NULL,
				   NULL, NULL, NULL);
	return db->owned ? close_owned(handle, err) : SQLOOM_OK;
}

const struct slm_kit_driver slm_kit_sqlite = {
	.name = "SQLite",
	.state = state,
	.run = run,
	.find_control = find_control,
	.check_deferred = check_deferred,
	.close = close_handle,
};
