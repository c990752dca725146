/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Canonical contents: every row gets a name that does not depend on the values
 * of generated keys, and a table is the multiset of the names of its rows.
 *
 * The name of a row begins as a digest of its columns, leaving out its own
 * generated key and references to rows whose key was generated. Then, round by
 * round, the names of the rows it refers to and of those that refer to it are
 * mixed in (colour refinement), until the names tell no more rows apart. The
 * round that confirms this is kept: with it, equal names in two contents stay
 * equal in all later rounds. Contents that differ only by a renumbering of
 * generated keys go through the same rounds and get the same digest.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "oracle/internal.h"

/* Stand for values that are not compared. Any constants do. */
enum {
	CELL_HIDDEN = 0x51,
	CELL_NULL,
	CELL_KEY,
	CELL_REFERENCE,
	ROW_IGNORED,
};

uint64_t slm_canonical_value(const struct slm_value *value)
{
	uint64_t bits;

	switch (value->kind) {
	case SLM_INT:
		return slm_hash_mix(SLM_INT, (uint64_t)value->integer);
	case SLM_REAL:
		memcpy(&bits, &value->real, sizeof(bits));
		return slm_hash_mix(SLM_REAL, bits);
	case SLM_TEXT:
	case SLM_BLOB:
	case SLM_KEY:
		return slm_hash(value->text, value->size,
				(uint64_t)value->kind);
	case SLM_NULL:
	case SLM_MASKED:
		break;
	}
	return slm_hash_mix((uint64_t)value->kind, 0);
}

static bool same_value(const struct slm_value *a, const struct slm_value *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case SLM_INT:
		return a->integer == b->integer;
	case SLM_REAL:
		return memcmp(&a->real, &b->real, sizeof(a->real)) == 0;
	case SLM_TEXT:
	case SLM_BLOB:
	case SLM_KEY:
		return a->size == b->size &&
		       memcmp(a->text, b->text, a->size) == 0;
	case SLM_NULL:
	case SLM_MASKED:
		break;
	}
	return true;
}

bool slm_canonical_generated(const struct slm_contents_table *table,
			     uint64_t row)
{
	return table->generated && table->key_column >= 0 &&
	       table->generated[row];
}

static const struct slm_value *value_at(const struct slm_contents_table *table,
					uint64_t row, uint32_t column)
{
	return &table->values[row * table->ncolumns + column];
}

/* ---- What is compared at all ------------------------------------------ */

/* Does entry, "table" or "table.column", name this column (NULL: the whole
 * table)? */
static bool names_column(const char *entry, const char *table,
			 const char *column)
{
	size_t size = strlen(table);

	if (strncmp(entry, table, size) != 0)
		return false;
	if (!column)
		return entry[size] == '\0';
	return entry[size] == '.' && strcmp(entry + size + 1, column) == 0;
}

static bool is_ignored(const struct slm_oracle *oracle, const char *table,
		       const char *column)
{
	for (uint32_t i = 0; i < oracle->config.nignore; i++)
		if (names_column(oracle->config.ignore[i], table, column))
			return true;
	return false;
}

static enum slm_hiding mask_of(const struct slm_oracle *oracle,
			       const char *table, const char *column)
{
	for (uint32_t i = 0; i < oracle->ncolumn_masks; i++)
		if (strcmp(oracle->column_masks[i].table, table) == 0 &&
		    strcmp(oracle->column_masks[i].column, column) == 0)
			return oracle->column_masks[i].hiding;
	return SLM_SHOWN;
}

static bool begin_table(const struct slm_oracle *oracle,
			const struct slm_contents_table *table,
			struct slm_arena *arena,
			struct slm_canonical_table *out)
{
	uint32_t n = table->ncolumns;

	out->table = table;
	out->ignored = is_ignored(oracle, table->name, NULL);
	out->hiding = slm_arena_zalloc(arena, n, sizeof(*out->hiding));
	out->target = slm_arena_zalloc(arena, n, sizeof(*out->target));
	out->target_table =
		slm_arena_zalloc(arena, n, sizeof(*out->target_table));
	out->names = slm_arena_zalloc(arena, table->nrows, sizeof(*out->names));
	if (!out->hiding || !out->target || !out->target_table || !out->names)
		return false;
	for (uint32_t i = 0; i < n; i++)
		out->hiding[i] =
			out->ignored || is_ignored(oracle, table->name,
						   table->columns[i]) ?
				SLM_HIDDEN :
				mask_of(oracle, table->name, table->columns[i]);
	return true;
}

/* ---- References ------------------------------------------------------- */

/* The generated rows of one table by the value of their key. */
struct key_map {
	const struct slm_contents_table *table;
	uint64_t *slots; /* row + 1, or 0 */
	uint64_t mask;	 /* number of slots - 1 */
};

static bool map_make(const struct slm_contents_table *table,
		     struct slm_arena *arena, struct key_map *map)
{
	uint64_t count = 0, size = 8;

	memset(map, 0, sizeof(*map));
	map->table = table;
	for (uint64_t row = 0; row < table->nrows; row++)
		count += slm_canonical_generated(table, row);
	if (count == 0)
		return true;
	while (size < count * 2)
		size *= 2;
	map->slots = slm_arena_zalloc(arena, size, sizeof(*map->slots));
	if (!map->slots)
		return false;
	map->mask = size - 1;
	for (uint64_t row = 0; row < table->nrows; row++) {
		uint64_t slot;

		if (!slm_canonical_generated(table, row))
			continue;
		slot = slm_canonical_value(
			value_at(table, row, (uint32_t)table->key_column));
		while (map->slots[slot & map->mask])
			slot++;
		map->slots[slot & map->mask] = row + 1;
	}
	return true;
}

static uint64_t map_find(const struct key_map *map,
			 const struct slm_value *value)
{
	uint64_t slot;

	if (!map->slots || value->kind == SLM_NULL)
		return SLM_NO_ROW;
	slot = slm_canonical_value(value);
	for (; map->slots[slot & map->mask]; slot++) {
		uint64_t row = map->slots[slot & map->mask] - 1;

		if (same_value(value,
			       value_at(map->table, row,
					(uint32_t)map->table->key_column)))
			return row;
	}
	return SLM_NO_ROW;
}

/* Finds the generated rows that one column refers to. */
static bool resolve(struct slm_canonical_table *table, uint32_t column,
		    uint32_t to, const struct key_map *map,
		    struct slm_arena *arena)
{
	uint64_t nrows = table->table->nrows;
	uint64_t *target = NULL;

	for (uint64_t row = 0; row < nrows; row++) {
		uint64_t found =
			map_find(map, value_at(table->table, row, column));

		if (found == SLM_NO_ROW)
			continue;
		if (!target) {
			target =
				slm_arena_alloc(arena, nrows * sizeof(*target));
			if (!target)
				return false;
			memset(target, 0xff, nrows * sizeof(*target));
		}
		target[row] = found;
	}
	table->target[column] = target;
	table->target_table[column] = to;
	return true;
}

/* *any: some row refers to a generated one. */
static bool resolve_all(struct slm_canonical *contents, struct slm_arena *arena,
			bool *any)
{
	struct key_map *maps =
		slm_arena_zalloc(arena, contents->ntables, sizeof(*maps));

	if (!maps)
		return false;
	for (uint32_t i = 0; i < contents->ntables; i++)
		if (!map_make(contents->tables[i].table, arena, &maps[i]))
			return false;
	for (uint32_t i = 0; i < contents->ntables; i++) {
		struct slm_canonical_table *table = &contents->tables[i];

		for (uint32_t j = 0; j < table->table->nreferences; j++) {
			uint32_t column = table->table->references[j].column;
			uint32_t to = table->table->references[j].table;

			assert(column < table->table->ncolumns);
			assert(to < contents->ntables);
			/* A column of two references counts as the first. */
			if (table->hiding[column] || table->target[column])
				continue;
			if (!resolve(table, column, to, &maps[to], arena))
				return false;
			*any = *any || table->target[column];
		}
	}
	return true;
}

/* ---- Names ------------------------------------------------------------ */

static bool is_null(const struct slm_canonical_table *table, uint64_t row,
		    uint32_t column)
{
	return value_at(table->table, row, column)->kind == SLM_NULL;
}

bool slm_canonical_hidden(const struct slm_canonical_table *table, uint64_t row,
			  uint32_t column)
{
	return table->hiding[column] == SLM_HIDDEN ||
	       (table->hiding[column] == SLM_NULLS &&
		!is_null(table, row, column));
}

uint64_t slm_canonical_nulls(const struct slm_canonical_table *table,
			     uint32_t column)
{
	uint64_t count = 0;

	for (uint64_t row = 0; row < table->table->nrows; row++)
		count += is_null(table, row, column);
	return count;
}

/* A cell before any reference is followed. */
static uint64_t cell(const struct slm_canonical_table *table, uint64_t row,
		     uint32_t column)
{
	if (table->hiding[column])
		return slm_canonical_hidden(table, row, column) ? CELL_HIDDEN :
								  CELL_NULL;
	if (table->target[column] && table->target[column][row] != SLM_NO_ROW)
		return CELL_REFERENCE;
	if (table->table->key_column == (int)column &&
	    slm_canonical_generated(table->table, row))
		return CELL_KEY;
	return slm_canonical_value(value_at(table->table, row, column));
}

uint64_t slm_canonical_column(const struct slm_canonical_table *table,
			      uint32_t column)
{
	uint64_t sum = 0;

	for (uint64_t row = 0; row < table->table->nrows; row++)
		sum += slm_hash_mix(1, cell(table, row, column));
	return sum;
}

static void first_names(struct slm_canonical_table *table)
{
	for (uint64_t row = 0; row < table->table->nrows; row++) {
		uint64_t name = ROW_IGNORED;

		for (uint32_t i = 0;
		     !table->ignored && i < table->table->ncolumns; i++)
			name = slm_hash_mix(name, cell(table, row, i));
		table->names[row] = name;
	}
}

/* The next name of a row: the present one, those it refers to and those that
 * refer to it. */
static uint64_t next_name(const struct slm_canonical *contents,
			  const struct slm_canonical_table *table, uint64_t row,
			  uint64_t referrers)
{
	uint64_t name = table->names[row];

	for (uint32_t i = 0; i < table->table->ncolumns; i++) {
		const struct slm_canonical_table *to =
			&contents->tables[table->target_table[i]];

		if (!table->target[i] || table->target[i][row] == SLM_NO_ROW)
			continue;
		name = slm_hash_mix(name, i);
		name = slm_hash_mix(name, to->names[table->target[i][row]]);
	}
	return slm_hash_mix(name, referrers);
}

static int compare_names(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The rows of the tables that refer to something or are referred to, in one
 * array. */
struct refiner {
	struct slm_canonical *contents;
	uint64_t *first;  /* per table: its first row in the arrays */
	bool *takes_part; /* per table */
	uint64_t *next;	  /* names of the round */
	uint64_t *sorted; /* for counting */
	uint64_t count;
};

static uint64_t distinct(struct refiner *refiner)
{
	uint64_t found = 0;

	memcpy(refiner->sorted, refiner->next,
	       refiner->count * sizeof(*refiner->next));
	qsort(refiner->sorted, refiner->count, sizeof(*refiner->sorted),
	      compare_names);
	for (uint64_t i = 0; i < refiner->count; i++)
		found += i == 0 || refiner->sorted[i] != refiner->sorted[i - 1];
	return found;
}

/* Gathers, per row, the names of the rows that refer to it: a sum, as they
 * have no order. The table and the column tell how they refer to it. */
static void add_referrers(struct refiner *refiner,
			  const struct slm_canonical_table *table)
{
	const char *name = table->table->name;
	uint64_t seed = slm_hash(name, strlen(name), 0);

	for (uint32_t i = 0; i < table->table->ncolumns; i++) {
		const uint64_t *target = table->target[i];
		uint64_t *to =
			refiner->next + refiner->first[table->target_table[i]];

		for (uint64_t row = 0; target && row < table->table->nrows;
		     row++)
			if (target[row] != SLM_NO_ROW)
				to[target[row]] +=
					slm_hash_mix(slm_hash_mix(seed, i),
						     table->names[row]);
	}
}

static void next_names(struct refiner *refiner)
{
	struct slm_canonical *contents = refiner->contents;

	if (refiner->count)
		memset(refiner->next, 0,
		       refiner->count * sizeof(*refiner->next));
	for (uint32_t i = 0; i < contents->ntables; i++)
		add_referrers(refiner, &contents->tables[i]);
	for (uint32_t i = 0; i < contents->ntables; i++) {
		struct slm_canonical_table *table = &contents->tables[i];
		uint64_t *next = refiner->next + refiner->first[i];

		for (uint64_t row = 0;
		     refiner->takes_part[i] && row < table->table->nrows; row++)
			next[row] = next_name(contents, table, row, next[row]);
	}
}

/* Moves names between the tables and the array. */
static void copy_names(struct refiner *refiner, bool back)
{
	for (uint32_t i = 0; i < refiner->contents->ntables; i++) {
		struct slm_canonical_table *table =
			&refiner->contents->tables[i];
		uint64_t *next = refiner->next + refiner->first[i];
		size_t size = table->table->nrows * sizeof(*next);

		if (!refiner->takes_part[i] || size == 0)
			continue;
		if (back)
			memcpy(table->names, next, size);
		else
			memcpy(next, table->names, size);
	}
}

static bool refiner_make(struct refiner *refiner, struct slm_arena *arena)
{
	const struct slm_canonical *contents = refiner->contents;
	uint32_t n = contents->ntables;

	refiner->first = slm_arena_zalloc(arena, n, sizeof(*refiner->first));
	refiner->takes_part =
		slm_arena_zalloc(arena, n, sizeof(*refiner->takes_part));
	if (!refiner->first || !refiner->takes_part)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		const struct slm_canonical_table *table = &contents->tables[i];

		for (uint32_t j = 0; j < table->table->ncolumns; j++) {
			if (!table->target[j])
				continue;
			refiner->takes_part[i] = true;
			refiner->takes_part[table->target_table[j]] = true;
		}
	}
	for (uint32_t i = 0; i < n; i++) {
		refiner->first[i] = refiner->count;
		if (refiner->takes_part[i])
			refiner->count += contents->tables[i].table->nrows;
	}
	refiner->next =
		slm_arena_zalloc(arena, refiner->count, sizeof(*refiner->next));
	refiner->sorted = slm_arena_zalloc(arena, refiner->count,
					   sizeof(*refiner->sorted));
	return refiner->next && refiner->sorted;
}

static bool refine(struct slm_canonical *contents, struct slm_arena *arena)
{
	struct refiner refiner = { .contents = contents };
	uint64_t before, after;

	if (!refiner_make(&refiner, arena))
		return false;
	copy_names(&refiner, false);
	after = distinct(&refiner);
	for (int round = 0; round < SLM_REFINE_ROUNDS_MAX; round++) {
		before = after;
		next_names(&refiner);
		copy_names(&refiner, true);
		after = distinct(&refiner);
		if (after == before)
			break;
	}
	return true;
}

/* Are two rows equal but for their own keys? Who refers to them does not
 * count; rows that they refer to are equal by their names. */
bool slm_canonical_alike(const struct slm_canonical *contents,
			 const struct slm_canonical_table *table, uint64_t a,
			 uint64_t b)
{
	for (uint32_t i = 0; i < table->table->ncolumns; i++) {
		const uint64_t *names =
			contents->tables[table->target_table[i]].names;
		const uint64_t *target = table->target[i];

		if (cell(table, a, i) != cell(table, b, i))
			return false;
		if (target && target[a] != SLM_NO_ROW &&
		    names[target[a]] != names[target[b]])
			return false;
	}
	return true;
}

/* A sum does not depend on the order of the rows, so nothing is sorted. */
static uint64_t digest_table(const struct slm_canonical_table *table)
{
	const struct slm_contents_table *from = table->table;
	uint64_t digest = slm_hash(from->name, strlen(from->name), 0);
	uint64_t sum = 0;

	for (uint32_t i = 0; i < from->ncolumns; i++)
		digest = slm_hash_mix(digest,
				      slm_hash(from->columns[i],
					       strlen(from->columns[i]), 0));
	for (uint64_t row = 0; row < from->nrows; row++)
		sum += slm_hash_mix(2, table->names[row]);
	return slm_hash_mix(slm_hash_mix(digest, from->nrows), sum);
}

bool slm_canonical_make(const struct slm_oracle *oracle,
			const struct slm_contents *contents,
			struct slm_arena *arena, struct slm_canonical *out)
{
	bool any = false;

	memset(out, 0, sizeof(*out));
	out->ntables = contents->ntables;
	out->tables = slm_arena_zalloc(arena, contents->ntables,
				       sizeof(*out->tables));
	if (!out->tables)
		return false;
	for (uint32_t i = 0; i < contents->ntables; i++)
		if (!begin_table(oracle, &contents->tables[i], arena,
				 &out->tables[i]))
			return false;
	if (!resolve_all(out, arena, &any))
		return false;
	for (uint32_t i = 0; i < contents->ntables; i++)
		first_names(&out->tables[i]);
	if (any && !refine(out, arena))
		return false;
	for (uint32_t i = 0; i < contents->ntables; i++) {
		struct slm_canonical_table *table = &out->tables[i];

		if (table->ignored)
			continue;
		table->digest = digest_table(table);
		out->digest += slm_hash_mix(3, table->digest);
	}
	return true;
}
