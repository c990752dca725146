/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PostgreSQL isolation specs, run as PostgreSQL's isolationtester runs them:
 * what the files of src/isolation share. The public header has the functions
 * for callers; here is one run behind them.
 *
 *   isolation.c    the object; which permutations are run
 *   connect.c      connections: opened together, kept, reset, pinned
 *   script.c       what a spec means for a run: texts and orders
 *   permutation.c  one permutation: setups, steps, teardowns
 *   step.c         one step: done, blocked, or held back by a mark
 *   stuck.c        is a statement blocked until we act? asked from the server
 *   out.c          what is printed
 *
 * Two texts come out of a failure: what isolationtester would print, through
 * the stream for errors, and the sqloom_error of the caller.
 */
#ifndef SLM_ISOLATION_ISOLATION_H
#define SLM_ISOLATION_ISOLATION_H

#include <sqloom/sqloom.h>

#include "base/arena.h"
#include "base/buf.h"
#include "pg/pg.h"
#include "spec/spec.h"

#define SLM_ISO_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* ---- out.c -------------------------------------------------------------- */

/* Text on its way to the caller. It is handed on before every longer wait, so
 * that somebody who watches a test that hangs sees all of it. */
struct slm_iso_out {
	struct slm_buf buf;		     /* not handed on yet */
	enum sqloom_isolation_stream stream; /* where buf goes */
	sqloom_isolation_write_fn write;     /* borrowed */
	void *userdata;			     /* of write */
	bool failed; /* memory was out, or write said no; nothing more is
			written */
};

void slm_iso_printf(struct slm_iso_out *out,
		    enum sqloom_isolation_stream stream, const char *fmt, ...)
	SLM_ISO_PRINTF(3, 4);
/* A table of rows, as libpq prints it. */
void slm_iso_print_rows(struct slm_iso_out *out, const PGresult *result);
void slm_iso_flush(struct slm_iso_out *out);

/* ---- script.c ----------------------------------------------------------- */

/* A step as it stands in one permutation. */
struct slm_iso_step {
	const struct slm_spec_step *step;
	const char *sql; /* without blanks around it */
	const struct slm_spec_blocker *blockers;
	unsigned nblockers;
	unsigned *targets; /* for each blocker of kind NOTICES: how many
			      notices its session must have sent */
};

struct slm_iso_permutation {
	struct slm_iso_step *steps;
	unsigned nsteps;
	unsigned line; /* of the spec; 0: not written there */
};

/* Texts of one session, as they are sent. */
struct slm_iso_texts {
	const char *setup;	  /* NULL: none */
	const char *teardown;	  /* NULL: none */
	const char *const *steps; /* by index of the step */
};

/* A spec, made ready to run. On an arena. */
struct slm_iso_script {
	const struct sqloom_spec *spec; /* borrowed */
	const char *const *setups;	/* spec->nsetups of them */
	const char *teardown;		/* NULL: none */
	struct slm_iso_texts sessions[SLM_SPEC_SESSIONS_MAX];
	const struct slm_spec_step **unused; /* in no permutation, by name */
	unsigned nunused;
};

enum sqloom_status slm_iso_script_make(struct slm_arena *arena,
				       const struct sqloom_spec *spec,
				       struct slm_iso_script *out,
				       struct sqloom_error *err);

/* The permutation that line number i of the spec asks for. */
enum sqloom_status slm_iso_script_line(const struct slm_iso_script *script,
				       unsigned i, struct slm_arena *arena,
				       struct slm_iso_permutation *out,
				       struct sqloom_error *err);

/* All interleavings of all steps, one after another: the first when out has
 * no steps yet; *more false: there was none left. out keeps its steps in
 * between. */
enum sqloom_status slm_iso_script_next(const struct slm_iso_script *script,
				       struct slm_arena *arena,
				       struct slm_iso_permutation *out,
				       bool *more, struct sqloom_error *err);

/* ---- The run ------------------------------------------------------------ */

struct slm_iso_session {
	struct slm_pg pg;		   /* its connection */
	struct sqloom_isolation *of;	   /* for the notice processor */
	const struct slm_iso_step *active; /* launched, not yet reported as
					      completed; NULL: idle */
	unsigned notices;		   /* received so far */
	bool open;			   /* pg is a connection */
	bool used;			   /* an earlier spec had it */
	bool named; /* its start took application_name from us */
};

struct sqloom_isolation {
	char *conninfo;	     /* owned */
	const char *name;    /* of the spec, for application_name; borrowed */
	uint64_t timeout_ns; /* of a step; then it is cancelled */
	bool (*goes_on)(void *userdata); /* NULL: always */
	void *userdata;
	struct slm_iso_out out;
	struct slm_arena arena; /* of the spec under way */
	struct slm_iso_script script;
	struct slm_iso_session control; /* setups, teardowns, questions */
	struct slm_iso_session sessions[SLM_SPEC_SESSIONS_MAX];
	unsigned nsessions;	/* of the spec under way */
	bool question_prepared; /* on control, for these processes */
	bool question_open;	/* control has an answer for nobody */
	bool new_notice;	/* one came in since somebody cleared this */
	struct slm_pg_pinned pinned; /* we and the server's processes */
	unsigned cpu;		     /* to which CPU, always the same */
	bool stopped; /* goes_on said no: failures are not told */
};

/* Text on standard output or error, as isolationtester has it. */
#define slm_iso_out(iso, ...) \
	slm_iso_printf(&(iso)->out, SQLOOM_ISOLATION_OUT, __VA_ARGS__)
#define slm_iso_err(iso, ...) \
	slm_iso_printf(&(iso)->out, SQLOOM_ISOLATION_ERR, __VA_ARGS__)

/* ---- connect.c ---------------------------------------------------------- */

/* Gives the spec of iso->script its connections: those of the spec before it,
 * reset, and new ones. */
enum sqloom_status slm_iso_connect(struct sqloom_isolation *iso,
				   struct sqloom_error *err);

/* Closes the connections that no other spec may have: all of them if all is
 * set, else those that broke or did not come to rest. */
void slm_iso_disconnect(struct sqloom_isolation *iso, bool all);

/* Asks the server to cancel what still runs in the sessions. */
void slm_iso_cancel_all(struct sqloom_isolation *iso);

/* ---- permutation.c ------------------------------------------------------ */

enum sqloom_status slm_iso_permutation_run(
	struct sqloom_isolation *iso, struct slm_iso_permutation *permutation,
	struct sqloom_error *err);

/* ---- step.c ------------------------------------------------------------- */

enum slm_iso_try {
	SLM_ISO_NONBLOCK = 1, /* come back when the statement is blocked */
	SLM_ISO_RETRY = 2,    /* not the first try: <waiting ...> was told */
};

/* Sends the step. Its session must be idle. */
enum sqloom_status slm_iso_step_send(struct sqloom_isolation *iso,
				     const struct slm_iso_step *step,
				     struct sqloom_error *err);

/* Waits until the step, which was sent, is done or may be left alone. Reports
 * what it came to. */
enum sqloom_status slm_iso_step_try(struct sqloom_isolation *iso,
				    const struct slm_iso_step *step,
				    unsigned flags, bool *completed,
				    struct sqloom_error *err);

/* Fails if the caller wants no more. */
enum sqloom_status slm_iso_go_on(struct sqloom_isolation *iso,
				 struct sqloom_error *err);

/* Waits up to us microseconds for something to read in session; waits of this kind are
 * where a caller can stop the run. */
enum sqloom_status slm_iso_pause(struct sqloom_isolation *iso,
				 struct slm_iso_session *session, unsigned us,
				 bool *readable, struct sqloom_error *err);

/* Sends sql and waits for the end, as PQexec() does. The result is the last
 * one, never NULL, to be freed with PQclear(). */
enum sqloom_status slm_iso_exec(struct sqloom_isolation *iso,
				struct slm_iso_session *session,
				const char *sql, PGresult **result,
				struct sqloom_error *err);

/* ---- stuck.c ------------------------------------------------------------ */

/*
 * Asks whether the statement that runs in session is blocked by one of ours.
 * *stuck: nothing can change that but our next step. Comes back at once, with
 * both false, when session has an answer.
 */
enum sqloom_status slm_iso_ask(struct sqloom_isolation *iso,
			       struct slm_iso_session *session, bool *blocked,
			       bool *stuck, struct sqloom_error *err);

/* Takes the answer to a question that was left open. */
void slm_iso_drain(struct sqloom_isolation *iso);

#endif
