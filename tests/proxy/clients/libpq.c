/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client in C, on libpq alone: what a PostgreSQL server can be asked, and
 * what came of it, on standard output. The test compares what it writes on a
 * direct connection with what it writes through the proxy.
 *
 * Where to connect comes from PGHOST and the like. Expects schema.sql. With
 * UNDER_CONTROL in the environment, what an exploration cannot undo is left out:
 * changes of the schema, and large objects.
 */
#include <libpq/libpq-fs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transcript.h"

#define FIVE_MB (5 * 1024 * 1024)
#define CANCEL_EVERY_MS 200

/* Functions by their numbers in every PostgreSQL. */
enum { INT4_PLUS = 177, INT4_DIVIDE = 154 };

/* Types by their numbers in every PostgreSQL. */
enum { INT8 = 20, INT4 = 23, TEXT = 25, JSONB = 3802, BYTEA = 17 };

/* ---- Sessions ---------------------------------------------------------- */

static void tell_parameters(PGconn *conn)
{
	static const char *const names[] = {
		"server_version",
		"server_encoding",
		"client_encoding",
		"application_name",
		"is_superuser",
		"in_hot_standby",
		"session_authorization",
		"DateStyle",
		"IntervalStyle",
		"TimeZone",
		"integer_datetimes",
		"standard_conforming_strings",
		"default_transaction_read_only",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = PQparameterStatus(conn, names[i]);

		printf("  %s: %s\n", names[i], value ? value : "not told");
	}
}

static void sessions(void)
{
	PGconn *conn;
	PGresult *pid;

	title("session");
	conn = must_connect("application_name=exercise "
			    "options='-c DateStyle=German -c work_mem=8MB'");
	printf("  protocol %d, server %d\n", PQprotocolVersion(conn),
	       PQserverVersion(conn));
	tell_parameters(conn);
	run(conn, "SHOW work_mem");
	run(conn, "SHOW application_name");
	pid = PQexec(conn, "SELECT pg_backend_pid()");
	printf("  own process known: %s\n",
	       atoi(PQgetvalue(pid, 0, 0)) == PQbackendPID(conn) ? "yes" :
								   "no");
	PQclear(pid);

	title("parameters that change");
	run(conn, "SET TimeZone = 'Asia/Tokyo'");
	run(conn, "SET client_encoding = 'LATIN1'");
	run(conn, "SELECT 'gr\xf6\xdf"
		  "e'");
	run(conn, "RESET client_encoding");
	run(conn, "BEGIN; SET LOCAL DateStyle = 'ISO'; SET application_name "
		  "= 'other'");
	tell_parameters(conn);
	run(conn, "ROLLBACK");
	tell_parameters(conn);
	PQfinish(conn);
}

static void refused(void)
{
	PGconn *conn;

	title("no such database");
	conn = PQconnectdb("dbname=sqloom_does_not_exist");
	/* What comes before the server's words names host and port. */
	puts(strstr(PQerrorMessage(conn), "FATAL:") ?
		     strstr(PQerrorMessage(conn), "FATAL:") :
		     "not refused");
	PQfinish(conn);
}

static void reconnect(void)
{
	PGconn *conn;

	title("reconnect");
	conn = must_connect("");
	run(conn, "BEGIN; INSERT INTO log (txt) VALUES ('never seen')");
	PQreset(conn);
	show_state(conn);
	run(conn, "SELECT count(*) FROM log WHERE txt = 'never seen'");
	title("server goes away");
	run_all(conn, "SELECT pg_terminate_backend(pg_backend_pid())");
	PQreset(conn);
	run(conn, "SELECT 'again'");
	PQfinish(conn);
}

/* ---- Simple protocol --------------------------------------------------- */

static void simple(PGconn *conn)
{
	title("simple");
	run(conn, "SELECT * FROM item ORDER BY id");
	run(conn, "SELECT 1 AS a, NULL AS b, '' AS c, 'x'::char(3) AS d");
	run(conn, "SELECT");
	run(conn, "SELECT FROM item");
	run(conn, "");
	run(conn, " ; ; -- nothing\n;");
	run(conn, "INSERT INTO log (txt) VALUES ('a'), ('b') RETURNING id");
	run(conn, "UPDATE log SET txt = txt || '!' WHERE txt = 'a'");
	run(conn, "DELETE FROM log WHERE txt = 'nobody'");
	run(conn, "TABLE log");
	run(conn, "WITH gone AS (DELETE FROM log RETURNING *) "
		  "SELECT count(*) FROM gone");
	run(conn, "VALUES (1, 'one'), (2, 'two')");
	run(conn, "SHOW TimeZone");
	run(conn, "EXPLAIN (COSTS off) SELECT * FROM log");

	title("errors");
	run(conn, "SELEC 1");
	run(conn, "SELECT * FROM nowhere");
	run(conn, "SELECT 1 / 0");
	run(conn, "INSERT INTO item VALUES (1, 'again')");
	run(conn, "SELECT fails('on purpose')");
	run(conn, "SELECT 'not ended");
	run(conn, "SELECT $1");

	title("notices");
	run(conn, "SELECT notes(3)");
	run(conn, "DO $$ BEGIN PERFORM notes(1); END $$");
}

/* A call of an exploration may not do this. */
static void schema_changes(PGconn *conn)
{
	title("changes of the schema");
	run(conn, "CREATE TEMP TABLE t (a int)");
	run(conn, "SELECT a INTO TEMP u FROM t");
	run(conn, "DROP TABLE t, u");
	run(conn, "DROP TABLE IF EXISTS nowhere");
	run_all(conn, "BEGIN; CREATE TABLE made (a int); INSERT INTO made "
		      "VALUES (1); ALTER TABLE made ADD b int; "
		      "SELECT * FROM made; DROP TABLE made; COMMIT");
}

static void several(PGconn *conn)
{
	title("several statements in one query");
	run_all(conn, "SELECT 1; SELECT 2; SELECT 3");
	run_all(conn, "SELECT 1;; -- comment ; here\n SELECT ';' AS \"a;b\";");
	run_all(conn, "INSERT INTO log (txt) VALUES ('one'); "
		      "INSERT INTO log (txt) VALUES ('two')");
	run_all(conn, "INSERT INTO log (txt) VALUES ('lost'); SELECT 1 / 0; "
		      "SELECT 'never'");
	run_all(conn, "INSERT INTO log (txt) VALUES ('lost'); SELEC");
	run_all(conn, "SELECT txt FROM log ORDER BY id");
	run_all(conn, "BEGIN; INSERT INTO log (txt) VALUES ('three'); COMMIT");
	run_all(conn, "BEGIN; INSERT INTO log (txt) VALUES ('lost'); ROLLBACK; "
		      "SELECT 'after'");
	run_all(conn, "INSERT INTO log (txt) VALUES ('four'); COMMIT; "
		      "SELECT 1 / 0");
	run_all(conn, "SELECT 1; BEGIN; SELECT 2");
	run_all(conn, "SELECT 3; COMMIT; SELECT 4");
	run_all(conn, "SELECT 1; SET application_name = 'x'; SHOW "
		      "application_name; SELECT notes(1)");
	run_all(conn, "INSERT INTO line VALUES (1, 2); SELECT 'too late'");
	run_all(conn, "SELECT txt FROM log ORDER BY id; DELETE FROM log");
	run_all(conn, "RESET application_name");
}

static void transactions(PGconn *conn)
{
	title("transactions");
	run(conn, "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY");
	run(conn, "SHOW transaction_isolation");
	run(conn, "INSERT INTO log (txt) VALUES ('read only')");
	run(conn, "SELECT 'not heard'");
	run(conn, "COMMIT");
	run(conn, "BEGIN");
	run(conn, "BEGIN");
	run(conn, "SAVEPOINT a");
	run(conn, "INSERT INTO log (txt) VALUES ('kept')");
	run(conn, "SAVEPOINT b");
	run(conn, "SELECT 1 / 0");
	run(conn, "ROLLBACK TO b");
	run(conn, "RELEASE a");
	run(conn, "ROLLBACK TO a");
	run(conn, "ROLLBACK");
	run(conn, "ROLLBACK");
	run(conn, "COMMIT");
	run(conn, "SAVEPOINT nowhere");
	run(conn, "START TRANSACTION");
	run(conn, "INSERT INTO log (txt) VALUES ('chained')");
	run(conn, "COMMIT AND CHAIN");
	run(conn, "END");
	run(conn, "SELECT txt FROM log ORDER BY id");
	run(conn, "DELETE FROM log");

	title("errors at commit");
	run(conn, "INSERT INTO line VALUES (1, 2)");
	run(conn, "INSERT INTO line VALUES (1, 2) RETURNING id");
	run(conn, "BEGIN; INSERT INTO line VALUES (1, 2)");
	run(conn, "COMMIT");
	run(conn, "SELECT count(*) FROM line");

	title("what stays outside of a transaction");
	run(conn, "VACUUM item");
	run(conn, "CALL commits(2)");
	run(conn, "SELECT txt FROM log ORDER BY id");
	run(conn, "DO $$ BEGIN DELETE FROM log; COMMIT; END $$");
	run(conn, "BEGIN");
	run(conn, "VACUUM item");
	run(conn, "ROLLBACK");
	run(conn, "PREPARE TRANSACTION 'nobody'");

	title("time is up");
	run(conn, "SET statement_timeout = 50");
	run(conn, "SELECT pg_sleep(600)");
	run(conn, "RESET statement_timeout");
}

/* ---- Extended protocol ------------------------------------------------- */

static void prepared(PGconn *conn)
{
	const char *one[] = { "1" }, *none[] = { NULL }, *bad[] = { "x" };

	title("prepared");
	show(PQprepare(conn, "by_id", "SELECT * FROM item WHERE id = $1", 1,
		       NULL));
	show(PQdescribePrepared(conn, "by_id"));
	show(PQexecPrepared(conn, "by_id", 1, one, NULL, NULL, 0));
	show(PQexecPrepared(conn, "by_id", 1, one, NULL, NULL, 1));
	show(PQexecPrepared(conn, "by_id", 1, none, NULL, NULL, 0));
	show(PQexecPrepared(conn, "by_id", 1, bad, NULL, NULL, 0));
	show(PQexecPrepared(conn, "unknown", 1, one, NULL, NULL, 0));
	show(PQdescribePrepared(conn, "unknown"));
	show(PQprepare(conn, "by_id", "SELECT 2", 0, NULL));
	show(PQprepare(conn, "", "SELECT count(*) FROM item", 0, NULL));
	show(PQexecPrepared(conn, "", 0, NULL, NULL, NULL, 0));
	show(PQexecPrepared(conn, "", 0, NULL, NULL, NULL, 0));
	show(PQprepare(conn, "empty", "", 0, NULL));
	show(PQexecPrepared(conn, "empty", 0, NULL, NULL, NULL, 0));
	show(PQprepare(conn, "two", "SELECT 1; SELECT 2", 0, NULL));
	show(PQprepare(conn, "wrong", "SELEC", 0, NULL));
	show_state(conn);
	run(conn, "EXECUTE by_id(2)");
	run(conn, "DEALLOCATE by_id");
	show(PQexecPrepared(conn, "by_id", 1, one, NULL, NULL, 0));
	show(PQprepare(conn, "by_id", "SELECT 'anew', $1::text", 1, NULL));
	show(PQexecPrepared(conn, "by_id", 1, one, NULL, NULL, 0));
	run(conn, "DEALLOCATE ALL");
}

static void parameters(PGconn *conn)
{
	const unsigned char four[] = { 0, 0, 0, 42 };
	const unsigned char bytes[] = { 0, 1, '\\', 0xff };
	const char *values[] = { (const char *)four, "text\tof two\nlines",
				 "{\"a\": [1, null]}", (const char *)bytes,
				 NULL };
	const Oid types[] = { INT4, TEXT, JSONB, BYTEA, INT8 };
	const int sizes[] = { 4, 0, 0, sizeof(bytes), 0 };
	const int formats[] = { 1, 0, 0, 1, 0 };

	title("parameters");
	for (int format = 0; format <= 1; format++)
		show(PQexecParams(conn, "SELECT $1, $2, $3, $4, $5", 5, types,
				  values, sizes, formats, format));
	for (int format = 0; format <= 1; format++)
		show(PQexecParams(conn,
				  "SELECT true, 1::int2, 2::int4, 3::int8, "
				  "1.5::float4, 2.5::float8, 3.25::numeric, "
				  "'x'::char, 'y'::varchar, 'z'::name, "
				  "'\\x00ff'::bytea, '2026-01-01'::date, "
				  "'12:00'::time, '2026-01-01 12:00'::timestamp,"
				  " '2026-01-01 12:00Z'::timestamptz, "
				  "'1 day'::interval, '{1,2,NULL}'::int4[], "
				  "'{\"a\":1}'::json, '{\"a\":1}'::jsonb, "
				  "'12345678123456781234567812345678'::uuid, "
				  "'10.0.0.1'::inet, '[1,5)'::int4range, "
				  "(1, 'row'), NULL::int4",
				  0, NULL, NULL, NULL, NULL, format));
	show(PQexecParams(conn, "INSERT INTO log (txt) VALUES ($1)", 1, NULL,
			  values + 1, NULL, NULL, 0));
	show(PQexecParams(conn, "INSERT INTO line VALUES (1, $1)", 1, types,
			  values, sizes, formats, 0));
	show(PQexecParams(conn, "SELECT $1::int4 / 0", 1, types, values, sizes,
			  formats, 0));
	show(PQexecParams(conn, "SELECT 1; SELECT 2", 0, NULL, NULL, NULL, NULL,
			  0));
	show(PQexecParams(conn, "CALL commits(1)", 0, NULL, NULL, NULL, NULL,
			  0));
	show(PQexecParams(conn, "VACUUM item", 0, NULL, NULL, NULL, NULL, 0));
	show(PQexecParams(conn, "SELECT notes(2)", 0, NULL, NULL, NULL, NULL,
			  0));
	show_state(conn);
	run(conn, "DELETE FROM log");
}

static void in_transaction_extended(PGconn *conn)
{
	title("extended protocol in a transaction");
	show(PQexecParams(conn, "BEGIN", 0, NULL, NULL, NULL, NULL, 0));
	show_state(conn);
	show(PQexecParams(conn,
			  "DECLARE c CURSOR FOR SELECT id, name FROM "
			  "item ORDER BY id",
			  0, NULL, NULL, NULL, NULL, 0));
	show(PQdescribePortal(conn, "c"));
	show(PQexecParams(conn, "FETCH 2 FROM c", 0, NULL, NULL, NULL, NULL,
			  1));
	show(PQexecParams(conn, "SAVEPOINT a", 0, NULL, NULL, NULL, NULL, 0));
	show(PQexecParams(conn, "SELECT 1 / 0", 0, NULL, NULL, NULL, NULL, 0));
	show_state(conn);
	show(PQexecParams(conn, "SELECT 1", 0, NULL, NULL, NULL, NULL, 0));
	show(PQexecParams(conn, "ROLLBACK TO a", 0, NULL, NULL, NULL, NULL, 0));
	show(PQexecParams(conn, "FETCH ALL FROM c", 0, NULL, NULL, NULL, NULL,
			  0));
	show(PQdescribePortal(conn, "nowhere"));
	show(PQexecParams(conn, "COMMIT", 0, NULL, NULL, NULL, NULL, 0));
	show_state(conn);
}

/* ---- Pipelines --------------------------------------------------------- */

static void ask(PGconn *conn, const char *sql)
{
	printf("> %s\n", sql);
	if (!PQsendQueryParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0))
		printf("  not sent: %s", PQerrorMessage(conn));
}

static void sync_pipeline(PGconn *conn)
{
	puts("> (sync)");
	if (!PQpipelineSync(conn))
		printf("  not sent: %s", PQerrorMessage(conn));
}

/* Reads up to the nth sync. */
static void show_up_to_sync(PGconn *conn, unsigned syncs)
{
	while (syncs) {
		PGresult *result = PQgetResult(conn);

		if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
			syncs--;
		else if (PQstatus(conn) != CONNECTION_OK)
			syncs = 0;
		show(result);
	}
	show_state(conn);
}

static void pipelines(PGconn *conn)
{
	const char *two[] = { "2" };

	title("pipeline");
	PQenterPipelineMode(conn);
	ask(conn, "SELECT 1");
	ask(conn, "INSERT INTO log (txt) VALUES ('piped')");
	PQsendPrepare(conn, "p", "SELECT name FROM item WHERE id = $1", 1,
		      NULL);
	PQsendDescribePrepared(conn, "p");
	PQsendQueryPrepared(conn, "p", 1, two, NULL, NULL, 1);
	ask(conn, "SELECT notes(2)");
	sync_pipeline(conn);
	show_up_to_sync(conn, 1);

	title("pipeline with an error, up to the sync, and then on");
	ask(conn, "INSERT INTO log (txt) VALUES ('lost')");
	ask(conn, "SELECT 1 / 0");
	ask(conn, "SELECT 'passed over'");
	PQsendQueryPrepared(conn, "p", 1, two, NULL, NULL, 0);
	sync_pipeline(conn);
	ask(conn, "SELECT txt FROM log");
	ask(conn, "SELEC");
	sync_pipeline(conn);
	sync_pipeline(conn);
	ask(conn, "SELECT 'at the end'");
	sync_pipeline(conn);
	show_up_to_sync(conn, 4);

	title("pipeline with transactions");
	ask(conn, "BEGIN");
	ask(conn, "INSERT INTO log (txt) VALUES ('in order')");
	ask(conn, "COMMIT");
	ask(conn, "INSERT INTO log (txt) VALUES ('lost')");
	ask(conn, "SELECT 1 / 0");
	sync_pipeline(conn);
	ask(conn, "BEGIN");
	ask(conn, "SELECT 1 / 0");
	sync_pipeline(conn);
	ask(conn, "SELECT 'not heard'");
	sync_pipeline(conn);
	ask(conn, "ROLLBACK");
	sync_pipeline(conn);
	show_up_to_sync(conn, 4);

	title("pipeline whose sync finds an error");
	ask(conn, "INSERT INTO line VALUES (1, 3) RETURNING id");
	ask(conn, "SELECT 'seen before'");
	sync_pipeline(conn);
	ask(conn, "SELECT count(*) FROM line");
	sync_pipeline(conn);
	show_up_to_sync(conn, 2);

	title("pipeline with a flush");
	ask(conn, "SELECT 'comes before the sync'");
	ask(conn, "SELECT notes(1)");
	PQsendFlushRequest(conn);
	PQflush(conn);
	for (unsigned i = 0; i < 4; i++)
		show(PQgetResult(conn));
	ask(conn, "SELECT txt FROM log ORDER BY id");
	sync_pipeline(conn);
	show_up_to_sync(conn, 1);

	title("pipeline of 500");
	for (unsigned i = 0; i < 500; i++)
		PQsendQueryPrepared(conn, "p", 1, two, NULL, NULL, 0);
	sync_pipeline(conn);
	for (unsigned i = 0; i < 499; i++) {
		PQclear(PQgetResult(conn));
		PQclear(PQgetResult(conn));
	}
	show_up_to_sync(conn, 1);
	PQexitPipelineMode(conn);
	show_state(conn);
	run(conn, "DEALLOCATE ALL");
	run(conn, "DELETE FROM log");
}

/* ---- Cursors, large values ---------------------------------------------- */

static void cursors(PGconn *conn)
{
	title("cursors");
	run(conn, "BEGIN");
	run(conn,
	    "DECLARE c SCROLL CURSOR FOR SELECT id FROM item ORDER BY id");
	run(conn, "DECLARE b BINARY CURSOR FOR SELECT id, name FROM item "
		  "ORDER BY id");
	run(conn, "FETCH 2 FROM c");
	run(conn, "MOVE 1 FROM c");
	run(conn, "FETCH PRIOR FROM c");
	run(conn, "FETCH 1 FROM b");
	run(conn, "FETCH 10 FROM c; FETCH 10 FROM c");
	run(conn, "CLOSE c");
	run(conn, "DECLARE h CURSOR WITH HOLD FOR SELECT name FROM item "
		  "ORDER BY id");
	run(conn, "COMMIT");
	run(conn, "FETCH 1 FROM h");
	run(conn, "FETCH 1 FROM b");
	run(conn, "CLOSE h");

	title("row by row");
	PQsendQuery(conn, "SELECT i FROM generate_series(1, 5) AS i; "
			  "SELECT i / (i - 2) FROM generate_series(1, 5) AS i");
	PQsetSingleRowMode(conn);
	show_rest(conn);
}

static void large_values(PGconn *conn)
{
	char *text = malloc(FIVE_MB + 1);
	const char *values[] = { text };

	for (size_t i = 0; i < FIVE_MB; i++)
		text[i] = (char)('a' + i % 26);
	text[FIVE_MB] = '\0';

	title("5 MB");
	show(PQexecParams(conn, "INSERT INTO big VALUES (1, $1)", 1, NULL,
			  values, NULL, NULL, 0));
	run(conn, "SELECT length(txt), md5(txt) FROM big");
	run(conn, "SELECT txt FROM big");
	show(PQexecParams(conn, "SELECT txt FROM big", 0, NULL, NULL, NULL,
			  NULL, 1));
	run(conn, "SELECT repeat('x', 100) FROM generate_series(1, 1000)");
	memcpy(text, "SELECT length('", 15);
	memcpy(text + FIVE_MB - 2, "')", 2);
	puts("> (a query of 5 MB)");
	show(PQexec(conn, text));
	show_state(conn);
	run(conn, "DELETE FROM big");
	free(text);
}

/* ---- COPY -------------------------------------------------------------- */

/* Takes what COPY sends, and what follows. */
static void copy_out(PGconn *conn, const char *sql)
{
	PGresult *result;
	char *line;
	int size;

	printf("> %s\n", sql);
	PQsendQuery(conn, sql);
	while ((result = PQgetResult(conn))) {
		bool copies = PQresultStatus(result) == PGRES_COPY_OUT;

		show(result);
		while (copies && (size = PQgetCopyData(conn, &line, 0)) > 0) {
			printf("    ");
			for (int i = 0; i < size; i++)
				printf(line[i] >= ' ' && line[i] < 0x7f ?
					       "%c" :
					       "\\x%02x",
				       (unsigned char)line[i]);
			putchar('\n');
			PQfreemem(line);
		}
	}
	show_state(conn);
}

/* Gives the lines to COPY; error: ends it that way. */
static void copy_in(PGconn *conn, const char *sql, const char *const *lines,
		    const char *error)
{
	PGresult *result;

	printf("> %s\n", sql);
	PQsendQuery(conn, sql);
	while ((result = PQgetResult(conn))) {
		bool copies = PQresultStatus(result) == PGRES_COPY_IN;

		show(result);
		if (!copies)
			continue;
		for (const char *const *line = lines; *line; line++)
			PQputCopyData(conn, *line, (int)strlen(*line));
		PQputCopyEnd(conn, error);
	}
	show_state(conn);
}

static void copies(PGconn *conn)
{
	const char *const good[] = { "10\tten\n11\tele", "ven\n", "12\t\\N\n",
				     NULL };
	const char *const bad[] = { "13\tthirteen\n", "x\ty\n", "14\tz\n",
				    NULL };
	const char *const nothing[] = { NULL };

	title("COPY out");
	copy_out(conn, "COPY item TO STDOUT");
	copy_out(conn, "COPY (SELECT id, name FROM item ORDER BY id) TO STDOUT "
		       "(FORMAT csv, HEADER)");
	copy_out(conn, "COPY (SELECT 1, 'x', NULL) TO STDOUT (FORMAT binary)");
	copy_out(conn, "SELECT 1; COPY (SELECT 2) TO STDOUT; SELECT 3");
	copy_out(conn, "COPY (SELECT 1 / (i - 2) FROM generate_series(1, 3) "
		       "AS i) TO STDOUT");
	copy_out(conn, "BEGIN; COPY (SELECT 2) TO STDOUT; COMMIT");

	title("COPY in");
	copy_in(conn, "COPY big FROM STDIN", good, NULL);
	copy_in(conn, "COPY big FROM STDIN", good, NULL);
	copy_in(conn, "COPY big FROM STDIN", bad, NULL);
	copy_in(conn, "COPY big FROM STDIN", good, "thought better of it");
	copy_in(conn, "COPY big FROM STDIN", nothing, NULL);
	copy_in(conn, "COPY nowhere FROM STDIN", good, NULL);
	run(conn, "DELETE FROM big");
	copy_in(conn, "COPY big FROM STDIN; SELECT 'behind it'; SELECT 1 / 0",
		good, NULL);
	run(conn, "SELECT count(*) FROM big");
	run(conn, "BEGIN");
	copy_in(conn, "COPY big FROM STDIN; SELECT count(*) FROM big", good,
		NULL);
	copy_in(conn, "COPY big FROM STDIN", good, NULL);
	run(conn, "ROLLBACK");

	title("COPY by the extended protocol");
	PQsendQueryParams(conn, "COPY big FROM STDIN", 0, NULL, NULL, NULL,
			  NULL, 0);
	show(PQgetResult(conn));
	PQputCopyData(conn, good[0], (int)strlen(good[0]));
	PQputCopyData(conn, good[1], (int)strlen(good[1]));
	PQputCopyEnd(conn, NULL);
	show_rest(conn);
	PQsendQueryParams(conn, "COPY big FROM STDIN", 0, NULL, NULL, NULL,
			  NULL, 0);
	show(PQgetResult(conn));
	PQputCopyEnd(conn, "no");
	show_rest(conn);
	run(conn, "SELECT * FROM big ORDER BY id");
	run(conn, "DELETE FROM big");
}

/* ---- Messages at any time ----------------------------------------------- */

static void show_notifications(PGconn *conn, unsigned count)
{
	PGnotify *notify;

	while (count) {
		PQconsumeInput(conn);
		while ((notify = PQnotifies(conn))) {
			printf("  notification %s: %s, %s\n", notify->relname,
			       notify->extra,
			       notify->be_pid == PQbackendPID(conn) ?
				       "own" :
				       "another's");
			PQfreemem(notify);
			count--;
		}
		if (count) {
			struct pollfd fd = { PQsocket(conn), POLLIN, 0 };

			poll(&fd, 1, -1);
		}
	}
}

static void notifications(PGconn *conn)
{
	PGconn *other;

	title("notifications");
	other = must_connect("");
	run(conn, "LISTEN news");
	run(other, "NOTIFY news, 'alone'");
	show_notifications(conn, 1);
	run(other, "BEGIN; NOTIFY news, 'first'; NOTIFY news, 'second'");
	run(other, "NOTIFY other; NOTIFY news, 'first'; COMMIT");
	show_notifications(conn, 2);
	run(conn, "NOTIFY news, 'to myself'");
	show_notifications(conn, 1);
	show(PQexecParams(conn, "SELECT pg_notify('news', 'by a function')", 0,
			  NULL, NULL, NULL, NULL, 0));
	show_notifications(conn, 1);
	run(conn, "UNLISTEN *");
	run(other, "NOTIFY news, 'nobody hears it'");
	run(conn, "SELECT 1");
	PQfinish(other);
}

/* Cancels until it helps: a request that comes before the statement does
 * nothing. */
static void cancel(void)
{
	PGconn *conn;
	PGcancel *request;
	char reason[256];

	title("cancel");
	/* A session of its own: a request may be late, too. */
	conn = must_connect("");
	request = PQgetCancel(conn);
	PQsendQuery(conn, "SELECT pg_sleep(600)");
	for (;;) {
		struct pollfd fd = { PQsocket(conn), POLLIN, 0 };

		if (poll(&fd, 1, CANCEL_EVERY_MS))
			break;
		if (!PQcancel(request, reason, sizeof(reason)))
			printf("  not cancelled: %s\n", reason);
	}
	show_rest(conn);
	PQfreeCancel(request);
	PQfinish(conn);
}

static void call(PGconn *conn, int function, int left, int right)
{
	PQArgBlock arguments[] = { { 4, 1, { NULL } }, { 4, 1, { NULL } } };
	int value = 0, size = 0;

	arguments[0].u.integer = left;
	arguments[1].u.integer = right;
	printf("> function %d of %d, %d\n", function, left, right);
	show(PQfn(conn, function, &value, &size, 1, arguments, 2));
	printf("  %d, %d bytes\n", value, size);
	show_state(conn);
}

static void functions(PGconn *conn)
{
	title("function calls");
	call(conn, INT4_PLUS, 40, 2);
	call(conn, INT4_DIVIDE, 84, 2);
	call(conn, INT4_DIVIDE, 84, 0);
	run(conn, "BEGIN");
	call(conn, INT4_PLUS, 40, 2);
	run(conn, "SAVEPOINT a");
	call(conn, INT4_DIVIDE, 84, 0);
	call(conn, INT4_PLUS, 40, 2);
	run(conn, "ROLLBACK TO a");
	call(conn, INT4_PLUS, 40, 2);
	run(conn, "COMMIT");
	call(conn, 1, 0, 0);
}

/* libpq makes them by function calls, too. */
static void large_objects(PGconn *conn)
{
	char bytes[32] = "";
	Oid oid;
	int fd;

	title("large objects");
	run(conn, "BEGIN");
	oid = lo_creat(conn, INV_READ | INV_WRITE);
	printf("  made: %s\n", oid ? "yes" : "no");
	fd = lo_open(conn, oid, INV_READ | INV_WRITE);
	printf("  written: %d\n", lo_write(conn, fd, "0123456789", 10));
	printf("  at: %d\n", lo_lseek(conn, fd, 4, SEEK_SET));
	printf("  read: %d", lo_read(conn, fd, bytes, 3));
	printf(" %s\n", bytes);
	printf("  cut: %d\n", lo_truncate(conn, fd, 5));
	printf("  at: %d\n", lo_lseek(conn, fd, 0, SEEK_END));
	printf("  closed: %d\n", lo_close(conn, fd));
	show_state(conn);
	run(conn, "SAVEPOINT a");
	printf("  closed again: %d %s", lo_close(conn, fd),
	       PQerrorMessage(conn));
	show_state(conn);
	run(conn, "ROLLBACK TO a");
	printf("  unlinked: %d\n", lo_unlink(conn, oid));
	run(conn, "COMMIT");
}

/* ---- Races --------------------------------------------------------------- */

/* Without a transaction: "insert". In one: "update"; "locked" asks for the row
 * first. The test runs two of them. */
static void race(const char *kind)
{
	const char *values[] = { "once" };
	char price[64];
	PGconn *conn = must_connect("");
	PGresult *result;

	if (!strcmp(kind, "insert")) {
		show(PQexecParams(conn,
				  "INSERT INTO log (txt) SELECT $1::text WHERE "
				  "NOT EXISTS (SELECT FROM log WHERE txt = $1)",
				  1, NULL, values, NULL, NULL, 0));
		PQfinish(conn);
		return;
	}
	run(conn, "BEGIN");
	result =
		PQexec(conn, !strcmp(kind, "locked") ?
				     "SELECT price + 1 FROM item WHERE id = 1 "
				     "FOR UPDATE" :
				     "SELECT price + 1 FROM item WHERE id = 1");
	snprintf(price, sizeof(price), "%s", PQgetvalue(result, 0, 0));
	show(result);
	values[0] = price;
	show(PQexecParams(conn, "UPDATE item SET price = $1 WHERE id = 1", 1,
			  NULL, values, NULL, NULL, 0));
	run(conn, "COMMIT");
	PQfinish(conn);
}

int main(int argc, char **argv)
{
	PGconn *conn;

	if (argc > 1) {
		race(argv[1]);
		return 0;
	}
	sessions();
	refused();
	conn = must_connect("");
	simple(conn);
	if (!getenv("UNDER_CONTROL"))
		schema_changes(conn);
	several(conn);
	transactions(conn);
	prepared(conn);
	parameters(conn);
	in_transaction_extended(conn);
	pipelines(conn);
	cursors(conn);
	large_values(conn);
	copies(conn);
	notifications(conn);
	functions(conn);
	if (!getenv("UNDER_CONTROL"))
		large_objects(conn);
	PQfinish(conn);
	cancel();
	reconnect();
	title("end");
	return 0;
}
