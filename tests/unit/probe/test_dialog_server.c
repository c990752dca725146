/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dialog between libpq and a real server: whatever the mode, the grants
 * and the pieces in which bytes come, a client sees what it sees without it.
 * Each scenario is run directly and through a small proxy around the dialog,
 * and what libpq told is compared as text.
 */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <libpq-fe.h>

#include <cmocka.h>

#include "pg/server.h"
#include "probe/dialog_compare.h"

#define PORT "5432"

static struct slm_pg_server *server;
static char server_socket[108];
static char place[64];
static unsigned nproxies;

/* ---- The proxy --------------------------------------------------------- */

struct proxy {
	pthread_t thread;
	struct talk *talk;
	char directory[96];
	int listener, client, server;
	bool later; /* grants come from outside of the dialog's calls */
	bool inject;
	const char *before;
};

static void write_all(int fd, const void *bytes, size_t size)
{
	const char *at = bytes;

	while (size) {
		ssize_t n = send(fd, at, size, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		at += n;
		size -= (size_t)n;
	}
}

static void send_out(struct talk *talk, bool to_server, const void *bytes,
		     size_t size)
{
	struct proxy *proxy = talk->userdata;

	write_all(to_server ? proxy->server : proxy->client, bytes, size);
	if (!to_server)
		slm_buf_append(&talk->to_client, bytes, size);
}

/* The startup packet is before the dialog. */
static bool pass_startup(struct proxy *proxy)
{
	unsigned char head[4], body[10000];
	size_t size;

	if (recv(proxy->client, head, 4, MSG_WAITALL) != 4)
		return false;
	size = ((size_t)head[2] << 8 | head[3]) - 4;
	if (size > sizeof(body) ||
	    recv(proxy->client, body, size, MSG_WAITALL) != (ssize_t)size)
		return false;
	write_all(proxy->server, head, 4);
	write_all(proxy->server, body, size);
	return true;
}

static void grant_later(struct proxy *proxy)
{
	struct talk *talk = proxy->talk;

	while (slm_dialog_step(talk->dialog) &&
	       !slm_dialog_under_way(talk->dialog)) {
		slm_dialog_grant(talk->dialog, talk->split, proxy->before,
				 NULL);
		talk_offer(talk);
	}
}

static bool pump(struct proxy *proxy, int fd)
{
	char bytes[20000];
	ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
	struct talk *talk = proxy->talk;

	if (n <= 0)
		return false;
	/* With pieces as small as bytes, large amounts would take long. */
	if (n > 5000 && talk->piece) {
		int piece = talk->piece;

		talk->piece = 1000;
		talk_feed(talk, fd == proxy->client, bytes, (size_t)n);
		talk->piece = piece;
	} else {
		talk_feed(talk, fd == proxy->client, bytes, (size_t)n);
	}
	if (proxy->later)
		grant_later(proxy);
	if (proxy->inject && slm_dialog_is_idle(talk->dialog))
		slm_dialog_inject(talk->dialog, "SET geqo_seed = 0.5");
	return !talk->failed;
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(
		connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void *run_proxy(void *userdata)
{
	struct proxy *proxy = userdata;

	proxy->client = accept(proxy->listener, NULL, NULL);
	proxy->server = connect_to(server_socket);
	if (pass_startup(proxy))
		for (;;) {
			struct pollfd fds[2] = {
				{ .fd = proxy->client, .events = POLLIN },
				{ .fd = proxy->server, .events = POLLIN }
			};

			poll(fds, 2, -1);
			if ((fds[1].revents && !pump(proxy, proxy->server)) ||
			    (fds[0].revents && !pump(proxy, proxy->client)))
				break;
		}
	close(proxy->client);
	close(proxy->server);
	return NULL;
}

static void start_proxy(struct proxy *proxy)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(proxy->directory, sizeof(proxy->directory), "%s/%u", place,
		 nproxies++);
	assert_int_equal(mkdir(proxy->directory, 0700), 0);
	snprintf(address.sun_path, sizeof(address.sun_path),
		 "%.80s/.s.PGSQL." PORT, proxy->directory);
	proxy->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(proxy->listener, (struct sockaddr *)&address,
			      sizeof(address)),
			 0);
	assert_int_equal(listen(proxy->listener, 1), 0);
	proxy->talk->out = send_out;
	proxy->talk->userdata = proxy;
	assert_int_equal(pthread_create(&proxy->thread, NULL, run_proxy, proxy),
			 0);
}

static void stop_proxy(struct proxy *proxy)
{
	char path[128];

	pthread_join(proxy->thread, NULL);
	close(proxy->listener);
	snprintf(path, sizeof(path), "%s/.s.PGSQL." PORT, proxy->directory);
	unlink(path);
	rmdir(proxy->directory);
}

/* ---- What libpq tells -------------------------------------------------- */

/* libpq reads ahead: when it tells of a notice depends on when bytes come. */
static struct slm_buf notices;

static void on_notice(void *userdata, const PGresult *result)
{
	slm_buf_printf(userdata, "  notice %s %s\n",
		       PQresultErrorField(result, PG_DIAG_SQLSTATE),
		       PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
}

static void tell_field(struct slm_buf *out, const PGresult *result, int field)
{
	const char *text = PQresultErrorField(result, field);

	if (text)
		slm_buf_printf(out, " %c=%s", field, text);
}

static void tell(struct slm_buf *out, const PGresult *result)
{
	static const int fields[] = {
		PG_DIAG_SQLSTATE,	 PG_DIAG_MESSAGE_PRIMARY,
		PG_DIAG_MESSAGE_DETAIL,	 PG_DIAG_STATEMENT_POSITION,
		PG_DIAG_CONSTRAINT_NAME, PG_DIAG_CONTEXT
	};

	slm_buf_printf(out, "  %s [%s]", PQresStatus(PQresultStatus(result)),
		       PQcmdStatus((PGresult *)result));
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		tell_field(out, result, fields[i]);
	for (int c = 0; c < PQnfields(result); c++)
		slm_buf_printf(out, " %s:%u:%d", PQfname(result, c),
			       PQftype(result, c), PQfformat(result, c));
	for (int p = 0; p < PQnparams(result); p++)
		slm_buf_printf(out, " $%u", PQparamtype(result, p));
	for (int r = 0; r < PQntuples(result); r++) {
		slm_buf_puts(out, " |");
		for (int c = 0; c < PQnfields(result); c++) {
			if (PQgetisnull(result, r, c))
				slm_buf_puts(out, " NULL");
			else if (PQgetlength(result, r, c) > 100)
				slm_buf_printf(out, " %d bytes",
					       PQgetlength(result, r, c));
			else if (PQfformat(result, c))
				slm_buf_printf(out, " binary %d",
					       PQgetlength(result, r, c));
			else
				slm_buf_printf(out, " %s",
					       PQgetvalue(result, r, c));
		}
	}
	slm_buf_putc(out, '\n');
}

static void tell_status(struct slm_buf *out, PGconn *conn)
{
	slm_buf_printf(out, "  = %d\n", PQtransactionStatus(conn));
	slm_buf_puts(out, notices.data ? notices.data : "");
	slm_buf_clear(&notices);
}

static void copy_in(PGconn *conn, const char *data, const char *error)
{
	if (data)
		for (size_t i = 0; i < strlen(data); i += 7)
			PQputCopyData(conn, data + i,
				      (int)strnlen(data + i, 7));
	PQputCopyEnd(conn, error);
}

static const char *copied, *copy_error;

static void tell_all(struct slm_buf *out, PGconn *conn)
{
	PGresult *result;

	while ((result = PQgetResult(conn))) {
		ExecStatusType status = PQresultStatus(result);
		char *line;

		tell(out, result);
		PQclear(result);
		if (status == PGRES_COPY_IN)
			copy_in(conn, copied, copy_error);
		while (status == PGRES_COPY_OUT &&
		       PQgetCopyData(conn, &line, 0) > 0) {
			slm_buf_printf(out, "  copied %s", line);
			PQfreemem(line);
		}
		if (PQstatus(conn) == CONNECTION_BAD)
			break;
	}
	tell_status(out, conn);
}

static void query(struct slm_buf *out, PGconn *conn, const char *sql)
{
	slm_buf_printf(out, "%.200s\n", sql);
	PQsendQuery(conn, sql);
	tell_all(out, conn);
}

static void params(struct slm_buf *out, PGconn *conn, const char *sql,
		   const char *a, const char *b, int format)
{
	const char *const values[] = { a, b };

	slm_buf_printf(out, "%.200s <- %s, %s\n", sql, a ? a : "", b ? b : "");
	PQsendQueryParams(conn, sql, a ? b ? 2 : 1 : 0, NULL, values, NULL,
			  NULL, format);
	tell_all(out, conn);
}

/* ---- Scenarios --------------------------------------------------------- */

static const char *const start =
	"DROP SCHEMA IF EXISTS s CASCADE; CREATE SCHEMA s";

static void make_tables(PGconn *conn)
{
	PQclear(PQexec(conn, start));
	PQclear(PQexec(conn, "SET search_path = s; SET client_min_messages = "
			     "notice"));
	PQclear(PQexec(
		conn,
		"CREATE TABLE t (id int PRIMARY KEY, v text);"
		"CREATE TABLE d (id int UNIQUE DEFERRABLE INITIALLY "
		"DEFERRED);"
		"CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS "
		"$$BEGIN RAISE NOTICE 'late %', NEW.id; RETURN NULL; END$$;"
		"CREATE TABLE n (id int);"
		"CREATE CONSTRAINT TRIGGER c AFTER INSERT ON n DEFERRABLE "
		"INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()"));
}

static void simple_queries(struct slm_buf *out, PGconn *conn)
{
	static const char *const queries[] = {
		"SELECT 1 AS a, 'x' AS b",
		"",
		"  -- nothing\n",
		";",
		"INSERT INTO t VALUES (1, 'one'), (2, 'two')",
		"SELECT * FROM t ORDER BY id",
		"UPDATE t SET v = upper(v) RETURNING id, v",
		"INSERT INTO t VALUES (1, 'again')",
		"SELECT * FROM t ORDER BY id",
		"SELEC 1",
		"SELECT nothing FROM t",
		"SELECT 1/0",
		"DO $$BEGIN RAISE NOTICE 'hello'; END$$",
		("DO $$BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; "
		 "END$$"),
		"VACUUM t",
		"SET work_mem = '8MB'",
		"SHOW work_mem",
		"SET TimeZone = 'Europe/Paris'",
		"SET application_name = 'app'",
		"SELECT generate_series(1, 5000), repeat('x', 50)",
		"SELECT repeat('y', 3000000)",
		"LOCK TABLE t",
		"SET LOCAL work_mem = '9MB'",
		"SHOW work_mem",
		"SAVEPOINT a",
		"COMMIT",
		"DELETE FROM t WHERE id = 7",
		"LISTEN ch",
		"NOTIFY ch, 'payload'",
		"SELECT 2",
		"UNLISTEN *",
		"CREATE TABLE u (id int); DROP TABLE u",
		"PREPARE p (int) AS SELECT $1 + 1",
		"EXECUTE p (4)",
		"DEALLOCATE p",
		"EXPLAIN (COSTS OFF) SELECT * FROM t",
		"INSERT INTO n VALUES (1)",
		"INSERT INTO n VALUES (2), (3) RETURNING id",
		"INSERT INTO d VALUES (1), (1)",
		"INSERT INTO d VALUES (1), (1) RETURNING id",
		"SELECT count(*) FROM d",
		"DISCARD ALL",
		"SET search_path = s",
		"SELECT pg_notify('ch', 'x')",
	};

	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++)
		query(out, conn, queries[i]);
}

static void transactions(struct slm_buf *out, PGconn *conn)
{
	static const char *const queries[] = {
		"BEGIN",
		"INSERT INTO t VALUES (1, 'one')",
		"SELECT * FROM t",
		"INSERT INTO t VALUES (1, 'one')",
		"SELECT * FROM t",
		"SELECT 1; SELECT 2",
		"COMMIT",
		"SELECT * FROM t",
		"BEGIN ISOLATION LEVEL SERIALIZABLE",
		"SAVEPOINT a",
		"SELECT 1/0",
		"ROLLBACK TO a",
		"INSERT INTO t VALUES (2, 'two'); INSERT INTO t VALUES (3, 'x')",
		"RELEASE a",
		"COMMIT AND CHAIN",
		"INSERT INTO d VALUES (1), (1)",
		"COMMIT",
		"BEGIN; INSERT INTO t VALUES (4, 'four'); COMMIT",
		"BEGIN; INSERT INTO t VALUES (4, 'four'); COMMIT",
		"SELECT 1",
		"ROLLBACK",
		"BEGIN; INSERT INTO t VALUES (5, 'five'); SELECT nope; COMMIT",
		"ROLLBACK; SELECT 3",
		"BEGIN; INSERT INTO t VALUES (6, 'six')",
		"SELECT 3; SELECT 4; ROLLBACK",
		"BEGIN; INSERT INTO t VALUES (6, 'six'); ROLLBACK",
		"BEGIN; INSERT INTO d VALUES (2), (2); COMMIT",
		"BEGIN; SAVEPOINT b; SELECT 1; ROLLBACK TO b; COMMIT",
		"SELECT * FROM t ORDER BY id",
		"START TRANSACTION READ ONLY; INSERT INTO t VALUES (9)",
		"END",
		"BEGIN; BEGIN; SELECT 1; COMMIT",
		"COMMIT; SELECT 1",
		"BEGIN; COMMIT; BEGIN; SELECT 1",
		"ABORT",
	};

	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++)
		query(out, conn, queries[i]);
}

static void several(struct slm_buf *out, PGconn *conn)
{
	static const char *const queries[] = {
		"SELECT 1; SELECT 2 AS b; SELECT 3",
		"INSERT INTO t VALUES (1, 'one'); SELECT * FROM t; UPDATE t "
		"SET v = 'x'",
		"INSERT INTO t VALUES (2, 'two'); INSERT INTO t VALUES (2, "
		"'again'); SELECT 1",
		"SELECT * FROM t",
		"/* one */ SELECT 1 ; -- two\n ; SELECT 'é', nothing; SELECT 4",
		"SELECT 1; SELEC 2",
		"INSERT INTO t VALUES (7, 'kept?'); SELECT 1; SELECT 1/0",
		"INSERT INTO n VALUES (1); INSERT INTO n VALUES (2)",
		"INSERT INTO d VALUES (1); INSERT INTO d VALUES (1)",
		"INSERT INTO d VALUES (1); SELECT 5; INSERT INTO d VALUES (1)",
		"SELECT 1; VACUUM t",
		"SELECT 1; BEGIN; SELECT 2",
		"SELECT 3; COMMIT",
		"SET LOCAL work_mem = '7MB'; SHOW work_mem",
		"SHOW work_mem",
		"DECLARE c CURSOR FOR SELECT generate_series(1, 3); FETCH ALL "
		"FROM c",
		"LOCK TABLE t; SELECT 1",
		"INSERT INTO t VALUES (3, 'three');;; SELECT * FROM t ORDER BY "
		"id;",
		"SET standard_conforming_strings = off",
		"SELECT 'a\\'; SELECT '; SELECT 2",
		"RESET standard_conforming_strings",
		"SELECT * FROM t ORDER BY id",
		"SET client_encoding = 'LATIN1'",
		"SELECT '\xe9', 1; SELECT nothing",
	};

	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++)
		query(out, conn, queries[i]);
}

static void extended_queries(struct slm_buf *out, PGconn *conn)
{
	params(out, conn, "SELECT $1::int + 1", "4", NULL, 0);
	params(out, conn, "SELECT $1::int + 1", "4", NULL, 1);
	params(out, conn, "", NULL, NULL, 0);
	params(out, conn, "INSERT INTO t VALUES ($1, $2)", "1", "it's", 0);
	params(out, conn, "INSERT INTO t VALUES ($1, $2)", "1", "it's", 0);
	params(out, conn, "SELEC", NULL, NULL, 0);
	params(out, conn, "SELECT nothing", NULL, NULL, 0);
	params(out, conn, "SELECT $1::int", "x", NULL, 0);
	params(out, conn, "SELECT 1; SELECT 2", NULL, NULL, 0);
	params(out, conn, "INSERT INTO d VALUES (1), (1)", NULL, NULL, 0);
	params(out, conn, "INSERT INTO n VALUES (1)", NULL, NULL, 0);
	params(out, conn, "VACUUM t", NULL, NULL, 0);
	params(out, conn, "LOCK TABLE t", NULL, NULL, 0);
	params(out, conn, "SELECT generate_series(1, 3000), repeat('x', 30)",
	       NULL, NULL, 0);
	params(out, conn, "SELECT repeat('x', 3000000)", NULL, NULL, 0);
	params(out, conn, "BEGIN", NULL, NULL, 0);
	params(out, conn, "UPDATE t SET v = $2 WHERE id = $1", "1", "b", 0);
	params(out, conn, "SAVEPOINT a", NULL, NULL, 0);
	params(out, conn, "SELECT 1/0", NULL, NULL, 0);
	params(out, conn, "SELECT 1", NULL, NULL, 0);
	params(out, conn, "ROLLBACK TO a", NULL, NULL, 0);
	params(out, conn, "COMMIT", NULL, NULL, 0);
	params(out, conn, "SELECT * FROM t", NULL, NULL, 0);
	params(out, conn, "DO $$BEGIN RAISE NOTICE 'hi'; END$$", NULL, NULL, 0);
}

static void prepared(struct slm_buf *out, PGconn *conn)
{
	const char *const values[] = { "3" };

	PQsendPrepare(conn, "p", "SELECT $1::int AS n", 0, NULL);
	tell_all(out, conn);
	PQsendPrepare(conn, "p", "SELECT 'other'", 0, NULL);
	tell_all(out, conn);
	PQsendPrepare(conn, "bad", "SELEC", 0, NULL);
	tell_all(out, conn);
	for (int i = 0; i < 3; i++) {
		PQsendQueryPrepared(conn, "p", 1, values, NULL, NULL, i & 1);
		tell_all(out, conn);
	}
	PQsendDescribePrepared(conn, "p");
	tell_all(out, conn);
	PQsendQueryPrepared(conn, "bad", 1, values, NULL, NULL, 0);
	tell_all(out, conn);
	PQsendPrepare(conn, "", "INSERT INTO t VALUES ($1, 'unnamed')", 0,
		      NULL);
	tell_all(out, conn);
	for (int i = 0; i < 2; i++) {
		PQsendQueryPrepared(conn, "", 1, values, NULL, NULL, 0);
		tell_all(out, conn);
	}
	query(out, conn, "PREPARE s AS SELECT 5");
	PQsendQueryPrepared(conn, "s", 0, NULL, NULL, NULL, 0);
	tell_all(out, conn);
	query(out, conn, "DEALLOCATE p");
	PQsendQueryPrepared(conn, "p", 1, values, NULL, NULL, 0);
	tell_all(out, conn);
	query(out, conn, "BEGIN; DECLARE c CURSOR FOR SELECT 1 AS one");
	PQsendDescribePortal(conn, "c");
	tell_all(out, conn);
	query(out, conn, "FETCH c; CLOSE c; COMMIT");
}

static void copies(struct slm_buf *out, PGconn *conn)
{
	static const char *const ways[] = { "simple", "extended" };

	for (int i = 0; i < 2; i++) {
		void (*run)(struct slm_buf *, PGconn *, const char *,
			    const char *, const char *, int) = params;

		slm_buf_printf(out, "%s\n", ways[i]);
		query(out, conn, "TRUNCATE t");
#define COPY(sql)                                           \
	do {                                                \
		if (i)                                      \
			run(out, conn, sql, NULL, NULL, 0); \
		else                                        \
			query(out, conn, sql);              \
	} while (0)
		copied = "1\tone\n2\ttwo\n3\t\\N\n";
		copy_error = NULL;
		COPY("COPY t FROM STDIN");
		COPY("COPY t TO STDOUT");
		COPY("COPY (SELECT * FROM t ORDER BY id DESC) TO STDOUT");
		COPY("COPY t FROM STDIN"); /* not unique */
		copied = "4\tfour\nx\ty\n5\tfive\n";
		COPY("COPY t FROM STDIN"); /* no number */
		copied = "6\tsix\n";
		copy_error = "enough";
		COPY("COPY t FROM STDIN");
		copy_error = NULL;
		COPY("COPY d FROM STDIN");
		copied = "1\n1\n";
		COPY("COPY d FROM STDIN"); /* at the commit */
		COPY("COPY nowhere FROM STDIN");
		COPY("COPY nowhere TO STDOUT");
		copied = "";
		COPY("COPY t FROM STDIN");
		COPY("COPY (SELECT 1/(id - 2) FROM t ORDER BY id) TO STDOUT");
		COPY("BEGIN");
		copied = "7\tseven\n";
		COPY("COPY t FROM STDIN");
		COPY("COPY t TO STDOUT");
		COPY("ROLLBACK");
		COPY("COPY (SELECT repeat('z', 200), generate_series(1, 2000)) "
		     "TO STDOUT");
		COPY("SELECT * FROM t ORDER BY id");
	}
	copied = "10\tten\n";
	query(out, conn, "COPY t FROM STDIN; SELECT 1; COPY t TO STDOUT");
	copied = "11\n";
	query(out, conn, "SELECT 1; COPY d FROM STDIN; COPY d FROM STDIN");
	query(out, conn, "SELECT * FROM t ORDER BY id");
}

static void sync_point(PGconn *conn)
{
	PQpipelineSync(conn);
}

static void tell_pipeline(struct slm_buf *out, PGconn *conn, int nsyncs)
{
	while (nsyncs) {
		PGresult *result = PQgetResult(conn);

		if (!result) {
			if (PQstatus(conn) == CONNECTION_BAD)
				return;
			continue;
		}
		tell(out, result);
		nsyncs -= PQresultStatus(result) == PGRES_PIPELINE_SYNC;
		PQclear(result);
	}
	tell_status(out, conn);
}

static void put(PGconn *conn, const char *sql)
{
	PQsendQueryParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0);
}

static void pipelines(struct slm_buf *out, PGconn *conn)
{
	static const char *const all[][6] = {
		{ "INSERT INTO t VALUES (1, 'a')", "SELECT * FROM t",
		  "UPDATE t SET v = 'b'" },
		{ "INSERT INTO t VALUES (2, 'a')",
		  "INSERT INTO t VALUES (1, 'a')", "SELECT 1", "SELECT 2" },
		{ "SELECT count(*) FROM t" },
		{ "BEGIN", "INSERT INTO t VALUES (3, 'c')", "COMMIT",
		  "INSERT INTO t VALUES (4, 'd')", "SELECT 1" },
		{ "BEGIN", "INSERT INTO t VALUES (3, 'c')", "SELECT 1" },
		{ "SELECT 1", "COMMIT" },
		{ "INSERT INTO t VALUES (5, 'e')", "BEGIN",
		  "INSERT INTO t VALUES (6, 'f')" },
		{ "ROLLBACK", "SELECT count(*) FROM t" },
		{ "INSERT INTO t VALUES (7, 'g')", "COMMIT",
		  "INSERT INTO t VALUES (7, 'h')" },
		{ "INSERT INTO t VALUES (8, 'g')", "ROLLBACK",
		  "INSERT INTO t VALUES (8, 'h')" },
		{ "INSERT INTO d VALUES (1)", "INSERT INTO d VALUES (1)",
		  "SELECT count(*) FROM d" },
		{ "INSERT INTO n VALUES (1)", "INSERT INTO n VALUES (2)" },
		{ "SELECT nope", "SELECT 1" },
		{ "SELECT 1", "SELEC", "SELECT 3" },
		{ NULL },
		{ "BEGIN", "SAVEPOINT a", "SELECT 1/0", "SELECT 1" },
		{ "ROLLBACK TO a", "SELECT 2", "COMMIT AND CHAIN", "SELECT 4" },
		{ "ROLLBACK" },
		{ "SELECT generate_series(1, 3000), repeat('p', 40)",
		  "SELECT 1" },
		{ "SELECT * FROM t ORDER BY id" },
	};
	size_t n = sizeof(all) / sizeof(all[0]);

	PQenterPipelineMode(conn);
	for (size_t i = 0; i < n; i++) {
		for (int j = 0; j < 6 && all[i][j]; j++)
			put(conn, all[i][j]);
		sync_point(conn);
		tell_pipeline(out, conn, 1);
	}
	/* All at once. */
	PQclear(NULL);
	for (size_t i = 0; i < n; i++) {
		for (int j = 0; j < 6 && all[i][j]; j++)
			put(conn, all[i][j]);
		sync_point(conn);
	}
	tell_pipeline(out, conn, (int)n);
	/* Flush before the Sync. */
	put(conn, "INSERT INTO t VALUES (20, 'flush')");
	PQsendFlushRequest(conn);
	PQflush(conn);
	for (int i = 0; i < 2; i++) {
		PGresult *result = PQgetResult(conn);

		if (result)
			tell(out, result);
		PQclear(result);
	}
	put(conn, "INSERT INTO t VALUES (20, 'flush')");
	sync_point(conn);
	tell_pipeline(out, conn, 1);
	assert_int_equal(PQexitPipelineMode(conn), 1);
	query(out, conn, "SELECT * FROM t ORDER BY id");
}

static void fatal(struct slm_buf *out, PGconn *conn)
{
	query(out, conn, "SELECT 1");
	slm_buf_puts(out, "terminate\n");
	PQsendQuery(conn, "SELECT pg_terminate_backend(pg_backend_pid())");
	tell_all(out, conn);
	slm_buf_printf(out, "%d\n", PQstatus(conn));
}

/* ---- Comparing --------------------------------------------------------- */

typedef void (*scenario_fn)(struct slm_buf *out, PGconn *conn);

static void play(scenario_fn scenario, const char *conninfo,
		 struct slm_buf *out)
{
	PGconn *conn = PQconnectdb(conninfo);

	slm_buf_init(out);
	assert_int_equal(PQstatus(conn), CONNECTION_OK);
	PQsetNoticeReceiver(conn, on_notice, &notices);
	make_tables(conn);
	slm_buf_clear(&notices);
	scenario(out, conn);
	PQfinish(conn);
	assert_false(slm_buf_failed(out));
}

static const char *proxied(const struct proxy *proxy, char *text, size_t size)
{
	const char *conninfo = slm_pg_server_conninfo(server);

	/* The later host wins. */
	snprintf(text, size,
		 "%s host='%s' port=" PORT " sslmode=disable "
		 "gssencmode=disable",
		 conninfo, proxy->directory);
	return text;
}

struct way {
	enum slm_dialog_mode mode;
	bool split, later, inject;
	int piece;
	const char *before;
};

static const struct way ways[] = {
	{ .mode = SLM_DIALOG_PASS },
	{ .mode = SLM_DIALOG_PASS, .piece = 1 },
	{ .mode = SLM_DIALOG_TRACK },
	{ .mode = SLM_DIALOG_TRACK, .piece = 1 },
	{ .mode = SLM_DIALOG_TRACK, .piece = -1 },
	{ .mode = SLM_DIALOG_HOLD },
	{ .mode = SLM_DIALOG_HOLD, .piece = -1, .later = true },
	{ .mode = SLM_DIALOG_HOLD, .split = true },
	{ .mode = SLM_DIALOG_HOLD, .split = true, .piece = 1 },
	{ .mode = SLM_DIALOG_HOLD, .split = true, .piece = -1 },
	{ .mode = SLM_DIALOG_HOLD, .split = true, .later = true },
	{ .mode = SLM_DIALOG_HOLD, .split = true, .later = true, .piece = -1 },
	{ .mode = SLM_DIALOG_HOLD,
	  .split = true,
	  .before = "SET geqo_seed = 0.25" },
	{ .mode = SLM_DIALOG_HOLD, .split = true, .inject = true },
};

/* The first line that differs, and those around it. */
static void show_difference(const char *expected, const char *found)
{
	size_t same = 0, from;

	while (expected[same] && expected[same] == found[same])
		same++;
	from = same > 300 ? same - 300 : 0;
	print_error("expected:\n%.600s\n", expected + from);
	print_error("found:\n%.600s\n", found + from);
}

/* bytes: those of the first way, which passes them on as they are. */
static void compare_way(scenario_fn scenario, const struct way *way,
			const struct slm_buf *expected, struct slm_buf *bytes)
{
	struct proxy proxy = { .later = way->later,
			       .inject = way->inject,
			       .before = way->before,
			       .talk = talk_new(way->mode, way->piece) };
	struct slm_buf found;
	char conninfo[512];

	proxy.talk->split = way->split;
	proxy.talk->grants = !way->later;
	proxy.talk->before = way->before;
	start_proxy(&proxy);
	play(scenario, proxied(&proxy, conninfo, sizeof(conninfo)), &found);
	stop_proxy(&proxy);
	if (proxy.talk->failed)
		print_error("%s\n", proxy.talk->err.message);
	assert_false(proxy.talk->failed);
	assert_int_equal(proxy.talk->steps, proxy.talk->dones);
	if (strcmp(expected->data, found.data) != 0) {
		print_error("mode %d split %d later %d piece %d before %s "
			    "inject %d\n",
			    way->mode, way->split, way->later, way->piece,
			    way->before ? way->before : "-", way->inject);
		show_difference(expected->data, found.data);
		fail();
	}
	slm_buf_deinit(&found);
	if (bytes->size)
		assert_true(same_messages(bytes, &proxy.talk->to_client));
	else
		slm_buf_append(bytes, proxy.talk->to_client.data,
			       proxy.talk->to_client.size);
	talk_free(proxy.talk);
}

static void compare(scenario_fn scenario)
{
	struct slm_buf expected, bytes = { 0 };

	play(scenario, slm_pg_server_conninfo(server), &expected);
	if (getenv("SHOW"))
		puts(expected.data);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		compare_way(scenario, &ways[i], &expected, &bytes);
	slm_buf_deinit(&expected);
	slm_buf_deinit(&bytes);
}

#define TEST(name)                            \
	static void test_##name(void **state) \
	{                                     \
		(void)state;                  \
		compare(name);                \
	}

TEST(simple_queries)
TEST(transactions)
TEST(several)
TEST(extended_queries)
TEST(prepared)
TEST(copies)
TEST(pipelines)
TEST(fatal)

/* ---- Values ------------------------------------------------------------- */

/* A value is the same as text and in binary, and so is a parameter. */
static const char *const values[] = {
	"true",
	"false",
	"NULL::int",
	"(-32768)::int2",
	"7::int4",
	"(-9223372036854775807)::int8",
	"4294967295::oid",
	"1.5::float4",
	"0.1::float4",
	"123456789::float4",
	"1e-7::float4",
	"0::float8",
	"'-0'::float8",
	"0.1::float8",
	"1e14::float8",
	"1e15::float8",
	"1234567890123456.7::float8",
	"123456789012345.6::float8",
	"0.0001::float8",
	"0.00001::float8",
	"-1.7976931348623157e308::float8",
	"5e-324::float8",
	"'NaN'::float8",
	"'Infinity'::float8",
	"'-Infinity'::float4",
	"0::numeric",
	"1.10::numeric",
	"-12345678901234567890.123456789::numeric",
	"0.00001::numeric",
	"10000::numeric",
	"100000000::numeric",
	"9999.9999::numeric",
	"'NaN'::numeric",
	"'Infinity'::numeric",
	"'text'::text",
	"'it''s'::varchar",
	"'c'::char(3)",
	"'n'::name",
	"'x'::\"char\"",
	"'{\"a\": [1, 2]}'::json",
	"'{\"a\": [1, 2]}'::jsonb",
	"'00112233-4455-6677-8899-aabbccddeeff'::uuid",
	"'2000-01-01'::date",
	"'1999-12-31'::date",
	"'2024-02-29'::date",
	"'1900-02-28'::date",
	"'0044-03-15 BC'::date",
	"'infinity'::date",
	"'2024-02-29 12:34:56.7'::timestamp",
	"'1999-12-31 23:59:59.999999'::timestamp",
	"'0044-03-15 01:02:03 BC'::timestamp",
	"'-infinity'::timestamp",
	"'2024-02-29 12:34:56+00'::timestamptz",
	"'\\x00ff10'::bytea",
	"''::bytea",
};

static char *result_of(struct proxy *proxy, PGconn *conn, const char *sql,
		       int format)
{
	struct slm_buf *log = &proxy->talk->log;
	PGresult *result;
	char *line;

	/* The other thread is idle: it has given the answer. */
	slm_buf_clear(log);
	result = PQexecParams(conn, sql, 0, NULL, NULL, NULL, NULL, format);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		print_error("%s: %s\n", sql, PQerrorMessage(conn));
	assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
	PQclear(result);
	/* Behind the answer it still writes its log. */
	result = PQexec(conn, "");
	PQclear(result);
	line = strchr(log->data, '(');
	assert_non_null(line);
	line = strdup(strstr(log->data, "\n-"));
	*strchr(line + 1, '\n') = '\0';
	return line;
}

static void test_values(void **state)
{
	struct proxy proxy = { .talk = talk_new(SLM_DIALOG_TRACK, 0) };
	char conninfo[512], sql[200];
	PGconn *conn;

	(void)state;
	start_proxy(&proxy);
	conn = PQconnectdb(proxied(&proxy, conninfo, sizeof(conninfo)));
	assert_int_equal(PQstatus(conn), CONNECTION_OK);
	PQclear(PQexec(conn, "SET TimeZone = 'UTC'"));
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		char *text, *binary;

		snprintf(sql, sizeof(sql), "SELECT %s AS v", values[i]);
		text = result_of(&proxy, conn, sql, 0);
		binary = result_of(&proxy, conn, sql, 1);
		assert_string_equal(text, binary);
		free(text);
		free(binary);
	}
	PQfinish(conn);
	stop_proxy(&proxy);
	talk_free(proxy.talk);
}

/* ---- The server -------------------------------------------------------- */

static int start_server(void **state)
{
	struct sqloom_error err;
	PGconn *conn;

	(void)state;
	if (slm_pg_server_start(NULL, &server, &err)) {
		print_error("%s\n", err.message);
		return -1;
	}
	snprintf(place, sizeof(place), "%s", P_tmpdir "/sqloom-test-XXXXXX");
	if (!mkdtemp(place))
		return -1;
	conn = PQconnectdb(slm_pg_server_conninfo(server));
	snprintf(server_socket, sizeof(server_socket), "%s/.s.PGSQL.%s",
		 PQhost(conn), PQport(conn));
	PQfinish(conn);
	return 0;
}

static int stop_server(void **state)
{
	(void)state;
	slm_pg_server_stop(server);
	slm_buf_deinit(&notices);
	return rmdir(place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_simple_queries),
		cmocka_unit_test(test_transactions),
		cmocka_unit_test(test_several),
		cmocka_unit_test(test_extended_queries),
		cmocka_unit_test(test_prepared),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_pipelines),
		cmocka_unit_test(test_fatal),
		cmocka_unit_test(test_values),
	};

	return cmocka_run_group_tests(tests, start_server, stop_server);
}
