/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program has between itself and its database: a few lines over SQLite
 * or libpq. It knows nothing of sqloom; the examples that use it show functions
 * that are explored as they are.
 */
#ifndef STORE_H
#define STORE_H

#include <stdbool.h>

#include <libpq-fe.h>
#include <sqlite3.h>

/* A connection. One of the two handles is set. */
struct store {
	sqlite3 *sqlite;
	PGconn *pg;
	char error[256]; /* why the last function failed, one line */
};

/* Connects to a PostgreSQL server ("postgresql://...", "host=...") or opens an
 * SQLite file. NULL: out of memory; else ask store->error, which is "" if all
 * went well. */
struct store *store_open(const char *database);

/* Closes it. NULL is fine. The type of the argument is what
 * sqloom_call_keep() wants. */
void store_close(void *store);

/*
 * Executes one statement. params: texts for $1, $2 ... in the order in which
 * they stand in sql, NULL ends; NULL: none. *value (may be NULL): the first
 * value of the first row, NULL if there is none; free() it. Returns the number
 * of rows read, or changed; -1: it failed, see store->error.
 */
long store_run(struct store *store, const char *sql, const char *const *params,
	       char **value);

/* Executes statements without parameters, up to the first that fails. */
bool store_script(struct store *store, const char *sql);

#define PARAMS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* Begins a transaction that is going to write. On SQLite it takes the lock for
 * writing at once; PostgreSQL locks rows, by a SELECT with store_lock(). */
bool store_begin(struct store *store);

/* What locks the rows of a SELECT until the end of the transaction: " FOR
 * UPDATE", or nothing on SQLite, where store_begin() has locked everything. */
const char *store_lock(const struct store *store);

/* Ends the transaction: commits if ok. False: it failed, or ok was false. */
bool store_end(struct store *store, bool ok);

#endif
