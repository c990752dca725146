/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a step for PostgreSQL is, known from its text before it runs: which
 * statements, what they read, write and lock by name, and what a scheduler has
 * to know of them. The text is parsed with PostgreSQL's own grammar
 * (libpg_query, of PostgreSQL 15); there is no catalogue behind it, so views,
 * triggers, rules, foreign keys and functions are for the caller to look up.
 * Every property errs to the safe side, which its comment names.
 *
 * Thread-safe: nothing is shared between calls (libpg_query keeps a memory
 * context per thread, and frees it when the thread ends).
 */
#ifndef SLM_SQL_PG_STATEMENT_H
#define SLM_SQL_PG_STATEMENT_H

#include <stdbool.h>
#include <stddef.h>

#include <sqloom/sqloom.h>

#include "base/arena.h"
#include "base/buf.h"

/* Kinds of statements, and what they are called. */
#define SLM_PG_KINDS(X)                                                      \
	X(QUERY,                                                             \
	  "SELECT") /* also VALUES, TABLE; SELECT INTO is DDL or TEMP */     \
	X(INSERT, "INSERT")                                                  \
	X(UPDATE, "UPDATE")                                                  \
	X(DELETE, "DELETE")                                                  \
	X(MERGE, "MERGE")                                                    \
	X(BEGIN, "BEGIN")                                                    \
	X(COMMIT, "COMMIT")                                                  \
	X(ROLLBACK, "ROLLBACK")                                              \
	X(SAVEPOINT, "SAVEPOINT")                                            \
	X(RELEASE, "RELEASE")                                                \
	X(ROLLBACK_TO, "ROLLBACK TO")                                        \
	X(PREPARE_TRANSACTION, "PREPARE TRANSACTION")                        \
	X(COMMIT_PREPARED, "COMMIT PREPARED")                                \
	X(ROLLBACK_PREPARED, "ROLLBACK PREPARED")                            \
	X(SET, "SET") /* for the session, also SESSION CHARACTERISTICS */    \
	X(SET_LOCAL, "SET LOCAL")                                            \
	X(SET_TRANSACTION, "SET TRANSACTION") /* or what it sets, by name */ \
	X(SET_CONSTRAINTS, "SET CONSTRAINTS")                                \
	X(SHOW, "SHOW")                                                      \
	X(RESET, "RESET")                                                    \
	X(DISCARD, "DISCARD")                                                \
	X(PREPARE, "PREPARE")                                                \
	X(EXECUTE, "EXECUTE")                                                \
	X(DEALLOCATE, "DEALLOCATE")                                          \
	X(DECLARE, "DECLARE")                                                \
	X(FETCH, "FETCH")                                                    \
	X(MOVE, "MOVE")                                                      \
	X(CLOSE, "CLOSE")                                                    \
	X(COPY_TO, "COPY TO")                                                \
	X(COPY_FROM, "COPY FROM")                                            \
	X(LOCK, "LOCK")                                                      \
	X(TRUNCATE, "TRUNCATE")                                              \
	X(LISTEN, "LISTEN")                                                  \
	X(UNLISTEN, "UNLISTEN")                                              \
	X(NOTIFY, "NOTIFY")                                                  \
	X(VACUUM, "VACUUM")                                                  \
	X(ANALYZE, "ANALYZE")                                                \
	X(CHECKPOINT, "CHECKPOINT")                                          \
	X(CLUSTER, "CLUSTER")                                                \
	X(REINDEX, "REINDEX")                                                \
	X(DO, "DO")                                                          \
	X(CALL, "CALL")                                                      \
	X(EXPLAIN, "EXPLAIN")                                                \
	X(TEMP,                                                              \
	  "temporary object") /* CREATE TEMP ..., or of schema pg_temp */    \
	X(DDL, "DDL")	      /* what else changes the schema */             \
	X(OTHER, "other")

enum slm_pg_kind {
#define X(name, text) SLM_PG_##name,
	SLM_PG_KINDS(X)
#undef X
};

/* "SELECT", "ROLLBACK TO", ... */
const char *slm_pg_kind_name(enum slm_pg_kind kind);

/* A table, view, sequence ... that a statement names; each once. Names of
 * WITH queries are not among them. */
struct slm_pg_relation {
	const char *schema; /* NULL: not given */
	const char *name;   /* as the server has it: folded, unquoted */
	bool read;	    /* its rows are read */
	bool write;	    /* its rows, or it itself, are changed */
	bool lock;	    /* FOR UPDATE, SHARE ... of it, or all of it */
	bool truncate;
	bool temp; /* temporary, as the text says (a later use does not say) */
};

/* A function that is called; each once. Functions behind operators, casts,
 * defaults and triggers are not seen. */
struct slm_pg_function {
	const char *schema; /* NULL: not given; "pg_catalog": SQL's syntax */
	const char *name;   /* as the server has it: folded, unquoted */
	bool temp;	    /* of schema pg_temp: the session has made it */
	/* One of PostgreSQL's own (or dblink's) that others may notice, by its
	 * name in any schema. */
	bool effects;
	/* A common one of PostgreSQL's own that reads no table and changes
	 * nothing outside of its session. Not effects and not harmless: look
	 * it up. (Also harmless ones can be overloaded by the user.) */
	bool harmless;
};

struct slm_pg_statement {
	enum slm_pg_kind kind;
	const char *begin, *end; /* in the step's text, without blanks */
	struct slm_pg_relation *relations;
	size_t nrelations;
	struct slm_pg_function *functions;
	size_t nfunctions;
	bool locks_rows; /* has a locking clause, at any level */
	bool returning;	 /* INSERT ... RETURNING and the like */
	/* The rows of the result come in an order that the text fixes: ORDER
	 * BY (ties may still swap), or no row, or one at most. Safe: false. */
	bool ordered;
	bool temp;    /* makes a temporary object */
	bool analyze; /* EXPLAIN ANALYZE: what it explains is executed */
	/* BEGIN, SET TRANSACTION, and SET of the session's default: */
	const char *isolation; /* "serializable", ...; NULL: not named */
	bool read_only, deferrable;
	/* Of the savepoint, global transaction, setting, prepared statement,
	 * cursor or channel; NULL: none or all. */
	const char *name;
};

struct slm_pg_step {
	struct slm_pg_statement *statements;
	size_t nstatements; /* 0: blanks and comments only */
	/* False: the parser refused the text (or it is nested too deeply);
	 * there are no statements, and everything below is on its safe side. */
	bool parsed;
	const char *message; /* not parsed: what the parser said */

	/* Outside of a transaction it may be executed as BEGIN; ...; COMMIT
	 * with the same effect. docs/internals/sql.md lists what may not.
	 * Safe: false. */
	bool wrappable;
	bool control;	  /* contains transaction control, SAVEPOINT too */
	bool begins_only; /* one or more BEGINs, nothing else */
	bool commits;	  /* contains COMMIT or END */
	bool ends;	  /* contains what ends the session's transaction:
			     COMMIT, ROLLBACK, PREPARE TRANSACTION */

	/* Changes nothing and locks no rows that others could see: queries,
	 * SHOW, SET, BEGIN, EXPLAIN and PREPARE of queries ... It is said as
	 * if the functions that are neither harmless nor have effects did
	 * nothing: look them up. Safe: false. */
	bool pure;
	/* Pure, and without any relation or function that is not harmless:
	 * SELECT 1, SET, BEGIN, SAVEPOINT ... Mind takes_snapshot. Safe:
	 * false. */
	bool touches_nothing;
	/* The first such statement of a transaction at REPEATABLE READ or
	 * SERIALIZABLE decides what it sees; SELECT 1 is one. Safe: true. */
	bool takes_snapshot;
	/* Leaves something on the connection that a new run must not see: SET,
	 * PREPARE, LISTEN, temporary objects ... Safe: true. */
	bool session_state;
	/* Changes the schema, except for temporary objects. Safe: true. */
	bool ddl;
	/* Changes something outside of the database, which no copy of it
	 * undoes: roles, databases, settings of the server ... Safe: true. */
	bool cluster_wide;
	/* May write what the text does not show: DO, CALL, EXECUTE, COPY FROM,
	 * dblink ... Functions that are not known here are the caller's to
	 * look up. Safe: true. */
	bool unknown_writes;
	/* May read or lock what the text does not show: the same, FETCH,
	 * VACUUM of all tables ... (What FETCH and EXECUTE mean, the statement
	 * of that name tells.) Safe: true. */
	bool unknown_reads;
	bool truncates;		/* Safe: true, as the next two */
	bool locks_tables;	/* as a whole: LOCK, VACUUM, CLUSTER ... */
	bool explicit_sequence; /* calls nextval or setval */
};

/*
 * Reads the text of a step, which may hold :name parameters (they stand for
 * values) and several statements. Everything in *out lives in the arena,
 * except begin and end, which point into sql. Fails only with SQLOOM_NOMEM; a
 * text that does not parse is not an error.
 */
enum sqloom_status slm_pg_step_read(const char *sql, struct slm_arena *arena,
				    struct slm_pg_step *out,
				    struct sqloom_error *err);

/* The version of PostgreSQL whose syntax is known: 15. */
int slm_pg_parser_version(void);

/* ---- Parameters -------------------------------------------------------- */

/*
 * Like slm_sql_next_parameter, by PostgreSQL's rules: only :name is one, and
 * nothing in dollar quotes, E'...\'...' or nested comments is; :: and := are
 * not.
 */
const char *slm_pg_next_parameter(const char *sql, char *name, size_t size);

/*
 * Appends a value as it can stand in a statement wherever an expression can.
 * value NULL is NULL; numeric: a number is put as it is, a signed one in
 * parentheses (what is no number is quoted); everything else as a quoted
 * literal (standard_conforming_strings must be on, as it is by default).
 * type_name (may be NULL) is put behind it, as in '2026-01-31'::date, as it
 * is. False: memory is out (out->failed).
 */
bool slm_pg_literal(const char *value, const char *type_name, bool numeric,
		    struct slm_buf *out);

#define SLM_PG_LIFTED_MAX 100 /* bytes; of longer ones only so much is told */

/*
 * Takes the literals out of a statement, so that texts that differ in values
 * only are one text: text receives it with $1, $2 ... in their places, params
 * "$1 = 5, $2 = 'x'". False: there are none, or it has numbered parameters of
 * its own; then text and params are not to be used. Out of memory: as slm_buf.
 */
bool slm_pg_lift_literals(const char *sql, struct slm_buf *text,
			  struct slm_buf *params);

/* Takes the tags out of dollar quotes, so that those that are made anew each
 * time make one text: $f_5$ BEGIN ... $f_5$ becomes $$ BEGIN ... $$. False:
 * there are none; then text is not to be used. */
bool slm_pg_lift_tags(const char *sql, struct slm_buf *text);

#endif
