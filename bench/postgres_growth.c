/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What grows over many runs in a row: our memory and descriptors; sessions,
 * locks and memory of the server's processes; the tables that are put back,
 * their snapshots, and the catalogues. One exploration of random schedules
 * that wait, insert and generate keys; measured early and at the end.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "bench.h"
#include "postgres.h"

#define EARLY 1000 /* runs */

static const struct bench_workload workload = {
	"2 x 6 statements, the same row", 2, true, true, 350, 0, 0
};

/* ---- What is measured -------------------------------------------------- */

/* Answered on a connection of the bench, in the runs' database. */
static const struct {
	const char *name, *sql;
} questions[] = {
	{ "server sessions",
	  "SELECT count(*) FROM pg_stat_activity WHERE datname = "
	  "current_database() AND pid <> pg_backend_pid()" },
	{ "locks of theirs, between transactions or in",
	  "SELECT count(*) FROM pg_locks WHERE pid <> pg_backend_pid()" },
	{ "account and its indexes, KiB",
	  "SELECT pg_total_relation_size('account') / 1024" },
	{ "entry and its indexes, KiB",
	  "SELECT pg_total_relation_size('entry') / 1024" },
	{ "tables of the schema sqloom, KiB",
	  "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) / 1024 FROM "
	  "pg_class c WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE "
	  "nspname = 'sqloom') AND relkind = 'r'" },
	{ "pg_class, KiB", "SELECT pg_total_relation_size('pg_class') / 1024" },
	{ "pg_attribute, KiB",
	  "SELECT pg_total_relation_size('pg_attribute') / 1024" },
	{ "pg_type, KiB", "SELECT pg_total_relation_size('pg_type') / 1024" },
	{ "pg_depend, KiB",
	  "SELECT pg_total_relation_size('pg_depend') / 1024" },
	{ "pg_shdepend, KiB",
	  "SELECT pg_total_relation_size('pg_shdepend') / 1024" },
	{ "pg_statistic, KiB",
	  "SELECT pg_total_relation_size('pg_statistic') / 1024" },
	{ "pg_largeobject, KiB",
	  "SELECT pg_total_relation_size('pg_largeobject') / 1024" },
	{ "whole database, KiB",
	  "SELECT pg_database_size(current_database()) / 1024" },
};

enum { OWN_RSS, OWN_PEAK, OWN_FDS, OWN_BLOCKS, SERVER_RSS, OWN_COUNT };

static const char *const own_names[OWN_COUNT] = {
	[OWN_RSS] = "our memory (VmRSS), KiB",
	[OWN_PEAK] = "our peak (VmHWM), KiB",
	[OWN_FDS] = "our descriptors",
	[OWN_BLOCKS] = "our heap blocks",
	[SERVER_RSS] = "private memory of the sessions' processes, KiB",
};

#define NQUESTIONS (sizeof(questions) / sizeof(*questions))

struct sample {
	long long own[OWN_COUNT], server[NQUESTIONS];
	unsigned long long runs;
};

struct growth {
	PGconn *conn;
	uint64_t runs;
	struct sample early, last;
};

/* A line of /proc/PID/status, in KiB. */
static long long memory(const char *pid, const char *what)
{
	char path[64], line[200];
	long long value = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%s/status", pid);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, what, strlen(what)) == 0)
			value = strtoll(line + strlen(what) + 1, NULL, 10);
	if (file)
		fclose(file);
	return value;
}

static long long descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	long long count = -3; /* ".", "..", and this one */

	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count;
}

static long long memory_of_sessions(PGconn *conn)
{
	PGresult *result = PQexec(conn, "SELECT pid FROM pg_stat_activity "
					"WHERE datname = current_database() "
					"AND pid <> pg_backend_pid()");
	long long sum = 0;

	for (int i = 0; i < PQntuples(result); i++)
		sum += memory(PQgetvalue(result, i, 0), "RssAnon");
	PQclear(result);
	return sum;
}

static void take_sample(struct growth *growth, struct sample *out,
			unsigned long long runs)
{
	out->runs = runs;
	out->own[OWN_RSS] = memory("self", "VmRSS");
	out->own[OWN_PEAK] = memory("self", "VmHWM");
	out->own[OWN_FDS] = descriptors();
	out->own[OWN_BLOCKS] = slm_alloc_live();
	out->own[SERVER_RSS] = memory_of_sessions(growth->conn);
	for (size_t i = 0; i < NQUESTIONS; i++)
		out->server[i] = bench_number(growth->conn, questions[i].sql);
}

/* ---- The exploration --------------------------------------------------- */

static bool watch(const struct sqloom_progress *progress, void *userdata)
{
	struct growth *growth = userdata;

	if (progress->runs >= EARLY && !growth->early.runs)
		take_sample(growth, &growth->early, progress->runs);
	if (progress->runs >= growth->runs)
		take_sample(growth, &growth->last, progress->runs);
	return !growth->last.runs;
}

static void explore(struct growth *growth, const char *conninfo)
{
	struct sqloom_spec *spec = bench_workload_spec(&workload);
	struct sqloom_options options;
	struct sqloom_report *report = NULL;
	struct sqloom_error err;

	sqloom_options_init(&options);
	options.database = conninfo;
	options.strategy = SQLOOM_STRATEGY_UNIFORM;
	options.progress = watch;
	options.userdata = growth;
	if (sqloom_explore(spec, &options, &report, &err))
		bench_die("%s", err.message);
	sqloom_report_free(report);
	sqloom_spec_free(spec);
}

static void show(const char *name, long long early, long long last)
{
	printf("%-50s %12lld %12lld\n", name, early, last);
}

/* Only a session itself knows what is prepared in it: so runs by hand. */
static void show_prepared(const char *conninfo, uint64_t count)
{
	struct bench_runs *runs = bench_runs_open(&workload, conninfo);
	long long early, last;

	bench_runs_run(runs, 100, NULL);
	early = bench_runs_prepared(runs);
	bench_runs_run(runs, (unsigned)count, NULL);
	last = bench_runs_prepared(runs);
	show("prepared statements, after 100 runs and more", early, last);
	bench_runs_close(runs);
}

void bench_postgres_growth(uint64_t runs)
{
	struct slm_pg_server *server = bench_server_start(false);
	struct growth growth = { .runs = runs };
	const char *conninfo;

	if (!server)
		return;
	conninfo = bench_server_database(server, "ours_test");
	growth.conn = bench_connect(conninfo);
	explore(&growth, conninfo);
	printf("%-50s %12llu %12llu\n", "after so many runs", growth.early.runs,
	       growth.last.runs);
	for (size_t i = 0; i < OWN_COUNT; i++)
		show(own_names[i], growth.early.own[i], growth.last.own[i]);
	for (size_t i = 0; i < NQUESTIONS; i++)
		show(questions[i].name, growth.early.server[i],
		     growth.last.server[i]);
	PQfinish(growth.conn);
	show_prepared(conninfo, runs / 10);
	slm_pg_server_stop(server);
}
