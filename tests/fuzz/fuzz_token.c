/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a token. What is accepted must survive being written and read
 * again. */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "fuzz.h"
#include "trace/token.h"
#include "trace/trace.h"

static void check_again(struct slm_arena *arena, const struct slm_token *token)
{
	const char *text = slm_token_format(arena, token);
	struct slm_token again;
	struct sqloom_error err;

	if (!text)
		return;
	if (slm_token_parse(arena, text, &again, &err))
		assert(!"a formatted token must parse");
	assert(again.length == token->length);
	assert(strcmp(again.schedule, token->schedule) == 0);
	assert(again.fingerprint == token->fingerprint);
	assert(!again.steps == !token->steps);
	assert(!token->steps ||
	       memcmp(again.steps, token->steps,
		      token->length * sizeof(*token->steps)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slm_token token = { 0 };
	struct sqloom_error err;
	struct slm_arena arena;
	enum sqloom_status status;
	char *text;

	slm_arena_init(&arena);
	text = slm_arena_strndup(&arena, (const char *)data, size);
	if (!text)
		return 0;
	status = slm_token_parse(&arena, text, &token, &err);
	if (status == SQLOOM_OK) {
		assert(strlen(token.schedule) == token.length);
		assert(token.length <= SLM_SCHEDULE_MAX);
		check_again(&arena, &token);
	} else {
		assert(!token.schedule && err.message[0]);
		assert(status != SQLOOM_TOKEN || err.column > 0);
	}
	slm_arena_deinit(&arena);
	assert(slm_alloc_live() == 0);
	return 0;
}
