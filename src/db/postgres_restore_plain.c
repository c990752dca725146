/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting tables back as a role that may not set session_replication_role, so
 * that constraints hold and triggers fire. Part of the PostgreSQL
 * implementation of db.h.
 *
 * One statement does it: DELETEs and INSERTs of all the tables as parts of one
 * WITH. Foreign keys are checked when all of it is done, and then everything
 * is as it was. Only where a foreign key has an action (CASCADE, SET NULL ...)
 * the rows that it refers to must not go: there only the differences are put
 * back. The user's triggers are switched off meanwhile, which takes the
 * tables' owner.
 */
#include <string.h>

#include "base/error.h"
#include "db/postgres_keep.h"

struct plain {
	struct postgres *db;
	const uint32_t *tables;
	uint32_t n;
	PGresult *triggers; /* statements that switch them off and on */
	PGresult *referred; /* tables that actions of foreign keys refer to */
};

static const struct pg_table *nth(const struct plain *plain, uint32_t i)
{
	return &plain->db->catalogue.tables[plain->tables[i]];
}

static bool keeps_rows(const struct plain *plain, const struct pg_table *table)
{
	char oid[16];

	snprintf(oid, sizeof(oid), "%u", table->oid);
	for (int i = 0; i < PQntuples(plain->referred); i++)
		if (strcmp(PQgetvalue(plain->referred, i, 0), oid) == 0)
			return true;
	return false;
}

static void put_list(const struct plain *plain, struct slm_buf *sql)
{
	for (uint32_t i = 0; i < plain->n; i++)
		slm_buf_printf(sql, "%s%u", i ? ", " : "", nth(plain, i)->oid);
}

static enum sqloom_status ask(struct plain *plain, struct sqloom_error *err)
{
	struct slm_buf sql;
	enum sqloom_status status;

	slm_buf_init(&sql);
	slm_buf_puts(&sql,
		     "SELECT pg_catalog.format('ALTER TABLE %s DISABLE TRIGGER "
		     "%I;', tgrelid::pg_catalog.regclass, tgname), "
		     "pg_catalog.format('ALTER TABLE %s ENABLE %s TRIGGER %I;',"
		     " tgrelid::pg_catalog.regclass, CASE tgenabled WHEN 'A' "
		     "THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, "
		     "tgname) FROM pg_catalog.pg_trigger WHERE NOT "
		     "tgisinternal AND tgname <> '" PG_MARK "' AND tgenabled "
		     "<> 'D' AND tgparentid = 0 AND tgrelid IN (");
	put_list(plain, &sql);
	slm_buf_puts(&sql, ")");
	status = slm_pgkeep_exec(plain->db, "look for triggers", &sql,
				 &plain->triggers, err);
	if (status)
		return status;
	slm_buf_init(&sql);
	slm_buf_puts(&sql, "SELECT confrelid FROM pg_catalog.pg_constraint "
			   "WHERE contype = 'f' AND confdeltype <> 'a' AND "
			   "confrelid IN (");
	put_list(plain, &sql);
	slm_buf_puts(&sql, ")");
	return slm_pgkeep_exec(plain->db, "look for foreign keys", &sql,
			       &plain->referred, err);
}

/* Columns of the key, too: keys may be equal and not the same. */
static bool can_update(const struct pg_table *table, uint32_t column)
{
	return !table->columns[column].generated &&
	       !table->columns[column].always;
}

static void put_delete(const struct plain *plain, uint32_t i,
		       struct slm_buf *sql)
{
	const struct pg_table *table = nth(plain, i);

	slm_buf_printf(sql, "d%u AS (DELETE FROM ONLY %s AS t", i,
		       table->quoted);
	if (keeps_rows(plain, table) && table->rows) {
		slm_buf_printf(sql,
			       " WHERE NOT EXISTS (SELECT FROM " PG_SCHEMA
			       ".%c%u AS s WHERE ",
			       plain->db->plan->set, table->oid);
		slm_pgkeep_same(table, sql);
		slm_buf_putc(sql, ')');
	}
	slm_buf_puts(sql, " RETURNING 1), ");
}

static void put_values(const struct pg_table *table, bool kept,
		       struct slm_buf *sql)
{
	const char *separator = "ROW(";

	for (uint32_t i = 0; i < table->ncolumns; i++) {
		if (!can_update(table, i))
			continue;
		slm_buf_puts(sql, separator);
		slm_buf_puts(sql, kept ? "s." : "t.");
		if (kept)
			slm_buf_printf(sql, "c%d", table->columns[i].number);
		else
			slm_pgkeep_name(sql, table->columns[i].name);
		separator = ", ";
	}
	slm_buf_puts(sql, ")::pg_catalog.text");
}

/* Compared as text: not all types have an equality. */
static void put_update(const struct plain *plain, uint32_t i,
		       struct slm_buf *sql)
{
	const struct pg_table *table = nth(plain, i);
	const char *separator = " SET ";
	bool any = false;

	for (uint32_t c = 0; c < table->ncolumns; c++)
		any |= can_update(table, c);
	if (!any || !table->rows || !keeps_rows(plain, table))
		return;
	slm_buf_printf(sql, "u%u AS (UPDATE ONLY %s AS t", i, table->quoted);
	for (uint32_t c = 0; c < table->ncolumns; c++) {
		if (!can_update(table, c))
			continue;
		slm_buf_puts(sql, separator);
		slm_pgkeep_name(sql, table->columns[c].name);
		slm_buf_printf(sql, " = s.c%d", table->columns[c].number);
		separator = ", ";
	}
	slm_buf_printf(sql, " FROM " PG_SCHEMA ".%c%u AS s WHERE ",
		       plain->db->plan->set, table->oid);
	slm_pgkeep_same(table, sql);
	slm_buf_puts(sql, " AND ");
	put_values(table, false, sql);
	slm_buf_puts(sql, " <> ");
	put_values(table, true, sql);
	slm_buf_puts(sql, " AND (SELECT n FROM gone) >= 0 RETURNING 1), ");
}

static void put_insert(const struct plain *plain, uint32_t i,
		       struct slm_buf *sql)
{
	const struct pg_table *table = nth(plain, i);

	if (!table->rows)
		return;
	slm_buf_printf(sql, "i%u AS (INSERT INTO %s (", i, table->quoted);
	slm_pgkeep_columns(table, sql);
	slm_buf_puts(sql, ") OVERRIDING SYSTEM VALUE SELECT ");
	slm_pgkeep_kept_columns(table, sql);
	slm_buf_printf(sql,
		       " FROM " PG_SCHEMA ".%c%u AS s WHERE (SELECT n FROM "
		       "gone) >= 0",
		       plain->db->plan->set, table->oid);
	if (keeps_rows(plain, table)) {
		slm_buf_printf(sql,
			       " AND NOT EXISTS (SELECT FROM ONLY %s AS t "
			       "WHERE ",
			       table->quoted);
		slm_pgkeep_same(table, sql);
		slm_buf_putc(sql, ')');
	}
	slm_buf_puts(sql, " ORDER BY o RETURNING 1), ");
}

/* INSERTs ask how many rows are gone, and so come after all DELETEs. */
static void put_statement(const struct plain *plain, struct slm_buf *sql)
{
	slm_buf_puts(sql, "WITH ");
	for (uint32_t i = 0; i < plain->n; i++)
		put_delete(plain, i, sql);
	slm_buf_puts(sql, "gone AS (SELECT 0");
	for (uint32_t i = 0; i < plain->n; i++)
		slm_buf_printf(sql, " + (SELECT count(*) FROM d%u)", i);
	slm_buf_puts(sql, " AS n), ");
	for (uint32_t i = 0; i < plain->n; i++)
		put_update(plain, i, sql);
	for (uint32_t i = 0; i < plain->n; i++)
		put_insert(plain, i, sql);
	slm_buf_puts(sql, "done AS (SELECT) SELECT n FROM gone;");
}

static void put_triggers(const struct plain *plain, int column,
			 struct slm_buf *sql)
{
	for (int i = 0; i < PQntuples(plain->triggers); i++)
		slm_buf_puts(sql, PQgetvalue(plain->triggers, i, column));
}

static void put_sequences(const struct postgres *db, struct slm_buf *sql)
{
	for (uint32_t i = 0; i < db->catalogue.nsequences; i++) {
		const struct pg_sequence *sequence =
			&db->catalogue.sequences[i];

		if (sequence->dirty)
			slm_buf_printf(sql,
				       "SELECT pg_catalog.setval(%u::pg_catalog"
				       ".oid::pg_catalog.regclass, %lld, %s);",
				       sequence->oid,
				       (long long)sequence->last_value,
				       sequence->is_called ? "true" : "false");
	}
}

/* A superuser may do all of that, but a role that owns the tables need not
 * become one for a sequence. */
static const char *needs(const struct sqloom_error *why)
{
	return strstr(why->message, "permission denied for sequence") ?
		       slm_pgsnap_sequence_rights() :
		       slm_pgrestore_needs();
}

static enum sqloom_status failed(struct sqloom_error *err,
				 const struct sqloom_error *why)
{
	enum sqloom_status status = slm_error_set(
		err, SQLOOM_DATABASE,
		"the tables cannot be put back to what they were before the "
		"run: %.200s; %s; what is kept in schema %s is put back by "
		"the next start",
		why->message, needs(why), PG_SCHEMA);

	if (err)
		memcpy(err->sqlstate, why->sqlstate, sizeof(err->sqlstate));
	return status;
}

static enum sqloom_status check_keys(const struct plain *plain,
				     struct sqloom_error *err)
{
	for (uint32_t i = 0; i < plain->n; i++)
		if (keeps_rows(plain, nth(plain, i)) && !nth(plain, i)->primary)
			return slm_error_set(
				err, SQLOOM_DATABASE,
				"table %s has no primary key, and a foreign "
				"key with an action refers to it: %s",
				nth(plain, i)->shown, slm_pgrestore_needs());
	return SQLOOM_OK;
}

enum sqloom_status slm_pgrestore_plain(struct postgres *db,
				       const uint32_t *tables, uint32_t n,
				       struct sqloom_error *err)
{
	struct plain plain = { .db = db, .tables = tables, .n = n };
	struct sqloom_error why = { 0 };
	enum sqloom_status status = SQLOOM_OK;
	struct slm_buf sql;

	if (n)
		status = ask(&plain, err);
	if (!status && n)
		status = check_keys(&plain, err);
	if (status)
		goto out;
	slm_buf_init(&sql);
	slm_buf_puts(&sql, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
			   "SET CONSTRAINTS ALL DEFERRED;");
	put_triggers(&plain, 0, &sql);
	if (n)
		put_statement(&plain, &sql);
	slm_buf_puts(&sql, "SET CONSTRAINTS ALL IMMEDIATE;");
	put_triggers(&plain, 1, &sql);
	put_sequences(db, &sql);
	slm_buf_puts(&sql, "COMMIT");
	status = slm_pgkeep_exec(db, "put back tables", &sql, NULL, &why);
	if (status && db->admin.lost) {
		if (err)
			*err = why;
	} else if (status) {
		(void)slm_pg_exec(&db->admin, "roll back", "ROLLBACK", NULL,
				  NULL);
		failed(err, &why);
	}
out:
	PQclear(plain.triggers);
	PQclear(plain.referred);
	return status;
}
