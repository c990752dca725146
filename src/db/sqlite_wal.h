/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The little that must be known of SQLite's WAL format: where frames and pages
 * are, how far the log is valid, and its checksums. Works on bytes only.
 */
#ifndef SLM_DB_SQLITE_WAL_H
#define SLM_DB_SQLITE_WAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SLM_WAL_HEADER 32	/* bytes before the first frame */
#define SLM_WAL_FRAME_HEADER 24 /* bytes before the page of a frame */

struct slm_wal_sum {
	uint32_t s0, s1;
};

/* Continues the checksum over size bytes, a multiple of 8, that were written
 * big-endian or little-endian. */
struct slm_wal_sum slm_wal_checksum(struct slm_wal_sum sum, const uint8_t *data,
				    size_t size, bool big_endian);

/* The page size in the header of a WAL of size bytes; 0: there is no valid
 * header. */
uint32_t slm_wal_page_size(const uint8_t *wal, size_t size);
bool slm_wal_big_endian(const uint8_t *wal);

/* Where frame number 1, 2, ... begins. */
size_t slm_wal_frame(uint32_t page_size, uint32_t number);

/* The number of the last frame of the last whole transaction, found as
 * recovery does: salts and checksums. 0: none. */
uint32_t slm_wal_valid_frames(const uint8_t *wal, size_t size);

/* Of the header of a WAL-index: the number of valid frames, 0 if the header is
 * not valid. */
uint32_t slm_wal_index_frames(const uint8_t *index);

#endif
