/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The uniform walk: a random walk under which every interleaving is equally
 * likely. A call is picked with a probability proportional to the number of
 * steps it has left: of the (sum n)! / (n_1! ... n_k!) interleavings that are
 * left, a share of n_i / sum n begins with call i. Plain random choices favour
 * schedules in which one call ends early.
 *
 * The walk is uniform where the counts are exact and no call blocks; a call
 * whose count is not known or used up counts as having one step left.
 *
 * Source: URW in Zhao, Wolff, Mathur, Roychoudhury, "Selectively Uniform
 * Concurrency Testing", ASPLOS 2025. May use base.
 */
#include <assert.h>

#include "base/alloc.h"
#include "base/error.h"
#include "strategy/strategy_impl.h"

struct uniform_walk {
	struct slm_strategy base;
	struct slm_rng rng; /* of the present run */
	struct slm_remaining remaining;
};

static void walk_begin(struct slm_strategy *strategy)
{
	struct uniform_walk *walk = (struct uniform_walk *)strategy;

	slm_strategy_rng(strategy, &walk->rng);
	slm_remaining_reset(&walk->remaining);
}

static enum sqloom_status walk_pick(struct slm_strategy *strategy,
				    const struct slm_choice *choice,
				    uint32_t allowed, unsigned *call,
				    struct sqloom_error *err)
{
	struct uniform_walk *walk = (struct uniform_walk *)strategy;
	uint64_t ticket = slm_rng_below(
		&walk->rng, slm_remaining_sum(&walk->remaining, allowed));
	uint32_t rest;

	(void)choice;
	(void)err;
	/* The call in whose share of the sum the ticket lies. */
	for (rest = allowed; rest; rest &= rest - 1) {
		uint64_t share = slm_remaining_of(&walk->remaining,
						  slm_strategy_lowest(rest));

		if (ticket < share)
			break;
		ticket -= share;
	}
	assert(rest != 0);
	*call = slm_strategy_lowest(rest);
	slm_remaining_take(&walk->remaining, *call);
	return SQLOOM_OK;
}

static void walk_free(struct slm_strategy *strategy)
{
	slm_free(strategy);
}

static const struct slm_strategy_ops walk_ops = {
	.name = "uniform",
	.begin = walk_begin,
	.pick = walk_pick,
	.free = walk_free,
};

enum sqloom_status slm_strategy_uniform_new(
	const struct slm_strategy_config *config, struct slm_strategy **out,
	struct sqloom_error *err)
{
	struct uniform_walk *walk = slm_calloc(1, sizeof(*walk));

	if (!walk)
		return slm_error_nomem(err);
	walk->base.ops = &walk_ops;
	slm_remaining_init(&walk->remaining, config);
	*out = &walk->base;
	return SQLOOM_OK;
}
