/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One permutation: setups, the steps in their order, teardowns. Steps that
 * were sent and not reported yet stand in a list, in the order in which they
 * were sent; after each step all of them are looked at.
 */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "isolation/isolation.h"

#define SECOND_NS UINT64_C(1000000000)
#define IDLE_US 1000

/* Steps that wait, oldest first. A session has one of them at most. */
struct waiting {
	const struct slm_iso_step *steps[SLM_SPEC_SESSIONS_MAX];
	unsigned count;
};

/* ---- Setups and teardowns ----------------------------------------------- */

/* Executes sql and prints its rows. *ok false: it failed, which the server
 * says in PQerrorMessage(). */
static enum sqloom_status execute(struct sqloom_isolation *iso,
				  struct slm_iso_session *session,
				  const char *sql, bool *ok,
				  struct sqloom_error *err)
{
	PGresult *result = NULL;
	enum sqloom_status status =
		slm_iso_exec(iso, session, sql, &result, err);

	if (status)
		return status;
	*ok = PQresultStatus(result) == PGRES_COMMAND_OK;
	if (PQresultStatus(result) == PGRES_TUPLES_OK) {
		slm_iso_print_rows(&iso->out, result);
		*ok = true;
	}
	PQclear(result);
	return SQLOOM_OK;
}

/* Tells the first line of what the server says, without its severity. */
static enum sqloom_status setup_failed(const struct slm_iso_session *session,
				       const char *what,
				       struct sqloom_error *err)
{
	const char *said = PQerrorMessage(session->pg.conn);
	const char *colon = strstr(said, ":  ");

	if (colon)
		said = colon + 3;
	return slm_error_set(err, SQLOOM_DATABASE,
			     "%s failed, so the spec ended: %.*s", what,
			     (int)strcspn(said, "\n"), said);
}

static enum sqloom_status set_up(struct sqloom_isolation *iso,
				 struct sqloom_error *err)
{
	const struct slm_iso_script *script = &iso->script;
	enum sqloom_status status = SQLOOM_OK;
	char what[SLM_SPEC_NAME_MAX + 32];
	bool ok = true;

	for (unsigned i = 0; !status && i < script->spec->nsetups; i++) {
		status = execute(iso, &iso->control, script->setups[i], &ok,
				 err);
		if (status || ok)
			continue;
		slm_iso_err(iso, "setup failed: %s",
			    PQerrorMessage(iso->control.pg.conn));
		return setup_failed(&iso->control, "a setup", err);
	}
	for (unsigned i = 0; !status && i < iso->nsessions; i++) {
		struct slm_iso_session *session = &iso->sessions[i];

		if (!script->sessions[i].setup)
			continue;
		status = execute(iso, session, script->sessions[i].setup, &ok,
				 err);
		if (status || ok)
			continue;
		slm_iso_err(iso, "setup of session %s failed: %s",
			    session->pg.name, PQerrorMessage(session->pg.conn));
		snprintf(what, sizeof(what), "the setup of session %s",
			 session->pg.name);
		return setup_failed(session, what, err);
	}
	return status;
}

/* A teardown that fails is told, and that is all. */
static enum sqloom_status tear_down(struct sqloom_isolation *iso,
				    struct sqloom_error *err)
{
	const struct slm_iso_script *script = &iso->script;
	enum sqloom_status status = SQLOOM_OK;
	bool ok = true;

	for (unsigned i = 0; !status && i < iso->nsessions; i++) {
		struct slm_iso_session *session = &iso->sessions[i];

		if (!script->sessions[i].teardown)
			continue;
		status = execute(iso, session, script->sessions[i].teardown,
				 &ok, err);
		if (!status && !ok)
			slm_iso_err(iso, "teardown of session %s failed: %s",
				    session->pg.name,
				    PQerrorMessage(session->pg.conn));
	}
	if (status || !script->teardown)
		return status;
	status = execute(iso, &iso->control, script->teardown, &ok, err);
	if (!status && !ok)
		slm_iso_err(iso, "teardown failed: %s",
			    PQerrorMessage(iso->control.pg.conn));
	return status;
}

/* ---- Steps that wait ---------------------------------------------------- */

static void remove_at(struct waiting *waiting, unsigned i)
{
	assert(i < waiting->count);
	waiting->count--;
	memmove(&waiting->steps[i], &waiting->steps[i + 1],
		(waiting->count - i) * sizeof(waiting->steps[0]));
}

static void remove_step(struct waiting *waiting,
			const struct slm_iso_step *step)
{
	unsigned i = 0;

	while (i < waiting->count && waiting->steps[i] != step)
		i++;
	remove_at(waiting, i);
}

/* Looks at each once. *held: one that waits has marks. */
static enum sqloom_status pass(struct sqloom_isolation *iso,
			       struct waiting *waiting, unsigned flags,
			       bool *held, struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	*held = false;
	for (unsigned i = 0; !status && i < waiting->count;) {
		bool completed;

		status = slm_iso_step_try(iso, waiting->steps[i], flags,
					  &completed, err);
		if (!status && completed) {
			remove_at(waiting, i);
			continue;
		}
		*held |= waiting->steps[i]->nblockers > 0;
		i++;
	}
	return status;
}

/*
 * Looks at all that wait. A mark may be fulfilled by a step that stands later
 * in the list, so they are looked at again until nothing more comes of it:
 * what is printed must not depend on their order.
 */
static enum sqloom_status try_all(struct sqloom_isolation *iso,
				  struct waiting *waiting, unsigned flags,
				  struct sqloom_error *err)
{
	enum sqloom_status status;
	unsigned before;
	bool held;

	do {
		before = waiting->count;
		iso->new_notice = false;
		status = pass(iso, waiting, flags, &held, err);
	} while (!status && held &&
		 (waiting->count < before || iso->new_notice));
	return status;
}

/* ---- A session that is still busy --------------------------------------- */

static enum sqloom_status busy_too_long(struct sqloom_isolation *iso,
					const struct slm_iso_session *session,
					uint64_t waited_ns,
					struct sqloom_error *err)
{
	slm_iso_err(iso, "step %s timed out after %d seconds\n",
		    session->active->step->name, (int)(waited_ns / SECOND_NS));
	slm_iso_err(iso, "active steps are:");
	for (unsigned i = 0; i < iso->nsessions; i++)
		if (iso->sessions[i].active)
			slm_iso_err(iso, " %s",
				    iso->sessions[i].active->step->name);
	slm_iso_err(iso, "\n");
	return slm_error_set(err, SQLOOM_SPEC,
			     "step %s waits for a mark that nothing fulfils; "
			     "correct the marks of the permutation",
			     session->active->step->name);
}

/* Waits until the session can take its next step. */
static enum sqloom_status make_idle(struct sqloom_isolation *iso,
				    struct slm_iso_session *session,
				    struct waiting *waiting,
				    struct sqloom_error *err)
{
	uint64_t began_ns = slm_clock_ns();
	enum sqloom_status status = SQLOOM_OK;

	while (!status && session->active) {
		const struct slm_iso_step *step = session->active;
		uint64_t waited_ns;
		bool completed, readable;

		status = slm_iso_step_try(iso, step, SLM_ISO_RETRY, &completed,
					  err);
		if (!status && completed)
			remove_step(waiting, step);
		if (!status)
			status = try_all(iso, waiting,
					 SLM_ISO_NONBLOCK | SLM_ISO_RETRY, err);
		if (status || !session->active)
			break;
		/* It is done, and a mark holds it back. */
		waited_ns = slm_clock_ns() - began_ns;
		if (waited_ns > 2 * iso->timeout_ns)
			return busy_too_long(iso, session, waited_ns, err);
		status = slm_iso_pause(iso, session, IDLE_US, &readable, err);
	}
	return status;
}

/* ---- The permutation ---------------------------------------------------- */

static enum sqloom_status take_step(struct sqloom_isolation *iso,
				    const struct slm_iso_step *step,
				    struct waiting *waiting,
				    struct sqloom_error *err)
{
	struct slm_iso_session *session = &iso->sessions[step->step->session];
	enum sqloom_status status = make_idle(iso, session, waiting, err);
	bool completed = false;

	if (!status)
		status = slm_iso_step_send(iso, step, err);
	if (!status)
		status = slm_iso_step_try(iso, step, SLM_ISO_NONBLOCK,
					  &completed, err);
	if (!status)
		status = try_all(iso, waiting, SLM_ISO_NONBLOCK | SLM_ISO_RETRY,
				 err);
	if (status || completed)
		return status;
	assert(waiting->count < SLM_SPEC_SESSIONS_MAX);
	waiting->steps[waiting->count++] = step;
	return SQLOOM_OK;
}

static enum sqloom_status take_steps(
	struct sqloom_isolation *iso,
	const struct slm_iso_permutation *permutation, struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;
	struct waiting waiting = { .count = 0 };

	for (unsigned i = 0; !status && i < permutation->nsteps; i++)
		status = take_step(iso, &permutation->steps[i], &waiting, err);
	if (!status)
		status = try_all(iso, &waiting, SLM_ISO_RETRY, err);
	if (status || !waiting.count)
		return status;
	slm_iso_err(iso, "failed to complete permutation due to "
			 "mutually-blocking steps\n");
	slm_error_set(err, SQLOOM_SPEC,
		      "this permutation cannot end: the marks make its steps "
		      "wait for each other; correct the marks");
	slm_spec_error_place(iso->script.spec, permutation->line, 1, err);
	return SQLOOM_SPEC;
}

enum sqloom_status slm_iso_permutation_run(
	struct sqloom_isolation *iso, struct slm_iso_permutation *permutation,
	struct sqloom_error *err)
{
	enum sqloom_status status = slm_iso_go_on(iso, err);

	if (status)
		return status;
	slm_iso_out(iso, "\nstarting permutation:");
	for (unsigned i = 0; i < permutation->nsteps; i++)
		slm_iso_out(iso, " %s", permutation->steps[i].step->name);
	slm_iso_out(iso, "\n");
	status = set_up(iso, err);
	if (!status)
		status = take_steps(iso, permutation, err);
	if (!status)
		status = tear_down(iso, err);
	return status;
}
