/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements that do not end. SQLite asks every so often whether to go on; the
 * question is handed to the owner of the db, always on the main stack: a
 * session yields for it, because the answer may run code of others.
 *
 * Once the answer was no, db->stopping makes every statement of the run end,
 * but for the ROLLBACK that cleans up; the next run may try again.
 */
#include <assert.h>

#include "base/error.h"
#include "db/sqlite_internal.h"

#define STEPS_PER_QUESTION 100000 /* of SQLite's virtual machine */

static void tell(struct sqlite *db, const struct slm_spec_sql *sql,
		 const char *at, const char *what, const char *name)
{
	bool named = name != NULL;

	slm_error_set(&db->stop_error, SQLOOM_LIMIT,
		      "stopped in the middle of %s%s%s%s: it did not end in "
		      "the time there was, and may never end",
		      what, named ? " \"" : "", named ? name : "",
		      named ? "\"" : "");
	if (sql && sql->text)
		slm_compile_place(db->spec, sql, at ? at : sql->text,
				  &db->stop_error);
}

static void tell_session(const struct session *session)
{
	struct sqlite *db = session->owner;
	const struct slm_spec_session *spec =
		&db->spec->sessions[session->call];
	const char *at = session->current ? session->current->sql : NULL;

	if (session->job == JOB_SCRIPT)
		tell(db, session->script, NULL, "the setup of session",
		     spec->name);
	else if (session->step->spec)
		tell(db, &session->step->spec->sql, at, "step",
		     session->step->spec->name);
	else
		tell(db, &spec->teardown, at, "the teardown of session",
		     spec->name);
}

static void ask(struct sqlite *db)
{
	if (db->options.goes_on(db->options.goes_on_userdata))
		return;
	db->stopping = true;
	db->base.interrupted = true;
	if (db->running)
		tell_session(db->running);
	else
		tell(db, db->doing.sql, db->doing.at,
		     db->doing.what ? db->doing.what : "work of its own",
		     db->doing.name);
}

bool slm_stop_asked(struct sqlite *db)
{
	if (!db->asks)
		return false;
	db->asks = false;
	ask(db);
	return true;
}

/* Not 0: the statement ends with SQLITE_INTERRUPT. */
static int progress(void *userdata)
{
	struct sqlite *db = userdata;
	struct session *session = db->running;

	if (session && session->job == JOB_STEP &&
	    session->step == &session->rollback)
		return 0;
	if (!db->stopping && session) {
		db->asks = true;
		slm_coroutine_yield(session->coroutine);
		assert(!db->asks);
	} else if (!db->stopping) {
		ask(db);
	}
	return db->stopping;
}

void slm_stop_watch(struct sqlite *db, sqlite3 *connection)
{
	if (db->options.goes_on)
		sqlite3_progress_handler(connection, STEPS_PER_QUESTION,
					 progress, db);
}

enum sqloom_status slm_stop_status(const struct sqlite *db,
				   enum sqloom_status status,
				   struct sqloom_error *err)
{
	if (!db->stopping)
		return status;
	if (err)
		*err = db->stop_error;
	return SQLOOM_LIMIT;
}
