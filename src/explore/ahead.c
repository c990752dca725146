/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs made ahead of their turn. Here an exploration with workers differs from
 * one without: the runs that will have their turn are handed out, and each is
 * taken, judged and learnt from when its turn comes. The order of turns is
 * that of the strategy alone, so reports and traces are the same for every
 * number of workers, to the byte; what is made ahead in vain costs time only.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "explore/workers.h"

/* Runs of several strategies are told apart by the index. */
static uint64_t job_id(uint64_t id, unsigned index)
{
	return id * 2 + index;
}

/* ---- Handing out ------------------------------------------------------- */

struct handing {
	struct explorer *explorer;
	unsigned index; /* of the strategy */
};

static bool copy_picks(struct job *job, const struct slm_ahead *ahead)
{
	if (ahead->length > job->picks_capacity) {
		uint8_t *grown = slm_realloc(job->picks, ahead->length * 2);

		if (!grown)
			return false;
		job->picks = grown;
		job->picks_capacity = ahead->length * 2;
	}
	if (ahead->length)
		memcpy(job->picks, ahead->picks, ahead->length);
	job->npicks = ahead->length;
	return true;
}

static bool hand_out(const struct slm_ahead *ahead, void *userdata)
{
	struct handing *handing = userdata;
	struct workers *workers = handing->explorer->workers;
	struct job *job = slm_workers_new_job(workers);

	if (!job)
		return false;
	if (!copy_picks(job, ahead)) {
		slm_workers_give_back(workers, job);
		return false;
	}
	job->id = job_id(ahead->id, handing->index);
	job->run = ahead->run;
	job->sampler = ahead->run ? handing->index + 1 : 0;
	slm_workers_submit(workers, job);
	return true;
}

/* Is the queue short? Looking at what could be handed out has its price. */
static bool is_due(struct workers *workers)
{
	return slm_workers_queued(workers) <= slm_workers_window(workers) / 2;
}

static void hand_out_runs(struct explorer *explorer,
			  struct slm_strategy *const *strategies,
			  unsigned count)
{
	unsigned window = slm_workers_window(explorer->workers);
	struct handing handing = { .explorer = explorer };

	if (!is_due(explorer->workers))
		return;
	for (unsigned i = 0; i < count; i++) {
		handing.index = i;
		slm_strategy_ahead(strategies[i], window / count, hand_out,
				   &handing);
	}
}

static void hand_out_lines(struct explorer *explorer, unsigned line)
{
	const struct plan *plan = explorer->plan;
	unsigned end = line + slm_workers_window(explorer->workers);

	if (!is_due(explorer->workers))
		return;
	/* The first line comes first, or again after all was forgotten. */
	if (line == 0)
		explorer->lines_out = 0;
	if (explorer->lines_out < line)
		explorer->lines_out = line;
	for (;
	     explorer->lines_out < end && explorer->lines_out < plan->nscripts;
	     explorer->lines_out++) {
		struct job *job = slm_workers_new_job(explorer->workers);

		if (!job)
			return;
		job->id = explorer->lines_out + 1;
		job->script = &plan->scripts[explorer->lines_out];
		slm_workers_submit(explorer->workers, job);
	}
}

void slm_ahead_begin(struct explorer *explorer,
		     const enum slm_strategy_kind *kinds, unsigned count)
{
	struct slm_strategy_config config;

	slm_workers_drop(explorer->workers);
	slm_explorer_strategy_config(explorer, &config);
	slm_workers_set_samplers(explorer->workers, kinds, count, &config);
}

/* ---- Taking ------------------------------------------------------------ */

static void swap_runners(struct slm_runner *a, struct slm_runner *b)
{
	struct slm_runner c = *a;

	*a = *b;
	*b = c;
}

/* Counts a run that was made ahead, as slm_findings_add() does. */
static enum sqloom_status add(struct explorer *explorer, struct job *job,
			      struct sqloom_error *err)
{
	enum sqloom_status status = job->status;

	if (status) {
		if (err)
			*err = job->err;
		explorer->db->interrupted |= job->interrupted;
		return status;
	}
	if (!job->described)
		return slm_findings_add_made(explorer, job->key, NULL, err);
	swap_runners(&explorer->main, &job->runner);
	status = slm_findings_add_made(explorer, job->key, &job->run_seen, err);
	swap_runners(&explorer->main, &job->runner);
	return status;
}

enum sqloom_status slm_ahead_run(struct explorer *explorer,
				 struct slm_strategy *const *strategies,
				 unsigned count, unsigned turn,
				 enum slm_learn *learnt,
				 struct sqloom_error *err)
{
	struct slm_strategy *strategy = strategies[turn];
	struct job *job = NULL;
	enum sqloom_status status;
	uint64_t next;

	hand_out_runs(explorer, strategies, count);
	next = slm_strategy_next(strategy);
	status = next ? slm_workers_take(explorer->workers, job_id(next, turn),
					 &job, err) :
			SQLOOM_OK;
	if (status)
		return status;
	if (!job)
		return slm_explorer_run(explorer, strategy, learnt, err);
	status = add(explorer, job, err);
	explorer->runs += !status;
	if (!status)
		status = slm_strategy_learn_from(strategy, &job->record, learnt,
						 err);
	slm_workers_give_back(explorer->workers, job);
	return status;
}

enum sqloom_status slm_ahead_line(struct explorer *explorer, unsigned line,
				  struct sqloom_error *err)
{
	struct job *job;
	enum sqloom_status status;

	hand_out_lines(explorer, line);
	status = slm_workers_take(explorer->workers, (uint64_t)line + 1, &job,
				  err);
	if (status)
		return status;
	if (!job)
		return slm_explorer_run_line(explorer, line, err);
	if (job->status || job->failed_at < 0) {
		status = add(explorer, job, err);
		explorer->runs += !status;
	}
	explorer->main.failed_at = job->failed_at;
	slm_workers_give_back(explorer->workers, job);
	return status;
}
