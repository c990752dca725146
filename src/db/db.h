/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One interface to a database that runs the sessions of a spec under control.
 * A step is granted and runs until it is done or waits for a lock; who waits
 * for whom the database itself knows. Each implementation is one constructor
 * (slm_sqlite_open) and a table of functions; the wrappers below are what
 * others call.
 *
 * Life of a run: run_begin (contents as in the snapshot, session setups run),
 * then step / resume / expire as the loom says, then run_end (open transactions
 * are rolled back); after it image, contents and checks may be asked.
 * Single-threaded. Everything returned lives in the run's arena.
 */
#ifndef SLM_DB_DB_H
#define SLM_DB_DB_H

#include <sqloom/sqloom.h>

#include "base/arena.h"
#include "spec/spec.h"
#include "trace/contents.h"
#include "trace/trace.h"

/* Steps that no session lists. Pass as step: */
#define SLM_DB_ROLLBACK (UINT32_MAX - 1) /* sqloom's own, after an error */
#define SLM_DB_TEARDOWN (UINT32_MAX - 2) /* the session's teardown block */
#define SLM_DB_COMMIT (UINT32_MAX - 3)	 /* of a statement that was split */

/* What became of a granted step. */
struct slm_db_answer {
	bool blocked;
	uint32_t blocked_by;		 /* blocked: mask of calls */
	const char *what;		 /* blocked: which lock, in words */
	const struct slm_result *result; /* done */
	uint32_t waited_ms;		 /* done: virtual time spent waiting */
};

/* What is known of a step before it runs. Owned by the db. */
struct slm_db_step_info {
	const char *reads; /* "account, orders" */
	const char *writes;
	bool local; /* cannot matter to anybody else: no choice point */
	/* Of a call that is a program: */
	const char *sql; /* its text; NULL: that of the spec */
	bool implicit;	 /* made by sqloom: the COMMIT of what was split */
};

/* Where a call of a program has come to (see slm_db_arrive). */
enum slm_db_arrival_kind {
	SLM_ARRIVAL_STEP,    /* stopped before `step` */
	SLM_ARRIVAL_END,     /* over: result, failed */
	SLM_ARRIVAL_STALLED, /* does nothing, and the database is not why */
};
struct slm_db_arrival {
	enum slm_db_arrival_kind kind;
	uint32_t step;	    /* STEP: number of equal texts of this call */
	bool local;	    /* STEP: cannot matter to anybody else */
	const char *params; /* STEP: "$1 = 5"; "" */
	const struct slm_result *result; /* END: what the call gave */
	bool failed;			 /* END */
	const char *what;		 /* STALLED: in words */
};

struct slm_db;

struct slm_db_ops {
	void (*free)(struct slm_db *db);
	struct slm_db_step_info (*info)(struct slm_db *db, unsigned call,
					unsigned step);
	enum sqloom_status (*run_begin)(struct slm_db *db, uint32_t members,
					unsigned variant,
					struct slm_arena *arena,
					struct sqloom_error *err);
	enum sqloom_status (*when)(struct slm_db *db, unsigned call,
				   unsigned step, bool *run,
				   struct sqloom_error *err);
	enum sqloom_status (*step)(struct slm_db *db, unsigned call,
				   unsigned step, struct slm_db_answer *answer,
				   struct sqloom_error *err);
	enum sqloom_status (*resume)(struct slm_db *db, int *call,
				     struct slm_db_answer *answer,
				     struct sqloom_error *err);
	enum sqloom_status (*expire)(struct slm_db *db, int *call,
				     struct slm_db_answer *answer,
				     struct sqloom_error *err);
	/* NULL: the steps are those of the spec's sessions */
	enum sqloom_status (*arrive)(struct slm_db *db, unsigned call,
				     struct slm_db_arrival *arrival,
				     struct sqloom_error *err);
	unsigned (*nsteps)(struct slm_db *db, unsigned call);
	enum sqloom_status (*awake)(struct slm_db *db, uint32_t stalled,
				    bool patiently, int *call,
				    struct sqloom_error *err);
	bool (*in_transaction)(struct slm_db *db, unsigned call);
	/* NULL: never */
	bool (*split)(struct slm_db *db, unsigned call);
	enum sqloom_status (*run_end)(struct slm_db *db,
				      struct sqloom_error *err);
	uint64_t (*image)(struct slm_db *db);
	enum sqloom_status (*contents)(struct slm_db *db,
				       struct slm_contents *out,
				       struct sqloom_error *err);
	enum sqloom_status (*checks)(struct slm_db *db,
				     const struct slm_check_failure **failures,
				     uint32_t *count, struct sqloom_error *err);
	enum sqloom_status (*finish)(struct slm_db *db,
				     struct sqloom_error *err);
};

struct slm_db {
	const struct slm_db_ops *ops;
	char backend[200]; /* what it is, for the report */
	unsigned variants; /* runs of a serial order that show what is
			      unstable: 2, more with random numbers */
	bool splits;	   /* statements in autocommit get a COMMIT step */
	bool alone;	   /* shares with the whole process what its runs
			      depend on: no other may run at the same time */
	bool interrupted;  /* a statement was stopped: goes_on said no */
	bool wants_clone;  /* what was run needs a database of its own for each
			      run: open again with `cloning` */
	const char *note; /* what happened at the start, for the report; NULL */
	const char *blind; /* what contents do not show, so that nothing can
			      be said to hold: one sentence, static; NULL */
};

/* free(NULL) is fine. Nothing is left running or on the disk. */
static inline void slm_db_free(struct slm_db *db)
{
	if (db)
		db->ops->free(db);
}

static inline struct slm_db_step_info slm_db_info(struct slm_db *db,
						  unsigned call, unsigned step)
{
	return db->ops->info(db, call, step);
}

/*
 * Restores the snapshot and runs the session setups of the members. variant 0
 * is what explorations use; another variant shows the calls other random
 * numbers (and, where the clock is not ours, another time). arena (borrowed until the next run_begin) receives all
 * results of the run.
 */
static inline enum sqloom_status slm_db_run_begin(struct slm_db *db,
						  uint32_t members,
						  unsigned variant,
						  struct slm_arena *arena,
						  struct sqloom_error *err)
{
	return db->ops->run_begin(db, members, variant, arena, err);
}

/* Evaluates the `when` of a step that has one. */
static inline enum sqloom_status slm_db_when(struct slm_db *db, unsigned call,
					     unsigned step, bool *run,
					     struct sqloom_error *err)
{
	return db->ops->when(db, call, step, run, err);
}

/* Runs a step until it is done or blocked. An error of the statement is a
 * result, not a status. */
static inline enum sqloom_status slm_db_step(struct slm_db *db, unsigned call,
					     unsigned step,
					     struct slm_db_answer *answer,
					     struct sqloom_error *err)
{
	return db->ops->step(db, call, step, answer, err);
}

/* Lets the first blocked call that nothing stands in the way of any more go
 * on until it is done or blocked again. *call is -1 when there is none. */
static inline enum sqloom_status slm_db_resume(struct slm_db *db, int *call,
					       struct slm_db_answer *answer,
					       struct sqloom_error *err)
{
	return db->ops->resume(db, call, answer, err);
}

/* Nobody can go on: lets (virtual) time pass until one blocked call's wait
 * ends. *call is -1 when no time limit would end any of the waits. */
static inline enum sqloom_status slm_db_expire(struct slm_db *db, int *call,
					       struct slm_db_answer *answer,
					       struct sqloom_error *err)
{
	return db->ops->expire(db, call, answer, err);
}

/*
 * Calls that are programs: their steps are known when they come. arrive starts
 * the call, or lets it go on behind its last step, and returns when it stands
 * at its next step, is over, or is stalled. slm_db_step() then does the step it
 * stands at; steps are numbered by call and text, in the order in which they
 * were first seen, and slm_db_info() knows them.
 */
static inline bool slm_db_arrives(const struct slm_db *db)
{
	return db->ops->arrive != NULL;
}

static inline enum sqloom_status slm_db_arrive(struct slm_db *db, unsigned call,
					       struct slm_db_arrival *arrival,
					       struct sqloom_error *err)
{
	return db->ops->arrive(db, call, arrival, err);
}

/* How many steps of this call are known by now. */
static inline unsigned slm_db_nsteps(struct slm_db *db, unsigned call)
{
	return db->ops->nsteps(db, call);
}

/* Which of the stalled calls goes on? Then ask where it has come to by
 * slm_db_arrive(). *call is -1 when all are as they were. patiently: nobody
 * else can go on, so it waits for one of them, or until a blocked call can be
 * resumed (then *call is -1, too), as long as the limit allows. */
static inline enum sqloom_status slm_db_awake(struct slm_db *db,
					      uint32_t stalled, bool patiently,
					      int *call,
					      struct sqloom_error *err)
{
	return db->ops->awake(db, stalled, patiently, call, err);
}

/* Is the call in a transaction that a statement in autocommit was split for?
 * Then SLM_DB_COMMIT is its next step. */
static inline bool slm_db_split(struct slm_db *db, unsigned call)
{
	return db->ops->split && db->ops->split(db, call);
}

static inline bool slm_db_in_transaction(struct slm_db *db, unsigned call)
{
	return db->ops->in_transaction(db, call);
}

/* ROLLBACK of what is still open. */
static inline enum sqloom_status slm_db_run_end(struct slm_db *db,
						struct sqloom_error *err)
{
	return db->ops->run_end(db, err);
}

/* After run_end: equal images mean equal contents and equal generated keys;
 * 0 means not known. */
static inline uint64_t slm_db_image(struct slm_db *db)
{
	return db->ops->image(db);
}

/* After run_end: the rows of all the tables that a step may write. */
static inline enum sqloom_status slm_db_contents(struct slm_db *db,
						 struct slm_contents *out,
						 struct sqloom_error *err)
{
	return db->ops->contents(db, out, err);
}

/* After run_end: the checks that returned rows. */
static inline enum sqloom_status slm_db_checks(
	struct slm_db *db, const struct slm_check_failure **failures,
	uint32_t *count, struct sqloom_error *err)
{
	return db->ops->checks(db, failures, count, err);
}

/* Once, after the last run: the spec's global teardown. */
static inline enum sqloom_status slm_db_finish(struct slm_db *db,
					       struct sqloom_error *err)
{
	return db->ops->finish(db, err);
}

/* ---- SQLite ----------------------------------------------------------- */

struct slm_sqlite_options {
	const char *database; /* file that seeds it; NULL: empty */
	enum sqloom_store store;
	const char *journal; /* NULL: as the database has it */
	int busy_timeout_ms;
	bool local_begin;	   /* a deferred BEGIN is no choice point */
	const char *const *ignore; /* as sqloom_options has it; must be there */
	int64_t clock_ms;	   /* what now() says, Unix epoch */
	uint64_t seed;
	/* Asked now and then while a statement runs; false: it is stopped, and
	 * what was asked for fails with SQLOOM_LIMIT. NULL: never. Called on
	 * the caller's stack; must not call the db. */
	bool (*goes_on)(void *userdata);
	void *goes_on_userdata;
};

/* spec and options' strings are borrowed for the life of the db. */
enum sqloom_status slm_sqlite_open(const struct sqloom_spec *spec,
				   const struct slm_sqlite_options *options,
				   struct slm_db **out,
				   struct sqloom_error *err);

/* ---- PostgreSQL ------------------------------------------------------- */

struct slm_postgres_options {
	const char *conninfo; /* as libpq understands it */
	/* Default isolation level per call, as in SQL ("repeatable read");
	 * NULL: what the server has. */
	const char *isolation[SLM_CALLS_MAX];
	bool local_begin;  /* a BEGIN is no choice point */
	bool any_database; /* also one that does not look like a test's */
	bool cloning;	   /* every run in a new copy of the database */
	bool keeps_only;   /* rows are kept and put back, and no more: contents
			      are not asked for, nothing is pinned to a CPU */
	const char *const *ignore; /* as in slm_sqlite_options */
	unsigned jobs;		   /* workers that there will be */
	unsigned worker; /* 0: the database itself; from 1: a copy of it,
			      opened after that of 0 */
	uint64_t statement_limit_ms; /* a statement that takes longer ends the
					run; 0: never */
	/* As in slm_sqlite_options. */
	bool (*goes_on)(void *userdata);
	void *goes_on_userdata;
};

/* spec and options' strings are borrowed for the life of the db. */
enum sqloom_status slm_postgres_open(const struct sqloom_spec *spec,
				     const struct slm_postgres_options *options,
				     struct slm_db **out,
				     struct sqloom_error *err);

#endif
