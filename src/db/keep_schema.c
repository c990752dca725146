/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the schema what it was at the snapshot? A digest of pg_class is compared
 * after every test, which costs a scan of it; what differs is looked for only
 * then. Part of keep.h.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "db/keep_internal.h"

#define CHANGES_MAX 8 /* that a message names */

/* Temporary tables are their sessions' own; toast tables come and go with
 * VACUUM FULL. 99: pg_toast. */
#define COUNTED "c.relpersistence <> 't' AND c.relnamespace <> 99"

#define COLUMNS                                                                  \
	"(SELECT count(*) FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = " \
	"c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns"
#define DIGEST \
	"SELECT count(*) || ' ' || sum(c.oid::int8) || ' ' || sum(c.relnatts) "
#define DIGEST_FROM " FROM pg_catalog.pg_class AS c WHERE " COUNTED

/* Asked after every test: columns that were dropped do not show. */
static const char digest_sql[] = DIGEST DIGEST_FROM;
/* Asked only if there was a change. */
static const char exact_digest_sql[] = DIGEST
	"|| ' ' || sum(pg_catalog.hashtext(c.relname)::int8) || ' ' || (SELECT count(*) FROM pg_catalog.pg_attribute WHERE attnum > "
	"0 AND NOT attisdropped)" DIGEST_FROM;

static const char note_sql[] =
	"DROP TABLE IF EXISTS " PG_SCHEMA ".relation;"
	"CREATE TABLE " PG_SCHEMA ".relation AS SELECT c.oid, " COLUMNS ", "
	"c.oid::pg_catalog.regclass::text AS name, c.relkind FROM "
	"pg_catalog.pg_class AS c WHERE c.oid >= 16384 AND " COUNTED
	" AND c.relnamespace <> "
	"pg_catalog.to_regnamespace('" PG_SCHEMA "')";

/* What belongs to a table is told by the table. */
static const char look_sql[] =
	"SELECT CASE WHEN r.oid IS NULL THEN 'new' WHEN c.oid IS NULL THEN "
	"'gone' WHEN r.columns <> c.columns THEN 'other' ELSE 'renamed' END, coalesce(c.oid, r.oid), coalesce(r.name, "
	"c.name), CASE coalesce(c.relkind, r.relkind) WHEN 'i' THEN 'index' "
	"WHEN 'I' THEN 'index' WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' "
	"WHEN 'm' THEN 'materialized view' WHEN 'c' THEN 'type' ELSE 'table' "
	"END AS kind FROM " PG_SCHEMA ".relation AS r FULL JOIN (SELECT oid, "
	"oid::pg_catalog.regclass::text AS name, relkind, " COLUMNS " FROM "
	"pg_catalog.pg_class AS c WHERE oid >= 16384 AND " COUNTED
	" AND relnamespace <> pg_catalog.to_regnamespace('" PG_SCHEMA "')) AS "
	"c USING (oid) WHERE r.oid IS NULL OR c.oid IS NULL OR r.columns <> "
	"c.columns OR r.name <> c.name ORDER BY coalesce(c.relkind, r.relkind) IN ('r', 'p', 'v', "
	"'m') DESC, coalesce(c.relkind, r.relkind) IN ('i', 'I'), 2";

const char *slm_keep_schema_sql(const struct slm_keep *keep)
{
	return keep->watches_schema ? exact_digest_sql : digest_sql;
}

enum sqloom_status slm_keep_schema_note(struct slm_keep *keep,
					struct sqloom_error *err)
{
	struct postgres *db = slm_keep_of(keep);
	PGresult *result;
	enum sqloom_status status = slm_pg_exec(
		&db->admin, "note what the schema is", note_sql, NULL, err);

	if (!status)
		status = slm_pg_exec(&db->admin, "note what the schema is",
				     slm_keep_schema_sql(keep), &result, err);
	if (status)
		return status;
	slm_free(keep->schema);
	keep->schema = slm_strdup(PQgetvalue(result, 0, 0));
	PQclear(result);
	return keep->schema ? SQLOOM_OK : slm_error_nomem(err);
}

enum sqloom_status slm_keep_schema_ask(struct slm_keep *keep, bool *same,
				       struct sqloom_error *err)
{
	PGresult *result;
	enum sqloom_status status =
		slm_pg_exec(&slm_keep_of(keep)->admin,
			    "look whether the schema is what it was",
			    slm_keep_schema_sql(keep), &result, err);

	if (status)
		return status;
	*same = strcmp(PQgetvalue(result, 0, 0), keep->schema) == 0;
	PQclear(result);
	return SQLOOM_OK;
}

/* Nothing of it can be put back. */
static void forget(struct postgres *db, Oid oid)
{
	int table = slm_pgcat_find_oid(&db->catalogue, oid);

	if (table >= 0)
		db->catalogue.tables[table].dirty =
			db->catalogue.tables[table].snapshot = false;
	for (uint32_t i = 0; i < db->catalogue.nsequences; i++)
		if (db->catalogue.sequences[i].oid == oid)
			db->catalogue.sequences[i].dirty = false;
}

static void put_change(struct slm_buf *out, const PGresult *result, int row)
{
	const char *how = PQgetvalue(result, row, 0);

	slm_buf_printf(out, "%s%s %s %s", row ? ", " : "",
		       PQgetvalue(result, row, 3), PQgetvalue(result, row, 2),
		       *how == 'n' ? "is new" :
		       *how == 'g' ? "is gone" :
		       *how == 'r' ? "has another name" :
				     "has other columns");
}

enum sqloom_status slm_keep_schema_look(struct slm_keep *keep, char **changes,
					struct sqloom_error *err)
{
	struct postgres *db = slm_keep_of(keep);
	struct slm_buf out;
	PGresult *result;
	enum sqloom_status status =
		slm_pg_exec(&db->admin, "look what became of the schema",
			    look_sql, &result, err);

	if (status)
		return status;
	slm_buf_init(&out);
	/* Sequences could not be asked where they are. */
	if (PQntuples(result))
		slm_pgsnap_mark_sequences(db);
	for (int i = 0; i < PQntuples(result); i++) {
		if (i < CHANGES_MAX)
			put_change(&out, result, i);
		if (*PQgetvalue(result, i, 0) == 'g')
			forget(db, (Oid)strtoul(PQgetvalue(result, i, 1), NULL,
						10));
	}
	if (PQntuples(result) > CHANGES_MAX)
		slm_buf_printf(&out, " and %d more",
			       PQntuples(result) - CHANGES_MAX);
	PQclear(result);
	*changes = slm_buf_take(&out);
	slm_buf_deinit(&out);
	return *changes ? SQLOOM_OK : slm_error_nomem(err);
}
