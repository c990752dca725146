/* SPDX-License-Identifier: Apache-2.0 */
/* Values, results and calls in words for people: one line each, valid UTF-8,
 * no control characters, of bounded length. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "oracle/internal.h"
#include "trace/utf8.h"

#define SHOWN_BYTES 60 /* of one value */
#define SHOWN_ROWS 3   /* of one result */
#define SHOWN_PARTS 6  /* of what a program gave */

/* ---- Values ----------------------------------------------------------- */

/* Appends text, what cannot be shown as \xNN, quote doubled (0: none). */
static void show_text(struct slm_buf *buf, const char *text, size_t size,
		      char quote)
{
	size_t most = size > SHOWN_BYTES ? SHOWN_BYTES : size;
	size_t i = 0;

	while (i < most) {
		unsigned char c = (unsigned char)text[i];
		uint32_t character;
		size_t n = slm_utf8_next(text + i, text + size, &character);

		if (n == 0 || c < ' ' || c == 0x7f) {
			slm_buf_printf(buf, "\\x%02x", c);
			i++;
			continue;
		}
		if (quote && text[i] == quote)
			slm_buf_putc(buf, quote);
		slm_buf_append(buf, text + i, n);
		i += n;
	}
	if (i < size)
		slm_buf_puts(buf, "...");
}

static void show_blob(struct slm_buf *buf, const struct slm_value *value)
{
	uint32_t most = value->size > SHOWN_BYTES / 2 ? SHOWN_BYTES / 2 :
							value->size;

	slm_buf_puts(buf, "x'");
	for (uint32_t i = 0; i < most; i++)
		slm_buf_printf(buf, "%02x", (unsigned char)value->text[i]);
	slm_buf_puts(buf, most < value->size ? "...'" : "'");
}

/* The shortest text that reads back as the same number; 1.0 keeps its point. */
static void show_real(struct slm_buf *buf, double real)
{
	char text[40];

	snprintf(text, sizeof(text), "%.15g", real);
	if (strtod(text, NULL) != real)
		snprintf(text, sizeof(text), "%.17g", real);
	slm_buf_puts(buf, text);
	if (isfinite(real) && !strpbrk(text, ".e"))
		slm_buf_puts(buf, ".0");
}

void slm_show_value(struct slm_buf *buf, const struct slm_value *value)
{
	switch (value->kind) {
	case SLM_NULL:
		slm_buf_puts(buf, "NULL");
		break;
	case SLM_INT:
		slm_buf_printf(buf, "%" PRId64, value->integer);
		break;
	case SLM_REAL:
		show_real(buf, value->real);
		break;
	case SLM_TEXT:
		slm_buf_putc(buf, '\'');
		show_text(buf, value->text, value->size, '\'');
		slm_buf_putc(buf, '\'');
		break;
	case SLM_BLOB:
		show_blob(buf, value);
		break;
	case SLM_KEY:
		show_text(buf, value->text, value->size, 0);
		break;
	case SLM_MASKED:
		slm_buf_putc(buf, '*');
		break;
	}
}

const char *slm_show_take(struct slm_buf *buf, struct slm_arena *arena)
{
	const char *text = NULL;

	if (!slm_buf_failed(buf))
		text = slm_arena_strndup(arena, buf->data ? buf->data : "",
					 buf->size);
	slm_buf_clear(buf);
	return text;
}

/* ---- Results ---------------------------------------------------------- */

void slm_show_error(struct slm_buf *buf, const struct slm_result *error)
{
	const char *code = error->code ? error->code : "error";

	slm_buf_puts(buf, code);
	if (error->message && *error->message)
		slm_buf_printf(buf, ": %s", error->message);
}

static void show_row(const struct slm_oracle *oracle, struct slm_buf *buf,
		     uint32_t call, uint32_t step, uint32_t statement,
		     const struct slm_rows *rows, uint32_t row)
{
	static const struct slm_value masked = { .kind = SLM_MASKED };
	bool first = true;

	for (uint32_t i = 0; i < rows->ncolumns; i++) {
		const struct slm_value *value =
			&rows->values[(size_t)row * rows->ncolumns + i];
		enum slm_hiding hiding =
			slm_results_hiding(oracle, call, step, statement, i);

		if (hiding == SLM_HIDDEN)
			continue;
		if (!first)
			slm_buf_putc(buf, ' ');
		first = false;
		slm_buf_printf(buf, "%s=", rows->columns[i]);
		if (slm_results_hides(hiding, value))
			value = &masked;
		slm_show_value(buf, value);
	}
	if (first)
		slm_buf_puts(buf, "a row");
}

static void show_rows(const struct slm_oracle *oracle, struct slm_buf *buf,
		      uint32_t call, uint32_t step, uint32_t statement,
		      const struct slm_rows *rows)
{
	uint32_t most = rows->nkept < SHOWN_ROWS ? rows->nkept : SHOWN_ROWS;

	if (rows->nrows == 0)
		slm_buf_puts(buf, "no row");
	for (uint32_t row = 0; row < most; row++) {
		if (row > 0)
			slm_buf_puts(buf, "; ");
		show_row(oracle, buf, call, step, statement, rows, row);
	}
	if (most < rows->nrows)
		slm_buf_printf(buf, "; ... (%" PRIu64 " rows)", rows->nrows);
}

static void show_changes(struct slm_buf *buf, int64_t changes)
{
	if (changes < 0)
		slm_buf_puts(buf, "done");
	else if (changes == 0)
		slm_buf_puts(buf, "no row changed");
	else
		slm_buf_printf(buf, "%" PRId64 " row%s changed", changes,
			       changes == 1 ? "" : "s");
}

void slm_show_taken(const struct slm_oracle *oracle, struct slm_buf *buf,
		    uint32_t call, const struct slm_taken *taken)
{
	uint32_t statement = 0;

	if (taken->skipped) {
		slm_buf_puts(buf, "skipped");
		return;
	}
	if (!taken->observed && !taken->error) {
		slm_buf_puts(buf, "done (unobserved)");
		return;
	}
	for (const struct slm_result *r = taken->result; r;
	     r = r->next, statement++) {
		if (r->error == SLM_ERROR_NONE && r->rows.ncolumns == 0 &&
		    r->changes < 0 && (r->next || statement > 0))
			continue; /* says nothing beside others */
		if (r != taken->result && buf->size > 0)
			slm_buf_puts(buf, ", ");
		if (r->error != SLM_ERROR_NONE)
			slm_show_error(buf, r);
		else if (r->rows.ncolumns > 0)
			show_rows(oracle, buf, call, taken->step, statement,
				  &r->rows);
		else
			show_changes(buf, r->changes);
	}
	if (buf->size == 0)
		slm_buf_puts(buf, "done");
}

/* ---- Programs --------------------------------------------------------- */

void slm_show_reason(struct slm_buf *buf, const struct slm_call_result *result)
{
	const struct slm_result *error = result->ok ? NULL : result->error;

	if (!error)
		return;
	/* The code of what it gave is the status, which is told anyway. */
	if (error != result->given)
		slm_show_error(buf, error);
	else if (slm_result_says_more(error))
		slm_buf_puts(buf, error->message);
}

/* "exit 0", "HTTP 409" */
static void show_status(struct slm_buf *buf, const struct slm_rows *rows)
{
	bool http = strcmp(rows->columns[0], "status") == 0;

	slm_buf_printf(buf, "%s ", http ? "HTTP" : rows->columns[0]);
	slm_show_value(buf, &rows->values[0]);
}

/* A part: " ok='yes'", of a line of output only the text. */
static void show_part(struct slm_buf *buf, bool first, const char *name,
		      const struct slm_value *value)
{
	if (!first)
		slm_buf_putc(buf, ' ');
	if (strncmp(name, "line ", 5) != 0)
		slm_buf_printf(buf, "%s=",
			       strncmp(name, "$.", 2) == 0 ? name + 2 : name);
	slm_show_value(buf, value);
}

static void show_program(const struct slm_oracle *oracle, struct slm_buf *buf,
			 uint32_t call, const struct slm_call_result *result,
			 const struct slm_canonical *contents,
			 const struct slm_order *orders,
			 struct slm_arena *arena)
{
	uint32_t n = slm_given_parts(result->given);
	uint32_t from = n > 0 ? slm_given_status_parts(result->given) : 1;
	struct slm_value value;
	size_t size;

	if (from > 0 && n > 0)
		show_status(buf, &result->given->rows);
	else if (n == 0)
		slm_buf_puts(buf, result->ok ? "ok" : "failed");
	for (uint32_t i = from; i < n && i <= SHOWN_PARTS; i++) {
		if (!slm_given_value(oracle, call, result->given, i, contents,
				     orders, arena, &value)) {
			buf->failed = true;
			return;
		}
		show_part(buf, i == 0, result->given->rows.columns[i], &value);
	}
	if (n > SHOWN_PARTS + 1)
		slm_buf_printf(buf, " ... (%" PRIu32 " parts)", n - 1);
	size = buf->size;
	slm_buf_puts(buf, ": ");
	slm_show_reason(buf, result);
	if (!slm_buf_failed(buf) && buf->size == size + 2) {
		buf->size = size;
		buf->data[size] = '\0';
	}
}

/* ---- Calls ------------------------------------------------------------ */

void slm_show_call(const struct slm_oracle *oracle, struct slm_buf *buf,
		   uint32_t call, const struct slm_call_result *result,
		   const struct slm_canonical *contents,
		   const struct slm_order *orders, struct slm_arena *arena)
{
	const struct slm_trace_step *steps = oracle->config.calls[call].steps;
	unsigned skipped = 0, shown = 0;

	if (result->program) {
		show_program(oracle, buf, call, result, contents, orders,
			     arena);
		return;
	}
	if (!result->ok) {
		if (result->error)
			slm_show_error(buf, result->error);
		else
			slm_buf_puts(buf, "failed");
		return;
	}
	slm_buf_puts(buf, "ok");
	for (uint32_t i = 0; i < result->ntaken; i++)
		skipped += result->taken[i].skipped;
	if (skipped == 0)
		return;
	slm_buf_puts(buf, skipped == 1 ? ", step " : ", steps ");
	for (uint32_t i = 0; i < result->ntaken; i++)
		if (result->taken[i].skipped)
			slm_buf_printf(buf, "%s%s", shown++ ? ", " : "",
				       steps[result->taken[i].step].name);
	slm_buf_puts(buf, " skipped");
}
