/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a trace. What is accepted must format to a text that parses
 * again to the same text, and must render at any width without a control
 * character.
 */
#include <assert.h>
#include <string.h>

#include "base/alloc.h"
#include "fuzz.h"
#include "trace/trace.h"

static void check_text(const struct sqloom_report *report,
		       const struct sqloom_render *render)
{
	struct sqloom_error err;
	char *text = NULL;
	size_t size;

	if (sqloom_report_render(report, render, &text, &size, &err)) {
		assert(err.status == SQLOOM_NOMEM);
		return;
	}
	assert(strlen(text) == size);
	for (const char *at = text; *at; at++)
		assert(*at == '\n' || (unsigned char)*at >= ' ');
	sqloom_text_free(text);
}

static void check_render(const struct sqloom_report *report)
{
	struct sqloom_render render;

	sqloom_render_init(&render);
	render.width = 40;
	render.findings = 3;
	check_text(report, &render);
	render.width = 150;
	render.ascii = true;
	check_text(report, &render);
	render.format = SQLOOM_FORMAT_JSON;
	check_text(report, &render);
}

static void check_again(const struct sqloom_report *report)
{
	struct sqloom_report *again = NULL;
	char *first = NULL, *second = NULL;
	size_t size, other_size;
	struct sqloom_error err;

	if (slm_trace_format(&report->trace, &first, &size, &err))
		return;
	if (slm_trace_parse(first, size, "again", &again, &err))
		assert(!"a formatted trace must parse");
	if (slm_trace_format(&again->trace, &second, &other_size, &err) == 0) {
		assert(size == other_size);
		assert(memcmp(first, second, size) == 0);
	}
	slm_free(first);
	slm_free(second);
	sqloom_report_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sqloom_report *report = NULL;
	struct sqloom_error err;

	if (slm_trace_parse((const char *)data, size, "fuzz", &report, &err)) {
		assert(!report && err.message[0]);
		assert(err.line > 0 || err.status == SQLOOM_NOMEM ||
		       size == 0 || err.status == SQLOOM_TRACE);
	} else {
		check_render(report);
		check_again(report);
		sqloom_report_free(report);
	}
	assert(slm_alloc_live() == 0);
	return 0;
}
