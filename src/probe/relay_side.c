/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One socket of a connection, with what waits to be sent to it and what came
 * from it and could not be used yet. Knows nothing of the other side. What
 * cannot be sent any more is dropped: that a side is gone is seen by reading.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "probe/relay_internal.h"

#define QUEUE_LEAST 512

/* ---- Bytes that wait ---------------------------------------------------- */

static bool make_room(struct slm_relay_queue *queue, size_t size)
{
	size_t held = slm_relay_queue_size(queue);
	size_t capacity = queue->capacity ? queue->capacity : QUEUE_LEAST;
	char *data;

	if (queue->capacity - queue->end >= size)
		return true;
	if (queue->begin)
		memmove(queue->data, queue->data + queue->begin, held);
	queue->begin = 0;
	queue->end = held;
	while (capacity - held < size)
		capacity *= 2;
	if (capacity == queue->capacity)
		return true;
	data = slm_realloc(queue->data, capacity);
	if (!data)
		return false;
	queue->data = data;
	queue->capacity = capacity;
	return true;
}

bool slm_relay_queue_put(struct slm_relay_queue *queue, const void *bytes,
			 size_t size)
{
	if (size == 0)
		return true;
	if (!make_room(queue, size))
		return false;
	memcpy(queue->data + queue->end, bytes, size);
	queue->end += size;
	return true;
}

void slm_relay_queue_drop(struct slm_relay_queue *queue, size_t size)
{
	assert(size <= slm_relay_queue_size(queue));
	queue->begin += size;
	if (queue->begin < queue->end)
		return;
	queue->begin = queue->end = 0;
	if (queue->capacity > SLM_RELAY_KEPT_MAX)
		slm_relay_queue_deinit(queue);
}

void slm_relay_queue_deinit(struct slm_relay_queue *queue)
{
	slm_free(queue->data);
	*queue = (struct slm_relay_queue){ 0 };
}

/* ---- Sides -------------------------------------------------------------- */

void slm_relay_side_init(struct slm_relay_side *side)
{
	*side = (struct slm_relay_side){ .fd = -1 };
}

void slm_relay_side_deinit(struct slm_relay_side *side)
{
	assert(!side->polled);
	if (side->fd >= 0)
		close(side->fd);
	slm_relay_queue_deinit(&side->in);
	slm_relay_queue_deinit(&side->out);
	slm_tls_free(side->tls);
	slm_relay_side_init(side);
}

/* How many bytes the socket takes now. */
static size_t send_now(struct slm_relay_side *side, const char *bytes,
		       size_t size)
{
	size_t sent = 0;

	while (sent < size && !side->broken) {
		ssize_t n =
			send(side->fd, bytes + sent, size - sent, MSG_NOSIGNAL);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			break;
		else if (errno != EINTR)
			side->broken = true;
	}
	return sent;
}

/* As they go over the line. */
static void send_raw(struct slm_relay_side *side, const char *bytes,
		     size_t size, bool now)
{
	size_t sent = 0;

	if (side->broken || side->fd < 0 || side->shut)
		return;
	if (now && slm_relay_queue_size(&side->out) == 0)
		sent = send_now(side, bytes, size);
	if (side->broken)
		return;
	if (!slm_relay_queue_put(&side->out, bytes + sent, size - sent))
		side->nomem = true;
}

static void send_encrypted(struct slm_relay_side *side, bool now)
{
	const void *bytes;
	size_t size = slm_tls_to_send(side->tls, &bytes);

	if (size)
		send_raw(side, bytes, size, now);
	slm_tls_sent(side->tls);
}

static void send_plain(struct slm_relay_side *side, const void *bytes,
		       size_t size, bool now)
{
	if (!side->tls) {
		send_raw(side, bytes, size, now);
		return;
	}
	if (!slm_tls_write(side->tls, bytes, size))
		side->broken = true;
	send_encrypted(side, now);
}

void slm_relay_side_put(struct slm_relay_side *side, const void *bytes,
			size_t size)
{
	send_plain(side, bytes, size, false);
}

void slm_relay_side_send(struct slm_relay_side *side, const void *bytes,
			 size_t size)
{
	send_plain(side, bytes, size, true);
}

/* Says our end, once all else is said. */
static void shut(struct slm_relay_side *side)
{
	if (side->tls && !side->tls_ended) {
		side->tls_ended = true;
		slm_tls_end(side->tls);
		send_encrypted(side, true);
	}
	if (slm_relay_queue_size(&side->out))
		return;
	side->shut = true;
	if (shutdown(side->fd, SHUT_WR) != 0)
		side->broken = true;
}

void slm_relay_side_flush(struct slm_relay_side *side)
{
	struct slm_relay_queue *out = &side->out;

	if (side->fd < 0)
		return;
	if (side->tls)
		send_encrypted(side, true);
	if (slm_relay_queue_size(out) && !side->broken)
		slm_relay_queue_drop(out,
				     send_now(side, slm_relay_queue_bytes(out),
					      slm_relay_queue_size(out)));
	if (side->broken)
		slm_relay_queue_deinit(out);
	else if (side->shuts && !side->shut && slm_relay_queue_size(out) == 0)
		shut(side);
}

size_t slm_relay_side_read(struct slm_relay_side *side, void *bytes,
			   size_t size)
{
	ssize_t n;

	do
		n = recv(side->fd, bytes, size, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return (size_t)n;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	side->eof = true;
	/* An end by force: nobody is there. */
	if (n < 0)
		side->broken = true;
	return 0;
}

void slm_relay_side_watch(struct slm_relay_side *side, bool reads,
			  bool connects, uv_poll_cb on_ready)
{
	bool writes = connects ||
		      (slm_relay_queue_size(&side->out) && !side->broken);
	int events = (reads ? UV_READABLE : 0) | (writes ? UV_WRITABLE : 0);

	if (!side->polled || events == side->events)
		return;
	/* It fails only for a handle that is being closed. */
	if (events)
		uv_poll_start(&side->poll, events, on_ready);
	else
		uv_poll_stop(&side->poll);
	side->events = events;
}
