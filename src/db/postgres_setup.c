/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of PG_SCHEMA in a database: made at the start, after what a crashed
 * sqloom left has been put right; dropped at the end, with all that the spec's
 * global setup created. Part of the PostgreSQL implementation of db.h.
 *
 * Its tables:
 *   life     one row: who made it, whether the setup has been completed
 *   kept     which tables have a snapshot, and with how many rows
 *   position where sequences were
 *   known    objects that were there before the setup
 *   created  objects that the setup made
 * A session-level advisory lock of the admin connection says that the sqloom
 * that made it is alive.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/error.h"
#include "db/postgres_keep.h"

/* "sqlo", "om" */
#define LOCK_KEYS "1936812143, 28525"
#define LOCK_TRIES 50
#define LOCK_PAUSE_MS 20
#define MARK "sqloom: what tables were before its runs; dropped at the end"

/* All objects of the user's, but for those of extensions, those that are part
 * of another one, and ours. */
#define NOT_TEMPORARY "nspname !~ '^pg_(toast_)?temp_'"
static const char objects[] =
	"SELECT o.class, o.oid FROM ("
	"SELECT tableoid, oid FROM pg_catalog.pg_class "
	"WHERE relnamespace <> 'pg_toast'::pg_catalog.regnamespace AND "
	"relpersistence <> 't' UNION ALL "
	"SELECT tableoid, oid FROM pg_catalog.pg_proc UNION ALL "
	"SELECT tableoid, oid FROM pg_catalog.pg_type "
	"WHERE typrelid = 0 AND typelem = 0 UNION ALL "
	"SELECT tableoid, oid FROM pg_catalog.pg_namespace "
	"WHERE nspname <> '" PG_SCHEMA "' AND " NOT_TEMPORARY " UNION ALL "
	"SELECT tableoid, oid FROM pg_catalog.pg_extension UNION ALL "
	"SELECT tableoid, oid FROM pg_catalog.pg_operator UNION ALL "
	"SELECT tableoid, oid FROM pg_catalog.pg_cast UNION ALL "
	"SELECT tableoid, oid FROM pg_catalog.pg_collation UNION ALL "
	"SELECT tableoid, oid FROM pg_catalog.pg_event_trigger UNION ALL "
	"SELECT tableoid, oid FROM pg_catalog.pg_foreign_data_wrapper "
	"UNION ALL "
	"SELECT tableoid, oid FROM pg_catalog.pg_foreign_server UNION ALL "
	"SELECT tableoid, oid FROM pg_catalog.pg_publication UNION ALL "
	"SELECT tableoid, oid FROM pg_catalog.pg_statistic_ext UNION ALL "
	"SELECT tableoid, oid FROM pg_catalog.pg_policy UNION ALL "
	"SELECT tableoid, oid FROM pg_catalog.pg_rewrite "
	"WHERE rulename <> '_RETURN' UNION ALL "
	"SELECT tableoid, oid FROM pg_catalog.pg_trigger "
	"WHERE NOT tgisinternal UNION ALL "
	"SELECT tableoid, oid FROM pg_catalog.pg_constraint "
	"WHERE conislocal AND conrelid <> 0"
	") AS o (class, oid) WHERE o.oid >= 16384 AND NOT EXISTS ("
	"SELECT FROM pg_catalog.pg_depend AS d WHERE d.classid = o.class "
	"AND d.objid = o.oid AND (d.deptype = 'e' OR d.deptype = 'i' AND "
	/* A partitioned table depends on its own columns, a composite type's
	 * table on the type, which is not listed. */
	"NOT (d.refclassid = d.classid AND d.refobjid = d.objid) AND "
	"d.refclassid <> 'pg_catalog.pg_type'::pg_catalog.regclass OR "
	"d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass "
	"AND d.refobjid = pg_catalog.to_regnamespace('" PG_SCHEMA "')))";

static enum sqloom_status admin(struct postgres *db, const char *doing,
				const char *sql, PGresult **result,
				struct sqloom_error *err)
{
	return slm_pg_exec(&db->admin, doing, sql, result, err);
}

/* ---- Who is at work ---------------------------------------------------- */

static enum sqloom_status busy(struct postgres *db, struct sqloom_error *err)
{
	PGresult *result = NULL;
	enum sqloom_status status =
		admin(db, "ask who uses the database",
		      "SELECT l.pid FROM pg_catalog.pg_locks AS l JOIN "
		      "pg_catalog.pg_database AS d ON d.oid = l.database WHERE "
		      "l.locktype = 'advisory' AND d.datname = "
		      "pg_catalog.current_database() AND (l.classid::bigint, "
		      "l.objid::bigint) = (" LOCK_KEYS ") AND l.granted",
		      &result, err);

	if (status)
		return status;
	slm_error_set(err, SQLOOM_DATABASE,
		      "another sqloom explores database %s (process %s of the "
		      "server): wait until it is done, or use another database",
		      PQdb(db->admin.conn),
		      PQntuples(result) ? PQgetvalue(result, 0, 0) :
					  "that has just ended");
	PQclear(result);
	return SQLOOM_DATABASE;
}

static enum sqloom_status try_lock(struct postgres *db, bool *taken,
				   struct sqloom_error *err)
{
	PGresult *result;
	enum sqloom_status status =
		admin(db, "take the lock that says that sqloom is at work",
		      "SELECT pg_catalog.pg_try_advisory_lock(" LOCK_KEYS ")",
		      &result, err);

	if (status)
		return status;
	*taken = *PQgetvalue(result, 0, 0) == 't';
	PQclear(result);
	return SQLOOM_OK;
}

/* A session whose client has just gone keeps its locks for a moment. */
static enum sqloom_status take_lock(struct postgres *db,
				    struct sqloom_error *err)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_MS * 1000000 };
	bool taken = false;
	enum sqloom_status status = try_lock(db, &taken, err);

	for (int i = 0; !status && !taken && i < LOCK_TRIES; i++) {
		(void)nanosleep(&pause, NULL);
		status = try_lock(db, &taken, err);
	}
	return status || taken ? status : busy(db, err);
}

/* ---- Dropping what was created ----------------------------------------- */

/* "table" and "public.t": how it is dropped. Things that are part of a table
 * are named as "x on public.t". */
static void put_drop(const char *type, const char *identity,
		     struct slm_buf *sql)
{
	const char *on;

	if (strcmp(type, "table constraint") == 0) {
		on = strstr(identity, " on ");
		if (on)
			slm_buf_printf(sql,
				       "ALTER TABLE IF EXISTS %s DROP "
				       "CONSTRAINT IF EXISTS %.*s CASCADE;",
				       on + 4, (int)(on - identity), identity);
		return;
	}
	if (strcmp(type, "statistics object") == 0)
		type = "statistics";
	if (strcmp(type, "foreign-data wrapper") == 0)
		type = "foreign data wrapper";
	if (strcmp(type, "composite type") == 0)
		type = "type";
	slm_buf_printf(sql, "DROP %s IF EXISTS %s CASCADE;", type, identity);
}

/* Drops one object at a time: dropping one may drop the next. *dropped:
 * how many; tables among them are counted in *tables. */
static enum sqloom_status drop_created(struct postgres *db, unsigned *tables,
				       unsigned *others,
				       struct sqloom_error *err)
{
	PGresult *result;
	struct slm_buf sql;
	enum sqloom_status status = admin(
		db, "look what the setup created",
		"SELECT i.type, i.identity FROM " PG_SCHEMA ".created AS c, "
		"LATERAL pg_catalog.pg_identify_object(c.class, c.object, 0) "
		"AS i WHERE i.identity = c.identity AND i.type = c.type "
		/* Schemas and extensions last. */
		"ORDER BY i.type IN ('schema', 'extension'), i.type = 'table' "
		"DESC, c.object DESC",
		&result, err);

	if (status)
		return status;
	slm_buf_init(&sql);
	slm_buf_puts(&sql, "SET client_min_messages = warning;");
	for (int i = 0; i < PQntuples(result); i++) {
		const char *type = PQgetvalue(result, i, 0);

		if (strcmp(type, "table") == 0)
			++*tables;
		else
			++*others;
		put_drop(type, PQgetvalue(result, i, 1), &sql);
	}
	slm_buf_puts(&sql, "RESET client_min_messages");
	if (PQntuples(result))
		status = slm_pgkeep_exec(db, "drop what the setup created",
					 &sql, NULL, err);
	else
		slm_buf_deinit(&sql);
	PQclear(result);
	return status;
}

static enum sqloom_status note_created(struct postgres *db,
				       struct sqloom_error *err)
{
	struct slm_buf sql;

	slm_buf_init(&sql);
	slm_buf_puts(&sql, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
			   "DELETE FROM " PG_SCHEMA ".created;"
			   "INSERT INTO " PG_SCHEMA ".created SELECT n.class, "
			   "n.oid, i.type, i.identity FROM (");
	slm_buf_puts(&sql, objects);
	slm_buf_puts(&sql, " EXCEPT SELECT class, object FROM " PG_SCHEMA
			   ".known) AS n, LATERAL "
			   "pg_catalog.pg_identify_object(n.class, n.oid, 0) "
			   "AS i WHERE i.identity IS NOT NULL;"
			   "UPDATE " PG_SCHEMA ".life SET complete = true;"
			   "COMMIT");
	return slm_pgkeep_exec(db, "note what the setup created", &sql, NULL,
			       err);
}

/* ---- Putting snapshots of a set back ----------------------------------- */

/* The rows of a table in a set, and whether it has all of them: tables that
 * are not logged lose their rows when the server crashes, ours do not. */
static enum sqloom_status use_set(struct postgres *db, enum pg_set set,
				  struct sqloom_error *err)
{
	struct pg_catalogue *catalogue = &db->catalogue;
	struct slm_buf sql;
	PGresult *result;
	enum sqloom_status status;

	slm_buf_init(&sql);
	slm_buf_printf(&sql,
		       "SELECT oid, rows FROM " PG_SCHEMA ".kept WHERE set = "
		       "'%c'",
		       set);
	status = slm_pgkeep_exec(db, "look which tables are kept", &sql,
				 &result, err);
	if (status)
		return status;
	for (int i = 0; i < PQntuples(result); i++) {
		Oid oid = (Oid)strtoul(PQgetvalue(result, i, 0), NULL, 10);
		int table = slm_pgcat_find_oid(catalogue, oid);

		if (table < 0)
			continue; /* was dropped */
		catalogue->tables[table].snapshot = true;
		catalogue->tables[table].rows =
			strtoull(PQgetvalue(result, i, 1), NULL, 10);
	}
	PQclear(result);
	slm_buf_init(&sql);
	slm_buf_printf(&sql,
		       "SELECT oid, last_value, is_called FROM " PG_SCHEMA
		       ".position WHERE set = '%c'",
		       set);
	status = slm_pgkeep_exec(db, "look where sequences were", &sql, &result,
				 err);
	for (int i = 0; !status && i < PQntuples(result); i++) {
		Oid oid = (Oid)strtoul(PQgetvalue(result, i, 0), NULL, 10);

		for (uint32_t j = 0; j < catalogue->nsequences; j++) {
			struct pg_sequence *s = &catalogue->sequences[j];

			if (s->oid != oid)
				continue;
			s->last_value =
				strtoll(PQgetvalue(result, i, 1), NULL, 10);
			s->is_called = *PQgetvalue(result, i, 2) == 't';
			s->dirty = true;
		}
	}
	if (!status)
		PQclear(result);
	return status;
}

/* A setup may have added columns to a table that was there before it. They
 * stay, but nothing is kept of them: rows get their defaults. */
static enum sqloom_status hide_new_columns(struct postgres *db, enum pg_set set,
					   struct sqloom_error *err)
{
	struct pg_catalogue *catalogue = &db->catalogue;
	struct slm_buf sql;
	PGresult *result;
	enum sqloom_status status;

	slm_buf_init(&sql);
	slm_buf_printf(&sql,
		       "SELECT k.oid, c.attnum FROM " PG_SCHEMA ".kept AS k "
		       "JOIN pg_catalog.pg_attribute AS c ON c.attrelid = "
		       "k.oid AND c.attnum > 0 AND NOT c.attisdropped WHERE "
		       "k.set = '%c' AND k.rows > 0 AND NOT EXISTS (SELECT "
		       "FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = "
		       "pg_catalog.to_regclass('" PG_SCHEMA ".%c' || "
		       "k.oid) AND a.attname = 'c' || c.attnum)",
		       set, set);
	status = slm_pgkeep_exec(db, "look which columns are kept", &sql,
				 &result, err);
	if (status)
		return status;
	for (int i = 0; i < PQntuples(result); i++) {
		int table = slm_pgcat_find_oid(
			catalogue,
			(Oid)strtoul(PQgetvalue(result, i, 0), NULL, 10));
		int number = atoi(PQgetvalue(result, i, 1));

		for (uint32_t j = 0;
		     table >= 0 && j < catalogue->tables[table].ncolumns; j++)
			if (catalogue->tables[table].columns[j].number ==
			    number)
				catalogue->tables[table].columns[j].generated =
					true;
	}
	PQclear(result);
	return SQLOOM_OK;
}

/* Has the table other rows than the snapshot? As text: not all types have an
 * equality. */
static void put_compare(const struct pg_table *table, enum pg_set set,
			uint32_t index, struct slm_buf *sql)
{
	const char *separator = "";

	if (sql->size)
		slm_buf_puts(sql, " UNION ALL ");
	if (!table->rows) {
		slm_buf_printf(sql, "SELECT %u, EXISTS (SELECT FROM ONLY %s)",
			       index, table->quoted);
		return;
	}
	slm_buf_printf(sql,
		       "SELECT %u, (SELECT ROW(count(*), sum(pg_catalog."
		       "hashtextextended(r::pg_catalog.text, 0)::numeric)) "
		       "FROM (SELECT ROW(",
		       index);
	slm_pgkeep_columns(table, sql);
	slm_buf_printf(sql,
		       ") AS r FROM ONLY %s) AS t) IS DISTINCT FROM (SELECT "
		       "ROW(count(*), sum(pg_catalog.hashtextextended("
		       "r::pg_catalog.text, 0)::numeric)) FROM (SELECT ROW(",
		       table->quoted);
	for (uint32_t i = 0; i < table->ncolumns; i++) {
		if (table->columns[i].generated)
			continue;
		slm_buf_printf(sql, "%sc%d", separator,
			       table->columns[i].number);
		separator = ", ";
	}
	slm_buf_printf(sql, ") AS r FROM " PG_SCHEMA ".%c%u) AS s)", set,
		       table->oid);
}

/* Those of the tables from *at on that are compared in one go. */
static enum sqloom_status mark_some(struct postgres *db, enum pg_set set,
				    uint32_t *at, unsigned *changed,
				    struct sqloom_error *err)
{
	enum sqloom_status status;
	PGresult *result;
	struct slm_buf sql;

	slm_buf_init(&sql);
	for (uint32_t n = 0;
	     *at < db->catalogue.ntables && n < PG_TABLES_AT_ONCE; ++*at) {
		if (!db->catalogue.tables[*at].snapshot)
			continue;
		put_compare(&db->catalogue.tables[*at], set, *at, &sql);
		n++;
	}
	if (!sql.size) {
		slm_buf_deinit(&sql);
		return SQLOOM_OK;
	}
	status = slm_pgkeep_exec(db, "compare tables with what is kept", &sql,
				 &result, err);
	if (status)
		return status;
	for (int i = 0; i < PQntuples(result); i++) {
		unsigned long index =
			strtoul(PQgetvalue(result, i, 0), NULL, 10);
		bool differs = *PQgetvalue(result, i, 1) == 't';

		db->catalogue.tables[index].dirty = differs;
		*changed += differs;
	}
	PQclear(result);
	return SQLOOM_OK;
}

static enum sqloom_status mark_changed(struct postgres *db, enum pg_set set,
				       unsigned *changed,
				       struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;
	uint32_t at = 0;

	*changed = 0;
	while (!status && at < db->catalogue.ntables)
		status = mark_some(db, set, &at, changed, err);
	return status;
}

/* Puts back what differs from a set of snapshots. */
static enum sqloom_status put_back(struct postgres *db, enum pg_set set,
				   unsigned *changed, struct sqloom_error *err)
{
	enum sqloom_status status;

	for (uint32_t i = 0; i < db->catalogue.ntables; i++) {
		db->catalogue.tables[i].snapshot = false;
		db->catalogue.tables[i].dirty = false;
	}
	status = slm_pgkeep_plan(db, err);
	/* What is known of another set is not true of this one. */
	if (!status)
		status = slm_pgkeep_forget(db, set, err);
	if (!status)
		status = use_set(db, set, err);
	if (!status)
		status = hide_new_columns(db, set, err);
	if (!status)
		status = slm_pgkeep_settings(db, true, err);
	if (!status)
		status = mark_changed(db, set, changed, err);
	db->all_dirty = false;
	if (!status)
		status = slm_pgrestore(db, false, err);
	for (uint32_t i = 0; i < db->catalogue.ntables; i++)
		db->catalogue.tables[i].snapshot = false;
	return status;
}

/* ---- Leftovers --------------------------------------------------------- */

static enum sqloom_status drop_schema(struct postgres *db,
				      struct sqloom_error *err)
{
	return admin(db, "drop schema " PG_SCHEMA,
		     "SET client_min_messages = warning;"
		     "DROP SCHEMA IF EXISTS " PG_SCHEMA " CASCADE;"
		     "RESET client_min_messages",
		     NULL, err);
}

static void say_cleaned(struct postgres *db, unsigned restored, unsigned tables,
			unsigned others, const char **cleaned)
{
	*cleaned = slm_arena_printf(
		&db->arena,
		"an earlier sqloom ended too early; put right what it left in "
		"the database: %u table%s restored, %u table%s and %u other "
		"object%s dropped",
		restored, restored == 1 ? "" : "s", tables,
		tables == 1 ? "" : "s", others, others == 1 ? "" : "s");
}

static enum sqloom_status is_complete(struct postgres *db, bool *complete,
				      struct sqloom_error *err)
{
	PGresult *result;
	enum sqloom_status status =
		admin(db, "look what an earlier sqloom left",
		      "SELECT bool_or(complete) FROM " PG_SCHEMA ".life",
		      &result, err);

	if (status)
		return status;
	*complete = *PQgetvalue(result, 0, 0) == 't';
	PQclear(result);
	return SQLOOM_OK;
}

/* Not in one way out only: the schema may have been changed by hand since. */
static enum sqloom_status not_cleaned(struct postgres *db,
				      struct sqloom_error *err)
{
	struct sqloom_error why = { 0 };
	char *promise;

	if (!err || db->admin.lost)
		return SQLOOM_DATABASE;
	why = *err;
	/* The next start is this one. */
	promise = strstr(why.message, "; what is kept in schema");
	if (promise)
		*promise = '\0';
	slm_error_set(err, SQLOOM_DATABASE,
		      "what an earlier sqloom left in database %s cannot be "
		      "put right: %.380s; then start again, or put the tables "
		      "right by hand (schema %s has the rows of some) and DROP "
		      "SCHEMA %s CASCADE",
		      PQdb(db->admin.conn), why.message, PG_SCHEMA, PG_SCHEMA);
	memcpy(err->sqlstate, why.sqlstate, sizeof(err->sqlstate));
	return SQLOOM_DATABASE;
}

/* What the setup made goes first: the rest is then as it was before it, but
 * for rows. Objects that the setup had not come to are in no list. */
static enum sqloom_status clean_up(struct postgres *db, const char **cleaned,
				   struct sqloom_error *err)
{
	unsigned restored = 0, again = 0, tables = 0, others = 0;
	bool complete = false;
	enum sqloom_status status = is_complete(db, &complete, err);

	if (!status && !complete)
		status = note_created(db, err);
	if (!status)
		status = drop_created(db, &tables, &others, err);
	if (!status)
		status = slm_pgcat_load(db, err);
	/* Sets do not keep the same tables: those of runs came later. */
	if (!status)
		status = put_back(db, PG_SET_RUNS, &restored, err);
	if (!status)
		status = put_back(db, PG_SET_BEFORE, &again, err);
	if (status)
		return not_cleaned(db, err);
	status = drop_schema(db, err);
	if (!status)
		status = slm_pgkeep_settings(db, false, err);
	if (!status)
		say_cleaned(db, restored > again ? restored : again, tables,
			    others, cleaned);
	return status;
}

enum schema_state { SCHEMA_NONE, SCHEMA_OURS, SCHEMA_FOREIGN };

static enum sqloom_status look_at_schema(struct postgres *db,
					 enum schema_state *state,
					 struct sqloom_error *err)
{
	PGresult *result;
	enum sqloom_status status = admin(
		db, "look for schema " PG_SCHEMA,
		"SELECT pg_catalog.obj_description(oid, 'pg_namespace') = "
		"'" MARK "' FROM pg_catalog.pg_namespace WHERE nspname = "
		"'" PG_SCHEMA "'",
		&result, err);

	if (status)
		return status;
	*state = !PQntuples(result)		  ? SCHEMA_NONE :
		 *PQgetvalue(result, 0, 0) == 't' ? SCHEMA_OURS :
						    SCHEMA_FOREIGN;
	PQclear(result);
	return SQLOOM_OK;
}

/* In one transaction: it is there as a whole, or not at all. */
static enum sqloom_status make_schema(struct postgres *db,
				      struct sqloom_error *err)
{
	struct slm_buf sql;

	slm_buf_init(&sql);
	slm_buf_puts(
		&sql,
		"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
		"CREATE SCHEMA " PG_SCHEMA ";"
		"COMMENT ON SCHEMA " PG_SCHEMA " IS '" MARK "';"
		"CREATE TABLE " PG_SCHEMA ".life (complete bool NOT NULL);"
		"INSERT INTO " PG_SCHEMA ".life VALUES (false);"
		"CREATE TABLE " PG_SCHEMA ".kept (set \"char\" NOT NULL, oid "
		"oid NOT NULL, rows bigint NOT NULL, UNIQUE (set, oid));"
		"CREATE TABLE " PG_SCHEMA ".position (set \"char\" NOT NULL, "
		"oid oid NOT NULL, last_value bigint NOT NULL, is_called bool "
		"NOT NULL);"
		"CREATE TABLE " PG_SCHEMA ".known (class oid, object oid);"
		"CREATE TABLE " PG_SCHEMA ".created (class oid, object oid, "
		"type text, identity text);"
		/* Else a publication of all tables forbids to change them. */
		"ALTER TABLE " PG_SCHEMA ".life REPLICA IDENTITY FULL;"
		"ALTER TABLE " PG_SCHEMA ".position REPLICA IDENTITY FULL;"
		"ALTER TABLE " PG_SCHEMA ".created REPLICA IDENTITY FULL;"
		"INSERT INTO " PG_SCHEMA ".known ");
	slm_buf_puts(&sql, objects);
	slm_buf_puts(&sql, "; COMMIT");
	return slm_pgkeep_exec(db, "make schema " PG_SCHEMA, &sql, NULL, err);
}

enum sqloom_status slm_pgsnap_begin(struct postgres *db, const char **cleaned,
				    struct sqloom_error *err)
{
	enum schema_state state = SCHEMA_NONE;
	enum sqloom_status status = take_lock(db, err);

	*cleaned = NULL;
	if (!status)
		status = look_at_schema(db, &state, err);
	if (!status && state == SCHEMA_FOREIGN)
		return slm_error_set(err, SQLOOM_DATABASE,
				     "database %s has a schema named %s that "
				     "is not of this tool's making: rename it, "
				     "or use another database",
				     PQdb(db->admin.conn), PG_SCHEMA);
	if (!status && state == SCHEMA_OURS)
		status = clean_up(db, cleaned, err);
	if (!status)
		status = slm_pgkeep_plan(db, err);
	/* The user's event triggers have nothing to do with our tables. */
	if (!status)
		status = slm_pgkeep_settings(db, true, err);
	if (!status)
		status = make_schema(db, err);
	if (!status)
		status = slm_pgkeep_forget(db, PG_SET_RUNS, err);
	if (!status)
		db->plan->begun = true;
	else
		(void)admin(db, "roll back", "ROLLBACK", NULL, NULL);
	return status;
}

/* ---- The setup --------------------------------------------------------- */

static bool has_setup(const struct postgres *db)
{
	return db->spec->nsetups || db->spec->teardown.text ||
	       slm_pgoutside_has_setup(db);
}

static enum sqloom_status keep_before(struct postgres *db,
				      struct sqloom_error *err)
{
	uint32_t *list = slm_calloc(db->catalogue.ntables + 1u, sizeof(*list));
	enum sqloom_status status;
	uint32_t n = 0;

	if (!list)
		return slm_error_nomem(err);
	for (uint32_t i = 0; i < db->catalogue.ntables; i++)
		if (db->catalogue.tables[i].kind == 'r' &&
		    !db->catalogue.tables[i].temporary)
			list[n++] = i;
	status = slm_pgkeep_take(db, PG_SET_BEFORE, list, n, err);
	slm_free(list);
	return status;
}

enum sqloom_status slm_pgsnap_setup_begins(struct postgres *db,
					   struct sqloom_error *err)
{
	enum sqloom_status status;

	if (!has_setup(db))
		return SQLOOM_OK;
	status = slm_pgcat_load(db, err);
	if (!status)
		status = keep_before(db, err);
	if (!status)
		status = slm_pgsnap_sequences(db, err);
	if (!status)
		status = admin(db, "note the positions of sequences",
			       "UPDATE " PG_SCHEMA ".position SET set = 'b'",
			       NULL, err);
	/* The setup runs as it would without us. */
	return status ? status : slm_pgkeep_settings(db, false, err);
}

enum sqloom_status slm_pgsnap_setup_ended(struct postgres *db,
					  struct sqloom_error *err)
{
	enum sqloom_status status = note_created(db, err);

	db->plan->set_up = !status;
	return status;
}

enum sqloom_status slm_pgsnap_teardown_begins(struct postgres *db,
					      struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	/* A setup that failed may have left a transaction open. */
	if (PQtransactionStatus(db->admin.conn) != PQTRANS_IDLE)
		status =
			admin(db, "roll back the setup", "ROLLBACK", NULL, err);
	return status ? status : slm_pgkeep_settings(db, false, err);
}

enum sqloom_status slm_pgsnap_end(struct postgres *db, struct sqloom_error *err)
{
	unsigned tables = 0, others = 0, changed = 0;
	enum sqloom_status status = SQLOOM_OK;

	if (!db->plan || !db->plan->begun)
		return SQLOOM_OK;
	if (!db->plan->set_up)
		status = note_created(db, err);
	if (!status)
		status = drop_created(db, &tables, &others, err);
	if (!status && has_setup(db)) {
		status = slm_pgcat_load(db, err);
		if (!status)
			status = put_back(db, PG_SET_BEFORE, &changed, err);
	}
	if (!status)
		status = slm_pgkeep_settings(db, true, err);
	if (!status)
		status = drop_schema(db, err);
	if (!status)
		status = slm_pgkeep_settings(db, false, err);
	if (!status)
		status = admin(db, "give the lock back",
			       "SELECT pg_catalog.pg_advisory_unlock(" LOCK_KEYS
			       ")",
			       NULL, err);
	if (!status)
		db->plan->begun = false;
	return status;
}
