/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory files: names, bytes, growth, and the pool. Putting them back is in
 * sqlite_restore.c.
 */
#include "db/sqlite_mem.h"

#include <assert.h>
#include <string.h>

#include "base/alloc.h"

void slm_mem_init(struct slm_mem *mem)
{
	memset(mem, 0, sizeof(*mem));
}

/* ---- Regions that outlive the store ------------------------------------ */

struct slm_mem_keep *slm_mem_keep_new(void)
{
	struct slm_mem_keep *keep = slm_calloc(1, sizeof(*keep));

	if (keep)
		atomic_init(&keep->refs, 1);
	return keep;
}

void slm_mem_keep_unref(struct slm_mem_keep *keep)
{
	if (!keep || atomic_fetch_sub(&keep->refs, 1) > 1)
		return;
	while (keep->regions) {
		void *region = keep->regions;

		memcpy(&keep->regions, region, sizeof(keep->regions));
		slm_free(region);
	}
	slm_free(keep);
}

struct slm_mem_keep *slm_mem_keep_regions(struct slm_mem *mem,
					  struct slm_mem_keep *keep)
{
	if (mem->keep)
		slm_mem_keep_unref(keep);
	else
		mem->keep = keep;
	atomic_fetch_add(&mem->keep->refs, 1);
	return mem->keep;
}

static void free_region(struct slm_mem_keep *keep, uint8_t *region)
{
	if (!keep || !region) {
		slm_free(region);
		return;
	}
	memcpy(region, &keep->regions, sizeof(keep->regions));
	keep->regions = region;
}

/* ---- Making and freeing ------------------------------------------------ */

static void free_file(struct slm_mem_file *file, struct slm_mem_keep *keep)
{
	for (uint32_t i = 0; i < file->units_capacity; i++)
		slm_free(file->saved[i]);
	for (unsigned i = 0; i < file->index.allocated; i++) {
		free_region(keep, file->index.regions[i]);
		slm_free(file->index.saved[i]);
	}
	slm_free(file->index.regions);
	slm_free(file->index.saved);
	slm_free(file->saved);
	slm_free(file->dirty);
	slm_free(file->dirty_list);
	slm_free(file->data);
	slm_free(file);
}

static void free_chain(struct slm_mem_file *file, struct slm_mem_keep *keep)
{
	while (file) {
		struct slm_mem_file *next = file->next;

		free_file(file, keep);
		file = next;
	}
}

void slm_mem_deinit(struct slm_mem *mem)
{
	free_chain(mem->files, mem->keep);
	free_chain(mem->pool, mem->keep);
	slm_mem_keep_unref(mem->keep);
	for (size_t i = 0; i < mem->unit_count; i++)
		slm_free(mem->units[i]);
	slm_free(mem->units);
	slm_free(mem->seen);
	slm_free(mem->scratch);
	slm_mem_init(mem);
}

/* Does it have this name? Names mostly differ in their last character. */
static bool is_called(const struct slm_mem_file *file, const char *name,
		      size_t size)
{
	return file->name_size == size &&
	       file->name[size - 1] == name[size - 1] &&
	       memcmp(file->name, name, size) == 0;
}

struct slm_mem_file *slm_mem_find(const struct slm_mem *mem, const char *name)
{
	size_t size = strlen(name);

	if (size == 0)
		return NULL;
	for (struct slm_mem_file *file = mem->files; file; file = file->next) {
		if (file->linked && is_called(file, name, size))
			return file;
	}
	return NULL;
}

/*
 * A file of the snapshot that was deleted and is made anew under its old name
 * is the same object again, so that a restore finds one file of that name.
 */
static struct slm_mem_file *revive(struct slm_mem *mem, const char *name,
				   size_t size)
{
	for (struct slm_mem_file *file = mem->files; file; file = file->next) {
		if (!file->linked && file->in_snapshot && file->refs == 0 &&
		    is_called(file, name, size)) {
			if (!slm_mem_truncate(mem, file, 0))
				return NULL;
			file->linked = true;
			return file;
		}
	}
	return NULL;
}

static struct slm_mem_file *take_object(struct slm_mem *mem)
{
	struct slm_mem_file *file = mem->pool;

	if (file)
		mem->pool = file->next;
	else
		file = slm_calloc(1, sizeof(*file));
	return file;
}

struct slm_mem_file *slm_mem_create(struct slm_mem *mem, const char *name,
				    enum slm_mem_kind kind)
{
	size_t size = name ? strlen(name) : 0;
	struct slm_mem_file *file;

	if (size >= SLM_MEM_PATH_MAX)
		return NULL;
	file = size > 0 ? revive(mem, name, size) : NULL;
	if (file)
		return file;
	file = take_object(mem);
	if (!file)
		return NULL;
	file->kind = kind;
	file->linked = size > 0;
	file->name_size = size;
	memcpy(file->name, name ? name : "", size + 1);
	file->next = mem->files;
	mem->files = file;
	return file;
}

/* Other files point to a database and its WAL only as long as both exist. */
static void forget_links(struct slm_mem *mem, const struct slm_mem_file *gone)
{
	for (struct slm_mem_file *file = mem->files; file; file = file->next) {
		if (file->wal == gone)
			file->wal = NULL;
		if (file->db == gone)
			file->db = NULL;
	}
}

void slm_mem_release(struct slm_mem *mem, struct slm_mem_file *file)
{
	struct slm_mem_file **at = &mem->files;

	if (file->linked || file->refs > 0 || file->in_snapshot)
		return;
	while (*at != file) {
		assert(*at);
		at = &(*at)->next;
	}
	*at = file->next;
	if (file->kind == SLM_MEM_DB || file->kind == SLM_MEM_WAL)
		forget_links(mem, file);
	assert(!file->lock.handles && file->index.refs == 0);
	assert(file->snap_units == 0 && file->dirty_count == 0);
	file->size = 0;
	file->index.count = 0;
	file->counter = file->cookie = file->cookie_now = 0;
	file->cookie_written = false;
	file->wal = file->db = NULL;
	file->frame_page = 0;
	file->next = mem->pool;
	mem->pool = file;
}

void slm_mem_unlink(struct slm_mem *mem, struct slm_mem_file *file)
{
	assert(file->linked);
	file->linked = false;
	slm_mem_release(mem, file);
}

bool slm_mem_reserve(struct slm_mem_file *file, uint64_t size)
{
	size_t wanted = file->capacity + file->capacity / 2;
	uint8_t *data;

	if (size <= file->capacity)
		return true;
	if (size > SLM_MEM_FILE_MAX)
		return false;
	if (wanted < size)
		wanted = (size_t)size;
	wanted = (wanted + SLM_MEM_UNIT - 1) / SLM_MEM_UNIT * SLM_MEM_UNIT;
	data = slm_realloc(file->data, wanted);
	if (!data)
		return false;
	memset(data + file->capacity, 0, wanted - file->capacity);
	file->data = data;
	file->capacity = wanted;
	return true;
}

static uint8_t *take_unit(struct slm_mem *mem)
{
	if (mem->unit_count > 0)
		return mem->units[--mem->unit_count];
	return slm_malloc(SLM_MEM_UNIT);
}

/* Marks a unit of the snapshot as written, and saves it the first time. */
static bool touch(struct slm_mem *mem, struct slm_mem_file *file, uint32_t unit)
{
	assert(unit < file->snap_units);
	if (file->dirty[unit])
		return true;
	if (!file->saved[unit]) {
		uint8_t *block = take_unit(mem);

		if (!block)
			return false;
		memcpy(block, file->data + (size_t)unit * SLM_MEM_UNIT,
		       SLM_MEM_UNIT);
		file->saved[unit] = block;
	}
	file->dirty[unit] = 1;
	file->dirty_list[file->dirty_count++] = unit;
	return true;
}

/* Marks the units of the snapshot that hold the bytes from offset to end. */
static bool touch_range(struct slm_mem *mem, struct slm_mem_file *file,
			uint64_t offset, uint64_t end)
{
	uint64_t unit = offset / SLM_MEM_UNIT;
	uint64_t last = (end + SLM_MEM_UNIT - 1) / SLM_MEM_UNIT;

	if (last > file->snap_units)
		last = file->snap_units;
	for (; unit < last; unit++) {
		if (!touch(mem, file, (uint32_t)unit))
			return false;
	}
	return true;
}

/* The newer of two counters as SQLite counts, in 32 bits that wrap; 0 means
 * that none is known yet. */
static uint32_t newer(uint32_t known, uint32_t seen)
{
	return known == 0 || (int32_t)(seen - known) > 0 ? seen : known;
}

/* Page 1 of a database is written: remember the newest counters. */
static void note_header(struct slm_mem_file *db, const uint8_t *page)
{
	uint32_t cookie = slm_mem_get32(page + 40);

	db->counter = newer(db->counter, slm_mem_get32(page + 24));
	db->cookie = newer(db->cookie, cookie);
	if (cookie != db->cookie_now)
		db->cookie_written = true;
}

/* SQLite writes a WAL frame in two parts: 24 bytes that begin with the page
 * number, then the page. */
static void note_frame(struct slm_mem_file *wal, const uint8_t *data,
		       size_t size)
{
	if (size == 24)
		wal->frame_page = slm_mem_get32(data);
	else if (wal->frame_page == 1 && size >= 100)
		note_header(wal->db, data);
	wal->db->index.hash_changed = true;
}

/*
 * The first page of a database that was empty: its counters start from nothing
 * although connections may remember pages of an earlier run under the same
 * numbers. They get new ones; the writer sees them as another's change.
 */
static void renumber(struct slm_mem_file *db)
{
	slm_mem_put32(db->data + 24, ++db->counter);
	slm_mem_put32(db->data + 92, db->counter);
	slm_mem_put32(db->data + 40, ++db->cookie);
}

bool slm_mem_write(struct slm_mem *mem, struct slm_mem_file *file,
		   const void *data, size_t size, uint64_t offset)
{
	uint64_t end = offset + size;
	bool first = file->size == 0;

	if (offset > SLM_MEM_FILE_MAX || !slm_mem_reserve(file, end))
		return false;
	if (offset < file->snap_size && !touch_range(mem, file, offset, end))
		return false;
	if (offset > file->size)
		memset(file->data + file->size, 0, offset - file->size);
	memcpy(file->data + offset, data, size);
	if (end > file->size)
		file->size = end;
	if (file->kind == SLM_MEM_DB && offset == 0 && size >= 100) {
		if (first && file->counter != 0)
			renumber(file);
		note_header(file, file->data);
	}
	if (file->kind == SLM_MEM_WAL && file->db)
		note_frame(file, data, size);
	return true;
}

bool slm_mem_truncate(struct slm_mem *mem, struct slm_mem_file *file,
		      uint64_t size)
{
	if (!slm_mem_reserve(file, size) ||
	    !touch_range(mem, file, size, file->snap_size))
		return false;
	if (size > file->size)
		memset(file->data + file->size, 0, size - file->size);
	file->size = size;
	return true;
}

static bool grow_index(struct slm_mem_index *index, unsigned wanted)
{
	uint8_t **regions, **saved;

	if (wanted <= index->allocated)
		return true;
	if (wanted > SLM_MEM_REGIONS_MAX)
		return false;
	regions = slm_reallocarray(index->regions, wanted, sizeof(*regions));
	if (!regions)
		return false;
	index->regions = regions;
	saved = slm_reallocarray(index->saved, wanted, sizeof(*saved));
	if (!saved)
		return false;
	index->saved = saved;
	for (; index->allocated < wanted; index->allocated++) {
		regions[index->allocated] = NULL;
		saved[index->allocated] = NULL;
	}
	return true;
}

bool slm_mem_index_map(struct slm_mem_file *file, unsigned region, bool extend,
		       uint8_t **out)
{
	struct slm_mem_index *index = &file->index;

	*out = NULL;
	if (region >= index->count && !extend)
		return true;
	if (!grow_index(index, region + 1))
		return false;
	while (index->count <= region) {
		uint8_t **block = &index->regions[index->count];

		if (!*block)
			*block = slm_malloc(SLM_MEM_REGION);
		if (!*block)
			return false;
		memset(*block, 0, SLM_MEM_REGION);
		index->count++;
	}
	*out = index->regions[region];
	return true;
}
