/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of transactions share: the same test on an SQLite file and on
 * a private PostgreSQL server, with a second connection that sees what is
 * committed. Every test must give back what it took: blocks of memory and
 * descriptors are counted. Included once per program.
 */
#ifndef SLM_TESTS_TRANSACTION_HELP_H
#define SLM_TESTS_TRANSACTION_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <dirent.h>
#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include <sqloom/sqloom.h>

#include "base/alloc.h"
#include "pg/server.h"

#define UNUSED __attribute__((unused))

enum kind { ON_SQLITE, ON_PG };

static enum kind kinds[] = { ON_SQLITE, ON_PG };

struct world {
	bool pg;
	char url[400];
	struct sqloom_db *db;	 /* under test */
	struct sqloom_db *other; /* sees what is committed */
	struct sqloom_error err;
	char log[256]; /* what hooks wrote */
	unsigned drops;
	int64_t live;
	unsigned descriptors;
};

static struct world w;
static struct slm_pg_server *server;
static char directory[] = "/tmp/sqloom-test-XXXXXX";

static int start_all(void **state)
{
	struct sqloom_error err;

	(void)state;
	if (!mkdtemp(directory))
		return -1;
	if (!slm_pg_server_start(NULL, &server, &err))
		return 0;
	fprintf(stderr, "%s\n", err.message);
	return -1;
}

static int stop_all(void **state)
{
	(void)state;
	slm_pg_server_stop(server);
	return rmdir(directory);
}

static unsigned count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* ---- Calls that must succeed, or fail ---------------------------------- */

#define OK(call)                                                  \
	do {                                                      \
		if ((call) != SQLOOM_OK)                          \
			fail_msg("%s: %s", #call, w.err.message); \
	} while (0)

/* The status, and a part of the message. */
#define FAILS(call, wanted, part)                                \
	do {                                                     \
		memset(&w.err, 0, sizeof(w.err));                \
		assert_int_equal((call), (wanted));              \
		assert_int_equal(w.err.status, (wanted));        \
		if (!strstr(w.err.message, (part)))              \
			fail_msg("\"%s\" is not in: %s", (part), \
				 w.err.message);                 \
	} while (0)

UNUSED static void exec(const char *sql)
{
	OK(sqloom_exec(w.db, sql, &w.err));
}

UNUSED static void begin(void)
{
	OK(sqloom_atomic_begin(w.db, NULL, &w.err));
}

UNUSED static void begin_plain(void)
{
	struct sqloom_atomic_options options;

	sqloom_atomic_options_init(&options);
	options.no_savepoint = true;
	OK(sqloom_atomic_begin(w.db, &options, &w.err));
}

UNUSED static void end(bool ok)
{
	OK(sqloom_atomic_end(w.db, ok, &w.err));
}

/* The first value as a number; NULL is -1. */
UNUSED static long ask(struct sqloom_db *db, const char *sql)
{
	char *text = NULL;
	long value;

	OK(sqloom_query(db, sql, &text, &w.err));
	value = text ? strtol(text, NULL, 10) : -1;
	sqloom_text_free(text);
	return value;
}

/* Rows of t that are committed. */
UNUSED static long committed(void)
{
	return ask(w.other, "SELECT count(*) FROM t");
}

/* Rows of t that are seen inside. */
UNUSED static long inside(void)
{
	return ask(w.db, "SELECT count(*) FROM t");
}

/* A statement that fails. */
#define WRONG "INSERT INTO t VALUES (1, 'again')"
#define ROW "INSERT INTO t VALUES (1, 'one')"

UNUSED static void break_block(void)
{
	FAILS(sqloom_exec(w.db, WRONG, &w.err), SQLOOM_DATABASE,
	      w.pg ? "duplicate key" : "UNIQUE constraint failed");
}

/* On the handle itself. False: it failed. */
UNUSED static bool raw(const char *sql)
{
	PGresult *result;
	bool ok;

	if (!w.pg)
		return sqlite3_exec(sqloom_db_sqlite(w.db), sql, NULL, NULL,
				    NULL) == SQLITE_OK;
	result = PQexec(sqloom_db_pg(w.db), sql);
	ok = PQresultStatus(result) == PGRES_COMMAND_OK ||
	     PQresultStatus(result) == PGRES_TUPLES_OK;
	PQclear(result);
	return ok;
}

/* ---- Hooks ------------------------------------------------------------- */

UNUSED static int log_hook(void *arg)
{
	strcat(w.log, arg);
	return 0;
}

UNUSED static int bad_hook(void *arg)
{
	strcat(w.log, arg);
	return 7;
}

UNUSED static void drop(void *arg)
{
	(void)arg;
	w.drops++;
}

UNUSED static void hook(char *name)
{
	OK(sqloom_on_commit(w.db, log_hook, name, drop, false, &w.err));
}

/* ---- A test ------------------------------------------------------------ */

static void open_handle(struct sqloom_db **db)
{
	struct sqloom_error err;

	if (sqloom_db_open(w.url, db, &err))
		fail_msg("%s", err.message);
}

/* Handles of libpq and SQLite that were opened before a test stay open. */
static int open_world(void **state)
{
	memset(&w, 0, sizeof(w));
	w.pg = *(enum kind *)*state == ON_PG;
	w.live = slm_alloc_live();
	w.descriptors = count_descriptors();
	if (w.pg)
		snprintf(w.url, sizeof(w.url), "%s",
			 slm_pg_server_conninfo(server));
	else
		snprintf(w.url, sizeof(w.url), "%s/t.db", directory);
	open_handle(&w.other);
	open_handle(&w.db);
	OK(sqloom_exec(w.db,
		       "DROP TABLE IF EXISTS u; DROP TABLE IF EXISTS t;"
		       "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)",
		       &w.err));
	return 0;
}

static int close_world(void **state)
{
	(void)state;
	OK(sqloom_db_close(w.db, &w.err));
	OK(sqloom_db_close(w.other, &w.err));
	if (!w.pg)
		assert_int_equal(unlink(w.url), 0);
	assert_int_equal(slm_alloc_live(), w.live);
	assert_int_equal(count_descriptors(), w.descriptors);
	return 0;
}

#define ONE(name, which, text)                                      \
	{                                                           \
#name " (" text ")", name, open_world, close_world, \
			&kinds[which]                               \
	}
#define BOTH(name) \
	ONE(name, ON_SQLITE, "SQLite"), ONE(name, ON_PG, "PostgreSQL")
#define SQLITE(name) ONE(name, ON_SQLITE, "SQLite")
#define PG(name) ONE(name, ON_PG, "PostgreSQL")

#endif
