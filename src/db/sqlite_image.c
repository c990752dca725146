/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image: a digest of how the database files differ from the snapshot.
 *
 * It is made from pages as a reader would see them, so that a WAL, whose salts
 * and checksums differ in every run, does not make equal contents different: a
 * page of a WAL database is its newest frame, or else the page in the file.
 * The digests of the pages are added up, so their order does not matter.
 *
 * Left out: the change counters and the schema cookie on page 1, journals that
 * hold nothing, and whatever equals the snapshot.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "db/sqlite_mem.h"
#include "db/sqlite_wal.h"

#define PAGE_MAX 65536

/* One database in one of its two states. */
struct view {
	const struct slm_mem_file *db;
	const struct slm_mem_file *wal; /* NULL: no frames */
	uint32_t frames;
	uint32_t pages; /* in the whole database */
	bool snapshot;	/* the snapshot's bytes, not the present ones */
};

struct image {
	struct slm_mem *mem;
	struct view now, then;
	uint32_t page_size;
	uint64_t seed;
	uint64_t sum;
	bool failed;
};

/* size bytes at offset of the file as it is or was. They lie within one unit
 * or are copied into scratch. */
static const uint8_t *bytes_at(const struct slm_mem_file *file, bool snapshot,
			       size_t offset, size_t size, uint8_t *scratch)
{
	size_t first = offset / SLM_MEM_UNIT;
	size_t last = (offset + size - 1) / SLM_MEM_UNIT;

	if (!snapshot)
		return file->data + offset;
	if (first == last)
		return file->saved[first] ?
			       file->saved[first] + offset % SLM_MEM_UNIT :
			       file->data + offset;
	for (size_t done = 0; done < size;) {
		size_t at = offset + done, unit = at / SLM_MEM_UNIT;
		size_t part = SLM_MEM_UNIT - at % SLM_MEM_UNIT;
		const uint8_t *from =
			file->saved[unit] ?
				file->saved[unit] + at % SLM_MEM_UNIT :
				file->data + at;

		if (part > size - done)
			part = size - done;
		memcpy(scratch + done, from, part);
		done += part;
	}
	return scratch;
}

static size_t size_of(const struct slm_mem_file *file, bool snapshot)
{
	return snapshot ? file->snap_size : file->size;
}

/* The newest frame of a page; 0: it is not in the log. */
static uint32_t find_frame(const struct view *view, uint32_t page_size,
			   uint32_t page)
{
	uint8_t scratch[4];

	for (uint32_t number = view->frames; number > 0; number--) {
		size_t at = slm_wal_frame(page_size, number);

		if (slm_mem_get32(bytes_at(view->wal, view->snapshot, at, 4,
					   scratch)) == page)
			return number;
	}
	return 0;
}

/* The bytes of a page, NULL if the database has no such page. */
static const uint8_t *page_of(const struct view *view, uint32_t page_size,
			      uint32_t page, uint8_t *scratch)
{
	uint32_t frame;
	size_t at = (size_t)(page - 1) * page_size;

	if (page > view->pages)
		return NULL;
	frame = view->frames > 0 ? find_frame(view, page_size, page) : 0;
	if (frame > 0)
		return bytes_at(view->wal, view->snapshot,
				slm_wal_frame(page_size, frame) +
					SLM_WAL_FRAME_HEADER,
				page_size, scratch);
	if (at + page_size > size_of(view->db, view->snapshot))
		return NULL;
	return bytes_at(view->db, view->snapshot, at, page_size, scratch);
}

/* Page 1 but for its counters. */
static const uint8_t *mask(const uint8_t *bytes, uint32_t page_size,
			   uint8_t *scratch)
{
	if (!bytes)
		return NULL;
	if (bytes != scratch)
		memcpy(scratch, bytes, page_size);
	memset(scratch + 24, 0, 4);
	memset(scratch + 40, 0, 4);
	memset(scratch + 92, 0, 4);
	return scratch;
}

/* Is it the first time that this page is looked at? */
static bool see(struct image *image, uint32_t page)
{
	struct slm_mem *mem = image->mem;
	size_t wanted = (size_t)page / 8 + 1;

	if (wanted > mem->seen_capacity) {
		uint8_t *seen = slm_realloc(mem->seen, wanted * 2);

		if (!seen) {
			image->failed = true;
			return false;
		}
		memset(seen + mem->seen_capacity, 0,
		       wanted * 2 - mem->seen_capacity);
		mem->seen = seen;
		mem->seen_capacity = wanted * 2;
	}
	if (mem->seen[page / 8] & 1 << page % 8)
		return false;
	mem->seen[page / 8] |= (uint8_t)(1 << page % 8);
	return true;
}

static void unsee(struct image *image, uint32_t page)
{
	if (page / 8 < image->mem->seen_capacity)
		image->mem->seen[page / 8] = 0;
}

static void compare_page(struct image *image, uint32_t page)
{
	uint8_t *now_scratch = image->mem->scratch;
	uint8_t *then_scratch = image->mem->scratch + PAGE_MAX;
	uint32_t size = image->page_size;
	const uint8_t *now, *then;

	if (page == 0 || !see(image, page))
		return;
	now = page_of(&image->now, size, page, now_scratch);
	then = page_of(&image->then, size, page, then_scratch);
	if (page == 1) {
		now = mask(now, size, now_scratch);
		then = mask(then, size, then_scratch);
	}
	if (!now || (then && memcmp(now, then, size) == 0))
		return;
	image->sum += slm_hash(now, size, slm_hash_mix(image->seed, page));
}

/* Is the snapshot's log the beginning of the present one? */
static bool same_log(const struct image *image)
{
	uint8_t scratch[SLM_WAL_HEADER];

	return image->now.wal && image->now.wal == image->then.wal &&
	       image->then.frames <= image->now.frames &&
	       memcmp(image->now.wal->data,
		      bytes_at(image->then.wal, true, 0, SLM_WAL_HEADER,
			       scratch),
		      SLM_WAL_HEADER) == 0;
}

/* Calls compare_page or unsee for every page that may differ. */
static void each_page(struct image *image,
		      void (*visit)(struct image *image, uint32_t page))
{
	const struct slm_mem_file *db = image->now.db;
	uint32_t size = image->page_size, shared;
	uint8_t scratch[4];

	for (uint32_t i = 0; i < db->dirty_count; i++) {
		uint64_t at = (uint64_t)db->dirty_list[i] * SLM_MEM_UNIT;

		for (uint64_t end = at + SLM_MEM_UNIT; at < end; at += size)
			visit(image, (uint32_t)(at / size + 1));
	}
	for (uint64_t at = db->snap_size; at < db->size; at += size)
		visit(image, (uint32_t)(at / size + 1));
	shared = same_log(image) ? image->then.frames : 0;
	for (uint32_t number = image->now.frames; number > shared; number--)
		visit(image, slm_mem_get32(image->now.wal->data +
					   slm_wal_frame(size, number)));
	for (uint32_t number = image->then.frames; number > 0 && !shared;
	     number--)
		visit(image, slm_mem_get32(bytes_at(image->then.wal, true,
						    slm_wal_frame(size, number),
						    4, scratch)));
}

static uint32_t page_size_of(const struct slm_mem_file *db)
{
	uint32_t size = 0;

	if (db->size >= 100)
		size = (uint32_t)db->data[16] << 8 | db->data[17];
	if (size == 1)
		return 65536;
	return size >= 512 && (size & (size - 1)) == 0 ? size : SLM_MEM_UNIT;
}

#define INDEX_PAGES 20 /* where a WAL-index has the size of the database */

static void view_wal(struct image *image, struct view *view,
		     const struct slm_mem_file *wal, const uint8_t *index)
{
	size_t size = wal ? size_of(wal, view->snapshot) : 0;
	uint32_t frames = index ? slm_wal_index_frames(index) : 0;
	uint8_t scratch[SLM_WAL_HEADER];

	if (frames == 0 || size < SLM_WAL_HEADER)
		return;
	if (slm_wal_page_size(bytes_at(wal, view->snapshot, 0, SLM_WAL_HEADER,
				       scratch),
			      size) != image->page_size ||
	    slm_wal_frame(image->page_size, frames + 1) > size)
		return;
	view->wal = wal;
	view->frames = frames;
	memcpy(&view->pages, index + INDEX_PAGES, sizeof(view->pages));
}

static void init_views(struct image *image, const struct slm_mem_file *db)
{
	const struct slm_mem_index *index = &db->index;
	const struct slm_mem_file *wal = db->wal;

	image->page_size = page_size_of(db);
	image->now = (struct view){ .db = db };
	image->then = (struct view){ .db = db, .snapshot = true };
	image->now.pages = (uint32_t)(db->size / image->page_size);
	image->then.pages = (uint32_t)(db->snap_size / image->page_size);
	if (index->refs > 0 && index->count > 0)
		view_wal(image, &image->now, wal && wal->linked ? wal : NULL,
			 index->regions[0]);
	if (index->saved_count > 0)
		view_wal(image, &image->then,
			 wal && wal->in_snapshot ? wal : NULL, index->saved[0]);
}

static void add_database(struct image *image, const struct slm_mem_file *db)
{
	init_views(image, db);
	if (db->dirty_count == 0 && db->size == db->snap_size &&
	    !db->index.header_changed && !db->index.hash_changed)
		return;
	if (image->now.pages != image->then.pages)
		image->sum += slm_hash_mix(image->seed, image->now.pages);
	each_page(image, compare_page);
	each_page(image, unsee);
}

/* A journal that would be rolled back belongs to the contents. */
static bool is_hot(const struct slm_mem_file *journal)
{
	static const uint8_t magic[8] = { 0xd9, 0xd5, 0x05, 0xf9,
					  0x20, 0xa1, 0x63, 0xd7 };

	return journal->size >= sizeof(magic) &&
	       memcmp(journal->data, magic, sizeof(magic)) == 0;
}

static void add_whole(struct image *image, const struct slm_mem_file *file)
{
	image->sum += slm_hash(file->data, file->size, image->seed);
}

uint64_t slm_mem_image(struct slm_mem *mem)
{
	struct image image = { .mem = mem };

	if (!mem->scratch)
		mem->scratch = slm_malloc(2 * (size_t)PAGE_MAX);
	if (!mem->scratch)
		return 0;
	for (const struct slm_mem_file *file = mem->files; file;
	     file = file->next) {
		if (file->name_size == 0)
			continue;
		image.seed = slm_hash(file->name, file->name_size, file->kind);
		if (file->kind == SLM_MEM_DB && file->linked)
			add_database(&image, file);
		else if (file->in_snapshot && !file->linked &&
			 file->kind == SLM_MEM_DB)
			image.sum += image.seed; /* deleted */
		else if (file->kind == SLM_MEM_JOURNAL && file->linked &&
			 is_hot(file))
			add_whole(&image, file);
		else if (file->kind == SLM_MEM_WAL && file->linked &&
			 file->size > 0 &&
			 (!file->db || file->db->index.refs == 0))
			add_whole(&image, file);
	}
	if (image.failed)
		return 0;
	image.sum = slm_hash_mix(image.sum, 1);
	return image.sum ? image.sum : 1;
}
