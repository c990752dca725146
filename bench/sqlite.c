/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On SQLite: how many schedules a second, and how far that is from the floor:
 * the same statements on the same store, executed serially by a bare loop with
 * no scheduler, no recording and no oracle, restore included. Floor and
 * exploration take turns in one process; the figures are medians over the
 * rounds, and the ratio is the one to quote. Also: memory before and after a
 * million runs.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <sqloom/sqloom.h>

#include "base/alloc.h"
#include "bench.h"
#include "db/sqlite_store.h"

struct workload {
	const char *name;
	const char *journal;
	unsigned nsessions;
	bool transactions;
};

static const struct workload workloads[] = {
	{ "2 x (SELECT, UPDATE), autocommit", "delete", 2, false },
	{ "2 x (SELECT, UPDATE), autocommit, WAL", "wal", 2, false },
	{ "2 x (BEGIN, SELECT, UPDATE, COMMIT)", "delete", 2, true },
	{ "3 x (SELECT, UPDATE), autocommit", "delete", 3, false },
};

#define SETUP                                                         \
	"CREATE TABLE account (id INTEGER PRIMARY KEY, bal INTEGER);" \
	"INSERT INTO account VALUES (1, 100);"
#define READ "SELECT bal FROM account WHERE id = 1"
#define WRITE "UPDATE account SET bal = :bal + 10 WHERE id = 1"

/* Processor time of this process: what else runs on the machine does not
 * count. sqloom is one thread, so on an idle machine it is the wall clock. */
static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- The floor --------------------------------------------------------- */

struct connection {
	sqlite3 *db;
	sqlite3_stmt *begin, *read, *write, *commit;
};

struct floor {
	struct slm_store *store;
	struct connection connections[3];
};

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *stmt = NULL;

	if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt,
			       NULL))
		bench_die("%s", sqlite3_errmsg(db));
	return stmt;
}

static void never_sleep(unsigned ms, void *userdata)
{
	(void)ms;
	(void)userdata;
}

static sqlite3 *open_connection(struct slm_store *store, unsigned owner)
{
	sqlite3 *db = NULL;

	slm_store_set_owner(store, owner);
	if (sqlite3_open_v2(slm_store_main_path(store), &db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
				    SQLITE_OPEN_NOMUTEX,
			    slm_store_vfs(store)))
		bench_die("cannot open a connection");
	return db;
}

static void floor_open(struct floor *floor, const struct workload *workload)
{
	struct slm_store_hooks hooks = { .sleep = never_sleep };
	char sql[200];
	sqlite3 *admin;

	memset(floor, 0, sizeof(*floor));
	if (slm_store_new(SQLOOM_STORE_MEMORY, &hooks, &floor->store, NULL))
		bench_die("cannot make a store");
	admin = open_connection(floor->store, 9);
	snprintf(sql, sizeof(sql), "PRAGMA journal_mode=%s; %s",
		 workload->journal, SETUP);
	if (sqlite3_exec(admin, sql, NULL, NULL, NULL))
		bench_die("%s", sqlite3_errmsg(admin));
	sqlite3_close(admin);
	for (unsigned i = 0; i < workload->nsessions; i++) {
		struct connection *c = &floor->connections[i];

		c->db = open_connection(floor->store, i);
		c->begin = prepare(c->db, "BEGIN");
		c->read = prepare(c->db, READ);
		c->write = prepare(c->db, WRITE);
		c->commit = prepare(c->db, "COMMIT");
	}
	if (slm_store_snapshot(floor->store, NULL))
		bench_die("cannot take a snapshot");
}

static void execute(sqlite3_stmt *stmt)
{
	if (sqlite3_step(stmt) != SQLITE_DONE)
		bench_die("a statement failed");
	sqlite3_reset(stmt);
}

static void floor_run(struct floor *floor, const struct workload *workload)
{
	if (slm_store_restore(floor->store, NULL))
		bench_die("cannot restore");
	for (unsigned i = 0; i < workload->nsessions; i++) {
		struct connection *c = &floor->connections[i];

		slm_store_set_owner(floor->store, i);
		if (workload->transactions)
			execute(c->begin);
		if (sqlite3_step(c->read) != SQLITE_ROW)
			bench_die("no row");
		sqlite3_bind_int64(c->write, 1,
				   sqlite3_column_int64(c->read, 0));
		if (sqlite3_step(c->read) != SQLITE_DONE)
			bench_die("a row too many");
		sqlite3_reset(c->read);
		execute(c->write);
		if (workload->transactions)
			execute(c->commit);
	}
}

static void floor_close(struct floor *floor)
{
	for (unsigned i = 0; i < 3; i++) {
		struct connection *c = &floor->connections[i];

		sqlite3_finalize(c->begin);
		sqlite3_finalize(c->read);
		sqlite3_finalize(c->write);
		sqlite3_finalize(c->commit);
		sqlite3_close(c->db);
	}
	slm_store_free(floor->store);
}

/* ---- The exploration --------------------------------------------------- */

static struct sqloom_spec *make_spec(const struct workload *workload)
{
	const char *begin = workload->transactions ? "step b%1$u { BEGIN }\n" :
						     "";
	const char *commit =
		workload->transactions ? "step c%1$u { COMMIT }\n" : "";
	struct sqloom_spec *spec = NULL;
	struct sqloom_error err;
	char text[4000], format[400];
	int n = snprintf(text, sizeof(text),
			 "option journal %s\nsetup { " SETUP " }\n",
			 workload->journal);

	snprintf(format, sizeof(format),
		 "session s%%1$u\n%s step r%%1$u { " READ
		 " }\n step w%%1$u { " WRITE " }\n%s",
		 begin, commit);
	for (unsigned i = 0; i < workload->nsessions; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, format, i);
	if (sqloom_spec_parse(text, strlen(text), "bench", &spec, &err))
		bench_die("%s", err.message);
	return spec;
}

/* Seconds that so many runs of the strategy take, set-up included. */
static double explore(const struct sqloom_spec *spec, uint64_t runs,
		      enum sqloom_strategy strategy)
{
	struct sqloom_options options;
	struct sqloom_report *report = NULL;
	struct sqloom_error err;
	double began = cpu_seconds();

	sqloom_options_init(&options);
	options.strategy = strategy;
	options.max_runs = runs;
	if (sqloom_explore(spec, &options, &report, &err))
		bench_die("%s", err.message);
	sqloom_report_free(report);
	return cpu_seconds() - began;
}

/* ---- Figures ----------------------------------------------------------- */

static void measure(const struct workload *workload, uint64_t runs,
		    unsigned rounds)
{
	double floors[BENCH_ROUNDS_MAX], explored[BENCH_ROUNDS_MAX],
		ratios[BENCH_ROUNDS_MAX];
	struct sqloom_spec *spec = make_spec(workload);
	struct floor floor;

	floor_open(&floor, workload);
	for (unsigned round = 0; round < rounds + 1; round++) {
		unsigned at = round ? round - 1 : 0; /* round 0 warms up */
		double began = cpu_seconds();

		for (uint64_t i = 0; i < runs; i++)
			floor_run(&floor, workload);
		floors[at] = cpu_seconds() - began;
		explored[at] = explore(spec, runs, SQLOOM_STRATEGY_UNIFORM);
		ratios[at] = explored[at] / floors[at];
	}
	printf("%-42s %9.0f/s  floor %9.0f/s  %5.2f us  ratio %.2f\n",
	       workload->name, (double)runs / bench_median(explored, rounds),
	       (double)runs / bench_median(floors, rounds),
	       1e6 * bench_median(explored, rounds) / (double)runs,
	       bench_median(ratios, rounds));
	fflush(stdout);
	floor_close(&floor);
	sqloom_spec_free(spec);
}

/* Resident pages of this process, in KiB. */
static long resident_kib(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	long size = 0, resident = 0;

	if (!file || fscanf(file, "%ld %ld", &size, &resident) != 2)
		resident = 0;
	if (file)
		fclose(file);
	return resident * 4;
}

struct growth {
	long warm_kib, last_kib;
	int64_t warm_blocks, last_blocks;
};

static bool watch_memory(const struct sqloom_progress *progress, void *userdata)
{
	struct growth *growth = userdata;

	growth->last_kib = resident_kib();
	growth->last_blocks = slm_alloc_live();
	if (progress->runs < 100000) {
		growth->warm_kib = growth->last_kib;
		growth->warm_blocks = growth->last_blocks;
	}
	return true;
}

static void measure_memory(uint64_t runs)
{
	struct sqloom_spec *spec = make_spec(&workloads[0]);
	struct growth growth = { 0 };
	struct sqloom_options options;
	struct sqloom_report *report = NULL;
	struct sqloom_error err;

	sqloom_options_init(&options);
	options.strategy = SQLOOM_STRATEGY_UNIFORM;
	options.max_runs = runs;
	options.progress = watch_memory;
	options.userdata = &growth;
	if (sqloom_explore(spec, &options, &report, &err))
		bench_die("%s", err.message);
	printf("memory over %llu runs: %ld KiB resident after warm-up, %ld KiB "
	       "at the end; %lld and %lld heap blocks\n",
	       (unsigned long long)runs, growth.warm_kib, growth.last_kib,
	       (long long)growth.warm_blocks, (long long)growth.last_blocks);
	sqloom_report_free(report);
	sqloom_spec_free(spec);
}

void bench_sqlite(uint64_t runs, unsigned rounds)
{
	printf("SQLite %s, %llu runs a round: schedules per second of CPU "
	       "through the whole of sqloom;\nthe floor is the same statements, "
	       "serially, unscheduled\n\n",
	       sqlite3_libversion(), (unsigned long long)runs);
	for (size_t i = 0; i < sizeof(workloads) / sizeof(*workloads); i++)
		measure(&workloads[i], runs, rounds);
	printf("\n");
	measure_memory(runs * 10);
}
