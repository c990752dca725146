/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each step read and wrote and in which transaction, from the events and
 * the text of the steps. A COMMIT that no BEGIN of the call's steps preceded
 * ends a transaction that began before its first step (session setup).
 */
#include <stdlib.h>
#include <string.h>

#include "oracle/internal.h"
#include "oracle/statement.h"
#include "trace/params.h"

/* ---- Tables ----------------------------------------------------------- */

/* The bit of a table; 0 when there are too many, or memory is out (*failed). */
static uint64_t table_bit(struct slm_accesses *out, const char *name,
			  size_t size, struct slm_arena *arena, bool *failed)
{
	uint32_t i = 0;

	while (i < out->ntables && (strncmp(out->tables[i], name, size) != 0 ||
				    out->tables[i][size] != '\0'))
		i++;
	if (i == SLM_ACCESS_TABLES_MAX)
		return 0;
	if (i == out->ntables) {
		out->tables[i] = slm_arena_strndup(arena, name, size);
		if (!out->tables[i]) {
			*failed = true;
			return 0;
		}
		out->ntables++;
	}
	return UINT64_C(1) << i;
}

/* "account, orders" as bits. */
static uint64_t table_bits(struct slm_accesses *out, const char *names,
			   struct slm_arena *arena, bool *failed)
{
	uint64_t bits = 0;

	while (names && *names) {
		size_t size = strcspn(names, ", ");

		/* Temporary tables are nobody else's. */
		if (size > 0 && strncmp(names, "temp.", 5) != 0)
			bits |= table_bit(out, names, size, arena, failed);
		names += size;
		names += strspn(names, ", ");
	}
	return bits;
}

/* ---- Transactions ----------------------------------------------------- */

/* Where one call is. */
struct position {
	uint32_t transaction; /* the open one, 0: none */
	uint32_t last;	      /* number given last */
	bool begun;	      /* a BEGIN or end of a transaction was seen */
	bool deferred;
	bool certain;
};

/* Ends the call's open transaction, or the one that began before its first
 * step, at event. */
static void end_transaction(struct slm_accesses *out, uint32_t call,
			    struct position *at, uint32_t event, bool commit)
{
	for (uint32_t i = 0; i < out->count; i++) {
		struct slm_access *access = &out->list[i];

		if (access->call != call ||
		    (at->begun && (!at->transaction ||
				   access->transaction != at->transaction)))
			continue;
		if (!at->begun) {
			access->transaction = 1;
			access->deferred = true;
		}
		access->visible = commit ? event : UINT32_MAX;
		if (!commit)
			access->writes = 0;
	}
	at->begun = true;
	at->transaction = 0;
}

/* Follows the transaction control in a step. Returns the transaction that its
 * first other statement runs in, or 0 if it has none of its own. */
static uint32_t follow_step(struct slm_accesses *out, uint32_t call,
			    struct position *at, const char *sql,
			    uint32_t event)
{
	uint32_t inside = 0;
	enum slm_statement kind;

	while ((kind = slm_statement_next(&sql)) != SLM_STATEMENT_NONE) {
		switch (kind) {
		case SLM_STATEMENT_BEGIN:
		case SLM_STATEMENT_BEGIN_IMMEDIATE:
			at->begun = true;
			at->transaction = ++at->last;
			at->deferred = kind == SLM_STATEMENT_BEGIN;
			break;
		case SLM_STATEMENT_COMMIT:
			end_transaction(out, call, at, event, true);
			break;
		case SLM_STATEMENT_ROLLBACK:
			end_transaction(out, call, at, event, false);
			break;
		case SLM_STATEMENT_SAVEPOINT:
			at->certain = false;
			break;
		default:
			if (inside == 0)
				inside = at->transaction ? at->transaction :
							   ++at->last;
			break;
		}
	}
	return inside;
}

/* ---- Both ------------------------------------------------------------- */

static const struct slm_taken *find_taken(const struct slm_call_result *call,
					  uint32_t event)
{
	for (uint32_t i = 0; i < call->ntaken; i++)
		if (call->taken[i].event == event)
			return &call->taken[i];
	return NULL;
}

/* A step that failed did nothing, and leaves it open whether its transaction
 * lives on. */
static bool has_failed(const struct slm_event *event)
{
	for (const struct slm_result *r = event->result; r; r = r->next)
		if (r->error != SLM_ERROR_NONE)
			return true;
	return false;
}

/* Is the event a statement in autocommit whose commit was made a step of its
 * own? Then it is in a transaction that this step ends. */
static bool is_split(const struct slm_oracle *oracle,
		     const struct slm_view *view, uint32_t index)
{
	const struct slm_run *run = view->run;
	uint32_t call = run->events[index].call;

	for (uint32_t i = index + 1; i < run->nevents; i++) {
		const struct slm_event *next = &run->events[i];
		const struct slm_trace_step *step;

		if (next->call != call || next->kind == SLM_EVENT_RESUMED)
			continue;
		if (next->step == SLM_STEP_NONE)
			return false;
		step = &oracle->config.calls[call].steps[next->step];
		return step->implicit && strcmp(step->sql, "COMMIT") == 0;
	}
	return false;
}

/* The parameters of the event, or of the one at which its step began to
 * wait. */
static const char *params_of(const struct slm_run *run, uint32_t index)
{
	const struct slm_event *event = &run->events[index];

	for (uint32_t i = index; event->kind == SLM_EVENT_RESUMED && i > 0;
	     i--) {
		const struct slm_event *before = &run->events[i - 1];

		if (before->call == event->call &&
		    before->kind == SLM_EVENT_BLOCKED &&
		    before->step == event->step)
			return before->params;
	}
	return event->params;
}

const char *slm_access_sql(const struct slm_oracle *oracle,
			   const struct slm_run *run, uint32_t event,
			   struct slm_arena *arena)
{
	const struct slm_event *at = &run->events[event];

	return slm_params_put(
		arena, oracle->config.calls[at->call].steps[at->step].sql,
		params_of(run, event), NULL);
}

static bool add_access(const struct slm_oracle *oracle,
		       const struct slm_view *view, uint32_t index,
		       struct position *at, struct slm_accesses *out,
		       struct slm_arena *arena)
{
	const struct slm_event *event = &view->run->events[index];
	const struct slm_trace_step *step =
		&oracle->config.calls[event->call].steps[event->step];
	struct slm_access access = {
		.call = event->call,
		.step = event->step,
		.event = index,
		.visible = index,
		.sql = slm_access_sql(oracle, view->run, index, arena),
		.name = step->name,
	};
	bool failed = false, error = has_failed(event);

	if (!access.sql)
		return false;
	if (!error && !step->implicit && is_split(oracle, view, index)) {
		at->begun = true;
		at->transaction = ++at->last;
		at->deferred = true;
	}
	access.taken = find_taken(&view->results.calls[event->call], index);
	if (error)
		access.transaction = at->transaction;
	else
		access.transaction =
			follow_step(out, event->call, at, access.sql, index);
	access.deferred = at->transaction && at->deferred;
	if (access.transaction && access.transaction == at->transaction)
		access.visible = UINT32_MAX; /* until it is committed */
	if (access.taken && !error) {
		access.reads = table_bits(out, step->reads, arena, &failed);
		if (access.taken->wrote || !access.taken->idle)
			access.writes =
				table_bits(out, step->writes, arena, &failed);
	}
	at->certain = at->certain && !error;
	if (access.taken)
		out->list[out->count++] = access;
	return !failed;
}

bool slm_access_make(const struct slm_oracle *oracle,
		     const struct slm_view *view, struct slm_arena *arena,
		     struct slm_accesses *out)
{
	struct position at[SLM_CALLS_MAX] = { { 0 } };
	const struct slm_run *run = view->run;

	memset(out, 0, sizeof(*out));
	out->list = slm_arena_zalloc(arena, run->nevents, sizeof(*out->list));
	if (!out->list)
		return false;
	for (uint32_t i = 0; i < SLM_CALLS_MAX; i++) {
		at[i].certain = true;
		at[i].last = 1; /* 1 is the one that began before */
	}
	for (uint32_t i = 0; i < run->nevents; i++) {
		const struct slm_event *event = &run->events[i];

		if ((event->kind == SLM_EVENT_STEP ||
		     event->kind == SLM_EVENT_RESUMED) &&
		    !add_access(oracle, view, i, &at[event->call], out, arena))
			return false;
	}
	for (uint32_t i = 0; i < out->count; i++)
		out->list[i].certain = at[out->list[i].call].certain;
	return true;
}
