/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of the caller over those of the spec over the defaults. The
 * spec's parser has checked the values of its own options already.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "explore/explorer.h"

/* 2026-01-01 00:00:00 UTC: what now() says unless a spec sets its clock. A
 * fixed time, so that the same spec gives the same trace on any day. */
#define CLOCK_DEFAULT_MS INT64_C(1767225600000)

void sqloom_options_init(struct sqloom_options *options)
{
	*options = (struct sqloom_options){
		.busy_timeout_ms = -1,
		.max_runs = 1000000,
		.max_preemptions = -1,
		.pct_depth = 3,
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
	if (options->database || !name || *name == '/' || !slash)
		return SQLOOM_OK;
	*path = slm_arena_printf(arena, "%.*s/%s", (int)(slash - spec->name),
				 spec->name, name);
	return *path ? SQLOOM_OK : slm_error_nomem(err);
}

static enum sqloom_status check_isolation(const struct sqloom_spec *spec,
					  struct sqloom_error *err)
{
	const struct slm_spec_option *option =
		slm_spec_option(spec, "isolation");

	if (!option || strcmp(option->values[0], "serializable") == 0)
		return SQLOOM_OK;
	slm_error_set(err, SQLOOM_UNSUPPORTED,
		      "SQLite has only serializable transactions, not %s; take "
		      "the option out",
		      option->values[0]);
	slm_spec_error_place(spec, option->line, option->column, err);
	return SQLOOM_UNSUPPORTED;
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
		.joint = options->joint ||
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

	if (!status)
		status = check_isolation(spec, err);
	if (settings.db.busy_timeout_ms < 0)
		settings.db.busy_timeout_ms = timeout ? atoi(timeout) : 0;
	if (!status)
		status = database_of(spec, options, arena,
				     &settings.db.database, err);
	if (!status)
		status = collect(spec, "allow", arena, &settings.allow,
				 &settings.nallow, err);
	if (!status)
		status = collect(spec, "ignore", arena, &settings.ignore,
				 &settings.nignore, err);
	if (!status)
		*out = settings;
	return status;
}
