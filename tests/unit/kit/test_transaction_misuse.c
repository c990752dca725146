/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions in wrong hands: each mistake has a clear error, and leaves
 * nothing behind. */
#include "transaction_help.h"

#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>

/* A second handle, on a connection that is the test's own. */
struct borrowed {
	sqlite3 *sqlite;
	PGconn *pg;
	struct sqloom_db *db;
};

static enum sqloom_status borrow(struct borrowed *b, struct sqloom_db **db)
{
	return w.pg ? sqloom_db_of_pg(b->pg, db, &w.err) :
		      sqloom_db_of_sqlite(b->sqlite, db, &w.err);
}

static void open_borrowed(struct borrowed *b)
{
	memset(b, 0, sizeof(*b));
	if (w.pg) {
		b->pg = PQconnectdb(w.url);
		assert_int_equal(PQstatus(b->pg), CONNECTION_OK);
	} else {
		assert_int_equal(sqlite3_open(w.url, &b->sqlite), SQLITE_OK);
	}
	OK(borrow(b, &b->db));
}

static void close_handle(struct borrowed *b)
{
	if (w.pg)
		PQfinish(b->pg);
	else
		assert_int_equal(sqlite3_close(b->sqlite), SQLITE_OK);
}

/* ---- NULL -------------------------------------------------------------- */

static void test_null(void **state)
{
	struct sqloom_db *db = NULL;
	char *text = NULL;

	(void)state;
	FAILS(sqloom_exec(NULL, "SELECT 1", &w.err), SQLOOM_USAGE, "is NULL");
	FAILS(sqloom_exec(w.db, NULL, &w.err), SQLOOM_USAGE, "is NULL");
	FAILS(sqloom_query(w.db, "SELECT 1", NULL, &w.err), SQLOOM_USAGE,
	      "is NULL");
	FAILS(sqloom_query(NULL, "SELECT 1", &text, &w.err), SQLOOM_USAGE,
	      "is NULL");
	FAILS(sqloom_atomic_begin(NULL, NULL, &w.err), SQLOOM_USAGE, "is NULL");
	FAILS(sqloom_atomic_end(NULL, true, &w.err), SQLOOM_USAGE, "is NULL");
	FAILS(sqloom_atomic(NULL, NULL, NULL, NULL, &w.err), SQLOOM_USAGE,
	      "is NULL");
	FAILS(sqloom_atomic(w.db, NULL, NULL, NULL, &w.err), SQLOOM_USAGE,
	      "function of the block is NULL");
	FAILS(sqloom_atomic_restart(NULL, &w.err), SQLOOM_USAGE, "is NULL");
	FAILS(sqloom_set_rollback(NULL, true, &w.err), SQLOOM_USAGE, "is NULL");
	FAILS(sqloom_on_commit(NULL, log_hook, NULL, drop, true, &w.err),
	      SQLOOM_USAGE, "is NULL");
	FAILS(sqloom_on_commit(w.db, NULL, NULL, drop, true, &w.err),
	      SQLOOM_USAGE, "is NULL");
	assert_int_equal(w.drops, 2);
	FAILS(sqloom_retry(NULL, NULL, 1, 0, NULL, NULL, &w.err), SQLOOM_USAGE,
	      "is NULL");
	FAILS(sqloom_lock_table(NULL, "t", NULL, 0, &w.err), SQLOOM_USAGE,
	      "is NULL");
	FAILS(sqloom_fixture_begin(NULL, &w.err), SQLOOM_USAGE, "is NULL");
	FAILS(sqloom_fixture_rollback(NULL, &w.err), SQLOOM_USAGE, "is NULL");
	FAILS(sqloom_db_open(NULL, &db, &w.err), SQLOOM_USAGE, "no database");
	FAILS(sqloom_db_open("", &db, &w.err), SQLOOM_USAGE, "no database");
	FAILS(sqloom_db_open(w.url, NULL, &w.err), SQLOOM_USAGE, "out is NULL");
	FAILS(sqloom_db_of_sqlite(NULL, &db, &w.err), SQLOOM_USAGE, "is NULL");
	FAILS(sqloom_db_of_pg(NULL, &db, &w.err), SQLOOM_USAGE, "is NULL");
	assert_null(db);
	assert_int_equal(sqloom_atomic_depth(NULL), 0);
	assert_false(sqloom_get_rollback(NULL));
	assert_null(sqloom_db_pg(NULL));
	assert_null(sqloom_db_sqlite(NULL));
	OK(sqloom_db_close(NULL, &w.err));
	/* Without a place for the error. */
	assert_int_equal(sqloom_exec(w.db, "wrong", NULL), SQLOOM_DATABASE);
	assert_int_equal(sqloom_atomic_end(w.db, true, NULL), SQLOOM_USAGE);
}

static void test_no_block(void **state)
{
	(void)state;
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_USAGE,
	      "there is no block");
	FAILS(sqloom_set_rollback(w.db, true, &w.err), SQLOOM_USAGE,
	      "there is no block");
	FAILS(sqloom_atomic_restart(w.db, &w.err), SQLOOM_USAGE,
	      "there is no block");
	assert_false(sqloom_get_rollback(w.db));
}

static void test_cannot_open(void **state)
{
	struct sqloom_db *db = NULL;

	(void)state;
	FAILS(sqloom_db_open("/nowhere/at/all.db", &db, &w.err),
	      SQLOOM_DATABASE, "cannot open the SQLite database /nowhere");
	FAILS(sqloom_db_open("host=/nowhere dbname=x", &db, &w.err),
	      SQLOOM_DATABASE, "cannot connect to PostgreSQL");
	FAILS(sqloom_db_open("hots=localhost", &db, &w.err), SQLOOM_DATABASE,
	      "hots");
	FAILS(sqloom_db_open("postgresql:///x?host=/nowhere", &db, &w.err),
	      SQLOOM_DATABASE, "cannot connect");
	assert_null(db);
	OK(sqloom_db_open("file:x?mode=memory&cache=shared", &db, &w.err));
	assert_non_null(sqloom_db_sqlite(db));
	assert_null(sqloom_db_pg(db));
	OK(sqloom_db_close(db, &w.err));
}

static void test_too_deep(void **state)
{
	enum sqloom_status status;
	unsigned depth = 0;

	(void)state;
	while (!(status = sqloom_atomic_begin(w.db, NULL, &w.err)))
		depth++;
	assert_int_equal(status, SQLOOM_LIMIT);
	assert_int_equal(depth, 1000);
	while (depth--)
		end(true);
}

/* ---- Typed transaction control ----------------------------------------- */

static void test_typed_control(void **state)
{
	static const char *const both[] = {
		"COMMIT",
		" -- well\n /* so */ commit;",
		"ROLLBACK",
		"BEGIN",
		"END",
		"SAVEPOINT x",
		"RELEASE sqloom_1",
		"ROLLBACK TO SAVEPOINT sqloom_1",
		"INSERT INTO t VALUES (5, ';'); COMMIT",
		"INSERT INTO t VALUES (5, 'x'); ; COMMIT; BEGIN",
	};
	static const char *const pg[] = {
		"START TRANSACTION",
		"ABORT",
		"PREPARE TRANSACTION 'x'",
		"COMMIT AND CHAIN",
		"SELECT E'\\''; COMMIT; SELECT ''",
		"/* /* */ x */ COMMIT",
	};

	(void)state;
	begin();
	for (size_t i = 0; i < sizeof(both) / sizeof(both[0]); i++)
		FAILS(sqloom_exec(w.db, both[i], &w.err), SQLOOM_USAGE,
		      "inside of a block: end blocks with");
	for (size_t i = 0; w.pg && i < sizeof(pg) / sizeof(pg[0]); i++)
		FAILS(sqloom_exec(w.db, pg[i], &w.err), SQLOOM_USAGE,
		      "inside of a block: end blocks with");
	assert_false(sqloom_get_rollback(w.db));
	assert_int_equal(inside(), 0);
	exec(ROW);
	end(true);
	assert_int_equal(committed(), 1);
	/* Outside it is the program's. */
	exec("BEGIN; DELETE FROM t; COMMIT");
	assert_int_equal(committed(), 0);
}

/* What only looks like it. */
static void test_no_control(void **state)
{
	(void)state;
	begin();
	exec("INSERT INTO t VALUES (1, 'x; COMMIT; y') -- ; ROLLBACK\n");
	exec("INSERT INTO t SELECT 2, CASE WHEN 1 = 1 THEN 'begin' END");
	if (w.pg) {
		exec("DO $$ BEGIN PERFORM 1; END $$; SELECT 1");
		exec("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql "
		     "BEGIN ATOMIC SELECT 1; SELECT 2; END");
	} else {
		exec("CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; "
		     "UPDATE t SET b = 'by x'; END; SELECT 1");
		FAILS(sqloom_exec(w.db,
				  "CREATE TRIGGER y AFTER INSERT ON t BEGIN "
				  "SELECT 1; SELECT 2; END; COMMIT",
				  &w.err),
		      SQLOOM_USAGE, "COMMIT inside of a block");
		exec("INSERT INTO t VALUES (3, '')");
		assert_int_equal(ask(w.db,
				     "SELECT count(*) FROM t WHERE b = 'by x'"),
				 3);
	}
	end(false);
}

/* ---- Behind our back --------------------------------------------------- */

static void test_raw_commit(void **state)
{
	const char *fate = w.pg ? "by COMMIT: what was written before is "
				  "committed" :
				  "by a COMMIT or ROLLBACK";

	(void)state;
	begin();
	hook((char *)"a");
	exec(ROW);
	assert_true(raw("COMMIT"));
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_USAGE, fate);
	assert_int_equal(sqloom_atomic_depth(w.db), 0);
	assert_string_equal(w.log, "");
	assert_int_equal(w.drops, 1);
	assert_int_equal(committed(), 1);
	/* Noticed at the next statement; also by a block that fails. */
	begin();
	begin();
	exec("DELETE FROM t");
	assert_true(raw("ROLLBACK"));
	assert_true(sqloom_get_rollback(w.db));
	fate = w.pg ? "by ROLLBACK: what was written before is rolled back" :
		      "by a COMMIT or ROLLBACK";
	FAILS(sqloom_exec(w.db, "DELETE FROM t", &w.err), SQLOOM_USAGE, fate);
	FAILS(sqloom_atomic_begin(w.db, NULL, &w.err), SQLOOM_USAGE, fate);
	FAILS(sqloom_atomic_restart(w.db, &w.err), SQLOOM_USAGE, fate);
	FAILS(sqloom_on_commit(w.db, log_hook, NULL, drop, true, &w.err),
	      SQLOOM_USAGE, fate);
	assert_int_equal(w.drops, 2);
	FAILS(sqloom_atomic_end(w.db, false, &w.err), SQLOOM_USAGE, fate);
	FAILS(sqloom_atomic_end(w.db, false, &w.err), SQLOOM_USAGE, fate);
	assert_int_equal(committed(), 1);
	begin();
	exec("DELETE FROM t");
	end(true);
	assert_int_equal(committed(), 0);
}

/* libpq tells us that a transaction was begun behind the end of ours. */
static void test_raw_commit_and_begin(void **state)
{
	(void)state;
	begin();
	exec(ROW);
	assert_true(raw("COMMIT; BEGIN"));
	FAILS(sqloom_exec(w.db, "DELETE FROM t", &w.err), SQLOOM_USAGE,
	      "by COMMIT");
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_USAGE, "by COMMIT");
	assert_true(raw("ROLLBACK"));
	assert_int_equal(committed(), 1);
	begin();
	exec("DELETE FROM t");
	assert_true(raw("ROLLBACK; START TRANSACTION"));
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_USAGE,
	      "by ROLLBACK");
	assert_true(raw("ROLLBACK"));
	assert_int_equal(committed(), 1);
	/* Savepoints of the program are its own. */
	begin();
	assert_true(raw("SAVEPOINT mine"));
	exec("DELETE FROM t");
	assert_true(raw("ROLLBACK TO mine"));
	assert_true(raw("RELEASE mine"));
	exec("INSERT INTO t VALUES (2, 'two')");
	end(true);
	assert_int_equal(committed(), 2);
}

static void test_raw_savepoint(void **state)
{
	(void)state;
	begin();
	assert_true(raw("SAVEPOINT mine"));
	exec(ROW);
	begin();
	exec("INSERT INTO t VALUES (2, 'two')");
	assert_true(raw("ROLLBACK TO mine"));
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_USAGE,
	      "the savepoint of the block is gone");
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_DATABASE,
	      "broken since");
	assert_int_equal(committed(), 0);
	begin();
	assert_true(raw("SAVEPOINT mine"));
	begin();
	hook((char *)"a");
	assert_true(raw("RELEASE mine"));
	FAILS(sqloom_atomic_end(w.db, false, &w.err), SQLOOM_USAGE,
	      "the savepoint of the block is gone");
	end(false);
	assert_int_equal(w.drops, 1);
}

/* A statement that failed on the handle itself: libpq tells us. */
static void test_raw_failure(void **state)
{
	(void)state;
	exec(ROW);
	begin();
	assert_false(raw(WRONG));
	FAILS(sqloom_exec(w.db, "SELECT 1", &w.err), SQLOOM_DATABASE,
	      "duplicate key value violates unique constraint \"t_pkey\" (sent "
	      "on the handle itself)");
	assert_false(raw("SELECT 1"));
	FAILS(sqloom_on_commit(w.db, log_hook, NULL, drop, true, &w.err),
	      SQLOOM_USAGE, "duplicate key");
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_DATABASE,
	      "duplicate key");
	assert_string_equal(w.err.sqlstate, "23505");
	begin();
	begin();
	assert_false(raw(WRONG));
	end(false);
	exec("INSERT INTO t VALUES (2, 'two')");
	end(true);
	/* The program repaired it by a savepoint of its own. */
	begin();
	assert_true(raw("SAVEPOINT mine"));
	assert_false(raw(WRONG));
	assert_true(sqloom_get_rollback(w.db));
	FAILS(sqloom_exec(w.db, "SELECT 1", &w.err), SQLOOM_DATABASE, "broken");
	assert_true(raw("ROLLBACK TO mine"));
	exec("INSERT INTO t VALUES (3, 'three')");
	end(true);
	assert_int_equal(committed(), 3);
}

/* SQLite does not tell of failures on the handle, which break nothing there;
 * docs/c-transactions.md says so. */
static void test_raw_failure_sqlite(void **state)
{
	(void)state;
	exec(ROW);
	begin();
	assert_false(raw(WRONG));
	exec("INSERT INTO t VALUES (2, 'two')");
	end(true);
	assert_int_equal(committed(), 2);
}

/* ---- Results that were not fetched ------------------------------------- */

static void test_active(void **state)
{
	PGresult *result;
	PGconn *pg = sqloom_db_pg(w.db);

	(void)state;
	begin();
	assert_true(PQsendQuery(pg, "SELECT 1"));
	FAILS(sqloom_exec(w.db, "SELECT 1", &w.err), SQLOOM_USAGE,
	      "fetch its results");
	while ((result = PQgetResult(pg)))
		PQclear(result);
	exec(ROW);
	/* At the end they are dropped; a failure among them counts. */
	assert_true(PQsendQuery(pg, "SELECT 1"));
	end(true);
	assert_int_equal(committed(), 1);
	begin();
	exec("DELETE FROM t");
	assert_true(PQsendQuery(pg, WRONG "; " WRONG));
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_DATABASE,
	      "cannot commit: duplicate key");
	assert_int_equal(PQtransactionStatus(pg), PQTRANS_IDLE);
	assert_int_equal(committed(), 1);
}

static void test_copy(void **state)
{
	(void)state;
	FAILS(sqloom_exec(w.db, "COPY t FROM STDIN", &w.err), SQLOOM_DATABASE,
	      "COPY");
	FAILS(sqloom_exec(w.db, "COPY t TO STDOUT", &w.err), SQLOOM_DATABASE,
	      "COPY");
	exec(ROW);
	begin();
	FAILS(sqloom_exec(w.db, "COPY t FROM STDIN", &w.err), SQLOOM_DATABASE,
	      "COPY");
	FAILS(sqloom_exec(w.db, "SELECT 1", &w.err), SQLOOM_DATABASE, "broken");
	end(false);
	assert_int_equal(inside(), 1);
}

/* ---- Closed under an open block ---------------------------------------- */

static void test_close_with_block(void **state)
{
	struct sqloom_db *db = w.db;

	(void)state;
	begin();
	exec(ROW);
	hook((char *)"a");
	begin();
	hook((char *)"b");
	FAILS(sqloom_db_close(db, &w.err), SQLOOM_USAGE,
	      "with a block open (depth 2)");
	assert_int_equal(w.drops, 2);
	assert_string_equal(w.log, "");
	open_handle(&w.db);
	assert_int_equal(committed(), 0);
}

static void test_borrowed(void **state)
{
	struct borrowed b;
	struct sqloom_db *second = NULL;

	(void)state;
	open_borrowed(&b);
	FAILS(borrow(&b, &second), SQLOOM_USAGE, "by another sqloom_db");
	assert_null(second);
	assert_ptr_equal(sqloom_db_pg(b.db), b.pg);
	assert_ptr_equal(sqloom_db_sqlite(b.db), b.sqlite);
	OK(sqloom_atomic_begin(b.db, NULL, &w.err));
	OK(sqloom_exec(b.db, ROW, &w.err));
	FAILS(sqloom_db_close(b.db, &w.err), SQLOOM_USAGE, "with a block open");
	assert_int_equal(committed(), 0);
	/* The handle is as it was. */
	OK(borrow(&b, &b.db));
	assert_int_equal(ask(b.db, "SELECT count(*) FROM t"), 0);
	OK(sqloom_exec(b.db, "BEGIN", &w.err));
	OK(sqloom_db_close(b.db, &w.err));
	FAILS(borrow(&b, &second), SQLOOM_USAGE, "in a transaction");
	assert_null(second);
	close_handle(&b);
}

static void test_handle_closed(void **state)
{
	struct borrowed b;

	(void)state;
	open_borrowed(&b);
	OK(sqloom_atomic_begin(b.db, NULL, &w.err));
	OK(sqloom_exec(b.db, ROW, &w.err));
	OK(sqloom_on_commit(b.db, log_hook, (char *)"a", drop, false, &w.err));
	close_handle(&b);
	FAILS(sqloom_exec(b.db, ROW, &w.err), SQLOOM_USAGE,
	      "the program closed the handle");
	assert_true(sqloom_get_rollback(b.db));
	FAILS(sqloom_atomic_end(b.db, true, &w.err), SQLOOM_USAGE,
	      "the program closed the handle");
	assert_int_equal(w.drops, 1);
	FAILS(sqloom_exec(b.db, ROW, &w.err), SQLOOM_USAGE,
	      "the program closed the handle");
	FAILS(sqloom_atomic_begin(b.db, NULL, &w.err), SQLOOM_USAGE,
	      "the program closed the handle");
	FAILS(sqloom_fixture_begin(b.db, &w.err), SQLOOM_USAGE,
	      "the program closed the handle");
	assert_null(sqloom_db_pg(b.db));
	assert_null(sqloom_db_sqlite(b.db));
	OK(sqloom_db_close(b.db, &w.err));
	assert_int_equal(committed(), 0);
}

/* sqlite3_close() refuses while a statement is there; then ours lives, too. */
static void test_open_statement(void **state)
{
	struct borrowed b;
	sqlite3_stmt *stmt = NULL;

	(void)state;
	exec(ROW);
	open_borrowed(&b);
	assert_int_equal(sqlite3_prepare_v2(b.sqlite, "SELECT * FROM t", -1,
					    &stmt, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	assert_int_equal(sqlite3_close(b.sqlite), SQLITE_BUSY);
	OK(sqloom_exec(b.db, "INSERT INTO t VALUES (2, 'two')", &w.err));
	OK(sqloom_db_close(b.db, &w.err));
	assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
	OK(borrow(&b, &b.db));
	OK(sqloom_db_close(b.db, &w.err));
	close_handle(&b);
	/* One that we opened. */
	assert_int_equal(sqlite3_prepare_v2(sqloom_db_sqlite(w.db), "SELECT 77",
					    -1, &stmt, NULL),
			 SQLITE_OK);
	FAILS(sqloom_db_close(w.db, &w.err), SQLOOM_USAGE, "SELECT 77");
	sqlite3_finalize(stmt);
	open_handle(&w.db);
}

/* What FTS5 has prepared for itself is not the program's. A blob is. */
static void test_statements_of_others(void **state)
{
	sqlite3_blob *blob = NULL;

	(void)state;
	exec("CREATE VIRTUAL TABLE words USING fts5(word)");
	exec("INSERT INTO words VALUES ('one')");
	OK(sqloom_db_close(w.db, &w.err));
	open_handle(&w.db);
	exec("DROP TABLE words");
	exec("CREATE TABLE bytes (b)");
	exec("INSERT INTO bytes VALUES (zeroblob(10))");
	assert_int_equal(sqlite3_blob_open(sqloom_db_sqlite(w.db), "main",
					   "bytes", "b", 1, 0, &blob),
			 SQLITE_OK);
	FAILS(sqloom_db_close(w.db, &w.err), SQLOOM_USAGE, "a blob");
	sqlite3_blob_close(blob);
	open_handle(&w.db);
	exec("DROP TABLE bytes");
}

/* ---- The server goes --------------------------------------------------- */

static void terminate(struct sqloom_db *db)
{
	char sql[80];
	int pid = PQbackendPID(sqloom_db_pg(db));

	snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%d, 60000)",
		 pid);
	OK(sqloom_exec(w.other, sql, &w.err));
}

static void test_terminated(void **state)
{
	(void)state;
	begin();
	hook((char *)"a");
	begin();
	exec(ROW);
	terminate(w.db);
	FAILS(sqloom_exec(w.db, "SELECT 1", &w.err), SQLOOM_DATABASE,
	      "terminating connection");
	FAILS(sqloom_exec(w.db, "SELECT 1", &w.err), SQLOOM_DATABASE,
	      "the connection to the server is lost: terminating connection");
	end(false);
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_DATABASE,
	      "the connection to the server is lost");
	assert_int_equal(w.drops, 1);
	assert_int_equal(committed(), 0);
	FAILS(sqloom_atomic_begin(w.db, NULL, &w.err), SQLOOM_DATABASE, "");
	FAILS(sqloom_exec(w.db, "SELECT 1", &w.err), SQLOOM_DATABASE, "");
	/* PQreset() makes it whole. */
	PQreset(sqloom_db_pg(w.db));
	begin();
	exec(ROW);
	end(true);
	assert_int_equal(committed(), 1);
}

static void test_terminated_at_commit(void **state)
{
	(void)state;
	begin();
	hook((char *)"a");
	exec(ROW);
	terminate(w.db);
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_DATABASE,
	      "whether the block is committed is not known");
	assert_int_equal(w.drops, 1);
	assert_string_equal(w.log, "");
}

static void test_reset(void **state)
{
	(void)state;
	begin();
	exec(ROW);
	PQreset(sqloom_db_pg(w.db));
	FAILS(sqloom_exec(w.db, "SELECT 1", &w.err), SQLOOM_USAGE,
	      "PQreset(): what was written before is rolled back");
	FAILS(sqloom_atomic_end(w.db, true, &w.err), SQLOOM_USAGE, "PQreset()");
	assert_int_equal(committed(), 0);
}

/* ---- Threads and processes --------------------------------------------- */

struct visit {
	enum sqloom_status statuses[5];
	struct sqloom_error err;
	pid_t thread;
	unsigned depth;
	bool rollback;
};

static void *visit(void *arg)
{
	struct visit *v = arg;

	v->thread = gettid();
	v->statuses[0] = sqloom_exec(w.db, "DELETE FROM t", &v->err);
	v->statuses[1] = sqloom_atomic_begin(w.db, NULL, NULL);
	v->statuses[2] = sqloom_atomic_end(w.db, true, NULL);
	v->statuses[3] =
		sqloom_on_commit(w.db, log_hook, NULL, drop, false, NULL);
	v->statuses[4] = sqloom_db_close(w.db, NULL);
	v->depth = sqloom_atomic_depth(w.db);
	v->rollback = sqloom_get_rollback(w.db);
	return NULL;
}

static void run_thread(void *(*fn)(void *), void *arg)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, fn, arg), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_threads(void **state)
{
	struct visit v;
	char both[80];

	(void)state;
	begin();
	exec(ROW);
	OK(sqloom_set_rollback(w.db, true, &w.err));
	OK(sqloom_set_rollback(w.db, false, &w.err));
	run_thread(visit, &v);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(v.statuses[i], SQLOOM_USAGE);
	assert_int_equal(w.drops, 1);
	assert_int_equal(v.depth, 0);
	assert_false(v.rollback);
	snprintf(both, sizeof(both), "thread %d uses", (int)gettid());
	assert_non_null(strstr(v.err.message, both));
	snprintf(both, sizeof(both), "thread %d called", (int)v.thread);
	assert_non_null(strstr(v.err.message, both));
	assert_int_equal(sqloom_atomic_depth(w.db), 1);
	end(true);
	assert_int_equal(committed(), 1);
}

static void *use(void *arg)
{
	(void)arg;
	begin();
	exec("DELETE FROM t");
	end(true);
	return NULL;
}

/* One after the other is fine. */
static void test_threads_in_turn(void **state)
{
	(void)state;
	begin();
	exec(ROW);
	end(true);
	run_thread(use, NULL);
	assert_int_equal(committed(), 0);
	begin();
	end(true);
}

static void *pound(void *arg)
{
	unsigned *refused = arg;

	for (int i = 0; i < 200; i++) {
		enum sqloom_status status =
			sqloom_atomic_begin(w.db, NULL, NULL);

		*refused += status == SQLOOM_USAGE;
		if (!status)
			status = sqloom_exec(w.db, "DELETE FROM t", NULL);
		assert_true(!status || status == SQLOOM_USAGE);
		if (!status)
			assert_int_equal(sqloom_atomic_end(w.db, true, NULL),
					 SQLOOM_OK);
	}
	return NULL;
}

/* Both at once: every call is refused or right. */
static void test_threads_at_once(void **state)
{
	pthread_t thread;
	unsigned refused[2] = { 0 };

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, pound, &refused[0]), 0);
	pound(&refused[1]);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(sqloom_atomic_depth(w.db), 0);
	exec(ROW);
}

static void *leave(void *arg)
{
	(void)arg;
	begin();
	exec(ROW);
	hook((char *)"a");
	return NULL;
}

static void test_thread_ended(void **state)
{
	(void)state;
	run_thread(leave, NULL);
	FAILS(sqloom_exec(w.db, ROW, &w.err), SQLOOM_USAGE, "uses this");
	FAILS(sqloom_db_close(w.db, &w.err), SQLOOM_USAGE, "with a block open");
	assert_int_equal(w.drops, 1);
	open_handle(&w.db);
	assert_int_equal(committed(), 0);
}

static void test_fork(void **state)
{
	struct sqloom_error err;
	int status = 0;
	pid_t child;

	(void)state;
	child = fork();
	if (child == 0) {
		bool told = sqloom_exec(w.db, ROW, &err) == SQLOOM_USAGE &&
			    strstr(err.message, "a fork of it") &&
			    sqloom_db_close(w.db, &err) == SQLOOM_USAGE;

		_exit(told ? 0 : 1);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	exec(ROW);
	assert_int_equal(committed(), 1);
}

/* ---- Memory ------------------------------------------------------------ */

static enum sqloom_status register_one(unsigned *registered)
{
	++*registered;
	return sqloom_on_commit(w.db, log_hook, (char *)"", drop, false, NULL);
}

static enum sqloom_status scenario(unsigned *registered)
{
	enum sqloom_status status = sqloom_atomic_begin(w.db, NULL, NULL);
	enum sqloom_status inner;
	char *text = NULL;

	if (status)
		return status;
	status = register_one(registered);
	inner = sqloom_atomic_begin(w.db, NULL, NULL);
	if (!inner) {
		if (!status)
			status = sqloom_query(w.db,
					      "SELECT 'BEGIN'; SELECT 'x'",
					      &text, NULL);
		if (!status)
			status = register_one(registered);
		inner = sqloom_atomic_end(w.db, !status, NULL);
	}
	sqloom_text_free(text);
	if (!status)
		status = inner;
	inner = sqloom_atomic_end(w.db, !status, NULL);
	return status ? status : inner;
}

static void test_memory(void **state)
{
	enum sqloom_status status = SQLOOM_NOMEM;
	struct sqloom_db *db = NULL;
	int64_t live = slm_alloc_live();
	uint64_t n;

	(void)state;
	for (n = 1; status && n < 500; n++) {
		unsigned registered = 0;

		w.drops = 0;
		slm_alloc_fail_from(n);
		status = scenario(&registered);
		slm_alloc_fail_from(0);
		assert_true(!status || status == SQLOOM_NOMEM);
		assert_int_equal(w.drops, registered);
		assert_int_equal(sqloom_atomic_depth(w.db), 0);
		assert_int_equal(slm_alloc_live(), live);
	}
	assert_int_equal(status, SQLOOM_OK);
	assert_true(n > 4);
	status = SQLOOM_NOMEM;
	for (n = 1; status && n < 20; n++) {
		slm_alloc_fail_from(n);
		status = sqloom_db_open(w.url, &db, &w.err);
		slm_alloc_fail_from(0);
		if (status)
			assert_int_equal(slm_alloc_live(), live);
	}
	assert_int_equal(status, SQLOOM_OK);
	OK(sqloom_db_close(db, &w.err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_null),
		BOTH(test_no_block),
		SQLITE(test_cannot_open),
		BOTH(test_too_deep),
		BOTH(test_typed_control),
		BOTH(test_no_control),
		BOTH(test_raw_commit),
		PG(test_raw_commit_and_begin),
		BOTH(test_raw_savepoint),
		PG(test_raw_failure),
		SQLITE(test_raw_failure_sqlite),
		PG(test_active),
		PG(test_copy),
		BOTH(test_close_with_block),
		BOTH(test_borrowed),
		BOTH(test_handle_closed),
		SQLITE(test_open_statement),
		SQLITE(test_statements_of_others),
		PG(test_terminated),
		PG(test_terminated_at_commit),
		PG(test_reset),
		BOTH(test_threads),
		BOTH(test_threads_in_turn),
		BOTH(test_threads_at_once),
		BOTH(test_thread_ended),
		BOTH(test_fork),
		BOTH(test_memory),
	};

	return cmocka_run_group_tests(tests, start_all, stop_all);
}
