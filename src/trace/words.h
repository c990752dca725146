/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words that stand for enums in traces and in JSON reports. They are part
 * of the format (docs/trace-format.md): never change one, only add.
 */
#ifndef SLM_TRACE_WORDS_H
#define SLM_TRACE_WORDS_H

#include "trace/trace.h"

#define SLM_TRACE_VERSION 1 /* of the format, in the header line */

/* Each array is indexed by its enum. */
extern const char *const slm_class_words[SLM_CLASSES];
#define SLM_ERROR_WORDS (SLM_ERROR_REFUSED + 1)
extern const char *const slm_error_words[SLM_ERROR_WORDS];
#define SLM_EVENT_WORDS (SLM_EVENT_STALLED + 1)
extern const char *const slm_event_words[SLM_EVENT_WORDS];
extern const char *const slm_verdict_words[SQLOOM_INCONCLUSIVE + 1];
#define SLM_TRACE_KIND_WORDS (SLM_TRACE_RECORD + 1)
extern const char *const slm_trace_kind_words[SLM_TRACE_KIND_WORDS];
#define SLM_CALL_WORDS (SLM_TRACE_FUNCTION + 1)
extern const char *const slm_call_words[SLM_CALL_WORDS];

/* The index of word among the nwords words, or -1. */
int slm_words_find(const char *const *words, unsigned nwords, const char *word);

#endif
