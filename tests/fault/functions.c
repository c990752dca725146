/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The n-th allocation, and all after it, fail in an exploration of functions,
 * on whatever thread that is: it ends with SQLOOM_NOMEM, on every thread, and
 * leaves nothing.
 */
#include "sweep.h"

#include <sqlite3.h>

static void close_kept(void *kept)
{
	sqlite3_close(kept);
}

static sqlite3 *connect_to(const struct sqloom_call *call)
{
	sqlite3 *db = NULL;

	if (sqlite3_open(sqloom_call_database(call), &db) == SQLITE_OK)
		return db;
	sqlite3_close(db);
	return NULL;
}

static int pay(struct sqloom_call *call, void *arg)
{
	void **place = sqloom_call_keep(call, close_kept);
	char *message = NULL;
	int rc;

	if (!*place)
		*place = connect_to(call);
	if (!*place)
		return -1;
	sqlite3_busy_timeout(*place, 1000);
	sqloom_point("before");
	rc = sqlite3_exec(*place, arg, NULL, NULL, &message);
	if (rc)
		rc = sqloom_call_fail(call, "%s", message);
	else if (!sqloom_call_printf(call, "%s paid", sqloom_call_name(call)))
		rc = -1;
	sqlite3_free(message);
	return rc;
}

static int set_up(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = connect_to(call);
	int rc =
		!db ? -1 :
		      sqlite3_exec(
			      db,
			      "CREATE TABLE acct (id INTEGER PRIMARY KEY, bal);"
			      "INSERT INTO acct VALUES (1, 100)",
			      NULL, NULL, NULL);

	(void)arg;
	sqlite3_close(db);
	return rc;
}

static int check(struct sqloom_call *call, void *arg)
{
	(void)arg;
	return sqloom_call_fail(call, "never good enough");
}

static enum sqloom_status explore(struct sqloom_error *err)
{
	static const char *const queries[] = {
		"SELECT id FROM acct WHERE bal < 0", NULL
	};
	static const struct sqloom_function functions[] = {
		{ .name = "alice",
		  .fn = pay,
		  .arg = (void *)"BEGIN IMMEDIATE;"
				 "UPDATE acct SET bal = bal - 10; COMMIT" },
		{ .fn = pay,
		  .arg = (void *)"SELECT 1, bal FROM acct WHERE id = 1;"
				 "INSERT INTO acct (bal) VALUES (7)" },
	};
	struct sqloom_calls calls;
	struct sqloom_options options;
	struct sqloom_report *report = NULL;
	enum sqloom_status status;

	sqloom_calls_init(&calls);
	calls.calls = functions;
	calls.ncalls = 2;
	calls.setup = set_up;
	calls.check = check;
	calls.queries = queries;
	sqloom_options_init(&options);
	options.max_runs = 4;
	status = sqloom_explore_calls(&calls, &options, &report, err);
	assert_true((status == SQLOOM_OK) == (report != NULL));
	sqloom_report_free(report);
	return status;
}

static void every_allocation_fails_once(void **state)
{
	struct sqloom_error err;
	unsigned files, threads;
	int64_t live, used;
	uint64_t total;

	(void)state;
	/* The first leaves what is there for the life of the process. */
	assert_int_equal(explore(&err), SQLOOM_OK);
	live = slm_alloc_live();
	used = sqlite3_memory_used();
	files = open_files();
	threads = count_names("/proc/self/task", "");
	slm_alloc_fail_from(0);
	assert_int_equal(explore(&err), SQLOOM_OK);
	total = slm_alloc_count();
	for (uint64_t n = 1; n <= total; n++) {
		enum sqloom_status status;

		slm_alloc_fail_from(n);
		status = explore(&err);
		slm_alloc_fail_from(0);
		/* A function is told that its value could not be kept: it may
		 * fail, or not care. */
		if (status != SQLOOM_NOMEM && status != SQLOOM_CALL)
			fail_msg("allocation %d: %s: %s", (int)n,
				 sqloom_status_text(status), err.message);
		if (slm_alloc_live() != live)
			fail_msg("allocation %d: %d blocks left", (int)n,
				 (int)(slm_alloc_live() - live));
		if (sqlite3_memory_used() != used)
			fail_msg("allocation %d: %d bytes of SQLite left",
				 (int)n, (int)(sqlite3_memory_used() - used));
		assert_int_equal(open_files(), files);
	}
	for (int i = 0; i < 1000; i++) /* those that ended are gone soon */
		if (count_names("/proc/self/task", "") > threads)
			usleep(1000);
	assert_true(count_names("/proc/self/task", "") <= threads);
	assert_int_equal(explore(&err), SQLOOM_OK);
	print_message("%d allocations\n", (int)total);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_allocation_fails_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
