/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a run of the exhaustive strategy ahead of its turn: follows the picks
 * that it handed out, goes on by its default, and records all choices, from
 * which it learns later. May use base.
 *
 * Within the bound of voluntary switches without looking at it: the picks are,
 * and the default never switches voluntarily.
 */
#include <assert.h>

#include "base/alloc.h"
#include "base/error.h"
#include "strategy/strategy_impl.h"

struct follower {
	struct slm_strategy base;
	const uint8_t *picks;	   /* borrowed */
	unsigned length;	   /* of picks; shortened where it ends early */
	struct slm_record *record; /* borrowed */
};

static bool make_room(struct slm_record *record)
{
	unsigned capacity = record->capacity ? record->capacity * 2 : 32;
	struct slm_picked *grown =
		slm_reallocarray(record->picked, capacity, sizeof(*grown));

	if (!grown)
		return false;
	record->picked = grown;
	record->capacity = capacity;
	return true;
}

static enum sqloom_status follower_pick(struct slm_strategy *strategy,
					const struct slm_choice *choice,
					uint32_t allowed, unsigned *call,
					struct sqloom_error *err)
{
	struct follower *follower = (struct follower *)strategy;
	struct slm_record *record = follower->record;
	unsigned pick = slm_strategy_default(choice, allowed);

	if (record->count == record->capacity && !make_room(record))
		return slm_error_nomem(err);
	if (choice->index < follower->length) {
		unsigned planned = follower->picks[choice->index];

		if (allowed & slm_strategy_bit(planned))
			pick = planned;
		else
			follower->length = 0;
	}
	record->picked[record->count++] = (struct slm_picked){
		.enabled = choice->enabled,
		.previous = (int8_t)choice->previous,
		.call = (uint8_t)pick,
	};
	*call = pick;
	return SQLOOM_OK;
}

static void follower_free(struct slm_strategy *strategy)
{
	slm_free(strategy);
}

static const struct slm_strategy_ops follower_ops = {
	.name = "follow",
	.pick = follower_pick,
	.free = follower_free,
};

enum sqloom_status slm_strategy_follow_new(unsigned ncalls,
					   struct slm_strategy **out,
					   struct sqloom_error *err)
{
	struct follower *follower = slm_calloc(1, sizeof(*follower));

	if (!follower)
		return slm_error_nomem(err);
	follower->base.ops = &follower_ops;
	follower->base.ncalls = ncalls;
	follower->base.max_preemptions = -1;
	*out = &follower->base;
	return SQLOOM_OK;
}

void slm_strategy_follow(struct slm_strategy *strategy, const uint8_t *picks,
			 unsigned length, struct slm_record *record)
{
	struct follower *follower = (struct follower *)strategy;

	assert(strategy->ops == &follower_ops && !strategy->in_run);
	follower->picks = picks;
	follower->length = length;
	follower->record = record;
	record->count = 0;
}
