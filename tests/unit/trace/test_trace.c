/* SPDX-License-Identifier: Apache-2.0 */
/* Traces: the round trip, files, and every way a trace can be wrong. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../report/samples.h"
#include "base/alloc.h"

static char *format(const struct sqloom_report *report, size_t *size)
{
	struct sqloom_error err = { 0 };
	char *text = NULL;

	if (slm_trace_format(&report->trace, &text, size, &err))
		fail_msg("%s", err.message);
	return text;
}

static struct sqloom_report *parse(const char *text, size_t size)
{
	struct sqloom_report *report = NULL;
	struct sqloom_error err = { 0 };

	if (slm_trace_parse(text, size, "t", &report, &err))
		fail_msg("%s", err.message);
	return report;
}

static void test_round_trip(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(samples); i++) {
		size_t size = 0, again_size = 0;
		char *text = format(samples[i].report, &size);
		struct sqloom_report *report = parse(text, size);
		char *again = format(report, &again_size);

		assert_string_equal(text, again);
		assert_int_equal(size, again_size);
		assert_int_equal(strlen(text), size);
		for (size_t k = 0; k < size; k++)
			assert_true(text[k] == '\n' ||
				    (text[k] >= ' ' && text[k] < 0x7f));
		sqloom_report_free(report);
		slm_free(again);
		slm_free(text);
	}
	assert_int_equal(slm_alloc_live(), 0);
}

static void same_value(const struct slm_value *a, const struct slm_value *b)
{
	assert_int_equal(a->kind, b->kind);
	switch (a->kind) {
	case SLM_INT:
		assert_true(a->integer == b->integer);
		break;
	case SLM_REAL:
		if (isnan(a->real))
			assert_true(isnan(b->real));
		else
			assert_memory_equal(&a->real, &b->real, sizeof(double));
		break;
	case SLM_TEXT:
	case SLM_BLOB:
		assert_int_equal(a->size, b->size);
		assert_memory_equal(a->text, b->text, a->size);
		assert_int_equal(b->text[b->size], '\0');
		break;
	default:
		break;
	}
}

static void test_values_come_back(void **state)
{
	const struct slm_rows *rows = &evil_tables[0].rows;
	const struct slm_rows *read;
	struct sqloom_report *report;
	size_t size;
	char *text;

	(void)state;
	text = format(&sample_evil, &size);
	report = parse(text, size);
	read = &report->trace.findings[0].outcome.tables[0].rows;
	assert_int_equal(read->nkept, rows->nkept);
	assert_int_equal(read->nrows, rows->nrows);
	for (uint32_t i = 0; i < rows->nkept * rows->ncolumns; i++)
		same_value(&rows->values[i], &read->values[i]);
	assert_true(report->trace.seed == UINT64_MAX);
	assert_int_equal(report->trace.findings[0].nevents, COUNT(evil_events));
	assert_int_equal(report->trace.findings[0].events[5].step,
			 SLM_STEP_NONE);
	sqloom_report_free(report);
	slm_free(text);
}

/* ---- What must be refused --------------------------------------------- */

#define HEADER                                                               \
	"{\"type\":\"sqloom-trace\",\"version\":1,\"kind\":\"explore\","     \
	"\"spec\":\"s\",\"backend\":\"\",\"strategy\":\"\",\"bounds\":\"\"," \
	"\"options\":\"\",\"seed\":1,\"strict\":false,\"calls\":["           \
	"{\"letter\":\"a\",\"name\":\"x\",\"steps\":[{\"name\":\"s\","       \
	"\"sql\":\"\",\"reads\":\"\",\"writes\":\"\","                       \
	"\"fingerprint\":\"00ff\"}]}]}\n"
#define OUTCOME                                                       \
	"\"outcome\":{\"members\":\"a\",\"failed\":\"\",\"results\":" \
	"[\"ok\"],\"tables\":[]}"
#define SERIAL "{\"type\":\"serial\",\"order\":\"a\"," OUTCOME "}\n"
#define FINDING                                                              \
	"{\"type\":\"finding\",\"class\":\"contents\",\"token\":\"a~0000\"," \
	"\"schedule\":\"a\",\"switches\":0,\"count\":1," OUTCOME             \
	",\"differences\":[]}\n"
#define EVENT \
	"{\"type\":\"event\",\"kind\":\"step\",\"call\":\"a\",\"step\":0}\n"
#define CLASSES                                                             \
	"\"classes\":{\"check\":0,\"contents\":1,\"result\":0,\"error\":0," \
	"\"retry\":0,\"benign\":0,\"serial\":0}"
#define VERDICT                                                         \
	"{\"type\":\"verdict\",\"verdict\":\"broken\",\"reason\":\"\"," \
	"\"explored\":1,\"complete\":true,\"wrong\":1," CLASSES         \
	",\"findings\":1,\"notes\":[]}\n"
#define WHOLE HEADER SERIAL FINDING EVENT VERDICT

/* Parses the whole trace with the first `from` replaced by `to`. */
static enum sqloom_status parse_with(const char *from, const char *to,
				     struct sqloom_error *err)
{
	static const char whole[] = WHOLE;
	const char *at = strstr(whole, from);
	struct sqloom_report *report = NULL;
	enum sqloom_status status;
	char text[8192];

	assert_non_null(at);
	snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - whole), whole, to,
		 at + strlen(from));
	status = slm_trace_parse(text, strlen(text), "t.trace", &report, err);
	assert_true((status == SQLOOM_OK) == (report != NULL));
	sqloom_report_free(report);
	return status;
}

static void test_refusals(void **state)
{
	static const struct {
		const char *from, *to;
		unsigned line;
		const char *says;
	} cases[] = {
		{ HEADER, "", 1, "first line must be the header" },
		{ HEADER, HEADER HEADER, 2, "may not come here" },
		{ SERIAL, FINDING SERIAL, 3, "may not come here" },
		{ FINDING, "", 3, "may not come here" },
		{ VERDICT, "", 4, "without a verdict" },
		{ VERDICT, VERDICT EVENT, 6, "nothing may follow" },
		{ "\"version\":1", "\"version\":2", 1, "format version 2" },
		{ "\"version\":1", "\"version\":-1", 1, "\"version\" must" },
		{ "\"kind\":\"explore\"", "\"kind\":\"x\"", 1,
		  "one of explore, replay" },
		{ "\"kind\":\"explore\"", "\"kind\":\"record\"", 2,
		  "may not come here: the order is header, events, end" },
		{ "\"name\":\"x\"", "\"name\":\"x\",\"kind\":\"thread\"", 1,
		  "one of session, exec" },
		{ "\"name\":\"x\"", "\"name\":\"x\",\"kind\":1", 1,
		  "one of session, exec" },
		{ "\"name\":\"x\"", "\"name\":\"x\",\"text\":1", 1,
		  "\"text\" must be a string" },
		{ "\"step\":0", "\"step\":0,\"params\":[1]", 4,
		  "\"params\" must be a string" },
		{ EVENT, EVENT "{\"type\":\"end\"}\n", 5, "may not come here" },
		{ "\"letter\":\"a\"", "\"letter\":\"b\"", 1, "must be a" },
		{ "\"options\":\"\"", "\"options\":\"; rm -rf x\"", 1,
		  "a shell would" },
		{ "\"options\":\"\"", "\"options\":\" 'x\"", 1,
		  "a shell would" },
		{ "\"options\":\"\"", "\"options\":\" '\\u001b'\"", 1,
		  "a shell would" },
		{ "\"seed\":1", "\"seed\":\"99999999999999999999\"", 1,
		  "\"seed\" must" },
		{ "\"strict\":false", "\"strict\":0", 1, "true or false" },
		{ "00ff", "00fg", 1, "4 hex digits" },
		{ "00ff", "00fff", 1, "4 hex digits" },
		{ "\"order\":\"a\"", "\"order\":\"b\"", 2, "letters of calls" },
		{ "\"members\":\"a\"", "\"members\":\"aa\"", 2, "each once" },
		{ "\"members\":\"a\"", "\"members\":1", 2, "\"members\"" },
		{ "[\"ok\"]", "[]", 2, "one element per call" },
		{ "[\"ok\"]", "[1]", 2, "strings and nulls" },
		{ "\"tables\":[]", "\"tables\":[{}]", 2, "\"name\"" },
		{ "\"tables\":[]",
		  "\"tables\":[{\"name\":\"t\",\"columns\":[\"c\"],"
		  "\"rows\":[[1,2]],\"count\":1}]",
		  2, "one value per column" },
		{ "\"tables\":[]",
		  "\"tables\":[{\"name\":\"t\",\"columns\":[\"c\"],"
		  "\"rows\":[[1]],\"count\":0}]",
		  2, "no less than" },
		{ "\"tables\":[]",
		  "\"tables\":[{\"name\":\"t\",\"columns\":[\"c\"],"
		  "\"rows\":[[true]],\"count\":1}]",
		  2, "a value must be" },
		{ "\"tables\":[]",
		  "\"tables\":[{\"name\":\"t\",\"columns\":[\"c\"],"
		  "\"rows\":[[{\"blob\":\"0g\"}]],\"count\":1}]",
		  2, "hex digits" },
		{ "\"tables\":[]",
		  "\"tables\":[{\"name\":\"t\",\"columns\":[\"c\"],"
		  "\"rows\":[[{\"masked\":true,\"key\":\"k\"}]],"
		  "\"count\":1}]",
		  2, "one key" },
		{ "\"tables\":[]",
		  "\"tables\":[{\"name\":\"t\",\"columns\":[\"c\"],"
		  "\"rows\":[[99999999999999999999]],\"count\":1}]",
		  2, "JSON" },
		{ "\"class\":\"contents\"", "\"class\":\"none\"", 3,
		  "one of check, contents" },
		{ "a~0000", "a;b", 3, "not a replay token" },
		{ "\"schedule\":\"a\"", "\"schedule\":\"ab\"", 3,
		  "letters of calls" },
		{ "\"kind\":\"step\"", "\"kind\":\"stop\"", 4, "one of step" },
		{ "\"call\":\"a\"", "\"call\":\"b\"", 4, "letters of calls" },
		{ "\"call\":\"a\"", "\"call\":\"\"", 4, "one letter" },
		{ "\"step\":0", "\"step\":1", 4, "from 0 to 0" },
		{ "\"step\":0", "\"step\":-1", 4, "from 0 to 0" },
		{ "\"step\":0", "\"step\":1.5", 4, "from 0 to 0" },
		{ "\"step\":0", "\"step\":0,\"blocked_by\":\"b\"", 4,
		  "letters of calls" },
		{ "\"step\":0", "\"step\":0,\"results\":[{\"error\":\"x\"}]", 4,
		  "one of none" },
		{ "\"step\":0", "\"step\":0,\"results\":{}", 4, "an array" },
		{ "\"step\":0", "\"step\":0,\"step\":0", 4, "twice" },
		{ "\"verdict\":\"broken\"", "\"verdict\":\"fine\"", 5,
		  "one of holds" },
		{ "\"verdict\":\"broken\"", "\"verdict\":\"holds\"", 5,
		  "says holds" },
		{ "\"findings\":1", "\"findings\":2", 5, "counts 2 findings" },
		{ "\"notes\":[]", "\"notes\":[3]", 5, "strings" },
		{ "\"notes\":[]", "\"notes\":[],\"divergence\":{}", 5,
		  "\"at\"" },
		{ EVENT, "[1]\n", 4, "JSON object" },
		{ EVENT, "{\n", 4, "JSON object" },
		{ EVENT, "{} {}\n", 4, "JSON object" },
		{ EVENT, "\xff\n", 4, "JSON object" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct sqloom_error err = { 0 };

		if (parse_with(cases[i].from, cases[i].to, &err) !=
			    SQLOOM_TRACE ||
		    err.line != cases[i].line ||
		    !strstr(err.message, cases[i].says))
			fail_msg("case %zu: line %u: %s", i, err.line,
				 err.message);
		assert_string_equal(err.path, "t.trace");
		for (const char *c = err.message; *c; c++)
			assert_true(*c >= ' ' && *c < 0x7f);
	}
	assert_int_equal(slm_alloc_live(), 0);
}

static void test_accepted(void **state)
{
	struct sqloom_error err = { 0 };

	(void)state;
	assert_int_equal(parse_with(HEADER, HEADER, &err), SQLOOM_OK);
	assert_int_equal(parse_with(SERIAL, "\n \r\n" SERIAL, &err), SQLOOM_OK);
	assert_int_equal(parse_with("\"step\":0", "\"step\":0,\"new\":[1]",
				    &err),
			 SQLOOM_OK);
	assert_int_equal(parse_with("\"options\":\"\"",
				    "\"options\":\" --journal 'a b;c' "
				    "x\\\\'y\"",
				    &err),
			 SQLOOM_OK);
}

/* ---- Recordings -------------------------------------------------------- */

#define RECORD_END "{\"type\":\"end\",\"events\":1,\"notes\":[]}\n"

/* A recording of one event: the header, then what is given. */
static enum sqloom_status parse_record(const char *lines,
				       struct sqloom_error *err)
{
	static const char header[] = HEADER;
	const char *at = strstr(header, "explore");
	struct sqloom_report *report = NULL;
	enum sqloom_status status;
	char text[4096];

	snprintf(text, sizeof(text), "%.*srecord%s%s", (int)(at - header),
		 header, at + strlen("explore"), lines);
	status = slm_trace_parse(text, strlen(text), "t.trace", &report, err);
	if (!status) {
		assert_int_equal(report->trace.kind, SLM_TRACE_RECORD);
		assert_int_equal(report->trace.nfindings, 1);
		assert_string_equal(report->trace.findings[0].token, "");
		assert_int_equal(report->trace.verdict, SQLOOM_INCONCLUSIVE);
	}
	sqloom_report_free(report);
	return status;
}

static void test_recordings(void **state)
{
	static const struct {
		const char *lines, *says;
	} cases[] = {
		{ EVENT, "without its end" },
		{ RECORD_END, "number of events" },
		{ EVENT EVENT RECORD_END, "number of events" },
		{ SERIAL EVENT RECORD_END, "may not come here" },
		{ FINDING EVENT RECORD_END, "may not come here" },
		{ EVENT VERDICT, "may not come here" },
		{ EVENT RECORD_END EVENT, "nothing may follow" },
		{ EVENT "{\"type\":\"end\",\"events\":1}\n", "\"notes\"" },
	};
	struct sqloom_error err = { 0 };

	(void)state;
	assert_int_equal(parse_record(EVENT RECORD_END, &err), SQLOOM_OK);
	assert_int_equal(
		parse_record("{\"type\":\"end\",\"events\":0,\"notes\":[]}\n",
			     &err),
		SQLOOM_OK);
	for (size_t i = 0; i < COUNT(cases); i++)
		if (parse_record(cases[i].lines, &err) != SQLOOM_TRACE ||
		    !strstr(err.message, cases[i].says))
			fail_msg("case %zu: %s", i, err.message);
}

static void test_programs_come_back(void **state)
{
	const struct slm_finding *finding;
	struct sqloom_report *report;
	size_t size;
	char *text;

	(void)state;
	text = format(&sample_program, &size);
	report = parse(text, size);
	assert_int_equal(report->trace.calls[0].kind, SLM_TRACE_HTTP);
	assert_int_equal(report->trace.calls[1].kind, SLM_TRACE_EXEC);
	assert_string_equal(report->trace.calls[1].text,
			    "./redeem --who bob SPRING");
	finding = &report->trace.findings[0];
	assert_string_equal(finding->events[3].params,
			    "$1 = 'SPRING', $2 = 'bob'");
	assert_int_equal(finding->events[2].kind, SLM_EVENT_STALLED);
	assert_int_equal(finding->events[2].step, SLM_STEP_NONE);
	assert_non_null(finding->events[5].result);
	assert_string_equal(finding->events[5].result->rows.columns[1],
			    "line 1");
	finding = &report->trace.findings[1];
	assert_null(finding->events[1].params);
	assert_int_equal(finding->events[4].result->error, SLM_ERROR_REFUSED);
	sqloom_report_free(report);
	slm_free(text);
	/* What says nothing new is written as it was before. */
	text = format(&sample_lost_update, &size);
	assert_null(strstr(text, "\"params\""));
	assert_null(strstr(text, "\"text\""));
	assert_null(strstr(text, "session"));
	slm_free(text);
}

static void test_empty(void **state)
{
	struct sqloom_report *report = NULL;
	struct sqloom_error err = { 0 };

	(void)state;
	assert_int_equal(slm_trace_parse("", 0, "e", &report, &err),
			 SQLOOM_TRACE);
	assert_non_null(strstr(err.message, "the trace is empty"));
	assert_null(report);
}

/* ---- Files ------------------------------------------------------------ */

static void test_files(void **state)
{
	char directory[] = "trace-test-XXXXXX", path[64], other[64];
	struct sqloom_report *report = NULL;
	struct sqloom_error err = { 0 };

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/t", directory);
	assert_int_equal(slm_trace_write(&sample_lost_update.trace, path, &err),
			 SQLOOM_OK);
	assert_int_equal(sqloom_trace_read(path, &report, &err), SQLOOM_OK);
	assert_int_equal(sqloom_report_verdict(report), SQLOOM_BROKEN);
	sqloom_report_free(report);
	report = NULL;
	unlink(path);
	assert_int_equal(sqloom_trace_read(path, &report, &err), SQLOOM_IO);
	assert_non_null(strstr(err.message, path));
	assert_int_equal(sqloom_trace_read(directory, &report, &err),
			 SQLOOM_IO);
	assert_int_equal(slm_trace_write(&sample_lost_update.trace, directory,
					 &err),
			 SQLOOM_IO);
	assert_non_null(strstr(err.message, directory));
	if (access("/dev/full", W_OK) == 0) {
		/* A link to a full device is not removed. */
		snprintf(other, sizeof(other), "%s/full", directory);
		assert_int_equal(symlink("/dev/full", other), 0);
		assert_int_equal(slm_trace_write(&sample_lost_update.trace,
						 other, &err),
				 SQLOOM_IO);
		assert_int_equal(unlink(other), 0);
	}
	assert_int_equal(rmdir(directory), 0);
	assert_null(report);
}

static void test_full_device(void **state)
{
	struct sqloom_error err = { 0 };

	(void)state;
	if (access("/dev/full", W_OK))
		skip();
	assert_int_equal(slm_trace_write(&sample_lost_update.trace, "/dev/full",
					 &err),
			 SQLOOM_IO);
	assert_non_null(strstr(err.message, "'/dev/full'"));
	assert_int_equal(err.sys_errno, 28);
	assert_int_equal(slm_trace_write(&sample_many.trace, "/dev/full", &err),
			 SQLOOM_IO);
	assert_int_equal(access("/dev/full", F_OK), 0);
}

/* A file that may not grow stands for a full disk. */
static void test_partial_file_is_removed(void **state)
{
	char path[] = "trace-test-XXXXXX";
	struct sqloom_error err = { 0 };
	struct rlimit old, small;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	signal(SIGXFSZ, SIG_IGN);
	small = old;
	small.rlim_cur = 5000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(slm_trace_write(&sample_many.trace, path, &err),
			 SQLOOM_IO);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_non_null(strstr(err.message, path));
	assert_int_equal(access(path, F_OK), -1);
}

/* ---- Memory ----------------------------------------------------------- */

static void test_no_memory(void **state)
{
	struct sqloom_report *report = NULL;
	size_t size;
	char *whole, *text = NULL;

	(void)state;
	whole = format(&sample_evil, &size);
	for (uint64_t n = 1;; n++) {
		enum sqloom_status status;

		slm_alloc_fail_from(n);
		status = slm_trace_parse(whole, size, "t", &report, NULL);
		slm_alloc_fail_from(0);
		if (status == SQLOOM_OK)
			break;
		assert_int_equal(status, SQLOOM_NOMEM);
		assert_null(report);
		assert_int_equal(slm_alloc_live(), 1);
	}
	for (uint64_t n = 1;; n++) {
		enum sqloom_status status;

		slm_alloc_fail_from(n);
		status = slm_trace_format(&report->trace, &text, NULL, NULL);
		slm_alloc_fail_from(0);
		if (status == SQLOOM_OK)
			break;
		assert_int_equal(status, SQLOOM_NOMEM);
		assert_null(text);
	}
	sqloom_report_free(report);
	slm_free(text);
	slm_free(whole);
	assert_int_equal(slm_alloc_live(), 0);
}

static void test_texts(void **state)
{
	(void)state;
	for (unsigned i = 0; i < SLM_CLASSES; i++)
		assert_true(strlen(slm_class_text(i)) > 5);
	assert_int_equal(sqloom_report_verdict(&sample_diverged),
			 SQLOOM_INCONCLUSIVE);
	sqloom_report_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_values_come_back),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_recordings),
		cmocka_unit_test(test_programs_come_back),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_full_device),
		cmocka_unit_test(test_partial_file_is_removed),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
