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

static void assert_title_in_file(const char *title)
{
	sqlite3 *other;

	assert_int_equal(sqlite3_open(file, &other), SQLITE_OK);
	assert_title(other, title);
	sqlite3_close(other);
}

/* An error or not, it is written. */
static int wait_and_commit(int fd)
{
	char byte;

	if (read(fd, &byte, 1) != 1)
		return 1;
	(void)run(db, "COMMIT");
	return 0;
}

/* A lock is of the process that took it. The child does not know that it has
 * none, and writes while another connection has the file for itself. */
static void test_sqlite_lock_is_lost(void **state)
{
	int pipes[2], status;
	sqlite3 *other;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	assert_int_equal(run(db, "PRAGMA journal_mode = MEMORY; " CREATE),
			 SQLITE_OK);
	assert_int_equal(run(db, "BEGIN EXCLUSIVE; " RENAME), SQLITE_OK);
	child = fork();
	if (child == 0)
		_exit(wait_and_commit(pipes[0]));
	assert_int_equal(run(db, "ROLLBACK"), SQLITE_OK);
	assert_int_equal(sqlite3_open(file, &other), SQLITE_OK);
	assert_int_equal(run(other, "BEGIN EXCLUSIVE"), SQLITE_OK);
	assert_title(other, "old");
	assert_int_equal(write(pipes[1], "x", 1), 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(run(other, "COMMIT"), SQLITE_OK);
	sqlite3_close(other);
	sqlite3_close(db);
	assert_title_in_file("new");
	close(pipes[0]);
	close(pipes[1]);
}

static int use_sqlite(struct sqloom_call *call, void *arg)
{
	sqlite3 *own;

	(void)arg;
	if (sqlite3_open(sqloom_call_database(call), &own) != SQLITE_OK)
		return sqloom_call_fail(call, "%s", sqlite3_errmsg(own));
	/* Nothing was open when the helper was started. */
	sqloom_call_printf(call, "inherited: %d, renamed: %d", db != NULL,
			   run(own, RENAME));
	return sqlite3_close(own);
}

/* It has a connection of its own, which waits for locks as all do. */
static void test_sqlite_in_clean_process(void **state)
{
	struct sqloom_processes *processes;

	(void)state;
	db = NULL;
	processes = start();
	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	assert_int_equal(run(db, CREATE), SQLITE_OK);
	assert_int_equal(run(db, "BEGIN EXCLUSIVE; " RENAME), SQLITE_OK);
	/* 5 is SQLITE_BUSY. */
	in_clean_process(processes, use_sqlite, file,
			 "inherited: 0, renamed: 5");
	assert_int_equal(run(db, "ROLLBACK"), SQLITE_OK);
	assert_title(db, "old");
	in_clean_process(processes, use_sqlite, file,
			 "inherited: 0, renamed: 0");
	assert_title(db, "new");
	sqlite3_close(db);
	sqloom_processes_free(processes);
}

/* ---- PostgreSQL -------------------------------------------------------- */

static struct sqloom_processes *helper;
static struct slm_pg_server *server;
static PGconn *connection;

static int start_server(void **state)
{
	struct sqloom_error err;

	begin(state);
	helper = start();
	if (!slm_pg_server_start(NULL, &server, &err))
		return 0;
	print_error("%s\n", err.message);
	return -1;
}

static int stop_server(void **state)
{
	slm_pg_server_stop(server);
	sqloom_processes_free(helper);
	return end(state);
}

static bool execute(PGconn *on, const char *sql)
{
	PGresult *result = PQexec(on, sql);
	ExecStatusType status = PQresultStatus(result);

	PQclear(result);
	return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

static int finish_there(void *arg)
{
	(void)arg;
	PQfinish(connection);
	return 0;
}

/* The child only tidies up: its goodbye goes over the parent's socket. */
static void finish_breaks_the_parent(void)
{
	connection = PQconnectdb(slm_pg_server_conninfo(server));
	assert_true(execute(connection, TITLE));
	assert_int_equal(in_fork(finish_there, NULL), 0);
	assert_false(execute(connection, TITLE));
	assert_int_equal(PQstatus(connection), CONNECTION_BAD);
	PQfinish(connection);
}

static int begin_there(void *arg)
{
	(void)arg;
	return !execute(connection, "BEGIN");
}

/* There is one session for both: the parent finds itself in a transaction that
 * it did not begin, and what it writes is lost at its end. */
static void use_breaks_the_parent(void)
{
	connection = PQconnectdb(slm_pg_server_conninfo(server));
	assert_int_equal(in_fork(begin_there, NULL), 0);
	assert_true(execute(connection, RENAME));
	assert_int_equal(PQtransactionStatus(connection), PQTRANS_INTRANS);
	PQfinish(connection);
}

static int use_postgres(struct sqloom_call *call, void *arg)
{
	PGconn *own = PQconnectdb(sqloom_call_database(call));

	(void)arg;
	sqloom_call_printf(call, "inherited: %d, renamed: %d",
			   connection != NULL, execute(own, RENAME));
	PQfinish(own);
	return 0;
}

static void clean_process_breaks_nothing(void)
{
	PGresult *result;

	connection = PQconnectdb(slm_pg_server_conninfo(server));
	assert_true(execute(connection, "BEGIN; " TITLE));
	in_clean_process(helper, use_postgres, slm_pg_server_conninfo(server),
			 "inherited: 0, renamed: 1");
	assert_int_equal(PQtransactionStatus(connection), PQTRANS_INTRANS);
	result = PQexec(connection, TITLE);
	assert_string_equal(PQgetvalue(result, 0, 0), "new");
	PQclear(result);
	assert_true(execute(connection, "COMMIT"));
	PQfinish(connection);
}

static void test_postgres(void **state)
{
	(void)state;
	connection = PQconnectdb(slm_pg_server_conninfo(server));
	if (!execute(connection, CREATE))
		fail_msg("%s", PQerrorMessage(connection));
	PQfinish(connection);
	finish_breaks_the_parent();
	use_breaks_the_parent();
	clean_process_breaks_nothing();
}

#define SQLITE_TEST(name) \
	cmocka_unit_test_setup_teardown(name, open_file, close_file)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SQLITE_TEST(test_sqlite_lock_is_lost),
		SQLITE_TEST(test_sqlite_in_clean_process),
		cmocka_unit_test_setup_teardown(test_postgres, start_server,
						stop_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
