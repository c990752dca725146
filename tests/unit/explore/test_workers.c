/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Explorations by several workers: they are there, they give what one gives,
 * and they end with it, whatever ends it.
 */
#include "explore_help.h"

#include <dirent.h>

#define MANY 5

/* Three calls that overwrite each other: 34,650 schedules. */
static char *long_spec(void)
{
	static char text[2000];

	strcpy(text, "setup { CREATE TABLE t (id INTEGER PRIMARY KEY, v);\n"
		     "  INSERT INTO t VALUES (1, 10) }\n");
	for (char c = 'a'; c < 'd'; c++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "session %c\n"
			 "step %c1 { SELECT v FROM t }\n"
			 "step %c2 { UPDATE t SET v = :v + 1 }\n"
			 "step %c3 { SELECT v FROM t }\n"
			 "step %c4 { UPDATE t SET v = :v + 2 }\n",
			 c, c, c, c, c);
	return text;
}

static struct sqloom_options with_jobs(unsigned jobs)
{
	struct sqloom_options options = usual();

	options.jobs = jobs;
	return options;
}

static char *trace_of(const char *text, const struct sqloom_options *options)
{
	struct sqloom_report *report = explore(text, options);
	struct sqloom_error err;
	size_t size;
	char *trace;

	if (slm_trace_format(&report->trace, &trace, &size, &err))
		fail_msg("%s", err.message);
	sqloom_report_free(report);
	return trace;
}

static unsigned threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	unsigned count = 0;

	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count > 2 ? count - 2 : 1; /* without . and .. */
}

/* Sanitizers have a thread of their own. */
static unsigned before;

static bool until_all_are_there(const struct sqloom_progress *progress,
				void *userdata)
{
	unsigned *most = userdata, now = threads() - before + 1;

	(void)progress;
	if (now > *most)
		*most = now;
	return *most < MANY;
}

static void there_is_a_thread_per_worker(void **state)
{
	struct sqloom_options options = with_jobs(MANY);
	unsigned most = 0;

	(void)state;
	/* The first exploration makes what is made once. */
	sqloom_report_free(explore(lost_update, &options));
	before = threads();
	options.strategy = SQLOOM_STRATEGY_RANDOM;
	options.max_runs = 0;
	options.progress = until_all_are_there;
	options.userdata = &most;
	sqloom_report_free(explore(long_spec(), &options));
	assert_true(most >= MANY);
	assert_true(threads() < MANY);
}

static void all_schedules_give_the_same_bytes(void **state)
{
	struct sqloom_options options = with_jobs(1);
	char *one = trace_of(long_spec(), &options);

	(void)state;
	assert_non_null(strstr(one, "34650"));
	for (unsigned jobs = 2; jobs <= MANY; jobs++) {
		char *many;

		options.jobs = jobs;
		many = trace_of(long_spec(), &options);
		assert_string_equal(many, one);
		slm_free(many);
	}
	slm_free(one);
}

/* Twice as many runs as the window: the place where the budget ends is the
 * same, with a bound on switches, too. */
static void budgets_and_bounds_give_the_same_bytes(void **state)
{
	(void)state;
	for (uint64_t runs = 1; runs < 700; runs = runs * 3 + 1) {
		struct sqloom_options options = with_jobs(1);
		char *one, *many;

		options.max_runs = runs;
		options.max_preemptions = runs % 2 ? 2 : -1;
		one = trace_of(long_spec(), &options);
		options.jobs = 3;
		many = trace_of(long_spec(), &options);
		assert_string_equal(many, one);
		slm_free(one);
		slm_free(many);
	}
}

/* SQLite draws random numbers for the whole process: they must not be drawn
 * by several threads. */
static void random_numbers_stay_the_same(void **state)
{
	static const char text[] =
		"setup { CREATE TABLE t (v); CREATE TABLE n (r) }\n"
		"session a\n"
		"step a1 { INSERT INTO t VALUES (1) }\n"
		"step a2 { INSERT INTO n VALUES (abs(random() % 1000)) }\n"
		"step a3 { DELETE FROM t WHERE v = 2 }\n"
		"session b\n"
		"step b1 { INSERT INTO t VALUES (2) }\n"
		"step b2 { INSERT INTO n VALUES (abs(random() % 1000)) }\n"
		"step b3 { DELETE FROM t WHERE v = 1 }\n"
		"session c\n"
		"step c1 { SELECT count(*) FROM t }\n"
		"step c2 { SELECT count(*) FROM t }\n";
	struct sqloom_options options = with_jobs(1);
	char *one = trace_of(text, &options);

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		char *many;

		options.jobs = 4;
		many = trace_of(text, &options);
		assert_string_equal(many, one);
		slm_free(many);
	}
	slm_free(one);
}

static bool stop_at_once(const struct sqloom_progress *progress, void *userdata)
{
	(void)progress;
	++*(unsigned *)userdata;
	return false;
}

static void the_user_stops_them(void **state)
{
	struct sqloom_options options = with_jobs(MANY);
	struct sqloom_report *report;
	unsigned shown = 0;

	(void)state;
	options.max_runs = 0;
	options.strategy = SQLOOM_STRATEGY_UNIFORM;
	options.progress = stop_at_once;
	options.userdata = &shown;
	report = explore(long_spec(), &options);
	assert_non_null(strstr(report->trace.reason, "stopped"));
	assert_int_equal(shown, 1);
	sqloom_report_free(report);
	options = with_jobs(MANY);
	options.max_runs = 0;
	options.max_time_ms = 1;
	report = explore(long_spec(), &options);
	assert_non_null(strstr(report->trace.reason, "--max-time"));
	sqloom_report_free(report);
}

/* ---- Statements that do not end ------------------------------------------ */

/* Endless where b comes between the two steps of a or c, which is in many
 * schedules: workers are in the middle of several. */
static const char endless[] =
	"setup { CREATE TABLE t (v); INSERT INTO t VALUES (0) }\n"
	"session a\n"
	"step a1 { UPDATE t SET v = v + 1 }\n"
	"step a2 { UPDATE t SET v = v - 1 }\n"
	"step a3 { SELECT v FROM t }\n"
	"session b\n"
	"step b1 { WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1\n"
	"  FROM c WHERE (SELECT v FROM t) = 1) SELECT count(*) FROM c }\n"
	"session c\n"
	"step c1 { UPDATE t SET v = v + 1 }\n"
	"step c2 { UPDATE t SET v = v - 1 }\n"
	"step c3 { SELECT v FROM t }\n";

static bool ten_times(const struct sqloom_progress *progress, void *userdata)
{
	(void)progress;
	return ++*(unsigned *)userdata < 10;
}

static void one_that_has_its_turn_is_stopped_by_the_user(void **state)
{
	for (unsigned jobs = 1; jobs <= MANY; jobs += 2) {
		struct sqloom_options options = with_jobs(jobs);
		struct sqloom_report *report;
		unsigned asked = 0;

		(void)state;
		options.progress = ten_times;
		options.userdata = &asked;
		report = explore(endless, &options);
		assert_int_equal(report->trace.verdict, SQLOOM_INCONCLUSIVE);
		assert_non_null(strstr(report->trace.reason,
				       "in the middle of step \"b1\""));
		sqloom_report_free(report);
	}
}

/* What nobody waits for does not hold up the end. */
static void one_that_was_made_ahead_is_given_up(void **state)
{
	uint64_t turns = 0;

	(void)state;
	for (unsigned jobs = 1; jobs <= MANY; jobs += 2) {
		struct sqloom_options options = with_jobs(jobs);
		struct sqloom_report *report;
		unsigned asked = 0;

		if (jobs == 1) {
			options.progress = ten_times;
			options.userdata = &asked;
		} else {
			options.max_runs = turns;
		}
		options.strategy = SQLOOM_STRATEGY_EXHAUSTIVE;
		report = explore(endless, &options);
		turns = report->trace.explored;
		assert_true(turns > 1);
		if (jobs > 1)
			assert_non_null(
				strstr(report->trace.reason, "--max-runs"));
		sqloom_report_free(report);
	}
}

/* ---- Options ------------------------------------------------------------- */

static void too_many_are_refused(void **state)
{
	struct sqloom_options options = with_jobs(SQLOOM_JOBS_MAX + 1);
	struct sqloom_spec *spec = parse(lost_update);
	struct sqloom_report *report = NULL;
	struct sqloom_error err;

	(void)state;
	assert_int_equal(sqloom_explore(spec, &options, &report, &err),
			 SQLOOM_USAGE);
	assert_non_null(strstr(err.message, "1 to 64"));
	options.jobs = SQLOOM_JOBS_MAX;
	report = explore_spec(spec, &options);
	assert_int_equal(report->trace.explored, 6);
	sqloom_report_free(report);
	sqloom_spec_free(spec);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_is_a_thread_per_worker),
		cmocka_unit_test(all_schedules_give_the_same_bytes),
		cmocka_unit_test(budgets_and_bounds_give_the_same_bytes),
		cmocka_unit_test(random_numbers_stay_the_same),
		cmocka_unit_test(the_user_stops_them),
		cmocka_unit_test(one_that_has_its_turn_is_stopped_by_the_user),
		cmocka_unit_test(one_that_was_made_ahead_is_given_up),
		cmocka_unit_test(too_many_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, nothing_leaks);
}
