/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCT: finds bugs of depth d with at least the probability that the paper
 * promises, 1 / (n * k^(d-1)). Seeded, so that nothing is left to chance.
 */
#include "simulate.h"

#define RUNS 40000

static struct slm_strategy *pct(const struct sim_model *model, unsigned depth)
{
	struct slm_strategy_config config = {
		.ncalls = model->ncalls,
		.seed = 1,
		.max_preemptions = -1,
		.pct_depth = depth,
		.steps = model->steps,
	};
	struct slm_strategy *strategy = NULL;

	assert_int_equal(slm_strategy_new(SLM_STRATEGY_PCT, &config, &strategy,
					  NULL),
			 SQLOOM_OK);
	return strategy;
}

/* The index in the schedule of the n-th step (from 1) of a call. */
static unsigned place(const struct sim_run *run, char call, unsigned n)
{
	for (unsigned i = 0; i < run->length; i++)
		if (run->schedule[i] == call && --n == 0)
			return i;
	fail();
	return 0;
}

/* Depth 1: priorities only; all orders of the calls, equally often, and no
 * voluntary switch. */
static void test_depth_one(void **state)
{
	const struct sim_model model = { 3, { 2, 2, 2 }, 0 };
	struct slm_strategy *strategy = pct(&model, 1);
	struct sim_run run;
	unsigned counts[9] = { 0 };

	(void)state;
	for (int i = 0; i < 6000; i++) {
		sim_run_learn(strategy, &model, &run);
		assert_int_equal(run.switches, 0);
		counts[(run.schedule[0] - 'a') * 3 + run.schedule[2] - 'a']++;
	}
	for (unsigned i = 0; i < 9; i++)
		if (i % 4 != 0) /* first and second call differ */
			assert_in_range(counts[i], 880, 1120);
	slm_strategy_free(strategy);
}

/* Depth 2: a step of b between two neighbouring steps of a, wherever. */
static void test_depth_two(void **state)
{
	const struct sim_model model = { 3, { 5, 5, 5 }, 0 };
	struct slm_strategy *strategy = pct(&model, 2);
	unsigned hits[6][6] = { { 0 } };

	(void)state;
	for (int i = 0; i < RUNS; i++) {
		struct sim_run run;

		sim_run_learn(strategy, &model, &run);
		assert_true(run.switches <= 1);
		for (unsigned x = 1; x < 5; x++)
			for (unsigned y = 1; y <= 5; y++)
				hits[x][y] += place(&run, 'a', x) <
						      place(&run, 'b', y) &&
					      place(&run, 'b', y) <
						      place(&run, 'a', x + 1);
	}
	for (unsigned x = 1; x < 5; x++)
		for (unsigned y = 1; y <= 5; y++)
			assert_true(hits[x][y] >= RUNS / (3 * 15));
	slm_strategy_free(strategy);
}

/* How often a schedule comes up in 4 * RUNS runs of depth 3. */
static unsigned count(const struct sim_model *model, const char *schedule)
{
	struct slm_strategy *strategy = pct(model, 3);
	unsigned hits = 0;

	for (int i = 0; i < 4 * RUNS; i++) {
		struct sim_run run;

		sim_run_learn(strategy, model, &run);
		hits += strcmp(run.schedule, schedule) == 0;
	}
	slm_strategy_free(strategy);
	return hits;
}

/* Depth 3: the later of two drops may have to be the lower or the higher one.
 * These schedules have exactly one way to come about: allow 4 sigma. */
static void test_depth_three(void **state)
{
	const struct sim_model two = { 2, { 4, 4 }, 0 };
	const struct sim_model three = { 3, { 4, 4, 4 }, 0 };

	(void)state;
	/* 1 / (2 * 8 * 8) of the runs: 1250. */
	assert_in_range(count(&two, "aabbaabb"), 1250 - 140, 1250 + 140);
	assert_in_range(count(&two, "bbaabbaa"), 1250 - 140, 1250 + 140);
	/* 1 / (6 * 12 * 12): 185. */
	assert_in_range(count(&three, "aabbccccaabb"), 185 - 54, 185 + 54);
	assert_in_range(count(&three, "aabbccccbbaa"), 185 - 54, 185 + 54);
	assert_in_range(count(&three, "bbaaccccaabb"), 185 - 54, 185 + 54);
	assert_in_range(count(&three, "bbaaccccbbaa"), 185 - 54, 185 + 54);
}

/* The call that would go at a change point drops below the other. */
static void test_change_point(void **state)
{
	const struct sim_model model = { 2, { 1, 0 }, 0 };
	struct slm_strategy *strategy = pct(&model, 2);
	unsigned changes = 0;

	(void)state;
	/* k = 2: the change point is at choice 0 or 1, never later. */
	for (int i = 0; i < 1000; i++) {
		unsigned picks[4] = { 9, 9, 9, 9 };

		slm_strategy_begin(strategy);
		for (unsigned j = 0; j < 4; j++) {
			struct slm_choice choice = { 3, SLM_NO_CALL, j };

			slm_strategy_pick(strategy, &choice, &picks[j], NULL);
		}
		slm_strategy_learn(strategy);
		changes += picks[0] != picks[1];
		assert_int_equal(picks[1], picks[2]);
		assert_int_equal(picks[2], picks[3]);
	}
	assert_in_range(changes, 440, 560);
	slm_strategy_free(strategy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_depth_one),
		cmocka_unit_test(test_depth_two),
		cmocka_unit_test(test_depth_three),
		cmocka_unit_test(test_change_point),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
