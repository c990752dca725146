/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqloom proxy: a relay that stands alone, with a server of its own if that is
 * wanted, and with a recorder if somebody wants to know who said what. One
 * thread, a loop of its own, until the caller says that it is enough.
 */
#include <assert.h>
#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "pg/server.h"
#include "probe/record.h"
#include "probe/relay.h"

#define ASK_MS 50 /* between two questions whether it goes on */

struct proxy {
	const struct sqloom_proxy_options *options;
	struct sqloom_proxy_summary summary;
	uv_loop_t loop;
	bool loop_open;
	int clock;		      /* ticks, while it runs; -1: none */
	uv_poll_t asks;		      /* on it */
	struct slm_pg_server *server; /* NULL: not ours */
	struct slm_relay *relay;
	struct slm_record *record; /* NULL: nothing is recorded */
	const char *conninfo;
};

void sqloom_proxy_options_init(struct sqloom_proxy_options *options)
{
	*options = (struct sqloom_proxy_options){
		.port = SQLOOM_PROXY_PORT,
	};
}

/* ---- Hooks --------------------------------------------------------------- */

static struct slm_dialog *on_open(void *userdata,
				  struct slm_relay_connection *connection,
				  const struct slm_wire_startup *startup)
{
	struct proxy *proxy = userdata;

	proxy->summary.connections++;
	if (!proxy->record || startup->replication)
		return NULL;
	return slm_record_open(proxy->record, connection, startup);
}

static void on_closed(void *userdata, struct slm_relay_connection *connection,
		      const char *why)
{
	struct proxy *proxy = userdata;

	(void)why;
	if (proxy->record)
		slm_record_closed(proxy->record, connection);
}

static void on_cancelled(void *userdata, uint32_t pid)
{
	struct proxy *proxy = userdata;

	(void)pid;
	proxy->summary.cancels++;
}

static void on_log(void *userdata, const char *line)
{
	struct proxy *proxy = userdata;

	proxy->summary.complaints++;
	if (proxy->options->log)
		proxy->options->log(line, proxy->options->userdata);
}

static void on_ask(uv_poll_t *poll, int status, int events)
{
	struct proxy *proxy = poll->data;
	const struct sqloom_proxy_options *options = proxy->options;
	uint64_t ticks;

	(void)status, (void)events;
	(void)!read(proxy->clock, &ticks, sizeof(ticks));
	if (!options->goes_on(options->userdata))
		uv_stop(&proxy->loop);
}

/* ---- Beginning ----------------------------------------------------------- */

static enum sqloom_status find_server(struct proxy *proxy,
				      struct sqloom_error *err)
{
	const struct sqloom_proxy_options *options = proxy->options;
	struct slm_pg_server_options server = {
		.bindir = options->pg_bindir,
		.path = options->pg_path,
		.place = options->pg_place,
	};
	enum sqloom_status status;

	if (options->pg_temp && options->database)
		return slm_error_set(err, SQLOOM_USAGE,
				     "a database and a private server do not "
				     "go together; take one out");
	proxy->conninfo = options->database ? options->database : "";
	if (!options->pg_temp)
		return SQLOOM_OK;
	status = slm_pg_server_start(&server, &proxy->server, err);
	if (!status)
		proxy->conninfo = slm_pg_server_conninfo(proxy->server);
	return status;
}

static enum sqloom_status listen_for(struct proxy *proxy,
				     struct sqloom_error *err)
{
	const struct sqloom_proxy_options *options = proxy->options;
	struct slm_relay_options relay = {
		.loop = &proxy->loop,
		.conninfo = proxy->conninfo,
		.host = options->host,
		.port = options->port,
		.socket_dir = options->socket_dir,
		.connections_max = options->connections_max,
		.hooks = { .open = on_open,
			   .closed = on_closed,
			   .cancelled = on_cancelled,
			   .log = on_log },
		.userdata = proxy,
	};

	return slm_relay_start(&relay, &proxy->relay, err);
}

static const char *value_of(const PQconninfoOption *options,
			    const char *keyword)
{
	for (; options && options->keyword; options++)
		if (strcmp(options->keyword, keyword) == 0)
			return options->val;
	return NULL;
}

/* Tells what a client needs to know. */
static void tell_start(struct proxy *proxy)
{
	const struct sqloom_proxy_options *options = proxy->options;
	PQconninfoOption *given = PQconninfoParse(proxy->conninfo, NULL);
	struct sqloom_proxy_place place = {
		.host = options->host ? options->host : "127.0.0.1",
		.port = slm_relay_port(proxy->relay),
		.socket_dir = options->socket_dir,
		.user = value_of(given, "user"),
		.database = value_of(given, "dbname"),
	};

	if (options->started)
		options->started(&place, options->userdata);
	PQconninfoFree(given);
}

/* A descriptor, because a timer of the loop would be set again and again, at
 * every message that is relayed. */
static enum sqloom_status start_clock(struct proxy *proxy,
				      struct sqloom_error *err)
{
	const struct timespec period = { .tv_nsec = ASK_MS * 1000000L };
	const struct itimerspec ticks = { period, period };

	if (!proxy->options->goes_on)
		return SQLOOM_OK;
	proxy->clock =
		timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (proxy->clock < 0 ||
	    timerfd_settime(proxy->clock, 0, &ticks, NULL) != 0 ||
	    uv_poll_init(&proxy->loop, &proxy->asks, proxy->clock) != 0)
		return slm_error_errno(err, SQLOOM_IO, errno,
				       "cannot make a timer");
	proxy->asks.data = proxy;
	uv_poll_start(&proxy->asks, UV_READABLE, on_ask);
	return SQLOOM_OK;
}

static void run(struct proxy *proxy)
{
	uv_run(&proxy->loop, UV_RUN_DEFAULT);
	if (proxy->options->goes_on)
		uv_close((uv_handle_t *)&proxy->asks, NULL);
	uv_run(&proxy->loop, UV_RUN_NOWAIT);
}

static enum sqloom_status open_all(struct proxy *proxy,
				   struct sqloom_error *err)
{
	const char *path = proxy->options->record_path;
	enum sqloom_status status = SQLOOM_OK;

	if (path)
		status = slm_record_new(path, &proxy->record, err);
	if (!status)
		status = find_server(proxy, err);
	if (!status && uv_loop_init(&proxy->loop) != 0)
		status = slm_error_nomem(err);
	else if (!status)
		proxy->loop_open = true;
	if (!status)
		status = listen_for(proxy, err);
	if (!status)
		status = start_clock(proxy, err);
	return status;
}

enum sqloom_status sqloom_proxy_run(const struct sqloom_proxy_options *options,
				    struct sqloom_proxy_summary *summary,
				    struct sqloom_error *err)
{
	struct proxy *proxy = slm_calloc(1, sizeof(*proxy));
	enum sqloom_status status;

	if (!proxy)
		return slm_error_nomem(err);
	proxy->options = options;
	proxy->clock = -1;
	status = open_all(proxy, err);
	if (!status) {
		tell_start(proxy);
		run(proxy);
	}
	if (proxy->record && proxy->relay)
		slm_record_end(proxy->record,
			       slm_relay_server_version(proxy->relay));
	slm_relay_stop(proxy->relay);
	if (proxy->loop_open) {
		int left = uv_loop_close(&proxy->loop);

		/* Else something that we made still lives. */
		assert(left == 0);
	}
	if (proxy->clock >= 0)
		close(proxy->clock);
	slm_pg_server_stop(proxy->server);
	if (!status && proxy->record)
		status = slm_record_write(proxy->record, &proxy->summary, err);
	slm_record_free(proxy->record);
	if (!status && summary)
		*summary = proxy->summary;
	slm_free(proxy);
	return status;
}
