/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the store: what its files share. Not for other modules.
 */
#ifndef SLM_DB_SQLITE_VFS_H
#define SLM_DB_SQLITE_VFS_H

#include <sqlite3.h>

#include "base/hash.h"
#include "db/sqlite_lock.h"
#include "db/sqlite_mem.h"
#include "db/sqlite_store.h"

#define SLM_VFS_PATH_MAX 512 /* as SQLite's unix VFS: bytes of a path */
#define SLM_VFS_SECTOR 4096

struct slm_store {
	sqlite3_vfs vfs;     /* pAppData is the store */
	sqlite3_vfs *system; /* borrowed: SQLite's own for this system */
	bool registered;
	enum sqloom_store kind;
	struct slm_store_hooks hooks;
	unsigned owner; /* whose code runs */
	char name[32];
	char main_path[SLM_VFS_PATH_MAX + 64];

	struct slm_lock_table locks;
	char (*texts)[SLM_LOCK_TEXT]; /* owned: one per owner */

	int64_t clock_ms;   /* since the Unix epoch */
	int64_t clock_us;   /* the rest of it, under a millisecond */
	struct slm_rng rng; /* for xRandomness */

	uint64_t operations;
	uint64_t fail_at; /* number of the operation; 0: off */
	int fail_code;
	bool fail_sticky;

	struct slm_mem mem;	     /* MEMORY */
	struct slm_file_store *file; /* FILE; owned */
};

/* Counts an I/O operation. Not 0: it shall fail with this code. */
static inline int slm_vfs_fault(struct slm_store *store)
{
	store->operations++;
	if (__builtin_expect(store->fail_at == 0, 1))
		return SQLITE_OK;
	if (store->operations == store->fail_at ||
	    (store->fail_sticky && store->operations > store->fail_at))
		return store->fail_code;
	return SQLITE_OK;
}

static inline struct slm_store *slm_vfs_store(sqlite3_vfs *vfs)
{
	return vfs->pAppData;
}

/* The name of a file for people: "main", or the last part of its path. */
void slm_vfs_label(const struct slm_store *store, const char *path,
		   char label[64]);

/* sqlite_probe.c: see struct slm_lock_table. */
bool slm_vfs_reader_pends(sqlite3_vfs *system);

/* sqlite_vfs_mem.c: fills in the methods of the MEMORY kind. */
void slm_vfs_mem_init(struct slm_store *store);
/* Reads the database at path on the disk into the memory file of that name. */
enum sqloom_status slm_vfs_mem_load(struct slm_store *store, const char *path,
				    const char *name, struct sqloom_error *err);

/* sqlite_vfs_file.c: the FILE kind. */
enum sqloom_status slm_vfs_file_init(struct slm_store *store,
				     struct sqloom_error *err);
void slm_vfs_file_deinit(struct slm_store *store);
enum sqloom_status slm_vfs_file_load(struct slm_store *store, const char *path,
				     struct sqloom_error *err);
enum sqloom_status slm_vfs_file_snapshot(struct slm_store *store,
					 struct sqloom_error *err);
enum sqloom_status slm_vfs_file_restore(struct slm_store *store,
					struct sqloom_error *err);

/* sqlite_seed.c: what a seed is read into. size bytes at offset of the file
 * whose name ends in suffix ("", "-journal", "-wal"); begun anew with
 * offset 0; data NULL: there is no such file. False: there is no room. */
typedef bool (*slm_seed_fn)(const char *suffix, const void *data, size_t size,
			    uint64_t offset, void *userdata);
/* Reads the database at path, with its journal and WAL. */
enum sqloom_status slm_seed_read(const char *path, slm_seed_fn put,
				 void *userdata, struct sqloom_error *err);

#endif
