/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of keep.h share: keep.c (life, marks, going back), keep_ask.c
 * (the questions before a restore), keep_schema.c (is the schema as it was?).
 * Nobody else includes this.
 */
#ifndef SLM_DB_KEEP_INTERNAL_H
#define SLM_DB_KEEP_INTERNAL_H

#include "db/keep.h"
#include "db/outside.h"
#include "db/postgres_keep.h"

#define SLM_KEEP_SESSIONS_MAX 256 /* that are ended at a time */

struct slm_keep {
	struct slm_db *base;	 /* owned */
	struct sqloom_spec spec; /* of nothing: there are no calls */
	char *conninfo;
	struct slm_keep_options options;
	Oid database;
	bool marked;	     /* the triggers are there */
	bool may_prepare;    /* the server has prepared transactions */
	bool watches_schema; /* changes of it are noted, too; else it is looked
				at every time */
	bool schema_written; /* it was, perhaps for nothing */
	bool exact;	     /* sequences are read as a whole */
	bool at_sequences;   /* the monitor connection puts them back */
	char *schema;	     /* digest of the schema at the snapshot; owned */
	unsigned notes;	     /* restores since the notes' pages were emptied */
	uint32_t *list;	     /* room for all tables, twice */
	bool *seen;	     /* per table; all false */
};

static inline struct postgres *slm_keep_of(const struct slm_keep *keep)
{
	return (struct postgres *)keep->base;
}

/* ---- keep_ask.c -------------------------------------------------------- */

/* What the server says at the end of a test. The results are owned. */
struct slm_keep_answer {
	PGresult *sessions; /* in a transaction: pid, name, state, SQL */
	PGresult *prepared; /* transactions: name; NULL: not asked */
	PGresult *tables;   /* that were written: oid */
	bool same_schema;   /* as far as it was asked */
};

enum sqloom_status slm_keep_prepare(struct slm_keep *keep,
				    struct sqloom_error *err);
/* Also begins to put sequences back. */
enum sqloom_status slm_keep_ask(struct slm_keep *keep,
				struct slm_keep_answer *answer,
				struct sqloom_error *err);
/* Waits until sequences are put back, if that was begun: until then the
 * monitor connection must not be used. */
enum sqloom_status slm_keep_end_sequences(struct slm_keep *keep,
					  struct sqloom_error *err);
void slm_keep_answer_clear(struct slm_keep_answer *answer);

/* Ends the sessions and prepared transactions of the answer, each with a line
 * in left. */
enum sqloom_status slm_keep_end(struct slm_keep *keep,
				const struct slm_keep_answer *answer,
				struct slm_buf *left, struct sqloom_error *err);

/* ---- keep_schema.c ----------------------------------------------------- */

/* The statement that gives the digest. */
const char *slm_keep_schema_sql(const struct slm_keep *keep);

/* Notes what the schema is now. */
enum sqloom_status slm_keep_schema_note(struct slm_keep *keep,
					struct sqloom_error *err);
/* Is it still that? */
enum sqloom_status slm_keep_schema_ask(struct slm_keep *keep, bool *same,
				       struct sqloom_error *err);
/* The digest differs: *changes (owned by the caller) says what is new, gone,
 * or changed, "" if it is nothing that matters. What is gone is not put back
 * any more. */
enum sqloom_status slm_keep_schema_look(struct slm_keep *keep, char **changes,
					struct sqloom_error *err);

#endif
