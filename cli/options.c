/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of options, shared by the commands: what they are called, what
 * the help says, how a value is read. arguments.c goes through argv.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define PREEMPTIONS_MAX 1000000
#define BUSY_TIMEOUT_MAX_MS 86400000
#define HELP_COLUMN 24

struct group {
	const char *title;
	const struct slm_cli_option *options; /* a NULL name ends */
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

static bool set_pg_temp(struct slm_cli_arguments *arguments, const char *value)
{
	(void)value;
	arguments->options.pg_temp = true;
	arguments->options.pg_path = getenv("PATH");
	arguments->options.pg_place = getenv("TMPDIR");
	return true;
}

static bool set_any_database(struct slm_cli_arguments *arguments,
			     const char *value)
{
	(void)value;
	arguments->options.any_database = true;
	return true;
}

/* The library knows the sessions and the levels, and says what is wrong. */
static bool set_isolation(struct slm_cli_arguments *arguments,
			  const char *value)
{
	arguments->options.isolation = value;
	return *value != '\0';
}

static bool set_statement_limit(struct slm_cli_arguments *arguments,
				const char *value)
{
	return slm_cli_read_ms(value, &arguments->options.statement_limit_ms);
}

/* ---- The calls */

static bool add_part(struct slm_cli_arguments *arguments,
		     enum sqloom_part_kind kind, const char *value)
{
	if (arguments->nparts == SLM_CLI_PARTS_MAX) {
		arguments->too_many = "--call, --check and the like";
		return true;
	}
	arguments->parts[arguments->nparts++] =
		(struct sqloom_part){ .kind = kind, .text = value };
	return value[strspn(value, " \t\r\n")] != '\0';
}

static bool add_call(struct slm_cli_arguments *arguments, const char *value)
{
	return add_part(arguments, SQLOOM_PART_EXEC, value);
}

static bool add_http(struct slm_cli_arguments *arguments, const char *value)
{
	return add_part(arguments, SQLOOM_PART_HTTP, value);
}

static bool add_before(struct slm_cli_arguments *arguments, const char *value)
{
	return add_part(arguments, SQLOOM_PART_BEFORE, value);
}

static bool add_server(struct slm_cli_arguments *arguments, const char *value)
{
	return add_part(arguments, SQLOOM_PART_SERVER, value);
}

static bool add_check(struct slm_cli_arguments *arguments, const char *value)
{
	return add_part(arguments, SQLOOM_PART_CHECK, value);
}

static bool add_check_cmd(struct slm_cli_arguments *arguments,
			  const char *value)
{
	return add_part(arguments, SQLOOM_PART_CHECK_EXEC, value);
}

/* Of the last server before it. */
static bool set_ready(struct slm_cli_arguments *arguments, const char *value)
{
	unsigned i = arguments->nparts;

	while (i > 0 && arguments->parts[i - 1].kind != SQLOOM_PART_SERVER)
		i--;
	if (i > 0)
		arguments->parts[i - 1].ready = value;
	else
		arguments->ready_alone = true;
	return *value != '\0';
}

static bool set_proxy_port(struct slm_cli_arguments *arguments,
			   const char *value)
{
	uint64_t number;

	if (!read_between(value, 1, 65535, &number))
		return false;
	arguments->options.proxy_port = (int)number;
	return true;
}

static bool set_attribution(struct slm_cli_arguments *arguments,
			    const char *value)
{
	static const char *const words[] = { "exclusive", "port", "name",
					     NULL };

	arguments->options.attribution = value;
	return index_of(value, words) >= 0;
}

static bool add_background(struct slm_cli_arguments *arguments,
			   const char *value)
{
	if (arguments->nbackground == SLM_CLI_BACKGROUND_MAX)
		arguments->too_many = "--background";
	else
		arguments->background[arguments->nbackground++] = value;
	return *value != '\0';
}

static bool add_ignore(struct slm_cli_arguments *arguments, const char *value)
{
	if (arguments->nignore == SLM_CLI_IGNORE_MAX)
		arguments->too_many = "--ignore";
	else
		arguments->ignore[arguments->nignore++] = value;
	return *value != '\0';
}

static bool set_stall_after(struct slm_cli_arguments *arguments,
			    const char *value)
{
	return slm_cli_read_ms(value, &arguments->options.stall_after_ms) &&
	       arguments->options.stall_after_ms > 0;
}

static bool set_call_limit(struct slm_cli_arguments *arguments,
			   const char *value)
{
	return slm_cli_read_ms(value, &arguments->options.call_limit_ms) &&
	       arguments->options.call_limit_ms > 0;
}

static bool set_from_trace(struct slm_cli_arguments *arguments,
			   const char *value)
{
	arguments->from_trace = value;
	return *value != '\0';
}

static bool set_write_spec(struct slm_cli_arguments *arguments,
			   const char *value)
{
	arguments->write_spec = value;
	return *value != '\0';
}

/* ---- The proxy alone */

static bool set_host(struct slm_cli_arguments *arguments, const char *value)
{
	arguments->host = value;
	return *value != '\0';
}

static bool set_port(struct slm_cli_arguments *arguments, const char *value)
{
	uint64_t number;

	if (!read_between(value, 0, 65535, &number))
		return false;
	arguments->port = (int)number;
	return true;
}

static bool set_socket_dir(struct slm_cli_arguments *arguments,
			   const char *value)
{
	arguments->socket_dir = value;
	return *value != '\0';
}

static bool set_record(struct slm_cli_arguments *arguments, const char *value)
{
	arguments->record = value;
	return *value != '\0' && strcmp(value, "-") != 0;
}

static bool set_max_connections(struct slm_cli_arguments *arguments,
				const char *value)
{
	uint64_t number;

	if (!read_between(value, 1, 1000000, &number))
		return false;
	arguments->max_connections = (unsigned)number;
	return true;
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

static bool set_jobs(struct slm_cli_arguments *arguments, const char *value)
{
	uint64_t number;

	if (!read_between(value, 1, SQLOOM_JOBS_MAX, &number))
		return false;
	arguments->options.jobs = (unsigned)number;
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

static bool set_all_schedules(struct slm_cli_arguments *arguments,
			      const char *value)
{
	(void)value;
	arguments->options.all_schedules = true;
	return true;
}

static bool set_joint(struct slm_cli_arguments *arguments, const char *value)
{
	(void)value;
	arguments->options.joint = true;
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
	if (strcmp(value, "/dev/stdout") == 0)
		value = "-";
	arguments->options.trace_path = value;
	arguments->trace_is_stdout = strcmp(value, "-") == 0;
	return *value != '\0';
}

static bool set_schedule(struct slm_cli_arguments *arguments, const char *value)
{
	arguments->schedule = value;
	return *value != '\0';
}

static bool set_output_dir(struct slm_cli_arguments *arguments,
			   const char *value)
{
	arguments->output_dir = value;
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
#define REPORTS (RUNS | SLM_CLI_SHOW)
#define ALL (REPORTS | SLM_CLI_ISOLATION | SLM_CLI_PROXY | SLM_CLI_DOCTOR)
#define CALLS (RUNS | SLM_CLI_DOCTOR)

static const struct slm_cli_option database_options[] = {
	{ "db", 0, "DATABASE", CALLS | SLM_CLI_ISOLATION | SLM_CLI_PROXY,
	  "a PostgreSQL test database: postgresql://... or\n"
	  "keywords such as \"host=/run dbname=test\"; what\n"
	  "runs write is put back. Or an SQLite file that\n"
	  "every run starts from; it is never written\n"
	  "(default: that of the spec, else an empty SQLite\n"
	  "database)",
	  set_db, "a postgresql:// URI or the path of an SQLite file" },
	{ "pg-temp", 0, NULL, CALLS | SLM_CLI_PROXY,
	  "start a private PostgreSQL server for this run,\n"
	  "from the installed packages; it is removed after",
	  set_pg_temp, NULL },
	{ "isolation", 0, "LEVEL", RUNS,
	  "PostgreSQL: read committed, repeatable read or\n"
	  "serializable, for all sessions; or for some:\n"
	  "\"alice=serializable, read committed\"",
	  set_isolation, "an isolation level, or SESSION=LEVEL, ..." },
	{ "statement-limit", 0, "TIME", RUNS,
	  "PostgreSQL: cancel a statement that takes longer,\n"
	  "and end inconclusive (default 60 seconds; 0 is no\n"
	  "limit)",
	  set_statement_limit, "seconds, or a time such as 500ms or 2m" },
	{ "any-database", 0, NULL, CALLS,
	  "PostgreSQL: work also in a database that does not\n"
	  "look like one for tests",
	  set_any_database, NULL },
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

static const struct slm_cli_option call_options[] = {
	{ "call", 0, "COMMAND", CALLS,
	  "a call is this command, run by a shell: the first\n"
	  "--call or --http is call a, the next one b ...",
	  add_call, "a command" },
	{ "http", 0, "REQUEST", CALLS,
	  "a call is this request, such as\n"
	  "'POST http://127.0.0.1:8000/redeem code=X'",
	  add_http, "a request: [METHOD] URL [ITEM ...]" },
	{ "server", 0, "COMMAND", CALLS,
	  "the application that serves the calls: started\n"
	  "before the first run, ended after the last",
	  add_server, "a command" },
	{ "ready", 0, "WHAT", CALLS,
	  "the server is ready when this answers: http://...,\n"
	  "HOST:PORT or the path of a socket (default: when\n"
	  "it has been asleep for a while)",
	  set_ready, "a URL, HOST:PORT or the path of a socket" },
	{ "before", 0, "COMMAND", CALLS,
	  "run once, before all: makes the tables and rows\n"
	  "from which every run starts",
	  add_before, "a command" },
	{ "check", 0, "SQL", RUNS,
	  "a query that must return no row after a run", add_check, "a query" },
	{ "check-cmd", 0, "COMMAND", RUNS,
	  "a command that must exit with 0 after a run", add_check_cmd,
	  "a command" },
	{ "from-trace", 0, "TRACE", RUNS,
	  "the calls are what sqloom proxy --record wrote to\n"
	  "TRACE: a session for each connection, without the\n"
	  "programs",
	  set_from_trace, "the path of a trace" },
	{ "write-spec", 0, "FILE", SLM_CLI_EXPLORE,
	  "write what these options say to FILE, as a spec to\n"
	  "keep, and explore that",
	  set_write_spec, "the path of a file to write" },
	{ 0 },
};

static const struct slm_cli_option program_options[] = {
	{ "proxy-port", 0, "N", CALLS,
	  "the port on which programs find the database\n"
	  "(default: a free one)",
	  set_proxy_port, "a port from 1 to 65535" },
	{ "attribution", 0, "HOW", RUNS,
	  "how it is told whose a connection is. exclusive\n"
	  "(default): of the call that runs; port: each call\n"
	  "has a port of its own; name: application_name is\n"
	  "the name of the call",
	  set_attribution, "exclusive, port or name" },
	{ "background", 0, "NAME", RUNS,
	  "connections with this application_name belong to\n"
	  "no call: they pass at once",
	  add_background, "an application_name" },
	{ "stall-after", 0, "TIME", RUNS,
	  "a call that does nothing for so long, and not\n"
	  "because of a lock in the database, is stalled, and\n"
	  "the others go on (default 100ms)",
	  set_stall_after, "a time such as 200ms, 0.5s or 2m" },
	{ "call-limit", 0, "TIME", RUNS,
	  "a call that takes longer ends the exploration as\n"
	  "inconclusive (default 60s)",
	  set_call_limit, "a time such as 200ms, 0.5s or 2m" },
	{ 0 },
};

static const struct slm_cli_option proxy_options[] = {
	{ "host", 0, "HOST", SLM_CLI_PROXY,
	  "the address to listen on (default 127.0.0.1; who\n"
	  "reaches the proxy reaches the server through it)",
	  set_host, "a name or an address of this machine" },
	{ "port", 0, "N", SLM_CLI_PROXY,
	  "the port to listen on (default 7432); 0 is a free\n"
	  "one",
	  set_port, "a port from 0 to 65535" },
	{ "socket-dir", 0, "DIR", SLM_CLI_PROXY,
	  "listen on a Unix socket in DIR, too", set_socket_dir,
	  "a directory" },
	{ "max-connections", 0, "N", SLM_CLI_PROXY,
	  "refuse further clients beyond so many (default\n"
	  "1000)",
	  set_max_connections, "a number from 1 to 1000000" },
	{ "record", 0, "FILE", SLM_CLI_PROXY,
	  "write who said what to FILE, when the proxy ends,\n"
	  "for sqloom show",
	  set_record, "the path of a file to write" },
	{ 0 },
};

static const struct slm_cli_option search_options[] = {
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
	{ "jobs", 0, "N", SLM_CLI_EXPLORE,
	  "work on N databases at once, 1 to 64 (default 1);\n"
	  "the report is the same for every N",
	  set_jobs, "a number from 1 to 64" },
	{ "all-schedules", 0, NULL, RUNS,
	  "pass over the permutation lines of the spec: run\n"
	  "every order of all its steps",
	  set_all_schedules, NULL },
	{ "ignore", 0, "NAME", RUNS,
	  "do not compare the contents of this table, or of\n"
	  "this table.column; may be repeated",
	  add_ignore, "a table or table.column" },
	{ "joint", 0, NULL, RUNS,
	  "the results of all calls together must be\n"
	  "those of one serial order, not each alone",
	  set_joint, NULL },
	{ "strict", 0, NULL, RUNS,
	  "errors that ask to be retried, such as\n"
	  "SQLITE_BUSY, are wrong, too",
	  set_strict, NULL },
	{ 0 },
};

static const struct slm_cli_option output_options[] = {
	{ "trace", 0, "FILE", RUNS,
	  "write what happened to FILE, for sqloom show;\n"
	  "- is standard output, instead of the report",
	  set_trace, "the path of a file to write" },
	{ "schedule", 0, "FILE", SLM_CLI_ISOLATION,
	  "run the specs that FILE lists, a line test: NAME\n"
	  "for each; NAME is specs/NAME.spec beside it",
	  set_schedule, "the path of a schedule" },
	{ "output-dir", 0, "DIR", SLM_CLI_ISOLATION,
	  "write the output of each spec to DIR/NAME.out\n"
	  "(default: one after another to standard output)",
	  set_output_dir, "the path of a directory" },
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
	{ "json", 0, NULL, REPORTS, "one JSON object instead of text", set_json,
	  NULL },
	{ "quiet", 'q', NULL, REPORTS, "print the line with the verdict only",
	  set_quiet, NULL },
	{ "color", 0, "WHEN", REPORTS,
	  "auto (default): on a terminal, unless NO_COLOR is\n"
	  "set; always; never",
	  set_color, "auto, always or never" },
	{ "width", 0, "N", REPORTS | SLM_CLI_DOCTOR,
	  "columns, 40 to 1000 (default: those of the\n"
	  "terminal; 100 in a pipe)",
	  set_width, "a number from 40 to 1000" },
	{ "ascii", 0, NULL, REPORTS,
	  "no characters beyond ASCII (the default outside\n"
	  "of UTF-8 locales)",
	  set_ascii, NULL },
	{ "no-progress", 0, NULL, SLM_CLI_EXPLORE,
	  "show no progress on the terminal", set_no_progress, NULL },
	{ "help", 'h', NULL, ALL, "this text", set_help, NULL },
	{ 0 },
};

static const struct group groups[] = {
	{ "the calls, where there is no FILE", call_options },
	{ "the database", database_options },
	{ "calls that are programs", program_options },
	{ "the proxy", proxy_options },
	{ "what is run and judged", search_options },
	{ "what is told", output_options },
};

#define NGROUPS (sizeof(groups) / sizeof(groups[0]))
#define OPTIONS_MAX 64 /* more than the table has */

/* ---- Help -------------------------------------------------------------- */

static void print_option(const struct slm_cli_option *option)
{
	const char *line = option->help;
	int used = option->letter ?
			   printf("  -%c, --%s", option->letter, option->name) :
			   printf("  --%s", option->name);

	if (option->argument)
		used += printf(" %s", option->argument);
	if (used >= HELP_COLUMN) {
		putchar('\n');
		used = 0;
	}
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

		for (const struct slm_cli_option *o = groups[i].options;
		     o->name; o++) {
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

const struct slm_cli_option *slm_cli_option(const char *name, size_t length)
{
	for (size_t i = 0; i < NGROUPS; i++)
		for (const struct slm_cli_option *o = groups[i].options;
		     o->name; o++)
			if (strlen(o->name) == length &&
			    memcmp(o->name, name, length) == 0)
				return o;
	return NULL;
}

const struct slm_cli_option *slm_cli_option_letter(char letter)
{
	for (size_t i = 0; i < NGROUPS; i++)
		for (const struct slm_cli_option *o = groups[i].options;
		     o->name; o++)
			if (o->letter == letter)
				return o;
	return NULL;
}

const char *slm_cli_option_nearest(const struct slm_cli_command *command,
				   const char *typed)
{
	const char *names[OPTIONS_MAX + 1] = { NULL };
	size_t count = 0;

	for (size_t i = 0; i < NGROUPS; i++)
		for (const struct slm_cli_option *o = groups[i].options;
		     o->name; o++)
			if (o->commands & command->bit && count < OPTIONS_MAX)
				names[count++] = o->name;
	return slm_cli_nearest(typed, names);
}
