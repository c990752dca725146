/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the bench on PostgreSQL share: postgres.c (server, order
 * of things, table), postgres_workload.c (the sessions and their statements),
 * postgres_ours.c (explorations), postgres_peers.c (the serial loop and
 * isolationtester), postgres_restore.c, postgres_growth.c, forwarder.c.
 */
#ifndef SLM_BENCH_POSTGRES_H
#define SLM_BENCH_POSTGRES_H

#include <libpq-fe.h>
#include <sqloom/sqloom.h>

#include "base/buf.h"
#include "pg/server.h"

/* ---- postgres.c -------------------------------------------------------- */

/* Starts a server; durable: one that syncs, with its data on a disk. NULL,
 * and says why, if PostgreSQL is not installed. */
struct slm_pg_server *bench_server_start(bool durable);
/* Makes an empty database and returns how to connect to it; the text stays for
 * 7 more calls. */
const char *bench_server_database(const struct slm_pg_server *server,
				  const char *name);
PGconn *bench_connect(const char *conninfo);
/* Executes statements, of which none may fail. */
void bench_execute(PGconn *conn, const char *sql);
/* The first value of the last result, as a number. */
long long bench_number(PGconn *conn, const char *sql);
/* A line of the table. ratio: the higher, the better for sqloom; target 0:
 * none. */
void bench_row(const char *what, const char *ours, const char *peer,
	       double ratio, double target);

/* ---- postgres_workload.c ----------------------------------------------- */

#define BENCH_STEPS_MAX 6

/* Sessions that all execute the same statements. */
struct bench_workload {
	const char *name;
	unsigned nsessions;
	bool longer;	   /* 6 statements: another SELECT, an INSERT; else 4 */
	bool same;	   /* on the same row; else on a row of its own each */
	unsigned feasible; /* schedules; 0: too many, a sample is run */
	double loop_target, tester_target;
};

unsigned bench_workload_nsteps(const struct bench_workload *workload);
const char *bench_workload_statement(const struct bench_workload *workload,
				     unsigned session, unsigned step,
				     char *text, size_t size);
/* Makes the tables and their rows. */
extern const char bench_workload_tables[];
/* The sessions in the spec language. */
void bench_workload_sessions(const struct bench_workload *workload,
			     struct slm_buf *out);
struct sqloom_spec *bench_workload_spec(const struct bench_workload *workload);

/* ---- postgres_ours.c --------------------------------------------------- */

#define BENCH_ORDERS_MAX 1000
#define BENCH_ORDER_MAX 32 /* steps of all sessions */

/* Schedules that were run: sessions of the steps, in order. */
struct bench_orders {
	unsigned char sessions[BENCH_ORDERS_MAX][BENCH_ORDER_MAX];
	unsigned count;
};

/* What explores stands on: runs, one after another, and nothing else. */
struct bench_runs;

struct bench_runs *bench_runs_open(const struct bench_workload *workload,
				   const char *conninfo);
/* Runs all schedules, again and again until there were `least`; in a sample,
 * just so many. Returns how many; each once into orders (NULL: not wanted). */
unsigned bench_runs_run(struct bench_runs *runs, unsigned least,
			struct bench_orders *orders);
/* From now on, the steps are sent as texts, as if they could not be prepared. */
void bench_runs_send_texts(struct bench_runs *runs);
void bench_runs_close(struct bench_runs *runs);
/* Statements that are prepared on all the connections together. */
long long bench_runs_prepared(struct bench_runs *runs);

/* sqloom_explore(): returns schedules, serial and other runs included. */
unsigned bench_explore(const struct bench_workload *workload,
		       const char *conninfo, unsigned jobs, unsigned sample);

/* ---- forwarder.c ------------------------------------------------------- */

/* A process between clients and the server that passes bytes on. */
struct bench_forwarder;

struct bench_forwarder *bench_forwarder_start(const char *conninfo);
/* How to connect through it; its own. */
const char *bench_forwarder_conninfo(const struct bench_forwarder *forwarder);
void bench_forwarder_stop(struct bench_forwarder *forwarder);

/* ---- postgres_peers.c -------------------------------------------------- */

/* A loop that executes the sessions one after another, and puts the tables
 * back. */
struct bench_loop;

struct bench_loop *bench_loop_open(const struct bench_workload *workload,
				   const char *conninfo);
/* reading: the contents of the tables are read after every turn, as sqloom
 * does. */
void bench_loop_run(struct bench_loop *loop, unsigned turns, bool reading);
void bench_loop_close(struct bench_loop *loop);

/* Where isolationtester is; NULL: not installed. */
const char *bench_tester_path(void);
/* Runs so many of the orders, evenly chosen; returns the seconds. The tables
 * must be there (a loop was opened). plain: without the trick that spares the
 * set-up the checks of foreign keys. */
double bench_tester_run(const struct bench_workload *workload,
			const char *conninfo, const struct bench_orders *orders,
			unsigned sample, bool plain);

/* ---- postgres_restore.c ------------------------------------------------ */

void bench_restore(const struct slm_pg_server *server, unsigned ntables,
		   unsigned rounds);

#endif
