/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of clean processes share: a helper, calls, a FIFO, and programs
 * of their own. Included once per program.
 *
 * What shows that processes are gone is the end of a FIFO that all of them had
 * open for writing: no test waits for a time, or looks for a process by name.
 */
#ifndef SLM_TESTS_PROCESSES_HELP_H
#define SLM_TESTS_PROCESSES_HELP_H

#include "calls_help.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* ---- The fixture ------------------------------------------------------- */

static char directory[64];
static char fifo[96];
static char file[96];
static int refuse_fork; /* the fork of this number; 0: none */
static int slow_fork;	/* its child takes its time; 0: none */
static int forks;
static atomic_int *arrived; /* shared with all: slow ones */

static pid_t arrive_late(pid_t child)
{
	for (int i = 0; child == 0 && i < 20; i++)
		pause_briefly();
	if (child == 0)
		++*arrived;
	return child;
}

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
	return forks == slow_fork ? arrive_late(real()) : real();
}

static int make_directory(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "%s/sqloom-test-XXXXXX",
		 P_tmpdir);
	arrived = mmap(NULL, sizeof(*arrived), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!mkdtemp(directory) || arrived == MAP_FAILED)
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
	forks = refuse_fork = slow_fork = 0;
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

UNUSED static void assert_works(struct sqloom_processes *processes)
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

UNUSED static int open_to_read(void)
{
	int fd = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	assert_true(fd >= 0);
	fcntl(fd, F_SETFL, 0);
	return fd;
}

/* For a function: what it writes there, and its end, tells of it. */
UNUSED static int open_to_write(void)
{
	int fd = open(fifo, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		abort();
	return fd;
}

/* Reads to the end of the FIFO: nobody has it open any more. */
UNUSED static size_t read_to_end(int fd, char *text, size_t size)
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

UNUSED static void assert_all_gone(int fd, const char *wrote)
{
	char text[256];

	read_to_end(fd, text, sizeof(text));
	assert_string_equal(text, wrote);
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
UNUSED static pid_t run_program(void (*fn)(void), int *output)
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

UNUSED static void assert_program(void (*fn)(void), const char *wrote)
{
	int output, status;
	pid_t child = run_program(fn, &output);
	char text[256];

	read_to_end(output, text, sizeof(text));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_string_equal(text, wrote);
}

UNUSED static struct sqloom_results *call_apart(
	struct sqloom_processes **processes, size_t ncalls, sqloom_fn fn)
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

/* ---- Functions that many call ------------------------------------------ */

/* A process that only a signal ends. setsid: it is in no group of the call's */
UNUSED static void leave_process(bool own_session)
{
	pid_t child = fork();

	if (child != 0)
		return;
	if (own_session)
		setsid();
	(void)!write(open_to_write(), "+", 1);
	wait_forever();
}

UNUSED static int print_call(struct sqloom_call *call, void *arg)
{
	(void)call;
	(void)arg;
	printf("call ");
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_processes, end)

#endif
