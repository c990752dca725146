/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server is asked, and told, about connections that are not ours: who
 * waits for whom, who is in the way, deadlock_timeout, ending them. Everything
 * goes over the monitor connection, which waits for nobody.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "db/outside_internal.h"

#define TERMINATE_LIMIT_MS 10000
#define TERMINATE_POLL_NS 1000000

/* ---- Waits ------------------------------------------------------------- */

static bool is_among(const int *pids, unsigned n, int pid)
{
	for (unsigned i = 0; i < n; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

enum sqloom_status slm_outside_blockers(struct slm_db *base, int pid,
					const int *ours, unsigned nours,
					int *blockers, unsigned *nblockers,
					bool *others, struct sqloom_error *err)
{
	struct postgres *db = slm_outside_of(base);
	struct slm_pg_wait wait = { .monitor = &db->monitor };
	int all[SLM_PG_BLOCKERS_MAX];
	unsigned n, found = 0;
	bool strangers = false;
	enum sqloom_status status = slm_pg_blockers(&wait, pid, all, &n, err);

	if (status)
		return status;
	for (unsigned i = 0; i < n; i++) {
		if (is_among(ours, nours, all[i]))
			blockers[found++] = all[i];
		else
			strangers = true;
	}
	*nblockers = found;
	if (others)
		*others = strangers;
	return SQLOOM_OK;
}

/* A role that may not must not try: its transaction would fail. */
static bool ask_right(struct postgres *db, int pid)
{
	const char *sql =
		db->version >= 150000 ?
			"SELECT r.rolsuper OR pg_catalog."
			"has_parameter_privilege(r.oid, 'deadlock_timeout', "
			"'SET') FROM pg_catalog.pg_stat_get_activity($1) AS a "
			"JOIN pg_catalog.pg_roles AS r ON r.oid = a.usesysid" :
			"SELECT r.rolsuper FROM "
			"pg_catalog.pg_stat_get_activity($1) AS a JOIN "
			"pg_catalog.pg_roles AS r ON r.oid = a.usesysid";
	char text[16];
	const char *values[] = { text };
	PGresult *result = NULL;
	bool may;

	snprintf(text, sizeof(text), "%d", pid);
	if (slm_pg_exec_params(&db->monitor, "ask what a role may do", sql, 1,
			       values, &result, NULL))
		return false;
	may = PQntuples(result) == 1 && *PQgetvalue(result, 0, 0) == 't';
	PQclear(result);
	return may;
}

const char *slm_outside_deadlock(struct slm_db *base,
				 struct slm_outside_connection *connection,
				 bool closes)
{
	struct postgres *db = slm_outside_of(base);
	bool local = connection->deadlock_local;
	bool inside = connection->inside;

	/* The server's own limit is long enough for those that do not close a
	 * circle: whoever does, looks for it after a millisecond. What is set
	 * for good is only taken back where no rollback brings it again. */
	if (closes ? local || connection->deadlock_session :
		     !local && (inside || !connection->deadlock_session))
		return NULL;
	if (!connection->may_asked) {
		connection->may_deadlock = ask_right(db, connection->pid);
		connection->may_asked = true;
	}
	if (!connection->may_deadlock || connection->failed)
		return NULL;
	if (inside) {
		connection->deadlock_local = closes;
		return closes ? "SET LOCAL deadlock_timeout = '1ms'" :
				"SET LOCAL deadlock_timeout TO DEFAULT";
	}
	connection->deadlock_local = false;
	connection->deadlock_session = closes;
	return closes ? "SET deadlock_timeout = '1ms'" :
			"RESET deadlock_timeout";
}

/* ---- In the way -------------------------------------------------------- */

enum sqloom_status slm_pgoutside_in_the_way(struct postgres *db,
					    const struct sqloom_error *why,
					    struct sqloom_error *err)
{
	static const char sql[] =
		"SELECT a.pid, coalesce(nullif(a.application_name, ''), 'no "
		"name'), left(regexp_replace(a.query, '\\s+', ' ', 'g'), 120) "
		"FROM pg_catalog.pg_stat_activity AS a WHERE a.datname = "
		"current_database() AND a.pid NOT IN ($1, "
		"pg_backend_pid()) AND EXISTS (SELECT FROM "
		"pg_catalog.pg_locks AS l WHERE l.pid = a.pid AND l.granted "
		"AND (l.locktype = 'transactionid' OR l.locktype = 'relation' "
		"AND l.relation >= 16384 AND l.mode <> 'AccessShareLock')) "
		"ORDER BY a.xact_start LIMIT 1";
	char pid[16];
	const char *values[] = { pid };
	PGresult *result = NULL;
	enum sqloom_status status = why->status;

	if (err)
		*err = *why;
	if (strcmp(why->sqlstate, "55P03") != 0 || db->monitor.lost)
		return status;
	snprintf(pid, sizeof(pid), "%d", db->admin.pid);
	if (slm_pg_exec_params(&db->monitor, "look who is in the way", sql, 1,
			       values, &result, NULL))
		return status;
	if (PQntuples(result) == 1)
		status = slm_error_set(
			err, SQLOOM_DATABASE,
			"the database cannot be put back after the run: "
			"server process %s (%s) holds a lock there; its last "
			"statement: %s; end its transaction, and start again",
			PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1),
			PQgetvalue(result, 0, 2));
	PQclear(result);
	return status;
}

/* ---- Server processes -------------------------------------------------- */

void slm_outside_pin(struct slm_db *base, int pid)
{
	struct postgres *db = slm_outside_of(base);

	slm_pg_pin_process(&db->admin, pid, db->options.worker, &db->pinned);
}

enum sqloom_status slm_outside_cancel(struct slm_db *base, int pid,
				      struct sqloom_error *err)
{
	char text[16];
	const char *values[] = { text };

	snprintf(text, sizeof(text), "%d", pid);
	return slm_pg_exec_params(&slm_outside_of(base)->monitor,
				  "cancel a statement",
				  "SELECT pg_catalog.pg_cancel_backend($1)", 1,
				  values, NULL, err);
}

/* "{12,34}" */
static bool put_pids(struct slm_buf *out, const int *pids, unsigned npids)
{
	for (unsigned i = 0; i < npids; i++)
		slm_buf_printf(out, "%s%d", i ? "," : "{", pids[i]);
	slm_buf_putc(out, '}');
	return !slm_buf_failed(out);
}

static enum sqloom_status wait_until_gone(struct slm_pg *monitor,
					  const char *const *pids,
					  struct sqloom_error *err)
{
	const struct timespec pause = { .tv_nsec = TERMINATE_POLL_NS };
	uint64_t began_ns = slm_clock_ns();

	for (;;) {
		PGresult *result;
		enum sqloom_status status = slm_pg_exec_params(
			monitor, "look who is connected",
			"SELECT count(*) FROM "
			"pg_catalog.pg_stat_get_activity(NULL) AS a WHERE "
			"a.pid = ANY ($1::int[])",
			1, pids, &result, err);
		bool gone;

		if (status)
			return status;
		gone = *PQgetvalue(result, 0, 0) == '0';
		PQclear(result);
		if (gone)
			return SQLOOM_OK;
		if (slm_clock_ns() - began_ns >
		    TERMINATE_LIMIT_MS * UINT64_C(1000000))
			return slm_error_set(
				err, SQLOOM_DATABASE,
				"server processes %s of programs were told to "
				"end and have not done so in %d seconds: look "
				"at the server's log, and restart it",
				pids[0], TERMINATE_LIMIT_MS / 1000);
		(void)nanosleep(&pause, NULL);
	}
}

enum sqloom_status slm_outside_terminate(struct slm_db *base, const int *pids,
					 unsigned npids,
					 struct sqloom_error *err)
{
	struct postgres *db = slm_outside_of(base);
	const char *values[1];
	struct slm_buf list;
	enum sqloom_status status;

	if (npids == 0)
		return SQLOOM_OK;
	slm_buf_init(&list);
	if (!put_pids(&list, pids, npids)) {
		slm_buf_deinit(&list);
		return slm_error_nomem(err);
	}
	values[0] = list.data;
	/* Only those that are there: a warning each else. */
	status = slm_pg_exec_params(
		&db->monitor, "end the connections of programs",
		"SELECT pg_catalog.pg_terminate_backend(a.pid) FROM "
		"pg_catalog.pg_stat_get_activity(NULL) AS a WHERE a.pid = ANY "
		"($1::int[])",
		1, values, NULL, err);
	if (!status)
		status = wait_until_gone(&db->monitor, values, err);
	slm_buf_deinit(&list);
	return status;
}

enum sqloom_status slm_outside_repeatable(struct slm_db *base, bool *repeatable,
					  struct sqloom_error *err)
{
	PGresult *result;
	enum sqloom_status status = slm_pg_exec(
		&slm_outside_of(base)->monitor, "ask for isolation levels",
		"SELECT pg_catalog.current_setting("
		"'default_transaction_isolation') ~ '^(rep|ser)' OR EXISTS ("
		"SELECT FROM pg_catalog.pg_db_role_setting AS s, "
		"pg_catalog.unnest(s.setconfig) AS c WHERE s.setdatabase IN (0,"
		" (SELECT oid FROM pg_catalog.pg_database WHERE datname = "
		"pg_catalog.current_database())) AND c ~* "
		"'^default_transaction_isolation=(rep|ser)')",
		&result, err);

	if (status)
		return status;
	*repeatable = *PQgetvalue(result, 0, 0) == 't';
	PQclear(result);
	return SQLOOM_OK;
}

void slm_outside_place(struct slm_db *base, struct slm_outside_place *out)
{
	PGconn *conn = slm_outside_of(base)->admin.conn;
	const char *password = PQpass(conn);

	*out = (struct slm_outside_place){
		.host = PQhost(conn),
		.port = PQport(conn),
		.database = PQdb(conn),
		.user = PQuser(conn),
		.password = password && *password ? password : NULL,
	};
}
