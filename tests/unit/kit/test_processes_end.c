/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a call in a clean process can end, and what is left behind by it: its
 * result is told, whatever it did, and nothing of it goes on.
 */
#include "processes_help.h"

#include <sqlite3.h>
#include <sys/resource.h>

/* ---- How a call can end ------------------------------------------------ */

static int end_somehow(struct sqloom_call *call, void *arg)
{
	const struct rlimit no_core = { 0 };

	(void)arg;
	setrlimit(RLIMIT_CORE, &no_core);
	sqloom_call_printf(call, "lost, if it does not return");
	fprintf(stderr, "last words");
	switch (sqloom_call_number(call)) {
	case 0:
		return sqloom_call_fail(call, "no book\n%d", 7);
	case 1:
		return 17;
	case 2:
		_exit(3);
	case 3:
		exit(0);
	case 4:
		signal(SIGSEGV, SIG_DFL);
		raise(SIGSEGV);
		break;
	case 5:
		raise(SIGKILL);
		break;
	case 6:
		raise(SIGRTMIN + 1);
		break;
	default:
		break;
	}
	return 0;
}

static void test_endings(void **state)
{
	struct sqloom_processes *processes = start();
	struct sqloom_results *results = call_some(processes, 8, end_somehow);
	const char *value;

	(void)state;
	assert_failed(results, 0, SQLOOM_FAILED, "no book 7");
	assert_int_equal(sqloom_results_at(results, 0)->status, -1);
	value = sqloom_results_at(results, 0)->value;
	assert_string_equal(value, "lost, if it does not return");
	assert_failed(results, 1, SQLOOM_FAILED, "it returned 17");
	assert_int_equal(sqloom_results_at(results, 1)->status, 17);
	assert_failed(results, 2, SQLOOM_EXITED,
		      "its process ended with status 3 inside of the call");
	assert_int_equal(sqloom_results_at(results, 2)->status, 3);
	assert_string_equal(sqloom_results_at(results, 2)->value, "");
	assert_failed(results, 3, SQLOOM_EXITED, "status 0 inside");
	assert_failed(results, 4, SQLOOM_CRASHED,
		      "signal 11 (SIGSEGV, Segmentation fault)");
	assert_int_equal(sqloom_results_at(results, 4)->status, SIGSEGV);
	assert_failed(results, 5, SQLOOM_CRASHED, "signal 9 (SIGKILL, Killed)");
	assert_failed(results, 6, SQLOOM_CRASHED, "signal 35 (unknown)");
	assert_value(results, 7, "lost, if it does not return");
	for (size_t i = 0; i < 8; i++)
		assert_string_equal(sqloom_results_at(results, i)->output,
				    "last words");
	assert_contains(sqloom_results_message(results),
			"7 of 8 calls failed:\n  call 1: no book 7\n");
	sqloom_results_free(results);
	assert_works(processes);
	sqloom_processes_free(processes);
}

/* _exit() in the middle of a transaction: the lock goes, and the rest too. */
static int exit_in_transaction(struct sqloom_call *call, void *arg)
{
	sqlite3 *db;

	(void)call;
	if (sqlite3_open(arg, &db) != SQLITE_OK ||
	    sqlite3_exec(db, "BEGIN IMMEDIATE; INSERT INTO t VALUES(2)", NULL,
			 NULL, NULL) != SQLITE_OK)
		return 1;
	_exit(0);
}

static void test_exit_in_transaction(void **state)
{
	struct sqloom_processes *processes = start();
	struct sqloom_function call = { .fn = exit_in_transaction,
					.arg = file,
					.arg_size = sizeof(file) };
	struct sqloom_results *results;
	sqlite3 *db;

	(void)state;
	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE t(a)", 0, 0, 0), 0);
	results = call_all(processes, &call, 1, 0);
	assert_failed(results, 0, SQLOOM_EXITED, "exit() or _exit()");
	sqloom_results_free(results);
	assert_int_equal(sqlite3_exec(db, "INSERT INTO t VALUES(3)", 0, 0, 0),
			 SQLITE_OK);
	assert_int_equal(sqlite3_total_changes(db), 1);
	sqlite3_close(db);
	unlink(file);
	sqloom_processes_free(processes);
}

/* ---- Late calls, and what calls leave behind --------------------------- */

static int never_end(struct sqloom_call *call, void *arg)
{
	int fd;

	(void)arg;
	if (sqloom_call_number(call) == 1)
		return 0;
	leave_process(false);
	leave_process(true);
	fd = open_to_write();
	(void)!write(fd, "-", 1);
	fprintf(stderr, "waiting");
	signal(SIGTERM, SIG_IGN);
	wait_forever();
}

static void test_late_call(void **state)
{
	struct sqloom_processes *processes = start();
	struct sqloom_function calls[2] = { { .fn = never_end },
					    { .fn = never_end } };
	struct sqloom_results *results;
	char text[16];
	int fd = open_to_read();

	(void)state;
	results = call_all(processes, calls, 2, 1500);
	assert_failed(results, 0, SQLOOM_TIMED_OUT,
		      "it had not ended after 1500 ms; its process was "
		      "killed, with all that it started");
	assert_string_equal(sqloom_results_at(results, 0)->output, "waiting");
	assert_value(results, 1, "");
	assert_int_equal(read_to_end(fd, text, sizeof(text)), 3);
	sqloom_results_free(results);
	assert_works(processes);
	sqloom_processes_free(processes);
}

static int wait_only(struct sqloom_call *call, void *arg)
{
	(void)call;
	(void)arg;
	wait_forever();
}

/* So late that it has hardly begun. */
static void test_late_at_once(void **state)
{
	struct sqloom_processes *processes = start();
	struct sqloom_function calls[3] = { { .fn = wait_only },
					    { .fn = wait_only },
					    { .fn = wait_only } };

	(void)state;
	for (size_t i = 0; i < 15; i++) {
		size_t ncalls = 1 + i % 3;
		struct sqloom_results *results =
			call_all(processes, calls, ncalls, 1);

		assert_int_equal(sqloom_results_failed(results), ncalls);
		assert_failed(results, 0, SQLOOM_TIMED_OUT, "after 1 ms");
		sqloom_results_free(results);
	}
	sqloom_processes_free(processes);
}

/* Returns, and leaves two processes; and waits until they are there. */
static int leave_processes(struct sqloom_call *call, void *arg)
{
	char two[2];
	int fd = open(fifo, O_RDWR | O_CLOEXEC);

	(void)arg;
	(void)call;
	leave_process(false);
	leave_process(true);
	for (int i = 0; i < 2; i++)
		if (read(fd, two, 1) != 1)
			return 1;
	close(fd);
	return 0;
}

static void test_processes_left_behind(void **state)
{
	struct sqloom_processes *processes = start();
	int fd = open_to_read();
	struct sqloom_results *results =
		call_some(processes, 1, leave_processes);

	(void)state;
	assert_value(results, 0, "");
	assert_all_gone(fd, "");
	sqloom_results_free(results);
	assert_works(processes);
	sqloom_processes_free(processes);
}

/* The first leaves a process, and ends; the second sees the end of that. */
static int leave_or_watch(struct sqloom_call *call, void *arg)
{
	int pipes[2];
	char byte;

	(void)arg;
	if (sqloom_call_number(call) == 1) {
		pipes[0] = open(fifo, O_RDONLY);
		return read(pipes[0], &byte, 1);
	}
	if (pipe(pipes) != 0)
		return 1;
	if (fork() == 0) {
		open_to_write();
		(void)!write(pipes[1], "+", 1);
		wait_forever();
	}
	return read(pipes[0], &byte, 1) != 1;
}

/* With the call, not with all of them. */
static void test_end_with_the_call(void **state)
{
	struct sqloom_processes *processes = start();
	struct sqloom_results *results =
		call_some(processes, 2, leave_or_watch);

	(void)state;
	assert_int_equal(sqloom_results_failed(results), 0);
	sqloom_results_free(results);
	sqloom_processes_free(processes);
}

/* The child of a function that returns from it is not the call. */
static int return_twice(struct sqloom_call *call, void *arg)
{
	pid_t child = fork();

	(void)arg;
	sqloom_call_printf(call, "%s", child ? "call" : "child");
	if (child)
		waitpid(child, NULL, 0);
	return 0;
}

static void test_child_that_returns(void **state)
{
	struct sqloom_processes *processes = start();
	struct sqloom_results *results = call_some(processes, 2, return_twice);

	(void)state;
	assert_value(results, 0, "call");
	assert_value(results, 1, "call");
	sqloom_results_free(results);
	sqloom_processes_free(processes);
}

/* ---- The pipe of the result -------------------------------------------- */

static int find_pipe(void)
{
	struct stat stat;

	for (int fd = 3; fd < 1024; fd++)
		if (fstat(fd, &stat) == 0 && S_ISFIFO(stat.st_mode))
			return fd;
	return -1;
}

static int harm_the_pipe(struct sqloom_call *call, void *arg)
{
	int fd = find_pipe();

	(void)arg;
	sqloom_call_printf(call, "value");
	switch (sqloom_call_number(call)) {
	case 0: /* closes all, and goes on */
		for (int i = 0; i < 1024; i++)
			close(i);
		pause_briefly();
		break;
	case 1: /* its number is that of another file */
		dup2(open(file, O_CREAT | O_WRONLY, 0600), fd);
		break;
	case 2: /* half of a result */
		(void)!write(fd, "\0\0\0\0\0\0", 6);
		_exit(0);
	case 3:
		(void)!write(fd, "garbage", 7);
		break;
	case 4: /* more than any result */
		for (size_t i = 0; i < SQLOOM_VALUE_MAX + 65536; i += 4096) {
			char zeros[4096] = { 0 };

			(void)!write(fd, zeros, sizeof(zeros));
		}
		break;
	default:
		break;
	}
	return 0;
}

static void test_harmed_pipe(void **state)
{
	struct sqloom_processes *processes = start();
	struct sqloom_results *results = call_some(processes, 6, harm_the_pipe);
	const char *lost = "it returned, but its result is lost: it closed the "
			   "descriptor on which that is sent, or wrote to it";
	struct stat stat_of_file;

	(void)state;
	assert_failed(results, 0, SQLOOM_FAILED, lost);
	assert_failed(results, 1, SQLOOM_FAILED, lost);
	assert_failed(results, 2, SQLOOM_EXITED, "status 0 inside");
	assert_failed(results, 3, SQLOOM_FAILED, lost);
	assert_failed(results, 4, SQLOOM_FAILED, lost);
	assert_value(results, 5, "value");
	assert_int_equal(stat(file, &stat_of_file), 0);
	assert_int_equal(stat_of_file.st_size, 0);
	unlink(file);
	sqloom_results_free(results);
	assert_works(processes);
	sqloom_processes_free(processes);
}

static char zeros[SQLOOM_VALUE_MAX];

static int write_too_much(struct sqloom_call *call, void *arg)
{
	(void)arg;
	sqloom_call_write(call, zeros, sizeof(zeros));
	sqloom_call_write(call, zeros, sqloom_call_number(call));
	return 0;
}

static void test_largest_value(void **state)
{
	struct sqloom_processes *processes = start();
	struct sqloom_results *results =
		call_some(processes, 2, write_too_much);

	(void)state;
	assert_int_equal(sqloom_results_at(results, 0)->ending,
			 SQLOOM_RETURNED);
	assert_int_equal(sqloom_results_at(results, 0)->size, SQLOOM_VALUE_MAX);
	assert_failed(results, 1, SQLOOM_FAILED, "more than 16777216 bytes");
	sqloom_results_free(results);
	sqloom_processes_free(processes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_endings),
		TEST(test_exit_in_transaction),
		TEST(test_late_call),
		TEST(test_late_at_once),
		TEST(test_processes_left_behind),
		TEST(test_end_with_the_call),
		TEST(test_child_that_returns),
		TEST(test_harmed_pipe),
		TEST(test_largest_value),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
