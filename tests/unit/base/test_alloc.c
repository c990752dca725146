/* SPDX-License-Identifier: Apache-2.0 */
/* Counting and refusing allocations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"

static int injection_off(void **state)
{
	(void)state;
	slm_alloc_fail_from(0);
	return 0;
}

static void test_the_nth_and_all_after_it_fail(void **state)
{
	void *first, *second;

	(void)state;
	/* What was before does not count. */
	slm_free(slm_malloc(8));
	slm_alloc_fail_from(3);
	first = slm_malloc(8);
	second = slm_calloc(2, 4);
	assert_non_null(first);
	assert_non_null(second);
	assert_null(slm_malloc(8));
	assert_null(slm_calloc(1, 8));
	assert_null(slm_strdup("x"));
	assert_int_equal(slm_alloc_count(), 5);
	slm_alloc_fail_from(0);
	slm_free(first);
	slm_free(second);
}

static void test_off_means_never(void **state)
{
	(void)state;
	slm_alloc_fail_from(1);
	assert_null(slm_malloc(1));
	slm_alloc_fail_from(0);
	for (int i = 0; i < 100; i++) {
		void *block = slm_malloc(1);

		assert_non_null(block);
		slm_free(block);
	}
}

static void test_failed_realloc_keeps_the_block(void **state)
{
	char *old = slm_strdup("kept");
	char *grown;

	(void)state;
	assert_non_null(old);
	slm_alloc_fail_from(1);
	assert_null(slm_realloc(old, 1000));
	assert_string_equal(old, "kept");
	slm_alloc_fail_from(0);
	grown = slm_realloc(old, 1000);
	assert_non_null(grown);
	assert_string_equal(grown, "kept");
	slm_free(grown);
}

static void test_live_blocks(void **state)
{
	int64_t before = slm_alloc_live();
	void *a, *b;

	(void)state;
	a = slm_malloc(10);
	b = slm_realloc(NULL, 10);
	assert_int_equal(slm_alloc_live(), before + 2);
	b = slm_realloc(b, 20);
	assert_int_equal(slm_alloc_live(), before + 2);
	slm_alloc_fail_from(1);
	assert_null(slm_malloc(10));
	assert_int_equal(slm_alloc_live(), before + 2);
	slm_free(a);
	slm_free(b);
	slm_free(NULL);
	assert_int_equal(slm_alloc_live(), before);
}

static void test_overflow_is_a_failure(void **state)
{
	char *block = slm_strdup("kept");

	(void)state;
	assert_non_null(block);
	/* Wraps round to 8 bytes if nobody looks. */
	assert_null(slm_reallocarray(block, SIZE_MAX / 8 + 2, 8));
	assert_string_equal(block, "kept");
	assert_null(slm_calloc(SIZE_MAX / 8 + 2, 8));
	slm_free(block);
}

static void test_no_bytes_is_still_a_block(void **state)
{
	void *blocks[3];

	(void)state;
	blocks[0] = slm_malloc(0);
	blocks[1] = slm_calloc(0, 8);
	blocks[2] = slm_reallocarray(NULL, 0, 8);
	for (int i = 0; i < 3; i++) {
		assert_non_null(blocks[i]);
		/* realloc(p, 0) of the C library may free p. */
		blocks[i] = slm_realloc(blocks[i], 0);
		assert_non_null(blocks[i]);
		slm_free(blocks[i]);
	}
}

static void test_calloc_clears(void **state)
{
	static const char zeros[4096];
	char *dirty = slm_malloc(sizeof(zeros));
	char *clean;

	(void)state;
	assert_non_null(dirty);
	memset(dirty, 0xff, sizeof(zeros));
	slm_free(dirty);
	clean = slm_calloc(sizeof(zeros), 1);
	assert_non_null(clean);
	assert_memory_equal(clean, zeros, sizeof(zeros));
	slm_free(clean);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_the_nth_and_all_after_it_fail,
					  injection_off),
		cmocka_unit_test_teardown(test_off_means_never, injection_off),
		cmocka_unit_test_teardown(test_failed_realloc_keeps_the_block,
					  injection_off),
		cmocka_unit_test_teardown(test_live_blocks, injection_off),
		cmocka_unit_test(test_overflow_is_a_failure),
		cmocka_unit_test(test_no_bytes_is_still_a_block),
		cmocka_unit_test(test_calloc_clears),
	};

	return cmocka_run_group_tests_name("base/alloc", tests, NULL, NULL);
}
