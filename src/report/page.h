/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One rendering: what the parts of the text report share. A page lives for one
 * call of sqloom_report_render(); its arena holds every piece of marked text
 * made on the way. Failure (memory was out) is sticky, as in struct slm_buf.
 */
#ifndef SLM_REPORT_PAGE_H
#define SLM_REPORT_PAGE_H

#include "report/text.h"
#include "trace/trace.h"

#define SLM_VALUE_WIDTH 40 /* columns that one value may take */

struct slm_page {
	const struct slm_trace *trace; /* borrowed */
	struct slm_out out;
	struct slm_arena arena;
	bool failed;
};

/* ---- Pieces of marked text -------------------------------------------- */

/* Appends a C string from the trace, cleaned. NULL appends nothing. */
void slm_page_clean(struct slm_page *page, struct slm_buf *buf,
		    const char *text);
/* The same for SQL, laid out anew: blanks and line breaks outside of quotes
 * become one space, except after a -- comment; lines break well before
 * keywords and badly beside operators. */
void slm_page_sql(struct slm_page *page, struct slm_buf *buf, const char *sql);
void slm_page_glyph(struct slm_page *page, struct slm_buf *buf,
		    enum slm_glyph glyph);
/* Copies what buf holds into the arena and empties buf. Never NULL. */
const char *slm_page_keep(struct slm_page *page, struct slm_buf *buf);
/* Prints what buf holds as a paragraph and empties buf. */
void slm_page_flush(struct slm_page *page, struct slm_buf *buf, unsigned indent,
		    unsigned hang);
/* Prints a heading, after an empty line. */
void slm_page_heading(struct slm_page *page, const char *text);

/* ---- Values and rows (rows.c) ----------------------------------------- */

/* 100, 'text', x'00ff', NULL; *cut is set if it was too long to show. */
void slm_page_value(struct slm_page *page, struct slm_buf *buf,
		    const struct slm_value *value, bool *cut);
/* "id = 1, bal = 100" */
void slm_page_row(struct slm_page *page, struct slm_buf *buf,
		  const struct slm_rows *rows, uint32_t row);

/* Cells in columns. Numbers stand to the right. */
struct slm_cell {
	const char *text; /* marked, one line; NULL: empty */
	bool right;
};

struct slm_grid {
	uint32_t nrows, ncolumns;
	struct slm_cell *cells; /* row by row; NULL: memory was out */
};

struct slm_grid slm_page_grid(struct slm_page *page, uint32_t nrows,
			      uint32_t ncolumns);
/* Sets a cell; outside of the grid is a defect. */
void slm_grid_set(struct slm_grid *grid, uint32_t row, uint32_t column,
		  const char *text, bool right);
/* Fills ncolumns cells of a row, from column on, with names or values. */
void slm_grid_names(struct slm_page *page, struct slm_grid *grid, uint32_t row,
		    uint32_t column, const struct slm_rows *rows);
void slm_grid_values(struct slm_page *page, struct slm_grid *grid, uint32_t row,
		     uint32_t column, const struct slm_rows *rows,
		     uint32_t from, bool *cut);
/* Appends the lines of the grid, '\n' between them; false (and nothing is
 * appended) if they are wider than width. */
bool slm_grid_lines(const struct slm_grid *grid, struct slm_buf *buf,
		    unsigned width);

/*
 * Appends up to max rows, with their column names: as a grid if that fits the
 * width, else a line for each. Says how many more there are.
 */
void slm_page_rows(struct slm_page *page, struct slm_buf *buf,
		   const struct slm_rows *rows, uint32_t max, unsigned width);

/* ---- Calls that are programs (program.c) ------------------------------ */

/* Are the call's steps what a program sent? */
bool slm_page_is_program(const struct slm_trace_call *call);
/* The name of a call; NULL if it is just the letter that stands before it, as
 * that of a program without a name. */
const char *slm_page_call_name(const struct slm_page *page, uint32_t call);
/* A statement and the values of its parameters:
 * "UPDATE t SET v = $1 WHERE id = $2  [$1 = 10, $2 = 1]" */
void slm_page_statement(struct slm_page *page, struct slm_buf *buf,
			const char *sql, const char *params);
/* The finding that has the events of a recording. Never NULL. */
const struct slm_finding *slm_page_recording(const struct slm_page *page);
/* Per event of a recording the transaction it is in, numbered from 1 over all
 * calls; 0: none. NULL: memory was out. */
const uint32_t *slm_page_transactions(struct slm_page *page,
				      const struct slm_finding *finding);
/* What a call gave: "exit 0", "HTTP 200 {ok: 'yes', id: 7}". */
void slm_page_given(struct slm_page *page, struct slm_buf *buf,
		    const struct slm_result *result, bool ok);

/* ---- Parts of the report ---------------------------------------------- */

/* The line to paste that replays the finding. */
void slm_page_replay_line(struct slm_page *page, struct slm_buf *buf,
			  const struct slm_finding *finding);

/* timeline.c */
void slm_page_timeline(struct slm_page *page,
		       const struct slm_finding *finding);
/* outcome.c: what the check returned; what serial runs give beside it. */
void slm_page_check(struct slm_page *page, const struct slm_finding *finding);
void slm_page_expected(struct slm_page *page,
		       const struct slm_finding *finding);

/* json.c; only: the one finding to tell, NULL: all. */
enum sqloom_status slm_report_json(const struct slm_trace *trace,
				   const struct slm_finding *only, char **text,
				   size_t *size_bytes,
				   struct sqloom_error *err);

#endif
