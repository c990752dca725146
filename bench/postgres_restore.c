/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going back after a run that wrote two tables, in schemas of different sizes,
 * beside what test suites do: TRUNCATE of all tables in one statement, DELETE
 * from all in one message, and a new database from a template. The peers start
 * with the same two tables written, the others empty, which is cheaper for
 * them; they only empty what sqloom puts back.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "bench.h"
#include "call/run.h"
#include "db/postgres_internal.h"
#include "postgres.h"

#define OURS 20 /* restores of ours in a round */
#define ROWS "SELECT 'name ' || i, i, 'a note' FROM generate_series(1, 10) AS i"
#define FILL                                        \
	"INSERT INTO t1 (name, n, note) " ROWS "; " \
	"INSERT INTO t2 (name, n, note) " ROWS ";"
#define CHANGE                                   \
	"UPDATE t1 SET n = n + 1 WHERE n <= 3; " \
	"INSERT INTO t2 (name, n, note) VALUES ('a', 0, 'b')"

static const char spec_text[] =
	"session s\n"
	"step change { UPDATE t1 SET n = n + 1 WHERE n <= 3; }\n"
	"step add { INSERT INTO t2 (name, n, note) VALUES ('a', 0, 'b'); }\n";

/* ---- The schema -------------------------------------------------------- */

static void make_tables(PGconn *conn, unsigned ntables)
{
	struct slm_buf sql;

	slm_buf_init(&sql);
	for (unsigned i = 1; i <= ntables; i++)
		slm_buf_printf(&sql,
			       "CREATE TABLE t%u (id serial PRIMARY KEY, "
			       "name varchar(40), n int, note text, parent int "
			       "REFERENCES t%u (id)); "
			       "CREATE INDEX ON t%u (parent); ",
			       i, i > 1 ? i - 1 : i, i);
	slm_buf_puts(&sql, FILL);
	if (slm_buf_failed(&sql))
		bench_die("out of memory");
	bench_execute(conn, sql.data);
	slm_buf_deinit(&sql);
	bench_execute(conn, "VACUUM ANALYZE");
}

/* One statement about all tables, or one for each. */
static char *about_all(const char *before, const char *between,
		       unsigned ntables)
{
	struct slm_buf sql;
	char *text;

	slm_buf_init(&sql);
	slm_buf_puts(&sql, before);
	for (unsigned i = 1; i <= ntables; i++)
		slm_buf_printf(&sql, "%st%u", i > 1 ? between : "", i);
	text = slm_buf_take(&sql);
	slm_buf_deinit(&sql);
	if (!text)
		bench_die("out of memory");
	return text;
}

/* ---- Ours -------------------------------------------------------------- */

struct ours {
	struct sqloom_spec *spec;
	struct slm_db *db;
	struct slm_arena arena;
	PGconn *writer;
	long long sum; /* of what is to be put back */
};

#define SUM                                                                   \
	"SELECT (SELECT sum(n * id) FROM t1) * 1000 + (SELECT sum(n * id) + " \
	"count(*) FROM t2)"

static void check(enum sqloom_status status, const struct sqloom_error *err)
{
	if (status)
		bench_die("%s", err->message);
}

static void ours_open(struct ours *ours, const char *conninfo, unsigned ntables)
{
	struct slm_postgres_options options = { .conninfo = conninfo };
	struct sqloom_error err;

	ours->writer = bench_connect(conninfo);
	make_tables(ours->writer, ntables);
	ours->sum = bench_number(ours->writer, SUM);
	check(sqloom_spec_parse(spec_text, strlen(spec_text), "bench",
				&ours->spec, &err),
	      &err);
	check(slm_postgres_open(ours->spec, &options, &ours->db, &err), &err);
	slm_arena_init(&ours->arena);
}

/* The seconds of one restore. */
static double ours_restore(struct ours *ours)
{
	struct postgres *db = (struct postgres *)ours->db;
	struct sqloom_error err;
	double began;

	slm_arena_clear(&ours->arena);
	check(slm_db_run_begin(ours->db, 1, 0, &ours->arena, &err), &err);
	for (unsigned i = 0; i < 2; i++)
		check(slm_pgsnap_mark(db, &db->sessions[0].steps[i], &err),
		      &err);
	bench_execute(ours->writer, CHANGE);
	began = bench_now();
	check(slm_pgrestore(db, false, &err), &err);
	return bench_now() - began;
}

static double ours_round(struct ours *ours)
{
	double seconds = 0;

	for (unsigned i = 0; i < OURS; i++)
		seconds += ours_restore(ours);
	if (bench_number(ours->writer, SUM) != ours->sum)
		bench_die("a restore did not put everything back");
	return seconds / OURS;
}

static void ours_close(struct ours *ours)
{
	struct sqloom_error err;

	check(slm_db_finish(ours->db, &err), &err);
	slm_db_free(ours->db);
	slm_arena_deinit(&ours->arena);
	sqloom_spec_free(ours->spec);
	PQfinish(ours->writer);
}

/* ---- Peers ------------------------------------------------------------- */

static double timed(PGconn *conn, const char *sql)
{
	double began = bench_now();

	bench_execute(conn, sql);
	return bench_now() - began;
}

static double empty_all(const char *conninfo, const char *sql)
{
	PGconn *conn = bench_connect(conninfo);
	double seconds;

	bench_execute(conn, "SET session_replication_role = replica; "
			    "DELETE FROM t1; DELETE FROM t2");
	bench_execute(conn, FILL);
	/* Both ways know the tables by now. */
	bench_execute(conn, "SELECT count(*) FROM t1, t2");
	seconds = timed(conn, sql);
	PQfinish(conn);
	return seconds;
}

/* A new copy of the peer's database and the end of the old one. */
static double clone_template(const struct slm_pg_server *server)
{
	PGconn *conn = bench_connect(slm_pg_server_conninfo(server));
	double seconds = timed(conn, "CREATE DATABASE copy_test TEMPLATE "
				     "peer_test");

	seconds += timed(conn, "DROP DATABASE copy_test");
	PQfinish(conn);
	return seconds;
}

/* ---- The table --------------------------------------------------------- */

struct times {
	double ours[BENCH_ROUNDS_MAX], truncate[BENCH_ROUNDS_MAX];
	double delete[BENCH_ROUNDS_MAX], clone[BENCH_ROUNDS_MAX];
};

static void show(const char *what, unsigned ntables, const double *ours,
		 const double *peer, unsigned rounds, double target)
{
	double ratios[BENCH_ROUNDS_MAX], copy[BENCH_ROUNDS_MAX];
	char name[80], left[32], right[32];

	for (unsigned i = 0; i < rounds; i++)
		ratios[i] = peer[i] / ours[i];
	memcpy(copy, ours, rounds * sizeof(*copy));
	snprintf(left, sizeof(left), "%.2f", 1e3 * bench_median(copy, rounds));
	memcpy(copy, peer, rounds * sizeof(*copy));
	snprintf(right, sizeof(right), "%.2f",
		 1e3 * bench_median(copy, rounds));
	snprintf(name, sizeof(name), "%u tables : %s", ntables, what);
	bench_row(name, left, right, bench_median(ratios, rounds), target);
}

void bench_restore(const struct slm_pg_server *server, unsigned ntables,
		   unsigned rounds)
{
	const char *conninfo = bench_server_database(server, "ours_test");
	const char *peer = bench_server_database(server, "peer_test");
	char *truncate = about_all("TRUNCATE ", ", ", ntables);
	char *delete = about_all("DELETE FROM ", "; DELETE FROM ", ntables);
	struct ours ours = { 0 };
	struct times times;
	PGconn *conn = bench_connect(peer);

	make_tables(conn, ntables);
	PQfinish(conn);
	ours_open(&ours, conninfo, ntables);
	for (unsigned round = 0; round < rounds + 1; round++) {
		unsigned at = round ? round - 1 : 0; /* round 0 warms up */

		times.ours[at] = ours_round(&ours);
		times.truncate[at] = empty_all(peer, truncate);
		times.delete[at] = empty_all(peer, delete);
		times.clone[at] = clone_template(server);
	}
	ours_close(&ours);
	show("TRUNCATE of all", ntables, times.ours, times.truncate, rounds,
	     ntables >= 400 ? 300 : 0);
	show("DELETE of all", ntables, times.ours, times.delete, rounds, 0);
	show("clone of a template", ntables, times.ours, times.clone, rounds,
	     0);
	slm_free(truncate);
	slm_free(delete);
}
