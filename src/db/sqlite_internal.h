/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the SQLite implementation of db.h share: sqlite.c (life
 * of a run), sqlite_value.c, sqlite_session.c (a connection on its coroutine),
 * sqlite_compile.c (statements and what they touch), sqlite_contents.c (what
 * a run left behind). Nobody else includes this.
 *
 * Owners in the store: session i is owner i, the admin connection, which sets
 * up and looks at contents while no session is inside SQLite, is ADMIN.
 */
#ifndef SLM_DB_SQLITE_INTERNAL_H
#define SLM_DB_SQLITE_INTERNAL_H

#include <sqlite3.h>

#include "base/coroutine.h"
#include "db/db.h"
#include "db/sqlite_store.h"

#define ADMIN (SLM_STORE_OWNERS_MAX - 1)
#define ROWS_MAX 100000		  /* rows of one result or table */
#define VALUE_MAX ((int)64 << 20) /* bytes of one text or blob */
#define TABLES_MAX 4096		  /* tables that contents are read from */

/* A table of the main database. */
struct table {
	const char *name;
	const char *const *columns;
	uint32_t ncolumns;
	int key_column;	     /* INTEGER PRIMARY KEY, or -1 */
	uint32_t *reference; /* per column: table index + 1, 0: none; points
				to the key of that table */
	uint32_t *parent;    /* per column: table index + 1 that a foreign key
				of it refers to, by whatever columns */
	bool written;	     /* some step may write it */
	bool is_virtual;     /* of a module: FTS5 ... */
	bool partial;	     /* has more columns, which cannot be read */
};

/* The tables of a schema, in the order of their names. */
struct catalogue {
	struct table *tables;
	uint32_t ntables;
};

/* A value that a step read, for later steps of its session. */
struct variable {
	const char *name; /* in sqlite.arena */
	int type;	  /* SQLITE_NULL, ... */
	sqlite3_int64 integer;
	double real;
	char *data; /* owned; text or blob */
	int size, capacity;
};

/* One statement of a step. */
struct statement {
	const char *sql;    /* its text begins here */
	const char *end;    /* and ends before this */
	sqlite3_stmt *stmt; /* NULL: prepared anew for each execution */
	unsigned nparameters;
	unsigned *parameters; /* variable of each parameter */
	unsigned ncolumns;
	const char **columns; /* names, in sqlite.compiled */
	int *captures;	      /* per column: variable or -1 */
	uint32_t *origins;    /* per column: table + 1 whose key it holds */
	bool dml;	      /* INSERT, UPDATE, DELETE: changes counts */
	uint32_t *generates;  /* tables whose keys it generates */
	unsigned ngenerates;
};

/* What compiling a piece of SQL found out about it. */
struct footprint {
	bool touches;	 /* has an opcode that takes a lock or ends one */
	bool begins;	 /* only touches by beginning a deferred transaction */
	bool ddl;	 /* changes the schema */
	bool random;	 /* random(), randomblob() */
	bool connection; /* leaves state on the connection: temp tables,
			    PRAGMA, ATTACH, changes() ... */
	bool pragma;	 /* PRAGMA user_version, application_id */
	bool attaches;	 /* ATTACH: its tables are not compared */
	struct name_set *reads, *writes;
};

struct name_set {
	const char **names; /* sorted, in sqlite.compiled */
	unsigned count, capacity;
};

struct step {
	const struct slm_spec_step *spec;
	const char *text;	      /* the SQL */
	struct statement *statements; /* those compiled so far */
	unsigned nstatements, capacity;
	const char *rest; /* text that is not compiled yet; "" when all is */
	struct footprint footprint;
	struct name_set reads, writes;
	struct slm_db_step_info info;
	sqlite3_stmt *when; /* NULL: none */
	unsigned nwhen;
	unsigned *when_parameters;
};

enum job { JOB_NONE, JOB_STEP, JOB_SCRIPT };

struct session {
	struct sqlite *owner;
	unsigned call;
	sqlite3 *db;
	struct slm_coroutine *coroutine;
	struct step *steps;
	unsigned nsteps;
	struct step rollback, teardown; /* teardown.text NULL: none */
	struct variable *variables;
	unsigned nvariables;
	bool setup_per_run; /* its setup is run at the start of each run */

	/* The statement under way */
	enum job job;
	struct step *step;		   /* JOB_STEP */
	const struct slm_spec_sql *script; /* JOB_SCRIPT */
	struct slm_result *result;	   /* chain built by the job */
	enum sqloom_status status;	   /* a job that could not be done */
	struct sqloom_error error;
	struct statement *current; /* for the update hook */
	bool blocked;
	uint64_t blocked_since; /* order of blocking */
	uint64_t wake_at_ms;	/* virtual */
	uint64_t wait_began_ms;
	uint32_t waited_ms;
};

/* A key that the database generated during the run. */
struct generated {
	uint32_t table;
	uint32_t call;
	uint32_t ordinal; /* the call's n-th in this table, from 1 */
	uint32_t next;	  /* in its chain: place + 1; 0: the last */
	sqlite3_int64 key;
};

struct check {
	const struct slm_spec_check *spec;
	sqlite3_stmt *stmt; /* NULL: prepared anew for each use */
};

/* What the admin connection is at. */
struct doing {
	const char *what; /* NULL: nothing that the spec names */
	const char *name; /* NULL: it has none */
	const struct slm_spec_sql *sql;
	const char *at; /* in sql->text, NULL: its beginning */
};

struct sqlite {
	struct slm_db base;
	const struct sqloom_spec *spec;
	struct slm_sqlite_options options;
	struct slm_arena arena;	   /* lives as long as this */
	struct slm_arena compiled; /* of the connections that are open */
	struct slm_store *store;
	sqlite3 *admin;
	struct session *sessions;
	unsigned nsessions;
	struct check *checks;
	struct catalogue catalogue; /* at the snapshot */
	struct session *running;    /* whose coroutine runs, or NULL */
	struct slm_arena *run;	    /* arena of the run */
	uint32_t members;
	uint64_t now_ms;    /* virtual time since the start of the run */
	uint64_t blockings; /* counts, for the order of waiting */
	uint32_t blocked;   /* mask of the blocked calls */
	struct generated *generated;
	/* As many as the capacity (0, or a power of two), by hash: the newest
	 * key's place + 1. */
	uint32_t *generated_chains;
	unsigned ngenerated, generated_capacity;
	bool failed_generated; /* memory was out in a hook */
	bool aborting;	       /* waiting ends at once */
	bool asks;	       /* the running session asks: does it go on? */
	bool stopping;	       /* every statement of this run ends */
	struct doing doing;
	struct sqloom_error stop_error; /* stopping: in the middle of what */
	/* What the steps do, all taken together */
	bool ddl, random, fresh; /* fresh: new connections for each run */
	bool schema_dirty;
	bool pragma;   /* as in struct footprint */
	bool collated; /* the admin connection compared what it cannot */
	struct sqlite_outside *outside; /* NULL: the sessions are ours; owned */
};

/* ---- sqlite_value.c */
enum sqloom_status slm_sqlite_error(sqlite3 *db, enum sqloom_status status,
				    const char *what, struct sqloom_error *err);
void slm_sqlite_value(sqlite3_stmt *stmt, int column, struct slm_arena *arena,
		      struct slm_value *out, bool *failed);
uint64_t slm_sqlite_value_digest(uint64_t digest,
				 const struct slm_value *value);
enum slm_error_kind slm_sqlite_error_kind(int code);
const char *slm_sqlite_code_name(int code);

/* ---- sqlite.c */
/* A db of so many sessions; outside (owned then) may be NULL. */
enum sqloom_status slm_sqlite_make(const struct sqloom_spec *spec,
				   const struct slm_sqlite_options *options,
				   unsigned nsessions,
				   struct sqlite_outside *outside,
				   struct slm_db **out,
				   struct sqloom_error *err);
/* SQLOOM_DATABASE: what the admin connection says, with the file's name. */
enum sqloom_status slm_sqlite_unusable(struct sqlite *db,
				       struct sqloom_error *err);

/* ---- sqlite_session.c */
enum sqloom_status slm_session_open(struct session *session,
				    struct sqloom_error *err);
void slm_session_close(struct session *session);
void slm_session_run(struct session *session);
void slm_session_bind(const struct session *session, sqlite3_stmt *stmt,
		      const unsigned *parameters, unsigned count);
void slm_session_wait(struct sqlite *db, unsigned ms);

/* ---- sqlite_stop.c */
/* Has the running session yielded only to ask? Then the answer is there. */
bool slm_stop_asked(struct sqlite *db);
void slm_stop_watch(struct sqlite *db, sqlite3 *connection);
/* status, unless a statement was stopped: SQLOOM_LIMIT, with the place. */
enum sqloom_status slm_stop_status(const struct sqlite *db,
				   enum sqloom_status status,
				   struct sqloom_error *err);

/* ---- sqlite_outside.c */
/* Between the seed and the catalogue: routes, and sets the database up. */
enum sqloom_status slm_outside_sqlite_set_up(struct sqlite *db,
					     struct sqloom_error *err);
void slm_outside_sqlite_free(struct sqlite *db);

/* ---- sqlite_compile.c */
/* Compiles one statement of whatever parameters into statement (sql is set),
 * and what it touches into footprint; an SQLite result code. */
int slm_compile_one(struct session *session, struct footprint *footprint,
		    struct statement *statement);
/* What a PRAGMA touches, by its name. */
void slm_compile_see_pragma(const char *sql, struct footprint *footprint);
/* The names, with commas; "" if memory is out. */
const char *slm_compile_names(struct slm_arena *arena,
			      const struct name_set *set);
enum sqloom_status slm_compile_session(struct session *session,
				       struct sqloom_error *err);
enum sqloom_status slm_compile_checks(struct sqlite *db,
				      struct sqloom_error *err);
void slm_compile_release(struct session *session);
/* Compiles the next statement of a step whose rest is not empty. An SQLite
 * result code; *index is the statement. */
int slm_compile_next(struct session *session, struct step *step,
		     unsigned *index);
/* Fills in the columns of a statement; false when memory is out. */
bool slm_compile_columns(struct session *session, sqlite3_stmt *stmt,
			 struct slm_arena *arena, struct statement *statement);
/* What a script touches; nothing of it is run. Statements that cannot be
 * compiled yet count as touching. */
enum sqloom_status slm_compile_script(struct session *session,
				      const struct slm_spec_sql *sql,
				      struct footprint *out,
				      struct sqloom_error *err);
/* Notes what the contents will not show. */
void slm_compile_blind(struct sqlite *db, const struct footprint *footprint);
void slm_compile_place(const struct sqloom_spec *spec,
		       const struct slm_spec_sql *sql, const char *at,
		       struct sqloom_error *err);

/* What the result columns of a prepared statement hold, by the catalogue. */
void slm_compile_origins(struct session *session, struct statement *statement);

/* ---- sqlite_refer.c */
/* Finds references that no foreign key declares, and what follows from them
 * for the statements of all sessions, which are compiled. */
void slm_refer_infer(struct sqlite *db);

/* ---- sqlite_generated.c */
/* Forgets the keys of the run before. */
void slm_generated_clear(struct sqlite *db);
const struct generated *slm_generated_find(const struct sqlite *db,
					   uint32_t table, sqlite3_int64 key);
/* Memory that is out shows in db->failed_generated. */
void slm_generated_add(struct sqlite *db, unsigned call, uint32_t table,
		       sqlite3_int64 key);
/* A value that is such a key becomes "table of call #1". */
void slm_generated_name(struct sqlite *db, uint32_t table,
			struct slm_value *value, bool *failed);

/* ---- sqlite_contents.c */
enum sqloom_status slm_catalogue_load(struct sqlite *db,
				      struct slm_arena *arena,
				      struct catalogue *out,
				      struct sqloom_error *err);
int slm_catalogue_find(const struct catalogue *catalogue, const char *name);
enum sqloom_status slm_contents_read(struct sqlite *db,
				     struct slm_contents *out,
				     struct sqloom_error *err);
/* SQLOOM_SPEC if an `option ignore` names what there is not. */
enum sqloom_status slm_contents_check_ignored(struct sqlite *db,
					      struct sqloom_error *err);
bool slm_name_set_add(struct slm_arena *arena, struct name_set *set,
		      const char *name);

#endif
