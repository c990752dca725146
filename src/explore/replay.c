/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A replay: serial runs, so that the outcome can be judged, then the one
 * schedule of the token. A step that is not the one the token recorded is a
 * divergence, and then the replay is never a pass.
 */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "explore/explorer.h"
#include "sql/sql.h"
#include "trace/token.h"

/* ---- What the token says ----------------------------------------------- */

/* The calls that take part, as indices; SQLOOM_TOKEN if there is no such. */
static enum sqloom_status read_schedule(struct explorer *explorer,
					const struct slm_token *token,
					uint8_t **schedule, uint32_t *members,
					struct sqloom_error *err)
{
	unsigned ncalls = explorer->spec->nsessions;

	*schedule = slm_arena_alloc(&explorer->arena, token->length + 1);
	if (!*schedule)
		return slm_error_nomem(err);
	*members = 0;
	for (uint32_t i = 0; i < token->length; i++) {
		unsigned call = (unsigned)(token->schedule[i] - 'a');

		if (call >= ncalls)
			return slm_error_set(
				err, SQLOOM_TOKEN,
				"the token has call %c, but \"%s\" has only %u "
				"calls (a to %c): is it the token of "
				"another spec?",
				token->schedule[i], explorer->spec->name,
				ncalls, 'a' + (char)ncalls - 1);
		(*schedule)[i] = (uint8_t)call;
		*members |= 1u << call;
	}
	return SQLOOM_OK;
}

/* May the step be passed without a letter? */
static bool no_letter(struct explorer *explorer, unsigned call, uint32_t step)
{
	return slm_db_info(explorer->db, call, step).local ||
	       explorer->spec->sessions[call].steps[step].when.text;
}

/* Passes the letter's step in the plan, from *at on; false: it is not there. */
static bool pass(struct explorer *explorer, const struct plan *plan,
		 unsigned call, uint16_t fingerprint, unsigned *at)
{
	const struct slm_trace_call *tells = &explorer->trace->calls[call];
	unsigned nsteps = explorer->spec->sessions[call].nsteps;

	for (; *at < plan->steps.nsteps[call]; ++*at) {
		uint32_t step = plan->steps.steps[call][*at];

		if ((tells->steps[step].fingerprint & SLM_TOKEN_STEP_MASK) ==
		    fingerprint) {
			++*at;
			return true;
		}
		if (!no_letter(explorer, call, step))
			break;
	}
	/* The ROLLBACK and the teardown may end any call. */
	for (uint32_t step = nsteps; step < tells->nsteps; step++)
		if ((tells->steps[step].fingerprint & SLM_TOKEN_STEP_MASK) ==
		    fingerprint)
			return true;
	return false;
}

/* Can the calls of the plan take the steps of the token? */
static bool fits(struct explorer *explorer, const struct plan *plan,
		 const struct slm_token *token)
{
	unsigned at[SLM_CALLS_MAX] = { 0 };

	for (uint32_t i = 0; token->steps && i < token->length; i++) {
		unsigned call = (unsigned)(token->schedule[i] - 'a');

		if (!pass(explorer, plan, call, token->steps[i], &at[call]))
			return false;
	}
	return true;
}

/* How many steps of the plan the token's schedule has no letter for. */
static unsigned left_over(const struct plan *plan,
			  const struct slm_token *token)
{
	unsigned steps = 0;

	for (unsigned i = 0; i < plan->steps.ncalls; i++)
		steps += plan->steps.nsteps[i];
	return steps > token->length ? steps - token->length :
				       token->length - steps;
}

/* Of the plans that fit, the one with the fewest steps without a letter; the
 * first if none fits. */
static const struct plan *choose_plan(struct explorer *explorer,
				      const struct slm_token *token)
{
	const struct plan *best = NULL;

	for (unsigned i = 0; i < explorer->nplans; i++) {
		const struct plan *plan = &explorer->plans[i];

		if (fits(explorer, plan, token) &&
		    (!best || left_over(plan, token) < left_over(best, token)))
			best = plan;
	}
	return best ? best : &explorer->plans[0];
}

/* ---- Divergence -------------------------------------------------------- */

static const struct slm_finding *recorded_run(
	const struct sqloom_report *report, const char *token)
{
	for (uint32_t i = 0; report && i < report->trace.nfindings; i++)
		if (strcmp(report->trace.findings[i].token, token) == 0)
			return &report->trace.findings[i];
	return NULL;
}

/* The SQL that the recorded run had at this letter; NULL: not known. */
static const char *recorded_sql(const struct sqloom_report *report,
				const char *token, uint32_t letter)
{
	const struct slm_finding *run = recorded_run(report, token);

	for (uint32_t i = 0; run && i < run->nevents; i++) {
		const struct slm_event *event = &run->events[i];

		if (!event->choice || letter-- > 0)
			continue;
		return report->trace.calls[event->call].steps[event->step].sql;
	}
	return NULL;
}

static void diverge(struct explorer *explorer, uint32_t letter,
		    const char *what, const char *recorded, const char *now)
{
	struct slm_divergence *out = &explorer->trace->divergence;
	struct slm_arena *arena = &explorer->trace->arena;

	*out = (struct slm_divergence){
		.diverged = true,
		.at = letter + 1,
		.what = what ? what : "the steps differ",
		.recorded = recorded ? slm_arena_strdup(arena, recorded) : NULL,
		.now = now,
	};
	explorer->reason = "the replay diverged from the token";
}

/* The first letter whose step is not the recorded one. */
static bool compare_steps(struct explorer *explorer,
			  const struct slm_token *token,
			  const struct sqloom_report *recorded,
			  const char *text)
{
	const struct slm_runner *main = &explorer->main;

	for (uint32_t i = 0;
	     token->steps && i < main->nletters && i < token->length; i++) {
		unsigned letter = main->schedule[i];
		const struct slm_trace_call *call =
			&explorer->trace->calls[letter];
		const struct slm_trace_step *step =
			&call->steps[main->taken[i]];
		const char *then = recorded_sql(recorded, text, i);

		if (letter == (unsigned)(token->schedule[i] - 'a') &&
		    (step->fingerprint & SLM_TOKEN_STEP_MASK) ==
			    token->steps[i] &&
		    (!then || slm_sql_fingerprint(then) ==
				      slm_sql_fingerprint(step->sql)))
			continue;
		diverge(explorer, i,
			slm_arena_printf(&explorer->trace->arena,
					 "call %c (%s) takes step %s here, "
					 "whose SQL is not what the token "
					 "recorded",
					 'a' + (char)letter, call->name,
					 step->name),
			then, step->sql);
		return true;
	}
	return false;
}

/* A letter that could not be followed. */
static void compare_schedule(struct explorer *explorer,
			     const struct slm_token *token, int failed_at)
{
	struct slm_arena *arena = &explorer->trace->arena;
	uint32_t at = (uint32_t)failed_at;

	if (at >= token->length)
		diverge(explorer, token->length,
			"the token ends here, but the calls have more steps",
			NULL, NULL);
	else if (at >= explorer->main.nletters)
		diverge(explorer, explorer->main.nletters,
			"all calls are over, but the token goes on", NULL,
			NULL);
	else
		diverge(explorer, at,
			slm_arena_printf(arena,
					 "the token lets call %c go on, which "
					 "waits for a lock or is over",
					 token->schedule[at]),
			NULL, NULL);
}

/* ---- The run ----------------------------------------------------------- */

static enum sqloom_status judge(struct explorer *explorer,
				struct sqloom_error *err)
{
	struct slm_judgement judgement;
	struct slm_run run;
	enum sqloom_status status =
		slm_findings_describe(&explorer->main, &run, err);

	if (!status)
		status = slm_findings_judge(explorer, &run, &judgement, err);
	if (!status)
		status = slm_findings_tell(explorer, &run,
					   &explorer->findings[0], err);
	if (status)
		return status;
	explorer->nfindings = 1;
	explorer->runs = 1;
	explorer->trace->by_class[judgement.class]++;
	if (slm_findings_breaks(explorer, judgement.class))
		explorer->trace->wrong++;
	return SQLOOM_OK;
}

static enum sqloom_status run_token(struct explorer *explorer,
				    const struct slm_token *token,
				    const char *text,
				    const struct sqloom_report *recorded,
				    struct sqloom_error *err)
{
	struct slm_strategy *strategy = NULL;
	struct slm_director director = { 0 };
	enum sqloom_status status;
	uint32_t members = 0;
	uint8_t *schedule;

	status = read_schedule(explorer, token, &schedule, &members, err);
	if (!status)
		status = slm_explorer_use_plan(
			explorer, choose_plan(explorer, token), err);
	if (!status)
		members |= slm_explorer_without_choice(explorer);
	if (!status)
		status = slm_strategy_replay_new(&(const uint8_t *){ schedule },
						 &token->length, 1, &strategy,
						 err);
	director.strategy = strategy;
	if (!status)
		status = slm_explorer_make(explorer, &explorer->main, members,
					   0, &director, err);
	if (!status) {
		int failed_at;

		slm_strategy_learn(strategy);
		failed_at = slm_strategy_failed_at(strategy);
		if (!compare_steps(explorer, token, recorded, text) &&
		    failed_at >= 0)
			compare_schedule(explorer, token, failed_at);
		status = judge(explorer, err);
	}
	slm_strategy_free(strategy);
	return status;
}

/* The steps differ from the recorded ones, but none that was taken. */
static void compare_all(struct explorer *explorer,
			const struct slm_token *token)
{
	uint16_t now = slm_steps_fingerprint(explorer->trace);

	if (explorer->trace->divergence.diverged || now == token->fingerprint)
		return;
	diverge(explorer, UINT32_MAX,
		"the calls or their steps are not those of the token, though "
		"no step that the schedule takes could be told apart",
		NULL, NULL);
}

static enum sqloom_status replay(const struct sqloom_spec *spec,
				 const char *text,
				 const struct sqloom_report *recorded,
				 const struct sqloom_options *options,
				 bool cloning, bool *again,
				 struct sqloom_report **out,
				 struct sqloom_error *err)
{
	struct explorer explorer;
	struct slm_token token;
	enum sqloom_status status;

	status = slm_explorer_open(&explorer, spec, options, SLM_TRACE_REPLAY,
				   cloning, err);
	if (!status)
		status = slm_token_parse(&explorer.arena, text, &token, err);
	if (!status)
		status = run_token(&explorer, &token, text, recorded, err);
	if (!status) {
		compare_all(&explorer, &token);
		status = slm_header_finish(&explorer, err);
	}
	if (!status && explorer.trace->divergence.diverged)
		explorer.trace->verdict = SQLOOM_INCONCLUSIVE;
	if (!status && options->trace_path)
		status = slm_trace_write(explorer.trace, options->trace_path,
					 err);
	if (!status) {
		explorer.trace->elapsed_ns = slm_clock_ns() - explorer.began_ns;
		*out = explorer.report;
		explorer.report = NULL;
	}
	*again = status && !cloning && explorer.db && explorer.db->wants_clone;
	slm_explorer_close(&explorer);
	return status;
}

enum sqloom_status sqloom_replay(const struct sqloom_spec *spec,
				 const char *text,
				 const struct sqloom_report *recorded,
				 const struct sqloom_options *options,
				 struct sqloom_report **out,
				 struct sqloom_error *err)
{
	enum sqloom_status status;
	bool again;

	status = replay(spec, text, recorded, options, false, &again, out, err);
	if (!again)
		return status;
	return replay(spec, text, recorded, options, true, &again, out, err);
}
