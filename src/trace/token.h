/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens: the short text that replays a finding, `abab~5f3a.aka2axaq`.
 *
 *   letters '~' 4 hex digits '.' two base-32 characters per letter
 *
 * The letters are the schedule. The hex digits fingerprint the names of the
 * calls and the SQL of all their steps with literals removed. The characters
 * fingerprint, letter by letter, the step that was taken there, so that a
 * replay can say where it left the recorded run. A run of five or more equal
 * letters may be written with its count, `a12b`.
 */
#ifndef SLM_TRACE_TOKEN_H
#define SLM_TRACE_TOKEN_H

#include <sqloom/sqloom.h>

#include "base/arena.h"

#define SLM_TOKEN_STEP_MASK 1023 /* bits of a step's fingerprint in a token */

struct slm_token {
	const char *schedule;  /* letters, counts expanded */
	uint32_t length;       /* letters */
	uint16_t fingerprint;  /* of all the steps */
	const uint16_t *steps; /* length values of 10 bits; NULL: not given */
};

/* Writes token into the arena; NULL when memory is out. */
const char *slm_token_format(struct slm_arena *arena,
			     const struct slm_token *token);

/* Reads text (untrusted). SQLOOM_TOKEN with what is wrong and the column,
 * SQLOOM_LIMIT over SLM_SCHEDULE_MAX letters, SQLOOM_NOMEM. */
enum sqloom_status slm_token_parse(struct slm_arena *arena, const char *text,
				   struct slm_token *out,
				   struct sqloom_error *err);

#endif
