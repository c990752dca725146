/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helper: a child of the program that forks a child for each call, lets
 * all of them go at once, and tells the program what becomes of them.
 *
 * It is a copy of the program from before there were connections, and keeps
 * nothing open but the standard descriptors and its socket. All signals are
 * blocked, so that it ends in two ways only: by SIGKILL, and then its children
 * get one, too; or because the program has ended, which it sees by the end of
 * its socket and by a signal, whichever comes first. Then it kills all calls.
 *
 * It is a subreaper: what the calls leave behind becomes its child, even in a
 * session of its own. So when it has no child left, there is nothing left.
 */
#include "kit/processes_link.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"

#define NAME "sqloom-helper"
/* Sent by the kernel when the program, or the thread that forked us, ends. */
#define SIGNAL_OF_END SIGHUP

/* ---- Children ---------------------------------------------------------- */

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static _Noreturn void be_child(struct helper *helper, size_t index, int record,
			       int errors, int ready)
{
	const struct child *child = &helper->calls[index];
	struct slm_child_plan plan = {
		.page = helper->page,
		.batch = helper->batch,
		.number = index,
		.name = child->name,
		.database = helper->database,
		.fn = (sqloom_fn)(uintptr_t)child->call.fn,
		.arg = helper->args + child->call.arg_offset,
		.arg_size = child->call.arg_size,
		.variables = child->variables,
		.nvariables = child->call.nvariables,
		.helper = helper->pid,
		.ready = ready,
		.record = record,
		.errors = errors,
		.floor = helper->plan->floor,
		.child_action = &helper->child_action,
		.signals = &helper->plan->signals,
	};

	memcpy(plan.process_name, helper->process_name,
	       sizeof(plan.process_name));
	slm_child(&plan);
}

/* Returns an errno; 0: it runs. */
static int start_child(struct helper *helper, size_t index, int ready)
{
	struct child *child = &helper->calls[index];
	int record[2], errors[2];
	int error = 0;

	if (pipe2(record, O_CLOEXEC) != 0)
		return errno;
	if (pipe2(errors, O_CLOEXEC) != 0) {
		error = errno;
		close(record[0]);
		close(record[1]);
		return error;
	}
	helper->page->slots[index].state = SLM_SLOT_BEGUN;
	child->pid = fork();
	if (child->pid == 0)
		be_child(helper, index, record[1], errors[1], ready);
	if (child->pid < 0) {
		error = errno;
		child->pid = NO_PROCESS;
	}
	close(record[1]);
	close(errors[1]);
	child->record = record[0];
	child->errors = errors[0];
	if (!error) {
		fcntl(child->record, F_SETFL, O_NONBLOCK);
		fcntl(child->errors, F_SETFL, O_NONBLOCK);
		return 0;
	}
	close_end(&child->record);
	close_end(&child->errors);
	return error;
}

/* All stand ready, or have ended, when nobody holds the pipe any more. */
static void wait_for_ready(struct helper *helper, int ready)
{
	struct pollfd events[] = { { .fd = ready, .events = POLLIN },
				   { .fd = helper->end, .events = POLLIN },
				   { .fd = helper->plan->socket,
				     .events = POLLIN } };

	do {
		poll(events, 3, -1);
		if (events[1].revents)
			slm_helper_look_for_end(helper);
		if (events[2].revents)
			slm_helper_end(helper);
	} while (!events[0].revents);
}

/* Lets those that wait go, and those that will wait. */
static void release(struct helper *helper)
{
	helper->page->go = helper->batch;
	syscall(SYS_futex, &helper->page->go, FUTEX_WAKE, INT_MAX, NULL, NULL,
		0);
}

static void start_children(struct helper *helper)
{
	int ready[2] = { -1, -1 };
	int refused = pipe2(ready, O_CLOEXEC) == 0 ? 0 : errno;

	helper->batch++;
	helper->running = 0;
	for (size_t i = 0; i < helper->request.ncalls; i++) {
		int error = refused ? refused :
				      start_child(helper, i, ready[1]);

		if (error)
			slm_helper_reply_about(helper, SLM_REPLY_LOST, i,
					       error);
		else
			helper->running++;
	}
	close_end(&ready[1]);
	/* A single one need not wait for us to see that it is ready. */
	if (!refused && helper->running > 1)
		wait_for_ready(helper, ready[0]);
	release(helper);
	close_end(&ready[0]);
}

static void set_deadline(struct helper *helper)
{
	helper->deadline_ms = 0;
	if (helper->request.timeout_ms > 0 &&
	    __builtin_add_overflow(slm_clock_ms(), helper->request.timeout_ms,
				   &helper->deadline_ms))
		helper->deadline_ms = 0; /* as good as none */
}

/* ---- What they tell ---------------------------------------------------- */

/* Of the standard error, the end is kept. */
static void keep_output(struct slm_buf *output, const char *bytes, size_t size)
{
	slm_buf_append(output, bytes, size);
	if (output->size <= 2 * SQLOOM_OUTPUT_MAX)
		return;
	memmove(output->data, output->data + output->size - SQLOOM_OUTPUT_MAX,
		SQLOOM_OUTPUT_MAX);
	output->size = SQLOOM_OUTPUT_MAX;
}

static void keep(struct helper *helper, struct child *child, bool is_record,
		 size_t size)
{
	const struct slm_reply part = {
		.kind = SLM_REPLY_RECORD,
		.call = (uint32_t)(child - helper->calls),
		.size = size,
	};

	if (is_record)
		slm_helper_reply(helper, &part, helper->chunk);
	else
		keep_output(&child->output, helper->chunk, size);
}

/* Reads what a pipe has. One chunk, so that nobody can keep us here; all:
 * whoever wrote to it has ended, and a pipe holds little. */
static void drain(struct helper *helper, struct child *child, int *fd, bool all)
{
	bool is_record = fd == &child->record;
	size_t most = 16; /* chunks: a pipe has 1 MiB at most */

	do {
		ssize_t got;

		if (*fd < 0)
			return;
		got = read(*fd, helper->chunk, SLM_HELPER_CHUNK);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got > 0)
			keep(helper, child, is_record, (size_t)got);
		else
			close_end(fd);
	} while (all && --most > 0);
}

static void tell_end(struct helper *helper, struct child *child, int status)
{
	size_t index = (size_t)(child - helper->calls);
	int state = helper->page->slots[index].state;
	size_t size = child->output.size;
	size_t skipped = 0;
	struct slm_reply ended = { .kind = SLM_REPLY_ENDED,
				   .call = (uint32_t)index,
				   .status = status };

	if (state == SLM_SLOT_LOST) {
		slm_helper_reply_about(helper, SLM_REPLY_LOST, index,
				       helper->page->slots[index].error);
		return;
	}
	if (size > SQLOOM_OUTPUT_MAX)
		skipped = size - SQLOOM_OUTPUT_MAX;
	ended.timed_out = child->timed_out;
	ended.returned = state == SLM_SLOT_RETURNED;
	ended.size = size - skipped;
	slm_helper_reply(helper, &ended,
			 size ? child->output.data + skipped : NULL);
}

/* It has ended, and was not waited for yet: so its group is still its own. */
static void finish(struct helper *helper, struct child *child)
{
	int status = 0;

	kill(-child->pid, SIGKILL);
	waitpid(child->pid, &status, 0);
	child->pid = NO_PROCESS;
	drain(helper, child, &child->record, true);
	drain(helper, child, &child->errors, true);
	close_end(&child->record);
	close_end(&child->errors);
	tell_end(helper, child, status);
	slm_buf_deinit(&child->output);
	helper->running--;
}

static void finish_process(struct helper *helper, pid_t pid)
{
	for (size_t i = 0; i < helper->request.ncalls; i++) {
		if (helper->calls[i].pid != pid)
			continue;
		finish(helper, &helper->calls[i]);
		return;
	}
	waitpid(pid, NULL, 0); /* left behind by a call */
}

static void finish_ended(struct helper *helper)
{
	siginfo_t info;

	slm_helper_forget_signal(helper->children);
	for (;;) {
		info.si_pid = 0;
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
		    info.si_pid == 0)
			return;
		finish_process(helper, info.si_pid);
	}
}

static void kill_late(struct helper *helper)
{
	for (size_t i = 0; i < helper->request.ncalls; i++) {
		struct child *child = &helper->calls[i];

		if (child->pid == NO_PROCESS)
			continue;
		child->timed_out = true;
		kill(child->pid, SIGKILL); /* finish() kills the others */
	}
}

/* ---- The batch --------------------------------------------------------- */

/* Milliseconds for poll(); 0: the calls are late. */
static int time_left(const struct helper *helper)
{
	uint64_t now_ms = slm_clock_ms();

	if (!helper->deadline_ms)
		return -1;
	if (now_ms >= helper->deadline_ms)
		return 0;
	if (helper->deadline_ms - now_ms > INT_MAX)
		return INT_MAX;
	return (int)(helper->deadline_ms - now_ms);
}

/* Only what is open: poll() takes no more than may be open. */
static struct pollfd *watch_one(struct pollfd *event, int fd)
{
	if (fd >= 0)
		*event++ = (struct pollfd){ .fd = fd, .events = POLLIN };
	return event;
}

/* Returns how many events there are to wait for. */
static nfds_t watch(struct helper *helper)
{
	struct pollfd *event = helper->events;

	event = watch_one(event, helper->end);
	event = watch_one(event, helper->plan->socket);
	event = watch_one(event, helper->children);
	for (size_t i = 0; i < helper->request.ncalls; i++) {
		event = watch_one(event, helper->calls[i].record);
		event = watch_one(event, helper->calls[i].errors);
	}
	return (nfds_t)(event - helper->events);
}

/* In the order of watch(). */
static void drain_all(struct helper *helper)
{
	const struct pollfd *event = helper->events + 3;

	for (size_t i = 0; i < helper->request.ncalls; i++) {
		struct child *child = &helper->calls[i];

		if (child->record >= 0 && (event++)->revents)
			drain(helper, child, &child->record, false);
		if (child->errors >= 0 && (event++)->revents)
			drain(helper, child, &child->errors, false);
	}
}

static void run_children(struct helper *helper)
{
	struct pollfd *events = helper->events;

	while (helper->running > 0) {
		nfds_t count = watch(helper);
		int timeout = time_left(helper);

		if (timeout == 0) {
			kill_late(helper);
			helper->deadline_ms = 0;
			continue;
		}
		poll(events, count, timeout);
		if (events[0].revents)
			slm_helper_look_for_end(helper);
		if (events[1].revents) /* it says nothing now: its end */
			slm_helper_end(helper);
		drain_all(helper);
		if (events[2].revents)
			finish_ended(helper);
	}
}

static void serve(struct helper *helper)
{
	if (!slm_helper_take_request(helper))
		return;
	start_children(helper);
	set_deadline(helper);
	run_children(helper);
	slm_helper_kill_rest(helper);
	slm_helper_reply_about(helper, SLM_REPLY_DONE, 0, 0);
	slm_helper_forget_request(helper);
}

/* ---- The start --------------------------------------------------------- */

/* So that none of ours gets the number of a standard one. */
static void open_standard(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)!open("/dev/null", O_RDWR);
}

static int watch_signal(int number)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, number);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Returns an errno. */
static int prepare(struct helper *helper)
{
	struct sigaction action = { .sa_handler = SIG_DFL };

	open_standard();
	slm_close_from(STDERR_FILENO + 1, &helper->plan->socket, 1);
	prctl(PR_GET_NAME, helper->process_name);
	prctl(PR_SET_NAME, NAME);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	/* Were it ignored, children would vanish unseen. */
	sigaction(SIGCHLD, &action, &helper->child_action);
	helper->children = watch_signal(SIGCHLD);
	if (helper->children < 0)
		return errno;
	helper->end = watch_signal(SIGNAL_OF_END);
	if (helper->end < 0)
		return errno;
	helper->page = mmap(NULL, sizeof(*helper->page), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return helper->page == MAP_FAILED ? errno : 0;
}

_Noreturn void slm_helper(const struct slm_helper_plan *plan)
{
	static struct helper helper;
	int error;

	/* Signals of the terminal are for the program. */
	setsid();
	memset(&helper, 0, sizeof(helper));
	helper.plan = plan;
	helper.pid = getpid();
	error = prepare(&helper);
	prctl(PR_SET_PDEATHSIG, SIGNAL_OF_END);
	if (getppid() != plan->program)
		_exit(0);
	slm_helper_reply_about(&helper, SLM_REPLY_READY, 0, error);
	if (error)
		_exit(1);
	for (;;)
		serve(&helper);
}
