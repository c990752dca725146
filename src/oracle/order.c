/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contents as they are shown: rows in canonical order (rows of the snapshot
 * before generated ones, then by their columns, then by name), generated keys
 * as "new #1", numbered in that order within the table, and references to them
 * as "orders new #1". None of it depends on the values of generated keys,
 * unless rows have equal names: those are told apart by where they were.
 */
#include <stdlib.h>
#include <string.h>

#include "oracle/internal.h"

static int compare_bytes(const struct slm_value *a, const struct slm_value *b)
{
	uint32_t size = a->size < b->size ? a->size : b->size;
	int order = size ? memcmp(a->text, b->text, size) : 0;

	return order ? order : (a->size > b->size) - (a->size < b->size);
}

static int compare_values(const struct slm_value *a, const struct slm_value *b)
{
	if (a->kind != b->kind)
		return (a->kind > b->kind) - (a->kind < b->kind);
	switch (a->kind) {
	case SLM_INT:
		return (a->integer > b->integer) - (a->integer < b->integer);
	case SLM_REAL:
		return (a->real > b->real) - (a->real < b->real);
	case SLM_TEXT:
	case SLM_BLOB:
	case SLM_KEY:
		return compare_bytes(a, b);
	case SLM_NULL:
	case SLM_MASKED:
		break;
	}
	return 0;
}

/* Is the cell one whose value says nothing? */
static bool is_opaque(const struct slm_canonical_table *table, uint64_t row,
		      uint32_t column)
{
	if (slm_canonical_hidden(table, row, column))
		return true;
	if (table->target[column] && table->target[column][row] != SLM_NO_ROW)
		return true;
	return table->table->key_column == (int)column &&
	       slm_canonical_generated(table->table, row);
}

static int compare_rows(const void *a, const void *b, void *userdata)
{
	const struct slm_canonical_table *table = userdata;
	const struct slm_contents_table *from = table->table;
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	bool new_x = slm_canonical_generated(from, x);
	bool new_y = slm_canonical_generated(from, y);
	int order = new_x - new_y;

	for (uint32_t i = 0; order == 0 && i < from->ncolumns; i++) {
		bool opaque_x = is_opaque(table, x, i);
		bool opaque_y = is_opaque(table, y, i);

		order = opaque_x - opaque_y;
		if (order == 0 && !opaque_x)
			order = compare_values(
				&from->values[x * from->ncolumns + i],
				&from->values[y * from->ncolumns + i]);
	}
	if (order == 0)
		order = (table->names[x] > table->names[y]) -
			(table->names[x] < table->names[y]);
	return order ? order : (x > y) - (x < y);
}

static bool order_table(struct slm_canonical_table *table,
			struct slm_arena *arena, struct slm_order *out)
{
	uint64_t nrows = table->table->nrows;
	uint32_t number = 0;

	out->rows = slm_arena_zalloc(arena, nrows, sizeof(*out->rows));
	out->number = slm_arena_zalloc(arena, nrows, sizeof(*out->number));
	if (!out->rows || !out->number)
		return false;
	for (uint64_t row = 0; row < nrows; row++)
		out->rows[row] = row;
	qsort_r(out->rows, nrows, sizeof(*out->rows), compare_rows, table);
	for (uint64_t i = 0; i < nrows; i++)
		if (slm_canonical_generated(table->table, out->rows[i]))
			out->number[out->rows[i]] = ++number;
	return true;
}

struct slm_order *slm_order_make(const struct slm_canonical *contents,
				 struct slm_arena *arena)
{
	struct slm_order *orders =
		slm_arena_zalloc(arena, contents->ntables, sizeof(*orders));

	for (uint32_t i = 0; orders && i < contents->ntables; i++)
		if (!order_table(&contents->tables[i], arena, &orders[i]))
			return NULL;
	return orders;
}

static bool make_label(struct slm_value *out, char *label)
{
	out->kind = SLM_KEY;
	out->text = label;
	out->size = label ? (uint32_t)strlen(label) : 0;
	return label != NULL;
}

bool slm_order_cell(const struct slm_canonical *contents,
		    const struct slm_order *orders, uint32_t table,
		    uint64_t row, uint32_t column, struct slm_arena *arena,
		    struct slm_value *out)
{
	const struct slm_canonical_table *from = &contents->tables[table];
	uint64_t target = from->target[column] ? from->target[column][row] :
						 SLM_NO_ROW;
	uint32_t to = from->target_table[column];

	memset(out, 0, sizeof(*out));
	out->kind = SLM_MASKED;
	if (slm_canonical_hidden(from, row, column))
		return true;
	if (target != SLM_NO_ROW)
		return make_label(
			out, slm_arena_printf(arena, "%s new #%u",
					      contents->tables[to].table->name,
					      orders[to].number[target]));
	if (from->table->key_column == (int)column &&
	    slm_canonical_generated(from->table, row))
		return make_label(out,
				  slm_arena_printf(arena, "new #%u",
						   orders[table].number[row]));
	return slm_copy_value(
		arena,
		&from->table->values[row * from->table->ncolumns + column],
		SLM_TRACE_VALUE_MAX, out);
}
