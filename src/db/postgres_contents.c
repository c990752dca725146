/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a run left in the tables, made of the results of one SELECT per table,
 * and which keys a sequence gave out in it. The rows of all partitions of a
 * table are shown as its own: where a row lies follows from its values.
 *
 * Rows come in no order. The image is a sum over them, so that it does not
 * depend on where the server put a row.
 */
#include <assert.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "db/postgres_internal.h"

/* ---- The SELECT -------------------------------------------------------- */

static void put_name(struct slm_buf *out, const char *name)
{
	slm_buf_putc(out, '"');
	for (; *name; name++) {
		if (*name == '"')
			slm_buf_putc(out, '"');
		slm_buf_putc(out, *name);
	}
	slm_buf_putc(out, '"');
}

bool slm_pgcontents_select(const struct pg_table *table, struct slm_buf *out)
{
	slm_buf_puts(out, "SELECT ");
	for (uint32_t i = 0; i < table->ncolumns; i++) {
		if (i)
			slm_buf_putc(out, ',');
		put_name(out, table->columns[i].name);
	}
	/* One too many, so that too many are seen. */
	slm_buf_printf(out, " FROM ONLY %s LIMIT %d", table->quoted,
		       PG_ROWS_MAX + 1);
	return !slm_buf_failed(out);
}

/* ---- Contents ---------------------------------------------------------- */

/* The rows of one table, whose partitions are read one by one. */
struct reading {
	const struct pg_table *table; /* the root */
	uint32_t index;
	struct slm_value *values;
	bool *generated;
	uint64_t nrows, expected;
	bool any_generated;
	uint64_t seed, sum; /* of the image */
};

struct building {
	struct postgres *db;
	PGresult *const *results;
	int *place; /* per table of the catalogue: its reading, or -1 */
	struct reading *readings;
	uint32_t nreadings;
};

static bool is_read(const struct pg_table *table)
{
	return table->written && table->kind == 'r';
}

/* With the place of the first step that writes the table. */
static enum sqloom_status too_many_rows(const struct postgres *db,
					uint32_t root, struct sqloom_error *err)
{
	const struct pg_table *tables = db->catalogue.tables;

	slm_error_set(err, SQLOOM_LIMIT,
		      "table %s has more than %d rows, too many to compare; "
		      "explore on a smaller copy of the database",
		      tables[root].shown, PG_ROWS_MAX);
	for (unsigned i = 0; i < db->nsessions; i++)
		for (unsigned j = 0; j < db->sessions[i].nsteps; j++) {
			const struct pg_step *step = &db->sessions[i].steps[j];

			for (uint32_t k = 0; k < step->nwrites; k++) {
				if (tables[step->writes[k]].root != root)
					continue;
				slm_spec_error_place(db->spec, step->spec->line,
						     step->spec->column, err);
				return SQLOOM_LIMIT;
			}
		}
	return SQLOOM_LIMIT;
}

/* Counts the rows of each table, and gives each its place. */
static enum sqloom_status count_rows(struct building *building,
				     struct sqloom_error *err)
{
	struct postgres *db = building->db;
	const struct pg_catalogue *catalogue = &db->catalogue;
	uint32_t next = 0;

	for (uint32_t i = 0; i < catalogue->ntables; i++)
		building->place[i] = -1;
	for (uint32_t i = 0; i < catalogue->ntables; i++)
		if (is_read(&catalogue->tables[i]))
			building->place[catalogue->tables[i].root] = 0;
	for (uint32_t i = 0; i < catalogue->ntables; i++) {
		if (building->place[i] < 0)
			continue;
		building->place[i] = (int)building->nreadings;
		building->readings[building->nreadings++] = (struct reading){
			.table = &catalogue->tables[i],
			.index = i,
			.seed = slm_hash(catalogue->tables[i].shown,
					 strlen(catalogue->tables[i].shown),
					 catalogue->tables[i].ncolumns),
		};
	}
	for (uint32_t i = 0; i < catalogue->ntables; i++) {
		uint32_t root = catalogue->tables[i].root;
		struct reading *reading;

		if (!is_read(&catalogue->tables[i]))
			continue;
		reading = &building->readings[building->place[root]];
		reading->expected +=
			(uint64_t)PQntuples(building->results[next++]);
		if (reading->expected > PG_ROWS_MAX)
			return too_many_rows(db, root, err);
	}
	return SQLOOM_OK;
}

static bool make_room(struct slm_arena *arena, struct reading *reading)
{
	size_t cells = reading->expected * reading->table->ncolumns;

	reading->values =
		slm_arena_alloc(arena, cells * sizeof(*reading->values) + 1);
	reading->generated =
		slm_arena_zalloc(arena, reading->expected + 1, sizeof(bool));
	return reading->values && reading->generated;
}

/* Which column of a partition is which of its root. NULL: no memory. */
static int *map_columns(struct slm_arena *arena, const struct pg_table *root,
			const struct pg_table *leaf)
{
	int *map = slm_arena_alloc(arena, (root->ncolumns + 1) * sizeof(*map));

	for (uint32_t i = 0; map && i < root->ncolumns; i++) {
		map[i] = root == leaf ? (int)i : -1;
		for (uint32_t j = 0; map[i] < 0 && j < leaf->ncolumns; j++)
			if (!strcmp(root->columns[i].name,
				    leaf->columns[j].name))
				map[i] = (int)j;
		assert(map[i] >= 0); /* partitions have the same columns */
	}
	return map;
}

/* Did the sequence give out the value in this run, as far as is known? */
static bool in_range(const struct pg_sequence *sequence, int64_t key)
{
	bool behind_start = sequence->increment > 0 ?
				    key > sequence->last_value :
				    key < sequence->last_value;
	bool before_end = sequence->increment > 0 ? key <= sequence->known :
						    key >= sequence->known;

	if (key == sequence->last_value)
		behind_start = !sequence->is_called;
	return behind_start && before_end;
}

/* Was the row's key generated in this run, and by whom? *who is 0 if not. */
static bool key_generated(const struct postgres *db,
			  const struct reading *reading,
			  const struct slm_value *row, uint64_t *who)
{
	const struct pg_table *table = reading->table;
	const struct pg_generated *found;
	const struct slm_value *key;

	*who = 0;
	if (table->key_column < 0 || table->sequence < 0)
		return false;
	key = &row[table->key_column];
	if (key->kind != SLM_INT)
		return false;
	found = slm_pggenerated_find(db, reading->index, key->integer);
	if (found)
		*who = slm_hash_mix(found->call + 1, found->ordinal);
	return found || in_range(&db->catalogue.sequences[table->sequence],
				 key->integer);
}

static bool read_row(struct postgres *db, struct reading *reading,
		     const PGresult *result, int row, const int *map)
{
	uint32_t n = reading->table->ncolumns;
	struct slm_value *values = reading->values + reading->nrows * n;
	uint64_t digest = reading->seed, who;
	bool generated;

	for (uint32_t i = 0; i < n; i++) {
		if (!slm_pgvalue(result, row, map[i], db->run, &values[i]))
			return false;
		digest = slm_pgvalue_digest(digest, &values[i]);
	}
	generated = key_generated(db, reading, values, &who);
	reading->generated[reading->nrows++] = generated;
	reading->any_generated |= generated;
	reading->sum += slm_hash_mix(digest, generated ? who + 1 : 0);
	return true;
}

static bool read_table(struct building *building, uint32_t index,
		       const PGresult *result)
{
	struct postgres *db = building->db;
	const struct pg_table *leaf = &db->catalogue.tables[index];
	struct reading *reading =
		&building->readings[building->place[leaf->root]];
	int *map;

	if (!reading->values && !make_room(db->run, reading))
		return false;
	map = map_columns(db->run, reading->table, leaf);
	if (!map)
		return false;
	assert(PQnfields(result) == (int)leaf->ncolumns);
	for (int row = 0; row < PQntuples(result); row++)
		if (!read_row(db, reading, result, row, map))
			return false;
	return true;
}

/* References to tables that are read too, by their place in the contents. */
static bool map_references(struct building *building,
			   const struct pg_table *table,
			   struct slm_contents_table *out)
{
	const struct pg_table *tables = building->db->catalogue.tables;
	struct slm_reference *list = slm_arena_zalloc(
		building->db->run, table->ncolumns + 1, sizeof(*list));

	if (!list)
		return false;
	for (uint32_t i = 0; i < table->ncolumns; i++) {
		uint32_t target = table->columns[i].reference;
		int place = target ? building->place[tables[target - 1].root] :
				     -1;

		if (place < 0)
			continue;
		list[out->nreferences++] =
			(struct slm_reference){ .column = i,
						.table = (uint32_t)place };
	}
	out->references = list;
	return true;
}

/* Names are copied: the catalogue may be loaded anew before they are done
 * with. */
static bool finish_table(struct building *building, struct reading *reading,
			 struct slm_contents_table *out)
{
	const struct pg_table *table = reading->table;
	struct slm_arena *arena = building->db->run;
	const char **columns = slm_arena_alloc(arena, (table->ncolumns + 1) *
							      sizeof(*columns));

	for (uint32_t i = 0; columns && i < table->ncolumns; i++) {
		columns[i] = slm_arena_strdup(arena, table->columns[i].name);
		if (!columns[i])
			return false;
	}
	assert(reading->nrows == reading->expected);
	*out = (struct slm_contents_table){
		.name = slm_arena_strdup(arena, table->shown),
		.columns = columns,
		.ncolumns = table->ncolumns,
		.nrows = reading->nrows,
		.values = reading->values,
		.key_column = table->key_column,
		.generated = reading->any_generated ? reading->generated : NULL,
	};
	return columns && out->name && map_references(building, table, out);
}

/* Of the rows, and of the keys that were given out, also if no row has them:
 * results may show them. 0 would mean that it is not known. */
static uint64_t make_image(const struct building *building)
{
	const struct postgres *db = building->db;
	uint64_t image = 1, keys = 0;

	for (uint32_t i = 0; i < building->nreadings; i++) {
		const struct reading *reading = &building->readings[i];

		image = slm_hash_mix(image, reading->seed);
		image = slm_hash_mix(image, reading->nrows);
		image = slm_hash_mix(image, reading->sum);
	}
	for (unsigned i = 0; i < db->ngenerated; i++) {
		const struct pg_generated *generated = &db->generated[i];
		uint64_t who =
			slm_hash_mix(generated->call, generated->ordinal);

		keys += slm_hash_mix(slm_hash_mix(generated->table,
						  (uint64_t)generated->key),
				     who);
	}
	image = slm_hash_mix(image, keys);
	return image ? image : 1;
}

static bool build(struct building *building, struct slm_contents_table *tables)
{
	const struct pg_catalogue *catalogue = &building->db->catalogue;
	uint32_t next = 0;

	for (uint32_t i = 0; i < catalogue->ntables; i++)
		if (is_read(&catalogue->tables[i]) &&
		    !read_table(building, i, building->results[next++]))
			return false;
	for (uint32_t i = 0; i < building->nreadings; i++)
		if (!finish_table(building, &building->readings[i], &tables[i]))
			return false;
	return true;
}

enum sqloom_status slm_pgcontents_build(struct postgres *db,
					PGresult *const *results,
					struct sqloom_error *err)
{
	size_t n = (size_t)db->catalogue.ntables + 1;
	struct building building = { .db = db, .results = results };
	struct slm_contents_table *tables;
	enum sqloom_status status;

	building.place = slm_arena_alloc(db->run, n * sizeof(int));
	building.readings =
		slm_arena_alloc(db->run, n * sizeof(struct reading));
	if (!building.place || !building.readings)
		return slm_error_nomem(err);
	status = count_rows(&building, err);
	if (status)
		return status;
	tables = slm_arena_zalloc(db->run, building.nreadings + 1,
				  sizeof(*tables));
	if (!tables || !build(&building, tables))
		return slm_error_nomem(err);
	db->contents.tables = tables;
	db->contents.ntables = building.nreadings;
	db->image = make_image(&building);
	return SQLOOM_OK;
}

/* ---- What is not compared ---------------------------------------------- */

/* Is it shown under its own name? */
static bool is_shown(const struct postgres *db, uint32_t index)
{
	const struct pg_table *table = &db->catalogue.tables[index];

	return (table->kind == 'r' || table->kind == 'p') &&
	       table->root == index;
}

static bool has_column(const struct pg_table *table, const char *name)
{
	for (uint32_t i = 0; i < table->ncolumns; i++)
		if (strcmp(table->columns[i].name, name) == 0)
			return true;
	return false;
}

/* Does the value of an `option ignore` name something? *table: if it does not,
 * the table whose column it would be, or NULL. */
static bool is_known(const struct postgres *db, const char *value,
		     const struct pg_table **table)
{
	*table = NULL;
	for (uint32_t i = 0; i < db->catalogue.ntables; i++) {
		const struct pg_table *t = &db->catalogue.tables[i];
		size_t size = strlen(t->shown);

		if (!is_shown(db, i) || strncmp(value, t->shown, size) != 0)
			continue;
		if (value[size] == '\0')
			return true;
		if (value[size] != '.')
			continue;
		if (has_column(t, value + size + 1))
			return true;
		*table = t;
	}
	return false;
}

#define NAMES_TOLD 20

/* The names that there are, as one text. */
static const char *names_told(struct postgres *db, const struct pg_table *table)
{
	uint32_t count = table ? table->ncolumns : db->catalogue.ntables;
	const char *text = "";
	unsigned told = 0;

	for (uint32_t i = 0; text && i < count && told <= NAMES_TOLD; i++) {
		const char *name = table ? table->columns[i].name :
					   db->catalogue.tables[i].shown;

		if (!table && !is_shown(db, i))
			continue;
		if (told++ == NAMES_TOLD)
			name = "...";
		text = slm_arena_printf(&db->arena, "%s%s%s", text,
					*text ? ", " : "", name);
	}
	return text;
}

/* option: that of the spec, NULL: --ignore. */
static enum sqloom_status check_ignored(struct postgres *db, const char *value,
					const struct slm_spec_option *option,
					struct sqloom_error *err)
{
	enum sqloom_status code = option ? SQLOOM_SPEC : SQLOOM_USAGE;
	const struct pg_table *table;
	const char *names;

	if (is_known(db, value, &table))
		return SQLOOM_OK;
	names = names_told(db, table);
	if (!names)
		return slm_error_nomem(err);
	slm_error_set(err, code, "%s %s: there is no such %s%s; there %s%s",
		      option ? "option ignore" : "--ignore", value,
		      table ? "column in table " : "table",
		      table ? table->shown : "", *names ? "are: " : "is none",
		      names);
	if (option)
		slm_spec_error_place(db->spec, option->line, option->column,
				     err);
	return code;
}

/* May tables be made that are not known yet? */
static bool may_make_tables(const struct postgres *db)
{
	for (unsigned i = 0; i < db->nsessions; i++) {
		const struct pg_session *session = &db->sessions[i];

		if (session->setup.text && session->setup.parsed.ddl)
			return true;
		for (unsigned j = 0; j < session->nsteps; j++)
			if (session->steps[j].parsed.ddl ||
			    session->steps[j].parsed.unknown_writes)
				return true;
	}
	return false;
}

enum sqloom_status slm_pgcontents_check_ignored(struct postgres *db,
						struct sqloom_error *err)
{
	const char *const *given = db->options.ignore;
	enum sqloom_status status = SQLOOM_OK;

	if (may_make_tables(db))
		return SQLOOM_OK;
	for (; !status && given && *given; given++)
		status = check_ignored(db, *given, NULL, err);
	for (unsigned i = 0; !status && i < db->spec->noptions; i++) {
		const struct slm_spec_option *option = &db->spec->options[i];

		if (strcmp(option->name, "ignore") == 0)
			status = check_ignored(db, option->values[0], option,
					       err);
	}
	return status;
}
