/* SPDX-License-Identifier: Apache-2.0 */
/* Every class, with a neighbour that is just not it. */
#include "bank.h"

/* Judges one scene with a fresh oracle and frees both. */
static enum slm_class class_under(const struct slm_oracle_config *config,
				  struct scene *s)
{
	struct slm_oracle *oracle = bank_oracle(config);
	enum slm_class class = judge(oracle, s).class;

	slm_oracle_free(oracle);
	scene_end(s);
	return class;
}

static enum slm_class class_of(struct scene *s)
{
	return class_under(&bank_config, s);
}

static void serial(void **state)
{
	struct scene s;

	(void)state;
	bank_serial(&s, ALICE);
	assert_int_equal(class_of(&s), SLM_CLASS_SERIAL);
	bank_serial(&s, BOB);
	assert_int_equal(class_of(&s), SLM_CLASS_SERIAL);
	bank_alone(&s, 1);
	assert_int_equal(class_of(&s), SLM_CLASS_SERIAL);
	bank_alone(&s, 0);
	assert_int_equal(class_of(&s), SLM_CLASS_SERIAL);
}

static void check_is_worst(void **state)
{
	struct scene s;

	(void)state;
	bank_serial(&s, ALICE);
	fail_check(&s, "never negative");
	assert_int_equal(class_of(&s), SLM_CLASS_CHECK);
	bank_error(&s, SLM_ERROR_OTHER, "SQLITE_ERROR", 55);
	fail_check(&s, "never negative");
	assert_int_equal(class_of(&s), SLM_CLASS_CHECK);
}

static void contents(void **state)
{
	struct scene s;

	(void)state;
	bank_race(&s, 1);
	memset(&s.tables[0], 0, sizeof(s.tables[0]));
	s.contents.ntables = 0;
	bank_contents(&s, -100);
	assert_int_equal(class_of(&s), SLM_CLASS_CONTENTS);
}

/* Contents of a serial run and each value from one, but both paid. */
static void double_spend_is_a_result(void **state)
{
	struct scene s;

	(void)state;
	bank_race(&s, 1);
	assert_int_equal(class_of(&s), SLM_CLASS_RESULT);
}

/* Compare-and-set: bob's pay changed nothing. He was refused, later than in a
 * serial run. */
static void refused_by_compare_and_set_is_benign(void **state)
{
	struct scene s;

	(void)state;
	bank_race(&s, 0);
	assert_int_equal(class_of(&s), SLM_CLASS_BENIGN);
}

static void unobserved_effects_do_not_count(void **state)
{
	static const bool alice[] = { false, true }, bob[] = { false, true };
	static const bool *const unobserved[] = { alice, bob };
	struct slm_oracle_config config = bank_config;
	struct scene s;

	(void)state;
	config.unobserved = unobserved;
	bank_race(&s, 1);
	assert_int_equal(class_under(&config, &s), SLM_CLASS_BENIGN);
}

static void foreign_value_is_a_result(void **state)
{
	struct scene s;

	(void)state;
	scene_begin(&s, BOTH);
	READ(&s, ALICE, READ_STEP, "bal", INT(100));
	changed(&s, ALICE, PAY_STEP, 1);
	over(&s, ALICE, true);
	READ(&s, BOB, READ_STEP, "bal", INT(50));
	skipped(&s, BOB, PAY_STEP);
	over(&s, BOB, true);
	bank_contents(&s, 0);
	assert_int_equal(class_of(&s), SLM_CLASS_RESULT);
}

/* The same value, but the call did not succeed: nobody relies on it. */
static void foreign_value_of_a_failed_call_is_benign(void **state)
{
	struct scene s;

	(void)state;
	scene_begin(&s, BOTH);
	READ(&s, ALICE, READ_STEP, "bal", INT(100));
	changed(&s, ALICE, PAY_STEP, 1);
	over(&s, ALICE, true);
	READ(&s, BOB, READ_STEP, "bal", INT(50));
	over(&s, BOB, false);
	bank_contents(&s, 0);
	assert_int_equal(class_of(&s), SLM_CLASS_BENIGN);
}

/* alice's values of one order with bob's of the other: no single order has
 * both, but neither is wrong by itself. */
static void values_of_two_orders_are_benign(void **state)
{
	struct scene s;

	(void)state;
	scene_begin(&s, BOTH);
	READ(&s, ALICE, READ_STEP, "bal", INT(0));
	READ(&s, BOB, READ_STEP, "bal", INT(0));
	skipped(&s, ALICE, PAY_STEP);
	skipped(&s, BOB, PAY_STEP);
	over(&s, ALICE, true);
	over(&s, BOB, true);
	bank_contents(&s, 0);
	assert_int_equal(class_of(&s), SLM_CLASS_BENIGN);
}

static void errors(void **state)
{
	static const struct {
		enum slm_error_kind kind;
		const char *code;
		enum slm_class class;
	} cases[] = {
		{ SLM_ERROR_INTEGRITY, "SQLITE_CONSTRAINT", SLM_CLASS_ERROR },
		{ SLM_ERROR_OTHER, "SQLITE_ERROR", SLM_CLASS_ERROR },
		{ SLM_ERROR_DEADLOCK, "40P01", SLM_CLASS_ERROR },
		{ SLM_ERROR_RETRY, "SQLITE_BUSY", SLM_CLASS_RETRY },
	};
	struct slm_oracle_config allowing = bank_config;
	struct scene s;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *const by_code[] = { cases[i].code };
		const char *const by_message[] = { "did not" };
		const char *const other[] = { "SQLITE_FULL", "" };

		bank_error(&s, cases[i].kind, cases[i].code, 0);
		assert_int_equal(class_of(&s), cases[i].class);
		allowing.allow = by_code;
		allowing.nallow = 1;
		bank_error(&s, cases[i].kind, cases[i].code, 0);
		assert_int_equal(class_under(&allowing, &s), SLM_CLASS_BENIGN);
		allowing.allow = by_message;
		bank_error(&s, cases[i].kind, cases[i].code, 0);
		assert_int_equal(class_under(&allowing, &s), SLM_CLASS_BENIGN);
		allowing.allow = other;
		allowing.nallow = 2;
		bank_error(&s, cases[i].kind, cases[i].code, 0);
		assert_int_equal(class_under(&allowing, &s), cases[i].class);
	}
}

/* An aborted call is judged by the serial runs of the others only. */
static void aborted_call_left_something(void **state)
{
	struct scene s;

	(void)state;
	bank_error(&s, SLM_ERROR_RETRY, "SQLITE_BUSY", -100);
	assert_int_equal(class_of(&s), SLM_CLASS_CONTENTS);
	bank_error(&s, SLM_ERROR_RETRY, "SQLITE_BUSY", 100);
	assert_int_equal(class_of(&s), SLM_CLASS_CONTENTS);
}

static void all_aborted(void **state)
{
	struct scene s;

	(void)state;
	scene_begin(&s, BOTH);
	for (uint32_t call = 0; call < 2; call++) {
		failed(&s, call, READ_STEP, SLM_ERROR_RETRY, "SQLITE_BUSY",
		       "database is locked");
		over(&s, call, false);
	}
	bank_contents(&s, 100);
	assert_int_equal(class_of(&s), SLM_CLASS_RETRY);
}

static void survivors(void **state)
{
	struct slm_oracle *oracle = bank_oracle(&bank_config);
	struct scene s;

	(void)state;
	bank_error(&s, SLM_ERROR_RETRY, "SQLITE_BUSY", 0);
	assert_int_equal(slm_oracle_survivors(oracle, &s.run), 1);
	/* Who goes on after it and ends well is a survivor. */
	s.events[s.run.nevents - 1].ok = true;
	assert_int_equal(slm_oracle_survivors(oracle, &s.run), BOTH);
	scene_end(&s);
	bank_error(&s, SLM_ERROR_DEADLOCK, "40P01", 0);
	assert_int_equal(slm_oracle_survivors(oracle, &s.run), 1);
	/* Without an END event, the error decides. */
	s.run.nevents--;
	assert_int_equal(slm_oracle_survivors(oracle, &s.run), 1);
	scene_end(&s);
	bank_error(&s, SLM_ERROR_INTEGRITY, "SQLITE_CONSTRAINT", 0);
	assert_int_equal(slm_oracle_survivors(oracle, &s.run), BOTH);
	scene_end(&s);
	slm_oracle_free(oracle);
}

/* A BUSY that the call handles (it reads again, and finds what it finds in a
 * serial run) aborts nobody. */
static void error_that_is_handled(void **state)
{
	struct scene s;

	(void)state;
	scene_begin(&s, BOTH);
	READ(&s, ALICE, READ_STEP, "bal", INT(100));
	failed(&s, BOB, READ_STEP, SLM_ERROR_RETRY, "SQLITE_BUSY",
	       "database is locked");
	changed(&s, ALICE, PAY_STEP, 1);
	over(&s, ALICE, true);
	READ(&s, BOB, READ_STEP, "bal", INT(0));
	skipped(&s, BOB, PAY_STEP);
	over(&s, BOB, true);
	bank_contents(&s, 0);
	assert_int_equal(class_of(&s), SLM_CLASS_BENIGN);
}

/* The class of both calls taking their second step, which only reads, where
 * in each serial run one of them skips it. */
static enum slm_class class_of_second_step(const char *sql)
{
	struct slm_trace_step steps[2];
	struct slm_trace_call calls[2];
	struct slm_oracle_config config = { .calls = calls, .ncalls = 2 };
	struct slm_oracle *oracle;
	enum slm_class class;
	struct scene s;

	memcpy(steps, alice_steps, sizeof(steps));
	memcpy(calls, bank_calls, sizeof(calls));
	steps[PAY_STEP].sql = sql;
	calls[ALICE].steps = calls[BOB].steps = steps;
	oracle = new_oracle(&config);
	for (uint32_t first = 0; first < 2; first++) {
		bank_serial(&s, first);
		((struct slm_result *)s.events[1].result)->changes = -1;
		add_serial(oracle, first ? "ba" : "ab", &s);
		scene_end(&s);
	}
	bank_race(&s, -1);
	((struct slm_result *)s.events[2].result)->changes = -1;
	class = judge(oracle, &s).class;
	scene_end(&s);
	slm_oracle_free(oracle);
	return class;
}

/* Ending a transaction is no effect; answering "granted" is one. */
static void transaction_control_is_no_effect(void **state)
{
	(void)state;
	assert_int_equal(class_of_second_step("ROLLBACK"), SLM_CLASS_BENIGN);
	assert_int_equal(class_of_second_step("SELECT 'granted'"),
			 SLM_CLASS_RESULT);
}

/* A call that fails alike in a serial run is no finding; with another code it
 * is. Both fail in this world: the second of each order. */
static void error_of_a_serial_run(void **state)
{
	struct slm_oracle *oracle = new_oracle(&bank_config);
	struct scene s;

	(void)state;
	for (uint32_t first = 0; first < 2; first++) {
		scene_begin(&s, BOTH);
		READ(&s, first, READ_STEP, "bal", INT(100));
		changed(&s, first, PAY_STEP, 1);
		over(&s, first, true);
		READ(&s, 1 - first, READ_STEP, "bal", INT(0));
		failed(&s, 1 - first, PAY_STEP, SLM_ERROR_INTEGRITY,
		       "SQLITE_CONSTRAINT_CHECK", "CHECK");
		over(&s, 1 - first, false);
		bank_contents(&s, 0);
		add_serial(oracle, first ? "ba" : "ab", &s);
		assert_class(oracle, &s, SERIAL);
		scene_end(&s);
	}
	/* bob read earlier than in a serial run, and then fails alike. */
	bank_error(&s, SLM_ERROR_INTEGRITY, "SQLITE_CONSTRAINT_CHECK", 0);
	assert_class(oracle, &s, BENIGN);
	scene_end(&s);
	bank_error(&s, SLM_ERROR_INTEGRITY, "SQLITE_CONSTRAINT_UNIQUE", 0);
	assert_class(oracle, &s, ERROR);
	scene_end(&s);
	/* Both succeed where in every serial run one fails. */
	bank_race(&s, 1);
	assert_class(oracle, &s, RESULT);
	scene_end(&s);
	slm_oracle_free(oracle);
}

/*
 * Serially both calls pay 50, one after the other. In the run bob's payment
 * fails: the contents are those of alice alone, so it is his error that is
 * told; contents of neither kind are the worse finding.
 */
static void failed_call_that_left_nothing(void **state)
{
	struct slm_oracle *oracle = new_oracle(&bank_config);
	struct scene s;

	(void)state;
	for (uint32_t first = 0; first < 2; first++) {
		scene_begin(&s, BOTH);
		READ(&s, first, READ_STEP, "bal", INT(100));
		changed(&s, first, PAY_STEP, 1);
		over(&s, first, true);
		READ(&s, 1 - first, READ_STEP, "bal", INT(50));
		changed(&s, 1 - first, PAY_STEP, 1);
		over(&s, 1 - first, true);
		bank_contents(&s, 0);
		add_serial(oracle, first ? "ba" : "ab", &s);
		scene_end(&s);
	}
	bank_error(&s, SLM_ERROR_INTEGRITY, "SQLITE_CONSTRAINT", 50);
	assert_int_equal(slm_oracle_undone(oracle, &s.run), 1);
	assert_true(slm_oracle_lacks(oracle, 1));
	assert_class(oracle, &s, CONTENTS);
	scene_end(&s);
	scene_begin(&s, 1);
	READ(&s, ALICE, READ_STEP, "bal", INT(100));
	changed(&s, ALICE, PAY_STEP, 1);
	over(&s, ALICE, true);
	bank_contents(&s, 50);
	add_serial(oracle, "a", &s);
	scene_end(&s);
	bank_error(&s, SLM_ERROR_INTEGRITY, "SQLITE_CONSTRAINT", 50);
	assert_class(oracle, &s, ERROR);
	scene_end(&s);
	bank_error(&s, SLM_ERROR_INTEGRITY, "SQLITE_CONSTRAINT", 25);
	assert_class(oracle, &s, CONTENTS);
	scene_end(&s);
	slm_oracle_free(oracle);
}

static void more_successes_alone(void **state)
{
	struct slm_oracle *oracle = new_oracle(&bank_config);
	struct scene s;

	(void)state;
	/* The second call refuses in the program, without a database error. */
	for (uint32_t first = 0; first < 2; first++) {
		scene_begin(&s, BOTH);
		READ(&s, first, READ_STEP, "bal", INT(1));
		over(&s, first, true);
		READ(&s, 1 - first, READ_STEP, "bal", INT(1));
		over(&s, 1 - first, false);
		bank_contents(&s, 0);
		add_serial(oracle, first ? "ba" : "ab", &s);
		scene_end(&s);
	}
	scene_begin(&s, BOTH);
	READ(&s, ALICE, READ_STEP, "bal", INT(1));
	READ(&s, BOB, READ_STEP, "bal", INT(1));
	over(&s, ALICE, true);
	over(&s, BOB, true);
	bank_contents(&s, 0);
	assert_class(oracle, &s, RESULT);
	/* Fewer successes than any serial run: benign. */
	s.events[2].ok = false;
	s.events[3].ok = false;
	assert_class(oracle, &s, BENIGN);
	scene_end(&s);
	slm_oracle_free(oracle);
}

static void order_of_rows_does_not_count(void **state)
{
	struct slm_oracle *oracle = new_oracle(&bank_config);
	struct scene s;

	(void)state;
	for (int i = 0; i < 3; i++) {
		scene_begin(&s, 1);
		READ(&s, ALICE, READ_STEP, "id bal", INT(i ? 2 : 1), INT(5),
		     INT(i == 1 ? 1 : 2), INT(5));
		over(&s, ALICE, true);
		if (i == 0)
			add_serial(oracle, "a", &s);
		else if (i == 1)
			assert_class(oracle, &s, SERIAL);
		else
			assert_class(oracle, &s, RESULT);
		scene_end(&s);
	}
	slm_oracle_free(oracle);
}

/* Generated keys in results are compared by their labels. */
static void keys_in_results(void **state)
{
	struct slm_oracle *oracle = new_oracle(&bank_config);
	struct scene s;

	(void)state;
	scene_begin(&s, 1);
	READ(&s, ALICE, READ_STEP, "id", KEY("row of a in orders"));
	over(&s, ALICE, true);
	add_serial(oracle, "a", &s);
	scene_end(&s);
	scene_begin(&s, 1);
	READ(&s, ALICE, READ_STEP, "id", KEY("row of b in orders"));
	over(&s, ALICE, true);
	assert_class(oracle, &s, RESULT);
	scene_end(&s);
	slm_oracle_free(oracle);
}

/* A blocked step counts once, when it is done; sqloom's own ROLLBACK does not
 * count at all. */
static void waiting_and_own_steps_do_not_count(void **state)
{
	struct slm_trace_step steps[3];
	struct slm_trace_call calls[2];
	struct slm_oracle_config config = { .calls = calls, .ncalls = 2 };
	struct slm_oracle *oracle;
	struct scene s;

	(void)state;
	memcpy(steps, alice_steps, sizeof(alice_steps));
	memcpy(calls, bank_calls, sizeof(bank_calls));
	steps[2] = (struct slm_trace_step){ "rollback", "ROLLBACK", "",
					    "",		0,	    true };
	calls[0].steps = steps;
	calls[0].nsteps = 3;
	oracle = bank_oracle(&config);
	scene_begin(&s, 1);
	READ(&s, ALICE, READ_STEP, "bal", INT(100));
	blocked(&s, ALICE, PAY_STEP, 2);
	changed(&s, ALICE, PAY_STEP, 1);
	s.events[2].kind = SLM_EVENT_RESUMED;
	done(&s, ALICE, 2);
	over(&s, ALICE, true);
	bank_contents(&s, 0);
	assert_class(oracle, &s, SERIAL);
	scene_end(&s);
	slm_oracle_free(oracle);
}

static void lacks_and_is_told(void **state)
{
	struct slm_oracle *oracle = new_oracle(&bank_config);
	struct slm_judgement judgement;
	struct sqloom_error err;
	struct scene s;

	(void)state;
	bank_serial(&s, ALICE);
	assert_true(slm_oracle_lacks(oracle, BOTH));
	assert_int_equal(slm_oracle_judge(oracle, &s.run, &judgement, &err),
			 SQLOOM_INTERNAL);
	add_serial(oracle, "ab", &s);
	assert_false(slm_oracle_lacks(oracle, BOTH));
	assert_true(slm_oracle_lacks(oracle, 1));
	assert_true(slm_oracle_lacks(oracle, 0));
	assert_class(oracle, &s, SERIAL);
	scene_end(&s);
	slm_oracle_free(oracle);
}

static void outcomes_are_told_apart(void **state)
{
	struct slm_oracle *a = bank_oracle(&bank_config);
	struct slm_oracle *b = bank_oracle(&bank_config);
	struct scene s, t;

	(void)state;
	bank_race(&s, 1);
	bank_race(&t, 1);
	assert_true(judge(a, &s).outcome == judge(b, &t).outcome);
	assert_true(judge(a, &s).outcome == judge(a, &s).outcome);
	scene_end(&t);
	bank_race(&t, 0);
	assert_true(judge(a, &s).outcome != judge(a, &t).outcome);
	scene_end(&t);
	/* Where an aborted call was aborted makes no other finding. */
	scene_end(&s);
	bank_error(&s, SLM_ERROR_RETRY, "SQLITE_BUSY", 0);
	bank_error(&t, SLM_ERROR_RETRY, "SQLITE_BUSY", 0);
	t.events[3].step = READ_STEP;
	assert_true(judge(a, &s).outcome == judge(a, &t).outcome);
	scene_end(&t);
	bank_error(&t, SLM_ERROR_RETRY, "SQLITE_BUSY_SNAPSHOT", 0);
	assert_true(judge(a, &s).outcome != judge(a, &t).outcome);
	scene_end(&s);
	scene_end(&t);
	slm_oracle_free(a);
	slm_oracle_free(b);
}

static struct slm_trace_step look_steps[] = {
	{ "one", "SELECT v FROM t WHERE id = 1", "t", "", 0, false },
	{ "two", "SELECT v FROM t WHERE id = 2", "t", "", 0, false },
	{ "put", "UPDATE t SET v = 1", "t", "t", 0, false },
};

/* A call that reads one, then two; with put: 1 it takes that step, 2 it skips
 * it, 0 it has no such step. */
static void look(struct scene *s, int one, int two, int put)
{
	scene_begin(s, BOTH);
	READ(s, 0, 0, "v", INT(one));
	READ(s, 0, 1, "v", INT(two));
	if (put == 1)
		changed(s, 0, 2, 1);
	else if (put == 2)
		skipped(s, 0, 2);
	over(s, 0, true);
	over(s, 1, true);
}

/* Serially it sees 0, 0 or 5, 5; the class of seeing 0, 5. */
static enum slm_class class_of_look(int put)
{
	const struct slm_trace_call calls[] = {
		{ "look", look_steps, 3 },
		{ "move", look_steps, 3 },
	};
	const struct slm_oracle_config config = { .calls = calls, .ncalls = 2 };
	struct slm_oracle *oracle = new_oracle(&config);
	enum slm_class class;
	struct scene s;

	for (int i = 0; i < 2; i++) {
		look(&s, 5 * i, 5 * i, put);
		add_serial(oracle, i ? "ba" : "ab", &s);
		assert_class(oracle, &s, SERIAL);
		scene_end(&s);
	}
	look(&s, 0, 5, put);
	class = judge(oracle, &s).class;
	scene_end(&s);
	slm_oracle_free(oracle);
	return class;
}

/* Each value is one of a serial run, but not both together. */
static void what_a_reader_saw_fits_together(void **state)
{
	(void)state;
	assert_int_equal(class_of_look(0), SLM_CLASS_RESULT);
	assert_int_equal(class_of_look(1), SLM_CLASS_BENIGN);
	assert_int_equal(class_of_look(2), SLM_CLASS_BENIGN);
}

/* Both calls got the same ticket: each may get it, not both. */
static void tickets(struct scene *s, int a, int b)
{
	scene_begin(s, BOTH);
	READ(s, ALICE, READ_STEP, "bal", INT(a));
	changed(s, ALICE, PAY_STEP, 1);
	over(s, ALICE, true);
	READ(s, BOB, READ_STEP, "bal", INT(b));
	changed(s, BOB, PAY_STEP, 1);
	over(s, BOB, true);
	bank_contents(s, 0);
}

static void joint(void **state)
{
	struct slm_oracle_config config = bank_config;

	(void)state;
	for (int pass = 0; pass < 2; pass++) {
		struct slm_oracle *oracle;
		struct slm_judgement judgement;
		struct scene s;

		config.joint = pass == 1;
		oracle = new_oracle(&config);
		for (int i = 0; i < 2; i++) {
			tickets(&s, 1 + i, 2 - i);
			add_serial(oracle, i ? "ba" : "ab", &s);
			assert_false(judge(oracle, &s).joint);
			assert_class(oracle, &s, SERIAL);
			scene_end(&s);
		}
		tickets(&s, 1, 1);
		judgement = judge(oracle, &s);
		assert_int_equal(judgement.class,
				 pass ? SLM_CLASS_RESULT : SLM_CLASS_BENIGN);
		assert_int_equal(judgement.joint, pass == 0);
		if (pass == 1) {
			struct slm_finding f = explain(oracle, &s);

			assert_int_equal(f.ndifferences, 1);
			assert_difference(&f, 0, "bob: step b_read", "bal=1",
					  "bal=2");
		}
		/* A call that failed is another matter. */
		s.events[s.run.nevents - 1].ok = false;
		assert_false(judge(oracle, &s).joint);
		scene_end(&s);
		slm_oracle_free(oracle);
	}
}

static void asked_order_of_rows_counts(void **state)
{
	static const struct {
		const char *sql;
		enum slm_class class;
	} cases[] = {
		{ "SELECT v FROM t ORDER BY v", SLM_CLASS_RESULT },
		{ "SELECT v FROM t", SLM_CLASS_SERIAL },
		{ "SELECT v FROM (SELECT v FROM t ORDER BY v)",
		  SLM_CLASS_SERIAL },
	};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		const struct slm_trace_step step = { "s", cases[i].sql, "t", "",
						     0,	  false };
		const struct slm_trace_call call = { "alice", &step, 1 };
		const struct slm_oracle_config config = { .calls = &call,
							  .ncalls = 1 };
		struct slm_oracle *oracle = new_oracle(&config);
		struct scene s;

		scene_begin(&s, 1);
		READ(&s, 0, 0, "v", INT(1), INT(2));
		over(&s, 0, true);
		add_serial(oracle, "a", &s);
		scene_end(&s);
		scene_begin(&s, 1);
		READ(&s, 0, 0, "v", INT(2), INT(1));
		over(&s, 0, true);
		assert_int_equal(judge(oracle, &s).class, cases[i].class);
		scene_end(&s);
		slm_oracle_free(oracle);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(serial),
		cmocka_unit_test(check_is_worst),
		cmocka_unit_test(contents),
		cmocka_unit_test(double_spend_is_a_result),
		cmocka_unit_test(refused_by_compare_and_set_is_benign),
		cmocka_unit_test(unobserved_effects_do_not_count),
		cmocka_unit_test(foreign_value_is_a_result),
		cmocka_unit_test(foreign_value_of_a_failed_call_is_benign),
		cmocka_unit_test(values_of_two_orders_are_benign),
		cmocka_unit_test(errors),
		cmocka_unit_test(aborted_call_left_something),
		cmocka_unit_test(all_aborted),
		cmocka_unit_test(survivors),
		cmocka_unit_test(error_that_is_handled),
		cmocka_unit_test(transaction_control_is_no_effect),
		cmocka_unit_test(error_of_a_serial_run),
		cmocka_unit_test(failed_call_that_left_nothing),
		cmocka_unit_test(more_successes_alone),
		cmocka_unit_test(order_of_rows_does_not_count),
		cmocka_unit_test(keys_in_results),
		cmocka_unit_test(waiting_and_own_steps_do_not_count),
		cmocka_unit_test(lacks_and_is_told),
		cmocka_unit_test(outcomes_are_told_apart),
		cmocka_unit_test(what_a_reader_saw_fits_together),
		cmocka_unit_test(joint),
		cmocka_unit_test(asked_order_of_rows_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
