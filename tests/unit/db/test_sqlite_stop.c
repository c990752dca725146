/* SPDX-License-Identifier: Apache-2.0 */
/* Statements that do not end: they are stopped where they are, and everything
 * is cleaned up. */
#include "sqlite_help.h"

#define ENDLESS                                                        \
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM" \
	" c) SELECT count(*) FROM c"

struct patience {
	unsigned asked, until;
};

static bool asked(void *userdata)
{
	struct patience *patience = userdata;

	return ++patience->asked < patience->until;
}

static struct slm_sqlite_options patient(struct patience *patience)
{
	struct slm_sqlite_options options = defaults;

	options.goes_on = asked;
	options.goes_on_userdata = patience;
	return options;
}

static void assert_stopped(struct fixture *f, enum sqloom_status status,
			   const char *what, int line)
{
	char start[200];

	snprintf(start, sizeof(start), "stopped in the middle of %s: ", what);
	assert_int_equal(status, SQLOOM_LIMIT);
	assert_non_null(strstr(f->err.message, start));
	assert_int_equal(f->err.line, line);
	if (f->db)
		assert_true(f->db->interrupted);
}

static void a_step_is_stopped_and_the_next_run_is_as_ever(void **state)
{
	struct patience patience = { 0, 3 };
	struct slm_sqlite_options options = patient(&patience);
	struct slm_db_answer answer;
	struct fixture f;

	(void)state;
	open_with(&f,
		  "setup { CREATE TABLE t (v) }\nsession a\n"
		  "step a1 { BEGIN; INSERT INTO t VALUES (1) }\n"
		  "step a2 { SELECT 1;\n" ENDLESS " }\n"
		  "session b\nstep b1 { INSERT INTO t VALUES (2) }\n",
		  &options);
	begin(&f);
	run(&f, "a1");
	assert_false(f.db->interrupted);
	assert_stopped(&f, slm_db_step(f.db, 0, 1, &answer, &f.err),
		       "step \"a2\"", 5);
	assert_int_equal(patience.asked, 3);
	slm_db_run_end(f.db, NULL);
	assert_false(slm_db_in_transaction(f.db, 0));
	begin(&f);
	assert_string_equal(run(&f, "b1"), "changes 1");
	end(&f);
	assert_string_equal(contents(&f), "t(2)");
	close_db(&f);
}

/* Who waits for a lock would go on with an endless statement. */
static void nobody_stays_inside_sqlite(void **state)
{
	struct patience patience = { 0, 2 };
	struct slm_sqlite_options options = patient(&patience);
	struct slm_db_answer answer;
	struct fixture f;

	(void)state;
	options.busy_timeout_ms = 1000;
	options.journal = "delete";
	for (unsigned end_it = 0; end_it < 2; end_it++) {
		patience.asked = 0;
		open_with(&f,
			  "setup { CREATE TABLE t (v) }\nsession a\n"
			  "step a1 { BEGIN; INSERT INTO t VALUES (1) }\n"
			  "step a2 { " ENDLESS " }\n"
			  "session b\nstep b1 { INSERT INTO t " ENDLESS " }\n",
			  &options);
		begin(&f);
		run(&f, "a1");
		assert_true(go(&f, "b1").blocked);
		assert_stopped(&f, slm_db_step(f.db, 0, 1, &answer, &f.err),
			       "step \"a2\"", 4);
		if (end_it) {
			slm_db_run_end(f.db, NULL);
			begin(&f);
			end(&f);
			assert_string_equal(contents(&f), "t()");
		}
		close_db(&f);
	}
}

static void setups_and_checks_are_stopped_too(void **state)
{
	const struct slm_check_failure *failures;
	struct patience patience = { 0, 2 };
	struct slm_sqlite_options options = patient(&patience);
	struct fixture f;
	uint32_t count;

	(void)state;
	assert_stopped(
		&f,
		try_open(&f,
			 "setup { CREATE TABLE t (v);\nINSERT INTO t " ENDLESS
			 " }\nsession a\nstep s { SELECT 1 }\n",
			 &options),
		"setup", 2);
	close_db(&f);
	patience.asked = 0;
	assert_stopped(&f,
		       try_open(&f,
				"session a\nsetup { " ENDLESS " }\n"
				"step s { SELECT 1 }\n",
				&options),
		       "the setup of session \"a\"", 2);
	close_db(&f);
	patience.asked = 0;
	open_with(&f,
		  "setup { CREATE TABLE t (v) } teardown { " ENDLESS " }\n"
		  "session a\nstep s { SELECT 1 }\n"
		  "check \"c\" { " ENDLESS " }\n",
		  &options);
	begin(&f);
	end(&f);
	assert_stopped(&f, slm_db_checks(f.db, &failures, &count, &f.err),
		       "check \"c\"", 4);
	assert_stopped(&f, slm_db_finish(f.db, &f.err), "teardown", 1);
	close_db(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_step_is_stopped_and_the_next_run_is_as_ever),
		cmocka_unit_test(nobody_stays_inside_sqlite),
		cmocka_unit_test(setups_and_checks_are_stopped_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
