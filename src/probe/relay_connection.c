/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection that is open, and how connections end. Every event ends with
 * slm_relay_settle(), which alone decides what is read, what is sent and what
 * is closed; everything else only changes the state that it looks at.
 *
 * Invariants: a side is read only while there is room for what it says. The
 * server's socket stays open until the server has closed its end, because only
 * then has its process let go of locks; nobody but slm_relay_stop() gives up
 * on that.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "probe/relay_internal.h"

#define CANCEL_REQUEST 80877102
#define GONE_SQLSTATE "57P01"
#define PROTOCOL_SQLSTATE "08P01"

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t most(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* ---- Ends ---------------------------------------------------------------- */

/* The allowed moves. */
static bool may_move(enum slm_relay_state from, enum slm_relay_state to)
{
	return to >= from || (to == SLM_RELAY_CONNECT && from < SLM_RELAY_OPEN);
}

void slm_relay_finish(struct slm_relay_connection *c, const char *why)
{
	if (!c->why)
		c->why = why;
	if (c->state >= SLM_RELAY_ENDING)
		return;
	assert(may_move(c->state, SLM_RELAY_ENDING));
	/* Before it is open, the server holds nothing for it. */
	if (c->state < SLM_RELAY_OPEN)
		c->server.eof = c->server.broken = true;
	c->state = SLM_RELAY_ENDING;
	uv_timer_stop(&c->timer);
	c->client.shuts = c->server.shuts = true;
}

void slm_relay_fatal(struct slm_relay_connection *c, const char *sqlstate,
		     const char *message)
{
	struct slm_buf text;

	if (c->state >= SLM_RELAY_ENDING)
		return;
	slm_buf_init(&text);
	if (slm_wire_put_error(&text, "FATAL", sqlstate, message))
		slm_relay_side_send(&c->client, text.data, text.size);
	slm_buf_deinit(&text);
	slm_relay_finish(c, "it was refused");
}

void slm_relay_refuse(struct slm_relay_connection *c, const char *sqlstate,
		      const char *fmt, ...)
{
	char text[500];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (c->state < SLM_RELAY_ENDING)
		slm_relay_log(c, "%s", text);
	slm_relay_fatal(c, sqlstate, text);
}

void slm_relay_end(struct slm_relay_connection *c, const char *message)
{
	slm_relay_fatal(c, GONE_SQLSTATE, message);
	if (!c->busy)
		slm_relay_settle(c);
}

void slm_relay_cancel(struct slm_relay_connection *c)
{
	uint32_t head[3] = { htonl(sizeof(head) + c->key_size),
			     htonl(CANCEL_REQUEST), htonl(c->pid) };
	struct slm_relay_connection *by;

	if (c->cancelled || !c->pid)
		return;
	c->cancelled = true;
	by = slm_relay_connection_new(c->relay, -1);
	if (!by)
		return;
	by->cancels = true;
	by->cancels_pid = c->pid;
	by->startup_size = sizeof(head) + c->key_size;
	if (slm_relay_queue_put(&by->client.in, head, sizeof(head)) &&
	    slm_relay_queue_put(&by->client.in, c->key, c->key_size))
		slm_relay_connect(by);
	else
		slm_relay_finish(by, "out of memory");
	slm_relay_settle(by);
}

/* ---- Closing ------------------------------------------------------------- */

static void free_connection(struct slm_relay_connection *c)
{
	struct slm_relay *relay = c->relay;

	if (c->opened && relay->hooks.closed)
		relay->hooks.closed(relay->userdata, c, c->why);
	slm_dialog_free(c->dialog);
	slm_relay_side_deinit(&c->client);
	slm_relay_side_deinit(&c->server);
	if (c->previous)
		c->previous->next = c->next;
	else
		relay->connections = c->next;
	if (c->next)
		c->next->previous = c->previous;
	relay->nconnections--;
	slm_free(c);
}

static void on_closed(uv_handle_t *handle)
{
	struct slm_relay_connection *c = handle->data;

	assert(c->closing > 0);
	if (--c->closing > 0)
		return;
	if (c->state == SLM_RELAY_CLOSING) {
		free_connection(c);
		return;
	}
	c->busy = true;
	if (c->state == SLM_RELAY_CONNECT && c->retries)
		slm_relay_connect(c);
	slm_relay_settle(c);
}

void slm_relay_close(struct slm_relay_connection *c, uv_handle_t *handle)
{
	handle->data = c;
	c->closing++;
	uv_close(handle, on_closed);
}

static void close_side(struct slm_relay_connection *c,
		       struct slm_relay_side *side)
{
	if (!side->polled)
		return;
	side->polled = false;
	slm_relay_close(c, (uv_handle_t *)&side->poll);
}

static void close_all(struct slm_relay_connection *c)
{
	struct slm_relay *relay = c->relay;

	assert(c->state != SLM_RELAY_CLOSING);
	c->state = SLM_RELAY_CLOSING;
	if (c->counted)
		relay->ncounted--;
	if (c->cancels && c->passed_on && relay->hooks.cancelled)
		relay->hooks.cancelled(relay->userdata, c->cancels_pid);
	close_side(c, &c->client);
	close_side(c, &c->server);
	slm_relay_close(c, (uv_handle_t *)&c->timer);
}

/* ---- Relaying ------------------------------------------------------------ */

typedef enum sqloom_status (*offer_fn)(struct slm_dialog *dialog,
				       const void *bytes, size_t size,
				       size_t *used, size_t *need,
				       struct sqloom_error *err);

/* Offers bytes to the dialog as long as it takes some. Returns how many were
 * used. */
static size_t offer(struct slm_relay_connection *c, offer_fn fn,
		    const char *bytes, size_t size, size_t *need)
{
	struct sqloom_error err;
	size_t done = 0;

	*need = 0;
	while (done < size && c->state == SLM_RELAY_OPEN &&
	       size - done >= *need) {
		size_t used = 0;

		*need = 0;
		if (fn(c->dialog, bytes + done, size - done, &used, need,
		       &err)) {
			slm_relay_refuse(c, PROTOCOL_SQLSTATE, "%s",
					 err.message);
			return size;
		}
		assert(used <= size - done);
		done += used;
		if (used == 0)
			break;
	}
	return done;
}

static size_t use_server_bytes(struct slm_relay_connection *c,
			       const char *bytes, size_t size)
{
	if (c->dialog)
		return offer(c, slm_dialog_server, bytes, size,
			     &c->server_need);
	slm_relay_side_send(&c->client, bytes, size);
	return size;
}

static size_t use_client_bytes(struct slm_relay_connection *c,
			       const char *bytes, size_t size)
{
	if (c->dialog)
		return offer(c, slm_dialog_client, bytes, size,
			     &c->client_need);
	slm_relay_side_send(&c->server, bytes, size);
	return size;
}

/* What the client said and could not be used before. */
static void use_client_rest(struct slm_relay_connection *c)
{
	struct slm_relay_queue *in = &c->client.in;
	size_t size = slm_relay_queue_size(in);

	if (size && c->state == SLM_RELAY_OPEN && size >= c->client_need)
		slm_relay_queue_drop(
			in,
			use_client_bytes(c, slm_relay_queue_bytes(in), size));
}

static void keep(struct slm_relay_side *side, const char *bytes, size_t size)
{
	if (!slm_relay_queue_put(&side->in, bytes, size))
		side->nomem = true;
}

static void use_server_rest(struct slm_relay_connection *c)
{
	struct slm_relay_queue *in = &c->server.in;
	size_t size, used;

	if (c->watching)
		slm_relay_watch(c);
	size = c->watching ? c->watched : slm_relay_queue_size(in);
	if (size == 0 || size < c->server_need)
		return;
	used = use_server_bytes(c, slm_relay_queue_bytes(in), size);
	slm_relay_queue_drop(in, used);
	c->watched -= least(c->watched, used);
}

/* Half a message of its last words is passed on, too. */
static void use_server_end(struct slm_relay_connection *c)
{
	c->watching = false;
	use_server_rest(c);
}

/* Plain bytes of the server. */
static void from_server(struct slm_relay_connection *c, const char *bytes,
			size_t size)
{
	if (c->client.broken || c->state != SLM_RELAY_OPEN)
		c->dropped += size;
	if (c->state != SLM_RELAY_OPEN)
		return;
	if (c->watching || slm_relay_queue_size(&c->server.in)) {
		keep(&c->server, bytes, size);
		use_server_rest(c);
	} else {
		size_t used = use_server_bytes(c, bytes, size);

		keep(&c->server, bytes + used, size - used);
	}
	/* An answer may be what it waited for. */
	if (c->dialog)
		use_client_rest(c);
}

static void from_client(struct slm_relay_connection *c, const char *bytes,
			size_t size)
{
	if (c->state >= SLM_RELAY_ENDING)
		return;
	if (c->state == SLM_RELAY_OPEN &&
	    slm_relay_queue_size(&c->client.in) == 0) {
		size_t used = use_client_bytes(c, bytes, size);

		keep(&c->client, bytes + used, size - used);
		return;
	}
	keep(&c->client, bytes, size);
	if (c->state == SLM_RELAY_STARTUP)
		slm_relay_startup(c);
	else
		use_client_rest(c);
}

static void decrypt(struct slm_relay_connection *c)
{
	char *bytes = c->relay->plain_bytes;
	bool failed = false;
	size_t size;

	while ((size = slm_tls_read(c->server.tls, bytes,
				    sizeof(c->relay->plain_bytes), &failed)))
		from_server(c, bytes, size);
	if (failed)
		slm_relay_refuse(c, PROTOCOL_SQLSTATE,
				 "what the server sends is no TLS");
}

static void read_server(struct slm_relay_connection *c)
{
	char *bytes = c->relay->bytes;
	size_t size =
		slm_relay_side_read(&c->server, bytes, sizeof(c->relay->bytes));

	if (size == 0)
		return;
	if (!c->server.tls)
		from_server(c, bytes, size);
	else if (slm_tls_receive(c->server.tls, bytes, size))
		decrypt(c);
	else
		c->server.nomem = true;
}

void slm_relay_open(struct slm_relay_connection *c)
{
	struct slm_relay_queue *in = &c->client.in;

	assert(may_move(c->state, SLM_RELAY_OPEN));
	c->state = SLM_RELAY_OPEN;
	c->watching = !c->cancels;
	c->passed_on = true;
	uv_timer_stop(&c->timer);
	slm_relay_side_send(&c->server, slm_relay_queue_bytes(in),
			    c->startup_size);
	slm_relay_queue_drop(in, c->startup_size);
	if (!c->cancels)
		use_client_rest(c);
	else
		slm_relay_queue_deinit(in);
}

/* ---- Events -------------------------------------------------------------- */

/* libuv stops watching a socket that has an error: reading and writing tell
 * which. */
static void see_error(struct slm_relay_side *side, int status)
{
	if (status < 0)
		side->events = 0;
}

void slm_relay_on_client(uv_poll_t *poll, int status, int events)
{
	struct slm_relay_connection *c = poll->data;

	see_error(&c->client, status);
	c->busy = true;
	if (status < 0 || (events & UV_READABLE)) {
		char *bytes = c->relay->bytes;
		size_t size = slm_relay_side_read(&c->client, bytes,
						  sizeof(c->relay->bytes));

		if (size)
			from_client(c, bytes, size);
	}
	slm_relay_settle(c);
}

void slm_relay_on_server(uv_poll_t *poll, int status, int events)
{
	struct slm_relay_connection *c = poll->data;

	see_error(&c->server, status);
	c->busy = true;
	if (c->state < SLM_RELAY_OPEN)
		slm_relay_server_ready(c);
	else if (status < 0 || (events & UV_READABLE))
		read_server(c);
	slm_relay_settle(c);
}

static void on_startup_time(struct slm_relay_connection *c)
{
	static const char *const places[] = {
		[SLM_RELAY_STARTUP] = "the client has not said who it is",
		[SLM_RELAY_CONNECT] = "the server does not take it",
		[SLM_RELAY_ASK_TLS] = "the server does not answer",
		[SLM_RELAY_HANDSHAKE] = "the server does not answer",
	};

	if (c->retries && !c->closing && uv_now(c->relay->loop) < c->deadline)
		slm_relay_connect(c);
	else
		slm_relay_refuse(
			c, PROTOCOL_SQLSTATE,
			"%s within %llu ms; the connection is closed",
			places[c->state],
			(unsigned long long)c->relay->startup_timeout_ms);
}

void slm_relay_on_timer(uv_timer_t *timer)
{
	struct slm_relay_connection *c = timer->data;

	c->busy = true;
	if (c->state < SLM_RELAY_OPEN) {
		on_startup_time(c);
	} else if (c->relay->stopping && !c->server.eof) {
		/* Once the statement is asked to end, then no more patience. */
		if (c->cancelled)
			c->server.eof = true;
		slm_relay_cancel(c);
		uv_timer_start(timer, slm_relay_on_timer, SLM_RELAY_LINGER_MS,
			       0);
	} else {
		c->lingered = true;
	}
	slm_relay_settle(c);
}

/* ---- What next ----------------------------------------------------------- */

static bool server_is_over(const struct slm_relay_connection *c)
{
	return c->server.fd < 0 || c->server.eof;
}

static bool client_is_over(const struct slm_relay_connection *c)
{
	return c->client.fd < 0 || c->client.broken || c->lingered ||
	       (c->client.eof && slm_relay_queue_size(&c->client.out) == 0);
}

/* Does the client still wait for its words to be passed on? A message whose
 * end will never come is none. */
static bool has_client_words(const struct slm_relay_connection *c)
{
	return slm_relay_queue_size(&c->client.in) && c->client_need == 0 &&
	       c->dialog;
}

static void look_for_ends(struct slm_relay_connection *c)
{
	bool gone;

	if (c->client.nomem || c->server.nomem)
		slm_relay_refuse(c, "53200", "out of memory");
	if (c->state < SLM_RELAY_OPEN) {
		/* Who has said it all may close its half. */
		if (c->client.broken ||
		    (c->client.eof && c->state == SLM_RELAY_STARTUP))
			slm_relay_finish(c, "the client closed the connection");
		return;
	}
	gone = c->client.eof || c->client.broken;
	if (gone && !c->cancels && !has_client_words(c))
		c->server.shuts = true;
	if (gone && !c->why)
		c->why = "the client closed the connection";
	if (c->dropped > SLM_RELAY_DROPPED_MAX)
		slm_relay_cancel(c);
	if (c->server.eof && c->state == SLM_RELAY_OPEN) {
		if (!c->dialog)
			use_server_end(c);
		slm_relay_finish(c, "the server closed the connection");
	}
}

/* A client that does not take what is left, or does not close. */
static void linger(struct slm_relay_connection *c)
{
	if (c->lingers || c->state != SLM_RELAY_ENDING || !server_is_over(c) ||
	    client_is_over(c))
		return;
	c->lingers = true;
	uv_timer_start(&c->timer, slm_relay_on_timer, SLM_RELAY_LINGER_MS, 0);
}

static void watch_sides(struct slm_relay_connection *c)
{
	const struct slm_relay_side *client = &c->client;
	const struct slm_relay_side *server = &c->server;
	size_t to_client = slm_relay_queue_size(&client->out);
	size_t to_server = slm_relay_queue_size(&server->out);
	bool drops = c->state == SLM_RELAY_ENDING;
	bool connects = c->state == SLM_RELAY_CONNECT;

	slm_relay_side_watch(
		&c->client,
		!client->eof &&
			(drops ||
			 (to_server < SLM_RELAY_WAITING_MAX &&
			  slm_relay_queue_size(&client->in) <
				  most(c->client_need, SLM_RELAY_WAITING_MAX))),
		false, slm_relay_on_client);
	slm_relay_side_watch(&c->server,
			     !server->eof && !connects &&
				     (drops ||
				      to_client < SLM_RELAY_WAITING_MAX),
			     connects, slm_relay_on_server);
}

void slm_relay_settle(struct slm_relay_connection *c)
{
	c->busy = true;
	while (c->again) {
		c->again = false;
		use_client_rest(c);
	}
	if (c->state != SLM_RELAY_CLOSING) {
		look_for_ends(c);
		slm_relay_side_flush(&c->client);
		slm_relay_side_flush(&c->server);
		linger(c);
		if (c->state == SLM_RELAY_ENDING && server_is_over(c) &&
		    client_is_over(c))
			close_all(c);
		else
			watch_sides(c);
	}
	c->busy = false;
}

void slm_relay_go_on(struct slm_relay_connection *c)
{
	c->again = true;
	/* Within an event of this connection, its end will do it. */
	if (!c->busy)
		slm_relay_settle(c);
}

bool slm_relay_is_ending(const struct slm_relay_connection *c)
{
	return c->state >= SLM_RELAY_ENDING || c->client.eof;
}
