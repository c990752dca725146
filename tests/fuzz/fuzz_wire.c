/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as what a PostgreSQL client sends, as what a server sends, as a
 * startup packet, and as the body of any message. Nothing behind the bytes may
 * be read, what is told must point into them, and what is decoded and written
 * again must decode to the same.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "fuzz.h"
#include "pgwire/pgwire.h"

#define CUTS_MAX 300 /* prefixes of one input that are tried */

static size_t touched; /* keeps the walk from being optimized away */

/* A text must end before the body does. */
static void walk_text(const struct slm_wire_message *m, const char *text)
{
	const uint8_t *at = (const uint8_t *)text;

	if (!text)
		return;
	assert(at >= m->body && at < m->body + m->have);
	assert(memchr(text, '\0', (size_t)(m->body + m->have - at)));
	touched += strlen(text);
}

static void walk_bytes(const struct slm_wire_message *m, const uint8_t *bytes,
		       size_t size)
{
	assert(bytes >= m->body && bytes <= m->body + m->have);
	assert(size <= (size_t)(m->body + m->have - bytes));
	for (size_t i = 0; i < size; i++)
		touched += bytes[i];
}

/* Returns how many values there are, n at most. */
static unsigned walk_values(const struct slm_wire_message *m, const uint8_t *at,
			    const uint8_t *end, unsigned n)
{
	struct slm_wire_value value;
	unsigned found = 0;

	while (found < n && slm_wire_next_value(&at, end, &value)) {
		if (value.bytes)
			walk_bytes(m, value.bytes, value.size);
		assert(value.bytes || value.size == 0);
		found++;
	}
	return found;
}

/* ---- Decoded, written, decoded ------------------------------------------ */

static struct slm_wire_message again(enum slm_wire_side side,
				     const struct slm_buf *buf)
{
	struct slm_wire_message m = { 0 };

	assert(slm_wire_look(side, buf->data, buf->size, &m, NULL) ==
	       SLM_WIRE_MESSAGE);
	assert(m.have == m.size && buf->size == m.size + SLM_WIRE_HEADER);
	return m;
}

static void rewrite_text(const char *text)
{
	struct slm_wire_message m;
	struct slm_buf buf;

	slm_buf_init(&buf);
	if (slm_wire_put_query(&buf, text, strlen(text))) {
		m = again(SLM_WIRE_FROM_CLIENT, &buf);
		assert(strcmp(slm_wire_text(&m), text) == 0);
	}
	slm_buf_clear(&buf);
	if (strlen(text) < SLM_WIRE_SMALL_MAX && slm_wire_put_tag(&buf, text)) {
		m = again(SLM_WIRE_FROM_SERVER, &buf);
		assert(strcmp(slm_wire_text(&m), text) == 0);
	}
	slm_buf_deinit(&buf);
}

static void rewrite_parse(const struct slm_wire_parse *parse)
{
	struct slm_wire_parse other;
	struct slm_wire_message m;
	struct slm_buf buf;

	slm_buf_init(&buf);
	if (slm_wire_put_parse(&buf, parse->name, parse->sql,
			       parse->sql_size)) {
		m = again(SLM_WIRE_FROM_CLIENT, &buf);
		assert(slm_wire_parse(&m, &other));
		assert(strcmp(other.name, parse->name) == 0);
		assert(strcmp(other.sql, parse->sql) == 0);
		assert(other.sql_size == parse->sql_size);
	}
	slm_buf_deinit(&buf);
}

static void rewrite_execute(const struct slm_wire_execute *execute)
{
	struct slm_wire_execute other;
	struct slm_wire_message m;
	struct slm_buf buf;

	slm_buf_init(&buf);
	if (slm_wire_put_execute(&buf, execute->portal, execute->max_rows)) {
		m = again(SLM_WIRE_FROM_CLIENT, &buf);
		assert(slm_wire_execute(&m, &other));
		assert(strcmp(other.portal, execute->portal) == 0);
		assert(other.max_rows == execute->max_rows);
	}
	slm_buf_deinit(&buf);
}

static void rewrite_error(const struct slm_wire_error *error)
{
	struct slm_wire_error other;
	struct slm_wire_message m;
	struct slm_buf buf;

	if (!error->severity || !error->sqlstate || !error->message)
		return;
	slm_buf_init(&buf);
	if (slm_wire_put_error(&buf, error->severity, error->sqlstate,
			       error->message)) {
		m = again(SLM_WIRE_FROM_SERVER, &buf);
		assert(slm_wire_error(&m, &other));
		assert(strcmp(other.severity, error->severity) == 0);
		assert(strcmp(other.sqlstate, error->sqlstate) == 0);
		assert(strcmp(other.message, error->message) == 0);
	}
	slm_buf_deinit(&buf);
}

/* ---- Every decoder, whatever the message says that it is ---------------- */

static void decode_parse(const struct slm_wire_message *m)
{
	struct slm_wire_parse parse;

	if (!slm_wire_parse(m, &parse))
		return;
	walk_text(m, parse.name);
	walk_text(m, parse.sql);
	assert(strlen(parse.sql) == parse.sql_size);
	walk_bytes(m, parse.types, (size_t)parse.ntypes * 4);
	rewrite_parse(&parse);
}

static void decode_bind(const struct slm_wire_message *m)
{
	struct slm_wire_bind bind;

	if (!slm_wire_bind(m, &bind))
		return;
	walk_text(m, bind.portal);
	walk_text(m, bind.statement);
	walk_bytes(m, bind.formats, (size_t)bind.nformats * 2);
	walk_bytes(m, bind.result_formats, (size_t)bind.nresult_formats * 2);
	assert(walk_values(m, bind.params, bind.end, bind.nparams) ==
	       bind.nparams);
	for (unsigned i = 0; i < bind.nparams; i++)
		touched += slm_wire_bind_format(&bind, i);
}

static void decode_rest_of_client(const struct slm_wire_message *m)
{
	const char *text = slm_wire_text(m);
	struct slm_wire_target target;
	struct slm_wire_execute execute;

	if (text) {
		walk_text(m, text);
		assert(strlen(text) + 1 == m->size);
		touched += (size_t)slm_wire_changes(text);
		rewrite_text(text);
	}
	if (slm_wire_target(m, &target)) {
		assert(target.kind == 'S' || target.kind == 'P');
		walk_text(m, target.name);
	}
	if (slm_wire_execute(m, &execute)) {
		walk_text(m, execute.portal);
		assert(execute.max_rows <= INT32_MAX);
		rewrite_execute(&execute);
	}
}

static void decode_rows(const struct slm_wire_message *m)
{
	struct slm_wire_row_description rows;
	struct slm_wire_column column;
	struct slm_wire_data_row row;
	struct slm_wire_types types;
	unsigned n = 0;

	if (slm_wire_row_description(m, &rows)) {
		const uint8_t *at = rows.columns;

		while (slm_wire_next_column(&at, rows.end, &column)) {
			walk_text(m, column.name);
			n++;
		}
		assert(n == rows.ncolumns);
	}
	if (slm_wire_data_row(m, &row)) {
		n = walk_values(m, row.values, row.end, row.nvalues);
		assert(n == row.nvalues || m->have < m->size);
	}
	if (slm_wire_types(m, &types))
		walk_bytes(m, types.types, (size_t)types.ntypes * 4);
}

static void decode_error(const struct slm_wire_message *m)
{
	struct slm_wire_error error;

	if (!slm_wire_error(m, &error))
		return;
	walk_text(m, error.severity);
	walk_text(m, error.sqlstate);
	walk_text(m, error.message);
	walk_text(m, error.detail);
	walk_text(m, error.hint);
	walk_text(m, error.constraint);
	rewrite_error(&error);
}

static void decode_rest_of_server(const struct slm_wire_message *m)
{
	struct slm_wire_setting setting;
	struct slm_wire_key key;
	uint32_t code;
	char status = slm_wire_status(m);

	assert(!status || strchr("ITE", status));
	if (slm_wire_setting(m, &setting)) {
		walk_text(m, setting.name);
		walk_text(m, setting.value);
	}
	if (slm_wire_key(m, &key)) {
		assert(key.key_size >= SLM_WIRE_KEY_MIN);
		assert(key.key_size <= SLM_WIRE_KEY_MAX);
		walk_bytes(m, key.key, key.key_size);
	}
	if (slm_wire_authentication(m, &code))
		touched += code;
}

static void decode_all(const struct slm_wire_message *m)
{
	decode_parse(m);
	decode_bind(m);
	decode_rest_of_client(m);
	decode_rows(m);
	decode_error(m);
	decode_rest_of_server(m);
}

/* ---- Messages and packets ----------------------------------------------- */

static void check_why(const char *why, bool bad)
{
	assert(bad == (*why != '\0'));
	assert(strlen(why) < SLM_WIRE_WHY - 1);
	for (; *why; why++)
		assert(*why >= ' ' && *why <= '~');
}

/* Message after message, as long as they are whole. */
static void read_stream(enum slm_wire_side side, const uint8_t *bytes,
			size_t size)
{
	while (size > 0) {
		struct slm_wire_message m;
		char why[SLM_WIRE_WHY] = "";
		enum slm_wire_found found =
			slm_wire_look(side, bytes, size, &m, why);

		check_why(why, found == SLM_WIRE_BAD);
		assert(found != SLM_WIRE_MORE || size < SLM_WIRE_HEADER);
		if (found != SLM_WIRE_MESSAGE)
			return;
		assert(m.body == bytes + SLM_WIRE_HEADER);
		assert(m.have <= m.size && m.have <= size - SLM_WIRE_HEADER);
		assert(slm_wire_name(side, m.type));
		decode_all(&m);
		if (m.have < m.size)
			return;
		bytes += SLM_WIRE_HEADER + m.size;
		size -= SLM_WIRE_HEADER + m.size;
	}
}

static void walk_startup(const struct slm_wire_startup *startup,
			 const uint8_t *bytes, size_t size)
{
	struct slm_wire_message all = { .body = bytes, .have = size };

	assert(startup->size <= size);
	if (startup->kind == SLM_WIRE_CANCEL_REQUEST)
		walk_bytes(&all, startup->key, startup->key_size);
	if (*startup->user)
		walk_text(&all, startup->user);
	if (*startup->database)
		walk_text(&all, startup->database);
	if (*startup->application_name)
		walk_text(&all, startup->application_name);
	if (*startup->options)
		walk_text(&all, startup->options);
}

static void read_startup(const uint8_t *bytes, size_t size)
{
	struct slm_wire_startup startup;
	char why[SLM_WIRE_WHY] = "";
	enum slm_wire_found found =
		slm_wire_look_startup(bytes, size, &startup, why);

	check_why(why, found == SLM_WIRE_BAD);
	if (found != SLM_WIRE_MESSAGE)
		return;
	walk_startup(&startup, bytes, size);
	read_stream(SLM_WIRE_FROM_CLIENT, bytes + startup.size,
		    size - startup.size);
}

/* Fewer bytes may be too few, but never tell something else. */
static void check_prefixes(const uint8_t *bytes, size_t size)
{
	struct slm_wire_startup startup, other;
	enum slm_wire_found all, some;

	all = slm_wire_look_startup(bytes, size, &startup, NULL);
	for (size_t cut = 0; cut < size && cut < CUTS_MAX; cut++) {
		some = slm_wire_look_startup(bytes, cut, &other, NULL);
		assert(some == all || some == SLM_WIRE_MORE);
		assert(some != SLM_WIRE_MESSAGE || other.size == startup.size);
	}
}

/* A copy that ends where the bytes end, for the sanitizer. */
static void read_copy(const uint8_t *data, size_t size, bool whole)
{
	uint8_t *copy = malloc(size ? size : 1);
	struct slm_wire_message m = { .size = (uint32_t)size + !whole,
				      .body = copy,
				      .have = size };

	if (!copy)
		return;
	memcpy(copy, data, size);
	decode_all(&m);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	read_stream(SLM_WIRE_FROM_CLIENT, data, size);
	read_stream(SLM_WIRE_FROM_SERVER, data, size);
	read_startup(data, size);
	check_prefixes(data, size);
	read_copy(data, size, true);
	read_copy(data, size, false);
	assert(slm_alloc_live() == 0);
	return 0;
}
