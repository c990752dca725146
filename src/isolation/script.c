/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a spec means for a run: the texts that are sent, and the orders of the
 * steps. Knows no server.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "isolation/isolation.h"

/* ---- Texts -------------------------------------------------------------- */

/* PostgreSQL's reader of specs drops these around a block; line ends stay. */
static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f';
}

/* The text of a block as it is sent and printed; NULL if there is no block.
 * False: memory was out. */
static bool take_text(struct slm_arena *arena, const struct slm_spec_sql *sql,
		      const char **out)
{
	const char *from = sql->text;
	size_t size = sql->size;

	*out = NULL;
	if (!from)
		return true;
	while (size && is_blank(*from)) {
		from++;
		size--;
	}
	while (size && is_blank(from[size - 1]))
		size--;
	*out = slm_arena_strndup(arena, from, size);
	return *out != NULL;
}

static bool take_session(struct slm_arena *arena,
			 const struct slm_spec_session *session,
			 struct slm_iso_texts *out)
{
	const char **steps =
		slm_arena_zalloc(arena, session->nsteps, sizeof(*steps));
	bool ok = steps && take_text(arena, &session->setup, &out->setup) &&
		  take_text(arena, &session->teardown, &out->teardown);

	for (unsigned i = 0; ok && i < session->nsteps; i++)
		ok = take_text(arena, &session->steps[i].sql, &steps[i]);
	out->steps = steps;
	return ok;
}

static bool take_setups(struct slm_arena *arena, struct slm_iso_script *out)
{
	const struct sqloom_spec *spec = out->spec;
	const char **setups =
		slm_arena_zalloc(arena, spec->nsetups + 1, sizeof(*setups));
	bool ok = setups && take_text(arena, &spec->teardown, &out->teardown);

	for (unsigned i = 0; ok && i < spec->nsetups; i++)
		ok = take_text(arena, &spec->setups[i], &setups[i]);
	out->setups = setups;
	return ok;
}

/* ---- Steps that no permutation has -------------------------------------- */

static int compare_names(const void *a, const void *b)
{
	const struct slm_spec_step *const *left = a;
	const struct slm_spec_step *const *right = b;

	return strcmp((*left)->name, (*right)->name);
}

static bool is_used(const struct sqloom_spec *spec,
		    const struct slm_spec_step *step)
{
	for (unsigned i = 0; i < spec->npermutations; i++)
		for (unsigned j = 0; j < spec->permutations[i].nsteps; j++)
			if (spec->permutations[i].steps[j].step == step)
				return true;
	return false;
}

static bool find_unused(struct slm_arena *arena, struct slm_iso_script *out)
{
	const struct sqloom_spec *spec = out->spec;
	unsigned total = 0;

	for (unsigned i = 0; i < spec->nsessions; i++)
		total += spec->sessions[i].nsteps;
	out->unused = slm_arena_zalloc(arena, total, sizeof(*out->unused));
	if (!out->unused)
		return false;
	if (!spec->npermutations)
		return true;
	for (unsigned i = 0; i < spec->nsessions; i++)
		for (unsigned j = 0; j < spec->sessions[i].nsteps; j++)
			if (!is_used(spec, &spec->sessions[i].steps[j]))
				out->unused[out->nunused++] =
					&spec->sessions[i].steps[j];
	qsort(out->unused, out->nunused, sizeof(*out->unused), compare_names);
	return true;
}

/* ---- The script --------------------------------------------------------- */

/* A step that may be left out has no place in a fixed order. */
static enum sqloom_status refuse_additions(const struct sqloom_spec *spec,
					   struct sqloom_error *err)
{
	for (unsigned i = 0; i < spec->nsessions; i++)
		for (unsigned j = 0; j < spec->sessions[i].nsteps; j++) {
			const struct slm_spec_step *step =
				&spec->sessions[i].steps[j];

			if (!step->when.text)
				continue;
			slm_error_set(err, SQLOOM_UNSUPPORTED,
				      "step \"%s\" has a when condition, which "
				      "isolation specs do not know; remove it, "
				      "or use sqloom explore",
				      step->name);
			slm_spec_error_place(spec, step->line, step->column,
					     err);
			return SQLOOM_UNSUPPORTED;
		}
	return SQLOOM_OK;
}

enum sqloom_status slm_iso_script_make(struct slm_arena *arena,
				       const struct sqloom_spec *spec,
				       struct slm_iso_script *out,
				       struct sqloom_error *err)
{
	enum sqloom_status status = refuse_additions(spec, err);
	bool ok;

	if (status)
		return status;
	memset(out, 0, sizeof(*out));
	out->spec = spec;
	ok = take_setups(arena, out) && find_unused(arena, out);
	for (unsigned i = 0; ok && i < spec->nsessions; i++)
		ok = take_session(arena, &spec->sessions[i], &out->sessions[i]);
	return ok ? SQLOOM_OK : slm_error_nomem(err);
}

/* ---- Permutations ------------------------------------------------------- */

static void set_step(const struct slm_iso_script *script,
		     const struct slm_spec_step *step, struct slm_iso_step *out)
{
	memset(out, 0, sizeof(*out));
	out->step = step;
	out->sql = script->sessions[step->session].steps[step->index];
}

enum sqloom_status slm_iso_script_line(const struct slm_iso_script *script,
				       unsigned i, struct slm_arena *arena,
				       struct slm_iso_permutation *out,
				       struct sqloom_error *err)
{
	const struct slm_spec_permutation *line =
		&script->spec->permutations[i];

	out->line = line->line;
	out->nsteps = line->nsteps;
	out->steps = slm_arena_zalloc(arena, line->nsteps, sizeof(*out->steps));
	if (!out->steps)
		return slm_error_nomem(err);
	for (unsigned j = 0; j < line->nsteps; j++) {
		const struct slm_spec_permutation_step *from = &line->steps[j];
		struct slm_iso_step *step = &out->steps[j];

		set_step(script, from->step, step);
		step->blockers = from->blockers;
		step->nblockers = from->nblockers;
		step->targets = slm_arena_zalloc(arena, from->nblockers + 1,
						 sizeof(*step->targets));
		if (!step->targets)
			return slm_error_nomem(err);
	}
	return SQLOOM_OK;
}

static unsigned session_at(const struct slm_iso_permutation *order, unsigned i)
{
	return order->steps[i].step->session;
}

/* Gives every session its steps in order, where its turns are. */
static void deal_steps(const struct slm_iso_script *script,
		       struct slm_iso_permutation *order,
		       const unsigned *sessions)
{
	unsigned taken[SLM_SPEC_SESSIONS_MAX] = { 0 };

	for (unsigned i = 0; i < order->nsteps; i++) {
		const struct slm_spec_session *session =
			&script->spec->sessions[sessions[i]];

		set_step(script, &session->steps[taken[sessions[i]]++],
			 &order->steps[i]);
	}
}

/* All of the first session, then all of the second, and so on. */
static void first_order(const struct sqloom_spec *spec, unsigned *sessions)
{
	for (unsigned i = 0; i < spec->nsessions; i++)
		for (unsigned j = 0; j < spec->sessions[i].nsteps; j++)
			*sessions++ = i;
}

static void swap(unsigned *a, unsigned *b)
{
	unsigned kept = *a;

	*a = *b;
	*b = kept;
}

/* The order that follows in the dictionary of all of them. */
static bool next_order(unsigned *sessions, unsigned n)
{
	unsigned i = n - 1, j = n - 1;

	while (i > 0 && sessions[i - 1] >= sessions[i])
		i--;
	if (i == 0)
		return false;
	while (sessions[j] <= sessions[i - 1])
		j--;
	swap(&sessions[i - 1], &sessions[j]);
	for (j = n - 1; i < j; i++, j--)
		swap(&sessions[i], &sessions[j]);
	return true;
}

enum sqloom_status slm_iso_script_next(const struct slm_iso_script *script,
				       struct slm_arena *arena,
				       struct slm_iso_permutation *out,
				       bool *more, struct sqloom_error *err)
{
	const struct sqloom_spec *spec = script->spec;
	unsigned sessions[SLM_SPEC_SESSIONS_MAX * SLM_SPEC_STEPS_MAX];

	*more = true;
	if (out->steps) {
		for (unsigned i = 0; i < out->nsteps; i++)
			sessions[i] = session_at(out, i);
		*more = next_order(sessions, out->nsteps);
	} else {
		out->nsteps = 0;
		for (unsigned i = 0; i < spec->nsessions; i++)
			out->nsteps += spec->sessions[i].nsteps;
		out->steps = slm_arena_zalloc(arena, out->nsteps,
					      sizeof(*out->steps));
		if (!out->steps)
			return slm_error_nomem(err);
		first_order(spec, sessions);
	}
	if (*more)
		deal_steps(script, out, sessions);
	return SQLOOM_OK;
}
