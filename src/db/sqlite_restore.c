/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking the snapshot of the memory files and putting it back.
 *
 * Connections stay open across a restore and keep their page caches, so bytes
 * alone are not enough. A connection in rollback mode believes its cache as
 * long as the change counter on page 1 is the one it knows: each restore
 * writes a counter that no connection has ever seen. A connection in WAL mode
 * compares the header of the WAL-index: database, -wal and WAL-index are put
 * back together, and equal headers then mean equal contents. The schema cookie
 * is moved on for the same reason when a run has changed it.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "db/sqlite_mem.h"

#define INDEX_HEADER 136 /* bytes before the page numbers of a WAL-index */

/* ---- Taking it -------------------------------------------------------- */

static bool grow_units(struct slm_mem_file *file, uint32_t wanted)
{
	uint8_t **saved;
	uint8_t *dirty;
	uint32_t *list;

	if (wanted <= file->units_capacity)
		return true;
	dirty = slm_realloc(file->dirty, wanted);
	if (!dirty)
		return false;
	file->dirty = dirty;
	list = slm_reallocarray(file->dirty_list, wanted, sizeof(*list));
	if (!list)
		return false;
	file->dirty_list = list;
	saved = slm_reallocarray(file->saved, wanted, sizeof(*saved));
	if (!saved)
		return false;
	file->saved = saved;
	memset(dirty + file->units_capacity, 0, wanted - file->units_capacity);
	memset(saved + file->units_capacity, 0,
	       (wanted - file->units_capacity) * sizeof(*saved));
	file->units_capacity = wanted;
	return true;
}

/* Units that are not needed any more are kept for later; if there is no memory
 * to remember them they are freed. */
static void give_unit(struct slm_mem *mem, uint8_t *block)
{
	if (mem->unit_count == mem->unit_capacity) {
		size_t wanted = mem->unit_capacity * 2 + 64;
		uint8_t **units =
			slm_reallocarray(mem->units, wanted, sizeof(*units));

		if (!units) {
			slm_free(block);
			return;
		}
		mem->units = units;
		mem->unit_capacity = wanted;
	}
	mem->units[mem->unit_count++] = block;
}

static void forget_snapshot(struct slm_mem *mem, struct slm_mem_file *file)
{
	for (uint32_t i = 0; i < file->snap_units; i++) {
		if (file->saved[i])
			give_unit(mem, file->saved[i]);
		file->saved[i] = NULL;
		file->dirty[i] = 0;
	}
	file->snap_units = 0;
	file->snap_size = 0;
	file->dirty_count = 0;
	file->in_snapshot = false;
	file->index.saved_count = 0;
}

static bool save_index(struct slm_mem_index *index)
{
	if (index->refs == 0)
		return true;
	for (unsigned i = 0; i < index->count; i++) {
		if (!index->saved[i])
			index->saved[i] = slm_malloc(SLM_MEM_REGION);
		if (!index->saved[i])
			return false;
		memcpy(index->saved[i], index->regions[i], SLM_MEM_REGION);
	}
	index->saved_count = index->count;
	index->header_changed = index->hash_changed = false;
	return true;
}

enum sqloom_status slm_mem_snapshot_file(struct slm_mem *mem,
					 struct slm_mem_file *file,
					 struct sqloom_error *err)
{
	size_t units = (file->size + SLM_MEM_UNIT - 1) / SLM_MEM_UNIT;

	forget_snapshot(mem, file);
	if (!grow_units(file, (uint32_t)units) || !save_index(&file->index))
		return slm_error_nomem(err);
	file->snap_size = file->size;
	file->snap_units = (uint32_t)units;
	file->in_snapshot = true;
	file->cookie_now = file->cookie;
	file->cookie_written = false;
	return SQLOOM_OK;
}

enum sqloom_status slm_mem_snapshot(struct slm_mem *mem,
				    struct sqloom_error *err)
{
	struct slm_mem_file *next;

	for (struct slm_mem_file *file = mem->files; file; file = next) {
		enum sqloom_status status;

		next = file->next;
		if (!file->linked) {
			forget_snapshot(mem, file);
			slm_mem_release(mem, file);
			continue;
		}
		status = slm_mem_snapshot_file(mem, file, err);
		if (status)
			return status;
	}
	mem->taken = true;
	return SQLOOM_OK;
}

/* ---- Putting it back -------------------------------------------------- */

void slm_mem_patch(struct slm_mem_file *file, uint64_t offset, const void *data,
		   size_t size)
{
	const uint8_t *from = data;

	assert(offset + size <= file->snap_size);
	memcpy(file->data + offset, data, size);
	for (size_t i = 0; i < size; i++) {
		uint64_t at = offset + i;
		uint8_t *unit = file->saved[at / SLM_MEM_UNIT];

		assert(!file->dirty[at / SLM_MEM_UNIT]);
		if (unit)
			unit[at % SLM_MEM_UNIT] = from[i];
	}
}

/* A byte of the snapshot, wherever it is now. */
static uint8_t snapshot_byte(const struct slm_mem_file *file, size_t at)
{
	const uint8_t *unit = file->saved[at / SLM_MEM_UNIT];

	assert(at < file->snap_size);
	return unit ? unit[at % SLM_MEM_UNIT] : file->data[at];
}

/* Was the database in WAL mode in the snapshot? Its first page says so. */
static bool was_wal(const struct slm_mem_file *db)
{
	return db->index.saved_count > 0 ||
	       (db->snap_size >= 100 && snapshot_byte(db, 18) == 2);
}

/* The file that a connection has open is not the one that comes back. */
static bool is_replaced(const struct slm_mem *mem,
			const struct slm_mem_file *file)
{
	if (file->in_snapshot || !file->linked || file->refs == 0 ||
	    (file->kind != SLM_MEM_DB && file->kind != SLM_MEM_WAL))
		return false;
	for (const struct slm_mem_file *old = mem->files; old;
	     old = old->next) {
		if (old->in_snapshot && !old->linked &&
		    strcmp(old->name, file->name) == 0)
			return true;
	}
	return false;
}

/* Can the snapshot be put back under the connections that are open? */
static enum sqloom_status check_connections(const struct slm_mem *mem,
					    struct sqloom_error *err)
{
	for (const struct slm_mem_file *file = mem->files; file;
	     file = file->next) {
		if (file->in_snapshot ? file->index.refs > 0 && !was_wal(file) :
					is_replaced(mem, file))
			return slm_error_set(
				err, SQLOOM_UNSUPPORTED,
				"a run changed the journal mode of %s or "
				"replaced its files while it was open: close "
				"the connections before restoring",
				file->lock.label);
	}
	return SQLOOM_OK;
}

static void copy_units(struct slm_mem_file *file)
{
	for (uint32_t i = 0; i < file->dirty_count; i++) {
		uint32_t unit = file->dirty_list[i];

		memcpy(file->data + (size_t)unit * SLM_MEM_UNIT,
		       file->saved[unit], SLM_MEM_UNIT);
		file->dirty[unit] = 0;
	}
	file->dirty_count = 0;
	file->size = file->snap_size;
}

/* No connection may take its cached pages for those of the snapshot. */
static void renew_counter(struct slm_mem_file *db)
{
	uint8_t counter[4];

	slm_mem_put32(counter, ++db->counter);
	slm_mem_patch(db, 24, counter, sizeof(counter));
	slm_mem_patch(db, 92, counter, sizeof(counter));
}

static void restore_index(struct slm_mem_index *index)
{
	if (index->refs == 0 || index->count == 0)
		return;
	if (index->saved_count == 0) {
		/* Nobody had it open then: an invalid header makes the next
		 * reader build it from the -wal. */
		memset(index->regions[0], 0, INDEX_HEADER);
	} else if (index->hash_changed) {
		if (index->count < index->saved_count)
			index->count = index->saved_count;
		for (unsigned i = 0; i < index->saved_count; i++)
			memcpy(index->regions[i], index->saved[i],
			       SLM_MEM_REGION);
	} else if (index->header_changed) {
		memcpy(index->regions[0], index->saved[0], INDEX_HEADER);
	}
	index->header_changed = index->hash_changed = false;
}

static void restore_file(struct slm_mem_file *file)
{
	bool written = file->dirty_count > 0 || file->size != file->snap_size;

	file->linked = true;
	if (written)
		copy_units(file);
	if (file->kind != SLM_MEM_DB)
		return;
	if (written && file->snap_size >= 100)
		renew_counter(file);
	restore_index(&file->index);
}

/* What a run created goes. A -wal that is open goes on as an empty file, which
 * is the same to SQLite. */
static void vanish(struct slm_mem *mem, struct slm_mem_file *file)
{
	if (file->kind == SLM_MEM_WAL && file->refs > 0 && file->linked) {
		file->size = 0;
		file->frame_page = 0;
	} else if (file->linked) {
		slm_mem_unlink(mem, file);
	}
}

static void move_cookie(struct slm_mem_file *db)
{
	uint8_t cookie[4];

	db->cookie_now = ++db->cookie;
	db->cookie_written = false;
	slm_mem_put32(cookie, db->cookie);
	if (was_wal(db))
		slm_mem_wal_set_cookie(db, db->wal);
	else
		slm_mem_patch(db, 40, cookie, sizeof(cookie));
}

enum sqloom_status slm_mem_restore(struct slm_mem *mem,
				   struct sqloom_error *err)
{
	enum sqloom_status status = check_connections(mem, err);
	struct slm_mem_file *next;
	bool move = false;

	if (status)
		return status;
	for (struct slm_mem_file *file = mem->files; file; file = next) {
		next = file->next;
		if (!file->in_snapshot) {
			vanish(mem, file);
			continue;
		}
		restore_file(file);
		move |= file->cookie_written;
	}
	for (struct slm_mem_file *file = mem->files; move && file;
	     file = file->next) {
		if (file->in_snapshot && file->kind == SLM_MEM_DB &&
		    file->snap_size >= 100 && file->cookie_written)
			move_cookie(file);
	}
	return SQLOOM_OK;
}
