/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans: which steps each call takes. Without permutation lines there is one
 * plan, with all the steps. With them, lines in which every session takes the
 * same steps in the same order share a plan, since they have the same serial
 * runs.
 */
#include <string.h>

#include "base/error.h"
#include "explore/explorer.h"

static bool all_steps(struct explorer *explorer, struct plan *plan)
{
	const struct sqloom_spec *spec = explorer->spec;

	plan->steps.ncalls = spec->nsessions;
	for (unsigned i = 0; i < spec->nsessions; i++) {
		unsigned n = spec->sessions[i].nsteps;
		uint32_t *steps =
			slm_arena_alloc(&explorer->arena, n * sizeof(*steps));

		if (!steps)
			return false;
		for (unsigned j = 0; j < n; j++)
			steps[j] = j;
		plan->steps.steps[i] = steps;
		plan->steps.nsteps[i] = n;
		plan->members |= 1u << i;
	}
	return true;
}

/* The plan and script of one permutation line. */
static bool from_line(struct explorer *explorer,
		      const struct slm_spec_permutation *line,
		      struct plan *plan, struct script *script)
{
	struct slm_arena *arena = &explorer->arena;
	uint32_t *steps[SLM_CALLS_MAX] = { NULL };

	memset(plan, 0, sizeof(*plan));
	plan->steps.ncalls = explorer->spec->nsessions;
	script->line = line->line;
	script->nsteps = line->nsteps;
	script->steps =
		slm_arena_alloc(arena, line->nsteps * sizeof(*script->steps));
	if (!script->steps)
		return false;
	for (unsigned i = 0; i < line->nsteps; i++) {
		const struct slm_spec_step *step = line->steps[i].step;
		unsigned call = step->session;

		if (!steps[call])
			steps[call] = slm_arena_alloc(
				arena, line->nsteps * sizeof(**steps));
		if (!steps[call])
			return false;
		script->steps[i].call = call;
		script->steps[i].position = plan->steps.nsteps[call];
		steps[call][plan->steps.nsteps[call]++] = step->index;
		plan->steps.steps[call] = steps[call];
		plan->members |= 1u << call;
	}
	return true;
}

static bool same_steps(const struct slm_plan *a, const struct slm_plan *b)
{
	for (unsigned i = 0; i < a->ncalls; i++)
		if (a->nsteps[i] != b->nsteps[i] ||
		    (a->nsteps[i] &&
		     memcmp(a->steps[i], b->steps[i],
			    a->nsteps[i] * sizeof(*a->steps[i])) != 0))
			return false;
	return true;
}

static struct plan *find_plan(struct explorer *explorer,
			      const struct plan *like)
{
	for (unsigned i = 0; i < explorer->nplans; i++)
		if (same_steps(&explorer->plans[i].steps, &like->steps))
			return &explorer->plans[i];
	return NULL;
}

/* The list doubles whenever its length is a power of two. */
static bool add_script(struct explorer *explorer, struct plan *plan,
		       const struct script *script)
{
	unsigned n = plan->nscripts;

	if ((n & (n - 1)) == 0) {
		struct script *grown = slm_arena_alloc(
			&explorer->arena, (n ? 2 * n : 1) * sizeof(*grown));

		if (!grown)
			return false;
		if (n)
			memcpy(grown, plan->scripts, n * sizeof(*grown));
		plan->scripts = grown;
	}
	plan->scripts[plan->nscripts++] = *script;
	return true;
}

static bool add_line(struct explorer *explorer,
		     const struct slm_spec_permutation *line)
{
	struct script script;
	struct plan plan, *found;

	if (!from_line(explorer, line, &plan, &script))
		return false;
	found = find_plan(explorer, &plan);
	if (!found) {
		found = &explorer->plans[explorer->nplans];
		*found = plan;
		explorer->nplans++;
	}
	return add_script(explorer, found, &script);
}

unsigned slm_explorer_lines(const struct explorer *explorer)
{
	return explorer->options->all_schedules ? 0 :
						  explorer->spec->npermutations;
}

enum sqloom_status slm_plans_make(struct explorer *explorer,
				  struct sqloom_error *err)
{
	const struct sqloom_spec *spec = explorer->spec;
	unsigned lines = slm_explorer_lines(explorer);
	unsigned capacity = lines ? lines : 1;

	explorer->plans = slm_arena_zalloc(&explorer->arena, capacity,
					   sizeof(*explorer->plans));
	if (!explorer->plans)
		return slm_error_nomem(err);
	if (!lines) {
		explorer->nplans = 1;
		return all_steps(explorer, explorer->plans) ?
			       SQLOOM_OK :
			       slm_error_nomem(err);
	}
	for (unsigned i = 0; i < lines; i++)
		if (!add_line(explorer, &spec->permutations[i]))
			return slm_error_nomem(err);
	return SQLOOM_OK;
}
