/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Explorations of functions that cannot be made: each is refused with a message
 * that says why, leaves nothing behind, and the next one works. The user's
 * database is never written.
 */
#include "functions_help.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int pay(struct sqloom_call *call, void *arg)
{
	sqlite3 *db = kept(call);
	int balance = query(db, "SELECT bal FROM acct WHERE id = 1");

	(void)arg;
	return execute_int(db, "UPDATE acct SET bal = ? WHERE id = 1",
			   balance - 10);
}

static void refused(const struct sqloom_calls *calls,
		    const struct sqloom_options *options,
		    enum sqloom_status status, const char *part)
{
	struct sqloom_error err = { 0 };
	enum sqloom_status got = fails(calls, options, &err);

	if (got != status || !strstr(err.message, part))
		fail_msg("%s: %s", sqloom_status_text(got), err.message);
}

/* ---- Calls ------------------------------------------------------------------ */

static void calls_that_cannot_be_explored(void **state)
{
	struct many many;

	(void)state;
	refused(NULL, NULL, SQLOOM_USAGE, "0 calls to explore");
	same(&many, 0, pay, NULL, set_account_up);
	refused(&many.calls, NULL, SQLOOM_USAGE, "0 calls to explore");
	same(&many, 1, pay, NULL, set_account_up);
	refused(&many.calls, NULL, SQLOOM_USAGE, "give at least 2");
	same(&many, 2, pay, NULL, set_account_up);
	many.calls.ncalls = 17;
	refused(&many.calls, NULL, SQLOOM_USAGE, "the most is 16");
	many.calls.calls = NULL;
	refused(&many.calls, NULL, SQLOOM_USAGE, "0 calls to explore");
	same(&many, 2, pay, NULL, set_account_up);
	many.functions[1].fn = NULL;
	refused(&many.calls, NULL, SQLOOM_USAGE,
		"call 2 (bob) has no function");
	many.functions[1].name = NULL;
	refused(&many.calls, NULL, SQLOOM_USAGE,
		"call 2 (without a name) has no function");
}

static void names_that_nobody_can_tell_apart(void **state)
{
	char name[100];
	struct many many;

	(void)state;
	same(&many, 2, pay, NULL, set_account_up);
	many.functions[1].name = "alice";
	refused(&many.calls, NULL, SQLOOM_USAGE,
		"calls 1 and 2 are both called \"alice\"");
	many.functions[1].name = "";
	refused(&many.calls, NULL, SQLOOM_USAGE, "call 2 has 0 bytes");
	many.functions[1].name = "two\nlines";
	refused(&many.calls, NULL, SQLOOM_USAGE, "more than one line");
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	many.functions[1].name = name;
	refused(&many.calls, NULL, SQLOOM_USAGE, "call 2 has 99 bytes");
}

static void odd_names_are_fine(void **state)
{
	struct sqloom_report *report;
	struct many many;

	(void)state;
	same(&many, 2, pay, NULL, set_account_up);
	many.functions[0].name = "a \"quoted\" } name {";
	many.functions[1].name = "exec";
	many.calls.name = "odd \"test\"\n}";
	report = explore_calls(&many.calls, NULL);
	assert_figures(report, 6, 4, SQLOOM_BROKEN);
	assert_string_equal(report->trace.calls[0].name,
			    "a \"quoted\" } name {");
	sqloom_report_free(report);
}

static int do_nothing(struct sqloom_call *call, void *arg)
{
	(void)call;
	(void)arg;
	return 0;
}

static void calls_that_do_not_come_to_the_database(void **state)
{
	struct sqloom_report *report;
	struct many many;

	(void)state;
	same(&many, 16, do_nothing, NULL, NULL);
	report = explore_calls(&many.calls, NULL);
	assert_int_equal(report->trace.verdict, SQLOOM_INCONCLUSIVE);
	assert_true(has_note(report, "sqloom_call_database()"));
	sqloom_report_free(report);
}

/* ---- Inside of one another -------------------------------------------------- */

static enum sqloom_status explore_again(struct sqloom_error *err)
{
	struct many many;

	same(&many, 2, pay, NULL, set_account_up);
	return fails(&many.calls, NULL, err);
}

static int explore_inside(struct sqloom_call *call, void *arg)
{
	struct sqloom_error err = { 0 };

	if (explore_again(&err) != SQLOOM_USAGE)
		return sqloom_call_fail(call, "not refused: %s", err.message);
	if (!strstr(err.message, arg))
		return sqloom_call_fail(call, "%s", err.message);
	return 0;
}

static int pay_and_explore(struct sqloom_call *call, void *arg)
{
	int rc = explore_inside(call, arg);

	return rc ? rc : pay(call, NULL);
}

static void an_exploration_in_a_call_is_refused(void **state)
{
	struct sqloom_report *report;
	struct many many;

	(void)state;
	same(&many, 2, pay_and_explore,
	     (void *)"inside of a call that is being explored", set_account_up);
	report = explore_calls(&many.calls, NULL);
	assert_figures(report, 6, 4, SQLOOM_BROKEN);
	assert_int_equal(report->trace.findings[0].outcome.failed, 0);
	sqloom_report_free(report);
}

static int set_up_and_explore(struct sqloom_call *call, void *arg)
{
	int rc = explore_inside(call, arg);

	return rc ? rc : set_account_up(call, NULL);
}

static void also_in_setup_and_check(void **state)
{
	struct sqloom_report *report;
	struct many many;

	(void)state;
	same(&many, 2, pay, NULL, set_up_and_explore);
	many.calls.check = explore_inside;
	many.calls.arg = (void *)"the setup, the check or the progress";
	report = explore_calls(&many.calls, NULL);
	assert_figures(report, 6, 4, SQLOOM_BROKEN);
	assert_int_not_equal(report->trace.findings[0].class, SLM_CLASS_CHECK);
	sqloom_report_free(report);
}

struct rival {
	atomic_bool go, done;
	enum sqloom_status status;
	struct sqloom_error err;
};

static void *explore_beside(void *userdata)
{
	struct rival *rival = userdata;

	while (!atomic_load(&rival->go))
		usleep(1000);
	rival->status = explore_again(&rival->err);
	atomic_store(&rival->done, true);
	return NULL;
}

static int let_the_rival_explore(struct sqloom_call *call, void *arg)
{
	struct rival *rival = arg;

	(void)call;
	atomic_store(&rival->go, true);
	while (!atomic_load(&rival->done))
		usleep(1000);
	return 0;
}

static void one_exploration_at_a_time(void **state)
{
	struct rival rival = { .status = SQLOOM_OK };
	struct sqloom_report *report;
	pthread_t thread;
	struct many many;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, explore_beside, &rival),
			 0);
	same(&many, 2, pay, NULL, set_account_up);
	many.calls.check = let_the_rival_explore;
	many.calls.arg = &rival;
	report = explore_calls(&many.calls, NULL);
	pthread_join(thread, NULL);
	assert_figures(report, 6, 4, SQLOOM_BROKEN);
	assert_int_equal(rival.status, SQLOOM_USAGE);
	assert_non_null(strstr(rival.err.message, "another thread"));
	sqloom_report_free(report);
}

/* ---- Setup and queries -------------------------------------------------------- */

static int fail_to_set_up(struct sqloom_call *call, void *arg)
{
	(void)arg;
	return run_script(call, "CREATE TABLE t (a); INSERT INTO u VALUES (1)");
}

static int return_3(struct sqloom_call *call, void *arg)
{
	(void)call;
	(void)arg;
	return 3;
}

static sqlite3 *left;

static int leave_a_transaction(struct sqloom_call *call, void *arg)
{
	left = connect_to(call);
	(void)arg;
	return execute(left, "CREATE TABLE acct (id, bal); BEGIN IMMEDIATE");
}

static int leave_a_cursor(struct sqloom_call *call, void *arg)
{
	sqlite3_stmt *stmt = NULL;

	(void)arg;
	left = connect_to(call);
	execute(left, account);
	sqlite3_prepare_v2(left, "SELECT * FROM acct", -1, &stmt, NULL);
	return sqlite3_step(stmt) != SQLITE_ROW;
}

static void setups_that_do_not_set_up(void **state)
{
	struct many many;

	(void)state;
	same(&many, 2, pay, NULL, fail_to_set_up);
	refused(&many.calls, NULL, SQLOOM_CALL,
		"the setup failed: no such table: u");
	same(&many, 2, pay, NULL, return_3);
	refused(&many.calls, NULL, SQLOOM_CALL,
		"the setup failed: it returned 3");
	same(&many, 2, pay, NULL, leave_a_transaction);
	refused(&many.calls, NULL, SQLOOM_CALL,
		"the setup left a transaction or a statement open");
	close_kept(left);
	same(&many, 2, pay, NULL, leave_a_cursor);
	refused(&many.calls, NULL, SQLOOM_CALL,
		"the setup left a transaction or a statement open");
	close_kept(left);
}

static void queries_that_cannot_check(void **state)
{
	static const struct {
		const char *query;
		enum sqloom_status status;
		const char *part;
	} cases[] = {
		{ "SELECT bal FROM nowhere", SQLOOM_SPEC, "no such table" },
		{ "DELETE FROM acct", SQLOOM_SPEC, "must be one SELECT" },
		{ "SELECT 1; SELECT 2", SQLOOM_SPEC, "must be one SELECT" },
		{ "", SQLOOM_SPEC, "empty" },
		{ "SELECT 1 } check { SELECT", SQLOOM_USAGE, "}" },
	};
	struct many many;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *const queries[] = { cases[i].query, NULL };

		same(&many, 2, pay, NULL, set_account_up);
		many.calls.queries = queries;
		refused(&many.calls, NULL, cases[i].status, cases[i].part);
	}
}

/* ---- Options ------------------------------------------------------------------ */

static void options_that_mean_nothing_here(void **state)
{
	static const char *const nobody[] = { NULL };
	struct sqloom_options options;
	struct many many;

	(void)state;
	same(&many, 2, pay, NULL, set_account_up);
	options = usual();
	options.store = SQLOOM_STORE_FILE;
	refused(&many.calls, &options, SQLOOM_USAGE, "the file store");
	options = usual();
	options.jobs = 2;
	refused(&many.calls, &options, SQLOOM_USAGE, "2 jobs");
	options = usual();
	options.busy_timeout_ms = 100;
	refused(&many.calls, &options, SQLOOM_USAGE, "a busy timeout");
	options = usual();
	options.isolation = "serializable";
	refused(&many.calls, &options, SQLOOM_USAGE, "an isolation level");
	options = usual();
	options.proxy_port = 7432;
	refused(&many.calls, &options, SQLOOM_USAGE, "a proxy's port");
	options = usual();
	options.background = nobody;
	refused(&many.calls, &options, SQLOOM_USAGE, "background traffic");
	options = usual();
	options.journal = "nonsense";
	refused(&many.calls, &options, SQLOOM_DATABASE, "nonsense");
	options = usual();
	options.strategy = (enum sqloom_strategy)99;
	refused(&many.calls, &options, SQLOOM_USAGE, "no strategy 99");
}

static void a_trace_that_cannot_be_written(void **state)
{
	struct sqloom_options options = usual();
	struct many many;

	(void)state;
	same(&many, 2, pay, NULL, set_account_up);
	options.trace_path = "/nonexistent/trace";
	refused(&many.calls, &options, SQLOOM_IO, "/nonexistent/trace");
}

static void tokens_that_name_nothing(void **state)
{
	static const char *const tokens[] = { "", "baab", "xyz~0918.qh", "~~",
					      "zz~0000.aa" };
	struct sqloom_options options = usual();
	struct many many;

	(void)state;
	same(&many, 2, pay, NULL, set_account_up);
	for (size_t i = 0; i < COUNT(tokens); i++) {
		struct sqloom_report *report = NULL;
		struct sqloom_error err = { 0 };
		enum sqloom_status status = sqloom_replay_calls(
			&many.calls, tokens[i], NULL, &options, &report, &err);

		if (status != SQLOOM_TOKEN || report || !*err.message)
			fail_msg("%s: %s: %s", tokens[i],
				 sqloom_status_text(status), err.message);
	}
}

/* ---- Databases ---------------------------------------------------------------- */

static char directory[] = "/tmp/sqloom-misuse-XXXXXX";
static char path[64];

static int make_directory(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/shop.db", directory);
	return 0;
}

static int remove_directory(void **state)
{
	rmdir(directory);
	return nothing_leaks(state);
}

static sqlite3 *make_database(void)
{
	sqlite3 *db = NULL;

	unlink(path);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(execute(db, account), SQLITE_OK);
	return db;
}

static void databases_that_are_none(void **state)
{
	struct sqloom_options options = usual();
	struct many many;
	FILE *file;

	(void)state;
	same(&many, 2, pay, NULL, NULL);
	options.database = "/nonexistent/shop.db";
	refused(&many.calls, &options, SQLOOM_IO, "/nonexistent/shop.db");
	options.database = directory;
	refused(&many.calls, &options, SQLOOM_IO, "is a directory");
	options.database = "";
	refused(&many.calls, &options, SQLOOM_IO, "cannot open the database");
	file = fopen(path, "w");
	assert_non_null(file);
	for (int i = 0; i < 1000; i++)
		fputs("This is no database. ", file);
	fclose(file);
	options.database = path;
	refused(&many.calls, &options, SQLOOM_DATABASE,
		"file is not a database");
	unlink(path);
}

/* Everything that can be told of a file. */
struct look {
	struct stat stat;
	size_t size;
	char bytes[1 << 16];
};

static void look_at(struct look *look)
{
	FILE *file = fopen(path, "r");

	assert_non_null(file);
	memset(look, 0, sizeof(*look));
	assert_int_equal(stat(path, &look->stat), 0);
	look->size = fread(look->bytes, 1, sizeof(look->bytes), file);
	assert_true(look->size > 0 && look->size < sizeof(look->bytes));
	fclose(file);
}

static int set_up_more(struct sqloom_call *call, void *arg)
{
	(void)arg;
	return run_script(call, "UPDATE acct SET bal = 500;"
				"CREATE TABLE more (a)");
}

static void the_file_is_never_written(void **state)
{
	static struct look before, after;
	static const char *const journals[] = { "delete", "wal" };
	struct sqloom_options options = usual();
	char other[80];
	struct many many;

	(void)state;
	for (size_t i = 0; i < COUNT(journals); i++) {
		struct sqloom_report *report;
		char sql[60];
		sqlite3 *db = make_database();

		snprintf(sql, sizeof(sql), "PRAGMA journal_mode = %s",
			 journals[i]);
		execute(db, sql);
		sqlite3_close(db);
		look_at(&before);
		same(&many, 2, pay, NULL, set_up_more);
		options.database = path;
		report = explore_calls(&many.calls, &options);
		assert_figures(report, 6, 4, SQLOOM_BROKEN);
		sqloom_report_free(report);
		look_at(&after);
		assert_int_equal(before.size, after.size);
		assert_memory_equal(before.bytes, after.bytes, before.size);
		assert_int_equal(before.stat.st_mtim.tv_nsec,
				 after.stat.st_mtim.tv_nsec);
		assert_int_equal(before.stat.st_ino, after.stat.st_ino);
		snprintf(other, sizeof(other), "%s-wal", path);
		assert_int_not_equal(access(other, F_OK), 0);
		snprintf(other, sizeof(other), "%s-journal", path);
		assert_int_not_equal(access(other, F_OK), 0);
		unlink(path);
	}
}

/* Runs in another process: locks the database until a byte comes. */
static int lock_elsewhere(int ready, int end)
{
	sqlite3 *db = NULL;
	char byte = 0;

	if (sqlite3_open(path, &db) || execute(db, "BEGIN EXCLUSIVE"))
		return 1;
	if (write(ready, &byte, 1) != 1 || read(end, &byte, 1) != 1)
		return 2;
	return execute(db, "COMMIT");
}

static void a_file_that_another_process_writes(void **state)
{
	struct sqloom_options options = usual();
	int ready[2], end[2], status = 0;
	struct many many;
	char byte = 0;
	pid_t pid;

	(void)state;
	sqlite3_close(make_database());
	assert_int_equal(pipe(ready) | pipe(end), 0);
	pid = fork();
	if (pid == 0)
		_exit(lock_elsewhere(ready[1], end[0]));
	close(ready[1]);
	close(end[0]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	same(&many, 2, pay, NULL, NULL);
	options.database = path;
	refused(&many.calls, &options, SQLOOM_DATABASE,
		"is being written by another program");
	assert_int_equal(write(end[1], &byte, 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(ready[0]);
	close(end[1]);
	unlink(path);
}

/* POSIX locks go when any descriptor of the file is closed: they are this
 * program's, and must stay. */
static void a_file_that_this_process_has_locked(void **state)
{
	struct sqloom_options options = usual();
	struct many many;
	sqlite3 *db = make_database();

	(void)state;
	same(&many, 2, pay, NULL, NULL);
	options.database = path;
	assert_int_equal(execute(db, "BEGIN IMMEDIATE"), SQLITE_OK);
	refused(&many.calls, &options, SQLOOM_USAGE, "is open in this process");
	assert_int_equal(execute(db, "COMMIT; PRAGMA journal_mode = wal"),
			 SQLITE_OK);
	assert_int_equal(query(db, "SELECT bal FROM acct"), 100);
	refused(&many.calls, &options, SQLOOM_USAGE, "is open in this process");
	sqlite3_close(db);
	unlink(path);
}

static sqlite3 *early;

static int pay_on_an_early_connection(struct sqloom_call *call, void *arg)
{
	(void)call;
	(void)arg;
	return query(early, "SELECT bal FROM acct") < 0;
}

/* It is not seen: that is said, and what to do. */
static void a_connection_that_was_open_before(void **state)
{
	struct sqloom_options options = usual();
	struct sqloom_report *report;
	struct many many;

	(void)state;
	early = make_database();
	same(&many, 2, pay_on_an_early_connection, NULL, NULL);
	options.database = path;
	report = explore_calls(&many.calls, &options);
	assert_int_equal(report->trace.verdict, SQLOOM_INCONCLUSIVE);
	assert_true(has_note(report, "did it open the connection in this "
				     "exploration?"));
	sqloom_report_free(report);
	sqlite3_close(early);
	unlink(path);
}

static sqlite3 *late;
static char late_path[300];

static int keep_it_open(struct sqloom_call *call, void *arg)
{
	(void)arg;
	if (!late)
		late = connect_to(call);
	snprintf(late_path, sizeof(late_path), "%s",
		 sqloom_call_database(call));
	return query(late, "SELECT bal FROM acct") < 0;
}

/* A connection that a call has left open: it can be closed, and gives errors
 * until then. */
static void a_connection_that_stays_open(void **state)
{
	struct sqloom_report *report;
	struct many many;

	(void)state;
	same(&many, 2, keep_it_open, NULL, set_account_up);
	report = explore_calls(&many.calls, NULL);
	assert_int_equal(report->trace.wrong, 0);
	sqloom_report_free(report);
	assert_int_equal(query(late, "SELECT bal FROM acct"), -1);
	assert_int_equal(sqlite3_close(late), SQLITE_OK);
	late = NULL;
	/* There is no such file: it was in memory. */
	assert_int_equal(sqlite3_open_v2(late_path, &late,
					 SQLITE_OPEN_READWRITE, NULL),
			 SQLITE_CANTOPEN);
	sqlite3_close(late);
	late = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		guarded(calls_that_cannot_be_explored),
		guarded(names_that_nobody_can_tell_apart),
		guarded(odd_names_are_fine),
		guarded(calls_that_do_not_come_to_the_database),
		guarded(an_exploration_in_a_call_is_refused),
		guarded(also_in_setup_and_check),
		guarded(one_exploration_at_a_time),
		guarded(setups_that_do_not_set_up),
		guarded(queries_that_cannot_check),
		guarded(options_that_mean_nothing_here),
		guarded(a_trace_that_cannot_be_written),
		guarded(tokens_that_name_nothing),
		guarded(databases_that_are_none),
		guarded(the_file_is_never_written),
		guarded(a_file_that_another_process_writes),
		guarded(a_file_that_this_process_has_locked),
		guarded(a_connection_that_was_open_before),
		guarded(a_connection_that_stays_open),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
