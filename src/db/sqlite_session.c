/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session: one SQLite connection on a coroutine of its own. It is given a
 * job, runs until the job is done or its busy handler sleeps (the store's
 * sleep hook yields from inside SQLite), and goes on from there when resumed.
 *
 * Errors of statements become results. Errors of sqloom's own (memory,
 * limits) are kept in session->status and end the run.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"
#include "db/sqlite_internal.h"
#include "sql/sql.h"

/* ---- Variables -------------------------------------------------------- */

void slm_session_bind(const struct session *session, sqlite3_stmt *stmt,
		      const unsigned *parameters, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct variable *v = &session->variables[parameters[i]];
		int at = (int)i + 1;

		switch (v->type) {
		case SQLITE_INTEGER:
			sqlite3_bind_int64(stmt, at, v->integer);
			break;
		case SQLITE_FLOAT:
			sqlite3_bind_double(stmt, at, v->real);
			break;
		case SQLITE_TEXT:
			sqlite3_bind_text(stmt, at, v->data, v->size,
					  SQLITE_STATIC);
			break;
		case SQLITE_BLOB:
			sqlite3_bind_blob(stmt, at, v->data, v->size,
					  SQLITE_STATIC);
			break;
		default:
			sqlite3_bind_null(stmt, at);
		}
	}
}

static bool keep_bytes(struct variable *variable, const void *data, int size)
{
	if (size > variable->capacity || !variable->data) {
		char *grown = slm_realloc(variable->data, (size_t)size + 1);

		if (!grown)
			return false;
		variable->data = grown;
		variable->capacity = size;
	}
	if (size)
		memcpy(variable->data, data, (size_t)size);
	variable->size = size;
	return true;
}

/* Remembers column of the current row; false: memory was out. */
static bool capture(struct variable *variable, sqlite3_stmt *stmt, int column)
{
	variable->type = sqlite3_column_type(stmt, column);
	switch (variable->type) {
	case SQLITE_INTEGER:
		variable->integer = sqlite3_column_int64(stmt, column);
		return true;
	case SQLITE_FLOAT:
		variable->real = sqlite3_column_double(stmt, column);
		return true;
	case SQLITE_TEXT:
		return keep_bytes(variable, sqlite3_column_text(stmt, column),
				  sqlite3_column_bytes(stmt, column));
	case SQLITE_BLOB:
		return keep_bytes(variable, sqlite3_column_blob(stmt, column),
				  sqlite3_column_bytes(stmt, column));
	default:
		return true;
	}
}

/* No row: the columns that later steps use are NULL. */
static void capture_nothing(struct session *session,
			    const struct statement *statement)
{
	for (unsigned i = 0; i < statement->ncolumns; i++)
		if (statement->captures[i] >= 0)
			session->variables[statement->captures[i]].type =
				SQLITE_NULL;
}

/* ---- Results ---------------------------------------------------------- */

static enum sqloom_status fail(struct session *session,
			       enum sqloom_status status, const char *message)
{
	session->status = slm_error_set(&session->error, status, "%s", message);
	return status;
}

static enum sqloom_status too_many_rows(struct session *session)
{
	session->status = slm_error_set(
		&session->error, SQLOOM_LIMIT,
		"step \"%s\" returned more than %d rows; narrow it down with "
		"WHERE or LIMIT",
		session->step->spec ? session->step->spec->name : "teardown",
		ROWS_MAX);
	if (session->step->spec)
		slm_compile_place(session->owner->spec,
				  &session->step->spec->sql,
				  session->current->sql, &session->error);
	return session->status;
}

struct row_sink {
	struct slm_value *values;
	uint32_t capacity; /* rows */
	uint32_t count;
};

static struct slm_value *next_row(struct session *session,
				  struct row_sink *sink, unsigned ncolumns)
{
	if (sink->count == sink->capacity) {
		uint32_t grown = sink->capacity ? sink->capacity * 2 : 4;
		struct slm_value *values = slm_arena_alloc(
			session->owner->run,
			(size_t)grown * ncolumns * sizeof(*values));

		if (!values)
			return NULL;
		if (sink->count)
			memcpy(values, sink->values,
			       (size_t)sink->count * ncolumns *
				       sizeof(*values));
		sink->values = values;
		sink->capacity = grown;
	}
	return sink->values + (size_t)sink->count++ * ncolumns;
}

static enum sqloom_status keep_row(struct session *session,
				   struct statement *statement,
				   sqlite3_stmt *stmt, struct row_sink *sink,
				   uint64_t *digest)
{
	struct slm_value *row = next_row(session, sink, statement->ncolumns);
	bool failed = false;

	if (!row)
		return fail(session, SQLOOM_NOMEM, "out of memory");
	if (sink->count > ROWS_MAX)
		return too_many_rows(session);
	for (unsigned i = 0; i < statement->ncolumns; i++) {
		slm_sqlite_value(stmt, (int)i, session->owner->run, &row[i],
				 &failed);
		if (statement->origins[i] && session->owner->ngenerated)
			slm_generated_name(session->owner,
					   statement->origins[i] - 1, &row[i],
					   &failed);
		*digest = slm_sqlite_value_digest(*digest, &row[i]);
		if (sink->count == 1 && statement->captures[i] >= 0 &&
		    !capture(&session->variables[statement->captures[i]], stmt,
			     (int)i))
			failed = true;
	}
	return failed ? fail(session, SQLOOM_NOMEM, "out of memory") :
			SQLOOM_OK;
}

/* A result at the end of the session's chain. */
static struct slm_result *add_result(struct session *session)
{
	struct slm_result *result =
		slm_arena_zalloc(session->owner->run, 1, sizeof(*result));
	struct slm_result *last = session->result;

	if (!result) {
		fail(session, SQLOOM_NOMEM, "out of memory");
		return NULL;
	}
	result->changes = -1;
	if (!last) {
		session->result = result;
		return result;
	}
	while (last->next)
		last = (struct slm_result *)last->next;
	last->next = result;
	return result;
}

static void set_error(struct session *session, struct slm_result *result)
{
	int code = sqlite3_extended_errcode(session->db);

	result->error = slm_sqlite_error_kind(code);
	result->code = slm_sqlite_code_name(code);
	result->message = slm_arena_strdup(session->owner->run,
					   sqlite3_errmsg(session->db));
	if (!result->message)
		fail(session, SQLOOM_NOMEM, "out of memory");
	result->digest = slm_hash_mix(result->digest, (uint64_t)code);
}

/* ---- Executing -------------------------------------------------------- */

/* Runs one prepared statement to its end. False: stop the step. */
static bool run_prepared(struct session *session, struct statement *statement,
			 sqlite3_stmt *stmt, struct slm_result *result)
{
	struct row_sink sink = { 0 };
	uint64_t digest = statement->ncolumns;
	int rc;

	slm_session_bind(session, stmt, statement->parameters,
			 statement->nparameters);
	session->current = statement;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
		if (keep_row(session, statement, stmt, &sink, &digest))
			break;
	session->current = NULL;
	if (session->status) {
		sqlite3_reset(stmt);
		return false;
	}
	if (sink.count == 0)
		capture_nothing(session, statement);
	result->rows = (struct slm_rows){ .ncolumns = statement->ncolumns,
					  .nkept = sink.count,
					  .nrows = sink.count,
					  .columns = statement->columns,
					  .values = sink.values };
	if (rc == SQLITE_DONE && statement->dml)
		result->changes = sqlite3_changes64(session->db);
	result->digest = slm_hash_mix(digest, (uint64_t)result->changes);
	if (rc != SQLITE_DONE)
		set_error(session, result);
	sqlite3_reset(stmt);
	return rc == SQLITE_DONE && !session->status;
}

/* A statement that must not be kept prepared, such as a PRAGMA. */
static bool run_anew(struct session *session, struct statement *statement,
		     struct slm_result *result)
{
	sqlite3_stmt *stmt = NULL;
	bool ok;

	if (sqlite3_prepare_v2(session->db, statement->sql,
			       (int)(statement->end - statement->sql), &stmt,
			       NULL) != SQLITE_OK) {
		set_error(session, result);
		return false;
	}
	ok = slm_compile_columns(session, stmt, session->owner->run, statement);
	if (!ok)
		fail(session, SQLOOM_NOMEM, "out of memory");
	else
		ok = run_prepared(session, statement, stmt, result);
	sqlite3_finalize(stmt);
	return ok;
}

static void run_step(struct session *session)
{
	struct step *step = session->step;

	for (unsigned i = 0;; i++) {
		struct slm_result *result;
		int rc = SQLITE_OK;

		if (i == step->nstatements) {
			if (!*step->rest)
				return;
			rc = slm_compile_next(session, step, &i);
			if (rc == SQLITE_DONE)
				return;
		}
		result = add_result(session);
		if (!result)
			return;
		if (rc != SQLITE_OK) {
			if (rc == SQLITE_NOMEM)
				fail(session, SQLOOM_NOMEM, "out of memory");
			else
				set_error(session, result);
			return;
		}
		if (step->statements[i].stmt ?
			    !run_prepared(session, &step->statements[i],
					  step->statements[i].stmt, result) :
			    !run_anew(session, &step->statements[i], result))
			return;
	}
}

/* Setup and teardown: statement by statement, rows thrown away. */
static void run_script(struct session *session)
{
	const char *sql = session->script->text;

	while (*(sql = slm_sql_skip_blank(sql))) {
		sqlite3_stmt *stmt = NULL;
		const char *tail = NULL;
		int rc = sqlite3_prepare_v2(session->db, sql, -1, &stmt, &tail);

		while (rc == SQLITE_OK && stmt)
			if ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
				rc = SQLITE_OK;
		if (rc != SQLITE_OK && rc != SQLITE_DONE) {
			session->status = slm_sqlite_error(
				session->db, SQLOOM_SPEC, "", &session->error);
			slm_compile_place(session->owner->spec, session->script,
					  sql, &session->error);
		}
		sqlite3_finalize(stmt);
		if (session->status)
			return;
		sql = tail;
	}
}

static void coroutine_main(void *userdata)
{
	struct session *session = userdata;

	for (;;) {
		switch (session->job) {
		case JOB_STEP:
			run_step(session);
			break;
		case JOB_SCRIPT:
			run_script(session);
			break;
		case JOB_NONE:
			break;
		}
		session->job = JOB_NONE;
		slm_coroutine_yield(session->coroutine);
	}
}

/* Lets the session's coroutine run until its job is done or blocked. */
void slm_session_run(struct session *session)
{
	struct sqlite *db = session->owner;

	assert(!db->running);
	db->running = session;
	if (session->blocked) {
		session->blocked = false;
		db->blocked &= ~(1u << session->call);
	}
	slm_store_set_owner(db->store, session->call);
	do {
		slm_coroutine_resume(session->coroutine);
	} while (slm_stop_asked(db));
	slm_store_set_owner(db->store, ADMIN);
	db->running = NULL;
}

/*
 * The store's sleep hook: the running session waits. Comes back when it shall
 * ask for the lock again.
 */
void slm_session_wait(struct sqlite *db, unsigned ms)
{
	struct session *session = db->running;

	if (!session || db->aborting) { /* nobody to hand over to */
		db->now_ms += ms;
		return;
	}
	if (session->wait_began_ms == UINT64_MAX)
		session->wait_began_ms = db->now_ms;
	session->wake_at_ms = db->now_ms + ms;
	session->blocked = true;
	session->blocked_since = db->blockings++;
	db->blocked |= 1u << session->call;
	slm_coroutine_yield(session->coroutine);
}

/* ---- Generated keys --------------------------------------------------- */

static void update_hook(void *userdata, int operation, const char *schema,
			const char *table, sqlite3_int64 key)
{
	struct session *session = userdata;
	const struct statement *statement = session->current;
	struct sqlite *db = session->owner;

	if (operation != SQLITE_INSERT || !statement ||
	    !statement->ngenerates || strcmp(schema, "main") != 0)
		return;
	for (unsigned i = 0; i < statement->ngenerates; i++) {
		uint32_t index = statement->generates[i];

		if (strcmp(db->catalogue.tables[index].name, table) == 0) {
			slm_generated_add(db, session->call, index, key);
			return;
		}
	}
}

/* ---- Opening and closing ---------------------------------------------- */

static enum sqloom_status set_journal(struct session *session,
				      struct sqloom_error *err)
{
	const char *journal = session->owner->options.journal;
	char sql[64];

	if (!journal)
		return SQLOOM_OK;
	snprintf(sql, sizeof(sql), "PRAGMA journal_mode=%s", journal);
	if (sqlite3_exec(session->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return slm_sqlite_error(session->db, SQLOOM_DATABASE,
					"cannot set the journal mode: ", err);
	return SQLOOM_OK;
}

enum sqloom_status slm_session_open(struct session *session,
				    struct sqloom_error *err)
{
	struct sqlite *db = session->owner;
	enum sqloom_status status = SQLOOM_OK;

	slm_store_set_owner(db->store, session->call);
	if (!session->coroutine)
		session->coroutine = slm_coroutine_new(coroutine_main, session);
	if (!session->coroutine)
		status = slm_error_nomem(err);
	else if (sqlite3_open_v2(slm_store_main_path(db->store), &session->db,
				 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
					 SQLITE_OPEN_NOMUTEX |
					 SQLITE_OPEN_PRIVATECACHE,
				 slm_store_vfs(db->store)) != SQLITE_OK)
		status = slm_sqlite_error(session->db, SQLOOM_DATABASE,
					  "cannot open a connection: ", err);
	if (!status) {
		sqlite3_extended_result_codes(session->db, 1);
		slm_stop_watch(db, session->db);
		sqlite3_busy_timeout(session->db, db->options.busy_timeout_ms);
		sqlite3_update_hook(session->db, update_hook, session);
		status = set_journal(session, err);
	}
	slm_store_set_owner(db->store, ADMIN);
	return status;
}

/* The coroutine must not be inside SQLite, except when everything is torn
 * down after a failure: then its stack is simply dropped. */
void slm_session_close(struct session *session)
{
	if (session->db) {
		slm_store_set_owner(session->owner->store, session->call);
		sqlite3_close_v2(session->db);
		slm_store_set_owner(session->owner->store, ADMIN);
	}
	session->db = NULL;
}
