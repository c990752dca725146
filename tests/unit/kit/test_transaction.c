/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks, marks, broken blocks and hooks, on both kinds of databases. */
#include "transaction_help.h"

static struct sqloom_atomic_options options;

static enum sqloom_status begin_with(void)
{
	return sqloom_atomic_begin(w.db, &options, &w.err);
}

/* ---- Executing --------------------------------------------------------- */

static void test_values(void **state)
{
	char *text = (char *)"kept";

	(void)state;
	exec("INSERT INTO t VALUES (1, 'one'), (2, NULL); ;");
	OK(sqloom_query(w.db, "SELECT b FROM t ORDER BY a", &text, &w.err));
	assert_string_equal(text, "one");
	sqloom_text_free(text);
	OK(sqloom_query(w.db, "SELECT b FROM t WHERE a = 2", &text, &w.err));
	assert_null(text);
	OK(sqloom_query(w.db, "SELECT 1; SELECT b FROM t WHERE a = 9", &text,
			&w.err));
	assert_null(text);
	OK(sqloom_query(w.db, "SELECT 5; SELECT 6 -- last\n;", &text, &w.err));
	assert_string_equal(text, "6");
	sqloom_text_free(text);
	text = (char *)"kept";
	FAILS(sqloom_query(w.db, "SELECT 5; SELECT nothing FROM t", &text,
			   &w.err),
	      SQLOOM_DATABASE, "cannot execute \"SELECT");
	assert_string_equal(text, "kept");
	assert_string_equal(w.err.sqlstate, w.pg ? "42703" : "1");
}

/* ---- Blocks ------------------------------------------------------------ */

static void test_commit_and_rollback(void **state)
{
	(void)state;
	assert_int_equal(sqloom_atomic_depth(w.db), 0);
	begin();
	assert_int_equal(sqloom_atomic_depth(w.db), 1);
	exec(ROW);
	assert_int_equal(committed(), 0);
	end(true);
	assert_int_equal(committed(), 1);
	assert_int_equal(sqloom_atomic_depth(w.db), 0);
	begin();
	exec("DELETE FROM t");
	assert_int_equal(inside(), 0);
	end(false);
	assert_int_equal(committed(), 1);
}

static void test_nested(void **state)
{
	(void)state;
	begin();
	exec(ROW);
	begin();
	exec("INSERT INTO t VALUES (2, 'two')");
	begin();
	assert_int_equal(sqloom_atomic_depth(w.db), 3);
	exec("INSERT INTO t VALUES (3, 'three')");
	end(true);
	assert_int_equal(inside(), 3);
	end(false);
	assert_int_equal(inside(), 1);
	begin();
	exec("INSERT INTO t VALUES (4, 'four')");
	end(true);
	end(true);
	assert_int_equal(committed(), 2);
	assert_int_equal(ask(w.other, "SELECT max(a) FROM t"), 4);
}

static void test_without_savepoint(void **state)
{
	(void)state;
	begin();
	exec(ROW);
	begin_plain();
	exec("INSERT INTO t VALUES (2, 'two')");
	end(true);
	assert_false(sqloom_get_rollback(w.db));
	end(true);
	assert_int_equal(committed(), 2);

	begin();
	exec("DELETE FROM t");
	begin_plain();
	end(false);
	assert_true(sqloom_get_rollback(w.db));
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_DATABASE,
	      "had no savepoint");
	assert_int_equal(committed(), 2);

	/* The program says that it does not matter. */
	begin();
	exec("DELETE FROM t");
	begin_plain();
	end(false);
	OK(sqloom_set_rollback(w.db, false, &w.err));
	end(true);
	assert_int_equal(committed(), 0);
}

static void test_broken_without_savepoint(void **state)
{
	(void)state;
	exec(ROW);
	begin();
	begin_plain();
	break_block();
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_DATABASE,
	      "broken since");
	FAILS(sqloom_exec(w.db, "SELECT 1", &w.err), SQLOOM_DATABASE,
	      "the transaction is broken since");
	FAILS(sqloom_set_rollback(w.db, false, &w.err), SQLOOM_USAGE,
	      "broken since");
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_DATABASE,
	      "broken since");
	assert_int_equal(committed(), 1);
	exec("DELETE FROM t");
}

static void test_durable(void **state)
{
	(void)state;
	sqloom_atomic_options_init(&options);
	options.durable = true;
	OK(begin_with());
	FAILS(begin_with(), SQLOOM_USAGE, "inside of another block");
	assert_int_equal(sqloom_atomic_depth(w.db), 1);
	exec(ROW);
	end(true);
	assert_int_equal(committed(), 1);
}

static void test_marks(void **state)
{
	(void)state;
	begin();
	assert_false(sqloom_get_rollback(w.db));
	exec(ROW);
	OK(sqloom_set_rollback(w.db, true, &w.err));
	assert_true(sqloom_get_rollback(w.db));
	assert_int_equal(inside(), 1);
	begin();
	assert_false(sqloom_get_rollback(w.db));
	end(true);
	end(true);
	assert_int_equal(committed(), 0);
	begin();
	exec(ROW);
	OK(sqloom_set_rollback(w.db, true, &w.err));
	OK(sqloom_set_rollback(w.db, false, &w.err));
	end(true);
	assert_int_equal(committed(), 1);
	/* A marked block without a savepoint takes the outer one with it. */
	begin();
	exec("DELETE FROM t");
	begin_plain();
	OK(sqloom_set_rollback(w.db, true, &w.err));
	end(true);
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_DATABASE,
	      "had no savepoint");
	assert_int_equal(committed(), 1);
}

/* ---- Broken ------------------------------------------------------------ */

static void test_broken(void **state)
{
	(void)state;
	exec(ROW);
	begin();
	exec("INSERT INTO t VALUES (2, 'two')");
	break_block();
	assert_true(sqloom_get_rollback(w.db));
	FAILS(sqloom_exec(w.db, "SELECT 1", &w.err), SQLOOM_DATABASE,
	      "(\"" WRONG "\"); roll back to a savepoint first");
	assert_string_equal(w.err.sqlstate, w.pg ? "23505" : "1555");
	FAILS(sqloom_atomic_begin(w.db, NULL, &w.err), SQLOOM_DATABASE,
	      "the transaction is broken since");
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_DATABASE,
	      "is rolled back");
	assert_int_equal(committed(), 1);
	assert_int_equal(inside(), 1);
}

static void test_broken_inside(void **state)
{
	(void)state;
	exec(ROW);
	begin();
	exec("INSERT INTO t VALUES (2, 'two')");
	begin();
	exec("INSERT INTO t VALUES (3, 'three')");
	break_block();
	end(false);
	assert_false(sqloom_get_rollback(w.db));
	assert_int_equal(inside(), 2);
	begin();
	break_block();
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_DATABASE,
	      "begin an inner block");
	end(true);
	assert_int_equal(committed(), 2);
}

static void test_restart(void **state)
{
	(void)state;
	exec(ROW);
	begin();
	exec("INSERT INTO t VALUES (2, 'two')");
	begin();
	hook((char *)"gone");
	exec("INSERT INTO t VALUES (3, 'three')");
	break_block();
	OK(sqloom_atomic_restart(w.db, &w.err));
	assert_int_equal(w.drops, 1);
	assert_int_equal(inside(), 2);
	hook((char *)"kept");
	OK(sqloom_set_rollback(w.db, true, &w.err));
	OK(sqloom_atomic_restart(w.db, &w.err));
	assert_false(sqloom_get_rollback(w.db));
	hook((char *)"last");
	end(true);
	end(true);
	assert_int_equal(committed(), 2);
	assert_string_equal(w.log, "last");
	assert_int_equal(w.drops, 3);
}

static void test_restart_outermost(void **state)
{
	char *level = NULL;

	(void)state;
	exec(ROW);
	sqloom_atomic_options_init(&options);
	options.isolation = "serializable";
	OK(begin_with());
	hook((char *)"gone");
	exec("INSERT INTO t VALUES (2, 'two')");
	break_block();
	OK(sqloom_atomic_restart(w.db, &w.err));
	assert_int_equal(w.drops, 1);
	assert_int_equal(inside(), 1);
	if (w.pg) {
		OK(sqloom_query(w.db, "SHOW transaction_isolation", &level,
				&w.err));
		assert_string_equal(level, "serializable");
		sqloom_text_free(level);
	}
	exec("INSERT INTO t VALUES (5, 'five')");
	end(true);
	assert_int_equal(committed(), 2);
	assert_string_equal(w.log, "");
	begin();
	begin_plain();
	FAILS(sqloom_atomic_restart(w.db, &w.err), SQLOOM_USAGE,
	      "no savepoint");
	end(true);
	end(true);
}

/* ---- Hooks ------------------------------------------------------------- */

static void test_hooks(void **state)
{
	(void)state;
	hook((char *)"0");
	assert_string_equal(w.log, "0");
	assert_int_equal(w.drops, 1);
	begin();
	hook((char *)"a");
	begin();
	hook((char *)"b");
	begin();
	hook((char *)"x");
	end(false);
	assert_int_equal(w.drops, 2);
	end(true);
	begin();
	hook((char *)"y");
	hook((char *)"z");
	end(false);
	assert_int_equal(w.drops, 4);
	hook((char *)"c");
	assert_string_equal(w.log, "0");
	end(true);
	assert_string_equal(w.log, "0abc");
	assert_int_equal(w.drops, 7);
	begin();
	hook((char *)"never");
	end(false);
	assert_string_equal(w.log, "0abc");
	assert_int_equal(w.drops, 8);
}

/* The hooks of a block without a savepoint are those of the one around it. */
static void test_hooks_without_savepoint(void **state)
{
	(void)state;
	begin();
	hook((char *)"a");
	begin_plain();
	hook((char *)"b");
	end(false);
	assert_int_equal(w.drops, 0);
	OK(sqloom_set_rollback(w.db, false, &w.err));
	end(true);
	assert_string_equal(w.log, "ab");
	begin();
	begin_plain();
	hook((char *)"c");
	end(false);
	end(false);
	assert_string_equal(w.log, "ab");
	assert_int_equal(w.drops, 3);
}

static int sees_commit(void *arg)
{
	(void)arg;
	return committed() == 1 && sqloom_atomic_depth(w.db) == 0 ? 0 : 1;
}

static void test_hook_runs_behind_commit(void **state)
{
	(void)state;
	begin();
	OK(sqloom_on_commit(w.db, sees_commit, NULL, NULL, false, &w.err));
	exec(ROW);
	end(true);
}

static void test_failing_hooks(void **state)
{
	(void)state;
	begin();
	exec(ROW);
	hook((char *)"a");
	OK(sqloom_on_commit(w.db, bad_hook, (char *)"B", drop, true, &w.err));
	hook((char *)"c");
	OK(sqloom_on_commit(w.db, bad_hook, (char *)"D", drop, false, &w.err));
	hook((char *)"e");
	hook((char *)"f");
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_CALL,
	      "the block is committed, but 2 of its hooks failed (the first: "
	      "number 2, which returned 7), and 2 behind them did not run");
	assert_string_equal(w.log, "aBcD");
	assert_int_equal(w.drops, 6);
	assert_int_equal(committed(), 1);
	FAILS(sqloom_on_commit(w.db, bad_hook, (char *)"!", drop, true, &w.err),
	      SQLOOM_CALL, "ran at once");
	assert_int_equal(w.drops, 7);
}

/* Registers itself again, as often as arg says, in a block of its own. */
static int again_hook(void *arg)
{
	int *left = arg;

	strcat(w.log, "<");
	if (--*left > 0) {
		begin();
		exec("INSERT INTO t (a) SELECT count(*) + 10 FROM t");
		OK(sqloom_on_commit(w.db, again_hook, left, drop, false,
				    &w.err));
		end(true);
		hook((char *)"h");
	}
	strcat(w.log, ">");
	return 0;
}

static void test_hooks_of_hooks(void **state)
{
	int left = 3;

	(void)state;
	begin();
	OK(sqloom_on_commit(w.db, again_hook, &left, drop, false, &w.err));
	hook((char *)"a");
	end(true);
	/* One behind the other, never inside. */
	assert_string_equal(w.log, "<>a<>h<>h");
	assert_int_equal(w.drops, 6);
	assert_int_equal(committed(), 2);
	left = 2;
	*w.log = '\0';
	OK(sqloom_on_commit(w.db, again_hook, &left, drop, false, &w.err));
	assert_string_equal(w.log, "<><>h");
	assert_int_equal(w.drops, 9);
}

static int leaving_hook(void *arg)
{
	(void)arg;
	begin();
	exec(ROW);
	hook((char *)"never");
	begin();
	return 0;
}

static int closing_hook(void *arg)
{
	(void)arg;
	FAILS(sqloom_db_close(w.db, &w.err), SQLOOM_USAGE, "by a hook");
	return 0;
}

static void test_bad_hooks(void **state)
{
	(void)state;
	begin();
	OK(sqloom_on_commit(w.db, closing_hook, NULL, drop, false, &w.err));
	OK(sqloom_on_commit(w.db, leaving_hook, NULL, drop, true, &w.err));
	hook((char *)"a");
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_CALL,
	      "number 2, which left a block open");
	assert_string_equal(w.log, "a");
	assert_int_equal(w.drops, 4);
	assert_int_equal(sqloom_atomic_depth(w.db), 0);
	assert_int_equal(committed(), 0);
}

static void test_hooks_of_broken(void **state)
{
	(void)state;
	exec(ROW);
	begin();
	hook((char *)"a");
	break_block();
	FAILS(sqloom_on_commit(w.db, log_hook, (char *)"b", drop, true, &w.err),
	      SQLOOM_USAGE, "the transaction is broken since");
	assert_int_equal(w.drops, 1);
	end(false);
	assert_int_equal(w.drops, 2);
	assert_string_equal(w.log, "");
}

/* ---- Constraints, isolation -------------------------------------------- */

static void test_deferred_constraint(void **state)
{
	(void)state;
	if (!w.pg)
		exec("PRAGMA foreign_keys = on");
	exec("CREATE TABLE u (a INTEGER REFERENCES t (a) DEFERRABLE INITIALLY "
	     "DEFERRED)");
	begin();
	hook((char *)"a");
	begin();
	exec("INSERT INTO u VALUES (7)");
	end(true);
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_DATABASE,
	      "cannot commit: ");
	assert_non_null(strstr(w.err.message, "; the block is rolled back"));
	assert_string_equal(w.err.sqlstate, w.pg ? "23503" : "787");
	assert_string_equal(w.log, "");
	assert_int_equal(w.drops, 1);
	assert_int_equal(ask(w.other, "SELECT count(*) FROM u"), 0);
	begin();
	exec("INSERT INTO u VALUES (1);" ROW);
	end(true);
	assert_int_equal(ask(w.other, "SELECT count(*) FROM u"), 1);
}

static void test_isolation(void **state)
{
	char *level = NULL;

	(void)state;
	sqloom_atomic_options_init(&options);
	options.isolation = "Repeatable Read";
	OK(begin_with());
	FAILS(begin_with(), SQLOOM_USAGE, "set it on the outermost");
	if (w.pg) {
		OK(sqloom_query(w.db, "SHOW transaction_isolation", &level,
				&w.err));
		assert_string_equal(level, "repeatable read");
		sqloom_text_free(level);
	}
	end(true);
	options.isolation = "snapshot; DROP TABLE t";
	FAILS(begin_with(), SQLOOM_USAGE, "no isolation level \"snapshot");
	assert_int_equal(sqloom_atomic_depth(w.db), 0);
}

static void test_immediate(void **state)
{
	(void)state;
	sqloom_atomic_options_init(&options);
	options.immediate = true;
	OK(begin_with());
	FAILS(sqloom_exec(w.other, "BEGIN IMMEDIATE", &w.err), SQLOOM_DATABASE,
	      "locked");
	OK(begin_with());
	end(true);
	end(true);
	begin();
	FAILS(begin_with(), SQLOOM_USAGE, "does not hold the write lock");
	end(true);
	/* Somebody else has it. */
	OK(sqloom_exec(w.other, "BEGIN IMMEDIATE", &w.err));
	FAILS(begin_with(), SQLOOM_DATABASE, "locked");
	assert_string_equal(w.err.sqlstate, "5");
	assert_int_equal(sqloom_atomic_depth(w.db), 0);
	OK(sqloom_exec(w.other, "COMMIT", &w.err));
	OK(begin_with());
	end(true);
}

/* ---- A transaction that the program began ------------------------------ */

static void test_taken_up(void **state)
{
	(void)state;
	assert_true(raw("BEGIN"));
	FAILS(sqloom_on_commit(w.db, log_hook, (char *)"a", drop, false,
			       &w.err),
	      SQLOOM_USAGE, "the hook would never run");
	sqloom_atomic_options_init(&options);
	options.durable = true;
	FAILS(begin_with(), SQLOOM_USAGE, "inside of a transaction");
	sqloom_atomic_options_init(&options);
	options.isolation = "serializable";
	FAILS(begin_with(), SQLOOM_USAGE, "outermost");
	exec(ROW);
	begin_plain();
	assert_int_equal(sqloom_atomic_depth(w.db), 1);
	FAILS(sqloom_on_commit(w.db, log_hook, (char *)"a", drop, false,
			       &w.err),
	      SQLOOM_USAGE, "the hook would never run");
	break_block();
	end(false);
	assert_int_equal(inside(), 1);
	begin();
	exec("INSERT INTO t VALUES (2, 'two')");
	end(true);
	assert_int_equal(committed(), 0);
	assert_true(raw("COMMIT"));
	assert_int_equal(committed(), 2);
	assert_int_equal(w.drops, 2);
	/* Hooks are seen again. */
	begin();
	hook((char *)"b");
	end(true);
	assert_string_equal(w.log, "b");
}

/* ---- A function in a block --------------------------------------------- */

static int insert_fn(struct sqloom_db *db, void *arg)
{
	if (sqloom_exec(db, ROW, NULL))
		return 3;
	return *(int *)arg;
}

static int leaving_fn(struct sqloom_db *db, void *arg)
{
	(void)arg;
	exec(ROW);
	begin();
	begin();
	assert_int_equal(sqloom_atomic_depth(db), 3);
	return 0;
}

static int ending_fn(struct sqloom_db *db, void *arg)
{
	OK(sqloom_atomic_end(db, true, &w.err));
	if (*(int *)arg)
		begin();
	return 0;
}

static int swallowing_fn(struct sqloom_db *db, void *arg)
{
	(void)arg;
	sqloom_exec(db, WRONG, NULL);
	return 0;
}

static void test_functions(void **state)
{
	int result = 4;

	(void)state;
	FAILS(sqloom_atomic(w.db, NULL, insert_fn, &result, &w.err),
	      SQLOOM_CALL, "returned 4, and the block is rolled back");
	assert_int_equal(committed(), 0);
	result = 0;
	OK(sqloom_atomic(w.db, NULL, insert_fn, &result, &w.err));
	assert_int_equal(committed(), 1);
	FAILS(sqloom_atomic(w.db, NULL, insert_fn, &result, &w.err),
	      SQLOOM_CALL, "returned 3");
	assert_string_equal(w.err.sqlstate, w.pg ? "23505" : "1555");
	FAILS(sqloom_atomic(w.db, NULL, swallowing_fn, NULL, &w.err),
	      SQLOOM_DATABASE, "broken since");
	exec("DELETE FROM t");
	FAILS(sqloom_atomic(w.db, NULL, leaving_fn, NULL, &w.err), SQLOOM_USAGE,
	      "left 2 inner blocks open");
	assert_int_equal(committed(), 0);
	FAILS(sqloom_atomic(w.db, NULL, ending_fn, &result, &w.err),
	      SQLOOM_USAGE, "ended that block");
	result = 1;
	FAILS(sqloom_atomic(w.db, NULL, ending_fn, &result, &w.err),
	      SQLOOM_USAGE, "ended that block");
	assert_int_equal(sqloom_atomic_depth(w.db), 0);
	begin();
	FAILS(sqloom_atomic(w.db, NULL, ending_fn, &result, &w.err),
	      SQLOOM_USAGE, "ended that block");
	assert_int_equal(sqloom_atomic_depth(w.db), 1);
	end(true);
}

static int closing_fn(struct sqloom_db *db, void *arg)
{
	(void)arg;
	FAILS(sqloom_db_close(db, &w.err), SQLOOM_USAGE, "inside of the");
	return 0;
}

static void test_close_inside(void **state)
{
	(void)state;
	OK(sqloom_atomic(w.db, NULL, closing_fn, NULL, &w.err));
}

/* ---- What SQLite does by itself ---------------------------------------- */

static void test_sqlite_rolls_back(void **state)
{
	(void)state;
	exec(ROW);
	begin();
	hook((char *)"a");
	begin();
	exec("INSERT INTO t VALUES (2, 'two')");
	FAILS(sqloom_exec(w.db, "INSERT OR ROLLBACK INTO t VALUES (1, 'x')",
			  &w.err),
	      SQLOOM_DATABASE, "UNIQUE");
	FAILS(sqloom_exec(w.db, "INSERT INTO t VALUES (3, 'x')", &w.err),
	      SQLOOM_DATABASE, "SQLite rolled all of it back: UNIQUE");
	FAILS(sqloom_atomic_restart(w.db, &w.err), SQLOOM_DATABASE,
	      "SQLite rolled all of it back");
	end(false);
	FAILS(sqloom_exec(w.db, "SELECT 1", &w.err), SQLOOM_DATABASE,
	      "is over");
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_DATABASE,
	      "SQLite rolled all of it back");
	assert_int_equal(committed(), 1);
	assert_int_equal(w.drops, 1);
	/* The outermost one can be begun again. */
	begin();
	FAILS(sqloom_exec(w.db, "INSERT OR ROLLBACK INTO t VALUES (1, 'x')",
			  &w.err),
	      SQLOOM_DATABASE, "UNIQUE");
	OK(sqloom_atomic_restart(w.db, &w.err));
	exec("INSERT INTO t VALUES (2, 'two')");
	end(true);
	assert_int_equal(committed(), 2);
}

/* COMMIT waits for readers, and leaves the transaction open if it may not. */
static void test_sqlite_busy_commit(void **state)
{
	(void)state;
	exec(ROW);
	OK(sqloom_exec(w.other, "BEGIN; SELECT * FROM t", &w.err));
	begin();
	hook((char *)"a");
	exec("INSERT INTO t VALUES (2, 'two')");
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_DATABASE,
	      "cannot commit: database is locked");
	assert_string_equal(w.err.sqlstate, "5");
	assert_true(sqlite3_get_autocommit(sqloom_db_sqlite(w.db)));
	assert_int_equal(w.drops, 1);
	OK(sqloom_exec(w.other, "COMMIT", &w.err));
	assert_int_equal(committed(), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_values),
		BOTH(test_commit_and_rollback),
		BOTH(test_nested),
		BOTH(test_without_savepoint),
		BOTH(test_broken_without_savepoint),
		BOTH(test_durable),
		BOTH(test_marks),
		BOTH(test_broken),
		BOTH(test_broken_inside),
		BOTH(test_restart),
		BOTH(test_restart_outermost),
		BOTH(test_hooks),
		BOTH(test_hooks_without_savepoint),
		BOTH(test_hook_runs_behind_commit),
		BOTH(test_failing_hooks),
		BOTH(test_hooks_of_hooks),
		BOTH(test_bad_hooks),
		BOTH(test_hooks_of_broken),
		BOTH(test_deferred_constraint),
		BOTH(test_isolation),
		SQLITE(test_immediate),
		BOTH(test_taken_up),
		BOTH(test_functions),
		BOTH(test_close_inside),
		SQLITE(test_sqlite_rolls_back),
		SQLITE(test_sqlite_busy_commit),
	};

	return cmocka_run_group_tests(tests, start_all, stop_all);
}
