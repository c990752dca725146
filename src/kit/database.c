/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A database handle of the test kit: executing on it, opening and closing it.
 * May use what database.h has, and sql.
 */
#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "kit/database.h"
#include "sql/sql.h"

/* Bytes of a statement of ours. */
#define STATEMENT_MAX 1024

/* ---- Executing --------------------------------------------------------- */

enum sqloom_status slm_kit_run(struct sqloom_db *db, struct sqloom_error *err,
			       const char *fmt, ...)
{
	char sql[STATEMENT_MAX];
	enum sqloom_status status;
	va_list args;
	int size;

	va_start(args, fmt);
	size = vsnprintf(sql, sizeof(sql), fmt, args);
	va_end(args);
	assert(size > 0 && (size_t)size < sizeof(sql));
	db->ours = true;
	status = db->driver->run(db, sql, NULL, err);
	db->ours = false;
	return status;
}

/* Behind the statement at sql; a trigger has statements inside. NULL: memory
 * is out. */
static const char *skip_statement(const char *sql, bool triggers)
{
	const char *end = slm_sql_skip_statement(sql);
	char word[16];

	if (!triggers || !slm_sql_starts_with(sql, "CREATE"))
		return end;
	slm_sql_second_word(sql, word, sizeof(word));
	if (strcmp(word, "trigger") != 0 && strncmp(word, "temp", 4) != 0)
		return end;
	while (*end) {
		char *copy = slm_calloc((size_t)(end - sql) + 1, 1);
		int complete;

		if (!copy)
			return NULL;
		memcpy(copy, sql, (size_t)(end - sql));
		complete = sqlite3_complete(copy);
		slm_free(copy);
		if (complete)
			break;
		end = slm_sql_skip_statement(end);
	}
	return end;
}

bool slm_kit_scan_control(const char *sql, const char *const *words,
			  bool triggers, const char **word)
{
	*word = NULL;
	while (sql && *(sql = slm_sql_skip_blank(sql))) {
		for (size_t i = 0; words[i]; i++)
			if (slm_sql_starts_with(sql, words[i]))
				*word = words[i];
		if (*word)
			return true;
		sql = skip_statement(sql, triggers);
	}
	return sql != NULL;
}

/* Transactions are begun and ended by blocks, and savepoints are blocks. */
static enum sqloom_status refuse_control(const struct sqloom_db *db,
					 const char *sql,
					 struct sqloom_error *err)
{
	const char *word;
	enum sqloom_status status = db->driver->find_control(sql, &word, err);

	if (status || !word)
		return status;
	return slm_error_set(
		err, SQLOOM_USAGE,
		"%s inside of %s: end blocks with sqloom_atomic_end() or roll "
		"them back with sqloom_set_rollback(), and begin an inner "
		"block for a savepoint; nothing was executed",
		word, db->depth ? "a block" : "an atomic test");
}

/*
 * In an atomic test, outside of the test's own blocks, a statement is a
 * transaction of its own to the program: if it fails, the test goes on.
 */
static enum sqloom_status run_alone(struct sqloom_db *db, const char *sql,
				    char **value, struct sqloom_error *err)
{
	enum sqloom_status status;

	if (db->pg && slm_kit_run(db, err, "SAVEPOINT sqloom_statement"))
		return SQLOOM_DATABASE;
	status = db->driver->run(db, sql, value, err);
	if (db->sqlite) {
		if (status && db->driver->state(db) == SLM_KIT_IDLE)
			slm_kit_break(db, sql);
		return status;
	}
	slm_kit_run(db, NULL, "%sRELEASE SAVEPOINT sqloom_statement",
		    status ? "ROLLBACK TO SAVEPOINT sqloom_statement; " : "");
	return status;
}

static enum sqloom_status run_in_block(struct sqloom_db *db, const char *sql,
				       char **value, struct sqloom_error *err)
{
	enum sqloom_status status = refuse_control(db, sql, err);

	if (status)
		return status;
	slm_kit_excerpt(sql, db->last_sql);
	if (db->depth == 0)
		return run_alone(db, sql, value, err);
	status = db->driver->run(db, sql, value, err);
	if (status == SQLOOM_DATABASE)
		slm_kit_break(db, sql);
	return status;
}

static enum sqloom_status execute(struct sqloom_db *db, const char *sql,
				  char **value, struct sqloom_error *err)
{
	enum sqloom_status status = slm_kit_enter(db, err);

	if (status)
		return status;
	if (!sql)
		status = slm_error_set(err, SQLOOM_USAGE,
				       "the SQL to execute is NULL");
	if (!status)
		status = slm_kit_ready(db, SQLOOM_DATABASE, err);
	if (!status && db->innermost)
		status = run_in_block(db, sql, value, err);
	else if (!status)
		status = db->driver->run(db, sql, value, err);
	slm_kit_leave(db);
	return status;
}

enum sqloom_status sqloom_exec(struct sqloom_db *db, const char *sql,
			       struct sqloom_error *err)
{
	return execute(db, sql, NULL, err);
}

enum sqloom_status sqloom_query(struct sqloom_db *db, const char *sql,
				char **text, struct sqloom_error *err)
{
	enum sqloom_status status;
	char *value = NULL;

	if (!text)
		return slm_error_set(err, SQLOOM_USAGE,
				     "sqloom_query() needs a place for the "
				     "value: text is NULL");
	status = execute(db, sql, &value, err);
	if (status)
		slm_free(value);
	else
		*text = value;
	return status;
}

/* ---- Opening and closing ----------------------------------------------- */

/* Keywords of libpq look like "host=..."; an SQLite file of such a name is
 * written "./host=...". */
static bool is_pg(const char *url)
{
	const char *p = url;

	if (strncmp(url, "postgresql://", 13) == 0 ||
	    strncmp(url, "postgres://", 11) == 0)
		return true;
	while (isspace((unsigned char)*p))
		p++;
	if (!isalpha((unsigned char)*p))
		return false;
	while (isalnum((unsigned char)*p) || *p == '_')
		p++;
	while (isspace((unsigned char)*p))
		p++;
	return *p == '=';
}

static struct sqloom_db *new_db(const struct slm_kit_driver *driver)
{
	struct sqloom_db *db = slm_calloc(1, sizeof(*db));

	if (!db)
		return NULL;
	db->driver = driver;
	db->process = getpid();
	return db;
}

/* Hands db out, or frees it if opening it failed. */
static enum sqloom_status give(struct sqloom_db *db, enum sqloom_status status,
			       struct sqloom_db **out)
{
	if (status)
		slm_free(db);
	else
		*out = db;
	return status;
}

static enum sqloom_status no_place(struct sqloom_error *err)
{
	return slm_error_set(err, SQLOOM_USAGE,
			     "there is no place for the database handle: out "
			     "is NULL");
}

enum sqloom_status sqloom_db_open(const char *url, struct sqloom_db **out,
				  struct sqloom_error *err)
{
	struct sqloom_db *db;
	bool pg;

	if (!out)
		return no_place(err);
	if (!url || !*url)
		return slm_error_set(err, SQLOOM_USAGE,
				     "no database is named: give a path "
				     "(\":memory:\" for one in memory) or "
				     "postgresql://...");
	pg = is_pg(url);
	db = new_db(pg ? &slm_kit_pg : &slm_kit_sqlite);
	if (!db)
		return slm_error_nomem(err);
	db->owned = true;
	return give(db,
		    pg ? slm_kit_pg_open(db, url, err) :
			 slm_kit_sqlite_open(db, url, err),
		    out);
}

static enum sqloom_status no_handle(const char *what, struct sqloom_error *err)
{
	return slm_error_set(err, SQLOOM_USAGE,
			     "the handle is NULL: open it with %s first", what);
}

enum sqloom_status sqloom_db_of_sqlite(struct sqlite3 *handle,
				       struct sqloom_db **out,
				       struct sqloom_error *err)
{
	struct sqloom_db *db;

	if (!out)
		return no_place(err);
	if (!handle)
		return no_handle("sqlite3_open()", err);
	db = new_db(&slm_kit_sqlite);
	if (!db)
		return slm_error_nomem(err);
	db->sqlite = handle;
	return give(db, slm_kit_sqlite_attach(db, err), out);
}

enum sqloom_status sqloom_db_of_pg(struct pg_conn *handle,
				   struct sqloom_db **out,
				   struct sqloom_error *err)
{
	struct sqloom_db *db;

	if (!out)
		return no_place(err);
	if (!handle)
		return no_handle("PQconnectdb()", err);
	db = new_db(&slm_kit_pg);
	if (!db)
		return slm_error_nomem(err);
	db->pg = handle;
	return give(db, slm_kit_pg_attach(db, err), out);
}

struct sqlite3 *sqloom_db_sqlite(struct sqloom_db *db)
{
	return db ? db->sqlite : NULL;
}

struct pg_conn *sqloom_db_pg(struct sqloom_db *db)
{
	return db ? db->pg : NULL;
}

/* Rolls back what is open. */
static enum sqloom_status close_blocks(struct sqloom_db *db,
				       struct sqloom_error *err)
{
	unsigned depth = db->depth;
	bool test = db->test != NULL;

	if (!db->innermost)
		return SQLOOM_OK;
	slm_kit_unwind(db, 0, NULL);
	if (test)
		sqloom_fixture_rollback(db, NULL);
	assert(!db->innermost);
	if (test)
		return slm_error_set(err, SQLOOM_USAGE,
				     "the database handle was closed inside of "
				     "an atomic test, which is rolled back: "
				     "call sqloom_fixture_rollback() first");
	return slm_error_set(err, SQLOOM_USAGE,
			     "the database handle was closed with a block "
			     "open (depth %u), which is rolled back: end every "
			     "block, also where something failed",
			     depth);
}

enum sqloom_status sqloom_db_close(struct sqloom_db *db,
				   struct sqloom_error *err)
{
	enum sqloom_status status, closed;
	struct sqloom_error second;

	if (!db)
		return SQLOOM_OK;
	status = slm_kit_enter(db, err);
	if (status && !slm_kit_adopt(db))
		return status;
	if (db->callbacks || db->entered > 1) {
		slm_kit_leave(db);
		return slm_error_set(err, SQLOOM_USAGE,
				     "the database handle cannot be closed by "
				     "a hook, or inside of the function of a "
				     "block: close it behind the call that "
				     "called that");
	}
	status = close_blocks(db, err);
	closed = db->driver->close(db, &second);
	if (closed && !status) {
		status = closed;
		if (err)
			*err = second;
	}
	slm_free(db);
	return status;
}
