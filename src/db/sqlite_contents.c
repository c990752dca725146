/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of the main database and what a run left in them, read on the
 * admin connection after the run. Only tables that some step may write are
 * read: those that the steps name, triggers included, and those that foreign
 * key actions reach from them; all tables once the schema itself may change.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "db/sqlite_internal.h"

/* Calls row for each row of a query; rc of SQLite. */
typedef bool (*row_fn)(struct sqlite *db, sqlite3_stmt *stmt, void *userdata);

static enum sqloom_status query(struct sqlite *db, const char *sql, row_fn row,
				void *userdata, struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(db->admin, sql, -1, &stmt, NULL);

	while (rc == SQLITE_OK && !status) {
		rc = sqlite3_step(stmt);
		if (rc == SQLITE_ROW) {
			rc = SQLITE_OK;
			if (!row(db, stmt, userdata))
				status = slm_error_nomem(err);
		}
	}
	if (!status && rc != SQLITE_DONE)
		status = slm_sqlite_unusable(db, err);
	sqlite3_finalize(stmt);
	return status;
}

/* ---- The catalogue ----------------------------------------------------- */

#define VIRTUAL_COLUMN 2 /* what pragma_table_xinfo says of it in `hidden` */

struct loading {
	struct slm_arena *arena;
	struct catalogue *catalogue;
	struct table *table;
};

static const char *column_text(struct slm_arena *arena, sqlite3_stmt *stmt,
			       int column)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);

	return slm_arena_strdup(arena, text ? text : "");
}

static bool load_table(struct sqlite *db, sqlite3_stmt *stmt, void *userdata)
{
	struct loading *loading = userdata;
	struct table *table =
		&loading->catalogue->tables[loading->catalogue->ntables];

	(void)db;
	memset(table, 0, sizeof(*table));
	table->name = column_text(loading->arena, stmt, 0);
	/* A WITHOUT ROWID table generates no keys: -2 keeps it so. */
	table->key_column = sqlite3_column_int(stmt, 1) ? -2 : -1;
	table->is_virtual = sqlite3_column_int(stmt, 2);
	loading->catalogue->ntables++;
	return table->name != NULL;
}

/* A column that is computed when it is read, by a function of the program's
 * own, cannot be read here. It says nothing that the others do not. */
static bool can_be_read(struct sqlite *db, const struct table *table,
			const char *column)
{
	char *sql = sqlite3_mprintf("SELECT \"%w\" FROM main.\"%w\"", column,
				    table->name);
	sqlite3_stmt *stmt = NULL;
	bool can = !sql || sqlite3_prepare_v2(db->admin, sql, -1, &stmt,
					      NULL) != SQLITE_ERROR;

	sqlite3_finalize(stmt);
	sqlite3_free(sql);
	return can;
}

static bool load_column(struct sqlite *db, sqlite3_stmt *stmt, void *userdata)
{
	struct loading *loading = userdata;
	struct table *table = loading->table;
	const char *name = column_text(loading->arena, stmt, 0);
	const char *type = (const char *)sqlite3_column_text(stmt, 1);
	int pk = sqlite3_column_int(stmt, 2);
	const char **columns = (const char **)table->columns;

	if (!name)
		return false;
	if (sqlite3_column_int(stmt, 4) == VIRTUAL_COLUMN &&
	    !can_be_read(db, table, name)) {
		table->partial = true;
		return true;
	}
	columns[table->ncolumns] = name;
	if (pk > 1 || (pk == 1 && sqlite3_column_int(stmt, 3)))
		table->key_column = -2; /* a key of several columns */
	else if (pk == 1 && table->key_column == -1 && type &&
		 sqlite3_stricmp(type, "INTEGER") == 0)
		table->key_column = (int)table->ncolumns;
	table->ncolumns++;
	return true;
}

static int find_column(const struct table *table, const char *name)
{
	for (uint32_t i = 0; i < table->ncolumns; i++)
		if (sqlite3_stricmp(table->columns[i], name) == 0)
			return (int)i;
	return -1;
}

int slm_catalogue_find(const struct catalogue *catalogue, const char *name)
{
	for (uint32_t i = 0; i < catalogue->ntables; i++)
		if (sqlite3_stricmp(catalogue->tables[i].name, name) == 0)
			return (int)i;
	return -1;
}

/* table, from, to (NULL: the key) of one column of a foreign key */
static bool load_reference(struct sqlite *db, sqlite3_stmt *stmt,
			   void *userdata)
{
	struct loading *loading = userdata;
	const char *parent = (const char *)sqlite3_column_text(stmt, 0);
	const char *from = (const char *)sqlite3_column_text(stmt, 1);
	const char *to = (const char *)sqlite3_column_text(stmt, 2);
	int target = parent ? slm_catalogue_find(loading->catalogue, parent) :
			      -1;
	int column = from ? find_column(loading->table, from) : -1;
	const struct table *table;

	(void)db;
	if (target < 0 || column < 0)
		return true;
	table = &loading->catalogue->tables[target];
	loading->table->parent[column] = (uint32_t)target + 1;
	if (table->key_column < 0)
		return true;
	if (!to || find_column(table, to) == table->key_column)
		loading->table->reference[column] = (uint32_t)target + 1;
	return true;
}

static enum sqloom_status load_columns(struct sqlite *db,
				       struct loading *loading,
				       struct sqloom_error *err)
{
	struct table *table = loading->table;
	enum sqloom_status status;
	size_t limit =
		(size_t)sqlite3_limit(db->admin, SQLITE_LIMIT_COLUMN, -1);
	char *sql;

	table->columns =
		slm_arena_zalloc(loading->arena, limit + 1, sizeof(char *));
	/* INTEGER PRIMARY KEY DESC is no rowid: it has an index. */
	sql = sqlite3_mprintf("SELECT name, type, pk, EXISTS (SELECT 1 FROM "
			      "pragma_index_list(%Q) WHERE origin = 'pk'), "
			      "hidden FROM pragma_table_xinfo(%Q)"
			      " WHERE hidden <> 1 ORDER BY cid",
			      table->name, table->name);
	if (!table->columns || !sql)
		status = slm_error_nomem(err);
	else
		status = query(db, sql, load_column, loading, err);
	sqlite3_free(sql);
	if (status)
		return status;
	if (table->key_column < 0)
		table->key_column = -1;
	table->reference = slm_arena_zalloc(loading->arena, table->ncolumns,
					    sizeof(uint32_t));
	table->parent = slm_arena_zalloc(loading->arena, table->ncolumns,
					 sizeof(uint32_t));
	return table->reference && table->parent ? SQLOOM_OK :
						   slm_error_nomem(err);
}

static enum sqloom_status load_references(struct sqlite *db,
					  struct loading *loading,
					  struct sqloom_error *err)
{
	enum sqloom_status status;
	char *sql = sqlite3_mprintf("SELECT \"table\", \"from\", \"to\" FROM "
				    "pragma_foreign_key_list(%Q)",
				    loading->table->name);

	if (!sql)
		return slm_error_nomem(err);
	status = query(db, sql, load_reference, loading, err);
	sqlite3_free(sql);
	return status;
}

static bool count_row(struct sqlite *db, sqlite3_stmt *stmt, void *userdata)
{
	(void)db;
	*(sqlite3_int64 *)userdata = sqlite3_column_int64(stmt, 0);
	return true;
}

#define USER_TABLES                                                   \
	"FROM pragma_table_list WHERE schema = 'main' AND type IN "   \
	"('table', 'virtual') AND name NOT LIKE 'sqlite\\_%' ESCAPE " \
	"'\\'"

enum sqloom_status slm_catalogue_load(struct sqlite *db,
				      struct slm_arena *arena,
				      struct catalogue *out,
				      struct sqloom_error *err)
{
	struct catalogue catalogue = { 0 };
	struct loading loading = { .arena = arena, .catalogue = &catalogue };
	sqlite3_int64 count = 0;
	enum sqloom_status status = query(db, "SELECT count(*) " USER_TABLES,
					  count_row, &count, err);

	if (status)
		return status;
	if (count > TABLES_MAX)
		return slm_error_set(err, SQLOOM_LIMIT,
				     "the database has %lld tables; the limit "
				     "is %d",
				     (long long)count, TABLES_MAX);
	catalogue.tables = slm_arena_zalloc(arena, (size_t)count + 1,
					    sizeof(struct table));
	if (!catalogue.tables)
		return slm_error_nomem(err);
	status = query(db,
		       "SELECT name, wr, type = 'virtual' " USER_TABLES
		       " ORDER BY name",
		       load_table, &loading, err);
	for (uint32_t i = 0; !status && i < catalogue.ntables; i++) {
		loading.table = &catalogue.tables[i];
		status = load_columns(db, &loading, err);
	}
	for (uint32_t i = 0; !status && i < catalogue.ntables; i++) {
		loading.table = &catalogue.tables[i];
		status = load_references(db, &loading, err);
	}
	if (!status)
		*out = catalogue;
	return status;
}

/* ---- Generated keys ---------------------------------------------------- */

/* ---- Contents ---------------------------------------------------------- */

struct reading {
	const struct table *table;
	uint32_t index;
	struct slm_value *values;
	bool *generated;
	uint64_t nrows, capacity;
	bool any_generated;
};

static bool grow(struct slm_arena *arena, struct reading *reading)
{
	uint64_t grown = reading->capacity ? reading->capacity * 2 : 16;
	size_t row = reading->table->ncolumns * sizeof(struct slm_value);
	struct slm_value *values = slm_arena_alloc(arena, grown * row);
	bool *generated = slm_arena_alloc(arena, grown);

	if (!values || !generated)
		return false;
	if (reading->nrows) {
		memcpy(values, reading->values, reading->nrows * row);
		memcpy(generated, reading->generated, reading->nrows);
	}
	reading->values = values;
	reading->generated = generated;
	reading->capacity = grown;
	return true;
}

static bool read_row(struct sqlite *db, sqlite3_stmt *stmt, void *userdata)
{
	struct reading *reading = userdata;
	const struct table *table = reading->table;
	struct slm_value *row;
	bool failed = false, generated;

	if (reading->nrows == reading->capacity && !grow(db->run, reading))
		return false;
	row = reading->values + reading->nrows * table->ncolumns;
	for (uint32_t i = 0; i < table->ncolumns; i++)
		slm_sqlite_value(stmt, (int)i, db->run, &row[i], &failed);
	generated = table->key_column >= 0 &&
		    row[table->key_column].kind == SLM_INT &&
		    slm_generated_find(db, reading->index,
				       row[table->key_column].integer);
	reading->generated[reading->nrows++] = generated;
	reading->any_generated |= generated;
	return !failed;
}

/* References to tables that are read too, by their place in the contents. */
static bool map_references(struct slm_arena *arena, const struct table *table,
			   const int *place, struct slm_contents_table *out)
{
	struct slm_reference *list =
		slm_arena_zalloc(arena, table->ncolumns, sizeof(*list));

	if (!list)
		return false;
	for (uint32_t i = 0; i < table->ncolumns; i++) {
		uint32_t target = table->reference[i];

		if (!target || place[target - 1] < 0)
			continue;
		list[out->nreferences++] = (struct slm_reference){
			.column = i,
			.table = (uint32_t)place[target - 1],
		};
	}
	out->references = list;
	return true;
}

/* With the place of the first step that writes the table. */
static enum sqloom_status too_many_rows(const struct sqlite *db,
					const struct table *table,
					struct sqloom_error *err)
{
	slm_error_set(err, SQLOOM_LIMIT,
		      "table %s has more than %d rows, too many to compare; "
		      "explore on a smaller copy of the database",
		      table->name, ROWS_MAX);
	for (unsigned i = 0; i < db->nsessions; i++)
		for (unsigned j = 0; j < db->sessions[i].nsteps; j++) {
			const struct step *step = &db->sessions[i].steps[j];

			for (unsigned k = 0; k < step->writes.count; k++) {
				if (sqlite3_stricmp(step->writes.names[k],
						    table->name))
					continue;
				slm_compile_place(db->spec, &step->spec->sql,
						  step->spec->sql.text, err);
				return SQLOOM_LIMIT;
			}
		}
	return SQLOOM_LIMIT;
}

/* Freed with sqlite3_free(); NULL: memory is out. */
static char *select_rows(const struct table *table)
{
	sqlite3_str *sql = sqlite3_str_new(NULL);

	sqlite3_str_appendall(sql, "SELECT ");
	if (!table->partial)
		sqlite3_str_appendall(sql, "*");
	for (uint32_t i = 0; table->partial && i < table->ncolumns; i++)
		sqlite3_str_appendf(sql, "%s\"%w\"", i ? ", " : "",
				    table->columns[i]);
	sqlite3_str_appendf(sql, " FROM main.\"%w\" LIMIT %d", table->name,
			    ROWS_MAX + 1);
	return sqlite3_str_finish(sql);
}

static enum sqloom_status read_table(struct sqlite *db,
				     const struct catalogue *catalogue,
				     uint32_t index, const int *place,
				     struct slm_contents_table *out,
				     struct sqloom_error *err)
{
	const struct table *table = &catalogue->tables[index];
	/* generated keys are known by the table's place in the snapshot */
	struct reading reading = {
		.table = table,
		.index = (uint32_t)slm_catalogue_find(&db->catalogue,
						      table->name),
	};
	enum sqloom_status status;
	char *sql = select_rows(table);

	if (!sql)
		return slm_error_nomem(err);
	status = query(db, sql, read_row, &reading, err);
	sqlite3_free(sql);
	if (status)
		return status;
	if (reading.nrows > ROWS_MAX)
		return too_many_rows(db, table, err);
	*out = (struct slm_contents_table){
		.name = table->name,
		.columns = table->columns,
		.ncolumns = table->ncolumns,
		.nrows = reading.nrows,
		.values = reading.values,
		.key_column = table->key_column,
		.generated = reading.any_generated ? reading.generated : NULL,
	};
	return map_references(db->run, table, place, out) ?
		       SQLOOM_OK :
		       slm_error_nomem(err);
}

/* What is no table of the user's, as a table of its own. */
static enum sqloom_status read_special(struct sqlite *db, const char *name,
				       const char *const *columns,
				       uint32_t ncolumns, const char *sql,
				       struct slm_contents_table *out,
				       struct sqloom_error *err)
{
	struct table table = { .name = name,
			       .columns = columns,
			       .ncolumns = ncolumns,
			       .key_column = -1 };
	struct reading reading = { .table = &table, .index = UINT32_MAX };
	enum sqloom_status status = query(db, sql, read_row, &reading, err);

	*out = (struct slm_contents_table){ .name = name,
					    .columns = columns,
					    .ncolumns = ncolumns,
					    .nrows = reading.nrows,
					    .values = reading.values,
					    .key_column = -1 };
	return status;
}

/* The schema, when steps may change it. */
static enum sqloom_status read_schema(struct sqlite *db,
				      struct slm_contents_table *out,
				      struct sqloom_error *err)
{
	static const char *const columns[] = { "type", "name", "sql" };

	return read_special(
		db, "sqlite_schema", columns, 3,
		"SELECT type, name, sql FROM main.sqlite_schema WHERE "
		"name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
		out, err);
}

/* Fields of the header that belong to the user, when steps may set them. */
static enum sqloom_status read_pragmas(struct sqlite *db,
				       struct slm_contents_table *out,
				       struct sqloom_error *err)
{
	static const char *const columns[] = { "user_version",
					       "application_id" };

	return read_special(db, "PRAGMA", columns, 2,
			    "SELECT user_version, application_id FROM "
			    "pragma_user_version, pragma_application_id",
			    out, err);
}

enum sqloom_status slm_contents_read(struct sqlite *db,
				     struct slm_contents *out,
				     struct sqloom_error *err)
{
	struct catalogue now = db->catalogue;
	struct slm_contents_table *tables;
	enum sqloom_status status = SQLOOM_OK;
	uint32_t count = 0;
	int *place;

	if (db->ddl)
		status = slm_catalogue_load(db, db->run, &now, err);
	if (status)
		return status;
	tables = slm_arena_zalloc(db->run, now.ntables + 2, sizeof(*tables));
	place = slm_arena_zalloc(db->run, now.ntables + 1, sizeof(*place));
	if (!tables || !place)
		return slm_error_nomem(err);
	for (uint32_t i = 0; i < now.ntables; i++)
		place[i] = db->ddl || now.tables[i].written ? (int)count++ : -1;
	for (uint32_t i = 0; !status && i < now.ntables; i++)
		if (place[i] >= 0)
			status = read_table(db, &now, i, place,
					    &tables[place[i]], err);
	if (!status && db->ddl)
		status = read_schema(db, &tables[count++], err);
	if (!status && db->pragma)
		status = read_pragmas(db, &tables[count++], err);
	out->tables = tables;
	out->ntables = count;
	return status;
}

/* ---- What is not compared ---------------------------------------------- */

/* The table that the value of an `option ignore` names, as the comparison reads
 * it; NULL: there is none. *column: what it says behind the dot, or NULL. */
static const struct table *ignored_table(const struct catalogue *catalogue,
					 const char *value, const char **column)
{
	for (uint32_t i = 0; i < catalogue->ntables; i++) {
		const struct table *table = &catalogue->tables[i];
		size_t size = strlen(table->name);

		if (strncmp(value, table->name, size) != 0 ||
		    (value[size] != '.' && value[size] != '\0'))
			continue;
		*column = value[size] ? value + size + 1 : NULL;
		return table;
	}
	return NULL;
}

#define NAMES_TOLD 20

/* The names that there are, as one text. */
static const char *names_told(struct sqlite *db, const struct table *table)
{
	uint32_t count = table ? table->ncolumns : db->catalogue.ntables;
	const char *text = "";

	for (uint32_t i = 0; text && i < count && i < NAMES_TOLD; i++)
		text = slm_arena_printf(&db->arena, "%s%s%s", text,
					i ? ", " : "",
					table ? table->columns[i] :
						db->catalogue.tables[i].name);
	if (text && count > NAMES_TOLD)
		text = slm_arena_printf(&db->arena, "%s, ...", text);
	return text;
}

/* option: that of the spec, NULL: --ignore. */
static enum sqloom_status check_ignored(struct sqlite *db, const char *value,
					const struct slm_spec_option *option,
					struct sqloom_error *err)
{
	enum sqloom_status code = option ? SQLOOM_SPEC : SQLOOM_USAGE;
	const char *column = NULL, *names;
	const struct table *table =
		ignored_table(&db->catalogue, value, &column);
	bool known = table && !column;

	for (uint32_t c = 0; table && column && c < table->ncolumns; c++)
		known |= !strcmp(table->columns[c], column);
	if (known || (db->pragma && !strncmp(value, "PRAGMA", 6)))
		return SQLOOM_OK;
	names = names_told(db, table);
	if (!names)
		return slm_error_nomem(err);
	slm_error_set(err, code, "%s %s: there is no such %s%s; there %s%s",
		      option ? "option ignore" : "--ignore", value,
		      table ? "column in table " : "table",
		      table ? table->name : "", *names ? "are: " : "is none",
		      names);
	if (option)
		slm_spec_error_place(db->spec, option->line, option->column,
				     err);
	return code;
}

enum sqloom_status slm_contents_check_ignored(struct sqlite *db,
					      struct sqloom_error *err)
{
	const char *const *given = db->options.ignore;
	enum sqloom_status status = SQLOOM_OK;

	/* Tables that steps make are not known yet. */
	if (db->ddl)
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
