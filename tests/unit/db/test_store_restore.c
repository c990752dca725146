/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting the snapshot back under open connections. Workloads are sequences of
 * random statements that depend on their number only: whatever ran before, the
 * same workload must give the same results, the same contents and the same
 * image, and after a restore every connection must see the snapshot.
 */
#include "store_help.h"

#define CONNECTIONS 3
#define WORKLOADS 24
#define ROUNDS 600
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const statements[] = {
	"BEGIN",
	"BEGIN IMMEDIATE",
	"COMMIT",
	"COMMIT",
	"ROLLBACK",
	"SELECT count(*), sum(v) FROM t",
	"SELECT v FROM t WHERE id = 3",
	"INSERT INTO t(v) VALUES (1)",
	"INSERT INTO t(v, pad) VALUES (2, hex(zeroblob(6000)))",
	"UPDATE t SET v = v + 1 WHERE id <= 2",
	"UPDATE t SET v = v + 1",
	"UPDATE t SET pad = hex(zeroblob(2500)) WHERE id % 3 = 0",
	"DELETE FROM t WHERE id > 4",
	"DELETE FROM t",
	"INSERT INTO x.u SELECT count(*) + 1 FROM x.u",
	"SELECT count(*) FROM x.u",
	"PRAGMA wal_checkpoint",
	"PRAGMA wal_checkpoint(TRUNCATE)",
};

static const char *const changes_of_schema[] = {
	"CREATE TABLE y(a, b)",
	"CREATE TABLE y(c)",
	"CREATE INDEX t_v ON t(v)",
	"ALTER TABLE t ADD COLUMN w",
	"INSERT INTO y VALUES (1)",
	"INSERT INTO y VALUES (1, 2)",
	"SELECT * FROM y",
	"DROP TABLE t",
	"VACUUM",
};

#define CONTENTS                                                          \
	"SELECT name, sql FROM sqlite_schema ORDER BY 1;"                 \
	"SELECT id, v, length(pad) FROM t ORDER BY 1; SELECT * FROM x.u;" \
	"PRAGMA integrity_check; PRAGMA x.integrity_check"

struct world {
	struct slm_store *store;
	sqlite3 *dbs[CONNECTIONS];
	struct slm_buf buf;
	bool schema;		     /* workloads change the schema */
	char *snapshot;		     /* CONTENTS of it */
	uint64_t results[WORKLOADS]; /* 0: not run yet */
	uint64_t images[WORKLOADS];
};

static void run_as(struct world *world, uint64_t i, const char *sql)
{
	slm_store_set_owner(world->store, (unsigned)i);
	run_sql(world->dbs[i], sql, &world->buf);
}

static uint64_t run_workload(struct world *world, uint64_t number)
{
	uint64_t digest = 1;
	struct slm_rng rng;

	slm_rng_init(&rng, number);
	for (int i = 0; i < 25; i++) {
		uint64_t who = slm_rng_below(&rng, CONNECTIONS - number % 2);
		uint64_t what = slm_rng_below(&rng, COUNT(statements));
		const char *sql = statements[what];
		int rc;

		if (world->schema && slm_rng_below(&rng, 4) == 0)
			sql = changes_of_schema[what % COUNT(changes_of_schema)];
		slm_store_set_owner(world->store, (unsigned)who);
		rc = run_sql(world->dbs[who], sql, &world->buf);
		digest = slm_hash(world->buf.data, world->buf.size, digest);
		digest = slm_hash_mix(digest, (uint64_t)rc);
	}
	for (uint64_t i = 0; i < CONNECTIONS; i++) {
		if (!sqlite3_get_autocommit(world->dbs[i]))
			run_as(world, i, "ROLLBACK");
	}
	return digest;
}

/* What a connection remembers of the schema shows in its errors while another
 * keeps it from reading: so all of them read the snapshot's first. */
static void prime(struct world *world)
{
	for (uint64_t i = 0; i < CONNECTIONS; i++)
		run_as(world, i, "SELECT count(*) FROM sqlite_schema");
}

static void check_snapshot(struct world *world, struct slm_rng *rng)
{
	/* Not everybody looks every time: caches stay behind. */
	for (uint64_t i = 0; i < CONNECTIONS; i++) {
		if (slm_rng_below(rng, 2))
			continue;
		run_as(world, i, CONTENTS);
		assert_string_equal(world->buf.data, world->snapshot);
	}
}

/* Contents in words and in the image must go together. */
static void check_image(struct world *world, uint64_t number, uint64_t digest,
			int round)
{
	uint64_t image = slm_store_image(world->store);

	assert_int_not_equal(image, 0);
	run_as(world, 0, CONTENTS);
	digest = slm_hash(world->buf.data, world->buf.size, digest);
	if (world->results[number] == 0) {
		world->results[number] = digest;
		world->images[number] = image;
	}
	if (world->results[number] != digest || world->images[number] != image)
		fail_msg("round %d, workload %d: another result than before%s",
			 round, (int)number,
			 world->images[number] == image ? "" :
							  ", another image");
}

static void check_distinct(const struct world *world)
{
	unsigned same = 0;

	for (int i = 0; i < WORKLOADS; i++) {
		for (int j = 0; j < i; j++)
			same += world->images[i] == world->images[j];
	}
	/* Some workloads do change nothing. */
	assert_true(same < WORKLOADS);
}

static void open_world(struct world *world, const char *mode, bool schema)
{
	char sql[96];

	memset(world, 0, sizeof(*world));
	world->schema = schema;
	world->store = new_store(SQLOOM_STORE_MEMORY, NULL);
	slm_buf_init(&world->buf);
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		world->dbs[i] = open_owner(world->store, i);
		must(world->dbs[i], "ATTACH '/nowhere/x.db' AS x");
		must(world->dbs[i], "PRAGMA cache_size = 20");
		if (i > 0)
			continue;
		snprintf(sql, sizeof(sql),
			 "PRAGMA journal_mode = %s; "
			 "PRAGMA x.journal_mode = %s",
			 mode, mode);
		must(world->dbs[0], sql);
		must(world->dbs[0],
		     "CREATE TABLE t(id INTEGER PRIMARY KEY, v, pad);"
		     "CREATE TABLE x.u(n); "
		     "INSERT INTO t(v, pad) SELECT value, hex(zeroblob(700)) "
		     "FROM json_each('[1,2,3,4,5,6,7,8,9]')");
	}
	for (unsigned i = 0; i < CONNECTIONS; i++)
		run_as(world, i, CONTENTS);
	world->snapshot = slm_buf_take(&world->buf);
	assert_non_null(strstr(world->snapshot, "ok;ok;"));
	take_snapshot(world->store);
}

static void close_world(struct world *world)
{
	for (unsigned i = 0; i < CONNECTIONS; i++)
		assert_int_equal(sqlite3_close(world->dbs[i]), SQLITE_OK);
	slm_store_free(world->store);
	slm_buf_deinit(&world->buf);
	slm_free(world->snapshot);
}

static void many_rounds(const char *mode, bool schema)
{
	int64_t live = slm_alloc_live();
	struct world world;
	struct slm_rng rng;

	open_world(&world, mode, schema);
	slm_rng_init(&rng, 99);
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t number = slm_rng_below(&rng, WORKLOADS);
		uint64_t digest = run_workload(&world, number);

		if (slm_rng_below(&rng, 2))
			check_image(&world, number, digest, round);
		for (unsigned i = 0; i < CONNECTIONS; i++)
			assert_false(slm_store_holds(world.store, i));
		put_back(world.store);
		if (schema)
			prime(&world);
		check_snapshot(&world, &rng);
	}
	check_distinct(&world);
	close_world(&world);
	assert_int_equal(slm_alloc_live(), live);
}

static void test_delete(void **state)
{
	(void)state;
	many_rounds("delete", false);
}

static void test_truncate(void **state)
{
	(void)state;
	many_rounds("truncate", false);
}

static void test_persist(void **state)
{
	(void)state;
	many_rounds("persist", false);
}

static void test_wal(void **state)
{
	(void)state;
	many_rounds("wal", false);
}

static void test_delete_schema(void **state)
{
	(void)state;
	many_rounds("delete", true);
}

static void test_wal_schema(void **state)
{
	(void)state;
	many_rounds("wal", true);
}

/* ---- The stale-cache trap --------------------------------------------- */

/*
 * One connection changes the row in run 1 and keeps it in its cache. In run 2
 * only the other one works, and brings the change counter to the same number.
 * The first must not believe its cache.
 */
static void trap(const char *mode)
{
	struct slm_store *store = new_store(SQLOOM_STORE_MEMORY, NULL);
	sqlite3 *a = open_owner(store, 0), *b;
	char sql[64];

	snprintf(sql, sizeof(sql), "PRAGMA journal_mode = %s", mode);
	must(a, sql);
	must(a, "CREATE TABLE t(v); INSERT INTO t VALUES (0)");
	b = open_owner(store, 1);
	expect_rows(a, "SELECT v FROM t", "0;");
	expect_rows(b, "SELECT v FROM t", "0;");
	take_snapshot(store);
	slm_store_set_owner(store, 0);
	must(a, "UPDATE t SET v = 1");
	put_back(store);
	slm_store_set_owner(store, 1);
	must(b, "UPDATE t SET v = 2");
	slm_store_set_owner(store, 0);
	expect_rows(a, "SELECT v FROM t", "2;");
	put_back(store);
	expect_rows(a, "SELECT v FROM t", "0;");
	expect_rows(b, "SELECT v FROM t", "0;");
	sqlite3_close(a);
	sqlite3_close(b);
	slm_store_free(store);
}

static void test_stale_cache(void **state)
{
	(void)state;
	trap("delete");
	trap("wal");
}

/* The same for the schema: table y of run 1 is not table y of run 2. */
static void schema_trap(const char *mode, bool empty, bool checkpoint)
{
	struct slm_store *store = new_store(SQLOOM_STORE_MEMORY, NULL);
	sqlite3 *a = open_owner(store, 0), *b = open_owner(store, 1);
	char sql[64];

	snprintf(sql, sizeof(sql), "PRAGMA journal_mode = %s", mode);
	must(a, sql);
	if (!empty)
		must(a, "CREATE TABLE t(v); INSERT INTO t VALUES (0)");
	if (checkpoint)
		must(a, "PRAGMA wal_checkpoint(TRUNCATE)");
	expect_rows(b, "SELECT count(*) FROM sqlite_schema",
		    empty ? "0;" : "1;");
	take_snapshot(store);
	must(a, "CREATE TABLE y(one); INSERT INTO y VALUES (1)");
	put_back(store);
	must(b, "CREATE TABLE y(two, three); INSERT INTO y VALUES (2, 3)");
	expect_rows(a, "SELECT * FROM y", "2|3;");
	put_back(store);
	expect_rows(a, "SELECT count(*) FROM sqlite_schema",
		    empty ? "0;" : "1;");
	must(a, "CREATE TABLE z(four)");
	expect_rows(b, "SELECT name FROM sqlite_schema WHERE name <> 't'",
		    "z;");
	sqlite3_close(a);
	sqlite3_close(b);
	slm_store_free(store);
}

static void test_stale_schema(void **state)
{
	(void)state;
	schema_trap("delete", false, false);
	schema_trap("wal", false, false);
	schema_trap("wal", false, true);
	schema_trap("delete", true, false);
}

/* Closes like a program that was killed: the log stays as it is. */
static void drop(sqlite3 *db)
{
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* The cookie is moved inside the log; recovery must still find all of it. */
static void recovery(bool open)
{
	struct slm_store *store = new_store(SQLOOM_STORE_MEMORY, NULL);
	sqlite3 *a = open_owner(store, 0);
	const char *rows = "1|0;2|9;ok;";

	must(a, "PRAGMA journal_mode = wal;"
		"CREATE TABLE t(id INTEGER PRIMARY KEY, v);"
		"INSERT INTO t(v) VALUES (0); INSERT INTO t(v) VALUES (9)");
	if (!open)
		drop(a);
	take_snapshot(store);
	for (int i = 0; i < 4; i++) {
		if (!open)
			a = open_owner(store, 0);
		must(a, "CREATE TABLE y(one); DELETE FROM t");
		if (!open)
			drop(a);
		put_back(store);
		if (open)
			drop(a);
		a = open_owner(store, 0);
		expect_rows(a, "SELECT * FROM t; PRAGMA integrity_check", rows);
		if (!open)
			drop(a);
	}
	if (open)
		drop(a);
	slm_store_free(store);
}

static void test_recovery(void **state)
{
	(void)state;
	recovery(true);
	recovery(false);
}

/* ---- Details ---------------------------------------------------------- */

static void test_files_come_and_go(void **state)
{
	struct slm_store *store = new_store(SQLOOM_STORE_MEMORY, NULL);
	sqlite3 *a = open_owner(store, 0);

	(void)state;
	must(a, "CREATE TABLE t(v); INSERT INTO t VALUES (0)");
	take_snapshot(store);
	must(a, "ATTACH '/nowhere/new.db' AS n; CREATE TABLE n.t(v)");
	must(a, "DETACH n");
	put_back(store);
	must(a, "ATTACH '/nowhere/new.db' AS n");
	expect_rows(a, "SELECT count(*) FROM n.sqlite_schema", "0;");
	sqlite3_close(a);
	slm_store_free(store);
}

static void test_mode_change_is_refused(void **state)
{
	struct slm_store *store = new_store(SQLOOM_STORE_MEMORY, NULL);
	sqlite3 *a = open_owner(store, 0);
	struct sqloom_error err;

	(void)state;
	must(a, "CREATE TABLE t(v); INSERT INTO t VALUES (0)");
	take_snapshot(store);
	must(a, "PRAGMA journal_mode = wal; UPDATE t SET v = 1");
	assert_int_equal(slm_store_restore(store, &err), SQLOOM_UNSUPPORTED);
	assert_non_null(strstr(err.message, "journal mode of main"));
	sqlite3_close(a);
	put_back(store);
	a = open_owner(store, 0);
	expect_rows(a, "SELECT v FROM t; PRAGMA journal_mode", "0;delete;");
	sqlite3_close(a);
	slm_store_free(store);
}

/* The other way round the connection finds the WAL again by itself. */
static void test_mode_change_back(void **state)
{
	struct slm_store *store = new_store(SQLOOM_STORE_MEMORY, NULL);
	sqlite3 *a = open_owner(store, 0);

	(void)state;
	must(a, "PRAGMA journal_mode = wal; CREATE TABLE t(v);"
		"INSERT INTO t VALUES (0)");
	take_snapshot(store);
	for (int i = 0; i < 3; i++) {
		must(a, "PRAGMA journal_mode = delete; UPDATE t SET v = 1");
		put_back(store);
		expect_rows(a, "SELECT v FROM t; PRAGMA journal_mode",
			    "0;wal;");
	}
	sqlite3_close(a);
	slm_store_free(store);
}

/* Snapshot before anybody opened the WAL; and closing in between. */
static void test_wal_opened_later(void **state)
{
	struct slm_store *store = new_store(SQLOOM_STORE_MEMORY, NULL);
	sqlite3 *a = open_owner(store, 0);

	(void)state;
	must(a, "PRAGMA journal_mode = wal; CREATE TABLE t(v);"
		"INSERT INTO t VALUES (0)");
	sqlite3_close(a);
	take_snapshot(store);
	for (int i = 0; i < 6; i++) {
		if (i % 3 == 0)
			a = open_owner(store, 0);
		must(a, "UPDATE t SET v = v + 1");
		expect_rows(a, "SELECT v FROM t", "1;");
		if (i % 3 == 2)
			sqlite3_close(a);
		put_back(store);
	}
	slm_store_free(store);
}

/* The snapshot has a WAL open; all connections are closed and come again. */
static void test_wal_reopened(void **state)
{
	struct slm_store *store = new_store(SQLOOM_STORE_MEMORY, NULL);
	sqlite3 *a = open_owner(store, 0);

	(void)state;
	must(a, "PRAGMA journal_mode = wal; CREATE TABLE t(v);"
		"INSERT INTO t VALUES (0)");
	take_snapshot(store);
	for (int i = 0; i < 4; i++) {
		must(a, "UPDATE t SET v = v + 1");
		sqlite3_close(a);
		a = open_owner(store, 0);
		expect_rows(a, "SELECT v FROM t", "1;");
		must(a, "UPDATE t SET v = v + 1");
		put_back(store);
		expect_rows(a, "SELECT v FROM t; PRAGMA integrity_check",
			    "0;ok;");
	}
	sqlite3_close(a);
	slm_store_free(store);
}

static void test_no_growth(void **state)
{
	static const char *const modes[] = { "delete", "truncate", "persist",
					     "wal" };

	(void)state;
	for (size_t m = 0; m < COUNT(modes); m++) {
		struct slm_store *store = new_store(SQLOOM_STORE_MEMORY, NULL);
		sqlite3 *a = open_owner(store, 0);
		sqlite3_stmt *update = NULL;
		uint64_t allocations = 0;
		int64_t live = 0;
		char sql[64];

		snprintf(sql, sizeof(sql), "PRAGMA journal_mode = %s",
			 modes[m]);
		must(a, sql);
		must(a, "CREATE TABLE t(v); INSERT INTO t VALUES (0)");
		take_snapshot(store);
		sqlite3_prepare_v2(a, "UPDATE t SET v = v + 1", -1, &update,
				   NULL);
		for (int i = 0; i < (m % 3 ? 5000 : 100000); i++) {
			if (i == 10) {
				live = slm_alloc_live();
				slm_alloc_fail_from(0);
				allocations = slm_alloc_count();
			}
			assert_int_equal(sqlite3_step(update), SQLITE_DONE);
			sqlite3_reset(update);
			put_back(store);
		}
		assert_int_equal(slm_alloc_live(), live);
		assert_int_equal(slm_alloc_count(), allocations);
		sqlite3_finalize(update);
		sqlite3_close(a);
		slm_store_free(store);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stale_cache),
		cmocka_unit_test(test_stale_schema),
		cmocka_unit_test(test_recovery),
		cmocka_unit_test(test_files_come_and_go),
		cmocka_unit_test(test_mode_change_is_refused),
		cmocka_unit_test(test_mode_change_back),
		cmocka_unit_test(test_wal_opened_later),
		cmocka_unit_test(test_wal_reopened),
		cmocka_unit_test(test_no_growth),
		cmocka_unit_test(test_delete),
		cmocka_unit_test(test_truncate),
		cmocka_unit_test(test_persist),
		cmocka_unit_test(test_wal),
		cmocka_unit_test(test_delete_schema),
		cmocka_unit_test(test_wal_schema),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
