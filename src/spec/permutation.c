/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Permutation lines and their blocker marks, with the names resolved.
 *
 * All sessions are complete by then, so steps are found through a sorted
 * table. A blocker mark may name a step that stands later in its permutation;
 * that is checked when the line is complete.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "spec/parser.h"

/* ---- Finding steps ---------------------------------------------------- */

static int compare_steps(const void *a, const void *b)
{
	const struct slm_spec_step *const *left = a;
	const struct slm_spec_step *const *right = b;

	return strcmp((*left)->name, (*right)->name);
}

static int compare_name(const void *name, const void *step)
{
	const struct slm_spec_step *const *right = step;

	return strcmp(name, (*right)->name);
}

/* Makes the table of steps, once. */
static enum sqloom_status index_steps(struct slm_parser *parser)
{
	const struct slm_spec_session *sessions = parser->sessions.items;
	struct slm_arena *arena = &parser->spec->arena;
	unsigned n = 0;

	if (parser->by_name)
		return SQLOOM_OK;
	for (unsigned i = 0; i < parser->sessions.count; i++) {
		parser->first_step[i] = n;
		n += sessions[i].nsteps;
	}
	parser->used_in = slm_arena_zalloc(arena, n, sizeof(*parser->used_in));
	parser->by_name = slm_arena_zalloc(arena, n, sizeof(*parser->by_name));
	if (!parser->used_in || !parser->by_name)
		return slm_parser_nomem(parser);
	for (unsigned i = 0; i < parser->sessions.count; i++)
		for (unsigned j = 0; j < sessions[i].nsteps; j++)
			parser->by_name[parser->nsteps++] =
				&sessions[i].steps[j];
	assert(parser->nsteps == n);
	qsort(parser->by_name, n, sizeof(*parser->by_name), compare_steps);
	return SQLOOM_OK;
}

const struct slm_spec_step *slm_parser_find_step(
	const struct slm_parser *parser, const char *name)
{
	const struct slm_spec_step **found =
		bsearch(name, parser->by_name, parser->nsteps,
			sizeof(*parser->by_name), compare_name);

	return found ? *found : NULL;
}

static unsigned *used_in(struct slm_parser *parser,
			 const struct slm_spec_step *step)
{
	return &parser->used_in[parser->first_step[step->session] + step->index];
}

static enum sqloom_status unknown_step(struct slm_parser *parser)
{
	const struct slm_spec_session *sessions = parser->sessions.items;
	const struct slm_lexeme *lexeme = &parser->lexeme;
	char advice[SLM_SPEC_NAME_MAX + 192];
	struct slm_nearest nearest;

	slm_nearest_init(&nearest, lexeme->name);
	for (unsigned i = 0; i < parser->sessions.count; i++) {
		if (strcmp(sessions[i].name, lexeme->name) == 0)
			return slm_lexer_fail(
				&parser->lexer, SQLOOM_SPEC, lexeme->line,
				lexeme->column, parser->err,
				"\"%s\" is a session, not a step; a permutation"
				" lists steps",
				lexeme->name);
		for (unsigned j = 0; j < sessions[i].nsteps; j++)
			slm_nearest_add(&nearest, sessions[i].steps[j].name);
	}
	return slm_lexer_fail(
		&parser->lexer, SQLOOM_SPEC, lexeme->line, lexeme->column,
		parser->err, "no session has a step \"%s\"; %s", lexeme->name,
		slm_nearest_advice(&nearest, advice, sizeof(advice)));
}

/* Takes the current lexeme, which must be the name of a step. */
static enum sqloom_status take_step(struct slm_parser *parser, const char *what,
				    const struct slm_spec_step **step)
{
	const char *name;

	if (parser->lexeme.kind != SLM_LEXEME_NAME)
		return slm_parser_take_name(parser, what, &name);
	*step = slm_parser_find_step(parser, parser->lexeme.name);
	return *step ? slm_parser_next(parser) : unknown_step(parser);
}

/* ---- Blocker marks ---------------------------------------------------- */

/* notices N, after the name of a step; nothing if it is not there. */
static enum sqloom_status notices(struct slm_parser *parser,
				  struct slm_spec_blocker *blocker)
{
	enum sqloom_status status;

	if (parser->lexeme.kind != SLM_LEXEME_NOTICES)
		return SQLOOM_OK;
	status = slm_parser_next(parser);
	if (status != SQLOOM_OK)
		return status;
	if (parser->lexeme.kind != SLM_LEXEME_NUMBER)
		return slm_parser_expected(parser,
					   "a number after \"notices\"");
	blocker->kind = SLM_BLOCKER_NOTICES;
	blocker->notices = parser->lexeme.number;
	return slm_parser_next(parser);
}

static enum sqloom_status mark(struct slm_parser *parser)
{
	struct slm_spec_mark *added = slm_list_add(&parser->marks);
	enum sqloom_status status;

	if (!added)
		return slm_parser_nomem(parser);
	added->entry = parser->entries.count - 1;
	added->line = parser->lexeme.line;
	added->column = parser->lexeme.column;
	if (parser->lexeme.kind == SLM_LEXEME_STAR) {
		added->blocker.kind = SLM_BLOCKER_STAR;
		return slm_parser_next(parser);
	}
	added->blocker.kind = SLM_BLOCKER_STEP;
	status = take_step(parser, "* or the name of a step as blocker mark",
			   &added->blocker.step);
	return status == SQLOOM_OK ? notices(parser, &added->blocker) : status;
}

/* The marks in parentheses; the current lexeme is the opening one. */
static enum sqloom_status marks(struct slm_parser *parser)
{
	enum sqloom_status status;

	do {
		status = slm_parser_next(parser);
		if (status == SQLOOM_OK)
			status = mark(parser);
	} while (status == SQLOOM_OK &&
		 parser->lexeme.kind == SLM_LEXEME_COMMA);
	if (status != SQLOOM_OK)
		return status;
	if (parser->lexeme.kind != SLM_LEXEME_CLOSE)
		return slm_parser_expected(
			parser, "\",\" or \")\" after a blocker mark");
	return slm_parser_next(parser);
}

static enum sqloom_status check_mark(struct slm_parser *parser,
				     const struct slm_spec_mark *mark)
{
	const struct slm_spec_session *sessions = parser->sessions.items;
	const struct slm_spec_permutation_step *entries = parser->entries.items;
	const struct slm_spec_step *step = entries[mark->entry].step;
	const struct slm_spec_step *other = mark->blocker.step;

	if (!other)
		return SQLOOM_OK;
	if (*used_in(parser, other) != parser->permutations.count)
		return slm_lexer_fail(
			&parser->lexer, SQLOOM_SPEC, mark->line, mark->column,
			parser->err,
			"step \"%s\" cannot wait for \"%s\", which"
			" this permutation does not list; add it"
			" or remove the mark",
			step->name, other->name);
	if (other->session == step->session)
		return slm_lexer_fail(
			&parser->lexer, SQLOOM_SPEC, mark->line, mark->column,
			parser->err,
			"step \"%s\" cannot wait for \"%s\", which"
			" is a step of its own session \"%s\";"
			" name a step of another session",
			step->name, other->name, sessions[step->session].name);
	return SQLOOM_OK;
}

/* ---- The line --------------------------------------------------------- */

static enum sqloom_status entry(struct slm_parser *parser)
{
	struct slm_spec_permutation_step *added =
		slm_list_add(&parser->entries);
	enum sqloom_status status;

	if (!added)
		return slm_parser_nomem(parser);
	status = take_step(parser, "a step's name", &added->step);
	if (status != SQLOOM_OK)
		return status;
	*used_in(parser, added->step) = parser->permutations.count;
	if (parser->lexeme.kind != SLM_LEXEME_OPEN)
		return SQLOOM_OK;
	return marks(parser);
}

/* Checks the marks of a complete line and hangs them on their steps. */
static enum sqloom_status link_marks(struct slm_parser *parser)
{
	struct slm_spec_permutation_step *entries = parser->entries.items;
	const struct slm_spec_mark *all = parser->marks.items;
	struct slm_spec_blocker *blockers;
	enum sqloom_status status = SQLOOM_OK;

	if (!parser->marks.count)
		return SQLOOM_OK;
	blockers = slm_arena_zalloc(&parser->spec->arena, parser->marks.count,
				    sizeof(*blockers));
	if (!blockers)
		return slm_parser_nomem(parser);
	for (unsigned i = 0; i < parser->marks.count; i++) {
		struct slm_spec_permutation_step *of = &entries[all[i].entry];

		status = check_mark(parser, &all[i]);
		if (status != SQLOOM_OK)
			break;
		blockers[i] = all[i].blocker;
		if (!of->nblockers++)
			of->blockers = &blockers[i];
	}
	parser->marks.count = 0;
	return status;
}

enum sqloom_status slm_parser_permutation(struct slm_parser *parser)
{
	unsigned line = parser->lexeme.line, column = parser->lexeme.column;
	struct slm_spec_permutation *added;
	enum sqloom_status status = index_steps(parser);

	if (status == SQLOOM_OK)
		status = slm_parser_next(parser);
	if (status != SQLOOM_OK)
		return status;
	if (parser->permutations.count == SLM_SPEC_PERMUTATIONS_MAX)
		return slm_parser_too_many(parser, SLM_LEXEME_PERMUTATION,
					   parser->permutations.count,
					   SLM_SPEC_PERMUTATIONS_MAX,
					   "permutations");
	added = slm_list_add(&parser->permutations);
	if (!added)
		return slm_parser_nomem(parser);
	/* A permutation has at least one step, so the first entry is asked for
	 * even where no name stands. */
	do {
		status = entry(parser);
	} while (status == SQLOOM_OK &&
		 parser->lexeme.kind == SLM_LEXEME_NAME &&
		 !slm_parser_at_addition(parser));
	if (status == SQLOOM_OK)
		status = link_marks(parser);
	if (status != SQLOOM_OK)
		return status;
	added->line = line;
	added->column = column;
	added->nsteps = parser->entries.count;
	added->steps = slm_list_move(&parser->entries, &parser->spec->arena);
	return added->steps ? SQLOOM_OK : slm_parser_nomem(parser);
}
