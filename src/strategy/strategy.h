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
 *
 * Runs may be made ahead of their turn, by others and at the same time:
 * slm_strategy_ahead() tells which runs will have their turn, and when
 * slm_strategy_next() names one of them, slm_strategy_learn_from() takes the
 * place of the three. What is learnt, and in which order, does not change.
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

/* ---- Runs made ahead ---------------------------------------------------- */

/* One choice of a run and what was picked. */
struct slm_picked {
	uint32_t enabled; /* as in struct slm_choice */
	int8_t previous;
	uint8_t call;
};

/* All choices of a run. */
struct slm_record {
	struct slm_picked *picked; /* owned */
	unsigned count, capacity;
};

/* free(NULL) of what the record holds is fine. */
void slm_record_deinit(struct slm_record *record);

/* A run that will have its turn. */
struct slm_ahead {
	uint64_t id;  /* never 0 */
	uint64_t run; /* random strategies: its number */
	/* Exhaustive: the picks it begins with; after them it goes on as
	 * slm_strategy_follow_new() does. Borrowed during the call. */
	const uint8_t *picks;
	unsigned length;
};

/* False: no room, the run is not handed out. */
typedef bool (*slm_ahead_fn)(const struct slm_ahead *ahead, void *userdata);

/*
 * Between runs: hands out, each once, those of the next `window` runs known by
 * now that were not handed out yet, in the order of their turns. The turns of
 * runs that come to be known later may lie between. Not for replay.
 */
void slm_strategy_ahead(struct slm_strategy *strategy, unsigned window,
			slm_ahead_fn fn, void *userdata);

/* Between runs: the id of the run that slm_strategy_begin() would start; 0 if
 * it is of a kind that is never handed out. */
uint64_t slm_strategy_next(struct slm_strategy *strategy);

/*
 * In place of begin, the picks and learn: the run was made elsewhere. record:
 * its choices; of random strategies nothing is needed. SQLOOM_NOMEM:
 * the strategy cannot be used any more.
 */
enum sqloom_status slm_strategy_learn_from(struct slm_strategy *strategy,
					   const struct slm_record *record,
					   enum slm_learn *learnt,
					   struct sqloom_error *err);

/* Random strategies, between runs: the next run is that of this number. */
void slm_strategy_skip_to(struct slm_strategy *strategy, uint64_t run);

/*
 * Follows the picks of an exhaustive strategy, and from there takes its
 * default: the call that went before if it can, else the lowest enabled one.
 * What cannot be followed ends the following.
 */
enum sqloom_status slm_strategy_follow_new(unsigned ncalls,
					   struct slm_strategy **out,
					   struct sqloom_error *err);
/* Between runs. picks is borrowed until the next call; so is record, which is
 * cleared and receives all choices of the next run. */
void slm_strategy_follow(struct slm_strategy *strategy, const uint8_t *picks,
			 unsigned length, struct slm_record *record);

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
