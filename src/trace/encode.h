/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts of a trace as JSON values, for the trace itself and for the JSON
 * report. Keys come in a fixed order, so equal traces give equal bytes.
 * Failure is sticky: when memory is out, `failed` is set, and what comes back
 * may be NULL or incomplete. Callers check once at the end.
 */
#ifndef SLM_TRACE_ENCODE_H
#define SLM_TRACE_ENCODE_H

#include <jansson.h>

#include "trace/trace.h"

/* How every JSON text of sqloom is written: in ASCII, so that nothing in it
 * can act on a terminal; reals with the digits that read back the same. */
#define SLM_JSON_FLAGS (JSON_ENSURE_ASCII | JSON_REAL_PRECISION(17))

/* Writes json to sink, which returns 0, or -1 to stop; 0 if all was written.
 * flags are added to SLM_JSON_FLAGS. */
int slm_encode_dump(const json_t *json, size_t flags, json_dump_callback_t sink,
		    void *userdata);

struct slm_encoder {
	const struct slm_trace *trace; /* borrowed: names the calls */
	bool failed;		       /* memory was out */
};

/* Adds value to the object; takes the reference. */
void slm_encode_put(struct slm_encoder *encoder, json_t *object,
		    const char *key, json_t *value);
/* Adds value to the array; takes the reference. */
void slm_encode_push(struct slm_encoder *encoder, json_t *array, json_t *value);

/* Adds text; NULL counts as "". Bytes that are not UTF-8 become U+FFFD. */
void slm_encode_put_text(struct slm_encoder *encoder, json_t *object,
			 const char *key, const char *text);
/* The same, but NULL adds nothing. */
void slm_encode_put_optional(struct slm_encoder *encoder, json_t *object,
			     const char *key, const char *text);
/* An integer, or above INT64_MAX its digits as a string. */
void slm_encode_put_count(struct slm_encoder *encoder, json_t *object,
			  const char *key, uint64_t count);
/* Adds true; false adds nothing. */
void slm_encode_put_flag(struct slm_encoder *encoder, json_t *object,
			 const char *key, bool flag);
/* A set of calls as their letters, "ac". */
void slm_encode_put_mask(struct slm_encoder *encoder, json_t *object,
			 const char *key, uint32_t mask);

/* Adds "columns", "rows" and "count"; nothing if there are no columns. */
void slm_encode_put_rows(struct slm_encoder *encoder, json_t *object,
			 const struct slm_rows *rows);

json_t *slm_encode_calls(struct slm_encoder *encoder);
json_t *slm_encode_results(struct slm_encoder *encoder,
			   const struct slm_result *results);
json_t *slm_encode_outcome(struct slm_encoder *encoder,
			   const struct slm_outcome *outcome);
json_t *slm_encode_classes(struct slm_encoder *encoder);
json_t *slm_encode_notes(struct slm_encoder *encoder);
json_t *slm_encode_divergence(struct slm_encoder *encoder);

/* Adds what an event and a finding have in both formats. */
void slm_encode_event(struct slm_encoder *encoder, json_t *object,
		      const struct slm_event *event);
void slm_encode_finding(struct slm_encoder *encoder, json_t *object,
			const struct slm_finding *finding);

#endif
