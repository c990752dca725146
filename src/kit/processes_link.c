/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helper and the program: the requests that come over the socket, and the
 * end of the program, which ends everything. It shows by the end of the socket
 * and by a signal, whichever comes first: a fork of the program may keep the
 * socket open.
 */
#include "kit/processes_link.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "call/process_tree.h"

#define KILL_PAUSE_MS 5
#define KILL_MS 10000 /* then what is left cannot be killed */

/* ---- The end of everything --------------------------------------------- */

void slm_helper_forget_signal(int fd)
{
	struct signalfd_siginfo info;
	ssize_t ignored = read(fd, &info, sizeof(info));

	(void)ignored;
}

void slm_helper_kill_rest(struct helper *helper)
{
	struct pollfd ended = { .fd = helper->children, .events = POLLIN };
	uint64_t end_ms = slm_clock_ms() + KILL_MS;
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0 &&
	       slm_clock_ms() < end_ms) {
		if (pid > 0)
			continue;
		slm_tree_kill_children();
		if (poll(&ended, 1, KILL_PAUSE_MS) > 0)
			slm_helper_forget_signal(helper->children);
	}
}

/* Nobody needs the calls any more. A group's number is its own as long as its
 * first process was not waited for. */
_Noreturn void slm_helper_end(struct helper *helper)
{
	for (size_t i = 0; helper->calls && i < helper->request.ncalls; i++)
		if (helper->calls[i].pid != NO_PROCESS)
			kill(-helper->calls[i].pid, SIGKILL);
	slm_helper_kill_rest(helper);
	_exit(0);
}

/* ---- The socket -------------------------------------------------------- */

void slm_helper_look_for_end(struct helper *helper)
{
	slm_helper_forget_signal(helper->end);
	if (getppid() != helper->plan->program)
		slm_helper_end(helper);
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
			slm_helper_look_for_end(helper);
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
			slm_helper_end(helper);
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
			slm_helper_end(helper);
		from += sent;
		size -= (size_t)sent;
	}
}

void slm_helper_reply(struct helper *helper, const struct slm_reply *reply,
		      const void *payload)
{
	send_bytes(helper, reply, sizeof(*reply));
	send_bytes(helper, payload, reply->size);
}

void slm_helper_reply_about(struct helper *helper, enum slm_reply_kind kind,
			    size_t call, int error)
{
	const struct slm_reply about = { .kind = kind,
					 .call = (uint32_t)call,
					 .status = error };

	slm_helper_reply(helper, &about, NULL);
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
		size_t part = size < SLM_HELPER_CHUNK ? size : SLM_HELPER_CHUNK;

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

void slm_helper_forget_request(struct helper *helper)
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
	slm_helper_forget_request(helper);
	slm_helper_reply_about(helper, SLM_REPLY_REFUSED, 0, ENOMEM);
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
		slm_helper_reply_about(helper, SLM_REPLY_REFUSED, i, ENOENT);
		return false;
	}
	return true;
}

bool slm_helper_take_request(struct helper *helper)
{
	if (!receive_request(helper))
		return false;
	if (has_functions(helper))
		return true;
	slm_helper_forget_request(helper);
	return false;
}
