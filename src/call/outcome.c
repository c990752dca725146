/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is observed of a call that is a program, as a result of one row: a
 * number that says how it ended, and the parts of what it wrote.
 *
 * The parts come in an order that does not depend on the program's mood: keys
 * of a JSON object are sorted. All texts that name or explain are UTF-8.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/hash.h"
#include "call/function.h"
#include "call/http.h"
#include "trace/trace.h"
#include "trace/utf8.h"

#define COLUMNS_MAX (SLM_HTTP_PARTS_MAX + 4) /* status, location, rest, cut */
#define DEPTH_MAX 32	      /* levels of JSON; what is deeper is one part */
#define PATH_MAX_SIZE 300     /* bytes of a part's path; the same */
#define MESSAGE_MAX 200	      /* bytes of a message */
#define SHELL_SIGNALS_MIN 129 /* statuses by which a shell tells signals */
#define SHELL_SIGNALS_MAX 192

/* The row under construction. */
struct row {
	struct slm_arena *arena;
	const char *columns[COLUMNS_MAX];
	struct slm_value values[COLUMNS_MAX];
	unsigned count, parts;
	struct slm_buf path; /* of the JSON value being looked at */
	struct slm_buf rest; /* parts over the limit */
	bool failed;	     /* memory was out */
};

/* ---- Values ------------------------------------------------------------ */

static void add(struct row *row, const char *name, struct slm_value value)
{
	row->columns[row->count] = name;
	row->values[row->count] = value;
	row->failed = row->failed || !name;
	row->count++;
}

static struct slm_value integer(int64_t number)
{
	return (struct slm_value){ .kind = SLM_INT, .integer = number };
}

/* A copy. What is no text is bytes. */
static struct slm_value text(struct row *row, const char *data, size_t size)
{
	bool is_text = !memchr(data, '\0', size) && slm_utf8_valid(data, size);
	struct slm_value value = { .kind = is_text ? SLM_TEXT : SLM_BLOB,
				   .size = (uint32_t)size };

	value.text = slm_arena_strndup(row->arena, data, size);
	row->failed = row->failed || !value.text;
	return value;
}

/* ---- Lines ------------------------------------------------------------- */

/* The end of the line at text: its newline, or end. */
static const char *line_end(const char *at, const char *end)
{
	const char *newline = memchr(at, '\n', (size_t)(end - at));

	return newline ? newline : end;
}

/* A newline at the end makes no further line. */
static void add_lines(struct row *row, const char *at, const char *end)
{
	while (at < end && row->parts < SLM_HTTP_PARTS_MAX) {
		const char *stop = line_end(at, end);
		size_t size = (size_t)(stop - at);

		row->parts++;
		if (size > 0 && at[size - 1] == '\r')
			size--;
		add(row, slm_arena_printf(row->arena, "line %u", row->parts),
		    text(row, at, size));
		at = stop < end ? stop + 1 : end;
	}
	if (at < end)
		add(row, "rest", text(row, at, (size_t)(end - at)));
}

/* ---- JSON -------------------------------------------------------------- */

/* Compact, keys sorted. */
static struct slm_value dump(struct row *row, const json_t *json)
{
	char *written = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS |
						 JSON_ENCODE_ANY);
	struct slm_value value = { .kind = SLM_NULL };

	if (written)
		value = text(row, written, strlen(written));
	else
		row->failed = true;
	free(written);
	return value;
}

static struct slm_value scalar(struct row *row, const json_t *json)
{
	if (json_is_null(json))
		return (struct slm_value){ .kind = SLM_NULL };
	if (json_is_integer(json))
		return integer(json_integer_value(json));
	if (json_is_real(json))
		return (struct slm_value){ .kind = SLM_REAL,
					   .real = json_real_value(json) };
	if (json_is_string(json))
		return text(row, json_string_value(json),
			    json_string_length(json));
	return dump(row, json); /* true, false, {}, [], or what is too deep */
}

static void add_json_part(struct row *row, const json_t *json)
{
	struct slm_value value;

	if (slm_buf_failed(&row->path)) {
		row->failed = true;
		return;
	}
	if (row->parts < SLM_HTTP_PARTS_MAX) {
		row->parts++;
		add(row, slm_arena_strdup(row->arena, row->path.data),
		    scalar(row, json));
		return;
	}
	value = dump(row, json);
	slm_buf_printf(&row->rest, "%s=", row->path.data);
	if (value.kind == SLM_TEXT)
		slm_buf_append(&row->rest, value.text, value.size);
	slm_buf_putc(&row->rest, '\n');
}

static bool is_name(const char *key)
{
	for (const char *at = key; *at; at++)
		if (!(*at == '_' || (*at >= 'a' && *at <= 'z') ||
		      (*at >= 'A' && *at <= 'Z') ||
		      (at > key && *at >= '0' && *at <= '9')))
			return false;
	return *key != '\0';
}

/* .key, or ['a key'] */
static void step_into(struct slm_buf *path, const char *key)
{
	if (is_name(key)) {
		slm_buf_printf(path, ".%s", key);
		return;
	}
	slm_buf_puts(path, "['");
	for (; *key; key++) {
		if (*key == '\'' || *key == '\\')
			slm_buf_putc(path, '\\');
		slm_buf_putc(path, *key);
	}
	slm_buf_puts(path, "']");
}

static void step_back(struct slm_buf *path, size_t size)
{
	if (slm_buf_failed(path))
		return;
	path->size = size;
	path->data[size] = '\0';
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* In the arena; NULL: memory is out. */
static const char **sorted_keys(struct row *row, json_t *object)
{
	const char **keys = slm_arena_alloc(
		row->arena, (json_object_size(object) + 1) * sizeof(*keys));
	size_t count = 0;
	const char *key;
	json_t *value;

	if (!keys)
		return NULL;
	json_object_foreach(object, key, value) keys[count++] = key;
	qsort(keys, count, sizeof(*keys), compare_keys);
	return keys;
}

static void add_json(struct row *row, json_t *json, unsigned depth);

static void add_members(struct row *row, json_t *object, unsigned depth)
{
	const char **keys = sorted_keys(row, object);
	size_t before = row->path.size;

	if (!keys) {
		row->failed = true;
		return;
	}
	for (size_t i = 0; i < json_object_size(object); i++) {
		step_into(&row->path, keys[i]);
		add_json(row, json_object_get(object, keys[i]), depth + 1);
		step_back(&row->path, before);
	}
}

static void add_elements(struct row *row, json_t *array, unsigned depth)
{
	size_t before = row->path.size;

	for (size_t i = 0; i < json_array_size(array); i++) {
		slm_buf_printf(&row->path, "[%zu]", i);
		add_json(row, json_array_get(array, i), depth + 1);
		step_back(&row->path, before);
	}
}

static void add_json(struct row *row, json_t *json, unsigned depth)
{
	bool deep = depth >= DEPTH_MAX || row->path.size > PATH_MAX_SIZE;

	if (row->failed)
		return;
	if (json_is_object(json) && json_object_size(json) > 0 && !deep)
		add_members(row, json, depth);
	else if (json_is_array(json) && json_array_size(json) > 0 && !deep)
		add_elements(row, json, depth);
	else
		add_json_part(row, json);
}

/* False: it is no JSON. */
static bool add_as_json(struct row *row, const char *data, size_t size,
			bool scalars)
{
	size_t flags = JSON_ALLOW_NUL | (scalars ? JSON_DECODE_ANY : 0);
	json_t *json = json_loadb(data, size, flags, NULL);

	if (!json)
		return false;
	slm_buf_init(&row->path);
	slm_buf_init(&row->rest);
	slm_buf_putc(&row->path, '$');
	add_json(row, json, 0);
	row->failed = row->failed || slm_buf_failed(&row->rest) ||
		      slm_buf_failed(&row->path);
	if (row->rest.size > 0 && !row->failed)
		add(row, "rest", text(row, row->rest.data, row->rest.size));
	slm_buf_deinit(&row->path);
	slm_buf_deinit(&row->rest);
	json_decref(json);
	return true;
}

/* ---- Messages ---------------------------------------------------------- */

/* A copy in one line of UTF-8, blanks joined. NULL: memory is out. */
static const char *clean(struct slm_arena *arena, const char *at,
			 const char *end)
{
	char line[MESSAGE_MAX + 8];
	size_t size = 0, bytes;
	uint32_t character;

	for (; at < end && size < MESSAGE_MAX; at += bytes) {
		bytes = slm_utf8_next(at, end, &character);
		if (bytes == 0) {
			bytes = 1;
			line[size++] = '?';
		} else if (character > ' ' && character != 0x7f) {
			memcpy(line + size, at, bytes);
			size += bytes;
		} else if (size > 0 && line[size - 1] != ' ') {
			line[size++] = ' ';
		}
	}
	while (size > 0 && line[size - 1] == ' ')
		size--;
	return slm_arena_strndup(arena, line, size);
}

/* Cuts off white space on both sides. */
static void trim(const char **at, const char **end)
{
	while (*at < *end && (unsigned char)**at <= ' ')
		(*at)++;
	while (*end > *at && (unsigned char)(*end)[-1] <= ' ')
		(*end)--;
}

static const char *first_line(struct slm_arena *arena, const char *at,
			      const char *end)
{
	trim(&at, &end);
	return clean(arena, at, line_end(at, end));
}

static const char *last_line(struct slm_arena *arena, const char *at,
			     const char *end)
{
	const char *newline;

	trim(&at, &end);
	newline = memrchr(at, '\n', (size_t)(end - at));
	return clean(arena, newline ? newline + 1 : at, end);
}

/* psql says the error first, then where; most others say it last. */
static const char *error_line(struct slm_arena *arena, const char *errors,
			      const char *end)
{
	const char *at = strstr(errors, "ERROR:");

	if (!at)
		at = strstr(errors, "FATAL:");
	return at ? first_line(arena, at, end) : last_line(arena, errors, end);
}

/* The first line of a page says nothing; its title does. */
static const char *page_line(struct slm_arena *arena, const char *at,
			     const char *end)
{
	const char *from = strcasestr(at, "<title>");
	const char *to = from ? strcasestr(from, "</title>") : NULL;

	return to ? clean(arena, from + strlen("<title>"), to) :
		    first_line(arena, at, end);
}

/* ---- Results ----------------------------------------------------------- */

static uint64_t digest_text(uint64_t digest, const char *data, size_t size)
{
	return slm_hash_mix(digest, slm_hash(data, size, 0));
}

static uint64_t digest_value(uint64_t digest, const struct slm_value *value)
{
	uint64_t bits = 0;

	digest = slm_hash_mix(digest, value->kind);
	switch (value->kind) {
	case SLM_INT:
		return slm_hash_mix(digest, (uint64_t)value->integer);
	case SLM_REAL:
		memcpy(&bits, &value->real, sizeof(bits));
		return slm_hash_mix(digest, bits);
	case SLM_TEXT:
	case SLM_BLOB:
	case SLM_KEY:
		return digest_text(digest, value->text, value->size);
	case SLM_NULL:
	case SLM_MASKED:
		break;
	}
	return digest;
}

static uint64_t digest_result(const struct slm_result *result)
{
	const struct slm_rows *rows = &result->rows;
	uint64_t digest = rows->ncolumns;

	for (uint32_t i = 0; i < rows->ncolumns; i++) {
		digest = digest_text(digest, rows->columns[i],
				     strlen(rows->columns[i]));
		digest = digest_value(digest, &rows->values[i]);
	}
	if (result->code)
		digest =
			digest_text(digest, result->code, strlen(result->code));
	return slm_hash_mix(digest, result->error);
}

static enum sqloom_status conclude(struct row *row, enum slm_error_kind error,
				   const char *code, const char *message,
				   const struct slm_result **out,
				   struct sqloom_error *err)
{
	struct slm_result *result =
		slm_arena_zalloc(row->arena, 1, sizeof(*result));
	const char **columns =
		slm_arena_alloc(row->arena, sizeof(row->columns));
	struct slm_value *values =
		slm_arena_alloc(row->arena, sizeof(row->values));

	if (!result || !columns || !values || row->failed ||
	    (error != SLM_ERROR_NONE && (!code || !message)))
		return slm_error_nomem(err);
	memcpy(columns, row->columns, row->count * sizeof(*columns));
	memcpy(values, row->values, row->count * sizeof(*values));
	result->rows = (struct slm_rows){ .ncolumns = row->count,
					  .nkept = 1,
					  .nrows = 1,
					  .columns = columns,
					  .values = values };
	result->changes = -1;
	result->error = error;
	if (error != SLM_ERROR_NONE) {
		result->code = code;
		result->message = message;
	}
	result->digest = digest_result(result);
	*out = result;
	return SQLOOM_OK;
}

static const char *http_message(const struct slm_http_answer *answer,
				struct slm_arena *arena)
{
	const char *end = answer->body + answer->body_size;

	if (answer->error)
		return slm_arena_strdup(arena, answer->error);
	if (strcasestr(answer->content_type, "html"))
		return page_line(arena, answer->body, end);
	return first_line(arena, answer->body, end);
}

enum sqloom_status slm_http_result(const struct slm_http_answer *answer,
				   struct slm_arena *arena,
				   const struct slm_result **out,
				   struct sqloom_error *err)
{
	bool says_json = strcasestr(answer->content_type, "json");
	enum slm_error_kind error = SLM_ERROR_NONE;
	struct row row = { .arena = arena };
	const char *code = "no answer";

	if (answer->error || answer->status >= 500 || answer->status == 0)
		error = SLM_ERROR_OTHER;
	else if (answer->status >= 400)
		error = SLM_ERROR_REFUSED;
	if (!answer->error)
		code = slm_arena_printf(arena, "HTTP %d", answer->status);
	add(&row, "status", integer(answer->status));
	if (*answer->location)
		add(&row, "location",
		    text(&row, answer->location, strlen(answer->location)));
	if (!add_as_json(&row, answer->body, answer->body_size, says_json))
		add_lines(&row, answer->body, answer->body + answer->body_size);
	if (answer->cut)
		add(&row, "cut", integer(1));
	return conclude(&row, error, code, http_message(answer, arena), out,
			err);
}

static const char *exec_message(const char *output, size_t size,
				const char *errors, struct slm_arena *arena)
{
	const char *end = errors + strlen(errors);
	const char *message = error_line(arena, errors, end);

	if (message && !*message)
		message = last_line(arena, output, output + size);
	return message;
}

enum sqloom_status slm_exec_result(int status, int signal, const char *output,
				   size_t size, const char *errors,
				   struct slm_arena *arena,
				   const struct slm_result **out,
				   struct sqloom_error *err)
{
	bool killed = signal != 0 || (status >= SHELL_SIGNALS_MIN &&
				      status <= SHELL_SIGNALS_MAX);
	enum slm_error_kind error = SLM_ERROR_NONE;
	struct row row = { .arena = arena };

	if (status != 0 || signal != 0)
		error = killed ? SLM_ERROR_OTHER : SLM_ERROR_REFUSED;
	add(&row, "exit", integer(status));
	if (!add_as_json(&row, output, size, false))
		add_lines(&row, output, output + size);
	return conclude(&row, error, slm_arena_printf(arena, "exit %d", status),
			exec_message(output, size, errors ? errors : "", arena),
			out, err);
}

/* Does the value say by itself, as JSON, what the function returned, or why it
 * did not? Bindings write that: their functions return more than a number. */
static bool says_returned(const char *value, size_t size)
{
	static const char returned[] = "{\"returned\":";
	static const char raised[] = "{\"raised\":";

	return (size >= strlen(returned) &&
		memcmp(value, returned, strlen(returned)) == 0) ||
	       (size >= strlen(raised) &&
		memcmp(value, raised, strlen(raised)) == 0);
}

enum sqloom_status slm_function_result(const struct sqloom_call *call,
				       bool failed, int returned,
				       struct slm_arena *arena,
				       const struct slm_result **out,
				       struct sqloom_error *err)
{
	const char *value = call->value.data ? call->value.data : "";
	size_t size = call->value.size;
	struct row row = { .arena = arena };

	if (!says_returned(value, size))
		add(&row, "returned", integer(returned));
	if (!add_as_json(&row, value, size, false))
		add_lines(&row, value, value + size);
	return conclude(&row, failed ? SLM_ERROR_REFUSED : SLM_ERROR_NONE,
			call->refuses ? SLM_REFUSED_CODE : "failed",
			slm_arena_strdup(arena, call->error), out, err);
}
