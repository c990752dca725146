/* SPDX-License-Identifier: Apache-2.0 */
/* Making and freeing reports, and the words for the classes of outcomes. */
#include "trace/trace.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct sqloom_report *slm_report_new(void)
{
	struct sqloom_report *report = slm_calloc(1, sizeof(*report));

	if (report)
		slm_arena_init(&report->trace.arena);
	return report;
}

void sqloom_report_free(struct sqloom_report *report)
{
	if (!report)
		return;
	slm_arena_deinit(&report->trace.arena);
	slm_free(report);
}

enum sqloom_verdict sqloom_report_verdict(const struct sqloom_report *report)
{
	assert(report);
	/* A replay that left its token says nothing about the finding, and in
	 * a recording nothing was judged. */
	if (report->trace.divergence.diverged ||
	    report->trace.kind == SLM_TRACE_RECORD)
		return SQLOOM_INCONCLUSIVE;
	return report->trace.verdict;
}

const char *slm_class_text(enum slm_class class)
{
	static const char *const texts[SLM_CLASSES] = {
		[SLM_CLASS_CHECK] = "a check that returned rows",
		[SLM_CLASS_CONTENTS] = "contents that no serial run leaves",
		[SLM_CLASS_RESULT] = "results that no serial run gives",
		[SLM_CLASS_ERROR] = "an error that no serial run gives and no "
				    "caller can expect",
		[SLM_CLASS_RETRY] = "an error that asks to be retried",
		[SLM_CLASS_BENIGN] = "differences that are no error, contents "
				     "of a serial run",
		[SLM_CLASS_SERIAL] = "equal to a serial run",
	};

	assert((unsigned)class < SLM_CLASSES);
	return texts[class];
}

bool slm_result_says_more(const struct slm_result *given)
{
	const struct slm_rows *rows = &given->rows;
	const struct slm_value *last;
	size_t size;

	if (!given->message || !*given->message)
		return false;
	if (rows->nkept == 0 || rows->ncolumns < 2)
		return true;
	if (strcmp(rows->columns[0], "status") == 0)
		return false;
	last = &rows->values[rows->ncolumns - 1];
	size = strlen(given->message);
	return last->kind != SLM_TEXT || last->size != size ||
	       memcmp(last->text, given->message, size) != 0;
}

static int compare_values(const struct slm_value *a, const struct slm_value *b)
{
	uint32_t least;
	int order;

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	if (a->kind == SLM_NULL)
		return 0;
	if (a->kind == SLM_INT)
		return a->integer < b->integer ? -1 : a->integer > b->integer;
	least = a->size < b->size ? a->size : b->size;
	order = memcmp(a->text, b->text, least);
	if (order)
		return order;
	return a->size < b->size ? -1 : a->size > b->size;
}

static int compare_rows(const void *a, const void *b, void *ncolumns)
{
	const struct slm_value *left = a, *right = b;

	for (uint32_t i = 0; i < *(uint32_t *)ncolumns; i++) {
		int order = compare_values(&left[i], &right[i]);

		if (order)
			return order;
	}
	return 0;
}

void slm_rows_sort(struct slm_value *values, uint32_t nrows, uint32_t ncolumns)
{
	qsort_r(values, nrows, ncolumns * sizeof(*values), compare_rows,
		&ncolumns);
}

enum slm_error_kind slm_error_kind_of(const char *sqlstate)
{
	static const struct {
		const char *code;
		enum slm_error_kind kind;
	} kinds[] = {
		{ "40001", SLM_ERROR_RETRY },	 /* serialization_failure */
		{ "40P01", SLM_ERROR_DEADLOCK }, /* deadlock_detected */
		{ "55P03", SLM_ERROR_RETRY },	 /* lock_not_available */
		{ "57014", SLM_ERROR_RETRY },	 /* statement_timeout */
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].code, sqlstate) == 0)
			return kinds[i].kind;
	if (strncmp(sqlstate, "23", 2) == 0)
		return SLM_ERROR_INTEGRITY;
	return SLM_ERROR_OTHER;
}
