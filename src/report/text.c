/* SPDX-License-Identifier: Apache-2.0 */
/* Cleaning, measuring and folding marked text. Printing is in out.c. */
#include "report/text.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "trace/utf8.h"

const char *slm_glyph(enum slm_glyph glyph, bool ascii)
{
	static const char *const glyphs[][2] = {
		[SLM_G_LANE] = { "│", "|" },
		[SLM_G_WAITING] = { "┊", ":" },
		[SLM_G_STEP] = { "●", "*" },
		[SLM_G_ARRIVED] = { "○", "o" },
		[SLM_G_SKIPPED] = { "◌", "." },
		[SLM_G_OK] = { "✓", "+" },
		[SLM_G_FAILED] = { "✗", "x" },
		[SLM_G_ARROW] = { "→", "->" },
		[SLM_G_ELLIPSIS] = { "…", "..." },
		[SLM_G_DOT] = { "·", "-" },
		[SLM_G_OPEN] = { "‹", "<" },
		[SLM_G_CLOSE] = { "›", ">" },
	};

	assert((size_t)glyph < sizeof(glyphs) / sizeof(glyphs[0]));
	return glyphs[glyph][ascii];
}

/* ---- Characters ------------------------------------------------------- */

struct range {
	uint32_t first, last;
};

/* Is character in one of the ranges, which are sorted? */
static bool in_ranges(uint32_t character, const struct range *ranges, size_t n)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (character > ranges[middle].last)
			low = middle + 1;
		else if (character < ranges[middle].first)
			high = middle;
		else
			return true;
	}
	return false;
}

#define IN(character, ranges) \
	in_ranges(character, ranges, sizeof(ranges) / sizeof((ranges)[0]))

/* The characters that East Asian fonts and emoji draw two columns wide: the
 * blocks, not every unassigned hole in them. */
static bool is_wide(uint32_t character)
{
	static const struct range wide[] = {
		{ 0x1100, 0x115f },   { 0x231a, 0x231b },
		{ 0x2329, 0x232a },   { 0x23e9, 0x23ec },
		{ 0x23f0, 0x23f0 },   { 0x23f3, 0x23f3 },
		{ 0x25fd, 0x25fe },   { 0x2614, 0x2615 },
		{ 0x2648, 0x2653 },   { 0x267f, 0x267f },
		{ 0x2693, 0x2693 },   { 0x26a1, 0x26a1 },
		{ 0x26aa, 0x26ab },   { 0x26bd, 0x26be },
		{ 0x26c4, 0x26c5 },   { 0x26ce, 0x26ce },
		{ 0x26d4, 0x26d4 },   { 0x26ea, 0x26ea },
		{ 0x26f2, 0x26f3 },   { 0x26f5, 0x26f5 },
		{ 0x26fa, 0x26fa },   { 0x26fd, 0x26fd },
		{ 0x2705, 0x2705 },   { 0x270a, 0x270b },
		{ 0x2728, 0x2728 },   { 0x274c, 0x274c },
		{ 0x274e, 0x274e },   { 0x2753, 0x2755 },
		{ 0x2757, 0x2757 },   { 0x2795, 0x2797 },
		{ 0x27b0, 0x27b0 },   { 0x27bf, 0x27bf },
		{ 0x2b1b, 0x2b1c },   { 0x2b50, 0x2b50 },
		{ 0x2b55, 0x2b55 },   { 0x2e80, 0x303e },
		{ 0x3041, 0x33ff },   { 0x3400, 0x4dbf },
		{ 0x4e00, 0xa4cf },   { 0xa960, 0xa97c },
		{ 0xac00, 0xd7a3 },   { 0xf900, 0xfaff },
		{ 0xfe10, 0xfe19 },   { 0xfe30, 0xfe6b },
		{ 0xff01, 0xff60 },   { 0xffe0, 0xffe6 },
		{ 0x16fe0, 0x18cff }, { 0x1aff0, 0x1b2ff },
		{ 0x1f004, 0x1f004 }, { 0x1f0cf, 0x1f0cf },
		{ 0x1f18e, 0x1f18e }, { 0x1f191, 0x1f19a },
		{ 0x1f200, 0x1f320 }, { 0x1f32d, 0x1f335 },
		{ 0x1f337, 0x1f37c }, { 0x1f37e, 0x1f393 },
		{ 0x1f3a0, 0x1f3ca }, { 0x1f3cf, 0x1f3d3 },
		{ 0x1f3e0, 0x1f3f0 }, { 0x1f3f4, 0x1f3f4 },
		{ 0x1f3f8, 0x1f43e }, { 0x1f440, 0x1f440 },
		{ 0x1f442, 0x1f4fc }, { 0x1f4ff, 0x1f53d },
		{ 0x1f54b, 0x1f54e }, { 0x1f550, 0x1f567 },
		{ 0x1f57a, 0x1f57a }, { 0x1f595, 0x1f596 },
		{ 0x1f5a4, 0x1f5a4 }, { 0x1f5fb, 0x1f64f },
		{ 0x1f680, 0x1f6c5 }, { 0x1f6cc, 0x1f6cc },
		{ 0x1f6d0, 0x1f6d2 }, { 0x1f6d5, 0x1f6d7 },
		{ 0x1f6dc, 0x1f6df }, { 0x1f6eb, 0x1f6ec },
		{ 0x1f6f4, 0x1f6fc }, { 0x1f7e0, 0x1f7eb },
		{ 0x1f7f0, 0x1f7f0 }, { 0x1f90c, 0x1f93a },
		{ 0x1f93c, 0x1f945 }, { 0x1f947, 0x1f9ff },
		{ 0x1fa70, 0x1faff }, { 0x20000, 0x3fffd },
	};

	return character >= 0x1100 && IN(character, wide);
}

/* Marks that are drawn over the character before them, in the scripts that
 * are most used. A mark that is missing here counts one column. */
static bool is_combining(uint32_t character)
{
	static const struct range combining[] = {
		{ 0x0300, 0x036f }, { 0x0483, 0x0489 }, { 0x0591, 0x05bd },
		{ 0x05bf, 0x05bf }, { 0x05c1, 0x05c2 }, { 0x05c4, 0x05c5 },
		{ 0x0610, 0x061a }, { 0x064b, 0x065f }, { 0x0670, 0x0670 },
		{ 0x06d6, 0x06dc }, { 0x06df, 0x06e4 }, { 0x06e7, 0x06e8 },
		{ 0x06ea, 0x06ed }, { 0x0900, 0x0902 }, { 0x093a, 0x093a },
		{ 0x093c, 0x093c }, { 0x0941, 0x0948 }, { 0x094d, 0x094d },
		{ 0x0e31, 0x0e31 }, { 0x0e34, 0x0e3a }, { 0x0e47, 0x0e4e },
		{ 0x1160, 0x11ff }, { 0x1ab0, 0x1aff }, { 0x1dc0, 0x1dff },
		{ 0x20d0, 0x20f0 }, { 0x302a, 0x302d }, { 0x3099, 0x309a },
		{ 0xfe00, 0xfe0f }, { 0xfe20, 0xfe2f }, { 0xe0100, 0xe01ef },
	};

	return character >= 0x300 && IN(character, combining);
}

/* Characters that must not be printed as they are: controls, what changes the
 * direction of writing, and what nobody can see. */
static bool is_unsafe(uint32_t character)
{
	static const struct range unsafe[] = {
		{ 0x0000, 0x001f },    { 0x007f, 0x009f },
		{ 0x00ad, 0x00ad },    { 0x034f, 0x034f },
		{ 0x061c, 0x061c },    { 0x115f, 0x1160 },
		{ 0x17b4, 0x17b5 },    { 0x180b, 0x180f },
		{ 0x200b, 0x200f },    { 0x2028, 0x202e },
		{ 0x2060, 0x206f },    { 0x3164, 0x3164 },
		{ 0xe000, 0xf8ff },    { 0xfdd0, 0xfdef },
		{ 0xfeff, 0xfeff },    { 0xffa0, 0xffa0 },
		{ 0xfff0, 0xfffb },    { 0xfffe, 0xffff },
		{ 0x1d173, 0x1d17a },  { 0xe0000, 0xe007f },
		{ 0xf0000, 0x10ffff },
	};

	return IN(character, unsafe);
}

static unsigned char_width(uint32_t character)
{
	if (is_combining(character))
		return 0;
	return is_wide(character) ? 2 : 1;
}

static void clean_char(struct slm_buf *buf, const char *text, size_t length,
		       uint32_t character, bool ascii)
{
	if (character == '\n')
		slm_buf_puts(buf, "\\n");
	else if (character == '\r')
		slm_buf_puts(buf, "\\r");
	else if (character == '\t')
		slm_buf_puts(buf, "\\t");
	else if (character < 0x80 && is_unsafe(character))
		slm_buf_printf(buf, "\\x%02x", character);
	else if (is_unsafe(character) || (ascii && character >= 0x80))
		slm_buf_printf(buf, character > 0xffff ? "\\U%08x" : "\\u%04x",
			       character);
	else
		slm_buf_append(buf, text, length);
}

void slm_text_clean(struct slm_buf *buf, const char *text, size_t size,
		    bool ascii)
{
	const char *end = text + size;
	uint32_t character;

	while (text < end) {
		size_t length = slm_utf8_next(text, end, &character);

		if (length)
			clean_char(buf, text, length, character, ascii);
		else
			slm_buf_printf(buf, "\\x%02x", (unsigned char)*text);
		text += length ? length : 1;
	}
}

/* ---- Measuring and folding -------------------------------------------- */

static bool is_style(char c)
{
	return (c >= SLM_PLAIN && c <= SLM_GOOD_TITLE) || c == SLM_WAIT_TITLE;
}

/* The character of marked text at text: its bytes, and its columns. */
static size_t next_char(const char *text, const char *end, unsigned *width)
{
	uint32_t character = 0;
	size_t length;

	*width = 0;
	if (is_style(*text) || *text == SLM_SOFT)
		return 1;
	length = slm_utf8_next(text, end, &character);
	assert(length > 0); /* marked text is valid UTF-8 */
	*width = char_width(character);
	return length;
}

static unsigned width_of(const char *text, const char *end)
{
	unsigned total = 0, width;

	while (text < end && *text != '\n') {
		text += next_char(text, end, &width);
		total += width;
	}
	return total;
}

unsigned slm_text_width(const char *text)
{
	return width_of(text, text + strlen(text));
}

const char *slm_text_next_line(const char *text)
{
	const char *newline = strchr(text, '\n');

	return newline ? newline + 1 : NULL;
}

unsigned slm_text_widest(const char *text)
{
	unsigned widest = 0;

	for (; text; text = slm_text_next_line(text)) {
		unsigned width = slm_text_width(text);

		widest = width > widest ? width : widest;
	}
	return widest;
}

/* The places where a line can end that were seen so far, best first. */
struct breaks {
	const char *soft; /* a space before SLM_SOFT, far enough right */
	const char *space;
	const char *poor; /* an SLM_NBSP, or after a comma */
};

static void note_break(struct breaks *breaks, const char *at, bool far)
{
	if (*at == ' ') {
		breaks->space = at;
		if (at[1] == SLM_SOFT && far)
			breaks->soft = at;
	} else if (*at == SLM_NBSP) {
		breaks->poor = at;
	}
}

/*
 * Where the line that begins at text must end to fit into width columns. At
 * least one character is always taken.
 */
static const char *line_end(const char *text, const char *end, unsigned width)
{
	struct breaks breaks = { NULL, NULL, NULL };
	const char *at = text;
	bool in_text = false; /* leading spaces are no place to break */
	unsigned used = 0, columns;

	while (at < end && *at != '\n') {
		size_t length = next_char(at, end, &columns);

		if (in_text)
			note_break(&breaks, at, used > width / 3);
		if (used + columns > width && used > 0)
			break;
		in_text |= *at != ' ' && !is_style(*at);
		used += columns;
		at += length;
		if (at[-1] == ',' && used <= width)
			breaks.poor = at;
	}
	if (at == end || *at == '\n')
		return at;
	if (breaks.soft)
		return breaks.soft;
	if (breaks.space)
		return breaks.space;
	return breaks.poor && breaks.poor < at ? breaks.poor : at;
}

/* The last line there is room for: as much of the text as leaves space for an
 * ellipsis. */
static void put_cut_line(struct slm_buf *buf, const char *text, const char *end,
			 unsigned width, bool ascii)
{
	const char *ellipsis = slm_glyph(SLM_G_ELLIPSIS, ascii);
	unsigned room = slm_text_width(ellipsis);
	const char *at = text;
	unsigned used = 0, columns;

	room = width > room ? width - room : 0;
	while (at < end && *at != '\n') {
		size_t length = next_char(at, end, &columns);

		if (used + columns > room)
			break;
		used += columns;
		at += length;
	}
	while (at > text && at[-1] == ' ')
		at--;
	slm_buf_append(buf, text, (size_t)(at - text));
	slm_buf_puts(buf, ellipsis);
	/* Styles that were cut off still count for what comes after. */
	for (; at < end; at++)
		if (is_style(*at))
			slm_buf_putc(buf, *at);
}

void slm_text_fold(struct slm_buf *buf, const char *text,
		   const struct slm_fold *fold)
{
	const char *end = text + strlen(text);
	unsigned least = fold->width < 4 ? 4 : fold->width;
	unsigned hang = fold->hang + 4 > least ? 0 : fold->hang;
	unsigned width = least;

	for (unsigned lines = 1;; lines++) {
		const char *stop = line_end(text, end, width);
		bool forced = stop < end && *stop == '\n';

		if (stop < end && lines == fold->max_lines) {
			put_cut_line(buf, text, end, width, fold->ascii);
			return;
		}
		slm_buf_append(buf, text, (size_t)(stop - text));
		text = stop;
		if (forced)
			text++;
		else
			while (*text == ' ' || *text == SLM_NBSP ||
			       *text == SLM_SOFT)
				text++;
		if (!forced && text == end)
			return;
		slm_buf_putc(buf, '\n');
		slm_buf_fill(buf, ' ', hang);
		width = least - hang;
	}
}

void slm_text_number(struct slm_buf *buf, uint64_t number)
{
	char digits[24];
	int size = snprintf(digits, sizeof(digits), "%" PRIu64, number);

	for (int i = 0; i < size; i++) {
		if (i > 0 && (size - i) % 3 == 0)
			slm_buf_putc(buf, ',');
		slm_buf_putc(buf, digits[i]);
	}
}

void slm_text_count(struct slm_buf *buf, uint64_t number, const char *one,
		    const char *many)
{
	slm_text_number(buf, number);
	slm_buf_putc(buf, ' ');
	slm_buf_puts(buf, number == 1 ? one : many);
}
