/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random conversations with a real server, byte for byte: what a client is sent
 * through the dialog must be what the server sends without it, whatever the
 * client says (pipelines, errors in the middle, COPY, transactions across
 * batches), however bytes are cut, and whatever is granted how.
 *
 * There is no library on the client's side: messages are put together here.
 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <libpq-fe.h>

#include <cmocka.h>

#include "pg/server.h"
#include "probe/dialog_compare.h"

#define BATCHES 60
#define SEEDS 8

static struct slm_pg_server *server;
static uint64_t current; /* seed */
static char server_socket[108], user[64], database[64];

/* ---- What the client says ----------------------------------------------- */

static const char *const statements[] = {
	"SELECT 1",
	"SELECT v FROM t ORDER BY id",
	"INSERT INTO t VALUES (1, 'a') ON CONFLICT DO NOTHING",
	"INSERT INTO t VALUES (1, 'a')",
	"UPDATE t SET v = v || '.' WHERE length(v) < 20",
	"DELETE FROM t",
	"INSERT INTO d VALUES (1), (1)",
	"INSERT INTO n VALUES (1)",
	"SELECT 1/0",
	"SELEC",
	"SELECT nothing FROM t",
	"",
	"BEGIN",
	"COMMIT",
	"ROLLBACK",
	"BEGIN",
	"COMMIT",
	"SAVEPOINT a",
	"ROLLBACK TO a",
	"RELEASE a",
	"COMMIT AND CHAIN",
	"VACUUM t",
	"LOCK TABLE t",
	"SET LOCAL work_mem = '5MB'",
	"SET application_name = 'one'",
	"SET application_name = 'two'",
	"SHOW application_name",
	"DO $$BEGIN RAISE NOTICE 'note'; END$$",
	"DO $$BEGIN RAISE EXCEPTION 'no'; END$$",
	"SELECT generate_series(1, 400), repeat('x', 30)",
	"SELECT repeat('y', 9000)",
	"COPY t TO STDOUT",
	"COPY t FROM STDIN",
	"COPY t FROM STDIN",
	"SET CONSTRAINTS ALL IMMEDIATE",
	"NOTIFY ch, 'x'",
	"LISTEN ch",
	"UNLISTEN ch",
	"PREPARE s1 AS SELECT 7",
	"DEALLOCATE s1",
	"DEALLOCATE ALL",
	"DECLARE c1 CURSOR FOR SELECT generate_series(1, 3)",
	"FETCH 2 FROM c1",
	"CLOSE c1",
};

static const char *const several[] = {
	"SELECT 1; SELECT 2",
	"INSERT INTO t VALUES (2, 'b'); SELECT * FROM t; DELETE FROM t",
	"INSERT INTO d VALUES (2); INSERT INTO d VALUES (2)",
	"INSERT INTO n VALUES (2); SELECT 3; INSERT INTO n VALUES (3)",
	"SELECT 1; SELECT nope; SELECT 2",
	"DELETE FROM t; INSERT INTO t VALUES (5, 'e'); SELECT 1/0; SELECT 4",
	"BEGIN; INSERT INTO t VALUES (3, 'c'); COMMIT",
	"BEGIN; SELECT 1/0; COMMIT",
	"BEGIN; SELECT 5",
	"SELECT 6; COMMIT",
	"ROLLBACK; SELECT 7",
	"SELECT 1; BEGIN; SELECT 2",
	"COMMIT; BEGIN; SELECT 8",
	"SAVEPOINT b; SELECT 1/0; ROLLBACK TO b",
	("SET client_encoding = 'LATIN1'; SELECT '\303\251'; SET "
	 "client_encoding = 'UTF8'"),
	"COPY t FROM STDIN; SELECT 9",
	"SELECT 1; VACUUM t",
	"SET LOCAL work_mem = '6MB'; SHOW work_mem",
};

static const char *const names[] = { "", "", "s1", "s2" };
static const char *const portals[] = { "", "", "", "c1", "c2" };

#define PICK(rng, list) \
	((list)[slm_rng_below((rng), sizeof(list) / sizeof((list)[0]))])

static void put_close(struct slm_buf *out, char type, char kind,
		      const char *name)
{
	size_t at = out->size;

	slm_wire_put_close(out, kind, name);
	out->data[at] = type;
}

static void put_copy_data(struct slm_buf *out, struct slm_rng *rng)
{
	static const char *const rows[] = { "8\tx\n", "9\ty\n", "1\ta\n",
					    "bad\n" };
	const char *row = PICK(rng, rows);
	char head[5] = { 'd', 0, 0, 0, (char)(4 + strlen(row)) };

	slm_buf_append(out, head, 5);
	slm_buf_append(out, row, strlen(row));
}

static void put_copy_end(struct slm_buf *out, struct slm_rng *rng)
{
	static const char fail[] = "f\0\0\0\10why";

	if (slm_rng_below(rng, 3))
		slm_wire_put_simple(out, SLM_WIRE_COPY_DONE);
	else
		slm_buf_append(out, fail, sizeof(fail));
}

/* What is behind it would end the connection. */
static bool copies_in(const char *sql)
{
	return strstr(sql, "FROM STDIN");
}

/* False: nothing may follow. */
static bool put_execution(struct slm_buf *out, struct slm_rng *rng)
{
	const char *name = PICK(rng, names), *portal = PICK(rng, portals);
	const char *sql = PICK(rng, statements);

	if (slm_rng_below(rng, 4))
		slm_wire_put_parse(out, name, sql, strlen(sql));
	if (slm_rng_below(rng, 12))
		slm_wire_put_bind(out, portal, name);
	if (slm_rng_below(rng, 2))
		put_close(out, 'D', 'P', portal);
	slm_wire_put_execute(out, portal, slm_rng_below(rng, 3) ? 0 : 2);
	if (copies_in(sql))
		return false;
	if (slm_rng_below(rng, 4) == 0)
		slm_wire_put_execute(out, portal, 2);
	return true;
}

static bool put_something(struct slm_buf *out, struct slm_rng *rng)
{
	const char *sql = "";

	switch (slm_rng_below(rng, 16)) {
	case 0:
	case 1:
		sql = PICK(rng, statements);
		slm_wire_put_query(out, sql, strlen(sql));
		break;
	case 2:
		sql = PICK(rng, several);
		slm_wire_put_query(out, sql, strlen(sql));
		break;
	case 3:
		put_close(out, 'D', 'S', PICK(rng, names));
		break;
	case 4:
		slm_wire_put_close(out, slm_rng_below(rng, 2) ? 'S' : 'P',
				   slm_rng_below(rng, 2) ? PICK(rng, names) :
							   PICK(rng, portals));
		break;
	case 5:
		slm_wire_put_simple(out, SLM_WIRE_FLUSH);
		break;
	case 6:
	case 7:
	case 8:
		slm_wire_put_simple(out, SLM_WIRE_SYNC);
		break;
	default:
		return put_execution(out, rng);
	}
	return !copies_in(sql);
}

/* A batch is sent at once, up to where the client must listen. */
static void put_batch(struct slm_buf *out, struct slm_rng *rng)
{
	for (uint64_t n = 1 + slm_rng_below(rng, 8); n; n--)
		if (!put_something(out, rng) && slm_rng_below(rng, 50))
			return;
}

/* ---- Sides -------------------------------------------------------------- */

struct side {
	int fd;
	bool gone;	   /* the server has closed the connection */
	struct talk *talk; /* NULL: directly */
	bool later;	   /* grants come from outside of the dialog's calls */
	bool random_split;
	bool random_mode;
	struct slm_rng rng; /* of grants */
	struct slm_buf answer, said;
};

static void write_all(int fd, const void *bytes, size_t size)
{
	const char *at = bytes;

	while (size) {
		ssize_t n = send(fd, at, size, MSG_NOSIGNAL);

		if (n <= 0)
			return; /* recv() tells */
		at += n;
		size -= (size_t)n;
	}
}

static void send_out(struct talk *talk, bool to_server, const void *bytes,
		     size_t size)
{
	struct side *side = talk->userdata;

	if (to_server)
		write_all(side->fd, bytes, size);
	else
		slm_buf_append(&side->answer, bytes, size);
}

static void grant(struct side *side)
{
	struct talk *talk = side->talk;

	while (side->later && slm_dialog_step(talk->dialog) &&
	       !slm_dialog_under_way(talk->dialog)) {
		bool split = !side->random_split ||
			     slm_rng_below(&side->rng, 2);

		slm_dialog_grant(talk->dialog, split, talk->before, NULL);
		talk_offer(talk);
	}
}

static void say(struct side *side, const struct slm_buf *bytes)
{
	slm_buf_append(&side->said, bytes->data, bytes->size);
	if (!side->talk) {
		write_all(side->fd, bytes->data, bytes->size);
		return;
	}
	if (side->random_mode)
		slm_dialog_set_mode(
			side->talk->dialog,
			(enum slm_dialog_mode)slm_rng_below(&side->rng, 3));
	talk_feed(side->talk, true, bytes->data, bytes->size);
	grant(side);
}

/* Has the client been told this? And is the answer behind it whole? */
static bool has_heard(const struct side *side, const char *what)
{
	const char *data = side->answer.data, *last = NULL;
	const char *end = data ? data + side->answer.size : data;

	for (const char *at = data; at < end;) {
		struct slm_wire_message m;

		if (slm_wire_look(SLM_WIRE_FROM_SERVER, at, (size_t)(end - at),
				  &m, NULL) != SLM_WIRE_MESSAGE ||
		    m.have < m.size)
			return false;
		if (m.type == SLM_WIRE_COPY_IN_RESPONSE && !*what)
			return true;
		if (m.type == SLM_WIRE_DATA_ROW && *what &&
		    memmem(m.body, m.size, what, strlen(what)))
			last = at;
		if (m.type == SLM_WIRE_READY_FOR_QUERY && last)
			return true;
		at += SLM_WIRE_HEADER + m.size;
	}
	return false;
}

/* False: nothing came in time. */
static bool hear(struct side *side, int ms)
{
	struct pollfd wait = { .fd = side->fd, .events = POLLIN };
	char bytes[30000];
	ssize_t n;

	if (poll(&wait, 1, ms) <= 0)
		return false;
	n = recv(side->fd, bytes, sizeof(bytes), 0);
	side->gone = n <= 0;
	if (side->gone)
		return true;
	if (!side->talk) {
		slm_buf_append(&side->answer, bytes, (size_t)n);
		return true;
	}
	if (n > 3000) {
		int piece = side->talk->piece;

		side->talk->piece = piece ? 1000 : 0;
		talk_feed(side->talk, false, bytes, (size_t)n);
		side->talk->piece = piece;
	} else {
		talk_feed(side->talk, false, bytes, (size_t)n);
	}
	if (side->talk->failed)
		print_error("%s\n", side->talk->err.message);
	assert_false(side->talk->failed);
	grant(side);
	return true;
}

static void show(const char *who, const struct slm_buf *bytes)
{
	const char *at = bytes->data, *end = at + bytes->size;

	print_error("%s:\n", who);
	while (at < end) {
		uint32_t size;

		memcpy(&size, at + 1, 4);
		size = __builtin_bswap32(size) + 1;
		fprintf(stderr, "  %c ", *at);
		for (uint32_t i = 5; i < size && i < 90; i++)
			fputc((unsigned char)at[i] < ' ' ? '.' : at[i], stderr);
		fputc('\n', stderr);
		at += size;
	}
}

static void hear_until(struct side *side, const char *what)
{
	while (!side->gone && !has_heard(side, what))
		if (!hear(side, 10000)) {
			print_error(
				"seed %llu, \"%s\" is not answered: step %p, status %c\n",
				(unsigned long long)current, what,
				side->talk ? (const void *)slm_dialog_step(
						     side->talk->dialog) :
					     NULL,
				side->talk ?
					slm_dialog_status(side->talk->dialog) :
					'-');
			if (side->talk)
				print_error(
					"%s\n",
					side->talk->log.data +
						(side->talk->log.size > 700 ?
							 side->talk->log.size -
								 700 :
							 0));
			show("said", &side->said);
			show("answered", &side->answer);
			fail();
		}
}

/* Whatever the state: CopyFail and Sync end it, and a Query is answered. */
static void put_end(struct slm_buf *out, const char *what)
{
	static const char fail[] = "f\0\0\0\10end";
	char sql[80];

	slm_buf_append(out, fail, sizeof(fail));
	slm_wire_put_simple(out, SLM_WIRE_SYNC);
	slm_wire_put_query(out, "ROLLBACK", 8);
	snprintf(sql, sizeof(sql), "SELECT '%s'", what);
	slm_wire_put_query(out, sql, strlen(sql));
}

static void open_side(struct side *side)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct slm_buf start = { 0 };
	char head[8] = { 0, 0, 0, 0, 0, 3, 0, 0 };

	side->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s",
		 server_socket);
	assert_int_equal(connect(side->fd, (struct sockaddr *)&address,
				 sizeof(address)),
			 0);
	slm_buf_append(&start, head, 8);
	slm_buf_append(&start, "user", 5);
	slm_buf_append(&start, user, strlen(user) + 1);
	slm_buf_append(&start, "database", 9);
	slm_buf_append(&start, database, strlen(database) + 1);
	slm_buf_append(&start, "client_encoding\0UTF8\0", 22);
	start.data[3] = (char)start.size;
	write_all(side->fd, start.data, start.size);
	slm_buf_deinit(&start);
	while (!side->answer.size ||
	       side->answer.data[side->answer.size - 6] != 'Z')
		assert_true(hear(side, 10000));
	slm_buf_clear(&side->answer);
}

static void close_side(struct side *side)
{
	close(side->fd);
	slm_buf_deinit(&side->answer);
	slm_buf_deinit(&side->said);
	if (side->talk)
		talk_free(side->talk);
}

/* ---- Conversations ------------------------------------------------------ */

static void make_tables(void)
{
	PGconn *conn = PQconnectdb(slm_pg_server_conninfo(server));
	PGresult *result = PQexec(
		conn,
		"SET client_min_messages = warning;"
		"DROP TABLE IF EXISTS t, d, n;"
		"CREATE TABLE t (id int PRIMARY KEY, v text);"
		"CREATE TABLE d (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);"
		"CREATE TABLE n (id int);"
		"CREATE OR REPLACE FUNCTION late() RETURNS trigger LANGUAGE "
		"plpgsql AS $$BEGIN RAISE NOTICE 'late %', NEW.id; RETURN "
		"NULL; END$$;"
		"CREATE CONSTRAINT TRIGGER c AFTER INSERT ON n DEFERRABLE "
		"INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()");

	assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
	PQclear(result);
	PQfinish(conn);
}

/* Data are sent blindly: outside of a COPY they are ignored. */
static void maybe_copy(struct side *side, struct slm_rng *rng)
{
	struct slm_buf bytes = { 0 };

	/* As libpq does, which sends it behind each Execute. Later it would
	 * depend on how far the COPY gets. */
	if (slm_rng_below(rng, 3) == 0)
		slm_wire_put_simple(&bytes, SLM_WIRE_SYNC);
	for (uint64_t n = slm_rng_below(rng, 5); n; n--)
		put_copy_data(&bytes, rng);
	put_copy_end(&bytes, rng);
	if (slm_rng_below(rng, 2))
		slm_wire_put_simple(&bytes, SLM_WIRE_SYNC);
	say(side, &bytes);
	slm_buf_deinit(&bytes);
}

/* One batch, and what ends it. */
static void converse(struct side *side, struct slm_rng *rng, unsigned n)
{
	struct slm_buf bytes = { 0 };
	char what[40];

	snprintf(what, sizeof(what), "end-%u-", n);
	put_batch(&bytes, rng);
	slm_wire_put_simple(&bytes, SLM_WIRE_FLUSH);
	say(side, &bytes);
	slm_buf_clear(&bytes);
	if (slm_rng_below(rng, 2))
		maybe_copy(side, rng);
	put_end(&bytes, what);
	say(side, &bytes);
	hear_until(side, what);
	slm_buf_deinit(&bytes);
}

static void run(struct side *side, uint64_t seed, struct slm_buf *answers,
		struct slm_buf *said)
{
	struct slm_rng rng;

	make_tables();
	open_side(side);
	slm_rng_init(&rng, seed);
	for (unsigned n = 0; n < BATCHES && !side->gone; n++) {
		slm_buf_clear(&side->answer);
		slm_buf_clear(&side->said);
		converse(side, &rng, n);
		slm_buf_append(&answers[n], side->answer.data,
			       side->answer.size);
		if (said)
			slm_buf_append(&said[n], side->said.data,
				       side->said.size);
	}
}

static struct side make_side(uint64_t seed)
{
	static const int pieces[] = { 0, 1, -1 };
	enum slm_dialog_mode mode = seed % 3 == 0 ? SLM_DIALOG_TRACK :
						    SLM_DIALOG_HOLD;
	struct side side = { .talk = talk_new(mode, pieces[seed / 3 % 3]) };

	side.later = mode == SLM_DIALOG_HOLD && seed % 2;
	side.random_split = seed % 5 == 0;
	side.random_mode = seed % 7 == 0;
	side.later |= side.random_mode;
	slm_rng_init(&side.rng, seed);
	side.talk->grants = !side.later;
	side.talk->split = true;
	side.talk->before = seed % 4 == 1 ? "SET geqo_seed = 0.5" : NULL;
	side.talk->out = send_out;
	return side;
}

static void test_seed(uint64_t seed)
{
	static struct slm_buf expected[BATCHES], found[BATCHES], said[BATCHES];
	struct side direct = { 0 }, side = make_side(seed);

	side.talk->userdata = &side;
	run(&direct, seed, expected, NULL);
	close_side(&direct);
	run(&side, seed, found, said);
	for (unsigned n = 0; n < BATCHES; n++) {
		bool same = same_messages(&expected[n], &found[n]);

		if (!same) {
			print_error("seed %llu, batch %u\n",
				    (unsigned long long)seed, n);
			show("said", &said[n]);
			show("expected", &expected[n]);
			show("found", &found[n]);
		}
		assert_true(same);
		slm_buf_deinit(&expected[n]);
		slm_buf_deinit(&found[n]);
		slm_buf_deinit(&said[n]);
	}
	close_side(&side);
}

static void test_conversations(void **state)
{
	const char *first = getenv("SEED");
	uint64_t seed = first ? strtoull(first, NULL, 10) : 1;
	const char *count = getenv("SEEDS");
	uint64_t n = count ? strtoull(count, NULL, 10) : SEEDS;

	(void)state;
	for (uint64_t i = 0; i < n; i++) {
		current = seed + i;
		test_seed(seed + i);
	}
}

/* ---- The server --------------------------------------------------------- */

static int start_server(void **state)
{
	struct sqloom_error err;
	PGconn *conn;

	(void)state;
	if (slm_pg_server_start(NULL, &server, &err)) {
		print_error("%s\n", err.message);
		return -1;
	}
	conn = PQconnectdb(slm_pg_server_conninfo(server));
	snprintf(server_socket, sizeof(server_socket), "%s/.s.PGSQL.%s",
		 PQhost(conn), PQport(conn));
	snprintf(user, sizeof(user), "%s", PQuser(conn));
	snprintf(database, sizeof(database), "%s", PQdb(conn));
	PQfinish(conn);
	return 0;
}

static int stop_server(void **state)
{
	(void)state;
	slm_pg_server_stop(server);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conversations),
	};

	return cmocka_run_group_tests(tests, start_server, stop_server);
}
