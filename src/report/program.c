/* SPDX-License-Identifier: Apache-2.0 */
/* What is different about calls that are programs: statements with
 * parameters, what the call as a whole gave, transactions of a recording. */
#include <ctype.h>
#include <string.h>

#include "report/page.h"
#include "trace/params.h"

#define PARTS_MAX 12	    /* of an outcome that are shown */
#define TRANSACTION_WORDS 3 /* of a statement that are looked at */

bool slm_page_is_program(const struct slm_trace_call *call)
{
	return call->kind != SLM_TRACE_SESSION;
}

const char *slm_page_call_name(const struct slm_page *page, uint32_t call)
{
	const struct slm_trace_call *from = &page->trace->calls[call];
	bool same = from->name[0] == (char)('a' + call) && !from->name[1];

	return same && slm_page_is_program(from) ? NULL : from->name;
}

void slm_page_statement(struct slm_page *page, struct slm_buf *buf,
			const char *sql, const char *params)
{
	bool whole;
	const char *put = slm_params_put(&page->arena, sql, params, &whole);
	size_t from;

	page->failed |= !put;
	/* Values that are all known are told in their places. */
	if (put && whole) {
		slm_page_sql(page, buf, put);
		return;
	}
	slm_page_sql(page, buf, sql);
	if (!params || !*params)
		return;
	slm_buf_puts(buf, "  " M_FAINT "[");
	from = buf->size;
	slm_page_clean(page, buf, params);
	/* Lines break between values rather than inside of one. */
	for (size_t i = from; !slm_buf_failed(buf) && i < buf->size; i++)
		if (buf->data[i] == ' ' && buf->data[i - 1] != ',')
			buf->data[i] = SLM_NBSP;
	slm_buf_puts(buf, "]" M_PLAIN);
}

/* ---- Outcomes --------------------------------------------------------- */

static const char *skip(const char *text, const char *prefix)
{
	size_t size = strlen(prefix);

	return strncmp(text, prefix, size) == 0 ? text + size : text;
}

/* "$.ok" is told as ok, as in the JSON it comes from; and what a function has
 * returned stands behind that word. */
static void put_part_name(struct slm_page *page, struct slm_buf *buf,
			  const char *name)
{
	slm_page_clean(page, buf, skip(skip(name, "$."), "returned."));
}

static bool is_line(const char *name)
{
	return strncmp(name, "line ", 5) == 0;
}

/* The parts from that one on: {ok: 'yes', id: 7}, or the lines. */
static void put_parts(struct slm_page *page, struct slm_buf *buf,
		      const struct slm_rows *rows, uint32_t from)
{
	bool braces = rows->ncolumns > from && !is_line(rows->columns[from]);
	bool cut = false;

	if (rows->ncolumns <= from)
		return;
	slm_buf_puts(buf, braces ? " {" : " ");
	for (uint32_t i = from; i < rows->ncolumns; i++) {
		if (i > from)
			slm_buf_puts(buf, ", ");
		if (i >= from + PARTS_MAX) {
			slm_page_glyph(page, buf, SLM_G_ELLIPSIS);
			break;
		}
		if (!is_line(rows->columns[i])) {
			put_part_name(page, buf, rows->columns[i]);
			slm_buf_puts(buf, ": ");
		}
		slm_page_value(page, buf, &rows->values[i], &cut);
	}
	if (braces)
		slm_buf_putc(buf, '}');
}

/* What came first: "exit 0", "HTTP 200"; of a function that tells by its value
 * what became of it, "returned" or "raised". How many parts that was. */
static uint32_t put_status(struct slm_page *page, struct slm_buf *buf,
			   const struct slm_rows *rows)
{
	const char *name = rows->columns[0], *word = skip(name, "$.");
	bool http = strcmp(name, "status") == 0, cut = false;

	if (word != name && strncmp(word, "returned", 8) == 0 && word[8]) {
		slm_buf_puts(buf, "returned");
		return 0;
	}
	if (strcmp(word, "returned") == 0 && rows->values[0].kind == SLM_NULL) {
		slm_buf_puts(buf, "returned nothing");
		return 1;
	}
	slm_page_clean(page, buf, http ? "HTTP" : word);
	slm_buf_putc(buf, ' ');
	slm_page_value(page, buf, &rows->values[0], &cut);
	return 1;
}

void slm_page_given(struct slm_page *page, struct slm_buf *buf,
		    const struct slm_result *result, bool ok)
{
	const struct slm_rows *rows = &result->rows;
	bool known = rows->ncolumns > 0 && rows->nkept > 0;
	uint32_t told = 0;

	slm_buf_puts(buf, ok ? M_GOOD : M_BAD);
	if (!known) {
		slm_page_clean(page, buf,
			       result->code ? result->code :
			       ok	    ? "ok" :
					      "failed");
	} else {
		told = put_status(page, buf, rows);
	}
	slm_buf_puts(buf, M_PLAIN);
	if (known)
		put_parts(page, buf, rows, told);
	/* Standard error, or why there is no answer. */
	if (!ok && slm_result_says_more(result)) {
		slm_buf_puts(buf, M_BAD ": ");
		slm_page_clean(page, buf, result->message);
		slm_buf_puts(buf, M_PLAIN);
	}
}

/* ---- Transactions of a recording -------------------------------------- */

enum control { NO_CONTROL, BEGINS, ENDS };

/* Reads the first words of a statement, in lower case. */
static void read_words(const char *sql, char words[TRANSACTION_WORDS][16])
{
	for (int i = 0; i < TRANSACTION_WORDS; i++) {
		size_t size = 0;

		while (*sql && !isalpha((unsigned char)*sql) && *sql != ';')
			sql++;
		for (; isalpha((unsigned char)*sql); sql++)
			if (size < sizeof(words[i]) - 1)
				words[i][size++] =
					(char)tolower((unsigned char)*sql);
		words[i][size] = '\0';
	}
}

static enum control control_of(const char *sql)
{
	char words[TRANSACTION_WORDS][16];

	read_words(sql, words);
	if (strcmp(words[0], "begin") == 0 || strcmp(words[0], "start") == 0)
		return BEGINS;
	if (strcmp(words[0], "commit") == 0 || strcmp(words[0], "end") == 0 ||
	    strcmp(words[0], "abort") == 0 ||
	    (strcmp(words[0], "prepare") == 0 &&
	     strcmp(words[1], "transaction") == 0))
		return ENDS;
	if (strcmp(words[0], "rollback") == 0 && strcmp(words[1], "to") != 0 &&
	    strcmp(words[2], "to") != 0)
		return ENDS;
	return NO_CONTROL;
}

/* The last of several statements in one text, or the text. */
static const char *last_statement(const char *sql)
{
	const char *last = sql;

	for (; *sql; sql++)
		if (*sql == ';' && sql[1 + strspn(sql + 1, " \t\r\n;")])
			last = sql + 1;
	return last;
}

const struct slm_finding *slm_page_recording(const struct slm_page *page)
{
	static const struct slm_finding none;

	return page->trace->nfindings ? &page->trace->findings[0] : &none;
}

const uint32_t *slm_page_transactions(struct slm_page *page,
				      const struct slm_finding *finding)
{
	uint32_t *numbers = slm_arena_zalloc(&page->arena, finding->nevents,
					     sizeof(*numbers));
	uint32_t open[SLM_CALLS_MAX] = { 0 }, last = 0;

	page->failed |= !numbers;
	for (uint32_t i = 0; numbers && i < finding->nevents; i++) {
		const struct slm_event *event = &finding->events[i];
		const struct slm_trace_call *call =
			&page->trace->calls[event->call];
		const char *sql;

		if (event->step >= call->nsteps) {
			if (event->kind == SLM_EVENT_END)
				open[event->call] = 0;
			continue;
		}
		sql = call->steps[event->step].sql;
		if (!open[event->call] && control_of(sql) == BEGINS)
			open[event->call] = ++last;
		numbers[i] = open[event->call];
		if (event->kind != SLM_EVENT_BLOCKED &&
		    control_of(last_statement(sql)) == ENDS)
			open[event->call] = 0;
	}
	return numbers;
}
