/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front: files that are not routed are as they always were; routed ones
 * are in the store and nowhere else, under each of their names, from any
 * thread, with their owners, sleeps and clock.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "db/sqlite_front.h"
#include "store_help.h"

struct scene {
	char directory[64];
	char path[128]; /* of the routed database, which is not on the disk */
	struct slm_store *store;
	struct slm_front_route *route;
	sqlite3 *a, *b; /* connections of the program's */
	/* What the sleep hook saw and does. */
	unsigned calls, owner, ms;
	unsigned commit_at; /* at this call b commits */
};

static sqlite3 *open_default(const char *path)
{
	return open_vfs(path, NULL);
}

static void on_sleep(unsigned owner, unsigned ms, void *userdata)
{
	struct scene *scene = userdata;

	scene->calls++;
	scene->owner = owner;
	scene->ms += ms;
	/* The route is not locked. */
	slm_front_lock(scene->route);
	slm_store_pass(scene->store, ms);
	assert_true(slm_store_waits(scene->store, owner) ||
		    owner == SLM_STORE_NOBODY);
	assert_int_equal(slm_store_owner(scene->store), owner);
	slm_front_unlock(scene->route);
	if (scene->calls == scene->commit_at)
		must(scene->b, "COMMIT");
}

static void add_route(struct scene *scene, bool owners, bool hook)
{
	struct slm_front_options options = {
		.path = scene->path,
		.store = scene->store,
		.owners = owners,
		.sleep = hook ? on_sleep : NULL,
		.userdata = scene,
	};
	struct sqloom_error err;

	if (slm_front_add(&options, &scene->route, &err) != SQLOOM_OK)
		fail_msg("%s", err.message);
}

static void begin_scene(struct scene *scene, bool owners, bool hook)
{
	memset(scene, 0, sizeof(*scene));
	make_directory(scene->directory);
	snprintf(scene->path, sizeof(scene->path), "%s/app.db",
		 scene->directory);
	scene->store = new_store(SQLOOM_STORE_MEMORY, NULL);
	add_route(scene, owners, hook);
}

static void open_both(struct scene *scene, const char *mode)
{
	char sql[64];

	scene->a = open_default(scene->path);
	snprintf(sql, sizeof(sql), "PRAGMA journal_mode = %s", mode);
	must(scene->a, sql);
	must(scene->a, "CREATE TABLE t(v); INSERT INTO t VALUES (0)");
	scene->b = open_default(scene->path);
	expect_rows(scene->b, "SELECT v FROM t", "0;");
}

static void end_scene(struct scene *scene)
{
	unsigned open = 99;

	sqlite3_close(scene->a);
	sqlite3_close(scene->b);
	slm_front_remove(scene->route, &open);
	assert_int_equal(open, 0);
	slm_store_free(scene->store);
	assert_int_equal(count_files(scene->directory), 0);
	remove_directory(scene->directory);
}

/* ---- Where files are --------------------------------------------------- */

static void test_stands_before_the_system(void **state)
{
	sqlite3_vfs *system = slm_front_system();
	sqlite3_vfs *front = sqlite3_vfs_find("unix");

	(void)state;
	assert_ptr_not_equal(front, system);
	assert_ptr_equal(front, sqlite3_vfs_find(NULL));
	assert_int_equal(front->iVersion, system->iVersion);
	assert_int_equal(front->mxPathname, system->mxPathname);
	assert_string_equal(front->zName, "unix");
	assert_int_equal(slm_front_install(NULL), SQLOOM_OK);
	assert_ptr_equal(front, sqlite3_vfs_find(NULL));
	assert_ptr_equal(system, slm_front_system());
}

static void test_again_after_a_shutdown(void **state)
{
	sqlite3_vfs *front = sqlite3_vfs_find(NULL);

	(void)state;
	assert_int_equal(sqlite3_shutdown(), SQLITE_OK);
	assert_int_equal(sqlite3_initialize(), SQLITE_OK);
	assert_ptr_not_equal(sqlite3_vfs_find(NULL), front);
	assert_int_equal(slm_front_install(NULL), SQLOOM_OK);
	assert_ptr_equal(sqlite3_vfs_find(NULL), front);
	assert_ptr_equal(sqlite3_vfs_find("unix"), front);
}

static void test_default_of_the_program(void **state)
{
	sqlite3_vfs own = *slm_front_system();

	(void)state;
	own.zName = "own";
	assert_int_equal(sqlite3_vfs_register(&own, 1), SQLITE_OK);
	sqlite3_shutdown();
	sqlite3_initialize();
	sqlite3_vfs_register(&own, 1);
	assert_int_equal(slm_front_install(NULL), SQLOOM_OK);
	assert_ptr_equal(sqlite3_vfs_find(NULL), &own);
	assert_ptr_not_equal(sqlite3_vfs_find("unix"), slm_front_system());
	sqlite3_vfs_unregister(&own);
	/* What others see from here on. */
	sqlite3_vfs_register(sqlite3_vfs_find("unix"), 1);
}

static void test_not_routed(void **state)
{
	struct scene scene;
	char path[128];
	struct stat info;
	sqlite3 *db;

	(void)state;
	begin_scene(&scene, true, false);
	snprintf(path, sizeof(path), "%s/other.db", scene.directory);
	for (int i = 0; i < 2; i++) {
		db = open_default(path);
		must(db, i ? "PRAGMA journal_mode = WAL" : "SELECT 1");
		must(db, "CREATE TABLE IF NOT EXISTS t(v)");
		must(db, "INSERT INTO t VALUES (7)");
		assert_int_equal(slm_front_owner(scene.route, db), -1);
		assert_int_equal(slm_front_count(scene.route), 0);
		sqlite3_close(db);
		assert_int_equal(stat(path, &info), 0);
		assert_true(info.st_size > 0);
	}
	unlink(path);
	end_scene(&scene);
}

static void in_store_only(const char *mode)
{
	struct scene scene;

	begin_scene(&scene, true, false);
	open_both(&scene, mode);
	must(scene.b, "BEGIN IMMEDIATE; UPDATE t SET v = v + 1");
	assert_int_equal(count_files(scene.directory), 0);
	expect_rows(scene.a, "SELECT v FROM t", "0;");
	must(scene.b, "COMMIT");
	expect_rows(scene.a, "SELECT v FROM t", "1;");
	expect_rows(scene.a, "PRAGMA journal_mode",
		    *mode == 'w' ? "wal;" : "delete;");
	expect_rows(scene.a, "PRAGMA integrity_check", "ok;");
	must(scene.a, "VACUUM");
	assert_int_equal(count_files(scene.directory), 0);
	/* The store itself says the same. */
	sqlite3 *admin = open_vfs(slm_store_main_path(scene.store),
				  slm_store_vfs(scene.store));
	expect_rows(admin, "SELECT v FROM t", "1;");
	sqlite3_close(admin);
	end_scene(&scene);
}

static void test_routed_rollback(void **state)
{
	(void)state;
	in_store_only("delete");
}

static void test_routed_wal(void **state)
{
	(void)state;
	in_store_only("wal");
}

/* A file on the disk that is routed is neither read nor written. */
static void test_file_on_disk_is_untouched(void **state)
{
	struct scene scene;
	struct stat before, after;
	sqlite3 *db;

	(void)state;
	begin_scene(&scene, true, false);
	slm_front_remove(scene.route, NULL);
	db = open_default(scene.path);
	must(db, "CREATE TABLE real(v)");
	sqlite3_close(db);
	assert_int_equal(stat(scene.path, &before), 0);
	add_route(&scene, true, false);
	open_both(&scene, "delete");
	must(scene.a, "CREATE TABLE real(v, w)");
	assert_int_equal(stat(scene.path, &after), 0);
	assert_int_equal(before.st_size, after.st_size);
	assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	assert_int_equal(count_files(scene.directory), 1);
	unlink(scene.path);
	end_scene(&scene);
}

static void sees_it(const struct scene *scene, const char *path)
{
	sqlite3 *db = open_default(path);

	expect_rows(db, "SELECT v FROM t", "0;");
	assert_true(slm_front_owner(scene->route, db) >= 0);
	must(db, "BEGIN IMMEDIATE; UPDATE t SET v = 9; ROLLBACK");
	sqlite3_close(db);
}

/* Other paths of a file that is not there. */
static void test_names_without_a_file(void **state)
{
	struct scene scene;
	char path[200], link[128], here[512];

	(void)state;
	begin_scene(&scene, true, false);
	open_both(&scene, "delete");
	snprintf(link, sizeof(link), "%s-link", scene.directory);
	assert_int_equal(symlink(scene.directory, link), 0);
	snprintf(path, sizeof(path), "%s/app.db", link);
	sees_it(&scene, path);
	snprintf(path, sizeof(path), "%s/./../%s/app.db", scene.directory,
		 strrchr(scene.directory, '/') + 1);
	sees_it(&scene, path);
	assert_non_null(getcwd(here, sizeof(here)));
	assert_int_equal(chdir(scene.directory), 0);
	sees_it(&scene, "app.db");
	assert_int_equal(chdir(here), 0);
	unlink(link);
	end_scene(&scene);
}

/* ... and of one that is. */
static void test_names_of_a_file(void **state)
{
	struct scene scene;
	char path[200];

	(void)state;
	begin_scene(&scene, true, false);
	open_both(&scene, "delete");
	close(open(scene.path, O_CREAT | O_RDWR, 0600));
	sees_it(&scene, scene.path);
	snprintf(path, sizeof(path), "%s/soft", scene.directory);
	assert_int_equal(symlink("app.db", path), 0);
	sees_it(&scene, path);
	unlink(path);
	snprintf(path, sizeof(path), "%s/hard", scene.directory);
	assert_int_equal(link(scene.path, path), 0);
	sees_it(&scene, path);
	unlink(path);
	unlink(scene.path);
	end_scene(&scene);
}

/* A URI, and a journal that is hot because its owner is gone. */
static void test_uri_and_attach(void **state)
{
	struct scene scene;
	char uri[200];
	sqlite3 *db = NULL;

	(void)state;
	begin_scene(&scene, true, false);
	open_both(&scene, "delete");
	snprintf(uri, sizeof(uri), "file:%s?mode=rw&psow=0", scene.path);
	assert_int_equal(
		sqlite3_open_v2(uri, &db,
				SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI, NULL),
		SQLITE_OK);
	expect_rows(db, "SELECT v FROM t", "0;");
	assert_int_equal(slm_front_owner(scene.route, db), 2);
	sqlite3_close(db);
	db = open_default(":memory:");
	assert_int_equal(slm_front_owner(scene.route, db), -1);
	snprintf(uri, sizeof(uri), "ATTACH '%s' AS other", scene.path);
	must(db, uri);
	expect_rows(db, "SELECT v FROM other.t", "0;");
	assert_int_equal(slm_front_count(scene.route), 3);
	sqlite3_close(db);
	assert_int_equal(slm_front_count(scene.route), 2);
	end_scene(&scene);
}

/* A transaction over two databases has a journal of its own beside the first;
 * the folder that all this is in does not even exist. */
static void test_several_databases(void **state)
{
	struct slm_front_route *other = NULL;
	struct slm_front_options options = { .owners = true };
	struct scene scene;
	char path[200], sql[300];

	(void)state;
	begin_scene(&scene, true, false);
	slm_front_remove(scene.route, NULL);
	snprintf(scene.path, sizeof(scene.path), "%s/missing/a.db",
		 scene.directory);
	add_route(&scene, true, false);
	snprintf(path, sizeof(path), "%s/missing/b.db", scene.directory);
	options.path = path;
	options.store = new_store(SQLOOM_STORE_MEMORY, NULL);
	assert_int_equal(slm_front_add(&options, &other, NULL), SQLOOM_OK);
	open_both(&scene, "delete");
	snprintf(sql, sizeof(sql), "ATTACH '%s' AS b", path);
	must(scene.a, sql);
	must(scene.a, "CREATE TABLE b.u(v)");
	must(scene.a, "BEGIN; UPDATE t SET v = 1; INSERT INTO u VALUES (1)");
	must(scene.a, "COMMIT");
	expect_rows(scene.b, "SELECT v FROM t", "1;");
	assert_int_equal(slm_front_count(other), 1);
	must(scene.a, "DETACH b");
	slm_front_remove(other, NULL);
	slm_store_free(options.store);
	end_scene(&scene);
}

/* ---- Owners ------------------------------------------------------------ */

/* The last number is for a connection that the front knows nothing of. */
#define CONNECTIONS_MAX (SLM_STORE_OWNERS_MAX - 1)

static void test_owners(void **state)
{
	sqlite3 *dbs[CONNECTIONS_MAX + 1];
	struct scene scene;

	(void)state;
	begin_scene(&scene, true, false);
	for (int i = 0; i < CONNECTIONS_MAX; i++) {
		dbs[i] = open_default(scene.path);
		assert_int_equal(slm_front_owner(scene.route, dbs[i]), i);
	}
	assert_int_equal(slm_front_count(scene.route), CONNECTIONS_MAX);
	assert_int_equal(sqlite3_open(scene.path, &dbs[CONNECTIONS_MAX]),
			 SQLITE_CANTOPEN);
	sqlite3_close(dbs[CONNECTIONS_MAX]);
	sqlite3_close(dbs[5]);
	dbs[5] = open_default(scene.path);
	assert_int_equal(slm_front_owner(scene.route, dbs[5]), 5);
	for (int i = 0; i < CONNECTIONS_MAX; i++)
		sqlite3_close(dbs[i]);
	end_scene(&scene);
}

static void test_without_owners(void **state)
{
	struct scene scene;

	(void)state;
	begin_scene(&scene, false, true);
	open_both(&scene, "wal");
	assert_int_equal(slm_front_owner(scene.route, scene.a), -1);
	assert_int_equal(slm_front_count(scene.route), 2);
	/* A sleep is for the hook only as long as a lock is waited for. */
	must(scene.b, "BEGIN IMMEDIATE");
	assert_int_equal(sqlite3_exec(scene.a, "UPDATE t SET v = 1", NULL, NULL,
				      NULL),
			 SQLITE_BUSY);
	scene.commit_at = 1;
	sqlite3_sleep(30000);
	assert_int_equal(scene.calls, 1);
	assert_int_equal(scene.owner, SLM_STORE_NOBODY);
	must(scene.a, "UPDATE t SET v = 1");
	slm_front_use_clock(scene.route);
	sqlite3_sleep(30000);
	slm_front_use_clock(NULL);
	assert_int_equal(scene.calls, 1);
	end_scene(&scene);
}

/* ---- Sleep and time ---------------------------------------------------- */

static void waits_for_lock(const char *mode)
{
	struct scene scene;

	sqlite3 *first;

	begin_scene(&scene, true, true);
	first = open_default(scene.path); /* owner 0 */
	open_both(&scene, mode);
	sqlite3_busy_timeout(scene.a, 5000);
	must(scene.b, "BEGIN IMMEDIATE; UPDATE t SET v = 5");
	/* It is woken by the commit. */
	scene.commit_at = 3;
	must(scene.a, "UPDATE t SET v = v + 1");
	assert_int_equal(scene.calls, 3);
	assert_int_equal(scene.owner, 1);
	expect_rows(scene.b, "SELECT v FROM t", "6;");
	/* It gives up when its time is over. */
	must(scene.b, "BEGIN IMMEDIATE; UPDATE t SET v = 7");
	scene.commit_at = scene.calls = scene.ms = 0;
	assert_int_equal(sqlite3_exec(scene.a, "UPDATE t SET v = v + 1", NULL,
				      NULL, NULL),
			 SQLITE_BUSY);
	assert_in_range(scene.ms, 4900, 5100);
	must(scene.b, "ROLLBACK");
	/* Nothing is waited for any more: a sleep is not for the hook. */
	scene.calls = 0;
	must(scene.a, "UPDATE t SET v = v + 1");
	slm_front_use_clock(scene.route);
	sqlite3_sleep(100000);
	slm_front_use_clock(NULL);
	assert_int_equal(scene.calls, 0);
	sqlite3_close(first);
	end_scene(&scene);
}

static void test_sleep_rollback(void **state)
{
	(void)state;
	waits_for_lock("delete");
}

static void test_sleep_wal(void **state)
{
	(void)state;
	waits_for_lock("wal");
}

/* A program that sleeps and tries again by itself. */
static void test_sleep_of_the_program(void **state)
{
	struct scene scene;

	(void)state;
	begin_scene(&scene, true, true);
	open_both(&scene, "delete");
	must(scene.b, "BEGIN IMMEDIATE; UPDATE t SET v = 5");
	assert_int_equal(sqlite3_exec(scene.a, "UPDATE t SET v = v + 1", NULL,
				      NULL, NULL),
			 SQLITE_BUSY);
	scene.commit_at = 1;
	sqlite3_sleep(30000);
	assert_int_equal(scene.calls, 1);
	assert_int_equal(scene.ms, 30000);
	must(scene.a, "UPDATE t SET v = v + 1");
	/* The lock that it waited for is forgotten. */
	must(scene.b, "BEGIN IMMEDIATE");
	assert_int_equal(sqlite3_exec(scene.a, "UPDATE t SET v = 0", NULL, NULL,
				      NULL),
			 SQLITE_BUSY);
	slm_front_lock(scene.route);
	slm_store_forget_wait(scene.store, 0);
	slm_front_unlock(scene.route);
	slm_front_use_clock(scene.route);
	sqlite3_sleep(30000);
	slm_front_use_clock(NULL);
	assert_int_equal(scene.calls, 1);
	must(scene.b, "COMMIT");
	end_scene(&scene);
}

static void test_clock(void **state)
{
	struct scene scene;
	double julian;

	(void)state;
	begin_scene(&scene, true, false);
	open_both(&scene, "delete");
	expect_rows(scene.a, "SELECT datetime('now') > '2020'", "1;");
	slm_front_use_clock(scene.route);
	expect_rows(scene.a, "SELECT datetime('now')", "2000-01-01 00:00:00;");
	assert_int_equal(sqlite3_sleep(61000), 61000);
	expect_rows(scene.a, "SELECT datetime('now')", "2000-01-01 00:01:01;");
	sqlite3_vfs_find(NULL)->xCurrentTime(sqlite3_vfs_find(NULL), &julian);
	assert_in_range((uint64_t)(julian * 10), 24515445, 24515446);
	slm_front_use_clock(NULL);
	expect_rows(scene.a, "SELECT datetime('now') > '2020'", "1;");
	/* The clock of a route that is gone is the real one. */
	slm_front_use_clock(scene.route);
	end_scene(&scene);
	expect_rows(scene.a = open_default(":memory:"),
		    "SELECT datetime('now') > '2020'", "1;");
	sqlite3_close(scene.a);
}

/* ---- The end of a route ------------------------------------------------ */

static void remove_under(const char *mode, const char *sql)
{
	struct scene scene;
	unsigned open = 0;

	begin_scene(&scene, true, false);
	open_both(&scene, mode);
	must(scene.a, sql);
	slm_front_remove(scene.route, &open);
	assert_int_equal(open, 2);
	slm_store_free(scene.store);
	for (int i = 0; i < 2; i++) {
		int rc = sqlite3_exec(i ? scene.b : scene.a,
				      "UPDATE t SET v = v + 1; COMMIT", NULL,
				      NULL, NULL);

		if (rc == SQLITE_OK)
			fail_msg("%s: connection %d still works", sql, i);
		assert_int_equal(rc, SQLITE_IOERR);
	}
	sqlite3_close(scene.a);
	sqlite3_close(scene.b);
	/* And the path is free for another. */
	scene.store = new_store(SQLOOM_STORE_MEMORY, NULL);
	add_route(&scene, true, false);
	open_both(&scene, "delete");
	end_scene(&scene);
}

static void test_remove_rollback(void **state)
{
	(void)state;
	remove_under("delete", "SELECT 1");
	remove_under("delete", "BEGIN; SELECT v FROM t");
}

static void test_remove_wal(void **state)
{
	(void)state;
	remove_under("wal", "SELECT 1");
	remove_under("wal", "BEGIN; SELECT v FROM t");
}

/* With a transaction that has to be rolled back. */
static void test_remove_in_transaction(void **state)
{
	static const char *const modes[] = { "delete", "wal" };
	struct scene scene;

	(void)state;
	for (int i = 0; i < 2; i++) {
		begin_scene(&scene, true, false);
		open_both(&scene, modes[i]);
		must(scene.a, "PRAGMA cache_size = 1");
		must(scene.a, "BEGIN; UPDATE t SET v = 1;"
			      "CREATE TABLE u AS WITH RECURSIVE n(i) AS "
			      "(SELECT 1 UNION ALL SELECT i + 1 FROM n "
			      "WHERE i < 9999) SELECT i FROM n");
		slm_front_remove(scene.route, NULL);
		slm_store_free(scene.store);
		sqlite3_exec(scene.a, "ROLLBACK", NULL, NULL, NULL);
		sqlite3_exec(scene.a, "SELECT v FROM t", NULL, NULL, NULL);
		sqlite3_exec(scene.b, "SELECT v FROM t", NULL, NULL, NULL);
		sqlite3_close(scene.a);
		sqlite3_close(scene.b);
		remove_directory(scene.directory);
	}
}

/* Routes come and go before one store. */
static void test_remove_twice(void **state)
{
	struct scene scene;
	sqlite3 *old[2];

	(void)state;
	begin_scene(&scene, true, false);
	open_both(&scene, "wal");
	old[0] = scene.a;
	old[1] = scene.b;
	slm_front_remove(scene.route, NULL);
	add_route(&scene, true, false);
	scene.a = open_default(scene.path);
	expect_rows(scene.a, "SELECT v FROM t", "0;");
	slm_front_remove(scene.route, NULL);
	slm_store_free(scene.store);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(sqlite3_exec(old[i], "SELECT v FROM t", NULL,
					      NULL, NULL),
				 SQLITE_IOERR);
		sqlite3_close(old[i]);
	}
	assert_int_equal(sqlite3_exec(scene.a, "SELECT v FROM t", NULL, NULL,
				      NULL),
			 SQLITE_IOERR);
	sqlite3_close(scene.a);
	remove_directory(scene.directory);
}

static void test_restore_under_connections(void **state)
{
	static const char *const modes[] = { "delete", "wal" };
	struct scene scene;

	(void)state;
	for (int i = 0; i < 2; i++) {
		begin_scene(&scene, true, false);
		open_both(&scene, modes[i]);
		slm_front_lock(scene.route);
		take_snapshot(scene.store);
		slm_front_unlock(scene.route);
		for (int run = 0; run < 3; run++) {
			must(scene.a, "UPDATE t SET v = v + 1");
			must(scene.b, "UPDATE t SET v = v + 1");
			expect_rows(scene.a, "SELECT v FROM t", "2;");
			slm_front_lock(scene.route);
			put_back(scene.store);
			slm_front_unlock(scene.route);
			expect_rows(scene.b, "SELECT v FROM t", "0;");
		}
		end_scene(&scene);
	}
}

/* ---- Misuse ------------------------------------------------------------ */

static void test_refused(void **state)
{
	static const char *const paths[] = { NULL, "", ":memory:" };
	struct slm_front_options options = { 0 };
	struct slm_front_route *route = NULL;
	struct sqloom_error err;
	struct scene scene;
	char path[2000];

	(void)state;
	begin_scene(&scene, true, false);
	options.store = scene.store;
	for (int i = 0; i < 3; i++) {
		options.path = paths[i];
		assert_int_equal(slm_front_add(&options, &route, &err),
				 SQLOOM_USAGE);
	}
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	options.path = path;
	assert_int_equal(slm_front_add(&options, &route, &err), SQLOOM_USAGE);
	options.path = scene.path;
	assert_int_equal(slm_front_add(&options, &route, &err), SQLOOM_USAGE);
	assert_non_null(strstr(err.message, "already"));
	slm_alloc_fail_from(1);
	assert_int_equal(slm_front_add(&options, &route, &err), SQLOOM_NOMEM);
	slm_alloc_fail_from(0);
	assert_null(route);
	end_scene(&scene);
}

/* ---- Stores and the front, in either order ----------------------------- */

static void test_stores_know_the_system(void **state)
{
	(void)state;
	for (int kind = 0; kind < 2; kind++) {
		struct slm_store *store = new_store(
			kind ? SQLOOM_STORE_FILE : SQLOOM_STORE_MEMORY, NULL);
		sqlite3 *db = open_owner(store, 0);

		must(db, "PRAGMA journal_mode = wal; CREATE TABLE t(v)");
		expect_rows(db, "SELECT count(*) FROM t", "0;");
		sqlite3_close(db);
		slm_store_free(store);
	}
}

/* The first test of all: the store is older than the front. */
static void test_store_before_the_front(void **state)
{
	struct slm_store *store = new_store(SQLOOM_STORE_FILE, NULL);
	sqlite3_vfs *system = sqlite3_vfs_find("unix");
	sqlite3 *db;

	(void)state;
	assert_ptr_equal(system, slm_front_system());
	assert_int_equal(slm_front_install(NULL), SQLOOM_OK);
	assert_ptr_equal(system, slm_front_system());
	db = open_owner(store, 0);
	must(db, "CREATE TABLE t(v)");
	sqlite3_close(db);
	slm_store_free(store);
}

/* ---- Threads ----------------------------------------------------------- */

#define THREADS 4
#define ROUNDS 50

struct worker {
	struct scene *scene;
	const char *path;
	int rc;
};

static void *work(void *userdata)
{
	struct worker *worker = userdata;
	sqlite3 *db = NULL;

	worker->rc = sqlite3_open(worker->path, &db);
	sqlite3_busy_timeout(db, 60000);
	for (int i = 0; i < ROUNDS && worker->rc == SQLITE_OK; i++)
		worker->rc = sqlite3_exec(db, "UPDATE t SET v = v + 1", NULL,
					  NULL, NULL);
	sqlite3_close(db);
	return NULL;
}

/* Real threads, real sleeps: some on the routed file, some on another. */
static void test_threads(void **state)
{
	static const char *const modes[] = { "delete", "wal" };
	struct worker workers[THREADS];
	pthread_t threads[THREADS];
	char other[128], rows[32];
	struct scene scene;
	sqlite3 *db;

	(void)state;
	for (int m = 0; m < 2; m++) {
		begin_scene(&scene, true, false);
		open_both(&scene, modes[m]);
		snprintf(other, sizeof(other), "%s/o.db", scene.directory);
		db = open_default(other);
		must(db, "CREATE TABLE t(v); INSERT INTO t VALUES (0)");
		for (int i = 0; i < THREADS; i++) {
			workers[i] = (struct worker){
				.scene = &scene,
				.path = i % 4 == 3 ? other : scene.path,
			};
			assert_int_equal(pthread_create(&threads[i], NULL, work,
							&workers[i]),
					 0);
		}
		for (int i = 0; i < THREADS; i++) {
			pthread_join(threads[i], NULL);
			assert_int_equal(workers[i].rc, SQLITE_OK);
		}
		snprintf(rows, sizeof(rows), "%d;", ROUNDS * 3);
		expect_rows(scene.a, "SELECT v FROM t", rows);
		snprintf(rows, sizeof(rows), "%d;", ROUNDS);
		expect_rows(db, "SELECT v FROM t", rows);
		sqlite3_close(db);
		unlink(other);
		end_scene(&scene);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_store_before_the_front),
		cmocka_unit_test(test_stands_before_the_system),
		cmocka_unit_test(test_again_after_a_shutdown),
		cmocka_unit_test(test_default_of_the_program),
		cmocka_unit_test(test_not_routed),
		cmocka_unit_test(test_routed_rollback),
		cmocka_unit_test(test_routed_wal),
		cmocka_unit_test(test_file_on_disk_is_untouched),
		cmocka_unit_test(test_names_without_a_file),
		cmocka_unit_test(test_names_of_a_file),
		cmocka_unit_test(test_uri_and_attach),
		cmocka_unit_test(test_several_databases),
		cmocka_unit_test(test_owners),
		cmocka_unit_test(test_without_owners),
		cmocka_unit_test(test_sleep_rollback),
		cmocka_unit_test(test_sleep_wal),
		cmocka_unit_test(test_sleep_of_the_program),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_remove_rollback),
		cmocka_unit_test(test_remove_wal),
		cmocka_unit_test(test_remove_in_transaction),
		cmocka_unit_test(test_remove_twice),
		cmocka_unit_test(test_restore_under_connections),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_stores_know_the_system),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
