/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks: the outermost one is a transaction, those inside of it are savepoints
 * (or nothing, if they are asked to have none). May use what database.h has.
 *
 * - A statement that failed breaks what is behind the last savepoint, on both
 *   kinds of databases: PostgreSQL refuses everything then, and on SQLite we
 *   do, so that a program behaves the same on both.
 * - A block is over when its end was called, whatever became of it; when the
 *   last one is, the handle is as if there had never been any.
 * - The test's own block (sqloom_fixture_begin()) is the outermost on the
 *   stack, and is not in db->depth.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "kit/database.h"

/* Blocks inside of each other. More is a recursion without an end. */
#define BLOCKS_MAX 1000

#define SAVEPOINT_FORMAT "sqloom_%u"
#define NAME_OF(block) ((block)->level)

/* ---- The stack --------------------------------------------------------- */

struct slm_kit_block *slm_kit_push(struct sqloom_db *db,
				   enum slm_kit_block_kind kind)
{
	struct slm_kit_block *block = slm_calloc(1, sizeof(*block));

	if (!block)
		return NULL;
	block->outer = db->innermost;
	block->kind = kind;
	block->id = ++db->last_id;
	block->level = block->outer ? block->outer->level + 1 : 1;
	block->last = db->hooks.last;
	db->innermost = block;
	db->depth++;
	return block;
}

/* Takes the innermost block off the stack. Hooks go to the block around it if
 * keeps, and are dropped if not. */
static void pop(struct sqloom_db *db, bool keeps)
{
	struct slm_kit_block *block = db->innermost;
	struct slm_kit_hook *last = block->last;

	assert(block);
	db->innermost = block->outer;
	if (block == db->test)
		db->test = NULL;
	else
		db->depth--;
	slm_free(block);
	if (!db->innermost) {
		db->broken = db->taken_up = db->rolled_back = false;
		db->ended_by = NULL;
		db->over = SQLOOM_OK;
		*db->reason = '\0';
	}
	if (!keeps)
		slm_kit_hooks_drop(db, last);
}

static bool is_open(const struct sqloom_db *db, uint64_t id)
{
	const struct slm_kit_block *block = db->innermost;

	while (block && block->id != id)
		block = block->outer;
	return block != NULL;
}

void slm_kit_forget(struct sqloom_db *db)
{
	while (db->innermost)
		pop(db, false);
}

enum sqloom_status slm_kit_unwind(struct sqloom_db *db, unsigned depth,
				  struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	while (db->depth > depth) {
		enum sqloom_status ended =
			slm_kit_block_end(db, false, status ? NULL : err);

		if (!status)
			status = ended;
	}
	return status;
}

/* ---- Beginning --------------------------------------------------------- */

void sqloom_atomic_options_init(struct sqloom_atomic_options *options)
{
	if (options)
		memset(options, 0, sizeof(*options));
}

static const char *const levels[] = { "READ UNCOMMITTED", "READ COMMITTED",
				      "REPEATABLE READ", "SERIALIZABLE", NULL };

/* Its canonical name; NULL: there is no such level. */
static const char *find_level(const char *name)
{
	for (size_t i = 0; levels[i]; i++)
		if (strcasecmp(levels[i], name) == 0)
			return levels[i];
	return NULL;
}

static bool holds_write_lock(const struct sqloom_db *db)
{
	return sqlite3_txn_state(db->sqlite, NULL) == SQLITE_TXN_WRITE;
}

/* inside: there is a transaction around the block that is the program's. */
static enum sqloom_status check_options(
	const struct sqloom_db *db, const struct sqloom_atomic_options *options,
	bool inside, struct sqloom_error *err)
{
	if (options->isolation && !find_level(options->isolation))
		return slm_error_set(
			err, SQLOOM_USAGE,
			"there is no isolation level \"%s\": it is "
			"read uncommitted, read committed, "
			"repeatable read or serializable",
			options->isolation);
	if (!inside)
		return SQLOOM_OK;
	if (options->durable)
		return slm_error_set(err, SQLOOM_USAGE,
				     "a durable block was begun inside of %s, "
				     "whose end decides whether it is kept: "
				     "begin it outside",
				     db->depth ? "another block" :
						 "a transaction");
	if (options->isolation)
		return slm_error_set(err, SQLOOM_USAGE,
				     "the isolation level is that of the whole "
				     "transaction: set it on the outermost "
				     "block, not on one inside");
	if (options->immediate && db->sqlite && !holds_write_lock(db))
		return slm_error_set(err, SQLOOM_USAGE,
				     "an immediate block was begun inside of a "
				     "transaction that does not hold the write "
				     "lock: begin the outermost block "
				     "immediate");
	return SQLOOM_OK;
}

static void write_begin(const struct sqloom_db *db,
			const struct sqloom_atomic_options *options,
			struct slm_kit_block *block)
{
	const char *level =
		options->isolation ? find_level(options->isolation) : NULL;

	if (db->sqlite)
		snprintf(block->begin, sizeof(block->begin), "%s",
			 options->immediate ? "BEGIN IMMEDIATE" : "BEGIN");
	else
		snprintf(block->begin, sizeof(block->begin), "BEGIN%s%s",
			 level ? " ISOLATION LEVEL " : "", level ? level : "");
}

/* Tells the database of the block that was pushed. */
static enum sqloom_status open_block(struct sqloom_db *db,
				     struct slm_kit_block *block,
				     struct sqloom_error *err)
{
	switch (block->kind) {
	case SLM_KIT_TRANSACTION:
		return slm_kit_run(db, err, "%s", block->begin);
	case SLM_KIT_SAVEPOINT:
		return slm_kit_run(db, err, "SAVEPOINT " SAVEPOINT_FORMAT,
				   NAME_OF(block));
	case SLM_KIT_PLAIN:
		break;
	}
	return SQLOOM_OK;
}

static enum slm_kit_block_kind kind_of(
	const struct sqloom_db *db, const struct sqloom_atomic_options *options,
	bool taken_up)
{
	if (db->depth && options->no_savepoint)
		return SLM_KIT_PLAIN;
	return db->innermost || taken_up ? SLM_KIT_SAVEPOINT :
					   SLM_KIT_TRANSACTION;
}

enum sqloom_status slm_kit_block_begin(
	struct sqloom_db *db, const struct sqloom_atomic_options *options,
	struct sqloom_error *err)
{
	struct sqloom_atomic_options none;
	struct slm_kit_block *block;
	enum sqloom_status status = slm_kit_ready(db, SQLOOM_DATABASE, err);
	bool taken_up;

	if (status)
		return status;
	sqloom_atomic_options_init(&none);
	if (!options)
		options = &none;
	taken_up = !db->innermost && db->driver->state(db) != SLM_KIT_IDLE;
	status = check_options(db, options, db->depth || taken_up, err);
	if (status)
		return status;
	if (db->depth >= BLOCKS_MAX)
		return slm_error_set(err, SQLOOM_LIMIT,
				     "%d blocks are open inside of each other, "
				     "and there cannot be more: does every "
				     "begin have its end?",
				     BLOCKS_MAX);
	if (db->depth == 0)
		db->failure.set = false;
	block = slm_kit_push(db, kind_of(db, options, taken_up));
	if (!block)
		return slm_error_nomem(err);
	write_begin(db, options, block);
	db->taken_up |= taken_up;
	status = open_block(db, block, err);
	if (!status)
		return status;
	pop(db, true);
	if (db->innermost && db->depth)
		slm_kit_break(db, "SAVEPOINT");
	return status;
}

enum sqloom_status sqloom_atomic_begin(
	struct sqloom_db *db, const struct sqloom_atomic_options *options,
	struct sqloom_error *err)
{
	enum sqloom_status status = slm_kit_enter(db, err);

	if (status)
		return status;
	status = slm_kit_block_begin(db, options, err);
	slm_kit_leave(db);
	return status;
}

/* ---- Ending ------------------------------------------------------------ */

/* The program asked for a commit, and the block must be rolled back. */
static enum sqloom_status tell_rolled_back(const struct sqloom_db *db,
					   struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_DATABASE;

	if (db->broken)
		slm_error_set(err, status,
			      "the block was ended well, but is rolled back: "
			      "it is broken since: %s; begin an inner block "
			      "before what may fail",
			      db->reason);
	else if (db->innermost->mark == SLM_KIT_MARKED_BY_INNER)
		slm_error_set(err, status,
			      "the block was ended well, but is rolled back: a "
			      "block inside of it failed that had no "
			      "savepoint; give that one a savepoint");
	else
		return SQLOOM_OK;
	if (err && db->failure.set)
		memcpy(err->sqlstate, db->failure.code, sizeof(err->sqlstate));
	return status;
}

/*
 * The savepoint of the innermost block is not there any more: the program
 * released it, or rolled back past it, on the handle itself. What there is
 * belongs to the block around it, which must be rolled back then.
 */
static enum sqloom_status savepoint_gone(struct sqloom_db *db,
					 struct sqloom_error *err)
{
	slm_error_set(err, SQLOOM_USAGE,
		      "the savepoint of the block is gone: it was released, "
		      "or rolled back past, on the handle itself (%s); the "
		      "block around it is broken, and must be rolled back",
		      db->failure.text);
	slm_kit_break(db, "the end of a block inside of it");
	return SQLOOM_USAGE;
}

static bool is_gone(const struct sqloom_db *db)
{
	return strcmp(db->failure.code, "3B001") == 0 ||
	       strncmp(db->failure.text, "no such savepoint", 17) == 0;
}

static enum sqloom_status roll_back(struct sqloom_db *db, bool ok,
				    struct sqloom_error *err)
{
	struct slm_kit_block *block = db->innermost;
	enum sqloom_status told = ok ? tell_rolled_back(db, err) : SQLOOM_OK;
	enum sqloom_status status = SQLOOM_OK;

	switch (block->kind) {
	case SLM_KIT_PLAIN:
		block->outer->mark = SLM_KIT_MARKED_BY_INNER;
		return told;
	case SLM_KIT_TRANSACTION:
		status = slm_kit_run(db, told ? NULL : err, "ROLLBACK");
		break;
	case SLM_KIT_SAVEPOINT:
		status = slm_kit_run(db, told ? NULL : err,
				     "ROLLBACK TO SAVEPOINT " SAVEPOINT_FORMAT
				     "; RELEASE SAVEPOINT " SAVEPOINT_FORMAT,
				     NAME_OF(block), NAME_OF(block));
		if (status && is_gone(db))
			return savepoint_gone(db, err);
		break;
	}
	if (!status)
		db->broken = false;
	return told ? told : status;
}

/* A COMMIT failed. PostgreSQL has rolled back then; SQLite has not. */
static enum sqloom_status commit_failed(struct sqloom_db *db,
					struct sqloom_error *err)
{
	struct slm_kit_failure failure = db->failure;

	if (db->driver->state(db) == SLM_KIT_LOST)
		slm_error_set(err, SQLOOM_DATABASE,
			      "the connection to the server was lost during "
			      "COMMIT: %s; whether the block is committed is "
			      "not known: connect again, and look",
			      failure.text);
	else
		slm_error_set(err, SQLOOM_DATABASE,
			      "cannot commit: %s; the block is rolled back",
			      failure.text);
	if (err)
		memcpy(err->sqlstate, failure.code, sizeof(err->sqlstate));
	if (db->driver->state(db) != SLM_KIT_IDLE)
		slm_kit_run(db, NULL, "ROLLBACK");
	db->failure = failure;
	return SQLOOM_DATABASE;
}

static enum sqloom_status release(struct sqloom_db *db,
				  struct sqloom_error *err)
{
	struct slm_kit_block *block = db->innermost;
	struct slm_kit_failure failure;
	enum sqloom_status status = SQLOOM_OK;

	/* A test's outermost block, which would be a transaction. */
	if (db->test && db->depth == 1)
		status = db->driver->check_deferred(db, err);
	if (!status)
		status = slm_kit_run(db, err,
				     "RELEASE SAVEPOINT " SAVEPOINT_FORMAT,
				     NAME_OF(block));
	if (!status)
		return status;
	if (is_gone(db))
		return savepoint_gone(db, err);
	failure = db->failure;
	slm_error_set(err, SQLOOM_DATABASE,
		      "cannot commit: %s; the block is rolled back",
		      failure.text);
	if (err)
		memcpy(err->sqlstate, failure.code, sizeof(err->sqlstate));
	roll_back(db, false, NULL);
	db->failure = failure;
	return status;
}

static enum sqloom_status commit(struct sqloom_db *db, struct sqloom_error *err)
{
	switch (db->innermost->kind) {
	case SLM_KIT_PLAIN:
		break;
	case SLM_KIT_SAVEPOINT:
		return release(db, err);
	case SLM_KIT_TRANSACTION:
		if (slm_kit_run(db, NULL, "COMMIT"))
			return commit_failed(db, err);
		break;
	}
	return SQLOOM_OK;
}

enum sqloom_status slm_kit_block_end(struct sqloom_db *db, bool ok,
				     struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;
	bool plain = db->innermost->kind == SLM_KIT_PLAIN;
	bool committed = false;

	assert(db->depth > 0);
	slm_kit_look(db);
	if (db->over) {
		/* Rolled back is what the program wanted. */
		if (ok || db->over == SQLOOM_USAGE)
			status = slm_kit_tell_broken(db, db->over, err);
	} else if (!ok || db->broken || db->innermost->mark) {
		status = roll_back(db, ok, err);
	} else {
		status = commit(db, err);
		committed = !status;
	}
	/* What a block without a savepoint has done, and registered, is up to
	 * the block around it. */
	pop(db, committed || plain);
	if (committed && db->depth == 0)
		status = slm_kit_hooks_run(db, err);
	return status;
}

static enum sqloom_status no_block(struct sqloom_error *err)
{
	return slm_error_set(err, SQLOOM_USAGE,
			     "there is no block: begin one with "
			     "sqloom_atomic_begin() first");
}

enum sqloom_status sqloom_atomic_end(struct sqloom_db *db, bool ok,
				     struct sqloom_error *err)
{
	enum sqloom_status status = slm_kit_enter(db, err);

	if (status)
		return status;
	status = db->depth ? slm_kit_block_end(db, ok, err) : no_block(err);
	slm_kit_leave(db);
	return status;
}

/* ---- A function in a block --------------------------------------------- */

static enum sqloom_status tell_function(const struct sqloom_db *db, int result,
					bool plain, struct sqloom_error *err)
{
	const struct slm_kit_failure *failure = &db->failure;

	slm_error_set(err, SQLOOM_CALL,
		      "the function of the block returned %d, and the block is "
		      "rolled back%s%s%s",
		      result, plain ? " with the one around it" : "",
		      failure->set ? "; the database had said: " : "",
		      failure->set ? failure->text : "");
	if (err && failure->set)
		memcpy(err->sqlstate, failure->code, sizeof(err->sqlstate));
	return SQLOOM_CALL;
}

/* Ends what fn left, so that the blocks are as they were before. id, depth: of
 * fn's block. */
static enum sqloom_status clean_up(struct sqloom_db *db, uint64_t id,
				   unsigned depth, struct sqloom_error *err)
{
	unsigned left;

	if (!is_open(db, id)) {
		if (db->depth >= depth)
			slm_kit_unwind(db, depth - 1, NULL);
		return slm_error_set(err, SQLOOM_USAGE,
				     "the function of the block ended that "
				     "block, which it had not begun: what was "
				     "done before that is as that end said");
	}
	left = db->depth - depth;
	if (!left)
		return SQLOOM_OK;
	slm_kit_unwind(db, depth - 1, NULL);
	return slm_error_set(err, SQLOOM_USAGE,
			     "the function of the block left %u inner block%s "
			     "open: all is rolled back; end every block, also "
			     "where something failed",
			     left, left == 1 ? "" : "s");
}

enum sqloom_status slm_kit_block_call(
	struct sqloom_db *db, const struct sqloom_atomic_options *options,
	sqloom_block_fn fn, void *arg, bool *committed,
	struct sqloom_error *err)
{
	enum sqloom_status status = slm_kit_block_begin(db, options, err);
	unsigned depth = db->depth;
	uint64_t id;
	bool plain;
	int result;

	*committed = false;
	if (status)
		return status;
	id = db->innermost->id;
	plain = db->innermost->kind == SLM_KIT_PLAIN;
	db->callbacks++;
	result = fn(db, arg);
	db->callbacks--;
	if (result && db->sqlite)
		slm_kit_sqlite_see(db);
	status = clean_up(db, id, depth, err);
	if (status)
		return status;
	status = slm_kit_block_end(db, result == 0, err);
	*committed = result == 0 && (!status || status == SQLOOM_CALL);
	if (result && !status)
		return tell_function(db, result, plain, err);
	return status;
}

enum sqloom_status sqloom_atomic(struct sqloom_db *db,
				 const struct sqloom_atomic_options *options,
				 sqloom_block_fn fn, void *arg,
				 struct sqloom_error *err)
{
	enum sqloom_status status = slm_kit_enter(db, err);
	bool committed;

	if (status)
		return status;
	if (fn)
		status = slm_kit_block_call(db, options, fn, arg, &committed,
					    err);
	else
		status = slm_error_set(err, SQLOOM_USAGE,
				       "the function of the block is NULL");
	slm_kit_leave(db);
	return status;
}

/* ---- Marks and restarts ------------------------------------------------ */

unsigned sqloom_atomic_depth(const struct sqloom_db *db)
{
	return slm_kit_is_mine(db) ? db->depth : 0;
}

static enum sqloom_status mark(struct sqloom_db *db, bool rollback,
			       struct sqloom_error *err)
{
	if (!db->depth)
		return no_block(err);
	slm_kit_look(db);
	if (!rollback && (db->broken || db->over))
		return slm_kit_tell_broken(db, SQLOOM_USAGE, err);
	db->innermost->mark = rollback ? SLM_KIT_MARKED_BY_PROGRAM :
					 SLM_KIT_UNMARKED;
	return SQLOOM_OK;
}

enum sqloom_status sqloom_set_rollback(struct sqloom_db *db, bool rollback,
				       struct sqloom_error *err)
{
	enum sqloom_status status = slm_kit_enter(db, err);

	if (status)
		return status;
	status = mark(db, rollback, err);
	slm_kit_leave(db);
	return status;
}

bool sqloom_get_rollback(const struct sqloom_db *db)
{
	enum slm_kit_state state;

	if (!slm_kit_is_mine(db) || !db->depth)
		return false;
	if (db->innermost->mark || db->broken || db->over || db->ended_by)
		return true;
	state = db->driver->state(db);
	return state != SLM_KIT_OPEN && state != SLM_KIT_ACTIVE;
}

/* SQLite rolled the transaction back by itself: it can be begun again. */
static bool can_begin_again(const struct sqloom_db *db)
{
	return db->over == SQLOOM_DATABASE && db->sqlite &&
	       db->innermost->kind == SLM_KIT_TRANSACTION &&
	       db->driver->state(db) == SLM_KIT_IDLE;
}

static enum sqloom_status begin_again(struct sqloom_db *db,
				      struct sqloom_error *err)
{
	struct slm_kit_block *block = db->innermost;
	enum sqloom_status status = SQLOOM_OK;

	if (!db->over)
		status = slm_kit_run(db, err, "ROLLBACK");
	if (!status)
		status = slm_kit_run(db, err, "%s", block->begin);
	if (status) {
		slm_kit_set_over(db, SQLOOM_DATABASE,
				 "it was rolled back, and could not be begun "
				 "again: %s",
				 db->failure.text);
		return status;
	}
	db->over = SQLOOM_OK;
	return status;
}

static enum sqloom_status restart(struct sqloom_db *db,
				  struct sqloom_error *err)
{
	struct slm_kit_block *block = db->innermost;
	enum sqloom_status status;

	if (!db->depth)
		return no_block(err);
	slm_kit_look(db);
	if (block->kind == SLM_KIT_PLAIN)
		return slm_error_set(err, SQLOOM_USAGE,
				     "the innermost block has no savepoint to "
				     "go back to: begin it with one");
	if (db->over && !can_begin_again(db))
		return slm_kit_tell_broken(db, db->over, err);
	if (block->kind == SLM_KIT_TRANSACTION)
		status = begin_again(db, err);
	else
		status = slm_kit_run(db, err,
				     "ROLLBACK TO SAVEPOINT " SAVEPOINT_FORMAT,
				     NAME_OF(block));
	if (status && is_gone(db))
		return savepoint_gone(db, err);
	if (status)
		return status;
	db->broken = db->rolled_back = false;
	block->mark = SLM_KIT_UNMARKED;
	slm_kit_hooks_drop(db, block->last);
	return status;
}

enum sqloom_status sqloom_atomic_restart(struct sqloom_db *db,
					 struct sqloom_error *err)
{
	enum sqloom_status status = slm_kit_enter(db, err);

	if (status)
		return status;
	status = restart(db, err);
	slm_kit_leave(db);
	return status;
}
