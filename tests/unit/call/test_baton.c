/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The baton: threads go one at a time in the order in which the driver lets
 * them go, wherever the driver itself runs; what it wants of the main thread is
 * done there; threads that do nothing are seen to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "call/baton.h"

#define ACTORS 3
#define TURNS 200

struct actor {
	struct slm_agent agent; /* first */
	struct play *play;
	unsigned number;
	unsigned turns; /* how often it shall park */
	_Atomic bool over;
};

struct play {
	struct slm_baton *baton;
	pthread_t main, threads[ACTORS];
	struct actor actors[ACTORS];
	unsigned nactors;
	atomic_int inside; /* actors that run now */
	char log[ACTORS * TURNS + 1], wanted[ACTORS * TURNS + 1];
	unsigned nlog, nwanted;
	_Atomic unsigned jobs;
	unsigned elsewhere;
	unsigned ticks;
	cpu_set_t cpus;
};

static void *act(void *userdata)
{
	struct actor *actor = userdata;
	struct play *play = actor->play;

	for (unsigned i = 0; i < actor->turns; i++) {
		slm_baton_park(play->baton, &actor->agent);
		assert_int_equal(atomic_fetch_add(&play->inside, 1), 0);
		assert_false(slm_baton_drives());
		play->log[play->nlog++] = (char)('a' + actor->number);
		atomic_fetch_sub(&play->inside, 1);
	}
	atomic_store(&actor->over, true);
	return NULL;
}

static void start(struct play *play, unsigned n, unsigned turns)
{
	play->nactors = n;
	for (unsigned i = 0; i < n; i++) {
		struct actor *actor = &play->actors[i];

		*actor = (struct actor){ .play = play,
					 .number = i,
					 .turns = turns };
		assert_int_equal(
			pthread_create(&play->threads[i], NULL, act, actor), 0);
		while (!actor->agent.parked)
			(void)slm_baton_wait(play->baton);
	}
}

static void note_job(void *userdata)
{
	struct play *play = userdata;

	assert_true(pthread_equal(pthread_self(), play->main));
	assert_false(slm_baton_drives());
	play->jobs++;
}

/* Until it has parked again, or is over. */
static void give_a_turn(struct play *play, unsigned number)
{
	struct actor *actor = &play->actors[number];

	play->wanted[play->nwanted++] = (char)('a' + number);
	slm_baton_let_go(play->baton, &actor->agent);
	while (!actor->agent.parked && !actor->over)
		play->ticks += !slm_baton_wait(play->baton);
}

static void direct(void *userdata)
{
	struct play *play = userdata;
	uint32_t random = 1;

	start(play, ACTORS, TURNS);
	while (play->nwanted < ACTORS * TURNS) {
		unsigned number;

		do
			number = (random = random * 1103515245u + 12345u) >> 16;
		while (play->actors[number % ACTORS].over);
		give_a_turn(play, number % ACTORS);
		assert_true(slm_baton_drives());
		play->elsewhere += !pthread_equal(pthread_self(), play->main);
		if (random % 16 == 0) {
			unsigned jobs = play->jobs;

			slm_baton_on_main(play->baton, note_job, play);
			assert_int_equal(play->jobs, jobs + 1);
		}
	}
}

static void join(struct play *play)
{
	for (unsigned i = 0; i < play->nactors; i++)
		pthread_join(play->threads[i], NULL);
}

static void drive(struct play *play, void (*fn)(void *userdata))
{
	struct sqloom_error err;
	cpu_set_t before, now;

	memset(play, 0, sizeof(*play));
	play->main = pthread_self();
	assert_int_equal(slm_baton_new(&play->baton, &err), SQLOOM_OK);
	sched_getaffinity(0, sizeof(before), &before);
	slm_baton_drive(play->baton, fn, play);
	sched_getaffinity(0, sizeof(now), &now);
	assert_memory_equal(&before, &now, sizeof(now));
	assert_false(slm_baton_drives());
	join(play);
	slm_baton_free(play->baton);
	assert_int_equal(slm_alloc_live(), 0);
}

static void threads_go_as_the_driver_says(void **state)
{
	static struct play play;

	(void)state;
	drive(&play, direct);
	assert_string_equal(play.log, play.wanted);
	assert_int_equal(strlen(play.log), ACTORS * TURNS);
	assert_true(play.jobs > 10);
	/* It ran where the threads parked, not on the main thread. */
	assert_true(play.elsewhere > ACTORS * TURNS / 2);
}

static void see_cpus(void *userdata)
{
	struct play *play = userdata;

	sched_getaffinity(0, sizeof(play->cpus), &play->cpus);
}

static void all_is_on_one_cpu(void **state)
{
	static struct play play;

	(void)state;
	drive(&play, see_cpus);
	assert_int_equal(CPU_COUNT(&play.cpus), 1);
}

/* ---- Beside each other ------------------------------------------------------ */

static void *dream(void *userdata)
{
	struct actor *actor = userdata;

	slm_baton_park(actor->play->baton, &actor->agent);
	while (!actor->play->jobs)
		usleep(1000);
	slm_baton_park(actor->play->baton, &actor->agent);
	actor->over = true;
	return NULL;
}

/* The first sleeps until the second has had its turns, and parks in the
 * middle of them: that is not lost. */
static void direct_a_dreamer(void *userdata)
{
	struct play *play = userdata;
	struct actor *dreamer = &play->actors[2];

	start(play, 2, TURNS / 2);
	*dreamer = (struct actor){ .play = play, .number = 2 };
	play->nactors = 3;
	assert_int_equal(
		pthread_create(&play->threads[2], NULL, dream, dreamer), 0);
	while (!dreamer->agent.parked)
		(void)slm_baton_wait(play->baton);
	slm_baton_let_go(play->baton, &dreamer->agent);
	while (!play->ticks) /* nothing happens: the driver is told so */
		play->ticks += !slm_baton_wait(play->baton);
	assert_false(dreamer->agent.parked);
	for (unsigned i = 0; i < TURNS; i++) {
		if (i == TURNS / 2)
			slm_baton_on_main(play->baton, note_job, play);
		give_a_turn(play, i % 2);
	}
	while (!dreamer->agent.parked)
		(void)slm_baton_wait(play->baton);
	slm_baton_let_go(play->baton, &dreamer->agent);
	while (!dreamer->over)
		(void)slm_baton_wait(play->baton);
}

static void a_thread_may_park_while_others_go(void **state)
{
	static struct play play;

	(void)state;
	drive(&play, direct_a_dreamer);
	assert_string_equal(play.log, play.wanted);
	assert_true(play.ticks > 0);
}

/* ---- The ends --------------------------------------------------------------- */

static void nothing(void *userdata)
{
	(void)userdata;
}

/* The driver asks for the main thread just when that one wakes up by itself,
 * to look: it must wait until the driver has left its stack. */
static void ask_at_every_moment(void *userdata)
{
	struct play *play = userdata;

	start(play, 1, 100);
	for (unsigned i = 0; i < 100; i++) {
		struct timespec pause = { .tv_nsec =
						  SLM_BATON_TICK_MS * 1000000 -
						  100000 + (long)i * 2000 };

		give_a_turn(play, 0);
		if (play->actors[0].over)
			break;
		nanosleep(&pause, NULL); /* on the actor's thread */
		slm_baton_on_main(play->baton, note_job, play);
	}
}

static void the_main_thread_waits_for_the_driver_to_yield(void **state)
{
	static struct play play;

	(void)state;
	drive(&play, ask_at_every_moment);
	assert_true(play.jobs > 50);
}

static void a_driver_that_does_nothing_ends(void **state)
{
	static struct play play;

	(void)state;
	for (int i = 0; i < 100; i++)
		drive(&play, nothing);
}

static void without_memory_there_is_none(void **state)
{
	struct slm_baton *baton = NULL;
	struct sqloom_error err;

	(void)state;
	for (uint64_t n = 1; n <= 2; n++) {
		slm_alloc_fail_from(n);
		assert_int_equal(slm_baton_new(&baton, &err), SQLOOM_NOMEM);
		slm_alloc_fail_from(0);
		assert_null(baton);
		assert_int_equal(slm_alloc_live(), 0);
	}
	slm_baton_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_go_as_the_driver_says),
		cmocka_unit_test(all_is_on_one_cpu),
		cmocka_unit_test(a_thread_may_park_while_others_go),
		cmocka_unit_test(the_main_thread_waits_for_the_driver_to_yield),
		cmocka_unit_test(a_driver_that_does_nothing_ends),
		cmocka_unit_test(without_memory_there_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
