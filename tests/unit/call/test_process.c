/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes of a case: what a command gives, and that nothing of it is left,
 * however it or its owner ends. The kernel is the witness: every test must
 * end without a child and with the descriptors that it began with.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <dirent.h>

#include "base/alloc.h"
#include "call/process.h"

#define GRACE_MS 5000
#define NOBODY 65534
/* Runs that must leave nothing. With a sanitizer a fork is slow. */
#ifdef __SANITIZE_ADDRESS__
#define RUNS 200
#else
#define RUNS 2000
#endif
#define TRIES 5000 /* pauses of a millisecond, then a test gives up */

static const char *const environment[] = { "PATH=/usr/local/bin:/usr/bin:/bin",
					   "GREETING=hello there", NULL };

/* ---- Helpers ----------------------------------------------------------- */

struct world {
	uv_loop_t loop;
	int files;
	int64_t blocks;
};

static int open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static int begin(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	world->files = open_files();
	world->blocks = slm_alloc_live();
	uv_loop_init(&world->loop);
	*state = world;
	return 0;
}

/* No handle, no block, no descriptor and no child is left. */
static int end(void **state)
{
	struct world *world = *state;
	int closed = uv_loop_close(&world->loop);
	int files = open_files() - world->files;
	int64_t blocks = slm_alloc_live() - world->blocks;

	free(world);
	if (closed != 0 || files != 0 || blocks != 0)
		print_error("left: loop %d, files %d, blocks %d\n", closed,
			    files, (int)blocks);
	if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD) {
		print_error("a child is left\n");
		return -1;
	}
	return closed || files || blocks;
}

static void count_end(void *userdata, struct slm_process *process)
{
	assert_true(slm_process_has_ended(process));
	(*(int *)userdata)++;
}

static struct slm_process *start_with(struct slm_process_options *options)
{
	struct slm_process *process = NULL;
	struct sqloom_error err;

	options->environment = environment;
	if (!options->name)
		options->name = "the command";
	if (slm_process_start(options, &process, &err) != SQLOOM_OK)
		fail_msg("%s", err.message);
	return process;
}

static struct slm_process *start(struct world *world, const char *command)
{
	struct slm_process_options options = { .loop = &world->loop,
					       .command = command,
					       .cpu = -1 };

	return start_with(&options);
}

static void wait_for_end(struct world *world, struct slm_process *process)
{
	while (!slm_process_has_ended(process))
		uv_run(&world->loop, UV_RUN_ONCE);
}

static struct slm_process *run(struct world *world, const char *command)
{
	struct slm_process *process = start(world, command);

	wait_for_end(world, process);
	return process;
}

/* Until it has written a line. */
static void wait_for_line(struct world *world, struct slm_process *process)
{
	while (!strchr(slm_process_output(process, NULL, NULL), '\n')) {
		assert_false(slm_process_has_ended(process));
		uv_run(&world->loop, UV_RUN_ONCE);
	}
}

static void pause_briefly(void)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	nanosleep(&ms, NULL);
}

/* Zombies that somebody else has to wait for are gone, too. */
static bool is_gone(int pid)
{
	char path[40], text[200] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return true;
	if (!fgets(text, sizeof(text), file))
		text[0] = '\0';
	fclose(file);
	return !*text || strstr(text, ") Z ") || strstr(text, ") X ");
}

static void assert_gone(int pid)
{
	assert_true(pid > 1);
	for (int i = 0; !is_gone(pid); i++) {
		if (i == TRIES)
			fail_msg("process %d is still there", pid);
		pause_briefly();
	}
}

static bool becomes_quiet(struct slm_process *process)
{
	for (int i = 0; i < TRIES; i++) {
		if (slm_process_is_quiet(process))
			return true;
		pause_briefly();
	}
	return false;
}

/* ---- What a command gives ---------------------------------------------- */

static void test_output(void **state)
{
	struct world *world = *state;
	int ends = 0;
	struct slm_process_options options = {
		.loop = &world->loop,
		.command = "echo \"$GREETING\"; printf 'a\\0b' >&2; exit 3",
		.cpu = -1,
		.ended = count_end,
		.userdata = &ends,
	};
	struct slm_process *process = start_with(&options);
	size_t size;
	bool cut = true;

	assert_true(slm_process_pid(process) > 1);
	wait_for_end(world, process);
	assert_int_equal(ends, 1);
	assert_int_equal(slm_process_status(process), 3);
	assert_int_equal(slm_process_signal(process), 0);
	assert_string_equal(slm_process_output(process, &size, &cut),
			    "hello there\n");
	assert_int_equal(size, 12);
	assert_false(cut);
	assert_memory_equal(slm_process_errors(process, &size, NULL), "a\0b",
			    4);
	assert_int_equal(size, 3);
	slm_process_forget_output(process);
	assert_string_equal(slm_process_output(process, &size, NULL), "");
	assert_int_equal(size, 0);
	slm_process_free(process, GRACE_MS);
	assert_int_equal(ends, 1);
}

static void test_not_found(void **state)
{
	struct slm_process *process = run(*state, "no-such-command-here");

	assert_int_equal(slm_process_status(process), 127);
	assert_non_null(strstr(slm_process_errors(process, NULL, NULL),
			       "no-such-command-here"));
	slm_process_free(process, 0);
}

static void test_killed(void **state)
{
	struct slm_process *process = run(*state, "kill -SEGV $$");

	assert_int_equal(slm_process_status(process), 128 + SIGSEGV);
	assert_int_equal(slm_process_signal(process), SIGSEGV);
	slm_process_free(process, 0);
}

/* Standard input is empty, nothing else is open, no signal is ignored or
 * blocked, although all of that is otherwise here. */
static void test_clean_start(void **state)
{
	int leak = open("/dev/null", O_RDONLY); /* not close-on-exec */
	void (*before)(int) = signal(SIGPIPE, SIG_IGN);
	sigset_t some, old;
	struct slm_process *process;

	sigemptyset(&some);
	sigaddset(&some, SIGUSR1);
	sigprocmask(SIG_BLOCK, &some, &old);
	/* Signals from 32 on are the C library's own: nobody can reset them. */
	process = run(*state, "wc -c; ls /proc/self/fd | wc -l; "
			      "for set in Blk Ign; do "
			      "mask=$(awk \"/^Sig$set/ { print \\$2 }\" "
			      "/proc/self/status); "
			      "echo $set $((0x$mask & 0x7fffffff)); done");
	/* 0, 1, 2 and the directory */
	assert_string_equal(slm_process_output(process, NULL, NULL),
			    "0\n4\nBlk 0\nIgn 0\n");
	slm_process_free(process, 0);
	sigprocmask(SIG_SETMASK, &old, NULL);
	signal(SIGPIPE, before);
	close(leak);
}

static void test_directory(void **state)
{
	struct world *world = *state;
	struct slm_process_options options = { .loop = &world->loop,
					       .command = "pwd",
					       .directory = "/usr",
					       .cpu = -1 };
	struct slm_process *process = start_with(&options);

	wait_for_end(world, process);
	assert_string_equal(slm_process_output(process, NULL, NULL), "/usr\n");
	slm_process_free(process, 0);
}

static void test_pinned(void **state)
{
	struct world *world = *state;
	struct slm_process_options options = { .loop = &world->loop,
					       .command = "nproc" };
	struct slm_process *process;
	cpu_set_t set;

	sched_getaffinity(0, sizeof(set), &set);
	while (!CPU_ISSET(options.cpu, &set))
		options.cpu++;
	process = start_with(&options);
	wait_for_end(world, process);
	assert_string_equal(slm_process_output(process, NULL, NULL), "1\n");
	slm_process_free(process, 0);
}

/* ---- Limits ------------------------------------------------------------ */

#define MANY "seq 1500000 | tail -c 10485760" /* 10 MB */

static void test_much_output(void **state)
{
	struct slm_process *process = run(*state, "echo first; " MANY);
	size_t size;
	bool cut = false;
	const char *text = slm_process_output(process, &size, &cut);

	assert_true(cut);
	assert_int_equal(size, SLM_PROCESS_OUTPUT_MAX);
	assert_memory_equal(text, "first\n", 6);
	assert_int_equal(slm_process_status(process), 0);
	slm_process_forget_output(process);
	slm_process_output(process, &size, &cut);
	assert_false(cut);
	slm_process_free(process, 0);
}

static void test_tail(void **state)
{
	struct world *world = *state;
	struct slm_process_options options = { .loop = &world->loop,
					       .command = MANY "; echo last",
					       .keep_tail = true,
					       .cpu = -1 };
	struct slm_process *process = start_with(&options);
	size_t size;
	bool cut = false;
	const char *text;

	wait_for_end(world, process);
	text = slm_process_output(process, &size, &cut);
	assert_true(cut);
	assert_int_equal(size, SLM_PROCESS_OUTPUT_MAX);
	assert_string_equal(text + size - 13, "1500000\nlast\n");
	slm_process_free(process, 0);
}

/* Exactly as much as is kept is not too much. */
static void test_exact_output(void **state)
{
	struct slm_process *process =
		run(*state, "head -c 1048576 /dev/zero; echo x >&2");
	size_t size;
	bool cut = true;

	slm_process_output(process, &size, &cut);
	assert_int_equal(size, SLM_PROCESS_OUTPUT_MAX);
	assert_false(cut);
	slm_process_free(process, 0);
}

/* ---- Ends -------------------------------------------------------------- */

/* A grandchild that keeps the output open is not waited for, but ended. */
static void test_grandchild(void **state)
{
	struct slm_process *process = run(*state, "sleep 1000 & echo $!");
	int pid = atoi(slm_process_output(process, NULL, NULL));

	assert_false(is_gone(pid));
	assert_int_equal(slm_process_status(process), 0);
	slm_process_free(process, GRACE_MS);
	assert_gone(pid);
}

/* The end is told even to who looks too late: when the time for the output of
 * grandchildren is over before the loop turns again. */
static void test_late_look(void **state)
{
	struct world *world = *state;
	struct slm_process *process = start(world, "sleep 1000 & echo a");
	const struct timespec longer = { .tv_nsec = 300000000 };
	int pid = slm_process_pid(process);

	while (!is_gone(pid))
		uv_run(&world->loop, UV_RUN_NOWAIT);
	uv_run(&world->loop, UV_RUN_ONCE);
	/* It is time that decides now (on a busy machine it may have). */
	nanosleep(&longer, NULL);
	wait_for_end(world, process);
	slm_process_free(process, 0);
}

/* Also one that made itself a daemon is ended, with a session and a group of its
 * own, and whose parent is gone. */
static void test_daemon(void **state)
{
	struct slm_process *process =
		run(*state, "(setsid sh -c 'echo $$; exec sleep 1000' &) &");
	int pid = atoi(slm_process_output(process, NULL, NULL));

	assert_true(pid > 1);
	assert_int_not_equal(getsid(pid), slm_process_pid(process));
	slm_process_free(process, GRACE_MS);
	assert_gone(pid);
}

static void test_late_output(void **state)
{
	/* The output of a child that outlives the command for a moment. */
	struct slm_process *process =
		run(*state, "(sleep 0.05; echo late) & echo early");

	assert_string_equal(slm_process_output(process, NULL, NULL),
			    "early\nlate\n");
	slm_process_free(process, 0);
}

static void test_terminated(void **state)
{
	/* It may tidy up; a file tells that it did. */
	struct world *world = *state;
	char path[] = P_tmpdir "/sqloom-test-XXXXXX", command[200];
	struct slm_process *process;
	struct stat info;
	int fd = mkstemp(path), ends = 0;
	struct slm_process_options options = { .loop = &world->loop,
					       .command = command,
					       .cpu = -1,
					       .ended = count_end,
					       .userdata = &ends };

	close(fd);
	snprintf(command, sizeof(command),
		 "trap 'echo tidy >%s; exit' TERM; echo ready; "
		 "while :; do sleep 1000; done",
		 path);
	process = start_with(&options);
	wait_for_line(world, process);
	/* A child that is not yet another program forgets the signal. */
	assert_true(becomes_quiet(process));
	slm_process_free(process, GRACE_MS);
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_size, 5);
	assert_int_equal(ends, 0);
	unlink(path);
}

static void test_deaf_to_terminate(void **state)
{
	struct slm_process *process =
		start(*state, "trap '' TERM; (sleep 1000; echo a) & echo $!; "
			      "while :; do sleep 1000; done");
	int pid;

	wait_for_line(*state, process);
	pid = atoi(slm_process_output(process, NULL, NULL));
	slm_process_free(process, 50);
	assert_gone(pid);
}

/* The command obeys, a child of it does not: the grace ends all the same. */
static void test_deaf_child(void **state)
{
	struct slm_process *process = start(
		*state, "sh -c 'trap \"\" TERM; echo $$; while :; do sleep "
			"1000; done' & wait");
	int pid;

	wait_for_line(*state, process);
	pid = atoi(slm_process_output(process, NULL, NULL));
	slm_process_free(process, 400);
	assert_gone(pid);
}

static void test_stopped(void **state)
{
	struct slm_process *process = start(*state, "echo a; kill -STOP $$");

	wait_for_line(*state, process);
	slm_process_free(process, GRACE_MS);
}

/* Many that multiply while they are killed. */
static void test_multiplying(void **state)
{
	struct slm_process *process = start(
		*state, "trap '' TERM; echo a; for i in 1 2 3 4 5 6 7 8 9; do "
			"(while :; do sleep 0.01 & sleep 0.01; done) & done; "
			"wait");

	wait_for_line(*state, process);
	slm_process_free(process, 20);
}

/* The parent of a process. */
static int parent_of(int pid)
{
	char path[40], text[300] = "";
	FILE *file;
	int parent = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	assert_non_null(file);
	if (fgets(text, sizeof(text), file))
		sscanf(strrchr(text, ')'), ") %*c %d", &parent);
	fclose(file);
	return parent;
}

static void test_guard_killed(void **state)
{
	struct slm_process *process =
		start(*state, "sleep 1000 & echo $!; wait");
	int pid;

	wait_for_line(*state, process);
	pid = atoi(slm_process_output(process, NULL, NULL));
	kill(parent_of(slm_process_pid(process)), SIGKILL);
	wait_for_end(*state, process);
	assert_int_equal(slm_process_signal(process), SIGKILL);
	assert_gone(pid);
	slm_process_free(process, GRACE_MS);
}

/* ---- Our own end ------------------------------------------------------- */

/* In a child that is killed: starts two commands, tells their processes. */
static void be_killed(int out)
{
	struct world world;
	struct slm_process *first, *second;
	int pids[4] = { 0 };

	uv_loop_init(&world.loop);
	first = start(&world, "(setsid sleep 1000 & echo $!); wait; sleep 900");
	second = start(&world, "trap '' TERM HUP; sleep 1000 & echo $!; wait");
	wait_for_line(&world, first);
	wait_for_line(&world, second);
	pids[0] = slm_process_pid(first);
	pids[1] = atoi(slm_process_output(first, NULL, NULL));
	pids[2] = slm_process_pid(second);
	pids[3] = atoi(slm_process_output(second, NULL, NULL));
	if (write(out, pids, sizeof(pids)) != (ssize_t)sizeof(pids))
		_exit(1);
	for (;;)
		pause();
}

static void test_owner_killed(void **state)
{
	int pids[4] = { 0 }, pair[2];
	pid_t owner;

	(void)state;
	assert_int_equal(pipe(pair), 0);
	owner = fork();
	if (owner == 0)
		be_killed(pair[1]);
	assert_int_equal(read(pair[0], pids, sizeof(pids)), sizeof(pids));
	for (int i = 0; i < 4; i++)
		assert_false(is_gone(pids[i]));
	kill(owner, SIGKILL);
	waitpid(owner, NULL, 0);
	for (int i = 0; i < 4; i++)
		assert_gone(pids[i]);
	close(pair[0]);
	close(pair[1]);
}

/* ---- What cannot be started -------------------------------------------- */

static void refused(struct slm_process_options *options,
		    enum sqloom_status status, const char *part)
{
	struct slm_process *process = NULL;
	struct sqloom_error err;

	options->name = "call alice";
	options->environment = environment;
	assert_int_equal(slm_process_start(options, &process, &err), status);
	assert_null(process);
	assert_non_null(strstr(err.message, "call alice"));
	if (!strstr(err.message, part))
		fail_msg("not '%s' in: %s", part, err.message);
}

static void test_refused(void **state)
{
	struct world *world = *state;
	size_t size = 256 * 1024;
	char *text = malloc(size);
	struct slm_process_options options = { .loop = &world->loop,
					       .command = "true",
					       .cpu = -1 };

	options.directory = "/no/such/directory";
	refused(&options, SQLOOM_IO, "/no/such/directory: No such file");
	options.directory = NULL;
	options.cpu = 5000;
	refused(&options, SQLOOM_IO, "CPU 5000");
	options.cpu = -1;
	memset(text, ' ', size);
	memcpy(text, "true", 4);
	text[size - 1] = '\0';
	options.command = text;
	refused(&options, SQLOOM_LIMIT, "too long");
	free(text);
}

/* As a user who may have only so many processes; 0 in the child: refused as
 * it should be. */
static int start_with_limit(rlim_t processes)
{
	const struct rlimit limit = { processes, processes };
	struct world world;
	struct slm_process *process;
	struct sqloom_error err;
	struct slm_process_options options = { .loop = &world.loop,
					       .command = "true",
					       .name = "call alice",
					       .environment = environment,
					       .cpu = -1 };

	uv_loop_init(&world.loop);
	if (setgid(NOBODY - 1) != 0 || setuid(NOBODY - 1) != 0 ||
	    setrlimit(RLIMIT_NPROC, &limit) != 0)
		return 1;
	if (slm_process_start(&options, &process, &err) != SQLOOM_IO)
		return 2;
	if (!strstr(err.message, "no process can be made"))
		return 3;
	/* No child is left, no descriptor. */
	if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD)
		return 4;
	return uv_loop_close(&world.loop) == 0 ? 0 : 5;
}

static void test_no_process(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	/* 1: there is no guard. 2: the guard cannot start the shell. */
	for (rlim_t processes = 1; processes <= 2; processes++) {
		pid_t pid = fork();
		int status = -1;

		if (pid == 0)
			_exit(start_with_limit(processes));
		waitpid(pid, &status, 0);
		assert_int_equal(status, 0);
	}
}

static void test_no_descriptors(void **state)
{
	struct world *world = *state;
	struct slm_process_options options = { .loop = &world->loop,
					       .command = "true",
					       .cpu = -1 };
	struct rlimit before, limit;
	int next = dup(0);

	close(next);
	getrlimit(RLIMIT_NOFILE, &before);
	for (rlim_t more = 0; more < 8; more++) {
		limit = before;
		limit.rlim_cur = (rlim_t)next + more;
		setrlimit(RLIMIT_NOFILE, &limit);
		refused(&options, SQLOOM_IO, "ulimit");
	}
	setrlimit(RLIMIT_NOFILE, &before);
}

static void test_no_memory(void **state)
{
	struct world *world = *state;
	struct slm_process_options options = { .loop = &world->loop,
					       .command = "echo a",
					       .name = "call alice",
					       .environment = environment,
					       .cpu = -1 };
	struct slm_process *process = NULL;
	struct sqloom_error err;
	bool cut = false;

	slm_alloc_fail_from(1);
	assert_int_equal(slm_process_start(&options, &process, &err),
			 SQLOOM_NOMEM);
	/* Later: the output is cut, nothing else. */
	slm_alloc_fail_from(2);
	assert_int_equal(slm_process_start(&options, &process, &err),
			 SQLOOM_OK);
	wait_for_end(world, process);
	slm_alloc_fail_from(0);
	assert_string_equal(slm_process_output(process, NULL, &cut), "");
	assert_true(cut);
	slm_process_free(process, 0);
}

/* ---- Quiet ------------------------------------------------------------- */

static void test_quiet(void **state)
{
	struct slm_process *process =
		start(*state, "(sleep 1000 & sleep 1000) & echo a; sleep 1000");

	wait_for_line(*state, process);
	assert_true(becomes_quiet(process));
	assert_int_equal(getsid(slm_process_pid(process)),
			 slm_process_pid(process));
	slm_process_free(process, GRACE_MS);
}

/* A grandchild in a session of its own computes; all others sleep. */
static void test_not_quiet(void **state)
{
	struct slm_process *process =
		start(*state, "setsid sh -c 'while :; do :; done' & echo a; "
			      "wait");

	wait_for_line(*state, process);
	for (int i = 0; i < 200; i++)
		assert_false(slm_process_is_quiet(process));
	slm_process_free(process, 0);
}

/* Two that wake each other all the time: one of them sleeps at any moment, but
 * never both for long. What sees only one at a time would be taken in. */
static void test_ping_pong(void **state)
{
	struct slm_process *process = start(*state,
					    "exec python3 -c '\n"
					    "import os, socket\n"
					    "a, b = socket.socketpair()\n"
					    "print(1, flush=True)\n"
					    "if os.fork():\n"
					    "    a.send(b\"x\")\n"
					    "else:\n"
					    "    a = b\n"
					    "while True:\n"
					    "    a.recv(1)\n"
					    "    a.send(b\"x\")\n'");

	wait_for_line(*state, process);
	for (int i = 0; i < 300; i++)
		assert_false(slm_process_is_quiet(process));
	slm_process_free(process, 0);
}

/* Threads count each for itself. */
static void test_quiet_threads(void **state)
{
	struct slm_process *process = start(
		*state, "exec python3 -c '\n"
			"import threading, time\n"
			"def work():\n"
			"    while True: pass\n"
			"threading.Thread(target=work, daemon=True).start()\n"
			"print(1, flush=True)\n"
			"time.sleep(1000)\n'");

	wait_for_line(*state, process);
	for (int i = 0; i < 100; i++)
		assert_false(slm_process_is_quiet(process));
	slm_process_free(process, 0);
}

static void test_quiet_end(void **state)
{
	struct slm_process *process = run(*state, "true");

	assert_true(becomes_quiet(process));
	slm_process_free(process, 0);
}

/* ---- Many -------------------------------------------------------------- */

static void test_many(void **state)
{
	for (int i = 0; i < RUNS; i++) {
		struct slm_process *process =
			run(*state, "echo a; test $$ -gt 1");

		assert_int_equal(slm_process_status(process), 0);
		assert_string_equal(slm_process_output(process, NULL, NULL),
				    "a\n");
		slm_process_free(process, i % 2 ? 0 : GRACE_MS);
	}
}

/* Freed before, while and after it ends. */
static void test_any_time(void **state)
{
	struct world *world = *state;

	for (int i = 0; i < 300; i++) {
		struct slm_process *process = start(*state, "echo a; echo b");

		for (int j = 0; j < i % 6; j++)
			uv_run(&world->loop, UV_RUN_NOWAIT);
		slm_process_free(process, i % 2 ? 0 : GRACE_MS);
	}
}

static void test_side_by_side(void **state)
{
	struct slm_process *processes[50];

	for (int i = 0; i < 50; i++)
		processes[i] = start(*state, "cat; sleep 0.1; echo a");
	for (int i = 49; i >= 0; i--) {
		wait_for_end(*state, processes[i]);
		assert_string_equal(
			slm_process_output(processes[i], NULL, NULL), "a\n");
		slm_process_free(processes[i], GRACE_MS);
	}
}

/* ---- The environment --------------------------------------------------- */

static void assert_environment(char **made, const char *const *expected)
{
	assert_non_null(made);
	for (int i = 0; made[i] || expected[i]; i++)
		assert_string_equal(made[i] ? made[i] : "(none)",
				    expected[i] ? expected[i] : "(none)");
	slm_free(made);
}

static void test_environment(void **state)
{
	const char *const base[] = { "A=1", "AB=2", "C=3", "odd", NULL };
	const char *const changes[] = { "A=one", "C",	 "D=4=5",
					"A=two", "NONE", NULL };
	const char *const expected[] = { "AB=2", "odd", "D=4=5", "A=two",
					 NULL };
	const char *const none[] = { NULL };

	(void)state;
	assert_environment(slm_process_environment(base, changes), expected);
	assert_environment(slm_process_environment(base, NULL), base);
	assert_environment(slm_process_environment(NULL, NULL), none);
	slm_alloc_fail_from(1);
	assert_null(slm_process_environment(base, changes));
	slm_alloc_fail_from(0);
}

/* libuv keeps a pipe from the first loop on. */
static int warm_up(void **state)
{
	uv_loop_t loop;

	(void)state;
	return uv_loop_init(&loop) || uv_loop_close(&loop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(output),
		TEST(not_found),
		TEST(killed),
		TEST(clean_start),
		TEST(directory),
		TEST(pinned),
		TEST(much_output),
		TEST(tail),
		TEST(exact_output),
		TEST(grandchild),
		TEST(late_look),
		TEST(daemon),
		TEST(late_output),
		TEST(terminated),
		TEST(deaf_to_terminate),
		TEST(deaf_child),
		TEST(stopped),
		TEST(multiplying),
		TEST(guard_killed),
		TEST(owner_killed),
		TEST(refused),
		TEST(no_process),
		TEST(no_descriptors),
		TEST(no_memory),
		TEST(quiet),
		TEST(not_quiet),
		TEST(ping_pong),
		TEST(quiet_threads),
		TEST(quiet_end),
		TEST(many),
		TEST(any_time),
		TEST(side_by_side),
		TEST(environment),
	};

	return cmocka_run_group_tests(tests, warm_up, NULL);
}
