/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of the caller over those of the spec over the defaults. The
 * spec's parser has checked the values of its own options already.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "explore/explorer.h"
#include "pg/pg.h"

/* 2026-01-01 00:00:00 UTC: what now() says unless a spec sets its clock. A
 * fixed time, so that the same spec gives the same trace on any day. */
#define CLOCK_DEFAULT_MS INT64_C(1767225600000)

#define STALL_AFTER_DEFAULT_MS 100
#define CALL_LIMIT_DEFAULT_MS 60000
#define CALL_TIME_MAX_MS 86400000 /* a day */
#define PORT_MAX 65535

void sqloom_options_init(struct sqloom_options *options)
{
	*options = (struct sqloom_options){
		.busy_timeout_ms = -1,
		.max_runs = 1000000,
		.max_preemptions = -1,
		.pct_depth = 3,
		.statement_limit_ms = 60000,
	};
}

static const char *value(const struct sqloom_spec *spec, const char *name)
{
	const struct slm_spec_option *option = slm_spec_option(spec, name);

	return option ? option->values[0] : NULL;
}

bool slm_settings_flag(const struct sqloom_spec *spec, const char *name,
		       bool otherwise)
{
	const char *text = value(spec, name);

	return text ? strcmp(text, "on") == 0 : otherwise;
}

/* Days since 1970-01-01 of a date of the Gregorian calendar (H. Hinnant,
 * "chrono-Compatible Low-Level Date Algorithms", days_from_civil). */
static int64_t days_from_civil(int64_t y, unsigned m, unsigned d)
{
	int64_t era;
	unsigned yoe, doy, doe;

	y -= m <= 2;
	era = (y >= 0 ? y : y - 399) / 400;
	yoe = (unsigned)(y - era * 400);
	doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
	doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	return era * 146097 + (int64_t)doe - 719468;
}

static int64_t clock_of(const struct sqloom_spec *spec)
{
	const char *text = value(spec, "clock");
	unsigned y, mo, d, h = 0, mi = 0, s = 0;

	if (!text || sscanf(text, "%4u-%2u-%2u%*1[ T]%2u:%2u:%2u", &y, &mo, &d,
			    &h, &mi, &s) < 3)
		return CLOCK_DEFAULT_MS;
	return ((days_from_civil(y, mo, d) * 24 + h) * 60 + mi) * 60000 +
	       (int64_t)s * 1000;
}

/* All values of an option that may be given more than once. */
static enum sqloom_status collect(const struct sqloom_spec *spec,
				  const char *name, struct slm_arena *arena,
				  const char *const **list, uint32_t *count,
				  struct sqloom_error *err)
{
	const char **values =
		slm_arena_zalloc(arena, spec->noptions, sizeof(*values));

	if (!values)
		return slm_error_nomem(err);
	*count = 0;
	for (unsigned i = 0; i < spec->noptions; i++)
		if (strcmp(spec->options[i].name, name) == 0)
			values[(*count)++] = spec->options[i].values[0];
	*list = values;
	return SQLOOM_OK;
}

static enum sqloom_status check_ignored(const char *const *ignore,
					struct sqloom_error *err)
{
	for (; ignore && *ignore; ignore++)
		if (!slm_spec_is_ignore(*ignore))
			return slm_error_set(err, SQLOOM_USAGE,
					     "\"%.80s\" cannot be ignored: "
					     "--ignore takes a table or "
					     "table.column",
					     *ignore);
	return SQLOOM_OK;
}

/* Those of the options, then those of the spec. */
static enum sqloom_status ignored(const struct sqloom_spec *spec,
				  const struct sqloom_options *options,
				  struct slm_arena *arena,
				  struct settings *settings,
				  struct sqloom_error *err)
{
	const char *const *given = options->ignore, *const * of_spec;
	uint32_t ngiven = 0, nof_spec;
	const char **all;
	enum sqloom_status status = check_ignored(given, err);

	if (!status)
		status = collect(spec, "ignore", arena, &of_spec, &nof_spec,
				 err);
	if (status)
		return status;
	while (given && given[ngiven])
		ngiven++;
	all = slm_arena_zalloc(arena, ngiven + nof_spec, sizeof(*all));
	if (!all)
		return slm_error_nomem(err);
	for (uint32_t i = 0; i < ngiven; i++)
		all[i] = given[i];
	for (uint32_t i = 0; i < nof_spec; i++)
		all[ngiven + i] = of_spec[i];
	settings->ignore = all;
	settings->nignore = ngiven + nof_spec;
	settings->db.ignore = settings->pg.ignore = given;
	return SQLOOM_OK;
}

/* A database named in a spec is relative to the spec file. */
static enum sqloom_status database_of(const struct sqloom_spec *spec,
				      const struct sqloom_options *options,
				      struct slm_arena *arena,
				      const char **path,
				      struct sqloom_error *err)
{
	const char *name = value(spec, "database");
	const char *slash = strrchr(spec->name, '/');

	*path = options->database ? options->database : name;
	if (options->database || !name || *name == '/' || !slash ||
	    slm_pg_is_conninfo(name))
		return SQLOOM_OK;
	*path = slm_arena_printf(arena, "%.*s/%s", (int)(slash - spec->name),
				 spec->name, name);
	return *path ? SQLOOM_OK : slm_error_nomem(err);
}

/* ---- Isolation --------------------------------------------------------- */

/* SQLite has one level. */
static enum sqloom_status check_sqlite_isolation(
	const struct sqloom_spec *spec, const struct sqloom_options *options,
	struct sqloom_error *err)
{
	const struct slm_spec_option *option =
		slm_spec_option(spec, "isolation");

	if (options->isolation)
		return slm_error_set(err, SQLOOM_UNSUPPORTED,
				     "--isolation is for PostgreSQL, and the "
				     "runs are on SQLite; give --db "
				     "postgresql://... or --pg-temp");
	if (!option || strcmp(option->values[0], "serializable") == 0)
		return SQLOOM_OK;
	slm_error_set(err, SQLOOM_UNSUPPORTED,
		      "SQLite has only serializable transactions, not %s; take "
		      "the option out, or run on PostgreSQL (--db "
		      "postgresql://... or --pg-temp)",
		      option->values[0]);
	slm_spec_error_place(spec, option->line, option->column, err);
	return SQLOOM_UNSUPPORTED;
}

/* The level that is called so ("repeatable-read", "rr"), or NULL. */
static const char *level_of(const char *text, size_t length)
{
	static const struct {
		const char *name, *level;
	} levels[] = {
		{ "read uncommitted", "read uncommitted" },
		{ "read committed", "read committed" },
		{ "repeatable read", "repeatable read" },
		{ "serializable", "serializable" },
		{ "rc", "read committed" },
		{ "rr", "repeatable read" },
		{ "ser", "serializable" },
	};

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		const char *name = levels[i].name;
		bool same = strlen(name) == length;

		for (size_t j = 0; same && j < length; j++) {
			char c = text[j];

			if (c == '-' || c == '_')
				c = ' ';
			if (c >= 'A' && c <= 'Z')
				c = (char)(c + 'a' - 'A');
			same = c == name[j];
		}
		if (same)
			return levels[i].level;
	}
	return NULL;
}

static enum sqloom_status bad_level(const char *text, size_t length,
				    struct sqloom_error *err)
{
	return slm_error_set(err, SQLOOM_USAGE,
			     "\"%.*s\" is no isolation level: give read "
			     "committed, repeatable read or serializable, or "
			     "SESSION=LEVEL with a session of the spec",
			     (int)length, text);
}

/* One of the parts between commas. */
static enum sqloom_status isolation_part(const struct sqloom_spec *spec,
					 const char *text, size_t length,
					 const char **levels, bool *named,
					 struct sqloom_error *err)
{
	const char *equals = memchr(text, '=', length);
	size_t name = equals ? (size_t)(equals - text) : 0;
	const char *at = equals ? equals + 1 : text;
	const char *level = level_of(at, length - (size_t)(at - text));
	bool known = false;

	if (!level)
		return bad_level(text, length, err);
	for (unsigned i = 0; i < spec->nsessions; i++) {
		const char *session = spec->sessions[i].name;

		if (equals && (strlen(session) != name ||
			       memcmp(session, text, name) != 0))
			continue;
		known = true;
		if (!equals && named[i])
			continue;
		levels[i] = level;
		named[i] |= equals != NULL;
	}
	return known ? SQLOOM_OK : bad_level(text, length, err);
}

static enum sqloom_status isolation_of(const struct sqloom_spec *spec,
				       const struct sqloom_options *options,
				       const char **levels,
				       struct sqloom_error *err)
{
	const char *text = options->isolation ? options->isolation :
						value(spec, "isolation");
	bool named[SLM_CALLS_MAX] = { false };
	enum sqloom_status status = SQLOOM_OK;

	while (!status && text && *text) {
		size_t length;

		text += strspn(text, " ,");
		length = strcspn(text, ",");
		while (length && text[length - 1] == ' ')
			length--;
		status = isolation_part(spec, text, length, levels, named, err);
		text += strcspn(text, ",");
	}
	return status;
}

/* ---- Calls that are programs ------------------------------------------- */

/* Options that mean nothing for sessions are refused, not passed over. */
static enum sqloom_status check_no_calls(const struct sqloom_options *options,
					 struct sqloom_error *err)
{
	const char *given = options->proxy_port	    ? "--proxy-port" :
			    options->attribution    ? "--attribution" :
			    options->background	    ? "--background" :
			    options->stall_after_ms ? "--stall-after" :
			    options->call_limit_ms  ? "--call-limit" :
						      NULL;

	if (!given)
		return SQLOOM_OK;
	return slm_error_set(err, SQLOOM_USAGE,
			     "%s is for calls that are programs, and the spec "
			     "has sessions: take it out",
			     given);
}

/* Functions on SQLite: their connections are their own, and there is no proxy.
 */
static enum sqloom_status check_functions(const struct sqloom_options *options,
					  struct sqloom_error *err)
{
	const char *given = options->store		  ? "the file store" :
			    options->busy_timeout_ms >= 0 ? "a busy timeout" :
			    options->isolation	 ? "an isolation level" :
			    options->proxy_port	 ? "a proxy's port" :
			    options->attribution ? "an attribution" :
			    options->background	 ? "background traffic" :
						   NULL;

	if (given)
		return slm_error_set(
			err, SQLOOM_USAGE,
			"%s is asked for, and the calls are functions on "
			"SQLite, which open their connections themselves, in "
			"memory: leave it out",
			given);
	if (options->jobs > 1)
		return slm_error_set(
			err, SQLOOM_USAGE,
			"%u jobs are asked for, and the calls are functions of "
			"this process, which are explored by one: leave jobs "
			"out",
			options->jobs);
	return SQLOOM_OK;
}

/* What calls cannot do, whatever their options. */
static enum sqloom_status check_calls(const struct sqloom_spec *spec,
				      const struct sqloom_options *options,
				      const struct settings *settings,
				      struct sqloom_error *err)
{
	for (unsigned i = 0; !spec->functions && i < spec->nsessions; i++)
		if (spec->sessions[i].call == SLM_CALL_FUNCTION)
			return slm_error_set(
				err, SQLOOM_USAGE,
				"call \"%s\" is a function of the program "
				"that explores it by sqloom_explore_calls(): "
				"run that program",
				spec->sessions[i].name);
	if (!settings->postgres && spec->functions)
		return check_functions(options, err);
	if (!settings->postgres && settings->db.database)
		return slm_error_set(
			err, SQLOOM_USAGE,
			"the calls are programs, which sqloom sees as clients "
			"of PostgreSQL, and %s is an SQLite file: give --db "
			"postgresql://... or --pg-temp",
			settings->db.database);
	if (!settings->postgres)
		return slm_error_set(
			err, SQLOOM_USAGE,
			"the calls are programs, and programs need "
			"PostgreSQL: give --db postgresql://... or --pg-temp");
	if (options->jobs > 1)
		return slm_error_set(
			err, SQLOOM_USAGE,
			"--jobs %u is asked for, and the calls are programs, "
			"which work on one database: leave --jobs out",
			options->jobs);
	if (!options->isolation && !value(spec, "isolation"))
		return SQLOOM_OK;
	return slm_error_set(
		err, SQLOOM_USAGE,
		"an isolation level is given for sessions, and the calls are "
		"programs, which choose theirs: take it out, or start sqloom "
		"with PGOPTIONS='-c default_transaction_isolation=...'");
}

static enum sqloom_status attribution_of(const struct sqloom_spec *spec,
					 const struct sqloom_options *options,
					 enum slm_attribution *out,
					 struct sqloom_error *err)
{
	static const char *const words[] = {
		[SLM_ATTRIBUTION_EXCLUSIVE] = "exclusive",
		[SLM_ATTRIBUTION_PORT] = "port",
		[SLM_ATTRIBUTION_NAME] = "name",
	};
	const char *word = options->attribution ? options->attribution :
						  value(spec, "attribution");

	*out = SLM_ATTRIBUTION_EXCLUSIVE;
	for (size_t i = 0; word && i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(word, words[i]) == 0) {
			*out = (enum slm_attribution)i;
			return SQLOOM_OK;
		}
	if (!word)
		return SQLOOM_OK;
	return slm_error_set(err, SQLOOM_USAGE,
			     "\"%.40s\" is no way to tell whose a connection "
			     "is: give exclusive, port or name",
			     word);
}

static enum sqloom_status port_of(const struct sqloom_spec *spec,
				  const struct sqloom_options *options,
				  struct slm_programs_options *programs,
				  struct sqloom_error *err)
{
	const char *text = value(spec, "proxy_port");
	int port = options->proxy_port ? options->proxy_port :
		   text		       ? atoi(text) :
					 0;
	int last = port;

	if (programs->attribution == SLM_ATTRIBUTION_PORT && port)
		last += (int)spec->nsessions - 1;
	programs->proxy_port = port;
	if (port >= 0 && last <= PORT_MAX)
		return SQLOOM_OK;
	if (port < 0 || port > PORT_MAX)
		return slm_error_set(err, SQLOOM_USAGE,
				     "the proxy's port is %d; give 1 to %d, or "
				     "none for a free one",
				     port, PORT_MAX);
	return slm_error_set(err, SQLOOM_USAGE,
			     "each of the %u calls has a port of its own, and "
			     "from %d on there are only %d: give a lower port",
			     spec->nsessions, port, PORT_MAX - port + 1);
}

static enum sqloom_status background_of(const struct sqloom_spec *spec,
					const struct sqloom_options *options,
					struct slm_arena *arena,
					const char *const **out,
					struct sqloom_error *err)
{
	const char *const *given = options->background;
	const char **names;
	unsigned count = 0;

	for (unsigned i = 0; given && given[i]; i++)
		if (!*given[i] || strlen(given[i]) > SLM_SPEC_NAME_MAX)
			return slm_error_set(
				err, SQLOOM_USAGE,
				"\"%.80s\" can be no application_name: one has "
				"1 to %d bytes",
				given[i], SLM_SPEC_NAME_MAX);
	*out = given;
	if (given)
		return SQLOOM_OK;
	names = slm_arena_zalloc(arena, spec->noptions + 1, sizeof(*names));
	if (!names)
		return slm_error_nomem(err);
	for (unsigned i = 0; i < spec->noptions; i++)
		if (strcmp(spec->options[i].name, "background") == 0)
			names[count++] = spec->options[i].values[0];
	*out = names;
	return SQLOOM_OK;
}

static enum sqloom_status time_of(const struct sqloom_spec *spec,
				  const char *name, uint64_t given,
				  uint64_t otherwise, uint64_t *out,
				  struct sqloom_error *err)
{
	const char *text = value(spec, name);

	*out = given ? given : text ? strtoull(text, NULL, 10) : otherwise;
	if (*out <= CALL_TIME_MAX_MS)
		return SQLOOM_OK;
	return slm_error_set(err, SQLOOM_USAGE,
			     "%s is %llu ms; the most is a day, %d ms", name,
			     (unsigned long long)*out, CALL_TIME_MAX_MS);
}

static enum sqloom_status programs_of(const struct sqloom_spec *spec,
				      const struct sqloom_options *options,
				      struct slm_arena *arena,
				      struct settings *settings,
				      struct sqloom_error *err)
{
	struct slm_programs_options *programs = &settings->programs;
	enum sqloom_status status;

	settings->has_calls = spec->has_calls;
	if (!spec->has_calls)
		return check_no_calls(options, err);
	programs->environment = options->environment;
	status = check_calls(spec, options, settings, err);
	if (!status)
		status = attribution_of(spec, options, &programs->attribution,
					err);
	if (!status)
		status = port_of(spec, options, programs, err);
	if (!status)
		status = background_of(spec, options, arena,
				       &programs->background, err);
	if (!status)
		status = time_of(spec, "stall_after", options->stall_after_ms,
				 settings->postgres ? STALL_AFTER_DEFAULT_MS :
						      SLM_FUNCTION_STALL_MS,
				 &programs->stall_after_ms, err);
	if (!status)
		status = time_of(spec, "call_limit", options->call_limit_ms,
				 CALL_LIMIT_DEFAULT_MS,
				 &programs->call_limit_ms, err);
	return status;
}

/* ---- Which database ---------------------------------------------------- */

const char *slm_database_shown(struct slm_arena *arena, const char *database)
{
	const char *host, *colon, *at, *word;

	if (!slm_pg_is_conninfo(database))
		return slm_arena_strdup(arena, database);
	host = strstr(database, "://");
	if (host) {
		host += 3;
		at = memchr(host, '@', strcspn(host, "/?"));
		colon = at ? memchr(host, ':', (size_t)(at - host)) : NULL;
		return colon ? slm_arena_printf(arena, "%.*s%s",
						(int)(colon - database),
						database, at) :
			       slm_arena_strdup(arena, database);
	}
	word = strstr(database, "password");
	if (!word)
		return slm_arena_strdup(arena, database);
	return slm_arena_printf(arena, "%.*s%s", (int)(word - database),
				database, word + strcspn(word, " "));
}

/* Options that mean nothing there are refused, not passed over. */
static enum sqloom_status check_postgres(const struct sqloom_options *options,
					 struct sqloom_error *err)
{
	const char *given = options->journal		  ? "--journal" :
			    options->store		  ? "--store" :
			    options->busy_timeout_ms >= 0 ? "--busy-timeout" :
							    NULL;

	if (options->pg_temp && options->database)
		return slm_error_set(
			err, SQLOOM_USAGE,
			"--pg-temp starts a server of its own, and "
			"--db names another: give one of the two");
	if (given)
		return slm_error_set(err, SQLOOM_USAGE,
				     "%s is for SQLite, and the runs are on "
				     "PostgreSQL: take it out",
				     given);
	return SQLOOM_OK;
}

static enum sqloom_status check_options(const struct sqloom_options *options,
					struct sqloom_error *err)
{
	if (options->busy_timeout_ms < -1)
		return slm_error_set(err, SQLOOM_USAGE,
				     "the busy timeout is %d; give "
				     "milliseconds, 0 or more",
				     options->busy_timeout_ms);
	if (options->pct_depth < 1 || options->pct_depth > SLM_PCT_DEPTH_MAX)
		return slm_error_set(err, SQLOOM_USAGE,
				     "the PCT depth is %u; it must be from 1 "
				     "to %d",
				     options->pct_depth, SLM_PCT_DEPTH_MAX);
	if (options->jobs > SQLOOM_JOBS_MAX)
		return slm_error_set(err, SQLOOM_USAGE,
				     "%u databases at once are asked for; give "
				     "1 to %d",
				     options->jobs, SQLOOM_JOBS_MAX);
	if (options->max_preemptions < -1)
		return slm_error_set(err, SQLOOM_USAGE,
				     "the bound on switches is %d; give 0 or "
				     "more",
				     options->max_preemptions);
	return SQLOOM_OK;
}

enum sqloom_status slm_settings_resolve(const struct sqloom_spec *spec,
					const struct sqloom_options *options,
					struct slm_arena *arena,
					struct settings *out,
					struct sqloom_error *err)
{
	const char *timeout = value(spec, "busy_timeout");
	const char *on_error = value(spec, "on_error");
	const char *results = value(spec, "results");
	struct settings settings = {
		.strict = options->strict ||
			  slm_settings_flag(spec, "strict", false),
		/* What a function gives back it gives on purpose. */
		.joint = options->joint || spec->functions ||
			 (results && strcmp(results, "joint") == 0),
		.stop_on_error = !on_error || strcmp(on_error, "stop") == 0,
		.db = {
			.store = options->store,
			.journal = options->journal ? options->journal :
						      value(spec, "journal"),
			.busy_timeout_ms = options->busy_timeout_ms,
			.local_begin =
				options->local_begin ||
				slm_settings_flag(spec, "local_begin", false),
			.clock_ms = clock_of(spec),
			.seed = options->seed,
		},
	};
	enum sqloom_status status = check_options(options, err);

	if (settings.db.busy_timeout_ms < 0)
		settings.db.busy_timeout_ms = timeout ? atoi(timeout) : 0;
	if (!status)
		status = database_of(spec, options, arena,
				     &settings.db.database, err);
	settings.postgres = options->pg_temp ||
			    (settings.db.database &&
			     slm_pg_is_conninfo(settings.db.database));
	settings.pg = (struct slm_postgres_options){
		.conninfo = settings.db.database,
		.local_begin = settings.db.local_begin,
		.any_database = options->any_database,
		.statement_limit_ms = options->statement_limit_ms,
		.jobs = options->jobs,
	};
	if (!status)
		status = programs_of(spec, options, arena, &settings, err);
	if (!status && settings.postgres)
		status = check_postgres(options, err);
	if (!status)
		status = settings.postgres ?
				 isolation_of(spec, options,
					      settings.pg.isolation, err) :
				 check_sqlite_isolation(spec, options, err);
	if (!status)
		status = collect(spec, "allow", arena, &settings.allow,
				 &settings.nallow, err);
	if (!status)
		status = ignored(spec, options, arena, &settings, err);
	if (!status)
		*out = settings;
	return status;
}
