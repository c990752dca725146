/* SPDX-License-Identifier: Apache-2.0 */
/* The report: its essential lines, and what holds for every report. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "report/text.h"
#include "samples.h"

static char *render(const struct sqloom_report *report,
		    const struct sqloom_render *how)
{
	struct sqloom_error err = { 0 };
	char *text = NULL;
	size_t size = 0;

	if (sqloom_report_render(report, how, &text, &size, &err))
		fail_msg("%s", err.message);
	assert_int_equal(strlen(text), size);
	return text;
}

static char *render_at(const struct sqloom_report *report, unsigned width)
{
	struct sqloom_render how;

	sqloom_render_init(&how);
	how.width = width;
	return render(report, &how);
}

/* Is there a line that is exactly this? */
static bool has_line(const char *text, const char *line)
{
	size_t size = strlen(line);

	for (; text; text = slm_text_next_line(text))
		if (strncmp(text, line, size) == 0 &&
		    (text[size] == '\n' || text[size] == '\0'))
			return true;
	return false;
}

static void check_lines(const struct sqloom_report *report, unsigned width,
			const char *const *lines)
{
	char *text = render_at(report, width);

	for (; *lines; lines++)
		if (!has_line(text, *lines))
			fail_msg("no line '%s' in:\n%s", *lines, text);
	sqloom_text_free(text);
}

#define CHECK_LINES(report, width, ...) \
	check_lines(report, width, (const char *const[]){ __VA_ARGS__, NULL })

/* ---- What holds for every report -------------------------------------- */

/* Only the line to paste may be wider: it is never broken. */
static void check_widths(const char *text, unsigned width, const char *name)
{
	for (; text; text = slm_text_next_line(text)) {
		size_t size = strcspn(text, "\n");

		if (strncmp(text + strspn(text, " "), "sqloom replay", 13) == 0)
			continue;
		if (slm_text_width(text) > width)
			fail_msg("%s at %u: '%.*s'", name, width, (int)size,
				 text);
		if (size)
			assert_true(text[size - 1] != ' ');
	}
}

static void check_bytes(const char *text, bool ascii)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		assert_true(c == '\n' || c >= ' ');
		assert_true(c != 0x7f);
		assert_true(!ascii || c < 0x80);
	}
}

static void test_invariants(void **state)
{
	static const unsigned widths[] = { 40, 41, 47,	55,  60,  72,  80,
					   81, 99, 100, 120, 160, 200, 1000 };

	(void)state;
	for (size_t i = 0; i < COUNT(samples); i++)
		for (size_t k = 0; k < COUNT(widths); k++)
			for (int ascii = 0; ascii < 2; ascii++) {
				struct sqloom_render how;
				char *text;

				sqloom_render_init(&how);
				how.width = widths[k];
				how.ascii = ascii;
				how.findings = (unsigned)k;
				text = render(samples[i].report, &how);
				check_bytes(text, ascii);
				check_widths(text, how.width, samples[i].name);
				sqloom_text_free(text);
			}
	assert_int_equal(slm_alloc_live(), 0);
}

/* Without its sequences, coloured text is the plain text. */
static void test_color(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(samples); i++) {
		struct sqloom_render how;
		char *plain, *color, *to;

		sqloom_render_init(&how);
		plain = render(samples[i].report, &how);
		how.color = true;
		color = render(samples[i].report, &how);
		assert_non_null(strchr(color, '\033'));
		assert_null(strchr(plain, '\033'));
		if (samples[i].report == &sample_lost_update) {
			assert_non_null(strstr(color, "\033[0;31m✗ "));
			assert_non_null(strstr(color, "\033[0;32m✓ "));
			assert_memory_equal(color, "\033[0;1;31mbroken", 14);
		}
		to = color;
		for (const char *from = color; *from; from++)
			if (*from == '\033')
				from = strchr(from, 'm');
			else
				*to++ = *from;
		*to = '\0';
		assert_string_equal(plain, color);
		sqloom_text_free(plain);
		sqloom_text_free(color);
	}
}

/* A report says the same whether it comes from memory or from a file. */
static void test_from_trace_alone(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(samples); i++) {
		const struct sqloom_report *report = samples[i].report;
		struct sqloom_report *read = NULL;
		char *text = NULL, *one, *other;
		size_t size;

		/* What is no UTF-8 does not come back as it was. */
		if (strncmp(samples[i].name, "evil", 4) == 0)
			continue;
		assert_int_equal(slm_trace_format(&report->trace, &text, &size,
						  NULL),
				 SQLOOM_OK);
		assert_int_equal(slm_trace_parse(text, size, "t", &read, NULL),
				 SQLOOM_OK);
		one = render_at(report, 80);
		other = render_at(read, 80);
		assert_string_equal(one, other);
		sqloom_text_free(one);
		sqloom_text_free(other);
		sqloom_report_free(read);
		slm_free(text);
	}
}

/* ---- Essential lines -------------------------------------------------- */

static void test_lost_update(void **state)
{
	(void)state;
	CHECK_LINES(
		&sample_lost_update, 80,
		"broken: 4 of 6 schedules end wrong (all 6 explored)",
		"  lost-update.spec · exhaustive · no bounds · a alice, "
		"b bob",
		"  4 schedules with contents that no serial run leaves",
		"lost update (P4): contents that no serial run leaves",
		"     a alice                               b bob",
		"  1  ● read  reads account                 │",
		"     │ → bal = 100                         │",
		"  3  │                                     ● write  reads, "
		"writes account",
		"     ✓ ok", "  account      id  bal", "  this run  ✗   1  110",
		"  ab, ba    ✓   1  130",
		"  sqloom replay lost-update.spec abba~5f3a.aka2axaq");
}

static void test_verdicts(void **state)
{
	(void)state;
	CHECK_LINES(&sample_holds, 80,
		    "holds: 6 of 6 schedules explored, every outcome equals a "
		    "serial run");
	CHECK_LINES(&sample_inconclusive, 120,
		    "inconclusive: 10,000 schedules explored, none wrong; the "
		    "budget ended it (--max-runs 10000)");
	CHECK_LINES(&sample_lock, 120,
		    "broken: 1 of 1,200 schedules explored ends wrong; the "
		    "budget ended it (--max-runs 1200)");
	CHECK_LINES(
		&sample_retry, 120,
		"holds: 12 of 12 schedules explored, none ends wrong",
		"  2 schedules with an error that asks to be retried "
		"(beside the verdict; --strict makes it wrong)",
		"  3 schedules with differences that are no error, contents "
		"of a serial run (benign)",
		"beside the verdict:",
		"    sqloom replay 'it'\\''s a spec.spec' abba~5f3a.aka2axaq",
		"note: the column audit.at differs between equal runs and "
		"is not compared");
}

static void test_lock(void **state)
{
	(void)state;
	CHECK_LINES(&sample_lock, 80,
		    "     │                                     ┊ waits for "
		    "the RESERVED lock on",
		    "     │ → 1 row changed                     ┊",
		    "     ✓ ok                                  ┊",
		    "                                           ● begin goes "
		    "on after 1,250 ms of",
		    "                                           │ → 1,234 rows",
		    "                                           │    3  "
		    "'carol'  NULL",
		    "                                           │   … 1,229 "
		    "more",
		    "                                           ◌ refill  "
		    "skipped: its condition is",
		    "  5                                        ✗ commit",
		    "                                           │ SQLITE_BUSY: "
		    "database is locked",
		    "                                           ● ROLLBACK  "
		    "made by sqloom",
		    "                                           ✗ failed",
		    "  report: step look",
		    "    this run  id=1 owner='alice' bal=50",
		    "    expected  id=1 owner='alice' bal=100",
		    "    this run  nothing");
}

static void test_graph(void **state)
{
	(void)state;
	CHECK_LINES(&sample_many, 80, "     a b c d e",
		    "     │ ┊ ┊ │ │ waits for the RESERVED lock on main, held "
		    "by a and b",
		    "     ✓ ┊ ┊ │ │ a ok", "       ● ┊ │ │ b take goes on",
		    "         ✗ │ │ c take goes on after 5,000 ms of virtual "
		    "time",
		    "           ✓   d ok", "also:",
		    "  phantom (G2): contents that no serial run leaves, 2 "
		    "schedules",
		    "    sqloom replay shop/stock.spec abcaebded~0002",
		    "  … and 2 more findings");
	CHECK_LINES(&sample_three, 80, "     a b c",
		    "  1  ● │ │ a check  reads users",
		    "     │ │ │ SQLITE_CONSTRAINT_UNIQUE: UNIQUE constraint "
		    "failed: users.email",
		    "                   ✓  ‹3rd row›  'signup'");
}

static void test_check(void **state)
{
	(void)state;
	CHECK_LINES(&sample_check, 80,
		    "write skew (A5B, G2-item): check \"no overdraft\" fails",
		    "check \"no overdraft\" returned 1 row; it must return "
		    "none:",
		    "  id  bal", "   1  -20",
		    "  sqloom replay './-odd name.spec' abba~5f3a.aka2axaq");
}

static void test_replay(void **state)
{
	struct sqloom_report passing = sample_replay;
	char *text;

	(void)state;
	CHECK_LINES(&sample_replay, 80,
		    "broken: the replayed schedule ends wrong",
		    "lost update (P4): contents that no serial run leaves",
		    "  this run  ✗   1  110");
	CHECK_LINES(&sample_diverged, 80,
		    "inconclusive: the replay diverged at step 3; this is not "
		    "a pass",
		    "diverged at step 3: bob has another statement now",
		    "  recorded  UPDATE account SET bal = ? WHERE id = ?",
		    "  now       UPDATE account SET bal = bal + ? WHERE id = "
		    "?",
		    "what ran instead");
	text = render_at(&sample_diverged, 80);
	assert_null(strstr(text, "holds"));
	assert_null(strstr(text, "equal to a serial run"));
	sqloom_text_free(text);
	/* Whatever the verdict claims, a divergence is no pass. */
	passing.trace.verdict = SQLOOM_HOLDS;
	passing.trace.divergence = sample_diverged.trace.divergence;
	text = render_at(&passing, 80);
	assert_memory_equal(text, "inconclusive", 12);
	sqloom_text_free(text);
}

static void test_chosen_finding(void **state)
{
	struct sqloom_error err = { 0 };
	struct sqloom_render how;
	char *text = NULL;

	(void)state;
	sqloom_render_init(&how);
	how.finding = "abcaebded~000b";
	text = render(&sample_many, &how);
	assert_true(has_line(text, "an error that asks to be retried"));
	assert_true(has_line(text,
			     "  sqloom replay shop/stock.spec abcaebded~000b"));
	sqloom_text_free(text);
	how.finding = "ab~0000";
	text = NULL;
	assert_int_equal(sqloom_report_render(&sample_many, &how, &text, NULL,
					      &err),
			 SQLOOM_USAGE);
	assert_non_null(strstr(err.message, "abcaebded~0001"));
	assert_int_equal(sqloom_report_render(&sample_holds, &how, &text, NULL,
					      &err),
			 SQLOOM_USAGE);
	assert_null(text);
}

static void test_timing(void **state)
{
	struct sqloom_render how;
	char *text;

	(void)state;
	sqloom_render_init(&how);
	text = render(&sample_lost_update, &how);
	assert_null(strstr(text, "took"));
	sqloom_text_free(text);
	how.timing = true;
	text = render(&sample_lost_update, &how);
	assert_true(has_line(text, "  took 3 ms; 9 more runs for serial "
				   "outcomes and shrinking"));
	sqloom_text_free(text);
}

static void test_several_at_length(void **state)
{
	struct sqloom_render how;
	char *text;

	(void)state;
	sqloom_render_init(&how);
	how.findings = 2;
	text = render(&sample_many, &how);
	assert_true(has_line(text, "finding 2 of 2  phantom (G2): contents "
				   "that no serial run leaves"));
	sqloom_text_free(text);
	how.findings = 0;
	text = render(&sample_many, &how);
	assert_true(has_line(text, "findings:"));
	assert_null(strstr(text, "● "));
	sqloom_text_free(text);
}

static void test_bad_render(void **state)
{
	struct sqloom_error err = { 0 };
	struct sqloom_render how;
	char *text = NULL;

	(void)state;
	sqloom_render_init(&how);
	how.width = 39;
	assert_int_equal(sqloom_report_render(&sample_holds, &how, &text, NULL,
					      &err),
			 SQLOOM_USAGE);
	how.width = 1001;
	assert_int_equal(sqloom_report_render(&sample_holds, &how, &text, NULL,
					      &err),
			 SQLOOM_USAGE);
	how.width = 80;
	how.format = (enum sqloom_format)7;
	assert_int_equal(sqloom_report_render(&sample_holds, &how, &text, NULL,
					      &err),
			 SQLOOM_USAGE);
	assert_null(text);
}

/* ---- JSON ------------------------------------------------------------- */

static const char *string_of(json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void test_json(void **state)
{
	struct sqloom_render how;
	json_t *json, *finding;
	char *text;

	(void)state;
	sqloom_render_init(&how);
	how.format = SQLOOM_FORMAT_JSON;
	for (size_t i = 0; i < COUNT(samples); i++) {
		text = render(samples[i].report, &how);
		check_bytes(text, false);
		json = json_loads(text, 0, NULL);
		assert_non_null(json);
		json_decref(json);
		sqloom_text_free(text);
	}
	text = render(&sample_lost_update, &how);
	json = json_loads(text, 0, NULL);
	assert_string_equal(string_of(json, "verdict"), "broken");
	assert_int_equal(json_integer_value(json_object_get(json, "exit_code")),
			 1);
	finding = json_array_get(json_object_get(json, "findings"), 0);
	assert_string_equal(
		string_of(finding, "replay"),
		"sqloom replay lost-update.spec abba~5f3a.aka2axaq");
	assert_true(json_is_true(json_object_get(finding, "wrong")));
	assert_string_equal(
		string_of(json_array_get(json_object_get(finding, "events"), 0),
			  "step_name"),
		"read");
	json_decref(json);
	sqloom_text_free(text);
	how.finding = "abcaebded~0002";
	text = render(&sample_many, &how);
	json = json_loads(text, 0, NULL);
	assert_int_equal(json_array_size(json_object_get(json, "findings")), 1);
	json_decref(json);
	sqloom_text_free(text);
	how.finding = NULL;
	text = render(&sample_diverged, &how);
	json = json_loads(text, 0, NULL);
	assert_string_equal(string_of(json, "verdict"), "inconclusive");
	assert_int_equal(json_integer_value(json_object_get(json, "exit_code")),
			 4);
	json_decref(json);
	sqloom_text_free(text);
}

/* ---- Memory ----------------------------------------------------------- */

static void sweep(const struct sqloom_report *report,
		  const struct sqloom_render *how)
{
	for (uint64_t n = 1;; n++) {
		struct sqloom_error err = { 0 };
		enum sqloom_status status;
		char *text = NULL;

		slm_alloc_fail_from(n);
		status = sqloom_report_render(report, how, &text, NULL, &err);
		slm_alloc_fail_from(0);
		if (status == SQLOOM_OK) {
			sqloom_text_free(text);
			break;
		}
		assert_int_equal(status, SQLOOM_NOMEM);
		assert_null(text);
		assert_int_equal(slm_alloc_live(), 0);
	}
	assert_int_equal(slm_alloc_live(), 0);
}

/* ---- Programs and recordings ------------------------------------------ */

static void test_program(void **state)
{
	(void)state;
	CHECK_LINES(
		&sample_program, 100,
		"     a alice                                         b job",
		"       POST http://127.0.0.1:8000/redeem               "
		"./redeem --who bob SPRING",
		"       code=SPRING who=alice",
		"     │   WHERE code = 'SPRING'                       │",
		"  1  ● SELECT coupon  reads coupon                   │",
		"     ○ waits in the program, not in the database     │",
		"  4  ┊                                               ● commit  "
		"of the statement in autocommit",
		"     ┊                                               ✓ exit 0 "
		"'redeemed'",
		"     ✓ HTTP 200 {ok: 'yes', id: 7}", "  alice: $.ok",
		"    this run  'yes'", "    expected  'no'", "  job: line 1");
	CHECK_LINES(&sample_program, 60,
		    "  a alice POST http://127.0.0.1:8000/redeem code=SPRING",
		    "    who=alice", "  b job ./redeem --who bob SPRING",
		    "     ○ │ a waits in the program, not in the database",
		    "     ┊ ✓ b exit 0 'redeemed'");
}

/* No letter is told twice. */
static void test_program_without_name(void **state)
{
	(void)state;
	CHECK_LINES(&sample_nameless, 100,
		    "  redeem.spec · exhaustive · no bounds · a, b",
		    "     a POST http://127.0.0.1:8000/redeem         "
		    "b ./redeem --who bob SPRING",
		    "       code=SPRING who=alice",
		    "     ● s4  BEGIN                                 │");
	CHECK_LINES(&sample_nameless, 50, "  b ./redeem --who bob SPRING");
}

static void test_program_that_failed(void **state)
{
	struct sqloom_render how;
	char *text;

	(void)state;
	sqloom_render_init(&how);
	how.finding = "aabb~5f3a";
	text = render(&sample_program, &how);
	assert_non_null(strstr(text, "✗ exit 1: used already\n"));
	/* Empty parameters are none. */
	assert_null(strstr(text, "[]"));
	sqloom_text_free(text);
}

static void test_record(void **state)
{
	struct sqloom_error err = { 0 };
	struct sqloom_render how;
	char *text;

	(void)state;
	CHECK_LINES(&sample_record, 100,
		    "recorded: 9 statements on 2 connections, 7 of them in 2 "
		    "transactions",
		    "  a shop, b psql", "  PostgreSQL 15.5",
		    "  2  ● SELECT account  transaction 1  reads account  │",
		    "     │ transaction 1  reads, writes account          │",
		    "  9  ● SELECT account  reads account",
		    "     │                                               ✓ "
		    "closed",
		    "note: 1 connection was open when the recording ended");
	text = render_at(&sample_record, 100);
	assert_null(strstr(text, "replay"));
	assert_null(strstr(text, "inconclusive"));
	assert_null(strstr(text, "schedule"));
	sqloom_text_free(text);
	sqloom_render_init(&how);
	how.brief = true;
	text = render(&sample_record, &how);
	assert_int_equal(strcspn(text, "\n") + 1, strlen(text));
	sqloom_text_free(text);
	how.finding = "";
	text = NULL;
	assert_int_equal(sqloom_report_render(&sample_record, &how, &text, NULL,
					      &err),
			 SQLOOM_USAGE);
	assert_non_null(strstr(err.message, "recording"));
	assert_int_equal(sqloom_report_verdict(&sample_record),
			 SQLOOM_INCONCLUSIVE);
}

/* The JSON text as an object, which the caller frees. */
static json_t *json_of(const struct sqloom_report *report)
{
	struct sqloom_render how;
	json_t *root;
	char *text;

	sqloom_render_init(&how);
	how.format = SQLOOM_FORMAT_JSON;
	text = render(report, &how);
	root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(root);
	sqloom_text_free(text);
	return root;
}

static const char *text_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	assert_non_null(text);
	return text;
}

static void test_program_json(void **state)
{
	json_t *root = json_of(&sample_program), *call, *events;

	(void)state;
	call = json_array_get(json_object_get(root, "calls"), 0);
	assert_string_equal(text_at(call, "kind"), "http");
	assert_string_equal(text_at(call, "text"),
			    "POST http://127.0.0.1:8000/redeem code=SPRING "
			    "who=alice");
	events = json_object_get(
		json_array_get(json_object_get(root, "findings"), 0), "events");
	assert_string_equal(text_at(json_array_get(events, 0), "params"),
			    "$1 = 'SPRING'");
	assert_string_equal(text_at(json_array_get(events, 2), "kind"),
			    "stalled");
	assert_int_equal(json_array_size(json_object_get(
				 json_array_get(events, 5), "results")),
			 1);
	json_decref(root);
}

static void test_record_json(void **state)
{
	json_t *root = json_of(&sample_record), *event;

	(void)state;
	assert_string_equal(text_at(root, "kind"), "record");
	assert_null(json_object_get(root, "verdict"));
	assert_null(json_object_get(root, "findings"));
	assert_int_equal(json_array_size(json_object_get(root, "events")), 10);
	event = json_array_get(json_object_get(root, "events"), 5);
	assert_int_equal(
		json_integer_value(json_object_get(event, "transaction")), 1);
	assert_string_equal(text_at(event, "sql"),
			    "UPDATE account SET bal = $1 WHERE id = $2");
	event = json_array_get(json_object_get(root, "events"), 9);
	assert_null(json_object_get(event, "transaction"));
	json_decref(root);
}

static void test_no_memory(void **state)
{
	struct sqloom_render how;

	(void)state;
	for (size_t i = 0; i < COUNT(samples); i++) {
		sqloom_render_init(&how);
		sweep(samples[i].report, &how);
		how.width = 200;
		sweep(samples[i].report, &how);
		how.format = SQLOOM_FORMAT_JSON;
		sweep(samples[i].report, &how);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_invariants),
		cmocka_unit_test(test_color),
		cmocka_unit_test(test_from_trace_alone),
		cmocka_unit_test(test_lost_update),
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_lock),
		cmocka_unit_test(test_graph),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_replay),
		cmocka_unit_test(test_chosen_finding),
		cmocka_unit_test(test_timing),
		cmocka_unit_test(test_several_at_length),
		cmocka_unit_test(test_bad_render),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_program),
		cmocka_unit_test(test_program_without_name),
		cmocka_unit_test(test_program_that_failed),
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_program_json),
		cmocka_unit_test(test_record_json),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
