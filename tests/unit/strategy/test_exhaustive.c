/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exhaustive strategy: every schedule exactly once and in order, with
 * bounds, locks and a small tree; its estimate; divergence.
 */
#include "simulate.h"

#include "base/hash.h"

#define NO_LIMIT 0

/* ---- Every schedule once ------------------------------------------------- */

/* Runs all; with no limit on the tree, checks the order too. Returns the most
 * nodes there were between two runs. */
static uint64_t explore(const struct sim_model *model, int max_preemptions,
			uint64_t nodes_max, struct sim_set *seen)
{
	int64_t live = slm_alloc_live();
	struct slm_strategy *strategy = sim_strategy(SLM_STRATEGY_EXHAUSTIVE,
						     model, 0, max_preemptions);
	enum slm_learn learn = SLM_LEARN_MORE;
	unsigned switches = 0;
	uint64_t most = 0;

	if (nodes_max != NO_LIMIT)
		slm_strategy_exhaustive_set_nodes_max(strategy, nodes_max);
	while (learn == SLM_LEARN_MORE) {
		struct sim_run run;

		assert_int_equal(sim_run(strategy, model, &run, false),
				 SQLOOM_OK);
		if (slm_strategy_exhaustive_nodes(strategy) > most)
			most = slm_strategy_exhaustive_nodes(strategy);
		learn = slm_strategy_learn(strategy);
		if (nodes_max == NO_LIMIT)
			assert_true(run.switches >= switches);
		switches = run.switches;
		sim_add(seen, run.schedule);
	}
	assert_int_equal(learn, SLM_LEARN_DONE);
	assert_true(slm_strategy_left(strategy) == 0);
	assert_int_equal(slm_strategy_exhaustive_nodes(strategy), 0);
	assert_int_equal(slm_strategy_failed_at(strategy), -1);
	slm_strategy_free(strategy);
	assert_int_equal(slm_alloc_live(), live);
	return most;
}

/* Explores and compares with brute force; returns the number of schedules. */
static size_t check(const struct sim_model *model, int max_preemptions,
		    uint64_t nodes_max)
{
	struct sim_set seen = { .count = 0 };
	struct sim_set all = sim_brute_force(model, max_preemptions);
	uint64_t most = explore(model, max_preemptions, nodes_max, &seen);
	size_t count = seen.count;
	unsigned length = 0;

	for (unsigned i = 0; i < model->ncalls; i++)
		length += model->steps[i];
	if (nodes_max != NO_LIMIT)
		assert_true(most <= nodes_max + length);
	sim_assert_same(&seen, &all);
	sim_set_free(&seen);
	sim_set_free(&all);
	return count;
}

static const struct sim_model two_by_two = { 2, { 2, 2 }, 0 };
static const struct sim_model two_by_three = { 2, { 3, 3 }, 0 };
static const struct sim_model two_by_four = { 2, { 4, 4 }, 0 };
static const struct sim_model three_by_two = { 3, { 2, 2, 2 }, 0 };
static const struct sim_model three_by_four = { 3, { 4, 4, 4 }, 0 };
static const struct sim_model two_lockers = { 2, { 4, 4 }, 3 };

static void test_counts(void **state)
{
	const struct sim_model one = { 1, { 3 }, 0 };

	(void)state;
	assert_int_equal(check(&one, -1, NO_LIMIT), 1);
	assert_int_equal(check(&two_by_two, -1, NO_LIMIT), 6);
	assert_int_equal(check(&two_by_three, -1, NO_LIMIT), 20);
	assert_int_equal(check(&two_by_four, -1, NO_LIMIT), 70);
	assert_int_equal(check(&three_by_two, -1, NO_LIMIT), 90);
	assert_int_equal(check(&three_by_four, -1, NO_LIMIT), 34650);
}

/* The order is part of the contract: it is what people see first. */
static void test_order(void **state)
{
	static const char *const expected[] = {
		"aabb", "bbaa", "baab", "abba", "abab", "baba",
	};
	struct sim_set seen = { .count = 0 };

	(void)state;
	explore(&two_by_two, -1, NO_LIMIT, &seen);
	assert_int_equal(seen.count, 6);
	for (size_t i = 0; i < seen.count; i++)
		assert_string_equal(seen.schedules[i], expected[i]);
	sim_set_free(&seen);
}

static void test_locks(void **state)
{
	const struct sim_model three_lockers = { 3, { 3, 3, 3 }, 7 };
	const struct sim_model mixed = { 4, { 3, 2, 1, 3 }, 9 };

	(void)state;
	assert_int_equal(check(&two_lockers, -1, NO_LIMIT), 8);
	check(&three_lockers, -1, NO_LIMIT);
	check(&mixed, -1, NO_LIMIT);
	check(&mixed, 1, NO_LIMIT);
}

static void test_preemption_bounds(void **state)
{
	(void)state;
	/* Serial orders only; and by hand, one switch in a 2 x 2 run. */
	assert_int_equal(check(&three_by_four, 0, NO_LIMIT), 6);
	assert_int_equal(check(&two_by_two, 1, NO_LIMIT), 4);
	for (int bound = 0; bound <= 4; bound++) {
		check(&two_by_four, bound, NO_LIMIT);
		check(&three_by_two, bound, NO_LIMIT);
		check(&two_lockers, bound, NO_LIMIT);
		check(&two_by_four, bound, 5);
	}
	check(&three_by_four, 1, NO_LIMIT);
	check(&three_by_four, 2, NO_LIMIT);
}

/* With a full tree the order is given up, nothing else. */
static void test_small_tree(void **state)
{
	(void)state;
	for (uint64_t nodes_max = 1; nodes_max < 30; nodes_max++) {
		assert_int_equal(check(&two_by_four, -1, nodes_max), 70);
		assert_int_equal(check(&three_by_two, -1, nodes_max), 90);
		assert_int_equal(check(&two_lockers, -1, nodes_max), 8);
	}
	assert_int_equal(check(&three_by_four, -1, 1), 34650);
	assert_int_equal(check(&three_by_four, -1, 100), 34650);
	assert_int_equal(check(&three_by_four, -1, 3000), 34650);
}

static void test_random_models(void **state)
{
	struct slm_rng rng;

	(void)state;
	slm_rng_init(&rng, 11);
	for (int i = 0; i < 300; i++) {
		struct sim_model model = {
			.ncalls = 1 + (unsigned)slm_rng_below(&rng, 4),
			.lockers = (uint32_t)slm_rng_next(&rng),
		};
		uint64_t nodes_max = slm_rng_below(&rng, 40);
		int bound = (int)slm_rng_below(&rng, 6) - 1;

		for (unsigned j = 0; j < model.ncalls; j++)
			model.steps[j] = 1 + (unsigned)slm_rng_below(&rng, 3);
		check(&model, bound, nodes_max);
	}
}

/* A run without a choice is the only schedule there is. */
static void test_no_choice(void **state)
{
	struct slm_strategy *strategy =
		sim_strategy(SLM_STRATEGY_EXHAUSTIVE, &two_by_two, 0, -1);

	(void)state;
	slm_strategy_begin(strategy);
	assert_int_equal(slm_strategy_learn(strategy), SLM_LEARN_DONE);
	slm_strategy_free(strategy);
}

static void test_runs_after_the_end(void **state)
{
	struct slm_strategy *strategy =
		sim_strategy(SLM_STRATEGY_EXHAUSTIVE, &two_by_two, 0, -1);
	struct sim_run run;

	(void)state;
	while (sim_run_learn(strategy, &two_by_two, &run) == SLM_LEARN_MORE)
		;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(sim_run_learn(strategy, &two_by_two, &run),
				 SLM_LEARN_DONE);
		assert_string_equal(run.schedule, "aabb");
		assert_true(slm_strategy_left(strategy) == 0);
	}
	slm_strategy_free(strategy);
}

/* More choices than the tables are first sized for. */
static void test_long_run(void **state)
{
	struct slm_strategy *strategy =
		sim_strategy(SLM_STRATEGY_EXHAUSTIVE, &two_by_two, 0, 1);
	enum slm_learn learn = SLM_LEARN_MORE;
	unsigned runs = 0;

	(void)state;
	while (learn == SLM_LEARN_MORE) {
		int previous = SLM_NO_CALL;
		unsigned left[2] = { 500, 500 };

		slm_strategy_begin(strategy);
		for (unsigned i = 0; i < 1000; i++) {
			struct slm_choice choice = {
				.enabled = (left[0] > 0) | (left[1] > 0) << 1,
				.previous = previous,
				.index = i,
			};
			unsigned call = 9;

			assert_int_equal(slm_strategy_pick(strategy, &choice,
							   &call, NULL),
					 SQLOOM_OK);
			assert_true(call < 2 && left[call] > 0);
			left[call]--;
			previous = (int)call;
		}
		learn = slm_strategy_learn(strategy);
		runs++;
	}
	/* Each order, and each with one switch after 1 to 499 steps. */
	assert_int_equal(runs, 2 + 2 * 499);
	assert_int_equal(learn, SLM_LEARN_DONE);
	slm_strategy_free(strategy);
}

/* ---- The estimate -------------------------------------------------------- */

/* With the steps known and no locks, every schedule weighs the same. */
static void test_estimate_is_exact(void **state)
{
	struct slm_strategy *strategy =
		sim_strategy(SLM_STRATEGY_EXHAUSTIVE, &three_by_four, 0, -1);
	struct sim_run run;

	(void)state;
	assert_true(slm_strategy_left(strategy) < 0);
	for (int i = 1; i < 34650; i++) {
		double left;

		assert_int_equal(sim_run_learn(strategy, &three_by_four, &run),
				 SLM_LEARN_MORE);
		left = slm_strategy_left(strategy);
		assert_true(left > 34649.9 - i && left < 34650.1 - i);
	}
	assert_int_equal(sim_run_learn(strategy, &three_by_four, &run),
			 SLM_LEARN_DONE);
	assert_true(slm_strategy_left(strategy) == 0);
	slm_strategy_free(strategy);
}

/* Otherwise it is an estimate: near in the end, and never less than what is
 * known to be left. */
static void check_estimate(const struct sim_model *model, const unsigned *steps,
			   int bound)
{
	struct slm_strategy_config config = {
		.ncalls = model->ncalls,
		.max_preemptions = bound,
		.steps = steps,
	};
	struct sim_set all = sim_brute_force(model, bound);
	double total = (double)all.count, left;
	struct slm_strategy *strategy = NULL;
	struct sim_run run;

	assert_int_equal(slm_strategy_new(SLM_STRATEGY_EXHAUSTIVE, &config,
					  &strategy, NULL),
			 SQLOOM_OK);
	for (size_t i = 1; i < all.count; i++) {
		assert_int_equal(sim_run_learn(strategy, model, &run),
				 SLM_LEARN_MORE);
		left = slm_strategy_left(strategy);
		assert_true(left >= 1);
		if (i == all.count * 9 / 10)
			assert_true(left < total);
	}
	assert_true(left < 1 + total / 50);
	sim_run_learn(strategy, model, &run);
	assert_true(slm_strategy_left(strategy) == 0);
	slm_strategy_free(strategy);
	sim_set_free(&all);
}

static void test_estimate(void **state)
{
	const struct sim_model lockers = { 3, { 4, 3, 4 }, 5 };
	const unsigned wrong[] = { 9, 0, 1 };

	(void)state;
	check_estimate(&three_by_four, NULL, -1);
	check_estimate(&three_by_four, wrong, -1);
	check_estimate(&three_by_four, three_by_four.steps, 2);
	check_estimate(&lockers, lockers.steps, -1);
	check_estimate(&lockers, NULL, -1);
}

/* ---- Divergence ---------------------------------------------------------- */

static unsigned pick(struct slm_strategy *strategy, uint32_t enabled,
		     int previous, unsigned index)
{
	struct slm_choice choice = { enabled, previous, index };
	unsigned call = 99;

	assert_int_equal(slm_strategy_pick(strategy, &choice, &call, NULL),
			 SQLOOM_OK);
	return call;
}

/* Two runs of two choices, b first in the second. */
static struct slm_strategy *second_run(void)
{
	struct slm_strategy *strategy =
		sim_strategy(SLM_STRATEGY_EXHAUSTIVE, &three_by_two, 0, -1);

	slm_strategy_begin(strategy);
	assert_int_equal(pick(strategy, 3, SLM_NO_CALL, 0), 0);
	assert_int_equal(pick(strategy, 3, 0, 1), 0);
	assert_int_equal(slm_strategy_learn(strategy), SLM_LEARN_MORE);
	slm_strategy_begin(strategy);
	return strategy;
}

/* A run is lost: MORE while there is more, but DONE never again. */
static void expect_never_done(struct slm_strategy *strategy)
{
	assert_int_equal(slm_strategy_learn(strategy), SLM_LEARN_DIVERGED);
	assert_true(slm_strategy_left(strategy) < 0);
	slm_strategy_begin(strategy);
	assert_int_equal(pick(strategy, 3, SLM_NO_CALL, 0), 0);
	assert_int_equal(pick(strategy, 3, 0, 1), 1);
	assert_int_equal(slm_strategy_learn(strategy), SLM_LEARN_DIVERGED);
	assert_int_equal(slm_strategy_exhaustive_nodes(strategy), 0);
	slm_strategy_free(strategy);
}

static void test_another_call_enabled(void **state)
{
	struct slm_strategy *strategy = second_run();

	(void)state;
	/* What was planned is not followed, nor is anything recorded. */
	assert_int_equal(pick(strategy, 7, SLM_NO_CALL, 0), 0);
	assert_int_equal(pick(strategy, 7, 0, 1), 0);
	expect_never_done(strategy);
}

static void test_planned_call_not_enabled(void **state)
{
	struct slm_strategy *strategy = second_run();

	(void)state;
	assert_int_equal(pick(strategy, 1, SLM_NO_CALL, 0), 0);
	expect_never_done(strategy);
}

static void test_run_ends_early(void **state)
{
	struct slm_strategy *strategy = second_run();

	(void)state;
	expect_never_done(strategy);
}

static void test_another_previous_call(void **state)
{
	struct slm_strategy *strategy = second_run();

	(void)state;
	assert_int_equal(pick(strategy, 3, 1, 0), 1);
	expect_never_done(strategy);
}

/* An environment that is random throughout: nothing breaks, it is noticed,
 * and it ends. */
static void test_random_environment(void **state)
{
	struct slm_rng rng;
	unsigned times = 0;

	(void)state;
	slm_rng_init(&rng, 5);
	for (int i = 0; i < 200; i++) {
		struct slm_strategy *strategy = sim_strategy(
			SLM_STRATEGY_EXHAUSTIVE, &three_by_two, 0, i % 4 - 1);
		enum slm_learn learn = SLM_LEARN_MORE;
		bool noticed = false;

		slm_strategy_exhaustive_set_nodes_max(strategy, 10);
		for (int run = 0; run < 300; run++) {
			unsigned length = (unsigned)slm_rng_below(&rng, 8);
			int previous = SLM_NO_CALL;

			slm_strategy_begin(strategy);
			for (unsigned j = 0; j < length; j++) {
				uint32_t enabled =
					1 + (uint32_t)slm_rng_below(&rng, 7);

				previous = (int)pick(strategy, enabled,
						     previous, j);
			}
			learn = slm_strategy_learn(strategy);
			noticed |= learn == SLM_LEARN_DIVERGED;
			if (noticed)
				assert_int_not_equal(learn, SLM_LEARN_DONE);
		}
		times += noticed;
		slm_strategy_free(strategy);
	}
	/* A first run without alternatives leaves nothing to notice. */
	assert_true(times > 100);
}

/* ---- Memory -------------------------------------------------------------- */

/* A space far too large to finish, a small tree: memory stays flat. */
static void test_a_million_runs_do_not_grow(void **state)
{
	const struct sim_model large = { 4, { 5, 5, 5, 5 }, 0 };
	struct slm_strategy *strategy =
		sim_strategy(SLM_STRATEGY_EXHAUSTIVE, &large, 0, -1);
	struct sim_run run;
	int64_t warm = 0;

	(void)state;
	slm_strategy_exhaustive_set_nodes_max(strategy, 2000);
	for (int i = 0; i < 1000000; i++) {
		if (i == 10000)
			warm = slm_alloc_live();
		assert_int_equal(sim_run_learn(strategy, &large, &run),
				 SLM_LEARN_MORE);
		assert_true(slm_strategy_exhaustive_nodes(strategy) <= 2020);
	}
	assert_int_equal(slm_alloc_live(), warm);
	slm_strategy_free(strategy);
}

static void test_limit_of_the_tree(void **state)
{
	const struct sim_model large = { 5, { 6, 6, 6, 6, 6 }, 0 };
	struct slm_strategy *strategy =
		sim_strategy(SLM_STRATEGY_EXHAUSTIVE, &large, 0, -1);
	struct sim_run run;

	(void)state;
	for (int i = 0; i < 300000; i++)
		sim_run_learn(strategy, &large, &run);
	assert_in_range(slm_strategy_exhaustive_nodes(strategy), 262000,
			262174);
	slm_strategy_free(strategy);
}

/* The n-th allocation fails, for every n. The pick says so and can be tried
 * again as if nothing had been. */
static void test_out_of_memory(void **state)
{
	const struct sim_model model = { 4, { 3, 3, 2, 2 }, 0 };
	int64_t live = slm_alloc_live();
	bool failed = true;

	(void)state;
	for (uint64_t n = 1; failed; n++) {
		struct slm_strategy *strategy =
			sim_strategy(SLM_STRATEGY_EXHAUSTIVE, &model, 0, -1);
		enum sqloom_status status = SQLOOM_OK;
		struct sim_run run;
		int64_t before;

		slm_alloc_fail_from(n);
		do {
			before = slm_alloc_live();
			status = sim_run(strategy, &model, &run, false);
		} while (status == SQLOOM_OK &&
			 slm_strategy_learn(strategy) == SLM_LEARN_MORE);
		slm_alloc_fail_from(0);
		failed = status != SQLOOM_OK;
		if (failed)
			assert_int_equal(status, SQLOOM_NOMEM);
		assert_true(before > live);
		slm_strategy_free(strategy);
		assert_int_equal(slm_alloc_live(), live);
		assert_true(n < 1000);
	}
}

static void test_goes_on_after_out_of_memory(void **state)
{
	const struct sim_model model = { 3, { 4, 3, 3 }, 0 };
	struct sim_set all = sim_brute_force(&model, -1);

	(void)state;
	for (uint64_t n = 1; n < 12; n++) {
		struct slm_strategy *strategy =
			sim_strategy(SLM_STRATEGY_EXHAUSTIVE, &model, 0, -1);
		struct sim_set seen = { .count = 0 };
		enum slm_learn learn = SLM_LEARN_MORE;

		slm_alloc_fail_from(n);
		while (learn == SLM_LEARN_MORE) {
			struct sim_run run;

			assert_int_equal(sim_run(strategy, &model, &run, true),
					 SQLOOM_OK);
			learn = slm_strategy_learn(strategy);
			sim_add(&seen, run.schedule);
		}
		slm_alloc_fail_from(0);
		assert_int_equal(learn, SLM_LEARN_DONE);
		sim_assert_same(&seen, &all);
		sim_set_free(&seen);
		slm_strategy_free(strategy);
	}
	sim_set_free(&all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_locks),
		cmocka_unit_test(test_preemption_bounds),
		cmocka_unit_test(test_small_tree),
		cmocka_unit_test(test_random_models),
		cmocka_unit_test(test_no_choice),
		cmocka_unit_test(test_runs_after_the_end),
		cmocka_unit_test(test_long_run),
		cmocka_unit_test(test_estimate_is_exact),
		cmocka_unit_test(test_estimate),
		cmocka_unit_test(test_another_call_enabled),
		cmocka_unit_test(test_planned_call_not_enabled),
		cmocka_unit_test(test_run_ends_early),
		cmocka_unit_test(test_another_previous_call),
		cmocka_unit_test(test_random_environment),
		cmocka_unit_test(test_a_million_runs_do_not_grow),
		cmocka_unit_test(test_limit_of_the_tree),
		cmocka_unit_test(test_out_of_memory),
		cmocka_unit_test(test_goes_on_after_out_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
