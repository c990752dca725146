/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MEMORY store from outside: waiting and time, images, seeds and attached
 * files on the disk, which must stay as they are to the byte.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "store_help.h"

/* ---- Waiting ---------------------------------------------------------- */

struct waiting {
	struct slm_store *store;
	sqlite3 *holder; /* commits when the hook was called this often */
	unsigned commit_at;
	unsigned calls;
	unsigned ms;
	uint32_t blockers;
	char text[160];
};

static void on_sleep(unsigned ms, void *userdata)
{
	struct waiting *waiting = userdata;
	unsigned owner = slm_store_owner(waiting->store);

	waiting->calls++;
	waiting->ms += ms;
	waiting->blockers = slm_store_blockers(waiting->store, owner);
	snprintf(waiting->text, sizeof(waiting->text), "%s",
		 slm_store_wait_text(waiting->store, owner));
	slm_store_pass(waiting->store, ms);
	if (waiting->calls != waiting->commit_at)
		return;
	slm_store_set_owner(waiting->store, 1);
	must(waiting->holder, "COMMIT");
	slm_store_set_owner(waiting->store, owner);
	assert_int_equal(slm_store_blockers(waiting->store, owner), 0);
	assert_true(slm_store_waits(waiting->store, owner));
}

static sqlite3 *open_pair(struct waiting *waiting, const char *mode)
{
	struct slm_store_hooks hooks = { .sleep = on_sleep,
					 .userdata = waiting };
	sqlite3 *a;
	char sql[64];

	memset(waiting, 0, sizeof(*waiting));
	waiting->store = new_store(SQLOOM_STORE_MEMORY, &hooks);
	a = open_owner(waiting->store, 0);
	snprintf(sql, sizeof(sql), "PRAGMA journal_mode = %s", mode);
	must(a, sql);
	must(a, "CREATE TABLE t(v); INSERT INTO t VALUES (0)");
	waiting->holder = open_owner(waiting->store, 1);
	return a;
}

static void close_pair(struct waiting *waiting, sqlite3 *a)
{
	sqlite3_close(a);
	sqlite3_close(waiting->holder);
	slm_store_free(waiting->store);
}

static void timeout(const char *mode, const char *text)
{
	struct waiting waiting;
	struct slm_buf buf;
	sqlite3 *a = open_pair(&waiting, mode);

	slm_buf_init(&buf);
	must(waiting.holder, "BEGIN IMMEDIATE; UPDATE t SET v = 1");
	slm_store_set_owner(waiting.store, 0);
	sqlite3_busy_timeout(a, 5000);
	for (int i = 0; i < 3; i++) {
		waiting.calls = waiting.ms = 0;
		assert_int_equal(run_sql(a, "UPDATE t SET v = 2", &buf),
				 SQLITE_BUSY);
		assert_int_equal(waiting.ms, 5000);
		assert_int_equal(waiting.calls, 59);
		assert_int_equal(waiting.blockers, 1 << 1);
		assert_string_equal(waiting.text, text);
	}
	slm_store_forget_wait(waiting.store, 0);
	assert_false(slm_store_waits(waiting.store, 0));
	waiting.calls = 0;
	waiting.commit_at = 4;
	must(a, "UPDATE t SET v = 2");
	assert_int_equal(waiting.calls, 4);
	assert_false(slm_store_waits(waiting.store, 0));
	slm_buf_deinit(&buf);
	close_pair(&waiting, a);
}

static void test_timeout(void **state)
{
	(void)state;
	timeout("delete", "the RESERVED lock on main");
	timeout("wal", "the write lock of main's WAL");
}

/* Both read, both want to write: the loser is refused at once, the winner's
 * COMMIT waits for the loser's SHARED. */
static void test_commit_waits_for_reader(void **state)
{
	struct waiting waiting;
	struct slm_buf buf;
	sqlite3 *a = open_pair(&waiting, "delete");

	(void)state;
	slm_buf_init(&buf);
	sqlite3_busy_timeout(a, 1000);
	sqlite3_busy_timeout(waiting.holder, 1000);
	must(waiting.holder, "BEGIN; SELECT * FROM t");
	slm_store_set_owner(waiting.store, 0);
	must(a, "BEGIN; SELECT * FROM t; UPDATE t SET v = 1");
	slm_store_set_owner(waiting.store, 1);
	assert_int_equal(run_sql(waiting.holder, "UPDATE t SET v = 2", &buf),
			 SQLITE_BUSY);
	assert_int_equal(waiting.calls, 0);
	slm_store_set_owner(waiting.store, 0);
	waiting.commit_at = 2;
	must(a, "COMMIT");
	assert_int_equal(waiting.calls, 2);
	assert_int_equal(waiting.blockers, 1 << 1);
	assert_string_equal(waiting.text, "the EXCLUSIVE lock on main");
	slm_buf_deinit(&buf);
	close_pair(&waiting, a);
}

static void test_clock(void **state)
{
	struct slm_store *store = new_store(SQLOOM_STORE_MEMORY, NULL);
	sqlite3 *a = open_owner(store, 0);

	(void)state;
	slm_store_set_clock(store, INT64_C(1000000000000));
	expect_rows(a, "SELECT datetime('now')", "2001-09-09 01:46:40;");
	slm_store_pass(store, 61000);
	expect_rows(a, "SELECT datetime('now')", "2001-09-09 01:47:41;");
	/* Nobody in the way: only time passes. */
	sqlite3_vfs_find(slm_store_vfs(store))
		->xSleep(sqlite3_vfs_find(slm_store_vfs(store)), 2000000);
	expect_rows(a, "SELECT datetime('now')", "2001-09-09 01:47:43;");
	sqlite3_close(a);
	slm_store_free(store);
}

/* ---- Images ----------------------------------------------------------- */

static uint64_t image_after(struct slm_store *store, sqlite3 *db,
			    const char *sql)
{
	uint64_t image;

	must(db, sql);
	image = slm_store_image(store);
	put_back(store);
	return image;
}

static void images(const char *mode)
{
	struct slm_store *store = new_store(SQLOOM_STORE_MEMORY, NULL);
	sqlite3 *a = open_owner(store, 0);
	uint64_t none, one, two;
	char sql[64];

	snprintf(sql, sizeof(sql), "PRAGMA journal_mode = %s", mode);
	must(a, sql);
	must(a, "CREATE TABLE t(v); INSERT INTO t VALUES (5)");
	take_snapshot(store);
	none = slm_store_image(store);
	one = image_after(store, a, "UPDATE t SET v = 1");
	two = image_after(store, a, "UPDATE t SET v = 2");
	assert_int_not_equal(none, 0);
	assert_int_not_equal(one, none);
	assert_int_not_equal(two, none);
	assert_int_not_equal(one, two);
	assert_int_equal(image_after(store, a, "UPDATE t SET v = 1"), one);
	/* More transactions, other counters, the same contents. */
	assert_int_equal(image_after(store, a,
				     "UPDATE t SET v = 3;"
				     "UPDATE t SET v = 1"),
			 one);
	assert_int_equal(image_after(store, a,
				     "UPDATE t SET v = 3;"
				     "UPDATE t SET v = 5"),
			 none);
	assert_int_equal(image_after(store, a, "SELECT * FROM t"), none);
	assert_int_equal(image_after(store, a,
				     "BEGIN; UPDATE t SET v = 1;"
				     "ROLLBACK"),
			 none);
	assert_int_equal(image_after(store, a,
				     "UPDATE t SET v = 1;"
				     "PRAGMA wal_checkpoint"),
			 one);
	assert_int_equal(image_after(store, a,
				     "UPDATE t SET v = 1;"
				     "PRAGMA wal_checkpoint(TRUNCATE)"),
			 one);
	assert_int_not_equal(image_after(store, a,
					 "INSERT INTO t VALUES (zeroblob("
					 "100000))"),
			     none);
	assert_int_equal(slm_store_image(store), none);
	sqlite3_close(a);
	slm_store_free(store);
}

static void test_images(void **state)
{
	(void)state;
	images("delete");
	images("truncate");
	images("persist");
	images("wal");
}

/* ---- Files on the disk ------------------------------------------------ */

struct photo {
	struct stat info;
	uint64_t digest;
};

static void photograph(const char *path, struct photo *photo)
{
	static char bytes[1 << 20];
	int fd = open(path, O_RDONLY);
	ssize_t n;

	memset(photo, 0, sizeof(*photo));
	if (fd < 0)
		return;
	assert_int_equal(fstat(fd, &photo->info), 0);
	n = read(fd, bytes, sizeof(bytes));
	assert_true(n >= 0 && n < (ssize_t)sizeof(bytes));
	photo->digest = slm_hash(bytes, (size_t)n, 0);
	close(fd);
}

struct disk {
	char directory[64];
	char path[128];
	int files;
	struct photo photos[3];
};

static void look(const struct disk *disk, struct photo photos[3])
{
	static const char *const suffixes[] = { "", "-journal", "-wal" };
	char path[160];

	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s%s", disk->path, suffixes[i]);
		photograph(path, &photos[i]);
	}
}

static void check_untouched(const struct disk *disk)
{
	struct photo now[3];

	assert_int_equal(count_files(disk->directory), disk->files);
	look(disk, now);
	for (int i = 0; i < 3; i++) {
		const struct stat *before = &disk->photos[i].info;

		assert_int_equal(now[i].digest, disk->photos[i].digest);
		assert_int_equal(now[i].info.st_mtim.tv_sec,
				 before->st_mtim.tv_sec);
		assert_int_equal(now[i].info.st_mtim.tv_nsec,
				 before->st_mtim.tv_nsec);
		assert_int_equal(now[i].info.st_size, before->st_size);
		assert_int_equal(now[i].info.st_ino, before->st_ino);
	}
}

/* A child makes the database, and dies in the middle: whatever it leaves is
 * what a crashed program leaves. */
static void make_disk(struct disk *disk, const char *sql)
{
	pid_t child;

	make_directory(disk->directory);
	snprintf(disk->path, sizeof(disk->path), "%s/seed.db", disk->directory);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		sqlite3 *db;

		if (sqlite3_open(disk->path, &db) != SQLITE_OK)
			_exit(2);
		_exit(sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK);
	}
	int status = -1;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	unlink(strcat(disk->path, "-shm"));
	disk->path[strlen(disk->path) - 4] = '\0';
	disk->files = count_files(disk->directory);
	look(disk, disk->photos);
}

static void seed_from(struct disk *disk, const char *sql, const char *rows,
		      int files)
{
	struct slm_store *store = new_store(SQLOOM_STORE_MEMORY, NULL);
	struct sqloom_error err;
	sqlite3 *a;

	make_disk(disk, sql);
	assert_int_equal(disk->files, files);
	if (slm_store_seed(store, disk->path, &err) != SQLOOM_OK)
		fail_msg("%s", err.message);
	a = open_owner(store, 0);
	expect_rows(a, "SELECT v FROM t; PRAGMA integrity_check", rows);
	take_snapshot(store);
	for (int i = 0; i < 3; i++) {
		must(a, "UPDATE t SET v = v + 1");
		put_back(store);
		expect_rows(a, "SELECT v FROM t; PRAGMA integrity_check", rows);
	}
	sqlite3_close(a);
	slm_store_free(store);
	check_untouched(disk);
	remove_directory(disk->directory);
}

static void test_seed(void **state)
{
	struct disk disk;

	(void)state;
	seed_from(&disk, "CREATE TABLE t(v); INSERT INTO t VALUES (7)", "7;ok;",
		  1);
}

static void test_seed_wal(void **state)
{
	struct disk disk;

	(void)state;
	/* The rows are in the -wal only. */
	seed_from(&disk,
		  "PRAGMA journal_mode = wal; CREATE TABLE t(v);"
		  "INSERT INTO t VALUES (7)",
		  "7;ok;", 2);
	assert_true(disk.photos[2].info.st_size > 0);
}

static void test_seed_hot_journal(void **state)
{
	struct disk disk;

	(void)state;
	/* Changes were spilled into the database and not committed. */
	seed_from(&disk,
		  "CREATE TABLE t(v); INSERT INTO t VALUES (7);"
		  "CREATE TABLE big(b); PRAGMA cache_size = 2;"
		  "PRAGMA cache_spill = 1; BEGIN; UPDATE t SET v = 8;"
		  "INSERT INTO big SELECT zeroblob(3000) FROM "
		  "json_each('[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]')",
		  "7;ok;", 2);
	assert_true(disk.photos[1].info.st_size > 0);
}

/* Another process holds this lock while the seed is read. */
static enum sqloom_status seed_while(struct disk *disk, const char *sql,
				     struct sqloom_error *err)
{
	struct slm_store *store = new_store(SQLOOM_STORE_MEMORY, NULL);
	enum sqloom_status status;
	int ready[2], done[2];
	char byte = 0;
	pid_t child;

	assert_int_equal(pipe(ready) | pipe(done), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		sqlite3 *db;
		int rc = sqlite3_open(disk->path, &db);

		if (!rc)
			rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
		if (write(ready[1], &byte, 1) != 1 || rc != SQLITE_OK)
			_exit(1);
		close(done[1]);
		_exit(read(done[0], &byte, 1) != 1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	status = slm_store_seed(store, disk->path, err);
	assert_int_equal(write(done[1], &byte, 1), 1);
	assert_int_equal(waitpid(child, NULL, 0), child);
	for (int i = 0; i < 2; i++) {
		close(ready[i]);
		close(done[i]);
	}
	slm_store_free(store);
	return status;
}

static void test_seed_busy(void **state)
{
	struct sqloom_error err;
	struct disk disk;

	(void)state;
	make_disk(&disk, "CREATE TABLE t(v); INSERT INTO t VALUES (7)");
	assert_int_equal(seed_while(&disk, "BEGIN EXCLUSIVE", &err),
			 SQLOOM_DATABASE);
	assert_non_null(strstr(err.message, "being written"));
	assert_int_equal(seed_while(&disk, "BEGIN; SELECT * FROM t", &err),
			 SQLOOM_OK);
	assert_int_equal(seed_while(&disk, "BEGIN IMMEDIATE", &err), SQLOOM_OK);
	remove_directory(disk.directory);
}

static void test_seed_refused(void **state)
{
	struct slm_store *store = new_store(SQLOOM_STORE_MEMORY, NULL);
	struct sqloom_error err;
	struct disk disk;
	char fifo[160];

	(void)state;
	make_disk(&disk, "CREATE TABLE t(v)");
	assert_int_equal(slm_store_seed(store, disk.directory, &err),
			 SQLOOM_IO);
	assert_non_null(strstr(err.message, "directory"));
	snprintf(fifo, sizeof(fifo), "%s/fifo", disk.directory);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(slm_store_seed(store, fifo, &err), SQLOOM_IO);
	assert_int_equal(slm_store_seed(store, "/nowhere/at/all", &err),
			 SQLOOM_IO);
	assert_int_equal(err.sys_errno, ENOENT);
	slm_store_free(store);
	remove_directory(disk.directory);
}

static void test_seed_no_database(void **state)
{
	struct slm_store *store = new_store(SQLOOM_STORE_MEMORY, NULL);
	struct sqloom_error err;
	struct slm_buf buf;
	sqlite3 *a;

	(void)state;
	slm_buf_init(&buf);
	assert_int_equal(slm_store_seed(store, "/etc/passwd", &err), SQLOOM_OK);
	a = open_owner(store, 0);
	assert_int_equal(run_sql(a, "SELECT * FROM t", &buf), SQLITE_NOTADB);
	sqlite3_close(a);
	slm_store_free(store);
	slm_buf_deinit(&buf);
}

static void test_attach_from_disk(void **state)
{
	struct slm_store *store = new_store(SQLOOM_STORE_MEMORY, NULL);
	sqlite3 *a = open_owner(store, 0);
	struct disk disk;
	char sql[192];

	(void)state;
	make_disk(&disk, "PRAGMA journal_mode = wal; CREATE TABLE t(v);"
			 "INSERT INTO t VALUES (7)");
	must(a, "CREATE TABLE own(v)");
	take_snapshot(store);
	snprintf(sql, sizeof(sql), "ATTACH '%s' AS d", disk.path);
	for (int i = 0; i < 3; i++) {
		must(a, sql);
		expect_rows(a, "SELECT v FROM d.t", "7;");
		must(a, "UPDATE d.t SET v = 8");
		expect_rows(a, "SELECT v FROM d.t", "8;");
		must(a, "DETACH d");
		put_back(store);
	}
	sqlite3_close(a);
	slm_store_free(store);
	check_untouched(&disk);
	remove_directory(disk.directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_commit_waits_for_reader),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_images),
		cmocka_unit_test(test_seed),
		cmocka_unit_test(test_seed_wal),
		cmocka_unit_test(test_seed_hot_journal),
		cmocka_unit_test(test_seed_busy),
		cmocka_unit_test(test_seed_refused),
		cmocka_unit_test(test_seed_no_database),
		cmocka_unit_test(test_attach_from_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
