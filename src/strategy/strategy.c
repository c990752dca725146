/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front of all strategies: checks the configuration, counts runs, choices
 * and voluntary switches, and applies the preemption bound. May use base.
 *
 * Invariant: what a strategy may pick is `allowed`, a non-empty part of the
 * enabled calls; so no strategy can go over the bound.
 */
#include "strategy/strategy_impl.h"

#include <assert.h>

#include "base/alloc.h"
#include "base/error.h"

static enum sqloom_status check_config(enum slm_strategy_kind kind,
				       const struct slm_strategy_config *config,
				       struct sqloom_error *err)
{
	if (config->ncalls < 1 || config->ncalls > SLM_STRATEGY_CALLS_MAX)
		return slm_error_set(err, SQLOOM_USAGE,
				     "a strategy schedules 1 to %d calls, "
				     "not %u",
				     SLM_STRATEGY_CALLS_MAX, config->ncalls);
	if (config->max_preemptions < -1)
		return slm_error_set(err, SQLOOM_USAGE,
				     "the bound of voluntary switches is %d; "
				     "give 0 or more, or -1 for no bound",
				     config->max_preemptions);
	if (kind == SLM_STRATEGY_PCT &&
	    (config->pct_depth < 1 || config->pct_depth > SLM_PCT_DEPTH_MAX))
		return slm_error_set(err, SQLOOM_USAGE,
				     "the depth of PCT is %u; give 1 to %d",
				     config->pct_depth, SLM_PCT_DEPTH_MAX);
	return SQLOOM_OK;
}

enum sqloom_status slm_strategy_new(enum slm_strategy_kind kind,
				    const struct slm_strategy_config *config,
				    struct slm_strategy **out,
				    struct sqloom_error *err)
{
	struct slm_strategy *made = NULL;
	enum sqloom_status status = check_config(kind, config, err);

	if (status != SQLOOM_OK)
		return status;
	switch (kind) {
	case SLM_STRATEGY_EXHAUSTIVE:
		status = slm_strategy_exhaustive_new(config, &made, err);
		break;
	case SLM_STRATEGY_RANDOM:
		status = slm_strategy_random_new(config, &made, err);
		break;
	case SLM_STRATEGY_UNIFORM:
		status = slm_strategy_uniform_new(config, &made, err);
		break;
	case SLM_STRATEGY_PCT:
		status = slm_strategy_pct_new(config, &made, err);
		break;
	default:
		return slm_error_set(err, SQLOOM_USAGE,
				     "there is no strategy number %d",
				     (int)kind);
	}
	if (status != SQLOOM_OK)
		return status;
	made->ncalls = config->ncalls;
	made->seed = config->seed;
	made->max_preemptions = config->max_preemptions;
	*out = made;
	return SQLOOM_OK;
}

void slm_strategy_free(struct slm_strategy *strategy)
{
	if (strategy)
		strategy->ops->free(strategy);
}

const char *slm_strategy_name(const struct slm_strategy *strategy)
{
	return strategy->ops->name;
}

void slm_strategy_rng(const struct slm_strategy *strategy, struct slm_rng *rng)
{
	slm_rng_init(rng, slm_hash_mix(strategy->seed, strategy->run));
}

void slm_strategy_begin(struct slm_strategy *strategy)
{
	assert(!strategy->in_run);
	strategy->in_run = true;
	strategy->run++;
	strategy->choices = 0;
	strategy->switches = 0;
	if (strategy->ops->begin)
		strategy->ops->begin(strategy);
}

/* With the bound used up, a call that can go on must go on. */
static uint32_t within_bound(const struct slm_strategy *strategy,
			     const struct slm_choice *choice)
{
	if (strategy->max_preemptions < 0 ||
	    strategy->switches < (unsigned)strategy->max_preemptions ||
	    !slm_strategy_may_stay(choice))
		return choice->enabled;
	return slm_strategy_bit((unsigned)choice->previous);
}

enum sqloom_status slm_strategy_pick(struct slm_strategy *strategy,
				     const struct slm_choice *choice,
				     unsigned *call, struct sqloom_error *err)
{
	uint32_t allowed;
	enum sqloom_status status;
	unsigned picked = 0;

	assert(strategy->in_run);
	assert(choice->enabled != 0);
	assert((uint64_t)choice->enabled >> strategy->ncalls == 0);
	assert(choice->previous >= SLM_NO_CALL &&
	       choice->previous < (int)strategy->ncalls);
	assert(choice->index == strategy->choices);
	allowed = within_bound(strategy, choice);
	status = strategy->ops->pick(strategy, choice, allowed, &picked, err);
	if (status != SQLOOM_OK)
		return status;
	assert(picked < SLM_STRATEGY_CALLS_MAX &&
	       (allowed & slm_strategy_bit(picked)));
	if (slm_strategy_may_stay(choice) &&
	    picked != (unsigned)choice->previous)
		strategy->switches++;
	strategy->choices++;
	*call = picked;
	return SQLOOM_OK;
}

enum slm_learn slm_strategy_learn(struct slm_strategy *strategy)
{
	assert(strategy->in_run);
	strategy->in_run = false;
	return strategy->ops->learn ? strategy->ops->learn(strategy) :
				      SLM_LEARN_MORE;
}

/* ---- Runs made ahead ---------------------------------------------------- */

void slm_record_deinit(struct slm_record *record)
{
	slm_free(record->picked);
	*record = (struct slm_record){ .count = 0 };
}

void slm_strategy_ahead(struct slm_strategy *strategy, unsigned window,
			slm_ahead_fn fn, void *userdata)
{
	uint64_t last = strategy->run + window;

	assert(!strategy->in_run);
	if (strategy->ops->ahead) {
		strategy->ops->ahead(strategy, window, fn, userdata);
		return;
	}
	assert(!strategy->ops->learn);
	if (strategy->handed_out < strategy->run)
		strategy->handed_out = strategy->run;
	while (strategy->handed_out < last) {
		uint64_t run = strategy->handed_out + 1;
		struct slm_ahead ahead = { .id = run, .run = run };

		if (!fn(&ahead, userdata))
			break;
		strategy->handed_out = run;
	}
}

uint64_t slm_strategy_next(struct slm_strategy *strategy)
{
	assert(!strategy->in_run);
	return strategy->ops->next ? strategy->ops->next(strategy) :
				     strategy->run + 1;
}

enum sqloom_status slm_strategy_learn_from(struct slm_strategy *strategy,
					   const struct slm_record *record,
					   enum slm_learn *learnt,
					   struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;
	bool other = false;

	slm_strategy_begin(strategy);
	for (unsigned i = 0;
	     !status && strategy->ops->learn && i < record->count; i++) {
		const struct slm_picked *picked = &record->picked[i];
		struct slm_choice choice = { .enabled = picked->enabled,
					     .previous = picked->previous,
					     .index = i };
		unsigned call;

		status = slm_strategy_pick(strategy, &choice, &call, err);
		other |= !status && call != picked->call;
	}
	if (status)
		return status;
	*learnt = slm_strategy_learn(strategy);
	/* Only a run that left its path may have picked otherwise. */
	assert(!other || *learnt == SLM_LEARN_DIVERGED);
	return SQLOOM_OK;
}

void slm_strategy_skip_to(struct slm_strategy *strategy, uint64_t run)
{
	assert(!strategy->in_run && run > 0);
	strategy->run = run - 1;
}

/* ---- What is known ------------------------------------------------------ */

unsigned slm_strategy_switches(const struct slm_strategy *strategy)
{
	return strategy->switches;
}

double slm_strategy_left(const struct slm_strategy *strategy)
{
	return strategy->ops->left ? strategy->ops->left(strategy) : -1;
}

int slm_strategy_failed_at(const struct slm_strategy *strategy)
{
	return strategy->ops->failed_at ? strategy->ops->failed_at(strategy) :
					  -1;
}
