/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oracle: what outcomes serial runs give, and what is to be said of
 * another one (DESIGN, Oracle). Pure: it is given finished runs as data and
 * knows neither a database nor the scheduler.
 *
 * What of a call is compared depends on its kind. Of an SQL session: what its
 * steps return. Of a program (a command, an HTTP request): what it gave as a
 * whole, the result of its END event, part by part: one row with the columns
 * "exit" or "status", then the parts of what it wrote or answered. What a
 * program sends to the database, how often and in which order is its own
 * business, and so are errors of statements that it survived: all of that may
 * differ between equal runs. Only two things are read off its statements: the
 * last error, if the call failed (below), and the cause of a finding.
 *
 * A program that failed was aborted by the database, or failed by an integrity
 * error, if the last statement of it that failed did so by such an error, and
 * it did not try again: behind it no statement went well that reads or writes
 * a table and had been sent before, but for literals (errors 25P02, which only
 * repeat that a transaction has failed, do not count). Else it failed by what
 * it gave. A failure is
 * - RETRY, DEADLOCK: aborted by the database, as a session is;
 * - INTEGRITY: class ERROR, unless it fails so in a serial run, or a serial run
 *   of it gives just the same, message included;
 * - HTTP 4xx: benign, whatever statement failed before it;
 * - REFUSED (another exit status than 0): benign if some serial run of this
 *   call gives the same code, else class ERROR;
 * - OTHER (HTTP 5xx, no answer, killed): class ERROR, unless some serial run of
 *   the same calls has it.
 *
 * Numbers in what programs give are compared by meaning if they are keys that
 * the database generated in the run: such a key is named by the row that has
 * it. Which are is learnt from the serial runs: a number is one if it is a
 * generated key of one table in all of them, and is not the same in all of them
 * or the name of the part ends with id, key or pk. Without such a name it is
 * none if in all of them a statement of the call returned it in the same column
 * that is not called as the key, such as "count".
 *
 * Use: slm_oracle_add_serial() for every serial order of all the calls, each
 * with two runs that differ only in the clock and the random numbers they
 * saw; then slm_oracle_judge() for each run. What differs between two equal
 * serial runs is unstable and masked from then on. A run in which calls were
 * aborted by the database is judged against the serial runs of the others:
 * slm_oracle_lacks() says when these are missing.
 */
#ifndef SLM_ORACLE_ORACLE_H
#define SLM_ORACLE_ORACLE_H

#include <sqloom/sqloom.h>

#include "base/arena.h"
#include "trace/contents.h"
#include "trace/trace.h"

/* A finished run. Borrowed by the oracle for the duration of a call. */
struct slm_run {
	uint32_t members; /* mask of the calls that took part */
	const struct slm_event *events;
	uint32_t nevents;
	const struct slm_contents *contents;
	const struct slm_check_failure *checks; /* only those that failed */
	uint32_t nchecks;
};

/* ---- The oracle ------------------------------------------------------- */

struct slm_oracle_config {
	/* Borrowed: outlives the oracle. Those that are programs may get more
	 * steps meanwhile; steps that a run has must be there when it is given
	 * to the oracle. */
	const struct slm_trace_call *calls;
	uint32_t ncalls;
	/* unobserved[call][step]: rows and changes of that step are no part
	 * of the outcome. Borrowed: outlives the oracle. Not asked of
	 * programs. */
	const bool *const *unobserved;
	/* `option allow`: an abort whose code equals, or whose message
	 * contains, one of these is what callers expect. Borrowed. */
	const char *const *allow;
	uint32_t nallow;
	/* `option ignore`: "table" or "table.column". Borrowed. */
	const char *const *ignore;
	uint32_t nignore;
	/* Runs for which slm_judgement.joint would be true are of class
	 * RESULT. */
	bool joint;
};

struct slm_oracle;

enum sqloom_status slm_oracle_new(const struct slm_oracle_config *config,
				  struct slm_oracle **out,
				  struct sqloom_error *err);
void slm_oracle_free(struct slm_oracle *oracle);

/*
 * Records what a serial order gives: first and again are two runs of the same
 * order. order: letters, first to last ("" when nobody takes part). Copies
 * what it keeps. *remasked (may be NULL) says whether a new column was masked:
 * judgements made before may no longer hold. If the two runs differ in more than values
 * of columns (numbers of rows, steps, errors), a note says that the calls are
 * not deterministic and slm_oracle_unstable() is true from then on.
 */
enum sqloom_status slm_oracle_add_serial(struct slm_oracle *oracle,
					 const char *order,
					 const struct slm_run *first,
					 const struct slm_run *again,
					 bool *remasked,
					 struct sqloom_error *err);

/*
 * Compares one more run of a serial order with the first one: what differs is
 * masked or noted as above. For runs whose random numbers decide what they do,
 * two are not enough.
 */
enum sqloom_status slm_oracle_compare_serial(struct slm_oracle *oracle,
					     const char *order,
					     const struct slm_run *first,
					     const struct slm_run *again,
					     bool *remasked,
					     struct sqloom_error *err);

bool slm_oracle_unstable(const struct slm_oracle *oracle);
/* Does a call fail in every serial run, by an error that is neither allowed nor
 * a refusal, before it has done all that it should? Then nothing holds. A
 * session of SQL: before its last step, or because the step makes no sense
 * (SQLSTATE class 42). */
bool slm_oracle_fails_always(const struct slm_oracle *oracle);

/* The calls whose serial runs judge this run: its members without those that
 * were aborted by the database (errors of kind RETRY and DEADLOCK). */
uint32_t slm_oracle_survivors(const struct slm_oracle *oracle,
			      const struct slm_run *run);

/*
 * The members that did not fail at all. Where these are fewer than the
 * survivors, their serial runs are worth having too: contents that equal one
 * of them say that the failed calls left nothing behind, so that the error is
 * what is told (class ERROR), not the contents.
 */
uint32_t slm_oracle_undone(const struct slm_oracle *oracle,
			   const struct slm_run *run);

/* Are there no serial runs of exactly these calls yet? */
bool slm_oracle_lacks(const struct slm_oracle *oracle, uint32_t members);

/* What is to be said of one run. */
struct slm_judgement {
	enum slm_class class;
	uint64_t outcome; /* digest of class and canonical outcome: equal
			     outcomes of runs are one finding */
	/* Class BENIGN, no call failed, the contents equal a serial run, and
	 * what each call returned is possible; but no single serial order
	 * gives all of it. Never true with config.joint. */
	bool joint;
};

/*
 * Judges a run; the serial runs of its survivors must be there. Allocates
 * only in the oracle's scratch memory, reused by the next call.
 */
enum sqloom_status slm_oracle_judge(struct slm_oracle *oracle,
				    const struct slm_run *run,
				    struct slm_judgement *out,
				    struct sqloom_error *err);

/*
 * Explains a run: fills in everything of *out that follows from it (class,
 * outcome, differences, nearest, check, name, cause); token, schedule,
 * switches, count and events are the caller's. Allocates in arena. Generated
 * keys and masked values are shown as SLM_KEY and SLM_MASKED.
 */
enum sqloom_status slm_oracle_explain(struct slm_oracle *oracle,
				      const struct slm_run *run,
				      struct slm_arena *arena,
				      struct slm_finding *out,
				      struct sqloom_error *err);

/*
 * Events as a report may show them: parts of what programs gave that are masked
 * become SLM_MASKED, so that equal explorations have equal traces. Changes the
 * values of END results in place: events must be a copy of the caller's.
 */
void slm_oracle_mask_events(const struct slm_oracle *oracle,
			    struct slm_event *events, uint32_t nevents);

/* The serial runs of all the calls, for the trace, in the order in which they
 * were added. Allocates in arena. */
enum sqloom_status slm_oracle_serials(struct slm_oracle *oracle,
				      struct slm_arena *arena,
				      const struct slm_trace_serial **serials,
				      uint32_t *count,
				      struct sqloom_error *err);

/* Notes for the report: masked columns, instability, errors that every serial
 * run has. Allocates in arena. */
enum sqloom_status slm_oracle_notes(struct slm_oracle *oracle,
				    struct slm_arena *arena,
				    const char *const **notes, uint32_t *count,
				    struct sqloom_error *err);

#endif
