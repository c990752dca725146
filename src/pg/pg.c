/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections over libpq. All are non-blocking once open; waiting is poll(2)
 * on the sockets. May use base.
 */
#include "pg/pg.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

/* A statement that has not settled after so many answers of the monitor is
 * slow: from then on we wait between two questions, longer each time. Questions
 * take the CPU that the statement needs. */
#define QUESTIONS_AT_ONCE 2
#define PAUSE_MIN_US 50
#define PAUSE_MAX_US 10000

/* Between two tries to cancel a statement. */
#define CANCEL_MIN_MS 10
#define CANCEL_MAX_MS 1000

#define ASK "sqloom_blockers"
#define ASK_SQL                                                             \
	"SELECT pg_catalog.array_to_string(pg_catalog.pg_blocking_pids($1)" \
	" OPERATOR(pg_catalog.||) "                                         \
	"pg_catalog.pg_safe_snapshot_blocking_pids($1), ',')"

/* ---- Errors ------------------------------------------------------------ */

/* The first line of what libpq says, without "ERROR:  ". */
static const char *first_line(const char *text, char *line, size_t size)
{
	static const char *const prefixes[] = { "ERROR:  ", "FATAL:  ",
						"PANIC:  " };
	size_t n;

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (strncmp(text, prefixes[i], strlen(prefixes[i])) == 0)
			text += strlen(prefixes[i]);
	n = strcspn(text, "\n");
	if (n >= size)
		n = size - 1;
	memcpy(line, text, n);
	line[n] = '\0';
	return line;
}

enum sqloom_status slm_pg_broken(struct slm_pg *pg, struct sqloom_error *err)
{
	char line[300];

	pg->lost = true;
	first_line(PQerrorMessage(pg->conn), line, sizeof(line));
	return slm_error_set(
		err, SQLOOM_DATABASE,
		"the connection of %s to the server is lost: %s; see the "
		"server's log for why it ended, then start again",
		pg->name, *line ? line : "it ended without a word");
}

static enum sqloom_status refused(struct slm_pg *pg, const char *doing,
				  const PGresult *result,
				  struct sqloom_error *err)
{
	const char *message =
		PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	char line[300];
	enum sqloom_status status;

	if (PQstatus(pg->conn) == CONNECTION_BAD)
		return slm_pg_broken(pg, err);
	if (!message)
		message = first_line(PQerrorMessage(pg->conn), line, 300);
	status = slm_error_set(err, SQLOOM_DATABASE, "cannot %s: %s", doing,
			       message);
	slm_pg_add_details(result, err);
	return status;
}

void slm_pg_add_details(const PGresult *result, struct sqloom_error *err)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
	size_t size;

	if (!err)
		return;
	size = strlen(err->message);
	if (hint)
		snprintf(err->message + size, sizeof(err->message) - size,
			 "; the server's hint: %s", hint);
	if (state)
		snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", state);
}

/* ---- Opening and closing ----------------------------------------------- */

static void take_notice(void *userdata, const PGresult *result)
{
	struct slm_pg *pg = userdata;
	struct slm_pg_notice *notice;
	const char *severity, *message, *state;

	if (!pg->notes)
		return;
	severity = PQresultErrorField(result, PG_DIAG_SEVERITY);
	message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	notice = slm_arena_zalloc(pg->notes, 1, sizeof(*notice));
	if (!notice)
		return; /* one less is told */
	notice->severity =
		slm_arena_strdup(pg->notes, severity ? severity : "NOTICE");
	notice->message = slm_arena_strdup(pg->notes, message ? message : "");
	notice->sqlstate = slm_arena_strdup(pg->notes, state ? state : "");
	if (!notice->severity || !notice->message || !notice->sqlstate)
		return;
	*pg->last_notice = notice;
	pg->last_notice = &notice->next;
}

bool slm_pg_is_conninfo(const char *text)
{
	return strncmp(text, "postgresql://", 13) == 0 ||
	       strncmp(text, "postgres://", 11) == 0 ||
	       (strchr(text, '=') && !strchr(text, '/') ?
			true :
			strncmp(text, "host=", 5) == 0 ||
				strncmp(text, "service=", 8) == 0 ||
				strncmp(text, "dbname=", 7) == 0);
}

enum sqloom_status slm_pg_open(struct slm_pg *pg, const char *conninfo,
			       const char *dbname, const char *name,
			       struct sqloom_error *err)
{
	/* A later keyword wins over what an earlier dbname expands to. */
	const char *keywords[] = { "fallback_application_name", "dbname",
				   dbname ? "dbname" : NULL, NULL };
	const char *values[] = { "sqloom", conninfo, dbname, NULL };
	char line[400];

	memset(pg, 0, sizeof(*pg));
	pg->name = name;
	pg->last_notice = &pg->notices;
	pg->conn = PQconnectdbParams(keywords, values, 1);
	if (!pg->conn)
		return slm_error_nomem(err);
	if (PQstatus(pg->conn) != CONNECTION_OK) {
		slm_error_set(err, SQLOOM_DATABASE,
			      "cannot connect to PostgreSQL (%s): %s; check "
			      "--db and the PG* variables, or start a private "
			      "server with --pg-temp",
			      name,
			      first_line(PQerrorMessage(pg->conn), line, 400));
		slm_pg_close(pg);
		return SQLOOM_DATABASE;
	}
	PQsetNoticeReceiver(pg->conn, take_notice, pg);
	pg->pid = PQbackendPID(pg->conn);
	return SQLOOM_OK;
}

void slm_pg_close(struct slm_pg *pg)
{
	if (pg->conn)
		PQfinish(pg->conn);
	pg->conn = NULL;
}

/* ---- Executing --------------------------------------------------------- */

static enum sqloom_status judge(struct slm_pg *pg, const char *doing,
				PGresult *got, PGresult **result,
				struct sqloom_error *err)
{
	ExecStatusType status = PQresultStatus(got);
	enum sqloom_status failed = SQLOOM_OK;

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK &&
	    status != PGRES_EMPTY_QUERY)
		failed = refused(pg, doing, got, err);
	if (failed || !result)
		PQclear(got);
	else
		*result = got;
	return failed;
}

enum sqloom_status slm_pg_exec(struct slm_pg *pg, const char *doing,
			       const char *sql, PGresult **result,
			       struct sqloom_error *err)
{
	return judge(pg, doing, PQexec(pg->conn, sql), result, err);
}

enum sqloom_status slm_pg_exec_params(struct slm_pg *pg, const char *doing,
				      const char *sql, int nparams,
				      const char *const *values,
				      PGresult **result,
				      struct sqloom_error *err)
{
	return judge(pg, doing,
		     PQexecParams(pg->conn, sql, nparams, NULL, values, NULL,
				  NULL, 0),
		     result, err);
}

enum sqloom_status slm_pg_lift_limits(struct slm_pg *pg,
				      struct sqloom_error *err)
{
	int version = PQserverVersion(pg->conn);
	char sql[256];

	snprintf(sql, sizeof(sql),
		 "SET standard_conforming_strings = on; "
		 "SET statement_timeout = 0; "
		 "SET idle_in_transaction_session_timeout = 0%s%s",
		 version >= 140000 ? "; SET idle_session_timeout = 0" : "",
		 version >= 170000 ? "; SET transaction_timeout = 0" : "");
	return slm_pg_exec(pg, "set up a connection", sql, NULL, err);
}

bool slm_pg_consume(struct slm_pg *pg)
{
	PGnotify *notify;

	if (!PQconsumeInput(pg->conn)) {
		pg->lost = true;
		return false;
	}
	while ((notify = PQnotifies(pg->conn)) != NULL) {
		struct slm_pg_notice *notice =
			pg->notes ? slm_arena_zalloc(pg->notes, 1,
						     sizeof(*notice)) :
				    NULL;

		if (notice) {
			notice->message =
				slm_arena_strdup(pg->notes, notify->extra);
			notice->channel =
				slm_arena_strdup(pg->notes, notify->relname);
			notice->pid = notify->be_pid;
		}
		if (notice && notice->message && notice->channel) {
			*pg->last_notice = notice;
			pg->last_notice = &notice->next;
		}
		PQfreemem(notify);
	}
	return true;
}

/* ---- The monitor ------------------------------------------------------- */

static enum sqloom_status prepare(struct slm_pg *monitor,
				  struct sqloom_error *err)
{
	static const Oid types[] = { 23 }; /* int4 */
	enum sqloom_status status;

	if (monitor->monitors)
		return SQLOOM_OK;
	status = judge(monitor, "prepare the question about lock waits",
		       PQprepare(monitor->conn, ASK, ASK_SQL, 1, types), NULL,
		       err);
	monitor->monitors = !status;
	return status;
}

static enum sqloom_status send_question(struct slm_pg *monitor, int pid,
					struct sqloom_error *err)
{
	char text[16];
	const char *values[] = { text };
	enum sqloom_status status = prepare(monitor, err);

	if (status)
		return status;
	snprintf(text, sizeof(text), "%d", pid);
	if (!PQsendQueryPrepared(monitor->conn, ASK, 1, values, NULL, NULL, 0))
		return slm_pg_broken(monitor, err);
	return SQLOOM_OK;
}

static bool is_ours(const struct slm_pg_wait *wait, int pid)
{
	if (!wait->ours)
		return true;
	for (unsigned i = 0; i < wait->nours; i++)
		if (wait->ours[i] == pid)
			return true;
	return false;
}

/* "12,34,12": those of ours, each once. */
static void read_pids(const struct slm_pg_wait *wait, const char *text,
		      int *pids, unsigned *npids)
{
	*npids = 0;
	while (*text) {
		char *end;
		int pid = (int)strtol(text, &end, 10);
		bool known = !is_ours(wait, pid);

		for (unsigned i = 0; i < *npids; i++)
			known |= pids[i] == pid;
		if (!known && *npids < SLM_PG_BLOCKERS_MAX)
			pids[(*npids)++] = pid;
		text = *end ? end + 1 : end;
	}
}

/* Takes the answer, which is there or is waited for. */
static enum sqloom_status take_answer(const struct slm_pg_wait *wait, int *pids,
				      unsigned *npids, struct sqloom_error *err)
{
	struct slm_pg *monitor = wait->monitor;
	PGresult *result = PQgetResult(monitor->conn), *more;
	enum sqloom_status status = SQLOOM_OK;

	if (!result)
		return slm_pg_broken(monitor, err);
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		read_pids(wait, PQgetvalue(result, 0, 0), pids, npids);
	else
		status =
			refused(monitor, "ask who waits for whom", result, err);
	PQclear(result);
	while ((more = PQgetResult(monitor->conn)) != NULL)
		PQclear(more);
	return status;
}

enum sqloom_status slm_pg_blockers(const struct slm_pg_wait *wait, int pid,
				   int *blockers, unsigned *nblockers,
				   struct sqloom_error *err)
{
	enum sqloom_status status = send_question(wait->monitor, pid, err);

	return status ? status : take_answer(wait, blockers, nblockers, err);
}

/* ---- Settling ---------------------------------------------------------- */

/* Is the statement's first result there? */
static bool is_done(struct slm_pg *pg)
{
	return !PQisBusy(pg->conn);
}

/* Waits for one of the two; -1 waits for ever. */
static void wait_for(struct slm_pg *pg, struct slm_pg *monitor, long us)
{
	struct timespec limit = { .tv_sec = us / 1000000,
				  .tv_nsec = us % 1000000 * 1000 };
	struct pollfd fds[2] = {
		{ .fd = PQsocket(pg->conn), .events = POLLIN },
		{ .fd = monitor ? PQsocket(monitor->conn) : -1,
		  .events = POLLIN },
	};

	/* EINTR and errors are seen when the sockets are read. */
	(void)ppoll(fds, 2, us < 0 ? NULL : &limit, NULL);
}

/* One question about pg, until it is answered or pg is done. The monitor has
 * no question open when it returns SQLOOM_OK. */
static enum sqloom_status ask_while_waiting(struct slm_pg *pg,
					    const struct slm_pg_wait *wait,
					    int *blockers, unsigned *nblockers,
					    struct sqloom_error *err)
{
	struct slm_pg *monitor = wait->monitor;
	enum sqloom_status status = send_question(monitor, pg->pid, err);

	*nblockers = 0;
	if (status)
		return status;
	while (PQisBusy(monitor->conn)) {
		wait_for(pg, monitor, -1);
		if (!slm_pg_consume(monitor))
			return slm_pg_broken(monitor, err);
		if (!slm_pg_consume(pg))
			return slm_pg_broken(pg, err);
		if (is_done(pg))
			break;
	}
	return take_answer(wait, blockers, nblockers, err);
}

enum sqloom_status slm_pg_yield(struct slm_pg *pg, struct sqloom_error *err)
{
	if (PQflush(pg->conn) < 0)
		return slm_pg_broken(pg, err);
	sched_yield();
	return slm_pg_consume(pg) ? SQLOOM_OK : slm_pg_broken(pg, err);
}

enum sqloom_status slm_pg_settle(struct slm_pg *pg,
				 const struct slm_pg_wait *wait,
				 enum slm_pg_settled *settled, int *blockers,
				 unsigned *nblockers, struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;
	uint64_t began_ns = 0;
	long pause_us = PAUSE_MIN_US;

	*nblockers = 0;
	*settled = SLM_PG_DONE;
	if (wait->patience_us && !is_done(pg)) {
		wait_for(pg, NULL, wait->patience_us);
		if (!slm_pg_consume(pg))
			return slm_pg_broken(pg, err);
	} else if (!is_done(pg)) {
		status = slm_pg_yield(pg, err);
	}
	for (unsigned asked = 0; !status && !is_done(pg); asked++) {
		if (wait->monitor)
			status = ask_while_waiting(pg, wait, blockers,
						   nblockers, err);
		if (status || is_done(pg))
			break;
		if (*nblockers) {
			*settled = SLM_PG_BLOCKED;
			return SQLOOM_OK;
		}
		if (asked < QUESTIONS_AT_ONCE && wait->monitor)
			continue;
		/* Slow. */
		if (!began_ns)
			began_ns = slm_clock_ns();
		if (wait->goes_on &&
		    !wait->goes_on(wait->userdata,
				   (slm_clock_ns() - began_ns) / 1000000)) {
			*settled = SLM_PG_STOPPED;
			return SQLOOM_OK;
		}
		wait_for(pg, NULL, pause_us);
		pause_us *= 2;
		if (pause_us > PAUSE_MAX_US)
			pause_us = PAUSE_MAX_US;
		if (!slm_pg_consume(pg))
			status = slm_pg_broken(pg, err);
	}
	*nblockers = 0;
	return status;
}

/* Drops all results, and the end of a pipeline. False: none came for so long. */
static bool drop_results(struct slm_pg *pg, int ms)
{
	struct pollfd socket = { .fd = PQsocket(pg->conn), .events = POLLIN };
	PGresult *result;
	bool end = false;

	while (!end) {
		while (PQisBusy(pg->conn)) {
			if (poll(&socket, 1, ms) == 0)
				return false;
			if (!PQconsumeInput(pg->conn))
				break;
		}
		result = PQgetResult(pg->conn);
		end = PQresultStatus(result) == PGRES_PIPELINE_SYNC ||
		      (!result &&
		       (PQpipelineStatus(pg->conn) == PQ_PIPELINE_OFF ||
			PQstatus(pg->conn) == CONNECTION_BAD));
		PQclear(result);
	}
	(void)PQexitPipelineMode(pg->conn);
	return true;
}

enum sqloom_status slm_pg_cancel(struct slm_pg *pg, struct sqloom_error *err)
{
	PGcancel *cancel = PQgetCancel(pg->conn);
	char message[256] = "";
	int ms = CANCEL_MIN_MS;

	if (!cancel)
		return slm_pg_broken(pg, err);
	/* Too late is fine: then the results are there. Too early, before the
	 * server has begun with the statement, it is lost, and sent again. */
	do {
		PQcancel(cancel, message, sizeof(message));
		ms = ms < CANCEL_MAX_MS ? ms * 2 : CANCEL_MAX_MS;
	} while (!drop_results(pg, ms));
	PQfreeCancel(cancel);
	return PQstatus(pg->conn) == CONNECTION_BAD ? slm_pg_broken(pg, err) :
						      SQLOOM_OK;
}

/* ---- One CPU ----------------------------------------------------------- */

static bool nth_cpu(unsigned cpu, const cpu_set_t *may, cpu_set_t *out)
{
	unsigned n = (unsigned)CPU_COUNT(may);

	if (!n)
		return false;
	cpu %= n;
	CPU_ZERO(out);
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, may) && cpu-- == 0) {
			CPU_SET(i, out);
			return true;
		}
	return false;
}

void slm_pg_pin_process(const struct slm_pg *pg, int pid, unsigned cpu,
			struct slm_pg_pinned *pinned)
{
	static const struct sched_param any;
	const char *host = PQhost(pg->conn);
	cpu_set_t one;

	/* A Unix socket: the server process is on this machine. */
	if (!host || *host != '/')
		return;
	if (!pinned->active &&
	    sched_getaffinity(0, sizeof(pinned->before), &pinned->before) != 0)
		return;
	if (!nth_cpu(cpu, &pinned->before, &one) ||
	    sched_setaffinity(pid, sizeof(one), &one) != 0)
		return;
	(void)sched_setscheduler(pid, SCHED_BATCH, &any);
	if (pinned->active)
		return;
	pinned->active = sched_setaffinity(0, sizeof(one), &one) == 0;
	pinned->batch = pinned->active &&
			sched_getscheduler(0) == SCHED_OTHER &&
			sched_setscheduler(0, SCHED_BATCH, &any) == 0;
}

void slm_pg_pin(const struct slm_pg *pg, unsigned cpu,
		struct slm_pg_pinned *pinned)
{
	slm_pg_pin_process(pg, pg->pid, cpu, pinned);
}

void slm_pg_unpin(struct slm_pg_pinned *pinned)
{
	static const struct sched_param any;

	if (pinned->active)
		(void)sched_setaffinity(0, sizeof(pinned->before),
					&pinned->before);
	if (pinned->batch)
		(void)sched_setscheduler(0, SCHED_OTHER, &any);
	pinned->active = pinned->batch = false;
}
