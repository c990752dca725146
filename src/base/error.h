/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling in struct sqloom_error. Never allocates, never fails; err may be
 * NULL everywhere. Each function returns the status it was given, so that a
 * failure reads `return slm_error_set(err, SQLOOM_IO, "...")`.
 */
#ifndef SLM_BASE_ERROR_H
#define SLM_BASE_ERROR_H

#include <sqloom/sqloom.h>

#define SLM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Clears err and sets status and message; the message is cut at its limit. */
enum sqloom_status slm_error_set(struct sqloom_error *err,
				 enum sqloom_status status, const char *fmt,
				 ...) SLM_PRINTF(3, 4);

/* The same with errno: keeps it and appends ": strerror". */
enum sqloom_status slm_error_errno(struct sqloom_error *err,
				   enum sqloom_status status, int sys_errno,
				   const char *fmt, ...) SLM_PRINTF(4, 5);

/*
 * Adds the place: path (may be NULL), 1-based line and column, and from text
 * (the whole input of size bytes, may be NULL) the line with a caret below it.
 */
void slm_error_place(struct sqloom_error *err, const char *path, unsigned line,
		     unsigned column, const char *text, size_t size_bytes);

/* "out of memory" with the standard wording. Returns SQLOOM_NOMEM. */
enum sqloom_status slm_error_nomem(struct sqloom_error *err);

#endif
