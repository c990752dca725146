/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One step: sent, waited for, reported. What is printed depends on where
 * libpq parses messages (a notice is printed when it is parsed), so input is
 * read where isolationtester reads it: of the session that is waited for, and
 * of no other; and never twice without parsing in between, since the second
 * read may be the end of the connection.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "isolation/isolation.h"

#define SECOND_NS UINT64_C(1000000000)
#define MS_NS UINT64_C(1000000)

/* Isolationtester asks for blockers when a step was silent for so long. */
#define SILENCE_NS (10 * MS_NS)

/* Most steps are done sooner than a question is answered, and a question takes
 * the CPU from them. So the first waits a little, and the pauses between two
 * become longer: doubled each time, up to the most. */
#define PAUSE_FIRST_US 250
#define PAUSE_MAX_US 10000
/* With nothing to ask, a pause ends when something comes in. */
#define PAUSE_QUIET_US 100000
/* A pause after which somebody may wonder what has been printed. */
#define PAUSE_LONG_US 1000

static struct slm_iso_session *session_of(struct sqloom_isolation *iso,
					  const struct slm_spec_step *step)
{
	return &iso->sessions[step->session];
}

static int length_of_line(const char *text)
{
	return (int)strcspn(text, "\n");
}

/* ---- Waiting for input -------------------------------------------------- */

enum sqloom_status slm_iso_go_on(struct sqloom_isolation *iso,
				 struct sqloom_error *err)
{
	if (!iso->goes_on || iso->goes_on(iso->userdata))
		return SQLOOM_OK;
	iso->stopped = true;
	return slm_error_set(err, SQLOOM_DATABASE, "stopped");
}

enum sqloom_status slm_iso_pause(struct sqloom_isolation *iso,
				 struct slm_iso_session *session, unsigned us,
				 bool *readable, struct sqloom_error *err)
{
	struct pollfd fd = { .fd = PQsocket(session->pg.conn),
			     .events = POLLIN };
	unsigned first_us = us < PAUSE_LONG_US ? us : PAUSE_LONG_US;
	struct timespec first = { .tv_nsec = first_us * 1000L };

	*readable = ppoll(&fd, 1, &first, NULL) > 0;
	if (*readable || us <= first_us)
		return SQLOOM_OK;
	slm_iso_flush(&iso->out);
	*readable = poll(&fd, 1, (int)((us - first_us) / 1000)) > 0;
	return *readable ? SQLOOM_OK : slm_iso_go_on(iso, err);
}

/* ---- Executing, for setups and teardowns -------------------------------- */

/* Has the server closed the connection, with nothing left to read? */
static bool at_end(PGconn *conn)
{
	char byte;

	return recv(PQsocket(conn), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* The next result, NULL after the last one. */
static enum sqloom_status next_result(struct sqloom_isolation *iso,
				      struct slm_iso_session *session,
				      PGresult **result,
				      struct sqloom_error *err)
{
	PGconn *conn = session->pg.conn;
	enum sqloom_status status = SQLOOM_OK;
	bool readable;

	while (!status && PQisBusy(conn)) {
		status = slm_iso_pause(iso, session, PAUSE_QUIET_US, &readable,
				       err);
		/* A lost connection is told by PQgetResult() as it was by the
		 * original, if it is the one who finds it. */
		if (!status && readable &&
		    (at_end(conn) || !PQconsumeInput(conn)))
			break;
	}
	*result = status ? NULL : PQgetResult(conn);
	return status;
}

static bool is_copy(const PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	return status == PGRES_COPY_IN || status == PGRES_COPY_OUT ||
	       status == PGRES_COPY_BOTH;
}

enum sqloom_status slm_iso_exec(struct sqloom_isolation *iso,
				struct slm_iso_session *session,
				const char *sql, PGresult **result,
				struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;
	PGresult *last = NULL, *next = NULL;

	if (session == &iso->control)
		slm_iso_drain(iso);
	if (PQsendQuery(session->pg.conn, sql))
		do {
			status = next_result(iso, session, &next, err);
			if (!next)
				break;
			PQclear(last);
			last = next;
		} while (!status && !is_copy(last));
	if (status) {
		PQclear(last);
		return status;
	}
	if (!last)
		last = PQmakeEmptyPGresult(session->pg.conn, PGRES_FATAL_ERROR);
	*result = last;
	return last ? SQLOOM_OK : slm_error_nomem(err);
}

/* ---- Sending ------------------------------------------------------------ */

static void set_targets(struct sqloom_isolation *iso,
			const struct slm_iso_step *step)
{
	for (unsigned i = 0; i < step->nblockers; i++) {
		const struct slm_spec_blocker *blocker = &step->blockers[i];

		if (blocker->kind == SLM_BLOCKER_NOTICES)
			step->targets[i] =
				blocker->notices +
				session_of(iso, blocker->step)->notices;
	}
}

enum sqloom_status slm_iso_step_send(struct sqloom_isolation *iso,
				     const struct slm_iso_step *step,
				     struct sqloom_error *err)
{
	struct slm_iso_session *session = session_of(iso, step->step);
	const char *said;

	assert(!session->active);
	if (!PQsendQuery(session->pg.conn, step->sql)) {
		said = PQerrorMessage(session->pg.conn);
		slm_iso_out(iso, "failed to send query for step %s: %s\n",
			    step->step->name, said);
		return slm_error_set(err, SQLOOM_DATABASE,
				     "cannot send step %s: %.*s",
				     step->step->name, length_of_line(said),
				     said);
	}
	session->active = step;
	set_targets(iso, step);
	return SQLOOM_OK;
}

/* ---- Settling ----------------------------------------------------------- */

/* A statement that is waited for. */
struct wait {
	struct sqloom_isolation *iso;
	struct slm_iso_session *session;
	const struct slm_iso_step *step;
	uint64_t began_ns;
	unsigned asked; /* questions, or pauses */
	bool may_block; /* come back when it is blocked */
	bool retry;	/* it was blocked before */
	bool cancelled;
};

static enum sqloom_status consume(struct wait *wait, struct sqloom_error *err)
{
	PGconn *conn = wait->session->pg.conn;
	const char *said;

	if (PQconsumeInput(conn))
		return SQLOOM_OK;
	said = PQerrorMessage(conn);
	slm_iso_err(wait->iso, "PQconsumeInput failed: %s\n", said);
	return slm_error_set(err, SQLOOM_DATABASE,
			     "session %s has lost its connection in step %s: "
			     "%.*s",
			     wait->session->pg.name, wait->step->step->name,
			     length_of_line(said), said);
}

static void cancel(struct wait *wait, uint64_t waited_ns)
{
	PGcancel *handle = PQgetCancel(wait->session->pg.conn);
	char message[256];

	if (!handle)
		return;
	if (PQcancel(handle, message, sizeof(message))) {
		slm_iso_out(wait->iso,
			    "isolationtester: canceling step %s after %d "
			    "seconds\n",
			    wait->step->step->name,
			    (int)(waited_ns / SECOND_NS));
		wait->cancelled = true;
	} else {
		slm_iso_err(wait->iso, "PQcancel failed: %s\n", message);
	}
	PQfreeCancel(handle);
}

/* A spec that asks a blocked session for its next step would hang for ever. */
static enum sqloom_status check_time(struct wait *wait,
				     struct sqloom_error *err)
{
	uint64_t waited_ns = slm_clock_ns() - wait->began_ns;
	uint64_t limit_ns = wait->iso->timeout_ns;

	if (waited_ns < SILENCE_NS)
		return SQLOOM_OK;
	if (waited_ns > limit_ns && !wait->cancelled)
		cancel(wait, waited_ns);
	if (waited_ns <= 2 * limit_ns)
		return SQLOOM_OK;
	slm_iso_err(wait->iso, "step %s timed out after %d seconds\n",
		    wait->step->step->name, (int)(waited_ns / SECOND_NS));
	return slm_error_set(err, SQLOOM_DATABASE,
			     "step %s did not end when it was cancelled; see "
			     "what the server does with it",
			     wait->step->step->name);
}

/* One question. *left: the step is blocked and may be left alone. */
static enum sqloom_status ask(struct wait *wait, bool *left,
			      struct sqloom_error *err)
{
	PGconn *conn = wait->session->pg.conn;
	bool blocked, stuck;
	enum sqloom_status status =
		slm_iso_ask(wait->iso, wait->session, &blocked, &stuck, err);

	if (status || !blocked)
		return status;
	if (!stuck && slm_clock_ns() - wait->began_ns < SILENCE_NS)
		return SQLOOM_OK;
	/* A notice that was sent before the wait began is here by now. */
	status = consume(wait, err);
	*left = !status && PQisBusy(conn);
	return status;
}

/* How long to wait for input before the next question. */
static unsigned pause_us(const struct wait *wait)
{
	unsigned us = PAUSE_FIRST_US;

	if (!wait->may_block)
		return PAUSE_MAX_US;
	/* A step that waited before is asked about at once. */
	if (wait->retry && wait->asked == 0)
		return 0;
	for (unsigned i = 0; i < wait->asked && us < PAUSE_MAX_US; i++)
		us *= 2;
	return us < PAUSE_MAX_US ? us : PAUSE_MAX_US;
}

/* Until the first result is there, or, *left, the step may be left alone. */
static enum sqloom_status settle(struct wait *wait, bool *left,
				 struct sqloom_error *err)
{
	PGconn *conn = wait->session->pg.conn;
	enum sqloom_status status = SQLOOM_OK;
	bool readable;

	*left = false;
	wait->began_ns = slm_clock_ns();
	while (!status && PQisBusy(conn)) {
		status = slm_iso_pause(wait->iso, wait->session, pause_us(wait),
				       &readable, err);
		if (!status && readable) {
			status = consume(wait, err);
			continue;
		}
		if (!status)
			status = check_time(wait, err);
		if (!status && wait->may_block)
			status = ask(wait, left, err);
		if (*left)
			break;
		wait->asked++;
	}
	return status;
}

/* ---- Marks -------------------------------------------------------------- */

static bool has_star(const struct slm_iso_step *step)
{
	for (unsigned i = 0; i < step->nblockers; i++)
		if (step->blockers[i].kind == SLM_BLOCKER_STAR)
			return true;
	return false;
}

/* Is a completed step not to be reported yet? */
static bool is_held_back(struct sqloom_isolation *iso,
			 const struct slm_iso_step *step)
{
	for (unsigned i = 0; i < step->nblockers; i++) {
		const struct slm_spec_blocker *blocker = &step->blockers[i];
		const struct slm_iso_session *other;

		if (blocker->kind == SLM_BLOCKER_STAR)
			continue;
		other = session_of(iso, blocker->step);
		if (blocker->kind == SLM_BLOCKER_STEP && other->active &&
		    other->active->step == blocker->step)
			return true;
		if (blocker->kind == SLM_BLOCKER_NOTICES &&
		    other->notices < step->targets[i])
			return true;
	}
	return false;
}

/* ---- Reporting ---------------------------------------------------------- */

static void print_error(struct sqloom_isolation *iso, const PGresult *result)
{
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY);
	const char *message =
		PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	/* Not the detail, which has numbers that change. What libpq itself
	 * has to say has no fields. */
	if (severity && message)
		slm_iso_out(iso, "%s:  %s\n", severity, message);
	else
		slm_iso_out(iso, "%s\n", PQresultErrorMessage(result));
}

static void print_result(struct sqloom_isolation *iso, const PGresult *result)
{
	switch (PQresultStatus(result)) {
	case PGRES_COMMAND_OK:
	case PGRES_EMPTY_QUERY:
		break;
	case PGRES_TUPLES_OK:
		slm_iso_print_rows(&iso->out, result);
		break;
	case PGRES_FATAL_ERROR:
		print_error(iso, result);
		break;
	default:
		slm_iso_out(iso, "unexpected result status: %s\n",
			    PQresStatus(PQresultStatus(result)));
	}
}

static void print_notification(struct sqloom_isolation *iso,
			       const struct slm_iso_session *session,
			       const PGnotify *notify)
{
	const char *sender = NULL;
	char unknown[32];

	for (unsigned i = 0; i < iso->nsessions && !sender; i++)
		if (iso->sessions[i].pg.pid == notify->be_pid)
			sender = iso->sessions[i].pg.name;
	if (!sender) {
		snprintf(unknown, sizeof(unknown), "PID %d", notify->be_pid);
		sender = unknown;
	}
	slm_iso_out(iso, "%s: NOTIFY \"%s\" with payload \"%s\" from %s\n",
		    session->pg.name, notify->relname, notify->extra, sender);
}

static void print_notifications(struct sqloom_isolation *iso,
				const struct slm_iso_session *session)
{
	PGnotify *notify;

	(void)PQconsumeInput(session->pg.conn);
	while ((notify = PQnotifies(session->pg.conn)) != NULL) {
		print_notification(iso, session, notify);
		PQfreemem(notify);
		(void)PQconsumeInput(session->pg.conn);
	}
}

static enum sqloom_status report(struct sqloom_isolation *iso,
				 const struct slm_iso_step *step,
				 struct sqloom_error *err)
{
	struct slm_iso_session *session = session_of(iso, step->step);
	enum sqloom_status status;
	PGresult *result;

	for (;;) {
		bool copies;

		status = next_result(iso, session, &result, err);
		if (!result)
			break;
		print_result(iso, result);
		copies = is_copy(result);
		PQclear(result);
		if (copies)
			return slm_error_set(
				err, SQLOOM_UNSUPPORTED,
				"step %s copies from or to the client, which "
				"isolation specs cannot; use a file or INSERT",
				step->step->name);
	}
	if (status)
		return status;
	print_notifications(iso, session);
	session->active = NULL;
	return SQLOOM_OK;
}

/* ---- Trying ------------------------------------------------------------- */

static void print_waiting(struct sqloom_isolation *iso,
			  const struct slm_iso_step *step)
{
	slm_iso_out(iso, "step %s: %s <waiting ...>\n", step->step->name,
		    step->sql);
}

static enum sqloom_status no_socket(struct sqloom_isolation *iso,
				    const struct slm_iso_session *session,
				    struct sqloom_error *err)
{
	const char *said = PQerrorMessage(session->pg.conn);

	slm_iso_err(iso, "invalid socket: %s", said);
	return slm_error_set(err, SQLOOM_DATABASE,
			     "session %s has lost its connection: %.*s",
			     session->pg.name, length_of_line(said), said);
}

enum sqloom_status slm_iso_step_try(struct sqloom_isolation *iso,
				    const struct slm_iso_step *step,
				    unsigned flags, bool *completed,
				    struct sqloom_error *err)
{
	struct slm_iso_session *session = session_of(iso, step->step);
	bool first = !(flags & SLM_ISO_RETRY);
	bool left = first && has_star(step);
	struct wait wait = { .iso = iso,
			     .session = session,
			     .step = step,
			     .may_block = flags & SLM_ISO_NONBLOCK,
			     .retry = !first };
	enum sqloom_status status = SQLOOM_OK;

	assert(session->active == step);
	*completed = false;
	if (!left) {
		if (PQsocket(session->pg.conn) < 0)
			return no_socket(iso, session, err);
		status = settle(&wait, &left, err);
	}
	if (status)
		return status;
	if (left || is_held_back(iso, step)) {
		if (first)
			print_waiting(iso, step);
		return SQLOOM_OK;
	}
	if (first)
		slm_iso_out(iso, "step %s: %s\n", step->step->name, step->sql);
	else
		slm_iso_out(iso, "step %s: <... completed>\n",
			    step->step->name);
	status = report(iso, step, err);
	*completed = !status;
	return status;
}
