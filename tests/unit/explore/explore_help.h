/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of explorations share. Included once per program. */
#ifndef SLM_TESTS_EXPLORE_HELP_H
#define SLM_TESTS_EXPLORE_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "spec/spec.h"
#include "trace/trace.h"

#define UNUSED __attribute__((unused))

UNUSED static const char lost_update[] =
	"setup { CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER);\n"
	"  INSERT INTO t VALUES (1, 10) }\n"
	"session a\n"
	"step a1 { SELECT v FROM t WHERE id = 1 }\n"
	"step a2 { UPDATE t SET v = :v + 1 WHERE id = 1 }\n"
	"session b\n"
	"step b1 { SELECT v FROM t WHERE id = 1 }\n"
	"step b2 { UPDATE t SET v = :v + 2 WHERE id = 1 }\n";

UNUSED static const char fixed_update[] =
	"setup { CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER);\n"
	"  INSERT INTO t VALUES (1, 10) }\n"
	"session a\n"
	"step a1 { UPDATE t SET v = v + 1 WHERE id = 1 }\n"
	"session b\n"
	"step b1 { UPDATE t SET v = v + 2 WHERE id = 1 }\n";

UNUSED static struct sqloom_spec *parse(const char *text)
{
	struct sqloom_spec *spec = NULL;
	struct sqloom_error err;

	if (sqloom_spec_parse(text, strlen(text), "x.spec", &spec, &err))
		fail_msg("%s", err.message);
	return spec;
}

UNUSED static struct sqloom_options usual(void)
{
	struct sqloom_options options;

	sqloom_options_init(&options);
	return options;
}

UNUSED static struct sqloom_report *explore_spec(
	const struct sqloom_spec *spec, const struct sqloom_options *options)
{
	struct sqloom_report *report = NULL;
	struct sqloom_error err;

	if (sqloom_explore(spec, options, &report, &err))
		fail_msg("%s", err.message);
	return report;
}

/* The report does not need the spec any more. */
UNUSED static struct sqloom_report *explore(
	const char *text, const struct sqloom_options *options)
{
	struct sqloom_options standard = usual();
	struct sqloom_spec *spec = parse(text);
	struct sqloom_report *report =
		explore_spec(spec, options ? options : &standard);

	sqloom_spec_free(spec);
	return report;
}

UNUSED static enum sqloom_verdict verdict_of(
	const char *text, const struct sqloom_options *options)
{
	struct sqloom_report *report = explore(text, options);
	enum sqloom_verdict verdict = sqloom_report_verdict(report);

	sqloom_report_free(report);
	return verdict;
}

UNUSED static struct sqloom_report *replay(const char *text, const char *token,
					   const struct sqloom_report *recorded,
					   const struct sqloom_options *options)
{
	struct sqloom_options standard = usual();
	struct sqloom_spec *spec = parse(text);
	struct sqloom_report *report = NULL;
	struct sqloom_error err;

	if (sqloom_replay(spec, token, recorded, options ? options : &standard,
			  &report, &err))
		fail_msg("%s: %s", token, err.message);
	sqloom_spec_free(spec);
	return report;
}

UNUSED static bool has_note(const struct sqloom_report *report,
			    const char *part)
{
	for (uint32_t i = 0; i < report->trace.nnotes; i++)
		if (strstr(report->trace.notes[i], part))
			return true;
	return false;
}

/* text with the first occurrence of from put in other words. Freed by the
 * caller with free(). */
UNUSED static char *edited(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);
	char *out = malloc(strlen(text) + strlen(to) + 1);

	if (!at || !out)
		fail_msg("\"%s\" is not there", from);
	sprintf(out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
	return out;
}

UNUSED static int nothing_leaks(void **state)
{
	(void)state;
	assert_int_equal(slm_alloc_live(), 0);
	return 0;
}

#endif
