/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Concurrent calls in clean processes: what is in them and what is not, every
 * way in which one can end, and that nothing is left when the call, the helper
 * or the program ends.
 *
 * What shows that processes are gone is the end of a FIFO that all of them had
 * open for writing: no test waits for a time, or looks for a process by name.
 */
#include "calls_help.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* With a sanitizer a fork is slow. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MANY 40
#else
#define MANY SQLOOM_CALLS_MAX
#endif

/* ---- The fixture ------------------------------------------------------- */

static char directory[64];
static char fifo[96];
static char file[96];
static int refuse_fork; /* the fork of this number; 0: none */
static int forks;

/* In place of the C library's: the helper has a copy of the counters. */
pid_t fork(void)
{
	static pid_t (*real)(void);

	if (!real)
		real = (pid_t(*)(void))(uintptr_t)dlsym(RTLD_NEXT, "fork");
	if (++forks == refuse_fork) {
		errno = EAGAIN;
		return -1;
	}
	return real();
}

static int make_directory(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "%s/sqloom-test-XXXXXX",
		 P_tmpdir);
	if (!mkdtemp(directory))
		return -1;
	snprintf(fifo, sizeof(fifo), "%s/fifo", directory);
	snprintf(file, sizeof(file), "%s/file", directory);
#ifdef __SANITIZE_THREAD__
	if (start_first_thread(state) != 0)
		return -1;
#endif
	return mkfifo(fifo, 0600);
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(fifo);
	return rmdir(directory);
}

static int begin_processes(void **state)
{
	forks = refuse_fork = 0;
	return begin(state);
}

static struct sqloom_processes *start(void)
{
	struct sqloom_processes *processes = NULL;
	struct sqloom_error err;

	assert_ok(sqloom_processes_start(&processes, &err), err);
	return processes;
}

static struct sqloom_results *call_all(struct sqloom_processes *processes,
				       const struct sqloom_function *calls,
				       size_t ncalls, uint64_t timeout_ms)
{
	struct sqloom_results *results = NULL;
	struct sqloom_calls_options options;
	struct sqloom_error err;

	sqloom_calls_options_init(&options);
	options.processes = processes;
	options.database = "a.db";
	if (timeout_ms)
		options.timeout_ms = timeout_ms;
	assert_ok(sqloom_make_concurrent_calls(calls, ncalls, &options,
					       &results, &err),
		  err);
	return results;
}

static struct sqloom_results *call_some(struct sqloom_processes *processes,
					size_t ncalls, sqloom_fn fn)
{
	struct sqloom_function calls[SQLOOM_CALLS_MAX] = { 0 };

	for (size_t i = 0; i < ncalls; i++)
		calls[i].fn = fn;
	return call_all(processes, calls, ncalls, 0);
}

/* Does the helper still work? */
static int write_number(struct sqloom_call *call, void *arg)
{
	(void)arg;
	sqloom_call_printf(call, "%s is %zu in %s", sqloom_call_name(call),
			   sqloom_call_number(call),
			   sqloom_call_database(call));
	return 0;
}

static void assert_works(struct sqloom_processes *processes)
{
	struct sqloom_results *results = call_some(processes, 2, write_number);

	assert_value(results, 1, "call 2 is 1 in a.db");
	sqloom_results_free(results);
}

static _Noreturn void wait_forever(void)
{
	for (;;)
		pause();
}

static int open_to_read(void)
{
	int fd = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	assert_true(fd >= 0);
	fcntl(fd, F_SETFL, 0);
	return fd;
}

/* For a function: what it writes there, and its end, tells of it. */
static int open_to_write(void)
{
	int fd = open(fifo, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		abort();
	return fd;
}

/* Reads to the end of the FIFO: nobody has it open any more. */
static size_t read_to_end(int fd, char *text, size_t size)
{
	size_t used = 0;

	for (;;) {
		ssize_t got = read(fd, text + used, size - 1 - used);

		assert_true(got >= 0);
		if (got == 0)
			break;
		used += (size_t)got;
	}
	text[used] = '\0';
	close(fd);
	return used;
}

static void assert_all_gone(int fd, const char *wrote)
{
	char text[256];

	read_to_end(fd, text, sizeof(text));
	assert_string_equal(text, wrote);
}

/* ---- What is in a clean process ---------------------------------------- */

static void test_values_in_order(void **state)
{
	struct sqloom_processes *processes = start();
	const struct sqloom_function calls[] = {
		{ .fn = write_number, .name = "first" },
		{ .fn = write_number },
	};
	struct sqloom_results *results = call_all(processes, calls, 2, 0);

	(void)state;
	assert_int_equal(sqloom_results_failed(results), 0);
	assert_string_equal(sqloom_results_message(results), "");
	assert_value(results, 0, "first is 0 in a.db");
	assert_value(results, 1, "call 2 is 1 in a.db");
	assert_string_equal(sqloom_results_at(results, 0)->output, "");
	sqloom_results_free(results);
	sqloom_processes_free(processes);
}

static int write_processes(struct sqloom_call *call, void *arg)
{
	pid_t ids[] = { getpid(), getppid(), getsid(0), getpgrp() };

	(void)arg;
	sqloom_call_write(call, ids, sizeof(ids));
	return 0;
}

/* A process of its own for each, which is its own session. */
static void test_processes_of_their_own(void **state)
{
	struct sqloom_processes *processes = start();
	struct sqloom_results *results =
		call_some(processes, 3, write_processes);
	pid_t ids[3][4];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		const struct sqloom_result *result =
			sqloom_results_at(results, i);

		assert_int_equal(result->size, sizeof(ids[i]));
		memcpy(ids[i], result->value, sizeof(ids[i]));
		assert_int_not_equal(ids[i][0], getpid());
		assert_int_not_equal(ids[i][1], getpid());
		assert_int_equal(ids[i][1], ids[0][1]);
		assert_int_equal(ids[i][2], ids[i][0]);
		assert_int_equal(ids[i][3], ids[i][0]);
		assert_true(i == 0 || ids[i][0] != ids[i - 1][0]);
	}
	sqloom_results_free(results);
	sqloom_processes_free(processes);
}

struct pair {
	int number;
	char text[12];
};

static int change_arg(struct sqloom_call *call, void *arg)
{
	struct pair *pair = arg;

	if (sqloom_call_number(call) == 2)
		return arg ? 1 : 0;
	sqloom_call_printf(call, "%d %s", pair->number++, pair->text);
	pair->text[0] = 'X';
	return 0;
}

static void test_arg_is_a_copy(void **state)
{
	struct pair pairs[2] = { { 7, "seven" }, { 8, "eight" } };
	struct sqloom_processes *processes = start();
	const struct sqloom_function calls[] = {
		{ .fn = change_arg, .arg = &pairs[0], .arg_size = 16 },
		{ .fn = change_arg, .arg = &pairs[0], .arg_size = 16 },
		{ .fn = change_arg },
		{ .fn = change_arg, .arg = &pairs[1], .arg_size = 16 },
	};
	struct sqloom_results *results;

	(void)state;
	for (int round = 0; round < 2; round++) {
		results = call_all(processes, calls, 4, 0);
		assert_value(results, 0, "7 seven");
		assert_value(results, 1, "7 seven");
		assert_value(results, 2, "");
		assert_value(results, 3, "8 eight");
		sqloom_results_free(results);
	}
	assert_string_equal(pairs[0].text, "seven");
	sqloom_processes_free(processes);
}

static int sum_up(struct sqloom_call *call, void *arg)
{
	const unsigned char *bytes = arg;
	unsigned long sum = 0;

	for (size_t i = 0; i < SQLOOM_VALUE_MAX; i++)
		sum += bytes[i];
	sqloom_call_printf(call, "%lu", sum);
	return 0;
}

static void test_large_arg(void **state)
{
	struct sqloom_processes *processes = start();
	unsigned char *bytes = malloc(SQLOOM_VALUE_MAX);
	struct sqloom_function calls[2] = {
		{ .fn = sum_up, .arg = bytes, .arg_size = SQLOOM_VALUE_MAX },
		{ .fn = sum_up, .arg = bytes, .arg_size = SQLOOM_VALUE_MAX },
	};
	struct sqloom_results *results;
	char sum[32];

	(void)state;
	memset(bytes, 3, SQLOOM_VALUE_MAX);
	snprintf(sum, sizeof(sum), "%zu", 3 * SQLOOM_VALUE_MAX);
	results = call_all(processes, calls, 2, 0);
	assert_value(results, 0, sum);
	assert_value(results, 1, sum);
	free(bytes);
	sqloom_results_free(results);
	sqloom_processes_free(processes);
}

static int write_environment(struct sqloom_call *call, void *arg)
{
	(void)arg;
	sqloom_call_printf(
		call, "%s %s %s",
		getenv("SQLOOM_TEST_A") ? getenv("SQLOOM_TEST_A") : "none",
		getenv("SQLOOM_TEST_B") ? getenv("SQLOOM_TEST_B") : "none",
		getenv("SQLOOM_TEST_C"));
	return 0;
}

static void test_environment_of_a_call(void **state)
{
	const char *const first[] = { "SQLOOM_TEST_A=1", "SQLOOM_TEST_B=x=y",
				      NULL };
	const char *const second[] = { "SQLOOM_TEST_C=changed", NULL };
	const struct sqloom_function calls[] = {
		{ .fn = write_environment, .environment = first },
		{ .fn = write_environment, .environment = second },
		{ .fn = write_environment },
	};
	struct sqloom_processes *processes;
	struct sqloom_results *results;

	(void)state;
	setenv("SQLOOM_TEST_C", "inherited", 1);
	processes = start();
	results = call_all(processes, calls, 3, 0);
	assert_value(results, 0, "1 x=y inherited");
	assert_value(results, 1, "none none changed");
	assert_value(results, 2, "none none inherited");
	assert_null(getenv("SQLOOM_TEST_A"));
	unsetenv("SQLOOM_TEST_C");
	sqloom_results_free(results);
	sqloom_processes_free(processes);
}

/* Lists the descriptors of a process, but for the one that lists them, and
 * those of valgrind, which are above the limit. */
static void list_descriptors(pid_t process, char *text, size_t size)
{
	char path[64], target[256];
	struct dirent *entry;
	struct rlimit limit;
	DIR *descriptors;

	getrlimit(RLIMIT_NOFILE, &limit);
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)process);
	descriptors = opendir(path);
	text[0] = '\0';
	while (descriptors && (entry = readdir(descriptors))) {
		ssize_t length;

		if (entry->d_name[0] == '.' || atoi(entry->d_name) <= 2 ||
		    (rlim_t)atoi(entry->d_name) >= limit.rlim_cur)
			continue;
		length = readlinkat(dirfd(descriptors), entry->d_name, target,
				    sizeof(target) - 1);
		target[length > 0 ? length : 0] = '\0';
		target[strcspn(target, ":")] = '\0';
		if (!strstr(target, "/proc/"))
			snprintf(text + strlen(text), size - strlen(text),
				 "%s ", target);
	}
	if (descriptors)
		closedir(descriptors);
}

static int write_descriptors(struct sqloom_call *call, void *arg)
{
	char text[1024];

	(void)arg;
	list_descriptors(getpid(), text, sizeof(text));
	sqloom_call_printf(call, "%s", text);
	list_descriptors(getppid(), text, sizeof(text));
	sqloom_call_printf(call, "of the helper: %s", text);
	return 0;
}

/* Nothing but the pipe of the result; the helper: its socket, two signals, and
 * the pipes of the call. So neither has a file, or memory with a name. */
static void test_descriptors(void **state)
{
	int pipes[2], files[40];
	struct sqloom_processes *processes;
	struct sqloom_results *results;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	for (int i = 0; i < 40; i++)
		files[i] = open("/dev/null", O_RDONLY);
	processes = start();
	results = call_some(processes, 1, write_descriptors);
	assert_value(results, 0,
		     "pipe of the helper: anon_inode anon_inode pipe pipe "
		     "socket ");
	sqloom_results_free(results);
	sqloom_processes_free(processes);
	for (int i = 0; i < 40; i++)
		close(files[i]);
	close(pipes[0]);
	close(pipes[1]);
}

#define LOGS 40
static FILE *logs[LOGS];

static int write_logs(struct sqloom_call *call, void *arg)
{
	int failed = 0;

	(void)arg;
	for (int i = 0; i < LOGS; i++) {
		fprintf(logs[i], "lost");
		failed += fflush(logs[i]) == EOF && errno == EBADF;
	}
	sqloom_call_printf(call, "%d", failed);
	return 0;
}

/* A stream of the program, whose descriptor is closed in the call, does not
 * write into what took its number. */
static void test_streams_of_the_program(void **state)
{
	struct sqloom_processes *processes;
	struct sqloom_results *results;

	(void)state;
	for (int i = 0; i < LOGS; i++)
		logs[i] = fopen("/dev/null", "w");
	processes = start();
	results = call_some(processes, 1, write_logs);
	assert_value(results, 0, "40");
	for (int i = 0; i < LOGS; i++)
		fclose(logs[i]);
	sqloom_results_free(results);
	sqloom_processes_free(processes);
}

static char program_name[16];

static int write_signals(struct sqloom_call *call, void *arg)
{
	char name[16] = "";
	struct sigaction action;
	sigset_t mask;

	(void)arg;
	sigprocmask(SIG_BLOCK, NULL, &mask);
	sigaction(SIGCHLD, NULL, &action);
	prctl(PR_GET_NAME, name);
	sqloom_call_printf(call, "%d %d %d %d", sigismember(&mask, SIGUSR1),
			   sigismember(&mask, SIGINT),
			   action.sa_handler == SIG_IGN,
			   strcmp(name, program_name) == 0);
	return 0;
}

/* A call finds the signals as the program had them; also if it ignores the end
 * of its children. */
static void test_signals_are_the_programs(void **state)
{
	struct sqloom_processes *processes;
	struct sqloom_results *results;
	sigset_t set, before;

	(void)state;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &before);
	signal(SIGCHLD, SIG_IGN);
	prctl(PR_GET_NAME, program_name);
	processes = start();
	sigprocmask(SIG_SETMASK, &before, NULL);
	results = call_some(processes, 2, write_signals);
	assert_value(results, 1, "1 0 1 1");
	sqloom_results_free(results);
	assert_works(processes);
	sqloom_processes_free(processes);
	signal(SIGCHLD, SIG_DFL);
}

/* ---- Output ------------------------------------------------------------ */

static int write_errors(struct sqloom_call *call, void *arg)
{
	size_t lines = sqloom_call_number(call) == 1 ? 100000 : 1;

	(void)arg;
	for (size_t i = 0; i < lines; i++)
		fprintf(stderr, "%07zu line\n", i);
	if (sqloom_call_number(call) == 2)
		fwrite("a\0b", 1, 3, stderr);
	return 0;
}

/* The second writes more than a pipe holds, and goes on all the same. */
static void test_standard_error(void **state)
{
	struct sqloom_processes *processes = start();
	struct sqloom_results *results = call_some(processes, 3, write_errors);
	const char *output;

	(void)state;
	assert_int_equal(sqloom_results_failed(results), 0);
	assert_string_equal(sqloom_results_at(results, 0)->output,
			    "0000000 line\n");
	output = sqloom_results_at(results, 1)->output;
	assert_int_equal(strlen(output), SQLOOM_OUTPUT_MAX);
	assert_string_equal(output + SQLOOM_OUTPUT_MAX - 13, "0099999 line\n");
	assert_memory_equal(output + SQLOOM_OUTPUT_MAX - 26, "0099998", 7);
	assert_string_equal(sqloom_results_at(results, 2)->output,
			    "0000000 line\na?b");
	sqloom_results_free(results);
	sqloom_processes_free(processes);
}

/* ---- A program of its own ---------------------------------------------- */

/* In the child of a test, where cmocka's assertions would run other tests. */
#define must(condition)                                              \
	do {                                                         \
		if (!(condition)) {                                  \
			fprintf(stderr, "not so: %s\n", #condition); \
			_exit(9);                                    \
		}                                                    \
	} while (0)

/* Runs fn as a program whose standard output is a pipe. Returns its process;
 * *output: what reads from the pipe. */
static pid_t run_program(void (*fn)(void), int *output)
{
	int pipes[2];
	pid_t child;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	fflush(NULL);
	child = fork();
	if (child == 0) {
		dup2(pipes[1], STDOUT_FILENO);
		close(pipes[0]);
		close(pipes[1]);
		fn();
		_exit(0);
	}
	close(pipes[1]);
	*output = pipes[0];
	return child;
}

static void assert_program(void (*fn)(void), const char *wrote)
{
	int output, status;
	pid_t child = run_program(fn, &output);
	char text[256];

	read_to_end(output, text, sizeof(text));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_string_equal(text, wrote);
}

static struct sqloom_results *call_apart(struct sqloom_processes **processes,
					 size_t ncalls, sqloom_fn fn)
{
	struct sqloom_calls_options options;
	struct sqloom_results *results;

	must(sqloom_processes_start(processes, NULL) == SQLOOM_OK);
	sqloom_calls_options_init(&options);
	options.processes = *processes;
	must(sqloom_call_concurrently(ncalls, fn, NULL, 0, &options, &results,
				      NULL) == SQLOOM_OK);
	return results;
}

static void print_goodbye(void)
{
	printf("goodbye ");
}

static int print_call(struct sqloom_call *call, void *arg)
{
	(void)call;
	(void)arg;
	printf("call ");
	return 0;
}

static void print_around_calls(void)
{
	struct sqloom_processes *processes;
	struct sqloom_results *results;

	setvbuf(stdout, NULL, _IOFBF, BUFSIZ);
	atexit(print_goodbye);
	printf("before ");
	results = call_apart(&processes, 2, print_call);
	must(sqloom_results_failed(results) == 0);
	printf("after ");
	sqloom_results_free(results);
	sqloom_processes_free(processes);
	fflush(NULL);
}

/* What was in the buffer is written once; what the calls print is flushed; and
 * what the program does at its exit is not done in a call. */
static void test_standard_output(void **state)
{
	(void)state;
	assert_program(print_around_calls, "before call call after ");
}

static int write_both(struct sqloom_call *call, void *arg)
{
	(void)arg;
	fprintf(stderr, "error");
	sqloom_call_printf(call, "value");
	return 0;
}

static void start_without_standard(void)
{
	struct sqloom_processes *processes;
	struct sqloom_results *results;
	const struct sqloom_result *second;

	close(STDIN_FILENO);
	close(STDERR_FILENO);
	results = call_apart(&processes, 2, write_both);
	second = sqloom_results_at(results, 1);
	dprintf(STDOUT_FILENO, "%s %s", (const char *)second->value,
		second->output);
	sqloom_results_free(results);
	sqloom_processes_free(processes);
}

static void test_standard_descriptors_closed(void **state)
{
	(void)state;
	assert_program(start_without_standard, "value error");
}

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

/* A process that only a signal ends. setsid: it is in no group of the call's */
static void leave_process(bool own_session)
{
	pid_t child = fork();

	if (child != 0)
		return;
	if (own_session)
		setsid();
	(void)!write(open_to_write(), "+", 1);
	wait_forever();
}

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
	results = call_all(processes, calls, 2, 1000);
	assert_failed(results, 0, SQLOOM_TIMED_OUT,
		      "it had not ended after 1000 ms; its process was "
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

/* ---- Calls that cannot be started -------------------------------------- */

static void test_many(void **state)
{
	struct sqloom_processes *processes = start();
	struct sqloom_results *results =
		call_some(processes, MANY, write_number);

	(void)state;
	assert_int_equal(sqloom_results_failed(results), 0);
	assert_value(results, 30, "call 31 is 30 in a.db");
	sqloom_results_free(results);
	sqloom_processes_free(processes);
}

static void test_fork_refused(void **state)
{
	struct sqloom_processes *processes;
	struct sqloom_results *results;

	(void)state;
	refuse_fork = 3; /* the first is the helper */
	processes = start();
	results = call_some(processes, 3, write_number);
	assert_int_equal(sqloom_results_failed(results), 1);
	assert_failed(results, 1, SQLOOM_LOST,
		      "its process could not be started: Resource temporarily "
		      "unavailable; make fewer calls at once");
	assert_value(results, 2, "call 3 is 2 in a.db");
	sqloom_results_free(results);
	assert_works(processes);
	sqloom_processes_free(processes);
}

static void test_helper_refused(void **state)
{
	struct sqloom_processes *processes = NULL;
	struct sqloom_error err;

	(void)state;
	refuse_fork = 1;
	assert_int_equal(sqloom_processes_start(&processes, &err), SQLOOM_IO);
	assert_contains(err.message, "cannot start the helper of clean "
				     "processes: Resource temporarily");
	assert_null(processes);
}

/* The helper has the limits of the program, and needs two for each call. */
static void test_descriptors_refused(void **state)
{
	struct sqloom_processes *processes;
	struct sqloom_results *results;
	struct rlimit limit, before;

	(void)state;
	getrlimit(RLIMIT_NOFILE, &before);
	limit = before;
	limit.rlim_cur = 40;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	processes = start();
	setrlimit(RLIMIT_NOFILE, &before);
	results = call_some(processes, 30, write_number);
	assert_value(results, 0, "call 1 is 0 in a.db");
	assert_value(results, 12, "call 13 is 12 in a.db");
	assert_failed(results, 29, SQLOOM_LOST, "Too many open files");
	sqloom_results_free(results);
	assert_works(processes);
	sqloom_processes_free(processes);
}

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
	struct sqloom_function call = { .fn = write_number, .arg = zeros };
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
	struct sqloom_error err;

	sqloom_calls_options_init(&options);
	options.database = "b.db";
	memcpy(&options.processes, arg, sizeof(options.processes));
	if (sqloom_call_concurrently(2, write_number, NULL, 0, &options,
				     &results, &err) != SQLOOM_USAGE)
		return sqloom_call_fail(call, "not refused");
	sqloom_call_printf(call, "%.45s; ", err.message);
	sqloom_processes_free(options.processes);
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
	struct sqloom_results *results = call_all(first, calls, 2, 0);
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

/* ---- Memory ------------------------------------------------------------ */

static void test_out_of_memory(void **state)
{
	struct sqloom_processes *processes = start();
	struct sqloom_function calls[] = { { .fn = write_errors },
					   { .fn = write_number } };
	struct sqloom_results *results = NULL;
	struct sqloom_calls_options options;
	enum sqloom_status status;
	struct sqloom_error err;
	int64_t blocks = slm_alloc_live();
	uint64_t n = 0;

	(void)state;
	sqloom_calls_options_init(&options);
	options.processes = processes;
	options.database = "a.db";
	do {
		slm_alloc_fail_from(++n);
		status = sqloom_make_concurrent_calls(calls, 2, &options,
						      &results, &err);
		slm_alloc_fail_from(0);
		if (status) {
			assert_int_equal(status, SQLOOM_NOMEM);
			assert_string_equal(err.message, "out of memory");
			assert_null(results);
			assert_int_equal(slm_alloc_live(), blocks);
		}
	} while (status);
	assert_true(n > 8);
	assert_value(results, 1, "call 2 is 1 in a.db");
	sqloom_results_free(results);
	slm_alloc_fail_from(1);
	assert_int_equal(sqloom_processes_start(&processes, &err),
			 SQLOOM_NOMEM);
	slm_alloc_fail_from(0);
	sqloom_processes_free(processes);
}

/* The helper, and the calls, have a copy of what refuses. */
static void test_out_of_memory_there(void **state)
{
	struct sqloom_function calls[] = {
		{ .fn = change_arg, .arg = zeros, .arg_size = 16 },
		{ .fn = write_errors },
	};
	bool refused = false, lost = false, failed = false, ok = false;

	(void)state;
	for (uint64_t n = 2; !ok; n++) {
		struct sqloom_results *results = NULL;
		struct sqloom_calls_options options;
		struct sqloom_processes *processes;
		enum sqloom_status status;
		struct sqloom_error err;

		slm_alloc_fail_from(n); /* of the start there is one */
		processes = start();
		slm_alloc_fail_from(0);
		sqloom_calls_options_init(&options);
		options.processes = processes;
		status = sqloom_make_concurrent_calls(calls, 2, &options,
						      &results, &err);
		if (status) {
			assert_int_equal(status, SQLOOM_NOMEM);
			assert_contains(err.message, "16 bytes of args");
			refused = true;
		} else {
			switch (sqloom_results_at(results, 0)->ending) {
			case SQLOOM_LOST:
				lost = true;
				break;
			case SQLOOM_FAILED:
				failed = true;
				break;
			default:
				ok = true;
			}
		}
		sqloom_results_free(results);
		sqloom_processes_free(processes);
	}
	assert_true(refused && lost && failed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_processes, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_values_in_order),
		TEST(test_processes_of_their_own),
		TEST(test_arg_is_a_copy),
		TEST(test_large_arg),
		TEST(test_environment_of_a_call),
		TEST(test_descriptors),
		TEST(test_streams_of_the_program),
		TEST(test_signals_are_the_programs),
		TEST(test_standard_error),
		TEST(test_standard_output),
		TEST(test_standard_descriptors_closed),
		TEST(test_endings),
		TEST(test_exit_in_transaction),
		TEST(test_late_call),
		TEST(test_late_at_once),
		TEST(test_processes_left_behind),
		TEST(test_end_with_the_call),
		TEST(test_child_that_returns),
		TEST(test_harmed_pipe),
		TEST(test_largest_value),
		TEST(test_many),
		TEST(test_fork_refused),
		TEST(test_helper_refused),
		TEST(test_descriptors_refused),
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
		TEST(test_out_of_memory),
		TEST(test_out_of_memory_there),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
