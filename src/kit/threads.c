/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Concurrent calls on threads. May use call/function.h.
 *
 * A thread cannot be ended from outside, so one that is late is left alone
 * (detached), and goes on after its call was told as timed out. Therefore all
 * that a thread touches, but for the user's arg, is in a crowd: shared,
 * counted, freed by whoever lets go of it last.
 *
 * Invariants: a member's call belongs to its thread until `ended` is set, under
 * the lock; then to the one who waits. `go` is set once.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "call/function.h"
#include "kit/concurrent.h"

struct member {
	struct crowd *crowd;
	sqloom_fn fn;
	void *arg; /* the user's */
	char *name;
	struct sqloom_call call;
	pthread_t thread;
	int refused; /* errno: there is no thread */
	/* Set when it ends */
	bool ended;
	bool failed;
	int returned;
};

struct crowd {
	atomic_size_t owners; /* threads, and the one who waits */
	atomic_uint go;	      /* futex: 0, then 1 */
	pthread_mutex_t lock; /* of what follows, and of `ended` */
	pthread_cond_t changed;
	size_t ready;
	size_t running;
	char *database;
	size_t nmembers;
	struct member members[];
};

/* ---- The crowd --------------------------------------------------------- */

static void crowd_free(struct crowd *crowd)
{
	for (size_t i = 0; i < crowd->nmembers; i++) {
		slm_function_deinit(&crowd->members[i].call);
		slm_free(crowd->members[i].name);
	}
	pthread_cond_destroy(&crowd->changed);
	pthread_mutex_destroy(&crowd->lock);
	slm_free(crowd->database);
	slm_free(crowd);
}

static void crowd_unref(struct crowd *crowd)
{
	if (atomic_fetch_sub(&crowd->owners, 1) == 1)
		crowd_free(crowd);
}

static bool member_init(struct member *member, struct crowd *crowd,
			const struct sqloom_function *call, size_t index)
{
	char text[SLM_CALL_NAME_MAX];

	member->crowd = crowd;
	member->fn = call->fn;
	member->arg = call->arg;
	/* A copy: the thread may go on after the caller's is gone. */
	member->name = slm_strdup(slm_call_name(call, index, text));
	member->call.number = index;
	member->call.name = member->name;
	member->call.database = crowd->database;
	return member->name;
}

static void init_locks(struct crowd *crowd)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&crowd->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_mutex_init(&crowd->lock, NULL);
}

static struct crowd *crowd_new(const struct slm_batch *batch)
{
	size_t size =
		sizeof(struct crowd) + batch->ncalls * sizeof(struct member);
	struct crowd *crowd = slm_calloc(1, size);
	bool complete = true;

	if (!crowd)
		return NULL;
	crowd->owners = 1;
	crowd->nmembers = batch->ncalls;
	init_locks(crowd);
	if (batch->database) {
		crowd->database = slm_strdup(batch->database);
		complete = crowd->database;
	}
	for (size_t i = 0; i < batch->ncalls && complete; i++)
		complete = member_init(&crowd->members[i], crowd,
				       &batch->calls[i], i);
	if (complete)
		return crowd;
	crowd_free(crowd);
	return NULL;
}

/* ---- On the thread of a call ------------------------------------------- */

static long futex(atomic_uint *word, int operation, unsigned value)
{
	return syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value,
		       NULL, NULL, 0);
}

static void stand_ready(struct crowd *crowd)
{
	pthread_mutex_lock(&crowd->lock);
	crowd->ready++;
	pthread_cond_signal(&crowd->changed);
	pthread_mutex_unlock(&crowd->lock);
	while (atomic_load(&crowd->go) == 0)
		futex(&crowd->go, FUTEX_WAIT, 0);
}

/* The last that a thread does. */
static void leave(struct member *member)
{
	struct crowd *crowd = member->crowd;

	pthread_mutex_lock(&crowd->lock);
	member->ended = true;
	crowd->running--;
	pthread_cond_signal(&crowd->changed);
	pthread_mutex_unlock(&crowd->lock);
	crowd_unref(crowd);
}

/* The function never returned: pthread_exit(), or it was cancelled. */
static void leave_early(void *userdata)
{
	struct member *member = userdata;

	member->returned = sqloom_call_fail(&member->call,
					    "it ended its thread instead of "
					    "returning (pthread_exit(), or a "
					    "cancellation)");
	member->failed = slm_function_end(&member->call, member->returned);
	slm_function_drop(&member->call);
	leave(member);
}

static void *run_member(void *userdata)
{
	struct member *member = userdata;

	pthread_cleanup_push(leave_early, member);
	slm_function_begin(&member->call);
	stand_ready(member->crowd);
	member->returned = member->fn(&member->call, member->arg);
	member->failed = slm_function_end(&member->call, member->returned);
	slm_function_drop(&member->call);
	pthread_cleanup_pop(0);
	leave(member);
	return NULL;
}

/* ---- Start, and the end ------------------------------------------------ */

static void start(struct crowd *crowd)
{
	size_t started = 0;

	crowd->running = crowd->nmembers;
	for (size_t i = 0; i < crowd->nmembers; i++) {
		struct member *member = &crowd->members[i];

		atomic_fetch_add(&crowd->owners, 1);
		member->refused = pthread_create(&member->thread, NULL,
						 run_member, member);
		if (member->refused)
			atomic_fetch_sub(&crowd->owners, 1);
		else
			started++;
	}
	pthread_mutex_lock(&crowd->lock);
	crowd->running -= crowd->nmembers - started;
	while (crowd->ready < started)
		pthread_cond_wait(&crowd->changed, &crowd->lock);
	pthread_mutex_unlock(&crowd->lock);
}

static void release(struct crowd *crowd)
{
	atomic_store(&crowd->go, 1);
	futex(&crowd->go, FUTEX_WAKE, INT_MAX);
}

/* Until all have ended, or the time is up. The lock is held. */
static void wait_for_all(struct crowd *crowd, uint64_t timeout_ms)
{
	uint64_t end_ms;
	struct timespec end;

	if (__builtin_add_overflow(slm_clock_ms(), timeout_ms, &end_ms) ||
	    end_ms > INT64_MAX / 1000)
		timeout_ms = 0; /* as good as none */
	end.tv_sec = (time_t)(end_ms / 1000);
	end.tv_nsec = (long)(end_ms % 1000) * 1000000;
	while (crowd->running > 0)
		if (!timeout_ms)
			pthread_cond_wait(&crowd->changed, &crowd->lock);
		else if (pthread_cond_timedwait(&crowd->changed, &crowd->lock,
						&end) == ETIMEDOUT)
			return;
}

static void tell_ended(struct sqloom_results *results, struct member *member)
{
	const struct slm_ended ended = {
		.ending = member->failed ? SQLOOM_FAILED : SQLOOM_RETURNED,
		.status = member->returned,
		.error = member->failed ? member->call.error : NULL,
		/* A failure of it is a failure of the call, told above. */
		.value = slm_buf_failed(&member->call.value) ?
				 NULL :
				 &member->call.value,
	};

	slm_results_set(results, member->call.number, &ended);
}

static void tell_late(struct sqloom_results *results, size_t index,
		      uint64_t timeout_ms)
{
	char text[256];
	const struct slm_ended ended = { .ending = SQLOOM_TIMED_OUT,
					 .error = text };

	snprintf(text, sizeof(text),
		 "it had not ended after %llu ms; a thread cannot be killed: "
		 "it goes on, so its arg must stay valid; in a clean process "
		 "(sqloom_processes_start()) it would have been killed",
		 (unsigned long long)timeout_ms);
	slm_results_set(results, index, &ended);
}

static void tell_lost(struct sqloom_results *results, size_t index, int refused)
{
	char text[256];
	const struct slm_ended ended = { .ending = SQLOOM_LOST, .error = text };

	snprintf(text, sizeof(text),
		 "its thread could not be created: %s; make fewer calls at "
		 "once, or raise the limits of threads and memory",
		 strerror(refused));
	slm_results_set(results, index, &ended);
}

/* What became of each; threads that have ended are joined, so that nothing is
 * left of them. The lock is held, and is free while a thread is joined. */
static void tell_all(struct crowd *crowd, uint64_t timeout_ms,
		     struct sqloom_results *results)
{
	for (size_t i = 0; i < crowd->nmembers; i++) {
		struct member *member = &crowd->members[i];

		if (member->refused) {
			tell_lost(results, i, member->refused);
		} else if (member->ended) {
			tell_ended(results, member);
			pthread_mutex_unlock(&crowd->lock);
			pthread_join(member->thread, NULL);
			pthread_mutex_lock(&crowd->lock);
		} else {
			tell_late(results, i, timeout_ms);
			pthread_detach(member->thread);
		}
	}
}

enum sqloom_status slm_threads_run(const struct slm_batch *batch,
				   struct sqloom_results *results,
				   struct sqloom_error *err)
{
	struct crowd *crowd = crowd_new(batch);

	if (!crowd)
		return slm_error_nomem(err);
	start(crowd);
	pthread_mutex_lock(&crowd->lock);
	release(crowd);
	wait_for_all(crowd, batch->timeout_ms);
	tell_all(crowd, batch->timeout_ms, results);
	pthread_mutex_unlock(&crowd->lock);
	crowd_unref(crowd);
	return SQLOOM_OK;
}
