/* SPDX-License-Identifier: Apache-2.0 */
/* Checked values out of JSON: numbers, words, letters, rows. */
#include "trace/decode.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "trace/utf8.h"
#include "trace/words.h"

void slm_decode_fail(struct slm_decoder *d, enum sqloom_status status,
		     const char *fmt, ...)
{
	char message[400];
	va_list args;

	if (d->status)
		return;
	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	d->status = slm_error_set(d->err, status, "line %u of the trace: %s",
				  d->line, message);
	slm_error_place(d->err, d->name, d->line, 0, NULL, 0);
}

static void fail(struct slm_decoder *d, const char *key, const char *due)
{
	slm_decode_fail(d, SQLOOM_TRACE, "\"%s\" must be %s", key, due);
}

void *slm_decode_alloc(struct slm_decoder *d, size_t count, size_t size)
{
	void *block;

	if (d->status || count == 0)
		return NULL;
	block = slm_arena_zalloc(d->arena, count, size);
	if (!block)
		d->status = slm_error_nomem(d->err);
	return block;
}

static const char *copy(struct slm_decoder *d, const char *text, size_t size)
{
	const char *made;

	if (d->status)
		return "";
	made = slm_arena_strndup(d->arena, text, size);
	if (!made)
		d->status = slm_error_nomem(d->err);
	return made ? made : "";
}

static const char *copy_string(struct slm_decoder *d, const json_t *string)
{
	return copy(d, json_string_value(string), json_string_length(string));
}

const char *slm_decode_text(struct slm_decoder *d, const json_t *object,
			    const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_string(value)) {
		fail(d, key, "a string");
		return "";
	}
	return copy_string(d, value);
}

const char *slm_decode_optional(struct slm_decoder *d, const json_t *object,
				const char *key)
{
	if (!json_object_get(object, key))
		return NULL;
	return slm_decode_text(d, object, key);
}

bool slm_decode_bool(struct slm_decoder *d, const json_t *object,
		     const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_boolean(value))
		fail(d, key, "true or false");
	return json_is_true(value);
}

bool slm_decode_flag(struct slm_decoder *d, const json_t *object,
		     const char *key)
{
	return json_object_get(object, key) && slm_decode_bool(d, object, key);
}

/* Digits of a number that is too large for a JSON integer. */
static bool parse_digits(const char *text, uint64_t *out)
{
	uint64_t value = 0;

	if (*text == '\0')
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' ||
		    __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*text - '0'),
					   &value))
			return false;
	}
	*out = value;
	return true;
}

uint64_t slm_decode_count(struct slm_decoder *d, const json_t *object,
			  const char *key, uint64_t max)
{
	const json_t *value = json_object_get(object, key);
	uint64_t count = 0;
	bool is_count = false;

	if (json_is_integer(value) && json_integer_value(value) >= 0) {
		count = (uint64_t)json_integer_value(value);
		is_count = true;
	} else if (json_is_string(value)) {
		is_count = parse_digits(json_string_value(value), &count);
	}
	if (is_count && count <= max)
		return count;
	slm_decode_fail(d, SQLOOM_TRACE,
			"\"%s\" must be an integer from 0 to %" PRIu64, key,
			max);
	return 0;
}

uint64_t slm_decode_count_or_0(struct slm_decoder *d, const json_t *object,
			       const char *key, uint64_t max)
{
	if (!json_object_get(object, key))
		return 0;
	return slm_decode_count(d, object, key, max);
}

unsigned slm_decode_word(struct slm_decoder *d, const json_t *object,
			 const char *key, const char *const *words,
			 unsigned nwords)
{
	const char *word = json_string_value(json_object_get(object, key));
	int index = word ? slm_words_find(words, nwords, word) : -1;
	char list[160];
	size_t used = 0;

	if (index >= 0)
		return (unsigned)index;
	for (unsigned i = 0; i < nwords && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used,
					 "%s%s", i ? ", " : "", words[i]);
	slm_decode_fail(d, SQLOOM_TRACE, "\"%s\" must be one of %s", key, list);
	return 0;
}

static bool is_call(const struct slm_decoder *d, char letter)
{
	return letter >= 'a' && (uint32_t)(letter - 'a') < d->ncalls;
}

static void fail_letters(struct slm_decoder *d, const char *key)
{
	if (d->ncalls)
		slm_decode_fail(d, SQLOOM_TRACE,
				"\"%s\" must have letters of calls, a to %c",
				key, (char)('a' + d->ncalls - 1));
	else
		slm_decode_fail(d, SQLOOM_TRACE,
				"\"%s\" names a call, but the header has none",
				key);
}

uint32_t slm_decode_mask(struct slm_decoder *d, const json_t *object,
			 const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	uint32_t mask = 0;

	if (!text) {
		fail(d, key, "a string of letters");
		return 0;
	}
	for (; *text; text++) {
		uint32_t bit;

		if (!is_call(d, *text)) {
			fail_letters(d, key);
			return 0;
		}
		bit = UINT32_C(1) << (*text - 'a');
		if (mask >= bit) {
			fail(d, key, "letters in order, each once");
			return 0;
		}
		mask |= bit;
	}
	return mask;
}

const char *slm_decode_letters(struct slm_decoder *d, const json_t *object,
			       const char *key)
{
	const json_t *value = json_object_get(object, key);
	const char *text = json_string_value(value);

	if (!text) {
		fail(d, key, "a string of letters");
		return "";
	}
	if (json_string_length(value) > SLM_SCHEDULE_MAX) {
		slm_decode_fail(d, SQLOOM_LIMIT,
				"\"%s\" has more than %d letters", key,
				SLM_SCHEDULE_MAX);
		return "";
	}
	for (const char *at = text; *at; at++)
		if (!is_call(d, *at)) {
			fail_letters(d, key);
			return "";
		}
	return copy_string(d, value);
}

const json_t *slm_decode_array(struct slm_decoder *d, const json_t *object,
			       const char *key, size_t max, uint32_t *count)
{
	const json_t *value = json_object_get(object, key);

	*count = 0;
	if (!json_is_array(value)) {
		fail(d, key, "an array");
		return NULL;
	}
	if (json_array_size(value) > max) {
		slm_decode_fail(d, SQLOOM_LIMIT,
				"\"%s\" has more than %zu elements", key, max);
		return NULL;
	}
	if (d->status)
		return NULL;
	*count = (uint32_t)json_array_size(value);
	return value;
}

const json_t *slm_decode_object(struct slm_decoder *d, const json_t *object,
				const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_object(value))
		fail(d, key, "an object");
	return value;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

uint16_t slm_decode_fingerprint(struct slm_decoder *d, const json_t *object,
				const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	unsigned value = 0;
	unsigned n = 0;

	for (; text && text[n] && n < 4 && hex_digit(text[n]) >= 0; n++)
		value = value << 4 | (unsigned)hex_digit(text[n]);
	if (n != 4 || text[n])
		fail(d, key, "4 hex digits (0-9, a-f)");
	return (uint16_t)value;
}

/* ---- Values and rows -------------------------------------------------- */

static void set_text(struct slm_decoder *d, struct slm_value *value,
		     enum slm_value_kind kind, const char *text, size_t size)
{
	if (size > SLM_TRACE_VALUE_MAX) {
		slm_decode_fail(d, SQLOOM_LIMIT,
				"a value has more than %d bytes",
				SLM_TRACE_VALUE_MAX);
		return;
	}
	value->kind = kind;
	value->size = (uint32_t)size;
	value->text = copy(d, text, size);
}

static void set_hex(struct slm_decoder *d, struct slm_value *value,
		    enum slm_value_kind kind, const json_t *json)
{
	size_t size = json_string_length(json) / 2;
	const char *digits = json_string_value(json);
	char bytes[SLM_TRACE_VALUE_MAX];

	if (!digits || json_string_length(json) % 2) {
		fail(d, kind == SLM_BLOB ? "blob" : "hex",
		     "an even number of hex digits");
		return;
	}
	for (size_t i = 0; i < size && size <= sizeof(bytes); i++) {
		int high = hex_digit(digits[2 * i]);
		int low = hex_digit(digits[2 * i + 1]);

		if (high < 0 || low < 0) {
			fail(d, kind == SLM_BLOB ? "blob" : "hex",
			     "an even number of hex digits (0-9, a-f)");
			return;
		}
		bytes[i] = (char)(high << 4 | low);
	}
	set_text(d, value, kind, bytes, size);
}

static void set_special_real(struct slm_decoder *d, struct slm_value *value,
			     const char *word)
{
	static const char *const words[] = { "nan", "inf", "-inf" };
	static const double reals[] = { NAN, INFINITY, -INFINITY };
	int index = word ? slm_words_find(words, 3, word) : -1;

	if (index < 0) {
		fail(d, "real", "one of nan, inf, -inf");
		return;
	}
	value->kind = SLM_REAL;
	value->real = reals[index];
}

/* {"blob": ...} and its like: exactly one key. */
static void set_object(struct slm_decoder *d, struct slm_value *value,
		       const json_t *object)
{
	const json_t *json;

	if (json_object_size(object) == 1) {
		if ((json = json_object_get(object, "blob"))) {
			set_hex(d, value, SLM_BLOB, json);
			return;
		}
		if ((json = json_object_get(object, "hex"))) {
			set_hex(d, value, SLM_TEXT, json);
			return;
		}
		if (json_is_string(json = json_object_get(object, "key"))) {
			set_text(d, value, SLM_KEY, json_string_value(json),
				 json_string_length(json));
			return;
		}
		if ((json = json_object_get(object, "real"))) {
			set_special_real(d, value, json_string_value(json));
			return;
		}
		if (json_is_true(json_object_get(object, "masked"))) {
			value->kind = SLM_MASKED;
			return;
		}
	}
	slm_decode_fail(d, SQLOOM_TRACE,
			"a value that is an object must have one key, blob, "
			"hex, key, real or masked");
}

static void set_value(struct slm_decoder *d, struct slm_value *value,
		      const json_t *json)
{
	switch (json_typeof(json)) {
	case JSON_NULL:
		value->kind = SLM_NULL;
		return;
	case JSON_INTEGER:
		value->kind = SLM_INT;
		value->integer = json_integer_value(json);
		return;
	case JSON_REAL:
		value->kind = SLM_REAL;
		value->real = json_real_value(json);
		return;
	case JSON_STRING:
		set_text(d, value, SLM_TEXT, json_string_value(json),
			 json_string_length(json));
		return;
	case JSON_OBJECT:
		set_object(d, value, json);
		return;
	default:
		slm_decode_fail(d, SQLOOM_TRACE,
				"a value must be null, a number, a string or "
				"an object");
	}
}

static const char *const *decode_columns(struct slm_decoder *d,
					 const json_t *list, uint32_t count)
{
	const char **columns = slm_decode_alloc(d, count, sizeof(*columns));

	for (uint32_t i = 0; columns && i < count; i++) {
		const json_t *name = json_array_get(list, i);

		if (!json_is_string(name))
			fail(d, "columns", "an array of strings");
		columns[i] = json_is_string(name) ? copy_string(d, name) : "";
	}
	return (const char *const *)columns;
}

static void decode_row(struct slm_decoder *d, const json_t *row,
		       struct slm_value *values, uint32_t ncolumns)
{
	if (!json_is_array(row) || json_array_size(row) != ncolumns) {
		slm_decode_fail(d, SQLOOM_TRACE,
				"every element of \"rows\" must be an array "
				"with one value per column, %u",
				ncolumns);
		return;
	}
	for (uint32_t i = 0; i < ncolumns && !d->status; i++)
		set_value(d, &values[i], json_array_get(row, i));
}

void slm_decode_rows(struct slm_decoder *d, const json_t *object,
		     struct slm_rows *rows)
{
	struct slm_rows out = { 0 };
	struct slm_value *values;
	const json_t *columns, *list;

	if (!json_object_get(object, "columns"))
		return;
	columns = slm_decode_array(d, object, "columns", SLM_DECODE_COLUMNS_MAX,
				   &out.ncolumns);
	list = slm_decode_array(d, object, "rows", SLM_TRACE_ROWS_MAX,
				&out.nkept);
	out.nrows = slm_decode_count(d, object, "count", UINT64_MAX);
	if (!d->status && out.ncolumns == 0)
		fail(d, "columns", "there only if it has elements");
	if (!d->status && out.nrows < out.nkept)
		fail(d, "count", "no less than the number of rows");
	out.columns = decode_columns(d, columns, out.ncolumns);
	values = slm_decode_alloc(d, (size_t)out.nkept * out.ncolumns,
				  sizeof(*values));
	for (uint32_t i = 0; values && i < out.nkept && !d->status; i++)
		decode_row(d, json_array_get(list, i),
			   &values[(size_t)i * out.ncolumns], out.ncolumns);
	out.values = values;
	if (!d->status)
		*rows = out;
}
