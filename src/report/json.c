/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report as one JSON object, for programs. The parts are those of the
 * trace; added is what a program would else have to work out: the exit code,
 * whether a finding is wrong, the names and SQL behind indices.
 */
#include "base/buf.h"
#include "base/error.h"
#include "report/page.h"
#include "trace/encode.h"
#include "trace/words.h"

/* An event with the name and the SQL of its step. */
static json_t *event_json(struct slm_encoder *e, const struct slm_event *event)
{
	const struct slm_trace_call *call = &e->trace->calls[event->call];
	json_t *object = json_object();

	slm_encode_event(e, object, event);
	slm_encode_put_text(e, object, "call_name", call->name);
	if (event->step < call->nsteps) {
		slm_encode_put_text(e, object, "step_name",
				    call->steps[event->step].name);
		slm_encode_put_text(e, object, "sql",
				    call->steps[event->step].sql);
	}
	return object;
}

static json_t *finding_json(struct slm_encoder *e, struct slm_page *page,
			    const struct slm_finding *finding)
{
	bool wrong = finding->class < SLM_CLASS_RETRY ||
		     (finding->class == SLM_CLASS_RETRY && e->trace->strict);
	json_t *object = json_object();
	json_t *events = json_array();
	struct slm_buf line;

	slm_encode_finding(e, object, finding);
	slm_buf_init(&line);
	slm_page_replay_line(page, &line, finding);
	slm_encode_put_text(e, object, "class_text",
			    slm_class_text(finding->class));
	slm_encode_put(e, object, "wrong", json_boolean(wrong));
	slm_encode_put_text(e, object, "replay", slm_page_keep(page, &line));
	slm_buf_deinit(&line);
	for (uint32_t i = 0; i < finding->nevents; i++)
		slm_encode_push(e, events, event_json(e, &finding->events[i]));
	slm_encode_put(e, object, "events", events);
	return object;
}

static json_t *serials_json(struct slm_encoder *e)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < e->trace->nserials; i++) {
		json_t *object = json_object();

		slm_encode_put_text(e, object, "order",
				    e->trace->serials[i].order);
		slm_encode_put(
			e, object, "outcome",
			slm_encode_outcome(e, &e->trace->serials[i].outcome));
		slm_encode_push(e, list, object);
	}
	return list;
}

static void put_verdict(struct slm_encoder *e, json_t *object)
{
	const struct slm_trace *trace = e->trace;
	enum sqloom_verdict verdict = trace->divergence.diverged ?
					      SQLOOM_INCONCLUSIVE :
					      trace->verdict;

	slm_encode_put_text(e, object, "verdict", slm_verdict_words[verdict]);
	slm_encode_put(e, object, "exit_code",
		       json_integer(sqloom_verdict_exit_code(verdict)));
	slm_encode_put_text(e, object, "reason", trace->reason);
	slm_encode_put_count(e, object, "explored", trace->explored);
	slm_encode_put(e, object, "complete", json_boolean(trace->complete));
	slm_encode_put_count(e, object, "wrong", trace->wrong);
	slm_encode_put(e, object, "strict", json_boolean(trace->strict));
	slm_encode_put(e, object, "classes", slm_encode_classes(e));
}

/* Of a recording there is no verdict and no finding, only events. */
static json_t *record_json(struct slm_encoder *e, struct slm_page *page)
{
	const struct slm_finding *finding = slm_page_recording(page);
	const uint32_t *transactions = slm_page_transactions(page, finding);
	json_t *object = json_object();
	json_t *events = json_array();

	slm_encode_put_text(e, object, "type", "sqloom-report");
	slm_encode_put_count(e, object, "version", SLM_TRACE_VERSION);
	slm_encode_put_text(e, object, "kind",
			    slm_trace_kind_words[e->trace->kind]);
	slm_encode_put_text(e, object, "backend", e->trace->backend);
	slm_encode_put(e, object, "calls", slm_encode_calls(e));
	for (uint32_t i = 0; transactions && i < finding->nevents; i++) {
		json_t *event = event_json(e, &finding->events[i]);

		if (transactions[i])
			slm_encode_put_count(e, event, "transaction",
					     transactions[i]);
		slm_encode_push(e, events, event);
	}
	slm_encode_put(e, object, "events", events);
	slm_encode_put(e, object, "notes", slm_encode_notes(e));
	return object;
}

static json_t *report_json(struct slm_encoder *e, struct slm_page *page,
			   const struct slm_finding *only)
{
	const struct slm_trace *trace = e->trace;
	json_t *object = json_object();
	json_t *findings = json_array();

	slm_encode_put_text(e, object, "type", "sqloom-report");
	slm_encode_put_count(e, object, "version", SLM_TRACE_VERSION);
	slm_encode_put_text(e, object, "kind",
			    slm_trace_kind_words[trace->kind]);
	put_verdict(e, object);
	slm_encode_put_text(e, object, "spec", trace->spec);
	slm_encode_put_text(e, object, "backend", trace->backend);
	slm_encode_put_text(e, object, "strategy", trace->strategy);
	slm_encode_put_text(e, object, "bounds", trace->bounds);
	slm_encode_put_text(e, object, "options", trace->options);
	slm_encode_put_count(e, object, "seed", trace->seed);
	slm_encode_put(e, object, "calls", slm_encode_calls(e));
	slm_encode_put(e, object, "serials", serials_json(e));
	for (uint32_t i = 0; i < trace->nfindings; i++)
		if (!only || only == &trace->findings[i])
			slm_encode_push(e, findings,
					finding_json(e, page,
						     &trace->findings[i]));
	slm_encode_put(e, object, "findings", findings);
	slm_encode_put(e, object, "notes", slm_encode_notes(e));
	slm_encode_put(e, object, "divergence",
		       trace->divergence.diverged ? slm_encode_divergence(e) :
						    json_null());
	return object;
}

static int append(const char *data, size_t size, void *userdata)
{
	slm_buf_append(userdata, data, size);
	return slm_buf_failed(userdata) ? -1 : 0;
}

enum sqloom_status slm_report_json(const struct slm_trace *trace,
				   const struct slm_finding *only, char **text,
				   size_t *size_bytes, struct sqloom_error *err)
{
	/* The line to paste is made as for the text report. */
	struct slm_page page = { .trace = trace };
	struct slm_encoder e = { .trace = trace };
	struct slm_buf buf;
	json_t *object;
	char *made = NULL;
	size_t size;

	slm_arena_init(&page.arena);
	slm_buf_init(&buf);
	object = trace->kind == SLM_TRACE_RECORD ? record_json(&e, &page) :
						   report_json(&e, &page, only);
	if (!e.failed && !page.failed &&
	    slm_encode_dump(object, JSON_INDENT(2), append, &buf) == 0)
		slm_buf_putc(&buf, '\n');
	else
		e.failed = true;
	json_decref(object);
	slm_arena_deinit(&page.arena);
	size = buf.size;
	if (!e.failed)
		made = slm_buf_take(&buf);
	slm_buf_deinit(&buf);
	if (!made)
		return slm_error_nomem(err);
	*text = made;
	if (size_bytes)
		*size_bytes = size;
	return SQLOOM_OK;
}
