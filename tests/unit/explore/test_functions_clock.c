/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time and chance. Calls that write what a clock of whole seconds says: equal
 * runs that come soon after another write the same, later ones do not. That is
 * no finding, and a real one beside it is still found; nor is what goes wrong
 * once. Computing is no stall, nor is waiting for the disk.
 */
#include "functions_help.h"

#include <pthread.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

/* Calls; so many are not made in serial runs. */
#define LATE 70
static int made;

static int set_up(struct sqloom_call *call, void *arg)
{
	(void)arg;
	made = 0;
	return run_script(
		call, "CREATE TABLE t (id INTEGER PRIMARY KEY, v INT, at INT);"
		      "INSERT INTO t VALUES (0, 10, 0), (1, 10, 0)");
}

/* The serial runs are over by now: not by sleeping, which would be a stall. */
static void let_a_second_pass(void)
{
	time_t now = time(NULL);

	if (++made == LATE)
		while (time(NULL) == now)
			;
}

/* *arg: the row that both write; NULL: each its own. */
static int write_time(struct sqloom_call *call, void *arg)
{
	const int *row = arg;
	int id = row ? *row : (int)sqloom_call_number(call);
	sqlite3 *db = kept(call);
	char *sql;
	int v;

	let_a_second_pass();
	sql = sqlite3_mprintf("SELECT v FROM t WHERE id = %d", id);
	v = query(db, sql);
	sqlite3_free(sql);
	sql = sqlite3_mprintf("UPDATE t SET v = %d, at = %lld WHERE id = %d",
			      v + 1, (long long)time(NULL), id);
	(void)execute(db, sql);
	sqlite3_free(sql);
	return 0;
}

static void *compute(void *stop)
{
	while (slm_clock_ns() < *(const uint64_t *)stop)
		;
	return NULL;
}

/* It sleeps until a thread of its own has computed something. */
static int wait_for_own_thread(struct sqloom_call *call, void *arg)
{
	uint64_t stop = slm_clock_ns() + UINT64_C(150000000);
	pthread_t thread;

	(void)arg;
	if (pthread_create(&thread, NULL, compute, &stop))
		return sqloom_call_fail(call, "no thread");
	pthread_join(thread, NULL);
	return execute(kept(call), "UPDATE t SET v = v + 1 WHERE id = 1");
}

static void a_call_whose_thread_computes_has_not_stalled(void **state)
{
	struct sqloom_report *report;
	struct many many;

	(void)state;
	same(&many, 2, wait_for_own_thread, NULL, set_up);
	report = explore_calls(&many.calls, NULL);
	assert_int_equal(report->trace.verdict, SQLOOM_HOLDS);
	sqloom_report_free(report);
}

/* In the kernel's uninterruptible sleep, as who waits for a slow disk: vfork()
 * returns when the child has ended. */
static int wait_for_the_kernel(struct sqloom_call *call, void *arg)
{
	const struct timespec pause = { .tv_nsec = 150000000 };
	pid_t child = vfork();

	(void)arg;
	if (child == 0) {
		nanosleep(&pause, NULL);
		_exit(0);
	}
	if (child < 0 || waitpid(child, NULL, 0) != child)
		return sqloom_call_fail(call, "no child");
	return execute(kept(call), "UPDATE t SET v = v + 1 WHERE id = 1");
}

static void a_call_that_waits_for_the_disk_has_not_stalled(void **state)
{
	struct sqloom_report *report;
	struct many many;

	(void)state;
#if defined(__SANITIZE_THREAD__)
	skip(); /* there vfork() is fork() */
#endif
	same(&many, 2, wait_for_the_kernel, NULL, set_up);
	report = explore_calls(&many.calls, NULL);
	assert_int_equal(report->trace.verdict, SQLOOM_HOLDS);
	sqloom_report_free(report);
}

static void a_clock_is_no_finding(void **state)
{
	struct sqloom_report *report;
	struct many many;

	(void)state;
	same(&many, 3, write_time, NULL, set_up);
	many.functions[2].fn = many.functions[1].fn;
	report = explore_calls(&many.calls, NULL);
	assert_true(made > LATE);
	assert_int_equal(report->trace.verdict, SQLOOM_HOLDS);
	assert_true(has_note(report, "t.at"));
	sqloom_report_free(report);
}

static void a_lost_update_beside_a_clock_is_found(void **state)
{
	static int row = 1;
	struct sqloom_report *report;
	struct many many;

	(void)state;
	same(&many, 3, write_time, &row, set_up);
	report = explore_calls(&many.calls, NULL);
	assert_true(made > LATE);
	assert_int_equal(report->trace.verdict, SQLOOM_BROKEN);
	assert_int_equal(report->trace.findings[0].class, SLM_CLASS_CONTENTS);
	sqloom_report_free(report);
}

/* Which of the calls that are made does something else; 0: none. */
static int odd_one;

/* What it adds. */
static int odd_one_adds = 1000;

/* As write_time(), but for the time. */
static int write_by_chance(struct sqloom_call *call, void *arg)
{
	const int *row = arg;
	int id = row ? *row : (int)sqloom_call_number(call);
	sqlite3 *db = kept(call);
	char *sql = sqlite3_mprintf("SELECT v FROM t WHERE id = %d", id);
	int v = query(db, sql) + (++made == odd_one ? odd_one_adds : 1);

	sqlite3_free(sql);
	sql = sqlite3_mprintf("UPDATE t SET v = %d WHERE id = %d", v, id);
	(void)execute(db, sql);
	sqlite3_free(sql);
	return 0;
}

/* The first call after the serial runs, found by an exploration of one run. */
static int first_explored(const struct many *many)
{
	struct sqloom_options options = usual();
	struct sqloom_report *report;

	odd_one = 0;
	options.strategy = SQLOOM_STRATEGY_EXHAUSTIVE;
	options.max_runs = 1;
	report = explore_calls(&many->calls, &options);
	assert_int_equal(report->trace.explored, 1);
	assert_int_equal(report->trace.wrong, 0);
	sqloom_report_free(report);
	return made - 1;
}

/* row: what the race is about, NULL: none. */
static struct sqloom_report *explore_an_odd_one(int *row)
{
	struct many many;

	same(&many, 2, write_by_chance, row, set_up);
	odd_one = first_explored(&many);
	return explore_calls(&many.calls, NULL);
}

static void what_goes_wrong_once_is_no_race(void **state)
{
	struct sqloom_report *report = explore_an_odd_one(NULL);

	(void)state;
	assert_figures(report, 6, 1, SQLOOM_INCONCLUSIVE);
	assert_true(has_note(report, "did not go wrong in the same way"));
	assert_non_null(strstr(report->trace.reason, "again"));
	sqloom_report_free(report);
}

static void a_race_comes_before_what_goes_wrong_once(void **state)
{
	static int row = 1;
	struct sqloom_report *report = explore_an_odd_one(&row);

	(void)state;
	assert_figures(report, 6, 5, SQLOOM_BROKEN);
	assert_true(has_note(report, "did not go wrong in the same way"));
	assert_int_equal(report->trace.findings[0].count, 4);
	sqloom_report_free(report);
}

/* The first run goes wrong by chance as the race does later: without a
 * switch. */
static void a_race_is_found_behind_what_goes_wrong_once(void **state)
{
	static int row = 1;
	struct sqloom_report *report;

	(void)state;
	odd_one_adds = 0;
	report = explore_an_odd_one(&row);
	odd_one_adds = 1000;
	assert_figures(report, 6, 5, SQLOOM_BROKEN);
	assert_int_equal(report->trace.nfindings, 1);
	assert_int_equal(report->trace.findings[0].count, 5);
	assert_int_equal(report->trace.findings[0].switches, 1);
	assert_false(has_note(report, "did not go wrong in the same way"));
	sqloom_report_free(report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_clock_is_no_finding),
		cmocka_unit_test(a_call_whose_thread_computes_has_not_stalled),
		cmocka_unit_test(
			a_call_that_waits_for_the_disk_has_not_stalled),
		cmocka_unit_test(a_lost_update_beside_a_clock_is_found),
		cmocka_unit_test(what_goes_wrong_once_is_no_race),
		cmocka_unit_test(a_race_comes_before_what_goes_wrong_once),
		cmocka_unit_test(a_race_is_found_behind_what_goes_wrong_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
