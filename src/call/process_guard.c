/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guard, from fork() to its end. Everything here is async-signal-safe:
 * system calls, and arithmetic on the stack. No heap, no stdio, no assert.
 *
 * It is a subreaper: whose parent ends becomes its child, even in a session of
 * its own. So there is nothing left exactly when it has no child left.
 */
#include "call/process_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "call/process_tree.h"

#define SHELL "/bin/sh"
#define NAME "sqloom-guard"
#define KILL_PAUSE_MS 5
#define KILL_MS 10000	  /* then what is left cannot be killed */
#define DESCRIPTORS 65536 /* closed one by one on old kernels */

/* Descriptors 0 to 2 are /dev/null. */
enum { LIFE = 3, REPORT, OUTPUT, ERRORS, FIRST_FREE };

static void say(enum slm_guard_stage stage, int value)
{
	struct slm_guard_report report = { .stage = stage, .value = value };
	ssize_t ignored = write(REPORT, &report, sizeof(report));

	(void)ignored; /* nobody listens any more; the pipe will tell */
}

/* ---- Descriptors ------------------------------------------------------- */

static void close_from(int first)
{
	if (close_range((unsigned)first, ~0U, 0) == 0)
		return;
	for (int fd = first; fd < DESCRIPTORS; fd++)
		close(fd);
}

/* Only those of the plan stay. Another guard's pipe, kept open by us, would
 * keep that guard from seeing our end. */
static bool keep_descriptors(const struct slm_guard_plan *plan)
{
	const int wanted[] = { plan->life, plan->report, plan->output,
			       plan->errors };
	const int count = FIRST_FREE - LIFE;
	int moved[FIRST_FREE - LIFE];
	int null;

	for (int i = 0; i < count; i++) {
		moved[i] = fcntl(wanted[i], F_DUPFD_CLOEXEC, FIRST_FREE);
		if (moved[i] < 0)
			return false;
	}
	for (int i = 0; i < count; i++)
		dup3(moved[i], LIFE + i, O_CLOEXEC);
	close_from(FIRST_FREE);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd < LIFE; fd++)
		dup2(null, fd);
	if (null >= FIRST_FREE)
		close(null);
	return null >= 0;
}

/* ---- The command ------------------------------------------------------- */

/* Ignored signals stay ignored through exec(); programs expect none. */
static void reset_signals(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		sigaction(number, &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return true;
	if (cpu >= CPU_SETSIZE) {
		errno = EINVAL;
		return false;
	}
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) == 0;
}

/* In the child of the guard. Returns where it failed, with errno. */
static enum slm_guard_stage execute(const struct slm_guard_plan *plan,
				    pid_t guard)
{
	char *argv[] = { "sh", "-c", "--", (char *)plan->command, NULL };

	setsid();
	dup2(OUTPUT, STDOUT_FILENO);
	dup2(ERRORS, STDERR_FILENO);
	if (plan->directory && chdir(plan->directory) != 0)
		return SLM_GUARD_DIRECTORY;
	if (!pin(plan->cpu))
		return SLM_GUARD_CPU;
	reset_signals();
	/* If somebody kills the guard, the command goes, too. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != guard)
		_exit(1);
	execve(SHELL, argv, plan->environment);
	return SLM_GUARD_EXEC;
}

/* The process of the command; 0: there is none, which was said. */
static pid_t start(const struct slm_guard_plan *plan)
{
	struct slm_guard_report failure;
	pid_t guard = getpid(), pid;
	int outcome[2]; /* closed by a successful exec() */

	if (pipe2(outcome, O_CLOEXEC) != 0) {
		say(SLM_GUARD_FORK, errno);
		return 0;
	}
	/* Not fork(), which would run what libraries registered for it: libuv
	 * closes descriptors that are ours by now. The child shares our memory
	 * and changes nothing in it that we read. */
	pid = vfork();
	if (pid == 0) {
		failure.stage = execute(plan, guard);
		failure.value = errno;
		_exit(write(outcome[1], &failure, sizeof(failure)) < 0);
	}
	if (pid < 0)
		say(SLM_GUARD_FORK, errno);
	close(outcome[1]);
	/* Else nobody would see the end of the output. */
	close(OUTPUT);
	close(ERRORS);
	if (pid > 0 && read(outcome[0], &failure, sizeof(failure)) ==
			       (ssize_t)sizeof(failure)) {
		say(failure.stage, failure.value);
		waitpid(pid, NULL, 0);
		pid = 0;
	}
	close(outcome[0]);
	if (pid > 0)
		say(SLM_GUARD_STARTED, pid);
	return pid > 0 ? pid : 0;
}

/* ---- Its end ----------------------------------------------------------- */

/* Takes note of all that ended. False: no child is left. */
static bool reap(pid_t *command)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != *command)
			continue;
		say(SLM_GUARD_ENDED, status);
		*command = 0;
	}
	return pid == 0;
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000L + now.tv_nsec / 1000000;
}

/* Forgets that a child ended; reap() sees them all. */
static void clear(int signals)
{
	struct signalfd_siginfo info;
	ssize_t ignored = read(signals, &info, sizeof(info));

	(void)ignored;
}

static void kill_all(pid_t *command, int signals)
{
	struct pollfd child = { .fd = signals, .events = POLLIN };
	long end = now_ms() + KILL_MS;

	/* As a group, so that it cannot fork faster than we kill. Its number
	 * is its own as long as we have not waited for it. */
	if (*command > 0)
		kill(-*command, SIGKILL);
	while (reap(command) && now_ms() < end) {
		slm_tree_kill_children();
		if (poll(&child, 1, KILL_PAUSE_MS) > 0)
			clear(signals);
	}
}

/* SIGCHLD is blocked, so none is missed between reap() and poll(). */
static int watch_children(void)
{
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Until no child is left, or nobody needs them any more. */
static void wait_for_end(pid_t *command, int signals)
{
	struct pollfd events[] = { { .fd = LIFE, .events = POLLIN },
				   { .fd = signals, .events = POLLIN } };

	while (reap(command)) {
		poll(events, 2, -1);
		if (events[0].revents) {
			kill_all(command, signals);
			return;
		}
		clear(signals);
	}
}

_Noreturn void slm_guard(const struct slm_guard_plan *plan)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	pid_t command;
	int signals;

	setsid(); /* Ctrl-C at the terminal is not for us */
	/* Were it ignored, children would vanish unseen. */
	sigaction(SIGCHLD, &action, NULL);
	if (!keep_descriptors(plan))
		_exit(1);
	prctl(PR_SET_NAME, NAME);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signals = watch_children();
	if (signals < 0) {
		say(SLM_GUARD_FORK, errno);
		_exit(1);
	}
	command = start(plan);
	if (command > 0 && chdir("/") == 0)
		wait_for_end(&command, signals);
	_exit(0);
}
