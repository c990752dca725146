/* SPDX-License-Identifier: Apache-2.0 */
/* What the text of a statement tells: words, ends, parameters, fingerprint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "sql/sql.h"

#define COUNT(list) (sizeof(list) / sizeof(*(list)))

static void first_word_is_found_behind_blanks_and_comments(void **state)
{
	(void)state;
	assert_true(slm_sql_starts_with("BEGIN", "begin"));
	assert_true(slm_sql_starts_with("  \n\tBeGiN IMMEDIATE", "begin"));
	assert_true(slm_sql_starts_with("-- why\nbegin", "begin"));
	assert_true(slm_sql_starts_with("/* a; b */;;begin;", "begin"));
	assert_false(slm_sql_starts_with("beginning", "begin"));
	assert_false(slm_sql_starts_with("begin_x", "begin"));
	assert_false(slm_sql_starts_with("\"begin\"", "begin"));
	assert_false(slm_sql_starts_with("'begin'", "begin"));
	assert_false(slm_sql_starts_with("be", "begin"));
	assert_false(slm_sql_starts_with("", "begin"));
	assert_false(slm_sql_starts_with("-- begin", "begin"));
}

static void second_word_is_in_lower_case_and_cut(void **state)
{
	char word[8];

	(void)state;
	slm_sql_second_word("PRAGMA Busy = 1", word, sizeof(word));
	assert_string_equal(word, "busy");
	slm_sql_second_word("begin /* now */ IMMEDIATE", word, sizeof(word));
	assert_string_equal(word, "immedia");
	slm_sql_second_word("begin;", word, sizeof(word));
	assert_string_equal(word, "");
	slm_sql_second_word("begin", word, sizeof(word));
	assert_string_equal(word, "");
	slm_sql_second_word("", word, sizeof(word));
	assert_string_equal(word, "");
}

static void a_statement_ends_at_its_own_semicolon(void **state)
{
	static const struct {
		const char *sql, *rest;
	} cases[] = {
		{ "SELECT 1; SELECT 2", " SELECT 2" },
		{ "SELECT ';'; b", " b" },
		{ "SELECT 'it''s;'; b", " b" },
		{ "SELECT \"a;\"\"b\"; b", " b" },
		{ "SELECT `a;`, [b;c]; b", " b" },
		{ "SELECT 1 -- ; no\n; b", " b" },
		{ "SELECT 1 /* ; */; b", " b" },
		{ "SELECT 1", "" },
		{ "SELECT 'open ;", "" },
		{ "SELECT /* open ;", "" },
		{ "SELECT [open ;", "" },
		{ ";", "" },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(slm_sql_skip_statement(cases[i].sql),
				    cases[i].rest);
}

static void blank_is_what_no_statement_needs(void **state)
{
	(void)state;
	assert_string_equal(slm_sql_skip_blank(" ; -- x\n /* y */ ;a"), "a");
	assert_string_equal(slm_sql_skip_blank(" ; -- x"), "");
	assert_string_equal(slm_sql_skip_blank("/* open"), "");
	assert_string_equal(slm_sql_skip_blank("-1"), "-1");
	assert_string_equal(slm_sql_skip_blank("/ 1"), "/ 1");
}

/* The names of all parameters, with a comma behind each. */
static const char *parameters(const char *sql)
{
	static char all[200];
	char name[9];

	all[0] = '\0';
	while ((sql = slm_sql_next_parameter(sql, name, sizeof(name)))) {
		strcat(all, name);
		strcat(all, ",");
	}
	return all;
}

static void parameters_are_found_where_sql_has_them(void **state)
{
	(void)state;
	assert_string_equal(parameters("a = :x AND b=@y OR c=$z"), "x,y,z,");
	assert_string_equal(parameters(":a:b"), "a,b,");
	assert_string_equal(parameters("(:a)"), "a,");
	assert_string_equal(parameters("? + ?"), ",,");
	assert_string_equal(parameters("':a' \":b\" `:c` [:d]"), "");
	assert_string_equal(parameters("1 -- :a\n+ :b /* :c */"), "b,");
	assert_string_equal(parameters("v::text, :v::text"), "v,");
	assert_string_equal(parameters(": a, :"), "");
	assert_string_equal(parameters("SELECT 'it''s :a', :b"), "b,");
	assert_string_equal(parameters("SELECT 1"), "");
}

static void a_long_parameter_is_cut(void **state)
{
	const char *sql = ":abcdefghijkl + 1";
	char name[9];

	(void)state;
	sql = slm_sql_next_parameter(sql, name, sizeof(name));
	assert_string_equal(name, "abcdefgh");
	assert_string_equal(sql, " + 1");
}

static void literals_blanks_case_and_comments_do_not_count(void **state)
{
	static const char *const same[] = {
		"SELECT v FROM t WHERE id = 1 AND n = 'x'",
		"select V from T where ID=23 and N='it''s'",
		"SELECT v\n\tFROM t -- why\nWHERE id = 0x1F AND n = 1.5",
		"/* a */ SELECT v FROM t WHERE id = .5 AND n = '' ",
		"SELECT v FROM t WHERE id = 'a' AND n = 7",
	};

	(void)state;
	for (size_t i = 1; i < COUNT(same); i++)
		assert_int_equal(slm_sql_fingerprint(same[0]),
				 slm_sql_fingerprint(same[i]));
}

static void an_exponent_is_a_part_of_its_literal(void **state)
{
	(void)state;
	assert_int_equal(slm_sql_fingerprint("SELECT 1e-5"),
			 slm_sql_fingerprint("SELECT 2"));
	assert_int_equal(slm_sql_fingerprint("SELECT 1.5E+10, 2"),
			 slm_sql_fingerprint("SELECT 2, 1e3"));
	assert_int_not_equal(slm_sql_fingerprint("SELECT 0x1e-5"),
			     slm_sql_fingerprint("SELECT 2"));
}

static void anything_else_counts(void **state)
{
	static const char *const different[] = {
		"SELECT v FROM t WHERE id = 1",
		"SELECT v FROM t WHERE id > 1",
		"SELECT v FROM t WHERE id = :x",
		"SELECT v FROM t WHERE id = :y",
		"SELECT v FROM t WHERE id = ?",
		"SELECT v FROM u WHERE id = 1",
		"SELECT v FROM t WHERE id = id",
		"SELECT \"v\" FROM t WHERE id = 1",
		"SELECT \"V\" FROM t WHERE id = 1",
		"SELECT v FROM t WHERE id = 1, 1",
		"SELECT v FROM t WHERE id = 1;",
		"SELECT FROM v t WHERE id = 1",
		"SELECT v, v FROM t WHERE id = 1",
		"",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(different); i++)
		for (size_t j = 0; j < i; j++)
			if (slm_sql_fingerprint(different[i]) ==
			    slm_sql_fingerprint(different[j]))
				fail_msg("%s = %s", different[i], different[j]);
}

/* Tokens are kept by people and in repositories: this must not change. */
static void fingerprints_are_the_same_on_every_machine(void **state)
{
	(void)state;
	assert_int_equal(slm_sql_fingerprint(""), 0);
	assert_int_equal(slm_sql_fingerprint("COMMIT"), 0x540c);
}

/* "table.column=parameter" of each value, or "" if it is no such INSERT. */
static const char *values_of(const char *sql)
{
	static char out[500];
	struct slm_sql_insert_value value;
	size_t used = 0;

	out[0] = '\0';
	for (unsigned n = 0; slm_sql_insert_value(sql, n, &value); n++)
		used += (size_t)snprintf(out + used, sizeof(out) - used,
					 "%s%s.%s=%s/%u", n ? " " : "",
					 value.table, value.column,
					 value.parameter, value.count);
	return out;
}

static void the_values_of_an_insert_are_told(void **state)
{
	(void)state;
	assert_string_equal(values_of("INSERT INTO t VALUES (:a, 1, @b )"),
			    "t.=a/3 t.=/3 t.=b/3");
	assert_string_equal(
		values_of(" -- x\ninsert or ignore into main.\"t\"\"x\" AS y"
			  " (c, [d e]) values ($a, f(:b, :c)) ON CONFLICT DO"
			  " NOTHING RETURNING id, c"),
		"t\"x.c=a/2 t\"x.d e=/2");
	assert_string_equal(values_of("REPLACE INTO t(c) VALUES(/**/ :a /**/)"),
			    "t.c=a/1");
	assert_string_equal(values_of("INSERT INTO t VALUES (:a + 1, (:b),"
				      " -:c, ':d', :e)"),
			    "t.=/5 t.=/5 t.=/5 t.=/5 t.=e/5");
}

static void other_statements_have_no_values(void **state)
{
	(void)state;
	assert_string_equal(values_of(""), "");
	assert_string_equal(values_of("SELECT :a"), "");
	assert_string_equal(values_of("INSERT INTO t VALUES (:a), (:b)"), "");
	assert_string_equal(values_of("INSERT INTO t SELECT :a"), "");
	assert_string_equal(values_of("INSERT INTO t DEFAULT VALUES"), "");
	assert_string_equal(values_of("INSERT INTO temp.t VALUES (:a)"), "");
	assert_string_equal(values_of("INSERT INTO t (a VALUES (:a)"), "");
	assert_string_equal(values_of("INSERT INTO t VALUES (:a"), "");
	assert_string_equal(values_of("INSERT INTO t VALUES ("), "");
	assert_string_equal(values_of("INSERT INTO \""), "");
	assert_string_equal(values_of("INSERT INTO ["), "");
}

/* ---- Values apart from the text --------------------------------------------- */

/* text NULL: nothing is lifted. */
static void literals(const char *sql, const char *text, const char *values)
{
	struct slm_buf out, list;

	slm_buf_init(&out);
	slm_buf_init(&list);
	assert_int_equal(slm_sql_lift_literals(sql, &out, &list), text != NULL);
	if (text) {
		assert_string_equal(out.data, text);
		assert_string_equal(list.data, values);
	}
	slm_buf_deinit(&out);
	slm_buf_deinit(&list);
}

static void bound(const char *sql, const char *expanded, const char *text,
		  const char *values)
{
	struct slm_buf out, list;

	slm_buf_init(&out);
	slm_buf_init(&list);
	/* Without the text, the values are the same. */
	assert_int_equal(slm_sql_lift_bound(sql, expanded, NULL, &list),
			 text != NULL);
	if (text)
		assert_string_equal(list.data, values);
	assert_int_equal(slm_sql_lift_bound(sql, expanded, &out, &list),
			 text != NULL);
	if (text) {
		assert_string_equal(out.data, text);
		assert_string_equal(list.data, values);
	}
	slm_buf_deinit(&out);
	slm_buf_deinit(&list);
}

static void literals_are_lifted(void **state)
{
	(void)state;
	literals("SELECT bal FROM acct WHERE id = 1",
		 "SELECT bal FROM acct WHERE id = $1", "$1 = 1");
	literals(
		"INSERT INTO t VALUES (1, 'it''s', -2.5e-3, x'00ff', NULL, .5)",
		"INSERT INTO t VALUES ($1, $2, -$3, $4, NULL, $5)",
		"$1 = 1, $2 = 'it''s', $3 = 2.5e-3, $4 = x'00ff', $5 = .5");
	literals("SELECT \"5\", [6], `7`, a8 FROM t9 -- 10\n"
		 "WHERE a=11 /* 12 */ AND max'13'",
		 "SELECT \"5\", [6], `7`, a8 FROM t9 -- 10\n"
		 "WHERE a=$1 /* 12 */ AND max$2",
		 "$1 = 11, $2 = '13'");
	literals("WITH x AS (SELECT 1) SELECT 'open",
		 "WITH x AS (SELECT $1) SELECT $2", "$1 = 1, $2 = 'open");
}

static void statements_whose_literals_are_no_values(void **state)
{
	(void)state;
	literals("PRAGMA cache_size = 5", NULL, NULL);
	literals("CREATE TABLE t (a DEFAULT 5)", NULL, NULL);
	literals("EXPLAIN SELECT 1", NULL, NULL);
	literals("ATTACH 'x.db' AS x", NULL, NULL);
	literals("SELECT a FROM t", NULL, NULL);
	literals("", NULL, NULL);
}

static void bound_values_are_lifted(void **state)
{
	(void)state;
	bound("UPDATE t SET a = ? WHERE id = 1",
	      "UPDATE t SET a = -5 WHERE id = 1",
	      "UPDATE t SET a = $1 WHERE id = 1", "$1 = -5");
	bound("SELECT ?2, :two, @three, $four, ?",
	      "SELECT 'a?b:c''', NULL, x'00', -1.5e-10, zeroblob(7)",
	      "SELECT $1, $2, $3, $4, $5",
	      "$1 = 'a?b:c''', $2 = NULL, $3 = x'00', $4 = -1.5e-10, "
	      "$5 = zeroblob(7)");
	bound("SELECT '?', ? /* ? */ -- ?\n, ?",
	      "SELECT '?', 'two\nlines' /* ? */ -- ?\n, 2",
	      "SELECT '?', $1 /* ? */ -- ?\n, $2", "$1 = 'two\nlines', $2 = 2");
	bound("SELECT ?-?", "SELECT 5--6", "SELECT $1-$2", "$1 = 5, $2 = -6");
}

static void texts_that_do_not_fit_are_not_lifted(void **state)
{
	(void)state;
	bound("SELECT 1", "SELECT 1", NULL, NULL);
	bound("SELECT ?", "SELEKT 5", NULL, NULL);
	bound("SELECT ? FROM t", "SELECT 5 FROM u", NULL, NULL);
	bound("SELECT ?, ?", "SELECT 5", NULL, NULL);
	bound("SELECT ?", "", NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			first_word_is_found_behind_blanks_and_comments),
		cmocka_unit_test(second_word_is_in_lower_case_and_cut),
		cmocka_unit_test(a_statement_ends_at_its_own_semicolon),
		cmocka_unit_test(blank_is_what_no_statement_needs),
		cmocka_unit_test(parameters_are_found_where_sql_has_them),
		cmocka_unit_test(a_long_parameter_is_cut),
		cmocka_unit_test(
			literals_blanks_case_and_comments_do_not_count),
		cmocka_unit_test(an_exponent_is_a_part_of_its_literal),
		cmocka_unit_test(anything_else_counts),
		cmocka_unit_test(fingerprints_are_the_same_on_every_machine),
		cmocka_unit_test(the_values_of_an_insert_are_told),
		cmocka_unit_test(other_statements_have_no_values),
		cmocka_unit_test(literals_are_lifted),
		cmocka_unit_test(statements_whose_literals_are_no_values),
		cmocka_unit_test(bound_values_are_lifted),
		cmocka_unit_test(texts_that_do_not_fit_are_not_lifted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
