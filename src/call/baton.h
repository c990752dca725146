/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One party at a time: the driver of a run, or one of the threads that it lets
 * go. The driver is a coroutine. A thread that parks takes it over: the driver
 * goes on right there, on its own stack, decides who is next, and only then
 * that thread is woken; so a hand-over between threads costs one futex wake,
 * and none at all if the thread that parked may go on itself.
 *
 * Threads that were let go and have not parked yet (several only if one of them
 * is stalled) run beside; what they touch must be their own.
 *
 * The driver's code may run on any of these threads: it must not rely on
 * anything that belongs to a thread (slm_baton_on_main() is for that).
 */
#ifndef SLM_CALL_BATON_H
#define SLM_CALL_BATON_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <sqloom/sqloom.h>

struct slm_baton;

/* A thread that can be let go. Zeroed by its owner, who keeps it as long as
 * the thread may park. */
struct slm_agent {
	_Atomic uint32_t go;	/* futex: it may run */
	_Atomic bool parked;	/* read by the driver */
	struct slm_agent *wake; /* next of those to be woken */
};

enum sqloom_status slm_baton_new(struct slm_baton **out,
				 struct sqloom_error *err);
void slm_baton_free(struct slm_baton *baton);
/* Some thread may still use it for ever: it is not freed. */
void slm_baton_abandon(struct slm_baton *baton);

/*
 * Runs fn as the driver, and returns when it has ended. The calling thread is
 * the main one: it looks after the others every few milliseconds. Everything
 * is pinned to the CPU that it runs on, until it returns.
 */
void slm_baton_drive(struct slm_baton *baton, void (*fn)(void *userdata),
		     void *userdata);

/* ---- For the driver ---- */

/* Runs fn on the main thread. */
void slm_baton_on_main(struct slm_baton *baton, void (*fn)(void *userdata),
		       void *userdata);
/* The agent, which is parked, goes on when the driver waits next. */
void slm_baton_let_go(struct slm_baton *baton, struct slm_agent *agent);
/* Until an agent has parked that was not seen before, or (false) nothing of
 * the kind has happened for a tick. */
#define SLM_BATON_TICK_MS 5
bool slm_baton_wait(struct slm_baton *baton);

/* Is it the driver that runs on the calling thread now? */
bool slm_baton_drives(void);

/* ---- For the threads ---- */

/* Gives itself back; returns when it was let go. */
void slm_baton_park(struct slm_baton *baton, struct slm_agent *agent);

#endif
