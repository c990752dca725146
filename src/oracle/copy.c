/* SPDX-License-Identifier: Apache-2.0 */
/* Deep copies of runs, rows and values into an arena. */
#include <string.h>

#include "oracle/internal.h"

bool slm_copy_value(struct slm_arena *arena, const struct slm_value *value,
		    uint32_t most, struct slm_value *out)
{
	*out = *value;
	if (value->kind != SLM_TEXT && value->kind != SLM_BLOB &&
	    value->kind != SLM_KEY)
		return true;
	if (out->size > most)
		out->size = most;
	out->text = slm_arena_strndup(arena, value->text, out->size);
	return out->text != NULL;
}

static const struct slm_value *copy_values(struct slm_arena *arena,
					   const struct slm_value *values,
					   uint64_t count, uint32_t most)
{
	struct slm_value *copy = slm_arena_zalloc(arena, count, sizeof(*copy));

	for (uint64_t i = 0; copy && i < count; i++)
		if (!slm_copy_value(arena, &values[i], most, &copy[i]))
			return NULL;
	return copy;
}

const char *const *slm_copy_names(struct slm_arena *arena,
				  const char *const *names, uint32_t count)
{
	const char **copy = slm_arena_zalloc(arena, count, sizeof(*copy));

	for (uint32_t i = 0; copy && i < count; i++) {
		copy[i] = slm_arena_strdup(arena, names[i]);
		if (!copy[i])
			return NULL;
	}
	return copy;
}

static bool copy_rows(struct slm_arena *arena, const struct slm_rows *rows,
		      uint32_t most_rows, uint32_t most_bytes,
		      struct slm_rows *out)
{
	*out = *rows;
	if (out->nkept > most_rows)
		out->nkept = most_rows;
	out->columns = slm_copy_names(arena, rows->columns, rows->ncolumns);
	out->values = copy_values(arena, rows->values,
				  (uint64_t)out->nkept * rows->ncolumns,
				  most_bytes);
	return out->columns && out->values;
}

bool slm_copy_rows(struct slm_arena *arena, const struct slm_rows *rows,
		   uint32_t most, struct slm_rows *out)
{
	return copy_rows(arena, rows, most, SLM_TRACE_VALUE_MAX, out);
}

/* A text that may be NULL. */
static bool copy_text(struct slm_arena *arena, const char **text)
{
	if (!*text)
		return true;
	*text = slm_arena_strdup(arena, *text);
	return *text != NULL;
}

static bool copy_result(struct slm_arena *arena,
			const struct slm_result **result)
{
	const struct slm_result **link = result;
	struct slm_result *copy;

	while (*link) {
		copy = slm_arena_alloc(arena, sizeof(*copy));
		if (!copy)
			return false;
		*copy = **link;
		*link = copy;
		if (!copy_rows(arena, &copy->rows, UINT32_MAX, UINT32_MAX,
			       &copy->rows) ||
		    !copy_text(arena, &copy->code) ||
		    !copy_text(arena, &copy->message))
			return false;
		link = &copy->next;
	}
	return true;
}

static const struct slm_event *copy_events(struct slm_arena *arena,
					   const struct slm_run *run)
{
	struct slm_event *copy =
		slm_arena_zalloc(arena, run->nevents, sizeof(*copy));

	for (uint32_t i = 0; copy && i < run->nevents; i++) {
		copy[i] = run->events[i];
		if (!copy_text(arena, &copy[i].what) ||
		    !copy_text(arena, &copy[i].params) ||
		    !copy_result(arena, &copy[i].result))
			return NULL;
	}
	return copy;
}

static bool copy_table(struct slm_arena *arena,
		       const struct slm_contents_table *table,
		       struct slm_contents_table *out)
{
	struct slm_reference *references = slm_arena_zalloc(
		arena, table->nreferences, sizeof(*references));
	bool *generated = NULL;

	*out = *table;
	out->name = slm_arena_strdup(arena, table->name);
	out->columns = slm_copy_names(arena, table->columns, table->ncolumns);
	out->values = copy_values(arena, table->values,
				  table->nrows * table->ncolumns, UINT32_MAX);
	if (!out->name || !out->columns || !out->values || !references)
		return false;
	if (table->nreferences)
		memcpy(references, table->references,
		       table->nreferences * sizeof(*references));
	out->references = references;
	if (table->generated) {
		generated = slm_arena_zalloc(arena, table->nrows,
					     sizeof(*generated));
		if (!generated)
			return false;
		if (table->nrows)
			memcpy(generated, table->generated, table->nrows);
	}
	out->generated = generated;
	return true;
}

static const struct slm_contents *copy_contents(
	struct slm_arena *arena, const struct slm_contents *contents)
{
	struct slm_contents *copy = slm_arena_alloc(arena, sizeof(*copy));
	struct slm_contents_table *tables =
		slm_arena_zalloc(arena, contents->ntables, sizeof(*tables));

	if (!copy || !tables)
		return NULL;
	for (uint32_t i = 0; i < contents->ntables; i++)
		if (!copy_table(arena, &contents->tables[i], &tables[i]))
			return NULL;
	copy->tables = tables;
	copy->ntables = contents->ntables;
	return copy;
}

bool slm_copy_run(struct slm_arena *arena, const struct slm_run *run,
		  struct slm_run *out)
{
	*out = *run;
	out->events = copy_events(arena, run);
	out->contents = copy_contents(arena, run->contents);
	out->checks = NULL; /* a serial run's checks are not its outcome */
	out->nchecks = 0;
	return out->events && out->contents;
}
