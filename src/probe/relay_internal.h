/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the relay share:
 *
 *   relay.c             doors, accepting, limits, the interface
 *   relay_address.c     where the server is, from the connection string
 *   relay_side.c        one socket of a connection and its buffers
 *   relay_startup.c     a client says who it is; the way to the server
 *   relay_connection.c  relaying, ends
 *
 * Sockets are non-blocking and ours; libuv only says when they are ready, so
 * that nothing is copied or queued behind our back, and no SIGPIPE is raised.
 */
#ifndef SLM_PROBE_RELAY_INTERNAL_H
#define SLM_PROBE_RELAY_INTERNAL_H

#include <sys/socket.h>

#include "probe/relay.h"
#include "probe/tls.h"

#define SLM_RELAY_READ_BYTES (64 * 1024) /* read at once */
/* So much may wait for a side that does not read; then the other side is not
 * read. */
#define SLM_RELAY_WAITING_MAX (64 * 1024)
/* Buffers that grew beyond this are not kept. */
#define SLM_RELAY_KEPT_MAX (16 * 1024)
/* Connections beyond the limit that may still say what they want: a cancel
 * request must get through. Others are refused unheard. */
#define SLM_RELAY_SPARE 64
#define SLM_RELAY_ADDRESSES_MAX 8
/* After the server's end, how long the client may take to read the rest, and
 * the server to notice its client's end when the relay stops. */
#define SLM_RELAY_LINGER_MS 2000
/* A client is gone and its statement still sends: then it is cancelled, as it
 * would have failed to send by now. */
#define SLM_RELAY_DROPPED_MAX (1024 * 1024)

/* ---- Where the server is ------------------------------------------------ */

struct slm_relay_address {
	struct sockaddr_storage bytes;
	socklen_t size;
};

struct slm_relay_server {
	struct slm_relay_address addresses[SLM_RELAY_ADDRESSES_MAX];
	unsigned naddresses;
	char name[300]; /* for messages: "port 5432 of localhost" */
	enum slm_tls_mode tls_mode;
	struct slm_tls_context *tls; /* NULL: plain */
};

enum sqloom_status slm_relay_server_init(struct slm_relay_server *server,
					 const char *conninfo,
					 struct sqloom_error *err);
void slm_relay_server_deinit(struct slm_relay_server *server);

/* ---- Sides -------------------------------------------------------------- */

/* Bytes that wait. */
struct slm_relay_queue {
	char *data;
	size_t begin, end, capacity;
};

static inline size_t slm_relay_queue_size(const struct slm_relay_queue *queue)
{
	return queue->end - queue->begin;
}

static inline const char *slm_relay_queue_bytes(
	const struct slm_relay_queue *queue)
{
	return queue->data + queue->begin;
}

bool slm_relay_queue_put(struct slm_relay_queue *queue, const void *bytes,
			 size_t size);
void slm_relay_queue_drop(struct slm_relay_queue *queue, size_t size);
void slm_relay_queue_deinit(struct slm_relay_queue *queue);

/* One socket of a connection. */
struct slm_relay_side {
	uv_poll_t poll;
	int fd;	     /* -1: none */
	bool polled; /* poll was initialised and must be closed */
	int events;  /* asked of the loop now */
	bool eof;    /* says nothing more */
	bool broken; /* hears nothing more */
	bool shuts;  /* its end of our words comes behind what waits */
	bool shut;   /* and was sent */
	bool tls_ended;
	bool nomem;		    /* bytes for it were lost: memory was out */
	struct slm_relay_queue in;  /* came from it, could not be used yet */
	struct slm_relay_queue out; /* is to be sent to it */
	struct slm_tls *tls;
};

void slm_relay_side_init(struct slm_relay_side *side);
/* The poll handle must be closed. */
void slm_relay_side_deinit(struct slm_relay_side *side);
/* Puts bytes behind what waits; plain. */
void slm_relay_side_put(struct slm_relay_side *side, const void *bytes,
			size_t size);
/* The same, and sends as much as it takes. */
void slm_relay_side_send(struct slm_relay_side *side, const void *bytes,
			 size_t size);
/* Sends what waits, as far as it goes; then its end, if that was asked. */
void slm_relay_side_flush(struct slm_relay_side *side);
/* Reads once into bytes: how many, 0 if there is nothing now or it is over
 * (side->eof). */
size_t slm_relay_side_read(struct slm_relay_side *side, void *bytes,
			   size_t size);
/* Asks the loop for what is needed now. */
void slm_relay_side_watch(struct slm_relay_side *side, bool reads,
			  bool connects, uv_poll_cb on_ready);

/* ---- Connections -------------------------------------------------------- */

enum slm_relay_state {
	SLM_RELAY_STARTUP,   /* the client has not said yet who it is */
	SLM_RELAY_CONNECT,   /* to the server */
	SLM_RELAY_ASK_TLS,   /* SSLRequest was sent */
	SLM_RELAY_HANDSHAKE, /* of TLS */
	SLM_RELAY_OPEN,
	SLM_RELAY_ENDING,  /* nothing is relayed any more; what waits is sent,
			     the other ends are waited for */
	SLM_RELAY_CLOSING, /* handles are being closed */
};

struct slm_relay_connection {
	struct slm_relay *relay;
	struct slm_relay_connection *previous, *next;
	enum slm_relay_state state;
	struct slm_relay_side client, server;
	char peer[80]; /* of the client, for messages */
	int port;      /* of the door it came through */
	uv_timer_t timer;
	unsigned closing; /* handles whose close is under way */

	/* The way to the server */
	uint32_t startup_size; /* bytes of the packet at client.in's begin */
	bool cancels;	       /* the packet is a CancelRequest, for: */
	uint32_t cancels_pid;
	unsigned requests; /* SSLRequest and the like that were answered */
	unsigned address;  /* that is tried */
	bool plain;	   /* TLS failed: once more without */
	bool retries;	   /* connects again once the handle is closed */
	uint64_t deadline; /* of all that, on the loop's clock */

	/* Open */
	bool opened;	/* hooks.open was called */
	bool watching;	/* the server's messages are looked at: until it is
			  ready for the first time */
	size_t watched; /* bytes of server.in that were looked at */
	uint32_t pid;
	uint8_t key[256];
	uint32_t key_size;
	struct slm_dialog *dialog;	 /* NULL: bytes */
	size_t client_need, server_need; /* bytes that the dialog waits for */
	bool busy;	 /* within a call that ends with slm_relay_settle() */
	bool again;	 /* the dialog may use more of client.in now */
	bool passed_on;	 /* the startup packet */
	bool lingers;	 /* the client's end is waited for */
	bool counted;	 /* among those that the limit counts */
	bool lingered;	 /* waited long enough for the client's end */
	size_t dropped;	 /* bytes that the server said to nobody */
	bool cancelled;	 /* what it does, because nobody listens */
	const char *why; /* it ended; static */
	void *data;	 /* the owner's */
};

struct slm_relay_door {
	struct slm_relay_door *next;
	struct slm_relay *relay;
	uv_poll_t poll;
	int fd;
	int port;
	char path[108]; /* of a Unix socket; "": TCP */
};

struct slm_relay {
	uv_loop_t *loop;
	struct slm_relay_hooks hooks;
	void *userdata;
	struct slm_relay_server server;
	char server_version[64];
	char host[256];
	struct slm_relay_door *doors;
	struct slm_relay_connection *connections;
	unsigned nconnections; /* all */
	unsigned ncounted;     /* those that said who they are */
	unsigned connections_max;
	uint64_t startup_timeout_ms;
	bool full;    /* the limit was reached, and that was said */
	bool starved; /* descriptors were out, and that was said */
	bool stopping;
	bool closed;	   /* the timer below */
	uv_timer_t rested; /* the doors go on */
	int reserve;	   /* a descriptor to give up when there is no other */
	unsigned ndoors;   /* open or closing */
	int port;	   /* of the first door */
	char bytes[SLM_RELAY_READ_BYTES];	/* what was read last */
	char plain_bytes[SLM_RELAY_READ_BYTES]; /* the same, out of TLS */
};

/* relay.c */
void slm_relay_log(const struct slm_relay_connection *connection,
		   const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A new one, in the list. NULL: memory is out. fd -1: it has no client. */
struct slm_relay_connection *slm_relay_connection_new(struct slm_relay *relay,
						      int fd);

/* relay_startup.c */
/* There are too many. */
void slm_relay_refuse_full(struct slm_relay_connection *connection);
/* What the client has said so far is looked at. */
void slm_relay_startup(struct slm_relay_connection *connection);
void slm_relay_connect(struct slm_relay_connection *connection);
/* The server's socket is ready, before it is OPEN. */
void slm_relay_server_ready(struct slm_relay_connection *connection);
/* Looks at what the server says up to its first ReadyForQuery. */
void slm_relay_watch(struct slm_relay_connection *connection);

/* relay_connection.c */
void slm_relay_on_client(uv_poll_t *poll, int status, int events);
void slm_relay_on_server(uv_poll_t *poll, int status, int events);
void slm_relay_on_timer(uv_timer_t *timer);
/* The way is open: the startup packet goes to the server. */
void slm_relay_open(struct slm_relay_connection *connection);
/* Says FATAL to the client and ends. */
void slm_relay_fatal(struct slm_relay_connection *connection,
		     const char *sqlstate, const char *message);
/* The same, and logs it. */
void slm_relay_refuse(struct slm_relay_connection *connection,
		      const char *sqlstate, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Nothing is relayed any more. */
void slm_relay_finish(struct slm_relay_connection *connection, const char *why);
/* Closes a handle; slm_relay_on_closed() goes on. */
void slm_relay_close(struct slm_relay_connection *connection,
		     uv_handle_t *handle);
/* What next: sends, reads, ends, closes. At the end of every event. */
void slm_relay_settle(struct slm_relay_connection *connection);
/* Cancels what its server process does. */
void slm_relay_cancel(struct slm_relay_connection *connection);

#endif
