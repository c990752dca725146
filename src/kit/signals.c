/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals: who is connected, and sending. May use base.
 *
 * Every connection has a serial number; a list is sorted by it, which is the
 * order of connecting. While a receiver runs, its send holds nothing but the
 * number of the connection it has come to: no lock and no reference. So a
 * receiver may do what it likes: connect, disconnect, send, suspend, and leave
 * by longjmp(), as a failed assertion of a test does.
 *
 * Invariants: one lock guards all lists, and nothing of others is called under
 * it. A list that would be empty is not there: a static signal needs no
 * destroying.
 */
#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "kit/signals.h"

/* Bytes of an id that a message shows. */
#define SHOWN_ID_SIZE 64

struct connection {
	uint64_t serial; /* 1 is the first of the process */
	sqloom_receiver_fn fn;
	void *arg;
	const void *sender; /* NULL: of all */
	char *id;	    /* owned; NULL: fn, arg and sender tell it */
	bool suspendable;
};

/* What struct sqloom_signal points to. */
struct list {
	size_t count; /* never 0 between calls */
	size_t capacity;
	struct connection *at; /* owned; ascending by serial */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t last_serial;

void slm_signals_copy_name(char *copy, size_t size, const char *name)
{
	size_t length = 0;

	assert(size > 0);
	for (; name && name[length] && length < size - 1; length++) {
		unsigned char c = (unsigned char)name[length];

		copy[length] = c < 0x20 || c == 0x7f ? ' ' : name[length];
	}
	copy[length] = '\0';
}

static const char *name_of(const struct sqloom_signal *signal)
{
	return signal->name ? signal->name : "(without a name)";
}

void sqloom_receiver_init(struct sqloom_receiver *receiver)
{
	assert(receiver);
	*receiver = (struct sqloom_receiver){ 0 };
}

/* ---- Connecting --------------------------------------------------------- */

static bool is_same(const struct connection *connection,
		    const struct sqloom_receiver *receiver)
{
	if (connection->id && receiver->id)
		return strcmp(connection->id, receiver->id) == 0;
	return !connection->id && !receiver->id &&
	       connection->fn == receiver->fn &&
	       connection->arg == receiver->arg &&
	       connection->sender == receiver->sender;
}

/* list may be NULL: nothing is connected. */
static struct connection *find(const struct list *list,
			       const struct sqloom_receiver *receiver)
{
	for (size_t i = 0; list && i < list->count; i++)
		if (is_same(&list->at[i], receiver))
			return &list->at[i];
	return NULL;
}

static bool grow(struct list *list)
{
	size_t capacity = list->capacity ? 2 * list->capacity : 2;
	struct connection *at =
		slm_reallocarray(list->at, capacity, sizeof(*at));

	if (!at)
		return false;
	list->at = at;
	list->capacity = capacity;
	return true;
}

/* Under the lock. */
static enum sqloom_status add(struct sqloom_signal *signal,
			      const struct sqloom_receiver *receiver,
			      struct sqloom_error *err)
{
	struct list *list = signal->receivers;
	struct list *fresh = NULL;
	char *id = NULL;

	if (!list)
		list = fresh = slm_calloc(1, sizeof(*fresh));
	if (!list)
		goto nomem;
	if (list->count == list->capacity && !grow(list))
		goto nomem;
	if (receiver->id && !(id = slm_strdup(receiver->id)))
		goto nomem;
	list->at[list->count++] = (struct connection){
		.serial = ++last_serial,
		.fn = receiver->fn,
		.arg = receiver->arg,
		.sender = receiver->sender,
		.id = id,
		.suspendable = receiver->suspendable,
	};
	signal->receivers = list;
	return SQLOOM_OK;
nomem:
	if (fresh)
		slm_free(fresh->at);
	slm_free(fresh);
	return slm_error_nomem(err);
}

enum sqloom_status sqloom_signal_connect(struct sqloom_signal *signal,
					 const struct sqloom_receiver *receiver,
					 struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	if (!signal || !receiver)
		return slm_error_set(err, SQLOOM_USAGE,
				     "connecting needs a signal and a "
				     "receiver; one of them is NULL");
	if (!receiver->fn)
		return slm_error_set(err, SQLOOM_USAGE,
				     "the receiver for signal \"%s\" has no "
				     "function; set its fn before it is "
				     "connected",
				     name_of(signal));
	pthread_mutex_lock(&lock);
	if (!find(signal->receivers, receiver))
		status = add(signal, receiver, err);
	pthread_mutex_unlock(&lock);
	return status;
}

/* Under the lock. */
static void drop(struct sqloom_signal *signal, struct connection *connection)
{
	struct list *list = signal->receivers;
	struct connection *end = list->at + list->count;

	slm_free(connection->id);
	memmove(connection, connection + 1,
		(size_t)(end - connection - 1) * sizeof(*connection));
	if (--list->count > 0)
		return;
	slm_free(list->at);
	slm_free(list);
	signal->receivers = NULL;
}

bool sqloom_signal_disconnect(struct sqloom_signal *signal,
			      const struct sqloom_receiver *receiver)
{
	struct connection *found;

	if (!signal || !receiver)
		return false;
	pthread_mutex_lock(&lock);
	found = find(signal->receivers, receiver);
	if (found)
		drop(signal, found);
	pthread_mutex_unlock(&lock);
	return found != NULL;
}

/* ---- Sending ------------------------------------------------------------ */

/* A send that is under way. */
struct sending {
	struct sqloom_signal *signal;
	const void *sender;
	uint64_t from;	/* serial of the connection that it has come to */
	uint64_t until; /* the last that was connected when it began */
	size_t called;
	size_t failed;
};

/* What was found to be called next: a copy, the list may change. */
struct next {
	sqloom_receiver_fn fn;
	void *arg;
	bool suspendable;
	size_t number, count; /* the 1st of 3 ... */
	char id[SHOWN_ID_SIZE];
};

/* Index of the first connection behind this serial number. */
static size_t index_behind(const struct list *list, uint64_t serial)
{
	size_t low = 0, high = list->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (list->at[middle].serial <= serial)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Under the lock. */
static bool step(struct sending *sending, struct next *next)
{
	const struct list *list = sending->signal->receivers;

	if (!list)
		return false;
	for (size_t i = index_behind(list, sending->from);
	     i < list->count && list->at[i].serial <= sending->until; i++) {
		const struct connection *connection = &list->at[i];

		if (connection->sender && connection->sender != sending->sender)
			continue;
		sending->from = connection->serial;
		next->fn = connection->fn;
		next->arg = connection->arg;
		next->suspendable = connection->suspendable;
		next->number = i + 1;
		next->count = list->count;
		slm_signals_copy_name(next->id, sizeof(next->id),
				      connection->id);
		return true;
	}
	return false;
}

/* Finds the next receiver that is for this sender and is not suspended. */
static bool find_next(struct sending *sending, struct next *next)
{
	bool found;

	do {
		pthread_mutex_lock(&lock);
		found = step(sending, next);
		pthread_mutex_unlock(&lock);
	} while (found && slm_signals_silenced(sending->signal, sending->sender,
					       next->fn, next->suspendable));
	return found;
}

static void tell_failure(const struct sending *sending, const struct next *next,
			 int returned, bool robust, struct sqloom_error *err)
{
	bool last = robust || next->number == next->count;

	(void)slm_error_set(err, SQLOOM_CALL,
			    "signal \"%s\": receiver %zu of %zu%s%s%s "
			    "returned %d%s",
			    name_of(sending->signal), next->number, next->count,
			    next->id[0] ? " (" : "", next->id,
			    next->id[0] ? ")" : "", returned,
			    last ? "" : "; those behind it were not called");
}

/* The first failure is in err. */
static void tell_count(const struct sending *sending, struct sqloom_error *err)
{
	size_t used = err ? strlen(err->message) : 0;

	if (err && sending->failed > 1)
		snprintf(err->message + used, sizeof(err->message) - used,
			 " (%zu of the %zu that were called failed)",
			 sending->failed, sending->called);
}

static enum sqloom_status deliver(struct sqloom_signal *signal,
				  const void *sender, void *data, bool robust,
				  size_t *called, struct sqloom_error *err)
{
	struct sending sending = { .signal = signal, .sender = sender };
	struct next next;

	if (!signal)
		return slm_error_set(err, SQLOOM_USAGE,
				     "there is no signal to send; it is NULL");
	pthread_mutex_lock(&lock);
	sending.until = last_serial;
	pthread_mutex_unlock(&lock);
	while ((robust || !sending.failed) && find_next(&sending, &next)) {
		int returned = next.fn(signal, sender, data, next.arg);

		sending.called++;
		if (returned != 0 && sending.failed++ == 0)
			tell_failure(&sending, &next, returned, robust, err);
	}
	if (called)
		*called = sending.called;
	if (!sending.failed)
		return SQLOOM_OK;
	tell_count(&sending, err);
	return SQLOOM_CALL;
}

enum sqloom_status sqloom_signal_send(struct sqloom_signal *signal,
				      const void *sender, void *data,
				      size_t *called, struct sqloom_error *err)
{
	return deliver(signal, sender, data, false, called, err);
}

enum sqloom_status sqloom_signal_send_robust(struct sqloom_signal *signal,
					     const void *sender, void *data,
					     size_t *called,
					     struct sqloom_error *err)
{
	return deliver(signal, sender, data, true, called, err);
}
