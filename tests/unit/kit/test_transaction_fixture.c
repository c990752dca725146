/* SPDX-License-Identifier: Apache-2.0 */
/* The transaction around an atomic test. */
#include "transaction_help.h"

static void begin_test(void)
{
	OK(sqloom_fixture_begin(w.db, &w.err));
}

static void end_test(void)
{
	OK(sqloom_fixture_rollback(w.db, &w.err));
}

static enum sqloom_status begin_with(bool durable, bool immediate,
				     const char *isolation)
{
	struct sqloom_atomic_options options;

	sqloom_atomic_options_init(&options);
	options.durable = durable;
	options.immediate = immediate;
	options.isolation = isolation;
	return sqloom_atomic_begin(w.db, &options, &w.err);
}

static void test_rolled_back(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		begin_test();
		assert_int_equal(sqloom_atomic_depth(w.db), 0);
		begin();
		assert_int_equal(sqloom_atomic_depth(w.db), 1);
		exec(ROW);
		end(true);
		exec("INSERT INTO t VALUES (2, 'two')");
		assert_int_equal(inside(), 2);
		assert_int_equal(committed(), 0);
		end_test();
		assert_int_equal(inside(), 0);
	}
	assert_int_equal(committed(), 0);
	exec(ROW);
	assert_int_equal(committed(), 1);
}

static int sees_row(void *arg)
{
	strcat(w.log, arg);
	assert_int_equal(sqloom_atomic_depth(w.db), 0);
	return inside() == 1 ? 0 : 1;
}

static void test_hooks(void **state)
{
	(void)state;
	begin_test();
	hook((char *)"0");
	assert_string_equal(w.log, "0");
	begin();
	exec(ROW);
	begin();
	OK(sqloom_on_commit(w.db, sees_row, (char *)"a", drop, false, &w.err));
	end(true);
	begin();
	hook((char *)"x");
	end(false);
	assert_string_equal(w.log, "0");
	end(true);
	assert_string_equal(w.log, "0a");
	begin();
	hook((char *)"y");
	end(false);
	assert_string_equal(w.log, "0a");
	assert_int_equal(w.drops, 4);
	begin();
	hook((char *)"b");
	begin_plain();
	end(true);
	end(true);
	assert_string_equal(w.log, "0ab");
	end_test();
	assert_int_equal(w.drops, 5);
}

/* What is a transaction to the program may be what only one may be. */
static void test_outermost(void **state)
{
	(void)state;
	begin_test();
	assert_int_equal(inside(), 0);
	OK(begin_with(true, false, NULL));
	FAILS(begin_with(true, false, NULL), SQLOOM_USAGE, "durable");
	end(true);
	OK(begin_with(false, true, "serializable"));
	FAILS(begin_with(false, false, "serializable"), SQLOOM_USAGE,
	      "isolation");
	OK(sqloom_lock_table(w.db, "t", NULL, 0, &w.err));
	end(true);
	FAILS(sqloom_lock_table(w.db, "t", NULL, 0, &w.err), SQLOOM_USAGE,
	      "outside of a block");
	end_test();
}

static int insert_fn(struct sqloom_db *db, void *arg)
{
	(void)arg;
	return sqloom_exec(db, ROW, NULL) ? 1 : 0;
}

static void test_retry_inside(void **state)
{
	(void)state;
	begin_test();
	OK(sqloom_retry(w.db, NULL, 3, 1, insert_fn, NULL, &w.err));
	FAILS(sqloom_retry(w.db, NULL, 3, 1, insert_fn, NULL, &w.err),
	      SQLOOM_CALL, "returned 1");
	assert_int_equal(inside(), 1);
	end_test();
	assert_int_equal(committed(), 0);
}

/* Outside of blocks a statement that fails harms nothing. */
static void test_failures(void **state)
{
	(void)state;
	begin_test();
	exec(ROW);
	break_block();
	exec("INSERT INTO t VALUES (2, 'two')");
	begin();
	break_block();
	FAILS(sqloom_exec(w.db, "SELECT 1", &w.err), SQLOOM_DATABASE,
	      "broken since");
	end(false);
	begin();
	break_block();
	OK(sqloom_atomic_restart(w.db, &w.err));
	exec("INSERT INTO t VALUES (3, 'three')");
	end(true);
	assert_int_equal(inside(), 3);
	end_test();
	assert_int_equal(committed(), 0);
}

static void test_deferred_constraint(void **state)
{
	(void)state;
	if (!w.pg)
		exec("PRAGMA foreign_keys = on");
	exec("CREATE TABLE u (a INTEGER REFERENCES t (a) DEFERRABLE INITIALLY "
	     "DEFERRED)");
	begin_test();
	for (int i = 0; i < 2; i++) {
		begin();
		exec("INSERT INTO u VALUES (7)");
		hook((char *)"x");
		begin();
		end(true);
		FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_DATABASE,
		      "cannot commit: ");
		assert_string_equal(w.err.sqlstate, w.pg ? "23503" : "787");
		assert_int_equal(w.drops, i + 1);
		assert_int_equal(ask(w.db, "SELECT count(*) FROM u"), 0);
	}
	begin();
	exec("INSERT INTO u VALUES (1)");
	exec(ROW);
	end(true);
	/* They are as deferred as before. */
	begin();
	exec("INSERT INTO u VALUES (2)");
	exec("INSERT INTO t VALUES (2, 'two')");
	end(true);
	assert_int_equal(ask(w.db, "SELECT count(*) FROM u"), 2);
	assert_string_equal(w.log, "");
	end_test();
}

static void test_left_open(void **state)
{
	(void)state;
	begin_test();
	begin();
	hook((char *)"x");
	begin();
	hook((char *)"y");
	exec(ROW);
	FAILS(sqloom_fixture_rollback(w.db, &w.err), SQLOOM_USAGE,
	      "left 2 blocks open, which are rolled back with it; the last "
	      "statement was \"" ROW "\"");
	assert_int_equal(w.drops, 2);
	assert_string_equal(w.log, "");
	assert_int_equal(sqloom_atomic_depth(w.db), 0);
	assert_int_equal(committed(), 0);
	begin_test();
	end_test();
}

static void test_committed_behind_our_back(void **state)
{
	(void)state;
	begin_test();
	exec(ROW);
	assert_true(raw("COMMIT"));
	FAILS(sqloom_fixture_rollback(w.db, &w.err), SQLOOM_USAGE,
	      w.pg ? "by COMMIT: what was written before is committed" :
		     "by a COMMIT or ROLLBACK");
	assert_int_equal(committed(), 1);
	begin_test();
	begin();
	assert_true(raw("ROLLBACK; BEGIN"));
	if (w.pg)
		FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_USAGE,
		      "by ROLLBACK");
	else
		FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_USAGE,
		      "the savepoint of the block is gone");
	assert_true(raw("DELETE FROM t"));
	sqloom_fixture_rollback(w.db, NULL);
	assert_int_equal(committed(), 1);
	assert_true(raw("BEGIN"));
	assert_true(raw("COMMIT"));
}

static int rolling_hook(void *arg)
{
	(void)arg;
	FAILS(sqloom_fixture_rollback(w.db, &w.err), SQLOOM_USAGE, "by a hook");
	return 0;
}

static int beginning_hook(void *arg)
{
	(void)arg;
	FAILS(sqloom_fixture_begin(w.db, &w.err), SQLOOM_USAGE, "in a hook");
	return 0;
}

static int leaving_hook(void *arg)
{
	(void)arg;
	begin();
	exec(ROW);
	return 0;
}

static void test_misuse(void **state)
{
	(void)state;
	FAILS(sqloom_fixture_rollback(w.db, &w.err), SQLOOM_USAGE,
	      "no atomic test");
	OK(sqloom_on_commit(w.db, beginning_hook, NULL, NULL, false, &w.err));
	begin();
	FAILS(sqloom_fixture_begin(w.db, &w.err), SQLOOM_USAGE,
	      "inside of a block");
	end(true);
	assert_true(raw("BEGIN"));
	FAILS(sqloom_fixture_begin(w.db, &w.err), SQLOOM_USAGE,
	      "inside of a transaction");
	assert_true(raw("ROLLBACK"));
	begin_test();
	FAILS(sqloom_fixture_begin(w.db, &w.err), SQLOOM_USAGE, "is under way");
	FAILS(sqloom_exec(w.db, "COMMIT", &w.err), SQLOOM_USAGE,
	      "COMMIT inside of an atomic test");
	FAILS(sqloom_exec(w.db, "BEGIN", &w.err), SQLOOM_USAGE,
	      "BEGIN inside of an atomic test");
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_USAGE,
	      "there is no block");
	FAILS(sqloom_atomic_restart(w.db, &w.err), SQLOOM_USAGE,
	      "there is no block");
	FAILS(sqloom_set_rollback(w.db, true, &w.err), SQLOOM_USAGE,
	      "there is no block");
	assert_false(sqloom_get_rollback(w.db));
	OK(sqloom_on_commit(w.db, rolling_hook, NULL, NULL, false, &w.err));
	FAILS(sqloom_on_commit(w.db, leaving_hook, NULL, NULL, false, &w.err),
	      SQLOOM_CALL, "left a block open");
	assert_int_equal(inside(), 0);
	end_test();
}

static void test_closed(void **state)
{
	struct sqloom_db *db = w.db;

	(void)state;
	begin_test();
	exec(ROW);
	begin();
	hook((char *)"x");
	FAILS(sqloom_db_close(db, &w.err), SQLOOM_USAGE,
	      "inside of an atomic test");
	assert_int_equal(w.drops, 1);
	open_handle(&w.db);
	assert_int_equal(committed(), 0);
}

static void test_memory(void **state)
{
	(void)state;
	slm_alloc_fail_from(1);
	FAILS(sqloom_fixture_begin(w.db, &w.err), SQLOOM_NOMEM, "memory");
	slm_alloc_fail_from(0);
	begin_test();
	end_test();
}

/* Another connection writes: SQLite has one lock. */
static void test_locked(void **state)
{
	(void)state;
	OK(sqloom_exec(w.other, "BEGIN IMMEDIATE", &w.err));
	FAILS(sqloom_fixture_begin(w.db, &w.err), SQLOOM_DATABASE, "locked");
	OK(sqloom_exec(w.other, "COMMIT", &w.err));
	begin_test();
	end_test();
}

static void test_read_only(void **state)
{
	struct sqloom_db *db = NULL;
	char url[500];

	(void)state;
	snprintf(url, sizeof(url), "file:%s?mode=ro", w.url);
	OK(sqloom_db_open(url, &db, &w.err));
	OK(sqloom_fixture_begin(db, &w.err));
	assert_int_equal(ask(db, "SELECT count(*) FROM t"), 0);
	OK(sqloom_fixture_rollback(db, &w.err));
	OK(sqloom_db_close(db, &w.err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_rolled_back), BOTH(test_hooks),
		BOTH(test_outermost),	BOTH(test_retry_inside),
		BOTH(test_failures),	BOTH(test_deferred_constraint),
		BOTH(test_left_open),	BOTH(test_committed_behind_our_back),
		BOTH(test_misuse),	BOTH(test_closed),
		BOTH(test_memory),	SQLITE(test_locked),
		SQLITE(test_read_only),
	};

	return cmocka_run_group_tests(tests, start_all, stop_all);
}
