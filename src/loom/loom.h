/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loom: the scheduler as a passive state machine. No I/O, no threads, no
 * clock, no allocation. Events go in (arrive, done, blocked, unblocked,
 * finished, stalled), orders come out of slm_loom_next(). It knows calls by
 * their index and nothing of databases.
 *
 * Invariants: at most one call is RUNNING; the next choice is made only when
 * every call is settled (AT_STEP, BLOCKED, STALLED or FINISHED); events that
 * the table of allowed moves does not have are refused and change nothing.
 *
 * The driver's loop is: ask slm_loom_next(), carry the order out, deliver the
 * event that comes of it, ask again. When a grant released locks, the driver
 * delivers slm_loom_unblocked() for the call that was let go, and the event it
 * settles with, before it asks again; several such calls one after another.
 */
#ifndef SLM_LOOM_LOOM_H
#define SLM_LOOM_LOOM_H

#include <sqloom/sqloom.h>

#define SLM_LOOM_CALLS_MAX 16

enum slm_call_state {
	SLM_CALL_WAITING,  /* has not been started */
	SLM_CALL_RUNNING,  /* between two steps, or doing one */
	SLM_CALL_AT_STEP,  /* stopped before a step that is a choice point */
	SLM_CALL_BLOCKED,  /* its statement waits in the database */
	SLM_CALL_STALLED,  /* neither settles nor is blocked in the database */
	SLM_CALL_FINISHED, /* over */
};
#define SLM_CALL_STATES (SLM_CALL_FINISHED + 1)

enum slm_loom_order_kind {
	SLM_ORDER_START,  /* start this call; then arrive/finished/... */
	SLM_ORDER_GO,	  /* a step that cannot matter: let it go on at once */
	SLM_ORDER_CHOOSE, /* pick one of `enabled` and say slm_loom_grant();
			     also when only one is enabled */
	SLM_ORDER_WAIT,	  /* a call is running: deliver its next event */
	SLM_ORDER_STUCK,  /* nobody can go on: all that are left are blocked or
			     stalled (a deadlock, or a timeout must pass) */
	SLM_ORDER_DONE,	  /* all calls are finished */
};

struct slm_loom_order {
	enum slm_loom_order_kind kind;
	unsigned call;	  /* START, GO, WAIT: which */
	uint32_t enabled; /* CHOOSE: mask of the calls at a step */
	int previous;	  /* CHOOSE: the call granted last, or -1 */
};

struct slm_loom {
	unsigned ncalls;
	enum slm_call_state state[SLM_LOOM_CALLS_MAX];
	uint32_t waiting;   /* mask: WAITING */
	uint32_t enabled;   /* mask: AT_STEP, at a choice point */
	uint32_t local;	    /* mask: AT_STEP, cannot matter to others */
	uint32_t blocked;   /* mask: BLOCKED */
	uint32_t stalled;   /* mask: STALLED */
	uint32_t members;   /* mask: take part in this run */
	int running;	    /* the call that is RUNNING, or -1 */
	int previous;	    /* the call granted last, or -1 */
	unsigned finished;  /* number of FINISHED calls, non-members included */
	bool had_stall;	    /* a stall happened: the run proves nothing */
	const char *serial; /* set by the owner after begin: letters; each call
			       is started when those before it are over. NULL:
			       all are started at the begin */
};

/* Ready for a run of ncalls calls, of which those in members take part; the
 * others are finished from the start. 1 <= ncalls <= SLM_LOOM_CALLS_MAX; bits
 * of members beyond ncalls are ignored. */
void slm_loom_begin(struct slm_loom *loom, unsigned ncalls, uint32_t members);

/*
 * What to do next. Changes nothing but: START and GO make the call RUNNING.
 * In this order: WAIT while a call is running; GO for a call at a local step;
 * START for the lowest call that waits; CHOOSE while a call is enabled; STUCK
 * while calls are blocked or stalled; DONE.
 */
struct slm_loom_order slm_loom_next(struct slm_loom *loom);

/*
 * Events. Each returns false, and changes nothing, if the call's state does
 * not allow it (or there is no such call): a defect of the driver.
 */

/* The choice was made. Allowed where slm_loom_next() says CHOOSE and the call
 * is enabled. */
bool slm_loom_grant(struct slm_loom *loom, unsigned call);
/* The running call stopped before its next step; local: the step cannot
 * matter to others, so that it is no choice point. */
bool slm_loom_arrive(struct slm_loom *loom, unsigned call, bool local);
/* The running call waits for a lock in the database. */
bool slm_loom_blocked(struct slm_loom *loom, unsigned call);
/* A blocked or stalled call goes on; only while no call is running. */
bool slm_loom_unblocked(struct slm_loom *loom, unsigned call);
/* The running call neither settles nor is blocked in the database. */
bool slm_loom_stalled(struct slm_loom *loom, unsigned call);
/* The running call is over. */
bool slm_loom_finished(struct slm_loom *loom, unsigned call);

/* A static text; "unknown" for a value that is no state. */
const char *slm_call_state_name(enum slm_call_state state);

#endif
