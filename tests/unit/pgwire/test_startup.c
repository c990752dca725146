/* SPDX-License-Identifier: Apache-2.0 */
/* The packets before the first message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire_help.h"

#define V3_0 0x00030000u
#define CANCEL 80877102u
#define SSL 80877103u
#define GSSENC 80877104u

static struct block packet;
static struct slm_wire_startup startup;
static char why[SLM_WIRE_WHY];

static int teardown(void **state)
{
	(void)state;
	block_free(&packet);
	return 0;
}

static void put_u32(uint8_t *at, uint32_t n)
{
	for (int i = 3; i >= 0; i--, n >>= 8)
		at[i] = (uint8_t)n;
}

/* A packet whose length word is `word` (0: as it is); `have` of its bytes. */
static enum slm_wire_found look(uint32_t word, uint32_t code, const void *rest,
				size_t size, size_t have)
{
	static uint8_t bytes[SLM_WIRE_STARTUP_MAX + 100];
	enum slm_wire_found found;

	assert_true(8 + size <= sizeof(bytes) && have <= 8 + size);
	put_u32(bytes, word ? word : (uint32_t)(8 + size));
	put_u32(bytes + 4, code);
	memcpy(bytes + 8, rest, size);
	block_free(&packet);
	packet = block_of(bytes, have);
	memset(why, 0, sizeof(why));
	memset(&startup, 0xee, sizeof(startup));
	found = slm_wire_look_startup(packet.data, packet.size, &startup, why);
	assert_int_equal(found == SLM_WIRE_BAD, why[0] != '\0');
	assert_null(strchr(why, '\n'));
	assert_true(strlen(why) < sizeof(why) - 1);
	if (found != SLM_WIRE_MESSAGE)
		assert_int_equal(startup.size, 0xeeeeeeee);
	return found;
}

static enum slm_wire_found whole(uint32_t code, const void *rest, size_t size)
{
	return look(0, code, rest, size, 8 + size);
}

static void test_parameters(void **state)
{
	(void)state;
	assert_int_equal(whole(V3_0, BYTES("user\0ann\0database\0shop_test\0"
					   "application_name\0web\0options\0"
					   "-c geqo=off\0client_encoding\0"
					   "UTF8\0\0")),
			 SLM_WIRE_MESSAGE);
	assert_int_equal(startup.kind, SLM_WIRE_STARTUP);
	assert_int_equal(startup.size, packet.size);
	assert_int_equal(startup.protocol, V3_0);
	assert_string_equal(startup.user, "ann");
	assert_string_equal(startup.database, "shop_test");
	assert_string_equal(startup.application_name, "web");
	assert_string_equal(startup.options, "-c geqo=off");
	assert_false(startup.replication);
}

static void test_no_parameters(void **state)
{
	(void)state;
	assert_int_equal(whole(V3_0, BYTES("\0")), SLM_WIRE_MESSAGE);
	assert_string_equal(startup.user, "");
	assert_string_equal(startup.database, "");
	assert_string_equal(startup.application_name, "");
	assert_string_equal(startup.options, "");
	assert_false(startup.replication);
	/* The last one of a name counts; a value may be empty. */
	assert_int_equal(whole(V3_0, BYTES("user\0a\0user\0b\0database\0\0"
					   "\0")),
			 SLM_WIRE_MESSAGE);
	assert_string_equal(startup.user, "b");
	assert_string_equal(startup.database, "");
}

static void test_newer_minor_versions(void **state)
{
	(void)state;
	assert_int_equal(whole(SLM_WIRE_PROTOCOL(3, 2),
			       BYTES("user\0ann\0_pq_.x\0on\0\0")),
			 SLM_WIRE_MESSAGE);
	assert_int_equal(startup.kind, SLM_WIRE_STARTUP);
	assert_int_equal(startup.protocol, 0x00030002);
	assert_int_equal(whole(SLM_WIRE_PROTOCOL(3, 9999), BYTES("\0")),
			 SLM_WIRE_MESSAGE);
	assert_int_equal(startup.kind, SLM_WIRE_STARTUP);
}

static void check_replication(const char *value, bool expected)
{
	char text[64] = "user\0ann\0replication";
	size_t size = sizeof("user\0ann\0replication");

	memcpy(text + size, value, strlen(value) + 1);
	size += strlen(value) + 1;
	text[size++] = '\0';
	assert_int_equal(whole(V3_0, text, size), SLM_WIRE_MESSAGE);
	if (startup.replication != expected)
		fail_msg("replication=%s is %d", value, startup.replication);
}

static void test_replication(void **state)
{
	static const char *const yes[] = { "database", "true",	 "t", "on",
					   "yes",      "1",	 "",  "o",
					   "offf",     "falsey", "00" };
	static const char *const no[] = { "false", "f",	 "FALSE", "no", "n",
					  "off",   "of", "OFF",	  "0" };

	(void)state;
	for (size_t i = 0; i < sizeof(yes) / sizeof(*yes); i++)
		check_replication(yes[i], true);
	for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++)
		check_replication(no[i], false);
}

static void test_parameters_without_an_end(void **state)
{
	(void)state;
	assert_int_equal(whole(V3_0, BYTES("")), SLM_WIRE_BAD);
	assert_int_equal(whole(V3_0, BYTES("user\0ann\0")), SLM_WIRE_BAD);
	assert_int_equal(whole(V3_0, BYTES("user\0ann")), SLM_WIRE_BAD);
	assert_int_equal(whole(V3_0, BYTES("user\0")), SLM_WIRE_BAD);
	assert_int_equal(whole(V3_0, BYTES("user")), SLM_WIRE_BAD);
	assert_int_equal(whole(V3_0, BYTES("user\0ann\0\0x")), SLM_WIRE_BAD);
	assert_int_equal(whole(V3_0, BYTES("user\0ann\0\0\0")), SLM_WIRE_BAD);
	assert_int_equal(whole(V3_0, BYTES("\0\0")), SLM_WIRE_BAD);
}

static void test_requests_for_encryption(void **state)
{
	(void)state;
	assert_int_equal(whole(SSL, BYTES("")), SLM_WIRE_MESSAGE);
	assert_int_equal(startup.kind, SLM_WIRE_SSL_REQUEST);
	assert_int_equal(startup.size, 8);
	assert_int_equal(startup.protocol, SSL);
	assert_string_equal(startup.user, "");
	assert_int_equal(whole(GSSENC, BYTES("")), SLM_WIRE_MESSAGE);
	assert_int_equal(startup.kind, SLM_WIRE_GSSENC_REQUEST);
	assert_int_equal(startup.size, 8);
	assert_int_equal(whole(SSL, BYTES("x")), SLM_WIRE_BAD);
	assert_int_equal(whole(GSSENC, BYTES("x")), SLM_WIRE_BAD);
}

static void test_cancel(void **state)
{
	uint8_t rest[4 + 257] = { 1, 2, 3, 4, 0xaa, 0xbb, 0xcc, 0xdd };

	(void)state;
	assert_int_equal(whole(CANCEL, rest, 8), SLM_WIRE_MESSAGE);
	assert_int_equal(startup.kind, SLM_WIRE_CANCEL_REQUEST);
	assert_int_equal(startup.pid, 0x01020304);
	assert_int_equal(startup.key_size, 4);
	assert_memory_equal(startup.key, rest + 4, 4);
	/* Longer keys came with protocol 3.2. */
	rest[4 + 255] = 0x7f;
	assert_int_equal(whole(CANCEL, rest, 4 + 256), SLM_WIRE_MESSAGE);
	assert_int_equal(startup.key_size, 256);
	assert_memory_equal(startup.key, rest + 4, 256);
	assert_int_equal(whole(CANCEL, rest, 4 + 257), SLM_WIRE_BAD);
	assert_int_equal(whole(CANCEL, rest, 7), SLM_WIRE_BAD);
	assert_int_equal(whole(CANCEL, rest, 3), SLM_WIRE_BAD);
	assert_int_equal(whole(CANCEL, rest, 0), SLM_WIRE_BAD);
}

static void test_other_protocols(void **state)
{
	static const uint32_t codes[] = { 0,	      2u << 16,	  0x0002ffff,
					  4u << 16,   0x03000000, 0xffffffff,
					  GSSENC + 1, CANCEL - 1 };

	(void)state;
	for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
		assert_int_equal(whole(codes[i], BYTES("anything")),
				 SLM_WIRE_MESSAGE);
		assert_int_equal(startup.kind, SLM_WIRE_OTHER_PROTOCOL);
		assert_int_equal(startup.protocol, codes[i]);
		assert_int_equal(startup.size, 16);
		assert_string_equal(startup.user, "");
	}
}

static void test_lengths(void **state)
{
	static const uint32_t words[] = { 1,	      4,
					  7,	      SLM_WIRE_STARTUP_MAX + 1,
					  0x7fffffff, 0x80000000,
					  0xffffffff };
	static uint8_t rest[SLM_WIRE_STARTUP_MAX - 8];

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		assert_int_equal(look(words[i], V3_0, BYTES("\0"), 9),
				 SLM_WIRE_BAD);
		/* Told as soon as the word is there. */
		assert_int_equal(look(words[i], V3_0, BYTES("\0"), 4),
				 SLM_WIRE_BAD);
	}
	assert_int_equal(look(SLM_WIRE_STARTUP_MAX, V3_0, BYTES("\0"), 9),
			 SLM_WIRE_MORE);
	memset(rest, 'x', sizeof(rest));
	rest[4] = '\0';
	rest[sizeof(rest) - 2] = '\0';
	rest[sizeof(rest) - 1] = '\0';
	assert_int_equal(whole(V3_0, rest, sizeof(rest)), SLM_WIRE_MESSAGE);
	assert_int_equal(startup.size, 10004);
}

static void test_other_speakers(void **state)
{
	static const char http[] = "GET / HTTP/1.1\r\n";
	static const char tls[] = "\x16\x03\x01\x02";

	(void)state;
	assert_int_equal(slm_wire_look_startup(BYTES(http), &startup, why),
			 SLM_WIRE_BAD);
	assert_non_null(strstr(why, "not a PostgreSQL client?"));
	assert_int_equal(slm_wire_look_startup(BYTES(tls), &startup, why),
			 SLM_WIRE_BAD);
	assert_non_null(strstr(why, "TLS"));
	assert_int_equal(slm_wire_look_startup(BYTES(tls), &startup, NULL),
			 SLM_WIRE_BAD);
	assert_int_equal(slm_wire_look_startup(BYTES(http), &startup, NULL),
			 SLM_WIRE_BAD);
}

/* Whatever follows the packet is not looked at. */
static void test_cut_at_every_byte(void **state)
{
	static const char rest[] = "user\0ann\0database\0shop\0\0more";
	const size_t size = sizeof(rest) - 1, end = 8 + size - 4;

	(void)state;
	for (size_t have = 0; have <= 8 + size; have++)
		assert_int_equal(look((uint32_t)end, V3_0, rest, size, have),
				 have < end ? SLM_WIRE_MORE : SLM_WIRE_MESSAGE);
	for (size_t have = 0; have < 16; have++)
		assert_int_equal(look(16, CANCEL, "12345678", 8, have),
				 SLM_WIRE_MORE);
	assert_int_equal(startup.size, 0xeeeeeeee);
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_parameters),
		TEST(test_no_parameters),
		TEST(test_newer_minor_versions),
		TEST(test_replication),
		TEST(test_parameters_without_an_end),
		TEST(test_requests_for_encryption),
		TEST(test_cancel),
		TEST(test_other_protocols),
		TEST(test_lengths),
		TEST(test_other_speakers),
		TEST(test_cut_at_every_byte),
	};

	return cmocka_run_group_tests_name("pgwire/startup", tests, NULL, NULL);
}
