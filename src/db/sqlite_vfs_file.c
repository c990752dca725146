/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FILE kind: real files in a private directory, through SQLite's own unix
 * VFS, which decides about the locks. What it decides is written into the lock
 * table and checked against the rules there; time, sleep and faults are the
 * store's. Files are not synced: nothing here has to survive a crash.
 *
 * The directory has two folders: live/ is what SQLite works on, snap/ is the
 * snapshot. A restore replaces live/ by a copy of snap/, so every connection
 * must be closed. A database that the program attaches by a path elsewhere is
 * copied into live/ first: the path stands for the copy from then on.
 *
 * Taking the snapshot closes descriptors of files that connections have open,
 * and so drops the process's POSIX locks on them. That is harmless: no other
 * process knows the directory, and within one process the unix VFS decides by
 * its own tables.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "db/sqlite_private.h"
#include "db/sqlite_vfs.h"

#define DIRECTORY_MAX 64 /* bytes of the private directory's name */
#define ALIASES_MAX 256	 /* databases attached by a path elsewhere */

/* A path elsewhere and the file in live/ that stands for it. */
struct alias {
	char *path; /* owned */
	char name[SLM_VFS_PATH_MAX];
	bool loaded; /* copied, or found not to exist */
};

/* The lock side of a database file that is or was open. */
struct locked_file {
	struct locked_file *next;
	struct slm_lock_file lock;
	char name[SLM_VFS_PATH_MAX];
};

struct slm_file_store {
	char directory[DIRECTORY_MAX];
	int directory_lock; /* keeps it from being swept */
	char live[DIRECTORY_MAX + 8];
	char snap[DIRECTORY_MAX + 8];
	struct locked_file *locked;	    /* owned */
	struct alias *aliases[ALIASES_MAX]; /* owned */
	unsigned alias_count;
	bool taken; /* a snapshot exists */
};

/* Followed in memory by the unix VFS's own object. */
struct handle {
	sqlite3_file base;
	struct slm_store *store; /* borrowed */
	struct slm_lock_handle lock;
	sqlite3_file *real; /* right behind this struct */
};

static struct handle *handle_of(sqlite3_file *base)
{
	return (struct handle *)base;
}

static const sqlite3_io_methods *real_methods(const struct handle *handle)
{
	return handle->real->pMethods;
}

/* ---- Bytes: passed on ------------------------------------------------- */

static int file_close(sqlite3_file *base)
{
	struct handle *handle = handle_of(base);
	int rc = real_methods(handle)->xClose(handle->real);

	slm_lock_close(&handle->store->locks, &handle->lock);
	base->pMethods = NULL;
	return rc;
}

static int file_read(sqlite3_file *base, void *out, int amount,
		     sqlite3_int64 offset)
{
	struct handle *handle = handle_of(base);
	int fault = slm_vfs_fault(handle->store);

	if (fault)
		return fault;
	return real_methods(handle)->xRead(handle->real, out, amount, offset);
}

static int file_write(sqlite3_file *base, const void *data, int amount,
		      sqlite3_int64 offset)
{
	struct handle *handle = handle_of(base);
	int fault = slm_vfs_fault(handle->store);

	if (fault)
		return fault;
	return real_methods(handle)->xWrite(handle->real, data, amount, offset);
}

static int file_truncate(sqlite3_file *base, sqlite3_int64 size)
{
	struct handle *handle = handle_of(base);
	int fault = slm_vfs_fault(handle->store);

	if (fault)
		return fault;
	return real_methods(handle)->xTruncate(handle->real, size);
}

static int file_sync(sqlite3_file *base, int flags)
{
	(void)flags;
	return slm_vfs_fault(handle_of(base)->store);
}

static int file_size(sqlite3_file *base, sqlite3_int64 *out)
{
	struct handle *handle = handle_of(base);
	int fault = slm_vfs_fault(handle->store);

	if (fault)
		return fault;
	return real_methods(handle)->xFileSize(handle->real, out);
}

static int file_control(sqlite3_file *base, int op, void *arg)
{
	struct handle *handle = handle_of(base);

	if (op == SQLITE_FCNTL_VFSNAME) {
		*(char **)arg = sqlite3_mprintf("%s", handle->store->name);
		return SQLITE_OK;
	}
	return real_methods(handle)->xFileControl(handle->real, op, arg);
}

static int file_sector(sqlite3_file *base)
{
	struct handle *handle = handle_of(base);

	return real_methods(handle)->xSectorSize(handle->real);
}

static int file_characteristics(sqlite3_file *base)
{
	struct handle *handle = handle_of(base);

	return real_methods(handle)->xDeviceCharacteristics(handle->real);
}

/* ---- Locks: the unix VFS decides, the table writes down ---------------- */

/* Do the table and the unix VFS still say the same? */
static void check_level(struct handle *handle)
{
	int level = -1;

	real_methods(handle)->xFileControl(handle->real, SQLITE_FCNTL_LOCKSTATE,
					   &level);
	assert(level == handle->lock.level);
}

static int file_lock(sqlite3_file *base, int level)
{
	struct handle *handle = handle_of(base);
	struct slm_store *store = handle->store;
	int rc = slm_vfs_fault(store);
	bool allowed;

	if (rc)
		return rc;
	if (!handle->lock.file)
		return real_methods(handle)->xLock(handle->real, level);
	if (handle->lock.level >= level)
		return SQLITE_OK;
	allowed = slm_lock_allowed(&handle->lock, level);
	rc = real_methods(handle)->xLock(handle->real, level);
	if (rc != SQLITE_OK && rc != SQLITE_BUSY)
		return rc;
	assert(allowed == (rc == SQLITE_OK));
	slm_lock_record(&store->locks, &handle->lock, level, rc == SQLITE_OK);
	check_level(handle);
	return rc;
}

static int file_unlock(sqlite3_file *base, int level)
{
	struct handle *handle = handle_of(base);
	int fault = slm_vfs_fault(handle->store);
	int rc = real_methods(handle)->xUnlock(handle->real, level);

	if (handle->lock.file) {
		slm_lock_lower(&handle->store->locks, &handle->lock, level);
		check_level(handle);
	}
	return fault ? fault : rc;
}

static int file_check_reserved(sqlite3_file *base, int *out)
{
	struct handle *handle = handle_of(base);
	int rc = slm_vfs_fault(handle->store);

	if (rc)
		return rc;
	rc = real_methods(handle)->xCheckReservedLock(handle->real, out);
	assert(rc != SQLITE_OK || !handle->lock.file ||
	       (*out != 0) == slm_lock_reserved(handle->lock.file));
	return rc;
}

static int file_map_index(sqlite3_file *base, int region, int size, int extend,
			  void volatile **out)
{
	struct handle *handle = handle_of(base);
	int rc = slm_vfs_fault(handle->store);

	*out = NULL;
	if (rc)
		return rc;
	rc = real_methods(handle)->xShmMap(handle->real, region, size, extend,
					   out);
	handle->lock.mapped |= rc == SQLITE_OK;
	return rc;
}

static int file_lock_index(sqlite3_file *base, int first, int count, int flags)
{
	struct handle *handle = handle_of(base);
	struct slm_store *store = handle->store;
	uint8_t slots = (uint8_t)(((1u << count) - 1) << first);
	bool exclusively = flags & SQLITE_SHM_EXCLUSIVE;
	int rc = slm_vfs_fault(store);
	bool allowed;

	if (flags & SQLITE_SHM_UNLOCK) {
		slm_lock_release_slots(&store->locks, &handle->lock, slots);
		return real_methods(handle)->xShmLock(handle->real, first,
						      count, flags);
	}
	if (rc)
		return rc;
	allowed = slm_lock_slots_allowed(&handle->lock, slots, exclusively);
	rc = real_methods(handle)->xShmLock(handle->real, first, count, flags);
	if (rc != SQLITE_OK && rc != SQLITE_BUSY)
		return rc;
	assert(allowed == (rc == SQLITE_OK));
	slm_lock_record_slots(&store->locks, &handle->lock, slots, exclusively,
			      rc == SQLITE_OK);
	return rc;
}

static void file_barrier(sqlite3_file *base)
{
	struct handle *handle = handle_of(base);

	real_methods(handle)->xShmBarrier(handle->real);
}

static int file_unmap_index(sqlite3_file *base, int delete_index)
{
	struct handle *handle = handle_of(base);

	slm_lock_release_slots(&handle->store->locks, &handle->lock, 0xff);
	handle->lock.mapped = false;
	return real_methods(handle)->xShmUnmap(handle->real, delete_index);
}

static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = file_close,
	.xRead = file_read,
	.xWrite = file_write,
	.xTruncate = file_truncate,
	.xSync = file_sync,
	.xFileSize = file_size,
	.xLock = file_lock,
	.xUnlock = file_unlock,
	.xCheckReservedLock = file_check_reserved,
	.xFileControl = file_control,
	.xSectorSize = file_sector,
	.xDeviceCharacteristics = file_characteristics,
	.xShmMap = file_map_index,
	.xShmLock = file_lock_index,
	.xShmBarrier = file_barrier,
	.xShmUnmap = file_unmap_index,
};

/* ---- Copying files ---------------------------------------------------- */

static bool write_all(int fd, const void *data, size_t size, uint64_t offset)
{
	const char *from = data;

	while (size > 0) {
		ssize_t n = pwrite(fd, from, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		from += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return true;
}

static bool copy_bytes(int from, int to)
{
	static const size_t chunk_size = 1 << 16;
	char *chunk = slm_malloc(chunk_size);
	uint64_t offset = 0;
	bool ok = chunk;

	while (ok) {
		ssize_t n = pread(from, chunk, chunk_size, (off_t)offset);

		if (n == 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		ok = n > 0 && write_all(to, chunk, (size_t)n, offset);
		offset += n > 0 ? (uint64_t)n : 0;
	}
	slm_free(chunk);
	return ok;
}

static bool copy_file(const char *from_path, const char *to_path)
{
	int from = open(from_path, O_RDONLY | O_CLOEXEC);
	int to = open(to_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool ok = from >= 0 && to >= 0 && copy_bytes(from, to);

	if (from >= 0)
		close(from);
	if (to >= 0 && close(to) != 0)
		ok = false;
	return ok;
}

/* The WAL-index is never copied: it is built anew from the -wal. */
static bool is_index(const char *name)
{
	size_t size = strlen(name);

	return size > 4 && strcmp(name + size - 4, "-shm") == 0;
}

/* Deletes every file of the folder from; or copies them into to. */
static bool each_file(const char *from, const char *to)
{
	char source[SLM_VFS_PATH_MAX], target[SLM_VFS_PATH_MAX];
	struct dirent *entry;
	DIR *dir = opendir(from);
	bool ok = dir;

	while (ok && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(source, sizeof(source), "%s/%s", from, entry->d_name);
		if (!to) {
			ok = unlink(source) == 0;
		} else if (!is_index(entry->d_name)) {
			snprintf(target, sizeof(target), "%s/%s", to,
				 entry->d_name);
			ok = copy_file(source, target);
		}
	}
	if (dir)
		closedir(dir);
	return ok;
}

/* ---- Paths ------------------------------------------------------------ */

static struct locked_file *find_locked(struct slm_file_store *files,
				       const char *name)
{
	struct locked_file *locked = files->locked;

	while (locked && strcmp(locked->name, name) != 0)
		locked = locked->next;
	if (locked)
		return locked;
	locked = slm_calloc(1, sizeof(*locked));
	if (!locked)
		return NULL;
	snprintf(locked->name, sizeof(locked->name), "%s", name);
	locked->next = files->locked;
	files->locked = locked;
	return locked;
}

static struct alias *find_alias(const struct slm_file_store *files,
				const char *name)
{
	for (unsigned i = 0; i < files->alias_count; i++) {
		if (strcmp(files->aliases[i]->name, name) == 0)
			return files->aliases[i];
	}
	return NULL;
}

/* The file in live/ for a path elsewhere: its digest and its last part. */
static struct alias *make_alias(struct slm_file_store *files, const char *path)
{
	const char *slash = strrchr(path, '/');
	char name[SLM_VFS_PATH_MAX];
	struct alias *alias;

	snprintf(name, sizeof(name), "%s/%016llx-%.100s", files->live,
		 (unsigned long long)slm_hash(path, strlen(path), 0),
		 slash ? slash + 1 : path);
	alias = find_alias(files, name);
	if (alias || files->alias_count == ALIASES_MAX)
		return alias;
	alias = slm_calloc(1, sizeof(*alias));
	if (!alias)
		return NULL;
	memcpy(alias->name, name, sizeof(name));
	alias->path = slm_strdup(path);
	if (!alias->path) {
		slm_free(alias);
		return NULL;
	}
	files->aliases[files->alias_count++] = alias;
	return alias;
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *path, int size,
			 char *out)
{
	struct slm_store *store = slm_vfs_store(vfs);
	struct slm_file_store *files = store->file;
	char full[SLM_VFS_PATH_MAX + 1];
	struct alias *alias;
	int rc;

	if (strncmp(path, files->live, strlen(files->live)) == 0 &&
	    size > (int)strlen(path)) {
		strcpy(out, path);
		return SQLITE_OK;
	}
	rc = store->system->xFullPathname(store->system, path, sizeof(full),
					  full);
	if ((rc & 0xff) != SQLITE_OK)
		return rc;
	alias = make_alias(files, full);
	if (!alias)
		return SQLITE_CANTOPEN;
	if (size <= (int)strlen(alias->name))
		return SQLITE_CANTOPEN;
	strcpy(out, alias->name);
	return rc;
}

struct loading {
	const char *name; /* of the copy */
	int fd;		  /* of the one being written; -1: none */
};

/* Writes a piece of a database elsewhere into its copy. */
static bool load_piece(const char *suffix, const void *data, size_t size,
		       uint64_t offset, void *userdata)
{
	struct loading *loading = userdata;
	char name[SLM_VFS_PATH_MAX + 16];

	if (offset == 0) {
		snprintf(name, sizeof(name), "%s%s", loading->name, suffix);
		if (loading->fd >= 0)
			close(loading->fd);
		loading->fd = -1;
		if (!data)
			return unlink(name) == 0 || errno == ENOENT;
		loading->fd = open(
			name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	}
	return loading->fd >= 0 && write_all(loading->fd, data, size, offset);
}

static enum sqloom_status load(const char *path, const char *name,
			       struct sqloom_error *err)
{
	struct loading loading = { .name = name, .fd = -1 };
	enum sqloom_status status =
		slm_seed_read(path, load_piece, &loading, err);

	if (loading.fd >= 0)
		close(loading.fd);
	return status;
}

/* A copy that is made after the snapshot was taken belongs to it. */
static bool adopt(const struct slm_file_store *files, const char *name)
{
	static const char *const suffixes[] = { "", "-journal", "-wal" };
	char from[SLM_VFS_PATH_MAX + 16], to[SLM_VFS_PATH_MAX + 16];

	for (size_t i = 0; files->taken && i < 3; i++) {
		snprintf(from, sizeof(from), "%s%s", name, suffixes[i]);
		snprintf(to, sizeof(to), "%s%s%s", files->snap,
			 name + strlen(files->live), suffixes[i]);
		if (access(from, F_OK) == 0 && !copy_file(from, to))
			return false;
	}
	return true;
}

/* Copies what the name stands for, the first time that it is opened. */
static int load_alias(struct slm_file_store *files, const char *name)
{
	struct alias *alias = find_alias(files, name);
	enum sqloom_status status;
	struct sqloom_error err;

	if (!alias || alias->loaded)
		return SQLITE_OK;
	if (access(alias->path, F_OK) == 0) {
		status = load(alias->path, name, &err);
		if (!status && !adopt(files, name))
			status = slm_error_set(&err, SQLOOM_IO,
					       "no room for a copy of %s",
					       alias->path);
		if (status) {
			sqlite3_log(SQLITE_CANTOPEN, "%s", err.message);
			unlink(name);
			return status == SQLOOM_DATABASE ? SQLITE_BUSY :
							   SQLITE_CANTOPEN;
		}
	}
	alias->loaded = true;
	return SQLITE_OK;
}

/* ---- Methods of the VFS ----------------------------------------------- */

static int enter_locks(struct handle *handle, const char *path)
{
	struct slm_store *store = handle->store;
	struct locked_file *locked = find_locked(store->file, path);
	const struct alias *alias = find_alias(store->file, path);

	if (!locked)
		return SQLITE_NOMEM;
	slm_vfs_label(store, alias ? alias->path : path, locked->lock.label);
	slm_lock_open(&store->locks, &handle->lock, &locked->lock,
		      store->owner);
	return SQLITE_OK;
}

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *base,
		    int flags, int *out_flags)
{
	struct slm_store *store = slm_vfs_store(vfs);
	struct handle *handle = handle_of(base);
	int rc = slm_vfs_fault(store);

	base->pMethods = NULL;
	if (!rc && path && (flags & SQLITE_OPEN_MAIN_DB))
		rc = load_alias(store->file, path);
	if (rc)
		return rc;
	memset(handle, 0, sizeof(*handle) + (size_t)store->system->szOsFile);
	handle->store = store;
	handle->real = (sqlite3_file *)(handle + 1);
	rc = store->system->xOpen(store->system, path, handle->real, flags,
				  out_flags);
	if (!rc && (flags & SQLITE_OPEN_MAIN_DB)) {
		rc = enter_locks(handle, path);
		if (rc)
			real_methods(handle)->xClose(handle->real);
	}
	if (!rc)
		base->pMethods = &methods;
	return rc;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int sync_directory)
{
	struct slm_store *store = slm_vfs_store(vfs);
	int fault = slm_vfs_fault(store);

	(void)sync_directory;
	return fault ? fault : store->system->xDelete(store->system, path, 0);
}

static int vfs_access(sqlite3_vfs *vfs, const char *path, int flags, int *out)
{
	struct slm_store *store = slm_vfs_store(vfs);
	int fault = slm_vfs_fault(store);

	return fault ? fault :
		       store->system->xAccess(store->system, path, flags, out);
}

/* ---- Making, restoring, freeing --------------------------------------- */

enum sqloom_status slm_vfs_file_init(struct slm_store *store,
				     struct sqloom_error *err)
{
	struct slm_file_store *files = slm_calloc(1, sizeof(*files));
	int fd;

	if (!files)
		return slm_error_nomem(err);
	store->file = files;
	/* Memory that looks like a disk is fastest; the usual place is next. */
	if (!slm_private_make(files->directory, sizeof(files->directory),
			      &files->directory_lock))
		return slm_error_errno(err, SQLOOM_IO, errno,
				       "cannot make a directory in /dev/shm "
				       "or " P_tmpdir);
	snprintf(files->live, sizeof(files->live), "%s/live", files->directory);
	snprintf(files->snap, sizeof(files->snap), "%s/snap", files->directory);
	snprintf(store->main_path, sizeof(store->main_path), "%s/main.db",
		 files->live);
	if (mkdir(files->live, 0700) != 0 || mkdir(files->snap, 0700) != 0)
		return slm_error_errno(err, SQLOOM_IO, errno,
				       "cannot make directories in %s",
				       files->directory);
	fd = open(store->main_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return slm_error_errno(err, SQLOOM_IO, errno, "cannot make %s",
				       store->main_path);
	close(fd);
	store->vfs.szOsFile =
		(int)sizeof(struct handle) + store->system->szOsFile;
	store->vfs.xOpen = vfs_open;
	store->vfs.xDelete = vfs_delete;
	store->vfs.xAccess = vfs_access;
	store->vfs.xFullPathname = vfs_full_path;
	return SQLOOM_OK;
}

void slm_vfs_file_deinit(struct slm_store *store)
{
	struct slm_file_store *files = store->file;

	if (!files)
		return;
	if (files->directory[0])
		slm_private_remove(files->directory, files->directory_lock);
	while (files->locked) {
		struct locked_file *next = files->locked->next;

		slm_free(files->locked);
		files->locked = next;
	}
	for (unsigned i = 0; i < files->alias_count; i++) {
		slm_free(files->aliases[i]->path);
		slm_free(files->aliases[i]);
	}
	slm_free(files);
	store->file = NULL;
}

enum sqloom_status slm_vfs_file_load(struct slm_store *store, const char *path,
				     struct sqloom_error *err)
{
	return load(path, store->main_path, err);
}

enum sqloom_status slm_vfs_file_snapshot(struct slm_store *store,
					 struct sqloom_error *err)
{
	struct slm_file_store *files = store->file;

	if (!each_file(files->snap, NULL) ||
	    !each_file(files->live, files->snap))
		return slm_error_errno(err, SQLOOM_IO, errno,
				       "cannot copy the database files in %s",
				       files->directory);
	files->taken = true;
	return SQLOOM_OK;
}

enum sqloom_status slm_vfs_file_restore(struct slm_store *store,
					struct sqloom_error *err)
{
	struct slm_file_store *files = store->file;

	assert(files->taken);
	if (store->locks.open)
		return slm_error_set(err, SQLOOM_UNSUPPORTED,
				     "a connection to %s is still open: close "
				     "the connections before restoring",
				     store->locks.open->file->label);
	if (!each_file(files->live, NULL) ||
	    !each_file(files->snap, files->live))
		return slm_error_errno(err, SQLOOM_IO, errno,
				       "cannot put the database files back "
				       "in %s",
				       files->directory);
	return SQLOOM_OK;
}
