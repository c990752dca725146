/* SPDX-License-Identifier: Apache-2.0 */
/* A growing buffer with a sticky failure. */
#include "base/buf.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

void slm_buf_init(struct slm_buf *buf)
{
	memset(buf, 0, sizeof(*buf));
}

void slm_buf_deinit(struct slm_buf *buf)
{
	slm_free(buf->data);
	slm_buf_init(buf);
}

void slm_buf_clear(struct slm_buf *buf)
{
	buf->size = 0;
	buf->failed = false;
	if (buf->data)
		buf->data[0] = '\0';
}

/* Makes room for more bytes and a NUL. */
static bool reserve(struct slm_buf *buf, size_t more)
{
	size_t want;
	char *data;

	if (buf->failed)
		return false;
	if (more < buf->capacity - buf->size)
		return true;
	if (more > SIZE_MAX / 4 - buf->size) {
		buf->failed = true;
		return false;
	}
	want = (buf->size + more + 1) * 2;
	data = slm_realloc(buf->data, want < 64 ? 64 : want);
	if (!data) {
		buf->failed = true;
		return false;
	}
	buf->data = data;
	buf->capacity = want < 64 ? 64 : want;
	return true;
}

void slm_buf_append(struct slm_buf *buf, const void *data, size_t size)
{
	if (!reserve(buf, size))
		return;
	if (size)
		memcpy(buf->data + buf->size, data, size);
	buf->size += size;
	buf->data[buf->size] = '\0';
	assert(buf->size < buf->capacity);
}

void slm_buf_puts(struct slm_buf *buf, const char *text)
{
	slm_buf_append(buf, text, strlen(text));
}

void slm_buf_putc(struct slm_buf *buf, char c)
{
	slm_buf_append(buf, &c, 1);
}

void slm_buf_fill(struct slm_buf *buf, char c, size_t count)
{
	if (!reserve(buf, count))
		return;
	memset(buf->data + buf->size, c, count);
	buf->size += count;
	buf->data[buf->size] = '\0';
}

void slm_buf_vprintf(struct slm_buf *buf, const char *fmt, va_list args)
{
	va_list again;
	int size;

	va_copy(again, args);
	size = vsnprintf(NULL, 0, fmt, args);
	if (size < 0) {
		buf->failed = true;
	} else if (reserve(buf, (size_t)size)) {
		vsnprintf(buf->data + buf->size, (size_t)size + 1, fmt, again);
		buf->size += (size_t)size;
	}
	va_end(again);
}

void slm_buf_printf(struct slm_buf *buf, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	slm_buf_vprintf(buf, fmt, args);
	va_end(args);
}

bool slm_buf_failed(const struct slm_buf *buf)
{
	return buf->failed;
}

char *slm_buf_take(struct slm_buf *buf)
{
	char *data;

	reserve(buf, 0);
	if (buf->failed) {
		slm_buf_deinit(buf);
		return NULL;
	}
	data = buf->data;
	data[buf->size] = '\0';
	slm_buf_init(buf);
	return data;
}
