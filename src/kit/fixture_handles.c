/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's own connections to a fixture's SQLite database: known from
 * their opening to their close, with the last statement that each began, so
 * that what a test leaves open can be named and ended.
 *
 * How it is known: an extension that SQLite runs for every connection that is
 * opened; a function on the connection whose destructor SQLite calls when the
 * connection is closed; and the trace callback, which the program may take for
 * itself (then the last statement is not known).
 *
 * Order of the locks: a connection's mutex, then ours. SQLite holds the first
 * when it calls us; so with ours held a connection's mutex is only tried. While
 * ours is held no connection of the list can go: its destructor waits.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "kit/fixture.h"

#define FUNCTION "sqloom_fixture"
#define SQL_SHOWN 200	   /* bytes of a statement */
#define WAIT_NS 1000000000 /* for connections inside of a statement */
#define PAUSE_NS 1000000

struct handle {
	struct handle *next;
	struct slm_fixture_handles *of; /* NULL: nobody wants to know */
	sqlite3 *db;
	long thread; /* that opened it */
	bool told;   /* in this restore: it is inside of a statement */
	pthread_mutex_t mutex; /* for sql; nothing else is locked with it held */
	char sql[SQL_SHOWN + 4]; /* the last one */
};

struct slm_fixture_handles {
	struct slm_fixture_handles *next;
	char *path;
	struct handle *first;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct slm_fixture_handles *all; /* of all fixtures */

/* ---- Knowing them ------------------------------------------------------ */

static void drop_handle(void *userdata)
{
	struct handle *handle = userdata, **at;

	pthread_mutex_lock(&mutex);
	if (handle->of) {
		at = &handle->of->first;
		while (*at && *at != handle)
			at = &(*at)->next;
		if (*at)
			*at = handle->next;
	}
	pthread_mutex_unlock(&mutex);
	pthread_mutex_destroy(&handle->mutex);
	slm_free(handle);
}

/* In one line; cut at a whole character. */
static void keep_sql(struct handle *handle, const char *sql)
{
	size_t n = 0;
	bool blank = false;

	for (; *sql && n < SQL_SHOWN; sql++) {
		if (*sql == ' ' || (*sql >= '\t' && *sql <= '\r')) {
			blank = n > 0;
			continue;
		}
		if (blank)
			handle->sql[n++] = ' ';
		blank = false;
		if (n < SQL_SHOWN)
			handle->sql[n++] = *sql;
	}
	if (*sql) {
		while (n && ((unsigned char)handle->sql[n - 1] & 0xc0) == 0x80)
			n--;
		if (n && (unsigned char)handle->sql[n - 1] >= 0xc0)
			n--;
		memcpy(handle->sql + n, "...", 3);
		n += 3;
	}
	handle->sql[n] = '\0';
}

static int traced(unsigned event, void *userdata, void *stmt, void *text)
{
	struct handle *handle = userdata;

	(void)event;
	(void)stmt;
	/* What a trigger does is told as a comment. */
	if (!text || strncmp(text, "--", 2) == 0)
		return 0;
	pthread_mutex_lock(&handle->mutex);
	keep_sql(handle, text);
	pthread_mutex_unlock(&handle->mutex);
	return 0;
}

static void nothing(sqlite3_context *context, int nargs, sqlite3_value **args)
{
	(void)nargs;
	(void)args;
	sqlite3_result_null(context);
}

/* Without memory for it a connection is simply not known. */
static void add(struct slm_fixture_handles *handles, sqlite3 *db)
{
	struct handle *handle = slm_calloc(1, sizeof(*handle));

	if (!handle)
		return;
	handle->db = db;
	handle->thread = syscall(SYS_gettid);
	pthread_mutex_init(&handle->mutex, NULL);
	/* Calls drop_handle() also if it fails. */
	if (sqlite3_create_function_v2(
		    db, FUNCTION, 0, SQLITE_UTF8 | SQLITE_DIRECTONLY, handle,
		    nothing, NULL, NULL, drop_handle) != SQLITE_OK)
		return;
	sqlite3_trace_v2(db, SQLITE_TRACE_STMT, traced, handle);
	pthread_mutex_lock(&mutex);
	handle->of = handles;
	handle->next = handles->first;
	handles->first = handle;
	pthread_mutex_unlock(&mutex);
}

static int opened(sqlite3 *db, char **message,
		  const struct sqlite3_api_routines *api)
{
	const char *name = sqlite3_db_filename(db, "main");
	struct slm_fixture_handles *handles;

	(void)message;
	(void)api;
	if (!name || !*name)
		return SQLITE_OK;
	pthread_mutex_lock(&mutex);
	handles = all;
	while (handles && strcmp(handles->path, name) != 0)
		handles = handles->next;
	pthread_mutex_unlock(&mutex);
	/* A fixture is not closed while connections to it are opened. */
	if (handles)
		add(handles, db);
	return SQLITE_OK;
}

enum sqloom_status slm_fixture_handles_new(const char *path,
					   struct slm_fixture_handles **out,
					   struct sqloom_error *err)
{
	struct slm_fixture_handles *handles = slm_calloc(1, sizeof(*handles));
	bool listed = false;

	if (!handles)
		return slm_error_nomem(err);
	handles->path = slm_strdup(path);
	pthread_mutex_lock(&mutex);
	/* Once is enough, and more does no harm. */
	if (handles->path &&
	    sqlite3_auto_extension((void (*)(void))opened) == SQLITE_OK) {
		handles->next = all;
		all = handles;
		listed = true;
	}
	pthread_mutex_unlock(&mutex);
	if (listed) {
		*out = handles;
		return SQLOOM_OK;
	}
	slm_free(handles->path);
	slm_free(handles);
	return slm_error_nomem(err);
}

void slm_fixture_handles_free(struct slm_fixture_handles *handles)
{
	struct slm_fixture_handles **at = &all;

	if (!handles)
		return;
	pthread_mutex_lock(&mutex);
	while (*at != handles)
		at = &(*at)->next;
	*at = handles->next;
	for (struct handle *handle = handles->first; handle;
	     handle = handle->next)
		handle->of = NULL;
	if (!all)
		sqlite3_cancel_auto_extension((void (*)(void))opened);
	pthread_mutex_unlock(&mutex);
	slm_free(handles->path);
	slm_free(handles);
}

unsigned slm_fixture_handles_count(struct slm_fixture_handles *handles)
{
	unsigned n = 0;

	pthread_mutex_lock(&mutex);
	for (const struct handle *handle = handles->first; handle;
	     handle = handle->next)
		n++;
	pthread_mutex_unlock(&mutex);
	return n;
}

/* ---- Ending them ------------------------------------------------------- */

static void put_line(struct handle *handle, const char *how, const char *sql,
		     struct slm_buf *left)
{
	pthread_mutex_lock(&handle->mutex);
	slm_buf_printf(left, "connection of thread %ld (%s): %.*s\n",
		       handle->thread, how, SQL_SHOWN,
		       sql	    ? sql :
		       *handle->sql ? handle->sql :
				      "its last statement is not known");
	pthread_mutex_unlock(&handle->mutex);
}

/* A statement that is not read to its end says more than the last one. */
static void name(struct handle *handle, struct slm_buf *left)
{
	sqlite3_stmt *stmt = sqlite3_next_stmt(handle->db, NULL);
	bool writes = sqlite3_txn_state(handle->db, NULL) == SQLITE_TXN_WRITE;
	char *sql = NULL;

	while (stmt && !sqlite3_stmt_busy(stmt))
		stmt = sqlite3_next_stmt(handle->db, stmt);
	if (stmt && !writes)
		sql = sqlite3_expanded_sql(stmt);
	put_line(handle,
		 writes ? "in a transaction that writes" :
		 sqlite3_get_autocommit(handle->db) ?
			  "a statement is not read to its end" :
			  "in a transaction",
		 sql, left);
	sqlite3_free(sql);
}

static void end(const struct handle *handle)
{
	sqlite3_stmt *stmt = sqlite3_next_stmt(handle->db, NULL);

	for (; stmt; stmt = sqlite3_next_stmt(handle->db, stmt))
		if (sqlite3_stmt_busy(stmt))
			sqlite3_reset(stmt);
	if (!sqlite3_get_autocommit(handle->db))
		sqlite3_exec(handle->db, "ROLLBACK", NULL, NULL, NULL);
}

static bool is_idle(sqlite3 *db)
{
	return sqlite3_txn_state(db, NULL) == SQLITE_TXN_NONE &&
	       sqlite3_get_autocommit(db);
}

/* False: another thread is inside of the connection. At first that may be
 * nothing but its close. */
static bool end_one(struct handle *handle, bool first, struct slm_buf *left)
{
	sqlite3_mutex *own = sqlite3_db_mutex(handle->db);

	if (first)
		handle->told = false;
	if (sqlite3_mutex_try(own) != SQLITE_OK) {
		if (!first && !handle->told)
			put_line(handle, "executing", NULL, left);
		if (!first)
			sqlite3_interrupt(handle->db);
		handle->told = !first;
		return false;
	}
	if (!is_idle(handle->db)) {
		if (!handle->told)
			name(handle, left);
		end(handle);
	}
	sqlite3_mutex_leave(own);
	return true;
}

/* The thread of a connection that another thread is inside of; 0: none. */
static long end_all(struct slm_fixture_handles *handles, bool first,
		    struct slm_buf *left)
{
	long busy = 0;

	pthread_mutex_lock(&mutex);
	for (struct handle *handle = handles->first; handle;
	     handle = handle->next)
		if (!end_one(handle, first, left))
			busy = handle->thread;
	pthread_mutex_unlock(&mutex);
	return busy;
}

static enum sqloom_status end_and_tell(struct slm_fixture_handles *handles,
				       struct slm_buf *left,
				       struct sqloom_error *err)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	uint64_t began_ns = slm_clock_ns();
	long busy = end_all(handles, true, left);

	while (busy && slm_clock_ns() - began_ns < WAIT_NS) {
		(void)nanosleep(&pause, NULL);
		busy = end_all(handles, false, left);
	}
	if (!busy)
		return SQLOOM_OK;
	return slm_error_set(err, SQLOOM_DATABASE,
			     "a connection that thread %ld opened is still "
			     "executing a statement, and interrupting it did "
			     "not help: join the threads of a test before its "
			     "database is put back",
			     busy);
}

enum sqloom_status slm_fixture_handles_end(struct slm_fixture_handles *handles,
					   struct slm_buf *left,
					   struct sqloom_error *err)
{
	enum sqloom_status status;
	struct slm_buf unread;

	if (left)
		return end_and_tell(handles, left, err);
	slm_buf_init(&unread);
	status = end_and_tell(handles, &unread, err);
	slm_buf_deinit(&unread);
	return status;
}
