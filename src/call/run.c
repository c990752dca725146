/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver of the loom. A call that is an SQL session goes through phases:
 * its steps, the ROLLBACK after an error, its session's teardown, the end. A
 * call that is a program says itself where it has come to (slm_db_arrive).
 * Invariant: when the loom is asked, every event of the last order has been
 * delivered.
 */
#include "call/run.h"

#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"

void slm_runner_init(struct slm_runner *runner)
{
	memset(runner, 0, sizeof(*runner));
	slm_arena_init(&runner->arena);
}

void slm_runner_deinit(struct slm_runner *runner)
{
	slm_arena_deinit(&runner->arena);
	slm_free(runner->events);
	slm_free(runner->schedule);
	slm_free(runner->taken);
	slm_runner_init(runner);
}

/* ---- Recording --------------------------------------------------------- */

static enum sqloom_status record(struct slm_runner *runner,
				 const struct slm_event *event,
				 struct sqloom_error *err)
{
	if (runner->nevents == runner->events_capacity) {
		uint32_t grown = runner->events_capacity * 2 + 32;
		struct slm_event *events = slm_reallocarray(
			runner->events, grown, sizeof(*events));

		if (!events)
			return slm_error_nomem(err);
		runner->events = events;
		runner->events_capacity = grown;
	}
	runner->events[runner->nevents++] = *event;
	return SQLOOM_OK;
}

static unsigned session_steps(const struct slm_runner *runner, unsigned call)
{
	return runner->spec->sessions[call].nsteps;
}

/* The step the call is at, as traces number it. */
static uint32_t trace_step(const struct slm_runner *runner, unsigned call)
{
	if (slm_db_arrives(runner->db))
		return runner->at[call];
	switch (runner->phase[call]) {
	case SLM_PHASE_COMMIT:
		return SLM_STEP_COMMIT(session_steps(runner, call));
	case SLM_PHASE_ROLLBACK:
		return SLM_STEP_ROLLBACK(session_steps(runner, call));
	case SLM_PHASE_TEARDOWN:
		return SLM_STEP_TEARDOWN(session_steps(runner, call));
	case SLM_PHASE_STEPS:
		break;
	}
	return runner->plan->steps[call][runner->position[call]];
}

static uint32_t db_step(const struct slm_runner *runner, unsigned call)
{
	if (slm_db_arrives(runner->db))
		return runner->at[call];
	switch (runner->phase[call]) {
	case SLM_PHASE_COMMIT:
		return SLM_DB_COMMIT;
	case SLM_PHASE_ROLLBACK:
		return SLM_DB_ROLLBACK;
	case SLM_PHASE_TEARDOWN:
		return SLM_DB_TEARDOWN;
	case SLM_PHASE_STEPS:
		break;
	}
	return runner->plan->steps[call][runner->position[call]];
}

/* A letter of the schedule. */
static enum sqloom_status add_letter(struct slm_runner *runner, unsigned call,
				     struct sqloom_error *err)
{
	if (!runner->schedule) {
		runner->schedule = slm_malloc(SLM_SCHEDULE_MAX);
		runner->taken = slm_reallocarray(NULL, SLM_SCHEDULE_MAX,
						 sizeof(*runner->taken));
	}
	if (!runner->schedule || !runner->taken)
		return slm_error_nomem(err);
	if (runner->nletters == SLM_SCHEDULE_MAX)
		return slm_error_set(
			err, SQLOOM_LIMIT,
			"a run takes more than %d steps, all calls "
			"together: let the calls do less, or a "
			"part of it before they start",
			SLM_SCHEDULE_MAX);
	runner->schedule[runner->nletters] = (uint8_t)call;
	runner->taken[runner->nletters++] = trace_step(runner, call);
	return SQLOOM_OK;
}

static void digest_result(struct slm_runner *runner, unsigned call,
			  const struct slm_result *result)
{
	uint64_t digest = slm_hash_mix(runner->call_digest[call],
				       trace_step(runner, call));

	for (; result; result = result->next)
		digest = slm_hash_mix(digest, result->digest);
	runner->call_digest[call] = digest;
}

/* What a program reads is its own business, but not the errors that it got:
 * the last one says why it failed. */
static void digest_error(struct slm_runner *runner, unsigned call,
			 const struct slm_result *result)
{
	for (; result; result = result->next)
		if (result->error != SLM_ERROR_NONE)
			runner->call_digest[call] = slm_hash_mix(
				runner->call_digest[call], result->error);
}

/* ---- The way of a call ------------------------------------------------- */

static bool has_error(const struct slm_result *result)
{
	for (; result; result = result->next)
		if (result->error != SLM_ERROR_NONE)
			return true;
	return false;
}

static enum sqloom_status internal(const char *what, struct sqloom_error *err)
{
	return slm_error_set(err, SQLOOM_INTERNAL,
			     "the loom refused \"%s\": a defect of sqloom, "
			     "please report it with the spec",
			     what);
}

/* Ends an open transaction of the call now, as a step of its own that is no
 * choice. Nothing can stand in the way of a ROLLBACK. */
static enum sqloom_status roll_back_now(struct slm_runner *runner,
					unsigned call, struct sqloom_error *err)
{
	struct slm_db_answer answer;
	struct slm_event event = {
		.kind = SLM_EVENT_STEP,
		.call = call,
		.step = SLM_STEP_ROLLBACK(session_steps(runner, call)),
	};
	enum sqloom_status status;

	if (!slm_db_in_transaction(runner->db, call))
		return SQLOOM_OK;
	status = slm_db_step(runner->db, call, SLM_DB_ROLLBACK, &answer, err);
	if (status)
		return status;
	if (answer.blocked)
		return internal("a ROLLBACK that waits", err);
	event.result = answer.result;
	return record(runner, &event, err);
}

static enum sqloom_status finish(struct slm_runner *runner, unsigned call,
				 struct sqloom_error *err)
{
	struct slm_event event = {
		.kind = SLM_EVENT_END,
		.call = call,
		.step = SLM_STEP_NONE,
		.ok = !(runner->failed & (1u << call)),
	};
	enum sqloom_status status = roll_back_now(runner, call, err);

	if (!status)
		status = record(runner, &event, err);
	if (!status && !slm_loom_finished(&runner->loom, call))
		status = internal("finished", err);
	return status;
}

/* Skips steps whose `when` is not true. */
static enum sqloom_status skip_steps(struct slm_runner *runner, unsigned call,
				     struct sqloom_error *err)
{
	const struct slm_plan *plan = runner->plan;
	const struct slm_spec_session *session = &runner->spec->sessions[call];

	for (; runner->position[call] < plan->nsteps[call];
	     runner->position[call]++) {
		uint32_t step = plan->steps[call][runner->position[call]];
		struct slm_event event = { .kind = SLM_EVENT_SKIPPED,
					   .call = call,
					   .step = step };
		enum sqloom_status status;
		bool run;

		if (!session->steps[step].when.text)
			return SQLOOM_OK;
		status = slm_db_when(runner->db, call, step, &run, err);
		if (status || run)
			return status;
		status = record(runner, &event, err);
		if (status)
			return status;
		runner->call_digest[call] = slm_hash_mix(
			runner->call_digest[call], ~(uint64_t)step);
	}
	return SQLOOM_OK;
}

/* A program is over, and what it gave is known. */
static enum sqloom_status program_ended(struct slm_runner *runner,
					unsigned call,
					const struct slm_db_arrival *arrival,
					struct sqloom_error *err)
{
	struct slm_event event = { .kind = SLM_EVENT_END,
				   .call = call,
				   .step = SLM_STEP_NONE,
				   .ok = !arrival->failed,
				   .result = arrival->result };
	enum sqloom_status status = record(runner, &event, err);

	if (arrival->failed)
		runner->failed |= 1u << call;
	for (const struct slm_result *r = arrival->result; r; r = r->next)
		runner->call_digest[call] =
			slm_hash_mix(runner->call_digest[call], r->digest);
	if (!status && !slm_loom_finished(&runner->loom, call))
		status = internal("finished", err);
	return status;
}

/* The running call is a program: where does it come to? */
static enum sqloom_status program_arrives(struct slm_runner *runner,
					  unsigned call,
					  struct sqloom_error *err)
{
	struct slm_event event = { .kind = SLM_EVENT_STALLED,
				   .call = call,
				   .step = SLM_STEP_NONE };
	struct slm_db_arrival arrival = { 0 };
	enum sqloom_status status =
		slm_db_arrive(runner->db, call, &arrival, err);

	if (status)
		return status;
	switch (arrival.kind) {
	case SLM_ARRIVAL_END:
		return program_ended(runner, call, &arrival, err);
	case SLM_ARRIVAL_STEP:
		runner->at[call] = arrival.step;
		runner->params[call] = arrival.params;
		return slm_loom_arrive(&runner->loom, call, arrival.local) ?
			       SQLOOM_OK :
			       internal("arrive", err);
	case SLM_ARRIVAL_STALLED:
		break;
	}
	event.what = arrival.what;
	runner->stalled = true;
	status = record(runner, &event, err);
	if (!status && !slm_loom_stalled(&runner->loom, call))
		status = internal("stalled", err);
	return status;
}

/* The running call goes to its next step, or ends. */
static enum sqloom_status advance(struct slm_runner *runner, unsigned call,
				  struct sqloom_error *err)
{
	const struct slm_spec_session *session = &runner->spec->sessions[call];
	enum sqloom_status status = SQLOOM_OK;
	bool local = false;

	if (slm_db_arrives(runner->db))
		return program_arrives(runner, call, err);
	if (runner->phase[call] == SLM_PHASE_STEPS && !runner->stopped[call])
		status = skip_steps(runner, call, err);
	if (status)
		return status;
	if (runner->phase[call] == SLM_PHASE_STEPS &&
	    (runner->stopped[call] ||
	     runner->position[call] == runner->plan->nsteps[call])) {
		if (!session->teardown.text)
			return finish(runner, call, err);
		runner->phase[call] = SLM_PHASE_TEARDOWN;
	}
	if (runner->phase[call] != SLM_PHASE_ROLLBACK)
		local = slm_db_info(runner->db, call, db_step(runner, call))
				.local;
	return slm_loom_arrive(&runner->loom, call, local) ?
		       SQLOOM_OK :
		       internal("arrive", err);
}

/* A step failed: its call stops, or goes on as psql would. */
static enum sqloom_status failed(struct slm_runner *runner, unsigned call,
				 struct sqloom_error *err)
{
	runner->failed |= 1u << call;
	if (!runner->stop_on_error)
		return SQLOOM_OK;
	runner->stopped[call] = true;
	if (!slm_db_in_transaction(runner->db, call))
		return SQLOOM_OK;
	if (runner->position[call] + 1 >= runner->plan->nsteps[call])
		return roll_back_now(runner, call, err);
	runner->phase[call] = SLM_PHASE_ROLLBACK;
	return SQLOOM_OK;
}

/* The running call's step is done. */
static enum sqloom_status step_done(struct slm_runner *runner, unsigned call,
				    const struct slm_result *result,
				    struct sqloom_error *err)
{
	enum slm_call_phase phase = runner->phase[call];
	enum sqloom_status status = SQLOOM_OK;

	if (slm_db_arrives(runner->db)) {
		digest_error(runner, call, result);
		return advance(runner, call, err);
	}
	digest_result(runner, call, result);
	switch (phase) {
	case SLM_PHASE_STEPS:
		if (has_error(result))
			status = failed(runner, call, err);
		runner->position[call]++;
		if (slm_db_split(runner->db, call))
			runner->phase[call] = SLM_PHASE_COMMIT;
		break;
	case SLM_PHASE_COMMIT:
		runner->phase[call] = SLM_PHASE_STEPS;
		if (has_error(result))
			status = failed(runner, call, err);
		break;
	case SLM_PHASE_ROLLBACK:
		runner->phase[call] = SLM_PHASE_STEPS;
		break;
	case SLM_PHASE_TEARDOWN:
		/* An error counts only if it left the work undone. */
		if (has_error(result) &&
		    slm_db_in_transaction(runner->db, call))
			runner->failed |= 1u << call;
		return finish(runner, call, err);
	}
	return status ? status : advance(runner, call, err);
}

/* ---- Orders of the loom ------------------------------------------------ */

/* A call that waited is done with its step. */
static enum sqloom_status resumed(struct slm_runner *runner, unsigned call,
				  const struct slm_db_answer *answer,
				  struct sqloom_error *err)
{
	struct slm_event event = { .kind = SLM_EVENT_RESUMED,
				   .call = call,
				   .step = trace_step(runner, call),
				   .result = answer->result,
				   .waited_ms = answer->waited_ms };
	enum sqloom_status status;

	if (!slm_loom_unblocked(&runner->loom, call))
		return internal("unblocked", err);
	status = record(runner, &event, err);
	return status ? status : step_done(runner, call, answer->result, err);
}

/* Stalled calls that go on by themselves. */
static enum sqloom_status wake_up(struct slm_runner *runner, bool patiently,
				  struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;
	int call = 0;

	while (!status && runner->loom.stalled && call >= 0) {
		status = slm_db_awake(runner->db, runner->loom.stalled,
				      patiently, &call, err);
		patiently = false;
		if (status || call < 0)
			return status;
		if (!slm_loom_unblocked(&runner->loom, (unsigned)call))
			return internal("awake", err);
		status = advance(runner, (unsigned)call, err);
	}
	return status;
}

/* Blocked calls whose way is free go on, one after another. */
static enum sqloom_status resume_all(struct slm_runner *runner,
				     struct sqloom_error *err)
{
	for (;;) {
		struct slm_db_answer answer;
		enum sqloom_status status;
		int call;

		status = slm_db_resume(runner->db, &call, &answer, err);
		if (status || call < 0)
			return status;
		if (answer.blocked)
			continue;
		status = resumed(runner, (unsigned)call, &answer, err);
		if (status)
			return status;
	}
}

static enum sqloom_status let_go(struct slm_runner *runner,
				 struct sqloom_error *err)
{
	enum sqloom_status status = resume_all(runner, err);

	return status ? status : wake_up(runner, false, err);
}

/* The running call does the step it is at. */
static enum sqloom_status do_step(struct slm_runner *runner, unsigned call,
				  bool choice, struct sqloom_error *err)
{
	struct slm_event event = { .kind = SLM_EVENT_STEP,
				   .call = call,
				   .step = trace_step(runner, call),
				   .choice = choice,
				   .params = runner->params[call] };
	struct slm_db_answer answer;
	enum sqloom_status status = slm_db_step(
		runner->db, call, db_step(runner, call), &answer, err);

	runner->way =
		slm_hash_mix(runner->way, ((uint64_t)call << 32) | event.step);
	if (status)
		return status;
	if (answer.blocked) {
		event.kind = SLM_EVENT_BLOCKED;
		event.blocked_by = answer.blocked_by;
		event.what = slm_arena_strdup(&runner->arena, answer.what);
		if (!event.what)
			return slm_error_nomem(err);
		status = record(runner, &event, err);
		if (!status && !slm_loom_blocked(&runner->loom, call))
			status = internal("blocked", err);
		/* It may have closed a deadlock that ended another call. */
		return status ? status : let_go(runner, err);
	}
	event.result = answer.result;
	status = record(runner, &event, err);
	if (!status)
		status = step_done(runner, call, answer.result, err);
	return status ? status : let_go(runner, err);
}

/* Nobody can go on: time passes until one wait ends. */
static enum sqloom_status stuck(struct slm_runner *runner,
				struct sqloom_error *err)
{
	struct slm_db_answer answer;
	enum sqloom_status status;
	int call;

	if (runner->loom.stalled) {
		status = wake_up(runner, true, err);
		return status ? status : let_go(runner, err);
	}
	status = slm_db_expire(runner->db, &call, &answer, err);
	if (status)
		return status;
	if (call < 0)
		return internal("a wait without end", err);
	status = resumed(runner, (unsigned)call, &answer, err);
	return status ? status : let_go(runner, err);
}

static unsigned lowest(uint32_t mask)
{
	return (unsigned)__builtin_ctz(mask);
}

static unsigned pick_by_order(const char *order, uint32_t enabled)
{
	for (; *order; order++)
		if (enabled & (1u << (*order - 'a')))
			return (unsigned)(*order - 'a');
	return lowest(enabled);
}

/* A statement that was split is still one step of a permutation line. */
static int split_call(const struct slm_runner *runner, uint32_t enabled)
{
	for (unsigned i = 0; i < runner->plan->ncalls; i++)
		if ((enabled & (1u << i)) &&
		    runner->phase[i] == SLM_PHASE_COMMIT)
			return (int)i;
	return -1;
}

/* Follows the permutation line; entries that were skipped or cut off by an
 * error are passed over. */
static unsigned pick_by_script(struct slm_runner *runner, uint32_t enabled)
{
	const struct slm_director *director = runner->director;
	int split = split_call(runner, enabled);

	if (split >= 0)
		return (unsigned)split;
	for (; runner->script_at < director->nscript; runner->script_at++) {
		const struct slm_script_step *next =
			&director->script[runner->script_at];
		unsigned call = next->call;

		if (runner->loom.state[call] == SLM_CALL_FINISHED ||
		    runner->position[call] > next->position)
			continue;
		if (enabled & (1u << call)) {
			runner->script_at++;
			return call;
		}
		if (runner->failed_at < 0)
			runner->failed_at = (int)runner->script_at;
		break;
	}
	return lowest(enabled);
}

static enum sqloom_status choose(struct slm_runner *runner,
				 const struct slm_loom_order *order,
				 struct sqloom_error *err)
{
	const struct slm_director *director = runner->director;
	enum sqloom_status status = SQLOOM_OK;
	unsigned call;

	if (director->strategy) {
		struct slm_choice choice = { .enabled = order->enabled,
					     .previous = order->previous,
					     .index = runner->nletters };

		status = slm_strategy_pick(director->strategy, &choice, &call,
					   err);
		if (status)
			return status;
	} else if (director->script) {
		call = pick_by_script(runner, order->enabled);
	} else {
		call = pick_by_order(director->order, order->enabled);
	}
	if (!slm_loom_grant(&runner->loom, call))
		return internal("grant", err);
	runner->switches += order->previous >= 0 &&
			    (unsigned)order->previous != call &&
			    (order->enabled & (1u << order->previous));
	status = add_letter(runner, call, err);
	return status ? status : do_step(runner, call, true, err);
}

static enum sqloom_status loop(struct slm_runner *runner,
			       struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	while (!status) {
		struct slm_loom_order order = slm_loom_next(&runner->loom);

		switch (order.kind) {
		case SLM_ORDER_START:
			status = advance(runner, order.call, err);
			break;
		case SLM_ORDER_GO:
			status = do_step(runner, order.call, false, err);
			break;
		case SLM_ORDER_CHOOSE:
			status = choose(runner, &order, err);
			break;
		case SLM_ORDER_STUCK:
			status = stuck(runner, err);
			break;
		case SLM_ORDER_WAIT:
			status = internal("a call without an event", err);
			break;
		case SLM_ORDER_DONE:
			return SQLOOM_OK;
		}
	}
	return status;
}

static void begin(struct slm_runner *runner, uint32_t members,
		  const struct slm_director *director)
{
	unsigned n = runner->plan->ncalls;

	slm_arena_clear(&runner->arena);
	runner->nevents = 0;
	runner->nletters = 0;
	runner->switches = 0;
	runner->members = members;
	runner->failed = 0;
	runner->failed_at = -1;
	runner->way = 0;
	runner->stalled = false;
	runner->director = director;
	runner->script_at = 0;
	for (unsigned i = 0; i < n; i++) {
		runner->phase[i] = SLM_PHASE_STEPS;
		runner->position[i] = 0;
		runner->stopped[i] = false;
		runner->call_digest[i] = i;
		runner->params[i] = NULL;
	}
	slm_loom_begin(&runner->loom, n, members);
	/* Programs are not even started before it is their turn. */
	if (slm_db_arrives(runner->db))
		runner->loom.serial = director->order;
}

enum sqloom_status slm_run(struct slm_runner *runner, uint32_t members,
			   unsigned variant,
			   const struct slm_director *director,
			   struct sqloom_error *err)
{
	enum sqloom_status status, ended;

	begin(runner, members, director);
	if (director->strategy)
		slm_strategy_begin(director->strategy);
	status = slm_db_run_begin(runner->db, members, variant, &runner->arena,
				  err);
	if (!status)
		status = loop(runner, err);
	ended = slm_db_run_end(runner->db, status ? NULL : err);
	if (!status)
		status = ended;
	runner->digest = members;
	for (unsigned i = 0; i < runner->plan->ncalls; i++)
		runner->digest =
			slm_hash_mix(runner->digest, runner->call_digest[i]);
	return status;
}
