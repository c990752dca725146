/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MEMORY kind: SQLite's file methods over memory files and the lock table.
 * What the unix VFS does and SQLite can see is done the same way: lock rules,
 * results, device characteristics, files that are deleted while open. This is
 * the inner loop of an exploration: a read or write is a memcpy, and a warm
 * store allocates nothing.
 *
 * Invariant: nothing of the store's state is held in local variables across a
 * sleep, because other owners run there.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "db/sqlite_vfs.h"

#define MMAP_MAX 0x7fff0000 /* bytes; the most that PRAGMA mmap_size reports */

struct handle {
	sqlite3_file base;
	struct slm_store *store;   /* borrowed */
	struct slm_mem_file *file; /* borrowed; counted in its refs */
	struct slm_lock_handle lock;
	sqlite3_int64 mmap_size; /* kept for PRAGMA mmap_size only */
	int chunk_size;
	bool persist_wal;
	bool powersafe;
};

static struct handle *handle_of(sqlite3_file *base)
{
	return (struct handle *)base;
}

static int unmap_index(sqlite3_file *base, int delete_index);

static int mem_close(sqlite3_file *base)
{
	struct handle *handle = handle_of(base);
	struct slm_mem_file *file = handle->file;

	unmap_index(base, 0);
	slm_lock_close(&handle->store->locks, &handle->lock);
	assert(file->refs > 0);
	file->refs--;
	slm_mem_release(&handle->store->mem, file);
	base->pMethods = NULL;
	return SQLITE_OK;
}

static int mem_read(sqlite3_file *base, void *out, int amount,
		    sqlite3_int64 offset)
{
	struct handle *handle = handle_of(base);
	const struct slm_mem_file *file = handle->file;
	size_t wanted = (size_t)amount, there = 0;
	int fault = slm_vfs_fault(handle->store);

	if (fault)
		return fault;
	if ((size_t)offset < file->size)
		there = file->size - (size_t)offset;
	if (there >= wanted) {
		memcpy(out, file->data + offset, wanted);
		return SQLITE_OK;
	}
	if (there > 0)
		memcpy(out, file->data + offset, there);
	memset((char *)out + there, 0, wanted - there);
	return SQLITE_IOERR_SHORT_READ;
}

/* Why a file could not grow to this size. */
static int no_room(uint64_t size)
{
	return size > SLM_MEM_FILE_MAX ? SQLITE_FULL : SQLITE_IOERR_NOMEM;
}

static int mem_write(sqlite3_file *base, const void *data, int amount,
		     sqlite3_int64 offset)
{
	struct handle *handle = handle_of(base);
	int fault = slm_vfs_fault(handle->store);

	if (fault)
		return fault;
	if (!slm_mem_write(&handle->store->mem, handle->file, data,
			   (size_t)amount, (uint64_t)offset))
		return no_room((uint64_t)offset + (size_t)amount);
	return SQLITE_OK;
}

static int mem_truncate(sqlite3_file *base, sqlite3_int64 size)
{
	struct handle *handle = handle_of(base);
	int fault = slm_vfs_fault(handle->store);

	if (fault)
		return fault;
	if (handle->chunk_size > 0)
		size = (size + handle->chunk_size - 1) / handle->chunk_size *
		       handle->chunk_size;
	if (!slm_mem_truncate(&handle->store->mem, handle->file,
			      (uint64_t)size))
		return no_room((uint64_t)size);
	return SQLITE_OK;
}

static int mem_sync(sqlite3_file *base, int flags)
{
	(void)flags;
	return slm_vfs_fault(handle_of(base)->store);
}

static int mem_size(sqlite3_file *base, sqlite3_int64 *out)
{
	struct handle *handle = handle_of(base);
	int fault = slm_vfs_fault(handle->store);

	if (fault)
		return fault;
	*out = (sqlite3_int64)handle->file->size;
	return SQLITE_OK;
}

/* ---- Locks of the file ------------------------------------------------ */

static int mem_lock(sqlite3_file *base, int level)
{
	struct handle *handle = handle_of(base);
	struct slm_store *store = handle->store;
	int fault = slm_vfs_fault(store);
	bool granted;

	if (fault)
		return fault;
	if (!handle->lock.file || handle->lock.level >= level)
		return SQLITE_OK;
	granted = slm_lock_allowed(&handle->lock, level);
	slm_lock_record(&store->locks, &handle->lock, level, granted);
	return granted ? SQLITE_OK : SQLITE_BUSY;
}

static int mem_unlock(sqlite3_file *base, int level)
{
	struct handle *handle = handle_of(base);
	int fault = slm_vfs_fault(handle->store);

	/* Even where unlocking fails the lock is gone, as with POSIX locks. */
	if (handle->lock.file)
		slm_lock_lower(&handle->store->locks, &handle->lock, level);
	return fault;
}

static int mem_check_reserved(sqlite3_file *base, int *out)
{
	struct handle *handle = handle_of(base);
	int fault = slm_vfs_fault(handle->store);

	if (fault)
		return fault;
	*out = handle->lock.file && slm_lock_reserved(handle->lock.file);
	return SQLITE_OK;
}

/* ---- The WAL-index ---------------------------------------------------- */

static void open_index(struct handle *handle)
{
	struct slm_mem_index *index = &handle->file->index;

	if (handle->lock.mapped)
		return;
	handle->lock.mapped = true;
	if (index->refs++ > 0)
		return;
	/* The first to map it finds nothing in it, and recovers. */
	index->count = 0;
	index->header_changed = index->hash_changed = true;
}

static int map_index(sqlite3_file *base, int region, int size, int extend,
		     void volatile **out)
{
	struct handle *handle = handle_of(base);
	int fault = slm_vfs_fault(handle->store);
	uint8_t *block;

	*out = NULL;
	if (fault)
		return fault;
	if (size != SLM_MEM_REGION || !handle->lock.file)
		return SQLITE_IOERR_SHMMAP;
	open_index(handle);
	if (!slm_mem_index_map(handle->file, (unsigned)region, extend != 0,
			       &block))
		return SQLITE_IOERR_NOMEM;
	*out = block;
	return SQLITE_OK;
}

/* What can have changed once these slots are held exclusively. */
static void expect_changes(struct slm_mem_index *index, uint8_t slots)
{
	index->header_changed = true;
	if (slots & 1 << 2) /* recovery writes all of it */
		index->hash_changed = true;
}

static int lock_index(sqlite3_file *base, int first, int count, int flags)
{
	struct handle *handle = handle_of(base);
	struct slm_store *store = handle->store;
	uint8_t slots = (uint8_t)(((1u << count) - 1) << first);
	bool exclusively = flags & SQLITE_SHM_EXCLUSIVE;
	int fault = slm_vfs_fault(store);
	bool granted;

	if (!handle->lock.mapped)
		return SQLITE_IOERR_SHMLOCK;
	if (flags & SQLITE_SHM_UNLOCK) {
		slm_lock_release_slots(&store->locks, &handle->lock, slots);
		return SQLITE_OK;
	}
	if (fault)
		return fault;
	granted = slm_lock_slots_allowed(&handle->lock, slots, exclusively);
	slm_lock_record_slots(&store->locks, &handle->lock, slots, exclusively,
			      granted);
	if (!granted)
		return SQLITE_BUSY;
	if (exclusively)
		expect_changes(&handle->file->index, slots);
	return SQLITE_OK;
}

static void index_barrier(sqlite3_file *base)
{
	(void)base;
	__asm__ volatile("" ::: "memory");
}

static int unmap_index(sqlite3_file *base, int delete_index)
{
	struct handle *handle = handle_of(base);

	(void)delete_index;
	if (!handle->lock.mapped)
		return SQLITE_OK;
	slm_lock_release_slots(&handle->store->locks, &handle->lock, 0xff);
	handle->lock.mapped = false;
	assert(handle->file->index.refs > 0);
	handle->file->index.refs--;
	return SQLITE_OK;
}

/* ---- The rest of a file ----------------------------------------------- */

/* -1 asks, 0 and 1 set, the answer comes back in *value. */
static void ask_mode(bool *mode, int *value)
{
	if (*value < 0)
		*value = *mode;
	else
		*mode = *value != 0;
}

static void ask_mmap_size(struct handle *handle, sqlite3_int64 *size)
{
	sqlite3_int64 wanted = *size < MMAP_MAX ? *size : MMAP_MAX;

	*size = handle->mmap_size;
	if (wanted >= 0)
		handle->mmap_size = wanted;
}

static int mem_control(sqlite3_file *base, int op, void *arg)
{
	struct handle *handle = handle_of(base);

	switch (op) {
	case SQLITE_FCNTL_LOCKSTATE:
		*(int *)arg = handle->lock.level;
		return SQLITE_OK;
	case SQLITE_FCNTL_LAST_ERRNO:
	case SQLITE_FCNTL_EXTERNAL_READER:
		*(int *)arg = 0;
		return SQLITE_OK;
	case SQLITE_FCNTL_CHUNK_SIZE:
		handle->chunk_size = *(int *)arg;
		return SQLITE_OK;
	case SQLITE_FCNTL_SIZE_HINT:
		return SQLITE_OK;
	case SQLITE_FCNTL_PERSIST_WAL:
		ask_mode(&handle->persist_wal, arg);
		return SQLITE_OK;
	case SQLITE_FCNTL_POWERSAFE_OVERWRITE:
		ask_mode(&handle->powersafe, arg);
		return SQLITE_OK;
	case SQLITE_FCNTL_VFSNAME:
		*(char **)arg = sqlite3_mprintf("%s", handle->store->name);
		return SQLITE_OK;
	case SQLITE_FCNTL_HAS_MOVED:
		*(int *)arg = !handle->file->linked;
		return SQLITE_OK;
	case SQLITE_FCNTL_MMAP_SIZE:
		ask_mmap_size(handle, arg);
		return SQLITE_OK;
	default:
		return SQLITE_NOTFOUND;
	}
}

static int mem_sector(sqlite3_file *base)
{
	(void)base;
	return SLM_VFS_SECTOR;
}

static int mem_characteristics(sqlite3_file *base)
{
	return handle_of(base)->powersafe ? SQLITE_IOCAP_POWERSAFE_OVERWRITE :
					    0;
}

static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = mem_close,
	.xRead = mem_read,
	.xWrite = mem_write,
	.xTruncate = mem_truncate,
	.xSync = mem_sync,
	.xFileSize = mem_size,
	.xLock = mem_lock,
	.xUnlock = mem_unlock,
	.xCheckReservedLock = mem_check_reserved,
	.xFileControl = mem_control,
	.xSectorSize = mem_sector,
	.xDeviceCharacteristics = mem_characteristics,
	.xShmMap = map_index,
	.xShmLock = lock_index,
	.xShmBarrier = index_barrier,
	.xShmUnmap = unmap_index,
};

/* ---- Names ------------------------------------------------------------ */

static enum slm_mem_kind kind_of(int flags)
{
	if (flags & SQLITE_OPEN_MAIN_DB)
		return SLM_MEM_DB;
	if (flags & SQLITE_OPEN_MAIN_JOURNAL)
		return SLM_MEM_JOURNAL;
	if (flags & SQLITE_OPEN_WAL)
		return SLM_MEM_WAL;
	return SLM_MEM_OTHER;
}

/* A -wal and its database know each other. */
static void link_wal(struct slm_mem *mem, struct slm_mem_file *wal)
{
	char name[SLM_MEM_PATH_MAX];

	if (wal->db || wal->name_size < 4)
		return;
	memcpy(name, wal->name, wal->name_size - 4);
	name[wal->name_size - 4] = '\0';
	wal->db = slm_mem_find(mem, name);
	if (wal->db)
		wal->db->wal = wal;
}

struct loading {
	struct slm_store *store;
	const char *path;
};

/* Puts a piece of a file on the disk into the memory file of that name. */
static bool load_piece(const char *suffix, const void *data, size_t size,
		       uint64_t offset, void *userdata)
{
	struct loading *loading = userdata;
	struct slm_mem *mem = &loading->store->mem;
	struct slm_mem_file *file;
	char name[SLM_MEM_PATH_MAX];
	int n = snprintf(name, sizeof(name), "%s%s", loading->path, suffix);

	if (n < 0 || (size_t)n >= sizeof(name))
		return false;
	file = slm_mem_find(mem, name);
	if (!data) {
		if (file)
			slm_mem_unlink(mem, file);
		return true;
	}
	if (!file)
		file = slm_mem_create(mem, name,
				      *suffix == '\0'  ? SLM_MEM_DB :
				      suffix[1] == 'w' ? SLM_MEM_WAL :
							 SLM_MEM_JOURNAL);
	if (!file || (offset == 0 && !slm_mem_truncate(mem, file, 0)))
		return false;
	return size == 0 || slm_mem_write(mem, file, data, size, offset);
}

enum sqloom_status slm_vfs_mem_load(struct slm_store *store, const char *path,
				    const char *name, struct sqloom_error *err)
{
	struct loading loading = { store, name };

	return slm_seed_read(path, load_piece, &loading, err);
}

/* What was read from the disk was there before the snapshot, in a way: it
 * belongs to it, and is not read again in every run. */
static enum sqloom_status adopt(struct slm_mem *mem, const char *path)
{
	static const char *const suffixes[] = { "", "-journal", "-wal" };
	enum sqloom_status status = SQLOOM_OK;
	char name[SLM_MEM_PATH_MAX];

	for (size_t i = 0; mem->taken && !status && i < 3; i++) {
		struct slm_mem_file *file;

		snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
		file = slm_mem_find(mem, name);
		if (file)
			status = slm_mem_snapshot_file(mem, file, NULL);
	}
	return status;
}

static void drop_loaded(struct slm_mem *mem, const char *path)
{
	static const char *const suffixes[] = { "", "-journal", "-wal" };
	char name[SLM_MEM_PATH_MAX];

	for (size_t i = 0; i < 3; i++) {
		struct slm_mem_file *file;

		snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
		file = slm_mem_find(mem, name);
		if (file && !file->in_snapshot)
			slm_mem_unlink(mem, file);
	}
}

/* A database that the program attaches by the name of a file on the disk. */
static int load_from_disk(struct slm_store *store, const char *path,
			  struct slm_mem_file **out)
{
	struct sqloom_error err;
	enum sqloom_status status;

	status = slm_vfs_mem_load(store, path, path, &err);
	if (!status)
		status = adopt(&store->mem, path);
	if (status) {
		sqlite3_log(SQLITE_CANTOPEN, "%s", err.message);
		drop_loaded(&store->mem, path);
		return status == SQLOOM_DATABASE ? SQLITE_BUSY :
		       status == SQLOOM_NOMEM	 ? SQLITE_NOMEM :
						   SQLITE_CANTOPEN;
	}
	*out = slm_mem_find(&store->mem, path);
	return SQLITE_OK;
}

/* Was it in the snapshot, and deleted since? Then it is not on the disk any
 * more either, as far as the program can tell. */
static bool was_deleted(const struct slm_mem *mem, const char *path)
{
	for (const struct slm_mem_file *file = mem->files; file;
	     file = file->next) {
		if (file->in_snapshot && !file->linked &&
		    strcmp(file->name, path) == 0)
			return true;
	}
	return false;
}

static bool is_on_disk(const char *path)
{
	struct stat info;

	return stat(path, &info) == 0;
}

static int find_or_make(struct slm_store *store, const char *path, int flags,
			struct slm_mem_file **out)
{
	enum slm_mem_kind kind = kind_of(flags);
	struct slm_mem_file *file = NULL;

	if (path)
		file = slm_mem_find(&store->mem, path);
	if (file && (flags & SQLITE_OPEN_EXCLUSIVE) &&
	    (flags & SQLITE_OPEN_CREATE))
		return SQLITE_CANTOPEN;
	if (!file && path && kind == SLM_MEM_DB && is_on_disk(path) &&
	    !was_deleted(&store->mem, path))
		return load_from_disk(store, path, out);
	if (!file && path && !(flags & SQLITE_OPEN_CREATE))
		return SQLITE_CANTOPEN;
	if (!file)
		file = slm_mem_create(&store->mem, path, kind);
	if (!file)
		return SQLITE_NOMEM;
	*out = file;
	return SQLITE_OK;
}

static int vfs_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *base,
		    int flags, int *out_flags)
{
	struct slm_store *store = slm_vfs_store(vfs);
	struct handle *handle = handle_of(base);
	struct slm_mem_file *file;
	int rc = slm_vfs_fault(store);

	base->pMethods = NULL;
	if (!rc)
		rc = find_or_make(store, path, flags, &file);
	if (rc)
		return rc;
	memset(handle, 0, sizeof(*handle));
	handle->store = store;
	handle->file = file;
	handle->powersafe = sqlite3_uri_boolean(
		flags & SQLITE_OPEN_URI ? path : NULL, "psow", 1);
	file->refs++;
	if (file->kind == SLM_MEM_DB) {
		slm_vfs_label(store, file->name, file->lock.label);
		slm_lock_open(&store->locks, &handle->lock, &file->lock,
			      store->owner);
	} else if (file->kind == SLM_MEM_WAL) {
		link_wal(&store->mem, file);
	}
	base->pMethods = &methods;
	if (out_flags)
		*out_flags = flags;
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *path, int sync_directory)
{
	struct slm_store *store = slm_vfs_store(vfs);
	struct slm_mem_file *file;
	int fault = slm_vfs_fault(store);

	(void)sync_directory;
	if (fault)
		return fault;
	file = slm_mem_find(&store->mem, path);
	if (!file)
		return SQLITE_IOERR_DELETE_NOENT;
	slm_mem_unlink(&store->mem, file);
	return SQLITE_OK;
}

/* An empty file does not "exist", as in the unix VFS: SQLite asks this of
 * journals. */
static int vfs_access(sqlite3_vfs *vfs, const char *path, int flags, int *out)
{
	struct slm_store *store = slm_vfs_store(vfs);
	const struct slm_mem_file *file;
	int fault = slm_vfs_fault(store);

	if (fault)
		return fault;
	file = slm_mem_find(&store->mem, path);
	*out = file && (flags != SQLITE_ACCESS_EXISTS || file->size > 0);
	return SQLITE_OK;
}

/* Names mean what they mean on the disk, so that a file there is found. */
static int vfs_full_path(sqlite3_vfs *vfs, const char *path, int size,
			 char *out)
{
	struct slm_store *store = slm_vfs_store(vfs);
	sqlite3_vfs *system = store->system;

	if (strcmp(path, store->main_path) != 0)
		return system->xFullPathname(system, path, size, out);
	if (size <= (int)strlen(path))
		return SQLITE_CANTOPEN;
	strcpy(out, path);
	return SQLITE_OK;
}

void slm_vfs_mem_init(struct slm_store *store)
{
	slm_mem_init(&store->mem);
	store->vfs.szOsFile = sizeof(struct handle);
	store->vfs.xOpen = vfs_open;
	store->vfs.xDelete = vfs_delete;
	store->vfs.xAccess = vfs_access;
	store->vfs.xFullPathname = vfs_full_path;
}
