/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads of the workers and their queue. One mutex guards all that is
 * shared; it is held for a few loads and stores at a time, so that even runs
 * of microseconds can be handed over one by one.
 *
 * Invariants:
 * - A job is the owner's while it is free or done, in the queue while it is
 *   queued, and one worker's while it runs. All but free ones are found by id.
 * - The owner is worker 0: it makes runs on the explorer's own database.
 * - What a worker reads of the explorer (spec, settings, plan) does not change
 *   while there are jobs.
 */
#include "explore/workers.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"

#define PLACES 256 /* of the table of ids; a power of two */
#define WINDOW_PER_WORKER 32
#define JOBS_PER_WINDOW 4 /* turns of new runs come between those of old ones */
#define QUEUED_PER_WORKER 4	       /* fewer are not worth one more */
#define WEIGHT_MAX (UINT64_C(1) << 26) /* bytes of contents that wait */
#define SAMPLERS_MAX 2

struct worker {
	struct workers *pool;
	unsigned number; /* from 0, the owner */
	pthread_t thread;
	struct slm_db *db;
	struct slm_runner runner;
	struct slm_strategy *follower;
	struct slm_strategy *samplers[SAMPLERS_MAX];
	unsigned samplers_age; /* pool->samplers_age when they were made */
};

struct workers {
	struct explorer *explorer; /* borrowed */
	struct worker *all;	   /* count */
	unsigned count;
	unsigned started; /* threads; they are all[1] to all[started] */

	pthread_mutex_t opening; /* databases are opened one by one */
	pthread_mutex_t mutex;	 /* guards what follows, jobs, outcomes */
	pthread_cond_t work;	 /* for the workers */
	pthread_cond_t done;	 /* for the owner */
	atomic_bool cancel;	 /* what runs is not wanted any more */
	bool closing;		 /* the threads are to end */
	bool owner_waits;
	const struct job *needed; /* what the owner makes another run for */
	unsigned idle;		  /* workers that wait for work */
	unsigned running, queued;
	struct job *first, **last; /* the queue */
	struct job *places[PLACES];
	uint64_t weight;		/* of the jobs that are done */
	enum sqloom_status open_status; /* of the worker that failed */
	struct sqloom_error open_error;

	/* The owner's; the workers read them while they have a job. */
	struct job *unused;
	struct job **jobs; /* all, owned */
	unsigned njobs, jobs_max;
	enum slm_strategy_kind kinds[SAMPLERS_MAX];
	struct slm_strategy_config config;
	unsigned steps[SLM_CALLS_MAX];
	unsigned samplers_age;
};

void slm_workers_lock(struct workers *workers)
{
	if (workers)
		pthread_mutex_lock(&workers->mutex);
}

void slm_workers_unlock(struct workers *workers)
{
	if (workers)
		pthread_mutex_unlock(&workers->mutex);
}

/* ---- One run ----------------------------------------------------------- */

static void free_samplers(struct worker *worker)
{
	for (unsigned i = 0; i < SAMPLERS_MAX; i++) {
		slm_strategy_free(worker->samplers[i]);
		worker->samplers[i] = NULL;
	}
}

/* The worker's own instance of a random strategy, at the run of the job. */
static enum sqloom_status aim_sampler(struct worker *worker,
				      const struct job *job,
				      struct slm_director *out,
				      struct sqloom_error *err)
{
	struct workers *pool = worker->pool;
	unsigned index = job->sampler - 1;
	enum sqloom_status status = SQLOOM_OK;

	if (worker->samplers_age != pool->samplers_age)
		free_samplers(worker);
	worker->samplers_age = pool->samplers_age;
	if (!worker->samplers[index])
		status = slm_strategy_new(pool->kinds[index], &pool->config,
					  &worker->samplers[index], err);
	if (status)
		return status;
	out->strategy = worker->samplers[index];
	slm_strategy_skip_to(out->strategy, job->run);
	return SQLOOM_OK;
}

/* Makes the director of the run. */
static enum sqloom_status aim(struct worker *worker, struct job *job,
			      struct slm_director *out,
			      struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	if (job->script) {
		out->script = job->script->steps;
		out->nscript = job->script->nsteps;
		return SQLOOM_OK;
	}
	if (job->sampler)
		return aim_sampler(worker, job, out, err);
	if (!worker->follower)
		status = slm_strategy_follow_new(
			worker->pool->explorer->spec->nsessions,
			&worker->follower, err);
	if (status)
		return status;
	slm_strategy_follow(worker->follower, job->picks, job->npicks,
			    &job->record);
	out->strategy = worker->follower;
	return SQLOOM_OK;
}

static uint64_t weight_of(const struct slm_contents *contents)
{
	uint64_t values = 0;

	for (uint32_t i = 0; i < contents->ntables; i++)
		values += contents->tables[i].nrows *
			  contents->tables[i].ncolumns;
	return values * 2 * sizeof(struct slm_value);
}

static bool copy_columns(struct slm_arena *arena, struct slm_rows *rows)
{
	const char **columns =
		slm_arena_zalloc(arena, rows->ncolumns, sizeof(*columns));

	if (!columns)
		return false;
	for (uint32_t i = 0; i < rows->ncolumns; i++) {
		if (!rows->columns[i])
			continue;
		columns[i] = slm_arena_strdup(arena, rows->columns[i]);
		if (!columns[i])
			return false;
	}
	rows->columns = columns;
	return true;
}

/* Results borrow the names of their columns from the database, which may free
 * them in its next run: that is too early here. */
static bool own_columns(struct slm_runner *runner)
{
	for (uint32_t i = 0; i < runner->nevents; i++) {
		/* Made by the worker's own run, and still its own. */
		struct slm_result *result =
			(struct slm_result *)runner->events[i].result;

		for (; result; result = (struct slm_result *)result->next)
			if (result->rows.ncolumns &&
			    !copy_columns(&runner->arena, &result->rows))
				return false;
	}
	return true;
}

/* Reads what is needed to judge the run, unless one like it was judged. */
static enum sqloom_status describe(struct worker *worker, struct job *job,
				   struct sqloom_error *err)
{
	struct explorer *explorer = worker->pool->explorer;
	struct slm_runner *runner = &worker->runner;
	struct slm_runner other;
	enum sqloom_status status;
	bool known;

	job->key = slm_findings_key(runner);
	slm_workers_lock(worker->pool);
	known = slm_findings_know(explorer, job->key);
	slm_workers_unlock(worker->pool);
	if (known)
		return SQLOOM_OK;
	status = slm_findings_describe(runner, &job->run_seen, err);
	if (!status && !own_columns(runner))
		status = slm_error_nomem(err);
	if (status)
		return status;
	job->weight = weight_of(job->run_seen.contents);
	job->described = true;
	other = job->runner;
	job->runner = *runner;
	*runner = other;
	return SQLOOM_OK;
}

/* Runs the job on the worker's database. */
static void execute(struct worker *worker, struct job *job)
{
	struct explorer *explorer = worker->pool->explorer;
	struct slm_runner *runner = &worker->runner;
	struct slm_director director = { 0 };
	struct slm_db *db = worker->db;
	bool wanted = db->wants_clone, interrupted = db->interrupted;

	db->wants_clone = false;
	db->interrupted = false;
	runner->db = db;
	runner->spec = explorer->spec;
	runner->stop_on_error = explorer->settings.stop_on_error;
	runner->plan = &explorer->plan->steps;
	job->described = false;
	job->weight = 0;
	job->failed_at = -1;
	job->status = aim(worker, job, &director, &job->err);
	if (!job->status) {
		job->status = slm_run(runner, explorer->plan->members, 0,
				      &director, &job->err);
		if (director.strategy)
			slm_strategy_learn(director.strategy);
		job->failed_at = runner->failed_at;
	}
	if (!job->status && job->failed_at < 0)
		job->status = describe(worker, job, &job->err);
	job->interrupted = job->status == SQLOOM_LIMIT && db->interrupted;
	job->unfit = db->wants_clone;
	/* Whether it was made ahead must make no difference to the owner. */
	db->wants_clone = wanted;
	db->interrupted = interrupted;
}

/* ---- The queue: under the mutex ---------------------------------------- */

static struct job **place_of(struct workers *workers, uint64_t id)
{
	return &workers->places[slm_hash_mix(id, 0) & (PLACES - 1)];
}

static struct job *find(struct workers *workers, uint64_t id)
{
	struct job *job = *place_of(workers, id);

	while (job && job->id != id)
		job = job->chain;
	return job;
}

static void forget(struct workers *workers, struct job *job)
{
	struct job **link = place_of(workers, job->id);

	while (*link != job)
		link = &(*link)->chain;
	*link = job->chain;
}

static void enqueue(struct workers *workers, struct job *job)
{
	struct job **place = place_of(workers, job->id);

	job->chain = *place;
	*place = job;
	job->next = NULL;
	*workers->last = job;
	workers->last = &job->next;
	job->state = JOB_QUEUED;
	workers->queued++;
}

/* Takes the job out, wherever it is. */
static void dequeue(struct workers *workers, struct job *job)
{
	struct job **link = &workers->first;

	while (*link != job)
		link = &(*link)->next;
	*link = job->next;
	if (workers->last == &job->next)
		workers->last = link;
	workers->queued--;
}

/* The next job to run, or NULL. */
static struct job *begin_job(struct workers *workers)
{
	struct job *job = workers->first;

	if (!job || workers->weight > WEIGHT_MAX)
		return NULL;
	dequeue(workers, job);
	job->state = JOB_RUNNING;
	workers->running++;
	return job;
}

static void end_job(struct workers *workers, struct job *job)
{
	job->state = JOB_DONE;
	workers->running--;
	workers->weight += job->weight;
	if (workers->owner_waits)
		pthread_cond_signal(&workers->done);
}

/* ---- The threads ------------------------------------------------------- */

/* Asked while a statement of a worker runs. */
static bool worker_goes_on(void *userdata)
{
	struct workers *workers = userdata;

	return !atomic_load_explicit(&workers->cancel, memory_order_relaxed);
}

/* Under the mutex. */
static void work(struct worker *worker)
{
	struct workers *pool = worker->pool;

	while (!pool->closing) {
		struct job *job = pool->cancel ? NULL : begin_job(pool);

		if (!job) {
			pool->idle++;
			pthread_cond_wait(&pool->work, &pool->mutex);
			pool->idle--;
			continue;
		}
		pthread_mutex_unlock(&pool->mutex);
		execute(worker, job);
		pthread_mutex_lock(&pool->mutex);
		end_job(pool, job);
	}
}

static void *worker_main(void *userdata)
{
	struct worker *worker = userdata;
	struct workers *pool = worker->pool;
	struct sqloom_error err = { 0 };
	enum sqloom_status status;

	pthread_mutex_lock(&pool->opening);
	status = slm_explorer_open_database(pool->explorer, worker->number,
					    worker_goes_on, pool, &worker->db,
					    &err);
	pthread_mutex_unlock(&pool->opening);
	pthread_mutex_lock(&pool->mutex);
	if (!status) {
		work(worker);
	} else if (!pool->open_status && !pool->closing) {
		pool->open_status = status;
		pool->open_error = err;
		if (pool->owner_waits)
			pthread_cond_signal(&pool->done);
	}
	pthread_mutex_unlock(&pool->mutex);
	slm_db_free(worker->db);
	worker->db = NULL;
	return NULL;
}

/* Starts a thread that gets no signals; where there can be no more threads, it
 * goes on with those there are. */
static void start_thread(struct workers *workers)
{
	struct worker *worker = &workers->all[workers->started + 1];
	sigset_t all, before;
	int failed;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	failed = pthread_create(&worker->thread, NULL, worker_main, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed)
		workers->count = workers->started + 1;
	else
		workers->started++;
}

/* ---- Making and freeing ------------------------------------------------ */

static void init_locks(struct workers *workers)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_mutex_init(&workers->opening, NULL);
	pthread_mutex_init(&workers->mutex, NULL);
	pthread_cond_init(&workers->work, NULL);
	pthread_cond_init(&workers->done, &attributes);
	pthread_condattr_destroy(&attributes);
}

enum sqloom_status slm_workers_new(struct explorer *explorer, unsigned count,
				   struct workers **out,
				   struct sqloom_error *err)
{
	struct workers *workers = slm_calloc(1, sizeof(*workers));

	assert(count > 1);
	if (!workers)
		return slm_error_nomem(err);
	workers->jobs_max = count * WINDOW_PER_WORKER * JOBS_PER_WINDOW;
	workers->all = slm_calloc(count, sizeof(*workers->all));
	workers->jobs = slm_calloc(workers->jobs_max, sizeof(struct job *));
	if (!workers->all || !workers->jobs) {
		slm_free(workers->all);
		slm_free(workers->jobs);
		slm_free(workers);
		return slm_error_nomem(err);
	}
	workers->explorer = explorer;
	workers->count = count;
	workers->last = &workers->first;
	for (unsigned i = 0; i < count; i++) {
		workers->all[i].pool = workers;
		workers->all[i].number = i;
		slm_runner_init(&workers->all[i].runner);
	}
	workers->all[0].db = explorer->db;
	init_locks(workers);
	*out = workers;
	return SQLOOM_OK;
}

enum sqloom_status slm_workers_stop(struct workers *workers,
				    struct sqloom_error *err)
{
	enum sqloom_status status;

	slm_workers_drop(workers);
	pthread_mutex_lock(&workers->mutex);
	workers->closing = true;
	atomic_store(&workers->cancel, true);
	pthread_cond_broadcast(&workers->work);
	pthread_mutex_unlock(&workers->mutex);
	for (; workers->started; workers->started--)
		pthread_join(workers->all[workers->started].thread, NULL);
	status = workers->open_status;
	workers->open_status = SQLOOM_OK;
	if (status && err)
		*err = workers->open_error;
	return status;
}

static void free_job(struct job *job)
{
	slm_free(job->picks);
	slm_record_deinit(&job->record);
	slm_runner_deinit(&job->runner);
	slm_free(job);
}

void slm_workers_free(struct workers *workers)
{
	if (!workers)
		return;
	slm_workers_stop(workers, NULL);
	for (unsigned i = 0; i < workers->njobs; i++)
		free_job(workers->jobs[i]);
	for (unsigned i = 0; i < workers->count; i++) {
		free_samplers(&workers->all[i]);
		slm_strategy_free(workers->all[i].follower);
		slm_runner_deinit(&workers->all[i].runner);
	}
	pthread_cond_destroy(&workers->done);
	pthread_cond_destroy(&workers->work);
	pthread_mutex_destroy(&workers->mutex);
	pthread_mutex_destroy(&workers->opening);
	slm_free(workers->jobs);
	slm_free(workers->all);
	slm_free(workers);
}

/* ---- What the owner does ----------------------------------------------- */

unsigned slm_workers_window(const struct workers *workers)
{
	return workers->count * WINDOW_PER_WORKER;
}

unsigned slm_workers_queued(struct workers *workers)
{
	unsigned queued;

	pthread_mutex_lock(&workers->mutex);
	queued = workers->queued;
	pthread_mutex_unlock(&workers->mutex);
	return queued;
}

void slm_workers_set_samplers(struct workers *workers,
			      const enum slm_strategy_kind *kinds,
			      unsigned count,
			      const struct slm_strategy_config *config)
{
	assert(count <= SAMPLERS_MAX && workers->running == 0);
	for (unsigned i = 0; i < count; i++)
		workers->kinds[i] = kinds[i];
	workers->config = *config;
	memcpy(workers->steps, config->steps,
	       config->ncalls * sizeof(workers->steps[0]));
	workers->config.steps = workers->steps;
	workers->samplers_age++;
}

struct job *slm_workers_new_job(struct workers *workers)
{
	struct job *job = workers->unused;

	if (job) {
		workers->unused = job->next;
	} else {
		if (workers->njobs == workers->jobs_max)
			return NULL;
		job = slm_calloc(1, sizeof(*job));
		if (!job)
			return NULL;
		slm_runner_init(&job->runner);
		workers->jobs[workers->njobs++] = job;
	}
	job->script = NULL;
	job->sampler = 0;
	job->npicks = 0;
	job->unfit = false;
	return job;
}

void slm_workers_submit(struct workers *workers, struct job *job)
{
	bool more;

	assert(job->id != 0 && job->state == JOB_FREE);
	pthread_mutex_lock(&workers->mutex);
	enqueue(workers, job);
	if (workers->idle)
		pthread_cond_signal(&workers->work);
	more = workers->started + 1 < workers->count &&
	       workers->queued > QUEUED_PER_WORKER * (workers->started + 1);
	pthread_mutex_unlock(&workers->mutex);
	if (more)
		start_thread(workers);
}

/* Under the mutex: waits for a job that is done, at most PROGRESS_MS. */
static void wait_a_while(struct workers *workers)
{
	struct timespec until;
	int ended;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += PROGRESS_MS * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	workers->owner_waits = true;
	ended = pthread_cond_timedwait(&workers->done, &workers->mutex, &until);
	workers->owner_waits = false;
	if (ended != ETIMEDOUT)
		return;
	pthread_mutex_unlock(&workers->mutex);
	if (!slm_explorer_goes_on(workers->explorer, -1, 1))
		atomic_store(&workers->cancel, true);
	pthread_mutex_lock(&workers->mutex);
}

bool slm_workers_owner_goes_on(struct workers *workers)
{
	bool in_vain;

	if (!workers)
		return true;
	pthread_mutex_lock(&workers->mutex);
	in_vain = workers->needed && workers->needed->state == JOB_DONE;
	pthread_mutex_unlock(&workers->mutex);
	return !in_vain;
}

/* Under the mutex: while another worker has the needed job, makes another run,
 * or waits. The other run may never end: it is given up when it is asked
 * whether to go on and the needed one is done. */
static void pass_time(struct workers *workers, const struct job *needed)
{
	struct job *job = workers->cancel ? NULL : begin_job(workers);

	if (!job) {
		wait_a_while(workers);
		return;
	}
	workers->needed = needed;
	pthread_mutex_unlock(&workers->mutex);
	execute(&workers->all[0], job);
	pthread_mutex_lock(&workers->mutex);
	workers->needed = NULL;
	job->unfit |= job->interrupted;
	end_job(workers, job);
}

static void make_free(struct workers *workers, struct job *job)
{
	job->state = JOB_FREE;
	job->next = workers->unused;
	workers->unused = job;
}

enum sqloom_status slm_workers_take(struct workers *workers, uint64_t id,
				    struct job **out, struct sqloom_error *err)
{
	enum sqloom_status status;
	struct job *job;

	pthread_mutex_lock(&workers->mutex);
	job = find(workers, id);
	while (job && job->state == JOB_RUNNING && !workers->open_status)
		pass_time(workers, job);
	status = workers->open_status;
	if (status && err)
		*err = workers->open_error;
	if (!status && job) {
		forget(workers, job);
		workers->weight -= job->state == JOB_DONE ? job->weight : 0;
		if (job->state == JOB_QUEUED)
			dequeue(workers, job);
		if (job->state == JOB_QUEUED || job->unfit) {
			make_free(workers, job);
			job = NULL;
		}
	}
	/* There may be room for what weighs more. */
	if (workers->idle && workers->queued)
		pthread_cond_signal(&workers->work);
	pthread_mutex_unlock(&workers->mutex);
	if (!status)
		*out = job;
	return status;
}

void slm_workers_give_back(struct workers *workers, struct job *job)
{
	/* Much memory for one run: the next may need little. */
	if (job->weight > WEIGHT_MAX / workers->jobs_max)
		slm_runner_deinit(&job->runner);
	make_free(workers, job);
}

void slm_workers_drop(struct workers *workers)
{
	if (!workers)
		return;
	pthread_mutex_lock(&workers->mutex);
	atomic_store(&workers->cancel, true);
	while (workers->running) {
		workers->owner_waits = true;
		pthread_cond_wait(&workers->done, &workers->mutex);
		workers->owner_waits = false;
	}
	atomic_store(&workers->cancel, false);
	for (unsigned i = 0; i < workers->njobs; i++) {
		struct job *job = workers->jobs[i];

		if (job->state != JOB_FREE)
			make_free(workers, job);
	}
	memset(workers->places, 0, sizeof(workers->places));
	workers->first = NULL;
	workers->last = &workers->first;
	workers->queued = 0;
	workers->weight = 0;
	pthread_mutex_unlock(&workers->mutex);
}
