/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a statement by PostgreSQL's lexical rules (chapter 4.1 of its
 * manual), as far as they are needed to tell what is quoted. Allocates nothing
 * but what a caller's buffer does.
 */
#include <ctype.h>
#include <string.h>

#include "sql/pg_internal.h"

static bool begins_word(char c)
{
	return isalpha((unsigned char)c) || c == '_' ||
	       (unsigned char)c >= 0x80;
}

static bool is_word(char c)
{
	return begins_word(c) || isdigit((unsigned char)c);
}

static const char *skip_line(const char *p)
{
	return p + strcspn(p, "\n");
}

/* Behind a comment; they nest. */
static const char *skip_block(const char *p)
{
	unsigned depth = 0;

	while (*p) {
		if (p[0] == '/' && p[1] == '*') {
			depth++;
			p += 2;
		} else if (p[0] == '*' && p[1] == '/') {
			p += 2;
			if (!--depth)
				break;
		} else {
			p++;
		}
	}
	return p;
}

/* Behind the quote that closes the one at p. */
static const char *skip_quoted(const char *p, bool escapes)
{
	char quote = *p;

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

/* Behind $tag$ ... $tag$; NULL: no tag is at p. */
static const char *skip_dollar(const char *p)
{
	const char *tag = p++, *end;
	size_t size;

	if (begins_word(*p))
		while (is_word(*p))
			p++;
	if (*p != '$')
		return NULL;
	p++;
	size = (size_t)(p - tag);
	for (end = p; (end = strchr(end, '$')); end++)
		if (strncmp(end, tag, size) == 0)
			return end + size;
	return p + strlen(p);
}

/* Behind a word or number; its quote is inside if it is a string (E'...'). */
static const char *skip_word(const char *p)
{
	const char *begin = p;

	while (is_word(*p) || *p == '$')
		p++;
	if (*p == '\'' && p - begin == 1 && (*begin == 'e' || *begin == 'E'))
		return skip_quoted(p, true);
	return p;
}

/* Behind one token; blanks and comments count as tokens. *p is not NUL. */
static const char *skip_token(const char *p)
{
	const char *end;

	if (p[0] == '-' && p[1] == '-')
		return skip_line(p);
	if (p[0] == '/' && p[1] == '*')
		return skip_block(p);
	if (*p == '\'' || *p == '"')
		return skip_quoted(p, false);
	if (is_word(*p))
		return skip_word(p);
	if (*p == '$' && (end = skip_dollar(p)))
		return end;
	if (p[0] == ':' && (p[1] == ':' || p[1] == '='))
		return p + 2;
	return p + 1;
}

static bool is_blank(const char *p)
{
	return isspace((unsigned char)*p) || (p[0] == '-' && p[1] == '-') ||
	       (p[0] == '/' && p[1] == '*');
}

const char *slm_pgtext_skip_blank(const char *sql)
{
	while (*sql && is_blank(sql))
		sql = skip_token(sql);
	return sql;
}

const char *slm_pgtext_trim(const char *begin, const char *end)
{
	const char *last = begin;

	while (begin < end && *begin) {
		bool blank = is_blank(begin) || *begin == ';';

		begin = skip_token(begin);
		if (!blank)
			last = begin;
	}
	return last;
}

/* ---- Parameters -------------------------------------------------------- */

/* The colon of the next parameter, and where its name ends; NULL: none. */
static const char *find_parameter(const char *p, const char **end)
{
	for (; *p; p = skip_token(p)) {
		if (*p != ':' || !begins_word(p[1]))
			continue;
		for (*end = p + 2; is_word(**end);)
			++*end;
		return p;
	}
	return NULL;
}

const char *slm_pg_next_parameter(const char *sql, char *name, size_t size)
{
	const char *end, *begin = find_parameter(sql, &end);
	size_t length;

	if (!begin)
		return NULL;
	length = (size_t)(end - begin) - 1;
	if (length >= size)
		length = size - 1;
	memcpy(name, begin + 1, length);
	name[length] = '\0';
	return end;
}

/* A parameter has two bytes at least, and so has each of these. */
bool slm_pgtext_hide_parameters(char *sql, unsigned way)
{
	const char *end;
	char *p = sql;
	bool any = false;

	if (way > 2)
		return false;
	while ((p = (char *)find_parameter(p, &end))) {
		size_t size = (size_t)(end - p);

		any = true;
		memset(p, way ? ' ' : '0', size);
		if (way == 0) { /* $0001: where an expression may be */
			p[0] = '$';
			p[size - 1] = '1';
		} else if (way == 1) { /* '': interval :x, NOTIFY c, :x */
			p[0] = p[1] = '\'';
		} else { /* where only a number may be: FETCH :n */
			p[0] = '2';
		}
		p += size;
	}
	return any;
}

/* ---- Literals ---------------------------------------------------------- */

static const char *skip_digits(const char *p)
{
	while (isdigit((unsigned char)*p))
		p++;
	return p;
}

/* Behind the number or quoted string at p; p if there is none. */
static const char *skip_literal(const char *p)
{
	const char *end = skip_digits(p), *exponent;

	if (*p == '\'')
		return skip_quoted(p, false);
	if ((*p == 'e' || *p == 'E') && p[1] == '\'')
		return skip_quoted(p + 1, true);
	if (end == p && !(*p == '.' && isdigit((unsigned char)p[1])))
		return p;
	if (*end == '.' && end[1] != '.')
		end = skip_digits(end + 1);
	if (*end == 'e' || *end == 'E') {
		exponent = end + 1 + (end[1] == '-' || end[1] == '+');
		if (isdigit((unsigned char)*exponent))
			end = skip_digits(exponent);
	}
	return end;
}

static bool has_numbered(const char *sql)
{
	for (; *sql; sql = skip_token(sql))
		if (sql[0] == '$' && isdigit((unsigned char)sql[1]))
			return true;
	return false;
}

bool slm_pg_lift_literals(const char *sql, struct slm_buf *text,
			  struct slm_buf *params)
{
	unsigned n = 0;

	if (has_numbered(sql))
		return false;
	while (*sql) {
		const char *end = skip_literal(sql);

		if (end == sql) {
			end = skip_token(sql);
			slm_buf_append(text, sql, (size_t)(end - sql));
		} else if ((size_t)(end - sql) > SLM_PG_LIFTED_MAX) {
			/* Told by its beginning. */
			slm_buf_printf(text, "$%u", ++n);
			slm_buf_printf(params, "%s$%u = %.*s...",
				       n > 1 ? ", " : "", n, SLM_PG_LIFTED_MAX,
				       sql);
		} else {
			slm_buf_printf(text, "$%u", ++n);
			slm_buf_printf(params, "%s$%u = %.*s",
				       n > 1 ? ", " : "", n, (int)(end - sql),
				       sql);
		}
		sql = end;
	}
	return n > 0;
}

bool slm_pg_lift_tags(const char *sql, struct slm_buf *text)
{
	bool any = false;

	while (*sql) {
		const char *end = skip_token(sql);
		const char *tag = *sql == '$' ? strchr(sql + 1, '$') : NULL;
		size_t size = tag ? (size_t)(tag + 1 - sql) : 0;

		if (size > 2 && (size_t)(end - sql) >= 2 * size &&
		    memcmp(end - size, sql, size) == 0) {
			slm_buf_puts(text, "$$");
			slm_buf_append(text, sql + size,
				       (size_t)(end - sql) - 2 * size);
			slm_buf_puts(text, "$$");
			any = true;
		} else {
			slm_buf_append(text, sql, (size_t)(end - sql));
		}
		sql = end;
	}
	return any;
}

/* Is it a decimal number, with or without sign, fraction, exponent? */
static bool is_number(const char *p)
{
	const char *digits;
	size_t count;

	p += *p == '-' || *p == '+';
	digits = p;
	p = skip_digits(p);
	count = (size_t)(p - digits);
	if (*p == '.') {
		digits = ++p;
		p = skip_digits(p);
		count += (size_t)(p - digits);
	}
	if (!count)
		return false;
	if (*p == 'e' || *p == 'E') {
		p++;
		p += *p == '-' || *p == '+';
		digits = p;
		p = skip_digits(p);
		if (p == digits)
			return false;
	}
	return !*p;
}

bool slm_pg_literal(const char *value, const char *type_name, bool numeric,
		    struct slm_buf *out)
{
	if (!value) {
		slm_buf_puts(out, "NULL");
	} else if (numeric && is_number(value)) {
		bool is_signed = !isdigit((unsigned char)*value) &&
				 *value != '.';

		slm_buf_printf(out, is_signed ? "(%s)" : "%s", value);
	} else {
		slm_buf_putc(out, '\'');
		for (; *value; value++) {
			if (*value == '\'')
				slm_buf_putc(out, '\'');
			slm_buf_putc(out, *value);
		}
		slm_buf_putc(out, '\'');
	}
	if (type_name) {
		slm_buf_puts(out, "::");
		slm_buf_puts(out, type_name);
	}
	return !slm_buf_failed(out);
}
