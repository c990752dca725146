/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The random strategy: each choice uniform among the calls it may pick. Cheap
 * and without any knowledge of the calls; but not uniform over schedules (see
 * uniform.c). May use base.
 */
#include "base/alloc.h"
#include "base/error.h"
#include "strategy/strategy_impl.h"

struct random_walk {
	struct slm_strategy base;
	struct slm_rng rng; /* of the present run */
};

static void walk_begin(struct slm_strategy *strategy)
{
	struct random_walk *walk = (struct random_walk *)strategy;

	slm_strategy_rng(strategy, &walk->rng);
}

static enum sqloom_status walk_pick(struct slm_strategy *strategy,
				    const struct slm_choice *choice,
				    uint32_t allowed, unsigned *call,
				    struct sqloom_error *err)
{
	struct random_walk *walk = (struct random_walk *)strategy;
	uint64_t skip = slm_rng_below(&walk->rng, slm_strategy_count(allowed));

	(void)choice;
	(void)err;
	while (skip-- > 0)
		allowed &= allowed - 1; /* drops the lowest call */
	*call = slm_strategy_lowest(allowed);
	return SQLOOM_OK;
}

static void walk_free(struct slm_strategy *strategy)
{
	slm_free(strategy);
}

static const struct slm_strategy_ops walk_ops = {
	.name = "random",
	.begin = walk_begin,
	.pick = walk_pick,
	.free = walk_free,
};

enum sqloom_status slm_strategy_random_new(
	const struct slm_strategy_config *config, struct slm_strategy **out,
	struct sqloom_error *err)
{
	struct random_walk *walk = slm_calloc(1, sizeof(*walk));

	(void)config;
	if (!walk)
		return slm_error_nomem(err);
	walk->base.ops = &walk_ops;
	*out = &walk->base;
	return SQLOOM_OK;
}
