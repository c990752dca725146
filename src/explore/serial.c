/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serial runs: the calls one after another, each order at least twice, the
 * second time with other random numbers. All orders up to
 * ALL_ORDERS_UP_TO calls; above, a sample that begins with the order of the
 * spec and its reverse.
 */
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/hash.h"
#include "explore/explorer.h"

#define WARM_UP_RUNS 6

static enum sqloom_status describe(struct explorer *explorer,
				   struct slm_runner *runner,
				   struct slm_run *out,
				   struct slm_contents *contents,
				   struct sqloom_error *err)
{
	*out = (struct slm_run){ .members = runner->members,
				 .events = runner->events,
				 .nevents = runner->nevents,
				 .contents = contents };
	return slm_db_contents(explorer->db, contents, err);
}

/* Choices per call, for strategies that want to know them. */
static void count_choices(struct explorer *explorer)
{
	memset(explorer->choices, 0, sizeof(explorer->choices));
	for (uint32_t i = 0; i < explorer->first.nletters; i++)
		explorer->choices[explorer->first.schedule[i]]++;
}

/* A check that fails without any concurrency says little about it. */
static enum sqloom_status note_checks(struct explorer *explorer,
				      const char *order,
				      struct sqloom_error *err)
{
	const struct slm_check_failure *failures;
	uint32_t count;
	enum sqloom_status status =
		slm_db_checks(explorer->db, &failures, &count, err);

	/* Told once, for the first order it fails in. */
	if (status || explorer->checks_noted)
		return status;
	explorer->checks_noted = count > 0;
	for (uint32_t i = 0; !status && i < count; i++)
		if (!slm_note(explorer,
			      "check \"%s\" fails in the serial run %s too: it "
			      "does not need concurrency",
			      failures[i].name, order))
			status = slm_error_nomem(err);
	return status;
}

/* Runs the order again as another variant and compares with the first run.
 * known: the oracle has the order already. */
static enum sqloom_status run_again(struct explorer *explorer,
				    const char *order, unsigned variant,
				    bool known, const struct slm_run *first,
				    struct sqloom_error *err)
{
	struct slm_director director = { .order = order };
	struct slm_contents contents;
	struct slm_run again;
	enum sqloom_status status;
	bool remasked = false;

	status = slm_explorer_make(explorer, &explorer->again, first->members,
				   variant, &director, err);
	if (!status)
		status = describe(explorer, &explorer->again, &again, &contents,
				  err);
	if (!status)
		status = (known ? slm_oracle_compare_serial :
				  slm_oracle_add_serial)(
			explorer->oracle, order, first, &again, &remasked, err);
	explorer->remasked |= remasked;
	explorer->trace->reruns++;
	return status;
}

static enum sqloom_status run_order(struct explorer *explorer, uint32_t members,
				    const char *order, struct sqloom_error *err)
{
	struct slm_director director = { .order = order };
	struct slm_contents contents;
	struct slm_run first;
	enum sqloom_status status;

	status = slm_explorer_make(explorer, &explorer->first, members, 0,
				   &director, err);
	if (!status)
		status = describe(explorer, &explorer->first, &first, &contents,
				  err);
	if (!status && members == explorer->plan->members)
		status = note_checks(explorer, order, err);
	explorer->trace->reruns++;
	for (unsigned i = 1; !status && i < explorer->db->variants; i++)
		status = run_again(explorer, order, i, i > 1, &first, err);
	if (!status && members == explorer->plan->members)
		count_choices(explorer);
	return status;
}

/* The calls in their order, first to last. */
static void first_order(const struct explorer *explorer, uint32_t members,
			char order[SLM_CALLS_MAX + 1])
{
	unsigned n = 0;

	for (unsigned i = 0; i < explorer->plan->steps.ncalls; i++)
		if (members & (1u << i))
			order[n++] = (char)('a' + i);
	order[n] = '\0';
}

static void swap(char *a, char *b)
{
	char c = *a;

	*a = *b;
	*b = c;
}

/* The next order in lexical sequence; false after the last. */
static bool next_order(char *order, unsigned n)
{
	unsigned i = n, j = n;

	while (i > 1 && order[i - 2] >= order[i - 1])
		i--;
	if (i <= 1)
		return false;
	while (order[j - 1] <= order[i - 2])
		j--;
	swap(&order[i - 2], &order[j - 1]);
	for (unsigned low = i - 1, high = n - 1; low < high; low++, high--)
		swap(&order[low], &order[high]);
	return true;
}

static void reverse(char *order, unsigned n)
{
	for (unsigned i = 0; i < n / 2; i++)
		swap(&order[i], &order[n - 1 - i]);
}

static enum sqloom_status run_sample(struct explorer *explorer,
				     uint32_t members, char *order, unsigned n,
				     struct sqloom_error *err)
{
	char seen[ORDERS_SAMPLED][SLM_CALLS_MAX + 1];
	unsigned nseen = 0;
	enum sqloom_status status = SQLOOM_OK;
	struct slm_rng rng;

	slm_rng_init(&rng, explorer->options->seed);
	while (!status && nseen < ORDERS_SAMPLED) {
		bool known = false;

		if (nseen == 1)
			reverse(order, n);
		for (unsigned i = n; nseen > 1 && i > 1; i--)
			swap(&order[i - 1], &order[slm_rng_below(&rng, i)]);
		for (unsigned i = 0; i < nseen; i++)
			known |= strcmp(seen[i], order) == 0;
		if (known)
			continue;
		memcpy(seen[nseen++], order, n + 1);
		status = run_order(explorer, members, order, err);
	}
	return status;
}

enum sqloom_status slm_serial_all(struct explorer *explorer, uint32_t members,
				  struct sqloom_error *err)
{
	char order[SLM_CALLS_MAX + 1];
	enum sqloom_status status;
	unsigned n;

	first_order(explorer, members, order);
	n = (unsigned)strlen(order);
	if (n > ALL_ORDERS_UP_TO)
		return run_sample(explorer, members, order, n, err);
	do {
		status = run_order(explorer, members, order, err);
	} while (!status && next_order(order, n));
	return status;
}

static void wait_for_next_second(void)
{
	struct timespec now, rest = { 0 };

	clock_gettime(CLOCK_REALTIME, &now);
	rest.tv_nsec = 999999999 - now.tv_nsec;
	while (time(NULL) == now.tv_sec) {
		(void)nanosleep(&rest, NULL);
		rest.tv_nsec = 1000000;
	}
}

enum sqloom_status slm_serial_across(struct explorer *explorer,
				     struct sqloom_error *err)
{
	char order[SLM_CALLS_MAX + 1];
	struct slm_director director = { .order = order };
	uint32_t members = explorer->plan->members;
	struct slm_contents contents;
	enum sqloom_status status;
	struct slm_run first;

	first_order(explorer, members, order);
	status = slm_explorer_make(explorer, &explorer->first, members, 0,
				   &director, err);
	if (!status)
		status = describe(explorer, &explorer->first, &first, &contents,
				  err);
	explorer->trace->reruns++;
	if (status)
		return status;
	wait_for_next_second();
	return run_again(explorer, order, 0, true, &first, err);
}

enum sqloom_status slm_serial_warm_up(struct explorer *explorer,
				      struct sqloom_error *err)
{
	char order[SLM_CALLS_MAX + 1];
	struct slm_director director = { .order = order };
	enum sqloom_status status = SQLOOM_OK;
	uint64_t way = 0;

	first_order(explorer, explorer->plan->members, order);
	for (unsigned i = 0; !status && i < WARM_UP_RUNS; i++) {
		status = slm_explorer_make(explorer, &explorer->first,
					   explorer->plan->members, 0,
					   &director, err);
		explorer->trace->reruns++;
		if (!status && i && explorer->first.way == way)
			return SQLOOM_OK;
		way = explorer->first.way;
	}
	if (!status &&
	    !slm_note(explorer,
		      "the programs did not take the same steps in any two of "
		      "%d equal runs after another: what they send depends on "
		      "more than the database",
		      WARM_UP_RUNS))
		return slm_error_nomem(err);
	return status;
}
