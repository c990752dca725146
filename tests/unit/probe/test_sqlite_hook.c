/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wrappers of SQLite's functions, in a program that is linked to the shared
 * libsqlite3: which statements are seen, when they begin and end, and that
 * nothing is locked meanwhile. The other ways to get the wrappers into a
 * program are in test_sqlite_modes.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "probe/sqlite_hook.h"

/* ---- What was seen, as text -------------------------------------------- */

static struct slm_buf seen;

static void on_begin(sqlite3_stmt *stmt, void *userdata)
{
	(void)userdata;
	slm_buf_printf(&seen, "[%s", sqlite3_sql(stmt));
}

static void on_row(sqlite3_stmt *stmt, void *userdata)
{
	const char *text = (const char *)sqlite3_column_text(stmt, 0);

	(void)userdata;
	slm_buf_printf(&seen, " %s", text ? text : "NULL");
}

static void on_end(sqlite3_stmt *stmt, int rc, void *userdata)
{
	(void)userdata;
	assert_non_null(sqlite3_sql(stmt));
	slm_buf_printf(&seen, " =%d]", rc);
}

static void on_other(sqlite3 *db, const char *what, void *userdata)
{
	(void)userdata;
	slm_buf_printf(&seen, "(%s%s)", what, db ? "" : " somewhere");
}

static const struct slm_sqlite_hooks writes = { on_begin, on_row, on_end,
						on_other, NULL };

static void expect(const char *text)
{
	assert_string_equal(seen.data ? seen.data : "", text);
	slm_buf_clear(&seen);
	slm_buf_puts(&seen, "");
}

static sqlite3 *open_db(const char *path)
{
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(path, &db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
				    SQLITE_OPEN_URI,
			    NULL) != SQLITE_OK)
		fail_msg("%s: %s", path, sqlite3_errmsg(db));
	return db;
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *stmt = NULL;

	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	return stmt;
}

static void must(sqlite3 *db, const char *sql)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
}

/* A connection with t(v) of 1, 2, 3; hooks that write are set. */
static sqlite3 *begin_test(void)
{
	sqlite3 *db = open_db(":memory:");

	assert_int_equal(slm_sqlite_hook_install(), SQLOOM_SQLITE_LINKED);
	must(db, "CREATE TABLE t(v PRIMARY KEY);"
		 "INSERT INTO t VALUES (1), (2), (3)");
	slm_buf_clear(&seen);
	slm_sqlite_hook_set(&writes);
	return db;
}

static void end_test(sqlite3 *db)
{
	slm_sqlite_hook_set(NULL);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	slm_buf_deinit(&seen);
}

/* ---- Beginning and ending ---------------------------------------------- */

static void test_to_the_end(void **state)
{
	sqlite3 *db = begin_test();
	sqlite3_stmt *stmt = prepare(db, "SELECT v FROM t");

	(void)state;
	expect("");
	while (sqlite3_step(stmt) == SQLITE_ROW)
		;
	expect("[SELECT v FROM t 1 2 3 =101]");
	/* SQLite resets it by itself. */
	sqlite3_step(stmt);
	expect("[SELECT v FROM t 1");
	while (sqlite3_step(stmt) == SQLITE_ROW)
		;
	expect(" 2 3 =101]");
	sqlite3_reset(stmt);
	sqlite3_reset(stmt);
	sqlite3_finalize(stmt);
	expect("");
	end_test(db);
}

static void test_reset_and_finalize(void **state)
{
	sqlite3 *db = begin_test();
	sqlite3_stmt *stmt = prepare(db, "SELECT v FROM t");

	(void)state;
	sqlite3_step(stmt);
	expect("[SELECT v FROM t 1");
	assert_int_equal(sqlite3_reset(stmt), SQLITE_OK);
	expect(" =0]");
	sqlite3_reset(stmt);
	expect("");
	sqlite3_step(stmt);
	sqlite3_step(stmt);
	expect("[SELECT v FROM t 1 2");
	assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
	expect(" =0]");
	sqlite3_finalize(NULL);
	sqlite3_reset(NULL);
	assert_int_equal(sqlite3_step(NULL), SQLITE_MISUSE);
	expect("");
	end_test(db);
}

static void test_errors(void **state)
{
	sqlite3 *db = begin_test();
	sqlite3_stmt *stmt = prepare(db, "INSERT INTO t VALUES (1)");

	(void)state;
	assert_int_equal(sqlite3_step(stmt), SQLITE_CONSTRAINT);
	expect("[INSERT INTO t VALUES (1) =19]");
	assert_int_equal(sqlite3_step(stmt), SQLITE_CONSTRAINT);
	expect("[INSERT INTO t VALUES (1) =19]");
	assert_int_equal(sqlite3_finalize(stmt), SQLITE_CONSTRAINT);
	expect("");
	/* The old interface tells it only at the end. */
	assert_int_equal(sqlite3_prepare(db, "INSERT INTO t VALUES (2)", -1,
					 &stmt, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ERROR);
	assert_int_equal(sqlite3_reset(stmt), SQLITE_CONSTRAINT);
	assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
	slm_buf_clear(&seen);
	/* An error after a row. */
	stmt = prepare(db, "SELECT abs(v) FROM (SELECT 1 AS v UNION ALL "
			   "SELECT -9223372036854775807 - 1)");
	sqlite3_step(stmt);
	slm_buf_clear(&seen);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ERROR);
	expect(" =1]");
	assert_int_equal(sqlite3_finalize(stmt), SQLITE_ERROR);
	expect("");
	end_test(db);
}

/* What a failed INSERT ... RETURNING says at its finalize must not be lost. */
static void test_interface_is_unchanged(void **state)
{
	sqlite3 *db = begin_test();
	sqlite3_stmt *stmt;

	(void)state;
	must(db, "CREATE TABLE p(i INTEGER PRIMARY KEY);"
		 "CREATE TABLE c(i REFERENCES p DEFERRABLE INITIALLY DEFERRED);"
		 "PRAGMA foreign_keys = on");
	stmt = prepare(db, "INSERT INTO c VALUES (5) RETURNING i");
	slm_buf_clear(&seen);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	assert_int_equal(sqlite3_finalize(stmt), SQLITE_CONSTRAINT);
	assert_int_equal(sqlite3_extended_errcode(db),
			 SQLITE_CONSTRAINT_FOREIGNKEY);
	assert_string_equal(sqlite3_errmsg(db),
			    "FOREIGN KEY constraint failed");
	expect("[INSERT INTO c VALUES (5) RETURNING i 5 =0]");
	end_test(db);
}

/* Two connections to one memory database; writes collide. */
static void test_refused_lock(void **state)
{
	sqlite3 *db = begin_test(), *a, *b;
	sqlite3_stmt *stmt;

	(void)state;
	slm_sqlite_hook_pause();
	a = open_db("file:/hook?vfs=memdb");
	b = open_db("file:/hook?vfs=memdb");
	must(a, "CREATE TABLE t(v)");
	stmt = prepare(b, "INSERT INTO t VALUES (1)");
	must(a, "BEGIN IMMEDIATE");
	slm_sqlite_hook_resume();
	expect("");
	assert_int_equal(sqlite3_step(stmt), SQLITE_BUSY);
	expect("[INSERT INTO t VALUES (1) =5]");
	/* Again without a reset: begins again. */
	assert_int_equal(sqlite3_step(stmt), SQLITE_BUSY);
	expect("[INSERT INTO t VALUES (1) =5]");
	sqlite3_reset(stmt);
	expect("");
	assert_int_equal(sqlite3_step(stmt), SQLITE_BUSY);
	slm_sqlite_hook_pause();
	must(a, "COMMIT");
	slm_sqlite_hook_resume();
	slm_buf_clear(&seen);
	assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
	expect("[INSERT INTO t VALUES (1) =101]");
	sqlite3_finalize(stmt);
	expect("");
	sqlite3_close(a);
	sqlite3_close(b);
	end_test(db);
}

/* ---- What is not seen --------------------------------------------------- */

static void run_inside(sqlite3_context *context, int n, sqlite3_value **values)
{
	(void)n;
	(void)values;
	must(sqlite3_user_data(context), "INSERT INTO t VALUES (99)");
	sqlite3_result_int(context, 1);
}

static void test_nested(void **state)
{
	sqlite3 *db = begin_test();

	(void)state;
	must(db, "CREATE TRIGGER g AFTER INSERT ON t WHEN new.v = 10 BEGIN "
		 "INSERT INTO t VALUES (11); END");
	sqlite3_create_function(db, "inside", 0, SQLITE_UTF8, db, run_inside,
				NULL, NULL);
	slm_buf_clear(&seen);
	must(db, "INSERT INTO t VALUES (10)");
	must(db, "SELECT inside()");
	expect("[INSERT INTO t VALUES (10) =101][SELECT inside() 1 =101]");
	must(db, "CREATE VIRTUAL TABLE f USING fts5(x)");
	must(db, "INSERT INTO f VALUES ('word')");
	expect("[CREATE VIRTUAL TABLE f USING fts5(x) =101]"
	       "[INSERT INTO f VALUES ('word') =101]");
	end_test(db);
}

static void test_inside_of_sqlite(void **state)
{
	char path[] = "/tmp/sqloom-test-XXXXXX";
	sqlite3 *db = begin_test(), *other;
	sqlite3_blob *blob = NULL;
	sqlite3_backup *backup;
	sqlite3_stmt *stmt;
	int fd = mkstemp(path);

	(void)state;
	/* The schema is read by statements, inside of prepare. */
	other = open_db(path);
	must(other, "CREATE TABLE u(v)");
	must(other, "INSERT INTO u VALUES (zeroblob(10))");
	sqlite3_close(other);
	slm_buf_clear(&seen);
	other = open_db(path);
	stmt = prepare(other, "SELECT 1 FROM u");
	sqlite3_finalize(stmt);
	assert_int_equal(sqlite3_blob_open(other, "main", "u", "v", 1, 0,
					   &blob),
			 SQLITE_OK);
	sqlite3_blob_close(blob);
	expect("(sqlite3_blob_open)");
	sqlite3_close(other);
	other = open_db(path);
	sqlite3_table_column_metadata(other, "main", "u", "v", NULL, NULL, NULL,
				      NULL, NULL);
	expect("");
	backup = sqlite3_backup_init(db, "main", other, "main");
	sqlite3_backup_step(backup, 1);
	sqlite3_backup_step(backup, -1);
	assert_int_equal(sqlite3_backup_finish(backup), SQLITE_OK);
	expect("(sqlite3_backup_step somewhere)(sqlite3_backup_step somewhere)");
	sqlite3_close(other);
	close(fd);
	unlink(path);
	end_test(db);
}

static void test_pause(void **state)
{
	sqlite3 *db = begin_test();
	sqlite3_stmt *stmt = prepare(db, "SELECT v FROM t");

	(void)state;
	slm_sqlite_hook_pause();
	slm_sqlite_hook_pause();
	must(db, "SELECT 1");
	slm_sqlite_hook_resume();
	sqlite3_step(stmt);
	slm_sqlite_hook_resume();
	/* It began unseen, and goes on so. */
	sqlite3_step(stmt);
	sqlite3_reset(stmt);
	expect("");
	sqlite3_step(stmt);
	expect("[SELECT v FROM t 1");
	/* What ends in a pause ends unseen. */
	slm_sqlite_hook_pause();
	sqlite3_reset(stmt);
	slm_sqlite_hook_resume();
	sqlite3_reset(stmt);
	expect("");
	sqlite3_step(stmt);
	expect("[SELECT v FROM t 1");
	sqlite3_finalize(stmt);
	expect(" =0]");
	end_test(db);
}

/* A hook can use SQLite without being called for that. */
static void run_more(sqlite3_stmt *stmt, void *userdata)
{
	must(userdata, "SELECT 'hook'");
	slm_buf_printf(&seen, "[%s]", sqlite3_sql(stmt));
}

static void test_sql_in_a_hook(void **state)
{
	sqlite3 *db = begin_test();
	sqlite3 *other = open_db(":memory:");
	struct slm_sqlite_hooks hooks = { .begin = run_more,
					  .userdata = other };

	(void)state;
	slm_sqlite_hook_set(&hooks);
	must(db, "SELECT 1");
	expect("[SELECT 1]");
	slm_sqlite_hook_set(NULL);
	must(db, "SELECT 2");
	expect("");
	sqlite3_close(other);
	end_test(db);
}

/* Statements of one time do not end in another. */
static void test_hooks_change(void **state)
{
	static const struct slm_sqlite_hooks others = { on_begin, on_row,
							on_end, NULL };
	sqlite3 *db = begin_test();
	sqlite3_stmt *stmt = prepare(db, "SELECT v FROM t");

	(void)state;
	sqlite3_step(stmt);
	slm_buf_clear(&seen);
	slm_sqlite_hook_set(&others);
	sqlite3_step(stmt);
	sqlite3_reset(stmt);
	expect("");
	sqlite3_step(stmt);
	slm_sqlite_hook_set(NULL);
	slm_buf_clear(&seen);
	sqlite3_reset(stmt);
	slm_sqlite_hook_set(&others);
	sqlite3_reset(stmt);
	expect("");
	sqlite3_finalize(stmt);
	end_test(db);
}

/* ---- sqlite3_exec() ---------------------------------------------------- */

struct calls {
	struct slm_buf text;
	int abort_at;
	int count;
};

static int note_call(void *userdata, int n, char **values, char **names)
{
	struct calls *calls = userdata;

	for (int i = 0; i < n; i++)
		slm_buf_printf(&calls->text, "%s=%s,", names[i],
			       values[i] ? values[i] : "NULL");
	assert_null(values[n]);
	slm_buf_puts(&calls->text, ";");
	return ++calls->count == calls->abort_at;
}

static void exec_says(sqlite3 *db, const char *sql, int abort_at,
		      struct slm_buf *out)
{
	struct calls calls = { .abort_at = abort_at };
	char *message = (char *)"unset";
	int rc;

	slm_buf_init(&calls.text);
	slm_buf_puts(&calls.text, "");
	rc = sqlite3_exec(db, sql, note_call, &calls, &message);
	slm_buf_clear(out);
	slm_buf_printf(out, "%d %s %s", rc, message ? message : "-",
		       calls.text.data);
	sqlite3_free(message);
	slm_buf_deinit(&calls.text);
}

/* Ours says what the real one says. */
static void test_exec(void **state)
{
	static const struct {
		const char *sql;
		int abort_at;
	} cases[] = {
		{ "SELECT v, NULL AS n FROM t", 0 },
		{ "SELECT v FROM t; SELECT 'x' AS x, x'00'", 0 },
		{ "SELECT v FROM t", 2 },
		{ "SELECT 1; SELECT v FROM t; SELECT 3", 3 },
		{ " -- nothing\n ; ; /* */ ", 0 },
		{ "", 0 },
		{ NULL, 0 },
		{ "SELECT 1;  -- end", 0 },
		{ "SELECT 1; nonsense", 0 },
		{ "SELECT 1; INSERT INTO t VALUES (1); SELECT 2", 0 },
		{ "SELECT abs(-9223372036854775807 - 1)", 0 },
		{ "SELECT v FROM t WHERE 0", 0 },
		{ "SELECT * FROM missing", 0 },
	};
	sqlite3 *db = begin_test();
	struct slm_buf ours, real;

	(void)state;
	slm_buf_init(&ours);
	slm_buf_init(&real);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		exec_says(db, cases[i].sql, cases[i].abort_at, &ours);
		slm_sqlite_hook_set(NULL);
		exec_says(db, cases[i].sql, cases[i].abort_at, &real);
		slm_sqlite_hook_set(&writes);
		assert_string_equal(ours.data, real.data);
	}
	slm_buf_clear(&seen);
	must(db, "SELECT 1; SELECT v FROM t");
	expect("[SELECT 1; 1 =101][SELECT v FROM t 1 2 3 =101]");
	assert_int_equal(sqlite3_exec(NULL, "SELECT 1", NULL, NULL, NULL),
			 SQLITE_MISUSE);
	slm_buf_deinit(&ours);
	slm_buf_deinit(&real);
	end_test(db);
}

static void *try_connection(void *userdata)
{
	sqlite3_mutex *mutex = sqlite3_db_mutex(userdata);

	if (sqlite3_mutex_try(mutex) != SQLITE_OK)
		return NULL;
	sqlite3_mutex_leave(mutex);
	return userdata;
}

/* Another thread can use the connection while a hook runs. */
static void check_unlocked(sqlite3_stmt *stmt, void *userdata)
{
	unsigned *count = userdata;
	pthread_t thread;
	void *got = NULL;

	assert_int_equal(pthread_create(&thread, NULL, try_connection,
					sqlite3_db_handle(stmt)),
			 0);
	pthread_join(thread, &got);
	assert_non_null(got);
	(*count)++;
}

static void check_unlocked_end(sqlite3_stmt *stmt, int rc, void *userdata)
{
	(void)rc;
	check_unlocked(stmt, userdata);
}

static void test_nothing_is_locked(void **state)
{
	unsigned count = 0;
	struct slm_sqlite_hooks hooks = { check_unlocked, check_unlocked,
					  check_unlocked_end, NULL, &count };
	sqlite3 *db = begin_test();
	sqlite3_stmt *stmt = prepare(db, "SELECT v FROM t");

	(void)state;
	slm_sqlite_hook_set(&hooks);
	sqlite3_step(stmt);
	sqlite3_reset(stmt);
	sqlite3_step(stmt);
	sqlite3_finalize(stmt);
	assert_int_equal(count, 6);
	must(db, "SELECT 1; DELETE FROM t");
	assert_int_equal(count, 6 + 5);
	end_test(db);
}

/* ---- Many -------------------------------------------------------------- */

#define OPEN 700

static void test_many_open_statements(void **state)
{
	sqlite3_stmt *stmts[OPEN];
	sqlite3 *db = begin_test();
	int64_t live;

	(void)state;
	expect("");
	live = slm_alloc_live();
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < OPEN; i++)
			stmts[i] = prepare(db, "SELECT v FROM t");
		for (int i = 0; i < OPEN; i++) {
			sqlite3_step(stmts[i]);
			expect("[SELECT v FROM t 1");
		}
		for (int i = 0; i < OPEN; i++) {
			/* In another order. */
			sqlite3_finalize(stmts[i * 3 % OPEN]);
			expect(" =0]");
		}
	}
	slm_sqlite_hook_set(NULL);
	assert_true(slm_alloc_live() <= live);
	end_test(db);
}

static unsigned begun, ended;

static void count_begin(sqlite3_stmt *stmt, void *userdata)
{
	(void)stmt;
	(void)userdata;
	begun++;
}

static void count_end(sqlite3_stmt *stmt, int rc, void *userdata)
{
	(void)stmt;
	(void)rc;
	(void)userdata;
	ended++;
}

/* Without memory each still has its one end. */
static void test_no_memory(void **state)
{
	static const struct slm_sqlite_hooks hooks = { count_begin, NULL,
						       count_end, NULL };
	sqlite3_stmt *stmts[OPEN];
	sqlite3 *db = begin_test();

	(void)state;
	slm_sqlite_hook_set(&hooks);
	for (int i = 0; i < OPEN; i++)
		stmts[i] = prepare(db, "SELECT v FROM t");
	slm_alloc_fail_from(1);
	for (int i = 0; i < OPEN; i++)
		sqlite3_step(stmts[i]);
	assert_int_equal(begun, OPEN);
	assert_in_range(ended, 1, OPEN - 1);
	for (int i = 0; i < OPEN; i++) {
		sqlite3_step(stmts[i]);
		sqlite3_finalize(stmts[i]);
	}
	slm_alloc_fail_from(0);
	assert_int_equal(begun, OPEN);
	assert_int_equal(ended, OPEN);
	end_test(db);
}

/* ---- Threads ----------------------------------------------------------- */

#define THREADS 6
#define ROUNDS 200

static atomic_uint begins, rows, ends;

static void add_begin(sqlite3_stmt *stmt, void *userdata)
{
	(void)stmt;
	(void)userdata;
	atomic_fetch_add(&begins, 1);
}

static void add_row(sqlite3_stmt *stmt, void *userdata)
{
	(void)stmt;
	(void)userdata;
	atomic_fetch_add(&rows, 1);
}

static void add_end(sqlite3_stmt *stmt, int rc, void *userdata)
{
	(void)stmt;
	(void)rc;
	(void)userdata;
	atomic_fetch_add(&ends, 1);
}

static void *work(void *userdata)
{
	sqlite3 *db = open_db(":memory:");
	sqlite3_stmt *stmt = prepare(db, "VALUES (1), (2)");

	(void)userdata;
	for (int i = 0; i < ROUNDS; i++) {
		must(db, "SELECT 1");
		sqlite3_step(stmt);
		sqlite3_reset(stmt);
		sqlite3_step(stmt);
		sqlite3_step(stmt);
		sqlite3_step(stmt);
		sqlite3_reset(stmt);
	}
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return NULL;
}

static void run_threads(void)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, NULL),
				 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void test_threads(void **state)
{
	static const struct slm_sqlite_hooks hooks = { add_begin, add_row,
						       add_end, NULL };
	sqlite3 *db = begin_test();

	(void)state;
	slm_sqlite_hook_set(&hooks);
	run_threads();
	assert_int_equal(begins, THREADS * ROUNDS * 3);
	assert_int_equal(ends, THREADS * ROUNDS * 3);
	assert_int_equal(rows, THREADS * ROUNDS * 4);
	slm_sqlite_hook_set(NULL);
	run_threads();
	assert_int_equal(begins, THREADS * ROUNDS * 3);
	end_test(db);
}

static atomic_bool stop;

static void *keep_installing(void *userdata)
{
	static const struct slm_sqlite_hooks hooks = { add_begin, add_row,
						       add_end, NULL };

	(void)userdata;
	while (!atomic_load(&stop)) {
		slm_sqlite_hook_set(&hooks);
		assert_int_equal(sqloom_sqlite_selftest(),
				 SQLOOM_SQLITE_LINKED);
		slm_sqlite_hook_set(NULL);
	}
	return NULL;
}

/* Hooks come and go while statements run. */
static void test_threads_and_changes(void **state)
{
	sqlite3 *db = begin_test();
	pthread_t thread;

	(void)state;
	slm_sqlite_hook_set(NULL);
	assert_int_equal(pthread_create(&thread, NULL, keep_installing, NULL),
			 0);
	run_threads();
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	assert_true(ends <= begins);
	end_test(db);
}

/* ---- Libraries that are loaded later ------------------------------------ */

static void test_plugin(void **state, const char *path)
{
	int (*run)(sqlite3 *, const char *);
	sqlite3 *db;
	void *library;

	(void)state;
	db = begin_test();
	library = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
	if (!library)
		fail_msg("%s", dlerror());
	*(void **)&run = dlsym(library, "plugin_run");
	assert_non_null(run);
	assert_int_equal(sqloom_sqlite_selftest(), SQLOOM_SQLITE_LINKED);
	assert_int_equal(run(db, "SELECT v FROM t"), SQLITE_DONE);
	expect("[SELECT v FROM t 1 2 3 =101]");
	dlclose(library);
	assert_int_equal(slm_sqlite_hook_install(), SQLOOM_SQLITE_LINKED);
	end_test(db);
}

static void test_plugin_lazy(void **state)
{
	test_plugin(state, HOOK_PLUGIN_LAZY);
}

/* Bound at once, and its slots are read-only. */
static void test_plugin_now(void **state)
{
	test_plugin(state, HOOK_PLUGIN_NOW);
}

static void test_plugin_no_plt(void **state)
{
	test_plugin(state, HOOK_PLUGIN_NO_PLT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_to_the_end),
		cmocka_unit_test(test_reset_and_finalize),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_interface_is_unchanged),
		cmocka_unit_test(test_refused_lock),
		cmocka_unit_test(test_nested),
		cmocka_unit_test(test_inside_of_sqlite),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_sql_in_a_hook),
		cmocka_unit_test(test_hooks_change),
		cmocka_unit_test(test_exec),
		cmocka_unit_test(test_nothing_is_locked),
		cmocka_unit_test(test_many_open_statements),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_threads_and_changes),
		cmocka_unit_test(test_plugin_lazy),
		cmocka_unit_test(test_plugin_now),
		cmocka_unit_test(test_plugin_no_plt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
