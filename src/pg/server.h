/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A private PostgreSQL server of the installed packages: for `--pg-temp`, and
 * for the C tests. It lives in a fresh directory that only its user can
 * enter, listens on a Unix socket there and nowhere else, trusts whoever gets
 * that far, and syncs nothing: its data are worth nothing after its end.
 *
 * It never runs as root: if the effective user is root, it runs as the user
 * "postgres". It ends with this process, however that ends (server_keeper.h
 * says how); after a crash of the machine, the next start removes the
 * directory.
 *
 * May use base, and pg.h. Safe to call from a process with threads; one
 * server is used by one thread at a time. Both calls block.
 */
#ifndef SLM_PG_SERVER_H
#define SLM_PG_SERVER_H

#include <sqloom/sqloom.h>

struct slm_pg_server;

/* Where things are. The library does not read the environment; the command
 * passes on what it finds there. All may be NULL; all are copied. */
struct slm_pg_server_options {
	/* The directory of initdb and postgres. NULL: Debian's directories,
	 * newest version first, then those of path. */
	const char *bindir;
	const char *path;  /* a PATH; NULL: none */
	const char *place; /* where to make the directory (TMPDIR). NULL: in
			      memory if /dev/shm has room, else /tmp */
};

/*
 * Starts a server and makes an empty database in it (UTF8, sorted by code
 * point). Takes about a second, nearly all of it initdb. options may be NULL.
 * SQLOOM_DATABASE: no PostgreSQL installed, no user for it, it does not start
 * (with the end of what it said); SQLOOM_IO: no directory, no process. A
 * failure leaves nothing behind.
 */
enum sqloom_status slm_pg_server_start(
	const struct slm_pg_server_options *options, struct slm_pg_server **out,
	struct sqloom_error *err);

/*
 * How to connect to the database, as keywords for libpq: its superuser, its
 * socket, a database whose name says that it is for tests. Overrides what PG*
 * variables say. Borrowed, valid until the server is stopped.
 */
const char *slm_pg_server_conninfo(const struct slm_pg_server *server);

/* Stops the server at once, whatever its sessions do, and removes all it had.
 * Returns when all is gone. stop(NULL) is fine. */
void slm_pg_server_stop(struct slm_pg_server *server);

#endif
