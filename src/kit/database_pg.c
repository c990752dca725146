/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PostgreSQL below the transactions of the test kit.
 *
 * libpq tells us of every result on the connection, also of those that the
 * program asked for itself, and of PQfinish() and PQreset() (libpq-events.h).
 * An event procedure cannot be taken off a connection again: after the close
 * of a sqloom_db it finds no data of ours there, and does nothing.
 */
#include "kit/database.h"

#include <libpq-events.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "sql/pg_statement.h"

#define IN_FAILED_TRANSACTION "25P02"

static enum slm_kit_state state(const struct sqloom_db *db)
{
	if (!db->pg || PQstatus(db->pg) == CONNECTION_BAD)
		return SLM_KIT_LOST;
	switch (PQtransactionStatus(db->pg)) {
	case PQTRANS_IDLE:
		return SLM_KIT_IDLE;
	case PQTRANS_INTRANS:
		return SLM_KIT_OPEN;
	case PQTRANS_INERROR:
		return SLM_KIT_FAILED;
	case PQTRANS_ACTIVE:
		return SLM_KIT_ACTIVE;
	default:
		return SLM_KIT_LOST;
	}
}

/* The first line of what libpq says, without "ERROR:  ". */
static const char *first_line(const char *text, char *line, size_t size)
{
	static const char *const prefixes[] = { "ERROR:  ", "FATAL:  ",
						"PANIC:  " };

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (strncmp(text, prefixes[i], strlen(prefixes[i])) == 0)
			text += strlen(prefixes[i]);
	snprintf(line, size, "%.*s", (int)strcspn(text, "\n"), text);
	return line;
}

static bool is_retryable(const char *sqlstate)
{
	return strcmp(sqlstate, "40001") == 0 || strcmp(sqlstate, "40P01") == 0;
}

/* ---- What happens on the connection ------------------------------------ */

static void see_failure(struct sqloom_db *db, const PGresult *result)
{
	const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	struct slm_kit_failure *failure = &db->failure;

	/* It says only that something failed before. */
	if (code && strcmp(code, IN_FAILED_TRANSACTION) == 0 && failure->set)
		return;
	failure->set = true;
	failure->retryable = code && is_retryable(code);
	snprintf(failure->code, sizeof(failure->code), "%s", code ? code : "");
	if (text)
		snprintf(failure->text, sizeof(failure->text), "%s", text);
	else
		first_line(PQresultErrorMessage(result), failure->text,
			   sizeof(failure->text));
}

/* A ROLLBACK may be one to a savepoint; that a transaction was begun behind it
 * tells that it was none. */
static void see_command(struct sqloom_db *db, const char *tag)
{
	if (db->ours || !db->innermost)
		return;
	if (strcmp(tag, "ROLLBACK") == 0)
		db->rolled_back = true;
	else if (strcmp(tag, "COMMIT") == 0)
		db->ended_by = "COMMIT";
	else if (strcmp(tag, "PREPARE TRANSACTION") == 0)
		db->ended_by = "PREPARE TRANSACTION";
	else if (db->rolled_back && (strcmp(tag, "BEGIN") == 0 ||
				     strcmp(tag, "START TRANSACTION") == 0))
		db->ended_by = "ROLLBACK";
}

static int see(PGEventId id, void *info, void *unused)
{
	struct sqloom_db *db;

	(void)unused;
	if (id == PGEVT_RESULTCREATE) {
		PGEventResultCreate *event = info;
		PGresult *result = event->result;

		db = PQinstanceData(event->conn, see);
		if (db && PQresultStatus(result) == PGRES_FATAL_ERROR)
			see_failure(db, result);
		else if (db)
			see_command(db, PQcmdStatus(result));
	} else if (id == PGEVT_CONNDESTROY) {
		db = PQinstanceData(((PGEventConnDestroy *)info)->conn, see);
		if (db)
			db->pg = NULL;
	} else if (id == PGEVT_CONNRESET) {
		db = PQinstanceData(((PGEventConnReset *)info)->conn, see);
		if (db && db->innermost)
			db->ended_by = "PQreset()";
	}
	return 1;
}

/* ---- Executing --------------------------------------------------------- */

static enum sqloom_status failed(struct sqloom_db *db, const char *sql,
				 const PGresult *result,
				 struct sqloom_error *err)
{
	const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	char line[320];

	if (!text)
		text = first_line(PQerrorMessage(db->pg), line, sizeof(line));
	return slm_kit_failed(db, sql, code ? code : "", text,
			      code && is_retryable(code), err);
}

/* COPY: the data would have to come from, or go to, the program. */
static enum sqloom_status refuse_copy(struct sqloom_db *db,
				      struct sqloom_error *err)
{
	/* The next command ends the COPY. */
	PQclear(PQexec(db->pg, ""));
	return slm_error_set(err, SQLOOM_DATABASE,
			     "COPY with the data on the connection cannot be "
			     "executed here: use PQputCopyData() or "
			     "PQgetCopyData() on the handle, sqloom_db_pg()");
}

static bool take_value(const PGresult *result, char **value)
{
	if (PQntuples(result) == 0 || PQnfields(result) == 0 ||
	    PQgetisnull(result, 0, 0))
		return true;
	*value = slm_strdup(PQgetvalue(result, 0, 0));
	return *value != NULL;
}

/* COMMIT of a transaction in which a statement failed rolls back, and is told
 * as a success. */
static bool did_not_commit(const struct sqloom_db *db, const char *sql,
			   const PGresult *result)
{
	return db->ours && strcmp(sql, "COMMIT") == 0 &&
	       strcmp(PQcmdStatus((PGresult *)result), "COMMIT") != 0;
}

/* A result that nobody had fetched was a failure. */
static enum sqloom_status tell_not_committed(struct sqloom_db *db,
					     const char *sql,
					     struct sqloom_error *err)
{
	struct slm_kit_failure failure = db->failure;

	return slm_kit_failed(db, sql, failure.code, failure.text,
			      failure.retryable, err);
}

static enum sqloom_status judge(struct sqloom_db *db, const char *sql,
				const PGresult *result, char **value,
				struct sqloom_error *err)
{
	switch (PQresultStatus(result)) {
	case PGRES_EMPTY_QUERY:
		return SQLOOM_OK;
	case PGRES_COMMAND_OK:
		if (did_not_commit(db, sql, result))
			return tell_not_committed(db, sql, err);
		return SQLOOM_OK;
	case PGRES_TUPLES_OK:
		if (value && !take_value(result, value))
			return slm_error_nomem(err);
		return SQLOOM_OK;
	case PGRES_COPY_IN:
	case PGRES_COPY_OUT:
	case PGRES_COPY_BOTH:
		return refuse_copy(db, err);
	default:
		return failed(db, sql, result, err);
	}
}

static enum sqloom_status run(struct sqloom_db *db, const char *sql,
			      char **value, struct sqloom_error *err)
{
	PGresult *result = PQexec(db->pg, sql);
	enum sqloom_status status = judge(db, sql, result, value, err);

	PQclear(result);
	return status;
}

/* What the grammar of PostgreSQL says; only if one of the words is there at
 * all, since it takes a while. */
static enum sqloom_status find_control(const char *sql, const char **word,
				       struct sqloom_error *err)
{
	static const char *const words[] = { "BEGIN",	  "START",    "COMMIT",
					     "END",	  "ROLLBACK", "ABORT",
					     "SAVEPOINT", "RELEASE",  NULL };
	struct slm_arena arena;
	struct slm_pg_step step;
	enum sqloom_status status;
	bool any = strcasestr(sql, "prepare") != NULL;

	*word = NULL;
	for (size_t i = 0; words[i]; i++)
		any = any || strcasestr(sql, words[i]);
	if (!any)
		return SQLOOM_OK;
	slm_arena_init(&arena);
	status = slm_pg_step_read(sql, &arena, &step, err);
	if (!status && !step.parsed &&
	    !slm_kit_scan_control(sql, words, false, word))
		status = slm_error_nomem(err);
	for (size_t i = 0;
	     !status && step.parsed && !*word && i < step.nstatements; i++) {
		enum slm_pg_kind kind = step.statements[i].kind;

		if (kind >= SLM_PG_BEGIN && kind <= SLM_PG_ROLLBACK_PREPARED)
			*word = slm_pg_kind_name(kind);
	}
	slm_arena_deinit(&arena);
	return status;
}

/* The constraints are checked, and what the check changed is undone: they are
 * as deferred as before. */
static enum sqloom_status check_deferred(struct sqloom_db *db,
					 struct sqloom_error *err)
{
	return slm_kit_run(db, err,
			   "SAVEPOINT sqloom_check; "
			   "SET CONSTRAINTS ALL IMMEDIATE; "
			   "ROLLBACK TO SAVEPOINT sqloom_check; "
			   "RELEASE SAVEPOINT sqloom_check");
}

/* ---- Opening and closing ----------------------------------------------- */

static void drop_notice(void *unused, const PGresult *result)
{
	(void)unused;
	(void)result;
}

enum sqloom_status slm_kit_pg_attach(struct sqloom_db *db,
				     struct sqloom_error *err)
{
	char line[320];

	if (PQstatus(db->pg) != CONNECTION_OK)
		return slm_error_set(err, SQLOOM_DATABASE,
				     "the connection to PostgreSQL is not "
				     "open: %s; connect first",
				     first_line(PQerrorMessage(db->pg), line,
						sizeof(line)));
	if (PQtransactionStatus(db->pg) != PQTRANS_IDLE)
		return slm_error_set(err, SQLOOM_USAGE,
				     "the connection to PostgreSQL is in a "
				     "transaction: end it first, or take the "
				     "connection up before it begins");
	if (PQinstanceData(db->pg, see))
		return slm_error_set(err, SQLOOM_USAGE,
				     "the connection to PostgreSQL is in use "
				     "by another sqloom_db: use that one, or "
				     "close it first");
	/* Fails if it was registered before, which is fine. */
	PQregisterEventProc(db->pg, see, "sqloom", NULL);
	if (!PQsetInstanceData(db->pg, see, db))
		return slm_error_nomem(err);
	return SQLOOM_OK;
}

enum sqloom_status slm_kit_pg_open(struct sqloom_db *db, const char *conninfo,
				   struct sqloom_error *err)
{
	const char *keywords[] = { "fallback_application_name", "dbname",
				   NULL };
	const char *values[] = { "sqloom", conninfo, NULL };
	enum sqloom_status status;
	char line[320];

	db->pg = PQconnectdbParams(keywords, values, 1);
	if (!db->pg)
		return slm_error_nomem(err);
	if (PQstatus(db->pg) == CONNECTION_OK) {
		PQsetNoticeReceiver(db->pg, drop_notice, NULL);
		status = slm_kit_pg_attach(db, err);
	} else {
		status = slm_error_set(err, SQLOOM_DATABASE,
				       "cannot connect to PostgreSQL: %s; "
				       "check the URL, and that the server "
				       "runs",
				       first_line(PQerrorMessage(db->pg), line,
						  sizeof(line)));
	}
	if (status) {
		PQfinish(db->pg);
		db->pg = NULL;
	}
	return status;
}

static enum sqloom_status close_handle(struct sqloom_db *db,
				       struct sqloom_error *err)
{
	(void)err;
	if (!db->pg)
		return SQLOOM_OK;
	PQsetInstanceData(db->pg, see, NULL);
	if (db->owned)
		PQfinish(db->pg);
	db->pg = NULL;
	return SQLOOM_OK;
}

const struct slm_kit_driver slm_kit_pg = {
	.name = "PostgreSQL",
	.state = state,
	.run = run,
	.find_control = find_control,
	.check_deferred = check_deferred,
	.close = close_handle,
};
