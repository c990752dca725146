/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the bodies of messages say. Uses only libc, allocates nothing: what is
 * told points into the body. Everything is read with the slm_wire_next_...()
 * functions, which never pass `end`; a body that does not end where its parts
 * end is not valid.
 */
#include "pgwire/pgwire.h"

#include <string.h>

#include "pgwire/bytes.h"

#define NULL_VALUE UINT32_MAX /* -1 in the place of a length */

/* ---- The parts ---------------------------------------------------------- */

static size_t left(const uint8_t *at, const uint8_t *end)
{
	return (size_t)(end - at);
}

bool slm_wire_next_text(const uint8_t **at, const uint8_t *end,
			const char **out)
{
	const uint8_t *nul;

	if (*at == end)
		return false;
	nul = memchr(*at, '\0', left(*at, end));
	if (!nul)
		return false;
	*out = (const char *)*at;
	*at = nul + 1;
	return true;
}

bool slm_wire_next_u16(const uint8_t **at, const uint8_t *end, uint16_t *out)
{
	if (left(*at, end) < 2)
		return false;
	*out = load_u16(*at);
	*at += 2;
	return true;
}

bool slm_wire_next_u32(const uint8_t **at, const uint8_t *end, uint32_t *out)
{
	if (left(*at, end) < 4)
		return false;
	*out = load_u32(*at);
	*at += 4;
	return true;
}

bool slm_wire_next_value(const uint8_t **at, const uint8_t *end,
			 struct slm_wire_value *out)
{
	const uint8_t *bytes = *at;
	uint32_t size;

	if (!slm_wire_next_u32(&bytes, end, &size))
		return false;
	if (size == NULL_VALUE) {
		*out = (struct slm_wire_value){ 0 };
	} else if (size > left(bytes, end)) {
		return false;
	} else {
		*out = (struct slm_wire_value){ .bytes = bytes, .size = size };
		bytes += size;
	}
	*at = bytes;
	return true;
}

bool slm_wire_next_column(const uint8_t **at, const uint8_t *end,
			  struct slm_wire_column *out)
{
	struct slm_wire_column column;
	const uint8_t *next = *at;
	uint16_t type_size;
	uint32_t type_modifier;

	if (!slm_wire_next_text(&next, end, &column.name) ||
	    !slm_wire_next_u32(&next, end, &column.table) ||
	    !slm_wire_next_u16(&next, end, &column.attribute) ||
	    !slm_wire_next_u32(&next, end, &column.type) ||
	    !slm_wire_next_u16(&next, end, &type_size) ||
	    !slm_wire_next_u32(&next, end, &type_modifier) ||
	    !slm_wire_next_u16(&next, end, &column.format))
		return false;
	*out = column;
	*at = next;
	return true;
}

/* A count, and so many numbers of `width` bytes each. */
static bool next_array(const uint8_t **at, const uint8_t *end, size_t width,
		       unsigned *count, const uint8_t **array)
{
	uint16_t n;

	if (!slm_wire_next_u16(at, end, &n) || left(*at, end) / width < n)
		return false;
	*count = n;
	*array = *at;
	*at += n * width;
	return true;
}

static bool skip_values(const uint8_t **at, const uint8_t *end, unsigned count)
{
	struct slm_wire_value value;

	while (count-- > 0)
		if (!slm_wire_next_value(at, end, &value))
			return false;
	return true;
}

static bool is_whole(const struct slm_wire_message *m)
{
	return m->have == m->size;
}

/* What is there of it: all of it in a whole message. */
static const uint8_t *end_of(const struct slm_wire_message *m)
{
	return m->body + m->have;
}

/* ---- Of the client ------------------------------------------------------ */

bool slm_wire_parse(const struct slm_wire_message *m,
		    struct slm_wire_parse *out)
{
	const uint8_t *at = m->body, *end = end_of(m);
	struct slm_wire_parse parse;

	if (!is_whole(m) || !slm_wire_next_text(&at, end, &parse.name) ||
	    !slm_wire_next_text(&at, end, &parse.sql))
		return false;
	parse.sql_size = left((const uint8_t *)parse.sql, at) - 1;
	if (!next_array(&at, end, 4, &parse.ntypes, &parse.types) || at != end)
		return false;
	*out = parse;
	return true;
}

bool slm_wire_bind(const struct slm_wire_message *m, struct slm_wire_bind *out)
{
	const uint8_t *at = m->body, *end = end_of(m);
	struct slm_wire_bind bind;
	uint16_t nparams;

	if (!is_whole(m) || !slm_wire_next_text(&at, end, &bind.portal) ||
	    !slm_wire_next_text(&at, end, &bind.statement) ||
	    !next_array(&at, end, 2, &bind.nformats, &bind.formats) ||
	    !slm_wire_next_u16(&at, end, &nparams))
		return false;
	bind.nparams = nparams;
	bind.params = at;
	if (!skip_values(&at, end, nparams))
		return false;
	bind.end = at;
	if (!next_array(&at, end, 2, &bind.nresult_formats,
			&bind.result_formats) ||
	    at != end)
		return false;
	*out = bind;
	return true;
}

unsigned slm_wire_bind_format(const struct slm_wire_bind *bind, unsigned i)
{
	if (bind->nformats == 1)
		i = 0;
	return i < bind->nformats ? load_u16(bind->formats + (size_t)2 * i) : 0;
}

bool slm_wire_target(const struct slm_wire_message *m,
		     struct slm_wire_target *out)
{
	const uint8_t *at = m->body, *end = end_of(m);
	struct slm_wire_target target;

	if (!is_whole(m) || at == end || (*at != 'S' && *at != 'P'))
		return false;
	target.kind = (char)*at++;
	if (!slm_wire_next_text(&at, end, &target.name) || at != end)
		return false;
	*out = target;
	return true;
}

bool slm_wire_execute(const struct slm_wire_message *m,
		      struct slm_wire_execute *out)
{
	const uint8_t *at = m->body, *end = end_of(m);
	struct slm_wire_execute execute;

	if (!is_whole(m) || !slm_wire_next_text(&at, end, &execute.portal) ||
	    !slm_wire_next_u32(&at, end, &execute.max_rows) || at != end)
		return false;
	if (execute.max_rows > INT32_MAX)
		execute.max_rows = 0;
	*out = execute;
	return true;
}

const char *slm_wire_text(const struct slm_wire_message *m)
{
	const uint8_t *at = m->body, *end = end_of(m);
	const char *text;

	if (!is_whole(m) || !slm_wire_next_text(&at, end, &text) || at != end)
		return NULL;
	return text;
}

/* ---- Of the server ------------------------------------------------------ */

bool slm_wire_types(const struct slm_wire_message *m,
		    struct slm_wire_types *out)
{
	const uint8_t *at = m->body, *end = end_of(m);
	struct slm_wire_types types;

	if (!is_whole(m) ||
	    !next_array(&at, end, 4, &types.ntypes, &types.types) || at != end)
		return false;
	*out = types;
	return true;
}

bool slm_wire_row_description(const struct slm_wire_message *m,
			      struct slm_wire_row_description *out)
{
	const uint8_t *at = m->body, *end = end_of(m);
	struct slm_wire_row_description rows;
	struct slm_wire_column column;
	uint16_t n;

	if (!is_whole(m) || !slm_wire_next_u16(&at, end, &n))
		return false;
	rows = (struct slm_wire_row_description){ .ncolumns = n,
						  .columns = at,
						  .end = end };
	while (n-- > 0)
		if (!slm_wire_next_column(&at, end, &column))
			return false;
	if (at != end)
		return false;
	*out = rows;
	return true;
}

bool slm_wire_data_row(const struct slm_wire_message *m,
		       struct slm_wire_data_row *out)
{
	const uint8_t *at = m->body, *end = end_of(m);
	struct slm_wire_data_row row;
	uint16_t n;

	if (!slm_wire_next_u16(&at, end, &n))
		return false;
	row = (struct slm_wire_data_row){ .nvalues = n,
					  .values = at,
					  .end = end };
	if (is_whole(m) && (!skip_values(&at, end, n) || at != end))
		return false;
	*out = row;
	return true;
}

/* The untranslated severity ('V') comes behind the other, or not at all. */
static void take_field(struct slm_wire_error *out, uint8_t field,
		       const char *text)
{
	switch (field) {
	case 'S':
	case 'V':
		out->severity = text;
		break;
	case 'C':
		out->sqlstate = text;
		break;
	case 'M':
		out->message = text;
		break;
	case 'D':
		out->detail = text;
		break;
	case 'H':
		out->hint = text;
		break;
	case 'n':
		out->constraint = text;
		break;
	default:
		break;
	}
}

bool slm_wire_error(const struct slm_wire_message *m,
		    struct slm_wire_error *out)
{
	const uint8_t *at = m->body, *end = end_of(m);
	struct slm_wire_error error = { 0 };
	const char *text;
	uint8_t field;

	if (!is_whole(m))
		return false;
	while (at != end && *at) {
		field = *at++;
		if (!slm_wire_next_text(&at, end, &text))
			return false;
		take_field(&error, field, text);
	}
	if (left(at, end) != 1)
		return false;
	*out = error;
	return true;
}

char slm_wire_status(const struct slm_wire_message *m)
{
	if (!is_whole(m) || m->size != 1)
		return 0;
	switch (*m->body) {
	case 'I':
	case 'T':
	case 'E':
		return (char)*m->body;
	default:
		return 0;
	}
}

bool slm_wire_key(const struct slm_wire_message *m, struct slm_wire_key *out)
{
	if (!is_whole(m) || m->size < 4 + SLM_WIRE_KEY_MIN ||
	    m->size > 4 + SLM_WIRE_KEY_MAX)
		return false;
	*out = (struct slm_wire_key){ .pid = load_u32(m->body),
				      .key = m->body + 4,
				      .key_size = m->size - 4 };
	return true;
}

bool slm_wire_setting(const struct slm_wire_message *m,
		      struct slm_wire_setting *out)
{
	const uint8_t *at = m->body, *end = end_of(m);
	struct slm_wire_setting setting;

	if (!is_whole(m) || !slm_wire_next_text(&at, end, &setting.name) ||
	    !slm_wire_next_text(&at, end, &setting.value) || at != end)
		return false;
	*out = setting;
	return true;
}

/* What stands behind the code is between the client and the server. */
bool slm_wire_authentication(const struct slm_wire_message *m, uint32_t *code)
{
	const uint8_t *at = m->body;

	return is_whole(m) && slm_wire_next_u32(&at, end_of(m), code);
}

/* ---- Tags --------------------------------------------------------------- */

/* Digits only, up to the end; -1: something else, or too large. */
static int64_t number_of(const char *text)
{
	int64_t n = 0;

	if (!*text)
		return -1;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' ||
		    __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, *text - '0', &n))
			return -1;
	}
	return n;
}

int64_t slm_wire_changes(const char *tag)
{
	static const char *const commands[] = { "INSERT ", "UPDATE ", "DELETE ",
						"MERGE ", "COPY " };

	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (strncmp(tag, commands[i], strlen(commands[i])) == 0)
			return number_of(strrchr(tag, ' ') + 1);
	return -1;
}
