/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a run left behind in the database, as src/db reads it and src/oracle
 * compares it: all rows, with what is known of keys and references. It is
 * never written to a trace; struct slm_table is.
 */
#ifndef SLM_TRACE_CONTENTS_H
#define SLM_TRACE_CONTENTS_H

#include "trace/trace.h"

/* A column that refers to the key column of a table of the same contents. */
struct slm_reference {
	uint32_t column; /* of the referring table */
	uint32_t table;	 /* index of the table referred to */
};

/* The rows of one table, as the database has them. All of them: values has
 * nrows * ncolumns. */
struct slm_contents_table {
	const char *name;
	const char *const *columns;
	uint32_t ncolumns;
	uint64_t nrows;
	const struct slm_value *values;
	int key_column;	       /* the column the database can generate, or -1 */
	const bool *generated; /* nrows: this row's key was generated in the
				   run; NULL: none was */
	const struct slm_reference *references;
	uint32_t nreferences;
};

struct slm_contents {
	const struct slm_contents_table *tables;
	uint32_t ntables;
};

/* A check of the user's that returned rows. */
struct slm_check_failure {
	const char *name;
	struct slm_rows rows;
};

#endif
