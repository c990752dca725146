/* SPDX-License-Identifier: Apache-2.0 */
/* XXH3 digests; splitmix64 and xoshiro256**. */
#include "base/hash.h"

#include <assert.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t slm_hash(const void *data, size_t size, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, size, seed);
}

uint64_t slm_hash_mix(uint64_t digest, uint64_t value)
{
	/* The finalizer of splitmix64 over a sum that keeps the order. */
	uint64_t z = digest * 0x9e3779b97f4a7c15u + value + 0x632be59bd9b4e019u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static uint64_t splitmix(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void slm_rng_init(struct slm_rng *rng, uint64_t seed)
{
	for (int i = 0; i < 4; i++)
		rng->s[i] = splitmix(&seed);
}

static uint64_t rotl(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

uint64_t slm_rng_next(struct slm_rng *rng)
{
	uint64_t *s = rng->s;
	uint64_t result = rotl(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

uint64_t slm_rng_below(struct slm_rng *rng, uint64_t bound)
{
	uint64_t threshold, x;

	assert(bound > 0);
	threshold = -bound % bound;
	do {
		x = slm_rng_next(rng);
	} while (x < threshold);
	return x % bound;
}

double slm_rng_unit(struct slm_rng *rng)
{
	return (double)(slm_rng_next(rng) >> 11) * 0x1p-53;
}
