/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs on a database that is a table of answers: what the runner asks for,
 * in which order, and the letters and events it makes of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/error.h"
#include "call/run.h"

#define CALLS 3
#define STEPS 4
#define ROLLBACK STEPS
#define TEARDOWN (STEPS + 1)

/* How one step of one call behaves. */
struct behaviour {
	bool local;
	bool error;	    /* the statement is refused */
	bool begins, ends;  /* a transaction */
	bool when, runs;    /* has a when, and what it gives */
	uint32_t waits_for; /* blocked as long as these are in one */
	uint64_t digest;
};

struct fake {
	struct slm_db base;
	struct behaviour steps[CALLS][STEPS + 2];
	bool open[CALLS];   /* in a transaction */
	int blocked[CALLS]; /* step, or -1 */
	unsigned since[CALLS], clock;
	enum sqloom_status fail_end, fail_step;
	unsigned begun, ended, rolled_back;
	struct slm_arena *arena;
	char log[400];
};

static struct fake fake;
static struct slm_runner runner;
static struct sqloom_spec spec;
static struct slm_spec_session sessions[CALLS];
static struct slm_spec_step steps[CALLS][STEPS];
static struct slm_plan plan;
static const uint32_t in_order[STEPS] = { 0, 1, 2, 3 };
static struct sqloom_error err;

static unsigned place(unsigned step)
{
	return step == SLM_DB_ROLLBACK ? ROLLBACK :
	       step == SLM_DB_TEARDOWN ? TEARDOWN :
					 step;
}

static struct slm_db_step_info fake_info(struct slm_db *db, unsigned call,
					 unsigned step)
{
	(void)db;
	return (struct slm_db_step_info){
		.local = fake.steps[call][place(step)].local,
	};
}

static enum sqloom_status fake_begin(struct slm_db *db, uint32_t members,
				     unsigned variant, struct slm_arena *arena,
				     struct sqloom_error *error)
{
	(void)db, (void)members, (void)variant, (void)error;
	fake.begun++;
	fake.arena = arena;
	fake.log[0] = '\0';
	for (unsigned i = 0; i < CALLS; i++) {
		fake.open[i] = false;
		fake.blocked[i] = -1;
	}
	return SQLOOM_OK;
}

static enum sqloom_status fake_when(struct slm_db *db, unsigned call,
				    unsigned step, bool *run,
				    struct sqloom_error *error)
{
	(void)db, (void)error;
	*run = fake.steps[call][step].runs;
	return SQLOOM_OK;
}

static uint32_t in_the_way(unsigned call, unsigned step)
{
	uint32_t mask = 0;

	for (unsigned i = 0; i < CALLS; i++)
		if (fake.open[i] && i != call)
			mask |= 1u << i;
	return mask & fake.steps[call][step].waits_for;
}

static void note(unsigned call, unsigned step)
{
	static const char names[] = "0123RT";
	size_t used = strlen(fake.log);

	snprintf(fake.log + used, sizeof(fake.log) - used, "%c%c ",
		 (int)('a' + call), names[step]);
}

static void finish_step(unsigned call, unsigned step, bool timed_out,
			struct slm_db_answer *answer)
{
	const struct behaviour *b = &fake.steps[call][step];
	struct slm_result *result =
		slm_arena_zalloc(fake.arena, 1, sizeof(*result));

	note(call, step);
	result->digest = b->digest + timed_out;
	if (b->error || timed_out) {
		result->error = SLM_ERROR_RETRY;
		result->code = "NO";
	}
	if (b->begins && !b->error)
		fake.open[call] = true;
	if (step == ROLLBACK || (b->ends && !result->error)) {
		fake.rolled_back += step == ROLLBACK;
		fake.open[call] = false;
	}
	fake.blocked[call] = -1;
	*answer = (struct slm_db_answer){ .result = result,
					  .waited_ms = timed_out ? 70 : 0 };
}

static enum sqloom_status fake_step(struct slm_db *db, unsigned call,
				    unsigned number,
				    struct slm_db_answer *answer,
				    struct sqloom_error *error)
{
	unsigned step = place(number);
	uint32_t way = in_the_way(call, step);

	(void)db;
	if (fake.fail_step)
		return slm_error_set(error, fake.fail_step, "scripted");
	if (!way) {
		finish_step(call, step, false, answer);
		return SQLOOM_OK;
	}
	fake.blocked[call] = (int)step;
	fake.since[call] = fake.clock++;
	*answer = (struct slm_db_answer){ .blocked = true,
					  .blocked_by = way,
					  .what = "the lock" };
	return SQLOOM_OK;
}

static int first_blocked(bool free_only)
{
	int first = -1;

	for (int i = 0; i < CALLS; i++)
		if (fake.blocked[i] >= 0 &&
		    !(free_only &&
		      in_the_way((unsigned)i, (unsigned)fake.blocked[i])) &&
		    (first < 0 || fake.since[i] < fake.since[first]))
			first = i;
	return first;
}

static enum sqloom_status fake_resume(struct slm_db *db, int *call,
				      struct slm_db_answer *answer,
				      struct sqloom_error *error)
{
	(void)db, (void)error;
	*call = first_blocked(true);
	if (*call >= 0)
		finish_step((unsigned)*call, (unsigned)fake.blocked[*call],
			    false, answer);
	return SQLOOM_OK;
}

static enum sqloom_status fake_expire(struct slm_db *db, int *call,
				      struct slm_db_answer *answer,
				      struct sqloom_error *error)
{
	(void)db, (void)error;
	*call = first_blocked(false);
	if (*call >= 0)
		finish_step((unsigned)*call, (unsigned)fake.blocked[*call],
			    true, answer);
	return SQLOOM_OK;
}

static bool fake_in_transaction(struct slm_db *db, unsigned call)
{
	(void)db;
	return fake.open[call];
}

static enum sqloom_status fake_end(struct slm_db *db,
				   struct sqloom_error *error)
{
	(void)db;
	fake.ended++;
	return fake.fail_end ? slm_error_set(error, fake.fail_end, "at end") :
			       SQLOOM_OK;
}

static const struct slm_db_ops ops = {
	.info = fake_info,
	.run_begin = fake_begin,
	.when = fake_when,
	.step = fake_step,
	.resume = fake_resume,
	.expire = fake_expire,
	.in_transaction = fake_in_transaction,
	.run_end = fake_end,
};

/* Three calls of n steps each; nothing special happens. */
static void prepare(unsigned na, unsigned nb, unsigned nc)
{
	unsigned counts[CALLS] = { na, nb, nc };

	memset(&fake, 0, sizeof(fake));
	fake.base.ops = &ops;
	memset(sessions, 0, sizeof(sessions));
	memset(steps, 0, sizeof(steps));
	memset(&plan, 0, sizeof(plan));
	plan.ncalls = CALLS;
	for (unsigned i = 0; i < CALLS; i++) {
		sessions[i].steps = steps[i];
		sessions[i].nsteps = STEPS;
		plan.steps[i] = in_order;
		plan.nsteps[i] = counts[i];
		for (unsigned j = 0; j < STEPS + 2; j++)
			fake.steps[i][j].digest = 100 * i + j;
	}
	spec.sessions = sessions;
	spec.nsessions = CALLS;
	slm_runner_init(&runner);
	runner.db = &fake.base;
	runner.spec = &spec;
	runner.plan = &plan;
	runner.stop_on_error = true;
}

static void run_members(uint32_t members, const char *order)
{
	struct slm_director director = { .order = order };

	if (slm_run(&runner, members, 0, &director, &err))
		fail_msg("%s", err.message);
	assert_int_equal(fake.begun, fake.ended);
}

static void run(const char *order)
{
	run_members(7, order);
}

static const char *letters(void)
{
	static char text[100];

	for (uint32_t i = 0; i < runner.nletters; i++)
		snprintf(text + 2 * i, sizeof(text) - 2 * i, "%c%u",
			 'a' + runner.schedule[i], runner.taken[i]);
	return runner.nletters ? text : "";
}

/* "a0 b1? b1+70 c2- a." : done, waits, resumed, skipped, end (! failed);
 * steps that are no choice in parentheses. */
static const char *events(void)
{
	static char text[800];
	size_t used = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < runner.nevents; i++) {
		const struct slm_event *e = &runner.events[i];
		char one[40], call = (char)('a' + e->call);

		switch (e->kind) {
		case SLM_EVENT_STEP:
			snprintf(one, sizeof(one),
				 e->choice ? "%c%u%s" : "(%c%u%s)", call,
				 e->step, e->result->error ? "x" : "");
			break;
		case SLM_EVENT_BLOCKED:
			assert_true(e->choice);
			assert_string_equal(e->what, "the lock");
			snprintf(one, sizeof(one), "%c%u?%u", call, e->step,
				 e->blocked_by);
			break;
		case SLM_EVENT_RESUMED:
			snprintf(one, sizeof(one), "%c%u+%u%s", call, e->step,
				 e->waited_ms, e->result->error ? "x" : "");
			break;
		case SLM_EVENT_SKIPPED:
			snprintf(one, sizeof(one), "%c%u-", call, e->step);
			break;
		case SLM_EVENT_END:
			assert_int_equal(e->step, SLM_STEP_NONE);
			snprintf(one, sizeof(one), "%c%s", call,
				 e->ok ? "." : "!");
			break;
		case SLM_EVENT_STALLED:
			fail_msg("a session of a spec cannot stall");
			break;
		}
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "%s%s", used ? " " : "", one);
	}
	return text;
}

static int done(void **state)
{
	(void)state;
	slm_runner_deinit(&runner);
	assert_int_equal(slm_alloc_live(), 0);
	return 0;
}

static void calls_go_in_the_order_that_is_asked_for(void **state)
{
	(void)state;
	prepare(2, 1, 2);
	run("cab");
	assert_string_equal(letters(), "c0c1a0a1b0");
	assert_string_equal(events(), "c0 c1 c. a0 a1 a. b0 b.");
	assert_string_equal(fake.log, "c0 c1 a0 a1 b0 ");
	assert_int_equal(runner.failed, 0);
	run("ab"); /* who is not named comes last, lowest first */
	assert_string_equal(letters(), "a0a1b0c0c1");
}

static void only_members_take_part(void **state)
{
	(void)state;
	prepare(2, 1, 2);
	run_members(5, "abc");
	assert_string_equal(events(), "a0 a1 a. c0 c1 c.");
	assert_int_equal(runner.members, 5);
	run_members(0, "");
	assert_string_equal(events(), "");
	assert_int_equal(runner.nletters, 0);
}

static void a_local_step_is_no_choice(void **state)
{
	(void)state;
	prepare(3, 2, 0);
	fake.steps[0][0].local = true;
	fake.steps[0][2].local = true;
	fake.steps[1][1].local = true;
	run("ba");
	assert_string_equal(letters(), "b0a1");
	/* c has no steps and is over as soon as it is started. */
	assert_string_equal(events(), "(a0) c. b0 (b1) b. a1 (a2) a.");
}

static void a_step_whose_when_is_false_is_skipped(void **state)
{
	(void)state;
	prepare(3, 1, 0);
	for (unsigned i = 0; i < 3; i += 2) {
		steps[0][i].when.text = "x";
		fake.steps[0][i].when = true;
	}
	steps[1][0].when.text = "x";
	fake.steps[1][0].runs = true;
	run("ab");
	assert_string_equal(letters(), "a1b0");
	assert_string_equal(events(), "a0- c. a1 a2- a. b0 b.");
}

/* a opens a transaction; b and c want what it holds. */
static void prepare_waits(void)
{
	prepare(3, 2, 1);
	fake.steps[0][0].begins = true;
	fake.steps[0][2].ends = true;
	fake.steps[1][0].waits_for = 1;
	fake.steps[2][0].waits_for = 1;
}

static const struct slm_script_step waiting_script[] = {
	{ 0, 0 }, { 2, 0 }, { 1, 0 }, { 0, 1 }, { 0, 2 }, { 1, 1 },
};

static void the_blocked_go_on_in_the_order_they_came(void **state)
{
	struct slm_director director = { .script = waiting_script,
					 .nscript = 6 };

	(void)state;
	prepare_waits();
	assert_int_equal(slm_run(&runner, 7, 0, &director, &err), SQLOOM_OK);
	assert_int_equal(runner.failed_at, -1);
	assert_string_equal(letters(), "a0c0b0a1a2b1");
	assert_string_equal(events(), "a0 c0?1 b0?1 a1 a2 a. c0+0 c. b0+0 b1 "
				      "b.");
	assert_string_equal(fake.log, "a0 a1 a2 c0 b0 b1 ");
}

/* All that are left wait: time passes, and the first gives up. */
static void when_all_wait_time_passes(void **state)
{
	static const struct slm_script_step script[] = {
		{ 0, 0 },
		{ 1, 0 },
		{ 0, 1 },
		{ 1, 1 },
	};
	struct slm_director director = { .script = script, .nscript = 4 };

	(void)state;
	prepare(2, 2, 0);
	for (unsigned i = 0; i < 2; i++) {
		fake.steps[i][0].begins = true;
		fake.steps[i][1].waits_for = 3;
		fake.steps[i][1].ends = true;
	}
	assert_int_equal(slm_run(&runner, 3, 0, &director, &err), SQLOOM_OK);
	assert_string_equal(events(), "a0 b0 a1?2 b1?1 a1+70x (a4) a! b1+0 "
				      "b.");
	assert_int_equal(runner.failed, 1);
}

static void an_error_stops_the_call(void **state)
{
	(void)state;
	prepare(3, 1, 0);
	fake.steps[0][1].error = true;
	run("ab");
	assert_string_equal(letters(), "a0a1b0");
	assert_string_equal(events(), "c. a0 a1x a! b0 b.");
	assert_int_equal(runner.failed, 1);
}

static void an_error_may_be_passed_over(void **state)
{
	(void)state;
	prepare(3, 1, 0);
	runner.stop_on_error = false;
	fake.steps[0][0].begins = true;
	fake.steps[0][1].error = true;
	run("ab");
	assert_string_equal(letters(), "a0a1a2b0");
	/* What is still open is rolled back at the end. */
	assert_string_equal(events(), "c. a0 a1x a2 (a4) a! b0 b.");
}

/* The ROLLBACK takes the place of the next step; until then locks are held. */
static void a_rollback_is_a_step_where_steps_are_left(void **state)
{
	static const struct slm_script_step script[] = {
		{ 0, 0 },
		{ 0, 1 },
		{ 1, 0 },
		{ 0, 2 },
	};
	struct slm_director director = { .script = script, .nscript = 4 };

	(void)state;
	prepare(3, 1, 0);
	fake.steps[0][0].begins = true;
	fake.steps[0][1].error = true;
	fake.steps[1][0].waits_for = 1;
	assert_int_equal(slm_run(&runner, 3, 0, &director, &err), SQLOOM_OK);
	assert_string_equal(letters(), "a0a1b0a4");
	assert_string_equal(events(), "a0 a1x b0?1 a4 a! b0+0 b.");
	assert_int_equal(fake.rolled_back, 1);
}

static void without_a_next_step_it_is_rolled_back_at_once(void **state)
{
	(void)state;
	prepare(2, 1, 0);
	fake.steps[0][0].begins = true;
	fake.steps[0][1].error = true;
	run("ab");
	assert_string_equal(letters(), "a0a1b0");
	assert_string_equal(events(), "c. a0 a1x (a4) a! b0 b.");
}

static void the_teardown_is_the_last_step_of_its_call(void **state)
{
	(void)state;
	prepare(1, 1, 0);
	sessions[0].teardown.text = "x";
	fake.steps[0][0].begins = true;
	fake.steps[0][TEARDOWN].ends = true;
	run("ab");
	assert_string_equal(letters(), "a0a5b0");
	assert_string_equal(events(), "c. a0 a5 a. b0 b.");
	/* also after an error */
	fake.steps[0][0] = (struct behaviour){ .error = true };
	run("ab");
	assert_string_equal(events(), "c. a0x a5 a! b0 b.");
}

/* COMMIT in a teardown fails where the steps have ended the transaction. */
static void an_error_of_the_teardown_counts_if_work_is_undone(void **state)
{
	(void)state;
	prepare(1, 1, 0);
	sessions[0].teardown.text = "x";
	fake.steps[0][TEARDOWN].error = true;
	run("ab");
	assert_int_equal(runner.failed, 0);
	fake.steps[0][0].begins = true;
	run("ab");
	assert_int_equal(runner.failed, 1);
	assert_string_equal(events(), "c. a0 a5x (a4) a! b0 b.");
}

static void a_script_that_cannot_be_followed_says_where(void **state)
{
	static const struct slm_script_step script[] = {
		{ 0, 0 }, { 1, 0 }, { 1, 1 }, { 0, 1 }, { 0, 2 }, { 2, 0 },
	};
	struct slm_director director = { .script = script, .nscript = 6 };

	(void)state;
	prepare_waits();
	assert_int_equal(slm_run(&runner, 7, 0, &director, &err), SQLOOM_OK);
	assert_int_equal(runner.failed_at, 2);
	assert_int_equal(runner.failed, 0); /* it still ran to its end */
}

static void a_script_passes_over_what_is_not_run(void **state)
{
	static const struct slm_script_step script[] = {
		{ 0, 0 }, { 1, 0 }, { 0, 1 }, { 0, 2 }, { 1, 1 },
	};
	struct slm_director director = { .script = script, .nscript = 5 };

	(void)state;
	prepare(3, 2, 0);
	steps[0][0].when.text = "x";   /* skipped */
	fake.steps[0][1].error = true; /* a2 is cut off */
	assert_int_equal(slm_run(&runner, 3, 0, &director, &err), SQLOOM_OK);
	assert_int_equal(runner.failed_at, -1);
	assert_string_equal(letters(), "b0a1b1");
}

static uint64_t digest_of(const char *order)
{
	run(order);
	return runner.digest;
}

static void equal_results_have_equal_digests(void **state)
{
	uint64_t usual;

	(void)state;
	prepare(2, 2, 1);
	usual = digest_of("abc");
	assert_true(usual == digest_of("abc"));
	assert_true(usual == digest_of("cba")); /* the order is no result */
	fake.steps[1][1].digest = 77;
	assert_false(usual == digest_of("abc"));
	fake.steps[1][1].digest = 101;
	assert_true(usual == digest_of("abc"));
	fake.steps[0][1].digest = 101; /* results of the wrong call */
	fake.steps[1][1].digest = 1;
	assert_false(usual == digest_of("abc"));
	fake.steps[0][1].digest = 1;
	fake.steps[1][1].digest = 101;
	steps[0][1].when.text = "x";
	assert_false(usual == digest_of("abc"));
	fake.steps[0][1].runs = true;
	assert_true(usual == digest_of("abc"));
	run_members(3, "ab");
	assert_false(usual == runner.digest);
}

static void failures_of_the_database_end_the_run(void **state)
{
	struct slm_director director = { .order = "abc" };

	(void)state;
	prepare(1, 1, 1);
	fake.fail_end = SQLOOM_DATABASE;
	assert_int_equal(slm_run(&runner, 7, 0, &director, &err),
			 SQLOOM_DATABASE);
	assert_string_equal(err.message, "at end");
	fake.fail_step = SQLOOM_LIMIT; /* the first error is the one told */
	assert_int_equal(slm_run(&runner, 7, 0, &director, &err), SQLOOM_LIMIT);
	assert_string_equal(err.message, "scripted");
	assert_int_equal(fake.begun, fake.ended);
}

#define TEST(name) cmocka_unit_test_teardown(name, done)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(calls_go_in_the_order_that_is_asked_for),
		TEST(only_members_take_part),
		TEST(a_local_step_is_no_choice),
		TEST(a_step_whose_when_is_false_is_skipped),
		TEST(the_blocked_go_on_in_the_order_they_came),
		TEST(when_all_wait_time_passes),
		TEST(an_error_stops_the_call),
		TEST(an_error_may_be_passed_over),
		TEST(a_rollback_is_a_step_where_steps_are_left),
		TEST(without_a_next_step_it_is_rolled_back_at_once),
		TEST(the_teardown_is_the_last_step_of_its_call),
		TEST(an_error_of_the_teardown_counts_if_work_is_undone),
		TEST(a_script_that_cannot_be_followed_says_where),
		TEST(a_script_passes_over_what_is_not_run),
		TEST(equal_results_have_equal_digests),
		TEST(failures_of_the_database_end_the_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
