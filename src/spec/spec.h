/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spec language, parsed. PostgreSQL's isolation spec language as it is,
 * plus: check blocks, option lines, `when { expression }` and `unobserved` on
 * steps; and calls that are programs, with before and server blocks, instead of
 * sessions. docs/spec-language.md is the manual.
 *
 * Everything hangs on the spec's arena and is immutable once parsed. Arrays
 * keep the order of the file. Knows no database: SQL blocks are plain text.
 */
#ifndef SLM_SPEC_SPEC_H
#define SLM_SPEC_SPEC_H

#include <sqloom/sqloom.h>

#include "base/arena.h"

/* Named limits; going over one is SQLOOM_LIMIT with the place. */
#define SLM_SPEC_SIZE_MAX (1024 * 1024)	 /* bytes of a spec file */
#define SLM_SPEC_SESSIONS_MAX 16	 /* sessions, or calls */
#define SLM_SPEC_SERVERS_MAX 16		 /* server blocks */
#define SLM_SPEC_STEPS_MAX 256		 /* steps of one session */
#define SLM_SPEC_PERMUTATIONS_MAX 100000 /* permutation lines */
#define SLM_SPEC_NAME_MAX 63		 /* bytes of a name */

/* The text between two braces, without them. */
struct slm_spec_sql {
	const char *text; /* NUL-terminated; NULL: no block was given */
	size_t size;	  /* bytes, without the NUL */
	unsigned line;	  /* place of the first byte after the brace, 1-based */
	unsigned column;
};

struct slm_spec_step {
	const char *name;
	struct slm_spec_sql sql;
	struct slm_spec_sql when; /* run only if this expression is true */
	bool unobserved;	  /* its rows are no part of the outcome */
	unsigned session;	  /* index of its session */
	unsigned index;		  /* index among the steps of its session */
	unsigned line, column;	  /* place of the name */
};

/* What runs instead of SQL steps. */
enum slm_spec_call_kind {
	SLM_CALL_SQL,	   /* no call: a session with steps */
	SLM_CALL_EXEC,	   /* call "name" { exec COMMAND }: for sh -c */
	SLM_CALL_HTTP,	   /* call "name" { http REQUEST }: docs/calls.md */
	SLM_CALL_FUNCTION, /* call "name" { function NAME }: of the program that
			      explores (sqloom_explore_calls) */
};

struct slm_spec_session {
	const char *name;
	struct slm_spec_sql setup;    /* text NULL: none */
	struct slm_spec_sql teardown; /* text NULL: none */
	const struct slm_spec_step *steps;
	unsigned nsteps; /* at least 1; of a call 0 */
	unsigned line, column;
	enum slm_spec_call_kind call;
	struct slm_spec_sql text; /* of the command or request, without the
				     blanks around it; SQL: none */
};

enum slm_spec_blocker_kind {
	SLM_BLOCKER_STAR,    /* (*): known to block at once */
	SLM_BLOCKER_STEP,    /* (other): reported after that step */
	SLM_BLOCKER_NOTICES, /* (other notices n): after n notices of it */
};

struct slm_spec_blocker {
	enum slm_spec_blocker_kind kind;
	const struct slm_spec_step *step; /* NULL for STAR */
	unsigned notices;		  /* for NOTICES */
};

struct slm_spec_permutation_step {
	const struct slm_spec_step *step;
	const struct slm_spec_blocker *blockers;
	unsigned nblockers;
};

/* One permutation line. As in PostgreSQL, a line may leave steps out, repeat
 * one, and list a session's steps in another order. */
struct slm_spec_permutation {
	const struct slm_spec_permutation_step *steps;
	unsigned nsteps; /* at least 1 */
	unsigned line, column;
};

/* check "name" { SQL }: must return no row after every run.
 * check "name" exec { COMMAND }: must exit with 0; only with calls. */
struct slm_spec_check {
	const char *name;
	bool exec;
	struct slm_spec_sql sql; /* or the command */
	unsigned line, column;
};

/* option NAME VALUE ... to the end of the line; values are identifiers,
 * numbers or quoted strings, kept as text. Which names exist and what they
 * mean is decided by the reader of the options, except that the parser
 * refuses unknown names (SLM_SPEC_OPTION_LIST), wrong counts, and values that
 * are wrong on every database. Words with a fixed choice are kept in lower
 * case, and an option that is written in two words (repeatable read, a date
 * and a time) is kept as one value, so every option has exactly one. */
struct slm_spec_option {
	const char *name;
	const char *const *values;
	unsigned nvalues;
	unsigned line, column;
};

/* table or table.column, as `option ignore` says it */
bool slm_spec_is_ignore(const char *text);

/* name, least words, most words, may be given more than once */
#define SLM_SPEC_OPTION_LIST(X)                                               \
	X(database, 1, 1, false)     /* path, relative to the spec file */    \
	X(journal, 1, 1, false)	     /* delete, truncate, persist, wal ... */ \
	X(busy_timeout, 1, 1, false) /* milliseconds, virtual */              \
	X(isolation, 1, 2, false)    /* serializable, repeatable read, ... */ \
	X(allow, 1, 1, true)	     /* an error that callers expect */       \
	X(ignore, 1, 1, true)	     /* table or table.column not compared */ \
	X(strict, 1, 1, false)	     /* on, off */                            \
	X(on_error, 1, 1, false)     /* stop, continue */                     \
	X(clock, 1, 2, false)	     /* what now() says, 2026-01-01 12:00 */  \
	X(local_begin, 1, 1, false)  /* on, off */                            \
	X(results, 1, 1, false)	     /* each, joint */                        \
	X(proxy_port, 1, 1, false)   /* where programs find the proxy */      \
	X(attribution, 1, 1, false)  /* exclusive, port, name */              \
	X(background, 1, 1, true)    /* application_name that is no call's */ \
	X(stall_after, 1, 1, false)  /* milliseconds */                       \
	X(call_limit, 1, 1, false)   /* milliseconds */

/* before { COMMAND }: run once, before the first run. server { COMMAND } [ready
 * "URL or host:port or path of a socket"]: started once behind them, ends with
 * the exploration. Only with calls. */
struct slm_spec_server {
	struct slm_spec_sql command;
	const char *ready; /* NULL: when it listens, or has used the database */
	unsigned line, column;
};

/* struct sqloom_spec of the public header. A spec has sessions with steps, or
 * calls, not both. */
struct sqloom_spec {
	struct slm_arena arena;
	const char *name; /* path or what the caller called it */
	const char *text; /* the whole input, for excerpts */
	size_t size;
	const struct slm_spec_sql *setups;
	unsigned nsetups;
	struct slm_spec_sql teardown; /* text NULL: none */
	const struct slm_spec_session *sessions;
	unsigned nsessions; /* at least 1 */
	const struct slm_spec_permutation *permutations;
	unsigned npermutations;
	const struct slm_spec_check *checks;
	unsigned nchecks;
	const struct slm_spec_option *options;
	unsigned noptions;
	bool has_calls; /* each session is a call */
	/* Not of the text: the functions that its calls are, by index; borrowed
	 * from who explores; NULL: none. */
	const struct sqloom_calls *functions;
	struct slm_baton *baton; /* of that exploration; SQLite */
	const struct slm_spec_sql *befores;
	unsigned nbefores;
	const struct slm_spec_server *servers;
	unsigned nservers;
};

/* The last option of that name, or NULL. name is one of the list above. */
const struct slm_spec_option *slm_spec_option(const struct sqloom_spec *spec,
					      const char *name);

/* Adds to err the place (line, column) with path and excerpt of this spec. */
void slm_spec_error_place(const struct sqloom_spec *spec, unsigned line,
			  unsigned column, struct sqloom_error *err);

#endif
