/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hook_program [EXTENSION]: a program that uses SQLite and libsqloom. Loads the
 * extension, if there is one, makes the self-test, and prints what the hooks
 * see of a few statements. test_sqlite_modes.c links and runs it in several
 * ways.
 */
#include <stdio.h>

#include "hook_program.h"
#include "probe/sqlite_hook.h"

static void on_begin(sqlite3_stmt *stmt, void *userdata)
{
	(void)userdata;
	printf("begin %s\n", sqlite3_sql(stmt));
}

static void on_row(sqlite3_stmt *stmt, void *userdata)
{
	(void)userdata;
	printf("row %s\n", (const char *)sqlite3_column_text(stmt, 0));
}

static void on_end(sqlite3_stmt *stmt, int rc, void *userdata)
{
	(void)userdata;
	printf("end %d %s\n", rc, sqlite3_sql(stmt));
}

static const char *name_of(enum sqloom_sqlite_mode mode)
{
	static const char *const names[] = { "absent", "preloaded", "linked",
					     "extension" };

	return names[mode];
}

static int load(const char *extension)
{
	sqlite3 *db = NULL;
	char *message = NULL;
	int rc = sqlite3_open(":memory:", &db);

	if (rc == SQLITE_OK)
		rc = sqlite3_enable_load_extension(db, 1);
	if (rc == SQLITE_OK)
		rc = sqlite3_load_extension(db, extension, NULL, &message);
	if (rc != SQLITE_OK)
		printf("%s\n", message);
	sqlite3_free(message);
	sqlite3_close(db);
	return rc;
}

int hook_main(int argc, char **argv)
{
	static const struct slm_sqlite_hooks hooks = { on_begin, on_row, on_end,
						       NULL };
	sqlite3_stmt *stmt = NULL;
	sqlite3 *db = NULL;

	printf("before %s\n", name_of(sqloom_sqlite_selftest()));
	if (argc > 1 && load(argv[1]) != SQLITE_OK)
		return 1;
	printf("mode %s\n", name_of(sqloom_sqlite_selftest()));
	if (sqlite3_open(":memory:", &db) != SQLITE_OK)
		return 1;
	slm_sqlite_hook_set(&hooks);
	sqlite3_exec(db,
		     "CREATE TABLE t(v PRIMARY KEY);"
		     "CREATE TRIGGER g AFTER INSERT ON t WHEN new.v = 1 BEGIN "
		     "INSERT INTO t VALUES (2); END;"
		     "INSERT INTO t VALUES (1)",
		     NULL, NULL, NULL);
	sqlite3_exec(db, "INSERT INTO t VALUES (1)", NULL, NULL, NULL);
	sqlite3_prepare_v2(db, "SELECT v FROM t", -1, &stmt, NULL);
	sqlite3_step(stmt);
	sqlite3_reset(stmt);
	sqlite3_finalize(stmt);
	slm_sqlite_hook_pause();
	sqlite3_exec(db, "SELECT 'not seen'", NULL, NULL, NULL);
	slm_sqlite_hook_resume();
	slm_sqlite_hook_set(NULL);
	sqlite3_close(db);
	return 0;
}
