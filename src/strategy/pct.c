/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCT: random priorities with d - 1 change points. The enabled call of the
 * highest priority goes; at a change point the call that would go drops below
 * all calls that have not dropped. A bug that needs d ordering constraints is
 * hit by each run with a probability of at least 1 / (n * k^(d-1)), for n
 * calls and k choices.
 *
 * Source: Burckhardt, Kothari, Musuvathi, Nagarakatti, "A Randomized Scheduler
 * with Probabilistic Guarantees of Finding Bugs", ASPLOS 2010. As there, the
 * change points are drawn independently and the i-th drawn gives priority i,
 * so that two dropped calls may end up in either order. May use base.
 *
 * Invariant: the priorities of the calls are distinct.
 */
#include "base/alloc.h"
#include "base/error.h"
#include "strategy/strategy_impl.h"

struct pct {
	struct slm_strategy base;
	unsigned changes; /* d - 1 */
	uint64_t length;  /* k: choices of a run, as far as known */
	/* Of the present run. Priorities below `changes` are the dropped
	 * ones; higher goes first. */
	unsigned priority[SLM_STRATEGY_CALLS_MAX];
	uint64_t change_at[SLM_PCT_DEPTH_MAX - 1];
};

static void pct_begin(struct slm_strategy *strategy)
{
	struct pct *pct = (struct pct *)strategy;
	struct slm_rng rng;

	slm_strategy_rng(strategy, &rng);
	/* Fisher and Yates, inside out. */
	for (unsigned i = 0; i < strategy->ncalls; i++) {
		unsigned j = (unsigned)slm_rng_below(&rng, i + 1);

		pct->priority[i] = pct->priority[j];
		pct->priority[j] = pct->changes + i;
	}
	for (unsigned i = 0; i < pct->changes; i++)
		pct->change_at[i] = slm_rng_below(&rng, pct->length);
}

static unsigned highest(const struct pct *pct, uint32_t allowed)
{
	unsigned best = slm_strategy_lowest(allowed);

	for (uint32_t rest = allowed & (allowed - 1); rest; rest &= rest - 1) {
		unsigned call = slm_strategy_lowest(rest);

		if (pct->priority[call] > pct->priority[best])
			best = call;
	}
	return best;
}

static enum sqloom_status pct_pick(struct slm_strategy *strategy,
				   const struct slm_choice *choice,
				   uint32_t allowed, unsigned *call,
				   struct sqloom_error *err)
{
	struct pct *pct = (struct pct *)strategy;
	unsigned best = highest(pct, allowed);

	(void)err;
	for (unsigned i = 0; i < pct->changes; i++) {
		if (pct->change_at[i] != choice->index)
			continue;
		pct->priority[best] = i;
		best = highest(pct, allowed);
	}
	*call = best;
	return SQLOOM_OK;
}

static void pct_free(struct slm_strategy *strategy)
{
	slm_free(strategy);
}

static const struct slm_strategy_ops pct_ops = {
	.name = "pct",
	.begin = pct_begin,
	.pick = pct_pick,
	.free = pct_free,
};

enum sqloom_status slm_strategy_pct_new(const struct slm_strategy_config *config,
					struct slm_strategy **out,
					struct sqloom_error *err)
{
	struct pct *pct = slm_calloc(1, sizeof(*pct));

	if (!pct)
		return slm_error_nomem(err);
	pct->base.ops = &pct_ops;
	pct->changes = config->pct_depth - 1;
	for (unsigned i = 0; i < config->ncalls; i++)
		pct->length += config->steps && config->steps[i] ?
				       config->steps[i] :
				       1;
	*out = &pct->base;
	return SQLOOM_OK;
}
