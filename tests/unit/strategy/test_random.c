/* SPDX-License-Identifier: Apache-2.0 */
/* The random strategy: each choice uniform among the enabled calls. */
#include "simulate.h"

static void count_picks(uint32_t enabled, int max_preemptions, int previous,
			unsigned counts[32])
{
	const struct sim_model model = { 5, { 1, 1, 1, 1, 1 }, 0 };
	struct slm_strategy *strategy =
		sim_strategy(SLM_STRATEGY_RANDOM, &model, 42, max_preemptions);

	memset(counts, 0, 32 * sizeof(counts[0]));
	for (int i = 0; i < 30000; i++) {
		struct slm_choice choice = { enabled, previous, 0 };
		unsigned call = 99;

		slm_strategy_begin(strategy);
		assert_int_equal(slm_strategy_pick(strategy, &choice, &call,
						   NULL),
				 SQLOOM_OK);
		assert_true(call < 32);
		counts[call]++;
		assert_int_equal(slm_strategy_learn(strategy), SLM_LEARN_MORE);
	}
	slm_strategy_free(strategy);
}

/* Chi-square of each third or half; seeded, so no test by chance. */
static void test_uniform_among_enabled(void **state)
{
	unsigned counts[32];
	double chi = 0;

	(void)state;
	count_picks(0x15, -1, SLM_NO_CALL, counts); /* 0, 2, 4 */
	for (unsigned i = 0; i < 5; i++) {
		double off = counts[i] - 10000.0;

		if (i % 2 == 0)
			chi += off * off / 10000;
		else
			assert_int_equal(counts[i], 0);
	}
	assert_true(chi < 13.8); /* 2 degrees of freedom, p = 0.001 */
	count_picks(0x10, -1, SLM_NO_CALL, counts);
	assert_int_equal(counts[4], 30000);
}

static void test_bound_used_up(void **state)
{
	unsigned counts[32];

	(void)state;
	count_picks(0x15, 0, 2, counts);
	assert_int_equal(counts[2], 30000);
	/* The previous call is not enabled: anybody may go. */
	count_picks(0x11, 0, 2, counts);
	assert_true(counts[0] > 14000 && counts[4] > 14000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uniform_among_enabled),
		cmocka_unit_test(test_bound_used_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
