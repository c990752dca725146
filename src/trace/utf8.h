/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UTF-8, strictly: no overlong forms, no surrogates, nothing above U+10FFFF.
 * Pure functions; they never read at or beyond end.
 */
#ifndef SLM_TRACE_UTF8_H
#define SLM_TRACE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The bytes of the character at text (1 to 4) with its code point in
 * *character; 0 if the bytes there are not valid UTF-8. text < end.
 */
size_t slm_utf8_next(const char *text, const char *end, uint32_t *character);

/* Is the whole of it valid? */
bool slm_utf8_valid(const char *text, size_t size);

#endif
