/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the text of a statement tells without a database: where it ends, its
 * first word, and its fingerprint. A scanner of tokens, no grammar; it knows
 * the quoting and comments of SQLite and PostgreSQL.
 */
#ifndef SLM_SQL_SQL_H
#define SLM_SQL_SQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Does the statement's first word equal this keyword (any case)? Blanks,
 * comments and semicolons before it are skipped. */
bool slm_sql_starts_with(const char *sql, const char *keyword);

/* Behind the first semicolon that is not quoted or in a comment; the end of
 * the text if there is none. Right for statements without a body of their own
 * (not CREATE TRIGGER). */
const char *slm_sql_skip_statement(const char *sql);

/* Behind blanks, comments and semicolons. "" when nothing is left. */
const char *slm_sql_skip_blank(const char *sql);

/*
 * The word behind the first word, as in PRAGMA busy_timeout: copied in lower
 * case into word (at most size - 1 bytes); "" if there is none.
 */
void slm_sql_second_word(const char *sql, char *word, size_t size);

/*
 * Finds the next bound parameter (:name, @name, $name, ?) at or behind sql
 * that is not quoted or in a comment: its name without the mark is copied
 * into name ("" for ?; cut at size - 1 bytes). Returns the place behind it,
 * NULL when there is none. PostgreSQL's :: is not a parameter.
 */
const char *slm_sql_next_parameter(const char *sql, char *name, size_t size);

#define SLM_SQL_NAME_MAX 63 /* bytes of a name that is told */

/* One value of an INSERT. */
struct slm_sql_insert_value {
	char table[SLM_SQL_NAME_MAX + 1];
	char column[SLM_SQL_NAME_MAX + 1];    /* "": no columns are listed */
	char parameter[SLM_SQL_NAME_MAX + 1]; /* "": the value is no :name */
	unsigned count;			      /* of values in the row */
};

/*
 * The n-th value (from 0) of INSERT INTO table (columns) VALUES (values), with
 * or without columns; whatever is behind the row is allowed. False: there is no
 * such value, more than one row, another schema than main, a longer name, or
 * the statement has another form.
 */
bool slm_sql_insert_value(const char *sql, unsigned n,
			  struct slm_sql_insert_value *out);

/*
 * The statement with its literals replaced by $1, $2 ...: *text; and what stood
 * there as "$1 = 5, $2 = 'it''s'" in *values, as events have it (see
 * trace/params.h; longer ones are cut). False: there is none, or it is a kind
 * of statement in which literals are more than values. Both are NUL-terminated
 * and begun anew.
 */
struct slm_buf;
bool slm_sql_lift_literals(const char *sql, struct slm_buf *text,
			   struct slm_buf *values);
/* The same of a statement with parameters, of whatever marks; expanded: its
 * text with the values that SQLite has put in their places. False also if the
 * two do not fit. text may be NULL. */
bool slm_sql_lift_bound(const char *sql, const char *expanded,
			struct slm_buf *text, struct slm_buf *values);

/*
 * Fingerprint of a statement with its literals removed: numbers and strings
 * count as one kind, blanks, comments and the case of bare words do not
 * count. Equal on every machine.
 */
uint16_t slm_sql_fingerprint(const char *sql);

#endif
