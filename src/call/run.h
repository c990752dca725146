/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run: the sessions of a spec as calls of the loom on a database. Asks the
 * loom what to do, carries it out on the database, tells the loom what came of
 * it, and records events. Judges nothing.
 */
#ifndef SLM_CALL_RUN_H
#define SLM_CALL_RUN_H

#include "db/db.h"
#include "loom/loom.h"
#include "spec/spec.h"
#include "strategy/strategy.h"
#include "trace/trace.h"

/* Which steps each call takes: indices in its session's list of steps. */
struct slm_plan {
	unsigned ncalls;
	const uint32_t *steps[SLM_CALLS_MAX];
	unsigned nsteps[SLM_CALLS_MAX];
};

/* One step of a permutation line: the position-th step of a call's plan. */
struct slm_script_step {
	unsigned call;
	unsigned position;
};

/* Who chooses: exactly one of the three is given. */
struct slm_director {
	struct slm_strategy *strategy;
	const char *order; /* letters: the calls one after another */
	const struct slm_script_step *script; /* a permutation line */
	unsigned nscript;
};

/* Steps in traces: those of the session, then these; the last one only where
 * the database splits statements. */
#define SLM_STEP_ROLLBACK(nsteps) (nsteps)
#define SLM_STEP_TEARDOWN(nsteps) ((nsteps) + 1)
#define SLM_STEP_COMMIT(nsteps) ((nsteps) + 2)

enum slm_call_phase {
	SLM_PHASE_STEPS,
	SLM_PHASE_COMMIT, /* of the step before, which was split */
	SLM_PHASE_ROLLBACK,
	SLM_PHASE_TEARDOWN,
};

struct slm_runner {
	/* Set by the owner before the first run */
	struct slm_db *db;
	const struct sqloom_spec *spec;
	const struct slm_plan *plan;
	bool stop_on_error; /* an error ends the call and rolls back */

	/* What the last run was; valid until the next */
	struct slm_arena arena; /* results and texts of the run */
	struct slm_event *events;
	uint32_t nevents, events_capacity;
	uint8_t *schedule; /* the call of each letter */
	uint32_t *taken;   /* the step (as in traces) of each letter */
	uint32_t nletters;
	uint32_t switches; /* letters that left a call which was itself at a
				 step */
	uint32_t members;
	uint32_t failed; /* mask: calls that ended with an error */
	uint64_t digest; /* of the results of all calls */
	uint64_t way;	 /* of the steps that were taken, in order */
	bool stalled;	 /* a call was: the run proves nothing */
	int failed_at;	 /* script: entry that could not be followed, -1 */

	/* Internal */
	struct slm_loom loom;
	enum slm_call_phase phase[SLM_CALLS_MAX];
	unsigned position[SLM_CALLS_MAX];
	bool stopped[SLM_CALLS_MAX];
	uint64_t call_digest[SLM_CALLS_MAX];
	uint32_t at[SLM_CALLS_MAX]; /* of calls that are programs: the step */
	const char *params[SLM_CALLS_MAX];
	const struct slm_director *director;
	unsigned script_at;
};

/* Cannot fail; the owner then sets the first group of fields. */
void slm_runner_init(struct slm_runner *runner);
void slm_runner_deinit(struct slm_runner *runner);

/*
 * Runs the members under the director. variant as in slm_db_run_begin(). On
 * success the database is at the end of the run (slm_db_contents() etc. may
 * be asked). SQLOOM_SPEC if a setup fails, SQLOOM_LIMIT, SQLOOM_NOMEM,
 * SQLOOM_INTERNAL.
 */
enum sqloom_status slm_run(struct slm_runner *runner, uint32_t members,
			   unsigned variant,
			   const struct slm_director *director,
			   struct sqloom_error *err);

#endif
