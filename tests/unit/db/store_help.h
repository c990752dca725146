/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the SQLite store share: opening connections, running SQL
 * with the result as text, a scratch directory. Included once per program.
 */
#ifndef SLM_TESTS_STORE_HELP_H
#define SLM_TESTS_STORE_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/hash.h"
#include "db/sqlite_store.h"

#define UNUSED __attribute__((unused))

UNUSED static struct slm_store *new_store(enum sqloom_store kind,
					  const struct slm_store_hooks *hooks)
{
	struct slm_store *store = NULL;
	struct sqloom_error err;

	if (slm_store_new(kind, hooks, &store, &err) != SQLOOM_OK)
		fail_msg("%s", err.message);
	return store;
}

UNUSED static sqlite3 *open_vfs(const char *path, const char *vfs)
{
	sqlite3 *db = NULL;
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;

	if (sqlite3_open_v2(path, &db, flags, vfs) != SQLITE_OK)
		fail_msg("%s: %s", path, sqlite3_errmsg(db));
	return db;
}

/* A connection of this owner to the main database. */
UNUSED static sqlite3 *open_owner(struct slm_store *store, unsigned owner)
{
	slm_store_set_owner(store, owner);
	return open_vfs(slm_store_main_path(store), slm_store_vfs(store));
}

UNUSED static int append_row(void *userdata, int columns, char **values,
			     char **names)
{
	struct slm_buf *buf = userdata;

	(void)names;
	for (int i = 0; i < columns; i++)
		slm_buf_printf(buf, "%s%s", i ? "|" : "",
			       values[i] ? values[i] : "NULL");
	slm_buf_puts(buf, ";");
	return 0;
}

/* Runs SQL; the rows are in buf, the extended result code is returned. */
UNUSED static int run_sql(sqlite3 *db, const char *sql, struct slm_buf *buf)
{
	slm_buf_clear(buf);
	slm_buf_puts(buf, "");
	if (sqlite3_exec(db, sql, append_row, buf, NULL) == SQLITE_OK)
		return SQLITE_OK;
	return sqlite3_extended_errcode(db);
}

UNUSED static void must(sqlite3 *db, const char *sql)
{
	char *message = NULL;

	if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s (%d)", sql, message,
			 sqlite3_extended_errcode(db));
}

UNUSED static void expect_rows(sqlite3 *db, const char *sql, const char *rows)
{
	struct slm_buf buf;
	int rc;

	slm_buf_init(&buf);
	rc = run_sql(db, sql, &buf);
	if (rc != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	assert_string_equal(buf.data, rows);
	slm_buf_deinit(&buf);
}

UNUSED static void take_snapshot(struct slm_store *store)
{
	struct sqloom_error err;

	if (slm_store_snapshot(store, &err) != SQLOOM_OK)
		fail_msg("%s", err.message);
}

UNUSED static void put_back(struct slm_store *store)
{
	struct sqloom_error err;

	if (slm_store_restore(store, &err) != SQLOOM_OK)
		fail_msg("%s", err.message);
}

/* A new scratch directory; remove_directory() deletes it with its files. */
UNUSED static char *make_directory(char path[64])
{
	/* In memory where that is possible: the tests sync a lot. */
	strcpy(path, "/dev/shm/sqloom-test-XXXXXX");
	if (mkdtemp(path))
		return path;
	strcpy(path, "/tmp/sqloom-test-XXXXXX");
	assert_non_null(mkdtemp(path));
	return path;
}

UNUSED static int count_files(const char *path)
{
	DIR *dir = opendir(path);
	int count = -2;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

UNUSED static void remove_directory(const char *path)
{
	char name[512];
	struct dirent *entry;
	DIR *dir = opendir(path);

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		unlink(name);
	}
	closedir(dir);
	assert_int_equal(rmdir(path), 0);
}

#endif
