/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of a run: texts, pairs of rows, the nearest serial run. */
#include "bank.h"

static void changed_row_is_one_line(void **state)
{
	struct slm_oracle *oracle = bank_oracle(&bank_config);
	struct slm_finding f;
	struct scene s;

	(void)state;
	bank_serial(&s, BOB);
	memset(&s.tables[0], 0, sizeof(s.tables[0]));
	s.contents.ntables = 0;
	table(&s, "account", "id bal", 0);
	ROW(&s, 0, INT(2), INT(7));
	ROW(&s, 0, INT(1), INT(-100));
	f = explain(oracle, &s);
	assert_int_equal(f.class, SLM_CLASS_CONTENTS);
	assert_string_equal(f.nearest, "ba");
	assert_int_equal(f.ndifferences, 1);
	assert_difference(&f, 0, "account", "id=1 bal=-100", "id=1 bal=0");
	/* Rows are shown in canonical order, not as they came. */
	assert_int_equal(f.outcome.ntables, 1);
	assert_string_equal(f.outcome.tables[0].name, "account");
	assert_int_equal(f.outcome.tables[0].rows.values[0].integer, 1);
	assert_int_equal(f.outcome.tables[0].rows.values[2].integer, 2);
	assert_int_equal(f.outcome.members, BOTH);
	assert_int_equal(f.outcome.failed, 0);
	assert_string_equal(f.outcome.results[0], "ok, step a_pay skipped");
	assert_string_equal(f.outcome.results[1], "ok");
	scene_end(&s);
	slm_oracle_free(oracle);
}

static void missing_and_extra_rows(void **state)
{
	struct slm_oracle *oracle = bank_oracle(&bank_config);
	struct slm_finding f;
	struct scene s;

	(void)state;
	bank_serial(&s, ALICE);
	memset(&s.tables[0], 0, sizeof(s.tables[0]));
	s.contents.ntables = 0;
	table(&s, "account", "id bal", 0);
	ROW(&s, 0, INT(1), INT(0));
	NEW(&s, 0, INT(3), INT(9));
	f = explain(oracle, &s);
	assert_int_equal(f.ndifferences, 2);
	assert_difference(&f, 0, "account", "id=new #1 bal=9", NULL);
	assert_difference(&f, 1, "account", NULL, "id=2 bal=7");
	scene_end(&s);
	slm_oracle_free(oracle);
}

/* A RESULT is explained by a serial run with the same contents. */
static void result_of_a_step(void **state)
{
	struct slm_oracle *oracle = bank_oracle(&bank_config);
	struct slm_finding f;
	struct scene s;

	(void)state;
	bank_race(&s, 1);
	f = explain(oracle, &s);
	assert_int_equal(f.class, SLM_CLASS_RESULT);
	assert_string_equal(f.nearest, "ab");
	assert_int_equal(f.ndifferences, 2);
	assert_difference(&f, 0, "bob: step b_read", "bal=100", "bal=0");
	assert_difference(&f, 1, "bob: step b_pay", "1 row changed", "skipped");
	scene_end(&s);
	slm_oracle_free(oracle);
}

/* The contents are those of ab, the results nearly those of ba. What is wrong
 * is a result, so ab it is: other contents would mislead. */
static void same_contents_are_nearer(void **state)
{
	struct slm_oracle *oracle = new_oracle(&bank_config);
	struct slm_finding f;
	struct scene s;

	(void)state;
	for (int run = 0; run < 3; run++) {
		scene_begin(&s, 1);
		READ(&s, ALICE, READ_STEP, "v", INT(run));
		changed(&s, ALICE, PAY_STEP, run == 0 ? 1 : 2);
		changed(&s, ALICE, PAY_STEP, run == 0 ? 1 : 2);
		over(&s, ALICE, true);
		table(&s, "t", "id v", 0);
		ROW(&s, 0, INT(1), INT(run == 1));
		if (run < 2) {
			add_serial(oracle, run ? "ba" : "ab", &s);
			scene_end(&s);
		}
	}
	f = explain(oracle, &s);
	assert_int_equal(f.class, SLM_CLASS_RESULT);
	assert_string_equal(f.nearest, "ab");
	scene_end(&s);
	slm_oracle_free(oracle);
}

/* Rows of the snapshot come before new ones, whatever column the key is. */
static void new_rows_come_last(void **state)
{
	struct slm_oracle *oracle = new_oracle(&bank_config);
	struct slm_finding f;
	struct scene s;

	(void)state;
	scene_begin(&s, 1);
	table(&s, "t", "name id", 1);
	NEW(&s, 0, TEXT("a"), INT(2));
	ROW(&s, 0, TEXT("b"), INT(1));
	over(&s, ALICE, true);
	add_serial(oracle, "a", &s);
	f = explain(oracle, &s);
	assert_int_equal(f.class, SLM_CLASS_SERIAL);
	assert_int_equal(f.ndifferences, 0);
	assert_string_equal(f.outcome.tables[0].rows.values[0].text, "b");
	assert_string_equal(f.outcome.tables[0].rows.values[3].text, "new #1");
	scene_end(&s);
	slm_oracle_free(oracle);
}

static void errors_and_results(void **state)
{
	struct slm_oracle *oracle = bank_oracle(&bank_config);
	struct slm_finding f;
	struct scene s;

	(void)state;
	bank_error(&s, SLM_ERROR_INTEGRITY, "SQLITE_CONSTRAINT_UNIQUE", 0);
	f = explain(oracle, &s);
	assert_int_equal(f.class, SLM_CLASS_ERROR);
	assert_int_equal(f.outcome.failed, 2);
	assert_string_equal(f.outcome.results[BOB],
			    "SQLITE_CONSTRAINT_UNIQUE: it did not work");
	assert_difference(&f, 1, "bob: step b_pay",
			  "SQLITE_CONSTRAINT_UNIQUE: it did not work",
			  "skipped");
	scene_end(&s);
	/* What an aborted call did is no difference. */
	bank_error(&s, SLM_ERROR_RETRY, "SQLITE_BUSY", 0);
	f = explain(oracle, &s);
	assert_int_equal(f.class, SLM_CLASS_RETRY);
	assert_string_equal(f.nearest, "a");
	assert_int_equal(f.ndifferences, 0);
	scene_end(&s);
	bank_alone(&s, 1);
	f = explain(oracle, &s);
	assert_null(f.outcome.results[BOB]);
	scene_end(&s);
	slm_oracle_free(oracle);
}

static void check_is_shown(void **state)
{
	struct slm_oracle *oracle = bank_oracle(&bank_config);
	struct slm_finding f;
	struct scene s;

	(void)state;
	bank_serial(&s, ALICE);
	fail_check(&s, "never negative");
	f = explain(oracle, &s);
	assert_string_equal(f.check, "never negative");
	assert_int_equal(f.check_rows.nkept, 1);
	assert_int_equal(f.check_rows.values[0].integer, -10);
	assert_string_equal(f.check_rows.columns[0], "bal");
	scene_end(&s);
	slm_oracle_free(oracle);
}

/* Labels of generated keys follow the canonical order, not the keys. */
static void orders_contents(struct scene *s, bool swapped, int extra)
{
	table(s, "users", "id name", 0);
	table(s, "orders", "id user what", 0);
	reference(s, 1, 1, 0);
	NEW(s, 0, INT(swapped ? 2 : 1), TEXT("ann"));
	NEW(s, 0, INT(swapped ? 1 : 2), TEXT("bob"));
	NEW(s, 1, INT(4), INT(swapped ? 1 : 2), TEXT("ink"));
	for (int i = 0; i < extra; i++)
		NEW(s, 1, INT(5 + i), INT(swapped ? 2 : 1), TEXT("pen"));
}

static void mask_scene(struct scene *s, struct slm_value at)
{
	scene_begin(s, 1);
	table(s, "m", "id at", 0);
	ROW(s, 0, INT(1), at);
	over(s, ALICE, true);
}

/* Of a masked column it is told where one of two rows has NULL. */
static void null_of_masked_column_is_told(void **state)
{
	struct slm_oracle *oracle = new_oracle(&bank_config);
	struct slm_finding f;
	struct scene a, b;

	(void)state;
	mask_scene(&a, INT(5));
	mask_scene(&b, INT(6));
	assert_true(add_pair(oracle, "a", &a, &b));
	scene_end(&a);
	mask_scene(&a, NIL);
	f = explain(oracle, &a);
	assert_int_equal(f.class, SLM_CLASS_CONTENTS);
	assert_int_equal(f.ndifferences, 1);
	assert_difference(&f, 0, "m", "id=1 at=NULL", "id=1 at=*");
	scene_end(&a);
	scene_end(&b);
	slm_oracle_free(oracle);
}

static void labels_of_generated_keys(void **state)
{
	struct slm_oracle *oracle = new_oracle(&bank_config);
	const struct slm_trace_serial *serials;
	const struct slm_value *v;
	struct slm_finding f;
	struct scene s;
	uint32_t count;

	(void)state;
	scene_begin(&s, BOTH);
	orders_contents(&s, false, 1);
	over(&s, ALICE, true);
	over(&s, BOB, true);
	add_serial(oracle, "ab", &s);
	assert_int_equal(slm_oracle_serials(oracle, &s.arena, &serials, &count,
					    NULL),
			 SQLOOM_OK);
	assert_int_equal(count, 1);
	assert_string_equal(serials[0].order, "ab");
	v = serials[0].outcome.tables[1].rows.values;
	assert_int_equal(v[0].kind, SLM_KEY);
	assert_string_equal(v[0].text, "new #1");
	assert_string_equal(v[1].text, "users new #2");
	assert_string_equal(v[3].text, "new #2");
	assert_string_equal(v[4].text, "users new #1");
	scene_end(&s);
	scene_begin(&s, BOTH);
	orders_contents(&s, true, 2);
	over(&s, ALICE, true);
	over(&s, BOB, true);
	f = explain(oracle, &s);
	assert_int_equal(f.class, SLM_CLASS_CONTENTS);
	assert_int_equal(f.ndifferences, 1);
	assert_difference(&f, 0, "orders",
			  "id=new #3 user=users new #1 what='pen'", NULL);
	scene_end(&s);
	slm_oracle_free(oracle);
}

/* Of large tables, what differs is kept. */
static void rows_that_differ_are_kept(void **state)
{
	struct slm_oracle *oracle = new_oracle(&bank_config);
	const struct slm_rows *rows;
	struct slm_finding f;
	struct scene s;

	(void)state;
	for (int pass = 0; pass < 2; pass++) {
		scene_begin(&s, 1);
		table(&s, "t", "id v", 0);
		for (int i = 0; i < 200; i++)
			ROW(&s, 0, INT(i), INT(pass == 1 && i == 190));
		over(&s, ALICE, true);
		if (pass == 0) {
			add_serial(oracle, "a", &s);
			scene_end(&s);
		}
	}
	f = explain(oracle, &s);
	rows = &f.outcome.tables[0].rows;
	assert_int_equal(rows->nrows, 200);
	assert_int_equal(rows->nkept, SLM_TRACE_ROWS_MAX);
	assert_int_equal(rows->values[0].integer, 0);
	assert_int_equal(rows->values[2 * 49].integer, 190);
	assert_int_equal(f.ndifferences, 1);
	assert_difference(&f, 0, "t", "id=190 v=1", "id=190 v=0");
	scene_end(&s);
	slm_oracle_free(oracle);
}

/* More differences than are told. */
static void differences_are_bounded(void **state)
{
	struct slm_oracle *oracle = new_oracle(&bank_config);
	struct slm_finding f;
	struct scene s;

	(void)state;
	for (int pass = 0; pass < 2; pass++) {
		scene_begin(&s, 1);
		table(&s, "t", "v", -1);
		for (int i = 0; i < 150; i++)
			ROW(&s, 0, INT(i + pass * 1000));
		READ(&s, ALICE, READ_STEP, "bal", INT(pass));
		over(&s, ALICE, true);
		if (pass == 0) {
			add_serial(oracle, "a", &s);
			scene_end(&s);
		}
	}
	f = explain(oracle, &s);
	assert_int_equal(f.ndifferences, 100);
	scene_end(&s);
	slm_oracle_free(oracle);
}

static void masked_and_ignored_are_not_told(void **state)
{
	static const char *const ignore[] = { "t.seen" };
	struct slm_oracle_config config = bank_config;
	struct slm_oracle *oracle;
	struct slm_finding f;
	struct scene a, b;

	(void)state;
	config.ignore = ignore;
	config.nignore = 1;
	oracle = new_oracle(&config);
	for (int i = 0; i < 2; i++) {
		struct scene *s = i ? &b : &a;

		scene_begin(s, 1);
		table(s, "t", "id at seen v", 0);
		ROW(s, 0, INT(1), INT(100 + i), INT(i), INT(5));
		over(s, ALICE, true);
	}
	assert_true(add_pair(oracle, "a", &a, &b));
	scene_end(&a);
	scene_end(&b);
	scene_begin(&a, 1);
	table(&a, "t", "id at seen v", 0);
	ROW(&a, 0, INT(1), INT(3), INT(9), INT(6));
	over(&a, ALICE, true);
	f = explain(oracle, &a);
	assert_difference(&f, 0, "t", "id=1 v=6", "id=1 v=5");
	assert_int_equal(f.outcome.tables[0].rows.values[1].kind, SLM_MASKED);
	assert_int_equal(f.outcome.tables[0].rows.values[2].kind, SLM_MASKED);
	assert_int_equal(f.outcome.tables[0].rows.values[3].kind, SLM_INT);
	scene_end(&a);
	slm_oracle_free(oracle);
}

static void values_in_words(void **state)
{
	static const struct slm_value blob = { .kind = SLM_BLOB,
					       .size = 2,
					       .text = "\x01\xff" };
	char longest[101];
	struct slm_oracle *oracle = new_oracle(&bank_config);
	struct slm_finding f;
	struct scene s;

	(void)state;
	memset(longest, 'x', 100);
	longest[100] = '\0';
	scene_begin(&s, 1);
	table(&s, "t", "a b c d e f", -1);
	over(&s, ALICE, true);
	add_serial(oracle, "a", &s);
	ROW(&s, 0, NIL, REAL(1), REAL(0.1), TEXT("o'c\n\xff\xc3\xa9"), blob,
	    TEXT(longest));
	f = explain(oracle, &s);
	assert_difference(&f, 0, "t",
			  "a=NULL b=1.0 c=0.1 d='o''c\\x0a\\xff\xc3\xa9' "
			  "e=x'01ff' f='xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
			  "xxxxxxxxxxxxxxxxxxxxxx...'",
			  NULL);
	scene_end(&s);
	slm_oracle_free(oracle);
}

static void results_in_words(void **state)
{
	struct slm_oracle *oracle = new_oracle(&bank_config);
	struct slm_finding f;
	struct scene s;

	(void)state;
	scene_begin(&s, 1);
	done(&s, ALICE, READ_STEP);
	over(&s, ALICE, true);
	add_serial(oracle, "a", &s);
	scene_end(&s);
	scene_begin(&s, 1);
	READ(&s, ALICE, READ_STEP, "v", INT(1), INT(2), INT(3), INT(4));
	changed(&s, ALICE, PAY_STEP, 0);
	over(&s, ALICE, true);
	f = explain(oracle, &s);
	assert_difference(&f, 0, "alice: step a_read",
			  "v=1; v=2; v=3; ... (4 rows)", "done");
	assert_difference(&f, 1, "alice: step a_pay", "no row changed", NULL);
	scene_end(&s);
	scene_begin(&s, 1);
	read_rows(&s, ALICE, READ_STEP, "v", NULL, 0);
	over(&s, ALICE, true);
	f = explain(oracle, &s);
	assert_difference(&f, 0, "alice: step a_read", "no row", "done");
	scene_end(&s);
	slm_oracle_free(oracle);
}

/* Only the serial runs of all the calls go into the trace. */
static void serials_for_the_trace(void **state)
{
	struct slm_oracle *oracle = bank_oracle(&bank_config);
	const struct slm_trace_serial *serials;
	struct slm_arena arena;
	uint32_t count;

	(void)state;
	slm_arena_init(&arena);
	assert_int_equal(slm_oracle_serials(oracle, &arena, &serials, &count,
					    NULL),
			 SQLOOM_OK);
	assert_int_equal(count, 2);
	assert_string_equal(serials[0].order, "ab");
	assert_string_equal(serials[1].order, "ba");
	assert_string_equal(serials[1].outcome.results[0],
			    "ok, step a_pay skipped");
	slm_arena_deinit(&arena);
	slm_oracle_free(oracle);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changed_row_is_one_line),
		cmocka_unit_test(missing_and_extra_rows),
		cmocka_unit_test(result_of_a_step),
		cmocka_unit_test(same_contents_are_nearer),
		cmocka_unit_test(new_rows_come_last),
		cmocka_unit_test(errors_and_results),
		cmocka_unit_test(check_is_shown),
		cmocka_unit_test(labels_of_generated_keys),
		cmocka_unit_test(null_of_masked_column_is_told),
		cmocka_unit_test(rows_that_differ_are_kept),
		cmocka_unit_test(differences_are_bounded),
		cmocka_unit_test(masked_and_ignored_are_not_told),
		cmocka_unit_test(values_in_words),
		cmocka_unit_test(results_in_words),
		cmocka_unit_test(serials_for_the_trace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
