/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The questions before a restore, all in one round trip: who is in a
 * transaction, which tables were written, is the schema what it was. At the
 * same time the monitor connection puts back the sequences that have moved,
 * which takes as long as all the rest together. Part of keep.h.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "db/keep_internal.h"

#define SQL_SHOWN "200" /* characters of a statement */
#define SEQUENCE_LOCK_TIMEOUT "500ms"

/* In the order in which they are sent. */
enum question {
	ASK_SESSIONS,
	ASK_PREPARED,
	ASK_TABLES,
	ASK_SCHEMA,
	ASK_SEQUENCES,
	QUESTIONS,
};

static const char *const names[QUESTIONS] = {
	"sqloom_k0", "sqloom_k1", "sqloom_k2", "sqloom_k3", "sqloom_k4",
};

/* ---- Preparing --------------------------------------------------------- */

/* A session that is idle may be in a transaction of the server's own, for a
 * moment: it catches up with what others did to the catalogue, or ends. */
static void put_sessions(const struct slm_keep *keep, struct slm_buf *sql)
{
	const struct postgres *db = slm_keep_of(keep);

	slm_buf_printf(
		sql,
		"SELECT a.pid, coalesce(nullif(a.application_name, ''), 'no "
		"name'), a.state, pg_catalog.left(pg_catalog.regexp_replace("
		"a.query, '\\s+', ' ', 'g'), " SQL_SHOWN ") FROM "
		"pg_catalog.pg_stat_get_activity(NULL) AS a WHERE a.datid = %u "
		"AND a.xact_start IS NOT NULL AND a.state IS DISTINCT FROM "
		"'idle' AND a.backend_type = 'client backend' AND a.pid <> %d "
		"AND a.pid <> %d ORDER BY a.xact_start",
		keep->database, db->admin.pid, db->monitor.pid);
}

/* All that can be seen of a sequence, if there are not too many. Else only
 * where those are that were used, which is cheaper by half. Those that have
 * moved are put back by the same statement. */
static void put_sequences(const struct slm_keep *keep, struct slm_buf *sql)
{
	const struct pg_catalogue *catalogue = &slm_keep_of(keep)->catalogue;

	slm_buf_puts(sql, "SELECT pg_catalog.setval(p.oid, p.last_value, "
			  "p.is_called) FROM ");
	if (!keep->exact || catalogue->nsequences == 0) {
		slm_buf_puts(sql, PG_SCHEMA
			     ".position AS p WHERE p.set = 'r' AND pg_catalog."
			     "pg_sequence_last_value(p.oid) IS DISTINCT FROM "
			     "CASE WHEN p.is_called THEN p.last_value END");
		return;
	}
	for (uint32_t i = 0; i < catalogue->nsequences; i++) {
		const struct pg_sequence *sequence = &catalogue->sequences[i];
		long long value = sequence->last_value;
		const char *is_called = sequence->is_called ? "true" : "false";

		slm_buf_printf(sql,
			       "%sSELECT %u::pg_catalog.oid, %lld::int8, %s "
			       "FROM %s WHERE last_value <> %lld OR is_called "
			       "<> %s",
			       i ? " UNION ALL " : "(", sequence->oid, value,
			       is_called, sequence->quoted, value, is_called);
	}
	slm_buf_puts(sql, ") AS p (oid, last_value, is_called)");
}

static void put_question(const struct slm_keep *keep, enum question question,
			 struct slm_buf *sql)
{
	switch (question) {
	case ASK_SESSIONS:
		put_sessions(keep, sql);
		break;
	case ASK_PREPARED:
		/* The view behind it asks for names, too. */
		slm_buf_printf(
			sql,
			"SELECT p.gid FROM pg_catalog.pg_prepared_xact() "
			"AS p (xid, gid, prepared, owner, dbid) WHERE "
			"p.dbid = %u",
			keep->database);
		break;
	case ASK_TABLES:
		slm_buf_puts(sql,
			     "DELETE FROM " PG_SCHEMA ".dirty RETURNING relid");
		break;
	case ASK_SCHEMA:
		slm_buf_puts(sql, slm_keep_schema_sql(keep));
		break;
	case ASK_SEQUENCES:
		put_sequences(keep, sql);
		break;
	case QUESTIONS:
		break;
	}
}

static enum sqloom_status failed(struct slm_pg *pg, const PGresult *result,
				 struct sqloom_error *err)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *what = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	if (!result || PQstatus(pg->conn) == CONNECTION_BAD)
		return slm_pg_broken(pg, err);
	slm_error_set(err, SQLOOM_DATABASE,
		      "cannot find out what the test wrote: %s",
		      what ? what : "the server gives no reason");
	if (err && state)
		snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", state);
	return SQLOOM_DATABASE;
}

enum sqloom_status slm_keep_prepare(struct slm_keep *keep,
				    struct sqloom_error *err)
{
	struct postgres *db = slm_keep_of(keep);
	/* A session that is still to be ended may hold a sequence. */
	enum sqloom_status status =
		slm_pg_exec(&db->monitor, "set up a connection",
			    "SET synchronous_commit = off; SET lock_timeout = "
			    "'" SEQUENCE_LOCK_TIMEOUT "'",
			    NULL, err);

	for (int i = 0; !status && i < QUESTIONS; i++) {
		PGconn *conn = i == ASK_SEQUENCES ? db->monitor.conn :
						    db->admin.conn;
		struct slm_buf sql;
		PGresult *result = NULL;

		slm_buf_init(&sql);
		put_question(keep, (enum question)i, &sql);
		if (slm_buf_failed(&sql))
			status = slm_error_nomem(err);
		else
			result = PQprepare(conn, names[i], sql.data, 0, NULL);
		if (!status && PQresultStatus(result) != PGRES_COMMAND_OK)
			status = failed(i == ASK_SEQUENCES ? &db->monitor :
							     &db->admin,
					result, err);
		PQclear(result);
		slm_buf_deinit(&sql);
	}
	return status;
}

/* ---- Asking ------------------------------------------------------------ */

static bool send(struct slm_keep *keep, enum question question)
{
	return PQsendQueryPrepared(slm_keep_of(keep)->admin.conn,
				   names[question], 0, NULL, NULL, NULL, 0);
}

static bool is_asked(const struct slm_keep *keep, int question)
{
	return question == ASK_PREPARED ? keep->may_prepare :
	       question == ASK_SCHEMA	? !keep->watches_schema :
					  true;
}

static bool send_all(struct slm_keep *keep)
{
	return send(keep, ASK_SESSIONS) &&
	       (!is_asked(keep, ASK_PREPARED) || send(keep, ASK_PREPARED)) &&
	       send(keep, ASK_TABLES) &&
	       (!is_asked(keep, ASK_SCHEMA) || send(keep, ASK_SCHEMA)) &&
	       PQpipelineSync(slm_keep_of(keep)->admin.conn);
}

/* The result of one question, and the end of it. */
static enum sqloom_status take(struct postgres *db, PGresult **out,
			       struct sqloom_error *err)
{
	PGresult *result = PQgetResult(db->admin.conn), *end;

	if (PQresultStatus(result) != PGRES_TUPLES_OK) {
		enum sqloom_status status = failed(&db->admin, result, err);

		PQclear(result);
		while (!db->admin.lost &&
		       (end = PQgetResult(db->admin.conn)) != NULL)
			PQclear(end);
		return status;
	}
	*out = result;
	while ((end = PQgetResult(db->admin.conn)) != NULL)
		PQclear(end);
	return SQLOOM_OK;
}

static void take_sync(struct postgres *db)
{
	PQclear(PQgetResult(db->admin.conn));
}

/* Takes all results, whatever they are; the first error counts. */
static enum sqloom_status take_all(struct slm_keep *keep,
				   struct slm_keep_answer *answer,
				   struct sqloom_error *err)
{
	struct postgres *db = slm_keep_of(keep);
	PGresult *schema = NULL;
	PGresult **const results[] = { &answer->sessions, &answer->prepared,
				       &answer->tables, &schema };
	enum sqloom_status status = SQLOOM_OK;

	for (int i = 0; i < ASK_SEQUENCES && !db->admin.lost; i++) {
		enum sqloom_status one;

		if (!is_asked(keep, i))
			continue;
		one = take(db, results[i], status ? NULL : err);
		status = status ? status : one;
	}
	answer->same_schema = !schema ||
			      !strcmp(PQgetvalue(schema, 0, 0), keep->schema);
	PQclear(schema);
	if (!db->admin.lost)
		take_sync(db);
	return status;
}

/* ---- Sequences --------------------------------------------------------- */

static enum sqloom_status begin_sequences(struct slm_keep *keep,
					  struct sqloom_error *err)
{
	struct slm_pg *monitor = &slm_keep_of(keep)->monitor;

	assert(!keep->at_sequences);
	if (!PQsendQueryPrepared(monitor->conn, names[ASK_SEQUENCES], 0, NULL,
				 NULL, NULL, 0))
		return slm_pg_broken(monitor, err);
	keep->at_sequences = true;
	return SQLOOM_OK;
}

enum sqloom_status slm_keep_end_sequences(struct slm_keep *keep,
					  struct sqloom_error *err)
{
	struct slm_pg *monitor = &slm_keep_of(keep)->monitor;
	enum sqloom_status status = SQLOOM_OK;
	PGresult *result;

	if (!keep->at_sequences)
		return SQLOOM_OK;
	keep->at_sequences = false;
	while ((result = PQgetResult(monitor->conn)) != NULL) {
		if (PQresultStatus(result) != PGRES_TUPLES_OK && !status)
			status = failed(monitor, result, err);
		PQclear(result);
		if (monitor->lost)
			break;
	}
	return status;
}

/* ---- All of it --------------------------------------------------------- */

enum sqloom_status slm_keep_ask(struct slm_keep *keep,
				struct slm_keep_answer *answer,
				struct sqloom_error *err)
{
	struct postgres *db = slm_keep_of(keep);
	enum sqloom_status status;

	memset(answer, 0, sizeof(*answer));
	status = begin_sequences(keep, err);
	if (status)
		return status;
	if (!PQenterPipelineMode(db->admin.conn) || !send_all(keep))
		return slm_pg_broken(&db->admin, err);
	status = take_all(keep, answer, err);
	if (!db->admin.lost && !PQexitPipelineMode(db->admin.conn))
		status = slm_pg_broken(&db->admin, err);
	return status;
}

void slm_keep_answer_clear(struct slm_keep_answer *answer)
{
	PQclear(answer->sessions);
	PQclear(answer->prepared);
	PQclear(answer->tables);
	memset(answer, 0, sizeof(*answer));
}

/* ---- Ending ------------------------------------------------------------ */

static enum sqloom_status roll_back_prepared(struct postgres *db,
					     const char *name,
					     struct sqloom_error *err)
{
	char *literal = PQescapeLiteral(db->admin.conn, name, strlen(name));
	struct slm_buf sql;

	slm_buf_init(&sql);
	if (literal)
		slm_buf_printf(&sql, "ROLLBACK PREPARED %s", literal);
	PQfreemem(literal);
	if (!literal || slm_buf_failed(&sql)) {
		slm_buf_deinit(&sql);
		return slm_error_nomem(err);
	}
	return slm_pgkeep_exec(db, "roll back a prepared transaction", &sql,
			       NULL, err);
}

enum sqloom_status slm_keep_end(struct slm_keep *keep,
				const struct slm_keep_answer *answer,
				struct slm_buf *left, struct sqloom_error *err)
{
	int pids[SLM_KEEP_SESSIONS_MAX];
	unsigned npids = 0;
	enum sqloom_status status;

	for (int i = 0;
	     i < PQntuples(answer->sessions) && npids < SLM_KEEP_SESSIONS_MAX;
	     i++) {
		const PGresult *sessions = answer->sessions;

		slm_buf_printf(left, "server process %s (%s, %s): %s\n",
			       PQgetvalue(sessions, i, 0),
			       PQgetvalue(sessions, i, 1),
			       PQgetvalue(sessions, i, 2),
			       PQgetvalue(sessions, i, 3));
		pids[npids++] = atoi(PQgetvalue(sessions, i, 0));
	}
	status = slm_outside_terminate(keep->base, pids, npids, err);
	for (int i = 0; !status && i < PQntuples(answer->prepared); i++) {
		slm_buf_printf(left, "prepared transaction '%s'\n",
			       PQgetvalue(answer->prepared, i, 0));
		status = roll_back_prepared(slm_keep_of(keep),
					    PQgetvalue(answer->prepared, i, 0),
					    err);
	}
	return status;
}
