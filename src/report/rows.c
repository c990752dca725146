/* SPDX-License-Identifier: Apache-2.0 */
/* Values, rows and grids of them as marked text. */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/page.h"

/* ---- Values ----------------------------------------------------------- */

/* The shortest digits that read back the same, as SQL writes them. */
static void put_real(struct slm_buf *buf, double real)
{
	char digits[40];

	if (!isfinite(real)) {
		slm_buf_puts(buf, isnan(real) ? "NaN" :
				  real > 0    ? "Inf" :
						"-Inf");
		return;
	}
	for (int precision = 15; precision <= 17; precision++) {
		snprintf(digits, sizeof(digits), "%.*g", precision, real);
		if (strtod(digits, NULL) == real)
			break;
	}
	/* The program's locale may have another decimal point. */
	for (char *at = digits; *at; at++)
		if (!strchr("0123456789+-e", *at))
			*at = '.';
	slm_buf_puts(buf, digits);
	if (!strpbrk(digits, ".e"))
		slm_buf_puts(buf, ".0");
}

/* With quotes inside doubled, as SQL writes it. */
static void put_quoted(struct slm_page *page, struct slm_buf *buf,
		       const char *text, size_t size)
{
	const char *end = text + size;

	slm_buf_putc(buf, '\'');
	while (text < end) {
		const char *quote = memchr(text, '\'', (size_t)(end - text));
		const char *stop = quote ? quote + 1 : end;

		slm_text_clean(buf, text, (size_t)(stop - text),
			       page->out.ascii);
		if (quote)
			slm_buf_putc(buf, '\'');
		text = stop;
	}
	slm_buf_putc(buf, '\'');
}

static void put_blob(struct slm_buf *buf, const struct slm_value *value)
{
	slm_buf_puts(buf, "x'");
	for (uint32_t i = 0; i < value->size; i++)
		slm_buf_printf(buf, "%02x", (unsigned char)value->text[i]);
	slm_buf_putc(buf, '\'');
}

static void put_whole(struct slm_page *page, struct slm_buf *buf,
		      const struct slm_value *value)
{
	switch (value->kind) {
	case SLM_NULL:
		slm_buf_puts(buf, "NULL");
		break;
	case SLM_INT:
		slm_buf_printf(buf, "%" PRId64, value->integer);
		break;
	case SLM_REAL:
		put_real(buf, value->real);
		break;
	case SLM_TEXT:
		put_quoted(page, buf, value->text, value->size);
		break;
	case SLM_BLOB:
		put_blob(buf, value);
		break;
	case SLM_KEY:
		slm_page_glyph(page, buf, SLM_G_OPEN);
		slm_text_clean(buf, value->text, value->size, page->out.ascii);
		slm_page_glyph(page, buf, SLM_G_CLOSE);
		break;
	case SLM_MASKED:
		slm_buf_puts(buf, "(varies)");
		break;
	}
}

/* Appends text, cut to the width of a value. */
static void put_cut(struct slm_page *page, struct slm_buf *buf,
		    const struct slm_buf *whole, bool *cut)
{
	struct slm_fold fold = { .width = SLM_VALUE_WIDTH,
				 .max_lines = 1,
				 .ascii = page->out.ascii };
	const char *text = whole->data ? whole->data : "";

	if (slm_buf_failed(whole)) {
		page->failed = true;
		return;
	}
	if (slm_text_width(text) <= fold.width) {
		slm_buf_puts(buf, text);
		return;
	}
	slm_text_fold(buf, text, &fold);
	*cut = true;
}

void slm_page_value(struct slm_page *page, struct slm_buf *buf,
		    const struct slm_value *value, bool *cut)
{
	struct slm_buf whole;

	slm_buf_init(&whole);
	put_whole(page, &whole, value);
	put_cut(page, buf, &whole, cut);
	slm_buf_deinit(&whole);
}

static void put_name(struct slm_page *page, struct slm_buf *buf,
		     const char *name)
{
	struct slm_buf whole;
	bool cut = false;

	slm_buf_init(&whole);
	slm_page_clean(page, &whole, name);
	put_cut(page, buf, &whole, &cut);
	slm_buf_deinit(&whole);
}

void slm_page_row(struct slm_page *page, struct slm_buf *buf,
		  const struct slm_rows *rows, uint32_t row)
{
	bool cut = false;

	for (uint32_t i = 0; i < rows->ncolumns; i++) {
		if (i > 0)
			slm_buf_puts(buf, ", ");
		put_name(page, buf, rows->columns[i]);
		slm_buf_printf(buf, "%c=%c", SLM_NBSP, SLM_NBSP);
		slm_page_value(page, buf,
			       &rows->values[(size_t)row * rows->ncolumns + i],
			       &cut);
	}
}

/* ---- Grids ------------------------------------------------------------ */

struct slm_grid slm_page_grid(struct slm_page *page, uint32_t nrows,
			      uint32_t ncolumns)
{
	struct slm_grid grid = { nrows, ncolumns, NULL };

	grid.cells = slm_arena_zalloc(&page->arena, (size_t)nrows * ncolumns,
				      sizeof(*grid.cells));
	page->failed |= !grid.cells;
	return grid;
}

void slm_grid_set(struct slm_grid *grid, uint32_t row, uint32_t column,
		  const char *text, bool right)
{
	assert(row < grid->nrows && column < grid->ncolumns);
	if (grid->cells)
		grid->cells[(size_t)row * grid->ncolumns + column] =
			(struct slm_cell){ text, right };
}

static bool is_number(const struct slm_value *value)
{
	return value->kind == SLM_INT || value->kind == SLM_REAL;
}

/* A name stands over its numbers as they stand. */
static bool is_number_column(const struct slm_rows *rows, uint32_t column)
{
	return rows->nkept > 0 && is_number(&rows->values[column]);
}

void slm_grid_names(struct slm_page *page, struct slm_grid *grid, uint32_t row,
		    uint32_t column, const struct slm_rows *rows)
{
	struct slm_buf buf;

	slm_buf_init(&buf);
	for (uint32_t i = 0; i < rows->ncolumns; i++) {
		slm_buf_puts(&buf, M_FAINT);
		put_name(page, &buf, rows->columns[i]);
		slm_buf_puts(&buf, M_PLAIN);
		slm_grid_set(grid, row, column + i, slm_page_keep(page, &buf),
			     is_number_column(rows, i));
	}
	slm_buf_deinit(&buf);
}

void slm_grid_values(struct slm_page *page, struct slm_grid *grid, uint32_t row,
		     uint32_t column, const struct slm_rows *rows,
		     uint32_t from, bool *cut)
{
	const struct slm_value *values =
		&rows->values[(size_t)from * rows->ncolumns];
	struct slm_buf buf;

	slm_buf_init(&buf);
	for (uint32_t i = 0; i < rows->ncolumns; i++) {
		slm_page_value(page, &buf, &values[i], cut);
		slm_grid_set(grid, row, column + i, slm_page_keep(page, &buf),
			     is_number(&values[i]));
	}
	slm_buf_deinit(&buf);
}

static unsigned column_width(const struct slm_grid *grid, uint32_t column)
{
	unsigned widest = 0;

	for (uint32_t row = 0; row < grid->nrows; row++) {
		const char *text =
			grid->cells[(size_t)row * grid->ncolumns + column].text;
		unsigned width = text ? slm_text_width(text) : 0;

		widest = width > widest ? width : widest;
	}
	return widest;
}

static void put_cell(struct slm_buf *buf, const struct slm_cell *cell,
		     unsigned width)
{
	const char *text = cell->text ? cell->text : "";
	unsigned padding = width - slm_text_width(text);

	slm_buf_fill(buf, ' ', cell->right ? padding : 0);
	slm_buf_puts(buf, text);
	slm_buf_fill(buf, ' ', cell->right ? 0 : padding);
}

bool slm_grid_lines(const struct slm_grid *grid, struct slm_buf *buf,
		    unsigned width)
{
	unsigned total = 0;

	if (!grid->cells)
		return true; /* memory was out: there is nothing to show */
	for (uint32_t i = 0; i < grid->ncolumns && total <= width; i++)
		total += column_width(grid, i) + (i ? 2 : 0);
	if (total > width)
		return false;
	for (uint32_t row = 0; row < grid->nrows; row++) {
		if (row > 0)
			slm_buf_putc(buf, '\n');
		for (uint32_t i = 0; i < grid->ncolumns; i++) {
			if (i > 0)
				slm_buf_puts(buf, "  ");
			put_cell(buf,
				 &grid->cells[(size_t)row * grid->ncolumns + i],
				 column_width(grid, i));
		}
	}
	return true;
}

/* ---- A few rows ------------------------------------------------------- */

static void put_row_lines(struct slm_page *page, struct slm_buf *buf,
			  const struct slm_rows *rows, uint32_t count,
			  unsigned width)
{
	struct slm_fold fold = { .width = width,
				 .hang = 2,
				 .max_lines = 3,
				 .ascii = page->out.ascii };
	struct slm_buf line;

	slm_buf_init(&line);
	for (uint32_t row = 0; row < count; row++) {
		slm_page_row(page, &line, rows, row);
		if (row > 0)
			slm_buf_putc(buf, '\n');
		slm_text_fold(buf, slm_page_keep(page, &line), &fold);
	}
	slm_buf_deinit(&line);
}

void slm_page_rows(struct slm_page *page, struct slm_buf *buf,
		   const struct slm_rows *rows, uint32_t max, unsigned width)
{
	uint32_t count = rows->nkept < max ? rows->nkept : max;
	struct slm_grid grid = slm_page_grid(page, count + 1, rows->ncolumns);
	bool cut = false;

	slm_grid_names(page, &grid, 0, 0, rows);
	for (uint32_t row = 0; row < count; row++)
		slm_grid_values(page, &grid, row + 1, 0, rows, row, &cut);
	if (!slm_grid_lines(&grid, buf, width))
		put_row_lines(page, buf, rows, count, width);
	if (rows->nrows > count) {
		slm_buf_puts(buf, "\n" M_FAINT);
		slm_page_glyph(page, buf, SLM_G_ELLIPSIS);
		slm_buf_putc(buf, ' ');
		slm_text_number(buf, rows->nrows - count);
		slm_buf_puts(buf, " more" M_PLAIN);
	}
}
