/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What two runs of one serial order teach. They differ in nothing but the
 * clock and the random numbers, so a column whose values differ between them
 * is unstable and is masked; so is a part of what a program gives. Anything
 * else that differs (numbers of rows, steps, errors) means that the calls are
 * not deterministic, which is noted: then no comparison with serial runs can be
 * relied upon. The statements of a program may differ.
 */
#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "oracle/internal.h"

/* The two runs under comparison. */
struct pair {
	struct slm_oracle *oracle;
	const char *order;
	struct slm_view first, again;
	bool grown;  /* a mask was added */
	bool failed; /* memory was out */
	bool noted;  /* a difference that cannot be masked was noted */
};

/* Masks a column, or more of it than before. */
static bool add_column_mask(struct slm_oracle *oracle, const char *table,
			    const char *column, enum slm_hiding hiding)
{
	struct slm_column_mask mask = { .hiding = hiding };

	for (uint32_t i = 0; i < oracle->ncolumn_masks; i++)
		if (strcmp(oracle->column_masks[i].table, table) == 0 &&
		    strcmp(oracle->column_masks[i].column, column) == 0) {
			oracle->column_masks[i].hiding = hiding;
			return true;
		}
	mask.table = slm_arena_strdup(&oracle->keep, table);
	mask.column = slm_arena_strdup(&oracle->keep, column);
	if (!mask.table || !mask.column ||
	    !slm_oracle_grow(&oracle->column_masks, oracle->ncolumn_masks,
			     &oracle->column_masks_room, sizeof(mask)))
		return false;
	oracle->column_masks[oracle->ncolumn_masks++] = mask;
	return true;
}

static bool add_result_mask(struct slm_oracle *oracle,
			    const struct slm_result_mask *place)
{
	struct slm_result_mask mask = *place;

	for (uint32_t i = 0; i < oracle->nresult_masks; i++) {
		struct slm_result_mask *old = &oracle->result_masks[i];

		if (old->call == mask.call && old->step == mask.step &&
		    old->statement == mask.statement &&
		    old->column == mask.column) {
			old->hiding = mask.hiding;
			return true;
		}
	}
	mask.name = slm_arena_strdup(&oracle->keep, place->name);
	if (!mask.name ||
	    !slm_oracle_grow(&oracle->result_masks, oracle->nresult_masks,
			     &oracle->result_masks_room, sizeof(mask)))
		return false;
	oracle->result_masks[oracle->nresult_masks++] = mask;
	return true;
}

/* A part of what a program gives; the mask only grows. */
static bool add_given_mask(struct slm_oracle *oracle, uint32_t call,
			   const char *name, enum slm_hiding hiding)
{
	struct slm_given_mask mask = { .call = call, .hiding = hiding };

	for (uint32_t i = 0; i < oracle->ngiven_masks; i++) {
		struct slm_given_mask *old = &oracle->given_masks[i];

		if (old->call == call && strcmp(old->name, name) == 0) {
			old->hiding = hiding;
			return true;
		}
	}
	mask.name = slm_arena_strdup(&oracle->keep, name);
	if (!mask.name ||
	    !slm_oracle_grow(&oracle->given_masks, oracle->ngiven_masks,
			     &oracle->given_masks_room, sizeof(mask)))
		return false;
	oracle->given_masks[oracle->ngiven_masks++] = mask;
	return true;
}

/* Notes, once, that the calls are not deterministic. */
static void note(struct pair *pair, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void note(struct pair *pair, const char *fmt, ...)
{
	struct slm_oracle *oracle = pair->oracle;
	const char *what, *text = NULL;
	va_list args;

	pair->noted = true;
	oracle->unstable = true;
	va_start(args, fmt);
	what = slm_arena_vprintf(&oracle->scratch, fmt, args);
	va_end(args);
	if (what)
		text = slm_arena_printf(
			&oracle->keep,
			"the calls are not deterministic: in two equal serial "
			"runs (%s), %s",
			pair->order, what);
	for (uint32_t i = 0; text && i < oracle->nnotes; i++)
		if (strcmp(oracle->notes[i], text) == 0)
			return;
	if (!text ||
	    !slm_oracle_grow(&oracle->notes, oracle->nnotes,
			     &oracle->notes_room, sizeof(*oracle->notes))) {
		pair->failed = true;
		return;
	}
	oracle->notes[oracle->nnotes++] = text;
}

/* ---- Contents --------------------------------------------------------- */

static void mask_column(struct pair *pair,
			const struct slm_canonical_table *table,
			uint32_t column, enum slm_hiding hiding)
{
	pair->grown = true;
	if (!add_column_mask(pair->oracle, table->table->name,
			     table->table->columns[column], hiding))
		pair->failed = true;
}

static void compare_table(struct pair *pair,
			  const struct slm_canonical_table *a,
			  const struct slm_canonical_table *b)
{
	if (a->ignored || a->digest == b->digest)
		return;
	if (a->table->nrows != b->table->nrows) {
		note(pair, "%s has %llu rows, then %llu", a->table->name,
		     (unsigned long long)a->table->nrows,
		     (unsigned long long)b->table->nrows);
		return;
	}
	for (uint32_t i = 0; i < a->table->ncolumns; i++) {
		if (a->hiding[i] == SLM_HIDDEN ||
		    slm_canonical_column(a, i) == slm_canonical_column(b, i))
			continue;
		mask_column(pair, a, i,
			    slm_canonical_nulls(a, i) ==
					    slm_canonical_nulls(b, i) ?
				    SLM_NULLS :
				    SLM_HIDDEN);
	}
}

static bool same_columns(const struct slm_contents_table *a,
			 const struct slm_contents_table *b)
{
	if (strcmp(a->name, b->name) != 0 || a->ncolumns != b->ncolumns)
		return false;
	for (uint32_t i = 0; i < a->ncolumns; i++)
		if (strcmp(a->columns[i], b->columns[i]) != 0)
			return false;
	return true;
}

static void compare_contents(struct pair *pair)
{
	const struct slm_canonical *a = &pair->first.contents;
	const struct slm_canonical *b = &pair->again.contents;

	if (a->digest == b->digest)
		return;
	if (a->ntables != b->ntables) {
		note(pair, "there are %u tables, then %u", a->ntables,
		     b->ntables);
		return;
	}
	for (uint32_t i = 0; i < a->ntables; i++) {
		if (!same_columns(a->tables[i].table, b->tables[i].table))
			note(pair, "the columns of %s differ",
			     a->tables[i].table->name);
		else
			compare_table(pair, &a->tables[i], &b->tables[i]);
	}
}

/* ---- Results ---------------------------------------------------------- */

static const char *step_name(const struct pair *pair, uint32_t call,
			     uint32_t step)
{
	return pair->oracle->config.calls[call].steps[step].name;
}

static const char *call_name(const struct pair *pair, uint32_t call)
{
	return pair->oracle->config.calls[call].name;
}

static const struct slm_value *value_at(const struct slm_rows *rows,
					uint32_t row, uint32_t column)
{
	return &rows->values[(size_t)row * rows->ncolumns + column];
}

/* Of a column as a multiset, as far as it is compared. */
static uint64_t digest_column(const struct slm_rows *rows, uint32_t column,
			      enum slm_hiding hiding)
{
	uint64_t sum = 0;

	for (uint32_t row = 0; row < rows->nkept; row++) {
		const struct slm_value *value = value_at(rows, row, column);

		if (!slm_results_hides(hiding, value))
			sum += slm_hash_mix(6, slm_canonical_value(value));
	}
	return sum;
}

static void mask_result(struct pair *pair, const struct slm_result_mask *place)
{
	pair->grown = true;
	if (!add_result_mask(pair->oracle, place))
		pair->failed = true;
}

static void compare_rows(struct pair *pair, struct slm_result_mask place,
			 const struct slm_rows *a, const struct slm_rows *b)
{
	for (uint32_t i = 0; i < a->ncolumns; i++) {
		enum slm_hiding hiding =
			slm_results_hiding(pair->oracle, place.call, place.step,
					   place.statement, i);

		if (digest_column(a, i, hiding) == digest_column(b, i, hiding))
			continue;
		place.column = i;
		place.name = a->columns[i];
		place.hiding = digest_column(a, i, SLM_NULLS) ==
					       digest_column(b, i, SLM_NULLS) ?
				       SLM_NULLS :
				       SLM_HIDDEN;
		mask_result(pair, &place);
	}
}

/* Rows that ask for an order of their own, as ORDER BY random() does. */
static void compare_order(struct pair *pair, struct slm_result_mask place,
			  const struct slm_rows *a, const struct slm_rows *b)
{
	const struct slm_oracle *oracle = pair->oracle;
	uint64_t digests[2][2];

	if (!slm_results_ordered(oracle, place.call, place.step,
				 place.statement, a))
		return;
	for (int ordered = 0; ordered < 2; ordered++) {
		digests[0][ordered] =
			slm_results_rows(oracle, place.call, place.step,
					 place.statement, a, ordered);
		digests[1][ordered] =
			slm_results_rows(oracle, place.call, place.step,
					 place.statement, b, ordered);
	}
	if (digests[0][1] == digests[1][1] || digests[0][0] != digests[1][0])
		return;
	place.column = SLM_COLUMN_ORDER;
	place.name = "";
	place.hiding = SLM_HIDDEN;
	mask_result(pair, &place);
}

static void compare_values(struct pair *pair, uint32_t call,
			   const struct slm_taken *a, const struct slm_taken *b)
{
	struct slm_result_mask place = { .call = call, .step = a->step };
	const struct slm_result *x = a->result, *y = b->result;

	for (; x && y; x = x->next, y = y->next, place.statement++) {
		if (x->rows.nrows != y->rows.nrows) {
			note(pair, "%s: step %s returns %llu rows, then %llu",
			     call_name(pair, call),
			     step_name(pair, call, a->step),
			     (unsigned long long)x->rows.nrows,
			     (unsigned long long)y->rows.nrows);
			return;
		}
		if (x->rows.ncolumns != y->rows.ncolumns ||
		    x->changes != y->changes)
			break;
		compare_rows(pair, place, &x->rows, &y->rows);
		compare_order(pair, place, &x->rows, &y->rows);
	}
	if (x || y)
		note(pair, "%s: step %s returns something else",
		     call_name(pair, call), step_name(pair, call, a->step));
}

static bool same_error(const struct slm_result *a, const struct slm_result *b)
{
	if (!a || !b)
		return a == b;
	if (a->error != b->error || !a->code != !b->code)
		return false;
	return !a->code || strcmp(a->code, b->code) == 0;
}

static void compare_taken(struct pair *pair, uint32_t call,
			  const struct slm_taken *a, const struct slm_taken *b)
{
	const char *who = call_name(pair, call);
	const char *step = step_name(pair, call, a->step);

	if (a->step != b->step)
		note(pair, "%s takes step %s, then step %s", who, step,
		     step_name(pair, call, b->step));
	else if (a->skipped != b->skipped)
		note(pair, "%s: step %s is skipped only once", who, step);
	else if (!same_error(a->error, b->error))
		note(pair, "%s: step %s fails only once, or with another error",
		     who, step);
	else if (a->observed)
		compare_values(pair, call, a, b);
}

/* ---- Programs --------------------------------------------------------- */

static const struct slm_value *part_value(const struct slm_result *given,
					  uint32_t part)
{
	return &given->rows.values[part];
}

/* A part that both runs have. */
static void compare_part(struct pair *pair, uint32_t call, uint32_t part,
			 uint32_t other)
{
	struct slm_oracle *oracle = pair->oracle;
	const struct slm_result *a = pair->first.results.calls[call].given;
	const struct slm_result *b = pair->again.results.calls[call].given;
	bool null_a = part_value(a, part)->kind == SLM_NULL;
	bool null_b = part_value(b, other)->kind == SLM_NULL;

	if (slm_given_part(oracle, call, a, part, &pair->first.contents) ==
	    slm_given_part(oracle, call, b, other, &pair->again.contents))
		return;
	if (part < slm_given_status_parts(a)) {
		note(pair, "%s ends with another %s", call_name(pair, call),
		     a->rows.columns[0]);
		return;
	}
	pair->grown = true;
	if (!add_given_mask(oracle, call, a->rows.columns[part],
			    null_a == null_b ? SLM_NULLS : SLM_HIDDEN))
		pair->failed = true;
}

static void compare_program(struct pair *pair, uint32_t call)
{
	const struct slm_call_result *a = &pair->first.results.calls[call];
	const struct slm_call_result *b = &pair->again.results.calls[call];
	uint32_t nparts = slm_given_parts(a->given);
	uint32_t nothers = slm_given_parts(b->given);

	if (a->ok != b->ok) {
		note(pair, "%s fails only once", call_name(pair, call));
		return;
	}
	if (!a->ok && !same_error(a->error, b->error)) {
		note(pair, "%s fails with another error",
		     call_name(pair, call));
		return;
	}
	for (uint32_t i = 0; i < nparts; i++) {
		const char *name = a->given->rows.columns[i];
		uint32_t other = slm_given_find(b->given, name);

		if (other == nothers || nparts != nothers) {
			note(pair, "%s gives %u parts, then %u, or others",
			     call_name(pair, call), nparts, nothers);
			return;
		}
		compare_part(pair, call, i, other);
	}
}

static void compare_call(struct pair *pair, uint32_t call)
{
	const struct slm_call_result *a = &pair->first.results.calls[call];
	const struct slm_call_result *b = &pair->again.results.calls[call];

	if (a->program) {
		compare_program(pair, call);
		return;
	}
	for (uint32_t i = 0; i < a->ntaken && i < b->ntaken; i++) {
		compare_taken(pair, call, &a->taken[i], &b->taken[i]);
		if (pair->noted)
			return;
	}
	if (a->ntaken != b->ntaken)
		note(pair, "%s takes %u steps, then %u", call_name(pair, call),
		     a->ntaken, b->ntaken);
	else if (a->ok != b->ok)
		note(pair, "%s fails only once", call_name(pair, call));
}

/* ---- Both ------------------------------------------------------------- */

static bool view_both(struct pair *pair)
{
	struct slm_oracle *oracle = pair->oracle;
	const struct slm_run *first = pair->first.run;
	const struct slm_run *again = pair->again.run;

	return slm_oracle_view(oracle, first, &oracle->scratch, &pair->first) &&
	       slm_oracle_view(oracle, again, &oracle->scratch, &pair->again);
}

/* NULL or not NULL may go together with the other columns otherwise in each
 * run: then nothing is compared of the masked columns of that table. */
static void widen_tables(struct pair *pair)
{
	const struct slm_canonical *a = &pair->first.contents;
	const struct slm_canonical *b = &pair->again.contents;

	for (uint32_t i = 0; i < a->ntables && i < b->ntables; i++)
		for (uint32_t j = 0;
		     a->tables[i].digest != b->tables[i].digest &&
		     j < a->tables[i].table->ncolumns;
		     j++)
			if (a->tables[i].hiding[j] == SLM_NULLS)
				mask_column(pair, &a->tables[i], j, SLM_HIDDEN);
}

/* The same of what calls return. */
static void widen_results(struct pair *pair)
{
	for (uint32_t i = 0; i < pair->oracle->nresult_masks; i++) {
		struct slm_result_mask *mask = &pair->oracle->result_masks[i];

		if (mask->hiding != SLM_NULLS ||
		    pair->first.results.calls[mask->call].digest ==
			    pair->again.results.calls[mask->call].digest)
			continue;
		mask->hiding = SLM_HIDDEN;
		pair->grown = true;
	}
	for (uint32_t i = 0; i < pair->oracle->ngiven_masks; i++) {
		struct slm_given_mask *mask = &pair->oracle->given_masks[i];

		if (mask->hiding != SLM_NULLS ||
		    pair->first.results.calls[mask->call].seen ==
			    pair->again.results.calls[mask->call].seen)
			continue;
		mask->hiding = SLM_HIDDEN;
		pair->grown = true;
	}
}

/* Masking columns one by one was not enough if the two still differ. */
static void compare_masked(struct pair *pair)
{
	const struct slm_canonical *a = &pair->first.contents;
	const struct slm_canonical *b = &pair->again.contents;

	for (uint32_t i = 0; i < pair->oracle->config.ncalls; i++)
		if (pair->first.results.calls[i].digest !=
		    pair->again.results.calls[i].digest)
			note(pair,
			     pair->first.results.calls[i].program ?
				     "what %s gives differs in more than single "
				     "parts" :
				     "the rows that %s returns differ in more "
				     "than single columns",
			     call_name(pair, i));
	if (a->digest == b->digest)
		return;
	for (uint32_t i = 0; i < a->ntables && i < b->ntables; i++)
		if (a->tables[i].digest != b->tables[i].digest)
			note(pair,
			     "the rows of %s differ in more than single "
			     "columns",
			     a->tables[i].table->name);
}

bool slm_masks_learn(struct slm_oracle *oracle, const char *order,
		     const struct slm_run *first, const struct slm_run *again,
		     bool *grown)
{
	struct pair pair = { .oracle = oracle, .order = order };

	pair.first.run = first;
	pair.again.run = again;
	assert(first->members == again->members);
	if (!view_both(&pair) ||
	    !slm_given_learn_keys(oracle, &pair.first, &pair.grown) ||
	    !slm_given_learn_keys(oracle, &pair.again, &pair.grown) ||
	    (pair.grown && !view_both(&pair)))
		return false;
	/* Keys in what programs give are named by their rows, so by what is
	 * compared of these. */
	compare_contents(&pair);
	if (pair.failed || (pair.grown && !view_both(&pair)))
		return false;
	for (uint32_t i = 0; i < oracle->config.ncalls; i++)
		compare_call(&pair, i);
	*grown = pair.grown;
	if (pair.failed)
		return false;
	if (pair.noted)
		return true;
	if (pair.grown && !view_both(&pair))
		return false;
	widen_tables(&pair);
	widen_results(&pair);
	*grown = pair.grown;
	if (pair.failed || (pair.grown && !view_both(&pair)))
		return false;
	compare_masked(&pair);
	return !pair.failed;
}
