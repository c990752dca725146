/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the client says. Part of the dialog. Each message is passed on (in runs
 * of bytes as they came), taken (kept in the batch, or sent together with
 * messages of ours), or it waits, and with it all that is behind it.
 *
 * In HOLD mode Parse, Bind, Describe and Close are collected in the batch until
 * an Execute, Sync or Flush tells what they are for: Parse and Bind take locks
 * and snapshots, which belong to the step, not to the time before its grant.
 */
#include <assert.h>
#include <string.h>

#include "base/error.h"
#include "probe/dialog_internal.h"

/* ---- Query ------------------------------------------------------------- */

/* The server commits or rolls back what was open of the pipeline. */
static void ends_pipeline(struct slm_dialog *dialog)
{
	dialog->unsynced = dialog->pipeline = false;
	dialog->unflushed = dialog->uncommitted = false;
	dialog->early = false;
}

static enum dialog_verdict go_query(struct slm_dialog *dialog,
				    const struct slm_wire_message *m)
{
	struct dialog_plan *plan = &dialog->plan;
	struct expect *expect;

	/* Behind a pipeline a Query of ours would commit it. */
	slm_dialog_put_before(dialog, dialog->pipeline);
	ends_pipeline(dialog);
	slm_dialog_forget(dialog, 'S', "");
	if (plan->active) {
		slm_dialog_send_part(dialog);
		return TAKEN;
	}
	if (dialog->split) {
		plan->active = plan->wrapped = plan->commits = true;
		plan->failed = false;
		plan->part = plan->nparts = plan->offset = 0;
		slm_dialog_put_query(dialog, OF_BEGIN, "BEGIN");
	}
	expect = slm_dialog_expect(dialog, EXPECT_QUERY, OF_CLIENT);
	if (expect)
		expect->arrived = true;
	dialog->state = STEP_UNDER_WAY;
	if (!dialog->out.size && !slm_buf_failed(&dialog->out))
		return PASS;
	if (m->have < m->size || m->size > DIALOG_TOGETHER_MAX) {
		slm_dialog_send(dialog);
		return PASS;
	}
	slm_buf_append(&dialog->out, m->body - SLM_WIRE_HEADER,
		       SLM_WIRE_HEADER + m->size);
	slm_dialog_send(dialog);
	return TAKEN;
}

static enum dialog_verdict held_query(struct slm_dialog *dialog,
				      const struct slm_wire_message *m,
				      const char *sql, size_t size, bool cut)
{
	if (dialog->state != STEP_GRANTED) {
		slm_dialog_send_batch(dialog);
		if (!slm_dialog_answered(dialog))
			return WAIT;
		slm_dialog_step_query(dialog, sql, size, cut);
		if (!dialog->failure && slm_dialog_plan(dialog))
			slm_dialog_step_part(dialog);
		slm_dialog_arrive(dialog, true);
	}
	if (dialog->state != STEP_GRANTED || dialog->failure)
		return WAIT;
	return go_query(dialog, m);
}

static enum dialog_verdict on_query(struct slm_dialog *dialog,
				    const struct slm_wire_message *m,
				    size_t *need)
{
	struct expect *expect;
	const char *sql;
	size_t size;
	bool cut;

	if (!slm_dialog_is_there(m, need))
		return MORE;
	sql = slm_dialog_text_at(m, 0, &size);
	/* A second text behind the first: the server will refuse it. */
	cut = slm_dialog_is_cut(m) || !slm_wire_text(m);
	if (slm_dialog_holds(dialog) || dialog->state == STEP_GRANTED)
		return held_query(dialog, m, sql, size, cut);
	slm_dialog_send_batch(dialog);
	expect = slm_dialog_expect(dialog, EXPECT_QUERY, OF_CLIENT);
	if (!expect)
		return WAIT;
	ends_pipeline(dialog);
	/* Gone, unless an error makes the server pass over the Query. */
	expect->former = (struct dialog_statement *)slm_dialog_names_remove(
		&dialog->statements, "");
	if (dialog->mode == SLM_DIALOG_TRACK) {
		expect->reported = true;
		expect->cut = cut;
		slm_buf_clear(&expect->text);
		slm_buf_append(&expect->text, sql, size);
		slm_buf_putc(&expect->text, '\0');
		if (slm_buf_failed(&expect->text)) {
			slm_dialog_nomem(dialog);
			return WAIT;
		}
		expect->text.size--;
	}
	slm_dialog_settle(dialog);
	return PASS;
}

static enum dialog_verdict on_function(struct slm_dialog *dialog)
{
	bool held = slm_dialog_holds(dialog) || dialog->state == STEP_GRANTED;
	struct expect *expect;

	slm_dialog_send_batch(dialog);
	if (held && dialog->state != STEP_GRANTED) {
		if (!slm_dialog_answered(dialog))
			return WAIT;
		slm_dialog_step_function(dialog);
		slm_dialog_arrive(dialog, true);
	}
	if (held && dialog->state != STEP_GRANTED)
		return WAIT;
	/* The client's unnamed statement outlives a FunctionCall. */
	slm_dialog_put_before(dialog, true);
	ends_pipeline(dialog);
	slm_dialog_send(dialog);
	expect = slm_dialog_expect(dialog, EXPECT_FUNCTION, OF_CLIENT);
	if (!expect)
		return WAIT;
	if (held)
		dialog->state = STEP_UNDER_WAY;
	expect->arrived = held;
	expect->reported = dialog->mode == SLM_DIALOG_TRACK;
	slm_dialog_settle(dialog);
	return PASS;
}

/* ---- Execute ----------------------------------------------------------- */

static struct expect *expect_execute(struct slm_dialog *dialog,
				     struct dialog_portal *portal,
				     const char *name)
{
	struct expect *expect =
		slm_dialog_expect(dialog, EXPECT_EXECUTE, OF_CLIENT);

	if (!expect)
		return NULL;
	expect->portal = portal;
	if (portal) {
		portal->object.refs++;
		return expect;
	}
	slm_buf_clear(&expect->text);
	slm_buf_puts(&expect->text, name);
	if (slm_buf_failed(&expect->text))
		slm_dialog_nomem(dialog);
	return expect;
}

/* May the Sync behind the Execute go with it? Not if it is a step of its own,
 * or could find the server in the middle of a COPY: so only behind queries,
 * DML and transaction control. */
static bool takes_sync(const struct slm_dialog *dialog)
{
	const struct slm_pg_step *parsed = dialog->step.parsed;

	return dialog->sync_behind && !dialog->split && !dialog->uncommitted &&
	       parsed && parsed->parsed && parsed->nstatements == 1 &&
	       parsed->statements[0].kind <= SLM_PG_ROLLBACK_TO;
}

static void put_sync(struct slm_dialog *dialog)
{
	slm_dialog_expect(dialog, EXPECT_SYNC, OF_CLIENT);
	slm_wire_put_simple(&dialog->out, SLM_WIRE_SYNC);
	ends_pipeline(dialog);
	dialog->sync_sent = true;
}

static enum dialog_verdict go_execute(struct slm_dialog *dialog,
				      const struct slm_wire_message *m,
				      struct dialog_portal *portal,
				      const char *name)
{
	struct expect *expect;

	slm_dialog_put_before(dialog, true);
	slm_dialog_put_batch(dialog);
	expect = expect_execute(dialog, portal, name);
	if (!expect || dialog->failure)
		return WAIT;
	expect->arrived = true;
	slm_buf_append(&dialog->out, m->body - SLM_WIRE_HEADER,
		       SLM_WIRE_HEADER + m->size);
	dialog->unsynced = dialog->pipeline = true;
	dialog->uncommitted |= dialog->split;
	if (takes_sync(dialog))
		put_sync(dialog);
	else
		slm_dialog_put_flush(dialog);
	dialog->state = STEP_UNDER_WAY;
	slm_dialog_send(dialog);
	return TAKEN;
}

static enum dialog_verdict on_execute(struct slm_dialog *dialog,
				      const struct slm_wire_message *m,
				      size_t *need)
{
	struct slm_wire_execute execute = { .portal = "" };
	struct dialog_portal *portal;
	struct expect *expect;

	if (slm_dialog_is_cut(m))
		return slm_dialog_too_long(dialog);
	if (!slm_dialog_is_there(m, need))
		return MORE;
	if (!slm_wire_execute(m, &execute)) /* the server will say so */
		execute.portal = "";
	portal = slm_dialog_portal_find(dialog, execute.portal);
	if (slm_dialog_holds(dialog) && dialog->state != STEP_GRANTED) {
		if (!slm_dialog_answered(dialog))
			return WAIT;
		slm_dialog_step_execute(dialog, portal, execute.portal);
		slm_dialog_arrive(dialog, true);
		if (dialog->state != STEP_GRANTED)
			return WAIT;
	}
	if (dialog->state == STEP_GRANTED)
		return go_execute(dialog, m, portal, execute.portal);
	slm_dialog_send_batch(dialog);
	expect = expect_execute(dialog, portal, execute.portal);
	if (!expect)
		return WAIT;
	expect->reported = dialog->mode == SLM_DIALOG_TRACK;
	dialog->unsynced = dialog->pipeline = dialog->unflushed = true;
	slm_dialog_settle(dialog);
	return PASS;
}

/* ---- Sync, Flush, COPY ------------------------------------------------- */

/* The step is what the batch prepares; it is over with the last answer. */
static bool waits_to_prepare(struct slm_dialog *dialog)
{
	const struct dialog_statement *statement;

	if (dialog->state != STEP_GRANTED) {
		statement = slm_dialog_prepares(dialog);
		if (!statement)
			return false;
		if (!slm_dialog_answered(dialog))
			return true;
		slm_dialog_step_prepare(dialog, statement);
		slm_dialog_arrive(dialog, true);
	}
	if (dialog->state != STEP_GRANTED || dialog->failure)
		return true;
	slm_dialog_put_before(dialog, true);
	slm_dialog_put_batch(dialog);
	slm_dialog_expect_at(dialog, dialog->queue.count - 1)->arrived = true;
	dialog->state = STEP_UNDER_WAY;
	return false;
}

static enum dialog_verdict on_sync(struct slm_dialog *dialog)
{
	struct expect *last = slm_dialog_last_statement(dialog), *expect;
	bool ended = last && last->copy_ended;

	if (slm_dialog_holds(dialog) && dialog->uncommitted) {
		if (!slm_dialog_answered(dialog))
			return WAIT;
		slm_dialog_step_commit(dialog);
		dialog->held_here = true;
		slm_dialog_arrive(dialog, true);
		return TAKEN;
	}
	if (waits_to_prepare(dialog))
		return WAIT;
	slm_dialog_put_batch(dialog);
	expect = slm_dialog_expect(dialog, EXPECT_SYNC, OF_CLIENT);
	if (!expect)
		return WAIT;
	expect->in_copy = dialog->copy_in;
	expect->copy_ended = ended;
	if (!dialog->copy_in) {
		dialog->skipping = false;
		ends_pipeline(dialog);
	}
	if (!dialog->out.size && !slm_buf_failed(&dialog->out))
		return PASS;
	slm_wire_put_simple(&dialog->out, SLM_WIRE_SYNC);
	slm_dialog_send(dialog);
	return TAKEN;
}

static enum dialog_verdict on_flush(struct slm_dialog *dialog)
{
	if (waits_to_prepare(dialog))
		return WAIT;
	slm_dialog_put_batch(dialog);
	dialog->unflushed = false;
	slm_dialog_give_kept(dialog);
	if (!dialog->out.size && !slm_buf_failed(&dialog->out))
		return PASS;
	slm_wire_put_simple(&dialog->out, SLM_WIRE_FLUSH);
	slm_dialog_send(dialog);
	return TAKEN;
}

static enum dialog_verdict on_copy_end(struct slm_dialog *dialog)
{
	struct expect *last = slm_dialog_last_statement(dialog);

	if (last && !dialog->copy_in)
		last->copy_ended = true;
	dialog->copy_in = false;
	/* Ours behind the Execute was ignored in the middle of the COPY. */
	dialog->flush_after = dialog->controlled &&
			      dialog->state == STEP_UNDER_WAY &&
			      dialog->step.kind == SLM_DIALOG_EXECUTE;
	return PASS;
}

/* A held step is under way: what belongs to it goes on. In the middle of a
 * COPY the server ignores Flush and Sync. Whatever else a client sends there is
 * wrong, unless the COPY has failed already: it waits until that is known. */
static enum dialog_verdict behind_step(struct slm_dialog *dialog,
				       const struct slm_wire_message *m)
{
	struct expect *expect;

	if (dialog->copy_in && m->type == SLM_WIRE_FLUSH)
		return PASS;
	if (!dialog->copy_in || m->type != SLM_WIRE_SYNC)
		return WAIT;
	expect = slm_dialog_expect(dialog, EXPECT_SYNC, OF_CLIENT);
	if (!expect)
		return WAIT;
	expect->in_copy = true;
	return PASS;
}

/* ---- All --------------------------------------------------------------- */

static enum dialog_verdict on_message(struct slm_dialog *dialog,
				      const struct slm_wire_message *m,
				      size_t *need)
{
	if (dialog->sync_sent) {
		assert(m->type == SLM_WIRE_SYNC);
		dialog->sync_sent = false;
		return TAKEN;
	}
	if (dialog->state == STEP_HELD)
		return WAIT;
	if (!dialog->open && m->type != SLM_WIRE_PASSWORD &&
	    m->type != SLM_WIRE_TERMINATE)
		return WAIT;
	/* Sent ahead: the COPY may be a part that has not been sent. */
	if (dialog->plan.active && !dialog->copy_in &&
	    dialog->plan.part + 1 < dialog->plan.nparts &&
	    (m->type == SLM_WIRE_COPY_DATA || m->type == SLM_WIRE_COPY_DONE ||
	     m->type == SLM_WIRE_COPY_FAIL))
		return WAIT;
	switch (m->type) {
	case SLM_WIRE_COPY_DATA:
	case SLM_WIRE_PASSWORD:
		return PASS;
	case SLM_WIRE_COPY_DONE:
	case SLM_WIRE_COPY_FAIL:
		return on_copy_end(dialog);
	case SLM_WIRE_TERMINATE:
		/* The server would roll back what it has not committed. */
		if (dialog->plan.active)
			return WAIT;
		slm_dialog_send_batch(dialog);
		return PASS;
	default:
		break;
	}
	if (dialog->state == STEP_UNDER_WAY && dialog->controlled)
		return behind_step(dialog, m);
	if (dialog->skipping && m->type != SLM_WIRE_SYNC)
		return PASS;
	switch (m->type) {
	case SLM_WIRE_QUERY:
		return on_query(dialog, m, need);
	case SLM_WIRE_FUNCTION_CALL:
		return on_function(dialog);
	case SLM_WIRE_PARSE:
		return slm_dialog_on_parse(dialog, m, need);
	case SLM_WIRE_BIND:
		return slm_dialog_on_bind(dialog, m, need);
	case SLM_WIRE_EXECUTE:
		return on_execute(dialog, m, need);
	case SLM_WIRE_SYNC:
		return on_sync(dialog);
	case SLM_WIRE_FLUSH:
		return on_flush(dialog);
	default:
		return slm_dialog_on_target(dialog, m, need);
	}
}

static void pass_on(struct slm_dialog *dialog, const uint8_t *bytes,
		    size_t size)
{
	if (dialog->client_end != bytes) {
		slm_dialog_flush_client(dialog);
		dialog->client_run = bytes;
	}
	dialog->client_end = bytes + size;
	if (!dialog->flush_after || dialog->client_rest)
		return;
	dialog->flush_after = false;
	slm_dialog_put_flush(dialog);
	slm_dialog_send(dialog);
}

/* The rest of a message whose beginning has been passed on. */
static size_t pass_rest(struct slm_dialog *dialog, const uint8_t *bytes,
			size_t size)
{
	if (size > dialog->client_rest)
		size = dialog->client_rest;
	dialog->client_rest -= (uint32_t)size;
	pass_on(dialog, bytes, size);
	if (!dialog->client_rest && dialog->out.size)
		slm_dialog_send(dialog);
	return size;
}

/* Only asked of what is behind a whole message, or nothing. */
static bool is_sync(const uint8_t *bytes, size_t size)
{
	static const uint8_t sync[] = { SLM_WIRE_SYNC, 0, 0, 0, 4 };

	return size >= sizeof(sync) && memcmp(bytes, sync, sizeof(sync)) == 0;
}

/* One message, or a part of one: how many bytes were used; 0: none now. */
static size_t one_message(struct slm_dialog *dialog, const uint8_t *bytes,
			  size_t size, size_t *need, struct sqloom_error *err)
{
	struct slm_wire_message m;
	char why[SLM_WIRE_WHY] = "";

	*need = dialog->client_rest ? 1 : SLM_WIRE_HEADER;
	if (size == 0)
		return 0;
	if (dialog->client_rest)
		return pass_rest(dialog, bytes, size);
	switch (slm_wire_look(SLM_WIRE_FROM_CLIENT, bytes, size, &m, why)) {
	case SLM_WIRE_MORE:
		return 0;
	case SLM_WIRE_BAD:
		dialog->failure = SQLOOM_DATABASE;
		slm_error_set(err, SQLOOM_DATABASE,
			      "the client sent what is not PostgreSQL's "
			      "protocol: %s",
			      why);
		return 0;
	default:
		break;
	}
	*need = 0;
	dialog->sync_behind = is_sync(bytes + SLM_WIRE_HEADER + m.have,
				      size - SLM_WIRE_HEADER - m.have);
	switch (on_message(dialog, &m, need)) {
	case PASS:
		dialog->client_rest = m.size - (uint32_t)m.have;
		pass_on(dialog, bytes, SLM_WIRE_HEADER + m.have);
		return SLM_WIRE_HEADER + m.have;
	case TAKEN:
		return SLM_WIRE_HEADER + m.size;
	default:
		return 0;
	}
}

enum sqloom_status slm_dialog_client(struct slm_dialog *dialog,
				     const void *bytes, size_t size,
				     size_t *used, size_t *need,
				     struct sqloom_error *err)
{
	const uint8_t *at = bytes, *end = at + size;

	*used = 0;
	*need = 0;
	if (dialog->failure)
		return slm_dialog_failure(dialog, err);
	for (;;) {
		size_t n =
			one_message(dialog, at, (size_t)(end - at), need, err);

		if (!n || dialog->failure)
			break;
		at += n;
	}
	slm_dialog_flush_client(dialog);
	*used = (size_t)(at - (const uint8_t *)bytes);
	if (dialog->failure == SQLOOM_DATABASE)
		return SQLOOM_DATABASE;
	return dialog->failure ? slm_dialog_failure(dialog, err) : SQLOOM_OK;
}
