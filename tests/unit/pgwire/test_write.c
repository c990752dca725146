/* SPDX-License-Identifier: Apache-2.0 */
/* What is written is what the manual says, and reads back as it was meant. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "wire_help.h"

static struct slm_buf buf;

static int setup(void **state)
{
	(void)state;
	slm_buf_init(&buf);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	slm_alloc_fail_from(0);
	slm_buf_deinit(&buf);
	return slm_alloc_live() == 0 ? 0 : -1;
}

/* The only message in the buffer, which must be whole. */
static struct slm_wire_message only(enum slm_wire_side side)
{
	struct slm_wire_message m = message_at(side, buf.data, buf.size);

	assert_int_equal(m.size, m.have);
	assert_int_equal(buf.size, SLM_WIRE_HEADER + m.size);
	return m;
}

static void test_bytes(void **state)
{
	(void)state;
	assert_true(slm_wire_put_query(&buf, "SELECT 1;junk", 8));
	assert_int_equal(buf.size, 14);
	assert_memory_equal(buf.data, "Q\0\0\0\x0dSELECT 1\0", 14);
	slm_buf_clear(&buf);
	assert_true(slm_wire_put_parse(&buf, "s", "x", 1));
	assert_int_equal(buf.size, 11);
	assert_memory_equal(buf.data, "P\0\0\0\x0as\0x\0\0\0", 11);
	slm_buf_clear(&buf);
	assert_true(slm_wire_put_bind(&buf, "p", "s"));
	assert_int_equal(buf.size, 15);
	assert_memory_equal(buf.data, "B\0\0\0\x0ep\0s\0\0\0\0\0\0\0", 15);
	slm_buf_clear(&buf);
	assert_true(slm_wire_put_execute(&buf, "p", 258));
	assert_int_equal(buf.size, 11);
	assert_memory_equal(buf.data, "E\0\0\0\x0ap\0\0\0\1\2", 11);
	slm_buf_clear(&buf);
	assert_true(slm_wire_put_simple(&buf, SLM_WIRE_SYNC));
	assert_int_equal(buf.size, 5);
	assert_memory_equal(buf.data, "S\0\0\0\4", 5);
}

static void test_query(void **state)
{
	struct slm_wire_message m;

	(void)state;
	assert_true(slm_wire_put_query(&buf, "BEGIN", 5));
	m = only(SLM_WIRE_FROM_CLIENT);
	assert_int_equal(m.type, SLM_WIRE_QUERY);
	assert_string_equal(slm_wire_text(&m), "BEGIN");
	slm_buf_clear(&buf);
	assert_true(slm_wire_put_query(&buf, "", 0));
	m = only(SLM_WIRE_FROM_CLIENT);
	assert_string_equal(slm_wire_text(&m), "");
}

static void test_extended(void **state)
{
	struct slm_wire_parse parse;
	struct slm_wire_bind bind;
	struct slm_wire_execute execute;
	struct slm_wire_target target;
	struct slm_wire_message m;

	(void)state;
	slm_wire_put_parse(&buf, "stmt", "SELECT 1", 8);
	m = only(SLM_WIRE_FROM_CLIENT);
	assert_true(slm_wire_parse(&m, &parse));
	assert_string_equal(parse.name, "stmt");
	assert_string_equal(parse.sql, "SELECT 1");
	assert_int_equal(parse.ntypes, 0);
	slm_buf_clear(&buf);
	slm_wire_put_bind(&buf, "port", "stmt");
	m = only(SLM_WIRE_FROM_CLIENT);
	assert_true(slm_wire_bind(&m, &bind));
	assert_string_equal(bind.portal, "port");
	assert_string_equal(bind.statement, "stmt");
	assert_int_equal(bind.nparams, 0);
	slm_buf_clear(&buf);
	slm_wire_put_execute(&buf, "port", 7);
	m = only(SLM_WIRE_FROM_CLIENT);
	assert_true(slm_wire_execute(&m, &execute));
	assert_string_equal(execute.portal, "port");
	assert_int_equal(execute.max_rows, 7);
	slm_buf_clear(&buf);
	slm_wire_put_close(&buf, 'S', "stmt");
	m = only(SLM_WIRE_FROM_CLIENT);
	assert_int_equal(m.type, SLM_WIRE_CLOSE);
	assert_true(slm_wire_target(&m, &target));
	assert_int_equal(target.kind, 'S');
	assert_string_equal(target.name, "stmt");
}

static void test_messages_without_a_body(void **state)
{
	static const uint8_t types[] = { SLM_WIRE_SYNC, SLM_WIRE_FLUSH,
					 SLM_WIRE_TERMINATE,
					 SLM_WIRE_COPY_DONE };

	(void)state;
	for (size_t i = 0; i < sizeof(types); i++) {
		slm_buf_clear(&buf);
		assert_true(slm_wire_put_simple(&buf, types[i]));
		assert_int_equal(only(SLM_WIRE_FROM_CLIENT).type, types[i]);
	}
	slm_buf_clear(&buf);
	assert_true(slm_wire_put_simple(&buf, SLM_WIRE_PARSE_COMPLETE));
	assert_int_equal(only(SLM_WIRE_FROM_SERVER).type,
			 SLM_WIRE_PARSE_COMPLETE);
}

static void test_answers(void **state)
{
	struct slm_wire_message m;

	(void)state;
	slm_wire_put_tag(&buf, "INSERT 0 1");
	m = only(SLM_WIRE_FROM_SERVER);
	assert_int_equal(m.type, SLM_WIRE_COMMAND_COMPLETE);
	assert_string_equal(slm_wire_text(&m), "INSERT 0 1");
	for (const char *status = "ITE"; *status; status++) {
		slm_buf_clear(&buf);
		slm_wire_put_ready(&buf, *status);
		m = only(SLM_WIRE_FROM_SERVER);
		assert_int_equal(m.type, SLM_WIRE_READY_FOR_QUERY);
		assert_int_equal(slm_wire_status(&m), *status);
	}
}

static void test_reports(void **state)
{
	struct slm_wire_error error;
	struct slm_wire_message m;

	(void)state;
	slm_wire_put_error(&buf, "FATAL", "57P01", "gone");
	m = only(SLM_WIRE_FROM_SERVER);
	assert_int_equal(m.type, SLM_WIRE_ERROR_RESPONSE);
	assert_true(slm_wire_error(&m, &error));
	assert_string_equal(error.severity, "FATAL");
	assert_string_equal(error.sqlstate, "57P01");
	assert_string_equal(error.message, "gone");
	assert_null(error.detail);
	/* Clients take the fields one by one: both severities are there. */
	assert_memory_equal(m.body, "SFATAL\0VFATAL\0C57P01\0Mgone\0\0",
			    sizeof("SFATAL\0VFATAL\0C57P01\0Mgone\0"));
	slm_buf_clear(&buf);
	slm_wire_put_notice(&buf, "NOTICE", "00000", "so it is");
	m = only(SLM_WIRE_FROM_SERVER);
	assert_int_equal(m.type, SLM_WIRE_NOTICE_RESPONSE);
	assert_true(slm_wire_error(&m, &error));
	assert_string_equal(error.message, "so it is");
}

static void test_messages_follow_each_other(void **state)
{
	struct slm_wire_message m;

	(void)state;
	slm_wire_put_query(&buf, "BEGIN", 5);
	slm_wire_put_query(&buf, "COMMIT", 6);
	m = message_at(SLM_WIRE_FROM_CLIENT, buf.data, buf.size);
	assert_string_equal(slm_wire_text(&m), "BEGIN");
	m = message_at(SLM_WIRE_FROM_CLIENT, m.body + m.size,
		       buf.size - SLM_WIRE_HEADER - m.size);
	assert_string_equal(slm_wire_text(&m), "COMMIT");
}

static bool put_all(void)
{
	bool ok = true;

	ok = slm_wire_put_query(&buf, "SELECT 1", 8) && ok;
	ok = slm_wire_put_parse(&buf, "s", "SELECT 1", 8) && ok;
	ok = slm_wire_put_bind(&buf, "p", "s") && ok;
	ok = slm_wire_put_execute(&buf, "p", 0) && ok;
	ok = slm_wire_put_close(&buf, 'P', "p") && ok;
	ok = slm_wire_put_simple(&buf, SLM_WIRE_SYNC) && ok;
	ok = slm_wire_put_tag(&buf, "SELECT 1") && ok;
	ok = slm_wire_put_error(&buf, "ERROR", "XX000", "a message") && ok;
	ok = slm_wire_put_notice(&buf, "NOTICE", "00000", "a message") && ok;
	return slm_wire_put_ready(&buf, 'I') && ok;
}

static void test_memory_out_at_every_allocation(void **state)
{
	uint64_t needed;

	(void)state;
	slm_alloc_fail_from(0);
	assert_true(put_all());
	needed = slm_alloc_count();
	assert_true(needed > 0);
	for (uint64_t n = 1; n <= needed; n++) {
		slm_buf_deinit(&buf);
		slm_buf_init(&buf);
		slm_alloc_fail_from(n);
		assert_false(put_all());
		assert_true(slm_buf_failed(&buf));
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_bytes),
		TEST(test_query),
		TEST(test_extended),
		TEST(test_messages_without_a_body),
		TEST(test_answers),
		TEST(test_reports),
		TEST(test_messages_follow_each_other),
		TEST(test_memory_out_at_every_allocation),
	};

	return cmocka_run_group_tests_name("pgwire/write", tests, NULL, NULL);
}
