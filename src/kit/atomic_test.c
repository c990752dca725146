/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transaction around an atomic test: the outermost block of the stack,
 * which the program does not see. The outermost block of its own is a savepoint
 * that is told like a transaction: its hooks run at its end, deferred
 * constraints are checked there, it may be durable.
 */
#include <stdio.h>

#include "kit/database.h"

/*
 * SQLite: the write lock is taken at once. The program's blocks may be
 * immediate, or lock a table, after something else has read.
 */
static const char *begin_statement(const struct sqloom_db *db)
{
	if (db->sqlite && sqlite3_db_readonly(db->sqlite, "main") != 1)
		return "BEGIN IMMEDIATE";
	return "BEGIN";
}

static enum sqloom_status begin(struct sqloom_db *db, struct sqloom_error *err)
{
	enum sqloom_status status = slm_kit_ready(db, SQLOOM_USAGE, err);

	if (status)
		return status;
	if (db->test)
		return slm_error_set(err, SQLOOM_USAGE,
				     "an atomic test is under way on this "
				     "handle: end it with "
				     "sqloom_fixture_rollback() first");
	if (db->callbacks)
		return slm_error_set(err, SQLOOM_USAGE,
				     "an atomic test cannot begin in a hook, "
				     "or inside of the function of a block");
	if (db->innermost || db->driver->state(db) != SLM_KIT_IDLE)
		return slm_error_set(err, SQLOOM_USAGE,
				     "an atomic test cannot begin inside of a "
				     "%s: end that first",
				     db->innermost ? "block" : "transaction");
	db->test = slm_kit_push(db, SLM_KIT_TRANSACTION);
	if (!db->test)
		return slm_error_nomem(err);
	db->depth--;
	status = slm_kit_run(db, err, "%s", begin_statement(db));
	if (status)
		slm_kit_forget(db);
	return status;
}

enum sqloom_status sqloom_fixture_begin(struct sqloom_db *db,
					struct sqloom_error *err)
{
	enum sqloom_status status = slm_kit_enter(db, err);

	if (status)
		return status;
	status = begin(db, err);
	slm_kit_leave(db);
	return status;
}

static enum sqloom_status tell_open(const struct sqloom_db *db,
				    struct sqloom_error *err)
{
	return slm_error_set(err, SQLOOM_USAGE,
			     "the test left %u block%s open, which %s rolled "
			     "back with it; the last statement was \"%s\": end "
			     "every block, also where something failed",
			     db->depth, db->depth == 1 ? "" : "s",
			     db->depth == 1 ? "is" : "are", db->last_sql);
}

static enum sqloom_status tell_over(const struct sqloom_db *db,
				    struct sqloom_error *err)
{
	return slm_error_set(err, db->over,
			     "the transaction of the atomic test was over "
			     "before its end: %s",
			     db->reason);
}

static enum sqloom_status roll_back(struct sqloom_db *db,
				    struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK, rolled_back = SQLOOM_OK;
	bool closed = !db->sqlite && !db->pg;

	if (!db->test)
		return slm_error_set(err, SQLOOM_USAGE,
				     "no atomic test is under way on this "
				     "handle: sqloom_fixture_begin() begins "
				     "one");
	if (db->callbacks)
		return slm_error_set(err, SQLOOM_USAGE,
				     "an atomic test cannot be rolled back by "
				     "a hook, or inside of the function of a "
				     "block");
	slm_kit_look(db);
	if (db->over)
		status = tell_over(db, err);
	else if (db->depth)
		status = tell_open(db, err);
	/* Also a transaction that the test began behind our back. */
	if (!closed && db->driver->state(db) != SLM_KIT_IDLE &&
	    db->driver->state(db) != SLM_KIT_LOST)
		rolled_back = slm_kit_run(db, status ? NULL : err, "ROLLBACK");
	slm_kit_forget(db);
	*db->last_sql = '\0';
	return status ? status : rolled_back;
}

enum sqloom_status sqloom_fixture_rollback(struct sqloom_db *db,
					   struct sqloom_error *err)
{
	enum sqloom_status status = slm_kit_enter(db, err);

	if (status)
		return status;
	status = roll_back(db, err);
	slm_kit_leave(db);
	return status;
}
