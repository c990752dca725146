/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay as its owner sees it: doors that are opened and closed, clients
 * that are accepted, limits, and the calls on connections. What a connection
 * does is in relay_connection.c.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "probe/relay_internal.h"

#define CONNECTIONS_MAX 1000
#define STARTUP_TIMEOUT_MS 60000
#define BACKLOG 4096
#define ACCEPTED_AT_ONCE 64
/* Descriptors are out, even the one in reserve: the doors rest. */
#define REST_MS 100

void slm_relay_log(const struct slm_relay_connection *c, const char *fmt, ...)
{
	struct slm_relay *relay = c->relay;
	char text[600], line[700];
	va_list args;

	if (!relay->hooks.log)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	snprintf(line, sizeof(line), "%s: %s", c->peer, text);
	relay->hooks.log(relay->userdata, line);
}

/* ---- Accepting ----------------------------------------------------------- */

static void name_peer(struct slm_relay_connection *c)
{
	struct sockaddr_storage address = { 0 };
	socklen_t size = sizeof(address);
	char host[NI_MAXHOST], port[NI_MAXSERV];

	snprintf(c->peer, sizeof(c->peer), "a client on the Unix socket");
	if (getpeername(c->client.fd, (struct sockaddr *)&address, &size) ||
	    address.ss_family == AF_UNIX ||
	    getnameinfo((struct sockaddr *)&address, size, host, sizeof(host),
			port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
		return;
	snprintf(c->peer, sizeof(c->peer), "client %.60s:%.6s", host, port);
}

struct slm_relay_connection *slm_relay_connection_new(struct slm_relay *relay,
						      int fd)
{
	struct slm_relay_connection *c = slm_calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->relay = relay;
	slm_relay_side_init(&c->client);
	slm_relay_side_init(&c->server);
	snprintf(c->peer, sizeof(c->peer), "the proxy's own request");
	uv_timer_init(relay->loop, &c->timer);
	c->timer.data = c;
	c->deadline = uv_now(relay->loop) + relay->startup_timeout_ms;
	uv_timer_start(&c->timer, slm_relay_on_timer, relay->startup_timeout_ms,
		       0);
	if (fd >= 0) {
		c->client.fd = fd;
		name_peer(c);
		uv_poll_init(relay->loop, &c->client.poll, fd);
		c->client.polled = true;
		c->client.poll.data = c;
	}
	c->next = relay->connections;
	if (c->next)
		c->next->previous = c;
	relay->connections = c;
	relay->nconnections++;
	return c;
}

/* Beyond all limits: nobody listens to what it wants. */
static void turn_away(struct slm_relay *relay, int fd)
{
	struct slm_buf text;

	slm_buf_init(&text);
	if (slm_wire_put_error(&text, "FATAL", "53300",
			       "there are too many connections"))
		(void)!send(fd, text.data, text.size,
			    MSG_NOSIGNAL | MSG_DONTWAIT);
	slm_buf_deinit(&text);
	/* What was not read would make the end one by force, and the client
	 * lose our word. */
	shutdown(fd, SHUT_WR);
	(void)!recv(fd, relay->bytes, sizeof(relay->bytes), MSG_DONTWAIT);
	close(fd);
	if (!relay->full && relay->hooks.log)
		relay->hooks.log(relay->userdata,
				 "there are too many connections; further ones "
				 "are refused until some end");
	relay->full = true;
}

static void take_in(struct slm_relay_door *door, int fd)
{
	struct slm_relay *relay = door->relay;
	struct slm_relay_connection *c;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (relay->nconnections >= relay->connections_max + SLM_RELAY_SPARE) {
		turn_away(relay, fd);
		return;
	}
	c = slm_relay_connection_new(relay, fd);
	if (!c) {
		close(fd);
		return;
	}
	c->port = door->port;
	slm_relay_settle(c);
}

static void on_door(uv_poll_t *poll, int status, int events);

static void on_rested(uv_timer_t *timer)
{
	struct slm_relay *relay = timer->data;

	for (struct slm_relay_door *door = relay->doors; door;
	     door = door->next)
		uv_poll_start(&door->poll, UV_READABLE, on_door);
}

static void rest(struct slm_relay *relay)
{
	for (struct slm_relay_door *door = relay->doors; door;
	     door = door->next)
		uv_poll_stop(&door->poll);
	uv_timer_start(&relay->rested, on_rested, REST_MS, 0);
}

/* Whoever knocks would wait for ever, and wake us up again and again: the
 * descriptor in reserve lets it in, and out. */
static void turn_away_starved(struct slm_relay_door *door)
{
	struct slm_relay *relay = door->relay;
	int fd = -1;

	if (!relay->starved && relay->hooks.log)
		relay->hooks.log(relay->userdata,
				 "there are no more file descriptors; "
				 "connections are refused until some end; "
				 "raise the limit (ulimit -n)");
	relay->starved = true;
	if (relay->reserve >= 0) {
		close(relay->reserve);
		fd = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC);
	}
	if (fd >= 0)
		close(fd);
	relay->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		rest(relay);
}

static void on_door(uv_poll_t *poll, int status, int events)
{
	struct slm_relay_door *door = poll->data;

	(void)status, (void)events;
	for (unsigned i = 0; i < ACCEPTED_AT_ONCE; i++) {
		int fd = accept4(door->fd, NULL, NULL,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			door->relay->starved = false;
			take_in(door, fd);
		} else if (errno == EMFILE || errno == ENFILE ||
			   errno == ENOBUFS || errno == ENOMEM) {
			turn_away_starved(door);
			return;
		} else if (errno != EINTR && errno != ECONNABORTED) {
			return;
		}
	}
}

/* ---- Doors --------------------------------------------------------------- */

static void on_door_closed(uv_handle_t *handle)
{
	struct slm_relay_door *door = handle->data;

	door->relay->ndoors--;
	slm_free(door);
}

static void close_door(struct slm_relay_door *door)
{
	uv_close((uv_handle_t *)&door->poll, on_door_closed);
	close(door->fd);
	if (door->path[0])
		unlink(door->path);
}

static int port_of(int fd)
{
	struct sockaddr_storage address = { 0 };
	socklen_t size = sizeof(address);

	getsockname(fd, (struct sockaddr *)&address, &size);
	if (address.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
	return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

/* The socket becomes a door; owned. path "": TCP. */
static enum sqloom_status add_door(struct slm_relay *relay, int fd, int port,
				   const char *path, struct sqloom_error *err)
{
	struct slm_relay_door *door = slm_calloc(1, sizeof(*door));

	if (!door || uv_poll_init(relay->loop, &door->poll, fd) != 0) {
		slm_free(door);
		close(fd);
		return slm_error_nomem(err);
	}
	door->relay = relay;
	door->fd = fd;
	door->port = port;
	snprintf(door->path, sizeof(door->path), "%s", path);
	door->poll.data = door;
	uv_poll_start(&door->poll, UV_READABLE, on_door);
	door->next = relay->doors;
	relay->doors = door;
	relay->ndoors++;
	return SQLOOM_OK;
}

static enum sqloom_status cannot_listen(int sys_errno, const char *where,
					struct sqloom_error *err)
{
	return slm_error_errno(
		err, SQLOOM_IO, sys_errno, "cannot listen on %s%s", where,
		sys_errno == EADDRINUSE ?
			", which is in use; choose another port" :
			"");
}

static int listen_at(const struct addrinfo *at)
{
	int fd = socket(at->ai_family,
			SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int saved;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 &&
	    listen(fd, BACKLOG) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

enum sqloom_status slm_relay_listen(struct slm_relay *relay, int port,
				    int *actual, struct sqloom_error *err)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
				  .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_PASSIVE };
	char service[16], where[300];
	struct addrinfo *list = NULL;
	enum sqloom_status status;
	int fd, code;

	if (port < 0 || port > 65535)
		return slm_error_set(err, SQLOOM_USAGE,
				     "%d is no port; give one from 1 to 65535, "
				     "or 0 for a free one",
				     port);
	snprintf(service, sizeof(service), "%d", port);
	snprintf(where, sizeof(where), "port %d of %s", port, relay->host);
	code = getaddrinfo(relay->host, service, &hints, &list);
	if (code)
		return slm_error_set(err, SQLOOM_USAGE,
				     "cannot listen on %s: %s", where,
				     gai_strerror(code));
	fd = listen_at(list);
	if (fd < 0)
		status = cannot_listen(errno, where, err);
	else
		status = add_door(relay, fd, port_of(fd), "", err);
	freeaddrinfo(list);
	if (!status)
		*actual = relay->doors->port;
	return status;
}

/* Is there somebody behind this socket? */
static bool answers(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool yes;

	if (fd < 0)
		return true;
	yes = connect(fd, (const struct sockaddr *)address, sizeof(*address)) ==
		      0 ||
	      errno == EAGAIN;
	close(fd);
	return yes;
}

static bool is_socket(const char *path)
{
	struct stat info;

	return lstat(path, &info) == 0 && S_ISSOCK(info.st_mode);
}

static enum sqloom_status listen_unix(struct slm_relay *relay,
				      const char *directory,
				      struct sqloom_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char *path = address.sun_path;
	int fd, sys_errno;

	if (snprintf(path, sizeof(address.sun_path), "%s/.s.PGSQL.%d",
		     directory, relay->port) >= (int)sizeof(address.sun_path))
		return slm_error_set(err, SQLOOM_USAGE,
				     "the path of a Unix socket in %s is too "
				     "long; choose a shorter directory",
				     directory);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return cannot_listen(errno, path, err);
	/* Somebody was killed before he could take it away. */
	if (is_socket(path) && !answers(&address))
		unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		sys_errno = errno;
		close(fd);
		return cannot_listen(sys_errno, path, err);
	}
	if (listen(fd, BACKLOG) != 0) {
		sys_errno = errno;
		unlink(path);
		close(fd);
		return cannot_listen(sys_errno, path, err);
	}
	return add_door(relay, fd, relay->port, path, err);
}

/* ---- Life ---------------------------------------------------------------- */

static enum sqloom_status open_doors(struct slm_relay *relay,
				     const struct slm_relay_options *options,
				     struct sqloom_error *err)
{
	enum sqloom_status status =
		slm_relay_listen(relay, options->port, &relay->port, err);

	if (!status && options->socket_dir)
		status = listen_unix(relay, options->socket_dir, err);
	return status;
}

enum sqloom_status slm_relay_start(const struct slm_relay_options *options,
				   struct slm_relay **out,
				   struct sqloom_error *err)
{
	const char *host = options->host ? options->host : "127.0.0.1";
	struct slm_relay *relay = slm_calloc(1, sizeof(*relay));
	enum sqloom_status status;

	if (!relay)
		return slm_error_nomem(err);
	relay->loop = options->loop;
	relay->hooks = options->hooks;
	relay->userdata = options->userdata;
	relay->connections_max = options->connections_max ?
					 options->connections_max :
					 CONNECTIONS_MAX;
	relay->startup_timeout_ms = options->startup_timeout_ms ?
					    options->startup_timeout_ms :
					    STARTUP_TIMEOUT_MS;
	snprintf(relay->host, sizeof(relay->host), "%s", host);
	relay->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	uv_timer_init(relay->loop, &relay->rested);
	relay->rested.data = relay;
	status = slm_relay_server_init(&relay->server, options->conninfo, err);
	if (!status)
		status = open_doors(relay, options, err);
	if (status)
		slm_relay_stop(relay);
	else
		*out = relay;
	return status;
}

int slm_relay_port(const struct slm_relay *relay)
{
	return relay->port;
}

unsigned slm_relay_count(const struct slm_relay *relay)
{
	return relay->nconnections;
}

const char *slm_relay_server_version(const struct slm_relay *relay)
{
	return relay->server_version;
}

static void on_rest_closed(uv_handle_t *handle)
{
	struct slm_relay *relay = handle->data;

	relay->closed = true;
}

static void close_doors(struct slm_relay *relay)
{
	while (relay->doors) {
		struct slm_relay_door *door = relay->doors;

		relay->doors = door->next;
		close_door(door);
	}
	uv_close((uv_handle_t *)&relay->rested, on_rest_closed);
}

/* A server process that does something does not see that its client is gone:
 * its statement is cancelled after a while. */
static void stop_connection(struct slm_relay_connection *c)
{
	slm_relay_fatal(c, "57P01", "the proxy is being stopped");
	uv_timer_start(&c->timer, slm_relay_on_timer, SLM_RELAY_LINGER_MS, 0);
	c->lingered = true;
	slm_relay_settle(c);
}

void slm_relay_stop(struct slm_relay *relay)
{
	if (!relay)
		return;
	relay->stopping = true;
	close_doors(relay);
	for (struct slm_relay_connection *c = relay->connections, *next; c;
	     c = next) {
		next = c->next;
		if (c->state != SLM_RELAY_CLOSING)
			stop_connection(c);
	}
	while (relay->nconnections || relay->ndoors || !relay->closed)
		uv_run(relay->loop, UV_RUN_ONCE);
	slm_relay_server_deinit(&relay->server);
	if (relay->reserve >= 0)
		close(relay->reserve);
	slm_free(relay);
}

/* ---- Connections --------------------------------------------------------- */

void slm_relay_to_server(struct slm_relay_connection *c, const void *bytes,
			 size_t size)
{
	slm_relay_side_put(&c->server, bytes, size);
}

void slm_relay_to_client(struct slm_relay_connection *c, const void *bytes,
			 size_t size)
{
	slm_relay_side_put(&c->client, bytes, size);
}

struct slm_dialog *slm_relay_dialog(struct slm_relay_connection *c)
{
	return c->dialog;
}

int slm_relay_connection_port(const struct slm_relay_connection *c)
{
	return c->port;
}

void slm_relay_set_data(struct slm_relay_connection *c, void *data)
{
	c->data = data;
}

void *slm_relay_data(const struct slm_relay_connection *c)
{
	return c->data;
}
