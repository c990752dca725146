/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of the wire (big endian, at any address). Private to pgwire: the
 * caller has checked that the bytes are there. */
#ifndef SLM_PGWIRE_BYTES_H
#define SLM_PGWIRE_BYTES_H

#include <stdint.h>

static inline uint16_t load_u16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t load_u32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 |
	       (uint32_t)at[2] << 8 | at[3];
}

static inline void store_u16(uint8_t *at, uint16_t n)
{
	at[0] = (uint8_t)(n >> 8);
	at[1] = (uint8_t)n;
}

static inline void store_u32(uint8_t *at, uint32_t n)
{
	store_u16(at, (uint16_t)(n >> 16));
	store_u16(at + 2, (uint16_t)n);
}

#endif
