/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PostgreSQL database whose sessions are not ours: programs talk to it
 * through the proxy, and the driver of the programs (src/call/programs.c) tells
 * what they do. What is behind it is the same as for sessions of specs:
 * snapshot, restore, contents, checks, footprints, who waits for whom.
 *
 * slm_outside_open() makes a struct slm_db of which run_begin, run_end, image,
 * contents, checks, finish and free may be used; the spec has calls, and its
 * sessions have no steps. run_end is to be called when no connection of a
 * program is in a transaction any more.
 */
#ifndef SLM_DB_OUTSIDE_H
#define SLM_DB_OUTSIDE_H

#include <stdint.h>

#include "db/db.h"
#include "sql/pg_statement.h"

/* setup (may be NULL) is called once, after the spec's global setup, while
 * what is made in the database is watched as that of a setup: the programs'
 * own set-up, and the start of their servers. It may ask slm_outside_place() of
 * db, and nothing else yet. Its status ends the opening. */
enum sqloom_status slm_outside_open(
	const struct sqloom_spec *spec,
	const struct slm_postgres_options *options,
	enum sqloom_status (*setup)(struct slm_db *db, void *userdata,
				    struct sqloom_error *err),
	void *userdata, struct slm_db **out, struct sqloom_error *err);

/* What is known of a statement. Kept as long as the db; one for equal texts
 * (the least recently used go beyond SLM_OUTSIDE_STATEMENTS_MAX, at a run's
 * begin only). */
#define SLM_OUTSIDE_STATEMENTS_MAX 10000
struct slm_outside_statement {
	const char *sql;
	const struct slm_pg_step *parsed;
	bool local; /* cannot matter to anybody else, as slm_db_step_info */
	bool local_idle; /* the same, except where it takes the first snapshot
			    of a transaction: SELECT 1, DEALLOCATE */
	bool split; /* in autocommit it can have a COMMIT step of its own */
	bool keeps_locks;   /* in a transaction: gives no lock back */
	bool reads_only;    /* takes no lock that others but those of */
	bool locks_tables;  /* whole tables, as this one, wait for */
	bool session_state; /* may take locks that outlast transactions */
	bool takes;	 /* may leave its session such a lock, or a channel */
	bool gives_back; /* as slm_outside_gives_back(), for certain */
	const char *reads, *writes; /* as slm_db_step_info */
	const char *waits_for;	    /* "a lock on account" */
	uint64_t hash;		    /* of sql */
	/* Without its literals, or the name of its savepoint, which drivers
	 * that put them into the text make a new text of each time: told, of
	 * that hash; and what they are, "$1 = 5". NULL: it has none. */
	const char *lifted, *values;
	uint64_t lifted_hash;
	/* It is told so even if it is local: libraries make names of savepoints
	 * and quotes of temporary functions ($func_5f3a$) anew each time. */
	bool varies;
};
enum sqloom_status slm_outside_statement(
	struct slm_db *db, const char *sql, size_t size,
	const struct slm_outside_statement **out, struct sqloom_error *err);

/* Does the text at most put settings back and take from its session what
 * outlasts transactions: UNLISTEN, pg_advisory_unlock_all(), DISCARD ALL?
 * Pools send that. In a session that has none of it, it cannot matter to
 * anybody, outside of a transaction. */
bool slm_outside_gives_back(const struct slm_pg_step *parsed);

/* One connection of a program; zero it at its begin. pid, call and failed are
 * set by the driver, the rest is slm_outside's. */
struct slm_outside_connection {
	int pid;     /* of the server process */
	int call;    /* whose it is at present; -1: nobody's */
	bool failed; /* its transaction has ('E'): set it before before() */
	struct slm_db *db; /* that knows it; NULL: not yet */
	bool inside;	   /* in a transaction */
	bool uncertain;	   /* what its transaction wrote must be asked */
	bool locks_tables; /* its transaction may have locked tables */
	bool keys;	   /* new keys may have been generated */
	const struct slm_outside_statement *statement; /* the last one, of */
	uint64_t run;				       /* this run */
	/* Its deadlock_timeout is short: until its transaction ends; for good */
	bool deadlock_local, deadlock_session;
	bool may_asked, may_deadlock; /* may its role set it? */
};

/*
 * Before a statement (NULL: the COMMIT of what was split) is sent: keeps what
 * it will change, asks which locks the connection holds if it ends a
 * transaction that is uncertain. inside: in a transaction now. split: it will
 * get a COMMIT of its own. SQLOOM_UNSUPPORTED if the schema is changed.
 */
enum sqloom_status slm_outside_before(
	struct slm_db *db, struct slm_outside_connection *connection,
	const struct slm_outside_statement *statement, bool inside, bool split,
	struct sqloom_error *err);
/* After it is done or waits: learns which keys were given out. inside: in a
 * transaction now. */
enum sqloom_status slm_outside_after(struct slm_db *db,
				     struct slm_outside_connection *connection,
				     bool inside, struct sqloom_error *err);
/* It was closed, or rolled back by force. pid and call stay. */
void slm_outside_forget(struct slm_outside_connection *connection);

/* SQL to send before a step so that, if it closes a circle of waits, its
 * connection is the victim (closes true), or is not; NULL: nothing needs to be
 * sent or the role may not. The state is kept in connection. */
const char *slm_outside_deadlock(struct slm_db *db,
				 struct slm_outside_connection *connection,
				 bool closes);

/* Which of `ours` stand in the way of pid now (at most SLM_PG_BLOCKERS_MAX)?
 * Costs a round trip on the monitor connection. others (may be NULL): somebody
 * else does. */
enum sqloom_status slm_outside_blockers(struct slm_db *db, int pid,
					const int *ours, unsigned nours,
					int *blockers, unsigned *nblockers,
					bool *others, struct sqloom_error *err);

/* Puts the server process on our CPU, best effort. */
void slm_outside_pin(struct slm_db *db, int pid);
/* Ends server processes (pg_terminate_backend) and waits until they are gone. */
enum sqloom_status slm_outside_terminate(struct slm_db *db, const int *pids,
					 unsigned npids,
					 struct sqloom_error *err);
/* Cancels what pid does. */
enum sqloom_status slm_outside_cancel(struct slm_db *db, int pid,
				      struct sqloom_error *err);

/* May transactions see one snapshot throughout, though nobody says so there? So
 * it is where default_transaction_isolation is set in the server's
 * configuration, or for the database or a role. */
enum sqloom_status slm_outside_repeatable(struct slm_db *db, bool *repeatable,
					  struct sqloom_error *err);

/* Where programs that shall not use the proxy find the database: the values of
 * PGHOST, PGPORT, PGDATABASE, PGUSER (borrowed) as the admin connection has
 * them; password NULL if none is known. */
struct slm_outside_place {
	const char *host, *port, *database, *user, *password;
};
void slm_outside_place(struct slm_db *db, struct slm_outside_place *out);

#endif
