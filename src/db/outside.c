/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PostgreSQL database whose sessions are not ours: opening it, and what the
 * statements of programs do to it. What is behind it is struct postgres, with
 * sessions that have no steps and no connections.
 *
 * Invariant: our own connections are in no transaction while a program is at
 * work, so that no program ever waits for us.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "db/outside_internal.h"

#define SQL_SHOWN 80 /* bytes of a statement in a message */

/* ---- Life -------------------------------------------------------------- */

enum sqloom_status slm_outside_open(
	const struct sqloom_spec *spec,
	const struct slm_postgres_options *options,
	enum sqloom_status (*setup)(struct slm_db *db, void *userdata,
				    struct sqloom_error *err),
	void *userdata, struct slm_db **out, struct sqloom_error *err)
{
	struct slm_postgres_options own = *options;
	struct pg_outside *outside = slm_calloc(1, sizeof(*outside));

	if (!outside)
		return slm_error_nomem(err);
	outside->setup = setup;
	outside->userdata = userdata;
	/* A BEGIN of a program takes no snapshot and no lock, at any level. */
	own.local_begin = true;
	own.cloning = false;
	return slm_pgdb_open(spec, &own, outside, out, err);
}

void slm_pgoutside_free(struct pg_outside *outside)
{
	if (!outside)
		return;
	slm_outside_free_statements(outside);
	slm_free(outside->too_large);
	slm_free(outside);
}

bool slm_pgoutside_has_setup(const struct postgres *db)
{
	return db->outside && db->outside->setup;
}

enum sqloom_status slm_pgoutside_set_up(struct postgres *db,
					struct sqloom_error *err)
{
	if (!db->outside->setup)
		return SQLOOM_OK;
	return db->outside->setup(&db->base, db->outside->userdata, err);
}

void slm_pgoutside_run_begins(struct postgres *db)
{
	db->outside->run++;
	slm_outside_evict(db->outside);
}

/* ---- What contents show ------------------------------------------------ */

/* Which tables have more rows than can be compared? */
static enum sqloom_status ask_sizes(struct postgres *db, uint32_t first,
				    uint32_t end, struct sqloom_error *err)
{
	const struct pg_table *tables = db->catalogue.tables;
	PGresult *result;
	struct slm_buf sql;
	enum sqloom_status status;

	slm_buf_init(&sql);
	for (uint32_t i = first; i < end; i++)
		if (tables[i].kind == 'r' && !tables[i].temporary)
			slm_buf_printf(
				&sql,
				"%sSELECT %u, (SELECT pg_catalog.count(*) FROM "
				"(SELECT FROM ONLY %s LIMIT %d) AS t) > %d",
				sql.size ? " UNION ALL " : "", i,
				tables[i].quoted, PG_ROWS_MAX + 1, PG_ROWS_MAX);
	if (!sql.size && !slm_buf_failed(&sql)) {
		slm_buf_deinit(&sql);
		return SQLOOM_OK;
	}
	status = slm_buf_failed(&sql) ?
			 slm_error_nomem(err) :
			 slm_pg_exec(&db->admin, "look how large tables are",
				     sql.data, &result, err);
	slm_buf_deinit(&sql);
	if (status)
		return status;
	for (int i = 0; i < PQntuples(result); i++)
		if (*PQgetvalue(result, i, 1) == 't') {
			int table = atoi(PQgetvalue(result, i, 0));

			db->outside->too_large[table] = true;
			db->outside->any_too_large = true;
		}
	PQclear(result);
	return SQLOOM_OK;
}

enum sqloom_status slm_pgoutside_show(struct postgres *db,
				      struct sqloom_error *err)
{
	uint32_t n = db->catalogue.ntables;
	enum sqloom_status status = SQLOOM_OK;

	slm_free(db->outside->too_large);
	db->outside->too_large = slm_calloc(n + 1u, sizeof(bool));
	if (!db->outside->too_large)
		return slm_error_nomem(err);
	/* Not all at once: every one of them takes a lock. */
	for (uint32_t at = 0; !status && at < n; at += 500)
		status = ask_sizes(db, at, n - at < 500 ? n : at + 500, err);
	for (uint32_t i = 0; i < n; i++)
		db->catalogue.tables[i].written = !db->outside->too_large[i];
	return status ? status : slm_outside_read_commit(db, err);
}

/* A table that is not shown stays so: contents of all runs are of the same
 * tables. But then nothing holds. */
void slm_pgoutside_run_ends(struct postgres *db)
{
	for (uint32_t i = 0;
	     db->outside->any_too_large && i < db->catalogue.ntables; i++) {
		struct pg_table *table = &db->catalogue.tables[i];

		if (!db->outside->too_large[i])
			continue;
		table->written = false;
		if (table->dirty || db->all_dirty)
			db->base.blind =
				"a call writes a table that has too many rows "
				"to be compared: explore on a smaller copy of "
				"the database";
	}
}

/* ---- What a statement does --------------------------------------------- */

/* CREATE TABLE IF NOT EXISTS of a table that exists does nothing, which many
 * programs do when they start. */
static bool is_no_change(const struct postgres *db, const struct pg_step *step)
{
	const struct slm_pg_statement *s = step->parsed.statements;

	if (step->parsed.nstatements != 1 || s->nrelations == 0 ||
	    strncasecmp(s->begin, "create table", 12) != 0 ||
	    !strcasestr(s->begin, "if not exists"))
		return false;
	return slm_pgcat_find(db, s->relations[0].schema,
			      s->relations[0].name) >= 0;
}

static enum sqloom_status refuse(const struct postgres *db,
				 const struct slm_outside_connection *connection,
				 const char *sql, struct sqloom_error *err)
{
	bool named = connection->call >= 0;
	int size = (int)strcspn(sql, "\n");

	return slm_error_set(
		err, SQLOOM_UNSUPPORTED,
		"%s%s%s changes the schema of the database (%.*s%s): a run "
		"cannot be undone then, because programs keep their "
		"connections; make the schema in setup or by --before, and "
		"TRUNCATE or DELETE in the calls instead of DROP",
		named ? "call \"" : "",
		named ? db->spec->sessions[connection->call].name :
			"a program that belongs to no call",
		named ? "\"" : "", size > SQL_SHOWN ? SQL_SHOWN : size, sql,
		size > SQL_SHOWN || sql[size] ? " ..." : "");
}

static void forget_deadlock(struct slm_outside_connection *connection)
{
	connection->deadlock_local = connection->deadlock_session = false;
}

/* What a program sets itself counts. */
static void see_settings(struct slm_outside_connection *connection,
			 const struct pg_step *step)
{
	for (size_t i = 0; i < step->parsed.nstatements; i++) {
		const struct slm_pg_statement *s = &step->parsed.statements[i];

		switch (s->kind) {
		case SLM_PG_SET:
		case SLM_PG_SET_LOCAL:
		case SLM_PG_RESET:
			/* Another role may not be allowed what the first
			 * was. */
			if (s->name &&
			    (!strcasecmp(s->name, "role") ||
			     !strcasecmp(s->name, "session_authorization"))) {
				connection->may_asked = true;
				connection->may_deadlock = false;
			}
			if (!s->name ||
			    !strcasecmp(s->name, "deadlock_timeout"))
				forget_deadlock(connection);
			break;
		case SLM_PG_DISCARD:
		case SLM_PG_ROLLBACK_TO:
			forget_deadlock(connection);
			break;
		default:
			break;
		}
	}
}

static const struct pg_step *step_of(
	const struct slm_outside_statement *statement)
{
	return &((const struct pg_interned *)statement)->step;
}

enum sqloom_status slm_outside_before(
	struct slm_db *base, struct slm_outside_connection *connection,
	const struct slm_outside_statement *statement, bool inside, bool split,
	struct sqloom_error *err)
{
	struct postgres *db = slm_outside_of(base);
	const struct pg_step *step = statement ? step_of(statement) :
						 &db->outside->commit;
	struct pg_watch watch = { .pid = connection->pid,
				  .failed = connection->failed,
				  .uncertain = connection->uncertain };
	bool changes = step->parsed.parsed && step->parsed.ddl;
	enum sqloom_status status;

	if (changes && !is_no_change(db, step))
		return refuse(db, connection, step->text, err);
	connection->db = base;
	connection->run = db->outside->run;
	connection->statement = statement;
	connection->inside = inside;
	connection->keys = false;
	if (changes)
		return SQLOOM_OK;
	connection->locks_tables |= step->parsed.truncates ||
				    step->parsed.locks_tables;
	watch.locks_tables = connection->locks_tables;
	status = slm_pgsnap_before(db, &watch, step, inside, split, err);
	if (status)
		return status;
	if (db->ddl_seen)
		return refuse(db, connection, step->text, err);
	/* Its transaction has been asked about. */
	connection->uncertain = watch.uncertain &&
				!(step->parsed.ends && step->certain);
	connection->keys = step->takes_keys;
	see_settings(connection, step);
	if (step->parsed.parsed && step->parsed.unknown_writes && !inside &&
	    !step->split && !step->parsed.control)
		db->base.blind =
			"a statement in autocommit may commit in its middle "
			"(DO, CALL), and no other call gets a turn there: "
			"begin a transaction before it";
	return SQLOOM_OK;
}

static void end_transaction(struct postgres *db,
			    struct slm_outside_connection *connection)
{
	/* It has failed, so that nobody asked. */
	if (connection->uncertain)
		slm_pgsnap_mark_sequences(db);
	connection->uncertain = false;
	connection->locks_tables = false;
	connection->deadlock_local = false;
}

enum sqloom_status slm_outside_after(struct slm_db *base,
				     struct slm_outside_connection *connection,
				     bool inside, struct sqloom_error *err)
{
	struct postgres *db = slm_outside_of(base);
	enum sqloom_status status = SQLOOM_OK;

	/* Not forgotten: one that waits may take more of them afterwards. */
	if (connection->keys && connection->statement &&
	    connection->run == db->outside->run)
		status = slm_pggenerated_ask(db, connection->call,
					     step_of(connection->statement),
					     err);
	connection->inside = inside;
	if (!inside)
		end_transaction(db, connection);
	return status;
}

void slm_outside_forget(struct slm_outside_connection *connection)
{
	if (connection->db)
		end_transaction(slm_outside_of(connection->db), connection);
	connection->failed = connection->inside = connection->keys = false;
	connection->statement = NULL;
}
