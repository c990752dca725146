/* SPDX-License-Identifier: Apache-2.0 */
/* What a run left behind: which tables are read, which keys are generated,
 * what refers to them. */
#include "sqlite_help.h"

/* Contents after one run of all the steps of session a, by their names. */
static const char *after(const char *text, const char *const *steps)
{
	static char out[8000];
	struct fixture f;

	open_with(&f, text, &defaults);
	begin(&f);
	for (; *steps; steps++)
		run(&f, *steps);
	end(&f);
	strcpy(out, contents(&f));
	close_db(&f);
	return out;
}

#define AFTER(text, ...) after(text, (const char *const[]){ __VA_ARGS__, NULL })

static void only_tables_that_steps_write_are_read(void **state)
{
	static const char text[] =
		"setup { CREATE TABLE r (v); CREATE TABLE w (v);"
		" INSERT INTO r VALUES (1); CREATE TABLE log (v);"
		" CREATE TRIGGER tr AFTER INSERT ON w BEGIN"
		" INSERT INTO log VALUES (new.v); END;"
		" CREATE TABLE other (v); CREATE VIEW vw AS SELECT * FROM w;"
		" CREATE TRIGGER tv INSTEAD OF INSERT ON vw BEGIN"
		" INSERT INTO other VALUES (new.v); END }\n"
		"session a\n";
	char spec[1000];

	(void)state;
	snprintf(spec, sizeof(spec), "%s%s", text,
		 "step s { SELECT v FROM r }");
	assert_string_equal(AFTER(spec, "s"), "");
	snprintf(spec, sizeof(spec), "%s%s", text,
		 "step s { INSERT INTO w SELECT v FROM r }");
	assert_string_equal(AFTER(spec, "s"), "log(1)w(1)");
	snprintf(spec, sizeof(spec), "%s%s", text,
		 "step s { INSERT INTO vw VALUES (3) }");
	assert_string_equal(AFTER(spec, "s"), "other(3)");
	snprintf(spec, sizeof(spec), "%s%s", text,
		 "step s { DROP TABLE other }");
	assert_non_null(strstr(AFTER(spec, "s"), "r(1)"));
	assert_non_null(strstr(AFTER(spec, "s"), "sqlite_schema("));
	assert_null(strstr(AFTER(spec, "s"), "other()"));
}

/* Whether foreign keys are on is known only when the step is run. */
static void cascades_are_followed_whatever_the_key_is(void **state)
{
	(void)state;
	assert_string_equal(
		AFTER("setup { CREATE TABLE p (id INTEGER PRIMARY KEY);"
		      " CREATE TABLE c (p REFERENCES p ON DELETE CASCADE);"
		      " CREATE TABLE d (x); INSERT INTO p VALUES (1);"
		      " INSERT INTO c VALUES (1) }\n"
		      "session a\n"
		      "step on { PRAGMA foreign_keys = on }\n"
		      "step del { DELETE FROM p }\n",
		      "on", "del"),
		"c()p()");
	assert_string_equal(
		AFTER("setup { CREATE TABLE p (code TEXT PRIMARY KEY);"
		      " CREATE TABLE c (code TEXT UNIQUE REFERENCES p"
		      " ON UPDATE CASCADE);"
		      " CREATE TABLE d (x TEXT REFERENCES c (code)"
		      " ON UPDATE SET NULL);"
		      " INSERT INTO p VALUES ('k'); INSERT INTO c VALUES ('k');"
		      " INSERT INTO d VALUES ('k') }\n"
		      "session a\n"
		      "step on { PRAGMA foreign_keys = on }\n"
		      "step upd { UPDATE p SET code = 'l' }\n",
		      "on", "upd"),
		"c('l')d(NULL)p('l')");
	assert_string_equal(
		AFTER("setup { CREATE TABLE p (a, b, PRIMARY KEY (a, b));"
		      " CREATE TABLE c (a, b, FOREIGN KEY (a, b) REFERENCES p"
		      " ON DELETE CASCADE);"
		      " INSERT INTO p VALUES (1, 2);"
		      " INSERT INTO c VALUES (1, 2) }\n"
		      "session a\n"
		      "step on { PRAGMA foreign_keys = on }\n"
		      "step del { DELETE FROM p }\n",
		      "on", "del"),
		"c()p()");
}

static void keys_that_the_database_made_are_marked(void **state)
{
	(void)state;
	assert_string_equal(
		AFTER("setup { CREATE TABLE t (id INTEGER PRIMARY KEY"
		      " AUTOINCREMENT, v); INSERT INTO t VALUES (5, 0) }\n"
		      "session a\n"
		      "step gen { INSERT INTO t (v) VALUES (1) }\n"
		      "step null { INSERT INTO t VALUES (NULL, 2) }\n"
		      "step own { INSERT INTO t VALUES (20, 3) }\n"
		      "step calc { INSERT INTO t SELECT max(id) + 1, 4 FROM t"
		      " }\n"
		      "step sel { INSERT INTO t (v) SELECT v FROM t WHERE"
		      " id = 5 }\n"
		      "step def { INSERT INTO t DEFAULT VALUES }\n",
		      "gen", "null", "own", "calc", "sel", "def"),
		"t(5,0|*6,1|*7,2|20,3|21,4|*22,0|*23,NULL)");
	assert_string_equal(
		AFTER("setup { CREATE TABLE t (v, id INTEGER PRIMARY KEY);"
		      " CREATE TABLE log (n INTEGER PRIMARY KEY, v);"
		      " CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO"
		      " log (v) VALUES (new.v); END }\n"
		      "session a\n"
		      "step gen { INSERT INTO t (v) VALUES ('x') }\n",
		      "gen"),
		"log(*1,'x')t(*'x',1)");
}

static void keys_that_are_not_generated_are_not_marked(void **state)
{
	(void)state;
	assert_string_equal(
		AFTER("setup { CREATE TABLE w (id INTEGER PRIMARY KEY, v)"
		      " WITHOUT ROWID; CREATE TABLE n (v); CREATE TABLE m"
		      " (a INTEGER, b INTEGER, PRIMARY KEY (a, b));"
		      " CREATE TABLE d (id INTEGER PRIMARY KEY DESC, v);"
		      " CREATE TABLE i (id INT PRIMARY KEY, v) }\n"
		      "session a\n"
		      "step s { INSERT INTO w VALUES (1, 2); INSERT INTO n"
		      " VALUES (1); INSERT INTO m VALUES (1, 1); INSERT INTO d"
		      " VALUES (1, 2); INSERT INTO i VALUES (1, 2) }\n",
		      "s"),
		"d(1,2)i(1,2)m(1,1)n(1)w(1,2)");
}

static void generated_keys_are_told_by_who_made_them(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f,
		  "setup { CREATE TABLE t (id INTEGER PRIMARY KEY, v);\n"
		  " CREATE TABLE c (t INTEGER REFERENCES t (id));"
		  " INSERT INTO t VALUES (1, 0) }\n"
		  "session alice\n"
		  "step a1 { INSERT INTO t (v) VALUES (1) RETURNING id, v }\n"
		  "step a2 { INSERT INTO t (v) VALUES (1) RETURNING id AS k }\n"
		  "step a3 { INSERT INTO c VALUES (:id) RETURNING t }\n"
		  "step a4 { SELECT id FROM t ORDER BY id }\n"
		  "step a5 { SELECT id + 0, max(id) FROM t }\n"
		  "session bob\n"
		  "step b1 { INSERT INTO t (v) VALUES (2) RETURNING id }\n"
		  "step b2 { SELECT id FROM t WHERE v = 2 }\n",
		  &defaults);
	begin(&f);
	assert_string_equal(run(&f, "a1"), "<t of alice #1>,1 changes 1");
	assert_string_equal(run(&f, "b1"), "<t of bob #1> changes 1");
	assert_string_equal(run(&f, "a2"), "<t of alice #2> changes 1");
	assert_string_equal(run(&f, "a4"), "1|<t of alice #1>|<t of bob #1>|"
					   "<t of alice #2>");
	assert_string_equal(run(&f, "b2"), "<t of bob #1>");
	end(&f);
	begin(&f); /* the other way round: equal results, equal digests */
	assert_string_equal(run(&f, "b1"), "<t of bob #1> changes 1");
	assert_string_equal(run(&f, "a1"), "<t of alice #1>,1 changes 1");
	/* The value itself is what later steps get. */
	assert_non_null(strstr(run(&f, "a3"), "t of alice #1"));
	end(&f);
	assert_string_equal(contents(&f), "c(3)t(1,0|*2,2|*3,1)");
	close_db(&f);
}

static void references_name_the_table_they_point_to(void **state)
{
	struct slm_contents contents;
	const struct slm_contents_table *c;
	struct fixture f;

	(void)state;
	open_with(
		&f,
		"setup { CREATE TABLE p (v, id INTEGER PRIMARY KEY);"
		" CREATE TABLE q (code TEXT PRIMARY KEY);"
		" CREATE TABLE c (x, p INTEGER REFERENCES p, q TEXT REFERENCES"
		" q, self INTEGER REFERENCES p (id)) }\n"
		"session a\n"
		"step s { INSERT INTO p (v) VALUES (1); INSERT INTO c VALUES"
		" (1, 1, 'x', 1) }\n",
		&defaults);
	begin(&f);
	run(&f, "s");
	end(&f);
	assert_int_equal(slm_db_contents(f.db, &contents, &f.err), 0);
	assert_int_equal(contents.ntables, 2);
	c = &contents.tables[0];
	assert_string_equal(c->name, "c");
	assert_int_equal(c->key_column, -1);
	assert_int_equal(c->nreferences, 2);
	assert_int_equal(c->references[0].column, 1);
	assert_int_equal(c->references[0].table, 1);
	assert_int_equal(c->references[1].column, 3);
	assert_int_equal(contents.tables[1].key_column, 1);
	close_db(&f);
}

static void odd_tables_are_read(void **state)
{
	(void)state;
	assert_string_equal(
		AFTER("setup { CREATE TABLE \"weird \"\"table\" (\"a b\" INTEGER"
		      " PRIMARY KEY, \"select\" TEXT, g INTEGER GENERATED"
		      " ALWAYS AS (\"a b\" * 2), s INT AS (g + 1) STORED)"
		      " STRICT;"
		      " CREATE TABLE [t;x] (`it's` TEXT) }\n"
		      "session a\n"
		      "step s { INSERT INTO \"weird \"\"table\" (\"select\")"
		      " VALUES ('x'); INSERT INTO [t;x] VALUES ('y') }\n",
		      "s"),
		"t;x('y')weird \"table(*1,'x',2,3)");
}

static void a_full_text_index_is_put_back(void **state)
{
	struct fixture f;

	(void)state;
	if (try_open(&f,
		     "setup { CREATE VIRTUAL TABLE d USING fts5(body);"
		     " INSERT INTO d VALUES ('old') }\n"
		     "session a\n"
		     "step look { SELECT count(*) FROM d WHERE d MATCH 'new' }"
		     "step put { INSERT INTO d VALUES ('new words') }\n",
		     &defaults)) {
		close_db(&f);
		skip();
	}
	for (unsigned i = 0; i < 3; i++) {
		begin(&f);
		assert_string_equal(run(&f, "look"), "0");
		run(&f, "put");
		assert_string_equal(run(&f, "look"), "1");
		end(&f);
		assert_non_null(strstr(contents(&f), "d('old'|'new words')"));
	}
	close_db(&f);
}

static void tables_made_by_steps_are_read(void **state)
{
	char first[100] = "";
	struct fixture f;

	(void)state;
	open_with(&f,
		  "session a\n"
		  "step make { CREATE TABLE n (id INTEGER PRIMARY KEY, v) }\n"
		  "step fill { INSERT INTO n (v) VALUES (random()) }\n"
		  "step read { SELECT v FROM n }\n",
		  &defaults);
	for (unsigned i = 0; i < 3; i++) {
		begin(&f);
		run(&f, "make");
		run(&f, "fill");
		if (i == 0)
			strcpy(first, run(&f, "read"));
		/* Compiled late, and yet the same random numbers. */
		assert_string_equal(run(&f, "read"), first);
		end(&f);
		assert_non_null(strstr(contents(&f), "n("));
		assert_non_null(strstr(contents(&f), "sqlite_schema("));
	}
	close_db(&f);
}

/* Equal images promise equal contents and equal names of keys. */
static void images_tell_outcomes_apart(void **state)
{
	uint64_t none, one, other;
	struct fixture f;

	(void)state;
	open_with(&f,
		  "setup { CREATE TABLE t (id INTEGER PRIMARY KEY, v) }\n"
		  "session a\n"
		  "step a1 { INSERT INTO t (v) VALUES (1) }\n"
		  "session b\n"
		  "step b1 { INSERT INTO t (v) VALUES (1) }\n",
		  &defaults);
	begin(&f);
	end(&f);
	none = slm_db_image(f.db);
	begin(&f);
	run(&f, "a1");
	end(&f);
	one = slm_db_image(f.db);
	begin(&f);
	run(&f, "a1");
	end(&f);
	assert_int_equal(slm_db_image(f.db), one);
	begin(&f);
	run(&f, "a1");
	run(&f, "b1");
	end(&f);
	other = slm_db_image(f.db);
	assert_true(none != one && one != other && none != other);
	begin(&f);
	end(&f);
	assert_int_equal(slm_db_image(f.db), none);
	close_db(&f);
}

static void a_table_with_too_many_rows_is_told(void **state)
{
	struct slm_contents contents;
	struct fixture f;

	(void)state;
	open_with(&f,
		  "setup { CREATE TABLE big (v); WITH RECURSIVE n (i) AS"
		  " (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100001)"
		  " INSERT INTO big SELECT i FROM n }\n"
		  "session a\n"
		  "step s { UPDATE big SET v = 0 WHERE rowid = 1 }\n",
		  &defaults);
	begin(&f);
	run(&f, "s");
	end(&f);
	assert_int_equal(slm_db_contents(f.db, &contents, &f.err),
			 SQLOOM_LIMIT);
	assert_non_null(strstr(f.err.message, "big"));
	assert_int_equal(f.err.line, 3);
	close_db(&f);
}

/* user_version and application_id belong to the user: migrations use them. */
static void what_a_pragma_writes_is_read(void **state)
{
	struct fixture f;
	uint64_t images[3];

	(void)state;
	open_with(&f,
		  "setup { PRAGMA user_version = 5 }\nsession a\n"
		  "step v { PRAGMA user_version = 6 }\n"
		  "step i { PRAGMA application_id = 7 }\n",
		  &defaults);
	for (unsigned i = 0; i < 3; i++) {
		static const char *const expected[] = { "PRAGMA(5,0)",
							"PRAGMA(6,0)",
							"PRAGMA(6,7)" };

		begin(&f);
		if (i > 0)
			run(&f, "v");
		if (i > 1)
			run(&f, "i");
		end(&f);
		assert_string_equal(contents(&f), expected[i]);
		images[i] = slm_db_image(f.db);
	}
	assert_true(images[0] != images[1] && images[1] != images[2]);
	close_db(&f);
	assert_string_equal(AFTER("session a\nstep s { PRAGMA foreign_keys = on"
				  " }\n",
				  "s"),
			    "");
}

static void assert_ignored(const char *option, const char *expected)
{
	char spec[500];
	struct fixture f;

	snprintf(spec, sizeof(spec),
		 "option ignore %s\nsetup { CREATE TABLE t (v, w);"
		 " CREATE TABLE u (x) }\nsession a\n"
		 "step s { INSERT INTO t VALUES (1, 2) }\n",
		 option);
	if (!expected) {
		open_with(&f, spec, &defaults);
	} else {
		assert_int_equal(try_open(&f, spec, &defaults), SQLOOM_SPEC);
		assert_non_null(strstr(f.err.message, expected));
		assert_int_equal(f.err.line, 1);
	}
	close_db(&f);
}

static void what_is_ignored_must_be_there(void **state)
{
	(void)state;
	assert_ignored("t", NULL);
	assert_ignored("t.w", NULL);
	assert_ignored("tt", "no such table; there are: t, u");
	assert_ignored("t.x", "no such column in table t; there are: v, w");
	/* The comparison reads names as they are written. */
	assert_ignored("T", "no such table");
}

/* Does the column of log refer to t? */
static bool refers(const char *steps)
{
	char spec[1500];
	struct slm_contents contents;
	struct fixture f;
	bool found;

	snprintf(spec, sizeof(spec),
		 "setup { CREATE TABLE t (id INTEGER PRIMARY KEY, v);"
		 " CREATE TABLE u (id INTEGER PRIMARY KEY, v);"
		 " CREATE TABLE log (who, t_id) }\nsession a\n"
		 "step t { INSERT INTO t (v) VALUES (1) RETURNING id }\n"
		 "step u { INSERT INTO u (v) VALUES (1) RETURNING id AS uid }\n"
		 "%s\n",
		 steps);
	open_with(&f, spec, &defaults);
	begin(&f);
	end(&f);
	assert_int_equal(slm_db_contents(f.db, &contents, &f.err), 0);
	assert_int_equal(contents.ntables, 3);
	assert_string_equal(contents.tables[0].name, "log");
	found = contents.tables[0].nreferences == 1;
	if (found) {
		assert_int_equal(contents.tables[0].references[0].column, 1);
		assert_string_equal(
			contents.tables[contents.tables[0].references[0].table]
				.name,
			"t");
	}
	close_db(&f);
	return found;
}

static void references_are_known_by_the_keys_that_are_inserted(void **state)
{
	(void)state;
	assert_true(refers("step s { INSERT INTO log VALUES ('a', :id) }"));
	assert_true(refers("step s { INSERT INTO log (t_id) VALUES (:id) }"));
	assert_false(
		refers("step s { INSERT INTO log VALUES ('a', :id + 1) }"));
	assert_false(refers("step s { INSERT INTO log VALUES ('a', 1) }"));
	/* Keys of two tables in one column: of neither. */
	assert_false(refers("step s { INSERT INTO log VALUES ('a', :id) }\n"
			    "step s2 { INSERT INTO log VALUES ('a', :uid) }"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_tables_that_steps_write_are_read),
		cmocka_unit_test(cascades_are_followed_whatever_the_key_is),
		cmocka_unit_test(keys_that_the_database_made_are_marked),
		cmocka_unit_test(keys_that_are_not_generated_are_not_marked),
		cmocka_unit_test(generated_keys_are_told_by_who_made_them),
		cmocka_unit_test(references_name_the_table_they_point_to),
		cmocka_unit_test(odd_tables_are_read),
		cmocka_unit_test(a_full_text_index_is_put_back),
		cmocka_unit_test(tables_made_by_steps_are_read),
		cmocka_unit_test(images_tell_outcomes_apart),
		cmocka_unit_test(a_table_with_too_many_rows_is_told),
		cmocka_unit_test(what_a_pragma_writes_is_read),
		cmocka_unit_test(what_is_ignored_must_be_there),
		cmocka_unit_test(
			references_are_known_by_the_keys_that_are_inserted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
