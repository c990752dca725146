/* SPDX-License-Identifier: Apache-2.0 */
/* A library of the program's that uses SQLite, loaded with dlopen(). */
#include <sqlite3.h>

__attribute__((visibility("default"))) int plugin_run(sqlite3 *db,
						      const char *sql);

int plugin_run(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *stmt = 0;
	int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, 0);

	if (rc == SQLITE_OK)
		while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
			;
	sqlite3_finalize(stmt);
	return rc;
}
