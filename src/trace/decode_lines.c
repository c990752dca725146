/* SPDX-License-Identifier: Apache-2.0 */
/* The objects of a trace, one line each, out of JSON. */
#include "trace/decode.h"

#include <assert.h>
#include <string.h>

#include "trace/token.h"
#include "trace/words.h"

/* ---- The header ------------------------------------------------------- */

static void decode_step(struct slm_decoder *d, const json_t *object,
			struct slm_trace_step *step)
{
	step->name = slm_decode_text(d, object, "name");
	step->sql = slm_decode_text(d, object, "sql");
	step->reads = slm_decode_text(d, object, "reads");
	step->writes = slm_decode_text(d, object, "writes");
	step->fingerprint = slm_decode_fingerprint(d, object, "fingerprint");
	step->implicit = slm_decode_flag(d, object, "implicit");
}

static void decode_call(struct slm_decoder *d, const json_t *object,
			uint32_t index, struct slm_trace_call *call)
{
	struct slm_trace_step *steps;
	const json_t *list;
	const char *letter;
	uint32_t nsteps;

	letter = slm_decode_text(d, object, "letter");
	if (!d->status && (letter[0] != (char)('a' + index) || letter[1]))
		slm_decode_fail(d, SQLOOM_TRACE,
				"the \"letter\" of call %u must be %c",
				index + 1, (char)('a' + index));
	call->name = slm_decode_text(d, object, "name");
	if (json_object_get(object, "kind"))
		call->kind = slm_decode_word(d, object, "kind", slm_call_words,
					     SLM_CALL_WORDS);
	call->text = slm_decode_optional(d, object, "text");
	list = slm_decode_array(d, object, "steps", SLM_DECODE_STEPS_MAX,
				&nsteps);
	steps = slm_decode_alloc(d, nsteps, sizeof(*steps));
	for (uint32_t i = 0; steps && i < nsteps && !d->status; i++)
		decode_step(d, json_array_get(list, i), &steps[i]);
	call->steps = steps;
	call->nsteps = steps ? nsteps : 0;
}

/*
 * The options end up in a line that people paste into a shell. So they may
 * hold only what a shell takes as plain words: safe characters, single quotes
 * around anything printable, and \' .
 */
static bool is_safe_for_shell(const char *options)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyz"
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789 -_./:=,+@%";
	bool quoted = false;

	for (; *options; options++) {
		if (*options == '\'')
			quoted = !quoted;
		else if ((unsigned char)*options < ' ' || *options == 0x7f)
			return false;
		else if (!quoted && *options == '\\' && options[1] == '\'')
			options++;
		else if (!quoted && !strchr(safe, *options))
			return false;
	}
	return !quoted;
}

void slm_decode_header(struct slm_decoder *d, const json_t *object,
		       struct slm_trace *trace)
{
	struct slm_trace_call *calls;
	const json_t *list;
	uint32_t ncalls;
	uint64_t version = slm_decode_count(d, object, "version", UINT32_MAX);

	if (!d->status && version != SLM_TRACE_VERSION)
		slm_decode_fail(d, SQLOOM_TRACE,
				"the trace has format version %u, and this "
				"sqloom reads version %d; read it with the "
				"sqloom that wrote it, or explore again",
				(unsigned)version, SLM_TRACE_VERSION);
	trace->kind = slm_decode_word(d, object, "kind", slm_trace_kind_words,
				      SLM_TRACE_KIND_WORDS);
	trace->spec = slm_decode_text(d, object, "spec");
	trace->backend = slm_decode_text(d, object, "backend");
	trace->strategy = slm_decode_text(d, object, "strategy");
	trace->bounds = slm_decode_text(d, object, "bounds");
	trace->options = slm_decode_text(d, object, "options");
	if (!d->status && !is_safe_for_shell(trace->options))
		slm_decode_fail(d, SQLOOM_TRACE,
				"\"options\" has characters that a shell would "
				"act on; they must stand in single quotes");
	trace->seed = slm_decode_count(d, object, "seed", UINT64_MAX);
	trace->strict = slm_decode_bool(d, object, "strict");
	list = slm_decode_array(d, object, "calls", SLM_CALLS_MAX, &ncalls);
	calls = slm_decode_alloc(d, ncalls, sizeof(*calls));
	for (uint32_t i = 0; calls && i < ncalls && !d->status; i++)
		decode_call(d, json_array_get(list, i), i, &calls[i]);
	trace->calls = d->calls = calls;
	trace->ncalls = d->ncalls = calls ? ncalls : 0;
}

/* ---- Outcomes --------------------------------------------------------- */

static const char *const *decode_results(struct slm_decoder *d,
					 const json_t *object)
{
	uint32_t count;
	const json_t *list =
		slm_decode_array(d, object, "results", SLM_CALLS_MAX, &count);
	const char **results = slm_decode_alloc(d, count, sizeof(*results));

	if (!d->status && count != d->ncalls)
		slm_decode_fail(d, SQLOOM_TRACE,
				"\"results\" must have one element per call, "
				"%u",
				d->ncalls);
	for (uint32_t i = 0; results && i < count && !d->status; i++) {
		const json_t *result = json_array_get(list, i);

		if (json_is_string(result))
			results[i] = slm_arena_strdup(
				d->arena, json_string_value(result));
		else if (!json_is_null(result))
			slm_decode_fail(d, SQLOOM_TRACE,
					"\"results\" must have strings and "
					"nulls only");
		if (json_is_string(result) && !results[i])
			d->status = slm_error_nomem(d->err);
	}
	return (const char *const *)results;
}

static void decode_outcome(struct slm_decoder *d, const json_t *parent,
			   struct slm_outcome *outcome)
{
	const json_t *object = slm_decode_object(d, parent, "outcome");
	struct slm_table *tables;
	const json_t *list;
	uint32_t count;

	if (d->status)
		return;
	outcome->members = slm_decode_mask(d, object, "members");
	outcome->failed = slm_decode_mask(d, object, "failed");
	outcome->results = decode_results(d, object);
	list = slm_decode_array(d, object, "tables", SLM_DECODE_TABLES_MAX,
				&count);
	tables = slm_decode_alloc(d, count, sizeof(*tables));
	for (uint32_t i = 0; tables && i < count && !d->status; i++) {
		const json_t *table = json_array_get(list, i);

		tables[i].name = slm_decode_text(d, table, "name");
		slm_decode_rows(d, table, &tables[i].rows);
	}
	outcome->tables = tables;
	outcome->ntables = tables ? count : 0;
}

void slm_decode_serial(struct slm_decoder *d, const json_t *object,
		       struct slm_trace_serial *serial)
{
	serial->order = slm_decode_letters(d, object, "order");
	decode_outcome(d, object, &serial->outcome);
}

/* ---- Findings --------------------------------------------------------- */

/* A token goes into a line that people paste, so it must be one. */
static void check_token(struct slm_decoder *d, const char *text)
{
	struct slm_token token;
	struct slm_arena scratch;
	enum sqloom_status status;

	if (d->status)
		return;
	slm_arena_init(&scratch);
	status = slm_token_parse(&scratch, text, &token, NULL);
	slm_arena_deinit(&scratch);
	if (status == SQLOOM_NOMEM)
		d->status = slm_error_nomem(d->err);
	else if (status)
		slm_decode_fail(d,
				status == SQLOOM_LIMIT ? status : SQLOOM_TRACE,
				"\"token\" is not a replay token such as "
				"abab~5f3a.aka2axaq");
}

static void decode_differences(struct slm_decoder *d, const json_t *object,
			       struct slm_finding *finding)
{
	struct slm_difference *differences;
	uint32_t count;
	const json_t *list = slm_decode_array(d, object, "differences",
					      SLM_DECODE_LIST_MAX, &count);

	differences = slm_decode_alloc(d, count, sizeof(*differences));
	for (uint32_t i = 0; differences && i < count && !d->status; i++) {
		const json_t *one = json_array_get(list, i);

		differences[i].where = slm_decode_text(d, one, "where");
		differences[i].actual = slm_decode_optional(d, one, "actual");
		differences[i].expected =
			slm_decode_optional(d, one, "expected");
	}
	finding->differences = differences;
	finding->ndifferences = differences ? count : 0;
}

void slm_decode_finding(struct slm_decoder *d, const json_t *object,
			struct slm_finding *finding)
{
	finding->class = slm_decode_word(d, object, "class", slm_class_words,
					 SLM_CLASSES);
	finding->token = slm_decode_text(d, object, "token");
	check_token(d, finding->token);
	finding->schedule = slm_decode_letters(d, object, "schedule");
	finding->switches = (uint32_t)slm_decode_count(d, object, "switches",
						       SLM_SCHEDULE_MAX);
	finding->count = slm_decode_count(d, object, "count", UINT64_MAX);
	finding->name = slm_decode_optional(d, object, "name");
	finding->cause = slm_decode_optional(d, object, "cause");
	finding->check = slm_decode_optional(d, object, "check");
	if (json_object_get(object, "check_rows"))
		slm_decode_rows(d, slm_decode_object(d, object, "check_rows"),
				&finding->check_rows);
	decode_outcome(d, object, &finding->outcome);
	if (json_object_get(object, "nearest"))
		finding->nearest = slm_decode_letters(d, object, "nearest");
	decode_differences(d, object, finding);
}

static const struct slm_result *decode_chain(struct slm_decoder *d,
					     const json_t *object)
{
	struct slm_result *results;
	uint32_t count;
	const json_t *list = slm_decode_array(d, object, "results",
					      SLM_DECODE_RESULTS_MAX, &count);

	results = slm_decode_alloc(d, count, sizeof(*results));
	for (uint32_t i = 0; results && i < count && !d->status; i++) {
		const json_t *one = json_array_get(list, i);
		struct slm_result *result = &results[i];

		slm_decode_rows(d, one, &result->rows);
		result->changes = -1;
		if (json_object_get(one, "changes"))
			result->changes = (int64_t)slm_decode_count(
				d, one, "changes", INT64_MAX);
		if (json_object_get(one, "error")) {
			result->error = slm_decode_word(d, one, "error",
							slm_error_words,
							SLM_ERROR_WORDS);
			result->code = slm_decode_text(d, one, "code");
			result->message = slm_decode_text(d, one, "message");
		}
		if (i + 1 < count)
			result->next = &results[i + 1];
	}
	return results;
}

/* The one call that has this letter. */
static uint32_t decode_one_call(struct slm_decoder *d, const json_t *object,
				const char *key)
{
	uint32_t mask = slm_decode_mask(d, object, key);

	if (mask && (mask & (mask - 1)) == 0)
		return (uint32_t)__builtin_ctz(mask);
	slm_decode_fail(d, SQLOOM_TRACE, "\"%s\" must be one letter", key);
	return 0;
}

void slm_decode_event(struct slm_decoder *d, const json_t *object,
		      struct slm_event *event)
{
	uint32_t nsteps;

	event->kind = slm_decode_word(d, object, "kind", slm_event_words,
				      SLM_EVENT_WORDS);
	event->call = decode_one_call(d, object, "call");
	event->step = SLM_STEP_NONE;
	if (d->status)
		return;
	nsteps = d->calls[event->call].nsteps;
	if (event->kind == SLM_EVENT_END) {
		event->ok = slm_decode_bool(d, object, "ok");
	} else if (event->kind == SLM_EVENT_STALLED) {
		/* between its steps */
	} else if (nsteps == 0) {
		slm_decode_fail(d, SQLOOM_TRACE,
				"call %c has no steps in the header",
				(char)('a' + event->call));
	} else {
		event->step = (uint32_t)slm_decode_count(d, object, "step",
							 nsteps - 1);
	}
	event->choice = slm_decode_flag(d, object, "choice");
	if (json_object_get(object, "blocked_by"))
		event->blocked_by = slm_decode_mask(d, object, "blocked_by");
	event->what = slm_decode_optional(d, object, "what");
	event->waited_ms = (uint32_t)slm_decode_count_or_0(
		d, object, "waited_ms", UINT32_MAX);
	event->params = slm_decode_optional(d, object, "params");
	if (json_object_get(object, "results"))
		event->result = decode_chain(d, object);
}

/* ---- The verdict ------------------------------------------------------ */

static void decode_classes(struct slm_decoder *d, const json_t *object,
			   struct slm_trace *trace)
{
	const json_t *classes = slm_decode_object(d, object, "classes");

	for (unsigned i = 0; i < SLM_CLASSES && !d->status; i++)
		trace->by_class[i] = slm_decode_count(
			d, classes, slm_class_words[i], UINT64_MAX);
}

void slm_decode_notes(struct slm_decoder *d, const json_t *object,
		      struct slm_trace *trace)
{
	uint32_t count;
	const json_t *list = slm_decode_array(d, object, "notes",
					      SLM_DECODE_LIST_MAX, &count);
	const char **notes = slm_decode_alloc(d, count, sizeof(*notes));

	for (uint32_t i = 0; notes && i < count && !d->status; i++) {
		const char *note = json_string_value(json_array_get(list, i));

		if (!note) {
			slm_decode_fail(d, SQLOOM_TRACE,
					"\"notes\" must be an array of "
					"strings");
			return;
		}
		notes[i] = slm_arena_strdup(d->arena, note);
		if (!notes[i])
			d->status = slm_error_nomem(d->err);
	}
	trace->notes = (const char *const *)notes;
	trace->nnotes = notes ? count : 0;
}

static void decode_divergence(struct slm_decoder *d, const json_t *object,
			      struct slm_divergence *divergence)
{
	if (!json_object_get(object, "divergence"))
		return;
	object = slm_decode_object(d, object, "divergence");
	divergence->diverged = true;
	divergence->at = (uint32_t)slm_decode_count(d, object, "at",
						    SLM_SCHEDULE_MAX + 1);
	divergence->what = slm_decode_text(d, object, "what");
	divergence->recorded = slm_decode_optional(d, object, "recorded");
	divergence->now = slm_decode_optional(d, object, "now");
}

void slm_decode_verdict(struct slm_decoder *d, const json_t *object,
			struct slm_trace *trace)
{
	uint64_t nfindings;

	trace->verdict = slm_decode_word(d, object, "verdict",
					 slm_verdict_words,
					 SQLOOM_INCONCLUSIVE + 1);
	trace->reason = slm_decode_text(d, object, "reason");
	trace->explored = slm_decode_count(d, object, "explored", UINT64_MAX);
	trace->complete = slm_decode_bool(d, object, "complete");
	trace->wrong = slm_decode_count(d, object, "wrong", UINT64_MAX);
	decode_classes(d, object, trace);
	nfindings = slm_decode_count(d, object, "findings", UINT32_MAX);
	if (!d->status && nfindings != trace->nfindings)
		slm_decode_fail(d, SQLOOM_TRACE,
				"the verdict counts %u findings, but the trace "
				"has %u",
				(unsigned)nfindings, trace->nfindings);
	slm_decode_notes(d, object, trace);
	decode_divergence(d, object, &trace->divergence);
	/* A pass must never be made of a trace that shows otherwise. */
	if (!d->status && trace->verdict == SQLOOM_HOLDS &&
	    (trace->wrong || trace->divergence.diverged))
		slm_decode_fail(d, SQLOOM_TRACE,
				"\"verdict\" says holds, but the trace has %s",
				trace->wrong ? "wrong outcomes" :
					       "a divergence");
}
