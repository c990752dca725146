/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lost update (P4): a session is saved from two requests.
 *
 * A session is one text, "lang=en;cart=3". A request reads it, changes one key
 * in memory, and saves the whole text. Two requests of one visitor that run at
 * the same time (a page and what it loads) change different keys, and still one
 * change is gone: the later save brings back what the other key was before.
 * Fix: a version. Who saves says which version was read; if there is a newer
 * one, nothing is saved, and the request reads and changes again. Another fix
 * would be a row for each key.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqloom/sqloom.h>

#include "example.h"
#include "store.h"

#define SESSION_MAX 256
#define TRIES 10

/* ---- The program ---------------------------------------------------------- */

/* text with key=value instead of what the key had. */
static void set_key(char text[SESSION_MAX], const char *key, const char *value)
{
	char changed[SESSION_MAX] = "";
	size_t size = strlen(key), used = 0;
	char *rest = text, *pair;

	while ((pair = strsep(&rest, ";")))
		if (*pair && (strncmp(pair, key, size) || pair[size] != '='))
			used += (size_t)snprintf(changed + used,
						 sizeof(changed) - used, "%s;",
						 pair);
	snprintf(changed + used, sizeof(changed) - used, "%s=%s", key, value);
	memcpy(text, changed, sizeof(changed));
}

/* Reads a value of the session's row. */
static bool load(struct store *store, const char *sql, const char *id,
		 char *text, size_t size)
{
	char *value;

	if (store_run(store, sql, PARAMS(id), &value) != 1 || !value)
		return false;
	snprintf(text, size, "%s", value);
	free(value);
	return true;
}

static bool save(struct store *store, const char *id, const char *key,
		 const char *value)
{
	char text[SESSION_MAX];

	if (!load(store, "SELECT data FROM session WHERE id = $1", id, text,
		  sizeof(text)))
		return false;
	set_key(text, key, value);
	return store_run(store, "UPDATE session SET data = $1 WHERE id = $2",
			 PARAMS(text, id), NULL) == 1;
}

static bool save_versioned(struct store *store, const char *id, const char *key,
			   const char *value)
{
	for (int i = 0; i < TRIES; i++) {
		char row[SESSION_MAX + 16], text[SESSION_MAX], *data;
		long saved;

		/* Version and text must be of one moment: one statement. */
		if (!load(store,
			  "SELECT version || '/' || data FROM session "
			  "WHERE id = $1",
			  id, row, sizeof(row)))
			return false;
		data = strchr(row, '/');
		*data++ = '\0';
		snprintf(text, sizeof(text), "%s", data);
		set_key(text, key, value);
		saved = store_run(store,
				  "UPDATE session "
				  "SET data = $1, version = version + 1 "
				  "WHERE id = $2 AND version = $3",
				  PARAMS(text, id, row), NULL);
		if (saved != 0)
			return saved == 1;
	}
	snprintf(store->error, sizeof(store->error),
		 "session %s changes all the time", id);
	return false;
}

/* ---- The test ------------------------------------------------------------- */

struct change {
	const char *key, *value;
};

static int tell(struct sqloom_call *call, const struct store *store, bool saved)
{
	return saved ? 0 : sqloom_call_fail(call, "%s", store->error);
}

static int request(struct sqloom_call *call, void *arg)
{
	const struct change *change = arg;
	struct store *store = example_store(call);

	return store ? tell(call, store,
			    save(store, "1", change->key, change->value)) :
		       -1;
}

static int versioned_request(struct sqloom_call *call, void *arg)
{
	const struct change *change = arg;
	struct store *store = example_store(call);

	return store ? tell(call, store,
			    save_versioned(store, "1", change->key,
					   change->value)) :
		       -1;
}

static int set_up(struct sqloom_call *call, void *unused)
{
	struct store *store = example_store(call);

	(void)unused;
	if (!store)
		return -1;
	if (store_script(store,
			 "DROP TABLE IF EXISTS session;"
			 "CREATE TABLE session (id INTEGER PRIMARY KEY,"
			 "  version INTEGER NOT NULL, data TEXT NOT NULL);"
			 "INSERT INTO session VALUES (1, 1, 'lang=en;cart=3')"))
		return 0;
	return sqloom_call_fail(call, "%s", store->error);
}

int main(int argc, char **argv)
{
	static struct change cart = { "cart", "4" }, lang = { "lang", "fr" };
	static const struct sqloom_function broken[] = {
		{ .name = "add to cart", .fn = request, .arg = &cart },
		{ .name = "speak French", .fn = request, .arg = &lang },
	};
	static const struct sqloom_function fixed[] = {
		{ .name = "add to cart", .fn = versioned_request, .arg = &cart },
		{ .name = "speak French",
		  .fn = versioned_request,
		  .arg = &lang },
	};
	struct example example;

	example_init(&example, argc, argv);
	example.setup = set_up;
	example_explore(&example, "session", broken, 2, SQLOOM_BROKEN);
	example_explore(&example, "session, versioned", fixed, 2, SQLOOM_HOLDS);
	return example_end(&example);
}
