/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqloom: the test kit for C programs that use SQLite or libpq.
 *
 * Part of <sqloom/sqloom.h>, which includes it and states the promises that
 * hold here too (status and error of a function, ownership, no printing).
 *
 * - Calls: the same function, or different ones, at once, on threads or in
 *   clean processes; and in every order that matters (exploring).
 * - Transactions: blocks that nest, hooks behind the commit, retries, locks.
 * - Fixtures: a database that is as it was after every test.
 * - Signals: receivers that can be suspended.
 */
#ifndef SQLOOM_KIT_H
#define SQLOOM_KIT_H

#include <sqloom/sqloom.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/* The handles of the two libraries, whose headers are not needed here:
 * sqlite3 and PGconn. */
struct sqlite3;
struct pg_conn;

/* ---- Calls ------------------------------------------------------------- */

/* What a function that is called learns of its call, and tells about it. Only
 * valid inside of the function, on whatever thread. */
struct sqloom_call;

/*
 * A function that is called concurrently. Returns 0 if the call succeeded;
 * anything else: it failed (see sqloom_call_fail()). arg is what the call was
 * given; in a clean process it is a copy.
 */
typedef int (*sqloom_fn)(struct sqloom_call *call, void *arg);

/* One call. Strings and arg are borrowed until all calls are over. */
struct sqloom_function {
	const char *name; /* for people; NULL: "call 1", "call 2" ... */
	sqloom_fn fn;	  /* must be set */
	void *arg;
	/* Bytes at arg that a clean process gets a copy of. 0: none, and
	 * then arg must be NULL if the call runs in a process. Pointers inside
	 * of them mean nothing there. */
	size_t arg_size;
	/* Environment of this call, NAME=value ..., NULL ends; in addition to
	 * what the process has. Clean processes only. NULL: nothing. */
	const char *const *environment;
};

#define SQLOOM_CALLS_MAX 256		    /* concurrent calls at once */
#define SQLOOM_EXPLORED_MAX 16		    /* calls of an exploration */
#define SQLOOM_VALUE_MAX ((size_t)16 << 20) /* bytes of a call's value */
#define SQLOOM_CALL_ERROR_MAX 1024	    /* bytes of a call's message */

/* Appends to the value of the call: the bytes that it gives back. A JSON object
 * is compared part by part; one that begins with the key "returned" or "raised"
 * stands in reports for the number that the function returns. False: the
 * value would exceed SQLOOM_VALUE_MAX (the call then fails, whatever it
 * returns) or memory is out. */
bool sqloom_call_write(struct sqloom_call *call, const void *bytes,
		       size_t size);
bool sqloom_call_printf(struct sqloom_call *call, const char *fmt, ...)
#if defined(__GNUC__)
	__attribute__((format(printf, 2, 3)))
#endif
	;

/* Says why the call fails; the last one counts. Returns -1, so that a function
 * can end by `return sqloom_call_fail(call, ...)`. */
int sqloom_call_fail(struct sqloom_call *call, const char *fmt, ...)
#if defined(__GNUC__)
	__attribute__((format(printf, 2, 3)))
#endif
	;

/*
 * Says that the call refuses what was asked for, and why, as its callers expect
 * it to: "sold out", "please log in". The call fails, but in an exploration a
 * refusal is by itself never a finding, also where no serial run has it: an
 * order may well be refused at a later step than it would be otherwise. Returns
 * -1, as sqloom_call_fail().
 */
int sqloom_call_refuse(struct sqloom_call *call, const char *fmt, ...)
#if defined(__GNUC__)
	__attribute__((format(printf, 2, 3)))
#endif
	;

/* The number of the call among the calls, from 0, and its name. */
size_t sqloom_call_number(const struct sqloom_call *call);
const char *sqloom_call_name(const struct sqloom_call *call);

/*
 * What to connect to: in an exploration, the database that is explored: a path
 * for sqlite3_open(), or a connection string for PQconnectdb() that leads
 * through sqloom. Else what sqloom_calls_options.database says. NULL: nothing
 * was said.
 */
const char *sqloom_call_database(const struct sqloom_call *call);

/*
 * A place for what the call keeps from one run of an exploration to the next,
 * such as its connection: NULL at first. drop (may be NULL) is called with it
 * on the call's own thread at the end. Outside of an exploration it is dropped
 * when the function returns.
 */
void **sqloom_call_keep(struct sqloom_call *call, void (*drop)(void *kept));

/*
 * A named point: in an exploration, where other calls may come in between, as
 * before a statement. Everywhere else it does nothing and costs nothing.
 * name: borrowed, a text like "after-read".
 */
void sqloom_point(const char *name);

/* ---- Concurrent calls -------------------------------------------------- */

/*
 * A helper that clean processes are forked from. It must be started before the
 * program opens a connection or starts a thread: then nothing of these, no
 * socket, no file lock, no state of a library, is in the processes. (A
 * connection that came over a fork() breaks for both sides: docs/c-calls.md.)
 */
struct sqloom_processes;

/*
 * Starts the helper. Fails with SQLOOM_USAGE if the process has other threads,
 * or descriptors that a fork would share: sockets, SQLite databases (the
 * message names them); SQLOOM_IO, SQLOOM_NOMEM. The helper ends with the
 * process, however that ends, and so do the calls it runs. *out is owned by the
 * caller; one thread at a time may use it.
 */
enum sqloom_status sqloom_processes_start(struct sqloom_processes **out,
					  struct sqloom_error *err);
/* Ends the helper. NULL is fine. */
void sqloom_processes_free(struct sqloom_processes *processes);

/* How a call ended. */
enum sqloom_ending {
	SQLOOM_RETURNED,  /* the function returned 0 */
	SQLOOM_FAILED,	  /* it returned something else, or wrote too much */
	SQLOOM_TIMED_OUT, /* process: killed; thread: left alone */
	SQLOOM_CRASHED,	  /* process: ended by a signal */
	SQLOOM_EXITED,	  /* process: exit() or _exit() inside of the call */
	SQLOOM_LOST,	  /* it could not be started */
};

/* What became of a call. Owned by the results. */
struct sqloom_result {
	const char *name;
	enum sqloom_ending ending;
	const void *value;  /* what it wrote, and a NUL byte behind; never
			      NULL */
	size_t size;	    /* bytes of value, without the NUL */
	int status;	    /* what the function returned; EXITED: the exit
			      status; CRASHED: the signal */
	const char *error;  /* one line; NULL: it succeeded */
	const char *output; /* process: its standard error, NUL-terminated, at
			       most SQLOOM_OUTPUT_MAX bytes of its end; else
			       "" */
};
#define SQLOOM_OUTPUT_MAX 65536

struct sqloom_results;

/* How many calls were made. */
size_t sqloom_results_count(const struct sqloom_results *results);
/* What became of one call; they are in the order in which they were given.
 * NULL: there is no such call. */
const struct sqloom_result *sqloom_results_at(
	const struct sqloom_results *results, size_t index);
/* How many calls did not end as SQLOOM_RETURNED. */
size_t sqloom_results_failed(const struct sqloom_results *results);
/* "3 of 5 calls failed:" and a line for each; "" if none did. Owned by
 * results. */
const char *sqloom_results_message(const struct sqloom_results *results);
/* Frees the results, and what they own. NULL is fine. */
void sqloom_results_free(struct sqloom_results *results);

/* Always start from sqloom_calls_options_init(). */
struct sqloom_calls_options {
	struct sqloom_processes *processes; /* clean processes; NULL: threads */
	uint64_t timeout_ms;  /* of each call, from the common start (60,000);
				0: none */
	const char *database; /* for sqloom_call_database(); NULL */
};

/* The defaults: threads, a timeout of 60,000 ms, no database. */
void sqloom_calls_options_init(struct sqloom_calls_options *options);

/*
 * Makes the calls, all released together when every one stands ready, and
 * waits for all of them. That calls fail is no failure of this function.
 * SQLOOM_USAGE: no call, more than SQLOOM_CALLS_MAX, a NULL function, an
 * environment for a thread; for a process an arg without a size, or of more than
 * SQLOOM_VALUE_MAX bytes, a function that the helper does not have (loaded
 * later), a helper that another process started or another thread uses.
 * SQLOOM_IO: the helper was killed; SQLOOM_NOMEM. *out is owned by the caller.
 * options may be NULL.
 */
enum sqloom_status sqloom_make_concurrent_calls(
	const struct sqloom_function *calls, size_t ncalls,
	const struct sqloom_calls_options *options, struct sqloom_results **out,
	struct sqloom_error *err);

/* Makes n calls of the same function, as sqloom_make_concurrent_calls(). */
enum sqloom_status sqloom_call_concurrently(
	size_t n, sqloom_fn fn, void *arg, size_t arg_size,
	const struct sqloom_calls_options *options, struct sqloom_results **out,
	struct sqloom_error *err);

/* Makes `times` calls of the same function on threads. SQLOOM_CALL if any call
 * failed: err->message begins "3 of 5 calls failed: ". */
enum sqloom_status sqloom_test_concurrently(size_t times, sqloom_fn fn,
					    void *arg,
					    struct sqloom_error *err);

/* ---- Exploring calls --------------------------------------------------- */

/* What is explored. Always start from sqloom_calls_init(). Borrowed. */
struct sqloom_calls {
	const char *name; /* of the test, for reports ("calls") */
	const struct sqloom_function *calls; /* 2 to SQLOOM_EXPLORED_MAX; each
						on a thread of its own that is
						kept from run to run */
	size_t ncalls;
	/* Sets up the database, once, before anything is explored; may be
	 * NULL. */
	sqloom_fn setup;
	/* Asked after every run, alone: 0 if all is well. May be NULL. */
	sqloom_fn check;
	void *arg; /* of setup and check */
	/* SQL queries that must return no row; NULL ends; NULL: none. */
	const char *const *queries;
};

/* The defaults: everything 0 or NULL; calls and ncalls are to be set. */
void sqloom_calls_init(struct sqloom_calls *calls);

/*
 * Explores the calls: their statements, and their points, in the orders that
 * matter. options->database says which database (an SQLite file, which is
 * never written: the calls find a copy of it under its name, NULL: an empty
 * one; or PostgreSQL, or pg_temp); the functions connect to
 * sqloom_call_database(). Values that the calls write, whether they failed, and
 * their messages are compared with those of the serial runs, all together (as
 * options->joint asks of others), as are the contents of the database. options
 * may be NULL.
 *
 * SQLOOM_USAGE: a NULL function, too few or too many calls, an exploration
 * inside of a call; else as sqloom_explore(). One exploration of calls at a
 * time in a process.
 */
enum sqloom_status sqloom_explore_calls(const struct sqloom_calls *calls,
					const struct sqloom_options *options,
					struct sqloom_report **out,
					struct sqloom_error *err);

/* Runs the one schedule that token names, as sqloom_replay(). options may be
 * NULL. */
enum sqloom_status sqloom_replay_calls(const struct sqloom_calls *calls,
				       const char *token,
				       const struct sqloom_report *recorded,
				       const struct sqloom_options *options,
				       struct sqloom_report **out,
				       struct sqloom_error *err);

/* How statements of SQLite are seen in this process. */
enum sqloom_sqlite_mode {
	SQLOOM_SQLITE_ABSENT,	 /* there is no SQLite to be seen */
	SQLOOM_SQLITE_PRELOADED, /* by LD_PRELOAD of libsqloom-sqlite.so */
	SQLOOM_SQLITE_LINKED,	 /* calls into the shared libsqlite3 are
				    led through sqloom */
	SQLOOM_SQLITE_EXTENSION, /* a statically linked SQLite that loaded
				    libsqloom-sqlite.so: statements are seen,
				    their results are not */
};

/* Tries a statement and tells which way it was seen; also makes it so that
 * connections opened from now on are seen. Explorations do it by themselves. */
enum sqloom_sqlite_mode sqloom_sqlite_selftest(void);

/* ---- Transactions ------------------------------------------------------ */

/* A database handle with transactions. One thread at a time may use it: a call
 * from another thread while it is in a call or a block fails with SQLOOM_USAGE;
 * so does one from a fork of the process that opened it. */
struct sqloom_db;

/*
 * Opens a connection of its own: "postgresql://..." or keywords as libpq
 * understands them, else an SQLite path or file: URI. SQLOOM_DATABASE,
 * SQLOOM_USAGE, SQLOOM_NOMEM. *out is owned by the caller.
 */
enum sqloom_status sqloom_db_open(const char *url, struct sqloom_db **out,
				  struct sqloom_error *err);
/* Wraps a handle that the program has (borrowed; it must outlive *out, must not
 * be in a transaction, and only one sqloom_db may be on it at a time:
 * SQLOOM_USAGE). If the program closes it first, that is noticed: what is
 * called later is SQLOOM_USAGE. */
enum sqloom_status sqloom_db_of_sqlite(struct sqlite3 *handle,
				       struct sqloom_db **out,
				       struct sqloom_error *err);
enum sqloom_status sqloom_db_of_pg(struct pg_conn *handle,
				   struct sqloom_db **out,
				   struct sqloom_error *err);

/* The handle; NULL if it is of the other kind, or was closed. Borrowed. */
struct sqlite3 *sqloom_db_sqlite(struct sqloom_db *db);
struct pg_conn *sqloom_db_pg(struct sqloom_db *db);

/*
 * Closes db, and the connection that it opened. SQLOOM_USAGE: a block is still
 * open; it is rolled back, its hooks are dropped, and db is closed all the
 * same. Not closed, SQLOOM_USAGE: by a hook or inside of the function of a
 * block; while another thread is in a call or block; by a fork. NULL is fine.
 */
enum sqloom_status sqloom_db_close(struct sqloom_db *db,
				   struct sqloom_error *err);

/*
 * Executes one statement or several; rows are thrown away. A failure inside of
 * a block breaks the block: until its end (or that of a block inside of it,
 * which is then rolled back to its savepoint), everything fails with "the
 * transaction is broken since: ...". SQLOOM_DATABASE with the SQLSTATE or
 * SQLite's code. COMMIT, ROLLBACK, BEGIN and SAVEPOINT (which is an inner block)
 * inside of a block: SQLOOM_USAGE, and nothing is executed. Failures of what the
 * program executes on the handle itself count, too, on PostgreSQL; SQLite does
 * not tell us of them.
 */
enum sqloom_status sqloom_exec(struct sqloom_db *db, const char *sql,
			       struct sqloom_error *err);
/* Executes SQL as sqloom_exec() does, and puts the first value of the first row
 * of the last statement into *text (NULL: no row, or SQL NULL), which the
 * caller frees with sqloom_text_free(). */
enum sqloom_status sqloom_query(struct sqloom_db *db, const char *sql,
				char **text, struct sqloom_error *err);

/* Always start from sqloom_atomic_options_init(). NULL: the same. */
struct sqloom_atomic_options {
	bool durable;	   /* must be the outermost block */
	bool no_savepoint; /* an inner block has none: if it fails, the block
			      around it must be rolled back too */
	bool immediate;	   /* SQLite: BEGIN IMMEDIATE; an inner block: the
			      transaction must hold the write lock */
	const char *isolation; /* "serializable", ...: outermost block on
				  PostgreSQL; NULL: as the server has it.
				  SQLite: only checked, it is serializable */
};

/* The defaults: everything false or NULL. */
void sqloom_atomic_options_init(struct sqloom_atomic_options *options);

/*
 * Begins a block: a transaction, or inside of one a savepoint. Every begin has
 * its end, and only after a begin that succeeded. Also takes up a transaction
 * that the program began on the handle by itself: then the block is inside of
 * that. SQLOOM_DATABASE; SQLOOM_USAGE: an option that only the outermost block
 * may have; SQLOOM_LIMIT: 1,000 blocks inside of each other; SQLOOM_NOMEM.
 */
enum sqloom_status sqloom_atomic_begin(
	struct sqloom_db *db, const struct sqloom_atomic_options *options,
	struct sqloom_error *err);
/*
 * Ends the innermost block: commits, or rolls back if ok is false, or the
 * block is broken or marked. Whatever it returns, the block is over.
 * SQLOOM_DATABASE: the commit failed, all is rolled back; or ok was true and
 * the block was broken, or a block inside of it without a savepoint failed; or
 * the connection was lost (during COMMIT: then nobody knows). SQLOOM_USAGE:
 * there is no block, or the program ended the transaction behind our back (the
 * message says what became of the data). SQLOOM_CALL: all is committed, and a
 * hook failed.
 */
enum sqloom_status sqloom_atomic_end(struct sqloom_db *db, bool ok,
				     struct sqloom_error *err);

/* Calls fn inside of a block: 0 commits, anything else rolls back and is
 * SQLOOM_CALL. SQLOOM_USAGE: fn left a block open, which is rolled back with
 * fn's, or ended more than it had begun. */
typedef int (*sqloom_block_fn)(struct sqloom_db *db, void *arg);
enum sqloom_status sqloom_atomic(struct sqloom_db *db,
				 const struct sqloom_atomic_options *options,
				 sqloom_block_fn fn, void *arg,
				 struct sqloom_error *err);

/* Depth of the blocks that this thread has open; 0: none. A fixture's own do
 * not count. */
unsigned sqloom_atomic_depth(const struct sqloom_db *db);

/* The innermost block will be rolled back at its end, or (false) not any
 * more. SQLOOM_USAGE: no block, or it is broken and cannot be unmarked.
 * sqloom_get_rollback() is also true for a broken block. */
enum sqloom_status sqloom_set_rollback(struct sqloom_db *db, bool rollback,
				       struct sqloom_error *err);
bool sqloom_get_rollback(const struct sqloom_db *db);

/*
 * Rolls the innermost block back to its begin, which repairs it if it is
 * broken; the block stays open, is not marked any more, and what was registered
 * in it is dropped. An outermost block is a new transaction then. SQLOOM_USAGE:
 * no block, or one without a savepoint; SQLOOM_DATABASE: the transaction is
 * gone.
 */
enum sqloom_status sqloom_atomic_restart(struct sqloom_db *db,
					 struct sqloom_error *err);

/* A hook: 0 if it went well. */
typedef int (*sqloom_hook_fn)(void *arg);
/*
 * Runs hook(arg) after the outermost block has committed, in the order of
 * registering; at once if there is no block. Dropped if the block, or the
 * savepoint, it was registered in is rolled back; drop (may be NULL) is called
 * with arg once in every case, behind the hook if that runs, and also if this
 * fails. When a hook fails, the later ones are not run, unless it is robust. A
 * hook may begin blocks (one that it leaves open is rolled back, and it failed)
 * and register hooks, which run behind the others. SQLOOM_CALL: it ran at once
 * and failed. SQLOOM_USAGE: the block is broken, or the transaction is one that
 * the program began itself, whose commit we do not see. SQLOOM_NOMEM.
 */
enum sqloom_status sqloom_on_commit(struct sqloom_db *db, sqloom_hook_fn hook,
				    void *arg, void (*drop)(void *arg),
				    bool robust, struct sqloom_error *err);

/*
 * Calls fn in a block, again (at most `times` in all) if it or the commit
 * failed with 40001, 40P01, SQLITE_BUSY or SQLITE_LOCKED (the last failure that
 * the database told counts, whatever fn returned); between tries it waits for a
 * random time that grows, at most 100 ms (seed makes it repeatable; give
 * concurrent calls different ones). After the last try: what that one was.
 * SQLOOM_USAGE inside of a block: a part of a transaction cannot be retried.
 */
enum sqloom_status sqloom_retry(struct sqloom_db *db,
				const struct sqloom_atomic_options *options,
				unsigned times, uint64_t seed,
				sqloom_block_fn fn, void *arg,
				struct sqloom_error *err);

/*
 * Locks a table until the end of the transaction. PostgreSQL: LOCK TABLE with
 * the mode ("EXCLUSIVE", "ROW SHARE", ...; NULL: ACCESS EXCLUSIVE), waiting at
 * most timeout_ms (0: not at all, < 0: as the session has it). SQLite has one
 * lock for all tables: the block must have been begun with `immediate`, or
 * nothing may have been read in it yet; mode is only checked. table: a name or
 * schema.name, each bare or in double quotes. SQLOOM_DATABASE: it could not be
 * had (55P03, SQLITE_BUSY), or there is no such table; the block goes on
 * without the lock. SQLOOM_USAGE: outside of a block, no such mode, a table's
 * name that cannot be one, or it is too late for SQLite's lock.
 */
enum sqloom_status sqloom_lock_table(struct sqloom_db *db, const char *table,
				     const char *mode, int timeout_ms,
				     struct sqloom_error *err);

/* ---- Fixtures ---------------------------------------------------------- */

/*
 * Begins an atomic test: a transaction on db that sqloom_fixture_rollback()
 * rolls back. In between, blocks are real to the program: the outermost block
 * of the test's own is a savepoint, deferred constraints are checked and its
 * on_commit hooks run when it ends; it may be durable, and its isolation level
 * is only checked. Outside of blocks a statement that sqloom_exec() cannot
 * execute harms nothing. What is done is not visible to other connections; on
 * SQLite they cannot write. SQLOOM_USAGE: a block or transaction is open.
 */
enum sqloom_status sqloom_fixture_begin(struct sqloom_db *db,
					struct sqloom_error *err);
/* Ends the atomic test: rolls everything back. SQLOOM_USAGE: the test left a
 * block open (its begin is rolled back, too), or committed behind our back:
 * what is left then is said. */
enum sqloom_status sqloom_fixture_rollback(struct sqloom_db *db,
					   struct sqloom_error *err);

/*
 * A committing test: real commits, visible to other threads and processes, and
 * afterwards only what was dirtied is put back.
 */
struct sqloom_fixture;

/* Always start from sqloom_fixture_options_init(). */
struct sqloom_fixture_options {
	/* SQLite: a file that seeds it and is never written (NULL: empty);
	 * PostgreSQL: the test database itself. */
	const char *database;
	bool any_database; /* as in sqloom_options */
	/* SQLite: other processes use it, and it is a file. It is one, too, if
	 * clean processes can be made (sqloom_processes_start()); else it is
	 * in memory, and threads share it. */
	bool processes;
	/* Sets up what all tests start from, after database; may be NULL. */
	int (*setup)(struct sqloom_db *db, void *arg);
	void *arg;
};

/* The defaults: everything false or NULL. */
void sqloom_fixture_options_init(struct sqloom_fixture_options *options);

/* Opens the database and takes the snapshot. SQLOOM_DATABASE, SQLOOM_USAGE (a
 * database that does not look like a test's), SQLOOM_CALL (setup failed),
 * SQLOOM_IO, SQLOOM_NOMEM. *out is owned by the caller. */
enum sqloom_status sqloom_fixture_open(
	const struct sqloom_fixture_options *options,
	struct sqloom_fixture **out, struct sqloom_error *err);

/* What tests connect to: for sqlite3_open_v2() with SQLITE_OPEN_URI,
 * PQconnectdb(), sqloom_db_open(). Borrowed. */
const char *sqloom_fixture_url(const struct sqloom_fixture *fixture);

/*
 * Ends a test: sessions that are still in a transaction are named in
 * left (may be NULL; a line each: who, and its last SQL; "" if there was
 * none), and ended; then what was dirtied since the snapshot is put back, the
 * positions of sequences included. Connections that are idle may stay open.
 * *left is freed with sqloom_text_free(). SQLOOM_UNSUPPORTED: the test changed
 * what is not put back: the schema on PostgreSQL (all else has been put back),
 * or the journal mode of SQLite while connections are open. SQLOOM_DATABASE:
 * somebody could not be ended, or the server refused.
 */
enum sqloom_status sqloom_fixture_restore(struct sqloom_fixture *fixture,
					  char **left,
					  struct sqloom_error *err);

/* Restores, and takes away what was made for it. NULL is fine. */
enum sqloom_status sqloom_fixture_close(struct sqloom_fixture *fixture,
					struct sqloom_error *err);

/* ---- Signals ----------------------------------------------------------- */

/*
 * A signal that the program sends to whoever has connected a receiver. A
 * static object: SQLOOM_SIGNAL_INIT("saved"); one that is not must be
 * disconnected from all its receivers before it goes. All functions are
 * thread-safe; a receiver may connect, disconnect, send and suspend.
 */
struct sqloom_signal {
	const char *name;
	void *receivers; /* internal */
};
#define SQLOOM_SIGNAL_INIT(name) \
	{                        \
		(name), NULL     \
	}

/* sender: whatever tells senders apart, such as the address of a model. 0 if
 * it went well. */
typedef int (*sqloom_receiver_fn)(struct sqloom_signal *signal,
				  const void *sender, void *data, void *arg);

/* Always start from sqloom_receiver_init(). */
struct sqloom_receiver {
	sqloom_receiver_fn fn;
	void *arg;
	const void *sender; /* only of this one; NULL: of all */
	const char *id;	    /* copied; NULL: fn, arg and sender are its
			       identity */
	bool suspendable;   /* opts into sqloom_signals_switch() */
};

/* The defaults: everything false or NULL; fn is to be set. */
void sqloom_receiver_init(struct sqloom_receiver *receiver);

/* Connects a receiver, behind those that are connected; sends that are under
 * way do not call it yet. Connecting what is connected already changes nothing.
 * SQLOOM_USAGE: no function; SQLOOM_NOMEM. */
enum sqloom_status sqloom_signal_connect(struct sqloom_signal *signal,
					 const struct sqloom_receiver *receiver,
					 struct sqloom_error *err);
/* Disconnects the receiver with this identity. Was it connected? A send that is
 * under way on another thread may still call it once. */
bool sqloom_signal_disconnect(struct sqloom_signal *signal,
			      const struct sqloom_receiver *receiver);

/* Calls the receivers in the order of connecting. send: up to the first that
 * fails; robust: all, the first failure is told. SQLOOM_CALL: one failed.
 * *called (may be NULL): how many were called, those that failed included. */
enum sqloom_status sqloom_signal_send(struct sqloom_signal *signal,
				      const void *sender, void *data,
				      size_t *called, struct sqloom_error *err);
enum sqloom_status sqloom_signal_send_robust(struct sqloom_signal *signal,
					     const void *sender, void *data,
					     size_t *called,
					     struct sqloom_error *err);

/* What is suspended: all that is not NULL must fit; all NULL: everything. */
struct sqloom_suspension {
	struct sqloom_signal *signal;
	const void *sender;
	sqloom_receiver_fn receiver;
	bool this_thread; /* only what this thread sends */
};

/*
 * From now on receivers that fit are not called, until it is resumed. Can be
 * stacked; a receiver is called when no suspension fits it. *token names it.
 * SQLOOM_USAGE: suspension or token is NULL; SQLOOM_NOMEM.
 */
enum sqloom_status sqloom_signals_suspend(
	const struct sqloom_suspension *suspension, uint64_t *token,
	struct sqloom_error *err);
/* Ends the suspension, in whatever order they began, on whatever thread.
 * SQLOOM_USAGE: no such suspension, or it was resumed. */
enum sqloom_status sqloom_signals_resume(uint64_t token,
					 struct sqloom_error *err);
/* Counts the suspensions that were not resumed, for the end of a test; each is
 * described in *text, a line each (text may be NULL; *text is freed with
 * sqloom_text_free(), and NULL if memory is out). */
size_t sqloom_signals_suspended(char **text);

/* Switches receivers that are suspendable: off, they are not called. Returns
 * what it was; on at the start. */
bool sqloom_signals_switch(bool on);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
