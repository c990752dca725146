/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading checked values out of one line of a trace. The line is untrusted.
 * Failure is sticky: the first one is kept with its line, and from then on
 * every getter gives an empty value, so that callers check once per object.
 * What a getter gives is always safe to use: indices are in range, strings
 * are never NULL unless they are optional.
 */
#ifndef SLM_TRACE_DECODE_H
#define SLM_TRACE_DECODE_H

#include <jansson.h>

#include "base/error.h"
#include "trace/trace.h"

/* Limits of what is read back; each is far above what sqloom writes. */
#define SLM_DECODE_STEPS_MAX 4096    /* steps of one call */
#define SLM_DECODE_EVENTS_MAX 100000 /* events of one finding */
#define SLM_DECODE_FINDINGS_MAX 100000
#define SLM_DECODE_SERIALS_MAX 100000
#define SLM_DECODE_COLUMNS_MAX 32767 /* columns of one table: SQLite's */
#define SLM_DECODE_TABLES_MAX 10000  /* tables of one outcome */
#define SLM_DECODE_RESULTS_MAX 10000 /* statements of one step */
#define SLM_DECODE_LIST_MAX 100000   /* notes, differences */

struct slm_decoder {
	struct slm_arena *arena; /* what is read lives here; borrowed */
	const char *name;	 /* of the input, for errors; borrowed */
	unsigned line;		 /* the one being read, 1-based */
	uint32_t ncalls;	 /* known once the header is read */
	const struct slm_trace_call *calls;
	enum sqloom_status status;
	struct sqloom_error *err;
};

/* Keeps the first failure. */
void slm_decode_fail(struct slm_decoder *d, enum sqloom_status status,
		     const char *fmt, ...) SLM_PRINTF(3, 4);

/* Zeroed memory for count things; NULL after a failure or for none. */
void *slm_decode_alloc(struct slm_decoder *d, size_t count, size_t size);

/* What the object has under key; a missing key is a failure for the first
 * kind and "", false, 0, NULL for the others. */
const char *slm_decode_text(struct slm_decoder *d, const json_t *object,
			    const char *key);
const char *slm_decode_optional(struct slm_decoder *d, const json_t *object,
				const char *key);
bool slm_decode_bool(struct slm_decoder *d, const json_t *object,
		     const char *key);
bool slm_decode_flag(struct slm_decoder *d, const json_t *object,
		     const char *key);
/* An integer from 0 to max. */
uint64_t slm_decode_count(struct slm_decoder *d, const json_t *object,
			  const char *key, uint64_t max);
uint64_t slm_decode_count_or_0(struct slm_decoder *d, const json_t *object,
			       const char *key, uint64_t max);
/* One of the words: its index. */
unsigned slm_decode_word(struct slm_decoder *d, const json_t *object,
			 const char *key, const char *const *words,
			 unsigned nwords);
/* A set of calls, "ac", each once and in order. */
uint32_t slm_decode_mask(struct slm_decoder *d, const json_t *object,
			 const char *key);
/* Letters of calls, any number up to SLM_SCHEDULE_MAX, copied. */
const char *slm_decode_letters(struct slm_decoder *d, const json_t *object,
			       const char *key);
/* An array of at most max elements; NULL and 0 after a failure. */
const json_t *slm_decode_array(struct slm_decoder *d, const json_t *object,
			       const char *key, size_t max, uint32_t *count);
const json_t *slm_decode_object(struct slm_decoder *d, const json_t *object,
				const char *key);
/* Four hex digits. */
uint16_t slm_decode_fingerprint(struct slm_decoder *d, const json_t *object,
				const char *key);

/* "columns", "rows" and "count" of object; empty if it has no "columns". */
void slm_decode_rows(struct slm_decoder *d, const json_t *object,
		     struct slm_rows *rows);

/* ---- The lines of a trace (decode_lines.c) ---- */

void slm_decode_header(struct slm_decoder *d, const json_t *object,
		       struct slm_trace *trace);
void slm_decode_serial(struct slm_decoder *d, const json_t *object,
		       struct slm_trace_serial *serial);
void slm_decode_finding(struct slm_decoder *d, const json_t *object,
			struct slm_finding *finding);
void slm_decode_event(struct slm_decoder *d, const json_t *object,
		      struct slm_event *event);
/* "notes", of the last line. */
void slm_decode_notes(struct slm_decoder *d, const json_t *object,
		      struct slm_trace *trace);
void slm_decode_verdict(struct slm_decoder *d, const json_t *object,
			struct slm_trace *trace);

#endif
