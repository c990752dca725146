/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a write to a table may write as well: partitions, children, the tables
 * behind views and rules, foreign key actions. What a function does is not
 * known, so it is noted where one may be called. Part of reading the catalogue.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "db/postgres_catalogue.h"

const char slm_pgload_foreign_sql[] =
	"SELECT conrelid, confrelid, pg_catalog.array_to_string(conkey, ' '),"
	" pg_catalog.array_to_string(confkey, ' '),"
	" confupdtype IN ('c', 'n', 'd') OR confdeltype IN ('c', 'n', 'd') "
	"FROM pg_catalog.pg_constraint WHERE contype = 'f' ORDER BY oid";

/* Triggers that PostgreSQL brings itself change the row at hand at most. */
const char slm_pgload_triggers_sql[] =
	"SELECT tgrelid FROM pg_catalog.pg_trigger "
	"WHERE tgfoid >= " PG_FIRST_USER_OID " AND tgenabled <> 'D' "
	"UNION SELECT ev_class FROM pg_catalog.pg_rewrite "
	"WHERE rulename <> '_RETURN' AND ev_enabled <> 'D'"
	" AND ev_class >= " PG_FIRST_USER_OID;

/* What is above, what is below, is it a partition? */
const char slm_pgload_children_sql[] =
	"SELECT i.inhparent, i.inhrelid, c.relispartition "
	"FROM pg_catalog.pg_inherits i"
	" JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid";

/* What views and rules are made of. */
const char slm_pgload_views_sql[] =
	"SELECT DISTINCT r.ev_class, d.refobjid "
	"FROM pg_catalog.pg_rewrite r"
	" JOIN pg_catalog.pg_depend d ON d.objid = r.oid "
	"WHERE d.classid = " PG_OID_REWRITE " AND d.refclassid = " PG_OID_CLASS
	" AND d.refobjid <> r.ev_class AND r.ev_class >= " PG_FIRST_USER_OID;

/*
 * Functions that may do anything when a statement calls them: not those that
 * PostgreSQL holds immutable (then it keeps them from writing), and not those
 * of extensions that are known to leave tables alone. Trigger functions are
 * called by triggers only, which are known; a function with an argument of
 * type internal (2281) by the server only.
 */
#define USER_FUNCTIONS                                                        \
	"(SELECT p.oid, p.proname FROM pg_catalog.pg_proc p "                 \
	"WHERE p.oid >= " PG_FIRST_USER_OID " AND p.provolatile <> 'i'"       \
	" AND p.prorettype NOT IN ('pg_catalog.trigger'::pg_catalog.regtype," \
	" 'pg_catalog.event_trigger'::pg_catalog.regtype,"                    \
	" 'pg_catalog.language_handler'::pg_catalog.regtype)"                 \
	" AND NOT 2281 = ANY (p.proargtypes)"                                 \
	" AND p.pronamespace NOT IN (SELECT oid FROM pg_catalog.pg_namespace" \
	" WHERE nspname = '" PG_SCHEMA "')"                                   \
	" AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d"                 \
	" JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid"               \
	" WHERE d.objid = p.oid AND d.classid = " PG_OID_PROC                 \
	" AND d.refclassid = " PG_OID_EXTENSION " AND d.deptype = 'e'"        \
	" AND e.extname IN ('plpgsql', 'pgcrypto', 'uuid-ossp', 'citext',"    \
	" 'pg_trgm', 'hstore', 'btree_gist', 'btree_gin', 'unaccent',"        \
	" 'ltree', 'intarray', 'fuzzystrmatch', 'pg_stat_statements')))"

/* May it leave a lock or a channel to the session? A trigger's, too. */
#define TAKING_FUNCTION                                                       \
	"(SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l"     \
	" ON l.oid = p.prolang WHERE (p.oid IN (SELECT u.oid FROM"            \
	" " USER_FUNCTIONS " u) OR (p.oid >= " PG_FIRST_USER_OID              \
	" AND p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype"        \
	" AND p.pronamespace NOT IN (SELECT oid FROM pg_catalog.pg_namespace" \
	" WHERE nspname = '" PG_SCHEMA "')))"                                 \
	" AND (l.lanname NOT IN ('sql', 'plpgsql') OR p.prosrc = ''"          \
	" OR p.prosrc ~* 'listen|advisory|execute|dblink'))"

/* Settings, and the names of those functions (NULL: there is none). */
const char slm_pgload_functions_sql[] =
	"SELECT DISTINCT EXISTS (SELECT FROM pg_catalog.pg_event_trigger"
	" WHERE evtenabled <> 'D'),"
	" pg_catalog.current_setting('default_transaction_isolation')"
	" = 'read committed', f.proname, EXISTS " TAKING_FUNCTION " "
	"FROM (SELECT 1) one LEFT JOIN " USER_FUNCTIONS " f ON true "
	"ORDER BY f.proname";

/* Tables that call them by a default, a constraint, an index, a policy or, if
 * they are views, their query; 0: something else that needs no name does, such
 * as an operator, or an aggregate, which counts as immutable. */
static const char callers_sql[] =
	"SELECT DISTINCT COALESCE(a.adrelid, c.conrelid, i.indrelid,"
	" l.polrelid, r.ev_class, 0) "
	"FROM " USER_FUNCTIONS " f"
	" JOIN pg_catalog.pg_depend d ON d.refobjid = f.oid"
	" AND d.refclassid = " PG_OID_PROC " AND d.classid <> " PG_OID_TRIGGER
	" AND (d.classid <> " PG_OID_PROC
	" OR EXISTS (SELECT FROM pg_catalog.pg_proc q WHERE q.oid = d.objid"
	" AND q.provolatile = 'i'))"
	" LEFT JOIN pg_catalog.pg_attrdef a ON a.oid = d.objid"
	" AND d.classid = " PG_OID_ATTRDEF
	" LEFT JOIN pg_catalog.pg_constraint c ON c.oid = d.objid"
	" AND d.classid = " PG_OID_CONSTRAINT
	" LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = d.objid"
	" AND d.classid = " PG_OID_CLASS
	" LEFT JOIN pg_catalog.pg_policy l ON l.oid = d.objid"
	" AND d.classid = " PG_OID_POLICY
	" LEFT JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid"
	" AND d.classid = " PG_OID_REWRITE;

/* ---- Reading ----------------------------------------------------------- */

static void add_edge(struct pg_loader *loader, int from, int to, unsigned kind)
{
	struct pg_catalogue_edge *edges;

	if (from < 0 || to < 0 || from == to)
		return;
	edges = slm_pgload_grow(loader, loader->edges, loader->nedges,
				&loader->edges_capacity, sizeof(*edges));
	if (!edges)
		return;
	loader->edges = edges;
	edges[loader->nedges++] = (struct pg_catalogue_edge){ (uint32_t)from,
							      (uint32_t)to,
							      kind };
}

enum sqloom_status slm_pgload_foreign(struct pg_loader *loader,
				      struct sqloom_error *err)
{
	struct pg_table *tables = loader->to->tables;

	(void)err;
	for (int i = 0; i < PQntuples(loader->result); i++) {
		int from = slm_pgload_table(loader, i, 0),
		    to = slm_pgload_table(loader, i, 1);
		uint32_t columns[PG_KEY_COLUMNS_MAX], keys[PG_KEY_COLUMNS_MAX];
		uint32_t count = 0, nkeys = 0;

		if (from < 0 || to < 0)
			continue;
		add_edge(loader, to, from,
			 PG_REACH_REFERRER | (slm_pgload_true(loader, i, 4) ?
						      PG_REACH_ACTION :
						      0));
		if (!slm_pgload_columns(loader, (uint32_t)from,
					slm_pgload_text(loader, i, 2), columns,
					&count) ||
		    !slm_pgload_columns(loader, (uint32_t)to,
					slm_pgload_text(loader, i, 3), keys,
					&nkeys))
			continue;
		for (uint32_t c = 0; c < count; c++) {
			struct pg_column *column =
				&tables[from].columns[columns[c]];

			/* The first by oid is no copy for a partition. */
			if (!column->parent)
				column->parent = (uint32_t)to + 1;
			if (!column->reference && count == 1 &&
			    (int)keys[0] == tables[to].key_column)
				column->reference = (uint32_t)to + 1;
		}
	}
	return SQLOOM_OK;
}

enum sqloom_status slm_pgload_triggers(struct pg_loader *loader,
				       struct sqloom_error *err)
{
	(void)err;
	for (int i = 0; i < PQntuples(loader->result); i++) {
		int table = slm_pgload_table(loader, i, 0);

		if (table >= 0)
			loader->to->tables[table].triggers = true;
	}
	return SQLOOM_OK;
}

enum sqloom_status slm_pgload_children(struct pg_loader *loader,
				       struct sqloom_error *err)
{
	struct pg_table *tables = loader->to->tables;
	uint32_t n = loader->to->ntables;

	(void)err;
	for (int i = 0; i < PQntuples(loader->result); i++) {
		int from = slm_pgload_table(loader, i, 0),
		    to = slm_pgload_table(loader, i, 1);
		bool part = slm_pgload_true(loader, i, 2);

		add_edge(loader, from, to,
			 part ? PG_REACH_PARTITION : PG_REACH_CHILD);
		if (part && from >= 0 && to >= 0)
			tables[to].root = (uint32_t)from;
	}
	/* Up to the top; partitions of partitions are few. */
	for (uint32_t i = 0; i < n; i++)
		while (tables[tables[i].root].root != tables[i].root)
			tables[i].root = tables[tables[i].root].root;
	return SQLOOM_OK;
}

enum sqloom_status slm_pgload_views(struct pg_loader *loader,
				    struct sqloom_error *err)
{
	(void)err;
	for (int i = 0; i < PQntuples(loader->result); i++) {
		int from = slm_pgload_table(loader, i, 0);

		/* A materialized view has rows of its own. */
		if (from >= 0 && loader->to->tables[from].kind != 'm')
			add_edge(loader, from, slm_pgload_table(loader, i, 1),
				 PG_REACH_VIEW);
	}
	return SQLOOM_OK;
}

/* Tables that call functions of the user's; to->quiet: nothing else does. */
static enum sqloom_status see_callers(struct pg_loader *loader,
				      struct sqloom_error *err)
{
	PGresult *result;
	enum sqloom_status status = slm_pg_exec(&loader->db->admin,
						"read the catalogue",
						callers_sql, &result, err);

	if (status)
		return status;
	for (int i = 0; i < PQntuples(result); i++) {
		Oid oid = (Oid)strtoul(PQgetvalue(result, i, 0), NULL, 10);
		int table = slm_pgcat_find_oid(loader->to, oid);

		if (table >= 0)
			loader->to->tables[table].calls = true;
		else if (!oid)
			loader->to->quiet = false;
	}
	PQclear(result);
	return SQLOOM_OK;
}

enum sqloom_status slm_pgload_functions(struct pg_loader *loader,
					struct sqloom_error *err)
{
	struct pg_catalogue *to = loader->to;
	int count = PQntuples(loader->result);
	const char **names =
		slm_arena_zalloc(&to->arena, (size_t)count + 1, sizeof(*names));

	if (!names)
		return slm_error_nomem(err);
	to->functions = names;
	to->quiet = true;
	to->read_committed = slm_pgload_true(loader, 0, 1);
	if (!PQgetisnull(loader->result, 0, 2))
		to->nfunctions = (uint32_t)count;
	to->takes = slm_pgload_true(loader, 0, 3);
	to->simple = !to->nfunctions && !slm_pgload_true(loader, 0, 0);
	for (uint32_t i = 0; i < to->nfunctions; i++) {
		names[i] = slm_arena_strdup(&to->arena,
					    slm_pgload_text(loader, (int)i, 2));
		if (!names[i])
			return slm_error_nomem(err);
	}
	return to->nfunctions ? see_callers(loader, err) : SQLOOM_OK;
}

/* ---- Closing ----------------------------------------------------------- */

static int by_ends(const void *a, const void *b)
{
	const struct pg_catalogue_edge *x = a, *y = b;

	if (x->from != y->from)
		return x->from < y->from ? -1 : 1;
	return (x->to > y->to) - (x->to < y->to);
}

/* Gives each table its edges, one for each other table. */
static bool spread_edges(struct pg_loader *loader)
{
	struct pg_catalogue *to = loader->to;
	struct pg_edge *all =
		slm_arena_zalloc(&to->arena, loader->nedges + 1, sizeof(*all));
	size_t n = 0;

	if (!all)
		return false;
	if (loader->nedges)
		qsort(loader->edges, loader->nedges, sizeof(*loader->edges),
		      by_ends);
	for (size_t i = 0; i < loader->nedges; i++) {
		const struct pg_catalogue_edge *edge = &loader->edges[i];
		struct pg_table *table = &to->tables[edge->from];

		if (i && by_ends(edge, edge - 1) == 0) {
			all[n - 1].kinds |= edge->kind;
			continue;
		}
		if (!table->nedges)
			table->edges = all + n;
		all[n++] = (struct pg_edge){ edge->to, edge->kind };
		table->nedges++;
	}
	return true;
}

uint32_t slm_pgcat_close(const struct pg_catalogue *catalogue, uint32_t *list,
			 uint32_t count, bool *seen, unsigned kinds)
{
	for (uint32_t done = 0; done < count; done++) {
		const struct pg_table *table = &catalogue->tables[list[done]];

		for (uint32_t i = 0; i < table->nedges; i++) {
			uint32_t to = table->edges[i].to;

			if (seen[to] || !(table->edges[i].kinds & kinds))
				continue;
			seen[to] = true;
			list[count++] = to;
		}
	}
	return count;
}

static bool close_table(struct pg_loader *loader, uint32_t index,
			uint32_t *list, bool *seen)
{
	struct pg_catalogue *to = loader->to;
	struct pg_table *table = &to->tables[index];
	uint32_t *reaches, count;

	list[0] = index;
	seen[index] = true;
	count = slm_pgcat_close(to, list, 1, seen, PG_REACH_WRITE);
	table->certain = to->quiet;
	for (uint32_t i = 0; i < count; i++) {
		seen[list[i]] = false;
		table->certain &= to->tables[list[i]].plain;
	}
	if (count == 1)
		return true;
	reaches = slm_arena_zalloc(&to->arena, count - 1, sizeof(*reaches));
	if (!reaches)
		return false;
	memcpy(reaches, list + 1, (count - 1) * sizeof(*reaches));
	table->reaches = reaches;
	table->nreaches = count - 1;
	return true;
}

enum sqloom_status slm_pgload_close(struct pg_loader *loader,
				    struct sqloom_error *err)
{
	uint32_t n = loader->to->ntables;
	uint32_t *list =
		slm_arena_zalloc(&loader->scratch, n + 1, sizeof(*list));
	bool *seen = slm_arena_zalloc(&loader->scratch, n + 1, sizeof(*seen));

	if (!list || !seen || !spread_edges(loader))
		return slm_error_nomem(err);
	for (uint32_t i = 0; i < n; i++) {
		struct pg_table *table = &loader->to->tables[i];

		table->plain = !table->triggers && !table->calls &&
			       !loader->odd[i] && table->kind != 'f' &&
			       table->kind != 'm';
	}
	for (uint32_t i = 0; i < n; i++)
		if (!close_table(loader, i, list, seen))
			return slm_error_nomem(err);
	return SQLOOM_OK;
}
