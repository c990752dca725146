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
	sqloom_call_printf(call, "%s %s %s",
			   getenv("SQLOOM_TEST_A") ? getenv("SQLOOM_TEST_A") :
						     "none",
			   getenv("SQLOOM_TEST_B") ? getenv("SQLOOM_TEST_B") :
						     "none",
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

/* Lists the descriptors of a process, but for the one that lists them. */
static void list_descriptors(pid_t process, char *text, size_t size)
{
	char path[64], target[256];
	struct dirent *entry;
	DIR *descriptors;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)process);
	descriptors = opendir(path);
	text[0] = '\0';
	while (descriptors && (entry = readdir(descriptors))) {
		ssize_t length;

		if (entry->d_name[0] == '.' || atoi(entry->d_name) <= 2)
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
		     "pipe of the helper: socket anon_inode anon_inode pipe "
		     "pipe ");
	sqloom_results_free(results);
	sqloom_processes_free(processes);
	for (int i = 0; i < 40; i++)
		close(files[i]);
	close(pipes[0]);
	close(pipes[1]);
}

static FILE *log_file;

static int write_log(struct sqloom_call *call, void *arg)
{
	(void)arg;
	sqloom_call_printf(call, "%d %d", fprintf(log_file, "lost") > 0,
			   fflush(log_file) == EOF && errno == EBADF);
	return 0;
}

/* A stream of the program, whose descriptor is closed in the call, does not
 * write into what took its number. */
static void test_stream_of_the_program(void **state)
{
	struct sqloom_processes *processes;
	struct sqloom_results *results;

	(void)state;
	log_file = fopen("/dev/null", "w");
	processes = start();
	results = call_some(processes, 1, write_log);
	assert_value(results, 0, "1 1");
	fclose(log_file);
	sqloom_results_free(results);
	sqloom_processes_free(processes);
}

static int write_signals(struct sqloom_call *call, void *arg)
{
	char name[16] = "", own[16] = "";
	struct sigaction action;
	sigset_t mask;

	(void)arg;
	sigprocmask(SIG_BLOCK, NULL, &mask);
	sigaction(SIGCHLD, NULL, &action);
	prctl(PR_GET_NAME, name);
	snprintf(own, sizeof(own), "%s", program_invocation_short_name);
	sqloom_call_printf(call, "%d %d %d %d", sigismember(&mask, SIGUSR1),
			   sigismember(&mask, SIGINT),
			   action.sa_handler == SIG_IGN,
			   strcmp(name, own) == 0);
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

/* Runs fn in a child of the test, with a pipe as its standard output, and gives
 * back what everybody wrote there, until all are gone. */
static void run_apart(void (*fn)(void), char *text, size_t size, pid_t *kept)
{
	int pipes[2];
	pid_t child;
	int status;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	fflush(NULL);
	child = fork();
	if (child == 0) {
		dup2(pipes[1], STDOUT_FILENO);
		slm_close_apart();
		fn();
		fflush(NULL);
		_exit(0);
	}
	close(pipes[1]);
	if (kept) {
		*kept = child;
		assert_int_equal(read(pipes[0], text, 1), 1);
		kill(child, SIGKILL);
	}
	read_to_end(pipes[0], text, size);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (!kept)
		assert_int_equal(status, 0);
}
