/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A database that is put back whenever its users are done: opening it, the
 * triggers that note which tables are written, going back, the close. See
 * keep.h.
 *
 * What a restore itself writes is not noted: the function of the triggers
 * passes over the admin connection. Notes are rows of a table without an index,
 * so that writers never wait for each other because of them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "db/keep_internal.h"

#define MARKED_AT_ONCE 200 /* tables whose triggers are made in one go */
#define ROUNDS_MAX 20	   /* of ending sessions, while new ones come */
#define NOTES_EVERY 32	   /* restores, the table of notes is cleaned */

/* ---- Marks ------------------------------------------------------------- */

static bool is_marked(const struct pg_table *table)
{
	return (table->kind == 'r' || table->kind == 'p') && !table->temporary;
}

static enum sqloom_status make_notes(struct postgres *db,
				     struct sqloom_error *err)
{
	struct slm_buf sql;

	slm_buf_init(&sql);
	slm_buf_printf(
		&sql,
		"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
		"CREATE UNLOGGED TABLE " PG_SCHEMA
		".dirty (relid oid NOT NULL);"
		"GRANT USAGE ON SCHEMA " PG_SCHEMA " TO PUBLIC;"
		"GRANT INSERT ON " PG_SCHEMA ".dirty TO PUBLIC;"
		"CREATE FUNCTION " PG_SCHEMA ".mark() RETURNS trigger LANGUAGE "
		"plpgsql AS $mark$BEGIN IF pg_catalog.pg_backend_pid() "
		"OPERATOR(pg_catalog.<>) %d THEN INSERT INTO " PG_SCHEMA
		".dirty VALUES (TG_RELID); END IF; RETURN NULL; END$mark$;"
		"COMMIT",
		db->admin.pid);
	return slm_pgkeep_exec(db, "make the notes of what is written", &sql,
			       NULL, err);
}

/* Also where session_replication_role says that triggers do not fire. */
static void put_mark(const struct pg_table *table, struct slm_buf *sql)
{
	slm_buf_printf(sql,
		       "CREATE TRIGGER " PG_MARK " AFTER INSERT OR UPDATE OR "
		       "DELETE OR TRUNCATE ON %s FOR EACH STATEMENT EXECUTE "
		       "FUNCTION " PG_SCHEMA ".mark();"
		       "ALTER TABLE %s ENABLE ALWAYS TRIGGER " PG_MARK ";",
		       table->quoted, table->quoted);
}

/* Who may sees changes of the schema at once, which costs nothing later. They
 * are noted as writes to no table. */
static enum sqloom_status watch_schema(struct slm_keep *keep,
				       struct sqloom_error *err)
{
	struct postgres *db = slm_keep_of(keep);
	struct slm_buf sql;

	if (!db->superuser)
		return SQLOOM_OK;
	keep->watches_schema = true;
	slm_buf_init(&sql);
	slm_buf_printf(
		&sql,
		"CREATE FUNCTION " PG_SCHEMA ".mark_schema() RETURNS "
		"event_trigger LANGUAGE plpgsql AS $mark$BEGIN IF "
		"pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.<>) %d THEN "
		"INSERT INTO " PG_SCHEMA ".dirty VALUES (0); END IF; END$mark$;"
		"CREATE EVENT TRIGGER " PG_MARK " ON ddl_command_end EXECUTE "
		"FUNCTION " PG_SCHEMA ".mark_schema();"
		"CREATE EVENT TRIGGER " PG_MARK "_drop ON sql_drop EXECUTE "
		"FUNCTION " PG_SCHEMA ".mark_schema();"
		"ALTER EVENT TRIGGER " PG_MARK " ENABLE ALWAYS;"
		"ALTER EVENT TRIGGER " PG_MARK "_drop ENABLE ALWAYS",
		db->admin.pid);
	return slm_pgkeep_exec(db, "watch the schema", &sql, NULL, err);
}

static enum sqloom_status explain_mark(const struct sqloom_error *why,
				       struct sqloom_error *err)
{
	enum sqloom_status status = slm_error_set(
		err, why->status,
		"%.400s (each table gets a trigger that notes when it is "
		"written: that takes the owner of the tables, or a superuser)",
		why->message);

	if (err)
		memcpy(err->sqlstate, why->sqlstate, sizeof(err->sqlstate));
	return status;
}

static enum sqloom_status make_marks(struct slm_keep *keep,
				     struct sqloom_error *err)
{
	struct postgres *db = slm_keep_of(keep);
	struct sqloom_error why;
	enum sqloom_status status = make_notes(db, err);
	uint32_t at = 0;

	while (!status && at < db->catalogue.ntables) {
		struct slm_buf sql;
		unsigned n = 0;

		slm_buf_init(&sql);
		for (; at < db->catalogue.ntables && n < MARKED_AT_ONCE; at++) {
			if (!is_marked(&db->catalogue.tables[at]))
				continue;
			put_mark(&db->catalogue.tables[at], &sql);
			n++;
		}
		status = slm_pgkeep_exec(db, "watch the tables", &sql, NULL,
					 &why);
		if (status)
			explain_mark(&why, err);
	}
	return status;
}

/* ---- Opening ----------------------------------------------------------- */

static enum sqloom_status set_up(struct slm_db *base, void *userdata,
				 struct sqloom_error *err)
{
	struct slm_keep *keep = userdata;

	(void)base;
	return keep->options.setup(keep->options.userdata, err);
}

static enum sqloom_status ask_server(struct slm_keep *keep,
				     struct sqloom_error *err)
{
	PGresult *result;
	enum sqloom_status status = slm_pg_exec(
		&slm_keep_of(keep)->admin, "ask for the database's number",
		"SELECT oid, pg_catalog.current_setting("
		"'max_prepared_transactions') FROM pg_catalog.pg_database "
		"WHERE datname = pg_catalog.current_database()",
		&result, err);

	if (status)
		return status;
	keep->database = (Oid)strtoul(PQgetvalue(result, 0, 0), NULL, 10);
	keep->may_prepare = strcmp(PQgetvalue(result, 0, 1), "0") != 0;
	PQclear(result);
	return SQLOOM_OK;
}

static enum sqloom_status make_room(struct slm_keep *keep,
				    struct sqloom_error *err)
{
	size_t n = slm_keep_of(keep)->catalogue.ntables + 1;

	keep->list = slm_calloc(2 * n, sizeof(*keep->list));
	keep->seen = slm_calloc(n, sizeof(*keep->seen));
	return keep->list && keep->seen ? SQLOOM_OK : slm_error_nomem(err);
}

static enum sqloom_status open_all(struct slm_keep *keep,
				   struct sqloom_error *err)
{
	const struct slm_postgres_options options = {
		.conninfo = keep->conninfo,
		.any_database = keep->options.any_database,
		.keeps_only = true,
	};
	struct postgres *db;
	enum sqloom_status status = slm_outside_open(
		&keep->spec, &options, keep->options.setup ? set_up : NULL,
		keep, &keep->base, err);

	if (status)
		return status;
	db = slm_keep_of(keep);
	keep->exact = db->catalogue.nsequences <= SLM_KEEP_EXACT_MAX;
	status = make_room(keep, err);
	if (!status)
		status = ask_server(keep, err);
	if (!status)
		status = make_marks(keep, err);
	if (!status)
		status = watch_schema(keep, err);
	if (!status)
		status = slm_keep_schema_note(keep, err);
	if (!status)
		status = slm_pgkeep_settings(db, true, err);
	if (!status)
		status = slm_keep_prepare(keep, err);
	keep->marked = !status;
	return status;
}

static void keep_free(struct slm_keep *keep)
{
	slm_db_free(keep->base);
	slm_free(keep->list);
	slm_free(keep->seen);
	slm_free(keep->schema);
	slm_free(keep->conninfo);
	slm_free(keep);
}

enum sqloom_status slm_keep_open(const struct slm_keep_options *options,
				 struct slm_keep **out,
				 struct sqloom_error *err)
{
	struct slm_keep *keep = slm_calloc(1, sizeof(*keep));
	enum sqloom_status status;

	if (!keep)
		return slm_error_nomem(err);
	keep->options = *options;
	keep->spec.name = "fixture";
	keep->spec.text = "";
	keep->conninfo = slm_strdup(options->conninfo);
	status = keep->conninfo ? open_all(keep, err) : slm_error_nomem(err);
	if (status)
		keep_free(keep);
	else
		*out = keep;
	return status;
}

/* ---- Going back -------------------------------------------------------- */

/* What is written through a parent is in its children and partitions. */
static void mark_table(struct slm_keep *keep, Oid oid)
{
	struct pg_catalogue *catalogue = &slm_keep_of(keep)->catalogue;
	int index = slm_pgcat_find_oid(catalogue, oid);
	uint32_t count;

	if (index < 0)
		return;
	keep->list[0] = (uint32_t)index;
	keep->seen[index] = true;
	count = slm_pgcat_close(catalogue, keep->list, 1, keep->seen,
				PG_REACH_PARTITION | PG_REACH_CHILD);
	for (uint32_t i = 0; i < count; i++) {
		struct pg_table *table = &catalogue->tables[keep->list[i]];

		keep->seen[keep->list[i]] = false;
		table->dirty = table->snapshot;
		/* Those that were never used are not asked where they are. */
		for (uint32_t j = 0; !keep->exact && j < table->nsequences; j++)
			catalogue->sequences[table->sequences[j]].dirty |=
				!catalogue->sequences[table->sequences[j]]
					 .is_called;
	}
}

static Oid oid_at(const PGresult *result, int row)
{
	return (Oid)strtoul(PQgetvalue(result, row, 0), NULL, 10);
}

static void mark_all(struct slm_keep *keep,
		     const struct slm_keep_answer *answer)
{
	for (int i = 0; i < PQntuples(answer->tables); i++) {
		Oid oid = oid_at(answer->tables, i);

		mark_table(keep, oid);
		keep->schema_written |= oid == 0;
	}
}

/* Learns what was written, with nobody in a transaction any more. The answer
 * is to be cleared by the caller. */
static enum sqloom_status learn(struct slm_keep *keep,
				struct slm_keep_answer *answer,
				struct slm_buf *left, struct sqloom_error *err)
{
	for (unsigned round = 0; round < ROUNDS_MAX; round++) {
		enum sqloom_status status;
		bool busy;

		slm_keep_answer_clear(answer);
		status = slm_keep_ask(keep, answer, err);
		busy = PQntuples(answer->sessions) ||
		       PQntuples(answer->prepared);
		mark_all(keep, answer);
		if (status || !busy)
			return status;
		/* They may have held a sequence, or moved it since. */
		(void)slm_keep_end_sequences(keep, NULL);
		status = slm_keep_end(keep, answer, left, err);
		if (status)
			return status;
	}
	return slm_error_set(err, SQLOOM_DATABASE,
			     "sessions keep beginning transactions in database "
			     "%s while it is put back: stop the program that "
			     "does so when a test ends",
			     slm_keep_of(keep)->database);
}

/* *changes: what is not as it was; NULL: nothing. Freed by the caller. */
static enum sqloom_status look_at_schema(struct slm_keep *keep, bool same,
					 char **changes,
					 struct sqloom_error *err)
{
	struct sqloom_error why = { 0 };
	enum sqloom_status status = SQLOOM_OK, sequences;

	if (keep->schema_written)
		status = slm_keep_schema_ask(keep, &same, err);
	if (status || same)
		return status;
	/* It fails where one of them is gone: then they are put back one by
	 * one. */
	sequences = slm_keep_end_sequences(keep, &why);
	status = slm_keep_schema_look(keep, changes, err);
	if (status || !sequences || **changes)
		return status;
	if (err)
		*err = why;
	return sequences;
}

static enum sqloom_status schema_changed(const char *changes,
					 struct sqloom_error *err)
{
	return slm_error_set(
		err, SQLOOM_UNSUPPORTED,
		"the schema is not what it was when the fixture was opened: "
		"%.300s; rows and sequences have been put back, the schema is "
		"not: make it in setup, or undo the change in the test, or "
		"open the fixture anew after it",
		changes);
}

static enum sqloom_status clean_notes(struct slm_keep *keep,
				      struct sqloom_error *err)
{
	if (++keep->notes % NOTES_EVERY)
		return SQLOOM_OK;
	return slm_pg_exec(&slm_keep_of(keep)->admin, "clean the notes",
			   "VACUUM " PG_SCHEMA ".dirty", NULL, err);
}

static enum sqloom_status put_back(struct slm_keep *keep,
				   struct sqloom_error *err)
{
	struct postgres *db = slm_keep_of(keep);
	struct sqloom_error why = { 0 };
	enum sqloom_status status = slm_pgrestore(db, false, &why);
	enum sqloom_status sequences =
		slm_keep_end_sequences(keep, status ? NULL : err);

	if (status)
		return slm_pgoutside_in_the_way(db, &why, err);
	return sequences ? sequences : clean_notes(keep, err);
}

enum sqloom_status slm_keep_restore(struct slm_keep *keep, struct slm_buf *left,
				    struct sqloom_error *err)
{
	struct postgres *db = slm_keep_of(keep);
	struct slm_keep_answer answer = { 0 };
	char *changes = NULL;
	enum sqloom_status status;

	if (db->admin.lost || db->monitor.lost)
		return slm_pg_broken(db->admin.lost ? &db->admin : &db->monitor,
				     err);
	status = learn(keep, &answer, left, err);
	if (!status)
		status =
			look_at_schema(keep, answer.same_schema, &changes, err);
	slm_keep_answer_clear(&answer);
	if (!status)
		status = put_back(keep, err);
	else
		(void)slm_keep_end_sequences(keep, NULL);
	if (!status && changes && *changes)
		status = schema_changed(changes, err);
	else if (!status && changes)
		status = slm_keep_schema_note(keep, err);
	/* As long as it is another one, it is looked at. */
	if (!status)
		keep->schema_written = false;
	slm_free(changes);
	return status;
}

/* ---- The close --------------------------------------------------------- */

enum sqloom_status slm_keep_close(struct slm_keep *keep,
				  struct sqloom_error *err)
{
	struct slm_buf left;
	enum sqloom_status status, ended = SQLOOM_OK;

	slm_buf_init(&left);
	status = slm_keep_restore(keep, &left, err);
	slm_buf_deinit(&left);
	/* What could not be put back stays kept. */
	if (!status || status == SQLOOM_UNSUPPORTED)
		ended = slm_db_finish(keep->base, status ? NULL : err);
	keep_free(keep);
	return status ? status : ended;
}
