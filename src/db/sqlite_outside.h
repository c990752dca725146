/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An SQLite database whose connections are not ours: functions of the program
 * open them, and they reach our memory store through the front VFS. What is
 * behind it is the same as for sessions of specs: snapshot, restore, contents,
 * checks, footprints, generated keys.
 *
 * slm_sqlite_outside_open() makes a struct slm_db of which run_begin, run_end,
 * image, contents, checks, finish and free may be used; the spec has calls, and
 * its sessions have no steps. run_end is to be called when no connection is in
 * a transaction any more.
 */
#ifndef SLM_DB_SQLITE_OUTSIDE_H
#define SLM_DB_SQLITE_OUTSIDE_H

#include <sqlite3.h>

#include "db/db.h"
#include "db/sqlite_front.h"

struct slm_sqlite_outside_options {
	struct slm_sqlite_options db; /* store: MEMORY; database may be NULL */
	/* Where the connections find it: as in struct slm_front_options. */
	const char *path;
	void (*sleep)(unsigned owner, unsigned ms, void *userdata);
	/* Called once, after the database was seeded and before the snapshot:
	 * sets it up. May be NULL. Its status ends the opening. */
	enum sqloom_status (*setup)(void *userdata, struct sqloom_error *err);
	void *userdata;
};

/* spec and options' strings are borrowed for the life of the db. */
enum sqloom_status slm_sqlite_outside_open(
	const struct sqloom_spec *spec,
	const struct slm_sqlite_outside_options *options, struct slm_db **out,
	struct sqloom_error *err);

struct slm_front_route *slm_sqlite_outside_route(struct slm_db *db);
struct slm_store *slm_sqlite_outside_store(struct slm_db *db);

/* Virtual time of the run, and its passing. */
uint64_t slm_sqlite_outside_now(const struct slm_db *db);
void slm_sqlite_outside_pass(struct slm_db *db, uint64_t until_ms);

/* What is known of a statement; one for equal texts, kept as long as the db. */
struct slm_sqlite_outside_statement {
	const char *sql;
	bool local; /* as in struct slm_db_step_info */
	const char *reads, *writes;
	unsigned ncolumns;
	const char *const *columns;
	const uint32_t *origins;   /* per column: table + 1 whose key it is */
	const uint32_t *generates; /* tables whose keys it generates */
	unsigned ngenerates;
	bool changes; /* the number of rows changed means something */
};
enum sqloom_status slm_sqlite_outside_statement(
	struct slm_db *db, const char *sql,
	const struct slm_sqlite_outside_statement **out,
	struct sqloom_error *err);

/* The values of the current row of stmt, in the run's arena, appended to *rows
 * up to SLM_TRACE_ROWS_MAX; counted beyond. statement: what is known of it.
 * False: memory is out. */
bool slm_sqlite_outside_row(struct slm_db *db, sqlite3_stmt *stmt,
			    const struct slm_sqlite_outside_statement *statement,
			    struct slm_rows *rows, uint32_t *capacity);

/* The statement is over, with this code: completes result (error, changes,
 * digest), and learns which keys the call generated. False: memory is out. */
bool slm_sqlite_outside_end(struct slm_db *db, unsigned call,
			    sqlite3_stmt *stmt, int rc,
			    const struct slm_sqlite_outside_statement *statement,
			    struct slm_result *result);

#endif
