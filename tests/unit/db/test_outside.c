/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A database whose sessions are not ours: two connections play the programs,
 * and the test plays the driver that tells of their statements.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/error.h"
#include "db/outside.h"
#include "db/outside_internal.h"
#include "pg/pg.h"
#include "pg/server.h"

static struct slm_pg_server *server;
static struct slm_db *db;
static struct slm_arena run;
static struct sqloom_error err;
static struct slm_pg own; /* of the test itself */

/* Two programs. */
static struct program {
	struct slm_pg pg;
	struct slm_outside_connection is;
} a, b;

/* ---- Helpers ----------------------------------------------------------- */

static void must(enum sqloom_status status)
{
	if (status)
		fail_msg("%s", err.message);
}

static void on(struct slm_pg *pg, const char *sql)
{
	if (slm_pg_exec(pg, "prepare a test", sql, NULL, &err))
		fail_msg("%s\n%s", err.message, sql);
}

static char *ask(const char *sql)
{
	static char text[2000];
	PGresult *result;

	must(slm_pg_exec(&own, "ask", sql, &result, &err));
	snprintf(text, sizeof(text), "%s",
		 PQntuples(result) ? PQgetvalue(result, 0, 0) : "");
	PQclear(result);
	return text;
}

static struct slm_spec_session sessions[] = {
	{ .name = "alice", .call = SLM_CALL_EXEC },
	{ .name = "bob", .call = SLM_CALL_EXEC },
};
static struct slm_spec_sql setup;
static struct sqloom_spec spec;

static enum sqloom_status no_setup(struct slm_db *made, void *userdata,
				   struct sqloom_error *why)
{
	(void)made;
	(void)why;
	++*(int *)userdata;
	return SQLOOM_OK;
}

static void connect_program(struct program *program, int call)
{
	memset(program, 0, sizeof(*program));
	must(slm_pg_open(&program->pg, slm_pg_server_conninfo(server), NULL,
			 "a program", &err));
	on(&program->pg, "SET client_min_messages = error");
	program->is.pid = program->pg.pid;
	program->is.call = call;
}

static void open_with(const char *schema,
		      enum sqloom_status (*set_up)(struct slm_db *, void *,
						   struct sqloom_error *),
		      void *userdata)
{
	struct slm_postgres_options options = {
		.conninfo = slm_pg_server_conninfo(server)
	};

	setup = (struct slm_spec_sql){
		.text = schema, .size = strlen(schema), .line = 1, .column = 1
	};
	spec = (struct sqloom_spec){ .name = "test",
				     .text = "",
				     .setups = &setup,
				     .nsetups = 1,
				     .sessions = sessions,
				     .nsessions = 2,
				     .has_calls = true };
	must(slm_outside_open(&spec, &options, set_up, userdata, &db, &err));
	connect_program(&a, 0);
	connect_program(&b, 1);
}

static const struct slm_outside_statement *known(const char *sql)
{
	const struct slm_outside_statement *statement;

	must(slm_outside_statement(db, sql, strlen(sql), &statement, &err));
	return statement;
}

static bool is_inside(const struct program *program)
{
	PGTransactionStatusType state = PQtransactionStatus(program->pg.conn);

	return state == PQTRANS_INTRANS || state == PQTRANS_INERROR;
}

static void before(struct program *program, const char *sql, bool split)
{
	program->is.failed = PQtransactionStatus(program->pg.conn) ==
			     PQTRANS_INERROR;
	must(slm_outside_before(db, &program->is, sql ? known(sql) : NULL,
				is_inside(program), split, &err));
}

static void after(struct program *program)
{
	must(slm_outside_after(db, &program->is, is_inside(program), &err));
}

/* As the driver does it: what is split gets a COMMIT of its own. */
static void step(struct program *program, const char *sql)
{
	bool split = !is_inside(program) && known(sql)->split;
	PGresult *result;

	before(program, sql, split);
	if (split)
		on(&program->pg, "BEGIN");
	result = PQexec(program->pg.conn, sql);
	if (split && PQresultStatus(result) == PGRES_FATAL_ERROR)
		on(&program->pg, "ROLLBACK");
	PQclear(result);
	after(program);
	if (!split || !is_inside(program))
		return;
	before(program, NULL, false);
	on(&program->pg, "COMMIT");
	after(program);
}

static void begin(void)
{
	slm_arena_clear(&run);
	must(slm_db_run_begin(db, 3, 0, &run, &err));
}

static const struct slm_contents_table *end_and_read(const char *table)
{
	static struct slm_contents contents;

	must(slm_db_run_end(db, &err));
	must(slm_db_contents(db, &contents, &err));
	for (uint32_t i = 0; i < contents.ntables; i++)
		if (!strcmp(contents.tables[i].name, table))
			return &contents.tables[i];
	fail_msg("contents have no table %s", table);
	return NULL;
}

static int start_server(void **state)
{
	(void)state;
	if (slm_pg_server_start(NULL, &server, &err)) {
		fprintf(stderr, "%s\n", err.message);
		return -1;
	}
	return 0;
}

static int stop_server(void **state)
{
	(void)state;
	slm_pg_server_stop(server);
	return 0;
}

static int open_test(void **state)
{
	(void)state;
	db = NULL;
	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	slm_arena_init(&run);
	if (slm_pg_open(&own, slm_pg_server_conninfo(server), NULL, "the test",
			&err))
		return -1;
	on(&own, "SET client_min_messages = error");
	return 0;
}

/* Nothing is left of the setup, and nothing of ours. */
static int close_test(void **state)
{
	(void)state;
	slm_pg_close(&a.pg);
	slm_pg_close(&b.pg);
	if (db) {
		must(slm_db_finish(db, &err));
		slm_db_free(db);
		assert_string_equal(ask("SELECT count(*) FROM pg_class c JOIN "
					"pg_namespace n ON n.oid = "
					"relnamespace WHERE nspname IN "
					"('public', 'sqloom')"),
				    "0");
	}
	slm_pg_close(&own);
	slm_arena_deinit(&run);
	return 0;
}

#define ACCOUNT                                                            \
	"CREATE TABLE account (id serial PRIMARY KEY, v int UNIQUE);"      \
	"CREATE TABLE log (id serial PRIMARY KEY, account int REFERENCES " \
	"account ON DELETE CASCADE, text text);"                           \
	"INSERT INTO account (v) VALUES (10), (20);"                       \
	"INSERT INTO log (account, text) VALUES (1, 'one'), (2, 'two')"

/* ---- Tests ------------------------------------------------------------- */

static void statements_are_known_by_their_text(void **state)
{
	const struct slm_outside_statement *one, *two;

	(void)state;
	open_with(ACCOUNT, NULL, NULL);
	one = known("UPDATE account SET v = $1 WHERE id = $2");
	two = known("UPDATE account SET v = $1 WHERE id = $2");
	assert_ptr_equal(one, two);
	assert_true(one->split);
	assert_false(one->local);
	assert_string_equal(one->writes, "account, log");
	assert_string_equal(one->waits_for, "a lock on account, log");
	/* The text ends where it is said to. */
	must(slm_outside_statement(db, "SELECT 1; garbage", 8, &one, &err));
	assert_string_equal(one->sql, "SELECT 1");
	assert_true(one->parsed->parsed);
	two = known("SELECT v FROM account WHERE id = $1");
	assert_false(two->split);
	assert_string_equal(two->reads, "account");
	two = known("SELECT (ARRAY[1, 2])[1:v] FROM account");
	assert_true(two->parsed->parsed);
	assert_string_equal(two->reads, "account");
	two = known("SELEC 1");
	assert_false(two->parsed->parsed);
	assert_false(two->split);
}

static void what_is_local(void **state)
{
	static const struct {
		const char *sql;
		bool local, idle;
	} cases[] = {
		{ "BEGIN", true, true },
		{ "START TRANSACTION ISOLATION LEVEL SERIALIZABLE", true,
		  true },
		{ "SET search_path = other", true, true },
		{ "SAVEPOINT s", true, true },
		{ "SHOW server_version", true, true },
		{ "", true, true },
		{ "SELECT 1", false, true },
		{ "SELECT oid, typname FROM pg_type WHERE typname = $1", false,
		  true },
		{ "SELECT t.oid, pg_catalog.format_type(t.oid, NULL) FROM "
		  "pg_catalog.pg_type t JOIN pg_namespace n ON n.oid = "
		  "t.typnamespace",
		  false, true },
		{ "SELECT * FROM pg_locks", false, false },
		{ "SELECT * FROM pg_stat_activity", false, false },
		{ "SELECT f()", false, false },
		{ "SELECT * FROM account", false, false },
		{ "SELECT pg_advisory_lock(1)", false, false },
		{ "LISTEN c", false, false },
		{ "NOTIFY c", false, false },
		{ "COMMIT", false, false },
		{ "ROLLBACK", false, false },
		{ "PREPARE p AS SELECT * FROM account", false, false },
	};

	(void)state;
	open_with(ACCOUNT ";CREATE FUNCTION f() RETURNS int LANGUAGE sql AS "
			  "'SELECT 1'",
		  NULL, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct slm_outside_statement *is = known(cases[i].sql);

		if (is->local != cases[i].local ||
		    is->local_idle != cases[i].idle)
			fail_msg("%s: local %d, when idle %d", cases[i].sql,
				 is->local, is->local_idle);
	}
}

static void what_sessions_keep(void **state)
{
	static const struct {
		const char *sql;
		bool takes, gives_back;
	} cases[] = {
		{ "UNLISTEN *", false, true },
		{ "DISCARD ALL", false, true },
		{ "SELECT pg_advisory_unlock_all()", false, true },
		{ "SELECT pg_advisory_unlock(1)", false, true },
		{ "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; "
		  "RESET ALL",
		  false, true },
		{ "SELECT pg_advisory_unlock(v) FROM account", false, false },
		{ "SELECT pg_advisory_unlock(1), pg_advisory_xact_lock(2)",
		  false, false },
		{ "SELECT pg_advisory_unlock_all(); SELECT v FROM account",
		  false, false },
		{ "UNLISTEN *; NOTIFY c", true, false },
		{ "SELECT pg_advisory_unlock(1), f()", true, false },
		{ "SELECT pg_advisory_lock(1)", true, false },
		{ "SELECT pg_try_advisory_lock(1)", true, false },
		{ "SELECT pg_advisory_xact_lock(1)", false, false },
		{ "LISTEN c", true, false },
		{ "NOTIFY c", false, false },
		{ "DO 'BEGIN END'", true, false },
		{ "EXECUTE p", true, false },
		{ "SELECT f()", true, false },
		{ "garbage", true, false },
		{ "INSERT INTO account (v) VALUES (1)", false, false },
		{ "COMMIT", false, false },
	};

	(void)state;
	open_with(ACCOUNT ";CREATE FUNCTION f() RETURNS int LANGUAGE sql AS "
			  "'SELECT 1 FROM pg_try_advisory_lock(1)'",
		  NULL, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct slm_outside_statement *is = known(cases[i].sql);

		if (is->takes != cases[i].takes ||
		    is->gives_back != cases[i].gives_back)
			fail_msg("%s: takes %d, gives back %d", cases[i].sql,
				 is->takes, is->gives_back);
	}
}

static void functions_that_take_nothing_from_a_session(void **state)
{
	(void)state;
	open_with(ACCOUNT
		  ";CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql "
		  "AS 'BEGIN NEW.v := 1; RETURN NEW; END';"
		  "CREATE TRIGGER t BEFORE UPDATE ON account FOR EACH "
		  "ROW EXECUTE FUNCTION f()",
		  NULL, NULL);
	assert_false(known("UPDATE account SET v = 2")->takes);
	assert_false(known("SELECT f()")->takes);
	assert_true(known("SELECT pg_advisory_lock(1)")->takes);
	assert_true(known("DO 'BEGIN END'")->takes);
	assert_true(known("garbage")->takes);
}

static void a_trigger_that_takes_something(void **state)
{
	(void)state;
	open_with(ACCOUNT
		  ";CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql "
		  "AS 'BEGIN PERFORM pg_advisory_lock(1); RETURN NEW; "
		  "END';"
		  "CREATE TRIGGER t BEFORE UPDATE ON account FOR EACH "
		  "ROW EXECUTE FUNCTION f()",
		  NULL, NULL);
	assert_true(known("UPDATE account SET v = 2")->takes);
	assert_false(known("SELECT v FROM account")->takes);
}

static void old_statements_go_at_a_run_s_begin(void **state)
{
	struct pg_outside *outside;
	char sql[40];

	(void)state;
	open_with(ACCOUNT, NULL, NULL);
	outside = slm_outside_of(db)->outside;
	for (unsigned i = 0; i < SLM_OUTSIDE_STATEMENTS_MAX + 10; i++) {
		snprintf(sql, sizeof(sql), "SELECT %u", i);
		known(sql);
	}
	known("SELECT 0");
	assert_int_equal(outside->count, SLM_OUTSIDE_STATEMENTS_MAX + 10);
	begin();
	assert_int_equal(outside->count, SLM_OUTSIDE_STATEMENTS_MAX * 3 / 4);
	known("SELECT 0"); /* was used last */
	snprintf(sql, sizeof(sql), "SELECT %u", SLM_OUTSIDE_STATEMENTS_MAX);
	known(sql);
	assert_int_equal(outside->count, SLM_OUTSIDE_STATEMENTS_MAX * 3 / 4);
	known("SELECT 1");
	assert_int_equal(outside->count,
			 SLM_OUTSIDE_STATEMENTS_MAX * 3 / 4 + 1);
	must(slm_db_run_end(db, &err));
}

#define EVERYTHING                                                       \
	"SELECT (SELECT string_agg(t::text, ' ' ORDER BY ctid) FROM "    \
	"account t) || ' / ' || (SELECT string_agg(t::text, ' ' ORDER "  \
	"BY ctid) FROM log t) || (SELECT last_value || is_called::text " \
	"FROM account_id_seq) || (SELECT last_value || is_called::text " \
	"FROM log_id_seq)"

/* What programs write is seen, and is gone afterwards. */
static void a_run_comes_back(void **state)
{
	const struct slm_contents_table *account;
	char *first;
	uint64_t image, other;

	(void)state;
	open_with(ACCOUNT, NULL, NULL);
	first = slm_strdup(ask(EVERYTHING));
	for (int i = 0; i < 3; i++) {
		begin();
		step(&a, "BEGIN");
		step(&a, "UPDATE account SET v = v + 1 WHERE id = 1");
		step(&a, "COMMIT");
		step(&b, "INSERT INTO account (v) VALUES (77)");
		step(&b, "DELETE FROM account WHERE id = 2");
		account = end_and_read("account");
		assert_int_equal(account->nrows, 2);
		if (i == 0)
			image = slm_db_image(db);
		assert_true(slm_db_image(db) == image);
		assert_string_equal(ask(EVERYTHING), first);
	}
	/* Nothing was written: other contents, the same tables. */
	begin();
	assert_int_equal(end_and_read("account")->nrows, 2);
	other = slm_db_image(db);
	assert_true(other != image);
	slm_free(first);
}

/* Keys that were given out in the run are told from others. */
static void keys_are_those_of_calls(void **state)
{
	const struct slm_contents_table *account;
	const struct pg_generated *key;

	(void)state;
	open_with(ACCOUNT, NULL, NULL);
	for (int i = 0; i < 2; i++) {
		begin();
		step(i ? &b : &a, "INSERT INTO account (v) VALUES (101)");
		step(i ? &a : &b, "INSERT INTO account (v) VALUES (102)");
		account = end_and_read("account");
		assert_int_equal(account->nrows, 4);
		assert_non_null(account->generated);
		assert_false(account->generated[0]);
		assert_true(account->generated[2]);
		assert_true(account->generated[3]);
		key = slm_outside_of(db)->generated;
		assert_int_equal(slm_outside_of(db)->ngenerated, 2);
		assert_int_equal(key[0].key, 3);
		assert_int_equal(key[0].call, i);
		assert_int_equal(key[1].key, 4);
		assert_int_equal(key[1].call, !i);
	}
}

/* Triggers, functions, COPY: what the text does not show. */
static void writes_that_no_text_shows(void **state)
{
	static const char *const statements[] = {
		"UPDATE account SET v = 0 WHERE id = 1",
		"SELECT f()",
		"TRUNCATE account CASCADE",
		"TRUNCATE log RESTART IDENTITY",
		"DO 'BEGIN DELETE FROM log; END'",
		"CALL p()",
		"SELECT f() / 0", /* fails, and the sequence has moved */
		"INSERT INTO account VALUES (3, 3) RETURNING f()",
	};
	char *first;

	(void)state;
	open_with(ACCOUNT
		  ";CREATE FUNCTION f() RETURNS int LANGUAGE sql AS "
		  "'INSERT INTO log (text) VALUES (''f'') RETURNING id';"
		  "CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS "
		  "'BEGIN INSERT INTO log (text) VALUES (''t''); RETURN NEW; "
		  "END';"
		  "CREATE TRIGGER t AFTER UPDATE ON account FOR EACH ROW "
		  "EXECUTE FUNCTION t();"
		  "CREATE PROCEDURE p() LANGUAGE plpgsql AS 'BEGIN DELETE "
		  "FROM log; COMMIT; DELETE FROM account; END'",
		  NULL, NULL);
	first = slm_strdup(ask(EVERYTHING));
	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]);
	     i++) {
		for (int block = 0; block < 2; block++) {
			begin();
			if (block)
				step(&a, "BEGIN");
			step(&a, statements[i]);
			if (block)
				step(&a, "COMMIT");
			must(slm_db_run_end(db, &err));
			if (strcmp(ask(EVERYTHING), first) != 0)
				fail_msg("%s, %d: %s, was %s", statements[i],
					 block, ask(EVERYTHING), first);
		}
	}
	slm_free(first);
}

static void wait_for_lock(int pid)
{
	char sql[100];

	snprintf(sql, sizeof(sql),
		 "SELECT count(*) FROM pg_locks WHERE pid = %d AND NOT granted",
		 pid);
	while (*ask(sql) == '0')
		(void)poll(NULL, 0, 1);
}

static void who_stands_in_the_way(void **state)
{
	int ours[2], blockers[SLM_PG_BLOCKERS_MAX];
	unsigned n;
	bool others;

	(void)state;
	open_with(ACCOUNT, NULL, NULL);
	ours[0] = a.pg.pid;
	ours[1] = b.pg.pid;
	begin();
	step(&a, "BEGIN");
	step(&a, "UPDATE account SET v = v + 1 WHERE id = 1");
	must(slm_outside_blockers(db, b.pg.pid, ours, 2, blockers, &n, &others,
				  &err));
	assert_int_equal(n, 0);
	assert_false(others);
	before(&b, "UPDATE account SET v = v * 2 WHERE id = 1", false);
	assert_true(PQsendQuery(b.pg.conn,
				"UPDATE account SET v = v * 2 WHERE id = 1"));
	wait_for_lock(b.pg.pid);
	must(slm_outside_blockers(db, b.pg.pid, ours, 2, blockers, &n, &others,
				  &err));
	assert_int_equal(n, 1);
	assert_int_equal(blockers[0], a.pg.pid);
	assert_false(others);
	/* Not one of ours */
	must(slm_outside_blockers(db, b.pg.pid, ours + 1, 1, blockers, &n,
				  &others, &err));
	assert_int_equal(n, 0);
	assert_true(others);
	must(slm_outside_cancel(db, b.pg.pid, &err));
	PQclear(PQgetResult(b.pg.conn));
	assert_null(PQgetResult(b.pg.conn));
	after(&b);
	step(&a, "ROLLBACK");
	must(slm_db_run_end(db, &err));
}

/* Killed in the middle: nothing of it stays, not even a value of a sequence. */
static void a_connection_that_is_killed(void **state)
{
	char *first;

	(void)state;
	open_with(ACCOUNT ";CREATE FUNCTION f() RETURNS int LANGUAGE sql AS "
			  "'INSERT INTO log (text) VALUES (''f'') RETURNING "
			  "id'",
		  NULL, NULL);
	first = slm_strdup(ask(EVERYTHING));
	begin();
	step(&a, "BEGIN");
	step(&a, "UPDATE account SET v = 0 WHERE id = 1");
	step(&a, "SELECT f()");
	must(slm_outside_terminate(db, &a.is.pid, 1, &err));
	slm_outside_forget(&a.is);
	must(slm_db_run_end(db, &err));
	assert_string_equal(ask(EVERYTHING), first);
	slm_free(first);
	/* One that is not there any more */
	must(slm_outside_terminate(db, &a.pg.pid, 1, &err));
}

static void ddl_is_refused(void **state)
{
	static const char *const statements[] = {
		"CREATE TABLE x (a int)",
		"ALTER TABLE account ADD x int",
		"DROP TABLE log",
		"CREATE INDEX ON account (v)",
	};

	(void)state;
	open_with(ACCOUNT ";CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql "
			  "AS 'BEGIN CREATE TABLE x (a int); END'",
		  NULL, NULL);
	begin();
	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]);
	     i++) {
		assert_int_equal(slm_outside_before(db, &b.is,
						    known(statements[i]), false,
						    false, &err),
				 SQLOOM_UNSUPPORTED);
		assert_non_null(strstr(err.message, "call \"bob\""));
		assert_non_null(strstr(err.message, statements[i]));
	}
	/* These change nothing that others see. */
	step(&b, "CREATE TABLE IF NOT EXISTS account (a int)");
	step(&b, "CREATE TEMP TABLE y (a int)");
	step(&b, "INSERT INTO y VALUES (1)");
	/* One that the text does not show is seen before it is committed. */
	step(&b, "BEGIN");
	step(&b, "SELECT f()");
	assert_int_equal(slm_outside_before(db, &b.is, known("COMMIT"), true,
					    false, &err),
			 SQLOOM_UNSUPPORTED);
	assert_non_null(strstr(err.message, "call \"bob\""));
	on(&b.pg, "ROLLBACK");
	must(slm_db_run_end(db, &err));
}

/* Somebody who holds a lock is named. */
static void a_lock_that_somebody_holds(void **state)
{
	char pid[20];

	(void)state;
	open_with(ACCOUNT, NULL, NULL);
	begin();
	step(&a, "UPDATE account SET v = 5 WHERE id = 1");
	on(&b.pg, "BEGIN; SELECT * FROM account WHERE id = 1 FOR UPDATE");
	assert_int_equal(slm_db_run_end(db, &err), SQLOOM_DATABASE);
	snprintf(pid, sizeof(pid), "process %d ", b.pg.pid);
	assert_non_null(strstr(err.message, pid));
	assert_non_null(strstr(err.message, "FOR UPDATE"));
	on(&b.pg, "ROLLBACK");
}

static enum sqloom_status set_up(struct slm_db *made, void *userdata,
				 struct sqloom_error *why)
{
	struct slm_outside_place where;

	(void)userdata;
	(void)why;
	slm_outside_place(made, &where);
	assert_string_equal(where.database, "sqloom_test");
	assert_non_null(where.host);
	/* None of our connections may make it wait. */
	on(&own, "SET lock_timeout = '2s'; CREATE TABLE made (id serial, a "
		 "int); INSERT INTO made (a) VALUES (1); CREATE SCHEMA other; "
		 "CREATE TABLE other.t (a int); ALTER TABLE account ADD w int; "
		 "TRUNCATE log; UPDATE account SET v = v + 100, w = 1; "
		 "RESET lock_timeout");
	return SQLOOM_OK;
}

static enum sqloom_status fails(struct slm_db *made, void *userdata,
				struct sqloom_error *why)
{
	(void)set_up(made, userdata, why);
	return slm_error_set(why, SQLOOM_SPEC, "it does not work");
}

static void the_programs_own_setup(void **state)
{
	(void)state;
	open_with(ACCOUNT, set_up, NULL);
	begin();
	step(&a, "INSERT INTO made (a) VALUES (2)");
	step(&a, "INSERT INTO other.t VALUES (2)");
	assert_int_equal(end_and_read("made")->nrows, 2);
	assert_string_equal(ask("SELECT count(*) FROM made"), "1");
	assert_string_equal(ask("SELECT count(*) FROM other.t"), "0");
	must(slm_db_finish(db, &err));
	assert_string_equal(ask("SELECT count(*) FROM pg_namespace WHERE "
				"nspname IN ('other', 'sqloom')"),
			    "0");
}

/* Rows that were there before come back, too. */
static void a_setup_that_fails(void **state)
{
	struct slm_postgres_options options = {
		.conninfo = slm_pg_server_conninfo(server)
	};

	(void)state;
	on(&own, ACCOUNT);
	spec = (struct sqloom_spec){ .name = "test",
				     .text = "",
				     .sessions = sessions,
				     .nsessions = 2,
				     .has_calls = true };
	assert_int_equal(slm_outside_open(&spec, &options, fails, NULL, &db,
					  &err),
			 SQLOOM_SPEC);
	assert_string_equal(err.message, "it does not work");
	assert_null(db);
	assert_string_equal(ask("SELECT count(*) FROM log"), "2");
	assert_string_equal(ask("SELECT sum(v) FROM account"), "30");
	assert_string_equal(ask("SELECT count(*) FROM pg_class WHERE relname = "
				"'made'"),
			    "0");
	on(&own, "DROP TABLE account, log");
}

static void deadlock_timeout(void **state)
{
	char conninfo[1000];

	(void)state;
	open_with(ACCOUNT ";CREATE ROLE nobody LOGIN", NULL, NULL);
	begin();
	assert_null(slm_outside_deadlock(db, &a.is, false));
	step(&a, "BEGIN");
	assert_string_equal(slm_outside_deadlock(db, &a.is, true),
			    "SET LOCAL deadlock_timeout = '1ms'");
	assert_null(slm_outside_deadlock(db, &a.is, true));
	assert_string_equal(slm_outside_deadlock(db, &a.is, false),
			    "SET LOCAL deadlock_timeout TO DEFAULT");
	assert_non_null(slm_outside_deadlock(db, &a.is, true));
	step(&a, "COMMIT");
	assert_null(slm_outside_deadlock(db, &a.is, false));
	assert_string_equal(slm_outside_deadlock(db, &a.is, true),
			    "SET deadlock_timeout = '1ms'");
	step(&a, "BEGIN");
	assert_null(slm_outside_deadlock(db, &a.is, false));
	step(&a, "ROLLBACK");
	assert_string_equal(slm_outside_deadlock(db, &a.is, false),
			    "RESET deadlock_timeout");
	/* Roles that may not */
	step(&a, "SET ROLE nobody");
	assert_null(slm_outside_deadlock(db, &a.is, true));
	slm_pg_close(&b.pg);
	snprintf(conninfo, sizeof(conninfo), "%s user=nobody",
		 slm_pg_server_conninfo(server));
	must(slm_pg_open(&b.pg, conninfo, NULL, "a program", &err));
	b.is = (struct slm_outside_connection){ .pid = b.pg.pid, .call = 1 };
	assert_null(slm_outside_deadlock(db, &b.is, true));
	must(slm_db_run_end(db, &err));
	on(&a.pg, "RESET ROLE");
}

static void a_setup_is_asked_once(void **state)
{
	int calls = 0;

	(void)state;
	open_with(ACCOUNT, no_setup, &calls);
	assert_int_equal(calls, 1);
	assert_true(db->splits);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_test, close_test)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(statements_are_known_by_their_text),
		TEST(what_is_local),
		TEST(what_sessions_keep),
		TEST(functions_that_take_nothing_from_a_session),
		TEST(a_trigger_that_takes_something),
		TEST(old_statements_go_at_a_run_s_begin),
		TEST(a_run_comes_back),
		TEST(keys_are_those_of_calls),
		TEST(writes_that_no_text_shows),
		TEST(who_stands_in_the_way),
		TEST(a_connection_that_is_killed),
		TEST(ddl_is_refused),
		TEST(a_lock_that_somebody_holds),
		TEST(the_programs_own_setup),
		TEST(a_setup_that_fails),
		TEST(deadlock_timeout),
		TEST(a_setup_is_asked_once),
	};

	return cmocka_run_group_tests(tests, start_server, stop_server);
}
