/* SPDX-License-Identifier: Apache-2.0 */
/* A scanner of SQL tokens: enough to find ends, words and literals. */
#include "sql/sql.h"

#include <ctype.h>
#include <string.h>

#include "base/hash.h"

enum kind { END, WORD, NUMBER, STRING, QUOTED_NAME, PUNCTUATION };

struct token {
	enum kind kind;
	const char *text;
	size_t size;
};

static const char *skip_line(const char *p)
{
	while (*p && *p != '\n')
		p++;
	return p;
}

static const char *skip_block(const char *p)
{
	const char *end = strstr(p + 2, "*/");

	return end ? end + 2 : p + strlen(p);
}

static const char *skip_space(const char *p)
{
	for (;;) {
		if (isspace((unsigned char)*p))
			p++;
		else if (p[0] == '-' && p[1] == '-')
			p = skip_line(p);
		else if (p[0] == '/' && p[1] == '*')
			p = skip_block(p);
		else
			return p;
	}
}

/* Behind the quote that closes the one at p; doubled quotes are inside. */
static const char *skip_quoted(const char *p)
{
	char quote = *p == '[' ? ']' : *p;

	for (p++; *p; p++) {
		if (*p != quote)
			continue;
		if (p[1] != quote || quote == ']')
			return p + 1;
		p++;
	}
	return p;
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' ||
	       (unsigned char)c >= 0x80;
}

/* Behind a number; the sign of an exponent is inside, unless it is hex. */
static const char *skip_number(const char *p)
{
	bool hex = p[0] == '0' && (p[1] == 'x' || p[1] == 'X');

	for (; is_word(*p) || *p == '.'; p++)
		if (!hex && (*p == 'e' || *p == 'E') &&
		    (p[1] == '-' || p[1] == '+'))
			p++;
	return p;
}

static struct token next(const char **position)
{
	const char *p = skip_space(*position);
	struct token token = { .kind = PUNCTUATION, .text = p };

	if (!*p) {
		token.kind = END;
	} else if (*p == '\'') {
		token.kind = STRING;
		p = skip_quoted(p);
	} else if (*p == '"' || *p == '`' || *p == '[') {
		token.kind = QUOTED_NAME;
		p = skip_quoted(p);
	} else if (isdigit((unsigned char)*p) ||
		   (*p == '.' && isdigit((unsigned char)p[1]))) {
		token.kind = NUMBER;
		p = skip_number(p);
	} else if (is_word(*p)) {
		token.kind = WORD;
		while (is_word(*p) || *p == '$')
			p++;
	} else {
		p++;
	}
	token.size = (size_t)(p - token.text);
	*position = p;
	return token;
}

const char *slm_sql_skip_blank(const char *sql)
{
	for (;;) {
		sql = skip_space(sql);
		if (*sql != ';')
			return sql;
		sql++;
	}
}

bool slm_sql_starts_with(const char *sql, const char *keyword)
{
	struct token token;
	size_t size = strlen(keyword);

	sql = slm_sql_skip_blank(sql);
	token = next(&sql);
	return token.kind == WORD && token.size == size &&
	       strncasecmp(token.text, keyword, size) == 0;
}

const char *slm_sql_skip_statement(const char *sql)
{
	struct token token;

	do {
		token = next(&sql);
		if (token.kind == PUNCTUATION && *token.text == ';')
			return sql;
	} while (token.kind != END);
	return sql;
}

void slm_sql_second_word(const char *sql, char *word, size_t size)
{
	struct token token;
	size_t used = 0;

	sql = slm_sql_skip_blank(sql);
	next(&sql);
	token = next(&sql);
	if (token.kind == WORD)
		for (; used < token.size && used + 1 < size; used++)
			word[used] =
				(char)tolower((unsigned char)token.text[used]);
	word[used] = '\0';
}

const char *slm_sql_next_parameter(const char *sql, char *name, size_t size)
{
	for (;;) {
		struct token mark = next(&sql), word;
		const char *behind = sql;

		if (mark.kind == END)
			return NULL;
		if (mark.kind != PUNCTUATION || !strchr(":@$?", *mark.text))
			continue;
		if (*mark.text == ':' && *sql == ':') {
			sql++;
			continue;
		}
		word = next(&behind);
		name[0] = '\0';
		if (*mark.text == '?')
			return sql;
		if (word.kind != WORD || word.text != sql)
			continue;
		if (word.size >= size)
			word.size = size - 1;
		memcpy(name, word.text, word.size);
		name[word.size] = '\0';
		return behind;
	}
}

uint16_t slm_sql_fingerprint(const char *sql)
{
	uint64_t digest = 0;

	for (;;) {
		struct token token = next(&sql);
		uint64_t text = token.kind;

		if (token.kind == END)
			break;
		if (token.kind == NUMBER || token.kind == STRING) {
			text = NUMBER;
		} else if (token.kind == WORD) {
			for (size_t i = 0; i < token.size; i++)
				text = text * 131 +
				       (uint64_t)tolower(
					       (unsigned char)token.text[i]);
		} else {
			text = slm_hash(token.text, token.size, token.kind);
		}
		digest = slm_hash_mix(digest, text);
	}
	return (uint16_t)(digest ^ (digest >> 16) ^ (digest >> 32) ^
			  (digest >> 48));
}
