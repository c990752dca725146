/* SPDX-License-Identifier: Apache-2.0 */
/* The replay strategy: follows, and tells where it could not. */
#include "simulate.h"

static const struct sim_model model = { 2, { 3, 3 }, 0 };
static const struct sim_model lockers = { 2, { 3, 3 }, 3 };

/* Schedules as letters. */
static struct slm_strategy *replay(const char *const *texts, unsigned count)
{
	uint8_t calls[8][SIM_STEPS_MAX];
	const uint8_t *schedules[8];
	unsigned lengths[8];
	struct slm_strategy *strategy = NULL;

	for (unsigned i = 0; i < count; i++) {
		lengths[i] = (unsigned)strlen(texts[i]);
		schedules[i] = calls[i];
		for (unsigned j = 0; j < lengths[i]; j++)
			calls[i][j] = (uint8_t)(texts[i][j] - 'a');
	}
	assert_int_equal(slm_strategy_replay_new(schedules, lengths, count,
						 &strategy, NULL),
			 SQLOOM_OK);
	/* The schedules are copied. */
	memset(calls, 0xff, sizeof(calls));
	return strategy;
}

static void expect(const struct sim_model *of, const char *schedule,
		   const char *run_as, int failed_at)
{
	struct slm_strategy *strategy = replay(&schedule, 1);
	struct sim_run run;

	assert_int_equal(sim_run_learn(strategy, of, &run), SLM_LEARN_DONE);
	assert_string_equal(run.schedule, run_as);
	assert_int_equal(slm_strategy_failed_at(strategy), failed_at);
	slm_strategy_free(strategy);
}

static void test_follows(void **state)
{
	struct sim_set all = sim_brute_force(&lockers, -1);

	(void)state;
	for (size_t i = 0; i < all.count; i++)
		expect(&lockers, all.schedules[i], all.schedules[i], -1);
	sim_set_free(&all);
}

static void test_not_enabled(void **state)
{
	(void)state;
	/* a has ended; then the lowest enabled call goes, whatever the rest of
	 * the schedule says. */
	expect(&model, "aaaabb", "aaabbb", 3);
	expect(&model, "bcaaab", "baaabb", 1);
	expect(&model, "zbbaaa", "aaabbb", 0);
	/* b waits for the lock. */
	expect(&lockers, "abbaa", "abaabb", 2);
}

/* A call that no mask has room for. */
static void test_no_such_call(void **state)
{
	const uint8_t calls[] = { 0, 255, 1, 1, 1, 0 };
	const uint8_t *schedule = calls;
	unsigned length = 6;
	struct slm_strategy *strategy = NULL;
	struct sim_run run;

	(void)state;
	assert_int_equal(slm_strategy_replay_new(&schedule, &length, 1,
						 &strategy, NULL),
			 SQLOOM_OK);
	sim_run_learn(strategy, &model, &run);
	assert_string_equal(run.schedule, "aaabbb");
	assert_int_equal(slm_strategy_failed_at(strategy), 1);
	slm_strategy_free(strategy);
}

static void test_too_short(void **state)
{
	(void)state;
	expect(&model, "baab", "baabab", 4);
	expect(&model, "bbbaa", "bbbaaa", 5);
	expect(&model, "", "aaabbb", 0);
}

static void test_too_long(void **state)
{
	(void)state;
	expect(&model, "bababab", "bababa", 6);
	/* What failed first counts. */
	expect(&model, "aaaabbbb", "aaabbb", 3);
}

static void test_one_schedule_per_run(void **state)
{
	const char *const texts[] = { "ababab", "bbb", "bbbaaa" };
	struct slm_strategy *strategy = replay(texts, 3);
	struct sim_run run;

	(void)state;
	assert_string_equal(slm_strategy_name(strategy), "replay");
	assert_true(slm_strategy_left(strategy) == 3);
	assert_int_equal(slm_strategy_failed_at(strategy), -1);
	for (int round = 0; round < 2; round++) {
		enum slm_learn more = round ? SLM_LEARN_DONE : SLM_LEARN_MORE;

		assert_int_equal(sim_run_learn(strategy, &model, &run), more);
		assert_string_equal(run.schedule, "ababab");
		assert_int_equal(slm_strategy_failed_at(strategy), -1);
		assert_int_equal(sim_run_learn(strategy, &model, &run), more);
		assert_string_equal(run.schedule, "bbbaaa");
		assert_int_equal(slm_strategy_failed_at(strategy), 3);
		/* A failure is forgotten when the next run begins. */
		assert_int_equal(sim_run_learn(strategy, &model, &run),
				 SLM_LEARN_DONE);
		assert_string_equal(run.schedule, "bbbaaa");
		assert_int_equal(slm_strategy_failed_at(strategy), -1);
		assert_true(slm_strategy_left(strategy) == 0);
	}
	slm_strategy_free(strategy);
}

static void test_no_schedule(void **state)
{
	struct slm_strategy *strategy = NULL;
	struct sqloom_error err;

	(void)state;
	assert_int_equal(slm_strategy_replay_new(NULL, NULL, 0, &strategy,
						 &err),
			 SQLOOM_USAGE);
	assert_null(strategy);
	assert_non_null(strstr(err.message, "no schedule"));
}

static void test_out_of_memory(void **state)
{
	const uint8_t calls[] = { 0, 1 };
	const uint8_t *schedules[] = { calls, calls };
	const unsigned lengths[] = { 2, 1 };
	int64_t live = slm_alloc_live();
	struct slm_strategy *strategy = NULL;
	uint64_t n;

	(void)state;
	for (n = 1; !strategy; n++) {
		enum sqloom_status status;

		slm_alloc_fail_from(n);
		status = slm_strategy_replay_new(schedules, lengths, 2,
						 &strategy, NULL);
		slm_alloc_fail_from(0);
		assert_int_equal(status, strategy ? SQLOOM_OK : SQLOOM_NOMEM);
		if (!strategy)
			assert_int_equal(slm_alloc_live(), live);
	}
	assert_true(n > 3);
	slm_strategy_free(strategy);
	assert_int_equal(slm_alloc_live(), live);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_follows),
		cmocka_unit_test(test_not_enabled),
		cmocka_unit_test(test_no_such_call),
		cmocka_unit_test(test_too_short),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_one_schedule_per_run),
		cmocka_unit_test(test_no_schedule),
		cmocka_unit_test(test_out_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
