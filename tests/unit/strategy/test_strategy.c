/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What holds for every strategy: configuration, the preemption bound, the
 * count of switches, determinism, memory.
 */
#include "simulate.h"

static const struct sim_model model = { 3, { 4, 3, 5 }, 0 };
static const struct sim_model lockers = { 3, { 4, 3, 5 }, 5 };

static const enum slm_strategy_kind kinds[] = {
	SLM_STRATEGY_EXHAUSTIVE,
	SLM_STRATEGY_RANDOM,
	SLM_STRATEGY_UNIFORM,
	SLM_STRATEGY_PCT,
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* ---- Configuration ------------------------------------------------------- */

static void expect_usage(enum slm_strategy_kind kind,
			 const struct slm_strategy_config *config,
			 const char *part)
{
	struct slm_strategy *strategy = NULL;
	struct sqloom_error err;

	assert_int_equal(slm_strategy_new(kind, config, &strategy, &err),
			 SQLOOM_USAGE);
	assert_null(strategy);
	assert_int_equal(err.status, SQLOOM_USAGE);
	assert_non_null(strstr(err.message, part));
}

static void test_configuration(void **state)
{
	const struct slm_strategy_config good = {
		.ncalls = 2,
		.max_preemptions = -1,
		.pct_depth = 1,
	};
	struct slm_strategy_config bad;

	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		bad = good;
		bad.ncalls = 0;
		expect_usage(kinds[i], &bad, "1 to 32 calls, not 0");
		bad.ncalls = 33;
		expect_usage(kinds[i], &bad, "not 33");
		bad = good;
		bad.max_preemptions = -2;
		expect_usage(kinds[i], &bad, "voluntary switches is -2");
	}
	bad = good;
	bad.pct_depth = 0;
	expect_usage(SLM_STRATEGY_PCT, &bad, "PCT is 0");
	bad.pct_depth = SLM_PCT_DEPTH_MAX + 1;
	expect_usage(SLM_STRATEGY_PCT, &bad, "give 1 to 64");
	expect_usage((enum slm_strategy_kind)77, &good, "number 77");
}

static void test_names(void **state)
{
	static const char *const names[] = {
		"exhaustive",
		"random",
		"uniform",
		"pct",
	};

	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		struct slm_strategy *strategy =
			sim_strategy(kinds[i], &model, 1, -1);

		assert_string_equal(slm_strategy_name(strategy), names[i]);
		assert_int_equal(slm_strategy_failed_at(strategy), -1);
		assert_true(slm_strategy_left(strategy) < 0);
		slm_strategy_free(strategy);
	}
	slm_strategy_free(NULL);
}

/* The largest mask, with nothing known of the calls. */
static void test_most_calls(void **state)
{
	struct slm_strategy_config config = {
		.ncalls = SLM_STRATEGY_CALLS_MAX,
		.max_preemptions = -1,
		.pct_depth = SLM_PCT_DEPTH_MAX,
	};

	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		struct slm_strategy *strategy = NULL;
		uint32_t enabled = UINT32_MAX;
		int previous = SLM_NO_CALL;

		assert_int_equal(slm_strategy_new(kinds[i], &config, &strategy,
						  NULL),
				 SQLOOM_OK);
		slm_strategy_begin(strategy);
		for (unsigned j = 0; enabled; j++) {
			struct slm_choice choice = { enabled, previous, j };
			unsigned call = 99;

			slm_strategy_pick(strategy, &choice, &call, NULL);
			assert_true(call < 32 && (enabled & (1u << call)));
			enabled &= ~(1u << call);
			previous = (int)call;
		}
		assert_int_equal(slm_strategy_switches(strategy), 0);
		slm_strategy_learn(strategy);
		slm_strategy_free(strategy);
	}
}

/* ---- The bound ----------------------------------------------------------- */

/* sim_run() checks the count of switches of every run. */
static void test_preemption_bound(void **state)
{
	(void)state;
	for (size_t i = 0; i < KINDS; i++)
		for (int bound = 0; bound < 5; bound++) {
			struct slm_strategy *strategy =
				sim_strategy(kinds[i], &lockers, 3, bound);
			struct sim_run run;
			unsigned most = 0;

			for (int j = 0; j < 2000; j++) {
				sim_run_learn(strategy, &lockers, &run);
				assert_true(run.switches <= (unsigned)bound);
				if (run.switches > most)
					most = run.switches;
			}
			/* It is reached. Not by PCT of depth 3, which has
			 * two change points; nor yet by exhaustive, which
			 * sets out from below. */
			if (kinds[i] == SLM_STRATEGY_RANDOM ||
			    kinds[i] == SLM_STRATEGY_UNIFORM || bound <= 2)
				assert_int_equal(most, bound);
			slm_strategy_free(strategy);
		}
}

/* ---- Determinism --------------------------------------------------------- */

static void test_same_seed_same_picks(void **state)
{
	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		struct slm_strategy *one =
			sim_strategy(kinds[i], &model, 7, -1);
		struct slm_strategy *two =
			sim_strategy(kinds[i], &model, 7, -1);
		struct slm_strategy *other =
			sim_strategy(kinds[i], &model, 8, -1);
		unsigned differ = 0;

		for (int j = 0; j < 1000; j++) {
			struct sim_run a, b, c;

			sim_run_learn(one, &model, &a);
			sim_run_learn(two, &model, &b);
			sim_run_learn(other, &model, &c);
			assert_string_equal(a.schedule, b.schedule);
			differ += strcmp(a.schedule, c.schedule) != 0;
		}
		if (kinds[i] == SLM_STRATEGY_EXHAUSTIVE)
			assert_int_equal(differ, 0);
		else
			assert_true(differ > 500);
		slm_strategy_free(one);
		slm_strategy_free(two);
		slm_strategy_free(other);
	}
}

/* Run r depends on the seed and r, not on what the runs before were like. */
static void test_runs_are_independent(void **state)
{
	const struct sim_model longer = { 3, { 9, 9, 9 }, 0 };

	(void)state;
	for (size_t i = 1; i < KINDS; i++) {
		struct slm_strategy *one =
			sim_strategy(kinds[i], &model, 7, -1);
		struct slm_strategy *two =
			sim_strategy(kinds[i], &model, 7, -1);

		for (int j = 0; j < 200; j++) {
			struct sim_run a, b;

			sim_run_learn(one, j % 3 ? &longer : &model, &a);
			sim_run_learn(two, &model, &b);
			if (j % 3 == 0)
				assert_string_equal(a.schedule, b.schedule);
		}
		slm_strategy_free(one);
		slm_strategy_free(two);
	}
}

/* Every strategy gets everywhere in a small space. */
static void test_every_schedule_is_reached(void **state)
{
	const struct sim_model small = { 2, { 3, 3 }, 0 };

	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		struct slm_strategy *strategy;
		struct sim_set seen = { .count = 0 };
		size_t distinct = 1;

		/* PCT of depth 3 makes at most 2 changes. */
		if (kinds[i] == SLM_STRATEGY_PCT)
			continue;
		strategy = sim_strategy(kinds[i], &small, 7, -1);
		for (int j = 0; j < 500; j++) {
			struct sim_run run;

			sim_run_learn(strategy, &small, &run);
			sim_add(&seen, run.schedule);
		}
		sim_sort(&seen);
		for (size_t j = 1; j < seen.count; j++)
			distinct += strcmp(seen.schedules[j],
					   seen.schedules[j - 1]) != 0;
		assert_int_equal(distinct, 20);
		sim_set_free(&seen);
		slm_strategy_free(strategy);
	}
}

/* ---- Memory -------------------------------------------------------------- */

static void test_a_million_runs_do_not_grow(void **state)
{
	const struct sim_model small = { 2, { 2, 3 }, 0 };

	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		struct slm_strategy *strategy =
			sim_strategy(kinds[i], &small, 7, -1);
		int64_t warm = 0;

		for (int j = 0; j < 1000000; j++) {
			struct sim_run run;

			if (j == 10)
				warm = slm_alloc_live();
			sim_run_learn(strategy, &small, &run);
		}
		assert_int_equal(slm_alloc_live(), warm);
		slm_strategy_free(strategy);
	}
}

static void test_out_of_memory(void **state)
{
	struct slm_strategy_config config = {
		.ncalls = 3,
		.max_preemptions = -1,
		.pct_depth = 3,
	};
	int64_t live = slm_alloc_live();

	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		struct slm_strategy *strategy = NULL;
		enum sqloom_status status = SQLOOM_NOMEM;
		struct sqloom_error err;

		for (uint64_t n = 1; status != SQLOOM_OK; n++) {
			slm_alloc_fail_from(n);
			status = slm_strategy_new(kinds[i], &config, &strategy,
						  &err);
			slm_alloc_fail_from(0);
			if (status == SQLOOM_OK)
				break;
			assert_int_equal(status, SQLOOM_NOMEM);
			assert_int_equal(err.status, SQLOOM_NOMEM);
			assert_null(strategy);
			assert_int_equal(slm_alloc_live(), live);
			assert_true(n < 100);
		}
		slm_strategy_free(strategy);
		assert_int_equal(slm_alloc_live(), live);
	}
}

/* Freeing in the middle of a run leaks nothing. */
static void test_free_in_a_run(void **state)
{
	int64_t live = slm_alloc_live();

	(void)state;
	for (size_t i = 0; i < KINDS; i++) {
		struct slm_strategy *strategy =
			sim_strategy(kinds[i], &model, 7, -1);
		struct sim_run run;

		sim_run_learn(strategy, &model, &run);
		sim_run(strategy, &model, &run, false);
		slm_strategy_free(strategy);
		assert_int_equal(slm_alloc_live(), live);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_configuration),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_most_calls),
		cmocka_unit_test(test_preemption_bound),
		cmocka_unit_test(test_same_seed_same_picks),
		cmocka_unit_test(test_runs_are_independent),
		cmocka_unit_test(test_every_schedule_is_reached),
		cmocka_unit_test(test_a_million_runs_do_not_grow),
		cmocka_unit_test(test_out_of_memory),
		cmocka_unit_test(test_free_in_a_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
