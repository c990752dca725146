/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the block of a command or a request ends: at the brace that closes it,
 * as a shell reads the text. Braces in pairs belong to the text (${X}, groups,
 * JSON), and so does any brace between quotes or behind a backslash. Plain C
 * over bytes; knows no grammar.
 */
#include <string.h>

#include "spec/lexer.h"

/* The offset of the closing quote, or size if there is none. As in a shell, a
 * backslash means something between double quotes only. */
static size_t closing_quote(const char *text, size_t size, size_t at)
{
	char quote = text[at++];

	for (; at < size && text[at] != quote; at++)
		if (text[at] == '\\' && quote == '"')
			at++;
	return at < size ? at : size;
}

/* Does a comment of a shell begin here? Not in ${X#prefix} or $#. */
static bool begins_comment(const char *text, size_t begin, size_t at)
{
	return text[at] == '#' &&
	       (at == begin || strchr(" \t\r\n;&|()", text[at - 1]));
}

size_t slm_command_end(const char *text, size_t size, size_t begin,
		       size_t *open)
{
	size_t outermost = size; /* of the braces that are open */
	bool comment = false;	 /* quotes mean nothing there, braces do */
	unsigned depth = 0;
	size_t at;

	for (at = begin; at < size; at++) {
		char c = text[at];

		if (c == '}' && depth-- == 0)
			return at;
		if (c == '{' && depth++ == 0)
			outermost = at;
		if (c == '\n')
			comment = false;
		else if (begins_comment(text, begin, at))
			comment = true;
		if (comment)
			continue;
		if (c == '\\') {
			at++;
		} else if (c == '\'' || c == '"') {
			*open = at;
			at = closing_quote(text, size, at);
			if (at == size)
				return size;
		}
	}
	*open = depth ? outermost : size;
	return size;
}
