/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The test kit: putting a committing fixture back beside emptying all tables,
 * and a call in a clean process beside starting the same program. The peers
 * are given the cheaper work: they only empty tables, and their program ends
 * at once.
 */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "bench.h"
#include "postgres.h"

#define RESTORES 20 /* of ours in a round */
#define CALLS 50    /* of each side in a round */
#define TARGET 300  /* times faster, with TARGET_TABLES */
#define TARGET_TABLES 400
#define CALL_TARGET_MS 2.0

static const unsigned sizes[] = { 10, 100, TARGET_TABLES };

static void check(enum sqloom_status status, const struct sqloom_error *err)
{
	if (status)
		bench_die("%s", err->message);
}

/* A statement with all tables in it, or one for each. */
static char *about_all(const char *before, const char *between,
		       const char *after, unsigned ntables)
{
	struct slm_buf sql;
	char *text;

	slm_buf_init(&sql);
	slm_buf_puts(&sql, before);
	for (unsigned i = 1; i <= ntables; i++)
		slm_buf_printf(&sql, "%st%u", i > 1 ? between : "", i);
	slm_buf_puts(&sql, after);
	text = slm_buf_take(&sql);
	slm_buf_deinit(&sql);
	if (!text)
		bench_die("out of memory");
	return text;
}

static void heading(const char *what, const char *unit)
{
	printf("%-48s %8s %8s %7s  %s\n", what, "sqloom", "peer", "ratio",
	       unit);
}

static void show(const char *what, unsigned ntables, const double *ours,
		 const double *peer, unsigned rounds, double target)
{
	double ratios[BENCH_ROUNDS_MAX], copy[BENCH_ROUNDS_MAX];
	char name[80], left[32], right[32];

	for (unsigned i = 0; i < rounds; i++)
		ratios[i] = peer[i] / ours[i];
	memcpy(copy, ours, rounds * sizeof(*copy));
	snprintf(left, sizeof(left), "%.3f", 1e3 * bench_median(copy, rounds));
	memcpy(copy, peer, rounds * sizeof(*copy));
	snprintf(right, sizeof(right), "%.2f",
		 1e3 * bench_median(copy, rounds));
	snprintf(name, sizeof(name), "%u tables : %s", ntables, what);
	bench_row(name, left, right, bench_median(ratios, rounds),
		  ntables == TARGET_TABLES ? target : 0);
}

/* ---- Fixtures ---------------------------------------------------------- */

static struct sqloom_fixture *open_fixture(const char *database, bool processes,
					   int (*setup)(struct sqloom_db *db,
							void *arg),
					   void *arg)
{
	struct sqloom_fixture_options options;
	struct sqloom_fixture *fixture;
	struct sqloom_error err;

	sqloom_fixture_options_init(&options);
	options.database = database;
	options.processes = processes;
	options.setup = setup;
	options.arg = arg;
	check(sqloom_fixture_open(&options, &fixture, &err), &err);
	return fixture;
}

/* The seconds of one restore. */
static double restore(struct sqloom_fixture *fixture)
{
	struct sqloom_error err;
	double began = bench_now();

	check(sqloom_fixture_restore(fixture, NULL, &err), &err);
	return bench_now() - began;
}

static void close_fixture(struct sqloom_fixture *fixture)
{
	struct sqloom_error err;

	check(sqloom_fixture_close(fixture, &err), &err);
}

/* ---- PostgreSQL -------------------------------------------------------- */

#define PG_FILL                                                         \
	"INSERT INTO t1 (name, n) SELECT 'name ' || i, i FROM "         \
	"generate_series(1, 10) AS i; INSERT INTO t2 (name, n) SELECT " \
	"'name ' || i, i FROM generate_series(1, 10) AS i;"
#define PG_CHANGE                                \
	"UPDATE t1 SET n = n + 1 WHERE n <= 3; " \
	"INSERT INTO t2 (name, n) VALUES ('a', 0)"
#define PG_SUM                                                                \
	"SELECT (SELECT sum(n * id) FROM t1) * 1000 + (SELECT sum(n * id) + " \
	"count(*) FROM t2) + (SELECT last_value FROM t2_id_seq)"

static void make_pg_tables(const char *conninfo, unsigned ntables)
{
	PGconn *conn = bench_connect(conninfo);
	struct slm_buf sql;

	slm_buf_init(&sql);
	for (unsigned i = 1; i <= ntables; i++)
		slm_buf_printf(&sql,
			       "CREATE TABLE t%u (id bigserial PRIMARY KEY, "
			       "name varchar(40), n int, note text, parent "
			       "bigint REFERENCES t%u (id)); "
			       "CREATE INDEX ON t%u (parent); ",
			       i, i > 1 ? i - 1 : i, i);
	slm_buf_puts(&sql, PG_FILL);
	if (slm_buf_failed(&sql))
		bench_die("out of memory");
	bench_execute(conn, sql.data);
	slm_buf_deinit(&sql);
	bench_execute(conn, "VACUUM ANALYZE");
	PQfinish(conn);
}

static double pg_ours(struct sqloom_fixture *fixture, PGconn *writer,
		      long long sum)
{
	double times[RESTORES];

	for (unsigned i = 0; i < RESTORES; i++) {
		bench_execute(writer, PG_CHANGE);
		times[i] = restore(fixture);
	}
	if (bench_number(writer, PG_SUM) != sum)
		bench_die("a restore did not put everything back");
	return bench_median(times, RESTORES);
}

static double pg_peer(const char *conninfo, const char *truncate)
{
	PGconn *conn = bench_connect(conninfo);
	double began;

	bench_execute(conn, PG_FILL);
	bench_execute(conn, PG_CHANGE);
	began = bench_now();
	bench_execute(conn, truncate);
	began = bench_now() - began;
	PQfinish(conn);
	return began;
}

static void compare_pg(const struct slm_pg_server *server, unsigned ntables,
		       unsigned rounds)
{
	const char *ours = bench_server_database(server, "ours_test");
	const char *peer = bench_server_database(server, "peer_test");
	char *truncate = about_all("TRUNCATE ", ", ",
				   " RESTART IDENTITY CASCADE", ntables);
	double left[BENCH_ROUNDS_MAX], right[BENCH_ROUNDS_MAX];
	struct sqloom_fixture *fixture;
	PGconn *writer;
	long long sum;

	make_pg_tables(ours, ntables);
	make_pg_tables(peer, ntables);
	writer = bench_connect(ours);
	sum = bench_number(writer, PG_SUM);
	fixture = open_fixture(ours, false, NULL, NULL);
	for (unsigned round = 0; round < rounds + 1; round++) {
		unsigned at = round ? round - 1 : 0; /* round 0 warms up */

		left[at] = pg_ours(fixture, writer, sum);
		right[at] = pg_peer(peer, truncate);
	}
	close_fixture(fixture);
	PQfinish(writer);
	show("TRUNCATE of all, RESTART IDENTITY", ntables, left, right, rounds,
	     TARGET);
	slm_free(truncate);
}

static void bench_pg(bool durable, unsigned rounds)
{
	struct slm_pg_server *server = bench_server_start(durable);

	if (!server)
		return;
	heading("PostgreSQL fixture, 2 tables were written, in ms",
		durable ? "fsync on, on disk" : "fsync off");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		compare_pg(server, sizes[i], rounds);
	printf("\n");
	slm_pg_server_stop(server);
}

/* ---- SQLite ------------------------------------------------------------ */

#define LITE_CHANGE                              \
	"UPDATE t1 SET n = n + 1 WHERE n <= 3; " \
	"INSERT INTO t2 (name, n) VALUES ('a', 0)"

static void lite_execute(sqlite3 *db, const char *sql)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		bench_die("%.80s: %s", sql, sqlite3_errmsg(db));
}

static sqlite3 *lite_open(const char *url)
{
	sqlite3 *db;

	if (sqlite3_open_v2(url, &db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
				    SQLITE_OPEN_URI,
			    NULL) != SQLITE_OK)
		bench_die("%s: %s", url, sqlite3_errmsg(db));
	return db;
}

static char *lite_tables(unsigned ntables)
{
	struct slm_buf sql;
	char *text;

	slm_buf_init(&sql);
	slm_buf_puts(&sql, "BEGIN; ");
	for (unsigned i = 1; i <= ntables; i++)
		slm_buf_printf(&sql,
			       "CREATE TABLE t%u (id INTEGER PRIMARY KEY, name "
			       "TEXT, n INT, note TEXT, parent INT REFERENCES "
			       "t%u (id)); CREATE INDEX i%u ON t%u (parent); ",
			       i, i > 1 ? i - 1 : i, i, i);
	for (unsigned i = 0; i < 20; i++)
		slm_buf_printf(
			&sql, "INSERT INTO t%u (name, n) VALUES ('name', %u); ",
			1 + i / 10, i % 10);
	slm_buf_puts(&sql, "COMMIT");
	text = slm_buf_take(&sql);
	slm_buf_deinit(&sql);
	if (!text)
		bench_die("out of memory");
	return text;
}

static int lite_setup(struct sqloom_db *db, void *arg)
{
	lite_execute(sqloom_db_sqlite(db), arg);
	return 0;
}

/* Of what the fixture shall have after a restore. */
static long long lite_sum(sqlite3 *db)
{
	sqlite3_stmt *stmt;
	long long sum;

	if (sqlite3_prepare_v2(db,
			       "SELECT (SELECT sum(n * id) FROM t1) * 1000 + "
			       "(SELECT sum(n * id) + count(*) FROM t2)",
			       -1, &stmt, NULL) != SQLITE_OK ||
	    sqlite3_step(stmt) != SQLITE_ROW)
		bench_die("%s", sqlite3_errmsg(db));
	sum = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return sum;
}

static double lite_ours(struct sqloom_fixture *fixture, sqlite3 *writer)
{
	long long sum = lite_sum(writer);
	double times[RESTORES];

	for (unsigned i = 0; i < RESTORES; i++) {
		lite_execute(writer, LITE_CHANGE);
		times[i] = restore(fixture);
	}
	if (lite_sum(writer) != sum)
		bench_die("a restore did not put everything back");
	return bench_median(times, RESTORES);
}

static double lite_peer(sqlite3 *db, const char *fill, const char *empty)
{
	double began;

	lite_execute(db, fill);
	began = bench_now();
	lite_execute(db, empty);
	return bench_now() - began;
}

/* A file on the disk, with SQLite's own defaults. */
static sqlite3 *lite_peer_open(char *dir, const char *tables)
{
	char path[200];
	sqlite3 *db;

	if (!mkdtemp(dir))
		bench_die("cannot make a directory in /var/tmp");
	snprintf(path, sizeof(path), "%s/peer.db", dir);
	db = lite_open(path);
	lite_execute(db, tables);
	return db;
}

static void lite_peer_close(const char *dir, sqlite3 *db)
{
	char path[200];

	sqlite3_close(db);
	snprintf(path, sizeof(path), "%s/peer.db", dir);
	unlink(path);
	rmdir(dir);
}

static void compare_lite(unsigned ntables, unsigned rounds)
{
	char dir[] = "/var/tmp/sqloom-bench-XXXXXX";
	char *tables = lite_tables(ntables);
	char *empty = about_all("BEGIN; DELETE FROM ", "; DELETE FROM ",
				"; COMMIT", ntables);
	double memory[BENCH_ROUNDS_MAX], file[BENCH_ROUNDS_MAX];
	double peer[BENCH_ROUNDS_MAX];
	struct sqloom_fixture *threads =
		open_fixture(NULL, false, lite_setup, tables);
	struct sqloom_fixture *processes =
		open_fixture(NULL, true, lite_setup, tables);
	sqlite3 *one = lite_open(sqloom_fixture_url(threads));
	sqlite3 *two = lite_open(sqloom_fixture_url(processes));
	sqlite3 *other = lite_peer_open(dir, tables);

	for (unsigned round = 0; round < rounds + 1; round++) {
		unsigned at = round ? round - 1 : 0;

		memory[at] = lite_ours(threads, one);
		file[at] = lite_ours(processes, two);
		peer[at] = lite_peer(other, LITE_CHANGE, empty);
	}
	lite_peer_close(dir, other);
	sqlite3_close(one);
	sqlite3_close(two);
	close_fixture(threads);
	close_fixture(processes);
	show("threads : DELETE of all, a file", ntables, memory, peer, rounds,
	     TARGET);
	show("processes : DELETE of all, a file", ntables, file, peer, rounds,
	     0);
	slm_free(tables);
	slm_free(empty);
}

static void bench_lite(unsigned rounds)
{
	heading("SQLite fixture, 2 tables were written, in ms",
		"peer synced, on disk");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		compare_lite(sizes[i], rounds);
	printf("\n");
}

/* ---- Calls ------------------------------------------------------------- */

static int call_nothing(struct sqloom_call *call, void *arg)
{
	(void)arg;
	return sqloom_call_write(call, "x", 1) ? 0 : -1;
}

static double time_calls(struct sqloom_processes *processes)
{
	struct sqloom_calls_options options;
	double began = bench_now();

	sqloom_calls_options_init(&options);
	options.processes = processes;
	for (unsigned i = 0; i < CALLS; i++) {
		struct sqloom_results *results;
		struct sqloom_error err;

		check(sqloom_call_concurrently(1, call_nothing, NULL, 0,
					       &options, &results, &err),
		      &err);
		if (sqloom_results_failed(results))
			bench_die("%s", sqloom_results_message(results));
		sqloom_results_free(results);
	}
	return (bench_now() - began) / CALLS;
}

/* fork, exec of this program, a byte through a pipe, the end. */
static void start_program(void)
{
	int ends[2], status;
	pid_t child;
	char byte;

	if (pipe2(ends, O_CLOEXEC) != 0)
		bench_die("cannot make a pipe");
	child = fork();
	if (child == 0) {
		if (dup2(ends[1], 1) == 1)
			execl("/proc/self/exe", "sqloom-bench", "--nothing",
			      (char *)NULL);
		_exit(1);
	}
	close(ends[1]);
	if (child < 0 || read(ends[0], &byte, 1) != 1 ||
	    waitpid(child, &status, 0) != child || status != 0)
		bench_die("cannot start this program again");
	close(ends[0]);
}

static double time_programs(void)
{
	double began = bench_now();

	for (unsigned i = 0; i < CALLS; i++)
		start_program();
	return (bench_now() - began) / CALLS;
}

static void bench_calls(struct sqloom_processes *processes, unsigned rounds)
{
	double ours[BENCH_ROUNDS_MAX], peer[BENCH_ROUNDS_MAX];
	double ratios[BENCH_ROUNDS_MAX], ms;
	char left[32], right[32];

	for (unsigned round = 0; round < rounds + 1; round++) {
		unsigned at = round ? round - 1 : 0;

		ours[at] = time_calls(processes);
		peer[at] = time_programs();
		ratios[at] = peer[at] / ours[at];
	}
	ms = 1e3 * bench_median(ours, rounds);
	snprintf(left, sizeof(left), "%.3f", ms);
	snprintf(right, sizeof(right), "%.2f",
		 1e3 * bench_median(peer, rounds));
	heading("a call in a clean process, in ms", "");
	bench_row("fork and exec of the same program", left, right,
		  bench_median(ratios, rounds), 0);
	printf("  a call takes less than %g ms: %s\n\n", CALL_TARGET_MS,
	       ms < CALL_TARGET_MS ? "ok" : "MISSED");
}

/* ---- All --------------------------------------------------------------- */

void bench_kit(unsigned rounds)
{
	struct sqloom_processes *processes;
	struct sqloom_error err;

	/* Before anything is opened. */
	check(sqloom_processes_start(&processes, &err), &err);
	bench_calls(processes, rounds);
	sqloom_processes_free(processes);
	bench_lite(rounds);
	bench_pg(false, rounds);
	bench_pg(true, rounds);
}
