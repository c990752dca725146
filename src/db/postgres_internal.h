/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the PostgreSQL implementation of db.h share: postgres.c
 * (life of a run), postgres_steps.c, postgres_session.c (a session's connection,
 * steps), postgres_wait.c (waits, deadlocks),
 * postgres_value.c (results, errors), postgres_catalogue.c (tables, with
 * postgres_keys.c and postgres_reach.c: what a write reaches),
 * postgres_resolve.c (what a step writes), postgres_snapshot.c (what is kept to go
 * back to, leftovers), postgres_restore.c (going back), postgres_contents.c
 * (what a run left), postgres_guard.c (may this database be used?),
 * postgres_clone.c (scratch databases), outside.c and outside_*.c (programs
 * that have connections of their own). Nobody else includes this.
 *
 * Connections: one per session; `admin`, which sets up, reads contents and
 * restores while no session is at work; `monitor`, which is asked who waits
 * for whom and who holds what while they are.
 */
#ifndef SLM_DB_POSTGRES_INTERNAL_H
#define SLM_DB_POSTGRES_INTERNAL_H

#include "base/arena.h"
#include "base/buf.h"
#include "db/db.h"
#include "pg/pg.h"
#include "sql/pg_statement.h"

/* Settings that make results the same everywhere. */
#define PG_SETTINGS                                                  \
	"SET client_encoding = 'UTF8'; SET DateStyle = 'ISO, MDY'; " \
	"SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; "     \
	"SET bytea_output = 'hex'; SET extra_float_digits = 1; "     \
	"SET synchronous_commit = off; SET jit = off; "              \
	"SET max_parallel_workers_per_gather = 0; "                  \
	"SET synchronize_seqscans = off"

#define PG_SCHEMA "sqloom" /* of snapshots and notes; dropped at the end */
#define PG_ROWS_MAX 100000 /* rows of one result or table */

/* ---- The catalogue ----------------------------------------------------- */

struct pg_column {
	const char *name;
	int number; /* pg_attribute.attnum; has gaps */
	Oid type;
	bool generated; /* GENERATED ALWAYS AS (expression): never inserted */
	bool always;	/* GENERATED ALWAYS AS IDENTITY: OVERRIDING needed */
	uint32_t reference; /* table index + 1 whose key it holds by a foreign
			       key of one column, 0: none */
	uint32_t parent;    /* table index + 1 of any foreign key it is in */
};

/* Why a write to one table may write another. */
enum pg_reach {
	PG_REACH_PARTITION = 1, /* of a partitioned table */
	PG_REACH_CHILD = 2,	/* inherits: not by INSERT */
	PG_REACH_VIEW = 4,	/* a view or rule is made of it */
	PG_REACH_ACTION = 8,	/* foreign key with an action: not by INSERT */
	PG_REACH_REFERRER = 16, /* any foreign key: TRUNCATE CASCADE only */
};
/* By an INSERT that does not update; by any write; by TRUNCATE; by a read */
#define PG_REACH_INSERT (PG_REACH_PARTITION | PG_REACH_VIEW)
#define PG_REACH_WRITE (PG_REACH_INSERT | PG_REACH_CHILD | PG_REACH_ACTION)
#define PG_REACH_TRUNCATE (PG_REACH_PARTITION | PG_REACH_CHILD)
#define PG_REACH_READ (PG_REACH_PARTITION | PG_REACH_CHILD | PG_REACH_VIEW)

struct pg_edge {
	uint32_t to;
	unsigned kinds; /* enum pg_reach, or-ed */
};

/* A table (ordinary, or partition): what holds rows. Partitioned parents and
 * views are in it, too, without rows of their own. */
struct pg_table {
	Oid oid;
	const char *schema, *name;
	const char *shown;  /* "account"; "other.account" outside of the search
			       path */
	const char *quoted; /* "\"public\".\"account\"" for SQL */
	char kind;	    /* pg_class.relkind: r, p, v, m, f */
	bool temporary;
	bool visible;  /* found by its bare name */
	uint32_t root; /* of a partition: the topmost partitioned table, as
			  which its rows are shown; itself else */
	struct pg_column *columns;
	uint32_t ncolumns;
	const char *const *column_names; /* the same, for slm_contents */
	int key_column;	   /* column that a sequence generates, or -1 */
	int sequence;	   /* index of that sequence, or -1 */
	uint32_t *primary; /* columns of the primary key (or else of a unique
			      not null index), NULL: none */
	uint32_t nprimary;
	const struct pg_edge *edges; /* sorted by `to` */
	uint32_t nedges;
	const uint32_t *sequences; /* that it owns or its defaults use */
	uint32_t nsequences;
	const uint32_t *reaches; /* tables that a write to this one may write:
				    cascades, partitions, children; itself not
				    included; closed under itself */
	uint32_t nreaches;
	bool triggers; /* user triggers or rules: a write may do anything */
	bool calls;    /* reading it may call a user-defined function */
	bool plain;    /* a write to it writes it and what `edges` say; what
			   those do is another question */
	bool certain;  /* a write to it writes it and `reaches`, no more */
	bool snapshot; /* its rows are kept in PG_SCHEMA */
	bool dirty;    /* some transaction of this run may have written it */
	bool written;  /* some run was seen to, or a step may: contents show
			   it */
	uint64_t rows; /* in the snapshot */
};

struct pg_sequence {
	Oid oid;
	const char *quoted;
	int table; /* that it generates the keys of (the first one; the
		      root of partitions), or -1 */
	int64_t last_value, increment;
	bool is_called; /* as in the snapshot */
	bool dirty;	/* of this run */
	int64_t known;	/* last value that has been told to somebody */
	unsigned taker; /* call + 1 that those since then belong to; 0: none
			   were taken */
};

struct pg_catalogue {
	struct slm_arena arena;
	struct pg_table *tables; /* sorted by shown */
	uint32_t ntables;
	uint32_t *by_oid; /* indexes of tables, sorted by oid */
	struct pg_sequence *sequences;
	uint32_t nsequences;
	bool simple; /* no user-defined function that is not immutable, no
			event trigger: what a statement does is in its text and
			in `triggers` */
	bool quiet;  /* less: no such function is behind an operator, a cast or
			the like; so a statement that calls none of `functions`
			does what its text, `triggers` and `calls` say */
	const char *const *functions; /* names of the user-defined functions
					 that are not immutable; sorted */
	uint32_t nfunctions;
	bool takes; /* one of them may take a lock of the session, or LISTEN, as
		       far as can be seen from its source */
	bool read_committed; /* no session is at another isolation level */
	bool paths; /* a step sets search_path: a bare name may be that of any
		       schema */
	uint64_t version; /* counts loads */
};

/* ---- Sessions ---------------------------------------------------------- */

/* A value that a step read, for later steps of its session. */
struct pg_variable {
	const char *name;
	bool known; /* a row was read */
	char *text; /* owned; NULL: NULL */
	bool numeric;
	const char *type; /* to cast to; NULL: not needed */
};

struct pg_step {
	const struct slm_spec_step *spec; /* NULL: rollback, teardown, commit */
	const char *text;
	struct slm_pg_step parsed;
	uint32_t *writes; /* tables it may write (closed), if certain */
	uint32_t nwrites;
	uint32_t *sequences;
	uint32_t nsequences;
	bool certain; /* writes and sequences are all */
	bool split;   /* in autocommit: BEGIN; it, and a COMMIT of its own */
	bool has_parameters;
	struct slm_db_step_info info;
	bool local_idle;	 /* info.local, except where it takes the first
			    snapshot of a transaction */
	struct slm_arena *arena; /* of what is known of it; NULL: the db's */
	const char *waits_for;	 /* "a lock on account" */
	bool takes_keys;	 /* may take values of sequences */
	bool keeps_locks;	 /* in a transaction: gives no lock back */
	char prepared[24];   /* its name on the session's connection; "": not */
	uint32_t blocked_by; /* calls that it was seen to wait for, in any run */
};

/* Of a connection: how the writes of its transaction become known. */
struct pg_watch {
	int pid;
	bool uncertain;	   /* they must be asked for before it ends */
	bool failed;	   /* it is to be rolled back, and holds no locks */
	bool locks_tables; /* a step of it may have locked a table as a whole,
			      so that such a lock tells of no hidden ALTER */
	bool goes_back;	   /* a step of it may go back to a savepoint, which
			      gives locks back */
};

struct pg_session {
	struct postgres *owner;
	unsigned call;
	struct slm_pg pg;
	char name[80]; /* "session alice", for messages */
	struct pg_step *steps;
	unsigned nsteps;
	struct pg_step rollback, commit, teardown, setup;
	struct pg_variable *variables;
	unsigned nvariables;

	/* In a run */
	bool split_open; /* a transaction that sqloom began is open */
	struct pg_watch watch;
	bool inserted; /* new keys may have been generated: to be asked */
	bool stateful; /* must be reset before the next run */
	bool holds;    /* in its transaction: more than what readers lock */
	enum pg_deadlock {
		PG_DEADLOCK_UNKNOWN,
		PG_DEADLOCK_SHORT,
		PG_DEADLOCK_LONG
	} deadlock,
		deadlock_after;	    /* its timeout; when its transaction has
				       ended */
	bool prepared_extras;	    /* what is sent in front of steps */
	const struct pg_step *step; /* under way or blocked */
	bool splitting;		    /* it is sent behind a BEGIN */
	PGresult **results;	    /* those of it that have come */
	unsigned nresults, results_capacity;
	bool blocked;
	uint64_t blocked_since;
	uint32_t blockers; /* mask of calls */
	bool stale;	   /* they may have given way since they were asked */
	bool unseen;	   /* in front of the step something was sent that is
			      not told */
};

/* A key that a sequence gave out in this run. */
struct pg_generated {
	uint32_t table;
	uint32_t call;
	uint32_t ordinal; /* the call's n-th in this table, from 1 */
	int64_t key;
};

/* ---- The whole --------------------------------------------------------- */

struct postgres {
	struct slm_db base;
	const struct sqloom_spec *spec;
	struct slm_postgres_options options;
	struct slm_arena arena; /* lives as long as this */
	const char *database;	/* that the sessions use */
	const char *cleaned;	/* what an earlier sqloom left was put right */
	const char *scratch;	/* a database of ours to drop; NULL: none */
	const char *template;	/* what scratch is cloned from; NULL */
	bool cloning;		/* every run has a new scratch database */
	struct slm_pg admin, monitor;
	struct slm_pg maintenance;   /* to another database: for copies */
	struct slm_pg_pinned pinned; /* this thread */
	bool superuser;
	bool may_replica;  /* SET session_replication_role is allowed */
	bool may_deadlock; /* SET deadlock_timeout is allowed */
	int version;	   /* 150020 */
	struct pg_catalogue catalogue;
	struct pg_session *sessions;
	unsigned nsessions;
	int pids[SLM_CALLS_MAX];
	struct pg_outside *outside; /* of outside.c: no session is ours; NULL:
				       all are. Owned */
	bool set_up;		    /* the global setup has been run */
	bool resolved;		    /* the steps are known by the catalogue */

	/* Of the run */
	struct slm_arena *run;
	uint32_t members;
	uint32_t blocked; /* mask */
	uint64_t blockings;
	struct pg_generated *generated;
	unsigned ngenerated, generated_capacity;
	uint32_t *generated_slots; /* hash of the first `generated_indexed`;
				       in `run` */
	uint32_t generated_mask;
	unsigned generated_indexed;
	bool all_dirty;	 /* not known what was written: everything is */
	bool ddl_seen;	 /* a transaction changed the schema */
	bool over_limit; /* a statement was: that is why it was stopped */
	struct slm_contents contents; /* read at the end of the run */
	uint64_t image;
	const struct slm_check_failure *failures;
	uint32_t nfailures;
	uint64_t restores;	      /* done */
	struct pg_restore_plan *plan; /* of postgres_restore.c; owned */
};

/* ---- postgres.c -------------------------------------------------------- */

/* slm_postgres_open(). outside (owned from here on, also if it fails): see
 * there. */
enum sqloom_status slm_pgdb_open(const struct sqloom_spec *spec,
				 const struct slm_postgres_options *options,
				 struct pg_outside *outside,
				 struct slm_db **out, struct sqloom_error *err);

/* Does the admin connection wait for locks that others hold, for some seconds,
 * also for those that the server's own work holds? */
enum sqloom_status slm_pg_patience(struct postgres *db, bool patient,
				   struct sqloom_error *err);

/* ---- outside.c --------------------------------------------------------- */

/* What postgres.c asks for if db->outside. */

/* The programs' own setup. */
enum sqloom_status slm_pgoutside_set_up(struct postgres *db,
					struct sqloom_error *err);
bool slm_pgoutside_has_setup(const struct postgres *db);
/* Contents show all tables, but for those with too many rows. */
enum sqloom_status slm_pgoutside_show(struct postgres *db,
				      struct sqloom_error *err);
void slm_pgoutside_run_begins(struct postgres *db);
void slm_pgoutside_run_ends(struct postgres *db);
/* The tables could not be put back because of `why`: who is in the way? */
enum sqloom_status slm_pgoutside_in_the_way(struct postgres *db,
					    const struct sqloom_error *why,
					    struct sqloom_error *err);
void slm_pgoutside_free(struct pg_outside *outside);

/* ---- postgres_steps.c -------------------------------------------------- */

/* Reads the text of all steps of a session, and its variables. */
enum sqloom_status slm_pgsteps_read(struct pg_session *session,
				    struct sqloom_error *err);
/* Looks a step up in the catalogue: how it is to be sent, what it may do. */
enum sqloom_status slm_pgstep_resolve(struct postgres *db, struct pg_step *step,
				      struct sqloom_error *err);
/* Looks all steps up in the catalogue. */
enum sqloom_status slm_pgsteps_resolve(struct postgres *db,
				       struct sqloom_error *err);
/* Is any step, setup or teardown of a session so? */
bool slm_pgsteps_any(struct postgres *db, bool (*is)(const struct pg_step *));
/* Does it do what only a new copy of the database can undo? */
bool slm_pgstep_needs_clone(const struct pg_step *step);
bool slm_pgstep_is_uncertain(const struct pg_step *step);
/* Does it contain a ROLLBACK TO? */
bool slm_pgstep_goes_back(const struct slm_pg_step *parsed);
/* May it hold a table so that its snapshot could not be taken later? */
bool slm_pgstep_needs_snapshots(const struct pg_step *step);
/* Where a step may write anything, contents show all tables: the same in
 * every run, and for every worker. */
void slm_pgsteps_show_all(struct postgres *db);

/* ---- postgres_session.c ------------------------------------------------ */

enum sqloom_status slm_pgsession_open(struct pg_session *session,
				      struct sqloom_error *err);
/* Fine on a zeroed one, and twice. */
void slm_pgsession_close(struct pg_session *session);
/* Runs a step until it is done or blocked. */
enum sqloom_status slm_pgsession_step(struct pg_session *session,
				      const struct pg_step *step,
				      struct slm_db_answer *answer,
				      struct sqloom_error *err);
/* Has what the blocked session waits for been given to it? Then it goes on
 * until it is done or blocked again, and *went_on says so. */
enum sqloom_status slm_pgsession_resume(struct pg_session *session,
					bool *went_on,
					struct slm_db_answer *answer,
					struct sqloom_error *err);
/* All sessions that are left are blocked: waits until the server ends one of
 * the waits. */
enum sqloom_status slm_pgsession_expire(struct postgres *db,
					struct pg_session **session,
					struct slm_db_answer *answer,
					struct sqloom_error *err);
bool slm_pgsession_in_transaction(const struct pg_session *session);
/* Nothing runs, no transaction is open. */
enum sqloom_status slm_pgsession_roll_back(struct pg_session *session,
					   struct sqloom_error *err);
/* At the end of a run: nor is any state of the run left on the connection.
 * Prepares its steps, so nobody else may have a table locked. */
enum sqloom_status slm_pgsession_reset(struct pg_session *session,
				       struct sqloom_error *err);
/* The value of the parameters put into the text of a step. "" and failed when
 * memory is out. */
bool slm_pgsession_text(const struct pg_session *session, const char *sql,
			struct slm_buf *out);

/* ---- postgres_wait.c --------------------------------------------------- */

#define PG_DEADLOCK_SHORT_MS "1ms"
#define PG_DEADLOCK_LONG_MS "1h"
#define PG_SET_SHORT "SET LOCAL deadlock_timeout = '" PG_DEADLOCK_SHORT_MS "'"

/* For slm_pg_settle(), and its goes_on. */
struct slm_pg_wait slm_pgwait_how(struct postgres *db);
bool slm_pgwait_goes_on(void *userdata, uint64_t ms);
uint32_t slm_pgwait_calls_of(const struct postgres *db, const int *pids,
			     unsigned npids);
/* All calls that the calls of mask wait for, directly or not. */
uint32_t slm_pgwait_reaches(const struct postgres *db, uint32_t mask);
/* Does the blocked session wait for itself? */
bool slm_pgwait_closes_circle(const struct pg_session *session);
/* Whom does the blocked session wait for now? All of them? */
enum sqloom_status slm_pgwait_ask(struct pg_session *session,
				  struct sqloom_error *err);
enum sqloom_status slm_pgwait_ask_all(struct postgres *db,
				      struct sqloom_error *err);
/* The session has done a step: those who wait for it may be able to go on. */
void slm_pgwait_gives_way(struct pg_session *session, bool kept_locks);
/* Sets deadlock_timeout for the step; *front if that is to be sent in front of
 * it. In a transaction, which nearly everybody is in who is waited for, it is
 * set until its end. */
enum sqloom_status slm_pgwait_choose_deadlock(struct pg_session *session,
					      const struct pg_step *step,
					      bool *front,
					      struct sqloom_error *err);
/* After a step: what it undid of that. */
void slm_pgwait_see_undone(struct pg_session *session);

/* ---- postgres_catalogue.c ---------------------------------------------- */

/*
 * Reads the catalogue anew (frees the old one); tables of PG_SCHEMA and of the
 * system are left out. Tables and sequences that were there before, by oid,
 * keep what is known of them; db->generated is renumbered; steps must be
 * resolved anew. The sessions' steps have been read. On error the old one
 * stays.
 */
enum sqloom_status slm_pgcat_load(struct postgres *db,
				  struct sqloom_error *err);
void slm_pgcat_free(struct pg_catalogue *catalogue);
/* Index, or -1. schema NULL: by the search path. Names as in the catalogue,
 * not quoted. */
int slm_pgcat_find(const struct postgres *db, const char *schema,
		   const char *name);
int slm_pgcat_find_oid(const struct pg_catalogue *catalogue, Oid oid);
/*
 * Adds to list (room for all tables) what the first count of it reach over
 * edges of these kinds; seen tells which tables are in it. Returns the new
 * count.
 */
uint32_t slm_pgcat_close(const struct pg_catalogue *catalogue, uint32_t *list,
			 uint32_t count, bool *seen, unsigned kinds);

/* ---- postgres_resolve.c ------------------------------------------------ */

/* Fills in writes, sequences, certain, info, local_idle of a step from its
 * parsed text, and marks the tables that it writes. Allocates in its arena,
 * nothing if it comes to the same as last time. */
enum sqloom_status slm_pgcat_resolve(struct postgres *db, struct pg_step *step,
				     struct sqloom_error *err);

/* ---- postgres_snapshot.c ----------------------------------------------- */

/*
 * Before a transaction of a connection commits: asks the monitor which tables and
 * sequences it holds write locks on, marks them dirty and, where they have no
 * snapshot yet, takes it (the transaction's changes are not visible yet).
 * Locks on system catalogues set db->ddl_seen, as does having written without any
 * lock; a table that cannot be read
 * because the transaction locked it exclusively and has no snapshot sets
 * db->ddl_seen, too.
 */
enum sqloom_status slm_pgsnap_ask(struct postgres *db,
				  const struct pg_watch *watch,
				  struct sqloom_error *err);
/* The same without asking: the step may write these. */
enum sqloom_status slm_pgsnap_mark(struct postgres *db,
				   const struct pg_step *step,
				   struct sqloom_error *err);
/*
 * Before a step is sent on a connection: what it will write, or what the
 * transaction has written that it ends, is kept before it is gone. inside: in a
 * transaction now; split: it is sent behind a BEGIN.
 */
enum sqloom_status slm_pgsnap_before(struct postgres *db,
				     struct pg_watch *watch,
				     const struct pg_step *step, bool inside,
				     bool split, struct sqloom_error *err);
/* Any of them may have been used in what was rolled back. */
void slm_pgsnap_mark_sequences(struct postgres *db);
/* Takes the snapshots of all tables that have none yet. */
enum sqloom_status slm_pgsnap_take_all(struct postgres *db,
				       struct sqloom_error *err);
/* Reads all sequences' positions as those to go back to. */
enum sqloom_status slm_pgsnap_sequences(struct postgres *db,
					struct sqloom_error *err);
/*
 * Makes PG_SCHEMA, after what a crashed sqloom left has been put right: tables
 * restored from its snapshots, what its setup created dropped (*cleaned says
 * so, in one sentence of db->arena; NULL: there was nothing). Refuses
 * while another living sqloom is at work in the database (advisory lock).
 */
enum sqloom_status slm_pgsnap_begin(struct postgres *db, const char **cleaned,
				    struct sqloom_error *err);
/* Around the global setup: notes what it creates, so that it can be dropped
 * at the end or after a crash. */
enum sqloom_status slm_pgsnap_setup_begins(struct postgres *db,
					   struct sqloom_error *err);
enum sqloom_status slm_pgsnap_setup_ended(struct postgres *db,
					  struct sqloom_error *err);
/* Before the teardown: the admin connection is as it was at the setup
 * (triggers fire). */
enum sqloom_status slm_pgsnap_teardown_begins(struct postgres *db,
					      struct sqloom_error *err);
/* After the teardown: drops what the setup created and PG_SCHEMA. Also puts
 * back rows that the setup changed in tables that were there before. */
enum sqloom_status slm_pgsnap_end(struct postgres *db,
				  struct sqloom_error *err);

/* ---- postgres_restore.c ------------------------------------------------ */

/*
 * The end of a run, all sessions idle and outside of transactions: reads the
 * contents of all `written` tables (into db->contents and db->image, in
 * db->run), and puts back all dirty tables and sequences; clears the dirty
 * flags. One round trip where possible.
 */
enum sqloom_status slm_pgrestore(struct postgres *db, bool read_contents,
				 struct sqloom_error *err);
/* Frees what restores keep between runs. */
void slm_pgrestore_free(struct postgres *db);
/* What a role that may not bypass constraints needs, as a sentence for error
 * messages. Static. */
const char *slm_pgrestore_needs(void);
/* What a role needs that may not read or set a sequence. */
const char *slm_pgsnap_sequence_rights(void);

/* ---- postgres_contents.c ----------------------------------------------- */

/* Builds db->contents, image from the results of one SELECT per written
 * table, in the order of the tables. Borrows the results. */
enum sqloom_status slm_pgcontents_build(struct postgres *db,
					PGresult *const *results,
					struct sqloom_error *err);
/* Text of the SELECT that reads a table. */
bool slm_pgcontents_select(const struct pg_table *table, struct slm_buf *out);
/* SQLOOM_SPEC if an `option ignore` names what there is not. */
enum sqloom_status slm_pgcontents_check_ignored(struct postgres *db,
						struct sqloom_error *err);

/* ---- postgres_generated.c ---------------------------------------------- */

/*
 * Who took which value of a sequence: its position is asked when somebody else
 * is about to take one, and at the end of the run (slm_pgrestore() does so).
 * Around a step of the call that may take keys: begins; and ends, whenever it
 * is done or waits. others: another call's step that takes keys waits, and may
 * go on without a word.
 */
enum sqloom_status slm_pggenerated_begins(struct postgres *db, unsigned call,
					  const struct pg_step *step,
					  struct sqloom_error *err);
enum sqloom_status slm_pggenerated_ends(struct postgres *db, unsigned call,
					const struct pg_step *step, bool others,
					struct sqloom_error *err);
/* The values since it was asked last went to this call; -1: to none. */
enum sqloom_status slm_pggenerated_ask(struct postgres *db, int call,
				       const struct pg_step *step,
				       struct sqloom_error *err);
/* Takes the answer: last_value, is_called. */
enum sqloom_status slm_pggenerated_learn(struct postgres *db, int call,
					 struct pg_sequence *sequence,
					 const PGresult *position,
					 struct sqloom_error *err);
/* Adds a key that a sequence of the table (pg_sequence.table) gave to the call
 * in this run. False: no memory. */
bool slm_pggenerated_add(struct postgres *db, unsigned call, uint32_t table,
			 int64_t key);
/* After tables got other indexes. */
void slm_pggenerated_renumber(struct postgres *db,
			      const struct pg_catalogue *from,
			      const struct pg_catalogue *to);
/* The call that generated the key of a row of the table (which may be a
 * partition). NULL: not a key that was generated in this run. */
const struct pg_generated *slm_pggenerated_find(const struct postgres *db,
						uint32_t table, int64_t key);

/* ---- postgres_value.c -------------------------------------------------- */

/* One value of a result, in arena. */
bool slm_pgvalue(const PGresult *result, int row, int column,
		 struct slm_arena *arena, struct slm_value *out);
uint64_t slm_pgvalue_digest(uint64_t digest, const struct slm_value *value);
/* Did the statement fail? */
bool slm_pgresult_failed(const PGresult *result);
/* What a statement returned. ordered: the order of the rows is part of it. */
enum sqloom_status slm_pgresult(struct postgres *db, const PGresult *result,
				bool ordered, struct slm_result **out,
				struct sqloom_error *err);

/* ---- postgres_guard.c -------------------------------------------------- */

/* Before anybody is asked: refuses a server on another machine. */
enum sqloom_status slm_pgguard_host(const struct postgres *db,
				    struct sqloom_error *err);
/* Refuses what does not look like a test database, in words. */
enum sqloom_status slm_pgguard_check(struct postgres *db,
				     struct sqloom_error *err);

/* ---- postgres_clone.c -------------------------------------------------- */

/* CREATE DATABASE name TEMPLATE from, by a connection to another database;
 * a name that was left over by a dead sqloom is dropped first. */
enum sqloom_status slm_pgclone_create(struct postgres *db, const char *name,
				      const char *from,
				      struct sqloom_error *err);
enum sqloom_status slm_pgclone_drop(struct postgres *db, const char *name,
				    struct sqloom_error *err);
/* Drops scratch databases of ours whose sqloom is dead. */
enum sqloom_status slm_pgclone_sweep(struct postgres *db,
				     struct sqloom_error *err);

#endif
