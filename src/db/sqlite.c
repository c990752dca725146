/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite behind db.h: opening, and the life of a run. One thread, one
 * connection and coroutine per session, on the store of sqlite_store.h.
 *
 * Invariant between runs: no session has an open transaction or is blocked,
 * and the store holds the snapshot or the leavings of the last run.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"
#include "db/sqlite_internal.h"
#include "sql/sql.h"

/* ---- Opening ----------------------------------------------------------- */

static void sleep_hook(unsigned ms, void *userdata)
{
	slm_session_wait(userdata, ms);
}

/* Nothing that we do by ourselves compares texts; a check may. */
static int compare_bytes(void *userdata, int first_size, const void *first,
			 int second_size, const void *second)
{
	struct sqlite *db = userdata;
	int least = first_size < second_size ? first_size : second_size;
	int order = memcmp(first, second, (size_t)least);

	db->collated = true;
	return order ? order : first_size - second_size;
}

/* A table whose key has a collation of the program's own can be read only by a
 * connection that has one of this name. */
static void stand_in(void *userdata, sqlite3 *admin, int encoding,
		     const char *name)
{
	sqlite3_create_collation(admin, name, encoding, userdata,
				 compare_bytes);
}

static enum sqloom_status open_admin(struct sqlite *db,
				     struct sqloom_error *err)
{
	slm_store_set_owner(db->store, ADMIN);
	if (sqlite3_open_v2(slm_store_main_path(db->store), &db->admin,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
				    SQLITE_OPEN_NOMUTEX |
				    SQLITE_OPEN_PRIVATECACHE,
			    slm_store_vfs(db->store)) != SQLITE_OK)
		return slm_sqlite_error(db->admin, SQLOOM_DATABASE,
					"cannot open the database: ", err);
	sqlite3_extended_result_codes(db->admin, 1);
	if (db->outside)
		sqlite3_collation_needed(db->admin, db, stand_in);
	slm_stop_watch(db, db->admin);
	return SQLOOM_OK;
}

/* The admin connection met a file that is no database, or a damaged one. */
enum sqloom_status slm_sqlite_unusable(struct sqlite *db,
				       struct sqloom_error *err)
{
	const char *path = db->options.database;

	if (!path || (sqlite3_errcode(db->admin) & 0xff) == SQLITE_NOMEM)
		return slm_sqlite_error(db->admin, SQLOOM_DATABASE,
					"cannot use the database: ", err);
	return slm_error_set(err, SQLOOM_DATABASE,
			     "cannot use the database \"%s\": %s; give a file "
			     "that SQLite can read (PRAGMA integrity_check "
			     "tells more)",
			     path, sqlite3_errmsg(db->admin));
}

/* Reads the schema, so that a file that is no database is found out here. */
static enum sqloom_status probe(struct sqlite *db, struct sqloom_error *err)
{
	if (sqlite3_exec(db->admin, "SELECT count(*) FROM sqlite_schema", NULL,
			 NULL, NULL) == SQLITE_OK)
		return SQLOOM_OK;
	return slm_sqlite_unusable(db, err);
}

/* Compares what PRAGMA journal_mode answers with what was asked for. */
static enum sqloom_status set_journal(struct sqlite *db,
				      struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;
	sqlite3_stmt *stmt = NULL;
	const char *mode;
	char sql[64];

	snprintf(sql, sizeof(sql), "PRAGMA journal_mode%s%s",
		 db->options.journal ? "=" : "",
		 db->options.journal ? db->options.journal : "");
	if (sqlite3_prepare_v2(db->admin, sql, -1, &stmt, NULL) ||
	    sqlite3_step(stmt) != SQLITE_ROW) {
		status = slm_sqlite_error(db->admin, SQLOOM_DATABASE,
					  "cannot set the journal mode: ", err);
		sqlite3_finalize(stmt);
		return status;
	}
	mode = (const char *)sqlite3_column_text(stmt, 0);
	if (db->options.journal && sqlite3_stricmp(mode, db->options.journal))
		status = slm_error_set(err, SQLOOM_DATABASE,
				       "SQLite refused journal mode %s and "
				       "stays with %s",
				       db->options.journal, mode);
	snprintf(db->base.backend, sizeof(db->base.backend),
		 "SQLite %s, %s, journal %s, busy timeout %d ms",
		 sqlite3_libversion(),
		 db->options.store == SQLOOM_STORE_MEMORY ? "memory store" :
							    "file store",
		 mode, db->options.busy_timeout_ms);
	sqlite3_finalize(stmt);
	return status;
}

/* Runs a global setup or teardown on the admin connection. */
static enum sqloom_status run_script(struct sqlite *db, const char *what,
				     const struct slm_spec_sql *script,
				     struct sqloom_error *err)
{
	const char *sql = script->text;

	while (sql && *(sql = slm_sql_skip_blank(sql))) {
		sqlite3_stmt *stmt = NULL;
		const char *tail = NULL;
		int rc = sqlite3_prepare_v2(db->admin, sql, -1, &stmt, &tail);
		int offset = rc ? sqlite3_error_offset(db->admin) : 0;
		enum sqloom_status status = SQLOOM_OK;

		db->doing = (struct doing){ what, NULL, script, sql };
		while (rc == SQLITE_OK && stmt)
			if ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
				rc = SQLITE_OK;
		if (rc != SQLITE_OK && rc != SQLITE_DONE) {
			char prefix[40];

			snprintf(prefix, sizeof(prefix), "%s: ", what);
			status = slm_sqlite_error(db->admin, SQLOOM_SPEC,
						  prefix, err);
			slm_compile_place(db->spec, script,
					  sql + (offset > 0 ? offset : 0), err);
		}
		sqlite3_finalize(stmt);
		db->doing = (struct doing){ 0 };
		if (status)
			return status;
		sql = tail;
	}
	if (sqlite3_get_autocommit(db->admin))
		return SQLOOM_OK;
	slm_error_set(err, SQLOOM_SPEC,
		      "%s leaves a transaction open; end it with COMMIT", what);
	slm_compile_place(db->spec, script, script->text, err);
	return SQLOOM_SPEC;
}

static enum sqloom_status classify_setup(struct session *session,
					 struct sqloom_error *err)
{
	const struct slm_spec_session *spec =
		&session->owner->spec->sessions[session->call];
	struct footprint footprint = { 0 };
	enum sqloom_status status;

	if (!spec->setup.text)
		return SQLOOM_OK;
	status = slm_compile_script(session, &spec->setup, &footprint, err);
	session->setup_per_run = footprint.touches || footprint.begins ||
				 footprint.ddl;
	return status;
}

static void give_error(struct session *session, struct sqloom_error *err)
{
	if (err)
		*err = session->error;
}

/* Does another session hold locks without being in a transaction? */
static bool keeps_locks(const struct sqlite *db, unsigned call)
{
	for (unsigned i = 0; i < db->nsessions; i++)
		if (i != call && db->sessions[i].db &&
		    sqlite3_get_autocommit(db->sessions[i].db) &&
		    slm_store_holds(db->store, i))
			return true;
	return false;
}

/* Runs a session's setup or teardown, which must not have to wait. */
static enum sqloom_status session_script(struct session *session,
					 const struct slm_spec_sql *script,
					 const char *what,
					 struct sqloom_error *err)
{
	session->job = JOB_SCRIPT;
	session->script = script;
	session->step = NULL;
	session->status = SQLOOM_OK;
	session->wait_began_ms = UINT64_MAX;
	slm_session_run(session);
	while (session->blocked) {
		/* Only time can help; nobody else runs. */
		session->owner->now_ms = session->wake_at_ms;
		slm_session_run(session);
	}
	if (!session->status)
		return SQLOOM_OK;
	slm_error_set(err, session->status, "%s of session \"%s\": %s%s", what,
		      session->owner->spec->sessions[session->call].name,
		      session->error.message,
		      keeps_locks(session->owner, session->call) ?
			      "; another session keeps its locks because of "
			      "PRAGMA locking_mode" :
			      "");
	slm_spec_error_place(session->owner->spec, session->error.line,
			     session->error.column, err);
	return session->status;
}

static enum sqloom_status open_session(struct session *session,
				       struct sqloom_error *err)
{
	const struct slm_spec_session *spec =
		&session->owner->spec->sessions[session->call];
	enum sqloom_status status = slm_session_open(session, err);

	if (!status)
		status = classify_setup(session, err);
	if (!status && spec->setup.text && !session->setup_per_run)
		status = session_script(session, &spec->setup, "setup", err);
	slm_store_set_owner(session->owner->store, session->call);
	if (!status)
		status = slm_compile_session(session, err);
	slm_store_set_owner(session->owner->store, ADMIN);
	return status;
}

static void close_sessions(struct sqlite *db)
{
	for (unsigned i = 0; i < db->nsessions; i++) {
		slm_compile_release(&db->sessions[i]);
		slm_session_close(&db->sessions[i]);
	}
	slm_arena_clear(&db->compiled);
}

static enum sqloom_status open_sessions(struct sqlite *db,
					struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	for (unsigned i = 0; !status && i < db->nsessions; i++)
		status = open_session(&db->sessions[i], err);
	return status;
}

static bool init_session(struct sqlite *db, unsigned call)
{
	const struct slm_spec_session *spec = &db->spec->sessions[call];
	struct session *session = &db->sessions[call];

	session->owner = db;
	session->call = call;
	session->nsteps = spec->nsteps;
	session->steps =
		slm_arena_zalloc(&db->arena, spec->nsteps, sizeof(struct step));
	if (!session->steps)
		return false;
	for (unsigned i = 0; i < spec->nsteps; i++) {
		session->steps[i].spec = &spec->steps[i];
		session->steps[i].text = spec->steps[i].sql.text;
	}
	return true;
}

/* Marks the tables that steps write, and those that foreign keys reach. */
static void mark_written(struct sqlite *db)
{
	bool more = true;

	/* What others will do is not known before they do it. */
	for (uint32_t i = 0; db->outside && i < db->catalogue.ntables; i++)
		db->catalogue.tables[i].written = true;

	for (unsigned i = 0; i < db->nsessions; i++)
		for (unsigned j = 0; j <= db->sessions[i].nsteps; j++) {
			const struct session *session = &db->sessions[i];
			const struct name_set *writes =
				j < session->nsteps ?
					&session->steps[j].writes :
					&session->teardown.writes;

			for (unsigned k = 0; k < writes->count; k++) {
				int table = slm_catalogue_find(
					&db->catalogue, writes->names[k]);

				if (table >= 0)
					db->catalogue.tables[table].written =
						true;
			}
		}
	while (more) {
		more = false;
		for (uint32_t i = 0; i < db->catalogue.ntables; i++) {
			struct table *table = &db->catalogue.tables[i];

			for (uint32_t c = 0; c < table->ncolumns; c++) {
				uint32_t parent = table->parent[c];

				if (table->written || !parent ||
				    !db->catalogue.tables[parent - 1].written)
					continue;
				table->written = true;
				more = true;
			}
		}
	}
}

/* Modules such as FTS5 keep pages of their own on the connection, which a
 * restore does not reach. */
static void see_virtual(struct sqlite *db)
{
	for (uint32_t i = 0; i < db->catalogue.ntables; i++)
		db->fresh |= db->catalogue.tables[i].is_virtual;
}

/* Session setups may write as well: then all tables count. */
static enum sqloom_status see_scripts(struct sqlite *db,
				      struct sqloom_error *err)
{
	for (unsigned i = 0; i < db->nsessions; i++) {
		const struct slm_spec_session *spec = &db->spec->sessions[i];
		struct footprint footprint = { 0 };
		enum sqloom_status status;

		if (!spec->setup.text)
			continue;
		status = slm_compile_script(&db->sessions[i], &spec->setup,
					    &footprint, err);
		if (status)
			return status;
		for (uint32_t t = 0;
		     footprint.touches && t < db->catalogue.ntables; t++)
			db->catalogue.tables[t].written = true;
		db->ddl |= footprint.ddl;
		db->random |= footprint.random;
		db->pragma |= footprint.pragma;
		/* What a setup leaves on the connection it would find again. */
		db->fresh |= footprint.connection &&
			     db->sessions[i].setup_per_run;
		slm_compile_blind(db, &footprint);
	}
	return SQLOOM_OK;
}

static enum sqloom_status set_up(struct sqlite *db, struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	if (db->options.database)
		status = slm_store_seed(db->store, db->options.database, err);
	if (!status)
		status = open_admin(db, err);
	if (!status)
		status = probe(db, err);
	if (!status)
		status = set_journal(db, err);
	for (unsigned i = 0; !status && i < db->spec->nsetups; i++)
		status = run_script(db, "setup", &db->spec->setups[i], err);
	if (!status && db->outside)
		status = slm_outside_sqlite_set_up(db, err);
	if (!status)
		status =
			slm_catalogue_load(db, &db->arena, &db->catalogue, err);
	if (!status)
		status = open_sessions(db, err);
	if (!status) {
		slm_refer_infer(db);
		mark_written(db);
		see_virtual(db);
		status = see_scripts(db, err);
	}
	if (!status)
		status = slm_contents_check_ignored(db, err);
	if (!status)
		status = slm_compile_checks(db, err);
	if (!status && db->options.store == SQLOOM_STORE_FILE) {
		/* Files are put back under closed connections only. */
		db->fresh = true;
	}
	if (!status)
		status = slm_store_snapshot(db->store, err);
	return status;
}

/* Random numbers that decide what a step does differ in two runs only by
 * chance: 1 in 128 goes unseen. */
#define RANDOM_VARIANTS 8

static const struct slm_db_ops sqlite_ops;

enum sqloom_status slm_sqlite_open(const struct sqloom_spec *spec,
				   const struct slm_sqlite_options *options,
				   struct slm_db **out,
				   struct sqloom_error *err)
{
	return slm_sqlite_make(spec, options, spec->nsessions, NULL, out, err);
}

enum sqloom_status slm_sqlite_make(const struct sqloom_spec *spec,
				   const struct slm_sqlite_options *options,
				   unsigned nsessions,
				   struct sqlite_outside *outside,
				   struct slm_db **out,
				   struct sqloom_error *err)
{
	struct sqlite *db = slm_calloc(1, sizeof(*db));
	struct slm_store_hooks hooks = { .sleep = sleep_hook, .userdata = db };
	enum sqloom_status status = SQLOOM_OK;

	if (!db) {
		slm_free(outside);
		return slm_error_nomem(err);
	}
	db->base.ops = &sqlite_ops;
	db->outside = outside;
	db->spec = spec;
	db->options = *options;
	slm_arena_init(&db->arena);
	slm_arena_init(&db->compiled);
	db->run = &db->arena;
	db->sessions = slm_arena_zalloc(&db->arena, nsessions + 1,
					sizeof(struct session));
	db->checks = slm_arena_zalloc(&db->arena, spec->nchecks,
				      sizeof(struct check));
	if (!db->sessions || !db->checks)
		status = slm_error_nomem(err);
	/* Counted one by one, so that only whole ones are freed. */
	for (unsigned i = 0; !status && i < nsessions; i++)
		if (init_session(db, i))
			db->nsessions++;
		else
			status = slm_error_nomem(err);
	if (!status)
		status = slm_store_new(options->store, &hooks, &db->store, err);
	if (!status) {
		slm_store_set_clock(db->store, options->clock_ms);
		status = slm_stop_status(db, set_up(db, err), err);
	}
	if (status) {
		db->base.ops->free(&db->base);
		return status;
	}
	db->base.variants = db->random ? RANDOM_VARIANTS : 2;
	/* SQLite has one generator of random numbers for the process. */
	db->base.alone = db->random || !sqlite3_threadsafe();
	*out = &db->base;
	return SQLOOM_OK;
}

/* Makes blocked sessions give up, so that no stack is left inside SQLite. */
static void abort_run(struct sqlite *db)
{
	db->aborting = true;
	for (unsigned i = 0; i < db->nsessions; i++)
		while (db->sessions[i].blocked)
			slm_session_run(&db->sessions[i]);
	db->aborting = false;
}

static void close_admin(struct sqlite *db)
{
	for (unsigned i = 0; db->checks && i < db->spec->nchecks; i++) {
		sqlite3_finalize(db->checks[i].stmt);
		db->checks[i].stmt = NULL;
	}
	sqlite3_close_v2(db->admin);
	db->admin = NULL;
}

static void sqlite_free(struct slm_db *base)
{
	struct sqlite *db = (struct sqlite *)base;

	abort_run(db);
	close_sessions(db);
	close_admin(db);
	for (unsigned i = 0; i < db->nsessions; i++) {
		struct session *session = &db->sessions[i];

		slm_coroutine_free(session->coroutine);
		for (unsigned j = 0; j < session->nvariables; j++)
			slm_free(session->variables[j].data);
	}
	if (db->outside)
		slm_outside_sqlite_free(db);
	slm_store_free(db->store);
	slm_free(db->generated);
	slm_free(db->generated_chains);
	slm_arena_deinit(&db->compiled);
	slm_arena_deinit(&db->arena);
	slm_free(db);
}

/* ---- A run ------------------------------------------------------------- */

/* Restores under closed connections. */
static enum sqloom_status reopen(struct sqlite *db, struct sqloom_error *err)
{
	enum sqloom_status status;

	close_sessions(db);
	close_admin(db);
	status = slm_store_restore(db->store, err);
	if (!status)
		status = open_admin(db, err);
	if (!status)
		status = slm_compile_checks(db, err);
	return status ? status : open_sessions(db, err);
}

/*
 * Restores. Where a run replaced files, such as by PRAGMA journal_mode=wal, the
 * connections must be closed for it. After a change of the schema every
 * connection reads it anew now, before any lock can stand in its way.
 */
static enum sqloom_status restore(struct sqlite *db, struct sqloom_error *err)
{
	enum sqloom_status status;

	if (db->fresh || (db->nsessions && !db->sessions[0].db))
		return reopen(db, err);
	status = slm_store_restore(db->store, err);
	if (status == SQLOOM_UNSUPPORTED && !db->outside)
		return reopen(db, err);
	for (unsigned i = 0; !status && db->ddl && i < db->nsessions; i++) {
		slm_store_set_owner(db->store, i);
		if (sqlite3_exec(db->sessions[i].db,
				 "SELECT count(*) FROM main.sqlite_schema",
				 NULL, NULL, NULL))
			status = slm_sqlite_error(
				db->sessions[i].db, SQLOOM_DATABASE,
				"cannot read the schema: ", err);
	}
	slm_store_set_owner(db->store, ADMIN);
	return status;
}

static bool locks_left(const struct sqlite *db)
{
	for (unsigned i = 0; i < db->nsessions; i++)
		if (slm_store_holds(db->store, i))
			return true;
	return false;
}

static void begin_session(struct session *session)
{
	session->blocked = false;
	for (unsigned i = 0; i < session->nvariables; i++)
		session->variables[i].type = SQLITE_NULL;
}

static enum sqloom_status sqlite_run_begin(struct slm_db *base,
					   uint32_t members, unsigned variant,
					   struct slm_arena *arena,
					   struct sqloom_error *err)
{
	struct sqlite *db = (struct sqlite *)base;
	enum sqloom_status status = SQLOOM_OK;

	db->run = arena;
	db->members = members;
	db->now_ms = 0;
	slm_generated_clear(db);
	db->failed_generated = false;
	db->stopping = false;
	assert(db->blocked == 0);
	/* What now() says stands still during a run, waits included: so times
	 * are equal in every run, and need no mask that could hide a bug. */
	slm_store_set_clock(db->store, db->options.clock_ms);
	if (db->random)
		sqlite3_test_control(
			SQLITE_TESTCTRL_PRNG_SEED,
			(int)((db->options.seed * RANDOM_VARIANTS + variant) &
			      0x3fffffff) +
				1,
			NULL);
	status = restore(db, err);
	for (unsigned i = 0; !status && i < db->nsessions; i++) {
		struct session *session = &db->sessions[i];

		begin_session(session);
		if (session->setup_per_run && (members & (1u << i)))
			status = session_script(session,
						&db->spec->sessions[i].setup,
						"setup", err);
	}
	return slm_stop_status(db, status, err);
}

static enum sqloom_status sqlite_when(struct slm_db *base, unsigned call,
				      unsigned number, bool *run,
				      struct sqloom_error *err)
{
	struct sqlite *db = (struct sqlite *)base;
	struct session *session = &db->sessions[call];
	struct step *step = &session->steps[number];
	enum sqloom_status status = SQLOOM_OK;

	slm_session_bind(session, step->when, step->when_parameters,
			 step->nwhen);
	slm_store_set_owner(db->store, call);
	if (sqlite3_step(step->when) == SQLITE_ROW)
		*run = sqlite3_column_double(step->when, 0) != 0;
	else
		status = slm_sqlite_error(session->db, SQLOOM_SPEC,
					  "when: ", err);
	sqlite3_reset(step->when);
	slm_store_set_owner(db->store, ADMIN);
	if (status)
		slm_compile_place(db->spec, &step->spec->when,
				  step->spec->when.text, err);
	return status;
}

/* After the session's coroutine came back: what became of its step. */
static enum sqloom_status answer_of(struct session *session,
				    struct slm_db_answer *answer,
				    struct sqloom_error *err)
{
	struct sqlite *db = session->owner;

	if (db->stopping)
		return slm_stop_status(db, SQLOOM_LIMIT, err);
	if (session->status) {
		give_error(session, err);
		return session->status;
	}
	if (db->failed_generated)
		return slm_error_nomem(err);
	if (session->blocked) {
		*answer = (struct slm_db_answer){
			.blocked = true,
			.blocked_by =
				slm_store_blockers(db->store, session->call),
			.what = slm_store_wait_text(db->store, session->call),
		};
		return SQLOOM_OK;
	}
	*answer = (struct slm_db_answer){ .result = session->result };
	if (session->wait_began_ms != UINT64_MAX)
		answer->waited_ms =
			(uint32_t)(db->now_ms - session->wait_began_ms);
	return SQLOOM_OK;
}

static struct step *step_of(struct session *session, unsigned number)
{
	if (number == SLM_DB_ROLLBACK)
		return &session->rollback;
	if (number == SLM_DB_TEARDOWN)
		return &session->teardown;
	return &session->steps[number];
}

static enum sqloom_status sqlite_step(struct slm_db *base, unsigned call,
				      unsigned number,
				      struct slm_db_answer *answer,
				      struct sqloom_error *err)
{
	struct sqlite *db = (struct sqlite *)base;
	struct session *session = &db->sessions[call];

	session->step = step_of(session, number);
	session->job = JOB_STEP;
	session->result = NULL;
	session->status = SQLOOM_OK;
	session->wait_began_ms = UINT64_MAX;
	slm_session_run(session);
	return answer_of(session, answer, err);
}

static enum sqloom_status sqlite_resume(struct slm_db *base, int *call,
					struct slm_db_answer *answer,
					struct sqloom_error *err)
{
	struct sqlite *db = (struct sqlite *)base;
	struct session *first = NULL;

	*call = -1;
	if (!db->blocked)
		return SQLOOM_OK;
	for (unsigned i = 0; i < db->nsessions; i++) {
		struct session *session = &db->sessions[i];

		if (session->blocked && !slm_store_blockers(db->store, i) &&
		    (!first || session->blocked_since < first->blocked_since))
			first = session;
	}
	if (!first)
		return SQLOOM_OK;
	*call = (int)first->call;
	slm_session_run(first);
	return answer_of(first, answer, err);
}

/*
 * Advances virtual time to the moment when the first of the waiting asks
 * again, until one of them is done: its lock was got or its timeout is over.
 */
static enum sqloom_status sqlite_expire(struct slm_db *base, int *call,
					struct slm_db_answer *answer,
					struct sqloom_error *err)
{
	struct sqlite *db = (struct sqlite *)base;
	enum sqloom_status status;

	*call = -1;
	for (;;) {
		struct session *first = NULL;

		for (unsigned i = 0; i < db->nsessions; i++) {
			struct session *session = &db->sessions[i];

			if (session->blocked &&
			    (!first || session->wake_at_ms < first->wake_at_ms))
				first = session;
		}
		if (!first)
			return SQLOOM_OK;
		if (first->wake_at_ms > db->now_ms) {
			slm_store_pass(db->store, (unsigned)(first->wake_at_ms -
							     db->now_ms));
			db->now_ms = first->wake_at_ms;
		}
		slm_session_run(first);
		if (first->blocked)
			continue;
		*call = (int)first->call;
		status = answer_of(first, answer, err);
		return status;
	}
}

static bool sqlite_in_transaction(struct slm_db *base, unsigned call)
{
	struct sqlite *db = (struct sqlite *)base;

	return !sqlite3_get_autocommit(db->sessions[call].db);
}

static enum sqloom_status sqlite_run_end(struct slm_db *base,
					 struct sqloom_error *err)
{
	struct sqlite *db = (struct sqlite *)base;
	enum sqloom_status status = SQLOOM_OK;

	if (db->blocked)
		abort_run(db);
	for (unsigned i = 0; i < db->nsessions; i++) {
		struct session *session = &db->sessions[i];
		struct slm_db_answer answer;

		/* There is no connection if opening it again failed. */
		if (session->db && !sqlite3_get_autocommit(session->db)) {
			enum sqloom_status ended =
				sqlite_step(base, i, SLM_DB_ROLLBACK, &answer,
					    status ? NULL : err);

			if (!status)
				status = ended;
		}
	}
	/* locking_mode=exclusive keeps its locks; the contents must be read. */
	if (locks_left(db))
		close_sessions(db);
	return status;
}

static uint64_t sqlite_image(struct slm_db *base)
{
	struct sqlite *db = (struct sqlite *)base;
	uint64_t image = slm_store_image(db->store);

	if (!image)
		return 0;
	for (unsigned i = 0; i < db->ngenerated; i++) {
		const struct generated *key = &db->generated[i];

		image = slm_hash_mix(image, key->table);
		image = slm_hash_mix(image, (uint64_t)key->key);
	}
	return image ? image : 1;
}

static enum sqloom_status sqlite_contents(struct slm_db *base,
					  struct slm_contents *out,
					  struct sqloom_error *err)
{
	struct sqlite *db = (struct sqlite *)base;
	enum sqloom_status status;

	db->doing.what = "reading the tables";
	status = slm_contents_read(db, out, err);
	db->doing.what = NULL;
	return slm_stop_status(db, status, err);
}

/* ---- Checks ------------------------------------------------------------ */

static enum sqloom_status run_check(struct sqlite *db, struct check *check,
				    struct slm_rows *rows,
				    struct sqloom_error *err)
{
	unsigned ncolumns = (unsigned)sqlite3_column_count(check->stmt);
	struct slm_value *values =
		slm_arena_zalloc(db->run, (size_t)SLM_TRACE_ROWS_MAX * ncolumns,
				 sizeof(*values));
	const char **columns =
		slm_arena_zalloc(db->run, ncolumns, sizeof(*columns));
	bool failed = !values || !columns;
	enum sqloom_status status;
	int rc = SQLITE_DONE;

	memset(rows, 0, sizeof(*rows));
	for (unsigned i = 0; !failed && i < ncolumns; i++) {
		columns[i] = slm_arena_strdup(
			db->run, sqlite3_column_name(check->stmt, (int)i));
		failed = !columns[i];
	}
	db->collated = false;
	while (!failed && (rc = sqlite3_step(check->stmt)) == SQLITE_ROW) {
		struct slm_value *row = values + (size_t)rows->nkept * ncolumns;

		if (rows->nrows++ >= SLM_TRACE_ROWS_MAX)
			continue;
		for (unsigned i = 0; i < ncolumns; i++)
			slm_sqlite_value(check->stmt, (int)i, db->run, &row[i],
					 &failed);
		rows->nkept++;
	}
	rows->ncolumns = ncolumns;
	rows->columns = columns;
	rows->values = values;
	sqlite3_reset(check->stmt);
	if (failed)
		return slm_error_nomem(err);
	if (rc == SQLITE_DONE && !db->collated)
		return SQLOOM_OK;
	if (rc == SQLITE_DONE)
		status = slm_error_set(err, SQLOOM_SPEC,
				       "check: it compares by a collation of "
				       "the program's own, which is not known "
				       "here; ask in a function");
	else
		status = slm_sqlite_error(db->admin, SQLOOM_SPEC,
					  "check: ", err);
	slm_compile_place(db->spec, &check->spec->sql, check->spec->sql.text,
			  err);
	return status;
}

static enum sqloom_status sqlite_checks(
	struct slm_db *base, const struct slm_check_failure **failures,
	uint32_t *count, struct sqloom_error *err)
{
	struct sqlite *db = (struct sqlite *)base;
	struct slm_check_failure *list =
		slm_arena_zalloc(db->run, db->spec->nchecks, sizeof(*list));
	uint32_t n = 0;

	if (!list)
		return slm_error_nomem(err);
	for (unsigned i = 0; i < db->spec->nchecks; i++) {
		struct slm_rows rows;
		enum sqloom_status status;

		db->doing = (struct doing){ "check", db->checks[i].spec->name,
					    &db->checks[i].spec->sql, NULL };
		status = slm_stop_status(
			db, run_check(db, &db->checks[i], &rows, err), err);
		db->doing = (struct doing){ 0 };
		if (status)
			return status;
		if (rows.nrows)
			list[n++] = (struct slm_check_failure){
				.name = db->checks[i].spec->name,
				.rows = rows,
			};
	}
	*failures = list;
	*count = n;
	return SQLOOM_OK;
}

/* ---- The rest ---------------------------------------------------------- */

static struct slm_db_step_info sqlite_info(struct slm_db *base, unsigned call,
					   unsigned step)
{
	return step_of(&((struct sqlite *)base)->sessions[call], step)->info;
}

static enum sqloom_status sqlite_finish(struct slm_db *base,
					struct sqloom_error *err)
{
	struct sqlite *db = (struct sqlite *)base;

	db->stopping = false;
	if (!db->spec->teardown.text)
		return SQLOOM_OK;
	return slm_stop_status(
		db, run_script(db, "teardown", &db->spec->teardown, err), err);
}

static const struct slm_db_ops sqlite_ops = {
	.free = sqlite_free,
	.info = sqlite_info,
	.run_begin = sqlite_run_begin,
	.when = sqlite_when,
	.step = sqlite_step,
	.resume = sqlite_resume,
	.expire = sqlite_expire,
	.in_transaction = sqlite_in_transaction,
	.run_end = sqlite_run_end,
	.image = sqlite_image,
	.contents = sqlite_contents,
	.checks = sqlite_checks,
	.finish = sqlite_finish,
};

/* Here, because the database libraries are known here. */
const char *sqloom_version(void)
{
	return "sqloom " SQLOOM_VERSION "\nSQLite " SQLITE_VERSION;
}
