/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Option lines: option NAME VALUE, to the end of the line. Checks all that can
 * be checked without a database. What an option does is decided elsewhere.
 */
#include <assert.h>
#include <string.h>

#include "spec/parser.h"

#define WORDS_MAX 2	     /* the most words that any option takes */
#define TIME_MAX_MS 86400000 /* a day */

/* Says whether text is a good value, and may rewrite it. */
typedef bool (*check_value_fn)(char *text);

static const struct {
	const char *name;
	unsigned least, most;
	bool repeats;
} known[] = {
#define X(name, least, most, repeats) { #name, least, most, repeats },
	SLM_SPEC_OPTION_LIST(X)
#undef X
};

#define NKNOWN (sizeof(known) / sizeof(known[0]))

/* ---- Values ----------------------------------------------------------- */

/* Makes text lower case (all choices are) and looks for it in choices. */
static bool is_one_of(char *text, const char *const *choices)
{
	for (char *c = text; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	for (; *choices; choices++)
		if (strcmp(text, *choices) == 0)
			return true;
	return false;
}

static bool is_switch(char *text)
{
	static const char *const choices[] = { "on", "off", NULL };

	return is_one_of(text, choices);
}

static bool is_results(char *text)
{
	static const char *const choices[] = { "each", "joint", NULL };

	return is_one_of(text, choices);
}

static bool is_on_error(char *text)
{
	static const char *const choices[] = { "stop", "continue", NULL };

	return is_one_of(text, choices);
}

static bool is_journal(char *text)
{
	static const char *const choices[] = { "delete", "truncate", "persist",
					       "memory", "wal",	     "off",
					       NULL };

	return is_one_of(text, choices);
}

static bool is_isolation(char *text)
{
	static const char *const choices[] = { "serializable",
					       "repeatable read",
					       "read committed",
					       "read uncommitted", NULL };

	return is_one_of(text, choices);
}

/* Reads exactly count digits and moves on; -1 if they are not there. */
static int digits(const char **text, int count)
{
	int value = 0;

	for (; count > 0; count--, (*text)++) {
		if (**text < '0' || **text > '9')
			return -1;
		value = value * 10 + (**text - '0');
	}
	return value;
}

bool slm_parser_is_number(const char *text, int least, int most)
{
	size_t size = strlen(text);
	int value;

	if (size < 1 || size > 8)
		return false;
	value = digits(&text, (int)size);
	return value >= least && value <= most;
}

static bool is_timeout(char *text)
{
	return slm_parser_is_number(text, 0, TIME_MAX_MS);
}

/* A time for which 0 would be no limit, or no patience at all. */
static bool is_time(char *text)
{
	return slm_parser_is_number(text, 1, TIME_MAX_MS);
}

static bool is_port(char *text)
{
	return slm_parser_is_number(text, 1, 65535);
}

static bool is_attribution(char *text)
{
	static const char *const choices[] = { "exclusive", "port", "name",
					       NULL };

	return is_one_of(text, choices);
}

/* PostgreSQL cuts an application_name at 63 bytes. */
static bool is_application_name(char *text)
{
	return *text && strlen(text) <= SLM_SPEC_NAME_MAX;
}

static bool is_date(int year, int month, int day)
{
	static const int days[] = { 31, 29, 31, 30, 31, 30,
				    31, 31, 30, 31, 30, 31 };
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return year >= 1 && month >= 1 && month <= 12 && day >= 1 &&
	       day <= days[month - 1] && (month != 2 || day < 29 || leap);
}

/* Moves past c. */
static bool pass(const char **text, char c)
{
	return *(*text)++ == c;
}

/* YYYY-MM-DD[ HH:MM[:SS]] */
static bool is_clock(char *text)
{
	const char *at = text;
	int year, month, day;

	year = digits(&at, 4);
	if (year < 0 || !pass(&at, '-'))
		return false;
	month = digits(&at, 2);
	if (month < 0 || !pass(&at, '-'))
		return false;
	day = digits(&at, 2);
	if (!is_date(year, month, day))
		return false;
	if (!*at)
		return true;
	if (!pass(&at, ' ') || (unsigned)digits(&at, 2) > 23 ||
	    !pass(&at, ':') || (unsigned)digits(&at, 2) > 59)
		return false;
	return !*at ||
	       (pass(&at, ':') && (unsigned)digits(&at, 2) <= 59 && !*at);
}

bool slm_spec_is_ignore(const char *text)
{
	const char *dot = strchr(text, '.');

	if (!dot)
		return *text;
	return dot != text && dot[1] && !strchr(dot + 1, '.');
}

static bool is_ignore(char *text)
{
	return slm_spec_is_ignore(text);
}

static bool is_text(char *text)
{
	return *text;
}

static const struct {
	const char *name;
	check_value_fn is_good;
	const char *what; /* for "must be ..." */
} rules[] = {
	{ "allow", is_text, "a text" },
	{ "attribution", is_attribution, "exclusive, port or name" },
	{ "background", is_application_name,
	  "an application_name of 1 to 63 bytes" },
	{ "busy_timeout", is_timeout, "milliseconds, 0 to 86400000" },
	{ "call_limit", is_time, "milliseconds, 1 to 86400000" },
	{ "clock", is_clock,
	  "YYYY-MM-DD, YYYY-MM-DD HH:MM or"
	  " YYYY-MM-DD HH:MM:SS, a real date and time" },
	{ "database", is_text, "a path" },
	{ "ignore", is_ignore, "a table or table.column" },
	{ "isolation", is_isolation,
	  "serializable, repeatable read, read"
	  " committed or read uncommitted" },
	{ "journal", is_journal,
	  "delete, truncate, persist, memory, wal or off" },
	{ "local_begin", is_switch, "on or off" },
	{ "on_error", is_on_error, "stop or continue" },
	{ "proxy_port", is_port, "a port, 1 to 65535" },
	{ "results", is_results, "each or joint" },
	{ "stall_after", is_time, "milliseconds, 1 to 86400000" },
	{ "strict", is_switch, "on or off" },
};

#define NRULES (sizeof(rules) / sizeof(rules[0]))

static_assert(NRULES == NKNOWN, "every option needs a rule");

/* ---- Lines ------------------------------------------------------------ */

static enum sqloom_status unknown_option(struct slm_parser *parser,
					 const struct slm_spec_word *name)
{
	char wanted[SLM_SPEC_NAME_MAX + 1];
	char advice[SLM_SPEC_NAME_MAX + 192] = "";
	struct slm_nearest nearest;
	char list[256] = "";

	snprintf(wanted, sizeof(wanted), "%.*s",
		 (int)(name->size < sizeof(wanted) ? name->size :
						     sizeof(wanted) - 1),
		 name->text);
	slm_nearest_init(&nearest, wanted);
	for (size_t i = 0; i < NKNOWN; i++) {
		slm_nearest_add(&nearest, known[i].name);
		snprintf(list + strlen(list), sizeof(list) - strlen(list),
			 "%s%s", i ? ", " : "", known[i].name);
	}
	if (nearest.name)
		slm_nearest_advice(&nearest, advice, sizeof(advice));
	return slm_lexer_fail(&parser->lexer, SQLOOM_SPEC, name->line,
			      name->column, parser->err,
			      "there is no option \"%s\"%s%s (options: %s)",
			      wanted, *advice ? "; " : "", advice, list);
}

/* Index of the option in known, or NKNOWN. */
static size_t find_known(const struct slm_spec_word *name)
{
	size_t i = 0;

	while (i < NKNOWN && (strlen(known[i].name) != name->size ||
			      memcmp(known[i].name, name->text, name->size)))
		i++;
	return i;
}

char *slm_parser_join(struct slm_arena *arena,
		      const struct slm_spec_word *words, unsigned count)
{
	size_t size = 1, used = 0;
	char *text;

	for (unsigned i = 0; i < count; i++)
		size += words[i].size + 1;
	text = slm_arena_alloc(arena, size);
	if (!text)
		return NULL;
	for (unsigned i = 0; i < count; i++) {
		if (i)
			text[used++] = ' ';
		for (size_t j = 0; j < words[i].size; j++) {
			text[used++] = words[i].text[j];
			if (words[i].quoted && words[i].text[j] == '"')
				j++;
		}
	}
	text[used] = '\0';
	return text;
}

/* Reads the rest of the line: all words are counted, the first are kept. */
static enum sqloom_status read_words(struct slm_parser *parser,
				     struct slm_spec_word words[WORDS_MAX],
				     unsigned *count)
{
	struct slm_spec_word word;
	enum sqloom_status status;
	bool found;

	for (*count = 0;; ++*count) {
		status = slm_lexer_word(&parser->lexer, &word, &found,
					parser->err);
		if (status != SQLOOM_OK || !found)
			return status;
		if (*count < WORDS_MAX)
			words[*count] = word;
	}
}

static enum sqloom_status check_value(struct slm_parser *parser,
				      const struct slm_spec_option *option,
				      const struct slm_spec_word *word,
				      char *text)
{
	size_t i = 0;

	while (i < NRULES && strcmp(rules[i].name, option->name) != 0)
		i++;
	assert(i < NRULES);
	if (rules[i].is_good(text))
		return SQLOOM_OK;
	return slm_lexer_fail(
		&parser->lexer, SQLOOM_SPEC, word->line, word->column,
		parser->err, "option %s: \"%.80s\" is not valid; it must be %s",
		option->name, text, rules[i].what);
}

static enum sqloom_status check_repeat(struct slm_parser *parser,
				       const struct slm_spec_option *option)
{
	const struct slm_spec_option *others = parser->options.items;

	for (unsigned i = 0; i < parser->options.count; i++)
		if (strcmp(others[i].name, option->name) == 0)
			return slm_lexer_fail(&parser->lexer, SQLOOM_SPEC,
					      option->line, option->column,
					      parser->err,
					      "option %s is already given in"
					      " line %u; remove one of the two",
					      option->name, others[i].line);
	return SQLOOM_OK;
}

/* The values of an option whose name is known. */
static enum sqloom_status option_values(struct slm_parser *parser, size_t index,
					struct slm_spec_option *option)
{
	struct slm_spec_word words[WORDS_MAX];
	enum sqloom_status status;
	const char **values;
	unsigned count;
	char *text;

	status = read_words(parser, words, &count);
	if (status != SQLOOM_OK)
		return status;
	if (count < known[index].least || count > known[index].most)
		return slm_lexer_fail(&parser->lexer, SQLOOM_SPEC, option->line,
				      option->column, parser->err,
				      "option %s takes one value to the end of"
				      " the line, found %u; write a value with"
				      " blanks in double quotes",
				      option->name, count);
	text = slm_parser_join(&parser->spec->arena, words, count);
	values = slm_arena_zalloc(&parser->spec->arena, 1, sizeof(*values));
	if (!text || !values)
		return slm_parser_nomem(parser);
	values[0] = text;
	option->values = values;
	option->nvalues = 1;
	return check_value(parser, option, &words[0], text);
}

enum sqloom_status slm_parser_option(struct slm_parser *parser)
{
	struct slm_spec_option option = { 0 };
	struct slm_spec_option *added;
	enum sqloom_status status;
	struct slm_spec_word name;
	bool found;
	size_t index;

	status = slm_lexer_word(&parser->lexer, &name, &found, parser->err);
	if (status != SQLOOM_OK)
		return status;
	if (!found)
		return slm_lexer_fail(&parser->lexer, SQLOOM_SPEC,
				      parser->lexeme.line,
				      parser->lexeme.column, parser->err,
				      "expected option NAME VALUE in one line");
	index = find_known(&name);
	if (index == NKNOWN)
		return unknown_option(parser, &name);
	option.name = known[index].name;
	option.line = name.line;
	option.column = name.column;
	if (!known[index].repeats)
		status = check_repeat(parser, &option);
	if (status == SQLOOM_OK)
		status = option_values(parser, index, &option);
	if (status != SQLOOM_OK)
		return status;
	added = slm_list_add(&parser->options);
	if (!added)
		return slm_parser_nomem(parser);
	*added = option;
	return slm_parser_next(parser);
}
