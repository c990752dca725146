/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What functions do besides executing statements: threads of their own, locks
 * and sleeps, connections and statements that they leave as they are, other
 * databases. The exploration neither hangs nor tells of
 * what is not wrong.
 */
#include "functions_two.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/wait.h>

/* ---- Threads ----------------------------------------------------------------- */

struct errand {
	sqlite3 *db;
	int balance;
};

static void *run_errand(void *userdata)
{
	struct errand *errand = userdata;

	errand->balance = query(errand->db, get);
	return NULL;
}

static int pay_by_a_helper(struct sqloom_call *call, void *arg)
{
	struct errand errand = { .db = kept(call) };
	pthread_t helper;

	(void)arg;
	assert_int_equal(pthread_create(&helper, NULL, run_errand, &errand), 0);
	pthread_join(helper, NULL);
	return execute_int(errand.db, set, errand.balance - 10);
}

static void what_a_helper_thread_does_is_its_calls(void **state)
{
	(void)state;
	two(pay_by_a_helper, set_account_up, 6, 4, SQLOOM_BROKEN);
}

static void *hit_point(void *userdata)
{
	sqloom_point("of a helper");
	return userdata;
}

static int pay_with_a_point_elsewhere(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);
	int balance = query(db, get);
	pthread_t helper;

	(void)arg;
	assert_int_equal(pthread_create(&helper, NULL, hit_point, NULL), 0);
	pthread_join(helper, NULL);
	return execute_int(db, set, balance - 10);
}

static void points_of_helper_threads_count(void **state)
{
	(void)state;
	/* SELECT, point, UPDATE: 2 of 20 orders are serial. */
	two(pay_with_a_point_elsewhere, set_account_up, 20, 18, SQLOOM_BROKEN);
}

/* The helper is at its step while its call goes on: who of the two comes first
 * is their business, but no step is taken for done before it is. */
static int pay_beside_a_helper(struct sqloom_call *call, void *arg)
{
	pthread_t helper;
	int rc;

	assert_int_equal(pthread_create(&helper, NULL, hit_point, NULL), 0);
	rc = pay(call, arg);
	pthread_join(helper, NULL);
	return rc;
}

static void a_helper_beside_its_call_is_not_a_stall(void **state)
{
	struct sqloom_report *report =
		explore_two(pay_beside_a_helper, NULL, set_account_up);

	(void)state;
	/* Told, and broken if some order goes wrong when it is run again. */
	assert_true(report->trace.wrong > 0);
	assert_int_not_equal(report->trace.verdict, SQLOOM_HOLDS);
	assert_false(has_note(report, "waited for something"));
	sqloom_report_free(report);
}

struct pool {
	pthread_t worker;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct errand *job; /* NULL: none */
	bool end;
};

static void *work(void *userdata)
{
	struct pool *pool = userdata;

	pthread_mutex_lock(&pool->mutex);
	while (!pool->end) {
		if (!pool->job) {
			pthread_cond_wait(&pool->changed, &pool->mutex);
			continue;
		}
		run_errand(pool->job);
		pool->job = NULL;
		pthread_cond_broadcast(&pool->changed);
	}
	pthread_mutex_unlock(&pool->mutex);
	return NULL;
}

static int pay_by_the_pool(struct sqloom_call *call, void *arg)
{
	struct errand errand = { .db = kept(call) };
	struct pool *pool = arg;

	pthread_mutex_lock(&pool->mutex);
	pool->job = &errand;
	pthread_cond_broadcast(&pool->changed);
	while (pool->job)
		pthread_cond_wait(&pool->changed, &pool->mutex);
	pthread_mutex_unlock(&pool->mutex);
	return execute_int(errand.db, set, errand.balance - 10);
}

/* A worker that lives longer than any run, and has the pool's mutex while it
 * works: the calls cannot overlap there, and nothing hangs. */
static void a_worker_thread_may_outlive_the_runs(void **state)
{
	struct pool pool = { .mutex = PTHREAD_MUTEX_INITIALIZER,
			     .changed = PTHREAD_COND_INITIALIZER };
	struct sqloom_report *report;

	(void)state;
	assert_int_equal(pthread_create(&pool.worker, NULL, work, &pool), 0);
	report = explore_two(pay_by_the_pool, &pool, set_account_up);
	assert_int_not_equal(report->trace.verdict, SQLOOM_HOLDS);
	sqloom_report_free(report);
	pthread_mutex_lock(&pool.mutex);
	pool.end = true;
	pthread_cond_broadcast(&pool.changed);
	pthread_mutex_unlock(&pool.mutex);
	pthread_join(pool.worker, NULL);
}

struct bystander {
	pthread_t thread;
	atomic_bool end;
	atomic_uint statements;
};

static void *stand_by(void *userdata)
{
	struct bystander *bystander = userdata;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	while (!atomic_load(&bystander->end)) {
		sqloom_point("of nobody");
		assert_int_equal(query(db, "SELECT 1"), 1);
		atomic_fetch_add(&bystander->statements, 1);
	}
	sqlite3_close(db);
	return NULL;
}

/* A thread of the program that has nothing to do with it uses SQLite while
 * explorations begin and end. */
static void threads_of_others_are_not_disturbed(void **state)
{
	struct bystander bystander = { .end = false };

	(void)state;
	assert_int_equal(pthread_create(&bystander.thread, NULL, stand_by,
					&bystander),
			 0);
	for (int i = 0; i < 20; i++) {
		struct sqloom_report *report =
			explore_two(pay, NULL, set_account_up);

		assert_true(report->trace.explored > 0);
		sqloom_report_free(report);
	}
	atomic_store(&bystander.end, true);
	pthread_join(bystander.thread, NULL);
	assert_true(bystander.statements > 0);
}

/* ---- Waits that are not the database's --------------------------------------- */

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
	struct sqloom_report *report =
		explore_two(pay_locked, NULL, set_account_up);

	(void)state;
	assert_int_equal(report->trace.verdict, SQLOOM_INCONCLUSIVE);
	assert_int_equal(report->trace.wrong, 0);
	assert_int_equal(report->trace.nfindings, 0);
	assert_true(has_note(report, "a lock inside of the program"));
	sqloom_report_free(report);
}

static int pay_slowly(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);
	int balance = query(db, get);

	(void)arg;
	usleep(50000);
	return execute_int(db, set, balance - 10);
}

static void a_sleep_between_statements_is_recognised(void **state)
{
	struct sqloom_report *report =
		explore_two(pay_slowly, NULL, set_account_up);

	(void)state;
	assert_int_equal(report->trace.verdict, SQLOOM_BROKEN);
	assert_true(has_note(report, "a sleep"));
	sqloom_report_free(report);
}

/* With patience, it is waited for. */
static void a_sleep_within_the_patience_is_no_stall(void **state)
{
	struct sqloom_options options = usual();
	struct sqloom_report *report;
	struct many many;

	(void)state;
	options.stall_after_ms = 2000;
	same(&many, 2, pay_slowly, NULL, set_account_up);
	report = explore_calls(&many.calls, &options);
	assert_figures(report, 6, 4, SQLOOM_BROKEN);
	assert_int_equal(report->trace.nnotes, 0);
	sqloom_report_free(report);
}

static int row_by_row(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);
	sqlite3_stmt *stmt = NULL;
	int rc, sum = 0;

	(void)arg;
	assert_int_equal(sqlite3_prepare_v2(db, "SELECT id FROM many", -1,
					    &stmt, NULL),
			 SQLITE_OK);
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		sum += sqlite3_column_int(stmt, 0);
		if (sum == 1)
			usleep(50000);
	}
	sqlite3_finalize(stmt);
	return rc == SQLITE_DONE && sum == 5050 ? 0 : -1;
}

static int set_many_up(struct sqloom_call *call, void *arg)
{
	(void)arg;
	return run_script(call,
			  "CREATE TABLE many (id INTEGER PRIMARY KEY, t);"
			  "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL"
			  "  SELECT i + 1 FROM n WHERE i < 100)"
			  "INSERT INTO many SELECT i, printf('%.100c', 'x')"
			  "  FROM n");
}

/* It stalls in the middle of a result: the rest of the rows come while another
 * call runs. */
static void a_sleep_between_rows_is_recognised(void **state)
{
	struct sqloom_report *report =
		explore_two(row_by_row, NULL, set_many_up);

	(void)state;
	assert_int_equal(report->trace.wrong, 0);
	assert_int_equal(report->trace.verdict, SQLOOM_INCONCLUSIVE);
	sqloom_report_free(report);
}

/* ---- Calls that do not come back ----------------------------------------------- */

/* In a process of its own, whose threads are left alone. Not asserted there:
 * it must not run the tests of this process. */
static int in_child(int (*body)(void))
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0)
		_exit(body());
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	return status;
}

static int pay_and_stay(struct sqloom_call *call, void *arg)
{
	(void)pay(call, arg);
	for (;;)
		pause();
	return 0;
}

/* Only if the other has come in between: the last of the serial runs is long
 * over then. */
static int stay_if_late(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);
	int balance = query(db, get);

	(void)arg;
	if (execute_int(db, set, balance - 10))
		return -1;
	if (query(db, get) != balance - 10)
		for (;;)
			pause();
	return 0;
}

static int pay_20(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);
	int balance = query(db, get);

	(void)arg;
	return execute_int(db, set, balance - 20);
}

/* 0: it ended as it should, and a second exploration works. */
static int explore_one_that_stays(sqloom_fn fn, bool found)
{
	struct sqloom_options options = usual();
	struct sqloom_report *report = NULL;
	struct sqloom_error err;
	struct many many;
	cpu_set_t before, now;

	sched_getaffinity(0, sizeof(before), &before);
	options.call_limit_ms = 300;
	same(&many, 2, fn, NULL, set_account_up);
	many.functions[1].fn = pay_20;
	if (sqloom_explore_calls(&many.calls, &options, &report, &err))
		return 1;
	if (report->trace.verdict !=
	    (found ? SQLOOM_BROKEN : SQLOOM_INCONCLUSIVE))
		return 2;
	if (!strstr(report->trace.reason, "alice") ||
	    !strstr(report->trace.reason, "call_limit_ms"))
		return 3;
	sqloom_report_free(report);
	sched_getaffinity(0, sizeof(now), &now);
	if (memcmp(&before, &now, sizeof(now)) != 0)
		return 4;
	same(&many, 2, pay, NULL, set_account_up);
	if (sqloom_explore_calls(&many.calls, &options, &report, &err))
		return 5;
	if (report->trace.explored != 6 || report->trace.wrong != 4)
		return 6;
	sqloom_report_free(report);
	return 0;
}

static int one_that_stays(void)
{
	return explore_one_that_stays(pay_and_stay, false);
}

static int one_that_stays_later(void)
{
	return explore_one_that_stays(stay_if_late, true);
}

static void a_call_that_never_returns_ends_the_exploration(void **state)
{
	(void)state;
	assert_int_equal(in_child(one_that_stays), 0);
}

static void also_if_something_was_found_before(void **state)
{
	(void)state;
	assert_int_equal(in_child(one_that_stays_later), 0);
}

static int end_the_thread(struct sqloom_call *call, void *arg)
{
	(void)pay(call, arg);
	pthread_exit(NULL);
	return 0;
}

static void a_call_that_ends_its_thread_ends_the_exploration(void **state)
{
	struct sqloom_report *report =
		explore_two(end_the_thread, NULL, set_account_up);

	(void)state;
	assert_int_equal(report->trace.verdict, SQLOOM_INCONCLUSIVE);
	assert_non_null(strstr(report->trace.reason, "pthread_exit"));
	sqloom_report_free(report);
	two(pay, set_account_up, 6, 4, SQLOOM_BROKEN);
}

/* ---- What is left open ----------------------------------------------------------- */

static int leave_a_transaction(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);

	sqlite3_busy_timeout(db, 1000);
	return execute(db, "BEGIN IMMEDIATE") ? -1 : pay(call, arg);
}

static void an_open_transaction_is_rolled_back_and_noted(void **state)
{
	struct sqloom_report *report =
		explore_two(leave_a_transaction, NULL, set_account_up);

	(void)state;
	assert_int_equal(report->trace.verdict, SQLOOM_HOLDS);
	assert_true(has_note(report, "call \"bob\" returned in the middle of a "
				     "transaction, which was rolled back"));
	sqloom_report_free(report);
}

static int leave_a_cursor(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);
	sqlite3_stmt *stmt = NULL;

	(void)arg;
	assert_int_equal(sqlite3_prepare_v2(db, get, -1, &stmt, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	return 0; /* close_kept() finalizes it */
}

static int pay_patiently(struct sqloom_call *call, void *arg)
{
	sqlite3_busy_timeout(kept(call), 1000);
	return pay(call, arg);
}

/* It would keep its lock into the next run, and the writer would never get its
 * own. */
static void an_open_cursor_is_ended_with_its_call(void **state)
{
	struct sqloom_report *report;
	struct many many;

	(void)state;
	same(&many, 2, pay_patiently, NULL, set_account_up);
	many.functions[1].fn = leave_a_cursor;
	report = explore_calls(&many.calls, NULL);
	assert_figures(report, 3, 0, SQLOOM_HOLDS);
	assert_int_equal(report->trace.nfindings, 0);
	assert_int_equal(report->trace.nnotes, 0);
	sqloom_report_free(report);
}

static _Thread_local sqlite3_stmt *old_stmt;

static void end_late(void *kept)
{
	sqlite3_finalize(old_stmt);
	old_stmt = NULL;
	sqlite3_close(kept);
}

static int finalize_late(struct sqloom_call *call, void *arg)
{
	void **place = sqloom_call_keep(call, end_late);
	sqlite3_stmt *stmt = NULL;
	int balance;

	(void)arg;
	if (!*place)
		*place = connect_to(call);
	sqlite3_finalize(old_stmt);
	assert_int_equal(sqlite3_prepare_v2(*place, get, -1, &stmt, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	balance = sqlite3_column_int(stmt, 0);
	assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
	old_stmt = stmt;
	return execute_int(*place, set, balance - 10);
}

static void statements_may_be_finalized_a_run_later(void **state)
{
	(void)state;
	two(finalize_late, set_account_up, 6, 4, SQLOOM_BROKEN);
}

struct prepared {
	sqlite3 *db;
	sqlite3_stmt *get, *set;
};

static void unprepare(void *kept)
{
	struct prepared *prepared = kept;

	sqlite3_finalize(prepared->get);
	sqlite3_finalize(prepared->set);
	sqlite3_close(prepared->db);
	free(prepared);
}

static int pay_prepared(struct sqloom_call *call, void *arg)
{
	void **place = sqloom_call_keep(call, unprepare);
	struct prepared *prepared = *place;
	int balance, rc;

	(void)arg;
	if (!prepared) {
		*place = prepared = calloc(1, sizeof(*prepared));
		assert_non_null(prepared);
		prepared->db = connect_to(call);
		sqlite3_prepare_v2(prepared->db, get, -1, &prepared->get, NULL);
		sqlite3_prepare_v2(prepared->db, set, -1, &prepared->set, NULL);
	}
	assert_int_equal(sqlite3_step(prepared->get), SQLITE_ROW);
	balance = sqlite3_column_int(prepared->get, 0);
	sqlite3_reset(prepared->get);
	sqlite3_bind_int(prepared->set, 1, balance - 10);
	rc = sqlite3_step(prepared->set);
	sqlite3_reset(prepared->set);
	return rc == SQLITE_DONE ? 0 : rc;
}

static void prepared_statements_are_used_in_every_run(void **state)
{
	(void)state;
	two(pay_prepared, set_account_up, 6, 4, SQLOOM_BROKEN);
	two(pay_prepared, set_wal_up, 6, 4, SQLOOM_BROKEN);
}

/* ---- Connections ------------------------------------------------------------------ */

static int pay_on_a_new_connection(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = connect_to(call);
	int balance = query(db, get);
	int rc = execute_int(db, set, balance - 10);

	(void)arg;
	sqlite3_close(db);
	return rc;
}

static void a_connection_may_be_opened_in_every_run(void **state)
{
	(void)state;
	two(pay_on_a_new_connection, set_account_up, 6, 4, SQLOOM_BROKEN);
	two(pay_on_a_new_connection, set_wal_up, 6, 4, SQLOOM_BROKEN);
}

/* One connection for both calls, as a program with a global one has it. */
static sqlite3 *global;

static int pay_on_the_global_one(struct sqloom_call *call, void *arg)
{
	int balance;

	(void)call;
	(void)arg;
	balance = query(global, get);
	return execute_int(global, set, balance - 10);
}

static int begin_on_the_global_one(struct sqloom_call *call, void *arg)
{
	int rc;

	if (execute(global, "BEGIN"))
		return sqloom_call_fail(call, "%s", sqlite3_errmsg(global));
	rc = pay_on_the_global_one(call, arg);
	return execute(global, "COMMIT") ? -1 : rc;
}

static int open_the_global_one(struct sqloom_call *call, void *arg)
{
	int rc = set_account_up(call, arg);

	global = connect_to(call);
	return rc;
}

/* A call that returns leaves the transaction of the other alone. */
static void calls_may_share_a_connection(void **state)
{
	struct sqloom_report *report;

	(void)state;
	two(pay_on_the_global_one, open_the_global_one, 6, 4, SQLOOM_BROKEN);
	sqlite3_close(global);
	report =
		explore_two(begin_on_the_global_one, NULL, open_the_global_one);
	assert_int_equal(report->trace.verdict, SQLOOM_BROKEN);
	assert_false(has_note(report, "rolled back"));
	sqloom_report_free(report);
	sqlite3_close(global);
	global = NULL;
}

static int connect_32_times(struct sqloom_call *call, void *arg)
{
	sqlite3 *dbs[32] = { NULL };
	int rc = 0;

	(void)arg;
	for (size_t i = 0; i < COUNT(dbs) && !rc; i++) {
		rc = sqlite3_open(sqloom_call_database(call), &dbs[i]);
		rc = rc || query(dbs[i], get) < 0;
	}
	for (size_t i = 0; i < COUNT(dbs); i++)
		sqlite3_close(dbs[i]);
	return rc ? sqloom_call_fail(call, "too many") : 0;
}

static void too_many_connections_are_told(void **state)
{
	struct sqloom_options options = usual();
	struct sqloom_report *report;
	struct many many;

	(void)state;
	options.max_runs = 20;
	same(&many, 2, connect_32_times, NULL, set_account_up);
	report = explore_calls(&many.calls, &options);
	assert_int_equal(report->trace.verdict, SQLOOM_INCONCLUSIVE);
	assert_non_null(strstr(report->trace.reason, "connections"));
	sqloom_report_free(report);
}

/* A COMMIT waits for a reader, and its lock makes a connection wait that only
 * loads the schema: before its first statement. */
static int read_in_the_middle(struct sqloom_call *call, void *arg)
{
	sqlite3_stmt *stmt = NULL;

	(void)arg;
	assert_int_equal(sqlite3_prepare_v2(kept(call), get, -1, &stmt, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	sqloom_point("in the middle");
	return sqlite3_finalize(stmt);
}

static int read_on_a_new_connection(struct sqloom_call *call, void *arg)
{
	sqlite3 *db;
	int balance, rc;

	(void)arg;
	sqloom_point("before");
	db = connect_to(call);
	sqlite3_busy_timeout(db, 5000);
	balance = query(db, get);
	rc = balance < 0 ? sqloom_call_fail(call, "%s", sqlite3_errmsg(db)) : 0;
	sqlite3_close(db);
	return rc;
}

static int pay_in_a_transaction(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);
	int rc;

	sqlite3_busy_timeout(db, 5000);
	if (execute(db, "BEGIN IMMEDIATE"))
		return sqloom_call_fail(call, "begin");
	rc = pay(call, arg);
	return execute(db, "COMMIT") ? sqloom_call_fail(call, "commit") : rc;
}

static void preparing_waits_as_a_statement_does(void **state)
{
	struct sqloom_report *report;
	struct many many;

	(void)state;
	same(&many, 3, pay_in_a_transaction, NULL, set_account_up);
	many.functions[1].fn = read_in_the_middle;
	many.functions[2].fn = read_on_a_new_connection;
	report = explore_calls(&many.calls, NULL);
	if (report->trace.verdict != SQLOOM_HOLDS || report->trace.nfindings) {
		show(report);
		fail_msg("%d findings", (int)report->trace.nfindings);
	}
	sqloom_report_free(report);
}

/* ---- Other databases ---------------------------------------------------------------- */

static int pay_and_attach(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);
	int rc = execute(db, "ATTACH ':memory:' AS beside;"
			     "CREATE TABLE beside.t (a)");

	rc = rc ? rc : pay(call, arg);
	return rc ? rc : execute(db, "DETACH beside");
}

static void attached_databases_are_noted(void **state)
{
	struct sqloom_report *report =
		explore_two(pay_and_attach, NULL, set_account_up);

	(void)state;
	assert_int_equal(report->trace.verdict, SQLOOM_BROKEN);
	assert_non_null(strstr(report->trace.reason, "not compared"));
	sqloom_report_free(report);
}

static int pay_and_log(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(arg, &db), SQLITE_OK);
	execute(db, "CREATE TABLE IF NOT EXISTS log (a);"
		    "INSERT INTO log VALUES (1)");
	sqlite3_close(db);
	return pay(call, NULL);
}

static void another_file_is_noted(void **state)
{
	char path[] = "/tmp/sqloom-test-XXXXXX";
	struct sqloom_report *report;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	report = explore_two(pay_and_log, path, set_account_up);
	assert_figures(report, 6, 4, SQLOOM_BROKEN);
	assert_true(has_note(report, "another SQLite file"));
	sqloom_report_free(report);
	unlink(path);
	/* Nobody else's business. */
	report = explore_two(pay_and_log, (void *)":memory:", set_account_up);
	assert_figures(report, 6, 4, SQLOOM_BROKEN);
	assert_int_equal(report->trace.nnotes, 0);
	sqloom_report_free(report);
}

static sqlite3 *opened_before;

static int pay_past_us(struct sqloom_call *call, void *arg)
{
	(void)call;
	(void)arg;
	return execute_int(opened_before, set, 7);
}

/* What one call does cannot be seen: then nothing can be said to hold. */
static void a_call_that_is_not_seen_never_holds(void **state)
{
	struct sqloom_report *report;
	struct many many;

	(void)state;
	assert_int_equal(sqlite3_open(":memory:", &opened_before), SQLITE_OK);
	assert_false(execute(opened_before, account));
	same(&many, 2, pay, NULL, set_account_up);
	many.functions[1].fn = pay_past_us;
	report = explore_calls(&many.calls, NULL);
	assert_int_equal(report->trace.verdict, SQLOOM_INCONCLUSIVE);
	assert_true(has_note(report, "never executed a statement"));
	sqloom_report_free(report);
	sqlite3_close(opened_before);
}

static int count_up(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);
	int version = query(db, "PRAGMA user_version");
	char sql[60];

	(void)arg;
	snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", version + 1);
	return execute(db, sql);
}

static void the_user_version_is_compared(void **state)
{
	struct sqloom_report *report =
		explore_two(count_up, NULL, set_account_up);

	(void)state;
	assert_figures(report, 6, 4, SQLOOM_BROKEN);
	sqloom_report_free(report);
}

/* Without a limit, and at once. */
static int pay_stubbornly(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);
	int rc;

	while (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) ==
	       SQLITE_BUSY)
		;
	rc = pay(call, arg);
	return execute(db, "COMMIT") ? -1 : rc;
}

static void a_loop_that_tries_again_gives_others_their_turn(void **state)
{
	struct sqloom_report *report =
		explore_two(pay_stubbornly, NULL, set_account_up);

	(void)state;
	assert_figures(report, 30, 0, SQLOOM_HOLDS);
	sqloom_report_free(report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		guarded(what_a_helper_thread_does_is_its_calls),
		guarded(points_of_helper_threads_count),
		guarded(a_helper_beside_its_call_is_not_a_stall),
		guarded(a_worker_thread_may_outlive_the_runs),
		guarded(threads_of_others_are_not_disturbed),
		guarded(a_mutex_across_statements_is_recognised),
		guarded(a_sleep_between_statements_is_recognised),
		guarded(a_sleep_within_the_patience_is_no_stall),
		guarded(a_sleep_between_rows_is_recognised),
		guarded(a_call_that_never_returns_ends_the_exploration),
		guarded(also_if_something_was_found_before),
		guarded(a_call_that_ends_its_thread_ends_the_exploration),
		guarded(an_open_transaction_is_rolled_back_and_noted),
		guarded(an_open_cursor_is_ended_with_its_call),
		guarded(statements_may_be_finalized_a_run_later),
		guarded(prepared_statements_are_used_in_every_run),
		guarded(a_connection_may_be_opened_in_every_run),
		guarded(calls_may_share_a_connection),
		guarded(too_many_connections_are_told),
		guarded(preparing_waits_as_a_statement_does),
		guarded(attached_databases_are_noted),
		guarded(another_file_is_noted),
		guarded(a_call_that_is_not_seen_never_holds),
		guarded(the_user_version_is_compared),
		guarded(a_loop_that_tries_again_gives_others_their_turn),
	};

	return cmocka_run_group_tests(tests, NULL, nothing_leaks);
}
