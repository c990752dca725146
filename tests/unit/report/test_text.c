/* SPDX-License-Identifier: Apache-2.0 */
/* Cleaning, measuring, folding and printing marked text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "report/text.h"

static void check_clean(const char *text, bool ascii, const char *expected)
{
	struct slm_buf buf;

	slm_buf_init(&buf);
	slm_text_clean(&buf, text, strlen(text), ascii);
	assert_string_equal(buf.data, expected);
	slm_buf_deinit(&buf);
}

static void test_clean(void **state)
{
	(void)state;
	check_clean("a b", false, "a b");
	check_clean("\033[31m\n\t\r\x7f", false, "\\x1b[31m\\n\\t\\r\\x7f");
	check_clean("caf\xc3\xa9", false, "caf\xc3\xa9");
	check_clean("caf\xc3\xa9", true, "caf\\u00e9");
	check_clean("\xf0\x9f\x98\x80", true, "\\U0001f600");
	check_clean("\xc2\x9b", false, "\\u009b");
	check_clean("\xe2\x80\xae", false, "\\u202e");
	check_clean("\xff\xc0\xaf", false, "\\xff\\xc0\\xaf");
	check_clean("\xed\xa0\x80", false, "\\xed\\xa0\\x80");
	check_clean("\xe2\x82", false, "\\xe2\\x82");
	check_clean("\001\002\013\016\017", false, "\\x01\\x02\\x0b\\x0e\\x0f");
}

static void test_width(void **state)
{
	(void)state;
	assert_int_equal(slm_text_width("abc"), 3);
	assert_int_equal(slm_text_width(M_BAD "abc" M_PLAIN), 3);
	assert_int_equal(slm_text_width("caf\xc3\xa9"), 4);
	assert_int_equal(slm_text_width("e\xcc\x81"), 1);
	assert_int_equal(slm_text_width("\xe6\x97\xa5\xe6\x9c\xac"), 4);
	assert_int_equal(slm_text_width("\xf0\x9f\x98\x80"), 2);
	assert_int_equal(slm_text_width("ab\ncdef"), 2);
	assert_int_equal(slm_text_widest("ab\ncdef\ng"), 4);
}

static void check_fold(const char *text, struct slm_fold fold,
		       const char *expected)
{
	struct slm_buf buf;

	slm_buf_init(&buf);
	slm_text_fold(&buf, text, &fold);
	assert_string_equal(buf.data ? buf.data : "", expected);
	slm_buf_deinit(&buf);
}

#define FOLD(...) ((struct slm_fold){ __VA_ARGS__ })

static void test_fold(void **state)
{
	(void)state;
	check_fold("", FOLD(10), "");
	check_fold("one two three", FOLD(7), "one two\nthree");
	check_fold("one two three", FOLD(8), "one two\nthree");
	check_fold("one two three", FOLD(6), "one\ntwo\nthree");
	check_fold("one two three", FOLD(7, 2), "one two\n  three");
	check_fold("abcdefgh", FOLD(4), "abcd\nefgh");
	check_fold("(aaa,bbb)", FOLD(6), "(aaa,\nbbb)");
	check_fold("x a\016=\016b", FOLD(5), "x\na\016=\016b");
	check_fold("aaaa\016=\016b", FOLD(6), "aaaa\016=\nb");
	check_fold("a b c d \017e f g", FOLD(9), "a b c d\ne f g");
	check_fold("one two three", FOLD(7, 0, 1), "one tw\xe2\x80\xa6");
	check_fold("one two three", FOLD(7, 0, 1, true), "one...");
	check_fold("one\ntwo", FOLD(9), "one\ntwo");
	check_fold("\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", FOLD(5),
		   "\xe6\x97\xa5\xe6\x9c\xac\n\xe8\xaa\x9e");
}

static void test_numbers(void **state)
{
	struct slm_buf buf;

	(void)state;
	slm_buf_init(&buf);
	slm_text_number(&buf, 0);
	slm_text_number(&buf, 999);
	slm_text_number(&buf, 1000);
	slm_text_number(&buf, UINT64_MAX);
	assert_string_equal(buf.data, "09991,00018,446,744,073,709,551,615");
	slm_buf_clear(&buf);
	slm_text_count(&buf, 1, "row", "rows");
	slm_text_count(&buf, 2, "row", "rows");
	assert_string_equal(buf.data, "1 row2 rows");
	slm_buf_deinit(&buf);
}

static void test_out(void **state)
{
	struct slm_out out;

	(void)state;
	slm_out_init(&out, 20, true, false);
	slm_out_text(&out, M_BAD "red" M_PLAIN "  ");
	slm_out_newline(&out);
	slm_out_move(&out, 4);
	slm_out_text(&out, "a\016b\017c");
	slm_out_newline(&out);
	assert_string_equal(out.buf.data, "\033[0;31mred\033[0m\n    a bc\n");
	slm_out_deinit(&out);
	slm_out_init(&out, 8, false, false);
	slm_out_paragraph(&out, 2, 1, M_BAD "aa bb cc" M_PLAIN);
	assert_string_equal(out.buf.data, "  aa bb\n   cc\n");
	slm_out_deinit(&out);
	assert_int_equal(slm_alloc_live(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean), cmocka_unit_test(test_width),
		cmocka_unit_test(test_fold),  cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
