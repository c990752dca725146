/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP requests as calls, by libcurl, in the caller's libuv loop.
 *
 * The text of a request, as `--http` and spec files have it, is read like the
 * words of a shell command (quotes '...' and "...", backslash):
 *
 *   [METHOD] URL [ITEM ...]
 *     name=value      a field of a form (urlencoded; multipart with files)
 *     name:=json      a field of a JSON object; makes the body JSON, and the
 *                     plain fields its strings
 *     Name:value      a header; without a value it is not sent
 *     name==value     a parameter of the query
 *     name@path       a file of a multipart form
 *     @path           the body is that file
 *     --data 'text'   the body as it is
 *     --json 'text'   the body, with Content-Type: application/json
 *     --cookie 'a=b'  a cookie
 *     --follow        follows redirects, and keeps cookies meanwhile
 *     --user name:password
 *     --timeout SECONDS
 * METHOD is GET, or POST if there is a body. Of an item the first of : = @
 * decides.
 */
#ifndef SLM_CALL_HTTP_H
#define SLM_CALL_HTTP_H

#include <sqloom/sqloom.h>
#include <uv.h>

#include "base/arena.h"
#include "trace/trace.h"

#define SLM_HTTP_BODY_MAX (1024 * 1024) /* bytes kept of an answer */

struct slm_http_request; /* in an arena */

/* SQLOOM_SPEC: what is wrong with the text, as a sentence. SQLOOM_LIMIT. */
enum sqloom_status slm_http_read(const char *text, struct slm_arena *arena,
				 struct slm_http_request **out,
				 struct sqloom_error *err);
/* "POST http://127.0.0.1:8000/redeem" */
const char *slm_http_title(const struct slm_http_request *request);

struct slm_http; /* the connections of one loop; one per exploration */
enum sqloom_status slm_http_new(uv_loop_t *loop, struct slm_http **out,
				struct sqloom_error *err);
/* Cancels what is under way and runs the loop until all is closed; so not from
 * a callback of the loop. free(NULL) is fine. */
void slm_http_free(struct slm_http *http);

struct slm_http_answer {
	int status;	   /* 0: none; of an answer that broke off it may be
			      known */
	const char *error; /* "cannot connect to ...: refused"; NULL: none */
	const char *content_type; /* "" if none */
	const char *location;	  /* of a redirect, as a whole URL; "" */
	const char *body;	  /* NUL-terminated */
	size_t body_size;
	bool cut; /* there was more of it */
};

struct slm_http_call;
/* done: once, by the loop; the answer is borrowed for its duration. A request
 * never goes over a connection that was used before: one of an answer that has
 * not ended would tie calls together. request is borrowed until done.
 * SQLOOM_IO (a file to send cannot be read), SQLOOM_LIMIT, SQLOOM_NOMEM. */
enum sqloom_status slm_http_start(
	struct slm_http *http, const struct slm_http_request *request,
	void (*done)(void *userdata, const struct slm_http_answer *),
	void *userdata, struct slm_http_call **out, struct sqloom_error *err);
/* Ends it; done is not called any more. Not after done began. */
void slm_http_cancel(struct slm_http_call *call);

/* ---- What is observed --------------------------------------------------- */

/*
 * The outcome of a call as a result of one row, for the oracle, in arena:
 * "status" (INT), "location" if there is one, then the parts of the body, so
 * that unstable ones can be masked one by one: of JSON each scalar by its path
 * ("$.items[0].id"), else each line ("line 1"), at most SLM_HTTP_PARTS_MAX,
 * then "rest" as one, and "cut" if not all of the body was kept. error is NONE
 * below 400, REFUSED below 500, OTHER from 500 and when there was no (whole)
 * answer; code "HTTP 503" or "no answer"; message the first line, the title of
 * a page, or why there is no answer.
 */
#define SLM_HTTP_PARTS_MAX 200
enum sqloom_status slm_http_result(const struct slm_http_answer *answer,
				   struct slm_arena *arena,
				   const struct slm_result **out,
				   struct sqloom_error *err);
/* The same of a command: "exit", then its standard output by lines (or by JSON
 * paths if it is one JSON object or array). error NONE for 0, OTHER if it was
 * killed (signal, or a status from 129 to 192, by which a shell tells that of
 * its child), else REFUSED; code "exit 1"; message: the error that
 * PostgreSQL gave, or the last line, of its standard error; or the last line of
 * its output; or "". */
enum sqloom_status slm_exec_result(int status, int signal, const char *output,
				   size_t size, const char *errors,
				   struct slm_arena *arena,
				   const struct slm_result **out,
				   struct sqloom_error *err);

/* The same of a function of this process: "returned", then its value by
 * lines (or by JSON paths). error REFUSED if it failed; code "failed"; message:
 * what it said. */
struct sqloom_call;
enum sqloom_status slm_function_result(const struct sqloom_call *call,
				       bool failed, int returned,
				       struct slm_arena *arena,
				       const struct slm_result **out,
				       struct sqloom_error *err);

#endif
