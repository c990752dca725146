/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that are programs: generated keys in what they answer. */
#include "program.h"

#include <stdio.h>

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
		cmocka_unit_test(keys_are_named_by_meaning),
		cmocka_unit_test(a_key_of_another_row_is_seen),
		cmocka_unit_test(a_number_that_looks_like_a_key),
		cmocka_unit_test(once_a_key_is_no_key),
		cmocka_unit_test(what_is_called_an_id),
		cmocka_unit_test(the_first_part_of_a_function),
		cmocka_unit_test(a_name_speaks_of_its_table),
		cmocka_unit_test(keys_of_rows_that_vary),
		cmocka_unit_test(a_count_is_no_key),
		cmocka_unit_test(every_allocation_fails_in_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
