/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The WAL format, as https://www.sqlite.org/walformat.html describes it, and
 * moving on the schema cookie of a database in WAL mode: page 1 may be in a
 * frame of the log, whose checksums then have to follow, and the header of the
 * WAL-index has to differ, or connections would keep the page they have.
 */
#include "db/sqlite_wal.h"

#include <assert.h>
#include <string.h>

#include "db/sqlite_mem.h"

static uint32_t get32(const uint8_t *at, bool big_endian)
{
	return big_endian ? slm_mem_get32(at) :
			    (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 |
				    (uint32_t)at[1] << 8 | at[0];
}

struct slm_wal_sum slm_wal_checksum(struct slm_wal_sum sum, const uint8_t *data,
				    size_t size, bool big_endian)
{
	assert(size % 8 == 0);
	for (size_t i = 0; i < size; i += 8) {
		sum.s0 += get32(data + i, big_endian) + sum.s1;
		sum.s1 += get32(data + i + 4, big_endian) + sum.s0;
	}
	return sum;
}

bool slm_wal_big_endian(const uint8_t *wal)
{
	return wal[3] & 1;
}

uint32_t slm_wal_page_size(const uint8_t *wal, size_t size)
{
	uint32_t page_size;

	if (size < SLM_WAL_HEADER ||
	    (slm_mem_get32(wal) & 0xfffffffe) != 0x377f0682)
		return 0;
	page_size = slm_mem_get32(wal + 8);
	if (page_size < 512 || page_size > 65536 ||
	    (page_size & (page_size - 1)) != 0)
		return 0;
	return page_size;
}

size_t slm_wal_frame(uint32_t page_size, uint32_t number)
{
	assert(number > 0);
	return SLM_WAL_HEADER +
	       (size_t)(number - 1) * (page_size + SLM_WAL_FRAME_HEADER);
}

/* The checksum of a frame goes over the first 8 bytes of its header and the
 * page, and continues that of the frame before. */
static struct slm_wal_sum frame_checksum(struct slm_wal_sum sum,
					 const uint8_t *frame,
					 uint32_t page_size, bool big_endian)
{
	sum = slm_wal_checksum(sum, frame, 8, big_endian);
	return slm_wal_checksum(sum, frame + SLM_WAL_FRAME_HEADER, page_size,
				big_endian);
}

static struct slm_wal_sum stored_sum(const uint8_t *at)
{
	return (struct slm_wal_sum){ slm_mem_get32(at), slm_mem_get32(at + 4) };
}

static bool same_sum(struct slm_wal_sum a, struct slm_wal_sum b)
{
	return a.s0 == b.s0 && a.s1 == b.s1;
}

uint32_t slm_wal_valid_frames(const uint8_t *wal, size_t size)
{
	uint32_t page_size = slm_wal_page_size(wal, size);
	struct slm_wal_sum sum;
	uint32_t valid = 0;
	bool big_endian;

	if (page_size == 0)
		return 0;
	big_endian = slm_wal_big_endian(wal);
	sum = slm_wal_checksum((struct slm_wal_sum){ 0, 0 }, wal, 24,
			       big_endian);
	if (!same_sum(sum, stored_sum(wal + 24)))
		return 0;
	for (uint32_t number = 1; slm_wal_frame(page_size, number + 1) <= size;
	     number++) {
		const uint8_t *frame = wal + slm_wal_frame(page_size, number);

		if (memcmp(frame + 8, wal + 16, 8) != 0)
			break;
		sum = frame_checksum(sum, frame, page_size, big_endian);
		if (!same_sum(sum, stored_sum(frame + 16)))
			break;
		if (slm_mem_get32(frame + 4) != 0)
			valid = number;
	}
	return valid;
}

/* The WAL-index is in the byte order of the machine: the layout of its header
 * is version, unused, change, flags and page size, frames, pages, checksum of
 * the last frame, salts, checksum of all that. */
#define INDEX_CHANGE 8
#define INDEX_FLAGS 12
#define INDEX_FRAMES 16
#define INDEX_LAST_SUM 24
#define INDEX_SUM 40
#define INDEX_SIZE 48

static bool machine_is_big_endian(void)
{
	return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
}

static uint32_t get_native(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

uint32_t slm_wal_index_frames(const uint8_t *index)
{
	return index[INDEX_FLAGS] ? get_native(index + INDEX_FRAMES) : 0;
}

/* Makes the header one that no connection knows. last: the new checksum of the
 * last frame, NULL if it is as before. */
static void renew_index_header(uint8_t *header, uint32_t change,
			       const struct slm_wal_sum *last)
{
	struct slm_wal_sum sum = { 0, 0 };

	change += get_native(header + INDEX_CHANGE);
	memcpy(header + INDEX_CHANGE, &change, sizeof(change));
	if (last) {
		memcpy(header + INDEX_LAST_SUM, &last->s0, 4);
		memcpy(header + INDEX_LAST_SUM + 4, &last->s1, 4);
	}
	sum = slm_wal_checksum(sum, header, INDEX_SUM, machine_is_big_endian());
	memcpy(header + INDEX_SUM, &sum.s0, 4);
	memcpy(header + INDEX_SUM + 4, &sum.s1, 4);
	memcpy(header + INDEX_SIZE, header, INDEX_SIZE);
}

/* The newest frame with page 1 among the valid ones; 0: none. */
static uint32_t find_page_1(const struct slm_mem_file *wal, uint32_t page_size,
			    uint32_t frames)
{
	uint32_t number = frames;

	while (number > 0 &&
	       slm_mem_get32(wal->data + slm_wal_frame(page_size, number)) != 1)
		number--;
	return number;
}

/* Writes the cookie into the frame and makes the checksums of it and of all
 * later valid frames right again. Returns that of the last one. */
static struct slm_wal_sum patch_frames(struct slm_mem_file *wal,
				       uint32_t page_size, uint32_t number,
				       uint32_t frames, const uint8_t *cookie)
{
	size_t at = slm_wal_frame(page_size, number);
	bool big_endian = slm_wal_big_endian(wal->data);
	struct slm_wal_sum sum = stored_sum(
		number > 1 ?
			wal->data + slm_wal_frame(page_size, number - 1) + 16 :
			wal->data + 24);

	slm_mem_patch(wal, at + SLM_WAL_FRAME_HEADER + 40, cookie, 4);
	for (; number <= frames; number++) {
		uint8_t stored[8];

		at = slm_wal_frame(page_size, number);
		sum = frame_checksum(sum, wal->data + at, page_size,
				     big_endian);
		slm_mem_put32(stored, sum.s0);
		slm_mem_put32(stored + 4, sum.s1);
		slm_mem_patch(wal, at + 16, stored, sizeof(stored));
	}
	return sum;
}

void slm_mem_wal_set_cookie(struct slm_mem_file *db, struct slm_mem_file *wal)
{
	struct slm_mem_index *index = &db->index;
	uint32_t page_size = 0, frames = 0, number = 0;
	struct slm_wal_sum last;
	uint8_t cookie[4];

	if (wal && wal->in_snapshot)
		page_size = slm_wal_page_size(wal->data, wal->size);
	if (page_size > 0)
		frames = index->saved_count > 0 ?
				 slm_wal_index_frames(index->saved[0]) :
				 slm_wal_valid_frames(wal->data, wal->size);
	if (frames > 0 && slm_wal_frame(page_size, frames + 1) <= wal->size)
		number = find_page_1(wal, page_size, frames);
	slm_mem_put32(cookie, db->cookie_now);
	if (number > 0)
		last = patch_frames(wal, page_size, number, frames, cookie);
	else
		slm_mem_patch(db, 40, cookie, sizeof(cookie));
	if (index->saved_count == 0)
		return;
	renew_index_header(index->saved[0], db->cookie_now,
			   number > 0 ? &last : NULL);
	if (index->refs > 0)
		memcpy(index->regions[0], index->saved[0], 2 * INDEX_SIZE);
}
