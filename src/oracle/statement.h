/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The little that naming an anomaly needs to know of SQL text: where
 * statements begin and end transactions, which rows a WHERE picks, whether an
 * UPDATE computes from the row it changes. It reads tokens, not grammar, and
 * says UNKNOWN wherever that is not enough.
 */
#ifndef SLM_ORACLE_STATEMENT_H
#define SLM_ORACLE_STATEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum slm_statement {
	SLM_STATEMENT_NONE, /* no (further) statement */
	SLM_STATEMENT_SELECT,
	SLM_STATEMENT_INSERT, /* plain: no REPLACE, no ON CONFLICT */
	SLM_STATEMENT_UPDATE,
	SLM_STATEMENT_DELETE,
	SLM_STATEMENT_BEGIN,
	SLM_STATEMENT_BEGIN_IMMEDIATE, /* or EXCLUSIVE */
	SLM_STATEMENT_COMMIT,
	SLM_STATEMENT_ROLLBACK,
	SLM_STATEMENT_SAVEPOINT, /* also RELEASE and ROLLBACK TO */
	SLM_STATEMENT_OTHER,
};

/* The kind of the statement at *sql; moves *sql behind it. A text with a
 * trigger body in it is one OTHER statement. */
enum slm_statement slm_statement_next(const char **sql);

/* The kind of sql if it is a single statement, else OTHER or NONE. */
enum slm_statement slm_statement_single(const char *sql);

/* Is it nothing but statements that begin or end transactions? */
bool slm_statement_is_control(const char *sql);

/* Which of the statements of sql return their rows in an order: bit 0 is the
 * first, those behind the 64th are left out. An ORDER BY in parentheses says
 * nothing of the result, nor one in a statement that writes. */
uint64_t slm_statement_ordered(const char *sql);

enum slm_relation {
	SLM_ROWS_UNKNOWN,
	SLM_ROWS_SAME,	   /* by the same key, the same values, or all rows */
	SLM_ROWS_DISJOINT, /* they pick by the same column, by other values */
};

/* How the rows of one table relate that two single statements pick. key: the
 * table's key column, or NULL. */
enum slm_relation slm_statement_relate(const char *a, const char *b,
				       const char *key);

/* Does some UPDATE or DELETE among the statements of writes, of this table,
 * pick the rows that the single statement read picks? */
bool slm_statement_changes_rows(const char *writes, const char *read,
				const char *table, const char *key);

/* Are the two single statements the same, token by token? */
bool slm_statement_same(const char *a, const char *b);

enum slm_assigns {
	SLM_ASSIGNS_UNKNOWN, /* some of each, or no plain UPDATE */
	SLM_ASSIGNS_VALUES,  /* new values do not come from the row itself */
	SLM_ASSIGNS_CHANGES, /* all are computed from the row: v = v + 1 */
};

/* What a single UPDATE of table assigns. */
enum slm_assigns slm_statement_assigns(const char *sql, const char *table);

#endif
