/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar of specs, by recursive descent: one function per construct.
 * Permutations, option lines and calls have files of their own.
 *
 * Each function begins with the current lexeme being the first of its construct
 * and ends with the current lexeme being the first after it.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "spec/parser.h"

static enum sqloom_status check(struct slm_parser *parser);

/* ---- Tools ------------------------------------------------------------ */

void *slm_list_add(struct slm_list *list)
{
	char *item;

	assert(list->item_size > 0);
	if (list->count == list->capacity) {
		unsigned capacity = list->capacity ? list->capacity * 2 : 8;
		void *items = slm_reallocarray(list->items, capacity,
					       list->item_size);

		if (!items)
			return NULL;
		list->items = items;
		list->capacity = capacity;
	}
	item = (char *)list->items + list->item_size * list->count++;
	return memset(item, 0, list->item_size);
}

void *slm_list_move(struct slm_list *list, struct slm_arena *arena)
{
	size_t size = list->item_size * list->count;
	void *items = slm_arena_alloc(arena, size ? size : 1);

	if (items && size)
		memcpy(items, list->items, size);
	list->count = 0;
	return items;
}

enum sqloom_status slm_parser_nomem(struct slm_parser *parser)
{
	return slm_error_nomem(parser->err);
}

enum sqloom_status slm_parser_next(struct slm_parser *parser)
{
	return slm_lexer_next(&parser->lexer, &parser->lexeme, parser->err);
}

enum sqloom_status slm_parser_next_command(struct slm_parser *parser)
{
	enum sqloom_status status;

	parser->lexer.commands = true;
	status = slm_parser_next(parser);
	parser->lexer.commands = false;
	return status;
}

enum sqloom_status slm_parser_expected(struct slm_parser *parser,
				       const char *what)
{
	const struct slm_lexeme *lexeme = &parser->lexeme;
	char found[SLM_SPEC_NAME_MAX + 32];

	return slm_lexer_fail(
		&parser->lexer, SQLOOM_SPEC, lexeme->line, lexeme->column,
		parser->err, "expected %s, found %s", what,
		slm_lexeme_describe(lexeme, found, sizeof(found)));
}

enum sqloom_status slm_parser_keep_name(struct slm_parser *parser,
					const char *what, const char **name)
{
	const struct slm_lexeme *lexeme = &parser->lexeme;

	if (lexeme->kind >= SLM_LEXEME_NOTICES)
		return slm_lexer_fail(&parser->lexer, SQLOOM_SPEC, lexeme->line,
				      lexeme->column, parser->err,
				      "expected %s, found the keyword \"%s\";"
				      " to use it as a name, write it in double"
				      " quotes",
				      what, lexeme->name);
	if (lexeme->kind != SLM_LEXEME_NAME)
		return slm_parser_expected(parser, what);
	*name = slm_arena_strdup(&parser->spec->arena, lexeme->name);
	return *name ? SQLOOM_OK : slm_parser_nomem(parser);
}

enum sqloom_status slm_parser_take_name(struct slm_parser *parser,
					const char *what, const char **name)
{
	enum sqloom_status status = slm_parser_keep_name(parser, what, name);

	return status == SQLOOM_OK ? slm_parser_next(parser) : status;
}

/* Takes the current lexeme, which must be a block. */
static enum sqloom_status take_sql(struct slm_parser *parser, const char *what,
				   struct slm_spec_sql *sql)
{
	const struct slm_lexeme *lexeme = &parser->lexeme;

	if (lexeme->kind != SLM_LEXEME_SQL)
		return slm_parser_expected(parser, what);
	sql->text = slm_arena_strndup(&parser->spec->arena, lexeme->sql,
				      lexeme->sql_size);
	if (!sql->text)
		return slm_parser_nomem(parser);
	sql->size = lexeme->sql_size;
	sql->line = lexeme->sql_line;
	sql->column = lexeme->sql_column;
	return slm_parser_next(parser);
}

/* The same for a block that must say something. */
static enum sqloom_status take_query(struct slm_parser *parser,
				     const char *what, struct slm_spec_sql *sql)
{
	const struct slm_lexeme *lexeme = &parser->lexeme;
	size_t i = 0;

	while (lexeme->kind == SLM_LEXEME_SQL && i < lexeme->sql_size &&
	       strchr(" \t\r\n\f", lexeme->sql[i]))
		i++;
	if (lexeme->kind == SLM_LEXEME_SQL && i == lexeme->sql_size)
		return slm_lexer_fail(&parser->lexer, SQLOOM_SPEC, lexeme->line,
				      lexeme->column, parser->err,
				      "the block is empty; expected %s", what);
	return take_sql(parser, what, sql);
}

/* A keyword or word with its block; the current lexeme is the keyword. */
static enum sqloom_status keyword_sql(struct slm_parser *parser,
				      const char *what,
				      struct slm_spec_sql *sql)
{
	enum sqloom_status status = slm_parser_next(parser);

	return status == SQLOOM_OK ? take_sql(parser, what, sql) : status;
}

enum sqloom_status slm_parser_fail(struct slm_parser *parser,
				   const char *message)
{
	return slm_lexer_fail(&parser->lexer, SQLOOM_SPEC, parser->lexeme.line,
			      parser->lexeme.column, parser->err, "%s",
			      message);
}

enum sqloom_status slm_parser_given_twice(struct slm_parser *parser,
					  const char *what, const char *name,
					  unsigned first_line)
{
	return slm_lexer_fail(&parser->lexer, SQLOOM_SPEC, parser->lexeme.line,
			      parser->lexeme.column, parser->err,
			      "there already is a %s \"%s\", in line %u; give"
			      " this one another name",
			      what, name, first_line);
}

enum sqloom_status slm_parser_too_many(struct slm_parser *parser,
				       enum slm_lexeme_kind keyword,
				       unsigned have, unsigned limit,
				       const char *what)
{
	struct slm_lexer lexer = parser->lexer;
	struct slm_lexeme lexeme = { .kind = SLM_LEXEME_NAME };
	const char *or_more = "";
	unsigned count = have + 1;

	/* Steps are counted per session; the others through the file. */
	while (lexeme.kind != SLM_LEXEME_END &&
	       !(keyword == SLM_LEXEME_STEP &&
		 lexeme.kind == SLM_LEXEME_SESSION)) {
		if (slm_lexer_next(&lexer, &lexeme, NULL) != SQLOOM_OK) {
			or_more = " or more";
			break;
		}
		count += lexeme.kind == keyword;
	}
	return slm_lexer_fail(&parser->lexer, SQLOOM_LIMIT, parser->lexeme.line,
			      parser->lexeme.column, parser->err,
			      "%u%s %s, but the limit is %u; split the spec",
			      count, or_more, what, limit);
}

/* The words with which an addition to the language begins. */
static const struct {
	const char *word;
	bool named; /* NAME stands between it and its block */
	bool block; /* it has a block */
	enum sqloom_status (*parse)(struct slm_parser *parser);
} additions[] = {
	{ "before", false, true, slm_parser_before },
	{ "call", true, true, slm_parser_call },
	{ "check", true, true, check },
	{ "option", true, false, slm_parser_option },
	{ "server", false, true, slm_parser_server },
};

#define NADDITIONS (sizeof(additions) / sizeof(additions[0]))

/* The addition whose word the current lexeme is, or NADDITIONS. */
static size_t find_addition(const struct slm_parser *parser)
{
	size_t i = 0;

	while (i < NADDITIONS &&
	       !slm_lexeme_is_word(&parser->lexeme, additions[i].word))
		i++;
	return i;
}

bool slm_parser_at_addition(const struct slm_parser *parser)
{
	struct slm_lexer lexer = parser->lexer;
	struct slm_lexeme lexeme;
	size_t i = find_addition(parser);

	if (i == NADDITIONS)
		return false;
	if (!slm_parser_find_step(parser, parser->lexeme.name))
		return true;
	/* There is a step of that name. Then it is an addition only where a
	 * block follows, since a permutation has none. */
	if (!additions[i].block)
		return false;
	if (additions[i].named &&
	    (slm_lexer_next(&lexer, &lexeme, NULL) != SQLOOM_OK ||
	     lexeme.kind != SLM_LEXEME_NAME))
		return false;
	if (slm_lexer_at_block(&lexer))
		return true;
	/* check NAME exec { COMMAND } */
	return additions[i].parse == check &&
	       slm_lexer_next(&lexer, &lexeme, NULL) == SQLOOM_OK &&
	       slm_lexeme_is_word(&lexeme, "exec") &&
	       slm_lexer_at_block(&lexer);
}

/* ---- Steps ------------------------------------------------------------ */

static const struct slm_spec_step *same_name(const struct slm_spec_step *steps,
					     unsigned nsteps, const char *name)
{
	for (unsigned i = 0; i < nsteps; i++)
		if (strcmp(steps[i].name, name) == 0)
			return &steps[i];
	return NULL;
}

/* A step of that name in this or an earlier session, or NULL. */
static const struct slm_spec_step *known_step(const struct slm_parser *parser,
					      const char *name)
{
	const struct slm_spec_session *sessions = parser->sessions.items;
	const struct slm_spec_step *step = NULL;

	for (unsigned i = 0; i < parser->sessions.count && !step; i++)
		step = same_name(sessions[i].steps, sessions[i].nsteps, name);
	if (!step)
		step = same_name(parser->steps.items, parser->steps.count,
				 name);
	return step;
}

static enum sqloom_status step_name(struct slm_parser *parser,
				    struct slm_spec_step *step)
{
	const struct slm_spec_step *first;

	if (parser->steps.count == SLM_SPEC_STEPS_MAX)
		return slm_parser_too_many(parser, SLM_LEXEME_STEP,
					   parser->steps.count,
					   SLM_SPEC_STEPS_MAX,
					   "steps in this session");
	step->session = parser->sessions.count - 1;
	step->index = parser->steps.count;
	step->line = parser->lexeme.line;
	step->column = parser->lexeme.column;
	if (parser->lexeme.kind == SLM_LEXEME_NAME) {
		first = known_step(parser, parser->lexeme.name);
		if (first)
			return slm_parser_given_twice(parser, "step",
						      first->name, first->line);
	}
	return slm_parser_take_name(parser, "the step's name after \"step\"",
				    &step->name);
}

static enum sqloom_status unknown_mark(struct slm_parser *parser)
{
	struct slm_nearest nearest;
	char advice[SLM_SPEC_NAME_MAX + 192];

	slm_nearest_init(&nearest, parser->lexeme.name);
	slm_nearest_add(&nearest, "unobserved");
	slm_nearest_add(&nearest, "when");
	return slm_lexer_fail(&parser->lexer, SQLOOM_SPEC, parser->lexeme.line,
			      parser->lexeme.column, parser->err,
			      "expected the step's { SQL }, found \"%s\"; %s",
			      parser->lexeme.name,
			      slm_nearest_advice(&nearest, advice,
						 sizeof(advice)));
}

/* unobserved and when { expression }, each at most once. */
static enum sqloom_status step_marks(struct slm_parser *parser,
				     struct slm_spec_step *step)
{
	enum sqloom_status status = SQLOOM_OK;

	while (status == SQLOOM_OK && parser->lexeme.kind == SLM_LEXEME_NAME) {
		if (slm_lexeme_is_word(&parser->lexeme, "unobserved")) {
			if (step->unobserved)
				return slm_parser_fail(
					parser, "\"unobserved\" is given twice;"
						" remove one");
			step->unobserved = true;
			status = slm_parser_next(parser);
		} else if (slm_lexeme_is_word(&parser->lexeme, "when")) {
			if (step->when.text)
				return slm_parser_fail(
					parser, "a step has one \"when\"; join"
						" the conditions with AND");
			status = slm_parser_next(parser);
			if (status == SQLOOM_OK)
				status =
					take_query(parser,
						   "{ an SQL expression } after"
						   " \"when\"",
						   &step->when);
		} else {
			return unknown_mark(parser);
		}
	}
	return status;
}

static enum sqloom_status step(struct slm_parser *parser)
{
	struct slm_spec_step new_step = { 0 };
	struct slm_spec_step *added;
	enum sqloom_status status = slm_parser_next(parser);

	if (status == SQLOOM_OK)
		status = step_name(parser, &new_step);
	if (status == SQLOOM_OK)
		status = step_marks(parser, &new_step);
	if (status == SQLOOM_OK)
		status = take_sql(parser, "the step's { SQL }", &new_step.sql);
	if (status != SQLOOM_OK)
		return status;
	added = slm_list_add(&parser->steps);
	if (!added)
		return slm_parser_nomem(parser);
	*added = new_step;
	return SQLOOM_OK;
}

/* ---- Sessions --------------------------------------------------------- */

static enum sqloom_status session_name(struct slm_parser *parser,
				       struct slm_spec_session *session)
{
	const struct slm_spec_session *others = parser->sessions.items;

	if (parser->sessions.count == SLM_SPEC_SESSIONS_MAX)
		return slm_parser_too_many(parser, SLM_LEXEME_SESSION,
					   parser->sessions.count,
					   SLM_SPEC_SESSIONS_MAX, "sessions");
	session->line = parser->lexeme.line;
	session->column = parser->lexeme.column;
	for (unsigned i = 0; i < parser->sessions.count; i++)
		if (parser->lexeme.kind == SLM_LEXEME_NAME &&
		    strcmp(others[i].name, parser->lexeme.name) == 0)
			return slm_parser_given_twice(parser, "session",
						      others[i].name,
						      others[i].line);
	return slm_parser_take_name(
		parser, "the session's name after \"session\"", &session->name);
}

/* What stands where the first step should. A keyword or the end of the file is
 * in order by itself, so the complaint is about the session. */
static enum sqloom_status no_step(struct slm_parser *parser,
				  const struct slm_spec_session *session)
{
	enum slm_lexeme_kind kind = parser->lexeme.kind;

	if (kind == SLM_LEXEME_SETUP)
		return slm_parser_fail(parser,
				       "a session has one setup block; put the"
				       " SQL of both into one");
	if (kind == SLM_LEXEME_END || kind >= SLM_LEXEME_NOTICES ||
	    find_addition(parser) < NADDITIONS)
		return slm_lexer_fail(&parser->lexer, SQLOOM_SPEC,
				      session->line, session->column,
				      parser->err,
				      "session \"%s\" has no step; add"
				      " step NAME { SQL }",
				      session->name);
	return slm_parser_expected(parser, "step NAME { SQL }");
}

static enum sqloom_status session_body(struct slm_parser *parser,
				       struct slm_spec_session *session)
{
	enum sqloom_status status = SQLOOM_OK;

	if (parser->lexeme.kind == SLM_LEXEME_SETUP)
		status = keyword_sql(parser, "{ SQL } after \"setup\"",
				     &session->setup);
	if (status == SQLOOM_OK && parser->lexeme.kind != SLM_LEXEME_STEP)
		return no_step(parser, session);
	while (status == SQLOOM_OK && parser->lexeme.kind == SLM_LEXEME_STEP)
		status = step(parser);
	if (status == SQLOOM_OK && parser->lexeme.kind == SLM_LEXEME_TEARDOWN)
		status = keyword_sql(parser, "{ SQL } after \"teardown\"",
				     &session->teardown);
	return status;
}

static enum sqloom_status session(struct slm_parser *parser)
{
	struct slm_spec_session new_session = { 0 };
	struct slm_spec_session *added;
	enum sqloom_status status;

	if (parser->part > SLM_PART_SESSIONS)
		return slm_parser_fail(parser,
				       "a session after a permutation; put all"
				       " sessions before the first"
				       " permutation");
	if (parser->spec->has_calls)
		return slm_parser_both(parser, "session");
	parser->part = SLM_PART_SESSIONS;
	status = slm_parser_next(parser);
	if (status == SQLOOM_OK)
		status = session_name(parser, &new_session);
	if (status != SQLOOM_OK)
		return status;
	added = slm_list_add(&parser->sessions);
	if (!added)
		return slm_parser_nomem(parser);
	*added = new_session;
	status = session_body(parser, added);
	if (status != SQLOOM_OK)
		return status;
	added->nsteps = parser->steps.count;
	added->steps = slm_list_move(&parser->steps, &parser->spec->arena);
	return added->steps ? SQLOOM_OK : slm_parser_nomem(parser);
}

/* ---- Setup, teardown, checks ------------------------------------------ */

static enum sqloom_status setup(struct slm_parser *parser)
{
	struct slm_spec_sql sql = { 0 };
	struct slm_spec_sql *added;
	enum sqloom_status status;

	if (parser->part > SLM_PART_SETUPS)
		return slm_parser_fail(parser,
				       "a setup block in the wrong place; the"
				       " spec's stand before its teardown and"
				       " the sessions, a session's right after"
				       " its name");
	status = keyword_sql(parser, "{ SQL } after \"setup\"", &sql);
	if (status != SQLOOM_OK)
		return status;
	added = slm_list_add(&parser->setups);
	if (!added)
		return slm_parser_nomem(parser);
	*added = sql;
	return SQLOOM_OK;
}

static enum sqloom_status teardown(struct slm_parser *parser)
{
	if (parser->part > SLM_PART_SETUPS)
		return slm_parser_fail(parser,
				       "a teardown block in the wrong place;"
				       " the spec has one, before the"
				       " sessions, and a session has one,"
				       " right after its last step");
	parser->part = SLM_PART_TEARDOWN;
	return keyword_sql(parser, "{ SQL } after \"teardown\"",
			   &parser->spec->teardown);
}

static enum sqloom_status check_name(struct slm_parser *parser,
				     struct slm_spec_check *check)
{
	const struct slm_spec_check *others = parser->checks.items;

	if (parser->lexeme.kind == SLM_LEXEME_SQL ||
	    (parser->lexeme.kind == SLM_LEXEME_NAME && !parser->lexeme.name[0]))
		return slm_parser_fail(parser,
				       "a check needs a name: check \"no money"
				       " is lost\" { SELECT ... }");
	check->line = parser->lexeme.line;
	check->column = parser->lexeme.column;
	for (unsigned i = 0; i < parser->checks.count; i++)
		if (parser->lexeme.kind == SLM_LEXEME_NAME &&
		    strcmp(others[i].name, parser->lexeme.name) == 0)
			return slm_parser_given_twice(parser, "check",
						      others[i].name,
						      others[i].line);
	return slm_parser_take_name(parser, "the check's name after \"check\"",
				    &check->name);
}

/* { query }, or exec { COMMAND } */
static enum sqloom_status check_body(struct slm_parser *parser,
				     struct slm_spec_check *check)
{
	enum sqloom_status status;

	check->exec = slm_lexeme_is_word(&parser->lexeme, "exec");
	if (!check->exec)
		return take_query(parser,
				  "the check's { query }, which must return no"
				  " row, or exec { COMMAND }, which must exit"
				  " with 0",
				  &check->sql);
	status = slm_parser_next_command(parser);
	if (status != SQLOOM_OK)
		return status;
	return slm_parser_take_command(parser,
				       "the check's { COMMAND }, which must"
				       " exit with 0",
				       &check->sql);
}

static enum sqloom_status check(struct slm_parser *parser)
{
	struct slm_spec_check new_check = { 0 };
	struct slm_spec_check *added;
	enum sqloom_status status = slm_parser_next(parser);

	if (status == SQLOOM_OK)
		status = check_name(parser, &new_check);
	if (status == SQLOOM_OK)
		status = check_body(parser, &new_check);
	if (status != SQLOOM_OK)
		return status;
	added = slm_list_add(&parser->checks);
	if (!added)
		return slm_parser_nomem(parser);
	*added = new_check;
	return SQLOOM_OK;
}

/* ---- The whole -------------------------------------------------------- */

static enum sqloom_status unknown_item(struct slm_parser *parser)
{
	static const char *const known[] = { "setup",  "teardown",    "session",
					     "step",   "permutation", "check",
					     "option", "call",	      "server",
					     "before" };
	struct slm_nearest nearest;
	char advice[SLM_SPEC_NAME_MAX + 192];

	if (parser->lexeme.kind != SLM_LEXEME_NAME || parser->lexeme.quoted)
		return slm_parser_expected(
			parser, parser->spec->has_calls ?
					"call, server, before, check or"
					" option" :
				parser->sessions.count ?
					"step, session, permutation, check or"
					" option" :
					"setup, teardown, session, call, check"
					" or option");
	slm_nearest_init(&nearest, parser->lexeme.name);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		slm_nearest_add(&nearest, known[i]);
	return slm_lexer_fail(&parser->lexer, SQLOOM_SPEC, parser->lexeme.line,
			      parser->lexeme.column, parser->err,
			      "unexpected \"%s\"; %s", parser->lexeme.name,
			      slm_nearest_advice(&nearest, advice,
						 sizeof(advice)));
}

static enum sqloom_status item(struct slm_parser *parser)
{
	size_t addition = find_addition(parser);

	switch (parser->lexeme.kind) {
	case SLM_LEXEME_SETUP:
		return setup(parser);
	case SLM_LEXEME_TEARDOWN:
		return teardown(parser);
	case SLM_LEXEME_SESSION:
		return session(parser);
	case SLM_LEXEME_PERMUTATION:
		if (parser->spec->has_calls)
			return slm_parser_fail(parser,
					       "a permutation lists steps of"
					       " sessions, and this spec has"
					       " calls, whose steps are known"
					       " only when they come; take it"
					       " out");
		if (!parser->sessions.count)
			return slm_parser_fail(parser,
					       "a permutation before the"
					       " sessions; put permutations"
					       " after the last session");
		parser->part = SLM_PART_PERMUTATIONS;
		return slm_parser_permutation(parser);
	case SLM_LEXEME_STEP:
		return slm_parser_fail(parser,
				       "a step outside a session; steps stand"
				       " together after session NAME and its"
				       " setup, before its teardown");
	default:
		return addition < NADDITIONS ?
			       additions[addition].parse(parser) :
			       unknown_item(parser);
	}
}

static enum sqloom_status items(struct slm_parser *parser)
{
	enum sqloom_status status = slm_parser_next(parser);
	bool empty = parser->lexeme.kind == SLM_LEXEME_END;

	while (status == SQLOOM_OK && parser->lexeme.kind != SLM_LEXEME_END)
		status = item(parser);
	if (status != SQLOOM_OK)
		return status;
	if (parser->sessions.count)
		return slm_parser_check_calls(parser);
	return slm_parser_fail(
		parser, empty ? "the spec is empty; it needs at least session"
				" NAME and step NAME { SQL }, or call NAME"
				" { exec COMMAND }" :
				"the spec has no session and no call; add"
				" session NAME and step NAME { SQL }, or call"
				" NAME { exec COMMAND }");
}

/* Moves the lists that go through the whole file to the spec. */
static enum sqloom_status finish(struct slm_parser *parser)
{
	struct sqloom_spec *spec = parser->spec;

	spec->nsetups = parser->setups.count;
	spec->setups = slm_list_move(&parser->setups, &spec->arena);
	spec->nsessions = parser->sessions.count;
	spec->sessions = slm_list_move(&parser->sessions, &spec->arena);
	spec->npermutations = parser->permutations.count;
	spec->permutations = slm_list_move(&parser->permutations, &spec->arena);
	spec->nchecks = parser->checks.count;
	spec->checks = slm_list_move(&parser->checks, &spec->arena);
	spec->noptions = parser->options.count;
	spec->options = slm_list_move(&parser->options, &spec->arena);
	spec->nbefores = parser->befores.count;
	spec->befores = slm_list_move(&parser->befores, &spec->arena);
	spec->nservers = parser->servers.count;
	spec->servers = slm_list_move(&parser->servers, &spec->arena);
	if (!spec->setups || !spec->sessions || !spec->permutations ||
	    !spec->checks || !spec->options || !spec->befores || !spec->servers)
		return slm_parser_nomem(parser);
	return SQLOOM_OK;
}

static void deinit(struct slm_parser *parser)
{
	slm_free(parser->setups.items);
	slm_free(parser->sessions.items);
	slm_free(parser->steps.items);
	slm_free(parser->permutations.items);
	slm_free(parser->entries.items);
	slm_free(parser->marks.items);
	slm_free(parser->checks.items);
	slm_free(parser->options.items);
	slm_free(parser->befores.items);
	slm_free(parser->servers.items);
}

enum sqloom_status slm_spec_parse_text(struct sqloom_spec *spec,
				       struct sqloom_error *err)
{
	struct slm_parser parser = {
		.spec = spec,
		.err = err,
		.setups.item_size = sizeof(struct slm_spec_sql),
		.sessions.item_size = sizeof(struct slm_spec_session),
		.steps.item_size = sizeof(struct slm_spec_step),
		.permutations.item_size = sizeof(struct slm_spec_permutation),
		.entries.item_size = sizeof(struct slm_spec_permutation_step),
		.marks.item_size = sizeof(struct slm_spec_mark),
		.checks.item_size = sizeof(struct slm_spec_check),
		.options.item_size = sizeof(struct slm_spec_option),
		.befores.item_size = sizeof(struct slm_spec_sql),
		.servers.item_size = sizeof(struct slm_spec_server),
	};
	enum sqloom_status status;

	slm_lexer_init(&parser.lexer, spec->name, spec->text, spec->size);
	status = items(&parser);
	if (status == SQLOOM_OK)
		status = finish(&parser);
	deinit(&parser);
	return status;
}
