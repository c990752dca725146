/* SPDX-License-Identifier: Apache-2.0 */
/* Which relations and functions a statement for PostgreSQL names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sql/pg_statement.h"

#define COUNT(list) (sizeof(list) / sizeof(*(list)))

static struct slm_arena arena;

static int set_up(void **state)
{
	(void)state;
	slm_arena_init(&arena);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	slm_arena_deinit(&arena);
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Sorts lines, puts them into one. */
static void join(char (*lines)[80], size_t n, char *text)
{
	qsort(lines, n, sizeof(*lines), compare);
	*text = '\0';
	for (size_t i = 0; i < n; i++) {
		if (i)
			strcat(text, ", ");
		strcat(text, lines[i]);
	}
}

/* "a:r, s.b:wL": Read, Write, Lock, Truncate, tEmporary */
static void show_relations(const struct slm_pg_statement *it, char *text)
{
	char lines[20][80];

	assert_true(it->nrelations <= COUNT(lines));
	for (size_t i = 0; i < it->nrelations; i++) {
		const struct slm_pg_relation *relation = &it->relations[i];

		snprintf(lines[i], sizeof(lines[i]), "%s%s%s:%s%s%s%s%s",
			 relation->schema ? relation->schema : "",
			 relation->schema ? "." : "", relation->name,
			 relation->read ? "r" : "", relation->write ? "w" : "",
			 relation->lock ? "L" : "",
			 relation->truncate ? "T" : "",
			 relation->temp ? "t" : "");
	}
	join(lines, it->nrelations, text);
}

/* "f, pg_catalog.g!, h+": with Effects!, harmless+ */
static void show_functions(const struct slm_pg_statement *it, char *text)
{
	char lines[20][80];

	assert_true(it->nfunctions <= COUNT(lines));
	for (size_t i = 0; i < it->nfunctions; i++) {
		const struct slm_pg_function *function = &it->functions[i];

		snprintf(lines[i], sizeof(lines[i]), "%s%s%s%s%s",
			 function->schema ? function->schema : "",
			 function->schema ? "." : "", function->name,
			 function->effects ? "!" : "",
			 function->harmless ? "+" : "");
	}
	join(lines, it->nfunctions, text);
}

struct expected {
	const char *sql, *names;
};

static void check(const struct expected *cases, size_t n,
		  void (*show)(const struct slm_pg_statement *it, char *text))
{
	for (size_t i = 0; i < n; i++) {
		struct slm_pg_step step;
		char text[2000];

		assert_int_equal(slm_pg_step_read(cases[i].sql, &arena, &step,
						  NULL),
				 SQLOOM_OK);
		if (!step.parsed)
			fail_msg("%s\n %s", cases[i].sql, step.message);
		assert_int_equal(step.nstatements, 1);
		show(&step.statements[0], text);
		if (strcmp(text, cases[i].names) != 0)
			fail_msg("%s\n is       %s\n expected %s", cases[i].sql,
				 text, cases[i].names);
	}
}

static void relations_of_queries_and_writes(void **state)
{
	static const struct expected cases[] = {
		{ "SELECT 1", "" },
		{ "SELECT * FROM a", "a:r" },
		{ "SELECT * FROM a, s.b AS x JOIN ONLY c ON true, a y",
		  "a:r, c:r, s.b:r" },
		{ "SELECT * FROM A, \"A\", \"S\".\"t.u\"",
		  "A:r, S.t.u:r, a:r" },
		{ "SELECT (SELECT 1 FROM a) FROM b WHERE x IN (SELECT 1 FROM c)"
		  " ORDER BY (SELECT 1 FROM d) LIMIT (SELECT 1 FROM e)",
		  "a:r, b:r, c:r, d:r, e:r" },
		{ "SELECT 1 FROM a UNION (SELECT 1 FROM b EXCEPT TABLE c)",
		  "a:r, b:r, c:r" },
		{ "SELECT * FROM a TABLESAMPLE system (1)", "a:r" },
		{ "SELECT * FROM LATERAL (SELECT * FROM a) x", "a:r" },
		{ "VALUES ((SELECT 1 FROM a))", "a:r" },
		{ "INSERT INTO a VALUES (1)", "a:w" },
		{ "INSERT INTO a SELECT * FROM b", "a:w, b:r" },
		{ "INSERT INTO a SELECT * FROM a", "a:rw" },
		{ "INSERT INTO a VALUES (1) ON CONFLICT DO NOTHING", "a:rw" },
		{ "UPDATE s.a x SET b = (SELECT 1 FROM c) FROM d "
		  "WHERE EXISTS (TABLE e)",
		  "c:r, d:r, e:r, s.a:rw" },
		{ "DELETE FROM a USING b WHERE true", "a:rw, b:r" },
		{ "MERGE INTO a USING b ON true WHEN MATCHED THEN UPDATE "
		  "SET x = (SELECT 1 FROM c)",
		  "a:rw, b:r, c:r" },
		{ "EXPLAIN UPDATE a SET x = 1 FROM b", "a:rw, b:r" },
		{ "PREPARE p AS INSERT INTO a TABLE b", "a:w, b:r" },
		{ "DECLARE c CURSOR FOR SELECT * FROM a", "a:r" },
		{ "COPY a FROM STDIN", "a:w" },
		{ "COPY a TO STDOUT", "a:r" },
		{ "COPY (SELECT * FROM a) TO STDOUT", "a:r" },
		{ "TRUNCATE a, s.b", "a:wT, s.b:wT" },
		{ "LOCK a, s.b IN SHARE MODE", "a:L, s.b:L" },
		{ "VACUUM a, b", "a:L, b:L" },
	};

	(void)state;
	check(cases, COUNT(cases), show_relations);
}

static void names_of_with_queries_are_no_relations(void **state)
{
	static const struct expected cases[] = {
		{ "WITH a AS (SELECT * FROM b) SELECT * FROM a", "b:r" },
		/* another schema's table is not meant */
		{ "WITH a AS (SELECT 1) SELECT * FROM a, s.a", "s.a:r" },
		/* not yet visible, not even to itself */
		{ "WITH a AS (SELECT * FROM a) SELECT * FROM a", "a:r" },
		{ "WITH a AS (SELECT * FROM b), b AS (SELECT * FROM a) "
		  "SELECT * FROM a, b",
		  "b:r" },
		{ "WITH RECURSIVE a AS (SELECT 1 UNION SELECT * FROM a) "
		  "SELECT * FROM a",
		  "" },
		{ "WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT 1) "
		  "SELECT * FROM a",
		  "" },
		/* the end of a scope */
		{ "WITH a AS (WITH c AS (SELECT 1) SELECT * FROM c) "
		  "SELECT * FROM a, c",
		  "c:r" },
		{ "SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) x, a",
		  "a:r" },
		{ "WITH a AS (SELECT 1) SELECT (SELECT 1 FROM a) FROM "
		  "(SELECT * FROM a) x UNION SELECT * FROM a",
		  "" },
		/* never the target of a write */
		{ "WITH a AS (SELECT 1) INSERT INTO a SELECT * FROM a", "a:w" },
		{ "WITH a AS (SELECT 1) UPDATE a SET x = 1", "a:rw" },
		{ "WITH a AS (SELECT 1) DELETE FROM b USING a WHERE true",
		  "b:rw" },
		{ "WITH a AS (SELECT 1) MERGE INTO b USING a ON true "
		  "WHEN MATCHED THEN DELETE",
		  "b:rw" },
		{ "INSERT INTO b WITH a AS (SELECT 1) SELECT * FROM a", "b:w" },
		/* writes inside */
		{ "WITH a AS (DELETE FROM b RETURNING *) SELECT * FROM a",
		  "b:rw" },
		{ "WITH a AS (INSERT INTO b SELECT 1 RETURNING *), "
		  "c AS (UPDATE d SET x = 1 FROM a RETURNING 1) "
		  "DELETE FROM e WHERE x IN (SELECT 1 FROM c)",
		  "b:w, d:rw, e:rw" },
	};

	(void)state;
	check(cases, COUNT(cases), show_relations);
}

static void locked_are_those_that_the_clause_names(void **state)
{
	static const struct expected cases[] = {
		{ "SELECT * FROM a, b JOIN c ON true FOR UPDATE",
		  "a:rL, b:rL, c:rL" },
		{ "SELECT * FROM a, b JOIN c ON true FOR SHARE OF b",
		  "a:r, b:rL, c:r" },
		{ "SELECT * FROM a, s.b x FOR SHARE OF x FOR UPDATE OF a",
		  "a:rL, s.b:rL" },
		{ "SELECT * FROM s.a, b FOR UPDATE OF a", "b:r, s.a:rL" },
		/* subqueries in FROM, but in no other place */
		{ "SELECT * FROM a, (SELECT * FROM b, (TABLE c) x) y "
		  "WHERE EXISTS (TABLE d) FOR UPDATE",
		  "a:rL, b:rL, c:rL, d:r" },
		{ "SELECT * FROM a, (SELECT * FROM b) x FOR UPDATE OF x",
		  "a:r, b:rL" },
		{ "SELECT * FROM a WHERE EXISTS (SELECT 1 FROM b FOR UPDATE)",
		  "a:r, b:rL" },
		/* not into WITH */
		{ "WITH x AS (TABLE a) SELECT * FROM x, b FOR UPDATE",
		  "a:r, b:rL" },
		{ "WITH x AS (SELECT * FROM a FOR UPDATE) SELECT * FROM x, b",
		  "a:rL, b:r" },
		{ "SELECT * FROM a TABLESAMPLE system (1) FOR UPDATE", "a:rL" },
	};

	(void)state;
	check(cases, COUNT(cases), show_relations);
}

static void relations_of_definitions(void **state)
{
	static const struct expected cases[] = {
		{ "CREATE TABLE a (x int REFERENCES b)", "a:w, b:w" },
		{ "CREATE TABLE a AS SELECT * FROM b", "a:w, b:r" },
		{ "SELECT * INTO a FROM b", "a:w, b:r" },
		{ "CREATE VIEW a AS SELECT * FROM b", "a:w, b:r" },
		{ "CREATE TEMP TABLE a (LIKE b)", "a:rwt, b:r" },
		{ "CREATE TEMP TABLE a AS TABLE b", "a:wt, b:r" },
		{ "CREATE TABLE pg_temp.a (x int)", "pg_temp.a:rwt" },
		{ "CREATE INDEX ON s.a (x)", "s.a:w" },
		{ "ALTER TABLE a ADD y int", "a:w" },
		{ "DROP TABLE a, s.b, d.s.c", "a:w, s.b:w, s.c:w" },
		{ "DROP INDEX i", "" },
		{ "REFRESH MATERIALIZED VIEW a", "a:w" },
		{ "GRANT SELECT ON a TO x", "a:w" },
	};

	(void)state;
	check(cases, COUNT(cases), show_relations);
}

static void functions_are_named(void **state)
{
	static const struct expected cases[] = {
		{ "SELECT 1 + 1, coalesce(a, 2), current_date FROM t", "" },
		{ "SELECT Mine(1), \"Mine\"(2), s.mine(3), mine(4)",
		  "Mine, mine, s.mine" },
		{ "SELECT count(*), pg_catalog.now(), public.now()",
		  "count+, pg_catalog.now+, public.now" },
		{ "SELECT extract(year FROM x), trim(x) FROM t",
		  "pg_catalog.btrim+, pg_catalog.extract+" },
		{ "SELECT * FROM f(1), ROWS FROM (g(h(2)), i(3)) x",
		  "f, g, h, i" },
		{ "SELECT sum(f(a)) FILTER (WHERE g(b)) OVER "
		  "(PARTITION BY h(c)) FROM t",
		  "f, g, h, sum+" },
		{ "WITH a AS (INSERT INTO t VALUES (f(1)) RETURNING g(x)) "
		  "SELECT 1 FROM a WHERE h(1) GROUP BY i(1) HAVING j(1) "
		  "ORDER BY k(1) LIMIT l(1)",
		  "f, g, h, i, j, k, l" },
		{ "UPDATE t SET a = nextval('s'), b = public.nextval('s')",
		  "nextval!, public.nextval!" },
		{ "CALL s.p(f(1))", "f, s.p" },
		{ "SELECT lo_create(0), pg_advisory_lock(1), dblink('')",
		  "dblink!, lo_create!, pg_advisory_lock!" },
		{ "EXECUTE p(f(1))", "f" },
	};

	(void)state;
	check(cases, COUNT(cases), show_functions);
}

static void lists_grow(void **state)
{
	struct slm_pg_step step;
	struct slm_buf sql;

	(void)state;
	slm_buf_init(&sql);
	slm_buf_puts(&sql, "SELECT f0()");
	for (int i = 1; i < 100; i++)
		slm_buf_printf(&sql, ", f%d()", i);
	slm_buf_puts(&sql, " FROM t0");
	for (int i = 1; i < 100; i++)
		slm_buf_printf(&sql, ", t%d", i);
	assert_false(slm_buf_failed(&sql));
	assert_int_equal(slm_pg_step_read(sql.data, &arena, &step, NULL),
			 SQLOOM_OK);
	assert_int_equal(step.statements[0].nrelations, 100);
	assert_int_equal(step.statements[0].nfunctions, 100);
	assert_string_equal(step.statements[0].relations[57].name, "t57");
	assert_string_equal(step.statements[0].functions[99].name, "f99");
	slm_buf_deinit(&sql);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(relations_of_queries_and_writes),
		cmocka_unit_test(names_of_with_queries_are_no_relations),
		cmocka_unit_test(locked_are_those_that_the_clause_names),
		cmocka_unit_test(relations_of_definitions),
		cmocka_unit_test(functions_are_named),
		cmocka_unit_test(lists_grow),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
