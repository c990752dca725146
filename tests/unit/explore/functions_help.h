/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of explored functions share: explorations that must succeed,
 * connections that calls keep, and a guard that counts what an exploration
 * leaves behind. Included once per program.
 */
#ifndef SLM_TESTS_FUNCTIONS_HELP_H
#define SLM_TESTS_FUNCTIONS_HELP_H

#include "explore_help.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <sqlite3.h>
#include <sqloom/sqloom.h>
#include <unistd.h>

#define COUNT(list) (sizeof(list) / sizeof(*(list)))

/* ---- Connections -------------------------------------------------------- */

static void close_kept(void *kept)
{
	sqlite3 *db = kept;
	sqlite3_stmt *stmt;

	/* A module such as FTS5 has statements of its own, which it ends. */
	while (sqlite3_close(db) == SQLITE_BUSY &&
	       (stmt = sqlite3_next_stmt(db, NULL)))
		sqlite3_finalize(stmt);
}

UNUSED static sqlite3 *connect_to(const struct sqloom_call *call)
{
	sqlite3 *db = NULL;

	if (sqlite3_open(sqloom_call_database(call), &db) != SQLITE_OK)
		fail_msg("open: %s", sqlite3_errmsg(db));
	return db;
}

/* The connection that the call keeps from run to run. */
UNUSED static sqlite3 *kept(struct sqloom_call *call)
{
	void **place = sqloom_call_keep(call, close_kept);

	if (!*place)
		*place = connect_to(call);
	return *place;
}

UNUSED static int execute(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* The first value of a query; -1 if it fails. */
UNUSED static int query(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *stmt = NULL;
	int value = -1;

	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK &&
	    sqlite3_step(stmt) == SQLITE_ROW)
		value = sqlite3_column_int(stmt, 0);
	sqlite3_finalize(stmt);
	return value;
}

UNUSED static int execute_int(sqlite3 *db, const char *sql, int value)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

	if (rc == SQLITE_OK) {
		sqlite3_bind_int(stmt, 1, value);
		rc = sqlite3_step(stmt);
	}
	sqlite3_finalize(stmt);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Executes a script on a connection of its own. */
static int run_script(struct sqloom_call *call, const char *script)
{
	sqlite3 *db = connect_to(call);
	char *message = NULL;
	int rc = sqlite3_exec(db, script, NULL, NULL, &message);

	if (rc)
		rc = sqloom_call_fail(call, "%s", message);
	sqlite3_free(message);
	sqlite3_close(db);
	return rc;
}

static const char account[] =
	"CREATE TABLE acct (id INTEGER PRIMARY KEY, bal INTEGER);"
	"INSERT INTO acct VALUES (1, 100)";

UNUSED static int set_account_up(struct sqloom_call *call, void *arg)
{
	(void)arg;
	return run_script(call, account);
}

UNUSED static int set_wal_up(struct sqloom_call *call, void *arg)
{
	(void)arg;
	return run_script(call, "PRAGMA journal_mode = wal") ||
	       run_script(call, account);
}

/* ---- Explorations -------------------------------------------------------- */

/* n calls of the same function. */
#define MANY 16
struct many {
	struct sqloom_function functions[MANY];
	struct sqloom_calls calls;
};

UNUSED static void same(struct many *many, size_t n, sqloom_fn fn, void *arg,
			sqloom_fn setup)
{
	static const char *const names[] = { "alice", "bob", "carol", "dave" };

	memset(many, 0, sizeof(*many));
	sqloom_calls_init(&many->calls);
	for (size_t i = 0; i < n && i < MANY; i++)
		many->functions[i] = (struct sqloom_function){
			.name = i < COUNT(names) ? names[i] : NULL,
			.fn = fn,
			.arg = arg
		};
	many->calls.calls = many->functions;
	many->calls.ncalls = n;
	many->calls.setup = setup;
}

UNUSED static struct sqloom_report *explore_calls(
	const struct sqloom_calls *calls, const struct sqloom_options *options)
{
	struct sqloom_options standard = usual();
	struct sqloom_report *report = NULL;
	struct sqloom_error err;

	if (sqloom_explore_calls(calls, options ? options : &standard, &report,
				 &err))
		fail_msg("%s", err.message);
	return report;
}

UNUSED static struct sqloom_report *replay_calls(
	const struct sqloom_calls *calls, const char *token,
	const struct sqloom_options *options)
{
	struct sqloom_options standard = usual();
	struct sqloom_report *report = NULL;
	struct sqloom_error err;

	if (sqloom_replay_calls(calls, token, NULL,
				options ? options : &standard, &report, &err))
		fail_msg("%s: %s", token, err.message);
	return report;
}

/* What the exploration fails with; the message in err. */
UNUSED static enum sqloom_status fails(const struct sqloom_calls *calls,
				       const struct sqloom_options *options,
				       struct sqloom_error *err)
{
	struct sqloom_options standard = usual();
	struct sqloom_report *report = NULL;
	enum sqloom_status status = sqloom_explore_calls(
		calls, options ? options : &standard, &report, err);

	assert_true((status == SQLOOM_OK) == (report != NULL));
	sqloom_report_free(report);
	return status;
}

UNUSED static void show(const struct sqloom_report *report)
{
	struct sqloom_render render;
	char *text;

	sqloom_render_init(&render);
	render.findings = 10;
	if (!sqloom_report_render(report, &render, &text, NULL, NULL))
		print_message("%s\n", text);
	sqloom_text_free(text);
}

/* The numbers of a report: schedules, how many of them are wrong, and the
 * verdict; notes are told if they do not fit. */
#define assert_figures(report, runs, bad, what)                        \
	do {                                                           \
		const struct slm_trace *t_ = &(report)->trace;         \
                                                                       \
		if (t_->explored != (runs) || t_->wrong != (bad) ||    \
		    t_->verdict != (what)) {                           \
			show(report);                                  \
			fail_msg("%d schedules, %d wrong, verdict %d", \
				 (int)t_->explored, (int)t_->wrong,    \
				 (int)t_->verdict);                    \
		}                                                      \
	} while (0)

/* ---- The guard ------------------------------------------------------------ */

static unsigned count_entries(const char *folder, const char *prefix)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	unsigned count = 0;

	while (dir && (entry = readdir(dir)))
		count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
	if (dir)
		closedir(dir);
	return count;
}

struct left {
	int64_t blocks, sqlite;
	unsigned threads, descriptors, files;
	cpu_set_t cpus;
};

static struct left left_before;

/* Threads that have ended are seen for a moment after they were joined. */
static unsigned threads_now(unsigned expected)
{
	unsigned count = 0;

	for (int i = 0; i < 2000; i++) {
		count = count_entries("/proc/self/task", "") - 2;
		if (count == expected)
			break;
		usleep(1000);
	}
	return count;
}

static struct left take_stock(unsigned threads)
{
	char prefix[40];
	struct left left = { .blocks = slm_alloc_live(),
			     .sqlite = sqlite3_memory_used(),
			     .threads = threads_now(threads),
			     .descriptors =
				     count_entries("/proc/self/fd", "") };

	snprintf(prefix, sizeof(prefix), "sqloom-%d-", (int)getpid());
	left.files = count_entries("/tmp", prefix) +
		     count_entries("/dev/shm", prefix);
	sched_getaffinity(0, sizeof(left.cpus), &left.cpus);
	return left;
}

static void *return_at_once(void *userdata)
{
	return userdata;
}

/* Threads that are always there: those of a sanitizer, which come with the
 * first thread. */
static unsigned threads_of_old(void)
{
	static unsigned count;
	pthread_t thread;

	if (!count) {
		assert_int_equal(
			pthread_create(&thread, NULL, return_at_once, NULL), 0);
		pthread_join(thread, NULL);
		usleep(100000);
		count = count_entries("/proc/self/task", "") - 2;
	}
	return count;
}

UNUSED static int begin_stock(void **state)
{
	(void)state;
	left_before = take_stock(threads_of_old());
	return 0;
}

/* Nothing of an exploration is left: to be the teardown of a test. */
UNUSED static int nothing_is_left(void **state)
{
	struct left now = take_stock(left_before.threads);

	(void)state;
	assert_int_equal(now.blocks, left_before.blocks);
	assert_int_equal(now.sqlite, left_before.sqlite);
	assert_int_equal(now.threads, left_before.threads);
	assert_int_equal(now.descriptors, left_before.descriptors);
	assert_int_equal(now.files, left_before.files);
	assert_memory_equal(&now.cpus, &left_before.cpus, sizeof(now.cpus));
	return 0;
}

#define guarded(test) \
	cmocka_unit_test_setup_teardown(test, begin_stock, nothing_is_left)

#endif
