/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a step before it runs, and mistakes that are told then. */
#include "sqlite_help.h"

static const char many[] =
	"setup { CREATE TABLE t (id INTEGER PRIMARY KEY, v);"
	" CREATE TABLE u (v); CREATE TABLE log (v);"
	" CREATE TRIGGER tr AFTER UPDATE ON t BEGIN INSERT INTO log"
	" SELECT v FROM u; END; CREATE VIEW vw AS SELECT t.v FROM t, u }\n"
	"session a\n"
	"step sel { SELECT v FROM t }\n"
	"step one { SELECT 1 }\n"
	"step upd { UPDATE t SET v = 1 }\n"
	"step view { SELECT * FROM vw }\n"
	"step begin { BEGIN }\n"
	"step begin_def { BEGIN DEFERRED TRANSACTION }\n"
	"step begin_imm { BEGIN IMMEDIATE }\n"
	"step begin_exc { begin exclusive }\n"
	"step save { SAVEPOINT s }\n"
	"step release { RELEASE s }\n"
	"step commit { COMMIT }\n"
	"step rollback { ROLLBACK }\n"
	"step pragma { PRAGMA busy_timeout = 10 }\n"
	"step journal { PRAGMA journal_mode }\n"
	"step both { BEGIN; SELECT v FROM t }\n"
	"step empty { }\n"
	"step plan { EXPLAIN SELECT v FROM t }\n"
	"step vacuum { VACUUM }\n";

static void what_steps_read_and_write_is_known(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f, many, &defaults);
	assert_string_equal(info(&f, "sel").reads, "t");
	assert_string_equal(info(&f, "sel").writes, "");
	assert_string_equal(info(&f, "one").reads, "");
	assert_string_equal(info(&f, "upd").writes, "log, t");
	assert_non_null(strstr(info(&f, "upd").reads, "u"));
	assert_non_null(strstr(info(&f, "view").reads, "t"));
	assert_non_null(strstr(info(&f, "view").reads, "u"));
	close_db(&f);
}

static void a_step_is_local_only_if_it_cannot_matter(void **state)
{
	static const char *const local[] = { "one", "pragma", "empty" };
	static const char *const begins[] = { "begin", "begin_def", "save" };
	static const char *const not_local[] = {
		"sel",	   "upd",    "begin_imm", "begin_exc",
		"release", "commit", "rollback",  "journal",
		"both",	   "plan",   "vacuum"
	};
	struct slm_sqlite_options options = defaults;
	struct fixture f;

	(void)state;
	for (unsigned lax = 0; lax < 2; lax++) {
		options.local_begin = lax;
		open_with(&f, many, &options);
		for (size_t i = 0; i < sizeof(local) / sizeof(*local); i++)
			assert_true(info(&f, local[i]).local);
		for (size_t i = 0; i < sizeof(begins) / sizeof(*begins); i++)
			assert_int_equal(info(&f, begins[i]).local, lax);
		for (size_t i = 0; i < sizeof(not_local) / sizeof(*not_local);
		     i++)
			if (info(&f, not_local[i]).local)
				fail_msg("%s", not_local[i]);
		close_db(&f);
	}
}

static void expressions_of_when_are_evaluated(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f,
		  "session a\n"
		  "step s { SELECT 5 AS n, NULL AS none, 'x' AS word }\n"
		  "step yes when { :n = 5 } { SELECT 1 }\n"
		  "step no when { :n = 6 } { SELECT 1 }\n"
		  "step null when { :none } { SELECT 1 }\n"
		  "step word when { :word } { SELECT 1 }\n"
		  "step half when { 0.5 } { SELECT 1 }\n"
		  "step comment when { :n = 5 -- it is\n } { SELECT 1 }\n"
		  "step end when { :n = 5 /* it is */} { SELECT 1 }\n"
		  "step last when { :n -- is there } { SELECT 1 }\n",
		  &defaults);
	begin(&f);
	assert_false(when(&f, "yes"));
	run(&f, "s");
	assert_true(when(&f, "yes"));
	assert_false(when(&f, "no"));
	assert_false(when(&f, "null"));
	assert_false(when(&f, "word"));
	assert_true(when(&f, "half"));
	assert_true(when(&f, "comment"));
	assert_true(when(&f, "end"));
	assert_true(when(&f, "last"));
	end(&f);
	close_db(&f);
}

static void mistakes_are_told_with_their_place(void **state)
{
	static const struct {
		const char *text, *part;
		unsigned line, column;
	} cases[] = {
		{ "session a\nstep s { SELECT nix }", "no such column", 2, 17 },
		{ "session a\nstep s { SELECT 1;\n  SELEC 2 }", "syntax error",
		  3, 3 },
		{ "session a\nstep s { SELECT :n }", "uses :n", 2, 17 },
		{ "session a\nstep s { SELECT ? }", "without a name", 2, 17 },
		{ "session a\nstep s { SELECT :1 }", ":name", 2, 10 },
		{ "session a\nstep r { SELECT 1 AS m }\nstep s { SELECT :n }",
		  "there are: :m", 3, 17 },
		{ "session a\nstep s when { nix > 0 } { SELECT 1 }",
		  "no such column", 2, 15 },
		{ "session a\nstep s when { 1 + } { SELECT 1 }", "", 2, 0 },
		{ "setup { CREATE TABLE t (v) }\nsession a\n"
		  "step s when { (SELECT v FROM t) } { SELECT 1 }",
		  "reads table t", 3, 14 },
		{ "session a\nstep s { SELECT 1 }\ncheck \"c\" { SELECT * "
		  "FROM nix }",
		  "check \"c\"", 3, 12 },
		{ "session a\nstep s { SELECT 1 }\ncheck \"c\" { CREATE TABLE "
		  "x (v) }",
		  "one SELECT", 3, 12 },
		{ "session a\nstep s { SELECT 1 }\ncheck \"c\" { SELECT 1; "
		  "SELECT 2 }",
		  "one SELECT", 3, 12 },
		{ "setup { CREATE TABLE t (v);\n INSERT INTO u VALUES (1) }\n"
		  "session a\nstep s { SELECT 1 }",
		  "no such table", 2, 2 },
		{ "setup { BEGIN }\nsession a\nstep s { SELECT 1 }",
		  "transaction open", 1, 8 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fixture f;
		enum sqloom_status status =
			try_open(&f, cases[i].text, &defaults);

		if (status != SQLOOM_SPEC ||
		    !strstr(f.err.message, cases[i].part) ||
		    f.err.line != cases[i].line ||
		    (cases[i].column && f.err.column != cases[i].column))
			fail_msg("%s: %d %u:%u %s", cases[i].text, status,
				 f.err.line, f.err.column, f.err.message);
		close_db(&f);
	}
}

static void a_step_may_need_what_another_makes(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f,
		  "session a\n"
		  "step make { CREATE TABLE n (v) }\n"
		  "step fill { INSERT INTO n VALUES (1); SELECT v AS w FROM n"
		  " }\n"
		  "step use { SELECT :w }\n"
		  "step drop { DROP TABLE n }\n"
		  "session b\n"
		  "step read { SELECT v FROM n }\n",
		  &defaults);
	assert_false(info(&f, "fill").local);
	assert_false(info(&f, "read").local);
	for (unsigned i = 0; i < 3; i++) {
		begin(&f);
		assert_string_equal(run(&f, "read"), "! SQLITE_ERROR");
		run(&f, "make");
		assert_string_equal(run(&f, "fill"), "changes 1;1");
		assert_string_equal(run(&f, "use"), "1");
		assert_string_equal(run(&f, "read"), "1");
		run(&f, "drop");
		assert_string_equal(run(&f, "read"), "! SQLITE_ERROR");
		end(&f);
	}
	close_db(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_steps_read_and_write_is_known),
		cmocka_unit_test(a_step_is_local_only_if_it_cannot_matter),
		cmocka_unit_test(expressions_of_when_are_evaluated),
		cmocka_unit_test(mistakes_are_told_with_their_place),
		cmocka_unit_test(a_step_may_need_what_another_makes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
