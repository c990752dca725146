/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running the schedule of a finding again. Programs need not do the same each
 * time: they draw random values, look at clocks, have threads. What goes wrong
 * once, and never again, must not be told as a race: a finding of theirs counts
 * only if its schedule goes wrong in the same way again. Not each time: threads
 * of one call may come in another order. The statements of a spec do the same
 * each time, and are not run again.
 */
#include <string.h>

#include "base/error.h"
#include "explore/explorer.h"

#define CONFIRM_RUNS 5 /* at most */
#define CERTAIN_RUNS 2 /* each must go wrong, where another order is taken */

static uint32_t members_of(const struct explorer *explorer,
			   const struct slm_finding *finding)
{
	uint32_t members = slm_explorer_without_choice(explorer);

	for (const char *letter = finding->schedule; *letter; letter++)
		members |= 1u << (*letter - 'a');
	return members;
}

/* Runs the schedule once more. *same: it was followed, and went as wrong. */
static enum sqloom_status run_again(struct explorer *explorer,
				    const struct slm_finding *finding,
				    struct slm_strategy *strategy, bool *same,
				    struct sqloom_error *err)
{
	struct slm_director director = { .strategy = strategy };
	struct slm_judgement judgement;
	struct slm_run run;
	enum sqloom_status status =
		slm_findings_try(explorer, members_of(explorer, finding),
				 &director, &run, &judgement, err);

	if (status)
		return status;
	slm_strategy_learn(strategy);
	*same = slm_strategy_failed_at(strategy) < 0 &&
		judgement.class == finding->class;
	return SQLOOM_OK;
}

/* So many times, until it goes as wrong (certain: until it does not). */
static enum sqloom_status run_often(struct explorer *explorer,
				    const struct slm_finding *finding,
				    unsigned times, bool certain, bool *same,
				    struct sqloom_error *err)
{
	unsigned length = (unsigned)strlen(finding->schedule);
	uint8_t *picks = slm_arena_alloc(&explorer->arena, length + 1);
	enum sqloom_status status = SQLOOM_OK;

	*same = true;
	if (!slm_db_arrives(explorer->db))
		return SQLOOM_OK;
	if (!picks)
		return slm_error_nomem(err);
	for (unsigned i = 0; i < length; i++)
		picks[i] = (uint8_t)(finding->schedule[i] - 'a');
	for (unsigned i = 0; !status && (i == 0 || *same == certain) &&
			     i < times && slm_explorer_goes_on(explorer, -1, 1);
	     i++) {
		struct slm_strategy *strategy = NULL;

		status = slm_strategy_replay_new(&(const uint8_t *){ picks },
						 &length, 1, &strategy, err);
		if (!status)
			status = run_again(explorer, finding, strategy, same,
					   err);
		slm_strategy_free(strategy);
	}
	return status;
}

enum sqloom_status slm_confirm(struct explorer *explorer,
			       const struct slm_finding *finding, bool *same,
			       struct sqloom_error *err)
{
	return run_often(explorer, finding, CONFIRM_RUNS, false, same, err);
}

enum sqloom_status slm_confirm_certain(struct explorer *explorer,
				       const struct slm_finding *finding,
				       bool *same, struct sqloom_error *err)
{
	return run_often(explorer, finding, CERTAIN_RUNS, true, same, err);
}

/* Makes finding i the first one. */
static void to_front(struct explorer *explorer, uint32_t i)
{
	struct slm_finding moving = explorer->findings[i];
	const struct plan *plan = explorer->finding_plan[i];

	memmove(&explorer->findings[1], &explorer->findings[0],
		i * sizeof(explorer->findings[0]));
	memmove(&explorer->finding_plan[1], &explorer->finding_plan[0],
		i * sizeof(explorer->finding_plan[0]));
	explorer->findings[0] = moving;
	explorer->finding_plan[0] = plan;
}

enum sqloom_status slm_confirm_first(struct explorer *explorer,
				     struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;
	bool same = true;
	uint32_t i;

	for (i = 0; i < explorer->nfindings; i++) {
		struct slm_finding *finding = &explorer->findings[i];

		if (!slm_findings_breaks(explorer, finding->class) ||
		    explorer->finding_plan[i] != explorer->plan)
			break;
		status = slm_confirm(explorer, finding, &same, err);
		/* The first run of an order may have been the first at all of
		 * a connection: with a cache that was empty, say. */
		if (!status && !same && finding->count > 1)
			status = slm_shrink_another(explorer, finding, &same,
						    err);
		if (status || same)
			break;
	}
	if (status || i == 0)
		return status;
	if (same)
		to_front(explorer, i);
	else
		explorer->by_chance = true;
	if (!slm_note(
		    explorer,
		    "%u of the findings did not go wrong in the same way when "
		    "their schedules were run again, five times: the calls do "
		    "not do the same each time. Do they use random values, the "
		    "clock, or threads of their own? Give them a fixed seed, "
		    "or values that are always different (a UUID)",
		    i))
		return slm_error_nomem(err);
	return SQLOOM_OK;
}
