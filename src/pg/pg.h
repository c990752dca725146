/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to a PostgreSQL server over libpq, and the one question that
 * all of sqloom's PostgreSQL side stands on: is this statement done, or does
 * it wait for a lock that somebody holds? The server itself is asked, on a
 * second connection, at once; no clock decides anything.
 *
 * May use base. Callers may use libpq on slm_pg.conn for what is not here.
 * A connection belongs to one thread.
 */
#ifndef SLM_PG_PG_H
#define SLM_PG_PG_H

#include <libpq-fe.h>
#include <sched.h>
#include <sqloom/sqloom.h>

#include "base/arena.h"

#define SLM_PG_BLOCKERS_MAX 64

/* A notice or a notification that came in, in the order of arrival. */
struct slm_pg_notice {
	struct slm_pg_notice *next;
	const char *severity; /* "NOTICE"; NULL: a notification */
	const char *sqlstate; /* NULL: a notification */
	const char *message;  /* primary message; notification: payload */
	const char *channel;  /* notification: its channel; NULL else */
	int pid;	      /* notification: of the sender */
};

struct slm_pg {
	PGconn *conn;
	int pid;		 /* of the server process */
	const char *name;	 /* for messages: "session alice", borrowed */
	struct slm_arena *notes; /* notices are kept there; NULL: dropped */
	struct slm_pg_notice *notices, **last_notice;
	bool lost;     /* the connection broke */
	bool monitors; /* the statements of a monitor are prepared */
};

/*
 * Opens a connection. conninfo: whatever libpq understands (URI or keywords;
 * PG* variables and the service file fill in the rest; "" is fine). dbname
 * (may be NULL) replaces the database. name is what messages call it.
 * SQLOOM_DATABASE with what the server said, and what to do.
 */
enum sqloom_status slm_pg_open(struct slm_pg *pg, const char *conninfo,
			       const char *dbname, const char *name,
			       struct sqloom_error *err);
/* Fine on a zeroed one, and twice. */
void slm_pg_close(struct slm_pg *pg);

/*
 * For connections that do sqloom's own work: no time limits, whatever the role
 * and the database set for their users, and literals as they are written here.
 */
enum sqloom_status slm_pg_lift_limits(struct slm_pg *pg,
				      struct sqloom_error *err);

/* Does this --db name a PostgreSQL server? postgresql://..., postgres://...,
 * or keywords such as "host=... dbname=...". */
bool slm_pg_is_conninfo(const char *text);

/*
 * Executes sql (may be several statements), waits for the end, returns the
 * last result, to be freed with PQclear(). An error of any statement is a
 * failure: SQLOOM_DATABASE, "cannot <doing>: what the server said"; the
 * SQLSTATE is in err. result may be NULL.
 */
enum sqloom_status slm_pg_exec(struct slm_pg *pg, const char *doing,
			       const char *sql, PGresult **result,
			       struct sqloom_error *err);
/* The same for one statement with text parameters. */
enum sqloom_status slm_pg_exec_params(struct slm_pg *pg, const char *doing,
				      const char *sql, int nparams,
				      const char *const *values,
				      PGresult **result,
				      struct sqloom_error *err);

/* Says that the connection is gone: SQLOOM_DATABASE, with what libpq knows
 * and what to do; sets lost. */
enum sqloom_status slm_pg_broken(struct slm_pg *pg, struct sqloom_error *err);

/* Adds to an error about the result what the server has told besides its
 * message: the hint, and the SQLSTATE. err may be NULL. */
void slm_pg_add_details(const PGresult *result, struct sqloom_error *err);

/* Reads what has arrived, without waiting. False: the connection is gone. */
bool slm_pg_consume(struct slm_pg *pg);

/* ---- Waiting ----------------------------------------------------------- */

enum slm_pg_settled {
	SLM_PG_DONE,	/* results can be taken without waiting */
	SLM_PG_BLOCKED, /* waits for a lock */
	SLM_PG_STOPPED, /* goes_on said no: the statement still runs */
};

/* How a statement is waited for. */
struct slm_pg_wait {
	struct slm_pg *monitor; /* NULL: the statement is not asked about */
	/* Server processes whose locks count: ours. A wait for anybody else
	 * is waited out like a slow statement. NULL: all count. */
	const int *ours;
	unsigned nours;
	/* The statement hardly ever waits: ask only when it has taken so
	 * long. 0: ask at once. */
	int patience_us;
	/* Asked now and then (never on the fast path); NULL: go on. ms: how
	 * long this statement has been waited for. */
	bool (*goes_on)(void *userdata, uint64_t ms);
	void *userdata;
};

/*
 * Waits until the statement that was sent on pg is done or blocked. blockers
 * (SLM_PG_BLOCKERS_MAX) receives the processes of `ours` that stand in its
 * way. SQLOOM_DATABASE when a connection breaks (pg->lost or monitor->lost
 * says which).
 */
enum sqloom_status slm_pg_settle(struct slm_pg *pg,
				 const struct slm_pg_wait *wait,
				 enum slm_pg_settled *settled, int *blockers,
				 unsigned *nblockers, struct sqloom_error *err);

/* Lets the server process run, where we share its CPU, and reads what has
 * arrived then. */
enum sqloom_status slm_pg_yield(struct slm_pg *pg, struct sqloom_error *err);

/* Which processes of ours stand in the way of pid now? *nblockers 0: none. */
enum sqloom_status slm_pg_blockers(const struct slm_pg_wait *wait, int pid,
				   int *blockers, unsigned *nblockers,
				   struct sqloom_error *err);

/* Asks the server to cancel the statement that runs on pg, and waits for its
 * results, which are dropped. */
enum sqloom_status slm_pg_cancel(struct slm_pg *pg, struct sqloom_error *err);

/* ---- One CPU ----------------------------------------------------------- */

/* Where and how this thread runs when it is not pinned; zero it first. */
struct slm_pg_pinned {
	bool active, batch;
	cpu_set_t before;
};

/*
 * Puts the server process of a connection, if it is on this machine and we
 * may, and this thread on one CPU: only one of them works at a time, and a
 * hand-over on one CPU costs a fraction of one between two. Both become batch
 * processes, and so does what this thread starts: who is woken up does not
 * interrupt who woke it, so that who was let go first goes first, and nobody
 * is switched to twice for one message. Best effort, silent. cpu: index among
 * the CPUs this thread may use, taken modulo their number.
 */
void slm_pg_pin(const struct slm_pg *pg, unsigned cpu,
		struct slm_pg_pinned *pinned);
/* The same for one more server process, by its id: of a connection to the same
 * server as pg. */
void slm_pg_pin_process(const struct slm_pg *pg, int pid, unsigned cpu,
			struct slm_pg_pinned *pinned);
/* This thread runs as before. */
void slm_pg_unpin(struct slm_pg_pinned *pinned);

#endif
