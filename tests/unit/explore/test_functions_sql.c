/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What functions execute: SQL that makes SQL, and what is not the same in each
 * run though nothing is wrong with it.
 */
#include "functions_two.h"

static int several_at_once(struct sqloom_call *call, void *arg)
{
	(void)arg;
	sqlite3_busy_timeout(kept(call), 1000);
	return execute(kept(call),
		       "BEGIN IMMEDIATE; UPDATE acct SET bal = bal - 1;"
		       "UPDATE acct SET bal = bal - 2; COMMIT;");
}

static void every_statement_of_a_script_is_a_step(void **state)
{
	(void)state;
	/* As with BEGIN IMMEDIATE, SELECT, UPDATE, COMMIT. */
	two(several_at_once, set_account_up, 8, 0, SQLOOM_HOLDS);
}

static void minus(sqlite3_context *context, int n, sqlite3_value **values)
{
	(void)n;
	sqlite3_result_int(context,
			   query(sqlite3_context_db_handle(context), get) -
				   sqlite3_value_int(values[0]));
}

static int pay_by_a_function(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);

	(void)arg;
	sqlite3_create_function(db, "minus", 1, SQLITE_UTF8, NULL, minus, NULL,
				NULL);
	return execute(db, "UPDATE acct SET bal = minus(10)");
}

static void sql_of_sql_functions_is_no_step(void **state)
{
	(void)state;
	two(pay_by_a_function, set_account_up, 2, 0, SQLOOM_HOLDS);
}

static int set_trigger_up(struct sqloom_call *call, void *arg)
{
	return set_account_up(call, arg) ||
	       run_script(call,
			  "CREATE TABLE log (id INTEGER PRIMARY KEY, bal);"
			  "CREATE TRIGGER note AFTER UPDATE ON acct BEGIN"
			  "  INSERT INTO log (bal) VALUES (new.bal); END");
}

static void triggers_are_no_steps(void **state)
{
	(void)state;
	two(pay, set_trigger_up, 6, 4, SQLOOM_BROKEN);
}

static int set_fts_up(struct sqloom_call *call, void *arg)
{
	return set_account_up(call, arg) ||
	       run_script(call, "CREATE VIRTUAL TABLE f USING fts5 (x)");
}

static int index_and_pay(struct sqloom_call *call, void *arg)
{
	char sql[100];

	snprintf(sql, sizeof(sql), "INSERT INTO f (x) VALUES ('hello %s')",
		 sqloom_call_name(call));
	return execute(kept(call), sql) ? -1 : pay(call, arg);
}

static void the_statements_of_fts5_are_no_steps(void **state)
{
	struct sqloom_report *report =
		explore_two(index_and_pay, NULL, set_fts_up);

	(void)state;
	assert_int_equal(report->trace.explored, 20);
	assert_int_equal(report->trace.wrong, 12);
	assert_non_null(strstr(report->trace.reason, "FTS5"));
	sqloom_report_free(report);
}

static int set_unique_up(struct sqloom_call *call, void *arg)
{
	(void)arg;
	return run_script(call, "CREATE TABLE u (k UNIQUE)");
}

static int insert_once(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);

	(void)arg;
	if (query(db, "SELECT count(*) FROM u WHERE k = 1") > 0)
		return 0;
	return execute(db, "INSERT INTO u VALUES (1)") ?
		       sqloom_call_fail(call, "%s", sqlite3_errmsg(db)) :
		       0;
}

static void a_refused_statement_is_told_with_its_code(void **state)
{
	struct sqloom_report *report =
		explore_two(insert_once, NULL, set_unique_up);

	(void)state;
	assert_figures(report, 6, 4, SQLOOM_BROKEN);
	assert_int_equal(report->trace.findings[0].class, SLM_CLASS_ERROR);
	assert_string_equal(report->trace.findings[0].name,
			    "integrity error after check");
	sqloom_report_free(report);
}

static int set_keys_up(struct sqloom_call *call, void *arg)
{
	(void)arg;
	return run_script(call, "CREATE TABLE a (id INTEGER PRIMARY KEY"
				"  AUTOINCREMENT, v);"
				"CREATE TABLE r (v);"
				"CREATE TABLE child (id INTEGER PRIMARY KEY,"
				"  a INTEGER REFERENCES a (id))");
}

static int insert_keyed(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);
	char sql[100];
	int key;

	(void)arg;
	snprintf(sql, sizeof(sql), "INSERT INTO a (v) VALUES ('%s')",
		 sqloom_call_name(call));
	if (execute(db, sql))
		return -1;
	key = (int)sqlite3_last_insert_rowid(db);
	if (execute_int(db, "INSERT INTO child (a) VALUES (?)", key))
		return -1;
	snprintf(sql, sizeof(sql), "INSERT INTO r (v) VALUES ('%s')",
		 sqloom_call_name(call));
	return execute(db, sql);
}

/* Whoever comes first gets the lower key, and that is no difference. */
static void generated_keys_are_equal_in_every_order(void **state)
{
	(void)state;
	two(insert_keyed, set_keys_up, 20, 0, SQLOOM_HOLDS);
}

static int insert_random(struct sqloom_call *call, void *arg)
{
	(void)arg;
	return execute(kept(call), "INSERT INTO r (v) VALUES (random())");
}

static void random_values_are_masked(void **state)
{
	struct sqloom_report *report =
		explore_two(insert_random, NULL, set_keys_up);

	(void)state;
	assert_figures(report, 2, 0, SQLOOM_HOLDS);
	assert_true(has_note(report, "r.v differs between two equal serial "
				     "runs"));
	sqloom_report_free(report);
}

static int insert_time(struct sqloom_call *call, void *arg)
{
	(void)arg;
	return execute(kept(call), "INSERT INTO r (v) VALUES (julianday())");
}

static void the_clock_stands_still(void **state)
{
	struct sqloom_report *report =
		explore_two(insert_time, NULL, set_keys_up);

	(void)state;
	assert_figures(report, 2, 0, SQLOOM_HOLDS);
	assert_int_equal(report->trace.nnotes, 0);
	sqloom_report_free(report);
}

static int make_a_table(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);
	int count;

	(void)arg;
	if (execute(db, "CREATE TABLE IF NOT EXISTS made (v)"))
		return sqloom_call_fail(call, "%s", sqlite3_errmsg(db));
	count = query(db, "SELECT count(*) FROM made");
	return execute_int(db, "INSERT INTO made VALUES (?)", count);
}

/* What is in a table that a call has made is compared, too: 0 and 1, not 0
 * and 0. */
static void tables_that_calls_make_are_compared(void **state)
{
	struct sqloom_report *report = explore_two(make_a_table, NULL, NULL);

	(void)state;
	assert_int_equal(report->trace.explored, 20);
	assert_int_equal(report->trace.verdict, SQLOOM_BROKEN);
	assert_true(report->trace.by_class[SLM_CLASS_CONTENTS] > 0);
	sqloom_report_free(report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		guarded(every_statement_of_a_script_is_a_step),
		guarded(sql_of_sql_functions_is_no_step),
		guarded(triggers_are_no_steps),
		guarded(the_statements_of_fts5_are_no_steps),
		guarded(a_refused_statement_is_told_with_its_code),
		guarded(generated_keys_are_equal_in_every_order),
		guarded(random_values_are_masked),
		guarded(the_clock_stands_still),
		guarded(tables_that_calls_make_are_compared),
	};

	return cmocka_run_group_tests(tests, NULL, nothing_leaks);
}
