/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lexemes of a spec. Plain C over bytes; knows no grammar.
 *
 * Invariant: line and column always name the byte at offset, columns counted
 * in characters; advance() is the only place that moves them.
 */
#include "spec/lexer.h"

#include <assert.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

static const struct {
	const char *word;
	enum slm_lexeme_kind kind;
} reserved[] = {
	{ "notices", SLM_LEXEME_NOTICES },
	{ "permutation", SLM_LEXEME_PERMUTATION },
	{ "session", SLM_LEXEME_SESSION },
	{ "setup", SLM_LEXEME_SETUP },
	{ "step", SLM_LEXEME_STEP },
	{ "teardown", SLM_LEXEME_TEARDOWN },
};

void slm_lexer_init(struct slm_lexer *lexer, const char *name, const char *text,
		    size_t size)
{
	memset(lexer, 0, sizeof(*lexer));
	lexer->name = name;
	lexer->text = text;
	lexer->size = size;
	lexer->line = lexer->end_line = 1;
	lexer->column = lexer->end_column = 1;
}

/* ---- Messages --------------------------------------------------------- */

static void clean_message(char *message)
{
	for (; *message; message++)
		if ((unsigned char)*message < ' ' || *message == 0x7f)
			*message = '?';
}

enum sqloom_status slm_lexer_fail(const struct slm_lexer *lexer,
				  enum sqloom_status status, unsigned line,
				  unsigned column, struct sqloom_error *err,
				  const char *fmt, ...)
{
	char message[sizeof(err->message)];
	char hint[224] = "";
	va_list args;

	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	clean_message(message);
	if (lexer->cut_line)
		snprintf(
			hint, sizeof(hint),
			"; the SQL block before it ended at the } in line %u,"
			" column %u, inside a quoted text or a comment; close a"
			" quote on the line where it opens",
			lexer->cut_line, lexer->cut_column);
	slm_error_set(err, status, "%s%s", message, hint);
	slm_error_place(err, lexer->name, line, column, lexer->text,
			lexer->size);
	return status;
}

const char *slm_lexeme_describe(const struct slm_lexeme *lexeme, char *buf,
				size_t size)
{
	switch (lexeme->kind) {
	case SLM_LEXEME_END:
		snprintf(buf, size, "the end of the file");
		break;
	case SLM_LEXEME_SQL:
		snprintf(buf, size, "a { } block");
		break;
	case SLM_LEXEME_NUMBER:
		snprintf(buf, size, "the number %u", lexeme->number);
		break;
	case SLM_LEXEME_COMMA:
	case SLM_LEXEME_OPEN:
	case SLM_LEXEME_CLOSE:
	case SLM_LEXEME_STAR:
	case SLM_LEXEME_NAME:
		snprintf(buf, size, "\"%s\"", lexeme->name);
		break;
	default:
		snprintf(buf, size, "the keyword \"%s\"", lexeme->name);
		break;
	}
	return buf;
}

bool slm_lexeme_is_word(const struct slm_lexeme *lexeme, const char *word)
{
	return lexeme->kind == SLM_LEXEME_NAME && !lexeme->quoted &&
	       strcmp(lexeme->name, word) == 0;
}

/* ---- Bytes ------------------------------------------------------------ */

/* The byte ahead of the next one by so many, or NUL past the end. */
static char peek(const struct slm_lexer *lexer, size_t ahead)
{
	return ahead < lexer->size - lexer->offset ?
		       lexer->text[lexer->offset + ahead] :
		       '\0';
}

static void advance(struct slm_lexer *lexer, size_t count)
{
	assert(count <= lexer->size - lexer->offset);
	for (; count > 0; count--) {
		unsigned char c = (unsigned char)lexer->text[lexer->offset++];

		if (c == '\n') {
			lexer->line++;
			lexer->column = 1;
		} else if (lexer->offset == lexer->size ||
			   (lexer->text[lexer->offset] & 0xc0) != 0x80) {
			lexer->column++;
		}
	}
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool starts_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
	       (unsigned char)c >= 0x80;
}

static bool continues_name(char c)
{
	return starts_name(c) || is_digit(c) || c == '$';
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f';
}

static void skip_blanks(struct slm_lexer *lexer)
{
	while (is_blank(peek(lexer, 0)))
		advance(lexer, 1);
}

/* Blanks, line ends and comments. As in PostgreSQL, a comment also ends at a
 * carriage return. */
static void skip_space(struct slm_lexer *lexer)
{
	for (;;) {
		char c = peek(lexer, 0);

		if (is_blank(c) || c == '\n') {
			advance(lexer, 1);
		} else if (c == '#') {
			while (lexer->offset < lexer->size &&
			       peek(lexer, 0) != '\n' && peek(lexer, 0) != '\r')
				advance(lexer, 1);
		} else {
			return;
		}
	}
}

/* ---- Names and numbers ------------------------------------------------ */

static enum sqloom_status name_too_long(const struct slm_lexer *lexer,
					const struct slm_lexeme *lexeme,
					struct sqloom_error *err)
{
	return slm_lexer_fail(lexer, SQLOOM_LIMIT, lexeme->line, lexeme->column,
			      err, "a name is longer than %d bytes; shorten it",
			      SLM_SPEC_NAME_MAX);
}

static enum sqloom_status read_word(struct slm_lexer *lexer,
				    struct slm_lexeme *lexeme,
				    struct sqloom_error *err)
{
	size_t size = 1;

	while (continues_name(peek(lexer, size)))
		size++;
	if (size > SLM_SPEC_NAME_MAX)
		return name_too_long(lexer, lexeme, err);
	memcpy(lexeme->name, lexer->text + lexer->offset, size);
	lexeme->name[size] = '\0';
	lexeme->kind = SLM_LEXEME_NAME;
	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
		if (strcmp(lexeme->name, reserved[i].word) == 0)
			lexeme->kind = reserved[i].kind;
	advance(lexer, size);
	return SQLOOM_OK;
}

/* Skips a quoted text from its opening quote on; *size becomes the bytes
 * between the quotes. */
static enum sqloom_status skip_quoted(struct slm_lexer *lexer, size_t *size,
				      struct sqloom_error *err)
{
	size_t n = 1;

	for (;; n++) {
		char c = peek(lexer, n);

		if (c == '\0' || c == '\n')
			return slm_lexer_fail(
				lexer, SQLOOM_SPEC, lexer->line, lexer->column,
				err,
				"the quoted text that begins here has no"
				" closing \" on its line; close it (\"\" stands"
				" for a quote inside)");
		if (c == '"' && peek(lexer, n + 1) == '"')
			n++;
		else if (c == '"')
			break;
	}
	*size = n - 1;
	advance(lexer, n + 1);
	return SQLOOM_OK;
}

static enum sqloom_status read_quoted_name(struct slm_lexer *lexer,
					   struct slm_lexeme *lexeme,
					   struct sqloom_error *err)
{
	const char *from = lexer->text + lexer->offset + 1;
	enum sqloom_status status;
	size_t size, used = 0;

	status = skip_quoted(lexer, &size, err);
	if (status != SQLOOM_OK)
		return status;
	for (size_t i = 0; i < size; i++) {
		if (used == SLM_SPEC_NAME_MAX)
			return name_too_long(lexer, lexeme, err);
		lexeme->name[used++] = from[i];
		if (from[i] == '"')
			i++;
	}
	lexeme->name[used] = '\0';
	lexeme->kind = SLM_LEXEME_NAME;
	lexeme->quoted = true;
	return SQLOOM_OK;
}

static enum sqloom_status read_number(struct slm_lexer *lexer,
				      struct slm_lexeme *lexeme,
				      struct sqloom_error *err)
{
	uint64_t value = 0;

	lexeme->kind = SLM_LEXEME_NUMBER;
	for (; is_digit(peek(lexer, 0)); advance(lexer, 1)) {
		value = value * 10 + (uint64_t)(peek(lexer, 0) - '0');
		if (value > INT_MAX)
			return slm_lexer_fail(
				lexer, SQLOOM_LIMIT, lexeme->line,
				lexeme->column, err,
				"the number is too large; the most"
				" is %d",
				INT_MAX);
	}
	lexeme->number = (unsigned)value;
	return SQLOOM_OK;
}

/* ---- SQL blocks -------------------------------------------------------
 *
 * In PostgreSQL a block ends at its first brace, whatever stands around it:
 * `{ SELECT 1 -- done }` is a whole block. That stays. The one exception is a
 * brace between two quotes of one line: PostgreSQL's reader ends the block
 * there too, but leaves an SQL text with an open quote behind, which no server
 * runs. Here it belongs to the quoted text, so that JSON can be written.
 * To tell quotes from apostrophes in comments, the scan knows comments.
 */
struct block_scan {
	const char *text;
	size_t size;
	bool cut; /* the brace stands inside a quoted text or a comment */
};

/* An escape string of PostgreSQL, E'...', in which \' is no end? */
static bool has_escapes(const struct block_scan *scan, size_t quote)
{
	return scan->text[quote] == '\'' &&
	       (scan->text[quote - 1] == 'e' || scan->text[quote - 1] == 'E') &&
	       !continues_name(scan->text[quote - 2]);
}

/* From the opening quote to just after the closing one, or to the brace that
 * ends the block first, or to the end of the text. */
static size_t pass_quoted(struct block_scan *scan, size_t quote)
{
	bool escapes = has_escapes(scan, quote);
	bool same_line = true;
	size_t brace = scan->size;

	for (size_t i = quote + 1; i < scan->size; i++) {
		char c = scan->text[i];

		if (c == scan->text[quote])
			return i + 1;
		if (c == '\\' && escapes && i + 1 < scan->size &&
		    (scan->text[i + 1] == '\\' || scan->text[i + 1] == '\''))
			i++;
		if (c == '\n')
			same_line = false;
		if (c == '}' && brace == scan->size)
			brace = i;
		if (!same_line && brace < scan->size)
			break;
	}
	scan->cut = brace < scan->size;
	return brace;
}

/* From at to just after the closing text, or to the first brace. */
static size_t pass_until(struct block_scan *scan, size_t at, const char *close,
			 size_t close_size)
{
	for (; at < scan->size; at++) {
		if (scan->text[at] == '}') {
			scan->cut = true;
			return at;
		}
		if (close_size <= scan->size - at &&
		    memcmp(scan->text + at, close, close_size) == 0)
			return at + close_size;
	}
	return at;
}

/* Bytes of $tag$ at this place, or 0. */
static size_t dollar_quote(const struct block_scan *scan, size_t at)
{
	size_t end = at + 1;

	if (continues_name(scan->text[at - 1]))
		return 0;
	if (end < scan->size && starts_name(scan->text[end]))
		while (end < scan->size && scan->text[end] != '$' &&
		       continues_name(scan->text[end]))
			end++;
	return end < scan->size && scan->text[end] == '$' ? end + 1 - at : 0;
}

/* The offset of the brace that ends the block whose text begins at at, or
 * the size of the text. */
static size_t find_block_end(struct block_scan *scan, size_t at)
{
	size_t size;

	while (at < scan->size && scan->text[at] != '}') {
		char c = scan->text[at];
		char next = at + 1 < scan->size ? scan->text[at + 1] : '\0';

		if (c == '\'' || c == '"')
			at = pass_quoted(scan, at);
		else if (c == '-' && next == '-')
			at = pass_until(scan, at, "\n", 1);
		else if (c == '/' && next == '*')
			at = pass_until(scan, at + 2, "*/", 2);
		else if (c == '$' && (size = dollar_quote(scan, at)) > 0)
			at = pass_until(scan, at + size, scan->text + at, size);
		else
			at++;
	}
	return at;
}

/* A block of SQL or of a command whose text ends at end. */
static void take_block(struct slm_lexer *lexer, struct slm_lexeme *lexeme,
		       size_t end)
{
	lexeme->kind = SLM_LEXEME_SQL;
	advance(lexer, 1);
	lexeme->sql = lexer->text + lexer->offset;
	lexeme->sql_size = end - lexer->offset;
	lexeme->sql_line = lexer->line;
	lexeme->sql_column = lexer->column;
	advance(lexer, lexeme->sql_size);
}

static enum sqloom_status read_sql(struct slm_lexer *lexer,
				   struct slm_lexeme *lexeme,
				   struct sqloom_error *err)
{
	struct block_scan scan = { .text = lexer->text, .size = lexer->size };
	size_t end = find_block_end(&scan, lexer->offset + 1);

	lexer->cut_line = 0;
	if (end == lexer->size)
		return slm_lexer_fail(lexer, SQLOOM_SPEC, lexeme->line,
				      lexeme->column, err,
				      "the block that begins here has no"
				      " closing }; add it");
	take_block(lexer, lexeme, end);
	if (scan.cut) {
		lexer->cut_line = lexer->line;
		lexer->cut_column = lexer->column;
		lexer->cut_passed = false;
	}
	advance(lexer, 1);
	return SQLOOM_OK;
}

static enum sqloom_status open_command(const struct slm_lexer *lexer,
				       size_t open, struct sqloom_error *err)
{
	struct slm_lexer at = *lexer;

	if (open == lexer->size)
		return slm_lexer_fail(lexer, SQLOOM_SPEC, lexer->line,
				      lexer->column, err,
				      "the block that begins here has no"
				      " closing }; add it");
	advance(&at, open - lexer->offset);
	return slm_lexer_fail(lexer, SQLOOM_SPEC, lexer->line, lexer->column,
			      err,
			      "the block that begins here has no closing },"
			      " because the %c in line %u, column %u is not"
			      " closed; close it, or write \\%c",
			      lexer->text[open], at.line, at.column,
			      lexer->text[open]);
}

static enum sqloom_status read_command(struct slm_lexer *lexer,
				       struct slm_lexeme *lexeme,
				       struct sqloom_error *err)
{
	size_t open;
	size_t end = slm_command_end(lexer->text, lexer->size,
				     lexer->offset + 1, &open);

	lexer->cut_line = 0;
	if (end == lexer->size)
		return open_command(lexer, open, err);
	take_block(lexer, lexeme, end);
	advance(lexer, 1);
	return SQLOOM_OK;
}

/* ---- Lexemes ----------------------------------------------------------- */

static enum sqloom_status unexpected_byte(const struct slm_lexer *lexer,
					  struct sqloom_error *err)
{
	unsigned char c = (unsigned char)peek(lexer, 0);
	const char *advice = "; comments begin with #, SQL stands between { "
			     "and }, other names stand in double quotes";

	if (c == '}')
		advice = " that closes no block; an SQL block ends at its first"
			 " }, so write char(125) for one inside";
	if (c < ' ' || c == 0x7f)
		return slm_lexer_fail(lexer, SQLOOM_SPEC, lexer->line,
				      lexer->column, err,
				      "unexpected control character 0x%02x;"
				      " remove it",
				      c);
	return slm_lexer_fail(lexer, SQLOOM_SPEC, lexer->line, lexer->column,
			      err, "unexpected \"%c\"%s", c, advice);
}

static enum slm_lexeme_kind punctuation(char c)
{
	switch (c) {
	case ',':
		return SLM_LEXEME_COMMA;
	case '(':
		return SLM_LEXEME_OPEN;
	case ')':
		return SLM_LEXEME_CLOSE;
	case '*':
		return SLM_LEXEME_STAR;
	default:
		return SLM_LEXEME_END;
	}
}

static enum sqloom_status read_lexeme(struct slm_lexer *lexer,
				      struct slm_lexeme *lexeme,
				      struct sqloom_error *err)
{
	char c = peek(lexer, 0);

	if (starts_name(c))
		return read_word(lexer, lexeme, err);
	if (c == '"')
		return read_quoted_name(lexer, lexeme, err);
	if (c == '{' && lexer->commands)
		return read_command(lexer, lexeme, err);
	if (c == '{')
		return read_sql(lexer, lexeme, err);
	if (is_digit(c))
		return read_number(lexer, lexeme, err);
	lexeme->kind = punctuation(c);
	if (lexeme->kind == SLM_LEXEME_END)
		return unexpected_byte(lexer, err);
	lexeme->name[0] = c;
	advance(lexer, 1);
	return SQLOOM_OK;
}

enum sqloom_status slm_lexer_next(struct slm_lexer *lexer,
				  struct slm_lexeme *lexeme,
				  struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;

	memset(lexeme, 0, sizeof(*lexeme));
	if (lexer->cut_line && lexer->cut_passed)
		lexer->cut_line = 0;
	lexer->cut_passed = true;
	skip_space(lexer);
	if (lexer->offset == lexer->size) {
		/* Blank lines at the end are no good place to point at. */
		lexeme->line = lexer->end_line;
		lexeme->column = lexer->end_column;
		return SQLOOM_OK;
	}
	lexeme->line = lexer->line;
	lexeme->column = lexer->column;
	status = read_lexeme(lexer, lexeme, err);
	lexer->end_line = lexer->line;
	lexer->end_column = lexer->column;
	return status;
}

bool slm_lexer_at_block(const struct slm_lexer *lexer)
{
	struct slm_lexer ahead = *lexer;

	skip_space(&ahead);
	return peek(&ahead, 0) == '{';
}

/* ---- Option lines ----------------------------------------------------- */

/* What a value without quotes is made of: enough for paths and dates. */
static bool in_bare_value(char c)
{
	return continues_name(c) || (c != '\0' && strchr(".-+:/~@%*\\=", c));
}

enum sqloom_status slm_lexer_word(struct slm_lexer *lexer,
				  struct slm_spec_word *value, bool *found,
				  struct sqloom_error *err)
{
	enum sqloom_status status = SQLOOM_OK;
	char c;

	skip_blanks(lexer);
	c = peek(lexer, 0);
	*found = lexer->offset < lexer->size && c != '\n' && c != '#';
	if (!*found)
		return SQLOOM_OK;
	value->line = lexer->line;
	value->column = lexer->column;
	value->quoted = c == '"';
	value->text = lexer->text + lexer->offset + value->quoted;
	if (value->quoted) {
		status = skip_quoted(lexer, &value->size, err);
	} else if (in_bare_value(c)) {
		value->size = 0;
		while (in_bare_value(peek(lexer, value->size)))
			value->size++;
		advance(lexer, value->size);
	} else {
		status = slm_lexer_fail(lexer, SQLOOM_SPEC, lexer->line,
					lexer->column, err,
					"unexpected \"%c\" in an option line;"
					" write the value in double quotes",
					c);
	}
	lexer->end_line = lexer->line;
	lexer->end_column = lexer->column;
	return status;
}
