/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each call returned: the sequence of its steps, each skipped or run,
 * with rows, changes and error code. The rows of a result are a multiset,
 * unless the statement asks for an order (ORDER BY outside parentheses) and
 * that order is the same in equal serial runs. With a masked column the order
 * may follow from what is masked, so it does not count.
 *
 * Steps that sqloom made itself (the ROLLBACK after an error) are no part of
 * what the call did. Of a call that is a program only what it gave at its end
 * is (given.c); its steps are kept for the explanation.
 */
#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "oracle/internal.h"

enum slm_hiding slm_results_hiding(const struct slm_oracle *oracle,
				   uint32_t call, uint32_t step,
				   uint32_t statement, uint32_t column)
{
	for (uint32_t i = 0; i < oracle->nresult_masks; i++) {
		const struct slm_result_mask *mask = &oracle->result_masks[i];

		if (mask->call == call && mask->step == step &&
		    mask->statement == statement && mask->column == column)
			return mask->hiding;
	}
	return SLM_SHOWN;
}

bool slm_results_hides(enum slm_hiding hiding, const struct slm_value *value)
{
	return hiding == SLM_HIDDEN ||
	       (hiding == SLM_NULLS && value->kind != SLM_NULL);
}

bool slm_results_allowed(const struct slm_oracle *oracle,
			 const struct slm_result *error)
{
	for (uint32_t i = 0; error && i < oracle->config.nallow; i++) {
		const char *allow = oracle->config.allow[i];

		if (error->code && strcmp(error->code, allow) == 0)
			return true;
		if (error->message && *allow && strstr(error->message, allow))
			return true;
	}
	return false;
}

/* ---- Digests ---------------------------------------------------------- */

static bool has_order(const struct slm_oracle *oracle, uint32_t call,
		      uint32_t step, uint32_t statement)
{
	uint64_t ordered;

	if (slm_given_is_program(oracle, call))
		return false;
	ordered = oracle->ordered[oracle->first_step[call] + step];
	return statement < 64 && (ordered >> statement) & 1;
}

bool slm_results_ordered(const struct slm_oracle *oracle, uint32_t call,
			 uint32_t step, uint32_t statement,
			 const struct slm_rows *rows)
{
	if (!has_order(oracle, call, step, statement) ||
	    slm_results_hiding(oracle, call, step, statement, SLM_COLUMN_ORDER))
		return false;
	for (uint32_t i = 0; i < rows->ncolumns; i++)
		if (slm_results_hiding(oracle, call, step, statement, i))
			return false;
	return true;
}

static uint64_t digest_row(const struct slm_oracle *oracle, uint32_t call,
			   uint32_t step, uint32_t statement,
			   const struct slm_rows *rows, uint32_t row)
{
	uint64_t digest = 0;

	for (uint32_t i = 0; i < rows->ncolumns; i++) {
		const struct slm_value *value =
			&rows->values[(size_t)row * rows->ncolumns + i];
		enum slm_hiding hiding =
			slm_results_hiding(oracle, call, step, statement, i);

		if (!slm_results_hides(hiding, value))
			digest = slm_hash_mix(slm_hash_mix(digest, i),
					      slm_canonical_value(value));
	}
	return digest;
}

uint64_t slm_results_rows(const struct slm_oracle *oracle, uint32_t call,
			  uint32_t step, uint32_t statement,
			  const struct slm_rows *rows, bool ordered)
{
	uint64_t all = 0;

	for (uint32_t row = 0; row < rows->nkept; row++) {
		uint64_t digest =
			digest_row(oracle, call, step, statement, rows, row);

		all = ordered ? slm_hash_mix(all, digest) :
				all + slm_hash_mix(4, digest);
	}
	return slm_hash_mix(slm_hash_mix(rows->ncolumns, rows->nrows), all);
}

static uint64_t digest_rows(const struct slm_oracle *oracle, uint32_t call,
			    uint32_t step, uint32_t statement,
			    const struct slm_rows *rows)
{
	return slm_results_rows(oracle, call, step, statement, rows,
				slm_results_ordered(oracle, call, step,
						    statement, rows));
}

uint64_t slm_results_error(const struct slm_result *error)
{
	uint64_t kind = error ? (uint64_t)error->error : 0;

	if (!error || !error->code)
		return slm_hash_mix(5, kind);
	return slm_hash(error->code, strlen(error->code), kind);
}

/* valued: rows and changes are of interest. */
static void digest_taken(const struct slm_oracle *oracle, uint32_t call,
			 struct slm_taken *taken, bool valued)
{
	uint32_t statement = 0;

	taken->value = 0;
	for (const struct slm_result *r = taken->result; r && valued;
	     r = r->next, statement++) {
		taken->value = slm_hash_mix(
			taken->value, digest_rows(oracle, call, taken->step,
						  statement, &r->rows));
		taken->value = slm_hash_mix(taken->value, (uint64_t)r->changes);
	}
	taken->digest = slm_hash_mix(taken->step, taken->skipped);
	taken->digest = slm_hash_mix(taken->digest, taken->value);
	taken->digest =
		slm_hash_mix(taken->digest, slm_results_error(taken->error));
}

static bool is_control(const struct slm_oracle *oracle, uint32_t call,
		       uint32_t step)
{
	return !slm_given_is_program(oracle, call) &&
	       oracle->control[oracle->first_step[call] + step];
}

static void see(const struct slm_oracle *oracle, uint32_t call,
		const struct slm_taken *taken, uint64_t *seen)
{
	if (taken->observed && !is_control(oracle, call, taken->step))
		*seen = slm_hash_mix(*seen, taken->digest);
}

/* What a program read on its way is digested for the explanation only. */
static void digest_program(const struct slm_oracle *oracle, uint32_t call,
			   struct slm_call_result *result,
			   const struct slm_canonical *contents)
{
	for (uint32_t i = 0; i < result->ntaken; i++)
		digest_taken(oracle, call, &result->taken[i], true);
	result->seen = slm_given_digest(oracle, call, result->given, contents);
	result->digest =
		slm_hash_mix(result->digest, slm_results_error(result->error));
	if (!result->aborted)
		result->digest = slm_hash_mix(result->digest, result->seen);
}

void slm_results_digest(const struct slm_oracle *oracle,
			struct slm_results *results,
			const struct slm_canonical *contents)
{
	for (uint32_t call = 0; call < oracle->config.ncalls; call++) {
		struct slm_call_result *result = &results->calls[call];

		result->digest = slm_hash_mix(result->ok, result->aborted);
		result->seen = 0;
		if (result->program) {
			digest_program(oracle, call, result, contents);
			continue;
		}
		/* What an aborted call saw until then was undone with it. */
		if (result->aborted) {
			result->digest =
				slm_hash_mix(result->digest,
					     slm_results_error(result->error));
			continue;
		}
		for (uint32_t i = 0; i < result->ntaken; i++) {
			digest_taken(oracle, call, &result->taken[i],
				     result->taken[i].observed);
			result->digest = slm_hash_mix(result->digest,
						      result->taken[i].digest);
			see(oracle, call, &result->taken[i], &result->seen);
		}
	}
}

/* ---- From events ------------------------------------------------------ */

static bool is_taken(const struct slm_event *event)
{
	return event->kind == SLM_EVENT_STEP ||
	       event->kind == SLM_EVENT_RESUMED ||
	       event->kind == SLM_EVENT_SKIPPED;
}

static const struct slm_result *find_error(const struct slm_result *result)
{
	while (result && result->error == SLM_ERROR_NONE)
		result = result->next;
	return result;
}

/* What the changes and rows of a chain amount to. */
static void weigh(struct slm_taken *taken, bool control)
{
	bool writes = false, returned = false;

	for (const struct slm_result *r = taken->result; r; r = r->next) {
		writes = writes || r->changes >= 0;
		taken->wrote = taken->wrote || r->changes > 0;
		returned = returned || r->rows.nrows > 0;
	}
	taken->idle = writes && !taken->wrote && !returned;
	taken->effect = taken->observed && !taken->skipped && !taken->error &&
			!control && (taken->wrote || !writes);
}

static void take(const struct slm_oracle *oracle, const struct slm_event *event,
		 uint32_t index, struct slm_call_result *out)
{
	const struct slm_trace_call *call = &oracle->config.calls[event->call];
	const bool *unobserved =
		oracle->config.unobserved ?
			oracle->config.unobserved[event->call] :
			NULL;
	struct slm_taken *taken = &out->taken[out->ntaken];

	assert(event->step < call->nsteps);
	memset(taken, 0, sizeof(*taken));
	taken->step = event->step;
	taken->event = index;
	taken->skipped = event->kind == SLM_EVENT_SKIPPED;
	taken->observed = !out->program &&
			  (!unobserved || !unobserved[event->step]);
	taken->result = taken->skipped ? NULL : event->result;
	taken->error = find_error(taken->result);
	if (call->steps[event->step].implicit && !taken->error)
		return;
	weigh(taken, is_control(oracle, event->call, event->step));
	out->ntaken++;
}

/* A skipped write counts as one: the call may have looked twice before it
 * refused. After an error steps may have been taken again. */
static bool reads_only(const struct slm_trace_call *call,
		       const struct slm_call_result *result)
{
	for (uint32_t i = 0; i < result->ntaken; i++) {
		const struct slm_taken *taken = &result->taken[i];
		const char *writes = call->steps[taken->step].writes;

		if (taken->wrote || taken->idle || taken->error ||
		    (writes && *writes))
			return false;
	}
	return true;
}

/* Why the call failed: an abort where there is one, else its first error. */
static void conclude(struct slm_call_result *call, bool ended, bool ok)
{
	for (uint32_t i = 0; i < call->ntaken; i++) {
		const struct slm_result *error = call->taken[i].error;
		bool abort = error && (error->error == SLM_ERROR_RETRY ||
				       error->error == SLM_ERROR_DEADLOCK);

		if (!error || (call->error && !abort))
			continue;
		call->error = error;
		call->error_step = call->taken[i].step;
		if (abort) {
			call->aborted = true;
			break;
		}
	}
	call->ok = ended ? ok : !call->error;
	/* Who goes on after an error and ends well was not aborted. */
	call->aborted = call->aborted && !call->ok;
}

static void conclude_program(const struct slm_oracle *oracle,
			     const struct slm_run *run, uint32_t call,
			     struct slm_call_result *out)
{
	struct slm_fate fate;

	slm_given_fate(oracle, run, call, &fate);
	out->ok = fate.ok;
	out->aborted = fate.aborted;
	out->error = fate.error;
	out->error_step = fate.step;
	out->given = fate.given;
}

bool slm_results_make(const struct slm_oracle *oracle,
		      const struct slm_run *run, struct slm_arena *arena,
		      struct slm_results *out)
{
	uint32_t count[SLM_CALLS_MAX] = { 0 };
	bool ended[SLM_CALLS_MAX] = { false }, ok[SLM_CALLS_MAX] = { false };

	memset(out, 0, sizeof(*out));
	out->members = run->members;
	for (uint32_t i = 0; i < run->nevents; i++) {
		assert(run->events[i].call < oracle->config.ncalls);
		count[run->events[i].call] += is_taken(&run->events[i]);
	}
	for (uint32_t call = 0; call < oracle->config.ncalls; call++) {
		out->calls[call].taken = slm_arena_alloc(
			arena, count[call] * sizeof(struct slm_taken));
		if (!out->calls[call].taken)
			return false;
		out->calls[call].program = slm_given_is_program(oracle, call);
	}
	for (uint32_t i = 0; i < run->nevents; i++) {
		const struct slm_event *event = &run->events[i];

		if (is_taken(event)) {
			take(oracle, event, i, &out->calls[event->call]);
		} else if (event->kind == SLM_EVENT_END) {
			ended[event->call] = true;
			ok[event->call] = event->ok;
		}
	}
	for (uint32_t call = 0; call < oracle->config.ncalls; call++) {
		if (!(run->members & (1u << call)))
			continue;
		if (out->calls[call].program)
			conclude_program(oracle, run, call, &out->calls[call]);
		else
			conclude(&out->calls[call], ended[call], ok[call]);
		out->calls[call].reads_only =
			!out->calls[call].program &&
			reads_only(&oracle->config.calls[call],
				   &out->calls[call]);
		out->failed |= (uint32_t)!out->calls[call].ok << call;
		out->aborted |= (uint32_t)out->calls[call].aborted << call;
	}
	return true;
}
