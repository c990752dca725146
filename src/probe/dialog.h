/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client and a server say to each other on one connection, as a
 * passive state machine: bytes of both sides go in, bytes for both sides come
 * out, and each statement on its way is a step that can be held. No sockets,
 * no clock, no SQL of its own beyond what slm_pg_step tells.
 *
 * Begins with the first message behind the startup packet: authentication is
 * passed through. In TRACK mode nothing is held and nothing is changed: the
 * bytes of both sides leave as they came, steps and results are reported. In
 * HOLD mode a step is reported by arrived() and waits for slm_dialog_grant().
 * The mode may be changed at any time; what is held stays held.
 *
 * The client must not see any difference (DESIGN, Commit splitting):
 * - A Query in autocommit that is granted with `split` is sent behind a BEGIN
 *   of its own, and its CommandComplete and ReadyForQuery are kept back; then
 *   a step COMMIT arrives. A Query of several statements is sent statement by
 *   statement, each a step, in one transaction; an error ends it. Where the
 *   parts may not be taken apart (transaction control anywhere but BEGIN first
 *   and COMMIT or ROLLBACK last, what may not be wrapped, what does not parse,
 *   texts that are cut) it is one step and is not split.
 * - Extended protocol: Parse, Bind, Describe and Close are kept until an
 *   Execute, Sync or Flush comes. Execute is the step; they are sent with it,
 *   behind its grant, since Bind takes the snapshot of a query and Parse takes
 *   locks; their error is the step's. An Execute that goes on with a portal
 *   that was suspended is a step of its own. A Flush of ours behind the Execute
 *   brings the answers; or the client's Sync, if it is there already and no
 *   step, behind queries, DML and transaction control. Outside of a transaction
 *   the Sync commits, so that a Sync behind Executes that were granted with
 *   `split` is the step COMMIT. What the client has not asked for by Sync or
 *   Flush is kept back as the server would (up to 8 kB, or a notice or error).
 *   Parse alone takes the snapshot of a transaction, too, if nothing has yet
 *   (analysing a query needs one): in one at REPEATABLE READ or SERIALIZABLE
 *   it is a step, PREPARE.
 *   Executes of an error's wake are passed over by the server up to the Sync:
 *   they are no steps.
 * - BEGIN, COMMIT ... are steps like others; `parsed` says what they are.
 * - What is injected (slm_dialog_inject) is not seen by the client.
 */
#ifndef SLM_PROBE_DIALOG_H
#define SLM_PROBE_DIALOG_H

#include <sqloom/sqloom.h>

#include "base/arena.h"
#include "pgwire/pgwire.h"
#include "sql/pg_statement.h"
#include "trace/trace.h"

#define SLM_DIALOG_SQL_MAX (1024 * 1024) /* longer texts are cut */
#define SLM_DIALOG_NAMES_MAX 10000	 /* prepared statements and portals */
#define SLM_DIALOG_PIPELINE_MAX 10000	 /* messages without an answer yet */

enum slm_dialog_mode {
	SLM_DIALOG_TRACK,
	SLM_DIALOG_HOLD,
	/* As TRACK, but no step is reported: read(), arrived(), results() and
	 * done() are not called. The cheapest; names are still kept, so that
	 * the mode can be changed. */
	SLM_DIALOG_PASS,
};

enum slm_dialog_kind {
	SLM_DIALOG_STATEMENT, /* of a Query message */
	SLM_DIALOG_EXECUTE,   /* of the extended protocol */
	SLM_DIALOG_COMMIT,    /* of what was split: a step of sqloom's */
	SLM_DIALOG_FUNCTION,  /* FunctionCall */
	/* Parse, without an Execute, where it takes the snapshot that a whole
	 * transaction sees */
	SLM_DIALOG_PREPARE,
};

/* A step. Borrowed until it is done. */
struct slm_dialog_step {
	enum slm_dialog_kind kind;
	const char *sql; /* NUL-terminated; "COMMIT"; FUNCTION: "" */
	size_t sql_size;
	bool cut;			  /* only the beginning of it */
	const struct slm_pg_step *parsed; /* as read() said; COMMIT: NULL */
	/* "$1 = 5, $2 = 'x', $3 = NULL" (binary values by type where it is
	 * known, else in hex; long ones cut); "": none */
	const char *params;
	char status;   /* of the transaction before it: 'I', 'T', 'E'; inside of
			what was split 'T' */
	bool in_split; /* inside of what was split: 'T' by our doing */
	bool snapshot; /* its transaction has taken one before */
	bool may_split; /* COMMIT step could follow: status is 'I' or
			   in_split */
	/* The text of the Query in autocommit that it is a part of; NULL. */
	const char *query;
	size_t query_size;
};

struct slm_dialog;

/* All are called from within slm_dialog_client/server/grant/..., never after
 * slm_dialog_free(); they must not call the dialog, except where said. */
struct slm_dialog_ops {
	void (*to_server)(void *userdata, const void *bytes, size_t size);
	void (*to_client)(void *userdata, const void *bytes, size_t size);
	/* What a text is; kept by the surroundings as long as the dialog
	 * lives, with a copy of the text that begin and end of its statements
	 * point into. Never NULL. Of a text that is cut, "..." is asked. */
	const struct slm_pg_step *(*read)(void *userdata, const char *sql,
					  size_t size);
	/* HOLD: it waits for a grant, which may be given within. TRACK: it has
	 * been passed on. */
	void (*arrived)(void *userdata, const struct slm_dialog_step *step);
	/* Where results are to be built; NULL: they are not wanted. */
	struct slm_arena *(*results)(void *userdata);
	/* The step has its answer. result (in that arena, or NULL) is a chain
	 * as of struct slm_result; status: of the transaction now. The client
	 * may not have seen it yet: a split one's end comes with its COMMIT.
	 * An error of the COMMIT is the result of the COMMIT step. */
	void (*done)(void *userdata, const struct slm_dialog_step *step,
		     const struct slm_result *result, char status);
	/* A ReadyForQuery: between two, nothing may be injected but by
	 * slm_dialog_grant(). First one: the session is open. */
	void (*idle)(void *userdata, char status);
	/* What slm_dialog_inject() sent was answered; error: NULL or the
	 * SQLSTATE. */
	void (*injected)(void *userdata, const char *error);
};

enum sqloom_status slm_dialog_new(const struct slm_dialog_ops *ops,
				  void *userdata, struct slm_dialog **out,
				  struct sqloom_error *err);
/* free(NULL) is fine. */
void slm_dialog_free(struct slm_dialog *dialog);

void slm_dialog_set_mode(struct slm_dialog *dialog, enum slm_dialog_mode mode);
/* The session's transactions see one snapshot each unless they say otherwise:
 * their level is REPEATABLE READ or SERIALIZABLE. Outside of a transaction. */
void slm_dialog_set_repeatable(struct slm_dialog *dialog);

/*
 * Bytes of the client: as many as can be passed on now, returned in *used. The
 * others are to be offered again, together with what follows, after the next
 * bytes of the client, of the server, or a grant. *need: bytes that must be
 * there before any more can be used (never more than SLM_DIALOG_SQL_MAX plus a
 * header); 0: it waits for a grant or for the server, so reading may stop.
 * SQLOOM_DATABASE: no PostgreSQL protocol, or more than the limits: the
 * connection must be closed, err says why. SQLOOM_NOMEM.
 */
enum sqloom_status slm_dialog_client(struct slm_dialog *dialog,
				     const void *bytes, size_t size,
				     size_t *used, size_t *need,
				     struct sqloom_error *err);
/* The same for bytes of the server; it is never held, so need is 0 only when
 * all were used. */
enum sqloom_status slm_dialog_server(struct slm_dialog *dialog,
				     const void *bytes, size_t size,
				     size_t *used, size_t *need,
				     struct sqloom_error *err);

/* The step that arrived goes on. split: with a COMMIT step of its own; only if
 * may_split (else it is passed over); of the parts of a Query one is enough.
 * before (may be NULL; copied): one statement that is executed before it,
 * unseen, on the same connection ("SET deadlock_timeout = 1"); it must be one
 * that cannot fail. Outside of arrived() the client's bytes must be offered
 * again afterwards, also when there are no more than before. */
enum sqloom_status slm_dialog_grant(struct slm_dialog *dialog, bool split,
				    const char *before,
				    struct sqloom_error *err);

/* Executes sql unseen, between two messages of the client: only while idle
 * with no step and nothing under way (else false). If it is one statement, the
 * client's unnamed prepared statement survives it. */
bool slm_dialog_inject(struct slm_dialog *dialog, const char *sql);

/* The step that is held or under way; NULL: none. */
const struct slm_dialog_step *slm_dialog_step(const struct slm_dialog *dialog);
/* Is it under way: granted, and not done? */
bool slm_dialog_under_way(const struct slm_dialog *dialog);
/* The last known transaction status: 'I', 'T', 'E'; 0: not open yet. 'T' while
 * a split one waits for its COMMIT. */
char slm_dialog_status(const struct slm_dialog *dialog);
/* Does nothing wait: no message without an answer, nothing kept back? */
bool slm_dialog_is_idle(const struct slm_dialog *dialog);
/* Is it the client's turn: does nothing go on before it says more? It may be in
 * the middle of a pipeline, with a portal suspended or answers that it has not
 * asked for. */
bool slm_dialog_is_quiet(const struct slm_dialog *dialog);
/* Of BackendKeyData; 0: not known yet. */
uint32_t slm_dialog_pid(const struct slm_dialog *dialog);

#endif
