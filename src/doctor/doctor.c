/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doctor: looks at the set-up of an exploration, one thing after another,
 * and says in words what is right, what is wrong and what to do. A problem is
 * a result, not an error.
 */
#include "doctor/doctor.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

#include "base/error.h"

void sqloom_doctor_options_init(struct sqloom_doctor_options *options)
{
	assert(options);
	memset(options, 0, sizeof(*options));
}

/* ---- Telling ------------------------------------------------------------ */

static const char *text_of(struct doctor *doctor, const char *fmt, va_list args)
{
	const char *text = slm_arena_vprintf(&doctor->arena, fmt, args);

	if (!text)
		doctor->status = SQLOOM_NOMEM;
	return text ? text : "";
}

const char *slm_doctor_text(struct doctor *doctor, const char *fmt, ...)
{
	const char *text;
	va_list args;

	va_start(args, fmt);
	text = text_of(doctor, fmt, args);
	va_end(args);
	return text;
}

void slm_doctor_tell(struct doctor *doctor, enum sqloom_health health,
		     const char *what, const char *advice, const char *fmt, ...)
{
	struct sqloom_checkup checkup = { .health = health,
					  .what = what,
					  .advice = advice };
	va_list args;

	va_start(args, fmt);
	checkup.found = text_of(doctor, fmt, args);
	va_end(args);
	doctor->problems += health == SQLOOM_HEALTH_PROBLEM;
	doctor->options->tell(&checkup, doctor->options->userdata);
}

void slm_doctor_tell_error(struct doctor *doctor, const char *what,
			   const struct sqloom_error *err)
{
	if (err->line)
		slm_doctor_tell(doctor, SQLOOM_HEALTH_PROBLEM, what, NULL,
				"%s:%u:%u: %s", err->path, err->line,
				err->column, err->message);
	else
		slm_doctor_tell(doctor, SQLOOM_HEALTH_PROBLEM, what, NULL, "%s",
				err->message);
}

/* ---- The checks --------------------------------------------------------- */

/* The server that an exploration would use. */
static bool find_server(struct doctor *doctor)
{
	const struct sqloom_doctor_options *options = doctor->options;
	const struct slm_spec_option *named =
		doctor->spec ? slm_spec_option(doctor->spec, "database") : NULL;
	struct slm_pg_server_options server = {
		.bindir = options->pg_bindir,
		.path = options->pg_path,
		.place = options->pg_place,
	};
	struct sqloom_error err;

	if (options->database)
		doctor->conninfo = options->database;
	else if (named && slm_pg_is_conninfo(named->values[0]))
		doctor->conninfo = named->values[0];
	else
		doctor->conninfo = "";
	if (!options->pg_temp)
		return true;
	if (slm_pg_server_start(&server, &doctor->server, &err)) {
		slm_doctor_tell_error(doctor, "private server", &err);
		return false;
	}
	doctor->conninfo = slm_pg_server_conninfo(doctor->server);
	slm_doctor_tell(doctor, SQLOOM_HEALTH_OK, "private server", NULL,
			"the installed PostgreSQL was started, and is removed "
			"at the end");
	return true;
}

static bool goes_on(const struct doctor *doctor)
{
	const struct sqloom_doctor_options *options = doctor->options;

	return !doctor->status &&
	       (!options->goes_on || options->goes_on(options->userdata));
}

static void examine(struct doctor *doctor)
{
	static void (*const checks[])(struct doctor *) = {
		slm_doctor_role,   slm_doctor_connections,
		slm_doctor_others, slm_doctor_prepared,
		slm_doctor_parser, slm_doctor_database,
	};
	bool calls = doctor->spec && doctor->spec->has_calls;

	if (!find_server(doctor) || !slm_doctor_server(doctor))
		return;
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		if (goes_on(doctor))
			checks[i](doctor);
	if (!goes_on(doctor) || !slm_doctor_proxy(doctor))
		return;
	/* What stands in the way of sessions stands in that of programs. */
	if (calls && !doctor->problems)
		slm_doctor_calls(doctor);
	else if (calls)
		slm_doctor_tell(doctor, SQLOOM_HEALTH_NOTE, "calls", NULL,
				"they are not tried before the problems above "
				"are solved");
}

static enum sqloom_status check_options(
	const struct sqloom_doctor_options *options, struct sqloom_error *err)
{
	if (options->pg_temp && options->database)
		return slm_error_set(err, SQLOOM_USAGE,
				     "--pg-temp starts a server of its own, "
				     "and --db names another: give one of the "
				     "two");
	if (options->database && !slm_pg_is_conninfo(options->database))
		return slm_error_set(
			err, SQLOOM_USAGE,
			"\"%s\" is no PostgreSQL server, and on SQLite there is "
			"nothing to set up: give --db postgresql://... or "
			"--pg-temp",
			options->database);
	return SQLOOM_OK;
}

enum sqloom_status sqloom_doctor(const struct sqloom_spec *spec,
				 const struct sqloom_doctor_options *options,
				 unsigned *problems, struct sqloom_error *err)
{
	struct doctor doctor = { .options = options, .spec = spec };
	enum sqloom_status status;

	assert(options && options->tell && problems);
	status = check_options(options, err);
	if (status)
		return status;
	slm_arena_init(&doctor.arena);
	examine(&doctor);
	slm_pg_close(&doctor.pg);
	slm_pg_server_stop(doctor.server);
	slm_arena_deinit(&doctor.arena);
	if (doctor.status)
		return slm_error_nomem(err);
	*problems = doctor.problems;
	return SQLOOM_OK;
}
