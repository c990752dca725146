/* SPDX-License-Identifier: Apache-2.0 */
/* Lexemes, their places, and where SQL blocks end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "spec/lexer.h"

static struct slm_lexer begin(const char *text)
{
	struct slm_lexer lexer;

	slm_lexer_init(&lexer, "test", text, strlen(text));
	return lexer;
}

static struct slm_lexeme next(struct slm_lexer *lexer)
{
	struct sqloom_error err = { 0 };
	struct slm_lexeme lexeme;

	if (slm_lexer_next(lexer, &lexeme, &err) != SQLOOM_OK)
		fail_msg("%s", err.message);
	return lexeme;
}

static void check_lexeme(struct slm_lexer *lexer, enum slm_lexeme_kind kind,
			 const char *name, unsigned line, unsigned column)
{
	struct slm_lexeme lexeme = next(lexer);

	assert_int_equal(lexeme.kind, kind);
	assert_string_equal(lexeme.name, name);
	assert_int_equal(lexeme.line, line);
	assert_int_equal(lexeme.column, column);
}

static void every_kind_of_lexeme(void **state)
{
	struct slm_lexer lexer = begin("session a_1$ \"b \"\"c\"\"\"\n"
				       "  step\tpermutation notices setup\r\n"
				       "teardown ( ) , * 12 # step\n"
				       "\xc3\xa9t\xc3\xa9 when\n\n");

	(void)state;
	check_lexeme(&lexer, SLM_LEXEME_SESSION, "session", 1, 1);
	check_lexeme(&lexer, SLM_LEXEME_NAME, "a_1$", 1, 9);
	check_lexeme(&lexer, SLM_LEXEME_NAME, "b \"c\"", 1, 14);
	check_lexeme(&lexer, SLM_LEXEME_STEP, "step", 2, 3);
	check_lexeme(&lexer, SLM_LEXEME_PERMUTATION, "permutation", 2, 8);
	check_lexeme(&lexer, SLM_LEXEME_NOTICES, "notices", 2, 20);
	check_lexeme(&lexer, SLM_LEXEME_SETUP, "setup", 2, 28);
	check_lexeme(&lexer, SLM_LEXEME_TEARDOWN, "teardown", 3, 1);
	check_lexeme(&lexer, SLM_LEXEME_OPEN, "(", 3, 10);
	check_lexeme(&lexer, SLM_LEXEME_CLOSE, ")", 3, 12);
	check_lexeme(&lexer, SLM_LEXEME_COMMA, ",", 3, 14);
	check_lexeme(&lexer, SLM_LEXEME_STAR, "*", 3, 16);
	check_lexeme(&lexer, SLM_LEXEME_NUMBER, "", 3, 18);
	/* Columns are counted in characters. */
	check_lexeme(&lexer, SLM_LEXEME_NAME, "\xc3\xa9t\xc3\xa9", 4, 1);
	check_lexeme(&lexer, SLM_LEXEME_NAME, "when", 4, 5);
	/* The end is just after the last lexeme, not below blank lines. */
	check_lexeme(&lexer, SLM_LEXEME_END, "", 4, 9);
	check_lexeme(&lexer, SLM_LEXEME_END, "", 4, 9);
}

static void a_quoted_keyword_is_a_name(void **state)
{
	struct slm_lexer lexer = begin("\"step\" Step \"\"");
	struct slm_lexeme lexeme = next(&lexer);

	(void)state;
	assert_int_equal(lexeme.kind, SLM_LEXEME_NAME);
	assert_true(lexeme.quoted);
	assert_false(slm_lexeme_is_word(&lexeme, "step"));
	lexeme = next(&lexer);
	assert_int_equal(lexeme.kind, SLM_LEXEME_NAME);
	assert_true(slm_lexeme_is_word(&lexeme, "Step"));
	lexeme = next(&lexer);
	assert_int_equal(lexeme.kind, SLM_LEXEME_NAME);
	assert_string_equal(lexeme.name, "");
}

static void numbers_end_where_digits_end(void **state)
{
	struct slm_lexer lexer = begin("007x 2147483647");

	(void)state;
	assert_int_equal(next(&lexer).number, 7);
	check_lexeme(&lexer, SLM_LEXEME_NAME, "x", 1, 4);
	assert_int_equal(next(&lexer).number, 2147483647);
}

/* text begins with a block; sql is what must stand in it. */
static const struct {
	const char *text;
	const char *sql;
} blocks[] = {
	{ "{}", "" },
	{ "{ SELECT 1; }", " SELECT 1; " },
	/* No nesting: the first brace ends the block. */
	{ "{ { } }", " { " },
	{ "{ SELECT 1 -- done }", " SELECT 1 -- done " },
	{ "{ SELECT 1 -- don't } # it's", " SELECT 1 -- don't " },
	{ "{ /* it's } */", " /* it's " },
	{ "{ /* it's */ '}' }", " /* it's */ '}' " },
	{ "{ # no comment }", " # no comment " },
	/* Except between quotes on one line. */
	{ "{ '{\"a\": {}}' }", " '{\"a\": {}}' " },
	{ "{ \"a}\" }", " \"a}\" " },
	{ "{ 'it''s }' }", " 'it''s }' " },
	{ "{ E'\\'}' }", " E'\\'}' " },
	{ "{ E'\\\\' } '", " E'\\\\' " },
	{ "{ e'\\'' } '", " e'\\'' " },
	{ "{ '\\' } '", " '\\' " },
	{ "{ name'\\' } '", " name'\\' " },
	{ "{ 'a\nb' } ' }", " 'a\nb' " },
	{ "{ 'a } \n' }", " 'a " },
	{ "{ 'a\n } ' }", " 'a\n " },
	{ "{ 'a }", " 'a " },
	/* Dollar quotes hide apostrophes, but no brace. */
	{ "{ $$it's$$ } '", " $$it's$$ " },
	{ "{ $a_1$it's$$$a_1$ } '", " $a_1$it's$$$a_1$ " },
	{ "{ $$ '}' $$ }", " $$ '" },
	{ "{ x$$'}' }", " x$$'}' " },
	{ "{ $1 '}' }", " $1 '}' " },
	{ "{ $$ }", " $$ " },
	{ "{ - ' } ' / ' } ' $ }", " - ' } ' / ' } ' $ " },
	{ "{\r\n}", "\r\n" },
};

static void blocks_end_at_the_right_brace(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
		struct slm_lexer lexer = begin(blocks[i].text);
		struct slm_lexeme lexeme = next(&lexer);

		assert_int_equal(lexeme.kind, SLM_LEXEME_SQL);
		if (lexeme.sql_size != strlen(blocks[i].sql) ||
		    memcmp(lexeme.sql, blocks[i].sql, lexeme.sql_size) != 0)
			fail_msg("\"%s\" gave \"%.*s\"", blocks[i].text,
				 (int)lexeme.sql_size, lexeme.sql);
	}
}

static void a_block_knows_its_place(void **state)
{
	struct slm_lexer lexer = begin(" \xe2\x82\xac { a\n b }\n{\nc}x");
	struct slm_lexeme lexeme;

	(void)state;
	next(&lexer);
	lexeme = next(&lexer);
	assert_int_equal(lexeme.line, 1);
	assert_int_equal(lexeme.column, 4);
	assert_int_equal(lexeme.sql_line, 1);
	assert_int_equal(lexeme.sql_column, 5);
	lexeme = next(&lexer);
	assert_int_equal(lexeme.line, 3);
	assert_int_equal(lexeme.sql_line, 3);
	assert_int_equal(lexeme.sql_column, 2);
	check_lexeme(&lexer, SLM_LEXEME_NAME, "x", 4, 3);
}

static void values_of_a_line(void **state)
{
	struct slm_lexer lexer =
		begin(" ./a-b.db \"x \"\"y\"\r 2026-01-01 # rest\nnext");
	struct sqloom_error err;
	struct slm_spec_word value;
	bool found;

	(void)state;
	assert_int_equal(slm_lexer_word(&lexer, &value, &found, &err),
			 SQLOOM_OK);
	assert_true(found);
	assert_int_equal(value.size, 8);
	assert_int_equal(value.column, 2);
	assert_false(value.quoted);
	assert_int_equal(slm_lexer_word(&lexer, &value, &found, &err),
			 SQLOOM_OK);
	assert_true(value.quoted);
	assert_memory_equal(value.text, "x \"\"y", 5);
	assert_int_equal(value.size, 5);
	assert_int_equal(slm_lexer_word(&lexer, &value, &found, &err),
			 SQLOOM_OK);
	assert_memory_equal(value.text, "2026-01-01", 10);
	assert_int_equal(slm_lexer_word(&lexer, &value, &found, &err),
			 SQLOOM_OK);
	assert_false(found);
	check_lexeme(&lexer, SLM_LEXEME_NAME, "next", 2, 1);
}

static void the_hint_about_a_cut_block_is_for_the_next_lexeme_only(void **state)
{
	struct slm_lexer lexer = begin("{ 'a\n}' } x");
	struct sqloom_error err;
	struct slm_lexeme lexeme;

	(void)state;
	next(&lexer);
	assert_int_equal(slm_lexer_next(&lexer, &lexeme, &err), SQLOOM_SPEC);
	assert_non_null(strstr(err.message, "unexpected \"'\""));
	assert_non_null(strstr(err.message, "line 2, column 1, inside"));

	lexer = begin("{ SELECT 1 -- one }\na ;");
	next(&lexer);
	next(&lexer);
	assert_int_equal(slm_lexer_next(&lexer, &lexeme, &err), SQLOOM_SPEC);
	assert_null(strstr(err.message, "inside"));
}

static void messages_hold_no_control_characters(void **state)
{
	struct slm_lexer lexer = begin("");
	struct sqloom_error err;

	(void)state;
	slm_lexer_fail(&lexer, SQLOOM_SPEC, 1, 1, &err, "a%sb", "\x1b\t\x7f");
	assert_string_equal(err.message, "a???b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_lexeme),
		cmocka_unit_test(a_quoted_keyword_is_a_name),
		cmocka_unit_test(numbers_end_where_digits_end),
		cmocka_unit_test(blocks_end_at_the_right_brace),
		cmocka_unit_test(a_block_knows_its_place),
		cmocka_unit_test(values_of_a_line),
		cmocka_unit_test(
			the_hint_about_a_cut_block_is_for_the_next_lexeme_only),
		cmocka_unit_test(messages_hold_no_control_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
