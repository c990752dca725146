/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helper of clean processes: when it does not start, who may use it, and
 * that nothing is left when it or the program ends.
 */
#include "processes_help.h"

#include <pthread.h>
#include <semaphore.h>
#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

/* ---- The helper is lost ------------------------------------------------ */

static int kill_helper(struct sqloom_call *call, void *arg)
{
	int fd = open_to_write();

	(void)arg;
	if (sqloom_call_number(call) == 1)
		kill(getppid(), SIGKILL);
	(void)fd;
	wait_forever();
}

static void assert_lost(struct sqloom_processes *processes, sqloom_fn fn,
			const char *message)
{
	struct sqloom_results *results = NULL;
	struct sqloom_calls_options options;
	struct sqloom_error err;

	sqloom_calls_options_init(&options);
	options.processes = processes;
	assert_int_equal(sqloom_call_concurrently(2, fn, NULL, 0, &options,
						  &results, &err),
			 SQLOOM_IO);
	assert_string_equal(err.message, message);
	assert_null(results);
}

static void test_helper_killed(void **state)
{
	struct sqloom_processes *processes = start();
	int fd = open_to_read();

	(void)state;
	assert_lost(processes, kill_helper,
		    "the helper of clean processes was ended by signal 9 "
		    "(SIGKILL), and its calls with it; free it, close all "
		    "connections, and start another one with "
		    "sqloom_processes_start()");
	assert_all_gone(fd, "");
	assert_lost(processes, write_number,
		    "the helper of clean processes has ended, and its calls "
		    "with it; free it, close all connections, and start "
		    "another one with sqloom_processes_start()");
	sqloom_processes_free(processes);
	processes = start();
	assert_works(processes);
	sqloom_processes_free(processes);
}

static int write_helper(struct sqloom_call *call, void *arg)
{
	pid_t helper = getppid();

	(void)arg;
	return !sqloom_call_write(call, &helper, sizeof(helper));
}

static pid_t find_helper(struct sqloom_processes *processes)
{
	struct sqloom_results *results = call_some(processes, 1, write_helper);
	pid_t helper;

	memcpy(&helper, sqloom_results_at(results, 0)->value, sizeof(helper));
	sqloom_results_free(results);
	return helper;
}

/* Killed between batches, and waited for by the program, or not. */
static void test_helper_killed_before(void **state)
{
	(void)state;
	for (int reaped = 0; reaped < 2; reaped++) {
		struct sqloom_processes *processes = start();
		pid_t helper = find_helper(processes);
		siginfo_t info;

		kill(helper, SIGKILL);
		waitid(P_PID, (id_t)helper, &info,
		       WEXITED | (reaped ? 0 : WNOWAIT));
		assert_lost(processes, write_number,
			    reaped ? "the helper of clean processes has ended, "
				     "and its calls with it; free it, close "
				     "all connections, and start another one "
				     "with sqloom_processes_start()" :
				     "the helper of clean processes was ended "
				     "by signal 9 (SIGKILL), and its calls "
				     "with it; free it, close all "
				     "connections, and start another one with "
				     "sqloom_processes_start()");
		sqloom_processes_free(processes);
	}
}

/* Signals that end programs do not end it: only its program does. */
static void test_helper_outlives_signals(void **state)
{
	const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1 };
	struct sqloom_processes *processes = start();
	pid_t helper = find_helper(processes);

	(void)state;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		kill(helper, signals[i]);
	assert_works(processes);
	assert_int_equal(find_helper(processes), helper);
	sqloom_processes_free(processes);
}

/* ---- The program ends -------------------------------------------------- */

static int print_and_wait(struct sqloom_call *call, void *arg)
{
	(void)call;
	(void)arg;
	leave_process(true);
	(void)!write(STDOUT_FILENO, "+", 1);
	wait_forever();
}

static void make_endless_calls(void)
{
	struct sqloom_processes *processes;

	call_apart(&processes, 3, print_and_wait);
}

/* The end of the output: neither the helper nor a call has it open. */
static void assert_ends_with_program(void (*fn)(void))
{
	int output, status, fd = open_to_read();
	pid_t child = run_program(fn, &output);
	char text[64];

	assert_int_equal(read(output, text, 1), 1);
	kill(child, SIGKILL);
	read_to_end(output, text, sizeof(text));
	read_to_end(fd, text, sizeof(text));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
}

static void test_program_is_killed(void **state)
{
	(void)state;
	assert_ends_with_program(make_endless_calls);
}

static int hold[2];

/* A fork of the program has its end of the socket, and does not end. */
static void make_endless_calls_with_fork(void)
{
	struct sqloom_processes *processes;
	struct sqloom_calls_options options;
	char byte;

	close(hold[1]);
	hold[1] = -1;
	must(sqloom_processes_start(&processes, NULL) == SQLOOM_OK);
	if (fork() == 0) {
		close(STDOUT_FILENO);
		_exit(read(hold[0], &byte, 1) != 0);
	}
	sqloom_calls_options_init(&options);
	options.processes = processes;
	sqloom_call_concurrently(3, print_and_wait, NULL, 0, &options,
				 &(struct sqloom_results *){ NULL }, NULL);
}

static void test_program_is_killed_and_forked(void **state)
{
	(void)state;
	assert_int_equal(pipe2(hold, O_CLOEXEC), 0);
	assert_ends_with_program(make_endless_calls_with_fork);
	close(hold[0]);
	close(hold[1]);
}

static void start_and_end(void)
{
	struct sqloom_processes *processes;

	sqloom_results_free(call_apart(&processes, 3, print_call));
}

/* A program that ends without a word to the helper. */
static void test_program_forgets(void **state)
{
	(void)state;
	assert_program(start_and_end, "call call call ");
}

/* ---- What must not be there when it starts ----------------------------- */

static void refused_to_start(const char *part, const char *other)
{
	struct sqloom_processes *processes = NULL;
	struct sqloom_error err;

	assert_int_equal(sqloom_processes_start(&processes, &err),
			 SQLOOM_USAGE);
	assert_contains(err.message, part);
	assert_contains(err.message, other);
	assert_null(processes);
	assert_int_equal(sqloom_processes_start(&processes, NULL),
			 SQLOOM_USAGE);
	assert_int_equal(forks, 0);
}

static void *wait_for_end(void *arg)
{
	prctl(PR_SET_NAME, "some-worker");
	sem_post((sem_t *)arg + 1);
	sem_wait(arg);
	return NULL;
}

static void test_start_with_thread(void **state)
{
	struct sqloom_processes *processes;
	pthread_t thread;
	sem_t both[2];

	(void)state;
	sem_init(&both[0], 0, 0);
	sem_init(&both[1], 0, 0);
	pthread_create(&thread, NULL, wait_for_end, both);
	sem_wait(&both[1]);
	refused_to_start("the program has 1 other thread, such as ",
			 " (some-worker); a fork copies");
	sem_post(&both[0]);
	pthread_join(thread, NULL);
	/* Although the thread may be seen for a moment yet. */
	processes = start();
	sqloom_processes_free(processes);
}

static void test_start_with_socket(void **state)
{
	char part[64];
	int sockets[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
	close(sockets[1]);
	snprintf(part, sizeof(part), "descriptor %d is a socket (socket:[",
		 sockets[0]);
	refused_to_start(part, "start the helper before it is opened");
	close(sockets[0]);
	sqloom_processes_free(start());
}

static void test_start_with_database(void **state)
{
	char part[256];
	sqlite3 *db;
	int fd;

	(void)state;
	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE t(a)", 0, 0, 0), 0);
	snprintf(part, sizeof(part), "is a file of an SQLite database (%s)",
		 file);
	refused_to_start(part, "before the database is opened, or close it");
	/* Its locks are as they were. */
	assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE", 0, 0, 0), 0);
	refused_to_start(part, "descriptor ");
	assert_int_equal(sqlite3_exec(db, "COMMIT", 0, 0, 0), 0);
	sqlite3_close(db);
	unlink(file);
	/* A file beside a database, although that is removed; other files. */
	snprintf(part, sizeof(part), "%s-journal", file);
	fd = open(part, O_CREAT | O_RDWR, 0600);
	refused_to_start(part, "descriptor ");
	unlink(part);
	refused_to_start(part, "descriptor ");
	close(fd);
	fd = open(file, O_CREAT | O_RDWR, 0600);
	unlink(file);
	assert_int_equal(write(fd, "SQLite format 2 and more", 24), 24);
	sqloom_processes_free(start());
	close(fd);
}

/* ---- Functions --------------------------------------------------------- */

static void refused_call(struct sqloom_processes *processes,
			 const struct sqloom_function *calls, size_t ncalls,
			 const char *part)
{
	struct sqloom_results *results = NULL;
	struct sqloom_calls_options options;
	struct sqloom_error err;

	sqloom_calls_options_init(&options);
	options.processes = processes;
	assert_int_equal(sqloom_make_concurrent_calls(calls, ncalls, &options,
						      &results, &err),
			 SQLOOM_USAGE);
	assert_contains(err.message, part);
	assert_null(results);
}

/* Of a library that nothing here is linked with. */
static void test_function_loaded_later(void **state)
{
	struct sqloom_processes *processes = start();
	void *library = dlopen("libBrokenLocale.so.1", RTLD_NOW);
	struct sqloom_function calls[] = { { .fn = write_number },
					   { .name = "odd" } };
	void *page =
		mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_non_null(library);
	calls[1].fn =
		(sqloom_fn)(uintptr_t)dlsym(library, "__ctype_get_mb_cur_max");
	assert_non_null(calls[1].fn);
	refused_call(processes, calls, 2, "the function of odd is in /");
	refused_call(
		processes, calls, 2,
		"libBrokenLocale.so.1, which was loaded after the helper was "
		"started; load it before sqloom_processes_start()");
	calls[1].fn = (sqloom_fn)(uintptr_t)page;
	refused_call(processes, calls, 2,
		     "the function of odd is in no library, so it was made at "
		     "run time");
	munmap(page, 4096);
	dlclose(library);
	assert_works(processes);
	sqloom_processes_free(processes);
}

static void test_misuse(void **state)
{
	const char *const first[] = { "A=1", "odd", NULL };
	const char *const second[] = { "=1", NULL };
	struct sqloom_processes *processes = start();
	struct sqloom_function call = { .fn = write_number, .arg = directory };
	struct sqloom_error err;

	(void)state;
	refused_call(processes, &call, 1,
		     "call 1 has an arg, but its arg_size is 0; a clean "
		     "process gets a copy");
	call.arg_size = SQLOOM_VALUE_MAX + 1;
	refused_call(processes, &call, 1, "an arg of 16777217 bytes; at most");
	call.arg = NULL;
	refused_call(processes, &call, 1, "but its arg is NULL");
	call.arg_size = 0;
	call.environment = first;
	refused_call(processes, &call, 1,
		     "call 1 has \"odd\" in its environment; write NAME=value");
	call.environment = second;
	refused_call(processes, &call, 1, "call 1 has \"=1\"");
	refused_call(processes, &call, 1000, "1000 calls were given; at most");
	refused_call(processes, &call, 0, "no call was given");
	call.fn = NULL;
	call.environment = NULL;
	refused_call(processes, &call, 1, "call 1 has no function");
	assert_int_equal(sqloom_processes_start(NULL, &err), SQLOOM_USAGE);
	assert_contains(err.message, "out is NULL");
	assert_works(processes);
	sqloom_processes_free(processes);
	/* No more ours: nothing happens. */
	call.fn = write_number;
	refused_call(processes, &call, 1, "this process did not start");
	sqloom_processes_free(processes);
	sqloom_processes_free(NULL);
}

/* ---- Helpers in calls, and several ------------------------------------- */

static int use_helpers(struct sqloom_call *call, void *arg)
{
	struct sqloom_calls_options options;
	struct sqloom_results *results;
	int last = 0, open_ones = 0;
	struct sqloom_error err;

	sqloom_calls_options_init(&options);
	options.database = "b.db";
	memcpy(&options.processes, arg, sizeof(options.processes));
	if (sqloom_call_concurrently(2, write_number, NULL, 0, &options,
				     &results, &err) != SQLOOM_USAGE)
		return sqloom_call_fail(call, "not refused");
	sqloom_call_printf(call, "%.45s; ", err.message);
	/* It closes nothing here: the numbers of descriptors mean others. */
	for (int i = 0; i < 30; i++)
		last = dup(STDIN_FILENO);
	sqloom_processes_free(options.processes);
	for (int fd = last; fd > STDERR_FILENO; fd--)
		open_ones += fcntl(fd, F_GETFD) >= 0;
	if (open_ones != last - STDERR_FILENO)
		return sqloom_call_fail(call, "closed");
	/* One of its own, and threads. */
	if (sqloom_processes_start(&options.processes, &err))
		return sqloom_call_fail(call, "%s", err.message);
	for (int i = 0; i < 2; i++) {
		if (sqloom_call_concurrently(2, write_number, NULL, 0, &options,
					     &results, &err))
			return sqloom_call_fail(call, "%s", err.message);
		sqloom_call_printf(
			call, "%s; ",
			(const char *)sqloom_results_at(results, 1)->value);
		sqloom_results_free(results);
		sqloom_processes_free(options.processes);
		options.processes = NULL;
	}
	return 0;
}

static void test_helper_in_a_call(void **state)
{
	struct sqloom_processes *first = start(), *second = start();
	struct sqloom_function calls[2] = {
		{ .fn = use_helpers, .arg = &first, .arg_size = sizeof(first) },
		{ .fn = use_helpers,
		  .arg = &second,
		  .arg_size = sizeof(second) },
	};
	struct sqloom_results *results = call_all(second, calls, 2, 0);
	const char *value = "this process did not start the helper of clea; "
			    "call 2 is 1 in b.db; call 2 is 1 in b.db; ";

	(void)state;
	assert_value(results, 0, value);
	assert_value(results, 1, value);
	sqloom_results_free(results);
	assert_works(second);
	sqloom_processes_free(first);
	assert_works(second);
	sqloom_processes_free(second);
}

/* The child of a plain fork() can neither use it nor end it. */
static void test_helper_in_a_fork(void **state)
{
	struct sqloom_processes *processes = start();
	pid_t child = fork();
	int status;

	(void)state;
	if (child == 0) {
		struct sqloom_calls_options options;
		struct sqloom_results *results;

		sqloom_calls_options_init(&options);
		options.processes = processes;
		must(sqloom_call_concurrently(1, write_number, NULL, 0,
					      &options, &results,
					      NULL) == SQLOOM_USAGE);
		sqloom_processes_free(processes);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_works(processes);
	sqloom_processes_free(processes);
}

static int wait_for_byte(struct sqloom_call *call, void *arg)
{
	char byte;
	int fd;

	(void)call;
	(void)arg;
	(void)!write(STDOUT_FILENO, "", 0);
	fd = open(fifo, O_RDONLY);
	return read(fd, &byte, 1) != 1;
}

static void *call_on_thread(void *arg)
{
	return call_some(arg, 1, wait_for_byte);
}

static void test_two_threads(void **state)
{
	struct sqloom_processes *processes = start();
	struct sqloom_function call = { .fn = write_number };
	void *results;
	pthread_t thread;
	int fd;

	(void)state;
	pthread_create(&thread, NULL, call_on_thread, processes);
	fd = open(fifo, O_WRONLY); /* the call is there */
	refused_call(processes, &call, 1,
		     "another thread is making calls with this helper");
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
	pthread_join(thread, &results);
	assert_value(results, 0, "");
	sqloom_results_free(results);
	assert_works(processes);
	sqloom_processes_free(processes);
}

/* A child of the program's own is its own. */
static void test_other_children(void **state)
{
	pid_t child = fork();
	struct sqloom_processes *processes;
	int status;

	(void)state;
	if (child == 0)
		_exit(7);
	processes = start();
	assert_works(processes);
	sqloom_processes_free(processes);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(WEXITSTATUS(status), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_helper_killed),
		TEST(test_helper_killed_before),
		TEST(test_helper_outlives_signals),
		TEST(test_program_is_killed),
		TEST(test_program_is_killed_and_forked),
		TEST(test_program_forgets),
		TEST(test_start_with_thread),
		TEST(test_start_with_socket),
		TEST(test_start_with_database),
		TEST(test_function_loaded_later),
		TEST(test_misuse),
		TEST(test_helper_in_a_call),
		TEST(test_helper_in_a_fork),
		TEST(test_two_threads),
		TEST(test_other_children),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
