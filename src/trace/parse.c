/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON lines to a trace: the order of the lines, and what they add up to.
 * header, serial*, (finding event*)*, verdict; of a recording header, event*,
 * end.
 */
#include "trace/trace.h"

#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "trace/decode.h"
#include "trace/words.h"

/* An array that grows on the heap until it is known how long it is. */
struct growing {
	void *data;
	uint32_t count;
	uint32_t capacity;
};

enum place { /* how far the reading is */
	     AT_START,
	     AFTER_HEADER,
	     IN_FINDING,
	     IN_RECORD,
	     AFTER_VERDICT, /* or the end of a recording */
};

struct parser {
	struct slm_decoder d;
	struct slm_trace *trace;
	enum place place;
	struct growing serials;
	struct growing findings;
	struct growing events; /* of the finding being read */
};

/* One more zeroed element, or NULL after a failure. */
static void *grow(struct slm_decoder *d, struct growing *array, size_t size,
		  uint32_t max, const char *what)
{
	void *element;

	if (array->count >= max) {
		slm_decode_fail(d, SQLOOM_LIMIT, "more than %u %s", max, what);
		return NULL;
	}
	if (array->count == array->capacity) {
		uint32_t capacity = array->capacity ? 2 * array->capacity : 16;
		void *data = slm_reallocarray(array->data, capacity, size);

		if (!data) {
			d->status = slm_error_nomem(d->err);
			return NULL;
		}
		array->data = data;
		array->capacity = capacity;
	}
	element = (char *)array->data + array->count++ * size;
	return memset(element, 0, size);
}

/* Moves the elements to the trace's arena and empties the array. */
static const void *settle(struct slm_decoder *d, struct growing *array,
			  size_t size)
{
	void *copy = slm_decode_alloc(d, array->count, size);

	if (copy)
		memcpy(copy, array->data, array->count * size);
	array->count = 0;
	return copy;
}

/* The finding that was being read is over. */
static void end_finding(struct parser *p)
{
	struct slm_finding *finding;
	uint32_t nevents = p->events.count;

	if (p->place != IN_FINDING)
		return;
	assert(p->findings.count > 0);
	finding =
		(struct slm_finding *)p->findings.data + p->findings.count - 1;
	finding->events = settle(&p->d, &p->events, sizeof(struct slm_event));
	finding->nevents = finding->events ? nevents : 0;
}

static void end_trace(struct parser *p)
{
	struct slm_trace *trace = p->trace;

	trace->nserials = p->serials.count;
	trace->nfindings = p->findings.count;
	trace->serials =
		settle(&p->d, &p->serials, sizeof(struct slm_trace_serial));
	trace->findings =
		settle(&p->d, &p->findings, sizeof(struct slm_finding));
}

static void parse_serial(struct parser *p, const json_t *object)
{
	struct slm_trace_serial *serial =
		grow(&p->d, &p->serials, sizeof(*serial),
		     SLM_DECODE_SERIALS_MAX, "serial runs");

	if (serial)
		slm_decode_serial(&p->d, object, serial);
}

static void parse_finding(struct parser *p, const json_t *object)
{
	struct slm_finding *finding;

	end_finding(p);
	finding = grow(&p->d, &p->findings, sizeof(*finding),
		       SLM_DECODE_FINDINGS_MAX, "findings");
	if (finding)
		slm_decode_finding(&p->d, object, finding);
	p->place = IN_FINDING;
}

static void parse_event(struct parser *p, const json_t *object)
{
	struct slm_event *event = grow(&p->d, &p->events, sizeof(*event),
				       SLM_DECODE_EVENTS_MAX,
				       "events of one finding");

	if (event)
		slm_decode_event(&p->d, object, event);
}

static void parse_verdict(struct parser *p, const json_t *object)
{
	end_finding(p);
	end_trace(p);
	if (!p->d.status)
		slm_decode_verdict(&p->d, object, p->trace);
	p->place = AFTER_VERDICT;
}

/* The end of a recording. Its events are the one finding, which says nothing
 * else. */
static void parse_end(struct parser *p, const json_t *object)
{
	uint32_t count = p->events.count;
	struct slm_finding *finding =
		slm_decode_alloc(&p->d, 1, sizeof(*finding));

	if (!finding)
		return;
	*finding = (struct slm_finding){
		.class = SLM_CLASS_SERIAL,
		.token = "",
		.schedule = "",
		.events = settle(&p->d, &p->events, sizeof(struct slm_event)),
		.nevents = count,
	};
	if (slm_decode_count(&p->d, object, "events", UINT32_MAX) != count)
		slm_decode_fail(&p->d, SQLOOM_TRACE,
				"\"events\" is not %u, the number of events "
				"that the recording has",
				count);
	slm_decode_notes(&p->d, object, p->trace);
	p->trace->findings = finding;
	p->trace->nfindings = 1;
	p->trace->reason = "";
	p->trace->verdict = SQLOOM_INCONCLUSIVE;
	p->place = AFTER_VERDICT;
}

enum { HEADER, SERIAL, FINDING, EVENT, VERDICT, END, TYPES };

/* May a line of this type come where the reading is, behind the header? */
static bool is_in_place(const struct parser *p, unsigned type)
{
	bool record = p->trace->kind == SLM_TRACE_RECORD;

	switch (type) {
	case SERIAL:
		return !record && p->place == AFTER_HEADER;
	case EVENT:
		return p->place == (record ? IN_RECORD : IN_FINDING);
	case FINDING:
	case VERDICT:
		return !record;
	case END:
		return record;
	default:
		return false;
	}
}

/* One object, by its type and by what came before it. */
static void parse_object(struct parser *p, const json_t *object)
{
	static const char *const types[TYPES] = { "sqloom-trace", "serial",
						  "finding",	  "event",
						  "verdict",	  "end" };
	unsigned type = slm_decode_word(&p->d, object, "type", types, TYPES);

	if (p->d.status)
		return;
	if (p->place == AT_START && type != HEADER)
		slm_decode_fail(&p->d, SQLOOM_TRACE,
				"the first line must be the header, with "
				"\"type\":\"sqloom-trace\"");
	else if (p->place == AFTER_VERDICT)
		slm_decode_fail(&p->d, SQLOOM_TRACE,
				"nothing may follow the verdict; are these two "
				"traces in one file?");
	else if (p->place != AT_START && !is_in_place(p, type))
		slm_decode_fail(&p->d, SQLOOM_TRACE,
				"a line of type %s may not come here: the "
				"order is header, %s",
				types[type],
				p->trace->kind == SLM_TRACE_RECORD ?
					"events, end" :
					"serial runs, findings, each with its "
					"events, verdict");
	if (p->d.status)
		return;
	switch (type) {
	case HEADER:
		slm_decode_header(&p->d, object, p->trace);
		p->place = p->trace->kind == SLM_TRACE_RECORD ? IN_RECORD :
								AFTER_HEADER;
		break;
	case SERIAL:
		parse_serial(p, object);
		break;
	case FINDING:
		parse_finding(p, object);
		break;
	case EVENT:
		parse_event(p, object);
		break;
	case VERDICT:
		parse_verdict(p, object);
		break;
	default:
		parse_end(p, object);
	}
}

/* What the JSON reader says, without the input that it quotes: that could
 * hold anything. */
static void fail_json(struct parser *p, json_error_t *json_err)
{
	char *quoted = strstr(json_err->text, " near ");

	if (json_error_code(json_err) == json_error_out_of_memory) {
		p->d.status = slm_error_nomem(p->d.err);
		return;
	}
	if (quoted)
		*quoted = '\0';
	if (json_error_code(json_err) == json_error_duplicate_key)
		strcpy(json_err->text, "the same key twice in one object");
	slm_decode_fail(&p->d, SQLOOM_TRACE,
			"not one whole JSON object (%s, column %d)",
			json_err->text, json_err->column);
	if (p->d.err && json_err->column > 0)
		p->d.err->column = (unsigned)json_err->column;
}

static bool is_blank(const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (!strchr(" \t\r", text[i]) || text[i] == '\0')
			return false;
	return true;
}

static void parse_line(struct parser *p, const char *text, size_t size)
{
	json_error_t json_err;
	json_t *object;

	if (is_blank(text, size))
		return;
	if (size > SLM_TRACE_LINE_MAX) {
		slm_decode_fail(&p->d, SQLOOM_LIMIT,
				"the line has more than %d bytes",
				SLM_TRACE_LINE_MAX);
		return;
	}
	object = json_loadb(text, size, JSON_REJECT_DUPLICATES, &json_err);
	if (!object)
		fail_json(p, &json_err);
	else if (!json_is_object(object))
		slm_decode_fail(&p->d, SQLOOM_TRACE,
				"every line must be a JSON object");
	else
		parse_object(p, object);
	json_decref(object);
}

static void parse_text(struct parser *p, const char *text, size_t size)
{
	const char *end = text + size;

	while (text < end && !p->d.status) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		const char *stop = newline ? newline : end;

		p->d.line++;
		parse_line(p, text, (size_t)(stop - text));
		text = newline ? newline + 1 : end;
	}
	if (p->place == AT_START)
		slm_decode_fail(&p->d, SQLOOM_TRACE,
				"the trace is empty; write one with sqloom "
				"explore --trace FILE");
	else if (p->place == IN_RECORD)
		slm_decode_fail(&p->d, SQLOOM_TRACE,
				"the recording ends here without its end: it "
				"was cut off; record again");
	else if (p->place != AFTER_VERDICT)
		slm_decode_fail(&p->d, SQLOOM_TRACE,
				"the trace ends here without a verdict: it was "
				"cut off; explore again");
}

enum sqloom_status slm_trace_parse(const char *text, size_t size_bytes,
				   const char *name, struct sqloom_report **out,
				   struct sqloom_error *err)
{
	struct sqloom_report *report = slm_report_new();
	struct parser p = { 0 };

	if (!report)
		return slm_error_nomem(err);
	p.trace = &report->trace;
	p.d.arena = &report->trace.arena;
	p.d.name = name;
	p.d.err = err;
	parse_text(&p, text, size_bytes);
	slm_free(p.serials.data);
	slm_free(p.findings.data);
	slm_free(p.events.data);
	if (p.d.status) {
		sqloom_report_free(report);
		return p.d.status;
	}
	*out = report;
	return SQLOOM_OK;
}
