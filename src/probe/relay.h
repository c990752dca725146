/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay: listens as a PostgreSQL server does, and connects each client to
 * the real server. Sockets, TLS to the server, startup packets, cancel
 * requests, back-pressure and limits are here; what the parties say is looked
 * at by a dialog, if the owner gives one; else bytes are passed on as they are.
 *
 * On libuv, in the caller's loop and thread. Memory is bounded: a side that
 * does not read stops the other one. Never more than `connections_max` clients.
 */
#ifndef SLM_PROBE_RELAY_H
#define SLM_PROBE_RELAY_H

#include <sqloom/sqloom.h>
#include <uv.h>

#include "pgwire/pgwire.h"
#include "probe/dialog.h"

struct slm_relay;
struct slm_relay_connection;

struct slm_relay_hooks {
	/* A client has said who it is, and is about to be connected. Return
	 * its dialog (owned by the relay from now on; NULL: pass on bytes,
	 * as always for replication). Its ops' userdata is the owner's
	 * business; to_server and to_client must call slm_relay_to_server()
	 * and slm_relay_to_client(). */
	struct slm_dialog *(*open)(void *userdata,
				   struct slm_relay_connection *connection,
				   const struct slm_wire_startup *startup);
	/* Both sides are closed, and the server's process has let go of all it
	 * held (its end closed the socket). The connection and its dialog are
	 * freed next. Only of what open() was called for. why: static, in
	 * words. */
	void (*closed)(void *userdata, struct slm_relay_connection *connection,
		       const char *why);
	/* A client wanted to cancel what the server process pid does; the
	 * server has been told, and has closed that connection: the signal is
	 * sent. Also when the relay itself cancels what a client that is gone
	 * has left running. */
	void (*cancelled)(void *userdata, uint32_t pid);
	/* One line for the user, without a newline: what was refused and why.
	 * NULL: dropped. */
	void (*log)(void *userdata, const char *line);
};

struct slm_relay_options {
	uv_loop_t *loop;	/* borrowed */
	const char *conninfo;	/* of the server, as libpq understands it; host
				   or hostaddr, port, sslmode, sslrootcert,
				   sslcert, sslkey count here; copied */
	const char *host;	/* to listen on; NULL: 127.0.0.1 */
	int port;		/* 0: a free one */
	const char *socket_dir; /* Unix socket .s.PGSQL.<port> in it, too; NULL:
				   TCP only */
	unsigned connections_max;    /* 0: 1,000 */
	uint64_t startup_timeout_ms; /* half a startup packet, then silence;
					   0: 60,000 as the server */
	struct slm_relay_hooks hooks;
	void *userdata;
};

/* Listens. SQLOOM_USAGE, SQLOOM_IO (the port is taken ...), SQLOOM_UNSUPPORTED
 * (sslmode that cannot be fulfilled), SQLOOM_NOMEM. */
enum sqloom_status slm_relay_start(const struct slm_relay_options *options,
				   struct slm_relay **out,
				   struct sqloom_error *err);
/* The port it listens on. A further door: one more TCP port (0: a free one) of
 * the same relay, told apart by slm_relay_connection_port(). */
int slm_relay_port(const struct slm_relay *relay);
enum sqloom_status slm_relay_listen(struct slm_relay *relay, int port,
				    int *actual, struct sqloom_error *err);
/* Closes all connections and doors; runs the loop until that is done (the
 * server's ends included; what still runs there is cancelled after 2 s, and
 * given up after 4), so never call it from within the loop. stop(NULL) is
 * fine. */
void slm_relay_stop(struct slm_relay *relay);
unsigned slm_relay_count(const struct slm_relay *relay); /* connections */
/* As the server told its last client: "15.5"; "": none was let in yet. */
const char *slm_relay_server_version(const struct slm_relay *relay);

/* ---- Connections ------------------------------------------------------- */

void slm_relay_to_server(struct slm_relay_connection *connection,
			 const void *bytes, size_t size);
void slm_relay_to_client(struct slm_relay_connection *connection,
			 const void *bytes, size_t size);
/* After slm_dialog_grant(), _set_mode() or _inject(): sends what the dialog
 * has put out, and offers it the bytes that wait. What the dialog puts out
 * within the relay's own calls for this connection is sent at their end. */
void slm_relay_go_on(struct slm_relay_connection *connection);
/* Ends it: FATAL 57P01 with this message to the client, Terminate to the
 * server; closed() follows from the loop. */
void slm_relay_end(struct slm_relay_connection *connection,
		   const char *message);
struct slm_dialog *slm_relay_dialog(struct slm_relay_connection *connection);
int slm_relay_connection_port(const struct slm_relay_connection *connection);
/* One side has gone, and closed() is still to come: the server's process may
 * hold its locks until then. */
bool slm_relay_is_ending(const struct slm_relay_connection *connection);
/* The owner's word about it. */
void slm_relay_set_data(struct slm_relay_connection *connection, void *data);
void *slm_relay_data(const struct slm_relay_connection *connection);

#endif
