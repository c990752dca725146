/* SPDX-License-Identifier: Apache-2.0 */
/* What a step for PostgreSQL is: kinds, places, and what a scheduler asks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
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

static struct slm_pg_step read_step(const char *sql)
{
	struct slm_pg_step step;
	struct sqloom_error err;

	assert_int_equal(slm_pg_step_read(sql, &arena, &step, &err), SQLOOM_OK);
	return step;
}

static void say(char *text, const char *word)
{
	if (*text)
		strcat(text, " ");
	strcat(text, word);
}

/* The properties of a step that are true, in words. */
static void show(const struct slm_pg_step *step, char *text)
{
	const struct {
		bool is;
		const char *word;
	} all[] = {
		{ !step->parsed, "unparsed" },
		{ step->wrappable, "wrap" },
		{ step->control, "control" },
		{ step->begins_only, "begins" },
		{ step->commits, "commits" },
		{ step->ends, "ends" },
		{ step->pure, "pure" },
		{ step->touches_nothing, "nothing" },
		{ step->takes_snapshot, "snapshot" },
		{ step->session_state, "state" },
		{ step->ddl, "ddl" },
		{ step->cluster_wide, "cluster" },
		{ step->unknown_writes, "writes?" },
		{ step->unknown_reads, "reads?" },
		{ step->truncates, "truncates" },
		{ step->locks_tables, "locks" },
		{ step->explicit_sequence, "sequence" },
	};

	*text = '\0';
	for (size_t i = 0; i < COUNT(all); i++)
		if (all[i].is)
			say(text, all[i].word);
}

struct expected {
	const char *sql, *kinds, *properties;
};

static void check(const struct expected *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct slm_pg_step step = read_step(cases[i].sql);
		char kinds[200] = "", properties[300];

		for (size_t j = 0; j < step.nstatements; j++) {
			if (j)
				strcat(kinds, "; ");
			strcat(kinds,
			       slm_pg_kind_name(step.statements[j].kind));
		}
		show(&step, properties);
		if (strcmp(kinds, cases[i].kinds) != 0 ||
		    strcmp(properties, cases[i].properties) != 0)
			fail_msg("%s\n is       %s: %s\n expected %s: %s",
				 cases[i].sql, kinds, properties,
				 cases[i].kinds, cases[i].properties);
	}
}

static void queries_and_writes(void **state)
{
	static const struct expected cases[] = {
		{ "SELECT 1", "SELECT", "wrap pure nothing snapshot" },
		{ "SELECT * FROM t", "SELECT", "wrap pure snapshot" },
		{ "TABLE t", "SELECT", "wrap pure snapshot" },
		{ "VALUES (1), (2)", "SELECT", "wrap pure nothing snapshot" },
		{ "SELECT now(), length('x'), pg_sleep(1)", "SELECT",
		  "wrap pure nothing snapshot" },
		{ "SELECT mine(1)", "SELECT", "wrap pure snapshot" },
		{ "SELECT other.now()", "SELECT", "wrap pure snapshot" },
		{ "SELECT 't'::regclass", "SELECT", "wrap pure snapshot" },
		{ "SELECT 't'::text", "SELECT", "wrap pure nothing snapshot" },
		{ "SELECT * FROM t FOR UPDATE", "SELECT", "wrap snapshot" },
		{ "SELECT * FROM t FOR KEY SHARE SKIP LOCKED", "SELECT",
		  "wrap snapshot" },
		{ "SELECT 1 WHERE EXISTS (SELECT 1 FROM t FOR SHARE)", "SELECT",
		  "wrap snapshot" },
		{ "WITH d AS (DELETE FROM t RETURNING *) SELECT 1", "SELECT",
		  "wrap snapshot" },
		{ "INSERT INTO t VALUES (1)", "INSERT", "wrap snapshot" },
		{ "UPDATE t SET a = 1", "UPDATE", "wrap snapshot" },
		{ "DELETE FROM t", "DELETE", "wrap snapshot" },
		{ "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE",
		  "MERGE", "wrap snapshot" },
		{ "TRUNCATE t", "TRUNCATE", "wrap snapshot truncates" },
		{ "COPY t TO STDOUT", "COPY TO", "wrap pure snapshot" },
		{ "COPY t TO '/x'", "COPY TO", "wrap snapshot" },
		{ "COPY t TO PROGRAM 'x'", "COPY TO", "wrap snapshot writes?" },
		{ "COPY (SELECT 1) TO STDOUT", "COPY TO",
		  "wrap pure nothing snapshot" },
		{ "COPY (SELECT 1) TO '/x'", "COPY TO", "wrap snapshot" },
		{ "COPY (DELETE FROM t RETURNING *) TO STDOUT", "COPY TO",
		  "wrap snapshot" },
		{ "COPY t FROM STDIN", "COPY FROM",
		  "wrap snapshot writes? reads?" },
		{ "EXPLAIN SELECT * FROM t", "EXPLAIN", "wrap pure snapshot" },
		{ "EXPLAIN DELETE FROM t", "EXPLAIN", "wrap snapshot" },
		{ "EXPLAIN SELECT nextval('s')", "EXPLAIN", "wrap snapshot" },
		{ "EXPLAIN (ANALYZE off) EXECUTE p", "EXPLAIN",
		  "wrap snapshot reads?" },
		{ "EXPLAIN ANALYZE EXECUTE p", "EXPLAIN",
		  "wrap snapshot writes? reads?" },
		{ "EXPLAIN CREATE TABLE x AS SELECT 1", "EXPLAIN",
		  "wrap snapshot" },
		{ "EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1", "EXPLAIN",
		  "wrap snapshot ddl" },
		{ "DO $$ BEGIN COMMIT; END $$", "DO",
		  "snapshot state writes? reads?" },
		{ "CALL p(1)", "CALL", "snapshot state writes? reads?" },
	};

	(void)state;
	check(cases, COUNT(cases));
}

static void functions_with_effects(void **state)
{
	static const struct expected cases[] = {
		{ "SELECT nextval('s')", "SELECT", "wrap snapshot sequence" },
		{ "SELECT pg_catalog.setval('s', 1)", "SELECT",
		  "wrap snapshot sequence" },
		{ "SELECT currval('s'), lastval()", "SELECT",
		  "wrap pure nothing snapshot" },
		{ "INSERT INTO t VALUES (nextval('s'))", "INSERT",
		  "wrap snapshot sequence" },
		{ "SELECT pg_advisory_lock(1)", "SELECT",
		  "wrap snapshot state" },
		{ "SELECT pg_try_advisory_lock_shared(1)", "SELECT",
		  "wrap snapshot state" },
		{ "SELECT pg_advisory_xact_lock(1)", "SELECT",
		  "wrap snapshot" },
		{ "SELECT pg_try_advisory_xact_lock(1)", "SELECT",
		  "wrap snapshot" },
		{ "SELECT pg_advisory_unlock(1)", "SELECT", "wrap snapshot" },
		{ "SELECT * FROM t WHERE pg_notify('c', a) IS NULL", "SELECT",
		  "wrap snapshot" },
		{ "SELECT lo_unlink(1)", "SELECT", "wrap snapshot" },
		{ "SELECT txid_current()", "SELECT", "wrap snapshot" },
		{ "SELECT pg_terminate_backend(1)", "SELECT", "wrap snapshot" },
		{ "SELECT public.dblink_exec('', '')", "SELECT",
		  "wrap snapshot state writes? reads?" },
		{ "SELECT query_to_xml('', true, true, '')", "SELECT",
		  "wrap snapshot writes? reads?" },
		{ "SELECT set_config('a', 'b', false)", "SELECT",
		  "wrap pure nothing snapshot state" },
		{ "SELECT set_config('a', 'b', true)", "SELECT",
		  "wrap pure nothing snapshot" },
		{ "SELECT set_config('a', 'b', 't'::bool)", "SELECT",
		  "wrap pure nothing snapshot state" },
	};

	(void)state;
	check(cases, COUNT(cases));
}

static void transactions(void **state)
{
	static const struct expected cases[] = {
		{ "BEGIN", "BEGIN", "control begins pure nothing" },
		{ "START TRANSACTION READ ONLY", "BEGIN",
		  "control begins pure nothing" },
		{ "BEGIN; BEGIN", "BEGIN; BEGIN",
		  "control begins pure nothing" },
		{ "BEGIN; SELECT 1", "BEGIN; SELECT",
		  "control pure nothing snapshot" },
		{ "COMMIT", "COMMIT", "control commits ends" },
		{ "END", "COMMIT", "control commits ends" },
		{ "COMMIT AND CHAIN", "COMMIT", "control commits ends" },
		{ "ROLLBACK", "ROLLBACK", "control ends" },
		{ "ABORT", "ROLLBACK", "control ends" },
		{ "SAVEPOINT s", "SAVEPOINT", "control pure nothing" },
		{ "RELEASE s", "RELEASE", "control pure nothing" },
		{ "ROLLBACK TO s", "ROLLBACK TO", "control" },
		{ "PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION",
		  "control ends" },
		{ "COMMIT PREPARED 'x'", "COMMIT PREPARED",
		  "control writes? reads?" },
		{ "ROLLBACK PREPARED 'x'", "ROLLBACK PREPARED",
		  "control writes? reads?" },
		{ "BEGIN; UPDATE t SET a = 1; COMMIT", "BEGIN; UPDATE; COMMIT",
		  "control commits ends snapshot" },
		{ "UPDATE t SET a = 1; UPDATE u SET a = 2", "UPDATE; UPDATE",
		  "wrap snapshot" },
		{ "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
		  "SET TRANSACTION", "pure nothing" },
		{ "SET TRANSACTION READ ONLY; SELECT 1",
		  "SET TRANSACTION; SELECT", "wrap pure nothing snapshot" },
		{ "SET TRANSACTION SNAPSHOT 'x'", "SET TRANSACTION",
		  "snapshot" },
		{ "SET transaction_isolation = 'serializable'",
		  "SET TRANSACTION", "pure nothing" },
		{ "SET LOCAL a.b = 1", "SET LOCAL", "pure nothing" },
		{ "SET LOCAL a.b = 1; SELECT 1", "SET LOCAL; SELECT",
		  "wrap pure nothing snapshot" },
		{ "SET CONSTRAINTS ALL DEFERRED", "SET CONSTRAINTS",
		  "pure nothing" },
		{ "SET CONSTRAINTS ALL IMMEDIATE", "SET CONSTRAINTS",
		  "snapshot reads?" },
		{ "LOCK t", "LOCK", "locks" },
		{ "LOCK t; DELETE FROM t", "LOCK; DELETE",
		  "wrap snapshot locks" },
	};

	(void)state;
	check(cases, COUNT(cases));
}

static void sessions(void **state)
{
	static const struct expected cases[] = {
		{ "SET a.b = 1", "SET", "wrap pure nothing state" },
		{ "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET",
		  "wrap pure nothing state" },
		{ "SET ROLE x", "SET", "wrap pure nothing state" },
		{ "SHOW ALL", "SHOW", "wrap pure nothing" },
		{ "RESET ALL", "RESET", "wrap pure nothing state" },
		{ "DISCARD PLANS", "DISCARD",
		  "wrap pure nothing snapshot state" },
		{ "DISCARD TEMP", "DISCARD", "wrap snapshot state" },
		{ "DISCARD ALL", "DISCARD", "snapshot state" },
		{ "PREPARE p AS SELECT * FROM t", "PREPARE",
		  "wrap pure snapshot state" },
		{ "PREPARE p AS DELETE FROM t", "PREPARE",
		  "wrap snapshot state" },
		{ "EXECUTE p(1)", "EXECUTE", "wrap snapshot writes? reads?" },
		{ "DEALLOCATE p", "DEALLOCATE",
		  "wrap pure nothing snapshot state" },
		{ "DECLARE c CURSOR FOR SELECT * FROM t", "DECLARE",
		  "pure snapshot" },
		{ "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM t", "DECLARE",
		  "wrap pure snapshot state" },
		{ "DECLARE c CURSOR FOR SELECT * FROM t FOR UPDATE", "DECLARE",
		  "snapshot" },
		{ "FETCH c", "FETCH", "wrap reads?" },
		{ "MOVE 3 IN c", "MOVE", "wrap reads?" },
		{ "CLOSE c", "CLOSE", "wrap pure nothing snapshot" },
		{ "LISTEN c", "LISTEN", "wrap state" },
		{ "UNLISTEN *", "UNLISTEN", "wrap state" },
		{ "NOTIFY c, 'x'", "NOTIFY", "wrap" },
		{ "LOAD 'x'", "other", "wrap snapshot state writes? reads?" },
		{ "CREATE TEMP TABLE x (a int)", "temporary object",
		  "wrap snapshot state" },
		{ "CREATE TEMP TABLE x AS SELECT * FROM t", "temporary object",
		  "wrap snapshot state" },
		{ "SELECT * INTO TEMP x FROM t", "temporary object",
		  "wrap snapshot state" },
		{ "CREATE TEMP VIEW v AS SELECT 1", "temporary object",
		  "wrap snapshot state" },
		{ "CREATE TEMP SEQUENCE s", "temporary object",
		  "wrap snapshot state" },
		{ "CREATE TABLE pg_temp.x (a int)", "temporary object",
		  "wrap snapshot state" },
		{ "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS ''",
		  "temporary object", "wrap snapshot state" },
		{ "DROP FUNCTION IF EXISTS pg_temp.f()", "temporary object",
		  "wrap snapshot state" },
		{ "DROP TABLE pg_temp.x, pg_temp.y", "temporary object",
		  "wrap snapshot state" },
		{ "DROP TABLE pg_temp.x, y", "DDL", "wrap snapshot ddl" },
		{ "DROP FUNCTION pg_temp.f() CASCADE", "DDL",
		  "wrap snapshot ddl" },
	};

	(void)state;
	check(cases, COUNT(cases));
}

static void definitions_and_maintenance(void **state)
{
	static const struct expected cases[] = {
		{ "CREATE TABLE t (a int)", "DDL", "wrap snapshot ddl" },
		{ "CREATE TABLE x AS SELECT * FROM t", "DDL",
		  "wrap snapshot ddl" },
		{ "CREATE TABLE x AS EXECUTE p", "DDL",
		  "wrap snapshot ddl writes? reads?" },
		{ "SELECT * INTO x FROM t", "DDL", "wrap snapshot ddl" },
		{ "DROP TABLE t", "DDL", "wrap snapshot ddl" },
		{ "ALTER TABLE t DISABLE TRIGGER ALL", "DDL",
		  "wrap snapshot ddl" },
		{ "GRANT SELECT ON t TO x", "DDL", "wrap snapshot ddl" },
		{ "COMMENT ON TABLE t IS ''", "DDL", "wrap snapshot ddl" },
		{ "REFRESH MATERIALIZED VIEW v", "DDL", "wrap snapshot ddl" },
		{ "ALTER TYPE e ADD VALUE 'x'", "DDL", "wrap snapshot ddl" },
		{ "CREATE INDEX i ON t (a)", "DDL", "wrap snapshot ddl" },
		{ "CREATE INDEX CONCURRENTLY i ON t (a)", "DDL",
		  "snapshot ddl" },
		{ "DROP INDEX CONCURRENTLY i", "DDL", "snapshot ddl" },
		{ "DROP INDEX i", "DDL", "wrap snapshot ddl" },
		{ "ALTER TABLE t DETACH PARTITION p CONCURRENTLY", "DDL",
		  "snapshot ddl" },
		{ "ALTER TABLE t DETACH PARTITION p", "DDL",
		  "wrap snapshot ddl" },
		{ "ALTER TABLE t DETACH PARTITION p FINALIZE", "DDL",
		  "wrap snapshot ddl" },
		{ "CREATE DATABASE d", "DDL", "snapshot ddl cluster" },
		{ "DROP DATABASE d", "DDL", "snapshot ddl cluster" },
		{ "ALTER DATABASE d SET TABLESPACE x", "DDL",
		  "snapshot ddl cluster" },
		{ "ALTER DATABASE d CONNECTION LIMIT 1", "DDL",
		  "wrap snapshot ddl cluster" },
		{ "ALTER DATABASE d SET a.b = 1", "DDL",
		  "wrap snapshot ddl cluster" },
		{ "CREATE TABLESPACE x LOCATION '/x'", "DDL",
		  "snapshot ddl cluster" },
		{ "DROP TABLESPACE x", "DDL", "snapshot ddl cluster" },
		{ "ALTER SYSTEM SET a.b = 1", "DDL", "snapshot ddl cluster" },
		{ "CREATE ROLE r", "DDL", "wrap snapshot ddl cluster" },
		{ "ALTER ROLE r RENAME TO q", "DDL",
		  "wrap snapshot ddl cluster" },
		{ "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p", "DDL",
		  "snapshot ddl cluster" },
		{ "ALTER SUBSCRIPTION s REFRESH PUBLICATION", "DDL",
		  "snapshot ddl cluster" },
		{ "DROP SUBSCRIPTION s", "DDL", "snapshot ddl cluster" },
		{ "VACUUM t", "VACUUM", "snapshot locks" },
		{ "VACUUM", "VACUUM", "snapshot reads? locks" },
		{ "ANALYZE t", "ANALYZE", "snapshot locks" },
		{ "CLUSTER t USING i", "CLUSTER", "snapshot locks" },
		{ "CLUSTER", "CLUSTER", "snapshot reads? locks" },
		{ "REINDEX TABLE t", "REINDEX", "snapshot locks" },
		{ "REINDEX INDEX i", "REINDEX", "snapshot reads? locks" },
		{ "REINDEX DATABASE d", "REINDEX", "snapshot reads? locks" },
		{ "CHECKPOINT", "CHECKPOINT", "wrap" },
		{ "SELECT 1; CREATE TABLE t (a int)", "SELECT; DDL",
		  "wrap snapshot ddl" },
	};

	(void)state;
	check(cases, COUNT(cases));
}

static void what_does_not_parse_is_feared(void **state)
{
	static const char everything[] =
		"unparsed control commits ends snapshot state ddl cluster "
		"writes? reads? truncates locks sequence";
	static const struct expected cases[] = {
		{ "", "", "pure nothing" },
		{ " -- nothing\n ; /* ; /* ; */ */ ;;", "", "pure nothing" },
		{ "SELEC 1", "", everything },
		{ "SELECT 1; SELEC 2", "", everything },
		{ "SELECT 'open", "", everything },
		{ "PRAGMA user_version", "", everything },
		{ "SELECT '\xff'", "", everything }, /* not UTF-8 */
	};
	struct slm_pg_step step;
	struct slm_buf deep;

	(void)state;
	check(cases, COUNT(cases));
	step = read_step("SELEC 1");
	assert_string_equal(step.message, "syntax error at or near \"SELEC\"");
	slm_buf_init(&deep);
	slm_buf_puts(&deep, "SELECT ");
	for (int i = 0; i < 3000; i++)
		slm_buf_puts(&deep, "a || ");
	slm_buf_puts(&deep, "b FROM t");
	assert_false(slm_buf_failed(&deep));
	step = read_step(deep.data);
	assert_false(step.parsed);
	assert_non_null(strstr(step.message, "depth"));
	slm_buf_deinit(&deep);
}

static void the_order_of_rows_is_fixed_or_not(void **state)
{
	static const struct {
		const char *sql;
		bool ordered;
	} cases[] = {
		{ "SELECT * FROM t", false },
		{ "SELECT * FROM t ORDER BY a", true },
		{ "SELECT * FROM (SELECT * FROM t ORDER BY a) x", false },
		{ "SELECT 1", true },
		{ "SELECT mine()", false },
		{ "SELECT generate_series(1, 2)", false },
		{ "SELECT 1 + length(mine())", false },
		{ "SELECT count(*), max(a) + 1 FROM t", true },
		{ "SELECT count(*) FROM t HAVING count(*) > 1", true },
		{ "SELECT count(*) FROM t GROUP BY a", false },
		{ "SELECT count(*) OVER () FROM t", false },
		{ "SELECT count(*), unnest(x) FROM t", false },
		{ "SELECT (SELECT count(*) FROM t) FROM u", false },
		{ "SELECT mine(a) FROM t", false },
		{ "SELECT public.count(a) FROM t", false },
		{ "SELECT * FROM t LIMIT 1", true },
		{ "SELECT * FROM t LIMIT 0", true },
		{ "SELECT * FROM t LIMIT 2", false },
		{ "SELECT * FROM t LIMIT :n", false },
		{ "SELECT * FROM t FETCH FIRST ROW ONLY", true },
		{ "SELECT 1 UNION SELECT 2", false },
		{ "SELECT 1 UNION SELECT 2 ORDER BY 1", true },
		{ "VALUES (1)", true },
		{ "VALUES (1), (2)", false },
		{ "INSERT INTO t VALUES (1), (2)", true },
		{ "INSERT INTO t VALUES (1) RETURNING a", true },
		{ "INSERT INTO t VALUES (1), (2) RETURNING a", false },
		{ "INSERT INTO t VALUES (mine()) RETURNING a", false },
		{ "INSERT INTO t DEFAULT VALUES RETURNING a", true },
		{ "INSERT INTO t SELECT 1 FROM u RETURNING a", false },
		{ "UPDATE t SET a = 1", true },
		{ "UPDATE t SET a = 1 RETURNING a", false },
		{ "DELETE FROM t RETURNING a", false },
		{ "FETCH c", true },
		{ "FETCH 2 FROM c", false },
		{ "FETCH :n FROM c", false },
		{ "FETCH ALL FROM c", false },
		{ "FETCH ABSOLUTE 5 FROM c", true },
		{ "EXECUTE p", false },
		{ "COPY t TO STDOUT", false },
		{ "COPY (SELECT 1) TO STDOUT", true },
		{ "EXPLAIN SELECT * FROM t", true },
		{ "PREPARE p AS SELECT * FROM t", true },
		{ "CREATE TABLE x AS SELECT * FROM t", true },
		{ "COMMIT", true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct slm_pg_step step = read_step(cases[i].sql);

		assert_int_equal(step.nstatements, 1);
		if (step.statements[0].ordered != cases[i].ordered)
			fail_msg("%s", cases[i].sql);
	}
}

static void details_of_statements(void **state)
{
	static const struct {
		const char *sql, *isolation, *name;
		bool read_only, deferrable;
	} cases[] = {
		{ "BEGIN", NULL, NULL, false, false },
		{ "BEGIN ISOLATION LEVEL REPEATABLE READ", "repeatable read",
		  NULL, false, false },
		{ "BEGIN TRANSACTION READ ONLY, DEFERRABLE, ISOLATION LEVEL "
		  "SERIALIZABLE",
		  "serializable", NULL, true, true },
		{ "START TRANSACTION READ WRITE, NOT DEFERRABLE", NULL, NULL,
		  false, false },
		{ "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
		  "read uncommitted", "TRANSACTION", false, false },
		{ "SET transaction_isolation TO 'serializable'", "serializable",
		  "transaction_isolation", false, false },
		{ "SET default_transaction_isolation = 'read committed'",
		  "read committed", "default_transaction_isolation", false,
		  false },
		{ "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL "
		  "SERIALIZABLE READ ONLY",
		  "serializable", "SESSION CHARACTERISTICS", true, false },
		{ "SAVEPOINT a", NULL, "a", false, false },
		{ "PREPARE TRANSACTION 'a b'", NULL, "a b", false, false },
		{ "SET LOCAL lock_timeout = 1", NULL, "lock_timeout", false,
		  false },
		{ "PREPARE p AS SELECT 1", NULL, "p", false, false },
		{ "EXECUTE p", NULL, "p", false, false },
		{ "DECLARE \"C\" CURSOR FOR SELECT 1", NULL, "C", false,
		  false },
		{ "FETCH c", NULL, "c", false, false },
		{ "LISTEN ch", NULL, "ch", false, false },
		{ "DEALLOCATE ALL", NULL, NULL, false, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct slm_pg_step step = read_step(cases[i].sql);
		const struct slm_pg_statement *it = step.statements;

		assert_int_equal(step.nstatements, 1);
		assert_string_equal(it->isolation ? it->isolation : "-",
				    cases[i].isolation ? cases[i].isolation :
							 "-");
		assert_string_equal(it->name ? it->name : "-",
				    cases[i].name ? cases[i].name : "-");
		assert_int_equal(it->read_only, cases[i].read_only);
		assert_int_equal(it->deferrable, cases[i].deferrable);
	}
}

static void explain_and_returning_are_told(void **state)
{
	static const struct {
		const char *sql;
		bool analyze, returning, temp;
	} cases[] = {
		{ "EXPLAIN SELECT 1", false, false, false },
		{ "EXPLAIN ANALYZE SELECT 1", true, false, false },
		{ "EXPLAIN (ANALYZE, COSTS off) SELECT 1", true, false, false },
		{ "EXPLAIN (ANALYZE off) SELECT 1", false, false, false },
		{ "EXPLAIN (ANALYZE FALSE) SELECT 1", false, false, false },
		{ "EXPLAIN (ANALYZE 0) SELECT 1", false, false, false },
		{ "EXPLAIN (ANALYZE 1) SELECT 1", true, false, false },
		{ "DELETE FROM t RETURNING *", false, true, false },
		{ "DELETE FROM t", false, false, false },
		{ "EXPLAIN DELETE FROM t RETURNING *", false, false, false },
		{ "PREPARE p AS DELETE FROM t RETURNING *", false, false,
		  false },
		{ "CREATE TEMP TABLE x AS SELECT 1", false, false, true },
		{ "EXPLAIN CREATE TEMP TABLE x AS SELECT 1", false, false,
		  false },
		{ "EXPLAIN ANALYZE CREATE TEMP TABLE x AS SELECT 1", true,
		  false, true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct slm_pg_step step = read_step(cases[i].sql);

		assert_int_equal(step.nstatements, 1);
		if (step.statements[0].analyze != cases[i].analyze ||
		    step.statements[0].returning != cases[i].returning ||
		    step.statements[0].temp != cases[i].temp)
			fail_msg("%s", cases[i].sql);
	}
}

static void places_are_in_the_text_of_the_step(void **state)
{
	static const char sql[] =
		" /* a; */ SELECT ';', :name -- b\n;; \n"
		"-- c\nUPDATE \"\xc3\xa9\" SET a = :n::int /* d */ ;"
		"DO $x$ ; $x$ ";
	static const char *const expected[] = {
		"SELECT ';', :name",
		"UPDATE \"\xc3\xa9\" SET a = :n::int",
		"DO $x$ ; $x$",
	};
	struct slm_pg_step step = read_step(sql);

	(void)state;
	assert_int_equal(step.nstatements, COUNT(expected));
	for (size_t i = 0; i < COUNT(expected); i++) {
		const struct slm_pg_statement *it = &step.statements[i];

		assert_true(it->begin >= sql && it->end < sql + sizeof(sql));
		assert_int_equal(it->end - it->begin, strlen(expected[i]));
		assert_memory_equal(it->begin, expected[i],
				    strlen(expected[i]));
	}
}

static void parameters_stand_for_values(void **state)
{
	static const char *const cases[] = {
		"SELECT :a, :b::int, :long_name + 1 FROM t WHERE x IN (:a)",
		"SELECT ARRAY[:a, :b], x[1]",
		"SELECT interval :a",
		"SELECT $$ :it's $$, :a",
		"SELECT E'\\':', :a",
		"INSERT INTO t VALUES (:a, :b)",
		"SELECT * FROM t LIMIT :a OFFSET :b",
		"FETCH :a FROM c",
		"NOTIFY c, :a",
		"SET lock_timeout = :a",
		"EXECUTE p(:a, :b)",
		"SELECT :\xc3\xa9",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (!read_step(cases[i]).parsed)
			fail_msg("%s", cases[i]);
}

static void every_kind_has_a_name(void **state)
{
	(void)state;
	for (int kind = 0; kind <= SLM_PG_OTHER; kind++)
		assert_true(strlen(slm_pg_kind_name(kind)) > 1);
	assert_string_equal(slm_pg_kind_name(SLM_PG_ROLLBACK_TO),
			    "ROLLBACK TO");
}

static void out_of_memory_is_an_error_and_leaves_the_result(void **state)
{
	static const char sql[] = "WITH a AS (SELECT f(1)) SELECT * FROM b.c";
	struct slm_pg_step step = { .message = "as it was" };
	struct slm_arena small;
	struct sqloom_error err;
	enum sqloom_status status = SQLOOM_NOMEM;
	unsigned failures = 0;

	(void)state;
	for (uint64_t n = 1; status; n++) {
		slm_arena_init(&small);
		slm_alloc_fail_from(n);
		status = slm_pg_step_read(sql, &small, &step, &err);
		slm_alloc_fail_from(0);
		slm_arena_deinit(&small);
		if (!status)
			break;
		failures++;
		assert_int_equal(status, SQLOOM_NOMEM);
		assert_string_equal(step.message, "as it was");
	}
	assert_true(failures > 0);
}

static void *read_many(void *userdata)
{
	struct slm_arena own;
	bool *ok = userdata;

	slm_arena_init(&own);
	*ok = true;
	for (int i = 0; *ok && i < 500; i++) {
		struct slm_pg_step good, bad;

		slm_arena_clear(&own);
		*ok = !slm_pg_step_read("UPDATE t SET a = :a", &own, &good,
					NULL) &&
		      !slm_pg_step_read("UPDAT t", &own, &bad, NULL) &&
		      good.parsed && !bad.parsed &&
		      good.statements[0].kind == SLM_PG_UPDATE;
	}
	slm_arena_deinit(&own);
	return NULL;
}

static void threads_read_at_the_same_time(void **state)
{
	pthread_t threads[4];
	bool ok[COUNT(threads)];

	(void)state;
	for (size_t i = 0; i < COUNT(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_many,
						&ok[i]),
				 0);
	for (size_t i = 0; i < COUNT(threads); i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_true(ok[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queries_and_writes),
		cmocka_unit_test(functions_with_effects),
		cmocka_unit_test(transactions),
		cmocka_unit_test(sessions),
		cmocka_unit_test(definitions_and_maintenance),
		cmocka_unit_test(what_does_not_parse_is_feared),
		cmocka_unit_test(the_order_of_rows_is_fixed_or_not),
		cmocka_unit_test(details_of_statements),
		cmocka_unit_test(explain_and_returning_are_told),
		cmocka_unit_test(places_are_in_the_text_of_the_step),
		cmocka_unit_test(parameters_stand_for_values),
		cmocka_unit_test(every_kind_has_a_name),
		cmocka_unit_test(
			out_of_memory_is_an_error_and_leaves_the_result),
		cmocka_unit_test(threads_read_at_the_same_time),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
