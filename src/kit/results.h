/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What became of concurrent calls, filled in by whoever ran them (threads.c,
 * processes.c). A call of which nothing is told is SQLOOM_LOST.
 *
 * Memory that is out is remembered, and told at the end by
 * slm_results_finish(): so a batch can always be received to its end.
 */
#ifndef SLM_KIT_RESULTS_H
#define SLM_KIT_RESULTS_H

#include <sqloom/sqloom.h>

#include "base/buf.h"

/* How one call ended. */
struct slm_ended {
	enum sqloom_ending ending;
	int status;
	const char *error;	/* copied; NULL: it succeeded */
	struct slm_buf *value;	/* emptied; NULL: nothing */
	struct slm_buf *output; /* the same */
};

/* The name of a call, "call 1" if it has none; text holds it then. */
#define SLM_CALL_NAME_MAX 32
const char *slm_call_name(const struct sqloom_function *call, size_t index,
			  char text[SLM_CALL_NAME_MAX]);

/* NULL: memory is out. */
struct sqloom_results *slm_results_new(const struct sqloom_function *calls,
				       size_t ncalls);
void slm_results_set(struct sqloom_results *results, size_t index,
		     const struct slm_ended *ended);
/* All is told: makes the message. SQLOOM_NOMEM: something is missing. */
enum sqloom_status slm_results_finish(struct sqloom_results *results,
				      struct sqloom_error *err);
/* The message on one line of less than size bytes; what does not fit is
 * counted: "..., and 2 more". */
void slm_results_line(const struct sqloom_results *results, char *line,
		      size_t size);

#endif
