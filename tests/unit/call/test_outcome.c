/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the oracle sees of an answer to a request, and of a command that has
 * ended. No test may leave a block of memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "call/http.h"
#include "call/process.h"

static struct slm_arena arena_of_test;
static int64_t blocks;

static int begin(void **state)
{
	blocks = slm_alloc_live();
	slm_arena_init(&arena_of_test);
	*state = &arena_of_test;
	return 0;
}

static int end(void **state)
{
	(void)state;
	slm_arena_deinit(&arena_of_test);
	return slm_alloc_live() != blocks;
}

static void print_value(struct slm_buf *to, const struct slm_value *value)
{
	switch (value->kind) {
	case SLM_NULL:
		slm_buf_puts(to, "null");
		break;
	case SLM_INT:
		slm_buf_printf(to, "%lld", (long long)value->integer);
		break;
	case SLM_REAL:
		slm_buf_printf(to, "%g", value->real);
		break;
	case SLM_TEXT:
		slm_buf_printf(to, "'%s'", value->text);
		break;
	case SLM_BLOB:
		slm_buf_printf(to, "%u bytes", value->size);
		break;
	default:
		fail();
	}
}

/* As "name=value; name=value". */
static void assert_row(const struct slm_result *result, const char *expected)
{
	struct slm_buf row;

	slm_buf_init(&row);
	assert_null(result->next);
	assert_int_equal(result->rows.nkept, 1);
	assert_int_equal(result->rows.nrows, 1);
	assert_int_equal(result->changes, -1);
	for (uint32_t i = 0; i < result->rows.ncolumns; i++) {
		slm_buf_printf(&row, "%s%s=", i ? "; " : "",
			       result->rows.columns[i]);
		print_value(&row, &result->rows.values[i]);
	}
	assert_string_equal(row.data, expected);
	slm_buf_deinit(&row);
}

static const struct slm_result *http(struct slm_arena *arena, const char *type,
				     const char *body)
{
	const struct slm_http_answer answer = { .status = 200,
						.content_type = type,
						.location = "",
						.body = body,
						.body_size = strlen(body) };
	const struct slm_result *result = NULL;

	assert_int_equal(slm_http_result(&answer, arena, &result, NULL),
			 SQLOOM_OK);
	return result;
}

static const struct slm_result *exec(struct slm_arena *arena, int status,
				     int signal, const char *output,
				     const char *errors)
{
	const struct slm_result *result = NULL;

	assert_int_equal(slm_exec_result(status, signal, output, strlen(output),
					 errors, arena, &result, NULL),
			 SQLOOM_OK);
	return result;
}

static void test_lines(void **state)
{
	assert_row(http(*state, "", ""), "status=200");
	assert_row(http(*state, "", "a\r\n\nb"),
		   "status=200; line 1='a'; line 2=''; line 3='b'");
	assert_row(http(*state, "", "a\n"), "status=200; line 1='a'");
	assert_row(http(*state, "", "a\xff\nb"),
		   "status=200; line 1=2 bytes; line 2='b'");
	assert_row(http(*state, "", "12"), "status=200; line 1='12'");
}

static void test_json_parts(void **state)
{
	const char *first = "{\"b\": {\"x y\": true, \"q'\": 2}, \"a\": [1.5, "
			    "null, {}, [], \"t\"]}";
	const char *again = "{\"a\":[1.5,null,{},[],\"t\"], \"b\":{\"q'\":2, "
			    "\"x y\":true}}";
	const char *row = "status=200; $.a[0]=1.5; $.a[1]=null; $.a[2]='{}'; "
			  "$.a[3]='[]'; $.a[4]='t'; $.b['q\\'']=2; "
			  "$.b['x y']='true'";

	assert_row(http(*state, "application/json", first), row);
	assert_row(http(*state, "text/plain", first), row);
	assert_row(http(*state, "", again), row);
	assert_true(http(*state, "", first)->digest ==
		    http(*state, "", again)->digest);
	assert_row(http(*state, "application/problem+json", "12"),
		   "status=200; $=12");
	assert_row(http(*state, "application/json", "{\"a\""),
		   "status=200; line 1='{\"a\"'");
	assert_row(http(*state, "application/json", "{\"a\": \"x\\u0000\"}"),
		   "status=200; $.a=2 bytes");
}

/* Many parts, and deep ones. */
static void test_parts_limit(void **state)
{
	const struct slm_result *result;
	struct slm_buf body;

	slm_buf_init(&body);
	for (int i = 1; i <= SLM_HTTP_PARTS_MAX + 3; i++)
		slm_buf_printf(&body, "%d\n", i);
	result = http(*state, "", body.data);
	assert_int_equal(result->rows.ncolumns, SLM_HTTP_PARTS_MAX + 2);
	assert_string_equal(result->rows.columns[201], "rest");
	assert_string_equal(result->rows.values[201].text, "201\n202\n203\n");
	slm_buf_clear(&body);
	slm_buf_puts(&body, "[0");
	for (int i = 1; i < SLM_HTTP_PARTS_MAX + 2; i++)
		slm_buf_printf(&body, ",%d", i);
	slm_buf_puts(&body, "]");
	result = http(*state, "", body.data);
	assert_int_equal(result->rows.ncolumns, SLM_HTTP_PARTS_MAX + 2);
	assert_string_equal(result->rows.values[201].text,
			    "$[200]=200\n$[201]=201\n");
	slm_buf_clear(&body);
	slm_buf_fill(&body, '[', 1000);
	slm_buf_fill(&body, ']', 1000);
	result = http(*state, "", body.data);
	assert_int_equal(result->rows.ncolumns, 2);
	assert_int_equal(result->rows.values[1].size, 2000 - 2 * 32);
	slm_buf_deinit(&body);
}

static void test_exec(void **state)
{
	const struct slm_result *result =
		exec(*state, 0, 0, "one\ntwo\n", "a warning");

	assert_row(result, "exit=0; line 1='one'; line 2='two'");
	assert_int_equal(result->error, SLM_ERROR_NONE);
	assert_null(result->code);
	assert_row(exec(*state, 0, 0, "{\"a\":1}\n", ""), "exit=0; $.a=1");
	assert_row(exec(*state, 0, 0, "7\n", ""), "exit=0; line 1='7'");
	result = exec(*state, 3, 0, "out\n", "a\n\tsold\xff  out \n\n");
	assert_row(result, "exit=3; line 1='out'");
	assert_int_equal(result->error, SLM_ERROR_REFUSED);
	assert_string_equal(result->code, "exit 3");
	assert_string_equal(result->message, "sold? out");
	result = exec(*state, 137, 9, "last\n", "");
	assert_int_equal(result->error, SLM_ERROR_OTHER);
	assert_string_equal(result->code, "exit 137");
	assert_string_equal(result->message, "last");
	assert_int_equal(exec(*state, 139, 0, "", "")->error, SLM_ERROR_OTHER);
	assert_int_equal(exec(*state, 128, 0, "", "")->error,
			 SLM_ERROR_REFUSED);
	assert_int_equal(exec(*state, 193, 0, "", "")->error,
			 SLM_ERROR_REFUSED);
	assert_string_equal(exec(*state, 1, 0, "", "")->message, "");
}

/* Whatever is different is different in the digest. */
static void test_digests(void **state)
{
	const struct slm_result *all[] = {
		http(*state, "", ""),	       http(*state, "", "a"),
		http(*state, "", "a\nb"),      http(*state, "", "ab"),
		http(*state, "", "[1]"),       http(*state, "", "[1.0]"),
		http(*state, "", "[\"1\"]"),   http(*state, "", "[null]"),
		http(*state, "", "{\"a\":1}"), http(*state, "", "{\"b\":1}"),
		exec(*state, 0, 0, "", ""),    exec(*state, 1, 0, "", ""),
		exec(*state, 0, 0, "a", ""),
	};
	const size_t count = sizeof(all) / sizeof(all[0]);

	for (size_t i = 0; i < count; i++)
		for (size_t j = i + 1; j < count; j++)
			if (all[i]->digest == all[j]->digest)
				fail_msg("%zu and %zu are equal", i, j);
	assert_true(http(*state, "", "a")->digest == all[1]->digest);
}

static void test_result_memory(void **state)
{
	const struct slm_http_answer answer = {
		.status = 500,
		.content_type = "application/json",
		.location = "",
		.body = "{\"a\": [1, \"x\"]}",
		.body_size = 15,
	};
	const struct slm_result *result = NULL;

	(void)state;
	for (uint64_t n = 1; !result; n++) {
		struct slm_arena arena;
		enum sqloom_status status;

		slm_arena_init(&arena);
		slm_alloc_fail_from(n);
		status = slm_http_result(&answer, &arena, &result, NULL);
		slm_alloc_fail_from(0);
		assert_int_equal(status, result ? SQLOOM_OK : SQLOOM_NOMEM);
		slm_arena_deinit(&arena);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lines), TEST(json_parts), TEST(parts_limit),
		TEST(exec),  TEST(digests),    TEST(result_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
