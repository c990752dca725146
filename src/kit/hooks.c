/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hooks behind the commit. Those of open blocks wait in db->hooks, in the order
 * of registering; each block knows which was the last when it was begun, so
 * that a rollback can drop what came later. After the commit they move to
 * db->due, and run from there, one after another: what a hook registers runs
 * behind the others and not inside of it.
 *
 * Invariant: drop is called once for every arg that came in, whatever became
 * of its hook.
 */
#include <assert.h>
#include <stdio.h>

#include "base/alloc.h"
#include "kit/database.h"

static void append(struct slm_kit_hooks *hooks, struct slm_kit_hook *hook)
{
	hook->next = NULL;
	if (hooks->last)
		hooks->last->next = hook;
	else
		hooks->first = hook;
	hooks->last = hook;
}

static struct slm_kit_hook *take_first(struct slm_kit_hooks *hooks)
{
	struct slm_kit_hook *hook = hooks->first;

	if (!hook)
		return NULL;
	hooks->first = hook->next;
	if (!hooks->first)
		hooks->last = NULL;
	return hook;
}

/* db: NULL is fine. */
static void call_drop(struct sqloom_db *db, void (*drop)(void *arg), void *arg)
{
	if (!drop)
		return;
	if (db)
		db->callbacks++;
	drop(arg);
	if (db)
		db->callbacks--;
}

/* Drops all of a list that db does not know any more. */
static unsigned drop_list(struct sqloom_db *db, struct slm_kit_hook *hook)
{
	unsigned count = 0;

	while (hook) {
		struct slm_kit_hook *next = hook->next;

		call_drop(db, hook->drop, hook->arg);
		slm_free(hook);
		hook = next;
		count++;
	}
	return count;
}

void slm_kit_hooks_drop(struct sqloom_db *db, struct slm_kit_hook *last)
{
	struct slm_kit_hook *rest = last ? last->next : db->hooks.first;

	if (last)
		last->next = NULL;
	else
		db->hooks.first = NULL;
	db->hooks.last = last;
	drop_list(db, rest);
}

/* ---- Running ----------------------------------------------------------- */

/* "" : it went well. */
static void call_hook(struct sqloom_db *db, const struct slm_kit_hook *hook,
		      char *fault, size_t size)
{
	int result;

	*fault = '\0';
	db->callbacks++;
	result = hook->fn(hook->arg);
	db->callbacks--;
	if (db->depth) {
		snprintf(fault, size,
			 "left a block open, which is rolled back");
		slm_kit_unwind(db, 0, NULL);
	} else if (result) {
		snprintf(fault, size, "returned %d", result);
	}
	call_drop(db, hook->drop, hook->arg);
}

enum sqloom_status slm_kit_hooks_run(struct sqloom_db *db,
				     struct sqloom_error *err)
{
	char fault[80], first[80] = "";
	unsigned number = 0, failed = 0, first_number = 0, left = 0;
	struct slm_kit_hook *hook;

	while ((hook = take_first(&db->hooks)))
		append(&db->due, hook);
	if (db->running)
		return SQLOOM_OK;
	db->running = true;
	while ((hook = take_first(&db->due))) {
		bool robust = hook->robust;

		number++;
		call_hook(db, hook, fault, sizeof(fault));
		slm_free(hook);
		if (*fault && failed++ == 0) {
			first_number = number;
			snprintf(first, sizeof(first), "%s", fault);
		}
		if (*fault && !robust) {
			while ((hook = take_first(&db->due))) {
				hook->next = NULL;
				left += drop_list(db, hook);
			}
		}
	}
	db->running = false;
	if (!failed)
		return SQLOOM_OK;
	return slm_error_set(err, SQLOOM_CALL,
			     "the block is committed, but %u of its hooks "
			     "failed (the first: number %u, which %s), and %u "
			     "behind them did not run",
			     failed, first_number, first, left);
}

static enum sqloom_status run_now(struct sqloom_db *db,
				  const struct slm_kit_hook *hook,
				  struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK, later;
	char fault[80];

	/* What it registers runs behind it. */
	db->running = true;
	call_hook(db, hook, fault, sizeof(fault));
	db->running = false;
	if (*fault)
		status =
			slm_error_set(err, SQLOOM_CALL,
				      "the hook ran at once, since no block is "
				      "open, and %s",
				      fault);
	later = slm_kit_hooks_run(db, status ? NULL : err);
	return status ? status : later;
}

/* ---- Registering ------------------------------------------------------- */

static enum sqloom_status refuse(struct sqloom_db *db, sqloom_hook_fn hook,
				 struct sqloom_error *err)
{
	if (!hook)
		return slm_error_set(err, SQLOOM_USAGE,
				     "the function of the hook is NULL");
	slm_kit_look(db);
	if (db->depth && (db->over || db->broken))
		return slm_kit_tell_broken(db, SQLOOM_USAGE, err);
	if (db->taken_up || (!db->innermost && (db->sqlite || db->pg) &&
			     (db->driver->state(db) == SLM_KIT_OPEN ||
			      db->driver->state(db) == SLM_KIT_FAILED)))
		return slm_error_set(
			err, SQLOOM_USAGE,
			"the transaction was begun on the handle itself, so "
			"its commit cannot be seen, and the hook would never "
			"run: begin it with sqloom_atomic_begin()");
	return SQLOOM_OK;
}

/* Takes the hook over if it succeeds and *kept is set. */
static enum sqloom_status take(struct sqloom_db *db,
			       const struct slm_kit_hook *hook, bool *kept,
			       struct sqloom_error *err)
{
	struct slm_kit_hook *copy = slm_malloc(sizeof(*copy));

	if (!copy)
		return slm_error_nomem(err);
	*copy = *hook;
	append(db->depth ? &db->hooks : &db->due, copy);
	*kept = true;
	return SQLOOM_OK;
}

enum sqloom_status sqloom_on_commit(struct sqloom_db *db, sqloom_hook_fn hook,
				    void *arg, void (*drop)(void *arg),
				    bool robust, struct sqloom_error *err)
{
	struct slm_kit_hook made = {
		.fn = hook,
		.arg = arg,
		.drop = drop,
		.robust = robust,
	};
	enum sqloom_status status = slm_kit_enter(db, err);
	bool kept = false;

	if (status) {
		call_drop(NULL, drop, arg);
		return status;
	}
	status = refuse(db, hook, err);
	if (!status && (db->depth || db->running))
		status = take(db, &made, &kept, err);
	else if (!status) {
		kept = true;
		status = run_now(db, &made, err);
	}
	if (!kept)
		call_drop(db, drop, arg);
	slm_kit_leave(db);
	return status;
}
