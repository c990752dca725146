/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of statuses, and filling in struct sqloom_error.
 *
 * Messages and excerpts quote input that nobody has checked, and end on
 * terminals and in JSON. Invariant: all text that leaves here is valid UTF-8
 * without control characters (but for the newline of an excerpt).
 */
#include "base/error.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *text;
	int exit_code;
} statuses[] = {
#define X(name, exit_code, text) [SQLOOM_##name] = { text, exit_code },
	SQLOOM_STATUS_LIST(X)
#undef X
};

/* Characters of an input line that an excerpt shows. */
#define EXCERPT_CHARS 72

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

/*
 * Length of the UTF-8 character at text, of which size bytes are there; 0 if
 * these bytes are none (broken, overlong, a surrogate, cut off) or are a
 * control character.
 */
static size_t char_length(const char *text, size_t size)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t length;

	if (size == 0 || s[0] < 0x20 || s[0] == 0x7f)
		return 0;
	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	length = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (length > size)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xc2 && s[1] < 0xa0) || (s[0] == 0xe0 && s[1] < 0xa0) ||
	    (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return length;
}

/*
 * Makes text of at most limit bytes fit to be shown, in place: control
 * characters become blanks, broken bytes '?', and a character that was cut
 * off at the limit goes.
 */
static void tidy(char *text, size_t limit)
{
	size_t size = strlen(text);
	size_t i = 0;

	while (i < size) {
		unsigned char c = (unsigned char)text[i];
		size_t length = char_length(text + i, size - i);

		if (length > 0) {
			i += length;
		} else if (size == limit && c >= 0xc2 && size - i < 4) {
			text[i] = '\0';
			return;
		} else {
			text[i++] = c < 0x20 || c == 0x7f ? ' ' : '?';
		}
	}
}

static void set(struct sqloom_error *err, enum sqloom_status status,
		const char *fmt, va_list args)
{
	memset(err, 0, sizeof(*err));
	err->status = status;
	vsnprintf(err->message, sizeof(err->message), fmt, args);
	tidy(err->message, sizeof(err->message) - 1);
}

enum sqloom_status slm_error_set(struct sqloom_error *err,
				 enum sqloom_status status, const char *fmt,
				 ...)
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
	tidy(err->message, sizeof(err->message) - 1);
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

/* Where the character with this 1-based column begins, or end. */
static const char *find_column(const char *line, const char *end,
			       unsigned column)
{
	unsigned position = 0;

	for (; line < end; line++)
		if (starts_char(*line) && ++position == column)
			break;
	return line;
}

/*
 * Shows at most EXCERPT_CHARS characters of the line around the column and a
 * caret below the column.
 */
static void excerpt(struct sqloom_error *err, const char *line, const char *end)
{
	unsigned first = err->column > 60 ? err->column - 50 : 1;
	const char *from = find_column(line, end, first);
	const char *to = find_column(from, end, EXCERPT_CHARS + 1);
	unsigned caret = err->column - first;
	size_t used;

	/* Space for the newline, the blanks, the caret and the NUL. */
	if ((size_t)(to - from) > sizeof(err->excerpt) - caret - 3)
		to = from + (sizeof(err->excerpt) - caret - 3);
	while (to > from && to < end && !starts_char(*to))
		to--;
	used = (size_t)(to - from);
	memcpy(err->excerpt, from, used);
	err->excerpt[used] = '\0';
	/* A NUL in the input would end the text early. */
	for (size_t i = 0; i < used; i++)
		if (err->excerpt[i] == '\0')
			err->excerpt[i] = ' ';
	tidy(err->excerpt, SIZE_MAX);
	err->excerpt[used++] = '\n';
	memset(err->excerpt + used, ' ', caret);
	used += caret;
	err->excerpt[used++] = '^';
	err->excerpt[used] = '\0';
	assert(used < sizeof(err->excerpt));
}

void slm_error_place(struct sqloom_error *err, const char *path, unsigned line,
		     unsigned column, const char *text, size_t size_bytes)
{
	const char *begin, *end, *newline;

	if (!err)
		return;
	err->line = line;
	err->column = column;
	if (path) {
		snprintf(err->path, sizeof(err->path), "%s", path);
		tidy(err->path, sizeof(err->path) - 1);
	}
	if (!text || line == 0 || column == 0)
		return;
	end = text + size_bytes;
	begin = find_line(text, end, line);
	newline = memchr(begin, '\n', (size_t)(end - begin));
	excerpt(err, begin, newline ? newline : end);
}
