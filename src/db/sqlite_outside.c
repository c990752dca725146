/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite with connections of others: the route to the store, what statements
 * are, what they gave. All of it is called by whoever drives the run, or by the
 * one thread that it let go.
 */
#include "db/sqlite_outside.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"
#include "db/sqlite_internal.h"
#include "sql/sql.h"

#define PLACES_MIN 64

struct known {
	struct slm_sqlite_outside_statement tell;
	uint64_t hash;
	struct known *chain; /* of the same place */
};

struct sqlite_outside {
	struct slm_sqlite_outside_options options;
	struct slm_front_route *route;
	struct session reader; /* compiles on the admin connection */
	struct known **places; /* by hash; a power of two */
	uint32_t nplaces, nknown;
};

static struct sqlite *of(const struct slm_db *db)
{
	return (struct sqlite *)db;
}

/* ---- Opening ------------------------------------------------------------ */

/* What a connection holds over the snapshot it would hold in every run. */
static enum sqloom_status check_left(struct sqlite *db,
				     struct sqloom_error *err)
{
	for (unsigned i = 0; i < ADMIN; i++)
		if (slm_store_holds(db->store, i))
			return slm_error_set(
				err, SQLOOM_CALL,
				"the setup left a transaction or a statement "
				"open on one of its connections: end it before "
				"the setup returns");
	return SQLOOM_OK;
}

enum sqloom_status slm_outside_sqlite_set_up(struct sqlite *db,
					     struct sqloom_error *err)
{
	struct sqlite_outside *outside = db->outside;
	struct slm_front_options route = {
		.path = outside->options.path,
		.store = db->store,
		.owners = true,
		.sleep = outside->options.sleep,
		.userdata = outside->options.userdata,
	};
	enum sqloom_status status = slm_front_add(&route, &outside->route, err);

	if (!status && outside->options.setup)
		status = outside->options.setup(outside->options.userdata, err);
	if (!status)
		status = check_left(db, err);
	outside->reader = (struct session){ .owner = db, .db = db->admin };
	return status;
}

void slm_outside_sqlite_free(struct sqlite *db)
{
	if (db->outside->route)
		slm_front_remove(db->outside->route, NULL);
	slm_free(db->outside->places);
	slm_free(db->outside);
}

enum sqloom_status slm_sqlite_outside_open(
	const struct sqloom_spec *spec,
	const struct slm_sqlite_outside_options *options, struct slm_db **out,
	struct sqloom_error *err)
{
	struct sqlite_outside *outside = slm_calloc(1, sizeof(*outside));
	struct slm_db *db = NULL;
	enum sqloom_status status;

	if (!outside)
		return slm_error_nomem(err);
	outside->options = *options;
	status = slm_sqlite_make(spec, &options->db, 0, outside, &db, err);
	if (status)
		return status;
	/* Closing and opening again is not for us to do. */
	if (of(db)->fresh)
		db->blind = "tables of modules such as FTS5 keep state on the "
			    "connections, which is not put back";
	of(db)->fresh = false;
	snprintf(db->backend, sizeof(db->backend),
		 "SQLite %s in this process, memory store",
		 sqlite3_libversion());
	*out = db;
	return SQLOOM_OK;
}

struct slm_front_route *slm_sqlite_outside_route(struct slm_db *db)
{
	return of(db)->outside->route;
}

struct slm_store *slm_sqlite_outside_store(struct slm_db *db)
{
	return of(db)->store;
}

uint64_t slm_sqlite_outside_now(const struct slm_db *db)
{
	return of(db)->now_ms;
}

void slm_sqlite_outside_pass(struct slm_db *db, uint64_t until_ms)
{
	if (until_ms > of(db)->now_ms)
		of(db)->now_ms = until_ms;
}

/* ---- Statements --------------------------------------------------------- */

static bool grow(struct sqlite_outside *outside)
{
	uint32_t n = outside->nplaces ? outside->nplaces * 2 : PLACES_MIN;
	struct known **places;

	if (outside->nknown < outside->nplaces)
		return true;
	places = slm_calloc(n, sizeof(*places));
	if (!places)
		return false;
	for (uint32_t i = 0; i < outside->nplaces; i++)
		while (outside->places[i]) {
			struct known *known = outside->places[i];

			outside->places[i] = known->chain;
			known->chain = places[known->hash & (n - 1)];
			places[known->hash & (n - 1)] = known;
		}
	slm_free(outside->places);
	outside->places = places;
	outside->nplaces = n;
	return true;
}

/* What the whole database has to know of a new statement. */
static void note_footprint(struct sqlite *db, const struct footprint *footprint)
{
	if (footprint->random && !db->random) {
		db->random = true;
		db->base.variants = 8;
	}
	db->ddl |= footprint->ddl;
	db->pragma |= footprint->pragma;
	slm_compile_blind(db, footprint);
}

static bool is_pragma(const char *sql)
{
	return slm_sql_starts_with(sql, "pragma");
}

/* What SQLite says about it on the admin connection. What that does not know,
 * a temporary table say, may be anything. */
static bool compile(struct sqlite *db, struct known *known, const char *sql)
{
	struct name_set reads = { 0 }, writes = { 0 };
	struct footprint footprint = { .reads = &reads, .writes = &writes };
	struct statement statement = { .sql = slm_sql_skip_blank(sql) };
	struct slm_sqlite_outside_statement *tell = &known->tell;
	int rc = SQLITE_OK;

	tell->sql = slm_arena_strdup(&db->arena, sql);
	tell->reads = tell->writes = "";
	if (!tell->sql)
		return false;
	if (is_pragma(statement.sql)) {
		slm_compile_see_pragma(statement.sql, &footprint);
		db->pragma |= footprint.pragma;
		tell->local = !footprint.touches;
		return true;
	}
	rc = slm_compile_one(&db->outside->reader, &footprint, &statement);
	if (rc == SQLITE_NOMEM) {
		sqlite3_finalize(statement.stmt);
		return false;
	}
	if (rc != SQLITE_OK || !statement.stmt)
		return true;
	note_footprint(db, &footprint);
	tell->reads = slm_compile_names(&db->arena, &reads);
	tell->writes = slm_compile_names(&db->arena, &writes);
	tell->local = !footprint.touches && !footprint.ddl &&
		      (!footprint.begins || db->options.local_begin);
	tell->ncolumns = statement.ncolumns;
	tell->columns = statement.columns;
	tell->origins = statement.origins;
	tell->generates = statement.generates;
	tell->ngenerates = statement.ngenerates;
	tell->changes = statement.dml;
	sqlite3_finalize(statement.stmt);
	return true;
}

enum sqloom_status slm_sqlite_outside_statement(
	struct slm_db *base, const char *sql,
	const struct slm_sqlite_outside_statement **out,
	struct sqloom_error *err)
{
	struct sqlite *db = of(base);
	struct sqlite_outside *outside = db->outside;
	uint64_t hash = slm_hash(sql, strlen(sql), 0);
	struct known *known =
		outside->nplaces ?
			outside->places[hash & (outside->nplaces - 1)] :
			NULL;

	for (; known; known = known->chain)
		if (known->hash == hash && strcmp(known->tell.sql, sql) == 0) {
			*out = &known->tell;
			return SQLOOM_OK;
		}
	known = slm_arena_zalloc(&db->arena, 1, sizeof(*known));
	if (!known || !grow(outside) || !compile(db, known, sql))
		return slm_error_nomem(err);
	known->hash = hash;
	known->chain = outside->places[hash & (outside->nplaces - 1)];
	outside->places[hash & (outside->nplaces - 1)] = known;
	outside->nknown++;
	*out = &known->tell;
	return SQLOOM_OK;
}

/* ---- Results ------------------------------------------------------------ */

static bool more_rows(struct sqlite *db, struct slm_rows *rows,
		      uint32_t *capacity)
{
	uint32_t grown = *capacity ? *capacity * 4 : 2;
	struct slm_value *values;

	if (rows->nkept < *capacity)
		return true;
	values = slm_arena_alloc(db->run, (size_t)grown * rows->ncolumns *
						  sizeof(*values));
	if (!values)
		return false;
	if (rows->nkept)
		memcpy(values, rows->values,
		       (size_t)rows->nkept * rows->ncolumns * sizeof(*values));
	rows->values = values;
	*capacity = grown;
	return true;
}

/* Names, as the statement has them now. */
static bool name_columns(struct sqlite *db, sqlite3_stmt *stmt,
			 struct slm_rows *rows)
{
	const char **columns =
		slm_arena_zalloc(db->run, rows->ncolumns, sizeof(*columns));

	for (uint32_t i = 0; columns && i < rows->ncolumns; i++) {
		const char *name = sqlite3_column_name(stmt, (int)i);

		columns[i] = slm_arena_strdup(db->run, name ? name : "");
		if (!columns[i])
			return false;
	}
	rows->columns = columns;
	return columns != NULL;
}

bool slm_sqlite_outside_row(struct slm_db *base, sqlite3_stmt *stmt,
			    const struct slm_sqlite_outside_statement *statement,
			    struct slm_rows *rows, uint32_t *capacity)
{
	struct sqlite *db = of(base);
	bool failed = false, known;
	struct slm_value *row;

	if (!rows->columns) {
		rows->ncolumns = (uint32_t)sqlite3_column_count(stmt);
		if (statement->ncolumns == rows->ncolumns)
			rows->columns = statement->columns;
		else if (!name_columns(db, stmt, rows))
			return false;
	}
	rows->nrows++;
	if (rows->nkept == SLM_TRACE_ROWS_MAX || !rows->ncolumns)
		return true;
	if (!more_rows(db, rows, capacity))
		return false;
	known = statement->ncolumns == rows->ncolumns;
	row = (struct slm_value *)rows->values +
	      (size_t)rows->nkept * rows->ncolumns;
	for (uint32_t i = 0; i < rows->ncolumns; i++) {
		slm_sqlite_value(stmt, (int)i, db->run, &row[i], &failed);
		if (known && statement->origins[i] && db->ngenerated)
			slm_generated_name(db, statement->origins[i] - 1,
					   &row[i], &failed);
	}
	rows->nkept++;
	return !failed;
}

/* The keys of the rows that were inserted just now: the last one is known, and
 * several rows of a statement have keys in a row. */
static void learn_keys(struct sqlite *db, unsigned call, sqlite3 *handle,
		       const struct slm_sqlite_outside_statement *statement,
		       int64_t count)
{
	sqlite3_int64 last = sqlite3_last_insert_rowid(handle);

	if (statement->ngenerates != 1 || count < 1 || count > ROWS_MAX)
		return;
	for (int64_t i = count; i-- > 0;)
		if (!slm_generated_find(db, statement->generates[0], last - i))
			slm_generated_add(db, call, statement->generates[0],
					  last - i);
}

bool slm_sqlite_outside_end(struct slm_db *base, unsigned call,
			    sqlite3_stmt *stmt, int rc,
			    const struct slm_sqlite_outside_statement *statement,
			    struct slm_result *result)
{
	struct sqlite *db = of(base);
	sqlite3 *handle = sqlite3_db_handle(stmt);
	uint64_t digest = result->rows.nrows;

	for (uint32_t i = 0; i < result->rows.nkept * result->rows.ncolumns;
	     i++)
		digest = slm_sqlite_value_digest(digest,
						 &result->rows.values[i]);
	if (rc == SQLITE_DONE && statement->changes) {
		result->changes = sqlite3_changes64(handle);
		learn_keys(db, call, handle, statement, result->changes);
	}
	digest = slm_hash_mix(digest, (uint64_t)result->changes);
	if (rc != SQLITE_DONE && rc != SQLITE_OK && rc != SQLITE_ROW) {
		int code = sqlite3_extended_errcode(handle);

		code = code == SQLITE_OK ? rc : code;
		result->error = slm_sqlite_error_kind(code);
		result->code = slm_sqlite_code_name(code);
		result->message =
			slm_arena_strdup(db->run, sqlite3_errmsg(handle));
		digest = slm_hash_mix(digest, (uint64_t)code);
		if (!result->message)
			return false;
	}
	result->digest = digest;
	return !db->failed_generated;
}
