/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the libpq exercise has seen, on standard output, in full and always in
 * the same way. Nothing that differs from run to run is written.
 */
#ifndef SLM_TESTS_TRANSCRIPT_H
#define SLM_TESTS_TRANSCRIPT_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

/* Begins a section. */
void title(const char *text);

/* A connection as PGHOST and the like say, whose notices are written; more:
 * further keywords, or "". Ends the program if there is none. */
PGconn *must_connect(const char *more);

/* Writes a result, frees it (NULL: "no result"). */
void show(PGresult *result);

/* Writes where a connection stands: transaction, pipeline, connection. */
void show_state(PGconn *conn);

/* Executes sql by PQexec() and writes what is given back, then the state. */
void run(PGconn *conn, const char *sql);

/* Sends sql as one Query, and writes every result of it. */
void run_all(PGconn *conn, const char *sql);

/* Writes all results that are due, up to the end of the command. */
void show_rest(PGconn *conn);

#endif
