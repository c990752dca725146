/* SPDX-License-Identifier: Apache-2.0 */
/* An outcome as the trace keeps it: rows in canonical order, of large tables
 * those that differ before the others, and a line per call. */
#include "oracle/internal.h"

/* Marks the rows to keep: first those that differ, then the others, both in
 * canonical order. Returns how many. */
static uint32_t choose_rows(uint64_t nrows, const struct slm_order *order,
			    const bool *differs, bool *keep)
{
	uint32_t kept = 0;

	for (int pass = 0; pass < 2; pass++)
		for (uint64_t i = 0; i < nrows; i++) {
			uint64_t row = order->rows[i];
			bool wanted = pass == 1 || (differs && differs[row]);

			if (kept == SLM_TRACE_ROWS_MAX)
				return kept;
			if (keep[row] || !wanted)
				continue;
			keep[row] = true;
			kept++;
		}
	return kept;
}

static bool make_table(const struct slm_canonical *contents,
		       const struct slm_order *orders, uint32_t index,
		       const bool *differs, struct slm_arena *arena,
		       struct slm_table *out)
{
	const struct slm_contents_table *from = contents->tables[index].table;
	struct slm_rows *rows = &out->rows;
	bool *keep = slm_arena_zalloc(arena, from->nrows, sizeof(*keep));
	struct slm_value *values;
	size_t at = 0;

	if (!keep)
		return false;
	rows->nrows = from->nrows;
	rows->ncolumns = from->ncolumns;
	rows->nkept = choose_rows(from->nrows, &orders[index], differs, keep);
	rows->columns = slm_copy_names(arena, from->columns, from->ncolumns);
	values = slm_arena_zalloc(arena, (size_t)rows->nkept * rows->ncolumns,
				  sizeof(*values));
	rows->values = values;
	out->name = slm_arena_strdup(arena, from->name);
	if (!out->name || !rows->columns || !values)
		return false;
	for (uint64_t i = 0; i < from->nrows; i++) {
		uint64_t row = orders[index].rows[i];

		for (uint32_t j = 0; keep[row] && j < from->ncolumns; j++)
			if (!slm_order_cell(contents, orders, index, row, j,
					    arena, &values[at++]))
				return false;
	}
	return true;
}

static const char *const *make_results(const struct slm_oracle *oracle,
				       const struct slm_view *view,
				       const struct slm_order *orders,
				       struct slm_arena *arena)
{
	const char **lines =
		slm_arena_zalloc(arena, oracle->config.ncalls, sizeof(*lines));
	struct slm_buf buf;

	slm_buf_init(&buf);
	for (uint32_t i = 0; lines && i < oracle->config.ncalls; i++) {
		if (!(view->results.members & (1u << i)))
			continue;
		slm_show_call(oracle, &buf, i, &view->results.calls[i],
			      &view->contents, orders, arena);
		lines[i] = slm_show_take(&buf, arena);
		if (!lines[i])
			lines = NULL;
	}
	slm_buf_deinit(&buf);
	return lines;
}

bool slm_outcome_make(const struct slm_oracle *oracle,
		      const struct slm_view *view,
		      const struct slm_order *orders, bool *const *differs,
		      struct slm_arena *arena, struct slm_outcome *out)
{
	const struct slm_canonical *contents = &view->contents;
	struct slm_table *tables =
		slm_arena_zalloc(arena, contents->ntables, sizeof(*tables));

	if (!tables)
		return false;
	for (uint32_t i = 0; i < contents->ntables; i++)
		if (!make_table(contents, orders, i,
				differs ? differs[i] : NULL, arena, &tables[i]))
			return false;
	out->members = view->results.members;
	out->failed = view->results.failed;
	out->tables = tables;
	out->ntables = contents->ntables;
	out->results = make_results(oracle, view, orders, arena);
	return out->results != NULL;
}
