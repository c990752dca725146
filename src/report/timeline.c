/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timeline of one run: time flows down, and every call has a lane, drawn
 * while the call is there, dotted while it waits. Two layouts:
 *
 * - columns: each call's text stands beside its lane;
 * - graph: the lanes stand close together and all text to their right. It is
 *   used where columns would be too narrow.
 *
 * Trusts nothing about the order of events: the trace may come from outside.
 */
#include <assert.h>
#include <string.h>
#include <strings.h>

#include "report/page.h"

#define COLUMN_MIN 26 /* columns of text that a call needs beside its lane */
#define COLUMN_MAX 72 /* no line of a column is longer */
#define LANE_SIZE 2   /* a lane and the space after it */
#define COLUMN_GAP 2
#define MARGIN 2
#define SQL_LINES_MAX 8
#define RESULT_ROWS_MAX 5
#define RESULT_LINES_MAX 4
#define ERROR_LINES_MAX 5
#define GIVEN_LINES_MAX 4
#define TEXT_LINES_MAX 2 /* of a command or request over its lane */
#define TEXT_WIDTH 40	 /* columns that it asks for */

enum lane { LANE_OVER, LANE_LIVE, LANE_WAITING };

struct timeline {
	struct slm_page *page;
	const struct slm_finding *finding;
	uint32_t shown;	  /* mask of the calls that have events */
	uint32_t choices; /* letters of the schedule so far */
	enum lane lanes[SLM_CALLS_MAX];
	bool graph;			/* else columns */
	unsigned gutter;		/* columns before the first lane */
	unsigned place[SLM_CALLS_MAX];	/* column of each lane */
	unsigned widths[SLM_CALLS_MAX]; /* of each call's text */
	unsigned text;			/* graph: column of the text */
	/* Of a recording: per event, the transaction it is in, from 1; 0: none.
	 * Else NULL. */
	const uint32_t *transactions;
	struct slm_buf buf; /* a paragraph being made */
};

/* ---- What an event says ----------------------------------------------- */

/* Appends the paragraph in t->buf to block, folded. */
static void add(struct timeline *t, struct slm_buf *block, unsigned width,
		unsigned hang, unsigned max_lines)
{
	struct slm_fold fold = { .width = width,
				 .hang = hang,
				 .max_lines = max_lines,
				 .ascii = t->page->out.ascii };

	if (block->size)
		slm_buf_putc(block, '\n');
	slm_text_fold(block, slm_page_keep(t->page, &t->buf), &fold);
}

static const struct slm_trace_step *step_of(const struct timeline *t,
					    const struct slm_event *event)
{
	const struct slm_trace_call *call = &t->page->trace->calls[event->call];

	return event->step < call->nsteps ? &call->steps[event->step] : NULL;
}

static bool is_program(const struct timeline *t, uint32_t call)
{
	return slm_page_is_program(&t->page->trace->calls[call]);
}

/* Tables that the step reads and writes: "reads a, writes b". */
static const char *footprint(struct timeline *t,
			     const struct slm_trace_step *step)
{
	bool reads = step->reads && *step->reads;
	bool writes = step->writes && *step->writes;
	bool same = reads && writes && strcmp(step->reads, step->writes) == 0;
	struct slm_buf buf;
	const char *text;

	slm_buf_init(&buf);
	if (reads)
		slm_buf_puts(&buf, same ? "reads" : "reads ");
	if (reads && !same)
		slm_page_clean(t->page, &buf, step->reads);
	if (reads && writes)
		slm_buf_puts(&buf, ", ");
	if (writes) {
		slm_buf_puts(&buf, "writes ");
		slm_page_clean(t->page, &buf, step->writes);
	}
	text = slm_page_keep(t->page, &buf);
	slm_buf_deinit(&buf);
	return text;
}

/* Beside the title if there is room, else below it. */
static void put_footprint(struct timeline *t, const struct slm_trace_step *step,
			  unsigned width)
{
	const char *text = footprint(t, step);
	unsigned used = t->buf.data ? slm_text_width(t->buf.data) : 0;

	if (!*text)
		return;
	if (t->buf.size)
		slm_buf_puts(&t->buf, used + 2 + slm_text_width(text) <= width ?
					      "  " :
					      "\n");
	slm_buf_printf(&t->buf, M_FAINT "%s" M_PLAIN, text);
}

/* The call's letter, where its lane does not stand beside the text. */
static void put_letter(struct timeline *t, const struct slm_event *event)
{
	if (t->graph)
		slm_buf_printf(&t->buf, "%c ", (char)('a' + event->call));
}

static void put_title(struct timeline *t, const struct slm_event *event,
		      const struct slm_trace_step *step)
{
	put_letter(t, event);
	slm_buf_puts(&t->buf, step->implicit ? M_FAINT : M_STRONG);
	slm_page_clean(t->page, &t->buf, step->name);
	slm_buf_puts(&t->buf, M_PLAIN);
}

static void add_sql(struct timeline *t, struct slm_buf *block, unsigned width,
		    const struct slm_trace_step *step)
{
	if (!step->sql || strcasecmp(step->sql, step->name) == 0)
		return;
	slm_page_sql(t->page, &t->buf, step->sql);
	if (t->buf.size)
		add(t, block, width, 2, SQL_LINES_MAX);
}

static void add_rows(struct timeline *t, struct slm_buf *block, unsigned width,
		     const struct slm_rows *rows)
{
	unsigned hang =
		slm_text_width(slm_glyph(SLM_G_ARROW, t->page->out.ascii)) + 1;
	const char *line;
	struct slm_buf lines;

	slm_page_glyph(t->page, &t->buf, SLM_G_ARROW);
	slm_buf_putc(&t->buf, ' ');
	if (rows->nrows <= 1 && rows->nkept == rows->nrows) {
		if (rows->nrows == 0)
			slm_buf_puts(&t->buf, "no row");
		else
			slm_page_row(t->page, &t->buf, rows, 0);
		add(t, block, width, hang, RESULT_LINES_MAX);
		return;
	}
	slm_text_count(&t->buf, rows->nrows, "row", "rows");
	add(t, block, width, hang, 1);
	slm_buf_init(&lines);
	slm_page_rows(t->page, &lines, rows, RESULT_ROWS_MAX,
		      width > hang ? width - hang : 1);
	line = slm_page_keep(t->page, &lines);
	for (; line; line = slm_text_next_line(line)) {
		slm_buf_putc(block, '\n');
		slm_buf_fill(block, ' ', hang);
		slm_buf_append(block, line, strcspn(line, "\n"));
	}
	slm_buf_deinit(&lines);
}

static void add_error(struct timeline *t, struct slm_buf *block, unsigned width,
		      const struct slm_result *result)
{
	slm_buf_puts(&t->buf, M_BAD);
	slm_page_clean(t->page, &t->buf, result->code);
	if (result->code && *result->code && result->message &&
	    *result->message)
		slm_buf_puts(&t->buf, ": ");
	slm_page_clean(t->page, &t->buf, result->message);
	slm_buf_puts(&t->buf, M_PLAIN);
	add(t, block, width, 2, ERROR_LINES_MAX);
}

static void add_results(struct timeline *t, struct slm_buf *block,
			unsigned width, const struct slm_result *result)
{
	for (; result; result = result->next) {
		if (result->rows.ncolumns)
			add_rows(t, block, width, &result->rows);
		if (result->changes >= 0 && result->error == SLM_ERROR_NONE) {
			slm_page_glyph(t->page, &t->buf, SLM_G_ARROW);
			slm_buf_putc(&t->buf, ' ');
			if (result->changes == 0)
				slm_buf_puts(&t->buf, "no row changed");
			else
				slm_text_count(&t->buf,
					       (uint64_t)result->changes,
					       "row changed", "rows changed");
			add(t, block, width, 2, 2);
		}
		if (result->error != SLM_ERROR_NONE)
			add_error(t, block, width, result);
	}
}

/* Does the text of the statement begin with the name of its step? */
static bool tells_name(const struct slm_trace_step *step)
{
	return strncasecmp(step->sql, step->name, strlen(step->name)) == 0;
}

/* "transaction 2", in a recording, where nothing else ties lines together. */
static void put_transaction(struct timeline *t, const struct slm_event *event)
{
	uint32_t number = t->transactions ?
				  t->transactions[event - t->finding->events] :
				  0;

	if (number)
		slm_buf_printf(&t->buf, "%s" M_FAINT "transaction %u" M_PLAIN,
			       t->buf.size ? "  " : "", number);
}

/* Is there nothing to be said of a statement but its text, which fits behind
 * its name? */
static bool is_bare(struct timeline *t, const struct slm_event *event,
		    const struct slm_trace_step *step, unsigned width)
{
	return !t->transactions && !*footprint(t, step) &&
	       !(event->params && *event->params) &&
	       strlen(step->name) + strlen(step->sql) + 4 <= width;
}

/* What a program sent. Where the statement begins with the name of its step, it
 * is the title. */
static void add_sent(struct timeline *t, struct slm_buf *block, unsigned width,
		     const struct slm_event *event,
		     const struct slm_trace_step *step)
{
	bool titled = !tells_name(step);
	bool short_one = titled && is_bare(t, event, step, width);

	if (short_one) {
		put_title(t, event, step);
		slm_buf_puts(&t->buf, "  ");
	} else if (titled) {
		put_title(t, event, step);
		put_transaction(t, event);
		put_footprint(t, step, width);
		add(t, block, width, 0, 4);
	} else {
		put_letter(t, event);
	}
	slm_page_statement(t->page, &t->buf, step->sql, event->params);
	if (t->buf.size)
		add(t, block, width, 2, SQL_LINES_MAX);
	if (!titled) {
		put_transaction(t, event);
		put_footprint(t, step, width);
		if (t->buf.size)
			add(t, block, width, 0, 4);
	}
	add_results(t, block, width, event->result);
}

static void add_step(struct timeline *t, struct slm_buf *block, unsigned width,
		     const struct slm_event *event)
{
	const struct slm_trace_step *step = step_of(t, event);

	if (!step)
		return;
	if (is_program(t, event->call) && !step->implicit) {
		add_sent(t, block, width, event, step);
		return;
	}
	put_title(t, event, step);
	if (step->implicit)
		slm_buf_puts(&t->buf, strcmp(step->sql, "COMMIT") == 0 ? M_FAINT
					      "  of the statement in "
					      "autocommit" M_PLAIN :
									 M_FAINT
					      "  made by sqloom" M_PLAIN);
	else
		put_footprint(t, step, width);
	add(t, block, width, 0, 4);
	add_sql(t, block, width, step);
	add_results(t, block, width, event->result);
}

static void add_resumed(struct timeline *t, struct slm_buf *block,
			unsigned width, const struct slm_event *event)
{
	const struct slm_trace_step *step = step_of(t, event);

	if (!step)
		return;
	put_title(t, event, step);
	slm_buf_puts(&t->buf, " goes on");
	if (event->waited_ms) {
		slm_buf_puts(&t->buf, M_FAINT " after ");
		slm_text_number(&t->buf, event->waited_ms);
		slm_buf_puts(&t->buf, " ms of virtual time" M_PLAIN);
	}
	add(t, block, width, 2, 3);
	add_results(t, block, width, event->result);
}

static void add_skipped(struct timeline *t, struct slm_buf *block,
			unsigned width, const struct slm_event *event)
{
	const struct slm_trace_step *step = step_of(t, event);

	if (!step)
		return;
	slm_buf_puts(&t->buf, M_FAINT);
	put_letter(t, event);
	slm_page_clean(t->page, &t->buf, step->name);
	slm_buf_puts(&t->buf, "  skipped: its condition is not true" M_PLAIN);
	add(t, block, width, 2, 3);
}

static void add_end(struct timeline *t, struct slm_buf *block, unsigned width,
		    const struct slm_event *event)
{
	put_letter(t, event);
	if (event->result) {
		slm_page_given(t->page, &t->buf, event->result, event->ok);
		add(t, block, width, 2, GIVEN_LINES_MAX);
		return;
	}
	/* Of a connection in a recording nothing more is known. */
	if (t->page->trace->kind == SLM_TRACE_RECORD)
		slm_buf_puts(&t->buf, M_FAINT "closed" M_PLAIN);
	else
		slm_buf_puts(&t->buf, event->ok ? M_GOOD "ok" M_PLAIN :
						  M_BAD "failed" M_PLAIN);
	add(t, block, width, 0, 1);
}

/* What the event says of it says the same in other words. */
static void add_stalled(struct timeline *t, struct slm_buf *block,
			unsigned width, const struct slm_event *event)
{
	put_letter(t, event);
	slm_buf_puts(&t->buf, M_WAIT "waits in the program, not in the "
				     "database" M_PLAIN);
	add(t, block, width, 2, 4);
}

/* What an event says beside its marker. */
static void add_event(struct timeline *t, struct slm_buf *block, unsigned width,
		      const struct slm_event *event)
{
	switch (event->kind) {
	case SLM_EVENT_STEP:
	case SLM_EVENT_BLOCKED:
		add_step(t, block, width, event);
		break;
	case SLM_EVENT_RESUMED:
		add_resumed(t, block, width, event);
		break;
	case SLM_EVENT_SKIPPED:
		add_skipped(t, block, width, event);
		break;
	case SLM_EVENT_END:
		add_end(t, block, width, event);
		break;
	case SLM_EVENT_STALLED:
		add_stalled(t, block, width, event);
		break;
	}
}

/* "waits for the lock on main, held by b and c" */
static void add_wait(struct timeline *t, struct slm_buf *block, unsigned width,
		     const struct slm_event *event)
{
	uint32_t left = event->blocked_by;
	bool first = true;

	slm_buf_puts(&t->buf, M_WAIT "waits");
	if (event->what && *event->what) {
		slm_buf_puts(&t->buf, " for ");
		slm_page_clean(t->page, &t->buf, event->what);
	}
	if (left)
		slm_buf_puts(&t->buf, event->what ? ", held by " : " for ");
	while (left) {
		unsigned call = (unsigned)__builtin_ctz(left);

		left &= left - 1;
		if (!first)
			slm_buf_puts(&t->buf, left ? ", " : " and ");
		slm_buf_putc(&t->buf, (char)('a' + call));
		first = false;
	}
	slm_buf_puts(&t->buf, M_PLAIN);
	add(t, block, width, 2, 4);
}

/* ---- Layout ----------------------------------------------------------- */

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static unsigned most(unsigned a, unsigned b)
{
	return a > b ? a : b;
}

/* How wide a call's column would be if there were room. */
static unsigned natural_width(struct timeline *t, uint32_t call)
{
	unsigned widest = 0;
	struct slm_buf block;

	slm_buf_init(&block);
	slm_page_clean(t->page, &block, t->page->trace->calls[call].name);
	widest = slm_text_width(slm_page_keep(t->page, &block));
	if (is_program(t, call)) {
		slm_page_clean(t->page, &block,
			       t->page->trace->calls[call].text);
		widest = most(
			widest,
			least(slm_text_width(slm_page_keep(t->page, &block)),
			      TEXT_WIDTH));
	}
	for (uint32_t i = 0; i < t->finding->nevents; i++) {
		const struct slm_event *event = &t->finding->events[i];
		unsigned width;

		if (event->call != call)
			continue;
		slm_buf_clear(&block);
		add_event(t, &block, COLUMN_MAX, event);
		if (event->kind == SLM_EVENT_BLOCKED)
			add_wait(t, &block, COLUMN_MAX, event);
		width = slm_text_widest(slm_page_keep(t->page, &block));
		widest = most(widest, width);
	}
	slm_buf_deinit(&block);
	return least(widest, COLUMN_MAX);
}

/*
 * Shares room among the shown calls: what a call does not need goes to the
 * others, in equal parts.
 */
static void share(struct timeline *t, const unsigned *wants, unsigned room)
{
	uint32_t open = t->shown;
	bool settled = true;

	while (open && settled) {
		unsigned part = room / (unsigned)__builtin_popcount(open);

		settled = false;
		for (uint32_t i = 0; i < SLM_CALLS_MAX; i++) {
			if (!(open & UINT32_C(1) << i))
				continue;
			t->widths[i] = part;
			if (wants[i] > part)
				continue;
			t->widths[i] = wants[i];
			room -= wants[i];
			open &= ~(UINT32_C(1) << i);
			settled = true;
			break; /* the others' part has grown */
		}
	}
}

/* Places the lanes side by side with the text between them, if that gives
 * every call enough room. */
static bool lay_columns(struct timeline *t)
{
	unsigned n = (unsigned)__builtin_popcount(t->shown);
	unsigned fixed = t->gutter + n * LANE_SIZE + (n - 1) * COLUMN_GAP;
	unsigned wants[SLM_CALLS_MAX] = { 0 };
	unsigned at = t->gutter;

	if (fixed + n * 4 > t->page->out.width)
		return false;
	for (uint32_t i = 0; i < SLM_CALLS_MAX; i++)
		if (t->shown & UINT32_C(1) << i)
			wants[i] = natural_width(t, i);
	share(t, wants, t->page->out.width - fixed);
	for (uint32_t i = 0; i < SLM_CALLS_MAX; i++) {
		if (!(t->shown & UINT32_C(1) << i))
			continue;
		if (t->widths[i] < least(wants[i], COLUMN_MIN))
			return false;
		t->place[i] = at;
		at += LANE_SIZE + t->widths[i] + COLUMN_GAP;
	}
	return true;
}

/* Places the lanes close together and the text to their right. */
static void lay_graph(struct timeline *t)
{
	unsigned n = (unsigned)__builtin_popcount(t->shown);
	unsigned width = t->page->out.width;
	unsigned pitch = t->gutter + 2 * n + COLUMN_MIN <= width ? 2 : 1;
	unsigned at = t->gutter;

	t->graph = true;
	for (uint32_t i = 0; i < SLM_CALLS_MAX; i++) {
		if (!(t->shown & UINT32_C(1) << i))
			continue;
		t->place[i] = at;
		at += pitch;
	}
	t->text = at + (pitch == 1);
	for (uint32_t i = 0; i < SLM_CALLS_MAX; i++)
		t->widths[i] = width > t->text ? width - t->text : 1;
}

/* Does the event take a letter of the schedule? */
static bool is_choice(const struct slm_event *event)
{
	return event->choice && (event->kind == SLM_EVENT_STEP ||
				 event->kind == SLM_EVENT_BLOCKED);
}

static uint32_t count_choices(const struct slm_finding *finding)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < finding->nevents; i++)
		count += is_choice(&finding->events[i]);
	return count;
}

static void lay_out(struct timeline *t)
{
	unsigned digits = 1;

	for (uint32_t n = count_choices(t->finding); n >= 10; n /= 10)
		digits++;
	t->gutter = MARGIN + digits + 2;
	for (uint32_t i = 0; i < t->finding->nevents; i++)
		t->shown |= UINT32_C(1) << t->finding->events[i].call;
	for (uint32_t i = 0; i < SLM_CALLS_MAX; i++)
		t->lanes[i] = t->shown & UINT32_C(1) << i ? LANE_LIVE :
							    LANE_OVER;
	if (!lay_columns(t))
		lay_graph(t);
}

/* ---- Drawing ---------------------------------------------------------- */

static const char *lane_text(const struct timeline *t, enum lane lane)
{
	bool ascii = t->page->out.ascii;

	switch (lane) {
	case LANE_LIVE:
		return slm_glyph(SLM_G_LANE, ascii);
	case LANE_WAITING:
		return slm_glyph(SLM_G_WAITING, ascii);
	case LANE_OVER:
		break;
	}
	return "";
}

/* Draws the lane of each call that comes before column `until`. */
static void draw_lanes(struct timeline *t, uint32_t from, uint32_t until)
{
	struct slm_out *out = &t->page->out;

	for (uint32_t i = from; i < until; i++) {
		if (t->lanes[i] == LANE_OVER)
			continue;
		slm_out_move(out, t->place[i]);
		slm_out_text(out,
			     t->lanes[i] == LANE_WAITING ? M_WAIT : M_FAINT);
		slm_out_text(out, lane_text(t, t->lanes[i]));
		slm_out_text(out, M_PLAIN);
	}
}

/* One line: lanes, on the call's own lane the marker, and the text. */
static void draw_line(struct timeline *t, uint32_t call, const char *marker,
		      const char *text, char *style)
{
	struct slm_out *out = &t->page->out;

	draw_lanes(t, 0, call);
	if (marker) {
		slm_out_move(out, t->place[call]);
		slm_out_text(out, marker);
		slm_out_text(out, M_PLAIN);
	} else {
		draw_lanes(t, call, call + 1);
	}
	if (t->graph)
		draw_lanes(t, call + 1, SLM_CALLS_MAX);
	slm_out_move(out, t->graph ? t->text : t->place[call] + LANE_SIZE);
	out->want = *style;
	slm_out_text(out, text);
	*style = out->want;
	slm_out_text(out, M_PLAIN);
	if (!t->graph)
		draw_lanes(t, call + 1, SLM_CALLS_MAX);
	slm_out_newline(out);
}

/* The lines of a block; the marker stands in the first. */
static void draw_block(struct timeline *t, uint32_t call, const char *marker,
		       const char *text)
{
	char style = SLM_PLAIN;

	for (; text; text = slm_text_next_line(text)) {
		draw_line(t, call, marker, text, &style);
		marker = NULL;
	}
}

static bool has_error(const struct slm_result *result)
{
	for (; result; result = result->next)
		if (result->error != SLM_ERROR_NONE)
			return true;
	return false;
}

static const char *marker_of(struct timeline *t, const struct slm_event *event)
{
	bool ascii = t->page->out.ascii;

	if (event->kind == SLM_EVENT_END)
		slm_buf_printf(&t->buf, "%s%s", event->ok ? M_GOOD : M_BAD,
			       slm_glyph(event->ok ? SLM_G_OK : SLM_G_FAILED,
					 ascii));
	else if (event->kind == SLM_EVENT_SKIPPED)
		slm_buf_printf(&t->buf, M_FAINT "%s",
			       slm_glyph(SLM_G_SKIPPED, ascii));
	else if (event->kind == SLM_EVENT_BLOCKED ||
		 event->kind == SLM_EVENT_STALLED)
		slm_buf_printf(&t->buf, M_WAIT "%s",
			       slm_glyph(SLM_G_ARRIVED, ascii));
	else if (has_error(event->result))
		slm_buf_printf(&t->buf, M_BAD "%s",
			       slm_glyph(SLM_G_FAILED, ascii));
	else
		slm_buf_puts(&t->buf, slm_glyph(SLM_G_STEP, ascii));
	return slm_page_keep(t->page, &t->buf);
}

/* The number of the letter in the schedule, before the lanes. */
static void draw_number(struct timeline *t, const struct slm_event *event)
{
	struct slm_out *out = &t->page->out;

	if (!is_choice(event))
		return;
	slm_buf_printf(&t->buf, M_FAINT "%*u" M_PLAIN, (int)t->gutter - 2,
		       ++t->choices);
	slm_out_text(out, slm_page_keep(t->page, &t->buf));
}

static void draw_event(struct timeline *t, const struct slm_event *event)
{
	uint32_t call = event->call;
	struct slm_buf block;
	const char *text, *marker;

	slm_buf_init(&block);
	add_event(t, &block, t->widths[call], event);
	text = slm_page_keep(t->page, &block);
	marker = marker_of(t, event);
	draw_number(t, event);
	t->lanes[call] = event->kind == SLM_EVENT_END ? LANE_OVER : LANE_LIVE;
	if (event->kind == SLM_EVENT_STALLED)
		t->lanes[call] = LANE_WAITING;
	draw_block(t, call, marker, text);
	if (event->kind == SLM_EVENT_BLOCKED) {
		t->lanes[call] = LANE_WAITING;
		add_wait(t, &block, t->widths[call], event);
		draw_block(t, call, NULL, slm_page_keep(t->page, &block));
	}
	slm_buf_deinit(&block);
}

/* Text from the trace, folded into a column. */
static const char *folded(struct timeline *t, const char *text, unsigned width,
			  unsigned max_lines)
{
	struct slm_fold fold = { .width = width,
				 .max_lines = max_lines,
				 .ascii = t->page->out.ascii };
	struct slm_buf buf;
	const char *kept;

	slm_page_clean(t->page, &t->buf, text);
	slm_buf_init(&buf);
	slm_text_fold(&buf, slm_page_keep(t->page, &t->buf), &fold);
	kept = slm_page_keep(t->page, &buf);
	slm_buf_deinit(&buf);
	return kept;
}

/* The commands and requests, folded into the columns of their calls; NULL where
 * there is none. */
static void fold_texts(struct timeline *t, const char *texts[SLM_CALLS_MAX])
{
	for (uint32_t i = 0; i < t->page->trace->ncalls; i++) {
		const char *text = t->page->trace->calls[i].text;

		if ((t->shown & UINT32_C(1) << i) && text && *text)
			texts[i] =
				folded(t, text, t->widths[i], TEXT_LINES_MAX);
	}
}

/* A line of each. */
static void draw_texts(struct timeline *t, const char *texts[SLM_CALLS_MAX])
{
	struct slm_out *out = &t->page->out;

	for (uint32_t i = 0; i < SLM_CALLS_MAX; i++) {
		if (!texts[i])
			continue;
		slm_out_move(out, t->place[i] + LANE_SIZE);
		slm_out_text(out, M_FAINT);
		slm_out_text(out, texts[i]);
		slm_out_text(out, M_PLAIN);
		texts[i] = slm_text_next_line(texts[i]);
	}
	slm_out_newline(out);
}

static bool any_text(const char *const texts[SLM_CALLS_MAX])
{
	for (uint32_t i = 0; i < SLM_CALLS_MAX; i++)
		if (texts[i])
			return true;
	return false;
}

/* In a graph there is no room over the lanes: a line for each call. */
static void tell_texts(struct timeline *t)
{
	bool any = false;

	for (uint32_t i = 0; i < t->page->trace->ncalls; i++) {
		const struct slm_trace_call *call = &t->page->trace->calls[i];
		const char *name = slm_page_call_name(t->page, i);

		if (!(t->shown & UINT32_C(1) << i) || !call->text ||
		    !*call->text)
			continue;
		slm_buf_printf(&t->buf, M_STRONG "%c ", (char)('a' + i));
		slm_page_clean(t->page, &t->buf, name);
		slm_buf_printf(&t->buf, "%s" M_PLAIN M_FAINT, name ? " " : "");
		slm_page_clean(t->page, &t->buf, call->text);
		slm_page_flush(t->page, &t->buf, MARGIN, 2);
		any = true;
	}
	if (any)
		slm_out_newline(&t->page->out);
}

/* Beside the letter: the name of the call, or else the begin of its text. */
static void draw_name(struct timeline *t, uint32_t call,
		      const char *texts[SLM_CALLS_MAX])
{
	const char *name = slm_page_call_name(t->page, call);
	struct slm_out *out = &t->page->out;

	slm_out_move(out, t->place[call] + LANE_SIZE);
	if (name) {
		slm_out_text(out, folded(t, name, t->widths[call], 1));
	} else if (texts[call]) {
		slm_out_text(out, texts[call]);
		texts[call] = slm_text_next_line(texts[call]);
	}
}

/* Letters over the lanes; in columns the names beside them, and the commands
 * and requests below these. */
static void draw_header(struct timeline *t)
{
	const char *texts[SLM_CALLS_MAX] = { NULL };
	struct slm_out *out = &t->page->out;

	if (t->graph)
		tell_texts(t);
	else
		fold_texts(t, texts);
	for (uint32_t i = 0; i < SLM_CALLS_MAX; i++) {
		if (!(t->shown & UINT32_C(1) << i))
			continue;
		slm_out_move(out, t->place[i]);
		slm_buf_printf(&t->buf, M_STRONG "%c", (char)('a' + i));
		slm_out_text(out, slm_page_keep(t->page, &t->buf));
		if (!t->graph)
			draw_name(t, i, texts);
		slm_out_text(out, M_PLAIN);
	}
	slm_out_newline(out);
	while (any_text(texts))
		draw_texts(t, texts);
}

void slm_page_timeline(struct slm_page *page, const struct slm_finding *finding)
{
	struct timeline t = { .page = page, .finding = finding };

	slm_out_newline(&page->out);
	if (finding->nevents == 0) {
		slm_out_paragraph(&page->out, MARGIN, 0,
				  M_FAINT "(the trace has no events of this "
					  "run)" M_PLAIN);
		return;
	}
	slm_buf_init(&t.buf);
	if (page->trace->kind == SLM_TRACE_RECORD)
		t.transactions = slm_page_transactions(page, finding);
	lay_out(&t);
	draw_header(&t);
	for (uint32_t i = 0; i < finding->nevents && !page->failed; i++)
		draw_event(&t, &finding->events[i]);
	slm_buf_deinit(&t.buf);
}
