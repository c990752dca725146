/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happened, as data: the model behind every report. An exploration
 * builds it, slm_trace_write() makes JSON lines of it, slm_trace_parse() makes
 * it again from them, and src/report knows nothing else. A trace holds no
 * wall-clock time and no path of the machine but the spec's name: same spec,
 * same options, same seed give the same bytes.
 *
 * Everything hangs on the trace's arena; strings are NUL-terminated UTF-8
 * unless they are values. Nothing here knows a database or the scheduler.
 */
#ifndef SLM_TRACE_TRACE_H
#define SLM_TRACE_TRACE_H

#include <sqloom/sqloom.h>

#include "base/arena.h"

#define SLM_CALLS_MAX 16	 /* calls of one exploration, letters a..p */
#define SLM_SCHEDULE_MAX 8192	 /* letters of one schedule */
#define SLM_TRACE_ROWS_MAX 50	 /* rows kept per result or table */
#define SLM_TRACE_VALUE_MAX 4096 /* bytes kept of one text or blob */
#define SLM_TRACE_LINE_MAX (16 * 1024 * 1024) /* bytes of one line read back */
#define SLM_TRACE_COMMAND_LINE "(command line)" /* a spec made of options */
#define SLM_STEP_NONE UINT32_MAX		/* "no step" */

/* ---- Values and rows -------------------------------------------------- */

enum slm_value_kind {
	SLM_NULL,
	SLM_INT,
	SLM_REAL,
	SLM_TEXT,
	SLM_BLOB,
	SLM_KEY,    /* a generated key, named by meaning: text is its label,
		       such as "row of a in orders" */
	SLM_MASKED, /* unstable from run to run: not compared */
};

struct slm_value {
	enum slm_value_kind kind;
	uint32_t size; /* bytes of text or blob */
	union {
		int64_t integer;
		double real;
		const char *text; /* TEXT, BLOB, KEY: size bytes */
	};
};

/* A result set, or the contents of a table. */
struct slm_rows {
	uint32_t ncolumns;
	uint32_t nkept;			/* rows in values */
	uint64_t nrows;			/* rows there really were */
	const char *const *columns;	/* names */
	const struct slm_value *values; /* nkept * ncolumns, row by row */
};

/* ---- What a run does -------------------------------------------------- */

/* The error classes of the oracle's contract (DESIGN, Oracle 3). */
enum slm_error_kind {
	SLM_ERROR_NONE,
	SLM_ERROR_RETRY,     /* asks to be retried: BUSY, 40001, lock timeout */
	SLM_ERROR_DEADLOCK,  /* 40P01 */
	SLM_ERROR_INTEGRITY, /* unique, foreign key, check, not null */
	SLM_ERROR_OTHER,     /* anything else the database refused */
	SLM_ERROR_REFUSED, /* a program said no: exit status, HTTP 4xx. Callers
				expect it if a serial run gives the same code,
				and HTTP 4xx and SLM_REFUSED_CODE always */
};

#define SLM_REFUSED_CODE "refused" /* sqloom_call_refuse() */

/* What one statement of a step returned; a step of several statements has a
 * chain of them. */
struct slm_result {
	const struct slm_result *next;
	struct slm_rows rows;	   /* ncolumns 0: it returns no rows */
	int64_t changes;	   /* rows written, -1: does not apply */
	enum slm_error_kind error; /* ends the chain unless NONE */
	const char *code;	   /* "SQLITE_BUSY", "40001"; NULL: no error */
	const char *message;	   /* NULL: no error */
	uint64_t digest;	   /* of all of the above; not written, 0 when
				     read from a file */
};

enum slm_event_kind {
	SLM_EVENT_STEP,	   /* a step was granted and did not wait: result */
	SLM_EVENT_BLOCKED, /* a step was granted and waits: by, what */
	SLM_EVENT_RESUMED, /* the step that waited is done: result, waited_ms */
	SLM_EVENT_SKIPPED, /* a step whose `when` was false or NULL */
	SLM_EVENT_END,	   /* the call is over; ok or failed; of a program:
			      result */
	SLM_EVENT_STALLED, /* the call does nothing, and no lock in the database
			      is why: what */
};

struct slm_event {
	enum slm_event_kind kind;
	uint32_t call;
	uint32_t step;	     /* index in calls[call].steps; SLM_STEP_NONE for
			      END */
	bool choice;	     /* STEP, BLOCKED: a letter of the schedule (steps
			      that cannot matter to others are none) */
	bool ok;	     /* END */
	uint32_t blocked_by; /* BLOCKED: mask of the calls that hold it */
	const char *what;    /* BLOCKED: "the EXCLUSIVE lock on main"; else
				NULL */
	uint32_t waited_ms;  /* RESUMED: virtual time that passed waiting */
	const char *params;  /* STEP, BLOCKED: "$1 = 5, $2 = 'x'"; NULL or "":
			       none (trace/params.h) */
	const struct slm_result *result; /* STEP, RESUMED, END of a program */
};

/* ---- The calls -------------------------------------------------------- */

struct slm_trace_step {
	const char *name;
	const char *sql;   /* trimmed text */
	const char *reads; /* "account, orders" or "" */
	const char *writes;
	uint16_t fingerprint; /* of the SQL with literals removed */
	bool implicit;	      /* made by sqloom: the ROLLBACK after an error */
};

enum slm_trace_call_kind {
	SLM_TRACE_SESSION,  /* SQL steps that somebody wrote down */
	SLM_TRACE_EXEC,	    /* a command: its steps are what it sent */
	SLM_TRACE_HTTP,	    /* a request: what its server sent */
	SLM_TRACE_CLIENT,   /* a connection of `sqloom proxy --record` */
	SLM_TRACE_FUNCTION, /* a function of the program that explored */
};

struct slm_trace_call {
	const char *name; /* its letter is 'a' + index */
	const struct slm_trace_step *steps;
	uint32_t nsteps;
	enum slm_trace_call_kind kind;
	const char *text; /* the command or request; NULL: a session */
};

/* ---- Outcomes --------------------------------------------------------- */

struct slm_table {
	const char *name;
	struct slm_rows rows; /* in canonical order */
};

/* What can be observed after a run. */
struct slm_outcome {
	uint32_t members; /* mask of the calls that took part */
	uint32_t failed;  /* mask of the calls that ended with an error */
	const struct slm_table *tables; /* those that a step may write */
	uint32_t ntables;
	/* One line per call: "ok" or the error; index is the call. NULL for a
	 * call that took no part. */
	const char *const *results;
};

/* One serial order and what it gives. */
struct slm_trace_serial {
	const char *order; /* "ab", "ba": letters, first to last */
	struct slm_outcome outcome;
};

/* Classes of a wrong outcome, worst first (DESIGN, Oracle 3). */
enum slm_class {
	SLM_CLASS_CHECK,    /* a check of the user's returned a row */
	SLM_CLASS_CONTENTS, /* (a) contents that no serial run leaves */
	SLM_CLASS_RESULT,   /* (b) results that no serial run gives */
	SLM_CLASS_ERROR,    /* (c) an error that no caller can expect */
	SLM_CLASS_RETRY,    /* (d) an error that asks to be retried */
	SLM_CLASS_BENIGN,   /* (e) differences that are no error: contents of
				a serial run, fewer successes or results of
				different serial orders */
	SLM_CLASS_SERIAL,   /* equals a serial run: nothing wrong */
};

#define SLM_CLASSES (SLM_CLASS_SERIAL + 1)

/* "contents that no serial run leaves", ... Static. */
const char *slm_class_text(enum slm_class class);

/* How one row or result differs from the nearest serial outcome. */
struct slm_difference {
	const char *where;    /* "account", "alice: step read" */
	const char *actual;   /* "id=1 bal=110"; NULL: absent */
	const char *expected; /* NULL: absent in every serial run */
};

struct slm_finding {
	enum slm_class class;
	const char *token;
	const char *schedule;	    /* letters */
	uint32_t switches;	    /* voluntary switches in it */
	uint64_t count;		    /* runs that ended with this outcome */
	const char *name;	    /* field name, "lost update (P4)"; NULL */
	const char *cause;	    /* one or two sentences; NULL */
	const char *check;	    /* CHECK: its name; else NULL */
	struct slm_rows check_rows; /* CHECK: what it returned */
	struct slm_outcome outcome;
	const struct slm_difference *differences; /* to the nearest serial */
	uint32_t ndifferences;
	const char *nearest; /* order of the nearest serial run; NULL: none */
	const struct slm_event *events; /* the run, in order */
	uint32_t nevents;
};

/* Of what a program gave: is there a message, and does it say more than the
 * parts? The message of an answer is the begin of its body, that of a command
 * may be its last line of output. */
bool slm_result_says_more(const struct slm_result *given);

/* Rows that come in no order: brings them into one. */
void slm_rows_sort(struct slm_value *values, uint32_t nrows, uint32_t ncolumns);
/* What an SQLSTATE of PostgreSQL's is. */
enum slm_error_kind slm_error_kind_of(const char *sqlstate);

/* ---- The whole -------------------------------------------------------- */

enum slm_trace_kind {
	SLM_TRACE_EXPLORE,
	SLM_TRACE_REPLAY, /* one schedule; its run is findings[0], whatever its
			     class */
	SLM_TRACE_RECORD, /* what a proxy saw: findings[0] has the events; no
			     schedule, no outcome, no verdict */
};

/* The place where a replay left its token. */
struct slm_divergence {
	bool diverged;
	uint32_t at;	      /* 1-based number of the letter; 0: before the
				 first */
	const char *what;     /* one sentence */
	const char *recorded; /* SQL then; NULL: not known */
	const char *now;      /* SQL now; NULL: no such step */
};

struct slm_trace {
	struct slm_arena arena;
	/* Header */
	enum slm_trace_kind kind;
	const char *spec;     /* name of the spec file, as given */
	const char *backend;  /* "SQLite 3.40.1, memory store, journal
				   delete, busy timeout 0 ms" */
	const char *strategy; /* "exhaustive" */
	const char *bounds;   /* "none" or "at most 2 switches, ..." */
	const char *options;  /* command line options that a replay needs,
				   "" if none: " --journal wal" */
	uint64_t seed;
	const struct slm_trace_call *calls;
	uint32_t ncalls;
	/* What serial runs give: all orders of all the calls */
	const struct slm_trace_serial *serials;
	uint32_t nserials;
	/* Findings, worst first, then fewest switches, then first found. The
	 * classes RETRY and BENIGN may be among them, behind the wrong ones. */
	const struct slm_finding *findings;
	uint32_t nfindings;
	/* The verdict */
	enum sqloom_verdict verdict;
	const char *reason; /* why it is not "holds"; "" else */
	uint64_t explored;  /* schedules run (distinct if complete) */
	bool complete;	    /* every schedule within the bounds was run */
	uint64_t wrong;	    /* runs whose outcome breaks the verdict */
	uint64_t by_class[SLM_CLASSES]; /* runs of each class */
	bool strict;			/* class RETRY breaks, too */
	const char *const *notes;	/* masked columns, stalls, infeasible
				     permutations: one sentence each */
	uint32_t nnotes;
	struct slm_divergence divergence; /* REPLAY */
	/* Not written: differs from run to run. 0 when read from a file. */
	uint64_t elapsed_ns;
	uint64_t reruns; /* serial, warm-up and shrinking runs */
};

/* struct sqloom_report of the public header is a trace. */
struct sqloom_report {
	struct slm_trace trace;
};

/* Makes an empty report; NULL when memory is out. */
struct sqloom_report *slm_report_new(void);

/*
 * May a trace be written to path? Not over a file that holds something else:
 * a spec or a database that was named by mistake. SQLOOM_USAGE.
 */
enum sqloom_status slm_trace_may_write(const char *path,
				       struct sqloom_error *err);

/*
 * Writes trace as JSON lines: one header, one object per serial run, per
 * finding and per event of a finding, in order, and the verdict last. Of a
 * recording: the header, its events, and a line that ends it. Fails
 * with SQLOOM_IO (which names path; no space included) or SQLOOM_NOMEM; a
 * file that was begun and could not be finished is removed if it is a regular
 * file. SQLOOM_USAGE as slm_trace_may_write(). "-" is standard output.
 */
enum sqloom_status slm_trace_write(const struct slm_trace *trace,
				   const char *path, struct sqloom_error *err);

/* The same into memory, for tests and for determinism checks. *text is freed
 * with slm_free(). */
enum sqloom_status slm_trace_format(const struct slm_trace *trace, char **text,
				    size_t *size_bytes,
				    struct sqloom_error *err);

/*
 * Parses JSON lines. The input is untrusted: every reference (call, step,
 * counts) is checked. SQLOOM_TRACE with the line, SQLOOM_LIMIT, SQLOOM_NOMEM.
 */
enum sqloom_status slm_trace_parse(const char *text, size_t size_bytes,
				   const char *name, struct sqloom_report **out,
				   struct sqloom_error *err);

#endif
