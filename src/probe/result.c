/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a statement returned, from the wire: struct slm_result out of
 * RowDescription, DataRow, CommandComplete and ErrorResponse. Part of the
 * dialog. Everything lives in the arena that the step's owner gave.
 *
 * Rows are counted and digested as they pass; the first ROWS_KEPT are kept,
 * with at most SLM_TRACE_VALUE_MAX bytes of each value.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "probe/dialog_internal.h"

#define ROWS_KEPT 1000
#define FIRST_ROWS 16

void slm_dialog_result_begin(struct dialog_result *result,
			     struct slm_arena *arena,
			     const struct slm_pg_step *parsed, size_t statement)
{
	*result = (struct dialog_result){ .arena = arena,
					  .parsed = parsed,
					  .statement = statement };
}

/* ---- Columns ----------------------------------------------------------- */

static bool begin_rows(struct dialog_result *result, unsigned ncolumns)
{
	struct slm_arena *arena = result->arena;

	result->open = true;
	result->ncolumns = ncolumns;
	result->nrows = result->kept = result->capacity = 0;
	result->sum = result->sequence = 0;
	result->values = NULL;
	result->names = slm_arena_zalloc(arena, (size_t)ncolumns + 1,
					 sizeof(*result->names));
	result->types = slm_arena_zalloc(arena, (size_t)ncolumns + 1,
					 sizeof(*result->types));
	result->formats = slm_arena_zalloc(arena, (size_t)ncolumns + 1,
					   sizeof(*result->formats));
	if (result->names && result->types && result->formats)
		return true;
	result->ncolumns = 0;
	result->nomem = true;
	return false;
}

static uint16_t format_of(const struct slm_buf *formats, unsigned n,
			  uint16_t described)
{
	size_t count = formats ? formats->size / 2 : 0;

	if (count == 0)
		return formats ? 0 : described;
	n = count == 1 ? 0 : n;
	return n < count ? (unsigned char)formats->data[n * 2 + 1] : 0;
}

void slm_dialog_result_columns(struct dialog_result *result, const void *body,
			       size_t size, const struct slm_buf *formats)
{
	struct slm_wire_message m = { .type = SLM_WIRE_ROW_DESCRIPTION,
				      .body = body,
				      .have = size,
				      .size = (uint32_t)size };
	struct slm_wire_row_description rows;
	struct slm_wire_column column;
	const uint8_t *at;

	if (!slm_wire_row_description(&m, &rows) ||
	    !begin_rows(result, rows.ncolumns))
		return;
	at = rows.columns;
	for (unsigned i = 0; i < rows.ncolumns; i++) {
		result->names[i] = "";
		if (!slm_wire_next_column(&at, rows.end, &column))
			continue;
		result->names[i] = slm_arena_strdup(result->arena, column.name);
		result->types[i] = column.type;
		result->formats[i] = format_of(formats, i, column.format);
		result->nomem |= !result->names[i];
	}
}

void slm_dialog_result_undescribed(struct dialog_result *result,
				   const struct slm_buf *formats)
{
	/* How many there are, the first row tells. */
	result->open = true;
	result->ncolumns = UINT32_MAX;
	result->formats =
		slm_arena_zalloc(result->arena, 1, sizeof(*result->formats));
	if (result->formats)
		result->formats[0] = format_of(formats, 0, 0);
	else
		result->nomem = true;
}

static bool invent_columns(struct dialog_result *result, unsigned n)
{
	uint16_t format = result->formats ? result->formats[0] : 0;

	if (!begin_rows(result, n))
		return false;
	for (unsigned i = 0; i < n; i++) {
		result->names[i] =
			slm_arena_printf(result->arena, "column %u", i + 1);
		result->formats[i] = format;
		result->nomem |= !result->names[i];
	}
	return !result->nomem;
}

/* ---- Rows -------------------------------------------------------------- */

static struct slm_value *new_row(struct dialog_result *result)
{
	size_t row = result->ncolumns * sizeof(*result->values);
	uint64_t capacity = result->capacity;
	struct slm_value *values;

	if (result->kept >= ROWS_KEPT)
		return NULL;
	if (result->kept == capacity) {
		capacity = capacity ? capacity * 4 : FIRST_ROWS;
		values = slm_arena_alloc(result->arena, capacity * row + 1);
		if (!values) {
			result->nomem = true;
			return NULL;
		}
		if (result->kept)
			memcpy(values, result->values, result->kept * row);
		result->values = values;
		result->capacity = capacity;
	}
	return &result->values[result->kept++ * result->ncolumns];
}

static uint64_t digest_of(const struct slm_wire_value *value)
{
	if (!value->bytes)
		return slm_hash_mix(0, SLM_NULL);
	return slm_hash_mix(SLM_TEXT, slm_hash(value->bytes, value->size, 0));
}

void slm_dialog_result_row(struct dialog_result *result,
			   const struct slm_wire_message *m)
{
	struct slm_wire_data_row row;
	struct slm_wire_value wire;
	struct slm_value *values;
	const uint8_t *at;
	uint64_t digest = 0;

	if (result->nomem || !slm_wire_data_row(m, &row))
		return;
	if (result->ncolumns == UINT32_MAX &&
	    !invent_columns(result, row.nvalues))
		return;
	values = new_row(result);
	at = row.values;
	for (unsigned i = 0; i < result->ncolumns; i++) {
		bool there = i < row.nvalues &&
			     slm_wire_next_value(&at, row.end, &wire);

		if (!there)
			wire = (struct slm_wire_value){ 0 };
		digest = slm_hash_mix(digest, digest_of(&wire));
		if (values &&
		    !slm_dialog_value(result->types[i], result->formats[i],
				      wire.bytes, wire.size, result->arena,
				      &values[i]))
			result->nomem = true;
	}
	result->nrows++;
	result->sum += slm_hash_mix(digest, m->size);
	result->sequence = slm_hash_mix(result->sequence, digest);
}

/* ---- Results ----------------------------------------------------------- */

static struct slm_result *add(struct dialog_result *result)
{
	struct slm_result *one;

	/* An error ends the chain, whatever a server says behind it. */
	if (result->last && result->last->error != SLM_ERROR_NONE)
		return NULL;
	one = slm_arena_zalloc(result->arena, 1, sizeof(*one));
	if (!one) {
		result->nomem = true;
		return NULL;
	}
	one->changes = -1;
	if (result->last)
		result->last->next = one;
	else
		result->first = one;
	result->last = one;
	return one;
}

static bool is_ordered(const struct dialog_result *result)
{
	const struct slm_pg_step *parsed = result->parsed;

	return parsed && result->statement < parsed->nstatements &&
	       parsed->statements[result->statement].ordered;
}

/* The tag of COPY TO counts the rows that were sent, not changed. */
static bool only_copies_out(const struct dialog_result *result)
{
	const struct slm_pg_step *parsed = result->parsed;
	const struct slm_pg_statement *statement;

	if (!parsed || result->statement >= parsed->nstatements)
		return false;
	statement = &parsed->statements[result->statement];
	for (size_t i = 0; i < statement->nrelations; i++)
		if (statement->relations[i].write)
			return false;
	return statement->kind == SLM_PG_COPY_TO;
}

void slm_dialog_result_complete(struct dialog_result *result, const char *tag)
{
	bool ordered = is_ordered(result);
	struct slm_result *one;

	if (!result->arena || !(one = add(result)))
		return;
	if (result->open && result->ncolumns == UINT32_MAX)
		result->ncolumns = 0;
	if (tag && !only_copies_out(result))
		one->changes = slm_wire_changes(tag);
	one->digest = slm_hash_mix(result->open ? result->ncolumns : 0,
				   (uint64_t)one->changes);
	if (result->open) {
		if (!ordered && result->kept > 1 && result->ncolumns)
			slm_rows_sort(result->values, (uint32_t)result->kept,
				      result->ncolumns);
		one->rows = (struct slm_rows){
			.ncolumns = result->ncolumns,
			.nkept = (uint32_t)result->kept,
			.nrows = result->nrows,
			.columns = result->names,
			.values = result->values,
		};
		one->digest = slm_hash_mix(
			one->digest, ordered ? result->sequence : result->sum);
	}
	result->open = false;
	result->statement++;
}

/* ---- Errors ------------------------------------------------------------ */

/* The detail of a deadlock names processes and transactions by number, which
 * differ from run to run. */
void slm_dialog_result_error(struct dialog_result *result,
			     const struct slm_wire_error *error)
{
	const char *state = error->sqlstate ? error->sqlstate : "XX000";
	const char *message = error->message ? error->message : "";
	struct slm_result *one;

	if (!result->arena || !(one = add(result)))
		return;
	result->open = false;
	one->error = slm_error_kind_of(state);
	one->code = slm_arena_strdup(result->arena, state);
	if (error->detail && strcmp(state, "40P01") != 0)
		one->message = slm_arena_printf(result->arena, "%s (%s)",
						message, error->detail);
	else
		one->message = slm_arena_strdup(result->arena, message);
	one->digest = slm_hash(state, strlen(state), 0);
	result->nomem |= !one->code || !one->message;
	/* It is told all the same, before memory is found to be out. */
	one->code = one->code ? one->code : "XX000";
	one->message = one->message ? one->message : "";
}
