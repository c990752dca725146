/* SPDX-License-Identifier: Apache-2.0 */
/* What is read off SQL text, and where it says that it does not know. */
#include "builder.h"
#include "oracle/statement.h"

static void kinds(void **state)
{
	static const struct {
		const char *sql;
		enum slm_statement kind;
	} cases[] = {
		{ "", SLM_STATEMENT_NONE },
		{ " ;; -- only a comment", SLM_STATEMENT_NONE },
		{ "/* begin */ sElect 1;", SLM_STATEMENT_SELECT },
		{ "INSERT INTO t VALUES ('a;b')", SLM_STATEMENT_INSERT },
		{ "INSERT OR REPLACE INTO t VALUES (1)", SLM_STATEMENT_OTHER },
		{ "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
		  SLM_STATEMENT_OTHER },
		{ "UPDATE t SET v = 1;", SLM_STATEMENT_UPDATE },
		{ "DELETE FROM t", SLM_STATEMENT_DELETE },
		{ "BEGIN", SLM_STATEMENT_BEGIN },
		{ "START TRANSACTION", SLM_STATEMENT_BEGIN },
		{ "begin immediate", SLM_STATEMENT_BEGIN_IMMEDIATE },
		{ "BEGIN EXCLUSIVE TRANSACTION",
		  SLM_STATEMENT_BEGIN_IMMEDIATE },
		{ "END", SLM_STATEMENT_COMMIT },
		{ "ROLLBACK", SLM_STATEMENT_ROLLBACK },
		{ "ROLLBACK TO x", SLM_STATEMENT_SAVEPOINT },
		{ "BEGIN; SELECT 1", SLM_STATEMENT_OTHER },
		{ "WITH x AS (SELECT 1) UPDATE t SET v = 1",
		  SLM_STATEMENT_OTHER },
		{ "CREATE TRIGGER x AFTER UPDATE ON t BEGIN SELECT 1; END",
		  SLM_STATEMENT_OTHER },
		{ "SELECT 'never ended", SLM_STATEMENT_SELECT },
		{ "SELECT /* never ended", SLM_STATEMENT_SELECT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(slm_statement_single(cases[i].sql),
				 cases[i].kind);
	assert_true(slm_statement_is_control("BEGIN; COMMIT;"));
	assert_false(slm_statement_is_control("BEGIN; SELECT 1"));
	assert_false(slm_statement_is_control(""));
}

static void relations(void **state)
{
	static const struct {
		const char *a, *b, *key;
		enum slm_relation relation;
	} cases[] = {
		{ "UPDATE t SET v=1", "UPDATE t SET v=2", NULL, SLM_ROWS_SAME },
		{ "UPDATE t SET v=1", "UPDATE t SET v=2 WHERE id=1", "id",
		  SLM_ROWS_UNKNOWN },
		{ "UPDATE t SET v=1 WHERE id=1",
		  "update T set v=2 where ID = 1;", NULL, SLM_ROWS_SAME },
		{ "UPDATE t SET v=1 WHERE id=1", "UPDATE t SET v=1 WHERE id=2",
		  NULL, SLM_ROWS_DISJOINT },
		{ "UPDATE t SET v=1 WHERE n='a' AND v>0",
		  "UPDATE t SET v=1 WHERE n='b'", NULL, SLM_ROWS_DISJOINT },
		{ "UPDATE t SET v=1 WHERE id=1 AND v>2",
		  "UPDATE t SET v=1 WHERE id=1 AND v>3", "id", SLM_ROWS_SAME },
		{ "UPDATE t SET v=1 WHERE id=1 AND v>2",
		  "UPDATE t SET v=1 WHERE id=1 AND v>3", NULL,
		  SLM_ROWS_UNKNOWN },
		{ "UPDATE t SET v=1 WHERE id=1 OR id=2",
		  "UPDATE t SET v=1 WHERE id=2", "id", SLM_ROWS_UNKNOWN },
		{ "UPDATE t SET v=1 WHERE id=?", "UPDATE t SET v=1 WHERE id=?",
		  "id", SLM_ROWS_UNKNOWN },
		{ "SELECT (SELECT v FROM u WHERE id=1) FROM t",
		  "UPDATE t SET v=1 WHERE id=1", "id", SLM_ROWS_UNKNOWN },
		{ "SELECT v FROM t WHERE id=1 ORDER BY v",
		  "UPDATE t SET v=1 WHERE id=1 RETURNING v", "id",
		  SLM_ROWS_SAME },
		/* As libraries write it */
		{ "SELECT v FROM \"t\" WHERE \"t\".\"id\" = 1 LIMIT 21",
		  "UPDATE \"t\" SET \"v\" = 2 WHERE \"t\".\"id\" = 1", "id",
		  SLM_ROWS_SAME },
		{ "SELECT v FROM t WHERE (t.id = 1)",
		  "UPDATE t SET v=2 WHERE id = 2", "id", SLM_ROWS_DISJOINT },
		{ "SELECT v FROM t WHERE public.t.id = 1::bigint FOR UPDATE",
		  "UPDATE t SET v=2 WHERE t.id = 1", "id", SLM_ROWS_SAME },
		{ "SELECT v FROM t JOIN u ON true WHERE u.id = 2",
		  "UPDATE t SET v=2 WHERE t.id = 2", "id", SLM_ROWS_UNKNOWN },
		{ "UPDATE t SET v=1 WHERE (id = 1 OR id = 2)",
		  "UPDATE t SET v=1 WHERE id = 2", "id", SLM_ROWS_UNKNOWN },
		{ "UPDATE t SET v=1 WHERE id = 1 + 1",
		  "UPDATE t SET v=1 WHERE id = 2", "id", SLM_ROWS_UNKNOWN },
		{ "UPDATE t SET v=1 WHERE id BETWEEN 1 AND id = 2",
		  "UPDATE t SET v=1 WHERE id=1", "id", SLM_ROWS_UNKNOWN },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(slm_statement_relate(cases[i].a, cases[i].b,
						      cases[i].key),
				 cases[i].relation);
		assert_int_equal(slm_statement_relate(cases[i].b, cases[i].a,
						      cases[i].key),
				 cases[i].relation);
	}
}

static void assignments(void **state)
{
	static const struct {
		const char *sql;
		enum slm_assigns assigns;
	} cases[] = {
		{ "UPDATE t SET v = 1 WHERE id = 1", SLM_ASSIGNS_VALUES },
		{ "UPDATE t SET v = v + 1", SLM_ASSIGNS_CHANGES },
		{ "UPDATE t SET v = max(0, v - 1), w = w * 2 WHERE v > 0",
		  SLM_ASSIGNS_CHANGES },
		{ "UPDATE t SET v = 5, w = w + 1", SLM_ASSIGNS_UNKNOWN },
		{ "UPDATE t SET v = (SELECT v + 1 FROM mine)",
		  SLM_ASSIGNS_VALUES },
		{ "UPDATE t SET v = (SELECT max(v) FROM t) + 1",
		  SLM_ASSIGNS_CHANGES },
		{ "UPDATE t SET v = \"V\" + 1", SLM_ASSIGNS_CHANGES },
		{ "UPDATE t SET v = 'v'", SLM_ASSIGNS_VALUES },
		{ "UPDATE t SET (v, w) = (1, 2)", SLM_ASSIGNS_UNKNOWN },
		{ "UPDATE t SET v = u.v FROM u", SLM_ASSIGNS_UNKNOWN },
		{ "INSERT INTO t VALUES (1)", SLM_ASSIGNS_UNKNOWN },
		{ "UPDATE t", SLM_ASSIGNS_UNKNOWN },
		{ "UPDATE t SET", SLM_ASSIGNS_UNKNOWN },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(slm_statement_assigns(cases[i].sql, "t"),
				 cases[i].assigns);
}

static void sameness(void **state)
{
	(void)state;
	assert_true(slm_statement_same("SELECT  a FROM t", "select A from T"));
	assert_false(slm_statement_same("SELECT 'a'", "SELECT 'A'"));
	assert_false(slm_statement_same("SELECT 1", "SELECT 1 FROM t"));
}

static void orders(void **state)
{
	static const struct {
		const char *sql;
		uint64_t ordered;
	} cases[] = {
		{ "SELECT v FROM t ORDER BY v", 1 },
		{ "SELECT v FROM t order/**/by v;", 1 },
		{ "SELECT 'ORDER BY' FROM t -- ORDER BY v", 0 },
		{ "SELECT v FROM (SELECT v FROM t ORDER BY v)", 0 },
		{ "SELECT rank() OVER (ORDER BY v) FROM t", 0 },
		{ "WITH a AS (SELECT 1) SELECT * FROM a ORDER BY 1", 1 },
		{ "BEGIN; SELECT 1;; SELECT v FROM t ORDER BY v; COMMIT", 4 },
		{ "INSERT INTO t SELECT v FROM t ORDER BY v RETURNING v", 0 },
		{ "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(slm_statement_ordered(cases[i].sql),
				 cases[i].ordered);
}

static void changes_among_several(void **state)
{
	const char *both = "BEGIN; UPDATE t SET v = 1 WHERE id = 1; "
			   "UPDATE t SET v = 2 WHERE id = 2; COMMIT";

	(void)state;
	assert_true(slm_statement_changes_rows(
		both, "SELECT v FROM t WHERE id = 2", "t", "id"));
	assert_false(slm_statement_changes_rows(
		both, "SELECT v FROM t WHERE id = 3", "t", "id"));
	assert_false(slm_statement_changes_rows(
		both, "SELECT v FROM t WHERE id = 2", "u", "id"));
	assert_false(slm_statement_changes_rows(
		"UPDATE t SET v = 1; DELETE FROM u WHERE id = 2",
		"SELECT v FROM t WHERE id = 2", "t", "id"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds),
		cmocka_unit_test(relations),
		cmocka_unit_test(assignments),
		cmocka_unit_test(sameness),
		cmocka_unit_test(orders),
		cmocka_unit_test(changes_among_several),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
