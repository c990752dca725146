/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where SQLite keeps its bytes while sqloom explores: a VFS of our own whose
 * files can be put back to a snapshot in a fraction of a microsecond, whose
 * locks are known by owner, and whose clock is virtual.
 *
 * Two kinds behind one interface. MEMORY: our own memory files with the exact
 * lock rules of SQLite's unix VFS (rollback journal and WAL). FILE: real files
 * in a private temporary directory through the system's unix VFS, which
 * decides about the locks; the lock table here records what it decided, and
 * must agree with what the rules say.
 *
 * One store serves connections of one thread. Each connection has an owner, a
 * small number; the store must be told whose code is running
 * (slm_store_set_owner) before any call into SQLite.
 *
 * Invariants: a file that the user named is only ever read. After
 * slm_store_restore() the contents are those of the snapshot, but for the
 * change counters that keep the connections' page caches honest.
 */
#ifndef SLM_DB_SQLITE_STORE_H
#define SLM_DB_SQLITE_STORE_H

#include <sqloom/sqloom.h>

#define SLM_STORE_OWNERS_MAX 32	    /* connections with an owner number */
#define SLM_STORE_NOBODY UINT32_MAX /* work that belongs to no owner */
#define SLM_STORE_SEED_MAX ((uint64_t)4 << 30) /* bytes of a seed file */

struct slm_store;

struct slm_store_hooks {
	/*
	 * The running owner's busy handler sleeps (xSleep) after a lock was
	 * refused: return when it shall try again. The callee may switch to
	 * other owners in between and switches back before it returns. It also
	 * passes the time (slm_store_pass()). A sleep of an owner that waits
	 * for no lock, or of nobody, does not come here: it only moves the
	 * clock.
	 */
	void (*sleep)(unsigned ms, void *userdata);
	/* A lock is about to be asked for, or was just got (only with lock
	 * points on, and not for nobody): what is static text, one of "before
	 * RESERVED", "before EXCLUSIVE", "before the WAL write lock", "after
	 * the WAL write lock". The callee may switch to other owners as above.
	 * May be NULL. */
	void (*lock_point)(const char *what, void *userdata);
	void *userdata;
};

/* Registers a VFS with a name of its own. *out is owned by the caller; close
 * all its connections before slm_store_free(). */
enum sqloom_status slm_store_new(enum sqloom_store kind,
				 const struct slm_store_hooks *hooks,
				 struct slm_store **out,
				 struct sqloom_error *err);
void slm_store_free(struct slm_store *store);

/* For sqlite3_open_v2(). The main database is opened under
 * slm_store_main_path(). Both owned by the store. */
const char *slm_store_vfs(const struct slm_store *store);
const char *slm_store_main_path(const struct slm_store *store);

/*
 * Seeds the main database with the user's file: a consistent copy of it with
 * its -journal and -wal if there are any, taken under SQLite's own shared lock
 * so that a writer is noticed; SQLite recovers the copy, never the original.
 * SQLOOM_IO (cannot be read, a directory, not a regular file), SQLOOM_DATABASE
 * (another program is writing to it), SQLOOM_LIMIT. Whether it is a database
 * at all is found out by the first statement. SQLOOM_UNSUPPORTED: a hot
 * journal that belongs to a super-journal.
 *
 * A database that a session attaches by the name of a file on the disk is
 * seeded from it in the same way when it is first opened, and belongs to the
 * snapshot from then on.
 */
enum sqloom_status slm_store_seed(struct slm_store *store, const char *path,
				  struct sqloom_error *err);

/* Whose code runs from now on: 0 .. SLM_STORE_OWNERS_MAX-1, or NOBODY.
 * Files opened belong to the one who runs then. */
void slm_store_set_owner(struct slm_store *store, unsigned owner);
unsigned slm_store_owner(const struct slm_store *store);

/* ---- Locks ------------------------------------------------------------ */

/* The owners whose locks stand in the way of the lock that this owner was
 * refused last; 0: nothing stands in the way any more. */
uint32_t slm_store_blockers(const struct slm_store *store, unsigned owner);

/* Does the owner's last refused lock still wait to be got? Cleared when any
 * lock is granted to the owner or by slm_store_forget_wait(). */
bool slm_store_waits(const struct slm_store *store, unsigned owner);
void slm_store_forget_wait(struct slm_store *store, unsigned owner);

/* What it was refused, for people: "the EXCLUSIVE lock on main",
 * "the write lock of main's WAL". Static or owned by the store; valid until
 * the owner's next lock call. */
const char *slm_store_wait_text(const struct slm_store *store, unsigned owner);

/* Does the owner hold any lock? (Between runs only locking_mode=exclusive.) */
bool slm_store_holds(const struct slm_store *store, unsigned owner);

/* Counts every lock released or lowered: unchanged means that no waiter can
 * have become free. */
uint64_t slm_store_releases(const struct slm_store *store);

/* ---- Snapshot --------------------------------------------------------- */

/*
 * Makes the present contents the snapshot. No transaction may be open. In WAL
 * mode best with the connections open and after each has read once: a WAL that
 * is opened only later is recovered anew in every run.
 */
enum sqloom_status slm_store_snapshot(struct slm_store *store,
				      struct sqloom_error *err);

/*
 * Puts the snapshot back: costs the pages written since. No lock may be held
 * (see slm_store_holds()). FILE: all connections must be closed. MEMORY: they
 * stay open, unless a run changed the journal mode to WAL or deleted a database
 * that others had open: then SQLOOM_UNSUPPORTED, nothing is changed, and the
 * call succeeds once they are closed.
 *
 * The store sees by itself that a schema cookie was written, and then moves it
 * on, so that no connection takes an old schema for the present one. A
 * connection reads the schema again only with
 * its next statement, and when another one locks it out then, that statement
 * fails differently than it would have with the schema at hand: after a run
 * that changed the schema let every connection read once.
 */
enum sqloom_status slm_store_restore(struct slm_store *store,
				     struct sqloom_error *err);

/*
 * Digest of everything in the database files that differs from the snapshot,
 * change counters left out: equal digests mean equal contents (the converse
 * does not hold). 0: not known (FILE).
 */
uint64_t slm_store_image(struct slm_store *store);

/* ---- Clock and faults ------------------------------------------------- */

/* Sets what now() says: milliseconds since the Unix epoch. Passing time is
 * added by slm_store_pass(). */
void slm_store_set_clock(struct slm_store *store, int64_t unix_ms);
void slm_store_pass(struct slm_store *store, unsigned ms);

/* Tests: the n-th I/O operation from now on fails with this SQLite code
 * (SQLITE_IOERR_WRITE, SQLITE_FULL, ...) and every later one too if sticky;
 * 0 turns it off. */
void slm_store_fail_at(struct slm_store *store, uint64_t n, int code,
		       bool sticky);
uint64_t slm_store_operations(const struct slm_store *store);

#endif
