/* SPDX-License-Identifier: Apache-2.0 */
/* The table of statuses, and filling in struct sqloom_error. */
#include "base/error.h"

#include <stdarg.h>
#include <string.h>

static const struct {
	const char *text;
	int exit_code;
} statuses[] = {
#define X(name, exit_code, text) [SQLOOM_##name] = { text, exit_code },
	SQLOOM_STATUS_LIST(X)
#undef X
};

#define NSTATUSES (sizeof(statuses) / sizeof(statuses[0]))

const char *sqloom_status_text(enum sqloom_status status)
{
	return (size_t)status < NSTATUSES ? statuses[status].text :
					    "unknown status";
}

int sqloom_status_exit_code(enum sqloom_status status)
{
	return (size_t)status < NSTATUSES ? statuses[status].exit_code : 70;
}

int sqloom_verdict_exit_code(enum sqloom_verdict verdict)
{
	switch (verdict) {
	case SQLOOM_HOLDS:
		return 0;
	case SQLOOM_BROKEN:
		return 1;
	case SQLOOM_INCONCLUSIVE:
		return 4;
	}
	return 70;
}

static void set(struct sqloom_error *err, enum sqloom_status status,
		const char *fmt, va_list args)
{
	memset(err, 0, sizeof(*err));
	err->status = status;
	vsnprintf(err->message, sizeof(err->message), fmt, args);
}

enum sqloom_status slm_error_set(struct sqloom_error *err,
				 enum sqloom_status status, const char *fmt, ...)
{
	va_list args;

	if (err) {
		va_start(args, fmt);
		set(err, status, fmt, args);
		va_end(args);
	}
	return status;
}

enum sqloom_status slm_error_errno(struct sqloom_error *err,
				   enum sqloom_status status, int sys_errno,
				   const char *fmt, ...)
{
	va_list args;
	size_t used;

	if (!err)
		return status;
	va_start(args, fmt);
	set(err, status, fmt, args);
	va_end(args);
	err->sys_errno = sys_errno;
	used = strlen(err->message);
	snprintf(err->message + used, sizeof(err->message) - used, ": %s",
		 strerror(sys_errno));
	return status;
}

enum sqloom_status slm_error_nomem(struct sqloom_error *err)
{
	return slm_error_set(err, SQLOOM_NOMEM, "out of memory");
}

/* Where line begins in text; lines are counted from 1. */
static const char *find_line(const char *text, const char *end, unsigned line)
{
	while (line > 1) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));

		if (!newline)
			return end;
		text = newline + 1;
		line--;
	}
	return text;
}

/* Is this byte the first of a UTF-8 character? */
static bool starts_char(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

/*
 * Shows at most 72 characters of the line around the column, control
 * characters as blanks, and a caret below the column.
 */
static void excerpt(struct sqloom_error *err, const char *line, size_t size)
{
	unsigned first = err->column > 60 ? err->column - 50 : 1;
	unsigned position = 0;
	size_t used = 0;

	for (size_t i = 0; i < size && used + 80 < sizeof(err->excerpt); i++) {
		char c = line[i];

		if (starts_char(c))
			position++;
		if (position < first)
			continue;
		if (position >= first + 72)
			break;
		if ((unsigned char)c < ' ' || c == 0x7f)
			c = ' ';
		err->excerpt[used++] = c;
	}
	err->excerpt[used++] = '\n';
	for (unsigned i = first; i < err->column; i++)
		err->excerpt[used++] = ' ';
	err->excerpt[used++] = '^';
	err->excerpt[used] = '\0';
}

void slm_error_place(struct sqloom_error *err, const char *path, unsigned line,
		     unsigned column, const char *text, size_t size_bytes)
{
	const char *begin, *end, *newline;

	if (!err)
		return;
	err->line = line;
	err->column = column;
	if (path)
		snprintf(err->path, sizeof(err->path), "%s", path);
	if (!text || line == 0 || column == 0)
		return;
	end = text + size_bytes;
	begin = find_line(text, end, line);
	newline = memchr(begin, '\n', (size_t)(end - begin));
	excerpt(err, begin, (size_t)((newline ? newline : end) - begin));
}
