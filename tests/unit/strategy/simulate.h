/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulated environment for the tests of the strategies: a few calls with a
 * few steps each, and a lock they may wait for, scheduled by the loom. Also
 * the judge: every schedule by brute force, without a strategy or the loom.
 */
#ifndef TESTS_STRATEGY_SIMULATE_H
#define TESTS_STRATEGY_SIMULATE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "loom/loom.h"
#include "strategy/strategy_impl.h"

#define SIM_CALLS_MAX 5
#define SIM_STEPS_MAX 64 /* of a whole run */

/* Call i has steps[i] steps. With locks, a call i whose bit is set takes the
 * only lock in its first step and gives it back with its last. */
struct sim_model {
	unsigned ncalls;
	unsigned steps[SIM_CALLS_MAX];
	uint32_t lockers;
};

struct sim_run {
	char schedule[SIM_STEPS_MAX + 1]; /* letters, one per choice */
	unsigned length;
	unsigned switches;
};

/* ---- The world ----------------------------------------------------------- */

struct sim_world {
	const struct sim_model *model;
	unsigned done[SIM_CALLS_MAX];  /* steps of each call */
	int holder;		       /* of the lock, or -1 */
	unsigned queue[SIM_CALLS_MAX]; /* waiting for it, first come first */
	unsigned queued;
};

static inline void sim_reset(struct sim_world *world,
			     const struct sim_model *model)
{
	*world = (struct sim_world){ .model = model, .holder = -1 };
}

/* Does one step of the call; false: it waits for the lock instead. */
static inline bool sim_step(struct sim_world *world, unsigned call)
{
	const struct sim_model *model = world->model;
	bool locker = model->lockers & (1u << call);

	if (locker && world->done[call] == 0) {
		if (world->holder >= 0 && world->holder != (int)call) {
			world->queue[world->queued++] = call;
			return false;
		}
		world->holder = (int)call;
	}
	world->done[call]++;
	return true;
}

static inline bool sim_ended(const struct sim_world *world, unsigned call)
{
	return world->done[call] == world->model->steps[call];
}

/* If the call that ended held the lock, the next in the queue gets it and
 * does its first step: which one; or -1. */
static inline int sim_hand_over(struct sim_world *world, unsigned call)
{
	unsigned heir;

	if (world->holder != (int)call || !sim_ended(world, call))
		return -1;
	world->holder = -1;
	if (world->queued == 0)
		return -1;
	heir = world->queue[0];
	world->queued--;
	memmove(world->queue, world->queue + 1,
		world->queued * sizeof(world->queue[0]));
	world->holder = (int)heir;
	world->done[heir]++;
	return (int)heir;
}

/* ---- A run under a strategy ---------------------------------------------- */

/* Delivers to the loom how the running call goes on after a step. */
static inline void sim_settle(struct slm_loom *loom, struct sim_world *world,
			      unsigned call)
{
	int heir;

	if (sim_ended(world, call))
		assert_true(slm_loom_finished(loom, call));
	else
		assert_true(slm_loom_arrive(loom, call, false));
	heir = sim_hand_over(world, call);
	if (heir >= 0) {
		assert_true(slm_loom_unblocked(loom, (unsigned)heir));
		sim_settle(loom, world, (unsigned)heir);
	}
}

static inline void sim_grant(struct slm_loom *loom, struct sim_world *world,
			     unsigned call)
{
	assert_true(slm_loom_grant(loom, call));
	if (sim_step(world, call))
		sim_settle(loom, world, call);
	else
		assert_true(slm_loom_blocked(loom, call));
}

static inline enum sqloom_status sim_choose(struct slm_strategy *strategy,
					    const struct slm_loom_order *order,
					    struct sim_run *run, unsigned *call)
{
	struct slm_choice choice = {
		.enabled = order->enabled,
		.previous = order->previous,
		.index = run->length,
	};
	enum sqloom_status status;

	status = slm_strategy_pick(strategy, &choice, call, NULL);
	if (status != SQLOOM_OK)
		return status;
	assert_true(order->enabled & (1u << *call));
	if (order->previous >= 0 &&
	    (order->enabled & (1u << order->previous)) &&
	    (int)*call != order->previous)
		run->switches++;
	assert_true(run->length < SIM_STEPS_MAX);
	run->schedule[run->length++] = (char)('a' + *call);
	run->schedule[run->length] = '\0';
	return SQLOOM_OK;
}

/* One run, without the learning. A pick that fails for want of memory is
 * tried again with memory if retry is set, else ends the run. */
static inline enum sqloom_status sim_run(struct slm_strategy *strategy,
					 const struct sim_model *model,
					 struct sim_run *run, bool retry)
{
	struct slm_loom loom;
	struct sim_world world;

	*run = (struct sim_run){ .length = 0 };
	sim_reset(&world, model);
	slm_loom_begin(&loom, model->ncalls, UINT32_MAX);
	slm_strategy_begin(strategy);
	for (;;) {
		struct slm_loom_order order = slm_loom_next(&loom);
		unsigned call = UINT32_MAX;
		enum sqloom_status status;

		if (order.kind == SLM_ORDER_DONE)
			break;
		if (order.kind == SLM_ORDER_START) {
			assert_true(slm_loom_arrive(&loom, order.call, false));
			continue;
		}
		assert_int_equal(order.kind, SLM_ORDER_CHOOSE);
		status = sim_choose(strategy, &order, run, &call);
		if (status != SQLOOM_OK) {
			assert_int_equal(call, UINT32_MAX);
			if (!retry)
				return status;
			slm_alloc_fail_from(0);
			status = sim_choose(strategy, &order, run, &call);
			assert_int_equal(status, SQLOOM_OK);
		}
		sim_grant(&loom, &world, call);
	}
	assert_int_equal(run->switches, slm_strategy_switches(strategy));
	return SQLOOM_OK;
}

static inline enum slm_learn sim_run_learn(struct slm_strategy *strategy,
					   const struct sim_model *model,
					   struct sim_run *run)
{
	assert_int_equal(sim_run(strategy, model, run, false), SQLOOM_OK);
	return slm_strategy_learn(strategy);
}

static inline struct slm_strategy *sim_strategy(enum slm_strategy_kind kind,
						const struct sim_model *model,
						uint64_t seed,
						int max_preemptions)
{
	struct slm_strategy_config config = {
		.ncalls = model->ncalls,
		.seed = seed,
		.max_preemptions = max_preemptions,
		.pct_depth = 3,
		.steps = model->steps,
	};
	struct slm_strategy *strategy = NULL;

	assert_int_equal(slm_strategy_new(kind, &config, &strategy, NULL),
			 SQLOOM_OK);
	return strategy;
}

/* ---- Sets of schedules --------------------------------------------------- */

struct sim_set {
	char (*schedules)[SIM_STEPS_MAX + 1];
	size_t count, capacity;
};

static inline void sim_add(struct sim_set *set, const char *schedule)
{
	if (set->count == set->capacity) {
		set->capacity = set->capacity ? 2 * set->capacity : 64;
		set->schedules =
			realloc(set->schedules,
				set->capacity * sizeof(*set->schedules));
		assert_non_null(set->schedules);
	}
	strcpy(set->schedules[set->count++], schedule);
}

static inline void sim_set_free(struct sim_set *set)
{
	free(set->schedules);
	*set = (struct sim_set){ .count = 0 };
}

static inline int sim_compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static inline void sim_sort(struct sim_set *set)
{
	qsort(set->schedules, set->count, sizeof(*set->schedules), sim_compare);
}

/* Sorts both. */
static inline void sim_assert_same(struct sim_set *a, struct sim_set *b)
{
	sim_sort(a);
	sim_sort(b);
	assert_int_equal(a->count, b->count);
	for (size_t i = 0; i < a->count; i++)
		assert_string_equal(a->schedules[i], b->schedules[i]);
}

/* ---- Brute force --------------------------------------------------------- */

static inline bool sim_blocked(const struct sim_world *world, unsigned call)
{
	for (unsigned i = 0; i < world->queued; i++)
		if (world->queue[i] == call)
			return true;
	return false;
}

/* All schedules that begin with run's, with at most max switches (-1: any). */
static inline void sim_enumerate(struct sim_set *set,
				 const struct sim_world *world,
				 const struct sim_run *run, int max)
{
	const struct sim_model *model = world->model;
	uint32_t enabled = 0;
	int previous = run->length ? run->schedule[run->length - 1] - 'a' : -1;

	for (unsigned i = 0; i < model->ncalls; i++)
		if (!sim_ended(world, i) && !sim_blocked(world, i))
			enabled |= 1u << i;
	if (!enabled) {
		sim_add(set, run->schedule);
		return;
	}
	for (unsigned i = 0; i < model->ncalls; i++) {
		struct sim_world next = *world;
		struct sim_run longer = *run;
		int ended = (int)i;

		if (!(enabled & (1u << i)))
			continue;
		if (previous >= 0 && (int)i != previous &&
		    (enabled & (1u << previous)))
			longer.switches++;
		if (max >= 0 && longer.switches > (unsigned)max)
			continue;
		longer.schedule[longer.length++] = (char)('a' + i);
		if (sim_step(&next, i))
			while (ended >= 0)
				ended = sim_hand_over(&next, (unsigned)ended);
		sim_enumerate(set, &next, &longer, max);
	}
}

static inline struct sim_set sim_brute_force(const struct sim_model *model,
					     int max)
{
	struct sim_set set = { .count = 0 };
	struct sim_run run = { .length = 0 };
	struct sim_world world;

	sim_reset(&world, model);
	sim_enumerate(&set, &world, &run, max);
	return set;
}

#endif
