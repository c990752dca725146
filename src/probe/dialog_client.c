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

enum verdict {
	PASS,  /* all that is there of it, and what follows */
	TAKEN, /* it has been dealt with */
	WAIT,
	MORE, /* more of it is needed */
};

static bool holds(const struct slm_dialog *dialog)
{
	return dialog->mode == SLM_DIALOG_HOLD;
}

/* Bytes of the body that must be there to understand it. */
static bool is_there(const struct slm_wire_message *m, size_t *need)
{
	size_t wanted = m->size < SLM_DIALOG_SQL_MAX ? m->size :
						       SLM_DIALOG_SQL_MAX;

	if (m->have >= wanted)
		return true;
	*need = SLM_WIRE_HEADER + wanted;
	return false;
}

static bool is_cut(const struct slm_wire_message *m)
{
	return m->size > SLM_DIALOG_SQL_MAX;
}

static enum verdict too_long(struct slm_dialog *dialog)
{
	dialog->failure = SQLOOM_LIMIT;
	return WAIT;
}

static void send_batch(struct slm_dialog *dialog)
{
	if (!dialog->batch.size)
		return;
	slm_dialog_put_batch(dialog);
	slm_dialog_send(dialog);
}

/* Up to the NUL, or to the end of what is looked at. */
static const char *text_at(const struct slm_wire_message *m, size_t offset,
			   size_t *size)
{
	size_t have = m->have < SLM_DIALOG_SQL_MAX ? m->have :
						     SLM_DIALOG_SQL_MAX;

	if (offset > have)
		offset = have;
	*size = strnlen((const char *)m->body + offset, have - offset);
	return (const char *)m->body + offset;
}

/* ---- Query ------------------------------------------------------------- */

/* The server commits or rolls back what was open of the pipeline. */
static void ends_pipeline(struct slm_dialog *dialog)
{
	dialog->unsynced = dialog->pipeline = false;
	dialog->unflushed = dialog->uncommitted = false;
	dialog->early = false;
}

static enum verdict go_query(struct slm_dialog *dialog,
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
	if (!dialog->out.size)
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

static enum verdict held_query(struct slm_dialog *dialog,
			       const struct slm_wire_message *m,
			       const char *sql, size_t size, bool cut)
{
	if (dialog->state != STEP_GRANTED) {
		send_batch(dialog);
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

static enum verdict on_query(struct slm_dialog *dialog,
			     const struct slm_wire_message *m, size_t *need)
{
	struct expect *expect;
	const char *sql;
	size_t size;
	bool cut;

	if (!is_there(m, need))
		return MORE;
	sql = text_at(m, 0, &size);
	/* A second text behind the first: the server will refuse it. */
	cut = is_cut(m) || !slm_wire_text(m);
	if (holds(dialog) || dialog->state == STEP_GRANTED)
		return held_query(dialog, m, sql, size, cut);
	send_batch(dialog);
	expect = slm_dialog_expect(dialog, EXPECT_QUERY, OF_CLIENT);
	if (!expect)
		return WAIT;
	ends_pipeline(dialog);
	slm_dialog_forget(dialog, 'S', "");
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

static enum verdict on_function(struct slm_dialog *dialog)
{
	bool held = holds(dialog) || dialog->state == STEP_GRANTED;
	struct expect *expect;

	send_batch(dialog);
	if (held && dialog->state != STEP_GRANTED) {
		if (!slm_dialog_answered(dialog))
			return WAIT;
		slm_dialog_step_function(dialog);
		slm_dialog_arrive(dialog, true);
	}
	if (held && dialog->state != STEP_GRANTED)
		return WAIT;
	slm_dialog_put_before(dialog, dialog->pipeline);
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

/* ---- Extended protocol ------------------------------------------------- */

/* The expectation is the last one. */
static enum verdict extended(struct slm_dialog *dialog,
			     const struct slm_wire_message *m)
{
	size_t size = (size_t)m->size + SLM_WIRE_HEADER;

	if (dialog->failure)
		return WAIT;
	if (holds(dialog) && m->have >= m->size &&
	    dialog->batch.size + size <= SLM_DIALOG_SQL_MAX) {
		slm_buf_append(&dialog->batch, m->body - SLM_WIRE_HEADER,
			       size);
		dialog->batched++;
		dialog->batch_binds |= m->type == SLM_WIRE_BIND;
		if (slm_buf_failed(&dialog->batch))
			slm_dialog_nomem(dialog);
		return TAKEN;
	}
	/* Its own expectation is behind those of the batch. */
	send_batch(dialog);
	dialog->unsynced = dialog->unflushed = true;
	dialog->pipeline |= m->type == SLM_WIRE_BIND;
	slm_dialog_settle(dialog);
	return PASS;
}

static bool has_room(struct slm_dialog *dialog)
{
	if (dialog->statements.count + dialog->portals.count <
	    SLM_DIALOG_NAMES_MAX)
		return true;
	dialog->failure = SQLOOM_LIMIT;
	return false;
}

static enum verdict on_parse(struct slm_dialog *dialog,
			     const struct slm_wire_message *m, size_t *need)
{
	struct dialog_statement *statement;
	struct dialog_object *former = NULL;
	struct slm_wire_parse parse = { 0 };
	size_t name_size, sql_size;
	const char *name, *sql;
	struct expect *expect;

	if (!is_there(m, need))
		return MORE;
	name = text_at(m, 0, &name_size);
	if (is_cut(m) && name_size >= SLM_DIALOG_SQL_MAX)
		return too_long(dialog);
	sql = text_at(m, name_size + 1, &sql_size);
	if (!is_cut(m) && !slm_wire_parse(m, &parse)) {
		/* The server will say so. */
		slm_dialog_expect(dialog, EXPECT_PARSE, OF_CLIENT);
		return extended(dialog, m);
	}
	if (!has_room(dialog))
		return WAIT;
	expect = slm_dialog_expect(dialog, EXPECT_PARSE, OF_CLIENT);
	statement = slm_dialog_statement_new(dialog, name, sql, sql_size,
					     is_cut(m));
	if (!expect || !statement) {
		slm_dialog_statement_unref(dialog, statement);
		slm_dialog_nomem(dialog);
		return WAIT;
	}
	if (parse.ntypes)
		slm_buf_append(&statement->types, parse.types,
			       (size_t)parse.ntypes * 4);
	expect->statement = statement;
	if (slm_buf_failed(&statement->types) ||
	    !slm_dialog_names_put(&dialog->statements, &statement->object,
				  &former)) {
		slm_dialog_nomem(dialog);
		return WAIT;
	}
	statement->object.refs++;
	expect->former = (struct dialog_statement *)former;
	return extended(dialog, m);
}

/* What was prepared by SQL has no text here. */
static struct dialog_statement *stand_in(struct slm_dialog *dialog,
					 const char *name)
{
	struct dialog_statement *statement = NULL;
	struct slm_buf sql = { 0 };

	slm_buf_printf(&sql, "EXECUTE \"%s\"", name);
	if (!slm_buf_failed(&sql))
		statement = slm_dialog_statement_new(dialog, name, sql.data,
						     sql.size, false);
	slm_buf_deinit(&sql);
	return statement;
}

static void keep_bound(struct dialog_portal *portal,
		       const struct slm_wire_bind *bind)
{
	size_t size = (size_t)(bind->end - bind->params);

	portal->nparams = bind->nparams;
	if (bind->nparams)
		slm_buf_append(&portal->params, bind->params,
			       size < DIALOG_BOUND_MAX ? size :
							 DIALOG_BOUND_MAX);
	if (bind->nformats)
		slm_buf_append(&portal->formats, bind->formats,
			       (size_t)bind->nformats * 2);
	if (bind->nresult_formats)
		slm_buf_append(&portal->result_formats, bind->result_formats,
			       (size_t)bind->nresult_formats * 2);
}

static bool make_portal(struct slm_dialog *dialog, const char *name,
			const char *from, const struct slm_wire_bind *bind)
{
	struct dialog_portal *portal = slm_dialog_portal_new(dialog, name);
	struct dialog_object *former = NULL;

	if (!portal)
		return false;
	portal->statement = slm_dialog_statement_find(dialog, from);
	if (portal->statement)
		portal->statement->object.refs++;
	else
		portal->statement = stand_in(dialog, from);
	if (bind)
		keep_bound(portal, bind);
	portal->cut = !bind;
	if (!portal->statement || slm_buf_failed(&portal->params) ||
	    slm_buf_failed(&portal->formats) ||
	    slm_buf_failed(&portal->result_formats) ||
	    !slm_dialog_names_put(&dialog->portals, &portal->object,
				  &former)) {
		slm_dialog_portal_unref(dialog, portal);
		return false;
	}
	slm_dialog_portal_unref(dialog, (struct dialog_portal *)former);
	return true;
}

static enum verdict on_bind(struct slm_dialog *dialog,
			    const struct slm_wire_message *m, size_t *need)
{
	struct slm_wire_bind bind = { 0 };
	size_t name_size, from_size;
	const char *name, *from;
	bool valid;

	if (!is_there(m, need))
		return MORE;
	name = text_at(m, 0, &name_size);
	from = text_at(m, name_size + 1, &from_size);
	if (is_cut(m) && name_size + 1 + from_size >= SLM_DIALOG_SQL_MAX)
		return too_long(dialog);
	valid = !is_cut(m) && slm_wire_bind(m, &bind);
	if (!slm_dialog_expect(dialog, EXPECT_BIND, OF_CLIENT))
		return WAIT;
	if (!valid && !is_cut(m)) /* the server will say so */
		return extended(dialog, m);
	if (!has_room(dialog))
		return WAIT;
	if (!make_portal(dialog, name, from, valid ? &bind : NULL)) {
		slm_dialog_nomem(dialog);
		return WAIT;
	}
	return extended(dialog, m);
}

static enum verdict on_target(struct slm_dialog *dialog,
			      const struct slm_wire_message *m, size_t *need)
{
	bool close = m->type == SLM_WIRE_CLOSE;
	struct slm_wire_target target = { 0 };
	struct expect *expect;

	if (is_cut(m))
		return too_long(dialog);
	if (!is_there(m, need))
		return MORE;
	expect = slm_dialog_expect(
		dialog, close ? EXPECT_CLOSE : EXPECT_DESCRIBE, OF_CLIENT);
	if (!expect)
		return WAIT;
	if (!slm_wire_target(m, &target))
		return extended(dialog, m);
	if (close && target.kind == 'S') {
		expect->former =
			(struct dialog_statement *)slm_dialog_names_remove(
				&dialog->statements, target.name);
	} else if (close) {
		slm_dialog_forget(dialog, 'P', target.name);
	} else if (target.kind == 'S') {
		expect->statement =
			slm_dialog_statement_find(dialog, target.name);
		if (expect->statement)
			expect->statement->object.refs++;
	} else {
		expect->portal = slm_dialog_portal_find(dialog, target.name);
		if (expect->portal)
			expect->portal->object.refs++;
	}
	return extended(dialog, m);
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

static enum verdict go_execute(struct slm_dialog *dialog,
			       const struct slm_wire_message *m,
			       struct dialog_portal *portal, const char *name)
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
	slm_dialog_put_flush(dialog);
	dialog->unsynced = dialog->pipeline = true;
	dialog->uncommitted |= dialog->split;
	dialog->state = STEP_UNDER_WAY;
	slm_dialog_send(dialog);
	return TAKEN;
}

static enum verdict on_execute(struct slm_dialog *dialog,
			       const struct slm_wire_message *m, size_t *need)
{
	struct slm_wire_execute execute = { .portal = "" };
	struct dialog_portal *portal;
	struct expect *expect;

	if (is_cut(m))
		return too_long(dialog);
	if (!is_there(m, need))
		return MORE;
	if (!slm_wire_execute(m, &execute)) /* the server will say so */
		execute.portal = "";
	portal = slm_dialog_portal_find(dialog, execute.portal);
	if (holds(dialog) && dialog->state != STEP_GRANTED) {
		if (!slm_dialog_answered(dialog))
			return WAIT;
		slm_dialog_step_execute(dialog, portal, execute.portal);
		slm_dialog_arrive(dialog, true);
		if (dialog->state != STEP_GRANTED)
			return WAIT;
	}
	if (dialog->state == STEP_GRANTED)
		return go_execute(dialog, m, portal, execute.portal);
	send_batch(dialog);
	expect = expect_execute(dialog, portal, execute.portal);
	if (!expect)
		return WAIT;
	expect->reported = dialog->mode == SLM_DIALOG_TRACK;
	dialog->unsynced = dialog->pipeline = dialog->unflushed = true;
	slm_dialog_settle(dialog);
	return PASS;
}

/* ---- Sync, Flush, COPY ------------------------------------------------- */

static enum verdict on_sync(struct slm_dialog *dialog)
{
	struct expect *last = slm_dialog_last_statement(dialog), *expect;
	bool ended = last && last->copy_ended;

	if (holds(dialog) && dialog->uncommitted) {
		if (!slm_dialog_answered(dialog))
			return WAIT;
		slm_dialog_step_commit(dialog);
		dialog->held_here = true;
		slm_dialog_arrive(dialog, true);
		return TAKEN;
	}
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
	if (!dialog->out.size)
		return PASS;
	slm_wire_put_simple(&dialog->out, SLM_WIRE_SYNC);
	slm_dialog_send(dialog);
	return TAKEN;
}

static enum verdict on_flush(struct slm_dialog *dialog)
{
	slm_dialog_put_batch(dialog);
	dialog->unflushed = false;
	slm_dialog_give_kept(dialog);
	if (!dialog->out.size)
		return PASS;
	slm_wire_put_simple(&dialog->out, SLM_WIRE_FLUSH);
	slm_dialog_send(dialog);
	return TAKEN;
}

static enum verdict on_copy_end(struct slm_dialog *dialog)
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
 * COPY the server ignores Flush and Sync, and ends on all others. */
static enum verdict behind_step(struct slm_dialog *dialog,
				const struct slm_wire_message *m)
{
	struct expect *expect;

	if (!dialog->copy_in)
		return WAIT;
	if (m->type != SLM_WIRE_SYNC)
		return PASS;
	/* Should the COPY have failed before it read the Sync, it would be
	 * answered, but behind a BEGIN of ours not as the client expects. */
	if (dialog->plan.active)
		return TAKEN;
	expect = slm_dialog_expect(dialog, EXPECT_SYNC, OF_CLIENT);
	if (!expect)
		return WAIT;
	expect->in_copy = true;
	return PASS;
}

/* ---- All --------------------------------------------------------------- */

static enum verdict on_message(struct slm_dialog *dialog,
			       const struct slm_wire_message *m, size_t *need)
{
	if (dialog->state == STEP_HELD)
		return WAIT;
	if (!dialog->open && m->type != SLM_WIRE_PASSWORD &&
	    m->type != SLM_WIRE_TERMINATE)
		return WAIT;
	switch (m->type) {
	case SLM_WIRE_COPY_DATA:
	case SLM_WIRE_PASSWORD:
		return PASS;
	case SLM_WIRE_COPY_DONE:
	case SLM_WIRE_COPY_FAIL:
		return on_copy_end(dialog);
	case SLM_WIRE_TERMINATE:
		send_batch(dialog);
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
		return on_parse(dialog, m, need);
	case SLM_WIRE_BIND:
		return on_bind(dialog, m, need);
	case SLM_WIRE_EXECUTE:
		return on_execute(dialog, m, need);
	case SLM_WIRE_SYNC:
		return on_sync(dialog);
	case SLM_WIRE_FLUSH:
		return on_flush(dialog);
	default:
		return on_target(dialog, m, need);
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
	return size;
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
			      "protocol: %s", why);
		return 0;
	default:
		break;
	}
	*need = 0;
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
		size_t n = one_message(dialog, at, (size_t)(end - at), need,
				       err);

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
