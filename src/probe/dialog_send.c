/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of sqloom's own to the server, and what was held of the client's.
 * Part of the dialog. They are put together in dialog->out and sent in one go;
 * each that is answered has its expectation, in the same order.
 */
#include <assert.h>
#include <string.h>

#include "probe/dialog_internal.h"

void slm_dialog_flush_client(struct slm_dialog *dialog)
{
	const uint8_t *run = dialog->client_run;
	size_t size = run ? (size_t)(dialog->client_end - run) : 0;

	dialog->client_run = dialog->client_end = NULL;
	if (size)
		dialog->ops.to_server(dialog->userdata, run, size);
}

void slm_dialog_send(struct slm_dialog *dialog)
{
	slm_dialog_flush_client(dialog);
	/* Not into the middle of a message (CopyData, behind an error): when
	 * it is over, see pass_rest(). */
	if (dialog->client_rest)
		return;
	if (slm_buf_failed(&dialog->out))
		slm_dialog_nomem(dialog);
	else if (dialog->out.size && !dialog->failure)
		dialog->ops.to_server(dialog->userdata, dialog->out.data,
				      dialog->out.size);
	slm_buf_clear(&dialog->out);
}

void slm_dialog_put_batch(struct slm_dialog *dialog)
{
	if (!dialog->batch.size)
		return;
	slm_buf_append(&dialog->out, dialog->batch.data, dialog->batch.size);
	slm_buf_clear(&dialog->batch);
	dialog->batched = 0;
	dialog->unsynced = dialog->unflushed = true;
	dialog->pipeline |= dialog->batch_binds;
	dialog->batch_binds = false;
}

void slm_dialog_put_query(struct slm_dialog *dialog, enum expect_owner owner,
			  const char *sql)
{
	if (slm_dialog_expect(dialog, EXPECT_QUERY, owner))
		slm_wire_put_query(&dialog->out, sql, strlen(sql));
}

void slm_dialog_put_flush(struct slm_dialog *dialog)
{
	slm_wire_put_simple(&dialog->out, SLM_WIRE_FLUSH);
	dialog->unflushed = false;
	dialog->early = true;
}

/*
 * In names of our own, so that the client's unnamed statement and portal stay.
 * first: in front of the batch.
 */
void slm_dialog_put_extended(struct slm_dialog *dialog, enum expect_owner owner,
			     const char *sql, bool sync, bool first)
{
	static const enum expect_kind kinds[] = { EXPECT_PARSE,	  EXPECT_BIND,
						  EXPECT_EXECUTE, EXPECT_CLOSE,
						  EXPECT_CLOSE,	  EXPECT_SYNC };
	size_t n = sizeof(kinds) / sizeof(kinds[0]) - !sync;
	struct slm_buf *out = &dialog->out;

	assert(first || !dialog->batched);
	for (size_t i = 0; i < n; i++) {
		if (first)
			slm_dialog_expect_first(dialog, kinds[n - 1 - i],
						owner);
		else
			slm_dialog_expect(dialog, kinds[i], owner);
	}
	slm_wire_put_parse(out, DIALOG_OWN_NAME, sql, strlen(sql));
	slm_wire_put_bind(out, DIALOG_OWN_NAME, DIALOG_OWN_NAME);
	slm_wire_put_execute(out, DIALOG_OWN_NAME, 0);
	slm_wire_put_close(out, 'P', DIALOG_OWN_NAME);
	slm_wire_put_close(out, 'S', DIALOG_OWN_NAME);
	if (sync)
		slm_wire_put_simple(out, SLM_WIRE_SYNC);
}

void slm_dialog_put_before(struct slm_dialog *dialog, bool extended)
{
	struct slm_buf *before = &dialog->before;

	if (!before->size)
		return;
	/* Inside of a pipeline a Sync would commit. */
	if (extended)
		slm_dialog_put_extended(dialog, OF_BEFORE, before->data,
					!dialog->pipeline, true);
	else
		slm_dialog_put_query(dialog, OF_BEFORE, before->data);
	slm_buf_clear(before); /* once, and for this step only */
}

/* ---- What is held here ------------------------------------------------- */

void slm_dialog_send_part(struct slm_dialog *dialog)
{
	struct dialog_plan *plan = &dialog->plan;
	struct expect *expect;

	plan->commits |= dialog->split;
	if (plan->part > 0) /* that of the first is there already */
		slm_dialog_put_before(dialog, false);
	if (plan->part == 0 && plan->wrapped)
		slm_dialog_put_query(dialog, OF_BEGIN, "BEGIN");
	expect = slm_dialog_expect(dialog, EXPECT_QUERY, OF_CLIENT);
	if (expect)
		expect->arrived = true;
	slm_wire_put_query(&dialog->out, dialog->step.sql,
			   dialog->step.sql_size);
	dialog->state = STEP_UNDER_WAY;
	slm_dialog_send(dialog);
}

void slm_dialog_send_commit(struct slm_dialog *dialog)
{
	slm_dialog_put_before(dialog, false);
	slm_dialog_put_query(dialog, OF_COMMIT, "COMMIT");
	dialog->state = STEP_UNDER_WAY;
	slm_dialog_send(dialog);
}

void slm_dialog_send_rollback(struct slm_dialog *dialog)
{
	dialog->plan.rolled_back = false;
	slm_dialog_put_query(dialog, OF_ROLLBACK, "ROLLBACK");
	slm_dialog_send(dialog);
}

/* The client's Sync, which commits. */
void slm_dialog_send_sync(struct slm_dialog *dialog)
{
	struct expect *expect;

	slm_dialog_put_before(dialog, true);
	slm_dialog_put_batch(dialog);
	expect = slm_dialog_expect(dialog, EXPECT_SYNC, OF_CLIENT);
	if (expect)
		expect->arrived = true;
	slm_wire_put_simple(&dialog->out, SLM_WIRE_SYNC);
	dialog->unsynced = dialog->pipeline = dialog->unflushed = false;
	dialog->uncommitted = false;
	dialog->early = false; /* the client has asked; see give_kept() */
	dialog->state = STEP_UNDER_WAY;
	slm_dialog_send(dialog);
}

bool slm_dialog_answered(struct slm_dialog *dialog)
{
	if (slm_dialog_sent(dialog) == 0)
		return true;
	if (dialog->unflushed) {
		slm_dialog_put_flush(dialog);
		slm_dialog_send(dialog);
	}
	return false;
}
