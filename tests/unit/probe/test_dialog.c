/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dialog, by scripted conversations: which bytes go where, and which steps
 * are told. Each is played with bytes that come whole, one by one, and in
 * pieces of random size, and must be the same every time; but for a Sync that
 * goes with its Execute if it is there already ("in one", "in pieces").
 *
 * In a script "C" is what the client sends, "S" what the server sends; "s>" and
 * "c>" are what the dialog has sent to the server and the client since. What
 * real servers and clients say is compared by test_dialog_server.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "probe/dialog_talk.h"

/* ---- Messages as words -------------------------------------------------- */

static void put_message(struct slm_buf *out, char type, const void *body,
			size_t size)
{
	uint32_t length = (uint32_t)size + 4;
	char head[5] = { type, (char)(length >> 24), (char)(length >> 16),
			 (char)(length >> 8), (char)length };

	slm_buf_append(out, head, 5);
	slm_buf_append(out, body, size);
}

static void put_text(struct slm_buf *out, char type, const char *text)
{
	put_message(out, type, text, strlen(text) + 1);
}

static void put_16(struct slm_buf *out, unsigned n)
{
	slm_buf_putc(out, (char)(n >> 8));
	slm_buf_putc(out, (char)n);
}

static void put_32(struct slm_buf *out, uint32_t n)
{
	put_16(out, n >> 16);
	put_16(out, n & 0xffff);
}

static void put_string(struct slm_buf *out, const char *text)
{
	slm_buf_append(out, text, strlen(text) + 1);
}

/* Columns "a", "b", ... of these types. */
static void put_columns(struct slm_buf *out, unsigned n, const uint32_t *types)
{
	struct slm_buf body = { 0 };
	char name[] = "a";

	put_16(&body, n);
	for (unsigned i = 0; i < n; i++, name[0]++) {
		put_string(&body, name);
		put_32(&body, 0);
		put_16(&body, 0);
		put_32(&body, types ? types[i] : 23);
		put_16(&body, 4);
		put_32(&body, 0);
		put_16(&body, 0);
	}
	put_message(out, 'T', body.data, body.size);
	slm_buf_deinit(&body);
}

static void put_row(struct slm_buf *out, const char *value)
{
	struct slm_buf body = { 0 };

	put_16(&body, 1);
	put_32(&body, (uint32_t)strlen(value));
	slm_buf_append(&body, value, strlen(value));
	put_message(out, 'D', body.data, body.size);
	slm_buf_deinit(&body);
}

/* Bind with text parameters. */
static void put_bind(struct slm_buf *out, const char *portal,
		     const char *statement, unsigned n,
		     const char *const *values)
{
	struct slm_buf body = { 0 };

	put_string(&body, portal);
	put_string(&body, statement);
	put_16(&body, 0);
	put_16(&body, n);
	for (unsigned i = 0; i < n; i++) {
		put_32(&body,
		       values[i] ? (uint32_t)strlen(values[i]) : UINT32_MAX);
		if (values[i])
			slm_buf_append(&body, values[i], strlen(values[i]));
	}
	put_16(&body, 0);
	put_message(out, 'B', body.data, body.size);
	slm_buf_deinit(&body);
}

static void put_parse(struct slm_buf *out, const char *name, const char *sql)
{
	slm_wire_put_parse(out, name, sql, strlen(sql));
}

static void put_describe(struct slm_buf *out, char kind, const char *name)
{
	struct slm_buf body = { 0 };

	slm_buf_putc(&body, kind);
	put_string(&body, name);
	put_message(out, 'D', body.data, body.size);
	slm_buf_deinit(&body);
}

static void put_placed_error(struct slm_buf *out, const char *sqlstate,
			     const char *place)
{
	struct slm_buf body = { 0 };

	put_string(&body, "SERROR");
	slm_buf_putc(&body, 'C');
	put_string(&body, sqlstate);
	put_string(&body, "Mwrong");
	slm_buf_putc(&body, 'P');
	put_string(&body, place);
	put_string(&body, "Rroutine");
	slm_buf_putc(&body, '\0');
	put_message(out, 'E', body.data, body.size);
	slm_buf_deinit(&body);
}

/*
 * A word is a message: its type, then its text. Words end with a blank; "_" is
 * a blank in a text, "~" is "_".
 */
static void put_word(struct slm_buf *out, bool of_client, const char *word)
{
	static const char *const values[] = { "5", "it's", NULL };
	char text[200], *bar, *three;
	char status;

	snprintf(text, sizeof(text), "%s", word + 1);
	for (char *c = text; *c; c++)
		*c = *c == '_' ? ' ' : *c == '~' ? '_' : *c;
	bar = strchr(text, '|');
	if (bar)
		*bar++ = '\0';
	else
		bar = text + strlen(text);
	if (of_client) {
		switch (*word) {
		case 'P':
			put_parse(out, text, bar);
			return;
		case 'B':
			three = strchr(bar, '3'); /* parameters */
			if (three)
				*three = '\0';
			put_bind(out, text, bar, three ? 3 : 0, values);
			return;
		case 'D':
			put_describe(out, *text, text + 1);
			return;
		case 'E':
			slm_wire_put_execute(out, text, (uint32_t)atoi(bar));
			return;
		case 'C':
			slm_wire_put_close(out, *text, text + 1);
			return;
		case 'Q':
		case 'f':
			put_text(out, *word, text);
			return;
		case 'd':
			put_message(out, 'd', text, strlen(text));
			return;
		case 'F':
			put_message(out, 'F', "\0\0\0\1\0\0\0\0\0\0", 10);
			return;
		case 'p':
			put_text(out, 'p', "secret");
			return;
		default:
			slm_wire_put_simple(out, (uint8_t)*word);
			return;
		}
	}
	switch (*word) {
	case 'T':
		put_columns(out, 1, NULL);
		return;
	case 't':
		put_message(out, 't', "\0\3\0\0\0\27\0\0\0\31\0\0\0\31", 14);
		return;
	case 'D':
		put_row(out, text);
		return;
	case 'C':
		slm_wire_put_tag(out, text);
		return;
	case 'E':
		slm_wire_put_error(out, *bar ? bar : "ERROR", text, "wrong");
		return;
	case 'e': /* with a place */
		put_placed_error(out, text, bar);
		return;
	case 'N':
		slm_wire_put_notice(out, "NOTICE", text, "mind");
		return;
	case 'Z':
		status = *text;
		put_message(out, 'Z', &status, 1);
		return;
	case 'G':
	case 'H':
	case 'W':
		put_message(out, *word, "\0\0\0", 3);
		return;
	case 'd':
		put_message(out, 'd', text, strlen(text));
		return;
	case 'K':
		put_message(out, 'K', "\0\0\2\1\0\0\0\7", 8);
		return;
	case 'S': {
		struct slm_buf body = { 0 };

		put_string(&body, text);
		put_string(&body, bar);
		put_message(out, 'S', body.data, body.size);
		slm_buf_deinit(&body);
		return;
	}
	case 'A': {
		struct slm_buf body = { 0 };

		put_32(&body, 7);
		put_string(&body, text);
		put_string(&body, bar);
		put_message(out, 'A', body.data, body.size);
		slm_buf_deinit(&body);
		return;
	}
	case 'R':
		put_message(out, 'R', *text ? "\0\0\0\12SCRAM\0\0" : "\0\0\0\0",
			    *text ? 11 : 4);
		return;
	case 'V':
		put_message(out, 'V', "\377\377\377\377", 4);
		return;
	default:
		put_message(out, *word, "", 0);
		return;
	}
}

static void put_words(struct slm_buf *out, bool of_client, const char *words)
{
	char copy[1000], *save = NULL;

	snprintf(copy, sizeof(copy), "%s", words);
	for (char *word = strtok_r(copy, " ", &save); word;
	     word = strtok_r(NULL, " ", &save))
		put_word(out, of_client, word);
}

/* The messages in buf as words, and forgets them. */
static void show(struct slm_buf *out, const char *who, struct slm_buf *buf)
{
	const char *at = buf->data, *end = at ? at + buf->size : at;

	if (!buf->size)
		return;
	slm_buf_puts(out, who);
	while (at < end) {
		uint32_t size = (uint32_t)(unsigned char)at[1] << 24 |
				(uint32_t)(unsigned char)at[2] << 16 |
				(uint32_t)(unsigned char)at[3] << 8 |
				(unsigned char)at[4];

		slm_buf_printf(out, " %c", *at);
		at += 5;
		for (uint32_t i = 0; i + 4 < size && i < 60; i++)
			if (at[i] > ' ' && at[i] < 127)
				slm_buf_putc(out, at[i]);
			else if (at[i] == ' ')
				slm_buf_putc(out, '_');
		at += size - 4;
	}
	slm_buf_putc(out, '\n');
	slm_buf_clear(buf);
}

/* ---- Scripts ------------------------------------------------------------ */

/*
 * Lines: "== name words", where words say how it is played; ": C words" what
 * the client sends, ": S words" the server; ": G" a grant, ": g" one without a
 * split; ": T", ": H", ": P" another mode; ": I sql" injects. All other lines
 * are what follows from that.
 */
static const char *const scripts[] = {
#include "probe/dialog_scripts.h"
	NULL
};

static void play_line(struct talk *talk, const char *line, struct slm_buf *out)
{
	struct slm_buf bytes = { 0 };

	switch (*line) {
	case 'C':
	case 'S':
		put_words(&bytes, *line == 'C', line + 1);
		talk_feed(talk, *line == 'C', bytes.data, bytes.size);
		slm_buf_deinit(&bytes);
		break;
	case 'G':
	case 'g':
		if (slm_dialog_grant(talk->dialog, *line == 'G', talk->before,
				     &talk->err))
			slm_buf_puts(out, "refused\n");
		talk_offer(talk);
		break;
	case 'T':
		slm_dialog_set_mode(talk->dialog, SLM_DIALOG_TRACK);
		break;
	case 'H':
		slm_dialog_set_mode(talk->dialog, SLM_DIALOG_HOLD);
		break;
	case 'P':
		slm_dialog_set_mode(talk->dialog, SLM_DIALOG_PASS);
		break;
	case 'I':
		if (!slm_dialog_inject(talk->dialog, line + 2))
			slm_buf_puts(out, "not now\n");
		break;
	default:
		fail();
	}
	show(out, "s>", &talk->to_server);
	show(out, "c>", &talk->to_client);
	slm_buf_puts(out, talk->log.data ? talk->log.data : "");
	slm_buf_clear(&talk->log);
	if (talk->failed)
		slm_buf_printf(out, "failed: %.50s\n", talk->err.message);
	if (slm_dialog_is_idle(talk->dialog))
		slm_buf_puts(out, "idle\n");
}

static struct talk *talk_for(const char *title, int piece)
{
	enum slm_dialog_mode mode = strstr(title, " hold") ? SLM_DIALOG_HOLD :
				    strstr(title, " pass") ? SLM_DIALOG_PASS :
							     SLM_DIALOG_TRACK;
	struct talk *talk = talk_new(mode, piece);

	talk->grants = !strstr(title, " by-hand");
	talk->split = !strstr(title, " whole");
	talk->before = strstr(title, " before") ? "SET x = 1" : NULL;
	return talk;
}

static void play(const char *const *script, int piece, struct slm_buf *out)
{
	struct talk *talk = talk_for(*script, piece);

	if (!strstr(*script, " closed"))
		play_line(talk, "S R K Sclient~encoding|UTF8 ZI", out);
	slm_buf_clear(out);
	slm_buf_printf(out, "%s\n", *script);
	for (const char *const *line = script + 1;
	     *line && strncmp(*line, "==", 2) != 0; line++) {
		if (**line != ':')
			continue;
		slm_buf_printf(out, "%s\n", *line);
		play_line(talk, *line + 2, out);
	}
	assert_false(slm_buf_failed(out));
	talk_free(talk);
}

static void expect_of(const char *const *script, struct slm_buf *out)
{
	slm_buf_printf(out, "%s\n", *script);
	for (const char *const *line = script + 1;
	     *line && strncmp(*line, "==", 2) != 0; line++)
		slm_buf_printf(out, "%s\n", *line);
}

static void test_script(void **state)
{
	static const int all[] = { 0, 1, 3, -1 };
	const char *const *script = *state;
	bool in_one = strstr(*script, ", in one");
	const int *pieces = strstr(*script, ", in pieces") ? all + 1 : all;
	size_t npieces = in_one ? 1 : pieces == all ? 4 : 2;
	struct slm_buf expected = { 0 };

	expect_of(script, &expected);
	for (size_t i = 0; i < npieces; i++) {
		struct slm_buf found = { 0 };
		bool same;

		play(script, pieces[i], &found);
		same = strcmp(found.data, expected.data) == 0;
		if (!same)
			fprintf(stderr, "piece %d\n%s\n", pieces[i],
				found.data);
		slm_buf_deinit(&found);
		assert_true(same);
	}
	slm_buf_deinit(&expected);
}

/* ---- Main --------------------------------------------------------------- */

#define TESTS_MAX 200

int main(void)
{
	static struct CMUnitTest tests[TESTS_MAX];
	size_t n = 0;

	for (const char *const *line = scripts; *line; line++)
		if (strncmp(*line, "==", 2) == 0 && n < TESTS_MAX)
			tests[n++] = (struct CMUnitTest){
				.name = *line + 3,
				.test_func = test_script,
				.initial_state = (void *)line,
			};
	return _cmocka_run_group_tests("dialog", tests, n, NULL, NULL);
}
