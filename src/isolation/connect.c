/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of a spec: one for each session, and one for setups,
 * teardowns and questions. They are made ready all at once, and kept for the
 * next spec: a reset one costs a tenth of a new one. What DISCARD ALL resets
 * is what a new connection would have.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/error.h"
#include "isolation/isolation.h"

#define POLL_MS 100
#define CONNECTIONS_MAX (SLM_SPEC_SESSIONS_MAX + 1)

/* The way of a connection, new or kept, to a spec. */
enum stage {
	CONNECTING,   /* the start of a new one */
	ROLLING_BACK, /* of a kept one, where a transaction is open */
	DISCARDING,   /* all that the spec before has set */
	NAMING,	      /* application_name */
	READY,
};

struct way {
	struct sqloom_isolation *iso;
	struct slm_iso_session *session;
	const char *name; /* isolation/NAME */
	unsigned index;	  /* 0: control; sessions from 1 on */
	enum stage stage;
	PostgresPollingStatusType wants; /* while CONNECTING */
};

static struct slm_iso_session *session_at(struct sqloom_isolation *iso,
					  unsigned index)
{
	return index ? &iso->sessions[index - 1] : &iso->control;
}

/* ---- Notices ------------------------------------------------------------ */

static void print_notice(void *userdata, const char *message)
{
	struct slm_iso_session *session = userdata;

	slm_iso_out(session->of, "%s: %s", session->pg.name, message);
	session->notices++;
	session->of->new_notice = true;
}

static void drop_notice(void *userdata, const char *message)
{
	(void)userdata;
	(void)message;
}

/* ---- Failures ----------------------------------------------------------- */

static enum sqloom_status not_connected(struct way *way,
					struct sqloom_error *err)
{
	const char *said = PQerrorMessage(way->session->pg.conn);

	slm_iso_err(way->iso, "Connection %u failed: %s", way->index, said);
	return slm_error_set(err, SQLOOM_DATABASE,
			     "cannot connect to PostgreSQL: %.*s; check --db "
			     "and the PG* variables",
			     (int)strcspn(said, "\n"), said);
}

static enum sqloom_status not_named(struct way *way, struct sqloom_error *err)
{
	const char *said = PQerrorMessage(way->session->pg.conn);

	slm_iso_err(way->iso, "setting of application name failed: %s", said);
	return slm_error_set(err, SQLOOM_DATABASE,
			     "cannot set application_name: %.*s",
			     (int)strcspn(said, "\n"), said);
}

/* ---- One connection ----------------------------------------------------- */

static void close_session(struct slm_iso_session *session)
{
	slm_pg_close(&session->pg);
	session->open = false;
	session->active = NULL;
}

static enum sqloom_status start(struct way *way, struct sqloom_error *err)
{
	struct sqloom_isolation *iso = way->iso;
	struct slm_iso_session *session = way->session;
	/* What the environment or the string says wins over a fallback. */
	const char *keywords[] = { "fallback_application_name", "dbname",
				   NULL };
	const char *values[] = { way->name, iso->conninfo, NULL };

	close_session(session);
	session->of = iso;
	session->notices = 0;
	session->pg.conn = PQconnectStartParams(keywords, values, 1);
	if (!session->pg.conn)
		return slm_error_nomem(err);
	session->open = true;
	if (session == &iso->control)
		PQsetNoticeProcessor(session->pg.conn, drop_notice, NULL);
	else
		PQsetNoticeProcessor(session->pg.conn, print_notice, session);
	if (PQstatus(session->pg.conn) == CONNECTION_BAD)
		return not_connected(way, err);
	way->stage = CONNECTING;
	way->wants = PGRES_POLLING_WRITING;
	return SQLOOM_OK;
}

/* A kept connection began with the name of an earlier spec. */
static bool send_name(struct way *way)
{
	static const char sql[] =
		"SELECT pg_catalog.set_config('application_name', coalesce($1, "
		"pg_catalog.current_setting('application_name')) "
		"OPERATOR(pg_catalog.||) '/' OPERATOR(pg_catalog.||) $2, "
		"false)";
	const struct slm_iso_session *session = way->session;
	const char *values[] = { session->named ? way->name : NULL,
				 session->pg.name };

	return PQsendQueryParams(session->pg.conn, sql, 2, NULL, values, NULL,
				 NULL, 0);
}

static bool send_stage(struct way *way, enum stage stage)
{
	PGconn *conn = way->session->pg.conn;

	way->stage = stage;
	if (stage == ROLLING_BACK)
		return PQsendQuery(conn, "ROLLBACK");
	if (stage == DISCARDING)
		return PQsendQuery(conn, "DISCARD ALL");
	assert(stage == NAMING);
	return send_name(way);
}

static enum sqloom_status begin(struct way *way, struct sqloom_error *err)
{
	struct slm_iso_session *session = way->session;
	bool sent;

	if (!session->open)
		return start(way, err);
	session->used = true;
	if (PQtransactionStatus(session->pg.conn) == PQTRANS_IDLE)
		sent = send_stage(way, DISCARDING);
	else
		sent = send_stage(way, ROLLING_BACK);
	return sent ? SQLOOM_OK : start(way, err);
}

static enum sqloom_status connected(struct way *way, struct sqloom_error *err)
{
	struct slm_iso_session *session = way->session;
	const char *name;

	name = PQparameterStatus(session->pg.conn, "application_name");
	session->named = name && strcmp(name, way->name) == 0;
	session->used = false;
	session->pg.pid = PQbackendPID(session->pg.conn);
	if (session == &way->iso->control)
		way->iso->question_prepared = false;
	return send_stage(way, NAMING) ? SQLOOM_OK : not_named(way, err);
}

static enum sqloom_status go_on_connecting(struct way *way,
					   struct sqloom_error *err)
{
	way->wants = PQconnectPoll(way->session->pg.conn);
	if (way->wants == PGRES_POLLING_OK)
		return connected(way, err);
	return way->wants == PGRES_POLLING_FAILED ? not_connected(way, err) :
						    SQLOOM_OK;
}

/* Takes the answer to what the stage sent. */
static bool take_result(PGconn *conn)
{
	PGnotify *notify;
	PGresult *result;
	bool ok = true;

	while ((result = PQgetResult(conn)) != NULL) {
		ExecStatusType status = PQresultStatus(result);

		ok &= status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
		PQclear(result);
	}
	/* What a kept one listened for while it was in its last spec. */
	while ((notify = PQnotifies(conn)) != NULL)
		PQfreemem(notify);
	return ok && PQstatus(conn) == CONNECTION_OK;
}

/* There is something to read or to write. */
static enum sqloom_status go_on(struct way *way, struct sqloom_error *err)
{
	PGconn *conn = way->session->pg.conn;

	if (way->stage == CONNECTING)
		return go_on_connecting(way, err);
	if (PQconsumeInput(conn) && PQisBusy(conn))
		return SQLOOM_OK;
	if (!take_result(conn)) {
		if (way->stage == NAMING)
			return not_named(way, err);
		/* A kept one that cannot be reset is replaced. */
		return start(way, err);
	}
	if (way->stage == NAMING)
		way->stage = READY;
	else if (!send_stage(way, way->stage + 1))
		return start(way, err);
	return SQLOOM_OK;
}

static short events(const struct way *way)
{
	return way->stage == CONNECTING && way->wants == PGRES_POLLING_WRITING ?
		       POLLOUT :
		       POLLIN;
}

/* ---- All of them -------------------------------------------------------- */

static enum sqloom_status wait_for_all(struct way *ways, unsigned n,
				       struct sqloom_error *err)
{
	struct pollfd fds[CONNECTIONS_MAX];
	enum sqloom_status status = SQLOOM_OK;

	for (;;) {
		unsigned left = 0;

		for (unsigned i = 0; i < n; i++) {
			bool ready = ways[i].stage == READY;

			left += !ready;
			/* poll() passes over a negative one. */
			fds[i].fd = ready ? -1 :
					    PQsocket(ways[i].session->pg.conn);
			fds[i].events = events(&ways[i]);
			fds[i].revents = 0;
		}
		if (!left)
			return SQLOOM_OK;
		if (poll(fds, n, POLL_MS) <= 0)
			status = slm_iso_go_on(ways[0].iso, err);
		for (unsigned i = 0; !status && i < n; i++)
			if (fds[i].revents)
				status = go_on(&ways[i], err);
		if (status)
			return status;
	}
}

enum sqloom_status slm_iso_connect(struct sqloom_isolation *iso,
				   struct sqloom_error *err)
{
	const struct sqloom_spec *spec = iso->script.spec;
	struct way ways[CONNECTIONS_MAX];
	enum sqloom_status status = SQLOOM_OK;
	const char *name =
		slm_arena_printf(&iso->arena, "isolation/%s", iso->name);

	if (!name)
		return slm_error_nomem(err);
	iso->nsessions = spec->nsessions;
	iso->question_prepared = false;
	for (unsigned i = 0; !status && i <= iso->nsessions; i++) {
		ways[i] = (struct way){ .iso = iso,
					.name = name,
					.index = i,
					.session = session_at(iso, i) };
		ways[i].session->pg.name = i ? spec->sessions[i - 1].name :
					       "control connection";
		status = begin(&ways[i], err);
	}
	if (!status)
		status = wait_for_all(ways, iso->nsessions + 1, err);
	for (unsigned i = 0; !status && i <= iso->nsessions; i++)
		slm_pg_pin(&session_at(iso, i)->pg, iso->cpu, &iso->pinned);
	return status;
}

void slm_iso_disconnect(struct sqloom_isolation *iso, bool all)
{
	for (unsigned i = 0; i <= SLM_SPEC_SESSIONS_MAX; i++) {
		struct slm_iso_session *session = session_at(iso, i);
		PGTransactionStatusType now;

		if (!session->open)
			continue;
		now = PQtransactionStatus(session->pg.conn);
		if (all || now == PQTRANS_ACTIVE || now == PQTRANS_UNKNOWN)
			close_session(session);
	}
}

void slm_iso_cancel_all(struct sqloom_isolation *iso)
{
	for (unsigned i = 0; i <= SLM_SPEC_SESSIONS_MAX; i++) {
		struct slm_iso_session *session = session_at(iso, i);
		PGcancel *handle;
		char message[256];

		if (!session->open ||
		    PQtransactionStatus(session->pg.conn) != PQTRANS_ACTIVE)
			continue;
		handle = PQgetCancel(session->pg.conn);
		if (!handle)
			continue;
		/* Best effort: the connection is closed next. */
		(void)PQcancel(handle, message, sizeof(message));
		PQfreeCancel(handle);
	}
}
