/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong in programs gets the field's names. */
#include "program.h"

/* Explains a run with two redemptions. */
static struct slm_finding name_of(struct scene *s)
{
	struct slm_oracle *oracle = program_oracle(&program_config);
	struct slm_finding f;

	program_contents(s, 2);
	f = explain(oracle, s);
	assert_int_equal(f.class, SLM_CLASS_CONTENTS);
	slm_oracle_free(oracle);
	return f;
}

static void named_check_then_act(void **state)
{
	struct slm_finding f;
	struct scene s;

	(void)state;
	scene_begin(&s, BOTH);
	sent(&s, ALICE, LOOK, "$1 = 'SPRING'");
	sent(&s, BOB, LOOK, "$1 = 'SPRING'");
	sent(&s, BOB, TAKE, "$1 = 1, $2 = 'SPRING'");
	won(&s, BOB);
	sent(&s, ALICE, REDEEM, "$1 = 'SPRING'");
	won(&s, ALICE);
	f = name_of(&s);
	assert_string_equal(f.name, "check-then-act");
	assert_non_null(strstr(f.cause, "alice's step s2, which some serial "
					"run leaves out"));
	scene_end(&s);
	/* Another coupon: nothing was stale. */
	scene_begin(&s, BOTH);
	sent(&s, ALICE, LOOK, "$1 = 'SPRING'");
	sent(&s, BOB, LOOK, "$1 = 'SUMMER'");
	sent(&s, BOB, TAKE, "$1 = 1, $2 = 'SUMMER'");
	won(&s, BOB);
	sent(&s, ALICE, REDEEM, "$1 = 'SPRING'");
	won(&s, ALICE);
	/* A second row, or the table would be one row that all pick. */
	table(&s, "coupon", "code used", -1);
	ROW(&s, 0, TEXT("SPRING"), INT(0));
	ROW(&s, 0, TEXT("SUMMER"), INT(0));
	{
		struct slm_oracle *oracle = program_oracle(&program_config);

		f = explain(oracle, &s);
		assert_null(f.name);
		slm_oracle_free(oracle);
	}
	scene_end(&s);
}

/* Each reads how often the coupon was used, and writes one more. */
static void count_serial(struct scene *s, uint32_t first)
{
	uint32_t second = 1 - first;

	scene_begin(s, BOTH);
	sent(s, first, LOOK, "$1 = 'SPRING'");
	sent(s, first, TAKE, "$1 = 1, $2 = 'SPRING'");
	won(s, first);
	sent(s, second, LOOK, "$1 = 'SPRING'");
	sent(s, second, TAKE, "$1 = 2, $2 = 'SPRING'");
	won(s, second);
	table(s, "coupon", "code used", -1);
	ROW(s, 0, TEXT("SPRING"), INT(2));
	ROW(s, 0, TEXT("SUMMER"), INT(0));
}

/* gets_there: also in serial runs the second goes as far as to write. params:
 * of what alice writes in the race. */
static struct slm_finding count_race(struct scene *s, bool gets_there,
				     const char *params)
{
	struct slm_oracle *oracle = new_oracle(&program_config);
	struct scene serial;
	struct slm_finding f;

	for (uint32_t first = 0; first < 2; first++) {
		count_serial(&serial, first);
		if (!gets_there)
			serial.events[4].kind = SLM_EVENT_STALLED;
		add_serial(oracle, first ? "ba" : "ab", &serial);
		scene_end(&serial);
	}
	scene_begin(s, BOTH);
	done(s, ALICE, BEGIN);
	sent(s, ALICE, LOOK, "$1 = 'SPRING'");
	sent(s, BOB, LOOK, "$1 = 'SPRING'");
	sent(s, BOB, TAKE, "$1 = 1, $2 = 'SPRING'");
	won(s, BOB);
	/* Waits, and goes on: the parameters stand at the beginning. */
	blocked(s, ALICE, TAKE, 2);
	s->events[s->run.nevents - 1].params = params;
	result(s, event(s, SLM_EVENT_RESUMED, ALICE, TAKE))->changes = 1;
	done(s, ALICE, END);
	won(s, ALICE);
	table(s, "coupon", "code used", -1);
	ROW(s, 0, TEXT("SPRING"), INT(1));
	ROW(s, 0, TEXT("SUMMER"), INT(0));
	f = explain(oracle, s);
	assert_int_equal(f.class, SLM_CLASS_CONTENTS);
	slm_oracle_free(oracle);
	return f;
}

static void named_lost_update(void **state)
{
	struct slm_finding f;
	struct scene s;

	(void)state;
	f = count_race(&s, true, "$1 = 1, $2 = 'SPRING'");
	assert_string_equal(f.name, "lost update (P4)");
	assert_string_equal(
		f.cause,
		"alice's step s5 overwrote what bob wrote in s5: alice had "
		"read coupon in s1 before bob's write (lost update). s1 and s5 "
		"are in one transaction: a stronger isolation level can "
		"prevent it.");
	scene_end(&s);
}

/* The same statements, but in serial runs the second one stops before it
 * writes, and what the first writes is always the same. */
static void named_a_decision(void **state)
{
	struct slm_finding f;
	struct scene s;

	(void)state;
	f = count_race(&s, false, "$1 = 1, $2 = 'SPRING'");
	assert_string_equal(f.name, "check-then-act");
	scene_end(&s);
	/* A value that it writes in no serial run is no mere decision. */
	f = count_race(&s, false, "$1 = 5, $2 = 'SPRING'");
	assert_string_equal(f.name, "lost update (P4)");
	scene_end(&s);
}

static void named_blind_insert(void **state)
{
	struct slm_finding f;
	struct scene s;

	(void)state;
	scene_begin(&s, BOTH);
	sent(&s, ALICE, BLIND, "$1 = 'SPRING'");
	sent(&s, BOB, BLIND, "$1 = 'SPRING'");
	done(&s, ALICE, COMMIT);
	won(&s, ALICE);
	done(&s, BOB, COMMIT);
	won(&s, BOB);
	f = name_of(&s);
	assert_string_equal(f.name, "duplicate insert");
	assert_non_null(strstr(f.cause, "bob's step s6 looked at redemption"));
	scene_end(&s);
	/* In turn there is nothing to be said. */
	scene_begin(&s, BOTH);
	sent(&s, ALICE, BLIND, "$1 = 'SPRING'");
	done(&s, ALICE, COMMIT);
	won(&s, ALICE);
	sent(&s, BOB, BLIND, "$1 = 'SPRING'");
	done(&s, BOB, COMMIT);
	won(&s, BOB);
	f = name_of(&s);
	assert_null(f.name);
	scene_end(&s);
}

static void named_deadlock(void **state)
{
	struct slm_oracle *oracle = program_oracle(&program_config);
	struct slm_finding f;
	struct scene s;

	(void)state;
	scene_begin(&s, BOTH);
	blocked(&s, ALICE, REDEEM, 2);
	broke(&s, BOB, TAKE, SLM_ERROR_DEADLOCK, "40P01");
	refused(&s, BOB, SLM_ERROR_REFUSED, "exit 1", "Traceback");
	result(&s, event(&s, SLM_EVENT_RESUMED, ALICE, REDEEM))->changes = 1;
	won(&s, ALICE);
	program_contents(&s, 1);
	f = explain(oracle, &s);
	assert_string_equal(f.name, "deadlock");
	assert_string_equal(f.cause,
			    "alice's step s2 waited for bob, and bob's step s5 "
			    "for alice: the database ended bob (deadlock).");
	slm_oracle_free(oracle);
	scene_end(&s);
}

static void named_integrity_error(void **state)
{
	struct slm_oracle *oracle = program_oracle(&program_config);
	struct slm_finding f;
	struct scene s;

	(void)state;
	scene_begin(&s, BOTH);
	sent(&s, BOB, BLIND, NULL);
	sent(&s, ALICE, REDEEM, NULL);
	won(&s, ALICE);
	broke(&s, BOB, REDEEM, SLM_ERROR_INTEGRITY, "23505");
	refused(&s, BOB, SLM_ERROR_REFUSED, "exit 1", "Traceback");
	program_contents(&s, 1);
	f = explain(oracle, &s);
	assert_int_equal(f.class, SLM_CLASS_ERROR);
	assert_non_null(strstr(f.name, "integrity error"));
	assert_non_null(strstr(f.cause, "bob's step s2 failed"));
	assert_string_equal(f.outcome.results[1],
			    "exit 1: 23505: the database said no");
	slm_oracle_free(oracle);
	scene_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(named_check_then_act),
		cmocka_unit_test(named_lost_update),
		cmocka_unit_test(named_a_decision),
		cmocka_unit_test(named_blind_insert),
		cmocka_unit_test(named_deadlock),
		cmocka_unit_test(named_integrity_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
