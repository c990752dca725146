/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: the table of statuses, messages at their limit, excerpts. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

/* Left as they are found, so that leftovers would show. */
static struct sqloom_error err;

static int setup(void **state)
{
	(void)state;
	memset(&err, 0x7e, sizeof(err));
	return 0;
}

/* ---- Statuses --------------------------------------------------------- */

static void test_every_status_has_text_and_exit_code(void **state)
{
	(void)state;
	assert_int_equal(sqloom_status_exit_code(SQLOOM_OK), 0);
	assert_int_equal(sqloom_status_exit_code(SQLOOM_SPEC), 2);
	assert_int_equal(sqloom_status_exit_code(SQLOOM_IO), 3);
	assert_int_equal(sqloom_status_exit_code(SQLOOM_INTERNAL), 70);
	for (int s = SQLOOM_OK; s <= SQLOOM_INTERNAL; s++) {
		assert_non_null(sqloom_status_text((enum sqloom_status)s));
		assert_true(strlen(sqloom_status_text((enum sqloom_status)s)));
	}
}

static void test_unknown_status(void **state)
{
	volatile int beyond = SQLOOM_INTERNAL + 1;
	volatile int negative = -1;

	(void)state;
	assert_string_equal(sqloom_status_text((enum sqloom_status)beyond),
			    "unknown status");
	assert_int_equal(sqloom_status_exit_code((enum sqloom_status)beyond),
			 70);
	assert_int_equal(sqloom_status_exit_code((enum sqloom_status)negative),
			 70);
}

static void test_verdicts_have_different_exit_codes(void **state)
{
	(void)state;
	assert_int_equal(sqloom_verdict_exit_code(SQLOOM_HOLDS), 0);
	assert_int_equal(sqloom_verdict_exit_code(SQLOOM_BROKEN), 1);
	assert_int_equal(sqloom_verdict_exit_code(SQLOOM_INCONCLUSIVE), 4);
}

/* ---- Messages --------------------------------------------------------- */

static void test_set_clears_what_was_there(void **state)
{
	(void)state;
	assert_int_equal(slm_error_set(&err, SQLOOM_USAGE, "no %s", "file"),
			 SQLOOM_USAGE);
	assert_int_equal(err.status, SQLOOM_USAGE);
	assert_string_equal(err.message, "no file");
	assert_int_equal(err.sys_errno, 0);
	assert_int_equal(err.line, 0);
	assert_int_equal(err.column, 0);
	assert_string_equal(err.sqlstate, "");
	assert_string_equal(err.path, "");
	assert_string_equal(err.excerpt, "");
}

static void test_nobody_wants_the_error(void **state)
{
	(void)state;
	assert_int_equal(slm_error_set(NULL, SQLOOM_IO, "x"), SQLOOM_IO);
	assert_int_equal(slm_error_errno(NULL, SQLOOM_IO, ENOENT, "x"),
			 SQLOOM_IO);
	assert_int_equal(slm_error_nomem(NULL), SQLOOM_NOMEM);
	slm_error_place(NULL, "x", 1, 1, "x", 1);
}

static void test_errno_is_kept_and_told(void **state)
{
	char expected[200] = "cannot read x.spec: ";

	(void)state;
	strcat(expected, strerror(ENOENT));
	assert_int_equal(slm_error_errno(&err, SQLOOM_IO, ENOENT,
					 "cannot read %s", "x.spec"),
			 SQLOOM_IO);
	assert_int_equal(err.sys_errno, ENOENT);
	assert_string_equal(err.message, expected);
}

static void test_nomem(void **state)
{
	(void)state;
	assert_int_equal(slm_error_nomem(&err), SQLOOM_NOMEM);
	assert_int_equal(err.status, SQLOOM_NOMEM);
	assert_string_equal(err.message, "out of memory");
}

static void test_a_long_message_is_cut(void **state)
{
	char text[2000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	slm_error_set(&err, SQLOOM_SPEC, "%s", text);
	assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
	slm_error_errno(&err, SQLOOM_IO, ENOENT, "%s", text);
	assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
}

/* Wherever the cut falls, no half character is left at the end. */
static void test_a_message_is_cut_between_characters(void **state)
{
	static const char *const letters[] = { "\xc3\xa4", "\xe2\x82\xac",
					       "\xf0\x9f\x90\x98" };
	const size_t limit = sizeof(err.message) - 1;
	char text[2000];

	(void)state;
	for (size_t l = 0; l < 3; l++) {
		size_t length = strlen(letters[l]);

		for (size_t shift = 0; shift < length; shift++) {
			memset(text, 'x', shift);
			text[shift] = '\0';
			while (strlen(text) < 1000)
				strcat(text, letters[l]);
			slm_error_set(&err, SQLOOM_SPEC, "%s", text);
			assert_int_equal(strlen(err.message),
					 limit - (limit - shift) % length);
			assert_memory_equal(err.message, text,
					    strlen(err.message));
		}
	}
}

/* What is quoted from a file must not steer the terminal. */
static void test_control_characters_become_blanks(void **state)
{
	(void)state;
	slm_error_set(&err, SQLOOM_SPEC, "a\x1b[2Jb\nc\td\x7f");
	assert_string_equal(err.message, "a [2Jb c d ");
}

static void test_broken_utf8_becomes_question_marks(void **state)
{
	static const struct {
		const char *bytes, *shown;
	} cases[] = {
		{ "\x80|", "?|" },		  /* no lead byte */
		{ "\xc3|", "?|" },		  /* no second byte */
		{ "\xc0\xaf|", "??|" },		  /* overlong / */
		{ "\xe0\x80\xaf|", "???|" },	  /* overlong / */
		{ "\xf0\x80\x80\xaf|", "????|" }, /* overlong / */
		{ "\xed\xa0\x80|", "???|" },	  /* surrogate */
		{ "\xf4\x90\x80\x80|", "????|" }, /* beyond U+10FFFF */
		{ "\xff|", "?|" },		  /* never used */
		{ "\xc2\x9b|", "??|" },		  /* control, C1 */
		{ "\xc3\xa4|", "\xc3\xa4|" },	  /* fine */
		{ "\xef\xbf\xbd|", "\xef\xbf\xbd|" },
		{ "\xf4\x8f\xbf\xbf|", "\xf4\x8f\xbf\xbf|" },
		{ "\xe2\x82", "??" }, /* ends too early */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		slm_error_set(&err, SQLOOM_SPEC, "%s", cases[i].bytes);
		assert_string_equal(err.message, cases[i].shown);
	}
}

/* ---- Places ----------------------------------------------------------- */

static const char *place(unsigned line, unsigned column, const char *text)
{
	slm_error_set(&err, SQLOOM_SPEC, "bad");
	slm_error_place(&err, "x.spec", line, column, text, strlen(text));
	assert_int_equal(err.line, line);
	assert_int_equal(err.column, column);
	assert_string_equal(err.path, "x.spec");
	assert_string_equal(err.message, "bad");
	return err.excerpt;
}

static void test_caret_below_the_column(void **state)
{
	const char *text = "setup { }\nsesion s1\nstep";

	(void)state;
	assert_string_equal(place(1, 1, text), "setup { }\n^");
	assert_string_equal(place(2, 1, text), "sesion s1\n^");
	assert_string_equal(place(2, 8, text), "sesion s1\n       ^");
	assert_string_equal(place(3, 5, text), "step\n    ^");
}

static void test_places_at_and_beyond_the_end(void **state)
{
	(void)state;
	assert_string_equal(place(1, 1, ""), "\n^");
	assert_string_equal(place(2, 1, "a\n"), "\n^");
	assert_string_equal(place(99, 3, "a\nb"), "\n  ^");
	assert_string_equal(place(1, 4, "a\nb"), "a\n   ^");
	place(1, UINT_MAX, "abc");
	place(UINT_MAX, UINT_MAX, "abc");
}

static void test_tabs_are_one_column(void **state)
{
	(void)state;
	assert_string_equal(place(1, 3, "\t\tx\r\n"), "  x \n  ^");
}

static void test_columns_are_characters(void **state)
{
	/* a-umlaut, euro sign, elephant: 2, 3 and 4 bytes. */
	const char *text = "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x98!";

	(void)state;
	assert_string_equal(place(1, 4, text),
			    "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x98!\n   ^");
}

static void test_bytes_that_are_no_text(void **state)
{
	const char text[] = { 'a', '\0', 'b', '\xff', '\x1b', 'c' };

	(void)state;
	slm_error_set(&err, SQLOOM_SPEC, "bad");
	slm_error_place(&err, NULL, 1, 6, text, sizeof(text));
	assert_string_equal(err.excerpt, "a b? c\n     ^");
	assert_string_equal(err.path, "");
}

static void test_no_text_no_excerpt(void **state)
{
	(void)state;
	slm_error_set(&err, SQLOOM_SPEC, "bad");
	slm_error_place(&err, "x.spec", 3, 4, NULL, 0);
	assert_int_equal(err.line, 3);
	assert_string_equal(err.excerpt, "");
	slm_error_place(&err, "x.spec", 0, 0, "text", 4);
	assert_string_equal(err.excerpt, "");
}

/* The character that stands above the caret. */
static char above_the_caret(const char *excerpt)
{
	const char *newline = strchr(excerpt, '\n');

	assert_non_null(newline);
	assert_int_equal(excerpt[strlen(excerpt) - 1], '^');
	assert_true(strlen(newline + 1) - 1 < (size_t)(newline - excerpt));
	return excerpt[strlen(newline + 1) - 1];
}

static void test_long_lines_are_shown_around_the_column(void **state)
{
	char text[1001];

	(void)state;
	for (unsigned column = 1; column <= 1000; column++) {
		memset(text, '.', 1000);
		text[1000] = '\0';
		text[column - 1] = '#';
		place(1, column, text);
		assert_int_equal(above_the_caret(err.excerpt), '#');
		assert_true(strcspn(err.excerpt, "\n") <= 72);
	}
}

/* As many bytes as can be: nothing overflows, no half character remains. */
static void test_long_lines_of_long_characters(void **state)
{
	char text[4001] = "";
	size_t size;

	(void)state;
	for (int i = 0; i < 1000; i++)
		memcpy(text + 4 * i, "\xf0\x9f\x90\x98", 5);
	for (unsigned column = 1; column <= 1000; column++) {
		place(1, column, text);
		size = strcspn(err.excerpt, "\n");
		assert_true(size < sizeof(err.excerpt));
		assert_int_equal(size % 4, 0);
		assert_memory_equal(err.excerpt, text, size);
		/* The character above the caret is shown. */
		assert_true(column > 950 ||
			    size / 4 >= strlen(err.excerpt) - size - 1);
	}
}

static void test_only_continuation_bytes(void **state)
{
	char text[1001];

	(void)state;
	memset(text, 0x80, 1000);
	text[1000] = '\0';
	for (unsigned column = 1; column <= 200; column++)
		assert_true(strlen(place(1, column, text)) <
			    sizeof(err.excerpt));
}

static void test_a_long_path_is_cut(void **state)
{
	char path[1000];

	(void)state;
	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	slm_error_set(&err, SQLOOM_SPEC, "bad");
	slm_error_place(&err, path, 1, 1, NULL, 0);
	assert_int_equal(strlen(err.path), sizeof(err.path) - 1);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_every_status_has_text_and_exit_code),
		TEST(test_unknown_status),
		TEST(test_verdicts_have_different_exit_codes),
		TEST(test_set_clears_what_was_there),
		TEST(test_nobody_wants_the_error),
		TEST(test_errno_is_kept_and_told),
		TEST(test_nomem),
		TEST(test_a_long_message_is_cut),
		TEST(test_a_message_is_cut_between_characters),
		TEST(test_control_characters_become_blanks),
		TEST(test_broken_utf8_becomes_question_marks),
		TEST(test_caret_below_the_column),
		TEST(test_places_at_and_beyond_the_end),
		TEST(test_tabs_are_one_column),
		TEST(test_columns_are_characters),
		TEST(test_bytes_that_are_no_text),
		TEST(test_no_text_no_excerpt),
		TEST(test_long_lines_are_shown_around_the_column),
		TEST(test_long_lines_of_long_characters),
		TEST(test_only_continuation_bytes),
		TEST(test_a_long_path_is_cut),
	};

	return cmocka_run_group_tests_name("base/error", tests, NULL, NULL);
}
