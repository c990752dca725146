/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The statements that were begun and are not over: those that gave a row, and
 * those that were refused a lock, which can be stepped again without a reset.
 * Used by sqlite_hook.c. Thread-safe; allocates only when there are more of
 * them at once than ever before.
 */
#ifndef SLM_PROBE_SQLITE_OPEN_H
#define SLM_PROBE_SQLITE_OPEN_H

#include <sqlite3.h>
#include <stdbool.h>

enum slm_sqlite_state {
	SLM_SQLITE_UNKNOWN,
	SLM_SQLITE_BEGUN,
	SLM_SQLITE_REFUSED, /* it is over, unless it is stepped again */
};

/* Is there none at all? Cheap. */
bool slm_sqlite_open_none(void);

enum slm_sqlite_state slm_sqlite_open_state(sqlite3_stmt *stmt);

/* Adds it or changes its state. False: memory is out. */
bool slm_sqlite_open_add(sqlite3_stmt *stmt, enum slm_sqlite_state state);

/* Takes it out. True: it was begun. */
bool slm_sqlite_open_remove(sqlite3_stmt *stmt);

void slm_sqlite_open_clear(void);

#endif
