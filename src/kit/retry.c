/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block again, when others stood in its way. What failed last, inside of the
 * block or at its end, decides.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "call/function.h"
#include "kit/database.h"

#define WAIT_FIRST_US 1000u
#define WAIT_MAX_US 100000u

unsigned slm_kit_retry_wait_us(struct slm_rng *rng, unsigned n)
{
	unsigned limit = WAIT_MAX_US;

	if (n <= 6)
		limit = WAIT_FIRST_US << n;
	return (unsigned)slm_rng_below(rng, limit) + 1;
}

/* In an exploration others get their turn anyway, and time costs runs. */
static void wait_us(unsigned us)
{
	struct timespec left = { .tv_nsec = (long)us * 1000 };

	if (slm_function_is_explored())
		return;
	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

static void tell_tries(struct sqloom_error *err, unsigned times)
{
	char message[sizeof(err->message)];
	struct sqloom_error last = *err;

	memcpy(message, err->message, sizeof(message));
	slm_error_set(err, last.status, "tried %u time%s in vain; the last: %s",
		      times, times == 1 ? "" : "s", message);
	memcpy(err->sqlstate, last.sqlstate, sizeof(err->sqlstate));
}

static enum sqloom_status retry(struct sqloom_db *db,
				const struct sqloom_atomic_options *options,
				unsigned times, uint64_t seed,
				sqloom_block_fn fn, void *arg,
				struct sqloom_error *err)
{
	struct slm_rng rng;
	enum sqloom_status status;
	bool committed;

	slm_rng_init(&rng, seed);
	for (unsigned n = 1;; n++) {
		db->failure.set = false;
		status = slm_kit_block_call(db, options, fn, arg, &committed,
					    err);
		if (!status || committed || status == SQLOOM_USAGE ||
		    !db->failure.set || !db->failure.retryable)
			return status;
		if (n == times)
			break;
		wait_us(slm_kit_retry_wait_us(&rng, n));
	}
	if (err)
		tell_tries(err, times);
	return status;
}

static enum sqloom_status refuse(struct sqloom_db *db, unsigned times,
				 sqloom_block_fn fn, struct sqloom_error *err)
{
	if (!fn)
		return slm_error_set(err, SQLOOM_USAGE,
				     "the function to retry is NULL");
	if (!times)
		return slm_error_set(err, SQLOOM_USAGE,
				     "a function that is tried 0 times is "
				     "never called: give at least 1");
	if (db->depth)
		return slm_error_set(err, SQLOOM_USAGE,
				     "a part of a transaction cannot be "
				     "retried: call sqloom_retry() outside of "
				     "blocks (depth %u here)",
				     db->depth);
	if (!db->innermost && (db->sqlite || db->pg) &&
	    db->driver->state(db) == SLM_KIT_OPEN)
		return slm_error_set(err, SQLOOM_USAGE,
				     "a part of a transaction cannot be "
				     "retried, and one was begun on the handle "
				     "itself: end it first");
	return SQLOOM_OK;
}

enum sqloom_status sqloom_retry(struct sqloom_db *db,
				const struct sqloom_atomic_options *options,
				unsigned times, uint64_t seed,
				sqloom_block_fn fn, void *arg,
				struct sqloom_error *err)
{
	enum sqloom_status status = slm_kit_enter(db, err);

	if (status)
		return status;
	status = refuse(db, times, fn, err);
	if (!status)
		status = retry(db, options, times, seed, fn, arg, err);
	slm_kit_leave(db);
	return status;
}
