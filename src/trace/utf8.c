/* SPDX-License-Identifier: Apache-2.0 */
/* Strict UTF-8 decoding. */
#include "trace/utf8.h"

#include <assert.h>

/* How many bytes a character has that begins with this byte; 0: none does. */
static size_t length_of(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first >= 0xc2 && first < 0xe0)
		return 2;
	if (first >= 0xe0 && first < 0xf0)
		return 3;
	if (first >= 0xf0 && first < 0xf5)
		return 4;
	return 0;
}

size_t slm_utf8_next(const char *text, const char *end, uint32_t *character)
{
	static const unsigned char masks[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t length;
	uint32_t value;

	assert(text < end);
	length = length_of((unsigned char)*text);
	if (length == 0 || length > (size_t)(end - text))
		return 0;
	value = (unsigned char)*text & masks[length];
	for (size_t i = 1; i < length; i++) {
		if (((unsigned char)text[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | ((unsigned char)text[i] & 0x3f);
	}
	if (value < least[length] || value > 0x10ffff ||
	    (value >= 0xd800 && value < 0xe000))
		return 0;
	*character = value;
	return length;
}

bool slm_utf8_valid(const char *text, size_t size)
{
	const char *end = text + size;
	uint32_t character;

	while (text < end) {
		size_t length = slm_utf8_next(text, end, &character);

		if (length == 0)
			return false;
		text += length;
	}
	return true;
}
