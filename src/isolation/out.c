/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is printed, on its way to the caller: gathered in a buffer, in order.
 * The buffer belongs to one stream at a time, so the two never overtake each
 * other.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "isolation/isolation.h"

#define KEEP_MAX (64 * 1024) /* bytes that are held back */

void slm_iso_flush(struct slm_iso_out *out)
{
	if (slm_buf_failed(&out->buf))
		out->failed = true;
	if (out->buf.size && !out->failed &&
	    !out->write(out->stream, out->buf.data, out->buf.size,
			out->userdata))
		out->failed = true;
	slm_buf_clear(&out->buf);
}

static struct slm_buf *begin(struct slm_iso_out *out,
			     enum sqloom_isolation_stream stream)
{
	if (stream != out->stream || out->buf.size > KEEP_MAX)
		slm_iso_flush(out);
	out->stream = stream;
	return &out->buf;
}

void slm_iso_printf(struct slm_iso_out *out,
		    enum sqloom_isolation_stream stream, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	slm_buf_vprintf(begin(out, stream), fmt, args);
	va_end(args);
}

void slm_iso_print_rows(struct slm_iso_out *out, const PGresult *result)
{
	/* libpq has the one true opinion on how wide a column is. */
	PQprintOpt look = { .header = true, .align = true, .fieldSep = "|" };
	struct slm_buf *buf = begin(out, SQLOOM_ISOLATION_OUT);
	char *text = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&text, &size);

	if (!file) {
		out->failed = true;
		return;
	}
	PQprint(file, result, &look);
	if (fclose(file) == 0)
		slm_buf_append(buf, text, size);
	else
		out->failed = true;
	free(text);
}
