/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of options, shared by the commands, and the reading of arguments.
 * An option stands anywhere, before or behind the operands; `--` ends them.
 * The last of several equal options counts.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

#define PREEMPTIONS_MAX 1000000
#define BUSY_TIMEOUT_MAX_MS 86400000
#define HELP_COLUMN 24

struct option {
	const char *name;     /* without the dashes */
	char letter;	      /* 0: none */
	const char *argument; /* what it is called in the help; NULL: a flag */
	unsigned commands;
	const char *help; /* lines; '\n' between them */
	bool (*set)(struct slm_cli_arguments *arguments, const char *value);
	const char *wants; /* what a value must be, when set() says no */
};

struct group {
	const char *title;
	const struct option *options; /* a NULL name ends */
};

/* ---- Setters ----------------------------------------------------------- */

/* Which of the words of a choice this is, or -1. */
static int index_of(const char *value, const char *const *words)
{
	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], value) == 0)
			return i;
	return -1;
}

/* A number from min to max. */
static bool read_between(const char *value, uint64_t min, uint64_t max,
			 uint64_t *out)
{
	uint64_t number;

	if (!slm_cli_read_count(value, &number) || number < min || number > max)
		return false;
	*out = number;
	return true;
}

static bool set_db(struct slm_cli_arguments *arguments, const char *value)
{
	arguments->options.database = value;
	return *value != '\0';
}

static bool set_store(struct slm_cli_arguments *arguments, const char *value)
{
	static const char *const words[] = { "memory", "file", NULL };
	int i = index_of(value, words);

	arguments->options.store = i == 1 ? SQLOOM_STORE_FILE :
					    SQLOOM_STORE_MEMORY;
	return i >= 0;
}

static bool set_journal(struct slm_cli_arguments *arguments, const char *value)
{
	static const char *const words[] = { "delete", "truncate", "persist",
					     "memory", "wal",	   "off",
					     NULL };

	arguments->options.journal = value;
	return index_of(value, words) >= 0;
}

static bool set_busy_timeout(struct slm_cli_arguments *arguments,
			     const char *value)
{
	uint64_t number;

	if (!read_between(value, 0, BUSY_TIMEOUT_MAX_MS, &number))
		return false;
	arguments->options.busy_timeout_ms = (int)number;
	return true;
}

static bool set_local_begin(struct slm_cli_arguments *arguments,
			    const char *value)
{
	(void)value;
	arguments->options.local_begin = true;
	return true;
}

static bool set_strategy(struct slm_cli_arguments *arguments, const char *value)
{
	static const char *const words[] = {
		[SQLOOM_STRATEGY_AUTO] = "auto",
		[SQLOOM_STRATEGY_EXHAUSTIVE] = "exhaustive",
		[SQLOOM_STRATEGY_RANDOM] = "random",
		[SQLOOM_STRATEGY_UNIFORM] = "uniform",
		[SQLOOM_STRATEGY_PCT] = "pct",
		NULL,
	};
	int i = index_of(value, words);

	if (i < 0)
		return false;
	arguments->options.strategy = (enum sqloom_strategy)i;
	return true;
}

static bool set_seed(struct slm_cli_arguments *arguments, const char *value)
{
	return slm_cli_read_seed(value, &arguments->options.seed);
}

static bool set_max_runs(struct slm_cli_arguments *arguments, const char *value)
{
	return slm_cli_read_count(value, &arguments->options.max_runs);
}

static bool set_max_time(struct slm_cli_arguments *arguments, const char *value)
{
	return slm_cli_read_ms(value, &arguments->options.max_time_ms);
}

static bool set_preemptions(struct slm_cli_arguments *arguments,
			    const char *value)
{
	uint64_t number;

	if (!read_between(value, 0, PREEMPTIONS_MAX, &number))
		return false;
	arguments->options.max_preemptions = (int)number;
	return true;
}

/* The library knows the upper bound and says it. */
static bool set_pct_depth(struct slm_cli_arguments *arguments,
			  const char *value)
{
	uint64_t number;

	if (!read_between(value, 1, INT_MAX, &number))
		return false;
	arguments->options.pct_depth = (unsigned)number;
	return true;
}

static bool set_strict(struct slm_cli_arguments *arguments, const char *value)
{
	(void)value;
	arguments->options.strict = true;
	return true;
}

static bool set_trace(struct slm_cli_arguments *arguments, const char *value)
{
	if (strcmp(value, "-") == 0)
		value = "/dev/stdout";
	arguments->options.trace_path = value;
	arguments->trace_is_stdout = strcmp(value, "/dev/stdout") == 0;
	return *value != '\0';
}

static bool set_from(struct slm_cli_arguments *arguments, const char *value)
{
	arguments->from = value;
	return *value != '\0';
}

static bool set_findings(struct slm_cli_arguments *arguments, const char *value)
{
	uint64_t number = UINT_MAX;

	if (strcmp(value, "all") != 0 &&
	    !read_between(value, 0, UINT_MAX, &number))
		return false;
	arguments->findings = (unsigned)number;
	return true;
}

static bool set_finding(struct slm_cli_arguments *arguments, const char *value)
{
	arguments->finding = value;
	return *value != '\0';
}

static bool set_json(struct slm_cli_arguments *arguments, const char *value)
{
	(void)value;
	arguments->json = true;
	return true;
}

static bool set_quiet(struct slm_cli_arguments *arguments, const char *value)
{
	(void)value;
	arguments->quiet = true;
	return true;
}

static bool set_color(struct slm_cli_arguments *arguments, const char *value)
{
	static const char *const words[] = {
		[SLM_CLI_COLOR_AUTO] = "auto",
		[SLM_CLI_COLOR_ALWAYS] = "always",
		[SLM_CLI_COLOR_NEVER] = "never",
		NULL,
	};
	int i = index_of(value, words);

	if (i < 0)
		return false;
	arguments->color = (enum slm_cli_color)i;
	return true;
}

static bool set_width(struct slm_cli_arguments *arguments, const char *value)
{
	uint64_t number;

	if (!read_between(value, 40, 1000, &number))
		return false;
	arguments->width = (unsigned)number;
	return true;
}

static bool set_ascii(struct slm_cli_arguments *arguments, const char *value)
{
	(void)value;
	arguments->ascii = true;
	return true;
}

static bool set_no_progress(struct slm_cli_arguments *arguments,
			    const char *value)
{
	(void)value;
	arguments->no_progress = true;
	return true;
}

static bool set_help(struct slm_cli_arguments *arguments, const char *value)
{
	(void)value;
	arguments->help = true;
	return true;
}

/* ---- The table --------------------------------------------------------- */

#define RUNS (SLM_CLI_EXPLORE | SLM_CLI_REPLAY)
#define ALL (RUNS | SLM_CLI_SHOW)

static const struct option database_options[] = {
	{ "db", 0, "FILE", RUNS,
	  "SQLite file that every run starts from; it is\n"
	  "never written (default: that of the spec, else\n"
	  "an empty database)",
	  set_db, "the path of an SQLite file" },
	{ "store", 0, "STORE", RUNS,
	  "memory (default) or file: real files in a\n"
	  "temporary directory, slower",
	  set_store, "memory or file" },
	{ "journal", 0, "MODE", RUNS,
	  "SQLite's journal mode: delete, truncate, persist,\n"
	  "memory, wal, off (default: that of the database)",
	  set_journal, "delete, truncate, persist, memory, wal or off" },
	{ "busy-timeout", 0, "MS", RUNS,
	  "how long a step waits for a lock; virtual time\n"
	  "that costs none (default: that of the spec, else 0)",
	  set_busy_timeout, "milliseconds, from 0 to 86400000" },
	{ "local-begin", 0, NULL, RUNS,
	  "a plain BEGIN takes no lock: make it no choice\n"
	  "point, so there are fewer schedules",
	  set_local_begin, NULL },
	{ 0 },
};

static const struct option search_options[] = {
	{ "strategy", 0, "NAME", SLM_CLI_EXPLORE,
	  "auto (default): all schedules, those with fewest\n"
	  "switches first, and over budget a random sample;\n"
	  "exhaustive; random; uniform: each schedule is as\n"
	  "likely; pct: random priorities",
	  set_strategy, "auto, exhaustive, random, uniform or pct" },
	{ "seed", 0, "N", RUNS,
	  "seed of all that is random, decimal or 0x...\n"
	  "(default 0); the same seed gives the same output",
	  set_seed, "a number such as 7 or 0x7f, below 2^64" },
	{ "max-runs", 0, "N", SLM_CLI_EXPLORE,
	  "stop after so many runs: 500, 10k, 2M; 0 is no\n"
	  "limit (default 1M)",
	  set_max_runs, "a number such as 500, 10k or 2M; 0 is no limit" },
	{ "max-time", 0, "TIME", SLM_CLI_EXPLORE,
	  "stop after so many seconds: 1.5, 500ms, 2m\n"
	  "(default: no limit)",
	  set_max_time, "seconds, or a time such as 1.5, 500ms, 2m or 1h" },
	{ "preemptions", 0, "N", SLM_CLI_EXPLORE,
	  "only schedules in which at most N times a call is\n"
	  "left that could have gone on; most bugs need 1",
	  set_preemptions, "a number from 0 to 1000000" },
	{ "pct-depth", 0, "N", SLM_CLI_EXPLORE,
	  "pct: depth of the bugs that are sought (default 3)", set_pct_depth,
	  "a number from 1 on" },
	{ "strict", 0, NULL, RUNS,
	  "errors that ask to be retried, such as\n"
	  "SQLITE_BUSY, are wrong, too",
	  set_strict, NULL },
	{ 0 },
};

static const struct option output_options[] = {
	{ "trace", 0, "FILE", RUNS,
	  "write what happened to FILE, for sqloom show;\n"
	  "- is standard output, instead of the report",
	  set_trace, "the path of a file to write" },
	{ "from", 0, "TRACE", SLM_CLI_REPLAY,
	  "the trace that the token came from: where the run\n"
	  "leaves the recorded one, both texts are shown",
	  set_from, "the path of a trace" },
	{ "findings", 0, "N", SLM_CLI_EXPLORE | SLM_CLI_SHOW,
	  "tell so many findings at length, or all\n"
	  "(default 1)",
	  set_findings, "a number or all" },
	{ "finding", 0, "TOKEN", SLM_CLI_SHOW,
	  "tell only the finding that has this token", set_finding,
	  "a token of the trace" },
	{ "json", 0, NULL, ALL, "one JSON object instead of text", set_json,
	  NULL },
	{ "quiet", 'q', NULL, ALL, "print the line with the verdict only",
	  set_quiet, NULL },
	{ "color", 0, "WHEN", ALL,
	  "auto (default): on a terminal, unless NO_COLOR is\n"
	  "set; always; never",
	  set_color, "auto, always or never" },
	{ "width", 0, "N", ALL,
	  "columns, 40 to 1000 (default: those of the\n"
	  "terminal; 100 in a pipe)",
	  set_width, "a number from 40 to 1000" },
	{ "ascii", 0, NULL, ALL,
	  "no characters beyond ASCII (the default outside\n"
	  "of UTF-8 locales)",
	  set_ascii, NULL },
	{ "no-progress", 0, NULL, SLM_CLI_EXPLORE,
	  "show no progress on the terminal", set_no_progress, NULL },
	{ "help", 'h', NULL, ALL, "this text", set_help, NULL },
	{ 0 },
};

static const struct group groups[] = {
	{ "the database", database_options },
	{ "what is run and judged", search_options },
	{ "what is told", output_options },
};

#define NGROUPS (sizeof(groups) / sizeof(groups[0]))
#define OPTIONS_MAX 48 /* more than the table has */

/* ---- Help -------------------------------------------------------------- */

static void print_option(const struct option *option)
{
	const char *line = option->help;
	int used = option->letter ?
			   printf("  -%c, --%s", option->letter, option->name) :
			   printf("  --%s", option->name);

	if (option->argument)
		used += printf(" %s", option->argument);
	for (;;) {
		int length = (int)strcspn(line, "\n");

		printf("%*s%.*s\n", HELP_COLUMN - used, "", length, line);
		if (!line[length])
			return;
		line += length + 1;
		used = 0;
	}
}

void slm_cli_print_options(const struct slm_cli_command *command)
{
	for (size_t i = 0; i < NGROUPS; i++) {
		bool any = false;

		for (const struct option *o = groups[i].options; o->name; o++) {
			if (!(o->commands & command->bit))
				continue;
			if (!any)
				printf("\n%s:\n", groups[i].title);
			any = true;
			print_option(o);
		}
	}
}

/* ---- Finding an option ------------------------------------------------- */

static const struct option *find(const char *name, size_t length)
{
	for (size_t i = 0; i < NGROUPS; i++)
		for (const struct option *o = groups[i].options; o->name; o++)
			if (strlen(o->name) == length &&
			    memcmp(o->name, name, length) == 0)
				return o;
	return NULL;
}

static const struct option *find_letter(char letter)
{
	for (size_t i = 0; i < NGROUPS; i++)
		for (const struct option *o = groups[i].options; o->name; o++)
			if (o->letter == letter)
				return o;
	return NULL;
}

static void unknown_option(const struct slm_cli_command *command,
			   const char *name, size_t length)
{
	const char *names[OPTIONS_MAX + 1] = { NULL };
	const char *nearest = NULL;
	char typed[40];
	size_t count = 0;

	for (size_t i = 0; i < NGROUPS; i++)
		for (const struct option *o = groups[i].options; o->name; o++)
			if (o->commands & command->bit && count < OPTIONS_MAX)
				names[count++] = o->name;
	if (length < sizeof(typed)) {
		snprintf(typed, sizeof(typed), "%.*s", (int)length, name);
		nearest = slm_cli_nearest(typed, names);
	}
	if (nearest)
		slm_cli_usage_error(command,
				    "unknown option --%.*s; did you mean "
				    "--%s?",
				    (int)length, name, nearest);
	else
		slm_cli_usage_error(command, "unknown option --%.*s",
				    (int)length, name);
}

/* ---- Reading arguments ------------------------------------------------- */

static bool fits(const struct slm_cli_command *command,
		 const struct option *option)
{
	if (option->commands & command->bit)
		return true;
	slm_cli_usage_error(command,
			    "sqloom %s has no option --%s; sqloom %s "
			    "has",
			    command->name, option->name,
			    option->commands & SLM_CLI_EXPLORE ? "explore" :
			    option->commands & SLM_CLI_REPLAY  ? "replay" :
								 "show");
	return false;
}

static bool set(struct slm_cli_arguments *out, const struct option *option,
		const char *value)
{
	if (option->set(out, value))
		return true;
	slm_cli_usage_error(out->command, "--%s: '%s' is not valid; give %s",
			    option->name, value, option->wants);
	return false;
}

/* --name, --name=value or --name value. Moves *argv to the last argument it
 * used. */
static bool parse_long(struct slm_cli_arguments *out, char ***argv)
{
	const char *name = **argv + 2;
	size_t length = strcspn(name, "=");
	const char *value = name[length] ? name + length + 1 : NULL;
	const struct option *option = find(name, length);

	if (!option) {
		unknown_option(out->command, name, length);
		return false;
	}
	if (!fits(out->command, option))
		return false;
	if (!option->argument && value) {
		slm_cli_usage_error(out->command, "--%s takes no value",
				    option->name);
		return false;
	}
	if (option->argument && !value) {
		value = (*argv)[1];
		/* Not "--trace --json": that would write a file --json. */
		if (!value || strncmp(value, "--", 2) == 0) {
			slm_cli_usage_error(out->command,
					    "--%s needs a value: %s",
					    option->name, option->wants);
			return false;
		}
		(*argv)++;
	}
	return set(out, option, value);
}

/* -q or -qh; no short option has a value. */
static bool parse_short(struct slm_cli_arguments *out, const char *letters)
{
	for (; *letters; letters++) {
		const struct option *option = find_letter(*letters);

		if (!option) {
			slm_cli_usage_error(out->command, "unknown option -%s",
					    letters);
			return false;
		}
		if (!fits(out->command, option))
			return false;
		option->set(out, NULL);
	}
	return true;
}

static bool add_operand(struct slm_cli_arguments *out, const char *text)
{
	const struct slm_cli_command *command = out->command;
	const char *name = command->operands[out->noperands];

	if (!name) {
		slm_cli_usage_error(
			command, "there is an argument too many: '%s'", text);
		return false;
	}
	if (!*text) {
		slm_cli_usage_error(command, "%s is empty", name);
		return false;
	}
	out->operands[out->noperands++] = text;
	return true;
}

static bool check(const struct slm_cli_arguments *arguments)
{
	const struct slm_cli_command *command = arguments->command;
	const char *missing = command->operands[arguments->noperands];

	if (missing) {
		slm_cli_usage_error(command, "%s is missing", missing);
		return false;
	}
	if (arguments->json && arguments->quiet) {
		slm_cli_usage_error(command, "--json and --quiet do not go "
					     "together; take one out");
		return false;
	}
	if (arguments->finding && (arguments->json || arguments->quiet)) {
		slm_cli_usage_error(command,
				    "--finding and --%s do not go together; "
				    "take one out",
				    arguments->json ? "json" : "quiet");
		return false;
	}
	return true;
}

bool slm_cli_parse(const struct slm_cli_command *command, char **argv,
		   struct slm_cli_arguments *out)
{
	bool options_end = false;
	bool ok = true;

	memset(out, 0, sizeof(*out));
	out->command = command;
	out->findings = 1;
	sqloom_options_init(&out->options);
	for (; ok && *argv; argv++) {
		if (options_end || **argv != '-' || strcmp(*argv, "-") == 0)
			ok = add_operand(out, *argv);
		else if (strcmp(*argv, "--") == 0)
			options_end = true;
		else if ((*argv)[1] == '-')
			ok = parse_long(out, &argv);
		else
			ok = parse_short(out, *argv + 1);
	}
	/* Whoever asks for help need not have the rest right. */
	return ok && (out->help || check(out));
}
