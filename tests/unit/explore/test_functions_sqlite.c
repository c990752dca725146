/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions of a program explored on SQLite: how many schedules there are of
 * programs whose schedules can be counted by hand, and how many of them go
 * wrong.
 */
#include "functions_help.h"

/* ---- The programs --------------------------------------------------------- */

/* SELECT and UPDATE by themselves. */
static int read_and_write(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);
	int balance = query(db, "SELECT bal FROM acct WHERE id = 1");

	(void)arg;
	return execute_int(db, "UPDATE acct SET bal = ? WHERE id = 1",
			   balance - 10);
}

static int give_up(struct sqloom_call *call, sqlite3 *db, const char *what)
{
	int rc = sqloom_call_fail(call, "%s: %s", what, sqlite3_errmsg(db));

	execute(db, "ROLLBACK");
	return rc;
}

/* The same in a transaction that begins as arg says. */
static int in_transaction(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);
	int balance;

	if (execute(db, arg))
		return sqloom_call_fail(call, "begin: %s", sqlite3_errmsg(db));
	balance = query(db, "SELECT bal FROM acct WHERE id = 1");
	if (execute_int(db, "UPDATE acct SET bal = ? WHERE id = 1",
			balance - 10))
		return give_up(call, db, "update");
	if (execute(db, "COMMIT"))
		return give_up(call, db, "commit");
	return 0;
}

static int with_timeout(struct sqloom_call *call, void *arg)
{
	sqlite3_busy_timeout(kept(call), 5000);
	return in_transaction(call, arg);
}

static int in_one_statement(struct sqloom_call *call, void *arg)
{
	(void)arg;
	return execute(kept(call),
		       "UPDATE acct SET bal = bal + 10 WHERE id = 1");
}

/* ---- Figures -------------------------------------------------------------- */

static void figures(size_t n, sqloom_fn fn, const char *begin, bool wal,
		    uint64_t runs, uint64_t wrong, enum sqloom_verdict verdict)
{
	struct sqloom_options options = usual();
	struct sqloom_report *report;
	struct many many;

	options.strict = true;
	same(&many, n, fn, (void *)begin, wal ? set_wal_up : set_account_up);
	report = explore_calls(&many.calls, &options);
	assert_figures(report, runs, wrong, verdict);
	sqloom_report_free(report);
}

static void two_reads_and_writes_lose_an_update_in_4_of_6(void **state)
{
	(void)state;
	figures(2, read_and_write, NULL, false, 6, 4, SQLOOM_BROKEN);
	figures(2, read_and_write, NULL, true, 6, 4, SQLOOM_BROKEN);
}

static void three_of_them_in_84_of_90(void **state)
{
	(void)state;
	figures(3, read_and_write, NULL, false, 90, 84, SQLOOM_BROKEN);
	figures(3, read_and_write, NULL, true, 90, 84, SQLOOM_BROKEN);
}

static void deferred_transactions_end_busy_in_60_of_70(void **state)
{
	(void)state;
	figures(2, with_timeout, "BEGIN", false, 70, 60, SQLOOM_BROKEN);
	figures(2, with_timeout, "BEGIN", true, 70, 60, SQLOOM_BROKEN);
}

static void immediate_transactions_hold_in_8(void **state)
{
	(void)state;
	figures(2, with_timeout, "BEGIN IMMEDIATE", false, 8, 0,
		SQLOOM_HOLDS);
	figures(2, with_timeout, "BEGIN IMMEDIATE", true, 8, 0, SQLOOM_HOLDS);
}

static void one_statement_holds(void **state)
{
	(void)state;
	figures(2, in_one_statement, NULL, false, 2, 0, SQLOOM_HOLDS);
	figures(2, in_one_statement, NULL, true, 2, 0, SQLOOM_HOLDS);
}


/* ---- Waits ------------------------------------------------------------------ */

static void close_both(void *place)
{
	sqlite3 **both = place;

	close_kept(both[0]);
	close_kept(both[1]);
	free(both);
}

static sqlite3 **two_connections(struct sqloom_call *call)
{
	void **place = sqloom_call_keep(call, close_both);
	sqlite3 **both = *place;

	if (both)
		return both;
	both = calloc(2, sizeof(*both));
	assert_non_null(both);
	both[0] = connect_to(call);
	both[1] = connect_to(call);
	*place = both;
	return both;
}

/* Reads on one connection, and in the middle of it writes on the other. */
static int read_and_write_apart(struct sqloom_call *call, void *arg)
{
	sqlite3 **both = two_connections(call);
	sqlite3_stmt *stmt = NULL;
	int rc;

	(void)arg;
	sqlite3_busy_timeout(both[1], 1000);
	assert_int_equal(sqlite3_prepare_v2(both[0], "SELECT bal FROM acct", -1,
					    &stmt, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	rc = execute(both[1], "BEGIN IMMEDIATE");
	if (rc)
		(void)sqloom_call_fail(call, "begin: %s",
				       sqlite3_errmsg(both[1]));
	else
		rc = execute(both[1], "ROLLBACK");
	sqlite3_finalize(stmt);
	return rc;
}

static uint32_t longest_wait(const struct sqloom_report *report, unsigned call)
{
	uint32_t longest = 0;

	for (uint32_t i = 0; i < report->trace.nfindings; i++) {
		const struct slm_finding *finding = &report->trace.findings[i];

		for (uint32_t j = 0; j < finding->nevents; j++)
			if (finding->events[j].call == call &&
			    finding->events[j].waited_ms > longest)
				longest = finding->events[j].waited_ms;
	}
	return longest;
}

/*
 * Alice's COMMIT waits for bob's reading to end, bob's BEGIN IMMEDIATE for her
 * COMMIT: until the patience of one of the two is over, in virtual time. If it
 * were real, the test would take minutes.
 */
static void each_waits_for_the_other_until_one_gives_up(void **state)
{
	struct sqloom_options options = usual();
	struct sqloom_report *report;
	struct many many;

	(void)state;
	options.strict = true;
	same(&many, 2, with_timeout, (void *)"BEGIN IMMEDIATE",
	     set_account_up);
	many.functions[1].fn = read_and_write_apart;
	report = explore_calls(&many.calls, &options);
	assert_int_equal(report->trace.verdict, SQLOOM_BROKEN);
	assert_int_equal(longest_wait(report, 0), 1000);
	assert_int_equal(longest_wait(report, 1), 1000);
	sqloom_report_free(report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		guarded(two_reads_and_writes_lose_an_update_in_4_of_6),
		guarded(three_of_them_in_84_of_90),
		guarded(deferred_transactions_end_busy_in_60_of_70),
		guarded(immediate_transactions_hold_in_8),
		guarded(one_statement_holds),
		guarded(each_waits_for_the_other_until_one_gives_up),
	};

	return cmocka_run_group_tests(tests, NULL, nothing_leaks);
}
