/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small PostgreSQL server without tables: the messages, the states of a
 * transaction, pipelines, COPY and errors as the real one has them, and
 * answers that follow from the SQL alone. So one that is asked through a dialog
 * must, in the end, have said to the client what one says that is asked
 * directly.
 *
 * Words in the text of a statement make things happen: "fail" is an error
 * (also in what is copied), "fails" one that tells its place, "crash" a fatal
 * one; "defer" is an error when the transaction commits; "notice" and "notices"
 * are notices likewise, "notify" a notification; "wide" rows have 3,000 bytes.
 * It does not warn of a BEGIN within a transaction, nor of a COMMIT outside.
 */
#ifndef SLM_TESTS_FUZZ_MODEL_H
#define SLM_TESTS_FUZZ_MODEL_H

#include "base/arena.h"
#include "pgwire/pgwire.h"
#include "sql/pg_statement.h"

#define MODEL_NAMES_MAX 16 /* statements, and portals */

struct model_name {
	const char *name; /* NULL: free */
	const char *sql;
	const struct slm_pg_step *step;
	unsigned rows; /* portal: sent */
	bool done;     /* portal: was executed to its end */
};

struct model {
	struct slm_arena arena;
	struct slm_buf in;
	size_t at; /* in `in`: the next message */
	struct slm_buf out;
	size_t sent;   /* bytes of out that the client gets now */
	size_t asked;  /* ... because it asked for them, by Sync or Flush */
	size_t tag_at; /* in out: the last CommandComplete */
	bool dead;     /* the connection is over */
	char status;
	unsigned done; /* statements of an implicit transaction */
	bool deferred, notified;
	bool skip; /* to the Sync */
	enum { MODEL_NO_COPY, MODEL_COPY_QUERY, MODEL_COPY_EXECUTE } copy;
	unsigned copied; /* CopyData messages */
	/* The Query that is being executed */
	const char *text;
	const struct slm_pg_step *step;
	size_t part;
	struct model_name statements[MODEL_NAMES_MAX];
	struct model_name portals[MODEL_NAMES_MAX];
};

void model_init(struct model *model);
void model_deinit(struct model *model);
/* What comes before the first message of the client's. */
void model_start(struct model *model);
void model_feed(struct model *model, const void *bytes, size_t size);
/* Answers one message; false: there is none that is whole. */
bool model_answer(struct model *model);

#endif
