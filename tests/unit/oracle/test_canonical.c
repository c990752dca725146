/* SPDX-License-Identifier: Apache-2.0 */
/* Contents are equal if a renumbering of generated keys makes them equal. */
#include "builder.h"

static const struct slm_trace_step step = { "s", "SELECT 1", "", "", 0, false };
static const struct slm_trace_call call = { "alice", &step, 1 };
static const struct slm_oracle_config config = { .calls = &call, .ncalls = 1 };

/* Is what b holds equal to what a, as the only serial run, left? */
static bool equal_under(const struct slm_oracle_config *with, struct scene *a,
			struct scene *b)
{
	struct slm_oracle *oracle = new_oracle(with);
	enum slm_class class;

	add_serial(oracle, "a", a);
	class = judge(oracle, b).class;
	slm_oracle_free(oracle);
	scene_end(a);
	scene_end(b);
	assert_true(class == SLM_CLASS_SERIAL || class == SLM_CLASS_CONTENTS);
	return class == SLM_CLASS_SERIAL;
}

static bool equal(struct scene *a, struct scene *b)
{
	return equal_under(&config, a, b);
}

static void begin2(struct scene *a, struct scene *b)
{
	scene_begin(a, 1);
	scene_begin(b, 1);
}

static void inserts_in_the_other_order(void **state)
{
	struct scene a, b;

	(void)state;
	begin2(&a, &b);
	table(&a, "users", "id name", 0);
	NEW(&a, 0, INT(1), TEXT("ann"));
	NEW(&a, 0, INT(2), TEXT("bob"));
	table(&b, "users", "id name", 0);
	NEW(&b, 0, INT(1), TEXT("bob"));
	NEW(&b, 0, INT(2), TEXT("ann"));
	assert_true(equal(&a, &b));
}

static void explicit_keys_by_value(void **state)
{
	struct scene a, b;

	(void)state;
	begin2(&a, &b);
	table(&a, "users", "id name", 0);
	ROW(&a, 0, INT(1), TEXT("ann"));
	ROW(&a, 0, INT(2), TEXT("bob"));
	table(&b, "users", "id name", 0);
	ROW(&b, 0, INT(1), TEXT("bob"));
	ROW(&b, 0, INT(2), TEXT("ann"));
	assert_false(equal(&a, &b));
}

static void rows_are_a_multiset(void **state)
{
	struct scene a, b;

	(void)state;
	begin2(&a, &b);
	table(&a, "t", "v", -1);
	ROW(&a, 0, INT(1));
	ROW(&a, 0, INT(2));
	ROW(&a, 0, INT(2));
	table(&b, "t", "v", -1);
	ROW(&b, 0, INT(2));
	ROW(&b, 0, INT(1));
	ROW(&b, 0, INT(2));
	assert_true(equal(&a, &b));
	begin2(&a, &b);
	table(&a, "t", "v", -1);
	ROW(&a, 0, INT(1));
	ROW(&a, 0, INT(2));
	ROW(&a, 0, INT(2));
	table(&b, "t", "v", -1);
	ROW(&b, 0, INT(2));
	ROW(&b, 0, INT(1));
	ROW(&b, 0, INT(1));
	assert_false(equal(&a, &b));
}

static void values_of_other_kinds_differ(void **state)
{
	const struct slm_value values[] = { INT(1), REAL(1), TEXT("1"), NIL };

	(void)state;
	for (size_t i = 0; i < 4; i++)
		for (size_t j = 0; j < 4; j++) {
			struct scene a, b;

			begin2(&a, &b);
			table(&a, "t", "v", -1);
			ROW(&a, 0, values[i]);
			table(&b, "t", "v", -1);
			ROW(&b, 0, values[j]);
			assert_int_equal(equal(&a, &b), i == j);
		}
}

/* user <- orders <- items, the keys of all of them numbered by ids. */
static void two_levels(struct scene *s, const int *ids, int first_item_order)
{
	table(s, "users", "id name", 0);
	table(s, "orders", "id user", 0);
	table(s, "items", "id orders what", 0);
	reference(s, 1, 1, 0);
	reference(s, 2, 1, 1);
	NEW(s, 0, INT(ids[0]), TEXT("ann"));
	NEW(s, 0, INT(ids[1]), TEXT("bob"));
	NEW(s, 1, INT(ids[2]), INT(ids[0]));
	NEW(s, 1, INT(ids[3]), INT(ids[1]));
	NEW(s, 2, INT(ids[4]), INT(ids[first_item_order]), TEXT("pen"));
	NEW(s, 2, INT(ids[5]), INT(ids[5 - first_item_order]), TEXT("ink"));
}

static void references_two_levels(void **state)
{
	struct scene a, b;

	(void)state;
	begin2(&a, &b);
	two_levels(&a, (int[]){ 1, 2, 1, 2, 1, 2 }, 2);
	two_levels(&b, (int[]){ 2, 1, 7, 5, 2, 1 }, 2);
	assert_true(equal(&a, &b));
	/* The pen is on bob's order, not on ann's. */
	begin2(&a, &b);
	two_levels(&a, (int[]){ 1, 2, 1, 2, 1, 2 }, 2);
	two_levels(&b, (int[]){ 2, 1, 7, 5, 2, 1 }, 3);
	assert_false(equal(&a, &b));
}

/* A snapshot's row that now refers to a generated one. */
static void old_row_refers_to_new(void **state)
{
	struct scene a, b;

	(void)state;
	begin2(&a, &b);
	for (int i = 0; i < 2; i++) {
		struct scene *s = i ? &b : &a;

		table(s, "users", "id name", 0);
		table(s, "box", "id owner", 0);
		reference(s, 1, 1, 0);
		NEW(s, 0, INT(i ? 2 : 1), TEXT("ann"));
		NEW(s, 0, INT(i ? 1 : 2), TEXT("bob"));
		ROW(s, 1, INT(1), INT(i ? 2 : 1));
	}
	assert_true(equal(&a, &b));
}

static void null_and_dangling_keep_their_value(void **state)
{
	struct scene a, b;

	(void)state;
	begin2(&a, &b);
	for (int i = 0; i < 2; i++) {
		struct scene *s = i ? &b : &a;

		table(s, "users", "id name", 0);
		table(s, "box", "id owner", 0);
		reference(s, 1, 1, 0);
		NEW(s, 0, INT(1), TEXT("ann"));
		ROW(s, 1, INT(1), i ? INT(99) : NIL);
	}
	assert_false(equal(&a, &b));
}

/* Rows in a ring of three, each referring to the next, numbered from base. */
static void ring(struct scene *s, int base, int steps)
{
	table(s, "node", "id next", 0);
	reference(s, 0, 1, 0);
	for (int i = 0; i < 6; i++)
		NEW(s, 0, INT(base + i),
		    INT(base + (i / steps) * steps + (i + 1) % steps));
}

static void cycles_terminate(void **state)
{
	struct scene a, b;

	(void)state;
	begin2(&a, &b);
	ring(&a, 1, 3);
	ring(&b, 10, 3);
	assert_true(equal(&a, &b));
	/* Refinement cannot tell rings of equal rows apart; it ends. */
	begin2(&a, &b);
	ring(&a, 1, 3);
	ring(&b, 1, 6);
	assert_true(equal(&a, &b));
}

static void self_reference_terminates(void **state)
{
	struct scene a, b;

	(void)state;
	begin2(&a, &b);
	for (int i = 0; i < 2; i++) {
		struct scene *s = i ? &b : &a;

		table(s, "node", "id parent name", 0);
		reference(s, 0, 1, 0);
		NEW(s, 0, INT(5 + i), INT(5 + i), TEXT("root"));
	}
	assert_true(equal(&a, &b));
}

/* Trees whose columns are equal as multisets: who is whose parent decides. */
static void parent_and_child_swapped(void **state)
{
	struct scene a, b;

	(void)state;
	begin2(&a, &b);
	for (int i = 0; i < 2; i++) {
		struct scene *s = i ? &b : &a;

		table(s, "node", "id parent name", 0);
		reference(s, 0, 1, 0);
		NEW(s, 0, INT(1), i ? INT(2) : NIL, TEXT("x"));
		NEW(s, 0, INT(2), i ? NIL : INT(1), TEXT("y"));
	}
	assert_false(equal(&a, &b));
}

/* A list of rows that only their place tells apart, longer than one round. */
static void list(struct scene *s, int length, bool backwards, int marked)
{
	table(s, "node", "id next mark", 0);
	reference(s, 0, 1, 0);
	for (int i = 0; i < length; i++) {
		int id = backwards ? length - i : i + 1;
		int next = backwards ? id + 1 : id - 1;

		NEW(s, 0, INT(id), i == 0 ? NIL : INT(next), INT(i == marked));
	}
}

static void long_chains(void **state)
{
	struct scene a, b;

	(void)state;
	begin2(&a, &b);
	list(&a, 40, false, 39);
	list(&b, 40, true, 39);
	assert_true(equal(&a, &b));
	begin2(&a, &b);
	list(&a, 40, false, 39);
	list(&b, 40, true, 38);
	assert_false(equal(&a, &b));
}

/* The key of a child is the key of its parent (one-to-one inheritance). */
static void key_that_is_a_reference(void **state)
{
	struct scene a, b;

	(void)state;
	begin2(&a, &b);
	for (int i = 0; i < 2; i++) {
		struct scene *s = i ? &b : &a;

		table(s, "base", "id name", 0);
		table(s, "child", "id extra", 0);
		reference(s, 1, 0, 0);
		NEW(s, 0, INT(1), TEXT("x"));
		NEW(s, 0, INT(2), TEXT("y"));
		NEW(s, 1, INT(i ? 2 : 1), INT(7));
	}
	assert_false(equal(&a, &b));
}

static void ignored(void **state)
{
	const char *const column[] = { "t.seen" };
	const char *const whole[] = { "t" };
	const char *const other[] = { "t.v", "se", "t.see" };
	struct slm_oracle_config with = config;

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct scene a, b;

		with.ignore = i == 0 ? column : i == 1 ? whole : other;
		with.nignore = i == 2 ? 3 : 1;
		begin2(&a, &b);
		table(&a, "t", "v seen", -1);
		ROW(&a, 0, INT(1), INT(5));
		table(&b, "t", "v seen", -1);
		ROW(&b, 0, INT(1), INT(6));
		if (i == 1)
			ROW(&b, 0, INT(2), INT(6));
		assert_int_equal(equal_under(&with, &a, &b), i < 2);
	}
}

static void names_of_tables_and_columns_count(void **state)
{
	struct scene a, b;

	(void)state;
	begin2(&a, &b);
	table(&a, "t", "v", -1);
	table(&b, "t", "w", -1);
	assert_false(equal(&a, &b));
	begin2(&a, &b);
	table(&a, "t", "v", -1);
	table(&b, "u", "v", -1);
	assert_false(equal(&a, &b));
}

/* Two new carts with nothing but a key, and two lines. */
static void carts(struct scene *s, int first, int second)
{
	table(s, "cart", "id state", 0);
	table(s, "line", "id cart what", 0);
	reference(s, 1, 1, 0);
	NEW(s, 0, INT(1), TEXT("open"));
	NEW(s, 0, INT(2), TEXT("open"));
	NEW(s, 1, INT(1), INT(first), TEXT("pen"));
	NEW(s, 1, INT(2), INT(second), TEXT("ink"));
}

/* Who refers to a row tells it from another. */
static void children_of_equal_parents(void **state)
{
	struct scene a, b;

	(void)state;
	begin2(&a, &b);
	carts(&a, 1, 2);
	carts(&b, 2, 1);
	assert_true(equal(&a, &b));
	begin2(&a, &b);
	carts(&a, 1, 1);
	carts(&b, 2, 2);
	assert_true(equal(&a, &b));
	begin2(&a, &b);
	carts(&a, 1, 2);
	carts(&b, 2, 2);
	assert_false(equal(&a, &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inserts_in_the_other_order),
		cmocka_unit_test(explicit_keys_by_value),
		cmocka_unit_test(rows_are_a_multiset),
		cmocka_unit_test(values_of_other_kinds_differ),
		cmocka_unit_test(references_two_levels),
		cmocka_unit_test(old_row_refers_to_new),
		cmocka_unit_test(null_and_dangling_keep_their_value),
		cmocka_unit_test(cycles_terminate),
		cmocka_unit_test(self_reference_terminates),
		cmocka_unit_test(parent_and_child_swapped),
		cmocka_unit_test(long_chains),
		cmocka_unit_test(key_that_is_a_reference),
		cmocka_unit_test(ignored),
		cmocka_unit_test(names_of_tables_and_columns_count),
		cmocka_unit_test(children_of_equal_parents),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
