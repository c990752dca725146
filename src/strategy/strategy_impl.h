/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the strategies: what each one gives to the common front, and what the
 * front does for all of them. Only the files of this folder and their tests
 * include it.
 *
 * The front (strategy.c) counts runs, choices and voluntary switches, applies
 * the preemption bound, and checks each pick. A strategy embeds struct
 * slm_strategy as its first member and fills in `ops`.
 */
#ifndef SLM_STRATEGY_STRATEGY_IMPL_H
#define SLM_STRATEGY_STRATEGY_IMPL_H

#include <string.h>

#include "base/hash.h"
#include "strategy/strategy.h"

struct slm_strategy_ops {
	const char *name;
	/* NULL: nothing to prepare. */
	void (*begin)(struct slm_strategy *strategy);
	/*
	 * Picks one of allowed, which is a non-empty part of choice->enabled.
	 * strategy->choices and ->switches do not count this pick yet. On
	 * failure nothing may have changed.
	 */
	enum sqloom_status (*pick)(struct slm_strategy *strategy,
				   const struct slm_choice *choice,
				   uint32_t allowed, unsigned *call,
				   struct sqloom_error *err);
	/* NULL: there is always more. */
	enum slm_learn (*learn)(struct slm_strategy *strategy);
	/* NULL: not known. */
	double (*left)(const struct slm_strategy *strategy);
	/* NULL: never fails. */
	int (*failed_at)(const struct slm_strategy *strategy);
	/* As slm_strategy_ahead() and slm_strategy_next(). NULL: run number r
	 * does not depend on what was learnt, and its id is r. */
	void (*ahead)(struct slm_strategy *strategy, unsigned window,
		      slm_ahead_fn fn, void *userdata);
	uint64_t (*next)(struct slm_strategy *strategy);
	void (*free)(struct slm_strategy *strategy);
};

struct slm_strategy {
	const struct slm_strategy_ops *ops;
	unsigned ncalls;
	uint64_t seed;
	uint64_t run;	     /* runs begun */
	uint64_t handed_out; /* runs up to this number; only without ops->ahead
				*/
	int max_preemptions; /* -1: any */
	unsigned choices;    /* picks made in this run */
	unsigned switches;   /* voluntary ones among them */
	bool in_run;	     /* between begin and learn */
};

static inline uint32_t slm_strategy_bit(unsigned call)
{
	return UINT32_C(1) << call;
}

static inline unsigned slm_strategy_lowest(uint32_t mask)
{
	return (unsigned)__builtin_ctz(mask);
}

static inline unsigned slm_strategy_count(uint32_t mask)
{
	return (unsigned)__builtin_popcount(mask);
}

/* Whether the call that took the step before could go on. */
static inline bool slm_strategy_may_stay(const struct slm_choice *choice)
{
	return choice->previous != SLM_NO_CALL &&
	       (choice->enabled & slm_strategy_bit((unsigned)choice->previous));
}

/* How many steps each call has left in the present run, as far as the serial
 * runs told. A call that is not known or used up counts as having one left. */
struct slm_remaining {
	unsigned steps[SLM_STRATEGY_CALLS_MAX]; /* at the start; 0: unknown */
	unsigned left[SLM_STRATEGY_CALLS_MAX];
};

static inline void slm_remaining_init(struct slm_remaining *remaining,
				      const struct slm_strategy_config *config)
{
	if (config->steps)
		memcpy(remaining->steps, config->steps,
		       config->ncalls * sizeof(remaining->steps[0]));
}

/* At the start of a run. */
static inline void slm_remaining_reset(struct slm_remaining *remaining)
{
	memcpy(remaining->left, remaining->steps, sizeof(remaining->left));
}

static inline uint64_t slm_remaining_of(const struct slm_remaining *remaining,
					unsigned call)
{
	return remaining->left[call] ? remaining->left[call] : 1;
}

/* The sum over a mask of calls. */
static inline uint64_t slm_remaining_sum(const struct slm_remaining *remaining,
					 uint32_t calls)
{
	uint64_t sum = 0;

	for (; calls; calls &= calls - 1)
		sum += slm_remaining_of(remaining, slm_strategy_lowest(calls));
	return sum;
}

/* The call was picked. */
static inline void slm_remaining_take(struct slm_remaining *remaining,
				      unsigned call)
{
	if (remaining->left[call])
		remaining->left[call]--;
}

/* The random numbers of the present run: they depend on nothing but the seed
 * and the number of the run. */
void slm_strategy_rng(const struct slm_strategy *strategy, struct slm_rng *rng);

/* What a run does where nothing else is known: never a voluntary switch. */
static inline unsigned slm_strategy_default(const struct slm_choice *choice,
					    uint32_t allowed)
{
	return slm_strategy_may_stay(choice) ? (unsigned)choice->previous :
					       slm_strategy_lowest(allowed);
}

/* One constructor per strategy; config is checked, out is not NULL. */
enum sqloom_status slm_strategy_exhaustive_new(
	const struct slm_strategy_config *config, struct slm_strategy **out,
	struct sqloom_error *err);
enum sqloom_status slm_strategy_random_new(
	const struct slm_strategy_config *config, struct slm_strategy **out,
	struct sqloom_error *err);
enum sqloom_status slm_strategy_uniform_new(
	const struct slm_strategy_config *config, struct slm_strategy **out,
	struct sqloom_error *err);
enum sqloom_status slm_strategy_pct_new(const struct slm_strategy_config *config,
					struct slm_strategy **out,
					struct sqloom_error *err);

/* For tests of the exhaustive strategy: lowers the limit of its tree, before
 * the first run; and tells how many nodes the tree has now. */
void slm_strategy_exhaustive_set_nodes_max(struct slm_strategy *strategy,
					   uint64_t nodes_max);
uint64_t slm_strategy_exhaustive_nodes(const struct slm_strategy *strategy);

#endif
