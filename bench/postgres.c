/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On PostgreSQL: schedules per second beside a serial loop and beside
 * isolationtester, restores beside what test suites use, workers. Private
 * servers, which are gone afterwards. Client and server share one CPU
 * throughout, as sqloom arranges it for itself: only one of them has anything
 * to do at a time.
 */
#include "postgres.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

#define CONNINFOS 8	/* that are in use at a time */
#define WARM 20		/* schedules before a round */
#define LEAST 300	/* schedules of a side in a round */
#define TESTER_FAST 400 /* orders given to isolationtester: nobody waits */
#define TESTER_SLOW 100 /* and where somebody may */
#define WRAPPERS "/tmp/sqloom-bench-XXXXXX"

static const struct bench_workload workloads[] = {
	{ "2 x 6 statements, disjoint rows", 2, true, false, 924, 0.9, 2 },
	{ "2 x 6 statements, the same row", 2, true, true, 350, 0.9, 10 },
	{ "2 x 4 statements, disjoint rows", 2, false, false, 70, 0.9, 2 },
	{ "2 x 4 statements, the same row", 2, false, true, 50, 0.9, 10 },
	{ "3 x 4 statements, the same row", 3, false, true, 0, 0.9, 10 },
};

/* ---- Connections ------------------------------------------------------- */

PGconn *bench_connect(const char *conninfo)
{
	PGconn *conn = PQconnectdb(conninfo);

	if (PQstatus(conn) != CONNECTION_OK)
		bench_die("%s", PQerrorMessage(conn));
	return conn;
}

void bench_execute(PGconn *conn, const char *sql)
{
	PGresult *result;

	if (!PQsendQuery(conn, sql))
		bench_die("%s", PQerrorMessage(conn));
	while ((result = PQgetResult(conn))) {
		if (PQresultStatus(result) != PGRES_COMMAND_OK &&
		    PQresultStatus(result) != PGRES_TUPLES_OK)
			bench_die("%.100s: %s", sql, PQerrorMessage(conn));
		PQclear(result);
	}
}

long long bench_number(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);
	long long number;

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) == 0)
		bench_die("%.100s: %s", sql, PQerrorMessage(conn));
	number = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);
	return number;
}

/* ---- Servers ----------------------------------------------------------- */

static void write_wrapper(const char *dir, const char *name, const char *text)
{
	char path[200];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "w");
	if (!file || fputs(text, file) < 0 || fclose(file) != 0 ||
	    chmod(path, 0755) != 0)
		bench_die("cannot write %s", path);
}

static void remove_wrappers(const char *dir)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/initdb", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/postgres", dir);
	unlink(path);
	rmdir(dir);
}

/* Private servers do not sync. Programs of the same names which end the
 * command line with other settings make one that does. */
static void make_wrappers(char *dir)
{
	static const char newest[] =
		"#!/bin/sh\n"
		"dir=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)\n"
		"exec \"$dir/${0##*/}\" \"$@\"";
	char text[400];

	if (!mkdtemp(dir) || chmod(dir, 0755) != 0)
		bench_die("cannot make a directory in /tmp");
	snprintf(text, sizeof(text), "%s\n", newest);
	write_wrapper(dir, "initdb", text);
	snprintf(text, sizeof(text),
		 "%s -c fsync=on -c synchronous_commit=on "
		 "-c full_page_writes=on\n",
		 newest);
	write_wrapper(dir, "postgres", text);
}

struct slm_pg_server *bench_server_start(bool durable)
{
	char wrappers[] = WRAPPERS;
	struct slm_pg_server_options options = { .path = getenv("PATH") };
	struct slm_pg_server *server = NULL;
	struct sqloom_error err;
	enum sqloom_status status;

	if (durable) {
		make_wrappers(wrappers);
		options.bindir = wrappers;
		options.place = "/var/tmp";
	}
	status = slm_pg_server_start(&options, &server, &err);
	if (durable)
		remove_wrappers(wrappers);
	if (status)
		printf("PostgreSQL is left out: %s\n", err.message);
	return server;
}

const char *bench_server_database(const struct slm_pg_server *server,
				  const char *name)
{
	static char conninfo[CONNINFOS][1000];
	static unsigned turn;
	char *out = conninfo[turn++ % CONNINFOS], sql[200];
	PGconn *conn = bench_connect(slm_pg_server_conninfo(server));

	snprintf(sql, sizeof(sql), "DROP DATABASE IF EXISTS %s", name);
	bench_execute(conn, "SET client_min_messages = warning");
	bench_execute(conn, sql);
	snprintf(sql, sizeof(sql), "CREATE DATABASE %s", name);
	bench_execute(conn, sql);
	PQfinish(conn);
	snprintf(out, sizeof(conninfo[0]), "%s dbname=%s",
		 slm_pg_server_conninfo(server), name);
	return out;
}

/* ---- The table --------------------------------------------------------- */

static void heading(const char *what, const char *unit)
{
	printf("%-48s %8s %8s %7s  %s\n", what, "sqloom", "peer", "ratio",
	       unit);
}

void bench_row(const char *what, const char *ours, const char *peer,
	       double ratio, double target)
{
	char against[40] = "";

	if (target > 0)
		snprintf(against, sizeof(against), ">= %g %s", target,
			 ratio >= target ? "ok" : "MISSED");
	printf("  %-46s %8s %8s %7.*f  %s\n", what, ours, peer,
	       ratio < 100 ? 2 : 0, ratio, against);
}

/* ---- Schedules --------------------------------------------------------- */

/* Schedules per second of each round. */
struct rates {
	double runs[BENCH_ROUNDS_MAX], explored[BENCH_ROUNDS_MAX];
	double reading[BENCH_ROUNDS_MAX], writing[BENCH_ROUNDS_MAX];
	double tester[BENCH_ROUNDS_MAX], plain[BENCH_ROUNDS_MAX];
};

/* What takes turns. */
struct sides {
	const struct bench_workload *workload;
	const char *conninfo, *peer; /* of explorations, of peers */
	struct bench_runs *runs;
	struct bench_loop *loop;
	struct bench_orders orders; /* each schedule once; or the sample */
};

static double time_runs(struct sides *sides)
{
	double began = bench_now();
	unsigned count;

	sides->orders.count = 0;
	count = bench_runs_run(sides->runs, LEAST, &sides->orders);
	return count / (bench_now() - began);
}

static double time_explore(const struct sides *sides, unsigned jobs)
{
	double began = bench_now();
	unsigned runs =
		bench_explore(sides->workload, sides->conninfo, jobs, LEAST);

	return runs / (bench_now() - began);
}

static double time_loop(const struct sides *sides, bool reading)
{
	double began = bench_now();

	bench_loop_run(sides->loop, LEAST, reading);
	return LEAST / (bench_now() - began);
}

static double time_tester(const struct sides *sides, bool plain)
{
	unsigned sample = sides->workload->same ? TESTER_SLOW : TESTER_FAST;

	return bench_tester_path() ?
		       sample / bench_tester_run(sides->workload, sides->peer,
						 &sides->orders, sample,
						 plain) :
		       0;
}

static void show(const char *what, const double *ours, const double *peer,
		 unsigned rounds, double target)
{
	double ratios[BENCH_ROUNDS_MAX], copy[BENCH_ROUNDS_MAX];
	char left[32], right[32];

	for (unsigned i = 0; i < rounds; i++)
		ratios[i] = ours[i] / peer[i];
	memcpy(copy, ours, rounds * sizeof(*copy));
	snprintf(left, sizeof(left), "%.0f", bench_median(copy, rounds));
	memcpy(copy, peer, rounds * sizeof(*copy));
	snprintf(right, sizeof(right), "%.0f", bench_median(copy, rounds));
	bench_row(what, left, right, bench_median(ratios, rounds), target);
}

static void show_workload(const struct sides *sides, const struct rates *rates,
			  unsigned rounds)
{
	const struct bench_workload *workload = sides->workload;
	double runs[BENCH_ROUNDS_MAX];
	unsigned statements =
		workload->nsessions * bench_workload_nsteps(workload);

	heading(workload->name, "schedules/s");
	show("runs : serial loop that reads the tables, too", rates->runs,
	     rates->reading, rounds, workload->loop_target);
	show("runs : serial loop that does not", rates->runs, rates->writing,
	     rounds, 0);
	if (bench_tester_path()) {
		show("runs : isolationtester, cheapest set-up", rates->runs,
		     rates->tester, rounds, workload->tester_target);
		show("runs : isolationtester, DELETE and INSERT", rates->runs,
		     rates->plain, rounds, 0);
	}
	show("all of an exploration : serial loop", rates->explored,
	     rates->reading, rounds, 0);
	memcpy(runs, rates->runs, rounds * sizeof(*runs));
	printf("  %.0f statements/s", statements * bench_median(runs, rounds));
	if (workload->feasible)
		printf("; %u schedules were run, %u are feasible%s\n\n",
		       sides->orders.count, workload->feasible,
		       sides->orders.count == workload->feasible ? "" :
								   ": MISSED");
	else
		printf("; a sample\n\n");
}

static void measure(const struct bench_workload *workload,
		    const struct slm_pg_server *server, unsigned rounds)
{
	struct sides sides = { .workload = workload };
	struct rates rates;

	/* A database belongs to one sqloom at a time. */
	sides.runs = bench_runs_open(
		workload, bench_server_database(server, "runs_test"));
	sides.conninfo = bench_server_database(server, "ours_test");
	sides.peer = bench_server_database(server, "peer_test");
	sides.loop = bench_loop_open(workload, sides.peer);
	for (unsigned round = 0; round < rounds + 1; round++) {
		unsigned at = round ? round - 1 : 0; /* round 0 warms up */

		rates.runs[at] = time_runs(&sides);
		rates.reading[at] = time_loop(&sides, true);
		rates.explored[at] = time_explore(&sides, 1);
		rates.writing[at] = time_loop(&sides, false);
		rates.tester[at] = time_tester(&sides, false);
		rates.plain[at] = time_tester(&sides, true);
	}
	bench_loop_close(sides.loop);
	bench_runs_close(sides.runs);
	show_workload(&sides, &rates, rounds);
}

/* ---- Workers ----------------------------------------------------------- */

static void measure_jobs(const struct slm_pg_server *server,
			 const cpu_set_t *all, unsigned rounds)
{
	struct sides sides = { .workload = &workloads[0] };
	double one[BENCH_ROUNDS_MAX], two[BENCH_ROUNDS_MAX];
	cpu_set_t one_cpu;

	if (sched_getaffinity(0, sizeof(one_cpu), &one_cpu) != 0)
		bench_die("cannot ask for the CPUs");
	sides.conninfo = bench_server_database(server, "ours_test");
	if (sched_setaffinity(0, sizeof(*all), all) != 0)
		bench_die("cannot use the other CPUs again");
	for (unsigned round = 0; round < rounds; round++) {
		one[round] = time_explore(&sides, 1);
		two[round] = time_explore(&sides, 2);
	}
	if (sched_setaffinity(0, sizeof(one_cpu), &one_cpu) != 0)
		bench_die("cannot go back to one CPU");
	heading("--jobs 2, on as many of the CPUs as it takes", "schedules/s");
	show("--jobs 2 : --jobs 1, the first workload", two, one, rounds, 0);
}

/* ---- All --------------------------------------------------------------- */

static void measure_restores(const struct slm_pg_server *server,
			     unsigned rounds)
{
	static const unsigned sizes[] = { 10, 100, 400 };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		bench_restore(server, sizes[i], rounds);
	printf("\n");
}

static void say_server(const struct slm_pg_server *server)
{
	PGconn *conn = bench_connect(slm_pg_server_conninfo(server));

	printf("PostgreSQL %s, private server, Unix socket, fsync off\n",
	       PQparameterStatus(conn, "server_version"));
	PQfinish(conn);
}

void bench_postgres(unsigned rounds)
{
	struct slm_pg_server *server;
	cpu_set_t all;

	bench_pin(&all, "the bench, isolationtester, all processes of the "
			"servers");
	server = bench_server_start(false);
	if (!server) {
		bench_unpin(&all);
		return;
	}
	say_server(server);
	if (!bench_tester_path())
		printf("isolationtester is not installed and left out (Debian: "
		       "apt-get install postgresql-client-15)\n");
	printf("\n");
	for (size_t i = 0; i < sizeof(workloads) / sizeof(*workloads); i++)
		measure(&workloads[i], server, rounds);
	heading("restore after 2 tables were written, in ms", "fsync off");
	measure_restores(server, rounds);
	measure_jobs(server, &all, rounds);
	slm_pg_server_stop(server);
	printf("\n");
	server = bench_server_start(true);
	if (server) {
		heading("restore after 2 tables were written, in ms",
			"fsync on, on disk");
		measure_restores(server, rounds);
		slm_pg_server_stop(server);
	}
	bench_unpin(&all);
}
