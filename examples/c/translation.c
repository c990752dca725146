/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An error inside of a block: a product has one text for each language, and two
 * translators save the German one.
 *
 * The form showed that there is no German text, so saving inserts one; if that
 * violates UNIQUE (product, language) because somebody was faster, the code
 * goes on with an UPDATE. But the transaction is broken by then: PostgreSQL
 * refuses everything but a rollback, and SQLite, which would have gone on, is
 * not what production runs on. sqloom says so on both: "the transaction is
 * broken since: ...".
 * Fix: the INSERT is in a block of its own. It is rolled back to its savepoint,
 * and the block around it is as it was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqloom/sqloom.h>

#include "example.h"

/* ---- The program ---------------------------------------------------------- */

struct text {
	const char *text;
	struct sqloom_error err; /* of the statement that failed last */
};

/* 23505 is the SQLSTATE; SQLite has a code of its own for UNIQUE. */
static bool is_unique_violation(const struct sqloom_error *err)
{
	return strcmp(err->sqlstate, "23505") == 0 ||
	       strcmp(err->sqlstate, "2067") == 0;
}

static int insert(struct sqloom_db *db, void *arg)
{
	struct text *text = arg;
	char sql[256];

	snprintf(sql, sizeof(sql),
		 "INSERT INTO translation VALUES (1, 'de', '%s')", text->text);
	return sqloom_exec(db, sql, &text->err);
}

static int update(struct sqloom_db *db, struct text *text)
{
	char sql[256];

	snprintf(sql, sizeof(sql),
		 "UPDATE translation SET text = '%s' "
		 "WHERE product = 1 AND language = 'de'",
		 text->text);
	return sqloom_exec(db, sql, &text->err);
}

/* Behind either of them, in the same transaction. */
static int count_revision(struct sqloom_db *db, struct text *text)
{
	return sqloom_exec(db,
			   "UPDATE product SET revision = revision + 1 "
			   "WHERE id = 1",
			   &text->err);
}

/* A block: the form showed a German text. */
static int change(struct sqloom_db *db, void *text)
{
	return update(db, text) || count_revision(db, text);
}

/* A block: it showed none. BROKEN: goes on in a transaction that is over. */
static int add(struct sqloom_db *db, void *arg)
{
	struct text *text = arg;

	if (insert(db, text) &&
	    (!is_unique_violation(&text->err) || update(db, text)))
		return -1;
	return count_revision(db, text);
}

/* Fixed: the INSERT is a block inside of the block. */
static int add_nested(struct sqloom_db *db, void *arg)
{
	struct text *text = arg;

	if (sqloom_atomic(db, NULL, insert, text, NULL) &&
	    (!is_unique_violation(&text->err) || update(db, text)))
		return -1;
	return count_revision(db, text);
}

/* ---- The test ------------------------------------------------------------- */

static int translate(struct sqloom_call *call, const char *words,
		     sqloom_block_fn add_it)
{
	struct text text = { .text = words };
	struct sqloom_db *db = example_db(call);
	sqloom_block_fn block;
	char *found;

	if (!db)
		return -1;
	/* The form. */
	if (sqloom_query(db,
			 "SELECT text FROM translation "
			 "WHERE product = 1 AND language = 'de'",
			 &found, &text.err))
		return example_fail(call, &text.err);
	block = found ? change : add_it;
	sqloom_text_free(found);
	if (sqloom_atomic(db, NULL, block, &text, NULL))
		return example_fail(call, &text.err);
	return 0;
}

static int translator(struct sqloom_call *call, void *words)
{
	return translate(call, words, add);
}

static int nesting_translator(struct sqloom_call *call, void *words)
{
	return translate(call, words, add_nested);
}

static int set_up(struct sqloom_call *call, void *unused)
{
	struct sqloom_db *db = example_db(call);
	struct sqloom_error err;

	(void)unused;
	if (!db)
		return -1;
	if (sqloom_exec(db,
			"DROP TABLE IF EXISTS translation;"
			"DROP TABLE IF EXISTS product;"
			"CREATE TABLE product ("
			"  id INTEGER PRIMARY KEY, revision INTEGER NOT NULL);"
			"CREATE TABLE translation ("
			"  product INTEGER NOT NULL REFERENCES product (id),"
			"  language VARCHAR(5) NOT NULL, text TEXT NOT NULL,"
			"  UNIQUE (product, language));"
			"INSERT INTO product VALUES (1, 1)",
			&err))
		return example_fail(call, &err);
	return 0;
}

int main(int argc, char **argv)
{
	static char chair[] = "Stuhl", armchair[] = "Sessel";
	static const struct sqloom_function broken[] = {
		{ .name = "Anna", .fn = translator, .arg = chair },
		{ .name = "Ben", .fn = translator, .arg = armchair },
	};
	static const struct sqloom_function fixed[] = {
		{ .name = "Anna", .fn = nesting_translator, .arg = chair },
		{ .name = "Ben", .fn = nesting_translator, .arg = armchair },
	};
	struct example example;

	example_init(&example, argc, argv);
	example.setup = set_up;
	example_explore(&example, "translation", broken, 2, SQLOOM_BROKEN);
	example_explore(&example, "translation, nested", fixed, 2,
			SQLOOM_HOLDS);
	return example_end(&example);
}
