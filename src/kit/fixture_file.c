/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fixture on SQLite for processes: a real file in a directory of our own,
 * in memory where there is room (/dev/shm). What it shall be is kept in memory
 * and put over it through a connection of ours: with SQLite's own locks, and so
 * that the caches of the connections that stay open notice.
 *
 * Nothing here opens the file but by SQLite: to close a descriptor of it would
 * drop the locks that the program's connections have.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "db/sqlite_private.h"
#include "db/sqlite_store.h"
#include "kit/fixture.h"

#define BUSY_MS 2000
#define PATH_SIZE 256
#define MODE_SIZE 16
/* Where SQLite's locks are: of the database file; of the -shm file, without
 * the one that every connection has. */
#define DB_LOCKS 0x40000000
#define DB_LOCKS_END (DB_LOCKS + 512)
#define SHM_LOCKS 120
#define SHM_LOCKS_END 128

struct file_fixture {
	struct sqloom_fixture base; /* first; url is the path */
	char dir[PATH_SIZE];	    /* "": not made */
	int lock;
	sqlite3 *own;	      /* to the file; owned, as all that follows */
	sqlite3 *kept;	      /* in memory: the snapshot */
	unsigned char *image; /* its pages, with the counters of the last time
				 they were put back; of SQLite's heap */
	sqlite3_int64 size;   /* bytes of it */
	int page_size;
	struct slm_fixture_handles *handles;
	char mode[MODE_SIZE]; /* of its journal, in the snapshot */
	long long version;    /* of the contents, as own sees it */
};

static struct file_fixture *of(struct sqloom_fixture *base)
{
	return (struct file_fixture *)base;
}

/* ---- SQLite ------------------------------------------------------------ */

static enum sqloom_status failed(sqlite3 *db, const char *doing,
				 struct sqloom_error *err)
{
	enum sqloom_status status = slm_error_set(err, SQLOOM_DATABASE,
						  "cannot %s: %s", doing,
						  sqlite3_errmsg(db));

	if (err)
		snprintf(err->sqlstate, sizeof(err->sqlstate), "%d",
			 sqlite3_extended_errcode(db));
	return status;
}

/* The first value of the first row, as text; "" if there is none. */
static enum sqloom_status ask(sqlite3 *db, const char *sql, const char *doing,
			      char *out, size_t size, struct sqloom_error *err)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	*out = '\0';
	if (rc == SQLITE_ROW) {
		const unsigned char *text = sqlite3_column_text(stmt, 0);

		snprintf(out, size, "%s", text ? (const char *)text : "");
	}
	rc = sqlite3_finalize(stmt);
	return rc == SQLITE_OK ? SQLOOM_OK : failed(db, doing, err);
}

static enum sqloom_status ask_number(sqlite3 *db, const char *sql,
				     long long *out, struct sqloom_error *err)
{
	char text[32];
	enum sqloom_status status =
		ask(db, sql, "look at the database", text, sizeof(text), err);

	if (!status)
		*out = strtoll(text, NULL, 10);
	return status;
}

enum sqloom_status slm_fixture_copy(sqlite3 *from, sqlite3 *to,
				    const char *doing, struct sqloom_error *err)
{
	sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
	int rc;

	if (!backup)
		return failed(to, doing, err);
	do {
		rc = sqlite3_backup_step(backup, -1);
	} while (rc == SQLITE_OK);
	rc = sqlite3_backup_finish(backup);
	return rc == SQLITE_OK ? SQLOOM_OK : failed(to, doing, err);
}

static enum sqloom_status open_own(const char *path, const char *vfs,
				   sqlite3 **out, struct sqloom_error *err)
{
	sqlite3 *db = NULL;
	enum sqloom_status status = SQLOOM_OK;

	/* One thread at a time uses a fixture. */
	if (sqlite3_open_v2(path, &db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
				    SQLITE_OPEN_NOMUTEX,
			    vfs) != SQLITE_OK) {
		status = db ? failed(db, "open the fixture's database", err) :
			      slm_error_nomem(err);
		sqlite3_close(db);
		return status;
	}
	sqlite3_busy_timeout(db, BUSY_MS);
	*out = db;
	return SQLOOM_OK;
}

/* ---- Who is in the way ------------------------------------------------- */

/* A line of /proc/locks: "1: POSIX  ADVISORY  WRITE 123 08:01:456 0 EOF". */
static bool read_lock(const char *line, const struct stat *file, long first,
		      long end, long *pid)
{
	unsigned major, minor;
	unsigned long inode;
	long begin;

	if (sscanf(line, "%*s POSIX %*s %*s %ld %x:%x:%lu %ld", pid, &major,
		   &minor, &inode, &begin) != 5)
		return false;
	return inode == file->st_ino && major == major(file->st_dev) &&
	       minor == minor(file->st_dev) && *pid != (long)getpid() &&
	       begin >= first && begin < end;
}

static void name_process(long pid, struct slm_buf *left)
{
	char path[64], name[64] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
	file = fopen(path, "re");
	if (file) {
		if (!fgets(name, sizeof(name), file))
			*name = '\0';
		fclose(file);
	}
	name[strcspn(name, "\n")] = '\0';
	slm_buf_printf(left,
		       "process %ld (%s): in a transaction; its last statement "
		       "is not known\n",
		       pid, *name ? name : "gone");
}

/* Other processes that are in a transaction. In WAL mode every connection has
 * a lock on the database file, and those that count are in the -shm. */
static long find_process(const struct file_fixture *fixture,
			 struct slm_buf *left)
{
	bool wal = strcmp(fixture->mode, "wal") == 0;
	char path[PATH_SIZE + 16], line[256];
	long first = wal ? SHM_LOCKS : DB_LOCKS;
	long end = wal ? SHM_LOCKS_END : DB_LOCKS_END;
	long pid, found = 0;
	struct stat info;
	FILE *locks;

	snprintf(path, sizeof(path), "%s%s", fixture->base.url,
		 wal ? "-shm" : "");
	if (stat(path, &info) != 0)
		return 0;
	locks = fopen("/proc/locks", "re");
	while (locks && fgets(line, sizeof(line), locks)) {
		if (!read_lock(line, &info, first, end, &pid) || pid == found)
			continue;
		name_process(pid, left);
		found = pid;
	}
	if (locks)
		fclose(locks);
	return found;
}

/* ---- Going back -------------------------------------------------------- */

static enum sqloom_status see_version(struct file_fixture *fixture,
				      long long *version,
				      struct sqloom_error *err)
{
	return ask_number(fixture->own, "PRAGMA data_version", version, err);
}

/* A test may have changed how the journal is kept, which is in the file. */
static enum sqloom_status put_mode_back(struct file_fixture *fixture,
					struct sqloom_error *err)
{
	char mode[MODE_SIZE], sql[64];
	enum sqloom_status status = ask(fixture->own, "PRAGMA journal_mode",
					"ask for the journal mode", mode,
					sizeof(mode), err);

	if (status || strcmp(mode, fixture->mode) == 0)
		return status;
	snprintf(sql, sizeof(sql), "PRAGMA journal_mode = %s", fixture->mode);
	status = ask(fixture->own, sql, "put the journal mode back", mode,
		     sizeof(mode), err);
	if (!status && strcmp(mode, fixture->mode) == 0)
		return SQLOOM_OK;
	return slm_error_set(
		err, SQLOOM_UNSUPPORTED,
		"the test changed the journal mode of the database, and "
		"connections that know it so are still open: close them before "
		"the fixture is put back");
}

/* Numbers in a database's header, big-endian. */
static uint32_t get32(const unsigned char *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 |
	       (uint32_t)at[2] << 8 | at[3];
}

static void put32(unsigned char *at, uint32_t value)
{
	at[0] = (unsigned char)(value >> 24);
	at[1] = (unsigned char)(value >> 16);
	at[2] = (unsigned char)(value >> 8);
	at[3] = (unsigned char)value;
}

/* A number that neither the file nor what is kept has had. */
static uint32_t next(uint32_t a, uint32_t b)
{
	return (a > b ? a : b) + 1;
}

/*
 * No connection may take the pages in its cache for those that are written
 * now, nor its schema for the one that is there now: the counters go on.
 */
static void renew_counters(unsigned char *kept, const unsigned char *present)
{
	uint32_t counter = next(get32(kept + 24), get32(present + 24));

	put32(kept + 24, counter);
	put32(kept + 92, counter);
	if (get32(kept + 40) != get32(present + 40))
		put32(kept + 40, next(get32(kept + 40), get32(present + 40)));
}

/* Writes the pages that differ; the file has its EXCLUSIVE lock. */
static int write_pages(struct file_fixture *fixture, sqlite3_file *file,
		       unsigned char *page)
{
	const sqlite3_io_methods *methods = file->pMethods;
	sqlite3_int64 there;
	int rc = methods->xFileSize(file, &there);

	if (rc == SQLITE_OK)
		rc = methods->xRead(file, page, fixture->page_size, 0);
	if (rc == SQLITE_OK)
		renew_counters(fixture->image, page);
	for (sqlite3_int64 at = 0; rc == SQLITE_OK && at < fixture->size;
	     at += fixture->page_size) {
		if (at < there)
			rc = methods->xRead(file, page, fixture->page_size, at);
		if (rc == SQLITE_OK &&
		    (at >= there || memcmp(page, fixture->image + at,
					   (size_t)fixture->page_size) != 0))
			rc = methods->xWrite(file, fixture->image + at,
					     fixture->page_size, at);
	}
	if (rc == SQLITE_OK && there > fixture->size)
		rc = methods->xTruncate(file, fixture->size);
	return rc;
}

/* Where a rollback journal is used: only the pages that differ. The lock is
 * taken and given back as for a transaction, in which nothing is written. */
static enum sqloom_status put_pages_back(struct file_fixture *fixture,
					 unsigned char *page,
					 struct sqloom_error *err)
{
	static const char doing[] = "put the fixture's database back";
	sqlite3_file *file = NULL;
	enum sqloom_status status = SQLOOM_OK;
	int rc;

	if (sqlite3_exec(fixture->own, "BEGIN EXCLUSIVE", NULL, NULL, NULL) !=
	    SQLITE_OK)
		return failed(fixture->own, doing, err);
	sqlite3_file_control(fixture->own, "main", SQLITE_FCNTL_FILE_POINTER,
			     &file);
	rc = write_pages(fixture, file, page);
	if (rc != SQLITE_OK)
		status = slm_error_set(err, SQLOOM_IO, "cannot %s: %s", doing,
				       sqlite3_errstr(rc));
	if (sqlite3_exec(fixture->own, "COMMIT", NULL, NULL, NULL) !=
		    SQLITE_OK &&
	    !status)
		status = failed(fixture->own, doing, err);
	return status;
}

/* SQLite would make the first page of an empty file by itself; and pages of
 * another size are not these. */
static bool can_put_pages(struct file_fixture *fixture)
{
	long long pages, size;

	return strcmp(fixture->mode, "wal") != 0 && fixture->image &&
	       !ask_number(fixture->own, "PRAGMA page_count", &pages, NULL) &&
	       pages > 0 &&
	       !ask_number(fixture->own, "PRAGMA page_size", &size, NULL) &&
	       size == fixture->page_size;
}

static enum sqloom_status put_contents_back(struct file_fixture *fixture,
					    struct sqloom_error *err)
{
	unsigned char *page;
	enum sqloom_status status;

	if (!can_put_pages(fixture))
		return slm_fixture_copy(fixture->kept, fixture->own,
					"put the fixture's database back", err);
	page = slm_malloc((size_t)fixture->page_size);
	if (!page)
		return slm_error_nomem(err);
	status = put_pages_back(fixture, page, err);
	slm_free(page);
	return status;
}

static enum sqloom_status put_back(struct file_fixture *fixture,
				   struct sqloom_error *err)
{
	enum sqloom_status status = put_mode_back(fixture, err);

	if (!status)
		status = put_contents_back(fixture, err);
	if (!status)
		status = see_version(fixture, &fixture->version, err);
	return status;
}

static enum sqloom_status op_restore(struct sqloom_fixture *base,
				     struct slm_buf *left,
				     struct sqloom_error *err)
{
	struct file_fixture *fixture = of(base);
	long long version;
	long pid;
	enum sqloom_status status =
		slm_fixture_handles_end(fixture->handles, left, err);

	if (status)
		return status;
	pid = find_process(fixture, left);
	if (pid)
		return slm_error_set(
			err, SQLOOM_DATABASE,
			"process %ld is still in a transaction on %s, and "
			"another process cannot be made to end it: let the "
			"test wait for its processes, or kill them, before the "
			"fixture is put back",
			pid, base->url);
	status = see_version(fixture, &version, err);
	if (!status && version != fixture->version)
		status = put_back(fixture, err);
	return status;
}

/* ---- Life -------------------------------------------------------------- */

static void fixture_free(struct file_fixture *fixture)
{
	slm_fixture_handles_free(fixture->handles);
	sqlite3_close(fixture->own);
	sqlite3_close(fixture->kept);
	sqlite3_free(fixture->image);
	if (*fixture->dir)
		slm_private_remove(fixture->dir, fixture->lock);
	slm_free(fixture->base.url);
	slm_free(fixture);
}

static enum sqloom_status op_close(struct sqloom_fixture *base,
				   struct sqloom_error *err)
{
	struct file_fixture *fixture = of(base);
	enum sqloom_status status =
		slm_fixture_handles_end(fixture->handles, NULL, err);

	fixture_free(fixture);
	return status;
}

static const struct slm_fixture_kind kind = {
	.restore = op_restore,
	.close = op_close,
};

static enum sqloom_status make_file(struct file_fixture *fixture,
				    struct sqloom_error *err)
{
	char path[PATH_SIZE + 16];

	if (!slm_private_make(fixture->dir, sizeof(fixture->dir),
			      &fixture->lock))
		return slm_error_set(
			err, SQLOOM_IO,
			"there is no place for the fixture's database: a "
			"directory can be made neither in /dev/shm nor in %s",
			P_tmpdir);
	snprintf(path, sizeof(path), "%s/test.db", fixture->dir);
	fixture->base.url = slm_strdup(path);
	if (!fixture->base.url)
		return slm_error_nomem(err);
	return open_own(path, NULL, &fixture->own, err);
}

/* A copy of the user's file, with what its journal or WAL has. */
static enum sqloom_status seed(struct file_fixture *fixture, const char *from,
			       struct sqloom_error *err)
{
	struct slm_store *store = NULL;
	sqlite3 *copy = NULL;
	char mode[MODE_SIZE] = "";
	enum sqloom_status status =
		slm_store_new(SQLOOM_STORE_MEMORY, NULL, &store, err);

	if (!status)
		status = slm_store_seed(store, from, err);
	if (!status)
		status = open_own(slm_store_main_path(store),
				  slm_store_vfs(store), &copy, err);
	if (!status)
		status = ask(copy, "PRAGMA journal_mode", "read the database",
			     mode, sizeof(mode), err);
	if (!status)
		status = slm_fixture_copy(copy, fixture->own,
					  "copy the database", err);
	if (!status && strcmp(mode, "wal") == 0)
		status = ask(fixture->own, "PRAGMA journal_mode = wal",
			     "set the journal mode", mode, sizeof(mode), err);
	sqlite3_close(copy);
	slm_store_free(store);
	return status;
}

/* The pages of the copy, which has a schema cookie of its own, with that of the
 * file: as long as it is there, the schema is this one. */
static enum sqloom_status take_image(struct file_fixture *fixture,
				     struct sqloom_error *err)
{
	long long pages = 0, size = 0, cookie = 0;
	enum sqloom_status status =
		ask_number(fixture->own, "PRAGMA page_count", &pages, err);

	if (!status)
		status = ask_number(fixture->kept, "PRAGMA page_size", &size,
				    err);
	if (!status)
		status = ask_number(fixture->own, "PRAGMA schema_version",
				    &cookie, err);
	if (status || pages == 0)
		return status;
	fixture->page_size = (int)size;
	fixture->image =
		sqlite3_serialize(fixture->kept, "main", &fixture->size, 0);
	if (!fixture->image)
		return slm_error_nomem(err);
	put32(fixture->image + 40, (uint32_t)cookie);
	return SQLOOM_OK;
}

static enum sqloom_status take_snapshot(struct file_fixture *fixture,
					struct sqloom_error *err)
{
	enum sqloom_status status =
		open_own(":memory:", NULL, &fixture->kept, err);

	if (!status)
		status = slm_fixture_copy(fixture->own, fixture->kept,
					  "keep the fixture's database", err);
	if (!status)
		status = take_image(fixture, err);
	if (!status)
		status = ask(fixture->own, "PRAGMA journal_mode",
			     "ask for the journal mode", fixture->mode,
			     sizeof(fixture->mode), err);
	if (!status)
		status = see_version(fixture, &fixture->version, err);
	return status;
}

enum sqloom_status slm_fixture_open_file(
	const struct sqloom_fixture_options *options,
	struct sqloom_fixture **out, struct sqloom_error *err)
{
	struct file_fixture *fixture = slm_calloc(1, sizeof(*fixture));
	enum sqloom_status status;

	if (!fixture)
		return slm_error_nomem(err);
	fixture->base.kind = &kind;
	fixture->lock = -1;
	status = make_file(fixture, err);
	if (!status && options->database)
		status = seed(fixture, options->database, err);
	if (!status)
		status = slm_fixture_handles_new(
			sqlite3_db_filename(fixture->own, "main"),
			&fixture->handles, err);
	if (!status)
		status = slm_fixture_set_up(options, fixture->base.url, err);
	if (!status)
		status = take_snapshot(fixture, err);
	if (status)
		fixture_free(fixture);
	else
		*out = &fixture->base;
	return status;
}
