/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text for a terminal: cleaning, widths, wrapping, colours, glyphs.
 *
 * Inside the report, text is *marked text*: valid UTF-8 in which the only
 * control characters are style marks (enum slm_style), '\n' as a forced line
 * break, SLM_NBSP and SLM_SOFT. Whatever comes from outside passes
 * slm_text_clean() first, so that nothing else can be in it and nothing can
 * reach the terminal raw. Only slm_out_* turns marked text into what is
 * printed.
 *
 * The locale is never asked: widths come from a table.
 */
#ifndef SLM_REPORT_TEXT_H
#define SLM_REPORT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"

#define SLM_NBSP 0x0e /* a space where a line breaks only if it must */
#define SLM_SOFT 0x0f /* no space; after one: a good place to break */

/* Style marks. A mark holds until the next one or the end of the text. */
enum slm_style {
	SLM_PLAIN = 1,
	SLM_STRONG = 2,
	SLM_FAINT = 3,
	SLM_BAD = 4,
	SLM_GOOD = 5,
	SLM_WAIT = 6,
	SLM_BAD_TITLE = 7,
	SLM_GOOD_TITLE = 8,
	SLM_WAIT_TITLE = 11,
};

/* The same as strings, for literals. */
#define M_PLAIN "\001"
#define M_STRONG "\002"
#define M_FAINT "\003"
#define M_BAD "\004"
#define M_GOOD "\005"
#define M_WAIT "\006"
#define M_BAD_TITLE "\007"
#define M_GOOD_TITLE "\010"
#define M_WAIT_TITLE "\013"

/* Signs that have a form in ASCII. */
enum slm_glyph {
	SLM_G_LANE,    /* a call is there */
	SLM_G_WAITING, /* a call waits */
	SLM_G_STEP,
	SLM_G_ARRIVED, /* a step that waits */
	SLM_G_SKIPPED,
	SLM_G_OK,
	SLM_G_FAILED,
	SLM_G_ARROW,
	SLM_G_ELLIPSIS,
	SLM_G_DOT,  /* between parts of a line */
	SLM_G_OPEN, /* around the label of a generated key */
	SLM_G_CLOSE,
};

const char *slm_glyph(enum slm_glyph glyph, bool ascii);

/* ---- Making marked text ----------------------------------------------- */

/*
 * Appends bytes from outside. Control characters, characters that change the
 * direction of writing or cannot be seen, bytes that are not UTF-8 and, with
 * ascii, everything beyond ASCII appear as escapes: \n \x1b \u202e.
 */
void slm_text_clean(struct slm_buf *buf, const char *text, size_t size,
		    bool ascii);

/* Columns that marked text takes up to its first '\n' or its end. */
unsigned slm_text_width(const char *text);
/* The widest of its lines. */
unsigned slm_text_widest(const char *text);

/* How to fold text into lines. */
struct slm_fold {
	unsigned width;	    /* columns there are; at least 4 are used */
	unsigned hang;	    /* columns by which lines after the first are
				indented */
	unsigned max_lines; /* 0: any number; cut with an ellipsis */
	bool ascii;
};

/*
 * Appends text broken into lines that fit, with '\n' between them and none at
 * the end. Lines break at a space before SLM_SOFT if that leaves them not too
 * short, else at spaces, else at SLM_NBSP or after commas, else anywhere.
 */
void slm_text_fold(struct slm_buf *buf, const char *text,
		   const struct slm_fold *fold);

/* 1234567 as "1,234,567". */
void slm_text_number(struct slm_buf *buf, uint64_t number);
/* "1 schedule", "2,000 schedules". */
void slm_text_count(struct slm_buf *buf, uint64_t number, const char *one,
		    const char *many);

/* ---- Printing --------------------------------------------------------- */

struct slm_out {
	struct slm_buf buf; /* what is printed */
	unsigned width;	    /* of the terminal */
	bool color;
	bool ascii;
	bool unfolded;	 /* paragraphs may be as wide as the terminal */
	unsigned column; /* where the line stands */
	unsigned spaces; /* owed: dropped at the end of a line */
	char style;	 /* what the terminal is in */
	char want;	 /* what the text asks for */
};

void slm_out_init(struct slm_out *out, unsigned width, bool color, bool ascii);
void slm_out_deinit(struct slm_out *out);

/* Prints one line of marked text, up to '\n' or the end; no line break. */
void slm_out_text(struct slm_out *out, const char *text);
/* Moves right to a column; no move if the line is already there. */
void slm_out_move(struct slm_out *out, unsigned column);
/* Ends the line: no spaces at its end, plain style. */
void slm_out_newline(struct slm_out *out);
/* Folds text into the width, but into no more than 100 columns, each line
 * indented, and prints it. */
void slm_out_paragraph(struct slm_out *out, unsigned indent, unsigned hang,
		       const char *text);
/* The line after this one in text with several, or NULL. */
const char *slm_text_next_line(const char *text);

#endif
