/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens: to text and back, and every way to get one wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "trace/token.h"
#include "trace/trace.h"

static int setup(void **state)
{
	static struct slm_arena arena;

	slm_arena_init(&arena);
	*state = &arena;
	return 0;
}

static int teardown(void **state)
{
	slm_alloc_fail_from(0);
	slm_arena_deinit(*state);
	return 0;
}

static void test_format(void **state)
{
	static const uint16_t steps[] = { 10, 26, 23, 16, 31, 0 };
	struct slm_token token = { "abab", 4, 0x5f3a, steps };

	assert_string_equal(slm_token_format(*state, &token),
			    "abab~5f3a.aka2axaq");
	token.steps = NULL;
	token.fingerprint = 0xf;
	assert_string_equal(slm_token_format(*state, &token), "abab~000f");
	token.schedule = "aabbbccccddddd";
	token.length = 14;
	assert_string_equal(slm_token_format(*state, &token),
			    "aabbbccccd5~000f");
	token.length = 0;
	assert_string_equal(slm_token_format(*state, &token), "~000f");
}

/* Runs of every length, short and with a count, come back. */
static void test_runs(void **state)
{
	char schedule[64];

	for (uint32_t run = 1; run < 40; run++) {
		struct slm_token token = { schedule, run + 1, 0, NULL }, again;

		memset(schedule, 'b', run);
		strcpy(schedule + run, "a");
		assert_int_equal(
			slm_token_parse(*state,
					slm_token_format(*state, &token),
					&again, NULL),
			SQLOOM_OK);
		assert_string_equal(again.schedule, schedule);
	}
}

static void test_parse(void **state)
{
	struct slm_token token = { 0 };

	assert_int_equal(slm_token_parse(*state, "abab~5f3a.aka2axaq", &token,
					 NULL),
			 SQLOOM_OK);
	assert_string_equal(token.schedule, "abab");
	assert_int_equal(token.length, 4);
	assert_int_equal(token.fingerprint, 0x5f3a);
	assert_memory_equal(token.steps, ((uint16_t[]){ 10, 26, 23, 16 }), 8);
	assert_int_equal(slm_token_parse(*state, "a12bp2~0000", &token, NULL),
			 SQLOOM_OK);
	assert_string_equal(token.schedule, "aaaaaaaaaaaabpp");
	assert_null(token.steps);
	assert_int_equal(slm_token_parse(*state, "~0001.", &token, NULL),
			 SQLOOM_OK);
	assert_int_equal(token.length, 0);
}

static void test_longest(void **state)
{
	static char text[64];
	struct slm_token token = { 0 };
	struct sqloom_error err;

	snprintf(text, sizeof(text), "a%db~0000", SLM_SCHEDULE_MAX - 1);
	assert_int_equal(slm_token_parse(*state, text, &token, &err),
			 SQLOOM_OK);
	assert_int_equal(token.length, SLM_SCHEDULE_MAX);
	snprintf(text, sizeof(text), "a%db~0000", SLM_SCHEDULE_MAX);
	assert_int_equal(slm_token_parse(*state, text, &token, &err),
			 SQLOOM_LIMIT);
	snprintf(text, sizeof(text), "a99999999999999999999~0000");
	assert_int_equal(slm_token_parse(*state, text, &token, &err),
			 SQLOOM_LIMIT);
}

static void test_errors(void **state)
{
	static const struct {
		const char *text;
		unsigned column;
		const char *says;
	} cases[] = {
		{ "", 1, "it is empty" },
		{ "abab", 5, "it ends after the schedule" },
		{ "abqb~5f3a", 3, "letters a to p" },
		{ "Ab~5f3a", 1, "letters a to p" },
		{ "2a~5f3a", 1, "letters a to p" },
		{ "a0~5f3a", 2, "does not begin with 0" },
		{ "ab~5f3", 7, "4 hex digits" },
		{ "ab~5F3a", 5, "4 hex digits" },
		{ "ab~5f3ak", 8, "a dot or the end" },
		{ "ab~5f3a.aka", 12, "two characters per letter" },
		{ "ab~5f3a.ak1a", 11, "a-z and 2-7" },
		{ "ab~5f3a.aka2a", 13, "after its last character" },
		{ " ab~5f3a", 1, "letters a to p" },
		{ "ab~5f3a\n", 8, "a dot or the end" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slm_token token = { .length = 77 };
		struct sqloom_error err;

		assert_int_equal(slm_token_parse(*state, cases[i].text, &token,
						 &err),
				 SQLOOM_TOKEN);
		assert_int_equal(err.column, cases[i].column);
		assert_non_null(strstr(err.message, cases[i].says));
		assert_int_equal(token.length, 77);
	}
}

static void test_no_memory(void **state)
{
	struct slm_token token = { .schedule = "aaab", .length = 4 };

	slm_alloc_fail_from(1);
	assert_null(slm_token_format(*state, &token));
	assert_int_equal(slm_token_parse(*state, "ab~0000", &token, NULL),
			 SQLOOM_NOMEM);
	slm_alloc_fail_from(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_format, setup, teardown),
		cmocka_unit_test_setup_teardown(test_runs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_parse, setup, teardown),
		cmocka_unit_test_setup_teardown(test_longest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_memory, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
