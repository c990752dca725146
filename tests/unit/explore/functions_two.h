/* SPDX-License-Identifier: Apache-2.0 */
/* Two calls of the same function, and one that pays from the account. Included
 * once per program. */
#ifndef SLM_TESTS_FUNCTIONS_TWO_H
#define SLM_TESTS_FUNCTIONS_TWO_H

#include "functions_help.h"

static const char get[] = "SELECT bal FROM acct WHERE id = 1";
UNUSED static const char set[] = "UPDATE acct SET bal = ? WHERE id = 1";

UNUSED static int pay(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);
	int balance = query(db, get);

	(void)arg;
	return execute_int(db, set, balance - 10);
}

UNUSED static struct sqloom_report *explore_two(sqloom_fn fn, void *arg,
						sqloom_fn setup)
{
	struct many many;

	same(&many, 2, fn, arg, setup);
	return explore_calls(&many.calls, NULL);
}

UNUSED static void two(sqloom_fn fn, sqloom_fn setup, uint64_t runs,
		       uint64_t wrong, enum sqloom_verdict verdict)
{
	struct sqloom_report *report = explore_two(fn, NULL, setup);

	assert_figures(report, runs, wrong, verdict);
	sqloom_report_free(report);
}

#endif
