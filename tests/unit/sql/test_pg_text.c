/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL's lexical rules: parameters in a text, values as literals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "sql/pg_statement.h"

#define COUNT(list) (sizeof(list) / sizeof(*(list)))

static void parameters_are_found_where_nothing_is_quoted(void **state)
{
	static const struct {
		const char *sql, *names;
	} cases[] = {
		{ "", "" },
		{ "SELECT :a, :b_2+:C", "a b_2 C" },
		{ "SELECT x::int, :a::text, y:=1, : z", "a" },
		{ "SELECT ':a', \":b\", 'it'':c', :d", "d" },
		{ "SELECT E'\\':a', e'\\\\', :b, 'c\\', :d", "b d" },
		{ "SELECT fe'x', :a", "a" },
		{ "SELECT $$ :a ' $$, :b, $t$ $$ :c $t$, :d", "b d" },
		{ "SELECT a$$b, :c, $1, :d, $x", "c d" },
		{ "SELECT :a -- :b '\n, :c /* :d /* :e */ :f */, :g", "a c g" },
		{ "SELECT ARRAY[:a, :b], x[:c]", "a b c" },
		{ "SELECT a ? 'b', @c, @ :d, $e", "d" },
		{ "SELECT :\xc3\xa9t\xc3\xa9", "\xc3\xa9t\xc3\xa9" },
		{ "SELECT :1, :", "" },
		{ "SELECT 'open :a", "" },
		{ "SELECT /* open :a", "" },
		{ "SELECT $$ open :a", "" },
		{ "SELECT E'open\\", "" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *sql = cases[i].sql;
		char name[20], names[100] = "";

		while ((sql = slm_pg_next_parameter(sql, name, sizeof(name)))) {
			if (*names)
				strcat(names, " ");
			strcat(names, name);
			assert_true(strlen(sql) < strlen(cases[i].sql));
		}
		if (strcmp(names, cases[i].names) != 0)
			fail_msg("%s\n %s", cases[i].sql, names);
	}
}

static void the_place_is_behind_and_a_long_name_is_cut(void **state)
{
	char name[4];

	(void)state;
	assert_string_equal(slm_pg_next_parameter("a :letter; b", name,
						  sizeof(name)),
			    "; b");
	assert_string_equal(name, "let");
}

static void literals_stand_where_an_expression_can(void **state)
{
	static const struct {
		const char *value, *type;
		bool numeric;
		const char *text;
	} cases[] = {
		{ NULL, NULL, false, "NULL" },
		{ NULL, "date", true, "NULL::date" },
		{ "", NULL, false, "''" },
		{ "it's", NULL, false, "'it''s'" },
		{ "back\\slash", NULL, false, "'back\\slash'" },
		{ "2026-01-31", "date", false, "'2026-01-31'::date" },
		{ "42", NULL, false, "'42'" },
		{ "42", NULL, true, "42" },
		{ "42", "bigint", true, "42::bigint" },
		{ "-42", NULL, true, "(-42)" },
		{ "-42", "int", true, "(-42)::int" },
		{ "+1", NULL, true, "(+1)" },
		{ "1.50", NULL, true, "1.50" },
		{ ".5", NULL, true, ".5" },
		{ "5.", NULL, true, "5." },
		{ "1e10", NULL, true, "1e10" },
		{ "-1.5E-3", NULL, true, "(-1.5E-3)" },
		/* no numbers, whatever the column says */
		{ "", NULL, true, "''" },
		{ "-", NULL, true, "'-'" },
		{ ".", NULL, true, "'.'" },
		{ "1e", NULL, true, "'1e'" },
		{ "0x1F", NULL, true, "'0x1F'" },
		{ "1_000", NULL, true, "'1_000'" },
		{ " 1", NULL, true, "' 1'" },
		{ "NaN", NULL, true, "'NaN'" },
		{ "Infinity", "float8", true, "'Infinity'::float8" },
		{ "1; DROP TABLE t", NULL, true, "'1; DROP TABLE t'" },
	};
	struct slm_buf buf;

	(void)state;
	slm_buf_init(&buf);
	for (size_t i = 0; i < COUNT(cases); i++) {
		slm_buf_clear(&buf);
		assert_true(slm_pg_literal(cases[i].value, cases[i].type,
					   cases[i].numeric, &buf));
		assert_string_equal(buf.data, cases[i].text);
	}
	slm_buf_deinit(&buf);
	slm_alloc_fail_from(1);
	assert_false(slm_pg_literal("a", NULL, false, &buf));
	slm_alloc_fail_from(0);
	slm_buf_deinit(&buf);
}

static void lift(const char *sql, const char *text, const char *values)
{
	struct slm_buf out, params;
	bool any;

	slm_buf_init(&out);
	slm_buf_init(&params);
	any = slm_pg_lift_literals(sql, &out, &params);
	assert_int_equal(any, text != NULL);
	if (text) {
		slm_buf_putc(&out, '\0');
		slm_buf_putc(&params, '\0');
		assert_string_equal(out.data, text);
		assert_string_equal(params.data, values);
	}
	slm_buf_deinit(&out);
	slm_buf_deinit(&params);
}

static void literals_are_lifted(void **state)
{
	(void)state;
	lift("UPDATE t SET v = 5 WHERE id = -1.5e3",
	     "UPDATE t SET v = $1 WHERE "
	     "id = -$2",
	     "$1 = 5, $2 = 1.5e3");
	lift("SELECT 'it''s', E'a\\'b', .5", "SELECT $1, $2, $3",
	     "$1 = 'it''s', $2 = E'a\\'b', $3 = .5");
	/* Names, comments and what is in dollars stay. */
	lift("SELECT t1.\"5\" /* 7 */, $$8$$, x9 FROM t1 -- 3\n LIMIT 2",
	     "SELECT t1.\"5\" /* 7 */, $$8$$, x9 FROM t1 -- 3\n LIMIT $1",
	     "$1 = 2");
	lift("SELECT now()", NULL, NULL);
	lift("SELECT 5 WHERE $1", NULL, NULL);
	lift("", NULL, NULL);
	lift("SELECT 'open", "SELECT $1", "$1 = 'open");
}

static void long_literals_are_told_by_their_beginning(void **state)
{
	char sql[400], params[200];

	(void)state;
	snprintf(sql, sizeof(sql), "SELECT '%0300d'", 0);
	snprintf(params, sizeof(params), "$1 = '%099d...", 0);
	lift(sql, "SELECT $1", params);
}

static void tags(const char *sql, const char *text)
{
	struct slm_buf out;

	slm_buf_init(&out);
	assert_int_equal(slm_pg_lift_tags(sql, &out), text != NULL);
	if (text) {
		slm_buf_putc(&out, '\0');
		assert_string_equal(out.data, text);
	}
	slm_buf_deinit(&out);
}

static void tags_of_quotes_are_lifted(void **state)
{
	(void)state;
	tags("CREATE FUNCTION pg_temp.f() AS $f_5$ a $$b$$ $f_5$ LANGUAGE sql",
	     "CREATE FUNCTION pg_temp.f() AS $$ a $$b$$ $$ LANGUAGE sql");
	tags("SELECT $a$$a$, $b$x$b$", "SELECT $$$$, $$x$$");
	tags("SELECT $$x$$, '$a$y$a$', $1, \"$b$\" -- $c$z$c$", NULL);
	tags("SELECT $a$ open", NULL);
	tags("$", NULL);
	tags("", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parameters_are_found_where_nothing_is_quoted),
		cmocka_unit_test(the_place_is_behind_and_a_long_name_is_cut),
		cmocka_unit_test(literals_stand_where_an_expression_can),
		cmocka_unit_test(literals_are_lifted),
		cmocka_unit_test(tags_of_quotes_are_lifted),
		cmocka_unit_test(long_literals_are_told_by_their_beginning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
