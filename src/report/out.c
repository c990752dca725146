/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Printing marked text: style marks become ANSI sequences or nothing, spaces
 * at the end of a line are never written. This is the only place that writes
 * ESC.
 */
#include <assert.h>
#include <string.h>

#include "report/text.h"

#define PROSE_MAX 100 /* columns of a paragraph: longer lines read badly */

void slm_out_init(struct slm_out *out, unsigned width, bool color, bool ascii)
{
	memset(out, 0, sizeof(*out));
	slm_buf_init(&out->buf);
	out->width = width;
	out->color = color;
	out->ascii = ascii;
	out->style = out->want = SLM_PLAIN;
}

void slm_out_deinit(struct slm_out *out)
{
	slm_buf_deinit(&out->buf);
}

static const char *ansi(char style)
{
	switch ((enum slm_style)style) {
	case SLM_STRONG:
		return "\033[0;1m";
	case SLM_FAINT:
		return "\033[0;2m";
	case SLM_BAD:
		return "\033[0;31m";
	case SLM_GOOD:
		return "\033[0;32m";
	case SLM_WAIT:
		return "\033[0;33m";
	case SLM_BAD_TITLE:
		return "\033[0;1;31m";
	case SLM_GOOD_TITLE:
		return "\033[0;1;32m";
	case SLM_WAIT_TITLE:
		return "\033[0;1;33m";
	case SLM_PLAIN:
		break;
	}
	return "\033[0m";
}

static void set_style(struct slm_out *out, char style)
{
	if (out->style == style)
		return;
	if (out->color)
		slm_buf_puts(&out->buf, ansi(style));
	out->style = style;
}

/* Writes bytes that are not spaces. */
static void put(struct slm_out *out, const char *text, size_t size)
{
	slm_buf_fill(&out->buf, ' ', out->spaces);
	out->spaces = 0;
	set_style(out, out->want);
	slm_buf_append(&out->buf, text, size);
}

void slm_out_text(struct slm_out *out, const char *text)
{
	out->column += slm_text_width(text);
	for (; *text && *text != '\n'; text++) {
		char c = *text;

		if (c == ' ' || c == SLM_NBSP)
			out->spaces++;
		else if (c == SLM_SOFT)
			continue;
		else if ((unsigned char)c < ' ')
			out->want = c;
		else
			put(out, text, 1);
	}
}

void slm_out_move(struct slm_out *out, unsigned column)
{
	if (column <= out->column)
		return;
	out->spaces += column - out->column;
	out->column = column;
}

void slm_out_newline(struct slm_out *out)
{
	out->spaces = 0;
	out->column = 0;
	out->want = SLM_PLAIN;
	set_style(out, SLM_PLAIN);
	slm_buf_putc(&out->buf, '\n');
}

void slm_out_paragraph(struct slm_out *out, unsigned indent, unsigned hang,
		       const char *text)
{
	struct slm_fold fold = { .hang = hang, .ascii = out->ascii };
	char style = SLM_PLAIN;
	struct slm_buf buf;

	fold.width = out->width > indent ? out->width - indent : 1;
	if (fold.width > PROSE_MAX && !out->unfolded)
		fold.width = PROSE_MAX;
	slm_buf_init(&buf);
	slm_text_fold(&buf, text, &fold);
	out->buf.failed |= slm_buf_failed(&buf);
	text = slm_buf_failed(&buf) ? NULL : buf.data ? buf.data : "";
	for (; text; text = slm_text_next_line(text)) {
		slm_out_move(out, indent);
		out->want = style;
		slm_out_text(out, text);
		style = out->want;
		slm_out_newline(out);
	}
	slm_buf_deinit(&buf);
}
