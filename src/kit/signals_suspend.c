/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Suspensions of signals: which receivers are not called for now, and the
 * switch for those that opted into it. May use base.
 *
 * Invariant: one lock guards all of it, and nothing is called under it. A
 * suspension keeps the address of its signal to compare, never to look at: the
 * signal may be gone by the time the suspension is told.
 */
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "kit/signals.h"

struct suspended {
	struct suspended *next; /* the one that was begun after it */
	uint64_t token;
	struct sqloom_suspension what;
	uint64_t thread;   /* number of that which suspended */
	uint64_t silenced; /* calls of receivers that were left out */
	char name[];	   /* of the signal; "" if it has none */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct suspended *first;
static uint64_t last_token;
static bool switched_off;
static uint64_t last_thread;

/* The system uses its thread numbers again; a suspension must not outlive its
 * thread only to hit another. 0: has none yet. */
static _Thread_local uint64_t own_thread;

/* Under the lock. */
static uint64_t this_thread(void)
{
	if (own_thread == 0)
		own_thread = ++last_thread;
	return own_thread;
}

/* ---- Asking ------------------------------------------------------------- */

static bool fits(const struct suspended *suspended,
		 const struct sqloom_signal *signal, const void *sender,
		 sqloom_receiver_fn receiver)
{
	const struct sqloom_suspension *what = &suspended->what;

	return (!what->signal || what->signal == signal) &&
	       (!what->sender || what->sender == sender) &&
	       (!what->receiver || what->receiver == receiver) &&
	       (!what->this_thread || suspended->thread == this_thread());
}

bool slm_signals_silenced(const struct sqloom_signal *signal,
			  const void *sender, sqloom_receiver_fn receiver,
			  bool suspendable)
{
	bool silenced;

	pthread_mutex_lock(&lock);
	silenced = switched_off && suspendable;
	for (struct suspended *each = first; each; each = each->next) {
		if (!fits(each, signal, sender, receiver))
			continue;
		each->silenced++;
		silenced = true;
	}
	pthread_mutex_unlock(&lock);
	return silenced;
}

bool sqloom_signals_switch(bool on)
{
	bool was_on;

	pthread_mutex_lock(&lock);
	was_on = !switched_off;
	switched_off = !on;
	pthread_mutex_unlock(&lock);
	return was_on;
}

/* ---- Suspending and resuming -------------------------------------------- */

static struct suspended *new_suspended(
	const struct sqloom_suspension *suspension)
{
	const char *name = suspension->signal ? suspension->signal->name : NULL;
	size_t size = name ? strlen(name) + 1 : 1;
	struct suspended *fresh = slm_calloc(1, sizeof(*fresh) + size);

	if (!fresh)
		return NULL;
	fresh->what = *suspension;
	slm_signals_copy_name(fresh->name, size, name);
	return fresh;
}

enum sqloom_status sqloom_signals_suspend(
	const struct sqloom_suspension *suspension, uint64_t *token,
	struct sqloom_error *err)
{
	struct suspended *fresh;
	struct suspended **end = &first;

	if (!suspension)
		return slm_error_set(err, SQLOOM_USAGE,
				     "it is not said what to suspend; pass a "
				     "struct sqloom_suspension, all zero for "
				     "everything");
	if (!token)
		return slm_error_set(err, SQLOOM_USAGE,
				     "there is no place for the token; without "
				     "it nobody could resume what is "
				     "suspended");
	fresh = new_suspended(suspension);
	if (!fresh)
		return slm_error_nomem(err);
	pthread_mutex_lock(&lock);
	fresh->token = ++last_token;
	fresh->thread = this_thread();
	while (*end)
		end = &(*end)->next;
	*end = fresh;
	*token = fresh->token;
	pthread_mutex_unlock(&lock);
	return SQLOOM_OK;
}

/* Takes it out of the list; NULL: it is not in there. Under the lock. */
static struct suspended *take(uint64_t token)
{
	struct suspended **link = &first;
	struct suspended *found;

	while (*link && (*link)->token != token)
		link = &(*link)->next;
	found = *link;
	if (found)
		*link = found->next;
	return found;
}

enum sqloom_status sqloom_signals_resume(uint64_t token,
					 struct sqloom_error *err)
{
	struct suspended *found;
	bool issued;

	pthread_mutex_lock(&lock);
	found = take(token);
	issued = token != 0 && token <= last_token;
	pthread_mutex_unlock(&lock);
	slm_free(found);
	if (found)
		return SQLOOM_OK;
	if (issued)
		return slm_error_set(err, SQLOOM_USAGE,
				     "suspension %" PRIu64 " was resumed "
				     "before; resume each one once",
				     token);
	return slm_error_set(err, SQLOOM_USAGE,
			     "there is no suspension %" PRIu64 "; pass the "
			     "token that sqloom_signals_suspend() gave",
			     token);
}

/* ---- What was left ------------------------------------------------------ */

/* Under the lock. */
static void describe(struct slm_buf *buf, const struct suspended *suspended)
{
	const struct sqloom_suspension *what = &suspended->what;

	slm_buf_printf(buf, "suspension %" PRIu64 ":", suspended->token);
	if (what->signal && suspended->name[0])
		slm_buf_printf(buf, " signal \"%s\"", suspended->name);
	else if (what->signal)
		slm_buf_printf(buf, " signal %p", (void *)what->signal);
	else
		slm_buf_puts(buf, " all signals");
	if (what->sender)
		slm_buf_printf(buf, ", sender %p", what->sender);
	if (what->receiver)
		slm_buf_printf(buf, ", receiver %#" PRIxPTR,
			       (uintptr_t)what->receiver);
	if (what->this_thread)
		slm_buf_printf(buf, ", sent by %s thread",
			       suspended->thread == this_thread() ? "this" :
								    "another");
	slm_buf_printf(buf,
		       "; was never resumed, and left out %" PRIu64
		       " call%s of receivers\n",
		       suspended->silenced,
		       suspended->silenced == 1 ? "" : "s");
}

size_t sqloom_signals_suspended(char **text)
{
	struct slm_buf buf;
	size_t count = 0;

	slm_buf_init(&buf);
	pthread_mutex_lock(&lock);
	for (struct suspended *each = first; each; each = each->next) {
		count++;
		if (text)
			describe(&buf, each);
	}
	pthread_mutex_unlock(&lock);
	if (text)
		*text = slm_buf_take(&buf);
	slm_buf_deinit(&buf);
	return count;
}
