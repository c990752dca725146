/* SPDX-License-Identifier: Apache-2.0 */
/* A scanner of SQL tokens: enough to find ends, words and literals. */
#include "sql/sql.h"

#include <ctype.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"

#define VALUE_MAX 100 /* bytes of a value that is told */

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

/* ---- INSERT ------------------------------------------------------------ */

static bool is_mark(const struct token *token, char mark)
{
	return token->kind == PUNCTUATION && *token->text == mark;
}

static bool is_keyword(const struct token *token, const char *keyword)
{
	return token->kind == WORD && token->size == strlen(keyword) &&
	       strncasecmp(token->text, keyword, token->size) == 0;
}

/* Copies a name without its quotes; false if it is none or too long. */
static bool copy_name(const struct token *token, char *name)
{
	const char *p = token->text, *end = token->text + token->size;
	char quote = '\0';
	size_t used = 0;

	if (token->kind == QUOTED_NAME) {
		quote = *p++ == '[' ? ']' : *token->text;
		end--;
	} else if (token->kind != WORD) {
		return false;
	}
	for (; p < end; p++) {
		if (used == SLM_SQL_NAME_MAX)
			return false;
		name[used++] = *p;
		if (quote && *p == quote)
			p++; /* doubled */
	}
	name[used] = '\0';
	return used > 0;
}

/* INSERT INTO main.table AS alias: behind it is *token. */
static bool scan_into(const char **sql, struct token *token, char *table)
{
	bool is_insert;

	*sql = slm_sql_skip_blank(*sql);
	*token = next(sql);
	is_insert = is_keyword(token, "insert");
	if (!is_insert && !is_keyword(token, "replace"))
		return false;
	*token = next(sql);
	if (is_insert && is_keyword(token, "or")) {
		next(sql);
		*token = next(sql);
	}
	if (!is_keyword(token, "into"))
		return false;
	*token = next(sql);
	if (!copy_name(token, table))
		return false;
	*token = next(sql);
	if (is_mark(token, '.')) {
		*token = next(sql);
		if (strcasecmp(table, "main") != 0 || !copy_name(token, table))
			return false;
		*token = next(sql);
	}
	if (is_keyword(token, "as")) {
		next(sql);
		*token = next(sql);
	}
	return true;
}

/* The list of columns, if *token opens one; behind it is *token. */
static bool scan_columns(const char **sql, struct token *token, unsigned n,
			 char *column)
{
	column[0] = '\0';
	if (!is_mark(token, '('))
		return true;
	for (unsigned i = 0;; i++) {
		char name[SLM_SQL_NAME_MAX + 1];

		*token = next(sql);
		if (!copy_name(token, name))
			return false;
		if (i == n)
			strcpy(column, name);
		*token = next(sql);
		if (is_mark(token, ')'))
			break;
		if (!is_mark(token, ','))
			return false;
	}
	*token = next(sql);
	return column[0] != '\0';
}

/* One value of the row; *token is what ends it. parameter "": no :name. */
static void scan_value(const char **sql, struct token *token, char *parameter)
{
	const char *begin = *sql, *end = NULL;
	unsigned depth = 0;

	for (;; end = *sql) {
		*token = next(sql);
		if (token->kind == END)
			break;
		if (!depth && (is_mark(token, ',') || is_mark(token, ')')))
			break;
		depth += is_mark(token, '(');
		depth -= is_mark(token, ')');
	}
	parameter[0] = '\0';
	begin = skip_space(begin);
	if (end && strchr(":@$", *begin)) {
		const char *behind = begin + 1;
		struct token word = next(&behind);

		if (word.text != begin + 1 || behind != end ||
		    word.kind != WORD || !copy_name(&word, parameter))
			parameter[0] = '\0';
	}
}

bool slm_sql_insert_value(const char *sql, unsigned n,
			  struct slm_sql_insert_value *out)
{
	struct token token;
	unsigned count = 0;

	if (!scan_into(&sql, &token, out->table) ||
	    !scan_columns(&sql, &token, n, out->column) ||
	    !is_keyword(&token, "values"))
		return false;
	token = next(&sql);
	if (!is_mark(&token, '('))
		return false;
	do {
		char parameter[SLM_SQL_NAME_MAX + 1];

		scan_value(&sql, &token, parameter);
		if (count++ == n)
			strcpy(out->parameter, parameter);
	} while (is_mark(&token, ','));
	if (token.kind == END)
		return false;
	token = next(&sql);
	out->count = count;
	return n < count && !is_mark(&token, ',');
}

/* ---- Fingerprint ------------------------------------------------------- */

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

/* ---- Values -------------------------------------------------------------- */

/* Not printf: this is done for every statement of every run. */
static void put_number(struct slm_buf *out, unsigned number)
{
	char digits[12];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + number % 10);
	while (number /= 10);
	digits[--at] = '$';
	slm_buf_append(out, digits + at, sizeof(digits) - at);
}

static void put_value(struct slm_buf *values, unsigned number, const char *text,
		      size_t size)
{
	bool cut = size > VALUE_MAX;

	if (number > 1)
		slm_buf_append(values, ", ", 2);
	put_number(values, number);
	slm_buf_append(values, " = ", 3);
	slm_buf_append(values, text, cut ? VALUE_MAX : size);
	if (cut)
		slm_buf_puts(values, "...");
}

/* In others a number is a name, a size or a setting. */
static bool has_values(const char *sql)
{
	static const char *const words[] = { "select", "insert",  "update",
					     "delete", "replace", "with",
					     "values" };

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (slm_sql_starts_with(sql, words[i]))
			return true;
	return false;
}

/* Puts $number in the place of what ends before end. */
static void put_parameter(struct slm_buf *text, const char *from,
			  const char *until, unsigned number)
{
	if (!text)
		return;
	slm_buf_append(text, from, (size_t)(until - from));
	put_number(text, number);
}

bool slm_sql_lift_literals(const char *sql, struct slm_buf *text,
			   struct slm_buf *values)
{
	const char *done = sql, *at = sql;
	struct token before = { .kind = END };
	unsigned count = 0;

	slm_buf_clear(text);
	slm_buf_clear(values);
	if (!has_values(sql))
		return false;
	for (;;) {
		struct token token = next(&at);

		if (token.kind == END)
			break;
		if (token.kind == STRING && before.kind == WORD &&
		    before.size == 1 && tolower(*before.text) == 'x' &&
		    before.text + 1 == token.text) { /* x'00ff' */
			token.text--;
			token.size++;
		}
		before = token;
		if (token.kind != NUMBER && token.kind != STRING)
			continue;
		put_parameter(text, done, token.text, ++count);
		put_value(values, count, token.text, token.size);
		done = at;
	}
	slm_buf_puts(text, done);
	return count > 0;
}

/* Behind the literal at p, as sqlite3_expanded_sql() writes them. */
static const char *skip_literal(const char *p)
{
	if (strncmp(p, "zeroblob(", 9) == 0)
		return p + strcspn(p, ")") + (strchr(p, ')') != NULL);
	if (*p == '-' || *p == '+')
		p++;
	if ((*p == 'x' || *p == 'X') && p[1] == '\'')
		p++;
	(void)next(&p);
	return p;
}

/* The next parameter of SQLite's (?, ?1, :name, @name, $name, $1) at or behind
 * *sql, which is passed; false: there is none. */
static bool next_bound(const char **sql, struct token *out)
{
	for (;;) {
		struct token token = next(sql), name;
		const char *behind = *sql;

		if (token.kind == END)
			return false;
		if (token.kind != PUNCTUATION || !strchr("?:@$", *token.text))
			continue;
		name = next(&behind);
		if (name.text == *sql &&
		    (name.kind == NUMBER ||
		     (name.kind == WORD && *token.text != '?'))) {
			token.size += name.size;
			*sql = behind;
		} else if (*token.text != '?') {
			continue;
		}
		*out = token;
		return true;
	}
}

bool slm_sql_lift_bound(const char *sql, const char *expanded,
			struct slm_buf *text, struct slm_buf *values)
{
	const char *at = sql;
	struct token token;
	unsigned count = 0;

	if (text)
		slm_buf_clear(text);
	slm_buf_clear(values);
	while (next_bound(&at, &token)) {
		const char *end;

		/* The text up to there is in both. */
		if (strncmp(sql, expanded, (size_t)(token.text - sql)) != 0)
			return false;
		put_parameter(text, sql, token.text, ++count);
		expanded += token.text - sql;
		end = skip_literal(expanded);
		put_value(values, count, expanded, (size_t)(end - expanded));
		expanded = end;
		sql = at;
	}
	if (text)
		slm_buf_puts(text, sql);
	return count > 0 && strcmp(sql, expanded) == 0;
}
