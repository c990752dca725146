/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs made ahead: whatever is handed out, in whatever order it is run, the
 * strategy learns the same in the same order as without, every schedule is
 * run exactly once, and the tree stays within its limit.
 */
#include "simulate.h"

#include "base/hash.h"

#define JOBS_MAX 64

/* A run that was handed out. */
struct job {
	uint64_t id; /* 0: free */
	uint64_t number;
	uint8_t picks[SIM_STEPS_MAX];
	unsigned length;
	bool made;
	struct slm_record record;
	struct sim_run run;
};

struct pool {
	const struct sim_model *model;
	struct slm_strategy *follower;
	struct slm_strategy *sampler; /* NULL: runs by picks */
	struct job jobs[JOBS_MAX];
	unsigned room; /* jobs that may be there at once */
	size_t handed_out, taken;
	struct slm_rng rng;
};

static void pool_init(struct pool *pool, const struct sim_model *model,
		      unsigned room, uint64_t seed)
{
	memset(pool, 0, sizeof(*pool));
	pool->model = model;
	pool->room = room;
	slm_rng_init(&pool->rng, seed);
	assert_int_equal(slm_strategy_follow_new(model->ncalls, &pool->follower,
						 NULL),
			 SQLOOM_OK);
}

static void pool_deinit(struct pool *pool)
{
	for (unsigned i = 0; i < JOBS_MAX; i++)
		slm_record_deinit(&pool->jobs[i].record);
	slm_strategy_free(pool->follower);
	slm_strategy_free(pool->sampler);
}

static struct job *find(struct pool *pool, uint64_t id)
{
	for (unsigned i = 0; i < pool->room; i++)
		if (pool->jobs[i].id == id)
			return &pool->jobs[i];
	return NULL;
}

static bool keep(const struct slm_ahead *ahead, void *userdata)
{
	struct pool *pool = userdata;
	struct job *job = find(pool, 0);

	assert_true(ahead->id != 0);
	assert_null(find(pool, ahead->id));
	if (!job)
		return false;
	job->id = ahead->id;
	job->number = ahead->run;
	job->length = ahead->length;
	job->made = false;
	assert_true(ahead->length <= SIM_STEPS_MAX);
	if (ahead->length)
		memcpy(job->picks, ahead->picks, ahead->length);
	pool->handed_out++;
	return true;
}

/* As a worker makes it. */
static void make(struct pool *pool, struct job *job)
{
	struct slm_strategy *strategy = pool->follower;

	if (pool->sampler) {
		strategy = pool->sampler;
		slm_strategy_skip_to(strategy, job->number);
	} else {
		slm_strategy_follow(strategy, job->picks, job->length,
				    &job->record);
	}
	sim_run_learn(strategy, pool->model, &job->run);
	job->made = true;
}

static void make_some(struct pool *pool)
{
	for (unsigned i = 0; i < pool->room; i++) {
		struct job *job = &pool->jobs[i];

		if (job->id && !job->made && slm_rng_below(&pool->rng, 2))
			make(pool, job);
	}
}

/* The next run of the strategy, which was made ahead or not. */
static enum slm_learn next_run(struct pool *pool, struct slm_strategy *strategy,
			       struct sim_run *run)
{
	uint64_t id = slm_strategy_next(strategy);
	struct job *job = id ? find(pool, id) : NULL;
	enum slm_learn learnt = SLM_LEARN_DIVERGED;

	if (!job)
		return sim_run_learn(strategy, pool->model, run);
	job->id = 0;
	pool->taken++;
	if (!job->made && slm_rng_below(&pool->rng, 2))
		return sim_run_learn(strategy, pool->model, run);
	if (!job->made)
		make(pool, job);
	*run = job->run;
	assert_int_equal(slm_strategy_learn_from(strategy, &job->record,
						 &learnt, NULL),
			 SQLOOM_OK);
	return learnt;
}

/* ---- Exhaustive ---------------------------------------------------------- */

static struct slm_strategy *exhaustive(const struct sim_model *model, int bound,
				       uint64_t nodes_max)
{
	struct slm_strategy *strategy =
		sim_strategy(SLM_STRATEGY_EXHAUSTIVE, model, 0, bound);

	if (nodes_max)
		slm_strategy_exhaustive_set_nodes_max(strategy, nodes_max);
	return strategy;
}

/* Explores twice, with and without runs made ahead: the same, step by step. */
static size_t check(const struct sim_model *model, int bound,
		    uint64_t nodes_max, unsigned room, unsigned window)
{
	int64_t live = slm_alloc_live();
	struct slm_strategy *one = exhaustive(model, bound, nodes_max);
	struct slm_strategy *many = exhaustive(model, bound, nodes_max);
	struct sim_set seen = { .count = 0 };
	struct sim_set all = sim_brute_force(model, bound);
	enum slm_learn expected = SLM_LEARN_MORE;
	struct pool pool;

	pool_init(&pool, model, room, window);
	while (expected == SLM_LEARN_MORE) {
		struct sim_run by_one, by_many;

		slm_strategy_ahead(many, window, keep, &pool);
		make_some(&pool);
		expected = sim_run_learn(one, model, &by_one);
		assert_int_equal(next_run(&pool, many, &by_many), expected);
		assert_string_equal(by_many.schedule, by_one.schedule);
		assert_int_equal(slm_strategy_exhaustive_nodes(many),
				 slm_strategy_exhaustive_nodes(one));
		assert_true(slm_strategy_left(many) == slm_strategy_left(one));
		sim_add(&seen, by_many.schedule);
	}
	assert_int_equal(expected, SLM_LEARN_DONE);
	sim_assert_same(&seen, &all);
	/* Nothing was made in vain. */
	assert_int_equal(pool.handed_out, pool.taken);
	sim_set_free(&seen);
	sim_set_free(&all);
	slm_strategy_free(one);
	slm_strategy_free(many);
	pool_deinit(&pool);
	assert_int_equal(slm_alloc_live(), live);
	return pool.taken;
}

static void test_every_schedule_once(void **state)
{
	const struct sim_model model = { 3, { 3, 3, 3 }, 0 };
	const struct sim_model lockers = { 3, { 4, 3, 3 }, 7 };
	static const unsigned sizes[] = { 1, 2, 3, 7, 64 };

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		/* Nearly all 1,680 of them can be handed out. */
		assert_true(check(&model, -1, 0, sizes[i], sizes[i]) > 1500);
		check(&model, 1, 0, sizes[i], sizes[i]);
		check(&model, -1, 9, sizes[i], sizes[i]);
		check(&lockers, -1, 0, sizes[i], sizes[i]);
	}
}

static void test_random_models(void **state)
{
	struct slm_rng rng;

	(void)state;
	slm_rng_init(&rng, 23);
	for (unsigned i = 0; i < 300; i++) {
		struct sim_model model = {
			.ncalls = 1 + (unsigned)slm_rng_below(&rng, 4),
			.lockers = (uint32_t)slm_rng_next(&rng),
		};
		uint64_t nodes_max = slm_rng_below(&rng, 40);
		int bound = (int)slm_rng_below(&rng, 6) - 1;
		unsigned room = 1 + (unsigned)slm_rng_below(&rng, JOBS_MAX);
		unsigned window = 1 + (unsigned)slm_rng_below(&rng, JOBS_MAX);

		for (unsigned j = 0; j < model.ncalls; j++)
			model.steps[j] = 1 + (unsigned)slm_rng_below(&rng, 3);
		check(&model, bound, nodes_max, room, window);
	}
}

/* ---- Random strategies --------------------------------------------------- */

static void test_random_strategies(void **state)
{
	static const enum slm_strategy_kind kinds[] = { SLM_STRATEGY_RANDOM,
							SLM_STRATEGY_UNIFORM,
							SLM_STRATEGY_PCT };
	const struct sim_model model = { 3, { 4, 3, 5 }, 3 };

	(void)state;
	for (unsigned k = 0; k < 3; k++) {
		struct slm_strategy *one = sim_strategy(kinds[k], &model, 9, 4);
		struct slm_strategy *many =
			sim_strategy(kinds[k], &model, 9, 4);
		struct pool pool;

		pool_init(&pool, &model, 16, k);
		pool.sampler = sim_strategy(kinds[k], &model, 9, 4);
		for (unsigned i = 0; i < 500; i++) {
			struct sim_run by_one, by_many;

			slm_strategy_ahead(many, 20, keep, &pool);
			make_some(&pool);
			sim_run_learn(one, &model, &by_one);
			assert_int_equal(next_run(&pool, many, &by_many),
					 SLM_LEARN_MORE);
			assert_string_equal(by_many.schedule, by_one.schedule);
		}
		assert_true(pool.taken >= 400);
		slm_strategy_free(one);
		slm_strategy_free(many);
		pool_deinit(&pool);
	}
}

/* ---- Runs that do not go as they should ---------------------------------- */

/* The run that is handed back left its path: that is noticed, and from then
 * on said in place of DONE. */
static void test_divergence(void **state)
{
	const struct sim_model model = { 2, { 2, 2 }, 0 };
	struct slm_strategy *strategy = exhaustive(&model, -1, 0);
	enum slm_learn learnt = SLM_LEARN_MORE;
	struct sim_run run;
	struct pool pool;

	(void)state;
	pool_init(&pool, &model, 8, 1);
	sim_run_learn(strategy, &model, &run);
	slm_strategy_ahead(strategy, 8, keep, &pool);
	for (unsigned i = 0; i < pool.room; i++)
		if (pool.jobs[i].id)
			make(&pool, &pool.jobs[i]);
	{
		struct job *job = find(&pool, slm_strategy_next(strategy));

		assert_non_null(job);
		job->record.picked[0].enabled = 1;
		job->record.picked[0].call = 0;
		job->record.count = 1;
	}
	assert_int_equal(next_run(&pool, strategy, &run), SLM_LEARN_DIVERGED);
	do {
		learnt = next_run(&pool, strategy, &run);
	} while (learnt == SLM_LEARN_MORE);
	assert_int_equal(learnt, SLM_LEARN_DIVERGED);
	slm_strategy_free(strategy);
	pool_deinit(&pool);
}

/* Picks that cannot be followed end the following, not the run. */
static void test_follow_what_cannot_be(void **state)
{
	const struct sim_model model = { 2, { 2, 2 }, 0 };
	const uint8_t picks[] = { 1, 1, 1, 0 };
	struct slm_record record = { .count = 0 };
	struct slm_strategy *follower = NULL;
	struct sim_run run;

	(void)state;
	assert_int_equal(slm_strategy_follow_new(2, &follower, NULL),
			 SQLOOM_OK);
	slm_strategy_follow(follower, picks, 4, &record);
	sim_run_learn(follower, &model, &run);
	assert_string_equal(run.schedule, "bbaa");
	assert_int_equal(record.count, 4);
	assert_int_equal(record.picked[2].enabled, 1);
	assert_int_equal(record.picked[2].previous, 1);
	assert_int_equal(record.picked[2].call, 0);
	slm_strategy_follow(follower, picks, 1, &record);
	sim_run_learn(follower, &model, &run);
	assert_string_equal(run.schedule, "bbaa");
	assert_int_equal(record.count, 4);
	slm_strategy_free(follower);
	slm_record_deinit(&record);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_schedule_once),
		cmocka_unit_test(test_random_models),
		cmocka_unit_test(test_random_strategies),
		cmocka_unit_test(test_divergence),
		cmocka_unit_test(test_follow_what_cannot_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
