/* SPDX-License-Identifier: Apache-2.0 */
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUSY_TIMEOUT_MS 5000

static bool is_postgres(const char *database)
{
	return strncmp(database, "postgres", 8) == 0 || strchr(database, '=');
}

/* libpq's messages are of several lines; the first says it. */
static long failed(struct store *store, const char *message)
{
	snprintf(store->error, sizeof(store->error), "%.*s",
		 (int)strcspn(message, "\n"), message);
	return -1;
}

/* "table does not exist, skipping" and the like. */
static void ignore_notice(void *unused, const char *message)
{
	(void)unused;
	(void)message;
}

struct store *store_open(const char *database)
{
	struct store *store = calloc(1, sizeof(*store));

	if (!store)
		return NULL;
	if (is_postgres(database)) {
		store->pg = PQconnectdb(database);
		if (PQstatus(store->pg) != CONNECTION_OK)
			failed(store, PQerrorMessage(store->pg));
		PQsetNoticeProcessor(store->pg, ignore_notice, NULL);
	} else if (sqlite3_open(database, &store->sqlite) != SQLITE_OK) {
		failed(store, sqlite3_errmsg(store->sqlite));
	} else {
		/* Who finds the database locked waits, and does not fail. */
		sqlite3_busy_timeout(store->sqlite, BUSY_TIMEOUT_MS);
	}
	return store;
}

void store_close(void *pointer)
{
	struct store *store = pointer;

	if (!store)
		return;
	sqlite3_close(store->sqlite);
	PQfinish(store->pg);
	free(store);
}

/* ---- Statements ---------------------------------------------------------- */

static long run_postgres(struct store *store, const char *sql,
			 const char *const *params, int nparams, char **value)
{
	PGresult *result = PQexecParams(store->pg, sql, nparams, NULL, params,
					NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(result);
	long rows;

	if (status == PGRES_TUPLES_OK) {
		rows = PQntuples(result);
		if (value && rows > 0 && !PQgetisnull(result, 0, 0))
			*value = strdup(PQgetvalue(result, 0, 0));
	} else if (status == PGRES_COMMAND_OK) {
		rows = strtol(PQcmdTuples(result), NULL, 10);
	} else {
		rows = failed(store, PQerrorMessage(store->pg));
	}
	PQclear(result);
	return rows;
}

static long run_sqlite(struct store *store, const char *sql,
		       const char *const *params, int nparams, char **value)
{
	sqlite3_stmt *stmt;
	int rc = sqlite3_prepare_v2(store->sqlite, sql, -1, &stmt, NULL);
	long rows = 0;

	for (int i = 0; i < nparams && rc == SQLITE_OK; i++)
		rc = sqlite3_bind_text(stmt, i + 1, params[i], -1,
				       SQLITE_STATIC);
	if (rc == SQLITE_OK)
		while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
			if (rows++ == 0 && value &&
			    sqlite3_column_type(stmt, 0) != SQLITE_NULL)
				*value = strdup(
					(const char *)sqlite3_column_text(stmt,
									  0));
	if (rc != SQLITE_DONE)
		rows = failed(store, sqlite3_errmsg(store->sqlite));
	else if (sqlite3_column_count(stmt) == 0)
		rows = sqlite3_changes(store->sqlite);
	sqlite3_finalize(stmt);
	return rows;
}

long store_run(struct store *store, const char *sql, const char *const *params,
	       char **value)
{
	int nparams = 0;

	if (value)
		*value = NULL;
	while (params && params[nparams])
		nparams++;
	return store->pg ? run_postgres(store, sql, params, nparams, value) :
			   run_sqlite(store, sql, params, nparams, value);
}

bool store_script(struct store *store, const char *sql)
{
	PGresult *result;
	bool ok;

	if (store->sqlite) {
		ok = sqlite3_exec(store->sqlite, sql, NULL, NULL, NULL) ==
		     SQLITE_OK;
		if (!ok)
			failed(store, sqlite3_errmsg(store->sqlite));
		return ok;
	}
	result = PQexec(store->pg, sql);
	ok = PQresultStatus(result) == PGRES_COMMAND_OK;
	if (!ok)
		failed(store, PQerrorMessage(store->pg));
	PQclear(result);
	return ok;
}

/* ---- Transactions -------------------------------------------------------- */

bool store_begin(struct store *store)
{
	const char *sql = store->pg ? "BEGIN" : "BEGIN IMMEDIATE";

	return store_run(store, sql, NULL, NULL) >= 0;
}

const char *store_lock(const struct store *store)
{
	return store->pg ? " FOR UPDATE" : "";
}

bool store_end(struct store *store, bool ok)
{
	char error[sizeof(store->error)];

	if (ok && store_run(store, "COMMIT", NULL, NULL) >= 0)
		return true;
	/* What went wrong first is what the caller wants to hear. */
	memcpy(error, store->error, sizeof(error));
	store_run(store, "ROLLBACK", NULL, NULL);
	memcpy(store->error, error, sizeof(error));
	return false;
}
