/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An exploration: set up, serial runs, then runs as the strategy says until
 * it is done, over budget or stopped; then shrinking and the verdict.
 */
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "explore/explorer.h"
#include "explore/workers.h"

/* ---- Opening and closing ----------------------------------------------- */

static enum sqloom_status collect_unobserved(struct explorer *explorer,
					     struct sqloom_error *err)
{
	const struct sqloom_spec *spec = explorer->spec;
	const bool **all = slm_arena_zalloc(&explorer->arena, spec->nsessions,
					    sizeof(*all));

	if (!all)
		return slm_error_nomem(err);
	for (unsigned i = 0; i < spec->nsessions; i++) {
		/* Three more: rollback, teardown, commit, as in traces. What
		 * programs read is their own business. */
		bool *flags = slm_arena_zalloc(
			&explorer->arena,
			spec->has_calls ? SLM_PROGRAM_STEPS_MAX :
					  spec->sessions[i].nsteps + 3,
			sizeof(*flags));

		if (!flags)
			return slm_error_nomem(err);
		all[i] = flags;
		if (spec->has_calls) {
			memset(flags, 1, SLM_PROGRAM_STEPS_MAX);
			continue;
		}
		for (unsigned j = 0; j < spec->sessions[i].nsteps; j++)
			flags[j] = spec->sessions[i].steps[j].unobserved;
		flags[SLM_STEP_TEARDOWN(spec->sessions[i].nsteps)] = true;
		flags[SLM_STEP_COMMIT(spec->sessions[i].nsteps)] = true;
	}
	explorer->unobserved = all;
	return SQLOOM_OK;
}

static void init_runner(struct explorer *explorer, struct slm_runner *runner)
{
	slm_runner_init(runner);
	runner->db = explorer->db;
	runner->spec = explorer->spec;
	runner->stop_on_error = explorer->settings.stop_on_error;
}

/* Asked by the database while a statement runs. */
static bool statement_goes_on(void *userdata)
{
	struct explorer *explorer = userdata;

	return slm_explorer_goes_on(explorer, -1, 1) &&
	       slm_workers_owner_goes_on(explorer->workers);
}

enum sqloom_status slm_explorer_open_database(const struct explorer *explorer,
					      unsigned worker,
					      bool (*goes_on)(void *userdata),
					      void *userdata,
					      struct slm_db **out,
					      struct sqloom_error *err)
{
	struct slm_sqlite_options sqlite = explorer->settings.db;
	struct slm_postgres_options pg = explorer->settings.pg;

	if (explorer->spec->functions && !explorer->settings.postgres) {
		const struct slm_programs_options *programs =
			&explorer->settings.programs;
		struct slm_functions_options functions = {
			.db = sqlite,
			.baton = explorer->spec->baton,
			.calls = explorer->spec->functions,
			.stall_after_ms = programs->stall_after_ms,
			.call_limit_ms = programs->call_limit_ms,
		};

		functions.db.goes_on = goes_on;
		functions.db.goes_on_userdata = userdata;
		return slm_functions_open(explorer->spec, &functions, out, err);
	}
	if (explorer->spec->has_calls) {
		struct slm_programs_options programs =
			explorer->settings.programs;

		programs.pg = pg;
		programs.pg.goes_on = goes_on;
		programs.pg.goes_on_userdata = userdata;
		return slm_programs_open(explorer->spec, &programs, out, err);
	}
	if (!explorer->settings.postgres) {
		sqlite.goes_on = goes_on;
		sqlite.goes_on_userdata = userdata;
		return slm_sqlite_open(explorer->spec, &sqlite, out, err);
	}
	pg.worker = worker;
	pg.goes_on = goes_on;
	pg.goes_on_userdata = userdata;
	return slm_postgres_open(explorer->spec, &pg, out, err);
}

/* --pg-temp */
static enum sqloom_status start_server(struct explorer *explorer,
				       struct sqloom_error *err)
{
	struct slm_pg_server_options options = {
		.bindir = explorer->options->pg_bindir,
		.path = explorer->options->pg_path,
		.place = explorer->options->pg_place,
	};
	enum sqloom_status status;

	if (!explorer->options->pg_temp)
		return SQLOOM_OK;
	status = slm_pg_server_start(&options, &explorer->server, err);
	if (!status)
		explorer->settings.pg.conninfo =
			slm_pg_server_conninfo(explorer->server);
	return status;
}

enum sqloom_status slm_explorer_open(struct explorer *explorer,
				     const struct sqloom_spec *spec,
				     const struct sqloom_options *options,
				     enum slm_trace_kind kind, bool cloning,
				     struct sqloom_error *err)
{
	enum sqloom_status status;

	memset(explorer, 0, sizeof(*explorer));
	slm_arena_init(&explorer->arena);
	explorer->spec = spec;
	explorer->options = options;
	explorer->began_ns = slm_clock_ns();
	explorer->report = slm_report_new();
	if (!explorer->report)
		return slm_error_nomem(err);
	explorer->trace = &explorer->report->trace;
	explorer->findings = slm_arena_zalloc(&explorer->trace->arena,
					      FINDINGS_MAX,
					      sizeof(*explorer->findings));
	if (!explorer->findings)
		return slm_error_nomem(err);
	status = slm_settings_resolve(spec, options, &explorer->arena,
				      &explorer->settings, err);
	explorer->settings.pg.cloning = cloning;
	if (!status)
		status = slm_plans_make(explorer, err);
	if (!status)
		status = collect_unobserved(explorer, err);
	if (!status)
		status = start_server(explorer, err);
	if (!status)
		status = slm_explorer_open_database(explorer, 0,
						    statement_goes_on, explorer,
						    &explorer->db, err);
	if (!status)
		status = slm_header_fill(explorer, kind, err);
	if (!status && explorer->db->note &&
	    !slm_note(explorer, "%s", explorer->db->note))
		status = slm_error_nomem(err);
	init_runner(explorer, &explorer->main);
	init_runner(explorer, &explorer->first);
	init_runner(explorer, &explorer->again);
	return status;
}

void slm_explorer_close(struct explorer *explorer)
{
	slm_workers_free(explorer->workers);
	slm_oracle_free(explorer->oracle);
	slm_outcomes_clear(&explorer->outcomes);
	slm_runner_deinit(&explorer->main);
	slm_runner_deinit(&explorer->first);
	slm_runner_deinit(&explorer->again);
	slm_db_free(explorer->db);
	slm_pg_server_stop(explorer->server);
	sqloom_report_free(explorer->report);
	slm_arena_deinit(&explorer->arena);
}

/* The oracle of a plan goes; what it has to say about its runs stays. */
static enum sqloom_status drop_oracle(struct explorer *explorer,
				      struct sqloom_error *err)
{
	const char *const *notes;
	uint32_t count;
	enum sqloom_status status;

	if (!explorer->oracle)
		return SQLOOM_OK;
	explorer->unstable |= slm_oracle_unstable(explorer->oracle);
	status = slm_oracle_notes(explorer->oracle, &explorer->trace->arena,
				  &notes, &count, err);
	for (uint32_t i = 0; !status && i < count; i++)
		if (!slm_note(explorer, "%s", notes[i]))
			status = slm_error_nomem(err);
	slm_oracle_free(explorer->oracle);
	explorer->oracle = NULL;
	return status;
}

/* Makes plan the one that is run, with an oracle that knows its serial
 * runs. */
enum sqloom_status slm_explorer_use_plan(struct explorer *explorer,
					 const struct plan *plan,
					 struct sqloom_error *err)
{
	struct slm_oracle_config config = {
		.calls = explorer->trace->calls,
		.ncalls = explorer->trace->ncalls,
		.unobserved = explorer->unobserved,
		.allow = explorer->settings.allow,
		.nallow = explorer->settings.nallow,
		.ignore = explorer->settings.ignore,
		.nignore = explorer->settings.nignore,
		.joint = explorer->settings.joint,
	};
	enum sqloom_status status;

	slm_workers_drop(explorer->workers);
	explorer->plan = plan;
	explorer->main.plan = &plan->steps;
	explorer->first.plan = &plan->steps;
	explorer->again.plan = &plan->steps;
	slm_outcomes_clear(&explorer->outcomes);
	status = drop_oracle(explorer, err);
	if (!status)
		status = slm_oracle_new(&config, &explorer->oracle, err);
	if (!status && slm_db_arrives(explorer->db))
		status = slm_serial_warm_up(explorer, err);
	explorer->across = false;
	explorer->serial_s = time(NULL);
	if (!status)
		status = slm_serial_all(explorer, plan->members, err);
	if (explorer->serial_s != time(NULL))
		explorer->serial_s = -1;
	explorer->remasked = false;
	return status;
}

/* ---- Budgets and progress ---------------------------------------------- */

static void show_progress(struct explorer *explorer, uint64_t now_ns,
			  double left)
{
	struct sqloom_progress progress = {
		.runs = explorer->runs,
		.wrong = explorer->trace->wrong,
		.findings = explorer->nfindings,
		.left = left,
		.elapsed_ms = (now_ns - explorer->began_ns) / 1000000,
	};

	explorer->shown_ns = now_ns;
	if (!explorer->options->progress(&progress,
					 explorer->options->userdata))
		explorer->stopped = true;
}

/* Shows progress when it is due. False: stop, the user or the clock say so;
 * share as in within_budget(). */
bool slm_explorer_goes_on(struct explorer *explorer, double left,
			  unsigned share)
{
	const struct sqloom_options *options = explorer->options;
	uint64_t now = slm_clock_ns();

	if (options->progress && !explorer->stopped &&
	    now - explorer->shown_ns >= (uint64_t)PROGRESS_MS * 1000000)
		show_progress(explorer, now, left);
	return !explorer->stopped &&
	       (!options->max_time_ms ||
		now - explorer->began_ns <
			options->max_time_ms * 1000000 / share);
}

/* Is there room for another run? Sets the reason when not. share: the part of
 * the budget (1 of share) that may be used. */
static bool within_budget(struct explorer *explorer, double left,
			  unsigned share)
{
	const struct sqloom_options *options = explorer->options;

	if (options->max_runs && explorer->runs >= options->max_runs / share) {
		explorer->reason = slm_arena_printf(
			&explorer->trace->arena,
			"the budget of %llu runs is used up (--max-runs)",
			(unsigned long long)options->max_runs);
		if (!explorer->reason)
			explorer->reason = "the budget of runs is used up";
		return false;
	}
	if (slm_explorer_goes_on(explorer, left, share))
		return true;
	explorer->reason = explorer->stopped ?
				   "stopped before every schedule was run" :
				   "the time is used up (--max-time)";
	return false;
}

/* ---- Exploring by a strategy ------------------------------------------- */

uint32_t slm_explorer_without_choice(const struct explorer *explorer)
{
	uint32_t members = 0;

	for (unsigned i = 0; i < explorer->plan->steps.ncalls; i++)
		if (!explorer->choices[i])
			members |= explorer->plan->members & (1u << i);
	return members;
}

void slm_explorer_strategy_config(const struct explorer *explorer,
				  struct slm_strategy_config *out)
{
	*out = (struct slm_strategy_config){
		.ncalls = explorer->plan->steps.ncalls,
		.seed = explorer->options->seed,
		.max_preemptions = explorer->options->max_preemptions,
		.pct_depth = explorer->options->pct_depth,
		.steps = explorer->choices,
	};
}

/* Strategies for the next runs, taken in turn; on error those that were made
 * are the caller's all the same. */
static enum sqloom_status new_strategies(struct explorer *explorer,
					 const enum slm_strategy_kind *kinds,
					 unsigned count,
					 struct slm_strategy **out,
					 struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;
	struct slm_strategy_config config;

	slm_explorer_strategy_config(explorer, &config);
	for (unsigned i = 0; !status && i < count; i++)
		status = slm_strategy_new(kinds[i], &config, &out[i], err);
	if (!status && explorer->workers)
		slm_ahead_begin(explorer, kinds, count);
	return status;
}

enum sqloom_status slm_explorer_make(struct explorer *explorer,
				     struct slm_runner *runner,
				     uint32_t members, unsigned variant,
				     const struct slm_director *director,
				     struct sqloom_error *err)
{
	enum sqloom_status status =
		slm_run(runner, members, variant, director, err);

	explorer->stalled += !status && runner->stalled;
	if (!status && slm_db_arrives(explorer->db))
		status = slm_header_learn(explorer, err);
	return status;
}

enum sqloom_status slm_explorer_run(struct explorer *explorer,
				    struct slm_strategy *strategy,
				    enum slm_learn *learnt,
				    struct sqloom_error *err)
{
	struct slm_director director = { .strategy = strategy };
	enum sqloom_status status = slm_explorer_make(explorer, &explorer->main,
						      explorer->plan->members,
						      0, &director, err);

	if (!status)
		status = slm_findings_add(explorer, err);
	if (status)
		return status;
	explorer->runs++;
	*learnt = slm_strategy_learn(strategy);
	return SQLOOM_OK;
}

/* The next run of strategies[turn]. */
static enum sqloom_status one_run(struct explorer *explorer,
				  struct slm_strategy *const *strategies,
				  unsigned count, unsigned turn,
				  enum slm_learn *learnt,
				  struct sqloom_error *err)
{
	if (explorer->workers)
		return slm_ahead_run(explorer, strategies, count, turn, learnt,
				     err);
	return slm_explorer_run(explorer, strategies[turn], learnt, err);
}

/* What the plans before have found, to go back to. */
static struct tally take_tally(const struct explorer *explorer)
{
	struct tally tally = { .runs = explorer->runs,
			       .wrong = explorer->trace->wrong,
			       .nfindings = explorer->nfindings,
			       .nnotes = explorer->nnotes,
			       .joint = explorer->joint };

	memcpy(tally.by_class, explorer->trace->by_class,
	       sizeof(tally.by_class));
	return tally;
}

/* What was judged by fewer masks is forgotten. */
static void start_again(struct explorer *explorer, const struct tally *tally)
{
	slm_workers_drop(explorer->workers);
	explorer->remasked = false;
	explorer->trace->reruns += explorer->runs - tally->runs;
	explorer->runs = tally->runs;
	explorer->nfindings = tally->nfindings;
	explorer->nnotes = tally->nnotes;
	explorer->joint = tally->joint;
	explorer->trace->wrong = tally->wrong;
	memcpy(explorer->trace->by_class, tally->by_class,
	       sizeof(tally->by_class));
	slm_outcomes_clear(&explorer->outcomes);
}

/* All schedules, within 1/share of the budget. */
static enum sqloom_status exhaust(struct explorer *explorer, unsigned share,
				  struct sqloom_error *err)
{
	static const enum slm_strategy_kind kind = SLM_STRATEGY_EXHAUSTIVE;
	struct slm_strategy *strategy = NULL;
	enum slm_learn learnt = SLM_LEARN_MORE;
	struct tally tally = take_tally(explorer);
	enum sqloom_status status =
		new_strategies(explorer, &kind, 1, &strategy, err);

	while (!status && learnt != SLM_LEARN_DONE &&
	       within_budget(explorer, slm_strategy_left(strategy), share)) {
		status = one_run(explorer, &strategy, 1, 0, &learnt, err);
		if (!status && learnt == SLM_LEARN_DIVERGED) {
			explorer->reason =
				slm_db_arrives(explorer->db) ?
					"a schedule that was run again took "
					"other steps than before: the programs "
					"do not do the same each time" :
					"a schedule that was run again took "
					"other steps than before: the database "
					"let calls that waited go on in "
					"another order";
			explorer->diverged = true;
			break;
		}
		if (status || !explorer->remasked)
			continue;
		start_again(explorer, &tally);
		slm_strategy_free(strategy);
		strategy = NULL;
		learnt = SLM_LEARN_MORE;
		status = new_strategies(explorer, &kind, 1, &strategy, err);
	}
	slm_strategy_free(strategy);
	return status;
}

/* Random runs in turn by each of the strategies, until the budget is over. */
static enum sqloom_status sample(struct explorer *explorer,
				 const enum slm_strategy_kind *kinds,
				 unsigned count, struct sqloom_error *err)
{
	struct slm_strategy *strategies[2] = { NULL, NULL };
	struct tally tally = take_tally(explorer);
	enum slm_learn learnt;
	enum sqloom_status status =
		new_strategies(explorer, kinds, count, strategies, err);

	for (unsigned turn = 0; !status && within_budget(explorer, -1, 1);
	     turn = (turn + 1) % count) {
		status = one_run(explorer, strategies, count, turn, &learnt,
				 err);
		if (!status && explorer->remasked)
			start_again(explorer, &tally);
	}
	for (unsigned i = 0; i < count; i++)
		slm_strategy_free(strategies[i]);
	return status;
}

/* Are there at most as many interleavings of the serial runs' choices as runs
 * are allowed? Then they get the whole budget. */
static bool fits_budget(const struct explorer *explorer)
{
	double orders = 1;
	unsigned total = 0;

	for (unsigned i = 0; i < explorer->plan->steps.ncalls; i++)
		for (unsigned j = 1; j <= explorer->choices[i]; j++)
			orders = orders * ++total / j;
	return !explorer->options->max_runs ||
	       orders <= (double)explorer->options->max_runs;
}

static enum sqloom_status explore_freely(struct explorer *explorer,
					 struct sqloom_error *err)
{
	static const enum slm_strategy_kind both[] = { SLM_STRATEGY_UNIFORM,
						       SLM_STRATEGY_PCT };
	static const enum slm_strategy_kind random[] = { SLM_STRATEGY_RANDOM };
	bool limited = explorer->options->max_runs ||
		       explorer->options->max_time_ms;
	enum sqloom_status status = SQLOOM_OK;

	switch (explorer->options->strategy) {
	case SQLOOM_STRATEGY_EXHAUSTIVE:
		return exhaust(explorer, 1, err);
	case SQLOOM_STRATEGY_AUTO:
		status = exhaust(explorer,
				 limited && !fits_budget(explorer) ? 2 : 1,
				 err);
		if (!status && explorer->reason && !explorer->stopped &&
		    !explorer->diverged)
			status = sample(explorer, both, 2, err);
		return status;
	case SQLOOM_STRATEGY_RANDOM:
		return sample(explorer, random, 1, err);
	case SQLOOM_STRATEGY_UNIFORM:
		return sample(explorer, &both[0], 1, err);
	case SQLOOM_STRATEGY_PCT:
		return sample(explorer, &both[1], 1, err);
	}
	return slm_error_set(err, SQLOOM_USAGE, "there is no strategy %d",
			     (int)explorer->options->strategy);
}

/* ---- Exploring permutation lines --------------------------------------- */

static enum sqloom_status note_infeasible(struct explorer *explorer,
					  const struct script *script,
					  struct sqloom_error *err)
{
	const struct slm_script_step *at =
		&script->steps[explorer->main.failed_at];
	const struct slm_spec_session *session =
		&explorer->spec->sessions[at->call];
	uint32_t step = explorer->plan->steps.steps[at->call][at->position];

	explorer->reason = "not every permutation line can be run in its "
			   "order, see the notes";
	return slm_note(explorer,
			"the permutation of line %u cannot be run in its "
			"order: when step \"%s\" is due, session \"%s\" still "
			"waits for a lock",
			script->line, session->steps[step].name,
			session->name) ?
		       SQLOOM_OK :
		       slm_error_nomem(err);
}

enum sqloom_status slm_explorer_run_line(struct explorer *explorer,
					 unsigned line,
					 struct sqloom_error *err)
{
	const struct script *script = &explorer->plan->scripts[line];
	struct slm_director director = { .script = script->steps,
					 .nscript = script->nsteps };
	enum sqloom_status status = slm_explorer_make(explorer, &explorer->main,
						      explorer->plan->members,
						      0, &director, err);

	if (status || explorer->main.failed_at >= 0)
		return status;
	status = slm_findings_add(explorer, err);
	explorer->runs += !status;
	return status;
}

static enum sqloom_status explore_lines(struct explorer *explorer,
					const struct plan *plan,
					struct sqloom_error *err)
{
	struct tally tally = take_tally(explorer);
	enum sqloom_status status = SQLOOM_OK;
	unsigned i = 0;

	while (!status && i < plan->nscripts &&
	       within_budget(explorer, plan->nscripts - i, 1)) {
		status = explorer->workers ?
				 slm_ahead_line(explorer, i, err) :
				 slm_explorer_run_line(explorer, i, err);
		if (status)
			return status;
		if (explorer->main.failed_at >= 0)
			status = note_infeasible(explorer, &plan->scripts[i],
						 err);
		i++;
		if (!status && explorer->remasked) {
			start_again(explorer, &tally);
			i = 0;
		}
	}
	return status;
}

/* ---- The whole --------------------------------------------------------- */

/* Turns the error of a statement that was stopped into the reason why the
 * exploration is not complete; what was found until then is told. */
static enum sqloom_status told_so_far(struct explorer *explorer,
				      enum sqloom_status status,
				      const struct sqloom_error *stop,
				      struct sqloom_error *err)
{
	if (status == SQLOOM_LIMIT && explorer->db->interrupted &&
	    !explorer->remasked) {
		explorer->stopped = true;
		explorer->reason = slm_arena_strdup(&explorer->trace->arena,
						    stop->message);
		return explorer->reason ? SQLOOM_OK : slm_error_nomem(err);
	}
	if (status && err)
		*err = *stop;
	return status;
}

/* Workers, if they are wanted and may be: threads that share SQLite's random
 * numbers would make them differ. */
static enum sqloom_status hire(struct explorer *explorer,
			       struct sqloom_error *err)
{
	unsigned jobs = explorer->options->jobs;

	if (jobs < 2 || explorer->db->alone || explorer->spec->has_calls)
		return SQLOOM_OK;
	return slm_workers_new(explorer, jobs, &explorer->workers, err);
}

static enum sqloom_status explore_plans(struct explorer *explorer,
					struct sqloom_error *err)
{
	struct sqloom_error stop = { 0 };
	enum sqloom_status status = hire(explorer, err);

	for (unsigned i = 0; !status && i < explorer->nplans; i++) {
		const struct plan *plan = &explorer->plans[i];

		if (explorer->stopped)
			break;
		status = slm_explorer_use_plan(explorer, plan, &stop);
		if (status) { /* in a serial run: nothing was explored */
			explorer->remasked = false;
			return told_so_far(explorer, status, &stop, err);
		}
		status = plan->nscripts ? explore_lines(explorer, plan, &stop) :
					  explore_freely(explorer, &stop);
		status = told_so_far(explorer, status, &stop, err);
	}
	if (!status && explorer->workers)
		status = slm_workers_stop(explorer->workers, err);
	return status;
}

/* Two calls may have been given the same value: only the user knows whether
 * it is used. */
static enum sqloom_status note_joint(struct explorer *explorer,
				     struct sqloom_error *err)
{
	if (!explorer->joint ||
	    slm_note(explorer,
		     "in %llu of the benign schedules each call's results are "
		     "right, but no one serial order gives them all: if "
		     "callers use what they read there, explore with --joint; "
		     "if not, mark the steps unobserved",
		     (unsigned long long)explorer->joint))
		return SQLOOM_OK;
	return slm_error_nomem(err);
}

static enum sqloom_status conclude(struct explorer *explorer,
				   struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;
	struct sqloom_error stop = { 0 };

	slm_findings_sort(explorer);
	if (explorer->findings_left_out &&
	    !slm_note(explorer,
		      "more than %d distinct wrong outcomes: the others are "
		      "counted, not told",
		      FINDINGS_MAX))
		return slm_error_nomem(err);
	status = note_joint(explorer, err);
	if (status)
		return status;
	/* The serial runs that are told are those of the worst finding. */
	if (explorer->nfindings && explorer->finding_plan[0] != explorer->plan)
		status = slm_explorer_use_plan(
			explorer, explorer->finding_plan[0], &stop);
	if (!status)
		status = slm_confirm_first(explorer, &stop);
	if (!status && explorer->nfindings && !slm_explorer_lines(explorer) &&
	    !explorer->by_chance &&
	    slm_findings_breaks(explorer, explorer->findings[0].class))
		status = slm_shrink(explorer, &explorer->findings[0], &stop);
	/* These only make a finding nicer: no reason, if they were stopped. */
	if (status == SQLOOM_LIMIT && explorer->db->interrupted)
		status = SQLOOM_OK;
	if (!status)
		status = slm_db_finish(explorer->db, &stop);
	status = told_so_far(explorer, status, &stop, err);
	return status ? status : slm_header_finish(explorer, err);
}

/* *again: a run changed the schema, so that each needs a new copy of the
 * database. */
static enum sqloom_status explore(const struct sqloom_spec *spec,
				  const struct sqloom_options *options,
				  bool cloning, bool *again,
				  struct sqloom_report **out,
				  struct sqloom_error *err)
{
	struct explorer explorer;
	enum sqloom_status status = slm_explorer_open(
		&explorer, spec, options, SLM_TRACE_EXPLORE, cloning, err);

	if (!status)
		status = explore_plans(&explorer, err);
	if (!status)
		status = conclude(&explorer, err);
	if (!status) {
		explorer.trace->elapsed_ns = slm_clock_ns() - explorer.began_ns;
		if (options->trace_path)
			status = slm_trace_write(explorer.trace,
						 options->trace_path, err);
	}
	if (!status) {
		*out = explorer.report;
		explorer.report = NULL;
	}
	*again = status && !cloning && explorer.db && explorer.db->wants_clone;
	slm_explorer_close(&explorer);
	return status;
}

enum sqloom_status sqloom_explore(const struct sqloom_spec *spec,
				  const struct sqloom_options *options,
				  struct sqloom_report **out,
				  struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;
	bool again;

	if (options->trace_path && strcmp(options->trace_path, "-") != 0)
		status = slm_trace_may_write(options->trace_path, err);
	if (status)
		return status;
	status = explore(spec, options, false, &again, out, err);
	return again ? explore(spec, options, true, &again, out, err) : status;
}
