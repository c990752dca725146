/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a run may write is kept before it is gone: snapshots of tables, the
 * positions of sequences, and the question to the server which tables a
 * transaction holds locks on that only writers take. Part of the PostgreSQL
 * implementation of db.h.
 *
 * A snapshot is taken when a table is first seen to be written, while that
 * transaction is not committed: others do not see its rows yet.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "db/postgres_keep.h"

#define HELD "sqloom_held"
/* Locks of one process that tell of writes: in this database, on relations in
 * the mode of who locks rows or writes, and on objects of a kind that only DDL
 * locks; and that its transaction has a number. */
#define HELD_SQL                                                      \
	"SELECT relation, mode, classid, objid, locktype FROM "       \
	"pg_catalog.pg_lock_status() WHERE pid = $1 AND granted AND " \
	"(database = $2 AND (locktype = 'relation' AND mode <> "      \
	"'AccessShareLock' OR locktype = 'object') OR locktype = "    \
	"'transactionid')"

enum {
	FIRST_NORMAL_OID = 16384, /* below: the system's own */
	CLASS_CONSTRAINT = 2606,
	CLASS_FUNCTION = 1255,
	CLASS_TYPE = 1247,
	CLASS_NAMESPACE = 2615,
};

/* ---- Shared helpers ---------------------------------------------------- */

void slm_pgkeep_name(struct slm_buf *out, const char *name)
{
	slm_buf_putc(out, '"');
	for (; *name; name++) {
		if (*name == '"')
			slm_buf_putc(out, '"');
		slm_buf_putc(out, *name);
	}
	slm_buf_putc(out, '"');
}

void slm_pgkeep_columns(const struct pg_table *table, struct slm_buf *out)
{
	const char *separator = "";

	for (uint32_t i = 0; i < table->ncolumns; i++) {
		if (table->columns[i].generated)
			continue;
		slm_buf_puts(out, separator);
		slm_pgkeep_name(out, table->columns[i].name);
		separator = ", ";
	}
}

void slm_pgkeep_kept_columns(const struct pg_table *table, struct slm_buf *out)
{
	const char *separator = "";

	for (uint32_t i = 0; i < table->ncolumns; i++) {
		if (table->columns[i].generated)
			continue;
		slm_buf_printf(out, "%sc%d", separator,
			       table->columns[i].number);
		separator = ", ";
	}
}

void slm_pgkeep_same(const struct pg_table *table, struct slm_buf *out)
{
	/* As records: they find how the types are compared by themselves. A
	 * bare "=" is looked for along the search_path, which need not have
	 * that of an extension's type. */
	slm_buf_puts(out, "ROW(");
	for (uint32_t i = 0; i < table->nprimary; i++) {
		slm_buf_puts(out, i ? ", t." : "t.");
		slm_pgkeep_name(out, table->columns[table->primary[i]].name);
	}
	slm_buf_puts(out, ")::record OPERATOR(pg_catalog.=) ROW(");
	for (uint32_t i = 0; i < table->nprimary; i++)
		slm_buf_printf(out, "%ss.c%d", i ? ", " : "",
			       table->columns[table->primary[i]].number);
	slm_buf_puts(out, ")::record");
}

enum sqloom_status slm_pgkeep_exec(struct postgres *db, const char *doing,
				   struct slm_buf *sql, PGresult **result,
				   struct sqloom_error *err)
{
	enum sqloom_status status =
		slm_buf_failed(sql) ?
			slm_error_nomem(err) :
			slm_pg_exec(&db->admin, doing, sql->data, result, err);

	slm_buf_deinit(sql);
	return status;
}

static void forget_tables(struct pg_restore_plan *plan)
{
	for (uint32_t i = 0; i < plan->ntables; i++)
		PQclear(plan->tables[i].contents);
	slm_free(plan->tables);
	slm_free(plan->sequences);
	plan->tables = NULL;
	plan->sequences = NULL;
	plan->ntables = 0;
}

void slm_pgrestore_free(struct postgres *db)
{
	struct pg_restore_plan *plan = db->plan;

	if (!plan)
		return;
	forget_tables(plan);
	slm_free(plan->others);
	slm_free(plan->schemas);
	slm_free(plan);
	db->plan = NULL;
}

enum sqloom_status slm_pgkeep_plan(struct postgres *db,
				   struct sqloom_error *err)
{
	const struct pg_catalogue *catalogue = &db->catalogue;
	struct pg_restore_plan *plan = db->plan;

	if (!plan) {
		plan = db->plan = slm_calloc(1, sizeof(*plan));
		if (!plan)
			return slm_error_nomem(err);
		plan->set = PG_SET_RUNS;
	}
	if (plan->tables && plan->version == catalogue->version)
		return SQLOOM_OK;
	/* Prepared statements may name columns that are no more. */
	if (plan->tables) {
		enum sqloom_status status =
			slm_pg_exec(&db->admin, "forget prepared statements",
				    "DEALLOCATE ALL", NULL, err);

		if (status)
			return status;
	}
	forget_tables(plan);
	plan->xid_prepared = false;
	plan->tables =
		slm_calloc(catalogue->ntables + 1u, sizeof(*plan->tables));
	plan->sequences = slm_calloc(catalogue->nsequences + 1u,
				     sizeof(*plan->sequences));
	if (!plan->tables || !plan->sequences) {
		forget_tables(plan);
		return slm_error_nomem(err);
	}
	plan->ntables = catalogue->ntables;
	plan->version = catalogue->version;
	return SQLOOM_OK;
}

enum sqloom_status slm_pgkeep_forget(struct postgres *db, enum pg_set set,
				     struct sqloom_error *err)
{
	db->plan->version = 0;
	db->plan->set = set;
	*db->plan->since = '\0';
	return slm_pgkeep_plan(db, err);
}

enum sqloom_status slm_pgkeep_settings(struct postgres *db, bool restores,
				       struct sqloom_error *err)
{
	enum sqloom_status status;

	if (!db->plan || db->plan->settings == restores)
		return SQLOOM_OK;
	/* Not SET LOCAL in each restore: a change of it invalidates all plans
	 * of the connection. row_security off: an error, where a policy would
	 * hide rows. enable_nestloop off: the statements are planned once, and
	 * that when the pages of a table have just been emptied; each row of
	 * what is kept would be looked for in all of a large table. */
	status = slm_pg_exec(
		&db->admin, "prepare to restore",
		restores ? "SET row_security = off; SET enable_nestloop = off" :
			   "RESET row_security; RESET enable_nestloop",
		NULL, err);
	if (!status && db->may_replica)
		status = slm_pg_exec(
			&db->admin, "prepare to restore",
			restores ? "SET session_replication_role = replica" :
				   "RESET session_replication_role",
			NULL, err);
	if (!status)
		db->plan->settings = restores;
	return status;
}

/* ---- Taking ------------------------------------------------------------ */

/* Has each of the tables rows? One round trip. */
static enum sqloom_status ask_rows(struct postgres *db, const uint32_t *tables,
				   uint32_t n, PGresult **result,
				   struct sqloom_error *err)
{
	struct slm_buf sql;

	slm_buf_init(&sql);
	for (uint32_t i = 0; i < n; i++)
		slm_buf_printf(&sql,
			       "%sSELECT %u, EXISTS (SELECT FROM ONLY %s)",
			       i ? " UNION ALL " : "", i,
			       db->catalogue.tables[tables[i]].quoted);
	slm_buf_puts(&sql, " ORDER BY 1");
	return slm_pgkeep_exec(db, "look which tables have rows", &sql, result,
			       err);
}

/* An empty table needs no snapshot table, only a note. */
static void put_take(struct slm_buf *sql, enum pg_set set,
		     const struct pg_table *table, bool rows)
{
	if (rows) {
		slm_buf_printf(sql,
			       "CREATE TABLE " PG_SCHEMA ".%c%u AS SELECT "
			       "row_number() OVER (ORDER BY ctid) AS o",
			       set, table->oid);
		/* Also those that are generated: they may be of the key. */
		for (uint32_t i = 0; i < table->ncolumns; i++) {
			slm_buf_puts(sql, ", ");
			slm_pgkeep_name(sql, table->columns[i].name);
			slm_buf_printf(sql, " AS c%d",
				       table->columns[i].number);
		}
		slm_buf_printf(sql, " FROM ONLY %s;", table->quoted);
	}
	slm_buf_printf(sql, "INSERT INTO " PG_SCHEMA ".kept VALUES ('%c', %u, ",
		       set, table->oid);
	if (rows)
		slm_buf_printf(sql, "(SELECT count(*) FROM " PG_SCHEMA ".%c%u)",
			       set, table->oid);
	else
		slm_buf_putc(sql, '0');
	slm_buf_puts(sql, ") RETURNING rows;");
}

static enum sqloom_status send_take(struct postgres *db, struct slm_buf *sql,
				    const uint32_t *tables, enum pg_set set,
				    uint32_t n, struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;
	PGresult *result;
	uint32_t next = 0;

	if (!PQsendQuery(db->admin.conn, sql->data))
		return slm_pg_broken(&db->admin, err);
	while ((result = PQgetResult(db->admin.conn)) != NULL) {
		ExecStatusType got = PQresultStatus(result);

		if (got == PGRES_FATAL_ERROR && !status) {
			const char *state =
				PQresultErrorField(result, PG_DIAG_SQLSTATE);

			status = slm_error_set(
				err, SQLOOM_DATABASE,
				"cannot keep a copy of a table to go back to "
				"(schema %s): %s",
				PG_SCHEMA,
				PQresultErrorField(result,
						   PG_DIAG_MESSAGE_PRIMARY));
			if (err && state)
				snprintf(err->sqlstate, sizeof(err->sqlstate),
					 "%s", state);
		} else if (got == PGRES_TUPLES_OK && next < n) {
			if (set == PG_SET_RUNS)
				db->catalogue.tables[tables[next]].rows =
					strtoull(PQgetvalue(result, 0, 0), NULL,
						 10);
			next++;
		}
		PQclear(result);
	}
	if (PQstatus(db->admin.conn) == CONNECTION_BAD)
		return slm_pg_broken(&db->admin, err);
	if (status) /* the block is aborted */
		(void)slm_pg_exec(&db->admin, "roll back", "ROLLBACK", NULL,
				  NULL);
	return status;
}

static enum sqloom_status take_some(struct postgres *db, enum pg_set set,
				    const uint32_t *tables, uint32_t n,
				    struct sqloom_error *err)
{
	struct slm_buf sql;
	PGresult *rows = NULL;
	enum sqloom_status status;

	slm_buf_init(&sql);
	slm_buf_puts(&sql, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;");
	for (uint32_t i = 0; i < n; i++)
		slm_buf_printf(
			&sql, "LOCK TABLE ONLY %s IN ACCESS SHARE MODE NOWAIT;",
			db->catalogue.tables[tables[i]].quoted);
	/* First the locks: what follows then does not wait for anybody. */
	status = slm_pgkeep_exec(db, "keep copies of tables", &sql, NULL, err);
	if (!status)
		status = ask_rows(db, tables, n, &rows, err);
	if (status) {
		(void)slm_pg_exec(&db->admin, "roll back", "ROLLBACK", NULL,
				  NULL);
		return status;
	}
	slm_buf_init(&sql);
	for (uint32_t i = 0; i < n; i++)
		put_take(&sql, set, &db->catalogue.tables[tables[i]],
			 *PQgetvalue(rows, (int)i, 1) == 't');
	slm_buf_puts(&sql, "COMMIT");
	status = slm_buf_failed(&sql) ?
			 slm_error_nomem(err) :
			 send_take(db, &sql, tables, set, n, err);
	slm_buf_deinit(&sql);
	PQclear(rows);
	for (uint32_t i = 0; !status && set == PG_SET_RUNS && i < n; i++)
		db->catalogue.tables[tables[i]].snapshot = true;
	return status;
}

enum sqloom_status slm_pgkeep_take(struct postgres *db, enum pg_set set,
				   const uint32_t *tables, uint32_t n,
				   struct sqloom_error *err)
{
	enum sqloom_status status = slm_pgkeep_plan(db, err);

	if (!status && n)
		status = slm_pgkeep_settings(db, true, err);
	while (!status && n) {
		uint32_t some = n < PG_TABLES_AT_ONCE ? n : PG_TABLES_AT_ONCE;

		status = take_some(db, set, tables, some, err);
		tables += some;
		n -= some;
	}
	return status;
}

/* A table that cannot be read now, because a transaction holds it for itself
 * alone, can only be undone by a copy of the database. */
static enum sqloom_status take_now(struct postgres *db, const uint32_t *tables,
				   uint32_t n, struct sqloom_error *err)
{
	struct sqloom_error why = { 0 };
	enum sqloom_status status =
		slm_pgkeep_take(db, PG_SET_RUNS, tables, n, &why);

	if (status && strcmp(why.sqlstate, "55P03") == 0) {
		db->ddl_seen = true;
		return SQLOOM_OK;
	}
	if (status && err)
		*err = why;
	return status;
}

static bool is_kept(const struct pg_table *table)
{
	return table->kind == 'r' && !table->temporary;
}

/* What is written after this has a newer xid; nobody else is at work. */
static enum sqloom_status note_xid(struct postgres *db,
				   struct sqloom_error *err)
{
	PGresult *result;
	enum sqloom_status status =
		slm_pg_exec(&db->admin, "ask for the present transaction",
			    "SELECT pg_catalog.txid_snapshot_xmin("
			    "pg_catalog.txid_current_snapshot())",
			    &result, err);

	if (status)
		return status;
	/* Without its epoch. */
	snprintf(db->plan->since, sizeof(db->plan->since), "%u",
		 (unsigned)strtoull(PQgetvalue(result, 0, 0), NULL, 10) - 1);
	PQclear(result);
	return SQLOOM_OK;
}

enum sqloom_status slm_pgsnap_take_all(struct postgres *db,
				       struct sqloom_error *err)
{
	uint32_t *list = slm_calloc(db->catalogue.ntables + 1u, sizeof(*list));
	enum sqloom_status status = SQLOOM_OK;
	uint32_t n = 0;

	if (!list)
		return slm_error_nomem(err);
	for (uint32_t i = 0; i < db->catalogue.ntables; i++)
		if (is_kept(&db->catalogue.tables[i]) &&
		    !db->catalogue.tables[i].snapshot)
			list[n++] = i;
	if (db->options.keeps_only)
		status = note_xid(db, err);
	if (!status)
		status = slm_pgkeep_take(db, PG_SET_RUNS, list, n, err);
	slm_free(list);
	return status;
}

/* ---- Sequences --------------------------------------------------------- */

const char *slm_pgsnap_sequence_rights(void)
{
	return "the role must be allowed to read and set sequences, because "
	       "each run begins with them where they were: GRANT "
	       "SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA ... TO the role, "
	       "or connect as their owner";
}

/* Those from first to last - 1. */
static enum sqloom_status read_sequences(struct postgres *db, uint32_t first,
					 uint32_t last,
					 struct sqloom_error *err)
{
	struct pg_catalogue *catalogue = &db->catalogue;
	struct sqloom_error why = { 0 };
	PGresult *result;
	struct slm_buf sql;
	enum sqloom_status status;

	slm_buf_init(&sql);
	for (uint32_t i = first; i < last; i++)
		slm_buf_printf(&sql,
			       "%sSELECT %u, last_value, is_called FROM %s",
			       i > first ? " UNION ALL " : "", i,
			       catalogue->sequences[i].quoted);
	slm_buf_puts(&sql, " ORDER BY 1");
	status = slm_pgkeep_exec(db, "read the positions of sequences", &sql,
				 &result, &why);
	if (status && strcmp(why.sqlstate, "42501") == 0)
		slm_error_set(err, status, "%.200s; %s", why.message,
			      slm_pgsnap_sequence_rights());
	else if (status && err)
		*err = why;
	for (uint32_t i = first; !status && i < last; i++) {
		struct pg_sequence *sequence = &catalogue->sequences[i];
		int row = (int)(i - first);

		sequence->last_value =
			strtoll(PQgetvalue(result, row, 1), NULL, 10);
		sequence->is_called = *PQgetvalue(result, row, 2) == 't';
	}
	if (!status)
		PQclear(result);
	return status;
}

enum sqloom_status slm_pgsnap_sequences(struct postgres *db,
					struct sqloom_error *err)
{
	const struct pg_catalogue *catalogue = &db->catalogue;
	enum sqloom_status status = SQLOOM_OK;
	struct slm_buf sql;

	for (uint32_t at = 0; !status && at < catalogue->nsequences;
	     at += PG_TABLES_AT_ONCE)
		status = read_sequences(db, at,
					catalogue->nsequences - at <
							PG_TABLES_AT_ONCE ?
						catalogue->nsequences :
						at + PG_TABLES_AT_ONCE,
					err);
	if (status || !db->plan || !db->plan->begun || !catalogue->nsequences)
		return status;
	slm_buf_init(&sql);
	slm_buf_puts(&sql, "DELETE FROM " PG_SCHEMA ".position WHERE set = 'r';"
			   "INSERT INTO " PG_SCHEMA ".position VALUES ");
	for (uint32_t i = 0; i < catalogue->nsequences; i++) {
		const struct pg_sequence *sequence = &catalogue->sequences[i];

		slm_buf_printf(&sql, "%s('r', %u, %lld, %s)", i ? ", " : "",
			       sequence->oid, (long long)sequence->last_value,
			       sequence->is_called ? "true" : "false");
	}
	return slm_pgkeep_exec(db, "note the positions of sequences", &sql,
			       NULL, err);
}

/* ---- Marking ----------------------------------------------------------- */

/* Marks tables dirty; takes the snapshots that there are not. */
static enum sqloom_status mark_tables(struct postgres *db,
				      const uint32_t *tables, uint32_t n,
				      struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	for (uint32_t i = 0; !status && i < n; i++) {
		struct pg_table *table = &db->catalogue.tables[tables[i]];

		if (!is_kept(table))
			continue;
		if (!table->snapshot)
			status = take_now(db, &tables[i], 1, err);
		if (status)
			return status;
		table->dirty = table->snapshot;
		table->written = true;
	}
	return status;
}

enum sqloom_status slm_pgsnap_mark(struct postgres *db,
				   const struct pg_step *step,
				   struct sqloom_error *err)
{
	for (uint32_t i = 0; step->takes_keys && i < step->nsequences; i++)
		db->catalogue.sequences[step->sequences[i]].dirty = true;
	return mark_tables(db, step->writes, step->nwrites, err);
}

void slm_pgsnap_mark_sequences(struct postgres *db)
{
	for (uint32_t i = 0; i < db->catalogue.nsequences; i++)
		db->catalogue.sequences[i].dirty = true;
}

/* ---- Asking ------------------------------------------------------------ */

static int compare_oids(const void *a, const void *b)
{
	const Oid *left = a, *right = b;

	return *left < *right ? -1 : *left > *right;
}

static bool has_oid(const Oid *oids, unsigned n, Oid oid)
{
	return n && bsearch(&oid, oids, n, sizeof(oid), compare_oids);
}

static Oid *read_oids(const PGresult *result, unsigned *n)
{
	Oid *oids = slm_calloc((size_t)PQntuples(result) + 1, sizeof(*oids));

	*n = oids ? (unsigned)PQntuples(result) : 0;
	for (unsigned i = 0; i < *n; i++)
		oids[i] = (Oid)strtoul(PQgetvalue(result, (int)i, 0), NULL, 10);
	if (*n)
		qsort(oids, *n, sizeof(*oids), compare_oids);
	return oids;
}

static enum sqloom_status load_oids(struct postgres *db, const char *sql,
				    Oid **oids, unsigned *n,
				    struct sqloom_error *err)
{
	PGresult *result;
	enum sqloom_status status = slm_pg_exec(
		&db->monitor, "read the catalogue", sql, &result, err);

	if (status)
		return status;
	slm_free(*oids);
	*oids = read_oids(result, n);
	PQclear(result);
	return *oids ? SQLOOM_OK : slm_error_nomem(err);
}

static enum sqloom_status know_others(struct postgres *db,
				      struct sqloom_error *err)
{
	struct pg_restore_plan *plan = db->plan;
	enum sqloom_status status;

	if (plan->others && plan->others_version == db->catalogue.version)
		return SQLOOM_OK;
	status = load_oids(db,
			   "SELECT oid FROM pg_catalog.pg_class WHERE relkind "
			   "NOT IN ('r', 'p', 'v', 'm', 'f', 'S')",
			   &plan->others, &plan->nothers, err);
	if (!status)
		status = load_oids(db,
				   "SELECT oid FROM pg_catalog.pg_namespace "
				   "WHERE nspname !~ '^pg_(toast_)?temp_'",
				   &plan->schemas, &plan->nschemas, err);
	if (!status)
		plan->others_version = db->catalogue.version;
	return status;
}

static int find_sequence(const struct pg_catalogue *catalogue, Oid oid)
{
	for (uint32_t i = 0; i < catalogue->nsequences; i++)
		if (catalogue->sequences[i].oid == oid)
			return (int)i;
	return -1;
}

static enum sqloom_status held_relation(struct postgres *db,
					const struct pg_watch *watch, Oid oid,
					const char *mode,
					struct sqloom_error *err)
{
	struct pg_catalogue *catalogue = &db->catalogue;
	bool alone = strcmp(mode, "AccessExclusiveLock") == 0;
	bool writes = alone || strcmp(mode, "RowExclusiveLock") == 0;
	int table = slm_pgcat_find_oid(catalogue, oid);
	int sequence = find_sequence(catalogue, oid);

	if (table >= 0) {
		uint32_t index = (uint32_t)table;
		char kind = catalogue->tables[table].kind;

		/* What refreshes a materialized view is no simple write. */
		if (kind == 'm' || (alone && !watch->locks_tables))
			db->ddl_seen = true;
		return writes ? mark_tables(db, &index, 1, err) : SQLOOM_OK;
	}
	if (sequence >= 0)
		catalogue->sequences[sequence].dirty = true;
	else if (oid < FIRST_NORMAL_OID && writes)
		db->ddl_seen = true;
	/* Else an index, whose table is locked as well; or what is new in this
	 * transaction: the lock on its schema says whether it is temporary. */
	return SQLOOM_OK;
}

/* Is a function that is dropped somebody's? If not, it is new in the same
 * transaction, or temporary. */
static enum sqloom_status dropped_function(struct postgres *db, Oid function,
					   struct sqloom_error *err)
{
	char oid[16];
	const char *values[] = { oid };
	PGresult *result;
	enum sqloom_status status;

	snprintf(oid, sizeof(oid), "%u", function);
	status = slm_pg_exec_params(
		&db->monitor, "ask what a transaction drops",
		"SELECT FROM pg_catalog.pg_proc AS p JOIN "
		"pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace "
		"WHERE p.oid = $1 AND n.nspname !~ '^pg_temp_'",
		1, values, &result, err);
	if (status)
		return status;
	db->ddl_seen |= PQntuples(result) > 0;
	PQclear(result);
	return SQLOOM_OK;
}

/* Locks on objects: on the schema in which something is made; on what is
 * dropped. */
static enum sqloom_status held_object(struct postgres *db, Oid class,
				      Oid object, struct sqloom_error *err)
{
	if (class == CLASS_TYPE || class == CLASS_CONSTRAINT)
		return SQLOOM_OK; /* a table's, also of a temporary one */
	if (class == CLASS_FUNCTION)
		return dropped_function(db, object, err);
	db->ddl_seen |= class != CLASS_NAMESPACE ||
			has_oid(db->plan->schemas, db->plan->nschemas, object);
	return SQLOOM_OK;
}

/* An index that is made is new, and its table is locked in a mode of its own,
 * but no schema is. */
static bool makes_index(const struct postgres *db, Oid oid, const char *mode,
			bool *shared, bool *new)
{
	const struct pg_catalogue *catalogue = &db->catalogue;
	bool known = slm_pgcat_find_oid(catalogue, oid) >= 0;

	*shared |= known && strcmp(mode, "ShareLock") == 0;
	*new |= !known &&oid >=
			FIRST_NORMAL_OID &&find_sequence(catalogue, oid) < 0 &&
		strcmp(mode, "AccessExclusiveLock") == 0;
	return *shared && *new;
}

static enum sqloom_status judge_locks(struct postgres *db,
				      const struct pg_watch *watch,
				      const PGresult *locks,
				      struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;
	bool shared = false, new = false, numbered = false, held = false;
	bool writes = false;

	for (int i = 0; !status && i < PQntuples(locks); i++) {
		Oid oid = (Oid)strtoul(PQgetvalue(locks, i, 0), NULL, 10);
		const char *mode = PQgetvalue(locks, i, 1);

		if (strcmp(PQgetvalue(locks, i, 4), "transactionid") == 0) {
			numbered = true;
			continue;
		}
		held = true;
		writes |= strcmp(mode, "RowShareLock") != 0;
		if (PQgetisnull(locks, i, 0)) {
			status = held_object(
				db,
				(Oid)strtoul(PQgetvalue(locks, i, 2), NULL, 10),
				(Oid)strtoul(PQgetvalue(locks, i, 3), NULL, 10),
				err);
			continue;
		}
		if (has_oid(db->plan->others, db->plan->nothers, oid))
			continue;
		db->ddl_seen |= makes_index(db, oid, mode, &shared, &new);
		status = held_relation(db, watch, oid, mode, err);
	}
	/* A program's may have failed, and given them back. */
	if (db->outside && !writes)
		slm_pgsnap_mark_sequences(db);
	/* It wrote, and holds nothing: up to PostgreSQL 15.18 that is how a
	 * function or a type is made. Or what it wrote was undone, which of a
	 * program is not known: it cannot be told to try again on a copy. */
	db->ddl_seen |= numbered && !held && !watch->goes_back && !db->outside;
	return status;
}

static enum sqloom_status prepare_held(struct postgres *db,
				       struct sqloom_error *err)
{
	static const Oid types[] = { 23, 26 }; /* int4, oid */
	PGresult *result, *database;
	struct slm_buf sql;
	enum sqloom_status status;

	if (db->plan->held_prepared)
		return SQLOOM_OK;
	/* The database is a constant, so that it need not be looked up. */
	status = slm_pg_exec(&db->monitor, "ask for the database's number",
			     "SELECT oid FROM pg_catalog.pg_database WHERE "
			     "datname = pg_catalog.current_database()",
			     &database, err);
	if (status)
		return status;
	slm_buf_init(&sql);
	for (const char *at = HELD_SQL; *at; at++) {
		if (at[0] == '$' && at[1] == '2') {
			slm_buf_puts(&sql, PQgetvalue(database, 0, 0));
			at++;
		} else {
			slm_buf_putc(&sql, *at);
		}
	}
	PQclear(database);
	if (slm_buf_failed(&sql)) {
		slm_buf_deinit(&sql);
		return slm_error_nomem(err);
	}
	result = PQprepare(db->monitor.conn, HELD, sql.data, 1, types);
	slm_buf_deinit(&sql);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		status = slm_error_set(err, SQLOOM_DATABASE,
				       "cannot ask what a transaction locks: "
				       "%s",
				       PQerrorMessage(db->monitor.conn));
	else
		db->plan->held_prepared = true;
	PQclear(result);
	return status;
}

enum sqloom_status slm_pgsnap_ask(struct postgres *db,
				  const struct pg_watch *watch,
				  struct sqloom_error *err)
{
	char pid[16];
	const char *values[] = { pid };
	PGresult *locks;
	enum sqloom_status status = slm_pgkeep_plan(db, err);

	if (!status)
		status = prepare_held(db, err);
	if (!status)
		status = know_others(db, err);
	if (status)
		return status;
	snprintf(pid, sizeof(pid), "%d", watch->pid);
	locks = PQexecPrepared(db->monitor.conn, HELD, 1, values, NULL, NULL,
			       0);
	if (PQresultStatus(locks) == PGRES_TUPLES_OK)
		status = judge_locks(db, watch, locks, err);
	else if (PQstatus(db->monitor.conn) == CONNECTION_BAD)
		status = slm_pg_broken(&db->monitor, err);
	else
		status = slm_error_set(
			err, SQLOOM_DATABASE,
			"cannot ask what a transaction locks: "
			"%s",
			PQresultErrorField(locks, PG_DIAG_MESSAGE_PRIMARY));
	PQclear(locks);
	return status;
}

enum sqloom_status slm_pgsnap_before(struct postgres *db,
				     struct pg_watch *watch,
				     const struct pg_step *step, bool inside,
				     bool split, struct sqloom_error *err)
{
	const struct slm_pg_step *parsed = &step->parsed;
	enum sqloom_status status = SQLOOM_OK;

	if (parsed->ends && inside && watch->uncertain && watch->failed)
		slm_pgsnap_mark_sequences(db);
	else if (parsed->ends && inside && watch->uncertain)
		status = slm_pgsnap_ask(db, watch, err);
	if (status)
		return status;
	if (!step->certain) {
		watch->uncertain = true;
		/* Not in a transaction that could be asked about before it
		 * ends. */
		if ((!inside && !split && !parsed->begins_only) || parsed->ends)
			db->all_dirty = true;
	}
	return slm_pgsnap_mark(db, step, err);
}
