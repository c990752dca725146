/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The values of a statement's parameters as an event has them: "$1 = 5,
 * $2 = 'it''s', $3 = NULL, $4 = 'long...', $5 ...": each a literal, or the
 * beginning of one that was cut; nothing is known of $5 and those behind it.
 * Made by the dialog of the proxy, read here. Any text is accepted: what is not
 * of this form gives no value. A value counts as cut if it is longer than
 * SLM_PARAMS_CUT_MIN and ends with "...": rather one too many.
 */
#ifndef SLM_TRACE_PARAMS_H
#define SLM_TRACE_PARAMS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

#define SLM_PARAMS_CUT_MIN 90 /* bytes; those that were cut are longer */

/* The text of the value of $number; *size_bytes of it, borrowed from params.
 * NULL: it has none. *cut: only its beginning is known. params may be NULL. */
const char *slm_params_find(const char *params, unsigned long number,
			    size_t *size_bytes, bool *cut);

/*
 * The statement with each $n that is not quoted or in a comment replaced by
 * its value; a signed number in parentheses. A parameter whose value is not
 * known or was cut stays as it is, and *whole (may be NULL) is false. Returns
 * sql itself if there is nothing to replace, else a text in arena; NULL:
 * memory is out.
 */
const char *slm_params_put(struct slm_arena *arena, const char *sql,
			   const char *params, bool *whole);

#endif
