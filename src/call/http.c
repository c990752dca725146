/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests under way: libcurl's multi interface in the caller's libuv loop.
 * libcurl says which sockets and which time it waits for, libuv tells when
 * they are there.
 *
 * Invariants: every call hangs on the list of its http from start until it is
 * done or cancelled. The environment (http_proxy, ~/.netrc) has no say.
 */
#include "call/http.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "call/http_request.h"

#define SEND_MAX (64 * 1024 * 1024) /* bytes of a file that is a body */
#define WAKE_MS 1 /* 0 would not outlive the turn of the loop */
#define REDIRECTS_MAX 10L
#define MESSAGE_SIZE 800
#define AGENT "sqloom/" SQLOOM_VERSION

struct slm_http {
	uv_loop_t *loop;
	CURLM *multi;
	uv_timer_t timer; /* as libcurl wants it */
	uv_timer_t wake;  /* see on_time() */
	struct slm_http_call *calls;
	unsigned open; /* handles of libuv that are not closed yet */
};

/* A socket of libcurl's that libuv watches. */
struct watch {
	uv_poll_t poll;
	curl_socket_t fd;
	struct slm_http *http;
};

struct slm_http_call {
	struct slm_http *http;
	struct slm_http_call *next, **link;
	const struct slm_http_request *request;
	void (*done)(void *userdata, const struct slm_http_answer *answer);
	void *userdata;

	CURL *easy;
	struct curl_slist *headers;
	curl_mime *mime;
	struct slm_buf sent; /* a file that is the body */
	struct slm_buf body; /* of the answer */
	bool cut;
	bool unwatched; /* memory is out: its socket cannot be watched */
	char detail[CURL_ERROR_SIZE]; /* what libcurl says */
	char message[MESSAGE_SIZE];
};

/* ---- Ends -------------------------------------------------------------- */

static void release(struct slm_http_call *call)
{
	if (call->link) {
		curl_multi_remove_handle(call->http->multi, call->easy);
		*call->link = call->next;
		if (call->next)
			call->next->link = call->link;
	}
	curl_easy_cleanup(call->easy);
	curl_mime_free(call->mime);
	curl_slist_free_all(call->headers);
	slm_buf_deinit(&call->sent);
	slm_buf_deinit(&call->body);
	slm_free(call);
}

void slm_http_cancel(struct slm_http_call *call)
{
	assert(call->link);
	release(call);
}

/* Says what went wrong, and what to do. */
static void say(struct slm_http_call *call, CURLcode code)
{
	const char *title = call->request->title;
	char *to = call->message;
	long error = 0;

	curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &error);
	switch (code) {
	case CURLE_COULDNT_CONNECT:
		snprintf(to, MESSAGE_SIZE,
			 "cannot connect for %.300s: %s; is the application "
			 "running, and listening there?",
			 title, error ? strerror((int)error) : call->detail);
		break;
	case CURLE_COULDNT_RESOLVE_HOST:
		snprintf(to, MESSAGE_SIZE,
			 "cannot find the host of %.300s; is its name right?",
			 title);
		break;
	case CURLE_OPERATION_TIMEDOUT:
		snprintf(to, MESSAGE_SIZE,
			 "%.300s had no whole answer after %ld ms (--timeout)",
			 title, call->request->timeout_ms);
		break;
	case CURLE_GOT_NOTHING:
		snprintf(to, MESSAGE_SIZE,
			 "%.300s got no answer: the connection was closed; has "
			 "the application crashed?",
			 title);
		break;
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
		snprintf(to, MESSAGE_SIZE,
			 "the answer to %.300s broke off: the connection was "
			 "closed after %zu bytes of it; has the application "
			 "crashed?",
			 title, call->body.size);
		break;
	default:
		snprintf(to, MESSAGE_SIZE, "%.300s failed: %s", title,
			 *call->detail ? call->detail :
					 curl_easy_strerror(code));
		break;
	}
}

static void finish(struct slm_http_call *call, CURLcode code)
{
	struct slm_http_answer answer = { .body = "" };
	char *type = NULL, *location = NULL;
	long status = 0;

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(call->easy, CURLINFO_CONTENT_TYPE, &type);
	curl_easy_getinfo(call->easy, CURLINFO_REDIRECT_URL, &location);
	answer.status = (int)status;
	answer.content_type = type ? type : "";
	answer.location = location ? location : "";
	answer.cut = call->cut || slm_buf_failed(&call->body);
	if (call->body.data)
		answer.body = call->body.data;
	answer.body_size = call->body.size;
	if (code != CURLE_OK) {
		say(call, code);
		answer.error = call->message;
	}
	call->done(call->userdata, &answer);
	release(call);
}

static struct slm_http_call *call_of(CURL *easy)
{
	char *call = NULL;

	curl_easy_getinfo(easy, CURLINFO_PRIVATE, &call);
	return (struct slm_http_call *)(void *)call;
}

static struct slm_http_call *find_unwatched(const struct slm_http *http)
{
	struct slm_http_call *call = http->calls;

	while (call && !call->unwatched)
		call = call->next;
	return call;
}

/* Whatever is done may start and cancel others. */
static void finish_all(struct slm_http *http)
{
	struct slm_http_call *call;
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(http->multi, &left)))
		if (message->msg == CURLMSG_DONE)
			finish(call_of(message->easy_handle),
			       message->data.result);
	while ((call = find_unwatched(http)))
		finish(call, CURLE_OUT_OF_MEMORY);
}

/* ---- Sockets and time -------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
	struct slm_http *http = handle->data;

	http->open--;
}

static void on_watch_closed(uv_handle_t *handle)
{
	struct watch *watch = handle->data;

	watch->http->open--;
	slm_free(watch);
}

static void on_socket_ready(uv_poll_t *poll, int status, int events)
{
	struct watch *watch = poll->data;
	struct slm_http *http = watch->http;
	int running, flags = 0;

	if (status < 0)
		flags = CURL_CSELECT_ERR;
	if (events & UV_READABLE)
		flags |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		flags |= CURL_CSELECT_OUT;
	curl_multi_socket_action(http->multi, watch->fd, flags, &running);
	finish_all(http);
}

static void on_wake(uv_timer_t *timer)
{
	(void)timer;
}

/* uv_run(UV_RUN_ONCE) may call timers first and wait for sockets then. Who
 * waits in it for a call that has just ended would wait for nothing. */
static void on_time(uv_timer_t *timer)
{
	struct slm_http *http = timer->data;
	int running;

	curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	finish_all(http);
	uv_timer_start(&http->wake, on_wake, WAKE_MS, 0);
}

static int set_time(CURLM *multi, long ms, void *userdata)
{
	struct slm_http *http = userdata;

	(void)multi;
	if (ms < 0)
		return uv_timer_stop(&http->timer);
	uv_update_time(http->loop);
	return uv_timer_start(&http->timer, on_time, (uint64_t)ms, 0);
}

static struct watch *make_watch(struct slm_http *http, curl_socket_t fd)
{
	struct watch *watch = slm_calloc(1, sizeof(*watch));

	if (!watch)
		return NULL;
	if (uv_poll_init(http->loop, &watch->poll, fd) != 0) {
		slm_free(watch);
		return NULL;
	}
	watch->poll.data = watch;
	watch->fd = fd;
	watch->http = http;
	http->open++;
	curl_multi_assign(http->multi, fd, watch);
	return watch;
}

/* Called by libcurl, which after a failure of this would be of no use for any
 * other call; so the failure is told later. */
static int set_socket(CURL *easy, curl_socket_t fd, int what, void *userdata,
		      void *assigned)
{
	struct slm_http *http = userdata;
	struct watch *watch = assigned;
	int events = 0;

	if (what == CURL_POLL_REMOVE) {
		curl_multi_assign(http->multi, fd, NULL);
		if (watch)
			uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
		return 0;
	}
	if (!watch)
		watch = make_watch(http, fd);
	if (what & CURL_POLL_IN)
		events |= UV_READABLE;
	if (what & CURL_POLL_OUT)
		events |= UV_WRITABLE;
	if (!watch || uv_poll_start(&watch->poll, events, on_socket_ready) != 0)
		call_of(easy)->unwatched = true;
	return 0;
}

/* ---- Starting ---------------------------------------------------------- */

/* What is over the limit is read and forgotten: a server whose answer is not
 * read to its end may take another way. */
static size_t keep_body(char *data, size_t one, size_t size, void *userdata)
{
	struct slm_http_call *call = userdata;
	size_t room = SLM_HTTP_BODY_MAX - call->body.size;

	call->cut = call->cut || size * one > room;
	slm_buf_append(&call->body, data,
		       size * one < room ? size * one : room);
	return size * one;
}

static bool set_up(struct slm_http_call *call)
{
	CURL *easy = call->easy;
	const struct slm_http_request *request = call->request;
	bool ok = true;

#define SET(option, value) \
	(ok = ok && curl_easy_setopt(easy, CURLOPT_##option, value) == CURLE_OK)
	SET(PRIVATE, call);
	SET(ERRORBUFFER, call->detail);
	SET(WRITEFUNCTION, keep_body);
	SET(WRITEDATA, call);
	SET(URL, request->url);
	SET(PROXY, ""); /* nor what http_proxy says */
	SET(NOSIGNAL, 1L);
	SET(USERAGENT, AGENT);
	SET(HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(FRESH_CONNECT, 1L);
	SET(FORBID_REUSE, 1L);
	SET(TIMEOUT_MS, request->timeout_ms);
	if (request->cookies)
		SET(COOKIE, request->cookies);
	if (request->user)
		SET(USERPWD, request->user);
	if (request->follow) {
		SET(FOLLOWLOCATION, 1L);
		SET(MAXREDIRS, REDIRECTS_MAX);
		SET(COOKIEFILE, ""); /* cookies of redirects come along */
	}
#if LIBCURL_VERSION_NUM >= 0x075500
	SET(PROTOCOLS_STR, "http,https");
	SET(REDIR_PROTOCOLS_STR, "http,https");
#else
	SET(PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
	SET(REDIR_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	for (unsigned i = 0; i < request->nheaders && ok; i++) {
		struct curl_slist *longer =
			curl_slist_append(call->headers, request->headers[i]);

		ok = longer != NULL;
		if (longer)
			call->headers = longer;
	}
	SET(HTTPHEADER, call->headers);
	return ok;
}

/* GET and POST are not named, so that libcurl may change them as redirects
 * demand it. */
static bool set_method(struct slm_http_call *call)
{
	const struct slm_http_request *request = call->request;
	CURL *easy = call->easy;
	const char *usual = request->body == SLM_HTTP_NOTHING ? "GET" : "POST";
	bool ok = true;

	if (strcmp(request->method, "HEAD") == 0 &&
	    request->body == SLM_HTTP_NOTHING)
		return SET(NOBODY, 1L);
	if (strcmp(request->method, "POST") == 0 &&
	    request->body == SLM_HTTP_NOTHING) {
		SET(POST, 1L);
		SET(POSTFIELDS, "");
		return SET(POSTFIELDSIZE, 0L);
	}
	if (strcmp(request->method, usual) != 0)
		SET(CUSTOMREQUEST, request->method);
	return ok;
}

static bool set_text(struct slm_http_call *call, const char *text, size_t size)
{
	CURL *easy = call->easy;
	bool ok = true;

	SET(POST, 1L);
	SET(POSTFIELDSIZE_LARGE, (curl_off_t)size);
	return SET(POSTFIELDS, text); /* borrowed */
}
#undef SET

static enum sqloom_status no_file(const struct slm_http_call *call,
				  const char *path, int error,
				  struct sqloom_error *err)
{
	return slm_error_errno(err, SQLOOM_IO, error,
			       "cannot read %s, which %.300s sends", path,
			       call->request->title);
}

/* A file that can be read, and is no directory. */
static enum sqloom_status open_file(const struct slm_http_call *call,
				    const char *path, FILE **out,
				    struct sqloom_error *err)
{
	struct stat info;
	FILE *file = fopen(path, "re");

	if (!file)
		return no_file(call, path, errno, err);
	if (fstat(fileno(file), &info) == 0 && S_ISDIR(info.st_mode)) {
		fclose(file);
		return no_file(call, path, EISDIR, err);
	}
	*out = file;
	return SQLOOM_OK;
}

static enum sqloom_status read_body(struct slm_http_call *call,
				    struct sqloom_error *err)
{
	const char *path = call->request->path;
	enum sqloom_status status = SQLOOM_OK;
	char piece[16384];
	FILE *file = NULL;
	size_t size;

	status = open_file(call, path, &file, err);
	if (status != SQLOOM_OK)
		return status;
	while ((size = fread(piece, 1, sizeof(piece), file)) > 0 &&
	       call->sent.size <= SEND_MAX)
		slm_buf_append(&call->sent, piece, size);
	if (ferror(file))
		status = no_file(call, path, errno, err);
	else if (call->sent.size > SEND_MAX)
		status = slm_error_set(err, SQLOOM_LIMIT,
				       "%s, which %.300s sends, is larger than "
				       "%d MB",
				       path, call->request->title,
				       SEND_MAX >> 20);
	else if (slm_buf_failed(&call->sent) ||
		 !set_text(call, call->sent.data ? call->sent.data : "",
			   call->sent.size))
		status = slm_error_nomem(err);
	fclose(file);
	return status;
}

static enum sqloom_status add_part(struct slm_http_call *call,
				   const struct slm_http_part *part,
				   struct sqloom_error *err)
{
	curl_mimepart *to = curl_mime_addpart(call->mime);
	enum sqloom_status status;
	FILE *file = NULL;
	CURLcode code;

	if (!to || curl_mime_name(to, part->name) != CURLE_OK)
		return slm_error_nomem(err);
	if (!part->path) {
		code = curl_mime_data(to, part->value, CURL_ZERO_TERMINATED);
		return code == CURLE_OK ? SQLOOM_OK : slm_error_nomem(err);
	}
	/* libcurl opens it again when it is sent. */
	status = open_file(call, part->path, &file, err);
	if (status != SQLOOM_OK)
		return status;
	fclose(file);
	code = curl_mime_filedata(to, part->path);
	return code == CURLE_OK ? SQLOOM_OK : slm_error_nomem(err);
}

static enum sqloom_status set_parts(struct slm_http_call *call,
				    struct sqloom_error *err)
{
	const struct slm_http_request *request = call->request;
	enum sqloom_status status = SQLOOM_OK;

	call->mime = curl_mime_init(call->easy);
	if (!call->mime)
		return slm_error_nomem(err);
	for (unsigned i = 0; i < request->nparts && status == SQLOOM_OK; i++)
		status = add_part(call, &request->parts[i], err);
	if (status == SQLOOM_OK &&
	    curl_easy_setopt(call->easy, CURLOPT_MIMEPOST, call->mime) !=
		    CURLE_OK)
		status = slm_error_nomem(err);
	return status;
}

static enum sqloom_status set_body(struct slm_http_call *call,
				   struct sqloom_error *err)
{
	const struct slm_http_request *request = call->request;

	switch (request->body) {
	case SLM_HTTP_NOTHING:
		break;
	case SLM_HTTP_TEXT:
		if (!set_text(call, request->text, request->size))
			return slm_error_nomem(err);
		break;
	case SLM_HTTP_FILE:
		return read_body(call, err);
	case SLM_HTTP_PARTS:
		return set_parts(call, err);
	}
	return SQLOOM_OK;
}

static void hang(struct slm_http *http, struct slm_http_call *call)
{
	call->next = http->calls;
	call->link = &http->calls;
	if (call->next)
		call->next->link = &call->next;
	http->calls = call;
}

enum sqloom_status slm_http_start(
	struct slm_http *http, const struct slm_http_request *request,
	void (*done)(void *userdata, const struct slm_http_answer *),
	void *userdata, struct slm_http_call **out, struct sqloom_error *err)
{
	struct slm_http_call *call = slm_calloc(1, sizeof(*call));
	enum sqloom_status status;

	if (!call)
		return slm_error_nomem(err);
	call->http = http;
	call->request = request;
	call->done = done;
	call->userdata = userdata;
	call->easy = curl_easy_init();
	if (!call->easy || !set_up(call))
		status = slm_error_nomem(err);
	else
		status = set_body(call, err);
	if (status == SQLOOM_OK && !set_method(call))
		status = slm_error_nomem(err);
	if (status == SQLOOM_OK &&
	    curl_multi_add_handle(http->multi, call->easy) != CURLM_OK)
		status = slm_error_nomem(err);
	if (status != SQLOOM_OK) {
		release(call);
		return status;
	}
	hang(http, call);
	if (out)
		*out = call;
	return SQLOOM_OK;
}

/* ---- The connections of a loop ----------------------------------------- */

enum sqloom_status slm_http_new(uv_loop_t *loop, struct slm_http **out,
				struct sqloom_error *err)
{
	struct slm_http *http = slm_calloc(1, sizeof(*http));

	if (!http)
		return slm_error_nomem(err);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		slm_free(http);
		return slm_error_nomem(err);
	}
	http->multi = curl_multi_init();
	if (!http->multi) {
		curl_global_cleanup();
		slm_free(http);
		return slm_error_nomem(err);
	}
	http->loop = loop;
	uv_timer_init(loop, &http->timer);
	uv_timer_init(loop, &http->wake);
	http->timer.data = http->wake.data = http;
	http->open = 2;
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, set_time);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	*out = http;
	return SQLOOM_OK;
}

void slm_http_free(struct slm_http *http)
{
	if (!http)
		return;
	while (http->calls)
		slm_http_cancel(http->calls);
	curl_multi_cleanup(http->multi);
	uv_close((uv_handle_t *)&http->timer, on_closed);
	uv_close((uv_handle_t *)&http->wake, on_closed);
	while (http->open > 0)
		uv_run(http->loop, UV_RUN_ONCE);
	curl_global_cleanup();
	slm_free(http);
}
