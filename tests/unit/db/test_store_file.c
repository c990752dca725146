/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FILE store: real files, the unix VFS's own locks. Every lock call checks
 * in the store that the lock table agrees with the unix VFS, so random work is
 * a test by itself.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "store_help.h"

#define CONNECTIONS 3
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const statements[] = {
	"BEGIN",
	"BEGIN IMMEDIATE",
	"BEGIN EXCLUSIVE",
	"COMMIT",
	"COMMIT",
	"ROLLBACK",
	"SELECT count(*), sum(v) FROM t",
	"INSERT INTO t(v) VALUES (1)",
	"INSERT INTO t(v, pad) VALUES (2, hex(zeroblob(6000)))",
	"UPDATE t SET v = v + 1",
	"DELETE FROM t WHERE id > 4",
	"PRAGMA wal_checkpoint(TRUNCATE)",
	"PRAGMA journal_mode = wal",
	"PRAGMA journal_mode = delete",
	"PRAGMA locking_mode = exclusive",
	"PRAGMA locking_mode = normal",
};

/* The directory of the store's files: two levels above the main database. */
static void directory_of(const struct slm_store *store, char path[256])
{
	snprintf(path, 256, "%s", slm_store_main_path(store));
	*strrchr(path, '/') = '\0';
	*strrchr(path, '/') = '\0';
}

static void random_round(struct slm_store *store, struct slm_rng *rng)
{
	sqlite3 *dbs[CONNECTIONS];
	struct slm_buf buf;

	slm_buf_init(&buf);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		dbs[i] = open_owner(store, i);
	for (int step = 0; step < 60; step++) {
		unsigned i = (unsigned)slm_rng_below(rng, CONNECTIONS);

		slm_store_set_owner(store, i);
		run_sql(dbs[i],
			statements[slm_rng_below(rng, COUNT(statements))],
			&buf);
	}
	for (unsigned i = 0; i < CONNECTIONS; i++)
		assert_int_equal(sqlite3_close(dbs[i]), SQLITE_OK);
	slm_buf_deinit(&buf);
}

static void test_random_work(void **state)
{
	struct slm_store *store = new_store(SQLOOM_STORE_FILE, NULL);
	sqlite3 *a = open_owner(store, 0);
	struct slm_rng rng;
	char directory[256];

	(void)state;
	must(a, "PRAGMA journal_mode = wal; CREATE TABLE t(id INTEGER PRIMARY "
		"KEY, v, pad); INSERT INTO t(v) VALUES (1), (2)");
	/* Also while it is open: the -wal belongs to the snapshot. */
	take_snapshot(store);
	sqlite3_close(a);
	slm_rng_init(&rng, 5);
	for (int round = 0; round < 100; round++) {
		random_round(store, &rng);
		put_back(store);
		a = open_owner(store, 0);
		expect_rows(a,
			    "SELECT id, v FROM t; PRAGMA integrity_check;"
			    "PRAGMA journal_mode",
			    "1|1;2|2;ok;wal;");
		sqlite3_close(a);
	}
	assert_int_equal(slm_store_image(store), 0);
	directory_of(store, directory);
	assert_int_equal(access(directory, F_OK), 0);
	slm_store_free(store);
	assert_int_not_equal(access(directory, F_OK), 0);
}

static void test_open_connection(void **state)
{
	struct slm_store *store = new_store(SQLOOM_STORE_FILE, NULL);
	sqlite3 *a = open_owner(store, 0);
	struct sqloom_error err;

	(void)state;
	must(a, "CREATE TABLE t(v)");
	take_snapshot(store);
	assert_int_equal(slm_store_restore(store, &err), SQLOOM_UNSUPPORTED);
	assert_non_null(strstr(err.message, "main is still open"));
	sqlite3_close(a);
	put_back(store);
	slm_store_free(store);
}

struct waiting {
	struct slm_store *store;
	unsigned calls, ms;
	uint32_t blockers;
};

static void on_sleep(unsigned ms, void *userdata)
{
	struct waiting *waiting = userdata;

	waiting->calls++;
	waiting->ms += ms;
	waiting->blockers = slm_store_blockers(waiting->store,
					       slm_store_owner(waiting->store));
}

static void test_timeout(void **state)
{
	struct waiting waiting = { NULL };
	struct slm_store_hooks hooks = { .sleep = on_sleep,
					 .userdata = &waiting };
	struct slm_store *store = new_store(SQLOOM_STORE_FILE, &hooks);
	sqlite3 *a = open_owner(store, 0), *b = open_owner(store, 1);
	struct slm_buf buf;

	(void)state;
	waiting.store = store;
	slm_buf_init(&buf);
	must(b, "CREATE TABLE t(v); BEGIN IMMEDIATE");
	slm_store_set_owner(store, 0);
	sqlite3_busy_timeout(a, 5000);
	assert_int_equal(run_sql(a, "INSERT INTO t VALUES (1)", &buf),
			 SQLITE_BUSY);
	assert_int_equal(waiting.calls, 59);
	assert_int_equal(waiting.ms, 5000);
	assert_int_equal(waiting.blockers, 1 << 1);
	assert_string_equal(slm_store_wait_text(store, 0),
			    "the RESERVED lock on main");
	sqlite3_close(a);
	sqlite3_close(b);
	slm_store_free(store);
	slm_buf_deinit(&buf);
}

/* A seed and an attached file are copied, once, and never touched. */
static void test_files_elsewhere(void **state)
{
	struct slm_store *store = new_store(SQLOOM_STORE_FILE, NULL);
	char directory[64], path[128], sql[192];
	struct sqloom_error err;
	struct stat before, after;
	sqlite3 *a;

	(void)state;
	make_directory(directory);
	snprintf(path, sizeof(path), "%s/a.db", directory);
	a = open_vfs(path, "unix");
	must(a, "CREATE TABLE t(v); INSERT INTO t VALUES (7)");
	sqlite3_close(a);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(slm_store_seed(store, path, &err), SQLOOM_OK);
	snprintf(sql, sizeof(sql), "ATTACH '%s' AS d", path);
	take_snapshot(store);
	for (int i = 0; i < 3; i++) {
		a = open_owner(store, 0);
		must(a, sql);
		expect_rows(a, "SELECT * FROM main.t, d.t", "7|7;");
		must(a, "UPDATE main.t SET v = 8; UPDATE d.t SET v = 9");
		expect_rows(a, "SELECT * FROM main.t, d.t", "8|9;");
		sqlite3_close(a);
		put_back(store);
	}
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	assert_int_equal(before.st_size, after.st_size);
	assert_int_equal(count_files(directory), 1);
	slm_store_free(store);
	remove_directory(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_work),
		cmocka_unit_test(test_open_connection),
		cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_files_elsewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
