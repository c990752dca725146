/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dialog: its life, grants, what is injected, and what is known of it.
 * dialog_client.c and dialog_server.c are the two sides; dialog_step.c says
 * what a step is, dialog_send.c what sqloom itself sends, dialog_queue.c what
 * lacks an answer, dialog_names.c which names there are.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "probe/dialog_internal.h"

/* ---- Life -------------------------------------------------------------- */

enum sqloom_status slm_dialog_new(const struct slm_dialog_ops *ops,
				  void *userdata, struct slm_dialog **out,
				  struct sqloom_error *err)
{
	struct slm_dialog *dialog = slm_calloc(1, sizeof(*dialog));

	assert(ops->to_server && ops->to_client && ops->read && ops->arrived &&
	       ops->results && ops->done && ops->idle && ops->injected);
	if (!dialog)
		return slm_error_nomem(err);
	dialog->ops = *ops;
	dialog->userdata = userdata;
	dialog->plain_strings = true;
	*out = dialog;
	return SQLOOM_OK;
}

static void deinit_buffers(struct slm_dialog *dialog)
{
	slm_buf_deinit(&dialog->batch);
	slm_buf_deinit(&dialog->text);
	slm_buf_deinit(&dialog->params);
	slm_buf_deinit(&dialog->before);
	slm_buf_deinit(&dialog->plan.text);
	slm_buf_deinit(&dialog->plan.answer);
	slm_buf_deinit(&dialog->kept);
	slm_buf_deinit(&dialog->out);
	slm_buf_deinit(&dialog->moved);
}

void slm_dialog_free(struct slm_dialog *dialog)
{
	if (!dialog)
		return;
	slm_dialog_queue_deinit(dialog);
	slm_dialog_portal_unref(dialog, dialog->step_portal);
	slm_dialog_forget_portals(dialog);
	slm_dialog_forget_statements(dialog);
	slm_dialog_names_deinit(&dialog->portals);
	slm_dialog_names_deinit(&dialog->statements);
	slm_dialog_free_spare(dialog);
	deinit_buffers(dialog);
	slm_free(dialog);
}

void slm_dialog_set_mode(struct slm_dialog *dialog, enum slm_dialog_mode mode)
{
	dialog->mode = mode;
}

/* ---- Failures ---------------------------------------------------------- */

void slm_dialog_nomem(struct slm_dialog *dialog)
{
	if (!dialog->failure)
		dialog->failure = SQLOOM_NOMEM;
}

enum sqloom_status slm_dialog_failure(const struct slm_dialog *dialog,
				      struct sqloom_error *err)
{
	switch (dialog->failure) {
	case SQLOOM_OK:
		return SQLOOM_OK;
	case SQLOOM_NOMEM:
		return slm_error_nomem(err);
	case SQLOOM_LIMIT:
		return slm_error_set(
			err, SQLOOM_DATABASE,
			"the client goes over a limit of the proxy (%d "
			"messages without an answer, %d prepared statements "
			"and portals, names of %d bytes); let it wait for "
			"answers, and close what it no longer needs",
			SLM_DIALOG_PIPELINE_MAX, SLM_DIALOG_NAMES_MAX,
			SLM_DIALOG_SQL_MAX);
	default:
		return slm_error_set(err, SQLOOM_DATABASE,
				     "the connection was given up because of "
				     "an earlier error of the protocol");
	}
}

/* ---- Grants ------------------------------------------------------------ */

enum sqloom_status slm_dialog_grant(struct slm_dialog *dialog, bool split,
				    const char *before,
				    struct sqloom_error *err)
{
	if (dialog->failure)
		return slm_dialog_failure(dialog, err);
	if (dialog->state != STEP_HELD)
		return slm_error_set(err, SQLOOM_INTERNAL,
				     "a statement was granted that is not "
				     "held; please report this");
	dialog->split = split && dialog->step.may_split;
	slm_buf_clear(&dialog->before);
	if (before)
		slm_buf_puts(&dialog->before, before);
	if (slm_buf_failed(&dialog->before)) {
		slm_dialog_nomem(dialog);
		return slm_error_nomem(err);
	}
	dialog->state = STEP_GRANTED;
	if (!dialog->held_here)
		return SQLOOM_OK; /* when its message is offered again */
	dialog->held_here = false;
	if (dialog->step.kind != SLM_DIALOG_COMMIT)
		slm_dialog_send_part(dialog);
	else if (dialog->plan.active)
		slm_dialog_send_commit(dialog);
	else
		slm_dialog_send_sync(dialog);
	return slm_dialog_failure(dialog, err);
}

bool slm_dialog_inject(struct slm_dialog *dialog, const char *sql)
{
	const struct slm_pg_step *parsed;

	if (!slm_dialog_is_idle(dialog) || dialog->failure)
		return false;
	dialog->injected[0] = '\0';
	parsed = slm_dialog_statement_find(dialog, "") ?
			 slm_dialog_read(dialog, sql, strlen(sql), false) :
			 NULL;
	/* A Query would drop the client's unnamed statement. */
	if (parsed && parsed->nstatements == 1) {
		slm_dialog_put_extended(dialog, OF_INJECT, sql, true, false);
	} else {
		slm_dialog_forget(dialog, 'S', "");
		slm_dialog_put_query(dialog, OF_INJECT, sql);
	}
	slm_dialog_send(dialog);
	return !dialog->failure;
}

/* ---- What is known ----------------------------------------------------- */

const struct slm_dialog_step *slm_dialog_step(const struct slm_dialog *dialog)
{
	return dialog->state == STEP_NONE ? NULL : &dialog->step;
}

bool slm_dialog_under_way(const struct slm_dialog *dialog)
{
	return dialog->state == STEP_GRANTED || dialog->state == STEP_UNDER_WAY;
}

char slm_dialog_status(const struct slm_dialog *dialog)
{
	return dialog->status == 'I' && dialog->uncommitted ? 'T' :
							      dialog->status;
}

bool slm_dialog_is_idle(const struct slm_dialog *dialog)
{
	return dialog->open && dialog->state == STEP_NONE &&
	       dialog->queue.count == 0 && dialog->kept.size == 0 &&
	       !dialog->plan.active && !dialog->unsynced && !dialog->skipping &&
	       dialog->client_rest == 0 && dialog->server_rest == 0;
}

bool slm_dialog_is_quiet(const struct slm_dialog *dialog)
{
	return dialog->open && dialog->state == STEP_NONE &&
	       slm_dialog_sent(dialog) == 0 && !dialog->plan.active &&
	       dialog->client_rest == 0 && dialog->server_rest == 0;
}

uint32_t slm_dialog_pid(const struct slm_dialog *dialog)
{
	return dialog->pid;
}
