/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes for the tests of the codec, in blocks that are exactly as large as
 * they are, so that a sanitizer (or valgrind) sees a read behind their end.
 */
#ifndef SLM_TESTS_WIRE_HELP_H
#define SLM_TESTS_WIRE_HELP_H

#include <stdlib.h>
#include <string.h>

#include "pgwire/pgwire.h"

/* A text literal with its NULs, without the one at its end. */
#define BYTES(text) (text), sizeof(text) - 1

struct block {
	uint8_t *data; /* owned */
	size_t size;
};

static inline struct block block_of(const void *bytes, size_t size)
{
	/* No byte at all is a block of none, at an address all the same. */
	struct block block = { malloc(size), size };

	assert_true(size == 0 || block.data);
	if (size > 0)
		memcpy(block.data, bytes, size);
	return block;
}

static inline void block_free(struct block *block)
{
	free(block->data);
	*block = (struct block){ 0 };
}

/* A header whose length word says `word`. */
static inline void put_header(uint8_t *at, uint8_t type, uint32_t word)
{
	at[0] = type;
	at[1] = (uint8_t)(word >> 24);
	at[2] = (uint8_t)(word >> 16);
	at[3] = (uint8_t)(word >> 8);
	at[4] = (uint8_t)word;
}

/* The message that begins at bytes, which must be one. */
static inline struct slm_wire_message message_at(enum slm_wire_side side,
						 const void *bytes, size_t size)
{
	struct slm_wire_message m;
	char why[SLM_WIRE_WHY] = "";

	if (slm_wire_look(side, bytes, size, &m, why) != SLM_WIRE_MESSAGE)
		fail_msg("no message: %s", why);
	return m;
}

#endif
