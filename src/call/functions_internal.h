/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of functions.h share: functions.c (life of a run, behind db.h),
 * functions_thread.c (the threads of the calls, and where they park),
 * functions_wait.c (what the driver waits for). Nobody else includes this.
 */
#ifndef SLM_CALL_FUNCTIONS_INTERNAL_H
#define SLM_CALL_FUNCTIONS_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>
#include <sys/types.h>

#include "base/arena.h"
#include "call/function.h"
#include "call/functions.h"
#include "db/sqlite_outside.h"
#include "probe/sqlite_hook.h"

#define NOTES_MAX 16
#define FUNCTION_PATIENCE_MS 2000 /* with those that shall end */
#define CURSORS_MAX 8  /* statements of a thread that are open at once */
#define HANDLES_MAX 32 /* connections of a call */

/* Where a parked thread stands. */
enum place {
	AT_IDLE,    /* no run, or not started in it */
	AT_STEP,    /* before a statement, or a point */
	AT_BLOCKED, /* a lock was refused */
	AT_END,	    /* its function has returned */
};

/* A statement that gives its rows. */
struct cursor {
	sqlite3_stmt *stmt; /* NULL: free */
	const struct slm_sqlite_outside_statement *statement;
	struct slm_result *result; /* in the run's arena */
	uint32_t capacity;	   /* rows in result */
};

/* A thread of a call: its own, or one that it has started. */
struct agent {
	struct slm_agent baton; /* first */
	struct functions *owner;
	struct agent *next; /* of all */
	_Atomic unsigned call;
	bool own;      /* the function runs on it */
	uint64_t born; /* not own: in which run it was first seen */
	pid_t tid;
	enum place at;
	sqlite3_stmt *stmt; /* AT_STEP; NULL: a point */
	const char *point;
	_Atomic bool doing; /* it was let go, and its step is not done yet */
	bool granted;	    /* it does a statement: its waits are seen */
	struct cursor cursors[CURSORS_MAX];
	unsigned owner_number; /* AT_BLOCKED: its connection in the store */
	uint64_t blocked_since, wake_at_ms, wait_began_ms;
	/* Looked at by the driver while it does not park */
	uint64_t quiet_ms, switches;
};

/* A connection that a call has used. */
struct handle {
	sqlite3 *db;
	int owner;
	uint64_t serial; /* of the opening; see slm_front_serial() */
};

/* A different text that a call has sent. */
struct function_step {
	uint64_t hash;
	struct slm_db_step_info info; /* owned by the functions' arena */
};

/* A statement as its call is told to have sent it. */
struct told {
	const struct slm_sqlite_outside_statement *known; /* NULL: free */
	uint32_t step;
	bool bound;	    /* it has parameters, whose values are not here */
	const char *params; /* in the functions' arena; NULL: none */
};
#define TOLD_MAX 64 /* per call; a power of two */

struct function {
	struct sqloom_call call;
	struct agent agent; /* its own thread */
	pthread_t thread;
	bool made;	   /* the thread is there */
	_Atomic bool gone; /* it is about to end */
	bool lost;	   /* its function did not come back, and never may */
	struct handle handles[HANDLES_MAX];
	unsigned nhandles;
	struct function_step *steps; /* SLM_FUNCTION_STEPS_MAX */
	unsigned nsteps;
	struct told told[TOLD_MAX]; /* the last of their places */

	/* In a run */
	_Atomic bool started, over, stalled;
	int returned;
	bool left_open;		   /* it returned in a transaction */
	struct agent *at;	   /* that stands at a step, or does it */
	struct agent *blocked;	   /* NULL: none is */
	struct slm_result *result; /* of the step under way */
	uint32_t number;	   /* of that step */
	bool refused;		   /* its last step was, for a lock: */
	uint32_t refused_step;
	uint64_t refused_moves; /* functions->moves then */
	uint64_t began_ns;
};

struct functions {
	struct slm_db base;
	struct slm_db *db; /* slm_sqlite_outside */
	const struct sqloom_spec *spec;
	struct slm_functions_options options;
	struct slm_arena arena; /* lives as long as this */
	struct function calls[SLM_CALLS_MAX];
	unsigned ncalls;
	pthread_mutex_t mutex; /* of agents */
	struct agent *agents;  /* those of threads that calls started; owned */
	struct sqloom_call check;
	struct slm_buf values; /* scratch of the driver */
	char path[300];
	uint64_t generation; /* tells this db from others, for threads */
	unsigned call_of[SLM_STORE_OWNERS_MAX]; /* who used it last */
	const char *notes[NOTES_MAX];
	unsigned nnotes;

	/* In a run */
	struct slm_arena *run;
	_Atomic uint64_t runs;	/* begun so far */
	_Atomic int running;	/* the call that new activity belongs to; -1 */
	_Atomic bool control;	/* calls are held; else all goes on */
	_Atomic bool ending;	/* threads shall end */
	_Atomic bool elsewhere; /* another database was used */
	_Atomic bool nomem;	/* memory was out on a thread */
	uint64_t marks;		/* counts blockings */
	uint64_t moves;		/* counts steps that were done, or tried */
	struct slm_check_failure *failures;
	uint32_t nfailures;
};

/* ---- functions_thread.c -------------------------------------------------- */

/* Starts the threads of the calls; they park as idle. */
enum sqloom_status slm_functions_start_threads(struct functions *functions,
					       struct sqloom_error *err);
/* Lets all threads end, and waits for them. False: some never came back; they
 * and what they use are left alone. */
bool slm_functions_end_threads(struct functions *functions);
/* No rows of an earlier run are waited for. */
void slm_functions_forget_cursors(struct functions *functions);
/* The sleep hook of the front. */
void slm_functions_sleep(unsigned owner, unsigned ms, void *userdata);
/* This one or none is the exploration that statements and points belong to. */
void slm_functions_publish(struct functions *functions);

/* ---- functions_wait.c ----------------------------------------------------- */

void slm_functions_note(struct functions *functions, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* SQLOOM_LIMIT: one of them is lost. */
enum sqloom_status slm_functions_are_all_here(struct functions *functions,
					      struct sqloom_error *err);
/* Until the call stands at a step, is over, or is stalled. */
enum sqloom_status slm_functions_settle(struct functions *functions,
					unsigned call,
					struct slm_db_arrival *arrival,
					struct sqloom_error *err);
/* Until the step under way of the call is done, or waits. */
enum sqloom_status slm_functions_finish(struct functions *functions,
					unsigned call,
					struct slm_db_answer *answer,
					struct sqloom_error *err);
/* The thread waits for a lock: its call is blocked, and by whom. */
void slm_functions_block(struct functions *functions, struct agent *agent,
			 struct slm_db_answer *answer);
/* As slm_db_awake(). */
enum sqloom_status slm_functions_awake(struct functions *functions,
				       uint32_t stalled, bool patiently,
				       int *call, struct sqloom_error *err);
/* Lets those go on that stand or wait somewhere in their functions. */
void slm_functions_let_go(struct functions *functions);
/* Lets everything that is still under way come to its end, without control. */
enum sqloom_status slm_functions_drain(struct functions *functions,
				       struct sqloom_error *err);
/* Until this thread, which was let go, parks (as idle or at its end). */
enum sqloom_status slm_functions_until_parked(struct functions *functions,
					      struct agent *agent,
					      struct sqloom_error *err);

#endif
