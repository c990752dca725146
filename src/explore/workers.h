/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers: threads with a database each, which make runs ahead of their turn.
 * They know nothing of strategies, oracle and findings; those belong to the
 * thread of the exploration (here: the owner), which gives out jobs, and takes
 * each when its turn has come. So the timing of the workers decides nothing.
 *
 * All functions are for the owner, unless they say otherwise.
 */
#ifndef SLM_EXPLORE_WORKERS_H
#define SLM_EXPLORE_WORKERS_H

#include "explore/explorer.h"

enum job_state { JOB_FREE, JOB_QUEUED, JOB_RUNNING, JOB_DONE };

/* One run. */
struct job {
	struct job *next;  /* in the queue, or of the free ones */
	struct job *chain; /* with the same place in the table of ids */
	enum job_state state;

	/* What is to be run: set by the owner. */
	uint64_t id;
	const struct script *script; /* a permutation line; or */
	unsigned sampler; /* 1 + index of the random strategy; or 0: picks */
	uint64_t run;	  /* sampler: the number of its run */
	uint8_t *picks;	  /* owned */
	unsigned npicks, picks_capacity;

	/* What came of it: valid when it is done. */
	enum sqloom_status status;
	struct sqloom_error err;
	bool interrupted;	  /* a statement was stopped */
	bool unfit;		  /* must be run again by the owner */
	int failed_at;		  /* as in struct slm_runner */
	struct slm_record record; /* of a run by picks */
	uint64_t key;		  /* as slm_findings_key() */
	bool described;		  /* the key was not known: what follows */
	struct slm_runner runner;
	struct slm_run run_seen;
	uint64_t weight; /* bytes of its contents, about */
};

struct workers;

/*
 * count databases, that of the explorer among them: at most count - 1 threads,
 * each started when there is work for it. SQLOOM_NOMEM.
 */
enum sqloom_status slm_workers_new(struct explorer *explorer, unsigned count,
				   struct workers **out,
				   struct sqloom_error *err);

/* Ends the threads; jobs are forgotten. If one could not open its database and
 * nobody was told yet, with its error. Again is fine. */
enum sqloom_status slm_workers_stop(struct workers *workers,
				    struct sqloom_error *err);
/* Ends the threads first. free(NULL) is fine. */
void slm_workers_free(struct workers *workers);

/* How many runs ahead are worth handing out. */
unsigned slm_workers_window(const struct workers *workers);
/* Jobs that nobody has begun. */
unsigned slm_workers_queued(struct workers *workers);

/* The random strategies of which the next jobs are runs; count 0: none. There
 * must be no jobs. */
void slm_workers_set_samplers(struct workers *workers,
			      const enum slm_strategy_kind *kinds,
			      unsigned count,
			      const struct slm_strategy_config *config);

/* A job to fill in and to submit; NULL: enough were given out. */
struct job *slm_workers_new_job(struct workers *workers);
void slm_workers_submit(struct workers *workers, struct job *job);

/*
 * The run of this id, when it is done: meanwhile the owner makes other runs.
 * NULL if it was not given out, or nobody has begun it: then it is the owner's
 * to make. Give it back after use. An error is that of a worker which could
 * not open its database.
 */
enum sqloom_status slm_workers_take(struct workers *workers, uint64_t id,
				    struct job **out, struct sqloom_error *err);
/* Asked while a statement of the owner runs: false if the run was only to fill
 * the time until another one is done, and it is. NULL is fine. */
bool slm_workers_owner_goes_on(struct workers *workers);
void slm_workers_give_back(struct workers *workers, struct job *job);

/* Forgets all jobs; waits for those that were begun, whose statements are
 * stopped. NULL is fine. */
void slm_workers_drop(struct workers *workers);

/* Guards explorer->outcomes, in which the workers look up. NULL is fine. */
void slm_workers_lock(struct workers *workers);
void slm_workers_unlock(struct workers *workers);

#endif
