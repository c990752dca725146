/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the oracle share. Nobody outside src/oracle includes this.
 *
 * A run is looked at twice: its contents become canonical (canonical.c), its
 * events become one sequence of taken steps per call (results.c), and of calls
 * that are programs what they gave at their end (given.c). All are digests
 * under the masks of the moment; when a mask is added, what is kept of the
 * serial runs is digested again (oracle.c).
 *
 * The steps of a program are not known beforehand: nothing in here is sized by
 * their number, and no step of one is control, ordered or variable.
 */
#ifndef SLM_ORACLE_INTERNAL_H
#define SLM_ORACLE_INTERNAL_H

#include "base/buf.h"
#include "oracle/oracle.h"

#define SLM_REFINE_ROUNDS_MAX 256 /* rounds of naming rows by references */
#define SLM_DIFFERENCES_MAX 100	  /* differences told of one finding */
#define SLM_NO_ROW UINT64_MAX

/* ---- Masks ------------------------------------------------------------ */

/* How much of a column is compared. */
enum slm_hiding {
	SLM_SHOWN,  /* its values */
	SLM_NULLS,  /* masked: only whether they are NULL */
	SLM_HIDDEN, /* masked or ignored: nothing */
};

struct slm_column_mask {
	const char *table;
	const char *column;
	enum slm_hiding hiding;
};

/* In place of a column: the order of the rows. */
#define SLM_COLUMN_ORDER UINT32_MAX

struct slm_result_mask {
	uint32_t call;
	uint32_t step;
	uint32_t statement; /* of the step, from 0 */
	uint32_t column;    /* of that statement's result */
	const char *name;   /* of the column */
	enum slm_hiding hiding;
};

/* A part of what a program gives, by name. */
struct slm_given_mask {
	uint32_t call;
	const char *name;
	enum slm_hiding hiding;
};

#define SLM_KEY_TABLES_MAX 4
#define SLM_KEY_COLUMNS_MAX 4

/* A number in what a program gives: the nth in the part of this name. In all
 * serial runs so far it was a key that was generated in the run, in one of
 * these tables; none: in some it was not. */
struct slm_given_key {
	uint32_t call;
	uint32_t nth;
	const char *name;
	const char *tables[SLM_KEY_TABLES_MAX];
	uint32_t ntables;
	/* Columns without keys in which the call was returned the number, in
	 * all of these runs: of count(*), say. */
	const char *columns[SLM_KEY_COLUMNS_MAX];
	uint32_t ncolumns;
	int64_t value; /* in the first of these runs */
	bool varies;   /* in some run it was another */
};

/* ---- Canonical contents ----------------------------------------------- */

struct slm_canonical_table {
	const struct slm_contents_table *table;
	bool ignored;		 /* no part of the comparison at all */
	enum slm_hiding *hiding; /* per column */
	uint64_t **target; /* per column: per row the generated row referred to,
			      or SLM_NO_ROW; NULL: the column has none */
	uint32_t *target_table; /* per column: the table of those rows */
	uint64_t *names;	/* per row: equal names, same row */
	uint64_t digest;	/* of the names as a multiset */
};

struct slm_canonical {
	struct slm_canonical_table *tables;
	uint32_t ntables;
	uint64_t digest;
};

/* ---- Results of calls ------------------------------------------------- */

/* What a call did at one of its steps. */
struct slm_taken {
	uint32_t step;
	uint32_t event; /* index in the run's events */
	bool skipped;	/* its `when` was not true */
	bool observed;	/* rows and changes are part of the outcome */
	bool wrote;	/* some statement of it changed a row */
	bool idle;	/* it is a write that changed and returned nothing */
	bool effect;	/* counts as having done something (judge.c) */
	const struct slm_result *result; /* chain; NULL when skipped */
	const struct slm_result *error;	 /* the one that failed, or NULL */
	uint64_t value;			 /* digest of rows and changes */
	uint64_t digest;		 /* of all that is compared */
};

struct slm_call_result {
	bool ok;	 /* took part and did not fail */
	bool aborted;	 /* failed, by RETRY or DEADLOCK */
	bool reads_only; /* had no step that writes, and no error */
	uint32_t ntaken;
	struct slm_taken *taken;
	const struct slm_result *error; /* why it failed; NULL: not known */
	uint32_t error_step;		/* SLM_STEP_NONE: as a program */
	uint64_t seen; /* of all that it observed together (judge.c); of a
			  program: of what it gave */
	uint64_t digest;
	bool program;
	const struct slm_result *given; /* of a program, at its end; NULL:
					   nothing is known */
};

struct slm_results {
	uint32_t members;
	uint32_t failed;
	uint32_t aborted;
	struct slm_call_result calls[SLM_CALLS_MAX];
};

/* ---- The object ------------------------------------------------------- */

/* One serial order. run is a copy of our own. */
struct slm_serial {
	const char *order;
	struct slm_run run;
	struct slm_results results;
	uint64_t contents;
	uint32_t effects; /* variable steps that took effect */
};

/* What the serial runs of the same calls have in common. */
struct slm_group {
	uint32_t members;
	uint32_t most_ok;      /* calls that succeeded, at most */
	uint32_t most_effects; /* variable steps that took effect, at most */
	bool *variable;	       /* by slm_oracle.first_step: a step that takes
				  effect in some serial runs only */
};

struct slm_oracle {
	struct slm_oracle_config config;
	struct slm_arena keep;	  /* serial runs, masks' names, notes */
	struct slm_arena scratch; /* one call's work */
	uint32_t first_step[SLM_CALLS_MAX + 1]; /* steps numbered through */
	bool *control;	   /* by first_step: only begins or ends transactions */
	uint64_t *ordered; /* by first_step: mask of the statements whose rows
			      come in an order that they ask for */
	struct slm_serial *serials;
	uint32_t nserials, serials_room;
	struct slm_group *groups;
	uint32_t ngroups, groups_room;
	struct slm_column_mask *column_masks;
	uint32_t ncolumn_masks, column_masks_room;
	struct slm_result_mask *result_masks;
	uint32_t nresult_masks, result_masks_room;
	struct slm_given_mask *given_masks;
	uint32_t ngiven_masks, given_masks_room;
	struct slm_given_key *given_keys;
	uint32_t ngiven_keys, given_keys_room;
	const char **notes; /* about instability */
	uint32_t nnotes, notes_room;
	bool unstable;
};

/* A run as the oracle sees it. Lives in the arena it was made in. */
struct slm_view {
	const struct slm_run *run;
	struct slm_results results;
	struct slm_canonical contents;
};

/* oracle.c */
/* Grows *array of size-byte elements to hold one more; false: no memory. */
bool slm_oracle_grow(void *array, uint32_t count, uint32_t *room, size_t size);
const struct slm_group *slm_oracle_group(const struct slm_oracle *oracle,
					 uint32_t members);
/* Looks at run; false: no memory. */
bool slm_oracle_view(const struct slm_oracle *oracle, const struct slm_run *run,
		     struct slm_arena *arena, struct slm_view *out);

/* copy.c: deep copies; false or NULL: no memory. */
bool slm_copy_run(struct slm_arena *arena, const struct slm_run *run,
		  struct slm_run *out);
bool slm_copy_rows(struct slm_arena *arena, const struct slm_rows *rows,
		   uint32_t most, struct slm_rows *out);
bool slm_copy_value(struct slm_arena *arena, const struct slm_value *value,
		    uint32_t most, struct slm_value *out);
const char *const *slm_copy_names(struct slm_arena *arena,
				  const char *const *names, uint32_t count);

/* canonical.c */
uint64_t slm_canonical_value(const struct slm_value *value);
bool slm_canonical_make(const struct slm_oracle *oracle,
			const struct slm_contents *contents,
			struct slm_arena *arena, struct slm_canonical *out);
/* Is the value of this cell left out of the comparison? */
bool slm_canonical_hidden(const struct slm_canonical_table *table, uint64_t row,
			  uint32_t column);
/* How many cells of a column are NULL. */
uint64_t slm_canonical_nulls(const struct slm_canonical_table *table,
			     uint32_t column);
/* Digest of one column as a multiset, keys and references left out. */
uint64_t slm_canonical_column(const struct slm_canonical_table *table,
			      uint32_t column);
/* Are two rows equal but for their own keys and the rows that refer to them? */
bool slm_canonical_alike(const struct slm_canonical *contents,
			 const struct slm_canonical_table *table, uint64_t a,
			 uint64_t b);
bool slm_canonical_generated(const struct slm_contents_table *table,
			     uint64_t row);

/* order.c: rows in canonical order, and numbers for the generated ones. */
struct slm_order {
	uint64_t *rows;	  /* row numbers in canonical order */
	uint32_t *number; /* per row: 1.. for generated rows, else 0 */
};
/* One per table, in the arena; NULL: no memory. */
struct slm_order *slm_order_make(const struct slm_canonical *contents,
				 struct slm_arena *arena);
/* The cell as it is shown; labels are allocated in arena. false: no memory. */
bool slm_order_cell(const struct slm_canonical *contents,
		    const struct slm_order *orders, uint32_t table,
		    uint64_t row, uint32_t column, struct slm_arena *arena,
		    struct slm_value *out);

/* results.c */
/* Without digests. */
bool slm_results_make(const struct slm_oracle *oracle,
		      const struct slm_run *run, struct slm_arena *arena,
		      struct slm_results *out);
/* Digests, again after masks have grown; contents are those of the run. */
void slm_results_digest(const struct slm_oracle *oracle,
			struct slm_results *results,
			const struct slm_canonical *contents);
/* The digest of an error by kind and code; NULL: none. */
uint64_t slm_results_error(const struct slm_result *error);
/* What is compared of this column of a result. */
enum slm_hiding slm_results_hiding(const struct slm_oracle *oracle,
				   uint32_t call, uint32_t step,
				   uint32_t statement, uint32_t column);
/* Is a value of a column so hidden left out of the comparison? */
bool slm_results_hides(enum slm_hiding hiding, const struct slm_value *value);
/* Does the order of these rows count? */
bool slm_results_ordered(const struct slm_oracle *oracle, uint32_t call,
			 uint32_t step, uint32_t statement,
			 const struct slm_rows *rows);
/* Digest of rows, as a sequence or as a multiset. */
uint64_t slm_results_rows(const struct slm_oracle *oracle, uint32_t call,
			  uint32_t step, uint32_t statement,
			  const struct slm_rows *rows, bool ordered);
bool slm_results_allowed(const struct slm_oracle *oracle,
			 const struct slm_result *error);

/* given.c: calls that are programs. */
bool slm_given_is_program(const struct slm_oracle *oracle, uint32_t call);

/* How a call that is a program ended. */
struct slm_fate {
	bool ended, ok;
	bool aborted;			/* by the database */
	const struct slm_result *given; /* NULL: nothing is known */
	const struct slm_result *error; /* !ok: why. Never NULL */
	uint32_t step;			/* of the error; SLM_STEP_NONE: none */
};
/* From the events alone: nothing is allocated. */
void slm_given_fate(const struct slm_oracle *oracle, const struct slm_run *run,
		    uint32_t call, struct slm_fate *out);
/* Is it an answer HTTP 4xx? It tells the caller that the call was refused. */
bool slm_given_declares(const struct slm_result *error);

/* The first row of a result of at least one; its columns are the parts. */
uint32_t slm_given_parts(const struct slm_result *given);
/* How many parts, the first ones, say how the call ended: 1; or 0 of a function
 * whose value says by itself what it returned. These are no key, and never
 * masked. */
uint32_t slm_given_status_parts(const struct slm_result *given);
/* The number of the part of that name, or the number of parts. */
uint32_t slm_given_find(const struct slm_result *given, const char *name);
enum slm_hiding slm_given_hiding(const struct slm_oracle *oracle, uint32_t call,
				 const char *name);
/* Digest of one part as far as it is compared. */
uint64_t slm_given_part(const struct slm_oracle *oracle, uint32_t call,
			const struct slm_result *given, uint32_t part,
			const struct slm_canonical *contents);
/* Of all parts, their names included; NULL is fine. */
uint64_t slm_given_digest(const struct slm_oracle *oracle, uint32_t call,
			  const struct slm_result *given,
			  const struct slm_canonical *contents);
/* The part as it is to be shown: masked, or a key by its meaning, if it is one;
 * orders may be NULL. Labels are allocated in arena. false: no memory. */
bool slm_given_value(const struct slm_oracle *oracle, uint32_t call,
		     const struct slm_result *given, uint32_t part,
		     const struct slm_canonical *contents,
		     const struct slm_order *orders, struct slm_arena *arena,
		     struct slm_value *out);
/* Learns from a serial run which numbers are keys. *changed is set if digests
 * made before no longer hold. false: no memory. */
bool slm_given_learn_keys(struct slm_oracle *oracle,
			  const struct slm_view *view, bool *changed);

/* masks.c: what differs between two runs of one order is masked; what cannot
 * be is noted. *grown is set if a mask was added. false: no memory. */
bool slm_masks_learn(struct slm_oracle *oracle, const char *order,
		     const struct slm_run *first, const struct slm_run *again,
		     bool *grown);

/* judge.c */
enum slm_class slm_judge_class(const struct slm_oracle *oracle,
			       const struct slm_group *group,
			       const struct slm_view *view);
uint64_t slm_judge_outcome(enum slm_class class, const struct slm_view *view);
/* Is nothing wrong but that the results fit no single serial order? */
bool slm_judge_joint(const struct slm_oracle *oracle,
		     const struct slm_group *group,
		     const struct slm_view *view);
/* Does the call fail with this error's code in some serial run of members? With
 * members 0: in some serial run that it takes part in. */
bool slm_judge_fails_alike(const struct slm_oracle *oracle, uint32_t members,
			   uint32_t call, const struct slm_result *error);
/* Brings group up to date with the serial runs. */
void slm_judge_group(struct slm_oracle *oracle, struct slm_group *group);

/* show.c: words for people. */
void slm_show_value(struct slm_buf *buf, const struct slm_value *value);
void slm_show_error(struct slm_buf *buf, const struct slm_result *error);
void slm_show_taken(const struct slm_oracle *oracle, struct slm_buf *buf,
		    uint32_t call, const struct slm_taken *taken);
/* "ok", "ok, step pay skipped" or the error; of a program "exit 0 'done'",
 * "HTTP 409: sold out". contents and orders are those of the run. */
void slm_show_call(const struct slm_oracle *oracle, struct slm_buf *buf,
		   uint32_t call, const struct slm_call_result *result,
		   const struct slm_canonical *contents,
		   const struct slm_order *orders, struct slm_arena *arena);
/* The error of a program beside its status: "40001: could not ...", what it
 * wrote to standard error; "" if there is nothing more to say. */
void slm_show_reason(struct slm_buf *buf, const struct slm_call_result *result);
/* Moves the text of buf into the arena and empties buf; NULL: no memory. */
const char *slm_show_take(struct slm_buf *buf, struct slm_arena *arena);

/* outcome.c: differs, when not NULL, has per table and row what to keep
 * first. false: no memory. */
bool slm_outcome_make(const struct slm_oracle *oracle,
		      const struct slm_view *view,
		      const struct slm_order *orders, bool *const *differs,
		      struct slm_arena *arena, struct slm_outcome *out);

/* access.c: what each step that was taken read and wrote, and when others could
 * see it. Tables are bits, numbered by the tables' names. */
#define SLM_ACCESS_TABLES_MAX 64

struct slm_access {
	uint32_t call;
	uint32_t step;
	uint32_t event;	  /* when: index in the run's events */
	uint32_t visible; /* index of the event that committed it; UINT32_MAX:
			     never */
	uint32_t transaction; /* of the call, from 1; each statement outside a
				 transaction has its own */
	bool certain;	      /* transaction is known, not guessed */
	bool deferred;	      /* in a transaction that a plain BEGIN began */
	uint64_t reads;
	uint64_t writes; /* only where a row was changed, and not undone */
	const struct slm_taken *taken;
	const char *sql;  /* with the parameters in it */
	const char *name; /* of the step */
};

struct slm_accesses {
	struct slm_access *list; /* in the order of events */
	uint32_t count;
	const char *tables[SLM_ACCESS_TABLES_MAX];
	uint32_t ntables;
};

bool slm_access_make(const struct slm_oracle *oracle,
		     const struct slm_view *view, struct slm_arena *arena,
		     struct slm_accesses *out);

/* The text of the statement at an event, with the parameters in it; NULL: no
 * memory. */
const char *slm_access_sql(const struct slm_oracle *oracle,
			   const struct slm_run *run, uint32_t event,
			   struct slm_arena *arena);

/* anomaly.c: fills in name and cause where certain. false: no memory. */
bool slm_anomaly_name(const struct slm_oracle *oracle,
		      const struct slm_group *group,
		      const struct slm_view *view, struct slm_arena *scratch,
		      struct slm_arena *arena, struct slm_finding *out);

#endif
