/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's coroutine is resumed by the thread at hand. Invariants: it is
 * resumed only by the thread that changed the state to RUNNING, or that keeps
 * it RUNNING; any other state is set only after the coroutine has yielded, so
 * that nobody else comes to its stack, or frees it, before it is left. `seen`
 * counts the parks that the driver has taken notice of, and it waits only while
 * there are no others.
 */
#include "call/baton.h"

#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/coroutine.h"
#include "base/error.h"

enum state {
	RUNNING,  /* on some thread */
	WAITING,  /* for an agent to park */
	FOR_MAIN, /* for the main thread, which is to do a job */
	OVER,
};

struct slm_baton {
	pthread_mutex_t mutex;
	struct slm_coroutine *driver;
	void (*fn)(void *userdata);
	void *userdata;

	/* Under the mutex */
	enum state state;
	uint64_t parks, seen;
	bool ticked;
	bool ended;		     /* fn has returned */
	struct slm_agent *wake;	     /* let go, not woken yet */
	void (*job)(void *userdata); /* for the main thread; NULL */
	void *job_userdata;

	_Atomic uint32_t main_go; /* futex */
	bool abandoned;
};

static _Thread_local bool driving;

__attribute__((noinline)) bool slm_baton_drives(void)
{
	return driving;
}

/* ---- Futexes -------------------------------------------------------------- */

static void futex_wait(_Atomic uint32_t *word, uint32_t value,
		       const struct timespec *timeout)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void wake_main(struct slm_baton *baton)
{
	atomic_store(&baton->main_go, 1);
	futex_wake(&baton->main_go);
}

/* ---- The driver ----------------------------------------------------------- */

static void driver_main(void *userdata)
{
	struct slm_baton *baton = userdata;

	baton->fn(baton->userdata);
	pthread_mutex_lock(&baton->mutex);
	baton->ended = true;
	pthread_mutex_unlock(&baton->mutex);
	for (;;)
		slm_coroutine_yield(baton->driver);
}

/* Wakes those that were let go, but for the one whose thread this is. */
static void wake_list(struct slm_agent *list, const struct slm_agent *self)
{
	while (list) {
		struct slm_agent *agent = list;

		list = agent->wake;
		atomic_store(&agent->go, 1);
		if (agent != self)
			futex_wake(&agent->go);
	}
}

/* The driver has yielded: why? Under the mutex. */
static enum state next_state(const struct slm_baton *baton)
{
	if (baton->ended)
		return OVER;
	if (baton->job)
		return FOR_MAIN;
	return baton->parks == baton->seen ? WAITING : RUNNING;
}

/* Runs the driver on this thread until it waits with nothing to see, is over,
 * or wants the main thread. self: the agent of this thread; NULL: main. */
static void run_driver(struct slm_baton *baton, struct slm_agent *self)
{
	enum state state = RUNNING;

	while (state == RUNNING) {
		struct slm_agent *wake;

		driving = true;
		slm_coroutine_resume(baton->driver);
		driving = false;
		pthread_mutex_lock(&baton->mutex);
		wake = baton->wake;
		baton->wake = NULL;
		state = baton->state = next_state(baton);
		/* Once it is over, main frees all of this. */
		if (self && (state == OVER || state == FOR_MAIN))
			wake_main(baton);
		pthread_mutex_unlock(&baton->mutex);
		wake_list(wake, self);
	}
}

void slm_baton_let_go(struct slm_baton *baton, struct slm_agent *agent)
{
	assert(agent->parked);
	agent->parked = false;
	pthread_mutex_lock(&baton->mutex);
	agent->wake = baton->wake;
	baton->wake = agent;
	pthread_mutex_unlock(&baton->mutex);
}

bool slm_baton_wait(struct slm_baton *baton)
{
	bool ticked;

	pthread_mutex_lock(&baton->mutex);
	if (baton->parks == baton->seen) {
		pthread_mutex_unlock(&baton->mutex);
		slm_coroutine_yield(baton->driver);
		pthread_mutex_lock(&baton->mutex);
	}
	ticked = baton->ticked && baton->parks == baton->seen;
	baton->ticked = false;
	baton->seen = baton->parks;
	pthread_mutex_unlock(&baton->mutex);
	return !ticked;
}

void slm_baton_on_main(struct slm_baton *baton, void (*fn)(void *userdata),
		       void *userdata)
{
	pthread_mutex_lock(&baton->mutex);
	baton->job_userdata = userdata;
	baton->job = fn;
	pthread_mutex_unlock(&baton->mutex);
	slm_coroutine_yield(baton->driver);
}

/* ---- The threads ---------------------------------------------------------- */

void slm_baton_park(struct slm_baton *baton, struct slm_agent *agent)
{
	bool drive;

	pthread_mutex_lock(&baton->mutex);
	atomic_store(&agent->go, 0);
	agent->parked = true;
	baton->parks++;
	drive = baton->state == WAITING;
	if (drive)
		baton->state = RUNNING;
	pthread_mutex_unlock(&baton->mutex);
	if (drive)
		run_driver(baton, agent);
	while (!atomic_load(&agent->go))
		futex_wait(&agent->go, 0, NULL);
}

/* ---- The main thread ------------------------------------------------------ */

/* What the driver wants of the main thread. False: nothing, go on waiting. */
static bool do_job(struct slm_baton *baton)
{
	void (*job)(void *userdata);

	pthread_mutex_lock(&baton->mutex);
	job = baton->state == FOR_MAIN ? baton->job : NULL;
	pthread_mutex_unlock(&baton->mutex);
	if (!job)
		return false;
	job(baton->job_userdata);
	pthread_mutex_lock(&baton->mutex);
	baton->job = NULL;
	baton->state = RUNNING;
	pthread_mutex_unlock(&baton->mutex);
	return true;
}

/* A tick is over. Has nobody parked meanwhile? Then the driver shall look. */
static bool tick(struct slm_baton *baton, uint64_t *parks)
{
	bool look;

	pthread_mutex_lock(&baton->mutex);
	look = baton->state == WAITING && baton->parks == *parks;
	*parks = baton->parks;
	if (look) {
		baton->state = RUNNING;
		baton->ticked = true;
	}
	pthread_mutex_unlock(&baton->mutex);
	return look;
}

static bool is_over(struct slm_baton *baton)
{
	bool over;

	pthread_mutex_lock(&baton->mutex);
	over = baton->state == OVER;
	pthread_mutex_unlock(&baton->mutex);
	return over;
}

static void attend(struct slm_baton *baton)
{
	const struct timespec pause = { .tv_nsec =
						SLM_BATON_TICK_MS * 1000000 };
	uint64_t parks = 0;

	run_driver(baton, NULL);
	while (!is_over(baton)) {
		if (do_job(baton)) {
			run_driver(baton, NULL);
			continue;
		}
		futex_wait(&baton->main_go, 0, &pause);
		if (atomic_exchange(&baton->main_go, 0))
			continue;
		if (tick(baton, &parks))
			run_driver(baton, NULL);
	}
}

void slm_baton_drive(struct slm_baton *baton, void (*fn)(void *userdata),
		     void *userdata)
{
	cpu_set_t before, one;
	int cpu = sched_getcpu();
	bool pinned = sched_getaffinity(0, sizeof(before), &before) == 0 &&
		      cpu >= 0;

	baton->fn = fn;
	baton->userdata = userdata;
	CPU_ZERO(&one);
	if (pinned)
		CPU_SET((unsigned)cpu, &one);
	pinned = pinned && sched_setaffinity(0, sizeof(one), &one) == 0;
	attend(baton);
	if (pinned)
		(void)sched_setaffinity(0, sizeof(before), &before);
}

enum sqloom_status slm_baton_new(struct slm_baton **out,
				 struct sqloom_error *err)
{
	struct slm_baton *baton = slm_calloc(1, sizeof(*baton));

	if (!baton)
		return slm_error_nomem(err);
	baton->driver = slm_coroutine_new(driver_main, baton);
	if (!baton->driver || pthread_mutex_init(&baton->mutex, NULL)) {
		slm_coroutine_free(baton->driver);
		slm_free(baton);
		return slm_error_nomem(err);
	}
	*out = baton;
	return SQLOOM_OK;
}

void slm_baton_abandon(struct slm_baton *baton)
{
	baton->abandoned = true;
}

void slm_baton_free(struct slm_baton *baton)
{
	if (!baton || baton->abandoned)
		return;
	slm_coroutine_free(baton->driver);
	pthread_mutex_destroy(&baton->mutex);
	slm_free(baton);
}
