/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fault sweep over the SQLite store: the n-th I/O operation of a small
 * workload fails, for every n, once and for good; and every allocation of the
 * store's life in turn. SQLite may succeed or report an error; nothing may
 * crash, and after a restore everything is as in the snapshot.
 */
#include "../unit/db/store_help.h"

#define CONNECTIONS 2
#define N_MAX 2000 /* far more operations than a workload has */

struct world {
	struct slm_store *store;
	enum sqloom_store kind;
	sqlite3 *dbs[CONNECTIONS];
	struct slm_buf buf;
	int failures; /* statements that reported an error */
};

static const char *const workload[] = {
	"BEGIN",
	"SELECT sum(v) FROM t",
	"UPDATE t SET v = v + 1",
	"INSERT INTO t(v, pad) VALUES (3, hex(zeroblob(9000)))",
	"COMMIT",
	"DELETE FROM t WHERE v = 3",
	"BEGIN IMMEDIATE",
	"UPDATE t SET pad = hex(zeroblob(3000))",
	"ROLLBACK",
	"PRAGMA wal_checkpoint(TRUNCATE)",
	"SELECT count(*) FROM t",
};

#define STEPS (sizeof(workload) / sizeof(workload[0]))

static void open_all(struct world *world)
{
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		if (!world->dbs[i])
			world->dbs[i] = open_owner(world->store, i);
		must(world->dbs[i], "PRAGMA cache_size = 4");
	}
}

static void close_all(struct world *world)
{
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		sqlite3_close(world->dbs[i]);
		world->dbs[i] = NULL;
	}
}

static void run_workload(struct world *world)
{
	for (size_t i = 0; i < STEPS; i++) {
		for (unsigned c = 0; c < CONNECTIONS; c++) {
			slm_store_set_owner(world->store, c);
			if (run_sql(world->dbs[c], workload[i], &world->buf))
				world->failures++;
		}
	}
}

/* Ends what the faults left open. */
static void clean_up(struct world *world)
{
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		slm_store_set_owner(world->store, i);
		if (!sqlite3_get_autocommit(world->dbs[i]))
			run_sql(world->dbs[i], "ROLLBACK", &world->buf);
	}
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		if (!slm_store_holds(world->store, i))
			continue;
		sqlite3_close(world->dbs[i]);
		world->dbs[i] = NULL;
	}
}

static void restore_and_check(struct world *world)
{
	clean_up(world);
	if (world->kind == SQLOOM_STORE_FILE)
		close_all(world);
	put_back(world->store);
	open_all(world);
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		slm_store_set_owner(world->store, i);
		expect_rows(world->dbs[i],
			    "SELECT id, v FROM t; PRAGMA integrity_check",
			    "1|1;2|2;ok;");
	}
}

static void open_world(struct world *world, enum sqloom_store kind,
		       const char *mode)
{
	char sql[64];

	memset(world, 0, sizeof(*world));
	world->kind = kind;
	world->store = new_store(kind, NULL);
	slm_buf_init(&world->buf);
	open_all(world);
	snprintf(sql, sizeof(sql), "PRAGMA journal_mode = %s", mode);
	must(world->dbs[0], sql);
	must(world->dbs[0], "CREATE TABLE t(id INTEGER PRIMARY KEY, v, pad);"
			    "INSERT INTO t(v) VALUES (1), (2)");
	must(world->dbs[1], "SELECT * FROM t");
	take_snapshot(world->store);
}

static void close_world(struct world *world)
{
	close_all(world);
	slm_store_free(world->store);
	slm_buf_deinit(&world->buf);
}

/* Fails operation 1, 2, ... until the workload ends before it. */
static void sweep(enum sqloom_store kind, const char *mode, int code,
		  bool sticky)
{
	struct world world;
	uint64_t n = 0, used;

	open_world(&world, kind, mode);
	do {
		uint64_t before = slm_store_operations(world.store);

		n++;
		slm_store_fail_at(world.store, n, code, sticky);
		run_workload(&world);
		slm_store_fail_at(world.store, 0, 0, false);
		used = slm_store_operations(world.store) - before;
		restore_and_check(&world);
	} while (n <= used && n < N_MAX);
	assert_true(n > 50 && n < N_MAX);
	assert_true(world.failures > 20);
	close_world(&world);
}

static void sweep_modes(enum sqloom_store kind, int code, bool sticky)
{
	sweep(kind, "delete", code, sticky);
	sweep(kind, "truncate", code, sticky);
	sweep(kind, "persist", code, sticky);
	sweep(kind, "wal", code, sticky);
}

static void test_once(void **state)
{
	(void)state;
	sweep_modes(SQLOOM_STORE_MEMORY, SQLITE_IOERR_READ, false);
	sweep_modes(SQLOOM_STORE_MEMORY, SQLITE_FULL, false);
	sweep_modes(SQLOOM_STORE_MEMORY, SQLITE_IOERR_NOMEM, false);
}

static void test_for_good(void **state)
{
	(void)state;
	sweep_modes(SQLOOM_STORE_MEMORY, SQLITE_IOERR_WRITE, true);
	sweep_modes(SQLOOM_STORE_MEMORY, SQLITE_FULL, true);
}

static void test_files(void **state)
{
	(void)state;
	sweep_modes(SQLOOM_STORE_FILE, SQLITE_IOERR_WRITE, false);
	sweep_modes(SQLOOM_STORE_FILE, SQLITE_FULL, true);
}

/* ---- Allocations ------------------------------------------------------ */

/* The life of a store. Returns false if anything in it failed. */
static bool live_once(enum sqloom_store kind, const char *seed)
{
	struct slm_store *store = NULL;
	struct sqloom_error err;
	bool ok = slm_store_new(kind, NULL, &store, &err) == SQLOOM_OK;
	sqlite3 *db = NULL;

	if (!ok) {
		assert_int_equal(err.status, SQLOOM_NOMEM);
		return false;
	}
	slm_store_set_owner(store, 0);
	ok = slm_store_seed(store, seed, &err) == SQLOOM_OK;
	ok = ok && sqlite3_open_v2(slm_store_main_path(store), &db,
				   SQLITE_OPEN_READWRITE,
				   slm_store_vfs(store)) == SQLITE_OK;
	ok = ok &&
	     sqlite3_exec(db, "SELECT * FROM t", NULL, NULL, NULL) == SQLITE_OK;
	ok = ok && slm_store_snapshot(store, &err) == SQLOOM_OK;
	ok = ok && sqlite3_exec(db,
				"PRAGMA journal_mode = wal; UPDATE t SET v = 1;"
				"INSERT INTO t SELECT zeroblob(30000)",
				NULL, NULL, NULL) == SQLITE_OK;
	if (ok)
		slm_store_image(store);
	sqlite3_close(db);
	if (ok)
		ok = slm_store_restore(store, &err) == SQLOOM_OK;
	slm_store_free(store);
	return ok;
}

static void allocations(enum sqloom_store kind)
{
	char directory[64], path[128];
	int64_t live;
	uint64_t n = 0;
	sqlite3 *db;
	bool ok;

	make_directory(directory);
	snprintf(path, sizeof(path), "%s/a.db", directory);
	db = open_vfs(path, "unix");
	must(db, "CREATE TABLE t(v); INSERT INTO t VALUES (7)");
	sqlite3_close(db);
	assert_true(live_once(kind, path));
	live = slm_alloc_live();
	do {
		slm_alloc_fail_from(++n);
		ok = live_once(kind, path);
		slm_alloc_fail_from(0);
		assert_int_equal(slm_alloc_live(), live);
	} while (!ok && n < N_MAX);
	assert_true(n > 5 && n < N_MAX);
	assert_int_equal(count_files(directory), 1);
	remove_directory(directory);
}

static void test_allocations(void **state)
{
	(void)state;
	allocations(SQLOOM_STORE_MEMORY);
	allocations(SQLOOM_STORE_FILE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_for_good),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_allocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
