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

/* The only note of the oracle. */
static const char *only_note(struct slm_oracle *oracle, struct slm_arena *arena)
{
	const char *const *notes;
	uint32_t count;

	assert_int_equal(slm_oracle_notes(oracle, arena, &notes, &count, NULL),
			 SQLOOM_OK);
	assert_int_equal(count, 1);
	return notes[0];
}

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

/* ---- Keys ------------------------------------------------------------- */

/* Both insert an order and give its key, in text and as a number, and how many
 * there are; first_id: what the first of the two gets. */
static void order(struct scene *s, uint32_t first, int64_t first_id,
		  int64_t other_id)
{
	int64_t ids[2];
	char text[2][64];

	ids[first] = first_id;
	ids[1 - first] = other_id;
	scene_begin(s, BOTH);
	for (uint32_t call = 0; call < 2; call++)
		snprintf(text[call], sizeof(text[call]), "/orders/%d/items",
			 (int)ids[call]);
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t call = i ? 1 - first : first;
		char *copy = slm_arena_strdup(&s->arena, text[call]);

		sent(s, call, REDEEM, NULL);
		GAVE(s, call, true, "status $.id location $.count", INT(201),
		     INT(ids[call]), TEXT(copy), INT(1));
	}
	table(s, "orders", "id who", 0);
	NEW(s, 0, INT(ids[ALICE]), TEXT("alice"));
	NEW(s, 0, INT(ids[BOB]), TEXT("bob"));
}

static struct slm_oracle *order_oracle(void)
{
	struct slm_oracle *oracle = new_oracle(&program_config);
	struct scene s;
	bool remasked;

	order(&s, ALICE, 1, 2);
	remasked = add_pair(oracle, "ab", &s, &s);
	scene_end(&s);
	order(&s, BOB, 1, 2);
	remasked = add_pair(oracle, "ba", &s, &s);
	assert_true(remasked); /* the location has turned out to be one */
	scene_end(&s);
	assert_false(slm_oracle_unstable(oracle));
	return oracle;
}

static void keys_are_named_by_meaning(void **state)
{
	struct slm_oracle *oracle = order_oracle();
	struct scene s;

	(void)state;
	/* A key was lost to an insert that was rolled back. */
	order(&s, ALICE, 1, 3);
	assert_class(oracle, &s, SERIAL);
	scene_end(&s);
	order(&s, BOB, 7, 5);
	assert_class(oracle, &s, SERIAL);
	scene_end(&s);
	slm_oracle_free(oracle);
}

static void a_key_of_another_row_is_seen(void **state)
{
	struct slm_oracle *oracle = order_oracle();
	struct slm_finding f;
	struct slm_value *values;
	struct scene s;

	(void)state;
	/* Bob is told alice's order. */
	order(&s, ALICE, 1, 2);
	values = (struct slm_value *)s.events[3].result->rows.values;
	values[1].integer = 1;
	assert_class(oracle, &s, RESULT);
	f = explain(oracle, &s);
	assert_int_equal(f.ndifferences, 1);
	assert_difference(&f, 0, "bob: $.id", "orders new #1", "orders new #2");
	scene_end(&s);
	/* One that nobody has. */
	order(&s, ALICE, 1, 2);
	values = (struct slm_value *)s.events[3].result->rows.values;
	values[1].integer = 9;
	assert_class(oracle, &s, RESULT);
	scene_end(&s);
	/* In a text, or another text around it. */
	order(&s, ALICE, 1, 2);
	values = (struct slm_value *)s.events[3].result->rows.values;
	values[2] = TEXT("/orders/1/items");
	assert_class(oracle, &s, RESULT);
	values[2] = TEXT("/items/2/items");
	assert_class(oracle, &s, RESULT);
	values[2] = TEXT("/orders/2/orders");
	assert_class(oracle, &s, RESULT);
	values[2] = TEXT("/orders/2/items");
	assert_class(oracle, &s, SERIAL);
	scene_end(&s);
	slm_oracle_free(oracle);
}

/* $.count is 1 in all serial runs, as are some keys: it is no key. */
static void a_number_that_looks_like_a_key(void **state)
{
	struct slm_oracle *oracle = order_oracle();
	struct slm_value *values;
	struct scene s;

	(void)state;
	order(&s, ALICE, 5, 6);
	assert_class(oracle, &s, SERIAL);
	scene_end(&s);
	order(&s, ALICE, 5, 6);
	values = (struct slm_value *)s.events[3].result->rows.values;
	values[3].integer = 5;
	assert_class(oracle, &s, RESULT);
	scene_end(&s);
	slm_oracle_free(oracle);
}

/* A number that is a key in one serial run, and in the other is not. */
static void once_a_key_is_no_key(void **state)
{
	struct slm_oracle *oracle = new_oracle(&program_config);
	struct scene s;

	(void)state;
	for (uint32_t first = 0; first < 2; first++) {
		order(&s, first, 1, 2);
		GAVE(&s, ALICE, true, "status $.stock", INT(201),
		     INT(first ? 9 : 1));
		add_pair(oracle, first ? "ba" : "ab", &s, &s);
		scene_end(&s);
	}
	order(&s, ALICE, 7, 9);
	GAVE(&s, ALICE, true, "status $.stock", INT(201), INT(9));
	assert_class(oracle, &s, SERIAL);
	scene_end(&s);
	slm_oracle_free(oracle);
}

/* What is called an id is one, though it is the same in all serial runs. */
static void what_is_called_an_id(void **state)
{
	static const char *const columns[] = { "status $.order_id",
					       "status $.line" };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct slm_oracle *oracle = new_oracle(&program_config);
		struct scene s;

		for (int id = 1; id <= 2; id++) {
			scene_begin(&s, 1);
			GAVE(&s, ALICE, true, columns[i], INT(201), INT(id));
			table(&s, "orders", "id who", 0);
			NEW(&s, 0, INT(id), TEXT("alice"));
			if (id == 1)
				add_pair(oracle, "a", &s, &s);
			else
				assert_int_equal(judge(oracle, &s).class,
						 i ? SLM_CLASS_RESULT :
						     SLM_CLASS_SERIAL);
			scene_end(&s);
		}
		slm_oracle_free(oracle);
	}
}

/* A function tells by its value what it returned: also the first part may be a
 * key, or differ between equal runs. */
static void the_first_part_of_a_function(void **state)
{
	struct slm_oracle *oracle = new_oracle(&program_config);
	struct scene s, again;

	(void)state;
	for (int id = 1; id <= 2; id++) {
		scene_begin(&s, 1);
		GAVE(&s, ALICE, true, "$.returned.id", INT(id));
		table(&s, "orders", "id who", 0);
		NEW(&s, 0, INT(id), TEXT("alice"));
		if (id == 1)
			add_pair(oracle, "a", &s, &s);
		else
			assert_class(oracle, &s, SERIAL);
		scene_end(&s);
	}
	slm_oracle_free(oracle);

	oracle = new_oracle(&program_config);
	scene_begin(&s, 1);
	GAVE(&s, ALICE, true, "$.returned", TEXT("f3a9"));
	scene_begin(&again, 1);
	GAVE(&again, ALICE, true, "$.returned", TEXT("07bc"));
	add_pair(oracle, "a", &s, &again);
	scene_end(&s);
	scene_end(&again);
	scene_begin(&s, 1);
	GAVE(&s, ALICE, true, "$.returned", TEXT("55aa"));
	assert_class(oracle, &s, SERIAL);
	scene_end(&s);
	slm_oracle_free(oracle);
}

/* Of two tables that have the number as a key, the one that is spoken of. */
static void a_name_speaks_of_its_table(void **state)
{
	static const char *const names[] = { "$.returned.Order.id",
					     "status $.order_id",
					     "status $.other_id" };

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct slm_oracle *oracle = new_oracle(&program_config);
		struct scene s;

		for (int id = 1; id <= 2; id++) {
			scene_begin(&s, 1);
			if (i == 0)
				GAVE(&s, ALICE, true, names[i], INT(id));
			else
				GAVE(&s, ALICE, true, names[i], INT(201),
				     INT(id));
			table(&s, "accounts", "id who", 0);
			NEW(&s, 0, INT(id == 1 ? 1 : 3), TEXT("alice"));
			table(&s, "shop_orders", "id who", 0);
			NEW(&s, 1, INT(id), TEXT("alice"));
			if (id == 1)
				add_pair(oracle, "a", &s, &s);
			else
				assert_int_equal(judge(oracle, &s).class,
						 i == 2 ? SLM_CLASS_RESULT :
							  SLM_CLASS_SERIAL);
			scene_end(&s);
		}
		slm_oracle_free(oracle);
	}
}

/* Rows that hold the time, as most do, have keys all the same. */
static void keys_of_rows_that_vary(void **state)
{
	static const char *const times[] = { "10:01", "10:02", "10:03" };
	struct slm_oracle *oracle = new_oracle(&program_config);
	struct scene runs[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		scene_begin(&runs[i], 1);
		GAVE(&runs[i], ALICE, true, "status $.id", INT(201),
		     INT(i == 2 ? 7 : 1));
		table(&runs[i], "orders", "id who at", 0);
		NEW(&runs[i], 0, INT(1), TEXT("alice"), TEXT(times[i]));
	}
	add_pair(oracle, "a", &runs[0], &runs[1]);
	assert_false(slm_oracle_unstable(oracle));
	assert_string_equal(only_note(oracle, &runs[0].arena),
			    "orders.at differs between two equal serial runs "
			    "and is compared only as NULL or not NULL");
	/* One that nobody has. */
	assert_class(oracle, &runs[2], RESULT);
	for (int i = 0; i < 3; i++)
		scene_end(&runs[i]);
	slm_oracle_free(oracle);
}

/* Both insert an order behind a first one, are told its key, and give how many
 * there are, which is the greatest key, too. In a serial run the second counts
 * one more. */
static void counted(struct scene *s, uint32_t first, bool serial)
{
	scene_begin(s, BOTH);
	for (int i = 0; i < 2; i++) {
		uint32_t call = i ? 1 - first : first;

		READ(s, call, REDEEM, "id", INT(2 + i));
		READ(s, call, LOOK, "count", INT(serial ? 2 + i : 2));
		GAVE(s, call, true, "status $.place", INT(201),
		     INT(serial ? 2 + i : 2));
	}
	table(s, "orders", "id who", 0);
	ROW(s, 0, INT(1), TEXT("carol"));
	NEW(s, 0, INT(2), TEXT(first == ALICE ? "alice" : "bob"));
	NEW(s, 0, INT(3), TEXT(first == ALICE ? "bob" : "alice"));
}

static void a_count_is_no_key(void **state)
{
	struct slm_oracle *oracle = new_oracle(&program_config);
	struct scene s;

	(void)state;
	for (uint32_t first = 0; first < 2; first++) {
		counted(&s, first, true);
		add_pair(oracle, first ? "ba" : "ab", &s, &s);
		scene_end(&s);
	}
	counted(&s, ALICE, false);
	assert_class(oracle, &s, BENIGN);
	scene_end(&s);
	slm_oracle_free(oracle);
}

/* ---- Names ------------------------------------------------------------ */

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

/* ---- Memory ------------------------------------------------------------ */

static enum sqloom_status live(const struct scene *ab, const struct scene *ba,
			       const struct scene *run, struct slm_arena *arena)
{
	struct slm_oracle *oracle = NULL;
	struct slm_judgement judgement;
	struct slm_finding finding = { .class = SLM_CLASS_SERIAL };
	const char *const *notes;
	enum sqloom_status status;
	uint32_t nnotes;

	status = slm_oracle_new(&program_config, &oracle, NULL);
	if (!status)
		status = slm_oracle_add_serial(oracle, "ab", &ab->run, &ab->run,
					       NULL, NULL);
	if (!status)
		status = slm_oracle_add_serial(oracle, "ba", &ba->run, &ba->run,
					       NULL, NULL);
	if (!status)
		status = slm_oracle_judge(oracle, &run->run, &judgement, NULL);
	if (!status)
		status = slm_oracle_explain(oracle, &run->run, arena, &finding,
					    NULL);
	if (!status)
		status = slm_oracle_notes(oracle, arena, &notes, &nnotes, NULL);
	if (!status) {
		assert_int_equal(judgement.class, SLM_CLASS_RESULT);
		assert_int_equal(finding.ndifferences, 3);
		assert_string_equal(finding.differences[0].expected,
				    "orders new #2");
	}
	slm_oracle_free(oracle);
	return status;
}

static void every_allocation_fails_in_turn(void **state)
{
	struct scene ab, ba, run;
	enum sqloom_status status;
	int64_t live_before;
	uint64_t n = 0;

	(void)state;
	order(&ab, ALICE, 1, 2);
	order(&ba, BOB, 1, 2);
	order(&run, ALICE, 1, 2);
	gave_values(&run, BOB, true, "status $.id location $.other",
		    VALUES(INT(201), INT(1), TEXT("/orders/2/items"), INT(3)),
		    4);
	live_before = slm_alloc_live();
	do {
		struct slm_arena arena;

		slm_arena_init(&arena);
		slm_alloc_fail_from(++n);
		status = live(&ab, &ba, &run, &arena);
		slm_alloc_fail_from(0);
		assert_true(status == SQLOOM_OK || status == SQLOOM_NOMEM);
		slm_arena_deinit(&arena);
		assert_int_equal(slm_alloc_live(), live_before);
	} while (status == SQLOOM_NOMEM && n < 10000);
	assert_int_equal(status, SQLOOM_OK);
	scene_end(&ab);
	scene_end(&ba);
	scene_end(&run);
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
		cmocka_unit_test(keys_are_named_by_meaning),
		cmocka_unit_test(a_key_of_another_row_is_seen),
		cmocka_unit_test(a_number_that_looks_like_a_key),
		cmocka_unit_test(once_a_key_is_no_key),
		cmocka_unit_test(what_is_called_an_id),
		cmocka_unit_test(the_first_part_of_a_function),
		cmocka_unit_test(a_name_speaks_of_its_table),
		cmocka_unit_test(keys_of_rows_that_vary),
		cmocka_unit_test(a_count_is_no_key),
		cmocka_unit_test(named_check_then_act),
		cmocka_unit_test(named_lost_update),
		cmocka_unit_test(named_a_decision),
		cmocka_unit_test(named_blind_insert),
		cmocka_unit_test(named_deadlock),
		cmocka_unit_test(named_integrity_error),
		cmocka_unit_test(every_allocation_fails_in_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
