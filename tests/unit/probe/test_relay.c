/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay between a client and a server that are both this test: sockets in
 * one thread, and the loop goes round until what is waited for has come. Real
 * servers and clients are in tests/proxy.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "probe/relay.h"

#define ROUNDS_MAX 200000 /* of the loop: only what hangs gets there */
#define FAULTS_MAX 400

static const char startup[] = "\0\0\0\x1b\0\3\0\0user\0u\0database\0d\0";
static const char let_in[] = "R\0\0\0\x08\0\0\0\0"
			     "K\0\0\0\x0c\0\0\0\x4d\0\0\0\x05"
			     "Z\0\0\0\5I";
static const char query[] = "Q\0\0\0\x0dSELECT 1";

struct world {
	uv_loop_t loop;
	struct slm_relay *relay;
	int door; /* of the server */
	int server, client;
	/* What the hooks were told */
	struct slm_relay_connection *connection;
	unsigned opened, closed, cancelled, arrived;
	char why[100], line[300], user[40];
	int port; /* of the connection */
	bool holds;
	const char *sslmode; /* NULL: disable */
	struct slm_dialog *dialog;
	struct slm_arena arena;
};

/* ---- Hooks --------------------------------------------------------------- */

static void to_server(void *userdata, const void *bytes, size_t size)
{
	slm_relay_to_server(((struct world *)userdata)->connection, bytes,
			    size);
}

static void to_client(void *userdata, const void *bytes, size_t size)
{
	slm_relay_to_client(((struct world *)userdata)->connection, bytes,
			    size);
}

static const struct slm_pg_step *read_step(void *userdata, const char *sql,
					   size_t size)
{
	static const struct slm_pg_step nothing;

	(void)userdata, (void)sql, (void)size;
	return &nothing;
}

static void on_arrived(void *userdata, const struct slm_dialog_step *step)
{
	(void)step;
	((struct world *)userdata)->arrived++;
}

static struct slm_arena *results(void *userdata)
{
	(void)userdata;
	return NULL;
}

static void on_done(void *userdata, const struct slm_dialog_step *step,
		    const struct slm_result *result, char status)
{
	(void)userdata, (void)step, (void)result, (void)status;
}

static void on_idle(void *userdata, char status)
{
	(void)userdata, (void)status;
}

static void on_injected(void *userdata, const char *error)
{
	(void)userdata, (void)error;
}

static struct slm_dialog *on_open(void *userdata,
				  struct slm_relay_connection *connection,
				  const struct slm_wire_startup *said)
{
	static const struct slm_dialog_ops ops = {
		to_server, to_client, read_step, on_arrived,
		results,   on_done,   on_idle,	 on_injected,
	};
	struct world *w = userdata;

	w->opened++;
	w->connection = connection;
	w->port = slm_relay_connection_port(connection);
	snprintf(w->user, sizeof(w->user), "%s", said->user);
	slm_relay_set_data(connection, w);
	w->dialog = NULL;
	if (w->holds &&
	    !slm_dialog_new(&ops, w, &w->dialog, &(struct sqloom_error){ 0 }))
		slm_dialog_set_mode(w->dialog, SLM_DIALOG_HOLD);
	return w->dialog;
}

static void on_closed(void *userdata, struct slm_relay_connection *connection,
		      const char *why)
{
	struct world *w = userdata;

	assert_ptr_equal(slm_relay_data(connection), w);
	w->closed++;
	snprintf(w->why, sizeof(w->why), "%s", why);
}

static void on_cancelled(void *userdata, uint32_t pid)
{
	((struct world *)userdata)->cancelled = pid;
}

static void on_log(void *userdata, const char *line)
{
	struct world *w = userdata;

	snprintf(w->line, sizeof(w->line), "%s", line);
}

/* ---- The world ------------------------------------------------------------ */

static void turn(struct world *w)
{
	uv_run(&w->loop, UV_RUN_NOWAIT);
}

/* Goes round until there is something to read (or to accept) at fd. */
static void wait_readable(struct world *w, int fd)
{
	for (unsigned i = 0; i < ROUNDS_MAX; i++) {
		struct pollfd ready = { .fd = fd, .events = POLLIN };

		turn(w);
		if (poll(&ready, 1, 0) == 1)
			return;
	}
	fail_msg("nothing comes");
}

static void wait_for(struct world *w, const unsigned *count, unsigned wanted)
{
	for (unsigned i = 0; *count != wanted; i++) {
		if (i == ROUNDS_MAX)
			fail_msg("it does not come to %u", wanted);
		turn(w);
	}
}

/* Reads exactly this. */
static void expect(struct world *w, int fd, const void *bytes, size_t size)
{
	char heard[1000];
	size_t have = 0;

	assert_true(size <= sizeof(heard));
	while (have < size) {
		ssize_t n;

		wait_readable(w, fd);
		n = recv(fd, heard + have, size - have, 0);
		if (n <= 0)
			fail_msg("the end came after %zu of %zu bytes", have,
				 size);
		have += (size_t)n;
	}
	assert_memory_equal(heard, bytes, size);
}

static void expect_end(struct world *w, int fd)
{
	char byte;

	wait_readable(w, fd);
	assert_true(recv(fd, &byte, 1, 0) <= 0);
}

/* What is said up to the end. */
static size_t read_all(struct world *w, int fd, char *bytes, size_t size)
{
	size_t have = 0;
	ssize_t n;

	do {
		wait_readable(w, fd);
		n = recv(fd, bytes + have, size - have, 0);
		have += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	return have;
}

static void say(int fd, const void *bytes, size_t size)
{
	assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), size);
}

static int port_of(int fd)
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size),
			 0);
	return ntohs(address.sin_port);
}

static int make_door(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)),
			 0);
	assert_int_equal(listen(fd, 10), 0);
	return fd;
}

static int dial(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(
		connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static struct slm_relay_options options_of(struct world *w, char *conninfo)
{
	sprintf(conninfo, "host=127.0.0.1 port=%d sslmode=%s", port_of(w->door),
		w->sslmode ? w->sslmode : "disable");
	return (struct slm_relay_options){
		.loop = &w->loop,
		.conninfo = conninfo,
		.hooks = { on_open, on_closed, on_cancelled, on_log },
		.userdata = w,
	};
}

static void begin_with(struct world *w, const char *sslmode,
		       uint64_t startup_timeout_ms)
{
	struct slm_relay_options options;
	struct sqloom_error err = { 0 };
	char conninfo[100];

	*w = (struct world){ .server = -1,
			     .client = -1,
			     .door = make_door(),
			     .sslmode = sslmode };
	assert_int_equal(uv_loop_init(&w->loop), 0);
	options = options_of(w, conninfo);
	options.startup_timeout_ms = startup_timeout_ms;
	if (slm_relay_start(&options, &w->relay, &err))
		fail_msg("%s", err.message);
}

static void begin(struct world *w, uint64_t startup_timeout_ms)
{
	begin_with(w, NULL, startup_timeout_ms);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void end(struct world *w)
{
	close_fd(&w->client);
	close_fd(&w->server);
	close_fd(&w->door);
	slm_relay_stop(w->relay);
	assert_int_equal(w->closed, w->opened);
	assert_int_equal(uv_loop_close(&w->loop), 0);
}

/* A client that was let in. */
static void log_in(struct world *w)
{
	w->client = dial(slm_relay_port(w->relay));
	say(w->client, startup, sizeof(startup));
	wait_readable(w, w->door);
	w->server = accept(w->door, NULL, NULL);
	expect(w, w->server, startup, sizeof(startup));
	say(w->server, let_in, sizeof(let_in) - 1);
	expect(w, w->client, let_in, sizeof(let_in) - 1);
}

/* ---- Relaying -------------------------------------------------------------- */

static void test_both_ways(void **state)
{
	struct world w;

	(void)state;
	begin(&w, 0);
	log_in(&w);
	assert_int_equal(w.opened, 1);
	assert_string_equal(w.user, "u");
	assert_int_equal(w.port, slm_relay_port(w.relay));
	assert_int_equal(slm_relay_count(w.relay), 1);
	/* Bytes, whatever they mean. */
	say(w.client, "\xff\xfe half", 7);
	expect(&w, w.server, "\xff\xfe half", 7);
	say(w.server, "\0\1\2", 3);
	expect(&w, w.client, "\0\1\2", 3);
	end(&w);
}

static void test_closed_comes_last(void **state)
{
	struct world w;

	(void)state;
	begin(&w, 0);
	log_in(&w);
	say(w.client, "last words", 10);
	close_fd(&w.client);
	expect(&w, w.server, "last words", 10);
	expect_end(&w, w.server);
	for (unsigned i = 0; i < 100; i++)
		turn(&w);
	/* The server has not let go yet. */
	assert_int_equal(w.closed, 0);
	close_fd(&w.server);
	wait_for(&w, &w.closed, 1);
	assert_string_equal(w.why, "the client closed the connection");
	assert_int_equal(slm_relay_count(w.relay), 0);
	end(&w);
}

static void test_server_closes(void **state)
{
	char heard[100];
	struct world w;

	(void)state;
	begin(&w, 0);
	log_in(&w);
	say(w.server, "half a mess", 11);
	close_fd(&w.server);
	assert_int_equal(read_all(&w, w.client, heard, sizeof(heard)), 11);
	assert_memory_equal(heard, "half a mess", 11);
	close_fd(&w.client);
	wait_for(&w, &w.closed, 1);
	assert_string_equal(w.why, "the server closed the connection");
	end(&w);
}

static void test_end(void **state)
{
	char heard[200] = "";
	struct world w;
	size_t size;

	(void)state;
	begin(&w, 0);
	log_in(&w);
	slm_relay_end(w.connection, "the run is over");
	size = read_all(&w, w.client, heard, sizeof(heard));
	assert_true(size > 20 && heard[0] == 'E');
	assert_non_null(memmem(heard, size, "C57P01", 7));
	assert_non_null(memmem(heard, size, "Mthe run is over", 17));
	expect_end(&w, w.server);
	assert_int_equal(w.closed, 0);
	close_fd(&w.client);
	close_fd(&w.server);
	wait_for(&w, &w.closed, 1);
	end(&w);
}

static void test_further_door(void **state)
{
	struct sqloom_error err = { 0 };
	struct world w;
	int port = 0, taken = 0;

	(void)state;
	begin(&w, 0);
	assert_int_equal(slm_relay_listen(w.relay, 0, &port, &err), SQLOOM_OK);
	assert_true(port > 0 && port != slm_relay_port(w.relay));
	w.client = dial(port);
	say(w.client, startup, sizeof(startup));
	wait_for(&w, &w.opened, 1);
	assert_int_equal(w.port, port);
	assert_int_equal(slm_relay_listen(w.relay, port, &taken, &err),
			 SQLOOM_IO);
	assert_non_null(strstr(err.message, "in use"));
	assert_int_equal(slm_relay_listen(w.relay, 70000, &taken, &err),
			 SQLOOM_USAGE);
	assert_int_equal(taken, 0);
	end(&w);
}

static void test_cancel(void **state)
{
	static const char request[] = "\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x4d"
				      "\0\0\0\5";
	struct world w;

	(void)state;
	begin(&w, 0);
	log_in(&w);
	close_fd(&w.server);
	close_fd(&w.client);
	wait_for(&w, &w.closed, 1);
	w.client = dial(slm_relay_port(w.relay));
	say(w.client, request, 16);
	wait_readable(&w, w.door);
	w.server = accept(w.door, NULL, NULL);
	expect(&w, w.server, request, 16);
	/* The client does not wait: it is passed on all the same. */
	close_fd(&w.client);
	for (unsigned i = 0; i < 100; i++)
		turn(&w);
	assert_int_equal(w.cancelled, 0);
	close_fd(&w.server);
	wait_for(&w, &w.cancelled, 0x4d);
	end(&w);
}

/* What a client that is gone has left running is cancelled once it says more
 * than anybody would have let it say. */
static void test_endless_answer(void **state)
{
	static const char request[] = "\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x4d"
				      "\0\0\0\5";
	static const char chunk[64 * 1024];
	const struct linger by_force = { 1, 0 };
	struct world w;
	struct pollfd knocks;
	int canceller;

	(void)state;
	begin(&w, 0);
	log_in(&w);
	setsockopt(w.client, SOL_SOCKET, SO_LINGER, &by_force,
		   sizeof(by_force));
	close_fd(&w.client);
	fcntl(w.server, F_SETFL, O_NONBLOCK);
	knocks = (struct pollfd){ .fd = w.door, .events = POLLIN };
	for (unsigned i = 0; poll(&knocks, 1, 0) == 0; i++) {
		assert_true(i < ROUNDS_MAX);
		(void)!send(w.server, chunk, sizeof(chunk), MSG_NOSIGNAL);
		turn(&w);
	}
	canceller = accept(w.door, NULL, NULL);
	expect(&w, canceller, request, 16);
	assert_int_equal(w.closed, 0);
	close_fd(&canceller);
	wait_for(&w, &w.cancelled, 0x4d);
	close_fd(&w.server);
	wait_for(&w, &w.closed, 1);
	end(&w);
}

/* ---- TLS --------------------------------------------------------------------- */

/* Up to the server's answer to SSLRequest. */
static void ask_tls(struct world *w, const char *sslmode)
{
	begin_with(w, sslmode, 0);
	w->client = dial(slm_relay_port(w->relay));
	say(w->client, startup, sizeof(startup));
	wait_readable(w, w->door);
	w->server = accept(w->door, NULL, NULL);
	expect(w, w->server, "\0\0\0\x08\x04\xd2\x16\x2f", 8);
}

static void check_refused(struct world *w, const char *says)
{
	char heard[500];
	size_t size = read_all(w, w->client, heard, sizeof(heard));

	assert_non_null(memmem(heard, size, "C08001", 7));
	if (!memmem(heard, size, says, strlen(says)))
		fail_msg("'%s' is not in: %s", says, w->line);
	end(w);
}

static void test_server_without_tls(void **state)
{
	struct world w;

	(void)state;
	ask_tls(&w, "prefer");
	say(w.server, "N", 1);
	expect(&w, w.server, startup, sizeof(startup));
	end(&w);
	ask_tls(&w, "require");
	say(w.server, "N", 1);
	check_refused(&w, "does not offer it");
}

/* What stands behind the answer was put there by somebody in between: it is no
 * part of what is encrypted. */
static void test_words_behind_the_answer(void **state)
{
	struct world w;

	(void)state;
	ask_tls(&w, "require");
	say(w.server, "SZ\0\0\0\5I", 7);
	check_refused(&w, "no TLS with the server");
}

static void test_handshake_fails(void **state)
{
	char hello[2000];
	struct world w;

	(void)state;
	ask_tls(&w, "prefer");
	say(w.server, "S", 1);
	wait_readable(&w, w.server);
	assert_true(recv(w.server, hello, sizeof(hello), 0) > 50);
	assert_int_equal(hello[0], 0x16);
	say(w.server, "no TLS at all", 13);
	/* Once more, without. */
	wait_readable(&w, w.door);
	close_fd(&w.server);
	w.server = accept(w.door, NULL, NULL);
	expect(&w, w.server, startup, sizeof(startup));
	end(&w);
	ask_tls(&w, "require");
	say(w.server, "S", 1);
	say(w.server, "no TLS at all", 13);
	check_refused(&w, "wrong version number");
	ask_tls(&w, "require");
	close_fd(&w.server);
	check_refused(&w, "closed the connection");
}

/* ---- With a dialog ---------------------------------------------------------- */

static void test_held(void **state)
{
	struct sqloom_error err = { 0 };
	struct world w;
	char byte;

	(void)state;
	begin(&w, 0);
	w.holds = true;
	log_in(&w);
	say(w.client, query, sizeof(query));
	wait_for(&w, &w.arrived, 1);
	for (unsigned i = 0; i < 100; i++)
		turn(&w);
	assert_int_equal(recv(w.server, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(slm_dialog_grant(w.dialog, false, NULL, &err),
			 SQLOOM_OK);
	slm_relay_go_on(w.connection);
	expect(&w, w.server, query, sizeof(query));
	end(&w);
}

/* A statement that was sent is executed, also when its client is gone. */
static void test_held_and_gone(void **state)
{
	struct sqloom_error err = { 0 };
	struct world w;

	(void)state;
	begin(&w, 0);
	w.holds = true;
	log_in(&w);
	say(w.client, query, sizeof(query));
	close_fd(&w.client);
	wait_for(&w, &w.arrived, 1);
	for (unsigned i = 0; i < 100; i++)
		turn(&w);
	assert_int_equal(slm_dialog_grant(slm_relay_dialog(w.connection), false,
					  NULL, &err),
			 SQLOOM_OK);
	slm_relay_go_on(w.connection);
	expect(&w, w.server, query, sizeof(query));
	expect_end(&w, w.server);
	end(&w);
}

static void test_no_protocol(void **state)
{
	char heard[300];
	struct world w;
	size_t size;

	(void)state;
	begin(&w, 0);
	w.holds = true;
	log_in(&w);
	say(w.client, "?\0\0\0\4", 5);
	size = read_all(&w, w.client, heard, sizeof(heard));
	assert_non_null(memmem(heard, size, "C08P01", 7));
	assert_non_null(strstr(w.line, "client 127.0.0.1:"));
	expect_end(&w, w.server);
	end(&w);
}

/* ---- Limits ------------------------------------------------------------------ */

static void test_startup_timeout(void **state)
{
	char heard[300];
	struct world w;
	size_t size;

	(void)state;
	begin(&w, 20);
	w.client = dial(slm_relay_port(w.relay));
	say(w.client, startup, 10);
	size = read_all(&w, w.client, heard, sizeof(heard));
	assert_non_null(memmem(heard, size, "C08P01", 7));
	assert_non_null(strstr(w.line, "has not said who it is within 20 ms"));
	assert_int_equal(w.opened, 0);
	end(&w);
}

/* A server that takes the connection and says nothing is waited for as long as
 * the client likes: that is between the two. */
static void test_silent_server(void **state)
{
	struct world w;

	(void)state;
	begin(&w, 20);
	w.client = dial(slm_relay_port(w.relay));
	say(w.client, startup, sizeof(startup));
	wait_readable(&w, w.door);
	w.server = accept(w.door, NULL, NULL);
	expect(&w, w.server, startup, sizeof(startup));
	usleep(50000);
	for (unsigned i = 0; i < 100; i++)
		turn(&w);
	assert_string_equal(w.line, "");
	assert_int_equal(slm_relay_count(w.relay), 1);
	end(&w);
}

/* The relay takes no more than it has room for, and loses nothing. */
static void test_back_pressure(void **state)
{
	static char chunk[32 * 1024];
	size_t sent = 0, heard = 0;
	unsigned idle = 0;
	struct world w;
	ssize_t n;

	(void)state;
	begin(&w, 0);
	log_in(&w);
	fcntl(w.server, F_SETFL, O_NONBLOCK);
	fcntl(w.client, F_SETFL, O_NONBLOCK);
	while (idle < 1000) {
		n = send(w.server, chunk, sizeof(chunk), MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
		idle = n > 0 ? 0 : idle + 1;
		turn(&w);
		assert_true(sent < 100 * 1024 * 1024);
	}
	/* Another way is free all the while. */
	say(w.client, "hello", 5);
	expect(&w, w.server, "hello", 5);
	for (idle = 0; heard < sent; idle++) {
		assert_true(idle < ROUNDS_MAX);
		n = recv(w.client, chunk, sizeof(chunk), 0);
		heard += n > 0 ? (size_t)n : 0;
		turn(&w);
	}
	assert_int_equal(heard, sent);
	end(&w);
}

/* ---- Faults -------------------------------------------------------------------- */

/* A connection's life with the n-th allocation failing: nobody hangs. Returns
 * whether all went well. */
static bool live(uint64_t n)
{
	struct slm_relay_options options;
	struct sqloom_error err = { 0 };
	struct world w = { .server = -1, .client = -1 };
	struct pollfd ends[2];
	char conninfo[100], heard[1000];
	bool well = true;

	w.door = make_door();
	assert_int_equal(uv_loop_init(&w.loop), 0);
	options = options_of(&w, conninfo);
	w.holds = true;
	slm_alloc_fail_from(n);
	if (slm_relay_start(&options, &w.relay, &err)) {
		assert_int_equal(err.status, SQLOOM_NOMEM);
		w.relay = NULL;
		well = false;
	} else {
		w.client = dial(slm_relay_port(w.relay));
		say(w.client, startup, sizeof(startup));
		for (unsigned i = 0; i < 100; i++)
			turn(&w);
		ends[0] = (struct pollfd){ .fd = w.door, .events = POLLIN };
		if (poll(ends, 1, 0) == 1)
			w.server = accept(w.door, NULL, NULL);
		if (w.server >= 0)
			(void)!send(w.server, let_in, sizeof(let_in) - 1,
				    MSG_NOSIGNAL);
		for (unsigned i = 0; i < 50; i++)
			turn(&w);
		(void)!send(w.client, query, sizeof(query), MSG_NOSIGNAL);
		for (unsigned i = 0; i < 50; i++)
			turn(&w);
		well = w.server >= 0 && w.arrived == 1 &&
		       recv(w.client, heard, sizeof(heard), MSG_DONTWAIT) ==
			       sizeof(let_in) - 1;
	}
	slm_alloc_fail_from(0);
	end(&w);
	return well;
}

static void test_no_memory(void **state)
{
	int64_t before = slm_alloc_live();
	uint64_t n = 1;

	(void)state;
	while (!live(n)) {
		assert_int_equal(slm_alloc_live(), before);
		assert_true(n++ < FAULTS_MAX);
	}
	assert_true(n > 3);
	assert_int_equal(slm_alloc_live(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_closed_comes_last),
		cmocka_unit_test(test_server_closes),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_further_door),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_endless_answer),
		cmocka_unit_test(test_server_without_tls),
		cmocka_unit_test(test_words_behind_the_answer),
		cmocka_unit_test(test_handshake_fails),
		cmocka_unit_test(test_held),
		cmocka_unit_test(test_held_and_gone),
		cmocka_unit_test(test_no_protocol),
		cmocka_unit_test(test_startup_timeout),
		cmocka_unit_test(test_silent_server),
		cmocka_unit_test(test_back_pressure),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
