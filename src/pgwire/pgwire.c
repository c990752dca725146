/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where messages begin and end: the header of a message, and the packets that
 * come before the first one. Uses only libc. Every byte is the other side's
 * word: lengths are checked against the list in pgwire.h before anybody waits
 * for the body, and nothing behind `size` is read.
 */
#include "pgwire/pgwire.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "pgwire/bytes.h"

struct entry {
	const char *name; /* NULL: no such message */
	uint32_t min, max;
};

static const struct entry client_messages[256] = {
#define X(type, NAME, text, least, most) \
	[type] = { .name = text, .min = least, .max = most },
	SLM_WIRE_CLIENT(X)
#undef X
};

static const struct entry server_messages[256] = {
#define X(type, NAME, text, least, most) \
	[type] = { .name = text, .min = least, .max = most },
	SLM_WIRE_SERVER(X)
#undef X
};

static const struct entry *entry_of(enum slm_wire_side side, uint8_t type)
{
	return side == SLM_WIRE_FROM_CLIENT ? &client_messages[type] :
					      &server_messages[type];
}

const char *slm_wire_name(enum slm_wire_side side, uint8_t type)
{
	return entry_of(side, type)->name;
}

/* ---- Messages ----------------------------------------------------------- */

static enum slm_wire_found bad_type(enum slm_wire_side side, uint8_t type,
				    char *why)
{
	const char *who = side == SLM_WIRE_FROM_CLIENT ? "client" : "server";

	if (!why)
		return SLM_WIRE_BAD;
	if (type > ' ' && type <= '~')
		snprintf(why, SLM_WIRE_WHY,
			 "the %s sent a message of the unknown type '%c'", who,
			 type);
	else
		snprintf(why, SLM_WIRE_WHY,
			 "the %s sent a message of the unknown type 0x%02x",
			 who, type);
	return SLM_WIRE_BAD;
}

/* The length word counts itself, and so do the bounds that are told. */
static enum slm_wire_found bad_length(enum slm_wire_side side,
				      const struct entry *entry, uint32_t word,
				      char *why)
{
	if (!why)
		return SLM_WIRE_BAD;
	snprintf(why, SLM_WIRE_WHY,
		 "the %s sent %s with a length of %u, where %u to %u are "
		 "possible",
		 side == SLM_WIRE_FROM_CLIENT ? "client" : "server",
		 entry->name, word, entry->min + 4, entry->max + 4);
	return SLM_WIRE_BAD;
}

/*
 * An unknown type is told from the first byte on, so that garbage is not
 * waited for.
 */
enum slm_wire_found slm_wire_look(enum slm_wire_side side, const void *bytes,
				  size_t size, struct slm_wire_message *out,
				  char *why)
{
	const uint8_t *at = bytes;
	const struct entry *entry;
	uint32_t word, body;

	if (size == 0)
		return SLM_WIRE_MORE;
	entry = entry_of(side, *at);
	if (!entry->name)
		return bad_type(side, *at, why);
	if (size < SLM_WIRE_HEADER)
		return SLM_WIRE_MORE;
	word = load_u32(at + 1);
	body = word - 4;
	if (word < 4 || body < entry->min || body > entry->max)
		return bad_length(side, entry, word, why);
	size -= SLM_WIRE_HEADER;
	*out = (struct slm_wire_message){
		.type = *at,
		.size = body,
		.body = at + SLM_WIRE_HEADER,
		.have = size < body ? size : body,
	};
	return SLM_WIRE_MESSAGE;
}

/* ---- Startup packets ---------------------------------------------------- */

#define LENGTH_AND_CODE 8		    /* bytes */
#define CANCEL_KEY_AT (LENGTH_AND_CODE + 4) /* behind the process id */

/* "Protocols" of the major number 1234 are requests. */
enum {
	CODE_CANCEL = 1234 << 16 | 5678,
	CODE_SSL = 1234 << 16 | 5679,
	CODE_GSSENC = 1234 << 16 | 5680,
};

static enum slm_wire_found bad(char *why, const char *text)
{
	if (why)
		snprintf(why, SLM_WIRE_WHY, "%s", text);
	return SLM_WIRE_BAD;
}

/* The first bytes tell who it is that speaks something else. */
static enum slm_wire_found bad_startup_length(uint32_t word, char *why)
{
	if (word >> 24 == 0x16)
		return bad(why, "the client began with TLS and no SSLRequest "
				"(sslnegotiation=direct?)");
	if (why)
		snprintf(why, SLM_WIRE_WHY,
			 "the client's first packet has a length of %u, where "
			 "%u to %u are possible: not a PostgreSQL client?",
			 word, LENGTH_AND_CODE, SLM_WIRE_STARTUP_MAX);
	return SLM_WIRE_BAD;
}

/*
 * As the server reads it: f, fa, ... false, n, no, of, off, 0, in any case.
 * What it would refuse counts as true: the server shall say so itself.
 */
static bool is_false(const char *value)
{
	static const char *const words[] = { "false", "no", "off" };
	size_t size = strlen(value);

	if (strcmp(value, "0") == 0)
		return true;
	if (size == 0 || strcasecmp(value, "o") == 0)
		return false;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strncasecmp(value, words[i], size) == 0)
			return true;
	return false;
}

/* The last one of a name counts, as with the server. */
static void take_parameter(struct slm_wire_startup *out, const char *name,
			   const char *value)
{
	if (strcmp(name, "user") == 0)
		out->user = value;
	else if (strcmp(name, "database") == 0)
		out->database = value;
	else if (strcmp(name, "application_name") == 0)
		out->application_name = value;
	else if (strcmp(name, "options") == 0)
		out->options = value;
	else if (strcmp(name, "replication") == 0)
		out->replication = !is_false(value);
}

/* Pairs of texts, and an empty one in the place of a name, at the very end. */
static bool read_parameters(const uint8_t *at, const uint8_t *end,
			    struct slm_wire_startup *out)
{
	const char *name, *value;

	while (slm_wire_next_text(&at, end, &name)) {
		if (!*name)
			return at == end;
		if (!slm_wire_next_text(&at, end, &value))
			return false;
		take_parameter(out, name, value);
	}
	return false;
}

static enum slm_wire_found read_startup(const uint8_t *bytes,
					struct slm_wire_startup *out, char *why)
{
	out->kind = SLM_WIRE_STARTUP;
	if (!read_parameters(bytes + LENGTH_AND_CODE, bytes + out->size, out))
		return bad(why, "the client's startup packet does not end "
				"where its parameters end");
	return SLM_WIRE_MESSAGE;
}

static enum slm_wire_found read_cancel(const uint8_t *bytes,
				       struct slm_wire_startup *out, char *why)
{
	if (out->size < CANCEL_KEY_AT + SLM_WIRE_KEY_MIN ||
	    out->size > CANCEL_KEY_AT + SLM_WIRE_KEY_MAX)
		return bad(why, "the client's cancel request has a key of an "
				"impossible length");
	out->kind = SLM_WIRE_CANCEL_REQUEST;
	out->pid = load_u32(bytes + LENGTH_AND_CODE);
	out->key = bytes + CANCEL_KEY_AT;
	out->key_size = out->size - CANCEL_KEY_AT;
	return SLM_WIRE_MESSAGE;
}

static enum slm_wire_found read_request(enum slm_wire_startup_kind kind,
					struct slm_wire_startup *out, char *why)
{
	if (out->size != LENGTH_AND_CODE)
		return bad(why, "the client's request for encryption is longer "
				"than such a request");
	out->kind = kind;
	return SLM_WIRE_MESSAGE;
}

static enum slm_wire_found read_packet(const uint8_t *bytes,
				       struct slm_wire_startup *out, char *why)
{
	switch (out->protocol) {
	case CODE_CANCEL:
		return read_cancel(bytes, out, why);
	case CODE_SSL:
		return read_request(SLM_WIRE_SSL_REQUEST, out, why);
	case CODE_GSSENC:
		return read_request(SLM_WIRE_GSSENC_REQUEST, out, why);
	default:
		if (out->protocol >> 16 == 3)
			return read_startup(bytes, out, why);
		out->kind = SLM_WIRE_OTHER_PROTOCOL;
		return SLM_WIRE_MESSAGE;
	}
}

enum slm_wire_found slm_wire_look_startup(const void *bytes, size_t size,
					  struct slm_wire_startup *out,
					  char *why)
{
	struct slm_wire_startup packet = {
		.user = "",
		.database = "",
		.application_name = "",
		.options = "",
	};
	enum slm_wire_found found;

	if (size < 4)
		return SLM_WIRE_MORE;
	packet.size = load_u32(bytes);
	if (packet.size < LENGTH_AND_CODE || packet.size > SLM_WIRE_STARTUP_MAX)
		return bad_startup_length(packet.size, why);
	if (size < packet.size)
		return SLM_WIRE_MORE;
	packet.protocol = load_u32((const uint8_t *)bytes + 4);
	found = read_packet(bytes, &packet, why);
	if (found == SLM_WIRE_MESSAGE)
		*out = packet;
	return found;
}
