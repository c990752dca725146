/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens to text and back. The text is untrusted; the parser reads each byte
 * once and the arena holds at most SLM_SCHEDULE_MAX letters of it.
 */
#include "trace/token.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "trace/trace.h"

#define HEX_DIGITS 4
#define STEP_CHARS 2 /* of base 32: SLM_TOKEN_STEP_MASK */
#define RUN_MIN 5    /* a run of this many letters is written with its count */

/* Base 32 of RFC 4648 in lower case: no 0 or 1 to be mistaken for o or l. */
static const char base32[] = "abcdefghijklmnopqrstuvwxyz234567";

/* Writes the schedule with counts; returns the end. */
static char *put_schedule(char *at, const struct slm_token *token)
{
	uint32_t i = 0;

	while (i < token->length) {
		uint32_t run = 1;
		char letter = token->schedule[i];

		while (i + run < token->length &&
		       token->schedule[i + run] == letter)
			run++;
		i += run;
		if (run >= RUN_MIN) {
			at += sprintf(at, "%c%u", letter, run);
			continue;
		}
		memset(at, letter, run);
		at += run;
	}
	return at;
}

static char *put_step(char *at, uint16_t step)
{
	assert(step <= SLM_TOKEN_STEP_MASK);
	*at++ = base32[step >> 5];
	*at++ = base32[step & 31];
	return at;
}

const char *slm_token_format(struct slm_arena *arena,
			     const struct slm_token *token)
{
	size_t room = (size_t)token->length * (1 + STEP_CHARS) + 16;
	char *text = slm_arena_alloc(arena, room);
	char *at;

	assert(token->length <= SLM_SCHEDULE_MAX);
	if (!text)
		return NULL;
	at = put_schedule(text, token);
	at += sprintf(at, "~%04x", token->fingerprint);
	if (token->steps) {
		*at++ = '.';
		for (uint32_t i = 0; i < token->length; i++)
			at = put_step(at, token->steps[i]);
	}
	*at = '\0';
	assert((size_t)(at - text) < room);
	return text;
}

/* ---- Parsing ---------------------------------------------------------- */

struct parser {
	struct slm_arena *arena;
	const char *text;
	const char *at;
	struct sqloom_error *err;
};

/* Fails at the current character. */
static enum sqloom_status fail(struct parser *p, const char *what)
{
	slm_error_set(p->err, SQLOOM_TOKEN,
		      "the replay token is not valid: %s; paste it whole, as "
		      "the report printed it (abab~5f3a.aka2axaq)",
		      what);
	if (p->err) {
		p->err->line = 1;
		p->err->column = (unsigned)(p->at - p->text) + 1;
	}
	return SQLOOM_TOKEN;
}

static bool is_letter(char c)
{
	return c >= 'a' && c < 'a' + SLM_CALLS_MAX;
}

/*
 * Reads one letter and its count, if any. A count that is too large is a
 * limit, whatever follows.
 */
static enum sqloom_status parse_run(struct parser *p, char *letter,
				    uint32_t *count)
{
	uint32_t n = 0;

	if (!is_letter(*p->at))
		return fail(p, *p->at ? "a schedule has the letters a to p "
					"and counts only" :
					"it ends after the schedule, where "
					"~ and 4 hex digits are due");
	*letter = *p->at++;
	*count = 1;
	if (*p->at < '0' || *p->at > '9')
		return SQLOOM_OK;
	if (*p->at == '0')
		return fail(p, "a count does not begin with 0");
	for (; *p->at >= '0' && *p->at <= '9'; p->at++) {
		n = n * 10 + (uint32_t)(*p->at - '0');
		if (n > SLM_SCHEDULE_MAX)
			return slm_error_set(p->err, SQLOOM_LIMIT,
					     "the replay token has more than "
					     "%d letters",
					     SLM_SCHEDULE_MAX);
	}
	*count = n;
	return SQLOOM_OK;
}

/* Goes through the schedule; with out it fills in the letters, without it only
 * counts them. */
static enum sqloom_status parse_schedule(struct parser *p, char *out,
					 uint32_t *length)
{
	enum sqloom_status status;
	uint32_t total = 0;

	while (*p->at != '~') {
		uint32_t count;
		char letter = 0;

		status = parse_run(p, &letter, &count);
		if (status)
			return status;
		if (count > SLM_SCHEDULE_MAX - total)
			return slm_error_set(p->err, SQLOOM_LIMIT,
					     "the replay token has more than "
					     "%d letters",
					     SLM_SCHEDULE_MAX);
		if (out)
			memset(out + total, letter, count);
		total += count;
	}
	*length = total;
	return SQLOOM_OK;
}

static enum sqloom_status parse_fingerprint(struct parser *p, uint16_t *out)
{
	static const char digits[] = "0123456789abcdef";
	uint16_t value = 0;

	p->at++; /* the ~ */
	for (int i = 0; i < HEX_DIGITS; i++) {
		const char *digit = *p->at ? strchr(digits, *p->at) : NULL;

		if (!digit)
			return fail(p, "4 hex digits (0-9, a-f) are due "
				       "after the ~");
		value = (uint16_t)(value << 4 | (digit - digits));
		p->at++;
	}
	*out = value;
	return SQLOOM_OK;
}

/* STEP_CHARS characters per letter, no more and no fewer. */
static enum sqloom_status parse_steps(struct parser *p, uint32_t length,
				      const uint16_t **out)
{
	uint16_t *steps =
		slm_arena_zalloc(p->arena, (size_t)length + 1, sizeof(*steps));

	if (!steps)
		return slm_error_nomem(p->err);
	p->at++; /* the dot */
	for (uint32_t i = 0; i < length * STEP_CHARS; i++) {
		const char *digit = *p->at ? strchr(base32, *p->at) : NULL;

		if (!digit)
			return fail(p, *p->at ? "after the dot come the "
						"characters a-z and 2-7" :
						"it ends too early: after the "
						"dot come two characters per "
						"letter of the schedule");
		steps[i / STEP_CHARS] = (uint16_t)(steps[i / STEP_CHARS] << 5 |
						   (digit - base32));
		p->at++;
	}
	*out = steps;
	return SQLOOM_OK;
}

static enum sqloom_status parse(struct parser *p, struct slm_token *token)
{
	enum sqloom_status status;
	char *schedule;

	if (*p->at == '\0')
		return fail(p, "it is empty");
	status = parse_schedule(p, NULL, &token->length);
	if (status)
		return status;
	schedule = slm_arena_alloc(p->arena, (size_t)token->length + 1);
	if (!schedule)
		return slm_error_nomem(p->err);
	p->at = p->text;
	status = parse_schedule(p, schedule, &token->length);
	assert(status == SQLOOM_OK);
	schedule[token->length] = '\0';
	token->schedule = schedule;
	status = parse_fingerprint(p, &token->fingerprint);
	if (status == SQLOOM_OK && *p->at == '.')
		status = parse_steps(p, token->length, &token->steps);
	if (status == SQLOOM_OK && *p->at)
		return fail(p, token->steps ?
				       "there is more after its last "
				       "character" :
				       "after the 4 hex digits a dot or the "
				       "end is due");
	return status;
}

enum sqloom_status slm_token_parse(struct slm_arena *arena, const char *text,
				   struct slm_token *out,
				   struct sqloom_error *err)
{
	struct parser p = { arena, text, text, err };
	struct slm_token token = { 0 };
	enum sqloom_status status = parse(&p, &token);

	if (status == SQLOOM_OK)
		*out = token;
	return status;
}
