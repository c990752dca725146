/* SPDX-License-Identifier: Apache-2.0 */
/* Arenas: alignment, growth, reuse, and failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/arena.h"

static struct slm_arena arena;
static int64_t live_before;

static int setup(void **state)
{
	(void)state;
	live_before = slm_alloc_live();
	slm_arena_init(&arena);
	return 0;
}

/* Every test gives back all it took. */
static int teardown(void **state)
{
	(void)state;
	slm_alloc_fail_from(0);
	slm_arena_deinit(&arena);
	return slm_alloc_live() == live_before ? 0 : -1;
}

static void test_every_block_is_aligned(void **state)
{
	(void)state;
	for (size_t size = 0; size < 200; size++) {
		void *block = slm_arena_alloc(&arena, size);

		assert_non_null(block);
		assert_int_equal((uintptr_t)block % _Alignof(max_align_t), 0);
	}
}

/* Sizes that fit a block, fill one, and exceed one. */
static size_t size_of(int i)
{
	static const size_t sizes[] = { 1,    17,    100,   4000,
					5000, 16384, 16385, 70000 };

	return sizes[i % 8];
}

static void fill(unsigned char *blocks[], int count)
{
	for (int i = 0; i < count; i++) {
		blocks[i] = slm_arena_alloc(&arena, size_of(i));
		assert_non_null(blocks[i]);
		memset(blocks[i], i + 1, size_of(i));
	}
}

static void test_blocks_do_not_overlap(void **state)
{
	unsigned char *blocks[40];

	(void)state;
	fill(blocks, 40);
	for (int i = 0; i < 40; i++) {
		assert_int_equal(blocks[i][0], i + 1);
		assert_int_equal(blocks[i][size_of(i) - 1], i + 1);
	}
}

static void test_a_warm_arena_takes_nothing_from_the_heap(void **state)
{
	unsigned char *blocks[40];

	(void)state;
	fill(blocks, 40);
	slm_alloc_fail_from(1);
	for (int round = 0; round < 3; round++) {
		slm_arena_clear(&arena);
		fill(blocks, 40);
	}
	assert_int_equal(slm_alloc_count(), 0);
}

/* Kept blocks that are too small are not used, but are not lost either. */
static void test_a_large_block_between_kept_ones(void **state)
{
	unsigned char *large;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_non_null(slm_arena_alloc(&arena, 16000));
	slm_arena_clear(&arena);
	assert_non_null(slm_arena_alloc(&arena, 16000));
	large = slm_arena_alloc(&arena, 50000);
	assert_non_null(large);
	memset(large, 1, 50000);
	slm_alloc_fail_from(1);
	for (int i = 0; i < 3; i++)
		assert_non_null(slm_arena_alloc(&arena, 16000));
	assert_int_equal(large[49999], 1);
}

static void test_clear_of_an_empty_arena(void **state)
{
	(void)state;
	slm_arena_clear(&arena);
	assert_string_equal(slm_arena_strdup(&arena, "x"), "x");
}

static void test_memory_out_leaves_the_arena_usable(void **state)
{
	char *kept, *again;

	(void)state;
	slm_alloc_fail_from(1);
	assert_null(slm_arena_alloc(&arena, 1));
	slm_alloc_fail_from(0);
	kept = slm_arena_strdup(&arena, "kept");
	assert_non_null(kept);
	slm_alloc_fail_from(1);
	assert_null(slm_arena_alloc(&arena, 100000));
	again = slm_arena_strdup(&arena, "again");
	assert_non_null(again);
	assert_string_equal(again, "again");
	assert_string_equal(kept, "kept");
}

static void test_sizes_that_overflow(void **state)
{
	(void)state;
	assert_null(slm_arena_alloc(&arena, SIZE_MAX));
	assert_null(slm_arena_alloc(&arena, SIZE_MAX - 15));
	assert_null(slm_arena_alloc(&arena, SIZE_MAX - 31));
	assert_null(slm_arena_zalloc(&arena, SIZE_MAX / 8 + 2, 8));
	assert_null(slm_arena_strndup(&arena, "x", SIZE_MAX));
}

static void test_zalloc_clears_used_memory(void **state)
{
	static const char zeros[300];
	char *block = slm_arena_alloc(&arena, 300);

	(void)state;
	assert_non_null(block);
	memset(block, 0xff, 300);
	slm_arena_clear(&arena);
	block = slm_arena_zalloc(&arena, 3, 100);
	assert_non_null(block);
	assert_memory_equal(block, zeros, 300);
}

static void test_text(void **state)
{
	char *text;

	(void)state;
	text = slm_arena_strndup(&arena, "abcdef", 3);
	assert_string_equal(text, "abc");
	assert_string_equal(slm_arena_strndup(&arena, NULL, 0), "");
	assert_memory_equal(slm_arena_strndup(&arena, "a\0b", 3), "a\0b", 4);
	assert_string_equal(slm_arena_strdup(&arena, ""), "");
	assert_string_equal(slm_arena_printf(&arena, "%s=%d", text, 7),
			    "abc=7");
	assert_string_equal(slm_arena_printf(&arena, "%s", ""), "");
}

static void test_printf_longer_than_a_block(void **state)
{
	char *text;

	(void)state;
	text = slm_arena_printf(&arena, "%40000d|", 5);
	assert_non_null(text);
	assert_int_equal(strlen(text), 40001);
	assert_string_equal(text + 39998, " 5|");
	slm_alloc_fail_from(1);
	assert_null(slm_arena_printf(&arena, "%40000d", 5));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_every_block_is_aligned),
		TEST(test_blocks_do_not_overlap),
		TEST(test_a_warm_arena_takes_nothing_from_the_heap),
		TEST(test_a_large_block_between_kept_ones),
		TEST(test_clear_of_an_empty_arena),
		TEST(test_memory_out_leaves_the_arena_usable),
		TEST(test_sizes_that_overflow),
		TEST(test_zalloc_clears_used_memory),
		TEST(test_text),
		TEST(test_printf_longer_than_a_block),
	};

	return cmocka_run_group_tests_name("base/arena", tests, NULL, NULL);
}
