/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte buffer, for building text. Failure is sticky: after memory
 * was out, appends do nothing and slm_buf_failed() says so, so that callers
 * check once at the end. data is always NUL-terminated once anything was
 * appended without failure.
 */
#ifndef SLM_BASE_BUF_H
#define SLM_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct slm_buf {
	char *data;	 /* owned; NULL while empty */
	size_t size;	 /* bytes, without the NUL */
	size_t capacity; /* bytes allocated */
	bool failed;	 /* memory was out */
};

void slm_buf_init(struct slm_buf *buf);
void slm_buf_deinit(struct slm_buf *buf);
/* Empties it, keeps the memory, forgets a failure. */
void slm_buf_clear(struct slm_buf *buf);
void slm_buf_append(struct slm_buf *buf, const void *data, size_t size);
void slm_buf_puts(struct slm_buf *buf, const char *text);
void slm_buf_putc(struct slm_buf *buf, char c);
/* Appends c count times. */
void slm_buf_fill(struct slm_buf *buf, char c, size_t count);
void slm_buf_printf(struct slm_buf *buf, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void slm_buf_vprintf(struct slm_buf *buf, const char *fmt, va_list args);
bool slm_buf_failed(const struct slm_buf *buf);
/* Moves the text out (caller frees with slm_free); "" is never NULL. Returns
 * NULL if the buffer failed; the buffer is empty afterwards. */
char *slm_buf_take(struct slm_buf *buf);

#endif
