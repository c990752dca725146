/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqloom: finds concurrency bugs in programs that use a database.
 *
 * This header, with <sqloom/kit.h> which it includes, is the whole public
 * interface. Everything in it keeps four promises:
 *
 * - A function that can fail returns an enum sqloom_status and takes, as its
 *   last parameter, a caller-owned struct sqloom_error that it fills in on
 *   failure (NULL is fine: then only the status is known). On failure every
 *   out-parameter is left as it was.
 * - A finding is a result, not an error: a race, a refused statement, a replay
 *   that diverged are told by the report. A status other than SQLOOM_OK says
 *   that the job could not be done.
 * - The library never prints, exits, installs signal handlers or reads the
 *   environment.
 * - Objects are not thread-safe: use one object from one thread at a time.
 *   Different objects may be used from different threads.
 */
#ifndef SQLOOM_H
#define SQLOOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The library is built with hidden symbols; what is declared here is not. */
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

#define SQLOOM_VERSION "0.1.0"

/* ---- Status and errors ------------------------------------------------ */

/*
 * The one list of statuses: name, exit code of the command, text.
 * Exit codes: 2 the user's input or options, 3 the surroundings (files, the
 * database, memory), 70 a defect in sqloom itself.
 */
#define SQLOOM_STATUS_LIST(X)                             \
	X(OK, 0, "ok")                                    \
	X(USAGE, 2, "an option or argument is not valid") \
	X(SPEC, 2, "the spec is not valid")               \
	X(TOKEN, 2, "the replay token is not valid")      \
	X(TRACE, 2, "the trace is not valid")             \
	X(LIMIT, 2, "a limit is exceeded")                \
	X(UNSUPPORTED, 2, "not supported")                \
	X(IO, 3, "a file could not be read or written")   \
	X(DATABASE, 3, "the database could not be used")  \
	X(CALL, 1, "a call failed")                       \
	X(NOMEM, 3, "out of memory")                      \
	X(INTERNAL, 70, "internal error in sqloom")

enum sqloom_status {
#define X(name, exit_code, text) SQLOOM_##name,
	SQLOOM_STATUS_LIST(X)
#undef X
};

/* A static text that names the status. Never NULL. */
const char *sqloom_status_text(enum sqloom_status status);

/* The exit code with which the sqloom command ends for this status. */
int sqloom_status_exit_code(enum sqloom_status status);

/*
 * What went wrong. Fixed size, owned by the caller, nothing to free; filled in
 * completely even when memory is out.
 */
struct sqloom_error {
	enum sqloom_status status;
	int sys_errno;	   /* errno behind it, or 0 */
	char sqlstate[8];  /* SQLSTATE or SQLite's code name prefix, or "" */
	unsigned line;	   /* 1-based place in the input, or 0 */
	unsigned column;   /* 1-based, in characters, or 0 */
	char path[256];	   /* the file the place is in, or "" */
	char message[640]; /* what happened, where, what to do; one line */
	char excerpt[320]; /* the input line and a caret line below it, or "" */
};

/* ---- Specs ------------------------------------------------------------ */

/* A parsed spec: sessions, steps, permutations, checks. docs/spec-language.md
 * is the manual of the language. */
struct sqloom_spec;

/*
 * Reads and parses the spec at path (a regular file of at most 1 MiB).
 * Fails with SQLOOM_IO (cannot be read, a directory), SQLOOM_SPEC (syntax,
 * with line, column and excerpt), SQLOOM_LIMIT, SQLOOM_NOMEM.
 * *out is owned by the caller; free it with sqloom_spec_free().
 */
enum sqloom_status sqloom_spec_read(const char *path, struct sqloom_spec **out,
				    struct sqloom_error *err);

/*
 * Parses a spec in memory, as sqloom_spec_read() one in a file. text need not
 * end in a NUL byte and is copied; name is what messages call it (copied; "-"
 * is fine).
 */
enum sqloom_status sqloom_spec_parse(const char *text, size_t size_bytes,
				     const char *name, struct sqloom_spec **out,
				     struct sqloom_error *err);

/* What a spec of programs can be built from. */
enum sqloom_part_kind {
	SQLOOM_PART_EXEC,	/* a call: a command, for sh -c */
	SQLOOM_PART_HTTP,	/* a call: a request, see docs/calls.md */
	SQLOOM_PART_BEFORE,	/* a command that sets up the database */
	SQLOOM_PART_SERVER,	/* a command that runs beside the calls */
	SQLOOM_PART_CHECK,	/* a query that must return no row */
	SQLOOM_PART_CHECK_EXEC, /* a command that must exit with 0 */
	SQLOOM_PART_OPTION,	/* an option of the spec: its value */
	SQLOOM_PART_FUNCTION,	/* a call: the name of a function of this
				   program; only the calls of
				   sqloom_explore_calls() can be run */
};

struct sqloom_part {
	enum sqloom_part_kind kind;
	const char *name;  /* of a call (NULL: its letter), a check (NULL:
			      "check 1", ...) or an option */
	const char *text;  /* the command, request, query or value */
	const char *ready; /* SERVER: ready when this answers: a URL,
			      "HOST:PORT" or the path of a socket; NULL: not
			      said */
};

/*
 * Writes the parts (borrowed) as a spec and parses it. Fails with SQLOOM_USAGE
 * (a text that no spec can hold), else as sqloom_spec_parse().
 */
enum sqloom_status sqloom_spec_build(const struct sqloom_part *parts,
				     size_t nparts, const char *name,
				     struct sqloom_spec **out,
				     struct sqloom_error *err);

/* The text of the spec, NUL-terminated. Borrowed from spec. size_bytes (may be
 * NULL) excludes the NUL. */
const char *sqloom_spec_text(const struct sqloom_spec *spec,
			     size_t *size_bytes);

/* Frees a spec. NULL is fine. */
void sqloom_spec_free(struct sqloom_spec *spec);

/* ---- Exploring -------------------------------------------------------- */

enum sqloom_verdict {
	SQLOOM_HOLDS,	     /* every schedule within the bounds was run, none
				is wrong */
	SQLOOM_BROKEN,	     /* at least one wrong outcome */
	SQLOOM_INCONCLUSIVE, /* none seen, but not all was seen */
};

/* The exit code with which the sqloom command ends for this verdict: 0 holds,
 * 1 broken, 4 inconclusive. */
int sqloom_verdict_exit_code(enum sqloom_verdict verdict);

enum sqloom_store {
	SQLOOM_STORE_MEMORY, /* sqloom's own memory store (default) */
	SQLOOM_STORE_FILE,   /* real files in a temporary directory */
};

enum sqloom_strategy {
	SQLOOM_STRATEGY_AUTO,	    /* exhaustive, fewest switches first; over
				       budget: uniform and pct in turn */
	SQLOOM_STRATEGY_EXHAUSTIVE, /* every schedule, fewest switches first */
	SQLOOM_STRATEGY_RANDOM,	    /* each choice uniform among the calls */
	SQLOOM_STRATEGY_UNIFORM,    /* uniform over interleavings */
	SQLOOM_STRATEGY_PCT,	    /* random priorities, d change points */
};

/* What is known while an exploration goes on. */
struct sqloom_progress {
	uint64_t runs;	   /* runs finished */
	uint64_t wrong;	   /* of these, runs with a wrong outcome */
	unsigned findings; /* distinct wrong outcomes */
	double left;	   /* schedules left, estimated; < 0: unknown */
	uint64_t elapsed_ms;
};

/* Called about every 50 ms. Return false to end the exploration cleanly with
 * what was found so far. Must not call back into the library. */
typedef bool (*sqloom_progress_fn)(const struct sqloom_progress *progress,
				   void *userdata);

/*
 * Options of an exploration or replay. Always start from
 * sqloom_options_init(); strings are borrowed for the duration of the call.
 * What a spec sets by an `option` line holds unless the field here is set.
 */
struct sqloom_options {
	/*
	 * An SQLite file that seeds every run and is never written, or a
	 * PostgreSQL server: a URI (postgresql://...) or keywords (host=...)
	 * as libpq understands them, completed by libpq from PG* variables
	 * and its service file. NULL: the spec's, else an empty SQLite
	 * database.
	 */
	const char *database;
	bool pg_temp; /* a private PostgreSQL server, started from the
			 installed packages and removed afterwards; not
			 together with database */
	/* pg_temp: the directory of initdb and postgres (NULL: those of
	 * Debian, then of pg_path), a PATH (NULL: none), and where to make its
	 * directory (NULL: in memory if there is room, else /tmp). */
	const char *pg_bindir, *pg_path, *pg_place;
	/*
	 * PostgreSQL: default isolation level of the transactions: a level
	 * ("repeatable read"), or levels of sessions by name and of the others
	 * ("alice=serializable, read committed"). NULL: the spec's, else the
	 * server's.
	 */
	const char *isolation;
	bool any_database; /* PostgreSQL: also one that does not look like a
			      test database: what runs write is put back,
			      but nobody else may use it meanwhile */
	uint64_t statement_limit_ms; /* PostgreSQL: a statement that takes
					longer is cancelled and ends the
					exploration as inconclusive; 0: no
					limit */
	enum sqloom_store store;
	const char *journal; /* "delete", "wal", ...; NULL: the spec's, else
				   what the database has */
	int busy_timeout_ms; /* virtual, costs no wall time; -1: the spec's,
				   else 0 */
	enum sqloom_strategy strategy;
	uint64_t seed;
	bool all_schedules;   /* pass over the spec's permutation lines */
	uint64_t max_runs;    /* 0: no limit */
	uint64_t max_time_ms; /* 0: no limit */
	int max_preemptions;  /* voluntary switches per schedule; -1: any */
	unsigned pct_depth;   /* d of PCT: bugs of depth d are sought */
	/* Databases worked on at once, each by a thread of its own (0 or 1:
	 * one, by the calling thread). It changes the time that is needed, not
	 * the report. A replay needs one. At most SQLOOM_JOBS_MAX. */
	unsigned jobs;
	bool strict;	  /* errors that ask to be retried break too */
	bool joint;	  /* the results of all calls must be those of one
				 serial order together */
	bool local_begin; /* a deferred BEGIN is no choice point */
	const char *const *ignore; /* contents that are not compared, as the
				      spec's: "table" or "table.column"; NULL
				      ends; NULL: the spec's only */
	/* Calls that are programs (call blocks of the spec): */
	int proxy_port;		 /* that they connect to; 0: the spec's, else a
				    free one */
	const char *attribution; /* whose a connection is: "exclusive": of the
				    call that runs; "port": each call has a
				    port, from proxy_port on; "name": its
				    application_name is the call's name; NULL:
				    the spec's, else exclusive */
	const char *const *background; /* application_name of traffic that is no
					  call's; NULL ends; NULL: the
					  spec's */
	uint64_t stall_after_ms; /* a call that does nothing for so long, and
				    not because of a lock in the database, is
				    stalled; 0: the spec's, else 100 */
	uint64_t call_limit_ms;	 /* a call that takes longer ends the
				   exploration as inconclusive; 0: the spec's,
				   else 60,000 */
	const char *const *environment; /* of the programs, NAME=value ..., NULL
					   ends; NULL: empty. The command
					   passes on its own. */
	const char *
		source; /* what stands for the spec in lines to paste, quoted for a
			       shell; NULL: its name. Calls that are functions:
			       the command to which a token is to be added */
	const char *
		trace_path; /* write the trace there; "-": standard output; NULL: nowhere */
	sqloom_progress_fn progress; /* may be NULL */
	void *userdata;
};

#define SQLOOM_JOBS_MAX 64

/* The defaults: everything 0, false or NULL, but for busy_timeout_ms and
 * max_preemptions -1, max_runs 1,000,000, pct_depth 3 and statement_limit_ms
 * 60,000. */
void sqloom_options_init(struct sqloom_options *options);

/* The result of an exploration, of a replay, or of reading a trace. */
struct sqloom_report;

/*
 * Explores the calls of spec. Blocks until done, over budget, or stopped.
 * *out is owned by the caller; free it with sqloom_report_free().
 * spec is borrowed and unchanged; it need not outlive the report.
 */
enum sqloom_status sqloom_explore(const struct sqloom_spec *spec,
				  const struct sqloom_options *options,
				  struct sqloom_report **out,
				  struct sqloom_error *err);

/*
 * Runs the one schedule that token names and judges it. A replay whose steps
 * differ from what the token recorded is SQLOOM_INCONCLUSIVE and the report
 * says where it diverged. recorded, when not NULL, is the report of the trace
 * the token came from (borrowed): then both texts of a differing step are
 * shown.
 */
enum sqloom_status sqloom_replay(const struct sqloom_spec *spec,
				 const char *token,
				 const struct sqloom_report *recorded,
				 const struct sqloom_options *options,
				 struct sqloom_report **out,
				 struct sqloom_error *err);

/* Reads a trace that an exploration wrote ("-" is standard input). */
enum sqloom_status sqloom_trace_read(const char *path,
				     struct sqloom_report **out,
				     struct sqloom_error *err);

/*
 * Makes a spec of SQL sessions from a recording (the report of a trace that
 * sqloom proxy --record wrote; borrowed): one session per connection that read
 * or wrote a table, one step per statement, the values of parameters in it. It
 * is to be explored on the database that was recorded, as it was then. Fails
 * with SQLOOM_USAGE (no recording, or nothing in it to explore),
 * SQLOOM_UNSUPPORTED (a statement that cannot be repeated: which, and why),
 * SQLOOM_LIMIT (more statements or text than a spec may have), SQLOOM_NOMEM.
 */
enum sqloom_status sqloom_spec_from_trace(const struct sqloom_report *report,
					  struct sqloom_spec **out,
					  struct sqloom_error *err);

/* Frees a report. NULL is fine. */
void sqloom_report_free(struct sqloom_report *report);

/* What the runs that the report tells of came to. */
enum sqloom_verdict sqloom_report_verdict(const struct sqloom_report *report);

enum sqloom_format {
	SQLOOM_FORMAT_TEXT, /* the timeline, for people */
	SQLOOM_FORMAT_JSON, /* one JSON object, for programs */
};

struct sqloom_render {
	enum sqloom_format format;
	unsigned width;	     /* columns of the terminal, 40 to 1000 */
	bool color;	     /* ANSI colours */
	bool ascii;	     /* no characters beyond ASCII */
	bool brief;	     /* text: the line with the verdict only, folded
				only at the width */
	bool timing;	     /* text: say how long it took, which differs from
			     run to run */
	unsigned findings;   /* how many findings are told at length; the rest
			      get a line each */
	const char *finding; /* tell only the finding with this token; NULL: in
				order of severity */
};

/* The defaults: text, width 80, no colour, 1 finding, no timing. */
void sqloom_render_init(struct sqloom_render *render);

/*
 * Renders a report into freshly allocated, NUL-terminated text that the caller
 * frees with sqloom_text_free(). size_bytes (may be NULL) excludes the NUL.
 */
enum sqloom_status sqloom_report_render(const struct sqloom_report *report,
					const struct sqloom_render *render,
					char **text, size_t *size_bytes,
					struct sqloom_error *err);

/* Frees a text that a function of the library gave away. NULL is fine. */
void sqloom_text_free(char *text);

/* ---- The proxy alone ---------------------------------------------------- */

/*
 * Relays between clients and a PostgreSQL server, and records who says what if
 * that is wanted. Nothing is explored, nothing is held.
 */

#define SQLOOM_PROXY_PORT 7432

/* What a client needs to know. Borrowed. */
struct sqloom_proxy_place {
	const char *host; /* that it listens on */
	int port;
	const char *socket_dir;	     /* NULL: TCP only */
	const char *user, *database; /* as the connection string has them; NULL:
					it does not say */
};

/* Always start from sqloom_proxy_options_init(); strings are borrowed for the
 * duration of the call. */
struct sqloom_proxy_options {
	/* The server, as libpq understands it: host, hostaddr, port, sslmode,
	 * sslrootcert, sslcert and sslkey count. NULL: libpq's defaults. */
	const char *database;
	bool pg_temp; /* as in sqloom_options, with the next three */
	const char *pg_bindir, *pg_path, *pg_place;
	const char *host;	  /* to listen on; NULL: 127.0.0.1 */
	int port;		  /* 0: a free one (SQLOOM_PROXY_PORT) */
	const char *socket_dir;	  /* a Unix socket there, too; NULL: none */
	unsigned connections_max; /* 0: 1,000 */
	const char *record_path;  /* the trace is written there at the end;
				    NULL: nothing is recorded */
	/* It listens. May be NULL. */
	void (*started)(const struct sqloom_proxy_place *place, void *userdata);
	/* One line, without a newline: what was refused and why. May be
	 * NULL. */
	void (*log)(const char *line, void *userdata);
	/* Asked about every 50 ms. Return false to end cleanly. NULL: for
	 * ever. */
	bool (*goes_on)(void *userdata);
	void *userdata;
};

/* The defaults: port SQLOOM_PROXY_PORT, everything else 0, false or NULL. */
void sqloom_proxy_options_init(struct sqloom_proxy_options *options);

/* What was relayed. */
struct sqloom_proxy_summary {
	uint64_t connections, cancels; /* of clients */
	uint64_t complaints;	       /* lines that were logged */
	/* Recorded: */
	unsigned clients;
	uint64_t statements;
};

/*
 * Listens and relays until goes_on says no; the connections that are open are
 * ended then. Blocks. summary (may be NULL) is filled in. SQLOOM_USAGE (the
 * connection string, the trace's path), SQLOOM_IO (the port is in use, the
 * trace cannot be written), SQLOOM_UNSUPPORTED (sslmode), SQLOOM_DATABASE (no
 * such host, no private server), SQLOOM_NOMEM.
 */
enum sqloom_status sqloom_proxy_run(const struct sqloom_proxy_options *options,
				    struct sqloom_proxy_summary *summary,
				    struct sqloom_error *err);

/* ---- PostgreSQL isolation specs ---------------------------------------- */

/*
 * Runs specs on PostgreSQL as PostgreSQL's own isolationtester runs them: the
 * permutations that the spec lists, or all of them; and writes what
 * isolationtester prints, byte for byte. Nothing is explored and nothing is
 * judged; check blocks and option lines are passed over.
 */

enum sqloom_isolation_stream {
	SQLOOM_ISOLATION_OUT, /* what isolationtester prints on stdout */
	SQLOOM_ISOLATION_ERR, /* and on stderr */
};

/* Takes the next bytes of the output, in order. Called at the end, and before
 * every longer wait. Return false if they cannot be written. */
typedef bool (*sqloom_isolation_write_fn)(enum sqloom_isolation_stream stream,
					  const char *bytes, size_t size_bytes,
					  void *userdata);

/* Always start from sqloom_isolation_options_init(). */
struct sqloom_isolation_options {
	const char *conninfo;	  /* as libpq understands it; copied; NULL:
				 "dbname = postgres" */
	uint64_t step_timeout_ms; /* a step that waits longer is cancelled; after
				     twice the time the spec ends (300,000) */
	sqloom_isolation_write_fn write; /* must be set */
	/* Asked now and then. Return false to end cleanly: what runs is
	 * cancelled. May be NULL. */
	bool (*goes_on)(void *userdata);
	void *userdata; /* of both */
};

/* The defaults: step_timeout_ms 300,000, everything else NULL; write is to be
 * set. */
void sqloom_isolation_options_init(struct sqloom_isolation_options *options);

/* Keeps connections from one spec to the next. */
struct sqloom_isolation;

/* Makes one; it connects to nothing yet. *out is owned by the caller; free it
 * with sqloom_isolation_free(). Fails with SQLOOM_USAGE, SQLOOM_NOMEM. */
enum sqloom_status sqloom_isolation_new(
	const struct sqloom_isolation_options *options,
	struct sqloom_isolation **out, struct sqloom_error *err);

/*
 * Runs spec (borrowed). name (borrowed) becomes part of application_name:
 * isolation/NAME/SESSION, unless the conninfo or PGAPPNAME says otherwise.
 * *complete false: goes_on ended it. Where isolationtester would end early,
 * this fails, after the same output: SQLOOM_DATABASE (no connection, a setup
 * that fails, a connection that is lost), SQLOOM_SPEC (marks that can never be
 * fulfilled); also SQLOOM_UNSUPPORTED, SQLOOM_IO (write returned false),
 * SQLOOM_NOMEM. Afterwards the next spec can be run, whatever happened.
 *
 * While it runs, the calling thread and, where it may, the server's processes
 * are pinned to one CPU.
 */
enum sqloom_status sqloom_isolation_run(struct sqloom_isolation *isolation,
					const struct sqloom_spec *spec,
					const char *name, bool *complete,
					struct sqloom_error *err);

/* Closes the connections. NULL is fine. */
void sqloom_isolation_free(struct sqloom_isolation *isolation);

/* ---- The set-up ---------------------------------------------------------- */

/*
 * Looks at what an exploration on PostgreSQL needs, one thing after another,
 * and tells what is right, what is wrong, and what to do.
 */

enum sqloom_health {
	SQLOOM_HEALTH_OK,
	SQLOOM_HEALTH_NOTE, /* it works, but: */
	SQLOOM_HEALTH_PROBLEM,
};

struct sqloom_checkup {
	enum sqloom_health health;
	const char *what;   /* "server", "call alice" */
	const char *found;  /* one or two sentences */
	const char *advice; /* what to do; NULL */
};

/* Always start from sqloom_doctor_options_init(); strings are borrowed for the
 * duration of the call. */
struct sqloom_doctor_options {
	const char *database; /* as in sqloom_options; NULL: the spec's, else
				 libpq's defaults */
	bool pg_temp;	      /* as there, with the next three */
	const char *pg_bindir, *pg_path, *pg_place;
	bool any_database;
	int proxy_port;			/* 0: a free one */
	const char *const *environment; /* of the programs */
	/* A thing was looked at. checkup is borrowed. Must be set. */
	void (*tell)(const struct sqloom_checkup *checkup, void *userdata);
	/* Asked now and then. Return false to end early. May be NULL. */
	bool (*goes_on)(void *userdata);
	void *userdata;
};

/* The defaults: everything 0, false or NULL; tell is to be set. */
void sqloom_doctor_options_init(struct sqloom_doctor_options *options);

/*
 * Looks at the server, and, if spec (borrowed; NULL: none) has calls, runs each
 * of them once, alone, to see whether it comes to the proxy. *problems: how
 * many were told. Blocks. What is wrong is told, and is no failure; this fails
 * with SQLOOM_USAGE (no PostgreSQL server is named), SQLOOM_NOMEM.
 */
enum sqloom_status sqloom_doctor(const struct sqloom_spec *spec,
				 const struct sqloom_doctor_options *options,
				 unsigned *problems, struct sqloom_error *err);

/* Version of the library and of the database libraries it was built with, one
 * per line. Static. */
const char *sqloom_version(void);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

/* Calls of your own functions, transactions, fixtures, signals. */
#include <sqloom/kit.h>

#endif
