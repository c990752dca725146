/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may use a database handle of the test kit, and what it says about the
 * transaction of its blocks: is it there, is it broken, and since when.
 *
 * What the program does on the handle itself is seen as far as the library of
 * the database shows it. PostgreSQL: everything, since libpq tells us of every
 * result. SQLite: that no transaction is open any more. Not seen there: a
 * failed statement, and a COMMIT that is followed by a BEGIN.
 */
#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kit/database.h"
#include "sql/sql.h"

/* ---- Who has it -------------------------------------------------------- */

static enum sqloom_status refuse_thread(pid_t owner, pid_t me,
					struct sqloom_error *err)
{
	return slm_error_set(
		err, SQLOOM_USAGE,
		"thread %d uses this database handle, in a call or an open "
		"block, and thread %d called in between: give each thread a "
		"handle of its own",
		(int)owner, (int)me);
}

enum sqloom_status slm_kit_enter(struct sqloom_db *db, struct sqloom_error *err)
{
	pid_t me = gettid(), owner = 0;

	if (!db)
		return slm_error_set(err, SQLOOM_USAGE,
				     "the database handle is NULL: open it "
				     "with sqloom_db_open() first");
	if (db->process != getpid())
		return slm_error_set(
			err, SQLOOM_USAGE,
			"process %d opened this database handle, and a fork of "
			"it, %d, uses it: a connection that two processes "
			"share breaks for both; open one here",
			(int)db->process, (int)getpid());
	if (!atomic_compare_exchange_strong(&db->owner, &owner, me) &&
	    owner != me)
		return refuse_thread(owner, me, err);
	db->entered++;
	return SQLOOM_OK;
}

void slm_kit_leave(struct sqloom_db *db)
{
	assert(db->entered > 0);
	if (--db->entered == 0 && !db->innermost)
		atomic_store(&db->owner, 0);
	else
		atomic_store(&db->owner, gettid());
}

bool slm_kit_is_mine(const struct sqloom_db *db)
{
	return db && atomic_load(&db->owner) == gettid();
}

bool slm_kit_adopt(struct sqloom_db *db)
{
	pid_t owner = atomic_load(&db->owner);

	if (db->process != getpid() || owner == 0 ||
	    syscall(SYS_tgkill, getpid(), owner, 0) == 0)
		return false;
	if (!atomic_compare_exchange_strong(&db->owner, &owner, gettid()))
		return false;
	db->entered = 1;
	db->callbacks = 0;
	return true;
}

/* ---- What is left of a block ------------------------------------------- */

void slm_kit_excerpt(const char *sql, char out[SLM_KIT_EXCERPT_MAX + 4])
{
	size_t size;

	sql = slm_sql_skip_blank(sql);
	size = strlen(sql);
	while (size > 0 &&
	       (isspace((unsigned char)sql[size - 1]) || sql[size - 1] == ';'))
		size--;
	if (size <= SLM_KIT_EXCERPT_MAX) {
		memcpy(out, sql, size);
		out[size] = '\0';
		return;
	}
	size = SLM_KIT_EXCERPT_MAX;
	while (size > 0 && ((unsigned char)sql[size] & 0xc0) == 0x80)
		size--;
	memcpy(out, sql, size);
	memcpy(out + size, "...", 4);
}

void slm_kit_set_over(struct sqloom_db *db, enum sqloom_status status,
		      const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(db->reason, sizeof(db->reason), fmt, args);
	va_end(args);
	db->over = status;
	db->broken = false;
}

static void set_broken(struct sqloom_db *db, const char *sql)
{
	const char *text = db->failure.set ? db->failure.text :
					     "a statement failed";
	char part[SLM_KIT_EXCERPT_MAX + 4];

	db->broken = true;
	if (sql) {
		slm_kit_excerpt(sql, part);
		snprintf(db->reason, sizeof(db->reason), "%s (\"%s\")", text,
			 part);
	} else {
		snprintf(db->reason, sizeof(db->reason),
			 "%s (sent on the handle itself)", text);
	}
}

static const char *fate_of(const char *by)
{
	if (strcmp(by, "COMMIT") == 0)
		return "committed";
	return strcmp(by, "PREPARE TRANSACTION") == 0 ? "prepared" :
							"rolled back";
}

/* The program, or a statement, ended the transaction. */
static void set_ended(struct sqloom_db *db)
{
	const char *by = db->ended_by;

	if (!by && db->rolled_back)
		by = "ROLLBACK";
	if (!by)
		slm_kit_set_over(db, SQLOOM_USAGE,
				 "it was ended on the handle itself, by a "
				 "COMMIT or ROLLBACK, or because %s rolled it "
				 "back when a statement there failed: what was "
				 "written before is committed or rolled back "
				 "as that says, and what came later was not in "
				 "the block",
				 db->driver->name);
	else
		slm_kit_set_over(
			db, SQLOOM_USAGE,
			"it was ended on the handle itself by %s: what "
			"was written before is %s, and what came later "
			"was not in the block",
			by, fate_of(by));
}

static bool is_closed(const struct sqloom_db *db)
{
	return !db->sqlite && !db->pg;
}

static void set_lost(struct sqloom_db *db)
{
	slm_kit_set_over(db, SQLOOM_DATABASE,
			 "the connection to the server is lost%s%s, which "
			 "rolled all of it back",
			 db->failure.set ? ": " : "",
			 db->failure.set ? db->failure.text : "");
}

void slm_kit_look(struct sqloom_db *db)
{
	enum slm_kit_state state;

	if (!db->innermost || db->over)
		return;
	if (is_closed(db)) {
		slm_kit_set_over(db, SQLOOM_USAGE,
				 "the program closed the handle, which rolled "
				 "all of it back");
		return;
	}
	state = db->driver->state(db);
	if (state == SLM_KIT_LOST)
		set_lost(db);
	else if (state == SLM_KIT_IDLE || db->ended_by)
		set_ended(db);
	else if (state == SLM_KIT_FAILED && !db->broken)
		set_broken(db, NULL);
	else if (state == SLM_KIT_OPEN && db->pg)
		db->broken = false;
}

void slm_kit_break(struct sqloom_db *db, const char *sql)
{
	enum slm_kit_state state = db->driver->state(db);
	char part[SLM_KIT_EXCERPT_MAX + 4];

	if (state == SLM_KIT_IDLE && db->sqlite && !db->over) {
		slm_kit_excerpt(sql, part);
		slm_kit_set_over(db, SQLOOM_DATABASE,
				 "SQLite rolled all of it back: %s (\"%s\")",
				 db->failure.text, part);
	} else if (state == SLM_KIT_FAILED ||
		   (state == SLM_KIT_OPEN && db->sqlite)) {
		set_broken(db, sql);
	}
	slm_kit_look(db);
}

enum sqloom_status slm_kit_tell_broken(const struct sqloom_db *db,
				       enum sqloom_status status,
				       struct sqloom_error *err)
{
	if (db->over)
		slm_error_set(err, db->over,
			      "the transaction of the block is over: %s; end "
			      "the block, and begin a new one",
			      db->reason);
	else
		slm_error_set(err, status,
			      "the transaction is broken since: %s; roll back "
			      "to a savepoint first: begin an inner block "
			      "before what may fail, or call "
			      "sqloom_atomic_restart()",
			      db->reason);
	if (err && db->failure.set)
		memcpy(err->sqlstate, db->failure.code, sizeof(err->sqlstate));
	return db->over ? db->over : status;
}

enum sqloom_status slm_kit_ready(struct sqloom_db *db,
				 enum sqloom_status broken,
				 struct sqloom_error *err)
{
	slm_kit_look(db);
	if (db->over || db->broken)
		return slm_kit_tell_broken(db, broken, err);
	if (is_closed(db))
		return slm_error_set(err, SQLOOM_USAGE,
				     "the program closed the handle of this "
				     "database: close this, too, and open a "
				     "new one");
	if (db->driver->state(db) == SLM_KIT_ACTIVE)
		return slm_error_set(err, SQLOOM_USAGE,
				     "a statement that was sent on the handle "
				     "itself is not over: fetch its results "
				     "(PQgetResult() until NULL) first");
	return SQLOOM_OK;
}

enum sqloom_status slm_kit_failed(struct sqloom_db *db, const char *sql,
				  const char *code, const char *text,
				  bool retryable, struct sqloom_error *err)
{
	char part[SLM_KIT_EXCERPT_MAX + 4];

	db->failure.set = true;
	db->failure.retryable = retryable;
	snprintf(db->failure.code, sizeof(db->failure.code), "%s", code);
	snprintf(db->failure.text, sizeof(db->failure.text), "%s", text);
	slm_kit_excerpt(sql, part);
	slm_error_set(err, SQLOOM_DATABASE, "cannot execute \"%s\": %s", part,
		      db->failure.text);
	if (err)
		memcpy(err->sqlstate, db->failure.code, sizeof(err->sqlstate));
	return SQLOOM_DATABASE;
}
