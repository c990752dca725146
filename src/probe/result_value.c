/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values on the wire, as text or binary, as sqloom's values and as text for
 * people. Part of the dialog. Types are known by their number in pg_type.dat,
 * which never changes; a binary value of another type is shown by its bytes.
 *
 * Integers are told as such, bytea as its bytes, all others as text, as the
 * server would write it (timestamps with time zone in UTC).
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe/dialog_internal.h"
#include "trace/utf8.h"

#define SHOWN_MAX 100	   /* bytes of a value that are shown */
#define DAYS_TO_2000 10957 /* from 1970-01-01 */
#define US_PER_DAY INT64_C(86400000000)

enum {
	TYPE_BOOL = 16,
	TYPE_BYTEA = 17,
	TYPE_CHAR = 18,
	TYPE_NAME = 19,
	TYPE_INT8 = 20,
	TYPE_INT2 = 21,
	TYPE_INT4 = 23,
	TYPE_TEXT = 25,
	TYPE_OID = 26,
	TYPE_JSON = 114,
	TYPE_XML = 142,
	TYPE_FLOAT4 = 700,
	TYPE_FLOAT8 = 701,
	TYPE_UNKNOWN = 705,
	TYPE_BPCHAR = 1042,
	TYPE_VARCHAR = 1043,
	TYPE_DATE = 1082,
	TYPE_TIMESTAMP = 1114,
	TYPE_TIMESTAMPTZ = 1184,
	TYPE_NUMERIC = 1700,
	TYPE_UUID = 2950,
	TYPE_JSONB = 3802,
};

static bool is_integer(uint32_t type)
{
	return type == TYPE_INT2 || type == TYPE_INT4 || type == TYPE_INT8;
}

static bool is_number(uint32_t type)
{
	return is_integer(type) || type == TYPE_OID || type == TYPE_FLOAT4 ||
	       type == TYPE_FLOAT8 || type == TYPE_NUMERIC;
}

static uint64_t big_endian(const uint8_t *bytes, uint32_t size)
{
	uint64_t value = 0;

	for (uint32_t i = 0; i < size; i++)
		value = value << 8 | bytes[i];
	return value;
}

static bool binary_integer(const uint8_t *bytes, uint32_t size, int64_t *out)
{
	switch (size) {
	case 2:
		*out = (int16_t)big_endian(bytes, size);
		return true;
	case 4:
		*out = (int32_t)big_endian(bytes, size);
		return true;
	case 8:
		*out = (int64_t)big_endian(bytes, size);
		return true;
	default:
		return false;
	}
}

/* ---- Binary as text ---------------------------------------------------- */

static void put_hex(struct slm_buf *out, const uint8_t *bytes, size_t size)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < size; i++) {
		slm_buf_putc(out, digits[bytes[i] >> 4]);
		slm_buf_putc(out, digits[bytes[i] & 15]);
	}
}

/* d.ddde+xx as the server writes it: without an exponent if that is short. */
static void put_scientific(struct slm_buf *out, const char *text, bool single)
{
	char digits[40];
	int exponent = 0, n = 0, shown;

	if (*text == '-')
		slm_buf_putc(out, *text++);
	for (; *text && *text != 'e'; text++)
		if (*text != '.')
			digits[n++] = *text;
	exponent = atoi(text + 1);
	if (exponent < -4 || exponent >= (single ? 6 : 15)) {
		slm_buf_putc(out, digits[0]);
		if (n > 1)
			slm_buf_printf(out, ".%.*s", n - 1, digits + 1);
		slm_buf_printf(out, "e%+03d", exponent);
	} else if (exponent < 0) {
		slm_buf_puts(out, "0.");
		slm_buf_fill(out, '0', (size_t)(-exponent - 1));
		slm_buf_append(out, digits, (size_t)n);
	} else {
		shown = n < exponent + 1 ? n : exponent + 1;
		slm_buf_append(out, digits, (size_t)shown);
		slm_buf_fill(out, '0', (size_t)(exponent + 1 - shown));
		if (n > shown)
			slm_buf_printf(out, ".%.*s", n - shown, digits + shown);
	}
}

/* The shortest text that is read back as the same number. */
static void put_real(struct slm_buf *out, double value, bool single)
{
	char text[40];

	if (isnan(value) || isinf(value)) {
		slm_buf_puts(out, isnan(value) ? "NaN" :
				  value > 0    ? "Infinity" :
						 "-Infinity");
		return;
	}
	for (int digits = 0; digits < 17; digits++) {
		snprintf(text, sizeof(text), "%.*e", digits, value);
		if (single ? strtof(text, NULL) == (float)value :
			     strtod(text, NULL) == value)
			break;
	}
	put_scientific(out, text, single);
}

static bool binary_real(const uint8_t *bytes, uint32_t size,
			struct slm_buf *out)
{
	uint64_t raw = size <= 8 ? big_endian(bytes, size) : 0;
	uint32_t half = (uint32_t)raw;
	double value;
	float single;

	if (size == 4) {
		memcpy(&single, &half, sizeof(single));
		put_real(out, single, true);
	} else if (size == 8) {
		memcpy(&value, &raw, sizeof(value));
		put_real(out, value, false);
	} else {
		return false;
	}
	return true;
}

/* Days since 1970-01-01 in the Gregorian calendar; a year is taken to begin in
 * March, so that the leap day is its last. */
static void put_date(struct slm_buf *out, int64_t days)
{
	int64_t shifted = days + 719468, era, of_era, year, of_year, month;

	era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
	of_era = shifted - era * 146097;
	year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) /
	       365;
	of_year = of_era - (365 * year + year / 4 - year / 100);
	month = (5 * of_year + 2) / 153;
	year += era * 400 + (month >= 10);
	slm_buf_printf(out, "%04" PRId64 "-%02" PRId64 "-%02" PRId64,
		       year > 0 ? year : 1 - year,
		       month < 10 ? month + 3 : month - 9,
		       of_year - (153 * month + 2) / 5 + 1);
}

static bool is_before_christ(int64_t days)
{
	return days < -719162; /* 0001-01-01 */
}

static bool binary_date(const uint8_t *bytes, uint32_t size,
			struct slm_buf *out)
{
	int64_t days = size == 4 ? (int32_t)big_endian(bytes, size) : 0;

	if (size != 4)
		return false;
	if (days == INT32_MAX || days == INT32_MIN) {
		slm_buf_puts(out, days > 0 ? "infinity" : "-infinity");
		return true;
	}
	days += DAYS_TO_2000;
	put_date(out, days);
	if (is_before_christ(days))
		slm_buf_puts(out, " BC");
	return true;
}

static bool binary_timestamp(const uint8_t *bytes, uint32_t size, bool zone,
			     struct slm_buf *out)
{
	int64_t us = size == 8 ? (int64_t)big_endian(bytes, size) : 0;
	int64_t days, seconds;

	if (size != 8)
		return false;
	if (us == INT64_MAX || us == INT64_MIN) {
		slm_buf_puts(out, us > 0 ? "infinity" : "-infinity");
		return true;
	}
	days = us / US_PER_DAY - (us % US_PER_DAY < 0);
	us %= US_PER_DAY; /* days * US_PER_DAY may overflow */
	us += us < 0 ? US_PER_DAY : 0;
	days += DAYS_TO_2000;
	seconds = us / 1000000;
	us %= 1000000;
	put_date(out, days);
	slm_buf_printf(out, " %02" PRId64 ":%02" PRId64 ":%02" PRId64,
		       seconds / 3600, seconds / 60 % 60, seconds % 60);
	if (us) {
		slm_buf_printf(out, ".%06" PRId64, us);
		while (out->size && out->data[out->size - 1] == '0')
			out->data[--out->size] = '\0';
	}
	if (zone)
		slm_buf_puts(out, "+00");
	if (is_before_christ(days))
		slm_buf_puts(out, " BC");
	return true;
}

/* Digits to base 10,000; the first one has this weight. */
static bool binary_numeric(const uint8_t *bytes, uint32_t size,
			   struct slm_buf *out)
{
	int ndigits, weight, sign, scale, shown = 0;

	if (size < 8)
		return false;
	ndigits = (int)big_endian(bytes, 2);
	weight = (int16_t)big_endian(bytes + 2, 2);
	sign = (int)big_endian(bytes + 4, 2);
	scale = (int)big_endian(bytes + 6, 2);
	if (size != 8 + (uint32_t)ndigits * 2)
		return false;
	if (sign & 0x8000) {
		slm_buf_puts(out, sign == 0xc000 ? "NaN" :
				  sign == 0xd000 ? "Infinity" :
						   "-Infinity");
		return true;
	}
	if (sign)
		slm_buf_putc(out, '-');
	if (weight < 0)
		slm_buf_putc(out, '0');
	for (int i = 0; i <= weight; i++)
		slm_buf_printf(out, i ? "%04d" : "%d",
			       i < ndigits ?
				       (int)big_endian(bytes + 8 + i * 2, 2) :
				       0);
	if (scale)
		slm_buf_putc(out, '.');
	for (int i = weight + 1; shown < scale; i++, shown += 4) {
		int digit = i >= 0 && i < ndigits ?
				    (int)big_endian(bytes + 8 + i * 2, 2) :
				    0;
		char text[12];

		snprintf(text, sizeof(text), "%04d", digit);
		slm_buf_append(out, text,
			       scale - shown < 4 ? (size_t)(scale - shown) : 4);
	}
	return true;
}

static bool binary_uuid(const uint8_t *bytes, uint32_t size,
			struct slm_buf *out)
{
	if (size != 16)
		return false;
	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			slm_buf_putc(out, '-');
		put_hex(out, bytes + i, 1);
	}
	return true;
}

/* False: not of a type that is known, or not valid. */
static bool binary_text(uint32_t type, const uint8_t *bytes, uint32_t size,
			struct slm_buf *out)
{
	int64_t integer;

	switch (type) {
	case TYPE_BOOL:
		slm_buf_putc(out, size && bytes[0] ? 't' : 'f');
		return size == 1;
	case TYPE_INT2:
	case TYPE_INT4:
	case TYPE_INT8:
		if (!binary_integer(bytes, size, &integer))
			return false;
		slm_buf_printf(out, "%" PRId64, integer);
		return true;
	case TYPE_OID:
		slm_buf_printf(out, "%" PRIu64,
			       size == 4 ? big_endian(bytes, size) : 0);
		return size == 4;
	case TYPE_FLOAT4:
	case TYPE_FLOAT8:
		return binary_real(bytes, size, out);
	case TYPE_DATE:
		return binary_date(bytes, size, out);
	case TYPE_TIMESTAMP:
	case TYPE_TIMESTAMPTZ:
		return binary_timestamp(bytes, size, type == TYPE_TIMESTAMPTZ,
					out);
	case TYPE_NUMERIC:
		return binary_numeric(bytes, size, out);
	case TYPE_UUID:
		return binary_uuid(bytes, size, out);
	case TYPE_JSONB: /* behind the number of its version */
		if (size < 1)
			return false;
		slm_buf_append(out, bytes + 1, size - 1);
		return true;
	case TYPE_CHAR:
	case TYPE_NAME:
	case TYPE_TEXT:
	case TYPE_JSON:
	case TYPE_XML:
	case TYPE_UNKNOWN:
	case TYPE_BPCHAR:
	case TYPE_VARCHAR:
		slm_buf_append(out, bytes, size);
		return true;
	default:
		return false;
	}
}

/* ---- As sqloom's value ------------------------------------------------- */

static bool set_text(struct slm_value *out, enum slm_value_kind kind,
		     const char *text, size_t size, struct slm_arena *arena)
{
	if (size > SLM_TRACE_VALUE_MAX)
		size = SLM_TRACE_VALUE_MAX;
	out->kind = kind;
	out->size = (uint32_t)size;
	out->text = slm_arena_strndup(arena, text ? text : "", size);
	return out->text != NULL;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* bytea as text: \x and two digits each, else as it is. */
static bool set_bytea(struct slm_value *out, const char *text, uint32_t size,
		      struct slm_arena *arena)
{
	char bytes[SLM_TRACE_VALUE_MAX];
	size_t n = 0;

	if (size < 2 || text[0] != '\\' || text[1] != 'x')
		return set_text(out, SLM_BLOB, text, size, arena);
	for (uint32_t i = 2; i + 1 < size && n < sizeof(bytes); i += 2) {
		int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);

		if (high < 0 || low < 0)
			return set_text(out, SLM_BLOB, text, size, arena);
		bytes[n++] = (char)(high * 16 + low);
	}
	return set_text(out, SLM_BLOB, bytes, n, arena);
}

static bool set_integer(struct slm_value *out, const char *text, uint32_t size,
			struct slm_arena *arena)
{
	char copy[24];

	if (size >= sizeof(copy))
		return set_text(out, SLM_TEXT, text, size, arena);
	memcpy(copy, text, size);
	copy[size] = '\0';
	out->kind = SLM_INT;
	out->integer = strtoll(copy, NULL, 10);
	return true;
}

static bool set_binary(struct slm_value *out, uint32_t type,
		       const uint8_t *bytes, uint32_t size,
		       struct slm_arena *arena)
{
	struct slm_buf text;
	bool fine;

	if (is_integer(type) && binary_integer(bytes, size, &out->integer)) {
		out->kind = SLM_INT;
		return true;
	}
	slm_buf_init(&text);
	if (binary_text(type, bytes, size, &text))
		fine = !slm_buf_failed(&text) &&
		       set_text(out, SLM_TEXT, text.data, text.size, arena);
	else
		fine = set_text(out, SLM_BLOB, (const char *)bytes, size,
				arena);
	slm_buf_deinit(&text);
	return fine;
}

bool slm_dialog_value(uint32_t type, unsigned format, const void *bytes,
		      uint32_t size, struct slm_arena *arena,
		      struct slm_value *out)
{
	memset(out, 0, sizeof(*out));
	if (!bytes) {
		out->kind = SLM_NULL;
		return true;
	}
	if (format == 1)
		return set_binary(out, type, bytes, size, arena);
	if (is_integer(type))
		return set_integer(out, bytes, size, arena);
	if (type == TYPE_BYTEA)
		return set_bytea(out, bytes, size, arena);
	return set_text(out, SLM_TEXT, bytes, size, arena);
}

/* ---- For people -------------------------------------------------------- */

static bool looks_like_number(const char *text, size_t size)
{
	size_t i = size && (*text == '-' || *text == '+');

	if (i == size)
		return false;
	for (; i < size; i++)
		if ((text[i] < '0' || text[i] > '9') && text[i] != '.')
			return false;
	return text[size - 1] != '.';
}

static bool is_readable(const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if ((unsigned char)text[i] < ' ' && text[i] != '\n' &&
		    text[i] != '\t')
			return false;
	return slm_utf8_valid(text, size);
}

/* A cut must not leave half a character. */
static size_t cut_at(const char *text, size_t size)
{
	if (size <= SHOWN_MAX)
		return size;
	size = SHOWN_MAX;
	while (size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80)
		size--;
	return size;
}

static void show_hex(const uint8_t *bytes, uint32_t size, struct slm_buf *out)
{
	size_t shown = size <= SHOWN_MAX / 2 ? size : SHOWN_MAX / 2;

	slm_buf_puts(out, "'\\x");
	put_hex(out, bytes, shown);
	slm_buf_puts(out, shown < size ? "...'" : "'");
}

static void show_text(uint32_t type, const char *text, size_t size,
		      struct slm_buf *out)
{
	size_t shown = cut_at(text, size);

	if (!is_readable(text, shown)) {
		show_hex((const uint8_t *)text, (uint32_t)size, out);
		return;
	}
	if (shown == size && (type == 0 || is_number(type)) &&
	    looks_like_number(text, size)) {
		slm_buf_append(out, text, size);
		return;
	}
	slm_buf_putc(out, '\'');
	for (size_t i = 0; i < shown; i++) {
		if (text[i] == '\'')
			slm_buf_putc(out, '\'');
		slm_buf_putc(out, text[i]);
	}
	slm_buf_puts(out, shown < size ? "...'" : "'");
}

void slm_dialog_value_show(uint32_t type, unsigned format, const uint8_t *bytes,
			   uint32_t size, struct slm_buf *out)
{
	struct slm_buf text;

	if (!bytes) {
		slm_buf_puts(out, "NULL");
		return;
	}
	if (format != 1) {
		show_text(type, (const char *)bytes, size, out);
		return;
	}
	slm_buf_init(&text);
	if (!binary_text(type, bytes, size, &text))
		show_hex(bytes, size, out);
	else
		show_text(type, text.data ? text.data : "", text.size, out);
	slm_buf_deinit(&text);
}
