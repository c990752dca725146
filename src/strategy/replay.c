/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The replay strategy: follows given schedules, one per run, and tells where
 * a run could not follow. May use base.
 *
 * Invariant: after the first choice that cannot be followed the rest of the
 * run follows nothing; what it was to be no longer means anything.
 */
#include <limits.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "strategy/strategy_impl.h"

struct schedule {
	const uint8_t *calls; /* inside `calls` of the strategy */
	unsigned length;
};

struct replay {
	struct slm_strategy base;
	struct schedule *schedules; /* owned */
	uint8_t *calls;		    /* owned: all schedules end to end */
	unsigned count;		    /* of schedules, at least 1 */
	int failed_at;		    /* in the present or last run, or -1 */
};

static const struct schedule *present(const struct replay *replay)
{
	return &replay->schedules[(replay->base.run - 1) % replay->count];
}

static void fail_at(struct replay *replay, unsigned index)
{
	if (replay->failed_at < 0)
		replay->failed_at = index > INT_MAX ? INT_MAX : (int)index;
}

static void replay_begin(struct slm_strategy *strategy)
{
	struct replay *replay = (struct replay *)strategy;

	replay->failed_at = -1;
}

static enum sqloom_status replay_pick(struct slm_strategy *strategy,
				      const struct slm_choice *choice,
				      uint32_t allowed, unsigned *call,
				      struct sqloom_error *err)
{
	struct replay *replay = (struct replay *)strategy;
	const struct schedule *schedule = present(replay);
	unsigned wanted = SLM_STRATEGY_CALLS_MAX;

	(void)err;
	if (choice->index < schedule->length)
		wanted = schedule->calls[choice->index];
	if (wanted >= SLM_STRATEGY_CALLS_MAX ||
	    !(allowed & slm_strategy_bit(wanted)))
		fail_at(replay, choice->index);
	*call = replay->failed_at < 0 ? wanted : slm_strategy_lowest(allowed);
	return SQLOOM_OK;
}

static enum slm_learn replay_learn(struct slm_strategy *strategy)
{
	struct replay *replay = (struct replay *)strategy;

	if (strategy->choices < present(replay)->length)
		fail_at(replay, strategy->choices);
	return strategy->run < replay->count ? SLM_LEARN_MORE : SLM_LEARN_DONE;
}

static double replay_left(const struct slm_strategy *strategy)
{
	const struct replay *replay = (const struct replay *)strategy;

	return strategy->run < replay->count ?
		       (double)(replay->count - strategy->run) :
		       0;
}

static int replay_failed_at(const struct slm_strategy *strategy)
{
	return ((const struct replay *)strategy)->failed_at;
}

static void replay_free(struct slm_strategy *strategy)
{
	struct replay *replay = (struct replay *)strategy;

	slm_free(replay->calls);
	slm_free(replay->schedules);
	slm_free(replay);
}

static const struct slm_strategy_ops replay_ops = {
	.name = "replay",
	.begin = replay_begin,
	.pick = replay_pick,
	.learn = replay_learn,
	.left = replay_left,
	.failed_at = replay_failed_at,
	.free = replay_free,
};

static void copy_schedules(struct replay *replay,
			   const uint8_t *const *schedules,
			   const unsigned *lengths)
{
	uint8_t *to = replay->calls;

	for (unsigned i = 0; i < replay->count; i++) {
		if (lengths[i])
			memcpy(to, schedules[i], lengths[i]);
		replay->schedules[i] = (struct schedule){ to, lengths[i] };
		to += lengths[i];
	}
}

enum sqloom_status slm_strategy_replay_new(const uint8_t *const *schedules,
					   const unsigned *lengths,
					   unsigned count,
					   struct slm_strategy **out,
					   struct sqloom_error *err)
{
	struct replay *replay;
	size_t total = 0;

	if (count == 0)
		return slm_error_set(err, SQLOOM_USAGE,
				     "there is no schedule to replay; give at "
				     "least one");
	for (unsigned i = 0; i < count; i++)
		total += lengths[i];
	replay = slm_calloc(1, sizeof(*replay));
	if (!replay)
		return slm_error_nomem(err);
	replay->base.ops = &replay_ops;
	replay->base.ncalls = SLM_STRATEGY_CALLS_MAX;
	replay->base.max_preemptions = -1;
	replay->count = count;
	replay->failed_at = -1;
	replay->calls = slm_malloc(total);
	replay->schedules = slm_calloc(count, sizeof(*replay->schedules));
	if (!replay->calls || !replay->schedules) {
		replay_free(&replay->base);
		return slm_error_nomem(err);
	}
	copy_schedules(replay, schedules, lengths);
	*out = &replay->base;
	return SQLOOM_OK;
}
