/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The beginning of a connection: the client says who it is, the server is
 * connected, with TLS if sslmode says so, and lets the client in. What they
 * say about passwords passes through, with one exception (drop_plus).
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "probe/relay_internal.h"

#define AUTHENTICATION_SASL 10
#define SCRAM_PLUS "SCRAM-SHA-256-PLUS"
#define SSL_REQUEST 80877103
/* SSLRequest and GSSENCRequest, each once. */
#define REQUESTS_MAX 2
/* The queue of a server's Unix socket is full: then again. */
#define AGAIN_MS 5
#define REFUSED_SQLSTATE "08P01"
#define UNREACHED_SQLSTATE "08001"

/* ---- Who it is ---------------------------------------------------------- */

void slm_relay_refuse_full(struct slm_relay_connection *c)
{
	char text[100];

	snprintf(text, sizeof(text),
		 "there are %u connections already, and no more are allowed",
		 c->relay->connections_max);
	/* Thousands may come: once is enough. */
	if (!c->relay->full)
		slm_relay_log(c, "%s; so are others until one ends", text);
	c->relay->full = true;
	slm_relay_fatal(c, "53300", text);
}

static void open_client(struct slm_relay_connection *c,
			const struct slm_wire_startup *startup)
{
	struct slm_relay *relay = c->relay;

	if (relay->ncounted >= relay->connections_max) {
		slm_relay_refuse_full(c);
		return;
	}
	relay->full = false;
	c->counted = true;
	relay->ncounted++;
	if (relay->hooks.open) {
		c->opened = true;
		c->dialog = relay->hooks.open(relay->userdata, c, startup);
	}
	if (c->state == SLM_RELAY_STARTUP)
		slm_relay_connect(c);
}

static void answer_request(struct slm_relay_connection *c, uint32_t size)
{
	if (++c->requests > REQUESTS_MAX) {
		slm_relay_refuse(c, REFUSED_SQLSTATE,
				 "encryption is asked for again and again");
		return;
	}
	slm_relay_queue_drop(&c->client.in, size);
	slm_relay_side_send(&c->client, "N", 1);
}

static void look(struct slm_relay_connection *c,
		 const struct slm_wire_startup *startup)
{
	switch (startup->kind) {
	case SLM_WIRE_SSL_REQUEST:
	case SLM_WIRE_GSSENC_REQUEST:
		answer_request(c, startup->size);
		break;
	case SLM_WIRE_CANCEL_REQUEST:
		c->startup_size = startup->size;
		c->cancels = true;
		c->cancels_pid = startup->pid;
		slm_relay_connect(c);
		break;
	case SLM_WIRE_STARTUP:
		c->startup_size = startup->size;
		open_client(c, startup);
		break;
	case SLM_WIRE_OTHER_PROTOCOL:
		slm_relay_refuse(c, "0A000",
				 "protocol %u.%u is not supported, only 3.0 "
				 "and its newer minor versions",
				 startup->protocol >> 16,
				 startup->protocol & 0xffff);
		break;
	}
}

void slm_relay_startup(struct slm_relay_connection *c)
{
	while (c->state == SLM_RELAY_STARTUP) {
		struct slm_relay_queue *in = &c->client.in;
		char why[SLM_WIRE_WHY] = "";
		struct slm_wire_startup startup;
		enum slm_wire_found found = slm_wire_look_startup(
			slm_relay_queue_bytes(in), slm_relay_queue_size(in),
			&startup, why);

		if (found == SLM_WIRE_MORE)
			return;
		if (found == SLM_WIRE_BAD)
			slm_relay_refuse(c, REFUSED_SQLSTATE,
					 "this is no PostgreSQL client: %s",
					 why);
		else
			look(c, &startup);
	}
}

/* ---- The way to the server ---------------------------------------------- */

/* The next attempt needs a new socket, and so a new handle. */
static void again(struct slm_relay_connection *c)
{
	c->state = SLM_RELAY_CONNECT;
	c->retries = true;
	if (c->server.polled) {
		c->server.polled = false;
		slm_relay_close(c, (uv_handle_t *)&c->server.poll);
		return;
	}
	slm_relay_connect(c);
}

static void start_timer(struct slm_relay_connection *c, uint64_t ms)
{
	uv_timer_start(&c->timer, slm_relay_on_timer, ms, 0);
}

static uint64_t time_left(const struct slm_relay_connection *c)
{
	uint64_t now = uv_now(c->relay->loop);

	return c->deadline > now ? c->deadline - now : 0;
}

static void not_connected(struct slm_relay_connection *c, int error)
{
	const struct slm_relay_server *server = &c->relay->server;

	if (++c->address < server->naddresses)
		again(c);
	else
		slm_relay_refuse(c, UNREACHED_SQLSTATE,
				 "cannot connect to the server at %s: %s",
				 server->name, strerror(error));
}

static void ask_tls(struct slm_relay_connection *c)
{
	const uint32_t request[2] = { htonl(sizeof(request)),
				      htonl(SSL_REQUEST) };

	c->state = SLM_RELAY_ASK_TLS;
	slm_relay_side_send(&c->server, request, sizeof(request));
}

static void connected(struct slm_relay_connection *c)
{
	/* libpq, too, sends a CancelRequest without TLS. */
	if (c->relay->server.tls && !c->plain && !c->cancels)
		ask_tls(c);
	else
		slm_relay_open(c);
}

void slm_relay_connect(struct slm_relay_connection *c)
{
	const struct slm_relay_address *address =
		&c->relay->server.addresses[c->address];
	struct slm_relay_side *side = &c->server;
	int error = 0;

	c->state = SLM_RELAY_CONNECT;
	c->retries = false;
	assert(!side->polled);
	slm_relay_side_deinit(side);
	side->fd = socket(address->bytes.ss_family,
			  SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (side->fd < 0) {
		slm_relay_refuse(c, "53300", "cannot connect to the server: %s",
				 strerror(errno));
		return;
	}
	setsockopt(side->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 },
		   sizeof(int));
	if (connect(side->fd, (const struct sockaddr *)&address->bytes,
		    address->size) != 0)
		error = errno;
	if (error == EAGAIN) {
		c->retries = true;
		start_timer(c, AGAIN_MS);
		return;
	}
	if (error && error != EINPROGRESS) {
		not_connected(c, error);
		return;
	}
	start_timer(c, time_left(c));
	uv_poll_init(c->relay->loop, &side->poll, side->fd);
	side->polled = true;
	side->poll.data = c;
	if (!error)
		connected(c);
}

/* ---- TLS ---------------------------------------------------------------- */

static void tls_failed(struct slm_relay_connection *c, const char *why)
{
	const struct slm_relay_server *server = &c->relay->server;

	if (server->tls_mode != SLM_TLS_PREFER) {
		slm_relay_refuse(c, UNREACHED_SQLSTATE,
				 "no TLS with the server at %s, which sslmode "
				 "asks for: %s",
				 server->name, why);
		return;
	}
	c->plain = true;
	again(c);
}

static void shake_hands(struct slm_relay_connection *c)
{
	char why[200] = "";
	enum slm_tls_progress progress =
		slm_tls_handshake(c->server.tls, why, sizeof(why));

	slm_relay_side_flush(&c->server);
	if (progress == SLM_TLS_DONE)
		slm_relay_open(c);
	else if (progress == SLM_TLS_FAILED)
		tls_failed(c, why);
	else if (c->server.eof)
		tls_failed(c, "it closed the connection");
}

/* The byte alone is read: who puts more behind it, unencrypted, means no
 * good. */
static void read_answer(struct slm_relay_connection *c)
{
	char answer;
	bool plain = c->relay->server.tls_mode == SLM_TLS_PREFER;

	if (!slm_relay_side_read(&c->server, &answer, 1)) {
		if (c->server.eof)
			tls_failed(c, "it closed the connection");
		return;
	}
	if (answer == 'N' && plain) {
		slm_relay_open(c);
		return;
	}
	if (answer != 'S') {
		tls_failed(c, "it does not offer it");
		return;
	}
	c->server.tls = slm_tls_new(c->relay->server.tls);
	if (!c->server.tls) {
		slm_relay_refuse(c, "53200", "out of memory");
		return;
	}
	c->state = SLM_RELAY_HANDSHAKE;
	shake_hands(c);
}

static void read_handshake(struct slm_relay_connection *c)
{
	char *bytes = c->relay->bytes;
	size_t size =
		slm_relay_side_read(&c->server, bytes, sizeof(c->relay->bytes));

	if (size && !slm_tls_receive(c->server.tls, bytes, size))
		slm_relay_refuse(c, "53200", "out of memory");
	else if (size || c->server.eof)
		shake_hands(c);
}

void slm_relay_server_ready(struct slm_relay_connection *c)
{
	socklen_t size = sizeof(int);
	int error = 0;

	if (c->state == SLM_RELAY_ASK_TLS) {
		read_answer(c);
	} else if (c->state == SLM_RELAY_HANDSHAKE) {
		read_handshake(c);
	} else if (c->state == SLM_RELAY_CONNECT && !c->retries) {
		getsockopt(c->server.fd, SOL_SOCKET, SO_ERROR, &error, &size);
		if (error)
			not_connected(c, error);
		else
			connected(c);
	}
}

/* ---- Until it is let in -------------------------------------------------- */

/*
 * A client without TLS refuses a server that offers SCRAM with channel binding:
 * the offer is for TLS only. On the way to the server there is TLS, on the way
 * to the client there is none: the offer is taken out of the list. list: names
 * of at most size bytes, each ends with a NUL. Returns the size afterwards.
 */
static size_t drop_plus(char *list, size_t size)
{
	size_t at = 0;

	while (at < size && list[at]) {
		size_t length = strnlen(list + at, size - at) + 1;

		if (at + length > size)
			break;
		if (strcmp(list + at, SCRAM_PLUS) == 0) {
			memmove(list + at, list + at + length,
				size - at - length);
			size -= length;
		} else {
			at += length;
		}
	}
	return size;
}

/* Bytes of the message after the change. */
static size_t change_authentication(struct slm_relay_connection *c, char *bytes,
				    const struct slm_wire_message *m)
{
	size_t size = SLM_WIRE_HEADER + m->size, shorter;
	uint32_t code, length;

	if (!c->server.tls || !slm_wire_authentication(m, &code) ||
	    code != AUTHENTICATION_SASL)
		return size;
	shorter = SLM_WIRE_HEADER + 4 +
		  drop_plus(bytes + SLM_WIRE_HEADER + 4, m->size - 4);
	length = htonl((uint32_t)(shorter - 1));
	memcpy(bytes + 1, &length, sizeof(length));
	return shorter;
}

static void keep_key(struct slm_relay_connection *c,
		     const struct slm_wire_message *m)
{
	struct slm_wire_key key;

	if (!slm_wire_key(m, &key) || key.key_size > sizeof(c->key))
		return;
	c->pid = key.pid;
	c->key_size = key.key_size;
	memcpy(c->key, key.key, key.key_size);
}

static void keep_version(struct slm_relay_connection *c,
			 const struct slm_wire_message *m)
{
	char *version = c->relay->server_version;
	struct slm_wire_setting setting;

	if (slm_wire_setting(m, &setting) &&
	    strcmp(setting.name, "server_version") == 0)
		snprintf(version, sizeof(c->relay->server_version), "%s",
			 setting.value);
}

void slm_relay_watch(struct slm_relay_connection *c)
{
	struct slm_relay_queue *in = &c->server.in;

	while (c->watching) {
		char *bytes = in->data + in->begin + c->watched;
		size_t have = slm_relay_queue_size(in) - c->watched, size;
		struct slm_wire_message m;
		enum slm_wire_found found = slm_wire_look(
			SLM_WIRE_FROM_SERVER, bytes, have, &m, NULL);

		/* What is not known, or long, is not ours to judge. */
		if (found == SLM_WIRE_BAD ||
		    (found == SLM_WIRE_MESSAGE &&
		     m.size > SLM_RELAY_WAITING_MAX / 2)) {
			c->watching = false;
			break;
		}
		if (found == SLM_WIRE_MORE || m.have < m.size)
			return;
		size = SLM_WIRE_HEADER + m.size;
		if (m.type == SLM_WIRE_AUTHENTICATION) {
			size_t shorter = change_authentication(c, bytes, &m);

			memmove(bytes + shorter, bytes + size, have - size);
			in->end -= size - shorter;
			size = shorter;
		} else if (m.type == SLM_WIRE_BACKEND_KEY_DATA) {
			keep_key(c, &m);
		} else if (m.type == SLM_WIRE_PARAMETER_STATUS) {
			keep_version(c, &m);
		} else if (m.type == SLM_WIRE_READY_FOR_QUERY) {
			c->watching = false;
		}
		c->watched += size;
	}
	c->watched = slm_relay_queue_size(in);
}
