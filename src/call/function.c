/* SPDX-License-Identifier: Apache-2.0 */
/* What a function that is called can say about its call. */
#include "call/function.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void slm_function_begin(struct sqloom_call *call)
{
	slm_buf_clear(&call->value);
	call->too_large = false;
	call->has_error = false;
	call->error[0] = '\0';
}

bool slm_function_end(struct sqloom_call *call, int returned)
{
	if (call->too_large) {
		(void)sqloom_call_fail(call,
				       "it wrote more than %zu bytes; write a "
				       "digest of the value instead",
				       SQLOOM_VALUE_MAX);
		return true;
	}
	if (slm_buf_failed(&call->value)) {
		(void)sqloom_call_fail(call, "out of memory for its value");
		return true;
	}
	if (returned != 0 && !call->has_error)
		(void)sqloom_call_fail(call, "it returned %d", returned);
	return returned != 0;
}

void slm_function_drop(struct sqloom_call *call)
{
	void (*drop)(void *kept) = call->drop;
	void *kept = call->kept;

	call->drop = NULL;
	call->kept = NULL;
	if (drop && kept)
		drop(kept);
}

void slm_function_deinit(struct sqloom_call *call)
{
	slm_buf_deinit(&call->value);
}

/* ---- For the function --------------------------------------------------- */

static bool fits(struct sqloom_call *call, size_t size)
{
	if (call->too_large || size > SQLOOM_VALUE_MAX - call->value.size) {
		call->too_large = true;
		return false;
	}
	return true;
}

bool sqloom_call_write(struct sqloom_call *call, const void *bytes, size_t size)
{
	assert(call && (bytes || !size));
	if (!fits(call, size))
		return false;
	slm_buf_append(&call->value, bytes, size);
	return !slm_buf_failed(&call->value);
}

bool sqloom_call_printf(struct sqloom_call *call, const char *fmt, ...)
{
	va_list arguments;
	char *text = NULL;
	bool written;
	int size;

	assert(call && fmt);
	va_start(arguments, fmt);
	size = vasprintf(&text, fmt, arguments);
	va_end(arguments);
	if (size < 0)
		return false;
	written = sqloom_call_write(call, text, (size_t)size);
	free(text);
	return written;
}

int sqloom_call_fail(struct sqloom_call *call, const char *fmt, ...)
{
	va_list arguments;

	assert(call && fmt);
	va_start(arguments, fmt);
	vsnprintf(call->error, sizeof(call->error), fmt, arguments);
	va_end(arguments);
	for (char *c = call->error; *c; c++)
		if (*c == '\n' || *c == '\r')
			*c = ' ';
	call->has_error = true;
	return -1;
}

size_t sqloom_call_number(const struct sqloom_call *call)
{
	return call->number;
}

const char *sqloom_call_name(const struct sqloom_call *call)
{
	return call->name;
}

const char *sqloom_call_database(const struct sqloom_call *call)
{
	return call->database;
}

void **sqloom_call_keep(struct sqloom_call *call, void (*drop)(void *kept))
{
	call->drop = drop;
	return &call->kept;
}
