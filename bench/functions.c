/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exploring two C functions on threads over SQLite in memory, beside the same
 * functions called one after another without sqloom, the row put back by an
 * UPDATE. Random schedules, so that every run is one of the exploration.
 */
#include <sqlite3.h>
#include <sqloom/sqloom.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

#define RUNS_OF_A_ROUND 100000
#define WANTED 40000 /* schedules a second */

/* The connection of a call, with its statements. */
struct client {
	sqlite3 *db;
	sqlite3_stmt *read, *write;
};

static void open_client(struct client *client, const char *path)
{
	if (sqlite3_open_v2(path, &client->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
				    SQLITE_OPEN_URI,
			    NULL) ||
	    sqlite3_exec(client->db,
			 "CREATE TABLE IF NOT EXISTS account"
			 "(id INTEGER PRIMARY KEY, balance INTEGER);"
			 "INSERT OR IGNORE INTO account VALUES (1, 100)",
			 NULL, NULL, NULL) ||
	    sqlite3_prepare_v2(client->db,
			       "SELECT balance FROM account WHERE id = 1", -1,
			       &client->read, NULL) ||
	    sqlite3_prepare_v2(client->db,
			       "UPDATE account SET balance = ? WHERE id = 1",
			       -1, &client->write, NULL))
		bench_die("SQLite: %s", sqlite3_errmsg(client->db));
}

static void close_client(struct client *client)
{
	sqlite3_finalize(client->read);
	sqlite3_finalize(client->write);
	sqlite3_close(client->db);
}

static void withdraw(struct client *client)
{
	int balance;

	if (sqlite3_step(client->read) != SQLITE_ROW)
		bench_die("SQLite: %s", sqlite3_errmsg(client->db));
	balance = sqlite3_column_int(client->read, 0);
	sqlite3_reset(client->read);
	sqlite3_bind_int(client->write, 1, balance - 10);
	if (sqlite3_step(client->write) != SQLITE_DONE)
		bench_die("SQLite: %s", sqlite3_errmsg(client->db));
	sqlite3_reset(client->write);
}

static void drop(void *kept)
{
	close_client(kept);
	free(kept);
}

static int call(struct sqloom_call *call, void *arg)
{
	void **kept = sqloom_call_keep(call, drop);

	(void)arg;
	if (!*kept) {
		*kept = calloc(1, sizeof(struct client));
		if (!*kept)
			bench_die("out of memory");
		open_client(*kept, sqloom_call_database(call));
	}
	withdraw(*kept);
	return 0;
}

static int set_up(struct sqloom_call *call, void *arg)
{
	struct client client;

	(void)arg;
	open_client(&client, sqloom_call_database(call));
	close_client(&client);
	return 0;
}

static double explore(void)
{
	const struct sqloom_function functions[] = {
		{ .name = "alice", .fn = call },
		{ .name = "bob", .fn = call },
	};
	struct sqloom_report *report;
	struct sqloom_options options;
	struct sqloom_calls calls;
	struct sqloom_error err;
	double began = bench_now();

	sqloom_calls_init(&calls);
	calls.calls = functions;
	calls.ncalls = 2;
	calls.setup = set_up;
	sqloom_options_init(&options);
	options.strategy = SQLOOM_STRATEGY_RANDOM;
	options.max_runs = RUNS_OF_A_ROUND;
	if (sqloom_explore_calls(&calls, &options, &report, &err))
		bench_die("%s", err.message);
	if (sqloom_report_verdict(report) != SQLOOM_BROKEN)
		bench_die("the lost update was not found");
	sqloom_report_free(report);
	return RUNS_OF_A_ROUND / (bench_now() - began);
}

static double call_serially(void)
{
	struct client first, second;
	double began;

	open_client(&first, "file:/bench?vfs=memdb");
	open_client(&second, "file:/bench?vfs=memdb");
	began = bench_now();
	for (unsigned i = 0; i < RUNS_OF_A_ROUND; i++) {
		withdraw(&first);
		withdraw(&second);
		if (sqlite3_exec(first.db, "UPDATE account SET balance = 100",
				 NULL, NULL, NULL))
			bench_die("SQLite: %s", sqlite3_errmsg(first.db));
	}
	began = bench_now() - began;
	close_client(&first);
	close_client(&second);
	return RUNS_OF_A_ROUND / began;
}

void bench_functions(unsigned rounds)
{
	double ours[BENCH_ROUNDS_MAX], theirs[BENCH_ROUNDS_MAX],
		ratios[BENCH_ROUNDS_MAX];

	for (unsigned i = 0; i < rounds; i++) {
		ours[i] = explore();
		theirs[i] = call_serially();
		ratios[i] = ours[i] / theirs[i];
	}
	printf("two C functions on threads, SQLite in memory: %.0f "
	       "schedules/s (wanted: %d); called one after another, without "
	       "sqloom: %.0f/s; ratio %.2f\n",
	       bench_median(ours, rounds), WANTED, bench_median(theirs, rounds),
	       bench_median(ratios, rounds));
}
