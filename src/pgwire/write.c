/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of our own, appended to a slm_buf, which keeps a failure until the
 * end. A message is opened with a length word of 0, which is put right when it
 * is closed.
 */
#include "pgwire/pgwire.h"

#include <assert.h>
#include <string.h>

#include "pgwire/bytes.h"

/* Returns where the message begins. */
static size_t open_message(struct slm_buf *out, uint8_t type)
{
	static const char no_length[4];
	size_t begin = out->size;

	slm_buf_putc(out, (char)type);
	slm_buf_append(out, no_length, sizeof(no_length));
	return begin;
}

static bool close_message(struct slm_buf *out, size_t begin)
{
	size_t length;

	if (slm_buf_failed(out))
		return false;
	length = out->size - begin - 1;
	assert(length <= (size_t)SLM_WIRE_BODY_MAX + 4);
	store_u32((uint8_t *)out->data + begin + 1, (uint32_t)length);
	return true;
}

static void put_u16(struct slm_buf *out, uint16_t n)
{
	uint8_t bytes[2];

	store_u16(bytes, n);
	slm_buf_append(out, bytes, sizeof(bytes));
}

static void put_u32(struct slm_buf *out, uint32_t n)
{
	uint8_t bytes[4];

	store_u32(bytes, n);
	slm_buf_append(out, bytes, sizeof(bytes));
}

static void put_text(struct slm_buf *out, const char *text, size_t size)
{
	slm_buf_append(out, text, size);
	slm_buf_putc(out, '\0');
}

static void put_string(struct slm_buf *out, const char *text)
{
	put_text(out, text, strlen(text));
}

bool slm_wire_put_simple(struct slm_buf *out, uint8_t type)
{
	return close_message(out, open_message(out, type));
}

bool slm_wire_put_query(struct slm_buf *out, const char *sql, size_t size)
{
	size_t begin = open_message(out, SLM_WIRE_QUERY);

	put_text(out, sql, size);
	return close_message(out, begin);
}

bool slm_wire_put_parse(struct slm_buf *out, const char *name, const char *sql,
			size_t size)
{
	size_t begin = open_message(out, SLM_WIRE_PARSE);

	put_string(out, name);
	put_text(out, sql, size);
	put_u16(out, 0); /* types */
	return close_message(out, begin);
}

bool slm_wire_put_bind(struct slm_buf *out, const char *portal,
		       const char *statement)
{
	size_t begin = open_message(out, SLM_WIRE_BIND);

	put_string(out, portal);
	put_string(out, statement);
	put_u16(out, 0); /* formats */
	put_u16(out, 0); /* parameters */
	put_u16(out, 0); /* formats of results */
	return close_message(out, begin);
}

bool slm_wire_put_execute(struct slm_buf *out, const char *portal,
			  uint32_t max_rows)
{
	size_t begin = open_message(out, SLM_WIRE_EXECUTE);

	put_string(out, portal);
	put_u32(out, max_rows);
	return close_message(out, begin);
}

bool slm_wire_put_close(struct slm_buf *out, char kind, const char *name)
{
	size_t begin = open_message(out, SLM_WIRE_CLOSE);

	assert(kind == 'S' || kind == 'P');
	slm_buf_putc(out, kind);
	put_string(out, name);
	return close_message(out, begin);
}

bool slm_wire_put_tag(struct slm_buf *out, const char *tag)
{
	size_t begin = open_message(out, SLM_WIRE_COMMAND_COMPLETE);

	put_string(out, tag);
	return close_message(out, begin);
}

bool slm_wire_put_ready(struct slm_buf *out, char status)
{
	size_t begin = open_message(out, SLM_WIRE_READY_FOR_QUERY);

	assert(status == 'I' || status == 'T' || status == 'E');
	slm_buf_putc(out, status);
	return close_message(out, begin);
}

static void put_field(struct slm_buf *out, char field, const char *text)
{
	slm_buf_putc(out, field);
	put_string(out, text);
}

static bool put_report(struct slm_buf *out, uint8_t type, const char *severity,
		       const char *sqlstate, const char *message)
{
	size_t begin = open_message(out, type);

	put_field(out, 'S', severity);
	put_field(out, 'V', severity);
	put_field(out, 'C', sqlstate);
	put_field(out, 'M', message);
	slm_buf_putc(out, '\0');
	return close_message(out, begin);
}

bool slm_wire_put_error(struct slm_buf *out, const char *severity,
			const char *sqlstate, const char *message)
{
	return put_report(out, SLM_WIRE_ERROR_RESPONSE, severity, sqlstate,
			  message);
}

bool slm_wire_put_notice(struct slm_buf *out, const char *severity,
			 const char *sqlstate, const char *message)
{
	return put_report(out, SLM_WIRE_NOTICE_RESPONSE, severity, sqlstate,
			  message);
}
