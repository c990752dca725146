/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call in a clean process: a child of the helper, which is a copy of the
 * program as it was when the helper was started. May use call/function.h.
 *
 * It ends by _exit(), so that handlers of atexit() and destructors, which are
 * the program's, do not run; what was written with stdio is flushed.
 */
#include "kit/processes_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "call/function.h"

#define DESCRIPTORS 65536 /* closed one by one on old kernels */

static void close_range_of(unsigned first, unsigned last)
{
	if (first > last || close_range(first, last, 0) == 0)
		return;
	for (unsigned fd = first; fd <= last && fd < DESCRIPTORS; fd++)
		close((int)fd);
}

void slm_close_from(int first, const int *keep, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		close_range_of((unsigned)first, (unsigned)keep[i] - 1);
		first = keep[i] + 1;
	}
	close_range_of((unsigned)first, ~0U);
}

/* ---- Getting ready ----------------------------------------------------- */

static _Noreturn void lost(const struct slm_child_plan *plan, int error)
{
	plan->page->slots[plan->number].error = error;
	plan->page->slots[plan->number].state = SLM_SLOT_LOST;
	_exit(1);
}

/*
 * Its own session, so that it can be killed with all that it starts, and
 * Ctrl-C at the terminal is for the program only. It does not outlive the
 * helper.
 */
static void become_own(const struct slm_child_plan *plan)
{
	setsid();
	prctl(PR_SET_NAME, plan->process_name);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != plan->helper)
		_exit(1);
}

/*
 * Only standard ones, and ours. The one for the record goes above all that the
 * program had: what still writes to a descriptor that was closed here, such as
 * a FILE of a log, then gets an error instead of writing into the record.
 */
static int settle_descriptors(const struct slm_child_plan *plan)
{
	int record = fcntl(plan->record, F_DUPFD_CLOEXEC, plan->floor);
	int keep[2];

	if (record < 0)
		record = plan->record;
	if (dup2(plan->errors, STDERR_FILENO) < 0)
		lost(plan, errno);
	keep[0] = plan->ready < record ? plan->ready : record;
	keep[1] = plan->ready < record ? record : plan->ready;
	slm_close_from(STDERR_FILENO + 1, keep, 2);
	return record;
}

/* The variables stay where they are: putenv() does not copy. */
static void set_environment(const struct slm_child_plan *plan)
{
	char *variable = plan->variables;

	for (size_t i = 0; i < plan->nvariables; i++) {
		if (putenv(variable) != 0)
			lost(plan, errno);
		variable += strlen(variable) + 1;
	}
}

/* A block of its own size: what reads beyond it is seen by the tools. */
static void *copy_arg(const struct slm_child_plan *plan)
{
	/* Where tools that look for leaks find it, if the function exits. */
	static void *volatile arg;

	if (!plan->arg_size)
		return NULL;
	arg = slm_malloc(plan->arg_size);
	if (!arg)
		lost(plan, ENOMEM);
	memcpy(arg, plan->arg, plan->arg_size);
	return arg;
}

static void wait_for_go(const struct slm_child_plan *plan)
{
	atomic_uint *go = &plan->page->go;

	close(plan->ready);
	while (atomic_load(go) != plan->batch)
		syscall(SYS_futex, go, FUTEX_WAIT, plan->batch - 1, NULL, NULL,
			0);
}

/* ---- Its end ----------------------------------------------------------- */

/* The function may have closed the pipe, and opened something else. */
static bool is_same(int fd, const struct stat *was)
{
	struct stat now;

	return fstat(fd, &now) == 0 && now.st_dev == was->st_dev &&
	       now.st_ino == was->st_ino;
}

static bool write_all(int fd, const void *bytes, size_t size)
{
	const char *from = bytes;

	while (size > 0) {
		ssize_t written = write(fd, from, size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return false;
		from += written;
		size -= (size_t)written;
	}
	return true;
}

static void send_record(int fd, const struct sqloom_call *call, bool failed,
			int returned)
{
	struct slm_record record = {
		.returned = returned,
		.failed = failed,
		.error_size = failed ? strlen(call->error) : 0,
		.value_size = slm_buf_failed(&call->value) ? 0 :
							     call->value.size,
	};

	/* In turn; where one fails, the helper sees what is missing. */
	if (write_all(fd, &record, sizeof(record)) &&
	    write_all(fd, call->error, record.error_size))
		(void)write_all(fd, call->value.data, record.value_size);
}

/* Leaves nothing for tools that look for leaks. */
static _Noreturn void end(struct sqloom_call *call, void *arg, int status)
{
	slm_function_deinit(call);
	slm_free(arg);
	_exit(status);
}

static _Noreturn void call_function(const struct slm_child_plan *plan,
				    struct sqloom_call *call, void *arg, int fd)
{
	pid_t process = getpid();
	struct stat pipe;
	int returned;
	bool failed;

	if (fstat(fd, &pipe) != 0)
		lost(plan, errno);
	slm_function_begin(call);
	wait_for_go(plan);
	returned = plan->fn(call, arg);
	/* A child that the function forked, and that came back from it. */
	if (getpid() != process)
		end(call, arg, returned);
	failed = slm_function_end(call, returned);
	slm_function_drop(call);
	fflush(NULL);
	plan->page->slots[plan->number].state = SLM_SLOT_RETURNED;
	if (is_same(fd, &pipe))
		send_record(fd, call, failed, returned);
	end(call, arg, 0);
}

_Noreturn void slm_child(const struct slm_child_plan *plan)
{
	struct sqloom_call call = { .number = plan->number,
				    .name = plan->name,
				    .database = plan->database };
	int record;

	become_own(plan);
	record = settle_descriptors(plan);
	set_environment(plan);
	sigaction(SIGCHLD, plan->child_action, NULL);
	sigprocmask(SIG_SETMASK, plan->signals, NULL);
	call_function(plan, &call, copy_arg(plan), record);
}
