/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which relations and functions a parse tree names. The names of WITH queries
 * follow PostgreSQL's scopes: visible to the statement that the WITH belongs
 * to and all below it, and to the queries behind it in the same WITH (to all
 * of them if it is recursive); never the target of a write.
 *
 * Recursion is as deep as the tree, which jansson limits (to 2048 levels).
 */
#include <string.h>

#include "sql/pg_internal.h"

/* WITH queries that can be seen here. */
struct scope {
	const struct scope *outer;
	const json_t *queries; /* array of CommonTableExpr nodes */
	size_t visible;	       /* the first so many */
};

/* What a level of a query locks of its FROM. */
struct locking {
	const json_t *clauses; /* lockingClause, NULL: none */
	bool all;	       /* the level above locks this one */
};

static void walk(struct pg_names *names, const struct scope *scope,
		 const json_t *node);
static void walk_type(struct pg_names *names, const struct scope *scope,
		      const char *type, const json_t *body);
static void walk_select(struct pg_names *names, const struct scope *scope,
			const json_t *body, bool locked);

/* ---- Text of a node ---------------------------------------------------- */

const json_t *slm_pgnode(const json_t *node, const char **type)
{
	void *entry = json_object_iter((json_t *)node);

	if (!entry || json_object_size(node) != 1)
		return NULL;
	*type = json_object_iter_key(entry);
	/* A type begins with a capital, a field does not. */
	return **type >= 'A' && **type <= 'Z' ? json_object_iter_value(entry) :
						NULL;
}

const char *slm_pgnode_string(const json_t *node)
{
	return pg_text(json_object_get(node, "String"), "sval");
}

bool slm_pgnames_is_temp(const char *schema)
{
	return schema && strncmp(schema, "pg_temp", 7) == 0 &&
	       (!schema[7] || schema[7] == '_');
}

/* ---- Lists ------------------------------------------------------------- */

/* Makes room for one more in an array that lives in the arena. */
static bool grow(struct pg_names *names, void **list, size_t n,
		 size_t *capacity, size_t size)
{
	size_t wanted = *capacity ? *capacity * 2 : 4;
	void *grown;

	if (n < *capacity)
		return true;
	grown = slm_arena_zalloc(names->arena, wanted, size);
	if (!grown) {
		names->nomem = true;
		return false;
	}
	if (n)
		memcpy(grown, *list, n * size);
	*list = grown;
	*capacity = wanted;
	return true;
}

static const char *keep(struct pg_names *names, const char *text)
{
	char *copy = text ? slm_arena_strdup(names->arena, text) : NULL;

	names->nomem |= text && !copy;
	return copy;
}

static bool is_same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

void slm_pgnames_add(struct pg_names *names, const char *schema,
		     const char *name, unsigned what)
{
	struct slm_pg_relation *relation = names->relations;
	size_t i;

	for (i = 0; i < names->nrelations; i++, relation++)
		if (is_same(relation->schema, schema) &&
		    is_same(relation->name, name))
			break;
	if (i == names->nrelations) {
		if (!grow(names, (void **)&names->relations, i,
			  &names->relations_capacity, sizeof(*relation)))
			return;
		relation = &names->relations[names->nrelations++];
		relation->schema = keep(names, schema);
		relation->name = keep(names, name);
	}
	relation->read |= what & PG_READ;
	relation->write |= (what & PG_WRITE) != 0;
	relation->lock |= (what & PG_LOCK) != 0;
	relation->truncate |= (what & PG_TRUNCATE) != 0;
	relation->temp |= (what & PG_TEMP) != 0 || slm_pgnames_is_temp(schema);
}

static void add_function(struct pg_names *names, const char *schema,
			 const char *name, unsigned flags)
{
	struct slm_pg_function *function = names->functions;

	for (size_t i = 0; i < names->nfunctions; i++, function++)
		if (is_same(function->schema, schema) &&
		    is_same(function->name, name))
			return;
	if (!grow(names, (void **)&names->functions, names->nfunctions,
		  &names->functions_capacity, sizeof(*function)))
		return;
	function = &names->functions[names->nfunctions++];
	function->schema = keep(names, schema);
	function->name = keep(names, name);
	function->temp = slm_pgnames_is_temp(schema);
	function->effects = flags & PG_EFFECTS;
	function->harmless = flags & PG_HARMLESS;
}

/* ---- Relations --------------------------------------------------------- */

static bool is_query(const struct scope *scope, const char *name)
{
	for (; scope; scope = scope->outer)
		for (size_t i = 0; i < scope->visible; i++) {
			const json_t *query = json_object_get(
				json_array_get(scope->queries, i),
				"CommonTableExpr");

			if (is_same(pg_text(query, "ctename"), name))
				return true;
		}
	return false;
}

/* A RangeVar. */
static void add_range(struct pg_names *names, const struct scope *scope,
		      const json_t *range, unsigned what)
{
	const char *schema = pg_text(range, "schemaname");
	const char *name = pg_text(range, "relname");

	if (!name || (!schema && is_query(scope, name)))
		return;
	if (is_same(pg_text(range, "relpersistence"), "t"))
		what |= PG_TEMP;
	slm_pgnames_add(names, schema, name, what);
}

void slm_pgnames_add_range(struct pg_names *names, const json_t *range,
			   unsigned what)
{
	add_range(names, NULL, range, what);
}

/* ---- Functions --------------------------------------------------------- */

static unsigned function_of(const json_t *call, const char **schema,
			    const char **name)
{
	const json_t *parts = json_object_get(call, "funcname");
	size_t n = json_array_size(parts);

	*name = n ? slm_pgnode_string(json_array_get(parts, n - 1)) : NULL;
	*schema = n > 1 ? slm_pgnode_string(json_array_get(parts, n - 2)) :
			  NULL;
	return *name ? slm_pgfunction_flags(*schema, *name) : 0;
}

/* set_config(name, value, true) lasts to the end of the transaction. */
static bool is_local(const char *name, const json_t *call)
{
	const json_t *last = json_array_get(json_object_get(call, "args"), 2);
	const json_t *cast = json_object_get(last, "TypeCast"), *value;

	if (cast)
		last = json_object_get(cast, "arg");
	value = json_object_get(json_object_get(last, "A_Const"), "boolval");
	return strcmp(name, "set_config") == 0 && pg_flag(value, "boolval");
}

static void add_call(struct pg_names *names, const json_t *call)
{
	const char *schema, *name;
	unsigned flags = function_of(call, &schema, &name);

	if (!name)
		return;
	add_function(names, schema, name, flags);
	if (is_local(name, call))
		flags &= ~(unsigned)PG_SESSION;
	names->called |= flags;
	names->all_harmless &= (flags & PG_HARMLESS) != 0;
}

unsigned slm_pgnames_called(const json_t *node, bool *unknown)
{
	const char *key, *schema, *name;
	const json_t *value;
	unsigned flags = 0, own;
	size_t i;

	json_array_foreach(node, i, value)
		flags |= slm_pgnames_called(value, unknown);
	json_object_foreach((json_t *)node, key, value)
	{
		if (strcmp(key, "SubLink") == 0)
			continue;
		flags |= slm_pgnames_called(value, unknown);
		if (strcmp(key, "FuncCall") != 0)
			continue;
		own = function_of(value, &schema, &name);
		*unknown |= !own;
		if (json_object_get(value, "over"))
			own &= ~(unsigned)PG_AGGREGATE;
		flags |= own;
	}
	return flags;
}

/* ---- Queries ----------------------------------------------------------- */

/* Walks the queries of a WITH, and sets the scope of what it belongs to. */
static void walk_with(struct pg_names *names, const struct scope *outer,
		      const json_t *body, struct scope *scope)
{
	const json_t *with = json_object_get(body, "withClause");
	const json_t *query;
	size_t i;

	scope->outer = outer;
	scope->queries = json_object_get(with, "ctes");
	json_array_foreach(scope->queries, i, query)
	{
		scope->visible = pg_flag(with, "recursive") ?
					 json_array_size(scope->queries) :
					 i;
		walk(names, scope, query);
	}
	scope->visible = json_array_size(scope->queries);
}

/* Walks all fields but these (up to the NULL). */
static void walk_others(struct pg_names *names, const struct scope *scope,
			const json_t *body, const char *const *except)
{
	const char *key;
	const json_t *value;

	json_object_foreach((json_t *)body, key, value)
	{
		const char *const *name = except;

		while (*name && strcmp(*name, key) != 0)
			name++;
		if (!*name)
			walk(names, scope, value);
	}
}

/* Is what FROM calls so locked? */
static bool is_locked(const struct locking *locking, const char *name)
{
	const json_t *clause, *range;
	size_t i, j;

	if (locking->all)
		return true;
	json_array_foreach(locking->clauses, i, clause)
	{
		const json_t *of = json_object_get(
			json_object_get(clause, "LockingClause"), "lockedRels");

		if (!of)
			return true;
		json_array_foreach(
			of, j,
			range) if (is_same(pg_text(json_object_get(range,
								   "RangeVar"),
						   "relname"),
					   name)) return true;
	}
	return false;
}

static const char *alias_of(const json_t *body)
{
	const char *alias =
		pg_text(json_object_get(body, "alias"), "aliasname");

	return alias ? alias : pg_text(body, "relname");
}

static void walk_from(struct pg_names *names, const struct scope *scope,
		      const json_t *item, const struct locking *locking)
{
	static const char *const sides[] = { "larg", "rarg", NULL };
	static const char *const sampled[] = { "relation", NULL };
	const char *type;
	const json_t *body = slm_pgnode(item, &type), *query;

	if (!body) {
		walk(names, scope, item);
	} else if (strcmp(type, "RangeVar") == 0) {
		add_range(names, scope, body,
			  is_locked(locking, alias_of(body)) ?
				  PG_READ | PG_LOCK :
				  PG_READ);
	} else if (strcmp(type, "JoinExpr") == 0) {
		walk_from(names, scope, json_object_get(body, "larg"), locking);
		walk_from(names, scope, json_object_get(body, "rarg"), locking);
		walk_others(names, scope, body, sides);
	} else if (strcmp(type, "RangeTableSample") == 0) {
		walk_from(names, scope, json_object_get(body, "relation"),
			  locking);
		walk_others(names, scope, body, sampled);
	} else if (strcmp(type, "RangeSubselect") == 0) {
		query = json_object_get(json_object_get(body, "subquery"),
					"SelectStmt");
		walk_select(names, scope, query,
			    is_locked(locking, alias_of(body)));
	} else {
		walk_type(names, scope, type, body);
	}
}

/* locked: a locking clause above locks all rows of it. */
static void walk_select(struct pg_names *names, const struct scope *outer,
			const json_t *body, bool locked)
{
	static const char *const done[] = { "withClause", "intoClause",
					    "larg",	  "rarg",
					    "fromClause", "lockingClause",
					    NULL };
	struct locking locking = {
		.clauses = json_object_get(body, "lockingClause"),
		.all = locked,
	};
	const json_t *into = json_object_get(body, "intoClause"), *item;
	struct scope scope;
	size_t i;

	names->locks_rows |= locking.clauses != NULL;
	walk_with(names, outer, body, &scope);
	if (into)
		add_range(names, NULL, json_object_get(into, "rel"), PG_WRITE);
	if (json_object_get(body, "larg")) {
		walk_select(names, &scope, json_object_get(body, "larg"),
			    locked);
		walk_select(names, &scope, json_object_get(body, "rarg"),
			    locked);
	}
	json_array_foreach(json_object_get(body, "fromClause"), i, item)
		walk_from(names, &scope, item, &locking);
	walk_others(names, &scope, body, done);
}

/* INSERT, UPDATE, DELETE, MERGE. A WITH query cannot be the target, even if a
 * table of its name is. */
static void walk_write(struct pg_names *names, const struct scope *outer,
		       const char *type, const json_t *body)
{
	static const char *const done[] = { "withClause", "relation", NULL };
	bool reads = strcmp(type, "InsertStmt") != 0 ||
		     json_object_get(body, "onConflictClause");
	struct scope scope;

	names->modifies = true;
	walk_with(names, outer, body, &scope);
	add_range(names, NULL, json_object_get(body, "relation"),
		  reads ? PG_READ | PG_WRITE : PG_WRITE);
	walk_others(names, &scope, body, done);
}

/* 'account'::regclass and the like read the catalogue. */
static bool is_lookup(const json_t *cast)
{
	const json_t *parts =
		json_object_get(json_object_get(cast, "typeName"), "names");
	const char *name = slm_pgnode_string(
		json_array_get(parts, json_array_size(parts) - 1));

	return name && strncmp(name, "reg", 3) == 0;
}

/* ---- Any node ---------------------------------------------------------- */

static void walk_type(struct pg_names *names, const struct scope *scope,
		      const char *type, const json_t *body)
{
	static const char *const writes[] = { "InsertStmt", "UpdateStmt",
					      "DeleteStmt", "MergeStmt" };

	for (size_t i = 0; i < sizeof(writes) / sizeof(*writes); i++)
		if (strcmp(type, writes[i]) == 0) {
			walk_write(names, scope, type, body);
			return;
		}
	if (strcmp(type, "SelectStmt") == 0) {
		walk_select(names, scope, body, false);
		return;
	}
	if (strcmp(type, "FuncCall") == 0)
		add_call(names, body);
	if (strcmp(type, "TypeCast") == 0 && is_lookup(body))
		names->all_harmless = false;
	walk(names, scope, body);
}

/* A value of any field: a node with or without its type, a list, a text. */
static void walk(struct pg_names *names, const struct scope *scope,
		 const json_t *node)
{
	const char *key;
	const json_t *value;
	size_t i;

	if (names->nomem)
		return;
	json_array_foreach(node, i, value) walk(names, scope, value);
	if (json_object_get(node, "relname")) {
		add_range(names, scope, node, names->mentioned);
		return;
	}
	json_object_foreach((json_t *)node, key, value)
	{
		if (*key >= 'A' && *key <= 'Z')
			walk_type(names, scope, key, value);
		else
			walk(names, scope, value);
	}
}

void slm_pgnames_collect(struct pg_names *names, const char *type,
			 const json_t *body)
{
	/* CALL f(...): the call is there without its type. */
	if (strcmp(type, "CallStmt") == 0)
		add_call(names, json_object_get(body, "funccall"));
	walk_type(names, NULL, type, body);
}
