/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spec text to lexemes. The lexemes are those of PostgreSQL's isolation tester;
 * the words that sqloom adds (check, option, when, call ...) are ordinary names
 * here, and the parser gives them their meaning by position.
 *
 * The lexer borrows the text, allocates nothing, and is a plain value: a copy
 * of it is a place to come back to. The text must be valid UTF-8 without NUL
 * bytes. Every byte is looked at a bounded number of times.
 */
#ifndef SLM_SPEC_LEXER_H
#define SLM_SPEC_LEXER_H

#include <sqloom/sqloom.h>

#include "base/error.h"
#include "spec/spec.h"

struct slm_lexer {
	const char *name; /* what messages call the text */
	const char *text;
	size_t size;	       /* bytes of text */
	size_t offset;	       /* of the next byte to read */
	unsigned line, column; /* place of that byte */
	unsigned end_line;     /* place just after the last lexeme */
	unsigned end_column;
	unsigned cut_line;   /* where a brace ended the last block inside a */
	unsigned cut_column; /* quoted text or a comment; 0: no such */
	bool cut_passed;     /* a lexeme was read since */
	bool commands;	     /* a block that comes next holds a command or a
				request, not SQL */
};

enum slm_lexeme_kind {
	SLM_LEXEME_END,	 /* end of the file */
	SLM_LEXEME_NAME, /* plain or "quoted" */
	SLM_LEXEME_SQL,	 /* { SQL }, or { COMMAND } */
	SLM_LEXEME_NUMBER,
	SLM_LEXEME_COMMA,
	SLM_LEXEME_OPEN,  /* ( */
	SLM_LEXEME_CLOSE, /* ) */
	SLM_LEXEME_STAR,
	SLM_LEXEME_NOTICES, /* from here on: the reserved words */
	SLM_LEXEME_PERMUTATION,
	SLM_LEXEME_SESSION,
	SLM_LEXEME_SETUP,
	SLM_LEXEME_STEP,
	SLM_LEXEME_TEARDOWN,
};

struct slm_lexeme {
	enum slm_lexeme_kind kind;
	bool quoted;			  /* NAME: was written in quotes */
	char name[SLM_SPEC_NAME_MAX + 1]; /* NAME and reserved words: the text
					 without quotes, NUL-terminated */
	unsigned number;		  /* NUMBER */
	unsigned line, column;		  /* place of the first byte */
	const char *sql;   /* SQL: the text between the braces, */
	size_t sql_size;   /* borrowed, its bytes, */
	unsigned sql_line; /* and the place of its first byte */
	unsigned sql_column;
};

/* A value of an option line, as it stands in the text. */
struct slm_spec_word {
	const char *text; /* borrowed; between the quotes if quoted */
	size_t size;	  /* bytes */
	bool quoted;	  /* then "" inside stands for one quote */
	unsigned line, column;
};

/* text and name are borrowed. Cannot fail. */
void slm_lexer_init(struct slm_lexer *lexer, const char *name, const char *text,
		    size_t size);

/* Reads the next lexeme. SQLOOM_SPEC or SQLOOM_LIMIT with the place. */
enum sqloom_status slm_lexer_next(struct slm_lexer *lexer,
				  struct slm_lexeme *lexeme,
				  struct sqloom_error *err);

/*
 * Reads the next value on the current line; *found is false, and nothing is
 * read, when the line or the file ends or a comment begins.
 */
enum sqloom_status slm_lexer_word(struct slm_lexer *lexer,
				  struct slm_spec_word *value, bool *found,
				  struct sqloom_error *err);

/* Does a block come next? Reads nothing. */
bool slm_lexer_at_block(const struct slm_lexer *lexer);

/* Is this the unquoted word? */
bool slm_lexeme_is_word(const struct slm_lexeme *lexeme, const char *word);

/* Writes how a message names the lexeme into buf, for "found ...". */
const char *slm_lexeme_describe(const struct slm_lexeme *lexeme, char *buf,
				size_t size);

/*
 * Fills in err: the message, the place with path and excerpt, and a hint where
 * the last SQL block ended inside a quoted text. Control characters in the
 * message are replaced, since names may hold any. Returns status.
 */
enum sqloom_status slm_lexer_fail(const struct slm_lexer *lexer,
				  enum sqloom_status status, unsigned line,
				  unsigned column, struct sqloom_error *err,
				  const char *fmt, ...) SLM_PRINTF(6, 7);

/* ---- command.c -------------------------------------------------------- */

/*
 * The offset of the brace that ends the block of a command whose text begins
 * at begin; or size, and *open becomes the offset of a quote or brace that is
 * not closed, size if there is none.
 */
size_t slm_command_end(const char *text, size_t size, size_t begin,
		       size_t *open);

#endif
