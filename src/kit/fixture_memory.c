/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fixture on SQLite for the threads of this process: a database in the
 * memory store, which the program opens by a path that leads there, and
 * nowhere on the disk. Locks are those of real files; going back costs the
 * pages that were written.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "db/sqlite_front.h"
#include "kit/fixture.h"

struct memory_fixture {
	struct sqloom_fixture base; /* first */
	struct slm_store *store;    /* owned, as all that follows */
	struct slm_front_route *route;
	struct slm_fixture_handles *handles;
};

static struct memory_fixture *of(struct sqloom_fixture *base)
{
	return (struct memory_fixture *)base;
}

static void fixture_free(struct memory_fixture *fixture)
{
	slm_fixture_handles_free(fixture->handles);
	if (fixture->route)
		slm_front_remove(fixture->route, NULL);
	slm_store_free(fixture->store);
	slm_free(fixture->base.url);
	slm_free(fixture);
}

/* Somebody who is in no list. */
static enum sqloom_status in_the_way(const struct memory_fixture *fixture,
				     struct sqloom_error *err)
{
	return slm_error_set(
		err, SQLOOM_DATABASE,
		"a connection that is not known is still in a transaction on "
		"%s (one that attached it to another database, or was opened "
		"after sqlite3_reset_auto_extension()): end its transaction "
		"before the fixture is put back",
		fixture->base.url);
}

static enum sqloom_status op_restore(struct sqloom_fixture *base,
				     struct slm_buf *left,
				     struct sqloom_error *err)
{
	struct memory_fixture *fixture = of(base);
	struct sqloom_error why = { 0 };
	enum sqloom_status status =
		slm_fixture_handles_end(fixture->handles, left, err);

	if (status)
		return status;
	slm_front_lock(fixture->route);
	if (slm_store_holds(fixture->store, SLM_STORE_NOBODY))
		status = in_the_way(fixture, err);
	else
		status = slm_store_restore(fixture->store, &why);
	slm_front_unlock(fixture->route);
	if (status == SQLOOM_UNSUPPORTED)
		return slm_error_set(
			err, status,
			"the test changed the journal mode of the database, or "
			"replaced its files, and connections that know it so "
			"are still open: close them before the fixture is put "
			"back");
	if (status && why.status && err)
		*err = why;
	return status;
}

static enum sqloom_status op_close(struct sqloom_fixture *base,
				   struct sqloom_error *err)
{
	struct memory_fixture *fixture = of(base);
	enum sqloom_status status =
		slm_fixture_handles_end(fixture->handles, NULL, err);

	fixture_free(fixture);
	return status;
}

static const struct slm_fixture_kind kind = {
	.restore = op_restore,
	.close = op_close,
};

static enum sqloom_status add_route(struct memory_fixture *fixture,
				    struct sqloom_error *err)
{
	static atomic_uint number;
	struct slm_front_options options = { .store = fixture->store };
	char url[64];
	enum sqloom_status status;

	/* A path on which there is nothing, and nothing can be made. */
	snprintf(url, sizeof(url), "file:/sqloom/fixture-%ld-%u/test.db",
		 (long)getpid(), atomic_fetch_add(&number, 1));
	fixture->base.url = slm_strdup(url);
	if (!fixture->base.url)
		return slm_error_nomem(err);
	options.path = fixture->base.url + strlen("file:");
	status = slm_front_add(&options, &fixture->route, err);
	if (!status)
		status = slm_fixture_handles_new(options.path,
						 &fixture->handles, err);
	return status;
}

/* Is the seed a database at all? */
static enum sqloom_status look_at_seed(
	const struct sqloom_fixture_options *options, const char *url,
	struct sqloom_error *err)
{
	struct sqloom_error why;
	struct sqloom_db *db;
	char *text = NULL;
	enum sqloom_status status;

	if (!options->database)
		return SQLOOM_OK;
	status = sqloom_db_open(url, &db, err);
	if (status)
		return status;
	status = sqloom_query(db, "PRAGMA schema_version", &text, &why);
	sqloom_text_free(text);
	if (status)
		slm_error_set(err, status, "cannot use %s: %.300s",
			      options->database, why.message);
	(void)sqloom_db_close(db, NULL);
	return status;
}

static enum sqloom_status take_snapshot(struct memory_fixture *fixture,
					struct sqloom_error *err)
{
	struct slm_buf left;
	enum sqloom_status status;
	bool clean;

	/* What setup left open on a connection of its own would be part of
	 * every test. */
	slm_buf_init(&left);
	status = slm_fixture_handles_end(fixture->handles, &left, err);
	clean = left.size == 0;
	if (!status && !clean)
		status = slm_error_set(
			err, SQLOOM_CALL,
			"the fixture's setup left a transaction open: %.300s",
			left.data);
	slm_buf_deinit(&left);
	if (status)
		return status;
	slm_front_lock(fixture->route);
	status = slm_store_holds(fixture->store, SLM_STORE_NOBODY) ?
			 in_the_way(fixture, err) :
			 slm_store_snapshot(fixture->store, err);
	slm_front_unlock(fixture->route);
	return status;
}

enum sqloom_status slm_fixture_open_memory(
	const struct sqloom_fixture_options *options,
	struct sqloom_fixture **out, struct sqloom_error *err)
{
	struct memory_fixture *fixture = slm_calloc(1, sizeof(*fixture));
	enum sqloom_status status;

	if (!fixture)
		return slm_error_nomem(err);
	fixture->base.kind = &kind;
	status = slm_front_install(err);
	if (!status)
		status = slm_store_new(SQLOOM_STORE_MEMORY, NULL,
				       &fixture->store, err);
	if (!status && options->database)
		status = slm_store_seed(fixture->store, options->database, err);
	if (!status)
		status = add_route(fixture, err);
	if (!status)
		status = look_at_seed(options, fixture->base.url, err);
	if (!status)
		status = slm_fixture_set_up(options, fixture->base.url, err);
	if (!status)
		status = take_snapshot(fixture, err);
	if (status)
		fixture_free(fixture);
	else
		*out = &fixture->base;
	return status;
}
