/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PostgreSQL behind db.h: the life of an exploration and of a run. The rest
 * is in the files that postgres_internal.h lists.
 *
 * Where the runs happen. Usually in the database itself: what a run dirtied is
 * put back from snapshots. Where a step changes the schema, or may do what
 * cannot be seen from outside (CALL, DO), every run has a new copy of a
 * template: `cloning`. Workers other than the first work in a copy of their
 * own.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "db/postgres_internal.h"
#include "sql/sql.h"

#define ADMIN_LOCK_TIMEOUT "20ms"
/* Programs may still be busy ending a transaction when a run has ended. */
#define ADMIN_LOCK_TIMEOUT_OUTSIDE "500ms"
#define END_LOCK_TIMEOUT_OUTSIDE "5s"

static struct postgres *of(struct slm_db *base)
{
	return (struct postgres *)base;
}

/* ---- Scripts of the spec ----------------------------------------------- */

/* The place of byte number `at` (from 0) of a block, in the spec. */
static void place(const struct postgres *db, const struct slm_spec_sql *sql,
		  size_t at, struct sqloom_error *err)
{
	unsigned line = sql->line, column = sql->column;

	for (size_t i = 0; i < at && i < sql->size; i++) {
		if (sql->text[i] == '\n') {
			line++;
			column = 1;
		} else if (((unsigned char)sql->text[i] & 0xc0) != 0x80) {
			column++;
		}
	}
	slm_spec_error_place(db->spec, line, column, err);
}

/* The server's position counts characters, from 1. */
static size_t offset_of(const char *text, const char *position)
{
	long left = position ? strtol(position, NULL, 10) - 1 : 0;
	size_t at = 0;

	while (left > 0 && text[at]) {
		at++;
		if (((unsigned char)text[at] & 0xc0) != 0x80)
			left--;
	}
	return at;
}

/* A block that could not be executed is an error of the spec. */
static enum sqloom_status script_failed(struct postgres *db, const char *what,
					const struct slm_spec_sql *sql,
					const PGresult *result,
					struct sqloom_error *err)
{
	const char *message =
		PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	size_t at = offset_of(sql->text,
			      PQresultErrorField(result,
						 PG_DIAG_STATEMENT_POSITION));

	slm_error_set(err, SQLOOM_SPEC, "the %s fails on PostgreSQL: %s", what,
		      message ? message : "the server gives no reason");
	if (err && state)
		snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", state);
	if (at == 0)
		at = (size_t)(slm_sql_skip_blank(sql->text) - sql->text);
	place(db, sql, at, err);
	return SQLOOM_SPEC;
}

static enum sqloom_status run_script(struct postgres *db, const char *what,
				     const struct slm_spec_sql *sql,
				     struct sqloom_error *err)
{
	PGresult *result = PQexec(db->admin.conn, sql->text);
	ExecStatusType kind = PQresultStatus(result);
	enum sqloom_status status = SQLOOM_OK;

	if (PQstatus(db->admin.conn) == CONNECTION_BAD)
		status = slm_pg_broken(&db->admin, err);
	else if (kind != PGRES_COMMAND_OK && kind != PGRES_TUPLES_OK &&
		 kind != PGRES_EMPTY_QUERY)
		status = script_failed(db, what, sql, result, err);
	PQclear(result);
	if (!status && PQtransactionStatus(db->admin.conn) != PQTRANS_IDLE) {
		status = slm_error_set(err, SQLOOM_SPEC,
				       "the %s leaves a transaction open: end "
				       "it with COMMIT",
				       what);
		place(db, sql, 0, err);
	}
	return status;
}

/* The global setup, once. */
static enum sqloom_status run_setup(struct postgres *db,
				    struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	db->set_up = true;
	for (unsigned i = 0; !status && i < db->spec->nsetups; i++)
		status = run_script(db, "setup", &db->spec->setups[i], err);
	if (!status && db->outside)
		status = slm_pgoutside_set_up(db, err);
	return status;
}

/* ---- Connections ------------------------------------------------------- */

enum sqloom_status slm_pg_patience(struct postgres *db, bool patient,
				   struct sqloom_error *err)
{
	const char *sql =
		patient || db->options.keeps_only ?
			"SET lock_timeout = '" END_LOCK_TIMEOUT_OUTSIDE "'" :
		db->outside ? "SET lock_timeout = '" ADMIN_LOCK_TIMEOUT_OUTSIDE
			      "'" :
			      "SET lock_timeout = '" ADMIN_LOCK_TIMEOUT "'";

	return slm_pg_exec(&db->admin, "set up a connection", sql, NULL, err);
}

static void disconnect(struct postgres *db)
{
	for (unsigned i = 0; i < db->nsessions; i++)
		slm_pgsession_close(&db->sessions[i]);
	slm_pg_close(&db->monitor);
	slm_pg_close(&db->admin);
}

static enum sqloom_status connect_admin(struct postgres *db,
					const char *database,
					struct sqloom_error *err)
{
	enum sqloom_status status = slm_pg_open(&db->admin,
						db->options.conninfo, database,
						"sqloom itself", err);

	if (!status) {
		if (!db->options.keeps_only)
			slm_pg_pin(&db->admin, db->options.worker, &db->pinned);
		status = slm_pg_exec(&db->admin, "set up a connection",
				     PG_SETTINGS, NULL, err);
	}
	return status ? status : slm_pg_lift_limits(&db->admin, err);
}

static enum sqloom_status connect_sessions(struct postgres *db,
					   struct sqloom_error *err)
{
	enum sqloom_status status =
		slm_pg_open(&db->monitor, db->options.conninfo, db->database,
			    "sqloom's monitor", err);

	if (!status && !db->options.keeps_only)
		slm_pg_pin(&db->monitor, db->options.worker, &db->pinned);
	if (!status)
		status = slm_pg_lift_limits(&db->monitor, err);
	for (unsigned i = 0; !status && !db->outside && i < db->nsessions; i++)
		status = slm_pgsession_open(&db->sessions[i], err);
	/* From now on it must not wait for what a session holds. */
	return status ? status : slm_pg_patience(db, false, err);
}

/* What the role may do. */
static enum sqloom_status ask_rights(struct postgres *db,
				     struct sqloom_error *err)
{
	PGresult *result;
	const char *sql;
	enum sqloom_status status;

	db->version = PQserverVersion(db->admin.conn);
	sql = db->version >= 150000 ?
		      "SELECT rolsuper, "
		      "has_parameter_privilege('session_replication_role', "
		      "'SET'), has_parameter_privilege('deadlock_timeout', "
		      "'SET'), current_database() FROM pg_roles WHERE rolname "
		      "= current_user" :
		      "SELECT rolsuper, rolsuper, rolsuper, current_database() "
		      "FROM pg_roles WHERE rolname = current_user";
	status = slm_pg_exec(&db->admin, "ask for the role's rights", sql,
			     &result, err);
	if (status)
		return status;
	db->superuser = *PQgetvalue(result, 0, 0) == 't';
	db->may_replica = *PQgetvalue(result, 0, 1) == 't';
	db->may_deadlock = *PQgetvalue(result, 0, 2) == 't';
	db->database = slm_arena_strdup(&db->arena, PQgetvalue(result, 0, 3));
	PQclear(result);
	return db->database ? SQLOOM_OK : slm_error_nomem(err);
}

/* ---- Opening ----------------------------------------------------------- */

/* Every run starts from a copy of a template, which has the setup. */
static enum sqloom_status open_cloning(struct postgres *db,
				       struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	if (db->options.worker)
		return SQLOOM_OK;
	slm_pg_close(&db->admin);
	status = connect_admin(db, db->template, err);
	if (!status)
		status = run_setup(db, err);
	if (!status)
		status = slm_pgcat_load(db, err);
	if (!status)
		status = slm_pgsteps_resolve(db, err);
	slm_pg_close(&db->admin);
	return status;
}

/* Runs happen in the database, or in a worker's copy of it. */
static enum sqloom_status open_in_place(struct postgres *db,
					struct sqloom_error *err)
{
	enum sqloom_status status;
	const char *cleaned = NULL;

	status = slm_pgsnap_begin(db, &cleaned, err);
	if (cleaned)
		db->base.note = cleaned;
	if (!status)
		status = slm_pgsnap_setup_begins(db, err);
	if (!status) {
		/* What a setup that failed has made must go, too. */
		enum sqloom_status ended;

		status = run_setup(db, err);
		ended = slm_pgsnap_setup_ended(db, status ? NULL : err);
		status = status ? status : ended;
	}
	if (!status)
		status = slm_pgcat_load(db, err);
	if (!status)
		status = slm_pgsnap_sequences(db, err);
	if (!status)
		status = slm_pgsteps_resolve(db, err);
	if (!status)
		status = slm_pgcontents_check_ignored(db, err);
	if (!status && db->outside && !db->options.keeps_only)
		status = slm_pgoutside_show(db, err);
	else if (!status && slm_pgsteps_any(db, slm_pgstep_is_uncertain))
		slm_pgsteps_show_all(db);
	if (!status &&
	    (db->outside || slm_pgsteps_any(db, slm_pgstep_needs_snapshots)))
		status = slm_pgsnap_take_all(db, err);
	if (!status)
		status = connect_sessions(db, err);
	return status;
}

/* Names of the databases that are ours. */
static enum sqloom_status name_databases(struct postgres *db,
					 struct sqloom_error *err)
{
	long owner = (long)getpid();

	if (!db->cloning && db->options.jobs < 2)
		return SQLOOM_OK;
	db->template =
		slm_arena_printf(&db->arena, "sqloom_%ld_template_test", owner);
	if (db->cloning || db->options.worker)
		db->scratch = slm_arena_printf(&db->arena, "sqloom_%ld_%u_test",
					       owner, db->options.worker);
	return db->template && (db->scratch ||
				!(db->cloning || db->options.worker)) ?
		       SQLOOM_OK :
		       slm_error_nomem(err);
}

/* Makes the template (first worker) and this worker's copy of it. */
static enum sqloom_status make_databases(struct postgres *db,
					 struct sqloom_error *err)
{
	enum sqloom_status status = name_databases(db, err);

	if (status || !db->template)
		return status;
	/* Is another sqloom at work in the database, or has it left something
	 * there, which must not be copied? */
	if (!db->options.worker) {
		status = slm_pgsnap_begin(db, &db->cleaned, err);
		db->base.note = db->cleaned;
		if (!status)
			status = slm_pgsnap_end(db, err);
		slm_pgrestore_free(db);
	}
	if (status)
		return status;
	slm_pg_close(&db->admin);
	if (!db->options.worker) {
		status = slm_pgclone_sweep(db, err);
		if (!status)
			status = slm_pgclone_create(db, db->template,
						    db->database, err);
	}
	if (!status && !db->cloning && db->scratch) {
		status = slm_pgclone_create(db, db->scratch, db->template, err);
		db->database = db->scratch;
	}
	if (!status)
		status = connect_admin(db, db->database, err);
	return status;
}

static void describe_backend(struct postgres *db)
{
	const char *version =
		PQparameterStatus(db->admin.conn, "server_version");
	const char *level = db->options.isolation[0];
	bool same = true;
	size_t digits = version ? strcspn(version, " ") : 0;

	for (unsigned i = 0; i < db->nsessions; i++) {
		const char *other = db->options.isolation[i];

		same &= (!level && !other) ||
			(level && other && strcmp(level, other) == 0);
	}
	snprintf(db->base.backend, sizeof(db->base.backend),
		 "PostgreSQL %.*s, %s%s", (int)digits, version ? version : "",
		 !same ? "isolation levels per session" :
		 level ? level :
			 "default isolation",
		 db->cloning ? ", a new copy of the database for each run" :
			       "");
}

static enum sqloom_status open_all(struct postgres *db,
				   struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	for (unsigned i = 0; !status && i < db->nsessions; i++)
		status = slm_pgsteps_read(&db->sessions[i], err);
	if (status)
		return status;
	db->cloning = !db->outside &&
		      (db->options.cloning ||
		       slm_pgsteps_any(db, slm_pgstep_needs_clone));
	db->base.alone = db->cloning;
	status = slm_pgguard_host(db, err);
	if (!status)
		status = connect_admin(db, NULL, err);
	if (!status)
		status = ask_rights(db, err);
	/* The first worker has looked. */
	if (!status && !db->options.worker)
		status = slm_pgguard_check(db, err);
	if (!status)
		describe_backend(db);
	if (!status)
		status = make_databases(db, err);
	if (!status)
		status = db->cloning ? open_cloning(db, err) :
				       open_in_place(db, err);
	return status;
}

/* ---- Closing ----------------------------------------------------------- */

static enum sqloom_status end_setup(struct postgres *db,
				    struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK, ended;

	if (!db->set_up)
		return SQLOOM_OK;
	db->set_up = false;
	if (db->cloning)
		return SQLOOM_OK;
	status = slm_pg_exec(&db->admin, "prepare the end",
			     db->outside ? "SET lock_timeout = "
					   "'" END_LOCK_TIMEOUT_OUTSIDE "'" :
					   "RESET lock_timeout",
			     NULL, err);
	if (!status)
		status = slm_pgsnap_teardown_begins(db, err);
	if (!status && db->spec->teardown.text)
		status = run_script(db, "teardown", &db->spec->teardown, err);
	ended = slm_pgsnap_end(db, status ? NULL : err);
	return status ? status : ended;
}

static enum sqloom_status op_finish(struct slm_db *base,
				    struct sqloom_error *err)
{
	return end_setup(of(base), err);
}

static void op_free(struct slm_db *base)
{
	struct postgres *db = of(base);

	/* After an error: best effort; what stays is cleaned by the next
	 * start. */
	for (unsigned i = 0; i < db->nsessions; i++)
		if (db->sessions[i].pg.conn && !db->sessions[i].pg.lost)
			(void)slm_pgsession_reset(&db->sessions[i], NULL);
	/* What cannot be put back now must stay kept. */
	if (db->admin.conn && !db->admin.lost && db->set_up &&
	    !slm_pgrestore(db, false, NULL))
		(void)end_setup(db, NULL);
	disconnect(db);
	if (db->scratch)
		(void)slm_pgclone_drop(db, db->scratch, NULL);
	if (db->template && !db->options.worker)
		(void)slm_pgclone_drop(db, db->template, NULL);
	slm_pg_close(&db->maintenance);
	slm_pg_unpin(&db->pinned);
	slm_pgcat_free(&db->catalogue);
	slm_pgrestore_free(db);
	slm_pgoutside_free(db->outside);
	slm_free(db->generated);
	slm_arena_deinit(&db->arena);
	slm_free(db);
}

/* ---- A run ------------------------------------------------------------- */

static enum sqloom_status new_copy(struct postgres *db,
				   struct sqloom_error *err)
{
	enum sqloom_status status;

	disconnect(db);
	status = slm_pgclone_drop(db, db->scratch, err);
	if (!status)
		status = slm_pgclone_create(db, db->scratch, db->template, err);
	db->database = db->scratch;
	if (!status)
		status = connect_admin(db, db->database, err);
	if (!status)
		status = slm_pgcat_load(db, err);
	if (!status)
		status = slm_pgsnap_sequences(db, err);
	/* Copies of one template have the same catalogue. */
	if (!status && !db->resolved)
		status = slm_pgsteps_resolve(db, err);
	if (!status)
		status = connect_sessions(db, err);
	return status;
}

static enum sqloom_status session_setup(struct pg_session *session,
					struct sqloom_error *err)
{
	struct postgres *db = session->owner;
	const struct slm_spec_sql *sql =
		&db->spec->sessions[session->call].setup;
	struct slm_db_answer answer;
	enum sqloom_status status;

	if (!sql->text)
		return SQLOOM_OK;
	status = slm_pgsession_step(session, &session->setup, &answer, err);
	if (status)
		return status;
	if (answer.blocked) {
		slm_error_set(err, SQLOOM_SPEC,
			      "the setup of session \"%s\" waits for a lock "
			      "that another session's setup holds",
			      db->spec->sessions[session->call].name);
		place(db, sql, 0, err);
		return SQLOOM_SPEC;
	}
	for (const struct slm_result *r = answer.result; r; r = r->next) {
		if (r->error == SLM_ERROR_NONE)
			continue;
		slm_error_set(err, SQLOOM_SPEC,
			      "the setup of session \"%s\" fails on "
			      "PostgreSQL: %s",
			      db->spec->sessions[session->call].name,
			      r->message);
		place(db, sql,
		      (size_t)(slm_sql_skip_blank(sql->text) - sql->text), err);
		return SQLOOM_SPEC;
	}
	return SQLOOM_OK;
}

static enum sqloom_status op_run_begin(struct slm_db *base, uint32_t members,
				       unsigned variant,
				       struct slm_arena *arena,
				       struct sqloom_error *err)
{
	struct postgres *db = of(base);
	enum sqloom_status status = SQLOOM_OK;

	(void)variant; /* the server's clock and random numbers go on */
	db->run = arena;
	db->members = members;
	db->blocked = 0;
	db->blockings = 0;
	db->ngenerated = 0;
	db->all_dirty = false;
	db->image = 0;
	db->failures = NULL;
	db->nfailures = 0;
	memset(&db->contents, 0, sizeof(db->contents));
	if (db->outside)
		slm_pgoutside_run_begins(db);
	if (db->cloning)
		status = new_copy(db, err);
	for (uint32_t i = 0; i < db->catalogue.nsequences; i++) {
		struct pg_sequence *sequence = &db->catalogue.sequences[i];

		sequence->known =
			sequence->last_value -
			(sequence->is_called ? 0 : sequence->increment);
		sequence->taker = 0;
	}
	for (unsigned i = 0; !status && i < db->nsessions; i++)
		if (members & (1u << i))
			status = session_setup(&db->sessions[i], err);
	return status;
}

static struct pg_step *find_step(struct pg_session *session, unsigned step)
{
	switch (step) {
	case SLM_DB_ROLLBACK:
		return &session->rollback;
	case SLM_DB_TEARDOWN:
		return &session->teardown;
	case SLM_DB_COMMIT:
		return &session->commit;
	default:
		return &session->steps[step];
	}
}

static struct slm_db_step_info op_info(struct slm_db *base, unsigned call,
				       unsigned step)
{
	return find_step(&of(base)->sessions[call], step)->info;
}

static enum sqloom_status op_step(struct slm_db *base, unsigned call,
				  unsigned step, struct slm_db_answer *answer,
				  struct sqloom_error *err)
{
	struct pg_session *session = &of(base)->sessions[call];
	enum sqloom_status status = slm_pgsession_step(
		session, find_step(session, step), answer, err);

	base->wants_clone |= of(base)->ddl_seen;
	return status;
}

/* The blocked session that began to wait next after `since`. */
static struct pg_session *next_blocked(struct postgres *db, uint64_t since)
{
	struct pg_session *next = NULL;

	for (unsigned i = 0; i < db->nsessions; i++) {
		struct pg_session *session = &db->sessions[i];

		if (session->blocked && session->blocked_since > since &&
		    (!next || session->blocked_since < next->blocked_since))
			next = session;
	}
	return next;
}

static enum sqloom_status op_resume(struct slm_db *base, int *call,
				    struct slm_db_answer *answer,
				    struct sqloom_error *err)
{
	struct postgres *db = of(base);
	struct pg_session *session;
	uint64_t since = 0;

	*call = -1;
	while ((session = next_blocked(db, since)) != NULL) {
		enum sqloom_status status;
		bool went_on;

		since = session->blocked_since;
		status = slm_pgsession_resume(session, &went_on, answer, err);
		if (status)
			return status;
		if (went_on && !answer->blocked) {
			*call = (int)session->call;
			return SQLOOM_OK;
		}
	}
	return SQLOOM_OK;
}

static enum sqloom_status op_expire(struct slm_db *base, int *call,
				    struct slm_db_answer *answer,
				    struct sqloom_error *err)
{
	struct pg_session *session;
	enum sqloom_status status =
		slm_pgsession_expire(of(base), &session, answer, err);

	if (!status)
		*call = (int)session->call;
	return status;
}

static bool op_in_transaction(struct slm_db *base, unsigned call)
{
	return slm_pgsession_in_transaction(&of(base)->sessions[call]);
}

static bool op_split(struct slm_db *base, unsigned call)
{
	return of(base)->sessions[call].split_open;
}

/* ---- when -------------------------------------------------------------- */

static enum sqloom_status when_failed(struct postgres *db,
				      const struct slm_spec_step *step,
				      const char *message,
				      struct sqloom_error *err)
{
	slm_error_set(err, SQLOOM_SPEC,
		      "the condition of step \"%s\" fails on PostgreSQL: %s",
		      step->name, message);
	place(db, &step->when,
	      (size_t)(slm_sql_skip_blank(step->when.text) - step->when.text),
	      err);
	return SQLOOM_SPEC;
}

/* A condition that reads no table is evaluated outside of the session, whose
 * snapshot it must not take. */
static enum sqloom_status evaluate(struct pg_session *session,
				   const struct slm_spec_step *step,
				   const char *sql, bool *run,
				   struct sqloom_error *err)
{
	struct postgres *db = session->owner;
	struct slm_pg_step parsed;
	struct sqloom_error why = { 0 };
	PGresult *result = NULL;
	enum sqloom_status status =
		slm_pg_step_read(sql, db->run, &parsed, err);
	bool reads;

	if (status)
		return status;
	reads = !parsed.parsed || !parsed.touches_nothing;
	status = slm_pg_exec(reads ? &session->pg : &db->admin,
			     "evaluate a condition", sql, &result, &why);
	if (!status)
		*run = PQntuples(result) > 0 && !PQgetisnull(result, 0, 0) &&
		       *PQgetvalue(result, 0, 0) == 't';
	PQclear(result);
	if (status && !session->pg.lost && !db->admin.lost)
		return when_failed(db, step, why.message, err);
	if (status && err)
		*err = why;
	return status;
}

static enum sqloom_status op_when(struct slm_db *base, unsigned call,
				  unsigned step, bool *run,
				  struct sqloom_error *err)
{
	struct pg_session *session = &of(base)->sessions[call];
	const struct slm_spec_step *spec = session->steps[step].spec;
	struct slm_buf sql;
	enum sqloom_status status;

	slm_buf_init(&sql);
	slm_buf_puts(&sql, "SELECT (");
	(void)slm_pgsession_text(session, spec->when.text, &sql);
	slm_buf_puts(&sql, "\n)::bool");
	status = slm_buf_failed(&sql) ?
			 slm_error_nomem(err) :
			 evaluate(session, spec, sql.data, run, err);
	slm_buf_deinit(&sql);
	return status;
}

/* ---- The end of a run -------------------------------------------------- */

static enum sqloom_status run_check(struct postgres *db,
				    const struct slm_spec_check *check,
				    struct slm_check_failure *failures,
				    struct sqloom_error *err)
{
	PGresult *from = PQexec(db->admin.conn, check->sql.text);
	struct slm_result *result;
	enum sqloom_status status = SQLOOM_OK;

	if (PQstatus(db->admin.conn) == CONNECTION_BAD)
		status = slm_pg_broken(&db->admin, err);
	else if (PQresultStatus(from) == PGRES_FATAL_ERROR)
		status = script_failed(db, "check", &check->sql, from, err);
	else if (PQntuples(from) > 0)
		status = slm_pgresult(db, from, false, &result, err);
	if (!status && PQntuples(from) > 0)
		failures[db->nfailures++] =
			(struct slm_check_failure){ .name = check->name,
						    .rows = result->rows };
	PQclear(from);
	return status;
}

static enum sqloom_status run_checks(struct postgres *db,
				     struct sqloom_error *err)
{
	struct slm_check_failure *failures = slm_arena_zalloc(
		db->run, db->spec->nchecks + 1, sizeof(*failures));
	enum sqloom_status status = SQLOOM_OK;

	if (!failures)
		return slm_error_nomem(err);
	for (unsigned i = 0; !status && i < db->spec->nchecks; i++)
		if (!db->spec->checks[i].exec)
			status = run_check(db, &db->spec->checks[i], failures,
					   err);
	db->failures = failures;
	return status;
}

static enum sqloom_status op_run_end(struct slm_db *base,
				     struct sqloom_error *err)
{
	struct postgres *db = of(base);
	struct sqloom_error why = { 0 };
	enum sqloom_status status = SQLOOM_OK;

	for (unsigned i = 0; !status && !db->outside && i < db->nsessions; i++)
		if (db->members & (1u << i))
			status = slm_pgsession_roll_back(&db->sessions[i], err);
	for (unsigned i = 0; !status && !db->outside && i < db->nsessions; i++)
		if (db->members & (1u << i))
			status = slm_pgsession_reset(&db->sessions[i], err);
	db->blocked = 0;
	if (!status && db->cloning)
		status = slm_pgcat_load(db, err);
	if (!status)
		status = run_checks(db, err);
	if (status)
		return status;
	if (db->cloning)
		slm_pgsteps_show_all(db);
	if (db->outside)
		slm_pgoutside_run_ends(db);
	status = slm_pgrestore(db, true, &why);
	if (status && db->outside)
		return slm_pgoutside_in_the_way(db, &why, err);
	if (status && err)
		*err = why;
	return status;
}

static uint64_t op_image(struct slm_db *base)
{
	return of(base)->image;
}

static enum sqloom_status op_contents(struct slm_db *base,
				      struct slm_contents *out,
				      struct sqloom_error *err)
{
	(void)err;
	*out = of(base)->contents;
	return SQLOOM_OK;
}

static enum sqloom_status op_checks(struct slm_db *base,
				    const struct slm_check_failure **failures,
				    uint32_t *count, struct sqloom_error *err)
{
	(void)err;
	*failures = of(base)->failures;
	*count = of(base)->nfailures;
	return SQLOOM_OK;
}

/* ---- The constructor --------------------------------------------------- */

static const struct slm_db_ops ops = {
	.free = op_free,
	.info = op_info,
	.run_begin = op_run_begin,
	.when = op_when,
	.step = op_step,
	.resume = op_resume,
	.expire = op_expire,
	.in_transaction = op_in_transaction,
	.split = op_split,
	.run_end = op_run_end,
	.image = op_image,
	.contents = op_contents,
	.checks = op_checks,
	.finish = op_finish,
};

enum sqloom_status slm_pgdb_open(const struct sqloom_spec *spec,
				 const struct slm_postgres_options *options,
				 struct pg_outside *outside,
				 struct slm_db **out, struct sqloom_error *err)
{
	struct postgres *db = slm_calloc(1, sizeof(*db));
	enum sqloom_status status;

	if (!db) {
		slm_pgoutside_free(outside);
		return slm_error_nomem(err);
	}
	slm_arena_init(&db->arena);
	db->outside = outside;
	db->base.ops = &ops;
	db->base.variants = 2;
	db->base.splits = true;
	db->spec = spec;
	db->options = *options;
	db->nsessions = spec->nsessions;
	db->sessions = slm_arena_zalloc(&db->arena, spec->nsessions,
					sizeof(*db->sessions));
	if (!db->sessions) {
		db->nsessions = 0;
		slm_db_free(&db->base);
		return slm_error_nomem(err);
	}
	for (unsigned i = 0; i < spec->nsessions; i++) {
		db->sessions[i].owner = db;
		db->sessions[i].call = i;
	}
	status = open_all(db, err);
	if (status)
		slm_db_free(&db->base);
	else
		*out = &db->base;
	return status;
}

enum sqloom_status slm_postgres_open(const struct sqloom_spec *spec,
				     const struct slm_postgres_options *options,
				     struct slm_db **out,
				     struct sqloom_error *err)
{
	return slm_pgdb_open(spec, options, NULL, out, err);
}
