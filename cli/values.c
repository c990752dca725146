/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of options: numbers with their units, and which name somebody may
 * have meant. Knows no option and prints nothing.
 */
#include <ctype.h>
#include <string.h>

#include "cli.h"

#define NAME_MAX_BYTES 32		    /* names that are compared */
#define TIME_MAX_MS UINT64_C(1000000000000) /* 31 years */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int digit_value(char c)
{
	if (is_digit(c))
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

/* Reads digits up to the first other character, which *end becomes. */
static bool read_digits(const char *text, unsigned base, uint64_t *out,
			const char **end)
{
	uint64_t number = 0;
	const char *at = text;

	for (; (unsigned)digit_value(*at) < base; at++)
		if (__builtin_mul_overflow(number, base, &number) ||
		    __builtin_add_overflow(number, digit_value(*at), &number))
			return false;
	*end = at;
	*out = number;
	return at > text;
}

bool slm_cli_read_count(const char *text, uint64_t *out)
{
	uint64_t number, factor = 1;
	const char *end;

	if (!read_digits(text, 10, &number, &end))
		return false;
	if (*end == 'k' || *end == 'K')
		factor = 1000;
	else if (*end == 'M')
		factor = 1000000;
	else if (*end == 'G')
		factor = 1000000000;
	if (factor > 1)
		end++;
	if (*end || __builtin_mul_overflow(number, factor, &number))
		return false;
	*out = number;
	return true;
}

bool slm_cli_read_seed(const char *text, uint64_t *out)
{
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	uint64_t number;
	const char *end;

	if (!read_digits(hex ? text + 2 : text, hex ? 16 : 10, &number, &end) ||
	    *end)
		return false;
	*out = number;
	return true;
}

/* Milliseconds in the unit of a time, 0 if it is none. */
static uint64_t unit_ms(const char *unit)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {
		{ "", 1000 },	{ "s", 1000 },	  { "ms", 1 },
		{ "m", 60000 }, { "min", 60000 }, { "h", 3600000 },
	};

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(unit, units[i].name) == 0)
			return units[i].ms;
	return 0;
}

bool slm_cli_read_ms(const char *text, uint64_t *out)
{
	uint64_t whole = 0, part = 0, scale = 1, unit, ms;
	const char *end = text;

	if (!is_digit(*text) || !read_digits(text, 10, &whole, &end))
		return false;
	if (*end == '.') {
		if (!is_digit(*++end))
			return false;
		/* Digits beyond the sixth are less than a microsecond. */
		for (; is_digit(*end); end++)
			if (scale < 1000000) {
				part = part * 10 + (uint64_t)(*end - '0');
				scale *= 10;
			}
	}
	unit = unit_ms(end);
	if (!unit || whole > TIME_MAX_MS / unit)
		return false;
	/* Rounded up: a short time must not become 0, which is no limit. */
	ms = whole * unit + (part * unit + scale - 1) / scale;
	*out = ms;
	return true;
}

/* ---- Near misses ------------------------------------------------------- */

static unsigned least(unsigned a, unsigned b, unsigned c)
{
	unsigned ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Characters to insert, delete or replace to make b of a (Levenshtein). */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[NAME_MAX_BYTES + 1];
	size_t na = strlen(a), nb = strlen(b);

	if (na > NAME_MAX_BYTES || nb > NAME_MAX_BYTES)
		return NAME_MAX_BYTES;
	for (size_t j = 0; j <= nb; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= na; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= nb; j++) {
			unsigned above = row[j];

			row[j] = least(row[j - 1] + 1, above + 1,
				       diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[nb];
}

const char *slm_cli_nearest(const char *typed, const char *const *names)
{
	size_t length = strlen(typed);
	unsigned best = length < 4 ? 1 : length < 8 ? 2 : 3;
	const char *nearest = NULL;

	for (size_t i = 0; names[i]; i++) {
		unsigned d = distance(typed, names[i]);

		if (d < best || (d == best && !nearest)) {
			best = d;
			nearest = names[i];
		}
	}
	/* A part of a name: "preempt", "timeout". */
	for (size_t i = 0; names[i] && !nearest && length >= 3; i++)
		if (strstr(names[i], typed))
			nearest = names[i];
	return nearest;
}
