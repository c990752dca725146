/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions of a program explored on SQLite: how many schedules there are of
 * programs whose schedules can be counted by hand, and how many of them go
 * wrong; waits, points, values, checks; that all of it is the same every time.
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
	figures(2, with_timeout, "BEGIN IMMEDIATE", false, 8, 0, SQLOOM_HOLDS);
	figures(2, with_timeout, "BEGIN IMMEDIATE", true, 8, 0, SQLOOM_HOLDS);
}

static void one_statement_holds(void **state)
{
	(void)state;
	figures(2, in_one_statement, NULL, false, 2, 0, SQLOOM_HOLDS);
	figures(2, in_one_statement, NULL, true, 2, 0, SQLOOM_HOLDS);
}

/* ---- Without statements ----------------------------------------------------- */

static int set_blob_up(struct sqloom_call *call, void *arg)
{
	(void)arg;
	return run_script(
		call, "CREATE TABLE doc (id INTEGER PRIMARY KEY, body BLOB);"
		      "INSERT INTO doc VALUES (1, zeroblob(100000))");
}

/* Counts in a byte of the blob. */
static int count_in_a_blob(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);
	sqlite3_blob *blob = NULL;
	unsigned char byte = 0;
	int rc;

	(void)arg;
	rc = sqlite3_blob_open(db, "main", "doc", "body", 1, 0, &blob);
	if (!rc)
		rc = sqlite3_blob_read(blob, &byte, 1, 70000);
	sqlite3_blob_close(blob);
	blob = NULL;
	byte++;
	if (!rc)
		rc = sqlite3_blob_open(db, "main", "doc", "body", 1, 1, &blob);
	if (!rc)
		rc = sqlite3_blob_write(blob, &byte, 1, 70000);
	sqlite3_blob_close(blob);
	return rc;
}

/* Holds the write lock while it reads, and waits for it. */
static int count_in_a_locked_blob(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);
	sqlite3_blob *blob = NULL;
	unsigned char byte = 0;
	int rc;

	(void)arg;
	sqlite3_busy_timeout(db, 1000);
	rc = sqlite3_blob_open(db, "main", "doc", "body", 1, 1, &blob);
	if (!rc)
		rc = sqlite3_blob_read(blob, &byte, 1, 70000);
	sqloom_point("read");
	byte++;
	if (!rc)
		rc = sqlite3_blob_write(blob, &byte, 1, 70000);
	sqlite3_blob_close(blob);
	return rc;
}

static void blobs_are_seen(void **state)
{
	struct sqloom_options options = usual();
	struct sqloom_report *report;
	struct many many;

	(void)state;
	options.strict = true;
	same(&many, 2, count_in_a_blob, NULL, set_blob_up);
	report = explore_calls(&many.calls, &options);
	assert_figures(report, 6, 4, SQLOOM_BROKEN);
	sqloom_report_free(report);
	same(&many, 2, count_in_a_locked_blob, NULL, set_blob_up);
	report = explore_calls(&many.calls, &options);
	assert_int_equal(report->trace.verdict, SQLOOM_HOLDS);
	sqloom_report_free(report);
}

/* Puts a database with another balance in the place of this one. */
static int count_in_a_copy(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call), *copy = NULL;
	int balance = query(db, "SELECT bal FROM acct");
	sqlite3_backup *backup;
	int rc = sqlite3_open(":memory:", &copy);

	(void)arg;
	if (!rc)
		rc = execute(copy, account);
	if (!rc)
		rc = execute_int(copy, "UPDATE acct SET bal = ?", balance + 1);
	if (!rc) {
		backup = sqlite3_backup_init(db, "main", copy, "main");
		assert_non_null(backup);
		sqlite3_backup_step(backup, -1);
		rc = sqlite3_backup_finish(backup);
	}
	sqlite3_close(copy);
	return rc;
}

static void backups_are_seen(void **state)
{
	struct sqloom_report *report;
	struct many many;

	(void)state;
	same(&many, 2, count_in_a_copy, NULL, set_account_up);
	report = explore_calls(&many.calls, NULL);
	assert_figures(report, 6, 4, SQLOOM_BROKEN);
	sqloom_report_free(report);
}

/* ---- Functions and collations of the program's own ----------------------- */

static void twice(sqlite3_context *context, int n, sqlite3_value **values)
{
	(void)n;
	sqlite3_result_int(context, 2 * sqlite3_value_int(values[0]));
}

static int backwards(void *userdata, int first_size, const void *first,
		     int second_size, const void *second)
{
	int least = first_size < second_size ? first_size : second_size;
	int order = memcmp(second, first, (size_t)least);

	(void)userdata;
	return order ? order : second_size - first_size;
}

static void add_our_own(sqlite3 *db)
{
	sqlite3_create_function(db, "twice", 1,
				SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, twice,
				NULL, NULL);
	sqlite3_create_collation(db, "backwards", SQLITE_UTF8, NULL, backwards);
}

static int set_our_own_up(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);

	(void)arg;
	add_our_own(db);
	return execute(db, "CREATE TABLE acct (id TEXT COLLATE backwards "
			   "PRIMARY KEY, dear AS (twice(bal)), bal INTEGER) "
			   "WITHOUT ROWID;"
			   "INSERT INTO acct VALUES ('1', 100), ('2', 100)");
}

static int read_and_write_our_own(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);
	int dear;

	(void)arg;
	add_our_own(db);
	dear = query(db, "SELECT dear FROM acct WHERE id = '1'");
	return execute_int(db, "UPDATE acct SET bal = ? WHERE id = '1'",
			   dear / 2 - 10);
}

static void our_own_need_not_be_known(void **state)
{
	static const char *const queries[] = {
		"SELECT id FROM acct WHERE id > '1'", NULL
	};
	struct sqloom_report *report;
	struct sqloom_error err;
	struct many many;

	(void)state;
	same(&many, 2, read_and_write_our_own, NULL, set_our_own_up);
	report = explore_calls(&many.calls, NULL);
	assert_figures(report, 6, 4, SQLOOM_BROKEN);
	sqloom_report_free(report);
	/* A check that goes by the collation would be answered wrong. */
	many.calls.queries = queries;
	assert_int_equal(fails(&many.calls, NULL, &err), SQLOOM_SPEC);
	assert_non_null(strstr(err.message, "collation"));
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
	same(&many, 2, with_timeout, (void *)"BEGIN IMMEDIATE", set_account_up);
	many.functions[1].fn = read_and_write_apart;
	report = explore_calls(&many.calls, &options);
	assert_int_equal(report->trace.verdict, SQLOOM_BROKEN);
	assert_int_equal(longest_wait(report, 0), 1000);
	assert_int_equal(longest_wait(report, 1), 1000);
	sqloom_report_free(report);
}

/* ---- The same every time --------------------------------------------------- */

static char *trace_of(const struct sqloom_report *report)
{
	struct sqloom_error err;
	char *text = NULL;

	if (slm_trace_format(&report->trace, &text, NULL, &err))
		fail_msg("%s", err.message);
	return text;
}

static void assert_same_trace(const struct sqloom_calls *calls,
			      const struct sqloom_options *options)
{
	struct sqloom_report *one = explore_calls(calls, options);
	struct sqloom_report *two = explore_calls(calls, options);
	char *first = trace_of(one), *second = trace_of(two);

	assert_string_equal(first, second);
	slm_free(first);
	slm_free(second);
	sqloom_report_free(one);
	sqloom_report_free(two);
}

static void two_explorations_write_the_same_trace(void **state)
{
	struct sqloom_options options = usual();
	struct many many;

	(void)state;
	options.strict = true;
	same(&many, 2, with_timeout, (void *)"BEGIN", set_account_up);
	assert_same_trace(&many.calls, &options);
	same(&many, 3, read_and_write, NULL, set_wal_up);
	options.strategy = SQLOOM_STRATEGY_PCT;
	options.seed = 42;
	options.max_runs = 40;
	assert_same_trace(&many.calls, &options);
}

/* What a finding is told by, apart from how it was found. */
static void assert_same_outcome(const struct slm_finding *one,
				const struct slm_finding *two)
{
	assert_int_equal(one->class, two->class);
	assert_string_equal(one->token, two->token);
	assert_int_equal(one->nevents, two->nevents);
	assert_int_equal(one->outcome.failed, two->outcome.failed);
	assert_int_equal(one->ndifferences, two->ndifferences);
	for (uint32_t i = 0; i < one->ndifferences; i++) {
		const struct slm_difference *a = &one->differences[i];
		const struct slm_difference *b = &two->differences[i];

		assert_string_equal(a->where, b->where);
		assert_string_equal(a->actual ? a->actual : "",
				    b->actual ? b->actual : "");
	}
}

static void every_finding_replays_20_times(void **state)
{
	struct sqloom_options options = usual();
	struct sqloom_report *report;
	struct many many;

	(void)state;
	options.strict = true;
	same(&many, 3, read_and_write, NULL, set_account_up);
	many.functions[2].fn = with_timeout;
	many.functions[2].arg = (void *)"BEGIN";
	report = explore_calls(&many.calls, &options);
	assert_true(report->trace.nfindings > 2);
	for (uint32_t i = 0; i < report->trace.nfindings; i++)
		for (int n = 0; n < 20; n++) {
			const struct slm_finding *finding =
				&report->trace.findings[i];
			struct sqloom_report *again = replay_calls(
				&many.calls, finding->token, &options);

			assert_int_equal(again->trace.verdict, SQLOOM_BROKEN);
			assert_false(again->trace.divergence.diverged);
			assert_same_outcome(finding, again->trace.findings);
			sqloom_report_free(again);
		}
	sqloom_report_free(report);
}

/* Says how much of the account there is first. */
static int look_read_and_write(struct sqloom_call *call, void *arg)
{
	(void)query(kept(call), "SELECT count(*) FROM acct");
	return read_and_write(call, arg);
}

static void a_changed_function_diverges(void **state)
{
	struct sqloom_report *report, *again;
	struct many many;

	(void)state;
	same(&many, 2, read_and_write, NULL, set_account_up);
	report = explore_calls(&many.calls, NULL);
	assert_int_equal(report->trace.nfindings, 1);
	many.functions[1].fn = look_read_and_write;
	again = replay_calls(&many.calls, report->trace.findings[0].token,
			     NULL);
	assert_int_equal(again->trace.verdict, SQLOOM_INCONCLUSIVE);
	assert_true(again->trace.divergence.diverged);
	/* In the schedule baab, bob's first step is another. */
	assert_int_equal(again->trace.divergence.at, 1);
	assert_string_equal(again->trace.divergence.now,
			    "SELECT count(*) FROM acct");
	sqloom_report_free(again);
	sqloom_report_free(report);
}

/* ---- Points ------------------------------------------------------------------ */

static int with_points(struct sqloom_call *call, void *arg)
{
	int rc;

	sqloom_point("before");
	rc = read_and_write(call, arg);
	sqloom_point("behind");
	return rc;
}

static int count_to_two(struct sqloom_call *call, void *arg)
{
	int *count = arg, seen;

	(void)query(kept(call), "SELECT 1 FROM acct");
	seen = *count;
	sqloom_point("between");
	*count = seen + 1;
	sqloom_call_printf(call, "%d", seen);
	return 0;
}

static void points_are_places_where_others_come_in(void **state)
{
	struct sqloom_report *report;
	struct many many;
	char *text;

	(void)state;
	/* Of 70 orders of 4 and 4, 2 x 17 have one's UPDATE before the
	 * other's SELECT. */
	same(&many, 2, with_points, NULL, set_account_up);
	report = explore_calls(&many.calls, NULL);
	assert_figures(report, 70, 36, SQLOOM_BROKEN);
	text = trace_of(report);
	assert_non_null(strstr(text, "-- point: before"));
	slm_free(text);
	sqloom_report_free(report);
}

static int reset_count(struct sqloom_call *call, void *arg)
{
	(void)call;
	*(int *)arg = 0;
	return 0;
}

/* A race in memory: only a point lets the other one in there. */
static void a_point_finds_a_race_in_memory(void **state)
{
	struct sqloom_report *report;
	struct many many;
	int count = 0;

	(void)state;
	same(&many, 2, count_to_two, &count, set_account_up);
	many.calls.check = reset_count;
	many.calls.arg = &count;
	/* The setup gets the same arg, and does not look at it. */
	report = explore_calls(&many.calls, NULL);
	assert_figures(report, 6, 4, SQLOOM_BROKEN);
	assert_int_equal(report->trace.findings[0].class, SLM_CLASS_RESULT);
	sqloom_report_free(report);
}

static void points_elsewhere_do_nothing(void **state)
{
	(void)state;
	sqloom_point("nowhere");
	sqloom_point(NULL);
}

/* ---- Values and messages ------------------------------------------------------- */

static int give_balance(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);
	int balance = query(db, "SELECT bal FROM acct WHERE id = 1");

	(void)arg;
	if (execute_int(db, "UPDATE acct SET bal = ? WHERE id = 1",
			balance - 10))
		return -1;
	return sqloom_call_printf(call, "{\"who\": \"%s\", \"found\": %d}",
				  sqloom_call_name(call), balance) ?
		       0 :
		       -1;
}

static bool differs_in(const struct slm_finding *finding, const char *where,
		       const char *actual)
{
	for (uint32_t i = 0; i < finding->ndifferences; i++)
		if (strstr(finding->differences[i].where, where) &&
		    finding->differences[i].actual &&
		    strstr(finding->differences[i].actual, actual))
			return true;
	return false;
}

static void values_are_compared(void **state)
{
	struct sqloom_report *report;
	struct many many;

	(void)state;
	same(&many, 2, give_balance, NULL, set_account_up);
	report = explore_calls(&many.calls, NULL);
	assert_figures(report, 6, 4, SQLOOM_BROKEN);
	/* Both found 100: that is told of the field of the JSON value. */
	if (!differs_in(report->trace.findings, "$.found", "100")) {
		show(report);
		fail_msg("the value is not told");
	}
	sqloom_report_free(report);
}

static int write_too_much(struct sqloom_call *call, void *arg)
{
	static char block[SQLOOM_VALUE_MAX / 4];

	for (int i = 0; i < 4; i++)
		assert_true(sqloom_call_write(call, block, sizeof(block)));
	assert_false(sqloom_call_write(call, "x", 1));
	return in_one_statement(call, arg);
}

static void too_large_a_value_fails_the_call(void **state)
{
	struct sqloom_report *report;
	struct many many;

	(void)state;
	same(&many, 2, in_one_statement, NULL, set_account_up);
	many.functions[0].fn = write_too_much;
	report = explore_calls(&many.calls, NULL);
	assert_int_equal(report->trace.wrong, 0);
	assert_true(has_note(report, "alice fails in every serial run: failed: "
				     "it wrote more than 16777216 bytes"));
	sqloom_report_free(report);
}

static int refuse(struct sqloom_call *call, void *arg)
{
	(void)query(kept(call), "SELECT bal FROM acct WHERE id = 1");
	return sqloom_call_fail(call, "%s", (const char *)arg);
}

static void a_call_that_always_fails_is_noted(void **state)
{
	struct sqloom_report *report;
	struct many many;

	(void)state;
	same(&many, 2, refuse, (void *)"no\nmoney", set_account_up);
	report = explore_calls(&many.calls, NULL);
	assert_int_equal(report->trace.wrong, 0);
	assert_true(has_note(report, "alice fails in every serial run: failed: "
				     "no money"));
	sqloom_report_free(report);
}

/* ---- Checks ------------------------------------------------------------------- */

struct checking {
	pthread_t thread;
	unsigned asked, setups, progressed;
	int least;
	unsigned stop_after;
};

static int check_balance(struct sqloom_call *call, void *arg)
{
	struct checking *checking = arg;
	sqlite3 *db = connect_to(call);
	int balance = query(db, "SELECT bal FROM acct WHERE id = 1");

	sqlite3_close(db);
	assert_true(pthread_equal(pthread_self(), checking->thread));
	assert_string_equal(sqloom_call_name(call), "check");
	checking->asked++;
	return balance >= checking->least ?
		       0 :
		       sqloom_call_fail(call, "%d is left", balance);
}

static int set_up_here(struct sqloom_call *call, void *arg)
{
	struct checking *checking = arg;

	assert_true(pthread_equal(pthread_self(), checking->thread));
	assert_string_equal(sqloom_call_name(call), "setup");
	checking->setups++;
	return set_account_up(call, NULL);
}

static bool watch(const struct sqloom_progress *progress, void *userdata)
{
	struct checking *checking = userdata;

	assert_true(pthread_equal(pthread_self(), checking->thread));
	checking->progressed++;
	return !checking->stop_after || progress->runs < checking->stop_after;
}

static struct sqloom_report *explore_checked(struct checking *checking,
					     sqloom_fn fn, const char *begin)
{
	struct sqloom_options options = usual();
	struct many many;

	checking->thread = pthread_self();
	options.progress = watch;
	options.userdata = checking;
	same(&many, 2, fn, (void *)begin, set_up_here);
	many.calls.check = check_balance;
	many.calls.arg = checking;
	return explore_calls(&many.calls, &options);
}

static void a_check_is_asked_after_every_run_here(void **state)
{
	struct checking checking = { .least = 80 };
	struct sqloom_report *report =
		explore_checked(&checking, read_and_write, NULL);

	(void)state;
	/* It passes, and the contents are wrong all the same. */
	assert_figures(report, 6, 4, SQLOOM_BROKEN);
	assert_int_equal(report->trace.findings[0].class, SLM_CLASS_CONTENTS);
	assert_int_equal(checking.setups, 1);
	assert_true(checking.asked >= 6 + 4);
	sqloom_report_free(report);
}

static int keep_half(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);

	(void)arg;
	if (query(db, "SELECT bal FROM acct WHERE id = 1") < 60)
		return 0;
	return execute(db, "UPDATE acct SET bal = bal - 50 WHERE id = 1");
}

static void a_check_that_fails_in_some_schedules_is_a_finding(void **state)
{
	struct checking checking = { .least = 50 };
	struct sqloom_report *report =
		explore_checked(&checking, keep_half, NULL);
	const struct slm_finding *finding = report->trace.findings;

	(void)state;
	assert_figures(report, 6, 4, SQLOOM_BROKEN);
	assert_int_equal(finding->class, SLM_CLASS_CHECK);
	assert_string_equal(finding->check, "check");
	assert_int_equal(finding->check_rows.nrows, 1);
	assert_string_equal(finding->check_rows.values[0].text, "0 is left");
	sqloom_report_free(report);
}

static void a_check_that_always_fails_is_noted(void **state)
{
	struct checking checking = { .least = 1000 };
	struct sqloom_report *report =
		explore_checked(&checking, in_one_statement, NULL);

	(void)state;
	assert_figures(report, 2, 2, SQLOOM_BROKEN);
	assert_true(
		has_note(report, "check \"check\" fails in the serial run"));
	sqloom_report_free(report);
}

static void queries_are_checks(void **state)
{
	static const char *const queries[] = {
		"SELECT id, bal FROM acct WHERE bal < 0",
		"SELECT bal AS too_much FROM acct WHERE bal > 80", NULL
	};
	struct sqloom_report *report;
	struct many many;

	(void)state;
	same(&many, 2, read_and_write, NULL, set_account_up);
	many.calls.queries = queries;
	report = explore_calls(&many.calls, NULL);
	assert_figures(report, 6, 4, SQLOOM_BROKEN);
	assert_int_equal(report->trace.findings[0].class, SLM_CLASS_CHECK);
	assert_string_equal(report->trace.findings[0].check, "check 2");
	sqloom_report_free(report);
}

/* ---- Ends before the end --------------------------------------------------------- */

static void progress_can_stop(void **state)
{
	struct checking checking = { .stop_after = 1,
				     .thread = pthread_self() };
	struct sqloom_options options = usual();
	struct sqloom_report *report;
	struct many many;

	(void)state;
	options.progress = watch;
	options.userdata = &checking;
	same(&many, 8, in_one_statement, NULL, set_account_up);
	report = explore_calls(&many.calls, &options);
	assert_int_equal(report->trace.verdict, SQLOOM_INCONCLUSIVE);
	assert_true(checking.progressed > 0);
	assert_true(report->trace.explored < 40320);
	/* Between two runs, or in one, if a call is slow. */
	assert_ptr_equal(strstr(report->trace.reason, "stopped "),
			 report->trace.reason);
	sqloom_report_free(report);
}

static void a_budget_ends_it(void **state)
{
	struct sqloom_options options = usual();
	struct sqloom_report *report;
	struct many many;

	(void)state;
	options.max_runs = 5;
	options.strategy = SQLOOM_STRATEGY_EXHAUSTIVE;
	same(&many, 4, in_one_statement, NULL, set_account_up);
	report = explore_calls(&many.calls, &options);
	assert_figures(report, 5, 0, SQLOOM_INCONCLUSIVE);
	sqloom_report_free(report);
	options.max_runs = 0;
	options.max_time_ms = 1;
	same(&many, 8, in_one_statement, NULL, set_account_up);
	report = explore_calls(&many.calls, &options);
	assert_int_equal(report->trace.verdict, SQLOOM_INCONCLUSIVE);
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
		guarded(blobs_are_seen),
		guarded(backups_are_seen),
		guarded(our_own_need_not_be_known),
		guarded(each_waits_for_the_other_until_one_gives_up),
		guarded(two_explorations_write_the_same_trace),
		guarded(every_finding_replays_20_times),
		guarded(a_changed_function_diverges),
		guarded(points_are_places_where_others_come_in),
		guarded(a_point_finds_a_race_in_memory),
		guarded(points_elsewhere_do_nothing),
		guarded(values_are_compared),
		guarded(too_large_a_value_fails_the_call),
		guarded(a_call_that_always_fails_is_noted),
		guarded(a_check_is_asked_after_every_run_here),
		guarded(a_check_that_fails_in_some_schedules_is_a_finding),
		guarded(a_check_that_always_fails_is_noted),
		guarded(queries_are_checks),
		guarded(progress_can_stop),
		guarded(a_budget_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, nothing_leaks);
}
