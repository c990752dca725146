/* SPDX-License-Identifier: Apache-2.0 */
/* Explorations as a whole: verdicts, counts, findings, budgets. */
#include "explore_help.h"

#define T                                                             \
	"setup { CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER);" \
	" INSERT INTO t VALUES (1, 10), (2, 20) }\n"

static void a_lost_update_is_found(void **state)
{
	struct sqloom_report *report = explore(lost_update, NULL);
	const struct slm_trace *trace = &report->trace;

	(void)state;
	assert_int_equal(trace->verdict, SQLOOM_BROKEN);
	assert_int_equal(trace->explored, 6);
	assert_int_equal(trace->wrong, 4);
	assert_true(trace->complete);
	assert_string_equal(trace->reason, "");
	assert_int_equal(trace->by_class[SLM_CLASS_CONTENTS], 4);
	assert_int_equal(trace->by_class[SLM_CLASS_SERIAL], 2);
	assert_int_equal(trace->nserials, 2);
	assert_string_equal(trace->serials[0].order, "ab");
	assert_string_equal(trace->serials[1].order, "ba");
	/* v = 11 and v = 12: two outcomes, two schedules each. */
	assert_int_equal(trace->nfindings, 2);
	assert_int_equal(trace->findings[0].count + trace->findings[1].count,
			 4);
	assert_int_equal(trace->findings[0].switches, 1);
	assert_non_null(strstr(trace->findings[0].name, "lost update"));
	sqloom_report_free(report);
}

static void an_atomic_update_holds(void **state)
{
	struct sqloom_report *report = explore(fixed_update, NULL);

	(void)state;
	assert_int_equal(report->trace.verdict, SQLOOM_HOLDS);
	assert_int_equal(report->trace.explored, 2);
	assert_true(report->trace.complete);
	assert_int_equal(report->trace.nfindings, 0);
	sqloom_report_free(report);
}

/* 2, 6, 24 serial orders of 2, 3, 4 calls; above, 24 different ones. */
static void serial_orders_are_all_or_a_sample(void **state)
{
	static const unsigned expected[] = { 1, 2, 6, 24, 24, 24 };

	(void)state;
	for (unsigned n = 1; n <= 6; n++) {
		struct sqloom_options options = usual();
		struct sqloom_report *report;
		char text[1000] = T;
		char forward[8] = "", backward[8] = "";

		options.max_runs = 4;
		for (unsigned i = 0; i < n; i++) {
			size_t used = strlen(text);

			snprintf(text + used, sizeof(text) - used,
				 "session s%u\nstep s%u { UPDATE t SET v = v "
				 "+ 1 WHERE id = 1 }\n",
				 i, i);
			forward[i] = (char)('a' + i);
			backward[i] = (char)('a' + n - 1 - i);
		}
		report = explore(text, &options);
		assert_int_equal(report->trace.nserials, expected[n - 1]);
		assert_string_equal(report->trace.serials[0].order, forward);
		if (n > 4)
			assert_string_equal(report->trace.serials[1].order,
					    backward);
		for (uint32_t i = 0; i < report->trace.nserials; i++)
			for (uint32_t j = 0; j < i; j++)
				assert_string_not_equal(
					report->trace.serials[i].order,
					report->trace.serials[j].order);
		sqloom_report_free(report);
	}
}

static void findings_come_worst_first(void **state)
{
	struct sqloom_report *report =
		explore(T "session a\n"
			  "step a1 { SELECT v FROM t WHERE id = 1 }\n"
			  "step a2 { UPDATE t SET v = :v + 1 WHERE id = 1 }\n"
			  "session b\n"
			  "step b1 { SELECT v FROM t WHERE id = 1 }\n"
			  "step b2 { UPDATE t SET v = :v + 1 WHERE id = 1 }\n"
			  "step b3 { BEGIN; SELECT v FROM t WHERE id = 2 }\n"
			  "step b4 { UPDATE t SET v = 0 WHERE id = 2 }\n"
			  "step b5 { COMMIT }\n"
			  "session c\n"
			  "step c1 { UPDATE t SET v = v + 1 WHERE id = 2 }\n",
			NULL);
	const struct slm_trace *trace = &report->trace;
	uint64_t told = 0, wrong = 0, all = 0;

	(void)state;
	assert_true(trace->nfindings > 1);
	for (uint32_t i = 0; i < trace->nfindings; i++) {
		const struct slm_finding *f = &trace->findings[i];

		told += f->count;
		if (!i)
			continue;
		assert_true(f[-1].class < f->class ||
			    (f[-1].class == f->class &&
			     f[-1].switches <= f->switches));
	}
	for (unsigned i = 0; i < SLM_CLASSES; i++) {
		all += trace->by_class[i];
		if (i <= SLM_CLASS_ERROR)
			wrong += trace->by_class[i];
	}
	assert_int_equal(all, trace->explored);
	assert_int_equal(wrong, trace->wrong);
	assert_int_equal(told, wrong + trace->by_class[SLM_CLASS_RETRY]);
	sqloom_report_free(report);
}

/* c is not needed, and one switch is enough. */
static void a_finding_is_shrunk(void **state)
{
	static const char text[] = T
		"session a\n"
		"step a1 { SELECT v FROM t WHERE id = 1 }\n"
		"step a2 { UPDATE t SET v = :v + 1 WHERE id = 1 }\n"
		"session c\n"
		"step c1 { UPDATE t SET v = v + 1 WHERE id = 2 }\n"
		"step c2 { UPDATE t SET v = v + 1 WHERE id = 2 }\n"
		"session b\n"
		"step b1 { SELECT v FROM t WHERE id = 1 }\n"
		"step b2 { UPDATE t SET v = :v + 2 WHERE id = 1 }\n";
	struct sqloom_options options = usual();

	(void)state;
	options.strategy = SQLOOM_STRATEGY_RANDOM;
	options.max_runs = 200;
	for (options.seed = 1; options.seed <= 5; options.seed++) {
		struct sqloom_report *report = explore(text, &options);
		const struct slm_finding *f = report->trace.findings;

		assert_int_equal(report->trace.verdict, SQLOOM_BROKEN);
		assert_int_equal(f->switches, 1);
		assert_int_equal(strlen(f->schedule), 4);
		assert_null(strchr(f->schedule, 'b'));
		assert_int_equal(f->outcome.members, 5);
		assert_true(has_note(report, "2 of the 3 calls"));
		sqloom_report_free(report);
	}
}

static bool stop_at_once(const struct sqloom_progress *progress, void *userdata)
{
	(void)progress;
	++*(unsigned *)userdata;
	return false;
}

static void a_budget_makes_it_inconclusive(void **state)
{
	struct sqloom_options options = usual();
	struct sqloom_report *report;
	unsigned shown = 0;
	char text[1500] = T;

	(void)state;
	for (char c = 'a'; c < 'e'; c++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "session %c\nstep %c1 { UPDATE t SET v = v + 1 }\n"
			 "step %c2 { UPDATE t SET v = v + 1 }\n"
			 "step %c3 { UPDATE t SET v = v + 1 }\n",
			 c, c, c, c);
	for (int s = SQLOOM_STRATEGY_AUTO; s <= SQLOOM_STRATEGY_PCT; s++) {
		options.strategy = (enum sqloom_strategy)s;
		options.max_runs = 50;
		report = explore(text, &options);
		assert_int_equal(report->trace.verdict, SQLOOM_INCONCLUSIVE);
		assert_false(report->trace.complete);
		assert_int_equal(report->trace.explored, 50);
		assert_non_null(strstr(report->trace.reason, "--max-runs"));
		sqloom_report_free(report);
	}
	options = usual();
	options.max_runs = 0;
	options.max_time_ms = 1;
	report = explore(text, &options);
	assert_int_equal(report->trace.verdict, SQLOOM_INCONCLUSIVE);
	assert_non_null(strstr(report->trace.reason, "--max-time"));
	sqloom_report_free(report);
	options = usual();
	options.store = SQLOOM_STORE_FILE;
	options.progress = stop_at_once;
	options.userdata = &shown;
	report = explore(text, &options);
	assert_int_equal(report->trace.verdict, SQLOOM_INCONCLUSIVE);
	assert_non_null(strstr(report->trace.reason, "stopped"));
	assert_int_equal(shown, 1);
	sqloom_report_free(report);
}

/* A random strategy never proves anything, however few schedules there are. */
static void sampling_proves_nothing(void **state)
{
	struct sqloom_options options = usual();

	(void)state;
	options.max_runs = 40;
	for (int s = SQLOOM_STRATEGY_RANDOM; s <= SQLOOM_STRATEGY_PCT; s++) {
		options.strategy = (enum sqloom_strategy)s;
		assert_int_equal(verdict_of(fixed_update, &options),
				 SQLOOM_INCONCLUSIVE);
		assert_int_equal(verdict_of(lost_update, &options),
				 SQLOOM_BROKEN);
	}
}

static void a_bound_on_switches_is_kept_and_told(void **state)
{
	struct sqloom_options options = usual();
	struct sqloom_report *report;

	(void)state;
	options.max_preemptions = 0;
	report = explore(lost_update, &options);
	assert_int_equal(report->trace.explored, 2);
	assert_int_equal(report->trace.verdict, SQLOOM_HOLDS);
	assert_string_equal(report->trace.bounds,
			    "at most 0 voluntary switches");
	sqloom_report_free(report);
	options.max_preemptions = 1;
	assert_int_equal(verdict_of(lost_update, &options), SQLOOM_BROKEN);
}

static const char upgrade[] = T
	"session a\n"
	"step a1 { BEGIN; SELECT v FROM t WHERE id = 1 }\n"
	"step a2 { UPDATE t SET v = :v + 1 WHERE id = 1 }\n"
	"step a3 { COMMIT }\n"
	"session b\n"
	"step b1 { BEGIN; SELECT v FROM t WHERE id = 1 }\n"
	"step b2 { UPDATE t SET v = :v + 1 WHERE id = 1 }\n"
	"step b3 { COMMIT }\n";

static void errors_that_ask_for_a_retry_break_only_when_strict(void **state)
{
	struct sqloom_options options = usual();
	struct sqloom_report *report = explore(upgrade, NULL);
	char *allowing;

	(void)state;
	assert_int_equal(report->trace.verdict, SQLOOM_HOLDS);
	assert_true(report->trace.by_class[SLM_CLASS_RETRY] > 0);
	assert_int_equal(report->trace.wrong, 0);
	sqloom_report_free(report);
	options.strict = true;
	assert_int_equal(verdict_of(upgrade, &options), SQLOOM_BROKEN);
	allowing = edited(upgrade, "setup", "option strict on\nsetup");
	assert_int_equal(verdict_of(allowing, NULL), SQLOOM_BROKEN);
	free(allowing);
	allowing = edited(upgrade, "setup", "option allow SQLITE_BUSY\nsetup");
	assert_int_equal(verdict_of(allowing, &options), SQLOOM_HOLDS);
	free(allowing);
}

static void a_check_that_fails_breaks(void **state)
{
	char *text;

	(void)state;
	/* in some schedules */
	text = edited(lost_update, "session a",
		      "check \"sum\" { SELECT v FROM t WHERE v <> 13 }\n"
		      "session a");
	{
		struct sqloom_report *report = explore(text, NULL);

		assert_int_equal(report->trace.verdict, SQLOOM_BROKEN);
		assert_int_equal(report->trace.findings[0].class,
				 SLM_CLASS_CHECK);
		assert_string_equal(report->trace.findings[0].check, "sum");
		assert_int_equal(report->trace.by_class[SLM_CLASS_CHECK], 4);
		sqloom_report_free(report);
	}
	free(text);
	/* in every one, serial runs too */
	text = edited(fixed_update, "session a",
		      "check \"never\" { SELECT 1 }\nsession a");
	{
		struct sqloom_report *report = explore(text, NULL);

		assert_int_equal(report->trace.verdict, SQLOOM_BROKEN);
		assert_int_equal(report->trace.by_class[SLM_CLASS_CHECK], 2);
		sqloom_report_free(report);
	}
	free(text);
}

static void what_nobody_compares_does_not_break(void **state)
{
	char *text;

	(void)state;
	text = edited(lost_update, "setup", "option ignore t.v\nsetup");
	assert_int_equal(verdict_of(text, NULL), SQLOOM_HOLDS);
	free(text);
	text = edited(lost_update, "setup", "option ignore t\nsetup");
	assert_int_equal(verdict_of(text, NULL), SQLOOM_HOLDS);
	free(text);
	text = edited(lost_update, "setup", "option ignore t.id\nsetup");
	assert_int_equal(verdict_of(text, NULL), SQLOOM_BROKEN);
	free(text);
	assert_int_equal(
		verdict_of(T "option ignore t.v\nsession a\n"
			     "step a1 unobserved { SELECT v FROM t WHERE id = "
			     "1 }\n"
			     "step a2 { UPDATE t SET v = :v + 1 WHERE id = 1 }"
			     "session b\n"
			     "step b1 unobserved { SELECT v FROM t WHERE id = "
			     "1 }\n"
			     "step b2 { UPDATE t SET v = :v + 1 WHERE id = 1 "
			     "}\n",
			   NULL),
		SQLOOM_HOLDS);
}

static void unstable_columns_are_masked(void **state)
{
	struct sqloom_report *report = explore(
		"setup { CREATE TABLE log (id INTEGER PRIMARY KEY, r, at TEXT"
		" DEFAULT CURRENT_TIMESTAMP, who) }\n"
		"session a\n"
		"step a1 { INSERT INTO log (r, who) VALUES (random(), 'a') }\n"
		"step a2 { SELECT datetime('now') AS n }\n"
		"session b\n"
		"step b1 { INSERT INTO log (r, who) VALUES (random(), 'b') }\n",
		NULL);

	(void)state;
	assert_int_equal(report->trace.verdict, SQLOOM_HOLDS);
	assert_true(has_note(report, "log.r") || has_note(report, "r of"));
	/* The clock says the same in every run: times are compared. */
	assert_false(has_note(report, "log.at"));
	sqloom_report_free(report);
	assert_int_equal(
		verdict_of("setup { CREATE TABLE s (until TEXT); INSERT INTO s "
			   "VALUES (datetime('now')) }\n"
			   "session a\n"
			   "step a1 { SELECT until FROM s }\n"
			   "step a2 { UPDATE s SET until = datetime(:until, "
			   "'+30 days') }\n"
			   "session b\n"
			   "step b1 { SELECT until FROM s }\n"
			   "step b2 { UPDATE s SET until = datetime(:until, "
			   "'+30 days') }\n",
			   NULL),
		SQLOOM_BROKEN);
}

static void calls_that_are_not_deterministic_never_hold(void **state)
{
	static const char body[] =
		"session a\n"
		"step a1 { INSERT INTO t (v) SELECT 1 FROM t WHERE\n"
		"  random() > 0 }\n"
		"step a2 { UPDATE t SET v = 5 WHERE id = 1 }\n"
		"session b\n"
		"step b1 { SELECT v FROM t WHERE id = 2 }\n";
	char text[1000];
	struct sqloom_report *report;

	(void)state;
	snprintf(text, sizeof(text), T "%s", body);
	assert_int_equal(verdict_of(text, NULL), SQLOOM_INCONCLUSIVE);
	/* Also if the last of several plans is deterministic. */
	snprintf(text, sizeof(text),
		 T "%spermutation a1 b1\npermutation a2 b1\n", body);
	report = explore(text, NULL);
	assert_int_equal(report->trace.verdict, SQLOOM_INCONCLUSIVE);
	assert_true(has_note(report, "not deterministic"));
	sqloom_report_free(report);
}

static void only_the_permutation_lines_are_run(void **state)
{
	char text[1500];
	struct sqloom_report *report;

	(void)state;
	snprintf(text, sizeof(text), "%s%s", lost_update,
		 "permutation a1 a2 b1 b2\npermutation a1 b1 a2 b2\n"
		 "permutation b2\npermutation a1 a1 b1 b2 a2\n");
	report = explore(text, NULL);
	assert_int_equal(report->trace.explored, 4);
	assert_int_equal(report->trace.wrong, 2);
	assert_int_equal(report->trace.verdict, SQLOOM_BROKEN);
	sqloom_report_free(report);
}

static void a_line_that_cannot_be_followed_is_told(void **state)
{
	struct sqloom_report *report =
		explore(T "option busy_timeout 100\n"
			  "session a\n"
			  "step a1 { BEGIN IMMEDIATE }\n"
			  "step a2 { COMMIT }\n"
			  "session b\n"
			  "step b1 { UPDATE t SET v = 1 }\n"
			  "step b2 { SELECT v FROM t }\n"
			  "permutation a1 b1 b2 a2\n",
			NULL);

	(void)state;
	assert_int_equal(report->trace.verdict, SQLOOM_INCONCLUSIVE);
	assert_true(has_note(report, "\"b2\""));
	assert_int_equal(report->trace.explored, 0);
	sqloom_report_free(report);
}

static void attached_tables_are_not_said_to_hold(void **state)
{
	(void)state;
	assert_int_equal(
		verdict_of("setup { ATTACH 'o.db' AS o; CREATE TABLE o.t (v);"
			   " INSERT INTO o.t VALUES (1) }\n"
			   "session a\n"
			   "step a0 { ATTACH 'o.db' AS o }\n"
			   "step a1 { UPDATE o.t SET v = v + 1 }\n"
			   "session b\n"
			   "step b1 { SELECT 1 }\n",
			   NULL),
		SQLOOM_INCONCLUSIVE);
}

static enum sqloom_status status_of(const char *text,
				    const struct sqloom_options *options,
				    struct sqloom_error *err)
{
	struct sqloom_spec *spec = parse(text);
	struct sqloom_report *report = NULL;
	enum sqloom_status status = sqloom_explore(spec, options, &report, err);

	assert_true((status == SQLOOM_OK) == (report != NULL));
	sqloom_report_free(report);
	sqloom_spec_free(spec);
	return status;
}

static void bad_options_are_refused(void **state)
{
	struct sqloom_options options = usual();
	struct sqloom_error err;
	char *text;

	(void)state;
	options.pct_depth = 0;
	assert_int_equal(status_of(lost_update, &options, &err), SQLOOM_USAGE);
	options = usual();
	options.busy_timeout_ms = -2;
	assert_int_equal(status_of(lost_update, &options, &err), SQLOOM_USAGE);
	options = usual();
	options.max_preemptions = -2;
	assert_int_equal(status_of(lost_update, &options, &err), SQLOOM_USAGE);
	options = usual();
	options.strategy = (enum sqloom_strategy)99;
	assert_int_equal(status_of(lost_update, &options, &err), SQLOOM_USAGE);
	options = usual();
	options.journal = "sideways";
	assert_int_equal(status_of(lost_update, &options, &err),
			 SQLOOM_DATABASE);
	options = usual();
	text = edited(lost_update, "setup",
		      "option isolation read committed\nsetup");
	assert_int_equal(status_of(text, &options, &err), SQLOOM_UNSUPPORTED);
	assert_int_equal(err.line, 1);
	free(text);
}

/* What the command says wins over what the spec says. */
static void options_win_over_the_spec(void **state)
{
	struct sqloom_options options = usual();
	struct sqloom_report *report;
	char *text = edited(lost_update, "setup",
			    "option busy_timeout 70\noption journal wal\n"
			    "setup");

	(void)state;
	report = explore(text, NULL);
	assert_non_null(strstr(report->trace.backend, "journal wal"));
	assert_non_null(strstr(report->trace.backend, "70 ms"));
	sqloom_report_free(report);
	options.busy_timeout_ms = 0;
	options.journal = "truncate";
	report = explore(text, &options);
	assert_non_null(strstr(report->trace.backend, "journal truncate"));
	assert_non_null(strstr(report->trace.backend, " 0 ms"));
	sqloom_report_free(report);
	free(text);
}

static void the_clock_is_that_of_the_spec(void **state)
{
	static const struct {
		const char *option, *now;
	} cases[] = {
		{ "", "2026-01-01 00:00:00" },
		{ "option clock 1999-12-31\n", "1999-12-31 00:00:00" },
		{ "option clock 2024-02-29 23:59\n", "2024-02-29 23:59:00" },
		{ "option clock 2000-03-01 01:02:03\n", "2000-03-01 01:02:03" },
		{ "option clock \"1970-01-01 00:00:00\"\n",
		  "1970-01-01 00:00:00" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[300];

		snprintf(text, sizeof(text),
			 "%scheck \"c\" { SELECT datetime('now') WHERE "
			 "datetime('now') <> '%s' }\n"
			 "session a\nstep a1 { BEGIN IMMEDIATE; COMMIT }\n",
			 cases[i].option, cases[i].now);
		assert_int_equal(verdict_of(text, NULL), SQLOOM_HOLDS);
	}
}

/* Ends only while v is not 1. */
#define ENDLESS_AT_1                                                     \
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c" \
	" WHERE (SELECT v FROM t) = 1) SELECT count(*) FROM c"

static bool ten_times(const struct sqloom_progress *progress, void *userdata)
{
	(void)progress;
	return ++*(unsigned *)userdata < 10;
}

static void a_statement_that_does_not_end_is_stopped(void **state)
{
	static const char *const setups[] = { "0", "1" };
	unsigned asked = 0;
	struct sqloom_options options = usual();
	struct sqloom_report *report = NULL;

	(void)state;
	options.progress = ten_times;
	options.userdata = &asked;
	for (unsigned i = 0; i < 2; i++) {
		struct sqloom_spec *spec;
		char text[1000];

		snprintf(text, sizeof(text),
			 "setup { CREATE TABLE t (v); INSERT INTO t VALUES"
			 " (%s) }\nsession a\n"
			 "step a1 { UPDATE t SET v = 1 }\n"
			 "step a2 { UPDATE t SET v = 0 }\n"
			 "session b\nstep b1 { " ENDLESS_AT_1 " }\n",
			 setups[i]);
		spec = parse(text);
		asked = 0;
		if (i == 0) {
			report = explore_spec(spec, &options);
			assert_int_equal(report->trace.verdict,
					 SQLOOM_INCONCLUSIVE);
			assert_false(report->trace.complete);
			assert_non_null(strstr(report->trace.reason,
					       "in the middle of step \"b1\""));
			assert_true(report->trace.explored > 0);
			sqloom_report_free(report);
		} else { /* a serial run already: nothing was explored */
			report = explore_spec(spec, &options);
			assert_int_equal(report->trace.verdict,
					 SQLOOM_INCONCLUSIVE);
			assert_non_null(strstr(report->trace.reason,
					       "in the middle of step \"b1\""));
			assert_true(report->trace.explored == 0);
			sqloom_report_free(report);
		}
		sqloom_spec_free(spec);
	}
	assert_int_equal(slm_alloc_live(), 0);
}

/* What was never run in any serial order cannot hold. */
static void a_session_that_always_fails_in_its_middle_holds_nothing(void **state)
{
	static const char cut[] = T
		"session a\nstep a1 { INSERT INTO t VALUES (1, 1) }\n"
		"step a2 { UPDATE t SET v = 3 }\n"
		"session b\nstep b1 { UPDATE t SET v = v + 1 }\n";
	static const char last[] = T
		"session a\nstep a1 { BEGIN }\n"
		"step a2 { INSERT INTO t VALUES (1, 1) }\n"
		"step a3 { COMMIT }\n"
		"session b\nstep b1 { UPDATE t SET v = v + 1 }\n";
	char *text;

	(void)state;
	assert_int_equal(verdict_of(cut, NULL), SQLOOM_INCONCLUSIVE);
	text = edited(cut, "setup",
		      "option allow SQLITE_CONSTRAINT_PRIMARYKEY\nsetup");
	assert_int_equal(verdict_of(text, NULL), SQLOOM_HOLDS);
	free(text);
	text = edited(cut, "setup", "option on_error continue\nsetup");
	assert_int_equal(verdict_of(text, NULL), SQLOOM_HOLDS);
	free(text);
	assert_int_equal(verdict_of(last, NULL), SQLOOM_HOLDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lost_update_is_found),
		cmocka_unit_test(an_atomic_update_holds),
		cmocka_unit_test(serial_orders_are_all_or_a_sample),
		cmocka_unit_test(findings_come_worst_first),
		cmocka_unit_test(a_finding_is_shrunk),
		cmocka_unit_test(a_budget_makes_it_inconclusive),
		cmocka_unit_test(sampling_proves_nothing),
		cmocka_unit_test(a_bound_on_switches_is_kept_and_told),
		cmocka_unit_test(
			errors_that_ask_for_a_retry_break_only_when_strict),
		cmocka_unit_test(a_check_that_fails_breaks),
		cmocka_unit_test(what_nobody_compares_does_not_break),
		cmocka_unit_test(
			a_session_that_always_fails_in_its_middle_holds_nothing),
		cmocka_unit_test(unstable_columns_are_masked),
		cmocka_unit_test(calls_that_are_not_deterministic_never_hold),
		cmocka_unit_test(only_the_permutation_lines_are_run),
		cmocka_unit_test(a_line_that_cannot_be_followed_is_told),
		cmocka_unit_test(attached_tables_are_not_said_to_hold),
		cmocka_unit_test(bad_options_are_refused),
		cmocka_unit_test(options_win_over_the_spec),
		cmocka_unit_test(the_clock_is_that_of_the_spec),
		cmocka_unit_test(a_statement_that_does_not_end_is_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, nothing_leaks);
}
