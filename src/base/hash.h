/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 64-bit digests (XXH3) and a small deterministic random number generator.
 * Digests are for equality within one process and for short fingerprints that
 * are stable across machines; they are not cryptographic.
 */
#ifndef SLM_BASE_HASH_H
#define SLM_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t slm_hash(const void *data, size_t size, uint64_t seed);

/* Folds value into a running digest; order matters. */
uint64_t slm_hash_mix(uint64_t digest, uint64_t value);

/* xoshiro256** seeded by splitmix64 (Blackman and Vigna, "Scrambled Linear
 * Pseudorandom Number Generators", 2018). Same seed, same sequence. */
struct slm_rng {
	uint64_t s[4];
};

void slm_rng_init(struct slm_rng *rng, uint64_t seed);
uint64_t slm_rng_next(struct slm_rng *rng);
/* Uniform in [0, bound), without modulo bias; bound > 0. */
uint64_t slm_rng_below(struct slm_rng *rng, uint64_t bound);
/* Uniform in [0, 1). */
double slm_rng_unit(struct slm_rng *rng);

#endif
