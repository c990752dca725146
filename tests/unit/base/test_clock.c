/* SPDX-License-Identifier: Apache-2.0 */
/* The clock never goes back, and both units tell the same time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

static void test_never_goes_back(void **state)
{
	uint64_t last = slm_clock_ns();

	(void)state;
	for (int i = 0; i < 10000; i++) {
		uint64_t now = slm_clock_ns();

		assert_true(now >= last);
		last = now;
	}
}

static void test_milliseconds_are_nanoseconds(void **state)
{
	uint64_t before = slm_clock_ns() / 1000000;
	uint64_t now = slm_clock_ms();
	uint64_t after = slm_clock_ns() / 1000000;

	(void)state;
	assert_true(before <= now && now <= after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never_goes_back),
		cmocka_unit_test(test_milliseconds_are_nanoseconds),
	};

	return cmocka_run_group_tests_name("base/clock", tests, NULL, NULL);
}
