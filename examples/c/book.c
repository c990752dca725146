/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lost update (P4) inside of a transaction: a book is renamed, and a log says
 * from what to what.
 *
 * The transaction reads the title, notes "old, new" in the log, and writes the
 * new title. A transaction alone is no help. On PostgreSQL (READ COMMITTED) two
 * editors read the same old title: the log has two lines that begin with it,
 * and none that says how one of the new titles came to the other. On SQLite one
 * of them is told "database is locked" at once, whatever the timeout: both have
 * read, and neither may write.
 * Fix: lock where it is read. PostgreSQL: SELECT ... FOR UPDATE. SQLite: BEGIN
 * IMMEDIATE, and a busy timeout.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqloom/sqloom.h>

#include "example.h"
#include "store.h"

/* ---- The program ---------------------------------------------------------- */

/* In a transaction. lock: what store_lock() gives, or "". */
static bool rename_inside(struct store *store, const char *book,
			  const char *title, const char *lock)
{
	char sql[96], *old;
	bool ok;

	snprintf(sql, sizeof(sql), "SELECT title FROM book WHERE id = $1%s",
		 lock);
	if (store_run(store, sql, PARAMS(book), &old) != 1 || !old)
		return false;
	ok = store_run(store, "INSERT INTO renamed VALUES ($1, $2, $3)",
		       PARAMS(book, old, title), NULL) == 1 &&
	     store_run(store, "UPDATE book SET title = $1 WHERE id = $2",
		       PARAMS(title, book), NULL) == 1;
	free(old);
	return ok;
}

static bool rename_book(struct store *store, const char *book,
			const char *title)
{
	if (store_run(store, "BEGIN", NULL, NULL) < 0)
		return false;
	return store_end(store, rename_inside(store, book, title, ""));
}

static bool rename_locked(struct store *store, const char *book,
			  const char *title)
{
	return store_begin(store) &&
	       store_end(store,
			 rename_inside(store, book, title, store_lock(store)));
}

/* ---- The test ------------------------------------------------------------- */

static int tell(struct sqloom_call *call, const struct store *store, bool done)
{
	return done ? 0 : sqloom_call_fail(call, "%s", store->error);
}

static int editor(struct sqloom_call *call, void *title)
{
	struct store *store = example_store(call);

	return store ? tell(call, store, rename_book(store, "1", title)) : -1;
}

static int locking_editor(struct sqloom_call *call, void *title)
{
	struct store *store = example_store(call);

	return store ? tell(call, store, rename_locked(store, "1", title)) : -1;
}

static int set_up(struct sqloom_call *call, void *unused)
{
	struct store *store = example_store(call);

	(void)unused;
	if (!store)
		return -1;
	if (store_script(store,
			 "DROP TABLE IF EXISTS renamed;"
			 "DROP TABLE IF EXISTS book;"
			 "CREATE TABLE book ("
			 "  id INTEGER PRIMARY KEY, title TEXT NOT NULL);"
			 "CREATE TABLE renamed (book INTEGER NOT NULL,"
			 "  old_title TEXT NOT NULL, title TEXT NOT NULL);"
			 "INSERT INTO book VALUES (1, 'First Impressions')"))
		return 0;
	return sqloom_call_fail(call, "%s", store->error);
}

int main(int argc, char **argv)
{
	static char pride[] = "Pride and Prejudice", sense[] = "Sensibility";
	static const struct sqloom_function broken[] = {
		{ .name = "Jane", .fn = editor, .arg = pride },
		{ .name = "Thomas", .fn = editor, .arg = sense },
	};
	static const struct sqloom_function fixed[] = {
		{ .name = "Jane", .fn = locking_editor, .arg = pride },
		{ .name = "Thomas", .fn = locking_editor, .arg = sense },
	};
	struct example example;

	example_init(&example, argc, argv);
	example.setup = set_up;
	/* This program does not try again: "database is locked" is a fault. */
	example.options.strict = true;
	example_explore(&example, "book", broken, 2, SQLOOM_BROKEN);
	example_explore(&example, "book, locked", fixed, 2, SQLOOM_HOLDS);
	return example_end(&example);
}
