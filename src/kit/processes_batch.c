/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One batch of calls in clean processes: what is to be called is sent to the
 * helper, and what comes back becomes results. May use call/function.h.
 *
 * Invariant: a batch is received to its end, also when memory is out, unless
 * the helper is lost; so the next one begins at the begin.
 */
#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "kit/concurrent.h"
#include "kit/processes.h"
#include "kit/processes_wire.h"

#define CHUNK 16384
/* The helper kills what is late. One that is silent for so much longer was
 * stopped, or there is a process that nothing can kill. */
#define GRACE_MS 30000
#define REASON_MAX 512

/* What has come of one call. */
struct incoming {
	struct slm_buf record;
	bool too_large;
};

struct batch {
	const struct slm_batch *given;
	int socket;
	int patience_ms; /* for poll(); -1: without end */
	struct slm_buf texts;
	struct slm_request request;
	struct incoming *incoming; /* one for each call */
	struct sqloom_results *results;
};

static const char *name_of(const struct batch *batch, size_t index,
			   char text[SLM_CALL_NAME_MAX])
{
	return slm_call_name(&batch->given->calls[index], index, text);
}

/* ---- The socket: false, the helper does not answer --------------------- */

static bool wait_for_socket(const struct batch *batch, short events)
{
	struct pollfd socket = { .fd = batch->socket, .events = events };
	int ready;

	do {
		ready = poll(&socket, 1, batch->patience_ms);
	} while (ready < 0 && errno == EINTR);
	return ready > 0;
}

static bool send_bytes(const struct batch *batch, const void *bytes,
		       size_t size)
{
	const char *from = bytes;

	while (size > 0) {
		ssize_t sent = send(batch->socket, from, size,
				    MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		if (sent < 0 && !wait_for_socket(batch, POLLOUT))
			return false;
		if (sent < 0)
			continue;
		from += sent;
		size -= (size_t)sent;
	}
	return true;
}

static bool receive(const struct batch *batch, void *bytes, size_t size)
{
	char *to = bytes;

	while (size > 0) {
		ssize_t got;

		if (!wait_for_socket(batch, POLLIN))
			return false;
		got = recv(batch->socket, to, size, MSG_DONTWAIT);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (got <= 0)
			return false;
		to += got;
		size -= (size_t)got;
	}
	return true;
}

/* Appends to buf; what would exceed limit is lost, and told by *too_large. */
static bool receive_into(const struct batch *batch, struct slm_buf *buf,
			 uint64_t size, size_t limit, bool *too_large)
{
	char chunk[CHUNK];

	while (size > 0) {
		size_t part = size < CHUNK ? (size_t)size : CHUNK;

		if (!receive(batch, chunk, part))
			return false;
		if (part > limit - buf->size)
			*too_large = true;
		else
			slm_buf_append(buf, chunk, part);
		size -= part;
	}
	return true;
}

/* ---- The request ------------------------------------------------------- */

static void add_text(struct slm_buf *texts, const char *text)
{
	slm_buf_append(texts, text, strlen(text) + 1);
}

static uint64_t number_of(const void *address)
{
	return (uint64_t)(uintptr_t)address;
}

/* The same arg as the call before it is sent once. */
static bool shares_arg(const struct sqloom_function *calls, size_t index)
{
	return index > 0 && calls[index].arg_size > 0 &&
	       calls[index].arg == calls[index - 1].arg &&
	       calls[index].arg_size == calls[index - 1].arg_size;
}

static void add_call(struct batch *batch, size_t index, const Dl_info *library)
{
	const struct sqloom_function *call = &batch->given->calls[index];
	const char *const *variables = call->environment;
	char text[SLM_CALL_NAME_MAX];
	struct slm_request_call header = {
		.fn = (uint64_t)(uintptr_t)call->fn,
		.base = number_of(library->dli_fbase),
		.arg_offset = batch->request.args_size,
		.arg_size = call->arg_size,
	};

	if (shares_arg(batch->given->calls, index))
		header.arg_offset -= call->arg_size;
	else
		batch->request.args_size += call->arg_size;
	while (variables && variables[header.nvariables])
		header.nvariables++;
	slm_buf_append(&batch->texts, &header, sizeof(header));
	add_text(&batch->texts, name_of(batch, index, text));
	add_text(&batch->texts, library->dli_fname);
	for (uint32_t i = 0; i < header.nvariables; i++)
		add_text(&batch->texts, variables[i]);
}

static enum sqloom_status unknown_function(const struct batch *batch,
					   size_t index,
					   struct sqloom_error *err)
{
	char text[SLM_CALL_NAME_MAX];
	const char *name = name_of(batch, index, text);
	Dl_info info;

	if (!dladdr((void *)(uintptr_t)batch->given->calls[index].fn, &info))
		return slm_error_set(err, SQLOOM_USAGE,
				     "the function of %s is in no library, so "
				     "it was made at run time; clean processes "
				     "can only call what was there when the "
				     "helper was started",
				     name);
	return slm_error_set(err, SQLOOM_USAGE,
			     "the function of %s is in %s, which was loaded "
			     "after the helper was started; load it before "
			     "sqloom_processes_start()",
			     name, info.dli_fname);
}

static enum sqloom_status make_request(struct batch *batch,
				       struct sqloom_error *err)
{
	const struct slm_batch *given = batch->given;
	Dl_info library = { 0 };

	batch->request.ncalls = (uint32_t)given->ncalls;
	batch->request.timeout_ms = given->timeout_ms;
	batch->request.has_database = given->database != NULL;
	if (given->database)
		add_text(&batch->texts, given->database);
	for (size_t i = 0; i < given->ncalls; i++) {
		sqloom_fn fn = given->calls[i].fn;

		/* Mostly all are the same, and looking it up is slow. */
		if ((i == 0 || fn != given->calls[i - 1].fn) &&
		    !dladdr((void *)(uintptr_t)fn, &library))
			return unknown_function(batch, i, err);
		add_call(batch, i, &library);
	}
	batch->request.texts_size = batch->texts.size;
	return slm_buf_failed(&batch->texts) ? slm_error_nomem(err) : SQLOOM_OK;
}

static bool send_request(const struct batch *batch)
{
	const struct sqloom_function *calls = batch->given->calls;

	if (!send_bytes(batch, &batch->request, sizeof(batch->request)) ||
	    !send_bytes(batch, batch->texts.data, batch->texts.size))
		return false;
	for (size_t i = 0; i < batch->given->ncalls; i++)
		if (!shares_arg(calls, i) &&
		    !send_bytes(batch, calls[i].arg, calls[i].arg_size))
			return false;
	return true;
}

/* ---- Records ----------------------------------------------------------- */

/* The function returned, and all of what it said is here: takes it. */
static bool read_record(struct slm_buf *from, struct slm_record *record,
			char error[SQLOOM_CALL_ERROR_MAX])
{
	size_t before;

	if (from->size < sizeof(*record))
		return false;
	memcpy(record, from->data, sizeof(*record));
	if (record->error_size >= SQLOOM_CALL_ERROR_MAX ||
	    record->value_size > SQLOOM_VALUE_MAX)
		return false;
	before = sizeof(*record) + (size_t)record->error_size;
	if (from->size != before + record->value_size)
		return false;
	memcpy(error, from->data + sizeof(*record), record->error_size);
	error[record->error_size] = '\0';
	memmove(from->data, from->data + before, record->value_size);
	from->size = (size_t)record->value_size;
	return true;
}

static void explain_signal(int number, char *reason)
{
	const char *name = sigabbrev_np(number);
	const char *text = sigdescr_np(number);

	snprintf(reason, REASON_MAX, "signal %d (%s%s%s%s) ended its process%s",
		 number, name ? "SIG" : "", name ? name : "unknown",
		 text ? ", " : "", text ? text : "",
		 number == SIGKILL ? "; if nobody sent it, memory was out" :
				     "");
}

/* It ended, and not by returning. */
static void explain(const struct batch *batch, const struct slm_reply *reply,
		    struct slm_ended *ended, char *reason)
{
	int status = reply->status;

	ended->error = reason;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
	    reply->timed_out) {
		ended->ending = SQLOOM_TIMED_OUT;
		snprintf(reason, REASON_MAX,
			 "it had not ended after %" PRIu64
			 " ms; its process was killed, with all that it "
			 "started",
			 batch->given->timeout_ms);
	} else if (WIFSIGNALED(status)) {
		ended->ending = SQLOOM_CRASHED;
		ended->status = WTERMSIG(status);
		explain_signal(WTERMSIG(status), reason);
	} else if (reply->returned) {
		ended->ending = SQLOOM_FAILED;
		snprintf(reason, REASON_MAX,
			 "it returned, but its result is lost: it closed the "
			 "descriptor on which that is sent, or wrote to it; "
			 "use only what the function itself has opened");
	} else {
		ended->ending = SQLOOM_EXITED;
		ended->status = WEXITSTATUS(status);
		snprintf(reason, REASON_MAX,
			 "its process ended with status %d inside of the "
			 "call: exit() or _exit() was called; let the "
			 "function return",
			 WEXITSTATUS(status));
	}
}

/* Its standard error is a string for people. */
static void hide_nuls(struct slm_buf *text)
{
	for (size_t i = 0; i < text->size; i++)
		if (text->data[i] == '\0')
			text->data[i] = '?';
}

static void tell_ended(struct batch *batch, const struct slm_reply *reply,
		       struct slm_buf *output)
{
	struct incoming *incoming = &batch->incoming[reply->call];
	char error[SQLOOM_CALL_ERROR_MAX], reason[REASON_MAX];
	struct slm_ended ended = { .output = output };
	struct slm_record record;

	hide_nuls(output);
	if (slm_buf_failed(&incoming->record)) {
		ended.value = &incoming->record; /* tells it */
		explain(batch, reply, &ended, reason);
	} else if (!incoming->too_large &&
		   read_record(&incoming->record, &record, error)) {
		ended.ending = record.failed ? SQLOOM_FAILED : SQLOOM_RETURNED;
		ended.status = record.returned;
		ended.value = &incoming->record;
		ended.error = record.failed ? error : NULL;
	} else {
		explain(batch, reply, &ended, reason);
	}
	slm_results_set(batch->results, reply->call, &ended);
	slm_buf_deinit(&incoming->record);
}

static void tell_lost(struct batch *batch, const struct slm_reply *reply)
{
	char reason[REASON_MAX];
	const struct slm_ended ended = { .ending = SQLOOM_LOST,
					 .error = reason };

	snprintf(reason, sizeof(reason),
		 "its process could not be started: %s; make fewer calls at "
		 "once, or raise the limits of processes, descriptors and "
		 "memory",
		 strerror(reply->status));
	slm_results_set(batch->results, reply->call, &ended);
}

/* ---- The replies ------------------------------------------------------- */

static bool take_record(struct batch *batch, const struct slm_reply *reply)
{
	struct incoming *incoming = &batch->incoming[reply->call];

	return receive_into(batch, &incoming->record, reply->size,
			    sizeof(struct slm_record) + SQLOOM_CALL_ERROR_MAX +
				    SQLOOM_VALUE_MAX,
			    &incoming->too_large);
}

static bool take_end(struct batch *batch, const struct slm_reply *reply)
{
	struct slm_buf output = { 0 };
	bool too_large = false;
	bool complete = receive_into(batch, &output, reply->size,
				     SQLOOM_OUTPUT_MAX, &too_large);

	assert(!too_large);
	if (complete)
		tell_ended(batch, reply, &output);
	slm_buf_deinit(&output);
	return complete;
}

static enum sqloom_status refused(const struct batch *batch,
				  const struct slm_reply *reply,
				  struct sqloom_error *err)
{
	if (reply->status == ENOENT)
		return unknown_function(batch, reply->call, err);
	return slm_error_set(err, SQLOOM_NOMEM,
			     "out of memory in the helper of clean processes: "
			     "%" PRIu64 " bytes of args; give the calls less",
			     batch->request.args_size);
}

static enum sqloom_status receive_all(struct batch *batch,
				      struct sqloom_processes *processes,
				      struct sqloom_error *err)
{
	struct slm_reply reply;
	bool complete = true;

	while (complete && receive(batch, &reply, sizeof(reply))) {
		assert(reply.call < batch->given->ncalls);
		switch ((enum slm_reply_kind)reply.kind) {
		case SLM_REPLY_READY: /* was at the start */
			return slm_error_set(err, SQLOOM_INTERNAL,
					     "the helper of clean processes "
					     "started twice");
		case SLM_REPLY_REFUSED:
			return refused(batch, &reply, err);
		case SLM_REPLY_LOST:
			tell_lost(batch, &reply);
			break;
		case SLM_REPLY_RECORD:
			complete = take_record(batch, &reply);
			break;
		case SLM_REPLY_ENDED:
			complete = take_end(batch, &reply);
			break;
		case SLM_REPLY_DONE:
			return SQLOOM_OK;
		}
	}
	return slm_processes_lost(processes, err);
}

/* ---- The batch --------------------------------------------------------- */

static void batch_deinit(struct batch *batch)
{
	for (size_t i = 0; batch->incoming && i < batch->given->ncalls; i++)
		slm_buf_deinit(&batch->incoming[i].record);
	slm_free(batch->incoming);
	slm_buf_deinit(&batch->texts);
}

static int patience(uint64_t timeout_ms)
{
	if (timeout_ms == 0 || timeout_ms > INT_MAX - GRACE_MS)
		return -1;
	return (int)timeout_ms + GRACE_MS;
}

static enum sqloom_status run(struct batch *batch,
			      struct sqloom_processes *processes,
			      struct sqloom_error *err)
{
	enum sqloom_status status;

	batch->incoming =
		slm_calloc(batch->given->ncalls, sizeof(*batch->incoming));
	if (!batch->incoming)
		return slm_error_nomem(err);
	status = make_request(batch, err);
	if (status)
		return status;
	if (!send_request(batch))
		return slm_processes_lost(processes, err);
	return receive_all(batch, processes, err);
}

enum sqloom_status slm_processes_run(struct sqloom_processes *processes,
				     const struct slm_batch *given,
				     struct sqloom_results *results,
				     struct sqloom_error *err)
{
	struct batch batch = { .given = given, .results = results };
	enum sqloom_status status = slm_processes_take(processes, err);

	if (status)
		return status;
	batch.socket = processes->socket;
	batch.patience_ms = patience(given->timeout_ms);
	status = run(&batch, processes, err);
	batch_deinit(&batch);
	slm_processes_give_back(processes);
	return status;
}
