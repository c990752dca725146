/* SPDX-License-Identifier: Apache-2.0 */
/* Notes for the report: what is not compared, why serial runs cannot be relied
 * upon, and calls that fail in every serial run. */
#include <string.h>

#include "base/error.h"
#include "oracle/internal.h"
#include "oracle/statement.h"

/* The notes under construction. */
struct notes {
	struct slm_arena *arena;
	const char **list;
	uint32_t count;
	bool failed;
};

static void add(struct notes *notes, const char *text)
{
	if (text)
		notes->list[notes->count++] = text;
	else
		notes->failed = true;
}

static const char *compared(enum slm_hiding hiding)
{
	return hiding == SLM_NULLS ? "compared only as NULL or not NULL" :
				     "not compared";
}

static void add_masks(const struct slm_oracle *oracle, struct notes *notes)
{
	for (uint32_t i = 0; i < oracle->ncolumn_masks; i++)
		add(notes,
		    slm_arena_printf(notes->arena,
				     "%s.%s differs between two equal serial "
				     "runs and is %s",
				     oracle->column_masks[i].table,
				     oracle->column_masks[i].column,
				     compared(oracle->column_masks[i].hiding)));
	for (uint32_t i = 0; i < oracle->nresult_masks; i++) {
		const struct slm_result_mask *mask = &oracle->result_masks[i];
		const struct slm_trace_call *call =
			&oracle->config.calls[mask->call];

		if (mask->column == SLM_COLUMN_ORDER) {
			add(notes,
			    slm_arena_printf(
				    notes->arena,
				    "%s: the order of the rows that step %s "
				    "returns differs between two equal serial "
				    "runs and is not compared",
				    call->name, call->steps[mask->step].name));
			continue;
		}
		add(notes, slm_arena_printf(
				   notes->arena,
				   "%s: column %s that step %s returns differs "
				   "between two equal serial runs and is %s",
				   call->name, mask->name,
				   call->steps[mask->step].name,
				   compared(mask->hiding)));
	}
	for (uint32_t i = 0; i < oracle->ngiven_masks; i++) {
		const struct slm_given_mask *mask = &oracle->given_masks[i];

		add(notes,
		    slm_arena_printf(notes->arena,
				     "%s: %s of what it gives differs between "
				     "two equal serial runs and is %s",
				     oracle->config.calls[mask->call].name,
				     mask->name, compared(mask->hiding)));
	}
}

/* The call's error in the first serial run of all the calls, if it fails in
 * every one of them; *same: always at that step. */
static const struct slm_call_result *fails_always(
	const struct slm_oracle *oracle, uint32_t call, bool *same)
{
	uint32_t all = (1u << oracle->config.ncalls) - 1;
	const struct slm_call_result *first = NULL;

	*same = true;
	for (uint32_t i = 0; i < oracle->nserials; i++) {
		const struct slm_call_result *result =
			&oracle->serials[i].results.calls[call];

		if (oracle->serials[i].run.members != all)
			continue;
		if (result->ok || !result->error)
			return NULL;
		if (!first)
			first = result;
		*same = *same && result->error_step == first->error_step;
	}
	return first;
}

/* Has a session steps that would write or read behind the one that fails? */
static bool is_cut_off(const struct slm_trace_call *call, uint32_t step)
{
	for (uint32_t i = step + 1; i < call->nsteps; i++)
		if (!call->steps[i].implicit &&
		    !slm_statement_is_control(call->steps[i].sql))
			return true;
	return false;
}

bool slm_oracle_fails_always(const struct slm_oracle *oracle)
{
	for (uint32_t i = 0; i < oracle->config.ncalls; i++) {
		bool same;
		const struct slm_call_result *result =
			fails_always(oracle, i, &same);
		const char *code;

		if (!result || slm_results_allowed(oracle, result->error))
			continue;
		code = result->error->code ? result->error->code : "";
		if (result->program ?
			    strncmp(code, "HTTP 4", 6) != 0 &&
				    strcmp(code, SLM_REFUSED_CODE) != 0 :
			    strncmp(code, "42", 2) == 0 ||
				    is_cut_off(&oracle->config.calls[i],
					       result->error_step))
			return true;
	}
	return false;
}

static void add_failures(const struct slm_oracle *oracle, struct notes *notes)
{
	struct slm_buf buf;

	slm_buf_init(&buf);
	for (uint32_t i = 0; i < oracle->config.ncalls; i++) {
		const struct slm_trace_call *call = &oracle->config.calls[i];
		const struct slm_call_result *result;
		bool same;

		result = fails_always(oracle, i, &same);
		if (!result)
			continue;
		slm_buf_printf(&buf, "%s fails in every serial run",
			       call->name);
		if (result->error_step != SLM_STEP_NONE)
			slm_buf_printf(&buf, "%s step %s",
				       same ? " at" : ", first at",
				       call->steps[result->error_step].name);
		slm_buf_puts(&buf, ": ");
		if (result->error->message && !result->program)
			slm_buf_puts(&buf, result->error->message);
		else
			slm_show_error(&buf, result->error);
		add(notes, slm_show_take(&buf, notes->arena));
	}
	slm_buf_deinit(&buf);
}

enum sqloom_status slm_oracle_notes(struct slm_oracle *oracle,
				    struct slm_arena *arena,
				    const char *const **out, uint32_t *count,
				    struct sqloom_error *err)
{
	struct notes notes = { .arena = arena };

	notes.list = slm_arena_zalloc(
		arena,
		(size_t)oracle->nnotes + oracle->ncolumn_masks +
			oracle->nresult_masks + oracle->ngiven_masks +
			oracle->config.ncalls,
		sizeof(*notes.list));
	if (!notes.list)
		return slm_error_nomem(err);
	for (uint32_t i = 0; i < oracle->nnotes; i++)
		add(&notes, slm_arena_strdup(arena, oracle->notes[i]));
	add_masks(oracle, &notes);
	add_failures(oracle, &notes);
	if (notes.failed)
		return slm_error_nomem(err);
	*out = notes.list;
	*count = notes.count;
	return SQLOOM_OK;
}
