/* SPDX-License-Identifier: Apache-2.0 */
/* Which known name was probably meant. Allocates nothing. */
#include <string.h>

#include "spec/parser.h"

static unsigned char lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/*
 * Edits (insert, delete, replace, swap neighbours) that turn a into b, without
 * regard to ASCII case: the optimal string alignment distance over bytes. Both
 * have at most SLM_SPEC_NAME_MAX bytes.
 */
static unsigned edits(const char *a, const char *b)
{
	unsigned rows[3][SLM_SPEC_NAME_MAX + 1];
	size_t asize = strnlen(a, SLM_SPEC_NAME_MAX);
	size_t bsize = strnlen(b, SLM_SPEC_NAME_MAX);

	for (size_t j = 0; j <= bsize; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= asize; i++) {
		unsigned *row = rows[i % 3];
		const unsigned *above = rows[(i - 1) % 3];
		const unsigned *two_above = rows[(i + 1) % 3];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= bsize; j++) {
			bool same = lower(a[i - 1]) == lower(b[j - 1]);

			row[j] = least(above[j - 1] + !same,
				       1 + least(above[j], row[j - 1]));
			if (i > 1 && j > 1 &&
			    lower(a[i - 1]) == lower(b[j - 2]) &&
			    lower(a[i - 2]) == lower(b[j - 1]))
				row[j] = least(row[j], two_above[j - 2] + 1);
		}
	}
	return rows[asize % 3][bsize];
}

void slm_nearest_init(struct slm_nearest *nearest, const char *wanted)
{
	memset(nearest, 0, sizeof(*nearest));
	nearest->wanted = wanted;
}

/* Appends to the list of known names, which ends in ", ..." when full. */
static void list_known(struct slm_nearest *nearest, const char *name)
{
	size_t used = strlen(nearest->known);
	size_t room = sizeof(nearest->known) - used;

	if (used >= 3 && strcmp(nearest->known + used - 3, "...") == 0)
		return;
	if (strlen(name) + sizeof(", , ...") > room)
		name = "...";
	snprintf(nearest->known + used, room, "%s%s", used ? ", " : "", name);
}

void slm_nearest_add(struct slm_nearest *nearest, const char *name)
{
	unsigned distance = edits(nearest->wanted, name);
	unsigned limit = (unsigned)(strlen(nearest->wanted) + 2) / 3;

	list_known(nearest, name);
	if (distance > limit ||
	    (nearest->name && distance >= nearest->distance))
		return;
	nearest->name = name;
	nearest->distance = distance;
}

const char *slm_nearest_advice(const struct slm_nearest *nearest, char *buf,
			       size_t size)
{
	if (nearest->name)
		snprintf(buf, size, "did you mean \"%s\"?", nearest->name);
	else
		snprintf(buf, size, "known are: %s", nearest->known);
	return buf;
}
