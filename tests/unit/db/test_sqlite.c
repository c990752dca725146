/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a run: setups, snapshot, checks, journals, memory. */
#include "sqlite_help.h"

#include <sqlite3.h>
#include <unistd.h>

static const char counter[] =
	"setup { CREATE TABLE t (v INTEGER); INSERT INTO t VALUES (1) }\n"
	"session a\n"
	"setup { UPDATE t SET v = v + 1 }\n"
	"step a1 { UPDATE t SET v = v * 10 RETURNING v }\n"
	"session b\n"
	"step b1 { BEGIN; UPDATE t SET v = 0 }\n"
	"check \"big\" { SELECT v FROM t WHERE v > 5 }\n";

static void every_run_begins_with_the_same_contents(void **state)
{
	static const char *const journals[] = { "delete", "truncate", "persist",
						"memory", "off",      "wal" };

	(void)state;
	for (unsigned store = 0; store < 2; store++)
		for (unsigned j = 0; j < 6; j++) {
			struct slm_sqlite_options options = defaults;
			struct fixture f;

			options.store = (enum sqloom_store)store;
			options.journal = journals[j];
			open_with(&f, counter, &options);
			assert_non_null(strstr(f.db->backend, journals[j]));
			for (unsigned i = 0; i < 3; i++) {
				begin(&f);
				assert_string_equal(run(&f, "a1"),
						    "20 changes 1");
				end(&f);
				assert_string_equal(contents(&f), "t(20)");
			}
			close_db(&f);
		}
}

static void what_is_left_open_is_rolled_back(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f, counter, &defaults);
	begin(&f);
	run(&f, "b1");
	assert_true(slm_db_in_transaction(f.db, 1));
	end(&f);
	assert_string_equal(contents(&f), "t(2)");
	close_db(&f);
}

static void the_setup_of_a_call_that_takes_no_part_is_left_out(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f, counter, &defaults);
	assert_int_equal(slm_db_run_begin(f.db, 2, 0, &f.arena, &f.err), 0);
	end(&f);
	assert_string_equal(contents(&f), "t(1)");
	close_db(&f);
}

static void checks_tell_the_rows_that_are_wrong(void **state)
{
	const struct slm_check_failure *failures;
	struct fixture f;
	uint32_t count;

	(void)state;
	open_with(&f, counter, &defaults);
	begin(&f);
	end(&f);
	assert_int_equal(slm_db_checks(f.db, &failures, &count, &f.err), 0);
	assert_int_equal(count, 0);
	begin(&f);
	run(&f, "a1");
	end(&f);
	assert_int_equal(slm_db_checks(f.db, &failures, &count, &f.err), 0);
	assert_int_equal(count, 1);
	assert_string_equal(failures[0].name, "big");
	assert_int_equal(failures[0].rows.nrows, 1);
	assert_string_equal(failures[0].rows.columns[0], "v");
	assert_int_equal(failures[0].rows.values[0].integer, 20);
	close_db(&f);
}

static void the_global_teardown_is_tried(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f,
		  "setup { CREATE TABLE t (v) }\nteardown { DROP TABLE t }\n"
		  "session a\nstep s { SELECT v FROM t }\n",
		  &defaults);
	assert_int_equal(slm_db_finish(f.db, &f.err), SQLOOM_OK);
	close_db(&f);
	open_with(&f,
		  "setup { CREATE TABLE t (v) }\nteardown { DROP TABLE u }\n"
		  "session a\nstep s { SELECT v FROM t }\n",
		  &defaults);
	assert_int_equal(slm_db_finish(f.db, &f.err), SQLOOM_SPEC);
	close_db(&f);
}

static void a_setup_that_locks_the_others_out_is_told(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f,
		  "setup { CREATE TABLE t (v) }\nsession a\n"
		  "setup { PRAGMA locking_mode = exclusive;"
		  " INSERT INTO t VALUES (0) }\nstep a1 { SELECT 1 }\n"
		  "session b\nsetup { INSERT INTO t VALUES (5) }\n"
		  "step b1 { SELECT 1 }\n",
		  &defaults);
	assert_int_equal(slm_db_run_begin(f.db, 3, 0, &f.arena, &f.err),
			 SQLOOM_SPEC);
	assert_non_null(strstr(f.err.message, "PRAGMA locking_mode"));
	assert_int_equal(f.err.line, 6);
	slm_db_run_end(f.db, NULL);
	close_db(&f);
}

static void a_journal_that_is_refused_is_an_error(void **state)
{
	struct slm_sqlite_options options = defaults;
	struct fixture f;

	(void)state;
	options.journal = "sideways";
	assert_int_equal(try_open(&f, counter, &options), SQLOOM_DATABASE);
	close_db(&f);
}

static void a_setup_that_fails_names_the_session(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f,
		  "setup { CREATE TABLE t (v UNIQUE); INSERT INTO t VALUES (1)"
		  " }\n"
		  "session alice\nsetup { INSERT INTO t VALUES (1) }\n"
		  "step s { SELECT 1 }\n",
		  &defaults);
	assert_int_equal(slm_db_run_begin(f.db, 1, 0, &f.arena, &f.err),
			 SQLOOM_SPEC);
	assert_non_null(strstr(f.err.message, "\"alice\""));
	assert_int_equal(f.err.line, 3);
	end(&f);
	close_db(&f);
}

static void many_runs(const char *text, enum sqloom_store store, unsigned runs)
{
	struct slm_sqlite_options options = defaults;
	sqlite3_int64 used = 0;
	int64_t live = 0;
	struct fixture f;

	options.store = store;
	options.busy_timeout_ms = 10;
	open_with(&f, text, &options);
	for (unsigned i = 0; i < runs; i++) {
		struct slm_db_answer answer;
		int call;

		begin(&f);
		run(&f, "a1");
		go(&f, "b1");
		slm_db_expire(f.db, &call, &answer, &f.err);
		run(&f, "a2");
		end(&f);
		if (i == runs / 2) {
			live = slm_alloc_live();
			used = sqlite3_memory_used();
		}
	}
	assert_int_equal(slm_alloc_live(), live);
	/* Caches may breathe; what leaks would add up. */
	if (sqlite3_memory_used() > used + 16384)
		fail_msg("%d bytes more", (int)(sqlite3_memory_used() - used));
	close_db(&f);
	assert_int_equal(sqlite3_memory_used(), 0);
}

#define GROW                                                                \
	"setup { CREATE TABLE t (id INTEGER PRIMARY KEY, v);"               \
	" INSERT INTO t VALUES (1, 'x') }\n"                                \
	"session a\n"                                                       \
	"step a1 { BEGIN IMMEDIATE; INSERT INTO t (v) VALUES (hex(zeroblob" \
	"(40))) RETURNING id, v }\n"

static void memory_does_not_grow(void **state)
{
	const char *times = getenv("SQLOOM_TEST_RUNS");
	unsigned runs = times ? (unsigned)atoi(times) : 2000;

	(void)state;
	many_runs(GROW "step a2 { SELECT :v; COMMIT }\nsession b\n"
		       "step b1 { UPDATE t SET v = 2 }\n",
		  SQLOOM_STORE_MEMORY, runs);
	many_runs(GROW "step a2 { COMMIT; SELECT last_insert_rowid() }\n"
		       "session b\nstep b1 { UPDATE t SET v = 2 }\n",
		  SQLOOM_STORE_MEMORY, runs / 10);
	many_runs(GROW "step a2 { CREATE TABLE n (v); INSERT INTO n SELECT 1;"
		       " COMMIT }\nsession b\nstep b1 { UPDATE t SET v = 2 }\n",
		  SQLOOM_STORE_MEMORY, runs / 10);
	many_runs(GROW "step a2 { SELECT :v; COMMIT }\nsession b\n"
		       "step b1 { UPDATE t SET v = 2 }\n",
		  SQLOOM_STORE_FILE, runs / 40);
}

static void virtual_time_starts_anew(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f, "session a\nstep now { SELECT strftime('%s', 'now') }\n",
		  &defaults);
	for (unsigned i = 0; i < 3; i++) {
		begin(&f);
		assert_string_equal(run(&f, "now"), "'1767225600'");
		end(&f);
	}
	close_db(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_run_begins_with_the_same_contents),
		cmocka_unit_test(what_is_left_open_is_rolled_back),
		cmocka_unit_test(
			the_setup_of_a_call_that_takes_no_part_is_left_out),
		cmocka_unit_test(checks_tell_the_rows_that_are_wrong),
		cmocka_unit_test(the_global_teardown_is_tried),
		cmocka_unit_test(a_setup_that_locks_the_others_out_is_told),
		cmocka_unit_test(a_journal_that_is_refused_is_an_error),
		cmocka_unit_test(a_setup_that_fails_names_the_session),
		cmocka_unit_test(memory_does_not_grow),
		cmocka_unit_test(virtual_time_starts_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
