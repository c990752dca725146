/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session of the spec on a connection of its own: sending a step, taking its
 * results, its values (postgres_wait.c: who waits for whom). Part of the PostgreSQL implementation
 * of db.h.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "db/postgres_internal.h"
#include "sql/sql.h"

#define PREPARED_SHORT "sqloom_short"
#define PREPARED_BEGIN "sqloom_begin"
#define PATIENCE_US 2000  /* for statements that hardly ever wait */
#define RESUMED_US 300	  /* and for those that nobody is in the way of now */
#define EXPIRE_POLL_MS 20 /* between two questions whether to go on */

/* ---- Opening, resetting, closing --------------------------------------- */

static enum sqloom_status settings(struct pg_session *session,
				   struct sqloom_error *err)
{
	const struct postgres *db = session->owner;
	const char *level = db->options.isolation[session->call];
	struct slm_buf sql;
	enum sqloom_status status;

	slm_buf_init(&sql);
	slm_buf_puts(&sql, PG_SETTINGS);
	if (level)
		slm_buf_printf(&sql,
			       "; SET default_transaction_isolation = '%s'",
			       level);
	if (db->may_deadlock)
		slm_buf_puts(&sql,
			     "; SET deadlock_timeout = '" PG_DEADLOCK_LONG_MS
			     "'");
	if (db->superuser)
		slm_buf_puts(&sql, "; SET lc_messages = 'C'");
	/* It waits for its turn. */
	if (db->version >= 140000)
		slm_buf_puts(&sql, "; SET idle_session_timeout = 0");
	session->deadlock = session->deadlock_after = PG_DEADLOCK_LONG;
	status = slm_buf_failed(&sql) ?
			 slm_error_nomem(err) :
			 slm_pg_exec(&session->pg, "set up a session", sql.data,
				     NULL, err);
	slm_buf_deinit(&sql);
	return status;
}

static bool is_preparable(const struct slm_pg_statement *statement)
{
	switch (statement->kind) {
	case SLM_PG_QUERY:
	case SLM_PG_INSERT:
	case SLM_PG_UPDATE:
	case SLM_PG_DELETE:
	case SLM_PG_MERGE:
	case SLM_PG_BEGIN:
	case SLM_PG_COMMIT:
	case SLM_PG_ROLLBACK:
		return true;
	default:
		return false;
	}
}

/* What is sent in front of steps: together with them, where they are prepared,
 * too. */
static enum sqloom_status prepare_extras(struct pg_session *session,
					 struct sqloom_error *err)
{
	PGconn *conn = session->pg.conn;
	PGresult *begin, *shorten = NULL;

	session->prepared_extras = false;
	if (session->owner->cloning)
		return SQLOOM_OK;
	begin = PQprepare(conn, PREPARED_BEGIN, "BEGIN", 0, NULL);
	if (session->owner->may_deadlock)
		shorten =
			PQprepare(conn, PREPARED_SHORT, PG_SET_SHORT, 0, NULL);
	session->prepared_extras =
		PQresultStatus(begin) == PGRES_COMMAND_OK &&
		(!shorten || PQresultStatus(shorten) == PGRES_COMMAND_OK);
	PQclear(begin);
	PQclear(shorten);
	return PQstatus(conn) == CONNECTION_BAD ?
		       slm_pg_broken(&session->pg, err) :
		       SQLOOM_OK;
}

/* Steps of one statement are prepared, which saves parsing and planning them
 * in each run. What cannot be prepared now is sent as text. */
static enum sqloom_status prepare_steps(struct pg_session *session,
					struct sqloom_error *err)
{
	enum sqloom_status status = prepare_extras(session, err);

	if (status)
		return status;
	for (unsigned i = 0; i < session->nsteps + 2; i++) {
		struct pg_step *step =
			i < session->nsteps  ? &session->steps[i] :
			i == session->nsteps ? &session->commit :
					       &session->rollback;
		char name[sizeof(step->prepared)];
		PGresult *result;

		step->prepared[0] = '\0';
		if (session->owner->cloning || !step->parsed.parsed ||
		    step->parsed.nstatements != 1 || step->has_parameters ||
		    !is_preparable(&step->parsed.statements[0]))
			continue;
		snprintf(name, sizeof(name), "sqloom_%u", i);
		result = PQprepare(session->pg.conn, name, step->text, 0, NULL);
		if (PQresultStatus(result) == PGRES_COMMAND_OK)
			memcpy(step->prepared, name, sizeof(name));
		PQclear(result);
		if (PQstatus(session->pg.conn) == CONNECTION_BAD)
			return slm_pg_broken(&session->pg, err);
	}
	return SQLOOM_OK;
}

enum sqloom_status slm_pgsession_open(struct pg_session *session,
				      struct sqloom_error *err)
{
	struct postgres *db = session->owner;
	enum sqloom_status status;

	status = slm_pg_open(&session->pg, db->options.conninfo, db->database,
			     session->name, err);
	if (status)
		return status;
	slm_pg_pin(&session->pg, db->options.worker, &db->pinned);
	db->pids[session->call] = session->pg.pid;
	session->watch.pid = session->pg.pid;
	for (unsigned i = 0; i < session->nsteps; i++) {
		const struct slm_pg_step *parsed = &session->steps[i].parsed;

		session->watch.locks_tables |= parsed->truncates ||
					       parsed->locks_tables;
		session->watch.goes_back |= slm_pgstep_goes_back(parsed);
	}
	status = settings(session, err);
	return status ? status : prepare_steps(session, err);
}

static void drop_results(struct pg_session *session)
{
	for (unsigned i = 0; i < session->nresults; i++)
		PQclear(session->results[i]);
	session->nresults = 0;
}

void slm_pgsession_close(struct pg_session *session)
{
	drop_results(session);
	slm_free(session->results);
	session->results = NULL;
	session->results_capacity = 0;
	slm_pg_close(&session->pg);
}

static void out_of_transaction(struct pg_session *session)
{
	session->watch.uncertain = false;
	session->holds = false;
	session->deadlock = session->deadlock_after;
}

static void forget_variables(struct pg_session *session)
{
	for (unsigned i = 0; i < session->nvariables; i++) {
		slm_free(session->variables[i].text);
		session->variables[i].text = NULL;
		session->variables[i].known = false;
	}
}

enum sqloom_status slm_pgsession_roll_back(struct pg_session *session,
					   struct sqloom_error *err)
{
	PGTransactionStatusType state;
	enum sqloom_status status = SQLOOM_OK;

	if (PQtransactionStatus(session->pg.conn) == PQTRANS_ACTIVE)
		status = slm_pg_cancel(&session->pg, err);
	state = PQtransactionStatus(session->pg.conn);
	if (!status && (state == PQTRANS_INTRANS || state == PQTRANS_INERROR))
		status = slm_pg_exec(&session->pg, "roll back", "ROLLBACK",
				     NULL, err);
	return status;
}

enum sqloom_status slm_pgsession_reset(struct pg_session *session,
				       struct sqloom_error *err)
{
	enum sqloom_status status;

	drop_results(session);
	forget_variables(session);
	status = slm_pgsession_roll_back(session, err);
	if (!status && session->stateful) {
		status = slm_pg_exec(&session->pg, "reset a session",
				     "DISCARD ALL", NULL, err);
		if (!status)
			status = settings(session, err);
		if (!status)
			status = prepare_steps(session, err);
	}
	out_of_transaction(session);
	session->blocked = false;
	session->blockers = 0;
	session->stale = false;
	session->split_open = false;
	session->inserted = false;
	session->stateful = false;
	session->step = NULL;
	return status;
}

bool slm_pgsession_in_transaction(const struct pg_session *session)
{
	PGTransactionStatusType state = PQtransactionStatus(session->pg.conn);

	return state == PQTRANS_INTRANS || state == PQTRANS_INERROR;
}

/* ---- Values ------------------------------------------------------------ */

static struct pg_variable *find_variable(const struct pg_session *session,
					 const char *name)
{
	for (unsigned i = 0; i < session->nvariables; i++)
		if (strcmp(session->variables[i].name, name) == 0)
			return &session->variables[i];
	return NULL;
}

bool slm_pgsession_text(const struct pg_session *session, const char *sql,
			struct slm_buf *out)
{
	char name[SLM_SQL_NAME_MAX + 1];
	const char *next;

	while ((next = slm_pg_next_parameter(sql, name, sizeof(name)))) {
		const struct pg_variable *variable =
			find_variable(session, name);

		if (!variable) {
			slm_buf_append(out, sql, (size_t)(next - sql));
		} else {
			slm_buf_append(out, sql,
				       (size_t)(next - sql) - strlen(name) - 1);
			if (!slm_pg_literal(variable->text, variable->type,
					    variable->numeric, out))
				return false;
		}
		sql = next;
	}
	slm_buf_puts(out, sql);
	return !slm_buf_failed(out);
}

/* What a later cast to the column's type is called, where an untyped literal
 * might be understood as something else. */
static const char *cast_of(Oid type)
{
	static const struct {
		Oid type;
		const char *name;
	} casts[] = {
		{ 16, "bool" },		 { 17, "bytea" },
		{ 114, "json" },	 { 1082, "date" },
		{ 1083, "time" },	 { 1114, "timestamp" },
		{ 1184, "timestamptz" }, { 1186, "interval" },
		{ 2950, "uuid" },	 { 3802, "jsonb" },
	};

	for (size_t i = 0; i < sizeof(casts) / sizeof(casts[0]); i++)
		if (casts[i].type == type)
			return casts[i].name;
	return NULL;
}

static bool is_numeric(Oid type)
{
	static const Oid types[] = { 20, 21, 23, 26, 700, 701, 1700 };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i] == type)
			return true;
	return false;
}

static enum sqloom_status capture(struct pg_session *session,
				  const PGresult *result,
				  struct sqloom_error *err)
{
	for (int c = 0; c < PQnfields(result); c++) {
		struct pg_variable *variable =
			find_variable(session, PQfname(result, c));

		if (!variable)
			continue;
		slm_free(variable->text);
		variable->text = NULL;
		variable->known = true;
		variable->numeric = is_numeric(PQftype(result, c));
		variable->type = cast_of(PQftype(result, c));
		if (PQntuples(result) == 0 || PQgetisnull(result, 0, c))
			continue;
		variable->text = slm_strdup(PQgetvalue(result, 0, c));
		if (!variable->text)
			return slm_error_nomem(err);
	}
	return SQLOOM_OK;
}

/* ---- Generated keys ---------------------------------------------------- */

/* Has another session's statement that waits begun to take keys? */
static bool others_take_keys(const struct pg_session *session)
{
	const struct postgres *db = session->owner;

	for (unsigned i = 0; i < db->nsessions; i++)
		if (&db->sessions[i] != session && db->sessions[i].blocked &&
		    db->sessions[i].inserted)
			return true;
	return false;
}

/* The statement is done, or waits. */
static enum sqloom_status see_keys(struct pg_session *session,
				   struct sqloom_error *err)
{
	if (!session->inserted)
		return SQLOOM_OK;
	return slm_pggenerated_ends(session->owner, session->call,
				    session->step, others_take_keys(session),
				    err);
}

/* ---- The end of a step ------------------------------------------------- */

/* Is the order of the rows of the n-th statement part of its result? */
static bool is_ordered(const struct pg_step *step, unsigned n)
{
	const struct slm_pg_step *parsed = &step->parsed;

	return parsed->parsed && n < parsed->nstatements ?
		       parsed->statements[n].ordered :
		       true;
}

static const char *step_name(const struct pg_session *session)
{
	const struct pg_step *step = session->step;

	if (step->spec)
		return step->spec->name;
	return step == &session->teardown ? "teardown" :
	       step == &session->commit	  ? "commit" :
	       step == &session->setup	  ? "setup" :
					    "rollback";
}

static struct pg_session *by_pid(struct postgres *db, long pid)
{
	for (unsigned i = 0; i < db->nsessions; i++)
		if (db->pids[i] == pid)
			return &db->sessions[i];
	return NULL;
}

/* Says who waited for whom: the server's detail has a line for each, "Process
 * 12 waits for ShareLock on transaction 34; blocked by process 56.", with
 * numbers that differ from run to run. */
static enum sqloom_status tell_circle(struct pg_session *victim,
				      const PGresult *from,
				      struct slm_result *result,
				      struct sqloom_error *err)
{
	struct postgres *db = victim->owner;
	const char *line = PQresultErrorField(from, PG_DIAG_MESSAGE_DETAIL);
	const char *text = result->message, *between = ": ";

	for (; text && line && *line;
	     line += strcspn(line, "\n"), line += *line == '\n') {
		const char *by = strstr(line, "blocked by process ");
		long pid, other;
		const struct pg_session *waits, *holds;

		if (sscanf(line, "Process %ld", &pid) != 1 || !by ||
		    sscanf(by, "blocked by process %ld", &other) != 1)
			continue;
		waits = by_pid(db, pid);
		holds = by_pid(db, other);
		if (!waits || !waits->step || !holds)
			continue;
		text = slm_arena_printf(db->run, "%s%s%s (%s) waits for %s",
					text, between,
					db->spec->sessions[waits->call].name,
					step_name(waits),
					db->spec->sessions[holds->call].name);
		between = ", ";
	}
	result->message = text;
	return text ? SQLOOM_OK : slm_error_nomem(err);
}

static enum sqloom_status convert(struct pg_session *session,
				  const struct slm_result **out, bool *failed,
				  struct sqloom_error *err)
{
	struct slm_result **link = (struct slm_result **)out;
	enum sqloom_status status = SQLOOM_OK;
	/* The BEGIN of a split statement is not told. */
	unsigned first = session->splitting ? 1 : 0;

	*out = NULL;
	*failed = false;
	for (unsigned i = 0; !status && i < session->nresults; i++) {
		const PGresult *from = session->results[i];

		if (i < first && !slm_pgresult_failed(from))
			continue;
		status = slm_pgresult(session->owner, from,
				      is_ordered(session->step, i - first),
				      link, err);
		if (status)
			break;
		if ((*link)->error == SLM_ERROR_DEADLOCK)
			status = tell_circle(session, from, *link, err);
		if (status)
			break;
		link = (struct slm_result **)&(*link)->next;
		*failed |= slm_pgresult_failed(from);
		status = capture(session, from, err);
	}
	return status;
}

/* A split statement that failed leaves nothing behind. */
static enum sqloom_status end_split(struct pg_session *session, bool failed,
				    struct sqloom_error *err)
{
	if (session->step == &session->commit ||
	    session->step == &session->rollback) {
		session->split_open = false;
		return SQLOOM_OK;
	}
	if (!session->splitting)
		return SQLOOM_OK;
	session->splitting = false;
	if (failed) {
		if (session->watch.uncertain)
			slm_pgsnap_mark_sequences(session->owner);
		session->watch.uncertain = false;
		return slm_pg_exec(&session->pg, "roll back", "ROLLBACK", NULL,
				   err);
	}
	session->split_open = true;
	return SQLOOM_OK;
}

/* The connection is lost: the server's last words say why, if it had any. */
static enum sqloom_status tell_loss(struct pg_session *session,
				    enum sqloom_status status,
				    struct sqloom_error *err)
{
	const char *words = NULL;

	for (unsigned i = 0; session->pg.lost && i < session->nresults; i++)
		if (slm_pgresult_failed(session->results[i]))
			words = PQresultErrorField(session->results[i],
						   PG_DIAG_MESSAGE_PRIMARY);
	return words ? slm_error_set(err, SQLOOM_DATABASE,
				     "the connection of %s to the server is "
				     "lost: %s; see the server's log for why "
				     "it ended, then start again",
				     session->name, words) :
		       status;
}

static enum sqloom_status done(struct pg_session *session,
			       struct slm_db_answer *answer,
			       struct sqloom_error *err)
{
	struct postgres *db = session->owner;
	enum sqloom_status status;
	/* What waited had locks meanwhile that others may wait for. */
	bool kept_locks = session->step->keeps_locks && !session->blocked;
	bool failed = false;

	if (session->blocked) {
		session->blocked = false;
		session->blockers = 0;
		db->blocked &= ~(1u << session->call);
	}
	status = see_keys(session, err);
	session->inserted = false;
	memset(answer, 0, sizeof(*answer));
	if (PQstatus(session->pg.conn) == CONNECTION_BAD)
		return tell_loss(session, slm_pg_broken(&session->pg, err),
				 err);
	if (!status)
		status = convert(session, &answer->result, &failed, err);
	drop_results(session);
	if (!status)
		status = end_split(session, failed, err);
	slm_pgwait_gives_way(session, kept_locks);
	slm_pgwait_see_undone(session);
	if (!slm_pgsession_in_transaction(session))
		out_of_transaction(session);
	if (PQstatus(session->pg.conn) == CONNECTION_BAD)
		return slm_pg_broken(&session->pg, err);
	return status;
}

/* ---- Waiting ----------------------------------------------------------- */

/* goes_on said no. */
static enum sqloom_status stopped(struct pg_session *session,
				  struct sqloom_error *err)
{
	struct postgres *db = session->owner;
	enum sqloom_status status = slm_pg_cancel(&session->pg, err);

	if (status)
		return status;
	db->base.interrupted = true;
	return slm_error_set(
		err, SQLOOM_LIMIT, "%s step \"%s\" of session \"%s\"%s",
		db->over_limit ? "cancelled" : "stopped in the middle of",
		step_name(session), db->spec->sessions[session->call].name,
		!db->over_limit	 ? "" :
		session->blocked ? ", which waited for a lock longer than "
				   "--statement-limit" :
				   ", which took longer than "
				   "--statement-limit");
}

static enum sqloom_status keep(struct pg_session *session, PGresult *result,
			       struct sqloom_error *err)
{
	if (session->nresults == session->results_capacity) {
		unsigned grown = session->results_capacity * 2 + 4;
		PGresult **list = slm_reallocarray(session->results, grown,
						   sizeof(*list));

		if (!list) {
			PQclear(result);
			return slm_error_nomem(err);
		}
		session->results = list;
		session->results_capacity = grown;
	}
	session->results[session->nresults++] = result;
	return SQLOOM_OK;
}

/* COPY has nothing to read here, and what it writes is not kept. */
static enum sqloom_status refuse_copy(struct pg_session *session,
				      ExecStatusType kind)
{
	char *line;

	if (kind == PGRES_COPY_IN || kind == PGRES_COPY_BOTH)
		PQputCopyEnd(session->pg.conn, "a step has no data for COPY "
					       "FROM STDIN: write INSERT");
	while (kind == PGRES_COPY_OUT &&
	       PQgetCopyData(session->pg.conn, &line, 0) > 0)
		PQfreemem(line);
	return SQLOOM_OK;
}

/* Takes results until the step is done (*finished) or the connection has no
 * further one yet. */
static enum sqloom_status take(struct pg_session *session, bool *finished,
			       struct sqloom_error *err)
{
	PGconn *conn = session->pg.conn;
	enum sqloom_status status = SQLOOM_OK;

	*finished = false;
	while (!status && !*finished && !PQisBusy(conn)) {
		PGresult *result = PQgetResult(conn);
		ExecStatusType kind;

		/* In a pipeline, the end of one of its statements. */
		*finished = !result &&
			    (PQpipelineStatus(conn) == PQ_PIPELINE_OFF ||
			     PQstatus(conn) == CONNECTION_BAD);
		if (!result)
			continue;
		kind = PQresultStatus(result);
		if (kind == PGRES_PIPELINE_SYNC)
			*finished = true;
		if (kind == PGRES_PIPELINE_SYNC ||
		    kind == PGRES_PIPELINE_ABORTED ||
		    (session->unseen && kind == PGRES_COMMAND_OK)) {
			session->unseen = false;
			PQclear(result);
			if (*finished && !PQexitPipelineMode(conn))
				status = slm_pg_broken(&session->pg, err);
			continue;
		}
		if (kind == PGRES_COPY_IN || kind == PGRES_COPY_OUT ||
		    kind == PGRES_COPY_BOTH) {
			PQclear(result);
			status = refuse_copy(session, kind);
			continue;
		}
		status = keep(session, result, err);
	}
	return status;
}

static enum sqloom_status blocked(struct pg_session *session,
				  struct slm_db_answer *answer,
				  struct sqloom_error *err)
{
	struct postgres *db = session->owner;

	if (!session->blocked) {
		session->blocked = true;
		session->blocked_since = ++db->blockings;
		db->blocked |= 1u << session->call;
	}
	*answer = (struct slm_db_answer){ .blocked = true,
					  .blocked_by = session->blockers,
					  .what = session->step->waits_for };
	return see_keys(session, err);
}

/* Has something of the session's statement arrived? */
static enum sqloom_status look(struct pg_session *session, bool *ready,
			       struct sqloom_error *err)
{
	if (!slm_pg_consume(&session->pg))
		return slm_pg_broken(&session->pg, err);
	*ready = !PQisBusy(session->pg.conn);
	return SQLOOM_OK;
}

/* The first session in mask that has something to tell; NULL: none. If first
 * (may be NULL) has, it is that one: the end of a deadlock's victim lets
 * others go on before we look, so it is looked at last. */
static enum sqloom_status find_ready(struct postgres *db, uint32_t mask,
				     struct pg_session *first,
				     struct pg_session **out,
				     struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;
	bool ready = false;

	*out = NULL;
	for (unsigned i = 0; !status && i < db->nsessions; i++) {
		if (!(mask & (1u << i)) || *out)
			continue;
		status = look(&db->sessions[i], &ready, err);
		if (!status && ready)
			*out = &db->sessions[i];
	}
	if (status || !first)
		return status;
	status = look(first, &ready, err);
	if (!status && ready)
		*out = first;
	return status;
}

/* Waits until one of the sessions in mask has something to tell. */
static enum sqloom_status wait_for_any(struct postgres *db, uint32_t mask,
				       struct pg_session *first,
				       struct pg_session **out,
				       struct sqloom_error *err)
{
	uint64_t began_ns = slm_clock_ns();

	for (;;) {
		struct pollfd fds[SLM_CALLS_MAX];
		enum sqloom_status status =
			find_ready(db, mask, first, out, err);

		if (status || *out)
			return status;
		for (unsigned i = 0; i < db->nsessions; i++)
			fds[i] = (struct pollfd){
				.fd = mask & (1u << i) ?
					      PQsocket(
						      db->sessions[i].pg.conn) :
					      -1,
				.events = POLLIN
			};
		(void)poll(fds, db->nsessions, EXPIRE_POLL_MS);
		if (!slm_pgwait_goes_on(db,
					(slm_clock_ns() - began_ns) / 1000000))
			return stopped(&db->sessions[__builtin_ctz(mask)], err);
	}
}

/* Does nobody hold anything that the step was ever seen to wait for? A guess,
 * which only decides how soon the server is asked. Those that are ready for
 * nothing but the end of their transaction hold nothing new. */
static bool hardly_waits(const struct pg_session *session)
{
	const struct postgres *db = session->owner;
	const struct slm_pg_step *parsed = &session->step->parsed;
	bool whole = parsed->locks_tables || parsed->truncates;

	if (parsed->begins_only || parsed->ends)
		return true;
	for (unsigned i = 0; i < db->nsessions; i++) {
		const struct pg_session *other = &db->sessions[i];

		if (!(session->step->blocked_by & (1u << i)))
			continue;
		if (other->stateful || other->blocked || other->holds ||
		    (whole && slm_pgsession_in_transaction(other)))
			return false;
	}
	return true;
}

/* Goes on with the statement that was sent until it is done or blocked. */
static enum sqloom_status go_on(struct pg_session *session,
				struct slm_db_answer *answer,
				struct sqloom_error *err)
{
	struct postgres *db = session->owner;
	struct slm_pg_wait wait = slm_pgwait_how(db);
	enum sqloom_status status;
	bool finished = false;

	wait.patience_us = session->blocked	 ? RESUMED_US :
			   hardly_waits(session) ? PATIENCE_US :
						   0;
	for (;;) {
		int pids[SLM_PG_BLOCKERS_MAX];
		enum slm_pg_settled settled;
		struct pg_session *first;
		unsigned n;

		status = slm_pg_settle(&session->pg, &wait, &settled, pids, &n,
				       err);
		if (status)
			return tell_loss(session, status, err);
		if (settled == SLM_PG_STOPPED)
			return stopped(session, err);
		if (settled == SLM_PG_DONE) {
			status = take(session, &finished, err);
			if (status)
				return status;
			if (finished)
				return done(session, answer, err);
			continue;
		}
		session->blockers = slm_pgwait_calls_of(db, pids, n);
		session->stale = false;
		((struct pg_step *)session->step)->blocked_by |=
			session->blockers;
		status = blocked(session, answer, err);
		if (status || !slm_pgwait_closes_circle(session))
			return status;
		/* A deadlock, which the server ends. If the circle is open now,
		 * it has already: we shall see. */
		status = slm_pgwait_ask_all(db, err);
		if (status)
			return status;
		if (!slm_pgwait_closes_circle(session))
			continue;
		status = wait_for_any(db,
				      slm_pgwait_reaches(db, session->blockers),
				      session, &first, err);
		if (status || first != session)
			return status;
	}
}

enum sqloom_status slm_pgsession_resume(struct pg_session *session,
					bool *went_on,
					struct slm_db_answer *answer,
					struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	*went_on = false;
	if (!slm_pg_consume(&session->pg))
		return slm_pg_broken(&session->pg, err);
	if (PQisBusy(session->pg.conn)) {
		if (!session->stale)
			return SQLOOM_OK;
		status = slm_pg_yield(&session->pg, err);
		if (status)
			return status;
	}
	if (PQisBusy(session->pg.conn)) {
		status = slm_pgwait_ask(session, err);
		if (status || session->blockers)
			return status;
	}
	*went_on = true;
	return go_on(session, answer, err);
}

enum sqloom_status slm_pgsession_expire(struct postgres *db,
					struct pg_session **session,
					struct slm_db_answer *answer,
					struct sqloom_error *err)
{
	enum sqloom_status status;

	do {
		status = wait_for_any(db, db->blocked, NULL, session, err);
		if (!status)
			status = go_on(*session, answer, err);
	} while (!status && answer->blocked);
	return status;
}

/* ---- A step ------------------------------------------------------------ */

/* Behind something of ours that is prepared, in one message. */
static bool send_behind(struct pg_session *session, const char *front)
{
	PGconn *conn = session->pg.conn;

	return PQenterPipelineMode(conn) &&
	       PQsendQueryPrepared(conn, front, 0, NULL, NULL, NULL, 0) &&
	       PQsendQueryPrepared(conn, session->step->prepared, 0, NULL, NULL,
				   NULL, 0) &&
	       PQpipelineSync(conn);
}

static bool send_text(struct pg_session *session)
{
	const struct pg_step *step = session->step;
	struct slm_buf sql;
	bool sent;

	slm_buf_init(&sql);
	if (session->splitting)
		slm_buf_puts(&sql, "BEGIN;");
	if (step->has_parameters)
		slm_pgsession_text(session, step->text, &sql);
	else
		slm_buf_puts(&sql, step->text);
	sent = !slm_buf_failed(&sql) && PQsendQuery(session->pg.conn, sql.data);
	slm_buf_deinit(&sql);
	return sent;
}

/* shorten: with a short deadlock_timeout. */
static enum sqloom_status send(struct pg_session *session, bool shorten,
			       struct sqloom_error *err)
{
	const struct pg_step *step = session->step;
	bool sent;

	session->unseen = shorten;
	if (shorten)
		sent = send_behind(session, PREPARED_SHORT);
	else if (session->splitting && *step->prepared &&
		 session->prepared_extras)
		sent = send_behind(session, PREPARED_BEGIN);
	else if (*step->prepared && !session->splitting)
		sent = PQsendQueryPrepared(session->pg.conn, step->prepared, 0,
					   NULL, NULL, NULL, 0);
	else
		sent = send_text(session);
	if (sent)
		return SQLOOM_OK;
	return PQstatus(session->pg.conn) == CONNECTION_BAD ?
		       slm_pg_broken(&session->pg, err) :
		       slm_error_nomem(err);
}

enum sqloom_status slm_pgsession_step(struct pg_session *session,
				      const struct pg_step *step,
				      struct slm_db_answer *answer,
				      struct sqloom_error *err)
{
	bool inside = slm_pgsession_in_transaction(session);
	enum sqloom_status status = SQLOOM_OK;
	bool front = false;

	session->watch.failed = PQtransactionStatus(session->pg.conn) ==
				PQTRANS_INERROR;
	if (!session->owner->cloning)
		status = slm_pgsnap_before(session->owner, &session->watch,
					   step, inside, step->split, err);
	if (!status)
		status = slm_pgwait_choose_deadlock(session, step, &front, err);
	if (status)
		return status;
	if (session->owner->ddl_seen)
		return slm_error_set(err, SQLOOM_UNSUPPORTED,
				     "the schema is changed in a step");
	if (!inside && !step->split && step->parsed.unknown_writes &&
	    !step->parsed.control)
		session->owner->base.blind =
			"a step in autocommit may commit in its middle (DO, "
			"CALL), and no other call gets a turn there: begin a "
			"transaction before it";
	session->step = step;
	session->splitting = step->split && !inside;
	session->stateful |= step->parsed.session_state;
	session->holds |= !step->certain || !step->parsed.pure;
	session->inserted = step->takes_keys;
	if (step->takes_keys)
		status = slm_pggenerated_begins(session->owner, session->call,
						step, err);
	if (status)
		return status;
	status = send(session, front, err);
	return status ? status : go_on(session, answer, err);
}
