/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests and random numbers. The sequences are part of what users see (a
 * seed, a token), so they are compared with published vectors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"

static void test_known_digests(void **state)
{
	(void)state;
	assert_true(slm_hash("", 0, 0) == 0x2d06800538d394c2u);
	assert_true(slm_hash("a", 1, 0) == 0xe6c632b61e964e1fu);
	assert_true(slm_hash("abc", 3, 0) == 0x78af5f94892f3950u);
}

static void test_seed_and_every_byte_count(void **state)
{
	char text[] = "update account set balance = balance - 1";
	uint64_t digest = slm_hash(text, strlen(text), 0);

	(void)state;
	assert_true(digest == slm_hash(text, strlen(text), 0));
	assert_true(digest != slm_hash(text, strlen(text), 1));
	assert_true(digest != slm_hash(text, strlen(text) - 1, 0));
	for (size_t i = 0; i < strlen(text); i++) {
		text[i] ^= 1;
		assert_true(digest != slm_hash(text, strlen(text), 0));
		text[i] ^= 1;
	}
}

static void test_mixing_keeps_the_order(void **state)
{
	uint64_t ab = slm_hash_mix(slm_hash_mix(0, 1), 2);
	uint64_t ba = slm_hash_mix(slm_hash_mix(0, 2), 1);

	(void)state;
	assert_true(ab != ba);
	assert_true(slm_hash_mix(1, 2) != slm_hash_mix(2, 1));
	assert_true(slm_hash_mix(0, 0) != 0);
	assert_true(slm_hash_mix(slm_hash_mix(0, 0), 0) != slm_hash_mix(0, 0));
}

/* xoshiro256** from the state {1, 2, 3, 4}. */
static void test_known_sequence_of_the_generator(void **state)
{
	static const uint64_t expected[] = {
		11520u,
		0u,
		1509978240u,
		1215971899390074240u,
		1216172134540287360u,
		607988272756665600u,
		16172922978634559625u,
		8476171486693032832u,
		10595114339597558777u,
		2904607092377533576u,
	};
	struct slm_rng rng = { { 1, 2, 3, 4 } };

	(void)state;
	for (size_t i = 0; i < 10; i++)
		assert_true(slm_rng_next(&rng) == expected[i]);
}

/* The state that splitmix64 makes of seed 0, and what follows from it. */
static void test_known_seeding(void **state)
{
	struct slm_rng rng;

	(void)state;
	slm_rng_init(&rng, 0);
	assert_true(rng.s[0] == 0xe220a8397b1dcdafu);
	assert_true(rng.s[1] == 0x6e789e6aa1b965f4u);
	assert_true(rng.s[2] == 0x06c45d188009454fu);
	assert_true(rng.s[3] == 0xf88bb8a8724c81ecu);
	assert_true(slm_rng_next(&rng) == 11091344671253066420u);
	assert_true(slm_rng_next(&rng) == 13793997310169335082u);
}

static void test_same_seed_same_sequence(void **state)
{
	struct slm_rng one, same, other;
	bool differs = false;

	(void)state;
	slm_rng_init(&one, 7);
	slm_rng_init(&same, 7);
	slm_rng_init(&other, 8);
	for (int i = 0; i < 100; i++) {
		uint64_t x = slm_rng_next(&one);

		assert_true(x == slm_rng_next(&same));
		differs = differs || x != slm_rng_next(&other);
	}
	assert_true(differs);
}

/*
 * Chi-square of 70000 draws. The seed is fixed, so this cannot fail by chance;
 * 22.46 is the 99.9 % point for 6 degrees of freedom.
 */
static void test_below_is_uniform(void **state)
{
	unsigned counts[7] = { 0 };
	double chi_square = 0;
	struct slm_rng rng;

	(void)state;
	slm_rng_init(&rng, 1);
	for (int i = 0; i < 70000; i++) {
		uint64_t x = slm_rng_below(&rng, 7);

		assert_true(x < 7);
		counts[x]++;
	}
	for (int i = 0; i < 7; i++) {
		double off = (double)counts[i] - 10000;

		chi_square += off * off / 10000;
	}
	assert_true(chi_square < 22.46);
}

/*
 * The bound is 3/4 of the range: a plain remainder would put half of the
 * draws into the lowest third, where a third belongs.
 */
static void test_below_has_no_modulo_bias(void **state)
{
	const uint64_t bound = (uint64_t)3 << 62;
	struct slm_rng rng;
	int low = 0;

	(void)state;
	slm_rng_init(&rng, 2);
	for (int i = 0; i < 30000; i++)
		low += slm_rng_below(&rng, bound) < bound / 3;
	assert_in_range(low, 9500, 10500);
}

static void test_below_at_the_ends_of_the_range(void **state)
{
	struct slm_rng rng;

	(void)state;
	slm_rng_init(&rng, 3);
	for (int i = 0; i < 100; i++) {
		assert_true(slm_rng_below(&rng, 1) == 0);
		assert_true(slm_rng_below(&rng, UINT64_MAX) < UINT64_MAX);
	}
}

static void test_unit_is_in_range_and_centred(void **state)
{
	struct slm_rng rng;
	double sum = 0;

	(void)state;
	slm_rng_init(&rng, 4);
	for (int i = 0; i < 10000; i++) {
		double x = slm_rng_unit(&rng);

		assert_true(x >= 0 && x < 1);
		sum += x;
	}
	assert_true(sum > 4850 && sum < 5150);
}

static void test_unit_never_reaches_one(void **state)
{
	/* A state whose next value is all ones: rotl(s1 * 5, 7) * 9. */
	const uint64_t ninth = 0x8e38e38e38e38e39u; /* 1 / 9 mod 2^64 */
	const uint64_t fifth = 0xcccccccccccccccdu; /* 1 / 5 mod 2^64 */
	uint64_t x = UINT64_MAX * ninth;
	struct slm_rng rng = { { 0 } };

	(void)state;
	rng.s[1] = (x >> 7 | x << 57) * fifth;
	assert_true(slm_rng_unit(&rng) == 1 - 0x1p-53);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_digests),
		cmocka_unit_test(test_seed_and_every_byte_count),
		cmocka_unit_test(test_mixing_keeps_the_order),
		cmocka_unit_test(test_known_sequence_of_the_generator),
		cmocka_unit_test(test_known_seeding),
		cmocka_unit_test(test_same_seed_same_sequence),
		cmocka_unit_test(test_below_is_uniform),
		cmocka_unit_test(test_below_has_no_modulo_bias),
		cmocka_unit_test(test_below_at_the_ends_of_the_range),
		cmocka_unit_test(test_unit_is_in_range_and_centred),
		cmocka_unit_test(test_unit_never_reaches_one),
	};

	return cmocka_run_group_tests_name("base/hash", tests, NULL, NULL);
}
