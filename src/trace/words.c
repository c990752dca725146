/* SPDX-License-Identifier: Apache-2.0 */
/* The words of the trace format. */
#include "trace/words.h"

#include <string.h>

const char *const slm_class_words[SLM_CLASSES] = {
	[SLM_CLASS_CHECK] = "check",   [SLM_CLASS_CONTENTS] = "contents",
	[SLM_CLASS_RESULT] = "result", [SLM_CLASS_ERROR] = "error",
	[SLM_CLASS_RETRY] = "retry",   [SLM_CLASS_BENIGN] = "benign",
	[SLM_CLASS_SERIAL] = "serial",
};

const char *const slm_error_words[SLM_ERROR_WORDS] = {
	[SLM_ERROR_NONE] = "none",	   [SLM_ERROR_RETRY] = "retry",
	[SLM_ERROR_DEADLOCK] = "deadlock", [SLM_ERROR_INTEGRITY] = "integrity",
	[SLM_ERROR_OTHER] = "other",	   [SLM_ERROR_REFUSED] = "refused",
};

const char *const slm_event_words[SLM_EVENT_WORDS] = {
	[SLM_EVENT_STEP] = "step",	 [SLM_EVENT_BLOCKED] = "blocked",
	[SLM_EVENT_RESUMED] = "resumed", [SLM_EVENT_SKIPPED] = "skipped",
	[SLM_EVENT_END] = "end",	 [SLM_EVENT_STALLED] = "stalled",
};

const char *const slm_verdict_words[SQLOOM_INCONCLUSIVE + 1] = {
	[SQLOOM_HOLDS] = "holds",
	[SQLOOM_BROKEN] = "broken",
	[SQLOOM_INCONCLUSIVE] = "inconclusive",
};

const char *const slm_trace_kind_words[SLM_TRACE_KIND_WORDS] = {
	[SLM_TRACE_EXPLORE] = "explore",
	[SLM_TRACE_REPLAY] = "replay",
	[SLM_TRACE_RECORD] = "record",
};

const char *const slm_call_words[SLM_CALL_WORDS] = {
	[SLM_TRACE_SESSION] = "session",   [SLM_TRACE_EXEC] = "exec",
	[SLM_TRACE_HTTP] = "http",	   [SLM_TRACE_CLIENT] = "client",
	[SLM_TRACE_FUNCTION] = "function",
};

int slm_words_find(const char *const *words, unsigned nwords, const char *word)
{
	for (unsigned i = 0; i < nwords; i++)
		if (strcmp(words[i], word) == 0)
			return (int)i;
	return -1;
}
