/* SPDX-License-Identifier: Apache-2.0 */
#include "example.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "store.h"

#define BUSY_TIMEOUT_MS 5000

/* Behind what was typed before: the option, and its value for a shell. */
static void add_source(struct example *example, const char *option,
		       const char *value)
{
	size_t used = strlen(example->source);

	snprintf(example->source + used, sizeof(example->source) - used,
		 "%s '%s'", option, value);
}

static _Noreturn void usage(const char *program)
{
	fprintf(stderr,
		"usage: %s [DATABASE] [--redis SOCKET] [--replay TOKEN]\n",
		program);
	exit(2);
}

void example_init(struct example *example, int argc, char **argv)
{
	*example = (struct example){ 0 };
	snprintf(example->source, sizeof(example->source), "%s", argv[0]);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--replay") == 0 && i + 1 < argc) {
			example->replay = argv[++i];
		} else if (strcmp(argv[i], "--redis") == 0 && i + 1 < argc) {
			example->redis = argv[++i];
			add_source(example, " --redis", example->redis);
		} else if (argv[i][0] != '-' && !example->database) {
			example->database = argv[i];
			add_source(example, "", example->database);
		} else {
			usage(argv[0]);
		}
	}
	strncat(example->source, " --replay",
		sizeof(example->source) - strlen(example->source) - 1);
	sqloom_options_init(&example->options);
	example->options.database = example->database;
	example->options.source = example->source;
}

/* False: there is nothing to be printed. */
static bool print(const struct sqloom_report *report, struct sqloom_error *err)
{
	struct sqloom_render render;
	char *text;

	sqloom_render_init(&render);
	if (sqloom_report_render(report, &render, &text, NULL, err))
		return false;
	puts(text);
	sqloom_text_free(text);
	return true;
}

void example_explore(struct example *example, const char *name,
		     const struct sqloom_function *functions, size_t nfunctions,
		     enum sqloom_verdict expected)
{
	struct sqloom_calls calls;
	struct sqloom_report *report = NULL;
	struct sqloom_error err;
	enum sqloom_status status;

	if (example->replay && expected != SQLOOM_BROKEN)
		return;
	sqloom_calls_init(&calls);
	calls.name = name;
	calls.calls = functions;
	calls.ncalls = nfunctions;
	calls.setup = example->setup;
	calls.check = example->check;
	calls.arg = example->arg;
	if (example->replay)
		status = sqloom_replay_calls(&calls, example->replay, NULL,
					     &example->options, &report, &err);
	else
		status = sqloom_explore_calls(&calls, &example->options,
					      &report, &err);
	if (status || !print(report, &err)) {
		fprintf(stderr, "%s: %s\n", name, err.message);
		example->failures++;
	} else if (sqloom_report_verdict(report) != expected) {
		fprintf(stderr, "%s: not the verdict that was expected\n",
			name);
		example->failures++;
	}
	sqloom_report_free(report);
}

void example_expect(struct example *example, bool ok, const char *what)
{
	printf("%s: %s\n", ok ? "ok" : "FAILED", what);
	if (!ok)
		example->failures++;
}

int example_end(const struct example *example)
{
	return example->failures ? 1 : 0;
}

struct store *example_store(struct sqloom_call *call)
{
	void **kept = sqloom_call_keep(call, store_close);
	struct store *store = *kept;

	if (store)
		return store;
	store = store_open(sqloom_call_database(call));
	if (!store || *store->error) {
		sqloom_call_fail(call, "%s",
				 store ? store->error : "out of memory");
		store_close(store);
		return NULL;
	}
	*kept = store;
	return store;
}

static void close_db(void *kept)
{
	sqloom_db_close(kept, NULL);
}

struct sqloom_db *example_db(struct sqloom_call *call)
{
	void **kept = sqloom_call_keep(call, close_db);
	struct sqloom_db *db = *kept;
	struct sqloom_error err;

	if (db)
		return db;
	if (sqloom_db_open(sqloom_call_database(call), &db, &err)) {
		example_fail(call, &err);
		return NULL;
	}
	if (sqloom_db_sqlite(db))
		sqlite3_busy_timeout(sqloom_db_sqlite(db), BUSY_TIMEOUT_MS);
	*kept = db;
	return db;
}

int example_fail(struct sqloom_call *call, const struct sqloom_error *err)
{
	return sqloom_call_fail(call, "%s", err->message);
}
