/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VFS that stands before SQLite's own in this process: it has the name of
 * the system's ("unix"), is the default, and passes everything on, except files
 * that are routed: those are in a store of ours, so that the program's own
 * connections, on any thread, work on memory that can be put back in a moment,
 * with locks whose holders are known.
 *
 * Registered once, at the first slm_front_add() or slm_front_install(), and
 * never taken away (SQLite keeps pointers to it); it must be there when a
 * connection is opened. While there is no route it costs an indirect call.
 *
 * Not routed: temporary files; other databases that a connection attaches;
 * connections that ask for another VFS of SQLite's ("unix-excl", "unix-none"),
 * or were open before.
 *
 * Threads: all of this may be called from any thread. A store is used under the
 * route's lock; the lock is not held while a busy handler sleeps.
 */
#ifndef SLM_DB_SQLITE_FRONT_H
#define SLM_DB_SQLITE_FRONT_H

#include <sqlite3.h>

#include "db/sqlite_store.h"

struct slm_front_route;

struct slm_front_options {
	/* The database, as sqlite3_open() gets it: it, its -journal and its
	 * -wal (under any path that means the same file) are in the store,
	 * under slm_store_main_path(). */
	const char *path;
	struct slm_store *store; /* of the MEMORY kind; borrowed */
	/* Each connection is an owner in the store with a number of its own,
	 * from 0 (free numbers are used again; more than
	 * SLM_STORE_OWNERS_MAX - 1 connections: SQLITE_CANTOPEN).
	 * Else all are SLM_STORE_NOBODY. */
	bool owners;
	/* The busy handler of an owner, on the calling thread, sleeps after a
	 * lock was refused: return when it shall ask again. NULL: it really
	 * sleeps. */
	void (*sleep)(unsigned owner, unsigned ms, void *userdata);
	void *userdata;
};

enum sqloom_status slm_front_install(struct sqloom_error *err);

enum sqloom_status slm_front_add(const struct slm_front_options *options,
				 struct slm_front_route **out,
				 struct sqloom_error *err);
/* What is still open there answers SQLITE_IOERR from now on, and can be
 * closed; *open (may be NULL) tells how many connections that is. */
void slm_front_remove(struct slm_front_route *route, unsigned *open);

/* The clock of the calling thread's connections is that of the route's store
 * (now() stands still); NULL: the real one. */
void slm_front_use_clock(struct slm_front_route *route);

/* The owner number of a connection's main database; -1: it is not in route. */
int slm_front_owner(const struct slm_front_route *route, sqlite3 *db);
/* Which opening of a connection that number is now, counted from 1; 0: none. */
uint64_t slm_front_serial(struct slm_front_route *route, int owner);
/* Takes the mutex of a connection that any thread may have, so that it is not
 * closed meanwhile; the caller leaves sqlite3_db_mutex(db). False: that opening
 * is no more, or another thread is at work with it. */
bool slm_front_hold(struct slm_front_route *route, int owner, uint64_t serial,
		    sqlite3 *db);
/* Was a connection refused because all owner numbers are taken? */
bool slm_front_was_full(struct slm_front_route *route);
/* Connections that are open in route. */
unsigned slm_front_count(const struct slm_front_route *route);

/* For calls into the store from outside of SQLite: restore, snapshot, locks. */
void slm_front_lock(struct slm_front_route *route);
void slm_front_unlock(struct slm_front_route *route);

/* SQLite's own VFS for this system, whoever stands before it. */
sqlite3_vfs *slm_front_system(void);

#endif
