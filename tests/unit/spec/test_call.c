/* SPDX-License-Identifier: Apache-2.0 */
/* Calls, before and server blocks, checks by commands: what they become, where
 * their texts end, and every way in which they can be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "spec/spec.h"

static struct sqloom_spec *parse(const char *text)
{
	struct sqloom_spec *spec = NULL;
	struct sqloom_error err = { 0 };

	if (sqloom_spec_parse(text, strlen(text), "t.spec", &spec, &err))
		fail_msg("[%s] %u:%u: %s\n%s", text, err.line, err.column,
			 err.message, err.excerpt);
	return spec;
}

static void all_parts(void **state)
{
	struct sqloom_spec *spec =
		parse("setup { CREATE TABLE t () }\n"
		      "teardown { DROP TABLE t }\n"
		      "before { psql -f a.sql }\n"
		      "server { python3 app.py --port 8000 }\n"
		      "  ready \"http://127.0.0.1:8000/health?q=1\"\n"
		      "call \"alice\" {\n"
		      "  exec psql -c \"SELECT 1\"\n"
		      "}\n"
		      "call bob { http POST http://127.0.0.1:8000/x code=X }\n"
		      "before { true }\n"
		      "server { worker }\n"
		      "check one { SELECT 1 -- it's\n}\n"
		      "check two exec { ./consistent }\n"
		      "option stall_after 50\n");

	(void)state;
	assert_true(spec->has_calls);
	assert_int_equal(spec->nsetups, 1);
	assert_non_null(spec->teardown.text);
	assert_int_equal(spec->nbefores, 2);
	assert_string_equal(spec->befores[0].text, "psql -f a.sql");
	assert_int_equal(spec->befores[0].line, 3);
	assert_int_equal(spec->befores[0].column, 10);
	assert_string_equal(spec->befores[1].text, "true");
	assert_int_equal(spec->nservers, 2);
	assert_string_equal(spec->servers[0].command.text,
			    "python3 app.py --port 8000");
	assert_string_equal(spec->servers[0].ready,
			    "http://127.0.0.1:8000/health?q=1");
	assert_int_equal(spec->servers[0].line, 4);
	assert_null(spec->servers[1].ready);
	assert_int_equal(spec->nsessions, 2);
	assert_string_equal(spec->sessions[0].name, "alice");
	assert_int_equal(spec->sessions[0].call, SLM_CALL_EXEC);
	assert_int_equal(spec->sessions[0].nsteps, 0);
	assert_string_equal(spec->sessions[0].text.text,
			    "psql -c \"SELECT 1\"");
	assert_int_equal(spec->sessions[0].text.size, 18);
	assert_int_equal(spec->sessions[0].text.line, 7);
	assert_int_equal(spec->sessions[0].text.column, 8);
	assert_int_equal(spec->sessions[0].line, 6);
	assert_int_equal(spec->sessions[0].column, 6);
	assert_int_equal(spec->sessions[1].call, SLM_CALL_HTTP);
	assert_string_equal(spec->sessions[1].text.text,
			    "POST http://127.0.0.1:8000/x code=X");
	assert_int_equal(spec->nchecks, 2);
	assert_false(spec->checks[0].exec);
	assert_string_equal(spec->checks[0].sql.text, " SELECT 1 -- it's\n");
	assert_true(spec->checks[1].exec);
	assert_string_equal(spec->checks[1].sql.text, "./consistent");
	assert_int_equal(spec->noptions, 1);
	sqloom_spec_free(spec);
}

/* What stands between the braces, and the text that comes of it. */
static const struct {
	const char *block;
	const char *text; /* NULL: it is refused */
} texts[] = {
	{ " exec true ", "true" },
	{ "exec true", "true" },
	{ "\n\texec\n\ta\n\tb\n", "a\n\tb" },
	{ " exec echo ${X} ", "echo ${X}" },
	{ " exec echo ${X:-${Y}} ", "echo ${X:-${Y}}" },
	{ " exec echo ${X#a} ${#X} $# ", "echo ${X#a} ${#X} $#" },
	{ " exec { a; b; } ", "{ a; b; }" },
	{ "exec{", NULL },
	{ " exec echo '}' ", "echo '}'" },
	{ " exec echo '{' ", "echo '{'" },
	{ " exec echo \"}\" ", "echo \"}\"" },
	{ " exec echo \"it's } \\\" } \" ", "echo \"it's } \\\" } \"" },
	{ " exec echo '\" }' ", "echo '\" }'" },
	{ " exec echo '\\' ", "echo '\\'" },
	{ " exec echo \\} \\{ \\' \\\" ", "echo \\} \\{ \\' \\\"" },
	{ " exec echo \\\\ ", "echo \\\\" },
	{ " exec a 'x\n}\ny' ", "a 'x\n}\ny'" },
	{ " exec a # it's\n b ", "a # it's\n b" },
	{ " exec a # it's\n b '}' ", "a # it's\n b '}'" },
	{ " exec a;# it's {}\n b ", "a;# it's {}\n b" },
	{ " exec a#'}' ", "a#'}'" },
	{ "\n# say \"so\n exec a ", NULL },
	{ " http POST http://h/ --json '{\"a\": {\"b\": 1}}' ",
	  "POST http://h/ --json '{\"a\": {\"b\": 1}}'" },
	{ " http h:=[1,{\"a\":2}] ", "h:=[1,{\"a\":2}]" },
	{ "\thttp\thttp://h/#'x}' ", "http://h/#'x}'" },
	{ " exec -- SQL comments 'mean' nothing /* here */ ",
	  "-- SQL comments 'mean' nothing /* here */" },
	{ " exec $a$ } exec ", NULL },
};

static void where_texts_end(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct sqloom_error err = { 0 };
		struct sqloom_spec *spec = NULL;
		char text[400];
		enum sqloom_status status;

		snprintf(text, sizeof(text), "call a {%s}\ncheck c { x }\n",
			 texts[i].block);
		status =
			sqloom_spec_parse(text, strlen(text), "t", &spec, &err);
		if (!texts[i].text) {
			if (status != SQLOOM_SPEC)
				fail_msg("[%s] was accepted", text);
			continue;
		}
		if (status)
			fail_msg("[%s] %s", text, err.message);
		assert_string_equal(spec->sessions[0].text.text, texts[i].text);
		assert_int_equal(spec->nchecks, 1);
		sqloom_spec_free(spec);
	}
}

/* Words of the additions are names wherever the old language has names. */
static void words_stay_names(void **state)
{
	struct sqloom_spec *spec = parse(
		"session call step call {a} step server {b} step exec {c}\n"
		"session server step before {d} step ready {e}\n"
		"session before step http {f} step check {g}\n"
		"check exec { x }\n"
		"permutation call server before exec ready http check\n"
		"permutation check call before server\n"
		"permutation server before\n"
		"check call { y }\n");

	(void)state;
	assert_false(spec->has_calls);
	assert_int_equal(spec->nsessions, 3);
	assert_int_equal(spec->npermutations, 3);
	assert_int_equal(spec->permutations[0].nsteps, 7);
	assert_int_equal(spec->permutations[1].nsteps, 4);
	assert_int_equal(spec->permutations[2].nsteps, 2);
	assert_int_equal(spec->nchecks, 2);
	assert_false(spec->checks[0].exec);
	assert_string_equal(spec->checks[0].name, "exec");
	assert_null(spec->sessions[0].text.text);
	assert_int_equal(spec->sessions[0].call, SLM_CALL_SQL);
	sqloom_spec_free(spec);
}

#define A "call a { exec x }\n"
#define S "session a step s {}\n"

static const struct {
	const char *text;
	unsigned line, column;
	const char *part; /* of the message */
} wrong[] = {
	{ "call", 1, 5,
	  "expected the call's name after \"call\", found the end"
	  " of the file" },
	{ "call { exec x }", 1, 6,
	  "a call needs a name: call \"alice\" { exec"
	  " COMMAND }" },
	{ "call \"\" { exec x }", 1, 6, "a call needs a name" },
	{ "call session { exec x }", 1, 6,
	  "the keyword \"session\"; to use it"
	  " as a name, write it in double" },
	{ "call a exec x", 1, 8,
	  "expected the call's { exec COMMAND } or {"
	  " http REQUEST }, found \"exec\"" },
	{ "call a", 1, 7, "found the end of the file" },
	{ "call a { }", 1, 8, "the block is empty; expected the call's" },
	{ "call a { exec }", 1, 14,
	  "nothing stands behind \"exec\"; add a"
	  " command: exec psql -f redeem.sql" },
	{ "call a {\n http \n}", 2, 6,
	  "nothing stands behind \"http\"; add a"
	  " request: http POST" },
	{ "call a {\n SELECT 1 }", 2, 2,
	  "write one of the two words first,"
	  " or make it a session if it is SQL" },
	{ "call a { execute x }", 1, 10,
	  "a call is { exec COMMAND } or { http"
	  " REQUEST }" },
	{ "call a { exec x", 1, 8,
	  "the block that begins here has no closing"
	  " }; add it" },
	{ "call a { exec it's }\n", 1, 8,
	  "because the ' in line 1, column 17"
	  " is not closed; close it, or write"
	  " \\'" },
	{ "call a {\n exec \xc3\xa9 \"x\n}\n", 1, 8,
	  "because the \" in line 2, column 9 is not closed" },
	{ "call a { exec ${X }\n" A, 1, 8, "has no closing }; add it" },
	{ "call a { exec ${X\n" A, 1, 8,
	  "because the { in line 1, column 16"
	  " is not closed" },
	{ "call a { exec x } }", 1, 19, "closes no block" },
	{ A "call a { exec x }", 2, 6,
	  "there already is a call \"a\", in line"
	  " 1; give this one another name" },
	{ A S, 2, 1,
	  "a session in a spec that has calls: \"a\" in line 1; a"
	  " spec has sessions, which are SQL, or calls, which are"
	  " programs, not both" },
	{ S A, 2, 1,
	  "a call in a spec that has sessions: \"a\" in line 1; a"
	  " spec has sessions, which" },
	{ S "permutation s\n" A, 3, 1, "a call in a spec that has sessions" },
	{ "session call step call {}\npermutation call\ncall b { exec x }", 3,
	  1, "a call in a spec that has sessions: \"call\" in line 1" },
	{ A "permutation a", 2, 1,
	  "a permutation lists steps of sessions, and"
	  " this spec has calls" },
	{ A "step s {}", 2, 1, "a step outside a session" },
	{ A "setup {}", 2, 1, "in the wrong place" },
	{ A "teardown {}", 2, 1, "in the wrong place" },
	{ "before", 1, 7, "expected { COMMAND } after \"before\", found" },
	{ "before a { x } " A, 1, 8,
	  "expected { COMMAND } after \"before\","
	  " found \"a\"" },
	{ "before { } " A, 1, 8, "the block is empty; expected { COMMAND }" },
	{ "before { it's }", 1, 8, "the ' in line 1, column 12" },
	{ S "before { x }", 2, 10,
	  "a before block is for calls, and this spec"
	  " has sessions; take it out, or write"
	  " calls" },
	{ "server x", 1, 8, "expected { COMMAND } after \"server\"" },
	{ "server { x } redy \"/x\" " A, 1, 14, "unexpected \"redy\"" },
	{ "server { x } ready\n" A, 1, 14,
	  "expected ready \"http://...\","
	  " \"HOST:PORT\" or"
	  " \"/path/of/socket\" in one line" },
	{ "server { x } ready 8000\n" A, 1, 20,
	  "\"8000\" is nothing that can"
	  " be ready; write a URL" },
	{ "server { x } ready localhost\n" A, 1, 20, "HOST:PORT" },
	{ "server { x } ready :80\n" A, 1, 20, "HOST:PORT" },
	{ "server { x } ready a:0\n" A, 1, 20, "HOST:PORT" },
	{ "server { x } ready a:65536\n" A, 1, 20, "HOST:PORT" },
	{ "server { x } ready a:80/x\n" A, 1, 20, "HOST:PORT" },
	{ "server { x } ready http://\n" A, 1, 20, "a URL" },
	{ "server { x } ready ftp://x:80\n" A, 1, 20, "a URL" },
	{ "server { x } ready \"\"\n" A, 1, 20, "a URL" },
	{ "server { x } ready {}\n" A, 1, 20, "unexpected \"{\" in" },
	{ S "server { x }", 2, 1, "a server block is for calls" },
	{ A "check c exec", 2, 13,
	  "expected the check's { COMMAND }, which"
	  " must exit with 0, found the end" },
	{ A "check c exec { }", 2, 14, "the block is empty; expected the" },
	{ A "check c", 2, 8,
	  "expected the check's { query }, which must"
	  " return no row, or exec { COMMAND }" },
	{ S "check c exec { x }", 2, 7, "a check by a command is for calls" },
	{ "session a step check {}\npermutation check\ncheck c exec { it's }",
	  3, 14, "the ' in line 3, column 18" },
	{ S "option proxy_port 5433", 2, 8,
	  "option proxy_port is for calls,"
	  " and this spec has sessions" },
	{ "option background x\n" S, 1, 8, "option background is for calls" },
	{ "option on_error stop\n" A, 1, 8,
	  "option on_error is for sessions:"
	  " a program decides itself" },
	{ A "x", 2, 1, "unexpected \"x\"; known are: setup" },
	{ A "{ x }", 2, 1,
	  "expected call, server, before, check or option,"
	  " found a { } block" },
	{ "cal a { exec x }", 1, 1, "did you mean \"call\"?" },
	{ "setup { x }\nbefore { x }", 2, 13,
	  "no session and no call; add"
	  " session NAME and step" },
};

static void what_is_wrong(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const char *text = wrong[i].text;
		int64_t before = slm_alloc_live();
		struct sqloom_spec *spec = NULL;
		struct sqloom_error err = { 0 };
		enum sqloom_status status;

		status = sqloom_spec_parse(text, strlen(text), "t.spec", &spec,
					   &err);
		assert_null(spec);
		if (status != SQLOOM_SPEC || err.line != wrong[i].line ||
		    err.column != wrong[i].column ||
		    !strstr(err.message, wrong[i].part))
			fail_msg("[%s] gave status %d, %u:%u: %s", text, status,
				 err.line, err.column, err.message);
		assert_non_null(strchr(err.excerpt, '^'));
		assert_int_equal(slm_alloc_live(), before);
	}
}

static void check_limit(const char *unit, unsigned count, unsigned line,
			const char *part)
{
	struct sqloom_spec *spec = NULL;
	struct sqloom_error err = { 0 };
	struct slm_buf text;

	slm_buf_init(&text);
	for (unsigned i = 0; i < count; i++) {
		slm_buf_printf(&text, unit, i);
		slm_buf_putc(&text, '\n');
	}
	assert_false(slm_buf_failed(&text));
	assert_int_equal(sqloom_spec_parse(text.data, text.size, "t", &spec,
					   &err),
			 SQLOOM_LIMIT);
	assert_int_equal(err.line, line);
	if (!strstr(err.message, part))
		fail_msg("%s", err.message);
	slm_buf_deinit(&text);
}

static void limits(void **state)
{
	(void)state;
	check_limit("call c%u { exec x }", 17, 17, "more than 16 calls");
	check_limit("server { x%u }", 17, 17, "more than 16 servers");
}

static void as_many_as_allowed(void **state)
{
	struct sqloom_spec *spec;
	struct slm_buf text;

	(void)state;
	slm_buf_init(&text);
	for (int i = 0; i < SLM_SPEC_SESSIONS_MAX; i++)
		slm_buf_printf(&text, "call c%d { exec x }\nserver { s%d }\n",
			       i, i);
	spec = parse(text.data);
	assert_int_equal(spec->nsessions, SLM_SPEC_SESSIONS_MAX);
	assert_int_equal(spec->nservers, SLM_SPEC_SERVERS_MAX);
	sqloom_spec_free(spec);
	slm_buf_deinit(&text);
}

static void a_megabyte_of_anything_ends(void **state)
{
	static const char *const units[] = {
		"{", "}",  "'",	 "\"", "\\", "{}",
		"#", "# ", "${", "\n", "'}", " #'"
	};

	(void)state;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		struct sqloom_spec *spec = NULL;
		struct slm_buf text;

		slm_buf_init(&text);
		slm_buf_puts(&text, "call a { exec ");
		while (text.size + 16 < SLM_SPEC_SIZE_MAX)
			slm_buf_puts(&text, units[i]);
		assert_false(slm_buf_failed(&text));
		assert_int_equal(sqloom_spec_parse(text.data, text.size, "t",
						   &spec, NULL),
				 SQLOOM_SPEC);
		slm_buf_deinit(&text);
	}
}

static void no_memory(void **state)
{
	static const char text[] =
		"before { a } server { b } ready /s\ncall a { exec x }"
		" check c exec { d }";

	(void)state;
	for (uint64_t n = 1;; n++) {
		int64_t before = slm_alloc_live();
		struct sqloom_spec *spec = NULL;
		enum sqloom_status status;

		slm_alloc_fail_from(n);
		status =
			sqloom_spec_parse(text, strlen(text), "t", &spec, NULL);
		slm_alloc_fail_from(0);
		if (status == SQLOOM_OK) {
			assert_true(n > 4);
			sqloom_spec_free(spec);
			return;
		}
		assert_int_equal(status, SQLOOM_NOMEM);
		assert_int_equal(slm_alloc_live(), before);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_parts),
		cmocka_unit_test(where_texts_end),
		cmocka_unit_test(words_stay_names),
		cmocka_unit_test(what_is_wrong),
		cmocka_unit_test(limits),
		cmocka_unit_test(as_many_as_allowed),
		cmocka_unit_test(a_megabyte_of_anything_ends),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
