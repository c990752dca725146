/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a script: what a client and a server say through a dialog, in
 * pieces of any size, and what the owner of the dialog does meanwhile. The
 * server is model.c's, unless the script speaks for it.
 *
 * Checked at every moment: no more bytes are used than were given; in TRACK
 * mode, without injections, what was used has gone out, byte for byte. Checked
 * at the end, with the model: nobody waits for ever, and whatever was held,
 * split and injected, the client has seen what a client sees that asks the
 * model directly.
 *
 * The first byte says how it begins; then each operation is a letter, see
 * operate(). Bytes that are no operation are passed over.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "fuzz.h"
#include "model.h"
#include "probe/dialog.h"

#define SCRIPT_MAX 16384 /* bytes of it that count */

enum {
	BEGIN_RAW = 1,	   /* the model does not greet */
	BEGIN_HELD = 2,	   /* HOLD mode */
	BEGIN_RESULTS = 4, /* results are wanted */
	BEGIN_GRANT = 8,   /* granted within arrived() */
	BEGIN_SPLIT = 16,  /* with split */
};

enum grants { BY_HAND, GRANTED, SPLIT };

/* What one side sends. */
struct side {
	struct slm_buf in;
	size_t used, offered;
};

struct talk {
	struct slm_dialog *dialog;
	struct side client, server;
	struct slm_buf to_client, to_server;
	size_t given; /* bytes of the model's answers that are in server.in */
	size_t taken; /* bytes of to_server that the model has */
	struct model model;
	struct slm_arena arena; /* of texts and results */
	bool results;
	enum grants grants;
	bool tracks;  /* HOLD was never on, nothing was injected */
	bool foreign; /* the script spoke for the server */
	bool closed;  /* the dialog refused to go on */
	bool nomem;   /* memory was out once */
	bool granted; /* within arrived() */
	const struct slm_dialog_step *step; /* arrived and not done */
	unsigned injections;		    /* without an answer */
	size_t piece;			    /* 0: all at once */
	uint64_t fail_from;		    /* allocations; 0: none fails */
};

static size_t touched; /* keeps the walk from being optimized away */

/* ---- Memory that is out, in the dialog only ----------------------------- */

static void enter(struct talk *talk)
{
	slm_alloc_fail_from(talk->fail_from);
}

static void leave(struct talk *talk)
{
	uint64_t count = slm_alloc_count();

	slm_alloc_fail_from(0);
	if (talk->fail_from == 0)
		return;
	if (count >= talk->fail_from) {
		talk->nomem = true;
		talk->fail_from = 1; /* and so it stays */
	} else {
		talk->fail_from -= count;
	}
}

/* ---- What the dialog calls ---------------------------------------------- */

static void append(struct slm_buf *buf, const void *bytes, size_t size)
{
	slm_buf_append(buf, bytes, size);
	if (slm_buf_failed(buf))
		abort();
}

static void on_to_server(void *userdata, const void *bytes, size_t size)
{
	struct talk *talk = userdata;

	leave(talk);
	append(&talk->to_server, bytes, size);
	enter(talk);
}

static void on_to_client(void *userdata, const void *bytes, size_t size)
{
	struct talk *talk = userdata;

	leave(talk);
	append(&talk->to_client, bytes, size);
	enter(talk);
}

static const struct slm_pg_step *on_read(void *userdata, const char *sql,
					 size_t size)
{
	static const struct slm_pg_step nothing = { .message = "" };
	struct talk *talk = userdata;
	struct slm_pg_step *step;
	char *copy;

	leave(talk);
	step = slm_arena_zalloc(&talk->arena, 1, sizeof(*step));
	copy = slm_arena_strndup(&talk->arena, sql, size);
	if (!step || !copy ||
	    slm_pg_step_read(copy, &talk->arena, step, NULL) != SQLOOM_OK)
		step = NULL;
	enter(talk);
	return step ? step : &nothing;
}

static void grant(struct talk *talk, bool split, const char *before)
{
	const struct slm_dialog_step *step = slm_dialog_step(talk->dialog);
	struct sqloom_error err = { 0 };
	enum sqloom_status status;

	assert(step);
	if (step->status == 'E')
		before = NULL; /* it would fail */
	status = slm_dialog_grant(talk->dialog, split && step->may_split,
				  before, &err);
	if (status != SQLOOM_OK)
		talk->closed = true;
}

static void walk_step(const struct slm_dialog_step *step)
{
	assert(step->sql && step->params);
	assert(step->sql[step->sql_size] == '\0');
	assert(step->status && strchr("ITE", step->status));
	assert(!step->in_split || step->status == 'T');
	assert((step->kind == SLM_DIALOG_COMMIT) == !step->parsed ||
	       step->kind == SLM_DIALOG_FUNCTION);
	touched += strlen(step->sql) + strlen(step->params);
}

static void on_arrived(void *userdata, const struct slm_dialog_step *step)
{
	struct talk *talk = userdata;

	assert(!talk->step);
	talk->step = step;
	walk_step(step);
	if (talk->grants == BY_HAND || talk->tracks)
		return;
	if (slm_dialog_under_way(talk->dialog))
		return; /* TRACK mode: it has gone on */
	talk->granted = true;
	grant(talk, talk->grants == SPLIT, NULL);
}

static struct slm_arena *on_results(void *userdata)
{
	struct talk *talk = userdata;

	return talk->results ? &talk->arena : NULL;
}

static void walk_result(const struct slm_result *result)
{
	for (; result; result = result->next) {
		const struct slm_rows *rows = &result->rows;

		assert(!result->next || result->error == SLM_ERROR_NONE);
		assert((result->error != SLM_ERROR_NONE) == !!result->code);
		if (result->code)
			touched +=
				strlen(result->code) + strlen(result->message);
		for (size_t i = 0; i < rows->ncolumns; i++)
			touched += strlen(rows->columns[i]);
		for (size_t i = 0; i < (size_t)rows->nkept * rows->ncolumns;
		     i++)
			touched += (size_t)rows->values[i].kind;
	}
}

static void on_done(void *userdata, const struct slm_dialog_step *step,
		    const struct slm_result *result, char status)
{
	struct talk *talk = userdata;

	assert(talk->step == step);
	walk_step(step);
	walk_result(result);
	assert(status && strchr("ITE", status));
	assert(talk->results || !result);
	talk->step = NULL;
}

static void on_idle(void *userdata, char status)
{
	(void)userdata;
	assert(status && strchr("ITE", status));
}

static void on_injected(void *userdata, const char *error)
{
	struct talk *talk = userdata;

	assert(talk->injections > 0);
	talk->injections--;
	if (error)
		touched += strlen(error);
}

static const struct slm_dialog_ops ops = {
	.to_server = on_to_server,
	.to_client = on_to_client,
	.read = on_read,
	.arrived = on_arrived,
	.results = on_results,
	.done = on_done,
	.idle = on_idle,
	.injected = on_injected,
};

/* ---- Bytes through the dialog ------------------------------------------- */

/* What has not been used, in a block that ends where it ends. True: some of it
 * was used now. */
static bool offer(struct talk *talk, bool client)
{
	struct side *side = client ? &talk->client : &talk->server;
	size_t size = side->offered - side->used, used = 0, need = 0;
	struct sqloom_error err = { 0 };
	enum sqloom_status status;
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	if (size > 0)
		memcpy(copy, side->in.data + side->used, size);
	enter(talk);
	status = (client ? slm_dialog_client : slm_dialog_server)(
		talk->dialog, copy, size, &used, &need, &err);
	leave(talk);
	free(copy);
	if (status != SQLOOM_OK) {
		assert(err.message[0] && !strchr(err.message, '\n'));
		assert(status != SQLOOM_NOMEM || talk->nomem);
		talk->closed = true;
		return false;
	}
	assert(used <= size);
	assert(need <= SLM_DIALOG_SQL_MAX + SLM_WIRE_HEADER);
	assert(need == 0 || need > size - used);
	assert(client || need > 0 || used == size);
	side->used += used;
	return used > 0;
}

/* Offers all that there is, piece by piece. True: something was used. */
static bool offer_all(struct talk *talk, bool client)
{
	struct side *side = client ? &talk->client : &talk->server;
	bool moved = false;

	do {
		size_t more = side->in.size - side->offered;

		if (talk->piece > 0 && more > talk->piece)
			more = talk->piece;
		side->offered += more;
		moved = (!talk->closed && offer(talk, client)) || moved;
	} while (!talk->closed && side->offered < side->in.size);
	return moved;
}

static void check_now(const struct talk *talk)
{
	const struct slm_dialog *dialog = talk->dialog;

	assert(slm_dialog_step(dialog) == talk->step || talk->closed);
	assert(!slm_dialog_under_way(dialog) || slm_dialog_step(dialog));
	assert(!talk->step || !slm_dialog_is_idle(dialog));
	touched += slm_dialog_pid(dialog);
	if (!talk->tracks || talk->closed)
		return;
	assert(talk->to_server.size == talk->client.used);
	assert(memcmp(talk->to_server.data, talk->client.in.data,
		      talk->client.used) == 0);
	assert(talk->to_client.size == talk->server.used);
	assert(memcmp(talk->to_client.data, talk->server.in.data,
		      talk->server.used) == 0);
}

static void pump(struct talk *talk)
{
	bool moved = true;

	while (moved && !talk->closed) {
		talk->granted = false;
		moved = offer_all(talk, true);
		moved = offer_all(talk, false) || moved || talk->granted;
	}
	check_now(talk);
}

/* ---- The model ---------------------------------------------------------- */

/* The model answers count messages, and what it sends is there. */
static bool let_answer(struct talk *talk, unsigned count)
{
	struct model *model = &talk->model;
	bool any = false;

	model_feed(model, talk->to_server.data + talk->taken,
		   talk->to_server.size - talk->taken);
	talk->taken = talk->to_server.size;
	while (count-- > 0 && model_answer(model))
		any = true;
	if (model->sent > talk->given) {
		append(&talk->server.in, model->out.data + talk->given,
		       model->sent - talk->given);
		talk->given = model->sent;
		any = true;
	}
	return any;
}

/* Everything that can happen without the client happens. */
static void drain(struct talk *talk)
{
	bool moved = true;

	while (moved && !talk->closed) {
		pump(talk);
		moved = let_answer(talk, UINT32_MAX);
		if (talk->closed || !talk->step ||
		    slm_dialog_under_way(talk->dialog))
			continue;
		enter(talk);
		grant(talk, talk->grants == SPLIT, NULL);
		leave(talk);
		moved = true;
	}
	pump(talk);
}

/* Is what the client has not got rid of less than a message, or none? */
static bool is_partial(const struct side *side)
{
	struct slm_wire_message m;
	enum slm_wire_found found =
		slm_wire_look(SLM_WIRE_FROM_CLIENT, side->in.data + side->used,
			      side->in.size - side->used, &m, NULL);

	return found == SLM_WIRE_MORE ||
	       (found == SLM_WIRE_MESSAGE && m.have < m.size);
}

/* Has the client begun a message, of which a part was passed on? Then what the
 * dialog wants to say to the server waits for the end of it. */
static bool is_in_message(const struct side *side)
{
	struct slm_wire_message m;
	size_t at = 0;

	while (at < side->used &&
	       slm_wire_look(SLM_WIRE_FROM_CLIENT, side->in.data + at,
			     side->in.size - at, &m, NULL) == SLM_WIRE_MESSAGE)
		at += SLM_WIRE_HEADER + m.size;
	return at != side->used;
}

static void show(const char *what, const struct slm_buf *buf)
{
	fprintf(stderr, "%s: ", what);
	for (size_t i = 0; i < buf->size; i++)
		fprintf(stderr,
			buf->data[i] >= ' ' && buf->data[i] <= '~' ? "%c" :
								     "\\%02x",
			(uint8_t)buf->data[i]);
	fprintf(stderr, "\n");
}

/* What the same client sees without a dialog. */
static void compare(struct talk *talk)
{
	struct model direct;
	size_t least, seen = talk->to_client.size;
	bool same;

	model_init(&direct);
	model_start(&direct);
	model_feed(&direct, talk->client.in.data, talk->client.in.size);
	while (model_answer(&direct))
		;
	/* What does not belong into a COPY waits for its end. */
	least = talk->closed || is_in_message(&talk->client) ||
				talk->model.copy != MODEL_NO_COPY ?
			0 :
			direct.asked;
	same = seen >= least && seen <= direct.out.size &&
	       memcmp(talk->to_client.data, direct.out.data, seen) == 0;
	if (!same) {
		show("client  ", &talk->client.in);
		show("relayed ", &talk->to_server);
		show("answers ", &talk->server.in);
		show("seen    ", &talk->to_client);
		show("direct  ", &direct.out);
	}
	assert(same);
	model_deinit(&direct);
}

static void finish(struct talk *talk)
{
	if (talk->foreign)
		return;
	drain(talk);
	if (!talk->closed && !talk->model.dead) {
		assert(is_partial(&talk->client) ||
		       talk->model.copy != MODEL_NO_COPY);
		assert(!talk->step || slm_dialog_under_way(talk->dialog));
		assert(talk->injections == 0);
	}
	compare(talk);
}

/* ---- The script --------------------------------------------------------- */

struct script {
	const uint8_t *at, *end;
};

static size_t number(struct script *script, unsigned bytes)
{
	size_t n = 0;

	while (bytes-- > 0)
		n = n << 8 | (script->at < script->end ? *script->at++ : 0);
	return n;
}

/* So many bytes, or what is left. */
static const uint8_t *take(struct script *script, size_t *size)
{
	const uint8_t *bytes = script->at;

	if (*size > (size_t)(script->end - bytes))
		*size = (size_t)(script->end - bytes);
	script->at += *size;
	return bytes;
}

static void say(struct slm_buf *out, uint8_t type, const void *body,
		size_t size)
{
	const uint32_t length = (uint32_t)size + 4;
	const uint8_t header[] = { type, (uint8_t)(length >> 24),
				   (uint8_t)(length >> 16),
				   (uint8_t)(length >> 8), (uint8_t)length };

	append(out, header, sizeof(header));
	append(out, body, size);
}

/* A message of any type, its length put right. */
static void say_any(struct slm_buf *out, struct script *script)
{
	uint8_t type = (uint8_t)number(script, 1);
	size_t size = number(script, 1);
	const uint8_t *body = take(script, &size);

	say(out, type, body, size);
}

static void say_query(struct slm_buf *out, struct script *script)
{
	size_t size = number(script, 1);
	const uint8_t *text = take(script, &size);

	slm_wire_put_query(out, (const char *)text,
			   strnlen((const char *)text, size));
}

enum {
	SAY_PARSE = 1,
	SAY_BIND = 2,
	SAY_DESCRIBE = 4,
	SAY_EXECUTE = 8,
	SAY_SYNC = 16,
	SAY_NAMED = 32,	  /* statement and portal have names */
	SAY_LIMITED = 64, /* one row */
	SAY_FLUSH = 128,
};

/* Messages of the extended protocol, those that the first byte names. */
static void say_extended(struct slm_buf *out, struct script *script)
{
	const size_t what = number(script, 1);
	size_t size = what & SAY_PARSE ? number(script, 1) : 0;
	const char *text = (const char *)take(script, &size);
	const char *statement = what & SAY_NAMED ? "s" : "";
	const char *portal = what & SAY_NAMED ? "p" : "";

	if (what & SAY_PARSE)
		slm_wire_put_parse(out, statement, text, strnlen(text, size));
	if (what & SAY_BIND)
		slm_wire_put_bind(out, portal, statement);
	if (what & SAY_DESCRIBE)
		say(out, SLM_WIRE_DESCRIBE, what & SAY_NAMED ? "Sp\0" : "P\0",
		    what & SAY_NAMED ? 3 : 2);
	if (what & SAY_EXECUTE)
		slm_wire_put_execute(out, portal, what & SAY_LIMITED ? 1 : 0);
	if (what & SAY_FLUSH)
		slm_wire_put_simple(out, SLM_WIRE_FLUSH);
	if (what & SAY_SYNC)
		slm_wire_put_simple(out, SLM_WIRE_SYNC);
}

static void set_mode(struct talk *talk, enum slm_dialog_mode mode)
{
	if (mode == SLM_DIALOG_HOLD)
		talk->tracks = false;
	enter(talk);
	slm_dialog_set_mode(talk->dialog, mode);
	leave(talk);
}

static void grant_by_hand(struct talk *talk, bool split, const char *before)
{
	if (!talk->step || slm_dialog_under_way(talk->dialog))
		return;
	enter(talk);
	grant(talk, split, before);
	leave(talk);
}

static void inject(struct talk *talk)
{
	bool sent;

	enter(talk);
	talk->injections++;
	sent = slm_dialog_inject(talk->dialog, "SET lock_timeout = 7");
	leave(talk);
	if (sent)
		talk->tracks = false;
	else
		talk->injections--;
}

static void raw(struct slm_buf *out, struct script *script)
{
	size_t size = number(script, 2);
	const uint8_t *bytes = take(script, &size);

	append(out, bytes, size);
}

/* What one of the parties does. */
static void operate(struct talk *talk, struct script *script)
{
	static const size_t pieces[] = { 0, 1, 2, 3, 5, 8, 64, 1000 };

	switch (number(script, 1)) {
	/* The client: any bytes, a message, a Query, extended messages */
	case 'c':
		raw(&talk->client.in, script);
		break;
	case 'm':
		say_any(&talk->client.in, script);
		break;
	case 'q':
		say_query(&talk->client.in, script);
		break;
	case 'e':
		say_extended(&talk->client.in, script);
		break;
	/* The server: any bytes, a message, and the model */
	case 'C':
		raw(&talk->server.in, script);
		talk->foreign = true;
		break;
	case 'M':
		say_any(&talk->server.in, script);
		talk->foreign = true;
		break;
	case 'a':
		let_answer(talk, (unsigned)number(script, 1));
		break;
	case 'A':
		let_answer(talk, UINT32_MAX);
		break;
	/* The owner: modes, grants, injections */
	case 'h':
		set_mode(talk, SLM_DIALOG_HOLD);
		break;
	case 't':
		set_mode(talk, SLM_DIALOG_TRACK);
		break;
	case 'g':
		grant_by_hand(talk, false, NULL);
		break;
	case 'G':
		grant_by_hand(talk, true, NULL);
		break;
	case 'b':
		grant_by_hand(talk, true, "SET deadlock_timeout = 1");
		break;
	case 'B':
		grant_by_hand(talk, false, "SET deadlock_timeout = 1");
		break;
	case 'n':
		talk->grants = (enum grants)(number(script, 1) % 3);
		break;
	case 'i':
		inject(talk);
		break;
	case 'd':
		if (!talk->foreign)
			drain(talk);
		break;
	/* The surroundings: sizes of pieces, memory */
	case 'p':
		talk->piece = pieces[number(script, 1) % 8];
		break;
	case 'f':
		talk->fail_from = 1 + number(script, 1);
		break;
	default:
		return;
	}
	pump(talk);
}

static void begin(struct talk *talk, struct script *script)
{
	size_t how = number(script, 1);

	talk->results = how & BEGIN_RESULTS;
	if (how & BEGIN_GRANT)
		talk->grants = how & BEGIN_SPLIT ? SPLIT : GRANTED;
	if (how & BEGIN_HELD)
		set_mode(talk, SLM_DIALOG_HOLD);
	if (how & BEGIN_RAW)
		talk->foreign = true;
	else
		model_start(&talk->model);
	let_answer(talk, 0);
	pump(talk);
}

static void talk_init(struct talk *talk)
{
	*talk = (struct talk){ .tracks = true };
	slm_buf_init(&talk->client.in);
	slm_buf_init(&talk->server.in);
	slm_buf_init(&talk->to_client);
	slm_buf_init(&talk->to_server);
	append(&talk->client.in, "", 0);
	append(&talk->server.in, "", 0);
	append(&talk->to_client, "", 0);
	append(&talk->to_server, "", 0);
	slm_arena_init(&talk->arena);
	model_init(&talk->model);
	if (slm_dialog_new(&ops, talk, &talk->dialog, NULL) != SQLOOM_OK)
		abort();
}

static void talk_deinit(struct talk *talk)
{
	slm_dialog_free(talk->dialog);
	model_deinit(&talk->model);
	slm_arena_deinit(&talk->arena);
	slm_buf_deinit(&talk->client.in);
	slm_buf_deinit(&talk->server.in);
	slm_buf_deinit(&talk->to_client);
	slm_buf_deinit(&talk->to_server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script script = { data, data + size };
	struct talk talk;

	if (size == 0)
		return 0;
	if (size > SCRIPT_MAX)
		script.end = data + SCRIPT_MAX;
	talk_init(&talk);
	begin(&talk, &script);
	while (script.at < script.end && !talk.closed)
		operate(&talk, &script);
	finish(&talk);
	talk_deinit(&talk);
	assert(slm_alloc_live() == 0);
	return 0;
}
