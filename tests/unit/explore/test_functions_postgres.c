/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions of a program explored on PostgreSQL, through the proxy in this
 * process: how many schedules there are, with and without points; that it is
 * the same every time; and what a call may do besides.
 */
#include "functions_help.h"

#include <errno.h>
#include <libpq-fe.h>
#include <sys/wait.h>

#include "pg/server.h"

static struct slm_pg_server *server;

static int stop_server(void **state)
{
	slm_pg_server_stop(server);
	return nothing_leaks(state);
}

/* ---- The programs ----------------------------------------------------------- */

static void finish(void *kept)
{
	PQfinish(kept);
}

static PGconn *conn_of(struct sqloom_call *call)
{
	void **place = sqloom_call_keep(call, finish);

	if (!*place)
		*place = PQconnectdb(sqloom_call_database(call));
	return *place;
}

static bool run(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(result);

	PQclear(result);
	return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

static int number(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);
	int value = PQntuples(result) == 1 ? atoi(PQgetvalue(result, 0, 0)) :
					     -1;

	PQclear(result);
	return value;
}

static bool set_balance(PGconn *conn, int balance)
{
	char text[20];
	const char *values[] = { text };
	PGresult *result;
	bool done;

	snprintf(text, sizeof(text), "%d", balance);
	result = PQexecParams(conn, "UPDATE acct SET bal = $1 WHERE id = 1", 1,
			      NULL, values, NULL, NULL, 0);
	done = PQresultStatus(result) == PGRES_COMMAND_OK;
	PQclear(result);
	return done;
}

static int pay(struct sqloom_call *call, void *arg)
{
	PGconn *conn = conn_of(call);
	int balance = number(conn, "SELECT bal FROM acct WHERE id = 1");

	if (arg)
		sqloom_point(arg);
	if (!set_balance(conn, balance - 10))
		return sqloom_call_fail(call, "%s", PQerrorMessage(conn));
	sqloom_call_printf(call, "%s paid", sqloom_call_name(call));
	return 0;
}

static int pay_safely(struct sqloom_call *call, void *arg)
{
	PGconn *conn = conn_of(call);
	int balance;

	(void)arg;
	run(conn, "BEGIN");
	balance = number(conn, "SELECT bal FROM acct WHERE id = 1 FOR UPDATE");
	set_balance(conn, balance - 10);
	return run(conn, "COMMIT") ? 0 : -1;
}

static int set_up(struct sqloom_call *call, void *arg)
{
	PGconn *conn = PQconnectdb(sqloom_call_database(call));
	int rc = 0;

	(void)arg;
	if (!run(conn,
		 "SET client_min_messages = error;"
		 "DROP TABLE IF EXISTS acct;"
		 "CREATE TABLE acct (id INTEGER PRIMARY KEY, bal INTEGER);"
		 "INSERT INTO acct VALUES (1, 100)"))
		rc = sqloom_call_fail(call, "%s", PQerrorMessage(conn));
	PQfinish(conn);
	return rc;
}

static struct sqloom_options on_server(void)
{
	struct sqloom_options options = usual();

	options.database = slm_pg_server_conninfo(server);
	options.any_database = true;
	return options;
}

static struct sqloom_report *explore_two(sqloom_fn fn, void *arg)
{
	struct sqloom_options options = on_server();
	struct many many;

	same(&many, 2, fn, arg, set_up);
	return explore_calls(&many.calls, &options);
}

/* The first one also makes what libuv keeps as long as the process lives. */
static int start_server(void **state)
{
	struct sqloom_error err;

	(void)state;
	if (slm_pg_server_start(NULL, &server, &err)) {
		fprintf(stderr, "%s\n", err.message);
		return -1;
	}
	sqloom_report_free(explore_two(pay, NULL));
	return 0;
}

/* ---- Figures ------------------------------------------------------------------ */

/* A statement by itself is two steps, it and its COMMIT: of the 14 orders in
 * which SELECT, UPDATE and COMMIT of both can come, the two serial ones are
 * right. */
static void reads_and_writes_lose_an_update_in_12_of_14(void **state)
{
	struct sqloom_report *report = explore_two(pay, NULL);

	(void)state;
	assert_figures(report, 14, 12, SQLOOM_BROKEN);
	assert_string_equal(report->trace.findings[0].name, "lost update (P4)");
	sqloom_report_free(report);
}

static void a_point_is_one_more_step(void **state)
{
	struct sqloom_report *report = explore_two(pay, (void *)"after-read");

	(void)state;
	assert_figures(report, 50, 48, SQLOOM_BROKEN);
	sqloom_report_free(report);
}

static void reading_for_update_holds(void **state)
{
	struct sqloom_report *report = explore_two(pay_safely, NULL);

	(void)state;
	assert_int_equal(report->trace.verdict, SQLOOM_HOLDS);
	assert_int_equal(report->trace.wrong, 0);
	assert_true(report->trace.explored > 2);
	sqloom_report_free(report);
}

/* ---- The same every time --------------------------------------------------------- */

static char *trace_of(const struct sqloom_report *report)
{
	struct sqloom_error err;
	char *text = NULL;

	if (slm_trace_format(&report->trace, &text, NULL, &err))
		fail_msg("%s", err.message);
	return text;
}

static void two_explorations_write_the_same_trace(void **state)
{
	char *texts[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct sqloom_report *report =
			explore_two(pay, (void *)"after-read");

		texts[i] = trace_of(report);
		sqloom_report_free(report);
	}
	assert_string_equal(texts[0], texts[1]);
	assert_non_null(strstr(texts[0], "-- point: after-read"));
	slm_free(texts[0]);
	slm_free(texts[1]);
}

static int look_and_pay(struct sqloom_call *call, void *arg)
{
	(void)number(conn_of(call), "SELECT count(*) FROM acct");
	return pay(call, arg);
}

static void a_finding_replays_20_times(void **state)
{
	struct sqloom_options options = on_server();
	struct sqloom_report *report, *again;
	const char *token;
	struct many many;

	(void)state;
	same(&many, 2, pay, (void *)"after-read", set_up);
	report = explore_calls(&many.calls, &options);
	token = report->trace.findings[0].token;
	for (int i = 0; i < 20; i++) {
		again = replay_calls(&many.calls, token, &options);
		assert_int_equal(again->trace.verdict, SQLOOM_BROKEN);
		assert_string_equal(
			again->trace.findings[0].differences[0].actual,
			report->trace.findings[0].differences[0].actual);
		sqloom_report_free(again);
	}
	many.functions[0].fn = look_and_pay;
	again = replay_calls(&many.calls, token, &options);
	assert_int_equal(again->trace.verdict, SQLOOM_INCONCLUSIVE);
	assert_true(again->trace.divergence.diverged);
	assert_string_equal(again->trace.divergence.now,
			    "SELECT count(*) FROM acct");
	sqloom_report_free(again);
	sqloom_report_free(report);
}

/* ---- Callbacks --------------------------------------------------------------------- */

struct watching {
	pthread_t thread;
	unsigned checks, progress;
};

static int check(struct sqloom_call *call, void *arg)
{
	struct watching *watching = arg;
	PGconn *conn = conn_of(call);
	int balance = number(conn, "SELECT bal FROM acct");

	assert_true(pthread_equal(pthread_self(), watching->thread));
	watching->checks++;
	return balance == 80 ? 0 : sqloom_call_fail(call, "%d left", balance);
}

static bool watch(const struct sqloom_progress *progress, void *userdata)
{
	struct watching *watching = userdata;

	assert_true(pthread_equal(pthread_self(), watching->thread));
	watching->progress++;
	return progress->runs < 3;
}

static void callbacks_are_called_here(void **state)
{
	struct watching watching = { .thread = pthread_self() };
	struct sqloom_options options = on_server();
	struct sqloom_report *report;
	struct many many;

	(void)state;
	same(&many, 2, pay, NULL, set_up);
	many.calls.check = check;
	many.calls.arg = &watching;
	report = explore_calls(&many.calls, &options);
	assert_figures(report, 14, 12, SQLOOM_BROKEN);
	assert_int_equal(report->trace.findings[0].class, SLM_CLASS_CHECK);
	assert_string_equal(report->trace.findings[0].check_rows.values[0].text,
			    "90 left");
	assert_true(watching.checks >= 14);
	sqloom_report_free(report);
	options.progress = watch;
	options.userdata = &watching;
	same(&many, 4, pay, (void *)"after-read", set_up);
	report = explore_calls(&many.calls, &options);
	assert_true(watching.progress > 0);
	assert_false(report->trace.complete);
	sqloom_report_free(report);
}

static int refuse_to_set_up(struct sqloom_call *call, void *arg)
{
	(void)arg;
	return sqloom_call_fail(call, "no");
}

static void a_setup_that_fails_is_told(void **state)
{
	struct sqloom_options options = on_server();
	struct sqloom_error err = { 0 };
	struct many many;

	(void)state;
	same(&many, 2, pay, NULL, refuse_to_set_up);
	assert_int_equal(fails(&many.calls, &options, &err), SQLOOM_CALL);
	assert_non_null(strstr(err.message, "no"));
}

/* ---- What calls do besides ------------------------------------------------------------ */

static void *pay_there(void *userdata)
{
	return (void *)(intptr_t)pay(userdata, NULL);
}

static int pay_by_a_helper(struct sqloom_call *call, void *arg)
{
	pthread_t helper;
	void *rc = NULL;

	(void)arg;
	assert_int_equal(pthread_create(&helper, NULL, pay_there, call), 0);
	pthread_join(helper, &rc);
	return (int)(intptr_t)rc;
}

static void what_a_helper_thread_does_is_its_calls(void **state)
{
	struct sqloom_report *report = explore_two(pay_by_a_helper, NULL);

	(void)state;
	assert_figures(report, 14, 12, SQLOOM_BROKEN);
	sqloom_report_free(report);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static int pay_locked(struct sqloom_call *call, void *arg)
{
	int rc;

	pthread_mutex_lock(&mutex);
	rc = pay(call, arg);
	pthread_mutex_unlock(&mutex);
	return rc;
}

static void a_mutex_across_statements_is_recognised(void **state)
{
	struct sqloom_report *report = explore_two(pay_locked, NULL);

	(void)state;
	assert_int_equal(report->trace.verdict, SQLOOM_INCONCLUSIVE);
	assert_int_equal(report->trace.wrong, 0);
	assert_true(has_note(report, "a lock inside of the program"));
	sqloom_report_free(report);
}

static int leave_a_transaction(struct sqloom_call *call, void *arg)
{
	run(conn_of(call), "BEGIN");
	return pay(call, arg);
}

/* The other call waits for its lock until it is cancelled. */
static void a_transaction_that_is_left_open_does_not_hang(void **state)
{
	struct sqloom_options options = on_server();
	struct sqloom_report *report;
	struct many many;

	(void)state;
	options.statement_limit_ms = 500;
	options.call_limit_ms = 2000;
	same(&many, 2, leave_a_transaction, NULL, set_up);
	report = explore_calls(&many.calls, &options);
	assert_int_equal(report->trace.verdict, SQLOOM_INCONCLUSIVE);
	assert_int_equal(report->trace.wrong, 0);
	assert_true(has_note(report, "leaves a connection in a transaction"));
	sqloom_report_free(report);
}

static int pay_and_stay(struct sqloom_call *call, void *arg)
{
	(void)pay(call, arg);
	for (;;)
		pause();
	return 0;
}

/* In a process of its own, which ends with the thread that is left alone. */
static int explore_one_that_stays(void)
{
	struct sqloom_options options = on_server();
	struct sqloom_report *report = NULL;
	struct sqloom_error err;
	struct many many;

	options.call_limit_ms = 300;
	same(&many, 2, pay, NULL, set_up);
	many.functions[1].fn = pay_and_stay;
	if (sqloom_explore_calls(&many.calls, &options, &report, &err)) {
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	if (report->trace.verdict != SQLOOM_INCONCLUSIVE)
		return 2;
	if (!strstr(report->trace.reason, "bob"))
		return 3;
	sqloom_report_free(report);
	options.call_limit_ms = 0;
	same(&many, 2, pay, NULL, set_up);
	if (sqloom_explore_calls(&many.calls, &options, &report, &err)) {
		fprintf(stderr, "%s\n", err.message);
		return 4;
	}
	if (report->trace.explored != 14 || report->trace.wrong != 12)
		return 5;
	sqloom_report_free(report);
	return 0;
}

static void a_call_that_never_returns_ends_the_exploration(void **state)
{
	pid_t pid = fork();
	int status = 0;

	(void)state;
	if (pid == 0)
		_exit(explore_one_that_stays());
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	assert_int_equal(status, 0);
}

/* ---- Locks of sessions ------------------------------------------------------------ */

static int pay_alone(struct sqloom_call *call, void *arg)
{
	PGconn *conn = conn_of(call);
	int rc;

	run(conn, "SELECT pg_advisory_lock(7)");
	rc = pay(call, arg);
	run(conn, "SELECT pg_advisory_unlock(7)");
	return rc;
}

/* The session that holds it is idle: it is in no transaction. */
static void an_advisory_lock_of_an_idle_session_is_waited_for(void **state)
{
	struct sqloom_report *report = explore_two(pay_alone, NULL);

	(void)state;
	assert_int_equal(report->trace.verdict, SQLOOM_HOLDS);
	assert_true(report->trace.explored > 10);
	assert_int_equal(report->trace.nnotes, 0);
	sqloom_report_free(report);
}

/* Closing the connection gives the lock back; whoever comes later gets it. */
static int pay_if_alone(struct sqloom_call *call, void *arg)
{
	PGconn *conn = PQconnectdb(sqloom_call_database(call));
	PGresult *result = PQexec(conn, "SELECT pg_try_advisory_lock(7)");
	bool got = PQntuples(result) == 1 && *PQgetvalue(result, 0, 0) == 't';
	int balance;

	(void)arg;
	PQclear(result);
	balance = got ? number(conn, "SELECT bal FROM acct WHERE id = 1") : 0;
	if (got)
		set_balance(conn, balance - 10);
	PQfinish(conn);
	return got ? 0 : sqloom_call_fail(call, "busy");
}

static void the_end_of_a_session_is_waited_for(void **state)
{
	uint64_t wrong = 0;

	(void)state;
	for (int i = 0; i < 5; i++) {
		struct sqloom_report *report = explore_two(pay_if_alone, NULL);

		assert_int_equal(report->trace.verdict, SQLOOM_BROKEN);
		assert_int_equal(report->trace.nnotes, 0);
		assert_true(i == 0 || report->trace.wrong == wrong);
		assert_true(report->trace.wrong < report->trace.explored);
		wrong = report->trace.wrong;
		sqloom_report_free(report);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		guarded(reads_and_writes_lose_an_update_in_12_of_14),
		guarded(a_point_is_one_more_step),
		guarded(reading_for_update_holds),
		guarded(two_explorations_write_the_same_trace),
		guarded(a_finding_replays_20_times),
		guarded(callbacks_are_called_here),
		guarded(a_setup_that_fails_is_told),
		guarded(what_a_helper_thread_does_is_its_calls),
		guarded(a_mutex_across_statements_is_recognised),
		guarded(a_transaction_that_is_left_open_does_not_hang),
		guarded(an_advisory_lock_of_an_idle_session_is_waited_for),
		guarded(the_end_of_a_session_is_waited_for),
		guarded(a_call_that_never_returns_ends_the_exploration),
	};

	return cmocka_run_group_tests(tests, start_server, stop_server);
}
