/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parse, Bind, Describe and Close: what they tell of names, and the batch in
 * which they wait for an Execute, Sync or Flush. Part of the dialog; also what
 * it takes to read a message of which only the beginning is there.
 */
#include <string.h>

#include "probe/dialog_internal.h"

bool slm_dialog_holds(const struct slm_dialog *dialog)
{
	return dialog->mode == SLM_DIALOG_HOLD;
}

/* Bytes of the body that must be there to understand it. */
bool slm_dialog_is_there(const struct slm_wire_message *m, size_t *need)
{
	size_t wanted = m->size < SLM_DIALOG_SQL_MAX ? m->size :
						       SLM_DIALOG_SQL_MAX;

	if (m->have >= wanted)
		return true;
	*need = SLM_WIRE_HEADER + wanted;
	return false;
}

bool slm_dialog_is_cut(const struct slm_wire_message *m)
{
	return m->size > SLM_DIALOG_SQL_MAX;
}

enum dialog_verdict slm_dialog_too_long(struct slm_dialog *dialog)
{
	dialog->failure = SQLOOM_LIMIT;
	return WAIT;
}

void slm_dialog_send_batch(struct slm_dialog *dialog)
{
	if (!dialog->batch.size)
		return;
	slm_dialog_put_batch(dialog);
	slm_dialog_send(dialog);
}

/* Up to the NUL, or to the end of what is looked at. */
const char *slm_dialog_text_at(const struct slm_wire_message *m, size_t offset,
			       size_t *size)
{
	size_t have = m->have < SLM_DIALOG_SQL_MAX ? m->have :
						     SLM_DIALOG_SQL_MAX;

	if (offset > have)
		offset = have;
	*size = strnlen((const char *)m->body + offset, have - offset);
	return (const char *)m->body + offset;
}

/* ---- The batch --------------------------------------------------------- */

/* The expectation is the last one. */
static enum dialog_verdict extended(struct slm_dialog *dialog,
				    const struct slm_wire_message *m)
{
	size_t size = (size_t)m->size + SLM_WIRE_HEADER;

	if (dialog->failure)
		return WAIT;
	if (slm_dialog_holds(dialog) && m->have >= m->size &&
	    dialog->batch.size + size <= SLM_DIALOG_SQL_MAX) {
		slm_buf_append(&dialog->batch, m->body - SLM_WIRE_HEADER, size);
		dialog->batched++;
		dialog->batch_binds |= m->type == SLM_WIRE_BIND;
		if (slm_buf_failed(&dialog->batch))
			slm_dialog_nomem(dialog);
		return TAKEN;
	}
	/* Its own expectation is behind those of the batch. */
	slm_dialog_send_batch(dialog);
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

enum dialog_verdict slm_dialog_on_parse(struct slm_dialog *dialog,
					const struct slm_wire_message *m,
					size_t *need)
{
	struct dialog_statement *statement;
	struct dialog_object *former = NULL;
	struct slm_wire_parse parse = { 0 };
	size_t name_size, sql_size;
	const char *name, *sql;
	struct expect *expect;

	if (!slm_dialog_is_there(m, need))
		return MORE;
	name = slm_dialog_text_at(m, 0, &name_size);
	if (slm_dialog_is_cut(m) && name_size >= SLM_DIALOG_SQL_MAX)
		return slm_dialog_too_long(dialog);
	sql = slm_dialog_text_at(m, name_size + 1, &sql_size);
	if (!slm_dialog_is_cut(m) && !slm_wire_parse(m, &parse)) {
		/* The server will say so. */
		slm_dialog_expect(dialog, EXPECT_PARSE, OF_CLIENT);
		return extended(dialog, m);
	}
	if (!has_room(dialog))
		return WAIT;
	expect = slm_dialog_expect(dialog, EXPECT_PARSE, OF_CLIENT);
	statement = slm_dialog_statement_new(dialog, name, sql, sql_size,
					     slm_dialog_is_cut(m));
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
	    !slm_dialog_names_put(&dialog->portals, &portal->object, &former)) {
		slm_dialog_portal_unref(dialog, portal);
		return false;
	}
	slm_dialog_portal_unref(dialog, (struct dialog_portal *)former);
	return true;
}

enum dialog_verdict slm_dialog_on_bind(struct slm_dialog *dialog,
				       const struct slm_wire_message *m,
				       size_t *need)
{
	struct slm_wire_bind bind = { 0 };
	size_t name_size, from_size;
	const char *name, *from;
	bool valid;

	if (!slm_dialog_is_there(m, need))
		return MORE;
	name = slm_dialog_text_at(m, 0, &name_size);
	from = slm_dialog_text_at(m, name_size + 1, &from_size);
	if (slm_dialog_is_cut(m) &&
	    name_size + 1 + from_size >= SLM_DIALOG_SQL_MAX)
		return slm_dialog_too_long(dialog);
	valid = !slm_dialog_is_cut(m) && slm_wire_bind(m, &bind);
	if (!slm_dialog_expect(dialog, EXPECT_BIND, OF_CLIENT))
		return WAIT;
	if (!valid && !slm_dialog_is_cut(m)) /* the server will say so */
		return extended(dialog, m);
	if (!has_room(dialog))
		return WAIT;
	if (!make_portal(dialog, name, from, valid ? &bind : NULL)) {
		slm_dialog_nomem(dialog);
		return WAIT;
	}
	return extended(dialog, m);
}

enum dialog_verdict slm_dialog_on_target(struct slm_dialog *dialog,
					 const struct slm_wire_message *m,
					 size_t *need)
{
	bool close = m->type == SLM_WIRE_CLOSE;
	struct slm_wire_target target = { 0 };
	struct expect *expect;

	if (slm_dialog_is_cut(m))
		return slm_dialog_too_long(dialog);
	if (!slm_dialog_is_there(m, need))
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
