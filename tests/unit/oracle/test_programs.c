/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that are programs: what of them counts, how their failures do, and
 * what two equal serial runs teach. */
#include "program.h"

#include <stdio.h>

/* Ends what the test has set up: contents of one redemption, the class. */
#define expect(s, expected)                                                   \
	do {                                                                  \
		struct slm_oracle *oracle_ = program_oracle(&program_config); \
		program_contents(s, 1);                                       \
		assert_class(oracle_, s, expected);                           \
		slm_oracle_free(oracle_);                                     \
		scene_end(s);                                                 \
	} while (0)

static void alice_redeems(struct scene *s)
{
	scene_begin(s, BOTH);
	sent(s, ALICE, LOOK, "$1 = 'SPRING'");
	sent(s, ALICE, REDEEM, "$1 = 'SPRING'");
	won(s, ALICE);
}

/* ---- What counts ------------------------------------------------------ */

/* Statements are the program's own business: how many, which, and what they
 * return. */
static void statements_do_not_count(void **state)
{
	struct scene s;

	(void)state;
	scene_begin(&s, BOTH);
	sent(&s, BOB, LOOK, NULL);
	done(&s, ALICE, BEGIN);
	READ(&s, ALICE, LOOK, "used", INT(99));
	READ(&s, ALICE, LOOK, "used", INT(98));
	changed(&s, ALICE, TAKE, 7);
	event(&s, SLM_EVENT_STALLED, BOB, SLM_STEP_NONE);
	won(&s, ALICE);
	lost(&s, BOB);
	expect(&s, SERIAL);
}

/* An error that the program survived is its own business, too. */
static void survived_errors_do_not_count(void **state)
{
	struct scene s;

	(void)state;
	scene_begin(&s, BOTH);
	broke(&s, ALICE, REDEEM, SLM_ERROR_INTEGRITY, "23505");
	broke(&s, ALICE, REDEEM, SLM_ERROR_RETRY, "40001");
	won(&s, ALICE);
	lost(&s, BOB);
	expect(&s, SERIAL);
}

static void another_value_is_a_result(void **state)
{
	struct slm_oracle *oracle = program_oracle(&program_config);
	struct slm_finding f;
	struct scene s;

	(void)state;
	scene_begin(&s, BOTH);
	GAVE(&s, ALICE, true, "status $.ok", INT(200), TEXT("maybe"));
	lost(&s, BOB);
	program_contents(&s, 1);
	assert_class(oracle, &s, RESULT);
	f = explain(oracle, &s);
	assert_int_equal(f.ndifferences, 1);
	assert_difference(&f, 0, "alice: $.ok", "'maybe'", "'yes'");
	assert_string_equal(f.outcome.results[0], "HTTP 200 ok='maybe'");
	assert_string_equal(f.outcome.results[1], "exit 3: used");
	slm_oracle_free(oracle);
	scene_end(&s);
}

/* Other parts are another value, though those in common are equal. */
static void other_parts_are_a_result(void **state)
{
	struct slm_oracle *oracle = program_oracle(&program_config);
	struct slm_finding f;
	struct scene s;

	(void)state;
	scene_begin(&s, BOTH);
	GAVE(&s, ALICE, true, "status $.ok $.more", INT(200), TEXT("yes"), NIL);
	lost(&s, BOB);
	program_contents(&s, 1);
	assert_class(oracle, &s, RESULT);
	f = explain(oracle, &s);
	assert_difference(&f, 0, "alice: $.more", "NULL", NULL);
	slm_oracle_free(oracle);
	scene_end(&s);
}

static void the_order_of_parts_says_nothing(void **state)
{
	struct scene s;

	(void)state;
	scene_begin(&s, BOTH);
	GAVE(&s, ALICE, true, "$.ok status", TEXT("yes"), INT(200));
	lost(&s, BOB);
	expect(&s, SERIAL);
}

static void more_that_succeed_are_a_result(void **state)
{
	struct slm_oracle *oracle = program_oracle(&program_config);
	struct slm_finding f;
	struct scene s;

	(void)state;
	alice_redeems(&s);
	won(&s, BOB);
	program_contents(&s, 1);
	assert_class(oracle, &s, RESULT);
	f = explain(oracle, &s);
	assert_string_equal(f.nearest, "ab");
	assert_difference(&f, 0, "bob: exit", "0", "3 (used)");
	slm_oracle_free(oracle);
	scene_end(&s);
}

/* Two parts whose values were swapped. */
static void parts_have_names(void **state)
{
	struct slm_oracle *oracle = new_oracle(&program_config);
	struct scene s;

	(void)state;
	for (int i = 0; i < 2; i++) {
		scene_begin(&s, 1);
		GAVE(&s, ALICE, true, i ? "status $.b $.a" : "status $.a $.b",
		     INT(200), TEXT("x"), TEXT("y"));
		program_contents(&s, 1);
		if (i)
			assert_class(oracle, &s, RESULT);
		else
			add_serial(oracle, "a", &s);
		scene_end(&s);
	}
	slm_oracle_free(oracle);
}

/* Nearest is the order in which the most calls gave the same. */
static void nearest_by_what_was_given(void **state)
{
	struct slm_oracle *oracle = program_oracle(&program_config);
	struct slm_finding f;
	struct scene s;

	(void)state;
	scene_begin(&s, BOTH);
	GAVE(&s, BOB, true, "exit", INT(0));
	refused(&s, ALICE, SLM_ERROR_OTHER, "HTTP 500", "oops");
	program_contents(&s, 1);
	f = explain(oracle, &s);
	assert_int_equal(f.class, SLM_CLASS_ERROR);
	assert_string_equal(f.nearest, "ba");
	assert_int_equal(f.ndifferences, 1);
	assert_difference(&f, 0, "alice: status", "500 (oops)", "409 (used)");
	slm_oracle_free(oracle);
	scene_end(&s);
}

/* What stands behind a status that failed: nothing that the parts say. */
static void only_messages_that_say_more(void **state)
{
	static const struct {
		const char *columns, *message, *shown;
	} cases[] = {
		{ "exit line_1", "Traceback", "exit 1 line_1='x': Traceback" },
		{ "exit line_1", "x", "exit 1 line_1='x'" },
		{ "exit line_1", "", "exit 1 line_1='x'" },
		{ "status $.error", "{\"error\": \"x\"}", "HTTP 1 error='x'" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slm_oracle *oracle = program_oracle(&program_config);
		struct slm_result *r;
		struct slm_finding f;
		struct scene s;

		scene_begin(&s, BOTH);
		won(&s, ALICE);
		r = GAVE(&s, BOB, false, cases[i].columns, INT(1), TEXT("x"));
		r->error = SLM_ERROR_OTHER;
		r->code = "exit 1";
		r->message = cases[i].message;
		program_contents(&s, 1);
		f = explain(oracle, &s);
		assert_string_equal(f.outcome.results[1], cases[i].shown);
		slm_oracle_free(oracle);
		scene_end(&s);
	}
}

/* Steps that come to be known while the oracle lives. */
static void steps_may_be_added(void **state)
{
	struct slm_oracle *oracle;
	struct scene s;

	(void)state;
	program_calls[ALICE].nsteps = 1;
	program_calls[BOB].nsteps = 0;
	oracle = new_oracle(&program_config);
	program_calls[ALICE].nsteps = program_calls[BOB].nsteps = STEPS;
	program_serial(&s, ALICE);
	add_serial(oracle, "ab", &s);
	assert_class(oracle, &s, SERIAL);
	scene_end(&s);
	slm_oracle_free(oracle);
}

/* ---- Failures --------------------------------------------------------- */

/* The database ended bob, who gave up: alice's serial runs are what counts. */
static void aborted_by_the_database(void **state)
{
	struct slm_oracle *oracle = program_oracle(&program_config);
	struct slm_finding f;
	struct scene s;

	(void)state;
	alice_redeems(&s);
	done(&s, BOB, BEGIN);
	broke(&s, BOB, REDEEM, SLM_ERROR_RETRY, "40001");
	/* Statements behind it that say no more than that. */
	broke(&s, BOB, LOOK, SLM_ERROR_OTHER, "25P02");
	done(&s, BOB, BEGIN);
	refused(&s, BOB, SLM_ERROR_REFUSED, "exit 1", "Traceback");
	program_contents(&s, 1);
	assert_int_equal(slm_oracle_survivors(oracle, &s.run), 1);
	assert_class(oracle, &s, RETRY);
	f = explain(oracle, &s);
	assert_string_equal(f.outcome.results[1],
			    "exit 1: 40001: the database said no");
	assert_string_equal(f.name, "serialization failure");
	slm_oracle_free(oracle);
	scene_end(&s);
}

/* What an aborted call gave does not tell two runs apart. */
static void aborts_are_one_outcome(void **state)
{
	struct slm_oracle *oracle = program_oracle(&program_config);
	uint64_t outcome[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct scene s;

		alice_redeems(&s);
		broke(&s, BOB, REDEEM, SLM_ERROR_RETRY, "40001");
		refused(&s, BOB, SLM_ERROR_REFUSED, i ? "exit 1" : "exit 2",
			"Traceback");
		program_contents(&s, 1);
		outcome[i] = judge(oracle, &s).outcome;
		scene_end(&s);
	}
	assert_true(outcome[0] == outcome[1]);
	slm_oracle_free(oracle);
}

static void a_deadlock_is_an_error(void **state)
{
	struct scene s;

	(void)state;
	alice_redeems(&s);
	broke(&s, BOB, REDEEM, SLM_ERROR_DEADLOCK, "40P01");
	refused(&s, BOB, SLM_ERROR_REFUSED, "exit 3", "used");
	expect(&s, ERROR);
}

/* It tried again and refused: the error is forgotten. */
static void recovered_from_an_abort(void **state)
{
	struct slm_oracle *oracle = program_oracle(&program_config);
	struct scene s;

	(void)state;
	/* Something else that went well says nothing. */
	alice_redeems(&s);
	broke(&s, BOB, REDEEM, SLM_ERROR_RETRY, "40001");
	sent(&s, BOB, LOOK, NULL);
	lost(&s, BOB);
	program_contents(&s, 1);
	assert_int_equal(slm_oracle_survivors(oracle, &s.run), 1);
	assert_class(oracle, &s, RETRY);
	scene_end(&s);
	/* The statement itself, once more */
	alice_redeems(&s);
	broke(&s, BOB, REDEEM, SLM_ERROR_RETRY, "40001");
	sent(&s, BOB, REDEEM, NULL);
	lost(&s, BOB);
	program_contents(&s, 1);
	assert_int_equal(slm_oracle_survivors(oracle, &s.run), BOTH);
	scene_end(&s);
	/* or the transaction */
	alice_redeems(&s);
	sent(&s, BOB, LOOK, NULL);
	broke(&s, BOB, REDEEM, SLM_ERROR_RETRY, "40001");
	sent(&s, BOB, LOOK, NULL);
	lost(&s, BOB);
	program_contents(&s, 1);
	assert_int_equal(slm_oracle_survivors(oracle, &s.run), BOTH);
	assert_class(oracle, &s, SERIAL);
	slm_oracle_free(oracle);
	scene_end(&s);
}

/* An answer 4xx tells the caller, whatever was behind it. */
static void http_4xx_is_benign(void **state)
{
	struct slm_oracle *oracle = program_oracle(&program_config);
	struct scene s;

	(void)state;
	scene_begin(&s, BOTH);
	won(&s, BOB);
	refused(&s, ALICE, SLM_ERROR_REFUSED, "HTTP 422", "never seen");
	expect(&s, BENIGN);
	scene_begin(&s, BOTH);
	won(&s, BOB);
	broke(&s, ALICE, REDEEM, SLM_ERROR_INTEGRITY, "23505");
	refused(&s, ALICE, SLM_ERROR_REFUSED, "HTTP 422", "never seen");
	expect(&s, BENIGN);
	scene_begin(&s, BOTH);
	won(&s, BOB);
	broke(&s, ALICE, REDEEM, SLM_ERROR_RETRY, "40001");
	refused(&s, ALICE, SLM_ERROR_REFUSED, "HTTP 422", "never seen");
	program_contents(&s, 1);
	assert_int_equal(slm_oracle_survivors(oracle, &s.run), 2);
	assert_class(oracle, &s, BENIGN);
	slm_oracle_free(oracle);
	scene_end(&s);
}

static void a_known_exit_status_is_benign(void **state)
{
	struct scene s;

	(void)state;
	/* The code is that of a serial run, the message is not. */
	scene_begin(&s, BOTH);
	won(&s, ALICE);
	refused(&s, BOB, SLM_ERROR_REFUSED, "exit 3", "something else");
	expect(&s, SERIAL);
	scene_begin(&s, BOTH);
	won(&s, ALICE);
	refused(&s, BOB, SLM_ERROR_REFUSED, "exit 1", "Traceback");
	expect(&s, ERROR);
	/* The other call's codes are not this one's. */
	scene_begin(&s, BOTH);
	refused(&s, ALICE, SLM_ERROR_REFUSED, "exit 3", "used");
	won(&s, BOB);
	expect(&s, ERROR);
}

/* An exit status may be known from runs of other calls, a crash may not. */
static void known_from_other_serial_runs(void **state)
{
	static const enum slm_error_kind kinds[] = { SLM_ERROR_REFUSED,
						     SLM_ERROR_OTHER };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct slm_oracle *oracle = new_oracle(&program_config);
		struct scene s;

		for (uint32_t first = 0; first < 2; first++) {
			program_serial(&s, first);
			add_serial(oracle, first ? "ba" : "ab", &s);
			scene_end(&s);
		}
		scene_begin(&s, 1u << BOB);
		refused(&s, BOB, kinds[i], "exit 9", "");
		program_contents(&s, 0);
		add_serial(oracle, "b", &s);
		scene_end(&s);
		scene_begin(&s, BOTH);
		won(&s, ALICE);
		refused(&s, BOB, kinds[i], "exit 9", "");
		program_contents(&s, 1);
		assert_int_equal(judge(oracle, &s).class,
				 i ? SLM_CLASS_ERROR : SLM_CLASS_BENIGN);
		scene_end(&s);
		slm_oracle_free(oracle);
	}
}

static void crashes_are_errors(void **state)
{
	struct scene s;

	(void)state;
	scene_begin(&s, BOTH);
	refused(&s, ALICE, SLM_ERROR_OTHER, "HTTP 500", "oops");
	won(&s, BOB);
	expect(&s, ERROR);
	scene_begin(&s, BOTH);
	won(&s, ALICE);
	refused(&s, BOB, SLM_ERROR_OTHER, "exit 139", "");
	expect(&s, ERROR);
	/* No result at all. */
	scene_begin(&s, BOTH);
	won(&s, ALICE);
	over(&s, BOB, false);
	expect(&s, ERROR);
	/* Not even an end. */
	scene_begin(&s, BOTH);
	won(&s, ALICE);
	sent(&s, BOB, LOOK, NULL);
	expect(&s, ERROR);
}

static void integrity_errors(void **state)
{
	struct scene s;

	(void)state;
	alice_redeems(&s);
	broke(&s, BOB, REDEEM, SLM_ERROR_INTEGRITY, "23505");
	refused(&s, BOB, SLM_ERROR_REFUSED, "exit 3", "Traceback");
	expect(&s, ERROR);
	/* Caught, and refused as in a serial run. */
	alice_redeems(&s);
	broke(&s, BOB, REDEEM, SLM_ERROR_INTEGRITY, "23505");
	lost(&s, BOB);
	expect(&s, BENIGN);
}

static void the_allowed_is_benign(void **state)
{
	static const char *const allow[] = { "HTTP 500" };
	struct slm_oracle_config config = program_config;
	struct slm_oracle *oracle;
	struct scene s;

	(void)state;
	config.allow = allow;
	config.nallow = 1;
	oracle = program_oracle(&config);
	scene_begin(&s, BOTH);
	refused(&s, ALICE, SLM_ERROR_OTHER, "HTTP 500", "oops");
	won(&s, BOB);
	program_contents(&s, 1);
	assert_class(oracle, &s, BENIGN);
	slm_oracle_free(oracle);
	scene_end(&s);
}

/* ---- Two equal serial runs -------------------------------------------- */

static void answer(struct scene *s, const char *columns,
		   const struct slm_value *values, size_t count)
{
	scene_begin(s, 1);
	sent(s, ALICE, LOOK, NULL);
	gave_values(s, ALICE, true, columns, values, count);
	program_contents(s, 1);
}

#define ANSWER(s, columns, ...) \
	answer(s, columns, VALUES(__VA_ARGS__), COUNT(__VA_ARGS__))

static void unstable_parts_are_masked(void **state)
{
	struct slm_oracle *oracle = new_oracle(&program_config);
	struct scene first, again, other;
	struct slm_finding f;

	(void)state;
	ANSWER(&first, "status $.token $.ok", INT(200), TEXT("x1"), INT(1));
	ANSWER(&again, "status $.token $.ok", INT(200), TEXT("y2"), INT(1));
	/* Another number of statements says nothing. */
	sent(&again, ALICE, LOOK, NULL);
	sent(&again, ALICE, REDEEM, NULL);
	assert_true(add_pair(oracle, "a", &first, &again));
	assert_false(slm_oracle_unstable(oracle));
	assert_string_equal(only_note(oracle, &first.arena),
			    "alice: $.token of what it gives differs between "
			    "two equal serial runs and is compared only as "
			    "NULL or not NULL");
	ANSWER(&other, "status $.token $.ok", INT(200), TEXT("z"), INT(1));
	assert_class(oracle, &other, SERIAL);
	slm_oracle_mask_events(oracle, other.events, other.run.nevents);
	assert_int_equal(other.events[1].result->rows.values[0].kind, SLM_INT);
	assert_int_equal(other.events[1].result->rows.values[1].kind,
			 SLM_MASKED);
	assert_int_equal(other.events[1].result->rows.values[2].kind, SLM_INT);
	scene_end(&other);
	ANSWER(&other, "status $.token $.ok", INT(200), NIL, INT(1));
	assert_class(oracle, &other, RESULT);
	f = explain(oracle, &other);
	assert_int_equal(f.ndifferences, 1);
	assert_difference(&f, 0, "alice: $.token", "NULL", "*");
	scene_end(&other);
	ANSWER(&other, "status $.token $.ok", INT(200), TEXT("z"), INT(2));
	assert_class(oracle, &other, RESULT);
	scene_end(&other);
	scene_end(&first);
	scene_end(&again);
	slm_oracle_free(oracle);
}

static void masked_to_the_last(void **state)
{
	struct slm_oracle *oracle = new_oracle(&program_config);
	struct scene first, again, other;

	(void)state;
	ANSWER(&first, "status $.token $.at", INT(200), TEXT("x1"), INT(1));
	ANSWER(&again, "status $.token $.at", INT(200), NIL, INT(2));
	assert_true(add_pair(oracle, "a", &first, &again));
	assert_false(slm_oracle_unstable(oracle));
	ANSWER(&other, "status $.token $.at", INT(200), INT(5), INT(3));
	assert_class(oracle, &other, SERIAL);
	scene_end(&other);
	ANSWER(&other, "status $.token $.at", INT(200), INT(5), NIL);
	assert_class(oracle, &other, RESULT);
	scene_end(&other);
	scene_end(&first);
	scene_end(&again);
	slm_oracle_free(oracle);
}

static void what_cannot_be_masked(void **state)
{
	static const struct {
		const char *columns, *says;
		struct slm_value values[2];
		size_t count;
	} cases[] = {
		{ "status $.ok",
		  "alice ends with another status",
		  { { .kind = SLM_INT, .integer = 201 },
		    { .kind = SLM_INT, .integer = 1 } },
		  2 },
		{ "status",
		  "alice gives 2 parts, then 1, or others",
		  { { .kind = SLM_INT, .integer = 200 } },
		  1 },
		{ "status $.no",
		  "alice gives 2 parts, then 2, or others",
		  { { .kind = SLM_INT, .integer = 200 },
		    { .kind = SLM_INT, .integer = 1 } },
		  2 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slm_oracle *oracle = new_oracle(&program_config);
		struct scene first, again;

		ANSWER(&first, "status $.ok", INT(200), INT(1));
		answer(&again, cases[i].columns, cases[i].values,
		       cases[i].count);
		add_pair(oracle, "a", &first, &again);
		assert_true(slm_oracle_unstable(oracle));
		slm_oracle_free(oracle);
		/* The other way round, too. */
		oracle = new_oracle(&program_config);
		add_pair(oracle, "a", &again, &first);
		assert_true(slm_oracle_unstable(oracle));
		assert_null(strstr(only_note(oracle, &first.arena),
				   "differs in more"));
		slm_oracle_free(oracle);
		oracle = new_oracle(&program_config);
		add_pair(oracle, "a", &first, &again);
		assert_true(slm_oracle_unstable(oracle));
		assert_non_null(
			strstr(only_note(oracle, &first.arena), cases[i].says));
		scene_end(&first);
		scene_end(&again);
		slm_oracle_free(oracle);
	}
}

static void failing_only_once(void **state)
{
	struct slm_oracle *oracle = new_oracle(&program_config);
	struct scene first, again;

	(void)state;
	ANSWER(&first, "status", INT(200));
	scene_begin(&again, 1);
	refused(&again, ALICE, SLM_ERROR_OTHER, "HTTP 500", "oops");
	program_contents(&again, 1);
	add_pair(oracle, "a", &first, &again);
	assert_true(slm_oracle_unstable(oracle));
	assert_non_null(strstr(only_note(oracle, &first.arena),
			       "alice fails only once"));
	scene_end(&first);
	scene_end(&again);
	slm_oracle_free(oracle);
}

static void failing_always_is_noted(void **state)
{
	struct slm_oracle_config config = program_config;
	struct slm_oracle *oracle;
	struct scene s;

	(void)state;
	config.ncalls = 1;
	oracle = new_oracle(&config);
	scene_begin(&s, 1);
	refused(&s, ALICE, SLM_ERROR_OTHER, "HTTP 500", "oops");
	program_contents(&s, 1);
	add_serial(oracle, "a", &s);
	assert_string_equal(only_note(oracle, &s.arena),
			    "alice fails in every serial run: HTTP 500: oops");
	assert_class(oracle, &s, SERIAL);
	scene_end(&s);
	slm_oracle_free(oracle);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(statements_do_not_count),
		cmocka_unit_test(survived_errors_do_not_count),
		cmocka_unit_test(another_value_is_a_result),
		cmocka_unit_test(other_parts_are_a_result),
		cmocka_unit_test(the_order_of_parts_says_nothing),
		cmocka_unit_test(more_that_succeed_are_a_result),
		cmocka_unit_test(parts_have_names),
		cmocka_unit_test(nearest_by_what_was_given),
		cmocka_unit_test(only_messages_that_say_more),
		cmocka_unit_test(steps_may_be_added),
		cmocka_unit_test(aborted_by_the_database),
		cmocka_unit_test(aborts_are_one_outcome),
		cmocka_unit_test(a_deadlock_is_an_error),
		cmocka_unit_test(recovered_from_an_abort),
		cmocka_unit_test(http_4xx_is_benign),
		cmocka_unit_test(a_known_exit_status_is_benign),
		cmocka_unit_test(known_from_other_serial_runs),
		cmocka_unit_test(crashes_are_errors),
		cmocka_unit_test(integrity_errors),
		cmocka_unit_test(the_allowed_is_benign),
		cmocka_unit_test(unstable_parts_are_masked),
		cmocka_unit_test(masked_to_the_last),
		cmocka_unit_test(what_cannot_be_masked),
		cmocka_unit_test(failing_only_once),
		cmocka_unit_test(failing_always_is_noted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
