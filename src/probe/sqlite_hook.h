/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sees every statement that this process executes on SQLite, on whatever
 * connection and thread, without a change to the program: the functions that
 * begin, step and end statements are wrapped. How depends on the program:
 * libsqloom-sqlite.so was preloaded and has functions of these names; or the
 * slots through which loaded modules call the shared libsqlite3 are patched
 * (dl_iterate_phdr; GOT of the program, of its libraries, of libsqlite3
 * itself; again after a dlopen); or a statically linked SQLite loaded
 * libsqloom-sqlite.so as an extension, and its trace callback is used.
 *
 * While no hooks are set a wrapper costs one load. Nested statements (those
 * that a statement makes: user functions, FTS5, the loading of a schema) are
 * not seen.
 *
 * EXTENSION is less than the others: a statement begins with its connection
 * locked; its rows and result are not known; one that SQLite prepares anew
 * because the schema changed ends too early; one that is stepped again after
 * SQLITE_BUSY without a reset does not begin again.
 *
 * Never seen: calls through pointers to SQLite's functions that the program
 * keeps in tables of its own; what sqlite3_get_table() does in a libsqlite3
 * that was linked with -Bsymbolic; checkpoints; in EXTENSION mode blobs and
 * backups.
 */
#ifndef SLM_PROBE_SQLITE_HOOK_H
#define SLM_PROBE_SQLITE_HOOK_H

#include <sqlite3.h>
#include <sqloom/sqloom.h>

/* All are called on the statement's thread, and without any lock of SQLite or
 * of ours held, except in EXTENSION mode. */
struct slm_sqlite_hooks {
	/* It is about to be begun. Return when it may. */
	void (*begin)(sqlite3_stmt *stmt, void *userdata);
	/* It gave a row, whose columns can be read. Not in EXTENSION mode. */
	void (*row)(sqlite3_stmt *stmt, void *userdata);
	/* It is over. rc: SQLITE_DONE or the error of sqlite3_step();
	 * SQLITE_OK: it was reset or finalized before its end (EXTENSION mode:
	 * always, the result is not known). */
	void (*end)(sqlite3_stmt *stmt, int rc, void *userdata);
	/* What is no statement is about to use a database: a blob is opened,
	 * or a backup goes on. db NULL: not known which. what: the function's
	 * name. Return when it may; its end is not told. */
	void (*other)(sqlite3 *db, const char *what, void *userdata);
	void *userdata;
};

/* Puts the wrappers in place, again if libraries were loaded since. Cheap if
 * there is nothing new. */
enum sqloom_sqlite_mode slm_sqlite_hook_install(void);

/* From now on the hooks are called; NULL: no more. hooks is borrowed, and must
 * stay valid until every thread that is inside of a statement has left it: the
 * caller sees to that. Statements that began before are not seen any more. */
void slm_sqlite_hook_set(const struct slm_sqlite_hooks *hooks);

/* What this thread executes is not seen until as many resumes: for sqloom's own
 * statements. Cheap. */
void slm_sqlite_hook_pause(void);
void slm_sqlite_hook_resume(void);

#endif
