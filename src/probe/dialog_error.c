/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors and notices of the server: whose they are, and what follows from them.
 * Part of the dialog. They may come at any time, and the server sends them at
 * once, with all that it has kept.
 */
#include <stdio.h>
#include <string.h>

#include "probe/dialog_internal.h"

static bool is_fatal(const struct slm_wire_error *error)
{
	return error->severity && (strcmp(error->severity, "FATAL") == 0 ||
				   strcmp(error->severity, "PANIC") == 0);
}

static void put_length(struct slm_buf *message)
{
	uint32_t length = (uint32_t)message->size - 1;

	for (unsigned i = 0; i < 4; i++)
		message->data[1 + i] = (char)(length >> (24 - 8 * i));
}

/*
 * A part of a Query knows places in its own text only: moves the place
 * (field P) to that in the client's text. False: there is none.
 */
static bool move_place(struct slm_dialog *dialog,
		       const struct slm_wire_message *m)
{
	const char *at = (const char *)m->body, *end = at + m->size;
	struct slm_buf *out = &dialog->moved;
	bool found = false;

	slm_buf_clear(out);
	slm_buf_putc(out, (char)m->type);
	slm_buf_fill(out, '\0', 4);
	while (at < end && *at) {
		size_t size = strnlen(at, (size_t)(end - at));
		unsigned place;

		if (at + size == end)
			return false;
		if (*at == 'P' && sscanf(at + 1, "%u", &place) == 1) {
			slm_buf_printf(out, "P%zu",
				       dialog->plan.offset + place);
			slm_buf_putc(out, '\0');
			found = true;
		} else {
			slm_buf_append(out, at, size + 1);
		}
		at += size + 1;
	}
	slm_buf_putc(out, '\0');
	if (slm_buf_failed(out)) {
		slm_dialog_nomem(dialog);
		return false;
	}
	put_length(out);
	return found;
}

static enum dialog_fate give_placed(struct slm_dialog *dialog,
				    const struct expect *head,
				    const struct slm_wire_message *m)
{
	if (!dialog->plan.active || !dialog->plan.offset || !head ||
	    head->owner != OF_CLIENT || m->have < m->size)
		return GIVE_NOW;
	/* Without memory the client sees the end, not a wrong place. */
	if (!move_place(dialog, m))
		return slm_buf_failed(&dialog->moved) ? DROP : GIVE_NOW;
	slm_dialog_give(dialog, dialog->moved.data, dialog->moved.size);
	slm_dialog_give_now(dialog);
	return DROP;
}

/* Fields of an error whose end is not there: those that are. */
static void read_error(struct slm_dialog *dialog,
		       const struct slm_wire_message *m,
		       struct slm_wire_error *error)
{
	struct slm_wire_message part = *m;

	memset(error, 0, sizeof(*error));
	if (m->have >= m->size) {
		slm_wire_error(m, error);
		return;
	}
	slm_buf_clear(&dialog->moved);
	slm_buf_append(&dialog->moved, m->body, DIALOG_ERROR_MAX);
	slm_buf_fill(&dialog->moved, '\0', 2);
	if (slm_buf_failed(&dialog->moved)) {
		slm_dialog_nomem(dialog);
		return;
	}
	part.body = (const uint8_t *)dialog->moved.data;
	part.have = dialog->moved.size;
	part.size = (uint32_t)part.have;
	slm_wire_error(&part, error);
}

/* An error on the way to an Execute is that Execute's, also in TRACK mode. */
static void find_victim(struct slm_dialog *dialog)
{
	for (size_t i = 0; i < slm_dialog_sent(dialog); i++) {
		struct expect *expect = slm_dialog_expect_at(dialog, i);

		if (expect->kind >= EXPECT_QUERY ||
		    dialog->state != STEP_NONE || dialog->failure)
			return;
		if (expect->reported && !expect->arrived)
			slm_dialog_become_step(dialog, expect);
	}
}

static void fail_pipeline(struct slm_dialog *dialog,
			  const struct slm_wire_error *error)
{
	find_victim(dialog);
	if (dialog->state == STEP_UNDER_WAY)
		slm_dialog_result_error(&dialog->result, error);
	slm_dialog_skip(dialog);
	dialog->status = dialog->status == 'I' ? 'I' : 'E';
	dialog->uncommitted = dialog->copy_in = false;
	slm_dialog_finish(dialog);
	slm_dialog_settle(dialog);
}

/* Of what the client has not asked for. */
static enum dialog_fate on_own_error(struct slm_dialog *dialog,
				     struct expect *head,
				     const struct slm_wire_error *error)
{
	struct dialog_plan *plan = &dialog->plan;

	if (is_fatal(error))
		return GIVE_NOW;
	if (head->owner == OF_COMMIT) {
		slm_dialog_result_error(&dialog->result, error);
		plan->failed = true;
		return GIVE_NOW;
	}
	plan->rolled_back = plan->rolled_back || head->owner == OF_ROLLBACK;
	if (head->owner == OF_INJECT)
		snprintf(dialog->injected, sizeof(dialog->injected), "%s",
			 error->sqlstate ? error->sqlstate : "XX000");
	if (head->kind < EXPECT_QUERY)
		slm_dialog_skip(dialog);
	return DROP;
}

/* Is there a Sync of ours before the client's messages? */
static bool is_fenced(const struct slm_dialog *dialog)
{
	for (size_t i = 0; i < dialog->queue.count; i++) {
		const struct expect *expect = slm_dialog_expect_at(dialog, i);

		if (expect->owner == OF_CLIENT)
			return false;
		if (expect->kind == EXPECT_SYNC)
			return true;
	}
	return false;
}

/* A step of the client's that can no longer get an answer. */
static void on_fatal(struct slm_dialog *dialog,
		     const struct slm_wire_error *error)
{
	if (dialog->state != STEP_UNDER_WAY)
		return;
	slm_dialog_result_error(&dialog->result, error);
	dialog->status = 'I';
	slm_dialog_finish(dialog);
}

enum dialog_fate slm_dialog_on_error(struct slm_dialog *dialog,
				     const struct slm_wire_message *m)
{
	struct expect *head = slm_dialog_head(dialog);
	struct slm_wire_error error;

	if (!dialog->open)
		return GIVE_NOW;
	read_error(dialog, m, &error);
	if (is_fatal(&error)) {
		on_fatal(dialog, &error);
		return GIVE_NOW;
	}
	if (!head)
		return GIVE_NOW;
	if (head->owner != OF_CLIENT &&
	    (head->kind >= EXPECT_QUERY || is_fenced(dialog)))
		return on_own_error(dialog, head, &error);
	if (head->kind < EXPECT_QUERY) {
		fail_pipeline(dialog, &error);
		return GIVE_NOW;
	}
	if (head->arrived)
		slm_dialog_result_error(&dialog->result, &error);
	else if (head->kind == EXPECT_SYNC &&
		 dialog->mode == SLM_DIALOG_TRACK &&
		 dialog->state == STEP_NONE) {
		/* The implicit transaction could not be committed. */
		head->arrived = true;
		slm_dialog_step_commit(dialog);
		slm_dialog_arrive(dialog, false);
		slm_dialog_result_error(&dialog->result, &error);
	}
	dialog->plan.failed = true;
	dialog->copy_in = false;
	return give_placed(dialog, head, m);
}

enum dialog_fate slm_dialog_on_notice(struct slm_dialog *dialog,
				      const struct slm_wire_message *m)
{
	struct expect *head = slm_dialog_head(dialog);
	struct slm_wire_error notice;

	if (!head || head->owner == OF_CLIENT)
		return give_placed(dialog, head, m);
	if (head->owner != OF_COMMIT)
		return DROP;
	/* Of a deferred trigger, or about the COMMIT itself? */
	read_error(dialog, m, &notice);
	return notice.sqlstate && strncmp(notice.sqlstate, "25", 2) == 0 ?
		       DROP :
		       GIVE_NOW;
}
