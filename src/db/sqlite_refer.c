/* SPDX-License-Identifier: Apache-2.0 */
/*
 * References that the schema does not declare, as is usual with SQLite: a
 * session reads the key of a row and inserts it, by :name, into a column. Then
 * that column holds keys of the row's table. Known to the comparison only:
 * nothing is deleted or checked because of it.
 *
 * A column that is given keys of two tables refers to none.
 */
#include <string.h>

#include "db/sqlite_internal.h"
#include "sql/sql.h"

#define UNCLEAR UINT32_MAX /* a reference: keys of more than one table */

/* The table + 1 whose key the variable holds when the step is run; 0: not
 * known, or not always the same. */
static uint32_t origin_before(const struct session *session, unsigned before,
			      const char *variable)
{
	uint32_t origin = 0;

	for (unsigned i = 0; i < before; i++)
		for (unsigned j = 0; j < session->steps[i].nstatements; j++) {
			const struct statement *s =
				&session->steps[i].statements[j];

			for (unsigned k = 0; k < s->ncolumns; k++) {
				if (sqlite3_stricmp(s->columns[k], variable))
					continue;
				if (!s->origins[k] ||
				    s->origins[k] == UNCLEAR ||
				    (origin && s->origins[k] != origin))
					return 0;
				origin = s->origins[k];
			}
		}
	return origin;
}

static int column_of(const struct table *table,
		     const struct slm_sql_insert_value *value, unsigned n)
{
	/* Fewer values than columns: some are generated, and not counted. */
	if (!*value->column)
		return value->count == table->ncolumns ? (int)n : -1;
	for (uint32_t i = 0; i < table->ncolumns; i++)
		if (!sqlite3_stricmp(table->columns[i], value->column))
			return (int)i;
	return -1;
}

/* True: something new is known. */
static bool see_value(struct session *session, unsigned step,
		      const struct slm_sql_insert_value *value, unsigned n)
{
	struct catalogue *catalogue = &session->owner->catalogue;
	int index = slm_catalogue_find(catalogue, value->table);
	struct table *table = index < 0 ? NULL : &catalogue->tables[index];
	int column = table ? column_of(table, value, n) : -1;
	uint32_t origin, known;

	if (!*value->parameter || column < 0 || column == table->key_column ||
	    table->parent[column])
		return false;
	origin = origin_before(session, step, value->parameter);
	known = table->reference[column];
	if (!origin || origin == known || known == UNCLEAR)
		return false;
	table->reference[column] = known ? UNCLEAR : origin;
	return true;
}

static bool see_step(struct session *session, unsigned number)
{
	struct step *step = &session->steps[number];
	struct slm_sql_insert_value value;
	bool more = false;

	for (unsigned i = 0; i < step->nstatements; i++)
		for (unsigned n = 0;
		     slm_sql_insert_value(step->statements[i].sql, n, &value);
		     n++)
			more |= see_value(session, number, &value, n);
	return more;
}

static void renew_origins(struct sqlite *db)
{
	for (unsigned i = 0; i < db->nsessions; i++)
		for (unsigned j = 0; j < db->sessions[i].nsteps; j++) {
			struct step *step = &db->sessions[i].steps[j];

			for (unsigned k = 0; k < step->nstatements; k++)
				slm_compile_origins(&db->sessions[i],
						    &step->statements[k]);
		}
}

static void drop_unclear(struct catalogue *catalogue)
{
	for (uint32_t i = 0; i < catalogue->ntables; i++)
		for (uint32_t c = 0; c < catalogue->tables[i].ncolumns; c++)
			if (catalogue->tables[i].reference[c] == UNCLEAR)
				catalogue->tables[i].reference[c] = 0;
}

void slm_refer_infer(struct sqlite *db)
{
	bool more = true, any = false;

	/* Each column changes at most twice, so this ends. */
	while (more) {
		more = false;
		for (unsigned i = 0; i < db->nsessions; i++)
			for (unsigned j = 0; j < db->sessions[i].nsteps; j++)
				more |= see_step(&db->sessions[i], j);
		if (more)
			renew_origins(db);
		any |= more;
	}
	drop_unclear(&db->catalogue);
	if (any)
		renew_origins(db);
}
