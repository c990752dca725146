/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of the helper that clean processes are forked from, as the program
 * sees it. May use processes_helper.h, processes_check.h.
 *
 * Invariant: the helper is a child of the program, which is waited for once,
 * by its number.
 */
#include "kit/processes.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "kit/processes_check.h"
#include "kit/processes_helper.h"

#define END_MS 15000 /* it kills and waits for all calls before it ends */

#define AGAIN                                                         \
	"free it, close all connections, and start another one with " \
	"sqloom_processes_start()"

/*
 * All helpers of this process. In a clean process there are others: so what
 * belongs to the program is refused there without a look at it.
 */
static struct sqloom_processes *all;
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- The list ---------------------------------------------------------- */

static bool is_helper(int fd)
{
	bool found = false;

	pthread_mutex_lock(&all_lock);
	for (struct sqloom_processes *p = all; p; p = p->next)
		found |= p->socket == fd;
	pthread_mutex_unlock(&all_lock);
	return found;
}

static void enlist(struct sqloom_processes *processes)
{
	pthread_mutex_lock(&all_lock);
	processes->next = all;
	all = processes;
	pthread_mutex_unlock(&all_lock);
}

/* False: it is not there. */
static bool delist(struct sqloom_processes *processes)
{
	bool found = false;

	pthread_mutex_lock(&all_lock);
	for (struct sqloom_processes **p = &all; *p; p = &(*p)->next) {
		if (*p != processes)
			continue;
		*p = processes->next;
		found = true;
		break;
	}
	pthread_mutex_unlock(&all_lock);
	return found;
}

enum sqloom_status slm_processes_take(struct sqloom_processes *processes,
				      struct sqloom_error *err)
{
	struct sqloom_processes *p;
	bool busy = false;

	pthread_mutex_lock(&all_lock);
	for (p = all; p && p != processes; p = p->next)
		;
	if (p && p->program == getpid()) {
		busy = p->busy;
		p->busy = true;
	} else {
		p = NULL;
	}
	pthread_mutex_unlock(&all_lock);
	if (!p)
		return slm_error_set(err, SQLOOM_USAGE,
				     "this process did not start the helper of "
				     "clean processes: a call in a clean "
				     "process, or the child of a fork(), "
				     "cannot use that of its parent; use "
				     "threads there, or start another");
	if (busy)
		return slm_error_set(err, SQLOOM_USAGE,
				     "another thread is making calls with this "
				     "helper of clean processes; start one for "
				     "each thread, or wait");
	return SQLOOM_OK;
}

bool slm_processes_any(void)
{
	const struct sqloom_processes *p;

	pthread_mutex_lock(&all_lock);
	for (p = all; p && p->program != getpid(); p = p->next)
		;
	pthread_mutex_unlock(&all_lock);
	return p != NULL;
}

void slm_processes_give_back(struct sqloom_processes *processes)
{
	pthread_mutex_lock(&all_lock);
	processes->busy = false;
	pthread_mutex_unlock(&all_lock);
}

/* ---- Its start --------------------------------------------------------- */

/* Neither end gets the number of a standard descriptor that is closed. */
static int make_sockets(int sockets[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
		return errno;
	for (int i = 0; i < 2; i++) {
		int moved;

		if (sockets[i] > STDERR_FILENO)
			continue;
		moved = fcntl(sockets[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		if (moved < 0) {
			int error = errno;

			close(sockets[0]);
			close(sockets[1]);
			return error;
		}
		close(sockets[i]);
		sockets[i] = moved;
	}
	return 0;
}

/* Waits for its first words. Returns an errno. */
static int wait_for_start(int socket)
{
	struct slm_reply ready;
	ssize_t got;

	do {
		got = recv(socket, &ready, sizeof(ready), MSG_WAITALL);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno;
	if (got < (ssize_t)sizeof(ready))
		return ECHILD; /* it was killed */
	assert(ready.kind == SLM_REPLY_READY);
	return ready.status;
}

/* Its end, when it has ended. */
static int reap(pid_t helper, int *status)
{
	while (waitpid(helper, status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return 0;
}

/* Returns an errno. */
static int fork_helper(struct sqloom_processes *processes, int floor)
{
	struct slm_helper_plan plan = { .program = getpid(), .floor = floor };
	sigset_t blocked;
	int sockets[2];
	int error = make_sockets(sockets);

	if (error)
		return error;
	plan.socket = sockets[1];
	/* Else what is in the buffers would be written by each call again. */
	fflush(NULL);
	/* No handler of the program's may run in the helper. */
	sigfillset(&blocked);
	pthread_sigmask(SIG_SETMASK, &blocked, &plan.signals);
	processes->helper = fork();
	if (processes->helper == 0) {
		all = NULL; /* what the program has is not ours */
		slm_helper(&plan);
	}
	error = processes->helper < 0 ? errno : 0;
	pthread_sigmask(SIG_SETMASK, &plan.signals, NULL);
	close(sockets[1]);
	processes->socket = sockets[0];
	if (!error) {
		error = wait_for_start(processes->socket);
		if (error)
			(void)reap(processes->helper, NULL);
	}
	if (error)
		close(processes->socket);
	return error;
}

enum sqloom_status sqloom_processes_start(struct sqloom_processes **out,
					  struct sqloom_error *err)
{
	struct sqloom_processes *processes;
	enum sqloom_status status;
	int floor, error;

	if (!out)
		return slm_error_set(err, SQLOOM_USAGE,
				     "out is NULL: there is no place for the "
				     "helper");
	status = slm_processes_check(is_helper, &floor, err);
	if (status)
		return status;
	processes = slm_calloc(1, sizeof(*processes));
	if (!processes)
		return slm_error_nomem(err);
	processes->program = getpid();
	error = fork_helper(processes, floor);
	if (error) {
		slm_free(processes);
		return slm_error_errno(err, SQLOOM_IO, error,
				       "cannot start the helper of clean "
				       "processes");
	}
	enlist(processes);
	*out = processes;
	return SQLOOM_OK;
}

/* ---- Its end ----------------------------------------------------------- */

/* Until its end of the socket is closed. False: it is not. */
static bool wait_for_end(int socket, int timeout_ms)
{
	struct pollfd end = { .fd = socket };
	int ready;

	do {
		ready = poll(&end, 1, timeout_ms);
	} while (ready < 0 && errno == EINTR);
	return ready > 0;
}

/* Its wait status; -1: the program itself has waited for it. */
static int end_helper(struct sqloom_processes *processes, int timeout_ms)
{
	int status = -1;

	shutdown(processes->socket, SHUT_WR);
	if (!wait_for_end(processes->socket, timeout_ms))
		kill(processes->helper, SIGKILL);
	return reap(processes->helper, &status) == 0 ? status : -1;
}

void sqloom_processes_free(struct sqloom_processes *processes)
{
	/* Twice, or in a clean process: it is not ours to look at. */
	if (!processes || !delist(processes))
		return;
	if (processes->program == getpid() && processes->helper)
		(void)end_helper(processes, END_MS);
	close(processes->socket);
	slm_free(processes);
}

enum sqloom_status slm_processes_lost(struct sqloom_processes *processes,
				      struct sqloom_error *err)
{
	int status = -1;

	if (processes->helper)
		status = end_helper(processes, 0);
	processes->helper = 0;
	if (status != -1 && WIFSIGNALED(status))
		return slm_error_set(err, SQLOOM_IO,
				     "the helper of clean processes was ended "
				     "by signal %d (SIG%s), and its calls with "
				     "it; " AGAIN,
				     WTERMSIG(status),
				     sigabbrev_np(WTERMSIG(status)));
	return slm_error_set(err, SQLOOM_IO,
			     "the helper of clean processes has ended, and "
			     "its calls with it; " AGAIN);
}
