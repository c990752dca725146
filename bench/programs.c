/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Controlled programs: two libpq clients on threads, held step by step in the
 * proxy, against the same statements as sessions of a spec. Runs alone, as in
 * postgres_ours.c: a strategy, the runner, the database, restores.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "bench.h"
#include "call/programs.h"
#include "call/run.h"
#include "postgres.h"

#define CLIENTS 2
#define TURNS_OF_A_ROUND 6 /* an exploration of each side */

static const struct bench_workload workloads[] = {
	{ .name = "2 x 4 statements, disjoint rows",
	  .nsessions = CLIENTS,
	  .feasible = 70 },
	{ .name = "2 x 4 statements, the same row",
	  .nsessions = CLIENTS,
	  .same = true,
	  .feasible = 50 },
};

static void check(enum sqloom_status status, const struct sqloom_error *err)
{
	if (status)
		bench_die("%s", err->message);
}

/* ---- The clients -------------------------------------------------------- */

/* A client that keeps its connection, and works when it is told. */
struct client {
	struct bench_programs *owner;
	unsigned call;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	bool go, end;
	int port;
	PGconn *conn;
};

struct bench_programs {
	const struct bench_workload *workload;
	bool prepares; /* its statements, as sessions do; else sends texts */
	struct sqloom_spec *spec;
	struct slm_db *db;
	struct slm_plan plan;
	struct slm_runner runner;
	const char *database;
	char socket_dir[40]; /* both sides use Unix sockets */
	struct client clients[CLIENTS];
};

static const char *name_of(unsigned step, char *name, size_t size)
{
	snprintf(name, size, "step_%u", step);
	return name;
}

static void prepare(struct client *client)
{
	const struct bench_workload *workload = client->owner->workload;
	char text[200], name[20];

	for (unsigned i = 0; i < bench_workload_nsteps(workload); i++) {
		PGresult *result = PQprepare(
			client->conn, name_of(i, name, sizeof(name)),
			bench_workload_statement(workload, client->call, i,
						 text, sizeof(text)),
			0, NULL);

		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			bench_die("%s", PQerrorMessage(client->conn));
		PQclear(result);
	}
}

static void execute_prepared(struct client *client, unsigned step)
{
	char name[20];
	PGresult *result = PQexecPrepared(client->conn,
					  name_of(step, name, sizeof(name)), 0,
					  NULL, NULL, NULL, 0);

	if (PQresultStatus(result) != PGRES_COMMAND_OK &&
	    PQresultStatus(result) != PGRES_TUPLES_OK)
		bench_die("%s", PQerrorMessage(client->conn));
	PQclear(result);
}

static void open_client(struct client *client)
{
	char text[200];

	snprintf(text, sizeof(text), "host=%s port=%d dbname=%s user=postgres",
		 client->owner->socket_dir, client->port,
		 client->owner->database);
	client->conn = bench_connect(text);
	if (client->owner->prepares)
		prepare(client);
}

static void work(struct client *client)
{
	const struct bench_workload *workload = client->owner->workload;
	char text[200];

	if (!client->conn)
		open_client(client);
	for (unsigned i = 0; i < bench_workload_nsteps(workload); i++) {
		if (client->owner->prepares)
			execute_prepared(client, i);
		else
			bench_execute(client->conn,
				      bench_workload_statement(
					      workload, client->call, i, text,
					      sizeof(text)));
	}
}

static void *client_main(void *arg)
{
	struct client *client = arg;

	pthread_mutex_lock(&client->mutex);
	while (!client->end) {
		if (!client->go) {
			pthread_cond_wait(&client->wake, &client->mutex);
			continue;
		}
		client->go = false;
		pthread_mutex_unlock(&client->mutex);
		work(client);
		slm_programs_ended(client->owner->db, client->call, false);
		pthread_mutex_lock(&client->mutex);
	}
	pthread_mutex_unlock(&client->mutex);
	return NULL;
}

static void tell(struct client *client, bool end)
{
	pthread_mutex_lock(&client->mutex);
	client->go = !end;
	client->end = end;
	/* Not before: the client, on the same CPU, would wait for the mutex. */
	pthread_mutex_unlock(&client->mutex);
	pthread_cond_signal(&client->wake);
}

static void start(void *userdata, unsigned call, int port)
{
	struct bench_programs *programs = userdata;

	programs->clients[call].port = port;
	tell(&programs->clients[call], false);
}

/* ---- Runs ---------------------------------------------------------------- */

static struct sqloom_spec *make_spec(void)
{
	struct sqloom_spec *spec = NULL;
	struct sqloom_error err;
	struct slm_buf text;

	slm_buf_init(&text);
	slm_buf_printf(&text,
		       "setup {%s}\ncall \"a\" { exec true }\n"
		       "call \"b\" { exec true }\n",
		       bench_workload_tables);
	if (slm_buf_failed(&text))
		bench_die("out of memory");
	check(sqloom_spec_parse(text.data, text.size, "bench", &spec, &err),
	      &err);
	slm_buf_deinit(&text);
	return spec;
}

static void open_programs(struct bench_programs *programs,
			  const struct bench_workload *workload, bool prepares,
			  const char *conninfo, const char *database)
{
	struct slm_programs_options options = {
		.pg = { .conninfo = conninfo },
		.socket_dir = programs->socket_dir,
		.stall_after_ms = 10000,
		.start = start,
		.start_userdata = programs,
	};
	struct sqloom_error err;

	memset(programs, 0, sizeof(*programs));
	programs->workload = workload;
	programs->prepares = prepares;
	programs->database = database;
	programs->spec = make_spec();
	snprintf(programs->socket_dir, sizeof(programs->socket_dir),
		 "/tmp/sqloom-bench-XXXXXX");
	if (!mkdtemp(programs->socket_dir))
		bench_die("cannot make a directory in /tmp");
	programs->plan.ncalls = CLIENTS;
	for (unsigned i = 0; i < CLIENTS; i++) {
		struct client *client = &programs->clients[i];

		client->owner = programs;
		client->call = i;
		pthread_mutex_init(&client->mutex, NULL);
		pthread_cond_init(&client->wake, NULL);
	}
	check(slm_programs_open(programs->spec, &options, &programs->db, &err),
	      &err);
	for (unsigned i = 0; i < CLIENTS; i++)
		pthread_create(&programs->clients[i].thread, NULL, client_main,
			       &programs->clients[i]);
	slm_runner_init(&programs->runner);
	programs->runner.db = programs->db;
	programs->runner.spec = programs->spec;
	programs->runner.plan = &programs->plan;
}

static void close_programs(struct bench_programs *programs)
{
	struct sqloom_error err;

	for (unsigned i = 0; i < CLIENTS; i++) {
		tell(&programs->clients[i], true);
		pthread_join(programs->clients[i].thread, NULL);
		PQfinish(programs->clients[i].conn);
	}
	check(slm_db_finish(programs->db, &err), &err);
	slm_runner_deinit(&programs->runner);
	slm_db_free(programs->db);
	sqloom_spec_free(programs->spec);
	rmdir(programs->socket_dir);
}

/* All schedules once; returns how many. */
static unsigned run_programs(struct bench_programs *programs)
{
	unsigned count = 0;
	struct slm_strategy_config config = { .ncalls = CLIENTS,
					      .max_preemptions = -1 };
	struct slm_director director = { 0 };
	enum slm_learn learnt = SLM_LEARN_MORE;
	struct sqloom_error err;

	check(slm_strategy_new(SLM_STRATEGY_EXHAUSTIVE, &config,
			       &director.strategy, &err),
	      &err);
	for (; learnt == SLM_LEARN_MORE; count++) {
		check(slm_run(&programs->runner, (1u << CLIENTS) - 1, 0,
			      &director, &err),
		      &err);
		learnt = slm_strategy_learn(director.strategy);
	}
	if (learnt == SLM_LEARN_DIVERGED)
		bench_die("a schedule took other steps than before");
	slm_strategy_free(director.strategy);
	return count;
}

/* ---- The comparison -------------------------------------------------------- */

/* What is compared. All of them are open all the time and take turns, one
 * exploration each, so that a slow second of the machine is everybody's. */
enum side {
	PREPARED, /* programs that prepare their statements */
	TEXTS,	  /* programs that send texts */
	SESSIONS, /* of a spec: they prepare theirs */
	SESSIONS_TEXTS,
	FORWARDED, /* sessions, behind a bare forwarder */
	FORWARDED_TEXTS,
	SIDES
};

static const char *const databases[SIDES] = {
	"bench_prepared_test",	"bench_texts_test",
	"bench_sessions_test",	"bench_sessions_texts_test",
	"bench_forwarded_test", "bench_forwarded_texts_test",
};

struct comparison {
	struct bench_forwarder *forwarder;
	struct bench_programs programs[2]; /* PREPARED, TEXTS */
	struct bench_runs *runs[SIDES];	   /* the others */
};

static void open_sides(struct comparison *comparison,
		       const struct bench_workload *workload,
		       const struct slm_pg_server *server)
{
	comparison->forwarder =
		bench_forwarder_start(slm_pg_server_conninfo(server));
	for (enum side side = 0; side < SIDES; side++) {
		const char *name = databases[side],
			   *conninfo = bench_server_database(server, name);
		char forwarded[1500];

		if (side <= TEXTS) {
			open_programs(&comparison->programs[side], workload,
				      side == PREPARED, conninfo, name);
			continue;
		}
		snprintf(forwarded, sizeof(forwarded), "%s dbname=%s",
			 bench_forwarder_conninfo(comparison->forwarder), name);
		comparison->runs[side] = bench_runs_open(
			workload, side >= FORWARDED ? forwarded : conninfo);
		if (side == SESSIONS_TEXTS || side == FORWARDED_TEXTS)
			bench_runs_send_texts(comparison->runs[side]);
	}
}

static void close_sides(struct comparison *comparison)
{
	for (enum side side = 0; side < SIDES; side++)
		if (side <= TEXTS)
			close_programs(&comparison->programs[side]);
		else
			bench_runs_close(comparison->runs[side]);
	bench_forwarder_stop(comparison->forwarder);
}

/* One exploration; returns the runs, and adds the seconds. */
static unsigned run_side(struct comparison *comparison, enum side side,
			 double *seconds)
{
	double began = bench_now();
	unsigned n = side <= TEXTS ?
			     run_programs(&comparison->programs[side]) :
			     bench_runs_run(comparison->runs[side], 1, NULL);

	*seconds += bench_now() - began;
	return n;
}

static void run_round(struct comparison *comparison, double *rates)
{
	double seconds[SIDES] = { 0 };
	unsigned runs[SIDES] = { 0 };

	for (unsigned turn = 0; turn < TURNS_OF_A_ROUND; turn++)
		for (enum side side = 0; side < SIDES; side++)
			runs[side] +=
				run_side(comparison, side, &seconds[side]);
	for (enum side side = 0; side < SIDES; side++)
		rates[side] = runs[side] / seconds[side];
}

static void show(const char *what, double rates[][SIDES], enum side side,
		 enum side beside, double target, unsigned rounds)
{
	double ratios[BENCH_ROUNDS_MAX], ours[BENCH_ROUNDS_MAX],
		theirs[BENCH_ROUNDS_MAX];
	char left[32], right[32];

	for (unsigned i = 0; i < rounds; i++) {
		ours[i] = rates[i][side];
		theirs[i] = rates[i][beside];
		ratios[i] = ours[i] / theirs[i];
	}
	snprintf(left, sizeof(left), "%.0f", bench_median(ours, rounds));
	snprintf(right, sizeof(right), "%.0f", bench_median(theirs, rounds));
	bench_row(what, left, right, bench_median(ratios, rounds), target);
}

static void compare(const struct bench_workload *workload,
		    const struct slm_pg_server *server, unsigned rounds)
{
	double rates[BENCH_ROUNDS_MAX][SIDES];
	struct comparison comparison;

	open_sides(&comparison, workload, server);
	for (unsigned i = 0; i < rounds + 1; i++) /* round 0 warms up */
		run_round(&comparison, rates[i ? i - 1 : 0]);
	close_sides(&comparison);
	printf("\n%-46s %10s %8s %7s  schedules/s\n", workload->name,
	       "programs", "sessions", "ratio");
	show("two libpq clients that prepare statements", rates, PREPARED,
	     SESSIONS, 0.8, rounds);
	show("two libpq clients that send texts", rates, TEXTS, SESSIONS_TEXTS,
	     0.8, rounds);
	show("(sessions behind a bare forwarder, prepared)", rates, FORWARDED,
	     SESSIONS, 0, rounds);
	show("(sessions behind a bare forwarder, texts)", rates,
	     FORWARDED_TEXTS, SESSIONS_TEXTS, 0, rounds);
	show("(texts, beside sessions that prepare)", rates, TEXTS, SESSIONS, 0,
	     rounds);
}

void bench_programs(unsigned rounds)
{
	struct slm_pg_server *server;
	cpu_set_t all;

	bench_pin(&all, "programs, forwarder, all processes of the server");
	server = bench_server_start(false);
	for (size_t i = 0;
	     server && i < sizeof(workloads) / sizeof(workloads[0]); i++)
		compare(&workloads[i], server, rounds);
	slm_pg_server_stop(server);
	bench_unpin(&all);
}
