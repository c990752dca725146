/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits for whom among the sessions, as the server says, and who of them
 * is to be the victim of a deadlock. Part of the PostgreSQL implementation of
 * db.h.
 *
 * Deadlocks. The server looks for a cycle when a wait has lasted for
 * deadlock_timeout, and whoever looks first in a closed cycle is the victim.
 * So that it is the same one every time, a session that others wait for, and
 * that could therefore close a cycle, gets a short timeout before its step,
 * and all others a long one: the call that closes the cycle is the victim.
 *
 * Whom a blocked session waits for is asked again only when one of those has
 * done something that may have given a lock back (`stale`). Whatever else lets
 * it go on is seen on its own connection.
 */
#include "db/postgres_internal.h"

bool slm_pgwait_goes_on(void *userdata, uint64_t ms)
{
	struct postgres *db = userdata;
	uint64_t limit = db->options.statement_limit_ms;

	db->over_limit = limit && ms >= limit;
	if (db->over_limit)
		return false;
	return !db->options.goes_on ||
	       db->options.goes_on(db->options.goes_on_userdata);
}

struct slm_pg_wait slm_pgwait_how(struct postgres *db)
{
	return (struct slm_pg_wait){ .monitor = &db->monitor,
				     .ours = db->pids,
				     .nours = db->nsessions,
				     .goes_on = slm_pgwait_goes_on,
				     .userdata = db };
}

uint32_t slm_pgwait_calls_of(const struct postgres *db, const int *pids,
			     unsigned npids)
{
	uint32_t mask = 0;

	for (unsigned i = 0; i < npids; i++)
		for (unsigned j = 0; j < db->nsessions; j++)
			if (db->pids[j] == pids[i])
				mask |= 1u << j;
	return mask;
}

uint32_t slm_pgwait_reaches(const struct postgres *db, uint32_t mask)
{
	uint32_t all = 0, next = mask;

	while (next & ~all) {
		all |= next;
		next = 0;
		for (unsigned i = 0; i < db->nsessions; i++)
			if ((all & (1u << i)) && db->sessions[i].blocked)
				next |= db->sessions[i].blockers;
	}
	return all;
}

static bool is_waited_for(const struct pg_session *session)
{
	const struct postgres *db = session->owner;

	for (unsigned i = 0; i < db->nsessions; i++)
		if (db->sessions[i].blocked &&
		    (slm_pgwait_reaches(db, db->sessions[i].blockers) &
		     (1u << session->call)))
			return true;
	return false;
}

bool slm_pgwait_closes_circle(const struct pg_session *session)
{
	return slm_pgwait_reaches(session->owner, session->blockers) &
	       (1u << session->call);
}

enum sqloom_status slm_pgwait_ask(struct pg_session *session,
				  struct sqloom_error *err)
{
	struct slm_pg_wait wait = slm_pgwait_how(session->owner);
	int pids[SLM_PG_BLOCKERS_MAX];
	unsigned n;
	enum sqloom_status status =
		slm_pg_blockers(&wait, session->pg.pid, pids, &n, err);

	if (status)
		return status;
	session->blockers = slm_pgwait_calls_of(session->owner, pids, n);
	/* With nobody in its way it goes on, and must be looked at. */
	session->stale = !session->blockers;
	return SQLOOM_OK;
}

void slm_pgwait_gives_way(struct pg_session *session, bool kept_locks)
{
	struct postgres *db = session->owner;

	if (kept_locks &&
	    PQtransactionStatus(session->pg.conn) == PQTRANS_INTRANS)
		return;
	for (unsigned i = 0; i < db->nsessions; i++)
		if (db->sessions[i].blockers & (1u << session->call))
			db->sessions[i].stale = true;
}

enum sqloom_status slm_pgwait_ask_all(struct postgres *db,
				      struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	for (unsigned i = 0; !status && i < db->nsessions; i++)
		if (db->sessions[i].blocked)
			status = slm_pgwait_ask(&db->sessions[i], err);
	return status;
}

enum sqloom_status slm_pgwait_choose_deadlock(struct pg_session *session,
					      const struct pg_step *step,
					      bool *front,
					      struct sqloom_error *err)
{
	enum pg_deadlock wanted = is_waited_for(session) ? PG_DEADLOCK_SHORT :
							   PG_DEADLOCK_LONG;
	bool inside = slm_pgsession_in_transaction(session);

	*front = false;
	if (!session->owner->may_deadlock || session->deadlock == wanted ||
	    step->parsed.ends || step->parsed.begins_only ||
	    PQtransactionStatus(session->pg.conn) == PQTRANS_INERROR)
		return SQLOOM_OK;
	session->deadlock = wanted;
	if (!inside)
		session->deadlock_after = wanted;
	*front = inside && wanted == PG_DEADLOCK_SHORT && *step->prepared &&
		 session->prepared_extras;
	if (*front)
		return SQLOOM_OK;
	return slm_pg_exec(
		&session->pg, "set deadlock_timeout",
		wanted == PG_DEADLOCK_SHORT ?
			(inside ?
				 PG_SET_SHORT :
				 "SET deadlock_timeout = '" PG_DEADLOCK_SHORT_MS
				 "'") :
			(inside ?
				 "SET LOCAL deadlock_timeout = '" PG_DEADLOCK_LONG_MS
				 "'" :
				 "SET deadlock_timeout = '" PG_DEADLOCK_LONG_MS
				 "'"),
		NULL, err);
}

void slm_pgwait_see_undone(struct pg_session *session)
{
	const struct slm_pg_step *parsed = &session->step->parsed;

	/* COMMIT AND CHAIN, too */
	if (parsed->ends)
		session->deadlock = session->deadlock_after;
	if (slm_pgstep_goes_back(parsed) &&
	    session->deadlock != session->deadlock_after)
		session->deadlock = PG_DEADLOCK_UNKNOWN;
}
