/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a spec: either an error with a place in the text, or a spec
 * that can be walked from end to end and keeps what spec.h promises.
 */
#include <assert.h>
#include <string.h>

#include "fuzz.h"
#include "spec/spec.h"

static size_t touched; /* keeps the walk from being optimized away */

static void walk_sql(const struct slm_spec_sql *sql)
{
	if (!sql->text)
		return;
	assert(strlen(sql->text) == sql->size);
	assert(sql->line > 0 && sql->column > 0);
	touched += sql->size;
}

static void walk_name(const char *name)
{
	assert(strlen(name) <= SLM_SPEC_NAME_MAX);
	touched += strlen(name);
}

static void walk_session(const struct sqloom_spec *spec, unsigned index)
{
	const struct slm_spec_session *session = &spec->sessions[index];

	walk_name(session->name);
	walk_sql(&session->setup);
	walk_sql(&session->teardown);
	walk_sql(&session->text);
	if (spec->has_calls) {
		assert(session->call != SLM_CALL_SQL && session->text.size > 0);
		assert(session->nsteps == 0 && *session->name);
		return;
	}
	assert(session->call == SLM_CALL_SQL && !session->text.text);
	assert(session->nsteps > 0 && session->nsteps <= SLM_SPEC_STEPS_MAX);
	for (unsigned i = 0; i < session->nsteps; i++) {
		const struct slm_spec_step *step = &session->steps[i];

		walk_name(step->name);
		assert(step->sql.text);
		walk_sql(&step->sql);
		walk_sql(&step->when);
		assert(step->session == index && step->index == i);
	}
}

static void walk_permutation(const struct sqloom_spec *spec,
			     const struct slm_spec_permutation *line)
{
	assert(line->nsteps > 0);
	for (unsigned i = 0; i < line->nsteps; i++) {
		const struct slm_spec_permutation_step *entry = &line->steps[i];

		assert(entry->step->session < spec->nsessions);
		for (unsigned j = 0; j < entry->nblockers; j++) {
			const struct slm_spec_blocker *blocker =
				&entry->blockers[j];

			assert((blocker->kind == SLM_BLOCKER_STAR) ==
			       !blocker->step);
			assert(!blocker->step ||
			       blocker->step->session != entry->step->session);
		}
	}
}

static void walk_programs(const struct sqloom_spec *spec)
{
	assert(spec->has_calls || (!spec->nbefores && !spec->nservers));
	assert(!spec->has_calls || !spec->npermutations);
	assert(spec->nservers <= SLM_SPEC_SERVERS_MAX);
	for (unsigned i = 0; i < spec->nbefores; i++) {
		assert(spec->befores[i].size > 0);
		walk_sql(&spec->befores[i]);
	}
	for (unsigned i = 0; i < spec->nservers; i++) {
		assert(spec->servers[i].command.size > 0);
		walk_sql(&spec->servers[i].command);
		if (spec->servers[i].ready)
			touched += strlen(spec->servers[i].ready);
	}
}

static void walk(const struct sqloom_spec *spec)
{
	walk_programs(spec);
	for (unsigned i = 0; i < spec->nsetups; i++)
		walk_sql(&spec->setups[i]);
	walk_sql(&spec->teardown);
	assert(spec->nsessions > 0 && spec->nsessions <= SLM_SPEC_SESSIONS_MAX);
	for (unsigned i = 0; i < spec->nsessions; i++)
		walk_session(spec, i);
	for (unsigned i = 0; i < spec->npermutations; i++)
		walk_permutation(spec, &spec->permutations[i]);
	for (unsigned i = 0; i < spec->nchecks; i++) {
		walk_name(spec->checks[i].name);
		walk_sql(&spec->checks[i].sql);
		assert(spec->has_calls || !spec->checks[i].exec);
	}
	for (unsigned i = 0; i < spec->noptions; i++) {
		assert(spec->options[i].nvalues == 1);
		touched += strlen(spec->options[i].values[0]);
		assert(slm_spec_option(spec, spec->options[i].name));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sqloom_spec *spec = NULL;
	struct sqloom_error err = { 0 };
	enum sqloom_status status;

	status = sqloom_spec_parse((const char *)data, size, "fuzz", &spec,
				   &err);
	assert((status == SQLOOM_OK) == (spec != NULL));
	assert(status == SQLOOM_OK || (err.status == status && *err.message &&
				       !strchr(err.message, '\n')));
	assert(status == SQLOOM_OK || status == SQLOOM_SPEC ||
	       status == SQLOOM_LIMIT);
	if (spec)
		walk(spec);
	sqloom_spec_free(spec);
	return 0;
}
