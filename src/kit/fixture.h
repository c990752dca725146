/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Committing tests: what the three kinds of fixtures share. fixture.c has the
 * public functions; fixture_postgres.c the database of a server,
 * fixture_memory.c SQLite that threads share, fixture_file.c SQLite for
 * processes, and fixture_handles.c knows the program's SQLite connections.
 * Nobody else includes this.
 */
#ifndef SLM_KIT_FIXTURE_H
#define SLM_KIT_FIXTURE_H

#include <sqlite3.h>
#include <sqloom/sqloom.h>

#include "base/buf.h"

struct slm_fixture_kind {
	/* Ends who is in a transaction, a line each into left; then puts back
	 * what was written. */
	enum sqloom_status (*restore)(struct sqloom_fixture *fixture,
				      struct slm_buf *left,
				      struct sqloom_error *err);
	/* Takes away what was made for it, and frees the fixture. */
	enum sqloom_status (*close)(struct sqloom_fixture *fixture,
				    struct sqloom_error *err);
};

/* The beginning of each kind. */
struct sqloom_fixture {
	const struct slm_fixture_kind *kind;
	char *url; /* owned; freed by kind->close */
};

/* ---- fixture.c --------------------------------------------------------- */

/* Runs what the options have as setup on a connection of its own to url. */
enum sqloom_status slm_fixture_set_up(
	const struct sqloom_fixture_options *options, const char *url,
	struct sqloom_error *err);

/* ---- The kinds --------------------------------------------------------- */

enum sqloom_status slm_fixture_open_postgres(
	const struct sqloom_fixture_options *options,
	struct sqloom_fixture **out, struct sqloom_error *err);
enum sqloom_status slm_fixture_open_memory(
	const struct sqloom_fixture_options *options,
	struct sqloom_fixture **out, struct sqloom_error *err);
enum sqloom_status slm_fixture_open_file(
	const struct sqloom_fixture_options *options,
	struct sqloom_fixture **out, struct sqloom_error *err);

/* ---- fixture_handles.c ------------------------------------------------- */

/* The connections of this process to one SQLite database, on any thread. */
struct slm_fixture_handles;

/* path: as sqlite3_db_filename() tells it. Connections that are opened from
 * now on are known. */
enum sqloom_status slm_fixture_handles_new(const char *path,
					   struct slm_fixture_handles **out,
					   struct sqloom_error *err);
/* What is still open is known no more. free(NULL) is fine. */
void slm_fixture_handles_free(struct slm_fixture_handles *handles);

/*
 * Rolls back the transactions of all connections, and resets statements that
 * were not read to their end; a line for each connection into left (may be NULL). Waits, at
 * most a second, for those that are inside of a statement, which it interrupts.
 * SQLOOM_DATABASE: there is one that cannot be ended, and why.
 */
enum sqloom_status slm_fixture_handles_end(struct slm_fixture_handles *handles,
					   struct slm_buf *left,
					   struct sqloom_error *err);

/* Connections that are open. */
unsigned slm_fixture_handles_count(struct slm_fixture_handles *handles);

/* ---- Both kinds of SQLite (fixture_file.c) ----------------------------- */

/* Copies all pages of the main database of one connection to another's, in
 * one transaction there. doing: for the message. */
enum sqloom_status slm_fixture_copy(sqlite3 *from, sqlite3 *to,
				    const char *doing,
				    struct sqloom_error *err);

#endif
