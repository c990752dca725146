/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dialog at its limits: messages of any size pass in bounded memory, texts
 * that are too long are cut, too many names and messages end the connection,
 * memory may be out at any time, garbage is refused, and the common path
 * neither allocates nor writes more often than it must.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "probe/dialog_talk.h"

#define PIECE (64 * 1024)

/* ---- Helpers ----------------------------------------------------------- */

static void put_head(struct slm_buf *out, char type, uint32_t body)
{
	uint32_t length = body + 4;
	char head[5] = { type, (char)(length >> 24), (char)(length >> 16),
			 (char)(length >> 8), (char)length };

	slm_buf_append(out, head, 5);
}

static void server_says(struct talk *talk, const char *types)
{
	struct slm_buf out = { 0 };

	for (; *types; types++)
		switch (*types) {
		case 'Z':
		case 'T':
			slm_wire_put_ready(&out, *types == 'Z' ? 'I' : 'T');
			break;
		case 'C':
			slm_wire_put_tag(&out, "INSERT 0 1");
			break;
		case 'E':
			slm_wire_put_error(&out, "ERROR", "23505", "no");
			break;
		default:
			put_head(&out, *types, 0);
		}
	talk_feed(talk, false, out.data, out.size);
	slm_buf_deinit(&out);
}

static struct talk *open_talk(enum slm_dialog_mode mode)
{
	struct talk *talk = talk_new(mode, 0);

	talk->grants = talk->split = true;
	server_says(talk, "Z");
	slm_buf_clear(&talk->to_client);
	slm_buf_clear(&talk->log);
	return talk;
}

static void say_query(struct talk *talk, const char *sql)
{
	struct slm_buf out = { 0 };

	slm_wire_put_query(&out, sql, strlen(sql));
	talk_feed(talk, true, out.data, out.size);
	slm_buf_deinit(&out);
}

static void put_execution(struct slm_buf *out, const char *name)
{
	slm_wire_put_bind(out, "", name);
	slm_wire_put_execute(out, "", 0);
}

/* ---- Streams ----------------------------------------------------------- */

struct stream {
	uint64_t bytes, most; /* passed on; that waited at once */
	uint64_t digest;
};

static void count(struct talk *talk, bool to_server, const void *bytes,
		  size_t size)
{
	struct stream *stream = talk->userdata;

	(void)to_server;
	stream->bytes += size;
	for (size_t i = 0; i < size; i++)
		stream->digest =
			stream->digest * 31 + ((const uint8_t *)bytes)[i];
}

/* A message of size bytes, in pieces; 0xff..: what it begins with. */
static void feed_big(struct talk *talk, bool of_client, char type,
		     const void *begin, size_t begin_size, uint32_t size,
		     struct stream *fed)
{
	struct stream *stream = talk->userdata;
	struct slm_buf *waits = of_client ? &talk->client : &talk->server;
	struct slm_buf piece = { 0 };
	uint32_t left = size - (uint32_t)begin_size;

	put_head(&piece, type, size);
	slm_buf_append(&piece, begin, begin_size);
	for (;;) {
		for (size_t i = 0; i < piece.size; i++)
			fed->digest = fed->digest * 31 + (uint8_t)piece.data[i];
		fed->bytes += piece.size;
		talk_feed(talk, of_client, piece.data, piece.size);
		if (waits->size > stream->most)
			stream->most = waits->size;
		slm_buf_clear(&piece);
		if (!left)
			break;
		slm_buf_fill(&piece, (char)('a' + left % 20),
			     left < PIECE ? left : PIECE);
		left -= (uint32_t)piece.size;
	}
	slm_buf_deinit(&piece);
}

/* One row and one piece of a COPY, both large. */
static void stream_rows(enum slm_dialog_mode mode, bool extended,
			unsigned mebibytes)
{
	const uint32_t value = mebibytes * 1024 * 1024, size = 2 + 4 + value;
	const char row[] = { 0, 1, (char)(value >> 24), (char)(value >> 16),
			     0, 0 };
	struct talk *talk = open_talk(mode);
	struct stream stream = { 0 }, fed = { 0 };
	struct slm_buf out = { 0 };
	int64_t live;

	if (extended) {
		slm_wire_put_parse(&out, "", "SELECT v FROM t", 15);
		put_execution(&out, "");
		slm_wire_put_simple(&out, SLM_WIRE_SYNC);
		talk_feed(talk, true, out.data, out.size);
		server_says(talk, "12");
	} else {
		say_query(talk, "SELECT v FROM t");
		if (mode == SLM_DIALOG_HOLD)
			server_says(talk, "CT");
	}
	/* What is kept back of the extended answers comes first. */
	talk->out = count;
	talk->userdata = &stream;
	live = slm_alloc_live();
	feed_big(talk, false, 'D', row, sizeof(row), size, &fed);
	assert_true(stream.most <= 2 * PIECE + 64);
	assert_true(slm_alloc_live() <= live + 8);
	assert_true(stream.bytes >= fed.bytes);
	if (stream.bytes == fed.bytes)
		assert_true(stream.digest == fed.digest);
	feed_big(talk, false, 'd', "", 0, size, &fed);
	assert_true(stream.most <= 2 * PIECE + 64);
	assert_false(talk->failed);
	slm_buf_deinit(&out);
	talk_free(talk);
}

static void test_streams(void **state)
{
	(void)state;
	stream_rows(SLM_DIALOG_PASS, false, 8);
	stream_rows(SLM_DIALOG_TRACK, false, 100);
	stream_rows(SLM_DIALOG_HOLD, false, 8);
	stream_rows(SLM_DIALOG_HOLD, true, 100);
}

/* What is understood of a row that is too long does not depend on how it
 * comes: a value that is there as a whole counts, and no other. */
static void test_long_row(void **state)
{
	static const int pieces[] = { 0, 1000, 65541, 70000 };
	struct slm_buf expected = { 0 };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct talk *talk = open_talk(SLM_DIALOG_TRACK);
		struct slm_buf row = { 0 };

		talk->piece = pieces[i];
		say_query(talk, "SELECT 1, 2, 3");
		put_head(&row, 'D', 2 + 4 + 2 + 4 + 65560 + 4 + 1);
		slm_buf_append(&row, "\0\3\0\0\0\2xy\0\1\0\30", 12);
		slm_buf_fill(&row, 'z', 65560);
		slm_buf_append(&row, "\0\0\0\1a", 5);
		talk_feed(talk, false, row.data, row.size);
		server_says(talk, "CZ");
		assert_non_null(strstr(talk->log.data, "'xy',NULL,NULL"));
		if (!expected.size)
			slm_buf_puts(&expected, talk->log.data);
		assert_string_equal(expected.data, talk->log.data);
		slm_buf_deinit(&row);
		talk_free(talk);
	}
	slm_buf_deinit(&expected);
}

/* The client's side: CopyData. */
static void test_copy_stream(void **state)
{
	struct talk *talk = open_talk(SLM_DIALOG_HOLD);
	struct stream stream = { 0 }, fed = { 0 };
	struct slm_buf copy = { 0 };

	(void)state;
	say_query(talk, "COPY t FROM STDIN");
	server_says(talk, "CT");
	put_head(&copy, 'G', 3);
	slm_buf_append(&copy, "\0\0\0", 3);
	talk_feed(talk, false, copy.data, copy.size);
	slm_buf_deinit(&copy);
	talk->out = count;
	talk->userdata = &stream;
	feed_big(talk, true, 'd', "", 0, 0x2000000, &fed);
	assert_true(stream.most <= 2 * PIECE);
	assert_true(stream.bytes == fed.bytes);
	assert_true(stream.digest == fed.digest);
	talk_free(talk);
}

/* ---- Long texts -------------------------------------------------------- */

static void test_cut_query(void **state)
{
	static const enum slm_dialog_mode modes[] = { SLM_DIALOG_TRACK,
						      SLM_DIALOG_HOLD };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct talk *talk = open_talk(modes[i]);
		struct stream stream = { 0 }, fed = { 0 };

		talk->out = count;
		talk->userdata = &stream;
		feed_big(talk, true, 'Q', "SELECT '", 8, 3 * SLM_DIALOG_SQL_MAX,
			 &fed);
		assert_true(stream.bytes == fed.bytes);
		assert_true(stream.digest == fed.digest);
		assert_non_null(strstr(talk->log.data, "I [SELECT '"));
		assert_non_null(strstr(talk->log.data, "cut"));
		assert_null(strstr(talk->log.data, "may"));
		assert_true(slm_dialog_step(talk->dialog)->sql_size ==
			    SLM_DIALOG_SQL_MAX);
		server_says(talk, "CZ");
		assert_true(slm_dialog_is_idle(talk->dialog));
		talk_free(talk);
	}
}

static void test_cut_parse_and_bind(void **state)
{
	static const enum slm_dialog_mode modes[] = { SLM_DIALOG_TRACK,
						      SLM_DIALOG_HOLD };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct talk *talk = open_talk(modes[i]);
		struct stream stream = { 0 }, fed = { 0 };
		struct slm_buf out = { 0 };

		talk->out = count;
		talk->userdata = &stream;
		feed_big(talk, true, 'P', "name\0SELECT '", 13,
			 2 * SLM_DIALOG_SQL_MAX, &fed);
		feed_big(talk, true, 'B', "\0name\0\0\0\0\1\0\40\0\0", 14,
			 2 * SLM_DIALOG_SQL_MAX, &fed);
		assert_true(stream.bytes == fed.bytes);
		slm_wire_put_execute(&out, "", 0);
		talk_feed(talk, true, out.data, out.size);
		slm_buf_clear(&out);
		server_says(talk, "12");
		server_says(talk, "C");
		slm_wire_put_simple(&out, SLM_WIRE_SYNC);
		talk_feed(talk, true, out.data, out.size);
		server_says(talk, "Z");
		assert_non_null(strstr(talk->log.data, "[SELECT '"));
		assert_non_null(strstr(talk->log.data, "cut"));
		assert_non_null(strstr(talk->log.data, "too long"));
		assert_int_equal(talk->steps, talk->dones);
		assert_true(slm_dialog_is_idle(talk->dialog));
		slm_buf_deinit(&out);
		talk_free(talk);
	}
}

/* A Bind that is too long to be kept goes ahead; the Execute waits for it. */
static void test_long_bind_fails(void **state)
{
	struct talk *talk = open_talk(SLM_DIALOG_HOLD);
	struct stream stream = { 0 }, fed = { 0 };
	struct slm_buf out = { 0 };

	(void)state;
	talk->out = count;
	talk->userdata = &stream;
	slm_wire_put_parse(&out, "", "SELECT $1", 9);
	talk_feed(talk, true, out.data, out.size);
	slm_buf_clear(&out);
	feed_big(talk, true, 'B', "\0\0\0\0\0\1\0\40\0\0", 10,
		 2 * SLM_DIALOG_SQL_MAX, &fed);
	slm_wire_put_execute(&out, "", 0);
	slm_wire_put_simple(&out, SLM_WIRE_SYNC);
	talk_feed(talk, true, out.data, out.size);
	assert_int_equal(talk->steps, 0);
	server_says(talk, "1E");
	assert_int_equal(talk->steps, 0);
	server_says(talk, "Z");
	assert_true(slm_dialog_is_idle(talk->dialog));
	slm_buf_deinit(&out);
	talk_free(talk);
}

/* ---- Too much ---------------------------------------------------------- */

static void test_too_many_messages(void **state)
{
	struct talk *talk = open_talk(SLM_DIALOG_TRACK);
	struct slm_buf out = { 0 };

	(void)state;
	for (int i = 0; i <= SLM_DIALOG_PIPELINE_MAX; i++)
		slm_wire_put_simple(&out, SLM_WIRE_SYNC);
	talk_feed(talk, true, out.data, out.size);
	assert_true(talk->failed);
	assert_int_equal(talk->err.status, SQLOOM_DATABASE);
	assert_non_null(strstr(talk->err.message, "without an answer"));
	slm_buf_deinit(&out);
	talk_free(talk);
}

static void test_too_many_names(void **state)
{
	struct talk *talk = open_talk(SLM_DIALOG_PASS);
	struct slm_buf out = { 0 };

	(void)state;
	for (int i = 0; i <= SLM_DIALOG_NAMES_MAX && !talk->failed; i++) {
		char name[20];

		snprintf(name, sizeof(name), "s%d", i);
		slm_buf_clear(&out);
		slm_wire_put_parse(&out, name, "SELECT 1", 8);
		slm_wire_put_simple(&out, SLM_WIRE_SYNC);
		talk_feed(talk, true, out.data, out.size);
		if (i == SLM_DIALOG_NAMES_MAX)
			break;
		assert_false(talk->failed);
		server_says(talk, "1Z");
	}
	assert_true(talk->failed);
	slm_buf_deinit(&out);
	talk_free(talk);
}

/* As many as there may be at once, again and again. */
static void test_names_come_and_go(void **state)
{
	struct talk *talk = open_talk(SLM_DIALOG_PASS);
	struct slm_buf out = { 0 };
	int64_t live = 0;

	(void)state;
	for (int i = 0; i < 5000; i++) {
		char name[20];

		snprintf(name, sizeof(name), "s%d", i);
		slm_buf_clear(&out);
		slm_wire_put_parse(&out, name, "SELECT 1", 8);
		slm_wire_put_bind(&out, name, name);
		slm_wire_put_execute(&out, name, 0);
		slm_wire_put_close(&out, 'P', name);
		slm_wire_put_close(&out, 'S', name);
		slm_wire_put_simple(&out, SLM_WIRE_SYNC);
		talk_feed(talk, true, out.data, out.size);
		server_says(talk, "12C33Z");
		if (i == 100)
			live = slm_alloc_live();
	}
	assert_false(talk->failed);
	assert_true(slm_alloc_live() == live);
	slm_buf_deinit(&out);
	talk_free(talk);
}

/* Portals end with their transaction, unclosed. */
static void test_portals_end(void **state)
{
	struct talk *talk = open_talk(SLM_DIALOG_PASS);
	struct slm_buf out = { 0 };

	(void)state;
	for (int i = 0; i < 2 * SLM_DIALOG_NAMES_MAX; i++) {
		char name[20];

		snprintf(name, sizeof(name), "c%d", i);
		slm_buf_clear(&out);
		slm_wire_put_bind(&out, name, "s");
		slm_wire_put_simple(&out, SLM_WIRE_SYNC);
		talk_feed(talk, true, out.data, out.size);
		server_says(talk, "2Z");
		assert_false(talk->failed);
	}
	slm_buf_deinit(&out);
	talk_free(talk);
}

/* A second text in one Query is refused by the server, and never split. */
static void test_two_texts(void **state)
{
	struct talk *talk = open_talk(SLM_DIALOG_HOLD);

	(void)state;
	talk_feed(talk, true, "Q\0\0\0\31SELECT 1\0; SELECT 2\0", 26);
	assert_non_null(strstr(talk->log.data, "[SELECT 1] cut"));
	assert_int_equal(talk->to_server.size, 26);
	assert_memory_equal(talk->to_server.data, "Q\0\0\0\31SELECT 1\0", 14);
	talk_free(talk);
}

static void test_texts_are_bounded(void **state)
{
	struct talk *talk = open_talk(SLM_DIALOG_TRACK);
	struct slm_buf sql = { 0 }, out = { 0 };

	(void)state;
	slm_buf_puts(&sql, "SELECT 1");
	slm_buf_fill(&sql, ' ', 900 * 1024);
	for (int i = 0; i < 30; i++) {
		char name[20];

		snprintf(name, sizeof(name), "s%d", i);
		slm_buf_clear(&out);
		slm_wire_put_parse(&out, name, sql.data, sql.size);
		slm_wire_put_simple(&out, SLM_WIRE_SYNC);
		talk_feed(talk, true, out.data, out.size);
		server_says(talk, "1Z");
	}
	slm_buf_clear(&out);
	put_execution(&out, "s29");
	slm_wire_put_simple(&out, SLM_WIRE_FLUSH);
	talk_feed(talk, true, out.data, out.size);
	server_says(talk, "2");
	assert_true(slm_dialog_step(talk->dialog)->cut);
	assert_true(slm_dialog_step(talk->dialog)->sql_size == 1000);
	assert_false(slm_dialog_step(talk->dialog)->parsed->parsed);
	slm_buf_deinit(&sql);
	slm_buf_deinit(&out);
	talk_free(talk);
}

/* ---- Garbage ----------------------------------------------------------- */

static void test_garbage(void **state)
{
	static const char *const client[] = { "Y\0\0\0\4", "Q\0\0\0\3",
					      "Q\177\377\377\377",
					      "S\0\0\0\5x" };
	static const char *const from_server[] = { "Y\0\0\0\4", "Z\0\0\0\4",
						   "C\0\0\0\3",
						   "D\177\377\377\377" };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct talk *talk = open_talk(SLM_DIALOG_HOLD);

		talk_feed(talk, true, client[i], 5);
		assert_true(talk->failed);
		assert_non_null(strstr(talk->err.message, "the client sent"));
		talk_free(talk);
		talk = open_talk(SLM_DIALOG_HOLD);
		talk_feed(talk, false, from_server[i], 5);
		assert_true(talk->failed);
		assert_non_null(strstr(talk->err.message, "the server sent"));
		/* And stays so. */
		talk->failed = false;
		talk_feed(talk, true, "S\0\0\0\4", 5);
		assert_true(talk->failed);
		talk_free(talk);
	}
}

#define BODY(bytes)                      \
	{                                \
		bytes, sizeof(bytes) - 1 \
	}

/* Messages in any order, from both sides, with bodies that are right, wrong or
 * of another message: nothing breaks. */
static void test_any_order(void **state)
{
	static const char types_client[] = "BCdcfDEHFPpQSX";
	static const char types_server[] = "RK23CdcGHWDIEVnNAtS1sZT";
	static const struct {
		const char *bytes;
		size_t size;
	} bodies[] = {
		BODY(""),
		BODY("\0"),
		BODY("I"),
		BODY("T"),
		BODY("\0\0\0\0"),
		BODY("\0\1\0\0\0\1x"),
		BODY("S\0"),
		BODY("Pname\0"),
		BODY("SELECT 1\0"),
		BODY("BEGIN\0"),
		BODY("COMMIT\0"),
		BODY("\0\0\0\0\0\0\0\0"),
		BODY("name\0SELECT 1; SELECT 2\0\0\0"),
		BODY("SERROR\0C23505\0Mx\0P3\0\0"),
		BODY("SFATAL\0C23505\0Mx\0\0"),
		BODY("client_encoding\0UTF8\0"),
		BODY("SELECT 1; SELECT 2\0"),
		BODY("\0\1a\0\0\0\0\0\0\0\0\0\0\27\0\4\0\0\0\0\0\0"),
	};

	(void)state;
	for (uint64_t seed = 0; seed < 400; seed++) {
		struct talk *talk = open_talk((enum slm_dialog_mode)(seed % 3));
		struct slm_rng rng;

		slm_rng_init(&rng, seed);
		talk->grants = seed % 2;
		talk->before = seed % 5 ? NULL : "SET x = 1";
		for (int n = 0; n < 300 && !talk->failed; n++) {
			bool of_client = slm_rng_below(&rng, 2);
			const char *types = of_client ? types_client :
							types_server;
			size_t b = slm_rng_below(
				&rng, sizeof(bodies) / sizeof(bodies[0]));
			struct slm_buf out = { 0 };

			put_head(&out,
				 types[slm_rng_below(&rng, strlen(types))],
				 (uint32_t)bodies[b].size);
			slm_buf_append(&out, bodies[b].bytes, bodies[b].size);
			talk_feed(talk, of_client, out.data, out.size);
			slm_buf_deinit(&out);
			if (talk->failed && slm_rng_below(&rng, 3)) {
				/* Of a message that cannot be: the next. */
				struct talk *next = open_talk(
					(enum slm_dialog_mode)(n % 3));

				talk_free(talk);
				talk = next;
			}
			switch (slm_rng_below(&rng, 12)) {
			case 0:
				slm_dialog_grant(talk->dialog, n % 2,
						 talk->before, NULL);
				talk_offer(talk);
				break;
			case 1:
				slm_dialog_inject(talk->dialog, "SELECT 5");
				break;
			case 2:
				slm_dialog_set_mode(
					talk->dialog,
					(enum slm_dialog_mode)slm_rng_below(
						&rng, 3));
				break;
			default:
				break;
			}
		}
		assert_true(talk->dones <= talk->steps);
		talk_free(talk);
	}
}

/* ---- Memory ------------------------------------------------------------ */

static void converse(struct talk *talk)
{
	struct slm_buf out = { 0 };

	slm_wire_put_query(&out, "SELECT 1; SELECT 2", 18);
	slm_wire_put_parse(&out, "a", "INSERT INTO t VALUES ($1)", 25);
	put_execution(&out, "a");
	slm_wire_put_close(&out, 'S', "a");
	slm_wire_put_simple(&out, SLM_WIRE_SYNC);
	if (!slm_buf_failed(&out))
		talk_feed(talk, true, out.data, out.size);
	slm_buf_deinit(&out);
	server_says(talk, "CTCT");
	server_says(talk, "CT");
	server_says(talk, "CZ");
	server_says(talk, "12C");
	server_says(talk, "3EZ");
}

static void test_memory_out(void **state)
{
	bool whole = false;

	(void)state;
	for (uint64_t n = 1; !whole; n++) {
		int64_t live = slm_alloc_live();
		struct talk *talk = open_talk(SLM_DIALOG_HOLD);

		/* Warm what is not the dialog's. */
		talk_read(talk, "SELECT 1; SELECT 2", 18);
		talk_read(talk, "SELECT 1", 8);
		talk_read(talk, "SELECT 2", 8);
		talk_read(talk, "INSERT INTO t VALUES ($1)", 25);
		slm_arena_alloc(&talk->arena, 5000);
		slm_arena_clear(&talk->arena);
		slm_buf_fill(&talk->log, ' ', 4000);
		slm_buf_fill(&talk->to_server, ' ', 4000);
		slm_buf_fill(&talk->to_client, ' ', 4000);
		slm_buf_fill(&talk->server, ' ', 4000);
		slm_buf_fill(&talk->client, ' ', 4000);
		slm_buf_clear(&talk->server);
		slm_buf_clear(&talk->client);
		slm_alloc_fail_from(n);
		converse(talk);
		whole = !talk->failed && slm_alloc_count() < n;
		slm_alloc_fail_from(0);
		if (talk->failed)
			assert_int_equal(talk->err.status, SQLOOM_NOMEM);
		talk_free(talk);
		assert_true(slm_alloc_live() == live);
		assert_true(n < 500);
	}
}

/* ---- The common path --------------------------------------------------- */

static void round_trip(struct talk *talk, const struct slm_buf *said,
		       const struct slm_buf *answered)
{
	talk_feed(talk, true, said->data, said->size);
	talk_feed(talk, false, answered->data, answered->size);
	slm_buf_clear(&talk->to_server);
	slm_buf_clear(&talk->to_client);
	slm_buf_clear(&talk->log);
}

/* Once warm, nothing is allocated, and each side is written to once. */
static void check_common(enum slm_dialog_mode mode, bool extended)
{
	struct talk *talk = open_talk(mode);
	struct slm_buf said = { 0 }, answered = { 0 };

	talk->wants_results = false;
	if (extended) {
		slm_wire_put_parse(&said, "s", "SELECT 1", 8);
		slm_wire_put_simple(&said, SLM_WIRE_SYNC);
		talk_feed(talk, true, said.data, said.size);
		slm_buf_clear(&said);
		server_says(talk, "1Z");
		put_execution(&said, "s");
		slm_wire_put_simple(&said, SLM_WIRE_SYNC);
		put_head(&answered, '2', 0);
	} else {
		slm_wire_put_query(&said, "SELECT 1", 8);
	}
	put_head(&answered, 'D', 7);
	slm_buf_append(&answered, "\0\1\0\0\0\1x", 7);
	slm_wire_put_tag(&answered, "SELECT 1");
	slm_wire_put_ready(&answered, 'I');
	round_trip(talk, &said, &answered);
	round_trip(talk, &said, &answered);
	talk->writes_to_server = talk->writes_to_client = 0;
	slm_alloc_fail_from(0);
	round_trip(talk, &said, &answered);
	assert_int_equal(slm_alloc_count(), 0);
	assert_int_equal(talk->writes_to_server, 1);
	assert_int_equal(talk->writes_to_client, 1);
	assert_true(slm_dialog_is_idle(talk->dialog));
	slm_buf_deinit(&said);
	slm_buf_deinit(&answered);
	talk_free(talk);
}

static void test_common_path(void **state)
{
	(void)state;
	check_common(SLM_DIALOG_PASS, false);
	check_common(SLM_DIALOG_PASS, true);
	check_common(SLM_DIALOG_TRACK, false);
	check_common(SLM_DIALOG_TRACK, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_long_row),
		cmocka_unit_test(test_copy_stream),
		cmocka_unit_test(test_cut_query),
		cmocka_unit_test(test_cut_parse_and_bind),
		cmocka_unit_test(test_long_bind_fails),
		cmocka_unit_test(test_too_many_messages),
		cmocka_unit_test(test_too_many_names),
		cmocka_unit_test(test_names_come_and_go),
		cmocka_unit_test(test_portals_end),
		cmocka_unit_test(test_two_texts),
		cmocka_unit_test(test_texts_are_bounded),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_any_order),
		cmocka_unit_test(test_memory_out),
		cmocka_unit_test(test_common_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
