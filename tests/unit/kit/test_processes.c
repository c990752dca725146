/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Concurrent calls in clean processes: what is in them and what is not, what
 * comes back, and calls that cannot be started. (test_processes_end has the
 * ways in which a call can end, test_processes_helper the helper.)
 */
#include "processes_help.h"

#include <sys/prctl.h>
#include <sys/resource.h>

/* With a sanitizer a fork is slow. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MANY 40
#else
#define MANY SQLOOM_CALLS_MAX
#endif

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
	pid_t ids[] = { getpid(), getppid(), getsid(0), getpgrp(),
			getsid(getppid()) };

	(void)arg;
	sqloom_call_write(call, ids, sizeof(ids));
	return 0;
}

/* A process of its own for each, in a session of its own; so is the helper. */
static void test_processes_of_their_own(void **state)
{
	struct sqloom_processes *processes = start();
	struct sqloom_results *results =
		call_some(processes, 3, write_processes);
	pid_t ids[3][5];

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
		assert_int_equal(ids[i][4], ids[i][1]);
		assert_true(i == 0 || ids[i][0] != ids[i - 1][0]);
	}
	sqloom_results_free(results);
	sqloom_processes_free(processes);
}

static int write_arrived(struct sqloom_call *call, void *arg)
{
	(void)arg;
	sqloom_call_printf(call, "%d", *arrived);
	return 0;
}

/* None begins before the last one stands ready. */
static void test_released_together(void **state)
{
	struct sqloom_processes *processes;
	struct sqloom_results *results;

	(void)state;
	slow_fork = 4; /* the first is the helper */
	processes = start();
	results = call_some(processes, 3, write_arrived);
	for (size_t i = 0; i < 3; i++)
		assert_value(results, i, "1");
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

static void print_goodbye(void)
{
	printf("goodbye ");
}

/* KiB of memory that a process has. */
static long memory_of(pid_t process)
{
	char path[64], line[128];
	long size = -1;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)process);
	status = fopen(path, "r");
	while (status && fgets(line, sizeof(line), status))
		if (sscanf(line, "VmRSS: %ld", &size) == 1)
			break;
	if (status)
		fclose(status);
	return size;
}

static int write_much(struct sqloom_call *call, void *arg)
{
	long before = memory_of(getppid()), after;
	char bytes[4096];

	(void)arg;
	memset(bytes, 'x', sizeof(bytes));
	for (int i = 0; i < 16384; i++)
		(void)!write(STDERR_FILENO, bytes, sizeof(bytes));
	after = memory_of(getppid());
	if (before < 0 || after > before + 16384)
		return sqloom_call_fail(call, "%ld, then %ld KiB", before,
					after);
	return 0;
}

/* 64 MiB are written, and not kept. */
static void test_much_standard_error(void **state)
{
	struct sqloom_processes *processes = start();
	struct sqloom_results *results = call_some(processes, 1, write_much);

	(void)state;
	assert_value(results, 0, "");
	sqloom_results_free(results);
	sqloom_processes_free(processes);
}

/* ---- Standard descriptors ---------------------------------------------- */

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
	struct stat input;

	(void)arg;
	fprintf(stderr, "error");
	/* Closed in the program: here, it is /dev/null, and nothing of ours. */
	sqloom_call_printf(call, "%d",
			   fstat(STDIN_FILENO, &input) == 0 &&
				   S_ISCHR(input.st_mode));
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
	assert_program(start_without_standard, "1 error");
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

/* Wherever it is that a descriptor is missing. */
static void test_start_without_descriptors(void **state)
{
	struct rlimit limit, before;
	bool started = false;
	int refused = 0;

	(void)state;
	getrlimit(RLIMIT_NOFILE, &before);
	limit = before;
	for (limit.rlim_cur = 3; !started; limit.rlim_cur++) {
		struct sqloom_processes *processes = NULL;
		enum sqloom_status status;
		struct sqloom_error err;

		setrlimit(RLIMIT_NOFILE, &limit);
		status = sqloom_processes_start(&processes, &err);
		setrlimit(RLIMIT_NOFILE, &before);
		started = status == SQLOOM_OK;
		if (started) {
			sqloom_processes_free(processes);
			break;
		}
		assert_int_equal(status, SQLOOM_IO);
		assert_contains(err.message, "cannot ");
		/* Valgrind gives one beyond the limit, and refuses its use. */
		assert_true(err.sys_errno == EMFILE || err.sys_errno == EBADF);
		assert_null(processes);
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
		refused++;
	}
	assert_true(refused >= 3);
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
	struct pair pair = { 7, "seven" };
	struct sqloom_function calls[] = {
		{ .fn = change_arg, .arg = &pair, .arg_size = sizeof(pair) },
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_values_in_order),
		TEST(test_processes_of_their_own),
		TEST(test_released_together),
		TEST(test_arg_is_a_copy),
		TEST(test_large_arg),
		TEST(test_environment_of_a_call),
		TEST(test_descriptors),
		TEST(test_streams_of_the_program),
		TEST(test_signals_are_the_programs),
		TEST(test_standard_error),
		TEST(test_much_standard_error),
		TEST(test_standard_output),
		TEST(test_standard_descriptors_closed),
		TEST(test_many),
		TEST(test_fork_refused),
		TEST(test_helper_refused),
		TEST(test_start_without_descriptors),
		TEST(test_descriptors_refused),
		TEST(test_out_of_memory),
		TEST(test_out_of_memory_there),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
