/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MEMORY store against SQLite's unix VFS on real files: the same random
 * work on both must give the same results, step by step. First on the level of
 * the lock methods, then on the level of statements of several connections.
 */
#include "store_help.h"

#define HANDLES 3
#define CONNECTIONS 3

/* ---- Lock methods ----------------------------------------------------- */

struct file {
	sqlite3_vfs *vfs;
	const char *name;
	sqlite3_file *handles[HANDLES];
	bool mapped[HANDLES];
};

static void open_file(struct file *file, const char *vfs, const char *path)
{
	file->vfs = sqlite3_vfs_find(vfs);
	assert_non_null(file->vfs);
	file->name = sqlite3_create_filename(path, "", "", 0, NULL);
	for (int i = 0; i < HANDLES; i++) {
		int flags = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE |
			    SQLITE_OPEN_CREATE;

		file->handles[i] = calloc(1, (size_t)file->vfs->szOsFile);
		assert_int_equal(file->vfs->xOpen(file->vfs, file->name,
						  file->handles[i], flags,
						  &flags),
				 SQLITE_OK);
		file->mapped[i] = false;
	}
}

static void close_file(struct file *file)
{
	for (int i = 0; i < HANDLES; i++) {
		sqlite3_file *handle = file->handles[i];

		if (file->mapped[i])
			handle->pMethods->xShmUnmap(handle, 0);
		handle->pMethods->xUnlock(handle, SQLITE_LOCK_NONE);
		handle->pMethods->xClose(handle);
		free(handle);
	}
	sqlite3_free_filename(file->name);
}

static int level_of(sqlite3_file *handle)
{
	int level = -1;

	handle->pMethods->xFileControl(handle, SQLITE_FCNTL_LOCKSTATE, &level);
	return level;
}

/* What a pager may ask for at this level; NONE: nothing. */
static int next_level(int level, uint64_t choice)
{
	if (level == SQLITE_LOCK_NONE)
		return SQLITE_LOCK_SHARED;
	if (level == SQLITE_LOCK_SHARED)
		return choice & 3 ? SQLITE_LOCK_RESERVED :
				    SQLITE_LOCK_EXCLUSIVE;
	return level < SQLITE_LOCK_EXCLUSIVE ? SQLITE_LOCK_EXCLUSIVE :
					       SQLITE_LOCK_NONE;
}

static void lock_step(struct file files[2], struct slm_rng *rng)
{
	uint64_t i = slm_rng_below(rng, HANDLES);
	uint64_t what = slm_rng_below(rng, 10), choice = slm_rng_next(rng);
	int rc[2], reserved[2] = { -1, -1 };

	for (int f = 0; f < 2; f++) {
		sqlite3_file *handle = files[f].handles[i];
		int level = level_of(handle);

		if (what < 6 && next_level(level, choice))
			rc[f] = handle->pMethods->xLock(
				handle, next_level(level, choice));
		else if (what < 9)
			rc[f] = handle->pMethods->xUnlock(
				handle, choice & 1 ? SQLITE_LOCK_NONE :
						     SQLITE_LOCK_SHARED);
		else
			rc[f] = handle->pMethods->xCheckReservedLock(
				handle, &reserved[f]);
	}
	assert_int_equal(rc[0], rc[1]);
	assert_int_equal(!!reserved[0], !!reserved[1]);
	for (int h = 0; h < HANDLES; h++)
		assert_int_equal(level_of(files[0].handles[h]),
				 level_of(files[1].handles[h]));
}

/* Opens the same file in the store and on the disk. */
static struct slm_store *open_both(struct file files[2], char directory[64])
{
	struct slm_store *store = new_store(SQLOOM_STORE_MEMORY, NULL);
	char path[128];

	make_directory(directory);
	snprintf(path, sizeof(path), "%s/a.db", directory);
	open_file(&files[0], slm_store_vfs(store), slm_store_main_path(store));
	open_file(&files[1], "unix", path);
	return store;
}

static void close_both(struct slm_store *store, struct file files[2],
		       const char *directory)
{
	close_file(&files[0]);
	close_file(&files[1]);
	slm_store_free(store);
	remove_directory(directory);
}

static void test_file_locks(void **state)
{
	struct file files[2];
	struct slm_rng rng;
	char directory[64];
	struct slm_store *store = open_both(files, directory);

	(void)state;
	slm_rng_init(&rng, 7);
	for (int i = 0; i < 60000; i++)
		lock_step(files, &rng);
	close_both(store, files, directory);
}

/* Which slots each handle holds, as the test knows it. */
struct slots {
	uint8_t shared[HANDLES];
	uint8_t exclusive[HANDLES];
};

static int slot_call(struct file files[2], uint64_t i, int first, int count,
		     int flags)
{
	int rc[2];

	for (int f = 0; f < 2; f++) {
		sqlite3_file *handle = files[f].handles[i];

		rc[f] = handle->pMethods->xShmLock(handle, first, count, flags);
	}
	assert_int_equal(rc[0], rc[1]);
	return rc[0];
}

static void slot_step(struct file files[2], struct slots *slots,
		      struct slm_rng *rng)
{
	uint64_t i = slm_rng_below(rng, HANDLES);
	int first = (int)slm_rng_below(rng, 8);
	int count = 1 + (int)slm_rng_below(rng, (uint64_t)(8 - first));
	bool exclusive = slm_rng_below(rng, 2);
	uint8_t mask;

	if (!exclusive)
		count = 1;
	mask = (uint8_t)(((1u << count) - 1) << first);
	if (slots->shared[i] & 1 << first) {
		slot_call(files, i, first, 1,
			  SQLITE_SHM_UNLOCK | SQLITE_SHM_SHARED);
		slots->shared[i] &= (uint8_t) ~(1 << first);
	} else if (slots->exclusive[i] & 1 << first) {
		slot_call(files, i, first, 1,
			  SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
		slots->exclusive[i] &= (uint8_t) ~(1 << first);
	} else if (!((slots->shared[i] | slots->exclusive[i]) & mask) &&
		   slot_call(files, i, first, count,
			     SQLITE_SHM_LOCK |
				     (exclusive ? SQLITE_SHM_EXCLUSIVE :
						  SQLITE_SHM_SHARED)) ==
			   SQLITE_OK) {
		(exclusive ? slots->exclusive : slots->shared)[i] |= mask;
	}
}

static void map_all(struct file *file)
{
	for (int i = 0; i < HANDLES; i++) {
		sqlite3_file *handle = file->handles[i];
		void volatile *region = (void volatile *)1;

		/* Not there yet and not asked to be made. */
		if (i == 0) {
			assert_int_equal(handle->pMethods->xShmMap(
						 handle, 0, 32768, 0, &region),
					 SQLITE_OK);
			assert_null((void *)region);
		}
		assert_int_equal(handle->pMethods->xShmMap(handle, 0, 32768, 1,
							   &region),
				 SQLITE_OK);
		assert_non_null((void *)region);
		file->mapped[i] = true;
	}
}

static void test_index_locks(void **state)
{
	struct file files[2];
	struct slots slots = { 0 };
	struct slm_rng rng;
	char directory[64];
	struct slm_store *store = open_both(files, directory);

	(void)state;
	slm_rng_init(&rng, 11);
	map_all(&files[0]);
	map_all(&files[1]);
	for (int i = 0; i < 60000; i++)
		slot_step(files, &slots, &rng);
	close_both(store, files, directory);
}

static void test_device(void **state)
{
	struct file files[2];
	char directory[64];
	struct slm_store *store = open_both(files, directory);
	sqlite3_file *ours = files[0].handles[0];
	sqlite3_file *theirs = files[1].handles[0];

	(void)state;
	assert_int_equal(ours->pMethods->xSectorSize(ours),
			 theirs->pMethods->xSectorSize(theirs));
	assert_int_equal(ours->pMethods->xDeviceCharacteristics(ours),
			 theirs->pMethods->xDeviceCharacteristics(theirs));
	close_both(store, files, directory);
}

/* ---- Statements ------------------------------------------------------- */

static const char *const statements[] = {
	"BEGIN",
	"BEGIN",
	"BEGIN IMMEDIATE",
	"BEGIN EXCLUSIVE",
	"COMMIT",
	"COMMIT",
	"COMMIT",
	"ROLLBACK",
	"SELECT * FROM t ORDER BY id",
	"SELECT count(*), sum(v) FROM t",
	"SELECT v FROM t WHERE id = 3",
	"INSERT INTO t(v) VALUES (1)",
	"INSERT INTO t(v, pad) VALUES (2, hex(zeroblob(3000)))",
	"INSERT INTO t(id, v) VALUES (3, 3)",
	"UPDATE t SET v = v + 1 WHERE id <= 2",
	"UPDATE t SET v = v + 1",
	"DELETE FROM t WHERE id > 5",
	"DELETE FROM t WHERE id = 3",
	"SAVEPOINT s",
	"ROLLBACK TO s",
	"RELEASE s",
	"INSERT INTO x.u SELECT coalesce(max(v), 0) + 1 FROM x.u",
	"SELECT count(*), max(v) FROM x.u",
	"PRAGMA user_version = 5",
	"PRAGMA user_version",
	"CREATE TABLE IF NOT EXISTS extra(a)",
	"INSERT INTO extra VALUES (1)",
	"DROP TABLE IF EXISTS extra",
};

static const char *const rare[] = {
	"PRAGMA journal_mode = delete",
	"PRAGMA journal_mode = truncate",
	"PRAGMA journal_mode = persist",
	"PRAGMA journal_mode = wal",
	"PRAGMA main.journal_mode = memory",
	"PRAGMA wal_checkpoint",
	"PRAGMA wal_checkpoint(FULL)",
	"PRAGMA wal_checkpoint(RESTART)",
	"PRAGMA wal_checkpoint(TRUNCATE)",
	"PRAGMA wal_autocheckpoint = 4",
	"PRAGMA locking_mode = normal",
	"PRAGMA locking_mode = exclusive",
	"PRAGMA cache_size = 5",
	"PRAGMA cache_spill = 3",
	"PRAGMA integrity_check",
	"PRAGMA mmap_size",
	"PRAGMA mmap_size = 0",
	"PRAGMA synchronous = full",
	"PRAGMA incremental_vacuum",
	"VACUUM",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The unix VFS with a sleep that does not: a reader of a WAL that another has
 * locked for good retries for ten seconds. */
static int no_sleep(sqlite3_vfs *vfs, int us)
{
	(void)vfs;
	return us;
}

static void register_sleepless(void)
{
	static sqlite3_vfs vfs;

	if (vfs.zName)
		return;
	vfs = *sqlite3_vfs_find("unix");
	vfs.pNext = NULL;
	vfs.zName = "unix-sleepless";
	vfs.xSleep = no_sleep;
	assert_int_equal(sqlite3_vfs_register(&vfs, 0), SQLITE_OK);
}

struct world {
	const char *vfs;
	char main[128], attached[128];
	sqlite3 *dbs[CONNECTIONS];
	sqlite3_stmt *cursors[CONNECTIONS];
	struct slm_buf buf;
	int rc;
};

static void open_connection(struct world *world, uint64_t i)
{
	char sql[256];

	world->dbs[i] = open_vfs(world->main, world->vfs);
	snprintf(sql, sizeof(sql), "ATTACH '%s' AS x", world->attached);
	world->rc = run_sql(world->dbs[i], sql, &world->buf);
}

static void close_connection(struct world *world, uint64_t i)
{
	sqlite3_finalize(world->cursors[i]);
	world->cursors[i] = NULL;
	assert_int_equal(sqlite3_close(world->dbs[i]), SQLITE_OK);
	world->dbs[i] = NULL;
}

static void open_world(struct world *world, const char *vfs, const char *main,
		       const char *attached, const char *mode)
{
	char sql[128];

	memset(world, 0, sizeof(*world));
	world->vfs = vfs;
	snprintf(world->main, sizeof(world->main), "%s", main);
	snprintf(world->attached, sizeof(world->attached), "%s", attached);
	open_connection(world, 0);
	snprintf(sql, sizeof(sql), "PRAGMA journal_mode = %s", mode);
	must(world->dbs[0], sql);
	must(world->dbs[0],
	     "CREATE TABLE t(id INTEGER PRIMARY KEY, v, pad);"
	     "CREATE TABLE x.u(v); INSERT INTO t(v) VALUES (1), (2), (3)");
	for (uint64_t i = 1; i < CONNECTIONS; i++)
		open_connection(world, i);
}

/* A cursor that stays open keeps its SHARED lock. */
static int use_cursor(struct world *world, uint64_t i)
{
	int rc;

	if (world->cursors[i]) {
		rc = sqlite3_finalize(world->cursors[i]);
		world->cursors[i] = NULL;
		return rc;
	}
	rc = sqlite3_prepare_v2(world->dbs[i], "SELECT id FROM t", -1,
				&world->cursors[i], NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(world->cursors[i]);
	return rc;
}

static void world_step(struct world *world, uint64_t i, uint64_t what,
		       const char *sql)
{
	slm_buf_clear(&world->buf);
	slm_buf_puts(&world->buf, "");
	if (what < 2) {
		close_connection(world, i);
		open_connection(world, i);
	} else if (what < 20) {
		world->rc = use_cursor(world, i);
	} else {
		world->rc = run_sql(world->dbs[i], sql, &world->buf);
	}
}

static int connection_level(sqlite3 *db, const char *schema)
{
	int level = -1;

	sqlite3_file_control(db, schema, SQLITE_FCNTL_LOCKSTATE, &level);
	return level;
}

static void compare(struct world worlds[2], int step, const char *sql)
{
	if (worlds[0].rc != worlds[1].rc ||
	    strcmp(worlds[0].buf.data, worlds[1].buf.data) != 0)
		fail_msg("step %d, %s: %d %s; with real files %d %s", step, sql,
			 worlds[0].rc, worlds[0].buf.data, worlds[1].rc,
			 worlds[1].buf.data);
	for (int i = 0; i < CONNECTIONS; i++) {
		const char *const schemas[] = { "main", "x" };

		for (int s = 0; s < 2; s++) {
			int ours =
				connection_level(worlds[0].dbs[i], schemas[s]);
			int theirs =
				connection_level(worlds[1].dbs[i], schemas[s]);

			if (ours != theirs)
				fail_msg("step %d, %s: %s of %d has lock %d, "
					 "with real files %d",
					 step, sql, schemas[s], i, ours,
					 theirs);
		}
	}
}

static void random_work(const char *mode, uint64_t seed, int steps,
			int *refused)
{
	struct slm_store *store = new_store(SQLOOM_STORE_MEMORY, NULL);
	struct world worlds[2];
	struct slm_rng rng;
	char directory[64], path[128], other[128];

	make_directory(directory);
	slm_store_set_owner(store, 0);
	open_world(&worlds[0], slm_store_vfs(store), slm_store_main_path(store),
		   "/nowhere/attached.db", mode);
	snprintf(path, sizeof(path), "%s/a.db", directory);
	snprintf(other, sizeof(other), "%s/b.db", directory);
	open_world(&worlds[1], "unix-sleepless", path, other, mode);
	slm_rng_init(&rng, seed);
	for (int step = 0; step < steps; step++) {
		uint64_t i = slm_rng_below(&rng, CONNECTIONS);
		uint64_t what = slm_rng_below(&rng, 200);
		const char *sql =
			what < 185 ?
				statements[slm_rng_below(&rng,
							 COUNT(statements))] :
				rare[slm_rng_below(&rng, COUNT(rare))];

		world_step(&worlds[0], i, what, sql);
		world_step(&worlds[1], i, what, sql);
		compare(worlds, step, sql);
		*refused += (worlds[0].rc & 0xff) == SQLITE_BUSY;
	}
	for (int w = 0; w < 2; w++) {
		for (uint64_t i = 0; i < CONNECTIONS; i++)
			close_connection(&worlds[w], i);
		slm_buf_deinit(&worlds[w].buf);
	}
	slm_store_free(store);
	remove_directory(directory);
}

static void test_statements(void **state)
{
	static const char *const modes[] = { "delete", "truncate", "persist",
					     "wal" };
	int refused = 0;

	(void)state;
	register_sleepless();
	for (uint64_t seed = 1; seed <= 12; seed++)
		random_work(modes[seed % COUNT(modes)], seed, 2500, &refused);
	/* The comparison is worth something only if much was refused. */
	assert_true(refused > 3000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file_locks),
		cmocka_unit_test(test_index_locks),
		cmocka_unit_test(test_device),
		cmocka_unit_test(test_statements),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
