/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a run differs from the nearest serial run. Nearest is the one with the
 * fewest differing rows and steps; unless the contents themselves are wrong,
 * one with the same contents is nearer than any other, so that what is told is
 * what made the class. Of equally near ones the first added wins.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "oracle/internal.h"

/* Everything explaining one run needs. */
struct explaining {
	const struct slm_oracle *oracle;
	struct slm_arena *scratch, *arena;
	const struct slm_view *actual;
	const struct slm_order *actual_order;
	bool **actual_differs;		 /* per table and row */
	uint32_t members;		 /* survivors: whose results count */
	const struct slm_serial *serial; /* the nearest */
	struct slm_view expected;
	const struct slm_order *expected_order;
	bool **expected_differs;
	struct slm_difference *differences;
	uint32_t ndifferences;
	struct slm_buf buf;
};

/* ---- Rows ------------------------------------------------------------- */

struct named_row {
	uint64_t name, row;
};

static int compare_named(const void *a, const void *b)
{
	const struct named_row *x = a, *y = b;

	if (x->name != y->name)
		return x->name > y->name ? 1 : -1;
	return (x->row > y->row) - (x->row < y->row);
}

static struct named_row *sort_names(const struct slm_canonical_table *table,
				    struct slm_arena *arena)
{
	uint64_t nrows = table ? table->table->nrows : 0;
	struct named_row *list = slm_arena_zalloc(arena, nrows, sizeof(*list));

	for (uint64_t row = 0; list && row < nrows; row++) {
		list[row].name = table->names[row];
		list[row].row = row;
	}
	if (list)
		qsort(list, nrows, sizeof(*list), compare_named);
	return list;
}

/*
 * Marks what is in one table and not in the other, as multisets of names; one
 * of the tables may be absent (NULL). *count grows by the larger number of the
 * two sides: a changed row is one difference.
 */
static bool mark_differing(const struct slm_canonical_table *a,
			   const struct slm_canonical_table *b,
			   struct slm_arena *arena, bool *differs_a,
			   bool *differs_b, uint64_t *count)
{
	uint64_t na = a ? a->table->nrows : 0, nb = b ? b->table->nrows : 0;
	uint64_t i = 0, j = 0, extra = 0, missing = 0;
	struct named_row *x = sort_names(a, arena), *y = sort_names(b, arena);

	if (!x || !y)
		return false;
	while (i < na || j < nb) {
		if (i < na && j < nb && x[i].name == y[j].name) {
			i++;
			j++;
		} else if (j == nb || (i < na && x[i].name < y[j].name)) {
			differs_a[x[i++].row] = true;
			extra++;
		} else {
			differs_b[y[j++].row] = true;
			missing++;
		}
	}
	*count += extra > missing ? extra : missing;
	return true;
}

static bool **make_flags(const struct slm_canonical *contents,
			 struct slm_arena *arena)
{
	bool **flags =
		slm_arena_zalloc(arena, contents->ntables, sizeof(*flags));

	for (uint32_t i = 0; flags && i < contents->ntables; i++) {
		flags[i] = slm_arena_zalloc(arena,
					    contents->tables[i].table->nrows,
					    sizeof(**flags));
		if (!flags[i])
			return NULL;
	}
	return flags;
}

/* The index of the table of that name, or ntables. */
static uint32_t find_table(const struct slm_canonical *contents,
			   const char *name)
{
	uint32_t i = 0;

	while (i < contents->ntables &&
	       strcmp(contents->tables[i].table->name, name) != 0)
		i++;
	return i;
}

/* Marks all rows by which actual and expected differ. */
static bool mark_contents(const struct slm_canonical *a,
			  const struct slm_canonical *b,
			  struct slm_arena *arena, bool **differs_a,
			  bool **differs_b, uint64_t *count)
{
	for (uint32_t i = 0; i < a->ntables; i++) {
		uint32_t j = find_table(b, a->tables[i].table->name);
		bool both = j < b->ntables;

		if (!a->tables[i].ignored &&
		    !mark_differing(&a->tables[i], both ? &b->tables[j] : NULL,
				    arena, differs_a[i],
				    both ? differs_b[j] : NULL, count))
			return false;
	}
	for (uint32_t j = 0; j < b->ntables; j++)
		if (!b->tables[j].ignored &&
		    find_table(a, b->tables[j].table->name) == a->ntables &&
		    !mark_differing(NULL, &b->tables[j], arena, NULL,
				    differs_b[j], count))
			return false;
	return true;
}

/* ---- Steps ------------------------------------------------------------ */

/* The n-th time (from 0) that the call took this step, or NULL. */
static const struct slm_taken *nth_taken(const struct slm_call_result *call,
					 uint32_t step, uint32_t n)
{
	for (uint32_t i = 0; i < call->ntaken; i++)
		if (call->taken[i].step == step && n-- == 0)
			return &call->taken[i];
	return NULL;
}

/* Which time it is that the call takes the step of taken[index]. */
static uint32_t occurrence(const struct slm_call_result *call, uint32_t index)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < index; i++)
		n += call->taken[i].step == call->taken[index].step;
	return n;
}

typedef bool (*step_fn)(struct explaining *ex, uint32_t call,
			const struct slm_taken *actual,
			const struct slm_taken *expected);

/* Calls fn for each step of a survivor that differs; one may be NULL. The
 * steps of programs are passed over. */
static bool each_step(struct explaining *ex, const struct slm_results *a,
		      const struct slm_results *b, step_fn fn)
{
	for (uint32_t call = 0; call < ex->oracle->config.ncalls; call++) {
		const struct slm_call_result *x = &a->calls[call];
		const struct slm_call_result *y = &b->calls[call];

		if (!(ex->members & (1u << call)) || x->program)
			continue;
		for (uint32_t i = 0; i < x->ntaken; i++) {
			const struct slm_taken *taken = &x->taken[i];
			const struct slm_taken *other =
				nth_taken(y, taken->step, occurrence(x, i));

			if ((!other || other->digest != taken->digest) &&
			    !fn(ex, call, taken, other))
				return false;
		}
		for (uint32_t i = 0; i < y->ntaken; i++)
			if (!nth_taken(x, y->taken[i].step, occurrence(y, i)) &&
			    !fn(ex, call, NULL, &y->taken[i]))
				return false;
	}
	return true;
}

static bool count_step(struct explaining *ex, uint32_t call,
		       const struct slm_taken *actual,
		       const struct slm_taken *expected)
{
	(void)call;
	(void)actual;
	(void)expected;
	ex->ndifferences++;
	return true;
}

/* How many survivors that are programs gave something else. */
static uint32_t count_programs(const struct explaining *ex,
			       const struct slm_results *serial)
{
	const struct slm_results *actual = &ex->actual->results;
	uint32_t count = 0;

	for (uint32_t call = 0; call < ex->oracle->config.ncalls; call++)
		count += ((ex->members >> call) & 1) &&
			 actual->calls[call].program &&
			 actual->calls[call].digest !=
				 serial->calls[call].digest;
	return count;
}

/* ---- The nearest serial run ------------------------------------------- */

/* How far a serial run is; sets *rows and the number of steps that differ. */
static bool measure(struct explaining *ex, const struct slm_serial *serial,
		    uint64_t *rows, uint64_t *steps)
{
	const struct slm_canonical *actual = &ex->actual->contents;
	struct slm_view view;
	bool **a, **b;

	*rows = 0;
	if (serial->contents != actual->digest) {
		if (!slm_oracle_view(ex->oracle, &serial->run, ex->scratch,
				     &view))
			return false;
		a = make_flags(actual, ex->scratch);
		b = make_flags(&view.contents, ex->scratch);
		if (!a || !b ||
		    !mark_contents(actual, &view.contents, ex->scratch, a, b,
				   rows))
			return false;
	}
	ex->ndifferences = 0;
	each_step(ex, &ex->actual->results, &serial->results, count_step);
	*steps = ex->ndifferences + count_programs(ex, &serial->results);
	ex->ndifferences = 0;
	return true;
}

static bool find_nearest(struct explaining *ex, enum slm_class class)
{
	/* Rows weigh so much that steps only decide between equals. */
	uint64_t weight = class <= SLM_CLASS_CONTENTS ? 1 : UINT32_MAX;
	uint64_t best = UINT64_MAX;

	for (uint32_t i = 0; i < ex->oracle->nserials; i++) {
		const struct slm_serial *serial = &ex->oracle->serials[i];
		uint64_t rows, steps, distance;

		if (serial->run.members != ex->members)
			continue;
		if (!measure(ex, serial, &rows, &steps))
			return false;
		if (rows > UINT32_MAX)
			rows = UINT32_MAX;
		distance = rows * weight + steps;
		if (ex->serial && distance >= best)
			continue;
		best = distance;
		ex->serial = serial;
	}
	return ex->serial != NULL;
}

/* ---- Telling ---------------------------------------------------------- */

static bool add_difference(struct explaining *ex, const char *where,
			   const char *actual, const char *expected)
{
	struct slm_difference *difference;

	assert(ex->ndifferences < SLM_DIFFERENCES_MAX);
	difference = &ex->differences[ex->ndifferences++];
	difference->where = where;
	difference->actual = actual;
	difference->expected = expected;
	return where && (actual || expected);
}

static bool full(const struct explaining *ex)
{
	return ex->ndifferences == SLM_DIFFERENCES_MAX;
}

/* A row of one of the two contents. */
struct place {
	const struct slm_canonical *contents;
	const struct slm_order *orders;
	uint32_t table;
	uint64_t row; /* SLM_NO_ROW: there is none */
};

static bool has_null(const struct place *place, uint32_t column)
{
	const struct slm_contents_table *from;

	if (place->row == SLM_NO_ROW)
		return false;
	from = place->contents->tables[place->table].table;
	return column < from->ncolumns &&
	       from->values[place->row * from->ncolumns + column].kind ==
		       SLM_NULL;
}

/* A row as "id=1 bal=110". Of masked columns only NULL is told, and what is
 * NULL in the other row that it is compared with. */
static const char *row_text(struct explaining *ex, const struct place *place,
			    const struct place *other)
{
	const struct slm_canonical_table *from =
		&place->contents->tables[place->table];
	struct slm_value value;

	for (uint32_t i = 0; i < from->table->ncolumns; i++) {
		if (from->hiding[i] == SLM_HIDDEN ||
		    (from->hiding[i] == SLM_NULLS && !has_null(place, i) &&
		     !has_null(other, i)))
			continue;
		if (!slm_order_cell(place->contents, place->orders,
				    place->table, place->row, i, ex->scratch,
				    &value))
			return NULL;
		slm_buf_printf(&ex->buf, "%s%s=", ex->buf.size ? " " : "",
			       from->table->columns[i]);
		slm_show_value(&ex->buf, &value);
	}
	return slm_show_take(&ex->buf, ex->arena);
}

/* The column by whose value two rows are the same row: the key, else the
 * first. */
static uint32_t pairing_column(const struct slm_contents_table *table)
{
	return table->key_column >= 0 ? (uint32_t)table->key_column : 0;
}

/* The digest of what pairs a row, or 0 for a row that is not to be paired. */
static uint64_t pairing_value(const struct slm_canonical_table *table,
			      uint64_t row)
{
	const struct slm_contents_table *from = table->table;
	uint32_t column = pairing_column(from);

	if (from->ncolumns == 0 || table->hiding[column] ||
	    slm_canonical_generated(from, row) ||
	    (table->target[column] && table->target[column][row] != SLM_NO_ROW))
		return 0;
	return slm_canonical_value(
		&from->values[row * from->ncolumns + column]);
}

/* The differing expected row that this actual row was made from, if any; each
 * is given away once. */
static uint64_t take_partner(const struct slm_canonical_table *actual,
			     uint64_t row,
			     const struct slm_canonical_table *expected,
			     const struct slm_order *order, bool *left)
{
	uint64_t value = pairing_value(actual, row);

	for (uint64_t i = 0; value && i < expected->table->nrows; i++) {
		uint64_t other = order->rows[i];

		if (!left[other] || pairing_value(expected, other) != value)
			continue;
		left[other] = false;
		return other;
	}
	return SLM_NO_ROW;
}

static struct place actual_place(const struct explaining *ex, uint32_t table,
				 uint64_t row)
{
	return (struct place){ &ex->actual->contents, ex->actual_order, table,
			       row };
}

static struct place expected_place(const struct explaining *ex, uint32_t table,
				   uint64_t row)
{
	return (struct place){ &ex->expected.contents, ex->expected_order,
			       table, row };
}

static bool tell_extra(struct explaining *ex, uint32_t table, uint32_t other,
		       bool *left)
{
	const struct slm_canonical *a = &ex->actual->contents;
	const struct slm_canonical *b = &ex->expected.contents;
	const struct slm_contents_table *from = a->tables[table].table;
	const char *where = slm_arena_strdup(ex->arena, from->name);

	for (uint64_t i = 0; i < from->nrows && !full(ex); i++) {
		uint64_t row = ex->actual_order[table].rows[i];
		struct place mine = actual_place(ex, table, row);
		struct place partner = expected_place(ex, other, SLM_NO_ROW);
		const char *actual, *expected = NULL;

		if (!ex->actual_differs[table][row])
			continue;
		if (left)
			partner.row = take_partner(&a->tables[table], row,
						   &b->tables[other],
						   &ex->expected_order[other],
						   left);
		actual = row_text(ex, &mine, &partner);
		if (partner.row != SLM_NO_ROW)
			expected = row_text(ex, &partner, &mine);
		if (!actual || (partner.row != SLM_NO_ROW && !expected) ||
		    !add_difference(ex, where, actual, expected))
			return false;
	}
	return where != NULL;
}

static bool tell_missing(struct explaining *ex, uint32_t table,
			 const bool *left)
{
	const struct slm_canonical *b = &ex->expected.contents;
	const struct slm_contents_table *from = b->tables[table].table;
	const char *where = slm_arena_strdup(ex->arena, from->name);
	const struct place nothing = { .row = SLM_NO_ROW };

	for (uint64_t i = 0; i < from->nrows && !full(ex); i++) {
		uint64_t row = ex->expected_order[table].rows[i];
		struct place place = expected_place(ex, table, row);

		if (left[row] &&
		    !add_difference(ex, where, NULL,
				    row_text(ex, &place, &nothing)))
			return false;
	}
	return where != NULL;
}

/* The expected row that reads like this actual one, neither having a
 * partner; or the number of differences. */
static uint32_t find_equal(const struct explaining *ex, uint32_t index,
			   const bool *dropped)
{
	const struct slm_difference *d = &ex->differences[index];
	uint32_t i = 0;

	if (!d->actual || d->expected)
		return ex->ndifferences;
	while (i < ex->ndifferences &&
	       (dropped[i] || ex->differences[i].actual ||
		strcmp(ex->differences[i].where, d->where) != 0 ||
		strcmp(ex->differences[i].expected, d->actual) != 0))
		i++;
	return i;
}

/* Rows that differ only by which rows refer to them read the same on both
 * sides. The referring rows tell it, so these are left out, unless that would
 * leave nothing. */
static void drop_equal(struct explaining *ex)
{
	bool dropped[SLM_DIFFERENCES_MAX] = { false };
	uint32_t left = ex->ndifferences, kept = 0;

	for (uint32_t i = 0; i < ex->ndifferences; i++) {
		uint32_t other = find_equal(ex, i, dropped);

		if (other == ex->ndifferences)
			continue;
		dropped[i] = dropped[other] = true;
		left -= 2;
	}
	if (left == 0)
		return;
	for (uint32_t i = 0; i < ex->ndifferences; i++)
		if (!dropped[i])
			ex->differences[kept++] = ex->differences[i];
	ex->ndifferences = kept;
}

static bool tell_contents(struct explaining *ex)
{
	const struct slm_canonical *a = &ex->actual->contents;
	const struct slm_canonical *b = &ex->expected.contents;

	for (uint32_t i = 0; i < a->ntables; i++) {
		uint32_t j = find_table(b, a->tables[i].table->name);
		uint64_t nrows = j < b->ntables ? b->tables[j].table->nrows : 0;
		bool *left =
			slm_arena_zalloc(ex->scratch, nrows, sizeof(*left));

		if (!left)
			return false;
		if (nrows)
			memcpy(left, ex->expected_differs[j], nrows);
		if (!tell_extra(ex, i, j, nrows ? left : NULL))
			return false;
		if (nrows && !tell_missing(ex, j, left))
			return false;
	}
	for (uint32_t j = 0; j < b->ntables; j++)
		if (find_table(a, b->tables[j].table->name) == a->ntables &&
		    !tell_missing(ex, j, ex->expected_differs[j]))
			return false;
	return true;
}

static const char *taken_text(struct explaining *ex, uint32_t call,
			      const struct slm_taken *taken)
{
	slm_show_taken(ex->oracle, &ex->buf, call, taken);
	return slm_show_take(&ex->buf, ex->arena);
}

static bool tell_step(struct explaining *ex, uint32_t call,
		      const struct slm_taken *actual,
		      const struct slm_taken *expected)
{
	const struct slm_trace_call *from = &ex->oracle->config.calls[call];
	uint32_t step = actual ? actual->step : expected->step;
	const char *where, *x = NULL, *y = NULL;

	if (full(ex))
		return true;
	where = slm_arena_printf(ex->arena, "%s: step %s", from->name,
				 from->steps[step].name);
	if (actual)
		x = taken_text(ex, call, actual);
	if (expected)
		y = taken_text(ex, call, expected);
	if ((actual && !x) || (expected && !y))
		return false;
	return add_difference(ex, where, x, y);
}

/* ---- What programs gave ------------------------------------------------ */

/* One side of a comparison. */
struct side {
	const struct slm_call_result *result;
	const struct slm_canonical *contents;
	const struct slm_order *orders;
};

/* A part as text; behind the status stands why the call failed. */
static const char *part_text(struct explaining *ex, uint32_t call,
			     const struct side *side, uint32_t part)
{
	struct slm_value value;
	size_t size;

	if (!slm_given_value(ex->oracle, call, side->result->given, part,
			     side->contents, side->orders, ex->scratch, &value))
		return NULL;
	slm_show_value(&ex->buf, &value);
	if (part == 0) {
		size = ex->buf.size;
		slm_buf_puts(&ex->buf, " (");
		slm_show_reason(&ex->buf, side->result);
		if (ex->buf.size == size + 2)
			ex->buf.size = size;
		else
			slm_buf_putc(&ex->buf, ')');
	}
	return slm_show_take(&ex->buf, ex->arena);
}

/* A part of the actual or the expected side, the other of which may lack it. */
static bool tell_part(struct explaining *ex, uint32_t call,
		      const struct side *actual, uint32_t part,
		      const struct side *expected, uint32_t other)
{
	const struct slm_result *x = actual->result->given;
	const struct slm_result *y = expected->result->given;
	bool in_x = part < slm_given_parts(x),
	     in_y = other < slm_given_parts(y);
	const char *a = NULL, *b = NULL;

	if (full(ex) ||
	    (in_x && in_y &&
	     slm_given_part(ex->oracle, call, x, part, actual->contents) ==
		     slm_given_part(ex->oracle, call, y, other,
				    expected->contents)))
		return true;
	if (in_x)
		a = part_text(ex, call, actual, part);
	if (in_y)
		b = part_text(ex, call, expected, other);
	if ((in_x && !a) || (in_y && !b))
		return false;
	return add_difference(
		ex,
		slm_arena_printf(ex->arena, "%s: %s",
				 ex->oracle->config.calls[call].name,
				 in_x ? x->rows.columns[part] :
					y->rows.columns[other]),
		a, b);
}

static bool tell_program(struct explaining *ex, uint32_t call)
{
	const struct side actual = { &ex->actual->results.calls[call],
				     &ex->actual->contents, ex->actual_order };
	const struct side expected = { &ex->expected.results.calls[call],
				       &ex->expected.contents,
				       ex->expected_order };
	const struct slm_result *x = actual.result->given;
	const struct slm_result *y = expected.result->given;
	uint32_t n = slm_given_parts(x), m = slm_given_parts(y);

	for (uint32_t i = 0; i < n; i++)
		if (!tell_part(ex, call, &actual, i, &expected,
			       slm_given_find(y, x->rows.columns[i])))
			return false;
	for (uint32_t i = 0; i < m; i++)
		if (slm_given_find(x, y->rows.columns[i]) == n &&
		    !tell_part(ex, call, &actual, n, &expected, i))
			return false;
	return true;
}

static bool tell_programs(struct explaining *ex)
{
	for (uint32_t call = 0; call < ex->oracle->config.ncalls; call++)
		if (((ex->members >> call) & 1) &&
		    ex->actual->results.calls[call].program &&
		    !tell_program(ex, call))
			return false;
	return true;
}

/* Fills in what the nearest serial run says. */
static bool tell(struct explaining *ex)
{
	uint64_t count = 0;

	ex->expected_differs = NULL;
	if (!slm_oracle_view(ex->oracle, &ex->serial->run, ex->scratch,
			     &ex->expected))
		return false;
	ex->expected_order =
		slm_order_make(&ex->expected.contents, ex->scratch);
	ex->expected_differs = make_flags(&ex->expected.contents, ex->scratch);
	ex->differences = slm_arena_zalloc(ex->arena, SLM_DIFFERENCES_MAX,
					   sizeof(*ex->differences));
	if (!ex->expected_order || !ex->expected_differs || !ex->differences)
		return false;
	if (!mark_contents(&ex->actual->contents, &ex->expected.contents,
			   ex->scratch, ex->actual_differs,
			   ex->expected_differs, &count) ||
	    !tell_contents(ex))
		return false;
	drop_equal(ex);
	return each_step(ex, &ex->actual->results, &ex->expected.results,
			 tell_step) &&
	       tell_programs(ex);
}

/* The first check that failed. */
static bool tell_check(const struct slm_run *run, struct slm_arena *arena,
		       struct slm_finding *out)
{
	if (run->nchecks == 0)
		return true;
	out->check = slm_arena_strdup(arena, run->checks[0].name);
	return out->check &&
	       slm_copy_rows(arena, &run->checks[0].rows, SLM_TRACE_ROWS_MAX,
			     &out->check_rows);
}

static bool explain(struct explaining *ex, const struct slm_group *group,
		    struct slm_finding *out)
{
	ex->actual_order = slm_order_make(&ex->actual->contents, ex->scratch);
	ex->actual_differs = make_flags(&ex->actual->contents, ex->scratch);
	if (!ex->actual_order || !ex->actual_differs ||
	    !find_nearest(ex, out->class) || !tell(ex))
		return false;
	out->nearest = slm_arena_strdup(ex->arena, ex->serial->order);
	out->differences = ex->differences;
	out->ndifferences = ex->ndifferences;
	return out->nearest && tell_check(ex->actual->run, ex->arena, out) &&
	       slm_outcome_make(ex->oracle, ex->actual, ex->actual_order,
				ex->actual_differs, ex->arena, &out->outcome) &&
	       slm_anomaly_name(ex->oracle, group, ex->actual, ex->scratch,
				ex->arena, out);
}

enum sqloom_status slm_oracle_explain(struct slm_oracle *oracle,
				      const struct slm_run *run,
				      struct slm_arena *arena,
				      struct slm_finding *out,
				      struct sqloom_error *err)
{
	uint32_t members = slm_oracle_survivors(oracle, run);
	const struct slm_group *group = slm_oracle_group(oracle, members);
	struct slm_finding finding = *out;
	struct slm_view view;
	struct explaining ex = {
		.oracle = oracle,
		.scratch = &oracle->scratch,
		.arena = arena,
		.actual = &view,
		.members = members,
	};
	bool done;

	if (!group || slm_oracle_lacks(oracle, members))
		return slm_error_set(err, SQLOOM_INTERNAL,
				     "a run was explained before the serial "
				     "runs of its calls (mask %#x) were known; "
				     "please report this",
				     members);
	slm_arena_clear(&oracle->scratch);
	if (!slm_oracle_view(oracle, run, &oracle->scratch, &view))
		return slm_error_nomem(err);
	finding.class = slm_judge_class(oracle, group, &view);
	finding.name = finding.cause = finding.check = NULL;
	memset(&finding.check_rows, 0, sizeof(finding.check_rows));
	slm_buf_init(&ex.buf);
	done = explain(&ex, group, &finding);
	slm_buf_deinit(&ex.buf);
	if (!done)
		return slm_error_nomem(err);
	*out = finding;
	return SQLOOM_OK;
}
