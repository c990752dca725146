/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of pg_statement.h share: pg_statement.c (the parse, and what
 * a step is), pg_kind.c (kinds, transaction blocks), pg_names.c (which relations and functions a parse tree names),
 * pg_function.c (PostgreSQL's own functions), pg_text.c (the text: tokens,
 * parameters, literals). Nobody else includes this.
 *
 * A parse tree is libpg_query's JSON: a node is {"SelectStmt": {...}}, its
 * type as the only key; where the type is fixed by the field, the node is
 * there without it. Fields that are zero are left out.
 */
#ifndef SLM_SQL_PG_INTERNAL_H
#define SLM_SQL_PG_INTERNAL_H

#include <jansson.h>

#include "sql/pg_statement.h"

/* ---- Functions --------------------------------------------------------- */

enum {
	PG_EFFECTS = 1,	   /* others may notice it */
	PG_SESSION = 2,	   /* leaves something on the connection */
	PG_SEQUENCE = 4,   /* takes or sets a value of a sequence */
	PG_ANYTHING = 8,   /* executes SQL that it is given */
	PG_HARMLESS = 16,  /* reads no table, no effect on others */
	PG_SET = 32,	   /* returns a set of rows */
	PG_AGGREGATE = 64, /* makes one row of many */
};

/* What is known of a function of this name, in any case of schema. 0: not
 * known. */
unsigned slm_pgfunction_flags(const char *schema, const char *name);

/* ---- Names in a parse tree --------------------------------------------- */

struct pg_names {
	struct slm_arena *arena;
	bool nomem;
	struct slm_pg_relation *relations;
	size_t nrelations, relations_capacity;
	struct slm_pg_function *functions;
	size_t nfunctions, functions_capacity;
	unsigned called;    /* flags of all functions, or-ed */
	bool all_harmless;  /* all functions are; true when there are none */
	bool modifies;	    /* INSERT, UPDATE, DELETE, MERGE at any level */
	bool locks_rows;    /* a locking clause at any level */
	unsigned mentioned; /* what naming a relation means outside of a query:
			       PG_READ, ..., or-ed */
};

enum { PG_READ = 1, PG_WRITE = 2, PG_LOCK = 4, PG_TRUNCATE = 8, PG_TEMP = 16 };

/* Adds what the node of this type names. */
void slm_pgnames_collect(struct pg_names *names, const char *type,
			 const json_t *body);

/* Add one relation; what: PG_READ, ..., or-ed. */
void slm_pgnames_add_range(struct pg_names *names, const json_t *range,
			   unsigned what);
void slm_pgnames_add(struct pg_names *names, const char *schema,
		     const char *name, unsigned what);

/* The flags of the functions that an expression calls, or-ed, without those
 * in subqueries; aggregates that are used as window functions are none.
 * *unknown (never cleared): it calls one that is not known. */
unsigned slm_pgnames_called(const json_t *expression, bool *unknown);

/* Is the schema the one of temporary objects? NULL is fine. */
bool slm_pgnames_is_temp(const char *schema);

/* ---- Kinds ------------------------------------------------------------- */

enum slm_pgkind_wrap {
	PG_WRAP_ALWAYS,	      /* BEGIN; it; COMMIT is the same */
	PG_WRAP_AMONG_OTHERS, /* only if it is not the text's only statement:
				 then the server wraps it, too */
	PG_WRAP_NEVER,
};

enum slm_pg_kind slm_pgkind_of(const char *type, const json_t *body);
enum slm_pgkind_wrap slm_pgkind_wrap(enum slm_pg_kind kind, const char *type,
				     const json_t *body);
bool slm_pgkind_is_cluster_wide(const char *type, const json_t *body);
bool slm_pgkind_is_held(const json_t *body);
/* The relation that a definition makes or changes; NULL: none. */
const json_t *slm_pgkind_defined(const json_t *body);
/* The DefElem of this name in the field "options"; NULL: not given. */
const json_t *slm_pgkind_option(const json_t *body, const char *name);

/* ---- Text of a node ---------------------------------------------------- */

/* A field that is a string; NULL if there is none. */
static inline const char *pg_text(const json_t *body, const char *field)
{
	return json_string_value(json_object_get(body, field));
}

static inline bool pg_flag(const json_t *body, const char *field)
{
	return json_is_true(json_object_get(body, field));
}

/* The body of a node and its type. NULL: it is not one. */
const json_t *slm_pgnode(const json_t *node, const char **type);

/* The text of {"String": {"sval": ...}}; NULL: it is none. */
const char *slm_pgnode_string(const json_t *node);

/* ---- Text of SQL ------------------------------------------------------- */

/* Behind blanks and comments. */
const char *slm_pgtext_skip_blank(const char *sql);

/* Where the last token that begins before end ends, or begin. */
const char *slm_pgtext_trim(const char *begin, const char *end);

/* Overwrites the n-th way (from 0) each parameter of a text in place, without
 * changing its length, with something that the grammar takes for a value.
 * False: there are no parameters, or no n-th way. */
bool slm_pgtext_hide_parameters(char *sql, unsigned way);

#endif
