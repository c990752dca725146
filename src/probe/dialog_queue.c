/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of what the server has been sent and has not answered. Part of the
 * dialog. Entries at its end may be of the batch, which has not been sent yet:
 * dialog->batched counts them.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "probe/dialog_internal.h"

#define FIRST_CAPACITY 8

struct expect *slm_dialog_expect_at(const struct slm_dialog *dialog, size_t i)
{
	const struct dialog_queue *queue = &dialog->queue;

	assert(i < queue->count);
	return &queue->ring[(queue->first + i) & (queue->capacity - 1)];
}

static bool grow(struct dialog_queue *queue)
{
	size_t capacity = queue->capacity ? queue->capacity * 2 :
					    FIRST_CAPACITY;
	struct expect *ring = slm_calloc(capacity, sizeof(*ring));

	if (!ring)
		return false;
	for (size_t i = 0; i < queue->capacity; i++)
		ring[i] =
			queue->ring[(queue->first + i) & (queue->capacity - 1)];
	slm_free(queue->ring);
	queue->ring = ring;
	queue->capacity = capacity;
	queue->first = 0;
	return true;
}

static bool has_room(struct slm_dialog *dialog)
{
	struct dialog_queue *queue = &dialog->queue;

	if (queue->count >= SLM_DIALOG_PIPELINE_MAX) {
		dialog->failure = SQLOOM_LIMIT;
		return false;
	}
	if (queue->count < queue->capacity || grow(queue))
		return true;
	slm_dialog_nomem(dialog);
	return false;
}

static struct expect *clean(struct expect *expect, enum expect_kind kind,
			    enum expect_owner owner)
{
	struct slm_buf text = expect->text;

	*expect = (struct expect){ .kind = kind, .owner = owner, .text = text };
	return expect;
}

struct expect *slm_dialog_expect(struct slm_dialog *dialog,
				 enum expect_kind kind, enum expect_owner owner)
{
	if (!has_room(dialog))
		return NULL;
	dialog->queue.count++;
	return clean(slm_dialog_expect_at(dialog, dialog->queue.count - 1),
		     kind, owner);
}

struct expect *slm_dialog_expect_first(struct slm_dialog *dialog,
				       enum expect_kind kind,
				       enum expect_owner owner)
{
	struct dialog_queue *queue = &dialog->queue;

	if (!has_room(dialog))
		return NULL;
	queue->first = (queue->first + queue->capacity - 1) &
		       (queue->capacity - 1);
	queue->count++;
	return clean(slm_dialog_expect_at(dialog, 0), kind, owner);
}

static void release(struct slm_dialog *dialog, struct expect *expect)
{
	slm_dialog_statement_unref(dialog, expect->statement);
	slm_dialog_statement_unref(dialog, expect->former);
	slm_dialog_portal_unref(dialog, expect->portal);
	expect->statement = expect->former = NULL;
	expect->portal = NULL;
}

void slm_dialog_expect_pop(struct slm_dialog *dialog)
{
	struct dialog_queue *queue = &dialog->queue;

	release(dialog, slm_dialog_expect_at(dialog, 0));
	queue->first = (queue->first + 1) & (queue->capacity - 1);
	queue->count--;
	if (queue->count == 0)
		queue->first = 0; /* whose text has memory already */
	assert(dialog->batched <= queue->count);
}

void slm_dialog_queue_deinit(struct slm_dialog *dialog)
{
	struct dialog_queue *queue = &dialog->queue;

	dialog->batched = 0;
	while (queue->count)
		slm_dialog_expect_pop(dialog);
	for (size_t i = 0; i < queue->capacity; i++)
		slm_buf_deinit(&queue->ring[i].text);
	slm_free(queue->ring);
	*queue = (struct dialog_queue){ 0 };
}

size_t slm_dialog_sent(const struct slm_dialog *dialog)
{
	return dialog->queue.count - dialog->batched;
}

struct expect *slm_dialog_head(const struct slm_dialog *dialog)
{
	return slm_dialog_sent(dialog) ? slm_dialog_expect_at(dialog, 0) : NULL;
}

/* ---- Errors ------------------------------------------------------------ */

/* A Parse or Close that the server has not done: the name means what it meant
 * before. */
static void undo(struct slm_dialog *dialog, struct expect *expect)
{
	struct dialog_statement *former = expect->former;
	const char *name;

	if (expect->kind == EXPECT_PARSE && expect->statement) {
		name = expect->statement->object.name.data;
		if (slm_dialog_statement_find(dialog, name) ==
		    expect->statement)
			slm_dialog_forget(dialog, 'S', name);
	}
	if (!former)
		return;
	name = former->object.name.data;
	expect->former = NULL;
	if (slm_dialog_statement_find(dialog, name) ||
	    !slm_dialog_names_put(&dialog->statements, &former->object, NULL))
		slm_dialog_statement_unref(dialog, former);
}

void slm_dialog_skip(struct slm_dialog *dialog)
{
	struct dialog_queue *queue = &dialog->queue;
	size_t end = 0;

	while (end < queue->count &&
	       slm_dialog_expect_at(dialog, end)->kind != EXPECT_SYNC)
		end++;
	dialog->skipping = true;
	for (size_t i = end; i < queue->count; i++)
		if (slm_dialog_expect_at(dialog, i)->kind == EXPECT_SYNC &&
		    !slm_dialog_expect_at(dialog, i)->in_copy)
			dialog->skipping = false;
	for (size_t i = end; i-- > 0;)
		undo(dialog, slm_dialog_expect_at(dialog, i));
	if (end > slm_dialog_sent(dialog)) {
		/* The server would ignore the batch: it is not sent. */
		dialog->batched = queue->count - end;
		slm_buf_clear(&dialog->batch);
		dialog->batch_binds = false;
	}
	while (end-- > 0)
		slm_dialog_expect_pop(dialog);
}

struct expect *slm_dialog_last_statement(const struct slm_dialog *dialog)
{
	for (size_t i = slm_dialog_sent(dialog); i-- > 0;) {
		struct expect *expect = slm_dialog_expect_at(dialog, i);

		if (expect->kind == EXPECT_QUERY ||
		    expect->kind == EXPECT_EXECUTE)
			return expect;
	}
	return NULL;
}

size_t slm_dialog_expect_ready(const struct slm_dialog *dialog)
{
	size_t sent = slm_dialog_sent(dialog), first = sent;

	for (size_t i = 0; i < sent; i++) {
		const struct expect *expect = slm_dialog_expect_at(dialog, i);

		if (expect->kind < EXPECT_QUERY)
			continue;
		if (!expect->in_copy)
			return i;
		/* A Sync that was ignored, if there is another. */
		if (first == sent)
			first = i;
	}
	return first;
}
