/* SPDX-License-Identifier: Apache-2.0 */
/* The uniform walk: every interleaving equally likely, where plain random
 * choices are far from it. Seeded, so that nothing is left to chance. */
#include "simulate.h"

#define RUNS_PER_SCHEDULE 1000

/* The chi-square statistic of the schedules of a strategy. */
static double chi_square(enum slm_strategy_kind kind,
			 const struct sim_model *model, const unsigned *steps)
{
	struct slm_strategy_config config = {
		.ncalls = model->ncalls,
		.seed = 1,
		.max_preemptions = -1,
		.steps = steps,
	};
	struct sim_set all = sim_brute_force(model, -1);
	unsigned *counts = calloc(all.count, sizeof(*counts));
	struct slm_strategy *strategy = NULL;
	double chi = 0;

	assert_non_null(counts);
	sim_sort(&all);
	assert_int_equal(slm_strategy_new(kind, &config, &strategy, NULL),
			 SQLOOM_OK);
	for (size_t i = 0; i < all.count * RUNS_PER_SCHEDULE; i++) {
		struct sim_run run;
		char(*found)[SIM_STEPS_MAX + 1];

		assert_int_equal(sim_run_learn(strategy, model, &run),
				 SLM_LEARN_MORE);
		found = bsearch(run.schedule, all.schedules, all.count,
				sizeof(*all.schedules), sim_compare);
		assert_non_null(found);
		counts[found - all.schedules]++;
	}
	for (size_t i = 0; i < all.count; i++) {
		double off = counts[i] - (double)RUNS_PER_SCHEDULE;

		chi += off * off / RUNS_PER_SCHEDULE;
	}
	slm_strategy_free(strategy);
	sim_set_free(&all);
	free(counts);
	return chi;
}

static void test_uniform_over_interleavings(void **state)
{
	const struct sim_model two = { 2, { 3, 3 }, 0 };
	const struct sim_model uneven = { 3, { 1, 3, 2 }, 0 };

	(void)state;
	/* 19 and 59 degrees of freedom, p = 0.001. */
	assert_true(chi_square(SLM_STRATEGY_UNIFORM, &two, two.steps) < 43.8);
	assert_true(chi_square(SLM_STRATEGY_UNIFORM, &uneven, uneven.steps) <
		    98.3);
}

/* What the test above can tell apart. */
static void test_random_is_not(void **state)
{
	const struct sim_model two = { 2, { 3, 3 }, 0 };
	const unsigned wrong[] = { 3, 1 };

	(void)state;
	assert_true(chi_square(SLM_STRATEGY_RANDOM, &two, two.steps) > 1000);
	assert_true(chi_square(SLM_STRATEGY_UNIFORM, &two, NULL) > 1000);
	assert_true(chi_square(SLM_STRATEGY_UNIFORM, &two, wrong) > 1000);
}

/* Weights at one choice; a call that is used up counts as one step. */
static void test_weights(void **state)
{
	const struct sim_model model = { 3, { 6, 2, 0 }, 0 };
	struct slm_strategy *strategy =
		sim_strategy(SLM_STRATEGY_UNIFORM, &model, 3, -1);
	unsigned first[3] = { 0 }, last[3] = { 0 };

	(void)state;
	for (int i = 0; i < 9000; i++) {
		struct slm_choice choice = { 7, SLM_NO_CALL, 0 };
		unsigned call = 99;

		slm_strategy_begin(strategy);
		slm_strategy_pick(strategy, &choice, &call, NULL);
		first[call]++;
		/* Uses up all calls, and more. */
		for (unsigned j = 1; j <= 24; j++) {
			struct slm_choice next = { 1u << (j % 3), SLM_NO_CALL,
						   j };

			slm_strategy_pick(strategy, &next, &call, NULL);
		}
		choice.index = 25;
		slm_strategy_pick(strategy, &choice, &call, NULL);
		last[call]++;
		slm_strategy_learn(strategy);
	}
	/* 6 : 2 : 1, then 1 : 1 : 1. */
	assert_in_range(first[0], 5850, 6150);
	assert_in_range(first[1], 1850, 2150);
	assert_in_range(first[2], 880, 1120);
	for (int i = 0; i < 3; i++)
		assert_in_range(last[i], 2820, 3180);
	slm_strategy_free(strategy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uniform_over_interleavings),
		cmocka_unit_test(test_random_is_not),
		cmocka_unit_test(test_weights),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
