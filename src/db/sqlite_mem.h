/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files in memory that can be put back to a snapshot: what the MEMORY store
 * keeps its bytes in. Knows names, bytes, the WAL-index regions and which
 * parts of a file SQLite keeps its counters in; knows no sqlite3_vfs.
 *
 * The contents of a file are one block. The snapshot costs nothing until a
 * unit of it is overwritten for the first time: then the unit's bytes are
 * saved, once, and stay saved until the next snapshot. A restore copies back
 * the units that were written since the last one.
 *
 * Invariants: saved[u], where it is not NULL, holds unit u of the snapshot. A
 * unit of the snapshot that is not marked dirty holds the snapshot's bytes.
 * (Counters that a restore moves on are moved in both.) The capacity of a
 * block is a multiple of the unit. Objects and blocks that are not in use wait
 * in the pool, so that a warm store allocates nothing.
 */
#ifndef SLM_DB_SQLITE_MEM_H
#define SLM_DB_SQLITE_MEM_H

#include <sqloom/sqloom.h>
#include <stdatomic.h>

#include "db/sqlite_lock.h"

#define SLM_MEM_UNIT 4096     /* bytes, what is marked dirty and saved */
#define SLM_MEM_PATH_MAX 1024 /* bytes of a name, with the NUL */
#define SLM_MEM_FILE_MAX ((size_t)8 << 30) /* bytes of one file */
#define SLM_MEM_REGION 32768		   /* bytes of a WAL-index region */
#define SLM_MEM_REGIONS_MAX 4096	   /* regions of a WAL-index */

enum slm_mem_kind {
	SLM_MEM_DB,	 /* main database or attached */
	SLM_MEM_JOURNAL, /* rollback journal */
	SLM_MEM_WAL,
	SLM_MEM_OTHER, /* super-journals, temporary files */
};

/* The WAL-index of a database file. Regions stay where they are as long as the
 * file object lives: connections keep pointers to them. */
struct slm_mem_index {
	uint8_t **regions;    /* owned, SLM_MEM_REGION bytes each */
	uint8_t **saved;      /* the snapshot of them; NULL where none */
	unsigned allocated;   /* entries of regions and saved */
	unsigned count;	      /* regions that exist */
	unsigned saved_count; /* regions in the snapshot; 0: none was open */
	unsigned refs;	      /* handles that have it mapped */
	bool header_changed;  /* since the snapshot was put back */
	bool hash_changed;
};

struct slm_mem_file {
	struct slm_mem_file *next;
	struct slm_lock_file lock;
	enum slm_mem_kind kind;
	unsigned refs; /* open handles */
	bool linked;   /* can be found by its name */
	bool in_snapshot;
	size_t name_size; /* bytes, without the NUL; 0: no name */
	char name[SLM_MEM_PATH_MAX];

	uint8_t *data; /* owned */
	size_t size;
	size_t capacity;

	size_t snap_size;	 /* bytes in the snapshot */
	uint32_t snap_units;	 /* units that hold them */
	uint32_t units_capacity; /* entries of the three below */
	uint8_t *dirty;		 /* one per unit */
	uint8_t **saved;	 /* one per unit; NULL: never written */
	uint32_t *dirty_list;	 /* the units marked, in order of marking */
	uint32_t dirty_count;

	/* Of a database file. */
	struct slm_mem_index index;
	struct slm_mem_file *wal; /* borrowed; its -wal when last looked up */
	uint32_t counter;	  /* the newest change counter seen */
	uint32_t cookie;	  /* the newest schema cookie seen */
	uint32_t cookie_now;	  /* the one that the snapshot has */
	bool cookie_written;	  /* another one was, since the restore */
	/* Of a -wal: the database, and the page of the frame being written. */
	struct slm_mem_file *db; /* borrowed; may be NULL */
	uint32_t frame_page;
};

/* WAL-index regions that connections still point to after the store was freed:
 * they stay until nobody refers to this any more. */
struct slm_mem_keep {
	atomic_uint refs; /* the store, and who knows such connections */
	void *regions;	  /* owned; each begins with a pointer to the next */
};

struct slm_mem {
	struct slm_mem_file *files; /* owned: all in use */
	struct slm_mem_file *pool;  /* owned: objects to use again */
	uint8_t **units;	    /* owned: unit blocks to use again */
	size_t unit_count;
	size_t unit_capacity;
	bool taken;		   /* a snapshot exists */
	struct slm_mem_keep *keep; /* a reference; NULL: nothing is kept */
	/* For images, see sqlite_image.c: pages seen, by number; two pages. */
	uint8_t *seen;
	size_t seen_capacity;
	uint8_t *scratch;
};

void slm_mem_init(struct slm_mem *mem);
void slm_mem_deinit(struct slm_mem *mem);

/* NULL: memory is out. */
struct slm_mem_keep *slm_mem_keep_new(void);
void slm_mem_keep_unref(struct slm_mem_keep *keep);
/* The regions that there are when it is freed go to keep, or to the one that
 * was said first: returns a reference to that, and takes the one to keep. */
struct slm_mem_keep *slm_mem_keep_regions(struct slm_mem *mem,
					  struct slm_mem_keep *keep);

/* By name, among those that are linked. NULL: none. */
struct slm_mem_file *slm_mem_find(const struct slm_mem *mem, const char *name);
/* A new empty file; name NULL: one without a name, not linked. NULL: memory is
 * out or the name is too long. */
struct slm_mem_file *slm_mem_create(struct slm_mem *mem, const char *name,
				    enum slm_mem_kind kind);
void slm_mem_unlink(struct slm_mem *mem, struct slm_mem_file *file);
/* Called when the last handle was closed or the name was removed: the object
 * goes to the pool if nothing needs it any more. */
void slm_mem_release(struct slm_mem *mem, struct slm_mem_file *file);

/* False: memory is out or the file would exceed its limit. */
bool slm_mem_write(struct slm_mem *mem, struct slm_mem_file *file,
		   const void *data, size_t size, uint64_t offset);
bool slm_mem_truncate(struct slm_mem *mem, struct slm_mem_file *file,
		      uint64_t size);
/* Makes room for a file of this size without changing it. */
bool slm_mem_reserve(struct slm_mem_file *file, uint64_t size);

/* The region, made if extend; *out NULL if it is not there. False: no memory. */
bool slm_mem_index_map(struct slm_mem_file *file, unsigned region, bool extend,
		       uint8_t **out);

enum sqloom_status slm_mem_snapshot(struct slm_mem *mem,
				    struct sqloom_error *err);
/* Makes one file, as it is now, part of a snapshot that was taken before. */
enum sqloom_status slm_mem_snapshot_file(struct slm_mem *mem,
					 struct slm_mem_file *file,
					 struct sqloom_error *err);
enum sqloom_status slm_mem_restore(struct slm_mem *mem,
				   struct sqloom_error *err);

/* sqlite_image.c: see slm_store_image(). 0: memory is out. */
uint64_t slm_mem_image(struct slm_mem *mem);

/* Changes bytes of the snapshot, and of the file, which must be the same as
 * the snapshot there: just after a restore. */
void slm_mem_patch(struct slm_mem_file *file, uint64_t offset, const void *data,
		   size_t size);

/* sqlite_wal.c: gives the just restored snapshot of a WAL database the schema
 * cookie db->cookie_now, so that every connection notices. */
void slm_mem_wal_set_cookie(struct slm_mem_file *db, struct slm_mem_file *wal);

/* Big-endian numbers, as SQLite's files have them. */
static inline uint32_t slm_mem_get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 |
	       (uint32_t)at[2] << 8 | at[3];
}

static inline void slm_mem_put32(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 24);
	at[1] = (uint8_t)(value >> 16);
	at[2] = (uint8_t)(value >> 8);
	at[3] = (uint8_t)value;
}

#endif
