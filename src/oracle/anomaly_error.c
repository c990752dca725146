/* SPDX-License-Identifier: Apache-2.0 */
/* Names and causes of errors with which calls failed: integrity, deadlock,
 * locks, serialization. */
#include <string.h>

#include "oracle/naming.h"
#include "oracle/statement.h"

/* The access at which the call failed, or NULL. */
static const struct slm_access *failing(const struct slm_naming *n,
					uint32_t call)
{
	const struct slm_result *error = n->view->results.calls[call].error;

	for (uint32_t i = 0; error && i < n->all.count; i++)
		if (n->all.list[i].call == call &&
		    n->all.list[i].taken->error == error)
			return &n->all.list[i];
	return NULL;
}

/* Does the list of names have this one? */
static bool lists(const char *names, const char *name)
{
	size_t size = strlen(name);

	while (names && *names) {
		size_t n = strcspn(names, ", ");

		if (n == size && strncmp(names, name, n) == 0)
			return true;
		names += n;
		names += strspn(names, ", ");
	}
	return false;
}

/* What others wrote to a table that the failing step writes, too, after the
 * call had read it. */
static bool find_stale_check(const struct slm_naming *n,
			     const struct slm_access *fail,
			     struct slm_stale *out)
{
	const char *writes =
		n->oracle->config.calls[fail->call].steps[fail->step].writes;

	for (uint32_t t = 0; t < n->all.ntables; t++) {
		const struct slm_access *read =
			slm_naming_last_read(n, fail, t);

		if (!read || !lists(writes, n->all.tables[t]))
			continue;
		for (uint32_t i = 0; i < n->all.count; i++) {
			const struct slm_access *write = &n->all.list[i];

			if (write->call == fail->call ||
			    !slm_naming_in_table(write->writes, t) ||
			    write->event > fail->event ||
			    write->visible < read->event)
				continue;
			*out = (struct slm_stale){ read, write, fail, t };
			return true;
		}
	}
	return false;
}

static bool name_integrity(struct slm_naming *n, uint32_t call)
{
	const struct slm_result *error = n->view->results.calls[call].error;
	const struct slm_access *fail = failing(n, call);
	const char *who = slm_naming_call(n, call);
	struct slm_stale s;

	if (!fail ||
	    slm_judge_fails_alike(n->oracle, n->group->members, call, error))
		return false;
	slm_buf_printf(&n->cause, "%s's step %s failed: ", who, fail->name);
	if (error->message)
		slm_buf_puts(&n->cause, error->message);
	else
		slm_show_error(&n->cause, error);
	slm_buf_putc(&n->cause, '.');
	if (!find_stale_check(n, fail, &s)) {
		n->name = "integrity error";
		return true;
	}
	n->name = "integrity error after check";
	slm_buf_printf(&n->cause,
		       " %s had looked at %s in %s before %s's %s in %s.", who,
		       n->all.tables[s.table], s.read->name,
		       slm_naming_call(n, s.foreign->call),
		       slm_naming_before(&s), s.foreign->name);
	return true;
}

/* The first of two steps waited for the call of the other one, and back. */
static void say_circle(struct slm_naming *n, const struct slm_event *a,
		       const struct slm_event *b)
{
	const struct slm_trace_call *x = &n->oracle->config.calls[a->call];
	const struct slm_trace_call *y = &n->oracle->config.calls[b->call];

	slm_buf_printf(&n->cause,
		       "%s's step %s waited for %s, and %s's step %s for %s",
		       x->name, x->steps[a->step].name, y->name, y->name,
		       y->steps[b->step].name, x->name);
}

/* Two waits, each for the other call. */
static bool say_waits(struct slm_naming *n)
{
	const struct slm_run *run = n->view->run;

	for (uint32_t i = 0; i < run->nevents; i++)
		for (uint32_t j = i + 1; j < run->nevents; j++) {
			const struct slm_event *a = &run->events[i];
			const struct slm_event *b = &run->events[j];

			if (a->kind != SLM_EVENT_BLOCKED ||
			    b->kind != SLM_EVENT_BLOCKED ||
			    !(a->blocked_by & (1u << b->call)) ||
			    !(b->blocked_by & (1u << a->call)))
				continue;
			say_circle(n, a, b);
			return true;
		}
	return false;
}

static bool is_deadlock(const struct slm_event *event)
{
	for (const struct slm_result *r = event->result; r; r = r->next)
		if (r->error == SLM_ERROR_DEADLOCK)
			return true;
	return false;
}

/* A wait for the call whose step the database ended at once, as it would have
 * closed the circle. */
static bool say_victim(struct slm_naming *n, uint32_t call)
{
	const struct slm_run *run = n->view->run;

	for (uint32_t i = 0; i < run->nevents; i++) {
		const struct slm_event *victim = &run->events[i];

		if (victim->call != call || victim->kind != SLM_EVENT_STEP ||
		    !is_deadlock(victim))
			continue;
		for (uint32_t j = i; j-- > 0;) {
			const struct slm_event *other = &run->events[j];

			if (other->kind != SLM_EVENT_BLOCKED ||
			    !(other->blocked_by & (1u << call)))
				continue;
			say_circle(n, other, victim);
			return true;
		}
	}
	return false;
}

/* The circle as the database told it: what is behind the colon of its error's
 * message; NULL: it did not. */
static const char *told_circle(const struct slm_naming *n, uint32_t call)
{
	const struct slm_run *run = n->view->run;

	for (uint32_t i = 0; i < run->nevents; i++) {
		const struct slm_event *event = &run->events[i];

		for (const struct slm_result *r = event->result;
		     r && event->call == call; r = r->next) {
			const char *colon = r->error == SLM_ERROR_DEADLOCK &&
							    r->message ?
						    strstr(r->message, ": ") :
						    NULL;

			if (colon)
				return colon + 2;
		}
	}
	return NULL;
}

static bool name_deadlock(struct slm_naming *n, uint32_t call)
{
	const char *circle = told_circle(n, call);

	n->name = "deadlock";
	if (circle) {
		slm_buf_printf(&n->cause,
			       "The calls waited in a circle: %s. The database "
			       "ended %s. Lock what both need in the same "
			       "order everywhere.",
			       circle, slm_naming_call(n, call));
		return true;
	}
	if (say_waits(n) || say_victim(n, call))
		slm_buf_printf(&n->cause, ": the database ended %s (deadlock).",
			       slm_naming_call(n, call));
	else
		slm_buf_printf(&n->cause,
			       "%s was ended by the database: it waited in a "
			       "circle with others (deadlock).",
			       slm_naming_call(n, call));
	return true;
}

/* A read of the failing access's own transaction. */
static const struct slm_access *read_before(const struct slm_naming *n,
					    const struct slm_access *fail)
{
	if (!fail->deferred || !fail->transaction)
		return NULL;
	for (const struct slm_access *a = n->all.list; a < fail; a++)
		if (a->call == fail->call && a->reads && !a->writes &&
		    a->transaction == fail->transaction)
			return a;
	return NULL;
}

static bool name_busy(struct slm_naming *n, uint32_t call, const char *code)
{
	const struct slm_access *fail = failing(n, call), *read;
	const struct slm_trace_step *step;
	const char *who = slm_naming_call(n, call);

	if (!fail)
		return false;
	n->name = "database is locked";
	step = &n->oracle->config.calls[call].steps[fail->step];
	read = step->writes && *step->writes ? read_before(n, fail) : NULL;
	if (read && strcmp(code, "SQLITE_BUSY_SNAPSHOT") == 0)
		slm_buf_printf(&n->cause,
			       "%s's step %s was refused: %s's transaction had "
			       "read in %s, and a transaction whose reads are "
			       "out of date cannot become a writer (%s at "
			       "once). ",
			       who, fail->name, who, read->name, code);
	else if (read)
		slm_buf_printf(&n->cause,
			       "%s's step %s was refused: %s's transaction had "
			       "read in %s, and a transaction that has read "
			       "cannot become a writer while another is "
			       "writing (%s at once). ",
			       who, fail->name, who, read->name, code);
	if (read)
		slm_buf_puts(&n->cause,
			     "BEGIN IMMEDIATE takes the write lock first.");
	else if (slm_statement_single(fail->sql) == SLM_STATEMENT_COMMIT)
		slm_buf_printf(&n->cause,
			       "%s's step %s could not commit while others "
			       "were reading (%s).",
			       who, fail->name, code);
	else
		slm_buf_printf(&n->cause,
			       "%s's step %s found the database locked by "
			       "another call (%s).",
			       who, fail->name, code);
	return true;
}

static bool name_abort(struct slm_naming *n, uint32_t call)
{
	const struct slm_result *error = n->view->results.calls[call].error;
	const char *code = error->code ? error->code : "";

	if (error->error == SLM_ERROR_DEADLOCK)
		return name_deadlock(n, call);
	if (strncmp(code, "SQLITE_BUSY", 11) == 0)
		return name_busy(n, call, code);
	if (strcmp(code, "40001") != 0)
		return false;
	n->name = "serialization failure";
	slm_buf_printf(&n->cause,
		       "%s was ended by the database because no serial order "
		       "would give what it saw (40001).",
		       slm_naming_call(n, call));
	return true;
}

bool slm_naming_error(struct slm_naming *n, enum slm_error_kind kind)
{
	for (uint32_t call = 0; call < n->oracle->config.ncalls; call++) {
		const struct slm_call_result *result =
			&n->view->results.calls[call];

		if (!(n->view->results.failed & (1u << call)) ||
		    !result->error || result->error->error != kind ||
		    slm_results_allowed(n->oracle, result->error))
			continue;
		if (kind == SLM_ERROR_INTEGRITY ? name_integrity(n, call) :
						  name_abort(n, call))
			return true;
	}
	return false;
}
