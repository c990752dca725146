/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locking a table. Whether it is locked is asked by a second connection that
 * does not wait; nothing is timed.
 */
#include "transaction_help.h"

/* Can the other connection have the lock (PostgreSQL: in mode) now? */
static bool is_free(const char *mode)
{
	char sql[120];
	enum sqloom_status status;

	snprintf(sql, sizeof(sql),
		 w.pg ? "BEGIN; LOCK TABLE t IN %s MODE NOWAIT" :
			"BEGIN IMMEDIATE -- %s",
		 mode);
	status = sqloom_exec(w.other, sql, &w.err);
	if (status) {
		assert_int_equal(status, SQLOOM_DATABASE);
		assert_string_equal(w.err.sqlstate, w.pg ? "55P03" : "5");
	}
	if (w.pg || !status)
		OK(sqloom_exec(w.other, "ROLLBACK", &w.err));
	return !status;
}

static void take(void)
{
	OK(sqloom_exec(w.other,
		       w.pg ? "BEGIN; LOCK TABLE t" : "BEGIN IMMEDIATE",
		       &w.err));
}

static void give_back(void)
{
	OK(sqloom_exec(w.other, "COMMIT", &w.err));
}

static void test_locks(void **state)
{
	(void)state;
	begin();
	assert_true(is_free("ACCESS SHARE"));
	OK(sqloom_lock_table(w.db, "t", NULL, -1, &w.err));
	assert_false(is_free("ACCESS SHARE"));
	exec(ROW);
	end(true);
	assert_true(is_free("ACCESS EXCLUSIVE"));
	begin();
	begin();
	OK(sqloom_lock_table(w.db, "t", "share Row exclusive", 0, &w.err));
	assert_false(is_free("ROW EXCLUSIVE"));
	if (w.pg)
		assert_true(is_free("ROW SHARE"));
	end(true);
	assert_false(is_free("ROW EXCLUSIVE"));
	end(false);
	assert_true(is_free("ACCESS EXCLUSIVE"));
}

static void test_modes(void **state)
{
	static const char *const modes[] = {
		"ACCESS SHARE",	 "ROW SHARE",
		"ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE",
		"SHARE",	 "SHARE ROW EXCLUSIVE",
		"EXCLUSIVE",	 "ACCESS EXCLUSIVE",
	};

	(void)state;
	for (size_t i = 0; i < 8; i++) {
		begin();
		OK(sqloom_lock_table(w.db, "t", modes[i], 1000, &w.err));
		assert_false(is_free("ACCESS EXCLUSIVE"));
		end(true);
	}
	begin();
	FAILS(sqloom_lock_table(w.db, "t", "SHARED", 0, &w.err), SQLOOM_USAGE,
	      "no lock mode \"SHARED\"");
	FAILS(sqloom_lock_table(w.db, "t", "SHARE MODE; COMMIT", 0, &w.err),
	      SQLOOM_USAGE, "no lock mode");
	assert_true(is_free("ACCESS SHARE"));
	end(true);
}

/* What cannot be had: at once, and in time. The block goes on. */
static void test_refused(void **state)
{
	char *text = NULL;

	(void)state;
	begin();
	if (w.pg)
		exec("SET LOCAL lock_timeout = '1h'");
	take();
	FAILS(sqloom_lock_table(w.db, "t", NULL, 0, &w.err), SQLOOM_DATABASE,
	      "cannot lock table t");
	assert_string_equal(w.err.sqlstate, w.pg ? "55P03" : "5");
	FAILS(sqloom_lock_table(w.db, "t", "SHARE", 20, &w.err),
	      SQLOOM_DATABASE, "goes on without the lock");
	assert_string_equal(w.err.sqlstate, w.pg ? "55P03" : "5");
	assert_false(sqloom_get_rollback(w.db));
	give_back();
	OK(sqloom_lock_table(w.db, "t", NULL, 60000, &w.err));
	assert_false(is_free("ACCESS SHARE"));
	if (w.pg) {
		OK(sqloom_query(w.db, "SHOW lock_timeout", &text, &w.err));
		assert_string_equal(text, "1h");
		sqloom_text_free(text);
	}
	exec(ROW);
	end(true);
	assert_int_equal(committed(), 1);
}

static void test_no_such_table(void **state)
{
	(void)state;
	begin();
	exec(w.pg ? "SELECT 1" : ROW);
	FAILS(sqloom_lock_table(w.db, "nothing", NULL, 0, &w.err),
	      SQLOOM_DATABASE, "nothing");
	assert_false(sqloom_get_rollback(w.db));
	end(true);
}

static void test_names(void **state)
{
	static const char *const wrong[] = {
		"",	"t;", "t t",  "a.b.c", "t.",	 ".t",	"\"t",
		"\"\"", "1t", "t, u", "t\"",   "\"t\"x", "t--", "t(",
	};
	char long_name[400];

	(void)state;
	exec("DROP TABLE IF EXISTS \"Odd \"\"one\"; DROP TABLE IF EXISTS "
	     "\"order\"; CREATE TABLE \"Odd \"\"one\" (a int); "
	     "CREATE TABLE \"order\" (a int)");
	begin();
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		FAILS(sqloom_lock_table(w.db, wrong[i], NULL, 0, &w.err),
		      SQLOOM_USAGE, "cannot be the name of a table");
	FAILS(sqloom_lock_table(w.db, NULL, NULL, 0, &w.err), SQLOOM_USAGE,
	      "cannot be the name of a table");
	memset(long_name, 'x', sizeof(long_name));
	long_name[sizeof(long_name) - 1] = '\0';
	FAILS(sqloom_lock_table(w.db, long_name, NULL, 0, &w.err), SQLOOM_USAGE,
	      "cannot be the name of a table");
	OK(sqloom_lock_table(w.db, "\"Odd \"\"one\"", NULL, 0, &w.err));
	OK(sqloom_lock_table(w.db, "Order", NULL, 0, &w.err));
	OK(sqloom_lock_table(w.db, w.pg ? "Public.\"t\"" : "Main.\"t\"", NULL,
			     0, &w.err));
	assert_false(is_free("ACCESS SHARE"));
	end(true);
	FAILS(sqloom_lock_table(w.db, "t", NULL, 0, &w.err), SQLOOM_USAGE,
	      "outside of a block");
	exec("DROP TABLE \"Odd \"\"one\"; DROP TABLE \"order\"");
}

/* Once something was read it is too late. */
static void test_sqlite_after_read(void **state)
{
	struct sqloom_atomic_options options;

	(void)state;
	begin();
	assert_int_equal(inside(), 0);
	FAILS(sqloom_lock_table(w.db, "t", NULL, 0, &w.err), SQLOOM_USAGE,
	      "something was read");
	end(true);
	sqloom_atomic_options_init(&options);
	options.immediate = true;
	OK(sqloom_atomic_begin(w.db, &options, &w.err));
	assert_int_equal(inside(), 0);
	OK(sqloom_lock_table(w.db, "t", NULL, 0, &w.err));
	end(true);
}

static int count_busy(void *count, int calls)
{
	(void)calls;
	++*(int *)count;
	return 0;
}

/* The program's way to wait is as it was. */
static void test_sqlite_busy_handlers(void **state)
{
	int calls = 0;

	(void)state;
	exec("PRAGMA busy_timeout = 60000");
	begin();
	take();
	FAILS(sqloom_lock_table(w.db, "t", NULL, 0, &w.err), SQLOOM_DATABASE,
	      "locked");
	give_back();
	end(true);
	assert_int_equal(ask(w.db, "PRAGMA busy_timeout"), 60000);
	sqlite3_busy_handler(sqloom_db_sqlite(w.db), count_busy, &calls);
	begin();
	take();
	FAILS(sqloom_lock_table(w.db, "t", NULL, 0, &w.err), SQLOOM_DATABASE,
	      "locked");
	assert_int_equal(calls, 1);
	FAILS(sqloom_exec(w.db, ROW, &w.err), SQLOOM_DATABASE, "locked");
	assert_int_equal(calls, 2);
	give_back();
	end(false);
}

/* Taking the lock does not fix what is seen: what others wrote before it was
 * had is there. */
static void test_pg_snapshot(void **state)
{
	struct sqloom_atomic_options options;

	(void)state;
	sqloom_atomic_options_init(&options);
	options.isolation = "repeatable read";
	OK(sqloom_atomic_begin(w.db, &options, &w.err));
	OK(sqloom_lock_table(w.db, "t", "ACCESS SHARE", 60000, &w.err));
	OK(sqloom_exec(w.other, ROW, &w.err));
	assert_int_equal(inside(), 1);
	end(true);
}

static void test_broken(void **state)
{
	(void)state;
	exec(ROW);
	begin();
	break_block();
	FAILS(sqloom_lock_table(w.db, "t", NULL, 0, &w.err), SQLOOM_DATABASE,
	      "broken since");
	end(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_locks),
		BOTH(test_modes),
		BOTH(test_refused),
		BOTH(test_no_such_table),
		BOTH(test_names),
		SQLITE(test_sqlite_after_read),
		SQLITE(test_sqlite_busy_handlers),
		PG(test_pg_snapshot),
		BOTH(test_broken),
	};

	return cmocka_run_group_tests(tests, start_all, stop_all);
}
