/* SPDX-License-Identifier: Apache-2.0 */
/* Results of concurrent calls, and what is said about those that failed. */
#include "kit/results.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

/* Room for what is said of those that are not shown. */
#define MORE_MAX 48

struct sqloom_results {
	struct sqloom_result *items; /* all that they point to is ours */
	size_t count;
	size_t failed;
	char *message;
	bool nomem;
};

const char *slm_call_name(const struct sqloom_function *call, size_t index,
			  char text[SLM_CALL_NAME_MAX])
{
	if (call->name)
		return call->name;
	snprintf(text, SLM_CALL_NAME_MAX, "call %zu", index + 1);
	return text;
}

static char *take(struct sqloom_results *results, struct slm_buf *buf)
{
	struct slm_buf empty = { 0 };
	char *text = slm_buf_take(buf ? buf : &empty);

	if (!text)
		results->nomem = true;
	return text;
}

static char *copy(struct sqloom_results *results, const char *text)
{
	char *copied = slm_strdup(text);

	if (!copied)
		results->nomem = true;
	return copied;
}

struct sqloom_results *slm_results_new(const struct sqloom_function *calls,
				       size_t ncalls)
{
	struct sqloom_results *results = slm_calloc(1, sizeof(*results));
	char text[SLM_CALL_NAME_MAX];

	if (!results)
		return NULL;
	results->items = slm_calloc(ncalls, sizeof(*results->items));
	if (!results->items) {
		sqloom_results_free(results);
		return NULL;
	}
	results->count = ncalls;
	results->failed = ncalls;
	for (size_t i = 0; i < ncalls; i++) {
		results->items[i].ending = SQLOOM_LOST;
		results->items[i].name =
			copy(results, slm_call_name(&calls[i], i, text));
	}
	return results;
}

void slm_results_set(struct sqloom_results *results, size_t index,
		     const struct slm_ended *ended)
{
	struct sqloom_result *result;

	assert(index < results->count);
	result = &results->items[index];
	assert(!result->value && results->failed > 0);
	assert((ended->ending == SQLOOM_RETURNED) == !ended->error);
	result->ending = ended->ending;
	result->status = ended->status;
	result->size = ended->value ? ended->value->size : 0;
	result->value = take(results, ended->value);
	result->output = take(results, ended->output);
	if (ended->error)
		result->error = copy(results, ended->error);
	else
		results->failed--;
}

static bool has_failed(const struct sqloom_result *result)
{
	return result->ending != SQLOOM_RETURNED;
}

enum sqloom_status slm_results_finish(struct sqloom_results *results,
				      struct sqloom_error *err)
{
	struct slm_buf text = { 0 };

	if (results->nomem)
		return slm_error_nomem(err);
	if (results->failed)
		slm_buf_printf(&text,
			       "%zu of %zu calls failed:", results->failed,
			       results->count);
	for (size_t i = 0; i < results->count; i++) {
		const struct sqloom_result *result = &results->items[i];

		assert(result->value && result->output);
		if (has_failed(result))
			slm_buf_printf(&text, "\n  %s: %s", result->name,
				       result->error);
	}
	results->message = slm_buf_take(&text);
	return results->message ? SQLOOM_OK : slm_error_nomem(err);
}

/* Cuts the text before a character that does not fit whole. */
static void cut(char *text, size_t size)
{
	while (size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80)
		size--;
	text[size] = '\0';
}

/* Appends one failure if it fits, with the end of the line behind it. */
static bool add(char *line, size_t size, const struct sqloom_result *result,
		bool last)
{
	size_t used = strlen(line);
	size_t room = size - used;
	int length = snprintf(line + used, room, " %s: %s;", result->name,
			      result->error);

	return length >= 0 &&
	       (size_t)length < room - (last ? 0 : (size_t)MORE_MAX);
}

/* As add(), for the first failure: what does not fit of it is cut off. */
static bool add_first(char *line, size_t size,
		      const struct sqloom_result *result, bool last)
{
	if (add(line, size, result, last))
		return true;
	cut(line, size - MORE_MAX);
	return false;
}

void slm_results_line(const struct sqloom_results *results, char *line,
		      size_t size)
{
	size_t shown = 0, used;
	bool whole = true;

	assert(size > 3 * (size_t)MORE_MAX);
	used = (size_t)snprintf(line, size,
				"%zu of %zu calls failed:", results->failed,
				results->count);
	for (size_t i = 0; i < results->count && whole; i++) {
		const struct sqloom_result *result = &results->items[i];
		bool last = shown + 1 == results->failed;

		if (!has_failed(result))
			continue;
		whole = shown == 0 ? add_first(line, size, result, last) :
				     add(line, size, result, last);
		if (!whole && shown > 0)
			break;
		shown++;
		used = strlen(line) - (whole ? 1 : 0); /* without the ';' */
	}
	line[used] = '\0';
	if (shown < results->failed)
		snprintf(line + used, size - used, "..., and %zu more",
			 results->failed - shown);
	else if (!whole)
		snprintf(line + used, size - used, "...");
}

size_t sqloom_results_count(const struct sqloom_results *results)
{
	return results ? results->count : 0;
}

const struct sqloom_result *sqloom_results_at(
	const struct sqloom_results *results, size_t index)
{
	if (!results || index >= results->count)
		return NULL;
	return &results->items[index];
}

size_t sqloom_results_failed(const struct sqloom_results *results)
{
	return results ? results->failed : 0;
}

const char *sqloom_results_message(const struct sqloom_results *results)
{
	return results ? results->message : "";
}

void sqloom_results_free(struct sqloom_results *results)
{
	if (!results)
		return;
	for (size_t i = 0; i < results->count; i++) {
		struct sqloom_result *result = &results->items[i];

		slm_free((void *)result->name);
		slm_free((void *)result->value);
		slm_free((void *)result->error);
		slm_free((void *)result->output);
	}
	slm_free(results->items);
	slm_free(results->message);
	slm_free(results);
}
