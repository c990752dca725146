/* SPDX-License-Identifier: Apache-2.0 */
/* Headers: every type of both sides, every bound, every cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire_help.h"

/* Written by hand from the manual, not from the list that is tested. */
static const char client_types[] = "BCDEFHPQSXcdfp";
static const char server_types[] = "123ACDEGHIKNRSTVWZcdnstv";

struct entry {
	enum slm_wire_side side;
	uint8_t type;
	const char *name;
	uint32_t min, max;
};

static const struct entry entries[] = {
#define X(type, NAME, text, min, max) \
	{ SLM_WIRE_FROM_CLIENT, type, text, min, max },
	SLM_WIRE_CLIENT(X)
#undef X
#define X(type, NAME, text, min, max) \
	{ SLM_WIRE_FROM_SERVER, type, text, min, max },
		SLM_WIRE_SERVER(X)
#undef X
};
#define NENTRIES (sizeof(entries) / sizeof(*entries))

static struct slm_wire_message message;
static char why[SLM_WIRE_WHY];

/* Looks at a header with this length word and `more` bytes behind it. */
static enum slm_wire_found look(enum slm_wire_side side, uint8_t type,
				uint32_t word, size_t more)
{
	uint8_t bytes[64] = { 0 };
	struct block block;
	enum slm_wire_found found;

	assert_true(SLM_WIRE_HEADER + more <= sizeof(bytes));
	put_header(bytes, type, word);
	block = block_of(bytes, SLM_WIRE_HEADER + more);
	memset(why, 0, sizeof(why));
	memset(&message, 0xee, sizeof(message));
	found = slm_wire_look(side, block.data, block.size, &message, why);
	assert_int_equal(found == SLM_WIRE_BAD, why[0] != '\0');
	assert_null(strchr(why, '\n'));
	assert_true(strlen(why) < sizeof(why) - 1);
	if (found == SLM_WIRE_MESSAGE)
		assert_ptr_equal(message.body, block.data + SLM_WIRE_HEADER);
	else
		assert_int_equal(message.size, 0xeeeeeeee);
	block_free(&block);
	return found;
}

static void test_names_and_types(void **state)
{
	(void)state;
	for (int type = 0; type < 256; type++) {
		bool client = type && strchr(client_types, type);
		bool server = type && strchr(server_types, type);

		assert_int_equal(slm_wire_name(SLM_WIRE_FROM_CLIENT,
					       (uint8_t)type) != NULL,
				 client);
		assert_int_equal(slm_wire_name(SLM_WIRE_FROM_SERVER,
					       (uint8_t)type) != NULL,
				 server);
	}
	assert_int_equal(NENTRIES, strlen(client_types) + strlen(server_types));
	assert_string_equal(slm_wire_name(SLM_WIRE_FROM_CLIENT, 'D'),
			    "Describe");
	assert_string_equal(slm_wire_name(SLM_WIRE_FROM_SERVER, 'D'),
			    "DataRow");
	assert_string_equal(slm_wire_name(SLM_WIRE_FROM_SERVER, 'W'),
			    "CopyBothResponse");
	assert_string_equal(slm_wire_name(SLM_WIRE_FROM_SERVER, 'v'),
			    "NegotiateProtocolVersion");
	assert_string_equal(slm_wire_name(SLM_WIRE_FROM_SERVER, 'd'),
			    slm_wire_name(SLM_WIRE_FROM_CLIENT, 'd'));
}

static void test_bounds_of_every_message(void **state)
{
	(void)state;
	for (size_t i = 0; i < NENTRIES; i++) {
		const struct entry *e = &entries[i];

		assert_int_equal(look(e->side, e->type, e->min + 4, 0),
				 SLM_WIRE_MESSAGE);
		assert_int_equal(message.type, e->type);
		assert_int_equal(message.size, e->min);
		assert_int_equal(message.have, 0);
		assert_int_equal(look(e->side, e->type, e->max + 4, 0),
				 SLM_WIRE_MESSAGE);
		assert_int_equal(message.size, e->max);
		assert_int_equal(look(e->side, e->type, e->min + 3, 0),
				 SLM_WIRE_BAD);
		assert_non_null(strstr(why, e->name));
		assert_int_equal(look(e->side, e->type, e->max + 5, 0),
				 SLM_WIRE_BAD);
		assert_non_null(strstr(why, e->name));
	}
}

/* Of 2 GB and more, negative, and too small for the word itself. */
static void test_impossible_lengths_of_every_message(void **state)
{
	static const uint32_t words[] = { 0,	      1,	  2,
					  3,	      0x40000004, 0x7fffffff,
					  0x80000000, 0x80000004, 0xfffffffb,
					  0xffffffff };

	(void)state;
	for (size_t i = 0; i < NENTRIES; i++)
		for (size_t j = 0; j < sizeof(words) / sizeof(*words); j++)
			assert_int_equal(look(entries[i].side, entries[i].type,
					      words[j], 8),
					 SLM_WIRE_BAD);
}

/* What the manual says of sizes, not what the list says. */
static void test_bounds_of_the_manual(void **state)
{
	const enum slm_wire_side s = SLM_WIRE_FROM_SERVER;

	(void)state;
	/* Keys: 4 bytes up to protocol 3.0, 256 at most since 3.2. */
	assert_int_equal(look(s, 'K', 12, 0), SLM_WIRE_MESSAGE);
	assert_int_equal(look(s, 'K', 11, 0), SLM_WIRE_BAD);
	assert_int_equal(look(s, 'K', 264, 0), SLM_WIRE_MESSAGE);
	assert_int_equal(look(s, 'K', 265, 0), SLM_WIRE_BAD);
	assert_int_equal(look(s, 'Z', 5, 0), SLM_WIRE_MESSAGE);
	assert_int_equal(look(s, 'Z', 6, 0), SLM_WIRE_BAD);
	assert_int_equal(look(s, 'v', 12, 0), SLM_WIRE_MESSAGE);
	assert_int_equal(look(s, 'v', 11, 0), SLM_WIRE_BAD);
	/* 65535 parameters are possible. */
	assert_int_equal(look(s, 't', 4 + 2 + 65535 * 4, 0), SLM_WIRE_MESSAGE);
	assert_int_equal(look(s, 't', 4 + 2 + 65536 * 4, 0), SLM_WIRE_BAD);
	/* A row and a piece of a COPY may have a gigabyte. */
	assert_int_equal(look(s, 'D', 100 << 20, 0), SLM_WIRE_MESSAGE);
	assert_int_equal(look(s, 'd', 0x3fffffff, 0), SLM_WIRE_MESSAGE);
	assert_int_equal(look(SLM_WIRE_FROM_CLIENT, 'd', 0x3fffffff, 0),
			 SLM_WIRE_MESSAGE);
	assert_int_equal(look(SLM_WIRE_FROM_CLIENT, 'Q', 0x3fffffff, 0),
			 SLM_WIRE_MESSAGE);
	assert_int_equal(look(SLM_WIRE_FROM_CLIENT, 'S', 5, 0), SLM_WIRE_BAD);
}

static void test_unknown_types_are_told_at_once(void **state)
{
	(void)state;
	for (int side = 0; side < 2; side++) {
		const char *types = side ? server_types : client_types;

		for (int type = 0; type < 256; type++) {
			uint8_t byte = (uint8_t)type;
			struct block block = block_of(&byte, 1);
			bool known = type && strchr(types, type);

			memset(why, 0, sizeof(why));
			assert_int_equal(slm_wire_look((enum slm_wire_side)side,
						       block.data, 1, &message,
						       why),
					 known ? SLM_WIRE_MORE : SLM_WIRE_BAD);
			block_free(&block);
			if (known)
				continue;
			assert_non_null(
				strstr(why, side ? "server" : "client"));
			for (const char *at = why; *at; at++)
				assert_true(*at >= ' ' && *at <= '~');
		}
	}
	look(SLM_WIRE_FROM_CLIENT, 'G', 4, 0);
	assert_string_equal(why, "the client sent a message of the unknown "
				 "type 'G'");
	look(SLM_WIRE_FROM_SERVER, 0x16, 4, 0);
	assert_string_equal(why, "the server sent a message of the unknown "
				 "type 0x16");
}

static void test_a_bad_length_is_told(void **state)
{
	(void)state;
	look(SLM_WIRE_FROM_CLIENT, 'Q', 0x80000000, 0);
	assert_string_equal(why, "the client sent Query with a length of "
				 "2147483648, where 5 to 1073741827 are "
				 "possible");
	/* Who does not want to know need not. */
	assert_int_equal(slm_wire_look(SLM_WIRE_FROM_CLIENT, "Q\0\0\0\0", 5,
				       &message, NULL),
			 SLM_WIRE_BAD);
	assert_int_equal(slm_wire_look(SLM_WIRE_FROM_CLIENT, "?", 1, &message,
				       NULL),
			 SLM_WIRE_BAD);
}

static void test_cut_at_every_byte(void **state)
{
	static const char bytes[] = "Q\0\0\0\x0dSELECT 1\0Q";

	(void)state;
	for (size_t size = 0; size < sizeof(bytes); size++) {
		struct block block = block_of(bytes, size);
		enum slm_wire_found found;

		found = slm_wire_look(SLM_WIRE_FROM_CLIENT, block.data, size,
				      &message, why);
		if (size < SLM_WIRE_HEADER) {
			assert_int_equal(found, SLM_WIRE_MORE);
		} else {
			assert_int_equal(found, SLM_WIRE_MESSAGE);
			assert_int_equal(message.size, 9);
			/* What follows is no part of it. */
			assert_int_equal(message.have,
					 size - 5 < 9 ? size - 5 : 9);
		}
		block_free(&block);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_and_types),
		cmocka_unit_test(test_bounds_of_every_message),
		cmocka_unit_test(test_impossible_lengths_of_every_message),
		cmocka_unit_test(test_bounds_of_the_manual),
		cmocka_unit_test(test_unknown_types_are_told_at_once),
		cmocka_unit_test(test_a_bad_length_is_told),
		cmocka_unit_test(test_cut_at_every_byte),
	};

	return cmocka_run_group_tests_name("pgwire/look", tests, NULL, NULL);
}
