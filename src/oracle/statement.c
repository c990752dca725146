/* SPDX-License-Identifier: Apache-2.0 */
/* A tokenizer for SQL, and questions answered from tokens. Input is any text:
 * nothing is assumed of it but the NUL at its end. */
#include "oracle/statement.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "sql/sql.h"

#define CONJUNCTS_MAX 8	 /* of one WHERE that are looked at */
#define CONDITION_MAX 12 /* tokens of one condition */

enum token_kind {
	TOKEN_END,
	TOKEN_WORD,   /* keyword or identifier, quotes removed */
	TOKEN_STRING, /* 'text' */
	TOKEN_NUMBER,
	TOKEN_PARAMETER, /* ?, ?1, $1, :name, @name */
	TOKEN_OTHER,	 /* one character */
};

struct token {
	enum token_kind kind;
	const char *text;
	size_t size;
};

/* ---- Tokens ----------------------------------------------------------- */

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || (c & 0x80);
}

static const char *skip_blank(const char *p)
{
	for (;;) {
		if (isspace((unsigned char)*p)) {
			p++;
		} else if (p[0] == '-' && p[1] == '-') {
			while (*p && *p != '\n')
				p++;
		} else if (p[0] == '/' && p[1] == '*') {
			const char *end = strstr(p + 2, "*/");

			p = end ? end + 2 : p + strlen(p);
		} else {
			return p;
		}
	}
}

/* The text between quotes; a doubled quote does not end it. */
static const char *read_quoted(const char *p, char close, struct token *out)
{
	out->text = ++p;
	while (*p && (*p != close || p[1] == close))
		p += *p == close ? 2 : 1;
	out->size = (size_t)(p - out->text);
	return *p ? p + 1 : p;
}

static struct token next_token(const char **at)
{
	const char *p = skip_blank(*at);
	struct token token = { .kind = TOKEN_OTHER, .text = p, .size = 1 };

	if (!*p) {
		token.kind = TOKEN_END;
		token.size = 0;
	} else if (*p == '\'') {
		token.kind = TOKEN_STRING;
		p = read_quoted(p, '\'', &token);
	} else if (*p == '"' || *p == '`' || *p == '[') {
		token.kind = TOKEN_WORD;
		p = read_quoted(p, *p == '[' ? ']' : *p, &token);
	} else if (is_word(*p) || strchr("?$:@", *p)) {
		token.kind = isdigit((unsigned char)*p) ? TOKEN_NUMBER :
			     is_word(*p)		? TOKEN_WORD :
							  TOKEN_PARAMETER;
		for (p++;
		     is_word(*p) || (token.kind == TOKEN_NUMBER && *p == '.');
		     p++)
			;
		token.size = (size_t)(p - token.text);
	} else {
		p++;
	}
	*at = p;
	return token;
}

static bool is(const struct token *token, const char *word)
{
	return token->kind == TOKEN_WORD && token->size == strlen(word) &&
	       strncasecmp(token->text, word, token->size) == 0;
}

static bool is_char(const struct token *token, char c)
{
	return token->kind == TOKEN_OTHER && *token->text == c;
}

static bool same_token(const struct token *a, const struct token *b)
{
	if (a->kind != b->kind || a->size != b->size)
		return false;
	return a->kind == TOKEN_WORD ?
		       strncasecmp(a->text, b->text, a->size) == 0 :
		       memcmp(a->text, b->text, a->size) == 0;
}

/* ---- Statements ------------------------------------------------------- */

static const struct {
	const char *word;
	enum slm_statement kind;
} kinds[] = {
	{ "select", SLM_STATEMENT_SELECT },
	{ "insert", SLM_STATEMENT_INSERT },
	{ "update", SLM_STATEMENT_UPDATE },
	{ "delete", SLM_STATEMENT_DELETE },
	{ "begin", SLM_STATEMENT_BEGIN },
	{ "start", SLM_STATEMENT_BEGIN },
	{ "commit", SLM_STATEMENT_COMMIT },
	{ "end", SLM_STATEMENT_COMMIT },
	{ "rollback", SLM_STATEMENT_ROLLBACK },
	{ "abort", SLM_STATEMENT_ROLLBACK },
	{ "savepoint", SLM_STATEMENT_SAVEPOINT },
	{ "release", SLM_STATEMENT_SAVEPOINT },
};

static enum slm_statement first_kind(const struct token *token)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (is(token, kinds[i].word))
			return kinds[i].kind;
	return SLM_STATEMENT_OTHER;
}

/* What a later word makes of the kind that the first one gave. */
static enum slm_statement narrow(enum slm_statement kind,
				 const struct token *token)
{
	if (kind == SLM_STATEMENT_BEGIN &&
	    (is(token, "immediate") || is(token, "exclusive")))
		return SLM_STATEMENT_BEGIN_IMMEDIATE;
	if (kind == SLM_STATEMENT_ROLLBACK && is(token, "to"))
		return SLM_STATEMENT_SAVEPOINT;
	if ((kind == SLM_STATEMENT_INSERT || kind == SLM_STATEMENT_UPDATE) &&
	    (is(token, "replace") || is(token, "conflict")))
		return SLM_STATEMENT_OTHER;
	return kind;
}

enum slm_statement slm_statement_next(const char **sql)
{
	enum slm_statement kind;
	struct token token;
	bool creates;

	do {
		token = next_token(sql);
	} while (is_char(&token, ';'));
	if (token.kind == TOKEN_END)
		return SLM_STATEMENT_NONE;
	kind = first_kind(&token);
	creates = is(&token, "create");
	while (token.kind != TOKEN_END && !is_char(&token, ';')) {
		token = next_token(sql);
		kind = narrow(kind, &token);
		if (creates && is(&token, "trigger")) {
			*sql += strlen(*sql);
			return SLM_STATEMENT_OTHER;
		}
	}
	return kind;
}

enum slm_statement slm_statement_single(const char *sql)
{
	enum slm_statement kind = slm_statement_next(&sql);

	if (slm_statement_next(&sql) != SLM_STATEMENT_NONE)
		return SLM_STATEMENT_OTHER;
	return kind;
}

bool slm_statement_is_control(const char *sql)
{
	enum slm_statement kind = slm_statement_next(&sql);
	bool control = kind != SLM_STATEMENT_NONE;

	for (; kind != SLM_STATEMENT_NONE; kind = slm_statement_next(&sql))
		control = control && kind >= SLM_STATEMENT_BEGIN &&
			  kind <= SLM_STATEMENT_SAVEPOINT;
	return control;
}

/* A semicolon says nothing: it counts as the end. */
static struct token next_of_statement(const char **at)
{
	struct token token = next_token(at);

	if (is_char(&token, ';')) {
		token.kind = TOKEN_END;
		token.size = 0;
	}
	return token;
}

/* Is there an ORDER BY in the statement, outside parentheses? */
static bool has_order(const char *sql)
{
	struct token token, last = { .kind = TOKEN_END };
	int depth = 0;

	do {
		token = next_of_statement(&sql);
		depth += is_char(&token, '(') - is_char(&token, ')');
		if (depth == 0 && is(&last, "order") && is(&token, "by"))
			return true;
		last = token;
	} while (token.kind != TOKEN_END);
	return false;
}

uint64_t slm_statement_ordered(const char *sql)
{
	uint64_t ordered = 0;

	for (unsigned i = 0; i < 64; i++) {
		/* Empty statements are no statement; has_order() would stop
		 * at their semicolons. */
		const char *at = slm_sql_skip_blank(sql);
		enum slm_statement kind = slm_statement_next(&sql);

		if (kind == SLM_STATEMENT_NONE)
			break;
		if ((kind == SLM_STATEMENT_SELECT ||
		     kind == SLM_STATEMENT_OTHER) &&
		    has_order(at))
			ordered |= UINT64_C(1) << i;
	}
	return ordered;
}

bool slm_statement_same(const char *a, const char *b)
{
	struct token x, y;

	if (slm_statement_single(a) == SLM_STATEMENT_OTHER ||
	    slm_statement_single(b) == SLM_STATEMENT_OTHER)
		return false;
	do {
		x = next_of_statement(&a);
		y = next_of_statement(&b);
		if (!same_token(&x, &y))
			return false;
	} while (x.kind != TOKEN_END);
	return true;
}

/* ---- WHERE ------------------------------------------------------------ */

/* A condition of the form column = literal. */
struct conjunct {
	struct token qualifier; /* END: there is none */
	struct token column, literal;
};

struct where {
	bool present;
	bool plain;  /* nothing in it that widens what the conjuncts pick */
	bool simple; /* it is the conjuncts and nothing else */
	struct conjunct conjuncts[CONJUNCTS_MAX];
	unsigned nconjuncts;
};

static bool ends_where(const struct token *token)
{
	return token->kind == TOKEN_END || is_char(token, ';') ||
	       is(token, "returning") || is(token, "order") ||
	       is(token, "group") || is(token, "limit") || is(token, "for");
}

/* Moves *at behind the statement's first WHERE outside parentheses. */
static bool find_where(const char **at)
{
	struct token token;
	int depth = 0;

	do {
		token = next_token(at);
		depth += is_char(&token, '(') - is_char(&token, ')');
		if (depth == 0 && is(&token, "where"))
			return true;
	} while (token.kind != TOKEN_END && !is_char(&token, ';'));
	return false;
}

/* Is it ::type? */
static bool is_cast(const struct token *tokens, unsigned count)
{
	return count == 2 && tokens[0].kind == TOKEN_PARAMETER &&
	       *tokens[0].text == ':' && tokens[0].size == 1 &&
	       tokens[1].kind == TOKEN_PARAMETER && *tokens[1].text == ':';
}

/* Reads (table.column = literal::type); all but column = literal may lack. */
static bool read_condition(const struct token *tokens, unsigned count,
			   struct conjunct *out)
{
	memset(out, 0, sizeof(*out));
	while (count > 2 && is_char(tokens, '(') &&
	       is_char(&tokens[count - 1], ')')) {
		tokens++;
		count -= 2;
	}
	while (count > 2 && tokens[0].kind == TOKEN_WORD &&
	       is_char(&tokens[1], '.')) {
		out->qualifier = tokens[0];
		tokens += 2;
		count -= 2;
	}
	if (count < 3 || tokens[0].kind != TOKEN_WORD ||
	    !is_char(&tokens[1], '=') ||
	    (tokens[2].kind != TOKEN_NUMBER && tokens[2].kind != TOKEN_STRING))
		return false;
	out->column = tokens[0];
	out->literal = tokens[2];
	return count == 3 || is_cast(tokens + 3, count - 3);
}

/* Keeps a condition of the form column = literal, and notes another. */
static void end_condition(struct where *where, const struct token *tokens,
			  unsigned count)
{
	if (where->nconjuncts < CONJUNCTS_MAX && count <= CONDITION_MAX &&
	    read_condition(tokens, count, &where->conjuncts[where->nconjuncts]))
		where->nconjuncts++;
	else
		where->simple = false;
}

static void read_where(const char *sql, struct where *where)
{
	struct token tokens[CONDITION_MAX + 1], token;
	unsigned count = 0;
	int depth = 0;

	memset(where, 0, sizeof(*where));
	where->present = find_where(&sql);
	where->plain = where->simple = true;
	if (!where->present)
		return;
	for (token = next_token(&sql); !ends_where(&token);
	     token = next_token(&sql)) {
		depth += is_char(&token, '(') - is_char(&token, ')');
		/* An OR outside parentheses, or a compound SELECT, widens. */
		if (depth == 0 && (is(&token, "or") || is(&token, "union") ||
				   is(&token, "between")))
			where->plain = false;
		if (depth == 0 && is(&token, "and")) {
			end_condition(where, tokens, count);
			count = 0;
			continue;
		}
		if (count <= CONDITION_MAX)
			tokens[count++] = token;
	}
	end_condition(where, tokens, count);
}

static bool same_column(const struct conjunct *a, const struct conjunct *b)
{
	return same_token(&a->column, &b->column) &&
	       (a->qualifier.kind == TOKEN_END ||
		b->qualifier.kind == TOKEN_END ||
		same_token(&a->qualifier, &b->qualifier));
}

static enum slm_relation relate(const struct where *a, const struct where *b,
				const char *key)
{
	enum slm_relation relation = SLM_ROWS_UNKNOWN;
	unsigned equal = 0;

	for (unsigned i = 0; i < a->nconjuncts; i++)
		for (unsigned j = 0; j < b->nconjuncts; j++) {
			const struct conjunct *x = &a->conjuncts[i];
			const struct conjunct *y = &b->conjuncts[j];

			if (!same_column(x, y) ||
			    x->literal.kind != y->literal.kind)
				continue;
			if (!same_token(&x->literal, &y->literal))
				return SLM_ROWS_DISJOINT;
			equal++;
			if (key && is(&x->column, key))
				relation = SLM_ROWS_SAME;
		}
	if (a->simple && b->simple && equal > 0 && equal == a->nconjuncts &&
	    equal == b->nconjuncts)
		relation = SLM_ROWS_SAME;
	return relation;
}

enum slm_relation slm_statement_relate(const char *a, const char *b,
				       const char *key)
{
	struct where x, y;

	read_where(a, &x);
	read_where(b, &y);
	if (!x.present && !y.present)
		return SLM_ROWS_SAME;
	if (!x.present || !y.present || !x.plain || !y.plain)
		return SLM_ROWS_UNKNOWN;
	return relate(&x, &y, key);
}

static bool names(const char *sql, const char *word)
{
	struct token token;

	do {
		token = next_of_statement(&sql);
		if (is(&token, word))
			return true;
	} while (token.kind != TOKEN_END);
	return false;
}

bool slm_statement_changes_rows(const char *writes, const char *read,
				const char *table, const char *key)
{
	const char *at = writes;
	enum slm_statement kind;

	while ((kind = slm_statement_next(&writes)) != SLM_STATEMENT_NONE) {
		if ((kind == SLM_STATEMENT_UPDATE ||
		     kind == SLM_STATEMENT_DELETE) &&
		    names(at, table) &&
		    slm_statement_relate(at, read, key) == SLM_ROWS_SAME)
			return true;
		at = writes;
	}
	return false;
}

/* ---- UPDATE ----------------------------------------------------------- */

/* Reads one `column = expression` up to the comma or the end of the list. */
static bool read_assignment(const char **at, const char *table, bool *own,
			    bool *more)
{
	struct token column = next_token(at), token = next_token(at);
	bool names_column = false, selects = false, names_table = false;
	int depth = 0;

	if (column.kind != TOKEN_WORD || !is_char(&token, '='))
		return false;
	for (;;) {
		token = next_token(at);
		depth += is_char(&token, '(') - is_char(&token, ')');
		if (depth == 0 && is_char(&token, ','))
			break;
		if (token.kind == TOKEN_END || is_char(&token, ';') ||
		    (depth == 0 && (is(&token, "where") || is(&token, "from") ||
				    is(&token, "returning"))))
			break;
		names_column = names_column || same_token(&token, &column);
		selects = selects || is(&token, "select");
		names_table = names_table || is(&token, table);
	}
	*more = is_char(&token, ',');
	/* In a subquery of something else the column's name is another's. */
	*own = selects ? names_table : names_column;
	return !(is(&token, "from"));
}

enum slm_assigns slm_statement_assigns(const char *sql, const char *table)
{
	struct token token;
	unsigned own = 0, other = 0;
	bool is_own, more = true;

	if (slm_statement_single(sql) != SLM_STATEMENT_UPDATE)
		return SLM_ASSIGNS_UNKNOWN;
	do {
		token = next_token(&sql);
	} while (token.kind != TOKEN_END && !is(&token, "set"));
	while (more && token.kind != TOKEN_END) {
		if (!read_assignment(&sql, table, &is_own, &more))
			return SLM_ASSIGNS_UNKNOWN;
		own += is_own;
		other += !is_own;
	}
	if (own && !other)
		return SLM_ASSIGNS_CHANGES;
	return other && !own ? SLM_ASSIGNS_VALUES : SLM_ASSIGNS_UNKNOWN;
}
