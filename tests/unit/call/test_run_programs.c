/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs of calls that are programs, on a database that is a table of arrivals:
 * when each is started, what becomes of stalls, and the events that are made.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/error.h"
#include "call/run.h"

#define CALLS 2

/* A letter per arrival: a digit is a step of that number, L a local step 7, Z
 * a stall, E the end, F an end that failed. */
struct fake {
	struct slm_db base;
	const char *script[CALLS];
	unsigned at[CALLS];
	unsigned awake_after[CALLS]; /* steps of others until a stall ends */
	unsigned steps_done, patient;
	char log[200];
};

static struct fake fake;
static struct slm_runner runner;
static struct sqloom_spec spec = { .has_calls = true };
static struct slm_spec_session sessions[CALLS];
static struct slm_plan plan = { .ncalls = CALLS };
static struct sqloom_error err;
static const struct slm_result outcome = { .changes = -1, .digest = 77 };

static void note(const char *fmt, unsigned call, char what)
{
	size_t used = strlen(fake.log);

	snprintf(fake.log + used, sizeof(fake.log) - used, fmt,
		 (int)('a' + call), what);
}

static struct slm_db_step_info fake_info(struct slm_db *db, unsigned call,
					 unsigned step)
{
	(void)db, (void)call, (void)step;
	return (struct slm_db_step_info){ .local = false };
}

static enum sqloom_status fake_begin(struct slm_db *db, uint32_t members,
				     unsigned variant, struct slm_arena *arena,
				     struct sqloom_error *error)
{
	(void)db, (void)members, (void)variant, (void)arena, (void)error;
	fake.log[0] = '\0';
	fake.steps_done = fake.patient = 0;
	memset(fake.at, 0, sizeof(fake.at));
	return SQLOOM_OK;
}

static enum sqloom_status fake_arrive(struct slm_db *db, unsigned call,
				      struct slm_db_arrival *arrival,
				      struct sqloom_error *error)
{
	char what = fake.script[call][fake.at[call]++];

	(void)db, (void)error;
	note("%c?%c ", call, what);
	switch (what) {
	case 'E':
	case 'F':
		arrival->kind = SLM_ARRIVAL_END;
		arrival->failed = what == 'F';
		arrival->result = &outcome;
		break;
	case 'Z':
		arrival->kind = SLM_ARRIVAL_STALLED;
		arrival->what = "asleep";
		break;
	default:
		arrival->kind = SLM_ARRIVAL_STEP;
		arrival->step = what == 'L' ? 7 : (uint32_t)(what - '0');
		arrival->local = what == 'L';
		arrival->params = what == '1' ? "$1 = 5" : NULL;
	}
	return SQLOOM_OK;
}

static enum sqloom_status fake_step(struct slm_db *db, unsigned call,
				    unsigned step, struct slm_db_answer *answer,
				    struct sqloom_error *error)
{
	(void)db, (void)error;
	fake.steps_done++;
	note("%c%c ", call, (char)('0' + step));
	*answer = (struct slm_db_answer){ .result = &outcome };
	return SQLOOM_OK;
}

static enum sqloom_status fake_resume(struct slm_db *db, int *call,
				      struct slm_db_answer *answer,
				      struct sqloom_error *error)
{
	(void)db, (void)answer, (void)error;
	*call = -1;
	return SQLOOM_OK;
}

static enum sqloom_status fake_awake(struct slm_db *db, uint32_t stalled,
				     bool patiently, int *call,
				     struct sqloom_error *error)
{
	(void)db, (void)error;
	fake.patient += patiently;
	*call = -1;
	for (unsigned i = 0; i < CALLS && *call < 0; i++)
		if ((stalled & (1u << i)) &&
		    (patiently || fake.steps_done >= fake.awake_after[i]))
			*call = (int)i;
	return SQLOOM_OK;
}

static bool fake_in_transaction(struct slm_db *db, unsigned call)
{
	(void)db, (void)call;
	return false;
}

static enum sqloom_status fake_end(struct slm_db *db,
				   struct sqloom_error *error)
{
	(void)db, (void)error;
	return SQLOOM_OK;
}

static const struct slm_db_ops ops = {
	.info = fake_info,
	.run_begin = fake_begin,
	.arrive = fake_arrive,
	.step = fake_step,
	.resume = fake_resume,
	.awake = fake_awake,
	.in_transaction = fake_in_transaction,
	.run_end = fake_end,
};

static int set_up(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof(fake));
	fake.base.ops = &ops;
	sessions[0].name = "alice";
	sessions[1].name = "bob";
	spec.sessions = sessions;
	spec.nsessions = CALLS;
	slm_runner_init(&runner);
	runner.db = &fake.base;
	runner.spec = &spec;
	runner.plan = &plan;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	slm_runner_deinit(&runner);
	return 0;
}

static void run(const char *order, const char *a, const char *b)
{
	struct slm_director director = { .order = order };

	fake.script[0] = a;
	fake.script[1] = b;
	assert_int_equal(slm_run(&runner, 3, 0, &director, &err), SQLOOM_OK);
}

static void test_serial_runs_start_one_after_another(void **state)
{
	(void)state;
	run("ab", "01E", "0E");
	assert_string_equal(fake.log, "a?0 a0 a?1 a1 a?E b?0 b0 b?E ");
	run("ba", "01E", "0E");
	assert_string_equal(fake.log, "b?0 b0 b?E a?0 a0 a?1 a1 a?E ");
}

/* Picks the letters of a string, then the lowest. */
static void run_letters(const char *letters, const char *a, const char *b)
{
	struct slm_strategy *strategy = NULL;
	struct slm_director director = { 0 };
	uint8_t picks[32];
	uint32_t n = (uint32_t)strlen(letters);
	const uint8_t *list = picks;

	for (uint32_t i = 0; i < n; i++)
		picks[i] = (uint8_t)(letters[i] - 'a');
	assert_int_equal(slm_strategy_replay_new(&list, &n, 1, &strategy, &err),
			 SQLOOM_OK);
	director.strategy = strategy;
	fake.script[0] = a;
	fake.script[1] = b;
	assert_int_equal(slm_run(&runner, 3, 0, &director, &err), SQLOOM_OK);
	slm_strategy_free(strategy);
}

static void test_all_are_started_before_the_first_choice(void **state)
{
	(void)state;
	run_letters("ba", "0E", "0E");
	assert_string_equal(fake.log, "a?0 b?0 b0 b?E a0 a?E ");
	assert_int_equal(runner.nletters, 2);
	assert_false(runner.stalled);
}

static void test_local_steps_are_no_letters(void **state)
{
	(void)state;
	run_letters("ab", "L0E", "0E");
	assert_string_equal(fake.log, "a?L a7 a?0 b?0 a0 a?E b0 b?E ");
	assert_int_equal(runner.nletters, 2);
}

static void test_params_and_outcomes_are_recorded(void **state)
{
	(void)state;
	run_letters("ab", "1F", "0E");
	assert_int_equal(runner.nevents, 4);
	assert_string_equal(runner.events[0].params, "$1 = 5");
	assert_int_equal(runner.events[0].step, 1);
	assert_int_equal(runner.events[1].kind, SLM_EVENT_END);
	assert_false(runner.events[1].ok);
	assert_ptr_equal(runner.events[1].result, &outcome);
	assert_null(runner.events[2].params);
	assert_true(runner.events[3].ok);
	assert_int_equal(runner.failed, 1);
}

static void test_a_stalled_call_wakes_up_behind_others(void **state)
{
	(void)state;
	fake.awake_after[1] = 2;
	run_letters("aab", "01E", "Z0E");
	assert_string_equal(fake.log, "a?0 b?Z a0 a?1 a1 a?E b?0 b0 b?E ");
	assert_true(runner.stalled);
	assert_int_equal(fake.patient, 0);
	assert_int_equal(runner.events[0].kind, SLM_EVENT_STALLED);
	assert_string_equal(runner.events[0].what, "asleep");
}

static void test_when_all_are_stalled_it_waits(void **state)
{
	(void)state;
	fake.awake_after[0] = fake.awake_after[1] = 100;
	run("ab", "Z0E", "ZE");
	assert_string_equal(fake.log, "a?Z a?0 a0 a?E b?Z b?E ");
	assert_int_equal(fake.patient, 2);
}

static void test_the_way_tells_runs_apart(void **state)
{
	uint64_t way;

	(void)state;
	run("ab", "01E", "0E");
	way = runner.way;
	run("ab", "01E", "0E");
	assert_true(runner.way == way);
	run("ab", "02E", "0E");
	assert_false(runner.way == way);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		T(test_serial_runs_start_one_after_another),
		T(test_all_are_started_before_the_first_choice),
		T(test_local_steps_are_no_letters),
		T(test_params_and_outcomes_are_recorded),
		T(test_a_stalled_call_wakes_up_behind_others),
		T(test_when_all_are_stalled_it_waits),
		T(test_the_way_tells_runs_apart),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
