/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report: the entry, and its parts from the verdict to the notes. Made
 * from the trace alone.
 */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "report/page.h"

#define WIDTH_MIN 40
#define WIDTH_MAX 1000
#define WIDTH_DEFAULT 80
#define ALSO_MAX 10 /* findings that get a line each */
#define INDENT 2

void sqloom_render_init(struct sqloom_render *render)
{
	*render = (struct sqloom_render){
		.format = SQLOOM_FORMAT_TEXT,
		.width = WIDTH_DEFAULT,
		.findings = 1,
	};
}

void sqloom_text_free(char *text)
{
	slm_free(text);
}

/* Does this class make the verdict broken? */
static bool breaks(const struct slm_trace *trace, enum slm_class class)
{
	return class < SLM_CLASS_RETRY ||
	       (class == SLM_CLASS_RETRY && trace->strict);
}

static bool is_given(const char *text)
{
	return text && *text;
}

static bool is_bounded(const struct slm_trace *trace)
{
	return is_given(trace->bounds) && strcmp(trace->bounds, "none") != 0;
}

/* ---- The verdict ------------------------------------------------------ */

static void put_reason(struct slm_page *page, struct slm_buf *buf)
{
	if (!is_given(page->trace->reason))
		return;
	slm_buf_puts(buf, "; ");
	slm_page_clean(page, buf, page->trace->reason);
}

static void put_broken(struct slm_page *page, struct slm_buf *buf)
{
	const struct slm_trace *trace = page->trace;

	slm_buf_puts(buf, M_BAD_TITLE "broken" M_PLAIN ": ");
	slm_text_number(buf, trace->wrong);
	slm_buf_puts(buf, " of ");
	slm_text_count(buf, trace->explored, "schedule", "schedules");
	if (trace->complete) {
		slm_buf_printf(buf, " %s wrong (all ",
			       trace->wrong == 1 ? "ends" : "end");
		slm_text_number(buf, trace->explored);
		slm_buf_puts(buf, is_bounded(trace) ?
					  " within the bounds explored)" :
					  " explored)");
	} else {
		slm_buf_printf(buf, " explored %s wrong",
			       trace->wrong == 1 ? "ends" : "end");
		put_reason(page, buf);
	}
}

static void put_holds(struct slm_page *page, struct slm_buf *buf)
{
	const struct slm_trace *trace = page->trace;

	slm_buf_puts(buf, M_GOOD_TITLE "holds" M_PLAIN ": ");
	slm_text_number(buf, trace->explored);
	slm_buf_puts(buf, " of ");
	slm_text_count(buf, trace->explored, "schedule", "schedules");
	if (is_bounded(trace))
		slm_buf_puts(buf, " within the bounds");
	slm_buf_puts(buf, " explored, ");
	if (trace->by_class[SLM_CLASS_SERIAL] == trace->explored)
		slm_buf_puts(buf, "every outcome equals a serial run");
	else
		slm_buf_puts(buf, "none ends wrong");
}

static void put_inconclusive(struct slm_page *page, struct slm_buf *buf)
{
	const struct slm_trace *trace = page->trace;

	slm_buf_puts(buf, M_WAIT_TITLE "inconclusive" M_PLAIN ": ");
	slm_text_count(buf, trace->explored, "schedule", "schedules");
	slm_buf_puts(buf, " explored, ");
	if (trace->wrong)
		slm_text_number(buf, trace->wrong);
	slm_buf_puts(buf, trace->wrong ? " wrong" : "none wrong");
	put_reason(page, buf);
}

static void put_replay(struct slm_page *page, struct slm_buf *buf)
{
	const struct slm_trace *trace = page->trace;

	if (trace->divergence.diverged) {
		slm_buf_puts(buf, M_WAIT_TITLE "inconclusive" M_PLAIN
					       ": the replay diverged");
		if (trace->divergence.at)
			slm_buf_printf(buf, " at step %u",
				       trace->divergence.at);
		slm_buf_puts(buf, "; this is not a pass");
	} else if (trace->verdict == SQLOOM_BROKEN) {
		slm_buf_puts(buf, M_BAD_TITLE "broken" M_PLAIN
					      ": the replayed schedule ends "
					      "wrong");
	} else if (trace->verdict == SQLOOM_HOLDS) {
		slm_buf_puts(buf, M_GOOD_TITLE "holds" M_PLAIN
					       ": the replayed schedule does "
					       "not end wrong; the others were "
					       "not run");
	} else {
		slm_buf_puts(buf, M_WAIT_TITLE "inconclusive" M_PLAIN
					       ": the replay proves nothing");
		put_reason(page, buf);
	}
}

/* "recorded: 12 statements on 3 connections, 9 of them in 4 transactions" */
static void put_record(struct slm_page *page, struct slm_buf *buf)
{
	const struct slm_finding *finding = slm_page_recording(page);
	const uint32_t *transactions = slm_page_transactions(page, finding);
	uint64_t statements = 0, inside = 0, last = 0;

	for (uint32_t i = 0; i < finding->nevents && transactions; i++) {
		enum slm_event_kind kind = finding->events[i].kind;

		if (kind != SLM_EVENT_STEP && kind != SLM_EVENT_BLOCKED)
			continue;
		statements++;
		inside += transactions[i] > 0;
		last = transactions[i] > last ? transactions[i] : last;
	}
	slm_buf_puts(buf, M_STRONG "recorded" M_PLAIN ": ");
	slm_text_count(buf, statements, "statement", "statements");
	slm_buf_puts(buf, " on ");
	slm_text_count(buf, page->trace->ncalls, "connection", "connections");
	if (!last)
		return;
	slm_buf_puts(buf, ", ");
	slm_text_number(buf, inside);
	slm_buf_puts(buf, " of them in ");
	slm_text_count(buf, last, "transaction", "transactions");
}

static void tell_verdict(struct slm_page *page)
{
	const struct slm_trace *trace = page->trace;
	struct slm_buf buf;

	slm_buf_init(&buf);
	if (trace->kind == SLM_TRACE_RECORD)
		put_record(page, &buf);
	else if (trace->kind == SLM_TRACE_REPLAY)
		put_replay(page, &buf);
	else if (trace->verdict == SQLOOM_BROKEN)
		put_broken(page, &buf);
	else if (trace->verdict == SQLOOM_HOLDS)
		put_holds(page, &buf);
	else
		put_inconclusive(page, &buf);
	slm_page_flush(page, &buf, 0, 2);
	slm_buf_deinit(&buf);
}

/* ---- What was explored ------------------------------------------------ */

static void put_dot(struct slm_page *page, struct slm_buf *buf)
{
	slm_buf_putc(buf, ' ');
	slm_page_glyph(page, buf, SLM_G_DOT);
	slm_buf_putc(buf, ' ');
}

static void put_calls(struct slm_page *page, struct slm_buf *buf)
{
	const struct slm_trace *trace = page->trace;

	for (uint32_t i = 0; i < trace->ncalls; i++) {
		const char *name = slm_page_call_name(page, i);

		slm_buf_printf(buf, "%s%c", i ? ", " : "", (char)('a' + i));
		if (!name)
			continue;
		slm_buf_putc(buf, SLM_NBSP);
		slm_page_clean(page, buf, name);
	}
}

static void tell_circumstances(struct slm_page *page)
{
	const struct slm_trace *trace = page->trace;
	struct slm_buf buf;

	slm_buf_init(&buf);
	slm_buf_puts(&buf, M_FAINT);
	if (trace->kind != SLM_TRACE_RECORD)
		slm_page_clean(page, &buf, trace->spec);
	if (trace->kind == SLM_TRACE_EXPLORE) {
		put_dot(page, &buf);
		slm_page_clean(page, &buf, trace->strategy);
		put_dot(page, &buf);
		slm_page_clean(page, &buf,
			       is_bounded(trace) ? trace->bounds : "no bounds");
	}
	if (trace->kind != SLM_TRACE_RECORD)
		put_dot(page, &buf);
	put_calls(page, &buf);
	slm_page_flush(page, &buf, INDENT, 2);
	if (is_given(trace->backend)) {
		slm_buf_puts(&buf, M_FAINT);
		slm_page_clean(page, &buf, trace->backend);
		slm_page_flush(page, &buf, INDENT, 2);
	}
	slm_buf_deinit(&buf);
}

/* "took 12 ms; 9 more runs for serial outcomes and shrinking" */
static void tell_effort(struct slm_page *page,
			const struct sqloom_render *render)
{
	const struct slm_trace *trace = page->trace;
	uint64_t ms = trace->elapsed_ns / 1000000;
	struct slm_buf buf;

	if (!render->timing || !trace->elapsed_ns)
		return;
	slm_buf_init(&buf);
	slm_buf_puts(&buf, M_FAINT "took ");
	if (ms < 10000)
		slm_text_number(&buf, ms);
	else
		slm_buf_printf(&buf, "%" PRIu64 ".%" PRIu64, ms / 1000,
			       ms % 1000 / 100);
	slm_buf_puts(&buf, ms < 10000 ? " ms" : " s");
	if (trace->reruns) {
		slm_buf_puts(&buf, "; ");
		slm_text_count(&buf, trace->reruns, "more run", "more runs");
		slm_buf_puts(&buf, " for serial outcomes and shrinking");
	}
	slm_page_flush(page, &buf, INDENT, 2);
	slm_buf_deinit(&buf);
}

/* A line for each class that has schedules. */
static void tell_classes(struct slm_page *page)
{
	const struct slm_trace *trace = page->trace;
	struct slm_buf number, line;
	unsigned widest = 0;

	if (trace->by_class[SLM_CLASS_SERIAL] == trace->explored)
		return;
	slm_out_newline(&page->out);
	slm_buf_init(&number);
	slm_buf_init(&line);
	for (unsigned i = 0; i < SLM_CLASSES; i++) {
		unsigned width;

		slm_text_number(&number, trace->by_class[i]);
		width = slm_text_width(slm_page_keep(page, &number));
		widest = width > widest && trace->by_class[i] ? width : widest;
	}
	for (unsigned i = 0; i < SLM_CLASSES; i++) {
		const char *style = breaks(trace, i) ? M_BAD : M_PLAIN;
		const char *text;

		if (!trace->by_class[i])
			continue;
		slm_text_number(&number, trace->by_class[i]);
		text = slm_page_keep(page, &number);
		slm_buf_fill(&line, ' ', widest - slm_text_width(text));
		slm_buf_printf(&line, "%s%s %s" M_PLAIN " %s%s", style, text,
			       trace->by_class[i] == 1 ? "schedule" :
							 "schedules",
			       i == SLM_CLASS_SERIAL ? "" : "with ",
			       slm_class_text(i));
		if (i == SLM_CLASS_RETRY && !trace->strict)
			slm_buf_puts(&line, M_FAINT " (beside the verdict; "
						    "--strict makes it "
						    "wrong)");
		else if (i == SLM_CLASS_BENIGN)
			slm_buf_puts(&line, M_FAINT " (benign)");
		slm_page_flush(page, &line, INDENT, widest + 2);
	}
	slm_buf_deinit(&number);
	slm_buf_deinit(&line);
}

/* ---- A divergence ----------------------------------------------------- */

static void tell_text(struct slm_page *page, const char *label, const char *sql)
{
	struct slm_buf buf;

	slm_buf_init(&buf);
	slm_buf_puts(&buf, label);
	if (sql)
		slm_page_sql(page, &buf, sql);
	else
		slm_buf_puts(&buf, M_FAINT "(no such step)");
	slm_page_flush(page, &buf, INDENT, 10);
	slm_buf_deinit(&buf);
}

static void tell_divergence(struct slm_page *page)
{
	const struct slm_divergence *d = &page->trace->divergence;
	struct slm_buf buf;

	if (!d->diverged)
		return;
	slm_buf_init(&buf);
	slm_buf_puts(&buf, M_STRONG "diverged");
	if (d->at)
		slm_buf_printf(&buf, " at step %u", d->at);
	else
		slm_buf_puts(&buf, " before the first step");
	slm_buf_puts(&buf, M_PLAIN ": ");
	slm_page_clean(page, &buf, d->what);
	slm_page_heading(page, slm_page_keep(page, &buf));
	if (d->recorded)
		tell_text(page, "recorded  ", d->recorded);
	if (d->recorded || d->now)
		tell_text(page, "now       ", d->now);
	slm_out_paragraph(&page->out, INDENT, 0,
			  "The calls are not those that the token was made "
			  "from, so this run says nothing about the finding. "
			  "Explore again to get a new token.");
	slm_buf_deinit(&buf);
}

/* ---- Findings --------------------------------------------------------- */

/* "lost update (P4): contents that no serial run leaves" */
static void put_what(struct slm_page *page, struct slm_buf *buf,
		     const struct slm_finding *finding)
{
	slm_buf_puts(buf, M_STRONG);
	if (is_given(finding->name)) {
		slm_page_clean(page, buf, finding->name);
		slm_buf_puts(buf, M_PLAIN ": ");
	}
	if (finding->class == SLM_CLASS_CHECK && finding->check) {
		slm_buf_puts(buf, "check \"");
		slm_page_clean(page, buf, finding->check);
		slm_buf_puts(buf, "\" fails");
	} else {
		slm_buf_puts(buf, slm_class_text(finding->class));
	}
	slm_buf_puts(buf, M_PLAIN);
}

static void put_schedule(struct slm_page *page, struct slm_buf *buf,
			 const struct slm_finding *finding)
{
	struct slm_fold fold = { .width = 60,
				 .max_lines = 1,
				 .ascii = page->out.ascii };
	struct slm_buf letters;

	if (!is_given(finding->schedule))
		return;
	slm_buf_init(&letters);
	slm_page_clean(page, &letters, finding->schedule);
	slm_buf_puts(buf, "schedule ");
	slm_text_fold(buf, slm_page_keep(page, &letters), &fold);
	slm_buf_deinit(&letters);
	put_dot(page, buf);
	slm_text_count(buf, finding->switches, "switch", "switches");
	slm_buf_puts(buf, " between calls");
}

/* The line to paste. It is never folded: it must paste as one line. */
static void tell_replay_line(struct slm_page *page, unsigned indent,
			     const struct slm_finding *finding)
{
	struct slm_buf buf;

	slm_buf_init(&buf);
	slm_page_replay_line(page, &buf, finding);
	slm_out_move(&page->out, indent);
	slm_out_text(&page->out, slm_page_keep(page, &buf));
	slm_out_newline(&page->out);
	slm_buf_deinit(&buf);
}

/* One finding at length. number and of count those told so; of 1 of 1 nothing
 * is said. */
static void tell_finding(struct slm_page *page,
			 const struct slm_finding *finding, unsigned number,
			 unsigned of)
{
	bool explored = page->trace->kind == SLM_TRACE_EXPLORE;
	struct slm_buf buf;

	slm_buf_init(&buf);
	if (of > 1)
		slm_buf_printf(&buf, M_FAINT "finding %u of %u" M_PLAIN "  ",
			       number, of);
	if (page->trace->divergence.diverged)
		slm_buf_puts(&buf, M_STRONG "what ran instead" M_PLAIN);
	else
		put_what(page, &buf, finding);
	slm_page_heading(page, slm_page_keep(page, &buf));
	slm_buf_puts(&buf, M_FAINT);
	put_schedule(page, &buf, finding);
	if (explored) {
		if (buf.size > 1)
			put_dot(page, &buf);
		slm_text_count(&buf, finding->count, "schedule ends like this",
			       "schedules end like this");
	}
	slm_page_flush(page, &buf, INDENT, 2);
	if (is_given(finding->cause)) {
		slm_page_clean(page, &buf, finding->cause);
		slm_page_flush(page, &buf, INDENT, 0);
	}
	slm_buf_deinit(&buf);
	slm_page_timeline(page, finding);
	if (page->trace->divergence.diverged)
		return;
	slm_page_check(page, finding);
	slm_page_expected(page, finding);
	if (!explored)
		return;
	slm_page_heading(page, M_STRONG "replay" M_PLAIN " it with:");
	tell_replay_line(page, INDENT, finding);
}

/* One finding in a line, and the line that replays it. */
static void tell_also(struct slm_page *page, const struct slm_finding *finding,
		      bool say_beside)
{
	struct slm_buf buf;

	slm_buf_init(&buf);
	put_what(page, &buf, finding);
	slm_buf_puts(&buf, M_FAINT ", ");
	slm_text_count(&buf, finding->count, "schedule", "schedules");
	if (say_beside && !breaks(page->trace, finding->class))
		slm_buf_puts(&buf, ", beside the verdict");
	slm_page_flush(page, &buf, INDENT, 2);
	slm_buf_deinit(&buf);
	tell_replay_line(page, INDENT + 2, finding);
}

static void tell_others(struct slm_page *page, uint32_t from)
{
	const struct slm_trace *trace = page->trace;
	uint32_t until = trace->nfindings, left;
	struct slm_buf buf;
	bool all_beside;

	/* Benign outcomes are counted above, and that is all. */
	while (until > from &&
	       trace->findings[until - 1].class >= SLM_CLASS_BENIGN)
		until--;
	if (from >= until)
		return;
	all_beside = !breaks(trace, trace->findings[from].class);
	slm_page_heading(page, all_beside ? M_STRONG
				       "beside the verdict" M_PLAIN ":" :
			       from ? M_STRONG "also" M_PLAIN ":" :
				      M_STRONG "findings" M_PLAIN ":");
	left = until - from > ALSO_MAX ? until - from - ALSO_MAX : 0;
	for (uint32_t i = from; i < until - left; i++)
		tell_also(page, &trace->findings[i], !all_beside);
	if (!left)
		return;
	slm_buf_init(&buf);
	slm_buf_puts(&buf, M_FAINT);
	slm_page_glyph(page, &buf, SLM_G_ELLIPSIS);
	slm_buf_puts(&buf, " and ");
	slm_text_count(&buf, left, "more finding", "more findings");
	slm_page_flush(page, &buf, INDENT, 2);
	slm_buf_deinit(&buf);
}

static void tell_findings(struct slm_page *page,
			  const struct sqloom_render *render)
{
	const struct slm_trace *trace = page->trace;
	uint32_t told = 0, wrong = 0;

	if (trace->kind == SLM_TRACE_REPLAY) {
		if (trace->nfindings)
			tell_finding(page, &trace->findings[0], 1, 1);
		return;
	}
	while (wrong < trace->nfindings &&
	       breaks(trace, trace->findings[wrong].class))
		wrong++;
	while (told < wrong && told < render->findings) {
		tell_finding(page, &trace->findings[told], told + 1,
			     render->findings < wrong ? render->findings :
							wrong);
		told++;
	}
	tell_others(page, told);
}

/* ---- Notes ------------------------------------------------------------ */

static void tell_notes(struct slm_page *page)
{
	const struct slm_trace *trace = page->trace;
	struct slm_buf buf;

	if (trace->nnotes)
		slm_out_newline(&page->out);
	slm_buf_init(&buf);
	for (uint32_t i = 0; i < trace->nnotes; i++) {
		slm_buf_puts(&buf, M_FAINT "note: ");
		slm_page_clean(page, &buf, trace->notes[i]);
		slm_page_flush(page, &buf, 0, 6);
	}
	slm_buf_deinit(&buf);
}

/* ---- The whole -------------------------------------------------------- */

static void tell_all(struct slm_page *page, const struct sqloom_render *render)
{
	page->out.unfolded = render->brief;
	tell_verdict(page);
	if (render->brief)
		return;
	tell_circumstances(page);
	if (page->trace->kind == SLM_TRACE_RECORD) {
		slm_page_timeline(page, slm_page_recording(page));
		tell_notes(page);
		return;
	}
	tell_effort(page, render);
	if (page->trace->kind == SLM_TRACE_EXPLORE)
		tell_classes(page);
	tell_divergence(page);
	tell_findings(page, render);
	tell_notes(page);
}

static const struct slm_finding *find(const struct slm_trace *trace,
				      const char *token)
{
	for (uint32_t i = 0; i < trace->nfindings; i++)
		if (strcmp(trace->findings[i].token, token) == 0)
			return &trace->findings[i];
	return NULL;
}

static enum sqloom_status check_render(const struct slm_trace *trace,
				       const struct sqloom_render *render,
				       struct sqloom_error *err)
{
	if (render->format != SQLOOM_FORMAT_TEXT &&
	    render->format != SQLOOM_FORMAT_JSON)
		return slm_error_set(err, SQLOOM_USAGE,
				     "there is no report format %d",
				     (int)render->format);
	if (render->width < WIDTH_MIN || render->width > WIDTH_MAX)
		return slm_error_set(err, SQLOOM_USAGE,
				     "the width of a report must be from %d to "
				     "%d columns, not %u",
				     WIDTH_MIN, WIDTH_MAX, render->width);
	if (render->finding && trace->kind == SLM_TRACE_RECORD)
		return slm_error_set(err, SQLOOM_USAGE,
				     "the trace is a recording of a proxy: it "
				     "has no findings; explore it with sqloom "
				     "explore --from-trace");
	if (!render->finding || find(trace, render->finding))
		return SQLOOM_OK;
	if (!trace->nfindings)
		return slm_error_set(err, SQLOOM_USAGE,
				     "the report has no findings, so none with "
				     "the token you gave");
	return slm_error_set(err, SQLOOM_USAGE,
			     "the report has no finding with the token you "
			     "gave; the first of its %u has %.300s",
			     trace->nfindings, trace->findings[0].token);
}

enum sqloom_status sqloom_report_render(const struct sqloom_report *report,
					const struct sqloom_render *render,
					char **text, size_t *size_bytes,
					struct sqloom_error *err)
{
	const struct slm_trace *trace = &report->trace;
	const struct slm_finding *only = NULL;
	struct slm_page page = { .trace = trace };
	enum sqloom_status status = check_render(trace, render, err);
	char *made = NULL;
	size_t size;

	if (status)
		return status;
	if (render->finding)
		only = find(trace, render->finding);
	if (render->format == SQLOOM_FORMAT_JSON)
		return slm_report_json(trace, only, text, size_bytes, err);
	slm_arena_init(&page.arena);
	slm_out_init(&page.out, render->width, render->color, render->ascii);
	if (only)
		tell_finding(&page, only, 1, 1);
	else
		tell_all(&page, render);
	size = page.out.buf.size;
	if (!page.failed)
		made = slm_buf_take(&page.out.buf);
	slm_out_deinit(&page.out);
	slm_arena_deinit(&page.arena);
	if (!made)
		return slm_error_nomem(err);
	*text = made;
	if (size_bytes)
		*size_bytes = size;
	return SQLOOM_OK;
}
