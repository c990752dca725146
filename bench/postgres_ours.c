/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Explorations, at two heights: runs alone (a strategy, the runner, the
 * database, restores), which compare with a loop and with isolationtester; and
 * all of sqloom_explore(): connecting, set-up, serial runs, the oracle, and
 * cleaning up as well.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "bench.h"
#include "call/run.h"
#include "db/postgres_internal.h"
#include "postgres.h"

static void check(enum sqloom_status status, const struct sqloom_error *err)
{
	if (status)
		bench_die("%s", err->message);
}

/* ---- Runs -------------------------------------------------------------- */

struct bench_runs {
	const struct bench_workload *workload;
	struct sqloom_spec *spec;
	struct slm_db *db;
	uint32_t steps[BENCH_STEPS_MAX];
	unsigned choices[SLM_CALLS_MAX];
	struct slm_plan plan;
	struct slm_runner runner;
	uint64_t seed;
};

static void make_plan(struct bench_runs *runs)
{
	unsigned nsteps = bench_workload_nsteps(runs->workload);

	runs->plan.ncalls = runs->workload->nsessions;
	for (unsigned i = 0; i < nsteps; i++)
		runs->steps[i] = i;
	for (unsigned i = 0; i < runs->plan.ncalls; i++) {
		runs->plan.steps[i] = runs->steps;
		runs->plan.nsteps[i] = nsteps;
		runs->choices[i] = nsteps;
	}
}

struct bench_runs *bench_runs_open(const struct bench_workload *workload,
				   const char *conninfo)
{
	struct bench_runs *runs = calloc(1, sizeof(*runs));
	struct slm_postgres_options options = { .conninfo = conninfo };
	struct sqloom_error err;

	if (!runs)
		bench_die("out of memory");
	runs->workload = workload;
	runs->spec = bench_workload_spec(workload);
	make_plan(runs);
	check(slm_postgres_open(runs->spec, &options, &runs->db, &err), &err);
	slm_runner_init(&runs->runner);
	runs->runner.db = runs->db;
	runs->runner.spec = runs->spec;
	runs->runner.plan = &runs->plan;
	runs->runner.stop_on_error = true;
	return runs;
}

/* Do two calls wait for the row at once? Then it is not quite certain which of
 * them gets it, and isolationtester, which is told the order before, may find
 * itself waiting for a step that cannot come. */
static bool two_wait(const struct bench_workload *workload,
		     const struct slm_runner *runner)
{
	unsigned last = bench_workload_nsteps(workload) - 1;
	unsigned update = workload->longer ? 3 : 2;
	unsigned taken[SLM_CALLS_MAX] = { 0 }, at_row = 0;
	bool two = false;

	for (uint32_t i = 0; workload->same && i < runner->nletters; i++) {
		unsigned step = taken[runner->schedule[i]]++;

		at_row += step == update;
		at_row -= step == last;
		two |= at_row > 2;
	}
	return two;
}

static void keep_order(const struct bench_workload *workload,
		       const struct slm_runner *runner,
		       struct bench_orders *orders)
{
	if (orders->count == BENCH_ORDERS_MAX || two_wait(workload, runner))
		return;
	for (uint32_t i = 0; i < runner->nletters; i++)
		orders->sessions[orders->count][i] = runner->schedule[i];
	orders->count++;
}

/* All schedules once, or `most` of a sample. */
static unsigned run_all(struct bench_runs *runs, unsigned most,
			struct bench_orders *orders)
{
	bool sample = !runs->workload->feasible;
	struct slm_strategy_config config = { .ncalls = runs->plan.ncalls,
					      .seed = ++runs->seed,
					      .max_preemptions = -1,
					      .pct_depth = 2,
					      .steps = runs->choices };
	struct slm_director director = { 0 };
	enum slm_learn learnt = SLM_LEARN_MORE;
	struct sqloom_error err;
	unsigned count = 0;

	check(slm_strategy_new(sample ? SLM_STRATEGY_UNIFORM :
					SLM_STRATEGY_EXHAUSTIVE,
			       &config, &director.strategy, &err),
	      &err);
	while (learnt == SLM_LEARN_MORE && !(sample && count == most)) {
		check(slm_run(&runs->runner, (1u << config.ncalls) - 1, 0,
			      &director, &err),
		      &err);
		learnt = slm_strategy_learn(director.strategy);
		count++;
		if (orders)
			keep_order(runs->workload, &runs->runner, orders);
	}
	if (learnt == SLM_LEARN_DIVERGED)
		bench_die("a schedule took other steps than before");
	slm_strategy_free(director.strategy);
	return count;
}

unsigned bench_runs_run(struct bench_runs *runs, unsigned least,
			struct bench_orders *orders)
{
	unsigned count = 0;

	while (count < least)
		count += run_all(runs, least, count ? NULL : orders);
	return count;
}

void bench_runs_send_texts(struct bench_runs *runs)
{
	struct postgres *db = (struct postgres *)runs->db;

	for (unsigned i = 0; i < db->nsessions; i++)
		for (unsigned j = 0; j < db->sessions[i].nsteps; j++)
			db->sessions[i].steps[j].prepared[0] = '\0';
}

long long bench_runs_prepared(struct bench_runs *runs)
{
	static const char sql[] = "SELECT count(*) FROM pg_prepared_statements";
	struct postgres *db = (struct postgres *)runs->db;
	long long count = bench_number(db->admin.conn, sql) +
			  bench_number(db->monitor.conn, sql);

	for (unsigned i = 0; i < db->nsessions; i++)
		count += bench_number(db->sessions[i].pg.conn, sql);
	return count;
}

void bench_runs_close(struct bench_runs *runs)
{
	struct sqloom_error err;

	check(slm_db_finish(runs->db, &err), &err);
	slm_runner_deinit(&runs->runner);
	slm_db_free(runs->db);
	sqloom_spec_free(runs->spec);
	free(runs);
}

/* ---- All of it --------------------------------------------------------- */

unsigned bench_explore(const struct bench_workload *workload,
		       const char *conninfo, unsigned jobs, unsigned sample)
{
	struct sqloom_spec *spec = bench_workload_spec(workload);
	struct sqloom_options options;
	struct sqloom_report *report = NULL;
	struct sqloom_error err;
	unsigned runs;

	sqloom_options_init(&options);
	options.database = conninfo;
	options.jobs = jobs;
	options.strategy = SQLOOM_STRATEGY_EXHAUSTIVE;
	if (!workload->feasible) {
		options.strategy = SQLOOM_STRATEGY_UNIFORM;
		options.max_runs = sample;
	}
	check(sqloom_explore(spec, &options, &report, &err), &err);
	runs = (unsigned)(report->trace.explored + report->trace.reruns);
	if (sqloom_report_verdict(report) == SQLOOM_BROKEN)
		bench_die("the bench's workload is found to be broken");
	sqloom_report_free(report);
	sqloom_spec_free(spec);
	return runs;
}
