/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a statement blocked until we take another step? The server is asked, with
 * the function that isolationtester uses.
 *
 * isolationtester asks only after 10 ms without an answer, so a lock that is
 * freed by itself within that time is never seen by it. We get the same
 * outcome without the 10 ms by telling two kinds of waiting apart: a session
 * is stuck if all who stand in its way are idle or stuck themselves. Nobody
 * but us can change that. Else somebody in its way still runs, and the answer
 * counts only when 10 ms have passed (step.c).
 */
#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "isolation/isolation.h"

#define QUESTION "sqloom_isolation_blocked"
#define ANSWER_WAIT_MS 100

/* What the server says about one of our sessions. */
struct answer {
	bool none;	   /* the session was done before there was one */
	bool blocked;	   /* by one of ours, or for a safe snapshot */
	unsigned blockers; /* those of ours, a bit per session */
};

static enum sqloom_status failed(struct sqloom_isolation *iso,
				 struct sqloom_error *err)
{
	const char *said = PQerrorMessage(iso->control.pg.conn);

	slm_iso_err(iso, "lock wait query failed: %s", said);
	return slm_error_set(err, SQLOOM_DATABASE,
			     "cannot ask the server who waits for whom: %.*s; "
			     "see the server's log",
			     (int)strcspn(said, "\n"), said);
}

/* ---- One question ------------------------------------------------------- */

/* The processes of our sessions, as an array literal. */
static void list_processes(const struct sqloom_isolation *iso, char *text,
			   size_t size)
{
	size_t used = 0;

	for (unsigned i = 0; i < iso->nsessions; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%d",
					 i ? "," : "{",
					 iso->sessions[i].pg.pid);
	assert(used + 2 <= size);
	memcpy(text + used, "}", 2);
}

static enum sqloom_status prepare(struct sqloom_isolation *iso,
				  struct sqloom_error *err)
{
	char processes[SLM_SPEC_SESSIONS_MAX * 12 + 4];
	char sql[sizeof(processes) + 320];
	PGresult *result;
	bool ok;

	list_processes(iso, processes, sizeof(processes));
	snprintf(sql, sizeof(sql),
		 "SELECT pg_catalog.pg_isolation_test_session_is_blocked($1, "
		 "'%s'), pg_catalog.array_to_string("
		 "pg_catalog.pg_blocking_pids($1) OPERATOR(pg_catalog.||) "
		 "pg_catalog.pg_safe_snapshot_blocking_pids($1), ',')",
		 processes);
	result = PQprepare(iso->control.pg.conn, QUESTION, sql, 0, NULL);
	ok = PQresultStatus(result) == PGRES_COMMAND_OK;
	PQclear(result);
	iso->question_prepared = ok;
	return ok ? SQLOOM_OK : failed(iso, err);
}

void slm_iso_drain(struct sqloom_isolation *iso)
{
	PGresult *result;

	if (!iso->question_open)
		return;
	while ((result = PQgetResult(iso->control.pg.conn)) != NULL)
		PQclear(result);
	iso->question_open = false;
}

static enum sqloom_status send_question(struct sqloom_isolation *iso, int pid,
					struct sqloom_error *err)
{
	char text[16];
	const char *values[] = { text };
	enum sqloom_status status = SQLOOM_OK;

	slm_iso_drain(iso);
	if (!iso->question_prepared)
		status = prepare(iso, err);
	if (status)
		return status;
	snprintf(text, sizeof(text), "%d", pid);
	if (!PQsendQueryPrepared(iso->control.pg.conn, QUESTION, 1, values,
				 NULL, NULL, 0))
		return failed(iso, err);
	iso->question_open = true;
	return SQLOOM_OK;
}

/* The sessions in "12,34,12", a bit each; others are left out. */
static unsigned read_blockers(const struct sqloom_isolation *iso,
			      const char *text)
{
	unsigned blockers = 0;

	while (*text) {
		char *end;
		long pid = strtol(text, &end, 10);

		for (unsigned i = 0; i < iso->nsessions; i++)
			if (iso->sessions[i].pg.pid == pid)
				blockers |= 1U << i;
		text = *end ? end + 1 : end;
	}
	return blockers;
}

static enum sqloom_status take_answer(struct sqloom_isolation *iso,
				      struct answer *answer,
				      struct sqloom_error *err)
{
	PGresult *result = PQgetResult(iso->control.pg.conn);
	enum sqloom_status status = SQLOOM_OK;

	if (PQresultStatus(result) == PGRES_TUPLES_OK &&
	    PQntuples(result) == 1) {
		answer->blocked = PQgetvalue(result, 0, 0)[0] == 't';
		answer->blockers = read_blockers(iso, PQgetvalue(result, 0, 1));
	} else {
		status = failed(iso, err);
	}
	PQclear(result);
	slm_iso_drain(iso);
	return status;
}

/*
 * Asks about `about` while `watched` runs; answer->none when watched has
 * something for us first. No input of watched is read here: its messages are
 * parsed where isolationtester parses them.
 */
static enum sqloom_status ask(struct sqloom_isolation *iso,
			      struct slm_iso_session *about,
			      struct slm_iso_session *watched,
			      struct answer *answer, struct sqloom_error *err)
{
	PGconn *control = iso->control.pg.conn;
	enum sqloom_status status = send_question(iso, about->pg.pid, err);
	struct pollfd fds[2] = {
		{ .fd = PQsocket(control), .events = POLLIN },
		{ .fd = PQsocket(watched->pg.conn), .events = POLLIN },
	};

	memset(answer, 0, sizeof(*answer));
	while (!status && PQisBusy(control)) {
		if (poll(fds, 2, ANSWER_WAIT_MS) <= 0) {
			status = slm_iso_go_on(iso, err);
			continue;
		}
		if (fds[1].revents) {
			answer->none = true;
			return SQLOOM_OK;
		}
		if (!PQconsumeInput(control))
			status = failed(iso, err);
	}
	return status ? status : take_answer(iso, answer, err);
}

/* ---- Stuck -------------------------------------------------------------- */

static unsigned active_sessions(const struct sqloom_isolation *iso)
{
	unsigned active = 0;

	for (unsigned i = 0; i < iso->nsessions; i++)
		if (iso->sessions[i].active)
			active |= 1U << i;
	return active;
}

/* path: the sessions that were asked about on the way here. */
static enum sqloom_status find_stuck(struct sqloom_isolation *iso,
				     struct slm_iso_session *session,
				     struct slm_iso_session *watched,
				     unsigned path, bool *blocked, bool *stuck,
				     struct sqloom_error *err)
{
	struct answer answer, again;
	enum sqloom_status status = ask(iso, session, watched, &answer, err);
	unsigned active = answer.blockers & active_sessions(iso);
	bool theirs, them = true;

	*blocked = !status && answer.blocked;
	*stuck = *blocked && answer.blockers && !active;
	path |= 1U << (session - iso->sessions);
	/* A cycle is a deadlock, which the server resolves. */
	if (!*blocked || !active || (active & path))
		return status;
	for (unsigned i = 0; !status && them && i < iso->nsessions; i++)
		if (active & (1U << i))
			status = find_stuck(iso, &iso->sessions[i], watched,
					    path, &theirs, &them, err);
	if (status || !them)
		return status;
	/* They are stuck now; were they all along? */
	status = ask(iso, session, watched, &again, err);
	*stuck = !status && again.blocked && again.blockers == answer.blockers;
	return status;
}

enum sqloom_status slm_iso_ask(struct sqloom_isolation *iso,
			       struct slm_iso_session *session, bool *blocked,
			       bool *stuck, struct sqloom_error *err)
{
	*blocked = *stuck = false;
	return find_stuck(iso, session, session, 0, blocked, stuck, err);
}
