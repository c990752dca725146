/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Committing tests without a test framework: a program that ends with 1 if
 * something is wrong. Threads and clean processes withdraw from an account,
 * again and again, each time from the same beginning.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include <sqloom/kit.h>

#define CALLS 4
#define ROUNDS 3

static int failures;

#define CHECK(condition)                                                   \
	do {                                                               \
		if (!(condition)) {                                        \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, \
				#condition);                               \
			failures++;                                        \
		}                                                          \
	} while (0)

static int set_up(struct sqloom_db *db, void *arg)
{
	return sqloom_exec(db, arg, NULL) ? -1 : 0;
}

static int withdraw(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = NULL;
	int rc = sqlite3_open_v2(sqloom_call_database(call), &db,
				 SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI, NULL);

	(void)arg;
	sqlite3_busy_timeout(db, 60000);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db,
				  "BEGIN IMMEDIATE; UPDATE account SET balance "
				  "= balance - 1; COMMIT",
				  NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		sqloom_call_fail(call, "%s", sqlite3_errmsg(db));
	sqlite3_close(db);
	return rc == SQLITE_OK ? 0 : -1;
}

static int balance_of(const struct sqloom_fixture *fixture)
{
	struct sqloom_db *db;
	char *text = NULL;
	int balance = -1;

	if (sqloom_db_open(sqloom_fixture_url(fixture), &db, NULL))
		return -1;
	if (!sqloom_query(db, "SELECT balance FROM account", &text, NULL) &&
	    text)
		sscanf(text, "%d", &balance);
	sqloom_text_free(text);
	sqloom_db_close(db, NULL);
	return balance;
}

static void make_calls(const struct sqloom_fixture *fixture,
		       struct sqloom_processes *processes)
{
	struct sqloom_calls_options options;
	struct sqloom_results *results = NULL;
	struct sqloom_error err;

	sqloom_calls_options_init(&options);
	options.processes = processes;
	options.database = sqloom_fixture_url(fixture);
	CHECK(!sqloom_call_concurrently(CALLS, withdraw, NULL, 0, &options,
					&results, &err));
	if (results && sqloom_results_failed(results)) {
		fputs(sqloom_results_message(results), stderr);
		failures++;
	}
	sqloom_results_free(results);
}

static void test(struct sqloom_processes *processes)
{
	static char schema[] = "CREATE TABLE account (balance INT); INSERT "
			       "INTO account VALUES (10)";
	struct sqloom_fixture_options options;
	struct sqloom_fixture *fixture = NULL;
	struct sqloom_error err;

	sqloom_fixture_options_init(&options);
	options.processes = processes != NULL;
	options.setup = set_up;
	options.arg = schema;
	if (sqloom_fixture_open(&options, &fixture, &err)) {
		fprintf(stderr, "%s\n", err.message);
		failures++;
		return;
	}
	for (int i = 0; i < ROUNDS; i++) {
		char *left = NULL;

		make_calls(fixture, processes);
		CHECK(balance_of(fixture) == 10 - CALLS);
		CHECK(!sqloom_fixture_restore(fixture, &left, &err));
		CHECK(left && strcmp(left, "") == 0);
		CHECK(balance_of(fixture) == 10);
		sqloom_text_free(left);
	}
	CHECK(!sqloom_fixture_close(fixture, &err));
}

int main(void)
{
	struct sqloom_processes *processes = NULL;
	struct sqloom_error err;

	/* Before anything is opened. */
	if (sqloom_processes_start(&processes, &err)) {
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	test(NULL);
	test(processes);
	sqloom_processes_free(processes);
	return failures ? 1 : 0;
}
