/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going back at the end of a run: what the run left in the tables is read,
 * and the tables and sequences that it may have changed are put back, all in
 * one round trip (a pipeline of prepared statements). Part of the PostgreSQL
 * implementation of db.h; postgres_restore_plain.c has the way for roles that
 * may not bypass constraints.
 *
 * Runs must not see what earlier runs did to the pages of a table: a row that
 * an UPDATE moves would be found in another order, by which statements lock
 * rows in another order. So rows go into pages that hold nothing but what
 * earlier restores and runs appended, in the order of the snapshot, and
 * before the first page is full all pages are emptied (VACUUM between DELETE
 * and INSERT). Rows of large tables are put back one by one, and only stay in
 * some order.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "db/postgres_keep.h"

#define PAGE_ROOM 7000	  /* bytes of the first page that are used */
#define BY_ROWS_FROM 1000 /* rows of a table that is put back by rows */
#define ROOM_MAX 100	  /* restores between two VACUUMs, at most */
#define TOAST_EVERY 16	  /* VACUUMs, one is of what is out of line, too */
#define ROOM_BY_ROWS 20	  /* the same where tables are not emptied */
#define LOCKED "55P03"	  /* SQLSTATE: the time for a lock is over */

static const char letters[PG_PREPARED_KINDS] = {
	[PG_PREPARED_SELECT] = 's',
	[PG_PREPARED_DELETE] = 'd',
	[PG_PREPARED_INSERT] = 'i',
	[PG_PREPARED_STATISTICS] = 'u',
};

const char *slm_pgrestore_needs(void)
{
	return "a superuser is needed to put the tables back, or a role with: "
	       "GRANT SET ON PARAMETER session_replication_role TO the role "
	       "(PostgreSQL 15 or newer)";
}

/* ---- Prepared statements ----------------------------------------------- */

static void put_columns(const struct pg_table *table, struct slm_buf *out)
{
	for (uint32_t i = 0; i < table->ncolumns; i++) {
		slm_buf_puts(out, i ? ", " : "");
		slm_pgkeep_name(out, table->columns[i].name);
	}
}

/* Of rows: those that a transaction after the last restore wrote. */
static void put_delete(const struct pg_table *table, const struct pg_kept *kept,
		       bool keeps_only, struct slm_buf *sql)
{
	slm_buf_printf(sql, "DELETE FROM ONLY %s", table->quoted);
	if (kept->by_rows) {
		slm_buf_puts(sql, " WHERE pg_catalog.age(xmin) "
				  "OPERATOR(pg_catalog.<) pg_catalog.age($1)");
		return;
	}
	if (keeps_only)
		return;
	slm_buf_puts(sql, " RETURNING ");
	put_columns(table, sql);
	if (table->ncolumns == 0)
		slm_buf_puts(sql, "1");
}

static void put_insert(const struct postgres *db, const struct pg_table *table,
		       const struct pg_kept *kept, struct slm_buf *sql)
{
	slm_buf_printf(sql, "INSERT INTO %s (", table->quoted);
	slm_pgkeep_columns(table, sql);
	slm_buf_puts(sql, ") OVERRIDING SYSTEM VALUE SELECT ");
	slm_pgkeep_kept_columns(table, sql);
	slm_buf_printf(sql, " FROM " PG_SCHEMA ".%c%u AS s", db->plan->set,
		       table->oid);
	if (kept->by_rows) {
		slm_buf_printf(sql,
			       " WHERE NOT EXISTS (SELECT FROM ONLY %s AS t "
			       "WHERE ",
			       table->quoted);
		slm_pgkeep_same(table, sql);
		slm_buf_putc(sql, ')');
	}
	/* Else the snapshot table is scanned as it was written, in order. */
	if (kept->by_rows)
		slm_buf_puts(sql, " ORDER BY o");
	else
		slm_buf_puts(sql, " RETURNING ctid");
}

static bool put_statement(const struct postgres *db,
			  const struct pg_table *table,
			  const struct pg_kept *kept, enum pg_prepared kind,
			  struct slm_buf *sql)
{
	switch (kind) {
	case PG_PREPARED_SELECT:
		return slm_pgcontents_select(table, sql);
	case PG_PREPARED_DELETE:
		put_delete(table, kept, db->options.keeps_only, sql);
		break;
	case PG_PREPARED_INSERT:
		put_insert(db, table, kept, sql);
		break;
	case PG_PREPARED_STATISTICS:
		slm_buf_printf(sql,
			       "UPDATE pg_catalog.pg_class SET relpages = %s, "
			       "reltuples = %s WHERE oid = %u",
			       kept->relpages, kept->reltuples, table->oid);
		break;
	case PG_PREPARED_KINDS:
		break;
	}
	return !slm_buf_failed(sql);
}

static void statement_name(const struct pg_table *table, enum pg_prepared kind,
			   char name[32])
{
	snprintf(name, 32, "sqloom_%c%u", letters[kind], table->oid);
}

static enum sqloom_status prepare_text(struct postgres *db, const char *name,
				       const char *sql,
				       struct sqloom_error *err)
{
	static const Oid xid[] = { 28 };
	bool since = strstr(sql, "age($1)") != NULL;
	PGresult *result =
		PQprepare(db->admin.conn, name, sql, since ? 1 : 0, xid);
	enum sqloom_status status = SQLOOM_OK;

	if (PQstatus(db->admin.conn) == CONNECTION_BAD)
		status = slm_pg_broken(&db->admin, err);
	else if (PQresultStatus(result) != PGRES_COMMAND_OK)
		status = slm_error_set(
			err, SQLOOM_DATABASE,
			"cannot prepare to put a table back: %s",
			PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
	PQclear(result);
	return status;
}

static enum sqloom_status prepare(struct postgres *db, uint32_t table,
				  enum pg_prepared kind,
				  struct sqloom_error *err)
{
	const struct pg_table *t = &db->catalogue.tables[table];
	struct pg_kept *kept = &db->plan->tables[table];
	enum sqloom_status status;
	struct slm_buf sql;
	char name[32];

	if (kept->prepared[kind])
		return SQLOOM_OK;
	statement_name(t, kind, name);
	slm_buf_init(&sql);
	status = put_statement(db, t, kept, kind, &sql) ?
			 prepare_text(db, name, sql.data, err) :
			 slm_error_nomem(err);
	slm_buf_deinit(&sql);
	kept->prepared[kind] = !status;
	return status;
}

static enum sqloom_status prepare_sequence(struct postgres *db, uint32_t index,
					   struct sqloom_error *err)
{
	const struct pg_sequence *sequence = &db->catalogue.sequences[index];
	enum sqloom_status status;
	char sql[160], name[32];

	if (db->plan->sequences[index].setval)
		return SQLOOM_OK;
	snprintf(name, sizeof(name), "sqloom_q%u", sequence->oid);
	snprintf(sql, sizeof(sql),
		 "SELECT pg_catalog.setval(%u::pg_catalog.oid::pg_catalog."
		 "regclass, %lld, %s)",
		 sequence->oid, (long long)sequence->last_value,
		 sequence->is_called ? "true" : "false");
	status = prepare_text(db, name, sql, err);
	db->plan->sequences[index].setval = !status;
	return status;
}

enum sqloom_status slm_pgkeep_position(struct postgres *db, uint32_t index,
				       char name[32], struct sqloom_error *err)
{
	const struct pg_sequence *sequence = &db->catalogue.sequences[index];
	struct slm_buf sql;
	enum sqloom_status status = slm_pgkeep_plan(db, err);

	if (status)
		return status;
	snprintf(name, 32, "sqloom_p%u", sequence->oid);
	if (db->plan->sequences[index].position)
		return SQLOOM_OK;
	slm_buf_init(&sql);
	slm_buf_printf(&sql, "SELECT last_value, is_called FROM %s",
		       sequence->quoted);
	status = slm_buf_failed(&sql) ? slm_error_nomem(err) :
					prepare_text(db, name, sql.data, err);
	slm_buf_deinit(&sql);
	db->plan->sequences[index].position = !status;
	return status;
}

/* ---- Learning ---------------------------------------------------------- */

/* Before a table is put back for the first time: how large its rows are, what
 * the planner knows of it, whether it has triggers that fire even so. */
static enum sqloom_status examine(struct postgres *db, uint32_t table,
				  struct sqloom_error *err)
{
	const struct pg_table *t = &db->catalogue.tables[table];
	struct pg_kept *kept = &db->plan->tables[table];
	struct slm_buf sql;
	PGresult *result;
	enum sqloom_status status;

	if (kept->examined)
		return SQLOOM_OK;
	slm_buf_init(&sql);
	slm_buf_printf(&sql,
		       "SELECT relpages, reltuples, EXISTS (SELECT FROM "
		       "pg_catalog.pg_trigger WHERE tgrelid = c.oid AND NOT "
		       "tgisinternal AND tgname <> '" PG_MARK "' AND "
		       "tgenabled IN ('A', 'R'%s)), ",
		       db->may_replica ? "" : ", 'O'");
	if (t->rows)
		slm_buf_printf(&sql,
			       /* Without the ordinal */
			       "(SELECT sum((pg_catalog.pg_column_size(s) - 1)"
			       " / 8 * 8 + 4) FROM " PG_SCHEMA ".%c%u AS s)",
			       db->plan->set, t->oid);
	else
		slm_buf_puts(&sql, "0");
	slm_buf_printf(&sql, " FROM pg_catalog.pg_class AS c WHERE oid = %u",
		       t->oid);
	status = slm_pgkeep_exec(db, "look at a table", &sql, &result, err);
	if (status)
		return status;
	if (PQntuples(result) == 1) {
		snprintf(kept->relpages, sizeof(kept->relpages), "%s",
			 PQgetvalue(result, 0, 0));
		snprintf(kept->reltuples, sizeof(kept->reltuples), "%s",
			 PQgetvalue(result, 0, 1));
		kept->guarded = *PQgetvalue(result, 0, 2) == 't';
		kept->bytes = strtoull(PQgetvalue(result, 0, 3), NULL, 10);
	}
	PQclear(result);
	snprintf(kept->since, sizeof(kept->since), "%s",
		 *db->plan->since ? db->plan->since : "0");
	kept->spread = true; /* not known */
	kept->by_rows = t->rows >= BY_ROWS_FROM && t->primary &&
			db->may_replica && !kept->guarded;
	/* A run may write a few rows, too, about as large as the others. */
	kept->room = kept->by_rows ?
			     ROOM_BY_ROWS :
			     (unsigned)(PAGE_ROOM /
					(kept->bytes +
					 (t->rows ? 2 * kept->bytes / t->rows :
						    400)));
	if (kept->room > ROOM_MAX)
		kept->room = ROOM_MAX;
	/* There no pages can be emptied in between; they are only cleaned. */
	if (!db->may_replica || kept->guarded)
		kept->room = ROOM_BY_ROWS;
	/* The first time, whatever else was in the pages goes. */
	kept->restores = kept->room;
	kept->examined = true;
	return SQLOOM_OK;
}

/* ---- The pipeline ------------------------------------------------------ */

enum op_kind {
	OP_CONTENTS, /* rows of a table */
	OP_PLACES,   /* where the rows were put */
	OP_XID,	     /* the transaction that put them there */
	OP_POSITION, /* of a sequence, which is in place of the table */
	OP_VACUUM,
	OP_OTHER,
	OP_SYNC,
};

struct op {
	enum op_kind kind;
	uint32_t table;
};

/* What has been sent, and what came back. */
struct batch {
	struct postgres *db;
	struct op *ops;
	unsigned nops, capacity;
	PGresult **contents; /* per table; those that are in no cache */
	uint32_t *tables;    /* those to put back */
	uint32_t ntables;
	bool *emptied; /* per table: its pages are emptied */
	bool any_emptied, any_by_rows, any_spread;
	struct slm_buf vacuum; /* text; memory may be out before the pipeline,
				* not in it */
	bool misplaced;	       /* rows came back in another order */
	bool locked;	       /* somebody was in the way of VACUUM */
	char xid[24];	       /* of the restore; by_rows */
	bool read;
	bool plain;  /* constraints and triggers are in the way */
	bool failed; /* a result was an error; why is set */
	struct sqloom_error why;
};

static bool is_read(const struct pg_table *table)
{
	return table->written && table->kind == 'r';
}

static void add_op(struct batch *batch, enum op_kind kind, uint32_t table)
{
	assert(batch->nops < batch->capacity);
	batch->ops[batch->nops++] = (struct op){ .kind = kind, .table = table };
}

static bool send(struct batch *batch, uint32_t table, enum pg_prepared kind,
		 enum op_kind op)
{
	struct postgres *db = batch->db;
	const struct pg_kept *kept = &db->plan->tables[table];
	const char *values[] = { kept->since };
	bool since = kind == PG_PREPARED_DELETE && kept->by_rows;
	char name[32];

	statement_name(&db->catalogue.tables[table], kind, name);
	add_op(batch, op, table);
	return PQsendQueryPrepared(db->admin.conn, name, since ? 1 : 0, values,
				   NULL, NULL, 0);
}

static bool send_sync(struct batch *batch)
{
	add_op(batch, OP_SYNC, 0);
	return PQpipelineSync(batch->db->admin.conn);
}

/* Are the rows of a dirty table told by the statement that deletes them? */
static bool comes_with_delete(const struct batch *batch,
			      const struct pg_kept *kept)
{
	return !batch->plain && !kept->by_rows;
}

/* Keys that were taken since somebody asked. */
static bool send_positions(struct batch *batch)
{
	struct postgres *db = batch->db;
	char name[32];

	for (uint32_t i = 0; batch->read && i < db->catalogue.nsequences; i++) {
		if (!db->catalogue.sequences[i].taker)
			continue;
		snprintf(name, sizeof(name), "sqloom_p%u",
			 db->catalogue.sequences[i].oid);
		add_op(batch, OP_POSITION, i);
		if (!PQsendQueryPrepared(db->admin.conn, name, 0, NULL, NULL,
					 NULL, 0))
			return false;
	}
	return true;
}

static bool send_reads(struct batch *batch)
{
	struct postgres *db = batch->db;

	for (uint32_t i = 0; batch->read && i < db->catalogue.ntables; i++) {
		const struct pg_table *table = &db->catalogue.tables[i];
		const struct pg_kept *kept = &db->plan->tables[i];

		if (is_read(table) &&
		    (table->dirty ? !comes_with_delete(batch, kept) :
				    !kept->contents) &&
		    !send(batch, i, PG_PREPARED_SELECT, OP_CONTENTS))
			return false;
	}
	return true;
}

static bool send_deletes(struct batch *batch)
{
	struct postgres *db = batch->db;

	for (uint32_t i = 0; i < batch->ntables; i++) {
		uint32_t table = batch->tables[i];
		bool by_rows = db->plan->tables[table].by_rows;

		if (!send(batch, table, PG_PREPARED_DELETE,
			  by_rows ? OP_OTHER : OP_CONTENTS))
			return false;
	}
	return true;
}

/*
 * Must be in a transaction of its own. Large tables are not empty, but the
 * rows that are no more go from their pages and indexes. A single page is as
 * good as new when it is empty; more of them have to go, which takes longer.
 * What is stored out of line is rarely much, and waits.
 */
static enum sqloom_status make_vacuum(struct batch *batch,
				      struct sqloom_error *err)
{
	struct postgres *db = batch->db;
	struct slm_buf *sql = &batch->vacuum;
	const char *separator = "";
	bool toast = db->plan->emptied++ % TOAST_EVERY == 0;

	slm_buf_printf(sql, "VACUUM (INDEX_CLEANUP ON, TRUNCATE %s%s%s) ",
		       batch->any_spread ? "ON" : "OFF",
		       /* There nothing depends on it. */
		       batch->plain ? ", SKIP_LOCKED" : "",
		       toast || PQserverVersion(db->admin.conn) < 140000 ?
			       "" :
			       ", PROCESS_TOAST OFF");
	for (uint32_t i = 0; i < batch->ntables; i++) {
		if (!batch->emptied[i])
			continue;
		slm_buf_puts(sql, separator);
		slm_buf_puts(sql,
			     db->catalogue.tables[batch->tables[i]].quoted);
		separator = ", ";
	}
	return slm_buf_failed(sql) ? slm_error_nomem(err) : SQLOOM_OK;
}

static bool send_vacuum(struct batch *batch)
{
	if (!send_sync(batch))
		return false;
	add_op(batch, OP_VACUUM, 0);
	return PQsendQueryParams(batch->db->admin.conn, batch->vacuum.data, 0,
				 NULL, NULL, NULL, NULL, 0) &&
	       send_sync(batch);
}

/* What the planner knows is as it was. In a transaction of its own: what comes
 * behind it is planned once then, and not again the next time. */
static bool send_statistics(struct batch *batch)
{
	if (!batch->db->superuser)
		return true;
	for (uint32_t i = 0; i < batch->ntables; i++)
		if (batch->emptied[i] &&
		    !send(batch, batch->tables[i], PG_PREPARED_STATISTICS,
			  OP_OTHER))
			return false;
	return send_sync(batch);
}

static bool send_inserts(struct batch *batch)
{
	struct postgres *db = batch->db;

	for (uint32_t i = 0; i < batch->ntables; i++) {
		uint32_t table = batch->tables[i];

		if (db->catalogue.tables[table].rows &&
		    !send(batch, table, PG_PREPARED_INSERT, OP_PLACES))
			return false;
	}
	if (batch->any_by_rows) {
		add_op(batch, OP_XID, 0);
		if (!PQsendQueryPrepared(db->admin.conn, "sqloom_x", 0, NULL,
					 NULL, NULL, 0))
			return false;
	}
	for (uint32_t i = 0; i < db->catalogue.nsequences; i++) {
		char name[32];

		if (!db->catalogue.sequences[i].dirty)
			continue;
		snprintf(name, sizeof(name), "sqloom_q%u",
			 db->catalogue.sequences[i].oid);
		add_op(batch, OP_OTHER, 0);
		if (!PQsendQueryPrepared(db->admin.conn, name, 0, NULL, NULL,
					 NULL, 0))
			return false;
	}
	return true;
}

/* ---- What comes back --------------------------------------------------- */

/* "(0,12)" */
static bool read_place(const char *text, unsigned long *block,
		       unsigned long *offset)
{
	char *end;

	*block = strtoul(text + 1, &end, 10);
	*offset = *end ? strtoul(end + 1, NULL, 10) : 0;
	return *end == ',';
}

/* All rows are in the order of the snapshot; those of a table that fits into
 * one page are in the first. If not, the pages are emptied the next time, and
 * sooner from then on. */
static void judge_places(struct batch *batch, uint32_t table,
			 const PGresult *places)
{
	struct pg_kept *kept = &batch->db->plan->tables[table];
	unsigned long block, offset, last_block = 0, last_offset = 0;
	bool small = kept->bytes < PAGE_ROOM, fine = true;

	if (kept->by_rows)
		return;
	for (int i = 0; fine && i < PQntuples(places); i++) {
		fine = read_place(PQgetvalue(places, i, 0), &block, &offset);
		if (i && (block < last_block ||
			  (block == last_block && offset <= last_offset)))
			fine = false;
		last_block = block;
		last_offset = offset;
	}
	if (small && last_block > 0)
		fine = false;
	kept->spread = last_block > 0;
	if (fine)
		return;
	/* Right after they were emptied: somebody's old transaction still sees
	 * what was there. */
	batch->misplaced |= kept->restores > 1;
	if (kept->restores > 1 && kept->room > kept->restores / 2)
		kept->room = kept->restores / 2;
	kept->restores = kept->room;
}

/* table: UINT32_MAX if it is about none. */
static void explain(const struct batch *batch, const struct op *op,
		    const PGresult *result, struct sqloom_error *err)
{
	const struct postgres *db = batch->db;
	const char *what = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	bool about = op->kind == OP_CONTENTS || op->kind == OP_PLACES;

	slm_error_set(err, SQLOOM_DATABASE,
		      "cannot put %s%s back to what it was before the run: "
		      "%s; what is kept in schema %s is put back by the "
		      "next start",
		      about ? "table " : "the database",
		      about ? db->catalogue.tables[op->table].shown : "",
		      what ? what : "the server gives no reason", PG_SCHEMA);
	slm_pg_add_details(result, err);
}

static void learn_position(struct batch *batch, uint32_t index,
			   const PGresult *position)
{
	struct postgres *db = batch->db;
	struct pg_sequence *sequence = &db->catalogue.sequences[index];

	if (slm_pggenerated_learn(db, (int)sequence->taker - 1, sequence,
				  position, &batch->why))
		batch->failed = true;
}

static bool is_locked(const struct op *op, const PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	return op->kind == OP_VACUUM && state && strcmp(state, LOCKED) == 0;
}

static void take_result(struct batch *batch, const struct op *op,
			PGresult *result)
{
	switch (PQresultStatus(result)) {
	case PGRES_TUPLES_OK:
	case PGRES_COMMAND_OK:
		break;
	case PGRES_PIPELINE_ABORTED:
		PQclear(result);
		return;
	default:
		if (is_locked(op, result)) {
			batch->locked = true;
			PQclear(result);
			return;
		}
		if (!batch->failed)
			explain(batch, op, result, &batch->why);
		batch->failed = true;
		PQclear(result);
		return;
	}
	if (op->kind == OP_CONTENTS && batch->contents) {
		batch->contents[op->table] = result;
		return;
	}
	if (op->kind == OP_PLACES)
		judge_places(batch, op->table, result);
	if (op->kind == OP_POSITION)
		learn_position(batch, op->table, result);
	if (op->kind == OP_XID) /* without its epoch */
		snprintf(batch->xid, sizeof(batch->xid), "%u",
			 (unsigned)strtoull(PQgetvalue(result, 0, 0), NULL,
					    10));
	PQclear(result);
}

/* Takes all results, whatever they are. */
static enum sqloom_status receive(struct batch *batch, struct sqloom_error *err)
{
	PGconn *conn = batch->db->admin.conn;

	for (unsigned i = 0; i < batch->nops; i++) {
		const struct op *op = &batch->ops[i];
		PGresult *result = PQgetResult(conn), *end;

		if (!result || PQstatus(conn) == CONNECTION_BAD) {
			PQclear(result);
			return slm_pg_broken(&batch->db->admin, err);
		}
		if (op->kind == OP_SYNC) {
			PQclear(result);
			continue;
		}
		take_result(batch, op, result);
		while ((end = PQgetResult(conn)) != NULL)
			PQclear(end);
	}
	return SQLOOM_OK;
}

/* ---- A batch ----------------------------------------------------------- */

static enum sqloom_status exchange(struct batch *batch,
				   struct sqloom_error *err)
{
	PGconn *conn = batch->db->admin.conn;
	enum sqloom_status status;
	bool ok;

	if (batch->any_emptied && !batch->plain) {
		status = make_vacuum(batch, err);
		if (status)
			return status;
	}
	if (!PQenterPipelineMode(conn))
		return slm_pg_broken(&batch->db->admin, err);
	ok = send_positions(batch) && send_reads(batch);
	if (ok && !batch->plain)
		ok = send_deletes(batch) &&
		     (!batch->any_emptied ||
		      (send_vacuum(batch) && send_statistics(batch))) &&
		     send_inserts(batch);
	ok = ok && send_sync(batch);
	status = ok ? receive(batch, err) :
		      slm_pg_broken(&batch->db->admin, err);
	if (!status && !PQexitPipelineMode(conn))
		status = slm_pg_broken(&batch->db->admin, err);
	if (!status && batch->failed) {
		status = batch->why.status;
		if (err)
			*err = batch->why;
	}
	return status;
}

/* Which tables. */
static enum sqloom_status list_tables(struct batch *batch,
				      struct sqloom_error *err)
{
	struct postgres *db = batch->db;
	enum sqloom_status status = SQLOOM_OK;

	for (uint32_t i = 0; !status && i < db->catalogue.ntables; i++) {
		const struct pg_kept *kept = &db->plan->tables[i];

		if (!db->catalogue.tables[i].dirty)
			continue;
		status = examine(db, i, err);
		batch->any_by_rows |= kept->by_rows;
		batch->plain |= kept->guarded;
		batch->tables[batch->ntables++] = i;
	}
	return status;
}

/* Which of them get empty pages first: if one must, others that would soon
 * go with it, since a VACUUM costs more than a table of it. */
static void choose_emptied(struct batch *batch)
{
	for (uint32_t i = 0; i < batch->ntables; i++) {
		const struct pg_kept *kept =
			&batch->db->plan->tables[batch->tables[i]];

		batch->any_emptied |= kept->restores >= kept->room;
	}
	for (uint32_t i = 0; i < batch->ntables; i++) {
		struct pg_kept *kept =
			&batch->db->plan->tables[batch->tables[i]];

		if (batch->any_emptied && kept->restores * 2 >= kept->room) {
			batch->emptied[i] = true;
			batch->any_spread |= kept->spread;
			kept->restores = 0;
		}
		kept->restores++;
	}
}

static enum sqloom_status plan_batch(struct batch *batch,
				     struct sqloom_error *err)
{
	enum sqloom_status status = list_tables(batch, err);

	if (!status)
		choose_emptied(batch);
	return status;
}

static enum sqloom_status prepare_batch(struct batch *batch,
					struct sqloom_error *err)
{
	struct postgres *db = batch->db;
	enum sqloom_status status = SQLOOM_OK;

	for (uint32_t i = 0;
	     !status && batch->read && i < db->catalogue.ntables; i++)
		if (is_read(&db->catalogue.tables[i]))
			status = prepare(db, i, PG_PREPARED_SELECT, err);
	for (uint32_t i = 0; !status && !batch->plain && i < batch->ntables;
	     i++) {
		uint32_t table = batch->tables[i];

		status = prepare(db, table, PG_PREPARED_DELETE, err);
		if (!status && db->catalogue.tables[table].rows)
			status = prepare(db, table, PG_PREPARED_INSERT, err);
		if (!status && db->superuser)
			status =
				prepare(db, table, PG_PREPARED_STATISTICS, err);
	}
	for (uint32_t i = 0; !status && i < db->catalogue.nsequences; i++) {
		char name[32];

		if (db->catalogue.sequences[i].dirty)
			status = prepare_sequence(db, i, err);
		if (!status && batch->read && db->catalogue.sequences[i].taker)
			status = slm_pgkeep_position(db, i, name, err);
	}
	if (!status && batch->any_by_rows && !db->plan->xid_prepared) {
		status = prepare_text(db, "sqloom_x",
				      "SELECT pg_catalog.txid_current()", err);
		db->plan->xid_prepared = !status;
	}
	return status;
}

static enum sqloom_status init_batch(struct batch *batch, struct postgres *db,
				     bool read, struct sqloom_error *err)
{
	size_t n = (size_t)db->catalogue.ntables + 1;

	memset(batch, 0, sizeof(*batch));
	batch->db = db;
	batch->read = read;
	batch->plain = !db->may_replica;
	slm_buf_init(&batch->vacuum);
	batch->capacity = (unsigned)(4 * n + 2 * db->catalogue.nsequences + 8);
	batch->ops = slm_calloc(batch->capacity, sizeof(*batch->ops));
	batch->contents = slm_calloc(n, sizeof(*batch->contents));
	batch->tables = slm_calloc(n, sizeof(*batch->tables));
	batch->emptied = slm_calloc(n, sizeof(*batch->emptied));
	return batch->ops && batch->contents && batch->tables &&
			       batch->emptied ?
		       SQLOOM_OK :
		       slm_error_nomem(err);
}

static void deinit_batch(struct batch *batch)
{
	for (uint32_t i = 0;
	     batch->contents && i < batch->db->catalogue.ntables; i++)
		PQclear(batch->contents[i]);
	slm_free(batch->ops);
	slm_free(batch->contents);
	slm_free(batch->tables);
	slm_free(batch->emptied);
	slm_buf_deinit(&batch->vacuum);
}

/* Contents of tables that no run changed stay as they are: read once. */
static enum sqloom_status build(struct batch *batch, struct sqloom_error *err)
{
	struct postgres *db = batch->db;
	PGresult **list = slm_calloc(db->catalogue.ntables + 1u, sizeof(*list));
	enum sqloom_status status;
	uint32_t n = 0;

	if (!list)
		return slm_error_nomem(err);
	for (uint32_t i = 0; i < db->catalogue.ntables; i++) {
		struct pg_table *table = &db->catalogue.tables[i];
		struct pg_kept *kept = &db->plan->tables[i];

		if (!is_read(table))
			continue;
		if (!table->dirty && !db->cloning && batch->contents[i]) {
			kept->contents = batch->contents[i];
			batch->contents[i] = NULL;
		}
		list[n++] = batch->contents[i] ? batch->contents[i] :
						 kept->contents;
	}
	status = slm_pgcontents_build(db, list, err);
	slm_free(list);
	return status;
}

static void clean(struct batch *batch)
{
	struct postgres *db = batch->db;

	for (uint32_t i = 0; i < batch->ntables; i++) {
		struct pg_kept *kept = &db->plan->tables[batch->tables[i]];

		db->catalogue.tables[batch->tables[i]].dirty = false;
		if (kept->by_rows)
			snprintf(kept->since, sizeof(kept->since), "%s",
				 *batch->xid ? batch->xid : "0");
	}
	for (uint32_t i = 0; i < db->catalogue.nsequences; i++)
		db->catalogue.sequences[i].dirty = false;
}

static void mark_all(struct postgres *db)
{
	for (uint32_t i = 0; i < db->catalogue.ntables; i++)
		db->catalogue.tables[i].dirty =
			db->catalogue.tables[i].snapshot;
	for (uint32_t i = 0; i < db->catalogue.nsequences; i++)
		db->catalogue.sequences[i].dirty = true;
}

static enum sqloom_status still_locked(struct sqloom_error *err)
{
	slm_error_set(err, SQLOOM_DATABASE,
		      "cannot empty the pages of the tables that a run wrote: "
		      "another session holds a lock on one of them; end it, or "
		      "explore a database that nobody else uses");
	if (err)
		memcpy(err->sqlstate, LOCKED, sizeof(LOCKED));
	return SQLOOM_DATABASE;
}

/* Tables whose rows came back out of order, once more: with empty pages. A
 * VACUUM or ANALYZE that the server began by itself may have been in the way:
 * it goes when somebody has waited for a second. */
static enum sqloom_status repair_order(struct postgres *db,
				       const struct batch *first,
				       struct sqloom_error *err)
{
	struct batch batch;
	enum sqloom_status status = init_batch(&batch, db, false, err);

	for (uint32_t i = 0; !status && i < first->ntables; i++) {
		uint32_t table = first->tables[i];
		struct pg_kept *kept = &db->plan->tables[table];

		if (first->locked && first->emptied[i])
			kept->restores = kept->room;
		db->catalogue.tables[table].dirty =
			!kept->by_rows && kept->restores >= kept->room;
	}
	if (!status)
		status = slm_pg_patience(db, true, err);
	if (!status)
		status = plan_batch(&batch, err);
	if (!status)
		status = exchange(&batch, err);
	if (!status && batch.locked)
		status = still_locked(err);
	if (!status)
		status = slm_pg_patience(db, false, err);
	if (!status)
		clean(&batch);
	deinit_batch(&batch);
	return status;
}

static bool any_dirty(const struct postgres *db)
{
	for (uint32_t i = 0; i < db->catalogue.ntables; i++)
		if (db->catalogue.tables[i].dirty)
			return true;
	for (uint32_t i = 0; i < db->catalogue.nsequences; i++)
		if (db->catalogue.sequences[i].dirty)
			return true;
	return false;
}

/* Of tables that were not put back by the pipeline. */
static enum sqloom_status vacuum(struct batch *batch, struct sqloom_error *err)
{
	enum sqloom_status status = make_vacuum(batch, err);

	return status ? status :
			slm_pgkeep_exec(batch->db, "clean the pages of tables",
					&batch->vacuum, NULL, err);
}

/* Also without what is in the way for a moment. */
static enum sqloom_status put_back_plain(struct batch *batch,
					 struct sqloom_error *err)
{
	struct postgres *db = batch->db;
	struct sqloom_error why = { 0 };
	enum sqloom_status status =
		slm_pgrestore_plain(db, batch->tables, batch->ntables, &why);

	if (status && !db->admin.lost && !strcmp(why.sqlstate, LOCKED)) {
		status = slm_pg_patience(db, true, &why);
		if (!status)
			status = slm_pgrestore_plain(db, batch->tables,
						     batch->ntables, &why);
		if (!status)
			status = slm_pg_patience(db, false, &why);
	}
	if (status && err)
		*err = why;
	return status;
}

static enum sqloom_status restore(struct batch *batch, struct sqloom_error *err)
{
	struct postgres *db = batch->db;
	bool dirty = any_dirty(db);
	enum sqloom_status status = SQLOOM_OK;

	if (dirty)
		status = slm_pgkeep_settings(db, true, err);
	if (!status)
		status = plan_batch(batch, err);
	if (!status)
		status = prepare_batch(batch, err);
	if (!status)
		status = exchange(batch, err);
	if (!status && dirty && batch->plain)
		status = put_back_plain(batch, err);
	if (!status && batch->plain && batch->any_emptied)
		status = vacuum(batch, err);
	if (!status && batch->read)
		status = build(batch, err);
	if (!status)
		clean(batch);
	if (!status && (batch->misplaced || batch->locked))
		status = repair_order(db, batch, err);
	return status;
}

enum sqloom_status slm_pgrestore(struct postgres *db, bool read_contents,
				 struct sqloom_error *err)
{
	enum sqloom_status status = slm_pgkeep_plan(db, err);
	struct batch batch;

	if (status)
		return status;
	if (db->all_dirty && !db->cloning)
		mark_all(db);
	status = init_batch(&batch, db, read_contents, err);
	if (!status)
		status = restore(&batch, err);
	deinit_batch(&batch);
	return status;
}
