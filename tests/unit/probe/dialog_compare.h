/* SPDX-License-Identifier: Apache-2.0 */
/* What a client was sent, compared message for message. The bytes are whole
 * messages, and are changed. */
#ifndef TEST_DIALOG_COMPARE_H
#define TEST_DIALOG_COMPARE_H

#include <stdio.h>

#include "probe/dialog_talk.h"

/* Numbers of processes and tables are new in every run. */
static void hide_numbers(struct slm_wire_message *m)
{
	uint8_t *body = (uint8_t *)m->body;
	struct slm_wire_row_description rows;
	struct slm_wire_column column;
	const uint8_t *at;

	if (m->type == SLM_WIRE_BACKEND_KEY_DATA)
		memset(body, 0, m->size);
	if (m->type == SLM_WIRE_NOTIFICATION_RESPONSE)
		memset(body, 0, 4);
	if (m->type != SLM_WIRE_ROW_DESCRIPTION ||
	    !slm_wire_row_description(m, &rows))
		return;
	at = rows.columns;
	for (unsigned i = 0; i < rows.ncolumns; i++) {
		uint8_t *table = (uint8_t *)at + strlen((const char *)at) + 1;

		slm_wire_next_column(&at, rows.end, &column);
		memset(table, 0, 4);
	}
}

static bool same_messages(const struct slm_buf *expected,
			  const struct slm_buf *found)
{
	uint8_t *a = (uint8_t *)expected->data, *b = (uint8_t *)found->data;
	uint8_t *a_end = a + expected->size, *b_end = b + found->size;
	struct slm_wire_message left, right;

	for (unsigned n = 0; a < a_end && b < b_end; n++) {
		slm_wire_look(SLM_WIRE_FROM_SERVER, a, (size_t)(a_end - a),
			      &left, NULL);
		slm_wire_look(SLM_WIRE_FROM_SERVER, b, (size_t)(b_end - b),
			      &right, NULL);
		hide_numbers(&left);
		hide_numbers(&right);
		if (left.type != right.type || left.size != right.size ||
		    memcmp(left.body, right.body, left.size) != 0) {
			print_error("message %u: %c %.*s, not %c %.*s\n", n,
				    right.type, (int)right.have, right.body,
				    left.type, (int)left.have, left.body);
			return false;
		}
		a += SLM_WIRE_HEADER + left.size;
		b += SLM_WIRE_HEADER + right.size;
	}
	return a == a_end && b == b_end;
}

#endif
