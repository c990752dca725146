/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters put into statements. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "trace/params.h"

#define TEN "1234567890"
#define NINETY TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_put(void **state)
{
	static const struct {
		const char *sql, *params, *put;
		bool whole;
	} cases[] = {
		{ "UPDATE a SET b = $1 WHERE id = $2", "$1 = 10, $2 = 1",
		  "UPDATE a SET b = 10 WHERE id = 1", true },
		{ "SELECT $1", "$1 = 'it''s, $2 = 3', $2 = 4",
		  "SELECT 'it''s, $2 = 3'", true },
		{ "SELECT $2, $1, $2", "$1 = 'x', $2 = NULL",
		  "SELECT NULL, 'x', NULL", true },
		{ "SELECT a -$1", "$1 = -5", "SELECT a -(-5)", true },
		{ "SELECT $1::date, $10", "$1 = '2026-01-31', $10 = 7",
		  "SELECT '2026-01-31'::date, 7", true },
		{ "SELECT $1", "$1 = 'a'::bytea", "SELECT 'a'::bytea", true },
		/* Where a parameter is none */
		{ "SELECT '$1', \"$1\", a$1, E'\\'$1', $$ $1 $$, $q$ $1 $q$",
		  "$1 = 5",
		  "SELECT '$1', \"$1\", a$1, E'\\'$1', $$ $1 $$, $q$ $1 $q$",
		  true },
		{ "SELECT 1 -- $1\n, $1 /* $1 /* $1 */ $1 */ + $1", "$1 = 5",
		  "SELECT 1 -- $1\n, 5 /* $1 /* $1 */ $1 */ + 5", true },
		{ "SELECT E'a''\\'$1' || $1", "$1 = 5",
		  "SELECT E'a''\\'$1' || 5", true },
		{ "SELECT 'a''$1' || $1", "$1 = 5", "SELECT 'a''$1' || 5",
		  true },
		/* What is not known stays. */
		{ "SELECT $1, $3", "$1 = 5, $2 = 6", "SELECT 5, $3", false },
		{ "SELECT $1", NULL, "SELECT $1", false },
		{ "SELECT $1", "", "SELECT $1", false },
		{ "SELECT $1", "nonsense", "SELECT $1", false },
		{ "SELECT $1, $2", "$1 = 'ab'..., $2 = 3", "SELECT $1, 3",
		  false },
		{ "SELECT $1, $2", "$1 = 'ab, $2 = 3", "SELECT $1, 3", false },
		{ "SELECT $1, $2", "$1 = , $2 = 3", "SELECT $1, 3", false },
		{ "SELECT $1, $2, $3", "$1 = 'x', $2 ...", "SELECT 'x', $2, $3",
		  false },
		{ "SELECT $1, $2", "$1 = 'x...', $2 = '" NINETY "...'",
		  "SELECT 'x...', $2", false },
		{ "SELECT $1", "$1 = '" NINETY "'", "SELECT '" NINETY "'",
		  true },
		{ "SELECT $1", "(too long to be shown)", "SELECT $1", false },
		{ "SELECT 1", "$1 = 5", "SELECT 1", true },
		{ "SELECT '$1", "$1 = 5", "SELECT '$1", true },
		{ "SELECT $$ $1", "$1 = 5", "SELECT $$ $1", true },
		{ "", "$1 = 5", "", true },
	};
	struct slm_arena arena;

	(void)state;
	slm_arena_init(&arena);
	for (size_t i = 0; i < COUNT(cases); i++) {
		bool whole = !cases[i].whole;
		const char *put = slm_params_put(&arena, cases[i].sql,
						 cases[i].params, &whole);

		assert_non_null(put);
		if (strcmp(put, cases[i].put) != 0 || whole != cases[i].whole)
			fail_msg("case %zu: %d %s", i, whole, put);
	}
	slm_arena_deinit(&arena);
	assert_int_equal(slm_alloc_live(), 0);
}

static void test_find(void **state)
{
	const char *params = "$1 = 5, $2 = 'x...', $3 = 'y'...";
	const char *value;
	size_t size = 0;
	bool cut = true;

	(void)state;
	value = slm_params_find(params, 2, &size, &cut);
	assert_non_null(value);
	assert_int_equal(size, 6);
	assert_memory_equal(value, "'x...'", 6);
	assert_false(cut);
	value = slm_params_find(params, 3, &size, &cut);
	assert_non_null(value);
	assert_true(cut);
	assert_null(slm_params_find(params, 4, &size, &cut));
	assert_null(slm_params_find(NULL, 1, &size, &cut));
}

static void test_no_memory(void **state)
{
	struct slm_arena arena;
	const char *text;

	(void)state;
	slm_arena_init(&arena);
	slm_alloc_fail_from(1);
	assert_null(slm_params_put(&arena, "SELECT $1", "$1 = 5", NULL));
	text = slm_params_put(&arena, "SELECT 1", "$1 = 5", NULL);
	slm_alloc_fail_from(0);
	/* Nothing to put in, but the rest of the text is buffered all the
	 * same: either is fine. */
	assert_true(!text || strcmp(text, "SELECT 1") == 0);
	slm_arena_deinit(&arena);
	assert_int_equal(slm_alloc_live(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
