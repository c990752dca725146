/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps: what a message of the client's means to a scheduler, and whether a
 * Query may be taken apart. Part of the dialog. There is one step at a time.
 */
#include <assert.h>
#include <string.h>
#include <strings.h>

#include "probe/dialog_internal.h"
#include "trace/utf8.h"

#define PARAMS_MAX 2000 /* bytes that are shown of all parameters */

const struct slm_pg_step *slm_dialog_read(struct slm_dialog *dialog,
					  const char *sql, size_t size,
					  bool cut)
{
	const struct slm_pg_step *parsed;

	/* The beginning of a text might be a text of its own. */
	if (cut) {
		sql = DIALOG_UNREADABLE;
		size = strlen(sql);
	}
	parsed = dialog->ops.read(dialog->userdata, sql, size);
	assert(parsed);
	return parsed;
}

static void begin(struct slm_dialog *dialog, enum slm_dialog_kind kind)
{
	assert(dialog->state == STEP_NONE);
	slm_buf_clear(&dialog->params);
	slm_buf_clear(&dialog->before);
	dialog->split = false;
	dialog->step =
		(struct slm_dialog_step){ .kind = kind,
					  .sql = "",
					  .params = "",
					  .status = dialog->status,
					  .snapshot = dialog->status != 'I' &&
						      dialog->snapshot };
}

static void set_text(struct slm_dialog *dialog, const char *sql, size_t size)
{
	slm_buf_clear(&dialog->text);
	slm_buf_append(&dialog->text, sql, size);
	slm_buf_putc(&dialog->text, '\0');
	if (slm_buf_failed(&dialog->text)) {
		slm_dialog_nomem(dialog);
		return;
	}
	dialog->text.size--;
	dialog->step.sql = dialog->text.data;
	dialog->step.sql_size = dialog->text.size;
}

/* ---- Kinds ------------------------------------------------------------- */

/* The parser takes a text as a server does by default. Other settings matter
 * where there are backslashes, or characters that look like several. */
static bool is_understood(const struct slm_dialog *dialog, const char *sql,
			  size_t size)
{
	if (!dialog->plain_strings && memchr(sql, '\\', size))
		return false;
	for (size_t i = 0; dialog->unsafe_encoding && i < size; i++)
		if ((unsigned char)sql[i] >= 0x80)
			return false;
	return true;
}

static void describe_query(struct slm_dialog *dialog, bool cut)
{
	struct slm_dialog_step *step = &dialog->step;

	step->cut = cut;
	step->parsed = slm_dialog_read(dialog, step->sql, step->sql_size, cut);
	step->may_split = step->status == 'I' && !dialog->pipeline && !cut &&
			  step->parsed->parsed && step->parsed->wrappable &&
			  step->parsed->nstatements == 1 &&
			  is_understood(dialog, step->sql, step->sql_size);
}

void slm_dialog_step_query(struct slm_dialog *dialog, const char *sql,
			   size_t size, bool cut)
{
	begin(dialog, SLM_DIALOG_STATEMENT);
	set_text(dialog, sql, size);
	if (!dialog->failure)
		describe_query(dialog, cut);
}

static uint32_t type_of(const struct dialog_statement *statement, unsigned n)
{
	const uint8_t *type;

	if (!statement || statement->types.size < (size_t)(n + 1) * 4)
		return 0;
	type = (const uint8_t *)statement->types.data + (size_t)n * 4;
	return (uint32_t)type[0] << 24 | (uint32_t)type[1] << 16 |
	       (uint32_t)type[2] << 8 | type[3];
}

static unsigned format_of(const struct slm_buf *formats, unsigned n)
{
	size_t count = formats->size / 2;

	if (count == 0)
		return 0;
	n = count == 1 ? 0 : n;
	return n < count ? (unsigned char)formats->data[n * 2 + 1] : 0;
}

static void show_params(struct slm_dialog *dialog,
			const struct dialog_portal *portal)
{
	struct slm_buf *out = &dialog->params;
	const uint8_t *at = (const uint8_t *)portal->params.data;
	const uint8_t *end = at ? at + portal->params.size : at;
	struct slm_wire_value value;

	for (unsigned i = 0; i < portal->nparams; i++) {
		if (i > 0)
			slm_buf_puts(out, ", ");
		if (out->size > PARAMS_MAX || !at ||
		    !slm_wire_next_value(&at, end, &value)) {
			slm_buf_printf(out, "$%u ...", i + 1);
			break;
		}
		slm_buf_printf(out, "$%u = ", i + 1);
		slm_dialog_value_show(type_of(portal->statement, i),
				      format_of(&portal->formats, i),
				      value.bytes, value.size, out);
	}
	if (portal->cut)
		slm_buf_puts(out, "(too long to be shown)");
	if (slm_buf_failed(out))
		slm_dialog_nomem(dialog);
	else if (out->data)
		dialog->step.params = out->data;
}

/* Sync commits what an Execute did, unless that is about transactions itself,
 * or the server commits it at once. */
static bool execute_may_split(const struct slm_pg_step *parsed)
{
	if (!parsed->parsed || parsed->wrappable)
		return true;
	if (parsed->control || parsed->nstatements == 0)
		return false;
	return parsed->statements[0].kind == SLM_PG_CALL ||
	       parsed->statements[0].kind == SLM_PG_DO;
}

/* A statement that was prepared by SQL, a portal that SQL declared. */
static void stand_in(struct slm_dialog *dialog, const char *sql,
		     const char *name)
{
	slm_buf_clear(&dialog->text);
	slm_buf_printf(&dialog->text, "%s \"%s\"", sql, name);
	if (slm_buf_failed(&dialog->text)) {
		slm_dialog_nomem(dialog);
		return;
	}
	dialog->step.sql = dialog->text.data;
	dialog->step.sql_size = dialog->text.size;
	dialog->step.parsed = slm_dialog_read(dialog, dialog->step.sql,
					      dialog->step.sql_size, false);
}

static void use_portal(struct slm_dialog *dialog, struct dialog_portal *portal)
{
	struct dialog_statement *statement = portal->statement;
	struct slm_dialog_step *step = &dialog->step;

	portal->object.refs++;
	dialog->step_portal = portal;
	step->sql = statement->sql.data;
	step->sql_size = statement->sql.size;
	step->cut = statement->cut;
	step->parsed =
		slm_dialog_read(dialog, step->sql, step->sql_size, step->cut);
	show_params(dialog, portal);
}

void slm_dialog_step_execute(struct slm_dialog *dialog,
			     struct dialog_portal *portal, const char *name)
{
	struct slm_dialog_step *step = &dialog->step;

	begin(dialog, SLM_DIALOG_EXECUTE);
	if (!portal)
		stand_in(dialog, "FETCH FROM", name);
	else
		use_portal(dialog, portal);
	if (dialog->failure)
		return;
	if (dialog->uncommitted && step->status == 'I') {
		step->status = 'T';
		step->in_split = true;
	}
	step->may_split = (step->status == 'I' || step->in_split) &&
			  execute_may_split(step->parsed);
}

void slm_dialog_step_function(struct slm_dialog *dialog)
{
	begin(dialog, SLM_DIALOG_FUNCTION);
	dialog->step.parsed = slm_dialog_read(dialog, "", 0, true);
}

const struct dialog_statement *slm_dialog_prepares(struct slm_dialog *dialog)
{
	size_t count = dialog->queue.count;

	if (!slm_dialog_holds(dialog) || dialog->status != 'T' ||
	    !dialog->repeatable || dialog->snapshot)
		return NULL;
	for (size_t i = count - dialog->batched; i < count; i++) {
		const struct expect *expect = slm_dialog_expect_at(dialog, i);
		const struct dialog_statement *made = expect->statement;

		if (expect->kind == EXPECT_PARSE && made &&
		    slm_dialog_read(dialog, made->sql.data, made->sql.size,
				    made->cut)
			    ->takes_snapshot)
			return made;
	}
	return NULL;
}

/* Drivers number the names of statements. */
void slm_dialog_step_prepare(struct slm_dialog *dialog,
			     const struct dialog_statement *statement)
{
	struct slm_buf sql = { 0 };

	begin(dialog, SLM_DIALOG_PREPARE);
	slm_buf_puts(&sql, "PREPARE statement AS ");
	slm_buf_append(&sql, statement->sql.data, statement->sql.size);
	if (slm_buf_failed(&sql))
		slm_dialog_nomem(dialog);
	else
		set_text(dialog, sql.data, sql.size);
	slm_buf_deinit(&sql);
	if (dialog->failure)
		return;
	dialog->step.cut = statement->cut;
	dialog->step.parsed = slm_dialog_read(dialog, dialog->step.sql,
					      dialog->step.sql_size,
					      statement->cut);
}

void slm_dialog_step_commit(struct slm_dialog *dialog)
{
	begin(dialog, SLM_DIALOG_COMMIT);
	dialog->step.sql = "COMMIT";
	dialog->step.sql_size = strlen("COMMIT");
	dialog->step.status = 'T';
	dialog->step.in_split = true;
}

/* ---- Queries of several statements ------------------------------------- */

static bool ends_transaction(enum slm_pg_kind kind)
{
	return kind == SLM_PG_COMMIT || kind == SLM_PG_ROLLBACK ||
	       kind == SLM_PG_PREPARE_TRANSACTION;
}

static bool is_control(enum slm_pg_kind kind)
{
	return kind >= SLM_PG_BEGIN && kind <= SLM_PG_ROLLBACK_PREPARED;
}

/* The server has read the whole text before it executes the first statement:
 * the text must not be read in another way behind that. */
static bool changes_reading(const struct slm_pg_statement *statement)
{
	const char *name = statement->name;

	if (statement->kind != SLM_PG_SET && statement->kind != SLM_PG_RESET &&
	    statement->kind != SLM_PG_SET_LOCAL &&
	    statement->kind != SLM_PG_DISCARD)
		return false;
	return !name || strcmp(name, "client_encoding") == 0 ||
	       strcmp(name, "standard_conforming_strings") == 0;
}

/*
 * May the statements be sent one by one? Then each must be inside of the same
 * transaction as it would be: that of the client, or one of ours, in the place
 * of the implicit one that the server makes of a Query.
 */
static bool may_be_apart(const struct slm_pg_step *parsed, char status)
{
	bool begins = parsed->statements[0].kind == SLM_PG_BEGIN;

	for (size_t i = 0; i + 1 < parsed->nstatements; i++)
		if (changes_reading(&parsed->statements[i]))
			return false;
	if (status == 'I' && !begins)
		return parsed->wrappable;
	for (size_t i = begins; i < parsed->nstatements; i++) {
		enum slm_pg_kind kind = parsed->statements[i].kind;

		if (kind == SLM_PG_BEGIN ||
		    (ends_transaction(kind) && i + 1 < parsed->nstatements))
			return false;
	}
	return true;
}

static size_t characters(const struct slm_dialog *dialog, const char *text,
			 size_t size)
{
	size_t n = 0;

	if (!dialog->multibyte)
		return size;
	for (size_t i = 0; i < size; i++)
		n += ((unsigned char)text[i] & 0xc0) != 0x80;
	return n;
}

bool slm_dialog_plan(struct slm_dialog *dialog)
{
	const struct slm_pg_step *parsed = dialog->step.parsed;
	struct dialog_plan *plan = &dialog->plan;

	assert(!plan->active);
	if (dialog->step.cut || !parsed->parsed || parsed->nstatements < 2 ||
	    dialog->pipeline ||
	    (dialog->multibyte &&
	     !slm_utf8_valid(dialog->text.data, dialog->text.size)) ||
	    !is_understood(dialog, dialog->step.sql, dialog->step.sql_size) ||
	    !may_be_apart(parsed, dialog->status))
		return false;
	plan->active = true;
	plan->parsed = parsed;
	plan->part = 0;
	plan->nparts = parsed->nstatements;
	plan->commits = plan->failed = false;
	plan->wrapped = dialog->status == 'I' &&
			!is_control(parsed->statements[0].kind);
	slm_buf_clear(&plan->text);
	slm_buf_append(&plan->text, dialog->text.data, dialog->text.size);
	if (slm_buf_failed(&plan->text))
		slm_dialog_nomem(dialog);
	return !dialog->failure;
}

void slm_dialog_step_part(struct slm_dialog *dialog)
{
	struct dialog_plan *plan = &dialog->plan;
	const struct slm_pg_statement *all = plan->parsed->statements;
	const struct slm_pg_statement *one = &all[plan->part];
	const char *last = all[plan->nparts - 1].end;
	/* parsed points into a copy of the text. */
	const char *first = memmem(plan->text.data, plan->text.size,
				   all[0].begin, (size_t)(last - all[0].begin));

	begin(dialog, SLM_DIALOG_STATEMENT);
	set_text(dialog, one->begin, (size_t)(one->end - one->begin));
	if (dialog->failure)
		return;
	describe_query(dialog, false);
	plan->offset = first ? characters(dialog, plan->text.data,
					  (size_t)(first - plan->text.data) +
						  (size_t)(one->begin -
							   all[0].begin)) :
			       0;
	dialog->step.may_split = plan->wrapped;
	if (plan->wrapped) {
		dialog->step.query = plan->text.data;
		dialog->step.query_size = plan->text.size;
	}
	if (plan->wrapped && plan->part > 0) {
		dialog->step.status = 'T';
		dialog->step.in_split = true;
	}
}

/* ---- Life of a step ---------------------------------------------------- */

/* From now on answers are its. */
static void begin_result(struct slm_dialog *dialog)
{
	const struct slm_pg_step *parsed = dialog->step.parsed;
	struct slm_arena *arena = dialog->ops.results(dialog->userdata);

	slm_dialog_result_begin(&dialog->result, arena, parsed, 0);
}

void slm_dialog_arrive(struct slm_dialog *dialog, bool held)
{
	if (dialog->failure)
		return;
	dialog->controlled = held;
	dialog->state = held ? STEP_HELD : STEP_UNDER_WAY;
	begin_result(dialog);
	dialog->ops.arrived(dialog->userdata, &dialog->step);
}

static bool is_repeatable(const char *level)
{
	return strcasecmp(level, "repeatable read") == 0 ||
	       strcasecmp(level, "serializable") == 0;
}

void slm_dialog_set_repeatable(struct slm_dialog *dialog)
{
	dialog->repeatable = dialog->session_repeatable = true;
}

/* What the step says of the snapshots of its transaction, and later ones. */
static void learn_snapshot(struct slm_dialog *dialog)
{
	const struct slm_pg_step *parsed = dialog->step.parsed;

	if (dialog->step.status == 'I')
		dialog->snapshot = false;
	dialog->snapshot |= !parsed || parsed->takes_snapshot;
	for (size_t i = 0; parsed && i < parsed->nstatements; i++) {
		const struct slm_pg_statement *one = &parsed->statements[i];

		if (one->isolation && one->kind == SLM_PG_SET)
			dialog->session_repeatable =
				is_repeatable(one->isolation);
		else if (one->isolation)
			dialog->repeatable = is_repeatable(one->isolation);
	}
	if (dialog->status == 'I')
		dialog->repeatable = dialog->session_repeatable;
	if (dialog->status == 'I' || (parsed && parsed->ends))
		dialog->snapshot = false;
}

void slm_dialog_finish(struct slm_dialog *dialog)
{
	struct dialog_portal *portal = dialog->step_portal;

	if (dialog->state == STEP_NONE)
		return;
	dialog->state = STEP_NONE;
	dialog->held_here = false;
	dialog->controlled = false;
	if (dialog->result.arena && !dialog->result.first)
		slm_dialog_result_complete(&dialog->result, NULL);
	if (dialog->result.nomem)
		slm_dialog_nomem(dialog);
	learn_snapshot(dialog);
	dialog->ops.done(dialog->userdata, &dialog->step, dialog->result.first,
			 dialog->status);
	dialog->result.arena = NULL;
	dialog->result.first = dialog->result.last = NULL;
	dialog->step_portal = NULL;
	slm_dialog_portal_unref(dialog, portal);
}

void slm_dialog_become_step(struct slm_dialog *dialog, struct expect *expect)
{
	struct slm_buf text;

	expect->arrived = true;
	switch (expect->kind) {
	case EXPECT_QUERY:
		begin(dialog, SLM_DIALOG_STATEMENT);
		text = dialog->text;
		dialog->text = expect->text;
		expect->text = text;
		dialog->step.sql = dialog->text.data;
		dialog->step.sql_size = dialog->text.size;
		describe_query(dialog, expect->cut);
		break;
	case EXPECT_EXECUTE:
		slm_dialog_step_execute(dialog, expect->portal,
					expect->text.data ? expect->text.data :
							    "");
		break;
	default:
		slm_dialog_step_function(dialog);
		break;
	}
	dialog->step.may_split = false;
	slm_dialog_arrive(dialog, false);
}

void slm_dialog_settle(struct slm_dialog *dialog)
{
	struct expect *head = slm_dialog_head(dialog);

	if (head && head->reported && !head->arrived &&
	    dialog->state == STEP_NONE && !dialog->failure)
		slm_dialog_become_step(dialog, head);
}
