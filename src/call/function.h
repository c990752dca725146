/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call that is a function of the user's: the inside of struct sqloom_call,
 * which the function sees as an argument. Whoever makes a call (the concurrent
 * calls of src/kit, the threads of an exploration) zeroes one, sets the first
 * group, calls slm_function_begin(), the function, slm_function_end().
 */
#ifndef SLM_CALL_FUNCTION_H
#define SLM_CALL_FUNCTION_H

#include <sqloom/sqloom.h>

#include "base/buf.h"

struct sqloom_call {
	/* Set by the owner, borrowed */
	size_t number;
	const char *name;
	const char *database; /* NULL: nothing was said */

	/* What the function told */
	struct slm_buf value;
	bool too_large; /* more than SQLOOM_VALUE_MAX */
	bool has_error;
	char error[SQLOOM_CALL_ERROR_MAX]; /* one line */

	/* What it keeps from one run to the next */
	void *kept;
	void (*drop)(void *kept);
};

/* A new run: no value, no error. */
void slm_function_begin(struct sqloom_call *call);
/* Did it fail? returned: what the function gave. Sees to it that a call that
 * failed has a message. */
bool slm_function_end(struct sqloom_call *call, int returned);
/* Drops what is kept, on the thread of the call. */
void slm_function_drop(struct sqloom_call *call);
/* Frees the value. What is kept must have been dropped. */
void slm_function_deinit(struct sqloom_call *call);

#endif
