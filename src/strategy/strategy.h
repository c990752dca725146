/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strategies: what picks the next call where there is a choice, and what
 * learns from a finished run. Pure and deterministic given the seed; no clock,
 * no I/O. One file each behind one interface.
 *
 * The protocol: for each run, slm_strategy_begin(), then slm_strategy_pick()
 * at each choice in order, then slm_strategy_learn(). The environment must be
 * deterministic: the same picks lead to the same choices. If it is not, the
 * exhaustive strategy notices and reports it (SLM_LEARN_DIVERGED).
 */
#ifndef SLM_STRATEGY_STRATEGY_H
#define SLM_STRATEGY_STRATEGY_H

#include <sqloom/sqloom.h>

#define SLM_NO_CALL (-1)
#define SLM_STRATEGY_CALLS_MAX 32 /* bits of the mask of enabled calls */
#define SLM_PCT_DEPTH_MAX 64

/* One choice of a run. */
struct slm_choice {
	uint32_t enabled; /* mask of the calls that stopped at a step; never 0 */
	int previous;	  /* the call that took the step before, SLM_NO_CALL at
			     the start of a run */
	unsigned index;	  /* number of the choice within the run, from 0 */
};

enum slm_learn {
	SLM_LEARN_MORE,	    /* there is more to run */
	SLM_LEARN_DONE,	    /* every schedule within the bounds was run */
	SLM_LEARN_DIVERGED, /* the run did not follow the picks as before; also
			       in place of DONE ever after, as the schedules
			       behind that run were not seen */
};

struct slm_strategy_config {
	unsigned ncalls;
	uint64_t seed;
	int max_preemptions; /* voluntary switches per run; -1: any */
	unsigned pct_depth;  /* pct: 1 <= d <= SLM_PCT_DEPTH_MAX; d - 1
				change points */
	/* Choices each call makes in the serial runs: uniform and pct need
	 * them, exhaustive only to estimate what is left; borrowed during _new
	 * only. NULL or 0: not known. */
	const unsigned *steps;
};

struct slm_strategy;

enum slm_strategy_kind {
	SLM_STRATEGY_EXHAUSTIVE,
	SLM_STRATEGY_RANDOM,
	SLM_STRATEGY_UNIFORM,
	SLM_STRATEGY_PCT,
};

/*
 * *out is owned by the caller. SQLOOM_NOMEM, SQLOOM_USAGE. Run number r (from
 * 1) of the random strategies depends only on the seed, r, the other fields
 * of config, and the choices it is given.
 */
enum sqloom_status slm_strategy_new(enum slm_strategy_kind kind,
				    const struct slm_strategy_config *config,
				    struct slm_strategy **out,
				    struct sqloom_error *err);

/*
 * Follows the given schedules (arrays of call indices, copied), one per run;
 * after the last, the first again. SQLOOM_USAGE if count is 0, SQLOOM_NOMEM.
 * A pick that is not enabled cannot be followed: slm_strategy_failed_at() then
 * tells where, and the rest of the run takes the lowest enabled call.
 */
enum sqloom_status slm_strategy_replay_new(const uint8_t *const *schedules,
					   const unsigned *lengths,
					   unsigned count,
					   struct slm_strategy **out,
					   struct sqloom_error *err);

/* free(NULL) is fine, in the middle of a run too. */
void slm_strategy_free(struct slm_strategy *strategy);
const char *slm_strategy_name(const struct slm_strategy *strategy);

/* Starts a run. The run before must have ended by slm_strategy_learn(). */
void slm_strategy_begin(struct slm_strategy *strategy);

/*
 * Picks one of choice->enabled. Called for every choice, also where only one
 * call is enabled. SQLOOM_NOMEM at worst: then nothing was picked and nothing
 * has changed, so that the same pick may be tried again.
 */
enum sqloom_status slm_strategy_pick(struct slm_strategy *strategy,
				     const struct slm_choice *choice,
				     unsigned *call, struct sqloom_error *err);

/* Ends the run, which must have gone to its end. Runs after DONE are harmless:
 * nothing new is explored. */
enum slm_learn slm_strategy_learn(struct slm_strategy *strategy);

/* Voluntary switches in the run so far: picks that left a call which was
 * itself at a step. */
unsigned slm_strategy_switches(const struct slm_strategy *strategy);

/* How many schedules there may be left, estimated; < 0: unknown. */
double slm_strategy_left(const struct slm_strategy *strategy);

/* replay: index of the first choice that could not be followed in the last
 * run, or -1. Other strategies: -1. A schedule that ended before the run did
 * counts as failed at its length; one that was not used up, as failed at the
 * number of choices the run had. */
int slm_strategy_failed_at(const struct slm_strategy *strategy);

#endif
