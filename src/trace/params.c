/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parameters put into the text of a statement. A scanner that knows what
 * PostgreSQL's quotes and comments look like, and nothing else of SQL.
 */
#include "trace/params.h"

#include <ctype.h>
#include <string.h>

#include "base/buf.h"

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || (c & 0x80);
}

/* ---- What is skipped -------------------------------------------------- */

/* Behind the closing quote; a doubled one, and with escapes a \', does not
 * close. At the end of the text if there is none. */
static const char *skip_quoted(const char *p, char quote, bool escapes)
{
	for (p++; *p; p++) {
		if (escapes && *p == '\\' && p[1])
			p++;
		else if (*p == quote && p[1] == quote)
			p++;
		else if (*p == quote)
			return p + 1;
	}
	return p;
}

static const char *skip_comment(const char *p)
{
	unsigned depth = 0;

	while (*p) {
		if (p[0] == '/' && p[1] == '*') {
			depth++;
			p += 2;
		} else if (p[0] == '*' && p[1] == '/') {
			p += 2;
			if (--depth == 0)
				return p;
		} else {
			p++;
		}
	}
	return p;
}

/* Behind $tag$ ... $tag$; NULL if no such quote begins here. */
static const char *skip_dollar(const char *p)
{
	const char *tag = p + 1, *end;
	size_t size;

	if (isdigit((unsigned char)*tag))
		return NULL;
	while (is_word(*tag))
		tag++;
	if (*tag != '$')
		return NULL;
	size = (size_t)(tag + 1 - p);
	for (end = tag + 1; *end; end++)
		if (strncmp(end, p, size) == 0)
			return end + size;
	return end;
}

/* Behind what can hold no parameter: quotes, comments, whole words; or at
 * least one character further. */
static const char *skip_one(const char *p)
{
	const char *end;

	if (*p == '\'' || *p == '"')
		return skip_quoted(p, *p, false);
	if (p[0] == '-' && p[1] == '-')
		return p + strcspn(p, "\n");
	if (p[0] == '/' && p[1] == '*')
		return skip_comment(p);
	if (*p == '$' && (end = skip_dollar(p)))
		return end;
	if (!is_word(*p))
		return p + 1;
	if ((*p == 'e' || *p == 'E') && p[1] == '\'')
		return skip_quoted(p + 1, '\'', true);
	while (is_word(*p) || *p == '$')
		p++;
	return p;
}

/* ---- Values ----------------------------------------------------------- */

/* Reads "$5"; moves *p behind it. */
static bool read_number(const char **p, unsigned long *number)
{
	const char *at = *p;
	unsigned long n = 0;

	if (*at++ != '$' || !isdigit((unsigned char)*at))
		return false;
	for (; isdigit((unsigned char)*at) && n < 1000000; at++)
		n = n * 10 + (unsigned long)(*at - '0');
	*p = at;
	*number = n;
	return true;
}

/* Does the next pair, ", $6 = ", begin here, or what stands for the rest? */
static bool begins_next(const char *p)
{
	unsigned long number;

	if (p[0] != ',' || p[1] != ' ')
		return false;
	p += 2;
	return read_number(&p, &number) &&
	       (strncmp(p, " = ", 3) == 0 || strcmp(p, " ...") == 0);
}

static bool is_cut(const char *value, const char *end)
{
	size_t size = (size_t)(end - value);

	if (size >= 3 && strncmp(end - 3, "...", 3) == 0)
		return true;
	return size > SLM_PARAMS_CUT_MIN && strncmp(end - 4, "...'", 4) == 0;
}

/* The end of the value that begins at p. A quote that is not closed goes up
 * to the next pair: it was cut. */
static const char *value_end(const char *p, bool *cut)
{
	const char *begin = p;

	*cut = false;
	while (*p && !begins_next(p)) {
		const char *end = skip_one(p);

		if (*p == '\'' && (end[-1] != '\'' || end - p < 2)) {
			*cut = true;
			while (*p && !begins_next(p))
				p++;
			return p;
		}
		p = end;
	}
	*cut = is_cut(begin, p);
	return p;
}

/* The pairs come in order: *at is where the last one asked for was found, and
 * the search goes on there. */
static const char *find_from(const char **at, unsigned long number,
			     size_t *size, bool *cut)
{
	const char *p = *at, *end;
	unsigned long found;

	while (read_number(&p, &found) && strncmp(p, " = ", 3) == 0) {
		if (found > number)
			return NULL;
		p += 3;
		end = value_end(p, cut);
		if (found == number) {
			*size = (size_t)(end - p);
			return end > p ? p : NULL;
		}
		p = *end ? end + 2 : end;
		*at = p;
	}
	return NULL;
}

const char *slm_params_find(const char *params, unsigned long number,
			    size_t *size_bytes, bool *cut)
{
	const char *at = params ? params : "";

	return find_from(&at, number, size_bytes, cut);
}

/* ---- Putting them in -------------------------------------------------- */

static void put_value(struct slm_buf *buf, const char *value, size_t size)
{
	bool has_sign = *value == '-' || *value == '+';

	/* "a -$1" must not become a comment, nor "$1::int" negate a cast. */
	if (has_sign)
		slm_buf_putc(buf, '(');
	slm_buf_append(buf, value, size);
	if (has_sign)
		slm_buf_putc(buf, ')');
}

const char *slm_params_put(struct slm_arena *arena, const char *sql,
			   const char *params, bool *whole)
{
	const char *p = sql, *from = sql, *text = NULL;
	const char *const first = params ? params : "", *at = first;
	unsigned long last = 0;
	bool complete = true, changed = false, cut;
	struct slm_buf buf;

	slm_buf_init(&buf);
	while (*p) {
		const char *begin = p, *value;
		unsigned long number;
		size_t size;

		if (!read_number(&p, &number)) {
			p = skip_one(p);
			continue;
		}
		if (number < last)
			at = first;
		last = number;
		value = find_from(&at, number, &size, &cut);
		if (!value || cut) {
			complete = false;
			continue;
		}
		slm_buf_append(&buf, from, (size_t)(begin - from));
		put_value(&buf, value, size);
		from = p;
		changed = true;
	}
	slm_buf_puts(&buf, from);
	if (!changed)
		text = sql;
	else if (!slm_buf_failed(&buf))
		text = slm_arena_strndup(arena, buf.data, buf.size);
	slm_buf_deinit(&buf);
	if (text && whole)
		*whole = complete;
	return text;
}
