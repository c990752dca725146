/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files share that read the catalogue: postgres_catalogue.c (tables,
 * columns, the order of it all), postgres_keys.c (sequences, keys) and
 * postgres_reach.c (what a write to a table may write as well). Each query is
 * read by one function, in the order of the list in postgres_catalogue.c.
 */
#ifndef SLM_DB_POSTGRES_CATALOGUE_H
#define SLM_DB_POSTGRES_CATALOGUE_H

#include "db/postgres_internal.h"

#define PG_FIRST_USER_OID "16384" /* FirstNormalObjectId */
#define PG_KEY_COLUMNS_MAX 32	  /* INDEX_MAX_KEYS */

/* Schemas whose tables nobody is shown. */
#define PG_NOT_OURS                                                         \
	"(SELECT oid FROM pg_catalog.pg_namespace WHERE nspname IN "        \
	"('pg_catalog', 'information_schema', '" PG_SCHEMA "') OR nspname " \
	"LIKE 'pg\\_toast%' OR nspname LIKE 'pg\\_temp\\_%')"

/* The catalogues that pg_depend speaks of. */
#define PG_OID(name) "'pg_catalog." name "'::pg_catalog.regclass"
#define PG_OID_ATTRDEF PG_OID("pg_attrdef")
#define PG_OID_CLASS PG_OID("pg_class")
#define PG_OID_CONSTRAINT PG_OID("pg_constraint")
#define PG_OID_EXTENSION PG_OID("pg_extension")
#define PG_OID_POLICY PG_OID("pg_policy")
#define PG_OID_PROC PG_OID("pg_proc")
#define PG_OID_REWRITE PG_OID("pg_rewrite")
#define PG_OID_TRIGGER PG_OID("pg_trigger")

struct pg_catalogue_edge {
	uint32_t from, to;
	unsigned kind;
};

/* A sequence in a default of a column, or that the column owns. */
struct pg_catalogue_use {
	uint32_t table, sequence;
	int column;    /* -1: not known */
	bool is_key;   /* the column's value is that of the sequence */
	bool by_owner; /* the column owns it */
};

struct pg_loader {
	struct postgres *db;
	struct pg_catalogue *to;
	struct slm_arena scratch;
	bool **notnull; /* per table and column */
	bool *odd;	/* per table: takes values of unknown sequences */
	struct pg_catalogue_edge *edges;
	size_t nedges, edges_capacity;
	struct pg_catalogue_use *uses;
	size_t nuses, uses_capacity;
	const PGresult *result; /* being read */
	bool failed;		/* memory was out */
};

/* ---- Reading a result -------------------------------------------------- */

const char *slm_pgload_text(const struct pg_loader *loader, int row,
			    int column);
Oid slm_pgload_oid(const struct pg_loader *loader, int row, int column);
bool slm_pgload_true(const struct pg_loader *loader, int row, int column);
/* The index of a table by its oid, or -1. */
int slm_pgload_table(const struct pg_loader *loader, int row, int column);
/* The index of a column by its number, or -1. */
int slm_pgload_column(const struct pg_loader *loader, uint32_t table,
		      int number);
/* "1 2": columns of the table by their numbers, at most PG_KEY_COLUMNS_MAX of
 * them. False: not all are known. */
bool slm_pgload_columns(const struct pg_loader *loader, uint32_t table,
			const char *text, uint32_t *columns, uint32_t *count);
/* Room for one more in an array of the scratch arena. NULL and failed: no
 * memory. */
void *slm_pgload_grow(struct pg_loader *loader, void *array, size_t count,
		      size_t *capacity, size_t size);
/* "schema"."name" in the catalogue's arena. NULL: no memory. */
const char *slm_pgload_quote(struct pg_loader *loader, const char *schema,
			     const char *name);
int slm_pgload_find_sequence(const struct pg_catalogue *catalogue, Oid oid);

/* ---- Queries and who reads them ---------------------------------------- */

typedef enum sqloom_status (*slm_pgload_fn)(struct pg_loader *loader,
					    struct sqloom_error *err);

/* postgres_keys.c */
extern const char slm_pgload_keys_sql[];
extern const char slm_pgload_sequences_sql[];
extern const char slm_pgload_defaults_sql[];
extern const char slm_pgload_odd_sql[];
enum sqloom_status slm_pgload_keys(struct pg_loader *loader,
				   struct sqloom_error *err);
enum sqloom_status slm_pgload_sequences(struct pg_loader *loader,
					struct sqloom_error *err);
enum sqloom_status slm_pgload_defaults(struct pg_loader *loader,
				       struct sqloom_error *err);
enum sqloom_status slm_pgload_odd(struct pg_loader *loader,
				  struct sqloom_error *err);
/* No query: which columns are keys, from all of the above. */
enum sqloom_status slm_pgload_choose(struct pg_loader *loader,
				     struct sqloom_error *err);

/* postgres_reach.c */
extern const char slm_pgload_children_sql[];
extern const char slm_pgload_foreign_sql[];
extern const char slm_pgload_triggers_sql[];
extern const char slm_pgload_views_sql[];
extern const char slm_pgload_functions_sql[];
enum sqloom_status slm_pgload_children(struct pg_loader *loader,
				       struct sqloom_error *err);
enum sqloom_status slm_pgload_foreign(struct pg_loader *loader,
				      struct sqloom_error *err);
enum sqloom_status slm_pgload_triggers(struct pg_loader *loader,
				       struct sqloom_error *err);
enum sqloom_status slm_pgload_views(struct pg_loader *loader,
				    struct sqloom_error *err);
/* Asks a second question if there are functions of the user's. */
enum sqloom_status slm_pgload_functions(struct pg_loader *loader,
					struct sqloom_error *err);
/* No query: edges and closures, from all of the above. */
enum sqloom_status slm_pgload_close(struct pg_loader *loader,
				    struct sqloom_error *err);

#endif
