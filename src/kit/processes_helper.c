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
#include "kit/processes_helper.h"

#include <assert.h>
#include <dlfcn.h>
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
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"

#define NAME "sqloom-helper"
#define CHUNK 65536
#define KILL_PAUSE_MS 5
#define KILL_MS 10000 /* then what is left cannot be killed */
/* Sent by the kernel when the program, or the thread that forked us, ends. */
#define SIGNAL_OF_END SIGHUP

/* The end of a call that is not there (any more). */
#define NO_PROCESS 0

struct child {
	struct slm_request_call call;
	const char *name;
	const char *library;
	char *variables;
	pid_t pid;
	int record; /* reading ends; -1: closed */
	int errors;
	struct slm_buf output;
	bool timed_out;
};

struct helper {
	const struct slm_helper_plan *plan;
	struct slm_page *page;
	struct sigaction child_action; /* the program's, of SIGCHLD */
	char process_name[16];	       /* the program's */
	pid_t pid;
	int children;	/* signalfd: one has ended */
	int end;	/* signalfd: the program may have ended */
	unsigned batch; /* its number, from 1 */
	struct slm_request request;
	char *texts;
	char *args;
	const char *database;
	struct child *calls;
	size_t running;
	uint64_t deadline_ms; /* 0: none */
	struct pollfd events[3 + 2 * SQLOOM_CALLS_MAX];
	char chunk[CHUNK];
};

/* ---- The end of everything --------------------------------------------- */

/* Children there are now: what they leave becomes our child, and the next
 * round's work. Without /proc: none. */
static void kill_children(void)
{
	char list[4096];
	int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? 0 : read(fd, list, sizeof(list));
	pid_t pid = 0;

	for (ssize_t i = 0; i < size; i++) {
		if (list[i] != ' ') {
			pid = pid * 10 + (list[i] - '0');
			continue;
		}
		if (pid > 0)
			kill(pid, SIGKILL);
		pid = 0;
	}
	if (fd >= 0)
		close(fd);
}

static void forget_signal(int fd)
{
	struct signalfd_siginfo info;
	ssize_t ignored = read(fd, &info, sizeof(info));

	(void)ignored;
}

/* Kills and reaps whatever there still is. */
static void kill_rest(struct helper *helper)
{
	struct pollfd ended = { .fd = helper->children, .events = POLLIN };
	uint64_t end_ms = slm_clock_ms() + KILL_MS;
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0 &&
	       slm_clock_ms() < end_ms) {
		if (pid > 0)
			continue;
		kill_children();
		if (poll(&ended, 1, KILL_PAUSE_MS) > 0)
			forget_signal(helper->children);
	}
}

/* Nobody needs the calls any more. A group's number is its own as long as its
 * first process was not waited for. */
static _Noreturn void end_all(struct helper *helper)
{
	for (size_t i = 0; helper->calls && i < helper->request.ncalls; i++)
		if (helper->calls[i].pid != NO_PROCESS)
			kill(-helper->calls[i].pid, SIGKILL);
	kill_rest(helper);
	_exit(0);
}

/* ---- The socket -------------------------------------------------------- */

/* Takes note of the signal. A thread of the program that ends sends it, too. */
static void look_for_end(struct helper *helper)
{
	forget_signal(helper->end);
	if (getppid() != helper->plan->program)
		end_all(helper);
}

/* Until the socket can be read (or written). */
static void wait_for_socket(struct helper *helper, short events)
{
	struct pollfd either[] = {
		{ .fd = helper->plan->socket, .events = events },
		{ .fd = helper->end, .events = POLLIN },
	};

	do {
		poll(either, 2, -1);
		if (either[1].revents)
			look_for_end(helper);
	} while (!either[0].revents);
}

static void receive(struct helper *helper, void *bytes, size_t size)
{
	char *to = bytes;

	while (size > 0) {
		ssize_t got;

		wait_for_socket(helper, POLLIN);
		got = recv(helper->plan->socket, to, size, MSG_DONTWAIT);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (got <= 0)
			end_all(helper);
		to += got;
		size -= (size_t)got;
	}
}

static void send_bytes(struct helper *helper, const void *bytes, size_t size)
{
	const char *from = bytes;

	while (size > 0) {
		ssize_t sent = send(helper->plan->socket, from, size,
				    MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
			wait_for_socket(helper, POLLOUT);
			continue;
		}
		if (sent < 0)
			end_all(helper);
		from += sent;
		size -= (size_t)sent;
	}
}

static void reply(struct helper *helper, const struct slm_reply *reply,
		  const void *payload)
{
	send_bytes(helper, reply, sizeof(*reply));
	send_bytes(helper, payload, reply->size);
}

static void reply_about(struct helper *helper, enum slm_reply_kind kind,
			size_t call, int error)
{
	const struct slm_reply about = { .kind = kind,
					 .call = (uint32_t)call,
					 .status = error };

	reply(helper, &about, NULL);
}

/* ---- The request ------------------------------------------------------- */

/* Receives size bytes. NULL: memory is out, and they are lost. */
static char *receive_block(struct helper *helper, size_t size)
{
	char *block = slm_malloc(size);

	if (block) {
		receive(helper, block, size);
		return block;
	}
	while (size > 0) {
		size_t part = size < CHUNK ? size : CHUNK;

		receive(helper, helper->chunk, part);
		size -= part;
	}
	return NULL;
}

static char *skip_text(char *text)
{
	return text + strlen(text) + 1;
}

/* Finds what the texts have of each call. They are the program's own, and
 * therefore as they should be. */
static void split(struct helper *helper)
{
	char *at = helper->texts;

	helper->database = NULL;
	if (helper->request.has_database) {
		helper->database = at;
		at = skip_text(at);
	}
	for (size_t i = 0; i < helper->request.ncalls; i++) {
		struct child *child = &helper->calls[i];

		memcpy(&child->call, at, sizeof(child->call));
		at += sizeof(child->call);
		child->name = at;
		at = skip_text(at);
		child->library = at;
		at = skip_text(at);
		child->variables = at;
		for (uint32_t v = 0; v < child->call.nvariables; v++)
			at = skip_text(at);
		child->record = child->errors = -1;
	}
	assert(at == helper->texts + helper->request.texts_size);
}

static void forget_request(struct helper *helper)
{
	slm_free(helper->calls);
	slm_free(helper->texts);
	slm_free(helper->args);
	helper->calls = NULL;
	helper->texts = helper->args = NULL;
}

static bool receive_request(struct helper *helper)
{
	receive(helper, &helper->request, sizeof(helper->request));
	assert(helper->request.ncalls <= SQLOOM_CALLS_MAX);
	helper->texts = receive_block(helper, helper->request.texts_size);
	helper->args = receive_block(helper, helper->request.args_size);
	helper->calls =
		slm_calloc(helper->request.ncalls, sizeof(*helper->calls));
	if (helper->texts && helper->args && helper->calls) {
		split(helper);
		return true;
	}
	forget_request(helper);
	reply_about(helper, SLM_REPLY_REFUSED, 0, ENOMEM);
	return false;
}

static void *address_of(uint64_t number)
{
	return (void *)(uintptr_t)number;
}

/* Is the function here, in the same library at the same place? */
static bool has_function(const struct child *child)
{
	Dl_info info;

	return dladdr(address_of(child->call.fn), &info) != 0 &&
	       info.dli_fbase == address_of(child->call.base) &&
	       strcmp(info.dli_fname, child->library) == 0;
}

static bool has_functions(struct helper *helper)
{
	for (size_t i = 0; i < helper->request.ncalls; i++) {
		const struct child *child = &helper->calls[i];

		/* Mostly all are the same. */
		if (i > 0 && child->call.fn == child[-1].call.fn)
			continue;
		if (has_function(child))
			continue;
		reply_about(helper, SLM_REPLY_REFUSED, i, ENOENT);
		return false;
	}
	return true;
}

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
			look_for_end(helper);
		if (events[2].revents)
			end_all(helper);
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
			reply_about(helper, SLM_REPLY_LOST, i, error);
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
		reply(helper, &part, helper->chunk);
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
		got = read(*fd, helper->chunk, CHUNK);
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
		reply_about(helper, SLM_REPLY_LOST, index,
			    helper->page->slots[index].error);
		return;
	}
	if (size > SQLOOM_OUTPUT_MAX)
		skipped = size - SQLOOM_OUTPUT_MAX;
	ended.timed_out = child->timed_out;
	ended.returned = state == SLM_SLOT_RETURNED;
	ended.size = size - skipped;
	reply(helper, &ended, size ? child->output.data + skipped : NULL);
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

	forget_signal(helper->children);
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
			look_for_end(helper);
		if (events[1].revents) /* it says nothing now: its end */
			end_all(helper);
		drain_all(helper);
		if (events[2].revents)
			finish_ended(helper);
	}
}

static void serve(struct helper *helper)
{
	if (!receive_request(helper))
		return;
	if (has_functions(helper)) {
		start_children(helper);
		set_deadline(helper);
		run_children(helper);
		kill_rest(helper);
		reply_about(helper, SLM_REPLY_DONE, 0, 0);
	}
	forget_request(helper);
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

static bool prepare(struct helper *helper)
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
	helper->end = watch_signal(SIGNAL_OF_END);
	helper->page = mmap(NULL, sizeof(*helper->page), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return helper->children >= 0 && helper->end >= 0 &&
	       helper->page != MAP_FAILED;
}

_Noreturn void slm_helper(const struct slm_helper_plan *plan)
{
	static struct helper helper;

	/* Signals of the terminal are for the program. */
	setsid();
	memset(&helper, 0, sizeof(helper));
	helper.plan = plan;
	helper.pid = getpid();
	if (!prepare(&helper))
		_exit(1);
	prctl(PR_SET_PDEATHSIG, SIGNAL_OF_END);
	if (getppid() != plan->program)
		_exit(0);
	for (;;)
		serve(&helper);
}
