/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers: growth, and failure that sticks until the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"

static struct slm_buf buf;
static int64_t live_before;

static int setup(void **state)
{
	(void)state;
	live_before = slm_alloc_live();
	slm_buf_init(&buf);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	slm_alloc_fail_from(0);
	slm_buf_deinit(&buf);
	return slm_alloc_live() == live_before ? 0 : -1;
}

static void test_appends_in_order(void **state)
{
	(void)state;
	slm_buf_puts(&buf, "ab");
	slm_buf_putc(&buf, 'c');
	slm_buf_fill(&buf, '-', 3);
	slm_buf_printf(&buf, "%d%s", 42, "!");
	slm_buf_append(&buf, "xyz", 2);
	assert_string_equal(buf.data, "abc---42!xy");
	assert_int_equal(buf.size, 11);
	assert_false(slm_buf_failed(&buf));
}

static void test_growth_keeps_text_and_nul(void **state)
{
	(void)state;
	for (size_t i = 0; i < 5000; i++) {
		slm_buf_putc(&buf, (char)('a' + i % 26));
		assert_int_equal(buf.size, i + 1);
		assert_true(buf.size < buf.capacity);
		assert_int_equal(buf.data[buf.size], '\0');
	}
	for (size_t i = 0; i < 5000; i++)
		assert_int_equal(buf.data[i], 'a' + i % 26);
}

static void test_bytes_may_be_nul(void **state)
{
	(void)state;
	slm_buf_append(&buf, "a\0b", 3);
	slm_buf_putc(&buf, '\0');
	assert_int_equal(buf.size, 4);
	assert_memory_equal(buf.data, "a\0b\0", 5);
}

static void test_appending_nothing(void **state)
{
	(void)state;
	slm_buf_append(&buf, NULL, 0);
	slm_buf_fill(&buf, 'x', 0);
	slm_buf_printf(&buf, "%s", "");
	assert_int_equal(buf.size, 0);
	assert_string_equal(buf.data, "");
}

static void test_printf_longer_than_the_room(void **state)
{
	(void)state;
	slm_buf_puts(&buf, "head ");
	slm_buf_printf(&buf, "%3000d", 7);
	assert_int_equal(buf.size, 3005);
	assert_int_equal(strlen(buf.data), 3005);
	assert_memory_equal(buf.data, "head  ", 6);
	assert_int_equal(buf.data[3004], '7');
}

static void test_failure_sticks(void **state)
{
	(void)state;
	slm_buf_puts(&buf, "kept");
	slm_alloc_fail_from(1);
	slm_buf_fill(&buf, 'x', 1000);
	slm_alloc_fail_from(0);
	assert_true(slm_buf_failed(&buf));
	/* There is room, but a text with a hole would be worse than none. */
	slm_buf_puts(&buf, "y");
	slm_buf_putc(&buf, 'y');
	slm_buf_fill(&buf, 'y', 1);
	slm_buf_printf(&buf, "y");
	assert_int_equal(buf.size, 4);
	assert_string_equal(buf.data, "kept");
	assert_null(slm_buf_take(&buf));
	assert_int_equal(slm_alloc_live(), live_before);
}

static void test_clear_forgets_a_failure_and_keeps_the_memory(void **state)
{
	(void)state;
	slm_buf_puts(&buf, "text");
	slm_alloc_fail_from(1);
	slm_buf_fill(&buf, 'x', 1000);
	assert_true(slm_buf_failed(&buf));
	slm_buf_clear(&buf);
	assert_false(slm_buf_failed(&buf));
	assert_string_equal(buf.data, "");
	slm_buf_puts(&buf, "again");
	assert_string_equal(buf.data, "again");
}

static void test_a_size_that_overflows_fails(void **state)
{
	(void)state;
	slm_buf_putc(&buf, 'a');
	slm_buf_fill(&buf, 'x', SIZE_MAX);
	assert_true(slm_buf_failed(&buf));
	slm_buf_clear(&buf);
	slm_buf_fill(&buf, 'x', SIZE_MAX / 2);
	assert_true(slm_buf_failed(&buf));
}

static void test_take_moves_the_text(void **state)
{
	char *text;

	(void)state;
	slm_buf_puts(&buf, "mine");
	text = slm_buf_take(&buf);
	assert_string_equal(text, "mine");
	assert_null(buf.data);
	assert_int_equal(buf.size, 0);
	slm_free(text);
}

static void test_take_of_nothing_is_empty_text(void **state)
{
	char *text = slm_buf_take(&buf);

	(void)state;
	assert_non_null(text);
	assert_string_equal(text, "");
	slm_free(text);
	slm_alloc_fail_from(1);
	assert_null(slm_buf_take(&buf));
	assert_false(slm_buf_failed(&buf));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_appends_in_order),
		TEST(test_growth_keeps_text_and_nul),
		TEST(test_bytes_may_be_nul),
		TEST(test_appending_nothing),
		TEST(test_printf_longer_than_the_room),
		TEST(test_failure_sticks),
		TEST(test_clear_forgets_a_failure_and_keeps_the_memory),
		TEST(test_a_size_that_overflows_fails),
		TEST(test_take_moves_the_text),
		TEST(test_take_of_nothing_is_empty_text),
	};

	return cmocka_run_group_tests_name("base/buf", tests, NULL, NULL);
}
