/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the transactions of the test kit: the handle, its blocks and its
 * hooks. database.c opens, closes and executes; database_state.c knows whose
 * the handle is and how its transaction stands; database_sqlite.c and
 * database_pg.c are the two kinds; transaction.c has the blocks, hooks.c what
 * runs behind a commit, atomic_test.c the transaction around a test. Nobody
 * outside of these files, lock.c and retry.c includes this.
 *
 * Invariants:
 * - All but owner is touched only by the thread in owner: between
 *   slm_kit_enter() and slm_kit_leave(), and as long as a block is open.
 * - Whether a transaction is open is asked from the handle, never assumed:
 *   slm_kit_look() is called before every use.
 * - The outermost block is a transaction, or a savepoint in a transaction that
 *   the program began itself (taken_up).
 */
#ifndef SLM_KIT_DATABASE_H
#define SLM_KIT_DATABASE_H

#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/types.h>

#include <sqloom/sqloom.h>

#include "base/error.h"

/* What the handle says about its transaction. */
enum slm_kit_state {
	SLM_KIT_IDLE,	/* there is none */
	SLM_KIT_OPEN,	/* there is one */
	SLM_KIT_FAILED, /* there is one that refuses statements (PostgreSQL) */
	SLM_KIT_ACTIVE, /* a statement that the program sent on the handle is
			   not over (PostgreSQL) */
	SLM_KIT_LOST,	/* the connection broke */
};

/* What is the same question to both kinds of handles. */
struct slm_kit_driver {
	const char *name; /* "SQLite" */
	enum slm_kit_state (*state)(const struct sqloom_db *db);
	/*
	 * Executes all statements of sql. The first value of the first row of
	 * the last one goes to *value if value is not NULL; NULL: there is
	 * none. A failure is remembered in db->failure, too.
	 */
	enum sqloom_status (*run)(struct sqloom_db *db, const char *sql,
				  char **value, struct sqloom_error *err);
	/* The first statement of sql that begins or ends transactions or
	 * savepoints: its name; NULL: there is none. */
	enum sqloom_status (*find_control)(const char *sql, const char **word,
					   struct sqloom_error *err);
	/* Fails where COMMIT would because of deferred constraints. */
	enum sqloom_status (*check_deferred)(struct sqloom_db *db,
					     struct sqloom_error *err);
	/* Closes the handle if it is ours, and lets go of it if not. */
	enum sqloom_status (*close)(struct sqloom_db *db,
				    struct sqloom_error *err);
};

extern const struct slm_kit_driver slm_kit_sqlite;
extern const struct slm_kit_driver slm_kit_pg;

/* The last failure that the database told. */
struct slm_kit_failure {
	bool set;
	bool retryable; /* 40001, 40P01, SQLITE_BUSY, SQLITE_LOCKED */
	char code[8];	/* SQLSTATE, or SQLite's extended code */
	char text[320];
};

struct slm_kit_hook {
	struct slm_kit_hook *next;
	sqloom_hook_fn fn;
	void *arg;
	void (*drop)(void *arg); /* may be NULL */
	bool robust;
};

struct slm_kit_hooks {
	struct slm_kit_hook *first, *last;
};

enum slm_kit_block_kind {
	SLM_KIT_TRANSACTION,
	SLM_KIT_SAVEPOINT,
	SLM_KIT_PLAIN, /* an inner block without a savepoint */
};

enum slm_kit_mark {
	SLM_KIT_UNMARKED,
	SLM_KIT_MARKED_BY_PROGRAM, /* sqloom_set_rollback() */
	SLM_KIT_MARKED_BY_INNER,   /* a plain block inside of it failed */
};

struct slm_kit_block {
	struct slm_kit_block *outer; /* NULL: it is the outermost */
	enum slm_kit_block_kind kind;
	enum slm_kit_mark mark;
	uint64_t id;		   /* of the handle's blocks */
	unsigned level;		   /* from 1; in the name of the savepoint, so
				      that equal runs send equal statements */
	char begin[64];		   /* transaction: the statement */
	struct slm_kit_hook *last; /* of db->hooks when it was begun */
};

#define SLM_KIT_REASON_MAX 480
#define SLM_KIT_EXCERPT_MAX 120 /* of a statement, in messages */

struct sqloom_db {
	const struct slm_kit_driver *driver;
	sqlite3 *sqlite; /* one of both; NULL also: the program closed it */
	PGconn *pg;
	bool owned;		     /* the handle is ours to close */
	struct slm_kit_watch *watch; /* SQLite: told when it is closed */
	pid_t process;		     /* that opened it */

	_Atomic pid_t owner; /* thread that is in a call or block; 0: none */
	unsigned entered;    /* calls of it that are under way */
	unsigned callbacks;  /* functions of the program that we are in */

	struct slm_kit_block *innermost;
	unsigned depth;		    /* the fixture's own does not count */
	struct slm_kit_block *test; /* of sqloom_fixture_begin() */
	uint64_t last_id;
	bool taken_up; /* the transaction was begun by the program */

	/* Since the last savepoint nothing but a rollback is left to do. */
	bool broken;
	char reason[SLM_KIT_REASON_MAX]; /* of broken or over */
	/* The transaction is no more, although blocks are open: the status
	 * that tells so. SQLOOM_OK: it is there. USAGE: the program ended it;
	 * DATABASE: it was rolled back. */
	enum sqloom_status over;
	/* PostgreSQL: what we saw on the handle since our BEGIN, and that was
	 * not ours: "COMMIT", "ROLLBACK", "PQreset()"; NULL: nothing. */
	const char *ended_by;
	bool rolled_back; /* a ROLLBACK was seen, perhaps to a savepoint */
	bool ours;	  /* what runs now is a statement of ours */

	struct slm_kit_failure failure;
	char last_sql[SLM_KIT_EXCERPT_MAX + 4];

	struct slm_kit_hooks hooks; /* of the blocks that are open */
	struct slm_kit_hooks due;   /* committed, to be run */
	bool running;		    /* the due ones are being run */
};

/* ---- database_state.c ---- */

/* Claims db for this thread. USAGE: NULL, another thread has it, another
 * process opened it. */
enum sqloom_status slm_kit_enter(struct sqloom_db *db,
				 struct sqloom_error *err);
void slm_kit_leave(struct sqloom_db *db);
/* Does this thread have it? */
bool slm_kit_is_mine(const struct sqloom_db *db);

/* Takes db over from a thread that has ended with a block open. False: there is
 * no such thread. */
bool slm_kit_adopt(struct sqloom_db *db);

/* Looks at the handle: sets broken and over as it says. */
void slm_kit_look(struct sqloom_db *db);
/* Looks, and refuses if no statement can be executed: with status broken for
 * a broken block. */
enum sqloom_status slm_kit_ready(struct sqloom_db *db,
				 enum sqloom_status broken,
				 struct sqloom_error *err);
/* A statement failed in a block: what of the block is left? sql: for the
 * reason. */
void slm_kit_break(struct sqloom_db *db, const char *sql);
void slm_kit_set_over(struct sqloom_db *db, enum sqloom_status status,
		      const char *fmt, ...) SLM_PRINTF(3, 4);
/* "the transaction is broken since: ..." or that it is over. */
enum sqloom_status slm_kit_tell_broken(const struct sqloom_db *db,
				       enum sqloom_status status,
				       struct sqloom_error *err);
/* Remembers a failure; tells it as "cannot execute "...": ...". */
enum sqloom_status slm_kit_failed(struct sqloom_db *db, const char *sql,
				  const char *code, const char *text,
				  bool retryable, struct sqloom_error *err);
/* The beginning of a statement, for messages. */
void slm_kit_excerpt(const char *sql, char out[SLM_KIT_EXCERPT_MAX + 4]);

/* ---- database.c ---- */

/* Executes a statement of ours (a printf format). Failures neither break nor
 * end blocks. */
enum sqloom_status slm_kit_run(struct sqloom_db *db, struct sqloom_error *err,
			       const char *fmt, ...) SLM_PRINTF(3, 4);
/* The first of words (NULL ends) that a statement of sql begins with goes to
 * *word; NULL: none. By tokens only. triggers: what is in the body of a CREATE
 * TRIGGER is no statement. False: memory is out. */
bool slm_kit_scan_control(const char *sql, const char *const *words,
			  bool triggers, const char **word);

/* ---- The kinds ---- */

enum sqloom_status slm_kit_sqlite_open(struct sqloom_db *db, const char *path,
				       struct sqloom_error *err);
/* Remembers the failure of the last call on the handle, if it failed: the
 * program's, whom SQLite tells alone. */
void slm_kit_sqlite_see(struct sqloom_db *db);
enum sqloom_status slm_kit_pg_open(struct sqloom_db *db, const char *conninfo,
				   struct sqloom_error *err);
/* Take up db->sqlite, db->pg. */
enum sqloom_status slm_kit_sqlite_attach(struct sqloom_db *db,
					 struct sqloom_error *err);
enum sqloom_status slm_kit_pg_attach(struct sqloom_db *db,
				     struct sqloom_error *err);

/* ---- transaction.c ---- */

/* All need slm_kit_enter() and what slm_kit_look() says. */
enum sqloom_status slm_kit_block_begin(
	struct sqloom_db *db, const struct sqloom_atomic_options *options,
	struct sqloom_error *err);
enum sqloom_status slm_kit_block_end(struct sqloom_db *db, bool ok,
				     struct sqloom_error *err);
/* fn in a block. *committed tells a hook's failure from that of fn. */
enum sqloom_status slm_kit_block_call(
	struct sqloom_db *db, const struct sqloom_atomic_options *options,
	sqloom_block_fn fn, void *arg, bool *committed,
	struct sqloom_error *err);
/* A block on top of the others. NULL: memory is out. */
struct slm_kit_block *slm_kit_push(struct sqloom_db *db,
				   enum slm_kit_block_kind kind);
/* Rolls back blocks, and drops their hooks, until only depth are open. The
 * test's is kept. */
enum sqloom_status slm_kit_unwind(struct sqloom_db *db, unsigned depth,
				  struct sqloom_error *err);
/* Forgets all blocks and their hooks. The database is not asked. */
void slm_kit_forget(struct sqloom_db *db);

/* ---- hooks.c ---- */

/* Drops the hooks behind last (NULL: all). */
void slm_kit_hooks_drop(struct sqloom_db *db, struct slm_kit_hook *last);
/* All is committed: runs the hooks. CALL: one failed. */
enum sqloom_status slm_kit_hooks_run(struct sqloom_db *db,
				     struct sqloom_error *err);

/* ---- retry.c ---- */

struct slm_rng;
/* Microseconds to wait behind the n-th failed try (from 1). */
unsigned slm_kit_retry_wait_us(struct slm_rng *rng, unsigned n);

#endif
