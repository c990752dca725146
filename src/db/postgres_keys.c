/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences, keys and the columns that sequences generate. Part of reading the
 * catalogue.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "db/postgres_catalogue.h"

/* With the column that owns it: a serial column or an identity. */
const char slm_pgload_sequences_sql[] =
	"SELECT s.seqrelid, n.nspname, c.relname, s.seqincrement,"
	" d.refobjid, d.refobjsubid, d.deptype "
	"FROM pg_catalog.pg_sequence s"
	" JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid"
	" JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
	" LEFT JOIN pg_catalog.pg_depend d ON d.objid = s.seqrelid"
	" AND d.classid = " PG_OID_CLASS " AND d.refclassid = " PG_OID_CLASS
	" AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') "
	"WHERE c.relnamespace NOT IN " PG_NOT_OURS " ORDER BY s.seqrelid";

/* Sequences in defaults; is the default nextval() of it and no more (1574;
 * 480 and 714 make it an int4 or int2)? */
const char slm_pgload_defaults_sql[] =
	"SELECT a.adrelid, a.adnum, d.refobjid, a.adbin::text ~ "
	"'^\\{FUNCEXPR :funcid (1574|(480|714) [^({]*\\("
	"\\{FUNCEXPR :funcid 1574) ' "
	"FROM pg_catalog.pg_depend d"
	" JOIN pg_catalog.pg_attrdef a ON a.oid = d.objid"
	" JOIN pg_catalog.pg_sequence s ON s.seqrelid = d.refobjid "
	"WHERE d.classid = " PG_OID_ATTRDEF " AND d.refclassid = " PG_OID_CLASS
	" ORDER BY 1, 2, 3";

/* Tables with a default that takes a value of a sequence by its name as text,
 * or of the column's domain: the catalogue does not tell which. */
const char slm_pgload_odd_sql[] =
	"SELECT a.adrelid FROM pg_catalog.pg_attrdef a "
	"WHERE a.adbin::text LIKE '%:funcid 1574 %'"
	" AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d"
	" JOIN pg_catalog.pg_sequence s ON s.seqrelid = d.refobjid"
	" WHERE d.objid = a.oid AND d.classid = " PG_OID_ATTRDEF
	" AND d.refclassid = " PG_OID_CLASS ") "
	"UNION SELECT a.attrelid FROM pg_catalog.pg_attribute a"
	" JOIN pg_catalog.pg_type t ON t.oid = a.atttypid "
	"WHERE t.typtype = 'd' AND t.typdefaultbin::text LIKE"
	" '%:funcid 1574 %'";

/* The best key of a table comes first. */
const char slm_pgload_keys_sql[] =
	"SELECT i.indrelid, i.indnkeyatts, i.indkey "
	"FROM pg_catalog.pg_index i "
	"WHERE i.indisunique AND i.indisvalid AND i.indimmediate"
	" AND i.indpred IS NULL AND i.indexprs IS NULL"
	" AND i.indrelid >= " PG_FIRST_USER_OID " "
	"ORDER BY i.indrelid, NOT i.indisprimary, i.indnkeyatts, i.indexrelid";

/* ---- Reading ----------------------------------------------------------- */

int slm_pgload_find_sequence(const struct pg_catalogue *catalogue, Oid oid)
{
	uint32_t low = 0, high = catalogue->nsequences;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		Oid found = catalogue->sequences[middle].oid;

		if (found == oid)
			return (int)middle;
		if (found < oid)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

static void add_use(struct pg_loader *loader,
		    const struct pg_catalogue_use *use)
{
	struct pg_catalogue_use *uses =
		slm_pgload_grow(loader, loader->uses, loader->nuses,
				&loader->uses_capacity, sizeof(*uses));

	if (!uses)
		return;
	loader->uses = uses;
	uses[loader->nuses++] = *use;
}

enum sqloom_status slm_pgload_sequences(struct pg_loader *loader,
					struct sqloom_error *err)
{
	struct pg_catalogue *to = loader->to;
	int count = PQntuples(loader->result);

	to->sequences = slm_arena_zalloc(&to->arena, (size_t)count + 1,
					 sizeof(*to->sequences));
	if (!to->sequences)
		return slm_error_nomem(err);
	for (int i = 0; i < count; i++) {
		struct pg_sequence *sequence = &to->sequences[to->nsequences];
		struct pg_catalogue_use use;
		int table;

		sequence->oid = slm_pgload_oid(loader, i, 0);
		sequence->quoted =
			slm_pgload_quote(loader, slm_pgload_text(loader, i, 1),
					 slm_pgload_text(loader, i, 2));
		sequence->increment =
			strtoll(slm_pgload_text(loader, i, 3), NULL, 10);
		sequence->table = -1;
		if (!sequence->quoted)
			return slm_error_nomem(err);
		assert(i == 0 || sequence[-1].oid < sequence->oid);
		to->nsequences++;
		table = slm_pgload_table(loader, i, 4);
		if (table < 0)
			continue;
		use = (struct pg_catalogue_use){
			.table = (uint32_t)table,
			.sequence = to->nsequences - 1,
			.column = slm_pgload_column(
				loader, (uint32_t)table,
				atoi(slm_pgload_text(loader, i, 5))),
			/* of an identity column; a serial has a default */
			.is_key = *slm_pgload_text(loader, i, 6) == 'i',
			.by_owner = true,
		};
		add_use(loader, &use);
	}
	return SQLOOM_OK;
}

enum sqloom_status slm_pgload_defaults(struct pg_loader *loader,
				       struct sqloom_error *err)
{
	int count = PQntuples(loader->result);

	(void)err;
	for (int i = 0; i < count; i++) {
		int table = slm_pgload_table(loader, i, 0);
		int sequence = slm_pgload_find_sequence(
			loader->to, slm_pgload_oid(loader, i, 2));
		struct pg_catalogue_use use;

		if (table < 0 || sequence < 0)
			continue;
		use = (struct pg_catalogue_use){
			.table = (uint32_t)table,
			.sequence = (uint32_t)sequence,
			.column = slm_pgload_column(
				loader, (uint32_t)table,
				atoi(slm_pgload_text(loader, i, 1))),
			.is_key = slm_pgload_true(loader, i, 3),
		};
		add_use(loader, &use);
	}
	return SQLOOM_OK;
}

enum sqloom_status slm_pgload_odd(struct pg_loader *loader,
				  struct sqloom_error *err)
{
	(void)err;
	for (int i = 0; i < PQntuples(loader->result); i++) {
		int table = slm_pgload_table(loader, i, 0);

		if (table >= 0)
			loader->odd[table] = true;
	}
	return SQLOOM_OK;
}

enum sqloom_status slm_pgload_keys(struct pg_loader *loader,
				   struct sqloom_error *err)
{
	for (int i = 0; i < PQntuples(loader->result); i++) {
		int index = slm_pgload_table(loader, i, 0);
		struct pg_table *table;
		uint32_t columns[PG_KEY_COLUMNS_MAX], count = 0, n;
		bool usable;

		if (index < 0 || loader->to->tables[index].primary)
			continue;
		table = &loader->to->tables[index];
		usable = slm_pgload_columns(loader, (uint32_t)index,
					    slm_pgload_text(loader, i, 2),
					    columns, &count);
		/* Behind the key come columns that are only included. */
		n = (uint32_t)atoi(slm_pgload_text(loader, i, 1));
		if (count > n)
			count = n;
		for (uint32_t c = 0; usable && c < count; c++)
			usable = loader->notnull[index][columns[c]];
		if (!usable || !count)
			continue;
		table->primary = slm_arena_zalloc(&loader->to->arena, count,
						  sizeof(*columns));
		if (!table->primary)
			return slm_error_nomem(err);
		memcpy(table->primary, columns, count * sizeof(*columns));
		table->nprimary = count;
	}
	return SQLOOM_OK;
}

/* ---- Choosing ---------------------------------------------------------- */

static bool is_integer(const struct pg_table *table, int column)
{
	Oid type = column < 0 ? 0 : table->columns[column].type;

	return type == 20 || type == 21 || type == 23; /* int8, int2, int4 */
}

static bool in_primary(const struct pg_table *table, int column)
{
	for (uint32_t i = 0; i < table->nprimary; i++)
		if ((int)table->primary[i] == column)
			return true;
	return false;
}

/* Which column of each table a sequence generates: one of the primary key
 * first, then the first one. */
static void choose_keys(struct pg_loader *loader)
{
	struct pg_catalogue *to = loader->to;

	for (size_t i = 0; i < loader->nuses; i++) {
		const struct pg_catalogue_use *use = &loader->uses[i];
		struct pg_table *table = &to->tables[use->table];
		int old = table->key_column;

		if (!use->is_key || !is_integer(table, use->column))
			continue;
		if (old >= 0 &&
		    (in_primary(table, old) != in_primary(table, use->column) ?
			     in_primary(table, old) :
			     old <= use->column))
			continue;
		table->key_column = use->column;
		table->sequence = (int)use->sequence;
	}
}

/* A partition has the key of the table that it is part of, under the same
 * name. */
static void inherit_keys(struct pg_catalogue *to)
{
	for (uint32_t i = 0; i < to->ntables; i++) {
		struct pg_table *table = &to->tables[i];
		const struct pg_table *root = &to->tables[table->root];

		if (table->key_column >= 0 || root->key_column < 0)
			continue;
		for (uint32_t c = 0; c < table->ncolumns; c++)
			if (!strcmp(table->columns[c].name,
				    root->columns[root->key_column].name))
				table->key_column = (int)c;
		if (table->key_column >= 0)
			table->sequence = root->sequence;
	}
}

/* The table that a sequence belongs to: its owner's first. */
static void name_owners(struct pg_loader *loader)
{
	struct pg_catalogue *to = loader->to;

	for (size_t i = 0; i < loader->nuses; i++) {
		const struct pg_catalogue_use *use = &loader->uses[i];
		struct pg_sequence *sequence = &to->sequences[use->sequence];

		if (use->by_owner &&
		    to->tables[use->table].sequence == (int)use->sequence)
			sequence->table = (int)to->tables[use->table].root;
	}
	for (uint32_t i = 0; i < to->ntables; i++) {
		const struct pg_table *table = &to->tables[i];

		if (table->sequence >= 0 &&
		    to->sequences[table->sequence].table < 0)
			to->sequences[table->sequence].table = (int)table->root;
	}
}

static int by_table(const void *a, const void *b)
{
	const struct pg_catalogue_use *x = a, *y = b;

	if (x->table != y->table)
		return x->table < y->table ? -1 : 1;
	return (x->sequence > y->sequence) - (x->sequence < y->sequence);
}

/* Lists each table's sequences. */
static bool list_sequences(struct pg_loader *loader)
{
	struct pg_catalogue *to = loader->to;
	uint32_t *all =
		slm_arena_zalloc(&to->arena, loader->nuses + 1, sizeof(*all));
	uint32_t n = 0;

	if (!all)
		return false;
	if (loader->nuses)
		qsort(loader->uses, loader->nuses, sizeof(*loader->uses),
		      by_table);
	for (size_t i = 0; i < loader->nuses; i++) {
		const struct pg_catalogue_use *use = &loader->uses[i];
		struct pg_table *table = &to->tables[use->table];

		if (i && by_table(use, use - 1) == 0)
			continue;
		if (!table->nsequences)
			table->sequences = all + n;
		all[n++] = use->sequence;
		table->nsequences++;
	}
	return true;
}

enum sqloom_status slm_pgload_choose(struct pg_loader *loader,
				     struct sqloom_error *err)
{
	choose_keys(loader);
	inherit_keys(loader->to);
	name_owners(loader);
	return list_sequences(loader) ? SQLOOM_OK : slm_error_nomem(err);
}
