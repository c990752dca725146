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
#include <sys/types.h>

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
	bool refuses;			   /* the error is a refusal */
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

/* What the call said, as the one row of a check that failed, in arena. False:
 * memory is out. */
struct slm_arena;
struct slm_check_failure;
bool slm_function_failure(const struct sqloom_call *call,
			  struct slm_arena *arena,
			  struct slm_check_failure *out);

/* ---- Points --------------------------------------------------------------- */

/* What sqloom_point() calls on this thread, or (slm_function_publish_points) on
 * any thread that has none of its own; NULL: nothing. Such a thread may come
 * late: hit must know by itself whether userdata is still there. */
typedef void (*slm_point_fn)(void *userdata, const char *name);
void slm_function_set_points(slm_point_fn hit, void *userdata);
void slm_function_publish_points(slm_point_fn hit, void *userdata);
/* Is the calling thread one of a call that is being explored? */
bool slm_function_is_explored(void);

/* A point as a step of its call. */
#define SLM_POINT_TEXT 200
void slm_function_point_text(const char *name, char text[SLM_POINT_TEXT]);

/* Is the thread asleep, and was it asleep, without a break, since it was asked
 * about last with the same *switches? Waiting for the disk is no sleep. */
bool slm_thread_is_quiet(pid_t tid, uint64_t *switches);
/* The same for a call's own thread: is nothing to be expected of the call? Not
 * while a thread of this process that is younger, but the calling one, wants to
 * run: it may be what the call waits for. */
bool slm_call_is_quiet(pid_t tid, uint64_t *switches);

#endif
