/* SPDX-License-Identifier: Apache-2.0 */
/* Every way in which a spec can be wrong: status, place and message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "spec/spec.h"

struct wrong {
	const char *text;
	unsigned line, column;
	const char *part; /* of the message */
};

/* Two sessions with a step each, in 42 characters. */
#define AB "session a step a1 {} session b step b1 {} "

static const struct wrong syntax[] = {
	{ "", 1, 1, "the spec is empty" },
	{ " \n# only a comment\n", 1, 1, "the spec is empty" },
	{ "setup { x }", 1, 12, "has no session" },
	{ "session", 1, 8,
	  "expected the session's name after \"session\","
	  " found the end of the file" },
	{ "session {}", 1, 9, "found a { } block" },
	{ "session step", 1, 9,
	  "keyword \"step\"; to use it as a name, write"
	  " it in double quotes" },
	{ "session a", 1, 9, "session \"a\" has no step" },
	{ "session a\nsession b step s {}", 1, 9, "has no step" },
	{ "session a option strict on", 1, 9, "has no step" },
	{ "session a stpe s {}", 1, 11,
	  "expected step NAME { SQL }, found"
	  " \"stpe\"" },
	{ "session a setup {} setup {}", 1, 20, "one setup block" },
	{ "session a setup x", 1, 17, "expected { SQL } after \"setup\"" },
	{ "session a step", 1, 15, "expected the step's name" },
	{ "session a step s", 1, 17,
	  "expected the step's { SQL }, found the"
	  " end of the file" },
	{ "session a step s\n# c\n\n", 1, 17, "the end of the file" },
	{ "session a step s 5", 1, 18, "found the number 5" },
	{ "session a step s unobservd {}", 1, 18,
	  "did you mean \"unobserved\"?" },
	{ "session a step s xyz {}", 1, 18, "known are: unobserved, when" },
	{ "session a step s unobserved unobserved {}", 1, 29, "twice" },
	{ "session a step s when {1} when {2} {}", 1, 27, "one \"when\"" },
	{ "session a step s when { } {}", 1, 23, "the block is empty" },
	{ "session a step s when x {}", 1, 23, "an SQL expression" },
	{ "session a step s { x", 1, 18, "has no closing }" },
	{ "session a\nstep \xc3\xa9\xc3\xa9 { x\n\n", 2, 9, "no closing }" },
	{ "session a step \"s", 1, 16, "no closing \" on its line" },
	{ "session \"a\n\" step s {}", 1, 9, "no closing \" on its line" },
	{ "session a step s {} }", 1, 21, "closes no block" },
	{ "session a step s {};", 1, 20, "unexpected \";\"; comments begin" },
	{ "session a step s {} \x01", 1, 21, "control character 0x01" },
	{ "session a step s {} step t { 'a\n}' }", 2, 2,
	  "ended at the } in line 2, column 1, inside a quoted text" },
	{ "sesion a step s {}", 1, 1, "did you mean \"session\"?" },
	{ "Session a step s {}", 1, 1, "did you mean \"session\"?" },
	{ "\"setup\" {}", 1, 1,
	  "expected setup, teardown, session, call, check or"
	  " option, found \"setup\"" },
	{ "{ SELECT 1 }", 1, 1, "expected setup" },
	{ AB "{ SELECT 1 }", 1, 43, "expected step, session, permutation" },
	{ "step s {}", 1, 1, "a step outside a session" },
	{ "session a step s {} teardown {} step t {}", 1, 33,
	  "a step outside a session" },
	{ "teardown {} setup {} " AB, 1, 13, "setup block in the wrong" },
	{ "teardown {} teardown {} " AB, 1, 13, "teardown block in the" },
	{ AB "teardown {} teardown {}", 1, 55, "teardown block in the wrong" },
	{ AB "option strict on\nteardown {}", 2, 1, "in the wrong place" },
	{ "permutation a1", 1, 1, "a permutation before the sessions" },
	{ AB "permutation a1 session c step c1 {}", 1, 58,
	  "put all sessions before the first permutation" },
};

static const struct wrong names[] = {
	{ "session a step s {}\nsession a step t {}", 2, 9,
	  "already is a session \"a\", in line 1" },
	{ "session a step s {}\nstep s {}", 2, 6,
	  "already is a step \"s\", in line 1" },
	{ "session a step s {}\nsession b step s {}", 2, 16,
	  "already is a step \"s\", in line 1" },
	{ "session a step s {}\nsession b step t {} step \"s\" {}", 2, 26,
	  "already is a step \"s\", in line 1" },
	{ "check c { x }\ncheck c { x }\n" AB, 2, 7,
	  "already is a check \"c\", in line 1" },
	{ "check { x } " AB, 1, 7, "a check needs a name" },
	{ "check \"\" { x } " AB, 1, 7, "a check needs a name" },
	{ AB "permutation a1 check { x }", 1, 64, "a check needs a name" },
	{ "check c {\n} " AB, 1, 9,
	  "the block is empty; expected the check's"
	  " { query }" },
	{ "check c session", 1, 9, "expected the check's { query }" },
};

static const struct wrong permutations[] = {
	{ AB "permutation", 1, 54, "expected a step's name" },
	{ AB "permutation permutation", 1, 55, "the keyword \"permutation\"" },
	{ AB "permutation\n  a1 a2", 2, 6,
	  "no session has a step \"a2\"; did"
	  " you mean \"a1\"?" },
	{ AB "permutation A1", 1, 55, "did you mean \"a1\"?" },
	{ AB "permutation B1", 1, 55, "did you mean \"b1\"?" },
	{ AB "permutation \"1b\"", 1, 55, "did you mean \"b1\"?" },
	{ AB "permutation zebra", 1, 55, "known are: a1, b1" },
	{ AB "permutation a", 1, 55, "\"a\" is a session, not a step" },
	{ AB "permutation a1 (", 1, 59, "* or the name of a step" },
	{ AB "permutation a1 ()", 1, 59, "* or the name of a step as" },
	{ AB "permutation a1(*", 1, 59, "expected \",\" or \")\"" },
	{ AB "permutation a1(*,)", 1, 60, "* or the name of a step" },
	{ AB "permutation a1(* b1) b1", 1, 60, "expected \",\" or \")\"" },
	{ AB "permutation a1(x1)", 1, 58, "no session has a step \"x1\"" },
	{ AB "permutation a1(b1)", 1, 58,
	  "cannot wait for \"b1\", which this"
	  " permutation does not list" },
	{ AB "permutation b1 permutation a1(b1)", 1, 73, "does not list" },
	{ AB "permutation b1 a1(a1)", 1, 61,
	  "a step of its own session"
	  " \"a\"" },
	{ AB "permutation b1 a1(*, b1 notices)", 1, 74, "a number after" },
	{ AB "permutation b1 a1(b1 notices b1)", 1, 72, "a number after" },
	{ AB "permutation b1 a1(notices 1)", 1, 61, "keyword \"notices\"" },
	{ AB "permutation a1 (*) (*)", 1, 62, "found \"(\"" },
};

static void check_wrong(const struct wrong *wrong, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *text = wrong[i].text;
		struct sqloom_spec *spec = NULL;
		struct sqloom_error err = { 0 };
		enum sqloom_status status;

		status = sqloom_spec_parse(text, strlen(text), "t.spec", &spec,
					   &err);
		assert_null(spec);
		if (status != SQLOOM_SPEC || err.status != SQLOOM_SPEC ||
		    err.line != wrong[i].line ||
		    err.column != wrong[i].column ||
		    !strstr(err.message, wrong[i].part))
			fail_msg("[%s] gave status %d, %u:%u: %s", text, status,
				 err.line, err.column, err.message);
		assert_string_equal(err.path, "t.spec");
		assert_non_null(strchr(err.excerpt, '^'));
		assert_null(strchr(err.message, '\n'));
		/* err may be NULL. */
		assert_int_equal(sqloom_spec_parse(text, strlen(text), "t",
						   &spec, NULL),
				 SQLOOM_SPEC);
	}
}

#define CHECK_WRONG(table) \
	check_wrong(table, sizeof(table) / sizeof((table)[0]))

static void wrong_syntax(void **state)
{
	(void)state;
	CHECK_WRONG(syntax);
}

static void wrong_names(void **state)
{
	(void)state;
	CHECK_WRONG(names);
}

static void wrong_permutations(void **state)
{
	(void)state;
	CHECK_WRONG(permutations);
}

static void check_limit(const struct slm_buf *text, unsigned line,
			const char *part)
{
	int64_t before = slm_alloc_live();
	struct sqloom_spec *spec = NULL;
	struct sqloom_error err = { 0 };

	assert_false(slm_buf_failed(text));
	assert_int_equal(sqloom_spec_parse(text->data, text->size, "t", &spec,
					   &err),
			 SQLOOM_LIMIT);
	assert_null(spec);
	if (!strstr(err.message, part))
		fail_msg("%s", err.message);
	assert_int_equal(err.line, line);
	assert_int_equal(slm_alloc_live(), before);
}

static void too_many_sessions(void **state)
{
	struct slm_buf text;

	(void)state;
	slm_buf_init(&text);
	for (int i = 0; i < 1000; i++)
		slm_buf_printf(&text, "session s%d step t%d {}\n", i, i);
	check_limit(&text, 17, "1000 sessions, but the limit is 16");
	/* What follows may be wrong. */
	slm_buf_puts(&text, "'");
	check_limit(&text, 17, "1000 or more sessions");
	slm_buf_deinit(&text);
}

static void too_many_steps(void **state)
{
	struct slm_buf text;

	(void)state;
	slm_buf_init(&text);
	slm_buf_puts(&text, "session a\n");
	for (int i = 0; i < 300; i++)
		slm_buf_printf(&text, "step s%d {}\n", i);
	/* Those of other sessions do not count. */
	slm_buf_puts(&text, "session b step t {}\n");
	check_limit(&text, 258,
		    "300 steps in this session, but the limit is"
		    " 256");
	slm_buf_deinit(&text);
}

static void as_many_as_allowed(void **state)
{
	struct sqloom_spec *spec = NULL;
	struct sqloom_error err = { 0 };
	struct slm_buf text;

	(void)state;
	slm_buf_init(&text);
	for (int i = 0; i < SLM_SPEC_SESSIONS_MAX; i++) {
		slm_buf_printf(&text, "session s%d\n", i);
		for (int j = 0; j < SLM_SPEC_STEPS_MAX; j++)
			slm_buf_printf(&text, "step s%d_%d {}\n", i, j);
	}
	slm_buf_puts(&text, "permutation");
	for (int i = 0; i < SLM_SPEC_SESSIONS_MAX; i++)
		for (int j = 0; j < SLM_SPEC_STEPS_MAX; j++)
			slm_buf_printf(&text, " s%d_%d(*)", i, j);
	assert_false(slm_buf_failed(&text));
	assert_int_equal(sqloom_spec_parse(text.data, text.size, "t", &spec,
					   &err),
			 SQLOOM_OK);
	assert_int_equal(spec->permutations[0].nsteps,
			 SLM_SPEC_SESSIONS_MAX * SLM_SPEC_STEPS_MAX);
	sqloom_spec_free(spec);
	slm_buf_deinit(&text);
}

static void names_and_numbers_have_limits(void **state)
{
	struct slm_buf text;

	(void)state;
	slm_buf_init(&text);
	slm_buf_puts(&text, "session\n");
	slm_buf_fill(&text, 'x', SLM_SPEC_NAME_MAX + 1);
	check_limit(&text, 2, "longer than 63 bytes");
	slm_buf_clear(&text);
	slm_buf_puts(&text, "session\n\"");
	slm_buf_fill(&text, 'x', SLM_SPEC_NAME_MAX + 1);
	slm_buf_puts(&text, "\"");
	check_limit(&text, 2, "longer than 63 bytes");
	slm_buf_clear(&text);
	slm_buf_puts(&text, AB "\npermutation b1 a1(b1 notices 2147483648)");
	check_limit(&text, 2, "the most is 2147483647");
	slm_buf_deinit(&text);
}

static void too_large(void **state)
{
	struct slm_buf text;

	(void)state;
	slm_buf_init(&text);
	slm_buf_fill(&text, '{', 10 * 1024 * 1024);
	check_limit(&text, 0, "10485760 bytes, the limit is 1048576");
	slm_buf_deinit(&text);
}

static void a_megabyte_of_anything_ends(void **state)
{
	static const char *const units[] = { "{",	  "{'", "{}",  "\"",
					     "(",	  "'}", "{'}", "$a$",
					     "session a", "\n" };

	(void)state;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		struct sqloom_spec *spec = NULL;
		struct sqloom_error err = { 0 };
		struct slm_buf text;

		slm_buf_init(&text);
		slm_buf_puts(&text, "session a step s {");
		while (text.size + 16 < SLM_SPEC_SIZE_MAX)
			slm_buf_puts(&text, units[i]);
		assert_false(slm_buf_failed(&text));
		assert_int_equal(sqloom_spec_parse(text.data, text.size, "t",
						   &spec, &err),
				 SQLOOM_SPEC);
		slm_buf_deinit(&text);
	}
}

static const struct {
	const char *text;
	size_t size;
	unsigned line, column;
	const char *part;
} binaries[] = {
	{ "session a\n\0", 11, 2, 1,
	  "a NUL byte at byte offset 10: this does"
	  " not look like a text file" },
	{ "\x7f"
	  "ELF\x02\x01\x01\0",
	  8, 1, 8, "a NUL byte" },
	{ "\xff\xfes\0e\0", 6, 1, 1, "looks like UTF-16" },
	{ "# \xc3\xa9 \xe9t\xe9", 8, 1, 5, "invalid UTF-8 at byte offset 5" },
	{ "\xc0\xaf", 2, 1, 1, "invalid UTF-8" },     /* overlong */
	{ "\xe0\x80\xaf", 3, 1, 1, "invalid UTF-8" }, /* overlong */
	{ "\xf0\x80\x80\xaf", 4, 1, 1, "invalid UTF-8" },
	{ "\xed\xa0\x80", 3, 1, 1, "invalid UTF-8" }, /* surrogate */
	{ "\xf4\x90\x80\x80", 4, 1, 1, "invalid UTF-8" },
	{ "\xf5\x80\x80\x80", 4, 1, 1, "invalid UTF-8" },
	{ "\xe2\x82", 2, 1, 1, "invalid UTF-8" }, /* cut off */
	{ "\xe2\x82x", 3, 1, 1, "invalid UTF-8" },
	{ "\x80", 1, 1, 1, "invalid UTF-8" },
};

static void binary_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(binaries) / sizeof(binaries[0]); i++) {
		struct sqloom_spec *spec = NULL;
		struct sqloom_error err = { 0 };

		assert_int_equal(sqloom_spec_parse(binaries[i].text,
						   binaries[i].size, "t", &spec,
						   &err),
				 SQLOOM_SPEC);
		if (!strstr(err.message, binaries[i].part))
			fail_msg("%zu: %s", i, err.message);
		assert_int_equal(err.line, binaries[i].line);
		assert_int_equal(err.column, binaries[i].column);
		assert_string_equal(err.excerpt, "");
	}
}

static void all_of_utf8_is_fine(void **state)
{
	const char text[] = "# \xc2\x80 \xe0\xa0\x80 \xed\x9f\xbf \xef\xbf\xbf"
			    " \xf0\x90\x80\x80 \xf4\x8f\xbf\xbf\n" AB;
	struct sqloom_spec *spec = NULL;
	struct sqloom_error err = { 0 };

	(void)state;
	assert_int_equal(sqloom_spec_parse(text, strlen(text), "t", &spec,
					   &err),
			 SQLOOM_OK);
	sqloom_spec_free(spec);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_syntax),
		cmocka_unit_test(wrong_names),
		cmocka_unit_test(wrong_permutations),
		cmocka_unit_test(too_many_sessions),
		cmocka_unit_test(too_many_steps),
		cmocka_unit_test(as_many_as_allowed),
		cmocka_unit_test(names_and_numbers_have_limits),
		cmocka_unit_test(too_large),
		cmocka_unit_test(a_megabyte_of_anything_ends),
		cmocka_unit_test(binary_files),
		cmocka_unit_test(all_of_utf8_is_fine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
