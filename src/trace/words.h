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
extern const char *const slm_error_words[SLM_ERROR_OTHER + 1];
extern const char *const slm_event_words[SLM_EVENT_END + 1];
extern const char *const slm_verdict_words[SQLOOM_INCONCLUSIVE + 1];
extern const char *const slm_trace_kind_words[SLM_TRACE_REPLAY + 1];

/* The index of word among the nwords words, or -1. */
int slm_words_find(const char *const *words, unsigned nwords, const char *word);

#endif
