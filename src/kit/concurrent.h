/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the concurrent calls (concurrent.c), which checks what it is given,
 * and the two ways to run them. Both fill in results, of which a call that
 * could not be started is one; a status other than SQLOOM_OK means that there
 * are none.
 */
#ifndef SLM_KIT_CONCURRENT_H
#define SLM_KIT_CONCURRENT_H

#include <sqloom/sqloom.h>

#include "kit/results.h"

/* The calls of one batch, checked: 1 to SQLOOM_CALLS_MAX, each with a
 * function. All borrowed. */
struct slm_batch {
	const struct sqloom_function *calls;
	size_t ncalls;
	uint64_t timeout_ms;  /* 0: none */
	const char *database; /* NULL: nothing was said */
};

/* threads.c. SQLOOM_NOMEM. */
enum sqloom_status slm_threads_run(const struct slm_batch *batch,
				   struct sqloom_results *results,
				   struct sqloom_error *err);

/* processes.c. SQLOOM_USAGE (not this process's helper, a function that it
 * does not have), SQLOOM_IO (the helper has ended), SQLOOM_NOMEM. */
enum sqloom_status slm_processes_run(struct sqloom_processes *processes,
				     const struct slm_batch *batch,
				     struct sqloom_results *results,
				     struct sqloom_error *err);

#endif
