/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a finding smaller: fewer calls, then fewer switches. Candidates are
 * tried in the order of their switches, so the first one of the same class is
 * the smallest; the number of runs is bounded. Found in this way, a smaller
 * schedule stands for the same class of error, not for the very same outcome.
 */
#include "base/error.h"
#include "explore/explorer.h"

struct limits {
	unsigned runs, candidates;
	int switches; /* -1: any */
	bool certain; /* must go wrong each time */
};

/* Looks for a run of these members with the class of *finding within limits;
 * replaces it. */
static enum sqloom_status search(struct explorer *explorer, uint32_t members,
				 const struct limits *limits,
				 struct slm_finding *finding, bool *found,
				 struct sqloom_error *err)
{
	struct slm_strategy_config config = {
		.ncalls = explorer->plan->steps.ncalls,
		.max_preemptions = limits->switches,
		.pct_depth = 1,
	};
	struct slm_strategy *strategy = NULL;
	enum slm_learn learnt = SLM_LEARN_MORE;
	struct slm_finding smaller;
	unsigned candidates = 0;
	enum sqloom_status status = slm_strategy_new(SLM_STRATEGY_EXHAUSTIVE,
						     &config, &strategy, err);

	*found = false;
	for (unsigned i = 0;
	     !status && !*found && i < limits->runs &&
	     candidates < limits->candidates && learnt == SLM_LEARN_MORE &&
	     slm_explorer_goes_on(explorer, -1, 1);
	     i++) {
		struct slm_director director = { .strategy = strategy };
		struct slm_judgement judgement;
		struct slm_run run;

		status = slm_findings_try(explorer, members, &director, &run,
					  &judgement, err);
		if (status)
			break;
		if (judgement.class == finding->class)
			status = slm_findings_tell(explorer, &run, &smaller,
						   err);
		learnt = slm_strategy_learn(strategy);
		if (status || judgement.class != finding->class)
			continue;
		candidates++;
		status = limits->certain ?
				 slm_confirm_certain(explorer, &smaller, found,
						     err) :
				 slm_confirm(explorer, &smaller, found, err);
	}
	slm_strategy_free(strategy);
	if (!status && *found) {
		smaller.count = finding->count;
		*finding = smaller;
	}
	return status;
}

static unsigned count_bits(uint32_t mask)
{
	return (unsigned)__builtin_popcount(mask);
}

/* Drops one call after another, as long as what is left still goes wrong. */
static enum sqloom_status drop_calls(struct explorer *explorer,
				     struct slm_finding *finding,
				     uint32_t *members,
				     struct sqloom_error *err)
{
	static const struct limits any = { .runs = SHRINK_RUNS,
					   .candidates = SHRINK_RUNS,
					   .switches = -1 };
	enum sqloom_status status = SQLOOM_OK;

	for (unsigned i = 0; !status && i < explorer->plan->steps.ncalls &&
			     count_bits(*members) > 2;
	     i++) {
		uint32_t fewer = *members & ~(1u << i);
		bool found;

		/* A token cannot say that a call without letters is left out,
		 * and such a call is in nobody's way. */
		if (fewer == *members || !explorer->choices[i])
			continue;
		status = search(explorer, fewer, &any, finding, &found, err);
		if (!status && found)
			*members = fewer;
	}
	return status;
}

enum sqloom_status slm_shrink_another(struct explorer *explorer,
				      struct slm_finding *finding, bool *found,
				      struct sqloom_error *err)
{
	static const struct limits another = { .runs = ANOTHER_RUNS,
					       .candidates = ANOTHER_MAX,
					       .switches = -1,
					       .certain = true };

	return search(explorer, explorer->plan->members, &another, finding,
		      found, err);
}

enum sqloom_status slm_shrink(struct explorer *explorer,
			      struct slm_finding *finding,
			      struct sqloom_error *err)
{
	uint32_t members = explorer->plan->members;
	struct limits fewer = { .runs = SHRINK_RUNS,
				.candidates = SHRINK_RUNS };
	enum sqloom_status status =
		drop_calls(explorer, finding, &members, err);
	bool found;

	if (status)
		return status;
	if (members != explorer->plan->members &&
	    !slm_note(explorer,
		      "the finding is shown with %u of the %u calls: the others "
		      "are not needed for it",
		      count_bits(members), count_bits(explorer->plan->members)))
		return slm_error_nomem(err);
	if (finding->switches < 2 ||
	    explorer->options->strategy == SQLOOM_STRATEGY_EXHAUSTIVE)
		return SQLOOM_OK;
	fewer.switches = (int)finding->switches - 1;
	return search(explorer, members, &fewer, finding, &found, err);
}
