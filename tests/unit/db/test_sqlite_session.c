/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions: values carried from step to step, several statements, waiting in
 * virtual time, state of connections from run to run. */
#include "sqlite_help.h"

#define T "setup { CREATE TABLE t (id INTEGER PRIMARY KEY, v); "

static void values_of_every_type_are_carried(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f,
		  T "INSERT INTO t VALUES (1, 9223372036854775807), (2, -1.5),"
		    " (3, 'z\xc3\xa4h'), (4, x'00ff00'), (5, NULL),"
		    " (6, CAST(x'610062' AS TEXT)), (7, ''), (8, x'') }\n"
		    "session a\n"
		    "step r1 { SELECT v FROM t WHERE id = 1 }\n"
		    "step r2 { SELECT v FROM t WHERE id = 2 }\n"
		    "step r3 { SELECT v FROM t WHERE id = 3 }\n"
		    "step r4 { SELECT v FROM t WHERE id = 4 }\n"
		    "step r5 { SELECT v FROM t WHERE id = 5 }\n"
		    "step r6 { SELECT v FROM t WHERE id = 6 }\n"
		    "step r7 { SELECT v FROM t WHERE id = 7 }\n"
		    "step r8 { SELECT v FROM t WHERE id = 8 }\n"
		    "step w  { SELECT typeof(:v), hex(:v), (SELECT group_concat"
		    "(id) FROM t WHERE v IS :v) }\n",
		  &defaults);
	begin(&f);
	assert_string_equal(run(&f, "r1"), "9223372036854775807");
	assert_string_equal(run(&f, "w"),
			    "'integer','3932323333373230333638353437373538"
			    "3037','1'");
	run(&f, "r2");
	assert_string_equal(run(&f, "w"), "'real','2D312E35','2'");
	run(&f, "r3");
	assert_string_equal(run(&f, "w"), "'text','7AC3A468','3'");
	run(&f, "r4");
	assert_string_equal(run(&f, "w"), "'blob','00FF00','4'");
	run(&f, "r5");
	assert_string_equal(run(&f, "w"), "'null','','5'");
	assert_int_equal(go(&f, "r6").result->rows.values[0].size, 3);
	assert_string_equal(run(&f, "w"), "'text','610062','6'");
	run(&f, "r7");
	assert_string_equal(run(&f, "w"), "'text','','7'");
	run(&f, "r8");
	assert_string_equal(run(&f, "w"), "'blob','','8'");
	end(&f);
	close_db(&f);
}

static void the_most_recent_value_wins_and_no_row_is_null(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f,
		  T "INSERT INTO t VALUES (1, 10), (2, 20) }\n"
		    "session a\n"
		    "step one  { SELECT v, id FROM t WHERE id = 1 }\n"
		    "step all  { SELECT v FROM t ORDER BY id DESC }\n"
		    "step none { SELECT v FROM t WHERE id = 9 }\n"
		    "step fail { SELECT v, abs(-9223372036854775807 - 1) FROM t"
		    " }\n"
		    "step use  { SELECT :v, :id, :V }\n"
		    "session b\n"
		    "step b1 { SELECT 77 AS v }\n",
		  &defaults);
	begin(&f);
	assert_string_equal(run(&f, "use"), "NULL,NULL,NULL");
	run(&f, "one");
	assert_string_equal(run(&f, "use"), "10,1,10");
	run(&f, "b1"); /* another session's values are its own */
	run(&f, "all");
	assert_string_equal(run(&f, "use"), "20,1,20");
	run(&f, "none");
	assert_string_equal(run(&f, "use"), "NULL,1,NULL");
	run(&f, "one");
	assert_string_equal(run(&f, "fail"), "! SQLITE_ERROR");
	assert_string_equal(run(&f, "use"), "NULL,1,NULL");
	end(&f);
	begin(&f); /* nothing is left from the run before */
	assert_string_equal(run(&f, "use"), "NULL,NULL,NULL");
	end(&f);
	close_db(&f);
}

static void a_step_of_several_statements_has_a_result_for_each(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f,
		  T "}\n"
		    "session a\n"
		    "step a1 { INSERT INTO t VALUES (1, 1), (2, 2); ;\n"
		    "  SELECT id FROM t; -- rows\n"
		    "  UPDATE t SET v = 0 }\n"
		    "step a2 { SELECT 1; INSERT INTO t VALUES (1, 1);\n"
		    "  DELETE FROM t }\n"
		    "step empty { }\n"
		    "step blank { -- nothing\n ; }\n"
		    "step drop { DROP TABLE t }\n",
		  &defaults);
	for (unsigned i = 0; i < 2; i++) {
		begin(&f);
		assert_string_equal(run(&f, "a1"), "changes 2;1|2;changes 2");
		assert_string_equal(run(&f, "a2"),
				    "1;! SQLITE_CONSTRAINT_PRIMARYKEY");
		assert_string_equal(run(&f, "empty"), "");
		assert_string_equal(run(&f, "blank"), "");
		end(&f);
		assert_string_equal(contents(&f),
				    "t(1,0|2,0)sqlite_schema('table','t',"
				    "'CREATE TABLE t (id INTEGER PRIMARY KEY, "
				    "v)')");
	}
	close_db(&f);
}

/* DROP and EXPLAIN leave the count of the statement before. */
static void changes_are_told_of_statements_that_make_them(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f,
		  T "INSERT INTO t VALUES (1, 1), (2, 2); CREATE TABLE u (v) }"
		    "session a\n"
		    "step upd { UPDATE t SET v = 3 }\n"
		    "step cte { WITH n (i) AS (SELECT 1) UPDATE t SET v = 3\n"
		    "  WHERE id IN (SELECT i FROM n) }\n"
		    "step rep { REPLACE INTO t VALUES (1, 5) }\n"
		    "step exp { EXPLAIN QUERY PLAN DELETE FROM t }\n"
		    "step sel { SELECT count(*) FROM t }\n"
		    "step drop { DROP TABLE u }\n"
		    "step alter { ALTER TABLE t RENAME TO tt }\n",
		  &defaults);
	begin(&f);
	assert_string_equal(run(&f, "upd"), "changes 2");
	assert_string_equal(run(&f, "cte"), "changes 1");
	assert_string_equal(run(&f, "rep"), "changes 1");
	assert_null(strstr(run(&f, "exp"), "changes"));
	assert_string_equal(run(&f, "sel"), "2");
	assert_string_equal(run(&f, "drop"), "");
	assert_string_equal(run(&f, "alter"), "");
	end(&f);
	close_db(&f);
}

static const char two_writers[] =
	"setup { CREATE TABLE t (id INTEGER PRIMARY KEY, v);"
	" INSERT INTO t VALUES (1, 1) }\n"
	"session a\n"
	"step begin_a { BEGIN IMMEDIATE }\n"
	"step write_a { UPDATE t SET v = 2 }\n"
	"step commit_a { COMMIT }\n"
	"session b\n"
	"step begin_b { BEGIN }\n"
	"step read_b { SELECT v FROM t }\n"
	"step write_b { UPDATE t SET v = v + 10 }\n"
	"step commit_b { COMMIT }\n"
	"session c\n"
	"step write_c { UPDATE t SET v = v + 100 }\n";

static void a_wait_ends_when_the_lock_is_free(void **state)
{
	struct slm_sqlite_options options = defaults;
	struct slm_db_answer answer;
	struct fixture f;
	int call;

	(void)state;
	options.busy_timeout_ms = 5000;
	open_with(&f, two_writers, &options);
	begin(&f);
	run(&f, "begin_a");
	run(&f, "write_a");
	answer = go(&f, "write_c");
	assert_true(answer.blocked);
	assert_int_equal(answer.blocked_by, 1);
	assert_non_null(strstr(answer.what, "main"));
	assert_true(go(&f, "write_b").blocked);
	assert_int_equal(slm_db_resume(f.db, &call, &answer, &f.err), 0);
	assert_int_equal(call, -1);
	run(&f, "commit_a");
	/* First come, first served: c asked first. */
	assert_int_equal(slm_db_resume(f.db, &call, &answer, &f.err), 0);
	assert_int_equal(call, 2);
	assert_false(answer.blocked);
	assert_int_equal(answer.waited_ms, 0);
	assert_int_equal(slm_db_resume(f.db, &call, &answer, &f.err), 0);
	assert_int_equal(call, 1);
	assert_int_equal(slm_db_resume(f.db, &call, &answer, &f.err), 0);
	assert_int_equal(call, -1);
	end(&f);
	assert_string_equal(contents(&f), "t(1,112)");
	close_db(&f);
}

static void a_wait_without_end_costs_virtual_time_only(void **state)
{
	struct slm_sqlite_options options = defaults;
	struct slm_db_answer answer;
	struct fixture f;
	int call;

	(void)state;
	options.busy_timeout_ms = 5000;
	open_with(&f, two_writers, &options);
	for (unsigned i = 0; i < 3; i++) {
		begin(&f);
		run(&f, "begin_a");
		run(&f, "write_a");
		assert_true(go(&f, "write_c").blocked);
		assert_int_equal(slm_db_expire(f.db, &call, &answer, &f.err),
				 0);
		assert_int_equal(call, 2);
		assert_string_equal(text_of(answer.result), "! SQLITE_BUSY");
		assert_int_equal(answer.waited_ms, 5000);
		assert_int_equal(slm_db_expire(f.db, &call, &answer, &f.err),
				 0);
		assert_int_equal(call, -1);
		run(&f, "commit_a");
		end(&f);
	}
	close_db(&f);
}

/* A reader that wants to write while another waits for readers to go cannot
 * be served by waiting: SQLite says so at once, whatever the timeout is. */
static void a_deferred_upgrade_is_refused_at_once(void **state)
{
	struct slm_sqlite_options options = defaults;
	struct slm_db_answer answer;
	struct fixture f;

	(void)state;
	options.busy_timeout_ms = 5000;
	open_with(&f, two_writers, &options);
	begin(&f);
	run(&f, "begin_b");
	run(&f, "read_b");
	run(&f, "begin_a");
	answer = go(&f, "write_b");
	assert_false(answer.blocked);
	assert_string_equal(text_of(answer.result), "! SQLITE_BUSY");
	assert_int_equal(answer.result->error, SLM_ERROR_RETRY);
	assert_true(slm_db_in_transaction(f.db, 1));
	end(&f);
	assert_false(slm_db_in_transaction(f.db, 1));
	close_db(&f);
}

static void without_a_timeout_nobody_waits(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f, two_writers, &defaults);
	begin(&f);
	run(&f, "begin_a");
	run(&f, "write_a");
	assert_string_equal(run(&f, "write_c"), "! SQLITE_BUSY");
	end(&f);
	close_db(&f);
}

/* The run ends while sessions are still inside SQLite. */
static void blocked_sessions_are_let_go_at_the_end(void **state)
{
	struct slm_sqlite_options options = defaults;
	struct fixture f;

	(void)state;
	options.busy_timeout_ms = 1000;
	open_with(&f, two_writers, &options);
	for (unsigned i = 0; i < 2; i++) {
		begin(&f);
		run(&f, "begin_a");
		run(&f, "write_a");
		assert_true(go(&f, "write_c").blocked);
		end(&f);
		assert_string_equal(contents(&f), "t(1,1)");
	}
	begin(&f);
	run(&f, "begin_a");
	run(&f, "write_a");
	assert_true(go(&f, "write_c").blocked);
	close_db(&f);
}

/* What a connection remembers must not be seen by the next run. */
static void nothing_of_the_run_before_is_on_the_connection(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f,
		  T "}\n"
		    "session a\n"
		    "step state { SELECT last_insert_rowid(), changes(),\n"
		    "  total_changes() }\n"
		    "step ins { INSERT INTO t (v) VALUES (1), (2) }\n"
		    "step temp { CREATE TEMP TABLE x AS SELECT 1 AS one }\n"
		    "step attach { ATTACH 'side.db' AS side;\n"
		    "  CREATE TABLE side.s (v); INSERT INTO side.s VALUES (1);"
		    "  SELECT count(*) FROM side.s }\n"
		    "step pragma { PRAGMA recursive_triggers }\n"
		    "step set { PRAGMA recursive_triggers = on }\n",
		  &defaults);
	for (unsigned i = 0; i < 3; i++) {
		begin(&f);
		assert_string_equal(run(&f, "state"), "0,0,0");
		assert_string_equal(run(&f, "ins"), "changes 2");
		assert_string_equal(run(&f, "state"), "2,2,2");
		assert_string_equal(run(&f, "temp"), "");
		assert_string_equal(run(&f, "attach"), "changes 1;1");
		assert_string_equal(run(&f, "pragma"), "0");
		run(&f, "set");
		assert_string_equal(run(&f, "pragma"), "1");
		end(&f);
	}
	assert_non_null(f.db->blind);
	close_db(&f);
}

static void a_setup_may_leave_something_on_the_connection(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f,
		  T "INSERT INTO t VALUES (1, 1) }\n"
		    "session a\n"
		    "setup { CREATE TEMP TABLE x AS SELECT v FROM t }\n"
		    "step a1 { UPDATE x SET v = v + 1 RETURNING v }\n"
		    "session b\n"
		    "setup { PRAGMA foreign_keys = on }\n"
		    "step b1 { PRAGMA foreign_keys }\n",
		  &defaults);
	for (unsigned i = 0; i < 3; i++) {
		begin(&f);
		assert_string_equal(run(&f, "a1"), "2 changes 1");
		assert_string_equal(run(&f, "b1"), "1");
		end(&f);
	}
	close_db(&f);
}

/* The lock stays after COMMIT; the contents can be read all the same, and the
 * next run starts without it. */
static void an_exclusive_locking_mode_ends_with_the_run(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f,
		  T "INSERT INTO t VALUES (1, 1) }\n"
		    "session a\n"
		    "step mode { PRAGMA locking_mode = exclusive }\n"
		    "step write { UPDATE t SET v = v + 1 }\n"
		    "session b\n"
		    "step other { UPDATE t SET v = v + 10 }\n",
		  &defaults);
	for (unsigned i = 0; i < 2; i++) {
		begin(&f);
		assert_string_equal(run(&f, "other"), "changes 1");
		assert_string_equal(run(&f, "mode"), "'exclusive'");
		assert_string_equal(run(&f, "write"), "changes 1");
		assert_string_equal(run(&f, "other"), "! SQLITE_BUSY");
		end(&f);
		assert_string_equal(contents(&f), "t(1,12)");
	}
	close_db(&f);
}

static void random_numbers_and_the_clock_repeat(void **state)
{
	char first[3][300], text[300];
	struct fixture f;

	(void)state;
	open_with(&f,
		  "session a\n"
		  "step r { SELECT random(), hex(randomblob(8)),\n"
		  "  datetime('now'), CURRENT_TIMESTAMP }\n",
		  &defaults);
	for (unsigned i = 0; i < 3; i++) {
		begin_variant(&f, i);
		strcpy(first[i], run(&f, "r"));
		end(&f);
	}
	assert_string_not_equal(first[0], first[1]);
	assert_string_not_equal(first[1], first[2]);
	assert_non_null(strstr(first[0], "2026-01-01 00:00:00"));
	assert_non_null(strstr(first[1], "2026-01-01 00:00:00"));
	for (unsigned i = 0; i < 3; i++) {
		begin_variant(&f, i);
		strcpy(text, run(&f, "r"));
		assert_string_equal(text, first[i]);
		end(&f);
	}
	close_db(&f);
}

static void too_many_rows_are_refused(void **state)
{
	struct slm_db_answer answer;
	struct fixture f;

	(void)state;
	open_with(&f,
		  "session a\n"
		  "step none { SELECT 1 WHERE 0 }\n"
		  "step many { WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL\n"
		  "  SELECT i + 1 FROM n WHERE i < 100001) SELECT i FROM n }\n"
		  "step most { WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL\n"
		  "  SELECT i + 1 FROM n WHERE i < 100000) SELECT i FROM n }\n",
		  &defaults);
	begin(&f);
	assert_string_equal(run(&f, "none"), "");
	assert_int_equal(go(&f, "most").result->rows.nrows, 100000);
	assert_int_equal(slm_db_step(f.db, 0, 1, &answer, &f.err),
			 SQLOOM_LIMIT);
	assert_non_null(strstr(f.err.message, "\"many\""));
	assert_int_equal(f.err.line, 3);
	end(&f);
	close_db(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_of_every_type_are_carried),
		cmocka_unit_test(the_most_recent_value_wins_and_no_row_is_null),
		cmocka_unit_test(
			a_step_of_several_statements_has_a_result_for_each),
		cmocka_unit_test(changes_are_told_of_statements_that_make_them),
		cmocka_unit_test(a_wait_ends_when_the_lock_is_free),
		cmocka_unit_test(a_wait_without_end_costs_virtual_time_only),
		cmocka_unit_test(a_deferred_upgrade_is_refused_at_once),
		cmocka_unit_test(without_a_timeout_nobody_waits),
		cmocka_unit_test(blocked_sessions_are_let_go_at_the_end),
		cmocka_unit_test(
			nothing_of_the_run_before_is_on_the_connection),
		cmocka_unit_test(a_setup_may_leave_something_on_the_connection),
		cmocka_unit_test(an_exclusive_locking_mode_ends_with_the_run),
		cmocka_unit_test(random_numbers_and_the_clock_repeat),
		cmocka_unit_test(too_many_rows_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
