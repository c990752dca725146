/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exploring two C functions on threads over SQLite in memory, beside the same
 * functions called one after another without sqloom, the row put back by an
 * UPDATE. Random schedules, so that every run is one of the exploration. What
 * is in between is the least that random schedules on threads can cost: the same
 * statements, and one futex wake and wait for each change of the thread.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sqlite3.h>
#include <sqloom/sqloom.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

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

/* ---- Bare hand-overs --------------------------------------------------- */

/* Who goes on is the one whose word is set. */
struct relay {
	struct client clients[2];
	_Atomic uint32_t go[2];
	unsigned char order[6]; /* of a run: both begin, then 4 statements */
	unsigned at, runs;
	uint64_t random;
	bool over;
};

struct runner {
	struct relay *relay;
	unsigned number;
};

static void draw_order(struct relay *relay)
{
	unsigned left[2] = { 2, 2 };

	relay->order[0] = 0;
	relay->order[1] = 1;
	for (unsigned i = 2; i < 6; i++) {
		unsigned who;

		relay->random = relay->random * UINT64_C(6364136223846793005) +
				UINT64_C(1442695040888963407);
		who = left[0] && left[1] ? relay->random >> 63 : !left[0];
		relay->order[i] = (unsigned char)who;
		left[who]--;
	}
	relay->at = 0;
}

static void wait_for_turn(struct relay *relay, unsigned number)
{
	while (!atomic_exchange(&relay->go[number], 0))
		syscall(SYS_futex, &relay->go[number], FUTEX_WAIT_PRIVATE, 0,
			NULL, NULL, 0);
}

static void wake(struct relay *relay, unsigned number)
{
	atomic_store(&relay->go[number], 1);
	syscall(SYS_futex, &relay->go[number], FUTEX_WAKE_PRIVATE, 1, NULL,
		NULL, 0);
}

/* False: all runs are over. */
static bool next_turn(struct relay *relay, unsigned number)
{
	if (++relay->at == 6) {
		if (sqlite3_exec(relay->clients[number].db,
				 "UPDATE account SET balance = 100", NULL, NULL,
				 NULL))
			bench_die("SQLite: the row cannot be put back");
		draw_order(relay);
		relay->over = ++relay->runs == RUNS_OF_A_ROUND;
	}
	if (!relay->over && relay->order[relay->at] == number)
		return true;
	wake(relay, !number);
	if (!relay->over)
		wait_for_turn(relay, number);
	return !relay->over;
}

static void *take_turns(void *userdata)
{
	const struct runner *runner = userdata;
	struct relay *relay = runner->relay;
	struct client *client = &relay->clients[runner->number];
	unsigned number = runner->number;
	int balance;

	wait_for_turn(relay, number);
	while (!relay->over && next_turn(relay, number)) {
		if (sqlite3_step(client->read) != SQLITE_ROW)
			bench_die("SQLite: %s", sqlite3_errmsg(client->db));
		balance = sqlite3_column_int(client->read, 0);
		sqlite3_reset(client->read);
		if (!next_turn(relay, number))
			break;
		sqlite3_bind_int(client->write, 1, balance - 10);
		if (sqlite3_step(client->write) != SQLITE_DONE)
			bench_die("SQLite: %s", sqlite3_errmsg(client->db));
		sqlite3_reset(client->write);
		if (!next_turn(relay, number))
			break;
	}
	return NULL;
}

/* On one CPU, as an exploration is. */
static double hand_over(void)
{
	struct relay relay = { .random = 1 };
	struct runner runners[2] = { { &relay, 0 }, { &relay, 1 } };
	pthread_t threads[2];
	cpu_set_t before, one;
	double began;

	CPU_ZERO(&one);
	CPU_SET((unsigned)sched_getcpu(), &one);
	sched_getaffinity(0, sizeof(before), &before);
	sched_setaffinity(0, sizeof(one), &one);
	for (unsigned i = 0; i < 2; i++)
		open_client(&relay.clients[i], "file:/bench?vfs=memdb");
	draw_order(&relay);
	began = bench_now();
	for (unsigned i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, take_turns, &runners[i]))
			bench_die("no thread can be started");
	wake(&relay, 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	began = bench_now() - began;
	for (unsigned i = 0; i < 2; i++)
		close_client(&relay.clients[i]);
	sched_setaffinity(0, sizeof(before), &before);
	return RUNS_OF_A_ROUND / began;
}

/* ---- All --------------------------------------------------------------- */

void bench_functions(unsigned rounds)
{
	double ours[BENCH_ROUNDS_MAX], theirs[BENCH_ROUNDS_MAX],
		ratios[BENCH_ROUNDS_MAX], bare[BENCH_ROUNDS_MAX],
		of_bare[BENCH_ROUNDS_MAX];

	for (unsigned i = 0; i < rounds; i++) {
		ours[i] = explore();
		theirs[i] = call_serially();
		bare[i] = hand_over();
		ratios[i] = ours[i] / theirs[i];
		of_bare[i] = ours[i] / bare[i];
	}
	printf("two C functions on threads, SQLite in memory: %.0f "
	       "schedules/s (wanted: %d); called one after another, without "
	       "sqloom: %.0f/s; ratio %.2f\n",
	       bench_median(ours, rounds), WANTED, bench_median(theirs, rounds),
	       bench_median(ratios, rounds));
	printf("bare hand-overs between two threads, with these statements in "
	       "random order: %.0f schedules/s; ratio %.2f\n",
	       bench_median(bare, rounds), bench_median(of_bare, rounds));
}
