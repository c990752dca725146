/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the PostgreSQL catalogue share: a private server, a
 * connection to it, an empty schema for each test, and steps resolved, as
 * text. Included once per program.
 */
#ifndef SLM_TESTS_POSTGRES_HELP_H
#define SLM_TESTS_POSTGRES_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "db/postgres_internal.h"
#include "pg/server.h"

#define UNUSED __attribute__((unused))

static struct slm_pg_server *server;

struct fixture {
	struct postgres db;
	struct slm_arena run;
	struct sqloom_error err;
	PGresult *results[64];
	unsigned nresults;
};

static struct fixture f;

static int start_server(void **state)
{
	struct sqloom_error err;

	(void)state;
	if (!slm_pg_server_start(NULL, &server, &err))
		return 0;
	fprintf(stderr, "%s\n", err.message);
	return -1;
}

static int stop_server(void **state)
{
	(void)state;
	slm_pg_server_stop(server);
	return 0;
}

static void execute(const char *sql)
{
	if (slm_pg_exec(&f.db.admin, "prepare a test", sql, NULL, &f.err))
		fail_msg("%s\n%s", f.err.message, sql);
}

static int open_all(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	slm_arena_init(&f.db.arena);
	slm_arena_init(&f.run);
	f.db.run = &f.run;
	if (slm_pg_open(&f.db.admin, slm_pg_server_conninfo(server), NULL,
			"the test", &f.err)) {
		fprintf(stderr, "%s\n", f.err.message);
		return -1;
	}
	execute("SET client_min_messages = error; DROP SCHEMA public CASCADE;"
		" DROP SCHEMA IF EXISTS other, sqloom, \"odd \"\"one\" CASCADE;"
		" CREATE SCHEMA public");
	return 0;
}

UNUSED static void clear_results(void)
{
	while (f.nresults)
		PQclear(f.results[--f.nresults]);
}

static int close_all(void **state)
{
	(void)state;
	clear_results();
	slm_pgcat_free(&f.db.catalogue);
	slm_free(f.db.generated);
	sqloom_spec_free((struct sqloom_spec *)f.db.spec);
	slm_pg_close(&f.db.admin);
	slm_arena_deinit(&f.run);
	slm_arena_deinit(&f.db.arena);
	return 0;
}

static void load(const char *sql)
{
	if (sql)
		execute(sql);
	if (slm_pgcat_load(&f.db, &f.err))
		fail_msg("%s", f.err.message);
}

UNUSED static struct pg_table *table(const char *shown)
{
	for (uint32_t i = 0; i < f.db.catalogue.ntables; i++)
		if (!strcmp(f.db.catalogue.tables[i].shown, shown))
			return &f.db.catalogue.tables[i];
	fail_msg("no table %s", shown);
	return NULL;
}

UNUSED static void put(char *out, const char *text)
{
	assert_true(strlen(out) + strlen(text) < 4000);
	strcat(out, text);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "a b c": the tables, in order. */
UNUSED static const char *names_of(const uint32_t *list, uint32_t count)
{
	static char out[4096];
	const char *names[64];

	assert_true(count <= 64);
	for (uint32_t i = 0; i < count; i++)
		names[i] = f.db.catalogue.tables[list[i]].shown;
	qsort(names, count, sizeof(*names), compare_names);
	*out = '\0';
	for (uint32_t i = 0; i < count; i++) {
		put(out, i ? " " : "");
		put(out, names[i]);
	}
	return out;
}

/* "reads|writes|sequences|certain,local" */
UNUSED static const char *resolved(const char *sql)
{
	static char out[4096];
	struct pg_step step = { .text = sql };

	if (slm_pg_step_read(sql, &f.db.arena, &step.parsed, &f.err) ||
	    slm_pgcat_resolve(&f.db, &step, &f.err))
		fail_msg("%s", f.err.message);
	*out = '\0';
	put(out, step.info.reads);
	put(out, "|");
	put(out, step.info.writes);
	put(out, "|");
	put(out, names_of(step.writes, step.nwrites));
	put(out, "|");
	for (uint32_t i = 0; i < step.nsequences; i++)
		put(out, f.db.catalogue.sequences[step.sequences[i]].quoted);
	put(out, "|");
	put(out, step.certain ? "certain" : "");
	put(out, step.info.local ? " local" : "");
	return out;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

#endif
