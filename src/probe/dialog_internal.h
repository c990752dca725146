/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the dialog share. Not for others.
 *
 * The heart is a queue of what the server has been sent and not answered yet
 * (expectations). Every answer belongs to its front; what is sqloom's own there
 * is swallowed. A statement is known by name from its Parse on, a portal from
 * its Bind on; both are counted references, because an expectation may outlive
 * the name.
 */
#ifndef SLM_PROBE_DIALOG_INTERNAL_H
#define SLM_PROBE_DIALOG_INTERNAL_H

#include "base/buf.h"
#include "probe/dialog.h"

#define DIALOG_OWN_NAME "sqloom_b"	/* of our statement and portal */
#define DIALOG_SERVER_BUFFER 8192	/* what the server keeps unasked */
#define DIALOG_COLUMNS_MAX (256 * 1024) /* of a RowDescription, to be decoded */
#define DIALOG_ROW_MAX (64 * 1024)	/* of a DataRow, to be decoded */
#define DIALOG_ERROR_MAX (64 * 1024)	/* of an ErrorResponse, likewise */
#define DIALOG_BOUND_MAX 8192		/* bytes of parameters that are kept */
#define DIALOG_TEXTS_MAX (16 * 1024 * 1024) /* of all prepared statements */
#define DIALOG_TEXT_SHORT 1000		    /* kept of each beyond that */
#define DIALOG_TOGETHER_MAX (32 * 1024)	    /* copied, to be sent in one go */
#define DIALOG_SPARE_MAX 16		    /* portals kept for reuse */
#define DIALOG_UNREADABLE "..."		    /* SQL that no parser accepts */

/* ---- Names: dialog_names.c --------------------------------------------- */

struct dialog_object {
	unsigned refs;
	uint64_t hash;
	struct slm_buf name;
};

struct dialog_statement {
	struct dialog_object object; /* first */
	struct slm_buf sql;
	bool cut;
	const struct slm_pg_step *parsed; /* NULL: not asked yet */
	struct slm_buf types;	/* of its parameters, as on the wire */
	struct slm_buf columns; /* body of its RowDescription; "": unknown */
	size_t counted;		/* of dialog.texts */
};

struct dialog_portal {
	struct dialog_object object;	    /* first */
	struct dialog_statement *statement; /* referenced */
	/* As in the Bind. params may hold less than nparams. */
	struct slm_buf params, formats, result_formats;
	unsigned nparams;
	bool cut;
	struct slm_buf columns; /* body of its RowDescription; "": unknown */
	struct dialog_portal *next; /* in the list of spare ones */
};

struct dialog_names {
	struct dialog_object **slots; /* open addressing; owned */
	size_t capacity;	      /* power of two, or 0 */
	size_t used;		      /* slots that are not NULL */
	size_t count;		      /* objects */
};

struct dialog_object *slm_dialog_names_find(const struct dialog_names *names,
					    const char *name);
/* Takes over one reference. *former (may be NULL) receives what had the name,
 * with its reference. */
bool slm_dialog_names_put(struct dialog_names *names,
			  struct dialog_object *object,
			  struct dialog_object **former);
/* Gives out the reference; NULL: there is none. */
struct dialog_object *slm_dialog_names_remove(struct dialog_names *names,
					      const char *name);
/* Any one; NULL: it is empty. */
struct dialog_object *slm_dialog_names_pop(struct dialog_names *names);
void slm_dialog_names_deinit(struct dialog_names *names);

bool slm_dialog_object_name(struct dialog_object *object, const char *name);

struct dialog_statement *slm_dialog_statement_new(struct slm_dialog *dialog,
						  const char *name,
						  const char *sql, size_t size,
						  bool cut);
void slm_dialog_statement_unref(struct slm_dialog *dialog,
				struct dialog_statement *statement);
struct dialog_portal *slm_dialog_portal_new(struct slm_dialog *dialog,
					    const char *name);
void slm_dialog_portal_unref(struct slm_dialog *dialog,
			     struct dialog_portal *portal);
struct dialog_statement *slm_dialog_statement_find(
	const struct slm_dialog *dialog, const char *name);
struct dialog_portal *slm_dialog_portal_find(const struct slm_dialog *dialog,
					     const char *name);
void slm_dialog_free_spare(struct slm_dialog *dialog);
void slm_dialog_forget_portals(struct slm_dialog *dialog);
void slm_dialog_forget_statements(struct slm_dialog *dialog);
void slm_dialog_forget(struct slm_dialog *dialog, char kind, const char *name);

/* ---- The queue: dialog_queue.c ----------------------------------------- */

enum expect_kind {
	EXPECT_PARSE,
	EXPECT_BIND,
	EXPECT_DESCRIBE,
	EXPECT_EXECUTE,
	EXPECT_CLOSE,
	/* These end with a ReadyForQuery: */
	EXPECT_QUERY,
	EXPECT_FUNCTION,
	EXPECT_SYNC,
};

enum expect_owner {
	OF_CLIENT,
	OF_BEFORE, /* slm_dialog_grant's before */
	OF_BEGIN,
	OF_COMMIT,
	OF_ROLLBACK,
	OF_INJECT,
};

struct expect {
	enum expect_kind kind;
	enum expect_owner owner;
	bool reported; /* a step: it will be one at the front of the queue */
	bool arrived;  /* it is the dialog's step */
	bool in_copy;  /* Sync in the middle of a COPY: likely to be ignored */
	bool copy_ended; /* a CopyDone was sent behind it, unasked; Sync: the
			    same, of the statement before it */
	bool cut;
	struct dialog_statement *statement; /* Parse, Describe */
	struct dialog_statement *former;    /* Parse, Close, Query: had it */
	struct dialog_portal *portal;	    /* Describe, Execute */
	struct slm_buf text;		    /* Query in TRACK mode */
};

struct dialog_queue {
	struct expect *ring; /* owned; texts keep their memory */
	size_t capacity;     /* power of two, or 0 */
	size_t first, count;
};

/* i-th, from the front; must be there. */
struct expect *slm_dialog_expect_at(const struct slm_dialog *dialog, size_t i);
/* At the end. NULL: no memory, or too many (dialog->failure says so). */
struct expect *slm_dialog_expect(struct slm_dialog *dialog,
				 enum expect_kind kind,
				 enum expect_owner owner);
struct expect *slm_dialog_expect_first(struct slm_dialog *dialog,
				       enum expect_kind kind,
				       enum expect_owner owner);
void slm_dialog_expect_pop(struct slm_dialog *dialog);
void slm_dialog_queue_deinit(struct slm_dialog *dialog);
/* The front, if it has been sent; else NULL. */
struct expect *slm_dialog_head(const struct slm_dialog *dialog);
/* How many have been sent. */
size_t slm_dialog_sent(const struct slm_dialog *dialog);
/* The server passes over what follows, up to the Sync: drops it, and puts the
 * names back. */
void slm_dialog_skip(struct slm_dialog *dialog);
/* The last Query or Execute; NULL: none. */
struct expect *slm_dialog_last_statement(const struct slm_dialog *dialog);
/* A ReadyForQuery answers: the index of what; count of them: nothing. */
size_t slm_dialog_expect_ready(const struct slm_dialog *dialog);

/* ---- Results: result.c, result_value.c --------------------------------- */

/* Builds the chain of results of one step. All NULL: not wanted. */
struct dialog_result {
	struct slm_arena *arena;
	struct slm_result *first, *last;
	const struct slm_pg_step *parsed; /* of the step, or of its Query */
	size_t statement;		  /* in parsed: the next one's index */
	bool nomem;
	/* The one that is being built */
	bool open; /* rows may come */
	uint32_t ncolumns;
	const char **names;
	uint32_t *types;
	uint16_t *formats;
	struct slm_value *values;
	uint64_t nrows, kept, capacity;
	uint64_t sum,
		sequence; /* digests of the rows, any order and in order */
};

void slm_dialog_result_begin(struct dialog_result *result,
			     struct slm_arena *arena,
			     const struct slm_pg_step *parsed,
			     size_t statement);
/* body: of a RowDescription. formats: those of the Bind, as on the wire, which
 * count instead of those of the description; NULL: none. */
void slm_dialog_result_columns(struct dialog_result *result, const void *body,
			       size_t size, const struct slm_buf *formats);
/* Nobody described the columns: as many as the first row has. */
void slm_dialog_result_undescribed(struct dialog_result *result,
				   const struct slm_buf *formats);
void slm_dialog_result_row(struct dialog_result *result,
			   const struct slm_wire_message *m);
/* tag NULL: none (EmptyQueryResponse, PortalSuspended). */
void slm_dialog_result_complete(struct dialog_result *result, const char *tag);
void slm_dialog_result_error(struct dialog_result *result,
			     const struct slm_wire_error *error);

/* Of PostgreSQL's numbers of types, binary or text, as text that a person can
 * read, or as sqloom's value. format: 0 text, 1 binary. */
bool slm_dialog_value(uint32_t type, unsigned format, const void *bytes,
		      uint32_t size, struct slm_arena *arena,
		      struct slm_value *out);
/* Appends a value as in "5", "'x'", "NULL", cut when it is long. */
void slm_dialog_value_show(uint32_t type, unsigned format, const uint8_t *bytes,
			   uint32_t size, struct slm_buf *out);

/* ---- The dialog -------------------------------------------------------- */

enum step_state {
	STEP_NONE,
	STEP_HELD,	/* arrived, waits for a grant */
	STEP_GRANTED,	/* its message is still the client's */
	STEP_UNDER_WAY, /* sent */
};

/* A Query of the client's that is not sent as it is. */
struct dialog_plan {
	bool active;
	bool wrapped;	     /* in a transaction of ours */
	bool commits;	     /* with a step COMMIT */
	bool failed;	     /* a part did */
	bool rolled_back;    /* our ROLLBACK is answered, but for its end */
	unsigned strays;     /* Syncs that a COPY did not live to ignore */
	size_t part, nparts; /* nparts 0: the message as it is */
	const struct slm_pg_step *parsed;
	struct slm_buf text;   /* of the Query, if there are parts */
	size_t offset;	       /* characters before this part */
	struct slm_buf answer; /* CommandComplete and what came behind it */
	size_t complete;       /* bytes of the CommandComplete in there */
};

struct slm_dialog {
	struct slm_dialog_ops ops;
	void *userdata;
	enum slm_dialog_mode mode;
	enum sqloom_status failure; /* sticky: NOMEM, LIMIT */
	bool open;		    /* the first ReadyForQuery came */
	char status;
	uint32_t pid;
	/* A text may be taken apart if we understand it as the server does: */
	bool plain_strings;   /* standard_conforming_strings */
	bool unsafe_encoding; /* not all ASCII bytes are characters */
	bool multibyte;	      /* UTF-8: several bytes may be one character */

	struct dialog_queue queue;
	size_t batched;	      /* at its end, that have not been sent yet */
	struct slm_buf batch; /* their messages */
	bool batch_binds;     /* there is a Bind among them */
	struct dialog_names statements, portals;
	struct dialog_portal *spare;
	unsigned nspare;
	size_t texts; /* bytes of SQL of all prepared statements */

	/* What has been sent since the last Sync or Query: */
	bool unsynced;	  /* anything of the extended protocol */
	bool pipeline;	  /* a Bind or Execute: a Sync of ours would matter */
	bool unflushed;	  /* that the server need not answer yet */
	bool uncommitted; /* an Execute that was split */
	bool skipping;	  /* after an error: the server ignores it */
	bool copy_in;	  /* it waits for CopyData */
	bool flush_after; /* of the CopyDone that is being passed on */
	bool sync_behind; /* the client's next message is there: a Sync */
	bool sync_sent;	  /* it went with the Execute before it */

	bool repeatable;	 /* its transaction sees one snapshot, */
	bool session_repeatable; /* as those do that do not say otherwise, */
	bool snapshot;		 /* which it has taken */

	enum step_state state;
	bool held_here; /* HELD: nothing of the client's is needed to send it */
	bool controlled; /* it was held: nothing passes it */
	struct slm_dialog_step step;
	struct dialog_portal *step_portal; /* referenced */
	struct slm_buf text, params, before;
	bool split; /* as granted */
	struct dialog_result result;
	struct dialog_plan plan;

	/* Answers that came because of a Flush of ours, until the client asks
	 * for them. */
	bool early;
	struct slm_buf kept;

	struct slm_buf out;   /* messages of ours, being put together */
	struct slm_buf moved; /* an error with another place in it */
	char injected[6];     /* SQLSTATE; "": none */

	/* The message that is passed on in pieces */
	uint32_t client_rest, server_rest;
	int server_fate; /* enum dialog_fate */
	/* What is to be passed on in one go */
	const uint8_t *client_run, *client_end, *server_run, *server_end;
};

/* ---- dialog_step.c ----------------------------------------------------- */

/* Makes the step of a Query (text of size bytes) or Execute and reports it. */
void slm_dialog_step_query(struct slm_dialog *dialog, const char *sql,
			   size_t size, bool cut);
/* portal NULL: nobody knows it; name: what it is called. */
void slm_dialog_step_execute(struct slm_dialog *dialog,
			     struct dialog_portal *portal, const char *name);
void slm_dialog_step_function(struct slm_dialog *dialog);
/* In the batch: what takes the snapshot of the transaction; NULL: nothing. */
const struct dialog_statement *slm_dialog_prepares(struct slm_dialog *dialog);
void slm_dialog_step_prepare(struct slm_dialog *dialog,
			     const struct dialog_statement *statement);
/* Prepares the plan of a Query that is held: is it to be taken apart? */
bool slm_dialog_plan(struct slm_dialog *dialog);
void slm_dialog_step_part(struct slm_dialog *dialog);
void slm_dialog_step_commit(struct slm_dialog *dialog);
/* It waits, or is under way: tells the surroundings. */
void slm_dialog_arrive(struct slm_dialog *dialog, bool held);
/* It is done; dialog->status is right already. */
void slm_dialog_finish(struct slm_dialog *dialog);
/* The front of the queue has changed: in TRACK mode it may be a step. */
void slm_dialog_settle(struct slm_dialog *dialog);
void slm_dialog_become_step(struct slm_dialog *dialog, struct expect *expect);
const struct slm_pg_step *slm_dialog_read(struct slm_dialog *dialog,
					  const char *sql, size_t size,
					  bool cut);

/* ---- dialog_extended.c ------------------------------------------------- */

/* What becomes of a message of the client's. */
enum dialog_verdict {
	PASS,  /* all that is there of it, and what follows */
	TAKEN, /* it has been dealt with */
	WAIT,
	MORE, /* more of it is needed */
};

bool slm_dialog_holds(const struct slm_dialog *dialog);
/* Bytes of the body that must be there to understand it: are they? */
bool slm_dialog_is_there(const struct slm_wire_message *m, size_t *need);
/* Only its beginning is looked at. */
bool slm_dialog_is_cut(const struct slm_wire_message *m);
enum dialog_verdict slm_dialog_too_long(struct slm_dialog *dialog);
/* Up to the NUL, or to the end of what is looked at. */
const char *slm_dialog_text_at(const struct slm_wire_message *m, size_t offset,
			       size_t *size);
void slm_dialog_send_batch(struct slm_dialog *dialog);
enum dialog_verdict slm_dialog_on_parse(struct slm_dialog *dialog,
					const struct slm_wire_message *m,
					size_t *need);
enum dialog_verdict slm_dialog_on_bind(struct slm_dialog *dialog,
				       const struct slm_wire_message *m,
				       size_t *need);
/* Describe and Close */
enum dialog_verdict slm_dialog_on_target(struct slm_dialog *dialog,
					 const struct slm_wire_message *m,
					 size_t *need);

/* ---- dialog_send.c ----------------------------------------------------- */

void slm_dialog_flush_client(struct slm_dialog *dialog);
/* Sends dialog->out and empties it. */
void slm_dialog_send(struct slm_dialog *dialog);
/* The batch into dialog->out; its expectations count as sent. */
void slm_dialog_put_batch(struct slm_dialog *dialog);
/* Own messages into dialog->out, with their expectations. */
void slm_dialog_put_query(struct slm_dialog *dialog, enum expect_owner owner,
			  const char *sql);
void slm_dialog_put_flush(struct slm_dialog *dialog);
void slm_dialog_put_before(struct slm_dialog *dialog, bool extended);
void slm_dialog_put_extended(struct slm_dialog *dialog, enum expect_owner owner,
			     const char *sql, bool sync, bool first);
/* What needs nothing of the client's: a part, COMMIT, a Sync. */
void slm_dialog_send_part(struct slm_dialog *dialog);
void slm_dialog_send_commit(struct slm_dialog *dialog);
void slm_dialog_send_rollback(struct slm_dialog *dialog);
void slm_dialog_send_sync(struct slm_dialog *dialog);
/* Nothing that was sent lacks an answer. If not, asks for it. */
bool slm_dialog_answered(struct slm_dialog *dialog);

/* ---- dialog_error.c ---------------------------------------------------- */

/* What becomes of a message of the server's. */
enum dialog_fate {
	GIVE,
	GIVE_NOW, /* with what was kept back */
	ASIDE,
	DROP,
};

enum dialog_fate slm_dialog_on_error(struct slm_dialog *dialog,
				     const struct slm_wire_message *m);
enum dialog_fate slm_dialog_on_notice(struct slm_dialog *dialog,
				      const struct slm_wire_message *m);

/* ---- dialog_server.c --------------------------------------------------- */

void slm_dialog_flush_server(struct slm_dialog *dialog);
/* Gives the client bytes that are not in the run. */
void slm_dialog_give(struct slm_dialog *dialog, const void *bytes, size_t size);
/* Gives it what was kept back. */
void slm_dialog_give_now(struct slm_dialog *dialog);
/* The same, because it has asked. */
void slm_dialog_give_kept(struct slm_dialog *dialog);

enum sqloom_status slm_dialog_failure(const struct slm_dialog *dialog,
				      struct sqloom_error *err);
void slm_dialog_nomem(struct slm_dialog *dialog);

#endif
