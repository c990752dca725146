/* SPDX-License-Identifier: Apache-2.0 */
/* A request as it was read, for who sends it. Everything is in its arena. */
#ifndef SLM_CALL_HTTP_REQUEST_H
#define SLM_CALL_HTTP_REQUEST_H

#include "call/http.h"

enum slm_http_body {
	SLM_HTTP_NOTHING,
	SLM_HTTP_TEXT,	/* text, size */
	SLM_HTTP_FILE,	/* path: the body is that file */
	SLM_HTTP_PARTS, /* parts of a multipart form */
};

struct slm_http_part {
	const char *name;
	const char *value; /* NULL: a file */
	const char *path;  /* of the file */
};

struct slm_http_request {
	const char *title; /* method and URL, without user and password */
	const char *method;
	const char *url;
	const char *const *headers; /* lines, as curl wants them */
	unsigned nheaders;
	enum slm_http_body body;
	const char *text;
	size_t size;
	const char *path;
	const struct slm_http_part *parts;
	unsigned nparts;
	const char *cookies; /* "a=b; c=d"; NULL: none */
	const char *user;    /* "name:password"; NULL: none */
	bool follow;
	long timeout_ms; /* 0: none */
};

#endif
