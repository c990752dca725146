/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks that are tried again. */
#include "transaction_help.h"

#include <pthread.h>

#include "base/hash.h"
#include "kit/database.h"

/* ---- Waits ------------------------------------------------------------- */

static void test_waits(void **state)
{
	struct slm_rng a, b, c;
	unsigned longest = 0, different = 0;

	(void)state;
	slm_rng_init(&a, 7);
	slm_rng_init(&b, 7);
	slm_rng_init(&c, 8);
	for (unsigned n = 1; n < 2000; n++) {
		unsigned us = slm_kit_retry_wait_us(&a, n);

		assert_int_equal(us, slm_kit_retry_wait_us(&b, n));
		different += us != slm_kit_retry_wait_us(&c, n);
		assert_true(us >= 1 && us <= 100000);
		if (n <= 6)
			assert_true(us <= 1000u << n);
		longest = us > longest ? us : longest;
	}
	assert_true(longest > 90000);
	assert_true(different > 1900);
}

/* ---- What is retried --------------------------------------------------- */

struct tries {
	unsigned calls;
	unsigned failing; /* so many of them fail */
	const char *sql;  /* how */
	int result;	  /* and return this */
};

static int try_fn(struct sqloom_db *db, void *arg)
{
	struct tries *tries = arg;

	tries->calls++;
	if (sqloom_exec(db, ROW, NULL))
		return -1;
	if (tries->calls > tries->failing)
		return 0;
	assert_int_not_equal(sqloom_exec(db, tries->sql, NULL), SQLOOM_OK);
	return tries->result;
}

static enum sqloom_status retry(unsigned times, struct tries *tries)
{
	return sqloom_retry(w.db, NULL, times, 3, try_fn, tries, &w.err);
}

#define RAISE(code) "DO $$ BEGIN RAISE SQLSTATE '" code "'; END $$"

static void test_codes(void **state)
{
	struct tries tries = { .failing = 2, .result = 5 };

	(void)state;
	tries.sql = RAISE("40001");
	OK(retry(3, &tries));
	assert_int_equal(tries.calls, 3);
	assert_int_equal(committed(), 1);
	exec("DELETE FROM t");
	tries.calls = 0;
	tries.sql = RAISE("40P01");
	/* The failure was passed over: the end of the block tells it. */
	tries.result = 0;
	OK(retry(3, &tries));
	assert_int_equal(tries.calls, 3);
	exec("DELETE FROM t");
	tries.calls = 0;
	tries.result = 5;
	FAILS(retry(2, &tries), SQLOOM_CALL, "tried 2 times in vain; the last");
	assert_string_equal(w.err.sqlstate, "40P01");
	assert_int_equal(tries.calls, 2);
	tries.calls = 0;
	tries.sql = RAISE("23505");
	FAILS(retry(5, &tries), SQLOOM_CALL, "returned 5");
	assert_int_equal(tries.calls, 1);
	assert_int_equal(committed(), 0);
}

static int raw_fn(struct sqloom_db *db, void *arg)
{
	struct tries *tries = arg;

	(void)db;
	if (++tries->calls > tries->failing)
		return 0;
	assert_false(raw(tries->sql));
	return 1;
}

/* The function uses the handle itself. */
static void test_raw(void **state)
{
	struct tries tries = { .failing = 2, .sql = "BEGIN IMMEDIATE" };
	struct sqloom_db *db = w.db;

	(void)state;
	if (w.pg) {
		tries.sql = RAISE("40001");
	} else {
		OK(sqloom_exec(w.other, "BEGIN IMMEDIATE", &w.err));
		tries.sql = ROW;
	}
	FAILS(sqloom_retry(db, NULL, 2, 1, raw_fn, &tries, &w.err), SQLOOM_CALL,
	      "tried 2 times");
	assert_int_equal(tries.calls, 2);
	if (!w.pg)
		OK(sqloom_exec(w.other, "COMMIT", &w.err));
	exec(ROW);
	tries.sql = WRONG;
	tries.calls = 0;
	FAILS(sqloom_retry(db, NULL, 2, 1, raw_fn, &tries, &w.err), SQLOOM_CALL,
	      w.pg ? "duplicate key" : "UNIQUE");
	assert_int_equal(tries.calls, 1);
}

/* In the way of COMMIT, or of BEGIN; gone at the third try. */
static int busy_fn(struct sqloom_db *db, void *arg)
{
	struct tries *tries = arg;

	(void)db;
	exec("INSERT INTO t VALUES (2, 'two')");
	if (++tries->calls == 3)
		OK(sqloom_exec(w.other, "COMMIT", &w.err));
	return 0;
}

static void test_sqlite_busy(void **state)
{
	struct sqloom_atomic_options options;
	struct tries tries = { 0 };

	(void)state;
	exec(ROW);
	OK(sqloom_exec(w.other, "BEGIN; SELECT * FROM t", &w.err));
	OK(sqloom_retry(w.db, NULL, 5, 1, busy_fn, &tries, &w.err));
	assert_int_equal(tries.calls, 3);
	assert_int_equal(committed(), 2);
	sqloom_atomic_options_init(&options);
	options.immediate = true;
	tries.calls = 0;
	OK(sqloom_exec(w.other, "BEGIN IMMEDIATE", &w.err));
	FAILS(sqloom_retry(w.db, &options, 4, 1, busy_fn, &tries, &w.err),
	      SQLOOM_DATABASE, "tried 4 times in vain");
	assert_int_equal(tries.calls, 0);
	assert_string_equal(w.err.sqlstate, "5");
	OK(sqloom_exec(w.other, "COMMIT", &w.err));
}

/* A snapshot that is old cannot be written to: only a new try helps. */
static int old_snapshot_fn(struct sqloom_db *db, void *arg)
{
	unsigned *calls = arg;

	assert_int_equal(ask(db, "SELECT count(*) FROM t"), *calls);
	if ((*calls)++ == 0)
		OK(sqloom_exec(w.other, ROW, &w.err));
	return sqloom_exec(db, "INSERT INTO t VALUES (2, 'two')", NULL) ? 1 : 0;
}

static void test_sqlite_snapshot(void **state)
{
	unsigned calls = 0;

	(void)state;
	exec("PRAGMA journal_mode = wal");
	OK(sqloom_retry(w.db, NULL, 2, 1, old_snapshot_fn, &calls, &w.err));
	assert_int_equal(calls, 2);
	assert_int_equal(committed(), 2);
	exec("PRAGMA wal_checkpoint(truncate)");
}

/* A failing hook is no failed commit. */
static int hooking_fn(struct sqloom_db *db, void *arg)
{
	++*(unsigned *)arg;
	if (w.pg) {
		/* It was dealt with. */
		begin();
		assert_int_equal(sqloom_exec(db, RAISE("40001"), NULL),
				 SQLOOM_DATABASE);
		end(false);
	}
	OK(sqloom_on_commit(db, bad_hook, (char *)"a", drop, false, &w.err));
	return 0;
}

static void test_hook_fails(void **state)
{
	unsigned calls = 0;

	(void)state;
	FAILS(sqloom_retry(w.db, NULL, 5, 1, hooking_fn, &calls, &w.err),
	      SQLOOM_CALL, "the block is committed");
	assert_int_equal(calls, 1);
	assert_int_equal(w.drops, 1);
}

static void test_misuse(void **state)
{
	struct tries tries = { 0 };

	(void)state;
	FAILS(sqloom_retry(w.db, NULL, 0, 1, try_fn, &tries, &w.err),
	      SQLOOM_USAGE, "0 times");
	FAILS(sqloom_retry(w.db, NULL, 1, 1, NULL, &tries, &w.err),
	      SQLOOM_USAGE, "NULL");
	begin();
	FAILS(retry(2, &tries), SQLOOM_USAGE, "cannot be retried");
	end(true);
	assert_true(raw("BEGIN"));
	FAILS(retry(2, &tries), SQLOOM_USAGE, "on the handle itself");
	assert_true(raw("ROLLBACK"));
	assert_int_equal(tries.calls, 0);
}

/* ---- A race ------------------------------------------------------------ */

/* Both have read before either writes: one must fail, and try again. */
struct racer {
	pthread_barrier_t *barrier;
	unsigned calls;
	enum sqloom_status status;
	struct sqloom_error err;
};

static int add_one(struct sqloom_db *db, void *arg)
{
	struct racer *racer = arg;
	char *text = NULL, sql[80];

	if (sqloom_query(db, "SELECT a FROM counter", &text, NULL))
		return 1;
	snprintf(sql, sizeof(sql), "UPDATE counter SET a = %s + 1", text);
	sqloom_text_free(text);
	if (racer->calls++ == 0)
		pthread_barrier_wait(racer->barrier);
	return sqloom_exec(db, sql, NULL) ? 1 : 0;
}

static void *race(void *arg)
{
	struct racer *racer = arg;
	struct sqloom_atomic_options options;
	struct sqloom_db *db = NULL;

	sqloom_atomic_options_init(&options);
	options.isolation = "serializable";
	racer->status = sqloom_db_open(w.url, &db, &racer->err);
	if (!racer->status)
		racer->status = sqloom_retry(db, &options, 100,
					     (uintptr_t)racer, add_one, racer,
					     &racer->err);
	else
		pthread_barrier_wait(racer->barrier);
	sqloom_db_close(db, NULL);
	return NULL;
}

static void test_race(void **state)
{
	pthread_barrier_t barrier;
	struct racer racers[2];
	pthread_t threads[2];

	(void)state;
	exec("DROP TABLE IF EXISTS counter; CREATE TABLE counter AS SELECT 0 "
	     "AS a");
	assert_int_equal(pthread_barrier_init(&barrier, NULL, 2), 0);
	memset(racers, 0, sizeof(racers));
	for (int i = 0; i < 2; i++) {
		racers[i].barrier = &barrier;
		assert_int_equal(
			pthread_create(&threads[i], NULL, race, &racers[i]), 0);
	}
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	pthread_barrier_destroy(&barrier);
	for (int i = 0; i < 2; i++)
		if (racers[i].status)
			fail_msg("%s", racers[i].err.message);
	assert_true(racers[0].calls + racers[1].calls >= 3);
	assert_int_equal(ask(w.other, "SELECT a FROM counter"), 2);
	exec("DROP TABLE counter");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_waits),
		PG(test_codes),
		BOTH(test_raw),
		SQLITE(test_sqlite_busy),
		SQLITE(test_sqlite_snapshot),
		BOTH(test_hook_fails),
		BOTH(test_misuse),
		BOTH(test_race),
	};

	return cmocka_run_group_tests(tests, start_all, stop_all);
}
