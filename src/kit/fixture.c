/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Committing tests: the public functions, and the choice between the kinds of
 * databases.
 */
#include "kit/fixture.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "kit/database.h"
#include "kit/processes.h"
#include "pg/pg.h"

void sqloom_fixture_options_init(struct sqloom_fixture_options *options)
{
	*options = (struct sqloom_fixture_options){ .database = NULL };
}

static enum sqloom_status refuse_null(const char *function, const char *what,
				      struct sqloom_error *err)
{
	return slm_error_set(err, SQLOOM_USAGE,
			     "%s was called without %s: it must not be NULL",
			     function, what);
}

enum sqloom_status sqloom_fixture_open(
	const struct sqloom_fixture_options *options,
	struct sqloom_fixture **out, struct sqloom_error *err)
{
	if (!options || !out)
		return refuse_null(
			"sqloom_fixture_open()",
			options ? "a place for the fixture" : "options", err);
	if (options->database && slm_pg_is_conninfo(options->database))
		return slm_fixture_open_postgres(options, out, err);
	if (options->processes || slm_processes_any())
		return slm_fixture_open_file(options, out, err);
	return slm_fixture_open_memory(options, out, err);
}

const char *sqloom_fixture_url(const struct sqloom_fixture *fixture)
{
	return fixture ? fixture->url : NULL;
}

/* Who was ended is told even where what follows failed: in the message. */
static void add_left(const char *left, struct sqloom_error *err)
{
	size_t used = err ? strlen(err->message) : 0;

	if (err && *left)
		snprintf(err->message + used, sizeof(err->message) - used,
			 "; left in a transaction: %.*s",
			 (int)strcspn(left, "\n"), left);
}

enum sqloom_status sqloom_fixture_restore(struct sqloom_fixture *fixture,
					  char **left, struct sqloom_error *err)
{
	struct slm_buf text;
	enum sqloom_status status;
	char *taken;

	if (!fixture)
		return refuse_null("sqloom_fixture_restore()", "a fixture",
				   err);
	slm_buf_init(&text);
	status = fixture->kind->restore(fixture, &text, err);
	taken = slm_buf_take(&text);
	slm_buf_deinit(&text);
	if (!taken && !status)
		status = slm_error_nomem(err);
	if (status && taken)
		add_left(taken, err);
	if (left && !status)
		*left = taken;
	else
		slm_free(taken);
	return status;
}

enum sqloom_status sqloom_fixture_close(struct sqloom_fixture *fixture,
					struct sqloom_error *err)
{
	return fixture ? fixture->kind->close(fixture, err) : SQLOOM_OK;
}

enum sqloom_status slm_fixture_set_up(
	const struct sqloom_fixture_options *options, const char *url,
	struct sqloom_error *err)
{
	struct sqloom_db *db;
	enum sqloom_status status, closed;
	int returned;

	if (!options->setup)
		return SQLOOM_OK;
	status = sqloom_db_open(url, &db, err);
	if (status)
		return status;
	returned = options->setup(db, options->arg);
	if (returned)
		status = slm_error_set(
			err, SQLOOM_CALL,
			"the fixture's setup failed: it returned %d%s%s",
			returned,
			db->failure.set ? "; the database had said: " : "",
			db->failure.set ? db->failure.text : "");
	closed = sqloom_db_close(db, status ? NULL : err);
	return status ? status : closed;
}
