/* SPDX-License-Identifier: Apache-2.0 */
/* Coroutines: control, registers, stacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/coroutine.h"

/* Coroutines of a test; each gets a pointer to its own. */
struct fiber {
	struct slm_coroutine *coroutine;
	int steps;
	uintptr_t place;
	char text[64];
};

/* The address goes into the world, so that the array stays in memory. */
static void use(volatile unsigned char *bytes, size_t size, unsigned char with)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = with;
}

static void count_up(void *userdata)
{
	struct fiber *fiber = userdata;

	for (;;) {
		fiber->steps++;
		slm_coroutine_yield(fiber->coroutine);
	}
}

static void test_control_goes_back_and_forth(void **state)
{
	struct fiber one = { 0 }, two = { 0 };

	(void)state;
	one.coroutine = slm_coroutine_new(count_up, &one);
	two.coroutine = slm_coroutine_new(count_up, &two);
	assert_non_null(one.coroutine);
	assert_non_null(two.coroutine);
	assert_int_equal(one.steps, 0);
	for (int i = 1; i <= 1000; i++) {
		slm_coroutine_resume(one.coroutine);
		slm_coroutine_resume(two.coroutine);
		slm_coroutine_resume(two.coroutine);
		assert_int_equal(one.steps, i);
		assert_int_equal(two.steps, 2 * i);
	}
	slm_coroutine_free(one.coroutine);
	slm_coroutine_free(two.coroutine);
}

/* The ABI wants 16 bytes; vector instructions and printf("%f") rely on it. */
static void note_alignment(void *userdata)
{
	struct fiber *fiber = userdata;

	fiber->place = (uintptr_t)__builtin_frame_address(0) % 16;
	snprintf(fiber->text, sizeof(fiber->text), "%.2f %Lg", 1.25, 2.5L);
	for (;;)
		slm_coroutine_yield(fiber->coroutine);
}

static void test_the_stack_is_aligned(void **state)
{
	struct fiber fiber = { 0 };

	(void)state;
	fiber.coroutine = slm_coroutine_new(note_alignment, &fiber);
	assert_non_null(fiber.coroutine);
	slm_coroutine_resume(fiber.coroutine);
	assert_int_equal(fiber.place, 0);
	assert_string_equal(fiber.text, "1.25 2.5");
	slm_coroutine_free(fiber.coroutine);
}

/* Uses as many registers as there are, across a switch. */
static uint64_t sum_of_many(struct slm_coroutine *coroutine, uint64_t seed,
			    void (*change)(struct slm_coroutine *))
{
	uint64_t a = seed + 1, b = seed + 2, c = seed + 3, d = seed + 4;
	uint64_t e = seed + 5, f = seed + 6, g = seed + 7, h = seed + 8;
	double x = (double)seed + 0.5, y = (double)seed + 0.25;

	for (int i = 0; i < 3; i++) {
		/* Hides the values from the optimizer. */
		__asm__ volatile(""
				 : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e));
		change(coroutine);
		a += b;
		b += c;
		c += d;
		d += e;
		e += f;
		f += g;
		g += h;
		h += (uint64_t)(x + y);
	}
	return a ^ b ^ c ^ d ^ e ^ f ^ g ^ h;
}

static void no_change(struct slm_coroutine *coroutine)
{
	(void)coroutine;
}

static void sum_inside(void *userdata)
{
	struct fiber *fiber = userdata;

	fiber->place = sum_of_many(fiber->coroutine, 1000, slm_coroutine_yield);
	for (;;)
		slm_coroutine_yield(fiber->coroutine);
}

static void test_registers_survive_on_both_sides(void **state)
{
	struct fiber fiber = { 0 };
	uint64_t outside;

	(void)state;
	fiber.coroutine = slm_coroutine_new(sum_inside, &fiber);
	assert_non_null(fiber.coroutine);
	outside = sum_of_many(fiber.coroutine, 7, slm_coroutine_resume);
	slm_coroutine_resume(fiber.coroutine);
	assert_true(outside == sum_of_many(NULL, 7, no_change));
	assert_true(fiber.place == sum_of_many(NULL, 1000, no_change));
	slm_coroutine_free(fiber.coroutine);
}

static void fill_stack(void *userdata)
{
	struct fiber *fiber = userdata;
	unsigned char large[SLM_COROUTINE_STACK - 64 * 1024];

	use(large, sizeof(large), (unsigned char)fiber->steps);
	slm_coroutine_yield(fiber->coroutine);
	fiber->steps = large[0] == fiber->steps &&
		       large[sizeof(large) - 1] == fiber->steps;
	for (;;)
		slm_coroutine_yield(fiber->coroutine);
}

static void test_nearly_the_whole_stack_can_be_used(void **state)
{
	struct fiber one = { .steps = 11 }, two = { .steps = 22 };

	(void)state;
	one.coroutine = slm_coroutine_new(fill_stack, &one);
	two.coroutine = slm_coroutine_new(fill_stack, &two);
	assert_non_null(one.coroutine);
	assert_non_null(two.coroutine);
	slm_coroutine_resume(one.coroutine);
	slm_coroutine_resume(two.coroutine);
	slm_coroutine_resume(one.coroutine);
	slm_coroutine_resume(two.coroutine);
	assert_int_equal(one.steps, 1);
	assert_int_equal(two.steps, 1);
	slm_coroutine_free(one.coroutine);
	slm_coroutine_free(two.coroutine);
}

static void abandoned(void *userdata)
{
	struct fiber *fiber = userdata;
	unsigned char a[100], b[1000], c[10];

	use(a, sizeof(a), 1);
	use(b, sizeof(b), 2);
	use(c, sizeof(c), 3);
	for (;;)
		slm_coroutine_yield(fiber->coroutine);
}

/*
 * The next stack is mostly mapped where the last one was. What AddressSanitizer
 * noted about the frames of the last one must be gone.
 */
static void test_stacks_are_reused_after_free(void **state)
{
	int64_t before = slm_alloc_live();

	(void)state;
	for (int i = 0; i < 1000; i++) {
		struct fiber fiber = { .steps = i % 256 };

		fiber.coroutine = slm_coroutine_new(
			i % 2 ? fill_stack : abandoned, &fiber);
		assert_non_null(fiber.coroutine);
		slm_coroutine_resume(fiber.coroutine);
		slm_coroutine_free(fiber.coroutine);
	}
	assert_int_equal(slm_alloc_live(), before);
}

static void test_memory_out(void **state)
{
	struct fiber fiber = { 0 };

	(void)state;
	slm_alloc_fail_from(1);
	assert_null(slm_coroutine_new(count_up, &fiber));
	slm_alloc_fail_from(0);
	slm_coroutine_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_control_goes_back_and_forth),
		cmocka_unit_test(test_the_stack_is_aligned),
		cmocka_unit_test(test_registers_survive_on_both_sides),
		cmocka_unit_test(test_nearly_the_whole_stack_can_be_used),
		cmocka_unit_test(test_stacks_are_reused_after_free),
		cmocka_unit_test(test_memory_out),
	};

	return cmocka_run_group_tests_name("base/coroutine", tests, NULL, NULL);
}
