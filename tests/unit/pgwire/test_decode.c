/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies: a valid one, the same cut at every byte, told to be shorter at every
 * byte, and with a byte more than belongs to it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire_help.h"

typedef bool decode_fn(const struct slm_wire_message *m);

static struct block body;

static int teardown(void **state)
{
	(void)state;
	block_free(&body);
	return 0;
}

/* A message with this body, of which `have` bytes are there. */
static struct slm_wire_message message(const void *bytes, size_t size,
				       size_t have)
{
	block_free(&body);
	body = block_of(bytes, have);
	return (struct slm_wire_message){ .size = (uint32_t)size,
					  .body = body.data,
					  .have = have };
}

static struct slm_wire_message whole(const void *bytes, size_t size)
{
	return message(bytes, size, size);
}

/* Nothing but exactly these bytes is taken. */
static void check_cuts(decode_fn *decode, const void *bytes, size_t size)
{
	uint8_t more[512];
	struct slm_wire_message m;

	assert_true(size + 1 <= sizeof(more));
	m = whole(bytes, size);
	assert_true(decode(&m));
	for (size_t cut = 0; cut < size; cut++) {
		m = message(bytes, size, cut);
		if (decode(&m))
			fail_msg("taken when %zu of %zu bytes are there", cut,
				 size);
		m = whole(bytes, cut);
		if (decode(&m))
			fail_msg("taken with %zu instead of %zu bytes", cut,
				 size);
	}
	memcpy(more, bytes, size);
	for (int last = 0; last < 2; last++) {
		more[size] = last ? 'x' : '\0';
		m = whole(more, size + 1);
		assert_false(decode(&m));
	}
}

/* ---- The parts ---------------------------------------------------------- */

static void test_next_leaves_at_alone(void **state)
{
	struct block block = block_of(BYTES("ab\0\1\2\3\4\5"));
	const uint8_t *at = block.data, *end = block.data + block.size;
	const char *text;
	uint16_t small;
	uint32_t large;

	(void)state;
	assert_false(slm_wire_next_text(&at, at + 2, &text));
	assert_false(slm_wire_next_text(&at, at, &text));
	assert_ptr_equal(at, block.data);
	assert_true(slm_wire_next_text(&at, end, &text));
	assert_string_equal(text, "ab");
	assert_false(slm_wire_next_text(&at, end, &text));
	assert_ptr_equal(at, block.data + 3);
	assert_false(slm_wire_next_u32(&at, at + 3, &large));
	assert_true(slm_wire_next_u32(&at, end, &large));
	assert_int_equal(large, 0x01020304);
	assert_false(slm_wire_next_u16(&at, end, &small));
	assert_ptr_equal(at, block.data + 7);
	at = block.data + 6;
	assert_true(slm_wire_next_u16(&at, end, &small));
	assert_int_equal(small, 0x0405);
	block_free(&block);
}

static void test_values(void **state)
{
	struct block block =
		block_of(BYTES("\0\0\0\2ab\xff\xff\xff\xff\0\0\0\0"));
	const uint8_t *at = block.data, *end = block.data + block.size;
	struct slm_wire_value value;

	(void)state;
	assert_true(slm_wire_next_value(&at, end, &value));
	assert_int_equal(value.size, 2);
	assert_memory_equal(value.bytes, "ab", 2);
	assert_true(slm_wire_next_value(&at, end, &value));
	assert_null(value.bytes);
	assert_int_equal(value.size, 0);
	assert_true(slm_wire_next_value(&at, end, &value));
	assert_non_null(value.bytes);
	assert_int_equal(value.size, 0);
	assert_ptr_equal(at, end);
	assert_false(slm_wire_next_value(&at, end, &value));
	block_free(&block);
}

static void test_values_with_a_wrong_length(void **state)
{
	static const char *const lengths[] = { "\0\0\0\5abcd",
					       "\x7f\xff\xff\xff"
					       "abcd",
					       "\x80\0\0\0abcd",
					       "\xff\xff\xff\xfe"
					       "abcd" };
	struct slm_wire_value value;

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		struct block block = block_of(lengths[i], 8);
		const uint8_t *at = block.data;

		assert_false(slm_wire_next_value(&at, at + 8, &value));
		assert_ptr_equal(at, block.data);
		block_free(&block);
	}
}

/* ---- Of the client ------------------------------------------------------ */

#define PARSE BYTES("name\0SELECT $1, $2\0\0\2\0\0\0\x17\xff\xff\xff\xfe")

static bool decode_parse(const struct slm_wire_message *m)
{
	struct slm_wire_parse out;

	return slm_wire_parse(m, &out);
}

static void test_parse(void **state)
{
	struct slm_wire_message m = whole(PARSE);
	struct slm_wire_parse parse;
	const uint8_t *at;
	uint32_t type;

	(void)state;
	assert_true(slm_wire_parse(&m, &parse));
	assert_string_equal(parse.name, "name");
	assert_string_equal(parse.sql, "SELECT $1, $2");
	assert_int_equal(parse.sql_size, 13);
	assert_int_equal(parse.ntypes, 2);
	at = parse.types;
	assert_true(slm_wire_next_u32(&at, m.body + m.size, &type));
	assert_int_equal(type, 23);
	assert_true(slm_wire_next_u32(&at, m.body + m.size, &type));
	assert_int_equal(type, 0xfffffffe);
	check_cuts(decode_parse, PARSE);
	check_cuts(decode_parse, BYTES("\0\0\0\0"));
	m = whole(BYTES("\0\0\0\1\0\0\0"));
	assert_false(slm_wire_parse(&m, &parse));
	m = whole(BYTES("\0\0\xff\xff\0\0\0\1"));
	assert_false(slm_wire_parse(&m, &parse));
}

/* Two formats, three values (one NULL, one empty), one result format. */
#define BIND                                                                   \
	BYTES("port\0stmt\0\0\2\0\0\0\1\0\3\0\0\0\2ab\xff\xff\xff\xff\0\0\0\0" \
	      "\0\1\0\1")

static bool decode_bind(const struct slm_wire_message *m)
{
	struct slm_wire_bind out;

	return slm_wire_bind(m, &out);
}

static void test_bind(void **state)
{
	struct slm_wire_message m = whole(BIND);
	struct slm_wire_bind bind;
	struct slm_wire_value value;
	const uint8_t *at;

	(void)state;
	assert_true(slm_wire_bind(&m, &bind));
	assert_string_equal(bind.portal, "port");
	assert_string_equal(bind.statement, "stmt");
	assert_int_equal(bind.nformats, 2);
	assert_memory_equal(bind.formats, "\0\0\0\1", 4);
	assert_int_equal(bind.nparams, 3);
	at = bind.params;
	assert_true(slm_wire_next_value(&at, bind.end, &value));
	assert_memory_equal(value.bytes, "ab", 2);
	assert_true(slm_wire_next_value(&at, bind.end, &value));
	assert_null(value.bytes);
	assert_true(slm_wire_next_value(&at, bind.end, &value));
	assert_int_equal(value.size, 0);
	assert_ptr_equal(at, bind.end);
	assert_false(slm_wire_next_value(&at, bind.end, &value));
	assert_int_equal(bind.nresult_formats, 1);
	assert_memory_equal(bind.result_formats, "\0\1", 2);
	check_cuts(decode_bind, BIND);
	check_cuts(decode_bind, BYTES("\0\0\0\0\0\0\0\0"));
}

static void test_bind_with_wrong_counts(void **state)
{
	struct slm_wire_message m;

	(void)state;
	m = whole(BYTES("\0\0\xff\xff\0\0\0\0"));
	assert_false(decode_bind(&m));
	m = whole(BYTES("\0\0\0\0\xff\xff\0\0"));
	assert_false(decode_bind(&m));
	m = whole(BYTES("\0\0\0\0\0\0\xff\xff"));
	assert_false(decode_bind(&m));
	/* A value as long as what comes behind it. */
	m = whole(BYTES("\0\0\0\0\0\1\0\0\0\2\0\0"));
	assert_false(decode_bind(&m));
	m = whole(BYTES("\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"));
	assert_false(decode_bind(&m));
}

static void test_formats_of_params(void **state)
{
	struct slm_wire_bind bind;
	struct slm_wire_message m = whole(BIND);

	(void)state;
	assert_true(slm_wire_bind(&m, &bind));
	assert_int_equal(slm_wire_bind_format(&bind, 0), 0);
	assert_int_equal(slm_wire_bind_format(&bind, 1), 1);
	/* The server would refuse it; there are no more formats to read. */
	assert_int_equal(slm_wire_bind_format(&bind, 2), 0);
	m = whole(BYTES("\0\0\0\1\0\1\0\0\0\0"));
	assert_true(slm_wire_bind(&m, &bind));
	assert_int_equal(slm_wire_bind_format(&bind, 0), 1);
	assert_int_equal(slm_wire_bind_format(&bind, 9), 1);
	m = whole(BYTES("\0\0\0\0\0\0\0\0"));
	assert_true(slm_wire_bind(&m, &bind));
	assert_int_equal(slm_wire_bind_format(&bind, 0), 0);
}

static bool decode_target(const struct slm_wire_message *m)
{
	struct slm_wire_target out;

	return slm_wire_target(m, &out);
}

static void test_target(void **state)
{
	struct slm_wire_message m = whole(BYTES("Sname\0"));
	struct slm_wire_target target;

	(void)state;
	assert_true(slm_wire_target(&m, &target));
	assert_int_equal(target.kind, 'S');
	assert_string_equal(target.name, "name");
	m = whole(BYTES("P\0"));
	assert_true(slm_wire_target(&m, &target));
	assert_int_equal(target.kind, 'P');
	assert_string_equal(target.name, "");
	m = whole(BYTES("Xname\0"));
	assert_false(slm_wire_target(&m, &target));
	check_cuts(decode_target, BYTES("Sname\0"));
}

static bool decode_execute(const struct slm_wire_message *m)
{
	struct slm_wire_execute out;

	return slm_wire_execute(m, &out);
}

static void check_max_rows(const char *bytes, uint32_t expected)
{
	struct slm_wire_message m = whole(bytes, 8);
	struct slm_wire_execute execute;

	assert_true(slm_wire_execute(&m, &execute));
	assert_string_equal(execute.portal, "prt");
	assert_int_equal(execute.max_rows, expected);
}

static void test_execute(void **state)
{
	(void)state;
	check_max_rows("prt\0\0\0\0\0", 0);
	check_max_rows("prt\0\0\0\1\0", 256);
	check_max_rows("prt\0\x7f\xff\xff\xff", 0x7fffffff);
	check_max_rows("prt\0\x80\0\0\0", 0);
	check_max_rows("prt\0\xff\xff\xff\xff", 0);
	check_cuts(decode_execute, BYTES("prt\0\0\0\0\1"));
	check_cuts(decode_execute, BYTES("\0\0\0\0\1"));
}

static bool decode_text(const struct slm_wire_message *m)
{
	return slm_wire_text(m) != NULL;
}

static void test_text(void **state)
{
	struct slm_wire_message m = whole(BYTES("SELECT 1\0"));

	(void)state;
	assert_string_equal(slm_wire_text(&m), "SELECT 1");
	m = whole(BYTES("\0"));
	assert_string_equal(slm_wire_text(&m), "");
	m = whole(BYTES("SELECT 1"));
	assert_null(slm_wire_text(&m));
	/* What the server would not see must not be taken for the text. */
	m = whole(BYTES("SELECT 1\0DROP\0"));
	assert_null(slm_wire_text(&m));
	check_cuts(decode_text, BYTES("SELECT 1\0"));
}

/* ---- Of the server ------------------------------------------------------ */

#define COLUMN(name) name "\0\0\0\1\2\0\3\0\0\0\x17\0\4\xff\xff\xff\xff\0\1"

static bool decode_row_description(const struct slm_wire_message *m)
{
	struct slm_wire_row_description out;

	return slm_wire_row_description(m, &out);
}

static void test_row_description(void **state)
{
	struct slm_wire_message m =
		whole(BYTES("\0\2" COLUMN("id") COLUMN("")));
	struct slm_wire_row_description rows;
	struct slm_wire_column column;
	const uint8_t *at;

	(void)state;
	assert_true(slm_wire_row_description(&m, &rows));
	assert_int_equal(rows.ncolumns, 2);
	at = rows.columns;
	assert_true(slm_wire_next_column(&at, rows.end, &column));
	assert_string_equal(column.name, "id");
	assert_int_equal(column.table, 0x0102);
	assert_int_equal(column.attribute, 3);
	assert_int_equal(column.type, 23);
	assert_int_equal(column.format, 1);
	assert_true(slm_wire_next_column(&at, rows.end, &column));
	assert_string_equal(column.name, "");
	assert_ptr_equal(at, rows.end);
	assert_false(slm_wire_next_column(&at, rows.end, &column));
	check_cuts(decode_row_description,
		   BYTES("\0\2" COLUMN("id") COLUMN("")));
	check_cuts(decode_row_description, BYTES("\0\0"));
	m = whole(BYTES("\xff\xff" COLUMN("id")));
	assert_false(slm_wire_row_description(&m, &rows));
}

#define DATA_ROW "\0\3\0\0\0\2ab\xff\xff\xff\xff\0\0\0\1c"

static unsigned count_values(const struct slm_wire_data_row *row)
{
	const uint8_t *at = row->values;
	struct slm_wire_value value;
	unsigned n = 0;

	while (n < row->nvalues && slm_wire_next_value(&at, row->end, &value))
		n++;
	return n;
}

static void test_data_row(void **state)
{
	struct slm_wire_message m = whole(BYTES(DATA_ROW));
	struct slm_wire_data_row row;

	(void)state;
	assert_true(slm_wire_data_row(&m, &row));
	assert_int_equal(row.nvalues, 3);
	assert_int_equal(count_values(&row), 3);
	m = whole(BYTES("\0\0"));
	assert_true(slm_wire_data_row(&m, &row));
	assert_int_equal(row.nvalues, 0);
	m = whole(BYTES(DATA_ROW "x"));
	assert_false(slm_wire_data_row(&m, &row));
	m = whole(BYTES("\xff\xff\0\0\0\0"));
	assert_false(slm_wire_data_row(&m, &row));
	for (size_t size = 0; size < sizeof(DATA_ROW) - 1; size++) {
		m = whole(DATA_ROW, size);
		assert_false(slm_wire_data_row(&m, &row));
	}
}

/* Of a row that is not whole, the values that are. */
static void test_the_beginning_of_a_data_row(void **state)
{
	const size_t size = sizeof(DATA_ROW) - 1;
	struct slm_wire_message m;
	struct slm_wire_data_row row;

	(void)state;
	for (size_t have = 0; have < size; have++) {
		m = message(DATA_ROW, size, have);
		assert_int_equal(slm_wire_data_row(&m, &row), have >= 2);
		if (have < 2)
			continue;
		assert_int_equal(row.nvalues, 3);
		assert_int_equal(count_values(&row), have < 8  ? 0 :
						     have < 12 ? 1 :
								 2);
	}
}

static bool decode_types(const struct slm_wire_message *m)
{
	struct slm_wire_types out;

	return slm_wire_types(m, &out);
}

static void test_types(void **state)
{
	struct slm_wire_message m = whole(BYTES("\0\2\0\0\0\x17\0\0\0\x19"));
	struct slm_wire_types types;
	const uint8_t *at;
	uint32_t type;

	(void)state;
	assert_true(slm_wire_types(&m, &types));
	assert_int_equal(types.ntypes, 2);
	at = types.types + 4;
	assert_true(slm_wire_next_u32(&at, m.body + m.size, &type));
	assert_int_equal(type, 25);
	check_cuts(decode_types, BYTES("\0\2\0\0\0\x17\0\0\0\x19"));
	check_cuts(decode_types, BYTES("\0\0"));
}

static bool decode_error(const struct slm_wire_message *m)
{
	struct slm_wire_error out;

	return slm_wire_error(m, &out);
}

#define ERROR                                                              \
	BYTES("SFEHLER\0VERROR\0C23505\0Mduplicate\0Dkey\0Hthink\0tshop\0" \
	      "nshop_pkey\0Fnbtinsert.c\0L666\0\0")

static void test_error(void **state)
{
	struct slm_wire_message m = whole(ERROR);
	struct slm_wire_error error;

	(void)state;
	assert_true(slm_wire_error(&m, &error));
	assert_string_equal(error.severity, "ERROR");
	assert_string_equal(error.sqlstate, "23505");
	assert_string_equal(error.message, "duplicate");
	assert_string_equal(error.detail, "key");
	assert_string_equal(error.hint, "think");
	assert_string_equal(error.constraint, "shop_pkey");
	check_cuts(decode_error, ERROR);
	/* Before 9.6 there was only the translated one. */
	m = whole(BYTES("SFEHLER\0\0"));
	assert_true(slm_wire_error(&m, &error));
	assert_string_equal(error.severity, "FEHLER");
	assert_null(error.sqlstate);
	m = whole(BYTES("\0"));
	assert_true(slm_wire_error(&m, &error));
	assert_null(error.severity);
	m = whole(BYTES("M\0\0"));
	assert_true(slm_wire_error(&m, &error));
	assert_string_equal(error.message, "");
	m = whole(BYTES(""));
	assert_false(slm_wire_error(&m, &error));
}

static void test_status(void **state)
{
	struct slm_wire_message m;

	(void)state;
	for (int byte = 0; byte < 256; byte++) {
		char c = (char)byte;

		m = whole(&c, 1);
		assert_int_equal(slm_wire_status(&m),
				 byte && strchr("ITE", byte) ? byte : 0);
	}
	m = message("I", 1, 0);
	assert_int_equal(slm_wire_status(&m), 0);
	m = whole("", 0);
	assert_int_equal(slm_wire_status(&m), 0);
	m = whole("II", 2);
	assert_int_equal(slm_wire_status(&m), 0);
}

static void test_key(void **state)
{
	uint8_t bytes[4 + 257] = { 0, 1, 2, 3, 0xfe };
	struct slm_wire_message m = whole(bytes, 8);
	struct slm_wire_key key;

	(void)state;
	assert_true(slm_wire_key(&m, &key));
	assert_int_equal(key.pid, 0x00010203);
	assert_int_equal(key.key_size, 4);
	assert_memory_equal(key.key, bytes + 4, 4);
	m = whole(bytes, 4 + 256);
	assert_true(slm_wire_key(&m, &key));
	assert_int_equal(key.key_size, 256);
	assert_memory_equal(key.key, bytes + 4, 256);
	m = whole(bytes, 4 + 257);
	assert_false(slm_wire_key(&m, &key));
	for (size_t size = 0; size < 8; size++) {
		m = whole(bytes, size);
		assert_false(slm_wire_key(&m, &key));
		m = message(bytes, 8, size);
		assert_false(slm_wire_key(&m, &key));
	}
}

static bool decode_setting(const struct slm_wire_message *m)
{
	struct slm_wire_setting out;

	return slm_wire_setting(m, &out);
}

static void test_setting(void **state)
{
	struct slm_wire_message m = whole(BYTES("TimeZone\0UTC\0"));
	struct slm_wire_setting setting;

	(void)state;
	assert_true(slm_wire_setting(&m, &setting));
	assert_string_equal(setting.name, "TimeZone");
	assert_string_equal(setting.value, "UTC");
	check_cuts(decode_setting, BYTES("TimeZone\0UTC\0"));
	check_cuts(decode_setting, BYTES("\0\0"));
}

static void test_authentication(void **state)
{
	struct slm_wire_message m = whole(BYTES("\0\0\0\xaSCRAM-SHA-256\0\0"));
	uint32_t code;

	(void)state;
	assert_true(slm_wire_authentication(&m, &code));
	assert_int_equal(code, 10);
	m = whole(BYTES("\0\0\0\0"));
	assert_true(slm_wire_authentication(&m, &code));
	assert_int_equal(code, 0);
	for (size_t size = 0; size < 4; size++) {
		m = whole("\0\0\0\0", size);
		assert_false(slm_wire_authentication(&m, &code));
		m = message("\0\0\0\0", 4, size);
		assert_false(slm_wire_authentication(&m, &code));
	}
}

/* ---- Tags --------------------------------------------------------------- */

static void test_changes(void **state)
{
	static const struct {
		const char *tag;
		int64_t changes;
	} cases[] = {
		{ "INSERT 0 3", 3 },
		{ "INSERT 0 0", 0 },
		{ "UPDATE 2", 2 },
		{ "DELETE 1000000000000", 1000000000000 },
		{ "MERGE 7", 7 },
		{ "COPY 12", 12 },
		{ "SELECT 5", -1 },
		{ "FETCH 5", -1 },
		{ "MOVE 5", -1 },
		{ "BEGIN", -1 },
		{ "CREATE TABLE", -1 },
		{ "", -1 },
		/* No server says these. */
		{ "INSERT", -1 },
		{ "INSERT ", -1 },
		{ "UPDATE x", -1 },
		{ "UPDATE -1", -1 },
		{ "UPDATE 2 ", -1 },
		{ "UPDATES 2", -1 },
		{ "UPDATE 9223372036854775807", INT64_MAX },
		{ "UPDATE 9223372036854775808", -1 },
		{ "UPDATE 99999999999999999999999999", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (slm_wire_changes(cases[i].tag) != cases[i].changes)
			fail_msg("'%s' gives %lld", cases[i].tag,
				 (long long)slm_wire_changes(cases[i].tag));
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_next_leaves_at_alone),
		TEST(test_values),
		TEST(test_values_with_a_wrong_length),
		TEST(test_parse),
		TEST(test_bind),
		TEST(test_bind_with_wrong_counts),
		TEST(test_formats_of_params),
		TEST(test_target),
		TEST(test_execute),
		TEST(test_text),
		TEST(test_row_description),
		TEST(test_data_row),
		TEST(test_the_beginning_of_a_data_row),
		TEST(test_types),
		TEST(test_error),
		TEST(test_status),
		TEST(test_key),
		TEST(test_setting),
		TEST(test_authentication),
		TEST(test_changes),
	};

	return cmocka_run_group_tests_name("pgwire/decode", tests, NULL, NULL);
}
