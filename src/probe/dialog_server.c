/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server says. Part of the dialog. Each message belongs to the front
 * of the queue, or to nobody. It is given to the client (in runs of bytes as
 * they came), put aside with the answer of what was split, or dropped.
 *
 * Answers that come because of a Flush of ours are kept back as the server
 * would: until the client asks, until there are more than its buffer holds, or
 * until it says something that it sends at once.
 */
#include <string.h>

#include "base/error.h"
#include "probe/dialog_internal.h"

/* ---- To the client ----------------------------------------------------- */

void slm_dialog_flush_server(struct slm_dialog *dialog)
{
	const uint8_t *run = dialog->server_run;
	size_t size = run ? (size_t)(dialog->server_end - run) : 0;

	dialog->server_run = dialog->server_end = NULL;
	if (size)
		dialog->ops.to_client(dialog->userdata, run, size);
}

void slm_dialog_give_now(struct slm_dialog *dialog)
{
	if (!dialog->kept.size)
		return;
	slm_dialog_flush_server(dialog);
	dialog->ops.to_client(dialog->userdata, dialog->kept.data,
			      dialog->kept.size);
	slm_buf_clear(&dialog->kept);
}

void slm_dialog_give_kept(struct slm_dialog *dialog)
{
	dialog->early = false;
	slm_dialog_give_now(dialog);
}

static void keep(struct slm_dialog *dialog, const void *bytes, size_t size)
{
	slm_buf_append(&dialog->kept, bytes, size);
	if (slm_buf_failed(&dialog->kept))
		slm_dialog_nomem(dialog);
	else if (dialog->kept.size > DIALOG_SERVER_BUFFER)
		slm_dialog_give_now(dialog);
}

static bool keeps(const struct slm_dialog *dialog)
{
	return dialog->early || dialog->kept.size;
}

void slm_dialog_give(struct slm_dialog *dialog, const void *bytes, size_t size)
{
	if (!size)
		return;
	if (keeps(dialog)) {
		keep(dialog, bytes, size);
		return;
	}
	slm_dialog_flush_server(dialog);
	dialog->ops.to_client(dialog->userdata, bytes, size);
}

/* Bytes as they came. */
static void give_run(struct slm_dialog *dialog, const uint8_t *bytes,
		     size_t size)
{
	if (keeps(dialog)) {
		keep(dialog, bytes, size);
		return;
	}
	if (dialog->server_end != bytes) {
		slm_dialog_flush_server(dialog);
		dialog->server_run = bytes;
	}
	dialog->server_end = bytes + size;
}

static void dispose(struct slm_dialog *dialog, enum dialog_fate fate,
		    const uint8_t *bytes, size_t size)
{
	switch (fate) {
	case GIVE:
		give_run(dialog, bytes, size);
		break;
	case GIVE_NOW:
		give_run(dialog, bytes, size);
		slm_dialog_give_now(dialog);
		break;
	case ASIDE:
		slm_buf_append(&dialog->plan.answer, bytes, size);
		if (slm_buf_failed(&dialog->plan.answer))
			slm_dialog_nomem(dialog);
		break;
	case DROP:
		break;
	}
}

/* What comes behind a CommandComplete that is put aside stays behind it. */
static enum dialog_fate behind(const struct slm_dialog *dialog)
{
	return dialog->plan.answer.size ? ASIDE : GIVE;
}

/* ---- Rows -------------------------------------------------------------- */

/* Of the step that is under way? Then its result is wanted. */
static bool is_wanted(const struct slm_dialog *dialog,
		      const struct expect *head)
{
	return dialog->result.arena && head && head->arrived &&
	       head->owner == OF_CLIENT &&
	       (head->kind == EXPECT_QUERY || head->kind == EXPECT_EXECUTE);
}

static void keep_columns(struct slm_dialog *dialog, struct slm_buf *out,
			 const struct slm_wire_message *m)
{
	slm_buf_clear(out);
	if (m->have < m->size)
		return;
	slm_buf_append(out, m->body, m->size);
	if (slm_buf_failed(out))
		slm_dialog_nomem(dialog);
}

static void on_columns(struct slm_dialog *dialog, struct expect *head,
		       const struct slm_wire_message *m)
{
	struct dialog_portal *portal = head->portal;

	if (head->owner != OF_CLIENT)
		return;
	/* pgjdbc describes the first portal of a statement, and no other. */
	if (head->kind == EXPECT_DESCRIBE && portal && portal->statement)
		keep_columns(dialog, &portal->statement->columns, m);
	if (head->kind == EXPECT_DESCRIBE && head->statement)
		keep_columns(dialog, &head->statement->columns, m);
	else if (head->kind == EXPECT_DESCRIBE && head->portal)
		keep_columns(dialog, &head->portal->columns, m);
	else if (is_wanted(dialog, head) && m->have == m->size)
		slm_dialog_result_columns(&dialog->result, m->body, m->size,
					  NULL);
}

static void on_row(struct slm_dialog *dialog, const struct expect *head,
		   const struct slm_wire_message *m)
{
	struct dialog_portal *portal = head->portal;
	const struct slm_buf *columns = NULL;

	if (!is_wanted(dialog, head))
		return;
	if (!dialog->result.open && portal) {
		columns = portal->columns.size ? &portal->columns :
						 &portal->statement->columns;
		if (columns->size)
			slm_dialog_result_columns(&dialog->result,
						  columns->data, columns->size,
						  &portal->result_formats);
	}
	if (!dialog->result.open)
		slm_dialog_result_undescribed(&dialog->result,
					      portal ? &portal->result_formats :
						       NULL);
	slm_dialog_result_row(&dialog->result, m);
}

static void on_types(struct slm_dialog *dialog, const struct expect *head,
		     const struct slm_wire_message *m)
{
	struct slm_buf *types;

	if (head->kind != EXPECT_DESCRIBE || !head->statement || m->size < 2)
		return;
	types = &head->statement->types;
	slm_buf_clear(types);
	slm_buf_append(types, m->body + 2, m->size - 2);
	if (slm_buf_failed(types))
		slm_dialog_nomem(dialog);
}

/* ---- Ends of statements ------------------------------------------------ */

static void pop(struct slm_dialog *dialog)
{
	bool arrived = slm_dialog_expect_at(dialog, 0)->arrived;

	slm_dialog_expect_pop(dialog);
	if (arrived)
		slm_dialog_finish(dialog);
	slm_dialog_settle(dialog);
}

/* Statements that the server has forgotten because of SQL. */
static void on_forgotten(struct slm_dialog *dialog, const char *tag)
{
	const struct slm_pg_step *parsed = dialog->step.parsed;

	if (strcmp(tag, "DEALLOCATE ALL") == 0 ||
	    strcmp(tag, "DISCARD ALL") == 0) {
		slm_dialog_forget_statements(dialog);
		return;
	}
	if (strcmp(tag, "DEALLOCATE") != 0 || dialog->state != STEP_UNDER_WAY ||
	    !parsed)
		return;
	for (size_t i = 0; i < parsed->nstatements; i++)
		if (parsed->statements[i].kind == SLM_PG_DEALLOCATE &&
		    parsed->statements[i].name)
			slm_dialog_forget(dialog, 'S',
					  parsed->statements[i].name);
}

static bool is_chain(const char *sql)
{
	const char *chain = strcasestr(sql, "chain");

	return chain && !strcasestr(sql, "no");
}

/* In a pipeline the server says what a transaction is in only at the Sync. */
static char status_after(const struct slm_dialog *dialog, const char *tag)
{
	const struct slm_pg_step *parsed = dialog->step.parsed;
	bool known = dialog->state == STEP_UNDER_WAY && parsed &&
		     parsed->nstatements == 1;

	if (strcmp(tag, "BEGIN") == 0 || strcmp(tag, "START TRANSACTION") == 0)
		return 'T';
	if (strcmp(tag, "ROLLBACK") == 0 && known &&
	    parsed->statements[0].kind == SLM_PG_ROLLBACK_TO)
		return 'T';
	if (strcmp(tag, "COMMIT") != 0 && strcmp(tag, "ROLLBACK") != 0 &&
	    strcmp(tag, "PREPARE TRANSACTION") != 0)
		return dialog->status;
	return known && is_chain(dialog->step.sql) ? 'T' : 'I';
}

static void on_executed(struct slm_dialog *dialog, const char *tag)
{
	bool arrived = slm_dialog_expect_at(dialog, 0)->arrived;
	char before = dialog->status;

	dialog->status = tag ? status_after(dialog, tag) : before;
	if (tag && (dialog->status != before || strcmp(tag, "COMMIT") == 0 ||
		    strcmp(tag, "ROLLBACK") == 0))
		dialog->uncommitted = false;
	dialog->copy_in = false;
	slm_dialog_expect_pop(dialog);
	/* Read in the middle of the COPY, and ignored. */
	while (slm_dialog_head(dialog) && slm_dialog_head(dialog)->in_copy)
		slm_dialog_expect_pop(dialog);
	if (arrived)
		slm_dialog_finish(dialog);
	slm_dialog_settle(dialog);
}

/* CommandComplete, EmptyQueryResponse, PortalSuspended. */
static enum dialog_fate on_complete(struct slm_dialog *dialog,
				    const struct slm_wire_message *m)
{
	struct expect *head = slm_dialog_head(dialog);
	struct dialog_plan *plan = &dialog->plan;
	const char *tag =
		m->type == SLM_WIRE_COMMAND_COMPLETE ? slm_wire_text(m) : NULL;

	if (head->owner == OF_COMMIT && dialog->result.arena &&
	    dialog->step.kind == SLM_DIALOG_COMMIT)
		slm_dialog_result_complete(&dialog->result, tag);
	plan->rolled_back = plan->rolled_back || head->owner == OF_ROLLBACK;
	if (head->kind == EXPECT_EXECUTE && head->owner != OF_CLIENT)
		pop(dialog);
	if (head->owner != OF_CLIENT)
		return DROP;
	if (is_wanted(dialog, head))
		slm_dialog_result_complete(&dialog->result, tag);
	if (tag)
		on_forgotten(dialog, tag);
	if (head->kind == EXPECT_EXECUTE) {
		on_executed(dialog, tag);
		return GIVE;
	}
	dialog->copy_in = false;
	if (!plan->active || !plan->wrapped || plan->failed ||
	    plan->part + 1 < plan->nparts)
		return GIVE;
	if (plan->answer.size == 0)
		plan->complete = SLM_WIRE_HEADER + m->size;
	return ASIDE;
}

/* ---- ReadyForQuery ----------------------------------------------------- */

/* The Query is answered: what was put aside goes to the client, if it is still
 * true, and then the ReadyForQuery that is at hand. */
static void end_plan(struct slm_dialog *dialog)
{
	struct dialog_plan *plan = &dialog->plan;
	size_t skip = plan->failed ? plan->complete : 0;

	plan->active = false;
	for (; plan->strays; plan->strays--)
		if (!slm_wire_put_ready(&plan->answer, dialog->status))
			slm_dialog_nomem(dialog);
	if (plan->answer.size > skip)
		slm_dialog_give(dialog, plan->answer.data + skip,
				plan->answer.size - skip);
	slm_buf_clear(&plan->answer);
	plan->complete = 0;
}

static enum dialog_fate end_query(struct slm_dialog *dialog, bool arrived)
{
	if (dialog->plan.active && arrived)
		end_plan(dialog);
	dialog->copy_in = false;
	dialog->early = false;
	if (arrived)
		slm_dialog_finish(dialog);
	if (dialog->status == 'I' && dialog->queue.count == 0)
		slm_dialog_forget_portals(dialog);
	dialog->open = true;
	dialog->ops.idle(dialog->userdata, dialog->status);
	slm_dialog_settle(dialog);
	return GIVE_NOW;
}

static void next_part(struct slm_dialog *dialog)
{
	slm_dialog_finish(dialog);
	dialog->plan.part++;
	slm_dialog_step_part(dialog);
	dialog->held_here = true;
	slm_dialog_arrive(dialog, true);
}

static void commit_plan(struct slm_dialog *dialog)
{
	if (!dialog->plan.commits) {
		slm_buf_clear(&dialog->before);
		slm_dialog_send_commit(dialog);
		return;
	}
	slm_dialog_finish(dialog);
	slm_dialog_step_commit(dialog);
	dialog->held_here = true;
	slm_dialog_arrive(dialog, true);
}

/* The Query of a plan, or a part of it, is answered. */
static enum dialog_fate on_part_ready(struct slm_dialog *dialog)
{
	struct dialog_plan *plan = &dialog->plan;

	if (plan->failed && plan->wrapped && dialog->status == 'E') {
		slm_dialog_send_rollback(dialog);
		return DROP;
	}
	if (!plan->failed && plan->part + 1 < plan->nparts) {
		next_part(dialog);
		return DROP;
	}
	if (!plan->failed && plan->wrapped && dialog->status == 'T') {
		commit_plan(dialog);
		return DROP;
	}
	/* Without a wrap, or the transaction is gone by itself. */
	return end_query(dialog, true);
}

static enum dialog_fate on_own_ready(struct slm_dialog *dialog,
				     enum expect_owner owner)
{
	switch (owner) {
	case OF_COMMIT:
	case OF_ROLLBACK:
		return end_query(dialog, true);
	case OF_INJECT:
		dialog->ops.injected(dialog->userdata,
				     dialog->injected[0] ? dialog->injected :
							   NULL);
		break;
	default:
		break;
	}
	slm_dialog_settle(dialog);
	return DROP;
}

/* A COPY has failed before the server read a Sync in it: that is answered, and
 * not our ROLLBACK. The client gets it when all is over. */
static bool is_stray(const struct slm_dialog *dialog, size_t expected)
{
	return dialog->plan.active && !dialog->plan.rolled_back &&
	       expected < slm_dialog_sent(dialog) &&
	       slm_dialog_expect_at(dialog, expected)->owner == OF_ROLLBACK;
}

/* What a server has to say nothing of but that it is ready: one that keeps to
 * the protocol has something to say of a step. */
static void pop_unanswered(struct slm_dialog *dialog, size_t count)
{
	bool step = false;

	for (; count; count--) {
		step = step || slm_dialog_expect_at(dialog, 0)->arrived;
		slm_dialog_expect_pop(dialog);
	}
	if (step)
		slm_dialog_finish(dialog);
}

static enum dialog_fate on_ready(struct slm_dialog *dialog,
				 const struct slm_wire_message *m)
{
	char status = slm_wire_status(m);
	size_t i = slm_dialog_expect_ready(dialog);
	struct expect expect = { .kind = EXPECT_SYNC };

	if (is_stray(dialog, i)) {
		dialog->plan.strays++;
		return DROP;
	}
	if (i < slm_dialog_sent(dialog)) {
		expect = *slm_dialog_expect_at(dialog, i);
		pop_unanswered(dialog, i);
		slm_dialog_expect_pop(dialog);
		if (expect.in_copy)
			dialog->skipping = false;
		/* Of a COPY by Query: read in the middle of it, and ignored. */
		while (expect.kind == EXPECT_QUERY && slm_dialog_head(dialog) &&
		       slm_dialog_head(dialog)->in_copy)
			slm_dialog_expect_pop(dialog);
	}
	if (status)
		dialog->status = status;
	if (expect.owner != OF_CLIENT)
		return on_own_ready(dialog, expect.owner);
	if (dialog->plan.active && expect.kind == EXPECT_QUERY)
		return on_part_ready(dialog);
	return end_query(dialog, expect.arrived);
}

/* ---- All --------------------------------------------------------------- */

static void on_setting(struct slm_dialog *dialog,
		       const struct slm_wire_message *m)
{
	/* In these a byte that looks like ASCII may be part of a character. */
	static const char *const unsafe[] = { "BIG5",	       "GBK",	"UHC",
					      "GB18030",       "JOHAB", "SJIS",
					      "SHIFT_JIS_2004" };
	struct slm_wire_setting setting;

	if (!slm_wire_setting(m, &setting))
		return;
	if (strcmp(setting.name, "standard_conforming_strings") == 0) {
		dialog->plain_strings = strcmp(setting.value, "on") == 0;
	} else if (strcmp(setting.name, "client_encoding") == 0) {
		dialog->multibyte = strcmp(setting.value, "UTF8") == 0;
		dialog->unsafe_encoding = false;
		for (size_t i = 0; i < sizeof(unsafe) / sizeof(unsafe[0]); i++)
			if (strcmp(setting.value, unsafe[i]) == 0)
				dialog->unsafe_encoding = true;
	}
}

/* The server waits for the client: what it has said is with the client. */
static void on_copy(struct slm_dialog *dialog, const struct expect *head)
{
	/* A client that does not wait may have ended it already. */
	dialog->copy_in = !head->copy_ended;
	for (size_t i = 1; i < slm_dialog_sent(dialog); i++) {
		struct expect *expect = slm_dialog_expect_at(dialog, i);

		if (expect->kind != EXPECT_SYNC || expect->copy_ended)
			break;
		expect->in_copy = true;
	}
}

/* An answer to what was sent: head is there. */
static enum dialog_fate on_answer(struct slm_dialog *dialog,
				  struct expect *head,
				  const struct slm_wire_message *m)
{
	enum dialog_fate fate = head->owner == OF_CLIENT ? GIVE : DROP;
	enum expect_kind kind = head->kind;

	switch (m->type) {
	case SLM_WIRE_ROW_DESCRIPTION:
		on_columns(dialog, head, m);
		if (kind == EXPECT_DESCRIBE)
			pop(dialog);
		break;
	case SLM_WIRE_NO_DATA:
		if (kind == EXPECT_DESCRIBE)
			pop(dialog);
		break;
	case SLM_WIRE_PARAMETER_DESCRIPTION:
		on_types(dialog, head, m);
		break;
	case SLM_WIRE_DATA_ROW:
		on_row(dialog, head, m);
		break;
	case SLM_WIRE_PARSE_COMPLETE:
		if (kind == EXPECT_PARSE)
			pop(dialog);
		break;
	case SLM_WIRE_BIND_COMPLETE:
		if (kind == EXPECT_BIND)
			pop(dialog);
		break;
	case SLM_WIRE_CLOSE_COMPLETE:
		if (kind == EXPECT_CLOSE)
			pop(dialog);
		break;
	case SLM_WIRE_COMMAND_COMPLETE:
	case SLM_WIRE_EMPTY_QUERY_RESPONSE:
	case SLM_WIRE_PORTAL_SUSPENDED:
		if (kind == EXPECT_QUERY || kind == EXPECT_EXECUTE)
			return on_complete(dialog, m);
		break;
	case SLM_WIRE_COPY_IN_RESPONSE:
	case SLM_WIRE_COPY_BOTH_RESPONSE:
		if (fate == GIVE)
			on_copy(dialog, head);
		return fate == GIVE ? GIVE_NOW : DROP;
	default:
		break;
	}
	return fate;
}

static enum dialog_fate on_message(struct slm_dialog *dialog,
				   const struct slm_wire_message *m)
{
	struct expect *head = slm_dialog_head(dialog);
	struct slm_wire_key key;

	switch (m->type) {
	case SLM_WIRE_BACKEND_KEY_DATA:
		if (slm_wire_key(m, &key))
			dialog->pid = key.pid;
		return GIVE;
	case SLM_WIRE_PARAMETER_STATUS:
		on_setting(dialog, m);
		return behind(dialog);
	case SLM_WIRE_NOTIFICATION_RESPONSE:
		return behind(dialog);
	case SLM_WIRE_NOTICE_RESPONSE:
		return slm_dialog_on_notice(dialog, m);
	case SLM_WIRE_ERROR_RESPONSE:
		return slm_dialog_on_error(dialog, m);
	case SLM_WIRE_READY_FOR_QUERY:
		return on_ready(dialog, m);
	default:
		return head ? on_answer(dialog, head, m) : GIVE;
	}
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Bytes of the body that must be there to understand it. */
static size_t wanted(const struct slm_dialog *dialog,
		     const struct slm_wire_message *m)
{
	switch (m->type) {
	case SLM_WIRE_BACKEND_KEY_DATA:
	case SLM_WIRE_PARAMETER_STATUS:
	case SLM_WIRE_COMMAND_COMPLETE:
	case SLM_WIRE_READY_FOR_QUERY:
	case SLM_WIRE_PARAMETER_DESCRIPTION:
		return m->size; /* bounded by the codec */
	case SLM_WIRE_ROW_DESCRIPTION:
		return m->size <= DIALOG_COLUMNS_MAX ? m->size : 0;
	case SLM_WIRE_ERROR_RESPONSE:
	case SLM_WIRE_NOTICE_RESPONSE:
		return least(m->size, DIALOG_ERROR_MAX);
	case SLM_WIRE_DATA_ROW:
		return is_wanted(dialog, slm_dialog_head(dialog)) ?
			       least(m->size, DIALOG_ROW_MAX) :
			       0;
	default:
		return 0;
	}
}

/* One message, or a part of one: how many bytes were used; 0: none now. */
static size_t one_message(struct slm_dialog *dialog, const uint8_t *bytes,
			  size_t size, size_t *need, struct sqloom_error *err)
{
	struct slm_wire_message m, seen;
	char why[SLM_WIRE_WHY] = "";
	size_t enough;

	*need = size ? SLM_WIRE_HEADER : 0;
	if (size == 0)
		return 0;
	if (dialog->server_rest) {
		size = least(size, dialog->server_rest);
		dialog->server_rest -= (uint32_t)size;
		dispose(dialog, (enum dialog_fate)dialog->server_fate, bytes,
			size);
		return size;
	}
	switch (slm_wire_look(SLM_WIRE_FROM_SERVER, bytes, size, &m, why)) {
	case SLM_WIRE_MORE:
		return 0;
	case SLM_WIRE_BAD:
		dialog->failure = SQLOOM_DATABASE;
		slm_error_set(err, SQLOOM_DATABASE,
			      "the server sent what is not PostgreSQL's "
			      "protocol: %s",
			      why);
		return 0;
	default:
		break;
	}
	enough = wanted(dialog, &m);
	if (m.have < enough) {
		*need = SLM_WIRE_HEADER + enough;
		return 0;
	}
	if (m.type == SLM_WIRE_READY_FOR_QUERY && !slm_wire_status(&m)) {
		dialog->failure = SQLOOM_DATABASE;
		slm_error_set(err, SQLOOM_DATABASE,
			      "the server sent a ReadyForQuery of the unknown "
			      "status 0x%02x",
			      *m.body);
		return 0;
	}
	/* What is understood must not depend on how the bytes come. */
	seen = m;
	if (enough)
		seen.have = enough;
	dialog->server_fate = on_message(dialog, &seen);
	dispose(dialog, (enum dialog_fate)dialog->server_fate, bytes,
		SLM_WIRE_HEADER + m.have);
	dialog->server_rest = m.size - (uint32_t)m.have;
	return SLM_WIRE_HEADER + m.have;
}

enum sqloom_status slm_dialog_server(struct slm_dialog *dialog,
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
	slm_dialog_flush_server(dialog);
	*used = (size_t)(at - (const uint8_t *)bytes);
	if (dialog->failure == SQLOOM_DATABASE)
		return SQLOOM_DATABASE;
	return dialog->failure ? slm_dialog_failure(dialog, err) : SQLOOM_OK;
}
