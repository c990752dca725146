/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Surroundings of a dialog for its tests: what it sends is kept or handed on,
 * its steps are noted as text, texts are parsed once, and bytes are offered
 * whole, byte by byte, or in pieces of random size.
 */
#ifndef TEST_DIALOG_TALK_H
#define TEST_DIALOG_TALK_H

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include "probe/dialog.h"

#define TALK_TEXTS 4096

struct talk_text {
	char *sql;
	size_t size;
	struct slm_pg_step parsed;
};

struct talk {
	struct slm_dialog *dialog;
	/* How bytes are offered: 0 whole, n: at most n at once, -1: random */
	int piece;
	struct slm_rng rng;
	bool grants; /* at once, within arrived() */
	bool split;  /* as grants say */
	bool wants_results;
	const char *before;
	/* Where bytes go; NULL: kept in to_server, to_client */
	void (*out)(struct talk *talk, bool to_server, const void *bytes,
		    size_t size);
	void *userdata;

	struct slm_buf to_server, to_client;
	unsigned writes_to_server, writes_to_client;
	struct slm_buf client, server; /* not used yet */
	struct slm_buf log;
	struct slm_arena arena; /* of results */
	struct slm_arena texts_arena;
	struct talk_text texts[TALK_TEXTS];
	unsigned ntexts;
	unsigned steps, dones;
	bool failed;
	struct sqloom_error err;
};

static void talk_to_server(void *userdata, const void *bytes, size_t size)
{
	struct talk *talk = userdata;

	talk->writes_to_server++;
	if (talk->out)
		talk->out(talk, true, bytes, size);
	else
		slm_buf_append(&talk->to_server, bytes, size);
}

static void talk_to_client(void *userdata, const void *bytes, size_t size)
{
	struct talk *talk = userdata;

	talk->writes_to_client++;
	if (talk->out)
		talk->out(talk, false, bytes, size);
	else
		slm_buf_append(&talk->to_client, bytes, size);
}

static const struct slm_pg_step *talk_read(void *userdata, const char *sql,
					   size_t size)
{
	struct talk *talk = userdata;
	struct talk_text *text;

	for (unsigned i = 0; i < talk->ntexts; i++)
		if (talk->texts[i].size == size &&
		    memcmp(talk->texts[i].sql, sql, size) == 0)
			return &talk->texts[i].parsed;
	if (talk->ntexts == TALK_TEXTS)
		abort();
	text = &talk->texts[talk->ntexts++];
	text->sql = slm_arena_strndup(&talk->texts_arena, sql, size);
	text->size = size;
	if (slm_pg_step_read(text->sql, &talk->texts_arena, &text->parsed,
			     NULL))
		abort();
	return &text->parsed;
}

static void talk_arrived(void *userdata, const struct slm_dialog_step *step)
{
	static const char *const kinds[] = { "STATEMENT", "EXECUTE", "COMMIT",
					     "FUNCTION", "PREPARE" };
	struct talk *talk = userdata;

	talk->steps++;
	slm_buf_printf(&talk->log, "+%s %c%s%s [%.60s]", kinds[step->kind],
		       step->status, step->in_split ? " in" : "",
		       step->may_split ? " may" : "", step->sql);
	if (step->cut)
		slm_buf_puts(&talk->log, " cut");
	if (*step->params)
		slm_buf_printf(&talk->log, " {%s}", step->params);
	slm_buf_putc(&talk->log, '\n');
	if (slm_dialog_step(talk->dialog) != step)
		abort();
	if (talk->grants && !slm_dialog_under_way(talk->dialog))
		slm_dialog_grant(talk->dialog, talk->split, talk->before, NULL);
}

static struct slm_arena *talk_results(void *userdata)
{
	struct talk *talk = userdata;

	return talk->wants_results ? &talk->arena : NULL;
}

static void talk_value(struct slm_buf *out, const struct slm_value *value)
{
	switch (value->kind) {
	case SLM_NULL:
		slm_buf_puts(out, "NULL");
		break;
	case SLM_INT:
		slm_buf_printf(out, "%lld", (long long)value->integer);
		break;
	case SLM_BLOB:
		slm_buf_printf(out, "blob(%u)", value->size);
		break;
	default:
		slm_buf_printf(out, "'%.*s'", (int)value->size, value->text);
		break;
	}
}

static void talk_done(void *userdata, const struct slm_dialog_step *step,
		      const struct slm_result *result, char status)
{
	struct talk *talk = userdata;

	(void)step;
	talk->dones++;
	slm_buf_printf(&talk->log, "-%c", status);
	for (; result; result = result->next) {
		slm_buf_puts(&talk->log, " (");
		if (result->error)
			slm_buf_printf(&talk->log, "%d %s %s", result->error,
				       result->code, result->message);
		for (uint32_t c = 0; c < result->rows.ncolumns; c++)
			slm_buf_printf(&talk->log, "%s%s", c ? "," : "",
				       result->rows.columns[c]);
		for (uint32_t r = 0; r < result->rows.nkept; r++)
			for (uint32_t c = 0; c < result->rows.ncolumns; c++) {
				slm_buf_putc(&talk->log, c ? ',' : ';');
				talk_value(&talk->log,
					   &result->rows.values
						    [r * result->rows.ncolumns +
						     c]);
			}
		slm_buf_printf(&talk->log, " #%lld)",
			       (long long)result->changes);
	}
	slm_buf_putc(&talk->log, '\n');
}

static void talk_idle(void *userdata, char status)
{
	struct talk *talk = userdata;

	slm_buf_printf(&talk->log, "=%c\n", status);
}

static void talk_injected(void *userdata, const char *error)
{
	struct talk *talk = userdata;

	slm_buf_printf(&talk->log, "!%s\n", error ? error : "ok");
}

static const struct slm_dialog_ops talk_ops = {
	.to_server = talk_to_server,
	.to_client = talk_to_client,
	.read = talk_read,
	.arrived = talk_arrived,
	.results = talk_results,
	.done = talk_done,
	.idle = talk_idle,
	.injected = talk_injected,
};

static struct talk *talk_new(enum slm_dialog_mode mode, int piece)
{
	struct talk *talk = calloc(1, sizeof(*talk));

	if (!talk || slm_dialog_new(&talk_ops, talk, &talk->dialog, NULL))
		abort();
	talk->piece = piece;
	talk->wants_results = true;
	slm_rng_init(&talk->rng, 7);
	slm_arena_init(&talk->arena);
	slm_arena_init(&talk->texts_arena);
	slm_dialog_set_mode(talk->dialog, mode);
	return talk;
}

static void talk_free(struct talk *talk)
{
	slm_dialog_free(talk->dialog);
	slm_buf_deinit(&talk->to_server);
	slm_buf_deinit(&talk->to_client);
	slm_buf_deinit(&talk->client);
	slm_buf_deinit(&talk->server);
	slm_buf_deinit(&talk->log);
	slm_arena_deinit(&talk->arena);
	slm_arena_deinit(&talk->texts_arena);
	free(talk);
}

/* Offers what waits. Each offer is a block of its own, freed afterwards, so
 * that a sanitizer sees what is kept of it. */
static size_t talk_offer_once(struct talk *talk, bool of_client)
{
	struct slm_buf *buf = of_client ? &talk->client : &talk->server;
	size_t used = 0, need = 0;
	char *copy = malloc(buf->size ? buf->size : 1);
	enum sqloom_status status;

	memcpy(copy, buf->data ? buf->data : "", buf->size);
	status = (of_client ? slm_dialog_client : slm_dialog_server)(
		talk->dialog, copy, buf->size, &used, &need, &talk->err);
	free(copy);
	talk->failed |= status != SQLOOM_OK;
	if (used > buf->size || need > SLM_DIALOG_SQL_MAX + SLM_WIRE_HEADER)
		abort();
	if (used) {
		memmove(buf->data, buf->data + used, buf->size - used);
		buf->size -= used;
	}
	return used;
}

static void talk_offer(struct talk *talk)
{
	size_t used;

	do {
		used = talk_offer_once(talk, true);
		if (talk->server.size)
			used += talk_offer_once(talk, false);
	} while (used && !talk->failed);
}

static void talk_feed(struct talk *talk, bool of_client, const void *bytes,
		      size_t size)
{
	const char *at = bytes;

	while (size && !talk->failed) {
		size_t n = size;

		if (talk->piece > 0 && n > (size_t)talk->piece)
			n = (size_t)talk->piece;
		else if (talk->piece < 0)
			n = 1 + slm_rng_below(&talk->rng, n < 20 ? n : 20);
		slm_buf_append(of_client ? &talk->client : &talk->server, at,
			       n);
		at += n;
		size -= n;
		talk_offer(talk);
	}
}

#endif
