/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Committing tests on SQLite: in memory for threads, and in a file for
 * processes. Most of it is the same for both, and is run on both.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <dirent.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sqloom/kit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"

#define THREADS 4
#define SCHEMA                                                         \
	"CREATE TABLE account (id INTEGER PRIMARY KEY AUTOINCREMENT, " \
	"owner TEXT, balance INT);"                                    \
	"INSERT INTO account (owner, balance) VALUES ('alice', 10), "  \
	"('bob', 20);"                                                 \
	"CREATE TABLE bare (a, b); INSERT INTO bare VALUES (1, 'x')"
#define ALL                                                            \
	"SELECT (SELECT group_concat(id || owner || balance) FROM "    \
	"account) || '/' || (SELECT count(*) FROM bare) || '/' || "    \
	"(SELECT seq FROM sqlite_sequence WHERE name = 'account') || " \
	"'/' || (SELECT group_concat(name) FROM sqlite_master)"

static struct sqloom_fixture *fixture;
static struct sqloom_error err;
static bool processes; /* the kind of fixture under test */
static char before[500];

/* ---- Helpers ----------------------------------------------------------- */

static void must(enum sqloom_status status)
{
	if (status)
		fail_msg("%s", err.message);
}

static sqlite3 *connect_to(const char *url)
{
	sqlite3 *db;

	if (sqlite3_open_v2(url, &db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
				    SQLITE_OPEN_URI,
			    NULL) != SQLITE_OK)
		fail_msg("%s: %s", url, sqlite3_errmsg(db));
	return db;
}

static sqlite3 *connect_fixture(void)
{
	return connect_to(sqloom_fixture_url(fixture));
}

static void on(sqlite3 *db, const char *sql)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
}

static const char *ask(sqlite3 *db, const char *sql)
{
	static char text[500];
	sqlite3_stmt *stmt;

	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	*text = '\0';
	if (sqlite3_step(stmt) == SQLITE_ROW)
		snprintf(text, sizeof(text), "%s",
			 sqlite3_column_type(stmt, 0) == SQLITE_NULL ?
				 "NULL" :
				 (const char *)sqlite3_column_text(stmt, 0));
	if (sqlite3_finalize(stmt) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	return text;
}

static int set_up(struct sqloom_db *db, void *arg)
{
	return sqloom_exec(db, arg, NULL) ? 3 : 0;
}

static enum sqloom_status try_open(const char *seed, const char *sql)
{
	struct sqloom_fixture_options options;

	sqloom_fixture_options_init(&options);
	options.database = seed;
	options.processes = processes;
	options.setup = sql ? set_up : NULL;
	options.arg = (void *)(uintptr_t)sql;
	return sqloom_fixture_open(&options, &fixture, &err);
}

static void open_fixture(const char *sql)
{
	sqlite3 *db;

	must(try_open(NULL, sql));
	db = connect_fixture();
	if (sql && strstr(sql, "AUTOINCREMENT"))
		snprintf(before, sizeof(before), "%s", ask(db, ALL));
	sqlite3_close(db);
}

static void restore(void)
{
	char *left = NULL;

	must(sqloom_fixture_restore(fixture, &left, &err));
	assert_string_equal(left, "");
	sqloom_text_free(left);
}

static char *restore_left(void)
{
	char *left;

	must(sqloom_fixture_restore(fixture, &left, &err));
	return left;
}

static void close_fixture(void)
{
	struct sqloom_fixture *closed = fixture;

	fixture = NULL;
	must(sqloom_fixture_close(closed, &err));
}

static unsigned count_names(const char *place, const char *prefix)
{
	DIR *dir = opendir(place);
	struct dirent *entry;
	unsigned n = 0;

	while ((entry = readdir(dir)))
		n += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
	closedir(dir);
	return n;
}

/* Directories of this process. */
static unsigned directories(void)
{
	char prefix[40];

	snprintf(prefix, sizeof(prefix), "sqloom-%ld-", (long)getpid());
	return count_names("/dev/shm", prefix) + count_names(P_tmpdir, prefix);
}

static unsigned descriptors_before, threads_before;
static int64_t blocks_before;

static int begin(void **state)
{
	processes = *state != NULL;
	fixture = NULL;
	*before = '\0';
	descriptors_before = count_names("/proc/self/fd", "");
	blocks_before = slm_alloc_live();
	return 0;
}

static int end(void **state)
{
	(void)state;
	sqloom_fixture_close(fixture, NULL);
	if (count_names("/proc/self/fd", "") != descriptors_before ||
	    slm_alloc_live() != blocks_before || directories() ||
	    count_names("/proc/self/task", "") != threads_before) {
		fprintf(stderr,
			"something is left: %d descriptors, %d blocks, "
			"%u directories\n",
			(int)count_names("/proc/self/fd", "") -
				(int)descriptors_before,
			(int)(slm_alloc_live() - blocks_before), directories());
		return -1;
	}
	return 0;
}

/* ---- What is put back -------------------------------------------------- */

static void test_rows(void **state)
{
	static const char *const changes[] = {
		"INSERT INTO account (owner, balance) VALUES ('carol', 1)",
		"UPDATE account SET balance = 0",
		"DELETE FROM account; DELETE FROM bare",
		"DELETE FROM sqlite_sequence",
		"CREATE TABLE fresh (a); INSERT INTO fresh VALUES (1)",
		"DROP TABLE bare; CREATE TABLE bare (other)",
		"ALTER TABLE account RENAME TO konto; CREATE TABLE account "
		"(id, owner, balance)",
		"VACUUM",
		"INSERT INTO bare SELECT value, hex(zeroblob(500)) FROM "
		"generate_series(1, 1)",
		"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM "
		"n WHERE i < 3000) INSERT INTO bare SELECT i, hex(zeroblob(200)) "
		"FROM n",
	};
	sqlite3 *stays, *other;

	(void)state;
	open_fixture(SCHEMA);
	stays = connect_fixture();
	other = connect_fixture();
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		/* Both have the pages in their caches. */
		ask(stays, ALL);
		ask(other, ALL);
		if (sqlite3_exec(stays, changes[i], NULL, NULL, NULL) !=
			    SQLITE_OK &&
		    !strstr(changes[i], "generate_series"))
			fail_msg("%s: %s", changes[i], sqlite3_errmsg(stays));
		restore();
		if (strcmp(ask(other, ALL), before) != 0)
			fail_msg("%s: %s, %s", changes[i], before,
				 ask(other, ALL));
		if (strcmp(ask(stays, ALL), before) != 0)
			fail_msg("%s: %s, %s", changes[i], before,
				 ask(stays, ALL));
		assert_string_equal(ask(stays, "PRAGMA integrity_check"), "ok");
	}
	/* Nothing written: nothing to do. */
	restore();
	sqlite3_close(stays);
	sqlite3_close(other);
	close_fixture();
}

/* The next key is that of the snapshot. */
static void test_keys(void **state)
{
	sqlite3 *db;

	(void)state;
	open_fixture(SCHEMA);
	db = connect_fixture();
	for (int i = 0; i < 3; i++) {
		on(db, "INSERT INTO account (owner) VALUES ('x')");
		assert_int_equal(sqlite3_last_insert_rowid(db), 3);
		on(db, "INSERT INTO bare VALUES (1, 2)");
		assert_int_equal(sqlite3_last_insert_rowid(db), 2);
		restore();
	}
	sqlite3_close(db);
	close_fixture();
}

/* The trap of caches: a page in the cache of a connection that only reads is
 * not that of another test, although the counters look the same. */
static void test_caches(void **state)
{
	sqlite3 *writer, *reader;
	char sql[80], balance[20];

	(void)state;
	open_fixture(SCHEMA);
	writer = connect_fixture();
	reader = connect_fixture();
	for (int i = 0; i < 20; i++) {
		snprintf(sql, sizeof(sql), "UPDATE account SET balance = %d",
			 1000 + i);
		on(writer, sql);
		snprintf(balance, sizeof(balance), "%d", 1000 + i);
		assert_string_equal(ask(reader, "SELECT max(balance) FROM "
						"account"),
				    balance);
		restore();
		if (i % 2)
			assert_string_equal(ask(reader, "SELECT max(balance) "
							"FROM account"),
					    "20");
	}
	sqlite3_close(writer);
	sqlite3_close(reader);
	close_fixture();
}

/* The same trap of schemas: one that a connection knows from a test is not that
 * of the next. */
static void test_schemas(void **state)
{
	sqlite3 *a, *b;

	(void)state;
	open_fixture(SCHEMA);
	a = connect_fixture();
	b = connect_fixture();
	for (int i = 0; i < 3; i++) {
		on(a, "CREATE TABLE fresh (x); INSERT INTO fresh VALUES (1)");
		restore();
		if (i % 2)
			assert_int_equal(sqlite3_exec(a, "SELECT * FROM fresh",
						      NULL, NULL, NULL),
					 SQLITE_ERROR);
		on(b, "CREATE TABLE fresh (y)");
		on(a, "INSERT INTO fresh (y) VALUES (1)");
		restore();
	}
	assert_string_equal(ask(a, ALL), before);
	sqlite3_close(a);
	sqlite3_close(b);
	close_fixture();
}

/* The file is as large as it was. */
static void test_size(void **state)
{
	struct stat was, is;
	sqlite3 *db;

	(void)state;
	open_fixture(SCHEMA);
	db = connect_fixture();
	assert_int_equal(stat(sqloom_fixture_url(fixture), &was), 0);
	on(db, "CREATE TABLE fresh AS SELECT zeroblob(100000)");
	assert_int_equal(stat(sqloom_fixture_url(fixture), &is), 0);
	assert_true(is.st_size > was.st_size);
	restore();
	assert_int_equal(stat(sqloom_fixture_url(fixture), &is), 0);
	assert_int_equal(is.st_size, was.st_size);
	sqlite3_close(db);
	close_fixture();
}

static void test_wal(void **state)
{
	sqlite3 *a, *b;

	(void)state;
	open_fixture("PRAGMA journal_mode = wal;" SCHEMA);
	a = connect_fixture();
	b = connect_fixture();
	assert_string_equal(ask(a, "PRAGMA journal_mode"), "wal");
	for (int i = 0; i < 5; i++) {
		on(a, "UPDATE account SET balance = 0; DELETE FROM bare");
		assert_string_equal(ask(b, "SELECT sum(balance) FROM account"),
				    "0");
		restore();
		assert_string_equal(ask(b, ALL), before);
		assert_string_equal(ask(a, ALL), before);
		if (i == 2)
			on(b, "PRAGMA wal_checkpoint(TRUNCATE)");
	}
	sqlite3_close(a);
	sqlite3_close(b);
	restore();
	close_fixture();
}

/* Told, as long as somebody has it open; then put back. */
static void test_journal_mode_is_changed(void **state)
{
	sqlite3 *a;

	(void)state;
	open_fixture(SCHEMA);
	a = connect_fixture();
	on(a, "PRAGMA journal_mode = wal; DELETE FROM bare");
	assert_int_equal(sqloom_fixture_restore(fixture, NULL, &err),
			 SQLOOM_UNSUPPORTED);
	sqlite3_close(a);
	restore();
	a = connect_fixture();
	assert_string_equal(ask(a, ALL), before);
	assert_string_equal(ask(a, "PRAGMA journal_mode"), "delete");
	sqlite3_close(a);
	close_fixture();
}

static void test_empty(void **state)
{
	sqlite3 *db;

	(void)state;
	open_fixture(NULL);
	db = connect_fixture();
	on(db, "CREATE TABLE t (a); INSERT INTO t VALUES (1)");
	restore();
	assert_string_equal(ask(db, "SELECT count(*) FROM sqlite_master"), "0");
	on(db, "CREATE TABLE t (a, b)");
	sqlite3_close(db);
	close_fixture();
}

/* ---- Seeds and setup --------------------------------------------------- */

static void test_seed(void **state)
{
	char path[] = "/tmp/sqloom-seed-XXXXXX";
	struct stat was, is;
	sqlite3 *db;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	db = connect_to(path);
	on(db, SCHEMA);
	sqlite3_close(db);
	assert_int_equal(stat(path, &was), 0);
	must(try_open(path, "INSERT INTO bare VALUES (2, 'setup')"));
	db = connect_fixture();
	on(db, "DELETE FROM bare");
	restore();
	assert_string_equal(ask(db, "SELECT count(*) FROM bare"), "2");
	sqlite3_close(db);
	close_fixture();
	assert_int_equal(stat(path, &is), 0);
	assert_int_equal(was.st_mtime, is.st_mtime);
	assert_int_equal(was.st_size, is.st_size);
	unlink(path);
	assert_int_equal(try_open("/nowhere/at/all.db", NULL), SQLOOM_IO);
	assert_int_equal(try_open("/proc/self/exe", NULL), SQLOOM_DATABASE);
	assert_non_null(strstr(err.message, "not a database"));
}

static void test_setup_fails(void **state)
{
	(void)state;
	assert_int_equal(try_open(NULL, "CREATE TABLE t (a); SELECT nonsense"),
			 SQLOOM_CALL);
	assert_non_null(strstr(err.message, "returned 3"));
	assert_null(fixture);
}

/* ---- What tests leave open --------------------------------------------- */

static void test_left_writing(void **state)
{
	sqlite3 *db, *other;
	char *left;

	(void)state;
	open_fixture(SCHEMA);
	db = connect_fixture();
	other = connect_fixture();
	on(db, "BEGIN; UPDATE account\n SET balance = 5 WHERE id = 1");
	left = restore_left();
	assert_non_null(strstr(left, "(in a transaction that writes): UPDATE "
				     "account SET balance = 5 WHERE id = 1\n"));
	assert_string_equal(strchr(left, '\n'), "\n");
	sqloom_text_free(left);
	/* It is over: others can write, and so can it. */
	assert_string_equal(ask(other, ALL), before);
	on(other, "UPDATE account SET balance = 6");
	on(db, "UPDATE account SET balance = 7");
	restore();
	assert_string_equal(ask(db, ALL), before);
	sqlite3_close(db);
	sqlite3_close(other);
	close_fixture();
}

static void test_left_reading(void **state)
{
	sqlite3 *db, *other;
	sqlite3_stmt *stmt;
	char *left;

	(void)state;
	open_fixture(SCHEMA);
	db = connect_fixture();
	other = connect_fixture();
	sqlite3_prepare_v2(db, "SELECT id FROM account WHERE id > ?", -1, &stmt,
			   NULL);
	sqlite3_bind_int(stmt, 1, 0);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	left = restore_left();
	assert_non_null(strstr(left, "(a statement is not read to its end): "
				     "SELECT id FROM account WHERE id > 0"));
	sqloom_text_free(left);
	on(other, "UPDATE account SET balance = 6");
	restore();
	sqlite3_finalize(stmt);
	/* In a transaction that has read. */
	on(db, "BEGIN; SELECT * FROM bare");
	left = restore_left();
	assert_non_null(strstr(left, "(in a transaction): SELECT * FROM bare"));
	sqloom_text_free(left);
	sqlite3_close(db);
	sqlite3_close(other);
	close_fixture();
}

static void *work(void *arg)
{
	sqlite3 *db = connect_fixture();

	(void)arg;
	sqlite3_busy_timeout(db, 60000);
	sqlite3_exec(db,
		     "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 "
		     "FROM n) INSERT INTO bare SELECT i, i FROM n",
		     NULL, NULL, NULL);
	sqlite3_close(db);
	return NULL;
}

/* Another thread is still at work. */
static void test_left_at_work(void **state)
{
	pthread_t thread;
	sqlite3 *db;
	char *left;

	(void)state;
	open_fixture(SCHEMA);
	db = connect_fixture();
	assert_int_equal(pthread_create(&thread, NULL, work, NULL), 0);
	while (sqlite3_exec(db, "BEGIN IMMEDIATE; ROLLBACK", NULL, NULL,
			    NULL) != SQLITE_BUSY)
		;
	left = restore_left();
	assert_non_null(strstr(left, "(executing): WITH RECURSIVE"));
	sqloom_text_free(left);
	pthread_join(thread, NULL);
	restore();
	assert_string_equal(ask(db, ALL), before);
	sqlite3_close(db);
	close_fixture();
}

/* A connection that is still open when the fixture goes. */
static void test_open_at_the_end(void **state)
{
	sqlite3 *db;

	(void)state;
	open_fixture(SCHEMA);
	db = connect_fixture();
	on(db, "BEGIN; DELETE FROM bare");
	close_fixture();
	if (!processes)
		assert_int_not_equal(sqlite3_exec(db, "SELECT * FROM bare",
						  NULL, NULL, NULL),
				     SQLITE_OK);
	sqlite3_close(db);
	/* The next one is another one. */
	open_fixture(SCHEMA);
	close_fixture();
}

/* One that is known only by its lock. */
static void test_attached(void **state)
{
	sqlite3 *db;
	char sql[300];

	(void)state;
	open_fixture(SCHEMA);
	db = connect_to(":memory:");
	snprintf(sql, sizeof(sql), "ATTACH '%s' AS f",
		 sqloom_fixture_url(fixture));
	on(db, sql);
	on(db, "BEGIN; DELETE FROM f.bare");
	assert_int_equal(sqloom_fixture_restore(fixture, NULL, &err),
			 SQLOOM_DATABASE);
	on(db, "COMMIT");
	restore();
	assert_string_equal(ask(db, "SELECT count(*) FROM f.bare"), "1");
	sqlite3_close(db);
	close_fixture();
}

/* ---- Threads and processes --------------------------------------------- */

static void *deposit(void *arg)
{
	sqlite3 *db = connect_fixture();

	(void)arg;
	sqlite3_busy_timeout(db, 60000);
	for (int i = 0; i < 25; i++)
		on(db, "BEGIN IMMEDIATE; UPDATE account SET balance = balance "
		       "+ 1 WHERE id = 1; COMMIT");
	sqlite3_close(db);
	return NULL;
}

static void use_threads(const char *schema)
{
	pthread_t threads[THREADS];
	sqlite3 *db;

	open_fixture(schema);
	db = connect_fixture();
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < THREADS; i++)
			assert_int_equal(pthread_create(&threads[i], NULL,
							deposit, NULL),
					 0);
		for (int i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		assert_string_equal(ask(db, "SELECT balance FROM account WHERE "
					    "id = 1"),
				    "110");
		restore();
	}
	assert_string_equal(ask(db, ALL), before);
	sqlite3_close(db);
	close_fixture();
}

static void test_threads(void **state)
{
	(void)state;
	use_threads(SCHEMA);
	use_threads("PRAGMA journal_mode = wal;" SCHEMA);
}

/* Each has a database of its own. */
static void test_two(void **state)
{
	struct sqloom_fixture *first;
	sqlite3 *one, *other;
	char *left;

	(void)state;
	open_fixture(SCHEMA);
	one = connect_fixture();
	first = fixture;
	open_fixture(SCHEMA);
	other = connect_fixture();
	on(one, "DELETE FROM bare");
	on(other, "BEGIN; DELETE FROM account");
	left = NULL;
	must(sqloom_fixture_restore(first, &left, &err));
	assert_string_equal(left, "");
	sqloom_text_free(left);
	assert_string_equal(ask(one, ALL), before);
	assert_string_equal(ask(other, "SELECT count(*) FROM account"), "0");
	on(other, "COMMIT");
	sqlite3_close(one);
	must(sqloom_fixture_close(first, &err));
	restore();
	assert_string_equal(ask(other, ALL), before);
	sqlite3_close(other);
	close_fixture();
}

/* A process that ends in the middle of a transaction, and one that stays in
 * it. (Connections are opened behind the fork, by the child.) */
static void test_other_process(void **state)
{
	int ready[2], done[2];
	char byte, *left = NULL;
	sqlite3 *db;
	pid_t child;

	(void)state;
	open_fixture(SCHEMA);
	assert_int_equal(pipe(ready) | pipe(done), 0);
	child = fork();
	if (child == 0) {
		sqlite3 *theirs;

		close(ready[0]);
		close(done[1]);
		if (sqlite3_open(sqloom_fixture_url(fixture), &theirs) ||
		    sqlite3_exec(theirs,
				 "DELETE FROM bare; BEGIN; DELETE FROM "
				 "account",
				 NULL, NULL, NULL) ||
		    write(ready[1], "", 1) != 1 || read(done[0], &byte, 1) < 0)
			_exit(1);
		_exit(0); /* in the middle of it */
	}
	close(ready[1]);
	close(done[0]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(sqloom_fixture_restore(fixture, &left, &err),
			 SQLOOM_DATABASE);
	assert_non_null(strstr(err.message, "is still in a transaction"));
	assert_non_null(strstr(err.message, "its last statement is not known"));
	assert_null(left);
	close(done[1]);
	close(ready[0]);
	assert_int_equal(waitpid(child, NULL, 0), child);
	restore();
	db = connect_fixture();
	assert_string_equal(ask(db, ALL), before);
	sqlite3_close(db);
	close_fixture();
}

/* Only this user can enter where the file is. */
static void test_private(void **state)
{
	char path[300];
	struct stat info;

	(void)state;
	open_fixture(SCHEMA);
	snprintf(path, sizeof(path), "%s", sqloom_fixture_url(fixture));
	*strrchr(path, '/') = '\0';
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0700);
	assert_int_equal(info.st_uid, geteuid());
	close_fixture();
	assert_int_not_equal(stat(path, &info), 0);
}

/* ---- Misuse, and no memory --------------------------------------------- */

static void test_misuse(void **state)
{
	(void)state;
	assert_int_equal(sqloom_fixture_open(NULL, &fixture, &err),
			 SQLOOM_USAGE);
	assert_int_equal(sqloom_fixture_restore(NULL, NULL, &err),
			 SQLOOM_USAGE);
	assert_null(sqloom_fixture_url(NULL));
	must(sqloom_fixture_close(NULL, &err));
}

static void test_no_memory(void **state)
{
	enum sqloom_status status = SQLOOM_NOMEM;
	sqlite3 *db;

	(void)state;
	for (uint64_t n = 1; status; n++) {
		slm_alloc_fail_from(n);
		status = try_open(NULL, SCHEMA);
		slm_alloc_fail_from(0);
		if (status && status != SQLOOM_CALL)
			assert_int_equal(status, SQLOOM_NOMEM);
		assert_true(status || n > 5);
	}
	db = connect_fixture();
	status = SQLOOM_NOMEM;
	for (uint64_t n = 1; status; n++) {
		char *left = NULL;

		on(db, "BEGIN; DELETE FROM bare");
		slm_alloc_fail_from(n);
		status = sqloom_fixture_restore(fixture, &left, &err);
		slm_alloc_fail_from(0);
		sqloom_text_free(left);
	}
	assert_string_equal(ask(db, "SELECT count(*) FROM bare"), "1");
	sqlite3_close(db);
	close_fixture();
}

static void *do_nothing(void *arg)
{
	return arg;
}

/* A sanitizer has a thread of its own, from the first one on. */
static int begin_all(void **state)
{
	pthread_t thread;

	(void)state;
	if (pthread_create(&thread, NULL, do_nothing, NULL) != 0)
		return -1;
	pthread_join(thread, NULL);
	threads_before = count_names("/proc/self/task", "");
	return 0;
}

static char file[] = "file";

#define MEMORY(name) cmocka_unit_test_setup_teardown(name, begin, end)
#define FILES(name) \
	cmocka_unit_test_prestate_setup_teardown(name, begin, end, file)
#define BOTH(name) MEMORY(name), FILES(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_rows),
		BOTH(test_keys),
		BOTH(test_caches),
		BOTH(test_schemas),
		FILES(test_size),
		BOTH(test_wal),
		BOTH(test_journal_mode_is_changed),
		BOTH(test_empty),
		BOTH(test_seed),
		BOTH(test_setup_fails),
		BOTH(test_left_writing),
		BOTH(test_left_reading),
		BOTH(test_left_at_work),
		BOTH(test_open_at_the_end),
		MEMORY(test_attached),
		BOTH(test_threads),
		BOTH(test_two),
		FILES(test_other_process),
		FILES(test_private),
		MEMORY(test_misuse),
		BOTH(test_no_memory),
	};

	return cmocka_run_group_tests(tests, begin_all, NULL);
}
