/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of a trace as JSON values. */
#include "trace/encode.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "trace/utf8.h"
#include "trace/words.h"

/* ---- Writing ---------------------------------------------------------- */

struct dump {
	json_dump_callback_t sink;
	void *userdata;
};

/* The library leaves DEL as it is. It can stand in strings only. */
static int dump_part(const char *data, size_t size, void *userdata)
{
	struct dump *dump = userdata;
	const char *end = data + size, *del;

	while ((del = memchr(data, 0x7f, (size_t)(end - data)))) {
		if (dump->sink(data, (size_t)(del - data), dump->userdata) ||
		    dump->sink("\\u007f", 6, dump->userdata))
			return -1;
		data = del + 1;
	}
	return dump->sink(data, (size_t)(end - data), dump->userdata);
}

int slm_encode_dump(const json_t *json, size_t flags, json_dump_callback_t sink,
		    void *userdata)
{
	struct dump dump = { sink, userdata };

	return json_dump_callback(json, dump_part, &dump,
				  SLM_JSON_FLAGS | flags);
}

/* ---- Parts that cannot fail one by one -------------------------------- */

void slm_encode_put(struct slm_encoder *encoder, json_t *object,
		    const char *key, json_t *value)
{
	if (json_object_set_new_nocheck(object, key, value))
		encoder->failed = true;
}

void slm_encode_push(struct slm_encoder *encoder, json_t *array, json_t *value)
{
	if (json_array_append_new(array, value))
		encoder->failed = true;
}

/* Text that has bytes which are not UTF-8: each becomes U+FFFD. */
static json_t *repaired(struct slm_encoder *encoder, const char *text,
			size_t size)
{
	const char *end = text + size;
	struct slm_buf buf;
	uint32_t character;
	json_t *json = NULL;

	slm_buf_init(&buf);
	while (text < end) {
		size_t length = slm_utf8_next(text, end, &character);

		if (length)
			slm_buf_append(&buf, text, length);
		else
			slm_buf_puts(&buf, "\xef\xbf\xbd");
		text += length ? length : 1;
	}
	if (!slm_buf_failed(&buf))
		json = json_stringn_nocheck(buf.data, buf.size);
	encoder->failed |= !json;
	slm_buf_deinit(&buf);
	return json;
}

static json_t *text_json(struct slm_encoder *encoder, const char *text,
			 size_t size)
{
	if (!slm_utf8_valid(text, size))
		return repaired(encoder, text, size);
	return json_stringn_nocheck(text, size);
}

void slm_encode_put_text(struct slm_encoder *encoder, json_t *object,
			 const char *key, const char *text)
{
	if (!text)
		text = "";
	slm_encode_put(encoder, object, key,
		       text_json(encoder, text, strlen(text)));
}

void slm_encode_put_optional(struct slm_encoder *encoder, json_t *object,
			     const char *key, const char *text)
{
	if (text)
		slm_encode_put_text(encoder, object, key, text);
}

void slm_encode_put_count(struct slm_encoder *encoder, json_t *object,
			  const char *key, uint64_t count)
{
	char digits[24];

	if (count <= INT64_MAX) {
		slm_encode_put(encoder, object, key,
			       json_integer((json_int_t)count));
		return;
	}
	snprintf(digits, sizeof(digits), "%" PRIu64, count);
	slm_encode_put(encoder, object, key, json_string(digits));
}

void slm_encode_put_flag(struct slm_encoder *encoder, json_t *object,
			 const char *key, bool flag)
{
	if (flag)
		slm_encode_put(encoder, object, key, json_true());
}

void slm_encode_put_mask(struct slm_encoder *encoder, json_t *object,
			 const char *key, uint32_t mask)
{
	char letters[SLM_CALLS_MAX + 1];
	unsigned n = 0;

	for (unsigned call = 0; call < SLM_CALLS_MAX; call++)
		if (mask & UINT32_C(1) << call)
			letters[n++] = (char)('a' + call);
	letters[n] = '\0';
	slm_encode_put(encoder, object, key, json_string(letters));
}

/* ---- Values ----------------------------------------------------------- */

static json_t *wrapped(struct slm_encoder *encoder, const char *key,
		       json_t *value)
{
	json_t *object = json_object();

	slm_encode_put(encoder, object, key, value);
	return object;
}

static json_t *hex_json(struct slm_encoder *encoder, const char *bytes,
			size_t size)
{
	static const char digits[] = "0123456789abcdef";
	struct slm_buf buf;
	json_t *json = NULL;

	slm_buf_init(&buf);
	for (size_t i = 0; i < size; i++) {
		slm_buf_putc(&buf, digits[(unsigned char)bytes[i] >> 4]);
		slm_buf_putc(&buf, digits[(unsigned char)bytes[i] & 15]);
	}
	if (!slm_buf_failed(&buf))
		json = json_stringn_nocheck(size ? buf.data : "", buf.size);
	encoder->failed |= !json;
	slm_buf_deinit(&buf);
	return json;
}

/* JSON has no word for what is not finite. */
static json_t *real_json(struct slm_encoder *encoder, double real)
{
	if (isfinite(real))
		return json_real(real);
	return wrapped(encoder, "real",
		       json_string(isnan(real) ? "nan" :
				   real > 0    ? "inf" :
						 "-inf"));
}

/* A string where that says it all; a NUL inside has no place in one. */
static json_t *value_text(struct slm_encoder *encoder, const char *text,
			  size_t size)
{
	if (slm_utf8_valid(text, size) && !memchr(text, '\0', size))
		return json_stringn_nocheck(text, size);
	return wrapped(encoder, "hex", hex_json(encoder, text, size));
}

static json_t *value_json(struct slm_encoder *encoder,
			  const struct slm_value *value)
{
	const char *text = "";

	if (value->kind == SLM_TEXT || value->kind == SLM_BLOB ||
	    value->kind == SLM_KEY)
		text = value->size ? value->text : "";
	switch (value->kind) {
	case SLM_NULL:
		return json_null();
	case SLM_INT:
		return json_integer(value->integer);
	case SLM_REAL:
		return real_json(encoder, value->real);
	case SLM_TEXT:
		return value_text(encoder, text, value->size);
	case SLM_BLOB:
		return wrapped(encoder, "blob",
			       hex_json(encoder, text, value->size));
	case SLM_KEY:
		return wrapped(encoder, "key",
			       text_json(encoder, text,
					 strnlen(text, value->size)));
	case SLM_MASKED:
		return wrapped(encoder, "masked", json_true());
	}
	assert(!"a value of an unknown kind");
	return NULL;
}

void slm_encode_put_rows(struct slm_encoder *encoder, json_t *object,
			 const struct slm_rows *rows)
{
	/* A reader takes no more; the count tells how many there were. */
	uint32_t nkept = rows->nkept < SLM_TRACE_ROWS_MAX ? rows->nkept :
							    SLM_TRACE_ROWS_MAX;
	json_t *columns, *list;

	if (rows->ncolumns == 0)
		return;
	columns = json_array();
	list = json_array();
	for (uint32_t i = 0; i < rows->ncolumns; i++)
		slm_encode_push(encoder, columns,
				text_json(encoder, rows->columns[i],
					  strlen(rows->columns[i])));
	for (uint32_t row = 0; row < nkept; row++) {
		json_t *cells = json_array();

		for (uint32_t i = 0; i < rows->ncolumns; i++)
			slm_encode_push(
				encoder, cells,
				value_json(encoder,
					   &rows->values[(size_t)row *
								 rows->ncolumns +
							 i]));
		slm_encode_push(encoder, list, cells);
	}
	slm_encode_put(encoder, object, "columns", columns);
	slm_encode_put(encoder, object, "rows", list);
	slm_encode_put_count(encoder, object, "count", rows->nrows);
}

/* ---- Calls, results, outcomes ----------------------------------------- */

static json_t *step_json(struct slm_encoder *encoder,
			 const struct slm_trace_step *step)
{
	json_t *object = json_object();
	char fingerprint[8];

	snprintf(fingerprint, sizeof(fingerprint), "%04x", step->fingerprint);
	slm_encode_put_text(encoder, object, "name", step->name);
	slm_encode_put_text(encoder, object, "sql", step->sql);
	slm_encode_put_text(encoder, object, "reads", step->reads);
	slm_encode_put_text(encoder, object, "writes", step->writes);
	slm_encode_put_text(encoder, object, "fingerprint", fingerprint);
	slm_encode_put_flag(encoder, object, "implicit", step->implicit);
	return object;
}

json_t *slm_encode_calls(struct slm_encoder *encoder)
{
	const struct slm_trace *trace = encoder->trace;
	json_t *calls = json_array();

	for (uint32_t i = 0; i < trace->ncalls; i++) {
		const struct slm_trace_call *call = &trace->calls[i];
		json_t *object = json_object();
		json_t *steps = json_array();

		for (uint32_t k = 0; k < call->nsteps; k++)
			slm_encode_push(encoder, steps,
					step_json(encoder, &call->steps[k]));
		slm_encode_put_mask(encoder, object, "letter",
				    UINT32_C(1) << i);
		slm_encode_put_text(encoder, object, "name", call->name);
		if (call->kind != SLM_TRACE_SESSION)
			slm_encode_put_text(encoder, object, "kind",
					    slm_call_words[call->kind]);
		slm_encode_put_optional(encoder, object, "text", call->text);
		slm_encode_put(encoder, object, "steps", steps);
		slm_encode_push(encoder, calls, object);
	}
	return calls;
}

json_t *slm_encode_results(struct slm_encoder *encoder,
			   const struct slm_result *results)
{
	json_t *list = json_array();

	for (; results; results = results->next) {
		json_t *object = json_object();

		slm_encode_put_rows(encoder, object, &results->rows);
		if (results->changes >= 0)
			slm_encode_put(encoder, object, "changes",
				       json_integer(results->changes));
		if (results->error != SLM_ERROR_NONE) {
			slm_encode_put_text(encoder, object, "error",
					    slm_error_words[results->error]);
			slm_encode_put_text(encoder, object, "code",
					    results->code);
			slm_encode_put_text(encoder, object, "message",
					    results->message);
		}
		slm_encode_push(encoder, list, object);
	}
	return list;
}

static json_t *tables_json(struct slm_encoder *encoder,
			   const struct slm_outcome *outcome)
{
	json_t *tables = json_array();

	for (uint32_t i = 0; i < outcome->ntables; i++) {
		json_t *object = json_object();

		slm_encode_put_text(encoder, object, "name",
				    outcome->tables[i].name);
		slm_encode_put_rows(encoder, object, &outcome->tables[i].rows);
		slm_encode_push(encoder, tables, object);
	}
	return tables;
}

json_t *slm_encode_outcome(struct slm_encoder *encoder,
			   const struct slm_outcome *outcome)
{
	json_t *object = json_object();
	json_t *results = json_array();

	for (uint32_t i = 0; i < encoder->trace->ncalls; i++) {
		const char *text = outcome->results ? outcome->results[i] :
						      NULL;

		slm_encode_push(encoder, results,
				text ? text_json(encoder, text, strlen(text)) :
				       json_null());
	}
	slm_encode_put_mask(encoder, object, "members", outcome->members);
	slm_encode_put_mask(encoder, object, "failed", outcome->failed);
	slm_encode_put(encoder, object, "results", results);
	slm_encode_put(encoder, object, "tables",
		       tables_json(encoder, outcome));
	return object;
}

/* ---- Events, findings, the verdict ------------------------------------ */

void slm_encode_event(struct slm_encoder *encoder, json_t *object,
		      const struct slm_event *event)
{
	slm_encode_put_text(encoder, object, "kind",
			    slm_event_words[event->kind]);
	slm_encode_put_mask(encoder, object, "call",
			    UINT32_C(1) << event->call);
	if (event->step != SLM_STEP_NONE)
		slm_encode_put_count(encoder, object, "step", event->step);
	slm_encode_put_flag(encoder, object, "choice", event->choice);
	if (event->kind == SLM_EVENT_END)
		slm_encode_put(encoder, object, "ok", json_boolean(event->ok));
	if (event->blocked_by)
		slm_encode_put_mask(encoder, object, "blocked_by",
				    event->blocked_by);
	slm_encode_put_optional(encoder, object, "what", event->what);
	if (event->waited_ms)
		slm_encode_put_count(encoder, object, "waited_ms",
				     event->waited_ms);
	if (event->params && *event->params)
		slm_encode_put_text(encoder, object, "params", event->params);
	if (event->result)
		slm_encode_put(encoder, object, "results",
			       slm_encode_results(encoder, event->result));
}

static json_t *differences_json(struct slm_encoder *encoder,
				const struct slm_finding *finding)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < finding->ndifferences; i++) {
		const struct slm_difference *d = &finding->differences[i];
		json_t *object = json_object();

		slm_encode_put_text(encoder, object, "where", d->where);
		slm_encode_put_optional(encoder, object, "actual", d->actual);
		slm_encode_put_optional(encoder, object, "expected",
					d->expected);
		slm_encode_push(encoder, list, object);
	}
	return list;
}

void slm_encode_finding(struct slm_encoder *encoder, json_t *object,
			const struct slm_finding *finding)
{
	slm_encode_put_text(encoder, object, "class",
			    slm_class_words[finding->class]);
	slm_encode_put_text(encoder, object, "token", finding->token);
	slm_encode_put_text(encoder, object, "schedule", finding->schedule);
	slm_encode_put_count(encoder, object, "switches", finding->switches);
	slm_encode_put_count(encoder, object, "count", finding->count);
	slm_encode_put_optional(encoder, object, "name", finding->name);
	slm_encode_put_optional(encoder, object, "cause", finding->cause);
	slm_encode_put_optional(encoder, object, "check", finding->check);
	if (finding->check_rows.ncolumns) {
		json_t *rows = json_object();

		slm_encode_put_rows(encoder, rows, &finding->check_rows);
		slm_encode_put(encoder, object, "check_rows", rows);
	}
	slm_encode_put(encoder, object, "outcome",
		       slm_encode_outcome(encoder, &finding->outcome));
	slm_encode_put_optional(encoder, object, "nearest", finding->nearest);
	slm_encode_put(encoder, object, "differences",
		       differences_json(encoder, finding));
}

json_t *slm_encode_classes(struct slm_encoder *encoder)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < SLM_CLASSES; i++)
		slm_encode_put_count(encoder, object, slm_class_words[i],
				     encoder->trace->by_class[i]);
	return object;
}

json_t *slm_encode_notes(struct slm_encoder *encoder)
{
	const struct slm_trace *trace = encoder->trace;
	json_t *list = json_array();

	for (uint32_t i = 0; i < trace->nnotes; i++)
		slm_encode_push(encoder, list,
				text_json(encoder, trace->notes[i],
					  strlen(trace->notes[i])));
	return list;
}

json_t *slm_encode_divergence(struct slm_encoder *encoder)
{
	const struct slm_divergence *d = &encoder->trace->divergence;
	json_t *object = json_object();

	assert(d->diverged);
	slm_encode_put_count(encoder, object, "at", d->at);
	slm_encode_put_text(encoder, object, "what", d->what);
	slm_encode_put_optional(encoder, object, "recorded", d->recorded);
	slm_encode_put_optional(encoder, object, "now", d->now);
	return object;
}
