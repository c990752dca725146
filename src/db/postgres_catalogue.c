/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of a PostgreSQL database and what a write to one of them may
 * write as well, read from the system catalogues by a few queries over all
 * tables at once. Views, partitions, inheritance, foreign key actions and
 * rules are followed here; what a function does is not known, so tables with
 * triggers are not `certain`, and a database with functions of its own is not
 * `simple`.
 *
 * Indexes of tables and sequences hold until the next load. Works on the admin
 * connection, while no session is at work.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "db/postgres_catalogue.h"

#define TABLES_MAX 10000

static const char tables_sql[] =
	"SELECT c.oid, n.nspname, c.relname, c.relkind,"
	" pg_catalog.pg_table_is_visible(c.oid) "
	"FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
	" ON n.oid = c.relnamespace "
	"WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')"
	" AND c.oid >= " PG_FIRST_USER_OID
	" AND c.relnamespace NOT IN " PG_NOT_OURS;

static const char columns_sql[] =
	"SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.attgenerated,"
	" a.attidentity, a.attnotnull "
	"FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c"
	" ON c.oid = a.attrelid "
	"WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')"
	" AND c.oid >= " PG_FIRST_USER_OID
	" AND c.relnamespace NOT IN " PG_NOT_OURS
	" AND a.attnum > 0 AND NOT a.attisdropped "
	"ORDER BY a.attrelid, a.attnum";

/* ---- Reading a result -------------------------------------------------- */

const char *slm_pgload_text(const struct pg_loader *loader, int row, int column)
{
	return PQgetvalue(loader->result, row, column);
}

Oid slm_pgload_oid(const struct pg_loader *loader, int row, int column)
{
	return (Oid)strtoul(slm_pgload_text(loader, row, column), NULL, 10);
}

bool slm_pgload_true(const struct pg_loader *loader, int row, int column)
{
	return *slm_pgload_text(loader, row, column) == 't';
}

int slm_pgload_table(const struct pg_loader *loader, int row, int column)
{
	return slm_pgcat_find_oid(loader->to,
				  slm_pgload_oid(loader, row, column));
}

int slm_pgload_column(const struct pg_loader *loader, uint32_t table,
		      int number)
{
	const struct pg_table *t = &loader->to->tables[table];

	for (uint32_t i = 0; i < t->ncolumns; i++)
		if (t->columns[i].number == number)
			return (int)i;
	return -1;
}

bool slm_pgload_columns(const struct pg_loader *loader, uint32_t table,
			const char *text, uint32_t *columns, uint32_t *count)
{
	for (*count = 0; *text && *count < PG_KEY_COLUMNS_MAX; (*count)++) {
		char *end;
		int column = slm_pgload_column(loader, table,
					       (int)strtol(text, &end, 10));

		if (column < 0 || end == text)
			return false;
		columns[*count] = (uint32_t)column;
		text = *end ? end + 1 : end;
	}
	return true;
}

void *slm_pgload_grow(struct pg_loader *loader, void *array, size_t count,
		      size_t *capacity, size_t size)
{
	size_t grown = *capacity ? *capacity * 2 : 64;
	void *more;

	if (count < *capacity)
		return array;
	more = slm_arena_alloc(&loader->scratch, grown * size);
	if (!more) {
		loader->failed = true;
		return NULL;
	}
	if (count)
		memcpy(more, array, count * size);
	*capacity = grown;
	return more;
}

/* ---- Tables and columns ------------------------------------------------ */

const char *slm_pgload_quote(struct pg_loader *loader, const char *schema,
			     const char *name)
{
	size_t size = 2 * strlen(schema) + 2 * strlen(name) + 6;
	char *text = slm_arena_alloc(&loader->to->arena, size);
	char *out = text;

	for (int i = 0; text && i < 2; i++) {
		if (i)
			*out++ = '.';
		*out++ = '"';
		for (const char *c = i ? name : schema; *c; c++) {
			if (*c == '"')
				*out++ = '"';
			*out++ = *c;
		}
		*out++ = '"';
	}
	if (text)
		*out = '\0';
	return text;
}

static bool read_table(struct pg_loader *loader, int row,
		       struct pg_table *table)
{
	struct slm_arena *arena = &loader->to->arena;

	table->oid = slm_pgload_oid(loader, row, 0);
	table->schema =
		slm_arena_strdup(arena, slm_pgload_text(loader, row, 1));
	table->name = slm_arena_strdup(arena, slm_pgload_text(loader, row, 2));
	table->kind = *slm_pgload_text(loader, row, 3);
	table->visible = slm_pgload_true(loader, row, 4);
	table->key_column = table->sequence = -1;
	if (!table->schema || !table->name)
		return false;
	table->shown = table->visible ?
			       table->name :
			       slm_arena_printf(arena, "%s.%s", table->schema,
						table->name);
	table->quoted = slm_pgload_quote(loader, table->schema, table->name);
	return table->shown && table->quoted;
}

static int by_shown(const void *a, const void *b)
{
	const struct pg_table *x = a, *y = b;
	int order = strcmp(x->shown, y->shown);

	return order ? order : (x->oid > y->oid) - (x->oid < y->oid);
}

static int by_oid(const void *a, const void *b, void *userdata)
{
	const struct pg_table *tables = userdata;
	Oid x = tables[*(const uint32_t *)a].oid;
	Oid y = tables[*(const uint32_t *)b].oid;

	return (x > y) - (x < y);
}

static enum sqloom_status read_tables(struct pg_loader *loader,
				      struct sqloom_error *err)
{
	struct pg_catalogue *to = loader->to;
	int count = PQntuples(loader->result);
	size_t n = (size_t)count + 1;

	if (count > TABLES_MAX)
		return slm_error_set(err, SQLOOM_LIMIT,
				     "the database has %d tables; the limit is "
				     "%d: explore on a database with only the "
				     "tables that matter",
				     count, TABLES_MAX);
	to->tables = slm_arena_zalloc(&to->arena, n, sizeof(*to->tables));
	to->by_oid = slm_arena_zalloc(&to->arena, n, sizeof(*to->by_oid));
	loader->notnull =
		slm_arena_zalloc(&loader->scratch, n, sizeof(*loader->notnull));
	loader->odd =
		slm_arena_zalloc(&loader->scratch, n, sizeof(*loader->odd));
	if (!to->tables || !to->by_oid || !loader->notnull || !loader->odd)
		return slm_error_nomem(err);
	for (int i = 0; i < count; i++)
		if (!read_table(loader, i, &to->tables[i]))
			return slm_error_nomem(err);
	to->ntables = (uint32_t)count;
	qsort(to->tables, (size_t)count, sizeof(*to->tables), by_shown);
	for (uint32_t i = 0; i < to->ntables; i++)
		to->by_oid[i] = to->tables[i].root = i;
	qsort_r(to->by_oid, to->ntables, sizeof(*to->by_oid), by_oid,
		to->tables);
	return SQLOOM_OK;
}

/* The columns of one table: rows first to last - 1 of the result. */
static bool read_table_columns(struct pg_loader *loader, uint32_t index,
			       int first, int last)
{
	struct slm_arena *arena = &loader->to->arena;
	struct pg_table *table = &loader->to->tables[index];
	size_t n = (size_t)(last - first);
	const char **names = slm_arena_zalloc(arena, n, sizeof(*names));

	table->column_names = names;
	table->columns = slm_arena_zalloc(arena, n, sizeof(*table->columns));
	loader->notnull[index] =
		slm_arena_zalloc(&loader->scratch, n, sizeof(bool));
	if (!names || !table->columns || !loader->notnull[index])
		return false;
	for (int i = 0; i < (int)n; i++) {
		struct pg_column *column = &table->columns[i];
		int row = first + i;

		column->name = slm_arena_strdup(arena, slm_pgload_text(loader,
								       row, 2));
		names[i] = column->name;
		column->number = atoi(slm_pgload_text(loader, row, 1));
		column->type = slm_pgload_oid(loader, row, 3);
		column->generated = *slm_pgload_text(loader, row, 4) != '\0';
		column->always = *slm_pgload_text(loader, row, 5) == 'a';
		loader->notnull[index][i] = slm_pgload_true(loader, row, 6);
		if (!column->name)
			return false;
	}
	table->ncolumns = (uint32_t)n;
	return true;
}

static enum sqloom_status read_columns(struct pg_loader *loader,
				       struct sqloom_error *err)
{
	int count = PQntuples(loader->result), last;

	for (int first = 0; first < count; first = last) {
		Oid oid = slm_pgload_oid(loader, first, 0);
		int table = slm_pgcat_find_oid(loader->to, oid);

		last = first + 1;
		while (last < count && slm_pgload_oid(loader, last, 0) == oid)
			last++;
		if (table >= 0 &&
		    !read_table_columns(loader, (uint32_t)table, first, last))
			return slm_error_nomem(err);
	}
	return SQLOOM_OK;
}

/* ---- The whole --------------------------------------------------------- */

/* In this order: each may use what those before it found. */
static const struct {
	const char *sql; /* NULL: nothing is asked */
	slm_pgload_fn read;
} readings[] = {
	{ tables_sql, read_tables },
	{ columns_sql, read_columns },
	{ slm_pgload_children_sql, slm_pgload_children },
	{ slm_pgload_keys_sql, slm_pgload_keys },
	{ slm_pgload_sequences_sql, slm_pgload_sequences },
	{ slm_pgload_defaults_sql, slm_pgload_defaults },
	{ slm_pgload_odd_sql, slm_pgload_odd },
	{ NULL, slm_pgload_choose },
	{ slm_pgload_foreign_sql, slm_pgload_foreign },
	{ slm_pgload_triggers_sql, slm_pgload_triggers },
	{ slm_pgload_views_sql, slm_pgload_views },
	{ slm_pgload_functions_sql, slm_pgload_functions },
	{ NULL, slm_pgload_close },
};

static enum sqloom_status read_all(struct pg_loader *loader,
				   struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	for (size_t i = 0; i < sizeof(readings) / sizeof(readings[0]); i++) {
		PGresult *result = NULL;

		if (readings[i].sql)
			status = slm_pg_exec(&loader->db->admin,
					     "read the catalogue",
					     readings[i].sql, &result, err);
		if (status)
			return status;
		loader->result = result;
		status = readings[i].read(loader, err);
		PQclear(result);
		if (!status && loader->failed)
			status = slm_error_nomem(err);
		if (status)
			return status;
	}
	return SQLOOM_OK;
}

/* What is known of tables and sequences that were there before. */
static void keep(const struct pg_catalogue *old, struct pg_catalogue *new)
{
	for (uint32_t i = 0; i < old->ntables; i++) {
		const struct pg_table *from = &old->tables[i];
		int index = slm_pgcat_find_oid(new, from->oid);

		if (index < 0)
			continue;
		new->tables[index].snapshot = from->snapshot;
		new->tables[index].rows = from->rows;
		new->tables[index].written = from->written;
		new->tables[index].dirty = from->dirty;
	}
	for (uint32_t i = 0; i < old->nsequences; i++) {
		const struct pg_sequence *from = &old->sequences[i];
		int index = slm_pgload_find_sequence(new, from->oid);

		if (index < 0)
			continue;
		new->sequences[index].last_value = from->last_value;
		new->sequences[index].is_called = from->is_called;
		new->sequences[index].dirty = from->dirty;
		new->sequences[index].known = from->known;
		new->sequences[index].taker = from->taker;
	}
}

/* Does some text of the sessions contain the word? */
static bool mentions(const struct postgres *db, const char *word)
{
	for (unsigned i = 0; i < db->nsessions; i++) {
		const struct pg_session *session = &db->sessions[i];

		if ((session->setup.text &&
		     strcasestr(session->setup.text, word)) ||
		    (session->teardown.text &&
		     strcasestr(session->teardown.text, word)))
			return true;
		for (unsigned j = 0; j < session->nsteps; j++)
			if (strcasestr(session->steps[j].text, word))
				return true;
	}
	return false;
}

/* What the sessions set that decides what names and snapshots mean. Where it
 * is not clear, the safe answer. */
static void see_settings(struct pg_loader *loader)
{
	const struct postgres *db = loader->db;
	struct pg_catalogue *to = loader->to;

	to->paths = db->outside || mentions(db, "search_path");
	to->read_committed &= !db->outside && !mentions(db, "isolation");
	for (unsigned i = 0; i < db->nsessions; i++) {
		const char *level = db->options.isolation[i];

		if (level && strcasecmp(level, "read committed") != 0)
			to->read_committed = false;
	}
}

enum sqloom_status slm_pgcat_load(struct postgres *db, struct sqloom_error *err)
{
	struct pg_catalogue fresh = { .version = db->catalogue.version + 1 };
	struct pg_loader loader = { .db = db, .to = &fresh };
	enum sqloom_status status;

	slm_arena_init(&fresh.arena);
	slm_arena_init(&loader.scratch);
	status = read_all(&loader, err);
	slm_arena_deinit(&loader.scratch);
	if (status) {
		slm_arena_deinit(&fresh.arena);
		return status;
	}
	see_settings(&loader);
	keep(&db->catalogue, &fresh);
	slm_pggenerated_renumber(db, &db->catalogue, &fresh);
	slm_pgcat_free(&db->catalogue);
	db->catalogue = fresh;
	return SQLOOM_OK;
}

void slm_pgcat_free(struct pg_catalogue *catalogue)
{
	slm_arena_deinit(&catalogue->arena);
	memset(catalogue, 0, sizeof(*catalogue));
}

int slm_pgcat_find(const struct postgres *db, const char *schema,
		   const char *name)
{
	for (uint32_t i = 0; i < db->catalogue.ntables; i++) {
		const struct pg_table *table = &db->catalogue.tables[i];

		if (strcmp(table->name, name) == 0 &&
		    (schema ? strcmp(table->schema, schema) == 0 :
			      table->visible))
			return (int)i;
	}
	return -1;
}

int slm_pgcat_find_oid(const struct pg_catalogue *catalogue, Oid oid)
{
	uint32_t low = 0, high = catalogue->ntables;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		Oid found = catalogue->tables[catalogue->by_oid[middle]].oid;

		if (found == oid)
			return (int)catalogue->by_oid[middle];
		if (found < oid)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}
