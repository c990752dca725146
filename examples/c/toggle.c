/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Check-then-act: a button that registers a member for an event, or takes the
 * registration back, is clicked twice.
 *
 * The function looks whether there is a registration, and inserts or deletes
 * one. Both clicks look before either has written: both insert. The member is
 * registered twice, and the next click takes away both, or one.
 * Fix: look and write in one transaction that locks the member first, so that
 * the second click waits until the first is done.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqloom/sqloom.h>

#include "example.h"
#include "store.h"

/* ---- The program: nothing of sqloom in it -------------------------------- */

enum toggled { TOGGLE_FAILED, REGISTERED, UNREGISTERED };

static enum toggled toggle(struct store *store, const char *member,
			   const char *event)
{
	long found = store_run(store,
			       "SELECT member FROM registration "
			       "WHERE member = $1 AND event = $2",
			       PARAMS(member, event), NULL);

	if (found < 0)
		return TOGGLE_FAILED;
	if (found == 0)
		return store_run(store,
				 "INSERT INTO registration (member, event) "
				 "VALUES ($1, $2)",
				 PARAMS(member, event), NULL) == 1 ?
			       REGISTERED :
			       TOGGLE_FAILED;
	return store_run(store,
			 "DELETE FROM registration "
			 "WHERE member = $1 AND event = $2",
			 PARAMS(member, event), NULL) > 0 ?
		       UNREGISTERED :
		       TOGGLE_FAILED;
}

static enum toggled toggle_locked(struct store *store, const char *member,
				  const char *event)
{
	enum toggled toggled = TOGGLE_FAILED;
	char sql[96];

	snprintf(sql, sizeof(sql), "SELECT id FROM member WHERE id = $1%s",
		 store_lock(store));
	if (!store_begin(store))
		return TOGGLE_FAILED;
	if (store_run(store, sql, PARAMS(member), NULL) == 1)
		toggled = toggle(store, member, event);
	return store_end(store, toggled != TOGGLE_FAILED) ? toggled :
							    TOGGLE_FAILED;
}

/* ---- The test -------------------------------------------------------------- */

static int tell(struct sqloom_call *call, const struct store *store,
		enum toggled toggled)
{
	if (toggled == TOGGLE_FAILED)
		return sqloom_call_fail(call, "%s", store->error);
	/* What a call writes is compared with what serial runs write. */
	sqloom_call_printf(call, "%s",
			   toggled == REGISTERED ? "registered" :
						   "unregistered");
	return 0;
}

static int click(struct sqloom_call *call, void *unused)
{
	struct store *store = example_store(call);

	(void)unused;
	return store ? tell(call, store, toggle(store, "1", "7")) : -1;
}

static int click_locked(struct sqloom_call *call, void *unused)
{
	struct store *store = example_store(call);

	(void)unused;
	return store ? tell(call, store, toggle_locked(store, "1", "7")) : -1;
}

static int set_up(struct sqloom_call *call, void *unused)
{
	struct store *store = example_store(call);

	(void)unused;
	if (!store)
		return -1;
	if (store_script(store, "DROP TABLE IF EXISTS registration;"
				"DROP TABLE IF EXISTS member;"
				"CREATE TABLE member (id INTEGER PRIMARY KEY);"
				"CREATE TABLE registration ("
				"  member INTEGER NOT NULL,"
				"  event INTEGER NOT NULL);"
				"INSERT INTO member VALUES (1)"))
		return 0;
	return sqloom_call_fail(call, "%s", store->error);
}

int main(int argc, char **argv)
{
	static const struct sqloom_function broken[] = {
		{ .name = "click 1", .fn = click },
		{ .name = "click 2", .fn = click },
	};
	static const struct sqloom_function fixed[] = {
		{ .name = "click 1", .fn = click_locked },
		{ .name = "click 2", .fn = click_locked },
	};
	struct example example;

	example_init(&example, argc, argv);
	example.setup = set_up;
	example_explore(&example, "toggle", broken, 2, SQLOOM_BROKEN);
	example_explore(&example, "toggle, locked", fixed, 2, SQLOOM_HOLDS);
	return example_end(&example);
}
